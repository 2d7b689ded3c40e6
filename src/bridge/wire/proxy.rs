//! The proxy that the operator's administrator may put between it and the bridges.
//!
//! Nothing but the administrator's flags leads there: no environment variable that other programs share, no field of
//! an object. Whether a target goes through it is decided here, before a client is chosen, so that the two kinds of
//! clients stay apart: one resolves names itself and judges every address, the other resolves only the proxy's own name.
//!
//! A proxy resolves the names of bridges by itself. The address policy then judges what is written (names and literal
//! addresses), and what they resolve to is the proxy's business.

use std::{fmt, str::FromStr};

use ipnet::IpNet;
use url::{Host, Url};

use super::address::{HostPattern, InvalidPattern, parse_network};
use crate::domain::connection::target::Origin;

/// The proxy, and what is reached without it.
#[derive(Clone, Debug)]
pub struct BridgeProxy {
    /// `--bridge-proxy`
    pub url: ProxyUrl,
    /// `--bridge-no-proxy`
    pub exceptions: Vec<Exception>,
}

/// Address of an HTTP proxy: `http://HOST:PORT`, with `USER:PASSWORD@` where it asks for that.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Url);

/// What is reached directly: a host, or a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exception {
    /// Hosts that fit a pattern.
    Host(HostPattern),
    /// Literal addresses within a network.
    Network(IpNet),
}

/// The text is no address of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT; no other scheme, and no path")]
pub struct InvalidProxy;

/// The text names neither hosts nor a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a network (10.0.0.0/8) or a host. For a host, {InvalidPattern}")]
pub struct InvalidException;

// === impl BridgeProxy ===

impl BridgeProxy {
    /// Whether this origin is asked through the proxy.
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
    /// As the HTTP client takes it, its password included.
    pub(super) fn expose(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for ProxyUrl {
    type Err = InvalidProxy;

    /// Only `http`: the way to the proxy carries TLS of its own for every https bridge, and trust in a proxy's
    /// certificate would have to be kept apart from trust in a bridge's.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        server_url(text)
            .filter(|url| url.scheme() == "http" && url.path() == "/")
            .map(Self)
            .ok_or(InvalidProxy)
    }
}

/// Reads the URL of a server that an administrator names, without query and fragment. What is asked of a bridge's host
/// and port holds for its own.
#[must_use]
pub fn server_url(text: &str) -> Option<Url> {
    let text = text.trim();
    // The parser takes `http:host` and `http:///host` as well, and drops line breaks: nobody means that.
    let (scheme, rest) = text.split_once("://")?;
    if rest.starts_with('/') || text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
        return None;
    }
    let url: Url = text.parse().ok()?;
    let origin = format!("{scheme}://{}:{}", url.host_str()?, url.port_or_known_default()?);
    let is_server = Origin::parse(&origin).is_ok() && url.query().is_none() && url.fragment().is_none();
    is_server.then_some(url)
}

/// Without user and password.
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
