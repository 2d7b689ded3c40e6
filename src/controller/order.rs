//! From what a connection names to an order for the prober, or to what stands in its way.
//!
//! Without effects: the controller reads the objects from the API server, `check` from files or from there.

use std::fmt;

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use secrecy::zeroize::Zeroize as _;

use crate::{
    api::{ALLOWED_HOSTS_ANNOTATION, v1alpha1::ObjectVersion},
    bridge::{
        ProbeOrder,
        address::{AddressPolicy, HostPattern},
        key::ApiKey,
        route::Route,
        trust::{Bundle, Trust},
    },
    domain::{
        evidence::Obstacle,
        target::{Origin, Scheme, Target},
    },
};

/// What decides whether a key may go to a host.
#[derive(Clone, Copy, Debug)]
pub struct Grounds<'a> {
    /// Which hosts may be asked.
    pub policy: &'a AddressPolicy,
    /// Whether a Secret must name the hosts its key may go to.
    pub require_consent: bool,
}

/// A value out of an object, with the object's version.
pub struct Entry {
    version: Option<ObjectVersion>,
    value: Result<Vec<u8>, Obstacle>,
    /// The Secret's annotation that names the hosts its key may go to.
    consent: Option<String>,
    /// Whether the Secret is there for something else, by its type.
    is_foreign: bool,
}

impl Entry {
    /// A value that is in no object: nobody's consent is needed but that of whoever gives it.
    #[must_use]
    pub const fn bare(value: Result<Vec<u8>, Obstacle>) -> Self {
        Self {
            version: None,
            value,
            consent: None,
            is_foreign: false,
        }
    }

    pub(super) const fn version(&self) -> Option<&ObjectVersion> {
        self.version.as_ref()
    }
}

/// The certificate authorities out of an object, with the object's version.
#[derive(Debug)]
pub struct Authority {
    pub(super) version: Option<ObjectVersion>,
    pub(super) bundle: Result<Bundle, Obstacle>,
}

impl From<Entry> for Authority {
    fn from(entry: Entry) -> Self {
        Self {
            version: entry.version,
            bundle: entry.value.and_then(|pem| Bundle::read(&pem)),
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value may be a key.
        f.write_str("Entry(..)")
    }
}

/// Types of Secrets that hold credentials for something else than a bridge: a ServiceAccount's token, a node's, a
/// registry's login, a TLS key, a release with all its values.
/// <https://kubernetes.io/docs/concepts/configuration/secret/#secret-types>
const FOREIGN_TYPES: [&str; 3] = ["kubernetes.io/", "bootstrap.kubernetes.io/", "helm.sh/"];

impl Grounds<'_> {
    /// The order for the prober.
    ///
    /// # Errors
    /// What stands in its way, in the order of the verdict table.
    pub fn order(
        &self,
        target: &Target,
        secret: Entry,
        ca: Option<Authority>,
        next_secret: Option<Entry>,
    ) -> Result<ProbeOrder, Obstacle> {
        // Destructured in full: of a new field has to be said whether it makes a difference to a probe.
        let Target {
            origin,
            identity_provider: _,
            api_key: _,
            next_api_key: _,
            ca: _,
            server_name,
            interval: _,
            timeout,
            failure_threshold: _,
        } = target;
        target
            .origins()
            .try_for_each(|origin| self.policy.judge(&origin))
            .map_err(Obstacle::HostDenied)?;
        let key = self.api_key(target, secret)?;
        let trust = match ca {
            None => Trust::System,
            Some(authority) => Trust::Only(authority.bundle?),
        };
        let next_key = next_secret.map(|entry| self.api_key(target, entry));
        Ok(ProbeOrder {
            route: Route {
                origin: origin.clone(),
                trust,
                server_name: server_name.clone(),
            },
            key,
            next_key,
            budget: *timeout,
            requested: false,
        })
    }

    fn api_key(&self, target: &Target, secret: Entry) -> Result<ApiKey, Obstacle> {
        let Entry {
            version: _,
            value,
            consent,
            is_foreign,
        } = secret;
        // Before the value is looked at: where the Secret does not consent, its shape is not told either.
        let consent = match consent {
            None if is_foreign => Err(Obstacle::ConsentForeign),
            None if self.require_consent => Err(not_named(target.origin.scheme)),
            None => Ok(()),
            Some(hosts) => target
                .origins()
                .try_for_each(|origin| consent_to(&origin, &hosts)),
        };
        match (value, consent) {
            // There is nothing that could consent.
            (Err(Obstacle::SecretNotFound), _) => Err(Obstacle::SecretNotFound),
            (_, Err(obstacle)) => Err(obstacle),
            (value, Ok(())) => ApiKey::read(value?),
        }
    }
}

/// Whether the Secret's annotation lets its key go there: its entries are host patterns, separated by commas or white
/// space. A host alone stands for TLS; to go in the clear, where the key can be read on the way, takes `http://HOST`.
///
/// # Errors
/// What stands in the way. An entry that is no pattern names no host, and takes nothing from the others. Where none of
/// them names the host either, the obstacle says that there is such an entry: it may have meant the host.
pub fn consent_to(origin: &Origin, annotation: &str) -> Result<(), Obstacle> {
    const CLEAR: &str = "http://";
    let mut obstacle = not_named(origin.scheme);
    let entries = annotation.split(|c: char| c == ',' || c.is_whitespace());
    for entry in entries.filter(|entry| !entry.is_empty()) {
        let (scheme, host) = match entry.split_at_checked(CLEAR.len()) {
            Some((scheme, host)) if scheme.eq_ignore_ascii_case(CLEAR) => (Scheme::Http, host),
            Some(_) | None => (Scheme::Https, entry),
        };
        match host.parse::<HostPattern>() {
            Ok(pattern) if pattern.matches(&origin.host) => {
                if scheme == origin.scheme {
                    return Ok(());
                }
                if origin.scheme == Scheme::Http {
                    obstacle = Obstacle::ConsentForTls;
                }
            }
            Err(_) if obstacle != Obstacle::ConsentForTls => obstacle = Obstacle::ConsentMalformed,
            Ok(_) | Err(_) => {}
        }
    }
    Err(obstacle)
}

/// The obstacle where nothing names the host of an address with this scheme.
const fn not_named(scheme: Scheme) -> Obstacle {
    match scheme {
        Scheme::Https => Obstacle::ConsentMissing,
        Scheme::Http => Obstacle::ConsentInClear,
    }
}

/// Takes one entry out of a Secret and zeroes the others.
#[must_use]
pub fn secret_entry(secret: Option<Secret>, key: &str, no_object: Obstacle, no_entry: Obstacle) -> Entry {
    let Some(Secret {
        metadata,
        data,
        type_,
        ..
    }) = secret
    else {
        return Entry::bare(Err(no_object));
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

/// Takes one entry out of a `ConfigMap`.
#[must_use]
pub fn config_map_entry(object: Option<ConfigMap>, key: &str) -> Entry {
    let version = object.as_ref().map(|object| object_version(&object.metadata));
    let missing = if object.is_some() {
        Obstacle::CaEntryMissing
    } else {
        Obstacle::CaNotFound
    };
    let value = object.and_then(|object| {
        let ConfigMap {
            data, binary_data, ..
        } = object;
        let text = data.and_then(|mut data| data.remove(key)).map(String::into_bytes);
        text.or_else(|| {
            binary_data
                .and_then(|mut data| data.remove(key))
                .map(|bytes| bytes.0)
        })
    });
    Entry {
        version,
        value: value.ok_or(missing),
        consent: None,
        is_foreign: false,
    }
}

/// The version of an object.
pub(super) fn object_version(metadata: &ObjectMeta) -> ObjectVersion {
    ObjectVersion {
        uid: metadata.uid.clone().unwrap_or_default(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
    }
}
