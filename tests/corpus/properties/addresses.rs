//! Addresses: what the author of an object, the owner of a Secret, and a DNS server say of hosts.

use std::net::{IpAddr, Ipv4Addr};

use scim_bridge_operator::{
    api::v1alpha1::MAX_URL_LENGTH,
    bridge::{
        address::{AddressPolicy, HostPattern},
        read_dns_answer,
    },
    domain::target::{Origin, Scheme},
};
use url::{Host, Url};

/// `spec.url`.
pub(crate) fn url(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(origin) = Origin::parse(text) else {
        return;
    };
    assert!(text.len() <= MAX_URL_LENGTH);
    let printed = origin.to_string();
    assert!(
        printed.chars().all(|c| {
            c.is_ascii_lowercase()
                || c.is_ascii_digit()
                || matches!(c, ':' | '/' | '.' | '-' | '_' | '[' | ']')
        }),
        "nothing but scheme, host and port: {printed}"
    );
    assert!(
        printed.len() <= 280,
        "a name has at most 253 characters: {printed}"
    );
    assert_ne!(origin.port, 0);
    for path in ["", "/", "/scim", "/scim/", "/scim/v2", "/scim/v2/"] {
        let again = Origin::parse(&format!("{printed}{path}"));
        let origin = Origin {
            // The dot that says so is not printed.
            is_absolute: false,
            ..origin.clone()
        };
        assert_eq!(again, Ok(origin), "printed, it means the same");
    }
    // What the HTTP client is given leads to the host that the policy judges.
    let asked = Url::parse(&format!("{printed}/ping")).expect("what was accepted is a URL");
    assert_eq!(
        asked.host().map(|host| host.to_owned()),
        Some(origin.host.clone())
    );
    assert_eq!(asked.port_or_known_default(), Some(origin.port));
    assert_eq!(asked.path(), "/ping");
    assert_eq!(asked.scheme() == "https", origin.scheme == Scheme::Https);
    if let Host::Domain(name) = &origin.host {
        assert!(
            name.parse::<IpAddr>().is_err(),
            "an address passes for a name: {name}"
        );
        assert!(!name.ends_with('.') && !name.is_empty());
    }
    assert_judged_by_its_address(&origin);
}

/// What a DNS server sent.
pub(crate) fn dns_answer(message: &[u8]) {
    for is_v6 in [false, true] {
        let found = read_dns_answer("scim.test", is_v6, message);
        let Some(addresses) = &found else {
            continue;
        };
        assert!(
            (1..=512).contains(&addresses.len()),
            "{} addresses",
            addresses.len()
        );
        assert!(
            addresses.iter().all(|address| address.is_ipv6() == is_v6),
            "of the other family: {addresses:?}"
        );
        let question = message.get(12..23).unwrap_or_default();
        assert!(
            question.eq_ignore_ascii_case(b"\x04scim\x04test\x00"),
            "the answer to another question: {question:?}"
        );
        let more = [message, &[0xff; 3]].concat();
        assert_eq!(
            read_dns_answer("scim.test", is_v6, &more),
            found,
            "what follows the answers counts"
        );
    }
}

/// A denied address never comes out allowed by another spelling.
fn assert_judged_by_its_address(origin: &Origin) {
    let policy = AddressPolicy {
        api_server: vec![IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1))],
        ..AddressPolicy::default()
    };
    let Some(address) = origin.address() else {
        return;
    };
    let allowed = policy.allows(origin);
    assert_eq!(allowed, policy.allows_address(address));
    assert!(
        !(allowed && is_dangerous(address)),
        "{origin} leads to {address}, and is allowed"
    );
    let IpAddr::V4(v4) = address.to_canonical() else {
        return;
    };
    for spelling in spellings(v4) {
        // No translator leads to "this network"; `::` and its neighbours are addresses of IPv6 (RFC 4291, section 2.5.5.1).
        if v4.octets()[0] == 0 && spelling.starts_with('[') && !spelling.starts_with("[::ffff:") {
            continue;
        }
        let Ok(spelled) = Origin::parse(&format!("https://{spelling}")) else {
            panic!("{spelling} is refused, {v4} is not");
        };
        assert!(
            allowed || !policy.allows(&spelled),
            "{v4} is denied, and allowed as {spelling}"
        );
    }
}

/// Addresses that no policy may allow by itself, judged by other means than the policy's.
fn is_dangerous(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_unspecified()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4 == Ipv4Addr::new(10, 96, 0, 1)
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unicast_link_local()
                || v6.is_multicast()
                || v6.to_ipv4().is_some_and(|v4| is_dangerous(v4.into()))
        }
    }
}

/// One IPv4 address, as it can be written.
fn spellings(v4: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = v4.octets();
    let number = u32::from(v4);
    let (high, low) = (number >> 16, number & 0xffff);
    vec![
        number.to_string(),
        format!("{number:#x}"),
        format!("{number:#X}"),
        format!("0{number:o}"),
        format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("{a}.{}", number & 0xff_ffff),
        format!("{a}.{b}.{low}"),
        format!("{a}.{b}.{c}.{d}."),
        format!("{a}%2e{b}%2E{c}.{d}"),
        format!("{a}。{b}．{c}｡{d}"),
        full_width(&v4.to_string()),
        format!("[{}]", v4.to_ipv6_mapped()),
        format!("[::{v4}]"),
        format!("[::ffff:0:{v4}]"),
        format!("[64:ff9b::{v4}]"),
        format!("[64:ff9b:1::{v4}]"),
        format!("[2002:{high:x}:{low:x}::]"),
        format!("[2002:{high:x}:{low:x}::1]"),
    ]
}

fn full_width(text: &str) -> String {
    text.chars()
        .map(|c| match c.to_digit(10) {
            Some(digit) => char::from_u32(0xff10 + digit).unwrap_or(c),
            None => c,
        })
        .collect()
}

/// The annotation that names the hosts a key may go to, with a host to try: the annotation, a line break, a URL.
pub(crate) fn allowed_hosts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (url, list) = text.split_once('\n').unwrap_or((text, text));
    let patterns = HostPattern::parse_list(list);
    let parts: Vec<_> = list
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|part| !part.is_empty())
        .collect();
    assert!(patterns.len() <= parts.len(), "no pattern comes from nothing");
    let mut hosts = vec![
        Host::Domain("scim.example.com".to_owned()),
        Host::Ipv4(Ipv4Addr::new(10, 0, 0, 7)),
    ];
    hosts.extend(Origin::parse(url).map(|origin| origin.host));
    for host in hosts {
        let consented = patterns.iter().any(|pattern| pattern.matches(&host));
        let name = match &host {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        assert_eq!(
            consented,
            parts.iter().any(|part| may_mean(part, &name)),
            "{host} and {list:?}"
        );
        // A host that is named as it is fits.
        let own: Result<HostPattern, _> = name.parse();
        assert!(
            own.is_ok_and(|own| own.matches(&host)),
            "{name} does not fit itself"
        );
    }
}

/// Whether a part of the annotation covers a host, by a slower way: label by label, and each by trying all lengths.
fn may_mean(part: &str, name: &str) -> bool {
    let part = part
        .trim_start_matches('[')
        .trim_end_matches(']')
        .trim_end_matches('.')
        .to_ascii_lowercase();
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.*:".contains(c);
    if part.is_empty() || part.len() > 253 || !part.chars().all(legal) || part.contains("**") {
        return false;
    }
    let (pattern, name): (Vec<_>, Vec<_>) = (part.split('.').collect(), name.split('.').collect());
    pattern.len() == name.len()
        && pattern
            .iter()
            .zip(&name)
            .all(|(pattern, label)| covers(pattern.as_bytes(), label.as_bytes()))
}

/// Whether a label fits a pattern: each row says which beginnings of the label a beginning of the pattern covers.
fn covers(pattern: &[u8], label: &[u8]) -> bool {
    let mut row = vec![false; label.len() + 1];
    row[0] = true;
    for p in pattern {
        let mut next = vec![false; label.len() + 1];
        for end in 0..=label.len() {
            next[end] = if *p == b'*' {
                row[end] || (end > 0 && next[end - 1])
            } else {
                end > 0 && row[end - 1] && label[end - 1] == *p
            };
        }
        row = next;
    }
    row[label.len()]
}
