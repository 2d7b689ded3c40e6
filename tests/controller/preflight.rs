//! What the cluster lacks, said in one line, and how the operator goes on: by itself, once it is there.

use std::{
    iter,
    path::{Path, PathBuf},
    process::Command,
};

use scim_bridge_operator::api::{
    self,
    kinds::{CONNECTION, PROVISIONING_KINDS},
};
use serde_json::{Value, json};
use testbed::{
    Cluster,
    bed::{Bed, DEADLINE, LOOPBACK, OPERATOR, Operator, own_cluster, pings, status},
    wait, workspace,
};

use crate::process::get;

const CRD: &str = "scimbridgeconnections.scimbridge.dev";

/// The CRD of this version, as JSON.
fn crd() -> Value {
    serde_json::to_value(api::crd()).unwrap()
}

/// The CRD, as it might have been before this field was added.
fn older_crd(part: &str, field: &str) -> Value {
    let mut crd = crd();
    let pointer = format!("/spec/versions/0/schema/openAPIV3Schema/properties/{part}/properties");
    let fields = crd.pointer_mut(&pointer).unwrap().as_object_mut().unwrap();
    fields.remove(field).unwrap();
    crd
}

/// Somebody else's, under the same name.
fn foreign_crd() -> Value {
    let mut crd = crd();
    crd["spec"]["scope"] = "Cluster".into();
    crd["metadata"]["labels"] = json!({});
    crd
}

/// Waits until `/readyz` says this, among other things.
async fn readyz(operator: &Operator, words: &str) {
    let said = wait::until(DEADLINE, words, async || {
        let answer = get(operator.admin(), "/readyz").await;
        if answer.contains(words) {
            Ok(())
        } else {
            Err(answer)
        }
    });
    said.await.unwrap_or_else(|error| panic!("{error}"));
}

/// What `preflight` says, and whether it is content.
pub(crate) async fn preflight(kubeconfig: &Path, flags: &[&str]) -> (String, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scim-bridge-operator"));
    command
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .args(["preflight", "--timeout", "0s", "--lease-namespace", OPERATOR])
        .args(flags);
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.success())
}

/// A ServiceAccount that may do the operator's work in some namespaces, and its kubeconfig.
async fn account(cluster: &Cluster, home: &str, name: &str, namespaces: &[&str]) -> PathBuf {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": home}});
    cluster.apply(&account.to_string()).await.unwrap();
    for namespace in namespaces {
        admit(cluster, home, name, namespace).await;
    }
    cluster.service_account_kubeconfig(home, name).await.unwrap()
}

/// Lets the ServiceAccount do the operator's work in this namespace.
async fn admit(cluster: &Cluster, home: &str, name: &str, namespace: &str) {
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": OPERATOR},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": home}]});
    cluster.apply(&binding.to_string()).await.unwrap();
}

/// How often the log says a sentence that begins like this.
fn times(operator: &Operator, beginning: &str) -> usize {
    let events = operator.events();
    let said = |event: &&Value| {
        event["message"]
            .as_str()
            .is_some_and(|said| said.starts_with(beginning))
    };
    events.iter().filter(said).count()
}

#[tokio::test]
async fn a_definition_that_is_absent_foreign_or_old_is_named_and_waited_for() {
    if own_cluster().await.is_none() {
        return;
    }
    let cluster = Cluster::start().await.unwrap();
    let deploy = workspace::root().join("deploy");
    let manifests = ["namespace.yaml", "base/rbac.yaml", "rbac.yaml"].map(|file| deploy.join(file));
    cluster
        .install(&manifests.each_ref().map(PathBuf::as_path))
        .await
        .unwrap();
    let bed = Bed::on_own(&cluster, "definition").await;
    let bridge = bed.healthy_bridge().await;
    let kubectl = cluster.kubectl();

    let operator = bed
        .spawn(&[&["--leader-elect=false"], &LOOPBACK[..]].concat())
        .await;
    readyz(&operator, "the CRD is not installed").await;
    operator.says("not ready: the CRD is not installed").await;
    let (said, content) = preflight(&bed.kubeconfig, &[]).await;
    assert!(said.starts_with("FAIL  the CRD is not installed"), "{said}");
    assert!(
        said.contains("\nok    this identity has all required permissions\n"),
        "{said}"
    );
    assert!(!content);
    // Each kind names its own manifest and values.
    let (said, _) = preflight(&bed.kubeconfig, &["--provisioning"]).await;
    let kinds = iter::once(&CONNECTION).chain(&PROVISIONING_KINDS);
    for kind in kinds {
        let (manifest, values) = (kind.manifest, kind.chart_values);
        let plural = (kind.resource)().plural;
        let sentence =
            format!("serve {plural}.scimbridge.dev. Apply {manifest}, or install the chart with {values}\n");
        assert!(said.contains(&sentence), "{sentence} in {said}");
    }

    cluster.apply(&foreign_crd().to_string()).await.unwrap();
    readyz(&operator, "another product owns the CRD").await;
    kubectl
        .run(&["delete", "crd", CRD, "--wait=false"])
        .await
        .unwrap();
    readyz(&operator, "the CRD is not installed").await;

    // An older one, with which no status could be written.
    cluster
        .apply(&older_crd("status", "binding").to_string())
        .await
        .unwrap();
    readyz(
        &operator,
        "the CRD scimbridgeconnections.scimbridge.dev is older than this operator: it has no status.binding. Apply",
    )
    .await;
    bed.connect_well("corp", &bridge).await;
    let (said, content) = preflight(&bed.kubeconfig, &[]).await;
    assert!(
        said.starts_with("FAIL  the CRD scimbridgeconnections.scimbridge.dev is older than this operator"),
        "{said}"
    );
    assert!(!content);
    assert_eq!(
        pings(&bridge),
        0,
        "no bridge is asked for an answer that cannot be written"
    );

    // One that lacks what nobody can have set: the work goes on, and the roll-out does not.
    let older = older_crd("spec", "nextApiKeySecretRef").to_string();
    cluster.apply(&older).await.unwrap();
    readyz(&operator, "it has no spec.nextApiKeySecretRef. Apply").await;
    let connection = bed.expect("corp", "True Connected").await;
    assert_eq!(status(&connection).binding.unwrap().name, "corp");

    // Upgraded under it: nothing is lost, and nothing is asked again.
    cluster.apply(&crd().to_string()).await.unwrap();
    operator.ready(DEADLINE).await.unwrap();
    assert_eq!(testbed::bed::line(&bed.get("corp").await), "True Connected");
    assert_eq!(pings(&bridge), 1);
    let (said, content) = preflight(&bed.kubeconfig, &[]).await;
    assert!(content, "{said}");

    // One line for each finding, not one for each look; the CRD was found absent twice.
    assert_eq!(times(&operator, "not ready: the CRD is not installed"), 2);
    assert_eq!(
        times(
            &operator,
            "not ready: the CRD scimbridgeconnections.scimbridge.dev is older"
        ),
        2
    );
}

#[tokio::test]
async fn a_namespace_that_may_not_be_read_holds_up_no_other() {
    let open = Bed::new("open").await;
    let closed = Bed::new("closed").await;
    let bridge = open.healthy_bridge().await;
    let (here, there) = (open.namespace.as_str(), closed.namespace.as_str());
    let kubeconfig = account(open.cluster, here, "tenant", &[here]).await;

    let namespaces = format!("{here},{there}");
    let flags = ["--leader-elect=false", "--namespaces", &namespaces];
    let operator = open
        .spawn_exactly_as(&kubeconfig, &[&flags, &LOOPBACK[..]].concat())
        .await;
    open.connect_well("corp", &bridge).await;
    open.expect("corp", "True Connected").await;
    open.secret("corp", testbed::bed::WRONG_KEY).await;
    open.expect("corp", "False AuthFailed Stalled").await;
    readyz(
        &operator,
        &format!("may not get, list, watch secrets in namespace {there}"),
    )
    .await;
    let (said, content) = preflight(&kubeconfig, &flags).await;
    for finding in [
        "get, list, watch scimbridgeconnections",
        "patch scimbridgeconnections/status",
        "get, list, watch secrets",
        "get, list, watch configmaps",
    ] {
        let line = format!("FAIL  this identity may not {finding} in namespace {there}. Grant it");
        assert!(said.contains(&line), "{line} in:\n{said}");
    }
    assert_eq!((said.matches("FAIL").count(), content), (4, false), "{said}");

    admit(open.cluster, here, "tenant", there).await;
    operator.ready(DEADLINE).await.unwrap();
    closed.connect_well("corp", &closed.healthy_bridge().await).await;
    closed
        .until("corp", "a verdict", |object| testbed::bed::observed(object) == 1)
        .await;
    let (said, content) = preflight(&kubeconfig, &flags).await;
    assert!(content, "{said}");
}

#[tokio::test]
async fn without_a_right_to_its_lease_a_replica_waits() {
    let bed = Bed::new("no-lease").await;
    let here = bed.namespace.as_str();
    let kubeconfig = account(bed.cluster, here, "tenant", &[here]).await;
    let flags = ["--lease-namespace", here];
    let operator = bed.spawn_as(&kubeconfig, &flags).await;
    readyz(&operator, &format!("may not create leases in namespace {here}")).await;
    readyz(
        &operator,
        &format!("may not get, update leases in namespace {here}"),
    )
    .await;
    assert_eq!(operator.count("leader", "").await, 0);
    // It does not have to lead to be able to end.
    operator.stop().await;
}

#[tokio::test]
async fn preflight_asks_the_operator_whether_it_is_ready() {
    let bed = Bed::new("asked").await;
    let operator = bed.operator(&[]).await;
    let url = format!("http://{}", operator.admin());
    let flags = ["--operator-url", url.as_str()];
    let (said, content) = preflight(&bed.kubeconfig, &flags).await;
    assert!(said.ends_with("ok    the operator is ready\n"), "{said}");
    assert!(content);
    operator.stop().await;
    let (said, content) = preflight(&bed.kubeconfig, &flags).await;
    assert!(
        said.contains("FAIL  the operator does not answer at http://127.0.0.1:"),
        "{said}"
    );
    assert!(!content);
}
