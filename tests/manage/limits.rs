//! Limits: a mass change is a question to a person, and the answer is about one set.

use scim_bridge_operator::api::{RELEASE_ANNOTATION, directory::ChangeKind, user::ScimUser};
use serde_json::{Value, json};

use crate::scene::{Stage, is_active, seed};

const SIX: [&str; 6] = ["u1", "u2", "u3", "u4", "u5", "u6"];

fn leaves() -> Value {
    json!({"state": "Suspended", "adopt": "Always"})
}

/// Six who are managed and active. Five may be suspended within an hour.
async fn six(prefix: &str, more: &[&str]) -> Stage {
    let stage = Stage::new(
        prefix,
        seed(&[&SIX[..], more].concat()),
        json!({"limits": {"suspensions": 5}}),
    )
    .await;
    for name in SIX {
        stage.user(name, json!({})).await;
    }
    for name in SIX {
        stage.expect(name, "True Provisioned").await;
    }
    stage
}

/// Declares these at once: one after the other, the first five would be within the limit.
async fn all_leave(stage: &Stage, names: &[&str]) {
    stage
        .bed
        .edit("corp", json!({"provisioning": {"mode": "Plan"}}))
        .await;
    for name in names {
        stage.user(name, leaves()).await;
    }
    for name in names {
        stage.expect(name, "False Held Stalled").await;
    }
    stage
        .bed
        .edit("corp", json!({"provisioning": {"mode": "Manage"}}))
        .await;
}

async fn release(stage: &Stage, digest: &str) {
    stage.bed.annotate("corp", RELEASE_ANNOTATION, digest).await;
}

#[tokio::test]
async fn six_suspensions_wait_for_a_release_of_exactly_these() {
    let mut stage = six("release", &["u7"]).await;
    all_leave(&stage, &SIX).await;
    let of_six = stage.held(ChangeKind::Suspension, 6).await;
    stage.bed.expect("corp", "True Connected ProvisioningHeld").await;
    // A digest of nothing.
    release(&stage, &"0".repeat(32)).await;
    stage.newcomer("n1").await;
    // One of a set that has grown meanwhile.
    stage.user("u7", leaves()).await;
    let of_seven = stage.held(ChangeKind::Suspension, 7).await;
    assert_ne!(of_six.digest, of_seven.digest);
    release(&stage, &of_six.digest).await;
    stage.newcomer("n2").await;
    stage.expect("u7", "False Held Stalled").await;
    assert_eq!(stage.changes(), ["CreateUser n1", "CreateUser n2"]);

    let seven = [&SIX[..], &["u7"]].concat();
    release(&stage, &of_seven.digest).await;
    for name in &seven {
        stage.expect(name, "True Suspended").await;
        assert!(!is_active(&stage.bridge, name));
    }
    let directory = stage
        .bed
        .expect_directory("corp", "a release", |directory| !directory.released.is_empty())
        .await;
    let released = &directory.released[0];
    assert_eq!((released.count, &released.digest), (7, &of_seven.digest));

    // A release is used up: the same seven are another set.
    for name in &seven {
        stage.user(name, json!({})).await;
    }
    for name in &seven {
        stage.expect(name, "True Provisioned").await;
    }
    all_leave(&stage, &seven).await;
    let again = stage.held(ChangeKind::Suspension, 7).await;
    assert_ne!(again.digest, of_seven.digest);
    stage.stop().await;
    // Nor after a restart.
    stage.start(&[]).await;
    stage.newcomer("n3").await;
    stage.expect("u1", "False Held Stalled").await;
    assert!(seven.iter().all(|name| is_active(&stage.bridge, name)));
    stage.stop().await;
    let changes = stage.changes();
    let suspensions = changes.iter().filter(|change| change.starts_with("Suspend"));
    assert_eq!(suspensions.count(), 7, "{changes:?}");
}

/// What joins while a released set is sent is not part of it.
#[tokio::test]
async fn who_joins_a_released_set_is_held() {
    let stage = six("joins", &["u7", "u8", "u9", "u10", "u11", "u12"]).await;
    all_leave(&stage, &SIX).await;
    let of_six = stage.held(ChangeKind::Suspension, 6).await;
    stage
        .bed
        .edit("corp", json!({"provisioning": {"requestsPerSecond": 2}}))
        .await;
    release(&stage, &of_six.digest).await;
    stage.changed(1).await;
    stage.user("u7", leaves()).await;
    stage.expect("u7", "False Held Stalled").await;
    stage
        .bed
        .edit("corp", json!({"provisioning": {"requestsPerSecond": 50}}))
        .await;
    stage.newcomer("new").await;
    assert!(is_active(&stage.bridge, "u7"));
    let mut stage = stage;
    stage.stop().await;
    let changes = stage.changes();
    let suspensions = changes.iter().filter(|change| change.starts_with("Suspend"));
    assert!(suspensions.count() <= 6, "{changes:?}");
}

#[tokio::test]
async fn a_restart_refills_nothing() {
    let mut stage = six("refill", &[]).await;
    for name in &SIX[..3] {
        stage.user(name, leaves()).await;
    }
    for name in &SIX[..3] {
        stage.expect(name, "True Suspended").await;
    }
    stage.kill().await;
    for name in &SIX[3..] {
        stage.user(name, leaves()).await;
    }
    stage.start(&[]).await;
    for name in &SIX[3..] {
        stage.expect(name, "False Held Stalled").await;
    }
    stage.newcomer("new").await;
    // Two are left of the limit.
    stage.user("u6", json!({})).await;
    for name in ["u4", "u5"] {
        stage.expect(name, "True Suspended").await;
    }
    stage.expect("u6", "True Provisioned").await;
    stage.stop().await;
    let mut suspended = stage.changes();
    suspended.retain(|change| change != "CreateUser new");
    suspended.sort();
    assert_eq!(
        suspended,
        [
            "Suspend u1",
            "Suspend u2",
            "Suspend u3",
            "Suspend u4",
            "Suspend u5"
        ]
    );
}

/// Kinds do not hold each other.
pub(crate) async fn an_offboarding_goes_through_while_sixty_creations_are_held() {
    let mut stage = Stage::without_operator("sixty", seed(&["ada", "kim"]), json!({})).await;
    for number in 0..60 {
        stage.user(&format!("new-{number}"), json!({})).await;
    }
    stage.user("ada", leaves()).await;
    stage.start(&[]).await;
    stage.expect("ada", "True Suspended").await;
    stage.held(ChangeKind::Creation, 60).await;
    stage.user("kim", leaves()).await;
    stage.expect("kim", "True Suspended").await;
    for number in [0, 31, 59] {
        stage.expect(&format!("new-{number}"), "False Held Stalled").await;
    }
    // Eleven fewer are within the limit.
    for number in 0..11 {
        stage.bed.delete::<ScimUser>(&format!("new-{number}")).await;
    }
    for number in 11..60 {
        stage.expect(&format!("new-{number}"), "True Provisioned").await;
    }
    let changes = stage.changes();
    assert_eq!(changes[..2], ["Suspend ada", "Suspend kim"]);
    assert_eq!(changes.len(), 51);
    stage.stop().await;
}
