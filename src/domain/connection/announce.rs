//! What is worth an event: two statuses to announcements.
//!
//! An event is for people: it says that something has changed, or has a new cause. So it is derived from the status
//! that stood and the one that was written in its place, and from nothing else. A probe that finds what was found
//! before changes neither, and a verdict that is told again after a restart is compared with the one in the status.
//!
//! What is absent from a status because it could not be seen is no reason: a bridge that does not answer has not become
//! healthy, and has not renewed its certificate.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    conditions::{class_of, find, reason_of},
    evidence::Component,
    status::unlocked,
};
use crate::api::{
    connection::{ComponentState, ScimBridgeConnectionStatus},
    role::Role,
    vocabulary::{Class, ConditionType, EventType, Layer, Reason, Truth},
};

/// Something that people should hear of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Announcement {
    /// How it is meant.
    pub type_: EventType,
    /// What has happened.
    pub reason: EventReason,
    /// What the operator did when it found out.
    pub action: EventAction,
    /// The message of the condition, or one sentence: a template, as every message of a status is.
    pub note: String,
    /// What it is about, beside the connection.
    pub related: Option<Role>,
}

/// The reason of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventReason {
    /// `Ready` has become this, or the next key has been found unusable for this reason.
    Verdict(Reason),
    /// A component that was not reported as such before is not healthy.
    ComponentUnhealthy,
    /// All components are healthy again.
    ComponentsHealthy,
    /// The certificate ends soon.
    CertificateExpiring,
    /// The certificate was renewed in time.
    CertificateRenewed,
    /// The bridge accepts the next key.
    KeyAccepted,
    /// The bridge refuses the next key.
    KeyRefused,
    /// The bridge was locked after a restart, and the probe has unlocked it.
    BridgeUnlocked,
}

/// The action of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventAction {
    /// Reading the specification and what it names.
    Resolve,
    /// Asking the bridge.
    Probe,
    /// Asking the bridge what it thinks of the next key.
    Rehearse,
    /// Giving a restarted bridge its key.
    Unlock,
}

/// What is worth telling of a status that took the place of another.
#[must_use]
pub fn announcements(
    before: &ScimBridgeConnectionStatus,
    after: &ScimBridgeConnectionStatus,
) -> Vec<Announcement> {
    // In the order in which it happened: unlocked, judged, and what was seen beside the verdict.
    [
        unlocked(before, after).then(Announcement::unlocked),
        readiness(before, after),
        components(before, after),
        certificate(before, after),
        rehearsal(before, after),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn readiness(
    before: &ScimBridgeConnectionStatus,
    after: &ScimBridgeConnectionStatus,
) -> Option<Announcement> {
    let ready = find(&after.conditions, ConditionType::Ready)?;
    let reason = reason_of(&after.conditions)?;
    let known = find(&before.conditions, ConditionType::Ready);
    // The message of these two tells what is wrong on this side of the wire. Of all others it tells where it was seen,
    // which a bridge may change with each answer.
    let is_cause = matches!(reason, Reason::InvalidSpec | Reason::Progressing);
    let is_same = |known: &Condition| {
        known.status == ready.status
            && known.reason == ready.reason
            && (!is_cause || known.message == ready.message)
    };
    if known.is_some_and(is_same) {
        return None;
    }
    // A connection that works from its first verdict on is as somebody has just asked for it: nothing has changed, and
    // a thousand of them in one commit are no thousand events.
    let class = class_of(&after.conditions);
    if before.observed_generation < 0 && class == Class::Ok && known.is_none_or(is_pending) {
        return None;
    }
    let hindered = reason == Reason::Progressing && ready.message != reason.message();
    Some(Announcement {
        type_: if hindered {
            EventType::Warning
        } else {
            event_type_of(class)
        },
        reason: EventReason::Verdict(reason),
        action: if hindered {
            EventAction::Resolve
        } else {
            action_of(reason)
        },
        note: ready.message.clone(),
        related: reason.about(),
    })
}

/// Whether nothing was proven yet, and nothing hindered that.
fn is_pending(ready: &Condition) -> bool {
    ready.reason == Reason::Progressing.as_str() && ready.message == Reason::Progressing.message()
}

fn components(
    before: &ScimBridgeConnectionStatus,
    after: &ScimBridgeConnectionStatus,
) -> Option<Announcement> {
    let (ill_before, ill) = (unhealthy(before), unhealthy(after));
    if ill.iter().any(|component| !ill_before.contains(component)) {
        let degraded = find(&after.conditions, ConditionType::Degraded)?;
        return Some(Announcement::of_probe(
            EventType::Warning,
            EventReason::ComponentUnhealthy,
            &degraded.message,
        ));
    }
    let reported: Vec<&str> = names(after, |_| true);
    // One that is not reported any more has not recovered.
    let recovered =
        !ill_before.is_empty() && ill.is_empty() && ill_before.iter().all(|c| reported.contains(c));
    recovered.then(|| {
        let note = "Every component that the bridge reports is healthy again.";
        Announcement::of_probe(EventType::Normal, EventReason::ComponentsHealthy, note)
    })
}

fn unhealthy(status: &ScimBridgeConnectionStatus) -> Vec<&str> {
    names(status, |state| state != ComponentState::Healthy)
}

fn names(status: &ScimBridgeConnectionStatus, fits: impl Fn(ComponentState) -> bool) -> Vec<&str> {
    let components = status.bridge.iter().flat_map(|bridge| &bridge.components);
    components
        .filter(|component| fits(component.state))
        .map(|component| Component::parse(&component.name).as_str())
        .collect()
}

fn certificate(
    before: &ScimBridgeConnectionStatus,
    after: &ScimBridgeConnectionStatus,
) -> Option<Announcement> {
    let expiring = |status: &ScimBridgeConnectionStatus| {
        find(&status.conditions, ConditionType::CertificateExpiring).cloned()
    };
    match (expiring(before), expiring(after)) {
        (None, Some(condition)) => Some(Announcement::of_probe(
            EventType::Warning,
            EventReason::CertificateExpiring,
            &condition.message,
        )),
        (Some(_), None) => {
            let end = |status: &ScimBridgeConnectionStatus| Some(status.certificate.as_ref()?.not_after.0);
            // It is not renewed because a clock was set back.
            (end(after)? > end(before)?).then(|| {
                let note = "The bridge has a new certificate: see status.certificate.notAfter.";
                Announcement::of_probe(EventType::Normal, EventReason::CertificateRenewed, note)
            })
        }
        (Some(_), Some(_)) | (None, None) => None,
    }
}

fn rehearsal(
    before: &ScimBridgeConnectionStatus,
    after: &ScimBridgeConnectionStatus,
) -> Option<Announcement> {
    let tried = find(&after.conditions, ConditionType::NextApiKeyValid)?;
    let known = find(&before.conditions, ConditionType::NextApiKeyValid);
    if known.is_some_and(|known| known.status == tried.status && known.reason == tried.reason) {
        return None;
    }
    let is = |truth: Truth| tried.status == truth.as_str();
    let (type_, reason) = if is(Truth::True) {
        (EventType::Normal, EventReason::KeyAccepted)
    } else if is(Truth::False) {
        let unusable = Reason::parse(&tried.reason).map(EventReason::Verdict);
        (EventType::Warning, unusable.unwrap_or(EventReason::KeyRefused))
    } else {
        // Nobody has said anything about the key.
        return None;
    };
    Some(Announcement {
        type_,
        reason,
        action: EventAction::Rehearse,
        note: tried.message.clone(),
        related: Some(Role::NextCredential),
    })
}

const fn event_type_of(class: Class) -> EventType {
    match class {
        Class::Ok | Class::Pending => EventType::Normal,
        Class::Action | Class::Transient => EventType::Warning,
    }
}

/// What the operator did when it found this reason.
fn action_of(reason: Reason) -> EventAction {
    match reason.layer() {
        Some(Layer::Settings | Layer::Address) => EventAction::Resolve,
        _ => EventAction::Probe,
    }
}

// === impl Announcement ===

impl Announcement {
    fn of_probe(type_: EventType, reason: EventReason, note: &str) -> Self {
        Self {
            type_,
            reason,
            action: EventAction::Probe,
            note: note.to_owned(),
            related: None,
        }
    }

    fn unlocked() -> Self {
        Self {
            type_: EventType::Normal,
            reason: EventReason::BridgeUnlocked,
            action: EventAction::Unlock,
            note: "The bridge was waiting for its key after a restart; the probe has unlocked it.".to_owned(),
            related: None,
        }
    }
}

// === impl EventAction ===

impl EventAction {
    /// Its name in an event.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "Resolve",
            Self::Probe => "Probe",
            Self::Rehearse => "Rehearse",
            Self::Unlock => "Unlock",
        }
    }
}

// === impl EventReason ===

impl EventReason {
    /// Its name in an event.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verdict(reason) => reason.as_str(),
            Self::ComponentUnhealthy => "ComponentUnhealthy",
            Self::ComponentsHealthy => "ComponentsHealthy",
            Self::CertificateExpiring => "CertificateExpiring",
            Self::CertificateRenewed => "CertificateRenewed",
            Self::KeyAccepted => "KeyAccepted",
            Self::KeyRefused => "KeyRefused",
            Self::BridgeUnlocked => "BridgeUnlocked",
        }
    }
}
