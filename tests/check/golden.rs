//! What the operator says of a connection, `check` says too.

use std::collections::{BTreeMap, BTreeSet};

use bridge_front::Front;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use scim_bridge_operator::{
    api::vocabulary::{Class, Reason},
    check::exit_code,
    domain::conditions::class_of,
};
use serde_json::json;
use testbed::{
    Spec,
    bed::{BRIDGES, Bed, CERTIFICATES, KEY, line},
    spec,
};

use crate::program::Run;

/// At most so many programs at a time.
const AT_ONCE: usize = 8;

/// Specifications that lead to no bridge, and the reason.
fn dead_ends(healthy: &Front, plain: &str) -> Vec<(&'static str, String, Spec, &'static str)> {
    let url = || healthy.url();
    let ca = |name, key| spec().ca_entry("ConfigMap", name, key);
    vec![
        ("no-secret", url(), spec().secret("none"), "SecretNotFound"),
        (
            "no-entry",
            url(),
            spec().secret_entry("corp", "x"),
            "SecretKeyMissing",
        ),
        ("bad-key", url(), spec().secret("blank"), "ApiKeyMalformed"),
        ("no-consent", url(), spec().secret("bound"), "ConsentMissing"),
        ("no-pattern", url(), spec().secret("garbled"), "ConsentMissing"),
        ("no-ca", url(), ca("none", "ca.crt"), "CaNotFound"),
        ("no-ca-entry", url(), ca("not-a-ca", "x"), "CaNotFound"),
        ("bad-ca", url(), ca("not-a-ca", "ca.crt"), "CaInvalid"),
        (
            "metadata",
            "https://169.254.169.254".to_owned(),
            spec(),
            "HostDenied",
        ),
        (
            "no-name",
            "https://no-such-name.invalid".to_owned(),
            spec(),
            "DnsFailed",
        ),
        (
            "nobody",
            "https://127.0.0.1:1".to_owned(),
            spec(),
            "ConnectFailed",
        ),
        ("no-tls", plain.to_owned(), spec(), "TlsFailed"),
    ]
}

/// The reason that the operator writes, and the class of its verdict.
async fn operator_says(bed: &Bed<'_>, name: &str) -> (String, Class) {
    let object = bed
        .until(name, "a verdict", |object| {
            let line = line(object);
            !line.is_empty() && !line.contains("Progressing")
        })
        .await;
    let reason = line(&object).split(' ').nth(1).unwrap().to_owned();
    (reason, class_of(&object.status.unwrap().conditions))
}

#[tokio::test(flavor = "multi_thread")]
async fn check_and_the_operator_say_the_same() {
    let bed = Bed::new("golden").await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", KEY).await;
    bed.secret("blank", "canary key").await;
    for (name, hosts) in [("bound", "elsewhere.example.com"), ("garbled", "127.0.0.1:8443")] {
        bed.secret(name, KEY).await;
        let annotations = json!({"metadata": {"annotations": {"scimbridge.dev/allowed-hosts": hosts}}});
        bed.patch::<Secret>(name, annotations).await;
    }
    bed.config_map("not-a-ca", "canary").await;
    let corp = spec().secret("corp");
    let _bridges = (
        bed.connect_to_all_bridges().await,
        bed.connect_to_all_certificates().await,
    );
    let lines = BRIDGES.iter().map(|(name, _, _, line)| (name, line));
    let lines = lines.chain(CERTIFICATES.iter().map(|(name, _, line)| (name, line)));
    let mut expected: Vec<_> = lines
        .map(|(name, line)| ((*name).to_owned(), line.split(' ').nth(1).unwrap()))
        .collect();
    let healthy = bed.healthy_bridge().await;
    let plain = bed.bridge().plaintext().start().await.unwrap();
    let plain_url = plain.url().replace("http://", "https://");
    for (name, url, more, reason) in dead_ends(&healthy, &plain_url) {
        bed.connect_url(name, &url, corp.clone().and(more)).await;
        expected.push((name.to_owned(), reason));
    }

    // From here, by the object in the cluster.
    let checks = stream::iter(&expected).map(|(name, reason)| {
        let bed = &bed;
        async move {
            let (told, class) = operator_says(bed, name).await;
            let args = ["check", name, "-n", &bed.namespace, "-o", "json"];
            let ran = Run::plugin(bed.cluster, &args).run().await;
            let document = ran.json();
            let said = document["reason"].as_str().unwrap();
            let agrees = document["operator"]["agrees"] == true;
            (told == *reason && said == *reason && agrees && i32::from(exit_code(class)) == ran.code)
                .then_some((name.as_str(), ran.code))
                .ok_or_else(|| {
                    format!(
                        "{name}: {reason} is expected; the operator says {told} ({class:?}), check {ran:?}"
                    )
                })
        }
    });
    let checked: Vec<Result<(&str, i32), String>> = checks.buffer_unordered(AT_ONCE).collect().await;
    let wrong: Vec<&str> = checked
        .iter()
        .filter_map(|result| result.as_ref().err())
        .map(String::as_str)
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    // One STATUS, and two classes: SCIM that is off is in order where that is declared, and the key proven.
    let codes: BTreeMap<&str, i32> = checked.into_iter().flatten().collect();
    for (name, code) in [
        ("google", 0),
        ("google-without-health", 2),
        ("google-by-mistake", 2),
    ] {
        assert_eq!(codes.get(name), Some(&code), "exit code of check {name}");
    }

    let seen: BTreeSet<Reason> = expected
        .iter()
        .filter_map(|(_, reason)| Reason::parse(reason))
        .collect();
    let unseen: Vec<_> = Reason::ALL
        .iter()
        .filter(|reason| !seen.contains(reason))
        .collect();
    // The API server lets no invalid specification in, and whoever has checked is not on the way.
    assert_eq!(
        unseen,
        [&Reason::InvalidSpec, &Reason::Progressing],
        "add rows for these"
    );
    let refused = Run::new(&[
        "check",
        "--url",
        "https://scim.example.com/a/path",
        "--api-key-file",
        "-",
        "-o",
        "json",
    ]);
    assert_eq!(refused.input(KEY).run().await.reason(), "InvalidSpec");
}
