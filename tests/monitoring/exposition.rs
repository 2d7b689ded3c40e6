//! `/metrics` of an operator that has seen everything.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use scim_bridge_operator::{
    api::{
        connection::{ComponentState, IdentityProvider},
        directory::{ChangeKind, Reason},
        vocabulary::Layer,
    },
    bridge::wire::stages::{Observer as _, Stage},
    domain::connection::{
        evidence::{Answer, Certificate, Component, Evidence, Exchange, HealthReport, Member, Reading},
        status::Change,
        verdict::diagnose,
    },
    domain::directory::{budget::PerKind, order::Answer as WriteAnswer},
    metrics::{DirectoryRow, EventOutcome, Load, Metrics, RequestOutcome, Row, write_outcome},
};
use testbed::bed::first_status;

const NOW: i64 = 1_772_546_816;

/// Each metric, at least once.
pub(crate) fn exposition() -> String {
    let metrics = Metrics::default();
    let verdict = diagnose(Some(IdentityProvider::Okta), &evidence());
    metrics.read(&"identity".into(), &"corp".into(), row());
    metrics.judged(("identity", "corp"), row(), &verdict, Change::Changed, true);
    for layer in Layer::ALL {
        metrics.passed(
            Stage::Asked(layer, &Exchange::default()),
            Duration::from_millis(3),
        );
    }
    metrics.ended(Duration::from_millis(20));
    metrics.requested("apply_status", RequestOutcome::Ok);
    metrics.event(EventOutcome::Sent);
    metrics.known(1);
    metrics.leads(true);
    metrics.loaded(Load::default());
    metrics.directory_read("identity", "corp", directory());
    metrics.directory_pages(4);
    metrics.directory_read_ended("complete");
    metrics.plan_took(Duration::from_millis(1));
    metrics.directory_write(ChangeKind::Creation, write_outcome(&WriteAnswer::Accepted(None)));
    metrics.proven(ChangeKind::Creation, Duration::from_millis(700));
    let mut text = String::new();
    metrics.encode(&mut text).unwrap();
    text
}

/// The type of a metric family.
pub(crate) fn kind(family: &str) -> &'static str {
    let wanted = format!("# TYPE {family} ");
    let text = exposition();
    match text.lines().find_map(|line| line.strip_prefix(&wanted)) {
        Some("counter") => "counter",
        Some("info") => "info",
        Some("histogram") => "histogram",
        _ => "gauge",
    }
}

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
            ..PerKind::default()
        },
        held: PerKind {
            suspensions: true,
            ..PerKind::default()
        },
        objects: [(Reason::Provisioned, 93), (Reason::Held, 7)].into(),
        contested: 1,
        unproven_suspensions: 7,
        oldest_unproven_suspension: Some(Timestamp::from_second(NOW - 60).unwrap()),
    }
}

fn evidence() -> Evidence {
    Evidence::Probed(Exchange {
        ping: Reading::Answered(Answer::Document(())),
        health: Reading::Answered(Answer::Document(HealthReport {
            version: Some("2.9.16".to_owned()),
            build: Some("209163".to_owned()),
            components: vec![
                (Component::RedisCache, ComponentState::Unhealthy),
                (Component::ScimServer, ComponentState::Healthy),
            ],
        })),
        users: Reading::Answered(Answer::Document(128)),
        groups: Some(9),
        certificate: Some(Certificate {
            not_after: Timestamp::from_second(NOW + 86_400).unwrap(),
            ends: Member::Server,
            issuer: None,
        }),
        next_key: None,
        retry_after: None,
    })
}

fn row() -> Row {
    let status = first_status(&evidence(), Timestamp::from_second(NOW).unwrap());
    Row::of(Some(IdentityProvider::Okta), false, &status)
}
