//! The real API server takes the manifests, in the order in which they stand.

use serde_json::{Value, json};
use testbed::{Cluster, cluster::CLUSTER, workspace};

use crate::render::{EVERYWHERE, OPERATOR, objects};

/// kubectl applies files in their order and does not wait: what comes too early is refused.
#[tokio::test]
async fn one_file_is_the_whole_installation() {
    if std::env::var_os(CLUSTER).is_some_and(|choice| !choice.is_empty()) {
        return;
    }
    let cluster = Cluster::start().await.unwrap();
    let deploy = workspace::root().join("deploy");
    let [file, folder] = [deploy.join("install.yaml"), deploy].map(|path| path.display().to_string());
    let expected = objects(EVERYWHERE).await.0.len();
    // One after another: installed by the first, it can be applied by the others, and nothing differs at the end.
    for (args, done) in [
        (vec!["apply", "--filename", &file], "created"),
        (vec!["apply", "--kustomize", &folder], "unchanged"),
        (
            vec!["apply", "--server-side", "--filename", &file],
            "serverside-applied",
        ),
        (
            vec!["apply", "--server-side", "--kustomize", &folder],
            "serverside-applied",
        ),
        (vec!["diff", "--server-side", "--filename", &file], ""),
    ] {
        let output = cluster.kubectl().output(&args, "").await.unwrap();
        let [said, warned] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(output.status.success(), "{args:?}: {said}{warned}");
        assert_eq!(warned, "", "{args:?}");
        let lines: Vec<_> = said.lines().filter(|line| line.ends_with(done)).collect();
        let all = if done.is_empty() { 0 } else { expected };
        assert_eq!(lines.len(), all, "{args:?}: {said}");
        assert_eq!(said.lines().count(), all, "{args:?}: {said}");
    }
    pod_security(&cluster).await;
}

/// The Pod of the Deployment is admitted to its namespace, which enforces `restricted`; with any of the fields that
/// make it so taken away, it is not.
async fn pod_security(cluster: &Cluster) {
    let objects = objects(EVERYWHERE).await;
    let labels = &objects.one("Namespace")["metadata"]["labels"];
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    let template = &objects.one("Deployment")["spec"]["template"];
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "of-the-deployment", "namespace": OPERATOR, "labels": template["metadata"]["labels"]},
        "spec": template["spec"],
    });
    assert_eq!(refusal(cluster, &pod).await, None);
    for (pointer, field) in [
        ("/spec/securityContext", "runAsNonRoot"),
        ("/spec/securityContext", "seccompProfile"),
        ("/spec/containers/0/securityContext", "allowPrivilegeEscalation"),
        ("/spec/containers/0/securityContext", "capabilities"),
    ] {
        let mut pod = pod.clone();
        let context = pod.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
        assert!(context.remove(field).is_some(), "{field} is not set");
        let refused = refusal(cluster, &pod).await.unwrap_or_default();
        assert!(
            refused.contains("violates PodSecurity"),
            "without {field}: {refused:?}"
        );
    }
}

/// Why the API server would refuse the object.
async fn refusal(cluster: &Cluster, object: &Value) -> Option<String> {
    let args = [
        "create",
        "--dry-run=server",
        "--validate=strict",
        "--filename",
        "-",
    ];
    let output = cluster
        .kubectl()
        .output(&args, &object.to_string())
        .await
        .unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}
