//! The route to a bridge.

use url::Host;

use super::wire::trust::Trust;
use crate::domain::connection::target::Origin;

/// Where a bridge is, and how it must prove its identity: everything that can change a response before a key is sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Where the bridge is.
    pub origin: Origin,
    /// Which certificates are trusted.
    pub trust: Trust,
    /// The name that the certificate must be for, if it differs from the host.
    pub server_name: Option<String>,
}

/// The host and port of a bridge. URLs that differ only in the scheme, or in a dot after the host, lead to the same
/// bridge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: Host<String>,
    port: u16,
}

// === impl Route ===

impl Route {
    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint::from(&self.origin)
    }
}

impl From<&Origin> for Endpoint {
    fn from(origin: &Origin) -> Self {
        let Origin {
            scheme: _,
            host,
            port,
            is_absolute: _,
        } = origin;
        Self {
            host: host.clone(),
            port: *port,
        }
    }
}
