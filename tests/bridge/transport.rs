//! What goes wrong before there is an answer, and that a probe ends within its budget whatever the peer does.

use std::time::Duration;

use bridge_front::{ConnectionFault, Front};
use futures::future::join_all;
use scim_bridge_operator::{
    bridge::trust::Trust,
    domain::evidence::{Phase, Reading, TransportFailure},
};
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::{
    peer::{Peer, start_closing},
    support::{
        AMPLE, Differences, SHORT, front, learned, log, order, order_for, order_within, play, probe, told,
    },
};

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let seen = told(
        None,
        &probe(&order_for("https://scim.invalid", Trust::System)).await,
    );
    assert_eq!(
        seen,
        "DnsFailed (GET /ping: the name servers know no address for the name)"
    );
}

#[tokio::test]
async fn a_port_that_refuses() {
    // Bound and not listening: nobody else can come to listen on it meanwhile.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    for scheme in ["https", "http"] {
        let url = format!("{scheme}://127.0.0.1:{port}");
        let seen = told(None, &probe(&order_for(&url, Trust::System)).await);
        assert_eq!(seen, "ConnectFailed (GET /ping)", "{url}");
    }
}

#[tokio::test]
async fn peers_that_do_not_speak_tls() {
    let front = front().await;
    front.set(|state| state.connection_fault = Some(ConnectionFault::Plaintext));
    assert_eq!(
        told(None, &probe(&order(&front)).await),
        "TlsFailed (GET /ping: the peer does not speak TLS)",
        "HTTP on the port of TLS"
    );
    assert_eq!(log(&front.requests()), "");

    front.set(|state| state.connection_fault = Some(ConnectionFault::Reset));
    assert_eq!(
        told(None, &probe(&order(&front)).await),
        "TlsFailed (GET /ping: the peer closed the connection during the handshake)",
        "a reset"
    );

    for (greeting, expected) in [
        // The end in the middle of the handshake.
        (
            &b""[..],
            "TlsFailed (GET /ping: the peer closed the connection during the handshake)",
        ),
        (
            b"SSH-2.0-OpenSSH_9.9\r\n",
            "TlsFailed (GET /ping: the peer does not speak TLS)",
        ),
        (
            b"220 mail.example.com ESMTP\r\n",
            "TlsFailed (GET /ping: the peer does not speak TLS)",
        ),
        // Alert handshake_failure.
        (
            b"\x15\x03\x01\0\x02\x02\x28",
            "TlsFailed (GET /ping: the server finds no cipher suite, group or signature in common)",
        ),
    ] {
        let url = format!("https://127.0.0.1:{}", start_closing(greeting));
        let seen = told(None, &probe(&order_for(&url, Trust::System)).await);
        let greeting = greeting.escape_ascii();
        assert_eq!(seen, expected, "a peer that says \"{greeting}\"");
    }
}

#[tokio::test]
async fn plain_http_where_it_is_allowed() {
    let plain = crate::support::bridge().plaintext().start().await.unwrap();
    let exchange = probe(&order(&plain)).await;
    assert_eq!(
        (told(None, &exchange).as_str(), exchange.certificate),
        ("Connected", None)
    );
    assert_eq!(
        log(&plain.requests()),
        "/ping /health* /scim/Users* /scim/Groups*"
    );
    // An end of a connection before TLS has begun is the same as any.
    let url = format!("http://127.0.0.1:{}", start_closing(b""));
    assert_eq!(
        told(None, &probe(&order_for(&url, Trust::System)).await),
        "ConnectFailed (GET /ping)"
    );
}

/// One front for each row, side by side: each row takes as long as its budget.
async fn check_budgets(rows: Vec<(Duration, Value, &'static str, &'static str)>) {
    let seen = join_all(rows.iter().map(|(budget, changes, _, _)| async move {
        let front: Front = front().await;
        play(&front, changes);
        let exchange = probe(&order_within(&front, *budget)).await;
        let requests = log(&front.requests());
        front.stop().await;
        (told(None, &exchange), requests)
    }))
    .await;
    let mut differences = Differences::default();
    for ((_, changes, verdict, requests), (seen_verdict, seen_requests)) in rows.iter().zip(seen) {
        differences.compare(changes, verdict, &seen_verdict);
        differences.compare(changes, requests, &seen_requests);
    }
    differences.assert_none();
}

#[tokio::test]
async fn silence() {
    check_budgets(vec![
        // Accepted, but no handshake.
        (
            SHORT,
            json!({"connectionFault": "silent"}),
            "TimedOut (GET /ping: waiting for the TLS handshake)",
            "",
        ),
        (
            AMPLE,
            json!({"faults": {"/": {"kind": "silent"}}}),
            "TimedOut (GET /ping: waiting for the answer)",
            "/ping",
        ),
        (
            AMPLE,
            json!({"faults": {"/ping": {"kind": "declared-length", "bytes": 5}}}),
            "TimedOut (GET /ping: waiting for the answer)",
            "/ping",
        ),
        // The time is up: no use in asking further.
        (
            AMPLE,
            json!({"faults": {"/health": {"kind": "delay", "ms": 600_000}}}),
            "TimedOut (GET /health: waiting for the answer)",
            "/ping /health*",
        ),
        (
            AMPLE,
            json!({"faults": {"/scim/Users": {"kind": "silent"}}}),
            "TimedOut (GET /scim/Users: waiting for the answer)",
            "/ping /health* /scim/Users*",
        ),
        (
            AMPLE,
            json!({"faults": {"/scim/Users": {"kind": "drip", "intervalMs": 100}}}),
            "TimedOut (GET /scim/Users: waiting for the answer)",
            "/ping /health* /scim/Users*",
        ),
        (
            AMPLE,
            json!({"faults": {"/scim/Users": {"kind": "declared-length", "bytes": 1_048_576}}}),
            "TimedOut (GET /scim/Users: waiting for the answer)",
            "/ping /health* /scim/Users*",
        ),
        // Groups never decide.
        (
            AMPLE,
            json!({"faults": {"/scim/Groups": {"kind": "silent"}}}),
            "Connected",
            "/ping /health* /scim/Users* /scim/Groups*",
        ),
    ])
    .await;
}

/// A refusal that was heard before the time was up is not lost.
#[tokio::test]
async fn evidence_from_before_a_timeout() {
    check_budgets(vec![
        (
            AMPLE,
            json!({"faults": {"/health": {"kind": "unauthorized"}, "/scim/Users": {"kind": "silent"}}}),
            "AuthFailed (GET /health: 401)",
            "/ping /health* /scim/Users*",
        ),
        (
            AMPLE,
            json!({"faults": {"/health": {"kind": "forbidden-json"}, "/scim/Users": {"kind": "drip", "intervalMs": 100}}}),
            "AuthFailed (GET /health: 403)",
            "/ping /health* /scim/Users*",
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_was_learned_before_a_timeout() {
    let front = front().await;
    play(&front, &json!({"faults": {"/scim/Users": {"kind": "silent"}}}));
    let exchange = probe(&order_within(&front, AMPLE)).await;
    assert!(
        learned(&exchange).starts_with("version=2.9.16 build=209163 "),
        "the health report in {exchange:?}"
    );
    assert!(exchange.certificate.is_some(), "the certificate in {exchange:?}");
}

/// Peers whose answer begins and never comes to an end.
#[tokio::test]
async fn peers_that_never_come_to_an_end() {
    let interim = |_: &str| b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100_000);
    let half_a_head = |_: &str| b"HTTP/1.1 200 OK\r\nX: ".to_vec();
    let half_a_chunk =
        |_: &str| b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;ext=\r\npo".to_vec();
    let peers = [
        ("interim answers only", Peer::start(interim)),
        ("half a head", Peer::start(half_a_head)),
        ("half a chunk", Peer::start(half_a_chunk)),
    ];
    let seen = join_all(peers.iter().map(|(_, peer)| {
        let mut order = order_for(&peer.url(), Trust::System);
        order.budget = SHORT;
        async move { probe(&order).await.ping }
    }))
    .await;
    for ((name, _), ping) in peers.iter().zip(seen) {
        assert_eq!(
            ping,
            Reading::Failed(TransportFailure::TimedOut(Phase::Answer)),
            "{name}"
        );
    }
}
