//! Names to addresses, through the policy.
//!
//! The check sits between look-up and connect, in the only resolver that the client has: the connection goes to an
//! address that was judged, and there is no second look-up. An answer that changes between two look-ups (DNS rebinding)
//! meets the policy each time.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use hickory_resolver::{
    Resolver, TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

use super::{
    address::AddressPolicy,
    stages::{Stage, pass},
};

/// More addresses of one name than this are not tried: a name with thousands of them would have the operator knock at
/// thousands of doors.
const MAX_ADDRESSES: usize = 8;

/// Looks names up. A look-up that is no longer waited for ends, and holds no thread while it lasts.
#[derive(Clone)]
pub struct Names(Result<Arc<TokioResolver>, Unconfigured>);

/// The resolver could not be set up, and so no name resolves.
#[derive(Clone, Copy, Debug)]
struct Unconfigured;

/// Resolves, and passes on what the policy allows.
#[derive(Debug)]
pub(super) struct GuardedResolver {
    pub(super) names: Names,
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

// === impl Names ===

impl Names {
    /// By the hosts file and the servers of this machine, as they are now. Without `/etc/resolv.conf` a server on
    /// loopback is asked, as resolv.conf(5) has it.
    #[must_use]
    pub fn of_the_system() -> Self {
        match Resolver::builder_tokio() {
            Ok(builder) => Self::build(builder),
            Err(_) => Self::by(SocketAddr::from((Ipv4Addr::LOCALHOST, 53))),
        }
    }

    /// By this server alone.
    #[must_use]
    pub fn by(server: SocketAddr) -> Self {
        let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
        for connection in &mut connections {
            connection.port = server.port();
        }
        let server = NameServerConfig::new(server.ip(), true, connections.into());
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        Self::build(Resolver::builder_with_config(
            config,
            TokioRuntimeProvider::default(),
        ))
    }

    fn build(mut builder: hickory_resolver::ResolverBuilder<TokioRuntimeProvider>) -> Self {
        let options = builder.options_mut();
        // Each probe looks for itself: an address that was right a while ago proves nothing.
        options.cache_size = 0;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        Self(builder.build().map(Arc::new).map_err(|_| Unconfigured))
    }

    async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let resolver = self.0.as_ref().map_err(|_| ResolveError::NotFound)?;
        let found = resolver
            .lookup_ip(name)
            .await
            .map_err(|_| ResolveError::NotFound)?;
        Ok(found.iter().collect())
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names(..)")
    }
}

// === impl GuardedResolver ===

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.policy);
        let names = self.names.clone();
        let host = self
            .instead
            .clone()
            .unwrap_or_else(|| Host::Domain(name.as_str().to_owned()));
        Box::pin(async move {
            let found = match host {
                Host::Domain(name) => names.look_up(&name).await?,
                Host::Ipv4(address) => vec![address.into()],
                Host::Ipv6(address) => vec![address.into()],
            };
            if found.is_empty() {
                return Err(ResolveError::NotFound.into());
            }
            let allowed: Vec<IpAddr> = found
                .into_iter()
                .filter(|address| policy.allows_address(*address))
                .take(MAX_ADDRESSES)
                .collect();
            if allowed.is_empty() {
                return Err(ResolveError::Denied.into());
            }
            pass(Stage::Resolved(&allowed));
            // Port 0: the client puts in the port of the URL.
            let addresses = allowed.into_iter().map(|address| SocketAddr::from((address, 0)));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}
