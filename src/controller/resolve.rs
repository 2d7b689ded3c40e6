//! Resolve: makes a probe request from a connection.
//!
//! It reads the Secret with the key, the CA object and the Secret with the next key. Each is one GET in the
//! connection's namespace. It caches only certificate authorities.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Resource, api::GetParams, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;

use super::{
    connection::{Key, Reference},
    context::Context,
    decode::SecretData,
    error::ControllerError,
    job::Job,
};
use crate::{
    api::{
        connection::{ApiKeySecretRef, CaKind, CaRef},
        role::PerRole,
    },
    bridge::{
        ProbeRequest,
        credential::{Authority, DataEntry, KeyPolicy, config_map_entry, secret_entry},
    },
    cluster::call::Call,
    domain::{
        connection::{
            evidence::Blocker,
            status::Versions,
            target::{InvalidSpec, Target},
        },
        watched::Version,
    },
};

/// A connection with the versions of the objects that it refers to.
#[derive(Debug)]
pub(super) struct Resolved {
    /// The parsed specification; `None` if it is invalid.
    pub(super) target: Option<Target>,
    /// The versions of the objects that were read.
    pub(super) versions: Versions,
}

/// Reads all objects that a connection refers to. The second part is the probe request or the reason against a probe.
///
/// # Errors
/// The API server refused or did not answer. A missing object is not an error but a [`Blocker`].
pub(super) async fn resolve(
    context: &Context,
    job: &Job,
) -> Result<(Resolved, Result<ProbeRequest, Blocker>), ControllerError> {
    let key = &job.key;
    let PerRole {
        credential: seen_secret,
        ca: seen_ca,
        next_credential: seen_next_secret,
    } = &job.seen;
    let parsed = job
        .connection
        .spec
        .as_ref()
        .ok_or(InvalidSpec::Form)
        .and_then(Target::parse);
    let target = match parsed {
        Ok(target) => target,
        Err(why) => {
            let unresolved = Resolved {
                target: None,
                versions: Versions::default(),
            };
            return Ok((unresolved, Err(Blocker::InvalidSpec(why))));
        }
    };
    // Read all objects even if one is missing: a change of any of these versions leads to the next probe.
    let secret = read_secret(context, key, &target.api_key, seen_secret.as_ref()).await?;
    let ca = match &target.ca {
        None => None,
        Some(reference) => Some(read_ca(context, key, reference, seen_ca.as_ref()).await?),
    };
    let next_secret = match &target.next_api_key {
        None => None,
        Some(reference) => Some(read_secret(context, key, reference, seen_next_secret.as_ref()).await?),
    };
    let versions = Versions {
        credential: secret.version().cloned(),
        ca: ca.as_ref().and_then(|ca| ca.version.clone()),
        next_credential: next_secret.as_ref().and_then(DataEntry::version).cloned(),
    };
    let policy = KeyPolicy {
        policy: &context.policy,
        require_consent: context.settings.require_consent,
    };
    let request = policy.probe_request(&target, secret, ca, next_secret);
    Ok((
        Resolved {
            target: Some(target),
            versions,
        },
        request,
    ))
}

async fn read_secret(
    context: &Context,
    key: &Key,
    reference: &ApiKeySecretRef,
    seen: Option<&Version>,
) -> Result<DataEntry, ControllerError> {
    let secret = get::<SecretData>(context, Call::ReadSecret, key, &reference.name, seen).await?;
    Ok(secret_entry(
        secret.map(|SecretData(secret)| secret),
        &reference.key,
        Blocker::SecretNotFound,
        Blocker::SecretKeyMissing,
    ))
}

async fn read_ca(
    context: &Context,
    key: &Key,
    reference: &CaRef,
    seen: Option<&Version>,
) -> Result<Authority, ControllerError> {
    let object = Reference::new(reference.kind.into(), &key.namespace, &reference.name);
    if let Some(version) = seen
        && let Some(bundle) = context.authorities.get(&object, &reference.key, version)
    {
        return Ok(Authority {
            version: Some(version.into()),
            bundle: Ok(bundle),
        });
    }
    let (name, entry) = (&reference.name, &reference.key);
    let entry = match reference.kind {
        CaKind::Secret => {
            let secret = get::<SecretData>(context, Call::ReadSecret, key, name, seen).await?;
            let secret = secret.map(|SecretData(secret)| secret);
            // A missing object and a missing entry have the same remedy, so they share one reason.
            secret_entry(secret, entry, Blocker::CaNotFound, Blocker::CaEntryMissing)
        }
        CaKind::ConfigMap => {
            let config_map = get::<ConfigMap>(context, Call::ReadConfigMap, key, name, seen).await?;
            config_map_entry(config_map, entry)
        }
    };
    let authority = Authority::from(entry);
    if let Authority {
        version: Some(version),
        bundle: Ok(bundle),
    } = &authority
    {
        context
            .authorities
            .put(object, &reference.key, version.into(), bundle);
    }
    Ok(authority)
}

/// Reads an object. If the watch has `seen` a version, any version that is not older is enough: the API server answers
/// from its cache and does not ask etcd.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list>
async fn get<K>(
    context: &Context,
    why: Call,
    key: &Key,
    name: &str,
    seen: Option<&Version>,
) -> Result<Option<K>, ControllerError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api = Api::<K>::namespaced(context.server.client().clone(), &key.namespace);
    let parameters = seen.map_or_else(GetParams::default, |seen| GetParams::at(seen.resource_version()));
    Ok(context.server.call(why, api.get_with(name, &parameters)).await?)
}
