//! Whose turn it is: which of the connections that are due is probed next.
//!
//! A bridge that hangs costs its connection the whole `spec.timeout`, and whoever may create connections may create many
//! of them. So that they cost nobody else anything:
//!
//! - Namespaces take queue. Within one, whoever became due first comes first.
//! - A pass holds one of the places only for its first two seconds, which is more than nearly all of them take. Then it
//!   lingers, and somebody else begins.
//! - What lingers is bounded too, for it takes memory: in all, and for each namespace at half of that.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

use super::connection::Key;
use crate::metrics::Load;

/// A pass that takes longer gives its place to another.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many passes may be under way for each place, with those that linger.
const PASSES_PER_PLACE: usize = 8;

/// The connections that are due, and the passes that are under way; `I` identifies a pass.
#[derive(Debug)]
pub(super) struct FairQueue<I> {
    places: usize,
    /// By namespace, in the order in which they became due, and since when.
    waiting: HashMap<Arc<str>, VecDeque<(Instant, Key)>>,
    is_waiting: HashSet<Key>,
    /// The namespaces in which somebody waits, in the order of their queue.
    order: VecDeque<Arc<str>>,
    running: HashMap<I, Key>,
    running_in: HashMap<Arc<str>, usize>,
    /// The passes that hold a place, in the order in which they began.
    fresh: VecDeque<(Instant, I)>,
}

impl<I: Copy + Eq + Hash> FairQueue<I> {
    pub(super) fn new(places: usize) -> Self {
        Self {
            places: places.max(1),
            waiting: HashMap::new(),
            is_waiting: HashSet::new(),
            order: VecDeque::new(),
            running: HashMap::new(),
            running_in: HashMap::new(),
            fresh: VecDeque::new(),
        }
    }

    /// Somebody is due. Who waits already keeps the place in the queue.
    pub(super) fn wait(&mut self, key: &Key, now: Instant) {
        if !self.is_waiting.insert(key.clone()) {
            return;
        }
        let queue = self.waiting.entry(Arc::clone(&key.namespace)).or_default();
        if queue.is_empty() {
            self.order.push_back(Arc::clone(&key.namespace));
        }
        queue.push_back((now, key.clone()));
    }

    /// Who begins now, if anybody may.
    pub(super) fn next(&mut self, now: Instant) -> Option<Key> {
        while self
            .fresh
            .front()
            .is_some_and(|(begun, _)| now.saturating_duration_since(*begun) >= PATIENCE)
        {
            self.fresh.pop_front();
        }
        if self.fresh.len() >= self.places || self.running.len() >= self.bound() {
            return None;
        }
        for _ in 0..self.order.len() {
            let namespace = self.order.pop_front()?;
            if self.running_in.get(&namespace).copied().unwrap_or_default() >= self.bound().div_ceil(2) {
                self.order.push_back(namespace);
                continue;
            }
            let queue = self.waiting.get_mut(&namespace);
            let ((_, key), is_last) = queue.and_then(|queue| Some((queue.pop_front()?, queue.is_empty())))?;
            if is_last {
                self.waiting.remove(&namespace);
            } else {
                self.order.push_back(namespace);
            }
            self.is_waiting.remove(&key);
            return Some(key);
        }
        None
    }

    /// The pass of who was next is under way.
    pub(super) fn begin(&mut self, id: I, key: Key, now: Instant) {
        *self.running_in.entry(Arc::clone(&key.namespace)).or_default() += 1;
        self.running.insert(id, key);
        self.fresh.push_back((now, id));
    }

    /// A pass has ended.
    pub(super) fn end(&mut self, id: I) -> Option<Key> {
        let key = self.running.remove(&id)?;
        if let Some(count) = self.running_in.get_mut(&key.namespace) {
            *count -= 1;
            if *count == 0 {
                self.running_in.remove(&key.namespace);
            }
        }
        self.fresh.retain(|(_, fresh)| *fresh != id);
        Some(key)
    }

    /// What waits, and what is under way.
    pub(super) fn load(&self, now: Instant) -> Load {
        let first = self.waiting.values().filter_map(VecDeque::front);
        let oldest = first.map(|(since, _)| *since).min();
        Load {
            waiting: self.is_waiting.len(),
            oldest: oldest.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
            running: self.running.len(),
        }
    }

    /// When the next place becomes free by itself, where somebody waits for one.
    pub(super) fn next_place(&self) -> Option<Instant> {
        let (begun, _) = self.fresh.front()?;
        (self.fresh.len() >= self.places && !self.order.is_empty()).then(|| *begun + PATIENCE)
    }

    fn bound(&self) -> usize {
        self.places.saturating_mul(PASSES_PER_PLACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        let (namespace, name) = text.split_once('/').unwrap();
        Key::new(namespace, name)
    }

    /// A queue whose passes are numbered in the order in which they begin.
    struct Played {
        queue: FairQueue<usize>,
        begun: Vec<String>,
        now: Instant,
    }

    impl Played {
        fn new(places: usize) -> Self {
            Self {
                queue: FairQueue::new(places),
                begun: Vec::new(),
                now: Instant::now(),
            }
        }

        fn wait(&mut self, keys: &str) -> &mut Self {
            for text in keys.split(' ') {
                self.queue.wait(&key(text), self.now);
            }
            self
        }

        /// Lets everybody begin who may, and says who that was.
        fn begin(&mut self) -> String {
            let from = self.begun.len();
            while let Some(key) = self.queue.next(self.now) {
                self.begun.push(format!("{}/{}", key.namespace, key.name));
                self.queue.begin(self.begun.len() - 1, key, self.now);
            }
            self.begun[from..].join(" ")
        }

        fn end(&mut self, text: &str) -> &mut Self {
            let id = self.begun.iter().rposition(|begun| begun == text).unwrap();
            self.queue.end(id).unwrap();
            self
        }

        fn pass_time(&mut self, time: Duration) -> &mut Self {
            self.now += time;
            self
        }
    }

    #[test]
    fn first_come_first_served_and_once_only() {
        let mut played = Played::new(2);
        assert_eq!(played.wait("a/3 a/1 a/3 a/2").begin(), "a/3 a/1");
        assert_eq!(played.begin(), "");
        assert_eq!(played.wait("a/3").end("a/1").begin(), "a/2");
        assert_eq!(played.end("a/2").begin(), "a/3");
    }

    #[test]
    fn namespaces_take_turns() {
        let mut played = Played::new(4);
        assert_eq!(
            played.wait("a/1 a/2 a/3 a/4 b/1 c/1 b/2").begin(),
            "a/1 b/1 c/1 a/2"
        );
        assert_eq!(played.end("c/1").end("b/1").begin(), "b/2 a/3");
    }

    #[test]
    fn who_lingers_gives_the_place_to_another() {
        let mut played = Played::new(1);
        assert_eq!(played.queue.next_place(), None, "nobody waits");
        assert_eq!(played.wait("a/slow b/1").begin(), "a/slow");
        assert_eq!(played.queue.next_place(), Some(played.now + PATIENCE));
        assert_eq!(played.pass_time(PATIENCE / 2).begin(), "");
        assert_eq!(played.pass_time(PATIENCE / 2).begin(), "b/1");
        assert_eq!(played.queue.next_place(), None, "nobody waits");
    }

    #[test]
    fn what_lingers_is_bounded_for_each_namespace_and_in_all() {
        let mut played = Played::new(1);
        let mut begun = String::new();
        for number in 0..20 {
            begun = played.wait(&format!("a/{number}")).pass_time(PATIENCE).begin();
        }
        assert_eq!(played.begun.len(), PASSES_PER_PLACE / 2);
        assert_eq!((begun.as_str(), played.queue.next_place()), ("", None));
        assert_eq!(
            played.wait("b/1").begin(),
            "b/1",
            "another namespace is not kept waiting"
        );
        for number in 0..20 {
            played.wait(&format!("c{number}/1")).pass_time(PATIENCE).begin();
        }
        assert_eq!(played.begun.len(), PASSES_PER_PLACE);
        played.pass_time(PATIENCE);
        assert_eq!(
            played.queue.next_place(),
            None,
            "nothing begins before something ends"
        );
        assert_eq!(played.end("a/0").begin(), "a/4");
    }
}
