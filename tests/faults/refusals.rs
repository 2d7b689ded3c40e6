//! The API server refuses, or its answers are lost.

use axum::http::Method;
use serde_json::json;
use testbed::{
    bed::{Bed, DEADLINE, Fate, KEY, LOOPBACK, Operator, Proxy, line, pings},
    spec, wait,
};

async fn operator(bed: &Bed<'_>, proxy: &Proxy) -> Operator {
    let flags = [&["--leader-elect=false"], &LOOPBACK[..]].concat();
    let operator = bed.spawn_as(proxy.kubeconfig(), &flags).await;
    operator.ready(DEADLINE).await.unwrap();
    operator
}

/// A kind of request.
type Kind = (&'static str, fn(&Method, &str) -> bool);

const KINDS: [Kind; 3] = [
    ("GET Secret", |method, target| {
        method == Method::GET && target.contains("/secrets/")
    }),
    ("GET ConfigMap", |method, target| {
        method == Method::GET && target.contains("/configmaps/")
    }),
    ("PATCH status", |method, target| {
        method == Method::PATCH && target.contains("/status")
    }),
];

#[tokio::test]
async fn a_refused_request_is_tried_again_and_nothing_else_happens() {
    let bed = Bed::new("refusals").await;
    let proxy = Proxy::new(&bed.kubeconfig).await;
    let operator = operator(&bed, &proxy).await;
    let bystander = bed.healthy_bridge().await;
    bed.connect_well("bystander", &bystander).await;
    let untouched = bed.expect("bystander", "True Connected").await;
    for (kind, applies) in KINDS {
        for code in [409, 429, 500, 503] {
            let name = format!("{}-{code}", kind.to_lowercase().replace(' ', "-"));
            let bridge = bed.healthy_bridge().await;
            bed.secret(&name, KEY).await;
            // kube tries 429 and 503 again by itself.
            let times = if [429, 503].contains(&code) { 2 } else { 1 };
            proxy.spoil(times, Fate::Answer(code), applies);
            // One of its own: what was read before is not read again.
            bed.config_map(&name, bed.ca_pem()).await;
            bed.connect(&name, &bridge, spec().ca(&name)).await;
            let connection = bed.until(&name, "its verdict", |object| line(object) == "True Connected");
            let connection = connection.await;
            assert_eq!(proxy.unspoiled(), 0, "{name}: the refusal was met");
            assert_eq!(testbed::bed::observed(&connection), 1, "{name}");
            assert!(pings(&bridge) <= 2, "{name}: {} probes", pings(&bridge));
        }
    }
    assert_eq!(
        bed.get("bystander").await.metadata.resource_version,
        untouched.metadata.resource_version,
        "nobody else was touched"
    );
    assert_eq!(pings(&bystander), 1);
    drop(operator);
}

/// What was written, and not heard of, is not taken for lost, nor written over by an older verdict.
#[tokio::test]
async fn an_answer_that_is_lost_does_no_harm() {
    let bed = Bed::new("lost").await;
    let proxy = Proxy::new(&bed.kubeconfig).await;
    let operator = operator(&bed, &proxy).await;
    let bridge = bed.healthy_bridge().await;
    bed.secret("corp", KEY).await;
    proxy.spoil(1, Fate::Lost, KINDS[2].1);
    bed.connect("corp", &bridge, json!({})).await;
    bed.expect("corp", "True Connected").await;
    operator.says("status write failed").await;
    bed.probe("corp").await;
    assert!(pings(&bridge) <= 3, "{} probes", pings(&bridge));
    drop(operator);
}

/// Watches that break off, again and again: nothing that happens meanwhile is missed, and nothing is probed for it.
#[tokio::test]
async fn watches_that_break_off_miss_nothing() {
    let bed = Bed::new("cut").await;
    let proxy = Proxy::new(&bed.kubeconfig).await;
    let operator = operator(&bed, &proxy).await;
    let (quiet, busy) = (bed.healthy_bridge().await, bed.healthy_bridge().await);
    bed.connect_well("quiet", &quiet).await;
    bed.connect_well("busy", &busy).await;
    bed.expect("quiet", "True Connected").await;
    bed.expect("busy", "True Connected").await;
    for round in 0..10 {
        proxy.cut_watches();
        let secret = bed
            .secret("busy", if round % 2 == 0 { "canary-wrong" } else { KEY })
            .await;
        let judged = bed.judged("busy", &secret).await;
        let expected = ["False AuthFailed Stalled", "True Connected"][round % 2];
        assert_eq!(line(&judged), expected, "round {round}");
    }
    // A list that is refused is tried again too.
    proxy.spoil(3, Fate::Answer(500), |method, target| {
        method == Method::GET && target.contains("/secrets?")
    });
    proxy.cut_watches();
    wait::until(DEADLINE, "the lists to be refused", async || {
        (proxy.unspoiled() == 0).then_some(())
    })
    .await
    .unwrap_or_else(|error| panic!("{error}"));
    let secret = bed.secret("busy", "canary-wrong").await;
    assert_eq!(
        line(&bed.judged("busy", &secret).await),
        "False AuthFailed Stalled"
    );
    assert_eq!(pings(&quiet), 1, "it has not changed, and its interval is long");
    assert_eq!(pings(&busy), 12);
    drop(operator);
}
