//! Reading a body, up to a bound.

use reqwest::{
    Response,
    header::{HeaderMap, TRANSFER_ENCODING},
};

use super::classify::{is_timeout, is_unconfirmed_end};

/// What came of reading.
pub(crate) enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// All that came before the peer closed the connection, where the end of the connection is the end of the body. TLS
    /// did not confirm that end (`close_notify`): the reader of the document has to tell whether it is whole.
    Unconfirmed(Vec<u8>),
    /// More than the bound; the rest was not read.
    TooLarge,
    /// It broke off.
    Broken,
}

/// No server cuts a body into more pieces. Each costs more than its bytes: in chunks of one byte, a body would keep a
/// processor busy for as long as the probe lasts.
const MAX_PIECES: usize = 4 * 1024;

/// The time ran out in the middle of a body.
pub(crate) struct TimedOut;

/// Reads at most `bound` bytes of the body that these headers came with. A body that says it is larger is not read at
/// all.
pub(crate) async fn read(
    mut response: Response,
    headers: &HeaderMap,
    bound: usize,
) -> Result<Body, TimedOut> {
    if response
        .content_length()
        .is_some_and(|length| length > bound as u64)
    {
        return Ok(Body::TooLarge);
    }
    // RFC 9112, section 6.3: without a length the body ends with the connection, as HTTP/1.0 servers do it.
    let ends_with_connection =
        response.content_length().is_none() && !headers.contains_key(TRANSFER_ENCODING);
    let mut body = Vec::new();
    for _ in 0..MAX_PIECES {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > bound => return Ok(Body::TooLarge),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(Body::Whole(body)),
            Err(error) if is_timeout(&error) => return Err(TimedOut),
            Err(error) if ends_with_connection && is_unconfirmed_end(&error) => {
                return Ok(Body::Unconfirmed(body));
            }
            // Headers arrived: it is the answer that is broken, not the way to the peer.
            Err(_) => return Ok(Body::Broken),
        }
    }
    Ok(Body::TooLarge)
}
