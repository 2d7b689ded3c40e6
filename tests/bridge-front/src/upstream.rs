//! The SCIM server behind the front: one plain HTTP/1.1 exchange per request.
//!
//! Guarantees: the Authorization header goes through untouched, for the upstream is who authenticates;
//! headers that belong to one connection stay on it; an exchange ends in time, and its connection ends with
//! it.

use std::{str::FromStr, time::Duration};

use axum::{
    body::{self, Body, Bytes},
    http::{
        HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, Version,
        header::{self, InvalidHeaderValue},
        uri::InvalidUri,
    },
    response::Response,
};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet, time};

use crate::answer::text;

/// For the whole of an exchange with a server on the same machine.
const LIMIT: Duration = Duration::from_secs(30);
const BODY_LIMIT: usize = 64 * 1024 * 1024;
/// Of one connection only (RFC 9110, section 7.6.1), or made anew by whoever sends.
const OF_A_CONNECTION: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    HeaderName::from_static("keep-alive"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The base of a SCIM server, such as `http://127.0.0.1:8880/scim`: `/Users` is right below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    authority: String,
    address: (String, u16),
    base: String,
}

/// Why a text is no upstream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUpstream {
    /// It is not a URL.
    #[error(transparent)]
    Url(#[from] InvalidUri),
    /// It is a URL of another kind.
    #[error("an upstream is `http://HOST[:PORT][/PATH]`, without a user, a query or https")]
    Form,
}

impl FromStr for Upstream {
    type Err = InvalidUpstream;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri = Uri::from_str(text)?;
        let authority = uri
            .authority()
            .filter(|authority| !authority.as_str().contains('@'));
        let (Some("http"), Some(authority), None) = (uri.scheme_str(), authority, uri.query()) else {
            return Err(InvalidUpstream::Form);
        };
        // The brackets of an IPv6 address belong to the URL, not to the address.
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        Ok(Self {
            authority: authority.as_str().to_owned(),
            address: (host.to_owned(), authority.port_u16().unwrap_or(80)),
            base: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error(transparent)]
    Connect(#[from] std::io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    Body(#[from] axum::Error),
    #[error(transparent)]
    Target(#[from] InvalidUri),
    #[error(transparent)]
    Host(#[from] InvalidHeaderValue),
}

impl Upstream {
    /// Has a request answered by the upstream; `resource` is its path below the SCIM base.
    pub(crate) async fn forward(&self, request: Request<Bytes>, resource: &str) -> Response {
        match time::timeout(LIMIT, self.exchange(request, resource)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => text(
                StatusCode::BAD_GATEWAY,
                format!("bridge-front: the upstream fails: {error}\n"),
            ),
            Err(_) => text(
                StatusCode::GATEWAY_TIMEOUT,
                "bridge-front: the upstream does not answer\n",
            ),
        }
    }

    async fn exchange(&self, request: Request<Bytes>, resource: &str) -> Result<Response, ExchangeError> {
        let (host, port) = &self.address;
        let socket = TcpStream::connect((host.as_str(), *port)).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        // Dropped at the end of this function, and the connection with it.
        let mut connections = JoinSet::new();
        connections.spawn(connection);

        let (mut parts, body) = request.into_parts();
        let query = parts
            .uri
            .query()
            .map_or_else(String::new, |query| format!("?{query}"));
        parts.uri = Uri::try_from(format!("{}{resource}{query}", self.base))?;
        keep_end_to_end(&mut parts.headers);
        parts.version = Version::HTTP_11;
        parts
            .headers
            .insert(header::HOST, HeaderValue::from_str(&self.authority)?);

        let answer = sender
            .send_request(Request::from_parts(parts, Body::from(body)))
            .await?;
        let (mut parts, body) = answer.into_parts();
        keep_end_to_end(&mut parts.headers);
        // What the client sees is a bridge, whatever answers it.
        parts.headers.remove(header::SERVER);
        parts.version = Version::HTTP_11;
        let body = body::to_bytes(Body::new(body), BODY_LIMIT).await?;
        Ok(Response::from_parts(parts, body.into()))
    }
}

fn keep_end_to_end(headers: &mut HeaderMap) {
    for name in &OF_A_CONNECTION {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::Upstream;

    #[test]
    fn an_upstream_is_a_plain_http_base() {
        let upstream: Upstream = "http://[::1]:8880/scim/".parse().unwrap();
        assert_eq!(upstream.address, ("::1".to_owned(), 8880));
        assert_eq!(
            (upstream.authority.as_str(), upstream.base.as_str()),
            ("[::1]:8880", "/scim")
        );
        assert_eq!("http://scim".parse::<Upstream>().unwrap().address.1, 80);
        for wrong in [
            "https://scim/",
            "scim:80",
            "http://user@scim/",
            "http://scim/?a=b",
            "/scim",
            "",
        ] {
            assert!(wrong.parse::<Upstream>().is_err(), "{wrong}");
        }
    }
}
