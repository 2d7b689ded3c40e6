//! Something changes in the middle of thirty creations.

use bridge_front::directory::Taken;
use k8s_openapi::api::core::v1::Secret;
use scim_bridge_operator::api::user::ScimUser;
use serde_json::{Value, json};

use crate::scene::{Stage, address, seed};

const NEW_KEY: &str = "canary-key-that-comes-in-the-middle";

fn name(number: usize) -> String {
    format!("new-{number}")
}

/// Thirty creations, of which some are done. The bridge would make a second account of the same name.
async fn thirty(prefix: &str, flags: &[&str], prepare: impl AsyncFnOnce(&Stage)) -> Stage {
    let mut stage = Stage::without_operator(prefix, seed(&[]), json!({"requestsPerSecond": 8})).await;
    stage
        .bridge
        .set(|state| state.habits.writes.taken_user_name = Taken::Accepted);
    for number in 0..30 {
        stage.user(&name(number), json!({"adopt": "Never"})).await;
    }
    prepare(&stage).await;
    stage.start(flags).await;
    stage.changed(4).await;
    stage
}

/// Who is not created yet.
fn missing(stage: &Stage) -> Vec<String> {
    let directory = stage.bridge.directory();
    (0..30)
        .map(name)
        .filter(|name| directory.user_named(&address(name)).is_none())
        .collect()
}

/// Everybody is there, once.
async fn all_are_there(mut stage: Stage) {
    stage
        .bed
        .edit("corp", json!({"provisioning": {"requestsPerSecond": 50}}))
        .await;
    for number in 0..30 {
        stage.expect(&name(number), "True Provisioned").await;
    }
    stage.stop().await;
    let mut changes = stage.changes();
    changes.sort();
    let mut expected: Vec<String> = (0..30)
        .map(|number| format!("CreateUser {}", name(number)))
        .collect();
    expected.sort();
    assert_eq!(changes, expected);
}

pub(crate) async fn a_key_that_is_rotated_in_the_middle() {
    let stage = thirty("rotated", &[], async |_| {}).await;
    stage
        .bridge
        .set(|state| state.further_keys = vec![NEW_KEY.into()]);
    let secret = stage.bed.secret("corp", NEW_KEY).await;
    stage.bed.judged("corp", &secret).await;
    all_are_there(stage).await;
}

/// The new key is not known to the bridge yet: nothing is sent with either.
pub(crate) async fn a_key_that_is_refused_in_the_middle() {
    let stage = thirty("wrong-key", &[], async |_| {}).await;
    let secret = stage.bed.secret("corp", NEW_KEY).await;
    stage.bed.judged("corp", &secret).await;
    stage.bed.expect("corp", "False AuthFailed Stalled").await;
    let before = stage.changes();
    stage.user("late", json!({"state": "Suspended"})).await;
    stage.bed.probe("corp").await;
    assert_eq!(stage.changes(), before);
    assert!(before.len() < 30);
    stage
        .bridge
        .set(|state| state.further_keys = vec![NEW_KEY.into()]);
    stage.bed.probe("corp").await;
    all_are_there(stage).await;
}

#[tokio::test]
async fn consent_that_is_withdrawn_in_the_middle() {
    let consent =
        |hosts: Value| json!({"metadata": {"annotations": {"scimbridge.dev/allowed-hosts": hosts}}});
    let stage = thirty("consent", &["--require-secret-consent"], async |stage| {
        stage
            .bed
            .patch::<Secret>("corp", consent(json!("127.0.0.1")))
            .await;
    })
    .await;
    stage.bed.patch::<Secret>("corp", consent(Value::Null)).await;
    // One request may be under way.
    let sent = stage.changes().len();
    stage.bed.expect("corp", "False ConsentMissing Stalled").await;
    let before = stage.changes();
    assert!(
        before.len() <= sent + 2 && before.len() < 30,
        "{} after {sent}",
        before.len()
    );
    stage.bed.probe("corp").await;
    assert_eq!(stage.changes(), before);
    stage
        .bed
        .patch::<Secret>("corp", consent(json!("127.0.0.1")))
        .await;
    all_are_there(stage).await;
}

pub(crate) async fn a_mode_that_is_set_back_in_the_middle() {
    let stage = thirty("mode", &[], async |_| {}).await;
    stage
        .bed
        .edit("corp", json!({"provisioning": {"mode": "Plan"}}))
        .await;
    let last = missing(&stage).pop().unwrap();
    stage.expect(&last, "False ChangePlanned Stalled").await;
    let before = stage.changes();
    assert!(before.len() < 30);
    stage.user("late", json!({})).await;
    stage.expect("late", "False ChangePlanned Stalled").await;
    stage.bed.probe("corp").await;
    assert_eq!(stage.changes(), before);
    stage.bed.delete::<ScimUser>("late").await;
    stage
        .bed
        .edit("corp", json!({"provisioning": {"mode": "Manage"}}))
        .await;
    all_are_there(stage).await;
}

/// A connection that somebody suspends sends nothing more, and goes on afterwards.
pub(crate) async fn a_connection_that_is_suspended_in_the_middle() {
    let stage = thirty("suspended", &[], async |_| {}).await;
    stage.bed.edit("corp", json!({"suspend": true})).await;
    let late = json!({"state": "Active"});
    stage.user("late", late).await;
    stage.expect("late", "False ConnectionNotReady Reconciling").await;
    let before = stage.changes();
    assert!(before.len() < 30);
    stage.bed.delete::<ScimUser>("late").await;
    stage.user("later", json!({})).await;
    stage
        .expect("later", "False ConnectionNotReady Reconciling")
        .await;
    assert_eq!(stage.changes(), before);
    stage.bed.delete::<ScimUser>("later").await;
    stage.bed.edit("corp", json!({"suspend": false})).await;
    all_are_there(stage).await;
}

/// Objects that go or change before their turn: nobody is created for them as they were.
#[tokio::test]
async fn objects_that_go_or_change_in_the_middle() {
    let stage = thirty("objects", &[], async |_| {}).await;
    let mut left = missing(&stage);
    // Creations are sent in the order of their objects' ids.
    let mut ids = Vec::new();
    for name in left.drain(..) {
        let object: ScimUser = stage.bed.api().get(&name).await.unwrap();
        ids.push((object.metadata.uid.unwrap(), name));
    }
    ids.sort();
    let [(_, deleted), (_, leaving), (_, renamed)] = [0, 1, 2].map(|_| ids.pop().unwrap());
    stage.bed.delete::<ScimUser>(&deleted).await;
    stage
        .user(&leaving, json!({"adopt": "Never", "state": "Suspended"}))
        .await;
    stage
        .user(
            &renamed,
            json!({"adopt": "Never", "userName": "another@example.com"}),
        )
        .await;
    for (_, name) in &ids {
        stage.expect(name, "True Provisioned").await;
    }
    stage.expect(&leaving, "True Suspended").await;
    stage.expect(&renamed, "True Provisioned").await;
    stage.newcomer("late").await;
    let directory = stage.bridge.directory();
    for name in [&deleted, &leaving, &renamed] {
        assert_eq!(directory.user_named(&address(name)), None, "{name}");
    }
    assert!(directory.user_named("another@example.com").is_some());
    // The owner, those of the thirty who were not touched, the renamed one and the last one.
    assert_eq!(directory.users().len(), 1 + 27 + 1 + 1);
    let mut stage = stage;
    stage.stop().await;
}
