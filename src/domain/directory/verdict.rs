//! What a plan says about each object.

use std::fmt;

use super::{
    budget::PerKind,
    names::{ObjectId, RemoteId},
    snapshot::Activity,
};
use crate::api::vocabulary::Class;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident: $class:ident, $message:literal, $action:literal;)+) => {
        /// Why `Ready` of a user or group is as it is, as far as a plan can say.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The name in `conditions[].reason`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What the reason asks for.
            #[must_use]
            pub const fn class(self) -> Class {
                match self { $(Self::$name => Class::$class,)+ }
            }

            /// What is wrong (or right), in one sentence.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)+ }
            }

            /// What to do next, in one sentence; empty where there is nothing to do.
            #[must_use]
            pub const fn action(self) -> &'static str {
                match self { $(Self::$name => $action,)+ }
            }
        }
    };
}

reasons! {
    /// A read shows what is wanted.
    Provisioned: Ok,
        "The bridge shows this object as it is declared.",
        "";
    /// The user is wanted suspended, and a read shows a suspended user or none.
    Suspended: Ok,
        "The bridge shows no active account of this user.",
        "";
    /// Something differs, and nothing is sent: the mode is `Plan`, or the object is paused.
    ChangePlanned: Action,
        "The bridge differs from what is declared. Nothing is sent in mode Plan, or while the object is paused.",
        "Review the plan, then set the connection's spec.provisioning.mode to Manage.";
    /// The acts of one kind exceed the limit of an hour.
    Held: Action,
        "More changes of this kind are pending than the connection's limits allow in an hour.",
        "Review the plan, then release it with the annotation scimbridge.dev/release on the connection.";
    /// The connection's scope does not cover this name.
    OutOfScope: Action,
        "The connection's spec.provisioning.scope does not cover this user, group or one of its members.",
        "Correct the name, or ask the owner of the connection to widen the scope.";
    /// The change is refused for a protected user or group.
    Protected: Action,
        "The change would touch a user or group that spec.provisioning.protected names.",
        "Undo the change here, or make it in 1Password by hand.";
    /// An account or group of this name was there before, and `adopt` refuses to take it over.
    AlreadyExists: Action,
        "The bridge has an account or group of this name already, and spec.adopt does not allow to take it over.",
        "Write the fields that differ as they are on the bridge, or set spec.adopt to Always.";
    /// More than one object or account answers to this name or id.
    Ambiguous: Action,
        "More than one object, account or group has this name or id.",
        "Leave one object for each user and group, or rename one of the accounts or groups on the bridge.";
    /// The account or group of the stored id is gone.
    RemoteGone: Action,
        "The bridge no longer has the account or group that this object stands for.",
        "Delete this object and create it again to get a new account or group.";
    /// The operator cannot read who is in the group.
    MembersUnreadable: Action,
        "The bridge does not show who is in this group, or not in full. No member is added or removed.",
        "Run the rehearse command to find out how this bridge shows members.";
    /// A listed member has no active account.
    MemberMissing: Action,
        "A user in spec.members has no active account on the bridge. Users who left the list stay until that is clear.",
        "Declare the user, correct the name, or remove the entry.";
    /// The directory is not known in full, or the account of a stored id is missing for the first time.
    DirectoryIncomplete: Transient,
        "The operator could not read all users and groups of the bridge, or one is missing that was there before.",
        "Read the connection's condition DirectoryIncomplete.";
    /// The read does not say whether the user is active.
    Unproven: Transient,
        "The bridge does not say whether this user is active.",
        "";
}

impl Reason {
    /// Reads a reason back from a status; `None` for one that this version does not know.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A field that differs. Its values are data about people, and never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// `spec.state`
    State,
    /// `spec.userName`
    UserName,
    /// `spec.name.givenName`
    GivenName,
    /// `spec.name.familyName`
    FamilyName,
    /// `spec.displayName`
    DisplayName,
    /// `spec.members`
    Members,
}

impl Field {
    /// The path of the field in the object.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::State => "spec.state",
            Self::UserName => "spec.userName",
            Self::GivenName => "spec.name.givenName",
            Self::FamilyName => "spec.name.familyName",
            Self::DisplayName => "spec.displayName",
            Self::Members => "spec.members",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many members a group should have and has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberCounts {
    /// Entries of `spec.members` that count now, without users who are declared suspended.
    pub wanted: u32,
    /// Those of them who are in the group.
    pub present: u32,
    /// Those of them who are not.
    pub missing: u32,
    /// Members of the group that are not wanted.
    pub extra: u32,
}

/// What the object stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A user, and what the bridge says about them; `None` where it has no such user.
    User(Option<Activity>),
    /// A group, and its members; `None` where the bridge does not show them.
    Group(Option<MemberCounts>),
}

/// The verdict about one object. It holds no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// The object.
    pub object: &'a ObjectId,
    /// What it stands for.
    pub subject: Subject,
    /// Why `Ready` is as it is.
    pub reason: Reason,
    /// The account or group that the object stands for. New where `adopts`.
    pub id: Option<&'a RemoteId>,
    /// Whether the object takes over an account or group that was there before.
    pub adopts: bool,
    /// The acts that would be sent for it, held ones among them.
    pub planned: PerKind<u32>,
    /// The fields that differ.
    pub differs: Vec<Field>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_says_what_to_do() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(*reason));
            assert_eq!(
                reason.class() == Class::Action,
                !reason.action().is_empty() && reason.class() != Class::Transient
            );
            for sentence in [reason.message(), reason.action()] {
                for part in sentence.split_inclusive(". ") {
                    assert!(part.split_whitespace().count() <= 20, "{part}");
                }
                assert!(sentence.is_empty() || sentence.ends_with('.'), "{sentence}");
            }
        }
        assert_eq!(Reason::parse("Unknown"), None);
    }
}
