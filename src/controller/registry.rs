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
        schedule::{Cause, Dependency, Due, Seen, Situation, due, is_older, pace_of},
        status::{interval_of, is_same_verdict, is_superseded, version},
        target::Target,
    },
    metrics::Row,
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
    /// A verdict that could not be written. It counts for the status, and something has to be written, whatever else
    /// comes of the pass.
    pub unwritten: Option<Arc<ScimBridgeConnectionStatus>>,
    /// Whether the pass before was overtaken, and the watch has yet to say by what: the connection has to be read again
    /// before anything is sent, for it may be gone.
    pub doubtful: bool,
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
    /// It came to a verdict that could not be written. The verdict is kept and written later: the bridge is not asked
    /// again for what it has answered, least of all with a key that it has refused.
    Unwritten {
        /// The connection as the pass knew it.
        connection: Arc<Connection>,
        /// The status that could not be written.
        status: Box<ScimBridgeConnectionStatus>,
        /// Time until the next probe.
        delay: Duration,
    },
    /// A verdict that was kept is written now. With the connection as it is after that.
    Written(Arc<Connection>),
    /// The object was replaced, changed or deleted while it was probed, or somebody else has written a later verdict:
    /// what was seen is not about what is there now. With the connection as the pass knew it.
    Overtaken(Arc<Connection>),
    /// We could not do our work.
    Failed,
}

#[derive(Clone, Debug)]
struct Entry {
    connection: Arc<Connection>,
    references: References,
    /// What was known of the references when the last pass began.
    seen_before: [Seen; 3],
    next: Instant,
    failures: u32,
    /// A verdict that could not be written.
    unwritten: Option<Arc<ScimBridgeConnectionStatus>>,
    own_failures: u32,
    /// When to try again after a failure of our own.
    retry: Instant,
    /// The object has changed, and the watch has yet to say how: until then there is nothing to probe.
    outdated_until: Option<Instant>,
    /// How often in a row that was found.
    overtaken: u32,
}

/// A pass that runs.
#[derive(Clone, Debug)]
struct Running {
    cause: Cause,
    /// The object that it is about.
    uid: Option<String>,
}

/// The Secret with the key, the CA object, the Secret with the next key.
type References = [Option<Reference>; 3];

#[derive(Clone, Debug, Default)]
struct Referenced {
    seen: Seen,
    by: BTreeSet<Key>,
}

/// Everything that the controller knows.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    connections: HashMap<Key, Entry>,
    /// Apart from the connections, for a pass may outlive the object that it is about.
    running: HashMap<Key, Running>,
    references: HashMap<Reference, Referenced>,
}

/// First delay after a failure of our own; doubled for each further one.
const OWN_RETRY_MIN: Duration = Duration::from_secs(1);
/// First wait for a watch to tell of a change that a write has met; doubled where it still has not.
const OUTDATED_MIN: Duration = Duration::from_secs(5);
/// Longest delay of both.
const OWN_RETRY_MAX: Duration = Duration::from_mins(2);

// === impl Registry ===

impl Registry {
    /// Takes in a connection that was read. An older version than the one that is known is ignored.
    pub fn apply(&mut self, key: &Key, mut connection: Connection, now: Timestamp, instant: Instant) {
        let known = self.connections.get_mut(key);
        if let Some(entry) = &known
            && entry.connection.is_same_object(&connection)
        {
            if connection.is_older_than(&entry.connection) || connection.is_same_version(&entry.connection) {
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
                if !entry.connection.is_still(&connection) {
                    // This is what a pass was overtaken by; a label, or an own write, is not.
                    entry.outdated_until = None;
                    entry.overtaken = 0;
                }
                let known = std::mem::replace(&mut entry.connection, Arc::new(connection));
                let read = &entry.connection;
                let is = |status| is_same_verdict(&read.status, status);
                let is_known = is(&known.status) || entry.unwritten.as_deref().is_some_and(is);
                if let Some(unwritten) = entry.unwritten.take() {
                    entry.keep(unwritten, &known);
                }
                if !is_known && entry.unwritten.is_none() {
                    // A verdict of somebody else's comes with its own plan: of a predecessor, for instance, whose write
                    // took its time.
                    let (delay, failures) = entry.connection.resume(now);
                    (entry.next, entry.failures) = (instant + delay, failures);
                }
                if entry.references != references {
                    let before = std::mem::replace(&mut entry.references, references.clone());
                    self.unlink(key, &before);
                    self.link(key, &references);
                }
            }
            _ => {
                // New, or another object under the same name: nothing of the old one is kept.
                self.delete(key);
                let (delay, failures) = connection.resume(now);
                let entry = Entry {
                    next: instant + delay,
                    failures,
                    connection: Arc::new(connection),
                    references: references.clone(),
                    seen_before: Default::default(),
                    unwritten: None,
                    own_failures: 0,
                    retry: instant,
                    outdated_until: None,
                    overtaken: 0,
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
        let entry = self
            .connections
            .get(key)
            .filter(|_| !self.running.contains_key(key))?;
        let connection = &entry.connection;
        let status = entry.unwritten.as_deref().unwrap_or(&connection.status);
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
        if entry.own_failures > 0 && instant < entry.retry {
            return Some(Due::At(now + (entry.retry - instant)));
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
            unwritten: entry.unwritten.is_some(),
            next: now + entry.next.saturating_duration_since(instant),
            now,
        }))
    }

    /// Begins a pass.
    pub fn begin(&mut self, key: &Key, cause: Cause) -> Option<Job> {
        if self.running.contains_key(key) {
            return None;
        }
        let entry = self.connections.get_mut(key)?;
        if cause != Cause::Unwritten {
            entry.seen_before = entry.references.each_ref().map(|reference| {
                reference
                    .as_ref()
                    .and_then(|reference| self.references.get(reference))
                    .map(|referenced| referenced.seen.clone())
                    .unwrap_or_default()
            });
        }
        let running = Running {
            cause,
            uid: entry.connection.metadata.uid.clone(),
        };
        self.running.insert(key.clone(), running);
        Some(Job {
            key: key.clone(),
            connection: Arc::clone(&entry.connection),
            unwritten: entry.unwritten.clone(),
            doubtful: entry.overtaken > 0,
            cause,
            failures: entry.failures,
        })
    }

    /// Ends a pass.
    pub fn finish(&mut self, key: &Key, finished: Finished, instant: Instant) {
        let running = self.running.remove(key);
        let (Some(running), Some(entry)) = (running, self.connections.get_mut(key)) else {
            return;
        };
        if entry.connection.metadata.uid != running.uid {
            return;
        }
        match finished {
            Finished::Judged {
                connection,
                failures,
                delay,
            } => {
                entry.failures = failures;
                entry.next = instant + delay;
                entry.written(&connection);
            }
            Finished::Written(connection) => entry.written(&connection),
            Finished::Unwritten {
                connection,
                status,
                delay,
            } => {
                entry.fail(instant);
                entry.failures = status.consecutive_failures;
                entry.next = instant + delay;
                entry.advance(&connection);
                entry.keep(Arc::from(status), &connection);
            }
            Finished::Overtaken(connection) => {
                entry.own_failures = 0;
                entry.unwritten = None;
                // What led to the pass leads to the next one too.
                entry.seen_before = Default::default();
                let is_still_old = !connection.is_older_than(&entry.connection);
                entry.outdated_until = is_still_old.then(|| instant + doubled(OUTDATED_MIN, entry.overtaken));
                entry.overtaken = entry.overtaken.saturating_add(1);
            }
            Finished::Failed => {
                entry.fail(instant);
                if running.cause != Cause::Unwritten {
                    entry.seen_before = Default::default();
                }
            }
        }
    }

    /// How many connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there is a connection of this name.
    #[must_use]
    pub fn knows(&self, namespace: &str, name: &str) -> bool {
        self.connections.contains_key(&Key {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
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

// === impl Entry ===

impl Entry {
    /// The connection is as a pass has left it.
    fn written(&mut self, connection: &Arc<Connection>) {
        self.advance(connection);
        self.unwritten = None;
        self.own_failures = 0;
        self.overtaken = 0;
    }

    /// Keeps a verdict that could not be written, made from the connection as it was `known` then, unless the
    /// connection as it was read since has that verdict, or takes it no longer.
    fn keep(&mut self, status: Arc<ScimBridgeConnectionStatus>, known: &Connection) {
        let read = &self.connection;
        let before = self.unwritten.take();
        // The write may have arrived, and only its answer been lost.
        let has_it = is_same_verdict(&read.status, &status);
        self.unwritten = (!has_it && known.takes(&status, before.as_deref(), read)).then_some(status);
    }

    /// Takes the connection as a pass knew it, unless the watch has told of a newer one.
    fn advance(&mut self, connection: &Arc<Connection>) {
        if !connection.is_older_than(&self.connection) {
            self.connection = Arc::clone(connection);
        }
    }

    /// A failure of our own: the next try comes after a while.
    fn fail(&mut self, instant: Instant) {
        self.retry = instant + doubled(OWN_RETRY_MIN, self.own_failures);
        self.own_failures = self.own_failures.saturating_add(1);
    }
}

// === impl Connection ===

impl Connection {
    /// Whether both are versions of one object, and not two that had the same name.
    #[must_use]
    pub fn is_same_object(&self, other: &Self) -> bool {
        self.metadata.uid == other.metadata.uid
    }

    /// The time until the next probe as the status has it, and the passing failures that it tells of.
    fn resume(&self, now: Timestamp) -> (Duration, u32) {
        let uid = self.metadata.uid.as_deref().unwrap_or_default();
        // As the pass that wrote the status has measured it.
        let target = self.spec.as_ref().and_then(|spec| Target::parse(spec).ok());
        let interval = interval_of(target.as_ref());
        let pace = pace_of(uid, interval, &self.status);
        let resume = pace.resume(&self.status, now);
        (duration_between(now, resume), pace.failures)
    }

    fn is_older_than(&self, other: &Self) -> bool {
        let version = |connection: &Self| connection.metadata.resource_version.clone().unwrap_or_default();
        is_older(&version(self), &version(other))
    }

    /// Whether a status that was made from this connection may be written to it as it is `read` now: it is still the
    /// same object with the same specification, and nobody else has written a later verdict. `unwritten` is one that
    /// may have been written meanwhile, by a write whose answer was lost.
    #[must_use]
    pub fn takes(
        &self,
        status: &ScimBridgeConnectionStatus,
        unwritten: Option<&ScimBridgeConnectionStatus>,
        read: &Self,
    ) -> bool {
        let generation = self.metadata.generation.unwrap_or_default();
        // Where the object does not decode, its status cannot be read.
        let superseded = read.spec.is_some()
            && is_superseded(status, [Some(&self.status), unwritten], &read.status, generation);
        self.is_still(read) && !superseded
    }

    /// Whether the object that was `read` now is the same one, with the same specification, and not being deleted.
    #[must_use]
    pub fn is_still(&self, read: &Self) -> bool {
        self.is_same_object(read)
            && read.metadata.generation == self.metadata.generation
            && read.metadata.deletion_timestamp.is_none()
    }

    fn is_same_version(&self, other: &Self) -> bool {
        let version = &self.metadata.resource_version;
        version.is_some() && *version == other.metadata.resource_version
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

    /// What metrics show of it, with this status.
    #[must_use]
    pub fn row(&self, status: &ScimBridgeConnectionStatus) -> Row {
        let is_suspended = self.spec.as_ref().is_some_and(|spec| spec.suspend);
        Row::of(self.declared(), is_suspended, status)
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

/// A delay that doubles with each time before.
fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.min(10)).min(OWN_RETRY_MAX)
}

fn duration_between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
