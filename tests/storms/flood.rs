//! Events in such numbers that an operator which does something for each would not keep up.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use futures::future::join_all;
use scim_bridge_operator::api::v1alpha1::ObjectVersion;
use serde_json::{Value, json};
use testbed::{
    bed::{Bed, DEADLINE, LOOPBACK, Proxy, pings},
    budget,
};
use tokio::time::{MissedTickBehavior, interval};

use crate::measure::{Memory, answered_within};

/// Events a second on Secrets that nobody refers to.
const RATE: usize = 2_000;
/// They are sent in so many portions a second.
const PORTIONS: usize = 100;
/// How many real writers there are beside.
const WRITERS: usize = 4;

/// A Secret in this version, as a watch of metadata tells of it.
fn metadata(namespace: &str, name: &str, version: &ObjectVersion) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": {
            "name": name, "namespace": namespace, "uid": version.uid,
            "resourceVersion": version.resource_version,
            "annotations": {"filler": "x".repeat(512)},
        },
    })
}

/// The rate is the proxy's: between the events of the real API server it inserts others. Real writers write beside it
/// as fast as this machine can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_that_nobody_refers_to_cost_nothing() {
    let bed = Bed::new("flood").await;
    let proxy = Proxy::new(&bed.kubeconfig).await;
    let flags = [&["--leader-elect=false"], &LOOPBACK[..]].concat();
    let operator = bed.spawn_as(proxy.kubeconfig(), &flags).await;
    operator.ready(DEADLINE).await.unwrap();
    let (bystander, marker) = (bed.healthy_bridge().await, bed.healthy_bridge().await);
    bed.connect_well("bystander", &bystander).await;
    bed.connect_well("marker", &marker).await;
    bed.expect("bystander", "True Connected").await;
    bed.expect("marker", "True Connected").await;
    let version = bed.secret("unrelated", "canary-unrelated").await;
    let memory = Memory::of(&operator);

    let seconds = budget(3, 10);
    let (over, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    let begun = Instant::now();
    let insert = async {
        let mut ticks = interval(Duration::from_secs(1) / u32::try_from(PORTIONS).unwrap());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut sent = 0;
        while sent < RATE * seconds {
            ticks.tick().await;
            for _ in 0..RATE / PORTIONS {
                let unrelated = metadata(&bed.namespace, &format!("unrelated-{sent}"), &version);
                assert!(proxy.inject("secrets", &unrelated) > 0, "somebody watches");
                sent += 1;
            }
        }
        over.store(true, Ordering::Relaxed);
        sent
    };
    let write = join_all((0..WRITERS).map(async |writer| {
        while !over.load(Ordering::Relaxed) {
            bed.secret(
                &format!("real-{writer}"),
                &format!("canary-{}", written.load(Ordering::Relaxed)),
            )
            .await;
            written.fetch_add(1, Ordering::Relaxed);
        }
    }));
    let ask = async {
        let mut latest = Duration::ZERO;
        let mut asked = 0;
        while !over.load(Ordering::Relaxed) {
            latest = latest.max(answered_within(&bed, "bystander").await);
            asked += 1;
        }
        (latest, asked)
    };
    let (sent, _, (latest, asked)) = tokio::join!(insert, write, ask);
    let took = begun.elapsed();
    // Sent after all others: what it leads to shows that they were taken in.
    let of_marker = metadata(&bed.namespace, "marker", &version);
    let arrived = Instant::now();
    proxy.inject("secrets", &of_marker);
    marker
        .wait_until(
            |traffic| {
                traffic
                    .requests
                    .iter()
                    .filter(|request| request.path() == "/ping")
                    .count()
                    > 1
            },
            DEADLINE,
        )
        .await
        .unwrap_or_else(|unmet| panic!("{unmet}"));
    let behind = arrived.elapsed();
    eprintln!(
        "{sent} events inserted and {} written in {took:?}; bystander asked {asked} times, latest answer {latest:?}; \
         {behind:?} behind at the end; {memory}",
        written.load(Ordering::Relaxed)
    );
    assert!(
        behind < Duration::from_secs(5),
        "the operator lagged {behind:?} behind"
    );
    memory.assert_grown_less_than(4 * 1024);
    bed.probe("marker").await;
    assert_eq!(pings(&marker), 3, "the first, the inserted event, the request");
    assert_eq!(pings(&bystander), asked + 1, "one for each request and no more");
}
