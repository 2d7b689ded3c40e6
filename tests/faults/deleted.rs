//! People and groups that the operator keeps, and everything around them is deleted: no bridge receives a change.

use bridge_front::{Front, Seed};
use futures::{StreamExt as _, stream};
use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Resource,
    api::{DeleteParams, ListParams},
};
use scim_bridge_operator::api::{connection::ScimBridgeConnection, group::ScimGroup, user::ScimUser};
use serde_json::json;
use testbed::{
    bed::{Bed, DEADLINE, KEY, own_cluster_with_controllers, writes},
    wait,
};

const USERS: u32 = 60;
const GROUPS: u32 = 10;
/// Requests of a test that are under way together.
const AT_ONCE: usize = 8;

/// A directory, and everybody and every group in it declared exactly as they are.
async fn declared(bed: &Bed<'_>, users: u32, groups: u32) -> Front {
    let seed = Seed::of(users, groups);
    let bridge = bed.directory(seed.clone()).start().await.unwrap();
    bed.secret("corp", KEY).await;
    bed.manage_directory("corp", &bridge, json!({})).await;
    stream::iter(&seed.users)
        .for_each_concurrent(AT_ONCE, async |user| {
            let name = json!({"givenName": user.name.given_name, "familyName": user.name.family_name});
            let (local, _) = user.user_name.split_once('@').unwrap();
            bed.scim_user("corp", local, json!({"name": name})).await;
        })
        .await;
    for (number, group) in seed.groups.iter().enumerate() {
        let members = group
            .members
            .iter()
            .map(|member| json!({"userName": member.value}));
        let spec = json!({
            "displayName": group.display_name,
            "membership": "Exact",
            "members": members.collect::<Vec<_>>(),
        });
        bed.scim_group("corp", &format!("group-{number}"), spec).await;
    }
    bridge
}

/// Waits until all of them are kept, and all groups have said so.
async fn kept(bed: &Bed<'_>, users: u32, groups: u32) {
    bed.expect_directory("corp", "everybody to be kept", |directory| {
        directory.managed == u64::from(users) && directory.pending.is_empty()
    })
    .await;
    for number in 0..groups {
        bed.expect_object::<ScimGroup>(&format!("group-{number}"), "True Provisioned")
            .await;
    }
}

async fn delete_all<K>(bed: &Bed<'_>)
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let (all, every) = (DeleteParams::default(), ListParams::default());
    bed.api::<K>().delete_collection(&all, &every).await.unwrap();
}

/// Deletes these CRDs, and with them every object.
async fn delete_crds(bed: &Bed<'_>, plurals: &[&str]) {
    let crds = Api::<CustomResourceDefinition>::all(bed.client.clone());
    let names = plurals.iter().map(|plural| format!("{plural}.scimbridge.dev"));
    let names: Vec<String> = names.collect();
    for name in &names {
        crds.delete(name, &DeleteParams::default()).await.unwrap();
    }
    for name in &names {
        wait::until_gone(DEADLINE, &crds, name).await.unwrap();
    }
}

#[tokio::test]
async fn whatever_is_deleted_nobody_is_touched() {
    let Some(cluster) = own_cluster_with_controllers().await else {
        return;
    };
    cluster.install_provisioning().await.unwrap();
    let pruned = Bed::on_own(&cluster, "pruned").await;
    let emptied = Bed::on_own(&cluster, "emptied").await;
    let undefined = Bed::on_own(&cluster, "undefined").await;
    let other = Bed::on_own(&cluster, "other").await;
    let mut bridges = Vec::new();
    for bed in [&pruned, &emptied, &undefined] {
        bridges.push(declared(bed, USERS, GROUPS).await);
    }
    let bystander = declared(&other, 2, 0).await;
    let operator = pruned.provider_everywhere().await;
    for bed in [&pruned, &emptied, &undefined] {
        kept(bed, USERS, GROUPS).await;
    }
    // Somebody new joins elsewhere. The operator has seen what was deleted before by then.
    let newcomer = async |name: &str| {
        other.scim_user("corp", name, json!({})).await;
        other.expect_object::<ScimUser>(name, "True Provisioned").await;
        other.probe("corp").await;
    };
    newcomer("first").await;

    // As a Kustomization prunes: all at once, in no order that means anything.
    tokio::join!(
        delete_all::<ScimUser>(&pruned),
        delete_all::<ScimGroup>(&pruned),
        delete_all::<ScimBridgeConnection>(&pruned),
        delete_all::<Secret>(&pruned),
    );
    newcomer("second").await;

    let namespaces = Api::<Namespace>::all(emptied.client.clone());
    namespaces
        .delete(&emptied.namespace, &DeleteParams::default())
        .await
        .unwrap();
    // In the middle of that, the operator ends and another one begins.
    operator.stop().await;
    let operator = pruned.provider_everywhere().await;
    wait::until_gone(DEADLINE, &namespaces, &emptied.namespace)
        .await
        .unwrap();
    newcomer("third").await;

    delete_crds(&undefined, &["scimusers", "scimgroups"]).await;
    undefined.probe("corp").await;
    other.probe("corp").await;
    delete_crds(&undefined, &["scimbridgeconnections"]).await;
    operator.terminate(DEADLINE).await.unwrap();
    for bridge in &bridges {
        assert_eq!(writes(bridge), [""; 0]);
    }
    assert_eq!(writes(&bystander), ["POST Users"; 3]);
}
