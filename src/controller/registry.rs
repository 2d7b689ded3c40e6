//! What the controller knows: connections, the objects they refer to, and when each is due.
//!
//! Synchronous and without effects: watch events go in, decisions come out. Versions are kept only of objects that
//! some connection refers to; everything else in a cluster of thousands of Secrets passes through and is forgotten.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};

use crate::{
    api::{
        REQUESTED_AT_ANNOTATION,
        v1alpha1::{
            CaKind, IdentityProvider, ScimBridgeConnection, ScimBridgeConnectionSpec,
            ScimBridgeConnectionStatus,
        },
    },
    domain::{
        schedule::{Cause, Dependency, Due, Seen, Situation, due, pace_of},
        status::version,
    },
};

/// A connection, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Kinds of objects that a connection may refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReferenceKind {
    /// `v1/Secret`
    Secret,
    /// `v1/ConfigMap`
    ConfigMap,
}

/// An object that a connection refers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// What it is.
    pub kind: ReferenceKind,
    /// Its namespace: always the connection's.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A connection as it was read from the API server.
#[derive(Clone, Debug)]
pub struct Connection {
    /// `metadata`, without what nobody here reads.
    pub metadata: ObjectMeta,
    /// `spec`; `None` where the object does not have the form of the resource.
    pub spec: Option<ScimBridgeConnectionSpec>,
    /// `status`.
    pub status: ScimBridgeConnectionStatus,
}

/// A pass to be run.
#[derive(Clone, Debug)]
pub struct Job {
    /// Which connection.
    pub key: Key,
    /// The connection as it is now.
    pub connection: Arc<Connection>,
    /// Why.
    pub cause: Cause,
    /// Passing failures in a row so far.
    pub failures: u32,
}

/// How a pass ended.
#[derive(Clone, Debug)]
pub enum Finished {
    /// It came to a verdict.
    Judged {
        /// The connection as it is after the pass: with the new status and version, where it was written.
        connection: Arc<Connection>,
        /// Passing failures in a row.
        failures: u32,
        /// Time until the next probe.
        delay: Duration,
    },
    /// The object was replaced, changed or deleted while it was probed: what was seen is not about what is there now.
    /// With the connection that the pass began with.
    Overtaken(Arc<Connection>),
    /// We could not do our work.
    Failed,
}

#[derive(Debug)]
struct Entry {
    connection: Arc<Connection>,
    references: References,
    /// What was known of the references when the last pass began.
    seen_before: [Seen; 3],
    next: Instant,
    failures: u32,
    own_failures: u32,
    /// The object has changed, and the watch has yet to say how: until then there is nothing to probe.
    outdated_until: Option<Instant>,
    running: bool,
}

/// The Secret with the key, the CA object, the Secret with the next key.
type References = [Option<Reference>; 3];

#[derive(Debug, Default)]
struct Referenced {
    seen: Seen,
    by: BTreeSet<Key>,
}

/// Everything that the controller knows.
#[derive(Debug, Default)]
pub struct Registry {
    connections: HashMap<Key, Entry>,
    references: HashMap<Reference, Referenced>,
}

/// First delay after a failure of our own; doubled for each further one.
const OWN_RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest wait for a watch to tell of a change that a write has met.
const OUTDATED_MAX: Duration = Duration::from_secs(5);
/// Longest delay after failures of our own.
const OWN_RETRY_MAX: Duration = Duration::from_mins(2);

// === impl Registry ===

impl Registry {
    /// Takes in a connection that was read. An older version than the one that is known is ignored.
    pub fn apply(&mut self, key: &Key, mut connection: Connection, now: Timestamp, instant: Instant) {
        let known = self.connections.get_mut(key);
        if let Some(entry) = &known
            && entry.connection.is_same_object(&connection)
        {
            if connection.is_older_than(&entry.connection) {
                return;
            }
            if connection.spec.is_none() {
                // Its status cannot be read either; what we wrote is what we know.
                connection.status.clone_from(&entry.connection.status);
            }
        }
        let references = connection.references(&key.namespace);
        match known {
            Some(entry) if entry.connection.is_same_object(&connection) => {
                entry.outdated_until = None;
                entry.connection = Arc::new(connection);
                if entry.references != references {
                    let before = std::mem::replace(&mut entry.references, references.clone());
                    self.unlink(key, &before);
                    self.link(key, &references);
                }
            }
            _ => {
                // New, or another object under the same name: nothing of the old one is kept but a pass that runs.
                let running = known.is_some_and(|entry| entry.running);
                self.delete(key);
                let uid = connection.metadata.uid.as_deref().unwrap_or_default();
                let interval = connection
                    .spec
                    .as_ref()
                    .map_or(Duration::from_mins(5), |spec| spec.interval.0);
                let pace = pace_of(uid, interval, &connection.status);
                let resume = pace.resume(&connection.status, now);
                let entry = Entry {
                    next: instant + duration_between(now, resume),
                    failures: pace.failures,
                    connection: Arc::new(connection),
                    references: references.clone(),
                    seen_before: Default::default(),
                    own_failures: 0,
                    outdated_until: None,
                    running,
                };
                self.connections.insert(key.clone(), entry);
                self.link(key, &references);
            }
        }
    }

    /// Forgets a connection.
    pub fn delete(&mut self, key: &Key) {
        if let Some(entry) = self.connections.remove(key) {
            self.unlink(key, &entry.references);
        }
    }

    /// Forgets the connections of a namespace (of all, for `None`) that a complete list did not have.
    pub fn retain(&mut self, namespace: Option<&str>, listed: &HashSet<Key>) {
        let gone: Vec<Key> = self
            .connections
            .keys()
            .filter(|key| {
                namespace.is_none_or(|namespace| key.namespace == namespace) && !listed.contains(key)
            })
            .cloned()
            .collect();
        for key in gone {
            self.delete(&key);
        }
    }

    /// Takes in what was seen of an object. Returns the connections that refer to it.
    pub fn see(&mut self, reference: &Reference, seen: Seen) -> Vec<Key> {
        match self.references.get_mut(reference) {
            None => Vec::new(),
            Some(referenced) => {
                referenced.seen = seen;
                referenced.by.iter().cloned().collect()
            }
        }
    }

    /// Takes note that a complete list of a kind has ended: what it did not have does not exist. Returns the
    /// connections that refer to such objects.
    pub fn see_no_others(
        &mut self,
        kind: ReferenceKind,
        namespace: Option<&str>,
        listed: &HashSet<Reference>,
    ) -> Vec<Key> {
        let mut affected = Vec::new();
        for (reference, referenced) in &mut self.references {
            let in_scope =
                reference.kind == kind && namespace.is_none_or(|namespace| reference.namespace == namespace);
            if in_scope && !listed.contains(reference) {
                referenced.seen = Seen::Absent;
                affected.extend(referenced.by.iter().cloned());
            }
        }
        affected
    }

    /// Whether some connection refers to the object.
    #[must_use]
    pub fn refers_to(&self, reference: &Reference) -> bool {
        self.references.contains_key(reference)
    }

    /// Whether, and when, a connection is to be probed. `None` for one that is not known, or is being probed now.
    #[must_use]
    pub fn due(&self, key: &Key, now: Timestamp, instant: Instant) -> Option<Due> {
        let entry = self.connections.get(key).filter(|entry| !entry.running)?;
        let connection = &entry.connection;
        let status = &connection.status;
        // In the order of `References`.
        let judged = [
            version(status.credential.as_ref()),
            status.ca.clone(),
            version(status.next_credential.as_ref()),
        ];
        let dependency = |slot: usize| {
            let reference = entry.references.get(slot)?.as_ref()?;
            Some(Dependency {
                judged: judged.get(slot)?.as_ref(),
                seen: &self.references.get(reference)?.seen,
                seen_before: entry.seen_before.get(slot)?,
            })
        };
        if let Some(until) = entry.outdated_until.filter(|until| instant < *until) {
            return Some(Due::At(now + (until - instant)));
        }
        // A failure of our own is retried after its own delay, whatever else is due: the cause has not gone away.
        if entry.own_failures > 0 && instant < entry.next {
            return Some(Due::At(now + (entry.next - instant)));
        }
        Some(due(&Situation {
            dormant: connection.is_dormant(),
            generation: connection.metadata.generation.unwrap_or_default(),
            observed_generation: status.observed_generation,
            credential: dependency(0),
            ca: dependency(1),
            next_credential: dependency(2),
            requested: connection.requested().as_deref(),
            handled: status.last_handled_reconcile_at.as_deref(),
            next: now + entry.next.saturating_duration_since(instant),
            now,
        }))
    }

    /// Begins a pass.
    pub fn begin(&mut self, key: &Key, cause: Cause) -> Option<Job> {
        let entry = self.connections.get_mut(key).filter(|entry| !entry.running)?;
        entry.running = true;
        entry.seen_before = entry.references.each_ref().map(|reference| {
            reference
                .as_ref()
                .and_then(|reference| self.references.get(reference))
                .map(|referenced| referenced.seen.clone())
                .unwrap_or_default()
        });
        Some(Job {
            key: key.clone(),
            connection: Arc::clone(&entry.connection),
            cause,
            failures: entry.failures,
        })
    }

    /// Ends a pass.
    pub fn finish(&mut self, key: &Key, finished: Finished, instant: Instant) {
        let Some(entry) = self.connections.get_mut(key) else {
            return;
        };
        entry.running = false;
        match finished {
            Finished::Judged {
                connection,
                failures,
                delay,
            } => {
                if !entry.connection.is_same_object(&connection) {
                    return;
                }
                if !connection.is_older_than(&entry.connection) {
                    entry.connection = connection;
                }
                entry.failures = failures;
                entry.own_failures = 0;
                entry.next = instant + delay;
            }
            Finished::Overtaken(connection) => {
                entry.own_failures = 0;
                let is_still_old = Arc::ptr_eq(&entry.connection, &connection);
                entry.outdated_until = is_still_old.then(|| instant + OUTDATED_MAX);
            }
            Finished::Failed => {
                let delay = OWN_RETRY_MIN
                    .saturating_mul(1 << entry.own_failures.min(10))
                    .min(OWN_RETRY_MAX);
                entry.own_failures = entry.own_failures.saturating_add(1);
                entry.next = instant + delay;
            }
        }
    }

    /// How many connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    fn link(&mut self, key: &Key, references: &References) {
        for reference in references.iter().flatten() {
            self.references
                .entry(reference.clone())
                .or_default()
                .by
                .insert(key.clone());
        }
    }

    fn unlink(&mut self, key: &Key, references: &References) {
        for reference in references.iter().flatten() {
            // What the connection still refers to stays known.
            let entry = self.connections.get(key);
            if entry.is_some_and(|entry| entry.references.iter().flatten().any(|kept| kept == reference)) {
                continue;
            }
            if let Some(referenced) = self.references.get_mut(reference) {
                referenced.by.remove(key);
                if referenced.by.is_empty() {
                    self.references.remove(reference);
                }
            }
        }
    }
}

// === impl Connection ===

impl Connection {
    /// Whether both are versions of one object, and not two that had the same name.
    #[must_use]
    pub fn is_same_object(&self, other: &Self) -> bool {
        self.metadata.uid == other.metadata.uid
    }

    /// Whether this version is older than the other. Versions of one resource may be compared as numbers:
    /// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
    fn is_older_than(&self, other: &Self) -> bool {
        let number = |connection: &Self| {
            connection
                .metadata
                .resource_version
                .as_ref()
                .and_then(|version| version.parse::<u128>().ok())
        };
        matches!((number(self), number(other)), (Some(a), Some(b)) if a < b)
    }

    /// The declared identity provider.
    #[must_use]
    pub fn declared(&self) -> Option<IdentityProvider> {
        self.spec.as_ref().and_then(|spec| spec.identity_provider)
    }

    /// The pending or handled request for a probe, cut to what a status may hold.
    #[must_use]
    pub fn requested(&self) -> Option<String> {
        let value = self.metadata.annotations.as_ref()?.get(REQUESTED_AT_ANNOTATION)?;
        Some(value.chars().take(256).collect())
    }

    fn is_dormant(&self) -> bool {
        self.metadata.deletion_timestamp.is_some() || self.spec.as_ref().is_some_and(|spec| spec.suspend)
    }

    fn references(&self, namespace: &str) -> References {
        let Some(spec) = &self.spec else {
            return Default::default();
        };
        let reference = |kind, name: &str| Reference {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let ca = spec.tls.as_ref().and_then(|tls| tls.ca_ref.as_ref());
        [
            Some(reference(ReferenceKind::Secret, &spec.api_key_secret_ref.name)),
            ca.map(|ca| reference(ca.kind.into(), &ca.name)),
            spec.next_api_key_secret_ref
                .as_ref()
                .map(|next| reference(ReferenceKind::Secret, &next.name)),
        ]
    }
}

impl From<ScimBridgeConnection> for Connection {
    fn from(object: ScimBridgeConnection) -> Self {
        let ScimBridgeConnection {
            metadata,
            spec,
            status,
        } = object;
        Self {
            metadata: trimmed(metadata),
            spec: Some(spec),
            status: status.unwrap_or_else(unobserved),
        }
    }
}

impl From<ObjectMeta> for Connection {
    /// An object of which only the metadata could be read.
    fn from(metadata: ObjectMeta) -> Self {
        Self {
            metadata: trimmed(metadata),
            spec: None,
            status: unobserved(),
        }
    }
}

impl From<CaKind> for ReferenceKind {
    fn from(kind: CaKind) -> Self {
        match kind {
            CaKind::ConfigMap => Self::ConfigMap,
            CaKind::Secret => Self::Secret,
        }
    }
}

/// Keeps of the metadata what is read here: thousands of objects lie in memory.
fn trimmed(metadata: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        generation: metadata.generation,
        resource_version: metadata.resource_version,
        deletion_timestamp: metadata.deletion_timestamp,
        annotations: metadata.annotations.and_then(|mut annotations| {
            annotations.retain(|name, _| name == REQUESTED_AT_ANNOTATION);
            (!annotations.is_empty()).then_some(annotations)
        }),
        ..ObjectMeta::default()
    }
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
