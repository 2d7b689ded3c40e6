//! A rate limiter with one budget per object.
//!
//! A probe may cause the change that triggers the next probe: a controller edits the object after each status, or a
//! bridge rotates a Secret with each request. Without a limit, both would run as fast as the API server allows. A
//! change that comes too soon is not lost: it waits, and the probe then sees the latest state.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// How often something is allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// How many are allowed at once.
    pub(crate) burst: u32,
    /// After a burst, one is allowed in this time.
    pub(crate) pace: Duration,
}

/// Limits by object; `K` identifies an object.
///
/// Use its name, not its UID: deleting an object and creating it again must not reset its limit.
#[derive(Debug)]
pub(crate) struct RateLimiter<K> {
    limit: Limit,
    /// When the whole burst of an object is available again. An object that is not here has its whole burst.
    full_at: HashMap<K, Instant>,
}

impl<K: Clone + Eq + Hash> RateLimiter<K> {
    pub(crate) fn new(limit: Limit) -> Self {
        Self {
            limit,
            full_at: HashMap::new(),
        }
    }

    /// Allows it now and counts it.
    ///
    /// # Errors
    /// The earliest time, if now is too soon. Then nothing is counted.
    pub(crate) fn admit(&mut self, key: &K, now: Instant) -> Result<(), Instant> {
        let Limit { burst, pace } = self.limit;
        let full_at = self.full_at.get(key).copied().unwrap_or(now).max(now);
        let earliest = full_at.checked_sub(pace * (burst - 1)).unwrap_or(now);
        if earliest > now {
            return Err(earliest);
        }
        self.full_at.insert(key.clone(), full_at + pace);
        Ok(())
    }

    /// Forgets objects that have their whole burst again.
    pub(crate) fn forget(&mut self, now: Instant) {
        self.full_at.retain(|_, full_at| *full_at > now);
        // The map may have grown when thousands of objects were new at once.
        self.full_at.shrink_to(self.full_at.len() * 2);
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
    fn a_burst_is_allowed_at_once_and_then_one_per_pace() {
        let (mut limiter, start) = (RateLimiter::new(LIMIT), Instant::now());
        for _ in 0..BURST {
            assert_eq!(limiter.admit(&"busy", start), Ok(()));
        }
        assert_eq!(limiter.admit(&"busy", start), Err(start + PACE));
        assert_eq!(
            limiter.admit(&"other", start),
            Ok(()),
            "other objects do not wait"
        );
        assert_eq!(limiter.admit(&"busy", start + PACE), Ok(()));
        assert_eq!(
            limiter.admit(&"busy", start + PACE),
            Err(start + PACE * 2),
            "a refused request is not counted"
        );
    }

    #[test]
    fn an_idle_object_has_its_burst_again_and_is_forgotten() {
        let (mut limiter, start) = (RateLimiter::new(LIMIT), Instant::now());
        while limiter.admit(&"busy", start).is_ok() {}
        let later = start + PACE * BURST;
        limiter.forget(later.checked_sub(PACE).unwrap());
        assert_eq!(limiter.full_at.len(), 1);
        limiter.forget(later);
        assert!(limiter.full_at.is_empty());
        for _ in 0..BURST {
            assert_eq!(limiter.admit(&"busy", later), Ok(()));
        }
    }
}
