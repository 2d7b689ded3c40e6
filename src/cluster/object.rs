//! Decodes only the needed parts of the objects that the API server sends.
//!
//! Most of an object is `metadata.managedFields`, which the operator does not need. serde skips it, the labels and the
//! annotations of other programs. A specification that does not match the schema is read as none, so it does not stop
//! the others. A status that does not match is read as none too, and written again.

use std::{borrow::Cow, fmt, marker::PhantomData};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, core::NamespaceResourceScope};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::metadata::{Trimmed, addressed_as};

/// An object of kind `K` whose `spec` and `status` are not decoded yet. Usually only the version is needed: most watch
/// events are echoes of this process's own writes.
///
/// In a watch event, this works only because the type comes before the object. The order comes from the fields of the
/// API server's `metav1.WatchEvent`.
pub(crate) struct RawObject<K> {
    pub(crate) metadata: ObjectMeta,
    spec: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
    kind: PhantomData<K>,
}

#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    metadata: Trimmed,
    spec: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
}

impl<K> RawObject<K> {
    /// The specification; `None` if it is absent, null, or does not match the schema.
    pub(crate) fn spec<S: DeserializeOwned>(&self) -> Option<S> {
        decoded(self.spec.as_deref())
    }

    /// The status; `None` if it is absent, null, or does not match the schema.
    pub(crate) fn status<S: DeserializeOwned>(&self) -> Option<S> {
        decoded(self.status.as_deref())
    }
}

fn decoded<T: DeserializeOwned>(raw: Option<&RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

impl<'de, K> Deserialize<'de> for RawObject<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Parts {
            metadata,
            spec,
            status,
        } = Parts::deserialize(deserializer)?;
        Ok(Self {
            metadata: metadata.into(),
            spec,
            status,
            kind: PhantomData,
        })
    }
}

impl<K> Clone for RawObject<K> {
    fn clone(&self) -> Self {
        Self {
            metadata: self.metadata.clone(),
            spec: self.spec.clone(),
            status: self.status.clone(),
            kind: PhantomData,
        }
    }
}

impl<K> fmt::Debug for RawObject<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawObject(..)")
    }
}

impl<K: Resource<DynamicType = ()>> Resource for RawObject<K> {
    addressed_as!(K);

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
