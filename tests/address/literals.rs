//! Every way to write an address, judged as production does: by the parser of `spec.url` and the address policy.

use std::collections::HashSet;

use scim_bridge_operator::{
    bridge::address::AddressPolicy,
    domain::target::{InvalidSpec, Origin},
};
use url::Host;

use crate::support::Differences;

/// The API server's address in this table.
const API_SERVER: &str = "10.96.0.1";

/// A host, as it stands in `https://HOST`, and what becomes of it:
/// `denied` is `HostDenied`, `allowed` is connected to, `named` is a name whose addresses are judged when they are
/// resolved, and `invalid` is `InvalidSpec`.
const HOSTS: &str = include_str!("literals.txt");

/// A whole `spec.url`, and what becomes of it; after `invalid` the field that is wrong.
const URLS: &str = include_str!("urls.txt");

fn policy() -> AddressPolicy {
    AddressPolicy {
        api_server: vec![API_SERVER.parse().unwrap()],
        ..AddressPolicy::default()
    }
}

fn judge(url: &str) -> String {
    match Origin::parse(url) {
        Err(
            InvalidSpec::Url
            | InvalidSpec::Length
            | InvalidSpec::Characters
            | InvalidSpec::Host
            | InvalidSpec::Address
            | InvalidSpec::Port,
        ) => "invalid".to_owned(),
        Err(why) => format!("invalid {why:?}"),
        Ok(origin) if !policy().allows(&origin) => "denied".to_owned(),
        Ok(Origin {
            host: Host::Domain(_),
            ..
        }) => "named".to_owned(),
        Ok(_) => "allowed".to_owned(),
    }
}

/// The rows of a table: expectation and text. `\u{..}`, `\t` and the like stand for characters that one cannot see.
fn rows(table: &str) -> Vec<(String, String)> {
    let rows = table
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|line| {
        let (expected, text) = line.split_once(" | ").unwrap_or_else(|| panic!("no row: {line}"));
        (expected.trim().to_owned(), unescape(text))
    })
    .collect()
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\u{") {
        let (code, after) = after.split_once('}').unwrap();
        plain.push_str(before);
        plain.push(char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap());
        rest = after;
    }
    plain + rest
}

#[test]
fn every_spelling_of_an_address() {
    let rows = rows(HOSTS);
    let distinct: HashSet<_> = rows.iter().map(|(_, host)| host).collect();
    assert_eq!(distinct.len(), rows.len(), "a row is there twice");
    assert!(rows.len() >= 190, "{} rows are left", rows.len());
    let mut differences = Differences::default();
    for (expected, host) in &rows {
        differences.compare(host.escape_debug(), expected, &judge(&format!("https://{host}")));
    }
    differences.assert_none();
}

#[test]
fn every_trick_with_a_url() {
    let rows = rows(URLS);
    assert!(rows.len() >= 50, "{} rows are left", rows.len());
    let mut differences = Differences::default();
    for (expected, url) in &rows {
        differences.compare(url.escape_debug(), expected, &judge(url));
    }
    differences.assert_none();
}
