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

use super::{
    connection::{Connection, Key, Reference, ReferenceKind, References},
    job::{Job, Outcome},
    store::{Judged, StoredObject},
};
use crate::{
    api::{
        connection::ScimBridgeConnectionStatus,
        role::{PerRole, Role},
    },
    domain::{
        connection::status::is_same_verdict,
        schedule::{Cause, Due, Situation, due, postponed},
        watched::{Seen, Watched},
    },
};

#[derive(Clone, Debug)]
struct Tracked {
    connection: StoredObject,
    references: References,
    /// What was known of the references when the last pass began, where that pass has not judged just that.
    seen_before: Option<Box<PerRole<Seen>>>,
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
    superseded: u32,
}

/// A pass that runs.
#[derive(Clone, Debug)]
struct Running {
    cause: Cause,
    /// The object that it is about.
    uid: Option<Box<str>>,
}

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
    connections: HashMap<Key, Box<Tracked>>,
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
        let known = entry.connection.load();
        if connection.spec.is_none() {
            // Its status cannot be read either; what we wrote is what we know.
            connection.status.clone_from(&known.status);
        }
        let references = self.link(&key, connection.references(&key.namespace));
        let Some(entry) = self.connections.get_mut(&key) else {
            return key;
        };
        if !known.is_still(&connection) {
            // This is what a pass was superseded by; a label, or an own write, is not.
            entry.is_up_to_date();
        }
        entry.connection = StoredObject::new(&connection);
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
        let entry = Tracked {
            next: instant + delay,
            failures,
            connection: StoredObject::new(connection),
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
    pub fn observe(&mut self, reference: &Reference, seen: Seen) -> Vec<Key> {
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
    pub fn observe_no_others(
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
        let watched = |role| {
            let reference = entry.references.get(role).as_ref()?;
            Some(Watched {
                judged: judged.versions.get(role).as_ref(),
                seen: &self.references.get(reference)?.seen,
                seen_before: entry.seen_before(role),
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
            references: PerRole::from_fn(watched),
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
            let seen = PerRole::from_fn(|role| {
                let reference = entry.references.get(role).as_ref();
                let referenced = reference.and_then(|reference| self.references.get(reference));
                referenced
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
        let must_reread = trouble.is_some_and(|trouble| trouble.superseded > 0);
        let seen = PerRole::from_fn(|role| {
            let reference = entry.references.get(role).as_ref().filter(|_| is_sound)?;
            self.references.get(reference)?.seen.version().cloned()
        });
        Some(Job {
            seen,
            key: key.clone(),
            connection: Arc::new(entry.connection.load()),
            unwritten: entry.unwritten.clone(),
            must_reread,
            cause,
            failures: entry.failures,
            early: entry.next.saturating_duration_since(instant),
            late: match cause {
                Cause::Scheduled => instant.saturating_duration_since(entry.next),
                Cause::NewGeneration | Cause::Changed(_) | Cause::Requested | Cause::Unwritten => {
                    Duration::ZERO
                }
            },
        })
    }

    /// Ends a pass.
    pub fn finish(&mut self, key: &Key, finished: Outcome, instant: Instant) {
        let running = self.running.remove(key);
        let (Some(running), Some(entry)) = (running, self.connections.get_mut(key)) else {
            return;
        };
        if entry.connection.uid != running.uid {
            return;
        }
        match finished {
            Outcome::Judged {
                connection,
                failures,
                delay,
            } => {
                entry.failures = failures;
                entry.next = instant + delay;
                entry.written(&connection);
                let read = &entry.connection.judged.versions;
                for role in Role::ALL {
                    if let (Some(reference), Some(version)) = (entry.references.get(role), read.get(role))
                        && let Some(referenced) = self.references.get_mut(reference)
                    {
                        referenced.seen.note_read(version);
                    }
                }
                let is_judged = |before: &PerRole<Seen>| {
                    Role::ALL
                        .into_iter()
                        .all(|role| before.get(role).is_judged_by(read.get(role).as_ref()))
                };
                if entry.seen_before.as_deref().is_some_and(is_judged) {
                    entry.seen_before = None;
                }
            }
            Outcome::Written(connection) => entry.written(&connection),
            Outcome::Unwritten {
                connection,
                status,
                delay,
            } => {
                entry.fail(instant);
                entry.failures = status.consecutive_failures;
                entry.next = instant + delay;
                entry.advance(&connection);
                let read = entry.connection.load();
                entry.keep(Arc::from(status), &connection, &read);
            }
            Outcome::Superseded(connection) => {
                entry.unwritten = None;
                // What led to the pass leads to the next one too.
                entry.seen_before = None;
                let is_still_old = !entry.connection.is_newer_than(&connection);
                let trouble = entry.trouble.get_or_insert_default();
                (trouble.own_failures, trouble.retry) = (0, None);
                trouble.outdated_until =
                    is_still_old.then(|| instant + doubled(OUTDATED_MIN, trouble.superseded));
                trouble.superseded = trouble.superseded.saturating_add(1);
            }
            Outcome::Postponed => {
                let uid = entry.connection.uid.as_deref().unwrap_or_default();
                let retry = instant + postponed(uid);
                let trouble = entry.trouble.get_or_insert_default();
                (trouble.own_failures, trouble.retry) = (0, Some(retry));
                entry.seen_before = None;
            }
            Outcome::Failed => {
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

// === impl Tracked ===

impl Tracked {
    /// The connection is as a pass has left it.
    fn written(&mut self, connection: &Arc<Connection>) {
        self.advance(connection);
        self.unwritten = None;
        self.trouble = None;
    }

    /// The watch has told by what a pass was superseded. A probe that was postponed was of what the object said before.
    fn is_up_to_date(&mut self) {
        if let Some(trouble) = &mut self.trouble {
            (trouble.outdated_until, trouble.superseded) = (None, 0);
            if trouble.own_failures == 0 {
                trouble.retry = None;
            }
        }
    }

    /// What was known of a reference when the last pass began.
    fn seen_before(&self, role: Role) -> &Seen {
        let before = self.seen_before.as_deref();
        before.map_or(&Seen::Unknown, |before| before.get(role))
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
            self.connection = StoredObject::new(connection);
        }
    }

    /// A failure of our own: the next try comes after a while.
    fn fail(&mut self, instant: Instant) {
        let trouble = self.trouble.get_or_insert_default();
        trouble.retry = Some(instant + doubled(OWN_RETRY_MIN, trouble.own_failures));
        trouble.own_failures = trouble.own_failures.saturating_add(1);
    }
}

/// A delay that doubles with each time before.
fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.min(10)).min(OWN_RETRY_MAX)
}
