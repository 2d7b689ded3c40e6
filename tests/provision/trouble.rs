//! Directories that cannot be read, and connections that lose their proof.

use bridge_front::{Content, Fault, directory::Total};
use scim_bridge_operator::{
    api::{connection::ScimBridgeConnection, group::ScimGroup, user::ScimUser, vocabulary::ConditionType},
    domain::connection::conditions::find,
};
use serde_json::json;
use testbed::bed::{Bed, DEADLINE, KEY, WRONG_KEY, answer, line, pings, status};

use crate::scene::{
    PEOPLE, all_provisioned, assert_only_reads, connect, declared, newcomer, people, read_again, reads,
    until_read, versions,
};

/// The condition comes with the failure and goes with the next complete read. Meanwhile the verdicts stand.
#[tokio::test]
async fn a_directory_that_cannot_be_read_is_said_and_no_verdict_falls() {
    let bed = Bed::with_provisioning("unread").await;
    let bridge = declared(&bed, "corp").await;
    let operator = bed.provider(&[]).await;
    all_provisioned(&bed).await;
    newcomer(&bed, "corp", "new", 1).await;
    let before = (
        versions::<ScimUser>(&bed).await,
        versions::<ScimGroup>(&bed).await,
    );
    let known = status(&bed.get("corp").await).provisioning;

    bridge.set(|state| state.fault("/scim/Groups", Fault::status(500, Content::Json)));
    read_again(&bed, "corp", "fails").await;
    let connection = bed.expect("corp", "True Connected DirectoryIncomplete").await;
    assert_eq!(status(&connection).provisioning, known, "the last counts stand");
    let condition = |connection: &ScimBridgeConnection| {
        find(&status(connection).conditions, ConditionType::DirectoryIncomplete).cloned()
    };
    let incomplete = condition(&connection).unwrap();
    assert_eq!(incomplete.reason, "PageFailed");

    // The controller of connections writes too: it neither removes the condition nor is led to further writes by it.
    let mut tape = bed.tape("corp").await;
    for _ in 0..2 {
        let connection = bed.probe("corp").await;
        assert_eq!(line(&connection), "True Connected DirectoryIncomplete");
        assert_eq!(condition(&connection).as_ref(), Some(&incomplete));
    }
    let written = tape.so_far(&bed).await;
    assert_eq!(written.len(), 4, "two requests, and an answer to each");

    // Judged after the failure, for nobody has seen this one.
    bed.scim_user("corp", "newer", json!({})).await;
    bed.expect_object::<ScimUser>("newer", "False DirectoryIncomplete Reconciling")
        .await;
    let mut users = versions::<ScimUser>(&bed).await;
    users.retain(|(name, _)| name != "newer");
    assert_eq!((users, versions::<ScimGroup>(&bed).await), before);

    // Without help of a probe, it is read again.
    let probes = pings(&bridge);
    bridge.set(|state| state.faults.clear());
    bed.expect_object::<ScimUser>("newer", "False ChangePlanned Stalled")
        .await;
    bed.expect("corp", "True Connected").await;
    assert_eq!(pings(&bridge), probes);
    operator.stop().await;
    assert_only_reads(&bridge);
}

/// A connection's name, what happens to its bridge, to its specification and to its key, and its line then.
type Loss = (
    &'static str,
    fn(&mut bridge_front::State),
    &'static str,
    &'static str,
    &'static str,
);

#[rustfmt::skip]
const LOSSES: [Loss; 3] = [
    ("suspended", |_| {}, r#"{"suspend": true}"#, KEY, ""),
    ("wrong-key", |_| {}, "{}", WRONG_KEY, "False AuthFailed Stalled"),
    ("down", |bridge| bridge.fault("/", answer(503)), r#"{"failureThreshold": 1}"#, KEY, "False BridgeUnavailable Reconciling"),
];

/// Verdicts outlive the proof, and a restart. Without either nobody new is judged, and the bridge is not asked.
#[tokio::test]
async fn a_connection_that_loses_its_proof_is_not_read() {
    let bed = Bed::with_provisioning("unproven").await;
    let operator = bed.provider(&[]).await;
    let mut bridges = Vec::new();
    for (name, ..) in LOSSES {
        let bridge = bed.directory(people()).start().await.unwrap();
        bed.secret(name, KEY).await;
        connect(&bed, name, &bridge, json!({})).await;
        bed.scim_user(
            name,
            &format!("ada-{name}"),
            json!({"userName": "ada@example.com"}),
        )
        .await;
        bridges.push(bridge);
    }
    for (name, ..) in LOSSES {
        bed.expect_object::<ScimUser>(&format!("ada-{name}"), "True Provisioned")
            .await;
    }
    let before = versions::<ScimUser>(&bed).await;
    for ((name, fault, spec, key, line), bridge) in LOSSES.iter().zip(&bridges) {
        bridge.set(fault);
        bed.edit(name, serde_json::from_str::<serde_json::Value>(spec).unwrap())
            .await;
        bed.secret(name, key).await;
        if !line.is_empty() {
            bed.probe(name).await;
            bed.expect(name, line).await;
        }
        bridge.clear_requests();
    }
    operator.stop().await;

    let operator = bed.provider(&[]).await;
    for (name, ..) in LOSSES {
        bed.scim_user(name, &format!("new-{name}"), json!({})).await;
        let line = "False ConnectionNotReady Reconciling";
        bed.expect_object::<ScimUser>(&format!("new-{name}"), line).await;
    }
    let mut users = versions::<ScimUser>(&bed).await;
    users.retain(|(name, _)| name.starts_with("ada"));
    assert_eq!(users, before);
    for bridge in &bridges {
        assert_eq!(reads(bridge), 0);
        bridge.set(|state| state.faults.clear());
    }
    // Proven again, each is read.
    for (name, ..) in LOSSES {
        bed.secret(name, KEY).await;
        bed.edit(name, json!({"suspend": false})).await;
        bed.probe(name).await;
        bed.expect_object::<ScimUser>(&format!("new-{name}"), "False ChangePlanned Stalled")
            .await;
    }
    operator.stop().await;
    bridges.iter().for_each(assert_only_reads);
}

/// A key that the bridge refuses is never used for a read, and a new one only after a probe has proven it.
#[tokio::test]
async fn a_new_key_reads_when_it_is_proven() {
    let bed = Bed::with_provisioning("rotated").await;
    let bridge = declared(&bed, "corp").await;
    let operator = bed.provider(&[]).await;
    all_provisioned(&bed).await;
    let new = "canary-key-that-is-new";
    let secret = bed.secret("corp", new).await;
    bed.judged("corp", &secret).await;
    bed.expect("corp", "False AuthFailed Stalled").await;
    // Judged later, by what was read before.
    bed.scim_user("corp", "new", json!({})).await;
    bed.expect_object::<ScimUser>("new", "False ChangePlanned Stalled")
        .await;
    assert_eq!(reads(&bridge), 1);
    bridge.set(|state| state.key = new.into());
    bridge
        .directory()
        .put_user(bridge_front::User::new("new@example.com", "Given", "Family"));
    bed.probe("corp").await;
    bed.expect_object::<ScimUser>("new", "True Provisioned").await;
    assert_eq!(reads(&bridge), 2);
    operator.stop().await;
    assert_only_reads(&bridge);
}

/// Directories that hang, never end or lie delay neither another directory nor a probe.
#[tokio::test]
async fn a_directory_in_trouble_delays_no_other() {
    let bed = Bed::with_provisioning("troubles").await;
    let operator = bed.provider(&[]).await;
    let mut bridges = Vec::new();
    for name in ["hangs", "endless", "lies"] {
        let bridge = bed.directory(people()).start().await.unwrap();
        bridge.set(|state| match name {
            "hangs" => state.fault("/scim/Groups", Fault::Silent),
            "endless" => state.habits.lists.endless = true,
            _ => state.habits.lists.total = Total::Changing,
        });
        bed.secret(name, KEY).await;
        connect(&bed, name, &bridge, json!({})).await;
        bed.scim_user(
            name,
            &format!("ada-{name}"),
            json!({"userName": "ada@example.com"}),
        )
        .await;
        until_read(&bridge, 1).await;
        bridges.push(bridge);
    }
    let honest = declared(&bed, "honest").await;
    all_provisioned(&bed).await;
    newcomer(&bed, "honest", "new", 1).await;
    for name in ["endless", "lies", "honest"] {
        assert!(line(&bed.probe(name).await).starts_with("True Connected"));
    }
    bed.expect("lies", "True Connected DirectoryIncomplete").await;
    for name in ["hangs", "endless", "lies"] {
        let ada = bed.api::<ScimUser>().get(&format!("ada-{name}")).await.unwrap();
        let status = ada.status.unwrap_or_default();
        assert_eq!((status.plan, status.id), (Vec::new(), None), "{name}");
    }
    for user in PEOPLE {
        bed.expect_object::<ScimUser>(user, "True Provisioned").await;
    }
    operator.stop().await;
    bridges.iter().for_each(assert_only_reads);
    assert_only_reads(&honest);
}

/// What is known serves until the read has ended, however long that takes.
#[tokio::test]
async fn a_change_does_not_wait_for_a_read() {
    let bed = Bed::with_provisioning("hanging").await;
    let bridge = declared(&bed, "corp").await;
    bed.edit("corp", json!({"interval": "30s", "timeout": "30s"}))
        .await;
    let operator = bed.provider(&[]).await;
    all_provisioned(&bed).await;
    bridge.set(|state| state.fault("/scim/Groups?startIndex=1&count=100", Fault::Silent));
    bridge.clear_requests();
    let hangs = |traffic: &bridge_front::Traffic| {
        let mut requests = traffic.requests.iter();
        requests.any(|request| request.target.ends_with("/scim/Groups?startIndex=1&count=100"))
    };
    let reached = bridge.wait_until(hangs, DEADLINE).await;
    reached.unwrap_or_else(|unmet| panic!("{unmet}"));
    newcomer(&bed, "corp", "new", 1).await;
    // The read has neither ended nor failed by then.
    let connection = bed.get("corp").await;
    assert_eq!(line(&connection), "True Connected");
    assert_eq!(reads(&bridge), 1);
    bridge.set(|state| state.faults.clear());
    operator.stop().await;
    assert_only_reads(&bridge);
}
