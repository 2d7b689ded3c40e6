//! Fronts that answer in place of the bridge: who refuses, and what the body is.
//!
//! The shapes are those that the makers of ingresses, load balancers, delivery networks, firewalls and gateways document.

use scim_bridge_operator::bridge::trust::Trust;

use crate::{
    peer::{Peer, answer, healthy},
    support::{Differences, KEY, order_for, probe, told},
};

const JSON: &str = "Content-Type: application/json\r\n";
const SCIM: &str = "Content-Type: application/scim+json\r\n";
const TEXT: &str = "Content-Type: text/plain\r\n";
const HTML: &str = "Content-Type: text/html\r\n";

fn raw(status: u16, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} Said\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn told_by(script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> String {
    let peer = Peer::start(script);
    told(None, &probe(&order_for(&peer.url(), Trust::System)).await)
}

/// A front that refuses everything, also `/ping`, for which a bridge asks for no key.
#[tokio::test]
async fn a_refusal_of_everything_is_not_about_the_key() {
    let scim_error = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"401"}"#;
    let mut differences = Differences::default();
    for (row, status, headers, body) in [
        (
            "a login of an ingress",
            401,
            "WWW-Authenticate: Basic realm=\"ops\"\r\n",
            "",
        ),
        ("nothing but the status", 401, "", ""),
        (
            "a bearer challenge",
            401,
            "WWW-Authenticate: Bearer realm=\"ops\"\r\n",
            "",
        ),
        (
            "an allow-list of addresses",
            403,
            JSON,
            r#"{"message":"Your IP address is not allowed"}"#,
        ),
        ("an error that looks like SCIM's", 401, SCIM, scim_error),
        ("a page", 403, HTML, "<html>403</html>"),
        ("a text", 403, TEXT, "Forbidden"),
        ("a proxy", 407, "Proxy-Authenticate: Basic realm=\"x\"\r\n", ""),
        ("a captive portal", 511, HTML, "<html>"),
        ("a legal block", 451, HTML, "<html>"),
    ] {
        let seen = told_by(move |_| raw(status, headers, body)).await;
        let verdict = seen.split(' ').next().unwrap_or_default();
        differences.compare(row, "BlockedByProxy", verdict);
    }
    differences.assert_none();
}

/// A front that lets `/ping` through, as health checks ask for it, and refuses the rest in a shape that no bridge sends.
#[tokio::test]
async fn a_refusal_in_a_shape_of_fronts() {
    const FRONT: &str = "BlockedByProxy";
    const KEY_REFUSED: &str = "AuthFailed";
    let mut differences = Differences::default();
    for (row, status, headers, body, expected) in [
        // Challenges: a bridge takes bearer tokens and nothing else.
        (
            "Basic",
            401,
            "WWW-Authenticate: Basic realm=\"a, Bearer b\"\r\n",
            "",
            FRONT,
        ),
        (
            "Digest",
            401,
            "WWW-Authenticate: Digest realm=\"a\", qop=\"auth\", nonce=\"n\"\r\n",
            "",
            FRONT,
        ),
        (
            "Negotiate and NTLM",
            401,
            "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\n",
            "",
            FRONT,
        ),
        (
            "a gateway's key",
            401,
            "WWW-Authenticate: Key\r\n",
            r#"{"message":"No API key found"}"#,
            FRONT,
        ),
        (
            "Azure's subscription",
            401,
            "WWW-Authenticate: AzureApiManagementKey realm=\"a\",name=\"b\"\r\n",
            "",
            FRONT,
        ),
        (
            "a 403 with Basic",
            403,
            "Content-Type: application/json\r\nWWW-Authenticate: Basic realm=\"a\"\r\n",
            "{}",
            FRONT,
        ),
        ("Bearer", 401, "WWW-Authenticate: Bearer\r\n", "", KEY_REFUSED),
        (
            "bearer with an error",
            401,
            "www-authenticate: bearer realm=\"a\", error=\"invalid_token\"\r\n",
            "",
            KEY_REFUSED,
        ),
        (
            "Bearer beside Basic",
            401,
            "WWW-Authenticate: Basic realm=\"a\", Bearer realm=\"b\"\r\n",
            "",
            KEY_REFUSED,
        ),
        (
            "parameters with blanks",
            401,
            "WWW-Authenticate: Bearer realm = \"Basic a\"\r\n",
            "",
            KEY_REFUSED,
        ),
        (
            "no challenge",
            401,
            JSON,
            r#"{"message":"Unauthorized"}"#,
            KEY_REFUSED,
        ),
        (
            "not a challenge",
            401,
            "WWW-Authenticate: =\"\r\n",
            "",
            KEY_REFUSED,
        ),
        (
            "an empty challenge",
            401,
            "WWW-Authenticate:\r\n",
            "",
            KEY_REFUSED,
        ),
        // Pages for browsers.
        (
            "a page for 401",
            401,
            HTML,
            "<html><title>401</title></html>",
            FRONT,
        ),
        (
            "a page without its type",
            401,
            TEXT,
            "  \r\n<!DOCTYPE html>",
            FRONT,
        ),
        ("a page for 403", 403, HTML, "<html>", FRONT),
        ("a text for 401", 401, TEXT, "unauthorized\n", KEY_REFUSED),
        ("a text for 403", 403, TEXT, "RBAC: access denied", FRONT),
        ("an empty 403", 403, "", "", FRONT),
        ("a JWT filter", 401, TEXT, "Jwt verification fails", FRONT),
        // Documents of gateways.
        (
            "a problem",
            403,
            "Content-Type: application/problem+json\r\n",
            "{}",
            FRONT,
        ),
        (
            "a problem in XML",
            401,
            "Content-Type: application/problem+xml\r\n",
            "",
            FRONT,
        ),
        (
            "a problem as JSON",
            403,
            JSON,
            r#"{"type":"about:blank","title":"Access denied","status":403}"#,
            FRONT,
        ),
        (
            "Google's error",
            401,
            JSON,
            r#"{"error":{"code":401,"message":"m","status":"UNAUTHENTICATED"}}"#,
            FRONT,
        ),
        (
            "Azure's error",
            403,
            JSON,
            r#"{"error":{"code":"AuthorizationFailed","message":"m"}}"#,
            FRONT,
        ),
        (
            "Azure's gateway",
            401,
            JSON,
            r#"{"statusCode":401,"message":"Access denied"}"#,
            FRONT,
        ),
        (
            "Google's gateway",
            401,
            JSON,
            r#"{"code":401,"message":"Jwt is missing"}"#,
            FRONT,
        ),
        (
            "Apigee",
            401,
            JSON,
            r#"{"fault":{"faultstring":"m","detail":{"errorcode":"c"}}}"#,
            FRONT,
        ),
        (
            "an error of 1Password's",
            401,
            JSON,
            r#"{"status":401,"message":"m"}"#,
            KEY_REFUSED,
        ),
        (
            "Cloudflare Access",
            403,
            "Content-Type: application/json\r\nCf-Access-Domain: scim.example.com\r\n",
            "{}",
            FRONT,
        ),
        (
            "an error in a word",
            401,
            JSON,
            r#"{"error":"unauthorized"}"#,
            KEY_REFUSED,
        ),
        (
            "JSON about anything",
            403,
            JSON,
            r#"{"message":"forbidden"}"#,
            KEY_REFUSED,
        ),
        (
            "JSON by its body",
            403,
            TEXT,
            r#"{"message":"forbidden"}"#,
            KEY_REFUSED,
        ),
        ("an array", 403, JSON, "[]", KEY_REFUSED),
        ("broken JSON", 403, JSON, "{", KEY_REFUSED),
        (
            "SCIM's error",
            403,
            SCIM,
            r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"403","title":"x","type":"y"}"#,
            KEY_REFUSED,
        ),
        // Headers of fronts.
        (
            "Cloudflare's challenge",
            403,
            "Content-Type: application/json\r\nCF-Mitigated: challenge\r\n",
            "{}",
            FRONT,
        ),
        (
            "a challenge with 503",
            503,
            "CF-Mitigated: challenge\r\n",
            "",
            FRONT,
        ),
        (
            "AWS's challenge",
            202,
            "x-amzn-waf-action: challenge\r\n",
            "",
            FRONT,
        ),
        ("AWS's captcha", 405, "x-amzn-waf-action: captcha\r\n", "", FRONT),
        (
            "AWS's gateway",
            403,
            "Content-Type: application/json\r\nx-amzn-ErrorType: ForbiddenException\r\n",
            r#"{"message":"Forbidden"}"#,
            FRONT,
        ),
        (
            "Google's IAP",
            401,
            "X-Goog-IAP-Generated-Response: true\r\n",
            "Invalid IAP credentials",
            FRONT,
        ),
        (
            "Kong",
            401,
            "Content-Type: application/json\r\nX-Kong-Response-Latency: 1\r\n",
            r#"{"message":"Unauthorized"}"#,
            FRONT,
        ),
        (
            "Squid",
            403,
            "Content-Type: application/json\r\nX-Squid-Error: ERR_ACCESS_DENIED 0\r\n",
            "{}",
            FRONT,
        ),
        (
            "a bridge behind Cloudflare",
            401,
            "Server: cloudflare\r\nCF-RAY: 0-XXX\r\n",
            "",
            KEY_REFUSED,
        ),
    ] {
        let seen = told_by(move |path| match path {
            "/ping" => healthy(path),
            _ => raw(status, headers, body),
        })
        .await;
        let verdict = seen.split(' ').next().unwrap_or_default();
        differences.compare(
            format_args!("{row}: {status} {headers:?} {body}"),
            expected,
            verdict,
        );
    }
    differences.assert_none();
}

/// Bodies that arrive in another form than was asked for are said to be just that.
#[tokio::test]
async fn compressed_although_not_asked() {
    const PACKED: &str = "but the body is compressed";
    let packed: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x2b, 0xc8, 0xcf, 0x4b, 7, 0];
    let mut differences = Differences::default();
    for (row, coding, path, expected) in [
        (
            "gzip",
            "Content-Encoding: gzip\r\n",
            "/ping",
            format!("ProtocolError (GET /ping: 200, {PACKED})"),
        ),
        (
            "br",
            "Content-Encoding: br\r\n",
            "/ping",
            format!("ProtocolError (GET /ping: 200, {PACKED})"),
        ),
        (
            "no header",
            "",
            "/ping",
            format!("ProtocolError (GET /ping: 200, {PACKED})"),
        ),
        (
            "gzip",
            "Content-Encoding: gzip\r\n",
            "/scim/Users",
            format!("ProtocolError (GET /scim/Users: 200, {PACKED})"),
        ),
        (
            "zstd",
            "Content-Encoding: zstd\r\n",
            "/scim/Users",
            format!("ProtocolError (GET /scim/Users: 200, {PACKED})"),
        ),
    ] {
        let seen = told_by(move |asked| {
            if asked == path {
                let head = format!(
                    "HTTP/1.1 200 OK\r\n{coding}Content-Length: {}\r\n\r\n",
                    packed.len()
                );
                [head.as_bytes(), packed].concat()
            } else {
                healthy(asked)
            }
        })
        .await;
        differences.compare(format_args!("{row} at {path}"), &expected, &seen);
    }
    let named = told_by(|path| match path {
        "/ping" => raw(200, "Content-Encoding: identity\r\n", "pong"),
        _ => healthy(path),
    })
    .await;
    differences.compare("identity is no coding", "Connected", &named);
    differences.assert_none();
}

/// A body that only the end of the connection ends, as HTTP/1.0 has it, over TLS that ends without a `close_notify`: it is
/// whole where its document is.
#[tokio::test]
async fn the_end_of_the_connection_ends_a_body() {
    fn bare(body: &str) -> Vec<u8> {
        format!("HTTP/1.0 200 OK\r\n\r\n{body}").into_bytes()
    }
    let mut differences = Differences::default();
    for (row, path, body, expected) in [
        ("pong", "/ping", "pong", "Connected"),
        (
            "half of it",
            "/ping",
            "po",
            "ProtocolError (GET /ping: 200, but the body broke off)",
        ),
        (
            "a list",
            "/scim/Users",
            r#"{"totalResults":3,"Resources":[]}"#,
            "Connected",
        ),
        (
            "half a list",
            "/scim/Users",
            r#"{"totalResults":3,"Resour"#,
            "ProtocolError (GET /scim/Users: 200, but the body broke off)",
        ),
    ] {
        for ends_by in ["cut", "orderly"] {
            if ends_by == "orderly" && row.starts_with("half") {
                // An orderly end says that this is all there is.
                continue;
            }
            let script = move |asked: &str| if asked == path { bare(body) } else { healthy(asked) };
            let peer = if ends_by == "cut" {
                Peer::start_tls_cut("127.0.0.1", "Fake Authority", path, script)
            } else {
                Peer::start_cut(path, script)
            };
            let trust = match peer.ca_pem() {
                "" => Trust::System,
                pem => crate::support::only(pem),
            };
            let seen = told(None, &probe(&order_for(&peer.url(), trust)).await);
            differences.compare(format_args!("{row} at {path}, {ends_by}"), expected, &seen);
        }
    }
    differences.assert_none();
}

/// What a front is asked says who asks, and nothing of the key where `/ping` has shown that it is no bridge.
#[tokio::test]
async fn a_front_that_serves_a_page_gets_no_key() {
    let peer = Peer::start(|_| answer("200 OK", "text/html", "<html>soon back</html>"));
    let seen = told(None, &probe(&order_for(&peer.url(), Trust::System)).await);
    assert_eq!(seen, "NotABridge (GET /ping: 200, but the body is an HTML page)");
    assert!(!peer.heard().concat().contains(KEY), "{:?}", peer.heard());
}
