//! The verdict table, row by row: evidence on the left, what a user sees on the right.
//!
//! A row reads `Ready reason Connected AuthFailed ScimDisabled + abnormal condition`.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use scim_bridge_operator::{
    api::{
        v1alpha1::{ComponentState, IdentityProvider, ScimBridgeConnectionStatus},
        vocabulary::{ConditionType, Reason},
    },
    domain::{
        conditions::find,
        evidence::{
            Answer, Certificate, Component, Evidence, Exchange, HealthReport, KeyTrial, Obstacle, Reading,
            TransportFailure,
        },
        status::{Pass, Versions, next_status},
        target::InvalidSpec,
    },
};

use Answer::{
    Blocked, Broken, Document, Forbidden, Foreign, NotFound, RateLimited, Redirect, ServerError, TooLarge,
    Unauthorized, Unavailable, Unexpected,
};
use TransportFailure as Transport;

const OKTA: Option<IdentityProvider> = Some(IdentityProvider::Okta);
const GOOGLE: Option<IdentityProvider> = Some(IdentityProvider::GoogleWorkspace);

fn now() -> Timestamp {
    Timestamp::from_second(1_772_546_816).unwrap_or_default()
}

/// What a user would see after a first probe with this evidence.
fn seen(declared: Option<IdentityProvider>, evidence: &Evidence) -> String {
    let outcome = next_status(
        &ScimBridgeConnectionStatus {
            observed_generation: -1,
            ..Default::default()
        },
        &Pass {
            uid: "uid",
            generation: 1,
            declared,
            target: None,
            versions: Versions::default(),
            requested: None,
            failures_before: 0,
            evidence,
            now: now(),
            late: Duration::ZERO,
            heartbeat: Duration::from_mins(5),
        },
    );
    let conditions = &outcome.status.conditions;
    let of = |type_| find(conditions, type_).map_or("-", |condition| condition.status.as_str());
    let ready = find(conditions, ConditionType::Ready);
    let abnormal: Vec<_> = conditions
        .iter()
        .map(|condition| condition.type_.as_str())
        .filter(|type_| {
            !ConditionType::ALWAYS
                .iter()
                .any(|always| always.as_str() == *type_)
        })
        .collect();
    format!(
        "{} {} {} {} {} + {}",
        of(ConditionType::Ready),
        ready.map_or("-", |ready| ready.reason.as_str()),
        of(ConditionType::Connected),
        of(ConditionType::AuthFailed),
        of(ConditionType::ScimDisabled),
        abnormal.join(" "),
    )
}

fn answered<T>(answer: Answer<T>) -> Reading<T> {
    Reading::Answered(answer)
}

fn report() -> HealthReport {
    HealthReport {
        version: Some("2.9.16".to_owned()),
        build: Some("209163".to_owned()),
        components: vec![(Component::ConfirmationWatcher, ComponentState::Healthy)],
    }
}

fn report_with(component: Component, state: ComponentState) -> HealthReport {
    HealthReport {
        components: vec![(component, state)],
        ..report()
    }
}

fn probed(health: Reading<HealthReport>, users: Reading<u64>) -> Evidence {
    Evidence::Probed(Exchange {
        ping: answered(Document(())),
        health,
        users,
        ..Exchange::default()
    })
}

/// Only `/ping` was sent.
fn pinged(ping: Reading<()>) -> Evidence {
    Evidence::Probed(Exchange {
        ping,
        ..Exchange::default()
    })
}

#[track_caller]
fn assert_rows<'a>(rows: impl IntoIterator<Item = (Option<IdentityProvider>, Evidence, &'a str)>) {
    for (declared, evidence, expected) in rows {
        assert_eq!(
            seen(declared, &evidence),
            expected,
            "\nfor {declared:?} and {evidence:?}"
        );
    }
}

#[test]
fn scim_answers() {
    let health = || answered(Document(report()));
    assert_rows([
        (
            OKTA,
            probed(health(), answered(Document(128))),
            "True Connected True False False + ",
        ),
        (
            None,
            probed(health(), answered(Document(0))),
            "True Connected True False False + ",
        ),
        (
            GOOGLE,
            probed(health(), answered(Document(1))),
            "False IdentityProviderMismatch True False False + Stalled",
        ),
        // What SCIM says of the key counts more than what the health report says.
        (
            OKTA,
            probed(answered(Unauthorized), answered(Document(1))),
            "True Connected True False False + ",
        ),
        (
            OKTA,
            probed(answered(NotFound), answered(Document(1))),
            "True Connected True False False + ",
        ),
        (
            OKTA,
            probed(Reading::Failed(Transport::Connect), answered(Document(1))),
            "True Connected True False False + ",
        ),
    ]);
}

#[test]
fn the_key_is_refused() {
    let health = || answered(Document(report()));
    let refused = "False AuthFailed False True Unknown + Stalled";
    assert_rows([
        (
            OKTA,
            probed(answered(Unauthorized), answered(Unauthorized)),
            refused,
        ),
        (OKTA, probed(health(), answered(Unauthorized)), refused),
        (OKTA, probed(health(), answered(Forbidden)), refused),
        (OKTA, probed(answered(Unauthorized), answered(NotFound)), refused),
        (OKTA, probed(answered(Forbidden), answered(NotFound)), refused),
        (
            OKTA,
            probed(answered(Unauthorized), Reading::Failed(Transport::TimedOut)),
            refused,
        ),
        (
            OKTA,
            probed(answered(Unauthorized), answered(Unavailable(503))),
            refused,
        ),
        (
            OKTA,
            probed(Reading::Failed(Transport::TimedOut), answered(Unauthorized)),
            refused,
        ),
        (
            GOOGLE,
            probed(answered(Unauthorized), answered(NotFound)),
            refused,
        ),
    ]);
}

#[test]
fn scim_is_not_there() {
    let health = || answered(Document(report()));
    assert_rows([
        (
            GOOGLE,
            probed(health(), answered(NotFound)),
            "False ScimDisabled False False True + Stalled",
        ),
        (
            OKTA,
            probed(health(), answered(NotFound)),
            "False ScimDisabled False False True + Stalled",
        ),
        (
            GOOGLE,
            probed(answered(NotFound), answered(NotFound)),
            "False ScimDisabled False Unknown True + Stalled",
        ),
        (
            OKTA,
            probed(answered(NotFound), answered(NotFound)),
            "False PathNotFound False Unknown Unknown + Stalled",
        ),
        (
            None,
            probed(answered(NotFound), answered(NotFound)),
            "False PathNotFound False Unknown Unknown + Stalled",
        ),
    ]);
}

#[test]
fn provisioning_is_off() {
    let off = |state| answered(Document(report_with(Component::ConfirmationWatcher, state)));
    let verdict = "False ProvisioningOff False False False + Degraded Stalled";
    assert_rows([
        (
            OKTA,
            probed(off(ComponentState::Unhealthy), answered(ServerError(500))),
            verdict,
        ),
        (
            OKTA,
            probed(off(ComponentState::Expired), answered(ServerError(500))),
            verdict,
        ),
        // 500 alone says nothing of provisioning, and neither does the state of another component.
        (
            OKTA,
            probed(off(ComponentState::Healthy), answered(ServerError(500))),
            "False BridgeError False Unknown Unknown + Reconciling",
        ),
        (
            OKTA,
            probed(
                answered(Document(report_with(
                    Component::RedisCache,
                    ComponentState::Unhealthy,
                ))),
                answered(ServerError(500)),
            ),
            "False BridgeError False Unknown Unknown + Degraded Reconciling",
        ),
        (
            OKTA,
            probed(off(ComponentState::Unhealthy), answered(Unavailable(503))),
            "False BridgeUnavailable False Unknown Unknown + Degraded Reconciling",
        ),
    ]);
}

#[test]
fn something_is_missing_on_our_side() {
    let rows = [
        // Objects of the same apply may still be on their way.
        (
            Obstacle::SecretNotFound,
            "False SecretNotFound False Unknown Unknown + Reconciling",
        ),
        (
            Obstacle::CaNotFound,
            "False CaNotFound False Unknown Unknown + Reconciling",
        ),
        (
            Obstacle::SecretKeyMissing,
            "False SecretKeyMissing False Unknown Unknown + Stalled",
        ),
        (
            Obstacle::ApiKeyMalformed,
            "False ApiKeyMalformed False Unknown Unknown + Stalled",
        ),
        (
            Obstacle::CaInvalid,
            "False CaInvalid False Unknown Unknown + Stalled",
        ),
        (
            Obstacle::InvalidSpec(InvalidSpec::Url),
            "False InvalidSpec False Unknown Unknown + Stalled",
        ),
        (
            Obstacle::HostDenied,
            "False HostDenied False Unknown Unknown + Stalled",
        ),
        (
            Obstacle::ConsentMissing,
            "False ConsentMissing False Unknown Unknown + Stalled",
        ),
        (
            Obstacle::ConsentMalformed,
            "False ConsentMissing False Unknown Unknown + Stalled",
        ),
    ];
    assert_rows(rows.map(|(obstacle, expected)| (OKTA, Evidence::Blocked(obstacle), expected)));
    // With Google Workspace declared the SCIM API is taken to be off.
    assert_rows([(
        GOOGLE,
        Evidence::Blocked(Obstacle::ApiKeyMalformed),
        "False ApiKeyMalformed False Unknown True + Stalled",
    )]);
}

#[test]
fn the_bridge_cannot_be_reached() {
    for (failure, expected) in [
        (
            Transport::CertificateUntrusted,
            "False CertificateUntrusted False Unknown Unknown + Stalled",
        ),
        (
            Transport::CertificateExpired,
            "False CertificateExpired False Unknown Unknown + Stalled",
        ),
        (
            Transport::CertificateNameMismatch,
            "False CertificateNameMismatch False Unknown Unknown + Stalled",
        ),
        (
            Transport::AddressDenied,
            "False HostDenied False Unknown Unknown + Stalled",
        ),
        (
            Transport::Http,
            "False ProtocolError False Unknown Unknown + Stalled",
        ),
        (
            Transport::Dns,
            "False DnsFailed False Unknown Unknown + Reconciling",
        ),
        (
            Transport::Connect,
            "False ConnectFailed False Unknown Unknown + Reconciling",
        ),
        (
            Transport::TimedOut,
            "False TimedOut False Unknown Unknown + Reconciling",
        ),
        (
            Transport::Tls,
            "False TlsFailed False Unknown Unknown + Reconciling",
        ),
    ] {
        assert_rows([
            (OKTA, pinged(Reading::Failed(failure)), expected),
            (
                OKTA,
                probed(answered(Document(report())), Reading::Failed(failure)),
                expected,
            ),
            (OKTA, probed(Reading::Failed(failure), Reading::NotSent), expected),
        ]);
    }
    assert_rows([(
        GOOGLE,
        pinged(Reading::Failed(Transport::TimedOut)),
        "False TimedOut False Unknown True + Reconciling",
    )]);
}

#[test]
fn the_answer_is_not_a_bridges() {
    for (answer, expected) in [
        (
            Unavailable(502),
            "False BridgeUnavailable False Unknown Unknown + Reconciling",
        ),
        (
            Unavailable(503),
            "False BridgeUnavailable False Unknown Unknown + Reconciling",
        ),
        (
            ServerError(500),
            "False BridgeError False Unknown Unknown + Reconciling",
        ),
        (
            ServerError(511),
            "False BridgeError False Unknown Unknown + Reconciling",
        ),
        (
            RateLimited,
            "False RateLimited False Unknown Unknown + Reconciling",
        ),
        (
            Redirect(302),
            "False RedirectRefused False Unknown Unknown + Stalled",
        ),
        (Blocked, "False BlockedByProxy False Unknown Unknown + Stalled"),
        (Foreign, "False ProtocolError False Unknown Unknown + Stalled"),
        (TooLarge, "False ProtocolError False Unknown Unknown + Stalled"),
        (Broken, "False ProtocolError False Unknown Unknown + Stalled"),
        (
            Unexpected(400),
            "False ProtocolError False Unknown Unknown + Stalled",
        ),
    ] {
        assert_rows([
            (
                OKTA,
                probed(answered(Document(report())), answered(answer.clone())),
                expected,
            ),
            // With a 404 for the health report, as where it is not routed.
            (OKTA, probed(answered(NotFound), answered(answer)), expected),
        ]);
    }
    assert_rows([
        (
            OKTA,
            pinged(answered(Foreign)),
            "False NotABridge False Unknown Unknown + Stalled",
        ),
        (
            OKTA,
            pinged(answered(TooLarge)),
            "False NotABridge False Unknown Unknown + Stalled",
        ),
        // A passing failure comes before one that somebody has to mend: it may be its cause.
        (
            OKTA,
            probed(answered(Unavailable(503)), answered(Foreign)),
            "False BridgeUnavailable False Unknown Unknown + Reconciling",
        ),
        // What `/ping` answered does not count where more was asked.
        (
            OKTA,
            Evidence::Probed(Exchange {
                ping: answered(Unavailable(503)),
                health: answered(Document(report())),
                users: answered(Document(1)),
                ..Exchange::default()
            }),
            "True Connected True False False + ",
        ),
    ]);
}

#[test]
fn nothing_was_asked() {
    assert_rows([
        (
            OKTA,
            pinged(Reading::NotSent),
            "Unknown Progressing Unknown Unknown Unknown + Reconciling",
        ),
        (
            GOOGLE,
            pinged(Reading::NotSent),
            "Unknown Progressing Unknown Unknown True + Reconciling",
        ),
    ]);
}

#[test]
fn abnormal_conditions_stand_beside_ready() {
    let connected = |change: &dyn Fn(&mut Exchange)| {
        let mut exchange = Exchange {
            ping: answered(Document(())),
            health: answered(Document(report())),
            users: answered(Document(1)),
            ..Exchange::default()
        };
        change(&mut exchange);
        seen(OKTA, &Evidence::Probed(exchange))
    };
    let ends_in = |days: i64| {
        move |exchange: &mut Exchange| {
            let not_after = now() + Duration::from_hours(u64::try_from(days).unwrap_or(0) * 24);
            exchange.certificate = Some(Certificate {
                not_after,
                issuer: None,
            });
        }
    };
    assert_eq!(
        connected(&ends_in(20)),
        "True Connected True False False + CertificateExpiring"
    );
    assert_eq!(connected(&ends_in(22)), "True Connected True False False + ");
    let degraded = report_with(Component::RedisCache, ComponentState::Unhealthy);
    assert_eq!(
        connected(&|exchange| exchange.health = answered(Document(degraded.clone()))),
        "True Connected True False False + Degraded"
    );
    for trial in [KeyTrial::Accepted, KeyTrial::Refused, KeyTrial::Undecided] {
        assert_eq!(
            connected(&|exchange| exchange.next_key = Some(trial)),
            "True Connected True False False + NextApiKeyValid"
        );
    }
}

#[test]
fn every_reason_has_a_row() {
    // A reason that no evidence leads to would be one that nobody ever sees.
    let rows = include_str!("diagnosis.rs");
    let missing: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| reason.as_str())
        .filter(|reason| !rows.contains(&format!("\"False {reason} ")))
        .filter(|reason| !matches!(*reason, "Connected" | "Progressing"))
        .collect();
    assert!(missing.is_empty(), "add a row to the table above for {missing:?}");
}
