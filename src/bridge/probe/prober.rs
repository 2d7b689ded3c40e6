//! Runs a probe: a few small requests, in order, over one connection, within one budget.

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
    documents::{looks_like_json, read_health, read_list, read_retry_after},
    front,
};
use crate::{
    api::vocabulary::Layer,
    bridge::{
        ProbeRequest, Prober,
        key::{ApiKey, untried},
        route::Route,
        wire::{
            address::AddressPolicy,
            body::{self, Body},
            classify::classify,
            client::{ClientError, Clients},
            proxy::BridgeProxy,
            race::race,
            resolver::Names,
            stages::{Course, Observer, Stage, chain_of, connected_until, is_certificate_asked_for, pass},
        },
    },
    clock::Clock,
    domain::connection::{
        evidence::{
            Answer, Blocker, Certificate, DnsFault, Exchange, HealthReport, HttpFault, KeyTrial, Phase,
            ProxyFault, Reading, TlsFault, TransportFailure,
        },
        target::{Origin, Scheme},
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

/// The state of one probe.
struct Session<'a> {
    client: Client,
    leadership: &'a Leadership,
    route: &'a Route,
    /// The URL of the bridge, without a path.
    base: Url,
    deadline: Instant,
    now: Timestamp,
    /// Whether requests go through the administrator's proxy.
    is_proxied: bool,
    retry_after: Option<Duration>,
    certificate: Option<Certificate>,
}

/// A request, without the URL of the bridge.
struct Request<'a> {
    path: &'a str,
    accept: &'static str,
    key: Option<&'a ApiKey>,
    bound: usize,
    /// Whether this is the last request on the connection.
    last: bool,
}

/// A response. Its body is read up to the bound.
struct BoundedResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
}

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
                    // The bundle was read before, so the fault is in our own configuration, not in the bridge's TLS.
                    tracing::error!(error = &error as &dyn std::error::Error, "no HTTP client");
                    return Exchange {
                        ping: Reading::Failed(TransportFailure::Tls(TlsFault::Other)),
                        ..Exchange::default()
                    };
                }
            };
            let Ok(base) = base(&route) else {
                // This cannot happen: every origin comes from a URL.
                return Exchange {
                    ping: Reading::Failed(TransportFailure::Http(HttpFault::Other)),
                    ..Exchange::default()
                };
            };
            let session = Session {
                client,
                leadership: &self.leadership,
                route: &route,
                base,
                deadline,
                now: self.clock.now(),
                is_proxied: self.clients.is_proxied(&route.origin),
                retry_after: None,
                certificate: None,
            };
            let probe = session.full_probe(&key, next_key);
            Course::begin(self.observers.as_slice().into()).run(probe).await
        }
        .boxed()
    }
}

// === impl Session ===

impl Session<'_> {
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
        exchange.retry_after = self.retry_after;
        exchange.certificate = self.certificate;
        exchange
    }

    /// Reports that a request has ended.
    fn pass(&self, layer: Layer, exchange: &mut Exchange) {
        if exchange.certificate.is_none() {
            exchange.certificate.clone_from(&self.certificate);
        }
        pass(Stage::Asked(layer, exchange));
    }

    /// `GET /ping`: is the peer a bridge?
    async fn ping(&mut self) -> Reading<()> {
        let request = Request {
            path: "/ping",
            accept: "*/*",
            key: None,
            bound: PING_BOUND,
            last: false,
        };
        match self.ask(&request).await {
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
            path: "/health",
            accept: "application/json",
            key: Some(key),
            bound: BODY_BOUND,
            last: false,
        };
        let now = self.now;
        match self.ask(&request).await {
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
            self.route.origin.scim_path()
        );
        let request = Request {
            path: &path,
            accept: "application/scim+json, application/json;q=0.9",
            key: Some(key),
            bound: LIST_BOUND,
            last,
        };
        match self.ask(&request).await {
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

    async fn ask(&mut self, request: &Request<'_>) -> Result<BoundedResponse, TransportFailure> {
        let deadline = self.deadline;
        // `timeout_at` also returns a future that is ready after its deadline. Without this check, a process that was
        // frozen would send its next request.
        if !self.leadership.holds() || deadline <= Instant::now() {
            return Err(TransportFailure::TimedOut(Phase::Answer));
        }
        timeout_at(deadline, self.send(request))
            .await
            .unwrap_or_else(|_| Err(self.out_of_time()))
    }

    /// Where the time ran out. The first request may wait for the connection. A later one waits for its response.
    fn out_of_time(&self) -> TransportFailure {
        let host = &self.route.origin.host;
        match connected_until() {
            None | Some(Layer::Name) if self.is_proxied => TransportFailure::Proxy(ProxyFault::TimedOut),
            None if matches!(host, Host::Domain(_)) => TransportFailure::Dns(DnsFault::TimedOut),
            None | Some(Layer::Name) => TransportFailure::TimedOut(Phase::Connection),
            Some(Layer::Address) if self.route.origin.scheme == Scheme::Https => {
                TransportFailure::TimedOut(Phase::Handshake)
            }
            Some(_) => TransportFailure::TimedOut(Phase::Answer),
        }
    }

    async fn send(&mut self, request: &Request<'_>) -> Result<BoundedResponse, TransportFailure> {
        let Request {
            path,
            accept,
            key,
            bound,
            last,
        } = *request;
        let origin = &self.route.origin;
        let (path, query) = path.split_once('?').unzip();
        let mut url = self.base.clone();
        url.set_path(path.unwrap_or(request.path));
        url.set_query(query);
        // The key was checked when it was read. An invalid header value is not sent.
        let authorization = key.map(ApiKey::authorization).transpose();
        let authorization = authorization.map_err(|_| TransportFailure::Http(HttpFault::Other))?;
        let request = || {
            let mut request = self.client.get(url.clone()).header(ACCEPT, accept).header(
                // Without this header a server may compress the body (RFC 9110, section 12.5.3).
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
        // nginx answers 400 if the client certificate is missing. A bridge does not answer `/ping` like this.
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
        Ok(BoundedResponse {
            status,
            headers,
            body,
        })
    }

    /// Keeps the Retry-After header and the verified chain.
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

// === impl BoundedResponse ===

impl BoundedResponse {
    /// Interprets the response. `document` reads the body of a 200.
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

    /// Whether the body has a content coding. A front may remove the header, so the first bytes of gzip also show it
    /// (RFC 1952, section 2.3.1).
    fn is_encoded(&self, body: &[u8]) -> bool {
        let coding = self.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
        coding.is_some_and(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
            || body.starts_with(&[0x1f, 0x8b])
    }
}

/// Replaces the failure if the server may have ended the request because no client certificate came.
///
/// Servers do not agree how to say that. Alerts differ, and some servers close or reset the connection. In TLS 1.3 the
/// client has already sent its request by then. Only the first request can fail like this, and it has no key.
fn refused_without_certificate(failure: TransportFailure, key: Option<&ApiKey>) -> TransportFailure {
    let may_be = matches!(failure, TransportFailure::Connect | TransportFailure::Tls(_));
    if may_be && key.is_none() && is_certificate_asked_for() {
        TransportFailure::Tls(TlsFault::ClientCertificate)
    } else {
        failure
    }
}

/// The URL of a bridge, without a path. A server name replaces the host, in the request too: a front expects the same
/// name in the handshake and in `Host` (RFC 9110, section 7.4).
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
