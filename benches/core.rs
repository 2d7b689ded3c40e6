//! The pure core: what each pass does between an answer and a status, and the gate before it.

#![allow(missing_docs, reason = "criterion's macros make items without any")]

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use k8s_openapi::jiff::Timestamp;
use scim_bridge_operator::{
    api::{
        connection::{
            ComponentState, IdentityProvider, ObjectVersion, ScimBridgeConnection, ScimBridgeConnectionStatus,
        },
        role::PerRole,
    },
    domain::{
        connection::{
            evidence::{
                Answer, Blocker, Certificate, Component, Evidence, Exchange, HealthReport, Member, Reading,
                TransportFailure,
            },
            schedule::{Situation, due},
            status::{Observation, Versions, next_status},
            target::Target,
            verdict::diagnose,
        },
        watched::{Seen, Watched},
    },
};
use serde_json::json;

/// A moment like any other.
fn now() -> Timestamp {
    Timestamp::from_second(1_772_546_816).unwrap_or_default()
}

/// A connection as users write it.
fn connection() -> Option<ScimBridgeConnection> {
    let object = json!({
        "apiVersion": "scimbridge.dev/v1alpha1", "kind": "ScimBridgeConnection",
        "metadata": {"name": "okta", "namespace": "identity", "uid": "2a6d1c1e-0000-4000-8000-000000000001"},
        "spec": {
            "url": "https://okta.scim.example.com/scim/v2", "identityProvider": "Okta",
            "apiKeySecretRef": {"name": "okta"}, "interval": "5m",
            "tls": {"caRef": {"kind": "ConfigMap", "name": "ca"}, "serverName": "scim.example.com"},
        },
    });
    serde_json::from_value(object).ok()
}

/// What a bridge that works answers.
fn connected() -> Evidence {
    let components = [
        Component::ConfirmationWatcher,
        Component::RedisCache,
        Component::ScimServer,
    ];
    Evidence::Probed(Exchange {
        ping: Reading::Answered(Answer::Document(())),
        health: Reading::Answered(Answer::Document(HealthReport {
            version: Some("2.9.16".to_owned()),
            build: Some("209163".to_owned()),
            components: components
                .map(|component| (component, ComponentState::Healthy))
                .into(),
        })),
        users: Reading::Answered(Answer::Document(128)),
        groups: Some(9),
        certificate: Some(Certificate {
            not_after: now() + Duration::from_hours(24 * 60),
            ends: Member::Server,
            issuer: Some("Example CA".to_owned()),
        }),
        ..Exchange::default()
    })
}

/// One of each kind that occurs: connected, a refused key, the SCIM API off, nobody there, in trouble, nothing to send.
fn representative() -> [Evidence; 6] {
    let of = |health, users| {
        Evidence::Probed(Exchange {
            ping: Reading::Answered(Answer::Document(())),
            health,
            users,
            ..Exchange::default()
        })
    };
    let healthy = || Reading::Answered(Answer::Document(HealthReport::default()));
    [
        connected(),
        of(
            Reading::Answered(Answer::Unauthorized),
            Reading::Answered(Answer::Unauthorized),
        ),
        of(healthy(), Reading::Answered(Answer::NotFound)),
        Evidence::Probed(Exchange {
            ping: Reading::Failed(TransportFailure::Connect),
            ..Exchange::default()
        }),
        of(healthy(), Reading::Answered(Answer::ServerError(500))),
        Evidence::Blocked(Blocker::SecretNotFound),
    ]
}

fn version(number: u32) -> ObjectVersion {
    ObjectVersion {
        uid: "2a6d1c1e-0000-4000-8000-000000000002".to_owned(),
        resource_version: number.to_string(),
    }
}

fn pass<'a>(target: &'a Target, evidence: &'a Evidence, now: Timestamp) -> Observation<'a> {
    Observation {
        uid: "2a6d1c1e-0000-4000-8000-000000000001",
        generation: 1,
        declared: Some(IdentityProvider::Okta),
        target: Some(target),
        versions: Versions {
            credential: Some(version(1000)),
            ca: Some(version(1001)),
            next_credential: None,
        },
        requested: None,
        failures_before: 0,
        evidence,
        now,
        late: Duration::ZERO,
        early: Duration::ZERO,
        heartbeat: Duration::from_mins(5),
    }
}

fn verdicts(c: &mut Criterion) {
    let evidence = representative();
    c.bench_function("diagnose: six kinds of evidence", |bencher| {
        bencher.iter(|| {
            for evidence in &evidence {
                black_box(diagnose(Some(IdentityProvider::Okta), black_box(evidence)));
            }
        });
    });
}

fn statuses(c: &mut Criterion) {
    let Some(target) = connection().and_then(|it| Target::parse(&it.spec).ok()) else {
        return;
    };
    let evidence = representative();
    let [works, refuses, ..] = &evidence;
    let before = ScimBridgeConnectionStatus {
        observed_generation: -1,
        ..ScimBridgeConnectionStatus::default()
    };
    let first = next_status(&before, &pass(&target, works, now())).status;
    let later = now() + Duration::from_secs(30);
    for (name, evidence) in [("steady", works), ("changed", refuses)] {
        c.bench_function(&format!("next_status: {name}"), |bencher| {
            bencher.iter(|| next_status(black_box(&first), &pass(&target, evidence, later)));
        });
    }
}

fn gate(c: &mut Criterion) {
    let judged = version(1000).into();
    let seen = Seen::Present(version(1000).into());
    let watched = Some(Watched {
        judged: Some(&judged),
        seen: &seen,
        seen_before: &seen,
    });
    let situation = Situation {
        dormant: false,
        generation: 1,
        observed_generation: 1,
        references: PerRole {
            credential: watched,
            ca: watched,
            next_credential: None,
        },
        requested: Some("1"),
        handled: Some("1"),
        unwritten: false,
        next: now() + Duration::from_secs(30),
        now: now(),
    };
    c.bench_function("due: not yet", |bencher| {
        bencher.iter(|| due(black_box(&situation)));
    });
}

fn specifications(c: &mut Criterion) {
    let Some(connection) = connection() else {
        return;
    };
    c.bench_function("Target::parse", |bencher| {
        bencher.iter(|| Target::parse(black_box(&connection.spec)));
    });
}

criterion_group!(benches, verdicts, statuses, gate, specifications);
criterion_main!(benches);
