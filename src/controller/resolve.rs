//! Resolve: from the connection to an order for the prober.
//!
//! Reads, by single GETs in the connection's own namespace, the objects it names: the Secret with the key, the CA
//! object, the Secret with the next key. Of them nothing is kept but the certificate authorities.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Resource, api::GetParams, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;

use super::{
    api::call,
    context::Context,
    decode::Opened,
    error::{Call, ControllerError},
    order::{Authority, Entry, Grounds, config_map_entry, secret_entry},
    registry::{Job, Key, Reference},
};
use crate::{
    api::v1alpha1::{ApiKeySecretRef, CaKind, CaRef},
    bridge::ProbeOrder,
    domain::{
        evidence::Obstacle,
        schedule::Version,
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
    job: &Job,
) -> Result<(Resolved, Result<ProbeOrder, Obstacle>), ControllerError> {
    let key = &job.key;
    let [seen_secret, seen_ca, seen_next_secret] = &job.seen;
    let parsed = job
        .connection
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
    seen: Option<&Version>,
) -> Result<Entry, ControllerError> {
    let secret = get::<Opened>(context, Call::ReadSecret, key, &reference.name, seen).await?;
    Ok(secret_entry(
        secret.map(|Opened(secret)| secret),
        &reference.key,
        Obstacle::SecretNotFound,
        Obstacle::SecretKeyMissing,
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
            let secret = get::<Opened>(context, Call::ReadSecret, key, name, seen).await?;
            let secret = secret.map(|Opened(secret)| secret);
            // One reason for a missing object and a missing entry: they ask for the same.
            secret_entry(secret, entry, Obstacle::CaNotFound, Obstacle::CaEntryMissing)
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

/// Reads an object. Where the watch has seen a version of it, one that is not older will do: the API server has that in
/// its memory, and need not ask etcd.
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
    let api = Api::<K>::namespaced(context.client.clone(), &key.namespace);
    let parameters = seen.map_or_else(GetParams::default, |seen| GetParams::at(seen.resource_version()));
    call(context, why, api.get_with(name, &parameters)).await
}
