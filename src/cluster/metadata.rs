//! Reads the few fields of an object's metadata that the operator needs.
//!
//! Most of the metadata is `managedFields`, a tree that the operator never reads. serde skips it, the labels and the
//! annotations of other programs. kube's `PartialObjectMeta` would keep all of them.

use std::{borrow::Cow, collections::BTreeMap, fmt, marker::PhantomData};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::{Resource, core::NamespaceResourceScope};
use serde::{Deserialize, Deserializer};

use crate::api::{RELEASE_ANNOTATION, REQUESTED_AT_ANNOTATION};

/// Implements the types and names of [`Resource`] with those of another kind.
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

pub(crate) use addressed_as;

/// The metadata of an object of kind `K`. The API server sends nothing else of it.
pub(crate) struct Metadata<K> {
    pub(crate) metadata: ObjectMeta,
    kind: PhantomData<K>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    metadata: Trimmed,
}

/// The fields of the metadata that the operator reads.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Trimmed {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    generation: Option<i64>,
    resource_version: Option<String>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    annotations: Option<Annotations>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "reconcile.fluxcd.io/requestedAt")]
    requested_at: Option<String>,
    #[serde(rename = "scimbridge.dev/release")]
    release: Option<String>,
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
            creation_timestamp,
            deletion_timestamp,
            annotations,
        } = metadata;
        let Annotations {
            requested_at,
            release,
        } = annotations.unwrap_or_default();
        let annotations: BTreeMap<_, _> = [
            (REQUESTED_AT_ANNOTATION, requested_at),
            (RELEASE_ANNOTATION, release),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect();
        Self {
            name,
            namespace,
            uid,
            generation,
            resource_version,
            creation_timestamp,
            deletion_timestamp,
            annotations: (!annotations.is_empty()).then_some(annotations),
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

impl<K: Resource<DynamicType = ()>> Resource for Metadata<K> {
    addressed_as!(K);

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    /// Requests `PartialObjectMetadata`: the values of a Secret stay in the API server.
    fn metadata_api() -> bool {
        true
    }
}
