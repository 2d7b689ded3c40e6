//! Writes a status by server-side apply, only to the version of the object that it was made for.

use std::{borrow::Cow, fmt::Debug};

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
};
use serde::Serialize;

use crate::cluster::{
    call::{ApiServer, Call, CallError, CallFailure},
    metadata::Metadata,
};

/// The result of a write that the API server answered.
#[derive(Clone, Debug)]
pub(crate) enum Applied {
    /// The object's metadata after the write.
    Written(Box<ObjectMeta>),
    /// The object has another version now.
    Conflict,
    /// There is no such object.
    Gone,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusApply<'a, S> {
    api_version: Cow<'a, str>,
    kind: Cow<'a, str>,
    metadata: ObjectMeta,
    status: &'a S,
}

/// Applies a status to the object with this name and version.
///
/// The apply carries the `resourceVersion`: the API server answers 409 to an old one. A `uid` would not help: the API
/// server ignores a wrong `uid` in an apply to the status of a custom resource. The field manager
/// owns its part of the status, so the API server removes each field of it that the apply omits.
///
/// # Errors
/// The API server refused or did not answer.
pub(crate) async fn apply_status<K>(
    server: &ApiServer,
    manager: &str,
    (namespace, name): (&str, &str),
    resource_version: Option<&str>,
    status: &(impl Debug + Serialize),
) -> Result<Applied, CallError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    let apply = StatusApply {
        api_version: K::api_version(&()),
        kind: K::kind(&()),
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            resource_version: resource_version.map(str::to_owned),
            ..ObjectMeta::default()
        },
        status,
    };
    let api = Api::<Metadata<K>>::namespaced(server.client().clone(), namespace);
    let (parameters, patch) = (PatchParams::apply(manager).force(), Patch::Apply(&apply));
    let request = api.patch_status(name, &parameters, &patch);
    match server.call(Call::ApplyStatus, request).await {
        Ok(Some(Metadata { metadata, .. })) => Ok(Applied::Written(Box::new(metadata))),
        Ok(None) => Ok(Applied::Gone),
        Err(CallError::Failed {
            failure: CallFailure::Refused(409),
            ..
        }) => Ok(Applied::Conflict),
        Err(error) => Err(error),
    }
}
