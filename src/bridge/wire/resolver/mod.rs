//! Resolves names to addresses, and returns only addresses that the policy allows.
//!
//! The client has no other resolver, so every connection goes to a checked address. A connection has one look-up. If
//! the next one gets another answer (DNS rebinding), the policy checks that too.
//!
//! # Rules
//!
//! The operator must find a bridge where other programs on the machine find it. So it follows `getaddrinfo` of the GNU
//! C library with `hosts: files dns`. `tests/resolver` tests each row, and compares it with that library where
//! possible.
//!
//! | | |
//! |---|---|
//! | hosts file | A name in the file has only the addresses of its lines, in both families. No server is asked. The file is read for each look-up. The C library finds no absolute name there; here the dot at the end does not matter. |
//! | `localhost` | This name and all names below it are loopback. No server is asked (RFC 6761). The C library leaves that to the hosts file. |
//! | absolute names | `scim.example.com.` is asked for unchanged, also in `spec.url`. |
//! | search list | A name with fewer than `ndots` dots is tried in the search domains first. Any other name is tried unchanged first. The next name is tried if there is no such name, no address, or the server fails. After a domain without a response, only the name itself is tried. |
//! | labels | Every label of 1 to 63 octets is asked for unchanged. |
//! | families | Both are asked at once. If one fails or is silent, the other loses no time. |
//! | servers | Up to three, in their order. IPv6 addresses with zones work. If a server refuses, fails or does not know the name (no recursion), the next one is asked at once. If it is silent, the next one is asked after its share. |
//! | TCP | Used if an answer is truncated, or always with `use-vc`. |
//! | answers | A message with another ID or question is ignored. Aliases are followed within the answer, up to 16. |
//! | options | `ndots`, `timeout`, `attempts`, `rotate`, `edns0` (and again without it), `use-vc`, `single-request`, `no-aaaa`, `no-tld-query`. `single-request-reopen`, `trust-ad`, `no-reload` and `sortlist` have no meaning here. |
//! | resolv.conf(5) | Read for each look-up. Without a file or a server in it, a server on loopback is asked. Without a search list, the domain of the machine's name is searched. |
//! | environment | `LOCALDOMAIN` and `RES_OPTIONS` count, as they were when the process started: a Pod sets them for this process. `HOSTALIASES` does not count. |
//! | nsswitch.conf(5), gai.conf(5) | Not read. Images without a shell have none, and then the C library does the same. |
//!
//! Only the time differs. The C library gives each server five seconds, twice. A whole probe has ten seconds by
//! default. Here a look-up has nine tenths of the time that the probe has left. It ends with [`ResolveError::TimedOut`]
//! before the probe does, so the failed layer is known. Each part has a share of that time. When a share ends, the next
//! part is asked too, and the first answer counts:
//!
//! - A name of the search list has half of the time left, the last one all of it.
//! - A server has the share of its name, divided by servers and attempts, but at most `timeout`.
//! - An address family has 50 ms after the addresses of the other one arrive (RFC 8305).
//!
//! A look-up ends when no task waits for it any more. It uses no thread, and sends at most 256 messages.

mod config;
mod hosts;
mod lookup;
mod message;
mod order;
mod search;
mod servers;

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
pub use self::message::read_dns_answer;
use super::{
    address::AddressPolicy,
    race::Attempt,
    stages::{Stage, pass},
};
use crate::domain::connection::evidence::Denial;

/// Most addresses of one name that are tried. A name may have thousands, and the operator must not contact them all.
const MAX_ADDRESSES: usize = 8;

/// The time for a look-up outside of a probe. hyper-util 0.1.21 may finish an unused connect in the background, after
/// its request has ended.
const WITHOUT_A_PROBE: Duration = Duration::from_secs(10);

/// Looks names up.
#[derive(Clone)]
pub struct Names(Arc<Source>);

/// The files and the environment that configure look-ups.
#[derive(Debug)]
struct Source {
    resolv_conf: PathBuf,
    hosts: PathBuf,
    /// The port of every server.
    port: u16,
    environment: Environment,
    /// The number of look-ups so far. With `rotate`, each begins with another server.
    look_ups: AtomicUsize,
}

/// Resolves names, and returns only addresses that the policy allows.
#[derive(Debug)]
pub(crate) struct GuardedResolver {
    pub(crate) names: Names,
    pub(crate) policy: Arc<AddressPolicy>,
    /// The host to look up instead of the name in the URL. The URL has another name with `spec.tls.serverName`, and no
    /// dot at the end of an absolute name.
    pub(crate) host_override: Option<Host<String>>,
}

/// Resolves the name of the proxy. It checks no policy, because the administrator chooses the proxy.
#[derive(Debug)]
pub(crate) struct ProxyResolver(pub(crate) Names);

/// Why a name did not resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// A server says so, or the text cannot be a DNS name.
    #[error("the name has no address")]
    NotFound,
    /// No server answered in time.
    #[error("no DNS server answered in time")]
    TimedOut,
    /// No server can be reached, or the servers answer with errors.
    #[error("the DNS servers failed to answer")]
    Failed,
    /// The name has addresses, but the policy allows none of them.
    #[error("the address policy refuses every address of the name")]
    Denied(Denial),
}

/// The name of the proxy did not resolve. This says nothing about the bridge's name.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the name of the proxy does not resolve")]
struct ProxyUnresolved;

// === impl Names ===

impl Names {
    /// Uses the hosts file and the servers of this machine.
    #[must_use]
    pub fn of_the_system() -> Self {
        Self::new(
            "/etc/resolv.conf".into(),
            "/etc/hosts".into(),
            53,
            Environment::of_this_process(),
        )
    }

    /// Uses these files, and servers at this port.
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

    /// Looks up the addresses of a name, within this time. They are in the order of the hosts file or the server. The
    /// policy has not checked them.
    ///
    /// Nothing is cached: an address that was right before may be wrong now.
    ///
    /// # Errors
    /// [`ResolveError`], but never [`ResolveError::Denied`].
    pub async fn look_up(&self, name: &str, within: Duration) -> Result<Vec<IpAddr>, ResolveError> {
        let deadline = Instant::now() + within;
        let source = &*self.0;
        let relative = name.strip_suffix('.').unwrap_or(name);
        let from_hosts = hosts::find(&read(&source.hosts), relative);
        if !from_hosts.is_empty() {
            return Ok(from_hosts);
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

    /// Looks a host up within the time of this attempt.
    async fn look_up_for(
        &self,
        host: Host<String>,
        attempt: Option<&Attempt>,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        match host {
            Host::Domain(name) => {
                let left = attempt.map_or(WITHOUT_A_PROBE, Attempt::time_left);
                // The last tenth remains, so that the look-up fails before the probe does.
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

/// Reads a file. One that cannot be read counts as empty, as in the C library. The read blocks: the file is small and
/// local, and a look-up must not need a thread.
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
            .host_override
            .clone()
            .unwrap_or_else(|| Host::Domain(name.as_str().to_owned()));
        Box::pin(async move {
            let found = names.look_up_for(host, attempt.as_ref()).await?;
            // If the policy denies all addresses, the error names the rule that denies the first.
            let mut denial = Denial::Special;
            let mut allowed = Vec::new();
            for address in found.into_iter().rev() {
                match policy.judge_address(address) {
                    Ok(()) => allowed.push(address),
                    Err(rule) => denial = rule,
                }
            }
            allowed.reverse();
            let allowed = order::interleave(allowed, MAX_ADDRESSES);
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
            let found = order::interleave(found.map_err(|_| ProxyUnresolved)?, MAX_ADDRESSES);
            Ok(to_client(share_out(found, attempt.as_ref())))
        })
    }
}

/// The addresses for this attempt: the first one, because the other attempts take the rest. Without an attempt, all.
fn share_out(mut addresses: Vec<IpAddr>, attempt: Option<&Attempt>) -> Vec<IpAddr> {
    if let Some(attempt) = attempt {
        attempt.set_addresses(&addresses);
        addresses.truncate(1);
    }
    addresses
}

fn to_client(addresses: Vec<IpAddr>) -> Addrs {
    // reqwest replaces port 0 with the port of the URL.
    Box::new(
        addresses
            .into_iter()
            .map(|address| SocketAddr::from((address, 0))),
    )
}
