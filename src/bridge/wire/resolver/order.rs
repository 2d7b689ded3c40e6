//! In which order the addresses of a name are tried.

use std::{cmp::Reverse, net::IpAddr};

/// The first `limit` addresses, families in turn (RFC 8305, section 4): a family without a way costs one attempt. The
/// table of RFC 6724 says which comes first; beyond that the server's order stays, by which it spreads its clients.
/// Whether there is a way at all shows when an address is tried.
pub(super) fn order(addresses: impl IntoIterator<Item = IpAddr>, limit: usize) -> Vec<IpAddr> {
    let (v4, mut v6): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv4);
    v6.sort_by_key(|address| Reverse(precedence(address)));
    let best = |family: &[IpAddr]| family.first().map(precedence);
    let (first, second) = if best(&v6) > best(&v4) { (v6, v4) } else { (v4, v6) };
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] || ordered.len() >= limit {
            ordered.truncate(limit);
            return ordered;
        }
        for address in pair.into_iter().flatten() {
            if !ordered.contains(&address) {
                ordered.push(address);
            }
        }
    }
}

/// Section 2.1 of RFC 6724.
fn precedence(address: &IpAddr) -> u8 {
    let IpAddr::V6(v6) = address else {
        return 35;
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => 50,
        [0, 0, 0, 0, 0, 0xffff, ..] => 35,
        [0x2002, ..] => 30,
        [0x2001, 0, ..] => 5,
        [first, ..] if first & 0xfe00 == 0xfc00 => 3,
        [0, 0, 0, 0, 0, 0, ..] | [0xfec0..=0xfeff | 0x3ffe, ..] => 1,
        _ => 40,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_in_turn() {
        for (addresses, limit, expected) in [
            ("", 8, ""),
            ("10.0.0.2 10.0.0.1", 8, "10.0.0.2 10.0.0.1"),
            (
                "10.0.0.1 10.0.0.2 2001:db8::1 2001:db8::2",
                8,
                "2001:db8::1 10.0.0.1 2001:db8::2 10.0.0.2",
            ),
            (
                "10.0.0.1 10.0.0.2 10.0.0.3 2001:db8::1",
                8,
                "2001:db8::1 10.0.0.1 10.0.0.2 10.0.0.3",
            ),
            (
                "10.0.0.1 10.0.0.2 10.0.0.3 2001:db8::1",
                3,
                "2001:db8::1 10.0.0.1 10.0.0.2",
            ),
            ("10.0.0.1 10.0.0.1 2001:db8::1", 8, "2001:db8::1 10.0.0.1"),
            ("127.0.0.1 ::1", 8, "::1 127.0.0.1"),
            // Unique local addresses, tunnels: behind IPv4.
            ("fd00::1 10.0.0.1", 8, "10.0.0.1 fd00::1"),
            ("2002:a00:1::1 10.0.0.1", 8, "10.0.0.1 2002:a00:1::1"),
            ("2001::1 10.0.0.1", 8, "10.0.0.1 2001::1"),
            ("::ffff:10.0.0.2 10.0.0.1", 8, "10.0.0.1 ::ffff:10.0.0.2"),
            ("fd00::1 2001:db8::1 10.0.0.1", 8, "2001:db8::1 10.0.0.1 fd00::1"),
        ] {
            let given = addresses
                .split_ascii_whitespace()
                .map(|text| text.parse().unwrap());
            let ordered: Vec<_> = order(given, limit).iter().map(IpAddr::to_string).collect();
            assert_eq!(ordered.join(" "), expected, "{addresses}");
        }
    }
}
