//! A connection between two passes, as small as it can be kept.
//!
//! Thousands of connections lie in memory, and each is looked at for some milliseconds in minutes. What decides whether
//! it is due stands by itself. The rest is packed: as JSON, compressed with a dictionary of what nearly every connection
//! says in the same words.

use std::{fmt, sync::LazyLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use lz4_flex::block::{compress_into_with_dict, decompress_with_dict, get_maximum_output_size};
use serde::{Deserialize, Serialize};

use super::connection::Connection;
use crate::{
    api::{
        connection::{ScimBridgeConnectionSpec, ScimBridgeConnectionStatus},
        vocabulary::{ConditionType, Reason},
    },
    domain::{
        connection::{evidence::Component, role::PerRole, status::versions},
        watched::{Version, is_older},
    },
};

/// A connection at rest.
#[derive(Clone, Debug)]
pub(super) struct StoredObject {
    /// `metadata.uid`
    pub(super) uid: Option<Box<str>>,
    /// `metadata.resourceVersion`
    pub(super) resource_version: Option<Box<str>>,
    /// `metadata.generation`
    pub(super) generation: i64,
    /// Whether it is not to be probed.
    pub(super) is_dormant: bool,
    /// The request for a probe.
    pub(super) requested: Option<Box<str>>,
    /// What its status is about.
    pub(super) judged: Judged,
    packed: Compressed,
}

/// What a status is about.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// `status.observedGeneration`
    pub(super) generation: i64,
    /// `status.lastHandledReconcileAt`
    pub(super) handled: Option<Box<str>>,
    /// The versions of the objects that the connection refers to.
    pub(super) versions: PerRole<Option<Version>>,
}

#[derive(Clone)]
enum Compressed {
    /// Compressed, with the length that it had before.
    Small(u32, Box<[u8]>),
    /// What would not come back as it was.
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

/// What connections have in common: the words of every verdict, and last, where compression looks first, one that works.
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
    let text = verdicts
        .chain(components)
        .chain([BEFORE_CONDITIONS.to_owned()])
        .chain(works)
        .chain([AFTER_CONDITIONS.to_owned()]);
    text.collect::<String>().into_bytes()
});

const BEFORE_CONDITIONS: &str = r#"{"metadata":{"generation":1,"name":"","namespace":"","resourceVersion":"1","uid":""},"spec":{"url":"https://scim.example.com","apiKeySecretRef":{"name":"","key":"apiKey"},"identityProvider":"GoogleWorkspace","EntraID","JumpCloud","OneLogin","Okta","interval":"5m","timeout":"10s","failureThreshold":3,"suspend":false,"allowPlaintext":false,"tls":{"caRef":{"kind":"Secret","ConfigMap","name":"ca","key":"ca.crt"},"serverName":null},"nextApiKeySecretRef":null},"status":{"observedGeneration":1,"conditions":["#;

const AFTER_CONDITIONS: &str = r#"],"scimEndpoint":"https://scim.example.com/scim","scimApi":"Enabled","bridge":{"version":"2.9.16","build":"209163","components":[{"name":"ConfirmationWatcher","state":"healthy"},{"name":"RedisCache","state":"healthy"},{"name":"SCIMServer","state":"healthy"},{"name":"StartProvisionWatcher","state":"healthy"}]},"certificate":{"notAfter":"2026-01-01T00:00:00Z","issuer":"Let's Encrypt"},"directory":{"users":1,"groups":1},"credential":{"uid":"","resourceVersion":"1"},"ca":{"uid":"","resourceVersion":"1"},"lastProbeTime":"2026-01-01T00:00:00Z","nextProbeTime":"2026-01-01T00:00:00Z","validUntil":"2026-01-01T00:00:00Z","consecutiveFailures":0,"binding":{"name":""}}}"#;

impl StoredObject {
    /// Lays a connection to rest.
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
            judged: Judged::of(status),
            packed: Compressed::new(connection),
        }
    }

    /// Whether what was read is a later version of it: neither an older one, nor this one again.
    pub(super) fn is_followed_by(&self, read: &Connection) -> bool {
        !self.is_newer_than(read) && !self.is_version(&read.metadata)
    }

    /// Whether what was read is an older version.
    pub(super) fn is_newer_than(&self, read: &Connection) -> bool {
        let read = read.metadata.resource_version.as_deref().unwrap_or_default();
        is_older(read, self.resource_version.as_deref().unwrap_or_default())
    }

    /// Whether what was read is this version.
    pub(super) fn is_version(&self, read: &ObjectMeta) -> bool {
        let version = self.resource_version.as_deref();
        version.is_some() && version == read.resource_version.as_deref()
    }

    /// The connection as it was.
    pub(super) fn load(&self) -> Connection {
        self.packed.open()
    }
}

impl Judged {
    /// What this status is about.
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
        pack(connection)
            // A status may hold what anybody has written: times with fractions, for instance.
            .filter(|(length, bytes)| unpack(*length, bytes).as_ref() == Some(connection))
            .map_or_else(
                || Self::Whole(Box::new(connection.clone())),
                |(length, bytes)| Self::Small(length, bytes),
            )
    }

    fn open(&self) -> Connection {
        match self {
            Self::Whole(connection) => Connection::clone(connection),
            Self::Small(length, bytes) => unpack(*length, bytes).unwrap_or_else(|| {
                // It was unpacked once when it was packed.
                tracing::error!("a connection in memory is damaged");
                ObjectMeta::default().into()
            }),
        }
    }
}

impl fmt::Debug for Compressed {
    /// What is packed: how, tells nobody anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.open().fmt(f)
    }
}

fn pack(connection: &Connection) -> Option<(u32, Box<[u8]>)> {
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

fn unpack(length: u32, bytes: &[u8]) -> Option<Connection> {
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
        Connection::new(metadata, serde_json::from_str(spec).unwrap(), Some(status))
    }

    #[test]
    fn it_wakes_as_it_was() {
        for connection in [
            connection("2026-11-28T02:00:00Z"),
            connection("2026-11-28T02:00:00.123456789Z"),
            ObjectMeta::default().into(),
        ] {
            assert_eq!(StoredObject::new(&connection).load(), connection);
        }
    }

    #[test]
    fn it_is_small_where_it_says_what_all_say() {
        let connection = connection("2026-11-28T02:00:00Z");
        let Compressed::Small(length, bytes) = Compressed::new(&connection) else {
            panic!("it does not come back as it was");
        };
        let length = usize::try_from(length).unwrap();
        assert!(bytes.len() * 4 < length, "{length} bytes become {}", bytes.len());
    }
}
