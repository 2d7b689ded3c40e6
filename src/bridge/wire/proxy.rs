//! The HTTP proxy between the operator and the bridges, and the bridges that need no proxy.
//!
//! Only the administrator's flags set the proxy: no environment variable does, and no field of an object. This module
//! decides before a client is built. So a client either resolves bridge names and checks every address, or it resolves
//! only the proxy's name.
//!
//! A proxy resolves the names of bridges itself. Then the address policy checks names and literal addresses as written,
//! but not the addresses of a name.

use std::{fmt, str::FromStr};

use ipnet::IpNet;
use url::{Host, Url};

use super::address::{HostPattern, InvalidPattern, parse_network};
use crate::domain::connection::target::Origin;

/// The proxy, and the exceptions that are reached without it.
#[derive(Clone, Debug)]
pub struct BridgeProxy {
    /// `--bridge-proxy`
    pub url: ProxyUrl,
    /// `--bridge-no-proxy`
    pub exceptions: Vec<Exception>,
}

/// The URL of an HTTP proxy: `http://HOST:PORT`, with `USER:PASSWORD@` if it requires a login.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Url);

/// Hosts or addresses that are reached without the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exception {
    /// Hosts that match a pattern.
    Host(HostPattern),
    /// Literal addresses in a network.
    Network(IpNet),
}

/// The text is not the URL of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT; no other scheme, and no path")]
pub struct InvalidProxy;

/// The text is neither a host pattern nor a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a network (10.0.0.0/8) or a host. For a host, {InvalidPattern}")]
pub struct InvalidException;

// === impl BridgeProxy ===

impl BridgeProxy {
    /// Whether requests to this origin go through the proxy.
    #[must_use]
    pub fn covers(&self, origin: &Origin) -> bool {
        !self.exceptions.iter().any(|exception| match exception {
            Exception::Host(pattern) => pattern.matches(&origin.host),
            Exception::Network(network) => origin
                .address()
                .is_some_and(|address| network.contains(&address.to_canonical())),
        })
    }
}

// === impl ProxyUrl ===

impl ProxyUrl {
    /// The whole URL for the HTTP client, with the password.
    pub(super) fn expose(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for ProxyUrl {
    type Err = InvalidProxy;

    /// Takes only `http`. The tunnel to an https bridge has its own TLS. Trust in a proxy's certificate would have to be
    /// separate from trust in a bridge's.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        server_url(text)
            .filter(|url| url.scheme() == "http" && url.path() == "/")
            .map(Self)
            .ok_or(InvalidProxy)
    }
}

/// Reads the URL of a server from an administrator's flag. It must have no query and no fragment. The rules for the
/// host and port of a bridge also apply here.
#[must_use]
pub fn server_url(text: &str) -> Option<Url> {
    let text = text.trim();
    // The URL parser also accepts `http:host` and `http:///host`, and removes line breaks. All of these are mistakes.
    let (scheme, rest) = text.split_once("://")?;
    if rest.starts_with('/') || text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
        return None;
    }
    let url: Url = text.parse().ok()?;
    let origin = format!("{scheme}://{}:{}", url.host_str()?, url.port_or_known_default()?);
    let is_server = Origin::parse(&origin).is_ok() && url.query().is_none() && url.fragment().is_none();
    is_server.then_some(url)
}

/// Shows neither user nor password.
impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host().unwrap_or(Host::Domain(""));
        write!(
            f,
            "http://{host}:{}",
            self.0.port_or_known_default().unwrap_or_default()
        )
    }
}

// === impl Exception ===

impl FromStr for Exception {
    type Err = InvalidException;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match parse_network(text) {
            Ok(network) => Ok(Self::Network(network)),
            Err(_) => text.parse().map(Self::Host).map_err(|_| InvalidException),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions() {
        let proxy = BridgeProxy {
            url: "http://proxy.example.com:3128".parse().unwrap(),
            exceptions: [
                "*.svc.cluster.local",
                "scim.example.com",
                ".localhost",
                ".Corp.Example.",
                "10.0.0.0/8",
                "fd00::/8",
                "[2001:db8:1::1]",
            ]
            .map(|text| text.parse().unwrap())
            .to_vec(),
        };
        for (url, covered) in [
            ("https://scim.example.com", false),
            ("https://scim.example.com:8443", false),
            ("https://other.example.com", true),
            ("https://bridge.svc.cluster.local", false),
            ("https://a.bridge.svc.cluster.local", true),
            ("https://bridge.localhost", false),
            ("https://localhost", true),
            ("https://a.b.corp.example", false),
            ("https://corp.example", true),
            ("https://[2001:db8:1:0::1]", false),
            ("https://10.1.2.3", false),
            ("https://[::ffff:10.1.2.3]", false),
            ("https://11.1.2.3", true),
            ("https://[fd12::1]", false),
            ("https://[2001:db8::1]", true),
        ] {
            assert_eq!(proxy.covers(&Origin::parse(url).unwrap()), covered, "{url}");
        }
    }

    #[test]
    fn what_is_a_proxy() {
        for good in [
            "http://proxy.example.com:3128",
            "http://proxy.example.com",
            "http://[::1]:3128/",
            "http://user:obviously-fake@proxy.example.com:3128",
            "HTTP://10.0.0.7:3128",
            " http://proxy.example.com:3128\n",
            "http://op_proxy.corp.example.:3128",
        ] {
            assert!(good.parse::<ProxyUrl>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "proxy.example.com:3128",
            "https://proxy.example.com",
            "socks5://proxy.example.com",
            "http://proxy.example.com/path",
            "http://proxy.example.com?x",
            "http://proxy.example.com#x",
            "http:proxy.example.com",
            "http:///proxy.example.com",
            "http://",
            "http://:3128",
            "http://proxy.example.com:0",
            "http://proxy.example.com:65536",
            "http://proxy..example.com",
            "http://-proxy.example.com",
            "http://256.1.1.1:3128",
            "http://proxy example.com",
            "http://proxy.example.com\n:3128",
            "http://proxy.example.com\\x",
        ] {
            assert_eq!(bad.parse::<ProxyUrl>(), Err(InvalidProxy), "{bad}");
        }
        for bad in [
            "",
            "*",
            "http://x",
            "10.0.0.0/33",
            "a b",
            "a..b",
            "scim.example.com:443",
        ] {
            assert_eq!(bad.parse::<Exception>(), Err(InvalidException), "{bad}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let url: ProxyUrl = "http://user:obviously-fake@proxy.example.com".parse().unwrap();
        assert_eq!(format!("{url:?}"), "http://proxy.example.com:80");
    }
}
