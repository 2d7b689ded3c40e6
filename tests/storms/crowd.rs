//! Many objects at once.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, future::join_all, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use scim_bridge_operator::api::v1alpha1::ScimBridgeConnection;
use testbed::{
    bed::{Bed, DEADLINE, KEY, LOOPBACK, Operator, line, pings, status},
    budget, spec, wait,
};

use crate::measure::{Memory, answered_within};

/// Requests of a test that are under way together.
const AT_ONCE: usize = 16;

/// An operator for two namespaces: that of the crowd, and that of a bystander.
async fn operator(crowd: &Bed<'_>, other: &Bed<'_>) -> Operator {
    let namespaces = format!("{},{}", crowd.namespace, other.namespace);
    let flags = [
        &["--namespaces", &namespaces, "--leader-elect=false"],
        &LOOPBACK[..],
    ]
    .concat();
    let operator = crowd.spawn_exactly_as(&crowd.kubeconfig, &flags).await;
    operator.ready(DEADLINE).await.unwrap();
    operator
}

/// Asks for probes of the bystander until the storm is over; the longest wait for an answer.
async fn ask(other: &Bed<'_>, over: &AtomicBool) -> Duration {
    let mut latest = Duration::ZERO;
    while !over.load(Ordering::Relaxed) {
        latest = latest.max(answered_within(other, "bystander").await);
    }
    latest
}

/// A key that many share, replaced again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_many_share_may_be_rotated_all_the_time() {
    let (bed, other) = (Bed::new("shared").await, Bed::new("bystander").await);
    let (bridge, bystander) = (bed.healthy_bridge().await, other.healthy_bridge().await);
    let operator = operator(&bed, &other).await;
    other.connect_well("bystander", &bystander).await;
    other.expect("bystander", "True Connected").await;
    let memory = Memory::of(&operator);
    let (crowd, time) = (budget(50, 500), Duration::from_secs(budget(4, 30)));
    bed.secret("shared", KEY).await;
    let names: Vec<String> = (0..crowd).map(|number| format!("corp-{number}")).collect();
    let secret = spec().secret("shared");
    let made = stream::iter(&names).map(|name| bed.connect(name, &bridge, secret.clone()));
    made.buffer_unordered(AT_ONCE).count().await;

    let (over, begun) = (AtomicBool::new(false), Instant::now());
    let rotate = async {
        let mut rotations = 0;
        while begun.elapsed() < time {
            rotations += 1;
            let key = format!("{KEY}-{rotations}");
            // The bridge has the new key before the Secret does, and keeps the first.
            bridge.set(|state| state.further_keys = vec![key.as_str().into()]);
            bed.secret("shared", &key).await;
        }
        let last = bed.secret("shared", KEY).await;
        let rotated = Instant::now();
        for name in &names {
            bed.judged(name, &last).await;
            bed.expect(name, "True Connected").await;
        }
        over.store(true, Ordering::Relaxed);
        (rotations, rotated.elapsed())
    };
    let ((rotations, settled), latest) = tokio::join!(rotate, ask(&other, &over));
    let (passes, asked) = (operator.probes().await, pings(&bridge));
    eprintln!(
        "{rotations} rotations of a Secret of {crowd} connections in {time:?}; settled {settled:?} later; {passes} \
         passes, {asked} probes; bystander answered within {latest:?}; {memory}"
    );
    let most = bridge.traffic().max_in_flight;
    assert_eq!(most, 1, "one probe at a time to one bridge");
    memory.assert_grown_less_than(48 * 1024);
    let idle = pings(&bridge);
    other.probe("bystander").await;
    assert_eq!(pings(&bridge), idle, "once judged, they are left alone");
}

/// Made, and deleted before they are all judged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_that_come_and_go_leave_nothing_behind() {
    let (bed, other) = (Bed::new("crowd").await, Bed::new("bystander").await);
    let (bridge, bystander) = (bed.healthy_bridge().await, other.healthy_bridge().await);
    let operator = operator(&bed, &other).await;
    other.connect_well("bystander", &bystander).await;
    other.expect("bystander", "True Connected").await;
    let memory = Memory::of(&operator);
    let crowd: usize = budget(200, 3_000);
    bed.secret("shared", KEY).await;
    let over = AtomicBool::new(false);
    let come_and_go = async {
        let begun = Instant::now();
        let secret = spec().secret("shared");
        let names: Vec<String> = (0..crowd).map(|number| format!("corp-{number}")).collect();
        let made = stream::iter(&names).map(|name| bed.connect(name, &bridge, secret.clone()));
        made.buffer_unordered(AT_ONCE).count().await;
        let connections = bed.connections();
        let (all, every) = (DeleteParams::default(), ListParams::default());
        connections.delete_collection(&all, &every).await.unwrap();
        let took = begun.elapsed();
        let forgotten = wait::until(DEADLINE, "all to be forgotten", async || {
            let known = operator.count("connections", "").await;
            if known == 1 {
                Ok(())
            } else {
                Err(format!("{known} known"))
            }
        });
        forgotten.await.unwrap_or_else(|error| panic!("{error}"));
        over.store(true, Ordering::Relaxed);
        took
    };
    let (took, latest) = tokio::join!(come_and_go, ask(&other, &over));
    eprintln!(
        "{crowd} connections made and deleted in {took:?}; {} probes; bystander answered within {latest:?}; {memory}",
        pings(&bridge)
    );
    memory.assert_grown_less_than(48 * 1024);
    // Passes that were under way have ended by the time that later ones have.
    other.probe("bystander").await;
    let idle = pings(&bridge);
    let lasting = bed.healthy_bridge().await;
    bed.connect_well("last", &lasting).await;
    let last = bed.expect("last", "True Connected").await;
    assert_eq!(status(&last).consecutive_failures, 0);
    assert_eq!(pings(&bridge), idle, "nobody asks for those that are gone");
    let left: Vec<String> = bed
        .connections()
        .list(&ListParams::default())
        .await
        .unwrap()
        .iter()
        .map(|left: &ScimBridgeConnection| line(left))
        .collect();
    assert_eq!(left, ["True Connected"], "a status made nobody again");
    assert_eq!(operator.count("pass_panics_total", "").await, 0);
}

/// What nobody refers to passes through and is forgotten, however much it is, and however much metadata it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_list_of_fat_secrets_is_read_in_bounded_memory() {
    let (bed, none) = (Bed::new("fat").await, Bed::new("thin").await);
    let thin = none.operator(&[]).await;
    let bridge = none.healthy_bridge().await;
    none.connect_well("corp", &bridge).await;
    none.expect("corp", "True Connected").await;
    let usual = Memory::of(&thin).peak();

    for (what, count, annotation) in [
        ("many small", budget(400, 5_000), 512),
        ("fat", budget(150, 500), 200 * 1024),
    ] {
        let make = stream::iter(0..count).map(|number| {
            let secret = Secret {
                metadata: ObjectMeta {
                    name: Some(format!("{}-{number}", what.replace(' ', "-"))),
                    annotations: Some(BTreeMap::from([("filler".to_owned(), "x".repeat(annotation))])),
                    ..ObjectMeta::default()
                },
                ..Secret::default()
            };
            let api = bed.api::<Secret>();
            async move { drop(api.create(&PostParams::default(), &secret).await.unwrap()) }
        });
        make.buffer_unordered(AT_ONCE).count().await;
        let operator = bed.operator(&[]).await;
        let peak = Memory::of(&operator).peak();
        eprintln!("{count} {what} Secrets at the start: {peak} KiB, {usual} KiB without");
        assert!(
            peak < usual + 24 * 1024,
            "{count} {what} Secrets that nobody refers to took it from {usual} to {peak} KiB"
        );
    }
    let operator = bed.operator(&[]).await;
    let corps = join_all((0..3).map(async |number| {
        let (name, bridge) = (format!("corp-{number}"), bed.healthy_bridge().await);
        bed.connect_well(&name, &bridge).await;
        bed.expect(&name, "True Connected").await;
        pings(&bridge)
    }));
    assert_eq!(corps.await, [1, 1, 1]);
    drop(operator);
}
