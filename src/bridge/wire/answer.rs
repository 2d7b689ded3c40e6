//! Responses: their meaning, and the few headers that are read.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use reqwest::{
    StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue},
};

use super::{body::Body, front};
use crate::domain::connection::evidence::Answer;

/// A response. Its body is read up to the bound.
pub(crate) struct BoundedResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

// === impl BoundedResponse ===

impl BoundedResponse {
    /// The body, if it came to its end within the bound.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.body {
            Body::Whole(bytes) | Body::Unconfirmed(bytes) => bytes,
            Body::TooLarge | Body::Broken => &[],
        }
    }

    /// Interprets the response. `document` reads the body of a 200.
    pub(crate) fn read<T>(&self, document: impl FnOnce(&[u8]) -> Option<T>) -> Answer<T> {
        let code = self.status.as_u16();
        let bytes = self.bytes();
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

    pub(crate) fn is_json(&self, body: &[u8]) -> bool {
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

/// Whether the body begins like a JSON object or array. For bodies that are not parsed.
#[must_use]
pub fn looks_like_json(body: &[u8]) -> bool {
    body.iter()
        .find(|b| !b.is_ascii_whitespace())
        .is_some_and(|b| matches!(b, b'{' | b'['))
}

/// Reads a Retry-After header: seconds, or a date (RFC 9110, section 10.2.3). `None` for any other text, and
/// for a date in the past.
#[must_use]
pub fn read_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // Too large a number becomes the largest one. The caller decides how long it really waits.
        return Some(Duration::from_secs(
            text.parse::<u32>().unwrap_or(u32::MAX).into(),
        ));
    }
    let date = Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()?;
    Duration::try_from(date.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after() {
        let now = "2026-03-03T14:06:56Z".parse().unwrap();
        for (text, expected) in [
            ("120", Some(120)),
            (" 5 ", Some(5)),
            ("Tue, 03 Mar 2026 14:07:56 GMT", Some(60)),
            ("Tuesday, 03-Mar-26 14:07:56 GMT", Some(60)),
            ("Tue Mar  3 14:07:56 2026", Some(60)),
            ("Tue, 03 Mar 2020 14:07:56 GMT", None),
            ("Tue, 03 Mar 2026 14:07:56 +0000", None),
            ("-1", None),
            ("+1", None),
            ("99999999999999999999", Some(u32::MAX.into())),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(
                read_retry_after(text, now).map(|d| d.as_secs()),
                expected,
                "{text}"
            );
        }
    }
}
