//! Which connection manages a bridge: of several in mode `Manage`, the eldest.
//!
//! Two of them would undo what the other does, and each would count its own limits. The driver knows the connections of
//! this process. Where other processes serve other shards, the API server knows the rest.

use k8s_openapi::jiff::Timestamp;
use kube::{Api, api::ListParams};

use super::context::Context;
use crate::{
    api::{
        connection::{ScimBridgeConnection, ScimBridgeConnectionSpec},
        directory::ProvisioningMode,
    },
    bridge::route::Endpoint,
    cluster::{
        call::{Call, CallError},
        key::Key,
        object::RawObject,
    },
    domain::connection::target::Origin,
    feed::FeedConnection,
};

/// How many connections one request lists.
const PAGE: u32 = 500;

/// A connection in mode `Manage`, ordered by age.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager {
    created: Option<Timestamp>,
    uid: Box<str>,
    pub(super) key: Key,
}

impl Manager {
    pub(super) fn of(key: &Key, connection: &FeedConnection) -> Self {
        Self {
            created: connection.created,
            uid: connection.uid.clone(),
            key: key.clone(),
        }
    }
}

/// The bridge that a connection of this specification manages. `None` if it manages none.
pub(super) fn managed(spec: &ScimBridgeConnectionSpec) -> Option<Endpoint> {
    let manages = spec.provisioning.as_ref()?.mode == ProvisioningMode::Manage;
    let origin = Origin::parse(&spec.url).ok().filter(|_| manages)?;
    Some(Endpoint::from(&origin))
}

/// Asks the API server whether an older connection, of any shard, manages the same bridge.
///
/// # Errors
/// The API server refused or did not answer. Then nobody knows.
pub(super) async fn has_elder(
    context: &Context,
    key: &Key,
    connection: &FeedConnection,
) -> Result<bool, CallError> {
    let Some(endpoint) = connection.spec.as_deref().and_then(managed) else {
        return Ok(false);
    };
    let own = Manager::of(key, connection);
    for scope in &context.settings.scopes {
        let client = context.server.client().clone();
        let api: Api<RawObject<ScimBridgeConnection>> = match scope {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let Some(list) = context
                .server
                .call(Call::ListConnections, api.list(&page))
                .await?
            else {
                break;
            };
            if list.items.iter().any(|raw| is_elder(raw, &endpoint, &own)) {
                return Ok(true);
            }
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
    }
    Ok(false)
}

fn is_elder(raw: &RawObject<ScimBridgeConnection>, endpoint: &Endpoint, own: &Manager) -> bool {
    let metadata = &raw.metadata;
    let other = Manager {
        created: metadata.creation_timestamp.as_ref().map(|time| time.0),
        uid: metadata.uid.as_deref().unwrap_or_default().into(),
        key: Key::new(
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        ),
    };
    other < *own && raw.spec().as_ref().and_then(managed).as_ref() == Some(endpoint)
}
