//! What was asked of the front: a record of requests and connections that a test can wait on.
//!
//! Guarantees: a request is recorded before it is answered, in the order of arrival, with its whole body and
//! without the key; a request with a body is recorded when the body has arrived; waiting is by notification; a request counts as in flight until its answer has been handed over whole or given up.

use std::{
    collections::VecDeque,
    fmt,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    http::{Request, header},
};
use hyper::body::{Frame, SizeHint};
use serde::{Serialize, Serializer};
use serde_json::Value;
use tokio::{sync::watch, time};

use crate::forbidden::Forbidden;

/// A demo may run for days; the oldest records give way.
const KEPT: usize = 10_000;
/// The same for the bodies of these records, in bytes.
const KEPT_BODIES: usize = 64 * 1024 * 1024;

/// One request, as it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRecord {
    /// Its place in the order of arrival, from 0, never used twice.
    pub sequence: u64,
    /// When it arrived; in JSON, milliseconds ago.
    #[serde(rename = "millisAgo", serialize_with = "millis_ago")]
    pub at: Instant,
    /// The connection it came by. The same number is the same connection.
    pub connection: u64,
    /// The address at the other end of the connection.
    #[serde(skip)]
    pub peer: IpAddr,
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub target: String,
    /// Whether it had an Authorization header; the header itself is not kept.
    pub authorization: bool,
    /// Its User-Agent.
    pub user_agent: Option<String>,
    /// Its body, byte for byte; in JSON, as the document that it is, else as text.
    #[serde(serialize_with = "document_or_text", skip_serializing_if = "Bytes::is_empty")]
    pub body: Bytes,
}

impl RequestRecord {
    /// The target without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The query of the target, as it was sent; empty without one.
    #[must_use]
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The body as a JSON document, if it is one.
    #[must_use]
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

fn document_or_text<S: Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serde_json::from_slice(body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
        .serialize(serializer)
}

fn millis_ago<S: Serializer>(at: &Instant, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// Everything that was asked since the start, or since the record was cleared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// The requests, oldest first; the latest ten thousand, or fewer if their bodies exceed 64 MiB.
    pub requests: VecDeque<RequestRecord>,
    /// How long the bodies of these requests are.
    #[serde(skip)]
    body_bytes: usize,
    /// How many connections were accepted, whether or not a request came by them.
    pub connections: u64,
    /// How many requests are being answered now.
    pub in_flight: usize,
    /// The most requests that were being answered at once.
    pub max_in_flight: usize,
}

impl Traffic {
    /// Adds a record. The oldest ones give way to it.
    fn keep(&mut self, record: RequestRecord) {
        self.body_bytes += record.body.len();
        self.requests.push_back(record);
        while self.requests.len() > KEPT || self.body_bytes > KEPT_BODIES {
            let Some(oldest) = self.requests.pop_front() else {
                break;
            };
            self.body_bytes -= oldest.body.len();
        }
    }
}

/// A wait that ended without what was waited for.
#[derive(Debug, Clone)]
pub struct Unmet {
    /// What had been asked by then.
    pub traffic: Traffic,
    /// How long the wait was.
    pub waited: Duration,
}

impl fmt::Display for Unmet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Traffic {
            requests,
            connections,
            in_flight,
            ..
        } = &self.traffic;
        write!(
            formatter,
            "not in {:?}; seen so far: {} requests by {connections} connections, {in_flight} in flight:",
            self.waited,
            requests.len()
        )?;
        requests
            .iter()
            .try_for_each(|request| write!(formatter, " {} {}", request.method, request.target))
    }
}

impl std::error::Error for Unmet {}

/// The record of one front.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    traffic: watch::Sender<Traffic>,
    /// Numbers that were given out. They go on when the record is cleared, so that they stay unique.
    numbers: Mutex<Numbers>,
    /// Kept when the record is cleared.
    forbidden: Forbidden,
}

#[derive(Debug, Default)]
struct Numbers {
    connections: u64,
    requests: u64,
}

impl Ledger {
    pub(crate) fn traffic(&self) -> Traffic {
        self.traffic.borrow().clone()
    }

    /// The requests that must never be sent, if there were any since the start.
    pub(crate) fn forbidden(&self) -> Option<String> {
        self.forbidden.report()
    }

    /// Forgets what was; what is in flight stays in flight.
    pub(crate) fn clear(&self) {
        self.traffic.send_modify(|traffic| {
            let in_flight = traffic.in_flight;
            *traffic = Traffic {
                in_flight,
                max_in_flight: in_flight,
                ..Traffic::default()
            };
        });
    }

    /// Notes a connection and gives it a number.
    pub(crate) fn connected(&self) -> u64 {
        self.traffic.send_modify(|traffic| traffic.connections += 1);
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.connections += 1;
        numbers.connections
    }

    /// Notes a request; it is in flight for as long as what is returned lives.
    pub(crate) fn asked(
        self: &Arc<Self>,
        (connection, peer): (u64, IpAddr),
        request: &Request<Bytes>,
    ) -> InFlight {
        let header = |name| request.headers().get(name);
        let target = request
            .uri()
            .path_and_query()
            .map_or("", |target| target.as_str());
        let user_agent = header(header::USER_AGENT);
        let mut record = RequestRecord {
            sequence: 0,
            at: Instant::now(),
            connection,
            peer,
            method: request.method().to_string(),
            target: target.to_owned(),
            authorization: header(header::AUTHORIZATION).is_some(),
            user_agent: user_agent.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            body: request.body().clone(),
        };
        self.forbidden.look_at(&record);
        self.traffic.send_modify(|traffic| {
            // Numbered in here, where only one request is at a time: the order of the record is that of its
            // numbers.
            let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
            record.sequence = numbers.requests;
            numbers.requests += 1;
            traffic.keep(record);
            traffic.in_flight += 1;
            traffic.max_in_flight = traffic.max_in_flight.max(traffic.in_flight);
        });
        InFlight(Arc::clone(self))
    }

    /// Waits until the traffic is as wanted, but no longer than `limit`.
    pub(crate) async fn wait_until(
        &self,
        wanted: impl FnMut(&Traffic) -> bool + Send,
        limit: Duration,
    ) -> Result<Traffic, Unmet> {
        let mut subscription = self.traffic.subscribe();
        let met = time::timeout(limit, subscription.wait_for(wanted)).await;
        match met {
            Ok(Ok(traffic)) => Ok(traffic.clone()),
            // The sender lives as long as `self`, so the only failure is the time.
            Ok(Err(_)) | Err(_) => Err(Unmet {
                traffic: self.traffic(),
                waited: limit,
            }),
        }
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Ledger>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.traffic.send_modify(|traffic| traffic.in_flight -= 1);
    }
}

impl InFlight {
    /// Lets the request be in flight for as long as the body of its answer is.
    pub(crate) fn until_sent(self, body: Body) -> Body {
        Body::new(Tracked {
            body,
            _in_flight: self,
        })
    }
}

struct Tracked {
    body: Body,
    _in_flight: InFlight,
}

impl hyper::body::Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
