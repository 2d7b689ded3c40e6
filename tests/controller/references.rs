//! The objects that a connection refers to: each change leads to one probe, and to no more.

use std::time::Duration;

use bridge_front::Authority;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::json;
use testbed::{
    bed::{Bed, DEADLINE, KEY, WRONG_KEY, pings, status},
    spec, wait,
};

#[tokio::test]
async fn a_rotated_key_is_tried_at_once() {
    let bed = Bed::new("rotation").await;
    let bridge = bed.healthy_bridge().await;
    let operator = bed.operator(&[]).await;
    let kubectl_apply = async |key: &str| {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "corp", "namespace": bed.namespace}, "stringData": {"apiKey": key},
        });
        bed.cluster.apply(&secret.to_string()).await.unwrap();
    };
    kubectl_apply(WRONG_KEY).await;
    bed.connect("corp", &bridge, json!({})).await;
    let connection = bed.expect("corp", "False AuthFailed Stalled").await;
    assert_eq!(status(&connection).binding, None);

    kubectl_apply(KEY).await;
    bed.expect("corp", "True Connected").await;
    kubectl_apply(WRONG_KEY).await;
    bed.expect("corp", "False AuthFailed Stalled").await;
    kubectl_apply(KEY).await;
    bed.expect("corp", "True Connected").await;
    bed.probe("corp").await;
    assert_eq!(pings(&bridge), 5, "one probe for each key, and the one asked for");
    assert_eq!(operator.probes().await, 5);
}

/// One after the other, with a wrong authority in it and the right one.
#[tokio::test]
async fn a_corrected_ca_is_tried_at_once_wherever_it_lies() {
    let bed = Bed::new("ca").await;
    let bridge = bed.healthy_bridge().await;
    let operator = bed.operator(&[]).await;
    let (wrong, right) = (Authority::new().unwrap(), bed.ca_pem());
    bed.secret("corp", KEY).await;

    bed.config_map("private-ca", wrong.ca_pem()).await;
    let ca = |kind: &str| spec().ca_entry(kind, "private-ca", "ca.crt");
    bed.connect("corp", &bridge, ca("ConfigMap")).await;
    bed.expect("corp", "False CertificateUntrusted Stalled").await;
    bed.config_map("private-ca", right).await;
    bed.expect("corp", "True Connected").await;
    bed.config_map("private-ca", "no certificate").await;
    bed.expect("corp", "False CaInvalid Stalled").await;
    bed.delete::<ConfigMap>("private-ca").await;
    bed.expect("corp", "False CaNotFound Reconciling").await;
    assert_eq!(operator.probes().await, 4);

    bed.edit("corp", ca("Secret")).await;
    bed.until("corp", "the second generation", |object| {
        testbed::bed::observed(object) == 2
    })
    .await;
    bed.secret_entry("private-ca", "ca.crt", wrong.ca_pem()).await;
    bed.expect("corp", "False CertificateUntrusted Stalled").await;
    bed.secret_entry("private-ca", "ca.crt", right).await;
    bed.expect("corp", "True Connected").await;
    bed.probe("corp").await;
    assert_eq!(operator.probes().await, 8);
    assert_eq!(pings(&bridge), 3, "whoever is not trusted is not asked anything");
}

#[tokio::test]
async fn a_secret_that_is_missing_or_unusable_is_waited_for() {
    let bed = Bed::new("secret").await;
    let bridge = bed.healthy_bridge().await;
    let operator = bed.operator(&[]).await;
    bed.connect("corp", &bridge, json!({})).await;
    // GitOps tools apply objects in any order: not stalled yet.
    bed.expect("corp", "False SecretNotFound Reconciling").await;
    bed.secret("corp", KEY).await;
    bed.expect("corp", "True Connected").await;
    assert_eq!(pings(&bridge), 1);

    bed.delete::<Secret>("corp").await;
    let connection = bed.expect("corp", "False SecretNotFound Reconciling").await;
    assert_eq!(
        (status(&connection).credential, status(&connection).binding),
        (None, None)
    );

    bed.secret_entry("corp", "token", KEY).await;
    bed.expect("corp", "False SecretKeyMissing Stalled").await;
    for malformed in ["", "two words", "canary-key\nwith-a-line-break", "\u{7f}"] {
        let secret = bed.secret("corp", malformed).await;
        bed.judged("corp", &secret).await;
        bed.expect("corp", "False ApiKeyMalformed Stalled").await;
    }
    assert_eq!(pings(&bridge), 1, "nobody was asked without a key");
    bed.secret("corp", KEY).await;
    bed.expect("corp", "True Connected").await;
    assert_eq!(pings(&bridge), 2);
    assert_eq!(operator.probes().await, 9);
}

/// A Secret that stays away is somebody's fault after all, and nobody has to touch anything for that to be said.
#[tokio::test]
async fn grace_for_a_missing_secret_ends_by_itself() {
    let bed = Bed::new("grace").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&[]).await;
    let mut tape = bed.tape("corp").await;
    bed.connect("corp", &bridge, json!({})).await;
    let stalled = "False SecretNotFound Stalled";
    let versions = tape
        .until(stalled, |object| testbed::bed::line(object) == stalled)
        .await;
    assert_eq!(
        testbed::bed::story(&versions),
        ["", "False SecretNotFound Reconciling", stalled]
    );
    let transitions = |object| {
        let conditions = status(object).conditions;
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
        ready.unwrap().last_transition_time.clone()
    };
    let [.., grace, end] = versions.as_slice() else {
        panic!("{versions:?}");
    };
    assert_eq!(
        transitions(grace),
        transitions(end),
        "Ready was false all the time"
    );
    let end_of_grace = status(end).last_probe_time.unwrap().0;
    let lasted = end_of_grace.duration_since(transitions(end).0);
    assert!(
        Duration::try_from(lasted).unwrap() >= Duration::from_secs(29),
        "{lasted}"
    );
}

#[tokio::test]
async fn edits_that_change_nothing_lead_to_no_probe() {
    let bed = Bed::new("quiet").await;
    let (bridge, other) = (bed.healthy_bridge().await, bed.healthy_bridge().await);
    let operator = bed.operator(&[]).await;
    bed.secret("unrelated", "canary-key-of-nobody").await;
    bed.connect_well("corp", &bridge).await;
    bed.connect_well("marker", &other).await;
    bed.expect("corp", "True Connected").await;
    bed.expect("marker", "True Connected").await;

    bed.label("corp", "one").await;
    bed.annotate("corp", "example.com/note", "two").await;
    bed.patch::<scim_bridge_operator::api::v1alpha1::ScimBridgeConnection>(
        "corp",
        json!({"metadata": {"finalizers": ["example.com/keep"]}}),
    )
    .await;
    bed.patch::<scim_bridge_operator::api::v1alpha1::ScimBridgeConnection>(
        "corp",
        json!({"metadata": {"finalizers": null}}),
    )
    .await;
    for key in ["canary-key-one", "canary-key-two"] {
        bed.secret("unrelated", key).await;
    }
    bed.delete::<Secret>("unrelated").await;
    bed.config_map("unrelated", "anything").await;
    // Whatever the edits above lead to comes before these.
    let config_map = bed
        .config_map(testbed::bed::CA, &format!("# new\n{}", bed.ca_pem()))
        .await;
    for name in ["marker", "corp"] {
        bed.until(name, "a verdict about the newest CA", |object| {
            status(object).ca.as_ref() == Some(&config_map)
        })
        .await;
    }
    let marker = bed.secret("marker", WRONG_KEY).await;
    bed.judged("marker", &marker).await;
    bed.probe("corp").await;
    assert_eq!(pings(&bridge), 3, "at first, with the new CA, and as asked for");
    assert_eq!(operator.count("connections", "").await, 2);
}

/// Two connections with one Secret: both are judged anew by one change.
#[tokio::test]
async fn a_shared_secret_concerns_all_who_share_it() {
    let bed = Bed::new("shared").await;
    let bridges = [bed.healthy_bridge().await, bed.healthy_bridge().await];
    let _operator = bed.operator(&[]).await;
    bed.secret("both", WRONG_KEY).await;
    for (name, bridge) in ["one", "other"].into_iter().zip(&bridges) {
        bed.connect(name, bridge, spec().secret("both")).await;
        bed.expect(name, "False AuthFailed Stalled").await;
    }
    // One of them lets go of it: the other still is told.
    bed.delete::<scim_bridge_operator::api::v1alpha1::ScimBridgeConnection>("one")
        .await;
    wait::until_gone(DEADLINE, &bed.connections(), "one")
        .await
        .unwrap();
    bed.secret("both", KEY).await;
    bed.expect("other", "True Connected").await;
    assert_eq!([pings(&bridges[0]), pings(&bridges[1])], [1, 2]);
}
