//! Which hosts and addresses the operator talks to.
//!
//! Who may create a connection chooses the URL. Without a policy that would make the operator a tool for reaching
//! what its author cannot reach: the node's own services, the cloud's metadata service, the API server.
//!
//! Pure: the same function judges a literal before a probe and every resolved address when it connects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::Host;

use crate::domain::{evidence::Denial, target::Origin};

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

/// Which hosts are meant, as flags and the annotation of a Secret write it.
///
/// Case, brackets, a dot in front and a dot at the end are read as Go and curl read them in `NO_PROXY`. Still no form
/// means more than it says: a name stands for itself alone, `*` for any part of one label, and a dot in front for every
/// name below, but not for the name itself. Ports, and `*` alone, are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern(Form);

/// What a pattern is compared with. In lower case, without a dot at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// `10.0.0.7`, `fd12:3456::1`: one address, however it is spelled.
    Address(IpAddr),
    /// `10.0.0.*`: IPv4 addresses, number by number.
    Addresses(String),
    /// `scim.example.com`, `*.example.com`: names, label by label.
    Names(String),
    /// `.example.com`: names at any depth below.
    Below(String),
}

/// The text is no host pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write an address, scim.example.com, *.example.com (one label) or .example.com (all names below), without scheme, port \
     or path"
)]
pub struct InvalidPattern;

/// The text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write a network (10.0.0.0/8, fd12:3456::/32) or an address, without leading zeros, brackets or zone"
)]
pub struct InvalidNetwork;

/// Reads a network, or an address as the network of it alone.
///
/// A network of IPv4-mapped IPv6 addresses is the one of the IPv4 addresses, because addresses are compared in that
/// form: otherwise it would hold nothing.
///
/// # Errors
/// [`InvalidNetwork`] for anything else. Leading zeros are refused, for some programs take them for octal numbers.
pub fn parse_network(text: &str) -> Result<IpNet, InvalidNetwork> {
    let (address, bits) = match text.trim().split_once('/') {
        None => (text.trim(), None),
        Some((address, bits)) => (address, Some(parse_bits(bits)?)),
    };
    let address: IpAddr = address.parse().map_err(|_| InvalidNetwork)?;
    let whole = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(whole);
    let network = match address.to_canonical() {
        // Fewer than 96 bits would hold mapped addresses and others: no set of addresses in the form that is compared.
        IpAddr::V4(v4) if address.is_ipv6() => {
            IpNet::new(v4.into(), bits.checked_sub(96).ok_or(InvalidNetwork)?)
        }
        IpAddr::V4(_) | IpAddr::V6(_) => IpNet::new(address, bits),
    };
    network.map(|network| network.trunc()).map_err(|_| InvalidNetwork)
}

/// A number of bits, in the one way that every program reads alike: Rust would take a sign, too.
fn parse_bits(text: &str) -> Result<u8, InvalidNetwork> {
    let bits: u8 = text.parse().map_err(|_| InvalidNetwork)?;
    if bits.to_string() == text {
        Ok(bits)
    } else {
        Err(InvalidNetwork)
    }
}

/// Whether these networks leave no address out.
#[must_use]
pub fn covers_everything(networks: &[IpNet]) -> bool {
    let networks = IpNet::aggregate(&networks.to_vec());
    let whole =
        |is_ipv4| move |network: &IpNet| network.prefix_len() == 0 && network.addr().is_ipv4() == is_ipv4;
    [true, false]
        .into_iter()
        .all(|is_ipv4| networks.iter().any(whole(is_ipv4)))
}

// === impl AddressPolicy ===

impl AddressPolicy {
    /// Whether the operator may talk to this origin, as far as can be told before its name is resolved.
    #[must_use]
    pub fn allows(&self, origin: &Origin) -> bool {
        self.judge(origin).is_ok()
    }

    /// The same, with the rule that refuses.
    ///
    /// # Errors
    /// The [`Denial`] where the operator may not talk to this origin.
    pub fn judge(&self, origin: &Origin) -> Result<(), Denial> {
        let named = self.allowed_hosts.is_empty()
            || self
                .allowed_hosts
                .iter()
                .any(|pattern| pattern.matches(&origin.host));
        if !named {
            return Err(Denial::Host);
        }
        origin
            .address()
            .map_or(Ok(()), |address| self.judge_address(address))
    }

    /// Whether the operator may connect to this address.
    ///
    /// An IPv6 address that carries an IPv4 address (mapped, compatible, translated, NAT64, 6to4, ISATAP) leads to that
    /// one, and so both are judged. Where it may carry one in several ways, each of them is.
    #[must_use]
    pub fn allows_address(&self, address: IpAddr) -> bool {
        self.judge_address(address).is_ok()
    }

    /// The same, with the rule that refuses.
    ///
    /// # Errors
    /// The [`Denial`] where the operator may not connect to this address.
    pub fn judge_address(&self, address: IpAddr) -> Result<(), Denial> {
        let address = address.to_canonical();
        self.judge_exactly(address)?;
        match address {
            IpAddr::V4(_) => Ok(()),
            IpAddr::V6(v6) => carried(v6).try_for_each(|v4| self.judge_exactly(IpAddr::V4(v4))),
        }
    }

    fn judge_exactly(&self, address: IpAddr) -> Result<(), Denial> {
        let within = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        if within(&self.denied) {
            Err(Denial::Network)
        } else if within(&self.allowed) {
            Ok(())
        } else if self.api_server.iter().any(|api| api.to_canonical() == address) {
            Err(Denial::ApiServer)
        } else if is_denied_by_default(address) {
            Err(Denial::Special)
        } else {
            Ok(())
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
    /// Whether the host fits.
    #[must_use]
    pub fn matches(&self, host: &Host<String>) -> bool {
        let address = match host {
            Host::Domain(name) => {
                return match &self.0 {
                    Form::Names(pattern) => matches_glob(pattern.as_bytes(), name.as_bytes()),
                    Form::Below(suffix) => name.len() > suffix.len() && name.ends_with(suffix),
                    Form::Address(_) | Form::Addresses(_) => false,
                };
            }
            Host::Ipv4(address) => IpAddr::V4(*address),
            Host::Ipv6(address) => IpAddr::V6(*address).to_canonical(),
        };
        match &self.0 {
            Form::Address(allowed) => *allowed == address,
            Form::Addresses(pattern) => matches_glob(pattern.as_bytes(), address.to_string().as_bytes()),
            Form::Names(_) | Form::Below(_) => false,
        }
    }
}

impl std::str::FromStr for HostPattern {
    type Err = InvalidPattern;

    /// What no host could fit is no pattern: its author meant something else.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim().to_ascii_lowercase();
        if let Some(inside) = text.strip_prefix('[') {
            let address: Option<Ipv6Addr> = inside.strip_suffix(']').and_then(|inside| inside.parse().ok());
            let address = address.ok_or(InvalidPattern)?;
            return Ok(Self(Form::Address(IpAddr::V6(address).to_canonical())));
        }
        let text = text.strip_suffix('.').unwrap_or(&text);
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(Form::Address(address.to_canonical())));
        }
        if text.split('.').all(is_number_pattern) {
            return if is_address_pattern(text) {
                Ok(Self(Form::Addresses(text.to_owned())))
            } else {
                Err(InvalidPattern)
            };
        }
        if let Some(name) = text.strip_prefix('.') {
            return if !name.contains('*') && is_name_pattern(name) {
                Ok(Self(Form::Below(text.to_owned())))
            } else {
                Err(InvalidPattern)
            };
        }
        if is_name_pattern(text) {
            Ok(Self(Form::Names(text.to_owned())))
        } else {
            Err(InvalidPattern)
        }
    }
}

/// Whether nothing but digits and `*` is in it: a part of an IPv4 address, and of no name that is worth naming. So `*`
/// alone is no pattern either. Elsewhere it means every host, which nobody has to write here.
fn is_number_pattern(label: &str) -> bool {
    label.chars().all(|c| c.is_ascii_digit() || c == '*')
}

/// Whether there are IPv4 addresses that fit, by number and not only by being addresses.
fn is_address_pattern(text: &str) -> bool {
    let parts: Vec<_> = text.split('.').collect();
    parts.len() == 4
        && text.contains(|c: char| c.is_ascii_digit())
        && !text.contains("**")
        && parts.iter().all(|part| {
            (0..=u8::MAX).any(|number| matches_glob(part.as_bytes(), number.to_string().as_bytes()))
        })
}

/// Whether there are names that fit: what stands where no `*` does is a name to the parser of URLs, too.
fn is_name_pattern(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && !label.contains("**")
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'*'))
    };
    let example: Vec<_> = text
        .split('.')
        .map(|label| if label.contains('*') { "x" } else { label })
        .collect();
    text.len() <= 253
        && text.split('.').all(is_label)
        && matches!(Host::parse(&example.join(".")), Ok(Host::Domain(_)))
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
            (" scim.example.com\t", "scim.example.com", true),
            ("scim.example.com", "evil-scim.example.com", false),
            ("scim.example.com", "a.scim.example.com", false),
            ("scim.example.com", "scim.example.com.evil.example", false),
            ("op_scim.corp.example", "op_scim.corp.example", true),
            ("xn--bcher-kva.example", "bücher.example", true),
            ("localhost", "localhost", true),
            ("2600.example", "2600.example", true),
            // One label.
            ("*.example.com", "scim.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.b.example.com", false),
            ("*.*.example.com", "a.b.example.com", true),
            ("scim-*.example.com", "scim-eu.example.com", true),
            ("scim-*.example.com", "scim-eu.evil.example.com", false),
            ("loc*", "localhost", true),
            // Any depth.
            (".example.com", "scim.example.com", true),
            (".Example.com.", "a.b.example.com", true),
            (".example.com", "example.com", false),
            (".example.com", "evil-example.com", false),
            (".example.com", "example.com.evil.example", false),
            (".localhost", "bridge.localhost", true),
            (".localhost", "localhost", false),
            // Addresses, in every spelling.
            ("10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7.", "0xa.7", true),
            ("10.0.0.7", "[::ffff:10.0.0.7]", true),
            ("::ffff:a00:7", "10.0.0.7", true),
            ("10.0.0.7", "10.0.0.70", false),
            ("10.0.0.*", "10.0.0.7", true),
            ("10.0.0.*", "[::ffff:10.0.0.7]", true),
            ("10.0.0.*", "10.0.1.7", false),
            ("10.0.0.*", "10.0.0.example", false),
            ("10.0.0.1*", "10.0.0.17", true),
            ("fd12:3456::1", "[fd12:3456::1]", true),
            ("FD12:3456:0:0::1", "[fd12:3456::1]", true),
            ("[fd12:3456:0::1]", "[fd12:3456::1]", true),
            ("fd12:3456::1", "[fd12:3456::2]", false),
        ] {
            let pattern: HostPattern = pattern.parse().unwrap();
            let host = Origin::parse(&format!("https://{host}")).unwrap().host;
            assert_eq!(pattern.matches(&host), fits, "{pattern:?} {host}");
        }
    }

    /// Each could fit nothing, or means something else to other programs.
    #[test]
    fn what_is_no_pattern() {
        for bad in [
            "",
            " ",
            ".",
            "..",
            "*",
            ".*",
            "*.",
            "*.*",
            "*.*.*.*",
            "**.example.com",
            ".*.example.com",
            "*..example.com",
            "a..b",
            "..example.com",
            "example.com..",
            "-a.example",
            "a-.example",
            "a b",
            "a,b",
            "!a.example",
            "bücher.example",
            "xn--.example",
            "xn--zzzzzz-.example",
            "https://scim.example.com",
            "http://scim.example.com",
            "//scim.example.com",
            "scim/x",
            "scim.example.com/",
            "user@scim.example.com",
            "scim.example.com:443",
            "scim.example.com:*",
            ":443",
            "10.0.0.7:443",
            "[fd12:3456::1]:443",
            "[fd12:3456::1",
            "fd12:3456::1]",
            "[[fd12:3456::1]]",
            "[10.0.0.7]",
            "[scim.example.com]",
            "fd12:3456::*",
            "fd12:3456::/32",
            "fe80::1%eth0",
            "[fe80::1%25eth0]",
            "10.0.0.0/8",
            "10.*",
            "10.0.0",
            "10.0.0.256",
            "10.0.0.300*",
            "10.0.0.07",
            "010.0.0.7",
            "0x7f.0.0.1",
            "127.1",
            "2130706433",
            "10.0.0.0.*",
            "scim.1",
            "scim.0x1",
            "\u{ff11}0.0.0.7",
        ] {
            assert_eq!(bad.parse::<HostPattern>(), Err(InvalidPattern), "{bad:?}");
        }
        for (length, is_pattern) in [(63, true), (64, false)] {
            let pattern = format!("{}.example", "a".repeat(length));
            assert_eq!(pattern.parse::<HostPattern>().is_ok(), is_pattern, "{length}");
        }
        for (labels, is_pattern) in [(126, true), (127, false)] {
            let pattern = "a.".repeat(labels) + "b";
            assert_eq!(
                pattern.parse::<HostPattern>().is_ok(),
                is_pattern,
                "{labels} labels"
            );
        }
    }

    #[test]
    fn networks() {
        for (text, network) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            (" 10.0.0.0/8 ", "10.0.0.0/8"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("FD12::/16", "fd12::/16"),
            ("::1", "::1/128"),
            ("::/0", "::/0"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.7", "10.0.0.7/32"),
        ] {
            assert_eq!(parse_network(text), Ok(network.parse().unwrap()), "{text}");
        }
        for bad in [
            "",
            "/",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/8/8",
            "10.0.0.0/255.0.0.0",
            "10.0.0.0 /8",
            "10.0.0/8",
            "010.0.0.0/8",
            "::/129",
            "[::1]",
            "[fd12::]/16",
            "fe80::1%eth0",
            "::ffff:10.0.0.0/80",
            "scim.example.com",
            "*",
        ] {
            assert_eq!(parse_network(bad), Err(InvalidNetwork), "{bad:?}");
        }
    }

    #[test]
    fn everything() {
        for (networks, is_everything) in [
            ("", false),
            ("0.0.0.0/0", false),
            ("::/0", false),
            ("0.0.0.0/0 ::/0", true),
            ("0.0.0.0/1 128.0.0.0/1 ::/1 8000::/1", true),
            ("0.0.0.0/1 128.0.0.0/2 ::/0", false),
            ("::ffff:0.0.0.0/96 ::/0", true),
        ] {
            let networks: Vec<_> = networks
                .split_whitespace()
                .map(|text| parse_network(text).unwrap())
                .collect();
            assert_eq!(covers_everything(&networks), is_everything, "{networks:?}");
        }
    }

    #[test]
    fn allowed_hosts_bind_names_and_addresses() {
        let policy = AddressPolicy {
            allowed_hosts: ["*.example.com", "10.0.0.7"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
            ..Default::default()
        };
        assert!(judge(&policy, "scim.example.com"));
        assert!(!judge(&policy, "scim.example.org"));
        assert!(judge(&policy, "10.0.0.7"));
        assert!(!judge(&policy, "10.0.0.8"));
    }
}
