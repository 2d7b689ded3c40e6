//! Sends [`Order`]s: the only requests that change anything on a bridge.
//!
//! - **Once.** A request leaves once at most, whatever the connection does. Nothing here repeats it.
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
        directory::{
            names::RemoteId,
            order::{Answer, Order, ScimType},
        },
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
            (judge(order, response), meaning(response))
        });
        match heard.await {
            Ok(Heard {
                answer,
                may_be_sent,
                retry_after,
                full: _,
            }) => Sent {
                answer: answer.map_or_else(|failure| unanswered(failure, may_be_sent), |(answer, _)| answer),
                retry_after,
            },
            Err(NotBegun::OutOfTime(held_for)) => Sent {
                answer: Answer::NotSent,
                retry_after: held_for,
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

/// What is known when no answer came.
const fn unanswered(failure: TransportFailure, may_be_sent: bool) -> Answer {
    match failure {
        // The port speaks TLS, so nobody has read the request. A proxy that refuses has passed nothing on.
        TransportFailure::Http(HttpFault::TlsPort)
        | TransportFailure::Proxy(ProxyFault::Login | ProxyFault::Answered(403)) => Answer::NotSent,
        _ if may_be_sent => Answer::Unclear,
        _ => Answer::NotSent,
    }
}

/// The meaning of the answer for observers.
fn meaning(response: &BoundedResponse) -> evidence::Answer<()> {
    match response.read(|_| Some(())) {
        evidence::Answer::Unexpected(200..=299) => evidence::Answer::Document(()),
        other => other,
    }
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
        404 if is_not_found(response) && target(order).is_some() => Answer::NotFound,
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
        Ok(Reply { id: Some(id), .. }) if target(order).is_some_and(|target| *target != id) => {
            // The answer to another request.
            Answer::Unclear
        }
        Ok(Reply { id, .. }) => Answer::Accepted(id),
    }
}

/// What a bridge says that refuses an order.
fn refused(order: &Order, code: u16, body: &[u8]) -> Answer {
    let scim_type = lists::read_reply(body).ok().and_then(|reply| reply.scim_type);
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

/// The user or group that an order changes. `None` if it creates one.
const fn target(order: &Order) -> Option<&RemoteId> {
    match order {
        Order::CreateUser { .. } | Order::CreateGroup { .. } => None,
        Order::SetActive { user: id, .. }
        | Order::RenameUser { user: id, .. }
        | Order::RenameGroup { group: id, .. }
        | Order::AddMembers { group: id, .. }
        | Order::RemoveMembers { group: id, .. } => Some(id),
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
