//! What `/metrics` says of each connection, and how much.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, a value that is not there is a failure"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use scim_bridge_operator::{
    api::{
        connection::{ComponentState, IdentityProvider, ScimBridgeConnectionStatus},
        vocabulary::{ConditionType, Layer, Reason},
    },
    bridge::wire::stages::{Observer as _, Stage},
    domain::connection::{
        evidence::{
            Answer, Blocker, Certificate, Component, Denial, Evidence, Exchange, HealthReport, KeyFault,
            KeyTrial, Member, Reading,
        },
        status::Change,
        verdict::{Verdict, diagnose},
    },
    metrics::{EventOutcome, Metrics, RequestOutcome, Row},
};
use testbed::bed::first_status;

const NOW: i64 = 1_772_546_816;

/// The most series that one connection has.
const SERIES: usize = 28;

/// Everything that a bridge can tell at once.
fn exchange() -> Exchange {
    Exchange {
        ping: Reading::Answered(Answer::Document(())),
        health: Reading::Answered(Answer::Document(HealthReport {
            version: Some("2.9.16".to_owned()),
            build: Some("209163".to_owned()),
            components: Component::ALL
                .into_iter()
                .map(|component| (component, ComponentState::Healthy))
                .collect(),
        })),
        users: Reading::Answered(Answer::Document(128)),
        groups: Some(9),
        certificate: Some(Certificate {
            not_after: Timestamp::from_second(NOW + 86_400).unwrap(),
            ends: Member::Server,
            issuer: None,
        }),
        next_key: Some(KeyTrial::Refused),
        retry_after: None,
    }
}

fn status(evidence: &Evidence) -> ScimBridgeConnectionStatus {
    first_status(evidence, Timestamp::from_second(NOW).unwrap())
}

fn connected() -> Verdict {
    diagnose(Some(IdentityProvider::Okta), &Evidence::Probed(exchange()))
}

fn row(evidence: &Evidence) -> Row {
    Row::of(Some(IdentityProvider::Okta), false, &status(evidence))
}

fn text(metrics: &Metrics) -> String {
    let mut text = String::new();
    metrics.encode(&mut text).unwrap();
    text
}

/// The samples of connections, without the prefix that all of them have.
fn samples(metrics: &Metrics) -> BTreeMap<String, String> {
    let text = text(metrics);
    let samples = text
        .lines()
        .filter_map(|line| line.strip_prefix("scim_bridge_connection_"));
    let split = samples.map(|line| line.rsplit_once(' ').unwrap());
    split
        .map(|(series, value)| (series.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn a_connection_is_shown_as_it_is() {
    let metrics = Metrics::default();
    metrics.read(
        &"identity".into(),
        &"corp".into(),
        row(&Evidence::Probed(exchange())),
    );
    let samples = samples(&metrics);
    let of = r#"namespace="identity",name="corp""#;
    for (series, value) in [
        (format!(r#"condition{{{of},type="Ready"}}"#), "1"),
        (format!(r#"condition{{{of},type="AuthFailed"}}"#), "0"),
        (format!(r#"condition{{{of},type="Degraded"}}"#), "0"),
        (format!(r#"condition{{{of},type="CertificateExpiring"}}"#), "1"),
        (format!(r#"condition{{{of},type="NextApiKeyValid"}}"#), "0"),
        (format!(r#"ready_reason{{{of},reason="Connected"}}"#), "1"),
        (
            format!(r#"component_healthy{{{of},component="SCIMServer"}}"#),
            "1",
        ),
        (format!(r#"info{{{of},identity_provider="Okta"}}"#), "1"),
        (
            format!("ready_transition_timestamp_seconds{{{of}}}"),
            "1772546816",
        ),
        (format!("last_probe_timestamp_seconds{{{of}}}"), "1772546816"),
        (
            format!("certificate_expiry_timestamp_seconds{{{of}}}"),
            "1772633216",
        ),
        (format!("directory_users{{{of}}}"), "128"),
        (format!("directory_groups{{{of}}}"), "9"),
        (format!("suspended{{{of}}}"), "0"),
        (format!("consecutive_failures{{{of}}}"), "0"),
        (format!("unlocks_total{{{of}}}"), "0"),
    ] {
        assert_eq!(
            samples.get(&series).map(String::as_str),
            Some(value),
            "{series} in {samples:#?}"
        );
    }
}

#[test]
fn a_connection_costs_so_many_series_and_no_more() {
    let metrics = Metrics::default();
    metrics.read(
        &"identity".into(),
        &"corp".into(),
        row(&Evidence::Probed(exchange())),
    );
    assert_eq!(samples(&metrics).len(), SERIES, "say the new number in SERIES");
    let page = "docs/reference/metrics.md";
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    assert!(
        text.contains(&format!("{SERIES} series")),
        "{page} says another number"
    );
    // Whatever happens to it: no series stays that is not of now.
    let blockers = [
        Blocker::SecretNotFound,
        Blocker::HostDenied(Denial::Special),
        Blocker::ApiKeyMalformed(KeyFault::Blank),
    ];
    for blocker in blockers {
        metrics.read(
            &"identity".into(),
            &"corp".into(),
            row(&Evidence::Blocked(blocker)),
        );
        let samples = samples(&metrics);
        assert!(samples.len() <= SERIES, "{samples:#?}");
        let reasons: Vec<_> = samples
            .keys()
            .filter(|series| series.starts_with("ready_reason"))
            .collect();
        assert_eq!(reasons.len(), 1, "{reasons:?}");
    }
}

#[test]
fn a_connection_that_is_gone_has_no_series() {
    let metrics = Metrics::default();
    for (namespace, name) in [("a", "1"), ("a", "2"), ("b", "1"), ("c", "1")] {
        let row = row(&Evidence::Probed(exchange()));
        metrics.read(&namespace.into(), &name.into(), row);
        metrics.judged((namespace, name), row, &connected(), Change::Changed, true);
    }
    metrics.forget("a", "1");
    metrics.forget("a", "no such name");
    metrics.forget("no such namespace", "1");
    metrics.retain(|namespace, _| namespace != "b");
    let left: BTreeSet<_> = samples(&metrics)
        .into_keys()
        .filter(|series| series.starts_with("unlocks_total"))
        .collect();
    assert_eq!(
        left,
        BTreeSet::from([
            r#"unlocks_total{namespace="a",name="2"}"#.to_owned(),
            r#"unlocks_total{namespace="c",name="1"}"#.to_owned()
        ])
    );
}

#[test]
fn a_probe_that_was_not_written_is_shown_all_the_same() {
    let metrics = Metrics::default();
    let mut later = status(&Evidence::Probed(exchange()));
    let written = Row::of(None, false, &later);
    let time = |seconds| {
        k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::from_second(seconds).unwrap())
    };
    later.last_probe_time = Some(time(NOW + 60));
    later.valid_until = Some(time(NOW + 700));
    metrics.read(&"a".into(), &"1".into(), written);
    let proven = Row::of(None, false, &later);
    metrics.judged(("a", "1"), proven, &connected(), Change::Unchanged, false);
    // The watch brings the object again, for a label perhaps: with the status that is older than the last probe.
    metrics.read(&"a".into(), &"1".into(), written);
    let samples = samples(&metrics);
    let of = r#"{namespace="a",name="1"}"#;
    assert_eq!(
        samples[&format!("last_probe_timestamp_seconds{of}")],
        "1772546876"
    );
    assert_eq!(
        samples[&format!("valid_until_timestamp_seconds{of}")],
        "1772547516"
    );
}

#[test]
fn a_verdict_about_a_connection_that_is_gone_brings_no_series_back() {
    let metrics = Metrics::default();
    let row = row(&Evidence::Probed(exchange()));
    metrics.read(&"a".into(), &"1".into(), row);
    metrics.forget("a", "1");
    // Its probe was under way.
    metrics.judged(("a", "1"), row, &connected(), Change::Changed, true);
    assert!(!text(&metrics).contains(r#"name="1""#), "{}", text(&metrics));
}

#[test]
fn labels_are_from_closed_sets() {
    let metrics = Metrics::default();
    for reason in Reason::ALL {
        let row = row(&Evidence::Probed(exchange()));
        metrics.read(&"a".into(), &"1".into(), row);
        metrics.judged(
            ("a", "1"),
            row,
            &Verdict {
                reason: *reason,
                ..connected()
            },
            Change::Changed,
            false,
        );
    }
    for layer in Layer::ALL {
        metrics.passed(
            Stage::Asked(layer, &Exchange::default()),
            Duration::from_millis(3),
        );
    }
    metrics.ended(Duration::from_millis(30));
    metrics.requested("apply_status", RequestOutcome::Ok);
    let text = text(&metrics);
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((labels, _)) = line.split_once('{').and_then(|(_, rest)| rest.split_once('}')) else {
            continue;
        };
        for label in labels.split(',') {
            let (name, value) = label.split_once('=').unwrap();
            values.entry(name).or_default().insert(value.trim_matches('"'));
        }
    }
    let known: BTreeMap<&str, usize> = BTreeMap::from([
        ("namespace", 1),
        ("name", 1),
        ("type", ConditionType::ALL.len()),
        ("reason", Reason::ALL.len()),
        ("component", Component::ALL.len()),
        ("identity_provider", 1),
        // And `none`, of verdicts.
        ("layer", Layer::ALL.len() + 1),
        ("le", 10),
        ("change", 1),
        ("request", 1),
        ("outcome", 1),
        ("version", 1),
    ]);
    let counted: BTreeMap<&str, usize> = values
        .iter()
        .map(|(name, values)| (*name, values.len()))
        .collect();
    assert_eq!(
        counted, known,
        "a label that is not known to be bounded: {values:#?}"
    );
}

/// The rows of closed labels in the page have the values that the program writes, and no others.
#[test]
fn the_page_has_each_value_of_a_closed_label() {
    const PAGE: &str = "docs/reference/metrics.md";
    let metrics = Metrics::default();
    let row = row(&Evidence::Probed(exchange()));
    for change in [Change::Changed, Change::Heartbeat, Change::Unchanged] {
        metrics.judged(("a", "1"), row, &connected(), change, false);
    }
    for outcome in [
        RequestOutcome::Ok,
        RequestOutcome::Refused,
        RequestOutcome::Unreachable,
    ] {
        metrics.requested("apply_status", outcome);
    }
    for outcome in [EventOutcome::Sent, EventOutcome::Failed, EventOutcome::Dropped] {
        metrics.event(outcome);
    }
    let text = text(&metrics);
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).unwrap();
    for (title, metric, label) in [
        ("| `change` | ", "verdicts_total", "change"),
        (
            "| `outcome` of `api_requests_total` | ",
            "api_requests_total",
            "outcome",
        ),
        ("| `outcome` of `events_total` | ", "events_total", "outcome"),
    ] {
        let series = format!("scim_bridge_operator_{metric}{{");
        let written: BTreeSet<&str> = text
            .lines()
            .filter(|line| line.starts_with(&series))
            .filter_map(|line| line.split_once(&format!("{label}=\""))?.1.split('"').next())
            .collect();
        let listed = page.lines().find_map(|line| line.strip_prefix(title)).unwrap();
        let listed: BTreeSet<&str> = listed.split('`').skip(1).step_by(2).collect();
        assert_eq!(listed, written, "left: {PAGE}, row {title:?}; right: the program");
    }
}
