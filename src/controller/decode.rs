//! Objects as the API server sends them, read as far as they are needed.
//!
//! Most of an object is `metadata.managedFields`, a tree of its own, and of no use here: it is skipped while it is read,
//! as are labels, annotations of others, and whatever a Secret's metadata may hold. An object that does not have the form
//! of the resource does not keep others from being read: it is a connection without a specification.

use std::{borrow::Cow, collections::BTreeMap, fmt, marker::PhantomData};

use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{Resource, core::NamespaceResourceScope};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::registry::Connection;
use crate::api::{
    ALLOWED_HOSTS_ANNOTATION, REQUESTED_AT_ANNOTATION,
    v1alpha1::{ScimBridgeConnection, ScimBridgeConnectionSpec, ScimBridgeConnectionStatus},
};

/// A connection, as it is listed, watched and answered. Of most of them no more is needed than the version: they are the
/// echo of what this process has written. An event of a watch can be read so only because its type comes before its
/// object, which the API server's own structure (`metav1.WatchEvent`) sees to.
#[derive(Clone)]
pub(super) struct Decoded {
    pub(super) metadata: ObjectMeta,
    spec: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
}

/// A Secret, as a pass reads it.
#[derive(Clone)]
pub(super) struct Opened(pub(super) Secret);

/// The metadata of an object of kind `K`. Nothing else of it is asked for.
pub(super) struct Metadata<K> {
    pub(super) metadata: ObjectMeta,
    kind: PhantomData<K>,
}

#[derive(Deserialize)]
struct Whole {
    #[serde(default)]
    metadata: Trimmed,
    spec: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    metadata: Trimmed,
}

#[derive(Deserialize)]
struct SecretParts {
    #[serde(default)]
    metadata: SecretMetadata,
    data: Option<BTreeMap<String, ByteString>>,
    #[serde(rename = "type")]
    type_: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct SecretMetadata {
    uid: Option<String>,
    resource_version: Option<String>,
    annotations: Option<SecretAnnotations>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SecretAnnotations {
    #[serde(rename = "scimbridge.dev/allowed-hosts")]
    allowed_hosts: Option<String>,
}

/// Of the metadata what is read here.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Trimmed {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    generation: Option<i64>,
    resource_version: Option<String>,
    deletion_timestamp: Option<Time>,
    annotations: Option<Annotations>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "reconcile.fluxcd.io/requestedAt")]
    requested_at: Option<String>,
}

impl From<Decoded> for Connection {
    fn from(decoded: Decoded) -> Self {
        let Decoded {
            metadata,
            spec,
            status,
        } = decoded;
        let spec = spec.and_then(|spec| serde_json::from_str::<ScimBridgeConnectionSpec>(spec.get()).ok());
        let status = status.map_or(Ok(None), |status| {
            serde_json::from_str::<Option<ScimBridgeConnectionStatus>>(status.get())
        });
        match (spec, status) {
            (Some(spec), Ok(status)) => Self::new(metadata, spec, status),
            (_, _) => metadata.into(),
        }
    }
}

impl<'de> Deserialize<'de> for Decoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Whole {
            metadata,
            spec,
            status,
        } = Whole::deserialize(deserializer)?;
        Ok(Self {
            metadata: metadata.into(),
            spec,
            status,
        })
    }
}

impl fmt::Debug for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decoded(..)")
    }
}

impl<'de> Deserialize<'de> for Opened {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let SecretParts {
            metadata:
                SecretMetadata {
                    uid,
                    resource_version,
                    annotations,
                },
            data,
            type_,
        } = SecretParts::deserialize(deserializer)?;
        let allowed_hosts = annotations.and_then(|annotations| annotations.allowed_hosts);
        Ok(Self(Secret {
            metadata: ObjectMeta {
                uid,
                resource_version,
                annotations: allowed_hosts.map(|hosts| [(ALLOWED_HOSTS_ANNOTATION.to_owned(), hosts)].into()),
                ..ObjectMeta::default()
            },
            data,
            type_,
            ..Secret::default()
        }))
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened(..)")
    }
}

impl<'de, K> Deserialize<'de> for Metadata<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Part { metadata } = Part::deserialize(deserializer)?;
        Ok(Self {
            metadata: metadata.into(),
            kind: PhantomData,
        })
    }
}

impl From<Trimmed> for ObjectMeta {
    fn from(metadata: Trimmed) -> Self {
        let Trimmed {
            name,
            namespace,
            uid,
            generation,
            resource_version,
            deletion_timestamp,
            annotations,
        } = metadata;
        let requested_at = annotations.and_then(|annotations| annotations.requested_at);
        Self {
            name,
            namespace,
            uid,
            generation,
            resource_version,
            deletion_timestamp,
            annotations: requested_at.map(|value| [(REQUESTED_AT_ANNOTATION.to_owned(), value)].into()),
            ..Self::default()
        }
    }
}

impl<K> Clone for Metadata<K> {
    fn clone(&self) -> Self {
        Self {
            metadata: self.metadata.clone(),
            kind: PhantomData,
        }
    }
}

impl<K> fmt::Debug for Metadata<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metadata(..)")
    }
}

/// Each is asked for by the address of the kind that it is of.
macro_rules! addressed_as {
    ($kind:ty) => {
        type DynamicType = ();
        type Scope = NamespaceResourceScope;

        fn kind(_: &()) -> Cow<'_, str> {
            <$kind>::kind(&())
        }

        fn group(_: &()) -> Cow<'_, str> {
            <$kind>::group(&())
        }

        fn version(_: &()) -> Cow<'_, str> {
            <$kind>::version(&())
        }

        fn plural(_: &()) -> Cow<'_, str> {
            <$kind>::plural(&())
        }
    };
}

impl Resource for Decoded {
    addressed_as!(ScimBridgeConnection);

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Resource for Opened {
    addressed_as!(Secret);

    fn meta(&self) -> &ObjectMeta {
        &self.0.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0.metadata
    }
}

impl<K: Resource<DynamicType = ()>> Resource for Metadata<K> {
    addressed_as!(K);

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    /// Values are not even asked for.
    fn metadata_api() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(json: &str) -> Connection {
        serde_json::from_str::<Decoded>(json).unwrap().into()
    }

    const METADATA: &str = r#""apiVersion":"scimbridge.dev/v1alpha1","kind":"ScimBridgeConnection","metadata":{"name":"a",
        "namespace":"n","uid":"u","generation":2,"resourceVersion":"7","labels":{"x":"y"},
        "managedFields":[{"fieldsV1":{"f:spec":{"f:url":{}}}}],
        "annotations":{"other":"x","reconcile.fluxcd.io/requestedAt":"now"}}"#;

    #[test]
    fn what_is_needed_is_read_and_nothing_else() {
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
    fn an_object_of_another_form_is_a_connection_without_specification() {
        for rest in [
            "",
            r#","spec":null"#,
            r#","spec":[]"#,
            r#","spec":{"url":7,"apiKeySecretRef":{"name":"s"}}"#,
            r#","spec":{"url":"https://a.example","apiKeySecretRef":{"name":"s"}},"status":{"observedGeneration":"x"}"#,
        ] {
            let connection = decode(&format!("{{{METADATA}{rest}}}"));
            assert_eq!(connection.metadata.name.as_deref(), Some("a"), "{rest}");
            assert!(connection.spec.is_none(), "{rest}");
            assert_eq!(connection.status.observed_generation, -1, "{rest}");
        }
    }

    #[test]
    fn an_object_without_a_status_was_not_observed() {
        for status in ["", r#","status":null"#] {
            let connection = decode(&format!(
                r#"{{{METADATA},"spec":{{"url":"https://a.example","apiKeySecretRef":{{"name":"s"}}}}{status}}}"#
            ));
            assert_eq!(connection.status.observed_generation, -1);
            assert!(connection.spec.is_some());
        }
    }
}
