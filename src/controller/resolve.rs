//! Resolve: from the connection to an order for the prober.
//!
//! Reads, by single GETs in the connection's own namespace, the objects it names: the Secret with the key, the CA
//! object, the Secret with the next key. Nothing of them is cached.

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Api;
use secrecy::zeroize::Zeroize as _;

use super::{
    api::call,
    context::Context,
    error::{Call, ControllerError},
    registry::{Connection, Key},
};
use crate::{
    api::{
        ALLOWED_HOSTS_ANNOTATION,
        v1alpha1::{ApiKeySecretRef, CaKind, CaRef, ObjectVersion},
    },
    bridge::{
        ProbeOrder,
        address::HostPattern,
        key::ApiKey,
        trust::{Bundle, Trust},
    },
    domain::{
        evidence::Obstacle,
        status::Versions,
        target::{InvalidSpec, Origin, Scheme, Target},
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

/// A value out of an object, with the object's version.
struct Entry {
    version: Option<ObjectVersion>,
    value: Result<Vec<u8>, Obstacle>,
    /// The Secret's annotation that names the hosts its key may go to.
    consent: Option<String>,
    /// Whether the Secret is there for something else, by its type.
    is_foreign: bool,
}

/// Types of Secrets that hold credentials for something else than a bridge: a ServiceAccount's token, a node's, a
/// registry's login, a TLS key, a release with all its values.
/// <https://kubernetes.io/docs/concepts/configuration/secret/#secret-types>
const FOREIGN_TYPES: [&str; 3] = ["kubernetes.io/", "bootstrap.kubernetes.io/", "helm.sh/"];

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
        credential: secret.version.clone(),
        ca: ca.as_ref().and_then(|entry| entry.version.clone()),
        next_credential: next_secret.as_ref().and_then(|entry| entry.version.clone()),
    };
    let order = order(context, &target, secret, ca, next_secret);
    Ok((
        Resolved {
            target: Some(target),
            versions,
        },
        order,
    ))
}

fn order(
    context: &Context,
    target: &Target,
    secret: Entry,
    ca: Option<Entry>,
    next_secret: Option<Entry>,
) -> Result<ProbeOrder, Obstacle> {
    if !context.policy.allows(&target.origin) {
        return Err(Obstacle::HostDenied);
    }
    let key = api_key(context, target, secret)?;
    let trust = match ca {
        None => Trust::System,
        Some(entry) => Trust::Only(Bundle::read(&entry.value?)?),
    };
    let next_key = next_secret.map(|entry| api_key(context, target, entry));
    Ok(ProbeOrder {
        target: target.clone(),
        trust,
        key,
        next_key,
    })
}

/// Whether the Secret's annotation lets its key go there. A host alone stands for TLS; to go in the clear, where the key
/// can be read on the way, takes `http://HOST`.
fn consents(annotation: &str, origin: &Origin) -> bool {
    const CLEAR: &str = "http://";
    let entries = annotation.split(|c: char| c == ',' || c.is_whitespace());
    let mut hosts = entries.filter_map(|entry| match origin.scheme {
        Scheme::Http => entry.strip_prefix(CLEAR),
        Scheme::Https => Some(entry),
    });
    // What is no pattern names no host.
    hosts.any(|host| {
        host.parse::<HostPattern>()
            .is_ok_and(|pattern| pattern.matches(&origin.host))
    })
}

fn api_key(context: &Context, target: &Target, secret: Entry) -> Result<ApiKey, Obstacle> {
    let Entry {
        version: _,
        value,
        consent,
        is_foreign,
    } = secret;
    // Before the value is looked at: where the Secret does not consent, its shape is not told either.
    let consents = match consent {
        None => !context.settings.require_consent && !is_foreign,
        Some(hosts) => consents(&hosts, &target.origin),
    };
    match value {
        // There is nothing that could consent.
        Err(Obstacle::SecretNotFound) => Err(Obstacle::SecretNotFound),
        _ if !consents => Err(Obstacle::ConsentMissing),
        value => ApiKey::read(value?),
    }
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
            Ok(Entry {
                version: object.as_ref().map(|object| object_version(&object.metadata)),
                value: object
                    .and_then(|object| {
                        let ConfigMap {
                            data, binary_data, ..
                        } = object;
                        let text = data
                            .and_then(|mut data| data.remove(&reference.key))
                            .map(String::into_bytes);
                        text.or_else(|| {
                            binary_data
                                .and_then(|mut data| data.remove(&reference.key))
                                .map(|bytes| bytes.0)
                        })
                    })
                    .ok_or(Obstacle::CaNotFound),
                consent: None,
                is_foreign: false,
            })
        }
    }
}

async fn get_secret(context: &Context, key: &Key, name: &str) -> Result<Option<Secret>, ControllerError> {
    let api = Api::<Secret>::namespaced(context.client.clone(), &key.namespace);
    call(context, Call::ReadSecret, api.get(name)).await
}

/// Takes one entry out of a Secret and zeroes the others.
fn secret_entry(secret: Option<Secret>, key: &str, no_object: Obstacle, no_entry: Obstacle) -> Entry {
    let Some(Secret {
        metadata,
        data,
        type_,
        ..
    }) = secret
    else {
        return Entry {
            version: None,
            value: Err(no_object),
            consent: None,
            is_foreign: false,
        };
    };
    let mut data = data.unwrap_or_default();
    let value = data.remove(key).map(|ByteString(bytes)| bytes).ok_or(no_entry);
    for ByteString(bytes) in data.values_mut() {
        bytes.zeroize();
    }
    Entry {
        version: Some(object_version(&metadata)),
        value,
        consent: metadata
            .annotations
            .and_then(|mut annotations| annotations.remove(ALLOWED_HOSTS_ANNOTATION)),
        is_foreign: type_.is_some_and(|type_| FOREIGN_TYPES.iter().any(|foreign| type_.starts_with(foreign))),
    }
}

/// The version of an object.
pub(super) fn object_version(metadata: &ObjectMeta) -> ObjectVersion {
    ObjectVersion {
        uid: metadata.uid.clone().unwrap_or_default(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
    }
}
