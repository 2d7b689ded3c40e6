//! `scimbridge.dev/v1alpha1`: the `ScimUser`.
//!
//! `kubectl explain` shows the doc comments of the fields.

#![allow(
    unreachable_pub,
    reason = "KubeSchema repeats each struct, with its `pub`, inside a function"
)]
#![allow(clippy::duplicated_attributes, reason = "each printcolumn has a type_")]
#![allow(
    clippy::struct_field_names,
    reason = "KubeSchema repeats each struct, and the API names times by their ends"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    connection::OBJECT_NAME,
    directory::{Origin, OverwrittenChange, PlannedChange, StoppedChange},
};

/// User names are addresses. The operator's own rule is stricter about blanks and invisible characters.
pub(super) const USER_NAME: &str = "^[^@\\s]+@[^@\\s]+$";

/// The desired user of a 1Password account.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "scimbridge.dev",
    version = "v1alpha1",
    kind = "ScimUser",
    plural = "scimusers",
    shortname = "scu",
    category = "scim",
    namespaced,
    status = "ScimUserStatus",
    derive = "PartialEq",
    doc = "A user of a 1Password account, reached through a proven connection. If you delete this object, the account stays as it is.",
    printcolumn(name = "USER", type_ = "string", json_path = ".spec.userName"),
    printcolumn(name = "STATE", type_ = "string", json_path = ".spec.state"),
    printcolumn(
        name = "READY",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "STATUS",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "CONNECTION",
        type_ = "string",
        json_path = ".spec.connectionRef.name",
        priority = 1
    ),
    printcolumn(
        name = "REMOTE",
        type_ = "string",
        json_path = ".status.remoteState",
        priority = 1
    ),
    printcolumn(
        name = "UNTIL",
        type_ = "string",
        json_path = ".spec.activeUntil",
        priority = 1
    ),
    printcolumn(name = "ID", type_ = "string", json_path = ".status.id", priority = 1),
    printcolumn(
        name = "MESSAGE",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ScimUserSpec {
    /// The connection to the bridge, in the namespace of this object. It cannot be changed.
    #[x_kube(validation = Rule::new("self == oldSelf").message("cannot be changed: create another object for another connection"))]
    pub connection_ref: ConnectionRef,

    /// The address with which the user signs in. If it changes, the plan renames the account.
    #[schemars(length(min = 3, max = 254), regex(pattern = USER_NAME))]
    pub user_name: String,

    /// The user's name. 1Password makes the display name from it.
    pub name: PersonName,

    /// `Active`: the user has an account. `Suspended`: the user has none that can be used. Only this field and
    /// `activeUntil` suspend a user.
    #[serde(default = "active")]
    pub state: UserState,

    /// From this time on, `state` counts as `Suspended`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self < timestamp('9999-01-01T00:00:00Z')").message("must be before the year 9999: leave it out for no end"))]
    pub active_until: Option<Time>,

    /// Whether to take over an account of this name that existed before. `IfUnchanged`: only if nothing would change.
    /// `Always`: also if fields differ. `Never`: leave it alone.
    #[serde(default = "if_unchanged")]
    pub adopt: Adopt,

    /// While this is true, the operator sends nothing for this object. To suspend the user, set `state`.
    #[serde(default)]
    pub paused: bool,
}

/// A `ScimBridgeConnection` in the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionRef {
    /// Name of the connection.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
}

/// The name of a person. 1Password needs both parts.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PersonName {
    /// Given name.
    #[schemars(length(min = 1, max = 256))]
    pub given_name: String,
    /// Family name.
    #[schemars(length(min = 1, max = 256))]
    pub family_name: String,
}

/// `spec.state` of a user.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(
    missing_docs,
    reason = "the field says what they mean, and a description would break the compact enum of the schema"
)]
pub enum UserState {
    Active,
    Suspended,
}

/// `spec.adopt`: what to do with an account or group that existed before.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(
    missing_docs,
    reason = "the field says what they mean, and a description would break the compact enum of the schema"
)]
pub enum Adopt {
    IfUnchanged,
    Always,
    Never,
}

/// The observed state. Only the operator writes it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ScimUserStatus {
    /// The generation of the specification that this status is about; -1 before the first plan.
    #[serde(default = "super::connection::never_observed")]
    pub observed_generation: i64,

    /// The conditions. `Ready` sums them up; its reason is the STATUS column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,

    /// The id that the bridge gave to the account. From then on this object is about that account and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub id: Option<String>,

    /// How the account came to this object. `Created` without an id: the operator asked the bridge to create it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,

    /// The account on the bridge, as the last complete read showed it. Absent if the operator does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_state: Option<RemoteState>,

    /// The changes that the operator would send for this object, held ones included. Empty if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "atomic"))]
    pub plan: Vec<PlannedChange>,

    /// When the suspension was asked for, sent and proven. Present while the user is wanted suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspension: Option<SuspensionTimes>,

    /// Kinds of changes that the operator no longer sends for this object, until the specification changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "atomic"))]
    pub stopped: Vec<StoppedChange>,

    /// When somebody else last changed back what the operator had set, by kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "atomic"))]
    pub overwritten: Vec<OverwrittenChange>,
}

/// The times of a suspension: the evidence that somebody's access ended.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct SuspensionTimes {
    /// When the operator first planned it, or `spec.activeUntil` if that time came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Time>,
    /// When the operator last began to send it. Absent if it was not sent, for instance because the account was suspended
    /// already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Time>,
    /// When a read first showed no active account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven_at: Option<Time>,
}

/// What a complete read of the bridge showed about an account.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(
    missing_docs,
    reason = "the names say it all, and a description would break the compact enum of the schema"
)]
pub enum RemoteState {
    Active,
    Suspended,
    Absent,
    Unknown,
}

const fn active() -> UserState {
    UserState::Active
}

pub(super) const fn if_unchanged() -> Adopt {
    Adopt::IfUnchanged
}
