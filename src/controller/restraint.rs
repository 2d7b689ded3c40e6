//! How often something may be done for one connection.
//!
//! A probe may itself lead to the next change that asks for one: by somebody who answers each status with an edit, or a
//! bridge behind which a Secret is rotated with each request. Without a bound the operator and they would drive each
//! other as fast as the API server goes. What counts is the latest state, so a change that comes too soon is not lost
//! but waits. Events have a measure of their own.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::registry::Key;

/// Probes because of a change: more in a row than anybody makes by hand.
pub(super) const PROBES: Measure = Measure {
    burst: 20,
    pace: Duration::from_millis(500),
};

/// How much is too much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    /// So many in a row are let through at once.
    pub(super) burst: u32,
    /// After that, one in this time.
    pub(super) pace: Duration,
}

/// Those for whom something was done not long ago.
///
/// By name, whatever becomes of the object: deleting and creating it again is a change as well.
#[derive(Debug)]
pub(super) struct Restraint {
    measure: Measure,
    paid: HashMap<Key, Instant>,
}

impl Restraint {
    pub(super) fn new(measure: Measure) -> Self {
        Self {
            measure,
            paid: HashMap::new(),
        }
    }

    /// Counts what is done now; where that is too soon, says when.
    ///
    /// The time that is kept is when all so far will have been paid for, each with the pace.
    pub(super) fn admit(&mut self, key: &Key, now: Instant) -> Result<(), Instant> {
        let Measure { burst, pace } = self.measure;
        let paid = self.paid.get(key).copied().unwrap_or(now).max(now);
        let soonest = paid.checked_sub(pace * (burst - 1)).unwrap_or(now);
        if soonest > now {
            return Err(soonest);
        }
        self.paid.insert(key.clone(), paid + pace);
        Ok(())
    }

    /// Forgets those who have nothing to pay for any more.
    pub(super) fn forget(&mut self, now: Instant) {
        self.paid.retain(|_, paid| *paid > now);
        // Thousands may have been new at once.
        self.paid.shrink_to(self.paid.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BURST: u32 = PROBES.burst;
    const PACE: Duration = PROBES.pace;

    fn key(name: &str) -> Key {
        Key::new("a", name)
    }

    #[test]
    fn a_burst_is_answered_at_once_and_then_one_in_its_time() {
        let (mut restraint, start) = (Restraint::new(PROBES), Instant::now());
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
        let (mut restraint, start) = (Restraint::new(PROBES), Instant::now());
        while restraint.admit(&key("busy"), start).is_ok() {}
        let later = start + PACE * BURST;
        restraint.forget(later.checked_sub(PACE).unwrap());
        assert_eq!(restraint.paid.len(), 1);
        restraint.forget(later);
        assert!(restraint.paid.is_empty());
        for _ in 0..BURST {
            assert_eq!(restraint.admit(&key("busy"), later), Ok(()));
        }
    }
}
