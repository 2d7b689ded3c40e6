//! Nothing of a key, and nothing that a server says, is ever repeated: not in the status, not in the log, not in a metric.

use bridge_front::{Content, Fault, Front};
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use serde_json::json;

use crate::bed::{Bed, KEY, WRONG_KEY, assert_no_canary};

/// What the bridges of this test say: their errors, their pages, their other names.
const SAID: [&str; 6] = [
    "a fault on demand",
    "a firewall rule",
    "bearer token is missing",
    "<html",
    "404 page not found",
    "internal server error",
];

async fn faulty(bed: &Bed<'_>, path: &str, fault: Fault) -> Front {
    let bridge = bed.healthy_bridge().await;
    bridge.set(|state| state.fault(path, fault));
    bridge
}

fn failing(status: u16, body: Content) -> Fault {
    let retry_after = Some("canary, or later".to_owned());
    Fault::Status {
        status,
        body,
        retry_after,
    }
}

#[tokio::test]
async fn keys_and_answers_are_never_repeated() {
    let bed = Bed::new("leaks").await;
    let redirect = Fault::Redirect {
        location: "https://canary.example.com/canary".to_owned(),
    };
    let bridges = [
        ("healthy", bed.healthy_bridge().await),
        ("refused", faulty(&bed, "/health", Fault::Unauthorized).await),
        ("forbidden", faulty(&bed, "/scim", Fault::ForbiddenJson).await),
        ("blocked", faulty(&bed, "/scim", Fault::ForbiddenHtml).await),
        ("foreign", faulty(&bed, "/", Fault::Html).await),
        ("redirected", faulty(&bed, "/", redirect).await),
        ("broken", faulty(&bed, "/scim", Fault::BrokenJson).await),
        ("no-list", faulty(&bed, "/scim", Fault::NotAList).await),
        ("no-text", faulty(&bed, "/scim", Fault::InvalidUtf8).await),
        ("away", faulty(&bed, "/", failing(503, Content::Html)).await),
        ("error", faulty(&bed, "/scim", failing(500, Content::Json)).await),
        (
            "limited",
            faulty(&bed, "/scim", failing(429, Content::Json)).await,
        ),
        ("teapot", faulty(&bed, "/scim", failing(418, Content::Json)).await),
        ("closed", faulty(&bed, "/scim", Fault::Close).await),
    ];
    bridges[0].1.set(|state| {
        state.version = "canary-version".to_owned();
        state.build = "canary-build".to_owned();
        state.component("canary-component", "canary-state");
        state.component("RedisCache", "canary-state");
    });
    let operator = bed.operator(&[]).await;
    for (name, bridge) in &bridges {
        bed.connect_well(name, bridge).await;
    }
    bed.secret("wrong", WRONG_KEY).await;
    bed.connect("wrong", &bridges[0].1, json!({})).await;
    // Keys that are none, in entries that are none, beside ones that are.
    bed.secret("malformed", "canary key with blanks").await;
    bed.connect("malformed", &bridges[0].1, json!({})).await;
    bed.secret_entry("misnamed", "canary-entry", KEY).await;
    bed.connect("misnamed", &bridges[0].1, json!({})).await;
    // A key where a certificate should be, and one that is written into the URL by mistake.
    bed.secret("no-ca", KEY).await;
    bed.connect(
        "no-ca",
        &bridges[0].1,
        json!({"tls": {"caRef": {"kind": "Secret", "name": "no-ca", "key": "apiKey"}}}),
    )
    .await;

    let names = bridges.iter().map(|(name, _)| *name);
    for name in names.chain(["wrong", "malformed", "misnamed", "no-ca"]) {
        bed.until(name, "a verdict", |object| crate::bed::observed(object) == 1)
            .await;
        bed.probe(name).await;
    }
    let everything = ["get", "sbc,events", "-n", &bed.namespace, "-o", "yaml"];
    let objects = bed.cluster.kubectl().run(&everything).await.unwrap();
    let outputs = [
        ("the log", operator.logs()),
        ("the metrics", operator.metrics().await.unwrap()),
        ("the status", objects),
    ];
    for (what, text) in &outputs {
        assert_no_canary(what, text);
        for said in SAID {
            assert!(!text.contains(said), "{what} repeats {said:?}:\n{text}");
        }
    }
    // `events` above would also be empty if the name were wrong.
    let events = bed.api::<Event>().list(&ListParams::default()).await.unwrap();
    assert!(events.items.is_empty(), "the operator writes no events");
}
