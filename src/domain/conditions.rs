//! Verdict to `status.conditions`.
//!
//! Conventions held here: `lastTransitionTime` moves only with `status` and in whole seconds; every condition carries
//! the generation it is about; abnormal conditions are present only while true; at most one of `Reconciling` and
//! `Stalled`; `Ready` is never removed. Sources:
//! <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties>
//! and kstatus, <https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md>.

use std::time::Duration;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::{
    evidence::{Certificate, Component, HealthReport, KeyTrial, Member},
    verdict::Verdict,
};
use crate::api::{
    v1alpha1::ComponentState,
    vocabulary::{Class, ConditionType, Reason, Truth},
};

/// How long a missing Secret or CA object counts as on its way: GitOps tools apply objects in any order.
pub const MISSING_GRACE: Duration = Duration::from_secs(30);

/// A certificate that ends within this time is worth a condition.
pub const CERTIFICATE_WARNING: Duration = Duration::from_hours(21 * 24);

/// What a condition is about to say.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    type_: ConditionType,
    status: Truth,
    reason: &'static str,
    message: String,
}

/// What the conditions are derived from, beside the verdict.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The report of the bridge's components, where there is one.
    pub health: Option<&'a HealthReport>,
    /// The bridge's certificate, where one was verified.
    pub certificate: Option<&'a Certificate>,
    /// The rehearsal of the next key, where one is asked for.
    pub next_key: Option<KeyTrial>,
    /// The generation that was probed.
    pub generation: i64,
    /// The time of the verdict.
    pub now: Timestamp,
}

/// The conditions that say `verdict`, in the order of [`ConditionType::ALL`], each type at most once.
#[must_use]
pub fn conditions(
    previous: &[Condition],
    verdict: &Verdict,
    circumstances: &Circumstances<'_>,
) -> Vec<Condition> {
    let Circumstances {
        health,
        certificate,
        next_key,
        generation,
        now,
    } = *circumstances;
    let reason = verdict.reason;
    let mut findings = vec![Finding {
        type_: ConditionType::Ready,
        status: readiness(verdict.class),
        reason: reason.as_str(),
        message: verdict.message(),
    }];
    for (type_, status) in [
        (ConditionType::Connected, verdict.connected),
        (ConditionType::AuthFailed, verdict.auth_failed),
        (ConditionType::ScimDisabled, verdict.scim_disabled),
    ] {
        findings.push(Finding {
            type_,
            status,
            reason: reason.as_str(),
            message: reason.message().to_owned(),
        });
    }
    findings.extend(health.and_then(degraded));
    findings.extend(certificate.and_then(|certificate| expiring(certificate, now)));
    findings.extend(next_key.map(rehearsed));
    findings.extend(progress(previous, verdict, now));
    findings
        .into_iter()
        .map(|finding| finding.into_condition(previous, generation, now))
        .collect()
}

/// The condition of this type, where there is one.
#[must_use]
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == type_.as_str())
}

/// The reason of `Ready`, where it is one that this version knows.
#[must_use]
pub fn reason_of(conditions: &[Condition]) -> Option<Reason> {
    find(conditions, ConditionType::Ready).and_then(|ready| Reason::parse(&ready.reason))
}

/// The class of the verdict that these conditions report.
#[must_use]
pub fn class_of(conditions: &[Condition]) -> Class {
    let is =
        |type_, status: Truth| find(conditions, type_).is_some_and(|found| found.status == status.as_str());
    if is(ConditionType::Ready, Truth::True) {
        Class::Ok
    } else if !is(ConditionType::Ready, Truth::False) {
        Class::Pending
    } else if is(ConditionType::Reconciling, Truth::True)
        && !reason_of(conditions).is_some_and(may_be_on_its_way)
    {
        Class::Transient
    } else {
        Class::Action
    }
}

/// When the grace of a missing object ends, where it still runs.
#[must_use]
pub fn grace_end(conditions: &[Condition]) -> Option<Timestamp> {
    let since = find(conditions, ConditionType::Reconciling)?
        .last_transition_time
        .0;
    reason_of(conditions)
        .filter(|reason| may_be_on_its_way(*reason))
        // A status may hold any time; one at the end of all times has none after it.
        .map(|_| since.checked_add(MISSING_GRACE).unwrap_or(Timestamp::MAX))
}

/// The status of `Ready` for a verdict of this class.
#[must_use]
pub const fn readiness(class: Class) -> Truth {
    match class {
        Class::Ok => Truth::True,
        Class::Action | Class::Transient => Truth::False,
        Class::Pending => Truth::Unknown,
    }
}

/// Reasons that the next object of the same apply may resolve.
const fn may_be_on_its_way(reason: Reason) -> bool {
    matches!(reason, Reason::SecretNotFound | Reason::CaNotFound)
}

/// `Reconciling` or `Stalled`, as kstatus wants them: neither while all is well, so that a routine check is no event
/// for a pipeline.
fn progress(previous: &[Condition], verdict: &Verdict, now: Timestamp) -> Option<Finding> {
    let reason = verdict.reason;
    let reconciling = |reason: &'static str| Finding {
        type_: ConditionType::Reconciling,
        status: Truth::True,
        reason,
        message: verdict.reason.message().to_owned(),
    };
    match verdict.class {
        Class::Ok => None,
        Class::Pending => Some(reconciling("Progressing")),
        Class::Transient => Some(reconciling("ProgressingWithRetry")),
        Class::Action => {
            // The grace begins with the pass that first finds the object missing.
            let in_grace = may_be_on_its_way(reason)
                && if reason_of(previous) == Some(reason) {
                    grace_end(previous).is_some_and(|end| now < end)
                } else {
                    true
                };
            Some(if in_grace {
                reconciling("ProgressingWithRetry")
            } else {
                Finding {
                    type_: ConditionType::Stalled,
                    status: Truth::True,
                    reason: reason.as_str(),
                    message: reason.message().to_owned(),
                }
            })
        }
    }
}

fn degraded(health: &HealthReport) -> Option<Finding> {
    let unhealthy: Vec<&str> = health
        .components
        .iter()
        .filter(|(_, state)| *state != ComponentState::Healthy)
        .map(|(component, _)| Component::as_str(*component))
        .collect();
    (!unhealthy.is_empty()).then(|| Finding {
        type_: ConditionType::Degraded,
        status: Truth::True,
        reason: "ComponentUnhealthy",
        message: format!(
            "Not healthy, or with a report out of date: {}.",
            unhealthy.join(", ")
        ),
    })
}

fn expiring(certificate: &Certificate, now: Timestamp) -> Option<Finding> {
    (certificate.not_after < now + CERTIFICATE_WARNING).then(|| Finding {
        type_: ConditionType::CertificateExpiring,
        status: Truth::True,
        reason: "CertificateExpiring",
        message: match certificate.ends {
            Member::Server => "The bridge's certificate expires within 21 days: see status.certificate.notAfter.",
            Member::Intermediate => {
                "An intermediate certificate of the bridge expires within 21 days: see status.certificate.notAfter."
            }
            Member::Authority => {
                "The authority's certificate in spec.tls.caRef expires within 21 days: see status.certificate.notAfter."
            }
        }
        .to_owned(),
    })
}

fn rehearsed(trial: KeyTrial) -> Finding {
    let (status, reason, message) = match trial {
        KeyTrial::Accepted => (
            Truth::True,
            "KeyAccepted",
            "The bridge accepts the next key.".to_owned(),
        ),
        KeyTrial::Refused => (
            Truth::False,
            "KeyRefused",
            "The bridge, or a gateway that answers like it, refuses the next key.".to_owned(),
        ),
        KeyTrial::Unusable(obstacle) => {
            let detail = obstacle.detail().map(|detail| format!(" ({detail})"));
            (
                Truth::False,
                obstacle.reason().as_str(),
                format!(
                    "spec.nextApiKeySecretRef does not lead to a usable key{}.",
                    detail.unwrap_or_default()
                ),
            )
        }
        KeyTrial::Undecided => (
            Truth::Unknown,
            "Undecided",
            "The answers do not show whether the bridge accepts the next key.".to_owned(),
        ),
    };
    Finding {
        type_: ConditionType::NextApiKeyValid,
        status,
        reason,
        message,
    }
}

// === impl Finding ===

impl Finding {
    fn into_condition(self, previous: &[Condition], generation: i64, now: Timestamp) -> Condition {
        let Self {
            type_,
            status,
            reason,
            message,
        } = self;
        let last_transition_time = find(previous, type_)
            .filter(|before| before.status == status.as_str())
            .map_or_else(
                || whole_seconds(now),
                |before| before.last_transition_time.clone(),
            );
        Condition {
            type_: type_.as_str().to_owned(),
            status: status.as_str().to_owned(),
            observed_generation: Some(generation),
            last_transition_time,
            reason: reason.to_owned(),
            message,
        }
    }
}

/// Times in a status have whole seconds: that is what the API server gives back.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}
