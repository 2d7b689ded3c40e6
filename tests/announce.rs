//! What is worth an event, by lives of a connection: what each step announces.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, a value that is not there is a failure"
)]

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use proptest::{collection::vec, prelude::*, sample::select, test_runner::RngSeed};
use scim_bridge_operator::{
    api::{
        v1alpha1::{ComponentState, IdentityProvider, ObjectVersion, ScimBridgeConnectionStatus},
        vocabulary::{Class, ConditionType, Reason},
    },
    domain::{
        announce::{Action, Announcement, News, Subject, Tone, announcements},
        conditions::{class_of, find, reason_of},
        evidence::{
            Answer, CaFault, Certificate, Component, Evidence, Exchange, HealthReport, KeyFault, KeyTrial,
            Member, Obstacle, Phase, Reading, TransportFailure,
        },
        status::{Pass, Versions, next_status, progressing},
        target::InvalidSpec,
        verdict::Hindrance,
    },
};

const START: i64 = 1_772_546_816;
const DAY: i64 = 86_400;

/// What happens to a connection.
#[derive(Clone, Debug)]
enum Step {
    /// A pass finds this.
    Pass(Box<Evidence>),
    /// A new specification whose first probe takes long, or cannot be done.
    Announced(Option<Hindrance>),
    /// The operator starts anew: all that it knows is what was written.
    Restart,
    /// The clock is set by so many seconds.
    Clock(i64),
}

/// A connection through time.
struct Life {
    status: ScimBridgeConnectionStatus,
    now: Timestamp,
    generation: i64,
}

impl Life {
    fn new() -> Self {
        Self {
            status: ScimBridgeConnectionStatus {
                observed_generation: -1,
                ..Default::default()
            },
            now: Timestamp::from_second(START).unwrap(),
            generation: 1,
        }
    }

    /// The status after a step, and what it announces. Without a target the threshold is one: nothing is held.
    fn take(&mut self, step: &Step) -> Vec<Announcement> {
        self.now += Duration::from_mins(1);
        let next = match step {
            Step::Pass(evidence) => {
                let key = ObjectVersion {
                    uid: "secret".to_owned(),
                    resource_version: "1".to_owned(),
                };
                let pass = Pass {
                    uid: "9f0c",
                    generation: self.generation,
                    declared: Some(IdentityProvider::Okta),
                    target: None,
                    versions: Versions {
                        credential: Some(key),
                        ..Versions::default()
                    },
                    requested: None,
                    failures_before: 0,
                    evidence,
                    now: self.now,
                    late: Duration::ZERO,
                    early: Duration::ZERO,
                    heartbeat: Duration::from_mins(5),
                };
                next_status(&self.status, &pass).status
            }
            Step::Announced(hindrance) => {
                self.generation += 1;
                progressing(&self.status, *hindrance, self.generation, self.now)
            }
            Step::Restart => {
                let written = serde_json::to_string(&self.status).unwrap();
                serde_json::from_str(&written).unwrap()
            }
            Step::Clock(seconds) => {
                self.now = Timestamp::from_second(self.now.as_second() + seconds).unwrap();
                return Vec::new();
            }
        };
        let before = std::mem::replace(&mut self.status, next);
        announcements(&before, &self.status)
    }
}

// === evidence ===

fn components(of: &[(Component, ComponentState)]) -> Reading<HealthReport> {
    Reading::Answered(Answer::Document(HealthReport {
        version: Some("2.9.16".to_owned()),
        build: None,
        components: of.to_vec(),
    }))
}

const WELL: [(Component, ComponentState); 3] = [
    (Component::ConfirmationWatcher, ComponentState::Healthy),
    (Component::RedisCache, ComponentState::Healthy),
    (Component::ScimServer, ComponentState::Healthy),
];

/// A bridge that is as it should be.
fn exchange() -> Exchange {
    Exchange {
        ping: Reading::Answered(Answer::Document(())),
        health: components(&WELL),
        users: Reading::Answered(Answer::Document(7)),
        certificate: Some(certificate(90)),
        ..Exchange::default()
    }
}

fn certificate(days: i64) -> Certificate {
    Certificate {
        not_after: Timestamp::from_second(START + days * DAY).unwrap(),
        ends: Member::Server,
        issuer: None,
    }
}

fn pass(exchange: Exchange) -> Step {
    Step::Pass(Box::new(Evidence::Probed(exchange)))
}

fn blocked(obstacle: Obstacle) -> Step {
    Step::Pass(Box::new(Evidence::Blocked(obstacle)))
}

fn well() -> Step {
    pass(exchange())
}

fn users(reading: Reading<u64>) -> Step {
    pass(Exchange {
        users: reading,
        ..exchange()
    })
}

fn refused() -> Step {
    users(Reading::Answered(Answer::Unauthorized))
}

/// Nobody answers: nothing is known of components and certificate.
fn away() -> Step {
    let failed = TransportFailure::TimedOut(Phase::Answer);
    pass(Exchange {
        ping: Reading::Failed(failed),
        health: Reading::Failed(failed),
        users: Reading::Failed(failed),
        ..Exchange::default()
    })
}

fn ill(component: Component) -> Step {
    let state = |name| {
        if name == component {
            ComponentState::Unhealthy
        } else {
            ComponentState::Healthy
        }
    };
    pass(Exchange {
        health: components(&WELL.map(|(name, _)| (name, state(name)))),
        ..exchange()
    })
}

fn reports(of: &[(Component, ComponentState)]) -> Step {
    pass(Exchange {
        health: components(of),
        ..exchange()
    })
}

fn expiring(days: i64) -> Step {
    pass(Exchange {
        certificate: Some(certificate(days)),
        ..exchange()
    })
}

fn rehearsed(trial: KeyTrial) -> Step {
    pass(Exchange {
        next_key: Some(trial),
        ..exchange()
    })
}

// === tables ===

/// `Warning AuthFailed Probe ApiKeySecret`: type, reason, action, and what it is about.
fn line(announcement: &Announcement) -> String {
    let Announcement {
        tone,
        news,
        action,
        note,
        subject,
    } = announcement;
    assert!(
        !note.is_empty() && note.len() <= 1024,
        "the API's limit: {note:?}"
    );
    let subject = subject.map(|subject| format!(" {subject:?}"));
    let (tone, news, action) = (tone.as_str(), news.as_str(), action.as_str());
    format!("{tone} {news} {action}{}", subject.unwrap_or_default())
}

/// Each row: what has happened before, the step, and what it announces.
fn assert_rows(rows: impl IntoIterator<Item = (&'static str, Vec<Step>, Step, &'static str)>) {
    let mut wrong = Vec::new();
    for (what, before, step, expected) in rows {
        let mut life = Life::new();
        for step in &before {
            life.take(step);
        }
        let lines: Vec<String> = life.take(&step).iter().map(line).collect();
        let found = lines.join(", ");
        if found != expected {
            wrong.push(format!("{what}: {found:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn verdicts() {
    let connected = "Normal Connected Probe";
    let refusal = "Warning AuthFailed Probe ApiKeySecret";
    let absent = blocked(Obstacle::SecretNotFound);
    let invalid = |why| blocked(Obstacle::InvalidSpec(why));
    assert_rows([
        ("first, good", vec![], well(), ""),
        ("first, good at last", vec![Step::Announced(None)], well(), ""),
        ("first, bad, then good", vec![away()], well(), connected),
        ("first, bad", vec![], refused(), refusal),
        ("again, good", vec![well()], well(), ""),
        ("again, bad", vec![refused()], refused(), ""),
        (
            "again, after a restart",
            vec![refused(), Step::Restart],
            refused(),
            "",
        ),
        ("the restart itself", vec![well()], Step::Restart, ""),
        ("lost", vec![well()], refused(), refusal),
        ("recovered", vec![refused()], well(), connected),
        (
            "another cause",
            vec![refused()],
            absent.clone(),
            "Warning SecretNotFound Resolve ApiKeySecret",
        ),
        ("the end of a grace", vec![absent.clone()], absent, ""),
        ("transient", vec![well()], away(), "Warning TimedOut Probe"),
        ("a held refusal", vec![refused()], away(), ""),
        ("slow", vec![], Step::Announced(None), "Normal Progressing Probe"),
        (
            "no rights",
            vec![],
            Step::Announced(Some(Hindrance::Forbidden)),
            "Warning Progressing Resolve",
        ),
        (
            "no rights, seen late",
            vec![Step::Announced(None)],
            Step::Announced(Some(Hindrance::Forbidden)),
            "Warning Progressing Resolve",
        ),
        (
            "another edit",
            vec![Step::Announced(None)],
            Step::Announced(None),
            "",
        ),
        (
            "then a verdict",
            vec![well(), Step::Announced(None)],
            well(),
            connected,
        ),
        (
            "invalid",
            vec![],
            invalid(InvalidSpec::Path),
            "Warning InvalidSpec Resolve",
        ),
        (
            "invalid for another cause",
            vec![invalid(InvalidSpec::Path)],
            invalid(InvalidSpec::Form),
            "Warning InvalidSpec Resolve",
        ),
        (
            "elsewhere, for the same cause",
            vec![users(Reading::Answered(Answer::ServerError(500)))],
            users(Reading::Answered(Answer::ServerError(501))),
            "",
        ),
        (
            "a CA",
            vec![well()],
            blocked(Obstacle::CaInvalid(CaFault::Empty)),
            "Warning CaInvalid Resolve CaObject",
        ),
        (
            "consent",
            vec![well()],
            blocked(Obstacle::ConsentMissing),
            "Warning ConsentMissing Resolve ApiKeySecret",
        ),
    ]);
}

#[test]
fn components_of_the_bridge() {
    let (cache, watcher) = (Component::RedisCache, Component::ConfirmationWatcher);
    let unhealthy = "Warning ComponentUnhealthy Probe";
    let expired = reports(&[(cache, ComponentState::Expired)]);
    let both = reports(&[
        (watcher, ComponentState::Unhealthy),
        (cache, ComponentState::Unhealthy),
    ]);
    assert_rows([
        ("one fails", vec![well()], ill(cache), unhealthy),
        (
            "from the first",
            vec![],
            ill(cache),
            "Warning ComponentUnhealthy Probe",
        ),
        ("still", vec![ill(cache)], ill(cache), ""),
        ("in another way", vec![ill(cache)], expired, ""),
        ("another one", vec![ill(cache)], ill(watcher), unhealthy),
        ("one more", vec![ill(cache)], both.clone(), unhealthy),
        ("one less", vec![both], ill(cache), ""),
        (
            "recovered",
            vec![ill(cache)],
            well(),
            "Normal ComponentsHealthy Probe",
        ),
        ("not reported any more", vec![ill(cache)], reports(&[WELL[2]]), ""),
        ("nothing is reported any more", vec![ill(cache)], reports(&[]), ""),
        (
            "nothing can be seen",
            vec![ill(cache)],
            away(),
            "Warning TimedOut Probe",
        ),
    ]);
}

#[test]
fn a_bridge_that_was_locked() {
    let locked = || reports(&WELL[1..]);
    assert_rows([
        ("unlocked", vec![locked()], well(), "Normal BridgeUnlocked Unlock"),
        ("never seen locked", vec![], well(), ""),
        ("locked", vec![well()], locked(), ""),
        ("unlocked and left so", vec![locked(), well()], well(), ""),
        ("no report before", vec![away()], well(), "Normal Connected Probe"),
    ]);
}

#[test]
fn certificates() {
    let soon = "Warning CertificateExpiring Probe";
    assert_rows([
        ("in time", vec![well()], expiring(22), ""),
        ("soon", vec![well()], expiring(20), soon),
        ("still", vec![expiring(20)], expiring(20), ""),
        ("renewed, not for long", vec![expiring(10)], expiring(15), ""),
        (
            "renewed",
            vec![expiring(20)],
            expiring(90),
            "Normal CertificateRenewed Probe",
        ),
        ("not seen", vec![expiring(20)], away(), "Warning TimedOut Probe"),
        (
            "a clock set back",
            vec![expiring(20), Step::Clock(-5 * DAY)],
            expiring(20),
            "",
        ),
        (
            "and set right",
            vec![
                expiring(20),
                Step::Clock(-5 * DAY),
                expiring(20),
                Step::Clock(5 * DAY),
            ],
            expiring(20),
            soon,
        ),
    ]);
}

#[test]
fn rehearsals() {
    let accepted = "Normal KeyAccepted Rehearse NextApiKeySecret";
    let refusal = "Warning KeyRefused Rehearse NextApiKeySecret";
    let absent = KeyTrial::Unusable(Obstacle::SecretNotFound);
    assert_rows([
        ("accepted", vec![well()], rehearsed(KeyTrial::Accepted), accepted),
        ("refused", vec![well()], rehearsed(KeyTrial::Refused), refusal),
        (
            "absent",
            vec![well()],
            rehearsed(absent),
            "Warning SecretNotFound Rehearse NextApiKeySecret",
        ),
        (
            "another obstacle",
            vec![rehearsed(absent)],
            rehearsed(KeyTrial::Unusable(Obstacle::ConsentMissing)),
            "Warning ConsentMissing Rehearse NextApiKeySecret",
        ),
        (
            "still",
            vec![rehearsed(KeyTrial::Refused)],
            rehearsed(KeyTrial::Refused),
            "",
        ),
        (
            "mended",
            vec![rehearsed(KeyTrial::Refused)],
            rehearsed(KeyTrial::Accepted),
            accepted,
        ),
        (
            "undecided",
            vec![rehearsed(KeyTrial::Accepted)],
            rehearsed(KeyTrial::Undecided),
            "",
        ),
        (
            "asked for no more",
            vec![rehearsed(KeyTrial::Accepted)],
            well(),
            "",
        ),
    ]);
}

// === what always holds ===

fn step() -> impl Strategy<Value = Step> {
    use Component::{ConfirmationWatcher, RedisCache};
    select(vec![
        well(),
        refused(),
        away(),
        ill(RedisCache),
        ill(ConfirmationWatcher),
        reports(&WELL[1..]),
        reports(&[]),
        expiring(10),
        expiring(20),
        users(Reading::Answered(Answer::NotFound)),
        users(Reading::Answered(Answer::ServerError(500))),
        rehearsed(KeyTrial::Accepted),
        rehearsed(KeyTrial::Refused),
        rehearsed(KeyTrial::Undecided),
        rehearsed(KeyTrial::Unusable(Obstacle::ApiKeyMalformed(KeyFault::Blank))),
        blocked(Obstacle::SecretNotFound),
        blocked(Obstacle::CaNotFound),
        blocked(Obstacle::InvalidSpec(InvalidSpec::Path)),
        Step::Announced(None),
        Step::Announced(Some(Hindrance::ApiServer)),
        Step::Restart,
        Step::Clock(-3600),
        Step::Clock(30 * DAY),
    ])
}

/// What a status says, without when it said so.
fn said(status: &ScimBridgeConnectionStatus) -> (Vec<[&str; 3]>, Vec<&str>) {
    let conditions = status.conditions.iter();
    let bridge = status.bridge.iter().flat_map(|bridge| &bridge.components);
    (
        conditions
            .map(|c| [c.type_.as_str(), c.status.as_str(), c.message.as_str()])
            .collect(),
        bridge.map(|component| component.name.as_str()).collect(),
    )
}

/// Whether the status says no more than that nothing is proven yet.
fn told_of_nothing(status: &ScimBridgeConnectionStatus) -> bool {
    find(&status.conditions, ConditionType::Ready)
        .is_none_or(|ready| ready.message == Reason::Progressing.message())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, rng_seed: RngSeed::Fixed(testbed::seed()), ..ProptestConfig::default() })]

    #[test]
    fn no_change_is_no_announcement_and_no_new_cause_goes_untold(steps in vec(step(), 1..20)) {
        let mut life = Life::new();
        for step in &steps {
            let before = life.status.clone();
            let told = life.take(step);
            let after = &life.status;
            if said(&before) == said(after) {
                prop_assert_eq!(&told, &[], "nothing has changed by {:?}", step);
            }
            prop_assert_eq!(announcements(after, after), []);
            let ready = |status: &ScimBridgeConnectionStatus| {
                find(&status.conditions, ConditionType::Ready).map(|ready| (ready.status.clone(), ready.reason.clone()))
            };
            let of_ready = told.iter().filter(|a| {
                matches!(a.news, News::Verdict(_)) && a.subject != Some(Subject::NextApiKeySecret)
            });
            let of_ready: Vec<_> = of_ready.collect();
            prop_assert!(of_ready.len() <= 1);
            let is_first = before.observed_generation < 0 && told_of_nothing(&before);
            if is_first && reason_of(&after.conditions) == Some(Reason::Connected) {
                prop_assert_eq!(of_ready.len(), 0, "as it was asked for: {:?}", step);
            } else if ready(&before) != ready(after) {
                prop_assert_eq!(of_ready.len(), 1, "{:?}", step);
            }
            if let Some(announced) = of_ready.first() {
                let reason = reason_of(&after.conditions).unwrap();
                prop_assert_eq!(announced.news, News::Verdict(reason));
                if reason != Reason::Progressing {
                    prop_assert_eq!(announced.tone == Tone::Normal, class_of(&after.conditions) == Class::Ok);
                }
            }
            for announcement in &told {
                line(announcement);
                let again = told.iter().filter(|other| *other == announcement);
                prop_assert_eq!(again.count(), 1, "told twice");
                prop_assert_eq!(announcement.action == Action::Rehearse,
                    announcement.subject == Some(Subject::NextApiKeySecret));
            }
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, rng_seed: RngSeed::Fixed(testbed::seed()), ..ProptestConfig::default() })]

    /// Whatever a connection has come to: once it is told, it is told.
    #[test]
    fn a_thousand_probes_that_find_the_same_are_silent(steps in vec(step(), 0..4), last in step()) {
        let mut life = Life::new();
        for step in &steps {
            life.take(step);
        }
        // A new specification each time is no routine, nor is a clock that is set.
        prop_assume!(matches!(last, Step::Pass(_)));
        life.take(&last);
        for round in 0..1000 {
            let told = life.take(&last);
            prop_assert_eq!(told, [], "round {}", round);
            if round % 100 == 0 {
                let told = life.take(&Step::Restart);
                prop_assert_eq!(told, []);
            }
        }
    }
}
