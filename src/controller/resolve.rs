//! Resolve: from the connection to an order for the prober.
//!
//! Reads, by single GETs in the connection's own namespace, the objects it names: the Secret with the key, the CA
//! object, the Secret with the next key. Nothing of them is cached.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;

use super::{
    api::call,
    context::Context,
    error::{Call, ControllerError},
    order::{Entry, Grounds, config_map_entry, secret_entry},
    registry::{Connection, Key},
};
use crate::{
    api::v1alpha1::{ApiKeySecretRef, CaKind, CaRef},
    bridge::ProbeOrder,
    domain::{
        evidence::Obstacle,
        status::Versions,
        target::{InvalidSpec, Target},
    },
};

/// What a connection comes to once everything it names was read.
#[derive(Debug)]
pub(super) struct Resolved {
    /// The parsed specification, where it could be parsed.
    pub(super) target: Option<Target>,
    /// The versions of what was read.
    pub(super) versions: Versions,
}

/// Reads all that a connection names. The second part is the order for the prober, or what stands in its way.
///
/// # Errors
/// Where the API server does not answer. Objects that are not there are an [`Obstacle`].
pub(super) async fn resolve(
    context: &Context,
    key: &Key,
    connection: &Connection,
) -> Result<(Resolved, Result<ProbeOrder, Obstacle>), ControllerError> {
    let parsed = connection
        .spec
        .as_ref()
        .ok_or(InvalidSpec::Form)
        .and_then(Target::parse);
    let target = match parsed {
        Ok(target) => target,
        Err(why) => {
            let nothing = Resolved {
                target: None,
                versions: Versions::default(),
            };
            return Ok((nothing, Err(Obstacle::InvalidSpec(why))));
        }
    };
    // All objects are read even where one is missing: the versions tell which change leads to the next probe.
    let secret = read_secret(context, key, &target.api_key).await?;
    let ca = match &target.ca {
        None => None,
        Some(reference) => Some(read_ca(context, key, reference).await?),
    };
    let next_secret = match &target.next_api_key {
        None => None,
        Some(reference) => Some(read_secret(context, key, reference).await?),
    };
    let versions = Versions {
        credential: secret.version().cloned(),
        ca: ca.as_ref().and_then(Entry::version).cloned(),
        next_credential: next_secret.as_ref().and_then(Entry::version).cloned(),
    };
    let grounds = Grounds {
        policy: &context.policy,
        require_consent: context.settings.require_consent,
    };
    let order = grounds.order(&target, secret, ca, next_secret);
    Ok((
        Resolved {
            target: Some(target),
            versions,
        },
        order,
    ))
}

async fn read_secret(
    context: &Context,
    key: &Key,
    reference: &ApiKeySecretRef,
) -> Result<Entry, ControllerError> {
    let secret = get_secret(context, key, &reference.name).await?;
    Ok(secret_entry(
        secret,
        &reference.key,
        Obstacle::SecretNotFound,
        Obstacle::SecretKeyMissing,
    ))
}

async fn read_ca(context: &Context, key: &Key, reference: &CaRef) -> Result<Entry, ControllerError> {
    // One reason for a missing object and a missing entry: they ask for the same.
    match reference.kind {
        CaKind::Secret => {
            let secret = get_secret(context, key, &reference.name).await?;
            Ok(secret_entry(
                secret,
                &reference.key,
                Obstacle::CaNotFound,
                Obstacle::CaNotFound,
            ))
        }
        CaKind::ConfigMap => {
            let api = Api::<ConfigMap>::namespaced(context.client.clone(), &key.namespace);
            let object = call(context, Call::ReadConfigMap, api.get(&reference.name)).await?;
            Ok(config_map_entry(object, &reference.key))
        }
    }
}

async fn get_secret(context: &Context, key: &Key, name: &str) -> Result<Option<Secret>, ControllerError> {
    let api = Api::<Secret>::namespaced(context.client.clone(), &key.namespace);
    call(context, Call::ReadSecret, api.get(name)).await
}
