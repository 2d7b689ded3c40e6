//! Objects whose connection this operator does not serve. Each of these tests takes longer than the grace of 30 s.

use scim_bridge_operator::api::{connection::ScimBridgeConnection, group::ScimGroup, user::ScimUser};
use serde_json::json;
use testbed::{
    bed::{Bed, DEADLINE, LOOPBACK, Proxy},
    wait,
};

use crate::scene::{PEOPLE, all_provisioned, assert_only_reads, declared, versions};

/// A connection that is gone is told apart from one that another shard serves, which only a GET shows.
#[tokio::test]
async fn a_missing_connection_is_said_and_one_of_another_shard_is_not() {
    let bed = Bed::with_provisioning("absent").await;
    let proxy = Proxy::new(&bed.kubeconfig).await;
    let bridge = declared(&bed, "foreign").await;
    bed.scim_group("nowhere", "lost", json!({})).await;
    let selector = ["--watch-label-selector", "scimbridge.dev/shard=here"];
    let flags = [
        &["--leader-elect=false", "--provisioning"],
        &selector[..],
        &LOOPBACK,
    ]
    .concat();
    let operator = bed.spawn_as(proxy.kubeconfig(), &flags).await;
    operator.ready(DEADLINE).await.unwrap();
    let before = versions::<ScimUser>(&bed).await;
    bed.expect_object::<ScimGroup>("lost", "False ConnectionNotFound Stalled")
        .await;
    let looks = async |times| {
        let looked = wait::until(DEADLINE, "a look for the foreign connection", async || {
            let looks = proxy.count(|exchange| {
                exchange.target.contains("/scimbridgeconnections/foreign") && exchange.status == Some(200)
            });
            (looks >= times).then_some(())
        });
        looked.await.unwrap_or_else(|error| panic!("{error}"));
    };
    looks(1).await;
    // Another object is a reason to look again, after everything that the first look led to.
    bed.scim_user("foreign", "new", json!({})).await;
    looks(2).await;
    let mut users = versions::<ScimUser>(&bed).await;
    users.retain(|(name, _)| name != "new");
    assert_eq!(users, before);

    label(&bed, "here").await;
    all_provisioned(&bed).await;
    bed.expect_object::<ScimUser>("new", "False ChangePlanned Stalled")
        .await;

    // It leaves again: the last verdicts stand, for another operator serves it now.
    label(&bed, "there").await;
    let before = versions::<ScimUser>(&bed).await;
    bed.scim_group("elsewhere", "later", json!({})).await;
    bed.expect_object::<ScimGroup>("later", "False ConnectionNotFound Stalled")
        .await;
    assert_eq!(versions::<ScimUser>(&bed).await, before);
    operator.stop().await;
    assert_only_reads(&bridge);
}

async fn label(bed: &Bed<'_>, shard: &str) {
    let label = json!({"metadata": {"labels": {"scimbridge.dev/shard": shard}}});
    bed.patch::<ScimBridgeConnection>("foreign", label).await;
}

/// Deleted for longer than the grace, and created again.
#[tokio::test]
async fn a_deleted_connection_takes_the_verdicts_with_it() {
    let bed = Bed::with_provisioning("deleted").await;
    let bridge = declared(&bed, "corp").await;
    let operator = bed.provider(&[]).await;
    all_provisioned(&bed).await;
    let spec = bed.get("corp").await.spec;
    bed.delete::<ScimBridgeConnection>("corp").await;
    for user in PEOPLE {
        bed.expect_object::<ScimUser>(user, "False ConnectionNotFound Stalled")
            .await;
    }
    let ada = bed.api::<ScimUser>().get("ada").await.unwrap();
    assert!(ada.status.unwrap().id.is_some(), "the id is kept");
    bed.connect("corp", &bridge, serde_json::to_value(spec).unwrap())
        .await;
    all_provisioned(&bed).await;
    operator.stop().await;
    assert_only_reads(&bridge);
}
