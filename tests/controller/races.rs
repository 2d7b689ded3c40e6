//! What happens to an object while it is probed: no verdict is written that is not about what is there.

use k8s_openapi::api::core::v1::Secret;
use scim_bridge_operator::api::v1alpha1::ScimBridgeConnection;
use serde_json::json;
use testbed::{
    bed::{Bed, DEADLINE, Gate, KEY, line, observed, pings, status, story},
    spec, wait,
};

const NOT_YET: &str = "Unknown Progressing Reconciling";

#[tokio::test]
async fn a_slow_first_probe_says_that_nothing_is_proven_yet() {
    let bed = Bed::new("slow").await;
    let (gate, bridge) = Gate::new(&bed).await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", KEY).await;
    let mut tape = bed.tape("corp").await;
    bed.connect("corp", &bridge, json!({})).await;
    let connection = bed.expect("corp", NOT_YET).await;
    assert_eq!(observed(&connection), -1, "nothing was observed");
    gate.open();
    bed.expect("corp", "True Connected").await;

    // A new specification is not covered by the verdict about the old one.
    let (gate, slow) = Gate::new(&bed).await;
    bed.edit("corp", json!({"url": slow.url()})).await;
    let connection = bed.expect("corp", NOT_YET).await;
    assert_eq!(observed(&connection), 1);
    assert_eq!(status(&connection).binding, None);
    gate.open();
    bed.expect("corp", "True Connected").await;
    let versions = tape.so_far(&bed).await;
    assert_eq!(
        story(&versions),
        ["", NOT_YET, "True Connected", NOT_YET, "True Connected"]
    );
    assert_eq!((pings(&bridge), pings(&slow)), (1, 1));
}

/// A slow probe of what is proven already takes nothing back.
#[tokio::test]
async fn a_slow_routine_probe_says_nothing() {
    let bed = Bed::new("routine").await;
    let (gate, bridge) = Gate::new(&bed).await;
    let _operator = bed.operator(&[]).await;
    gate.open();
    bed.connect_well("corp", &bridge).await;
    bed.expect("corp", "True Connected").await;

    gate.close();
    bridge.clear_requests();
    let mut tape = bed.tape("corp").await;
    bed.annotate("corp", "reconcile.fluxcd.io/requestedAt", "now")
        .await;
    gate.reached(&bridge).await;
    // A slow first probe, begun later, says so after two seconds: so could the one before it have done.
    bed.connect_well("marker", &bridge).await;
    bed.expect("marker", NOT_YET).await;
    gate.open();
    bed.expect("marker", "True Connected").await;
    bed.until("corp", "the echo", |object| {
        status(object).last_handled_reconcile_at.as_deref() == Some("now")
    })
    .await;
    assert_eq!(story(&tape.so_far(&bed).await), ["True Connected"]);
}

#[tokio::test]
async fn a_verdict_is_not_stamped_on_another_object_of_that_name() {
    let bed = Bed::new("replaced").await;
    let (gate, bridge) = Gate::new(&bed).await;
    let _operator = bed.operator(&[]).await;
    let first = bed.connect_well("corp", &bridge).await;
    gate.reached(&bridge).await;
    bed.delete::<ScimBridgeConnection>("corp").await;
    wait::until_gone(DEADLINE, &bed.connections(), "corp")
        .await
        .unwrap();
    let mut tape = bed.tape("corp").await;
    let absent = spec().secret("absent");
    let second = bed.connect("corp", &bridge, absent).await;
    assert_ne!(first.metadata.uid, second.metadata.uid);
    assert_eq!(first.metadata.generation, second.metadata.generation);
    gate.open();
    let missing = "False SecretNotFound Reconciling";
    bed.expect("corp", missing).await;
    bed.probe("corp").await;
    assert_eq!(story(&tape.so_far(&bed).await), ["", missing]);
    assert_eq!(pings(&bridge), 1);
}

#[tokio::test]
async fn a_deleted_object_is_not_missed() {
    let bed = Bed::new("deleted").await;
    let (gate, bridge) = Gate::new(&bed).await;
    let operator = bed.operator(&[]).await;
    bed.connect_well("corp", &bridge).await;
    gate.reached(&bridge).await;
    bed.delete::<ScimBridgeConnection>("corp").await;
    wait::until_gone(DEADLINE, &bed.connections(), "corp")
        .await
        .unwrap();
    gate.open();
    bed.connect_well("marker", &bridge).await;
    bed.expect("marker", "True Connected").await;
    assert_eq!(operator.count("pass_failures_total", "").await, 0);
    assert_eq!(operator.count("connections", "").await, 1);
}

#[tokio::test]
async fn a_verdict_is_not_stamped_on_a_newer_specification() {
    let bed = Bed::new("edited").await;
    let (gate, bridge) = Gate::new(&bed).await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", KEY).await;
    let mut tape = bed.tape("corp").await;
    bed.connect("corp", &bridge, json!({})).await;
    gate.reached(&bridge).await;
    bed.edit("corp", spec().secret("absent")).await;
    gate.open();
    let missing = "False SecretNotFound Reconciling";
    bed.expect("corp", missing).await;
    bed.probe("corp").await;
    let versions = tape.so_far(&bed).await;
    let lines = story(&versions);
    assert!(
        lines
            .iter()
            .all(|line| ["", NOT_YET, missing].contains(&line.as_str())),
        "{lines:?}"
    );
    assert_eq!(pings(&bridge), 1);
}

#[tokio::test]
async fn a_label_that_changes_under_a_probe_neither_repeats_nor_loses_it() {
    let bed = Bed::new("labelled").await;
    let (gate, bridge) = Gate::new(&bed).await;
    let operator = bed.operator(&[]).await;
    bed.connect_well("corp", &bridge).await;
    gate.reached(&bridge).await;
    for label in ["one", "two"] {
        bed.label("corp", label).await;
    }
    gate.open();
    bed.expect("corp", "True Connected").await;
    assert_eq!(pings(&bridge), 1);
    bed.probe("corp").await;
    assert_eq!(pings(&bridge), 2);
    assert_eq!(operator.count("pass_failures_total", "").await, 0);
}

/// A request that arrives while a probe is under way is about the time after it.
#[tokio::test]
async fn a_request_during_a_probe_is_answered_by_another() {
    let bed = Bed::new("asked").await;
    let (gate, bridge) = Gate::new(&bed).await;
    let _operator = bed.operator(&[]).await;
    bed.connect_well("corp", &bridge).await;
    gate.reached(&bridge).await;
    bed.annotate("corp", "reconcile.fluxcd.io/requestedAt", "meanwhile")
        .await;
    bed.expect("corp", NOT_YET).await;
    gate.open();
    let connection = bed
        .until("corp", "the echo", |object| {
            status(object).last_handled_reconcile_at.is_some()
        })
        .await;
    assert_eq!(line(&connection), "True Connected");
    assert_eq!(pings(&bridge), 2);
}

#[tokio::test]
async fn a_secret_that_is_replaced_under_a_probe_is_probed_too() {
    let bed = Bed::new("swapped").await;
    let (gate, bridge) = Gate::new(&bed).await;
    let _operator = bed.operator(&[]).await;
    bed.connect_well("corp", &bridge).await;
    gate.reached(&bridge).await;
    // `/health` has accepted the old key by now; from here on only the new one is good.
    bed.delete::<Secret>("corp").await;
    let secret = bed.secret("corp", "canary-key-that-is-newer").await;
    bridge.set(|state| state.key = "canary-key-that-is-newer".into());
    gate.open();
    let connection = bed.judged("corp", &secret).await;
    assert_eq!(line(&connection), "True Connected");
    bed.probe("corp").await;
    assert_eq!(pings(&bridge), 3, "the old key, the new key, and as asked for");
}
