//! Two statuses to events.
//!
//! Events are for people: each reports a change, or a new cause. They come only from the previous status and the one that
//! replaced it. So a repeated result makes no event, not even after a restart.
//!
//! A field that is absent because the bridge did not answer is no change: such a bridge has not become healthy, and has
//! not renewed its certificate.

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

/// An event to publish.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Announcement {
    /// Normal or Warning.
    pub type_: EventType,
    /// What happened.
    pub reason: EventReason,
    /// What the operator was doing.
    pub action: EventAction,
    /// The message of the condition, or one sentence. Like every message it is a template, without text of a server.
    pub note: String,
    /// The referenced object that the event is about, if any.
    pub related: Option<Role>,
}

/// The reason of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventReason {
    /// `Ready` now has this reason, or the next key is unusable for this reason.
    Verdict(Reason),
    /// A component is not healthy that was healthy, or unknown, before.
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
    /// The bridge was locked after a restart, and the probe unlocked it.
    BridgeUnlocked,
}

/// The action of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventAction {
    /// Reading the specification and the objects that it references.
    Resolve,
    /// Probing the bridge.
    Probe,
    /// Trying the next key at the bridge.
    Rehearse,
    /// Sending a restarted bridge its key.
    Unlock,
}

/// The events for a status that replaced another.
#[must_use]
pub fn announcements(
    before: &ScimBridgeConnectionStatus,
    after: &ScimBridgeConnectionStatus,
) -> Vec<Announcement> {
    // In the order of the probe: the unlock, the verdict, then everything else.
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
    // For these two reasons a new message is a new fault on this side. For all others the message names a request, which
    // may differ with each answer of the bridge.
    let is_cause = matches!(reason, Reason::InvalidSpec | Reason::Progressing);
    let is_same = |known: &Condition| {
        known.status == ready.status
            && known.reason == ready.reason
            && (!is_cause || known.message == ready.message)
    };
    if known.is_some_and(is_same) {
        return None;
    }
    // A connection that works at its first verdict is just as its owner declared it. A thousand of them in one commit
    // must not make a thousand events.
    let class = class_of(&after.conditions);
    if before.observed_generation < 0 && class == Class::Ok && known.is_none_or(is_pending) {
        return None;
    }
    let has_cause = reason == Reason::Progressing && ready.message != reason.message();
    Some(Announcement {
        type_: if has_cause {
            EventType::Warning
        } else {
            event_type_of(class)
        },
        reason: EventReason::Verdict(reason),
        action: if has_cause {
            EventAction::Resolve
        } else {
            action_of(reason)
        },
        note: ready.message.clone(),
        related: reason.about(),
    })
}

/// Whether the first probe has no result yet, and no cause is known.
fn is_pending(ready: &Condition) -> bool {
    ready.reason == Reason::Progressing.as_str() && ready.message == Reason::Progressing.message()
}

fn components(
    before: &ScimBridgeConnectionStatus,
    after: &ScimBridgeConnectionStatus,
) -> Option<Announcement> {
    let (unhealthy_before, unhealthy) = (unhealthy(before), unhealthy(after));
    if unhealthy
        .iter()
        .any(|component| !unhealthy_before.contains(component))
    {
        let degraded = find(&after.conditions, ConditionType::Degraded)?;
        return Some(Announcement::of_probe(
            EventType::Warning,
            EventReason::ComponentUnhealthy,
            &degraded.message,
        ));
    }
    let reported: Vec<&str> = names(after, |_| true);
    // A component that the bridge no longer reports has not recovered.
    let recovered = !unhealthy_before.is_empty()
        && unhealthy.is_empty()
        && unhealthy_before.iter().all(|c| reported.contains(c));
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
            // The condition also goes away when the clock is set back: that is no renewal.
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
        // No answer says anything about the key.
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

/// What the operator was doing when it found this reason.
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
            note: "The bridge was waiting for its key after a restart. The probe unlocked it.".to_owned(),
            related: None,
        }
    }
}

// === impl EventAction ===

impl EventAction {
    /// The name in an event.
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
    /// The name in an event.
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
