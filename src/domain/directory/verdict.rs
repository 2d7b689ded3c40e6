//! What a plan says about each object.

use std::fmt;

use k8s_openapi::jiff::Timestamp;

use super::{
    budget::{Kind, PerKind},
    names::{ObjectId, RemoteId},
    order::ScimType,
    snapshot::Activity,
};
pub use crate::api::directory::{Reason, StopReason};

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
#[allow(clippy::struct_excessive_bools, reason = "each is one answer")]
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
    /// Whether orders for it are about to leave.
    pub sends: bool,
    /// Whether the bridge made nothing for it, although it was asked to: somebody else has the name.
    pub disowns: bool,
    /// The fields that differ.
    pub differs: Vec<Field>,
    /// The entries of `spec.members` for which the reason stands, counted from 0: in order, each once.
    pub entries: Vec<u32>,
    /// Whether the user is wanted suspended because `spec.activeUntil` has passed.
    pub has_expired: bool,
    /// Since when the user is wanted suspended, if so.
    pub suspension: Option<Asked>,
    /// Kinds of acts that are not sent any more, and why.
    pub stopped: PerKind<Option<StopReason>>,
    /// When somebody else last changed back what this object had set.
    pub overwritten: Vec<(Kind, Timestamp)>,
    /// The members whom the operator added and who are or should be in the group. `None` for a user, and where nobody
    /// knows.
    pub added: Option<Vec<RemoteId>>,
    /// What the bridge called the fault, where it refused a change.
    pub scim_type: Option<ScimType>,
}

/// Since when a user is wanted suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Since the plan that first saw it.
    Now,
    /// Since this time, which somebody wrote.
    At(Timestamp),
}

/// The most entries that a message shows.
const SHOWN: usize = 5;

impl Verdict<'_> {
    /// More about the reason, in one sentence without names.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        if let (Reason::Rejected, Some(scim_type)) = (self.reason, self.scim_type) {
            return Some(format!("The bridge calls the fault {}.", scim_type.as_str()));
        }
        if (self.reason, self.subject) == (Reason::Suspended, Subject::User(None)) {
            return Some("No account has this name, so there is no proof of a suspension.".to_owned());
        }
        if self.has_expired {
            return Some("spec.activeUntil has passed.".to_owned());
        }
        let shown: Vec<String> = self.entries.iter().take(SHOWN).map(u32::to_string).collect();
        if shown.is_empty() {
            return None;
        }
        let shown = shown.join(", ");
        Some(match self.entries.len().saturating_sub(SHOWN) {
            0 => format!("Entries of spec.members: {shown}."),
            more => format!("Entries of spec.members: {shown} and {more} more."),
        })
    }
}
