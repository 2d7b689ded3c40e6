//! How much may change within an hour without a person having looked at it.

use std::{array, fmt, time::Duration};

use aws_lc_rs::hmac;
use k8s_openapi::jiff::Timestamp;

pub use crate::api::directory::ChangeKind as Kind;

/// The time over which acts are counted.
pub const WINDOW: Duration = Duration::from_hours(1);

/// Acts are noted by five minutes, in seconds, so that an hour of them fits into a status.
const GRAIN: i64 = 300;

/// One value for each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerKind<T> {
    /// For [`Kind::Suspension`].
    pub suspensions: T,
    /// For [`Kind::Removal`].
    pub removals: T,
    /// For [`Kind::Rename`].
    pub renames: T,
    /// For [`Kind::Creation`].
    pub creations: T,
    /// For [`Kind::Addition`].
    pub additions: T,
}

/// The most acts of each kind within an hour; `None` where there is no limit.
pub type Limits = PerKind<Option<u32>>;

/// What was sent lately.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent(PerKind<Vec<Entry>>);

/// So many acts within five minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When the five minutes begin.
    pub since: Timestamp,
    /// How many acts.
    pub count: u32,
}

/// The key of digests. It is secret: without it, nobody can try names until a digest fits.
#[derive(Clone)]
pub struct DigestKey(hmac::Key);

/// Names exactly one set of acts of one kind, and shows nothing of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 16]);

/// A digest that is being made.
pub(super) struct Digester(hmac::Context);

// === impl PerKind ===

impl<T> PerKind<T> {
    /// A value for each kind.
    pub fn from_fn(mut value: impl FnMut(Kind) -> T) -> Self {
        Self {
            suspensions: value(Kind::Suspension),
            removals: value(Kind::Removal),
            renames: value(Kind::Rename),
            creations: value(Kind::Creation),
            additions: value(Kind::Addition),
        }
    }

    /// The value for a kind.
    #[must_use]
    pub const fn get(&self, kind: Kind) -> &T {
        match kind {
            Kind::Suspension => &self.suspensions,
            Kind::Removal => &self.removals,
            Kind::Rename => &self.renames,
            Kind::Creation => &self.creations,
            Kind::Addition => &self.additions,
        }
    }

    /// The value for a kind, to be changed.
    pub const fn get_mut(&mut self, kind: Kind) -> &mut T {
        match kind {
            Kind::Suspension => &mut self.suspensions,
            Kind::Removal => &mut self.removals,
            Kind::Rename => &mut self.renames,
            Kind::Creation => &mut self.creations,
            Kind::Addition => &mut self.additions,
        }
    }
}

// === impl Spent ===

impl Spent {
    /// Reads what a status says; zero counts are left out.
    #[must_use]
    pub fn resume(entries: impl IntoIterator<Item = (Kind, Entry)>) -> Self {
        let mut spent = Self::default();
        for (kind, Entry { since, count }) in entries {
            spent.note(kind, since, count);
        }
        spent
    }

    /// Notes that so many acts were sent, and forgets those that no longer count.
    pub fn record(&mut self, kind: Kind, now: Timestamp, count: u32) {
        self.0
            .get_mut(kind)
            .retain(|entry| ends(entry).is_none_or(|end| end > now));
        self.note(kind, now, count);
    }

    /// Takes back acts that were noted at this time and then not sent.
    pub fn refund(&mut self, kind: Kind, at: Timestamp, count: u32) {
        let since = grain(at);
        if let Some(entry) = self.0.get_mut(kind).iter_mut().find(|entry| entry.since == since) {
            entry.count = entry.count.saturating_sub(count);
        }
        self.0.get_mut(kind).retain(|entry| entry.count > 0);
    }

    fn note(&mut self, kind: Kind, at: Timestamp, count: u32) {
        if count == 0 {
            return;
        }
        let since = grain(at);
        let entries = self.0.get_mut(kind);
        match entries.binary_search_by_key(&since, |entry| entry.since) {
            Ok(index) => {
                if let Some(entry) = entries.get_mut(index) {
                    entry.count = entry.count.saturating_add(count);
                }
            }
            Err(index) => entries.insert(index, Entry { since, count }),
        }
    }

    /// How many acts of a kind count at this time. What was sent in the future counts: a clock that was set back
    /// refills nothing.
    #[must_use]
    pub fn within(&self, kind: Kind, now: Timestamp) -> u32 {
        self.counted(kind, now)
            .fold(0, |sum: u32, entry| sum.saturating_add(entry.count))
    }

    /// When the next acts of a kind stop counting.
    #[must_use]
    pub fn next_release(&self, kind: Kind, now: Timestamp) -> Option<Timestamp> {
        self.counted(kind, now).filter_map(ends).min()
    }

    fn counted(&self, kind: Kind, now: Timestamp) -> impl Iterator<Item = &Entry> {
        self.0
            .get(kind)
            .iter()
            .filter(move |entry| ends(entry).is_none_or(|end| end > now))
    }

    /// What a status has to say so that a restart refills nothing.
    pub fn entries(&self) -> impl Iterator<Item = (Kind, Entry)> + '_ {
        Kind::ALL
            .into_iter()
            .flat_map(|kind| self.0.get(kind).iter().map(move |entry| (kind, *entry)))
    }
}

/// The beginning of the five minutes that hold this time.
fn grain(at: Timestamp) -> Timestamp {
    let second = at.as_second();
    Timestamp::from_second(second - second.rem_euclid(GRAIN)).unwrap_or(at)
}

/// When acts stop counting: an hour after the end of their five minutes, so that each counts for an hour at least.
fn ends(entry: &Entry) -> Option<Timestamp> {
    let window = i64::try_from(WINDOW.as_secs()).ok()?;
    Timestamp::from_second(entry.since.as_second() + GRAIN + window).ok()
}

// === impl DigestKey ===

impl DigestKey {
    /// A key of these bytes: 32 random ones, or a secret that outlives restarts.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey(..)")
    }
}

// === impl Digester ===

impl Digester {
    /// The digest of one act.
    pub(super) fn of_act(key: &DigestKey) -> Self {
        Self::new(key, "scimbridge.dev/act 1")
    }

    /// The digest of a set of acts. `released` is the last set of this kind that was released: after that, even the same
    /// acts are another set.
    pub(super) fn of_set(key: &DigestKey, kind: Kind, released: Option<&str>) -> Self {
        let mut digester = Self::new(key, "scimbridge.dev/release 1");
        digester.add(kind.as_str());
        digester.add(released.unwrap_or_default());
        digester
    }

    fn new(key: &DigestKey, purpose: &str) -> Self {
        let DigestKey(key) = key;
        let mut digester = Self(hmac::Context::with_key(key));
        digester.add(purpose);
        digester
    }

    /// Adds a text with its length: no two lists of texts are one.
    pub(super) fn add(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_be_bytes());
        self.0.update(text.as_bytes());
    }

    pub(super) fn finish(self) -> Digest {
        let tag = self.0.sign();
        let mut bytes = tag.as_ref().iter().copied();
        Digest(array::from_fn(|_| bytes.next().unwrap_or_default()))
    }
}

// === impl Digest ===

impl Digest {
    /// Reads the value of the annotation that releases a set.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(is_hex) {
            return None;
        }
        u128::from_str_radix(text, 16)
            .ok()
            .map(|number| Self(number.to_be_bytes()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn acts_count_for_an_hour_at_least() {
        let mut spent = Spent::default();
        spent.record(Kind::Removal, at(30), 3);
        spent.record(Kind::Removal, at(59), 1);
        spent.record(Kind::Removal, at(600), 2);
        spent.record(Kind::Suspension, at(600), 7);
        for (now, count, next) in [
            (600, 6, Some(3900)),
            (3629, 6, Some(3900)),
            (3899, 6, Some(3900)),
            (3900, 2, Some(4500)),
            (4500, 0, None),
            // A clock that is set back.
            (0, 6, Some(3900)),
        ] {
            assert_eq!(spent.within(Kind::Removal, at(now)), count, "{now}");
            assert_eq!(spent.next_release(Kind::Removal, at(now)), next.map(at), "{now}");
        }
        assert_eq!(spent.within(Kind::Addition, at(600)), 0);
        spent.record(Kind::Removal, at(4500), 1);
        assert_eq!(spent.entries().count(), 2, "what no longer counts is forgotten");
        assert_eq!(Spent::resume(spent.entries()), spent);
        spent.refund(Kind::Removal, at(4501), 1);
        assert_eq!(spent.within(Kind::Removal, at(4500)), 0, "what was not sent");
    }

    #[test]
    fn counts_do_not_overflow() {
        let mut spent = Spent::default();
        spent.record(Kind::Removal, at(0), u32::MAX);
        spent.record(Kind::Removal, at(0), 1);
        spent.record(Kind::Removal, at(60), 1);
        assert_eq!(spent.within(Kind::Removal, at(0)), u32::MAX);
    }

    #[test]
    fn digests() {
        let released = |key: &[u8], kind, released, texts: &[&str]| {
            let mut digester = Digester::of_set(&DigestKey::new(key), kind, released);
            for text in texts {
                digester.add(text);
            }
            digester.finish()
        };
        let digest = |key: &[u8], kind, texts: &[&str]| released(key, kind, None, texts);
        let one = digest(b"key", Kind::Removal, &["ab", "c"]);
        assert_eq!(one, digest(b"key", Kind::Removal, &["ab", "c"]));
        for other in [
            digest(b"other", Kind::Removal, &["ab", "c"]),
            digest(b"key", Kind::Suspension, &["ab", "c"]),
            digest(b"key", Kind::Removal, &["a", "bc"]),
            digest(b"key", Kind::Removal, &["abc"]),
            released(b"key", Kind::Removal, Some("before"), &["ab", "c"]),
        ] {
            assert_ne!(one, other);
        }
        assert_eq!(Digest::parse(&one.to_string()), Some(one));
        for text in [
            "",
            "+0000000000000000000000000000000",
            "ABCDEF00000000000000000000000000",
            "00",
        ] {
            assert_eq!(Digest::parse(text), None, "{text}");
        }
        assert_eq!(format!("{:?}", DigestKey::new(b"canary")), "DigestKey(..)");
    }
}
