//! The state of the controller: connections, the objects they refer to, and when each connection is due.
//!
//! It is synchronous and does no I/O: watch events go in, decisions come out. It keeps the versions only of objects
//! that a connection refers to. It ignores all other Secrets and ConfigMaps.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};

use super::{
    connection::{Connection, References},
    job::{Job, Outcome},
    store::{Observed, StoredObject},
};
use crate::{
    api::{
        connection::ScimBridgeConnectionStatus,
        role::{PerRole, Role},
    },
    cluster::key::Key,
    domain::{
        connection::{
            schedule::{Cause, Due, Situation, due, postponed},
            status::is_same_verdict,
        },
        watched::{Seen, Watched},
    },
    resolve::reference::{Reference, ReferenceKind},
};

#[derive(Clone, Debug)]
struct Tracked {
    connection: StoredObject,
    references: References,
    /// What was seen of the references when the last reconcile started. `None` if its verdict covers all of that.
    seen_before: Option<Box<PerRole<Seen>>>,
    /// When the next probe is scheduled.
    next: Instant,
    /// Consecutive transient failures.
    failures: u32,
    /// The last status, if its write failed.
    unwritten: Option<Arc<ScimBridgeConnectionStatus>>,
    /// Boxed, because most connections have none.
    backoff: Option<Box<Backoff>>,
}

/// Delays after reconciles that gave no verdict.
#[derive(Clone, Debug, Default)]
struct Backoff {
    /// Consecutive internal failures.
    own_failures: u32,
    /// When to retry after an internal failure or a postponed probe.
    retry_at: Option<Instant>,
    /// The connection has changed, but the watch has not reported the change. Until then, do not reconcile it.
    stale_until: Option<Instant>,
    /// Consecutive reconciles that were superseded.
    superseded: u32,
}

/// A reconcile that runs.
#[derive(Clone, Debug)]
struct Running {
    cause: Cause,
    /// The UID of the connection when the reconcile started.
    uid: Option<Box<str>>,
}

#[derive(Clone, Debug)]
struct Referenced {
    seen: Seen,
    by: Referrers,
}

/// The connections that refer to an object: nearly always one.
#[derive(Clone, Debug)]
enum Referrers {
    One(Key),
    Many(BTreeSet<Key>),
}

/// The state of the controller.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    connections: HashMap<Key, Box<Tracked>>,
    /// Not part of a connection, because a reconcile may outlive its connection.
    running: HashMap<Key, Running>,
    references: HashMap<Reference, Referenced>,
    /// The names of namespaces. Keys share their text.
    namespaces: HashSet<Arc<str>>,
}

/// First delay after an internal failure; doubled after each further one.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// First time to wait for the watch after a superseded reconcile; doubled after each further one.
const STALE_MIN: Duration = Duration::from_secs(5);
/// Longest delay of both.
const BACKOFF_MAX: Duration = Duration::from_mins(2);

// === impl Registry ===

impl Registry {
    /// Stores a connection that was read, unless a newer version is known. Returns the registry's key, which shares its
    /// text with all clones.
    pub fn apply(&mut self, key: &Key, connection: &Connection, now: Timestamp, instant: Instant) -> Key {
        let is_known = self
            .connections
            .get(key)
            .is_some_and(|entry| entry.connection.uid.as_deref() == connection.metadata.uid.as_deref());
        if !is_known {
            // It is new, or another object under the same name. Keep nothing of the old one.
            self.delete(key);
            return self.insert(key, connection, now, instant);
        }
        let Some((key, entry)) = self.connections.get_key_value(key) else {
            return key.clone();
        };
        let key = key.clone();
        if !entry.connection.is_followed_by(connection) {
            return key;
        }
        let known = entry.connection.load();
        let references = self.link(&key, connection.references(&key.namespace));
        let Some(entry) = self.connections.get_mut(&key) else {
            return key;
        };
        if !known.is_current(connection) {
            // Only such a change supersedes a reconcile; a new label or an own write does not.
            entry.changed();
        }
        entry.connection = StoredObject::new(connection);
        let is = |status| is_same_verdict(&connection.status, status);
        let is_known = is(&known.status) || entry.unwritten.as_deref().is_some_and(is);
        if let Some(unwritten) = entry.unwritten.take() {
            entry.keep_unwritten(unwritten, &known, connection);
        }
        if !is_known && entry.unwritten.is_none() {
            // Another process wrote this verdict, for instance the previous leader in a late write. Follow its
            // schedule.
            let (delay, failures) = connection.resume(now);
            (entry.next, entry.failures) = (instant + delay, failures);
        }
        let before = std::mem::replace(&mut entry.references, references);
        self.unlink(&key, &before);
        key
    }

    /// The registry's key, if the connection is known in exactly this version.
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
            backoff: None,
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
        // The last two are this key's and the registry's.
        if Arc::strong_count(&key.namespace) <= 2 {
            self.namespaces.remove(&key.namespace);
        }
    }

    /// Forgets the connections that a complete list does not contain. `namespace` is that of the list, `None` for all.
    pub fn retain(&mut self, namespace: Option<&str>, listed: &HashSet<Key>) -> Vec<Key> {
        let gone: Vec<Key> = self
            .connections
            .keys()
            .filter(|key| {
                namespace.is_none_or(|namespace| *key.namespace == *namespace) && !listed.contains(key)
            })
            .cloned()
            .collect();
        for key in &gone {
            self.delete(key);
        }
        gone
    }

    /// The connection, as it is known now.
    #[must_use]
    pub fn connection(&self, key: &Key) -> Option<Connection> {
        self.connections.get(key).map(|entry| entry.connection.load())
    }

    /// Notes what a watch has seen of an object. Returns the connections that refer to it.
    pub fn observe(&mut self, reference: &Reference, seen: Seen) -> Vec<Key> {
        match self.references.get_mut(reference) {
            None => Vec::new(),
            Some(referenced) => {
                referenced.seen = seen;
                referenced.by.keys().cloned().collect()
            }
        }
    }

    /// Notes that the objects of a kind that a complete list does not contain do not exist. `namespace` is that of the
    /// list, `None` for all. Returns the connections that refer to such objects.
    pub fn mark_unlisted_absent(
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

    /// The registry's reference to this object, if a connection refers to it.
    #[must_use]
    pub fn known_reference(&self, reference: &Reference) -> Option<&Reference> {
        self.references.get_key_value(reference).map(|(known, _)| known)
    }

    /// Whether a connection is due, or when. `None` if it is not known or its reconcile runs now.
    #[must_use]
    pub fn due(&self, key: &Key, now: Timestamp, instant: Instant) -> Option<Due> {
        let entry = self
            .connections
            .get(key)
            .filter(|_| !self.running.contains_key(key))?;
        let connection = &entry.connection;
        let unwritten = entry.unwritten.as_deref().map(Observed::of);
        let observed = unwritten.as_ref().unwrap_or(&connection.observed);
        let watched = |role| {
            let reference = entry.references.get(role).as_ref()?;
            Some(Watched {
                judged: observed.versions.get(role).as_ref(),
                seen: &self.references.get(reference)?.seen,
                seen_before: entry.seen_before(role),
            })
        };
        // The backoff comes before all else that may be due: the cause of an internal failure is probably still there.
        if let Some(until) = entry
            .backoff
            .as_deref()
            .and_then(|backoff| backoff.until(instant))
        {
            return Some(Due::At(now + (until - instant)));
        }
        Some(due(&Situation {
            dormant: connection.is_dormant,
            generation: connection.generation,
            observed_generation: observed.generation,
            references: PerRole::from_fn(watched),
            requested: connection.requested.as_deref(),
            handled: observed.handled.as_deref(),
            unwritten: entry.unwritten.is_some(),
            next: now + entry.next.saturating_duration_since(instant),
            now,
        }))
    }

    /// Starts a reconcile and returns its input. `None` if one runs already or the connection is not known.
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
        let backoff = entry.backoff.as_deref();
        let has_failed = backoff.is_some_and(|backoff| backoff.own_failures > 0);
        let must_reread = backoff.is_some_and(|backoff| backoff.superseded > 0);
        let seen = PerRole::from_fn(|role| {
            let reference = entry.references.get(role).as_ref().filter(|_| !has_failed)?;
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

    /// Notes that a reconcile has ended.
    pub fn finish(&mut self, key: &Key, outcome: Outcome, instant: Instant) {
        let running = self.running.remove(key);
        let (Some(running), Some(entry)) = (running, self.connections.get_mut(key)) else {
            return;
        };
        if entry.connection.uid != running.uid {
            return;
        }
        match outcome {
            Outcome::Judged {
                connection,
                failures,
                delay,
            } => {
                entry.failures = failures;
                entry.next = instant + delay;
                entry.written(&connection);
                let read = &entry.connection.observed.versions;
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
                entry.keep_unwritten(Arc::from(status), &connection, &read);
            }
            Outcome::Superseded(connection) => {
                entry.unwritten = None;
                // The cause of this reconcile is the cause of the next one too.
                entry.seen_before = None;
                let is_stale = !entry.connection.is_newer_than(&connection);
                let backoff = entry.backoff.get_or_insert_default();
                (backoff.own_failures, backoff.retry_at) = (0, None);
                backoff.stale_until = is_stale.then(|| instant + doubled(STALE_MIN, backoff.superseded));
                backoff.superseded = backoff.superseded.saturating_add(1);
            }
            Outcome::Postponed => {
                let uid = entry.connection.uid.as_deref().unwrap_or_default();
                let retry = instant + postponed(uid);
                let backoff = entry.backoff.get_or_insert_default();
                (backoff.own_failures, backoff.retry_at) = (0, Some(retry));
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

    /// Whether a connection of this name is known.
    #[must_use]
    pub fn contains(&self, namespace: &str, name: &str) -> bool {
        self.connections.contains_key(&Key::new(namespace, name))
    }

    /// Whether there are no connections.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Notes the objects that a connection refers to. Returns the registry's references to them.
    fn link(&mut self, key: &Key, references: References) -> References {
        references.map(|reference| {
            let reference = reference?;
            let known = self.references.get_key_value(&reference);
            let reference = known.map_or(reference, |(known, _)| known.clone());
            if let Some(known) = self.references.get_mut(&reference) {
                known.by.insert(key);
            } else {
                let new = Referenced {
                    seen: Seen::Unknown,
                    by: Referrers::One(key.clone()),
                };
                self.references.insert(reference.clone(), new);
            }
            Some(reference)
        })
    }

    fn unlink(&mut self, key: &Key, references: &References) {
        for reference in references.iter().flatten() {
            // The connection may still refer to it, in this or another role.
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

    /// Removes a connection. Returns whether others are left.
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
    /// A reconcile succeeded and returned this connection.
    fn written(&mut self, connection: &Arc<Connection>) {
        self.advance(connection);
        self.unwritten = None;
        self.backoff = None;
    }

    /// The watch has reported a new specification or a deletion. A postponed probe was one of the old specification.
    fn changed(&mut self) {
        if let Some(backoff) = &mut self.backoff {
            (backoff.stale_until, backoff.superseded) = (None, 0);
            if backoff.own_failures == 0 {
                backoff.retry_at = None;
            }
        }
    }

    /// What was seen of a reference when the last reconcile started.
    fn seen_before(&self, role: Role) -> &Seen {
        let before = self.seen_before.as_deref();
        before.map_or(&Seen::Unknown, |before| before.get(role))
    }

    /// Keeps a status whose write failed. It was made from the connection as it was `known` then. Drops it if the
    /// connection as `read` since has this verdict already or does not accept it.
    fn keep_unwritten(
        &mut self,
        status: Arc<ScimBridgeConnectionStatus>,
        known: &Connection,
        read: &Connection,
    ) {
        let before = self.unwritten.take();
        // The write may have succeeded although its answer was lost.
        let is_written = is_same_verdict(&read.status, &status);
        self.unwritten = (!is_written && known.accepts(&status, before.as_deref(), read)).then_some(status);
    }

    /// Stores the connection that a reconcile returned, unless the watch has reported a newer one.
    fn advance(&mut self, connection: &Arc<Connection>) {
        if self.connection.is_followed_by(connection) {
            self.connection = StoredObject::new(connection);
        }
    }

    /// Notes an internal failure and when to retry.
    fn fail(&mut self, instant: Instant) {
        let backoff = self.backoff.get_or_insert_default();
        backoff.retry_at = Some(instant + doubled(RETRY_MIN, backoff.own_failures));
        backoff.own_failures = backoff.own_failures.saturating_add(1);
    }
}

// === impl Backoff ===

impl Backoff {
    /// Until when the connection must not be reconciled, if that is later than `now`.
    fn until(&self, now: Instant) -> Option<Instant> {
        [self.stale_until, self.retry_at]
            .into_iter()
            .flatten()
            .find(|until| now < *until)
    }
}

/// The delay `first`, doubled this many times.
fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.min(10)).min(BACKOFF_MAX)
}
