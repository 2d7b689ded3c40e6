//! How often something may be done for one object.
//!
//! A probe may itself lead to the next change that asks for one: somebody answers each status with an edit, or a bridge
//! rotates a Secret with each request. Without a limit the operator and they would drive each other as fast as the API
//! server goes. What counts is the latest state, so a change that comes too soon is not lost: it waits.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// How much is too much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// So many in a row are let through at once.
    pub(crate) burst: u32,
    /// After that, one in this time.
    pub(crate) pace: Duration,
}

/// Objects for which something was done not long ago; `K` names an object.
///
/// Keyed by name, not by UID: deleting an object and creating it again brings no new allowance.
#[derive(Debug)]
pub(crate) struct RateLimiter<K> {
    limit: Limit,
    paid: HashMap<K, Instant>,
}

impl<K: Clone + Eq + Hash> RateLimiter<K> {
    pub(crate) fn new(limit: Limit) -> Self {
        Self {
            limit,
            paid: HashMap::new(),
        }
    }

    /// Counts what is done now.
    ///
    /// # Errors
    /// The time from which it may be done, where now is too soon.
    pub(crate) fn admit(&mut self, key: &K, now: Instant) -> Result<(), Instant> {
        let Limit { burst, pace } = self.limit;
        // When all so far is paid for, each with the pace.
        let paid = self.paid.get(key).copied().unwrap_or(now).max(now);
        let soonest = paid.checked_sub(pace * (burst - 1)).unwrap_or(now);
        if soonest > now {
            return Err(soonest);
        }
        self.paid.insert(key.clone(), paid + pace);
        Ok(())
    }

    /// Forgets objects that have nothing to pay for any more.
    pub(crate) fn forget(&mut self, now: Instant) {
        self.paid.retain(|_, paid| *paid > now);
        // Thousands may have been new at once.
        self.paid.shrink_to(self.paid.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BURST: u32 = 20;
    const PACE: Duration = Duration::from_millis(500);
    const LIMIT: Limit = Limit {
        burst: BURST,
        pace: PACE,
    };

    #[test]
    fn a_burst_is_answered_at_once_and_then_one_in_its_time() {
        let (mut limiter, start) = (RateLimiter::new(LIMIT), Instant::now());
        for _ in 0..BURST {
            assert_eq!(limiter.admit(&"busy", start), Ok(()));
        }
        assert_eq!(limiter.admit(&"busy", start), Err(start + PACE));
        assert_eq!(limiter.admit(&"other", start), Ok(()), "nobody else waits");
        assert_eq!(limiter.admit(&"busy", start + PACE), Ok(()));
        assert_eq!(
            limiter.admit(&"busy", start + PACE),
            Err(start + PACE * 2),
            "asking in vain costs nothing"
        );
    }

    #[test]
    fn who_pauses_is_free_again_and_forgotten() {
        let (mut limiter, start) = (RateLimiter::new(LIMIT), Instant::now());
        while limiter.admit(&"busy", start).is_ok() {}
        let later = start + PACE * BURST;
        limiter.forget(later.checked_sub(PACE).unwrap());
        assert_eq!(limiter.paid.len(), 1);
        limiter.forget(later);
        assert!(limiter.paid.is_empty());
        for _ in 0..BURST {
            assert_eq!(limiter.admit(&"busy", later), Ok(()));
        }
    }
}
