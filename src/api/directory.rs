//! Users and groups: the vocabulary of their status, and what a connection says about its directory.

#![allow(
    unreachable_pub,
    reason = "KubeSchema repeats each struct, with its `pub`, inside a function"
)]

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::vocabulary::Class;

/// Whether, where and how much the operator changes the users and groups of a bridge.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ProvisioningSpec {
    /// `Plan`: the operator reads the directory, compares it, and reports what it would send. It sends nothing.
    /// `Manage`: it sends the changes, and reads each one back.
    pub mode: ProvisioningMode,

    /// The users and groups that a plan may change. It never changes others. Write `["*"]` for all.
    #[x_kube(validation = Rule::new("size(self.userNames) + size(self.groups) > 0").message("must name user names or groups: write [\"*\"] for all"))]
    pub scope: NamePatterns,

    /// Users whom no plan suspends, renames or removes from a group, and groups that no plan changes. Name at least one
    /// user: an owner of the 1Password account.
    #[x_kube(validation = Rule::new("size(self.userNames) > 0").message("must name at least one user: an owner of the 1Password account"))]
    pub protected: NamePatterns,

    /// The most changes of one kind in an hour. If more are pending, none of that kind is sent.
    #[serde(default)]
    pub limits: ChangeLimits,

    /// The most requests in a second that read or change the directory. Probes are not counted.
    #[serde(default = "default_requests_per_second")]
    #[schemars(range(min = 1, max = 50))]
    pub requests_per_second: u8,
}

/// What the operator does with a directory.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(
    missing_docs,
    reason = "the field says what they mean, and a description would break the compact enum of the schema"
)]
pub enum ProvisioningMode {
    Plan,
    Manage,
}

/// Patterns for user names and names of groups. `*` stands for any text. Case does not matter.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NamePatterns {
    /// User names, such as `*@example.com`.
    #[serde(default)]
    #[schemars(length(max = 256), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub user_names: Vec<String>,
    /// Names of groups, such as `k8s-*`.
    #[serde(default)]
    #[schemars(length(max = 256), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub groups: Vec<String>,
}

/// The most changes of each kind in an hour.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ChangeLimits {
    /// Users that are suspended.
    #[serde(default = "default_suspensions")]
    #[schemars(range(min = 0, max = 10_000))]
    pub suspensions: u32,
    /// Members that are removed from groups.
    #[serde(default = "default_removals")]
    #[schemars(range(min = 0, max = 10_000))]
    pub removals: u32,
    /// Users and groups that are created, and users that are made active again.
    #[serde(default = "default_creations")]
    #[schemars(range(min = 0, max = 10_000))]
    pub creations: u32,
}

impl ChangeLimits {
    /// The limit for a kind; `None` where there is no limit.
    #[must_use]
    pub const fn get(&self, kind: ChangeKind) -> Option<u32> {
        match kind {
            ChangeKind::Suspension => Some(self.suspensions),
            ChangeKind::Removal => Some(self.removals),
            ChangeKind::Creation => Some(self.creations),
            ChangeKind::Rename | ChangeKind::Addition => None,
        }
    }
}

impl Default for ChangeLimits {
    fn default() -> Self {
        Self {
            suspensions: default_suspensions(),
            removals: default_removals(),
            creations: default_creations(),
        }
    }
}

/// What the operator knows about the directory of a bridge: counts and digests, never names.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct ProvisioningStatus {
    /// The generation of the connection's specification that this is about.
    pub observed_generation: i64,

    /// Users on the bridge, suspended ones included.
    #[schemars(range(min = 0))]
    pub users: u64,

    /// Suspended users on the bridge.
    #[schemars(range(min = 0))]
    pub suspended: u64,

    /// Users on the bridge that a `ScimUser` stands for.
    #[schemars(range(min = 0))]
    pub managed: u64,

    /// Active users on the bridge that no `ScimUser` stands for.
    #[schemars(range(min = 0))]
    pub unmanaged_active: u64,

    /// Groups on the bridge.
    #[schemars(range(min = 0))]
    pub groups: u64,

    /// Where the bridge shows the members of groups. Absent if the last complete read showed none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members_read_by: Option<MembersReadBy>,

    /// When the operator last read the directory in full. It writes an unchanged result only every few minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_time: Option<Time>,

    /// The changes that the operator would send, by kind, in the order of sending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub pending: Vec<PendingChanges>,

    /// The changes of limited kinds that the operator sent within about an hour, by kind and time. They count against
    /// the limits. The operator notes them before it sends them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub spent: Vec<SpentChanges>,

    /// The last set of each kind that annotation `scimbridge.dev/release` released.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub released: Vec<ReleasedChanges>,

    /// Users and groups that somebody else changed back twice within a day. The operator leaves them alone. Absent if
    /// there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub contested: Option<u64>,
}

/// Changes of one kind that were sent within a few minutes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SpentChanges {
    /// The kind.
    pub kind: ChangeKind,
    /// When these minutes began.
    pub since: Time,
    /// How many.
    #[schemars(range(min = 1))]
    pub count: u32,
}

/// A set of changes that a person released.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ReleasedChanges {
    /// The kind.
    pub kind: ChangeKind,
    /// The digest of the set.
    #[schemars(length(max = 64))]
    pub digest: String,
    /// How many changes it had.
    #[schemars(range(min = 1))]
    pub count: u32,
    /// When the operator began to send it.
    pub time: Time,
}

/// A kind of changes that the operator no longer sends for an object, until its specification changes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StoppedChange {
    /// The kind.
    pub kind: ChangeKind,
    /// Why.
    pub reason: StopReason,
}

/// Why the operator no longer sends a kind of changes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(
    missing_docs,
    reason = "the reasons of the same names say what they mean, and a description would break the compact enum"
)]
pub enum StopReason {
    Contested,
    NotAsWritten,
    Unsupported,
}

/// When somebody else changed back what the operator had set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OverwrittenChange {
    /// The kind of the change that was undone.
    pub kind: ChangeKind,
    /// When a read showed it.
    pub time: Time,
}

/// Where the members of groups can be read. A place is proven if it shows a member.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(
    missing_docs,
    reason = "a description would break the compact enum of the schema; snapshot.rs says how each is read"
)]
pub enum MembersReadBy {
    GroupList,
    Group,
    UserGroups,
}

/// The pending changes of one kind.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PendingChanges {
    /// The kind.
    pub kind: ChangeKind,
    /// How many.
    #[schemars(range(min = 1))]
    pub count: u32,
    /// Identifies exactly this set of changes.
    #[schemars(length(max = 64))]
    pub digest: String,
    /// When the operator first planned this set.
    pub since: Time,
    /// Whether more changes are pending than the limit allows.
    pub held: bool,
}

/// Changes of one kind that the operator would send for an object.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlannedChange {
    /// The kind.
    pub kind: ChangeKind,
    /// How many.
    #[schemars(range(min = 1))]
    pub count: u32,
}

/// The kinds of changes, in the order in which they are sent. Each has its own limit.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(
    missing_docs,
    reason = "the names say it all, and a description would break the compact enum of the schema"
)]
pub enum ChangeKind {
    Suspension,
    Removal,
    Rename,
    Creation,
    Addition,
}

/// How an account or group came to its object.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(
    missing_docs,
    reason = "the names say it all, and a description would break the compact enum of the schema"
)]
pub enum Origin {
    Created,
    Adopted,
}

// === impl ChangeKind ===

impl ChangeKind {
    /// Every kind, in the order in which they are done.
    pub const ALL: [Self; 5] = [
        Self::Suspension,
        Self::Removal,
        Self::Rename,
        Self::Creation,
        Self::Addition,
    ];

    /// The name of several, as in `spec.provisioning.limits`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suspension => "suspensions",
            Self::Removal => "removals",
            Self::Rename => "renames",
            Self::Creation => "creations",
            Self::Addition => "additions",
        }
    }

    /// Whether `spec.provisioning.limits` has a limit for it.
    #[must_use]
    pub const fn is_limited(self) -> bool {
        match self {
            Self::Suspension | Self::Removal | Self::Creation => true,
            Self::Rename | Self::Addition => false,
        }
    }

    /// The name of one.
    #[must_use]
    pub const fn singular(self) -> &'static str {
        match self {
            Self::Suspension => "suspension",
            Self::Removal => "removal",
            Self::Rename => "rename",
            Self::Creation => "creation",
            Self::Addition => "addition",
        }
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident: $class:ident, $message:literal, $action:literal;)+) => {
        /// Why `Ready` of a user or group is as it is: the STATUS column of `kubectl get scim`.
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

            /// What the operator found, in one sentence.
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
    /// A read shows the wanted state.
    Provisioned: Ok,
        "The bridge shows this object as it is declared.",
        "";
    /// The user is wanted suspended, and a read shows a suspended user or none.
    Suspended: Ok,
        "The bridge shows no active account of this user.",
        "";
    /// Something differs, and nothing is sent: the mode is `Plan`, or the object is paused.
    ChangePlanned: Action,
        "The bridge differs from the declared state. Nothing is sent in mode Plan, or while the object is paused.",
        "Review the plan. To have it sent, set the connection's mode to Manage and spec.paused to false.";
    /// The acts of one kind exceed the limit of an hour.
    Held: Action,
        "The limit of an hour leaves room for fewer changes of this kind than are pending.",
        "Review the plan. If you want all of it, release it: kubectl scim-bridge release CONNECTION.";
    /// Somebody else changed back twice what the operator had set.
    Contested: Action,
        "Somebody else changed this user or group back twice within a day. The operator does not change it a third time.",
        "Find out who else writes to the bridge. To try again, set spec.paused to true and back to false.";
    /// The bridge refuses the values.
    Rejected: Action,
        "The bridge refuses the change.",
        "Correct the values, or mend the other cause. To try again, set spec.paused to true and back to false.";
    /// The bridge accepts the change and does not show it.
    NotAsWritten: Action,
        "The bridge accepted the change, but later reads do not show it, or show another one.",
        "Make the change in 1Password by hand, and report this bridge to the project.";
    /// The bridge refuses the one form of request that the operator has.
    Unsupported: Action,
        "The bridge does not support the request for this change. The operator tries no other form.",
        "Make the change in 1Password by hand, and report this bridge to the project.";
    /// A provider that pushes has authority over everybody.
    IdentityProviderAuthoritative: Action,
        "The declared identity provider writes users and groups, and the scope of mode Manage covers everybody.",
        "Narrow the connection's spec.provisioning.scope to what the provider does not manage, or use mode Plan.";
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
        "Manage the members in 1Password. If this bridge shows members elsewhere, report that to the project.";
    /// A listed member has no active account.
    MemberMissing: Action,
        "A user in spec.members has no active account on the bridge. Users who left the list stay until that is clear.",
        "Declare the user, correct the name, or remove the entry.";
    /// A member who should no longer be in the group is not the operator's to remove.
    MemberRemains: Action,
        "A member whose time has passed, or who is declared suspended, is still in the group. The operator did not add this member.",
        "Remove the member in 1Password, or set spec.membership to Exact.";
    /// The operator cannot use the specification; the detail says why.
    InvalidSpec: Action,
        "The operator cannot use this specification.",
        "Compare it with kubectl explain scimusers.spec or scimgroups.spec, then apply it again.";
    /// The connection does not exist.
    ConnectionNotFound: Action,
        "The connection that spec.connectionRef names does not exist in this namespace.",
        "Create the connection. If its name is wrong, delete this object and create it again.";
    /// The connection does not ask for provisioning, or its patterns cannot be used.
    ProvisioningOff: Action,
        "The connection has no usable spec.provisioning, so the operator does not read its directory.",
        "Ask the owner of the connection to set spec.provisioning.";
    /// The connection is suspended, or its last verdict is not `Connected`, or that verdict is no longer valid.
    ConnectionNotReady: Transient,
        "The connection is not proven now, so the operator does not read its directory.",
        "Read the status of the connection.";
    /// The directory is not known in full, or the account of a stored id is missing for the first time.
    DirectoryIncomplete: Transient,
        "The operator could not read all users and groups of the bridge, or one is missing that was there before.",
        "If the connection has condition DirectoryIncomplete, read it. If not, wait for the next read.";
    /// The bridge asks for a pause.
    RateLimited: Transient,
        "The bridge answers that it gets too many requests. The operator waits as long as the bridge asks.",
        "";
    /// The change was sent and is not read back yet, or the read does not say whether the user is active.
    Unproven: Transient,
        "The bridge does not show yet whether the change is done, or whether this user is active.",
        "";
    /// The change is about to be sent.
    Progressing: Pending,
        "The operator is about to send the change.",
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

const fn default_requests_per_second() -> u8 {
    5
}

const fn default_suspensions() -> u32 {
    5
}

const fn default_removals() -> u32 {
    20
}

const fn default_creations() -> u32 {
    50
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
