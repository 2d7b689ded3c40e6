//! Runs a probe: a few small requests, in order, over one connection, within one budget.

use std::sync::Arc;

use futures::{FutureExt as _, future::BoxFuture};
use rustls::RootCertStore;
use tokio::time::Instant;

use super::documents::{read_health, read_list};
use crate::{
    api::vocabulary::Layer,
    bridge::{
        ProbeRequest, Prober,
        key::{ApiKey, untried},
        route::Route,
        wire::{
            address::AddressPolicy,
            body::Body,
            client::Clients,
            proxy::BridgeProxy,
            resolver::Names,
            session::{Request, Session, Verb},
            stages::{Course, Observer, Stage, pass},
        },
    },
    clock::Clock,
    domain::connection::{
        evidence::{Answer, Blocker, Exchange, HealthReport, KeyTrial, Reading, TransportFailure},
        verdict::refusal_of_a_front,
    },
    leadership::Leadership,
};

/// Largest body of a list response, in bytes.
const LIST_BOUND: usize = 1024 * 1024;
/// Largest body of a health report, and of an error, in bytes.
const BODY_BOUND: usize = 256 * 1024;
/// Largest body of `/ping`, in bytes. A bridge answers with four letters.
const PING_BOUND: usize = 4 * 1024;

/// Probes bridges over HTTPS.
#[derive(Debug)]
pub struct HttpProber {
    clients: Clients,
    clock: Arc<dyn Clock>,
    leadership: Leadership,
    observers: Vec<Arc<dyn Observer>>,
}

/// The requests of one probe.
struct ProbeSession<'a>(Session<'a>);

// === impl HttpProber ===

impl HttpProber {
    /// Creates a prober. `policy` decides where it may connect. It trusts `system_roots` if a route has no CA bundle.
    #[must_use]
    pub fn new(policy: Arc<AddressPolicy>, system_roots: Arc<RootCertStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            clients: Clients::new(policy, system_roots),
            clock,
            leadership: Leadership::unlimited(),
            observers: Vec::new(),
        }
    }

    /// Adds an observer for the stages of each probe.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.push(observer);
        self
    }

    /// Looks names up with `names`, not with the system's files and servers.
    #[must_use]
    pub fn resolving_by(self, names: Names) -> Self {
        Self {
            clients: self.clients.resolving_by(names),
            ..self
        }
    }

    /// Sends requests only while this leadership holds.
    #[must_use]
    pub fn during(self, leadership: Leadership) -> Self {
        Self {
            clients: self.clients.during(leadership.clone()),
            leadership,
            ..self
        }
    }

    /// Uses this proxy for the bridges that it covers.
    #[must_use]
    pub fn through(self, proxy: Option<BridgeProxy>) -> Self {
        Self {
            clients: self.clients.through(proxy),
            ..self
        }
    }

    /// Whether requests may be sent now.
    pub(in crate::bridge) fn leads(&self) -> bool {
        self.leadership.holds()
    }

    /// A session under the rules of this prober: for requests that are no probe.
    ///
    /// # Errors
    /// The policy denies the host, or our own TLS cannot be set up.
    pub(in crate::bridge) fn session<'a>(
        &'a self,
        route: &'a Route,
        deadline: Instant,
    ) -> Result<Session<'a>, TransportFailure> {
        Session::begin(&self.clients, &self.leadership, route, self.clock.now(), deadline)
    }
}

impl Prober for HttpProber {
    fn probe(&self, order: ProbeRequest) -> BoxFuture<'_, Exchange> {
        async move {
            let ProbeRequest {
                route,
                key,
                next_key,
                budget,
                requested: _,
            } = order;
            let session = match self.session(&route, Instant::now() + budget) {
                Ok(session) => session,
                Err(failure) => {
                    return Exchange {
                        ping: Reading::Failed(failure),
                        ..Exchange::default()
                    };
                }
            };
            let probe = ProbeSession(session).full_probe(&key, next_key);
            Course::begin(self.observers.as_slice().into()).run(probe).await
        }
        .boxed()
    }
}

// === impl ProbeSession ===

impl ProbeSession<'_> {
    async fn full_probe(mut self, key: &ApiKey, next_key: Option<Result<ApiKey, Blocker>>) -> Exchange {
        let mut exchange = Exchange {
            ping: self.ping().await,
            ..Exchange::default()
        };
        self.pass(Layer::Ping, &mut exchange);
        // The key is not sent if the peer cannot be reached, or its response shows that it is no bridge.
        let is_stranger = !exchange.is_of_a_bridge();
        if !is_stranger {
            exchange.health = self.health(key).await;
            self.pass(Layer::Health, &mut exchange);
            if !matches!(exchange.health, Reading::Failed(TransportFailure::TimedOut(_))) {
                exchange.users = self.list("Users", key, false).await;
                self.pass(Layer::Users, &mut exchange);
            }
            if exchange.users.document().is_some() {
                exchange.groups = self
                    .list("Groups", key, next_key.is_none())
                    .await
                    .document()
                    .copied();
                self.pass(Layer::Groups, &mut exchange);
            }
        }
        exchange.next_key = match next_key {
            Some(Ok(next_key)) if !is_stranger => {
                let trial = self.rehearse(&next_key, &exchange.ping).await;
                self.pass(Layer::NextKey, &mut exchange);
                Some(trial)
            }
            other => untried(other.as_ref()),
        };
        exchange.retry_after = self.0.retry_after;
        exchange.certificate = self.0.certificate;
        exchange
    }

    /// Reports that a request has ended.
    fn pass(&self, layer: Layer, exchange: &mut Exchange) {
        if exchange.certificate.is_none() {
            exchange.certificate.clone_from(&self.0.certificate);
        }
        pass(Stage::Asked(layer, exchange));
    }

    /// `GET /ping`: is the peer a bridge?
    async fn ping(&mut self) -> Reading<()> {
        let request = Request {
            verb: Verb::Get,
            path: "/ping",
            accept: "*/*",
            key: None,
            bound: PING_BOUND,
            holds: &|_| true,
            last: false,
        };
        match self.0.ask(&request).await {
            Err(failure) => Reading::Failed(failure),
            Ok(heard) => Reading::Answered(
                heard.read(|body| body.trim_ascii().eq_ignore_ascii_case(b"pong").then_some(())),
            ),
        }
    }

    /// `GET /health`: is the bridge healthy, and does it accept the key? A report also counts with a 5xx status,
    /// because nobody documents the status of an unhealthy bridge.
    async fn health(&mut self, key: &ApiKey) -> Reading<HealthReport> {
        let request = Request {
            verb: Verb::Get,
            path: "/health",
            accept: "application/json",
            key: Some(key),
            bound: BODY_BOUND,
            holds: &|_| true,
            last: false,
        };
        let now = self.0.now;
        match self.0.ask(&request).await {
            Err(failure) => Reading::Failed(failure),
            Ok(heard) => {
                let report = match &heard.body {
                    Body::Whole(body) if heard.status.is_server_error() => read_health(body, now),
                    Body::Whole(_) | Body::Unconfirmed(_) | Body::TooLarge | Body::Broken => None,
                };
                Reading::Answered(match report {
                    Some(report) => Answer::Document(report),
                    None => heard.read(|body| read_health(body, now)),
                })
            }
        }
    }

    /// `GET /scim/Users` or `/scim/Groups`: does SCIM answer, and how many are there? The request has no filter,
    /// because some versions answer a filter with 400.
    async fn list(&mut self, resource: &str, key: &ApiKey, last: bool) -> Reading<u64> {
        let path = format!(
            "{}/{resource}?startIndex=1&count=1",
            self.0.route.origin.scim_path()
        );
        let request = Request {
            verb: Verb::Get,
            path: &path,
            accept: "application/scim+json, application/json;q=0.9",
            key: Some(key),
            bound: LIST_BOUND,
            holds: &|_| true,
            last,
        };
        match self.0.ask(&request).await {
            Err(failure) => Reading::Failed(failure),
            Ok(heard) => Reading::Answered(heard.read(read_list)),
        }
    }

    /// Tries a key where the current one has been tried: the health report, or SCIM where there is none.
    async fn rehearse(&mut self, key: &ApiKey, ping: &Reading<()>) -> KeyTrial {
        let health = self.health(key).await;
        match judge_key(ping, &health, &Reading::NotSent) {
            KeyTrial::Undecided => {
                let users = self.list("Users", key, true).await;
                judge_key(ping, &health, &users)
            }
            decided @ (KeyTrial::Accepted | KeyTrial::Refused | KeyTrial::Unusable(_)) => decided,
        }
    }
}

/// What the answers say of a key. A refusal counts by the rule of `AuthFailed`: not where a front refuses.
fn judge_key(ping: &Reading<()>, health: &Reading<HealthReport>, users: &Reading<u64>) -> KeyTrial {
    if health.document().is_some() || users.document().is_some() {
        return KeyTrial::Accepted;
    }
    if (is_refusal(health) || is_refusal(users)) && refusal_of_a_front(ping, health, users).is_none() {
        KeyTrial::Refused
    } else {
        KeyTrial::Undecided
    }
}

const fn is_refusal<T>(reading: &Reading<T>) -> bool {
    matches!(
        reading,
        Reading::Answered(Answer::Unauthorized | Answer::Forbidden)
    )
}
