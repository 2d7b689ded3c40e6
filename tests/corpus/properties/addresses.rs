//! Addresses: what the author of an object, the owner of a Secret, and a DNS server say of hosts.

use std::net::{IpAddr, Ipv4Addr};

use scim_bridge_operator::{
    api::connection::MAX_URL_LENGTH,
    bridge::{
        credential::consent_to,
        read_dns_answer,
        wire::address::{AddressPolicy, HostPattern},
    },
    domain::connection::{
        evidence::{Blocker, ConsentFault},
        target::{Origin, Scheme},
    },
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

/// The annotation that names the hosts a key may go to, with a host to try: a URL, a line break, the annotation.
pub(crate) fn allowed_hosts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (url, annotation) = text.split_once('\n').unwrap_or((text, text));
    let entries: Vec<_> = annotation
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|entry| !entry.is_empty())
        .collect();
    let fixed = [
        "https://scim.example.com",
        "https://10.0.0.7",
        "http://localhost:3002",
    ];
    let origins = fixed
        .into_iter()
        .chain([url])
        .filter_map(|url| Origin::parse(url).ok());
    for origin in origins {
        let name = match &origin.host {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_canonical().to_string(),
        };
        let unnamed = match origin.scheme {
            Scheme::Https => Blocker::ConsentMissing(ConsentFault::Unnamed),
            Scheme::Http => Blocker::ConsentMissing(ConsentFault::InClear),
        };
        let mut expected = Err(unnamed);
        for entry in &entries {
            let lower = entry.to_ascii_lowercase();
            let (scheme, host) = match lower.strip_prefix("http://") {
                Some(host) => (Scheme::Http, host),
                None => (Scheme::Https, lower.as_str()),
            };
            match meant(host) {
                None if expected == Err(unnamed) => {
                    expected = Err(Blocker::ConsentMissing(ConsentFault::Malformed))
                }
                Some(meant) if scheme == origin.scheme && fits(&meant, &name) => expected = Ok(()),
                // The host is named, but for TLS only.
                Some(meant) if origin.scheme == Scheme::Http && fits(&meant, &name) && expected.is_err() => {
                    expected = Err(Blocker::ConsentMissing(ConsentFault::ForTls));
                }
                _ => {}
            }
        }
        assert_eq!(
            consent_to(&origin, annotation),
            expected,
            "{origin} and {annotation:?}"
        );
        // A host that is named as it is fits.
        let own: Result<HostPattern, _> = name.parse();
        assert!(
            own.is_ok_and(|own| own.matches(&origin.host)),
            "{name} does not fit itself"
        );
    }
}

/// What an entry covers, by a slower way: the labels of a pattern, and how many may stand before them.
struct Meant {
    labels: Vec<String>,
    is_suffix: bool,
    is_address: bool,
}

/// Reads an entry, if some host can fit it.
fn meant(entry: &str) -> Option<Meant> {
    let address = match entry.strip_prefix('[') {
        Some(inside) => Some(IpAddr::V6(inside.strip_suffix(']')?.parse().ok()?)),
        None => entry.strip_suffix('.').unwrap_or(entry).parse().ok(),
    };
    if let Some(address) = address {
        return Some(Meant {
            labels: labels(&address.to_canonical().to_string()),
            is_suffix: false,
            is_address: true,
        });
    }
    let name = entry.strip_suffix('.').unwrap_or(entry);
    let (name, is_suffix) = match name.strip_prefix('.') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let labels = labels(name);
    let is_label = |label: &String| {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_*".contains(c);
        let ends = [label.chars().next(), label.chars().next_back()];
        (1..=63).contains(&label.len())
            && label.chars().all(legal)
            && !label.contains("**")
            && ends.iter().all(|end| end.is_some_and(|end| end != '-'))
    };
    let has = |wanted: fn(char) -> bool| name.contains(wanted);
    let is_of_numbers = name.chars().all(|c| c.is_ascii_digit() || "*.".contains(c));
    let is_address = is_of_numbers
        && has(|c| c.is_ascii_digit())
        && !is_suffix
        && labels.len() == 4
        && labels
            .iter()
            .all(|label| (0..256).any(|n| covers(label.as_bytes(), n.to_string().as_bytes())));
    // A name as a URL would have it, with some label where there is a `*`.
    let url = labels.iter().fold("https://".to_owned(), |url, label| {
        url + if label.contains('*') { "x" } else { label } + "."
    });
    let has_no_form = is_of_numbers || is_suffix && has(|c| c == '*');
    let is_name = !has_no_form
        && Origin::parse(url.trim_end_matches('.'))
            .is_ok_and(|origin| matches!(origin.host, Host::Domain(_)));
    ((is_address || is_name) && labels.iter().all(is_label) && name.len() <= 253).then_some(Meant {
        labels,
        is_suffix,
        is_address,
    })
}

fn labels(name: &str) -> Vec<String> {
    name.split('.').map(str::to_owned).collect()
}

fn fits(meant: &Meant, name: &str) -> bool {
    let given = labels(name);
    let before = given.len().checked_sub(meant.labels.len());
    meant.is_address == name.parse::<IpAddr>().is_ok()
        && before.is_some_and(|before| (before > 0) == meant.is_suffix)
        && meant
            .labels
            .iter()
            .rev()
            .zip(given.iter().rev())
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
