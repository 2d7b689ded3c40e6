//! Connections, as the API server sends them.

use super::connection::Connection;
use crate::{
    api::{
        connection::{ScimBridgeConnection, ScimBridgeConnectionStatus},
        vocabulary::ConditionType,
    },
    cluster::object::RawObject,
};

/// A connection that is not decoded yet.
pub(super) type RawConnection = RawObject<ScimBridgeConnection>;

/// Whether the status says something about a directory. Only provisioning writes that part.
pub(super) fn has_directory_status(raw: &RawConnection) -> bool {
    raw.status::<ScimBridgeConnectionStatus>().is_some_and(|status| {
        status.provisioning.is_some()
            || status
                .conditions
                .iter()
                .any(|condition| ConditionType::is_of_provisioning(&condition.type_))
    })
}

impl From<RawConnection> for Connection {
    fn from(raw: RawConnection) -> Self {
        let (spec, status) = (raw.spec(), raw.status());
        Self::new(raw.metadata, spec, status)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

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
