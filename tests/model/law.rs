//! What must hold. Each law is one sentence that a reader of the documentation can check the operator by.

use std::fmt;

/// A law of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Law {
    ConnectedIsProven,
    RefusedKeyRests,
    StatusIsSound,
    NoHotLoop,
    TruthArrives,
    HoldingHasBounds,
    ProofIsHeld,
    DormantRests,
    OwnWritesAreNoCause,
    NeverBackwards,
    OneProbeAtATime,
}

/// A law that was broken, and how.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) law: Law,
    pub(crate) how: String,
}

impl Law {
    /// The law in words.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::ConnectedIsProven => {
                "`Connected=True` for the present generation is written only where the bridge has answered a SCIM request with the very key (uid and resourceVersion in `status.credential`), at the very address and with the very CA that the status is about. `Ready=True` without it is written only where the bridge's health report has accepted that key. `validUntil` ends two intervals, a timeout and a heartbeat after that answer at the latest."
            }
            Self::RefusedKeyRests => {
                "A key that the bridge has refused is sent again only where the specification, the Secret or the CA object has changed, or where 54 minutes have gone by since it was sent last (the hour less 10 %). The annotation and a change of the next key's Secret lead to one check each. All of this holds through every other answer and failure in between, and across restarts and changes of the leader. (One sending more may come of a process that dies between a probe and the write of its verdict, of a verdict that another process overtakes, and of a clock that is set before a restart.)"
            }
            Self::StatusIsSound => {
                "Every status has each condition once and the four main ones always; reasons are of the closed set; `Ready=True` only with `Connected=True`, or with `ScimDisabled=True` and `AuthFailed=False` where Google Workspace is declared, and Unknown is never Ready; `AuthFailed` and `ScimDisabled` are never both True; `binding` is there exactly while `Connected=True`; no observed generation is ahead of the specification; a transition time moves exactly with its status."
            }
            Self::NoHotLoop => {
                "Between two events from outside there are at most three passes at once and then one a second, and over any longer time at most twelve and one every five seconds; each pass leads to one status write at most, and to one more that announces a slow first probe: also where writes fail, their answers are lost, or the clock jumps."
            }
            Self::TruthArrives => {
                "From every state, once the surroundings stop changing, the status tells the truth within a bounded time (one interval, after a refusal one hour, each with 10 % of jitter; for a transient failure `failureThreshold` retries, after a refusal the end of its validity), and goes on doing so, valid at every moment, with a probe in every interval."
            }
            Self::HoldingHasBounds => {
                "A verdict of `Connected` outlives transient failures only of the same generation, key and CA, less than `failureThreshold` of them in a row, and never beyond its `validUntil`."
            }
            Self::ProofIsHeld => {
                "A verdict that is good is not withdrawn by fewer than `failureThreshold` probes in a row at which no bridge was heard: failures of the way, and fronts that answer in the bridge's place. It is withdrawn at the threshold."
            }
            Self::DormantRests => {
                "Of a connection that is known to be suspended or being deleted nothing is probed, and no status is ever written to one that is."
            }
            Self::OwnWritesAreNoCause => "The operator's own status writes lead to no pass.",
            Self::NeverBackwards => {
                "A written verdict never replaces that of a later probe of the same generation, and `Progressing` never replaces a verdict of the present generation: whatever answers are lost, and however late a former leader's write arrives. (Later is what the clock calls later: not where it was set back between the two.)"
            }
            Self::OneProbeAtATime => {
                "One connection is probed by one pass at a time, also where it is deleted and created anew meanwhile."
            }
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
        write!(
            f,
            "{:?} is broken: {}\n  the law: {}",
            self.law,
            self.how,
            self.law.sentence()
        )
    }
}
