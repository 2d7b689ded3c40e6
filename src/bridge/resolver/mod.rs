//! Names to addresses, through the policy.
//!
//! The check sits between look-up and connect, in the only resolver that the client has: the connection goes to an
//! address that was judged, and there is no second look-up. An answer that changes between two look-ups (DNS rebinding)
//! meets the policy each time.
//!
//! # What the system's resolver does with a name
//!
//! A bridge has to be found where other programs on the machine find it. So the yardstick is `getaddrinfo` of the GNU C
//! library with `hosts: files dns`. `tests/resolver` holds each line, and asks that library itself where it can.
//!
//! | | |
//! |---|---|
//! | hosts file | A name with a line there, of any family, has the addresses of its lines and no others: no server is asked. The file is read with each look-up. The C library finds no line for an absolute name; here the dot does not count. |
//! | `localhost` | Loopback, below it as well; no server is asked (RFC 6761). The C library leaves that to the hosts file. |
//! | absolute names | `scim.example.com.` is asked for as it stands. In `spec.url` as well. |
//! | search list | With fewer than `ndots` dots the domains come first, else the name. The next one is tried where there is no such name, no address, or the server fails. Behind a domain for which the servers keep silent, only the name itself is tried. |
//! | labels | Every label of 1 to 63 octets is asked for as it stands. |
//! | families | Both at once. One that fails or keeps silent costs the other nothing. |
//! | servers | Up to three, IPv6 and zones included, in their order. One that refuses, fails or knows nothing of the name (no recursion) is passed over at once, a silent one when its share is over. |
//! | TCP | Where an answer is truncated, or from the start with `use-vc`. |
//! | answers | A message with another number or question is ignored. Aliases are followed within the answer, up to 16. |
//! | options | `ndots`, `timeout`, `attempts`, `rotate`, `edns0` (and again without it), `use-vc`, `single-request`, `no-aaaa`, `no-tld-query`. `single-request-reopen`, `trust-ad`, `no-reload` and `sortlist` have no meaning here. |
//! | resolv.conf(5) | Read with each look-up. Without it, or without a server in it, one on loopback is asked; without a search list the domain of the machine's name is searched. |
//! | environment | `LOCALDOMAIN` and `RES_OPTIONS` count, as they were when the process began: a Pod that sets them means this process. `HOSTALIASES` does not. |
//! | nsswitch.conf(5), gai.conf(5) | Not read. Images without a shell have none, and then the C library does the same. |
//!
//! What differs is the time. The C library gives each server five seconds, twice; a whole probe has ten by default. Here
//! a look-up has nine tenths of the time that the probe has left. It ends as [`ResolveError::TimedOut`] before the probe
//! does, so that the layer is known. Within that time each part has a share. When the share is over the next part is
//! asked too, and the first answer counts:
//!
//! - a name of the search list has half of the time that is left, the last one all of it;
//! - a server has the share of its name, divided by servers and attempts, and no more than `timeout`;
//! - an address family has 50 ms after the addresses of the other (RFC 8305).
//!
//! A look-up ends when nobody waits for it any longer, and holds no thread while it lasts. It sends at most 256 messages.

mod config;
mod hosts;
mod lookup;
mod order;
mod search;
mod servers;
mod wire;

use std::{
    fmt, fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::time::Instant;
use url::Host;

use self::config::{Config, Environment, Switch};
pub use self::wire::read_dns_answer;
use super::{
    address::AddressPolicy,
    race::Attempt,
    stages::{Stage, pass},
};
use crate::domain::evidence::Denial;

/// More addresses of one name than this are not tried: a name with thousands of them would have the operator knock at
/// thousands of doors.
const MAX_ADDRESSES: usize = 8;

/// How long a look-up may take that belongs to no probe: a connection that is made in vain, because another has become
/// free, outlives the request that wanted it.
const WITHOUT_A_PROBE: Duration = Duration::from_secs(10);

/// Looks names up.
#[derive(Clone)]
pub struct Names(Arc<Source>);

/// Where it is written how to look a name up.
#[derive(Debug)]
struct Source {
    resolv_conf: PathBuf,
    hosts: PathBuf,
    /// Of every server.
    port: u16,
    environment: Environment,
    /// Look-ups so far: with `rotate` each begins with another server.
    look_ups: AtomicUsize,
}

/// Resolves, and passes on what the policy allows.
#[derive(Debug)]
pub(super) struct GuardedResolver {
    pub(super) names: Names,
    pub(super) policy: Arc<AddressPolicy>,
    /// The host to connect to in place of the name that is asked for: with `spec.tls.serverName` the request has
    /// another name, and it has no dot at the end of an absolute one.
    pub(super) instead: Option<Host<String>>,
}

/// Resolves the name of the proxy, whose place is the administrator's choice.
#[derive(Debug)]
pub(super) struct ProxyResolver(pub(super) Names);

/// Why a name led nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// A server says so, or the text cannot be a name in DNS.
    #[error("the name has no address")]
    NotFound,
    /// No server answered in time.
    #[error("no DNS server answered in time")]
    TimedOut,
    /// The servers cannot be reached, or answer that they cannot say.
    #[error("the DNS servers failed to answer")]
    Failed,
    /// The name has addresses, and none of them may be connected to.
    #[error("the address policy refuses every address of the name")]
    Denied(Denial),
}

/// The name of the proxy led nowhere. Says nothing of the bridge's name.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the name of the proxy does not resolve")]
struct ProxyUnresolved;

// === impl Names ===

impl Names {
    /// By the hosts file and the servers of this machine.
    #[must_use]
    pub fn of_the_system() -> Self {
        Self::new(
            "/etc/resolv.conf".into(),
            "/etc/hosts".into(),
            53,
            Environment::of_this_process(),
        )
    }

    /// By these files, and by servers at this port.
    #[must_use]
    pub fn by(resolv_conf: PathBuf, hosts: PathBuf, port: u16) -> Self {
        Self::new(resolv_conf, hosts, port, Environment::default())
    }

    fn new(resolv_conf: PathBuf, hosts: PathBuf, port: u16, environment: Environment) -> Self {
        Self(Arc::new(Source {
            resolv_conf,
            hosts,
            port,
            environment,
            look_ups: AtomicUsize::new(0),
        }))
    }

    /// The addresses of a name, within this time. They are in the order in which the hosts file or the server has them,
    /// and not judged.
    ///
    /// Each look-up is new: an address that was right a while ago proves nothing.
    pub async fn look_up(&self, name: &str, within: Duration) -> Result<Vec<IpAddr>, ResolveError> {
        let deadline = Instant::now() + within;
        let source = &*self.0;
        let relative = name.strip_suffix('.').unwrap_or(name);
        let pinned = hosts::find(&read(&source.hosts), relative);
        if !pinned.is_empty() {
            return Ok(pinned);
        }
        if let Some(loopback) = hosts::loopback(relative) {
            return Ok(loopback);
        }
        let config = Config::read(&read(&source.resolv_conf), source.port, &source.environment);
        let first = if config.options.has(Switch::Rotate) {
            source.look_ups.fetch_add(1, Ordering::Relaxed) % config.servers.len()
        } else {
            0
        };
        lookup::look_up(name, &config, first, deadline).await
    }

    /// For the connection that this task makes.
    async fn look_up_for(
        &self,
        host: Host<String>,
        attempt: Option<&Attempt>,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        match host {
            Host::Domain(name) => {
                let left = attempt.map_or(WITHOUT_A_PROBE, Attempt::time_left);
                // The last tenth is the probe's: it has to end as what it is.
                self.look_up(&name, left * 9 / 10).await
            }
            Host::Ipv4(address) => Ok(vec![address.into()]),
            Host::Ipv6(address) => Ok(vec![address.into()]),
        }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names(..)")
    }
}

/// The text of a file. One that cannot be read says nothing, as in the C library. It is small and local: reading it in
/// another thread would make the look-up hold one.
fn read(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

// === impl GuardedResolver ===

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let attempt = Attempt::current();
        if let Some(address) = attempt.as_ref().and_then(Attempt::address) {
            return Box::pin(async move { Ok(to_client(vec![address])) });
        }
        let policy = Arc::clone(&self.policy);
        let names = self.names.clone();
        let host = self
            .instead
            .clone()
            .unwrap_or_else(|| Host::Domain(name.as_str().to_owned()));
        Box::pin(async move {
            let found = names.look_up_for(host, attempt.as_ref()).await?;
            // Of a name whose addresses are all denied, the rule that denies the first is told.
            let mut denial = Denial::Special;
            let mut allowed = Vec::new();
            for address in found.into_iter().rev() {
                match policy.judge_address(address) {
                    Ok(()) => allowed.push(address),
                    Err(rule) => denial = rule,
                }
            }
            allowed.reverse();
            let allowed = order::order(allowed, MAX_ADDRESSES);
            if allowed.is_empty() {
                return Err(ResolveError::Denied(denial).into());
            }
            pass(Stage::Resolved(&allowed));
            Ok(to_client(share_out(allowed, attempt.as_ref())))
        })
    }
}

// === impl ProxyResolver ===

impl Resolve for ProxyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let attempt = Attempt::current();
        if let Some(address) = attempt.as_ref().and_then(Attempt::address) {
            return Box::pin(async move { Ok(to_client(vec![address])) });
        }
        let names = self.0.clone();
        let host = Host::Domain(name.as_str().to_owned());
        Box::pin(async move {
            let found = names.look_up_for(host, attempt.as_ref()).await;
            let found = order::order(found.map_err(|_| ProxyUnresolved)?, MAX_ADDRESSES);
            Ok(to_client(share_out(found, attempt.as_ref())))
        })
    }
}

/// What this attempt gets: the first address where others can have the rest, all of them where there are no others.
fn share_out(mut addresses: Vec<IpAddr>, attempt: Option<&Attempt>) -> Vec<IpAddr> {
    if let Some(attempt) = attempt {
        attempt.resolved(&addresses);
        addresses.truncate(1);
    }
    addresses
}

fn to_client(addresses: Vec<IpAddr>) -> Addrs {
    // Port 0: the client puts in the port of the URL.
    Box::new(
        addresses
            .into_iter()
            .map(|address| SocketAddr::from((address, 0))),
    )
}
