//! `scimbridge.dev/v1alpha1`: the `ScimGroup`.
//!
//! `kubectl explain` shows the doc comments of the fields.

#![allow(
    unreachable_pub,
    reason = "KubeSchema repeats each struct, with its `pub`, inside a function"
)]
#![allow(clippy::duplicated_attributes, reason = "each printcolumn has a type_")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    directory::{Origin, OverwrittenChange, PlannedChange, StoppedChange},
    user::{Adopt, ConnectionRef, USER_NAME, if_unchanged},
};

/// The desired group of a 1Password account.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "scimbridge.dev",
    version = "v1alpha1",
    kind = "ScimGroup",
    plural = "scimgroups",
    shortname = "scg",
    category = "scim",
    namespaced,
    status = "ScimGroupStatus",
    derive = "PartialEq",
    doc = "A group of a 1Password account, reached through a proven connection. If you delete this object, the group and its members stay.",
    printcolumn(name = "GROUP", type_ = "string", json_path = ".spec.displayName"),
    printcolumn(name = "MEMBERSHIP", type_ = "string", json_path = ".spec.membership"),
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
    printcolumn(name = "WANTED", type_ = "integer", json_path = ".status.members.wanted"),
    printcolumn(name = "MISSING", type_ = "integer", json_path = ".status.members.missing"),
    printcolumn(name = "EXTRA", type_ = "integer", json_path = ".status.members.extra"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "CONNECTION",
        type_ = "string",
        json_path = ".spec.connectionRef.name",
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
#[x_kube(
    validation = Rule::new("self.membership != 'Exact' || has(self.members)").message("membership Exact needs a list of members: write members: [] for an empty group").field_path(".members")
)]
pub struct ScimGroupSpec {
    /// The connection to the bridge, in the namespace of this object. It cannot be changed.
    #[x_kube(validation = Rule::new("self == oldSelf").message("cannot be changed: create another object for another connection"))]
    pub connection_ref: ConnectionRef,

    /// The group's name. If it changes, the plan renames the group.
    #[schemars(length(min = 1, max = 256))]
    pub display_name: String,

    /// `Additive`: the plan adds the listed members and removes only members that the operator added. `Exact`: it also
    /// removes all others. `Exact` needs a bridge that shows the members of a group.
    #[serde(default = "additive")]
    pub membership: Membership,

    /// The members. Each is a user of the same bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10_000))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["userName".to_owned()]))]
    pub members: Option<Vec<GroupMember>>,

    /// Whether to take over a group of this name that existed before. `IfUnchanged`: only if nothing would change.
    /// `Always`: also if members differ. `Never`: leave it alone.
    #[serde(default = "if_unchanged")]
    pub adopt: Adopt,

    /// While this is true, the operator sends nothing for this object.
    #[serde(default)]
    pub paused: bool,
}

/// A member of a group.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GroupMember {
    /// The address with which the user signs in.
    #[schemars(length(min = 3, max = 254), regex(pattern = USER_NAME))]
    pub user_name: String,
    /// From this time on, the entry counts as absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self < timestamp('9999-01-01T00:00:00Z')").message("must be before the year 9999: leave it out for no end"))]
    pub until: Option<Time>,
}

/// `spec.membership`: which members the operator keeps.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(
    missing_docs,
    reason = "the field says what they mean, and a description would break the compact enum of the schema"
)]
pub enum Membership {
    Additive,
    Exact,
}

/// The observed state. Only the operator writes it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ScimGroupStatus {
    /// The generation of the specification that this status is about; -1 before the first plan.
    #[serde(default = "super::connection::never_observed")]
    pub observed_generation: i64,

    /// The conditions. `Ready` sums them up; its reason is the STATUS column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,

    /// The id that the bridge gave to the group. From then on this object is about that group and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub id: Option<String>,

    /// How the group came to this object. `Created` without an id: the operator asked the bridge to create it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,

    /// How many members the group should have and has. Absent if the bridge does not show them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<MemberCount>,

    /// The changes that the operator would send for this object, held ones included. Empty if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "atomic"))]
    pub plan: Vec<PlannedChange>,

    /// The ids of the members that the operator added, or is about to add. Only they are its to remove, unless
    /// `spec.membership` is `Exact`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10_000), inner(length(max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub added: Vec<String>,

    /// Kinds of changes that the operator no longer sends for this object, until the specification changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "atomic"))]
    pub stopped: Vec<StoppedChange>,

    /// When somebody else last changed back what the operator had set, by kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "atomic"))]
    pub overwritten: Vec<OverwrittenChange>,
}

/// How many members a group should have and has.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct MemberCount {
    /// Entries of `spec.members` that count now, without users who are declared suspended.
    #[schemars(range(min = 0))]
    pub wanted: u32,
    /// Wanted members who are in the group.
    #[schemars(range(min = 0))]
    pub present: u32,
    /// Wanted members who are not in the group.
    #[schemars(range(min = 0))]
    pub missing: u32,
    /// Members of the group who are not wanted.
    #[schemars(range(min = 0))]
    pub extra: u32,
}

const fn additive() -> Membership {
    Membership::Additive
}
