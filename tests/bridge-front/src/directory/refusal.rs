//! Why a request is refused, and how the client sees it.

use axum::{http::StatusCode, response::Response};
use serde_json::json;

use super::habits::{Act, ErrorForm, Refused, Writes};
use crate::answer::{SCIM_JSON, answer, text};

/// A refusal: nothing was written.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    scim_type: Option<String>,
    detail: &'static str,
}

impl Refusal {
    /// 400 with one of the error types of RFC 7644, section 3.12.
    pub(super) fn bad(scim_type: &str, detail: &'static str) -> Self {
        Self::of(400, Some(scim_type), detail)
    }

    pub(super) fn of(status: u16, scim_type: Option<&str>, detail: &'static str) -> Self {
        Self {
            status: StatusCode::from_u16(status)
                .ok()
                .filter(|status| !status.is_informational())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            scim_type: scim_type.map(str::to_owned),
            detail,
        }
    }

    pub(super) fn not_found() -> Self {
        Self::of(404, None, "no such resource")
    }

    pub(super) fn method() -> Self {
        Self::of(405, None, "this resource does not have this method")
    }

    pub(super) fn response(&self, form: ErrorForm) -> Response {
        let scim_type = match form {
            ErrorForm::Scim => self.scim_type.as_deref(),
            ErrorForm::WithoutType => None,
            ErrorForm::Text => return text(self.status, format!("{}\n", self.detail)),
            ErrorForm::Empty => return text(self.status, ""),
        };
        let mut document = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            "detail": self.detail,
            "status": self.status.as_str(),
        });
        if let (Some(document), Some(scim_type)) = (document.as_object_mut(), scim_type) {
            document.insert("scimType".to_owned(), scim_type.into());
        }
        answer(self.status, SCIM_JSON, document.to_string())
    }
}

impl Writes {
    /// Refuses the first of these acts that is to be refused.
    pub(super) fn permit(&self, acts: impl IntoIterator<Item = Act>) -> Result<(), Refusal> {
        let refused = acts.into_iter().find_map(|act| self.refused.get(&act));
        refused.map_or(Ok(()), |Refused { status, scim_type }| {
            Err(Refusal::of(
                *status,
                scim_type.as_deref(),
                "this act is refused on demand",
            ))
        })
    }
}
