//! What a plan says in the statuses of users, groups and their connection.

use bridge_front::{Group, Seed, User};
use scim_bridge_operator::api::{
    directory::ChangeKind,
    group::ScimGroup,
    user::{RemoteState, ScimUser},
};
use serde_json::json;
use testbed::bed::{Bed, KEY, provisioning};

use crate::scene::assert_only_reads;

fn people() -> Seed {
    Seed {
        users: vec![
            User::new("ada@example.com", "Given", "Family"),
            User::new("kim@example.com", "Other", "Family"),
            User::new("owner@example.com", "Given", "Family"),
        ],
        groups: vec![Group::new("k8s-admins", ["ada@example.com"])],
    }
}

#[tokio::test]
async fn a_directory_is_compared_and_nothing_is_sent() {
    let bed = Bed::with_provisioning("plan").await;
    let bridge = bed.directory(people()).start().await.unwrap();
    bed.secret("corp", KEY).await;
    bed.connect_directory("corp", &bridge, provisioning()).await;
    bed.scim_user("corp", "ada", json!({})).await;
    bed.scim_user("corp", "kim", json!({})).await;
    bed.scim_user("corp", "new", json!({})).await;
    bed.scim_user("corp", "gone", json!({"state": "Suspended"})).await;
    bed.scim_user("corp", "owner", json!({"state": "Suspended", "adopt": "Always"}))
        .await;
    bed.scim_user("corp", "far", json!({"userName": "far@elsewhere.example"}))
        .await;
    bed.scim_group(
        "corp",
        "k8s-admins",
        json!({"members": [{"userName": "ada@example.com"}]}),
    )
    .await;
    let operator = bed.provider(&[]).await;

    bed.expect("corp", "True Connected").await;
    let ada: ScimUser = bed.expect_object("ada", "True Provisioned").await;
    let status = ada.status.unwrap();
    assert_eq!(status.remote_state, Some(RemoteState::Active));
    let id = bridge.directory().user_named("ada@example.com").unwrap().id;
    assert_eq!(status.id.as_deref(), Some(id.as_str()));
    bed.expect_object::<ScimUser>("kim", "False AlreadyExists Stalled")
        .await;
    let new: ScimUser = bed.expect_object("new", "False ChangePlanned Stalled").await;
    let plan = new.status.unwrap().plan;
    assert_eq!((plan[0].kind, plan[0].count), (ChangeKind::Creation, 1));
    bed.expect_object::<ScimUser>("gone", "True Suspended").await;
    bed.expect_object::<ScimUser>("owner", "False Protected Stalled")
        .await;
    bed.expect_object::<ScimUser>("far", "False OutOfScope Stalled")
        .await;
    bed.expect_object::<ScimGroup>("k8s-admins", "True Provisioned")
        .await;
    let directory = bed
        .expect_directory("corp", "one pending creation", |directory| {
            directory.pending.len() == 1
        })
        .await;
    assert_eq!((directory.users, directory.groups), (3, 1));

    // A change in Git form leads to another plan.
    bed.scim_user("corp", "ada", json!({"state": "Suspended"})).await;
    bed.expect_object::<ScimUser>("ada", "False ChangePlanned Stalled")
        .await;
    bed.scim_user("corp", "ada", json!({})).await;
    bed.expect_object::<ScimUser>("ada", "True Provisioned").await;
    operator.stop().await;
    assert_only_reads(&bridge);
}
