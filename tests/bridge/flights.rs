//! At most one probe at a time to a bridge, however many want one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bridge_front::Front;
use futures::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use scim_bridge_operator::{
    bridge::{OnePerOrigin, ProbeOrder, Prober, trust::Trust},
    domain::evidence::{Answer, Exchange, Obstacle, Reading},
};
use tokio::sync::Semaphore;

use crate::support::{KEY, LIMIT, ends, front, key, log, only, order, order_for, prober, told};

const WHOLE: &str = "/ping /health* /scim/Users* /scim/Groups*";

/// Probes at once. All of them are under way before the first can end, since they share one task.
async fn at_once(prober: &impl Prober, orders: impl IntoIterator<Item = ProbeOrder>) -> Vec<String> {
    let under_way = orders.into_iter().map(|order| prober.probe(order));
    let exchanges = ends("probes at once", join_all(under_way)).await;
    exchanges.iter().map(|exchange| told(None, exchange)).collect()
}

#[tokio::test]
async fn the_same_order_shares_the_answer() {
    let front = front().await;
    let prober = OnePerOrigin::new(prober());
    let mut orders = vec![order(&front); 20];
    // How often and how patiently somebody asks makes no difference to the answer.
    orders[3].target.interval = Duration::from_hours(1);
    orders[5].target.identity_provider = crate::support::GOOGLE;
    let seen = at_once(&prober, orders).await;
    assert_eq!(seen, ["Connected"; 20]);
    assert_eq!(log(&front.requests()), WHOLE);
    // An answer is not kept: the next one asks again.
    assert_eq!(at_once(&prober, [order(&front)]).await, ["Connected"]);
    assert_eq!(log(&front.requests()), format!("{WHOLE} {WHOLE}"));
}

#[tokio::test]
async fn different_orders_take_turns() {
    let front = front().await;
    front.set(|state| state.further_keys = vec!["second".into(), "third".into()]);
    let prober = OnePerOrigin::new(prober());
    let mut orders = Vec::new();
    for text in [KEY, "second", "third", "wrong"] {
        let mut order = order(&front);
        order.key = key(text);
        orders.extend([order.clone(), order]);
    }
    let mut seen = at_once(&prober, orders).await;
    seen.sort();
    let refused = "AuthFailed (GET /scim/Users: 401)";
    assert_eq!(
        seen,
        [
            refused,
            refused,
            "Connected",
            "Connected",
            "Connected",
            "Connected",
            "Connected",
            "Connected"
        ]
    );
    let traffic = front.traffic();
    assert_eq!(
        traffic.max_in_flight,
        1,
        "requests at once: {}",
        log(&front.requests())
    );
    let pings = front.requests();
    let pings = pings.iter().filter(|request| request.path() == "/ping").count();
    assert_eq!(pings, 4, "one probe for each key: {}", log(&front.requests()));
    // One after another, and not in turns request by request: no connection comes up again after another.
    let mut connections: Vec<_> = traffic
        .requests
        .iter()
        .map(|request| request.connection)
        .collect();
    connections.dedup();
    assert_eq!(
        connections.len(),
        4,
        "connections in the order of their requests: {connections:?}"
    );
}

/// An order differs by all that may change the answer: each of these gets its own.
#[tokio::test]
async fn what_makes_orders_differ() {
    let front = front().await;
    let prober = OnePerOrigin::new(prober());
    let other = bridge_front::Authority::new().unwrap();
    let plain = order(&front);
    let mut orders = vec![plain.clone(); 6];
    orders[1].trust = only(other.ca_pem());
    orders[2].target.server_name = Some("localhost".to_owned());
    orders[3].target.server_name = Some("scim.example.test".to_owned());
    orders[4].next_key = Some(Ok(key("the-next")));
    orders[5].next_key = Some(Err(Obstacle::SecretNotFound));
    let under_way = orders.into_iter().map(|order| prober.probe(order));
    let seen: Vec<_> = ends("probes at once", join_all(under_way))
        .await
        .iter()
        .map(|exchange| format!("{} {:?}", told(None, exchange), exchange.next_key))
        .collect();
    assert_eq!(
        seen,
        [
            "Connected None",
            "CertificateUntrusted (GET /ping: no trusted authority has issued it) None",
            "Connected None",
            "CertificateNameMismatch (GET /ping) None",
            "Connected Some(Refused)",
            "Connected Some(Unusable(SecretNotFound))",
        ]
    );
    assert_eq!(front.traffic().max_in_flight, 1, "requests at once");
}

#[tokio::test]
async fn other_origins_do_not_wait() {
    let silent = front().await;
    silent.set(|state| state.fault("/", bridge_front::Fault::Silent));
    let fine: Vec<Front> = join_all([front(), front(), front()]).await;
    let prober = Arc::new(OnePerOrigin::new(prober()));
    let waiting = tokio::spawn({
        let (prober, order) = (Arc::clone(&prober), order(&silent));
        async move { prober.probe(order).await }
    });
    silent.wait_for_requests(1, LIMIT).await.unwrap();
    assert_eq!(at_once(&*prober, fine.iter().map(order)).await, ["Connected"; 3]);
    assert!(!waiting.is_finished(), "the silent one is still waited for");
    waiting.abort();
}

/// A prober that answers when it is let, and panics so many times first.
#[derive(Clone)]
struct Scripted {
    panics: usize,
    begun: Arc<AtomicUsize>,
    may_end: Arc<Semaphore>,
    ended: Arc<Semaphore>,
}

impl Scripted {
    fn new(panics: usize) -> Self {
        Self {
            panics,
            begun: Arc::default(),
            may_end: Arc::new(Semaphore::new(0)),
            ended: Arc::new(Semaphore::new(0)),
        }
    }
}

impl Prober for Scripted {
    fn probe(&self, _: ProbeOrder) -> BoxFuture<'_, Exchange> {
        async move {
            let number = self.begun.fetch_add(1, Ordering::SeqCst);
            self.may_end.acquire().await.unwrap().forget();
            self.ended.add_permits(1);
            assert!(number >= self.panics, "as the script has it");
            Exchange {
                users: Reading::Answered(Answer::Document(3)),
                ..Exchange::default()
            }
        }
        .boxed()
    }
}

/// A pass that panics is one pass. Whoever shares its probe must not wait for ever, and whoever comes later must not
/// be turned away.
#[tokio::test]
async fn a_panic_is_not_contagious() {
    let scripted = Scripted::new(1);
    let prober = Arc::new(OnePerOrigin::new(scripted.clone()));
    let order = order_for("https://scim.example.com", Trust::System);
    let mut other = order.clone();
    other.key = key("another");
    scripted.may_end.add_permits(4);
    let passes = [&order, &order, &order, &other, &other].map(|order| {
        let (prober, order) = (Arc::clone(&prober), order.clone());
        tokio::spawn(async move { told(None, &prober.probe(order).await) })
    });
    let seen: Vec<_> = ends("passes that share a panic", join_all(passes))
        .await
        .into_iter()
        .map(|pass| match pass {
            Ok(told) => told,
            Err(error) if error.is_panic() => "panicked".to_owned(),
            Err(error) => error.to_string(),
        })
        .collect();
    assert_eq!(
        seen,
        ["panicked", "panicked", "panicked", "Connected", "Connected"]
    );
    assert_eq!(at_once(&*prober, [order]).await, ["Connected"], "afterwards");
}

/// A pass that is given up does not leave its probe on the board, to be found by the next one long after its time.
#[tokio::test]
async fn a_probe_that_nobody_waits_for() {
    let scripted = Scripted::new(0);
    let prober = Arc::new(OnePerOrigin::new(scripted.clone()));
    let order = order_for("https://scim.example.com", Trust::System);
    let mut given_up = prober.probe(order.clone());
    assert!(
        futures::poll!(&mut given_up).is_pending(),
        "the probe is under way"
    );
    drop(given_up);
    scripted.may_end.add_permits(1);
    ends("the probe that was given up", scripted.ended.acquire())
        .await
        .unwrap()
        .forget();
    scripted.may_end.add_permits(1);
    assert_eq!(at_once(&*prober, [order]).await, ["Connected"]);
}
