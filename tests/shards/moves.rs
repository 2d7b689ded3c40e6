//! A connection whose label changes goes from one shard to another, with all that is known of it.

use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use testbed::{
    bed::{Bed, DEADLINE, Gate, KEY, WRONG_KEY, pings, status},
    spec, wait,
};

use crate::fleet::{DEFAULT, Fleet, assign, connect, create};

#[tokio::test]
async fn a_connection_that_moves_takes_its_verdict_along() {
    let bed = Bed::new("moves").await;
    let fleet = Fleet::start(&bed, &["a", "b"]).await;
    let mut bridges = Vec::new();
    for (name, label) in [
        ("from-a", Some("a")),
        ("from-b", Some("b")),
        ("from-none", None),
        ("from-unknown", Some("c")),
        ("stays-a", Some("a")),
        ("stays-b", Some("b")),
        ("stays-none", None),
    ] {
        bridges.push((name, connect(&bed, name, label).await));
    }
    let moves = [
        ("from-a", Some("b"), "b"),
        ("from-b", None, DEFAULT),
        ("from-none", Some("a"), "a"),
        ("from-unknown", Some("b"), "b"),
    ];
    let mut tapes = Vec::new();
    for (name, label, _) in moves {
        tapes.push((bed.tape(name).await, bed.get(name).await));
        assign(&bed, name, label).await;
    }
    fleet
        .until(&[
            ("a", &["from-none", "stays-a"]),
            ("b", &["from-a", "from-unknown", "stays-b"]),
            (DEFAULT, &["from-b", "stays-none"]),
        ])
        .await;
    // Answered after everything that the moves led to.
    for name in ["stays-a", "stays-b", "stays-none"] {
        bed.probe(name).await;
    }
    for (tape, before) in &mut tapes {
        let versions = tape.so_far(&bed).await;
        assert_eq!(versions.len(), 1, "the label, and no write: {versions:#?}");
        assert_eq!(versions[0].status, before.status);
    }
    for (name, bridge) in &bridges {
        let asked = if name.starts_with("stays") { 2 } else { 1 };
        assert_eq!(pings(bridge), asked, "{name}");
    }
    // From now on it is the new shard that answers, and no other.
    for (name, _, shard) in moves {
        let mut expected = fleet.probes().await;
        *expected.get_mut(shard).unwrap() += 1;
        bed.probe(name).await;
        assert_eq!(fleet.probes().await, expected, "{name}");
    }
    // The old one has forgotten its Secret too.
    let before = fleet.probes().await;
    bridges[0]
        .1
        .set(|state| state.further_keys = vec!["canary-key-the-second".into()]);
    let secret = bed.secret("from-a", "canary-key-the-second").await;
    bed.judged("from-a", &secret).await;
    bed.probe("stays-a").await;
    let after = fleet.probes().await;
    assert_eq!(
        ["a", "b", DEFAULT].map(|shard| after[shard] - before[shard]),
        [1, 1, 0]
    );
}

/// The probe comes to its end where it began. What it found counts; series of the connection are the new shard's.
#[tokio::test]
async fn a_connection_that_moves_while_it_is_probed_has_series_in_one_shard() {
    let bed = Bed::new("midway").await;
    let fleet = Fleet::start(&bed, &["a", "b"]).await;
    let (gate, bridge) = Gate::new(&bed).await;
    bed.secret("corp", KEY).await;
    create(&bed, "corp", Some("a"), &bridge, spec()).await;
    gate.reached(&bridge).await;
    assign(&bed, "corp", Some("b")).await;
    fleet.until(&[("a", &[]), ("b", &["corp"]), (DEFAULT, &[])]).await;
    gate.open();
    let judged = wait::until(DEADLINE, "the probe to end where it began", async || {
        (fleet.of("a").probes().await == 1).then_some(())
    });
    judged.await.unwrap_or_else(|error| panic!("{error}"));
    bed.expect("corp", "True Connected").await;
    fleet.until(&[("a", &[]), ("b", &["corp"]), (DEFAULT, &[])]).await;
    bed.probe("corp").await;
    assert_eq!(fleet.of("a").probes().await, 1);
}

/// Reason and reporter of each event about a connection, oldest first.
async fn told(bed: &Bed<'_>, name: &str) -> Vec<(String, String)> {
    let events = bed.api::<Event>().list(&ListParams::default()).await.unwrap();
    let mut events: Vec<_> = events
        .into_iter()
        .filter(|event| event.regarding.as_ref().unwrap().name.as_deref() == Some(name))
        .collect();
    events.sort_by_key(|event| event.event_time.clone().unwrap().0);
    let told = events.into_iter().map(|event| {
        let instance = event.reporting_instance.unwrap();
        let shard = instance.rsplit_once('-').unwrap().0.to_owned();
        (event.reason.unwrap(), shard)
    });
    told.collect()
}

/// Waits until this has been told of a connection, and nothing else.
async fn expect_told(bed: &Bed<'_>, name: &str, expected: &[(&str, &str)]) {
    let found = wait::until(DEADLINE, "these events", async || {
        let told = told(bed, name).await;
        let told: Vec<_> = told
            .iter()
            .map(|(reason, shard)| (reason.as_str(), shard.as_str()))
            .collect();
        if told == expected {
            Ok(())
        } else {
            Err(format!("{told:?}"))
        }
    });
    found.await.unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[tokio::test]
async fn events_of_a_connection_come_from_its_shard() {
    let bed = Bed::new("events").await;
    let fleet = Fleet::start(&bed, &["a", "b"]).await;
    let bridge = bed.healthy_bridge().await;
    for name in ["moves", "stays"] {
        bed.secret(name, WRONG_KEY).await;
        create(&bed, name, Some("a"), &bridge, spec()).await;
        expect_told(&bed, name, &[("AuthFailed", "a")]).await;
    }
    assign(&bed, "moves", Some("b")).await;
    fleet
        .until(&[("a", &["stays"]), ("b", &["moves"]), (DEFAULT, &[])])
        .await;
    for name in ["moves", "stays"] {
        let secret = bed.secret(name, KEY).await;
        let judged = bed.judged(name, &secret).await;
        assert!(status(&judged).binding.is_some());
    }
    expect_told(&bed, "moves", &[("AuthFailed", "a"), ("Connected", "b")]).await;
    // Events of a shard go out one after the other: what it had to say before has been said.
    expect_told(&bed, "stays", &[("AuthFailed", "a"), ("Connected", "a")]).await;
    expect_told(&bed, "moves", &[("AuthFailed", "a"), ("Connected", "b")]).await;
}
