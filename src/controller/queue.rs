//! A fair queue: which of the due connections is reconciled next.
//!
//! A bridge that hangs takes the whole `spec.timeout`, and one user may create many connections to such bridges. They
//! must not delay the connections of others:
//!
//! - Namespaces take turns. Within a namespace, the connection that became due first comes first.
//! - A reconcile holds a slot for its first two seconds; nearly all are done by then. After that it is slow, and the
//!   next reconcile gets the slot.
//! - Slow reconciles take memory. So all running reconciles are limited, and one namespace may have half of that.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{cluster::key::Key, metrics::Load};

/// A reconcile that runs longer is slow and gives up its slot.
const SLOW_AFTER: Duration = Duration::from_secs(2);

/// Maximum running reconciles per slot, including slow ones.
const RUNNING_PER_SLOT: usize = 8;

/// Due connections and running reconciles. `I` identifies a reconcile.
#[derive(Debug)]
pub(super) struct FairQueue<I> {
    slots: usize,
    /// The waiting connections of each namespace, with the time when each became due, earliest first.
    waiting: HashMap<Arc<str>, VecDeque<(Instant, Key)>>,
    is_waiting: HashSet<Key>,
    /// The namespaces with waiting connections, in the order of their turns.
    turns: VecDeque<Arc<str>>,
    running: HashMap<I, Key>,
    running_in: HashMap<Arc<str>, usize>,
    /// The reconciles that hold a slot, with the time when each started, earliest first.
    in_slots: VecDeque<(Instant, I)>,
}

impl<I: Copy + Eq + Hash> FairQueue<I> {
    /// An empty queue with this many slots, at least one.
    pub(super) fn new(slots: usize) -> Self {
        Self {
            slots: slots.max(1),
            waiting: HashMap::new(),
            is_waiting: HashSet::new(),
            turns: VecDeque::new(),
            running: HashMap::new(),
            running_in: HashMap::new(),
            in_slots: VecDeque::new(),
        }
    }

    /// Adds a connection that is due. One that waits already keeps its position.
    pub(super) fn push(&mut self, key: &Key, now: Instant) {
        if !self.is_waiting.insert(key.clone()) {
            return;
        }
        let queue = self.waiting.entry(Arc::clone(&key.namespace)).or_default();
        if queue.is_empty() {
            self.turns.push_back(Arc::clone(&key.namespace));
        }
        queue.push_back((now, key.clone()));
    }

    /// Takes the connection to reconcile now, if a slot is free.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Key> {
        while self
            .in_slots
            .front()
            .is_some_and(|(started, _)| now.saturating_duration_since(*started) >= SLOW_AFTER)
        {
            self.in_slots.pop_front();
        }
        if self.in_slots.len() >= self.slots || self.running.len() >= self.max_running() {
            return None;
        }
        for _ in 0..self.turns.len() {
            let namespace = self.turns.pop_front()?;
            let running_here = self.running_in.get(&namespace).copied().unwrap_or_default();
            if running_here >= self.max_running().div_ceil(2) {
                self.turns.push_back(namespace);
                continue;
            }
            let queue = self.waiting.get_mut(&namespace);
            let ((_, key), is_last) = queue.and_then(|queue| Some((queue.pop_front()?, queue.is_empty())))?;
            if is_last {
                self.waiting.remove(&namespace);
            } else {
                self.turns.push_back(namespace);
            }
            self.is_waiting.remove(&key);
            return Some(key);
        }
        None
    }

    /// Notes that the reconcile of a connection has started.
    pub(super) fn start(&mut self, id: I, key: Key, now: Instant) {
        *self.running_in.entry(Arc::clone(&key.namespace)).or_default() += 1;
        self.running.insert(id, key);
        self.in_slots.push_back((now, id));
    }

    /// Notes that a reconcile has ended. Returns its connection.
    pub(super) fn finish(&mut self, id: I) -> Option<Key> {
        let key = self.running.remove(&id)?;
        if let Some(count) = self.running_in.get_mut(&key.namespace) {
            *count -= 1;
            if *count == 0 {
                self.running_in.remove(&key.namespace);
            }
        }
        self.in_slots.retain(|(_, holder)| *holder != id);
        Some(key)
    }

    /// What the metrics show of the queue.
    pub(super) fn load(&self, now: Instant) -> Load {
        let first = self.waiting.values().filter_map(VecDeque::front);
        let oldest = first.map(|(since, _)| *since).min();
        Load {
            waiting: self.is_waiting.len(),
            oldest: oldest.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
            running: self.running.len(),
        }
    }

    /// When the next slot becomes free because its reconcile becomes slow. `None` if no connection waits for that.
    pub(super) fn next_slot(&self) -> Option<Instant> {
        let (started, _) = self.in_slots.front()?;
        (self.in_slots.len() >= self.slots && !self.turns.is_empty()).then(|| *started + SLOW_AFTER)
    }

    fn max_running(&self) -> usize {
        self.slots.saturating_mul(RUNNING_PER_SLOT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        let (namespace, name) = text.split_once('/').unwrap();
        Key::new(namespace, name)
    }

    /// A queue with a clock. Its reconciles are numbered in the order in which they start.
    struct TestQueue {
        queue: FairQueue<usize>,
        started: Vec<String>,
        now: Instant,
    }

    impl TestQueue {
        fn new(slots: usize) -> Self {
            Self {
                queue: FairQueue::new(slots),
                started: Vec::new(),
                now: Instant::now(),
            }
        }

        fn push(&mut self, keys: &str) -> &mut Self {
            for text in keys.split(' ') {
                self.queue.push(&key(text), self.now);
            }
            self
        }

        /// Starts all reconciles that may start now and returns their connections.
        fn start(&mut self) -> String {
            let from = self.started.len();
            while let Some(key) = self.queue.pop(self.now) {
                self.started.push(format!("{}/{}", key.namespace, key.name));
                self.queue.start(self.started.len() - 1, key, self.now);
            }
            self.started[from..].join(" ")
        }

        fn finish(&mut self, text: &str) -> &mut Self {
            let id = self.started.iter().rposition(|started| started == text).unwrap();
            self.queue.finish(id).unwrap();
            self
        }

        fn advance(&mut self, time: Duration) -> &mut Self {
            self.now += time;
            self
        }
    }

    #[test]
    fn connections_start_once_and_in_the_order_in_which_they_became_due() {
        let mut test = TestQueue::new(2);
        assert_eq!(test.push("a/3 a/1 a/3 a/2").start(), "a/3 a/1");
        assert_eq!(test.start(), "");
        assert_eq!(test.push("a/3").finish("a/1").start(), "a/2");
        assert_eq!(test.finish("a/2").start(), "a/3");
    }

    #[test]
    fn namespaces_take_turns() {
        let mut test = TestQueue::new(4);
        assert_eq!(
            test.push("a/1 a/2 a/3 a/4 b/1 c/1 b/2").start(),
            "a/1 b/1 c/1 a/2"
        );
        assert_eq!(test.finish("c/1").finish("b/1").start(), "b/2 a/3");
    }

    #[test]
    fn a_slow_reconcile_gives_up_its_slot() {
        let mut test = TestQueue::new(1);
        assert_eq!(test.queue.next_slot(), None, "nothing waits");
        assert_eq!(test.push("a/slow b/1").start(), "a/slow");
        assert_eq!(test.queue.next_slot(), Some(test.now + SLOW_AFTER));
        assert_eq!(test.advance(SLOW_AFTER / 2).start(), "");
        assert_eq!(test.advance(SLOW_AFTER / 2).start(), "b/1");
        assert_eq!(test.queue.next_slot(), None, "nothing waits");
    }

    #[test]
    fn slow_reconciles_are_limited_in_each_namespace_and_in_all() {
        let mut test = TestQueue::new(1);
        let mut started = String::new();
        for number in 0..20 {
            started = test.push(&format!("a/{number}")).advance(SLOW_AFTER).start();
        }
        assert_eq!(test.started.len(), RUNNING_PER_SLOT / 2);
        assert_eq!((started.as_str(), test.queue.next_slot()), ("", None));
        assert_eq!(
            test.push("b/1").start(),
            "b/1",
            "the limit of one namespace does not delay another"
        );
        for number in 0..20 {
            test.push(&format!("c{number}/1")).advance(SLOW_AFTER).start();
        }
        assert_eq!(test.started.len(), RUNNING_PER_SLOT);
        test.advance(SLOW_AFTER);
        assert_eq!(
            test.queue.next_slot(),
            None,
            "no reconcile starts before one ends"
        );
        assert_eq!(test.finish("a/0").start(), "a/4");
    }
}
