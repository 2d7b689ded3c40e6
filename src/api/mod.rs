//! The resource as users write and read it, and the closed vocabularies of its status.
//!
//! Everything here is API: names, reasons and fields keep their meaning after a release. How the operator reaches a
//! verdict is in `domain`.

pub mod connection;
pub mod directory;
pub mod duration;
pub mod group;
pub mod kinds;
pub mod role;
pub mod schema;
pub mod user;
pub mod vocabulary;

mod address;
mod crd;

pub use crd::{crd, group_crd, user_crd};

/// The API group.
pub const GROUP: &str = "scimbridge.dev";

/// Field manager of every server-side apply to a status. With one owner, the API server removes a field that an apply
/// leaves out.
pub const FIELD_MANAGER: &str = "scim-bridge-operator";

/// Field manager of what a connection says about its directory. Its part of the status is apart from that of probes.
pub const PROVISIONING_FIELD_MANAGER: &str = "scim-bridge-operator-provisioning";

/// Annotation that asks for a probe now. Each change of its value is one request.
/// Flux's `flux reconcile` and `kubectl annotate` both set it.
/// <https://fluxcd.io/flux/components/kustomize/kustomizations/#triggering-a-reconcile>
pub const REQUESTED_AT_ANNOTATION: &str = "reconcile.fluxcd.io/requestedAt";

/// Annotation on a connection that releases one held set of changes: its digest. For several kinds, digests with commas.
pub const RELEASE_ANNOTATION: &str = "scimbridge.dev/release";

/// Annotation on a Secret that names the hosts its key may be sent to: host patterns, separated by commas.
/// Users who can write the Secret decide. Users who can only write connections cannot redirect its key.
pub const ALLOWED_HOSTS_ANNOTATION: &str = "scimbridge.dev/allowed-hosts";
