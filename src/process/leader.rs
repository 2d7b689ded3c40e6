//! Leader election: only one of several replicas works.
//!
//! The protocol is client-go's. The leader renews a `Lease`. Another replica takes it over when it has seen the Lease
//! unchanged for its duration. A leader that cannot renew stops before that. A leader that was frozen finds that its
//! [`Leadership`] has ended, and sends nothing more.

use std::{
    future::{Future, pending},
    task::{self, Poll},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use k8s_controller::LeaderElection;
use kube::{Client, Config, client::ClientBuilder};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::{Layer, Service};
use tracing::warn;

use super::ProcessError;
use crate::{cluster::unusable, leadership::Leadership};

/// After this time without a renewal, another replica may take the Lease over: client-go's default.
const DURATION: Duration = Duration::from_secs(15);
/// After this time without a renewal, the leader stops: client-go's default. The rest of [`DURATION`] is for requests
/// that have been sent already.
pub(super) const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often the leader renews the Lease: client-go's default.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How often a candidate reads the Lease; random jitter adds up to half. It may see the last renewal late and the
/// expiry late. So it takes an expired Lease within twice this time.
const CANDIDATE_EVERY: Duration = Duration::from_millis(500);
/// How long to wait for the release. If it fails, the Lease expires by itself.
const RELEASE_WITHIN: Duration = Duration::from_secs(5);

/// The election that this replica takes part in.
pub(super) struct Election {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) identity: String,
    pub(super) leadership: Leadership,
}

impl Election {
    /// Waits for the Lease, runs `work` while renewing the Lease, then releases it.
    pub(super) async fn lead(
        self,
        config: Config,
        stop: CancellationToken,
        work: impl Future<Output = Result<(), ProcessError>>,
    ) -> Result<(), ProcessError> {
        let client = self.observed_client(config)?;
        let election = LeaderElection::new(client, &self.namespace, &self.name, &self.identity)
            .with_lease_duration(DURATION)
            .with_renew_deadline(RENEW_DEADLINE);
        let candidate = election.clone().with_retry_period(CANDIDATE_EVERY);
        let elected = CancellationToken::new();
        tokio::select! {
            () = stop.cancelled() => {
                // This replica may have won the Lease a moment ago.
                self.leadership.end();
                let _ = timeout(RELEASE_WITHIN, election.release()).await;
                return Ok(());
            }
            // Ends only if the Lease is lost as soon as it is won.
            _ = candidate.with_lease(async { elected.cancel(); pending::<()>().await }) => {
                return Err(ProcessError::LeaseLost);
            }
            () = elected.cancelled() => {}
        }
        // A candidate reads the Lease often to start soon; a leader renews it seldom to spare the API server. The
        // second election wins at once, because the Lease already has this replica's name.
        let election = election.with_retry_period(RENEW_EVERY);
        let (started, ended) = (CancellationToken::new(), CancellationToken::new());
        let led = election.with_lease(async {
            started.cancel();
            let result = work.await;
            // No request may be sent after the release.
            self.leadership.end();
            ended.cancel();
            result
        });
        tokio::select! {
            result = led => match result {
                Some(result) => result,
                None => Err(ProcessError::LeaseLost),
            },
            // If the API server does not answer, do not wait for it: neither before the work starts nor after it ends.
            () = async { stop.cancelled().await; if started.is_cancelled() { pending().await } } => Ok(()),
            () = async { ended.cancelled().await; sleep(RELEASE_WITHIN).await } => {
                warn!("cannot release the Lease; it will expire by itself");
                if stop.is_cancelled() { Ok(()) } else { Err(ProcessError::LeaseLost) }
            }
        }
    }

    /// A client that notes each renewal in the leadership.
    fn observed_client(&self, config: Config) -> Result<Client, ProcessError> {
        let client = ClientBuilder::try_from(config).map_err(|error| unusable(&error))?;
        Ok(client
            .with_layer(&RenewalObserver(self.leadership.clone()))
            .build())
    }
}

/// Observes the requests that write the Lease.
#[derive(Clone)]
struct RenewalObserver(Leadership);

/// A client under a [`RenewalObserver`].
struct Observed<S> {
    client: S,
    leadership: Leadership,
}

impl<S> Layer<S> for RenewalObserver {
    type Service = Observed<S>;

    fn layer(&self, client: S) -> Observed<S> {
        Observed {
            client,
            leadership: self.0.clone(),
        }
    }
}

impl<S, B, C> Service<Request<B>> for Observed<S>
where
    S: Service<Request<B>, Response = Response<C>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.client.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Other replicas may see the new Lease long before its writer gets the answer.
        let sent = Instant::now();
        let writes = matches!(*request.method(), Method::POST | Method::PUT);
        let leadership = self.leadership.clone();
        let answering = self.client.call(request);
        Box::pin(async move {
            let response = answering.await?;
            if writes && response.status().is_success() {
                leadership.renew(sent);
            }
            Ok(response)
        })
    }
}

/// A unique name for this replica: the host name and a random number.
pub(super) fn make_identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "scim-bridge-operator".to_owned());
    format!("{host}_{:016x}", rand::random::<u64>())
}
