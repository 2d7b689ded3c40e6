//! The kinds of this program, and the rights that it needs. Manifests, chart, documentation and `preflight` use this
//! table.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResourceExt as _, core::ApiResource};

use super::{
    GROUP, connection::ScimBridgeConnection, crd, group::ScimGroup, group_crd, user::ScimUser, user_crd,
};

/// A kind that this program defines.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The definition.
    pub crd: fn() -> CustomResourceDefinition,
    /// The resource under which the API server serves it.
    pub resource: fn() -> ApiResource,
    /// Fields of the specification that every version has. A CRD without them belongs to another product.
    pub essential_fields: &'static [&'static str],
    /// The manifest that holds the definition, by its path from the root of the repository.
    pub manifest: &'static str,
    /// The values with which the chart installs the definition, as `helm --set` takes them.
    pub chart_values: &'static str,
}

/// The kind that the operator always needs.
pub const CONNECTION: Kind = Kind {
    crd,
    resource: ScimBridgeConnection::api_resource,
    essential_fields: &["spec", "spec.url", "spec.apiKeySecretRef"],
    manifest: "deploy/crd.yaml",
    chart_values: "crds.install=true",
};

/// The manifest of both kinds that `--provisioning` needs.
const PROVISIONING_MANIFEST: &str = "deploy/provisioning/crds.yaml";
/// The chart's values for both.
const PROVISIONING_VALUES: &str = "crds.install=true,provisioning.enabled=true";

/// The kinds that the operator needs with `--provisioning`.
pub const PROVISIONING_KINDS: [Kind; 2] = [
    Kind {
        crd: user_crd,
        resource: ScimUser::api_resource,
        essential_fields: &["spec", "spec.connectionRef", "spec.userName"],
        manifest: PROVISIONING_MANIFEST,
        chart_values: PROVISIONING_VALUES,
    },
    Kind {
        crd: group_crd,
        resource: ScimGroup::api_resource,
        essential_fields: &["spec", "spec.connectionRef", "spec.displayName"],
        manifest: PROVISIONING_MANIFEST,
        chart_values: PROVISIONING_VALUES,
    },
];

/// A right of the operator's ServiceAccount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// Resources and subresources, as RBAC names them.
    pub resources: &'static [&'static str],
    /// The allowed verbs.
    pub verbs: &'static [&'static str],
    /// Why the operator needs it, in sentences for administrators.
    pub why: &'static [&'static str],
    /// Whether the operator works without it.
    pub is_optional: bool,
}

/// The rights in each namespace that the operator watches.
pub const RIGHTS: &[Right] = &[
    Right {
        group: GROUP,
        resources: &["scimbridgeconnections"],
        verbs: &["get", "list", "watch"],
        why: &[
            "list, watch: to see connections.",
            "get: to read one again that changed while its status was written.",
        ],
        is_optional: false,
    },
    Right {
        group: GROUP,
        resources: &["scimbridgeconnections/status"],
        verbs: &["patch"],
        why: &["To write their conditions."],
        is_optional: false,
    },
    Right {
        group: "",
        resources: &["secrets", "configmaps"],
        verbs: &["get", "list", "watch"],
        why: &[
            "get: to read the key and the certificate authority of a connection.",
            "list, watch: to see that they changed. The operator asks for metadata only, but RBAC cannot grant that alone.",
        ],
        is_optional: false,
    },
    Right {
        group: "events.k8s.io",
        resources: &["events"],
        verbs: &["create", "patch"],
        why: &["To record events. Without this right there are no events, and all else works."],
        is_optional: true,
    },
];

/// The further rights in each namespace that the operator watches with `--provisioning`.
pub const PROVISIONING_RIGHTS: &[Right] = &[
    Right {
        group: GROUP,
        resources: &["scimusers", "scimgroups"],
        verbs: &["get", "list", "watch"],
        why: &[
            "list, watch: to see users and groups.",
            "get: to read one again that changed while its status was written.",
        ],
        is_optional: false,
    },
    Right {
        group: GROUP,
        resources: &["scimusers/status", "scimgroups/status"],
        verbs: &["patch"],
        why: &["To write their conditions."],
        is_optional: false,
    },
];

/// The rights in the operator's own namespace, for leader election: to create a Lease, and to use its own one.
pub const LEASE_RIGHTS: [Right; 2] = [
    Right {
        group: "coordination.k8s.io",
        resources: &["leases"],
        verbs: &["create"],
        why: &["To create its Lease. RBAC cannot bind a create to a name."],
        is_optional: false,
    },
    Right {
        group: "coordination.k8s.io",
        resources: &["leases"],
        verbs: &["get", "update"],
        why: &["To renew and release its Lease."],
        is_optional: false,
    },
];
