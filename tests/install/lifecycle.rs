//! Install, work, upgrade, uninstall, install again.

use serde_json::Value;
use testbed::workspace;

use crate::installation::{HOME, Site, Way, probes, strings};

async fn lives(way: Way) {
    let site = Site::new(way).await;
    let watched = site.watched();

    // Installed, and at work.
    site.install(&[]).await;
    let operator = site.run().await;
    let bridge = site.connect(watched, "corp").await;
    site.connected(watched, "corp").await;
    assert_eq!(probes(&bridge), 1);

    // Upgraded with changed values: the new Pod has them, the verdict stays.
    let status = site.status(watched, "corp").await;
    let before = site.pod().await;
    if matches!(way, Way::Chart | Way::ChartForNamespaces) {
        site.install(&["logging.level=debug", "podAnnotations.example=changed"])
            .await;
        let after = site.pod().await;
        assert_ne!(
            before["metadata"]["name"], after["metadata"]["name"],
            "the Pod was replaced"
        );
        let arguments = strings(&after["spec"]["containers"][0]["args"]);
        assert!(
            arguments.contains(&"--log-level=debug".to_owned()),
            "{arguments:?}"
        );
    } else {
        site.install(&[]).await;
        let after = site.pod().await;
        assert_eq!(
            before["metadata"]["uid"], after["metadata"]["uid"],
            "nothing changed, nothing is replaced"
        );
    }
    operator.stop().await;
    let operator = site.run().await;
    let _upgraded = site.connect(watched, "upgraded").await;
    site.connected(watched, "upgraded").await;
    assert_eq!(site.status(watched, "corp").await, status);
    operator.stop().await;

    // Uninstalled: what users wrote stays, and the kind with it.
    site.uninstall().await;
    let kubectl = site.cluster.kubectl();
    let pods = kubectl
        .run(&["get", "pods", "--namespace", HOME, "--output=name"])
        .await
        .unwrap();
    assert_eq!(pods.trim(), "", "the operator is gone");
    assert_eq!(site.status(watched, "corp").await, status);

    // Installed again: it picks up where it was.
    site.install(&[]).await;
    let operator = site.run().await;
    let _again = site.connect(watched, "again").await;
    site.connected(watched, "again").await;
    assert_eq!(site.status(watched, "corp").await, status);
    assert_eq!(probes(&bridge), 1, "a fresh verdict is no reason to ask again");
    operator.stop().await;
}

#[tokio::test]
async fn the_chart_for_all_namespaces() {
    lives(Way::Chart).await;
}

#[tokio::test]
async fn the_chart_for_a_list_of_namespaces() {
    lives(Way::ChartForNamespaces).await;
}

#[tokio::test]
async fn the_manifests_for_all_namespaces() {
    lives(Way::Manifests).await;
}

#[tokio::test]
async fn the_manifests_for_one_namespace() {
    lives(Way::ManifestsForOneNamespace).await;
}

/// Shards are added to what is there, and taken away again; each Deployment has its own Pod, and its own budget.
#[tokio::test]
async fn the_chart_with_shards() {
    let site = Site::new(Way::Chart).await;
    let kubectl = site.cluster.kubectl();
    let get = async |kind: &str| -> Vec<Value> {
        let get = ["get", kind, "--namespace", HOME, "--output=json"];
        let list: Value = serde_json::from_str(&kubectl.run(&get).await.unwrap()).unwrap();
        list["items"].as_array().unwrap().clone()
    };
    site.install(&[]).await;
    let alone = get("deployments").await;
    assert_eq!(alone.len(), 1);

    site.install(&["shards={a,b}", "podDisruptionBudget.create=always"])
        .await;
    let (deployments, budgets) = (get("deployments").await, get("poddisruptionbudgets").await);
    assert_eq!((deployments.len(), budgets.len()), (3, 3));
    assert!(
        deployments
            .iter()
            .any(|deployment| deployment["metadata"]["uid"] == alone[0]["metadata"]["uid"]),
        "what was there was not replaced"
    );
    for deployment in &deployments {
        assert_eq!(deployment["status"]["readyReplicas"], 1, "{deployment}");
    }
    for budget in budgets {
        assert_eq!(budget["status"]["expectedPods"], 1, "{budget}");
    }

    site.install(&[]).await;
    let deployments = get("deployments").await;
    assert_eq!(deployments.len(), 1);
    assert_eq!(deployments[0]["metadata"]["uid"], alone[0]["metadata"]["uid"]);
}

/// A Pod that is not restricted is refused where the operator's is admitted: the namespace does enforce.
#[tokio::test]
async fn the_namespace_admits_restricted_pods_only() {
    let site = Site::new(Way::Manifests).await;
    site.install(&[]).await;
    let mut pod: Value = site.pod().await;
    pod["spec"]["containers"][0]["securityContext"]["capabilities"] = Value::Null;
    let metadata = serde_json::json!({"name": "loose", "namespace": HOME});
    pod["metadata"] = metadata;
    let refused = site
        .cluster
        .apply(&pod.to_string())
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("violates PodSecurity \"restricted"), "{refused}");
}

/// Names of releases that no Service may have: with the version in it, and with a digit in front.
#[tokio::test]
async fn a_release_may_be_named_as_no_service_may_be() {
    let site = Site::new(Way::Chart).await;
    let chart = workspace::root().join("charts/scim-bridge-operator");
    let chart = chart.display().to_string();
    // Nothing runs: this is about what the API server takes. The first release brings the CRD.
    for (release, crd, name) in [
        ("scim-bridge-operator-0.1.0", "true", "scim-bridge-operator-0-1-0"),
        ("7.corp", "false", "r7-corp-scim-bridge-operator"),
    ] {
        let crd = format!("crds.install={crd}");
        let install = [
            "install",
            release,
            &chart,
            "--namespace",
            HOME,
            "--set",
            "replicas=0,shards={a}",
            "--set",
            &crd,
        ];
        site.helm().run(&install).await.unwrap();
        let selector = format!("--selector=app.kubernetes.io/instance={release}");
        let kinds = "services,deployments,serviceaccounts";
        let get = ["get", kinds, "--namespace", HOME, &selector, "--output=name"];
        let found = site.cluster.kubectl().run(&get).await.unwrap();
        let found: Vec<_> = found
            .lines()
            .filter_map(|line| line.split('/').next_back())
            .collect();
        let shard = format!("{name}-a");
        assert_eq!(found, [name, &shard, name, &shard, name], "{release}");
    }
}
