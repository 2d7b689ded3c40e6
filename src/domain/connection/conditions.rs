//! Verdict to `status.conditions`.
//!
//! This file keeps these conventions. `lastTransitionTime` changes only with `status`, in whole seconds. Every condition
//! carries the generation that it is about. Abnormal conditions are present only while true. At most one of
//! `Reconciling` and `Stalled` is present. `Ready` is never removed. Sources:
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
    connection::ComponentState,
    vocabulary::{Class, ConditionType, Reason, Truth},
};

/// How long a missing Secret or CA object may still arrive: GitOps tools apply objects in any order.
pub const MISSING_GRACE: Duration = Duration::from_secs(30);

/// A certificate that ends within this time gets condition `CertificateExpiring`.
pub const CERTIFICATE_WARNING: Duration = Duration::from_hours(21 * 24);

/// A condition without its generation and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::domain) struct Draft {
    pub(in crate::domain) type_: ConditionType,
    pub(in crate::domain) status: Truth,
    pub(in crate::domain) reason: &'static str,
    pub(in crate::domain) message: String,
}

/// Everything beside the verdict that the conditions depend on.
#[derive(Clone, Copy, Debug)]
pub struct ConditionInputs<'a> {
    /// The bridge's health report, if it gave one.
    pub health: Option<&'a HealthReport>,
    /// The bridge's certificate, if the operator verified one.
    pub certificate: Option<&'a Certificate>,
    /// The result of the rehearsal of the next key, if the specification names one.
    pub next_key: Option<KeyTrial>,
    /// The generation that was probed.
    pub generation: i64,
    /// The time of the verdict.
    pub now: Timestamp,
}

/// The conditions for `verdict`, in the order of [`ConditionType::ALL`], each type at most once.
#[must_use]
pub fn conditions(previous: &[Condition], verdict: &Verdict, inputs: &ConditionInputs<'_>) -> Vec<Condition> {
    let ConditionInputs {
        health,
        certificate,
        next_key,
        generation,
        now,
    } = *inputs;
    let reason = verdict.reason;
    let mut drafts = vec![Draft {
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
        drafts.push(Draft {
            type_,
            status,
            reason: reason.as_str(),
            message: reason.message().to_owned(),
        });
    }
    drafts.extend(health.and_then(degraded));
    drafts.extend(certificate.and_then(|certificate| expiring(certificate, now)));
    drafts.extend(next_key.map(rehearsed));
    drafts.extend(progress(previous, verdict, now));
    drafts
        .into_iter()
        .map(|draft| draft.into_condition(previous, generation, now))
        .collect()
}

/// The condition of this type, if there is one.
#[must_use]
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == type_.as_str())
}

/// The reason of `Ready`. `None` if this version does not know it.
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

/// When the grace of a missing object ends. `None` outside of a grace.
#[must_use]
pub fn grace_end(conditions: &[Condition]) -> Option<Timestamp> {
    let since = find(conditions, ConditionType::Reconciling)?
        .last_transition_time
        .0;
    reason_of(conditions)
        .filter(|reason| may_be_on_its_way(*reason))
        // A status may hold any time, and the addition must not overflow.
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

/// Whether the next object of the same apply may resolve this reason.
const fn may_be_on_its_way(reason: Reason) -> bool {
    matches!(reason, Reason::SecretNotFound | Reason::CaNotFound)
}

/// `Reconciling` or `Stalled`, as kstatus defines them. Neither is present while all is well: a routine check must not
/// trigger a pipeline.
fn progress(previous: &[Condition], verdict: &Verdict, now: Timestamp) -> Option<Draft> {
    let reason = verdict.reason;
    let reconciling = |reason: &'static str| Draft {
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
            // The grace begins with the reconcile that first finds the object missing.
            let in_grace = may_be_on_its_way(reason)
                && if reason_of(previous) == Some(reason) {
                    grace_end(previous).is_some_and(|end| now < end)
                } else {
                    true
                };
            Some(if in_grace {
                reconciling("ProgressingWithRetry")
            } else {
                Draft {
                    type_: ConditionType::Stalled,
                    status: Truth::True,
                    reason: reason.as_str(),
                    message: reason.message().to_owned(),
                }
            })
        }
    }
}

fn degraded(health: &HealthReport) -> Option<Draft> {
    let unhealthy: Vec<&str> = health
        .components
        .iter()
        .filter(|(_, state)| *state != ComponentState::Healthy)
        .map(|(component, _)| Component::as_str(*component))
        .collect();
    (!unhealthy.is_empty()).then(|| Draft {
        type_: ConditionType::Degraded,
        status: Truth::True,
        reason: "ComponentUnhealthy",
        message: format!(
            "These components are not healthy, or their report is out of date: {}.",
            unhealthy.join(", ")
        ),
    })
}

fn expiring(certificate: &Certificate, now: Timestamp) -> Option<Draft> {
    (certificate.not_after < now + CERTIFICATE_WARNING).then(|| Draft {
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

fn rehearsed(trial: KeyTrial) -> Draft {
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
        KeyTrial::Unusable(blocker) => {
            let detail = blocker.detail().map(|detail| format!(" ({detail})"));
            (
                Truth::False,
                blocker.reason().as_str(),
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
    Draft {
        type_: ConditionType::NextApiKeyValid,
        status,
        reason,
        message,
    }
}

// === impl Draft ===

impl Draft {
    /// The condition. Its `lastTransitionTime` is that of `previous` unless its status changes.
    pub(in crate::domain) fn into_condition(
        self,
        previous: &[Condition],
        generation: i64,
        now: Timestamp,
    ) -> Condition {
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

/// Times in a status have whole seconds, because the API server returns them so.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}
