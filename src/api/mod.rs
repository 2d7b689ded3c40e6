//! The resource as users write and read it, and the closed vocabularies of its status.
//!
//! Everything here is API: names, reasons and fields keep their meaning once released. The module knows nothing of
//! how a verdict comes about.

pub mod connection;
pub mod duration;
pub mod kinds;
pub mod role;
pub mod schema;
pub mod vocabulary;

mod address;
mod crd;

pub use crd::crd;

/// The API group.
pub const GROUP: &str = "scimbridge.dev";

/// Field manager of every server-side apply to a status: one owner, so that a field that is left out goes away.
pub const FIELD_MANAGER: &str = "scim-bridge-operator";

/// Annotation that asks for a probe now: any change of its value is one request.
/// Flux's `flux reconcile` and `kubectl annotate` both set it.
/// <https://fluxcd.io/flux/components/kustomize/kustomizations/#triggering-a-reconcile>
pub const REQUESTED_AT_ANNOTATION: &str = "reconcile.fluxcd.io/requestedAt";

/// Annotation on a Secret that names the hosts its key may be sent to: host patterns, separated by commas.
/// Whoever may write a Secret decides; whoever may only write connections can then not redirect its key.
pub const ALLOWED_HOSTS_ANNOTATION: &str = "scimbridge.dev/allowed-hosts";
