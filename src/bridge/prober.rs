//! The probe itself: up to four small requests, in order, over one connection, within one budget.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use k8s_openapi::jiff::Timestamp;
use reqwest::{
    Client, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER},
    tls::TlsInfo,
};
use rustls::RootCertStore;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::{
    ProbeOrder, Prober,
    address::AddressPolicy,
    body::{self, Body},
    classify::classify,
    client::{ClientError, Clients, over_kept},
    documents::{looks_like_json, read_certificate, read_health, read_list, read_retry_after},
    keep::{Keep, Known, Place},
    key::ApiKey,
    proxy::BridgeProxy,
    race::race,
    resolver::Names,
    stages::{Course, Layer, Observer, Stage, pass},
};
use crate::{
    clock::Clock,
    domain::{
        evidence::{
            Answer, Certificate, Exchange, HealthReport, KeyTrial, Obstacle, Reading, TransportFailure,
        },
        schedule::Depth,
        target::{Origin, Scheme, Target},
    },
    tenure::Tenure,
};

/// Largest body of a list response.
const LIST_BOUND: usize = 1024 * 1024;
/// Largest body of a health report, and of an error.
const BODY_BOUND: usize = 256 * 1024;
/// `/ping` answers with four letters.
const PING_BOUND: usize = 4 * 1024;

/// Probes bridges over HTTPS.
#[derive(Debug)]
pub struct HttpProber {
    clients: Clients,
    keep: Keep,
    clock: Arc<dyn Clock>,
    tenure: Tenure,
    observers: Vec<Arc<dyn Observer>>,
}

/// One request's place in a probe.
struct Conversation<'a> {
    client: Client,
    tenure: &'a Tenure,
    target: &'a Target,
    /// What is asked, but for the path.
    base: Url,
    deadline: Instant,
    now: Timestamp,
    /// Whether the connection is kept for the next probe.
    keeps: bool,
    /// Whether requests may go over a kept connection only.
    kept_only: bool,
    retry_after: Option<Duration>,
    certificate: Option<Certificate>,
}

/// A request without its address.
struct Question<'a> {
    path: &'a str,
    accept: &'static str,
    key: Option<&'a ApiKey>,
    bound: usize,
    /// Whether the connection is not needed afterwards.
    last: bool,
}

/// An answer, read as far as its bound.
struct Heard {
    status: StatusCode,
    is_json: bool,
    body: Body,
}

// === impl HttpProber ===

impl HttpProber {
    /// A prober that connects where `policy` allows and trusts `system_roots` unless a target says otherwise.
    #[must_use]
    pub fn new(policy: Arc<AddressPolicy>, system_roots: Arc<RootCertStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            clients: Clients::new(policy, system_roots),
            keep: Keep::default(),
            clock,
            tenure: Tenure::unlimited(),
            observers: Vec::new(),
        }
    }

    /// The same, with somebody who is told how far each probe comes.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.push(observer);
        self
    }

    /// The same, with another way to look names up than the system's.
    #[must_use]
    pub fn resolving_by(self, names: Names) -> Self {
        Self {
            clients: self.clients.resolving_by(names),
            ..self
        }
    }

    /// The same, for a process that asks bridges only during its tenure.
    #[must_use]
    pub fn during(self, tenure: Tenure) -> Self {
        Self {
            clients: self.clients.during(tenure.clone()),
            tenure,
            ..self
        }
    }

    /// The same, by way of a proxy where it covers a target.
    #[must_use]
    pub fn through(self, proxy: Option<BridgeProxy>) -> Self {
        Self {
            clients: self.clients.through(proxy),
            ..self
        }
    }
}

impl Prober for HttpProber {
    fn probe(&self, order: ProbeOrder) -> BoxFuture<'_, Exchange> {
        async move {
            let ProbeOrder {
                target,
                trust,
                key,
                next_key,
                depth,
            } = order;
            let deadline = Instant::now() + target.timeout;
            let client = match self.clients.client(&target, &trust, depth) {
                Ok(client) => client,
                Err(ClientError::Denied) => {
                    return Exchange {
                        ping: Reading::Failed(TransportFailure::AddressDenied),
                        ..Exchange::default()
                    };
                }
                Err(error @ (ClientError::Tls(_) | ClientError::Http(_))) => {
                    // The bundle was read before; what is left is our own set-up. The bridge was not reached by TLS.
                    tracing::error!(error = &error as &dyn std::error::Error, "no HTTP client");
                    return Exchange {
                        ping: Reading::Failed(TransportFailure::Tls),
                        ..Exchange::default()
                    };
                }
            };
            let Ok(base) = base(&target) else {
                // Origins are parsed from URLs.
                return Exchange {
                    ping: Reading::Failed(TransportFailure::Http),
                    ..Exchange::default()
                };
            };
            let place = Place::of(&target, &trust);
            let known = match depth {
                Depth::Anew => Known::default(),
                Depth::Thorough | Depth::Routine => self.keep.begin(&place, std::time::Instant::now()),
            };
            let conversation = || Conversation {
                client: client.clone(),
                tenure: &self.tenure,
                target: &target,
                base: base.clone(),
                deadline,
                now: self.clock.now(),
                keeps: known.keeps,
                kept_only: false,
                retry_after: None,
                certificate: None,
            };
            let probe = async {
                if depth == Depth::Routine
                    && known.is_proven
                    && next_key.is_none()
                    && let Some(exchange) = conversation().go_on(&key).await
                {
                    return exchange;
                }
                let exchange = conversation().hold(&key, next_key).await;
                if depth != Depth::Anew {
                    self.keep.learn(&place, exchange.is_of_a_bridge());
                }
                exchange
            };
            if self.observers.is_empty() {
                return probe.await;
            }
            Course::begin(self.observers.as_slice().into()).run(probe).await
        }
        .boxed()
    }
}

// === impl Conversation ===

impl Conversation<'_> {
    /// Goes on with a bridge that was proven on a connection that was kept: asks what decides. `None` where there is no
    /// such connection any more, or where anything is not as it was but for the key: then everything is asked anew. A
    /// key that was refused just now is not sent again.
    async fn go_on(mut self, key: &ApiKey) -> Option<Exchange> {
        self.kept_only = true;
        let mut exchange = Exchange {
            health: self.health(key).await,
            ..Exchange::default()
        };
        if judge_key(&exchange.health) == KeyTrial::Undecided {
            return None;
        }
        self.pass(Layer::Health, &mut exchange);
        exchange.users = self.list("Users", key, false).await;
        if judge_key(&exchange.users) == KeyTrial::Undecided {
            return None;
        }
        self.pass(Layer::Users, &mut exchange);
        exchange.retry_after = self.retry_after;
        exchange.certificate = self.certificate;
        Some(exchange)
    }

    async fn hold(mut self, key: &ApiKey, next_key: Option<Result<ApiKey, Obstacle>>) -> Exchange {
        let mut exchange = Exchange {
            ping: self.ping().await,
            ..Exchange::default()
        };
        self.pass(Layer::Ping, &mut exchange);
        // The key goes to nobody who could not be reached, or who shows that it is no bridge.
        let is_stranger = !exchange.is_of_a_bridge();
        if !is_stranger {
            exchange.health = self.health(key).await;
            self.pass(Layer::Health, &mut exchange);
            if exchange.health != Reading::Failed(TransportFailure::TimedOut) {
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
            None => None,
            Some(Err(obstacle)) => Some(KeyTrial::Unusable(obstacle)),
            Some(Ok(_)) if is_stranger => Some(KeyTrial::Undecided),
            Some(Ok(next_key)) => {
                let trial = self.rehearse(&next_key).await;
                self.pass(Layer::NextKey, &mut exchange);
                Some(trial)
            }
        };
        exchange.retry_after = self.retry_after;
        exchange.certificate = self.certificate;
        exchange
    }

    /// Tells that a request is over.
    fn pass(&self, layer: Layer, exchange: &mut Exchange) {
        if exchange.certificate.is_none() {
            exchange.certificate.clone_from(&self.certificate);
        }
        pass(Stage::Asked(layer, exchange));
    }

    /// `GET /ping`: is it a bridge?
    async fn ping(&mut self) -> Reading<()> {
        let question = Question {
            path: "/ping",
            accept: "*/*",
            key: None,
            bound: PING_BOUND,
            last: false,
        };
        match self.ask(&question).await {
            Err(failure) => Reading::Failed(failure),
            Ok(heard) => Reading::Answered(
                heard.read(|body| body.trim_ascii().eq_ignore_ascii_case(b"pong").then_some(())),
            ),
        }
    }

    /// `GET /health`: what does the bridge say of itself, and of the key? A report counts whatever its status: nobody
    /// has written down which one an unhealthy bridge answers with.
    async fn health(&mut self, key: &ApiKey) -> Reading<HealthReport> {
        let question = Question {
            path: "/health",
            accept: "application/json",
            key: Some(key),
            bound: BODY_BOUND,
            last: false,
        };
        let now = self.now;
        match self.ask(&question).await {
            Err(failure) => Reading::Failed(failure),
            Ok(heard) => {
                let report = match &heard.body {
                    Body::Whole(body) if heard.status.is_server_error() => read_health(body, now),
                    Body::Whole(_) | Body::TooLarge | Body::Broken => None,
                };
                Reading::Answered(match report {
                    Some(report) => Answer::Document(report),
                    None => heard.read(|body| read_health(body, now)),
                })
            }
        }
    }

    /// `GET /scim/Users` or `/scim/Groups`: does SCIM answer, and how many are there? Never with a filter: some
    /// versions answer one with 400.
    async fn list(&mut self, resource: &str, key: &ApiKey, last: bool) -> Reading<u64> {
        let path = format!(
            "{}/{resource}?startIndex=1&count=1",
            self.target.origin.scim_path()
        );
        let question = Question {
            path: &path,
            accept: "application/scim+json, application/json;q=0.9",
            key: Some(key),
            bound: LIST_BOUND,
            last: last && !self.keeps,
        };
        match self.ask(&question).await {
            Err(failure) => Reading::Failed(failure),
            Ok(heard) => Reading::Answered(heard.read(read_list)),
        }
    }

    /// Tries a key where the current one has been tried: the health report, or SCIM where there is none.
    async fn rehearse(&mut self, key: &ApiKey) -> KeyTrial {
        match judge_key(&self.health(key).await) {
            KeyTrial::Undecided => judge_key(&self.list("Users", key, true).await),
            decided @ (KeyTrial::Accepted | KeyTrial::Refused | KeyTrial::Unusable(_)) => decided,
        }
    }

    async fn ask(&mut self, question: &Question<'_>) -> Result<Heard, TransportFailure> {
        let deadline = self.deadline;
        // A future that is ready is taken even after its deadline: a process that was frozen would ask on.
        if !self.tenure.holds() || deadline <= Instant::now() {
            return Err(TransportFailure::TimedOut);
        }
        timeout_at(deadline, self.send(question))
            .await
            .unwrap_or(Err(TransportFailure::TimedOut))
    }

    async fn send(&mut self, question: &Question<'_>) -> Result<Heard, TransportFailure> {
        let Question {
            path,
            accept,
            key,
            bound,
            last,
        } = *question;
        let origin = &self.target.origin;
        let (path, query) = path.split_once('?').unzip();
        let mut url = self.base.clone();
        url.set_path(path.unwrap_or(question.path));
        url.set_query(query);
        // The key was checked when it was read; a value that is none is not sent.
        let authorization = key.map(ApiKey::authorization).transpose();
        let authorization = authorization.map_err(|_| TransportFailure::Http)?;
        let request = || {
            let mut request = self.client.get(url.clone()).header(ACCEPT, accept);
            if self.target.server_name.is_some() {
                // The name is for TLS alone; the bridge is asked by its own.
                let authority = origin
                    .to_string()
                    .split_off(origin.scheme.as_str().len() + "://".len());
                request = request.header(HOST, authority);
            }
            if let Some(value) = &authorization {
                request = request.header(AUTHORIZATION, value);
            }
            if last {
                request = request.header(CONNECTION, HeaderValue::from_static("close"));
            }
            request.send()
        };
        let response = if self.kept_only {
            over_kept(request()).await
        } else {
            let is_of_the_address = |error: &reqwest::Error| {
                let failure = classify(error);
                matches!(failure, TransportFailure::Connect | TransportFailure::TimedOut)
            };
            race(self.deadline, request, is_of_the_address).await
        };
        let response = response.map_err(|error| classify(&error))?;
        self.note(&response)?;
        let status = response.status();
        let content_type = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let says_json = content_type.is_some_and(|value| value.to_ascii_lowercase().contains("json"));
        let body = body::read(response, bound).await?;
        let is_json = says_json || matches!(&body, Body::Whole(body) if looks_like_json(body));
        Ok(Heard {
            status,
            is_json,
            body,
        })
    }

    /// Keeps what the headers and the handshake tell.
    fn note(&mut self, response: &Response) -> Result<(), TransportFailure> {
        if let Some(header) = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
        {
            self.retry_after = self.retry_after.max(read_retry_after(header, self.now));
        }
        if self.target.origin.scheme == Scheme::Https && self.certificate.is_none() {
            let info = response.extensions().get::<TlsInfo>();
            self.certificate = info
                .and_then(TlsInfo::peer_certificate)
                .and_then(read_certificate);
            // A connection that was kept may outlive its certificate.
            if self
                .certificate
                .as_ref()
                .is_some_and(|certificate| certificate.not_after < self.now)
            {
                return Err(TransportFailure::CertificateExpired);
            }
        }
        Ok(())
    }
}

// === impl Heard ===

impl Heard {
    /// What the answer tells; `document` reads the body of a 200.
    fn read<T>(self, document: impl FnOnce(&[u8]) -> Option<T>) -> Answer<T> {
        let Self {
            status,
            is_json,
            body,
        } = self;
        match status.as_u16() {
            200 => match body {
                Body::TooLarge => Answer::TooLarge,
                Body::Broken => Answer::Broken,
                Body::Whole(body) => document(&body).map_or(Answer::Foreign, Answer::Document),
            },
            401 => Answer::Unauthorized,
            403 if is_json => Answer::Forbidden,
            403 => Answer::Blocked,
            404 => Answer::NotFound,
            429 => Answer::RateLimited,
            code @ 300..=399 => Answer::Redirect(code),
            code @ 502..=504 => Answer::Unavailable(code),
            code @ 500..=599 => Answer::ServerError(code),
            code => Answer::Unexpected(code),
        }
    }
}

/// The URL of a bridge, without a path; with the name that its certificate must be for in the place of the host.
fn base(target: &Target) -> Result<Url, url::ParseError> {
    let Origin {
        scheme,
        host,
        port,
        is_absolute: _,
    } = &target.origin;
    let scheme = scheme.as_str();
    match &target.server_name {
        None => Url::parse(&format!("{scheme}://{host}:{port}")),
        Some(name) => Url::parse(&format!("{scheme}://{name}:{port}")),
    }
}

fn judge_key<T>(reading: &Reading<T>) -> KeyTrial {
    match reading {
        Reading::Answered(Answer::Document(_)) => KeyTrial::Accepted,
        Reading::Answered(Answer::Unauthorized | Answer::Forbidden) => KeyTrial::Refused,
        Reading::NotSent | Reading::Failed(_) | Reading::Answered(_) => KeyTrial::Undecided,
    }
}
