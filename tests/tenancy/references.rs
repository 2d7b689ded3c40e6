//! No reference leads out of the connection's own namespace: not past the CRD, and not where the CRD has no rules.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api,
    api::{ApiResource, DynamicObject},
};
use scim_bridge_operator::api::v1alpha1::ScimBridgeConnection;
use serde_json::{Value, json};
use testbed::{
    Spec,
    bed::{
        Bed, DEADLINE, Exchange, KEY, LOOPBACK, Proxy, assert_no_canary, own_cluster_without_rules,
        whole_spec,
    },
    wait,
};

use crate::attacker::{Attacker, refusal};

/// Names that would be more than one segment of a path, or another one, to somebody who puts paths together from text.
/// `NS` stands for the victims' namespace.
const NAMES: &[&str] = &[
    "NS/corp",
    "../NS/corp",
    "../../NS/secrets/corp",
    "../../../namespaces/NS/secrets/corp",
    "/api/v1/namespaces/NS/secrets/corp",
    "//NS/corp",
    "./corp",
    "corp/",
    "corp/.",
    "corp/../corp",
    "corp/status",
    ".",
    "..",
    "...",
    "..corp",
    "corp..",
    "NS..corp",
    "%2e%2e",
    "%2E%2E%2FNS%2Fcorp",
    "..%2f..%2fNS%2fsecrets%2fcorp",
    "..%252f..%252fNS%252fsecrets%252fcorp",
    "..%c0%af..%c0%afNS",
    "..;/NS/corp",
    "..\\..\\NS\\secrets\\corp",
    "NS%2fcorp",
    "NS:corp",
    "NS.svc/corp",
    "corp.NS/",
    "corp@NS",
    "corp?namespace=NS",
    "?labelSelector=",
    "corp?watch=true",
    "corp&x=y",
    "corp#top",
    "#",
    "?",
    "*",
    "corp*",
    "corp%00",
    "corp\u{0}",
    "corp\n",
    "corp\r\nX-Remote-User: admin",
    "corp HTTP/1.1",
    "corp ",
    " corp",
    " ",
    "\t",
    "",
    "CORP",
    "Corp",
    "-corp",
    "corp-",
    "corp_",
    "c\u{f6}rp",
    "\u{ff43}orp",
    "corp\u{2044}x",
    "corp\u{2215}x",
    "corp\u{ff0f}x",
    "\u{ff0e}\u{ff0e}/NS",
    "\u{2025}/NS",
    "corp\u{200b}",
    "corp\u{202e}",
    "https://evil.test/corp",
    "http://169.254.169.254/",
    "file:///etc/passwd",
    "$(NS)",
    "${NS}",
    "{{ .NS }}",
    "LONG",
];

/// Keys that would be paths. `..` and the like are keys that a Secret may have, and are looked for in it alone.
const KEYS: &[&str] = &[
    "",
    " ",
    "/",
    "../apiKey",
    "api/Key",
    "api%2fKey",
    "apiKey\n",
    "apiKey ",
    "api\\Key",
    "api:Key",
    "\u{ff41}piKey",
    "data.apiKey[0]",
    "{.data.apiKey}",
    "*",
    "LONG",
];

/// Fields that other operators have, or had.
const FOREIGN_FIELDS: &[&str] = &[
    r#"{"apiKeySecretRef": {"name": "only-there", "namespace": "NS"}}"#,
    r#"{"apiKeySecretRef": {"name": "only-there", "secretNamespace": "NS"}}"#,
    r#"{"apiKeySecretRef": {"name": "only-there", "uid": "1", "kind": "Pod", "apiVersion": "v1", "fieldPath": "x"}}"#,
    r#"{"apiKeySecretRef": {"name": "only-there"}, "namespace": "NS"}"#,
    r#"{"apiKeySecretRef": {"name": "only-there"}, "targetNamespace": "NS", "serviceAccountName": "default"}"#,
    r#"{"apiKeySecretRef": {"name": "only-there"}, "nextApiKeySecretRef": {"name": "only-there", "namespace": "NS"}}"#,
];

fn fill(text: &str, victims: &str) -> String {
    match text {
        "LONG" => "a".repeat(254),
        text => text.replace("NS", victims),
    }
}

/// The same name in each field that takes one, and the same key.
fn hostile_specs(victims: &str, url: &str) -> Vec<(String, Spec)> {
    let whole = whole_spec("corp", url);
    let mut specs = Vec::new();
    for name in NAMES {
        let name = &fill(name, victims);
        let whole = || whole.clone();
        specs.extend([
            (format!("key {name:?}"), whole().secret(name)),
            (format!("next {name:?}"), whole().next_secret(name)),
            (
                format!("Secret {name:?}"),
                whole().ca_entry("Secret", name, "ca.crt"),
            ),
            (
                format!("ConfigMap {name:?}"),
                whole().ca_entry("ConfigMap", name, "ca.crt"),
            ),
        ]);
    }
    for key in KEYS {
        let key = &fill(key, victims);
        let whole = || whole.clone();
        let next = json!({"name": "corp", "key": key});
        specs.extend([
            (format!("key {key:?}"), whole().secret_entry("corp", key)),
            (format!("next {key:?}"), whole().with("nextApiKeySecretRef", next)),
            (format!("CA {key:?}"), whole().ca_entry("ConfigMap", "ca", key)),
        ]);
    }
    specs
}

/// Another namespace, with everything that the attacker would like to have.
async fn victims(bed: &Bed<'_>) -> String {
    let namespace = bed.cluster.namespace("victims").await.unwrap().name().to_owned();
    for name in ["corp", "only-there"] {
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace},
             "stringData": {"apiKey": KEY, "ca.crt": bed.ca_pem()}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace},
             "data": {"ca.crt": bed.ca_pem()}},
        ]});
        bed.cluster.apply(&objects.to_string()).await.unwrap();
    }
    namespace
}

/// With the CRD as it is shipped nothing of that becomes an object.
#[tokio::test]
async fn no_name_that_is_a_path_gets_past_admission() {
    let bed = Bed::new("names").await;
    let victims = victims(&bed).await;
    let attacker = Attacker::new(&bed).await;
    // What the rest is worth: this attacker can read no Secret, here or there, nor write connections there.
    for namespace in [&bed.namespace, &victims] {
        let secrets = Api::<Secret>::namespaced(attacker.client.clone(), namespace);
        let config_maps = Api::<ConfigMap>::namespaced(attacker.client.clone(), namespace);
        assert_eq!(refusal(secrets.get("corp").await.unwrap_err()).0, 403);
        assert_eq!(refusal(config_maps.get("corp").await.unwrap_err()).0, 403);
    }
    let specs = hostile_specs(&victims, "https://scim.example.com");
    assert!(specs.len() > 300, "{} specifications are left", specs.len());
    let mut admitted = Vec::new();
    for (what, spec) in &specs {
        match attacker.create("corp", spec).await {
            Err((422, _)) => {}
            other => admitted.push(format!("{what}: {other:?}")),
        }
    }
    assert!(
        admitted.is_empty(),
        "not refused as invalid:\n{}",
        admitted.join("\n")
    );
    attacker
        .create("corp", &whole_spec("corp", "https://scim.example.com"))
        .await
        .unwrap();
}

/// Whether the operator has business there: reads of single objects in this namespace whose names are `known`, writes
/// of the status of connections in it, events about them, and otherwise only lists, watches and documents about the API.
fn is_business(exchange: &Exchange, namespace: &str, known: &[&str]) -> bool {
    let (path, query) = exchange.target.split_once('?').unwrap_or((&exchange.target, ""));
    let collections = [
        "/api/v1/secrets",
        "/api/v1/configmaps",
        "/apis/scimbridge.dev/v1alpha1/scimbridgeconnections",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    ];
    let is_document = ["/apis", "/openapi/v3"].contains(&path)
        || path.starts_with("/apis/scimbridge.dev")
        || path.starts_with("/openapi/v3/apis/scimbridge.dev");
    if collections.contains(&path) || (is_document && !path.contains("/namespaces/")) {
        return true;
    }
    let own = |prefix: &str| path.strip_prefix(&format!("{prefix}/namespaces/{namespace}/"));
    let is_plain = |name: &str| {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !name.is_empty() && name.chars().all(legal)
    };
    if let Some(event) = own("/apis/events.k8s.io/v1") {
        let segments: Vec<_> = event.split('/').collect();
        return match (exchange.method.as_str(), segments.as_slice()) {
            ("POST", ["events"]) => true,
            // After the connection, and by time.
            ("PATCH", ["events", name]) => name.split('.').all(is_plain),
            _ => false,
        };
    }
    let segments = own("/api/v1").or_else(|| own("/apis/scimbridge.dev/v1alpha1"));
    let segments: Vec<_> = segments.unwrap_or_default().split('/').collect();
    match (exchange.method.as_str(), segments.as_slice()) {
        ("GET", ["secrets" | "configmaps", name]) => {
            // Not older than the version that the watch has told of.
            let version = query.trim_start_matches('&').strip_prefix("resourceVersion=");
            let is_plain = version.map_or(query.is_empty(), |version| {
                !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit())
            });
            is_plain && known.contains(name)
        }
        ("PATCH", ["scimbridgeconnections", name, "status"]) => is_plain(name),
        ("GET", ["scimbridgeconnections", name]) => query.is_empty() && is_plain(name),
        _ => false,
    }
}

/// The reason of `Ready` of every connection, by name.
async fn reasons(bed: &Bed<'_>) -> Vec<(String, String)> {
    let kind = ApiResource::erase::<ScimBridgeConnection>(&());
    let connections = Api::<DynamicObject>::namespaced_with(bed.client.clone(), &bed.namespace, &kind);
    let listed = connections.list(&kube::api::ListParams::default()).await.unwrap();
    let reason = |object: &DynamicObject| {
        let conditions = object.data["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let ready = conditions
            .into_iter()
            .find(|condition| condition["type"] == "Ready");
        ready.map_or(String::new(), |ready| {
            ready["reason"].as_str().unwrap().to_owned()
        })
    };
    for object in &listed {
        assert_no_canary("a status", &object.data["status"].to_string());
    }
    listed
        .iter()
        .map(|object| (object.metadata.name.clone().unwrap(), reason(object)))
        .collect()
}

/// Where the CRD has no rules, the operator has them, and asks the API server for nothing outside of the namespace. It
/// could: its ServiceAccount reads every Secret.
#[tokio::test]
async fn no_name_that_is_a_path_is_ever_asked_for() {
    let Some(cluster) = own_cluster_without_rules().await else {
        return;
    };
    let bed = Bed::on_own(&cluster, "names").await;
    let victims = victims(&bed).await;
    let attacker = Attacker::new(&bed).await;
    let bridge = bed.healthy_bridge().await;
    bed.secret("corp", KEY).await;

    let specs = hostile_specs(&victims, &bridge.url());
    let mut expected = Vec::new();
    for (number, (what, spec)) in specs.iter().enumerate() {
        let name = format!("hostile-{number:03}");
        attacker
            .create(&name, spec)
            .await
            .unwrap_or_else(|why| panic!("{what}: {why:?}"));
        expected.push((name, "InvalidSpec".to_owned()));
    }
    for (number, fields) in FOREIGN_FIELDS.iter().enumerate() {
        let name = format!("strange-{number}");
        let fields: Value = serde_json::from_str(&fields.replace("NS", &victims)).unwrap();
        attacker
            .create(&name, &whole_spec("corp", &bridge.url()).and(fields))
            .await
            .unwrap();
        expected.push((name, "SecretNotFound".to_owned()));
    }
    // An object's own account of itself leads nowhere either.
    let proxy = Proxy::new(&bed.kubeconfig).await;
    let flags = [&["--leader-elect=false"], &LOOPBACK[..]].concat();
    let operator = bed.spawn_exactly_as(proxy.kubeconfig(), &flags).await;
    operator.ready(DEADLINE).await.unwrap();
    let judged = wait::until(DEADLINE, "a verdict about each of them", async || {
        let seen = reasons(&bed).await;
        let left: Vec<_> = expected
            .iter()
            .filter(|row| !seen.contains(row))
            .map(|(name, _)| seen.iter().find(|row| row.0 == *name).cloned())
            .take(5)
            .collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("among others {left:?}"))
        }
    });
    judged.await.unwrap_or_else(|error| panic!("{error}"));
    // The same attacker, honest for once: the operator works, and the record does see what it asks for.
    attacker
        .create("honest", &whole_spec("corp", &bridge.url()))
        .await
        .unwrap();
    bed.expect("honest", "True Connected").await;
    assert_eq!(
        bridge
            .requests()
            .iter()
            .filter(|request| request.path() == "/ping")
            .count(),
        1
    );

    let known = ["corp", "ca", "only-there"];
    let exchanges = proxy.exchanges();
    let reads = exchanges
        .iter()
        .filter(|exchange| exchange.target.contains("/secrets/"))
        .count();
    assert!(
        reads > FOREIGN_FIELDS.len(),
        "the record has {reads} reads of Secrets"
    );
    let strange: Vec<_> = exchanges
        .iter()
        .filter(|exchange| !is_business(exchange, &bed.namespace, &known))
        .map(|exchange| format!("{} {}", exchange.method, exchange.target))
        .collect();
    assert!(
        strange.is_empty(),
        "the operator asked for:\n{}",
        strange.join("\n")
    );
    operator.stop().await;
}

/// The record is read rightly: what would be a way out is no business.
#[test]
fn a_way_out_would_be_seen() {
    let at = |method: &str, target: &str| Exchange {
        method: method.parse().unwrap(),
        target: target.to_owned(),
        begun: std::time::Instant::now(),
        status: None,
    };
    for (method, target, expected) in [
        ("GET", "/api/v1/namespaces/own/secrets/corp", true),
        ("GET", "/api/v1/secrets?watch=true", true),
        (
            "PATCH",
            "/apis/scimbridge.dev/v1alpha1/namespaces/own/scimbridgeconnections/x/status?force=true",
            true,
        ),
        (
            "POST",
            "/apis/events.k8s.io/v1/namespaces/own/events?&fieldManager=x",
            true,
        ),
        (
            "PATCH",
            "/apis/events.k8s.io/v1/namespaces/own/events/corp.17f",
            true,
        ),
        ("POST", "/apis/events.k8s.io/v1/namespaces/other/events", false),
        (
            "PATCH",
            "/apis/events.k8s.io/v1/namespaces/own/events/../x",
            false,
        ),
        ("PATCH", "/apis/events.k8s.io/v1/namespaces/own/events/..", false),
        (
            "DELETE",
            "/apis/events.k8s.io/v1/namespaces/own/events/corp.17f",
            false,
        ),
        ("POST", "/api/v1/namespaces/own/events", false),
        ("GET", "/api/v1/namespaces/other/secrets/corp", false),
        ("GET", "/api/v1/namespaces/own/secrets/other", false),
        (
            "GET",
            "/api/v1/namespaces/own/secrets/../../other/secrets/corp",
            false,
        ),
        ("GET", "/api/v1/namespaces/own/secrets/%2e%2e", false),
        ("GET", "/api/v1/namespaces/own/secrets/corp?x", false),
        ("GET", "/api/v1/namespaces/own/secrets/corp/status", false),
        ("GET", "/api/v1/namespaces/own/pods/corp", false),
        ("PATCH", "/api/v1/namespaces/own/secrets/corp", false),
        ("GET", "/api/v1/namespaces/own/secrets", false),
    ] {
        assert_eq!(
            is_business(&at(method, target), "own", &["corp"]),
            expected,
            "{method} {target}"
        );
    }
}
