//! Requests to one bridge, in order, over one connection, within one time.
//!
//! A probe, the lists of a directory and its changes send their requests here, so all obey the same rules.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use reqwest::{
    Client, Response, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
    tls::TlsInfo,
};
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use super::{
    answer::{BoundedResponse, read_retry_after},
    body::{self, Body},
    classify::classify,
    client::{ClientError, Clients, Gate},
    front,
    race::race,
    stages::{chain_of, connected_until, is_certificate_asked_for},
};
use crate::{
    api::vocabulary::Layer,
    bridge::{key::ApiKey, route::Route},
    domain::connection::{
        evidence::{Certificate, DnsFault, HttpFault, Phase, ProxyFault, TlsFault, TransportFailure},
        target::{Origin, Scheme},
    },
    leadership::Leadership,
};

/// A connection to one bridge, with what its responses have shown.
pub(crate) struct Session<'a> {
    client: Client,
    gate: Gate,
    leadership: &'a Leadership,
    pub(crate) route: &'a Route,
    /// The URL of the bridge, without a path.
    base: Url,
    deadline: Instant,
    /// When the session began.
    pub(crate) now: Timestamp,
    /// Whether requests go through the administrator's proxy.
    is_proxied: bool,
    /// Whether a response has come.
    is_answered: bool,
    /// The longest Retry-After so far.
    pub(crate) retry_after: Option<Duration>,
    /// The verified chain of the bridge.
    pub(crate) certificate: Option<Certificate>,
}

/// What a request does. There is no form that deletes or replaces a resource.
#[derive(Clone, Copy)]
pub(crate) enum Verb<'a> {
    /// Reads.
    Get,
    /// Creates a resource of this JSON document.
    Post(&'a str),
    /// Changes a resource by this JSON document.
    Patch(&'a str),
}

/// A request, without the URL of the bridge.
pub(crate) struct Request<'a> {
    pub(crate) verb: Verb<'a>,
    /// Path and query, encoded.
    pub(crate) path: &'a str,
    pub(crate) accept: &'static str,
    pub(crate) key: Option<&'a ApiKey>,
    /// Largest body, in bytes.
    pub(crate) bound: usize,
    /// Asked before the body takes so many bytes of memory. Without them it is too large.
    pub(crate) holds: &'a (dyn Fn(usize) -> bool + Sync),
    /// Whether this is the last request on the connection.
    pub(crate) last: bool,
}

// === impl Session ===

impl<'a> Session<'a> {
    /// Begins a session. It connects with the first request.
    ///
    /// # Errors
    /// The policy denies the host, or our own TLS cannot be set up.
    pub(crate) fn begin(
        clients: &Clients,
        leadership: &'a Leadership,
        route: &'a Route,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Self, TransportFailure> {
        let (client, gate) = match clients.client(route) {
            Ok(built) => built,
            Err(ClientError::Denied(denial)) => return Err(TransportFailure::AddressDenied(denial)),
            Err(error @ (ClientError::Tls(_) | ClientError::Http(_))) => {
                // The bundle was read before, so the fault is in our own configuration, not in the bridge's TLS.
                tracing::error!(error = &error as &dyn std::error::Error, "no HTTP client");
                return Err(TransportFailure::Tls(TlsFault::Other));
            }
        };
        // This cannot fail: every origin comes from a URL.
        let base = base(route).map_err(|_| TransportFailure::Http(HttpFault::Other))?;
        Ok(Self {
            client,
            gate,
            leadership,
            route,
            base,
            deadline,
            now,
            is_proxied: clients.is_proxied(&route.origin),
            is_answered: false,
            retry_after: None,
            certificate: None,
        })
    }

    /// Whether a byte of a request may have left. Until then, nobody has heard of one.
    pub(crate) fn may_have_sent(&self) -> bool {
        self.gate.has_passed()
    }

    /// Sends one request, unless the time is up or the leadership has ended. One that changes something leaves once at
    /// most, in any trouble of the connection.
    ///
    /// # Errors
    /// Why no response came.
    pub(crate) async fn ask(&mut self, request: &Request<'_>) -> Result<BoundedResponse, TransportFailure> {
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
            verb,
            path,
            accept,
            key,
            bound,
            holds,
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
        if !matches!(verb, Verb::Get) {
            self.gate.limit_to_one();
        }
        let request = || {
            let (url, json) = (url.clone(), HeaderValue::from_static("application/scim+json"));
            let request = match verb {
                Verb::Get => self.client.get(url),
                Verb::Post(body) => self
                    .client
                    .post(url)
                    .header(CONTENT_TYPE, json)
                    .body(body.to_owned()),
                Verb::Patch(body) => self
                    .client
                    .patch(url)
                    .header(CONTENT_TYPE, json)
                    .body(body.to_owned()),
            };
            let mut request = request.header(ACCEPT, accept).header(
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
        let is_first = !self.is_answered;
        let mut response = race(self.deadline, request, is_of_the_address)
            .await
            .map_err(|error| refused_without_certificate(classify(&error, by_plain_proxy), is_first))
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
        let body = body::read(response, &headers, bound, holds)
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
        self.is_answered = true;
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

/// Replaces the failure if the server may have ended the request because no client certificate came.
///
/// Servers do not agree how to say that. Alerts differ, and some servers close or reset the connection. In TLS 1.3 the
/// client has already sent its request by then. Only the first request can fail like this.
fn refused_without_certificate(failure: TransportFailure, is_first: bool) -> TransportFailure {
    let may_be = matches!(failure, TransportFailure::Connect | TransportFailure::Tls(_));
    if may_be && is_first && is_certificate_asked_for() {
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
