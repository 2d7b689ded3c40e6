//! What a server knows, in a few words.
//!
//! `scim.test 10.0.0.1 fd00::1; a.test A SILENT; * SERVFAIL`: entries of a name or `*`, a family where it matters, and
//! addresses or a word of [`reply`]. A name without an entry does not exist.

use std::net::IpAddr;

use crate::name_server::{Question, Reply};

/// One entry.
#[derive(Clone, Debug)]
struct Entry {
    name: String,
    is_v6: Option<bool>,
    reply: Reply,
    /// Instead of `reply` where the question carries EDNS.
    with_edns: Option<Reply>,
}

/// Answers questions by a zone.
pub(crate) fn zone(text: &str) -> impl FnMut(&Question) -> Reply + Send + 'static {
    let entries: Vec<_> = text
        .split(';')
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(entry)
        .collect();
    move |question| {
        let fits = |name: &str, family: Option<bool>| {
            entries
                .iter()
                .find(|entry| entry.name == name && entry.is_v6 == family)
        };
        let family = Some(question.is_v6);
        let entry = fits(&question.name, family)
            .or_else(|| fits(&question.name, None))
            .or_else(|| fits("*", family))
            .or_else(|| fits("*", None));
        let has_other_family = || fits(&question.name, Some(!question.is_v6)).is_some();
        match entry {
            Some(Entry {
                with_edns: Some(reply),
                ..
            }) if question.has_edns => reply.clone(),
            Some(entry) => entry.reply.clone(),
            None if has_other_family() => Reply::Addresses(Vec::new()),
            None => Reply::NoSuchName,
        }
    }
}

fn entry(text: &str) -> Entry {
    let mut words: Vec<_> = text.split_whitespace().collect();
    let name = words.remove(0).to_owned();
    let is_v6 = match words[0] {
        "A" => Some(false),
        "AAAA" => Some(true),
        _ => None,
    };
    if is_v6.is_some() {
        words.remove(0);
    }
    let word = words[0];
    let addresses: Vec<IpAddr> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let reply = match word {
        "NODATA" => Reply::Addresses(Vec::new()),
        "NXDOMAIN" => Reply::NoSuchName,
        "SERVFAIL" => Reply::Failure,
        "REFUSED" => Reply::Code(5),
        "FORMERR" => Reply::Code(1),
        "LAME" => Reply::Lame,
        "SILENT" => Reply::Silence,
        "GARBAGE" => Reply::Garbage(vec![0xff; 40]),
        "TOOLONG" => Reply::TooLong(addresses),
        "FOREIGN" => Reply::LateAmongForeign(addresses),
        "SHORT" => Reply::LateAmongShort(addresses),
        "CAPITALS" => Reply::Capitals(addresses),
        "OTHER" => Reply::OfAnotherName(addresses),
        "BROKEN" => Reply::BrokenBehind(addresses),
        "ALIASES" => Reply::Aliases(words[1].parse().unwrap(), addresses),
        _ => Reply::Addresses(addresses),
    };
    let is_known = !matches!(&reply, Reply::Addresses(addresses) if addresses.is_empty() && word != "NODATA");
    assert!(is_known, "no entry of a zone: {text}");
    Entry {
        name,
        is_v6,
        with_edns: (word == "PLAIN").then_some(Reply::Code(1)),
        reply,
    }
}
