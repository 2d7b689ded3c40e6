//! One probe at a time to a bridge, however many connections want one, and for nobody a wrong answer.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bridge_front::Front;
use futures::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use scim_bridge_operator::{
    bridge::{Lanes, Postponed, ProbeRequest, Prober, wire::trust::Trust},
    domain::connection::{
        evidence::{
            Answer, Blocker, Evidence, Exchange, HealthReport, KeyTrial, Phase, Reading, TransportFailure,
        },
        target::Origin,
        verdict::diagnose,
    },
};
use tokio::time::{Instant, sleep, timeout_at};

use crate::support::{Differences, KEY, LIMIT, ends, front, key, log, only, order, order_for, prober, told};

const WHOLE: &str = "/ping /health* /scim/Users* /scim/Groups*";

/// Probes at once. All of them are under way before the first can end, since they share one task.
async fn at_once(lanes: &Lanes, orders: impl IntoIterator<Item = ProbeRequest>) -> Vec<String> {
    let under_way = orders.into_iter().map(|order| lanes.probe(order));
    let exchanges = ends("probes at once", join_all(under_way)).await;
    exchanges.into_iter().map(outcome).collect()
}

/// What a connection gets of its probe.
fn outcome(answer: Result<Exchange, Postponed>) -> String {
    answer.map_or_else(|_| "postponed".to_owned(), |exchange| told(None, &exchange))
}

#[tokio::test]
async fn the_same_order_shares_the_answer() {
    let front = front().await;
    let lanes = Lanes::new(prober());
    let seen = at_once(&lanes, vec![order(&front); 20]).await;
    assert_eq!(seen, ["Connected"; 20]);
    assert_eq!(log(&front.requests()), WHOLE);
    // An answer is not kept: the next one asks again.
    assert_eq!(at_once(&lanes, [order(&front)]).await, ["Connected"]);
    assert_eq!(log(&front.requests()), format!("{WHOLE} {WHOLE}"));
}

#[tokio::test]
async fn different_orders_take_turns() {
    let front = front().await;
    front.set(|state| state.further_keys = vec!["second".into(), "third".into()]);
    let lanes = Lanes::new(prober());
    let mut orders = Vec::new();
    for text in [KEY, "second", "third", "wrong"] {
        let mut order = order(&front);
        order.key = key(text);
        orders.extend([order.clone(), order]);
    }
    let mut seen = at_once(&lanes, orders).await;
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
    let lanes = Lanes::new(prober());
    let other = bridge_front::Authority::new().unwrap();
    let plain = order(&front);
    let mut orders = vec![plain.clone(); 6];
    orders[1].route.trust = only(other.ca_pem());
    orders[2].route.server_name = Some("localhost".to_owned());
    orders[3].route.server_name = Some("scim.example.test".to_owned());
    orders[4].next_key = Some(Ok(key("the-next")));
    orders[5].next_key = Some(Err(Blocker::SecretNotFound));
    let under_way = orders.into_iter().map(|order| lanes.probe(order));
    let seen: Vec<_> = ends("probes at once", join_all(under_way))
        .await
        .into_iter()
        .map(Result::unwrap)
        .map(|exchange| format!("{} {:?}", told(None, &exchange), exchange.next_key))
        .collect();
    assert_eq!(
        seen,
        [
            "Connected None",
            "CertificateUntrusted (GET /ping: its issuer is not in spec.tls.caRef, and the server did not send the issuer's certificate) None",
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
    let lanes = Lanes::new(prober());
    let waiting = tokio::spawn({
        let (lanes, order) = (lanes.clone(), order(&silent));
        async move { lanes.probe(order).await }
    });
    silent.wait_for_requests(1, LIMIT).await.unwrap();
    assert_eq!(at_once(&lanes, fine.iter().map(order)).await, ["Connected"; 3]);
    assert!(!waiting.is_finished(), "the silent one is still waited for");
    waiting.abort();
}

/// A bridge without a network, by a clock that stands still until everybody waits. Shows how far the probes come, as the
/// real prober does: what a probe has no time for has timed out.
#[derive(Clone)]
struct Paced {
    /// When `/ping` is answered, after the probe has begun.
    ping: Duration,
    /// When the rest is answered, after that.
    rest: Duration,
    /// So many probes panic first.
    panics: usize,
    log: Arc<Mutex<Log>>,
}

/// What became of the probes: one line for each that began, in order.
#[derive(Default)]
struct Log {
    probes: Vec<String>,
    running: usize,
    most: usize,
}

/// Counts a probe as running until it ends or is given up.
struct Running(Arc<Mutex<Log>>);

impl Paced {
    fn new(ping: u64, rest: u64) -> Self {
        Self {
            ping: Duration::from_secs(ping),
            rest: Duration::from_secs(rest),
            panics: 0,
            log: Arc::default(),
        }
    }

    fn run(&self, order: &ProbeRequest) -> (usize, Running) {
        let mut log = self.log.lock().unwrap();
        log.running += 1;
        log.most = log.most.max(log.running);
        log.probes.push(format!("{}s", order.budget.as_secs()));
        (log.probes.len(), Running(Arc::clone(&self.log)))
    }

    fn probes(&self) -> usize {
        self.log.lock().unwrap().probes.len()
    }

    fn most_at_once(&self) -> usize {
        self.log.lock().unwrap().most
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().unwrap().running -= 1;
    }
}

impl Prober for Paced {
    fn probe(&self, order: ProbeRequest) -> BoxFuture<'_, Exchange> {
        async move {
            let end = Instant::now() + order.budget;
            let (number, _running) = self.run(&order);
            assert!(number > self.panics, "as the script has it");
            let late = |next_key| Exchange {
                ping: Reading::Failed(TransportFailure::TimedOut(Phase::Answer)),
                next_key,
                ..Exchange::default()
            };
            let rehearsed = |trial| {
                order.next_key.as_ref().map(|next| {
                    next.as_ref()
                        .map_or_else(|blocker| KeyTrial::Unusable(*blocker), |_| trial)
                })
            };
            if timeout_at(end, sleep(self.ping)).await.is_err() {
                return late(rehearsed(KeyTrial::Undecided));
            }
            let ping = Reading::Answered(Answer::Document(()));
            if timeout_at(end, sleep(self.rest)).await.is_err() {
                return Exchange {
                    ping,
                    health: Reading::Failed(TransportFailure::TimedOut(Phase::Answer)),
                    next_key: rehearsed(KeyTrial::Undecided),
                    ..Exchange::default()
                };
            }
            Exchange {
                ping,
                health: Reading::Answered(Answer::Document(HealthReport::default())),
                users: Reading::Answered(Answer::Document(3)),
                next_key: rehearsed(KeyTrial::Accepted),
                ..Exchange::default()
            }
        }
        .boxed()
    }
}

/// An order for a bridge that is only played.
fn wish(text: &str, budget: u64) -> ProbeRequest {
    ProbeRequest {
        key: key(text),
        budget: Duration::from_secs(budget),
        ..order_for("https://scim.example.com", Trust::System)
    }
}

/// Orders that come a millisecond after each other. What each got, and after how many seconds of its own.
async fn in_line(bridge: &Paced, orders: impl IntoIterator<Item = ProbeRequest>) -> Vec<String> {
    let lanes = Lanes::new(bridge.clone());
    let under_way = orders.into_iter().zip(0..).map(|(order, number)| {
        let lanes = &lanes;
        async move {
            sleep(Duration::from_millis(number)).await;
            let asked = Instant::now();
            let answer = lanes.probe(order).await;
            let seconds = asked.elapsed().as_secs_f64();
            match answer {
                Err(Postponed) => format!("postponed at {seconds:.1}"),
                Ok(exchange) => {
                    let next = exchange
                        .next_key
                        .map_or_else(String::new, |next| format!(" {next:?}"));
                    let reason = diagnose(None, &Evidence::Probed(exchange)).reason;
                    format!("{reason}{next} at {seconds:.1}")
                }
            }
        }
    });
    join_all(under_way).await
}

/// A row: how long `/ping` and the rest take, the orders, what each gets, and how many probes that took.
#[tokio::test(start_paused = true)]
async fn who_shares_and_who_waits() {
    let with_next = |next: Result<&str, Blocker>| ProbeRequest {
        next_key: Some(next.map(key)),
        ..wish("a", 2)
    };
    let requested = |budget| ProbeRequest {
        requested: true,
        ..wish("a", budget)
    };
    let named = |name: &str| {
        let mut order = wish("a", 2);
        order.route.server_name = Some(name.to_owned());
        order
    };
    let trusting = |authority: &bridge_front::Authority| {
        let mut order = wish("a", 2);
        order.route.trust = only(authority.ca_pem());
        order
    };
    let mut dotted = wish("a", 2);
    dotted.route.origin = Origin::parse("https://scim.example.com.").unwrap();
    let authorities = [
        bridge_front::Authority::new().unwrap(),
        bridge_front::Authority::new().unwrap(),
    ];
    let (unreachable, slow, quick) = ((3600, 0), (0, 3600), (1, 0));
    let mut differences = Differences::default();
    for (row, (ping, rest), orders, expected, probes) in [
        (
            "silent, the shorter time first: no time-out of another's budget",
            unreachable,
            vec![wish("a", 1), wish("a", 60)],
            "TimedOut at 1.0, TimedOut at 61.0",
            2,
        ),
        (
            "answers after three seconds, the shorter time first",
            (3, 0),
            vec![wish("a", 1), wish("a", 60)],
            "TimedOut at 1.0, Connected at 4.0",
            2,
        ),
        (
            "silent, the longer time first: nobody waits longer than its own time",
            unreachable,
            vec![wish("a", 60), wish("a", 1)],
            "TimedOut at 60.0, postponed at 1.2",
            1,
        ),
        (
            "answers within both times",
            (0, 0),
            vec![wish("a", 60), wish("a", 1)],
            "Connected at 0.0, Connected at 0.0",
            2,
        ),
        (
            "answers within both times, while the second waits",
            quick,
            vec![wish("a", 60), wish("a", 10)],
            "Connected at 1.0, Connected at 1.0",
            1,
        ),
        (
            "answers too late for the second",
            (3, 0),
            vec![wish("a", 60), wish("a", 2)],
            "Connected at 3.0, postponed at 2.2",
            1,
        ),
        (
            "another key waits for its turn",
            quick,
            vec![wish("a", 3), wish("b", 3), wish("c", 3), wish("b", 3)],
            "Connected at 1.0, Connected at 2.0, Connected at 3.0, Connected at 2.0",
            3,
        ),
        (
            "silent before any key: the same for every key",
            unreachable,
            vec![wish("a", 2), wish("b", 2), wish("c", 2)],
            "TimedOut at 2.0, TimedOut at 2.0, TimedOut at 2.0",
            1,
        ),
        (
            "silent before any key, and more time",
            unreachable,
            vec![wish("a", 2), wish("b", 10), wish("c", 10)],
            "TimedOut at 2.0, TimedOut at 12.0, postponed at 10.2",
            2,
        ),
        (
            "silent after a key: says nothing of another key",
            slow,
            vec![wish("a", 2), wish("b", 2), wish("c", 2)],
            "TimedOut at 2.0, TimedOut at 4.0, postponed at 2.2",
            2,
        ),
        (
            "another name to verify",
            quick,
            vec![
                wish("a", 2),
                named("one.example.com"),
                named("two.example.com"),
                named("one.example.com"),
            ],
            "Connected at 1.0, Connected at 2.0, Connected at 3.0, Connected at 2.0",
            3,
        ),
        (
            "the same host, written with a dot at its end",
            quick,
            vec![wish("a", 2), dotted],
            "Connected at 1.0, Connected at 2.0",
            2,
        ),
        (
            "silent, another name to verify",
            unreachable,
            vec![wish("a", 2), named("one.example.com")],
            "TimedOut at 2.0, TimedOut at 4.0",
            2,
        ),
        (
            "other certificate authorities",
            unreachable,
            vec![
                trusting(&authorities[0]),
                trusting(&authorities[0]),
                trusting(&authorities[1]),
            ],
            "TimedOut at 2.0, TimedOut at 2.0, TimedOut at 4.0",
            2,
        ),
        (
            "keys to rehearse",
            quick,
            vec![wish("a", 3), with_next(Ok("b")), with_next(Ok("b"))],
            "Connected at 1.0, Connected Accepted at 2.0, Connected Accepted at 2.0",
            2,
        ),
        (
            "silent: each with what is known of the key to rehearse",
            unreachable,
            vec![
                wish("a", 2),
                with_next(Ok("b")),
                with_next(Err(Blocker::SecretNotFound)),
            ],
            "TimedOut at 2.0, TimedOut Undecided at 2.0, TimedOut Unusable(SecretNotFound) at 2.0",
            1,
        ),
        (
            "asked for: begins after that, and for all who asked",
            quick,
            vec![wish("a", 5), requested(5), requested(5), wish("a", 5)],
            "Connected at 1.0, Connected at 2.0, Connected at 2.0, Connected at 1.0",
            2,
        ),
        (
            "silent, asked for",
            unreachable,
            vec![wish("a", 5), requested(5)],
            "TimedOut at 5.0, TimedOut at 10.0",
            2,
        ),
    ] {
        let bridge = Paced {
            ping: Duration::from_secs(ping),
            rest: Duration::from_secs(rest),
            ..Paced::new(0, 0)
        };
        let seen = in_line(&bridge, orders).await.join(", ");
        differences.compare(row, expected, &seen);
        differences.compare(row, &probes.to_string(), &bridge.probes().to_string());
        differences.compare(row, "1 at most", &format!("{} at most", bridge.most_at_once()));
    }
    differences.assert_none();
}

/// Fifty keys for one bridge. Where it does not answer at all, one probe says so for all of them. Where it hangs with
/// the key in hand, each key needs its own probe: nobody is told of a time-out before it was asked, and nobody waits
/// longer than its time.
#[tokio::test(start_paused = true)]
async fn fifty_keys_of_a_silent_bridge() {
    let fifty = || (0..50).map(|number| wish(&format!("key-{number}"), 1));
    let silent = Paced::new(3600, 0);
    assert_eq!(in_line(&silent, fifty()).await, ["TimedOut at 1.0"; 50]);
    assert_eq!(silent.probes(), 1);

    let hanging = Paced::new(0, 3600);
    let seen = in_line(&hanging, fifty()).await;
    assert_eq!(seen[..2], ["TimedOut at 1.0", "TimedOut at 2.0"]);
    assert_eq!(seen[2..], ["postponed at 1.2"; 48]);
    assert_eq!((hanging.probes(), hanging.most_at_once()), (2, 1));
}

/// First come, first served, and whoever leaves loses nobody's turn.
#[tokio::test(start_paused = true)]
async fn turns_go_in_the_order_of_coming() {
    let bridge = Paced::new(0, 1);
    let lanes = Lanes::new(bridge.clone());
    let mut waiting: Vec<_> = (10..20)
        .map(|budget| Some(Box::pin(lanes.probe(wish(&format!("key-{budget}"), budget)))))
        .collect();
    for probe in waiting.iter_mut().flatten() {
        assert!(futures::poll!(probe).is_pending());
    }
    tokio::task::yield_now().await;
    // One that has begun, and two that wait.
    for left in [0, 3, 9] {
        waiting[left] = None;
    }
    let begun = Instant::now();
    let seen = join_all(waiting.into_iter().flatten()).await;
    assert_eq!(
        seen.into_iter().map(outcome).collect::<Vec<_>>(),
        ["Connected"; 7]
    );
    assert_eq!(begun.elapsed().as_secs(), 7, "nobody waits for those who left");
    let begun: Vec<_> = bridge.log.lock().unwrap().probes.clone();
    let expected: Vec<_> = [11, 12, 14, 15, 16, 17, 18]
        .map(|budget| format!("{budget}s"))
        .into();
    assert!(begun == expected || begun[1..] == expected, "{begun:?}");
    assert_eq!(bridge.most_at_once(), 1);
}

/// A pass that panics is one pass. Those who share its probe must not wait for ever, and those who come later must not
/// be turned away.
#[tokio::test(start_paused = true)]
async fn a_panic_is_not_contagious() {
    let bridge = Paced {
        panics: 1,
        ..Paced::new(1, 0)
    };
    let lanes = Lanes::new(bridge.clone());
    let passes = ["a", "a", "a", "b", "b"].map(|text| {
        let (lanes, order) = (lanes.clone(), wish(text, 10));
        tokio::spawn(async move { outcome(lanes.probe(order).await) })
    });
    let seen: Vec<_> = join_all(passes)
        .await
        .into_iter()
        .map(|pass| match pass {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => "panicked".to_owned(),
            Err(error) => error.to_string(),
        })
        .collect();
    assert_eq!(
        seen,
        ["panicked", "panicked", "panicked", "Connected", "Connected"]
    );
    assert_eq!(
        at_once(&lanes, [wish("a", 10)]).await,
        ["Connected"],
        "afterwards"
    );
}

/// A probe that nobody waits for any more is stopped, and the bridge is free for the next.
#[tokio::test(start_paused = true)]
async fn a_probe_that_nobody_waits_for() {
    let bridge = Paced::new(0, 3600);
    let lanes = Lanes::new(bridge.clone());
    let orders = [wish("a", 60), wish("a", 60), wish("b", 60)];
    let mut probes = orders.map(|order| Some(Box::pin(lanes.probe(order))));
    for probe in probes.iter_mut().flatten() {
        assert!(futures::poll!(probe).is_pending());
    }
    sleep(Duration::from_secs(1)).await;
    probes[0] = None;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(bridge.probes(), 1, "another waits for the same probe");
    probes[1] = None;
    sleep(Duration::from_secs(1)).await;
    assert_eq!((bridge.probes(), bridge.most_at_once()), (2, 1));
    probes[2] = None;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(bridge.log.lock().unwrap().running, 0);
}
