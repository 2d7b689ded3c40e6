//! Stores a connection between two reconciles in as little memory as possible.
//!
//! Thousands of connections are in memory, and each is used for some milliseconds every few minutes. The fields that
//! decide whether it is due are stored as they are. The whole connection is stored as JSON, compressed with a
//! dictionary made from the texts of all verdicts.

use std::{fmt, sync::LazyLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use lz4_flex::block::{compress_into_with_dict, decompress_with_dict, get_maximum_output_size};
use serde::{Deserialize, Serialize};

use super::connection::Connection;
use crate::{
    api::{
        connection::{ScimBridgeConnectionSpec, ScimBridgeConnectionStatus},
        role::PerRole,
        vocabulary::{ConditionType, Reason},
    },
    domain::{
        connection::{evidence::Component, status::versions},
        watched::{Version, is_older},
    },
};

/// A stored connection.
#[derive(Clone, Debug)]
pub(super) struct StoredObject {
    /// `metadata.uid`
    pub(super) uid: Option<Box<str>>,
    /// `metadata.resourceVersion`
    pub(super) resource_version: Option<Box<str>>,
    /// `metadata.generation`
    pub(super) generation: i64,
    /// Whether it is suspended or being deleted.
    pub(super) is_dormant: bool,
    /// The requested-at annotation.
    pub(super) requested: Option<Box<str>>,
    /// What its status was made from.
    pub(super) observed: Observed,
    compressed: Compressed,
}

/// What a status was made from.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    /// `status.observedGeneration`
    pub(super) generation: i64,
    /// `status.lastHandledReconcileAt`
    pub(super) handled: Option<Box<str>>,
    /// The versions of the objects that the connection refers to.
    pub(super) versions: PerRole<Option<Version>>,
}

#[derive(Clone)]
enum Compressed {
    /// The length before compression, and the compressed JSON.
    Small(u32, Box<[u8]>),
    /// A connection that JSON would change.
    Whole(Box<Connection>),
}

#[derive(Serialize)]
struct Borrowed<'a> {
    metadata: &'a ObjectMeta,
    spec: &'a Option<ScimBridgeConnectionSpec>,
    status: &'a ScimBridgeConnectionStatus,
}

#[derive(Deserialize)]
struct Owned {
    metadata: ObjectMeta,
    spec: Option<ScimBridgeConnectionSpec>,
    status: ScimBridgeConnectionStatus,
}

/// What connections have in common: the conditions of every verdict. The conditions of a working connection come last:
/// the compressor looks there first.
static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let condition = |type_: ConditionType, status: &str, reason: Reason, action: &str| {
        let (message, reason, type_) = (reason.message(), reason.as_str(), type_.as_str());
        format!(
            r#"{{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"{message}{action}","observedGeneration":1,"reason":"{reason}","status":"{status}","type":"{type_}"}},"#
        )
    };
    let verdicts = Reason::ALL.iter().map(|reason| {
        let action = format!(" {}", reason.action());
        condition(ConditionType::Ready, "False", *reason, &action)
    });
    let components = Component::ALL
        .iter()
        .map(|component| format!(r#"{{"name":"{}","state":"healthy"}},"#, component.as_str()));
    let works = [
        condition(ConditionType::Ready, "True", Reason::Connected, ""),
        condition(ConditionType::Connected, "True", Reason::Connected, ""),
        condition(ConditionType::AuthFailed, "False", Reason::Connected, ""),
        condition(ConditionType::ScimDisabled, "False", Reason::Connected, ""),
    ];
    verdicts
        .chain(components)
        .chain(works)
        .collect::<String>()
        .into_bytes()
});

impl StoredObject {
    /// Compresses a connection.
    pub(super) fn new(connection: &Connection) -> Self {
        let Connection {
            metadata,
            spec: _,
            status,
        } = connection;
        Self {
            uid: metadata.uid.as_deref().map(Into::into),
            resource_version: metadata.resource_version.as_deref().map(Into::into),
            generation: metadata.generation.unwrap_or_default(),
            is_dormant: connection.is_dormant(),
            requested: connection.requested().map(Into::into),
            observed: Observed::of(status),
            compressed: Compressed::new(connection),
        }
    }

    /// Whether `read` is a later version.
    pub(super) fn is_followed_by(&self, read: &Connection) -> bool {
        !self.is_newer_than(read) && !self.is_version(&read.metadata)
    }

    /// Whether `read` is an older version.
    pub(super) fn is_newer_than(&self, read: &Connection) -> bool {
        let read = read.metadata.resource_version.as_deref().unwrap_or_default();
        is_older(read, self.resource_version.as_deref().unwrap_or_default())
    }

    /// Whether `read` is this version.
    pub(super) fn is_version(&self, read: &ObjectMeta) -> bool {
        let version = self.resource_version.as_deref();
        version.is_some() && version == read.resource_version.as_deref()
    }

    /// Decompresses the connection.
    pub(super) fn load(&self) -> Connection {
        self.compressed.open()
    }
}

impl Observed {
    /// What this status was made from.
    pub(super) fn of(status: &ScimBridgeConnectionStatus) -> Self {
        Self {
            generation: status.observed_generation,
            handled: status.last_handled_reconcile_at.as_deref().map(Into::into),
            versions: versions(status).map(|version| version.map(Version::from)),
        }
    }
}

impl Compressed {
    fn new(connection: &Connection) -> Self {
        compress(connection)
            // Another program may have written a status that JSON changes, for instance times with fractions.
            .filter(|(length, bytes)| decompress(*length, bytes).as_ref() == Some(connection))
            .map_or_else(
                || Self::Whole(Box::new(connection.clone())),
                |(length, bytes)| Self::Small(length, bytes),
            )
    }

    fn open(&self) -> Connection {
        match self {
            Self::Whole(connection) => Connection::clone(connection),
            Self::Small(length, bytes) => decompress(*length, bytes).unwrap_or_else(|| {
                // Cannot happen: `new` has decompressed it once.
                tracing::error!("cannot decompress a stored connection");
                Connection::new(ObjectMeta::default(), None, None)
            }),
        }
    }
}

impl fmt::Debug for Compressed {
    /// Shows the connection, not its compressed bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.open().fmt(f)
    }
}

fn compress(connection: &Connection) -> Option<(u32, Box<[u8]>)> {
    let Connection {
        metadata,
        spec,
        status,
    } = connection;
    let whole = Borrowed {
        metadata,
        spec,
        status,
    };
    let json = serde_json::to_vec(&whole).ok()?;
    let mut out = vec![0; get_maximum_output_size(json.len())];
    let length = compress_into_with_dict(&json, &mut out, &DICTIONARY).ok()?;
    Some((u32::try_from(json.len()).ok()?, out.get(..length)?.into()))
}

fn decompress(length: u32, bytes: &[u8]) -> Option<Connection> {
    let json = decompress_with_dict(bytes, usize::try_from(length).ok()?, &DICTIONARY).ok()?;
    let Owned {
        metadata,
        spec,
        status,
    } = serde_json::from_slice(&json).ok()?;
    Some(Connection {
        metadata,
        spec,
        status,
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        apimachinery::pkg::apis::meta::v1::{Condition, Time},
        jiff::Timestamp,
    };

    use super::*;

    fn connection(time: &str) -> Connection {
        let time = Time(time.parse::<Timestamp>().unwrap());
        let condition = |type_: ConditionType, status: &str| Condition {
            last_transition_time: time.clone(),
            message: Reason::Connected.message().to_owned(),
            observed_generation: Some(3),
            reason: Reason::Connected.as_str().to_owned(),
            status: status.to_owned(),
            type_: type_.as_str().to_owned(),
        };
        let spec = r#"{"url":"https://scim.example.com","identityProvider":"Okta","apiKeySecretRef":{"name":"corp-scim"}}"#;
        let status = ScimBridgeConnectionStatus {
            observed_generation: 3,
            conditions: vec![
                condition(ConditionType::Ready, "True"),
                condition(ConditionType::Connected, "True"),
                condition(ConditionType::AuthFailed, "False"),
                condition(ConditionType::ScimDisabled, "False"),
            ],
            last_probe_time: Some(time.clone()),
            last_handled_reconcile_at: Some("now".to_owned()),
            ..ScimBridgeConnectionStatus::default()
        };
        let metadata = ObjectMeta {
            name: Some("corp".to_owned()),
            namespace: Some("identity".to_owned()),
            uid: Some("7a79c884-30e4-44b2-9fe7-f49ca72994f4".to_owned()),
            resource_version: Some("3382".to_owned()),
            generation: Some(3),
            ..ObjectMeta::default()
        };
        Connection::new(metadata, Some(serde_json::from_str(spec).unwrap()), Some(status))
    }

    #[test]
    fn a_stored_connection_is_loaded_unchanged() {
        for connection in [
            connection("2026-11-28T02:00:00Z"),
            connection("2026-11-28T02:00:00.123456789Z"),
            Connection::new(ObjectMeta::default(), None, None),
        ] {
            assert_eq!(StoredObject::new(&connection).load(), connection);
        }
    }

    #[test]
    fn a_connection_shrinks_to_less_than_half() {
        let connection = connection("2026-11-28T02:00:00Z");
        let Compressed::Small(length, bytes) = Compressed::new(&connection) else {
            panic!("JSON changes the connection");
        };
        let length = usize::try_from(length).unwrap();
        assert!(bytes.len() * 2 < length, "{length} bytes become {}", bytes.len());
    }
}
