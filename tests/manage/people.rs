//! Users: they join, change their name, leave and come back.

use scim_bridge_operator::api::directory::Origin;
use serde_json::json;
use testbed::bed::Bed;

use crate::scene::{expect_group, expect_user, managed, seed, writes};

#[tokio::test]
async fn somebody_joins_is_renamed_leaves_and_comes_back() {
    let bed = Bed::with_provisioning("life").await;
    let bridge = managed(&bed, seed(&[]), json!({})).await;
    let operator = bed.provider(&[]).await;
    bed.expect("corp", "True Connected").await;

    bed.scim_user("corp", "ada", json!({})).await;
    let ada = expect_user(&bed, "ada", "True Provisioned").await;
    let status = ada.status.unwrap();
    let there = bridge.directory().user_named("ada@example.com").unwrap();
    assert_eq!(
        (status.id.as_deref(), status.origin),
        (Some(there.id.as_str()), Some(Origin::Created))
    );

    bed.scim_user(
        "corp",
        "ada",
        json!({"userName": "augusta@example.com", "name": {"givenName": "Augusta", "familyName": "Family"}}),
    )
    .await;
    expect_user(&bed, "ada", "True Provisioned").await;
    let renamed = bridge.directory().user_named("augusta@example.com").unwrap();
    assert_eq!(renamed.id, there.id);

    bed.scim_user(
        "corp",
        "ada",
        json!({"userName": "augusta@example.com", "name": {"givenName": "Augusta", "familyName": "Family"}, "state": "Suspended"}),
    )
    .await;
    let ada = expect_user(&bed, "ada", "True Suspended").await;
    let times = ada.status.unwrap().suspension.unwrap();
    assert!(
        times.requested_at <= times.sent_at && times.sent_at <= times.proven_at && times.sent_at.is_some()
    );
    assert!(
        !bridge
            .directory()
            .user_named("augusta@example.com")
            .unwrap()
            .active
    );

    bed.scim_user(
        "corp",
        "ada",
        json!({"userName": "augusta@example.com", "name": {"givenName": "Augusta", "familyName": "Family"}}),
    )
    .await;
    expect_user(&bed, "ada", "True Provisioned").await;
    assert!(
        bridge
            .directory()
            .user_named("augusta@example.com")
            .unwrap()
            .active
    );
    operator.stop().await;
    assert_eq!(writes(&bridge).len(), 4, "{:?}", writes(&bridge));
}

#[tokio::test]
async fn members_come_and_go() {
    let bed = Bed::with_provisioning("members").await;
    let bridge = managed(&bed, seed(&["ada", "kim", "sam"]), json!({})).await;
    let operator = bed.provider(&[]).await;
    bed.expect("corp", "True Connected").await;
    let member = |name: &str| json!({"userName": format!("{name}@example.com")});
    bed.scim_group(
        "corp",
        "k8s-admins",
        json!({"members": [member("ada"), member("kim")]}),
    )
    .await;
    expect_group(&bed, "k8s-admins", "True Provisioned").await;
    let members = || {
        let mut members: Vec<String> = bridge
            .directory()
            .group_named("k8s-admins")
            .unwrap()
            .members
            .iter()
            .map(|m| format!("{m:?}"))
            .collect();
        members.sort();
        members
    };
    assert_eq!(members().len(), 2, "{:?}", members());
    bed.scim_group(
        "corp",
        "k8s-admins",
        json!({"members": [member("kim"), member("sam")]}),
    )
    .await;
    expect_group(&bed, "k8s-admins", "True Provisioned").await;
    assert_eq!(members().len(), 2, "{:?}", members());
    bed.scim_group("corp", "k8s-admins", json!({"members": []})).await;
    expect_group(&bed, "k8s-admins", "True Provisioned").await;
    assert_eq!(members().len(), 0, "{:?}", members());
    operator.stop().await;
}
