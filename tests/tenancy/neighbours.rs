//! What the namespaces of others have to do with a connection: nothing.

use bridge_front::Authority;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PatchParams;
use serde_json::{Value, json};
use testbed::{
    bed::{Bed, DEADLINE, KEY, LOOPBACK, WRONG_KEY, assert_no_canary, line, pings, status, whole_spec},
    spec,
};

use crate::attacker::{Attacker, refusal};

/// Two namespaces, one operator for both, and objects of the same names: changes here are nothing there.
#[tokio::test]
async fn a_secret_of_another_namespace_is_another_secret() {
    let (here, there) = (Bed::new("here").await, Bed::new("there").await);
    let bridges = [here.healthy_bridge().await, there.healthy_bridge().await];
    let both = format!("{},{}", here.namespace, there.namespace);
    let flags = [&["--leader-elect=false", "--namespaces", &both], &LOOPBACK[..]].concat();
    let operator = here.spawn_exactly_as(&here.kubeconfig, &flags).await;
    operator.ready(DEADLINE).await.unwrap();
    here.connect_well("corp", &bridges[0]).await;
    there.connect_well("corp", &bridges[1]).await;
    let before = here.expect("corp", "True Connected").await;
    there.expect("corp", "True Connected").await;

    for key in [WRONG_KEY, KEY, WRONG_KEY] {
        let secret = there.secret("corp", key).await;
        there.judged("corp", &secret).await;
    }
    let authority = Authority::new().unwrap();
    there.config_map("ca", authority.ca_pem()).await;
    there.expect("corp", "False CertificateUntrusted Stalled").await;
    there.delete::<Secret>("corp").await;
    there.expect("corp", "False SecretNotFound Reconciling").await;
    let after = here.get("corp").await;
    assert_eq!(after.metadata.resource_version, before.metadata.resource_version);
    assert_eq!(pings(&bridges[0]), 1);
    // Gone there, it is not looked for here, where there is one of that name.
    here.probe("corp").await;
    here.expect("corp", "True Connected").await;
    let missing = there.probe("corp").await;
    assert_eq!(status(&missing).binding, None);
    assert!(line(&missing).starts_with("False SecretNotFound"));
}

/// The binding, which other programs take for the name of a Secret that works, is the operator's word, and only while it
/// is true.
#[tokio::test]
async fn nobody_else_writes_the_binding() {
    let bed = Bed::new("binding").await;
    let bridge = bed.healthy_bridge().await;
    let attacker = Attacker::new(&bed).await;
    bed.secret("corp", WRONG_KEY).await;
    bed.secret("other", KEY).await;
    let forged = json!({"binding": {"name": "other"}, "observedGeneration": 1});
    attacker
        .create_with_status("corp", &whole_spec("corp", &bridge.url()), &forged)
        .await;
    // The default of the CRD, which says that nothing was observed.
    let dropped = status(&bed.get("corp").await);
    assert_eq!((dropped.binding, dropped.observed_generation), (None, -1));
    let connections = attacker.connections();
    let patch = kube::api::Patch::Merge(json!({"status": forged}));
    let patched = connections
        .patch_status("corp", &PatchParams::default(), &patch)
        .await;
    assert_eq!(refusal(patched.unwrap_err()).0, 403);

    let _operator = bed.operator(&[]).await;
    let binding = async |line: &str| {
        status(&bed.expect("corp", line).await)
            .binding
            .map(|binding| binding.name)
    };
    assert_eq!(binding("False AuthFailed Stalled").await, None);
    bed.secret("corp", KEY).await;
    assert_eq!(binding("True Connected").await.as_deref(), Some("corp"));
    bed.edit("corp", spec().secret("absent")).await;
    assert_eq!(binding("False SecretNotFound Reconciling").await, None);
    bed.edit("corp", spec().secret("other")).await;
    assert_eq!(binding("True Connected").await.as_deref(), Some("other"));
}

/// A CA reference reads Secrets, too. Nothing of what is in them is told.
#[tokio::test]
async fn a_ca_reference_tells_nothing_of_a_secret() {
    let bed = Bed::new("oracle").await;
    let bridge = bed.healthy_bridge().await;
    let operator = bed.operator(&[]).await;
    bed.secret("corp", KEY).await;
    let framed = format!("-----BEGIN CERTIFICATE-----\n{KEY}\n-----END CERTIFICATE-----\n");
    bed.secret_entry("framed", "ca.crt", &framed).await;
    for (name, key, expected) in [
        ("corp", "apiKey", "False CaInvalid Stalled"),
        ("framed", "ca.crt", "False CaInvalid Stalled"),
        ("corp", "absent", "False CaNotFound Reconciling"),
        ("absent", "apiKey", "False CaNotFound Reconciling"),
    ] {
        bed.connect("corp", &bridge, spec().ca_entry("Secret", name, key))
            .await;
        let connection = bed.expect("corp", expected).await;
        assert_no_canary("the status", &serde_json::to_string(&connection.status).unwrap());
    }
    assert_eq!(bridge.traffic().connections, 0);
    assert_no_canary("the metrics", &operator.metrics().await.unwrap());
}

/// A Secret that the operator may not read and one that does not exist look alike to the author of a connection.
#[tokio::test]
async fn what_may_not_be_read_is_not_told_from_what_is_not_there() {
    let bed = Bed::new("hidden").await;
    let bridge = bed.healthy_bridge().await;
    let kubeconfig = half_blind(&bed).await;
    for name in ["known", "hidden"] {
        bed.secret(name, KEY).await;
    }
    let operator = bed
        .spawn_as(&kubeconfig, &[&["--leader-elect=false"], &LOOPBACK[..]].concat())
        .await;
    bed.connect("known", &bridge, json!({})).await;
    bed.expect("known", "True Connected").await;
    let mut told: Vec<Value> = Vec::new();
    for name in ["hidden", "absent"] {
        bed.connect(name, &bridge, json!({})).await;
        let connection = bed.until(name, "a word", |object| !line(object).is_empty()).await;
        let mut seen = serde_json::to_value(status(&connection)).unwrap();
        for condition in seen["conditions"].as_array_mut().unwrap() {
            condition["lastTransitionTime"].take();
        }
        for time in ["lastProbeTime", "nextProbeTime"] {
            seen[time].take();
        }
        told.push(seen);
    }
    assert_eq!(told[0], told[1]);
    let text = told[0].to_string();
    assert!(
        text.contains("RBAC does not allow the operator to read"),
        "it is said what to do: {text}"
    );
    assert_eq!(pings(&bridge), 1);
    drop(operator);
}

/// An operator's kubeconfig that sees which Secrets there are, and may read but one.
async fn half_blind(bed: &Bed<'_>) -> std::path::PathBuf {
    let group = "rbac.authorization.k8s.io";
    let metadata = json!({"name": "half-blind", "namespace": bed.namespace});
    let look = ["get", "list", "watch"];
    let rights = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata, "rules": [
            {"apiGroups": ["scimbridge.dev"], "resources": ["scimbridgeconnections"], "verbs": look},
            {"apiGroups": ["scimbridge.dev"], "resources": ["scimbridgeconnections/status"], "verbs": ["patch"]},
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": look},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]},
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["known"], "verbs": ["get"]},
        ]},
        {"apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata,
         "roleRef": {"apiGroup": group, "kind": "Role", "name": "half-blind"},
         "subjects": [{"kind": "ServiceAccount", "name": "half-blind", "namespace": bed.namespace}]},
    ]});
    bed.cluster.apply(&rights.to_string()).await.unwrap();
    let kubeconfig = bed
        .cluster
        .service_account_kubeconfig(&bed.namespace, "half-blind");
    kubeconfig.await.unwrap()
}
