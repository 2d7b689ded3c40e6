//! Announce: records an event for each change that a status write made.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;

use super::connection::Connection;
use crate::{
    api::{
        connection::{ObjectVersion, ScimBridgeConnection, ScimBridgeConnectionStatus},
        role::Role,
    },
    cluster::key::Key,
    domain::connection::{
        announce::{Announcement, announcements},
        status::versions,
    },
    report::events::{EventRecorder, Occurrence},
    resolve::reference::{Reference, ReferenceKind},
};

/// Records an event for each difference between the status before and the written one.
pub(super) fn announce(
    recorder: &EventRecorder,
    key: &Key,
    before: &ScimBridgeConnectionStatus,
    written: &Connection,
) {
    for announcement in announcements(before, &written.status) {
        let Announcement {
            type_,
            reason,
            action,
            note,
            related,
        } = announcement;
        let occurrence = Occurrence {
            type_,
            reason: reason.as_str(),
            action: action.as_str(),
            note,
            related: related.and_then(|role| related_object(key, written, role)),
        };
        recorder.record(&regarding(key, written), occurrence);
    }
}

fn regarding(key: &Key, written: &Connection) -> ObjectReference {
    ObjectReference {
        api_version: Some(ScimBridgeConnection::api_version(&()).into_owned()),
        kind: Some(ScimBridgeConnection::kind(&()).into_owned()),
        namespace: Some(key.namespace.to_string()),
        name: Some(key.name.to_string()),
        uid: written.metadata.uid.clone(),
        resource_version: written.metadata.resource_version.clone(),
        field_path: None,
    }
}

/// The referenced object in this role, in the version that the verdict is about.
fn related_object(key: &Key, written: &Connection, role: Role) -> Option<ObjectReference> {
    let references = written.references(&key.namespace);
    let Reference {
        kind,
        namespace,
        name,
    } = references.get(role).as_ref()?;
    let kind = match kind {
        ReferenceKind::Secret => "Secret",
        ReferenceKind::ConfigMap => "ConfigMap",
    };
    let (uid, resource_version) = versions(&written.status)
        .get(role)
        .clone()
        .map(
            |ObjectVersion {
                 uid,
                 resource_version,
             }| (uid, resource_version),
        )
        .unzip();
    Some(ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some(kind.to_owned()),
        namespace: Some(namespace.to_string()),
        name: Some(name.to_string()),
        uid,
        resource_version,
        field_path: None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
    use serde_json::json;

    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    /// A status with only the condition `Ready`.
    fn status(ready: &str, reason: &str) -> ScimBridgeConnectionStatus {
        ScimBridgeConnectionStatus {
            conditions: vec![Condition {
                type_: "Ready".to_owned(),
                status: ready.to_owned(),
                reason: reason.to_owned(),
                message: format!("It is {reason}."),
                last_transition_time: Time(SystemClock.now()),
                observed_generation: None,
            }],
            ..ScimBridgeConnectionStatus::default()
        }
    }

    #[test]
    fn an_event_names_the_connection_and_the_secret() {
        let (recorder, mut queue) = EventRecorder::new(3, Arc::new(SystemClock), Arc::default(), "one");
        let spec = json!({"url": "https://scim.example.com", "apiKeySecretRef": {"name": "key"}});
        let written = Connection {
            metadata: ObjectMeta {
                uid: Some("9f0c".to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(serde_json::from_value(spec).unwrap()),
            status: status("False", "AuthFailed"),
        };
        let key = Key::new("a", "corp");
        announce(&recorder, &key, &status("True", "Connected"), &written);
        let event = queue.try_recv().unwrap();
        let (regarding, related) = (event.regarding.unwrap(), event.related.unwrap());
        assert_eq!(
            (
                regarding.kind.as_deref(),
                regarding.name.as_deref(),
                regarding.uid.as_deref()
            ),
            (Some("ScimBridgeConnection"), Some("corp"), Some("9f0c"))
        );
        assert_eq!(
            (related.kind.as_deref(), related.name.as_deref()),
            (Some("Secret"), Some("key"))
        );
    }
}
