//! Names whose addresses change: between two look-ups, within one, for IPv4 and for IPv6.
//!
//! The bridge listens at an address that is allowed. At addresses that are denied, on the same port, listens somebody
//! who only counts who comes.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bridge_front::Front;
use scim_bridge_operator::bridge::{HttpProber, Lanes, ProbeOrder, address::AddressPolicy};
use testbed::{Dice, budget, seed};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    name_server::{NameServer, Reply},
    support::{AMPLE, bridge, ends, only, order_for, probe_by, prober_under, told},
};

pub(crate) const NAME: &str = "bridge.test";
pub(crate) const ALLOWED: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const DENIED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
pub(crate) const DENIED_V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const API_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1));
pub(crate) const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));

/// Counts who connects to where nobody may.
pub(crate) struct Tripwire {
    pub(crate) visits: Arc<AtomicUsize>,
    watching: Vec<JoinHandle<()>>,
}

impl Tripwire {
    pub(crate) async fn at(port: u16) -> Self {
        let visits = Arc::new(AtomicUsize::new(0));
        let mut watching = Vec::new();
        for address in [DENIED, DENIED_V6] {
            let listener = TcpListener::bind(SocketAddr::from((address, port)))
                .await
                .unwrap();
            let visits = Arc::clone(&visits);
            watching.push(tokio::spawn(async move {
                loop {
                    let _visitor = listener.accept().await.unwrap();
                    visits.fetch_add(1, Ordering::SeqCst);
                }
            }));
        }
        Self { visits, watching }
    }
}

impl Drop for Tripwire {
    fn drop(&mut self) {
        for task in &self.watching {
            task.abort();
        }
    }
}

async fn front() -> Front {
    bridge().names([NAME]).start().await.unwrap()
}

fn order(front: &Front) -> ProbeOrder {
    order_for(
        &format!("https://{NAME}:{}", front.port()),
        only(front.ca_pem().unwrap()),
    )
}

/// The bridge's own address, and nothing else of loopback.
fn policy() -> AddressPolicy {
    AddressPolicy {
        allowed: vec![format!("{ALLOWED}/32").parse().unwrap()],
        api_server: vec![API_SERVER],
        ..AddressPolicy::default()
    }
}

fn prober(server: &NameServer) -> HttpProber {
    prober_under(policy()).resolving_by(server.names())
}

/// Each look-up is told something else, in an order that nobody knows. Whoever resolved a name twice, once to judge it
/// and once to connect, would come to a denied address sooner or later.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_changes_is_judged_each_time() {
    let front = front().await;
    let tripwire = Tripwire::at(front.port()).await;
    let replies = [
        vec![ALLOWED],
        vec![DENIED],
        vec![METADATA],
        vec![ALLOWED, DENIED],
        vec![DENIED, ALLOWED],
        vec![DENIED_V6],
        vec![DENIED_V6, ALLOWED],
        vec![METADATA, DENIED, DENIED_V6],
    ];
    let rounds = budget(60, 2_000);
    let mut dice = Dice::from_seed(seed());
    // What was said last, for IPv4 and for IPv6.
    let said = Arc::new(Mutex::new([false; 2]));
    let server = {
        let said = Arc::clone(&said);
        NameServer::start(move |_, is_v6| {
            let reply = replies[dice.pick(replies.len())].clone();
            said.lock().unwrap()[usize::from(is_v6)] = !is_v6 && reply.contains(&ALLOWED);
            Reply::Addresses(reply)
        })
        .await
    };
    let mut outcomes = [0, 0];
    for round in 0..rounds {
        let asked = server.questions();
        let exchange = probe_by(&prober(&server), &order(&front)).await;
        // A look-up is two questions, for A and AAAA. There are more where the probe needed a second connection.
        let is_repeated = server.questions() > asked + 2;
        let [allowed, _] = *said.lock().unwrap();
        let outcome = told(None, &exchange);
        let fits = match outcome.split(' ').next() {
            Some("Connected") => allowed || is_repeated,
            // The second: no address of the type that was asked for.
            Some("HostDenied" | "DnsFailed") => !allowed || is_repeated,
            _ => false,
        };
        assert!(fits, "round {round}: {outcome}");
        outcomes[usize::from(allowed)] += 1;
        assert_eq!(
            tripwire.visits.load(Ordering::SeqCst),
            0,
            "round {round}: {outcome}"
        );
    }
    assert!(outcomes.iter().all(|count| *count > 0), "{outcomes:?}");
}

/// A probe goes by one look-up; the next one looks again.
#[tokio::test]
async fn one_look_up_for_a_probe() {
    let front = front().await;
    let tripwire = Tripwire::at(front.port()).await;
    let mut questions = 0;
    let server = NameServer::start(move |_, _| {
        questions += 1;
        Reply::Addresses(vec![if questions <= 2 { ALLOWED } else { DENIED }])
    })
    .await;
    let (prober, order) = (prober(&server), order(&front));
    for (probe, expected) in [
        "Connected",
        "HostDenied (GET /ping: the address is loopback, link-local, metadata, multicast or reserved)",
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(
            told(None, &probe_by(&prober, &order).await),
            expected,
            "probe {probe}"
        );
    }
    assert_eq!((front.traffic().connections, front.requests().len()), (1, 4));
    assert_eq!(tripwire.visits.load(Ordering::SeqCst), 0);
}

/// What a server may say, and what a user is told.
#[tokio::test]
async fn whatever_a_server_says() {
    let front = front().await;
    let tripwire = Tripwire::at(front.port()).await;
    let many: Vec<IpAddr> = (1..=60).map(|last| IpAddr::from([127, 0, 9, last])).collect();
    for (what, reply, expected) in [
        ("the bridge", Reply::Addresses(vec![ALLOWED]), "Connected"),
        (
            "the bridge by an alias",
            Reply::Aliases(1, vec![ALLOWED]),
            "Connected",
        ),
        (
            "denied",
            Reply::Addresses(vec![DENIED]),
            "HostDenied (GET /ping: the address is loopback, link-local, metadata, multicast or reserved)",
        ),
        (
            "denied by an alias",
            Reply::Aliases(1, vec![METADATA]),
            "HostDenied (GET /ping: the address is loopback, link-local, metadata, multicast or reserved)",
        ),
        (
            "sixty denied",
            Reply::Addresses(many),
            "HostDenied (GET /ping: the address is loopback, link-local, metadata, multicast or reserved)",
        ),
        (
            // As kubernetes.default.svc is one.
            "the API server",
            Reply::Addresses(vec![API_SERVER]),
            "HostDenied (GET /ping: the address is the Kubernetes API server's)",
        ),
        (
            "a denied one among sixty-one",
            Reply::Addresses([vec![DENIED; 60], vec![ALLOWED]].concat()),
            "Connected",
        ),
        (
            "mapped",
            Reply::Addresses(vec!["::ffff:169.254.169.254".parse().unwrap()]),
            "HostDenied (GET /ping: the address is loopback, link-local, metadata, multicast or reserved)",
        ),
        (
            "NAT64",
            Reply::Addresses(vec!["64:ff9b::7f00:3".parse().unwrap()]),
            "HostDenied (GET /ping: the address is loopback, link-local, metadata, multicast or reserved)",
        ),
        (
            "nothing",
            Reply::Addresses(Vec::new()),
            "DnsFailed (GET /ping: the name servers know no address for the name)",
        ),
        (
            "no such name",
            Reply::NoSuchName,
            "DnsFailed (GET /ping: the name servers know no address for the name)",
        ),
        (
            "a failure",
            Reply::Failure,
            "DnsFailed (GET /ping: the name servers answered with an error)",
        ),
        (
            "garbage",
            Reply::Garbage(vec![0xff; 400]),
            "DnsFailed (GET /ping: the name servers answered with an error)",
        ),
        (
            "a name that points at itself",
            Reply::Garbage(vec![0xc0, 29, 0, 1, 0, 1]),
            "DnsFailed (GET /ping: the name servers answered with an error)",
        ),
        (
            "nothing at all",
            Reply::Silence,
            "DnsFailed (GET /ping: no name server answered in time)",
        ),
    ] {
        let server = NameServer::start(move |_, _| reply.clone()).await;
        let mut order = order(&front);
        order.budget = AMPLE;
        let outcome = told(None, &probe_by(&prober(&server), &order).await);
        assert_eq!(outcome, expected, "{what}");
        assert_eq!(tripwire.visits.load(Ordering::SeqCst), 0, "{what}");
    }
}

/// Names that are never answered take nothing from others: no thread, and no place in a queue.
#[tokio::test]
async fn look_ups_that_hang_hold_up_no_other() {
    let front = front().await;
    let server = NameServer::start(|name, _| {
        if name == NAME {
            Reply::Addresses(vec![ALLOWED])
        } else {
            Reply::Silence
        }
    })
    .await;
    let lanes = Lanes::new(prober(&server));
    let hanging: Vec<_> = (0..600)
        .map(|number| {
            let order = order_for(
                &format!("https://hangs-{number}.test"),
                only(front.ca_pem().unwrap()),
            );
            let lanes = lanes.clone();
            tokio::spawn(async move { lanes.probe(order).await })
        })
        .collect();
    let all_asked = async {
        while server.questions() < 600 {
            tokio::task::yield_now().await;
        }
    };
    ends("six hundred look-ups begin", all_asked).await;
    let exchange = ends("a probe beside them", lanes.probe(order(&front))).await;
    assert_eq!(told(None, &exchange.unwrap()), "Connected");
    assert!(
        hanging.iter().all(|probe| !probe.is_finished()),
        "they hang still, and were not in the way"
    );
    for probe in hanging {
        probe.abort();
    }
}
