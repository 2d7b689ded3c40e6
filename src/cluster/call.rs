//! Calls to the API server: bounded in time and in number, and only while this process leads.

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

/// kube retries 429, 503 and 504 by itself, and for long. This bounds the whole call.
const BUDGET: Duration = Duration::from_secs(15);

/// Calls of reconciles that run at a time. Each takes a connection, and each connection takes memory on both sides.
/// More calls would only wait at the API server, and some of its answers would come too late.
const CALLS: usize = 16;

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

/// A call did not succeed. The text of the error is not kept: an error about a Secret may quote the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The API server refused, or did not answer.
    #[error("cannot {call}: {failure}")]
    Failed {
        /// What was asked for.
        call: Call,
        /// Why it failed.
        failure: CallFailure,
    },
    /// The Lease is not this process's, or no longer.
    #[error("this process does not lead any more")]
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
    /// No answer, or none that could be read.
    Unanswered,
    /// No answer in time.
    TimedOut,
}

// === impl ApiServer ===

impl ApiServer {
    /// The API server behind this client, called only while `leadership` holds.
    #[must_use]
    pub fn new(client: Client, leadership: Leadership, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            permits: Arc::default(),
            leadership,
            metrics,
        }
    }

    /// The client, for watches and for the requests of calls.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Makes a call once it has a permit. The wait for a permit takes nothing from the call's time: the API server has
    /// not heard of it yet. `None` where there is no such object.
    ///
    /// # Errors
    /// Where the API server refuses or does not answer, or this process does not lead.
    pub(crate) async fn call<T>(
        &self,
        call: Call,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<Option<T>, CallError> {
        let _permit = self.permits.take().await;
        self.call_within(BUDGET, call, request).await
    }

    /// Makes a call without a permit, in another time.
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
        let answer = timeout(budget, request).await;
        let outcome = match &answer {
            Ok(Ok(_)) => RequestOutcome::Ok,
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => RequestOutcome::Ok,
            Ok(Err(kube::Error::Api(_))) => RequestOutcome::Refused,
            Ok(Err(_)) | Err(_) => RequestOutcome::Unreachable,
        };
        self.metrics.requested(call.as_str(), outcome);
        let failure = match answer {
            Ok(Ok(object)) => return Ok(Some(object)),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => return Ok(None),
            Ok(Err(kube::Error::Api(status))) => CallFailure::Refused(status.code),
            Ok(Err(_)) => CallFailure::Unanswered,
            Err(_) => CallFailure::TimedOut,
        };
        Err(CallError::Failed { call, failure })
    }

    /// Whether as many calls wait as there are permits: the API server does not keep up, and a new one would only wait.
    pub(crate) fn is_saturated(&self) -> bool {
        self.permits.are_saturated()
    }
}

// === impl CallPermits ===

impl CallPermits {
    async fn take(&self) -> Option<SemaphorePermit<'_>> {
        let _waiting = Waiting::new(&self.waiting);
        // It is never closed.
        self.free.acquire().await.ok()
    }

    fn are_saturated(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= CALLS
    }
}

impl Default for CallPermits {
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

// === impl Call ===

impl Call {
    /// Its name in metrics.
    const fn as_str(self) -> &'static str {
        match self {
            Self::ReadSecret => "read_secret",
            Self::ReadConfigMap => "read_config_map",
            Self::ReadConnection => "read_connection",
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
        let nobody = service_fn(async |_: Request<Body>| Ok::<_, kube::Error>(Response::new(Body::empty())));
        ApiServer::new(Client::new(nobody, "a"), Leadership::unlimited(), Arc::default())
    }

    #[tokio::test]
    async fn waiting_for_a_permit_takes_nothing_from_the_budget() {
        let server = server();
        let taken = join_all((0..CALLS).map(|_| server.permits.take())).await;
        tokio::time::pause();
        let (answer, ()) = tokio::join!(server.call(Call::ReadSecret, async { Ok(7) }), async {
            sleep(BUDGET * 2).await;
            drop(taken);
        });
        assert_eq!(
            answer.unwrap(),
            Some(7),
            "its budget began when it had waited for longer than that"
        );
    }

    #[test]
    fn a_waiting_task_is_counted_until_it_has_a_permit_or_gives_up() {
        let permits = CallPermits::default();
        let taken: Vec<_> = (0..CALLS)
            .map(|_| permits.take().now_or_never().flatten().unwrap())
            .collect();
        assert!(!permits.are_saturated(), "nobody waits");
        let mut waiting = Box::pin(join_all((0..CALLS).map(|_| permits.take())));
        assert!(waiting.as_mut().now_or_never().is_none(), "no permit is free");
        assert!(permits.are_saturated());
        drop(waiting);
        assert!(!permits.are_saturated(), "nobody waits any more");
        drop(taken);
        assert!(
            permits.take().now_or_never().is_some(),
            "the permits are free again"
        );
    }
}
