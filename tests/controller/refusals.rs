//! What the operator refuses to do for whoever writes connections: no connection is made, no key is sent.

use bridge_front::Front;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use scim_bridge_operator::api::v1alpha1::ObjectVersion;
use serde_json::json;
use testbed::{
    bed::{Bed, KEY, pings, status, version},
    spec,
};

fn assert_untouched(bridge: &Front) {
    let traffic = bridge.traffic();
    assert_eq!(traffic.connections, 0, "{:?}", traffic.requests);
}

/// Names, on the Secret, the hosts that its key may go to.
async fn consent(bed: &Bed<'_>, secret: &str, hosts: &str) -> ObjectVersion {
    let annotations = json!({"metadata": {"annotations": {"scimbridge.dev/allowed-hosts": hosts}}});
    version(&bed.patch::<Secret>(secret, annotations).await.metadata)
}

#[tokio::test]
async fn a_secret_decides_where_its_key_may_go() {
    let bed = Bed::new("consent").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", KEY).await;
    consent(&bed, "corp", "scim.example.com").await;
    bed.connect("corp", &bridge, json!({})).await;
    for elsewhere in [
        "",
        "*",
        "*.example.com",
        "127.0.0.10, localhost",
        "https://127.0.0.1",
    ] {
        let secret = consent(&bed, "corp", elsewhere).await;
        bed.judged("corp", &secret).await;
        bed.expect("corp", "False ConsentMissing Stalled").await;
    }
    assert_untouched(&bridge);
    consent(&bed, "corp", "scim.example.com, 127.0.0.1").await;
    bed.expect("corp", "True Connected").await;
    consent(&bed, "corp", "scim.example.com").await;
    let connection = bed.expect("corp", "False ConsentMissing Stalled").await;
    assert_eq!(status(&connection).binding, None);
    assert_eq!(pings(&bridge), 1);
}

/// The rehearsal of a next key sends it, too.
#[tokio::test]
async fn a_next_key_needs_consent_as_well() {
    let bed = Bed::new("rehearse").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", KEY).await;
    bed.secret("next", KEY).await;
    consent(&bed, "next", "scim.example.com").await;
    bed.connect("corp", &bridge, spec().next_secret("next")).await;
    let connection = bed.expect("corp", "True Connected NextApiKeyValid=False").await;
    let conditions = status(&connection).conditions;
    assert!(
        conditions
            .iter()
            .any(|condition| condition.reason == "ConsentMissing")
    );
}

#[tokio::test]
async fn consent_may_be_required() {
    let bed = Bed::new("required").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&["--require-secret-consent"]).await;
    bed.connect_well("corp", &bridge).await;
    bed.expect("corp", "False ConsentMissing Stalled").await;
    assert_untouched(&bridge);
    consent(&bed, "corp", "127.0.0.*").await;
    bed.expect("corp", "True Connected").await;
}

#[tokio::test]
async fn hosts_may_be_limited() {
    let bed = Bed::new("hosts").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed
        .operator(&["--allowed-host", "*.example.com", "--allowed-host", "localhost"])
        .await;
    bed.connect_well("corp", &bridge).await;
    bed.expect("corp", "False HostDenied Stalled").await;
    assert_untouched(&bridge);
    let url = format!("https://localhost:{}", bridge.port());
    bed.edit("corp", json!({"url": url})).await;
    bed.expect("corp", "True Connected").await;
}

/// As installed, without any flag: loopback, by address and by name, in any spelling.
#[tokio::test]
async fn loopback_is_denied_unless_it_is_allowed() {
    let bed = Bed::new("loopback").await;
    let bridge = bed.healthy_bridge().await;
    let operator = bed.spawn(&["--leader-elect=false"]).await;
    operator.ready(testbed::bed::DEADLINE).await.unwrap();
    bed.secret("corp", KEY).await;
    for host in [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "169.254.169.254",
    ] {
        bed.connect_url("corp", &format!("https://{host}:{}", bridge.port()), json!({}))
            .await;
        bed.expect("corp", "False HostDenied Stalled").await;
    }
    // Where the address is another than the host of the certificate.
    let disguised =
        json!({"tls": {"serverName": "scim.example.com", "caRef": {"kind": "ConfigMap", "name": "ca"}}});
    bed.connect("corp", &bridge, disguised).await;
    bed.expect("corp", "False HostDenied Stalled").await;
    assert_untouched(&bridge);
}

#[tokio::test]
async fn a_denied_network_stays_denied_whatever_allows_it() {
    let bed = Bed::new("denied").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&["--deny-cidr", "127.0.0.1/32"]).await;
    bed.connect_well("corp", &bridge).await;
    bed.expect("corp", "False HostDenied Stalled").await;
    assert_untouched(&bridge);
}

/// Whoever may write connections, but not Secrets, cannot have credentials sent out that are there for something else.
#[tokio::test]
async fn a_credential_for_something_else_needs_consent() {
    let bed = Bed::new("foreign").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&[]).await;
    let account = json!({"kubernetes.io/service-account.name": "somebody"});
    for (name, type_, entries) in [
        ("token", "kubernetes.io/service-account-token", &["token"][..]),
        ("login", "kubernetes.io/basic-auth", &["username", "password"]),
        ("ssh", "kubernetes.io/ssh-auth", &["ssh-privatekey"]),
        ("tls", "kubernetes.io/tls", &["tls.crt", "tls.key"]),
        ("node", "bootstrap.kubernetes.io/token", &["token-secret"]),
        ("release", "helm.sh/release.v1", &["release"]),
    ] {
        let entry = entries.last().unwrap();
        let data: serde_json::Map<_, _> = entries
            .iter()
            .map(|entry| ((*entry).to_owned(), KEY.into()))
            .collect();
        let secret = json!({
            "metadata": {"name": name, "annotations": account},
            "type": type_,
            "stringData": data,
        });
        let secrets = bed.api::<Secret>();
        secrets
            .create(&PostParams::default(), &serde_json::from_value(secret).unwrap())
            .await
            .unwrap();
        bed.connect(name, &bridge, spec().secret_entry(name, entry)).await;
        bed.expect(name, "False ConsentMissing Stalled").await;
    }
    assert_untouched(&bridge);
    consent(&bed, "login", "127.0.0.1").await;
    bed.expect("login", "True Connected").await;
}

/// Without consent nothing is told of what is in the Secret: neither which entries it has, nor of which shape they are.
#[tokio::test]
async fn without_consent_nothing_is_told_of_the_secret() {
    let bed = Bed::new("shape").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", "canary key with blanks").await;
    consent(&bed, "corp", "scim.example.com").await;
    for entry in ["apiKey", "absent"] {
        bed.connect("corp", &bridge, spec().secret_entry("corp", entry))
            .await;
        bed.expect("corp", "False ConsentMissing Stalled").await;
    }
    consent(&bed, "corp", "127.0.0.1").await;
    bed.expect("corp", "False SecretKeyMissing Stalled").await;
    assert_untouched(&bridge);
}

/// A host that may have the key by TLS may not have it in the clear, unless the Secret says that too.
#[tokio::test]
async fn consent_to_a_host_is_not_consent_to_go_in_the_clear() {
    let bed = Bed::new("clear").await;
    let bridge = bed.bridge().plaintext().start().await.unwrap();
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", KEY).await;
    consent(&bed, "corp", "127.0.0.1").await;
    bed.connect("corp", &bridge, json!({"allowPlaintext": true, "tls": null}))
        .await;
    bed.expect("corp", "False ConsentMissing Stalled").await;
    assert_untouched(&bridge);
    consent(&bed, "corp", "http://127.0.0.1").await;
    bed.expect("corp", "True Connected").await;
}
