//! The route to a bridge.

use url::Host;

use super::wire::trust::Trust;
use crate::domain::connection::target::Origin;

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

/// Where a bridge is, however a URL says it: neither a dot at the end of the host nor the scheme makes another bridge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Endpoint {
    host: Host<String>,
    port: u16,
}

// === impl Route ===

impl Route {
    pub(super) fn endpoint(&self) -> Endpoint {
        let Origin {
            scheme: _,
            host,
            port,
            is_absolute: _,
        } = &self.origin;
        Endpoint {
            host: host.clone(),
            port: *port,
        }
    }
}
