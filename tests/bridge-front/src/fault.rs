//! What goes wrong on demand, between a client and a bridge.
//!
//! A fault either takes the place of the answer, so that the request never reaches the bridge (it is not
//! unlocked by it, and an upstream sees nothing), or it spoils the way back of the genuine answer. The second
//! kind keeps the genuine status, headers and JSON, so that a client that looks at too little of what it got
//! believes it.

use std::{convert::Infallible, fmt, io, num::NonZeroU32, time::Duration};

use axum::{
    body::{self, Body, Bytes},
    http::{HeaderName, HeaderValue, StatusCode, header, response},
    response::Response,
};
use futures::stream::{self, Stream, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{task, time};

use crate::answer::{answer, html, redirect, scim_error, text, unauthorized};

const LIST: &str = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":1,"#;
static FILLER: [u8; 16 * 1024] = [b' '; 16 * 1024];
const FILLER_LENGTH: u64 = 16 * 1024;
/// A genuine answer is held in memory to be spoiled.
const GENUINE_LIMIT: usize = 64 * 1024 * 1024;

/// What goes wrong with a request.
///
/// In JSON: `{"kind": "status", "status": 503, "retryAfter": "30"}`, `{"kind": "drip", "intervalMs": 50}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
#[non_exhaustive]
pub enum Fault {
    /// This status; one that HTTP does not have, or that is not final, becomes 500.
    Status {
        /// The status.
        status: u16,
        /// What comes with it.
        #[serde(default)]
        body: Content,
        /// The value of Retry-After.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<String>,
    },
    /// 200 with an HTML page.
    Html,
    /// 302.
    Redirect {
        /// Where to.
        location: String,
    },
    /// 401 with a SCIM error.
    Unauthorized,
    /// 403 with an HTML page, as of a web application firewall.
    ForbiddenHtml,
    /// 403 with a SCIM error, as of the bridge.
    ForbiddenJson,
    /// 200 with half a JSON document. HTTP is content with it.
    BrokenJson,
    /// 200 with JSON that is no SCIM list.
    NotAList,
    /// 200 with a SCIM list in which a name is not UTF-8.
    InvalidUtf8,
    /// 200 with a SCIM list that nests so many arrays.
    DeepJson {
        /// How many.
        depth: usize,
    },
    /// 200 with bytes that claim to be gzip.
    FalseGzip,
    /// The genuine answer followed by blanks, which JSON permits, in chunks.
    Oversized {
        /// How many bytes in all; without it, on and on until the peer goes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
    },
    /// The genuine answer under a Content-Length that promises more; the rest never comes, nor does an end.
    DeclaredLength {
        /// The Content-Length.
        bytes: u64,
    },
    /// The first half of the genuine answer under the Content-Length of the whole; then the connection is
    /// closed.
    Truncated,
    /// The genuine answer, byte by byte.
    Drip {
        /// Milliseconds before each byte.
        interval_ms: u64,
    },
    /// The genuine answer with so many headers more.
    ManyHeaders {
        /// How many; HTTP libraries hold some thirty thousand.
        count: u16,
    },
    /// The genuine answer, later.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// The request is taken and never answered.
    Silent,
    /// The connection is closed without an answer.
    Close,
    /// The connection is reset without an answer.
    Reset,
    /// The bridge does what was asked. Then this fault takes the place of its answer.
    ///
    /// A client that sees a failure here must not assume that nothing was written.
    Done {
        /// What goes wrong afterwards.
        then: Box<Self>,
    },
    /// This fault, for so many requests. Then it removes itself.
    Times {
        /// How many requests are left.
        left: NonZeroU32,
        /// What goes wrong with each of them.
        fault: Box<Self>,
    },
}

/// What comes with a status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// A SCIM error, as of the bridge.
    #[default]
    Json,
    /// A page, as of something in front of it.
    Html,
    /// Nothing.
    Empty,
}

/// What goes wrong with a connection, before there is a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ConnectionFault {
    /// It is accepted, and nothing more; no TLS handshake either.
    Silent,
    /// It is closed at once.
    Close,
    /// It is reset at once.
    Reset,
    /// Plain HTTP is spoken where TLS is expected.
    Plaintext,
}

/// The end of a connection that owes an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hangup {
    Close,
    Reset,
}

impl fmt::Display for Hangup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Close => "closed without an answer",
            Self::Reset => "reset without an answer",
        })
    }
}

impl std::error::Error for Hangup {}

impl Fault {
    /// This status, with this body.
    #[must_use]
    pub const fn status(status: u16, body: Content) -> Self {
        Self::Status {
            status,
            body,
            retry_after: None,
        }
    }

    /// The same, and the wish not to be asked again soon: no retry comes between what a test asks for.
    #[must_use]
    pub fn lasting(status: u16, body: Content) -> Self {
        Self::Status {
            status,
            body,
            retry_after: Some("3000".to_owned()),
        }
    }

    /// This fault, after the bridge has done what was asked.
    #[must_use]
    pub fn after_the_write(self) -> Self {
        Self::Done { then: Box::new(self) }
    }

    /// This fault, for the next so many requests.
    #[must_use]
    pub fn times(self, left: NonZeroU32) -> Self {
        Self::Times {
            left,
            fault: Box::new(self),
        }
    }

    /// This fault, for the next request.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(NonZeroU32::MIN)
    }

    /// The fault below its wrappers, and whether the bridge does what was asked first.
    pub(crate) fn unwrapped(&self) -> (&Self, bool) {
        let (mut fault, mut done) = (self, false);
        loop {
            if let Self::Times { fault: inner, .. } = fault {
                fault = inner;
            } else if let Self::Done { then } = fault {
                (fault, done) = (then, true);
            } else {
                return (fault, done);
            }
        }
    }

    /// The answer under this fault, which has no wrappers. `genuine` is what a bridge would answer, and happens only if it is
    /// awaited.
    pub(crate) async fn apply(
        &self,
        json_type: &'static str,
        genuine: impl Future<Output = Response> + Send,
    ) -> Result<Response, Hangup> {
        let json = |body: Vec<u8>| answer(StatusCode::OK, json_type, body);
        Ok(match self {
            Self::Status {
                status,
                body,
                retry_after,
            } => status_answer(*status, *body, retry_after.as_deref()),
            Self::Html => html(StatusCode::OK),
            Self::Redirect { location } => match HeaderValue::from_str(location) {
                Ok(location) => redirect(StatusCode::FOUND, location),
                Err(_) => misfit(),
            },
            Self::Unauthorized => unauthorized(),
            Self::ForbiddenHtml => html(StatusCode::FORBIDDEN),
            Self::ForbiddenJson => scim_error(StatusCode::FORBIDDEN, "a firewall rule denies this address"),
            Self::BrokenJson => json(LIST.into()),
            Self::NotAList => json(json!({"status": "ok"}).to_string().into()),
            Self::InvalidUtf8 => json(
                [
                    LIST.as_bytes(),
                    br#""Resources":[{"displayName":""#,
                    b"\xff\xc0\x80",
                    br#""}]}"#,
                ]
                .concat(),
            ),
            Self::DeepJson { depth } => json(
                [
                    LIST,
                    r#""Resources":["#,
                    &"[".repeat(*depth),
                    &"]".repeat(*depth),
                    "]}",
                ]
                .concat()
                .into(),
            ),
            Self::FalseGzip => {
                let mut response = json([&b"\x1f\x8b\x08\x00"[..], &[0xAA; 60]].concat());
                response
                    .headers_mut()
                    .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                response
            }
            Self::Oversized { bytes } => {
                let (parts, body) = taken_apart(genuine.await).await?;
                Response::from_parts(parts, oversized(body, *bytes))
            }
            Self::DeclaredLength { bytes } => {
                let (parts, body) = taken_apart(genuine.await).await?;
                promising(parts, *bytes, once(body).chain(stream::pending()))
            }
            Self::Truncated => {
                let (parts, body) = taken_apart(genuine.await).await?;
                let promised = u64::try_from(body.len().max(1)).unwrap_or(u64::MAX);
                promising(parts, promised, once(body.slice(..body.len() / 2)).chain(cut()))
            }
            Self::Drip { interval_ms } => {
                let (parts, body) = taken_apart(genuine.await).await?;
                let promised = u64::try_from(body.len()).unwrap_or(u64::MAX);
                promising(parts, promised, drip(body, Duration::from_millis(*interval_ms)))
            }
            Self::ManyHeaders { count } => {
                let mut response = genuine.await;
                for number in 0..*count {
                    let name = HeaderName::from_bytes(format!("x-filler-{number}").as_bytes());
                    let Ok(name) = name else { return Ok(misfit()) };
                    if response
                        .headers_mut()
                        .try_append(name, HeaderValue::from_static("filler"))
                        .is_err()
                    {
                        return Ok(misfit());
                    }
                }
                response
            }
            Self::Delay { ms } => {
                time::sleep(Duration::from_millis(*ms)).await;
                genuine.await
            }
            Self::Silent => match std::future::pending::<Infallible>().await {},
            // Wrappers are taken off before.
            Self::Done { .. } | Self::Times { .. } => genuine.await,
            Self::Close => return Err(Hangup::Close),
            Self::Reset => return Err(Hangup::Reset),
        })
    }
}

fn status_answer(status: u16, body: Content, retry_after: Option<&str>) -> Response {
    let status = StatusCode::from_u16(status)
        .ok()
        .filter(|status| !status.is_informational());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match body {
        Content::Json => scim_error(status, "a fault on demand"),
        Content::Html => html(status),
        Content::Empty => text(status, ""),
    };
    if let Some(retry_after) = retry_after {
        let Ok(retry_after) = HeaderValue::from_str(retry_after) else {
            return misfit();
        };
        response.headers_mut().insert(header::RETRY_AFTER, retry_after);
    }
    response
}

/// Stands in for an answer that cannot be put into HTTP.
fn misfit() -> Response {
    text(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the fault that was asked for does not fit into an HTTP header\n",
    )
}

/// A genuine answer with the whole of its body.
async fn taken_apart(genuine: Response) -> Result<(response::Parts, Bytes), Hangup> {
    let (parts, body) = genuine.into_parts();
    let body = body::to_bytes(body, GENUINE_LIMIT)
        .await
        .map_err(|_| Hangup::Close)?;
    Ok((parts, body))
}

fn promising(
    parts: response::Parts,
    bytes: u64,
    body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Response {
    let mut response = Response::from_parts(parts, Body::from_stream(body));
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    response
}

fn once(bytes: Bytes) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::iter([Ok(bytes)])
}

/// The end of a connection in the middle of a body.
fn cut() -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::once(async {
        // hyper sends what it has when a body lets it wait, and drops what it has when a body fails.
        task::yield_now().await;
        Err(io::ErrorKind::UnexpectedEof.into())
    })
}

fn oversized(body: Bytes, bytes: Option<u64>) -> Body {
    let missing = bytes.map(|bytes| bytes.saturating_sub(u64::try_from(body.len()).unwrap_or(u64::MAX)));
    let filler = stream::unfold(missing, |missing| async move {
        let length = missing.map_or(FILLER_LENGTH, |missing| missing.min(FILLER_LENGTH));
        let piece = usize::try_from(length)
            .ok()
            .and_then(|length| FILLER.get(..length))?;
        let rest = missing.map(|missing| missing - length);
        (length > 0).then(|| (Ok(Bytes::from_static(piece)), rest))
    });
    Body::from_stream(once(body).chain(filler))
}

fn drip(body: Bytes, interval: Duration) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::unfold(body, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        time::sleep(interval).await;
        Some((Ok(rest.split_to(1)), rest))
    })
}
