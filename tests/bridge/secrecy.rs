//! Nothing of what a server says and nothing of a key comes out, by whatever way.

use std::{
    fmt::Write as _,
    io,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, ThreadId},
};

use bridge_front::Front;
use scim_bridge_operator::{
    bridge::{ProbeRequest, wire::trust::Trust},
    domain::connection::{evidence::Evidence, verdict::diagnose},
};
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::{
    peer::{Peer, answer, healthy},
    support::{KEY, front, key, only, order, order_for, play, probe, probe_by, prober},
};

/// In every text that a peer of these tests has to say.
const CANARY: &str = "canary";

/// Everything that could be shown of a probe: its order, its evidence, its verdict.
async fn shown(order: &ProbeRequest) -> String {
    let prober = prober();
    let exchange = probe_by(&prober, order).await;
    let verdict = diagnose(None, &Evidence::Probed(exchange.clone()));
    format!("{order:?} {prober:?} {exchange:?} {exchange:#?} {verdict:?} {verdict}")
}

/// What one thread logs, down to the finest line of every library.
#[derive(Clone)]
struct Log {
    thread: ThreadId,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Log {
    /// Begins to take down what this thread logs. Once in a process.
    ///
    /// For the whole process, since libraries remember whether anybody listens, whichever thread asks first.
    fn listen() -> Self {
        let log = Self {
            thread: thread::current().id(),
            bytes: Arc::default(),
        };
        tracing_subscriber::fmt()
            .with_writer(log.clone())
            .with_max_level(tracing::Level::TRACE)
            .init();
        log
    }

    fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if thread::current().id() == self.thread {
            let mut log = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
            log.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'log> MakeWriter<'log> for Log {
    type Writer = Self;

    fn make_writer(&'log self) -> Self {
        self.clone()
    }
}

#[track_caller]
fn assert_clean(what: &str, text: &str) {
    let found = text.to_ascii_lowercase().find(CANARY).map(|at| {
        let from = at.saturating_sub(80);
        String::from_utf8_lossy(&text.as_bytes()[from..(at + 80).min(text.len())]).into_owned()
    });
    assert_eq!(found, None, "{what} shows what it must not");
}

/// A front that has the canary wherever it can be put.
async fn talkative() -> Front {
    let front = front().await;
    play(
        &front,
        &json!({
            "version": "2.9.16-canary", "build": "canary", "components": {"canary": "canary", "RedisCache": "canary"},
        }),
    );
    front
}

#[tokio::test]
async fn of_a_front() {
    let faults = [
        json!(null),
        json!({"kind": "redirect", "location": "https://canary.example/?canary"}),
        json!({"kind": "status", "status": 429, "retryAfter": "canary"}),
        json!({"kind": "status", "status": 503, "body": "html"}),
        json!({"kind": "unauthorized"}),
        json!({"kind": "forbidden-json"}),
        json!({"kind": "broken-json"}),
        json!({"kind": "truncated"}),
        json!({"kind": "many-headers", "count": 100}),
        json!({"kind": "close"}),
    ];
    let front = talkative().await;
    for fault in faults {
        for path in ["/ping", "/health", "/scim/Users", "/"] {
            let mut played = json!({"faults": {path: fault}});
            if fault.is_null() {
                played = json!({});
            }
            front.set(|state| {
                state.faults.clear();
                state.merge(played).unwrap();
            });
            let mut order = order(&front);
            order.next_key = Some(Ok(key("canary-next-key")));
            assert_clean(&format!("a probe with {fault} at {path}"), &shown(&order).await);
        }
    }
}

#[tokio::test]
async fn of_any_other_peer() {
    let json = "application/json; canary=canary";
    let page = "<html>canary</html>".to_owned();
    let error =
        r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"detail":"canary","status":"canary"}"#;
    let list =
        r#"{"schemas":["canary"],"totalResults":"canary","Resources":[{"userName":"canary"}],"canary":1}"#;
    let health = r#"{"version":"canary","build":"canary","reports":[{"source":"canary","state":"canary","expires":"canary","canary":0}],"retrievedAt":"canary"}"#;
    let head = |status: &str| {
        format!(
            "HTTP/1.1 {status} canary\r\nServer: canary\r\nLocation: https://canary.example\r\nRetry-After: canary\r\n\
             Set-Cookie: canary=canary\r\nWWW-Authenticate: Bearer realm=\"canary\"\r\nX-Canary: canary\r\n\
             Content-Type: {json}\r\nContent-Length: "
        )
    };
    for status in [
        "200", "204", "302", "400", "401", "403", "404", "429", "500", "503", "999",
    ] {
        for body in [page.as_str(), error, list, health, "canary", ""] {
            let whole = format!("{}{}\r\n\r\n{body}", head(status), body.len());
            let peer = Peer::start(move |path| match path {
                "/ping" => healthy(path),
                _ => whole.clone().into_bytes(),
            });
            let order = order_for(&peer.url(), Trust::System);
            assert_clean(&format!("{status} with {body:?}"), &shown(&order).await);
        }
    }
    for bytes in [
        "canary\r\n\r\n",
        "HTTP/1.1 canary\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncanary\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ncanary\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: canary\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Encoding: canary\r\nContent-Length: 6\r\n\r\ncanary",
    ] {
        let peer = Peer::start(move |_| bytes.as_bytes().to_vec());
        let order = order_for(&peer.url(), Trust::System);
        assert_clean(&format!("{bytes:?}"), &shown(&order).await);
    }
}

/// The finest log of every library that takes part in a probe shows the requests, but not the key.
#[tokio::test]
async fn of_the_key_in_any_log() {
    let log = Log::listen();
    let peer = Peer::start_tls("localhost", "Test CA", |path| match path {
        "/scim/Users" => answer("401 Unauthorized", "application/json", "{}"),
        other => healthy(other),
    });
    let url = format!("https://localhost:{}", peer.port());
    let mut order = order_for(&url, only(peer.ca_pem()));
    order.next_key = Some(Ok(key("canary-next-key")));
    let exchange = probe(&order).await;
    let heard = peer.heard().join("\n");
    assert!(
        heard.contains(KEY) && heard.contains("canary-next-key"),
        "the peer got both keys: {heard}"
    );
    let mut text = log.text();
    assert!(
        text.contains("localhost"),
        "a log that shows nothing proves nothing: {text:?}"
    );
    write!(text, "{exchange:?}").unwrap();
    assert_clean("the log", &text);
}
