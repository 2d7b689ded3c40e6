//! Reads the body of a response, up to a bound.

use reqwest::{
    Response,
    header::{HeaderMap, TRANSFER_ENCODING},
};

use super::classify::{is_timeout, is_unconfirmed_end};

/// The result of reading a body.
pub(crate) enum Body {
    /// The whole body.
    Whole(Vec<u8>),
    /// The body ends with the connection, but TLS did not confirm this end (`close_notify`). The parser must decide
    /// whether the document is whole.
    Unconfirmed(Vec<u8>),
    /// The body is larger than the bound. The rest was not read.
    TooLarge,
    /// The body broke off.
    Broken,
}

/// Most pieces of a body. No server sends more. A piece costs more than its bytes: a body in pieces of one byte would
/// keep a processor busy for the whole probe.
const MAX_PIECES: usize = 4 * 1024;

/// The time ran out in the middle of a body.
pub(crate) struct TimedOut;

/// Reads at most `bound` bytes of the body. If its declared length is larger, nothing is read. `headers` are those of
/// the response. `holds` is asked before the body takes so many bytes of memory; without them it is too large.
pub(crate) async fn read(
    mut response: Response,
    headers: &HeaderMap,
    bound: usize,
    holds: &(dyn Fn(usize) -> bool + Sync),
) -> Result<Body, TimedOut> {
    if response
        .content_length()
        .is_some_and(|length| length > bound as u64)
    {
        return Ok(Body::TooLarge);
    }
    // RFC 9112, section 6.3: without a length the body ends with the connection. HTTP/1.0 servers send it like this.
    let ends_with_connection =
        response.content_length().is_none() && !headers.contains_key(TRANSFER_ENCODING);
    let mut body: Vec<u8> = Vec::new();
    for _ in 0..MAX_PIECES {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > bound => return Ok(Body::TooLarge),
            Ok(Some(chunk)) => {
                let length = body.len() + chunk.len();
                if length > body.capacity() {
                    let capacity = length.max(body.capacity() * 2);
                    if !holds(capacity) {
                        return Ok(Body::TooLarge);
                    }
                    body.reserve_exact(capacity - body.len());
                }
                body.extend_from_slice(&chunk);
            }
            Ok(None) => return Ok(Body::Whole(body)),
            Err(error) if is_timeout(&error) => return Err(TimedOut),
            Err(error) if ends_with_connection && is_unconfirmed_end(&error) => {
                return Ok(Body::Unconfirmed(body));
            }
            // The headers arrived, so the response is broken, not the connection to the peer.
            Err(_) => return Ok(Body::Broken),
        }
    }
    Ok(Body::TooLarge)
}
