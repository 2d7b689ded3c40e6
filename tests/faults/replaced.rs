//! What the operator watches is taken away under it, and comes back.

use std::path::Path;

use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, api::DeleteParams};
use scim_bridge_operator::api::v1alpha1::ScimBridgeConnection;
use serde_json::json;
use testbed::{
    Cluster,
    bed::{Bed, DEADLINE, Gate, KEY, own_cluster, pings},
    wait, workspace,
};

const CRD: &str = "scimbridgeconnections.scimbridge.dev";

fn deploy(file: &str) -> std::path::PathBuf {
    workspace::root().join("deploy").join(file)
}

/// With the definition go all objects. What is applied afterwards is new, and probed as such.
#[tokio::test]
async fn a_definition_that_is_deleted_and_applied_again() {
    let Some(cluster) = own_cluster().await else {
        return;
    };
    let bed = Bed::on_own(&cluster, "definition").await;
    let operator = bed.operator_everywhere().await;
    let bridge = bed.healthy_bridge().await;
    let before = bed.connect_well("corp", &bridge).await;
    bed.expect("corp", "True Connected").await;
    let definitions: Api<CustomResourceDefinition> = Api::all(bed.client.clone());
    definitions.delete(CRD, &DeleteParams::default()).await.unwrap();
    wait::until_gone(DEADLINE, &definitions, CRD).await.unwrap();
    operator.says("watch failed").await;
    cluster.install(&[Path::new(&deploy("crd.yaml"))]).await.unwrap();
    let after = bed.connect("corp", &bridge, json!({})).await;
    assert_ne!(before.metadata.uid, after.metadata.uid);
    bed.expect("corp", "True Connected").await;
    bed.probe("corp").await;
    assert_eq!(pings(&bridge), 3, "the old object, the new one, and as asked for");
    assert_eq!(operator.count("connections", "").await, 1);
    assert!(operator.process().ended().unwrap().is_none(), "it has gone on");
}

/// Objects go in any order; half-finished probes have nothing to write to. Others are not concerned.
#[tokio::test]
async fn a_namespace_that_is_terminated_while_it_is_probed() {
    if own_cluster().await.is_none() {
        return;
    }
    let cluster = Cluster::with_controllers().await.unwrap();
    let files = ["crd.yaml", "namespace.yaml", "base/rbac.yaml", "rbac.yaml"].map(deploy);
    let files = files.each_ref().map(std::path::PathBuf::as_path);
    cluster.install(&files).await.unwrap();
    let doomed = Bed::on_own(&cluster, "doomed").await;
    let other = Bed::on_own(&cluster, "spared").await;
    let operator = other.operator_everywhere().await;
    let (gate, slow) = Gate::new(&doomed).await;
    for number in 0..5 {
        doomed.connect_well(&format!("corp-{number}"), &slow).await;
    }
    let bystander = other.healthy_bridge().await;
    other.connect_well("corp", &bystander).await;
    let untouched = other.expect("corp", "True Connected").await;
    gate.reached(&slow).await;
    let namespaces: Api<Namespace> = Api::all(other.client.clone());
    namespaces
        .delete(&doomed.namespace, &DeleteParams::default())
        .await
        .unwrap();
    gate.open();
    wait::until_gone(DEADLINE, &namespaces, &doomed.namespace)
        .await
        .unwrap_or_else(|error| panic!("nothing of ours holds a namespace back: {error}"));
    let now = other.get("corp").await;
    assert_eq!(now.metadata.resource_version, untouched.metadata.resource_version);
    other.probe("corp").await;
    assert_eq!(
        operator.count("connections", "").await,
        1,
        "the others are forgotten"
    );
}

/// At whichever stage of a probe its Secret is replaced, by one with the same content too: the verdict names the Secret
/// that the key came from.
#[tokio::test]
async fn a_secret_that_is_replaced_at_any_stage_of_a_probe() {
    let bed = Bed::new("stages").await;
    let operator = bed.operator(&[]).await;
    for (name, key) in [("same", KEY), ("other", "canary-key-that-is-newer")] {
        let (gate, bridge) = Gate::new(&bed).await;
        bed.connect_well(name, &bridge).await;
        gate.reached(&bridge).await;
        bed.delete::<Secret>(name).await;
        let secret = bed.secret(name, key).await;
        bridge.set(|state| state.key = key.into());
        gate.open();
        let judged = bed.judged(name, &secret).await;
        assert_eq!(testbed::bed::line(&judged), "True Connected", "{name}");
        bed.probe(name).await;
        assert_eq!(
            pings(&bridge),
            3,
            "{name}: the old Secret, the new one, and as asked for"
        );
    }
    drop(operator);
}

/// The same name, the same specification, another object: again and again, with a probe under way each time.
#[tokio::test]
async fn an_object_that_is_replaced_again_and_again() {
    let bed = Bed::new("again").await;
    let operator = bed.operator(&[]).await;
    let (gate, bridge) = Gate::new(&bed).await;
    bed.secret("corp", KEY).await;
    for _ in 0..5 {
        bed.connect("corp", &bridge, json!({})).await;
        bed.delete::<ScimBridgeConnection>("corp").await;
        wait::until_gone(DEADLINE, &bed.connections(), "corp")
            .await
            .unwrap();
    }
    let last = bed.connect("corp", &bridge, json!({})).await;
    gate.open();
    let connected = bed.expect("corp", "True Connected").await;
    assert_eq!(connected.metadata.uid, last.metadata.uid);
    bed.probe("corp").await;
    assert!(
        pings(&bridge) <= 8,
        "{} probes for six objects and one request",
        pings(&bridge)
    );
    assert_eq!(operator.count("connections", "").await, 1);
}
