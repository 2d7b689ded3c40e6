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
        directory::{ChangeKind, Reason as ObjectReason},
        user::SuspensionTimes,
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
    domain::directory::{
        budget::PerKind,
        order::{Answer as WriteAnswer, ScimType},
        walk::Incomplete,
    },
    metrics::{DirectoryRow, EventOutcome, Metrics, RequestOutcome, Row, write_outcome},
};
use testbed::bed::first_status;

const NOW: i64 = 1_772_546_816;

/// The most series that one connection has.
const SERIES: usize = 28;

/// The most series that one directory has.
const SERIES_OF_A_DIRECTORY: usize = 46;

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

/// A directory in which each reason occurs.
fn directory() -> DirectoryRow {
    DirectoryRow {
        manages: true,
        users: 128,
        suspended: 12,
        managed: 100,
        unmanaged_active: 16,
        groups: 9,
        snapshot_time: Some(Timestamp::from_second(NOW).unwrap()),
        complete: Some(true),
        pending: PerKind {
            suspensions: 7,
            renames: 1,
            ..PerKind::default()
        },
        held: PerKind {
            suspensions: true,
            ..PerKind::default()
        },
        objects: ObjectReason::ALL.iter().copied().zip(1..).collect(),
        contested: 3,
        unproven_suspensions: 2,
        oldest_unproven_suspension: Some(Timestamp::from_second(NOW - 90).unwrap()),
    }
}

/// One answer of each sort to a write.
fn write_answers() -> [WriteAnswer; 9] {
    [
        WriteAnswer::Accepted(None),
        WriteAnswer::Unclear,
        WriteAnswer::NotSent,
        WriteAnswer::RateLimited,
        WriteAnswer::NotFound,
        WriteAnswer::Conflict,
        WriteAnswer::Unsupported,
        WriteAnswer::TooMany,
        WriteAnswer::Rejected(Some(ScimType::InvalidValue)),
    ]
}

/// One write of each sort, and a proof of each kind.
fn write_everything(metrics: &Metrics) {
    for kind in ChangeKind::ALL {
        for answer in write_answers() {
            metrics.directory_write(kind, write_outcome(&answer));
        }
        metrics.proven(kind, Duration::from_millis(800));
    }
}

/// The samples of connections, without the prefix that all of them have.
fn samples(metrics: &Metrics) -> BTreeMap<String, String> {
    samples_of(metrics, "scim_bridge_connection_")
}

/// The samples of directories, without the prefix that all of them have.
fn samples_of_directories(metrics: &Metrics) -> BTreeMap<String, String> {
    samples_of(metrics, "scim_bridge_directory_")
}

fn samples_of(metrics: &Metrics, prefix: &str) -> BTreeMap<String, String> {
    let text = text(metrics);
    let samples = text.lines().filter_map(|line| line.strip_prefix(prefix));
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
fn a_directory_is_shown_as_it_is() {
    let metrics = Metrics::default();
    metrics.directory_read("identity", "corp", directory());
    let samples = samples_of_directories(&metrics);
    let of = r#"namespace="identity",name="corp""#;
    for (series, value) in [
        (format!("users{{{of}}}"), "128"),
        (format!("suspended_users{{{of}}}"), "12"),
        (format!("managed_users{{{of}}}"), "100"),
        (format!("unmanaged_active_users{{{of}}}"), "16"),
        (format!("groups{{{of}}}"), "9"),
        (format!("manages{{{of}}}"), "1"),
        (format!("complete{{{of}}}"), "1"),
        (format!("snapshot_timestamp_seconds{{{of}}}"), "1772546816"),
        (format!(r#"pending_changes{{{of},kind="suspensions"}}"#), "7"),
        (format!(r#"pending_changes{{{of},kind="removals"}}"#), "0"),
        (format!(r#"pending_changes{{{of},kind="renames"}}"#), "1"),
        (format!(r#"held{{{of},kind="suspensions"}}"#), "1"),
        (format!(r#"held{{{of},kind="renames"}}"#), "0"),
        (format!(r#"objects{{{of},reason="Provisioned"}}"#), "1"),
        (format!(r#"objects{{{of},reason="Suspended"}}"#), "2"),
        (format!("contested{{{of}}}"), "3"),
        (format!("unproven_suspensions{{{of}}}"), "2"),
        (
            format!("oldest_unproven_suspension_timestamp_seconds{{{of}}}"),
            "1772546726",
        ),
    ] {
        assert_eq!(
            samples.get(&series).map(String::as_str),
            Some(value),
            "{series} in {samples:#?}"
        );
    }
    assert_eq!(
        samples.len(),
        SERIES_OF_A_DIRECTORY,
        "say the new number in SERIES_OF_A_DIRECTORY"
    );
    for page in ["docs/reference/metrics.md", "docs/monitoring.md"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
        assert!(
            text.contains(&format!("{SERIES_OF_A_DIRECTORY} series")),
            "{page} says another number"
        );
    }
}

/// Nothing of an earlier read stays. Where nobody has counted, there is no zero.
#[test]
fn a_directory_shows_what_is_known_and_no_more() {
    let metrics = Metrics::default();
    metrics.directory_read("a", "1", directory());
    let unread = DirectoryRow {
        complete: Some(false),
        objects: [(ObjectReason::DirectoryIncomplete, 4)].into(),
        contested: 3,
        unproven_suspensions: 2,
        oldest_unproven_suspension: Some(Timestamp::from_second(NOW).unwrap()),
        ..DirectoryRow::default()
    };
    metrics.directory_read("a", "1", unread);
    let of = r#"namespace="a",name="1""#;
    let left = [
        (format!("manages{{{of}}}"), "0".to_owned()),
        (format!("complete{{{of}}}"), "0".to_owned()),
        (
            format!(r#"objects{{{of},reason="DirectoryIncomplete"}}"#),
            "4".to_owned(),
        ),
        // Statuses tell these. A bridge that cannot be read is no reason to keep quiet about them.
        (format!("unproven_suspensions{{{of}}}"), "2".to_owned()),
        (
            format!("oldest_unproven_suspension_timestamp_seconds{{{of}}}"),
            "1772546816".to_owned(),
        ),
    ];
    assert_eq!(samples_of_directories(&metrics), BTreeMap::from(left));
}

/// Who does not use provisioning finds nothing of it, not even the names of its metrics.
#[test]
fn without_a_directory_there_is_no_series_of_one() {
    let metrics = Metrics::default();
    metrics.read(&"a".into(), &"1".into(), row(&Evidence::Probed(exchange())));
    let bare = text(&metrics);
    let words = [
        "scim_bridge_directory",
        "operator_directory",
        "plan_duration",
        "proof_duration",
    ];
    let of_directories = |line: &&str| words.iter().any(|word| line.contains(word));
    let series = |text: &str| {
        let lines = text.lines().filter(of_directories);
        lines.filter(|line| !line.starts_with('#')).count()
    };
    assert!(!bare.contains("scim_bridge_directory"), "{bare}");
    assert_eq!(series(&bare), 0, "{bare}");

    metrics.directory_read("a", "1", directory());
    metrics.directory_read("a", "2", directory());
    metrics.directory_pages(3);
    metrics.directory_read_ended("complete");
    metrics.plan_took(Duration::from_millis(3));
    write_everything(&metrics);
    assert!(series(&text(&metrics)) > 2 * SERIES_OF_A_DIRECTORY);
    metrics.directory_forget("a", "1");
    metrics.directory_forget("a", "no such name");
    metrics.directory_forget("no such namespace", "1");
    let left = samples_of_directories(&metrics);
    assert_eq!(left.len(), SERIES_OF_A_DIRECTORY, "{left:#?}");
    assert!(left.keys().all(|series| series.contains(r#"name="2""#)));
    metrics.directory_forget("a", "2");
    assert!(!text(&metrics).contains("scim_bridge_directory"));
}

#[test]
fn reads_of_directories_are_counted() {
    let metrics = Metrics::default();
    metrics.directory_pages(102);
    metrics.directory_pages(3);
    metrics.directory_read_ended("complete");
    metrics.directory_read_ended("complete");
    metrics.directory_read_ended(Incomplete::TotalChanged.as_str());
    metrics.plan_took(Duration::from_millis(12));
    let samples = samples_of(&metrics, "scim_bridge_operator_");
    for (series, value) in [
        ("directory_pages_total{}", "105"),
        (r#"directory_reads_total{outcome="complete"}"#, "2"),
        (r#"directory_reads_total{outcome="total_changed"}"#, "1"),
        (r#"plan_duration_seconds_bucket{le="0.005"}"#, "0"),
        (r#"plan_duration_seconds_bucket{le="0.02"}"#, "1"),
        ("plan_duration_seconds_count{}", "1"),
    ] {
        assert_eq!(
            samples.get(series).map(String::as_str),
            Some(value),
            "{series} in {samples:#?}"
        );
    }
}

#[test]
fn writes_and_proofs_are_counted() {
    let metrics = Metrics::default();
    // The first change shows as growth.
    metrics.directory_read("a", "1", directory());
    let begun = samples_of(&metrics, "scim_bridge_operator_");
    for kind in ChangeKind::ALL {
        let accepted = format!(r#"directory_writes_total{{kind="{kind}",outcome="accepted"}}"#);
        assert_eq!(begun.get(&accepted).map(String::as_str), Some("0"), "{begun:#?}");
        let proofs = format!(r#"proof_duration_seconds_count{{kind="{kind}"}}"#);
        assert_eq!(begun.get(&proofs).map(String::as_str), Some("0"), "{begun:#?}");
    }
    metrics.directory_write(ChangeKind::Suspension, write_outcome(&WriteAnswer::Unclear));
    metrics.directory_write(ChangeKind::Suspension, "accepted");
    metrics.directory_write(ChangeKind::Suspension, "accepted");
    metrics.proven(ChangeKind::Suspension, Duration::from_millis(300));
    metrics.proven(ChangeKind::Suspension, Duration::from_mins(40));
    let samples = samples_of(&metrics, "scim_bridge_operator_");
    let proofs = "proof_duration_seconds";
    for (series, value) in [
        (
            r#"directory_writes_total{kind="suspensions",outcome="accepted"}"#.to_owned(),
            "2",
        ),
        (
            r#"directory_writes_total{kind="suspensions",outcome="unclear"}"#.to_owned(),
            "1",
        ),
        (format!(r#"{proofs}_bucket{{le="0.25",kind="suspensions"}}"#), "0"),
        (format!(r#"{proofs}_bucket{{le="0.5",kind="suspensions"}}"#), "1"),
        (
            format!(r#"{proofs}_bucket{{le="1800.0",kind="suspensions"}}"#),
            "1",
        ),
        (
            format!(r#"{proofs}_bucket{{le="3600.0",kind="suspensions"}}"#),
            "2",
        ),
        (format!(r#"{proofs}_sum{{kind="suspensions"}}"#), "2400.3"),
    ] {
        assert_eq!(
            samples.get(&series).map(String::as_str),
            Some(value),
            "{series} in {samples:#?}"
        );
    }
}

#[test]
fn the_oldest_suspension_without_a_proof_is_shown() {
    let time = |seconds| {
        k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::from_second(seconds).unwrap())
    };
    let mut row = DirectoryRow::default();
    for (requested, proven) in [
        (Some(NOW - 900), Some(NOW)),
        (Some(NOW - 30), None),
        (Some(NOW - 60), None),
        (None, None),
    ] {
        row.note_suspension(&SuspensionTimes {
            requested_at: requested.map(time),
            sent_at: None,
            proven_at: proven.map(time),
        });
    }
    let oldest = row.oldest_unproven_suspension.map(Timestamp::as_second);
    assert_eq!((row.unproven_suspensions, oldest), (3, Some(NOW - 60)));
}

#[test]
fn labels_are_from_closed_sets() {
    let metrics = Metrics::default();
    metrics.directory_read("a", "1", directory());
    write_everything(&metrics);
    for cause in Incomplete::all() {
        metrics.directory_read_ended(cause.as_str());
    }
    metrics.directory_read_ended("complete");
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
    // Connections and objects share some.
    let reasons = Reason::ALL.iter().map(|reason| reason.as_str());
    let reasons: BTreeSet<&str> = reasons
        .chain(ObjectReason::ALL.iter().map(|reason| reason.as_str()))
        .collect();
    let known: BTreeMap<&str, usize> = BTreeMap::from([
        ("namespace", 1),
        ("name", 1),
        ("type", ConditionType::PROBED.len()),
        ("reason", reasons.len()),
        ("kind", ChangeKind::ALL.len()),
        ("component", Component::ALL.len()),
        ("identity_provider", 1),
        // And `none`, of verdicts.
        ("layer", Layer::ALL.len() + 1),
        // Of probes, and of proofs.
        ("le", 18),
        ("change", 1),
        ("request", 1),
        // Of requests; of reads: `complete`, or the cause; and of writes, one of which is a `conflict` too.
        (
            "outcome",
            1 + 1 + Incomplete::all().count() + write_answers().len() - 1,
        ),
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
    metrics.directory_read("a", "1", directory());
    metrics.directory_read_ended("complete");
    for cause in Incomplete::all() {
        metrics.directory_read_ended(cause.as_str());
    }
    write_everything(&metrics);
    let text = text(&metrics);
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).unwrap();
    for (title, metric, label) in [
        ("| `change` | ", "operator_verdicts_total", "change"),
        (
            "| `outcome` of `api_requests_total` | ",
            "operator_api_requests_total",
            "outcome",
        ),
        (
            "| `outcome` of `events_total` | ",
            "operator_events_total",
            "outcome",
        ),
        (
            "| `outcome` of `directory_reads_total` | ",
            "operator_directory_reads_total",
            "outcome",
        ),
        (
            "| `outcome` of `directory_writes_total` | ",
            "operator_directory_writes_total",
            "outcome",
        ),
        ("| `kind` | ", "directory_held", "kind"),
    ] {
        let series = format!("scim_bridge_{metric}{{");
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
