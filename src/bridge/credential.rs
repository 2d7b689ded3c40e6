//! Builds a [`ProbeRequest`] from a connection's Secret and CA object, or returns the [`Blocker`].
//!
//! It does no I/O. The controller reads the objects from the API server; `check` reads files or the API server.

use std::fmt;

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use secrecy::zeroize::Zeroize as _;

use super::{
    ProbeRequest,
    key::ApiKey,
    route::Route,
    wire::{
        address::{AddressPolicy, HostPattern},
        trust::{Bundle, Trust},
    },
};
use crate::{
    api::{ALLOWED_HOSTS_ANNOTATION, connection::ObjectVersion},
    domain::connection::{
        evidence::{Blocker, ConsentFault},
        target::{Origin, Scheme, Target},
    },
};

/// The rules for sending a key to a host.
#[derive(Clone, Copy, Debug)]
pub struct KeyPolicy<'a> {
    /// The hosts that the operator may contact.
    pub policy: &'a AddressPolicy,
    /// Whether every Secret must list the allowed hosts for its key.
    pub require_consent: bool,
}

/// A value from an object, with the object's version.
pub struct DataEntry {
    version: Option<ObjectVersion>,
    value: Result<Vec<u8>, Blocker>,
    /// The Secret's annotation with the allowed hosts for its key.
    consent: Option<String>,
    /// Whether the Secret's type shows that it holds no key for a bridge.
    is_foreign: bool,
}

impl DataEntry {
    /// A value that is in no object. It needs no annotation: the person who passes it in consents.
    #[must_use]
    pub const fn bare(value: Result<Vec<u8>, Blocker>) -> Self {
        Self {
            version: None,
            value,
            consent: None,
            is_foreign: false,
        }
    }

    pub(crate) const fn version(&self) -> Option<&ObjectVersion> {
        self.version.as_ref()
    }
}

/// The certificate authorities from an object, with the object's version.
#[derive(Debug)]
pub struct Authority {
    pub(crate) version: Option<ObjectVersion>,
    pub(crate) bundle: Result<Bundle, Blocker>,
}

impl From<DataEntry> for Authority {
    fn from(entry: DataEntry) -> Self {
        Self {
            version: entry.version,
            bundle: entry.value.and_then(|pem| Bundle::read(&pem)),
        }
    }
}

impl fmt::Debug for DataEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value may be a key.
        f.write_str("DataEntry(..)")
    }
}

/// Prefixes of the Secret types for other credentials: the token of a ServiceAccount or a node, a registry login, a TLS
/// key, a Helm release with its values.
/// <https://kubernetes.io/docs/concepts/configuration/secret/#secret-types>
const FOREIGN_TYPES: [&str; 3] = ["kubernetes.io/", "bootstrap.kubernetes.io/", "helm.sh/"];

impl KeyPolicy<'_> {
    /// Builds the probe request.
    ///
    /// # Errors
    /// The first [`Blocker`], in the order of the verdict table.
    pub fn probe_request(
        &self,
        target: &Target,
        secret: DataEntry,
        ca: Option<Authority>,
        next_secret: Option<DataEntry>,
    ) -> Result<ProbeRequest, Blocker> {
        // Every field is listed. For a new field, decide whether it changes the probe.
        let Target {
            origin,
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
            .map_err(Blocker::HostDenied)?;
        let key = self.api_key(target, secret)?;
        let trust = match ca {
            None => Trust::System,
            Some(authority) => Trust::Only(authority.bundle?),
        };
        let next_key = next_secret.map(|entry| self.api_key(target, entry));
        Ok(ProbeRequest {
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

    fn api_key(&self, target: &Target, secret: DataEntry) -> Result<ApiKey, Blocker> {
        let DataEntry {
            version: _,
            value,
            consent,
            is_foreign,
        } = secret;
        // Consent comes first. Without it, the blocker must not reveal whether the value is a valid key.
        let consent = match consent {
            None if is_foreign => Err(Blocker::ConsentMissing(ConsentFault::Foreign)),
            None if !self.require_consent => Ok(()),
            // As an annotation without entries.
            None => consent_to(&target.origin, "").map_err(Blocker::ConsentMissing),
            Some(hosts) => target
                .origins()
                .try_for_each(|origin| consent_to(&origin, &hosts))
                .map_err(Blocker::ConsentMissing),
        };
        match (value, consent) {
            // A missing Secret cannot consent: report that it is missing.
            (Err(Blocker::SecretNotFound), _) => Err(Blocker::SecretNotFound),
            (_, Err(blocker)) => Err(blocker),
            (value, Ok(())) => ApiKey::read(value?),
        }
    }
}

/// Checks whether a Secret's annotation allows its key for this origin. The annotation lists host patterns, separated
/// by commas or white space. A host alone allows TLS. Only `http://HOST` allows plain HTTP, where others can read the
/// key.
///
/// # Errors
/// Why no entry matches. An invalid entry matches no host, and does not affect the others. If there is one, the fault is
/// [`ConsentFault::Malformed`]: that entry may have meant this host.
pub fn consent_to(origin: &Origin, annotation: &str) -> Result<(), ConsentFault> {
    const CLEAR: &str = "http://";
    let mut fault = match origin.scheme {
        Scheme::Https => ConsentFault::Unnamed,
        Scheme::Http => ConsentFault::InClear,
    };
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
                    fault = ConsentFault::ForTls;
                }
            }
            Err(_) if fault != ConsentFault::ForTls => fault = ConsentFault::Malformed,
            Ok(_) | Err(_) => {}
        }
    }
    Err(fault)
}

/// Takes one entry out of a Secret and zeroes the others.
#[must_use]
pub fn secret_entry(secret: Option<Secret>, key: &str, no_object: Blocker, no_entry: Blocker) -> DataEntry {
    let Some(Secret {
        metadata,
        data,
        type_,
        ..
    }) = secret
    else {
        return DataEntry::bare(Err(no_object));
    };
    let mut data = data.unwrap_or_default();
    let value = data.remove(key).map(|ByteString(bytes)| bytes).ok_or(no_entry);
    for ByteString(bytes) in data.values_mut() {
        bytes.zeroize();
    }
    DataEntry {
        version: Some(object_version(&metadata)),
        value,
        consent: metadata
            .annotations
            .and_then(|mut annotations| annotations.remove(ALLOWED_HOSTS_ANNOTATION)),
        is_foreign: type_.is_some_and(|type_| FOREIGN_TYPES.iter().any(|prefix| type_.starts_with(prefix))),
    }
}

/// Takes one entry out of a `ConfigMap`.
#[must_use]
pub fn config_map_entry(object: Option<ConfigMap>, key: &str) -> DataEntry {
    let version = object.as_ref().map(|object| object_version(&object.metadata));
    let missing = if object.is_some() {
        Blocker::CaEntryMissing
    } else {
        Blocker::CaNotFound
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
    DataEntry {
        version,
        value: value.ok_or(missing),
        consent: None,
        is_foreign: false,
    }
}

pub(crate) fn object_version(metadata: &ObjectMeta) -> ObjectVersion {
    ObjectVersion {
        uid: metadata.uid.clone().unwrap_or_default(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
    }
}
