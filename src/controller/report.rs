//! Report: writes the status of a connection, if it still applies to the present object.

use std::sync::Arc;

use kube::Api;

use super::{connection::Connection, decode::RawConnection, error::ControllerError};
use crate::{
    api::{
        FIELD_MANAGER,
        connection::{ScimBridgeConnection, ScimBridgeConnectionStatus},
    },
    cluster::{
        call::{ApiServer, Call, CallError, CallFailure},
        key::Key,
    },
    report::status::{Applied, apply_status},
};

/// Maximum attempts to write if the object keeps changing in a way that does not matter, such as its labels.
const ATTEMPTS: u32 = 5;

/// The result of a write.
#[derive(Clone, Debug)]
pub(super) enum Reported {
    /// The connection with the new status.
    Written(Arc<Connection>),
    /// The object is gone or replaced, or has a new specification or a later verdict. The status does not apply to it.
    Superseded,
}

/// Writes a status. After a conflict it reads the object again and retries the write. It gives up if the object or its
/// specification has changed, or if another process has written a later verdict.
///
/// # Errors
/// The API server refused or did not answer.
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
        match apply_status::<ScimBridgeConnection>(server, FIELD_MANAGER, key.names(), version, status)
            .await?
        {
            // The answer holds only metadata. The write has not changed the specification.
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
        if !connection.accepts(status, unwritten, &current) {
            return Ok(Reported::Superseded);
        }
        resource_version = current.metadata.resource_version;
    }
    Err(ControllerError::Call(CallError::Failed {
        call: Call::ApplyStatus,
        failure: CallFailure::Refused(409),
    }))
}

/// Reads the present version of a connection. `None` if it does not exist.
///
/// # Errors
/// The API server refused or did not answer.
pub(super) async fn read(server: &ApiServer, key: &Key) -> Result<Option<Connection>, ControllerError> {
    let api = Api::<RawConnection>::namespaced(server.client().clone(), &key.namespace);
    let read = server.call(Call::ReadConnection, api.get(&key.name)).await?;
    Ok(read.map(Connection::from))
}
