//! Announce: records events for people. They name objects, never the users and groups of a bridge.

use k8s_openapi::api::core::v1::ObjectReference;

use super::declared::{DirectoryKind, ready_reason};
use crate::{
    api::{
        connection::ScimBridgeConnection,
        directory::Reason,
        vocabulary::{Class, EventType},
    },
    cluster::key::Key,
    domain::directory::status::DirectoryReport,
    report::events::{EventRecorder, Occurrence},
};

/// What the operator was doing, in events.
const ACTION: &str = "Planning";

fn regarding<K: kube::Resource<DynamicType = ()>>(namespace: &str, name: &str, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

/// Records an event for an object whose `Ready` has another reason now. Planned changes have none: they may be
/// thousands, and the connection has one event for all of them.
pub(super) fn announce_object<K: DirectoryKind>(
    recorder: &EventRecorder,
    namespace: &str,
    name: &str,
    uid: &str,
    before: &K::Status,
    after: &K::Status,
) {
    let reason_of = |status: &K::Status| ready_reason(K::parts(status).1).and_then(Reason::parse);
    let (before, after) = (reason_of(before), reason_of(after));
    let Some(reason) = after.filter(|_| before != after) else {
        return;
    };
    let is_trouble = |reason: Reason| {
        reason.class() == Class::Action && !matches!(reason, Reason::ChangePlanned | Reason::Held)
    };
    let type_ = if is_trouble(reason) {
        EventType::Warning
    } else if reason.class() == Class::Ok && before.is_some_and(is_trouble) {
        EventType::Normal
    } else {
        return;
    };
    let occurrence = Occurrence {
        type_,
        reason: reason.as_str(),
        action: ACTION,
        note: [reason.message(), reason.action()]
            .join(" ")
            .trim_end()
            .to_owned(),
        related: None,
    };
    recorder.record(&regarding::<K>(namespace, name, uid), occurrence);
}

/// Records an event for each change of what a connection says about its directory.
pub(super) fn announce_directory(
    recorder: &EventRecorder,
    key: &Key,
    uid: &str,
    before: Option<&DirectoryReport>,
    after: &DirectoryReport,
    summary: &str,
) {
    let (namespace, name) = key.names();
    let record = |type_, reason, note: String| {
        let occurrence = Occurrence {
            type_,
            reason,
            action: ACTION,
            note,
            related: None,
        };
        recorder.record(
            &regarding::<ScimBridgeConnection>(namespace, name, uid),
            occurrence,
        );
    };
    let was_incomplete = before.and_then(|before| before.incomplete.as_ref());
    match (was_incomplete, &after.incomplete) {
        (None, Some((_, message))) => record(EventType::Warning, "DirectoryIncomplete", message.clone()),
        (Some(_), None) => record(
            EventType::Normal,
            "DirectoryComplete",
            "The operator knows all users and groups of this directory again.".to_owned(),
        ),
        (None, None) | (Some(_), Some(_)) => {}
    }
    // After a restart nobody knows whether the plan was announced.
    if let Some(before) = before
        && before.pending != after.pending
    {
        let is_held = after.pending.iter().any(|pending| pending.held);
        let (type_, reason) = if is_held {
            (EventType::Warning, "ChangesHeld")
        } else {
            (EventType::Normal, "PlanChanged")
        };
        record(type_, reason, format!("The plan changed: {summary}."));
    }
}
