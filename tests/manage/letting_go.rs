//! Deleting objects lets go of people: the bridge gets no request for it.

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Resource,
    api::{DeleteParams, ListParams},
};
use scim_bridge_operator::api::{connection::ScimBridgeConnection, group::ScimGroup, user::ScimUser};
use serde_json::json;
use testbed::bed::DEADLINE;

use crate::scene::{Stage, grouped, in_group, is_active, managed, members, seed, writes};

/// Ada and her group, both as declared, and the writes that led there.
async fn kept(prefix: &str) -> Stage {
    let stage = Stage::new(
        prefix,
        grouped(&["ada", "kim"], &[("staff", &["kim"])]),
        json!({}),
    )
    .await;
    stage.user("new", json!({})).await;
    stage
        .group(
            "staff",
            json!({"members": members(&["ada", "new"]), "membership": "Exact", "adopt": "Always"}),
        )
        .await;
    stage.expect_group("staff", "True Provisioned").await;
    stage
}

fn is_untouched(stage: &Stage) -> bool {
    is_active(&stage.bridge, "new") && in_group(&stage.bridge, "staff") == ["ada", "new"]
}

/// Deleted, and declared again: the account and the group are taken up by their names.
#[tokio::test]
async fn a_deleted_object_lets_go_and_another_takes_up() {
    let stage = kept("objects").await;
    let before = writes(&stage.bridge).len();
    stage.bed.delete::<ScimUser>("new").await;
    stage.bed.delete::<ScimGroup>("staff").await;
    stage.newcomer("later").await;
    assert!(is_untouched(&stage));
    stage.user("new", json!({})).await;
    stage.expect("new", "True Provisioned").await;
    stage
        .group(
            "staff",
            json!({"members": members(&["ada", "new"]), "membership": "Exact"}),
        )
        .await;
    stage.expect_group("staff", "True Provisioned").await;
    assert!(is_untouched(&stage));
    assert_eq!(
        writes(&stage.bridge).len(),
        before + 1,
        "{:?}",
        writes(&stage.bridge)
    );
    let mut stage = stage;
    stage.stop().await;
}

pub(crate) async fn a_deleted_connection_lets_go_of_everybody() {
    let stage = kept("connection").await;
    let before = writes(&stage.bridge).len();
    stage
        .user(
            "ada",
            json!({"state": "Suspended", "adopt": "Always", "paused": true}),
        )
        .await;
    stage.expect("ada", "False ChangePlanned Stalled").await;
    stage.bed.delete::<ScimBridgeConnection>("corp").await;
    // Wanted now, and nobody is there to do it.
    stage
        .user("ada", json!({"state": "Suspended", "adopt": "Always"}))
        .await;
    stage.expect("ada", "False ConnectionNotFound Stalled").await;
    stage.expect("new", "False ConnectionNotFound Stalled").await;
    assert!(is_untouched(&stage) && is_active(&stage.bridge, "ada"));
    assert_eq!(writes(&stage.bridge).len(), before);
    let mut stage = stage;
    stage.stop().await;
}

async fn delete_all<K>(stage: &Stage)
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api = stage.bed.api::<K>();
    api.delete_collection(&DeleteParams::default(), &ListParams::default())
        .await
        .unwrap();
}

/// As the controller of namespaces does it: first the namespace is marked, then what is in it goes in any order.
#[tokio::test]
async fn a_deleted_namespace_lets_go_of_everybody() {
    let stage = kept("namespace").await;
    let other = managed(&stage.bed, "other", seed(&[]), json!({})).await;
    stage.bed.expect("other", "True Connected").await;
    let before = writes(&stage.bridge).len();
    let namespaces = Api::<Namespace>::all(stage.bed.client.clone());
    namespaces
        .delete(&stage.bed.namespace, &DeleteParams::default())
        .await
        .unwrap();
    delete_all::<ScimGroup>(&stage).await;
    delete_all::<Secret>(&stage).await;
    delete_all::<ScimUser>(&stage).await;
    stage.bed.delete::<ScimBridgeConnection>("corp").await;
    testbed::wait::until_gone(DEADLINE, &stage.bed.connections(), "corp")
        .await
        .unwrap();
    // The operator has seen all of it when the last connection ends without its key.
    stage.bed.probe("other").await;
    assert!(is_untouched(&stage));
    assert_eq!(writes(&stage.bridge).len(), before);
    assert_eq!(writes(&other), [""; 0]);
    let mut stage = stage;
    stage.stop().await;
    assert_eq!(writes(&stage.bridge).len(), before);
}
