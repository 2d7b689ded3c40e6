//! Which hosts and addresses the operator talks to.
//!
//! Whoever may create a connection chooses the URL. Without a policy that would make the operator a tool for reaching
//! what its author cannot reach: the node's own services, the cloud's metadata service, the API server.
//!
//! Pure: the same function judges a literal before a probe and every resolved address when it connects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::Host;

use crate::domain::target::Origin;

/// The operator's address policy.
///
/// From the strongest rule to the weakest: denied networks, allowed networks, the API server's own addresses, the
/// built-in denials; everything else, private networks among it, is allowed.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    /// `--deny-cidr`
    pub denied: Vec<IpNet>,
    /// `--allow-cidr`
    pub allowed: Vec<IpNet>,
    /// `--allowed-host`; empty allows every host.
    pub allowed_hosts: Vec<HostPattern>,
    /// Where the API server is.
    pub api_server: Vec<IpAddr>,
}

/// A host name, or address, with `*` for any part of one label: `scim.example.com`, `*.scim.example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern(String);

/// The text is no host pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a host pattern: write a host name or address, with * for any part of one label")]
pub struct InvalidPattern;

/// The text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a network: write ADDRESS/BITS, or an address, without leading zeros")]
pub struct InvalidNetwork;

/// Reads a network, or an address as the network of it alone.
///
/// A network of IPv4-mapped IPv6 addresses is the one of the IPv4 addresses, because addresses are compared in that
/// form: otherwise it would hold nothing.
///
/// # Errors
/// [`InvalidNetwork`] for anything else. Leading zeros are refused, for some programs take them for octal numbers.
pub fn parse_network(text: &str) -> Result<IpNet, InvalidNetwork> {
    let (address, bits) = match text.split_once('/') {
        None => (text, None),
        Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| InvalidNetwork)?)),
    };
    let address: IpAddr = address.parse().map_err(|_| InvalidNetwork)?;
    let whole = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(whole);
    let network = match address.to_canonical() {
        IpAddr::V4(v4) if address.is_ipv6() && bits >= 96 => IpNet::new(v4.into(), bits - 96),
        IpAddr::V4(_) | IpAddr::V6(_) => IpNet::new(address, bits),
    };
    network.map(|network| network.trunc()).map_err(|_| InvalidNetwork)
}

// === impl AddressPolicy ===

impl AddressPolicy {
    /// Whether the operator may talk to this origin, as far as can be told before its name is resolved.
    #[must_use]
    pub fn allows(&self, origin: &Origin) -> bool {
        let named = self.allowed_hosts.is_empty()
            || self
                .allowed_hosts
                .iter()
                .any(|pattern| pattern.matches(&origin.host));
        named
            && origin
                .address()
                .is_none_or(|address| self.allows_address(address))
    }

    /// Whether the operator may connect to this address.
    ///
    /// An IPv6 address that carries an IPv4 address (mapped, compatible, translated, NAT64, 6to4, ISATAP) leads to that
    /// one, and so both are judged. Where it may carry one in several ways, each of them is.
    #[must_use]
    pub fn allows_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allows_exactly(address)
            && match address {
                IpAddr::V4(_) => true,
                IpAddr::V6(v6) => carried(v6).all(|v4| self.allows_exactly(IpAddr::V4(v4))),
            }
    }

    fn allows_exactly(&self, address: IpAddr) -> bool {
        let within = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        if within(&self.denied) {
            false
        } else if within(&self.allowed) {
            true
        } else {
            !self.api_server.iter().any(|api| api.to_canonical() == address) && !is_denied_by_default(address)
        }
    }
}

fn is_denied_by_default(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            // "This network" and loopback; link-local, where most clouds' metadata is; multicast, reserved, broadcast;
            // IETF protocol assignments (192.0.0.0/24, metadata of Oracle); metadata of Alibaba, Volcengine and Azure.
            matches!(a, 0 | 127 | 224..=255)
                || (a, b) == (169, 254)
                || (a, b, c) == (192, 0, 0)
                || v4 == Ipv4Addr::new(100, 100, 100, 200)
                || v4 == Ipv4Addr::new(100, 96, 0, 96)
                || v4 == Ipv4Addr::new(168, 63, 129, 16)
        }
        IpAddr::V6(v6) => {
            let segments = v6.segments();
            v6.is_unspecified()
                || v6.is_loopback()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
                // Site-local, deprecated by RFC 3879.
                || (segments[0] & 0xffc0) == 0xfec0
                // Teredo (RFC 4380): leads to an IPv4 address that is obscured.
                || (segments[0], segments[1]) == (0x2001, 0)
                // Local services of clouds over IPv6, metadata among them: Amazon (fd00:ec2::/32), Akamai
                // (fd00:a9fe:a9fe::/48), Google, Alibaba, Oracle, Scaleway.
                || (segments[0], segments[1]) == (0xfd00, 0xec2)
                || (segments[0], segments[1], segments[2]) == (0xfd00, 0xa9fe, 0xa9fe)
                || v6 == Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200)
                || v6 == Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)
                || v6 == Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)
                || v6 == Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)
        }
    }
}

/// The octets in which nearly all of them carry it.
const LAST: [usize; 4] = [12, 13, 14, 15];

/// The IPv4 addresses that an IPv6 address may lead to.
fn carried(v6: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let octets = v6.octets();
    // The four octets at these places.
    let read = move |places: [usize; 4]| {
        let [a, b, c, d] = places.map(|place| octets.get(place).copied().unwrap_or_default());
        Ipv4Addr::new(a, b, c, d)
    };
    let places: &[[usize; 4]] = match v6.segments() {
        // IPv4-compatible (deprecated by RFC 4291), but not `::` and `::1`.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 || low > 1 => &[LAST],
        // IPv4-translated (RFC 2765); NAT64, the well-known prefix (RFC 6052); ISATAP (RFC 5214), below any prefix.
        [0, 0, 0, 0, 0xffff, 0, _, _]
        | [0x64, 0xff9b, 0, 0, 0, 0, _, _]
        | [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => &[LAST],
        // NAT64, the local prefix (RFC 8215): translators below it may have prefixes of 48, 56, 64 or 96 bits, which
        // put the address elsewhere, around octet 8 (RFC 6052, section 2.2).
        [0x64, 0xff9b, 1, ..] => &[[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], LAST],
        // 6to4 (RFC 3056).
        [0x2002, ..] => &[[2, 3, 4, 5]],
        _ => &[],
    };
    let is_local_nat64 = places.len() > 1;
    let found = places.iter().map(move |places| read(*places));
    // Of several readings those that begin with 0 are the padding of another.
    found.filter(move |v4| !is_local_nat64 || v4.octets()[0] != 0)
}

// === impl HostPattern ===

impl HostPattern {
    /// Whether the host fits. `*` stands for any characters but dots, so `*.example.com` covers one level.
    #[must_use]
    pub fn matches(&self, host: &Host<String>) -> bool {
        let text = match host {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        matches_glob(self.0.as_bytes(), text.as_bytes())
    }

    /// Reads a list of patterns, separated by commas or white space; what is no pattern matches nothing.
    #[must_use]
    pub fn parse_list(text: &str) -> Vec<Self> {
        text.split(|c: char| c == ',' || c.is_whitespace())
            .filter_map(|part| part.parse().ok())
            .collect()
    }
}

impl std::str::FromStr for HostPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text
            .trim_start_matches('[')
            .trim_end_matches(']')
            .trim_end_matches('.')
            .to_ascii_lowercase();
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*' | ':');
        if text.is_empty() || text.len() > 253 || !text.chars().all(legal) || text.contains("**") {
            return Err(InvalidPattern);
        }
        Ok(Self(text))
    }
}

/// Matches with one point to go back to, so that no pattern takes longer than the product of both lengths.
fn matches_glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p, t));
            p += 1;
        } else if pattern.get(p) == text.get(t) {
            p += 1;
            t += 1;
        } else if let Some((star, from)) = retry.filter(|(_, from)| text.get(*from) != Some(&b'.')) {
            retry = Some((star, from + 1));
            p = star + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern
        .get(p..)
        .is_some_and(|rest| rest.iter().all(|b| *b == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(policy: &AddressPolicy, host: &str) -> bool {
        policy.allows(&Origin::parse(&format!("https://{host}")).unwrap())
    }

    #[test]
    fn built_in_denials_in_every_spelling() {
        let policy = AddressPolicy {
            api_server: vec!["10.96.0.1".parse().unwrap()],
            ..AddressPolicy::default()
        };
        for denied in [
            "127.0.0.1",
            "127.1",
            "127.255.255.254",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "0",
            "0.0.0.0",
            "169.254.169.254",
            "0xa9fea9fe",
            "2852039166",
            "0251.0376.0251.0376",
            "169.254.1.1",
            "192.0.0.192",
            "100.100.100.200",
            "168.63.129.16",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "10.96.0.1",
            "[::ffff:10.96.0.1]",
            "[::]",
            "[::1]",
            "[fe80::1]",
            "[febf::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[::127.0.0.1]",
            "[::ffff:0:127.0.0.1]",
            "[64:ff9b::127.0.0.1]",
            "[64:ff9b::a9fe:a9fe]",
            "[64:ff9b:1::7f00:1]",
            "[2002:7f00:1::]",
            "[2002:a9fe:a9fe::1]",
            "[2001::1]",
            "[fd00:ec2::254]",
            "[fd20:ce::254]",
        ] {
            assert!(!judge(&policy, denied), "{denied} must be denied");
        }
        for allowed in [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "203.0.113.7",
            "8.8.8.8",
            "[fd12:3456::1]",
            "[2606:4700::1111]",
            "[64:ff9b::808:808]",
            "[2002:808:808::1]",
            "scim.example.com",
        ] {
            assert!(judge(&policy, allowed), "{allowed} must be allowed");
        }
    }

    #[test]
    fn flags_by_strength() {
        let net = |text: &str| vec![text.parse().unwrap()];
        let policy = AddressPolicy {
            allowed: net("127.0.0.0/8"),
            denied: net("127.0.0.9/32"),
            ..Default::default()
        };
        assert!(judge(&policy, "127.0.0.1"));
        assert!(judge(&policy, "[::ffff:127.0.0.1]"));
        assert!(!judge(&policy, "127.0.0.9"));
        assert!(!judge(&policy, "[::ffff:127.0.0.9]"));
        assert!(!judge(&policy, "[::1]"));
        let policy = AddressPolicy {
            denied: net("10.0.0.0/8"),
            ..Default::default()
        };
        assert!(!judge(&policy, "10.1.2.3"));
        assert!(!judge(&policy, "[64:ff9b::10.1.2.3]"));
    }

    #[test]
    fn patterns() {
        for (pattern, host, fits) in [
            ("scim.example.com", "scim.example.com", true),
            ("SCIM.example.com.", "scim.example.com", true),
            ("scim.example.com", "evil-scim.example.com", false),
            ("scim.example.com", "scim.example.com.evil.example", false),
            ("*.example.com", "scim.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.b.example.com", false),
            ("*.*.example.com", "a.b.example.com", true),
            ("scim-*.example.com", "scim-eu.example.com", true),
            ("scim-*.example.com", "scim-eu.evil.example.com", false),
            ("*", "localhost", true),
            ("*", "example.com", false),
            ("10.0.0.*", "10.0.0.7", true),
            ("fd12:3456::1", "[fd12:3456::1]", true),
        ] {
            let pattern: HostPattern = pattern.parse().unwrap();
            let host = Origin::parse(&format!("https://{host}")).unwrap().host;
            assert_eq!(pattern.matches(&host), fits, "{pattern:?} {host}");
        }
        for bad in [
            "",
            "https://scim.example.com",
            "a b",
            "**.example.com",
            "scim/x",
            "bücher.example",
        ] {
            assert_eq!(bad.parse::<HostPattern>(), Err(InvalidPattern), "{bad}");
        }
        assert_eq!(
            HostPattern::parse_list("a.example, b.example\nc.example ,,").len(),
            3
        );
    }

    #[test]
    fn allowed_hosts_bind_names_and_addresses() {
        let policy = AddressPolicy {
            allowed_hosts: HostPattern::parse_list("*.example.com,10.0.0.7"),
            ..Default::default()
        };
        assert!(judge(&policy, "scim.example.com"));
        assert!(!judge(&policy, "scim.example.org"));
        assert!(judge(&policy, "10.0.0.7"));
        assert!(!judge(&policy, "10.0.0.8"));
    }
}
