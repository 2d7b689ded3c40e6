//! What a real API server accepts and refuses by the CRDs of `deploy/`, and what kubectl shows of them.
//!
//! Nothing of the operator runs: this is what users meet before it does. Connections are here, users and groups in
//! [`provisioning`].

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what is missing fails the test, with its place"
)]

mod four_eyes;
mod provisioning;
mod server;

use std::fs;

use proptest::{prelude::*, sample, strategy::ValueTree as _, test_runner::TestRunner};
use scim_bridge_operator::{
    api::{
        REQUESTED_AT_ANNOTATION,
        connection::{ScimBridgeConnection, ScimBridgeConnectionSpec},
    },
    domain::connection::target::{InvalidSpec, Origin, Target},
};
use serde_json::{Value, json};
use testbed::{Failure, connection, wait};

use crate::server::{CONNECTIONS, Fields, INSTALLED, SOON, Server, causes, deploy, patched};

/// Changes to the specification of [`good`] that are accepted, and that the operator can use.
#[rustfmt::skip]
const ACCEPTED: &[&str] = &[
    // Addresses.
    "url: https://scim.example.com/",
    "url: https://scim.example.com:8443",
    "url: https://scim.example.com:8443/",
    "url: https://scim.example.com/scim",
    "url: https://scim.example.com/scim/",
    "url: https://scim.example.com/scim/v2",
    "url: https://scim.example.com/scim/v2/",
    "url: https://provisioning.1password.com/scim/v2",
    "url: https://SCIM.Example.com",
    "url: HTTPS://scim.example.com",
    "url: https://scim.example.com.",
    "url: https://bridge",
    "url: https://bücher.example",
    "url: https://192.0.2.7:8443",
    "url: 'https://[2001:db8::1]'",
    "url: 'https://[2001:db8::1]:8443/scim'",
    "url: 'https://[2001:DB8:0:0::1]'",
    "url: 'https://[::ffff:192.0.2.7]'",
    "url: 'https://[::FFFF:c000:207]:8443'",
    "url: 'https://[64:ff9b::192.0.2.7]'",
    "url: 'https://scim.example.com:'",
    "url: https://scim.example.com:1",
    "url: https://scim.example.com:65535",
    "url: https://scim.example.com:00443",
    "url: https://op_scim.corp.example",
    "url: https://_scim_.example",
    "url: https://a--b.example",
    "url: https://xn--bcher-kva.example",
    "url: https://bü-cher.BÜCHER.example",
    "url: https://scim.example.com.:8443/scim",
    "url: https://<63>.example.com",
    "url: https://<63>.<63>.<63>.<61>",
    "url: https://<63>.<63>.<63>.<61>.",
    "url: https://1password.example",
    "url: https://0x.example",
    "url: https://scim.0xyz",
    "url: https://scim.1a",
    // Every spelling of an address that a URL has: the address policy judges what it means.
    "url: https://127.0.0.1.",
    "url: https://127.1",
    "url: https://10.1.65535",
    "url: https://10.16777215",
    "url: https://4294967295",
    "url: https://0",
    "url: https://0x7f.0.0.1",
    "url: https://0X7F000001",
    "url: https://0177.0.0.01",
    "url: https://037777777777",
    "url: https://255.255.255.255",
    "{url: 'http://bridge.scim.svc:3002', allowPlaintext: true}",
    "{url: 'http://[::1]:3002/scim/v2/', allowPlaintext: true}",
    "allowPlaintext: true",
    // Identity providers.
    "identityProvider: GoogleWorkspace",
    "identityProvider: EntraID",
    "identityProvider: Okta",
    "identityProvider: JumpCloud",
    "identityProvider: OneLogin",
    "identityProvider: Rippling",
    "identityProvider: Other",
    // Durations.
    "interval: 30s",
    "interval: 1h30m",
    "interval: 24h",
    "interval: 86400s",
    "interval: 00030s",
    "interval: 23h59m60s",
    "timeout: 1s",
    "timeout: 60s",
    "timeout: 1m",
    "{interval: 30s, timeout: 30s}",
    // Bounds and switches.
    "failureThreshold: 1",
    "failureThreshold: 10",
    "suspend: true",
    "suspend: false",
    // References.
    "apiKeySecretRef: {name: bridge.key.v2}",
    "apiKeySecretRef: {name: '0'}",
    "apiKeySecretRef: {name: <253>}",
    "apiKeySecretRef: {name: bridge, key: bearer_Token-1.txt}",
    "apiKeySecretRef: {name: bridge, key: <253>}",
    "nextApiKeySecretRef: {name: bridge-next}",
    "nextApiKeySecretRef: {name: bridge, key: next}",
    // TLS.
    "tls: {caRef: {kind: ConfigMap, name: corporate-ca}}",
    "tls: {caRef: {kind: Secret, name: bridge-tls}}",
    "tls: {caRef: {kind: Secret, name: bridge-tls, key: tls.crt}}",
    "tls: {serverName: scim.internal.example}",
    "tls: {serverName: bridge, caRef: {kind: ConfigMap, name: corporate-ca}}",
    // Null is absence where there is a default or nothing is required.
    "tls: null",
    "identityProvider: null",
    "nextApiKeySecretRef: null",
    "{interval: null, timeout: null, failureThreshold: null, suspend: null, allowPlaintext: null}",
    "apiKeySecretRef: {name: bridge, key: null}",
];

/// Changes that are refused: the field that is named, and what is said about it.
#[rustfmt::skip]
const REFUSED: &[(&str, &str, &str)] = &[
    // Addresses.
    ("url: ABSENT", ".url", "Required value"),
    ("url: null", ".url", "Required value"),
    ("url: 7", ".url", "must be of type string"),
    ("url: {}", ".url", "must be of type string"),
    ("url: ''", ".url", "at least 1 chars"),
    ("url: https://<505>", ".url", "may not be more than 512"),
    ("url: scim.example.com", ".url", "must be https://HOST"),
    ("url: //scim.example.com", ".url", "must be https://HOST"),
    ("url: https:scim.example.com", ".url", "must be https://HOST"),
    ("url: ftp://scim.example.com", ".url", "must be https://HOST"),
    ("url: file:///scim", ".url", "must be https://HOST"),
    ("url: https://", ".url", "must be https://HOST"),
    ("url: https:///scim", ".url", "must be https://HOST"),
    ("url: https://:8443", ".url", "must be https://HOST"),
    ("url: https://scim.example.com:https", ".url", "must be https://HOST"),
    ("url: https://2001:db8::1", ".url", "must be https://HOST"),
    ("url: https://scim example.com", ".url", "must be https://HOST"),
    (r#"url: "https://scim.example.com\n""#, ".url", "must be https://HOST"),
    (r"url: https://scim.example.com\evil", ".url", "must be https://HOST"),
    ("url: https://ada@scim.example.com", ".url", "must not hold a user name"),
    ("url: https://ada:pw@scim.example.com", ".url", "must not hold a user name"),
    ("url: https://scim.example.com?a=b", ".url", "must not hold a query"),
    ("url: https://scim.example.com/scim?a=b", ".url", "must not hold a query"),
    ("url: https://scim.example.com?", ".url", "must not hold a query"),
    ("url: https://scim.example.com/#top", ".url", "must not hold a query"),
    ("url: https://scim.example.com/app", ".url", "must not hold a path other than"),
    ("url: https://scim.example.com/scim/v1", ".url", "must not hold a path other than"),
    ("url: https://scim.example.com/scim/Users", ".url", "must not hold a path other than"),
    ("url: https://scim.example.com//", ".url", "must not hold a path other than"),
    ("url: https://scim.example.com/scim/../x", ".url", "must not hold a path other than"),
    ("url: https://scim.example.com/%73cim", ".url", "must not hold a path other than"),
    // Ports.
    ("url: https://scim.example.com:0", ".url", "between 1 and 65535"),
    ("url: https://scim.example.com:00000", ".url", "between 1 and 65535"),
    ("url: https://scim.example.com:65536", ".url", "between 1 and 65535"),
    ("url: https://scim.example.com:000443", ".url", "between 1 and 65535"),
    ("url: https://scim.example.com:99999999999999999999", ".url", "between 1 and 65535"),
    ("url: https://scim.example.com:-1", ".url", "must be https://HOST"),
    ("url: https://scim.example.com:+443", ".url", "must be https://HOST"),
    ("url: 'https://[2001:db8::1]:0'", ".url", "between 1 and 65535"),
    // Names.
    ("url: https://scim..example.com", ".url", "the host must be a DNS name"),
    ("url: https://.example.com", ".url", "the host must be a DNS name"),
    ("url: https://scim.example.com..", ".url", "the host must be a DNS name"),
    ("url: https://.", ".url", "the host must be a DNS name"),
    ("url: https://-scim.example.com", ".url", "the host must be a DNS name"),
    ("url: https://scim-.example.com", ".url", "the host must be a DNS name"),
    ("url: https://scim.example.com-", ".url", "the host must be a DNS name"),
    ("url: https://<64>.example.com", ".url", "the host must be a DNS name"),
    ("url: https://<63>.<63>.<63>.<62>", ".url", "the host must be a DNS name"),
    ("url: https://bü..example", ".url", "the host must be a DNS name"),
    ("url: https://*.example.com", ".url", "the host must be a DNS name"),
    ("url: https://scim,example.com", ".url", "the host must be a DNS name"),
    ("url: https://scim!.example.com", ".url", "the host must be a DNS name"),
    ("url: 'https://scim;example.com'", ".url", "the host must be a DNS name"),
    ("url: https://scim'example.com", ".url", "the host must be a DNS name"),
    ("url: https://$(HOST)", ".url", "the host must be a DNS name"),
    // Addresses of which there are none.
    ("url: https://256.1.1.1", ".url", "must be an IPv4 address"),
    ("url: https://1.1.1.256", ".url", "must be an IPv4 address"),
    ("url: https://1.2.3.4.5", ".url", "must be an IPv4 address"),
    ("url: https://10.1.65536", ".url", "must be an IPv4 address"),
    ("url: https://10.16777216", ".url", "must be an IPv4 address"),
    ("url: https://4294967296", ".url", "must be an IPv4 address"),
    ("url: https://0x100000000", ".url", "must be an IPv4 address"),
    ("url: https://040000000000", ".url", "must be an IPv4 address"),
    ("url: https://0400.1.1.1", ".url", "must be an IPv4 address"),
    ("url: https://1.1.1.08", ".url", "must be an IPv4 address"),
    ("url: https://scim.example.1", ".url", "must be an IPv4 address"),
    ("url: https://scim.example.0x1.", ".url", "must be an IPv4 address"),
    ("url: 'https://[fe80::1%25eth0]'", ".url", "without a zone"),
    ("url: 'https://[::1]x'", ".url", "must be https://HOST"),
    ("url: 'https://[::1'", ".url", "must be https://HOST"),
    ("url: 'https://[192.0.2.7]'", ".url", "must be"),
    ("url: 'https://[scim.example.com]'", ".url", "must be"),
    ("url: 'https://[1::2::3]'", ".url", "must be"),
    ("url: 'https://[::12345]'", ".url", "must be"),
    ("url: 'https://[::ffff:192.0.2.256]'", ".url", "must be"),
    // Characters.
    ("url: https://b%C3%BCcher.example", ".url", "percent signs"),
    ("url: https://scim%2eexample.com", ".url", "percent signs"),
    ("url: https://scim.example.com/%2e", ".url", "percent signs"),
    ("url: \"https://scim.example\\u00a0.com\"", ".url", "must not hold blanks"),
    ("url: \"https://scim.example\\u3000com\"", ".url", "must not hold blanks"),
    ("url: \"https://scim.example\\u2028com\"", ".url", "must not hold blanks"),
    ("url: \"https://scim.example\\u0085com\"", ".url", "must not hold blanks"),
    ("url: \"https://scim\\t.example.com\"", ".url", "must not hold blanks"),
    ("url: ' https://scim.example.com'", ".url", "must not hold blanks"),
    (r"url: https:\\scim.example.com", ".url", "backslashes"),
    ("url: https://ü<240>ü<240>.example", ".url", "the host must be a DNS name"),
    // In the clear.
    ("url: http://bridge.scim.svc:3002", ".url", "set allowPlaintext: true"),
    ("url: HTTP://bridge.scim.svc:3002", ".url", "set allowPlaintext: true"),
    ("{url: 'http://bridge', allowPlaintext: false}", ".url", "set allowPlaintext: true"),
    ("{url: 'http://bridge', allowPlaintext: true, tls: {serverName: x}}", ".tls", "remove one of the two"),
    ("allowPlaintext: 'yes'", ".allowPlaintext", "must be of type boolean"),
    // TLS.
    ("tls: {}", ".tls", "set caRef, serverName or both"),
    ("tls: {caRef: null}", ".tls", "set caRef, serverName or both"),
    ("tls: {serverName: ''}", ".tls.serverName", "at least 1 chars"),
    ("tls: {serverName: Bridge}", ".tls.serverName", "should match"),
    ("tls: {serverName: 'bridge:443'}", ".tls.serverName", "should match"),
    ("tls: {serverName: '*.example.com'}", ".tls.serverName", "should match"),
    ("tls: {serverName: 10.0.0.1}", ".tls.serverName", "not an address"),
    ("tls: {serverName: 169.254.169.254}", ".tls.serverName", "not an address"),
    ("tls: {serverName: '2130706433'}", ".tls.serverName", "not an address"),
    ("tls: {serverName: 0x7f.1}", ".tls.serverName", "not an address"),
    ("tls: {serverName: scim.256}", ".tls.serverName", "not an address"),
    ("tls: {serverName: '::1'}", ".tls.serverName", "should match"),
    ("tls: {serverName: scim..example.com}", ".tls.serverName", "should match"),
    ("tls: {serverName: scim.example.com.}", ".tls.serverName", "should match"),
    ("tls: {serverName: -scim.example.com}", ".tls.serverName", "should match"),
    ("tls: {serverName: <64>}", ".tls.serverName", "should match"),
    ("tls: {serverName: <254>}", ".tls.serverName", "may not be more than 253"),
    ("tls: {caRef: {kind: ClusterIssuer, name: x}}", ".tls.caRef.kind", r#""ConfigMap", "Secret""#),
    ("tls: {caRef: {kind: secret, name: x}}", ".tls.caRef.kind", r#""ConfigMap", "Secret""#),
    ("tls: {caRef: {name: x}}", ".tls.caRef.kind", "Required value"),
    ("tls: {caRef: {kind: Secret}}", ".tls.caRef.name", "Required value"),
    ("tls: {caRef: {kind: Secret, name: X}}", ".tls.caRef.name", "should match"),
    ("tls: {caRef: {kind: Secret, name: x, key: a/b}}", ".tls.caRef.key", "should match"),
    ("tls: true", ".tls", "must be of type object"),
    // Durations.
    ("interval: 1d", ".interval", "should match"),
    ("interval: '5'", ".interval", "should match"),
    ("interval: -5m", ".interval", "should match"),
    ("interval: 1.5h", ".interval", "should match"),
    ("interval: 5 m", ".interval", "should match"),
    ("interval: 5M", ".interval", "should match"),
    ("interval: ''", ".interval", "should match"),
    ("interval: 500ms", ".interval", "should match"),
    ("interval: 100000s", ".interval", "should match"),
    (r#"interval: "5m\n""#, ".interval", "should match"),
    ("interval: 1h1m1s1s1s1s1s1s1s", ".interval", "may not be more than 16"),
    ("interval: 300", ".interval", "must be of type string"),
    ("interval: 10s", ".interval", "must be between 30s and 24h"),
    ("interval: 25h", ".interval", "must be between 30s and 24h"),
    ("interval: 24h1s", ".interval", "must be between 30s and 24h"),
    ("timeout: 0s", ".timeout", "must be between 1s and 60s"),
    ("timeout: 61s", ".timeout", "must be between 1s and 60s"),
    ("timeout: 1h", ".timeout", "must be between 1s and 60s"),
    ("timeout: ten", ".timeout", "should match"),
    ("{interval: 30s, timeout: 31s}", ".timeout", "must not be longer than interval"),
    // Bounds and switches.
    ("failureThreshold: 0", ".failureThreshold", "greater than or equal to 1"),
    ("failureThreshold: -1", ".failureThreshold", "greater than or equal to 1"),
    ("failureThreshold: 11", ".failureThreshold", "less than or equal to 10"),
    ("failureThreshold: '3'", ".failureThreshold", "must be of type integer"),
    ("failureThreshold: 2.5", ".failureThreshold", "must be of type int32"),
    ("suspend: 1", ".suspend", "must be of type boolean"),
    // Identity providers.
    ("identityProvider: PingOne", ".identityProvider", r#"supported values: "GoogleWorkspace", "EntraID""#),
    ("identityProvider: okta", ".identityProvider", "supported values"),
    ("identityProvider: ''", ".identityProvider", "supported values"),
    ("identityProvider: [Okta]", ".identityProvider", "must be of type string"),
    // References.
    ("apiKeySecretRef: ABSENT", ".apiKeySecretRef", "Required value"),
    ("apiKeySecretRef: null", ".apiKeySecretRef", "Required value"),
    ("apiKeySecretRef: bridge", ".apiKeySecretRef", "must be of type object"),
    ("apiKeySecretRef: {}", ".apiKeySecretRef.name", "Required value"),
    ("apiKeySecretRef: {key: apiKey}", ".apiKeySecretRef.name", "Required value"),
    ("apiKeySecretRef: {name: ''}", ".apiKeySecretRef.name", "at least 1 chars"),
    ("apiKeySecretRef: {name: Bridge}", ".apiKeySecretRef.name", "should match"),
    ("apiKeySecretRef: {name: other/bridge}", ".apiKeySecretRef.name", "should match"),
    ("apiKeySecretRef: {name: ..}", ".apiKeySecretRef.name", "should match"),
    ("apiKeySecretRef: {name: a..b}", ".apiKeySecretRef.name", "should match"),
    ("apiKeySecretRef: {name: -bridge}", ".apiKeySecretRef.name", "should match"),
    ("apiKeySecretRef: {name: bridge_key}", ".apiKeySecretRef.name", "should match"),
    (r#"apiKeySecretRef: {name: "bridge\n"}"#, ".apiKeySecretRef.name", "should match"),
    ("apiKeySecretRef: {name: <254>}", ".apiKeySecretRef.name", "may not be more than 253"),
    ("apiKeySecretRef: {name: bridge, key: a/b}", ".apiKeySecretRef.key", "should match"),
    ("apiKeySecretRef: {name: bridge, key: 'api key'}", ".apiKeySecretRef.key", "should match"),
    ("apiKeySecretRef: {name: bridge, key: ''}", ".apiKeySecretRef.key", "at least 1 chars"),
    ("apiKeySecretRef: {name: bridge, key: <254>}", ".apiKeySecretRef.key", "may not be more than 253"),
    ("nextApiKeySecretRef: {key: next}", ".nextApiKeySecretRef.name", "Required value"),
    ("nextApiKeySecretRef: {name: Next}", ".nextApiKeySecretRef.name", "should match"),
];

/// Fields that do not exist: refused where the client asks for strictness, as kubectl does, and dropped elsewhere.
#[rustfmt::skip]
const UNKNOWN: &[(&str, &str)] = &[
    ("idp: Okta", "spec.idp"),
    ("insecureSkipVerify: true", "spec.insecureSkipVerify"),
    ("apiKeySecretRef: {name: bridge, namespace: other}", "spec.apiKeySecretRef.namespace"),
    ("nextApiKeySecretRef: {name: bridge, namespace: other}", "spec.nextApiKeySecretRef.namespace"),
    ("tls: {serverName: x, insecure: true}", "spec.tls.insecure"),
    ("tls: {caRef: {kind: Secret, name: x, namespace: other}}", "spec.tls.caRef.namespace"),
];

/// What rules cannot say: it takes IDNA. It is accepted, and the operator says `InvalidSpec`. docs/reasons.md names it.
#[rustfmt::skip]
const LEFT_TO_THE_OPERATOR: &[(&str, InvalidSpec)] = &[
    // No punycode.
    ("url: https://xn--zzzzzz.example", InvalidSpec::Host),
    ("url: https://scim.XN--a.example", InvalidSpec::Host),
    ("tls: {serverName: xn--zzzzzz.example}", InvalidSpec::ServerName),
    // Letters that no name has, names that are too long once they are in ASCII, and marks that become dots and digits.
    ("url: https://scim\u{fffd}.example", InvalidSpec::Host),
    ("url: https://ü<62>.example", InvalidSpec::Host),
    ("url: https://a。。b.example", InvalidSpec::Host),
    ("url: https://２５６.1.1.1．", InvalidSpec::Address),
];

// === Objects ===

#[tokio::test]
async fn what_is_accepted() -> Result<(), Failure> {
    let server = Server::start(CONNECTIONS, "accepted").await?;
    let mut wrong = Vec::new();
    for patch in [""].iter().chain(ACCEPTED) {
        match server.try_create(&with(patch), Fields::Strict).await? {
            Err(refusal) => wrong.push(format!("{patch}: refused: {}", refusal.message)),
            Ok(object) => {
                if let Err(error) = Target::parse(&spec(&object)?) {
                    wrong.push(format!(
                        "{patch}: accepted, but the operator cannot use it: {error}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    Ok(())
}

/// The complaint is about the field with the mistake in it, and about no other.
#[tokio::test]
async fn what_is_refused() -> Result<(), Failure> {
    let server = Server::start(CONNECTIONS, "refused").await?;
    let mut wrong = Vec::new();
    for (patch, field, message) in REFUSED {
        let field = format!("spec{field}");
        match server.try_create(&with(patch), Fields::Strict).await? {
            Ok(_) => wrong.push(format!("{patch}: accepted")),
            Err(refusal) => {
                let causes = causes(&refusal);
                let expected = causes.iter().all(|(f, _)| *f == field)
                    && causes.iter().any(|(_, said)| said.contains(message));
                if !expected {
                    wrong.push(format!("{patch}: not {field}: {message}\n    but {causes:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test]
async fn what_is_left_to_the_operator() -> Result<(), Failure> {
    let server = Server::start(CONNECTIONS, "left").await?;
    let mut wrong = Vec::new();
    for (patch, expected) in LEFT_TO_THE_OPERATOR {
        match server.try_create(&with(patch), Fields::Strict).await? {
            Err(refusal) => wrong.push(format!("{patch}: refused: {}", refusal.message)),
            Ok(object) => {
                let parsed = Target::parse(&spec(&object)?).map(|_| "used");
                if parsed != Err(*expected) {
                    wrong.push(format!("{patch}: {parsed:?} by the operator"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    Ok(())
}

/// Addresses made of parts that are right and wrong: what the API server accepts the operator can use, and what it
/// refuses the operator could not, but for IDNA and for spellings that nobody writes.
#[tokio::test]
async fn both_sides_judge_addresses_alike() -> Result<(), Failure> {
    let server = Server::start(CONNECTIONS, "alike").await?;
    let mut runner = TestRunner::deterministic();
    let urls = urls();
    let (mut wrong, mut seen) = (Vec::new(), [0, 0]);
    for _ in 0..1_500 {
        let url = urls.new_tree(&mut runner).unwrap().current();
        let mut object = good();
        object["spec"]["url"] = json!(url);
        object["spec"]["allowPlaintext"] = json!(true);
        let accepted = server.try_create(&object, Fields::Strict).await?;
        let usable = Origin::parse(&url);
        seen[usize::from(accepted.is_ok())] += 1;
        let host = url.split("://").nth(1).unwrap_or_default();
        let needs_idna = !host.is_ascii() || host.to_ascii_lowercase().contains("xn--");
        let is_odd = url.contains('%') || url.contains(":000");
        match (&accepted, &usable) {
            (Ok(_), Err(error)) if !needs_idna => wrong.push(format!("{url:?} is accepted: {error}")),
            (Err(refusal), Ok(_)) if !needs_idna && !is_odd => {
                wrong.push(format!("{url:?} is refused: {:?}", causes(refusal)));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(
        seen.iter().all(|seen| *seen > 300),
        "refused and accepted: {seen:?}"
    );
    Ok(())
}

/// One of these, as often as each other.
fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    sample::select(texts).prop_map(str::to_owned)
}

fn urls() -> impl Strategy<Value = String> {
    let long = |length: usize| Just("a".repeat(length));
    let label = prop_oneof![
        6 => one_of(&["scim", "A1", "a-b", "_x", "x_", "7", "0", "1x", "0x1f", "256", "08"]),
        2 => one_of(&["bücher", "xn--bcher-kva", "ß", "②", "１"]),
        1 => one_of(&["", "-a", "a-", "a b", "a*", "a%41", "a\u{a0}", "a\\", "a,b", "a\u{200b}", "xn--zzzzzz", "xn--", "a\tb"]),
        1 => prop_oneof![long(63), long(64)],
    ];
    let names = proptest::collection::vec(label, 1..5).prop_map(|labels| labels.join("."));
    let number = one_of(&[
        "0",
        "1",
        "127",
        "255",
        "256",
        "65535",
        "65536",
        "16777215",
        "16777216",
        "4294967295",
        "4294967296",
        "0377",
        "0400",
        "00",
        "08",
        "0x",
        "0xff",
        "0x100",
        "0Xffff",
        "0xffffffff",
        "0x000000001",
        "037777777777",
        "040000000000",
    ]);
    let addresses = proptest::collection::vec(number, 1..6).prop_map(|numbers| numbers.join("."));
    let brackets = one_of(&[
        "::1",
        "::",
        "2001:db8::1",
        "2001:DB8:0:0:0:0:0:1",
        "1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7",
        "1::2::3",
        "::12345",
        "::ffff:192.0.2.7",
        "::ffff:c000:207",
        "0:0:0:0:0:ffff:192.0.2.7",
        "::192.0.2.7",
        "::ffff:192.0.2.256",
        "64:ff9b::192.0.2.7",
        "::192.0.2.07",
        "fe80::1%25eth0",
        "fe80::1%eth0",
        "192.0.2.7",
        "scim",
        "",
        "::g",
        "[::1]",
    ])
    .prop_map(|inside| format!("[{inside}]"));
    let host = prop_oneof![4 => names, 3 => addresses, 1 => brackets];
    let scheme = prop_oneof![
        8 => one_of(&["https://", "http://", "HTTPS://"]),
        1 => one_of(&["https:", "https:///", "ftp://", "//", "", " https://", "https://ada@"]),
    ];
    let dot = prop_oneof![3 => one_of(&[""]), 1 => one_of(&["."])];
    let port = prop_oneof![
        3 => one_of(&[""]),
        1 => one_of(&[":", ":1", ":443", ":65535", ":00443", ":0", ":65536", ":000443", ":-1", ":+1", ":x", ":4 3"]),
    ];
    let path = prop_oneof![
        4 => one_of(&["", "/", "/scim", "/scim/v2/"]),
        1 => one_of(&["//", "/scim/v1", "/%73cim", "?a=b", "#a", "/scim?"]),
    ];
    (scheme, host, dot, port, path)
        .prop_map(|(scheme, host, dot, port, path)| [scheme, host, dot, port, path].concat())
}

#[tokio::test]
async fn a_specification_is_required() -> Result<(), Failure> {
    let server = Server::start(CONNECTIONS, "whole").await?;
    for (spec, message) in [
        (None, "Required value"),
        (Some(Value::Null), "Required value"),
        (Some(json!("https://scim.example.com")), "must be of type object"),
        (Some(json!([])), "must be of type object"),
    ] {
        let mut object = good();
        let fields = object.as_object_mut().unwrap();
        fields.remove("spec");
        fields.extend(spec.clone().map(|spec| ("spec".to_owned(), spec)));
        let refusal = server
            .try_create(&object, Fields::Strict)
            .await?
            .expect_err("refused");
        let causes = causes(&refusal);
        assert!(
            matches!(&*causes, [(field, said)] if *field == "spec" && said.contains(message)),
            "{spec:?}: {causes:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn unknown_fields_are_refused_or_dropped() -> Result<(), Failure> {
    let server = Server::start(CONNECTIONS, "unknown").await?;
    for (patch, field) in UNKNOWN {
        let object = with(patch);
        let refusal = server
            .try_create(&object, Fields::Strict)
            .await?
            .expect_err("refused");
        let expected = format!("unknown field \"{field}\"");
        assert!(
            refusal.message.contains(&expected),
            "{patch}: {}",
            refusal.message
        );

        let pruned = server
            .try_create(&object, Fields::Ignore)
            .await?
            .map_err(|refusal| refusal.message)?;
        let place = format!("/{}", field.replace('.', "/"));
        assert!(object.pointer(&place).is_some());
        assert_eq!(pruned.pointer(&place), None, "{patch}");
    }
    Ok(())
}

#[tokio::test]
async fn defaults_are_filled_in() -> Result<(), Failure> {
    let server = Server::start(CONNECTIONS, "defaults").await?;
    let stored = server.create("minimal", &good()).await?;
    assert_eq!(
        stored["spec"],
        json!({
            "url": "https://scim.example.com",
            "apiKeySecretRef": {"name": "bridge", "key": "apiKey"},
            "interval": "5m",
            "timeout": "10s",
            "failureThreshold": 3,
            "suspend": false,
            "allowPlaintext": false,
        })
    );
    let references = with(
        "{tls: {caRef: {kind: ConfigMap, name: ca}}, nextApiKeySecretRef: {name: next}, identityProvider: null}",
    );
    let stored = server.create("references", &references).await?;
    assert_eq!(
        stored["spec"]["tls"],
        json!({"caRef": {"kind": "ConfigMap", "name": "ca", "key": "ca.crt"}})
    );
    assert_eq!(
        stored["spec"]["nextApiKeySecretRef"],
        json!({"name": "next", "key": "apiKey"})
    );
    assert_eq!(stored["spec"].get("identityProvider"), None, "null is not stored");
    Ok(())
}

#[tokio::test]
async fn annotations_are_kept() -> Result<(), Failure> {
    let server = Server::start(CONNECTIONS, "annotations").await?;
    let mut object = good();
    object["metadata"]["annotations"] = json!({REQUESTED_AT_ANNOTATION: "2026-11-05T12:00:00Z"});
    let stored = server.create("asked", &object).await?;
    assert_eq!(
        stored["metadata"]["annotations"],
        object["metadata"]["annotations"]
    );
    Ok(())
}

#[tokio::test]
async fn the_examples_are_accepted() -> Result<(), Failure> {
    let server = Server::start(CONNECTIONS, "examples").await?;
    let mut seen = 0;
    for entry in fs::read_dir(deploy("examples"))? {
        let path = entry?.path();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(&path)?)?;
        for mut object in documents {
            if object["kind"] != "ScimBridgeConnection" {
                continue;
            }
            seen += 1;
            object["metadata"]["namespace"] = json!(server.namespace.name());
            if let Err(refusal) = server.try_create(&object, Fields::Strict).await? {
                panic!("{}: {}", path.display(), refusal.message);
            }
        }
    }
    assert!(seen > 3, "{seen} examples");
    Ok(())
}

// === Status ===

/// kstatus then waits, as it should: nobody has looked at the object.
#[tokio::test]
async fn a_fresh_status_is_never_observed() -> Result<(), Failure> {
    let server = Server::start(CONNECTIONS, "fresh").await?;
    let stored = server.create("fresh", &good()).await?;
    assert_eq!(stored["status"], json!({"observedGeneration": -1}));

    let mut object = good();
    object["status"] = json!({"observedGeneration": 1, "scimApi": "Enabled", "binding": {"name": "stolen"}});
    let stored = server.create("forged", &object).await?;
    assert_eq!(
        stored["status"],
        json!({"observedGeneration": -1}),
        "set at create"
    );
    Ok(())
}

#[tokio::test]
async fn a_status_is_checked() -> Result<(), Failure> {
    let server = Server::start(CONNECTIONS, "status").await?;
    server.create("it", &good()).await?;
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "reason": "Connected", "message": "",
               "lastTransitionTime": "2026-11-05T12:00:00Z"})
    };
    let many_conditions: Vec<_> = (0..17).map(|i| condition(&format!("C{i}"))).collect();
    let component = |name: &str, state: &str| json!({"name": name, "state": state});
    let many_components: Vec<_> = (0..17).map(|i| component(&format!("c{i}"), "healthy")).collect();
    #[rustfmt::skip]
    let rows = [
        (json!({"lastHandledReconcileAt": "a".repeat(256)}), None),
        (json!({"lastHandledReconcileAt": "a".repeat(300)}), Some("may not be more than 256")),
        (json!({"scimApi": "Enabled"}), None),
        (json!({"scimApi": "Broken"}), Some(r#"supported values: "Enabled", "Disabled", "Unknown""#)),
        (json!({"conditions": [condition("Ready")]}), None),
        (json!({"conditions": [condition("Ready"), condition("Ready")]}), Some("duplicate entries")),
        (json!({"conditions": [{"type": "Ready"}]}), Some("Required value")),
        (json!({"conditions": many_conditions}), Some("must have at most 16 items")),
        (json!({"bridge": {"components": [component("RedisCache", "healthy")]}}), None),
        (json!({"bridge": {"components": [component("RedisCache", "fine")]}}), Some("supported values")),
        (json!({"bridge": {"components": many_components}}), Some("must have at most 16 items")),
        (json!({"bridge": {"version": "9".repeat(33)}}), Some("may not be more than 32")),
        (json!({"directory": {"users": 0, "groups": 7}}), None),
        (json!({"directory": {"users": -1}}), Some("greater than or equal to 0")),
        (json!({"directory": {"groups": 7}}), Some("Required value")),
        (json!({"consecutiveFailures": 4}), None),
        (json!({"consecutiveFailures": -1}), Some("greater than or equal to 0")),
        (json!({"certificate": {"notAfter": "2027-01-01T00:00:00Z", "issuer": "CA"}}), None),
        (json!({"certificate": {"notAfter": "soon"}}), Some("date-time")),
        (json!({"lastProbeTime": "yesterday"}), Some("date-time")),
        (json!({"credential": {"uid": "u"}}), Some("Required value")),
        (json!({"observedGeneration": "1"}), Some("expected numeric")),
        (json!({"verdict": "fine"}), Some("field not declared in schema")),
    ];
    let mut wrong = Vec::new();
    for (status, expected) in rows {
        let said = server.apply_status("it", &status).await?.err();
        let right = match (&said, expected) {
            (None, None) => true,
            (Some(said), Some(expected)) => said.message.contains(expected),
            _ => false,
        };
        if !right {
            let said = said.map(|said| said.message);
            wrong.push(format!("{status}: not {expected:?}, but {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    Ok(())
}

// === kubectl ===

/// The API server warns of rules and formats that it only puts up with.
#[tokio::test]
async fn it_is_installed_without_a_warning() -> Result<(), Failure> {
    Server::start(CONNECTIONS, "warnings").await?;
    assert_eq!(INSTALLED.get().map(String::as_str), Some(""));
    Ok(())
}

#[tokio::test]
async fn kubectl_explains() -> Result<(), Failure> {
    let server = Server::start(CONNECTIONS, "explain").await?;
    for (field, expected) in [
        ("sbc", "A connection to a 1Password SCIM Bridge"),
        ("scimbridgeconnections.spec", "-required-"),
        ("sbc.spec.interval", "30s to 24h"),
        (
            "sbc.spec.identityProvider",
            "ENUM: GoogleWorkspace EntraID Okta JumpCloud OneLogin Rippling Other",
        ),
        ("sbc.spec.tls.caRef.kind", "Kind of the object"),
        ("sbc.status.validUntil", "After this time the verdict is stale"),
    ] {
        wait::until(SOON, &format!("kubectl to explain {field}"), async || {
            server.prints(&["explain", field], expected).await
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn kubectl_shows_the_columns() -> Result<(), Failure> {
    let server = Server::start(CONNECTIONS, "columns").await?;
    server.create("okta", &with("identityProvider: Okta")).await?;
    let namespace = server.namespace.name();
    let narrow = "NAME IDP READY STATUS VERSION CHECKED AGE ";
    let wide = format!("{narrow}URL SCIM SECRET SUSPENDED CERT-EXPIRES NEXT-CHECK MESSAGE ");
    // By its short name and its category, each of which is in use by people.
    for (args, heading) in [
        (vec!["get", "sbc"], narrow),
        (vec!["get", "scim"], narrow),
        (vec!["get", "scimbridgeconnections", "--output=wide"], &wide),
    ] {
        let args = [&args[..], &["--namespace", namespace]].concat();
        wait::until(SOON, "kubectl to know the kind", async || {
            server.prints(&args, heading).await
        })
        .await?;
    }

    let ready = json!({"type": "Ready", "status": "True", "reason": "Connected", "message": "All is well.",
                       "lastTransitionTime": "2026-11-05T12:00:00Z"});
    server
        .apply_status(
            "okta",
            &json!({
                "observedGeneration": 1,
                "conditions": [ready],
                "scimApi": "Enabled",
                "bridge": {"version": "2.9.16"},
                "certificate": {"notAfter": "2099-01-01T00:00:00Z"},
                "lastProbeTime": "2026-01-01T00:00:00Z",
                "nextProbeTime": "2099-01-02T00:00:00Z",
            }),
        )
        .await?
        .map_err(|refusal| refusal.message)?;
    let args = [
        "get",
        "sbc",
        "okta",
        "--output=wide",
        "--no-headers",
        "--namespace",
        namespace,
    ];
    let row = server.cluster.kubectl().run(&args).await?;
    let row: Vec<_> = row.split_whitespace().collect();
    assert_eq!(
        row[..5],
        ["okta", "Okta", "True", "Connected", "2.9.16"],
        "{row:?}"
    );
    assert_eq!(
        // After CHECKED and AGE, which depend on the clock.
        row[7..].join(" "),
        "https://scim.example.com Enabled bridge false 2099-01-01T00:00:00Z 2099-01-02T00:00:00Z All is well."
    );
    Ok(())
}

// === Objects of the tables ===

/// The least that is accepted.
fn good() -> Value {
    connection(
        "it",
        testbed::spec().url("https://scim.example.com").secret("bridge"),
    )
}

/// The good object with other fields in its specification: see [`patched`].
fn with(patch: &str) -> Value {
    patched(good(), patch)
}

/// The specification as the operator reads it.
fn spec(object: &Value) -> Result<ScimBridgeConnectionSpec, Failure> {
    let object: ScimBridgeConnection = serde_json::from_value(object.clone())?;
    Ok(object.spec)
}
