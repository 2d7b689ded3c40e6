//! The CRD in the chart: upgraded with the release, kept without it, and never taken from anybody.

use std::fs;

use serde_json::{Value, json};
use testbed::{scratch::Scratch, workspace};

use crate::installation::{HOME, IDENTITY, NAME, Site, Way};

const CRD: &str = "scimbridgeconnections.scimbridge.dev";

fn own_crd() -> Value {
    serde_json::to_value(scim_bridge_operator::api::crd()).unwrap()
}

/// The chart with a CRD that lacks a field, as that of an earlier version would.
fn earlier_chart(scratch: &Scratch) -> String {
    let chart = scratch.path().join("earlier");
    let copied = std::process::Command::new("cp")
        .arg("-R")
        .arg(workspace::root().join("charts/scim-bridge-operator"))
        .arg(&chart)
        .status()
        .unwrap();
    assert!(copied.success());
    let file = chart.join("files/crd.yaml");
    let text = fs::read_to_string(&file).unwrap();
    // From the field's own line to that of its next sibling.
    let field = "              nextApiKeySecretRef:\n";
    let (before, rest) = text.split_once(field).unwrap();
    let end = rest.find("\n              provisioning:\n").unwrap();
    fs::write(&file, format!("{before}{}", &rest[end + 1..])).unwrap();
    chart.display().to_string()
}

#[tokio::test]
async fn an_upgrade_brings_the_crd_and_loses_nothing() {
    let site = Site::new(Way::Chart).await;
    let scratch = Scratch::new("chart").unwrap();
    let kubectl = site.cluster.kubectl();
    let set = ["--set", "addressPolicy.allowCidrs={127.0.0.0/8}"];
    let chart = earlier_chart(&scratch);
    let install = ["upgrade", "--install", NAME, &chart, "--namespace", HOME];
    site.helm().run(&[&install[..], &set].concat()).await.unwrap();
    let wait = ["wait", "--for=condition=Established", "crd", CRD, "--timeout=60s"];
    kubectl.run(&wait).await.unwrap();
    let _bridge = site.connect(IDENTITY, "corp").await;
    let field = "--output=jsonpath={.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.nextApiKeySecretRef.type}";
    let look = ["get", "crd", CRD, field];
    assert_eq!(
        kubectl.run(&look).await.unwrap(),
        "",
        "the earlier CRD does not know the field"
    );
    let object = [
        "get",
        "sbc",
        "corp",
        "--namespace",
        IDENTITY,
        "--output=jsonpath={.metadata.uid} {.spec}",
    ];
    let before = kubectl.run(&object).await.unwrap();

    site.install(&[]).await;
    assert_eq!(
        kubectl.run(&look).await.unwrap(),
        "object",
        "helm upgrade has upgraded the CRD"
    );
    assert_eq!(kubectl.run(&object).await.unwrap(), before);
    let operator = site.run().await;
    site.connected(IDENTITY, "corp").await;
    operator.stop().await;
}

#[tokio::test]
async fn what_belongs_to_others_is_left_alone_in_one_line() {
    let site = Site::new(Way::Chart).await;
    let chart = workspace::root()
        .join("charts/scim-bridge-operator")
        .display()
        .to_string();
    let kubectl = site.cluster.kubectl();
    let mut foreign = own_crd();
    foreign["spec"]["scope"] = "Cluster".into();
    let mut unowned = own_crd();
    unowned["metadata"]["labels"] = json!({});
    for (crd, sentence) in [
        (
            &foreign,
            "another product owns CRD scimbridgeconnections.scimbridge.dev (its scope is Cluster)",
        ),
        (
            &unowned,
            "exists and belongs to no Helm release. To use it as it is, set crds.install=false",
        ),
    ] {
        site.cluster.apply(&crd.to_string()).await.unwrap();
        let version = [
            "get",
            "crd",
            CRD,
            "--output=jsonpath={.metadata.uid} {.metadata.generation} {.metadata.labels}",
        ];
        let before = kubectl.run(&version).await.unwrap();
        let install = ["install", NAME, &chart, "--namespace", HOME];
        let refused = site.helm().run(&install).await.unwrap_err().to_string();
        assert!(refused.contains(sentence), "{sentence} in: {refused}");
        assert_eq!(refused.lines().count(), 1, "{refused}");
        assert_eq!(
            kubectl.run(&version).await.unwrap(),
            before,
            "the CRD was touched"
        );
        let left = [
            "get",
            "deployments,serviceaccounts,roles",
            "--namespace",
            HOME,
            "--selector=app.kubernetes.io/instance=scim-bridge-operator",
            "--output=name",
        ];
        assert_eq!(
            kubectl.run(&left).await.unwrap().trim(),
            "",
            "something was left behind"
        );
        if crd == &foreign {
            kubectl.run(&["delete", "crd", CRD]).await.unwrap();
        }
    }
    // What the line recommends works.
    let install = [
        "install",
        NAME,
        &chart,
        "--namespace",
        HOME,
        "--set",
        "crds.install=false",
    ];
    site.helm().run(&install).await.unwrap();

    // A namespace that does not exist.
    let install = [
        "install",
        "other",
        &chart,
        "--namespace",
        "elsewhere",
        "--set",
        "crds.install=false,watchNamespaces={absent}",
    ];
    let refused = site.helm().run(&install).await.unwrap_err().to_string();
    assert!(refused.contains("namespaces \"absent\" not found"), "{refused}");
}
