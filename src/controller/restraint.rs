//! How often one connection may be probed because something about it has changed.
//!
//! A probe may itself lead to the next change: by somebody who answers each status with an edit, or a bridge behind
//! which a Secret is rotated with each request. Without a bound the operator and they would drive each other as fast as
//! the API server goes. What counts is the latest state, so a change that comes too soon is not lost but waits.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::registry::Key;

/// So many changes in a row are answered at once: more than anybody makes by hand.
const BURST: u32 = 20;

/// After that, one in this time.
const PACE: Duration = Duration::from_millis(500);

/// Those that were probed not long ago because of a change.
///
/// By name, whatever becomes of the object: deleting and creating it again is a change as well.
#[derive(Debug, Default)]
pub(super) struct Restraint(HashMap<Key, Instant>);

impl Restraint {
    /// Counts a change that is answered now; where that is too soon, says when.
    ///
    /// The time that is kept is when all answers so far will have been paid for, each with [`PACE`].
    pub(super) fn admit(&mut self, key: &Key, now: Instant) -> Result<(), Instant> {
        let paid = self.0.get(key).copied().unwrap_or(now).max(now);
        let soonest = paid.checked_sub(PACE * (BURST - 1)).unwrap_or(now);
        if soonest > now {
            return Err(soonest);
        }
        self.0.insert(key.clone(), paid + PACE);
        Ok(())
    }

    /// Forgets those who have nothing to pay for any more.
    pub(super) fn forget(&mut self, now: Instant) {
        self.0.retain(|_, paid| *paid > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key {
            namespace: "a".to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn a_burst_is_answered_at_once_and_then_one_in_its_time() {
        let (mut restraint, start) = (Restraint::default(), Instant::now());
        for _ in 0..BURST {
            assert_eq!(restraint.admit(&key("busy"), start), Ok(()));
        }
        assert_eq!(restraint.admit(&key("busy"), start), Err(start + PACE));
        assert_eq!(restraint.admit(&key("other"), start), Ok(()), "nobody else waits");
        assert_eq!(restraint.admit(&key("busy"), start + PACE), Ok(()));
        assert_eq!(
            restraint.admit(&key("busy"), start + PACE),
            Err(start + PACE * 2),
            "asking in vain costs nothing"
        );
    }

    #[test]
    fn who_pauses_is_free_again_and_forgotten() {
        let (mut restraint, start) = (Restraint::default(), Instant::now());
        while restraint.admit(&key("busy"), start).is_ok() {}
        let later = start + PACE * BURST;
        restraint.forget(later.checked_sub(PACE).unwrap());
        assert_eq!(restraint.0.len(), 1);
        restraint.forget(later);
        assert!(restraint.0.is_empty());
        for _ in 0..BURST {
            assert_eq!(restraint.admit(&key("busy"), later), Ok(()));
        }
    }
}
