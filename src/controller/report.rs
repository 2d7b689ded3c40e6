//! Report: one server-side apply of the status, bound to the object it is about.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Resource as _,
    api::{Patch, PatchParams},
};
use serde::Serialize;

use super::{
    api::call,
    context::Context,
    decode::{Decoded, Metadata},
    error::{Call, Cause, ControllerError},
    registry::{Connection, Key},
};
use crate::api::{
    FIELD_MANAGER,
    v1alpha1::{ScimBridgeConnection, ScimBridgeConnectionStatus},
};

/// Times that a write is tried again where only labels or annotations changed under it.
const ATTEMPTS: u32 = 5;

/// What became of a write.
#[derive(Clone, Debug)]
pub(super) enum Reported {
    /// The connection as it is with the new status.
    Written(Arc<Connection>),
    /// The object is gone, replaced, or has a new specification: the verdict is not about it. Or it has a later one.
    Overtaken,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusApply<'a> {
    api_version: &'a str,
    kind: &'a str,
    metadata: ObjectMeta,
    status: &'a ScimBridgeConnectionStatus,
}

/// Writes a status.
///
/// The apply carries the `resourceVersion` that the verdict is about: the API server ignores a foreign `uid` in an
/// apply to the status of a custom resource, but answers 409 to a `resourceVersion` that has passed. Then the object is
/// read again, and the verdict is kept if it is still about the same object and specification, and nobody has written a
/// later one.
///
/// # Errors
/// Where the API server refuses or does not answer.
pub(super) async fn report(
    context: &Context,
    key: &Key,
    connection: &Connection,
    unwritten: Option<&ScimBridgeConnectionStatus>,
    status: &ScimBridgeConnectionStatus,
) -> Result<Reported, ControllerError> {
    let api = Api::<Metadata<ScimBridgeConnection>>::namespaced(context.client.clone(), &key.namespace);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let mut resource_version = connection.metadata.resource_version.clone();
    for _ in 0..ATTEMPTS {
        let apply = StatusApply {
            api_version: &ScimBridgeConnection::api_version(&()),
            kind: &ScimBridgeConnection::kind(&()),
            metadata: ObjectMeta {
                name: Some(key.name.to_string()),
                namespace: Some(key.namespace.to_string()),
                resource_version: resource_version.clone(),
                ..ObjectMeta::default()
            },
            status,
        };
        let patch = Patch::Apply(&apply);
        match call(
            context,
            Call::ApplyStatus,
            api.patch_status(&key.name, &parameters, &patch),
        )
        .await
        {
            // Of the answer only the version is news: the specification is the one that the version before had.
            Ok(Some(Metadata { metadata, .. })) => {
                return Ok(Reported::Written(Arc::new(Connection {
                    metadata,
                    spec: connection.spec.clone(),
                    status: status.clone(),
                })));
            }
            Ok(None) => return Ok(Reported::Overtaken),
            Err(ControllerError::Api {
                cause: Cause::Refused(409),
                ..
            }) => {}
            Err(error) => return Err(error),
        }
        let Some(current) = read(context, key).await? else {
            return Ok(Reported::Overtaken);
        };
        if !connection.takes(status, unwritten, &current) {
            return Ok(Reported::Overtaken);
        }
        resource_version = current.metadata.resource_version;
    }
    Err(ControllerError::Api {
        call: Call::ApplyStatus,
        cause: Cause::Refused(409),
    })
}

/// Reads a connection as it is now. `None` where there is none.
///
/// # Errors
/// Where the API server refuses or does not answer.
pub(super) async fn read(context: &Context, key: &Key) -> Result<Option<Connection>, ControllerError> {
    let api = Api::<Decoded>::namespaced(context.client.clone(), &key.namespace);
    let read = call(context, Call::ReadConnection, api.get(&key.name)).await?;
    Ok(read.map(Connection::from))
}
