//! What must hold. Each law is one sentence.

use std::fmt;

/// A law of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Law {
    SuspensionIsAValue,
    RemovalIsAValue,
    OnlyOurs,
    ScopeAndProtection,
    LimitsHold,
    OneAccount,
    NoPostWithoutList,
    NoThirdWrite,
    NothingUnread,
    TruthOnly,
    LetGo,
    BoundOrders,
    EverythingIsDone,
    Rest,
}

/// A law that was broken, and how.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    law: Law,
    how: String,
}

impl Law {
    /// The law in words.
    const fn sentence(self) -> &'static str {
        match self {
            Self::SuspensionIsAValue => {
                "Nobody is suspended without an object that says so at that moment, about that id, and that is not paused."
            }
            Self::RemovalIsAValue => {
                "Nobody leaves a group unless the list is there without the user, the entry's time has passed, or the user is declared suspended."
            }
            Self::OnlyOurs => "From an additive group nobody leaves whom this object did not add.",
            Self::ScopeAndProtection => {
                "Nothing out of the scope is written, and no protected user is suspended, renamed or removed."
            }
            Self::LimitsHold => {
                "Within an hour, the operator sends no more acts of a kind than its limit. Crashes and clocks change nothing. A released set is apart."
            }
            Self::OneAccount => "No object leads to two accounts or groups of one name.",
            Self::NoPostWithoutList => {
                "Between two creations for one object there are complete lists that began after the first."
            }
            Self::NoThirdWrite => {
                "What somebody else undoes twice within a day is not written a third time for the same specification."
            }
            Self::NothingUnread => {
                "Nothing is sent before complete lists were read, or after a read that is not believed."
            }
            Self::TruthOnly => {
                "An object says Provisioned or Suspended only if a read after the last order for it shows exactly that."
            }
            Self::LetGo => "For an object that was deleted or paused nothing is sent.",
            Self::BoundOrders => {
                "An order names at least one member and at most a hundred, and adds nobody whom the last read shows as a member."
            }
            Self::EverythingIsDone => {
                "Once the bridge behaves and nothing changes any more, everything wanted is done, or the object says why not."
            }
            Self::Rest => "Then nothing is sent and no status is written any more.",
        }
    }

    /// Fails with this law unless `holds`.
    pub(crate) fn unless(self, holds: bool, how: impl FnOnce() -> String) -> Result<(), Broken> {
        if holds {
            Ok(())
        } else {
            Err(Broken {
                law: self,
                how: how(),
            })
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { law, how } = self;
        write!(f, "{law:?} is broken: {how}\n  the law: {}", law.sentence())
    }
}
