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
        group::ScimGroupSpec,
        role::PerRole,
        user::ScimUserSpec,
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
        directory::{
            budget::{DigestKey, Kind, Limits},
            census::Census,
            ledger::{Key, Ledger},
            names::{ObjectId, RemoteId},
            order::{Answer as OrderAnswer, Order},
            plan::{Directory, Policy, plan},
            scope::{Protected, Scope},
            snapshot::{Activity, GroupEntry, MemberEntry, Snapshot, UserEntry},
            walk::{Entry, Listing, Page, Progress, Walk},
            wish::{GroupWish, UserWish, Wishes},
        },
        watched::{Seen, Watched},
    },
};
use serde_json::json;

/// Users of the directory that is planned.
const USERS: usize = 10_000;
/// Members of each of its groups.
const MEMBERS: usize = 100;
/// Suspensions that were sent and wait for a read.
const WAITING: usize = 1000;

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

/// A complete list.
fn listing<T: Entry + Clone>(entries: &[T]) -> Option<Listing<T>> {
    let total = u64::try_from(entries.len()).ok()?;
    let mut walk = Walk::new();
    let mut pages = entries.chunks(100);
    loop {
        let entries = pages.next().unwrap_or_default().to_vec();
        match walk.feed(Ok(Page { total, entries })) {
            Progress::More(more) => walk = more,
            Progress::Complete(listing) => return Some(listing),
            Progress::Incomplete(_) => return None,
        }
    }
}

fn user_name(number: usize) -> String {
    format!("given.family.{number:05}@example.com")
}

fn user_id(number: usize) -> String {
    format!("6NF7ZWCFBBHUXBSGZM5YX{number:05}")
}

fn user_uid(number: usize) -> String {
    format!("2a6d1c1e-0000-4000-8000-0000000{number:05}")
}

fn group_id(number: usize) -> String {
    format!("f7eqriu7ht27mq5zmm63g{number:05}")
}

/// What a bridge has: every user is in one group.
fn snapshot() -> Option<Snapshot> {
    let user = |number: usize| {
        Some(UserEntry {
            id: RemoteId::parse(&user_id(number)).ok()?,
            user_name: Some(user_name(number).into()),
            active: Activity::Active,
            given_name: Some("Given".into()),
            family_name: Some(format!("Family-{number:05}").into()),
            groups: None,
        })
    };
    let users: Vec<_> = (0..USERS).map(user).collect::<Option<_>>()?;
    let group = |(number, members): (usize, &[UserEntry])| {
        let member = |user: &UserEntry| MemberEntry {
            value: user.id.as_str().into(),
            is_group: false,
        };
        Some(GroupEntry {
            id: RemoteId::parse(&group_id(number)).ok()?,
            display_name: Some(format!("k8s-{number:05}").into()),
            members: Some(members.iter().map(member).collect()),
        })
    };
    let groups: Vec<_> = users
        .chunks(MEMBERS)
        .enumerate()
        .map(group)
        .collect::<Option<_>>()?;
    Some(Snapshot::new(listing(&users)?, listing(&groups)?, Vec::new()))
}

/// An object for each user and each group, with its id; the users have this state.
fn wishes(state: &str) -> Option<Wishes> {
    let user = |number: usize| {
        let spec: ScimUserSpec = serde_json::from_value(json!({
            "connectionRef": {"name": "corp"}, "userName": user_name(number), "state": state,
            "name": {"givenName": "Given", "familyName": format!("Family-{number:05}")},
        }))
        .ok()?;
        UserWish::of(&user_uid(number), Some(&user_id(number)), &spec).ok()
    };
    let group = |number: usize| {
        let members: Vec<_> = (number * MEMBERS..(number + 1) * MEMBERS)
            .map(|member| json!({"userName": user_name(member)}))
            .collect();
        let spec: ScimGroupSpec = serde_json::from_value(json!({
            "connectionRef": {"name": "corp"}, "displayName": format!("k8s-{number:05}"), "members": members,
        }))
        .ok()?;
        GroupWish::of(
            &format!("2a6d1c1e-0000-4000-8001-0000000{number:05}"),
            Some(&group_id(number)),
            &spec,
        )
        .ok()
    };
    Some(Wishes {
        users: (0..USERS).map(user).collect::<Option<_>>()?,
        groups: (0..USERS / MEMBERS).map(group).collect::<Option<_>>()?,
    })
}

/// What is known after so many suspensions that no read has shown.
fn ledger(waiting: usize) -> Option<Ledger> {
    let mut ledger = Ledger::default();
    for number in 0..waiting {
        let key = Key {
            object: ObjectId::new(&user_uid(number)),
            kind: Kind::Suspension,
            member: None,
        };
        let order = Order::SetActive {
            user: RemoteId::parse(&user_id(number)).ok()?,
            active: false,
        };
        ledger.record(&[key], &order, &OrderAnswer::Accepted(None));
    }
    Some(ledger)
}

fn plans(c: &mut Criterion) {
    let (Some(snapshot), Ok(scope), Ok(protected)) = (
        snapshot(),
        Scope::parse(&["*@example.com"], &["k8s-*"]),
        Protected::parse(&["owner@example.com"], &[]),
    ) else {
        return;
    };
    let policy = Policy {
        scope,
        protected,
        limits: Limits::default(),
        sends: true,
        released: Vec::new(),
        digest_key: DigestKey::new(b"not a secret"),
    };
    let census = Census::default();
    for (name, state, waiting) in [
        ("nothing to do", "Active", 0),
        ("suspend everybody", "Suspended", 0),
        ("1,000 suspensions wait for a read", "Suspended", WAITING),
    ] {
        let (Some(wishes), Some(ledger)) = (wishes(state), ledger(waiting)) else {
            return;
        };
        let directory = Directory {
            snapshot: &snapshot,
            census: &census,
        };
        c.bench_function(&format!("plan: 10,000 users, {name}"), |bencher| {
            bencher.iter(|| plan(black_box(&wishes), Ok(directory), &policy, &ledger, now()));
        });
    }
}

criterion_group!(benches, verdicts, statuses, gate, specifications, plans);
criterion_main!(benches);
