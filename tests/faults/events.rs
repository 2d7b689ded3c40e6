//! Events that the API server refuses, does not answer, or whose answers are lost: nobody waits for one.

use std::time::{Duration, Instant};

use axum::http::Method;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use serde_json::json;
use testbed::{
    bed::{Bed, DEADLINE, Fate, KEY, LOOPBACK, Operator, Proxy, WRONG_KEY, line, pings},
    spec, wait,
};

/// More than any test publishes, with all that kube tries again.
const ALL: usize = 100_000;
/// How long an operator may take that has nothing to do any more, beside the drain of events.
const END: Duration = Duration::from_secs(10);

fn is_event(_: &Method, target: &str) -> bool {
    target.contains("/events")
}

async fn operator(bed: &Bed<'_>, proxy: &Proxy) -> Operator {
    let flags = [&["--leader-elect=false"], &LOOPBACK[..]].concat();
    let operator = bed.spawn_as(proxy.kubeconfig(), &flags).await;
    operator.ready(DEADLINE).await.unwrap();
    operator
}

#[tokio::test]
async fn no_verdict_waits_for_an_event() {
    for fate in [
        Fate::Answer(403),
        Fate::Answer(500),
        Fate::Answer(503),
        Fate::Lost,
        Fate::Hang,
    ] {
        let bed = Bed::new("no-events").await;
        let proxy = Proxy::new(&bed.kubeconfig).await;
        proxy.spoil(ALL, fate, is_event);
        let operator = operator(&bed, &proxy).await;
        let bridge = bed.healthy_bridge().await;
        bed.secret("corp", WRONG_KEY).await;
        bed.connect("corp", &bridge, json!({})).await;
        bed.expect("corp", "False AuthFailed Stalled").await;
        // One event is under way: those that follow it stand in the queue, and the passes go on.
        let begun = wait::until(DEADLINE, "an event to be sent", async || {
            (proxy.count(|exchange| is_event(&exchange.method, &exchange.target)) > 0).then_some(())
        });
        begun.await.unwrap_or_else(|error| panic!("{fate:?}: {error}"));
        for turn in 1..=6 {
            let (key, verdict) = [(WRONG_KEY, "False AuthFailed Stalled"), (KEY, "True Connected")][turn % 2];
            let secret = bed.secret("corp", key).await;
            assert_eq!(line(&bed.judged("corp", &secret).await), verdict, "{fate:?}");
        }
        assert_eq!(
            pings(&bridge),
            7,
            "{fate:?}: nothing is probed again for the sake of an event"
        );
        assert_eq!(operator.count("pass_failures_total", "").await, 0, "{fate:?}");
        assert_eq!(operator.count("events_total", "sent").await, 0, "{fate:?}");
        operator.ready(DEADLINE).await.unwrap();
        // Nor does the end.
        let asked = Instant::now();
        operator.stop().await;
        assert!(asked.elapsed() < END, "{fate:?}: {:?}", asked.elapsed());
    }
}

/// A refusal is no reason to be silent for good.
#[tokio::test]
async fn once_they_are_taken_they_are_told() {
    let bed = Bed::new("some-events").await;
    let proxy = Proxy::new(&bed.kubeconfig).await;
    proxy.spoil(1, Fate::Answer(500), is_event);
    let operator = operator(&bed, &proxy).await;
    let bridge = bed.healthy_bridge().await;
    bed.secret("corp", WRONG_KEY).await;
    bed.connect("corp", &bridge, json!({})).await;
    bed.expect("corp", "False AuthFailed Stalled").await;
    bed.secret("corp", KEY).await;
    let told = wait::until(DEADLINE, "the second event", async || {
        let events = bed.api::<Event>().list(&ListParams::default()).await.unwrap();
        let reasons: Vec<_> = events.into_iter().map(|event| event.reason.unwrap()).collect();
        (!reasons.is_empty()).then_some(reasons)
    });
    assert_eq!(
        told.await.unwrap_or_else(|error| panic!("{error}")),
        ["Connected"]
    );
    let counts = [
        operator.count("events_total", "sent").await,
        operator.count("events_total", "failed").await,
    ];
    assert_eq!(counts, [1, 1]);
}

/// What is still to be told when the order to stop comes, is told.
#[tokio::test]
async fn the_last_events_are_told_at_the_end() {
    let bed = Bed::new("last-events").await;
    let proxy = Proxy::new(&bed.kubeconfig).await;
    let operator = operator(&bed, &proxy).await;
    let names: Vec<_> = (0..4).map(|number| format!("corp-{number}")).collect();
    for name in &names {
        let none = spec().secret("none");
        bed.connect_url(name, "https://scim.invalid", none).await;
    }
    let written = wait::until(DEADLINE, "the last verdict", async || {
        (proxy.count(|exchange| exchange.writes_status() && exchange.status.is_some()) >= names.len())
            .then_some(())
    });
    written.await.unwrap_or_else(|error| panic!("{error}"));
    operator.stop().await;
    let events = bed.api::<Event>().list(&ListParams::default()).await.unwrap();
    assert_eq!(events.items.len(), names.len());
}
