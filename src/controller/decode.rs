//! Decodes only the needed parts of the connections that the API server sends.
//!
//! Most of an object is `metadata.managedFields`, which the operator does not need. serde skips it, the labels and the
//! annotations of other programs. A specification that does not match the schema is read as none, so it does not stop
//! the others. A status that does not match is read as none too, and written again.

use std::{borrow::Cow, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, core::NamespaceResourceScope};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::connection::Connection;
use crate::{
    api::connection::ScimBridgeConnection,
    cluster::metadata::{Trimmed, addressed_as},
};

/// A connection whose `spec` and `status` are not decoded yet. Usually only the version is needed: most watch events
/// are echoes of this process's own writes.
///
/// In a watch event, this works only because the type comes before the object. The order comes from the fields of the
/// API server's `metav1.WatchEvent`.
#[derive(Clone)]
pub(super) struct RawConnection {
    pub(super) metadata: ObjectMeta,
    spec: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct ConnectionParts {
    #[serde(default)]
    metadata: Trimmed,
    spec: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
}

impl From<RawConnection> for Connection {
    fn from(raw: RawConnection) -> Self {
        let RawConnection {
            metadata,
            spec,
            status,
        } = raw;
        Self::new(metadata, decoded(spec.as_deref()), decoded(status.as_deref()))
    }
}

/// `None` if it is absent, null, or does not match the schema.
fn decoded<T: DeserializeOwned>(raw: Option<&RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

impl<'de> Deserialize<'de> for RawConnection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ConnectionParts {
            metadata,
            spec,
            status,
        } = ConnectionParts::deserialize(deserializer)?;
        Ok(Self {
            metadata: metadata.into(),
            spec,
            status,
        })
    }
}

impl fmt::Debug for RawConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawConnection(..)")
    }
}

impl Resource for RawConnection {
    addressed_as!(ScimBridgeConnection);

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::REQUESTED_AT_ANNOTATION;

    fn decode(json: &str) -> Connection {
        serde_json::from_str::<RawConnection>(json).unwrap().into()
    }

    const METADATA: &str = r#""apiVersion":"scimbridge.dev/v1alpha1","kind":"ScimBridgeConnection","metadata":{"name":"a",
        "namespace":"n","uid":"u","generation":2,"resourceVersion":"7","labels":{"x":"y"},
        "managedFields":[{"fieldsV1":{"f:spec":{"f:url":{}}}}],
        "annotations":{"other":"x","reconcile.fluxcd.io/requestedAt":"now"}}"#;

    #[test]
    fn only_the_needed_parts_are_decoded() {
        let connection = decode(&format!(
            r#"{{{METADATA},"spec":{{"url":"https://a.example","apiKeySecretRef":{{"name":"s"}}}},"status":{{"observedGeneration":1}}}}"#
        ));
        let ObjectMeta {
            name,
            uid,
            generation,
            labels,
            managed_fields,
            annotations,
            ..
        } = connection.metadata;
        assert_eq!(
            (name.as_deref(), uid.as_deref(), generation),
            (Some("a"), Some("u"), Some(2))
        );
        assert_eq!((labels, managed_fields), (None, None));
        let requested = [(REQUESTED_AT_ANNOTATION.to_owned(), "now".to_owned())];
        assert_eq!(annotations, Some(requested.into()));
        assert_eq!(connection.spec.unwrap().url, "https://a.example");
        assert_eq!(connection.status.observed_generation, 1);
    }

    #[test]
    fn each_part_that_does_not_match_the_schema_is_none() {
        const SPEC: &str = r#"{"url":"https://a.example","apiKeySecretRef":{"name":"s"}}"#;
        const STATUS: &str = r#"{"observedGeneration":2}"#;
        for (spec, status, has_spec, generation) in [
            ("null", STATUS, false, 2),
            ("[]", STATUS, false, 2),
            (r#"{"url":7,"apiKeySecretRef":{"name":"s"}}"#, STATUS, false, 2),
            (SPEC, r#"{"observedGeneration":"x"}"#, true, -1),
            (SPEC, "[]", true, -1),
            ("7", "7", false, -1),
            (SPEC, STATUS, true, 2),
        ] {
            let connection = decode(&format!(r#"{{{METADATA},"spec":{spec},"status":{status}}}"#));
            assert_eq!(connection.metadata.name.as_deref(), Some("a"), "{spec} {status}");
            assert_eq!(connection.spec.is_some(), has_spec, "{spec} {status}");
            assert_eq!(
                connection.status.observed_generation, generation,
                "{spec} {status}"
            );
        }
        let bare = decode(&format!("{{{METADATA}}}"));
        assert_eq!((bare.spec.is_none(), bare.status.observed_generation), (true, -1));
    }

    #[test]
    fn an_object_without_a_status_has_observed_generation_minus_one() {
        for status in ["", r#","status":null"#] {
            let connection = decode(&format!(
                r#"{{{METADATA},"spec":{{"url":"https://a.example","apiKeySecretRef":{{"name":"s"}}}}{status}}}"#
            ));
            assert_eq!(connection.status.observed_generation, -1);
            assert!(connection.spec.is_some());
        }
    }

    #[test]
    fn a_version_that_does_not_match_the_schema_is_none() {
        for credential in [
            "{}",
            "null",
            r#"{"secretUid":"u","secretResourceVersion":"1"}"#,
            r#"{"uid":7}"#,
        ] {
            let connection = decode(&format!(
                r#"{{{METADATA},"spec":{{"url":"https://a.example","apiKeySecretRef":{{"name":"s"}}}},"status":{{"observedGeneration":1,"credential":{credential}}}}}"#
            ));
            assert_eq!(connection.status.observed_generation, 1, "{credential}");
            assert_eq!(connection.status.credential, None, "{credential}");
        }
    }
}
