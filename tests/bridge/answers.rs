//! What a peer answers, and what a user is told of it.

use scim_bridge_operator::{api::connection::IdentityProvider, bridge::wire::trust::Trust};
use serde_json::{Value, json};

use crate::{
    peer::{Peer, answer, healthy},
    support::{
        Differences, GOOGLE, KEY, OKTA, front, learned, log, order, order_for, play, probe, probe_by, prober,
        told,
    },
};

type Row = (Option<IdentityProvider>, Value, &'static str);

async fn check(rows: impl IntoIterator<Item = Row>) {
    let front = front().await;
    let mut differences = Differences::default();
    for (declared, changes, expected) in rows {
        play(&front, &changes);
        let exchange = probe(&order(&front)).await;
        let seen = told(declared, &exchange);
        differences.compare(format_args!("{declared:?} {changes}"), expected, &seen);
    }
    differences.assert_none();
}

/// A fault at `/scim/Users`.
fn users(fault: &Value) -> Value {
    json!({"faults": {"/scim/Users": fault}})
}

fn status(status: u16) -> Value {
    json!({"kind": "status", "status": status})
}

fn kind(kind: &str) -> Value {
    json!({"kind": kind})
}

#[tokio::test]
async fn modes_of_a_bridge() {
    let google_mode = || json!({"mode": "google-workspace"});
    let hosted = || json!({"flavour": "hosted"});
    let hosted_without_scim = || json!({"flavour": "hosted", "mode": "google-workspace"});
    check([
        (None, json!({}), "Connected"),
        (OKTA, json!({}), "Connected"),
        (GOOGLE, json!({}), "IdentityProviderMismatch"),
        (None, json!({"locked": true}), "Connected"),
        (None, json!({"users": 0, "groups": 0}), "Connected"),
        (None, json!({"ignoresCount": true, "users": 500}), "Connected"),
        (None, google_mode(), "ScimDisabled (GET /scim/Users: 404)"),
        (OKTA, google_mode(), "ScimDisabled (GET /scim/Users: 404)"),
        (
            GOOGLE,
            google_mode(),
            "ScimDisabled (as spec.identityProvider declares; /health accepts the key)",
        ),
        (None, hosted(), "Connected"),
        (GOOGLE, hosted(), "IdentityProviderMismatch"),
        (OKTA, hosted_without_scim(), "PathNotFound (GET /scim/Users: 404)"),
        // Nothing there has answered as a bridge does.
        (
            GOOGLE,
            hosted_without_scim(),
            "PathNotFound (GET /scim/Users: 404)",
        ),
        (
            None,
            json!({"provisioningOff": true}),
            "ProvisioningOff (GET /scim/Users: 500)",
        ),
        (
            GOOGLE,
            json!({"provisioningOff": true}),
            "ProvisioningOff (GET /scim/Users: 500)",
        ),
    ])
    .await;
}

#[tokio::test]
async fn refusals_of_the_key() {
    let users_404_and_health = |fault: &str| json!({"faults": {"/health": {"kind": fault}, "/scim/Users": {"kind": "status", "status": 404}}});
    check([
        (
            None,
            json!({"key": "another"}),
            "AuthFailed (GET /scim/Users: 401)",
        ),
        (
            None,
            json!({"key": "another", "mode": "google-workspace"}),
            "AuthFailed (GET /health: 401)",
        ),
        (
            None,
            json!({"key": "another", "flavour": "hosted"}),
            "AuthFailed (GET /scim/Users: 401)",
        ),
        // A bridge does not get as far as its account without the key.
        (
            None,
            json!({"key": "another", "provisioningOff": true}),
            "AuthFailed (GET /scim/Users: 401)",
        ),
        // The same key but for the case: keys are exact.
        (
            None,
            json!({"key": KEY.to_uppercase()}),
            "AuthFailed (GET /scim/Users: 401)",
        ),
        (
            None,
            users(&kind("unauthorized")),
            "AuthFailed (GET /scim/Users: 401)",
        ),
        (
            None,
            users(&kind("forbidden-json")),
            "AuthFailed (GET /scim/Users: 403)",
        ),
        (
            None,
            users(&kind("forbidden-html")),
            "BlockedByProxy (GET /scim/Users: 403)",
        ),
        (
            None,
            users(&json!({"kind": "status", "status": 403, "body": "empty"})),
            "BlockedByProxy (GET /scim/Users: 403)",
        ),
        (
            None,
            users_404_and_health("unauthorized"),
            "AuthFailed (GET /health: 401)",
        ),
        (
            None,
            users_404_and_health("forbidden-json"),
            "AuthFailed (GET /health: 403)",
        ),
        (
            None,
            users_404_and_health("forbidden-html"),
            "BlockedByProxy (GET /health: 403)",
        ),
        // What SCIM says of the key counts more than what the health report says of it.
        (
            None,
            json!({"faults": {"/health": {"kind": "unauthorized"}}}),
            "Connected",
        ),
    ])
    .await;
}

#[tokio::test]
async fn every_status() {
    let front = front().await;
    let mut differences = Differences::default();
    for (codes, expected, words) in [
        (&[500, 501, 507][..], "BridgeError", ""),
        (&[505], "BridgeError", ", the server does not accept HTTP/1.1"),
        (&[502, 503, 504], "BridgeUnavailable", ""),
        // Statuses that HTTP does not know: fronts say with them that they cannot reach the bridge.
        (
            &[520, 521, 522, 523, 524, 527, 529, 530, 598, 599],
            "BridgeUnavailable",
            "",
        ),
        (
            &[525, 526],
            "BridgeUnavailable",
            ", Cloudflare cannot set up TLS to the bridge",
        ),
        (
            &[419, 430, 440, 444, 460, 463, 464, 494, 499, 600, 700, 999],
            "BridgeUnavailable",
            "",
        ),
        // Statuses after which HTTP lets a client repeat the request.
        (&[408, 425], "BridgeUnavailable", ""),
        (
            &[421],
            "BridgeUnavailable",
            ", the front does not serve this host",
        ),
        (&[429], "RateLimited", ""),
        (&[300, 301, 302, 303, 307, 308], "RedirectRefused", ""),
        (&[304], "ProtocolError", ", the answer of a cache"),
        (
            &[305, 399],
            "ProtocolError",
            ", a 3xx status that is not a redirect",
        ),
        (
            &[201, 202, 204, 205, 206, 226, 299],
            "ProtocolError",
            ", a success other than 200",
        ),
        (
            &[400, 402, 405, 406, 409, 410, 418, 422, 431],
            "ProtocolError",
            ", the server rejects the request",
        ),
        // Statuses that only intermediaries send.
        (&[407, 451, 511], "BlockedByProxy", ""),
        (
            &[561],
            "BlockedByProxy",
            ", the login of an AWS load balancer failed",
        ),
    ] {
        for &code in codes {
            play(&front, &users(&status(code)));
            let seen = told(None, &probe(&order(&front)).await);
            let expected = format!("{expected} (GET /scim/Users: {code}{words})");
            differences.compare(code, &expected, &seen);
        }
    }
    differences.assert_none();
}

#[tokio::test]
async fn answers_that_are_not_what_was_asked_for() {
    const FOREIGN: &str = "ProtocolError (GET /scim/Users: 200, but the body is of another kind)";
    const PAGE: &str = "ProtocolError (GET /scim/Users: 200, but the body is an HTML page)";
    const TOO_LARGE: &str = "ProtocolError (GET /scim/Users: 200, but the body is too large)";
    const CUT: &str = "ProtocolError (GET /scim/Users: 200, but the body broke off)";
    const PACKED: &str = "ProtocolError (GET /scim/Users: 200, but the body is compressed)";
    const BOUND: u64 = 1024 * 1024;
    check([
        (None, users(&kind("html")), PAGE),
        (None, users(&kind("not-a-list")), FOREIGN),
        (None, users(&kind("broken-json")), FOREIGN),
        (None, users(&kind("truncated")), CUT),
        (None, users(&kind("false-gzip")), PACKED),
        (None, users(&kind("oversized")), TOO_LARGE),
        (
            None,
            users(&json!({"kind": "oversized", "bytes": BOUND})),
            "Connected",
        ),
        (
            None,
            users(&json!({"kind": "oversized", "bytes": BOUND + 1})),
            TOO_LARGE,
        ),
        (
            None,
            users(&json!({"kind": "declared-length", "bytes": BOUND + 1})),
            TOO_LARGE,
        ),
        (
            None,
            users(&json!({"kind": "declared-length", "bytes": u64::MAX / 2})),
            TOO_LARGE,
        ),
        (
            None,
            users(&json!({"kind": "many-headers", "count": 40})),
            "Connected",
        ),
        (
            None,
            users(&json!({"kind": "many-headers", "count": 100})),
            "ProtocolError (GET /scim/Users: the head of the answer is too large)",
        ),
        (
            None,
            users(&json!({"kind": "many-headers", "count": 20_000})),
            "ProtocolError (GET /scim/Users: the head of the answer is too large)",
        ),
        // The contents of a list are passed over: neither depth nor encoding is ours to judge.
        (None, users(&kind("invalid-utf8")), "Connected"),
        (
            None,
            users(&json!({"kind": "deep-json", "depth": 100_000})),
            "Connected",
        ),
        // Of another kind, or too large, with any other status: the status tells.
        (
            None,
            users(&json!({"kind": "redirect", "location": "/app"})),
            "RedirectRefused (GET /scim/Users: 302)",
        ),
        (
            None,
            users(&json!({"kind": "status", "status": 503, "body": "html"})),
            "BridgeUnavailable (GET /scim/Users: 503)",
        ),
    ])
    .await;
}

/// The health report is asked for and never decides where SCIM answers.
#[tokio::test]
async fn health_that_is_not_what_was_asked_for() {
    let front = front().await;
    let mut differences = Differences::default();
    for fault in [
        kind("html"),
        kind("not-a-list"),
        kind("broken-json"),
        kind("truncated"),
        kind("false-gzip"),
        kind("invalid-utf8"),
        kind("oversized"),
        kind("close"),
        kind("reset"),
        kind("forbidden-html"),
        kind("forbidden-json"),
        json!({"kind": "redirect", "location": "/app"}),
        json!({"kind": "oversized", "bytes": 256 * 1024 + 1}),
        json!({"kind": "deep-json", "depth": 100_000}),
        json!({"kind": "many-headers", "count": 100}),
        status(404),
        status(429),
        status(500),
        status(503),
    ] {
        play(&front, &json!({"faults": {"/health": fault}}));
        let exchange = probe(&order(&front)).await;
        let seen = format!("{} {}", told(None, &exchange), learned(&exchange));
        differences.compare(&fault, "Connected users=3 groups=1", &seen);
    }
    differences.assert_none();
}

/// Whoever is no bridge does not get the key.
#[tokio::test]
async fn who_gets_the_key() {
    const NOBODY: &str = "/ping";
    const BRIDGE: &str = "/ping /health* /scim/Users*";
    const WHOLE: &str = "/ping /health* /scim/Users* /scim/Groups*";
    let front = front().await;
    let mut differences = Differences::default();
    for (fault, expected) in [
        (
            kind("html"),
            format!("NotABridge (GET /ping: 200, but the body is an HTML page): {NOBODY}"),
        ),
        (
            kind("not-a-list"),
            format!("NotABridge (GET /ping: 200, but the body is of another kind): {NOBODY}"),
        ),
        (
            kind("truncated"),
            format!("ProtocolError (GET /ping: 200, but the body broke off): {NOBODY}"),
        ),
        (
            kind("false-gzip"),
            format!("ProtocolError (GET /ping: 200, but the body is compressed): {NOBODY}"),
        ),
        (
            kind("oversized"),
            format!("NotABridge (GET /ping: 200, but the body is too large): {NOBODY}"),
        ),
        (
            json!({"kind": "declared-length", "bytes": 4097}),
            format!("NotABridge (GET /ping: 200, but the body is too large): {NOBODY}"),
        ),
        (
            json!({"kind": "many-headers", "count": 100}),
            format!("ProtocolError (GET /ping: the head of the answer is too large): {NOBODY}"),
        ),
        (kind("close"), format!("ConnectFailed (GET /ping): {NOBODY}")),
        (kind("reset"), format!("ConnectFailed (GET /ping): {NOBODY}")),
        // Neither the hosted service nor what guards a bridge has to know `/ping`.
        (status(404), format!("Connected: {WHOLE}")),
        (kind("forbidden-html"), format!("Connected: {WHOLE}")),
        (kind("unauthorized"), format!("Connected: {WHOLE}")),
        (status(503), format!("Connected: {WHOLE}")),
        (
            json!({"kind": "redirect", "location": "/app"}),
            format!("Connected: {WHOLE}"),
        ),
    ] {
        play(&front, &json!({"faults": {"/ping": fault}}));
        front.clear_requests();
        let exchange = probe(&order(&front)).await;
        let seen = format!("{}: {}", told(None, &exchange), log(&front.requests()));
        differences.compare(format_args!("/ping {fault}"), &expected, &seen);
    }
    // Groups are asked for only after users were told; nothing else comes behind a failure.
    for (changes, expected) in [
        (
            json!({"key": "another"}),
            format!("AuthFailed (GET /scim/Users: 401): {BRIDGE}"),
        ),
        (
            users(&kind("close")),
            format!("ConnectFailed (GET /scim/Users): {BRIDGE}"),
        ),
        (
            users(&kind("reset")),
            format!("ConnectFailed (GET /scim/Users): {BRIDGE}"),
        ),
        (
            users(&status(503)),
            format!("BridgeUnavailable (GET /scim/Users: 503): {BRIDGE}"),
        ),
    ] {
        play(&front, &changes);
        front.clear_requests();
        let exchange = probe(&order(&front)).await;
        let seen = format!("{}: {}", told(None, &exchange), log(&front.requests()));
        differences.compare(&changes, &expected, &seen);
    }
    differences.assert_none();
}

#[tokio::test]
async fn what_is_asked_for() {
    let front = front().await;
    probe(&order(&front)).await;
    let seen: Vec<_> = front
        .requests()
        .into_iter()
        .map(|request| {
            format!(
                "{} {} {}",
                request.method,
                request.target,
                request.user_agent.unwrap_or_default()
            )
        })
        .collect();
    let agent = concat!("scim-bridge-operator/", env!("CARGO_PKG_VERSION"));
    let expected = [
        "/ping",
        "/health",
        "/scim/Users?startIndex=1&count=1",
        "/scim/Groups?startIndex=1&count=1",
    ]
    .map(|target| format!("GET {target} {agent}"));
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn what_is_learned_of_a_bridge() {
    const HEALTHY: &str =
        "ConfirmationWatcher=Healthy RedisCache=Healthy SCIMServer=Healthy StartProvisionWatcher=Healthy";
    let front = front().await;
    let mut differences = Differences::default();
    for (changes, expected) in [
        (
            json!({"users": 128, "groups": 9}),
            format!("users=128 groups=9 version=2.9.16 build=209163 {HEALTHY}"),
        ),
        (
            json!({"version": "3.0", "build": "300001", "users": 0, "groups": 0}),
            format!("users=0 groups=0 version=3.0 build=300001 {HEALTHY}"),
        ),
        (
            json!({"mode": "google-workspace"}),
            format!("version=2.9.16 build=209163 {HEALTHY}"),
        ),
        (json!({"flavour": "hosted"}), "users=3 groups=1".to_owned()),
        (
            json!({"faults": {"/scim/Groups": {"kind": "status", "status": 500}}}),
            format!("users=3 version=2.9.16 build=209163 {HEALTHY}"),
        ),
        (
            json!({"faults": {"/scim/Groups": {"kind": "reset"}}}),
            format!("users=3 version=2.9.16 build=209163 {HEALTHY}"),
        ),
        (
            json!({"locked": true}),
            "users=3 groups=1 version=2.9.16 build=209163 RedisCache=Healthy SCIMServer=Healthy".to_owned(),
        ),
        (
            json!({"reportAgeSecs": 3600}),
            format!("users=3 groups=1 version=2.9.16 build=209163 {HEALTHY}").replace("Healthy", "Expired"),
        ),
        (
            json!({"components": {"RedisCache": "unhealthy", "Unheard": "healthy", "Unknown": "stopped"}}),
            format!("users=3 groups=1 version=2.9.16 build=209163 {HEALTHY} Other=Unhealthy")
                .replace("RedisCache=Healthy", "RedisCache=Unhealthy"),
        ),
        (
            json!({"version": "2.9.16 <b>new</b>", "build": "209163; DROP"}),
            format!("users=3 groups=1 {HEALTHY}"),
        ),
    ] {
        play(&front, &changes);
        let seen = learned(&probe(&order(&front)).await);
        differences.compare(&changes, &expected, &seen);
    }
    differences.assert_none();
}

/// A bridge that was restarted waits for the key; the regular probe brings it.
#[tokio::test]
async fn a_probe_unlocks_a_bridge() {
    let front = front().await;
    front.set(|state| state.locked = true);
    let (before, after) = (probe(&order(&front)).await, probe(&order(&front)).await);
    let watches = |exchange| learned(exchange).contains("ConfirmationWatcher=Healthy");
    assert_eq!(
        (watches(&before), watches(&after)),
        (false, true),
        "before: {before:?}\nafter: {after:?}"
    );
}

#[tokio::test]
async fn how_long_to_wait() {
    let front = front().await;
    let wait = |value: &str| json!({"kind": "status", "status": 429, "retryAfter": value});
    let mut differences = Differences::default();
    for (faults, expected) in [
        (json!({"/scim/Users": wait("120")}), "Some(120s)"),
        (json!({"/scim/Users": wait("0")}), "Some(0ns)"),
        (json!({"/scim/Users": wait("soon")}), "None"),
        (json!({"/scim/Users": wait("-5")}), "None"),
        (
            json!({"/scim/Users": wait("Wed, 21 Oct 2015 07:28:00 GMT")}),
            "None",
        ),
        (json!({"/scim/Users": {"kind": "status", "status": 429}}), "None"),
        (
            json!({"/health": wait("30"), "/scim/Users": wait("7")}),
            "Some(30s)",
        ),
        (
            json!({"/scim/Users": {"kind": "status", "status": 503, "retryAfter": "9"}}),
            "Some(9s)",
        ),
    ] {
        play(&front, &json!({"faults": faults}));
        let seen = format!("{:?}", probe(&order(&front)).await.retry_after);
        differences.compare(&faults, expected, &seen);
    }
    // A date is compared with the clock, so only that it is far off is certain.
    let date = "Fri, 31 Dec 2100 23:59:59 GMT";
    play(&front, &json!({"faults": {"/scim/Users": wait(date)}}));
    let seen = probe(&order(&front)).await.retry_after;
    assert!(
        seen.is_some_and(|wait| wait.as_secs() > 86_400),
        "{date}: {seen:?}"
    );
    differences.assert_none();
}

/// A redirect would carry the key to whoever is named by it.
#[tokio::test]
async fn redirects_are_not_followed() {
    let front = front().await;
    let elsewhere = crate::support::front().await;
    let mut differences = Differences::default();
    for (path, expected) in [
        ("/ping", "Connected"),
        ("/health", "Connected"),
        ("/scim/Users", "RedirectRefused (GET /scim/Users: 302)"),
        ("/scim/Groups", "Connected"),
        ("/scim", "RedirectRefused (GET /scim/Users: 302)"),
        ("/", "RedirectRefused (GET /scim/Users: 302)"),
    ] {
        for base in [elsewhere.url(), String::new()] {
            let location = format!("{base}/elsewhere");
            play(
                &front,
                &json!({"faults": {path: {"kind": "redirect", "location": location}}}),
            );
            let seen = told(None, &probe(&order(&front)).await);
            differences.compare(format_args!("{path} to {location}"), expected, &seen);
        }
    }
    differences.assert_none();
    let traffic = elsewhere.traffic();
    assert_eq!(traffic.connections, 0, "connections to where a redirect leads");
    let paths = log(&front.requests());
    assert!(!paths.contains("elsewhere"), "requests: {paths}");
}

/// Bytes that no HTTP library would send. All of them answer every path, so `/ping` meets them first.
#[tokio::test]
async fn answers_that_are_not_http() {
    const TLS_PORT: &str =
        "ProtocolError (GET /ping: the port speaks TLS, and the request came in plain HTTP)";
    const NO_HTTP: &str = "ProtocolError (GET /ping: the answer is not valid HTTP)";
    let list = r#"{"totalResults":3,"Resources":[]}"#;
    let mut differences = Differences::default();
    for (bytes, expected) in [
        ("what?\r\n\r\n".to_owned(), NO_HTTP),
        ("\x16\x03\x01\x02\0\x01".to_owned(), NO_HTTP),
        ("SSH-2.0-OpenSSH_9.9\r\n".to_owned(), NO_HTTP),
        ("HTTP/3.0 200 OK\r\n\r\n".to_owned(), NO_HTTP),
        ("HTTP/1.1 2000 OK\r\n\r\n".to_owned(), NO_HTTP),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n".to_owned(), NO_HTTP),
        ("HTTP/1.1 200 OK\r\nX: \0\r\n\r\n".to_owned(), NO_HTTP),
        (
            format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1024 * 1024)),
            "ProtocolError (GET /ping: the head of the answer is too large)",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\npong".to_owned(),
            NO_HTTP,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\npong".to_owned(),
            NO_HTTP,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\npong\r\n".to_owned(),
            "ProtocolError (GET /ping: 200, but the body broke off)",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n".to_owned(),
            "ProtocolError (GET /ping: 200, but the body broke off)",
        ),
        (String::new(), "ConnectFailed (GET /ping)"),
    ] {
        let sent = bytes.clone().into_bytes();
        let peer = Peer::start(move |_| sent.clone());
        let seen = told(None, &probe(&order_for(&peer.url(), Trust::System)).await);
        let row: String = bytes.chars().take(60).collect();
        differences.compare(format_args!("{row:?}"), expected, &seen);
    }
    // Plain HTTP at a port that speaks TLS: nginx, Apache and Go say so in a 400, others send an alert.
    for (row, bytes, expected) in [
        (
            "nginx",
            answer(
                "400 Bad Request",
                "text/html",
                "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>",
            ),
            TLS_PORT,
        ),
        (
            "Apache",
            answer(
                "400 Bad Request",
                "text/html; charset=iso-8859-1",
                "<p>Reason: You're speaking plain HTTP to an SSL-enabled server port.<br /></p>",
            ),
            TLS_PORT,
        ),
        (
            "Go",
            answer(
                "400 Bad Request",
                "text/plain",
                "Client sent an HTTP request to an HTTPS server.\n",
            ),
            TLS_PORT,
        ),
        ("an alert", b"\x15\x03\x01\x00\x02\x02\x46".to_vec(), NO_HTTP),
    ] {
        let peer = Peer::start(move |_| bytes.clone());
        let seen = told(None, &probe(&order_for(&peer.url(), Trust::System)).await);
        differences.compare(row, expected, &seen);
    }
    // A list with a body that only the end of the connection ends, and one behind interim answers.
    for (head, expected) in [
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </app>\r\n\r\n",
            "Connected",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
            "ProtocolError (GET /scim/Users: 101, an informational status)",
        ),
    ] {
        let peer = Peer::start(move |path| match path {
            "/scim/Users" => [head.as_bytes(), &answer("200 OK", "application/json", list)].concat(),
            other => healthy(other),
        });
        let seen = told(None, &probe(&order_for(&peer.url(), Trust::System)).await);
        differences.compare(format_args!("{head:?}"), expected, &seen);
    }
    differences.assert_none();
}

/// Nothing of one probe is left over in the next.
#[tokio::test]
async fn a_prober_forgets() {
    let front = front().await;
    let prober = prober();
    for _ in 0..2 {
        play(
            &front,
            &users(&json!({"kind": "status", "status": 429, "retryAfter": "60"})),
        );
        let limited = probe_by(&prober, &order(&front)).await;
        assert_eq!(told(None, &limited), "RateLimited (GET /scim/Users: 429)");
        play(&front, &json!({}));
        let fine = probe_by(&prober, &order(&front)).await;
        assert_eq!(
            (told(None, &fine).as_str(), fine.retry_after),
            ("Connected", None)
        );
    }
}
