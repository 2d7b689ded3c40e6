//! Asked for, by time, after failures: what leads to a probe, and what a probe writes.

use bridge_front::{Content, Fault};
use scim_bridge_operator::api::REQUESTED_AT_ANNOTATION;
use serde_json::json;
use testbed::bed::{Bed, DEADLINE, KEY, WRONG_KEY, line, pings, status};

fn away() -> Fault {
    Fault::lasting(503, Content::Json)
}

#[tokio::test]
async fn a_request_is_one_probe_and_is_echoed() {
    let bed = Bed::new("request").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&[]).await;
    bed.connect_well("corp", &bridge).await;
    bed.expect("corp", "True Connected").await;
    let long = "2026-01-01T00:00:00Z ".repeat(20);
    let cases = [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("", ""),
        ("whatever", "whatever"),
        (&long, &long[..256]),
    ];
    for (already, (request, echo)) in cases.into_iter().enumerate() {
        bed.annotate("corp", REQUESTED_AT_ANNOTATION, request).await;
        bed.until("corp", "the echo", |object| {
            status(object).last_handled_reconcile_at.as_deref() == Some(echo)
        })
        .await;
        assert_eq!(pings(&bridge), already + 2, "after {request:?}");
    }
    // The same value again is no request; nor is its removal.
    bed.annotate("corp", REQUESTED_AT_ANNOTATION, &long).await;
    bed.label("corp", "touched").await;
    bed.patch::<scim_bridge_operator::api::v1alpha1::ScimBridgeConnection>(
        "corp",
        json!({"metadata": {"annotations": {REQUESTED_AT_ANNOTATION: null}}}),
    )
    .await;
    bed.probe("corp").await;
    assert_eq!(pings(&bridge), 6);
}

#[tokio::test]
async fn a_probe_is_one_write_and_the_write_is_no_probe() {
    let bed = Bed::new("writes").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", KEY).await;
    let mut tape = bed.tape("corp").await;
    bed.connect("corp", &bridge, json!({})).await;
    bed.expect("corp", "True Connected").await;
    for _ in 0..3 {
        bed.probe("corp").await;
    }
    bridge.set(|state| state.key = "canary-another-key".into());
    bed.probe("corp").await;
    let versions = tape.so_far(&bed).await;
    // Created and judged, then four times asked for and judged.
    assert_eq!(versions.len(), 2 + 4 * 2);
    let judged = versions
        .windows(2)
        .filter(|pair| pair[0].status != pair[1].status);
    assert_eq!(judged.count(), 5);
    assert_eq!(pings(&bridge), 5);
}

/// Where only the clock has moved nothing is written: neither by the regular probe nor by retries beyond the threshold.
#[tokio::test]
async fn a_probe_without_news_is_not_written() {
    let bed = Bed::new("routine").await;
    let (healthy, failing) = (bed.healthy_bridge().await, bed.healthy_bridge().await);
    failing.set(|state| state.fault("/", Fault::status(503, Content::Html)));
    let operator = bed.operator(&[]).await;
    for (name, bridge) in [("healthy", &healthy), ("failing", &failing)] {
        bed.secret(name, KEY).await;
        let soon = json!({"interval": "30s", "timeout": "30s", "failureThreshold": 1});
        bed.connect(name, bridge, soon).await;
    }
    bed.expect("healthy", "True Connected").await;
    bed.expect("failing", "False BridgeUnavailable Reconciling").await;
    let mut tapes = [bed.tape("healthy").await, bed.tape("failing").await];

    let asked = |times| {
        move |traffic: &bridge_front::Traffic| {
            traffic
                .requests
                .iter()
                .filter(|request| request.path() == "/ping")
                .count()
                >= times
        }
    };
    healthy.wait_until(asked(2), DEADLINE).await.unwrap();
    failing.wait_until(asked(3), DEADLINE).await.unwrap();
    // A probe that was asked for comes after the end of the one that is running.
    for (name, tape) in ["healthy", "failing"].into_iter().zip(&mut tapes) {
        bed.probe(name).await;
        let written = tape.so_far(&bed).await;
        assert_eq!(
            written.len(),
            2,
            "{name}: the request and its answer, nothing before"
        );
    }
    // Nor is anything logged for people: the first verdict, and the request's answer.
    let events = operator.events();
    let told = events.iter().filter(|event| {
        event["name"] == "healthy" && event["reason"].is_string() && event["level"] != "DEBUG"
    });
    assert_eq!(told.count(), 2, "{events:#?}");
    let unwritten = operator.count("verdicts_total", "unchanged").await;
    assert!(unwritten >= 3, "{unwritten} probes had nothing new to say");
}

/// With a heartbeat of a second every retry is one.
#[tokio::test]
async fn the_heartbeat_is_written() {
    let bed = Bed::new("heartbeat").await;
    let bridge = bed.healthy_bridge().await;
    bridge.set(|state| state.fault("/", Fault::status(500, Content::Empty)));
    let operator = bed.operator(&["--heartbeat", "1s"]).await;
    bed.secret("corp", KEY).await;
    bed.connect("corp", &bridge, json!({"failureThreshold": 1})).await;
    let first = bed.expect("corp", "False BridgeError Reconciling").await;
    let mut tape = bed.tape("corp").await;
    let written = tape.until("heartbeat", |_| true).await;
    let (before, after) = (status(&first), status(&written[0]));
    assert!(before.last_probe_time < after.last_probe_time);
    assert!(before.valid_until < after.valid_until);
    assert_eq!(before.conditions, after.conditions);
    assert_eq!(operator.count("verdicts_total", "heartbeat").await, 1);
}

#[tokio::test]
async fn a_verdict_is_held_until_the_threshold() {
    let bed = Bed::new("threshold").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", KEY).await;
    bed.connect("corp", &bridge, json!({"failureThreshold": 3})).await;
    let proven = status(&bed.expect("corp", "True Connected").await);

    bridge.set(|state| state.fault("/", away()));
    for failures in 1..=2 {
        let connection = bed.probe("corp").await;
        assert_eq!(line(&connection), "True Connected");
        let held = status(&connection);
        assert_eq!(held.consecutive_failures, failures);
        assert_eq!(held.binding, proven.binding);
        assert_eq!(held.valid_until, proven.valid_until, "it is not proven anew");
    }
    let connection = bed.probe("corp").await;
    assert_eq!(line(&connection), "False BridgeUnavailable Reconciling");
    assert_eq!(status(&connection).consecutive_failures, 3);
    assert_eq!(status(&connection).binding, None);

    bridge.set(|state| state.faults.clear());
    let connection = bed.probe("corp").await;
    assert_eq!(line(&connection), "True Connected");
    assert_eq!(status(&connection).consecutive_failures, 0);
    assert_eq!(pings(&bridge), 5);
}

/// A bridge that fails says nothing about the key.
#[tokio::test]
async fn a_refused_key_stays_refused_while_the_bridge_fails() {
    let bed = Bed::new("refused").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", WRONG_KEY).await;
    bed.connect("corp", &bridge, json!({"failureThreshold": 1})).await;
    bed.expect("corp", "False AuthFailed Stalled").await;
    bridge.set(|state| state.fault("/", away()));
    for asked_before in 1..4 {
        let connection = bed.probe("corp").await;
        assert_eq!(line(&connection), "False AuthFailed Stalled");
        assert_eq!(pings(&bridge), asked_before + 1);
    }
    // A new key is another matter: the old verdict is not about it.
    let secret = bed.secret("corp", KEY).await;
    bed.judged("corp", &secret).await;
    bed.expect("corp", "False BridgeUnavailable Reconciling").await;
    bridge.set(|state| state.faults.clear());
    bed.probe("corp").await;
    bed.expect("corp", "True Connected").await;
}

/// Without anybody asking: the retries come, and the recovery is seen.
#[tokio::test]
async fn a_failing_bridge_is_retried() {
    let bed = Bed::new("retries").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&[]).await;
    bridge.set(|state| state.fault("/", Fault::Close));
    bed.connect_well("corp", &bridge).await;
    bed.expect("corp", "False ConnectFailed Reconciling").await;
    bridge.set(|state| state.faults.clear());
    bed.expect("corp", "True Connected").await;
}
