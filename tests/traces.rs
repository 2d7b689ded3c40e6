//! Traces: what a collector gets, and what happens where there is none.

#![cfg(feature = "otlp")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "in a test, a value that is not there is a failure"
)]

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value,
    trace::v1::{Span, status::StatusCode},
};
use prost::Message as _;
use serde_json::{Value, json};
use testbed::{
    Collector, OperatorProcess,
    bed::{Bed, DEADLINE, WRONG_KEY},
    spec, wait,
};

/// The spans of one pass.
struct Pass {
    root: Span,
    all: Vec<Span>,
}

impl Pass {
    /// Names of the spans below the one of this name, in the order in which they began.
    fn below(&self, name: &str) -> Vec<&str> {
        let parent = &self.span(name).span_id;
        let mut below: Vec<&Span> = self
            .all
            .iter()
            .filter(|span| span.parent_span_id == *parent)
            .collect();
        below.sort_by_key(|span| span.start_time_unix_nano);
        below.into_iter().map(|span| span.name.as_str()).collect()
    }

    #[track_caller]
    fn span(&self, name: &str) -> &Span {
        self.all
            .iter()
            .find(|span| span.name == name)
            .unwrap_or_else(|| panic!("no span {name:?} among {:?}", self.all))
    }
}

/// Attributes of a span as text.
fn attributes(span: &Span) -> BTreeMap<&str, String> {
    let text = |value: &any_value::Value| {
        if let any_value::Value::StringValue(text) = value {
            text.clone()
        } else if let any_value::Value::IntValue(number) = value {
            number.to_string()
        } else {
            format!("{value:?}")
        }
    };
    span.attributes
        .iter()
        .filter_map(|pair| {
            let value = pair.value.as_ref()?.value.as_ref()?;
            Some((pair.key.as_str(), text(value)))
        })
        .collect()
}

fn failed(span: &Span) -> bool {
    span.status
        .as_ref()
        .is_some_and(|status| status.code() == StatusCode::Error)
}

fn trace_id(span: &Span) -> String {
    let id: [u8; 16] = span
        .trace_id
        .as_slice()
        .try_into()
        .expect("a trace id has 16 bytes");
    format!("{:032x}", u128::from_be_bytes(id))
}

fn requests(collector: &Collector) -> Vec<ExportTraceServiceRequest> {
    let batches = collector.batches().into_iter();
    batches
        .map(|batch| {
            ExportTraceServiceRequest::decode(batch).expect("a batch is an ExportTraceServiceRequest")
        })
        .collect()
}

fn spans(collector: &Collector) -> Vec<Span> {
    let resources = requests(collector)
        .into_iter()
        .flat_map(|request| request.resource_spans);
    let scopes = resources.flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

/// The trace of the first pass over this connection that came to a verdict.
#[track_caller]
fn pass_over(spans: &[Span], connection: &str) -> Pass {
    let root = spans
        .iter()
        .filter(|span| span.name == "pass")
        .find(|span| {
            let attributes = attributes(span);
            attributes.get("scimbridge.connection").map(String::as_str) == Some(connection)
                && attributes.contains_key("scimbridge.reason")
        })
        .unwrap_or_else(|| panic!("no pass over {connection:?} among {spans:?}"))
        .clone();
    let all = spans
        .iter()
        .filter(|span| span.trace_id == root.trace_id)
        .cloned()
        .collect();
    Pass { root, all }
}

/// The line of the log with the first verdict about a connection.
fn verdict_line(operator: &OperatorProcess, connection: &str) -> Value {
    operator
        .events()
        .into_iter()
        .find(|event| event["name"] == connection && !event["reason"].is_null())
        .expect("a line for each first verdict")
}

#[tokio::test]
async fn a_pass_is_a_trace_with_a_span_for_each_layer() {
    let bed = Bed::new("traces").await;
    let collector = Collector::start().await.unwrap();
    let bridge = bed.healthy_bridge().await;
    bed.connect_well("corp", &bridge).await;
    let strict = bed.healthy_bridge().await;
    bed.secret("refused", WRONG_KEY).await;
    bed.connect("refused", &strict, json!({})).await;
    bed.connect("keyless", &strict, spec().secret("nowhere")).await;

    let operator = bed.operator(&["--otlp-endpoint", &collector.url()]).await;
    bed.expect("corp", "True Connected").await;
    bed.expect("refused", "False AuthFailed Stalled").await;
    bed.expect("keyless", "False SecretNotFound Stalled").await;
    let events: Vec<(&str, Value)> = ["corp", "refused", "keyless"]
        .map(|name| (name, verdict_line(&operator, name)))
        .into();
    // What was not sent yet is sent at the end.
    operator.stop().await;

    let resource = requests(&collector)
        .into_iter()
        .flat_map(|request| request.resource_spans)
        .find_map(|spans| spans.resource)
        .expect("a resource");
    let service = resource
        .attributes
        .iter()
        .find(|pair| pair.key == "service.name")
        .unwrap();
    assert_eq!(
        service.value.as_ref().unwrap().value,
        Some(any_value::Value::StringValue("scim-bridge-operator".to_owned()))
    );

    let spans = spans(&collector);
    let corp = pass_over(&spans, "corp");
    assert_eq!(corp.below("pass"), ["resolve", "probe", "report"]);
    let layers = ["address", "tls", "ping", "health", "users", "groups"];
    assert_eq!(
        corp.below("probe"),
        layers,
        "the bridge of this test is an address, so no name is looked up"
    );
    for layer in layers {
        let (span, probe) = (corp.span(layer), corp.span("probe"));
        assert!(!failed(span), "{layer}");
        assert!(
            probe.start_time_unix_nano <= span.start_time_unix_nano
                && span.start_time_unix_nano <= span.end_time_unix_nano
                && span.end_time_unix_nano <= probe.end_time_unix_nano,
            "{layer} lies outside of its probe"
        );
    }
    assert_eq!(attributes(corp.span("users"))["http.response.status_code"], "200");
    let root = attributes(&corp.root);
    assert_eq!(root["k8s.namespace.name"], bed.namespace);
    assert_eq!(root["scimbridge.reason"], "Connected");
    assert_eq!(root["scimbridge.cause"], "NewGeneration");
    assert!(!failed(&corp.root));

    let refused = pass_over(&spans, "refused");
    assert!(failed(&refused.root));
    assert_eq!(attributes(&refused.root)["scimbridge.layer"], "users");
    assert_eq!(
        attributes(refused.span("users"))["http.response.status_code"],
        "401"
    );

    let keyless = pass_over(&spans, "keyless");
    assert_eq!(
        keyless.below("pass"),
        ["resolve", "report"],
        "nothing was sent, so there is no probe"
    );

    for (name, event) in events {
        let pass = pass_over(&spans, name);
        assert_eq!(
            event["trace"],
            trace_id(&pass.root),
            "{name}: the log names another trace"
        );
    }
    let strangers: Vec<&str> = spans
        .iter()
        .map(|span| span.name.as_str())
        .filter(|name| !["pass", "resolve", "probe", "report"].contains(name) && !layers.contains(name))
        .collect();
    assert!(
        strangers.is_empty(),
        "spans of libraries may show what they handle: {strangers:?}"
    );
    assert!(
        spans.iter().all(|span| span.events.is_empty()),
        "no line of the log goes into a trace"
    );
}

#[tokio::test]
async fn without_a_collector_the_work_goes_on() {
    let bed = Bed::new("traces-lost").await;
    let bridge = bed.healthy_bridge().await;
    bed.connect_well("corp", &bridge).await;
    let gone = Collector::start().await.unwrap();
    let (url, address) = (gone.url(), gone.address());
    drop(gone);

    let operator = bed.operator(&["--otlp-endpoint", &url]).await;
    bed.expect("corp", "True Connected").await;
    operator.says("the collector does not take traces").await;
    let collector = Collector::start_at(address).await.unwrap();
    let taken = wait::until(
        DEADLINE,
        "traces at the collector that has come back",
        async || {
            bed.probe("corp").await;
            (!spans(&collector).is_empty()).then_some(())
        },
    );
    taken.await.unwrap_or_else(|error| panic!("{error}"));
    operator.says("the collector takes traces again").await;
    let told = operator.events().into_iter().filter(|event| {
        let message = event["message"].as_str().unwrap_or_default();
        message.starts_with("the collector does not")
    });
    assert_eq!(told.count(), 1, "it is told once, not with each batch");
    operator.stop().await;
}
