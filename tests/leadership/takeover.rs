//! The leader is killed, frozen, cut off, or asked to end; another goes on, and never do two of them work at once.

use std::time::{Duration, Instant};

use scim_bridge_operator::api::REQUESTED_AT_ANNOTATION;
use testbed::{
    bed::{Bed, DEADLINE, KEY},
    budget,
    supervise::Signal,
};
use tokio::task::JoinHandle;

use crate::replica::{Replica, TAKE_OVER, leader};

/// How often somebody asks for a probe: there is always something to do, and to do wrong.
const EVERY: Duration = Duration::from_millis(100);
const CONNECTIONS: usize = 8;

/// What befalls a leader.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Blow {
    Killed,
    /// In the middle of probes, for longer than the Lease; then it goes on.
    Frozen,
    /// From the API server; the bridge it still reaches.
    CutOff,
    AskedToEnd,
}

const BLOWS: [Blow; 4] = [Blow::Killed, Blow::Frozen, Blow::CutOff, Blow::AskedToEnd];

/// Asks for probes of all connections, again and again.
fn keep_busy(bed: &Bed<'static>) -> JoinHandle<()> {
    let api = bed.connections();
    tokio::spawn(async move {
        for turn in 0_u64.. {
            let name = format!("corp-{}", turn % CONNECTIONS as u64);
            let mark = serde_json::json!({
                "metadata": {"annotations": {REQUESTED_AT_ANNOTATION: turn.to_string()}}
            });
            let patch = kube::api::Patch::Merge(mark);
            api.patch(&name, &kube::api::PatchParams::default(), &patch)
                .await
                .unwrap();
            tokio::time::sleep(EVERY).await;
        }
    })
}

/// Waits until this replica has done something that only a leader may do, after this moment.
async fn works(replica: &Replica, after: Instant) -> Instant {
    let found = testbed::wait::until(DEADLINE, "the next leader to work", async || {
        replica.deeds().into_iter().find(|deed| *deed > after)
    });
    found
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", replica.identity))
}

/// Strikes the leader, and waits until another one works. Returns how long after its last sign of life that was.
async fn strike(bed: &Bed<'static>, replicas: &mut Vec<Replica>, blow: Blow, turn: usize) -> Duration {
    let identities: Vec<_> = replicas.iter().map(|replica| replica.identity.clone()).collect();
    let holder = leader(bed, &identities).await;
    let place = identities
        .iter()
        .position(|identity| *identity == holder)
        .unwrap();
    let struck = replicas.remove(place);
    works(&struck, Instant::now()).await;
    let sign_of_life = match blow {
        Blow::Killed => {
            struck.operator.process().kill().await.unwrap();
            struck.last_renewal()
        }
        Blow::Frozen => {
            // Half done: the bridge has been asked, and its answers lie in the leader's sockets when it wakes up.
            struck.relay.hold_answers();
            works(&struck, Instant::now()).await;
            struck.operator.signal(Signal::Stop).unwrap();
            struck.relay.pass_answers();
            struck.last_renewal()
        }
        Blow::CutOff => {
            struck.proxy.partition();
            struck.last_renewal()
        }
        Blow::AskedToEnd => {
            let asked = Instant::now();
            struck.operator.signal(Signal::Terminate).unwrap();
            asked
        }
    };
    let others: Vec<_> = replicas.iter().map(|replica| replica.identity.clone()).collect();
    let next = leader(bed, &others).await;
    let next = replicas.iter().find(|replica| replica.identity == next).unwrap();
    let begun = works(next, sign_of_life).await;
    if blow == Blow::Frozen {
        // A write whose connection was just being made cannot be held back; it is about a version that has passed, once
        // the next leader has written to each connection.
        let all = next.written() + 2 * CONNECTIONS;
        let written = testbed::wait::until(DEADLINE, "the next leader to write to all", async || {
            (next.written() >= all).then_some(())
        });
        written.await.unwrap_or_else(|error| panic!("{error}"));
        struck.operator.signal(Signal::Continue).unwrap();
    }
    if blow == Blow::Frozen || blow == Blow::CutOff {
        let ended = struck.operator.process().wait(DEADLINE).await.unwrap();
        assert_eq!(ended.code(), Some(1), "{blow:?}: it ends, and says so");
    }
    // Long enough for whatever the struck one had in mind: others have been at work for a while.
    works(next, Instant::now()).await;
    // A frozen leader may have made a connection for `/ping` a moment before: it sends that one request when it wakes, for
    // the HTTP client asks nobody between the connection and the request. It carries no key.
    let deeds = if blow == Blow::Frozen {
        struck.deeds_with_key()
    } else {
        struck.deeds()
    };
    let last = deeds.into_iter().max().unwrap();
    let first = next
        .deeds()
        .into_iter()
        .find(|deed| *deed > sign_of_life)
        .unwrap();
    assert!(
        last < first,
        "{blow:?}: the old leader was at work {:?} after the new one began; what it did, by the time after that: {}",
        last.duration_since(first),
        struck.story(first)
    );
    for idle in replicas
        .iter()
        .filter(|replica| replica.identity != next.identity)
    {
        assert!(
            idle.deeds().iter().all(|deed| *deed < sign_of_life),
            "{blow:?}: {} works though {} leads",
            idle.identity,
            next.identity
        );
    }
    replicas.push(Replica::start(bed, &format!("replica-{turn}")).await);
    begun.duration_since(sign_of_life)
}

#[tokio::test(flavor = "multi_thread")]
async fn never_two_at_once_and_never_none_for_long() {
    let bed = Bed::new("leadership").await;
    // Nobody is there: the way leads through the relays.
    let bridge = bed.healthy_bridge().await;
    for number in 0..CONNECTIONS {
        let name = format!("corp-{number}");
        bed.secret(&name, KEY).await;
        bed.connect(&name, &bridge, serde_json::json!({"timeout": "5s"}))
            .await;
    }
    let mut replicas = Vec::new();
    for identity in ["first", "second", "third"] {
        replicas.push(Replica::start(&bed, identity).await);
    }
    let busy = keep_busy(&bed);
    let mut turn = 0;
    for _ in 0..budget(1, 10) {
        for blow in BLOWS {
            turn += 1;
            let within = strike(&bed, &mut replicas, blow, turn).await;
            let bound = if blow == Blow::AskedToEnd {
                Duration::from_secs(2)
            } else {
                TAKE_OVER
            };
            eprintln!("{blow:?}: another works after {within:.1?}");
            assert!(within <= bound, "{blow:?}: another works after {within:?}");
        }
    }
    busy.abort();
}
