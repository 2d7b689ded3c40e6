//! Report: the status of a connection is written, if it is still about the object that is there.

use std::sync::Arc;

use kube::Api;

use super::{
    connection::{Connection, Key},
    decode::RawConnection,
    error::ControllerError,
};
use crate::{
    api::connection::{ScimBridgeConnection, ScimBridgeConnectionStatus},
    cluster::call::{ApiServer, Call, CallError, CallFailure},
    report::status::{Applied, apply_status},
};

/// Attempts to write where only labels or annotations of the object changed in between.
const ATTEMPTS: u32 = 5;

/// What became of a write.
#[derive(Clone, Debug)]
pub(super) enum Reported {
    /// The connection as it is with the new status.
    Written(Arc<Connection>),
    /// The object is gone, replaced, or has a new specification: the verdict is not about it. Or it has a later one.
    Superseded,
}

/// Writes a status. After a conflict the object is read again, and the verdict is kept if it is still about the same
/// object and specification, and nobody has written a later one.
///
/// # Errors
/// Where the API server refuses or does not answer.
pub(super) async fn report(
    server: &ApiServer,
    key: &Key,
    connection: &Connection,
    unwritten: Option<&ScimBridgeConnectionStatus>,
    status: &ScimBridgeConnectionStatus,
) -> Result<Reported, ControllerError> {
    let mut resource_version = connection.metadata.resource_version.clone();
    for _ in 0..ATTEMPTS {
        let version = resource_version.as_deref();
        match apply_status::<ScimBridgeConnection>(server, key.names(), version, status).await? {
            // Of the answer only the version is news: the specification is the one that the version before had.
            Applied::Written(metadata) => {
                return Ok(Reported::Written(Arc::new(Connection {
                    metadata: *metadata,
                    spec: connection.spec.clone(),
                    status: status.clone(),
                })));
            }
            Applied::Gone => return Ok(Reported::Superseded),
            Applied::Conflict => {}
        }
        let Some(current) = read(server, key).await? else {
            return Ok(Reported::Superseded);
        };
        if !connection.takes(status, unwritten, &current) {
            return Ok(Reported::Superseded);
        }
        resource_version = current.metadata.resource_version;
    }
    Err(ControllerError::Call(CallError::Failed {
        call: Call::ApplyStatus,
        failure: CallFailure::Refused(409),
    }))
}

/// Reads a connection as it is now. `None` where there is none.
///
/// # Errors
/// Where the API server refuses or does not answer.
pub(super) async fn read(server: &ApiServer, key: &Key) -> Result<Option<Connection>, ControllerError> {
    let api = Api::<RawConnection>::namespaced(server.client().clone(), &key.namespace);
    let read = server.call(Call::ReadConnection, api.get(&key.name)).await?;
    Ok(read.map(Connection::from))
}
