//! The loopback interface: free ports, and plain HTTP to servers that were started there.

use std::{
    error::Error,
    io::{self, Read},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use thiserror::Error;
use tokio::time;

use crate::failure::debug_is_message;

/// On loopback a server answers in milliseconds; one that is frozen never does.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A port that was free a moment ago.
///
/// Somebody else may take it before it is used; what this crate starts itself is then tried again with another one.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The address of `port` on loopback.
pub(crate) fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A request without a body, up to its empty line: for a peer that answers by hand. `None` where the client has gone.
pub fn read_head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// A server on loopback did not answer as it should.
#[derive(Error)]
pub enum HttpError {
    /// No answer at all.
    #[error("no answer")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
    /// Not in time.
    #[error("no answer within {TIMEOUT:?}")]
    TimedOut,
    /// It says no.
    #[error("{status}: {body}")]
    Refused {
        /// Its status code.
        status: StatusCode,
        /// Its reason.
        body: String,
    },
}
debug_is_message!(HttpError);

/// The body of a successful answer to `GET`.
pub(crate) async fn get(url: &str) -> Result<String, HttpError> {
    send(Request::get(url).body(String::new())).await
}

/// Sends a request, and returns the body of a successful answer.
///
/// Each has a connection of its own: one that was kept would belong to the runtime of the test that made it.
pub(crate) async fn send(request: http::Result<Request<String>>) -> Result<String, HttpError> {
    let answer = time::timeout(TIMEOUT, exchange(request))
        .await
        .map_err(|_| HttpError::TimedOut)?;
    let (status, body) = answer.map_err(HttpError::Failed)?;
    if status.is_success() {
        Ok(body)
    } else {
        Err(HttpError::Refused { status, body })
    }
}

async fn exchange(
    request: http::Result<Request<String>>,
) -> Result<(StatusCode, String), Box<dyn Error + Send + Sync>> {
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build_http();
    let response = client.request(request?).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
