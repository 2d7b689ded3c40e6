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

use super::rest::{Judged, Resting};
use crate::{
    api::{
        REQUESTED_AT_ANNOTATION,
        v1alpha1::{
            CaKind, IdentityProvider, ScimBridgeConnection, ScimBridgeConnectionSpec,
            ScimBridgeConnectionStatus,
        },
    },
    domain::{
        schedule::{Cause, Dependency, Due, Seen, Situation, Version, due, pace_of, postponed},
        status::{interval_of, is_same_verdict, is_superseded},
        target::Target,
    },
    metrics::Row,
};

/// A connection, by name. The registry's own keys share their text with all their clones.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
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
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// A connection as it was read from the API server.
#[derive(Clone, Debug, PartialEq)]
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
    /// Transient failures in a row so far.
    pub failures: u32,
    /// How long after its time it begins, where time is why.
    pub late: Duration,
    /// How long before the time by the schedule it begins, where something else is why.
    pub early: Duration,
    /// The versions that the watch knows of the objects that the connection names: the Secret with the key, the CA
    /// object, the Secret with the next key. They need not be read any newer. None of them after a failure of our own,
    /// which may come of just that.
    pub seen: [Option<Version>; 3],
}

/// How a pass ended.
#[derive(Clone, Debug)]
pub enum Finished {
    /// It came to a verdict.
    Judged {
        /// The connection as it is after the pass: with the new status and version, where it was written.
        connection: Arc<Connection>,
        /// Transient failures in a row.
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
    /// Probes of other connections to the same bridge took the time that this one could wait. The bridge was not asked.
    Postponed,
    /// We could not do our work.
    Failed,
}

#[derive(Clone, Debug)]
struct Entry {
    connection: Resting,
    references: References,
    /// What was known of the references when the last pass began, where that pass has not judged just that.
    seen_before: Option<Box<[Seen; 3]>>,
    next: Instant,
    failures: u32,
    /// A verdict that could not be written.
    unwritten: Option<Arc<ScimBridgeConnectionStatus>>,
    /// What went wrong on our own side: with most connections nothing.
    trouble: Option<Box<Trouble>>,
}

/// Passes that could not do their work.
#[derive(Clone, Debug, Default)]
struct Trouble {
    /// How many in a row failed.
    own_failures: u32,
    /// When to try again after a failure of our own, or where the bridge was busy with others.
    retry: Option<Instant>,
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
    uid: Option<Box<str>>,
}

/// The Secret with the key, the CA object, the Secret with the next key.
type References = [Option<Reference>; 3];

#[derive(Clone, Debug)]
struct Referenced {
    seen: Seen,
    by: Referrers,
}

/// Who refers to an object. Nearly always that is one connection alone.
#[derive(Clone, Debug)]
enum Referrers {
    One(Key),
    Many(BTreeSet<Key>),
}

/// Everything that the controller knows.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    connections: HashMap<Key, Box<Entry>>,
    /// Apart from the connections, for a pass may outlive the object that it is about.
    running: HashMap<Key, Running>,
    references: HashMap<Reference, Referenced>,
    /// The names of namespaces, each once.
    namespaces: HashSet<Arc<str>>,
}

/// First delay after a failure of our own; doubled for each further one.
const OWN_RETRY_MIN: Duration = Duration::from_secs(1);
/// First wait for a watch to tell of a change that a write has met; doubled where it still has not.
const OUTDATED_MIN: Duration = Duration::from_secs(5);
/// Longest delay of both.
const OWN_RETRY_MAX: Duration = Duration::from_mins(2);

// === impl Registry ===

impl Registry {
    /// Takes in a connection that was read. An older version than the one that is known is ignored. Returns the
    /// registry's own key.
    pub fn apply(&mut self, key: &Key, mut connection: Connection, now: Timestamp, instant: Instant) -> Key {
        let is_known = self
            .connections
            .get(key)
            .is_some_and(|entry| entry.connection.uid.as_deref() == connection.metadata.uid.as_deref());
        if !is_known {
            // New, or another object under the same name: nothing of the old one is kept.
            self.delete(key);
            return self.insert(key, &connection, now, instant);
        }
        let Some((key, entry)) = self.connections.get_key_value(key) else {
            return key.clone();
        };
        let key = key.clone();
        if !entry.connection.is_followed_by(&connection) {
            return key;
        }
        let known = entry.connection.wake();
        if connection.spec.is_none() {
            // Its status cannot be read either; what we wrote is what we know.
            connection.status.clone_from(&known.status);
        }
        let references = self.link(&key, connection.references(&key.namespace));
        let Some(entry) = self.connections.get_mut(&key) else {
            return key;
        };
        if !known.is_still(&connection) {
            // This is what a pass was overtaken by; a label, or an own write, is not.
            entry.is_up_to_date();
        }
        entry.connection = Resting::new(&connection);
        let is = |status| is_same_verdict(&connection.status, status);
        let is_known = is(&known.status) || entry.unwritten.as_deref().is_some_and(is);
        if let Some(unwritten) = entry.unwritten.take() {
            entry.keep(unwritten, &known, &connection);
        }
        if !is_known && entry.unwritten.is_none() {
            // A verdict of somebody else's comes with its own plan: of a predecessor, for instance, whose write took
            // its time.
            let (delay, failures) = connection.resume(now);
            (entry.next, entry.failures) = (instant + delay, failures);
        }
        let before = std::mem::replace(&mut entry.references, references);
        self.unlink(&key, &before);
        key
    }

    /// The registry's own key of a connection that is known in just this version.
    #[must_use]
    pub fn has_version(&self, key: &Key, metadata: &ObjectMeta) -> Option<Key> {
        let (known, entry) = self.connections.get_key_value(key)?;
        let is_same = entry.connection.uid.as_deref() == metadata.uid.as_deref();
        (is_same && entry.connection.is_version(metadata)).then(|| known.clone())
    }

    fn insert(&mut self, key: &Key, connection: &Connection, now: Timestamp, instant: Instant) -> Key {
        let namespace = self.namespaces.get(&key.namespace).unwrap_or(&key.namespace);
        let key = Key {
            namespace: Arc::clone(namespace),
            name: Arc::clone(&key.name),
        };
        self.namespaces.insert(Arc::clone(&key.namespace));
        let (delay, failures) = connection.resume(now);
        let entry = Entry {
            next: instant + delay,
            failures,
            connection: Resting::new(connection),
            references: self.link(&key, connection.references(&key.namespace)),
            seen_before: None,
            unwritten: None,
            trouble: None,
        };
        self.connections.insert(key.clone(), Box::new(entry));
        key
    }

    /// Forgets a connection.
    pub fn delete(&mut self, key: &Key) {
        let Some((key, entry)) = self.connections.remove_entry(key) else {
            return;
        };
        self.unlink(&key, &entry.references);
        drop(entry);
        // This one, and the registry's.
        if Arc::strong_count(&key.namespace) <= 2 {
            self.namespaces.remove(&key.namespace);
        }
    }

    /// Forgets the connections of a namespace (of all, for `None`) that a complete list did not have.
    pub fn retain(&mut self, namespace: Option<&str>, listed: &HashSet<Key>) {
        let gone: Vec<Key> = self
            .connections
            .keys()
            .filter(|key| {
                namespace.is_none_or(|namespace| *key.namespace == *namespace) && !listed.contains(key)
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
                referenced.by.keys().cloned().collect()
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
            let in_scope = reference.kind == kind
                && namespace.is_none_or(|namespace| *reference.namespace == *namespace);
            if in_scope && !listed.contains(reference) {
                referenced.seen = Seen::Absent;
                affected.extend(referenced.by.keys().cloned());
            }
        }
        affected
    }

    /// The registry's own name of an object, if some connection refers to it.
    #[must_use]
    pub fn referred(&self, reference: &Reference) -> Option<&Reference> {
        self.references.get_key_value(reference).map(|(known, _)| known)
    }

    /// Whether, and when, a connection is to be probed. `None` for one that is not known, or is being probed now.
    #[must_use]
    pub fn due(&self, key: &Key, now: Timestamp, instant: Instant) -> Option<Due> {
        let entry = self
            .connections
            .get(key)
            .filter(|_| !self.running.contains_key(key))?;
        let connection = &entry.connection;
        let unwritten = entry.unwritten.as_deref().map(Judged::of);
        let judged = unwritten.as_ref().unwrap_or(&connection.judged);
        let dependency = |slot: usize| {
            let reference = entry.references.get(slot)?.as_ref()?;
            Some(Dependency {
                judged: judged.versions.get(slot)?.as_ref(),
                seen: &self.references.get(reference)?.seen,
                seen_before: entry.seen_before(slot),
            })
        };
        // A failure of our own is retried after its own delay, whatever else is due: the cause has not gone away.
        let trouble = entry.trouble.as_deref();
        let holds_up = |until: Option<Instant>| until.filter(|until| instant < *until);
        if let Some(until) =
            trouble.and_then(|trouble| holds_up(trouble.outdated_until).or_else(|| holds_up(trouble.retry)))
        {
            return Some(Due::At(now + (until - instant)));
        }
        Some(due(&Situation {
            dormant: connection.is_dormant,
            generation: connection.generation,
            observed_generation: judged.generation,
            credential: dependency(0),
            ca: dependency(1),
            next_credential: dependency(2),
            requested: connection.requested.as_deref(),
            handled: judged.handled.as_deref(),
            unwritten: entry.unwritten.is_some(),
            next: now + entry.next.saturating_duration_since(instant),
            now,
        }))
    }

    /// Begins a pass.
    pub fn begin(&mut self, key: &Key, cause: Cause, instant: Instant) -> Option<Job> {
        if self.running.contains_key(key) {
            return None;
        }
        let entry = self.connections.get_mut(key)?;
        if cause != Cause::Unwritten {
            let seen = entry.references.each_ref().map(|reference| {
                reference
                    .as_ref()
                    .and_then(|reference| self.references.get(reference))
                    .map(|referenced| referenced.seen.clone())
                    .unwrap_or_default()
            });
            entry.seen_before = Some(Box::new(seen));
        }
        let running = Running {
            cause,
            uid: entry.connection.uid.clone(),
        };
        self.running.insert(key.clone(), running);
        let trouble = entry.trouble.as_deref();
        let is_sound = trouble.is_none_or(|trouble| trouble.own_failures == 0);
        let doubtful = trouble.is_some_and(|trouble| trouble.overtaken > 0);
        let seen = entry.references.each_ref().map(|reference| {
            let referenced = self.references.get(reference.as_ref()?)?;
            match &referenced.seen {
                Seen::Present(version) if is_sound => Some(version.clone()),
                Seen::Present(_) | Seen::Unknown | Seen::Absent | Seen::Deleted(_) => None,
            }
        });
        Some(Job {
            seen,
            key: key.clone(),
            connection: Arc::new(entry.connection.wake()),
            unwritten: entry.unwritten.clone(),
            doubtful,
            cause,
            failures: entry.failures,
            early: entry.next.saturating_duration_since(instant),
            late: match cause {
                Cause::Scheduled => instant.saturating_duration_since(entry.next),
                Cause::NewGeneration
                | Cause::CredentialChanged
                | Cause::CaChanged
                | Cause::NextCredentialChanged
                | Cause::Requested
                | Cause::Unwritten => Duration::ZERO,
            },
        })
    }

    /// Ends a pass.
    pub fn finish(&mut self, key: &Key, finished: Finished, instant: Instant) {
        let running = self.running.remove(key);
        let (Some(running), Some(entry)) = (running, self.connections.get_mut(key)) else {
            return;
        };
        if entry.connection.uid != running.uid {
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
                // What the pass has read is known as if a watch had told of it: of objects that were there before
                // anybody referred to them it does not tell.
                let read = &entry.connection.judged.versions;
                for (reference, version) in entry.references.iter().zip(read) {
                    if let (Some(reference), Some(version)) = (reference, version)
                        && let Some(referenced) = self.references.get_mut(reference)
                        && referenced.seen == Seen::Unknown
                    {
                        referenced.seen = Seen::Present(version.clone());
                    }
                }
                // What was known before and was judged is remembered as judged.
                let is_judged = |(before, version): (&Seen, &Option<Version>)| match before {
                    Seen::Unknown => true,
                    Seen::Present(before) => version.as_ref() == Some(before),
                    Seen::Absent | Seen::Deleted(_) => false,
                };
                if let Some(before) = &entry.seen_before
                    && before.iter().zip(read).all(is_judged)
                {
                    entry.seen_before = None;
                }
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
                let read = entry.connection.wake();
                entry.keep(Arc::from(status), &connection, &read);
            }
            Finished::Overtaken(connection) => {
                entry.unwritten = None;
                // What led to the pass leads to the next one too.
                entry.seen_before = None;
                let is_still_old = !entry.connection.is_newer_than(&connection);
                let trouble = entry.trouble.get_or_insert_default();
                (trouble.own_failures, trouble.retry) = (0, None);
                trouble.outdated_until =
                    is_still_old.then(|| instant + doubled(OUTDATED_MIN, trouble.overtaken));
                trouble.overtaken = trouble.overtaken.saturating_add(1);
            }
            Finished::Postponed => {
                let uid = entry.connection.uid.as_deref().unwrap_or_default();
                let retry = instant + postponed(uid);
                let trouble = entry.trouble.get_or_insert_default();
                (trouble.own_failures, trouble.retry) = (0, Some(retry));
                entry.seen_before = None;
            }
            Finished::Failed => {
                entry.fail(instant);
                if running.cause != Cause::Unwritten {
                    entry.seen_before = None;
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
        self.connections.contains_key(&Key::new(namespace, name))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Notes to what a connection refers. Returns the registry's own names of it.
    fn link(&mut self, key: &Key, named: References) -> References {
        named.map(|named| {
            let named = named?;
            let known = self.references.get_key_value(&named);
            let named = known.map_or(named, |(known, _)| known.clone());
            if let Some(known) = self.references.get_mut(&named) {
                known.by.insert(key);
            } else {
                let new = Referenced {
                    seen: Seen::Unknown,
                    by: Referrers::One(key.clone()),
                };
                self.references.insert(named.clone(), new);
            }
            Some(named)
        })
    }

    fn unlink(&mut self, key: &Key, references: &References) {
        for reference in references.iter().flatten() {
            // What the connection still refers to stays known.
            let entry = self.connections.get(key);
            if entry.is_some_and(|entry| entry.references.iter().flatten().any(|kept| kept == reference)) {
                continue;
            }
            if let Some(referenced) = self.references.get_mut(reference)
                && !referenced.by.remove(key)
            {
                self.references.remove(reference);
            }
        }
    }
}

// === impl Referrers ===

impl Referrers {
    fn keys(&self) -> impl Iterator<Item = &Key> {
        let (one, many) = match self {
            Self::One(key) => (Some(key), None),
            Self::Many(keys) => (None, Some(keys)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    fn insert(&mut self, key: &Key) {
        match self {
            Self::One(known) if known == key => {}
            Self::One(known) => *self = Self::Many([known.clone(), key.clone()].into()),
            Self::Many(keys) => {
                keys.insert(key.clone());
            }
        }
    }

    /// Whether anybody is left.
    fn remove(&mut self, key: &Key) -> bool {
        match self {
            Self::One(known) => known != key,
            Self::Many(keys) => {
                keys.remove(key);
                !keys.is_empty()
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
        self.trouble = None;
    }

    /// The watch has told by what a pass was overtaken. A probe that was postponed was of what the object said before.
    fn is_up_to_date(&mut self) {
        if let Some(trouble) = &mut self.trouble {
            (trouble.outdated_until, trouble.overtaken) = (None, 0);
            if trouble.own_failures == 0 {
                trouble.retry = None;
            }
        }
    }

    /// What was known of a reference when the last pass began.
    fn seen_before(&self, slot: usize) -> &Seen {
        let before = self.seen_before.as_deref().and_then(|before| before.get(slot));
        before.unwrap_or(&Seen::Unknown)
    }

    /// Keeps a verdict that could not be written, made from the connection as it was `known` then, unless the
    /// connection as it was `read` since has that verdict, or takes it no longer.
    fn keep(&mut self, status: Arc<ScimBridgeConnectionStatus>, known: &Connection, read: &Connection) {
        let before = self.unwritten.take();
        // The write may have arrived, and only its answer been lost.
        let has_it = is_same_verdict(&read.status, &status);
        self.unwritten = (!has_it && known.takes(&status, before.as_deref(), read)).then_some(status);
    }

    /// Takes the connection as a pass knew it, unless the watch has told of a newer one.
    fn advance(&mut self, connection: &Arc<Connection>) {
        if self.connection.is_followed_by(connection) {
            self.connection = Resting::new(connection);
        }
    }

    /// A failure of our own: the next try comes after a while.
    fn fail(&mut self, instant: Instant) {
        let trouble = self.trouble.get_or_insert_default();
        trouble.retry = Some(instant + doubled(OWN_RETRY_MIN, trouble.own_failures));
        trouble.own_failures = trouble.own_failures.saturating_add(1);
    }
}

// === impl Key ===

impl Key {
    /// The connection of this name.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Namespace and name.
    #[must_use]
    pub fn names(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}

// === impl Reference ===

impl Reference {
    /// The object of this kind and name.
    #[must_use]
    pub fn new(kind: ReferenceKind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

// === impl Connection ===

impl Connection {
    /// A connection of these parts.
    #[must_use]
    pub fn new(
        metadata: ObjectMeta,
        spec: ScimBridgeConnectionSpec,
        status: Option<ScimBridgeConnectionStatus>,
    ) -> Self {
        Self {
            metadata: trimmed(metadata),
            spec: Some(spec),
            status: status.unwrap_or_else(unobserved),
        }
    }

    /// Whether both are versions of one object, and not two that had the same name.
    #[must_use]
    pub fn is_same_object(&self, other: &Self) -> bool {
        self.metadata.uid == other.metadata.uid
    }

    /// The time until the next probe as the status has it, and the transient failures that it reports.
    fn resume(&self, now: Timestamp) -> (Duration, u32) {
        let uid = self.metadata.uid.as_deref().unwrap_or_default();
        // As the pass that wrote the status has measured it.
        let target = self.spec.as_ref().and_then(|spec| Target::parse(spec).ok());
        let interval = interval_of(target.as_ref());
        let pace = pace_of(uid, interval, &self.status, now);
        let resume = pace.resume(&self.status, now);
        (duration_between(now, resume), pace.failures)
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

    pub(super) fn is_dormant(&self) -> bool {
        self.metadata.deletion_timestamp.is_some() || self.spec.as_ref().is_some_and(|spec| spec.suspend)
    }

    fn references(&self, namespace: &Arc<str>) -> References {
        let Some(spec) = &self.spec else {
            return Default::default();
        };
        let reference = |kind, name: &str| Reference {
            kind,
            namespace: Arc::clone(namespace),
            name: name.into(),
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
        Self::new(metadata, spec, status)
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
