//! At any time each connection is in one shard, and in one only.

use std::collections::BTreeMap;

use testbed::{
    bed::{Bed, KEY, pings},
    spec,
};

use crate::fleet::{DEFAULT, Fleet, connect, create};

/// One with each kind of label, and what it leads to.
const LABELS: [(&str, Option<&str>, &str); 8] = [
    ("a-1", Some("a"), "a"),
    ("a-2", Some("a"), "a"),
    ("b-1", Some("b"), "b"),
    ("b-2", Some("b"), "b"),
    ("none", None, DEFAULT),
    ("unknown", Some("c"), DEFAULT),
    ("empty", Some(""), DEFAULT),
    ("default", Some(DEFAULT), DEFAULT),
];

#[tokio::test]
async fn each_connection_is_probed_by_one_shard_whatever_its_label() {
    let bed = Bed::new("partition").await;
    let fleet = Fleet::start(&bed, &["a", "b"]).await;
    let mut bridges = Vec::new();
    for (name, label, _) in LABELS {
        bridges.push((name, connect(&bed, name, label).await));
    }
    fleet
        .until(&[
            ("a", &["a-1", "a-2"]),
            ("b", &["b-1", "b-2"]),
            (DEFAULT, &["none", "unknown", "empty", "default"]),
        ])
        .await;
    for (name, bridge) in &bridges {
        assert_eq!(pings(bridge), 1, "{name}");
    }
    let probes = BTreeMap::from([("a", 2), ("b", 2), (DEFAULT, 4)]);
    assert_eq!(fleet.probes().await, probes);
}

/// Each shard watches all Secrets, and knows of those that its connections name.
#[tokio::test]
async fn a_rotation_wakes_the_shard_of_the_connection_only() {
    let bed = Bed::new("rotation").await;
    let fleet = Fleet::start(&bed, &["a", "b"]).await;
    let bridge = bed.healthy_bridge().await;
    for (name, label, _) in LABELS {
        bed.secret(name, KEY).await;
        create(&bed, name, label, &bridge, spec()).await;
        bed.expect(name, "True Connected").await;
    }
    bridge.set(|state| {
        state.further_keys = vec!["canary-key-the-second".into(), "canary-key-the-third".into()];
    });
    let before = fleet.probes().await;
    let secret = bed.secret("a-1", "canary-key-the-second").await;
    bed.judged("a-1", &secret).await;
    // What else it led to had begun by the time that these were answered.
    for name in ["b-1", "none"] {
        bed.probe(name).await;
    }
    let after = fleet.probes().await;
    let woken = |shard| after[shard] - before[shard];
    assert_eq!(
        ["a", "b", DEFAULT].map(woken),
        [1, 1, 1],
        "the probe of each, and no more"
    );

    // A Secret that connections of two shards share wakes both, each for its own.
    for (name, label) in [("shared-a", "a"), ("shared-b", "b")] {
        bed.secret("shared", KEY).await;
        create(&bed, name, Some(label), &bridge, spec().secret("shared")).await;
        bed.expect(name, "True Connected").await;
    }
    let before = fleet.probes().await;
    let secret = bed.secret("shared", "canary-key-the-third").await;
    bed.judged("shared-a", &secret).await;
    bed.judged("shared-b", &secret).await;
    bed.probe("none").await;
    let after = fleet.probes().await;
    let woken = |shard| after[shard] - before[shard];
    assert_eq!(["a", "b", DEFAULT].map(woken), [1, 1, 1]);
}

#[tokio::test]
async fn a_restart_of_one_shard_disturbs_no_other() {
    let bed = Bed::new("apart").await;
    let mut fleet = Fleet::start(&bed, &["a", "b"]).await;
    let mut bridges = Vec::new();
    for (name, label, _) in LABELS {
        bridges.push((name, connect(&bed, name, label).await));
    }
    let leases = fleet.leases().await;
    fleet.stop("a").await;
    // The others work, and do not take over what is not theirs.
    for name in ["b-1", "none"] {
        bed.probe(name).await;
    }
    fleet
        .until(&[
            ("b", &["b-1", "b-2"]),
            (DEFAULT, &["none", "unknown", "empty", "default"]),
        ])
        .await;
    fleet.begin("a", &["a", "b"]).await;
    // Answered after everything that the restart led to.
    for name in ["a-1", "b-1", "none"] {
        bed.probe(name).await;
    }
    assert_eq!(fleet.probes().await["a"], 1, "verdicts that are valid are kept");
    for (name, bridge) in &bridges {
        let asked = match *name {
            "a-1" => 2,
            "b-1" | "none" => 3,
            _ => 1,
        };
        assert_eq!(pings(bridge), asked, "{name}");
    }
    let mut now = fleet.leases().await;
    assert!(
        now["a"].1 > leases["a"].1 && now["a"].0 != leases["a"].0,
        "{now:?}"
    );
    now.insert("a".to_owned(), leases["a"].clone());
    assert_eq!(now, leases, "nobody else had anything to do with it");
}

/// Shards come and go, with the labels before or after them; in the end each connection is in one of them, and all that
/// was known of it is known.
#[tokio::test]
async fn the_list_of_shards_may_change() {
    let bed = Bed::new("list").await;
    let mut fleet = Fleet::start(&bed, &["a"]).await;
    let mut bridges = Vec::new();
    for (name, label, _) in LABELS {
        bridges.push((name, connect(&bed, name, label).await));
    }
    fleet
        .until(&[
            ("a", &["a-1", "a-2"]),
            (DEFAULT, &["b-1", "b-2", "none", "unknown", "empty", "default"]),
        ])
        .await;
    // More, for connections that carry their label already.
    fleet.upgrade(&["a", "b", "c"]).await;
    fleet
        .until(&[
            ("a", &["a-1", "a-2"]),
            ("b", &["b-1", "b-2"]),
            ("c", &["unknown"]),
            (DEFAULT, &["none", "empty", "default"]),
        ])
        .await;
    // Fewer.
    fleet.upgrade(&["c"]).await;
    fleet
        .until(&[
            ("c", &["unknown"]),
            (DEFAULT, &["a-1", "a-2", "b-1", "b-2", "none", "empty", "default"]),
        ])
        .await;
    // None.
    fleet.upgrade(&[]).await;
    fleet.until(&[(DEFAULT, &LABELS.map(|(name, ..)| name))]).await;
    bed.probe("none").await;
    for (name, bridge) in &bridges {
        let asked = if *name == "none" { 2 } else { 1 };
        assert_eq!(
            pings(bridge),
            asked,
            "{name}: a change of the list is no reason to ask"
        );
    }
}
