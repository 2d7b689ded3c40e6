//! A restart, an upgrade, another leader: what is known is kept, what has changed meanwhile is seen.

use serde_json::json;
use testbed::bed::{Bed, KEY, WRONG_KEY, answer, line, pings, status};

#[tokio::test]
async fn a_restart_keeps_verdicts_and_sees_what_has_changed() {
    let bed = Bed::new("restart").await;
    let [fresh, refused, changed, marker] = [
        bed.healthy_bridge().await,
        bed.healthy_bridge().await,
        bed.healthy_bridge().await,
        bed.healthy_bridge().await,
    ];
    let operator = bed.operator(&[]).await;
    bed.connect_well("fresh", &fresh).await;
    bed.secret("refused", WRONG_KEY).await;
    bed.connect("refused", &refused, json!({})).await;
    bed.connect_well("changed", &changed).await;
    bed.connect("missing", &marker, json!({})).await;
    bed.expect("fresh", "True Connected").await;
    bed.expect("refused", "False AuthFailed Stalled").await;
    bed.expect("changed", "True Connected").await;
    bed.expect("missing", "False SecretNotFound Reconciling").await;
    operator.stop().await;

    let mut tapes = [bed.tape("fresh").await, bed.tape("refused").await];
    let secret = bed.secret("changed", WRONG_KEY).await;
    bed.secret("missing", KEY).await;
    let operator = bed.operator(&[]).await;
    bed.judged("changed", &secret).await;
    bed.expect("changed", "False AuthFailed Stalled").await;
    bed.expect("missing", "True Connected").await;
    // Made after the restart, judged after everything that the restart led to.
    bed.connect_well("marker", &marker).await;
    bed.expect("marker", "True Connected").await;

    assert_eq!(pings(&fresh), 1);
    assert_eq!(pings(&refused), 1, "a refused key is not sent again");
    assert_eq!(pings(&changed), 2);
    assert_eq!(operator.probes().await, 3);
    for tape in &mut tapes {
        assert!(tape.so_far(&bed).await.is_empty(), "nothing was written");
    }
}

/// What stands in the bridge's place is no reason to send a refused key again, nor is a restart.
#[tokio::test]
async fn a_refusal_outlives_a_front_and_a_restart() {
    let bed = Bed::new("outlives").await;
    let (bridge, marker) = (bed.healthy_bridge().await, bed.healthy_bridge().await);
    let operator = bed.operator(&[]).await;
    bed.secret("corp", WRONG_KEY).await;
    bed.connect("corp", &bridge, json!({"interval": "60s", "timeout": "60s"}))
        .await;
    let refused = status(&bed.expect("corp", "False AuthFailed Stalled").await).refused_key_retry_time;
    assert!(refused.is_some());
    bridge.set(|state| state.fault("/ping", bridge_front::Fault::Html));
    let connection = bed.probe("corp").await;
    assert_eq!(line(&connection), "False AuthFailed Stalled", "a front is held");
    let held = status(&connection);
    assert_eq!(held.consecutive_failures, 1);
    assert_eq!(held.refused_key_retry_time, refused, "the key was not sent");
    assert!(held.next_probe_time >= refused, "{held:?}");
    operator.stop().await;

    bridge.set(|state| state.faults.clear());
    let operator = bed.operator(&[]).await;
    bed.connect_well("marker", &marker).await;
    bed.expect("marker", "True Connected").await;
    assert_eq!(operator.probes().await, 1);
    let connection = bed.probe("corp").await;
    assert_eq!(line(&connection), "False AuthFailed Stalled");
    // Times have whole seconds, and all of this may take less than one.
    assert!(status(&connection).refused_key_retry_time >= refused);
    assert_eq!(pings(&bridge), 3, "somebody asked for this one");
}

/// Thresholds count across restarts: the count is in the status.
#[tokio::test]
async fn a_restart_does_not_forget_failures() {
    let bed = Bed::new("count").await;
    let bridge = bed.healthy_bridge().await;
    let operator = bed.operator(&[]).await;
    bed.connect_well("corp", &bridge).await;
    bed.expect("corp", "True Connected").await;
    bridge.set(|state| state.fault("/", answer(502)));
    bed.probe("corp").await;
    assert_eq!(status(&bed.probe("corp").await).consecutive_failures, 2);
    operator.stop().await;

    let _operator = bed.operator(&[]).await;
    let connection = bed.probe("corp").await;
    assert_eq!(line(&connection), "False BridgeUnavailable Reconciling");
    assert_eq!(status(&connection).consecutive_failures, 3);
}

/// An object that was edited, or replaced, while nobody watched.
#[tokio::test]
async fn a_restart_sees_new_specifications() {
    let bed = Bed::new("meanwhile").await;
    let (one, other) = (bed.healthy_bridge().await, bed.healthy_bridge().await);
    let operator = bed.operator(&[]).await;
    bed.connect_well("edited", &one).await;
    bed.connect_well("asked", &one).await;
    bed.expect("edited", "True Connected").await;
    bed.expect("asked", "True Connected").await;
    operator.stop().await;

    let before = pings(&one);
    bed.edit("edited", json!({"url": other.url()})).await;
    bed.annotate("asked", "reconcile.fluxcd.io/requestedAt", "meanwhile")
        .await;
    let _operator = bed.operator(&[]).await;
    let connection = bed.expect("edited", "True Connected").await;
    assert_eq!(connection.metadata.generation, Some(2));
    bed.until("asked", "the echo", |object| {
        status(object).last_handled_reconcile_at.as_deref() == Some("meanwhile")
    })
    .await;
    assert_eq!((pings(&one), pings(&other)), (before + 1, 1));
}
