//! What holds for every sequence of probes, edits, key changes and clock steps.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, a value that is not there is a failure"
)]

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{select, subsequence},
    test_runner::RngSeed,
};
use scim_bridge_operator::{
    api::{
        connection::{
            ApiKeySecretRef, ComponentState, IdentityProvider, ObjectVersion, ScimBridgeConnectionSpec,
            ScimBridgeConnectionStatus,
        },
        duration::HumanDuration,
        role::{PerRole, Role},
        vocabulary::{Class, ConditionType, Layer, Truth},
    },
    check::steps::{self as way, Mark, Reached, steps},
    domain::{
        connection::{
            conditions::{class_of, find, reason_of},
            evidence::{
                Answer, Blocker, Certificate, Component, Denial, Evidence, Exchange, HealthReport, KeyTrial,
                Member, Reading, TransportFailure,
            },
            schedule::{
                Cause, Due, Pace, REFUSED_KEY_INTERVAL, RETRY_AFTER_MAX, RETRY_MIN, Situation, due, pace_of,
            },
            status::{Change, Observation, Versions, next_status, progressing},
            target::{InvalidSpec, Target},
            verdict::diagnose,
        },
        watched::{Seen, Watched},
    },
};

const HEARTBEAT: Duration = Duration::from_mins(5);
const START: i64 = 1_772_546_816;

fn transport() -> impl Strategy<Value = TransportFailure> {
    select(TransportFailure::ALL.to_vec())
}

fn reading<T: Clone + std::fmt::Debug + 'static>(
    document: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Reading<T>> {
    prop_oneof![
        1 => Just(Reading::NotSent),
        2 => transport().prop_map(Reading::Failed),
        4 => document.prop_map(|document| Reading::Answered(Answer::Document(document))),
        4 => select(vec![
            Answer::Unauthorized,
            Answer::Forbidden,
            Answer::Blocked(401),
            Answer::Blocked(403),
            Answer::NotFound,
            Answer::Redirect(302),
            Answer::RateLimited,
            Answer::Unavailable(503),
            Answer::ServerError(500),
            Answer::Foreign,
            Answer::TooLarge,
            Answer::Broken,
            Answer::Encoded,
            Answer::Unexpected(418),
        ])
        .prop_map(Reading::Answered),
    ]
}

fn report() -> impl Strategy<Value = HealthReport> {
    let component = (
        select(Component::ALL.to_vec()),
        select(vec![
            ComponentState::Healthy,
            ComponentState::Expired,
            ComponentState::Unhealthy,
        ]),
    );
    vec(component, 0..4).prop_map(|mut components| {
        components.sort();
        components.dedup_by_key(|(name, _)| *name);
        HealthReport {
            version: Some("2.9.16".to_owned()),
            build: None,
            components,
        }
    })
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let exchange = (
        reading(Just(())),
        reading(report()),
        reading(0_u64..1000),
        option::of(0_u64..10),
        option::of(-30_i64..60),
        option::of(select(vec![
            KeyTrial::Accepted,
            KeyTrial::Refused,
            KeyTrial::Undecided,
        ])),
        option::of(0_u64..1_000_000),
    )
        .prop_map(
            |(ping, health, users, groups, days, next_key, retry_after)| Exchange {
                ping,
                health,
                users,
                groups,
                certificate: days.map(|days| Certificate {
                    not_after: Timestamp::from_second(START + days * 86_400).unwrap(),
                    ends: Member::Intermediate,
                    issuer: None,
                }),
                next_key,
                retry_after: retry_after.map(Duration::from_secs),
            },
        );
    let mut blockers = Blocker::all();
    blockers.push(Blocker::InvalidSpec(InvalidSpec::Path));
    let blocker = select(blockers);
    prop_oneof![1 => blocker.prop_map(Evidence::Blocked), 3 => exchange.prop_map(Evidence::Probed)]
}

fn identity_provider() -> impl Strategy<Value = Option<IdentityProvider>> {
    option::of(select(vec![
        IdentityProvider::GoogleWorkspace,
        IdentityProvider::Okta,
    ]))
}

/// Something that happens to a connection.
#[derive(Clone, Debug)]
enum Step {
    /// A probe brings this.
    Probe(Box<Evidence>),
    /// The specification is edited.
    Edit,
    /// The key is replaced.
    Rotate,
    /// Time goes by.
    Wait(Duration),
    /// The clock is set back.
    SetBack(Duration),
    /// A slow probe of a new specification is announced.
    Announce,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => evidence().prop_map(|evidence| Step::Probe(Box::new(evidence))),
        1 => Just(Step::Edit),
        1 => Just(Step::Rotate),
        4 => (0_u64..7200).prop_map(|seconds| Step::Wait(Duration::from_secs(seconds))),
        1 => (0_u64..3600).prop_map(|seconds| Step::SetBack(Duration::from_secs(seconds))),
        1 => Just(Step::Announce),
    ]
}

fn target(interval: u64, threshold: u8) -> Target {
    Target::parse(&ScimBridgeConnectionSpec {
        url: "https://scim.example.com".to_owned(),
        api_key_secret_ref: ApiKeySecretRef {
            name: "key".to_owned(),
            key: "apiKey".to_owned(),
        },
        identity_provider: None,
        interval: HumanDuration::from_secs(interval),
        timeout: HumanDuration::from_secs(10),
        failure_threshold: threshold,
        suspend: false,
        allow_plaintext: false,
        tls: None,
        next_api_key_secret_ref: None,
        provisioning: None,
    })
    .unwrap()
}

fn version(number: u64) -> ObjectVersion {
    ObjectVersion {
        uid: "secret".to_owned(),
        resource_version: number.to_string(),
    }
}

fn is_connected(status: &ScimBridgeConnectionStatus) -> bool {
    find(&status.conditions, ConditionType::Connected).is_some_and(|connected| connected.status == "True")
}

/// The invariants of a status, each with what to look at when it breaks.
fn check(status: &ScimBridgeConnectionStatus, generation: i64) -> Result<(), TestCaseError> {
    let conditions = &status.conditions;
    let types: Vec<_> = conditions
        .iter()
        .map(|condition| condition.type_.as_str())
        .collect();
    let order: Vec<_> = ConditionType::ALL
        .iter()
        .map(|t| t.as_str())
        .filter(|t| types.contains(t))
        .collect();
    prop_assert_eq!(&types, &order, "each type once, in the order of the vocabulary");
    for type_ in ConditionType::ALWAYS {
        prop_assert!(
            find(conditions, type_).is_some(),
            "{} must always be present",
            type_
        );
    }
    for condition in conditions {
        prop_assert!(!condition.reason.is_empty() && !condition.message.is_empty());
        prop_assert!(condition.message.len() <= 1024);
        prop_assert!(
            condition
                .observed_generation
                .is_some_and(|observed| observed <= generation)
        );
        prop_assert_eq!(
            condition.last_transition_time.0.subsec_nanosecond(),
            0,
            "whole seconds"
        );
    }
    prop_assert!(status.observed_generation <= generation);
    let is = |type_| find(conditions, type_).is_some_and(|condition| condition.status == "True");
    prop_assert!(
        !(is(ConditionType::Reconciling) && is(ConditionType::Stalled)),
        "at most one of the two"
    );
    let reason = reason_of(conditions).unwrap();
    prop_assert_eq!(
        is(ConditionType::Ready),
        class_of(conditions) == Class::Ok,
        "Ready is True for class ok alone"
    );
    prop_assert_eq!(
        is(ConditionType::Reconciling) || is(ConditionType::Stalled),
        class_of(conditions) != Class::Ok,
        "kstatus must be able to tell what is going on"
    );
    if is(ConditionType::Ready) {
        prop_assert!(
            is(ConditionType::Connected) || is(ConditionType::ScimDisabled),
            "Ready is proven"
        );
    }
    if class_of(conditions) == Class::Transient && reason.class() == Class::Action {
        prop_assert!(
            status.last_answer_time.is_some(),
            "a front is transient only where a bridge has answered"
        );
    }
    prop_assert_eq!(
        status.binding.is_some(),
        is_connected(status),
        "binding only while Connected"
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, rng_seed: RngSeed::Fixed(testbed::seed()), ..ProptestConfig::default() })]

    /// Any life of a connection keeps every invariant.
    #[test]
    fn a_status_is_always_sound(
        steps in vec(step(), 1..40),
        declared in identity_provider(),
        interval in 30_u64..86_400,
        threshold in 1_u8..=10,
    ) {
        let target = target(interval, threshold);
        let mut status = ScimBridgeConnectionStatus { observed_generation: -1, ..Default::default() };
        let mut now = Timestamp::from_second(START).unwrap();
        let (mut generation, mut key, mut failures) = (1, 1, 0);
        // What the last verdict that was not held was about.
        let mut proof: Option<(i64, u64)> = None;
        for step in steps {
            match step {
                Step::Edit => generation += 1,
                Step::Rotate => key += 1,
                Step::Wait(time) => now += time,
                Step::SetBack(time) => now -= time,
                Step::Announce => {
                    if status.observed_generation != generation {
                        status = progressing(&status, None, generation, now);
                        check(&status, generation)?;
                        prop_assert!(!is_connected(&status));
                    }
                }
                Step::Probe(evidence) => {
                    let pass = Observation {
                        uid: "9f0c",
                        generation,
                        declared,
                        target: Some(&target),
                        versions: Versions { credential: Some(version(key)), ..Versions::default() },
                        requested: None,
                        failures_before: failures,
                        evidence: &evidence,
                        now,
                        late: Duration::ZERO, early: Duration::ZERO, heartbeat: HEARTBEAT,
                    };
                    let outcome = next_status(&status, &pass);
                    let next = &outcome.status;
                    check(next, generation)?;
                    prop_assert_eq!(next.observed_generation, generation, "also after a failure");
                    for condition in &next.conditions {
                        let before = status.conditions.iter().find(|before| before.type_ == condition.type_);
                        if let Some(before) = before.filter(|before| before.status == condition.status) {
                            prop_assert_eq!(&before.last_transition_time, &condition.last_transition_time,
                                "a transition time moves only with the status");
                        } else {
                            prop_assert_eq!(condition.last_transition_time.0.as_second(), now.as_second());
                        }
                    }
                    let class = outcome.verdict.class;
                    if reason_of(&next.conditions) == Some(outcome.verdict.reason) {
                        if class != Class::Transient || next.valid_until != status.valid_until {
                            proof = Some((generation, key));
                        }
                    } else {
                        prop_assert_eq!(class, Class::Transient, "only transient failures leave a verdict standing");
                    }
                    if is_connected(next) {
                        prop_assert_eq!(proof, Some((generation, key)),
                            "Connected must have been proven for this specification and this key");
                        prop_assert!(next.valid_until.as_ref().is_some_and(|until| until.0 > now));
                    }
                    if class == Class::Transient && is_connected(next) {
                        prop_assert!(next.consecutive_failures < u32::from(threshold));
                    }
                    let delay = Duration::try_from(outcome.next.duration_since(now)).unwrap();
                    prop_assert!(delay >= Duration::from_secs(1) || next.conditions.iter().any(|c| c.type_ == "Reconciling"));
                    prop_assert!(delay <= Duration::from_secs(interval).max(REFUSED_KEY_INTERVAL).max(RETRY_AFTER_MAX) * 11 / 10);
                    failures = next.consecutive_failures;
                    if outcome.change != Change::Unchanged {
                        status = outcome.status;
                    }
                }
            }
        }
    }

    /// The same evidence twice is written once; then again after a heartbeat.
    #[test]
    fn what_is_no_news_is_not_written(evidence in evidence(), declared in identity_provider(), pause in 31_u64..299) {
        let target = target(300, 3);
        let fresh = ScimBridgeConnectionStatus { observed_generation: -1, ..Default::default() };
        let start = Timestamp::from_second(START).unwrap();
        let pass = |now, failures_before| Observation {
            uid: "9f0c", generation: 1, declared, target: Some(&target), versions: Versions::default(),
            requested: None, failures_before, evidence: &evidence, now, late: Duration::ZERO, early: Duration::ZERO, heartbeat: HEARTBEAT,
        };
        // The grace of a missing Secret and the threshold of transient failures are behind us.
        let mut status = fresh;
        let mut now = start;
        for _ in 0..4 {
            let failures = status.consecutive_failures;
            status = next_status(&status, &pass(now, failures)).status;
            now += Duration::from_secs(31);
        }
        let written = status.last_probe_time.clone().unwrap().0;
        let again = next_status(&status, &pass(written + Duration::from_secs(pause), status.consecutive_failures));
        // A refused key is not sent again so early; where it is, the status tells.
        let was_told = again.status.refused_key_retry_time == status.refused_key_retry_time;
        prop_assert_eq!(again.change, if was_told { Change::Unchanged } else { Change::Heartbeat });
        let later = next_status(&status, &pass(written + HEARTBEAT, status.consecutive_failures));
        prop_assert_eq!(later.change, Change::Heartbeat);
    }

    /// The schedule does not send a refused key again within the hour: through other evidence, requests and restarts.
    #[test]
    fn a_refused_key_rests(
        following in vec((evidence(), 0_u64..8000, any::<bool>()), 0..8),
        interval in 30_u64..600,
        threshold in 1_u8..4,
    ) {
        let target = target(interval, threshold);
        let mut status = ScimBridgeConnectionStatus { observed_generation: -1, ..Default::default() };
        let mut now = Timestamp::from_second(START).unwrap();
        let refusal = (
            Evidence::Probed(Exchange { users: Reading::Answered(Answer::Unauthorized), ..Exchange::default() }),
            0,
            false,
        );
        let (mut sent, mut early) = (None, Duration::ZERO);
        for (evidence, ahead, restarts) in std::iter::once(&refusal).chain(&following) {
            let was_sent = matches!(evidence, Evidence::Probed(exchange) if exchange.sent_the_key());
            if let Some(sent) = sent.filter(|_| was_sent && early.is_zero()) {
                let rested = Duration::try_from(now.duration_since(sent)).unwrap();
                prop_assert!(rested + Duration::from_secs(1) >= REFUSED_KEY_INTERVAL * 9 / 10, "{:?}", rested);
            }
            let outcome = next_status(&status, &Observation {
                uid: "9f0c", generation: 1, declared: None, target: Some(&target),
                versions: Versions { credential: Some(version(1)), ..Versions::default() },
                requested: None, failures_before: status.consecutive_failures, evidence, now,
                late: Duration::ZERO, early, heartbeat: HEARTBEAT,
            });
            if outcome.verdict.auth_failed == Truth::False {
                prop_assert_eq!(outcome.status.refused_key_retry_time, None);
                break;
            }
            prop_assert!(outcome.status.refused_key_retry_time.is_some(), "{:?}", outcome.status);
            if was_sent {
                sent = Some(now);
            }
            let mut next = outcome.next;
            if outcome.change != Change::Unchanged {
                status = outcome.status;
            }
            if *restarts {
                next = pace_of("9f0c", target.interval, &status, now).resume(&status, now);
            }
            // Somebody may ask before it is time.
            early = Duration::from_secs(ahead.saturating_sub(4000)).min(Duration::try_from(next.duration_since(now)).unwrap());
            now = next - early;
        }
    }

    /// Delays stay within their bounds, and differ between objects.
    #[test]
    fn delays_are_bounded(uid in "[0-9a-f]{8}", interval in 30_u64..86_400, failures in 0_u32..1000, asked in option::of(0_u64..100_000)) {
        let interval = Duration::from_secs(interval);
        let pace = Pace { uid: &uid, interval, failures, rest: Duration::ZERO, retry_after: asked.map(Duration::from_secs) };
        let delay = pace.delay();
        if failures == 0 {
            prop_assert!(delay >= interval * 9 / 10 && delay <= interval * 11 / 10, "{delay:?}");
        } else {
            let asked = asked.map_or(Duration::ZERO, |asked| Duration::from_secs(asked).min(RETRY_AFTER_MAX));
            prop_assert!(delay >= RETRY_MIN.max(asked), "{delay:?}");
            prop_assert!(delay <= interval.max(asked), "{delay:?}");
        }
        prop_assert_eq!(delay, pace.delay(), "the same object has the same delay");
        let (timeout, heartbeat) = (Duration::from_secs(10), HEARTBEAT);
        let lasts = pace.validity(timeout, heartbeat);
        prop_assert!(lasts >= delay + timeout + heartbeat, "valid for {lasts:?}, and renewed after {delay:?}");
        prop_assert!(lasts <= interval * 2 + RETRY_AFTER_MAX + timeout + heartbeat);
    }

    /// A probe that began late is followed by one in time, unless that would be in less than half the time; a pause is
    /// not cut short.
    #[test]
    fn what_was_late_is_in_time_again(
        uid in "[0-9a-f]{8}",
        interval in 30_u64..86_400,
        late in 0_u64..100_000,
        failures in 0_u32..3,
    ) {
        let (interval, late) = (Duration::from_secs(interval), Duration::from_secs(late));
        let pace = Pace { uid: &uid, interval, failures, rest: Duration::ZERO, retry_after: None };
        let (delay, after) = (pace.delay(), pace.delay_after(late));
        if failures > 0 {
            prop_assert_eq!(after, delay);
        } else if late <= delay / 2 {
            prop_assert_eq!(after + late, delay);
        } else {
            prop_assert_eq!(after, delay / 2);
        }
    }

    /// A restart neither forgets a plan nor a refusal, makes no herd, and waits for no plan that a wrong clock has made.
    #[test]
    fn a_restart_goes_on(
        uid in "[0-9a-f]{8}",
        interval in 30_u64..86_400,
        refused in option::of(-10_000_i64..100_000),
        probed in -100_000_i64..10_000,
        delay in 5_u64..100_000,
        valid in -10_000_i64..100_000,
    ) {
        let now = Timestamp::from_second(START).unwrap();
        let time = |seconds: i64| now + Duration::from_secs(100_000) - Duration::from_secs(u64::try_from(100_000 - seconds).unwrap());
        let at = |seconds| Some(Time(time(seconds)));
        let planned = (probed + i64::try_from(delay).unwrap()).min(100_000);
        let period = Duration::from_secs(interval);
        let status = ScimBridgeConnectionStatus {
            last_probe_time: at(probed),
            next_probe_time: at(planned),
            valid_until: at(valid),
            refused_key_retry_time: refused.and_then(at),
            ..Default::default()
        };
        let resumed = pace_of(&uid, period, &status, now).resume(&status, now);
        let rest = Duration::from_secs(u64::try_from(refused.unwrap_or_default()).unwrap_or_default());
        let rest = rest.min(period.max(REFUSED_KEY_INTERVAL) * 11 / 10);
        prop_assert!(resumed >= now + rest, "a refused key rests");
        let is_possible = probed <= 0 && 0 < planned
            && Duration::from_secs(u64::try_from(planned - probed).unwrap()) <= (period * 11 / 10).max(RETRY_AFTER_MAX);
        if valid <= 0 {
            prop_assert_eq!(resumed, now + rest, "a stale verdict is renewed at once");
        } else if is_possible {
            prop_assert_eq!(resumed, time(planned).max(now + rest), "as planned");
        } else {
            prop_assert!(resumed <= now + period.max(rest), "in its slot");
        }
    }

    /// `check` marks one step where it ended, unless all is well, and tells of none behind it but what was seen.
    #[test]
    fn a_way_ends_once(
        evidence in evidence(),
        declared in identity_provider(),
        layers in subsequence(Layer::ALL.to_vec(), 0..4),
        parsed in any::<bool>(),
    ) {
        let target = parsed.then(|| target(300, 3));
        let verdict = diagnose(declared, &evidence);
        let reached = Reached { addresses: Vec::new(), layers };
        let now = Timestamp::from_second(START).unwrap();
        let steps = steps(target.as_ref(), &reached, &evidence, &verdict, now);
        let order: Vec<_> = steps.iter().map(|footprint| footprint.step).collect();
        prop_assert_eq!(order, way::Step::ALL);
        let failed: Vec<_> = steps.iter().filter(|footprint| footprint.mark == Mark::Failed).collect();
        prop_assert_eq!(failed.len(), usize::from(verdict.class != Class::Ok), "{:?}", verdict);
        let is_open = reached.layers.contains(&Layer::Address);
        prop_assert!(!(is_open && failed.iter().any(|failed| failed.step == way::Step::Address)), "it accepted");
        if let Evidence::Probed(exchange) = &evidence {
            let key_passed = steps.iter().any(|step| step.step == way::Step::Key && step.mark == Mark::Passed);
            let is_proven = exchange.health.document().is_some() || exchange.users.document().is_some();
            prop_assert!(is_proven || !key_passed, "nothing has proven the key: {:?}", exchange);
        }
        let Some(failed) = failed.first() else { return Ok(()) };
        prop_assert!(failed.note.starts_with(verdict.reason.message()));
        for behind in steps.iter().filter(|footprint| footprint.step > failed.step) {
            prop_assert!(behind.mark == Mark::Skipped || behind.step == way::Step::Components, "{:?}", behind);
        }
    }

    /// A probe leaves no ground for the next one: after it, nothing but time or a change is a cause.
    #[test]
    fn a_probe_never_causes_a_probe(
        judged in option::of(1_u64..5),
        at_start in 0_u64..5,
        later in 0_u64..5,
        deleted in any::<bool>(),
    ) {
        let seen = |number| match number {
            0 => Seen::Absent,
            number if deleted => Seen::Deleted(version(number).resource_version.into()),
            number => Seen::Present(version(number).into()),
        };
        let judged_number = judged;
        let (judged, before, seen_now) = (judged.map(|number| version(number).into()), seen(at_start), seen(later));
        let now = Timestamp::from_second(START).unwrap();
        let decision = due(&Situation {
            dormant: false,
            generation: 3,
            observed_generation: 3,
            references: PerRole {
                credential: Some(Watched { judged: judged.as_ref(), seen: &seen_now, seen_before: &before }),
                ..PerRole::default()
            },
            requested: Some("a"),
            handled: Some("a"),
            unwritten: false,
            next: now + Duration::from_mins(1),
            now,
        });
        let is_news = seen_now != before && match &seen_now {
            // What is older than what was read is told by a watch that lags behind.
            Seen::Present(_) => judged_number.is_none_or(|judged| later > judged),
            Seen::Deleted(_) => judged_number.is_some_and(|judged| later >= judged),
            Seen::Absent | Seen::Unknown => judged.is_some(),
        };
        prop_assert_eq!(decision == Due::Now(Cause::Changed(Role::Credential)), is_news);
    }
}

/// What becomes of the memory of a refusal, ten minutes after it.
#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn a_refusal_is_remembered_apart_from_the_reason() {
    let target = target(300, 1);
    let start = Timestamp::from_second(START).unwrap();
    let minutes = Duration::from_mins;
    let pass = |evidence, now| Observation {
        uid: "9f0c",
        generation: 1,
        declared: None,
        target: Some(&target),
        versions: Versions {
            credential: Some(version(1)),
            ..Versions::default()
        },
        requested: None,
        failures_before: 0,
        evidence,
        now,
        late: Duration::ZERO,
        early: Duration::ZERO,
        heartbeat: HEARTBEAT,
    };
    let answers = |health: Answer<HealthReport>, users: Answer<u64>| {
        Evidence::Probed(Exchange {
            ping: Reading::Answered(Answer::Document(())),
            health: Reading::Answered(health),
            users: Reading::Answered(users),
            ..Exchange::default()
        })
    };
    let at_ping = |ping| {
        Evidence::Probed(Exchange {
            ping,
            ..Exchange::default()
        })
    };
    let refused = answers(Answer::Unauthorized, Answer::Unauthorized);
    let unavailable = answers(Answer::Unavailable(503), Answer::Unavailable(503));
    let fresh = ScimBridgeConnectionStatus {
        observed_generation: -1,
        ..Default::default()
    };
    let before = next_status(&fresh, &pass(&refused, start));
    let first = before.status.refused_key_retry_time.clone().unwrap().0;
    assert_eq!(
        Some(first),
        before.status.next_probe_time.as_ref().map(|time| time.0)
    );
    let older = ScimBridgeConnectionStatus {
        refused_key_retry_time: None,
        ..before.status.clone()
    };
    let now = start + minutes(10);
    let (kept, renewed, gone) = (Some(first), Some(first + minutes(10)), None);
    let of = |evidence| Observation {
        early: Duration::try_from(first.duration_since(now)).unwrap(),
        ..pass(evidence, now)
    };
    let with = |versions: Versions| Observation {
        versions,
        ..of(&unavailable)
    };
    let known = Versions {
        credential: Some(version(1)),
        ..Versions::default()
    };
    let away = at_ping(Reading::Failed(TransportFailure::Connect));
    let stranger = at_ping(Reading::Answered(Answer::Foreign));
    let lost = answers(Answer::NotFound, Answer::NotFound);
    let off = answers(Answer::Document(HealthReport::default()), Answer::NotFound);
    let accepted = answers(Answer::Document(HealthReport::default()), Answer::Document(3));
    let denied = Evidence::Blocked(Blocker::HostDenied(Denial::Special));
    for (what, previous, pass, expected) in [
        ("refused again", &before.status, of(&refused), renewed),
        ("sent to a proxy", &before.status, of(&unavailable), renewed),
        ("sent to a wrong path", &before.status, of(&lost), renewed),
        ("nobody there", &before.status, of(&away), kept),
        ("a stranger there", &before.status, of(&stranger), kept),
        ("the host is denied", &before.status, of(&denied), kept),
        ("as an older version wrote it", &older, of(&stranger), kept),
        ("accepted", &before.status, of(&accepted), gone),
        ("accepted, SCIM is off", &before.status, of(&off), gone),
        (
            "another specification",
            &before.status,
            Observation {
                generation: 2,
                ..of(&unavailable)
            },
            gone,
        ),
        (
            "another key",
            &before.status,
            with(Versions {
                credential: Some(version(2)),
                ..Versions::default()
            }),
            gone,
        ),
        ("no key", &before.status, with(Versions::default()), gone),
        (
            "another CA",
            &before.status,
            with(Versions {
                ca: Some(version(2)),
                ..known.clone()
            }),
            gone,
        ),
        (
            "another next key",
            &before.status,
            with(Versions {
                next_credential: Some(version(2)),
                ..known
            }),
            renewed,
        ),
    ] {
        let outcome = next_status(previous, &pass);
        let retry = outcome.status.refused_key_retry_time.as_ref().map(|time| time.0);
        assert_eq!(retry, expected, "{what}");
        let earliest = expected.unwrap_or(now);
        assert!(
            outcome.next >= earliest,
            "{what}: the next probe is at {}",
            outcome.next
        );
        if retry.is_some() {
            let resumed = pace_of("9f0c", target.interval, &outcome.status, now).resume(&outcome.status, now);
            assert!(resumed >= earliest, "{what}: after a restart it is at {resumed}");
        }
    }
}

/// A missing object is waited for, and then called missing, also where `Reconciling` has been True for long already.
#[test]
fn a_grace_ends_whatever_came_before() {
    let target = target(3600, 3);
    let mut status = ScimBridgeConnectionStatus {
        observed_generation: -1,
        ..Default::default()
    };
    let start = Timestamp::from_second(START).unwrap();
    let unreachable = Evidence::Probed(Exchange {
        ping: Reading::Failed(TransportFailure::Connect),
        ..Exchange::default()
    });
    let missing = Evidence::Blocked(Blocker::SecretNotFound);
    let seconds = Duration::from_secs;
    for (evidence, after, expected) in [
        (&unreachable, seconds(0), "Reconciling"),
        (&unreachable, seconds(600), "Reconciling"),
        (&missing, seconds(700), "Reconciling"),
        (&missing, seconds(730), "Stalled"),
    ] {
        let now = start + after;
        let outcome = next_status(
            &status,
            &Observation {
                uid: "9f0c",
                generation: 1,
                declared: None,
                target: Some(&target),
                versions: Versions::default(),
                requested: None,
                failures_before: status.consecutive_failures,
                evidence,
                now,
                late: Duration::ZERO,
                early: Duration::ZERO,
                heartbeat: HEARTBEAT,
            },
        );
        let said = outcome.status.conditions.iter().any(|c| c.type_ == expected);
        assert!(said, "after {after:?}, not {expected}: {outcome:?}");
        if after == seconds(700) {
            assert_eq!(
                outcome.next,
                now + seconds(30),
                "the end of the grace is looked at"
            );
        }
        status = outcome.status;
    }
}

#[test]
fn slots_are_spread() {
    // 1,000 objects whose plan has passed take up their turns over the whole interval.
    let now = Timestamp::from_second(START).unwrap();
    let status = ScimBridgeConnectionStatus {
        valid_until: Some(Time(now + Duration::from_hours(1))),
        ..Default::default()
    };
    let mut tenths = [0_u32; 10];
    for number in 0..1000 {
        let uid = format!("0a1b2c3d-0000-4000-8000-{number:012}");
        let wait = pace_of(&uid, Duration::from_mins(5), &status, now)
            .resume(&status, now)
            .duration_since(now);
        tenths[usize::try_from(wait.as_secs() / 30).unwrap().min(9)] += 1;
    }
    assert!(
        tenths.iter().all(|count| (60..=150).contains(count)),
        "a herd: {tenths:?}"
    );
}

/// A connection that is next probed `later`.
fn calm<'a>(now: Timestamp, later: Timestamp) -> Situation<'a> {
    Situation {
        dormant: false,
        generation: 1,
        observed_generation: 1,
        references: PerRole::default(),
        requested: None,
        handled: None,
        unwritten: false,
        next: later,
        now,
    }
}

#[test]
fn causes_by_rank() {
    let now = Timestamp::from_second(START).unwrap();
    let later = now + Duration::from_mins(1);
    let changed = Seen::Present(version(2).into());
    let judged = version(1).into();
    let news = Some(Watched {
        judged: Some(&judged),
        seen: &changed,
        seen_before: &Seen::Unknown,
    });
    let of = |role| PerRole::from_fn(|other| news.filter(|_| other == role));
    let calm = calm(now, later);
    for (situation, expected) in [
        (calm, Due::At(later)),
        (Situation { next: now, ..calm }, Due::Now(Cause::Scheduled)),
        (
            Situation {
                unwritten: true,
                ..calm
            },
            Due::Now(Cause::Unwritten),
        ),
        (
            Situation {
                unwritten: true,
                next: now,
                ..calm
            },
            Due::Now(Cause::Scheduled),
        ),
        (
            Situation {
                requested: Some("x"),
                ..calm
            },
            Due::Now(Cause::Requested),
        ),
        (
            Situation {
                requested: Some("x"),
                handled: Some("x"),
                ..calm
            },
            Due::At(later),
        ),
        // Taking the annotation away asks for nothing.
        (
            Situation {
                handled: Some("x"),
                ..calm
            },
            Due::At(later),
        ),
        (
            Situation {
                references: of(Role::Credential),
                ..calm
            },
            Due::Now(Cause::Changed(Role::Credential)),
        ),
        (
            Situation {
                references: of(Role::Ca),
                ..calm
            },
            Due::Now(Cause::Changed(Role::Ca)),
        ),
        (
            Situation {
                references: of(Role::NextCredential),
                ..calm
            },
            Due::Now(Cause::Changed(Role::NextCredential)),
        ),
        (
            Situation {
                generation: 2,
                references: of(Role::Credential),
                ..calm
            },
            Due::Now(Cause::NewGeneration),
        ),
        (
            Situation {
                dormant: true,
                generation: 2,
                next: now,
                references: of(Role::Credential),
                ..calm
            },
            Due::Never,
        ),
    ] {
        assert_eq!(due(&situation), expected, "{situation:?}");
    }
}
