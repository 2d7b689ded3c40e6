//! One object that changes all the time.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bridge_front::Front;
use futures::future::join_all;
use scim_bridge_operator::api::REQUESTED_AT_ANNOTATION;
use serde_json::json;
use testbed::{
    bed::{Bed, DEADLINE, KEY, LOOPBACK, Proxy, pings},
    budget,
};
use tokio::time::{MissedTickBehavior, interval};

use crate::measure::{Memory, answered_within};

/// Probes of one object that changes all the time: so many at once, and then so many a second.
const BURST: f64 = 20.0;
const EACH_SECOND: f64 = 2.0;

/// Fails where the bridge was asked more often than one object may have it asked, in any stretch of time.
fn assert_bounded(what: &str, bridge: &Front) {
    let requests = bridge.requests();
    let times: Vec<Instant> = requests
        .iter()
        .filter(|request| request.path() == "/ping")
        .map(|request| request.at)
        .collect();
    for (first, from) in times.iter().enumerate() {
        for (last, to) in times.iter().enumerate().skip(first) {
            let stretch = to.duration_since(*from);
            // Twenty at once, with the time that one probe may be late itself.
            let most = BURST + 1.0 + EACH_SECOND * (stretch.as_secs_f64() + 1.0);
            let probes = u32::try_from(last - first + 1).unwrap();
            assert!(
                f64::from(probes) <= most,
                "{what}: {probes} probes within {stretch:?}: more than {most:.0}"
            );
        }
    }
}

/// Events a second about the object that is edited.
const EVENTS: usize = 500;
/// How many edit it at once.
const EDITORS: usize = 6;

/// As many edits as this machine can write, by several at once. What is missing to the rate are versions that have
/// passed, which a watch may repeat at any time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_without_end_cost_a_bounded_number_of_probes() {
    let bed = Bed::new("edits").await;
    let proxy = Proxy::new(&bed.kubeconfig).await;
    let flags = [&["--leader-elect=false"], &LOOPBACK[..]].concat();
    let operator = bed.spawn_as(proxy.kubeconfig(), &flags).await;
    operator.ready(DEADLINE).await.unwrap();
    let (busy, bystander) = (bed.healthy_bridge().await, bed.healthy_bridge().await);
    bed.connect_well("busy", &busy).await;
    bed.connect_well("bystander", &bystander).await;
    bed.expect("busy", "True Connected").await;
    bed.expect("bystander", "True Connected").await;
    let memory = Memory::of(&operator);
    let seconds = budget(4, 15);
    let (over, edits) = (AtomicBool::new(false), AtomicUsize::new(0));
    let passed = Mutex::new(vec![bed.get("busy").await]);
    let begun = Instant::now();
    let edit = join_all((0..EDITORS).map(async |_| {
        while !over.load(Ordering::Relaxed) {
            let number = edits.fetch_add(1, Ordering::Relaxed);
            // Sixty, then fifty-nine, and so on: each is another specification.
            let edited = bed
                .edit("busy", json!({"timeout": format!("{}s", 60 - number % 30)}))
                .await;
            passed.lock().unwrap().push(edited);
        }
    }));
    let repeat = async {
        let mut ticks = interval(Duration::from_secs(1) / u32::try_from(EVENTS).unwrap());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut sent = 0;
        while sent < EVENTS * seconds {
            ticks.tick().await;
            let repeated = {
                let passed = passed.lock().unwrap();
                json!(passed[sent % passed.len()])
            };
            proxy.inject("scimbridgeconnections", &repeated);
            sent += 1;
        }
        over.store(true, Ordering::Relaxed);
        sent
    };
    let ask = async {
        let mut latest = Duration::ZERO;
        while !over.load(Ordering::Relaxed) {
            latest = latest.max(answered_within(&bed, "bystander").await);
        }
        latest
    };
    let (_, sent, latest) = tokio::join!(edit, repeat, ask);
    let took = begun.elapsed();
    let last = Instant::now();
    let settled = bed.expect("busy", "True Connected").await;
    eprintln!(
        "{} edits and {sent} repeated events in {took:?}, {} probes, the last judged after {:?}; bystander answered within {latest:?}",
        edits.load(Ordering::Relaxed),
        pings(&busy),
        last.elapsed()
    );
    assert_eq!(
        settled.metadata.generation,
        Some(testbed::bed::observed(&settled))
    );
    memory.assert_grown_less_than(16 * 1024);
    assert_bounded("edits", &busy);
    let idle = pings(&busy);
    bed.probe("bystander").await;
    assert_eq!(pings(&busy), idle, "once judged, it is left alone");
}

/// What the bridge, or somebody behind it, does with the object each time it is asked.
#[derive(Clone, Copy, Debug)]
enum Change {
    Edit,
    Rotation,
    Request,
}

/// A probe leads to a change, and the change to a probe.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_changes_with_every_probe_does_not_run_hot() {
    let bed = Bed::new("loop").await;
    let _operator = bed.operator(&[]).await;
    let bystander = bed.healthy_bridge().await;
    bed.connect_well("bystander", &bystander).await;
    let time = Duration::from_secs(budget(14, 60));
    let begun = Instant::now();
    let run = async |name: &'static str, change: Change| {
        let bridge = bed.healthy_bridge().await;
        bed.connect_well(name, &bridge).await;
        let mut number = 0;
        while let Some(left) = time.checked_sub(begun.elapsed()) {
            if bridge.wait_for_requests(4 * (number + 1), left).await.is_err() {
                break;
            }
            number = bridge.requests().len() / 4;
            // The bridge has the new key before the Secret does.
            let further = format!("{KEY}-{number}");
            bridge.set(|state| state.further_keys = vec![further.as_str().into()]);
            match change {
                Change::Edit => drop(
                    bed.edit(name, json!({"timeout": format!("{}s", 60 - number % 30)}))
                        .await,
                ),
                Change::Rotation => drop(bed.secret(name, &further).await),
                Change::Request => drop(
                    bed.annotate(name, REQUESTED_AT_ANNOTATION, &number.to_string())
                        .await,
                ),
            }
        }
        bed.expect(name, "True Connected").await;
        eprintln!("{change:?}: {} probes in {time:?}", pings(&bridge));
        assert!(pings(&bridge) > 5, "{change:?}: the loop went round");
        assert_bounded(name, &bridge);
    };
    let ask = async {
        while begun.elapsed() < time {
            answered_within(&bed, "bystander").await;
        }
    };
    tokio::join!(
        run("edited", Change::Edit),
        run("rotated", Change::Rotation),
        run("requested", Change::Request),
        ask
    );
}
