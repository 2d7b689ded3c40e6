//! Sends [`Order`]s: the only requests that change anything on a bridge.
//!
//! - **Once.** A request leaves once at most, in any trouble of the connection. Nothing here repeats it.
//! - **Rules.** The rules of a probe hold: address policy, trust, proxy, names, leadership and lanes.
//! - **Time.** The request has the time of a probe. With its waits for rate and lane it has the time of its caller.
//! - **Doubt.** An answer that may not be the bridge's, or is not whole, is [`Answer::Unclear`].
//!
//! An answer proves nothing. Read afterwards what came of it: [`DirectoryReader::read_user`] and
//! [`DirectoryReader::read_group`].
//!
//! [`DirectoryReader::read_user`]: super::directory::DirectoryReader::read_user
//! [`DirectoryReader::read_group`]: super::directory::DirectoryReader::read_group

use std::{sync::Arc, time::Duration};

use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use tokio::time::Instant;

use super::{
    directory::is_not_found,
    form::{Form, Formless, Method},
    line::{Heard, Line, NotBegun, Query},
    lists::{self, Reply, Schemas},
    memory::Account,
    rate::Rate,
};
use crate::{
    bridge::{
        HttpProber, Lanes, ProbeRequest,
        wire::{answer::BoundedResponse, body::Body, front, session::Verb, stages::Observer},
    },
    domain::{
        connection::evidence::{self, HttpFault, ProxyFault, TransportFailure},
        directory::order::{Answer, Order, ScimType},
    },
};

/// The largest answer to a write, in bytes. After a larger one, a read shows what came of the write.
pub const MAX_ANSWER: usize = 1024 * 1024;

/// Changes directories, in the lanes of the probes. A process without one changes nothing.
#[derive(Clone, Debug)]
pub struct DirectoryWriter(Line);

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// What the answer says.
    pub answer: Answer,
    /// The status of the response, if one came.
    pub status: Option<u16>,
    /// What the response calls a fault.
    pub scim_type: Option<ScimType>,
    /// For how long the bridge wants no request. The rate keeps this pause by itself, up to an hour.
    pub retry_after: Option<Duration>,
}

// === impl DirectoryWriter ===

impl DirectoryWriter {
    /// Writes by the rules of this prober: address policy, trust, proxy, names and leadership. `lanes` are those in which
    /// the probes take their turns.
    #[must_use]
    pub fn new(prober: Arc<HttpProber>, lanes: Lanes) -> Self {
        Self(Line::new(prober, lanes))
    }

    /// Charges the answers to this account while they are read.
    #[must_use]
    pub fn charged_to(self, account: Account) -> Self {
        Self(self.0.charged_to(account))
    }

    /// Reports the stages of each request to this observer.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        Self(self.0.observed_by(observer))
    }

    /// Sends one order. `within` bounds all of it: the waits for the rate and the lane, and the request.
    ///
    /// If the future is dropped, the request may have left.
    pub async fn send(&self, request: &ProbeRequest, order: &Order, within: Duration, rate: &Rate) -> Sent {
        let form = match Form::of(order) {
            Ok(form) => form,
            Err(why) => return Sent::not_begun(without_form(order, why)),
        };
        let query = Query {
            layer: form.layer,
            verb: match form.method {
                Method::Post => Verb::Post(&form.body),
                Method::Patch => Verb::Patch(&form.body),
            },
            path: &form.path,
            bound: MAX_ANSWER,
        };
        let deadline = Instant::now() + within;
        let heard = self.0.ask(request, &query, rate, deadline, |response, _| {
            let (code, named) = (response.status.as_u16(), named_fault(response.bytes()));
            ((judge(order, response), code, named), meaning(response))
        });
        match heard.await {
            Ok(Heard {
                answer,
                may_be_sent,
                retry_after,
                full: _,
            }) => match answer {
                Ok(((answer, code, scim_type), _)) => Sent {
                    answer,
                    status: Some(code),
                    scim_type,
                    retry_after,
                },
                Err(failure) => Sent {
                    retry_after,
                    ..Sent::not_begun(unanswered(failure, may_be_sent))
                },
            },
            Err(NotBegun::OutOfTime(held_for)) => Sent {
                retry_after: held_for,
                ..Sent::not_begun(Answer::NotSent)
            },
            Err(NotBegun::NotLeading | NotBegun::Failed(_)) => Sent::not_begun(Answer::NotSent),
        }
    }
}

// === impl Sent ===

impl Sent {
    const fn not_begun(answer: Answer) -> Self {
        Self {
            answer,
            status: None,
            scim_type: None,
            retry_after: None,
        }
    }
}

fn without_form(order: &Order, why: Formless) -> Answer {
    match why {
        Formless::Malformed => {
            tracing::error!(?order, "an order changes nothing or too much; it was not sent");
            Answer::NotSent
        }
        // Nothing else is tried for this member.
        Formless::UnsafeId => Answer::Unsupported,
    }
}

/// The answer when none came.
const fn unanswered(failure: TransportFailure, may_be_sent: bool) -> Answer {
    // The port speaks TLS, so nobody has read the request. A proxy that refuses has passed nothing on.
    let is_refused = matches!(
        failure,
        TransportFailure::Http(HttpFault::TlsPort)
            | TransportFailure::Proxy(ProxyFault::Login | ProxyFault::Answered(403))
    );
    if may_be_sent && !is_refused {
        Answer::Unclear
    } else {
        Answer::NotSent
    }
}

/// The meaning of the answer for observers.
fn meaning(response: &BoundedResponse) -> evidence::Answer<()> {
    let answer = response.read(|_| Some(()));
    if matches!(answer, evidence::Answer::Unexpected(200..=299)) {
        evidence::Answer::Document(())
    } else {
        answer
    }
}

/// What a whole answer of this status, content type and body says, as [`DirectoryWriter::send`] judges it. A parser of
/// foreign bytes: it takes anything.
#[must_use]
pub fn read_answer(order: &Order, status: u16, content_type: &str, body: &[u8]) -> Answer {
    let Ok(status) = StatusCode::from_u16(status) else {
        return Answer::Unclear;
    };
    let content_type = HeaderValue::from_str(content_type).ok();
    let response = BoundedResponse {
        status,
        headers: content_type
            .map(|value| (CONTENT_TYPE, value))
            .into_iter()
            .collect(),
        body: Body::Whole(body.to_vec()),
    };
    judge(order, &response)
}

/// What the answer to an order says. In doubt, it says nothing.
fn judge(order: &Order, response: &BoundedResponse) -> Answer {
    let (code, body) = (response.status.as_u16(), response.bytes());
    if front::refuses(code, &response.headers, body) {
        return Answer::NotSent;
    }
    let is_page = front::is_for_browsers(&response.headers, body);
    match code {
        // A front's page: for a login, or about an error of the bridge.
        200..=299 if is_page => Answer::Unclear,
        200..=299 => accepted(order, response),
        401 => Answer::NotSent,
        413 => Answer::TooMany,
        429 => Answer::RateLimited,
        // A front that waited for the bridge in vain uses them, too.
        _ if front::is_to_be_repeated(code) || front::is_unregistered_error(code) => Answer::Unclear,
        // No bridge sends a page. A front that refuses has passed nothing on.
        400..=499 if is_page => Answer::NotSent,
        403 if !response.is_json(body) => Answer::NotSent,
        404 if is_not_found(response) && order.target().id().is_some() => Answer::NotFound,
        // Nothing is at this path: a front has lost the bridge.
        404 => Answer::NotSent,
        405 | 415 => Answer::Unsupported,
        501 if !is_page => Answer::Unsupported,
        400..=499 => refused(order, code, body),
        // Redirects too: a server may redirect when it is done (RFC 9110, section 15.4.4). Nobody follows them.
        _ => Answer::Unclear,
    }
}

/// What 2xx says.
fn accepted(order: &Order, response: &BoundedResponse) -> Answer {
    let body = match &response.body {
        Body::TooLarge | Body::Broken => return Answer::Unclear,
        Body::Whole(body) if body.trim_ascii().is_empty() => return Answer::Accepted(None),
        Body::Whole(body) | Body::Unconfirmed(body) => body,
    };
    match lists::read_reply(body) {
        // A list is the answer to a GET, which a front has made of the request. An error is no success.
        Ok(Reply {
            schemas: Schemas::List | Schemas::Error,
            ..
        })
        | Err(_) => Answer::Unclear,
        Ok(Reply { id: Some(id), .. }) if order.target().id().is_some_and(|target| *target != id) => {
            // The answer to another request.
            Answer::Unclear
        }
        Ok(Reply { id, .. }) => Answer::Accepted(id),
    }
}

/// What an answer calls a fault.
fn named_fault(body: &[u8]) -> Option<ScimType> {
    lists::read_reply(body).ok().and_then(|reply| reply.scim_type)
}

/// What a bridge says that refuses an order.
fn refused(order: &Order, code: u16, body: &[u8]) -> Answer {
    let scim_type = named_fault(body);
    let is_about_members = matches!(order, Order::AddMembers { .. } | Order::RemoveMembers { .. });
    match scim_type {
        _ if code == 409 && gives_a_name(order) => Answer::Conflict,
        Some(ScimType::Uniqueness) if gives_a_name(order) => Answer::Conflict,
        Some(ScimType::NoTarget) if matches!(order, Order::RemoveMembers { .. }) => Answer::NotFound,
        Some(ScimType::TooMany) if is_about_members => Answer::TooMany,
        Some(
            ScimType::InvalidFilter | ScimType::InvalidPath | ScimType::InvalidSyntax | ScimType::NoTarget,
        ) => Answer::Unsupported,
        other => Answer::Rejected(other),
    }
}

/// Whether an order gives a name that somebody else may have.
const fn gives_a_name(order: &Order) -> bool {
    match order {
        Order::CreateUser { .. } | Order::CreateGroup { .. } | Order::RenameGroup { .. } => true,
        Order::RenameUser { user_name, .. } => user_name.is_some(),
        Order::SetActive { .. } | Order::AddMembers { .. } | Order::RemoveMembers { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use reqwest::{
        StatusCode,
        header::{HeaderMap, HeaderName},
    };

    use super::*;
    use crate::{
        bridge::wire::answer::BoundedResponse,
        domain::directory::names::{PlainName, RemoteId, UserName},
    };

    const SCIM: &[(&str, &str)] = &[("content-type", "application/scim+json")];
    const HTML: &[(&str, &str)] = &[("content-type", "text/html; charset=utf-8")];
    const PLAIN: &[(&str, &str)] = &[("content-type", "text/plain")];
    const ERROR: &str =
        r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"0","detail":"x"}"#;
    const LIST: &str = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":1,"Resources":[{"id":"U1"}]}"#;
    const USER: &str = r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"U1","userName":"ada@example.com"}"#;

    fn id(text: &str) -> RemoteId {
        RemoteId::parse(text).unwrap()
    }

    fn create() -> Order {
        Order::CreateUser {
            user_name: UserName::parse("ada@example.com").unwrap(),
            given_name: PlainName::parse("Ada").unwrap(),
            family_name: PlainName::parse("Example").unwrap(),
        }
    }

    fn suspend() -> Order {
        Order::SetActive {
            user: id("U1"),
            active: false,
        }
    }

    fn rename(user_name: bool) -> Order {
        Order::RenameUser {
            user: id("U1"),
            user_name: user_name.then(|| UserName::parse("ada@example.org").unwrap()),
            given_name: Some(PlainName::parse("Ada").unwrap()),
            family_name: None,
        }
    }

    fn add() -> Order {
        Order::AddMembers {
            group: id("U1"),
            users: vec![id("U2")],
        }
    }

    fn remove() -> Order {
        Order::RemoveMembers {
            group: id("U1"),
            users: vec![id("U2")],
        }
    }

    fn rename_group() -> Order {
        Order::RenameGroup {
            group: id("U1"),
            display_name: PlainName::parse("staff").unwrap(),
        }
    }

    fn response(code: u16, headers: &[(&'static str, &str)], body: Body) -> BoundedResponse {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        BoundedResponse {
            status: StatusCode::from_u16(code).unwrap(),
            headers: headers.collect::<HeaderMap>(),
            body,
        }
    }

    fn judged(order: &Order, code: u16, headers: &[(&'static str, &str)], body: &str) -> String {
        format!(
            "{:?}",
            judge(order, &response(code, headers, Body::Whole(body.into())))
        )
    }

    /// What whole answers to a suspension and a creation mean. `U1` is the user whom the suspension names.
    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn answers() {
        let of_type = |scim_type: &str| {
            ERROR.replace("\"detail\"", &format!("\"scimType\":\"{scim_type}\",\"detail\""))
        };
        for (code, headers, body, suspended, created) in [
            // Done, perhaps: only a read shows it.
            (200, SCIM, USER, "Accepted(Some(U1))", "Accepted(Some(U1))"),
            (201, SCIM, USER, "Accepted(Some(U1))", "Accepted(Some(U1))"),
            (202, SCIM, USER, "Accepted(Some(U1))", "Accepted(Some(U1))"),
            (
                200,
                PLAIN,
                r#"{"ID":"U1"}"#,
                "Accepted(Some(U1))",
                "Accepted(Some(U1))",
            ),
            (204, &[], "", "Accepted(None)", "Accepted(None)"),
            (200, &[], "", "Accepted(None)", "Accepted(None)"),
            (201, SCIM, " \r\n", "Accepted(None)", "Accepted(None)"),
            (200, SCIM, "{}", "Accepted(None)", "Accepted(None)"),
            (200, SCIM, r#"{"id":"U 1"}"#, "Accepted(None)", "Accepted(None)"),
            (
                200,
                SCIM,
                r#"{"id":"U1\r\nX: 1"}"#,
                "Accepted(None)",
                "Accepted(None)",
            ),
            (200, SCIM, r#"{"id":"\""}"#, "Accepted(None)", "Accepted(None)"),
            (200, SCIM, r#"{"id":["U1"]}"#, "Accepted(None)", "Accepted(None)"),
            // The answer to another request, no answer to a write, or no answer of a bridge.
            (200, SCIM, r#"{"id":"U2"}"#, "Unclear", "Accepted(Some(U2))"),
            (200, SCIM, r#"{"id":"u1"}"#, "Unclear", "Accepted(Some(u1))"),
            (200, SCIM, r#"{"id":"U1","ID":"U2"}"#, "Unclear", "Unclear"),
            (200, SCIM, LIST, "Unclear", "Unclear"),
            (200, SCIM, ERROR, "Unclear", "Unclear"),
            (200, SCIM, "[]", "Unclear", "Unclear"),
            (200, SCIM, "null", "Unclear", "Unclear"),
            (200, SCIM, r#"{"id":"U1""#, "Unclear", "Unclear"),
            (200, PLAIN, "OK", "Unclear", "Unclear"),
            (200, HTML, "<html>sign in</html>", "Unclear", "Unclear"),
            (200, HTML, "", "Unclear", "Unclear"),
            (200, SCIM, "<html>", "Unclear", "Unclear"),
            (
                200,
                &[("content-encoding", "gzip")],
                "\u{1f}?",
                "Unclear",
                "Unclear",
            ),
            (200, &[("cf-mitigated", "challenge")], "", "NotSent", "NotSent"),
            (101, &[], "", "Unclear", "Unclear"),
            (301, &[("location", "/")], "", "Unclear", "Unclear"),
            (302, &[("location", "/")], "", "Unclear", "Unclear"),
            (303, &[("location", "/")], "", "Unclear", "Unclear"),
            (307, &[("location", "/")], "", "Unclear", "Unclear"),
            (308, &[("location", "/")], "", "Unclear", "Unclear"),
            (304, &[], "", "Unclear", "Unclear"),
            // The key, or a front.
            (401, SCIM, ERROR, "NotSent", "NotSent"),
            (401, &[], "", "NotSent", "NotSent"),
            (403, HTML, "<html>no</html>", "NotSent", "NotSent"),
            (403, &[], "", "NotSent", "NotSent"),
            (403, PLAIN, "no", "NotSent", "NotSent"),
            (403, SCIM, r#"{"error":{"code":403}}"#, "NotSent", "NotSent"),
            (407, &[], "", "NotSent", "NotSent"),
            (451, &[], "", "NotSent", "NotSent"),
            (511, &[], "", "NotSent", "NotSent"),
            (561, &[], "", "NotSent", "NotSent"),
            (400, HTML, "<html>no</html>", "NotSent", "NotSent"),
            (405, HTML, "<html>soon back</html>", "NotSent", "NotSent"),
            (409, HTML, "<html>no</html>", "NotSent", "NotSent"),
            // Whether somebody is there, only a bridge can say.
            (404, SCIM, ERROR, "NotFound", "NotSent"),
            (404, &[], ERROR, "NotFound", "NotSent"),
            (
                404,
                SCIM,
                r#"{"message":"no Route matched"}"#,
                "NotSent",
                "NotSent",
            ),
            (404, SCIM, "", "NotSent", "NotSent"),
            (404, PLAIN, "default backend - 404", "NotSent", "NotSent"),
            (404, HTML, "<html>404</html>", "NotSent", "NotSent"),
            // A bridge refuses.
            (429, SCIM, ERROR, "RateLimited", "RateLimited"),
            (429, HTML, "<html>slow down</html>", "RateLimited", "RateLimited"),
            (413, &[], "", "TooMany", "TooMany"),
            (413, HTML, "<html>too large</html>", "TooMany", "TooMany"),
            (405, &[], "", "Unsupported", "Unsupported"),
            (405, PLAIN, "Method Not Allowed", "Unsupported", "Unsupported"),
            (415, SCIM, ERROR, "Unsupported", "Unsupported"),
            (501, SCIM, ERROR, "Unsupported", "Unsupported"),
            (400, SCIM, ERROR, "Rejected(None)", "Rejected(None)"),
            (400, &[], "", "Rejected(None)", "Rejected(None)"),
            (
                400,
                SCIM,
                &of_type("nobodyKnows"),
                "Rejected(None)",
                "Rejected(None)",
            ),
            (
                400,
                SCIM,
                &of_type("INVALIDVALUE"),
                "Rejected(Some(InvalidValue))",
                "Rejected(Some(InvalidValue))",
            ),
            (
                400,
                SCIM,
                &of_type("mutability"),
                "Rejected(Some(Mutability))",
                "Rejected(Some(Mutability))",
            ),
            (403, SCIM, ERROR, "Rejected(None)", "Rejected(None)"),
            (422, SCIM, ERROR, "Rejected(None)", "Rejected(None)"),
            (400, SCIM, &of_type("invalidSyntax"), "Unsupported", "Unsupported"),
            (400, SCIM, &of_type("invalidPath"), "Unsupported", "Unsupported"),
            (400, SCIM, &of_type("invalidFilter"), "Unsupported", "Unsupported"),
            (400, SCIM, &of_type("noTarget"), "Unsupported", "Unsupported"),
            (
                400,
                SCIM,
                &of_type("uniqueness"),
                "Rejected(Some(Uniqueness))",
                "Conflict",
            ),
            (
                409,
                SCIM,
                &of_type("uniqueness"),
                "Rejected(Some(Uniqueness))",
                "Conflict",
            ),
            (409, &[], "", "Rejected(None)", "Conflict"),
            (
                400,
                SCIM,
                &of_type("tooMany"),
                "Rejected(Some(TooMany))",
                "Rejected(Some(TooMany))",
            ),
            // Nobody knows who failed, and when.
            (408, &[], "", "Unclear", "Unclear"),
            (421, &[], "", "Unclear", "Unclear"),
            (425, &[], "", "Unclear", "Unclear"),
            (460, &[], "", "Unclear", "Unclear"),
            (499, HTML, "<html>", "Unclear", "Unclear"),
            (500, SCIM, ERROR, "Unclear", "Unclear"),
            (500, SCIM, &of_type("uniqueness"), "Unclear", "Unclear"),
            (501, HTML, "<html>no</html>", "Unclear", "Unclear"),
            (502, HTML, "<html>no</html>", "Unclear", "Unclear"),
            (503, &[], "", "Unclear", "Unclear"),
            (504, &[], "", "Unclear", "Unclear"),
            (520, &[], "", "Unclear", "Unclear"),
            (999, &[], "", "Unclear", "Unclear"),
        ] {
            for (order, expected) in [(suspend(), suspended), (create(), created)] {
                assert_eq!(
                    judged(&order, code, headers, body),
                    expected,
                    "{order:?}: {code} {headers:?} {body}"
                );
            }
        }
    }

    #[test]
    fn answers_that_depend_on_the_order() {
        let of_type = |scim_type: &str| format!(r#"{{"scimType":"{scim_type}"}}"#);
        for (order, code, scim_type, expected) in [
            (rename(true), 409, "", "Conflict"),
            (rename(true), 400, "uniqueness", "Conflict"),
            (rename(false), 409, "", "Rejected(None)"),
            (rename_group(), 409, "", "Conflict"),
            (add(), 409, "uniqueness", "Rejected(Some(Uniqueness))"),
            (add(), 400, "tooMany", "TooMany"),
            (remove(), 400, "tooMany", "TooMany"),
            (remove(), 400, "noTarget", "NotFound"),
            (add(), 400, "noTarget", "Unsupported"),
            (remove(), 400, "invalidFilter", "Unsupported"),
            (rename_group(), 400, "tooMany", "Rejected(Some(TooMany))"),
        ] {
            assert_eq!(
                judged(&order, code, SCIM, &of_type(scim_type)),
                expected,
                "{order:?}: {code} {scim_type}"
            );
        }
    }

    /// An answer that is not whole says nothing, unless its status does.
    #[test]
    fn answers_that_are_not_whole() {
        for (code, body, expected) in [
            (200, Body::TooLarge, "Unclear"),
            (201, Body::Broken, "Unclear"),
            (200, Body::Unconfirmed(Vec::new()), "Unclear"),
            (200, Body::Unconfirmed(USER.into()), "Accepted(Some(U1))"),
            (200, Body::Unconfirmed(USER[..50].into()), "Unclear"),
            (404, Body::TooLarge, "NotSent"),
            (404, Body::Unconfirmed(ERROR.into()), "NotFound"),
            (400, Body::Broken, "Rejected(None)"),
            (409, Body::TooLarge, "Conflict"),
            (403, Body::Broken, "Rejected(None)"),
            (500, Body::Broken, "Unclear"),
        ] {
            let order = if code == 409 { create() } else { suspend() };
            let answer = judge(&order, &response(code, SCIM, body));
            assert_eq!(format!("{answer:?}"), expected, "{code}");
        }
    }

    #[test]
    fn failures() {
        for failure in TransportFailure::ALL {
            let refused = matches!(
                failure,
                TransportFailure::Http(HttpFault::TlsPort) | TransportFailure::Proxy(ProxyFault::Login)
            );
            let expected = if refused { Answer::NotSent } else { Answer::Unclear };
            assert_eq!(unanswered(failure, true), expected, "{failure:?}");
            assert_eq!(unanswered(failure, false), Answer::NotSent, "{failure:?}");
        }
        assert_eq!(
            unanswered(TransportFailure::Proxy(ProxyFault::Answered(403)), true),
            Answer::NotSent
        );
    }
}
