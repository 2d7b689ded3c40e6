//! Recognizes the responses of fronts: ingresses, load balancers, content delivery networks, firewalls, API gateways.
//!
//! A front may answer in place of the bridge behind it. The vendors document the signs. A sign must be certain: a
//! response without one counts as the bridge's.

use reqwest::header::{HeaderMap, HeaderName, WWW_AUTHENTICATE};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Headers that a front adds only to its own responses.
const HEADERS: [HeaderName; 8] = [
    // Cloudflare: the response is a challenge. <https://developers.cloudflare.com/cloudflare-challenges/challenge-types/challenge-pages/detect-response/>
    HeaderName::from_static("cf-mitigated"),
    // AWS WAF: the response is a challenge or a CAPTCHA. <https://docs.aws.amazon.com/waf/latest/developerguide/waf-captcha-and-challenge-actions.html>
    HeaderName::from_static("x-amzn-waf-action"),
    // Amazon API Gateway: an error of the gateway. <https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html>
    HeaderName::from_static("x-amzn-errortype"),
    // Google Identity-Aware Proxy. <https://cloud.google.com/iap/docs/faq>
    HeaderName::from_static("x-goog-iap-generated-response"),
    // Kong: the response did not come from the upstream. <https://developer.konghq.com/gateway/configuration/#headers>
    HeaderName::from_static("x-kong-response-latency"),
    // Cloudflare Access: the login page of an application. <https://developers.cloudflare.com/cloudflare-one/access-controls/>
    HeaderName::from_static("cf-access-aud"),
    HeaderName::from_static("cf-access-domain"),
    // Squid, also as a reverse proxy.
    HeaderName::from_static("x-squid-error"),
];

/// Whether an error has a status that HTTP does not define. Fronts use such a status if they cannot reach the server
/// (52x and 530 of Cloudflare). They also use one if the client closed the connection (460 of AWS, 499 of nginx).
/// <https://www.iana.org/assignments/http-status-codes>
#[must_use]
pub fn is_unregistered_error(status: u16) -> bool {
    status >= 400 && !matches!(status, 400..=418 | 421..=426 | 428 | 429 | 431 | 451 | 500..=508 | 510 | 511)
}

/// Whether HTTP asks the client to repeat the request: 408 and 421 (RFC 9110, sections 15.5.9 and 15.5.20) and 425
/// (RFC 8470, section 5.2).
#[must_use]
pub fn is_to_be_repeated(status: u16) -> bool {
    matches!(status, 408 | 421 | 425)
}

/// Whether a front refuses the request. Either only intermediaries use the status, or the response has the shape of a
/// front's.
#[must_use]
pub fn refuses(status: u16, headers: &HeaderMap, body: &[u8]) -> bool {
    let is_refusal = matches!(status, 401 | 403);
    // 407 is a proxy's (RFC 9110, section 15.5.8), 451 and 511 an intermediary's (RFC 7725; RFC 6585, section 6), and 561
    // a login's that failed at AWS: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>
    matches!(status, 407 | 451 | 511 | 561)
        || is_challenge_page(headers)
        || (is_refusal
            && (is_made_by_a_front(headers)
                || asks_for_another_login(headers)
                || is_for_browsers(headers, body)
                || is_error_of_a_gateway(headers, body)
                || is_text_of_envoy(body)))
}

/// A page for browsers in place of any answer, with any status.
fn is_challenge_page(headers: &HeaderMap) -> bool {
    let [challenge, captcha, ..] = &HEADERS;
    headers.contains_key(challenge) || headers.contains_key(captcha)
}

fn is_made_by_a_front(headers: &HeaderMap) -> bool {
    HEADERS.iter().any(|header| headers.contains_key(header))
}

/// Whether the response asks for credentials, but not for a bearer token. A SCIM bridge accepts only a bearer token
/// (RFC 6750, section 3). Fronts ask for `Basic` (RFC 7617), `Digest`, `Negotiate`, `NTLM` or `Key`.
fn asks_for_another_login(headers: &HeaderMap) -> bool {
    let mut schemes = headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(schemes)
        .peekable();
    schemes.peek().is_some() && schemes.all(|scheme| !scheme.eq_ignore_ascii_case("bearer"))
}

/// The schemes of a list of challenges (RFC 9110, section 11.6.1). A scheme is a token without `=` after it.
fn schemes(challenges: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut quoted, mut escaped, mut start) = (false, false, 0);
    let mut parts = Vec::new();
    for (index, byte) in challenges.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                parts.extend(challenges.get(start..index));
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.extend(challenges.get(start..));
    for part in parts {
        let part = part.trim();
        let (first, rest) = part.split_once([' ', '\t']).unwrap_or((part, ""));
        let is_token = !first.is_empty()
            && first
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        // `realm = "x"` is a parameter of the challenge before it.
        if is_token && !rest.trim_start().starts_with('=') {
            found.push(first);
        }
    }
    found
}

/// A page in place of an API's answer. A bridge's SCIM API and its health report know no HTML.
#[must_use]
pub fn is_for_browsers(headers: &HeaderMap, body: &[u8]) -> bool {
    let says_html = text(headers, "content-type")
        .is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"));
    says_html || body.trim_ascii_start().first() == Some(&b'<')
}

/// Whether the body is the error document of a gateway: a problem (RFC 9457), or an error of the gateways of Google,
/// Azure and other clouds. `{"status":401,"message":...}` does not count, because services of 1Password answer like
/// that. A SCIM error names its schema (RFC 7644, section 3.12), and does not count either.
fn is_error_of_a_gateway(headers: &HeaderMap, body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Document<'a> {
        #[serde(borrow)]
        schemas: Option<&'a RawValue>,
        #[serde(borrow, rename = "type")]
        type_: Option<&'a RawValue>,
        #[serde(borrow)]
        title: Option<&'a RawValue>,
        #[serde(borrow)]
        error: Option<&'a RawValue>,
        #[serde(borrow, rename = "statusCode")]
        status_code: Option<&'a RawValue>,
        #[serde(borrow)]
        code: Option<&'a RawValue>,
        #[serde(borrow)]
        fault: Option<&'a RawValue>,
        #[serde(borrow)]
        message: Option<&'a RawValue>,
    }
    let is_problem = text(headers, "content-type").is_some_and(|kind| {
        kind.trim_start()
            .to_ascii_lowercase()
            .starts_with("application/problem+")
    });
    let Ok(document) = serde_json::from_slice::<Document<'_>>(body) else {
        return is_problem;
    };
    if document.schemas.is_some() {
        return false;
    }
    let is_object = |value: Option<&RawValue>| value.is_some_and(|value| value.get().starts_with('{'));
    let is_number = |value: Option<&RawValue>| value.is_some_and(|value| value.get().parse::<u16>().is_ok());
    is_problem
        || (document.type_.is_some() && document.title.is_some())
        || is_object(document.error)
        || is_object(document.fault)
        || ((document.status_code.is_some() || is_number(document.code)) && document.message.is_some())
}

/// Whether Envoy's JWT filter refuses an unknown bearer token, with a text such as `Jwt verification fails`.
/// <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/jwt_authn_filter>
fn is_text_of_envoy(body: &[u8]) -> bool {
    body.starts_with(b"Jwt ")
}

/// Whether the answer is a forward proxy's own: Squid says so, and so does each that follows RFC 9209.
#[must_use]
pub fn is_of_a_forward_proxy(headers: &HeaderMap) -> bool {
    headers.contains_key("x-squid-error")
        || text(headers, "proxy-status").is_some_and(|status| status.contains("error="))
}

/// What servers answer to plain HTTP where they speak TLS: nginx, Apache and those that are written in Go.
const TLS_PORT: [&str; 3] = [
    "plain http request was sent to https port",
    "speaking plain http to an ssl-enabled server port",
    "client sent an http request to an https server",
];

/// Whether a 400 says that the port speaks TLS.
#[must_use]
pub fn asks_for_tls(body: &[u8]) -> bool {
    let body = String::from_utf8_lossy(body).to_ascii_lowercase();
    TLS_PORT.iter().any(|words| body.contains(words))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
