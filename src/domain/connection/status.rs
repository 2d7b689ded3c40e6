//! The next status, and whether it is worth a write.
//!
//! The operator writes a status when it says something new. If only its timestamps have changed, the operator writes it
//! every few minutes: the heartbeat. The kubelet does the same for its node: each write costs the API server and
//! etcd more than a probe. `validUntil` allows for the heartbeat, so it never misleads a reader.
//! <https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/589-efficient-node-heartbeats>

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{
    conditions::{ConditionInputs, MISSING_GRACE, class_of, conditions, grace_end, reason_of, whole_seconds},
    evidence::{Component, Evidence, Exchange, HealthReport},
    schedule::{Pace, refused_key_retry, rest_of_refused_key},
    target::Target,
    verdict::{PendingCause, Verdict, diagnose},
};
use crate::api::{
    connection::{
        Binding, BridgeStatus, CertificateStatus, ComponentStatus, DirectoryStatus, IdentityProvider,
        ObjectVersion, ScimBridgeConnectionStatus,
    },
    role::PerRole,
    vocabulary::{Class, Reason, Truth},
};

/// The result of one reconcile: its subject and its evidence.
#[derive(Clone, Debug)]
pub struct Observation<'a> {
    /// The object's UID.
    pub uid: &'a str,
    /// The generation that was probed.
    pub generation: i64,
    /// The identity provider that was declared.
    pub declared: Option<IdentityProvider>,
    /// The parsed specification; `None` if it could not be parsed.
    pub target: Option<&'a Target>,
    /// The versions of the objects that were read.
    pub versions: Versions,
    /// Annotation `reconcile.fluxcd.io/requestedAt`, as it was when the reconcile began.
    pub requested: Option<String>,
    /// Consecutive transient failures before this reconcile, written or not.
    pub failures_before: u32,
    /// The evidence.
    pub evidence: &'a Evidence,
    /// The end of the reconcile.
    pub now: Timestamp,
    /// How late a scheduled probe began; zero for any other.
    pub late: Duration,
    /// How long before its scheduled time any other probe began.
    pub early: Duration,
    /// How often to rewrite the status when only its timestamps have changed.
    pub heartbeat: Duration,
}

/// The versions of the objects that a verdict is about; `None` if there was no object.
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

/// The result of [`next_status`].
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct NextStatus {
    /// The verdict of this reconcile alone; the status may still hold the previous one.
    pub verdict: Verdict,
    /// The new status.
    pub status: ScimBridgeConnectionStatus,
    /// Whether it is worth a write.
    pub change: Change,
    /// When to probe next.
    pub next: Timestamp,
    /// The time until then, counted from the verdict: the clock may be set while the status is written.
    pub delay: Duration,
    /// Whether this reconcile found a bridge unlocked that the previous status reported locked.
    pub unlocked: bool,
}

/// Whether a status is worth a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// It says something new.
    Changed,
    /// Only its timestamps have changed, and the last write was a heartbeat ago.
    Heartbeat,
    /// Only its timestamps have changed.
    Unchanged,
}

/// For a specification that cannot be parsed: it gives no interval and no timeout.
const FALLBACK_INTERVAL: Duration = Duration::from_mins(5);
const FALLBACK_TIMEOUT: Duration = Duration::from_secs(10);

/// Time between two probes. The operator keeps trying a specification that it cannot use, at a fixed interval: a later
/// version of this program may be able to use it.
#[must_use]
pub fn interval_of(target: Option<&Target>) -> Duration {
    target.map_or(FALLBACK_INTERVAL, |target| target.interval)
}

fn timeout_of(target: Option<&Target>) -> Duration {
    target.map_or(FALLBACK_TIMEOUT, |target| target.timeout)
}

/// The status after a reconcile.
pub fn next_status(previous: &ScimBridgeConnectionStatus, observation: &Observation<'_>) -> NextStatus {
    let verdict = diagnose(observation.declared, observation.evidence);
    let verdict = if is_proven(previous, observation) {
        verdict.where_proven()
    } else {
        verdict
    };
    let failures = match verdict.class {
        Class::Transient => observation
            .failures_before
            .max(previous.consecutive_failures)
            .saturating_add(1),
        Class::Ok | Class::Action | Class::Pending => 0,
    };
    let held = verdict.class == Class::Transient && holds(previous, observation, failures);
    let refused_key = refused_key(previous, observation, &verdict);
    let pace = Pace {
        uid: observation.uid,
        interval: interval_of(observation.target),
        failures,
        rest: refused_key.as_ref().map_or(Duration::ZERO, |(_, rest)| *rest),
        retry_after: exchange(observation.evidence).and_then(|exchange| exchange.retry_after),
    };
    let timeout = timeout_of(observation.target);

    let mut status = if held {
        previous.clone()
    } else {
        judged(previous, observation, &verdict)
    };
    status.consecutive_failures = failures;
    status.refused_key_retry_time = refused_key.map(|(retry, _)| retry);
    if observation.requested.is_some() {
        status
            .last_handled_reconcile_at
            .clone_from(&observation.requested);
    }
    let is_first = previous.observed_generation < 0;
    let mut next = if is_first {
        pace.first(observation.now)
    } else {
        observation.now + pace.delay_after(observation.late)
    };
    match grace_end(&status.conditions) {
        Some(end) if end > observation.now => next = next.min(end),
        // `Reconciling` was True before the object was missing, so its time does not say when the grace began. Grant a
        // full grace; otherwise the next probe would be an interval away.
        Some(_) if !held => next = next.min(observation.now + MISSING_GRACE),
        // The verdict is held and its grace is over.
        Some(_) | None => {}
    }
    next = next.max(observation.now + pace.rest);
    status.last_probe_time = Some(whole_seconds(observation.now));
    status.next_probe_time = Some(whole_seconds(next));
    if !held {
        status.valid_until = Some(whole_seconds(
            observation.now + pace.validity(timeout, observation.heartbeat),
        ));
    }
    let threshold = observation.target.map_or(1, |target| target.failure_threshold);
    let change = change(previous, &status, threshold, observation);
    NextStatus {
        verdict,
        change,
        next,
        delay: Duration::try_from(next.duration_since(observation.now)).unwrap_or_default(),
        unlocked: unlocked(previous, &status),
        status,
    }
}

/// The status before anything is proven. `pending_cause` says why the operator could not probe, if it could not.
#[must_use]
pub fn progressing(
    previous: &ScimBridgeConnectionStatus,
    pending_cause: Option<PendingCause>,
    generation: i64,
    now: Timestamp,
) -> ScimBridgeConnectionStatus {
    let inputs = ConditionInputs {
        health: None,
        certificate: None,
        next_key: None,
        generation,
        now,
    };
    ScimBridgeConnectionStatus {
        // Not the new generation: it is not probed yet, and `due` must see that after a restart.
        observed_generation: previous.observed_generation,
        conditions: conditions(
            &previous.conditions,
            &Verdict::progressing(pending_cause),
            &inputs,
        ),
        last_handled_reconcile_at: previous.last_handled_reconcile_at.clone(),
        ..ScimBridgeConnectionStatus::default()
    }
}

/// Whether one reconcile wrote both. The API server may return a status that differs in details, so this compares only
/// the fields that distinguish reconciles.
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

/// Whether `standing` reports a later probe of this generation than `status`.
///
/// Then another replica wrote it, or the previous process of this one with a slow write. A verdict in `known` never
/// counts as later, even if clocks were set: it was known when `status` was made.
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

/// Whether a bridge has answered at this address before, with the same specification and CA. After a change on this
/// side, such as a new CA, that change is the likely cause, not a front.
fn is_proven(previous: &ScimBridgeConnectionStatus, observation: &Observation<'_>) -> bool {
    let is_same = |target: &Target| previous.scim_endpoint == Some(target.scim_endpoint());
    previous.last_answer_time.is_some()
        && observation.target.is_some_and(is_same)
        && previous.observed_generation == observation.generation
        && previous.ca == observation.versions.ca
}

/// When a refused key may be sent again, as a time and as a duration from now. `None` if no refusal of this key is known.
///
/// The status keeps this time apart from the reason, because a later probe may have another reason. It is forgotten when
/// the bridge accepts the key, or when the specification, key or CA changes. It counts from the last time that the key
/// was sent: in this reconcile, or in an earlier one.
fn refused_key(
    previous: &ScimBridgeConnectionStatus,
    observation: &Observation<'_>,
    verdict: &Verdict,
) -> Option<(Time, Duration)> {
    let known = refused_key_retry(previous).filter(|_| is_about_the_same(previous, observation));
    let was_sent = exchange(observation.evidence).is_some_and(Exchange::sent_the_key);
    match (verdict.auth_failed, known) {
        (Truth::False, _) | (Truth::Unknown, None) => None,
        (Truth::Unknown, Some(retry)) if !was_sent => Some((retry.clone(), observation.early)),
        (Truth::True, _) | (Truth::Unknown, Some(_)) => {
            let rest = rest_of_refused_key(observation.uid, interval_of(observation.target));
            Some((whole_seconds(observation.now + rest), rest))
        }
    }
}

/// Whether the status is about the same specification, key and CA as this reconcile.
fn is_about_the_same(previous: &ScimBridgeConnectionStatus, observation: &Observation<'_>) -> bool {
    previous.observed_generation == observation.generation
        && previous.credential == observation.versions.credential
        && previous.ca == observation.versions.ca
}

/// Whether to keep the previous verdict despite a transient failure.
///
/// That verdict must be about the same specification, key and CA, and still valid. A refusal is kept through any number
/// of failures while it is valid: they say nothing about the key.
fn holds(previous: &ScimBridgeConnectionStatus, observation: &Observation<'_>, failures: u32) -> bool {
    let Some(standing) = reason_of(&previous.conditions) else {
        return false;
    };
    if !is_about_the_same(previous, observation) {
        return false;
    }
    let valid = previous
        .valid_until
        .as_ref()
        .is_some_and(|until| observation.now < until.0);
    if standing == Reason::AuthFailed {
        return valid && !is_valid_for_too_long(previous, observation);
    }
    if previous.refused_key_retry_time.is_some() {
        // The next probe may be an hour away, which is too long to keep a verdict that may be outdated.
        return false;
    }
    let settled = match class_of(&previous.conditions) {
        Class::Ok | Class::Action => true,
        Class::Transient | Class::Pending => false,
    };
    let threshold = observation.target.map_or(1, |target| target.failure_threshold);
    settled && valid && failures < threshold
}

/// Whether the previous verdict is valid for longer than a refusal in this reconcile would be. Then the clock was set
/// back in between.
fn is_valid_for_too_long(previous: &ScimBridgeConnectionStatus, observation: &Observation<'_>) -> bool {
    let (interval, timeout) = (interval_of(observation.target), timeout_of(observation.target));
    let pace = Pace {
        uid: observation.uid,
        interval,
        failures: 0,
        rest: rest_of_refused_key(observation.uid, interval),
        retry_after: None,
    };
    let longest = observation.now + pace.validity(timeout, observation.heartbeat);
    previous
        .valid_until
        .as_ref()
        .is_some_and(|until| longest < until.0)
}

/// The status with the verdict of this reconcile.
fn judged(
    previous: &ScimBridgeConnectionStatus,
    observation: &Observation<'_>,
    verdict: &Verdict,
) -> ScimBridgeConnectionStatus {
    let exchange = exchange(observation.evidence);
    let health = exchange.and_then(|exchange| exchange.health.document());
    let certificate = exchange.and_then(|exchange| exchange.certificate.as_ref());
    let users = exchange.and_then(|exchange| exchange.users.document());
    ScimBridgeConnectionStatus {
        observed_generation: observation.generation,
        conditions: conditions(
            &previous.conditions,
            verdict,
            &ConditionInputs {
                health,
                certificate,
                next_key: exchange.and_then(|exchange| exchange.next_key),
                generation: observation.generation,
                now: observation.now,
            },
        ),
        scim_endpoint: observation.target.map(Target::scim_endpoint),
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
        credential: observation.versions.credential.clone(),
        ca: observation.versions.ca.clone(),
        next_credential: observation.versions.next_credential.clone(),
        last_answer_time: if exchange.is_some_and(Exchange::has_bridge_answered) {
            Some(whole_seconds(observation.now))
        } else {
            previous
                .last_answer_time
                .clone()
                .filter(|_| is_proven(previous, observation))
        },
        last_probe_time: None,
        next_probe_time: None,
        refused_key_retry_time: None,
        valid_until: None,
        consecutive_failures: 0,
        last_handled_reconcile_at: previous.last_handled_reconcile_at.clone(),
        binding: observation
            .target
            .filter(|_| verdict.connected == Truth::True)
            .map(|target| Binding {
                name: target.api_key.name.clone(),
            }),
        provisioning: None,
    }
}

fn change(
    previous: &ScimBridgeConnectionStatus,
    next: &ScimBridgeConnectionStatus,
    threshold: u32,
    observation: &Observation<'_>,
) -> Change {
    if !says_the_same(previous, next, threshold) {
        return Change::Changed;
    }
    let written = previous.last_probe_time.as_ref().map(|time| time.0);
    // A new retry time is written at once: after a restart the operator must know it.
    let has_same_retry = previous.refused_key_retry_time == next.refused_key_retry_time;
    // A last write in the future means that the clock was set back. Without a write the status would be wrong for long.
    match written {
        Some(written)
            if has_same_retry
                && written <= observation.now
                && observation.now < written + observation.heartbeat =>
        {
            Change::Unchanged
        }
        _ => Change::Heartbeat,
    }
}

/// Whether two statuses differ in timestamps only. Failures beyond the threshold are no news either.
fn says_the_same(a: &ScimBridgeConnectionStatus, b: &ScimBridgeConnectionStatus, threshold: u32) -> bool {
    // Destructured in full: for a new field, decide here whether a change of it is news.
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
        provisioning: _,
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

/// Whether this report has watchers that the previous one lacked. After a restart a bridge waits for its key, and starts
/// them with the first request that carries it: that was the probe.
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
