//! Names to addresses, through the policy.
//!
//! The check sits between look-up and connect, in the only resolver that the client has: an answer that changes
//! between two look-ups (DNS rebinding) meets it each time.

use std::{net::SocketAddr, sync::Arc};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

use super::address::AddressPolicy;

/// Resolves by the system's resolver and passes on what the policy allows.
#[derive(Debug)]
pub(super) struct GuardedResolver {
    pub(super) policy: Arc<AddressPolicy>,
    /// The host to connect to whatever name is asked for: with `spec.tls.serverName` the request goes by another name
    /// than the address.
    pub(super) instead: Option<Host<String>>,
}

/// Why a name led nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ResolveError {
    #[error("the name does not resolve")]
    NotFound,
    #[error("the address policy refuses every address of the name")]
    Denied,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.policy);
        let host = self
            .instead
            .clone()
            .unwrap_or_else(|| Host::Domain(name.as_str().to_owned()));
        Box::pin(async move {
            // Port 0: the client puts in the port of the URL.
            let found: Vec<SocketAddr> = match host {
                Host::Domain(name) => tokio::net::lookup_host((name, 0))
                    .await
                    .map_err(|_| ResolveError::NotFound)?
                    .collect(),
                Host::Ipv4(address) => vec![(address, 0).into()],
                Host::Ipv6(address) => vec![(address, 0).into()],
            };
            if found.is_empty() {
                return Err(ResolveError::NotFound.into());
            }
            let allowed: Vec<_> = found
                .into_iter()
                .filter(|address| policy.allows_address(address.ip()))
                .collect();
            if allowed.is_empty() {
                return Err(ResolveError::Denied.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}
