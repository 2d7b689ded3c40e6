//! The pace of the requests to one directory.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, Mutex as StdMutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Mutex, MutexGuard},
    time::{Instant, sleep_until, timeout_at},
};

use crate::domain::connection::schedule::RETRY_AFTER_MAX;

/// At most so many requests in a second, and none while the bridge wants none.
///
/// Clones share the pace: keep one for all reads and writes of a directory. They pass first come, first served, and only
/// for as long as one request has to wait. Each clone counts the requests that it has let pass.
#[derive(Debug)]
pub struct Rate {
    pace: Arc<Pace>,
    requests: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Pace {
    interval: Duration,
    /// When the next request may begin. This lock is fair, so those who wait for it are a queue.
    next: Mutex<Instant>,
    /// No request begins before.
    held: StdMutex<Option<Instant>>,
}

/// The first place in the queue. Its owner may begin the next request when it is due.
#[derive(Debug)]
pub(super) struct Place<'a> {
    rate: &'a Rate,
    next: MutexGuard<'a, Instant>,
}

/// The request is not due within its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Late {
    /// How long the bridge wants no request, if that is the cause.
    pub(super) held_for: Option<Duration>,
}

// === impl Rate ===

impl Rate {
    /// At most so many requests in a second, without bursts.
    #[must_use]
    pub fn per_second(requests: NonZeroU32) -> Self {
        Self {
            pace: Arc::new(Pace {
                interval: Duration::from_secs(1) / requests.get(),
                next: Mutex::new(Instant::now()),
                held: StdMutex::default(),
            }),
            requests: Arc::default(),
        }
    }

    /// How many requests it has let pass. The requests of its clones do not count.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Lets no request begin before this moment, or before an hour has gone by if that is earlier. A request that waits
    /// goes on waiting, and keeps its place. An earlier moment than the one that holds changes nothing.
    ///
    /// A read or write that gets a `Retry-After` does this by itself.
    pub fn hold_until(&self, moment: Instant) {
        let moment = moment.min(Instant::now() + RETRY_AFTER_MAX);
        let mut held = self.pace.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = (*held).max(Some(moment));
    }

    /// For how long no request begins. `None` if nothing holds it.
    #[must_use]
    pub fn held_for(&self) -> Option<Duration> {
        let held = self.held()?.saturating_duration_since(Instant::now());
        (!held.is_zero()).then_some(held)
    }

    fn held(&self) -> Option<Instant> {
        *self.pace.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn late(&self) -> Late {
        Late {
            held_for: self.held_for(),
        }
    }

    /// Waits for the first place in the queue.
    pub(super) async fn place(&self, deadline: Instant) -> Result<Place<'_>, Late> {
        let next = timeout_at(deadline, self.pace.next.lock())
            .await
            .map_err(|_| self.late())?;
        Ok(Place { rate: self, next })
    }
}

impl Clone for Rate {
    fn clone(&self) -> Self {
        Self {
            pace: Arc::clone(&self.pace),
            requests: Arc::default(),
        }
    }
}

// === impl Place ===

impl Place<'_> {
    fn due_at(&self) -> Instant {
        self.rate.held().map_or(*self.next, |held| held.max(*self.next))
    }

    /// Waits until the next request is due. It does not wait for what comes after the deadline.
    pub(super) async fn due(&self, deadline: Instant) -> Result<(), Late> {
        loop {
            let due = self.due_at();
            if due <= Instant::now() {
                return Ok(());
            }
            if due > deadline {
                return Err(self.rate.late());
            }
            // Meanwhile the bridge may ask for more time.
            sleep_until(due).await;
        }
    }

    /// Whether the next request is due still.
    pub(super) fn is_due(&self) -> bool {
        self.due_at() <= Instant::now()
    }

    /// Notes that a request begins now.
    pub(super) fn begin(mut self) {
        *self.next = Instant::now() + self.rate.pace.interval;
        self.rate.requests.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const LONG: Duration = Duration::from_hours(2);

    fn five_a_second() -> Rate {
        Rate::per_second(NonZeroU32::new(5).unwrap())
    }

    async fn pass(rate: &Rate, within: Duration) -> Result<(), Late> {
        let deadline = Instant::now() + within;
        let place = rate.place(deadline).await?;
        place.due(deadline).await?;
        place.begin();
        Ok(())
    }

    /// The tenths of a second at which requests begin that each take so long.
    async fn beginnings(rate: &Rate, took: Duration, number: usize) -> Vec<u128> {
        let begun = Instant::now();
        let mut beginnings = Vec::new();
        for _ in 0..number {
            pass(rate, LONG).await.unwrap();
            beginnings.push(begun.elapsed().as_millis() / 100);
            sleep(took).await;
        }
        beginnings
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_holds_between_reads_and_saves_nothing_up() {
        let rate = five_a_second();
        let quick = Duration::from_millis(1);
        assert_eq!(beginnings(&rate, quick, 4).await, [0, 2, 4, 6]);
        // The next read goes on where the last one ended.
        assert_eq!(beginnings(&rate.clone(), quick, 3).await, [1, 3, 5]);
        // Answers that take longer than the interval do not let others follow faster.
        let slow = Duration::from_millis(500);
        assert_eq!(beginnings(&rate, slow, 3).await, [1, 6, 11]);
        assert_eq!(beginnings(&rate, quick, 3).await, [0, 2, 4]);
        assert_eq!(rate.requests(), 10, "a clone counts by itself");
    }

    /// A long read asks again and again. Somebody who comes in between waits for one request of it, not for all.
    #[tokio::test(start_paused = true)]
    async fn first_come_first_served() {
        let rate = five_a_second();
        let reading = tokio::spawn({
            let rate = rate.clone();
            async move { beginnings(&rate, Duration::ZERO, 100).await }
        });
        sleep(Duration::from_millis(1050)).await;
        let begun = Instant::now();
        pass(&rate, LONG).await.unwrap();
        assert!(
            begun.elapsed() <= Duration::from_millis(400),
            "{:?}",
            begun.elapsed()
        );
        assert_eq!(
            reading.await.unwrap().last(),
            Some(&200),
            "together they keep the pace"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_bridge_that_wants_no_request_gets_none() {
        let rate = five_a_second();
        let begun = Instant::now();
        rate.hold_until(begun + Duration::from_secs(30));
        rate.hold_until(begun + Duration::from_secs(20));
        // Nobody waits for what comes too late, and the place is free again.
        let late = pass(&rate, Duration::from_secs(29)).await.unwrap_err();
        assert_eq!(
            (late.held_for, begun.elapsed()),
            (Some(Duration::from_secs(30)), Duration::ZERO)
        );
        let waiting = tokio::spawn({
            let rate = rate.clone();
            async move { pass(&rate, LONG).await }
        });
        sleep(Duration::from_secs(10)).await;
        // Longer, for one that waits already.
        rate.hold_until(begun + Duration::from_mins(1));
        waiting.await.unwrap().unwrap();
        assert_eq!(begun.elapsed(), Duration::from_mins(1));
        assert_eq!(rate.held_for(), None);
        // A bridge that wants peace for ever has an hour of it.
        rate.hold_until(Instant::now() + Duration::from_secs(u32::MAX.into()));
        assert_eq!(rate.held_for(), Some(RETRY_AFTER_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_gives_up_leaves_the_queue() {
        let rate = five_a_second();
        pass(&rate, LONG).await.unwrap();
        assert_eq!(
            pass(&rate, Duration::from_millis(100)).await,
            Err(Late { held_for: None })
        );
        let begun = Instant::now();
        pass(&rate, LONG).await.unwrap();
        assert_eq!(
            begun.elapsed(),
            Duration::from_millis(200),
            "nothing was noted for it"
        );
    }
}
