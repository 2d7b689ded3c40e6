//! A connection from its first probe on: what is proven, what is shown, what follows a change of the specification.

use serde_json::{Value, json};
use testbed::{
    ScimServer,
    bed::{Bed, KEY, OPERATOR, line, observed, pings, status, version},
    free_port, spec,
};

#[tokio::test]
async fn a_connection_is_proven_and_shown() {
    let bed = Bed::new("proven").await;
    let scim = ScimServer::start(KEY).await.unwrap();
    for user in ["anna", "bo", "cleo"] {
        scim.create_user(user).await.unwrap();
    }
    for group in ["engineering", "people"] {
        scim.create_group(group).await.unwrap();
    }
    let bridge = bed.bridge().upstream(scim.url().parse().unwrap());
    let bridge = bridge.start().await.unwrap();
    let _operator = bed.operator(&[]).await;

    let (namespace, url) = (&bed.namespace, bridge.url());
    bed.cluster
        .apply(&format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: corp-scim, namespace: {namespace}}}, \
               stringData: {{apiKey: {KEY}}}}}\n\
             ---\n\
             apiVersion: scimbridge.dev/v1alpha1\n\
             kind: ScimBridgeConnection\n\
             metadata: {{name: okta, namespace: {namespace}}}\n\
             spec:\n  \
               url: {url}/\n  \
               identityProvider: Okta\n  \
               apiKeySecretRef: {{name: corp-scim}}\n  \
               tls: {{caRef: {{kind: ConfigMap, name: ca}}}}\n"
        ))
        .await
        .unwrap();
    let connection = bed.expect("okta", "True Connected").await;

    let secret = bed.api::<k8s_openapi::api::core::v1::Secret>();
    let secret = version(&secret.get("corp-scim").await.unwrap().metadata);
    let object = serde_json::to_value(&connection).unwrap();
    let status = &object["status"];
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(status["scimEndpoint"], format!("{url}/scim"));
    assert_eq!(status["scimApi"], "Enabled");
    assert_eq!(status["bridge"]["version"], "2.9.16");
    assert_eq!(status["bridge"]["build"], "209163");
    let components = status["bridge"]["components"].as_array().unwrap();
    assert_eq!(components.len(), 4);
    assert!(components.iter().all(|component| component["state"] == "healthy"));
    assert!(status["certificate"]["notAfter"].is_string());
    assert!(status["certificate"]["issuer"].is_string());
    assert_eq!(status["directory"], json!({"users": 3, "groups": 2}));
    assert_eq!(status["binding"], json!({"name": "corp-scim"}));
    assert_eq!(
        status["credential"],
        json!({"secretUid": secret.uid, "secretResourceVersion": secret.resource_version})
    );
    assert_eq!(status["consecutiveFailures"], 0);
    for time in ["lastProbeTime", "nextProbeTime", "validUntil"] {
        assert!(status[time].is_string(), "{time}: {status}");
    }
    let conditions = status["conditions"].as_array().unwrap();
    let told: Vec<(&str, &str)> = conditions
        .iter()
        .map(|condition| {
            (
                condition["type"].as_str().unwrap(),
                condition["status"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("Ready", "True"),
            ("Connected", "True"),
            ("AuthFailed", "False"),
            ("ScimDisabled", "False")
        ]
    );
    assert!(
        conditions
            .iter()
            .all(|condition| condition["observedGeneration"] == 1)
    );

    // What changed in the directory is seen by the next probe.
    scim.create_user("dana").await.unwrap();
    let connection = bed.probe("okta").await;
    assert_eq!(testbed::bed::status(&connection).directory.unwrap().users, 4);
}

#[tokio::test]
async fn a_probe_is_four_requests_and_one_apply() {
    let bed = Bed::new("probe").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&[]).await;
    bed.connect_well("corp", &bridge).await;
    let connection = bed.expect("corp", "True Connected").await;

    // In this order, the key not before the bridge has shown itself, and over one connection.
    let requests = bridge.requests();
    let asked: Vec<(&str, bool)> = requests
        .iter()
        .map(|request| (request.target.as_str(), request.authorization))
        .collect();
    assert_eq!(
        asked,
        [
            ("/ping", false),
            ("/health", true),
            ("/scim/Users?startIndex=1&count=1", true),
            ("/scim/Groups?startIndex=1&count=1", true),
        ]
    );
    assert_eq!(bridge.traffic().connections, 1);

    // The status has one owner, and the operator owns nothing else.
    let owned: Vec<_> = connection
        .metadata
        .managed_fields
        .unwrap()
        .into_iter()
        .filter(|entry| entry.manager.as_deref() == Some(OPERATOR))
        .collect();
    assert_eq!(owned.len(), 1);
    assert_eq!(owned[0].operation.as_deref(), Some("Apply"));
    assert_eq!(owned[0].subresource.as_deref(), Some("status"));
    let fields = serde_json::to_value(&owned[0].fields_v1).unwrap();
    assert_eq!(
        fields.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["f:status"]
    );
}

#[tokio::test]
async fn kubectl_shows_connections_and_waits_for_them() {
    let bed = Bed::new("kubectl").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", KEY).await;
    bed.connect("corp", &bridge, spec().provider("Okta")).await;

    let kubectl = bed.cluster.kubectl();
    let wait = [
        "wait",
        "sbc/corp",
        "--for=condition=Connected",
        "--timeout=90s",
        "-n",
        &bed.namespace,
    ];
    kubectl.run(&wait).await.unwrap();

    let shown = kubectl
        .run(&["get", "scimbridgeconnections", "-n", &bed.namespace])
        .await
        .unwrap();
    let rows: Vec<Vec<&str>> = shown
        .lines()
        .map(|row| row.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[0],
        ["NAME", "IDP", "READY", "STATUS", "VERSION", "CHECKED", "AGE"],
        "{shown}"
    );
    assert_eq!(
        rows[1][..5],
        ["corp", "Okta", "True", "Connected", "2.9.16"],
        "{shown}"
    );

    // The category, and the wide columns.
    let wide = kubectl
        .run(&["get", "scim", "-n", &bed.namespace, "-o", "wide"])
        .await
        .unwrap();
    for word in [
        "URL",
        "SECRET",
        "CERT-EXPIRES",
        "NEXT-CHECK",
        "MESSAGE",
        &bridge.url(),
        "Enabled",
        "The bridge accepts the key",
    ] {
        assert!(wide.contains(word), "{word} in:\n{wide}");
    }
}

#[tokio::test]
async fn an_edited_specification_is_probed_at_once_whatever_comes_of_it() {
    let bed = Bed::new("edit").await;
    let (one, other) = (bed.healthy_bridge().await, bed.healthy_bridge().await);
    let _operator = bed.operator(&[]).await;
    bed.connect_well("corp", &one).await;
    bed.expect("corp", "True Connected").await;

    bed.edit("corp", json!({"url": other.url()})).await;
    let connection = bed.expect("corp", "True Connected").await;
    assert_eq!(observed(&connection), 2);
    assert_eq!((pings(&one), pings(&other)), (1, 1));

    // Nobody listens there: a verdict about the new specification all the same, not the old one held.
    let nobody = format!("https://127.0.0.1:{}", free_port().unwrap());
    bed.edit("corp", json!({"url": nobody})).await;
    let connection = bed.expect("corp", "False ConnectFailed Reconciling").await;
    assert_eq!(observed(&connection), 3);
    assert_eq!(status(&connection).binding, None);

    bed.edit("corp", json!({"url": one.url()})).await;
    let connection = bed.expect("corp", "True Connected").await;
    assert_eq!(observed(&connection), 4);
    assert_eq!((pings(&one), pings(&other)), (2, 1));
}

#[tokio::test]
async fn a_suspended_connection_is_left_alone_until_it_is_resumed() {
    let bed = Bed::new("suspend").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&[]).await;
    bed.connect_well("corp", &bridge).await;
    bed.connect_well("marker", &bridge).await;
    let before = bed.expect("corp", "True Connected").await;
    bed.expect("marker", "True Connected").await;
    let pings_before = pings(&bridge);

    let mut tape = bed.tape("corp").await;
    bed.edit("corp", json!({"suspend": true})).await;
    // Answered, it shows that the edit was seen; a Secret comes by another watch, and might overtake it.
    bed.probe("marker").await;
    bed.secret("corp", "canary-key-while-suspended").await;
    bed.annotate("corp", "reconcile.fluxcd.io/requestedAt", "while suspended")
        .await;
    // Seen after the changes above: Secrets come by one watch, connections by another, each in order.
    let marker = bed.secret("marker", "canary-key-of-the-marker").await;
    bed.judged("marker", &marker).await;
    bed.probe("marker").await;
    let versions = tape.so_far(&bed).await;
    assert!(
        versions.iter().all(|version| version.status == before.status),
        "the status stays as it is"
    );
    assert_eq!(pings(&bridge), pings_before + 3, "only the marker was probed");

    bridge.set(|state| state.further_keys.push("canary-key-while-suspended".into()));
    bed.edit("corp", json!({"suspend": false})).await;
    let connection = bed.expect("corp", "True Connected").await;
    assert_eq!(
        status(&connection).last_handled_reconcile_at.as_deref(),
        Some("while suspended")
    );
    assert_eq!(pings(&bridge), pings_before + 4, "one probe for all that waited");
}

/// A connection that is created suspended has no verdict, and does not pretend to have one.
#[tokio::test]
async fn a_connection_that_begins_suspended_says_nothing() {
    let bed = Bed::new("asleep").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", KEY).await;
    bed.connect("corp", &bridge, json!({"suspend": true})).await;
    bed.connect_well("marker", &bridge).await;
    bed.expect("marker", "True Connected").await;
    let connection = bed.get("corp").await;
    assert_eq!((line(&connection).as_str(), observed(&connection)), ("", -1));
    assert_eq!(pings(&bridge), 1);
}

/// The rehearsal of the next key says what the bridge would say, and never decides about `Ready`.
#[tokio::test]
async fn the_next_key_is_rehearsed() {
    let bed = Bed::new("rehearsal").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", KEY).await;
    let next = |name: Value| json!({"nextApiKeySecretRef": name});
    bed.connect("corp", &bridge, next(json!({"name": "next"}))).await;
    bed.expect("corp", "True Connected NextApiKeyValid=False").await;

    bed.secret("next", testbed::bed::WRONG_KEY).await;
    let connection = bed
        .until("corp", "a refusal of the next key", |object| {
            let conditions = status(object).conditions;
            conditions
                .iter()
                .any(|condition| condition.reason == "KeyRefused")
        })
        .await;
    assert_eq!(line(&connection), "True Connected NextApiKeyValid=False");

    bridge.set(|state| state.further_keys.push(testbed::bed::WRONG_KEY.into()));
    bed.probe("corp").await;
    bed.expect("corp", "True Connected NextApiKeyValid").await;
    bed.edit("corp", next(Value::Null)).await;
    bed.expect("corp", "True Connected").await;
    assert_eq!(pings(&bridge), 4);
}

/// One of several operators that share a cluster by label.
#[tokio::test]
async fn only_connections_with_the_label_are_known() {
    let bed = Bed::new("shard").await;
    let (mine, other) = (bed.healthy_bridge().await, bed.healthy_bridge().await);
    let operator = bed.operator(&["--watch-label-selector", "mark=mine"]).await;
    bed.connect_well("other", &other).await;
    bed.connect_well("mine", &mine).await;
    bed.label("mine", "mine").await;
    bed.expect("mine", "True Connected").await;
    assert_eq!((pings(&mine), pings(&other)), (1, 0));

    bed.label("other", "mine").await;
    bed.expect("other", "True Connected").await;
    bed.label("mine", "theirs").await;
    bed.annotate("mine", "reconcile.fluxcd.io/requestedAt", "now")
        .await;
    bed.probe("other").await;
    assert_eq!((pings(&mine), pings(&other)), (1, 2));
    assert_eq!(operator.count("connections", "").await, 1);
}
