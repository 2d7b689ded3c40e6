//! Calls to the API server: limited in time and number, and only while this process leads.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use kube::Client;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::{
    leadership::Leadership,
    metrics::{Metrics, RequestOutcome},
};

/// Time for a call with all its retries: kube retries 429, 503 and 504 by itself for a long time.
const BUDGET: Duration = Duration::from_secs(15);

/// Maximum concurrent calls of reconciles. Each takes a TCP connection, and that takes memory on both sides. More
/// calls would only wait in the API server, and some answers would come too late.
const MAX_CALLS: usize = 16;

/// The API server. Clones share the permits.
#[derive(Clone)]
pub struct ApiServer {
    client: Client,
    permits: Arc<CallPermits>,
    leadership: Leadership,
    metrics: Arc<Metrics>,
}

/// Permits for calls.
#[derive(Debug)]
struct CallPermits {
    free: Semaphore,
    waiting: AtomicUsize,
}

/// A task that waits for a permit.
struct Waiting<'a>(&'a AtomicUsize);

/// A call failed. The text of kube's error is dropped: an error about a Secret may quote the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The API server refused or did not answer.
    #[error("cannot {call}: {failure}")]
    Failed {
        /// The call.
        call: Call,
        /// Why it failed.
        failure: CallFailure,
    },
    /// This process does not hold the Lease, or holds it no longer.
    #[error("this process is no longer the leader")]
    NotLeading,
}

/// A call to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// GET of a Secret.
    ReadSecret,
    /// GET of a ConfigMap.
    ReadConfigMap,
    /// GET of a connection.
    ReadConnection,
    /// LIST of connections.
    ListConnections,
    /// Server-side apply of a status.
    ApplyStatus,
    /// POST or PATCH of an Event.
    PublishEvent,
}

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallFailure {
    /// The API server refused with this HTTP status.
    Refused(u16),
    /// The API server did not answer, or its answer could not be read.
    Unanswered,
    /// The API server did not answer in time.
    TimedOut,
}

// === impl ApiServer ===

impl ApiServer {
    /// Calls go through this client, and only while `leadership` holds.
    #[must_use]
    pub fn new(client: Client, leadership: Leadership, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            permits: Arc::default(),
            leadership,
            metrics,
        }
    }

    /// That of a test, whose process leads for ever.
    #[cfg(test)]
    pub(crate) fn of_a_test(client: Client) -> Self {
        Self::new(client, Leadership::unlimited(), Arc::default())
    }

    /// The client, for watches and to build the requests of calls.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Waits for a permit, then makes the call. The time for the call starts after the wait. `None` if the object does
    /// not exist.
    ///
    /// # Errors
    /// The API server refused or did not answer, or this process does not lead.
    pub(crate) async fn call<T>(
        &self,
        call: Call,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<Option<T>, CallError> {
        let _permit = self.permits.take().await;
        self.call_within(BUDGET, call, request).await
    }

    /// Makes a call within `budget` and without a permit.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub(crate) async fn call_within<T>(
        &self,
        budget: Duration,
        call: Call,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<Option<T>, CallError> {
        if !self.leadership.holds() {
            return Err(CallError::NotLeading);
        }
        let answer = answer(budget, request).await;
        let outcome = match &answer {
            Ok(_) => RequestOutcome::Ok,
            Err(CallFailure::Refused(_)) => RequestOutcome::Refused,
            Err(CallFailure::Unanswered | CallFailure::TimedOut) => RequestOutcome::Unreachable,
        };
        self.metrics.requested(call.as_str(), outcome);
        answer.map_err(|failure| CallError::Failed { call, failure })
    }

    /// Whether as many calls wait as there are permits: the API server is too slow, and a new call would only wait.
    pub(crate) fn is_saturated(&self) -> bool {
        self.permits.are_saturated()
    }
}

/// Waits for the answer to a request, within `budget`. `None` if the object does not exist.
///
/// # Errors
/// Why there is no usable answer.
pub(crate) async fn answer<T>(
    budget: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<Option<T>, CallFailure> {
    match timeout(budget, request).await {
        Ok(Ok(object)) => Ok(Some(object)),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
        Ok(Err(kube::Error::Api(status))) => Err(CallFailure::Refused(status.code)),
        Ok(Err(_)) => Err(CallFailure::Unanswered),
        Err(_) => Err(CallFailure::TimedOut),
    }
}

// === impl CallPermits ===

impl CallPermits {
    async fn take(&self) -> Option<SemaphorePermit<'_>> {
        let _waiting = Waiting::new(&self.waiting);
        // The semaphore is never closed.
        self.free.acquire().await.ok()
    }

    fn are_saturated(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= MAX_CALLS
    }
}

impl Default for CallPermits {
    fn default() -> Self {
        Self {
            free: Semaphore::new(MAX_CALLS),
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

// === impl Call ===

impl Call {
    /// The value of its metric label.
    const fn as_str(self) -> &'static str {
        match self {
            Self::ReadSecret => "read_secret",
            Self::ReadConfigMap => "read_config_map",
            Self::ReadConnection => "read_connection",
            Self::ListConnections => "list_connections",
            Self::ApplyStatus => "apply_status",
            Self::PublishEvent => "publish_event",
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadSecret => "read the Secret",
            Self::ReadConfigMap => "read the ConfigMap",
            Self::ReadConnection => "read the connection",
            Self::ListConnections => "list connections",
            Self::ApplyStatus => "write the status",
            Self::PublishEvent => "publish an event",
        })
    }
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(403) => f.write_str("the ServiceAccount lacks the permission (403)"),
            Self::Refused(status) => write!(f, "the API server answered {status}"),
            Self::Unanswered => f.write_str("the API server did not answer"),
            Self::TimedOut => f.write_str("the API server did not answer in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, future::join_all};
    use http::{Request, Response};
    use kube::client::Body;
    use tokio::time::sleep;
    use tower::service_fn;

    use super::*;

    fn server() -> ApiServer {
        let empty = service_fn(async |_: Request<Body>| Ok::<_, kube::Error>(Response::new(Body::empty())));
        ApiServer::of_a_test(Client::new(empty, "a"))
    }

    #[tokio::test]
    async fn the_budget_starts_after_the_wait_for_a_permit() {
        let server = server();
        let taken = join_all((0..MAX_CALLS).map(|_| server.permits.take())).await;
        tokio::time::pause();
        let (answer, ()) = tokio::join!(server.call(Call::ReadSecret, async { Ok(7) }), async {
            sleep(BUDGET * 2).await;
            drop(taken);
        });
        assert_eq!(
            answer.unwrap(),
            Some(7),
            "the call waited for longer than its budget and still succeeds"
        );
    }

    #[test]
    fn a_waiting_call_is_counted_until_it_has_a_permit_or_is_dropped() {
        let permits = CallPermits::default();
        let taken: Vec<_> = (0..MAX_CALLS)
            .map(|_| permits.take().now_or_never().flatten().unwrap())
            .collect();
        assert!(!permits.are_saturated(), "no call waits");
        let mut waiting = Box::pin(join_all((0..MAX_CALLS).map(|_| permits.take())));
        assert!(waiting.as_mut().now_or_never().is_none(), "no permit is free");
        assert!(permits.are_saturated());
        drop(waiting);
        assert!(!permits.are_saturated(), "no call waits any more");
        drop(taken);
        assert!(
            permits.take().now_or_never().is_some(),
            "the permits are free again"
        );
    }
}
