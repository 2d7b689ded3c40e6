//! The verdict table, row by row: evidence on the left, what a user sees on the right.
//!
//! A row reads `Ready reason Connected AuthFailed ScimDisabled + abnormal condition`.

#![allow(
    clippy::expect_used,
    reason = "in a test, a value that is not there is a failure"
)]

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use scim_bridge_operator::{
    api::{
        v1alpha1::{ComponentState, IdentityProvider, ObjectVersion, ScimBridgeConnectionStatus},
        vocabulary::{ConditionType, Reason},
    },
    domain::{
        conditions::find,
        evidence::{
            Answer, CaFault, Certificate, ChainFault, Component, DateFault, Denial, DnsFault, Evidence,
            Exchange, HealthReport, HttpFault, KeyFault, KeyTrial, Member, NameFault, Obstacle, Phase,
            ProxyFault, Reading, Roots, TlsFault, TransportFailure,
        },
        status::{Pass, Versions, next_status},
        target::{InvalidSpec, Target},
        verdict::diagnose,
    },
};

use Answer::{
    Blocked, Broken, Document, Encoded, Forbidden, Foreign, NotFound, RateLimited, Redirect, ServerError,
    TooLarge, Unauthorized, Unavailable, Unexpected,
};
use TransportFailure as Transport;
use testbed::spec;

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
            early: Duration::ZERO,
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

/// What a user sees after each of these probes, one a minute: `Ready reason consecutiveFailures progress`.
fn life(probes: &[Evidence]) -> Vec<String> {
    let unchanged: Vec<_> = probes.iter().map(|evidence| (1, "1", evidence.clone())).collect();
    changing_life(&unchanged)
}

/// The same with the generation of the specification and the version of the CA at each probe.
fn changing_life(probes: &[(i64, &str, Evidence)]) -> Vec<String> {
    let spec = spec().url("https://scim.example.com").secret("corp-scim").typed();
    let target = Target::parse(&spec).expect("a target");
    let mut status = ScimBridgeConnectionStatus {
        observed_generation: -1,
        ..Default::default()
    };
    let mut lines: Vec<String> = Vec::new();
    for (minute, (generation, ca, evidence)) in (0..).zip(probes) {
        let ca = ObjectVersion {
            uid: "ca".to_owned(),
            resource_version: (*ca).to_owned(),
        };
        let outcome = next_status(
            &status,
            &Pass {
                uid: "uid",
                generation: *generation,
                declared: OKTA,
                target: Some(&target),
                versions: Versions {
                    ca: Some(ca),
                    ..Versions::default()
                },
                requested: None,
                failures_before: status.consecutive_failures,
                evidence,
                now: now() + Duration::from_mins(minute),
                late: Duration::ZERO,
                early: Duration::ZERO,
                heartbeat: Duration::from_mins(5),
            },
        );
        status = outcome.status;
        let conditions = &status.conditions;
        let ready = find(conditions, ConditionType::Ready).expect("Ready is always there");
        let mut line = format!(
            "{} {} {}",
            ready.status, ready.reason, status.consecutive_failures
        );
        for type_ in [ConditionType::Reconciling, ConditionType::Stalled] {
            if find(conditions, type_).is_some() {
                line = format!("{line} {type_}");
            }
        }
        lines.push(line);
    }
    lines
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
            probed(
                answered(Unauthorized),
                Reading::Failed(Transport::TimedOut(Phase::Answer)),
            ),
            refused,
        ),
        (
            OKTA,
            probed(answered(Unauthorized), answered(Unavailable(503))),
            refused,
        ),
        (
            OKTA,
            probed(
                Reading::Failed(Transport::TimedOut(Phase::Answer)),
                answered(Unauthorized),
            ),
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
    let everything_is_404 = || {
        Evidence::Probed(Exchange {
            ping: answered(NotFound),
            health: answered(NotFound),
            users: answered(NotFound),
            ..Exchange::default()
        })
    };
    assert_rows([
        // As declared, and proven.
        (
            GOOGLE,
            probed(health(), answered(NotFound)),
            "True ScimDisabled False False True + ",
        ),
        (
            OKTA,
            probed(health(), answered(NotFound)),
            "False ScimDisabled False False True + Stalled",
        ),
        (
            None,
            probed(health(), answered(NotFound)),
            "False ScimDisabled False False True + Stalled",
        ),
        // The declaration chooses between two readings of a bridge's answers; the key stays unproven.
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
        // Where no bridge has answered, there is nothing to choose.
        (
            GOOGLE,
            everything_is_404(),
            "False PathNotFound False Unknown Unknown + Stalled",
        ),
        (
            OKTA,
            everything_is_404(),
            "False PathNotFound False Unknown Unknown + Stalled",
        ),
    ]);
}

/// Case A: `ScimDisabled` is True only by what a probe has seen.
#[test]
fn a_declaration_proves_nothing() {
    let failures = TransportFailure::ALL.map(|failure| pinged(Reading::Failed(failure)));
    let obstacles = [
        Obstacle::SecretNotFound,
        Obstacle::SecretKeyMissing,
        Obstacle::HostDenied(Denial::Special),
        Obstacle::CaInvalid(CaFault::Frame),
    ];
    let refused = probed(answered(Unauthorized), answered(Unauthorized));
    for evidence in failures
        .into_iter()
        .chain(obstacles.map(Evidence::Blocked))
        .chain([pinged(Reading::NotSent), pinged(answered(Foreign)), refused])
    {
        let line = seen(GOOGLE, &evidence);
        assert_eq!(line.split(' ').nth(4), Some("Unknown"), "{line} for {evidence:?}");
        assert_eq!(line, seen(OKTA, &evidence), "the declaration decides nothing");
    }
}

/// Case C: `/ping` was asked without a key, so a refusal of it is a front's.
#[test]
fn a_front_refuses() {
    let refused = |ping, health, users| {
        Evidence::Probed(Exchange {
            ping: answered(ping),
            health: answered(health),
            users: answered(users),
            ..Exchange::default()
        })
    };
    let front = "False BlockedByProxy False Unknown Unknown + Stalled";
    assert_rows([
        (OKTA, refused(Unauthorized, Unauthorized, Unauthorized), front),
        (OKTA, refused(Forbidden, Forbidden, Forbidden), front),
        (OKTA, refused(Blocked(401), Blocked(401), Blocked(401)), front),
        (OKTA, refused(Blocked(403), Forbidden, Forbidden), front),
        (OKTA, refused(Forbidden, NotFound, Unauthorized), front),
        // Its shape says that it is a front's, though it lets `/ping` through.
        (OKTA, refused(Document(()), Blocked(401), Blocked(401)), front),
        (OKTA, refused(Document(()), Unauthorized, Blocked(401)), front),
        (OKTA, refused(Document(()), Blocked(403), Unauthorized), front),
        (GOOGLE, refused(Document(()), Blocked(401), NotFound), front),
        // Only the key is left.
        (
            OKTA,
            refused(Document(()), Unauthorized, Unauthorized),
            "False AuthFailed False True Unknown + Stalled",
        ),
        (
            OKTA,
            refused(NotFound, Unauthorized, Unauthorized),
            "False AuthFailed False True Unknown + Stalled",
        ),
        // What SCIM answers counts more than who refuses the rest.
        (
            OKTA,
            refused(Unauthorized, Blocked(403), Document(1)),
            "True Connected True False False + ",
        ),
        (
            GOOGLE,
            Evidence::Probed(Exchange {
                ping: answered(Unauthorized),
                health: answered(Document(report())),
                users: answered(NotFound),
                ..Exchange::default()
            }),
            "True ScimDisabled False False True + ",
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
            Obstacle::ApiKeyMalformed(KeyFault::Blank),
            "False ApiKeyMalformed False Unknown Unknown + Stalled",
        ),
        (
            Obstacle::CaInvalid(CaFault::Frame),
            "False CaInvalid False Unknown Unknown + Stalled",
        ),
        (
            Obstacle::InvalidSpec(InvalidSpec::Url),
            "False InvalidSpec False Unknown Unknown + Stalled",
        ),
        (
            Obstacle::HostDenied(Denial::Special),
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
    // A declaration is no evidence.
    assert_rows([(
        GOOGLE,
        Evidence::Blocked(Obstacle::ApiKeyMalformed(KeyFault::Blank)),
        "False ApiKeyMalformed False Unknown Unknown + Stalled",
    )]);
}

#[test]
fn the_bridge_cannot_be_reached() {
    for (failure, expected) in [
        (
            Transport::CertificateUntrusted(ChainFault::UnknownIssuer(Roots::System)),
            "False CertificateUntrusted False Unknown Unknown + Stalled",
        ),
        (
            Transport::CertificateExpired(DateFault::NotYet),
            "False CertificateExpired False Unknown Unknown + Stalled",
        ),
        (
            Transport::CertificateNameMismatch(NameFault::Other),
            "False CertificateNameMismatch False Unknown Unknown + Stalled",
        ),
        (
            Transport::AddressDenied(Denial::Special),
            "False HostDenied False Unknown Unknown + Stalled",
        ),
        (
            Transport::Http(HttpFault::Other),
            "False ProtocolError False Unknown Unknown + Stalled",
        ),
        (
            Transport::Dns(DnsFault::NoAddress),
            "False DnsFailed False Unknown Unknown + Reconciling",
        ),
        (
            Transport::Connect,
            "False ConnectFailed False Unknown Unknown + Reconciling",
        ),
        (
            Transport::TimedOut(Phase::Answer),
            "False TimedOut False Unknown Unknown + Reconciling",
        ),
        (
            Transport::Tls(TlsFault::Other),
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
        pinged(Reading::Failed(Transport::TimedOut(Phase::Answer))),
        "False TimedOut False Unknown Unknown + Reconciling",
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
            Unavailable(530),
            "False BridgeUnavailable False Unknown Unknown + Reconciling",
        ),
        (
            RateLimited,
            "False RateLimited False Unknown Unknown + Reconciling",
        ),
        (
            Redirect(302),
            "False RedirectRefused False Unknown Unknown + Stalled",
        ),
        (
            Blocked(401),
            "False BlockedByProxy False Unknown Unknown + Stalled",
        ),
        (
            Blocked(403),
            "False BlockedByProxy False Unknown Unknown + Stalled",
        ),
        (Encoded, "False ProtocolError False Unknown Unknown + Stalled"),
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
        // A transient failure comes before one that somebody has to mend: it may be its cause.
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

/// Case B: what a front answers in place of a bridge that was proven is held like any transient failure, and withdrawn
/// at the threshold. It goes on as transient then.
#[test]
fn a_front_in_place_of_a_proven_bridge() {
    let all = |ping: Answer<()>, health, users| {
        Evidence::Probed(Exchange {
            ping: answered(ping),
            health: answered(health),
            users: answered(users),
            ..Exchange::default()
        })
    };
    let connected = || probed(answered(Document(report())), answered(Document(3)));
    let held = ["True Connected 1", "True Connected 2"];
    for (evidence, withdrawn) in [
        (
            all(NotFound, NotFound, NotFound),
            "False PathNotFound 3 Reconciling",
        ),
        (
            all(Redirect(302), Redirect(302), Redirect(302)),
            "False RedirectRefused 3 Reconciling",
        ),
        (
            all(Blocked(403), Blocked(403), Blocked(403)),
            "False BlockedByProxy 3 Reconciling",
        ),
        (
            all(Document(()), Blocked(403), Blocked(403)),
            "False BlockedByProxy 3 Reconciling",
        ),
        (
            all(Unauthorized, Unauthorized, Unauthorized),
            "False BlockedByProxy 3 Reconciling",
        ),
        (pinged(answered(Foreign)), "False NotABridge 3 Reconciling"),
        (pinged(answered(Broken)), "False ProtocolError 3 Reconciling"),
        (
            all(Unexpected(400), Unexpected(400), Unexpected(400)),
            "False ProtocolError 3 Reconciling",
        ),
        (
            all(Unavailable(530), Unavailable(530), Unavailable(530)),
            "False BridgeUnavailable 3 Reconciling",
        ),
        (
            pinged(Reading::Failed(Transport::CertificateUntrusted(
                ChainFault::UnknownIssuer(Roots::System),
            ))),
            "False CertificateUntrusted 3 Reconciling",
        ),
        (
            pinged(Reading::Failed(Transport::CertificateNameMismatch(
                NameFault::Other,
            ))),
            "False CertificateNameMismatch 3 Reconciling",
        ),
    ] {
        let life = life(&[connected(), evidence.clone(), evidence.clone(), evidence.clone()]);
        assert_eq!(
            life,
            ["True Connected 0", held[0], held[1], withdrawn],
            "{evidence:?}"
        );
    }
}

/// What the bridge itself says counts at once, and so does a front where no bridge was proven.
#[test]
fn nothing_is_held_for_a_bridge_that_speaks() {
    let connected = || probed(answered(Document(report())), answered(Document(3)));
    for (evidence, at_once) in [
        (
            probed(answered(Unauthorized), answered(Unauthorized)),
            "False AuthFailed 0 Stalled",
        ),
        (
            probed(answered(Document(report())), answered(NotFound)),
            "False ScimDisabled 0 Stalled",
        ),
        // It was there to answer `/ping`.
        (
            probed(answered(NotFound), answered(NotFound)),
            "False PathNotFound 0 Stalled",
        ),
        (
            probed(answered(Redirect(302)), answered(Redirect(302))),
            "False RedirectRefused 0 Stalled",
        ),
        (
            pinged(Reading::Failed(Transport::CertificateExpired(DateFault::NotYet))),
            "False CertificateExpired 0 Stalled",
        ),
    ] {
        assert_eq!(
            life(&[connected(), evidence.clone()]),
            ["True Connected 0", at_once],
            "{evidence:?}"
        );
    }
    let front = pinged(answered(Foreign));
    assert_eq!(
        life(&[front.clone(), front]),
        ["False NotABridge 0 Stalled", "False NotABridge 0 Stalled"],
        "no bridge has answered here before"
    );
}

/// What somebody has just changed on this side explains more than a front in the bridge's place, and goes on to do so.
#[test]
fn a_change_on_our_side_is_no_front() {
    let connected = || probed(answered(Document(report())), answered(Document(3)));
    let untrusted = || {
        pinged(Reading::Failed(Transport::CertificateUntrusted(
            ChainFault::UnknownIssuer(Roots::System),
        )))
    };
    let stalled = "False CertificateUntrusted 0 Stalled";
    for (generation, ca) in [(1, "2"), (2, "1")] {
        let mut probes = vec![(1, "1", connected())];
        probes.extend(vec![(generation, ca, untrusted()); 4]);
        let life = changing_life(&probes);
        assert_eq!(life.get(1..), Some([stalled; 4].map(str::to_owned).as_slice()));
    }
    // Once a bridge has answered by what is new, a front may come again.
    let life = changing_life(&[
        (1, "1", connected()),
        (2, "2", connected()),
        (2, "2", untrusted()),
    ]);
    assert_eq!(life.last().map(String::as_str), Some("True Connected 1"));
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
            "Unknown Progressing Unknown Unknown Unknown + Reconciling",
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
                ends: Member::Server,
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

/// The advice fits the cause: words that the message of a verdict has, and words that it must not have.
#[test]
fn the_advice_fits_the_cause() {
    let denied = |denial| Evidence::Blocked(Obstacle::HostDenied(denial));
    let resolved = |denial| pinged(Reading::Failed(Transport::AddressDenied(denial)));
    let http = |fault| pinged(Reading::Failed(Transport::Http(fault)));
    let malformed = |fault| Evidence::Blocked(Obstacle::ApiKeyMalformed(fault));
    let users = |answer| probed(answered(Document(report())), answered(answer));
    let in_front = Answer::Page;
    for (evidence, has, has_not) in [
        (denied(Denial::Host), "to --allowed-host", "--allow-cidr"),
        (denied(Denial::Network), "out of --deny-cidr", "--allow"),
        (resolved(Denial::Network), "out of --deny-cidr", "--allow"),
        (denied(Denial::Special), "to --allow-cidr", "--allowed-host"),
        (resolved(Denial::ApiServer), "to --allow-cidr", "--allowed-host"),
        (resolved(Denial::ServerName), "in --bridge-no-proxy", "--allow"),
        (
            Evidence::Blocked(Obstacle::ConsentInClear),
            "Add http://HOST",
            "Name the host",
        ),
        (
            Evidence::Blocked(Obstacle::ConsentForTls),
            "names the host without http://",
            "Name the host",
        ),
        (
            Evidence::Blocked(Obstacle::ConsentForeign),
            "of type Opaque",
            "host pattern",
        ),
        (
            Evidence::Blocked(Obstacle::CaEntryMissing),
            "type of a Secret does not matter",
            "Create it",
        ),
        (malformed(KeyFault::Empty), "(it is empty)", "8 KiB"),
        (malformed(KeyFault::TooLong), "8 KiB", "(it is empty)"),
        (malformed(KeyFault::Blank), "a blank or a line break", "8 KiB"),
        (http(HttpFault::TlsPort), "Write https://", "version"),
        (http(HttpFault::InClear), "write https://", "version"),
        (http(HttpFault::Other), "another service", "https://"),
        (
            pinged(Reading::Failed(Transport::Proxy(ProxyFault::Answered(403)))),
            "403 from the operator's own proxy (--bridge-proxy)",
            "NetworkPolicy",
        ),
        (users(Unavailable(421)), "names that the front serves", "Redis"),
        (users(Unavailable(525)), "Cloudflare cannot set up TLS", "Redis"),
        (users(Blocked(561)), "Remove the login", "Redis"),
        (users(ServerError(505)), "Allow HTTP/1.1", "log"),
        (users(Unexpected(304)), "Turn off caching", "version"),
        (
            users(Unexpected(405)),
            "the server rejects the request",
            "success",
        ),
        (users(in_front), "such as F5's", "version"),
        (
            users(Unauthorized),
            "or a gateway that answers like it",
            "firewall",
        ),
    ] {
        let message = diagnose(OKTA, &evidence).message();
        assert!(
            message.contains(has) && !message.contains(has_not),
            "{has:?} and not {has_not:?}: {message}"
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
