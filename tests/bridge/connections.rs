//! One connection for a probe, which ends with it.

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};

use bridge_front::{Authority, Content, Fault, Front, Mode, State, Traffic};
use futures::future::join_all;
use scim_bridge_operator::bridge::Prober as _;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use crate::support::{AMPLE, LIMIT, bridge, front, key, log, only, order, order_for, probe_by, prober, told};

/// The numbers of the connections by which requests came.
fn numbers(front: &Front) -> Vec<u64> {
    let numbers: BTreeSet<_> = front
        .requests()
        .iter()
        .map(|request| request.connection)
        .collect();
    numbers.into_iter().collect()
}

fn fault(state: &mut State, path: &str, fault: Fault) {
    state.faults.insert(path.to_owned(), fault);
}

fn not_found() -> Fault {
    Fault::status(404, Content::Json)
}

#[tokio::test]
async fn one_for_all_requests_of_a_probe() {
    let front = front().await;
    let mut order = order(&front);
    order.next_key = Some(Ok(key("the-next")));
    front.set(|state| state.further_keys = vec!["the-next".into()]);
    let exchange = probe_by(&prober(), &order).await;
    assert_eq!(told(None, &exchange), "Connected");
    let requests = log(&front.requests());
    assert_eq!(requests, "/ping /health* /scim/Users* /scim/Groups* /health*");
    assert_eq!(
        (numbers(&front).len(), front.traffic().connections),
        (1, 1),
        "connections with a request, and in all, for {requests}"
    );
}

/// However soon one probe follows another, it proves name, way and certificate again, and asks everything again.
#[tokio::test]
async fn none_outlives_its_probe() {
    let front = front().await;
    let prober = prober();
    let order = order(&front);
    for probes in 1..=3 {
        assert_eq!(told(None, &probe_by(&prober, &order).await), "Connected");
        assert_eq!(
            log(&front.requests()),
            vec!["/ping /health* /scim/Users* /scim/Groups*"; probes].join(" ")
        );
        assert_eq!(
            (numbers(&front).len(), front.traffic().connections),
            (probes, u64::try_from(probes).unwrap()),
            "connections with a request, and in all"
        );
    }
}

/// Passes connections on to a front, and knows how many of them their clients have not closed yet.
struct Relay {
    url: String,
    open: watch::Receiver<usize>,
    accepting: JoinHandle<()>,
}

impl Relay {
    async fn to(front: &Front) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (upstream, (count, open)) = (front.addr(), watch::channel(0));
        let accepting = tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                count.send_modify(|open| *open += 1);
                let count = count.clone();
                tokio::spawn(async move {
                    let mut front = TcpStream::connect(upstream).await.unwrap();
                    // Ends when both sides have closed, or when one resets the connection.
                    let _ = copy_bidirectional(&mut client, &mut front).await;
                    count.send_modify(|open| *open -= 1);
                });
            }
        });
        Self {
            url: format!("https://localhost:{port}"),
            open,
            accepting,
        }
    }

    async fn all_closed(&self, what: &str) {
        let mut open = self.open.clone();
        let closed = tokio::time::timeout(LIMIT, open.wait_for(|open| *open == 0)).await;
        assert!(closed.is_ok(), "{what}: the probe has left a connection open");
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Wherever a probe ends, its connection ends too: the prober lives on, and holds none.
#[tokio::test]
async fn closed_wherever_the_probe_ends() {
    type Change = fn(&mut State);
    let rows: [(&str, Change, &str); 9] = [
        ("everything", |_| {}, "Connected"),
        (
            "a stranger",
            |state| fault(state, "/ping", Fault::Html),
            "NotABridge (GET /ping: 200, but the body is an HTML page)",
        ),
        (
            "silence at the first request",
            |state| fault(state, "/ping", Fault::Silent),
            "TimedOut (GET /ping: waiting for the answer)",
        ),
        (
            "silence at the second",
            |state| fault(state, "/health", Fault::Silent),
            "TimedOut (GET /health: waiting for the answer)",
        ),
        (
            "silence at the third",
            |state| fault(state, "/scim/Users", Fault::Silent),
            "TimedOut (GET /scim/Users: waiting for the answer)",
        ),
        (
            "silence at the last",
            |state| fault(state, "/scim/Groups", Fault::Silent),
            "Connected",
        ),
        (
            "a refused key",
            |state| state.key = "another-not-a-real-key".into(),
            "AuthFailed (GET /scim/Users: 401)",
        ),
        (
            "Google Workspace",
            |state| state.mode = Mode::GoogleWorkspace,
            "ScimDisabled (GET /scim/Users: 404)",
        ),
        (
            "no SCIM",
            |state| fault(state, "/scim/Users", not_found()),
            "ScimDisabled (GET /scim/Users: 404)",
        ),
    ];
    let prober = &prober();
    join_all(rows.map(|(what, change, verdict)| async move {
        let front = front().await;
        front.set(change);
        let relay = Relay::to(&front).await;
        let mut order = order_for(&relay.url, only(front.ca_pem().unwrap()));
        order.budget = if what.starts_with("silence") { AMPLE } else { LIMIT };
        // A key to rehearse adds requests, and each may be the last.
        for next_key in [None, Some(Ok(key("the-next")))] {
            order.next_key = next_key;
            assert_eq!(told(None, &probe_by(prober, &order).await), verdict, "{what}");
            relay.all_closed(what).await;
        }
    }))
    .await;
}

/// A probe that nobody waits for any more takes its connection with it.
#[tokio::test]
async fn closed_where_the_probe_is_given_up() {
    for silent in ["/ping", "/health", "/scim/Users", "/scim/Groups"] {
        let front = front().await;
        front.set(|state| fault(state, silent, Fault::Silent));
        let relay = Relay::to(&front).await;
        let order = order_for(&relay.url, only(front.ca_pem().unwrap()));
        let prober = prober();
        let is_asked = |traffic: &Traffic| traffic.requests.iter().any(|request| request.path() == silent);
        let asked = front.wait_until(is_asked, LIMIT);
        tokio::select! {
            _ = prober.probe(order) => panic!("{silent}: the probe has ended without an answer"),
            asked = asked => drop(asked.unwrap()),
        }
        relay.all_closed(silent).await;
    }
}

/// The key goes to nobody who has not answered `/ping`, though somebody else did a moment ago under the same address.
#[tokio::test]
async fn nobody_gets_a_key_for_what_another_has_proven() {
    let authority = Arc::new(Authority::new().unwrap());
    let first = bridge().authority(Arc::clone(&authority)).start().await.unwrap();
    let prober = prober();
    let order = order(&first);
    assert_eq!(told(None, &probe_by(&prober, &order).await), "Connected");
    let address = first.addr();
    first.stop().await;
    let stranger = bridge()
        .listen(address)
        .authority(authority)
        .start()
        .await
        .unwrap();
    stranger.set(|state| fault(state, "/ping", Fault::Html));
    assert_eq!(
        told(None, &probe_by(&prober, &order).await),
        "NotABridge (GET /ping: 200, but the body is an HTML page)"
    );
    assert_eq!(log(&stranger.requests()), "/ping");
}

/// A connection belongs to those who trust the same: what one object accepts must not speak for another.
#[tokio::test]
async fn not_shared_with_another_trust() {
    let front = front().await;
    let prober = prober();
    let mut order = order(&front);
    assert_eq!(told(None, &probe_by(&prober, &order).await), "Connected");
    let other = Authority::new().unwrap();
    order.route.trust = only(other.ca_pem());
    assert_eq!(
        told(None, &probe_by(&prober, &order).await),
        "CertificateUntrusted (GET /ping: its issuer is not in spec.tls.caRef, and the server did not send the issuer's certificate)"
    );
}
