//! Bridges that hang cost nobody else anything.

use serde_json::json;

use crate::{
    bed::{Bed, DEADLINE, LOOPBACK, line},
    gate::Gate,
};

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
