//! Reading a body, up to a bound.

use reqwest::Response;

use super::classify::classify;
use crate::domain::evidence::TransportFailure;

/// What came of reading.
pub(super) enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// More than the bound; the rest was not read.
    TooLarge,
    /// It broke off.
    Broken,
}

/// No server cuts a body into more pieces. Each costs more than its bytes: in chunks of one byte, a body would keep a
/// processor busy for as long as the probe lasts.
const MAX_PIECES: usize = 4 * 1024;

/// Reads at most `bound` bytes. A body that says it is larger is not read at all.
pub(super) async fn read(mut response: Response, bound: usize) -> Result<Body, TransportFailure> {
    if response
        .content_length()
        .is_some_and(|length| length > bound as u64)
    {
        return Ok(Body::TooLarge);
    }
    let mut body = Vec::new();
    for _ in 0..MAX_PIECES {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > bound => return Ok(Body::TooLarge),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(Body::Whole(body)),
            Err(error) => {
                // Headers arrived: it is the answer that is broken, not the way to the peer.
                return match classify(&error) {
                    TransportFailure::TimedOut => Err(TransportFailure::TimedOut),
                    TransportFailure::Dns
                    | TransportFailure::AddressDenied
                    | TransportFailure::Connect
                    | TransportFailure::CertificateUntrusted
                    | TransportFailure::CertificateExpired
                    | TransportFailure::CertificateNameMismatch
                    | TransportFailure::Tls
                    | TransportFailure::Http => Ok(Body::Broken),
                };
            }
        }
    }
    Ok(Body::TooLarge)
}
