//! Sorts the addresses of a name for the attempts to connect.

use std::{cmp::Reverse, net::IpAddr};

/// Returns the first `limit` addresses, with both families in turn (RFC 8305, section 4). So a family without a route
/// delays the other one by one attempt only.
///
/// The table of RFC 6724 decides which family comes first. Otherwise the server's order stays, because it spreads
/// clients over the addresses. Routes are not checked: an attempt shows whether there is one.
pub(super) fn interleave(addresses: impl IntoIterator<Item = IpAddr>, limit: usize) -> Vec<IpAddr> {
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

/// The precedence of RFC 6724, section 2.1.
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
            // Unique local addresses and tunnels come after IPv4.
            ("fd00::1 10.0.0.1", 8, "10.0.0.1 fd00::1"),
            ("2002:a00:1::1 10.0.0.1", 8, "10.0.0.1 2002:a00:1::1"),
            ("2001::1 10.0.0.1", 8, "10.0.0.1 2001::1"),
            ("::ffff:10.0.0.2 10.0.0.1", 8, "10.0.0.1 ::ffff:10.0.0.2"),
            ("fd00::1 2001:db8::1 10.0.0.1", 8, "2001:db8::1 10.0.0.1 fd00::1"),
        ] {
            let given = addresses
                .split_ascii_whitespace()
                .map(|text| text.parse().unwrap());
            let ordered: Vec<_> = interleave(given, limit).iter().map(IpAddr::to_string).collect();
            assert_eq!(ordered.join(" "), expected, "{addresses}");
        }
    }
}
