//! Bridges that hang cost nobody else anything.

use scim_bridge_operator::{api::vocabulary::ConditionType, domain::conditions::find};
use serde_json::json;
use testbed::bed::{Bed, DEADLINE, Gate, KEY, LOOPBACK, WRONG_KEY, line, status};

/// With one place only, and far more bridges that hang than may be under way in their namespace.
#[tokio::test]
async fn a_namespace_of_bridges_that_hang_holds_up_no_other() {
    let hostile = Bed::new("hanging").await;
    let other = Bed::new("bystander").await;
    let namespaces = [hostile.namespace.as_str(), other.namespace.as_str()].join(",");
    let mut gates = Vec::new();
    for number in 0..10 {
        let (gate, bridge) = Gate::new(&hostile).await;
        hostile.connect_well(&format!("hangs-{number}"), &bridge).await;
        gates.push((gate, bridge));
    }
    let flags = [
        "--leader-elect=false",
        "--namespaces",
        &namespaces,
        "--concurrency=1",
    ];
    let operator = other
        .spawn_exactly_as(&other.kubeconfig, &[&flags, &LOOPBACK[..]].concat())
        .await;
    operator.ready(DEADLINE).await.unwrap();
    let bridge = other.healthy_bridge().await;
    other.connect_well("corp", &bridge).await;
    other.expect("corp", "True Connected").await;
    other.edit("corp", json!({"interval": "3h"})).await;
    other.expect("corp", "True Connected").await;
    other.probe("corp").await;
    for number in 0..10 {
        let hanging = hostile.get(&format!("hangs-{number}")).await;
        assert!(
            ["", "Unknown Progressing Reconciling"].contains(&line(&hanging).as_str()),
            "it hangs on: {}",
            line(&hanging)
        );
    }
    for (gate, _) in &gates {
        gate.open();
    }
    for number in 0..10 {
        hostile.expect(&format!("hangs-{number}"), "True Connected").await;
    }
}

/// A bridge is asked for one connection at a time. One that gets no turn within its timeout reports no time-out: the bridge
/// was not asked. It says what it waits for, and has its turn later.
#[tokio::test]
async fn a_bridge_that_is_busy_with_another_key() {
    let bed = Bed::new("busy-bridge").await;
    let (gate, bridge) = Gate::new(&bed).await;
    let operator = bed.operator(&[]).await;
    bed.secret("patient", KEY).await;
    bed.connect("patient", &bridge, json!({"timeout": "60s"})).await;
    gate.reached(&bridge).await;
    bed.secret("hasty", WRONG_KEY).await;
    bed.connect("hasty", &bridge, json!({"timeout": "1s"})).await;
    bed.until("hasty", "the wait for the bridge", |object| {
        line(object) == "Unknown Progressing Reconciling"
            && find(&status(object).conditions, ConditionType::Ready).is_some_and(|ready| {
                ready
                    .message
                    .contains("probes of other connections to this bridge")
            })
    })
    .await;
    assert_eq!(
        operator.count("pass_failures_total", "").await,
        0,
        "nothing has failed"
    );
    gate.open();
    bed.expect("patient", "True Connected").await;
    // The server behind the gate takes any key.
    bed.expect("hasty", "True Connected").await;
    assert_eq!(bridge.traffic().max_in_flight, 1, "requests at once");
}
