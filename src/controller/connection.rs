//! A connection and its references to other objects, as the controller keeps them.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};

use crate::{
    api::{
        RELEASE_ANNOTATION, REQUESTED_AT_ANNOTATION,
        connection::{
            IdentityProvider, ScimBridgeConnection, ScimBridgeConnectionSpec, ScimBridgeConnectionStatus,
        },
        role::PerRole,
        vocabulary::{ConditionType, Truth},
    },
    domain::connection::{
        conditions::find,
        schedule::pace_of,
        status::{interval_of, is_superseded},
        target::Target,
    },
    feed::{FeedConnection, Proof},
    metrics::Row,
    resolve::reference::{Reference, ReferenceKind},
};

/// A connection as read from the API server.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// `metadata`: only the fields that the controller reads.
    pub metadata: ObjectMeta,
    /// `spec`; `None` if it cannot be decoded.
    pub spec: Option<ScimBridgeConnectionSpec>,
    /// `status`.
    pub status: ScimBridgeConnectionStatus,
}

/// The objects that a connection refers to.
pub(super) type References = PerRole<Option<Reference>>;

// === impl Connection ===

impl Connection {
    /// Makes a connection from the parts of an object that could be decoded.
    #[must_use]
    pub fn new(
        metadata: ObjectMeta,
        spec: Option<ScimBridgeConnectionSpec>,
        status: Option<ScimBridgeConnectionStatus>,
    ) -> Self {
        Self {
            metadata: trimmed(metadata),
            spec,
            status: status.map_or_else(unobserved, probed),
        }
    }

    /// Whether both have the same UID. If not, one was deleted and another created under its name.
    #[must_use]
    pub fn is_same_object(&self, other: &Self) -> bool {
        self.metadata.uid == other.metadata.uid
    }

    /// The time until the next probe and the consecutive transient failures, both according to the status.
    pub(super) fn resume(&self, now: Timestamp) -> (Duration, u32) {
        let uid = self.metadata.uid.as_deref().unwrap_or_default();
        // The same interval as in the reconcile that wrote the status.
        let target = self.spec.as_ref().and_then(|spec| Target::parse(spec).ok());
        let interval = interval_of(target.as_ref());
        let pace = pace_of(uid, interval, &self.status, now);
        let resume = pace.resume(&self.status, now);
        (duration_between(now, resume), pace.failures)
    }

    /// Whether a status made from this connection may be written to it as it is `read` now. It must be the same object
    /// with the same specification, and no other process may have written a later verdict. `unwritten` is not a verdict
    /// of another process: it may be there because its write succeeded and only the answer was lost.
    #[must_use]
    pub fn accepts(
        &self,
        status: &ScimBridgeConnectionStatus,
        unwritten: Option<&ScimBridgeConnectionStatus>,
        read: &Self,
    ) -> bool {
        let generation = self.metadata.generation.unwrap_or_default();
        let superseded = is_superseded(status, [Some(&self.status), unwritten], &read.status, generation);
        self.is_current(read) && !superseded
    }

    /// Whether the object `read` now is the same object with the same specification and is not being deleted.
    #[must_use]
    pub fn is_current(&self, read: &Self) -> bool {
        self.is_same_object(read)
            && read.metadata.generation == self.metadata.generation
            && read.metadata.deletion_timestamp.is_none()
    }

    /// The declared identity provider.
    #[must_use]
    pub fn declared(&self) -> Option<IdentityProvider> {
        self.spec.as_ref().and_then(|spec| spec.identity_provider)
    }

    /// The requested-at annotation, pending or handled, cut to the length that the status allows.
    #[must_use]
    pub fn requested(&self) -> Option<String> {
        let value = self.metadata.annotations.as_ref()?.get(REQUESTED_AT_ANNOTATION)?;
        Some(value.chars().take(256).collect())
    }

    /// What the metrics show of this connection with this status.
    #[must_use]
    pub fn row(&self, status: &ScimBridgeConnectionStatus) -> Row {
        let is_suspended = self.spec.as_ref().is_some_and(|spec| spec.suspend);
        Row::of(self.declared(), is_suspended, status)
    }

    /// What provisioning needs of this connection.
    pub(super) fn fed(&self, has_directory_status: Option<bool>) -> FeedConnection {
        let generation = self.metadata.generation.unwrap_or_default();
        let is_about_this = self.status.observed_generation == generation && !self.is_dormant();
        let is_connected = find(&self.status.conditions, ConditionType::Connected)
            .is_some_and(|connected| connected.status == Truth::True.as_str());
        let valid_until = self.status.valid_until.as_ref().map(|until| until.0);
        FeedConnection {
            uid: self.metadata.uid.as_deref().unwrap_or_default().into(),
            generation,
            is_judged: self.status.observed_generation == generation || self.is_dormant(),
            handled: self.status.last_handled_reconcile_at.as_deref().map(Into::into),
            release: self
                .metadata
                .annotations
                .as_ref()
                .and_then(|annotations| annotations.get(RELEASE_ANNOTATION))
                .filter(|_| self.spec.as_ref().is_some_and(|spec| spec.provisioning.is_some()))
                .map(|release| release.as_str().into()),
            created: self.metadata.creation_timestamp.as_ref().map(|time| time.0),
            has_elder: false,
            spec: self
                .spec
                .as_ref()
                .filter(|spec| spec.provisioning.is_some())
                .map(|spec| Arc::new(spec.clone())),
            proof: valid_until
                .filter(|_| is_about_this && is_connected)
                .map(|valid_until| Proof {
                    valid_until,
                    credential: self.status.credential.clone(),
                    ca: self.status.ca.clone(),
                }),
            has_directory_status,
        }
    }

    pub(super) fn is_dormant(&self) -> bool {
        self.metadata.deletion_timestamp.is_some() || self.spec.as_ref().is_some_and(|spec| spec.suspend)
    }

    pub(super) fn references(&self, namespace: &Arc<str>) -> References {
        let Some(spec) = &self.spec else {
            return PerRole::default();
        };
        let reference = |kind, name: &str| Reference {
            kind,
            namespace: Arc::clone(namespace),
            name: name.into(),
        };
        let ca = spec.tls.as_ref().and_then(|tls| tls.ca_ref.as_ref());
        let next = spec.next_api_key_secret_ref.as_ref();
        PerRole {
            credential: Some(reference(ReferenceKind::Secret, &spec.api_key_secret_ref.name)),
            ca: ca.map(|ca| reference(ca.kind.into(), &ca.name)),
            next_credential: next.map(|next| reference(ReferenceKind::Secret, &next.name)),
        }
    }
}

impl From<ScimBridgeConnection> for Connection {
    fn from(object: ScimBridgeConnection) -> Self {
        let ScimBridgeConnection {
            metadata,
            spec,
            status,
        } = object;
        Self::new(metadata, Some(spec), status)
    }
}

/// Keeps only the fields that the controller reads: thousands of objects are in memory.
fn trimmed(metadata: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        generation: metadata.generation,
        resource_version: metadata.resource_version,
        creation_timestamp: metadata.creation_timestamp,
        deletion_timestamp: metadata.deletion_timestamp,
        annotations: metadata.annotations.and_then(|mut annotations| {
            annotations.retain(|name, _| name == REQUESTED_AT_ANNOTATION || name == RELEASE_ANNOTATION);
            (!annotations.is_empty()).then_some(annotations)
        }),
        ..ObjectMeta::default()
    }
}

/// The part of a status that probes write. Others may own the rest.
fn probed(mut status: ScimBridgeConnectionStatus) -> ScimBridgeConnectionStatus {
    status.provisioning = None;
    status
        .conditions
        .retain(|condition| ConditionType::is_probed(&condition.type_));
    status
}

fn unobserved() -> ScimBridgeConnectionStatus {
    ScimBridgeConnectionStatus {
        observed_generation: -1,
        ..ScimBridgeConnectionStatus::default()
    }
}

fn duration_between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
