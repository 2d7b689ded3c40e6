//! One request to the directory of a bridge: what reads and writes have in common.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use reqwest::StatusCode;
use tokio::time::Instant;

use super::{
    memory::{Account, Full, Memory},
    rate::{Late, Rate},
};
use crate::{
    api::vocabulary::Layer,
    bridge::{
        HttpProber, Lanes, ProbeRequest,
        wire::{
            answer::BoundedResponse,
            session::{Request, Verb},
            stages::{Course, Observer, Stage, pass},
        },
    },
    domain::connection::evidence::{Answer, TransportFailure},
};

/// The way to directories: the rules of a prober, the lanes of its probes, and the memory for what comes.
#[derive(Clone, Debug)]
pub(super) struct Line {
    prober: Arc<HttpProber>,
    lanes: Lanes,
    observers: Arc<[Arc<dyn Observer>]>,
    pub(super) account: Account,
}

/// A request to a directory.
pub(super) struct Query<'a> {
    pub(super) layer: Layer,
    pub(super) verb: Verb<'a>,
    /// Path and query, encoded, after the path of SCIM.
    pub(super) path: &'a str,
    /// Largest body of the answer, in bytes.
    pub(super) bound: usize,
}

/// Gives memory for so many bytes, or does not.
pub(super) type Holds<'a> = &'a (dyn Fn(usize) -> bool + Sync);

/// What came of a request that was to be sent.
pub(super) struct Heard<T> {
    /// What was read of the answer and its meaning, or why none came.
    pub(super) answer: Result<(T, Answer<()>), TransportFailure>,
    /// Whether the bridge may have got the request.
    pub(super) may_be_sent: bool,
    /// The `Retry-After` of the answer.
    pub(super) retry_after: Option<Duration>,
    /// Why the memory for the answer was not given.
    pub(super) full: Option<Full>,
}

/// Why a request was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotBegun {
    /// Its time was up before its turn. If the bridge wants no request, for how long.
    OutOfTime(Option<Duration>),
    /// This process no longer leads.
    NotLeading,
    /// The policy denies the host, or our own TLS cannot be set up.
    Failed(TransportFailure),
}

// === impl Line ===

impl Line {
    pub(super) fn new(prober: Arc<HttpProber>, lanes: Lanes) -> Self {
        Self {
            prober,
            lanes,
            observers: Arc::default(),
            account: Memory::new(usize::MAX).account(""),
        }
    }

    pub(super) fn charged_to(self, account: Account) -> Self {
        Self { account, ..self }
    }

    pub(super) fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        Self {
            observers: self.observers.iter().cloned().chain([observer]).collect(),
            ..self
        }
    }

    /// Sends one request when rate and lane let it, and reads its answer. `read` also gives the meaning of the answer.
    ///
    /// If the answer asks for time, no request of the rate begins before that.
    pub(super) async fn ask<T>(
        &self,
        request: &ProbeRequest,
        query: &Query<'_>,
        rate: &Rate,
        deadline: Instant,
        read: impl FnOnce(&BoundedResponse, Holds<'_>) -> (T, Answer<()>),
    ) -> Result<Heard<T>, NotBegun> {
        // Every field is listed. For a new field, decide whether it changes how a directory is read or written.
        let ProbeRequest {
            route,
            key,
            next_key: _,
            budget,
            requested: _,
        } = request;
        let late = |Late { held_for }| NotBegun::OutOfTime(held_for);
        let place = rate.place(deadline).await.map_err(late)?;
        let turn = loop {
            place.due(deadline).await.map_err(late)?;
            let turn = self.lanes.turn(route, deadline).await;
            let turn = turn.map_err(|_| NotBegun::OutOfTime(None))?;
            // The answer to the request before may have asked for time.
            if place.is_due() {
                break turn;
            }
        };
        // A process that was frozen finds its deadline over.
        if deadline <= Instant::now() {
            return Err(NotBegun::OutOfTime(None));
        }
        if !self.prober.leads() {
            return Err(NotBegun::NotLeading);
        }
        let session = self.prober.session(route, deadline.min(Instant::now() + *budget));
        let mut session = session.map_err(NotBegun::Failed)?;
        place.begin();
        // The body, and what it is parsed into.
        let charge = self.account.charge();
        let full = OnceLock::new();
        let holds = |bytes| charge.set(bytes).map_err(|why| full.set(why)).is_ok();
        let path = format!("{}{}", route.origin.scim_path(), query.path);
        let request = Request {
            verb: query.verb,
            path: &path,
            accept: "application/scim+json, application/json;q=0.9",
            key: Some(key),
            bound: query.bound,
            holds: &holds,
            last: true,
        };
        let course = Course::begin(Arc::clone(&self.observers));
        let (answer, may_be_sent, retry_after) = course
            .run(async {
                let response = session.ask(&request).await;
                if let (Ok(response), Some(time)) = (&response, session.retry_after)
                    && asks_for_time(response.status)
                {
                    rate.hold_until(Instant::now() + time);
                }
                drop(turn);
                let answer = response.map(|response| read(&response, &holds));
                let meaning = answer.as_ref().map(|(_, meaning)| meaning);
                pass(Stage::Listed(query.layer, meaning.map_err(|failure| *failure)));
                (answer, session.may_have_sent(), session.retry_after)
            })
            .await;
        Ok(Heard {
            answer,
            may_be_sent,
            retry_after,
            full: full.get().copied(),
        })
    }
}

/// The statuses with which a server says that it wants no request now (RFC 6585, section 4; RFC 9110, section 15.6.4).
const fn asks_for_time(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 503)
}
