//! The answers in their plainest form: a status, a content type and a body.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde_json::{Value, json};

/// The content type of SCIM.
pub(crate) const SCIM_JSON: &str = "application/scim+json";
/// The content type of everything else that is JSON.
pub(crate) const JSON: &str = "application/json";
/// The page of the bridge's own web interface, of a proxy, of a firewall: to a client they are all the same.
const PAGE: &str = "<!doctype html>\n<html><head><title>1Password SCIM Bridge</title></head><body>\
                    <h1>1Password SCIM Bridge</h1></body></html>\n";

pub(crate) fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(crate) fn text(status: StatusCode, body: impl Into<Body>) -> Response {
    answer(status, "text/plain; charset=utf-8", body)
}

pub(crate) fn html(status: StatusCode) -> Response {
    answer(status, "text/html; charset=utf-8", PAGE)
}

pub(crate) fn json(content_type: &'static str, document: &Value) -> Response {
    answer(StatusCode::OK, content_type, document.to_string())
}

/// An error as RFC 7644 has it.
pub(crate) fn scim_error(status: StatusCode, detail: &str) -> Response {
    let document = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "detail": detail,
        "status": status.as_str(),
    });
    answer(status, SCIM_JSON, document.to_string())
}

pub(crate) fn unauthorized() -> Response {
    let mut response = scim_error(
        StatusCode::UNAUTHORIZED,
        "the bearer token is missing or not valid",
    );
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

pub(crate) fn redirect(status: StatusCode, location: HeaderValue) -> Response {
    let mut response = text(status, "");
    response.headers_mut().insert(header::LOCATION, location);
    response
}
