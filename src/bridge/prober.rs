//! The probe itself: up to four small requests, in order, over one connection, within one budget.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use k8s_openapi::jiff::Timestamp;
use reqwest::{
    Client, Response, StatusCode,
    header::{
        ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap,
        HeaderValue, RETRY_AFTER,
    },
    tls::TlsInfo,
};
use rustls::RootCertStore;
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use super::{
    ProbeOrder, Prober,
    address::AddressPolicy,
    body::{self, Body},
    classify::classify,
    client::{ClientError, Clients},
    documents::{looks_like_json, read_health, read_list, read_retry_after},
    front,
    key::{ApiKey, untried},
    proxy::BridgeProxy,
    race::race,
    resolver::Names,
    route::Route,
    stages::{Course, Layer, Observer, Stage, chain_of, connected_until, is_certificate_asked_for, pass},
};
use crate::{
    clock::Clock,
    domain::{
        evidence::{
            Answer, Certificate, DnsFault, Exchange, HealthReport, HttpFault, KeyTrial, Obstacle, Phase,
            ProxyFault, Reading, TlsFault, TransportFailure,
        },
        target::{Origin, Scheme},
        verdict::refusal_of_a_front,
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
    clock: Arc<dyn Clock>,
    tenure: Tenure,
    observers: Vec<Arc<dyn Observer>>,
}

/// One request's place in a probe.
struct Conversation<'a> {
    client: Client,
    tenure: &'a Tenure,
    route: &'a Route,
    /// What is asked, but for the path.
    base: Url,
    deadline: Instant,
    now: Timestamp,
    /// Whether requests go by way of the administrator's proxy.
    is_proxied: bool,
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
    headers: HeaderMap,
    body: Body,
}

// === impl HttpProber ===

impl HttpProber {
    /// A prober that connects where `policy` allows and trusts `system_roots` unless a target says otherwise.
    #[must_use]
    pub fn new(policy: Arc<AddressPolicy>, system_roots: Arc<RootCertStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            clients: Clients::new(policy, system_roots),
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
                route,
                key,
                next_key,
                budget,
                requested: _,
            } = order;
            let deadline = Instant::now() + budget;
            let client = match self.clients.client(&route) {
                Ok(client) => client,
                Err(ClientError::Denied(denial)) => {
                    return Exchange {
                        ping: Reading::Failed(TransportFailure::AddressDenied(denial)),
                        ..Exchange::default()
                    };
                }
                Err(error @ (ClientError::Tls(_) | ClientError::Http(_))) => {
                    // The bundle was read before; what is left is our own set-up. The bridge was not reached by TLS.
                    tracing::error!(error = &error as &dyn std::error::Error, "no HTTP client");
                    return Exchange {
                        ping: Reading::Failed(TransportFailure::Tls(TlsFault::Other)),
                        ..Exchange::default()
                    };
                }
            };
            let Ok(base) = base(&route) else {
                // Origins are parsed from URLs.
                return Exchange {
                    ping: Reading::Failed(TransportFailure::Http(HttpFault::Other)),
                    ..Exchange::default()
                };
            };
            let conversation = Conversation {
                client,
                tenure: &self.tenure,
                route: &route,
                base,
                deadline,
                now: self.clock.now(),
                is_proxied: self.clients.is_proxied(&route.origin),
                retry_after: None,
                certificate: None,
            };
            let probe = conversation.hold(&key, next_key);
            Course::begin(self.observers.as_slice().into()).run(probe).await
        }
        .boxed()
    }
}

// === impl Conversation ===

impl Conversation<'_> {
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
                    Body::Whole(_) | Body::Unconfirmed(_) | Body::TooLarge | Body::Broken => None,
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
            self.route.origin.scim_path()
        );
        let question = Question {
            path: &path,
            accept: "application/scim+json, application/json;q=0.9",
            key: Some(key),
            bound: LIST_BOUND,
            last,
        };
        match self.ask(&question).await {
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

    async fn ask(&mut self, question: &Question<'_>) -> Result<Heard, TransportFailure> {
        let deadline = self.deadline;
        // A future that is ready is taken even after its deadline: a process that was frozen would ask on.
        if !self.tenure.holds() || deadline <= Instant::now() {
            return Err(TransportFailure::TimedOut(Phase::Answer));
        }
        timeout_at(deadline, self.send(question))
            .await
            .unwrap_or_else(|_| Err(self.out_of_time()))
    }

    /// Where the time ran out. Of the first request this is a layer of the connection; a later one waits for its answer.
    fn out_of_time(&self) -> TransportFailure {
        let host = &self.route.origin.host;
        match connected_until() {
            None | Some(Layer::Name) if self.is_proxied => TransportFailure::Proxy(ProxyFault::TimedOut),
            None if matches!(host, Host::Domain(_)) => TransportFailure::Dns(DnsFault::TimedOut),
            None | Some(Layer::Name) => TransportFailure::TimedOut(Phase::Connection),
            Some(Layer::Address) if self.route.origin.scheme == Scheme::Https => {
                TransportFailure::TimedOut(Phase::Handshake)
            }
            Some(
                Layer::Address
                | Layer::Tls
                | Layer::Ping
                | Layer::Health
                | Layer::Users
                | Layer::Groups
                | Layer::NextKey,
            ) => TransportFailure::TimedOut(Phase::Answer),
        }
    }

    async fn send(&mut self, question: &Question<'_>) -> Result<Heard, TransportFailure> {
        let Question {
            path,
            accept,
            key,
            bound,
            last,
        } = *question;
        let origin = &self.route.origin;
        let (path, query) = path.split_once('?').unzip();
        let mut url = self.base.clone();
        url.set_path(path.unwrap_or(question.path));
        url.set_query(query);
        // The key was checked when it was read; a value that is none is not sent.
        let authorization = key.map(ApiKey::authorization).transpose();
        let authorization = authorization.map_err(|_| TransportFailure::Http(HttpFault::Other))?;
        let request = || {
            let mut request = self.client.get(url.clone()).header(ACCEPT, accept).header(
                // Without this header a server may compress (RFC 9110, section 12.5.3).
                ACCEPT_ENCODING,
                HeaderValue::from_static("identity"),
            );
            if let Some(value) = &authorization {
                request = request.header(AUTHORIZATION, value);
            }
            if last {
                request = request.header(CONNECTION, HeaderValue::from_static("close"));
            }
            request.send()
        };
        let by_plain_proxy = self.is_proxied && origin.scheme == Scheme::Http;
        let is_of_the_address = |error: &reqwest::Error| {
            let failure = classify(error, by_plain_proxy);
            matches!(
                failure,
                TransportFailure::Connect | TransportFailure::TimedOut(Phase::Connection)
            )
        };
        let mut response = race(self.deadline, request, is_of_the_address)
            .await
            .map_err(|error| refused_without_certificate(classify(&error, by_plain_proxy), key))
            .map_err(|failure| {
                if failure == TransportFailure::Http(HttpFault::Other) && origin.scheme == Scheme::Http {
                    TransportFailure::Http(HttpFault::InClear)
                } else {
                    failure
                }
            })?;
        self.note(&response);
        let status = response.status();
        // nginx has no other status for it; a bridge that answers `/ping` at all answers otherwise.
        if status == StatusCode::BAD_REQUEST && key.is_none() && is_certificate_asked_for() {
            return Err(TransportFailure::Tls(TlsFault::ClientCertificate));
        }
        if by_plain_proxy && status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Err(TransportFailure::Proxy(ProxyFault::Login));
        }
        let headers = std::mem::take(response.headers_mut());
        if by_plain_proxy && matches!(status.as_u16(), 400..=599) && front::is_of_a_forward_proxy(&headers) {
            return Err(TransportFailure::Proxy(ProxyFault::Answered(status.as_u16())));
        }
        let body = body::read(response, &headers, bound)
            .await
            .map_err(|body::TimedOut| TransportFailure::TimedOut(Phase::Answer))?;
        if origin.scheme == Scheme::Http
            && status == StatusCode::BAD_REQUEST
            && let Body::Whole(body) | Body::Unconfirmed(body) = &body
            && front::asks_for_tls(body)
        {
            return Err(TransportFailure::Http(HttpFault::TlsPort));
        }
        Ok(Heard {
            status,
            headers,
            body,
        })
    }

    /// Keeps what the headers and the handshake tell.
    fn note(&mut self, response: &Response) {
        if let Some(header) = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
        {
            self.retry_after = self.retry_after.max(read_retry_after(header, self.now));
        }
        if self.route.origin.scheme == Scheme::Https && self.certificate.is_none() {
            let info = response.extensions().get::<TlsInfo>();
            self.certificate = chain_of(info.and_then(TlsInfo::peer_certificate));
        }
    }
}

// === impl Heard ===

impl Heard {
    /// What the answer means; `document` reads the body of a 200.
    fn read<T>(self, document: impl FnOnce(&[u8]) -> Option<T>) -> Answer<T> {
        let code = self.status.as_u16();
        let bytes: &[u8] = match &self.body {
            Body::Whole(bytes) | Body::Unconfirmed(bytes) => bytes,
            Body::TooLarge | Body::Broken => &[],
        };
        if front::refuses(code, &self.headers, bytes) {
            return Answer::Blocked(code);
        }
        match code {
            200 => match document(bytes) {
                Some(document) => Answer::Document(document),
                None if self.is_encoded(bytes) => Answer::Encoded,
                None => match self.body {
                    Body::Whole(_) if front::is_for_browsers(&self.headers, bytes) => Answer::Page,
                    Body::Whole(_) => Answer::Foreign,
                    Body::TooLarge => Answer::TooLarge,
                    Body::Broken | Body::Unconfirmed(_) => Answer::Broken,
                },
            },
            401 => Answer::Unauthorized,
            403 if self.is_json(bytes) => Answer::Forbidden,
            403 => Answer::Blocked(code),
            404 => Answer::NotFound,
            429 => Answer::RateLimited,
            300..=303 | 307 | 308 => Answer::Redirect(code),
            502..=504 => Answer::Unavailable(code),
            _ if front::is_to_be_repeated(code) || front::is_unregistered_error(code) => {
                Answer::Unavailable(code)
            }
            500..=599 => Answer::ServerError(code),
            _ => Answer::Unexpected(code),
        }
    }

    fn is_json(&self, body: &[u8]) -> bool {
        let content_type = self
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        content_type.is_some_and(|value| value.to_ascii_lowercase().contains("json")) || looks_like_json(body)
    }

    /// Whether the body has a content coding, by its header or, where a front took that off, by gzip's own mark
    /// (RFC 1952, section 2.3.1).
    fn is_encoded(&self, body: &[u8]) -> bool {
        let coding = self.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
        coding.is_some_and(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
            || body.starts_with(&[0x1f, 0x8b])
    }
}

/// The failure of a request, where the server may have ended it for want of a client's certificate. It has no common word
/// for that: alerts differ, some servers close or reset the connection, and in TLS 1.3 the client has sent its request by
/// then. It can only be the first request, which is the one without a key.
fn refused_without_certificate(failure: TransportFailure, key: Option<&ApiKey>) -> TransportFailure {
    let may_be = matches!(failure, TransportFailure::Connect | TransportFailure::Tls(_));
    if may_be && key.is_none() && is_certificate_asked_for() {
        TransportFailure::Tls(TlsFault::ClientCertificate)
    } else {
        failure
    }
}

/// The URL of a bridge, without a path. The name that its certificate must be for stands in the place of the host, also in
/// the request: a front asks for one name in the handshake and in `Host` (RFC 9110, section 7.4).
fn base(route: &Route) -> Result<Url, url::ParseError> {
    let Origin {
        scheme,
        host,
        port,
        is_absolute: _,
    } = &route.origin;
    let scheme = scheme.as_str();
    match &route.server_name {
        None => Url::parse(&format!("{scheme}://{host}:{port}")),
        Some(name) => Url::parse(&format!("{scheme}://{name}:{port}")),
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
