//! A GitOps tool applies the same manifest for ever; the operator writes the status. Neither undoes the other's work.

use kube::api::{Patch, PatchParams};
use testbed::{
    bed::{Bed, KEY, whole_spec},
    connection,
};

#[tokio::test]
async fn an_apply_that_repeats_itself_changes_nothing_and_meets_no_conflict() {
    let bed = Bed::new("gitops").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", KEY).await;
    // As it stands in Git: with nothing of what the API server adds.
    let manifest = connection(
        &format!("{}/corp", bed.namespace),
        whole_spec("corp", &bridge.url()),
    );
    let connections = bed.connections();
    for manager in ["kustomize-controller", "argocd-controller", "helm"] {
        // Without force: a conflict would be an error.
        let parameters = PatchParams::apply(manager);
        connections
            .patch("corp", &parameters, &Patch::Apply(&manifest))
            .await
            .unwrap();
        bed.expect("corp", "True Connected").await;
        let before = bed.probe("corp").await;
        let after = connections
            .patch("corp", &parameters, &Patch::Apply(&manifest))
            .await
            .unwrap();
        assert_eq!(
            (after.metadata.resource_version, after.metadata.generation),
            (before.metadata.resource_version, before.metadata.generation),
            "{manager}: the same manifest again is no change, whatever the operator wrote meanwhile"
        );
        let field_manager = format!("--field-manager={manager}");
        let diff = ["diff", "--server-side", &field_manager, "--filename", "-"];
        let output = bed
            .cluster
            .kubectl()
            .output(&diff, &manifest.to_string())
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{manager} sees a difference:\n{said}");
    }
    // What the operator owns is the status, and nothing else.
    let owned = bed.get("corp").await.metadata.managed_fields.unwrap();
    let operators: Vec<_> = owned
        .iter()
        .filter(|entry| entry.manager.as_deref() == Some("scim-bridge-operator"))
        .collect();
    assert_eq!(operators.len(), 1);
    assert_eq!(operators[0].subresource.as_deref(), Some("status"));
    let fields = serde_json::to_value(&operators[0].fields_v1).unwrap();
    assert_eq!(
        fields.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["f:status"]
    );
}
