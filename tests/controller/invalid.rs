//! Objects that cannot be used: each is told so, and none stands in the way of others.
//!
//! The shipped CRD lets few of them through. In a cluster of their own the CRD's rules are off, as they are where an
//! older CRD is installed, or somebody edited it.

use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use scim_bridge_operator::api::{REQUESTED_AT_ANNOTATION, connection::ScimBridgeConnection};
use serde_json::{Value, json};
use testbed::{
    Spec,
    bed::{Bed, DEADLINE, KEY, line, own_cluster_without_rules, pings, whole_spec},
    connection, spec, wait,
};

const CASES: &[(&str, &str)] = &[
    ("number-for-interval", r#"{"interval": 300}"#),
    ("nonsense-for-interval", r#"{"interval": "soon"}"#),
    ("unheard-of-provider", r#"{"identityProvider": "Nobody"}"#),
    ("text-for-reference", r#"{"apiKeySecretRef": "corp"}"#),
    ("no-reference", r#"{"apiKeySecretRef": null}"#),
    (
        "unheard-of-ca",
        r#"{"tls": {"caRef": {"kind": "Pod", "name": "ca"}}}"#,
    ),
    ("text-for-suspend", r#"{"suspend": "no"}"#),
    ("number-for-url", r#"{"url": 7}"#),
    ("no-url", r#"{"url": null}"#),
    ("empty-url", r#"{"url": ""}"#),
    ("plain-http", r#"{"url": "http://127.0.0.1:1", "tls": null}"#),
    ("other-scheme", r#"{"url": "file:///etc/passwd"}"#),
    ("user-in-url", r#"{"url": "https://user:canary@127.0.0.1"}"#),
    ("path-in-url", r#"{"url": "https://127.0.0.1/login"}"#),
    ("short-interval", r#"{"interval": "1s", "timeout": "1s"}"#),
    ("endless-timeout", r#"{"interval": "24h", "timeout": "23h"}"#),
    ("no-threshold", r#"{"failureThreshold": 0}"#),
    ("negative-threshold", r#"{"failureThreshold": -1}"#),
];

#[tokio::test]
async fn an_unusable_object_is_told_so_and_harms_no_other() {
    let Some(cluster) = own_cluster_without_rules().await else {
        return;
    };
    let bed = Bed::on_own(&cluster, "invalid").await;
    let bridge = bed.healthy_bridge().await;
    bed.secret("corp", KEY).await;
    for (name, more) in CASES {
        let more: Value = serde_json::from_str(more).unwrap();
        create(&bed, name, whole_spec("corp", &bridge.url()).and(more)).await;
    }
    create(&bed, "without-spec", spec()).await;

    let operator = bed.operator(&[]).await;
    bed.connect("corp", &bridge, json!({})).await;
    bed.expect("corp", "True Connected").await;
    let names = || CASES.iter().map(|(name, _)| *name).chain(["without-spec"]);
    let mut versions = Vec::new();
    for name in names() {
        versions.push(invalid(&bed, name).await);
    }

    // Edits of the Secret concern the neighbour; of the others none is written to again, and no key goes anywhere.
    for key in ["canary-key-two", "canary-key-three"] {
        let secret = bed.secret("corp", key).await;
        bridge.set(|state| state.key = key.into());
        bed.judged("corp", &secret).await;
        bed.probe("corp").await;
    }
    let connection = bed.probe("corp").await;
    assert_eq!(line(&connection), "True Connected");
    for (name, before) in names().zip(&versions) {
        assert_eq!(invalid(&bed, name).await, *before, "{name} was written to again");
    }
    assert_eq!(pings(&bridge), 6);
    // Once at first, and once for each version of the Secret that some of them name.
    let passes = operator.count("probes_total", "InvalidSpec").await;
    assert!(passes <= 4 * 19, "{passes} passes over 19 objects");
    assert_eq!(operator.count("connections", "").await, 20);
    assert_eq!(operator.count("reconcile_failures_total", "").await, 0);

    // Put right, it is probed; a label on one that is not is no news.
    let repaired = patch(&bed, "number-for-interval", json!({"spec": {"interval": "2h"}})).await;
    assert_eq!(repaired.metadata.generation, Some(2));
    bed.expect("number-for-interval", "True Connected").await;
    operator.stop().await;

    // A new operator reads the old verdicts, answers requests, and writes nothing else.
    let operator = bed.operator(&[]).await;
    bed.probe("corp").await;
    let unusable = || names().filter(|name| *name != "number-for-interval");
    let request = json!({"metadata": {"annotations": {REQUESTED_AT_ANNOTATION: "now"}}});
    for name in unusable() {
        patch(&bed, name, request.clone()).await;
    }
    for name in unusable() {
        expect(&bed, name, "an answer to the request", |object| {
            object.data["status"]["lastHandledReconcileAt"] == "now"
        })
        .await;
    }
    let mut versions = Vec::new();
    for name in unusable() {
        versions.push(invalid(&bed, name).await);
    }
    let secret = bed.secret("corp", KEY).await;
    bed.judged("corp", &secret).await;
    bed.probe("corp").await;
    for (name, before) in unusable().zip(&versions) {
        assert_eq!(invalid(&bed, name).await, *before, "{name} was written to again");
    }
    assert_eq!(operator.count("reconcile_failures_total", "").await, 0);
}

/// Creates an object that the typed client could not express.
async fn create(bed: &Bed<'_>, name: &str, spec: Spec) {
    let object = connection(&format!("{}/{name}", bed.namespace), spec);
    bed.cluster.apply(&object.to_string()).await.unwrap();
}

async fn patch(bed: &Bed<'_>, name: &str, patch: Value) -> DynamicObject {
    let (api, parameters) = (dynamic(bed), PatchParams::default());
    api.patch(name, &parameters, &Patch::Merge(patch)).await.unwrap()
}

fn dynamic(bed: &Bed<'_>) -> Api<DynamicObject> {
    let kind = ApiResource::erase::<ScimBridgeConnection>(&());
    Api::namespaced_with(bed.client.clone(), &bed.namespace, &kind)
}

async fn expect(
    bed: &Bed<'_>,
    name: &str,
    what: &str,
    fits: impl Fn(&DynamicObject) -> bool,
) -> DynamicObject {
    let what = format!("{name}: {what}");
    let found = wait::until(DEADLINE, &what, async || {
        let object = dynamic(bed).get(name).await.map_err(|error| error.to_string())?;
        if fits(&object) {
            Ok(object)
        } else {
            Err(object.data.to_string())
        }
    });
    found.await.unwrap_or_else(|error| panic!("{error}"))
}

/// Waits for the verdict; gives the version that has it.
async fn invalid(bed: &Bed<'_>, name: &str) -> String {
    let object = expect(bed, name, "InvalidSpec, stalled", |object| {
        let status = &object.data["status"];
        let conditions = status["conditions"].as_array();
        let has = |type_: &str, truth: &str| {
            conditions.into_iter().flatten().any(|condition| {
                condition["type"] == type_
                    && condition["status"] == truth
                    && condition["reason"] == "InvalidSpec"
            })
        };
        has("Ready", "False") && has("Stalled", "True") && status["observedGeneration"] == 1
    });
    object.await.metadata.resource_version.unwrap()
}
