//! Decodes only the needed parts of a Secret.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Resource, core::NamespaceResourceScope};
use serde::{Deserialize, Deserializer};

use crate::{api::ALLOWED_HOSTS_ANNOTATION, cluster::metadata::addressed_as};

/// A Secret with only the parts that a reconcile needs.
#[derive(Clone)]
pub(super) struct SecretData(pub(super) Secret);

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

impl<'de> Deserialize<'de> for SecretData {
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

impl fmt::Debug for SecretData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretData(..)")
    }
}

impl Resource for SecretData {
    addressed_as!(Secret);

    fn meta(&self) -> &ObjectMeta {
        &self.0.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0.metadata
    }
}
