//! The next status, and whether it is worth a write.
//!
//! A status is written when it says something new. Where only the clock has moved it is written every few minutes (the
//! heartbeat), as the kubelet does for its node: each write costs the API server and etcd more than the probe itself.
//! `validUntil` allows for the heartbeat, so a reader is never misled.
//! <https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/589-efficient-node-heartbeats>

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{
    conditions::{Circumstances, MISSING_GRACE, class_of, conditions, grace_end, reason_of, whole_seconds},
    evidence::{Component, Evidence, Exchange, HealthReport},
    target::Target,
    verdict::{PendingCause, Verdict, diagnose},
};
use crate::{
    api::{
        connection::{
            Binding, BridgeStatus, CertificateStatus, ComponentStatus, DirectoryStatus, IdentityProvider,
            ObjectVersion, ScimBridgeConnectionStatus,
        },
        role::PerRole,
        vocabulary::{Class, Reason, Truth},
    },
    domain::schedule::{Pace, refused_key_retry, rest_of_refused_key},
};

/// One finished pass: what it was about and what it saw.
#[derive(Clone, Debug)]
pub struct Observation<'a> {
    /// The object's UID.
    pub uid: &'a str,
    /// The generation that was probed.
    pub generation: i64,
    /// The identity provider that was declared.
    pub declared: Option<IdentityProvider>,
    /// The parsed specification; `None` where it could not be parsed.
    pub target: Option<&'a Target>,
    /// The versions of the objects that were read.
    pub versions: Versions,
    /// Annotation `reconcile.fluxcd.io/requestedAt`, as it was when the pass began.
    pub requested: Option<String>,
    /// Transient failures in a row before this pass, whether they were written or not.
    pub failures_before: u32,
    /// What was seen.
    pub evidence: &'a Evidence,
    /// The end of the pass.
    pub now: Timestamp,
    /// How long after its time a probe by the schedule has begun.
    pub late: Duration,
    /// How long before the time by the schedule another has begun.
    pub early: Duration,
    /// How often a status is written where only the clock has moved.
    pub heartbeat: Duration,
}

/// The versions of the objects that a verdict is about; `None` where there was no object.
pub type Versions = PerRole<Option<ObjectVersion>>;

/// The versions that a status is about.
#[must_use]
pub fn versions(status: &ScimBridgeConnectionStatus) -> Versions {
    PerRole {
        credential: status.credential.clone(),
        ca: status.ca.clone(),
        next_credential: status.next_credential.clone(),
    }
}

/// What a pass comes to.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct NextStatus {
    /// The verdict of this pass alone; the status may still hold the one before.
    pub verdict: Verdict,
    /// The status as it is now.
    pub status: ScimBridgeConnectionStatus,
    /// Whether it is worth a write.
    pub change: Change,
    /// When to probe next.
    pub next: Timestamp,
    /// The time until then. It is counted from the moment of the verdict: the clock may be set while that is written.
    pub delay: Duration,
    /// Whether this pass found a bridge unlocked that was seen locked before.
    pub unlocked: bool,
}

/// Whether a status is worth a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// It says something new.
    Changed,
    /// Only the clock has moved, and the last write is a heartbeat ago.
    Heartbeat,
    /// Only the clock has moved.
    Unchanged,
}

/// For a specification that cannot be parsed there is no interval to go by.
const FALLBACK_INTERVAL: Duration = Duration::from_mins(5);
const FALLBACK_TIMEOUT: Duration = Duration::from_secs(10);

/// Time between two probes. A specification that cannot be used is looked at now and then, whatever interval it names:
/// a later version of this program may be able to use it.
#[must_use]
pub fn interval_of(target: Option<&Target>) -> Duration {
    target.map_or(FALLBACK_INTERVAL, |target| target.interval)
}

fn timeout_of(target: Option<&Target>) -> Duration {
    target.map_or(FALLBACK_TIMEOUT, |target| target.timeout)
}

/// The status after a pass.
pub fn next_status(previous: &ScimBridgeConnectionStatus, pass: &Observation<'_>) -> NextStatus {
    let verdict = diagnose(pass.declared, pass.evidence);
    let verdict = if is_proven(previous, pass) {
        verdict.where_proven()
    } else {
        verdict
    };
    let failures = match verdict.class {
        Class::Transient => pass
            .failures_before
            .max(previous.consecutive_failures)
            .saturating_add(1),
        Class::Ok | Class::Action | Class::Pending => 0,
    };
    let held = verdict.class == Class::Transient && holds(previous, pass, failures);
    let refused_key = refused_key(previous, pass, &verdict);
    let pace = Pace {
        uid: pass.uid,
        interval: interval_of(pass.target),
        failures,
        rest: refused_key.as_ref().map_or(Duration::ZERO, |(_, rest)| *rest),
        retry_after: exchange(pass.evidence).and_then(|exchange| exchange.retry_after),
    };
    let timeout = timeout_of(pass.target);

    let mut status = if held {
        previous.clone()
    } else {
        judged(previous, pass, &verdict)
    };
    status.consecutive_failures = failures;
    status.refused_key_retry_time = refused_key.map(|(retry, _)| retry);
    if pass.requested.is_some() {
        status.last_handled_reconcile_at.clone_from(&pass.requested);
    }
    let is_first = previous.observed_generation < 0;
    let mut next = if is_first {
        pace.first(pass.now)
    } else {
        pass.now + pace.delay_after(pass.late)
    };
    match grace_end(&status.conditions) {
        Some(end) if end > pass.now => next = next.min(end),
        // `Reconciling` was True for another reason before the object was missed, and its time does not move: whole
        // grace, lest this one is forgotten until the next interval.
        Some(_) if !held => next = next.min(pass.now + MISSING_GRACE),
        // An end that has passed, under a verdict that is held, is no time to go by.
        Some(_) | None => {}
    }
    next = next.max(pass.now + pace.rest);
    status.last_probe_time = Some(whole_seconds(pass.now));
    status.next_probe_time = Some(whole_seconds(next));
    if !held {
        status.valid_until = Some(whole_seconds(pass.now + pace.validity(timeout, pass.heartbeat)));
    }
    let threshold = pass.target.map_or(1, |target| target.failure_threshold);
    let change = change(previous, &status, threshold, pass);
    NextStatus {
        verdict,
        change,
        next,
        delay: Duration::try_from(next.duration_since(pass.now)).unwrap_or_default(),
        unlocked: unlocked(previous, &status),
        status,
    }
}

/// The status that says: nothing has been proven yet, and what hinders it, if anything on our side does.
#[must_use]
pub fn progressing(
    previous: &ScimBridgeConnectionStatus,
    pending_cause: Option<PendingCause>,
    generation: i64,
    now: Timestamp,
) -> ScimBridgeConnectionStatus {
    let circumstances = Circumstances {
        health: None,
        certificate: None,
        next_key: None,
        generation,
        now,
    };
    ScimBridgeConnectionStatus {
        // Not the new generation: its probe is still to be done, and `due` must say so after a restart.
        observed_generation: previous.observed_generation,
        conditions: conditions(
            &previous.conditions,
            &Verdict::progressing(pending_cause),
            &circumstances,
        ),
        last_handled_reconcile_at: previous.last_handled_reconcile_at.clone(),
        ..ScimBridgeConnectionStatus::default()
    }
}

/// Whether both are what one pass has written. What comes back from the API server need not be equal in every detail,
/// so what tells passes apart is compared.
#[must_use]
pub fn is_same_verdict(a: &ScimBridgeConnectionStatus, b: &ScimBridgeConnectionStatus) -> bool {
    let of = |status: &ScimBridgeConnectionStatus| ScimBridgeConnectionStatus {
        bridge: None,
        certificate: None,
        directory: None,
        ..status.clone()
    };
    of(a) == of(b)
}

/// Whether `standing` tells of a later probe of this generation than `status`.
///
/// Somebody else has written it then: another replica, or this one's predecessor whose write took its time. A verdict
/// that was `known` when `status` was made is none of these, whatever the clocks say.
#[must_use]
pub fn is_superseded(
    status: &ScimBridgeConnectionStatus,
    known: [Option<&ScimBridgeConnectionStatus>; 2],
    standing: &ScimBridgeConnectionStatus,
    generation: i64,
) -> bool {
    let is_later = match (&standing.last_probe_time, &status.last_probe_time) {
        (Some(standing), Some(own)) => standing.0 >= own.0,
        (Some(_), None) => true,
        (None, _) => false,
    };
    standing.observed_generation == generation
        && is_later
        && !known
            .into_iter()
            .flatten()
            .chain([status])
            .any(|known| is_same_verdict(standing, known))
}

/// Whether a bridge has answered at this address before, by the same specification and CA. What somebody has just changed
/// on this side, such as the CA or the server's name, explains more than a front in the bridge's place.
fn is_proven(previous: &ScimBridgeConnectionStatus, pass: &Observation<'_>) -> bool {
    let is_same = |target: &Target| previous.scim_endpoint == Some(target.scim_endpoint());
    previous.last_answer_time.is_some()
        && pass.target.is_some_and(is_same)
        && previous.observed_generation == pass.generation
        && previous.ca == pass.versions.ca
}

/// When a key that was refused may be sent again, and how long that is from now. `None` where no refusal of this key is
/// known.
///
/// It is remembered apart from the reason, which may be another by now, until the bridge accepts the key, or the verdict
/// is about another specification, key or CA. The time counts from when the key was sent last: in this pass, or before
/// the schedule that this pass was ahead of was made.
fn refused_key(
    previous: &ScimBridgeConnectionStatus,
    pass: &Observation<'_>,
    verdict: &Verdict,
) -> Option<(Time, Duration)> {
    let known = refused_key_retry(previous).filter(|_| is_about_the_same(previous, pass));
    let was_sent = exchange(pass.evidence).is_some_and(Exchange::sent_the_key);
    match (verdict.auth_failed, known) {
        (Truth::False, _) | (Truth::Unknown, None) => None,
        (Truth::Unknown, Some(retry)) if !was_sent => Some((retry.clone(), pass.early)),
        (Truth::True, _) | (Truth::Unknown, Some(_)) => {
            let rest = rest_of_refused_key(pass.uid, interval_of(pass.target));
            Some((whole_seconds(pass.now + rest), rest))
        }
    }
}

/// Whether the status is about the same specification, key and CA as this pass.
fn is_about_the_same(previous: &ScimBridgeConnectionStatus, pass: &Observation<'_>) -> bool {
    previous.observed_generation == pass.generation
        && previous.credential == pass.versions.credential
        && previous.ca == pass.versions.ca
}

/// Whether the verdict that stands is kept in spite of a transient failure.
///
/// It must be one about the same specification and the same key and CA, and still valid. As long as it is valid, a
/// refusal is held through any number of failures: they say nothing about the key.
fn holds(previous: &ScimBridgeConnectionStatus, pass: &Observation<'_>, failures: u32) -> bool {
    let Some(standing) = reason_of(&previous.conditions) else {
        return false;
    };
    if !is_about_the_same(previous, pass) {
        return false;
    }
    let valid = previous
        .valid_until
        .as_ref()
        .is_some_and(|until| pass.now < until.0);
    if standing == Reason::AuthFailed {
        return valid && !is_beyond_a_refusal(previous, pass);
    }
    if previous.refused_key_retry_time.is_some() {
        // The next probe may be an hour away: what took the refusal's place is not held for so long.
        return false;
    }
    let settled = match class_of(&previous.conditions) {
        Class::Ok | Class::Action => true,
        Class::Transient | Class::Pending => false,
    };
    let threshold = pass.target.map_or(1, |target| target.failure_threshold);
    settled && valid && failures < threshold
}

/// Whether the verdict's end is further away than that of a refusal in this pass: then the clock was set back since.
fn is_beyond_a_refusal(previous: &ScimBridgeConnectionStatus, pass: &Observation<'_>) -> bool {
    let (interval, timeout) = (interval_of(pass.target), timeout_of(pass.target));
    let pace = Pace {
        uid: pass.uid,
        interval,
        failures: 0,
        rest: rest_of_refused_key(pass.uid, interval),
        retry_after: None,
    };
    let longest = pass.now + pace.validity(timeout, pass.heartbeat);
    previous
        .valid_until
        .as_ref()
        .is_some_and(|until| longest < until.0)
}

/// The status with a verdict of this pass in it.
fn judged(
    previous: &ScimBridgeConnectionStatus,
    pass: &Observation<'_>,
    verdict: &Verdict,
) -> ScimBridgeConnectionStatus {
    let exchange = exchange(pass.evidence);
    let health = exchange.and_then(|exchange| exchange.health.document());
    let certificate = exchange.and_then(|exchange| exchange.certificate.as_ref());
    let users = exchange.and_then(|exchange| exchange.users.document());
    ScimBridgeConnectionStatus {
        observed_generation: pass.generation,
        conditions: conditions(
            &previous.conditions,
            verdict,
            &Circumstances {
                health,
                certificate,
                next_key: exchange.and_then(|exchange| exchange.next_key),
                generation: pass.generation,
                now: pass.now,
            },
        ),
        scim_endpoint: pass.target.map(Target::scim_endpoint),
        scim_api: Some(verdict.scim_api),
        bridge: health.map(bridge_status),
        certificate: certificate.map(|certificate| CertificateStatus {
            not_after: whole_seconds(certificate.not_after),
            issuer: certificate.issuer.clone(),
        }),
        directory: users.map(|users| DirectoryStatus {
            users: *users,
            groups: exchange.and_then(|exchange| exchange.groups),
        }),
        credential: pass.versions.credential.clone(),
        ca: pass.versions.ca.clone(),
        next_credential: pass.versions.next_credential.clone(),
        last_answer_time: if exchange.is_some_and(Exchange::has_bridge_answered) {
            Some(whole_seconds(pass.now))
        } else {
            previous
                .last_answer_time
                .clone()
                .filter(|_| is_proven(previous, pass))
        },
        last_probe_time: None,
        next_probe_time: None,
        refused_key_retry_time: None,
        valid_until: None,
        consecutive_failures: 0,
        last_handled_reconcile_at: previous.last_handled_reconcile_at.clone(),
        binding: pass
            .target
            .filter(|_| verdict.connected == Truth::True)
            .map(|target| Binding {
                name: target.api_key.name.clone(),
            }),
    }
}

fn change(
    previous: &ScimBridgeConnectionStatus,
    next: &ScimBridgeConnectionStatus,
    threshold: u32,
    pass: &Observation<'_>,
) -> Change {
    if !says_the_same(previous, next, threshold) {
        return Change::Changed;
    }
    let written = previous.last_probe_time.as_ref().map(|time| time.0);
    // Not where a refused key was sent again: who goes on after a restart has to know of it.
    let is_told = previous.refused_key_retry_time == next.refused_key_retry_time;
    // Also where the last write lies in the future: then the clock was set back, and the status would lie for long.
    match written {
        Some(written) if is_told && written <= pass.now && pass.now < written + pass.heartbeat => {
            Change::Unchanged
        }
        _ => Change::Heartbeat,
    }
}

/// Whether two statuses differ only in what tells that time goes by. Failures beyond the threshold tell nothing new
/// either.
fn says_the_same(a: &ScimBridgeConnectionStatus, b: &ScimBridgeConnectionStatus, threshold: u32) -> bool {
    // Destructured in full: of a new field has to be said whether it is news.
    let ScimBridgeConnectionStatus {
        observed_generation,
        conditions,
        scim_endpoint,
        scim_api,
        bridge,
        certificate,
        directory,
        credential,
        ca,
        next_credential,
        last_answer_time: _,
        last_probe_time: _,
        next_probe_time: _,
        refused_key_retry_time: _,
        valid_until: _,
        consecutive_failures,
        last_handled_reconcile_at,
        binding,
    } = a;
    *observed_generation == b.observed_generation
        && *conditions == b.conditions
        && *scim_endpoint == b.scim_endpoint
        && *scim_api == b.scim_api
        && *bridge == b.bridge
        && *certificate == b.certificate
        && *directory == b.directory
        && *credential == b.credential
        && *ca == b.ca
        && *next_credential == b.next_credential
        && (*consecutive_failures).min(threshold) == b.consecutive_failures.min(threshold)
        && *last_handled_reconcile_at == b.last_handled_reconcile_at
        && *binding == b.binding
}

/// Whether watchers that were missing from the last report are in this one: a bridge that waits for its key after a
/// restart starts them with the first request that carries it, and that was ours.
#[must_use]
pub fn unlocked(before: &ScimBridgeConnectionStatus, after: &ScimBridgeConnectionStatus) -> bool {
    fn components(status: &ScimBridgeConnectionStatus) -> &[ComponentStatus] {
        status.bridge.as_ref().map_or(&[], |bridge| &bridge.components)
    }
    let (before, after) = (components(before), components(after));
    !before.is_empty()
        && after.iter().any(|component| {
            Component::parse(&component.name).waits_for_unlock()
                && !before.iter().any(|known| known.name == component.name)
        })
}

fn bridge_status(report: &HealthReport) -> BridgeStatus {
    BridgeStatus {
        version: report.version.clone(),
        build: report.build.clone(),
        components: report
            .components
            .iter()
            .map(|(name, state)| ComponentStatus {
                name: Component::as_str(*name).to_owned(),
                state: *state,
            })
            .collect(),
    }
}

const fn exchange(evidence: &Evidence) -> Option<&Exchange> {
    match evidence {
        Evidence::Blocked(_) => None,
        Evidence::Probed(exchange) => Some(exchange),
    }
}
