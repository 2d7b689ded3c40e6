//! `kubectl scim-bridge release`: one held set, after a person has looked at it.

use kube::api::{Patch, PatchParams};
use scim_bridge_operator::api::{RELEASE_ANNOTATION, connection::ScimBridgeConnection};
use serde_json::{Value, json};
use testbed::{bed::Bed, connection, spec};

use crate::{
    directory::{plugin, provisioning},
    program::Run,
};

const SEVEN: &str = "0123456789abcdef0123456789abcdef";
const SIXTY: &str = "00000000000000000000000000000060";

/// Publishes pending changes as the operator does.
async fn publish(bed: &Bed<'_>, pending: &Value) {
    let status = json!({"status": {"provisioning": {
        "observedGeneration": 1, "users": 9, "suspended": 0, "managed": 9, "unmanagedActive": 0, "groups": 0,
        "pending": pending,
    }}});
    let (api, parameters) = (bed.api::<ScimBridgeConnection>(), PatchParams::default());
    let patched = api.patch_status("corp", &parameters, &Patch::Merge(status)).await;
    patched.unwrap();
}

fn held(kind: &str, count: u32, digest: &str) -> Value {
    json!({"kind": kind, "count": count, "digest": digest, "since": "2026-11-29T08:00:00Z", "held": true})
}

async fn released(bed: &Bed<'_>) -> Option<String> {
    let object = bed.api::<ScimBridgeConnection>().get("corp").await.unwrap();
    object.metadata.annotations?.remove(RELEASE_ANNOTATION)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_set_is_released() {
    let bed = Bed::new("release").await;
    let mut manage = provisioning();
    let apply = async |provisioning: &Value| {
        let spec = spec().url("https://scim.example.com").secret("corp");
        let object = connection("corp", spec.with("provisioning", provisioning.clone()));
        let args = ["apply", "-n", &bed.namespace, "-f", "-"];
        bed.cluster
            .kubectl()
            .run_with(&args, &object.to_string())
            .await
            .unwrap();
    };
    let ran = plugin(&bed, &["release", "corp"]).await;
    assert_eq!(
        (ran.code, ran.err.contains("/corp does not exist")),
        (1, true),
        "{ran:?}"
    );
    apply(&manage).await;
    let ran = plugin(&bed, &["release", "corp"]).await;
    assert_eq!(
        (ran.code, ran.err.contains("is in mode Plan")),
        (1, true),
        "{ran:?}"
    );
    manage["mode"] = "Manage".into();
    apply(&manage).await;
    let ran = plugin(&bed, &["release", "corp"]).await;
    assert_eq!(
        (ran.code, ran.err.contains("No change is held now.")),
        (1, true),
        "{ran:?}"
    );

    publish(
        &bed,
        &json!([held("Suspension", 7, SEVEN), held("Creation", 60, SIXTY)]),
    )
    .await;
    // Nobody to ask.
    let ran = plugin(&bed, &["release", "corp"]).await;
    let words = "standard input is not a terminal. In a pipeline, give --digest and --yes";
    assert_eq!((ran.code, ran.err.contains(words)), (1, true), "{ran:?}");
    let args = ["release", "corp", "-n", &bed.namespace];
    let on_terminal = async |more: &[&str], typed: &str| {
        let run = Run::plugin(bed.cluster, &[&args[..], more].concat());
        run.on_terminal().input(typed).run().await
    };
    // The wrong number, and only the first of two.
    for typed in ["8\n", "7\n8\n", "\n", "yes\n"] {
        let ran = on_terminal(&[], typed).await;
        assert_eq!(
            (ran.code, ran.out.contains("not confirmed")),
            (1, true),
            "{ran:?}"
        );
    }
    assert_eq!(released(&bed).await, None);
    let ran = on_terminal(&["--kind", "suspensions"], "7\n").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for words in [
        &format!("7 suspensions held since 2026-11-29T08:00:00Z, digest {SEVEN}; the limit is 1 in an hour"),
        "Type 7 to release 7 suspensions: ",
        "/corp  released: 7 suspensions",
        &format!("kubectl get scim -n {} --watch", bed.namespace),
        &format!("kubectl scim-bridge offboarding corp -n {}", bed.namespace),
    ] {
        assert!(ran.out.contains(words), "{words} in {}", ran.out);
    }
    assert_eq!(released(&bed).await.as_deref(), Some(SEVEN));

    // A pipeline says which.
    let ran = plugin(&bed, &["release", "corp", "--yes"]).await;
    assert_eq!((ran.code, ran.err.contains("--digest")), (1, true), "{ran:?}");
    let ran = plugin(
        &bed,
        &["release", "corp", "--yes", "--digest", &SIXTY.replace('6', "7")],
    )
    .await;
    let words = format!("Held now: 7 suspensions (digest {SEVEN}), 60 creations (digest {SIXTY}).");
    assert_eq!((ran.code, ran.err.contains(&words)), (1, true), "{ran:?}");
    let ran = plugin(&bed, &["release", "corp", "--yes", "--digest", SIXTY]).await;
    assert_eq!(
        (ran.code, ran.out.contains("released: 60 creations")),
        (0, true),
        "{ran:?}"
    );
    // The suspensions are not sent yet, so they stay released.
    assert_eq!(released(&bed).await, Some(format!("{SIXTY},{SEVEN}")));
}
