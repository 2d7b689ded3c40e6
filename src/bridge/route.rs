//! The route to a bridge.

use super::trust::Trust;
use crate::domain::target::Origin;

/// Where a bridge is, and who it must prove to be there: what decides about an answer before a key is sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Where the bridge is.
    pub origin: Origin,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// The name that the certificate must be for, where it is not the host's.
    pub server_name: Option<String>,
}
