//! Verdicts and statuses over whatever a life of a connection brings.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use scim_bridge_operator::{
    api::{
        connection::{ComponentState, IdentityProvider, ObjectVersion, ScimBridgeConnectionStatus},
        vocabulary::{Class, ConditionType, Reason},
    },
    domain::connection::{
        conditions::{class_of, find, reason_of},
        evidence::{
            Answer, Blocker, Certificate, Component, Evidence, Exchange, HealthReport, KeyTrial, Member,
            Reading, TransportFailure,
        },
        schedule::{REFUSED_KEY_INTERVAL, pace_of},
        status::{Change, NextStatus, Observation, Versions, next_status, progressing},
        target::InvalidSpec,
        verdict::{PendingCause, diagnose},
    },
};

use super::now;

const HEARTBEAT: Duration = Duration::from_mins(5);
/// Stands for all that came from a server and was let through.
const VERSION: &str = "31.41.59.26";
const ISSUER: &str = "Qzwvx Authority";

/// Bytes as choices; at their end every choice is the first.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()].clone()
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.byte() & 1 == 1).then(|| make(self))
    }

    /// Small and huge ones.
    fn number(&mut self) -> u64 {
        let shift = u32::from(self.byte() % 64);
        u64::from(self.byte()) << shift
    }

    fn reading<T>(&mut self, document: impl FnOnce(&mut Self) -> T) -> Reading<T> {
        let code = 300 + u16::from(self.byte());
        match self.byte() % 20 {
            0 => Reading::NotSent,
            1..=5 => Reading::Failed(self.transport()),
            6..=9 => Reading::Answered(Answer::Document(document(self))),
            10 => Reading::Answered(Answer::Unauthorized),
            11 => Reading::Answered(Answer::Forbidden),
            12 => Reading::Answered(Answer::Blocked(403)),
            13 => Reading::Answered(Answer::NotFound),
            14 => Reading::Answered(Answer::Redirect(code)),
            15 => Reading::Answered(Answer::RateLimited),
            16 => Reading::Answered(Answer::Unavailable(503)),
            17 => Reading::Answered(Answer::ServerError(500)),
            18 => Reading::Answered(
                self.one(&[Answer::Foreign, Answer::TooLarge, Answer::Broken, Answer::Encoded])
                    .cast(),
            ),
            _ => Reading::Answered(Answer::Unexpected(code)),
        }
    }

    fn transport(&mut self) -> TransportFailure {
        self.one(&TransportFailure::ALL)
    }

    fn blocker(&mut self) -> Blocker {
        let mut blockers = Blocker::all();
        blockers.push(Blocker::InvalidSpec(InvalidSpec::Form));
        self.one(&blockers)
    }

    fn report(&mut self) -> HealthReport {
        let mut components = Vec::new();
        for component in Component::ALL {
            let state = self.maybe(|choices| {
                choices.one(&[
                    ComponentState::Healthy,
                    ComponentState::Expired,
                    ComponentState::Unhealthy,
                ])
            });
            components.extend(state.map(|state| (component, state)));
        }
        HealthReport {
            version: self.maybe(|_| VERSION.to_owned()),
            build: None,
            components,
        }
    }

    fn evidence(&mut self) -> Evidence {
        if self.byte().is_multiple_of(4) {
            return Evidence::Blocked(self.blocker());
        }
        Evidence::Probed(Exchange {
            ping: self.reading(|_| ()),
            health: self.reading(Self::report),
            users: self.reading(Self::number),
            groups: self.maybe(Self::number),
            certificate: self.maybe(|choices| Certificate {
                not_after: Timestamp::from_second(i64::try_from(choices.number()).unwrap_or(i64::MAX))
                    .unwrap_or(Timestamp::MAX),
                ends: choices.one(&[Member::Server, Member::Intermediate, Member::Authority]),
                issuer: Some(ISSUER.to_owned()),
            }),
            next_key: self.maybe(|choices| {
                let blocker = choices.blocker();
                choices.one(&[
                    KeyTrial::Accepted,
                    KeyTrial::Refused,
                    KeyTrial::Undecided,
                    KeyTrial::Unusable(blocker),
                ])
            }),
            retry_after: self.maybe(|choices| Duration::from_secs(choices.number())),
        })
    }
}

/// Answers without a document are the same for each kind of request.
trait Cast {
    fn cast<T>(self) -> Answer<T>;
}

impl Cast for Answer<()> {
    fn cast<T>(self) -> Answer<T> {
        match self {
            Self::TooLarge => Answer::TooLarge,
            Self::Broken => Answer::Broken,
            _ => Answer::Foreign,
        }
    }
}

/// A life of a connection: probes, edits, new keys, clocks that jump.
pub(crate) fn verdict(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let declared = choices.one(&[
        None,
        Some(IdentityProvider::GoogleWorkspace),
        Some(IdentityProvider::Okta),
    ]);
    let mut status = ScimBridgeConnectionStatus {
        observed_generation: -1,
        ..ScimBridgeConnectionStatus::default()
    };
    let (mut time, mut generation, mut key) = (now(), 1, 1);
    for _ in 0..16 {
        if choices.0.is_empty() {
            break;
        }
        match choices.byte() % 8 {
            0 => generation += 1,
            1 => key += 1,
            2 => time += Duration::from_secs(60 * u64::from(choices.byte())),
            3 => time -= Duration::from_secs(60 * u64::from(choices.byte())),
            4 => {
                let pending_cause = choices.one(&[
                    None,
                    Some(PendingCause::Forbidden),
                    Some(PendingCause::ApiServer),
                    Some(PendingCause::BridgeBusy),
                ]);
                status = progressing(&status, pending_cause, generation, time);
                assert_eq!(reason_of(&status.conditions), Some(Reason::Progressing));
                assert_sound(&status, generation);
            }
            _ => {
                let evidence = choices.evidence();
                let version = ObjectVersion {
                    uid: "secret".to_owned(),
                    resource_version: key.to_string(),
                };
                let pass = Observation {
                    uid: "9f0c",
                    generation,
                    declared,
                    target: None,
                    versions: Versions {
                        credential: Some(version),
                        ..Versions::default()
                    },
                    requested: choices.maybe(|_| "once".to_owned()),
                    failures_before: u32::from(choices.byte()),
                    evidence: &evidence,
                    now: time,
                    late: Duration::ZERO,
                    early: Duration::ZERO,
                    heartbeat: HEARTBEAT,
                };
                let outcome = next_status(&status, &pass);
                assert_follows(&status, &pass, &outcome);
                status = outcome.status;
            }
        }
    }
}

/// What holds after each pass.
fn assert_follows(before: &ScimBridgeConnectionStatus, pass: &Observation<'_>, outcome: &NextStatus) {
    let NextStatus {
        verdict,
        status,
        change,
        next,
        ..
    } = outcome;
    let judged = diagnose(pass.declared, pass.evidence);
    assert!(
        *verdict == judged || *verdict == judged.where_proven(),
        "a verdict is about the evidence and what was proven before: {verdict:?}"
    );
    assert_eq!(status.observed_generation, pass.generation);
    assert_sound(status, pass.generation);
    assert!(
        pass.now <= *next && *next <= pass.now + REFUSED_KEY_INTERVAL * 11 / 10,
        "the next probe is in bounds: {next}"
    );
    let standing = reason_of(&status.conditions).expect("there is a verdict");
    if standing != verdict.reason {
        assert_eq!(
            verdict.class,
            Class::Transient,
            "only a transient failure leaves a verdict standing"
        );
        assert_eq!(reason_of(&before.conditions), Some(standing));
        assert_eq!(before.observed_generation, pass.generation);
        assert!(
            before
                .valid_until
                .as_ref()
                .is_some_and(|until| pass.now < until.0),
            "no verdict stands beyond its time"
        );
    }
    let credential = status.credential.as_ref();
    assert_eq!(
        credential.map(|credential| credential.resource_version.as_str()),
        pass.versions
            .credential
            .as_ref()
            .map(|version| version.resource_version.as_str()),
        "a verdict is about the key that was read"
    );
    if matches!(pass.evidence, Evidence::Blocked(_)) {
        let connected = find(&status.conditions, ConditionType::Connected).expect("always there");
        assert_ne!(connected.status, "True", "nothing was sent, so nothing is proven");
    }
    let again = next_status(status, pass);
    // A missing object may be on its way until its grace ends, and that may be now.
    let settled = find(&status.conditions, ConditionType::Reconciling).is_none();
    assert!(
        !settled || again.status.conditions == status.conditions,
        "seen twice, it says the same"
    );
    assert!(*change != Change::Unchanged || status.conditions == before.conditions);
    let resumed = pace_of(pass.uid, Duration::from_mins(5), status, pass.now).resume(status, pass.now);
    assert!((pass.now..=pass.now + REFUSED_KEY_INTERVAL * 2).contains(&resumed));
}

/// What holds for every status.
fn assert_sound(status: &ScimBridgeConnectionStatus, generation: i64) {
    let conditions = &status.conditions;
    let mut order = ConditionType::ALL
        .iter()
        .filter(|type_| find(conditions, **type_).is_some())
        .map(|type_| type_.as_str());
    assert!(
        conditions
            .iter()
            .all(|condition| order.next() == Some(condition.type_.as_str())),
        "each type once, in order"
    );
    for type_ in ConditionType::ALWAYS {
        assert!(find(conditions, type_).is_some(), "{type_} is always there");
    }
    for condition in conditions {
        assert!(matches!(condition.status.as_str(), "True" | "False" | "Unknown"));
        assert!((1..=1024).contains(&condition.message.len()));
        assert!(!condition.reason.is_empty());
        assert!(
            condition
                .observed_generation
                .is_some_and(|observed| observed <= generation)
        );
        for text in [VERSION, ISSUER] {
            assert!(
                !condition.message.contains(text),
                "a server's words in a message: {}",
                condition.message
            );
        }
    }
    let is = |type_| find(conditions, type_).is_some_and(|condition| condition.status == "True");
    let reason = reason_of(conditions).expect("a reason of the vocabulary");
    let class = class_of(conditions);
    assert_eq!(is(ConditionType::Ready), class == Class::Ok);
    assert!(
        class == reason.class() || class == Class::Transient || reason == Reason::ScimDisabled,
        "{reason} is {class:?}"
    );
    assert!(
        !is(ConditionType::Ready) || is(ConditionType::Connected) || is(ConditionType::ScimDisabled),
        "Ready is proven"
    );
    assert!(!(is(ConditionType::Reconciling) && is(ConditionType::Stalled)));
    assert_eq!(
        is(ConditionType::Reconciling) || is(ConditionType::Stalled),
        class != Class::Ok
    );
    let written = serde_json::to_string(status).expect("a status can be written");
    let read: ScimBridgeConnectionStatus = serde_json::from_str(&written).expect("a status can be read back");
    assert_eq!(&read, status, "the API server gives back what was written");
}
