//! Resolve: makes a probe request from a connection.
//!
//! It reads the Secret with the key, the CA object and the Secret with the next key. Each is one GET in the
//! connection's namespace. It caches only certificate authorities.

pub mod authorities;
pub mod reference;

mod secret;

use std::{fmt::Debug, sync::Arc};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Resource, api::GetParams, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;

use self::{authorities::Authorities, reference::Reference, secret::SecretData};
use crate::{
    api::{
        connection::{ApiKeySecretRef, CaKind, CaRef, ScimBridgeConnectionSpec},
        role::PerRole,
    },
    bridge::{
        ProbeRequest,
        credential::{Authority, DataEntry, KeyPolicy, config_map_entry, secret_entry},
        wire::address::AddressPolicy,
    },
    cluster::call::{ApiServer, Call, CallError},
    domain::{
        connection::{
            evidence::Blocker,
            status::Versions,
            target::{InvalidSpec, Target},
        },
        watched::Version,
    },
};

/// Resolves connections. Clones share the cache.
#[derive(Clone)]
pub struct Resolver {
    /// The API server.
    pub server: ApiServer,
    /// The hosts and addresses that the operator may contact.
    pub policy: Arc<AddressPolicy>,
    /// Whether a Secret must list the hosts that may receive its key.
    pub require_consent: bool,
    /// A cache of certificate authorities.
    pub authorities: Authorities,
}

/// A connection with the versions of the objects that it refers to.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The parsed specification; `None` if it is invalid.
    pub(crate) target: Option<Target>,
    /// The versions of the objects that were read.
    pub(crate) versions: Versions,
}

impl Resolver {
    /// Reads all objects that a connection in this namespace refers to. `spec` is `None` if it cannot be decoded. `seen`
    /// are versions that are known to exist: a read may return these or newer ones. The second part is the probe request
    /// or the reason against a probe.
    ///
    /// # Errors
    /// The API server refused or did not answer. A missing object is not an error but a [`Blocker`].
    pub(crate) async fn resolve(
        &self,
        namespace: &str,
        spec: Option<&ScimBridgeConnectionSpec>,
        seen: &PerRole<Option<Version>>,
    ) -> Result<(Resolved, Result<ProbeRequest, Blocker>), CallError> {
        let target = match spec.ok_or(InvalidSpec::Form).and_then(Target::parse) {
            Ok(target) => target,
            Err(why) => {
                let unresolved = Resolved {
                    target: None,
                    versions: Versions::default(),
                };
                return Ok((unresolved, Err(Blocker::InvalidSpec(why))));
            }
        };
        let PerRole {
            credential: seen_secret,
            ca: seen_ca,
            next_credential: seen_next_secret,
        } = seen;
        // Read all objects even if one is missing: a change of any of these versions leads to the next probe.
        let secret = self
            .read_secret(namespace, &target.api_key, seen_secret.as_ref())
            .await?;
        let ca = match &target.ca {
            None => None,
            Some(reference) => Some(self.read_ca(namespace, reference, seen_ca.as_ref()).await?),
        };
        let next_secret = match &target.next_api_key {
            None => None,
            Some(reference) => Some(
                self.read_secret(namespace, reference, seen_next_secret.as_ref())
                    .await?,
            ),
        };
        let versions = Versions {
            credential: secret.version().cloned(),
            ca: ca.as_ref().and_then(|ca| ca.version.clone()),
            next_credential: next_secret.as_ref().and_then(DataEntry::version).cloned(),
        };
        let policy = KeyPolicy {
            policy: &self.policy,
            require_consent: self.require_consent,
        };
        let request = policy.probe_request(&target, secret, ca, next_secret);
        let resolved = Resolved {
            target: Some(target),
            versions,
        };
        Ok((resolved, request))
    }

    async fn read_secret(
        &self,
        namespace: &str,
        reference: &ApiKeySecretRef,
        seen: Option<&Version>,
    ) -> Result<DataEntry, CallError> {
        let secret = self
            .get::<SecretData>(Call::ReadSecret, namespace, &reference.name, seen)
            .await?;
        Ok(secret_entry(
            secret.map(|SecretData(secret)| secret),
            &reference.key,
            Blocker::SecretNotFound,
            Blocker::SecretKeyMissing,
        ))
    }

    async fn read_ca(
        &self,
        namespace: &str,
        reference: &CaRef,
        seen: Option<&Version>,
    ) -> Result<Authority, CallError> {
        let object = Reference::new(reference.kind.into(), namespace, &reference.name);
        if let Some(version) = seen
            && let Some(bundle) = self.authorities.get(&object, &reference.key, version)
        {
            return Ok(Authority {
                version: Some(version.into()),
                bundle: Ok(bundle),
            });
        }
        let (name, entry) = (&reference.name, &reference.key);
        let entry = match reference.kind {
            CaKind::Secret => {
                let secret = self
                    .get::<SecretData>(Call::ReadSecret, namespace, name, seen)
                    .await?;
                let secret = secret.map(|SecretData(secret)| secret);
                // A missing object and a missing entry have the same remedy, so they share one reason.
                secret_entry(secret, entry, Blocker::CaNotFound, Blocker::CaEntryMissing)
            }
            CaKind::ConfigMap => {
                let config_map = self
                    .get::<ConfigMap>(Call::ReadConfigMap, namespace, name, seen)
                    .await?;
                config_map_entry(config_map, entry)
            }
        };
        let authority = Authority::from(entry);
        if let Authority {
            version: Some(version),
            bundle: Ok(bundle),
        } = &authority
        {
            self.authorities
                .put(object, &reference.key, version.into(), bundle);
        }
        Ok(authority)
    }

    /// Reads an object. If the watch has `seen` a version, any version that is not older is enough: the API server answers
    /// from its cache and does not ask etcd.
    /// <https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list>
    async fn get<K>(
        &self,
        why: Call,
        namespace: &str,
        name: &str,
        seen: Option<&Version>,
    ) -> Result<Option<K>, CallError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.server.client().clone(), namespace);
        let parameters = seen.map_or_else(GetParams::default, |seen| GetParams::at(seen.resource_version()));
        self.server.call(why, api.get_with(name, &parameters)).await
    }
}
