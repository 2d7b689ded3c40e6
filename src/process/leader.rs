//! Leader election: of several replicas one works.
//!
//! The protocol is client-go's: a `Lease` that the leader renews, and that others take over once they have seen it
//! unchanged for its duration. A leader that cannot renew stops before others may begin; one that was frozen meanwhile
//! finds its [`Tenure`] at its end, and sends nothing more.

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

use super::{ProcessError, cluster::unusable};
use crate::{controller::ControllerError, tenure::Tenure};

/// A Lease that was not renewed for so long may be taken over: client-go's default.
const DURATION: Duration = Duration::from_secs(15);
/// A leader that has not renewed for so long has lost it: client-go's default. What is left of [`DURATION`] is for
/// requests that are under way.
pub(super) const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often the leader renews: client-go's default.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How often a candidate looks, up to half as long again. An expired Lease is noticed within twice this: once it was
/// seen late, once it is taken late.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a release is waited for. Where it does not succeed the Lease expires by itself.
const RELEASE_WITHIN: Duration = Duration::from_secs(5);

/// Who holds which Lease, and what is known of it.
pub(super) struct Candidacy {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) identity: String,
    pub(super) tenure: Tenure,
}

impl Candidacy {
    /// Waits for the Lease, then runs `work` while renewing it, and releases it afterwards.
    pub(super) async fn lead(
        self,
        config: Config,
        stop: CancellationToken,
        work: impl Future<Output = Result<(), ControllerError>>,
    ) -> Result<(), ProcessError> {
        let client = self.witnessed(config)?;
        let election = LeaderElection::new(client, &self.namespace, &self.name, &self.identity)
            .with_lease_duration(DURATION)
            .with_renew_deadline(RENEW_DEADLINE);
        let candidate = election.clone().with_retry_period(LOOK_EVERY);
        let elected = CancellationToken::new();
        tokio::select! {
            () = stop.cancelled() => {
                // It may have been given the Lease a moment ago.
                self.tenure.end();
                let _ = timeout(RELEASE_WITHIN, election.release()).await;
                return Ok(());
            }
            // Never ends by itself, unless the Lease is lost as soon as it is won.
            _ = candidate.with_lease(async { elected.cancel(); pending::<()>().await }) => {
                return Err(ProcessError::LeaseLost);
            }
            () = elected.cancelled() => {}
        }
        // A candidate looks often, so that no time is lost; a leader renews seldom, so that the API server has not much
        // to do with it. The Lease is this process's, and taken once more by the same name at once.
        let election = election.with_retry_period(RENEW_EVERY);
        let (started, ended) = (CancellationToken::new(), CancellationToken::new());
        let led = election.with_lease(async {
            started.cancel();
            let result = work.await;
            // Whatever is still under way must not outlive the release.
            self.tenure.end();
            ended.cancel();
            result
        });
        tokio::select! {
            result = led => match result {
                Some(result) => result.map_err(ProcessError::from),
                None => Err(ProcessError::LeaseLost),
            },
            // An API server that does not answer holds up the end neither before the work nor after it.
            () = async { stop.cancelled().await; if started.is_cancelled() { pending().await } } => Ok(()),
            () = async { ended.cancelled().await; sleep(RELEASE_WITHIN).await } => {
                warn!("the Lease could not be released; it expires by itself");
                if stop.is_cancelled() { Ok(()) } else { Err(ProcessError::LeaseLost) }
            }
        }
    }

    /// A client that tells the tenure of each renewal.
    fn witnessed(&self, config: Config) -> Result<Client, ProcessError> {
        let client = ClientBuilder::try_from(config).map_err(|error| unusable(&error))?;
        Ok(client.with_layer(&Witness(self.tenure.clone())).build())
    }
}

/// Sees the requests that write a Lease.
#[derive(Clone)]
struct Witness(Tenure);

/// A client under a [`Witness`].
struct Witnessed<S> {
    client: S,
    tenure: Tenure,
}

impl<S> Layer<S> for Witness {
    type Service = Witnessed<S>;

    fn layer(&self, client: S) -> Witnessed<S> {
        Witnessed {
            client,
            tenure: self.0.clone(),
        }
    }
}

impl<S, B, C> Service<Request<B>> for Witnessed<S>
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
        // Others may see the new Lease as soon as it is written, long before its writer hears of it.
        let asked = Instant::now();
        let writes = matches!(*request.method(), Method::POST | Method::PUT);
        let tenure = self.tenure.clone();
        let answering = self.client.call(request);
        Box::pin(async move {
            let response = answering.await?;
            if writes && response.status().is_success() {
                tenure.renew(asked);
            }
            Ok(response)
        })
    }
}

/// A name that no other replica has: the host's, and a number drawn at random.
pub(super) fn make_identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "scim-bridge-operator".to_owned());
    format!("{host}_{:016x}", rand::random::<u64>())
}
