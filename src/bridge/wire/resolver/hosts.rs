//! Reads the hosts file, hosts(5). Kubernetes writes a Pod's `hostAliases` into it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Finds the addresses of a name, in the order of the lines. A line counts if its first word is an address. The case of
/// names does not matter. An address with a zone does not count, because it has no meaning without its interface.
pub(super) fn find(text: &str, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else {
            continue;
        };
        if words.any(|word| word.eq_ignore_ascii_case(name)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// The loopback addresses, for `localhost` and every name below it. No server is asked (RFC 6761, section 6.3).
pub(super) fn loopback(name: &str) -> Option<Vec<IpAddr>> {
    let top = name.rsplit('.').next()?;
    top.eq_ignore_ascii_case("localhost")
        .then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for (text, expected) in [
            ("", ""),
            ("10.0.0.1 scim.test", "10.0.0.1"),
            ("10.0.0.1\tother.test\tscim.test", "10.0.0.1"),
            ("  10.0.0.1   scim.test  \r\n", "10.0.0.1"),
            ("10.0.0.1 SCIM.Test", "10.0.0.1"),
            ("fd00::1 scim.test", "fd00::1"),
            (
                "10.0.0.1 scim.test\nfd00::1 scim.test\n10.0.0.2 x scim.test",
                "10.0.0.1 fd00::1 10.0.0.2",
            ),
            ("10.0.0.1 scim.test scim.test\n10.0.0.1 scim.test", "10.0.0.1"),
            // Comments.
            ("# 10.0.0.1 scim.test", ""),
            ("10.0.0.1 # scim.test", ""),
            ("10.0.0.1 scim.test# the bridge", "10.0.0.1"),
            ("10.0.0.1 scim.test#old", "10.0.0.1"),
            // Not this name.
            ("10.0.0.1 scim.test.example scim a.scim.test", ""),
            ("10.0.0.1 scim.test.", ""),
            // No address.
            ("10.0.0.1", ""),
            ("10.0.0 scim.test", ""),
            ("010.0.0.1 scim.test", ""),
            ("10.0.0.256 scim.test", ""),
            ("fe80::1%eth0 scim.test", ""),
            ("[fd00::1] scim.test", ""),
            ("scim.test 10.0.0.1", ""),
            ("\u{0}\u{fffd}\n10.0.0.1 scim.test", "10.0.0.1"),
        ] {
            let found: Vec<_> = find(text, "scim.test").iter().map(IpAddr::to_string).collect();
            assert_eq!(found.join(" "), expected, "{text:?}");
        }
    }

    #[test]
    fn loopback_by_name() {
        for (name, expected) in [
            ("localhost", true),
            ("LOCALHOST", true),
            ("bridge.localhost", true),
            ("localhost.test", false),
            ("mylocalhost", false),
        ] {
            assert_eq!(loopback(name).is_some(), expected, "{name}");
        }
    }
}
