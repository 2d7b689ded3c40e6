//! Calls to the API server, each bounded in time.

use std::{
    future::Future,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{sync::Semaphore, time::timeout};

use super::{
    context::Context,
    error::{Call, Cause, ControllerError},
};
use crate::{
    metrics::{Metrics, RequestOutcome},
    tenure::Tenure,
};

/// kube retries 429, 503 and 504 by itself, and for long; this bounds the whole.
const BUDGET: Duration = Duration::from_secs(15);

/// Calls of passes under way at a time.
const CALLS: usize = 16;

/// Places for calls. Each call under way takes a connection, and each connection memory on both sides; more of them at
/// once would only wait at the API server, and for some of them it would answer too late.
#[derive(Debug)]
pub struct Places {
    free: Semaphore,
    waiting: AtomicUsize,
}

/// One who waits for a place.
struct Waiting<'a>(&'a AtomicUsize);

/// Makes a call, if this process may act. `None` where there is no such object.
pub(super) async fn call<T>(
    context: &Context,
    call: Call,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<Option<T>, ControllerError> {
    let call = call_within(BUDGET, (&context.tenure, &context.metrics), call, request);
    in_place(&context.places, call).await
}

/// Makes a call once it has a place. To wait for that costs nothing of its budget, which is the API server's: that has not
/// heard of it.
async fn in_place<T>(places: &Places, call: impl Future<Output = T>) -> T {
    let _place = places.take().await;
    call.await
}

/// The same within another time.
pub(super) async fn call_within<T>(
    budget: Duration,
    (tenure, metrics): (&Tenure, &Metrics),
    call: Call,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<Option<T>, ControllerError> {
    if !tenure.holds() {
        return Err(ControllerError::NotLeading);
    }
    let answer = timeout(budget, request).await;
    let outcome = match &answer {
        Ok(Ok(_)) => RequestOutcome::Ok,
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => RequestOutcome::Ok,
        Ok(Err(kube::Error::Api(_))) => RequestOutcome::Refused,
        Ok(Err(_)) | Err(_) => RequestOutcome::Unreachable,
    };
    metrics.requested(call.as_str(), outcome);
    let cause = match answer {
        Ok(Ok(object)) => return Ok(Some(object)),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => return Ok(None),
        Ok(Err(kube::Error::Api(status))) => Cause::Refused(status.code),
        Ok(Err(_)) => Cause::Unanswered,
        Err(_) => Cause::TimedOut,
    };
    Err(ControllerError::Api { call, cause })
}

// === impl Places ===

impl Places {
    async fn take(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        let _waiting = Waiting::new(&self.waiting);
        // It is never closed.
        self.free.acquire().await.ok()
    }

    /// Whether as many wait as there are places: the API server does not keep up, and who begins now would only wait.
    pub(super) fn are_crowded(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= CALLS
    }
}

impl Default for Places {
    fn default() -> Self {
        Self {
            free: Semaphore::new(CALLS),
            waiting: AtomicUsize::new(0),
        }
    }
}

// === impl Waiting ===

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, future::join_all};
    use tokio::time::sleep;

    use super::*;

    #[tokio::test]
    async fn to_wait_for_a_place_costs_nothing_of_the_budget() {
        const SHORT: Duration = Duration::from_millis(50);
        let places = Places::default();
        let taken = join_all((0..CALLS).map(|_| places.take())).await;
        let (tenure, metrics) = (Tenure::unlimited(), Metrics::default());
        let call = call_within(SHORT, (&tenure, &metrics), Call::ReadSecret, async { Ok(7) });
        let (answer, ()) = tokio::join!(in_place(&places, call), async {
            sleep(SHORT * 2).await;
            drop(taken);
        });
        assert_eq!(
            answer.unwrap(),
            Some(7),
            "its budget began when it had waited for longer than that"
        );
    }

    #[test]
    fn who_waits_is_counted_until_it_has_a_place_or_gives_up() {
        let places = Places::default();
        let taken: Vec<_> = (0..CALLS)
            .map(|_| places.take().now_or_never().flatten().unwrap())
            .collect();
        assert!(!places.are_crowded(), "nobody waits");
        let mut waiting = Box::pin(join_all((0..CALLS).map(|_| places.take())));
        assert!(waiting.as_mut().now_or_never().is_none(), "no place is free");
        assert!(places.are_crowded());
        drop(waiting);
        assert!(!places.are_crowded(), "nobody waits any more");
        drop(taken);
        assert!(
            places.take().now_or_never().is_some(),
            "the places are free again"
        );
    }
}
