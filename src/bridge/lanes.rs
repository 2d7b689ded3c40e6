//! Lanes: one probe at a time to one host and port.
//!
//! A bridge is a single process with one small cache. However many connections name it, at most one probe of ours is
//! on its way to it. The others wait in its lane, first come, first served. Four rules hold:
//!
//! 1. **A probe answers the orders to which its answer is the answer.** Equal orders share one probe. An order that waits
//!    takes the answer of the probe before it if three things hold. Both have the same route. Both have the same keys, or
//!    no key was sent. Both have the same budget, or the answer came within either. So a silent bridge is asked once for
//!    all who give it the same time, and nobody gets the time-out of another budget.
//! 2. **A budget begins with the turn.** The time in the lane is not the bridge's.
//! 3. **Nobody waits for a turn longer than its own budget.** An order that got no turn by then leaves the lane. It is
//!    [`Postponed`], which says nothing about the bridge: the bridge was not asked. The connection keeps its verdict and
//!    comes again soon, with its key read anew. So a bridge that hangs collects neither passes nor old keys.
//! 4. **A probe that somebody asked for begins after that.** It shares no probe that had begun before.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::pending,
    panic::resume_unwind,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared},
};
use tokio::{
    sync::SetOnce,
    time::{Instant, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::{ProbeRequest, Prober, key::untried, route::Endpoint};
use crate::domain::connection::evidence::{Exchange, Reading};

/// A turn that comes this much after a budget is still in time: a probe that uses up an equal budget ends a moment after
/// it.
const HANDOVER: Duration = Duration::from_millis(250);

/// Asks bridges, one probe at a time to one host and port. Clones share the lanes.
#[derive(Clone)]
pub struct Lanes {
    prober: Arc<dyn Prober>,
    lanes: Arc<Mutex<HashMap<Endpoint, Lane>>>,
}

/// Other orders used the lane for as long as this one could wait. The bridge was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("probes of other connections took the bridge's whole time")]
pub struct Postponed;

/// The probes of one host and port in the order of their turns. The first has its turn.
type Lane = VecDeque<SharedProbe>;

/// A probe on its way, or waiting for its turn.
struct SharedProbe {
    order: ProbeRequest,
    turn: Arc<SetOnce<Turn>>,
    answer: WeakShared<Answering>,
}

/// Ends with the answer; with `None` where the probe panicked.
type Answering = BoxFuture<'static, Option<Exchange>>;

/// How the wait for a turn ended.
enum Turn {
    /// The lane is free.
    Begins,
    /// Another probe's answer is the answer.
    Answered(Exchange),
}

/// An answer, and what is needed to know whom it serves.
struct Answer<'a> {
    order: &'a ProbeRequest,
    exchange: &'a Exchange,
    took: Duration,
}

/// Takes a probe out of its lane when it ends, in whatever way, and gives the turn to the next.
struct Guard {
    lanes: Arc<Mutex<HashMap<Endpoint, Lane>>>,
    endpoint: Endpoint,
    turn: Arc<SetOnce<Turn>>,
}

// === impl Lanes ===

impl Lanes {
    /// Lanes in front of a prober.
    #[must_use]
    pub fn new(prober: impl Prober) -> Self {
        Self {
            prober: Arc::new(prober),
            lanes: Arc::default(),
        }
    }

    /// Asks the bridge when its lane is free, or shares the answer to an equal order.
    ///
    /// # Errors
    /// [`Postponed`] where the lane was not free for as long as the order's budget. The bridge was not asked.
    pub async fn probe(&self, order: ProbeRequest) -> Result<Exchange, Postponed> {
        let patience = Instant::now() + order.budget + HANDOVER;
        let (turn, answer) = self.join(&order);
        drop(order);
        let overdue = async {
            if timeout_at(patience, turn.wait()).await.is_ok() {
                pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            answer = answer => match answer {
                Some(exchange) => Ok(exchange),
                // A pass whose probe panics has panicked; the hook has reported it already.
                None => resume_unwind(Box::new("the probe panicked")),
            },
            () = overdue => Err(Postponed),
        }
    }

    /// Joins the probe of an equal order, or the end of the lane.
    fn join(&self, order: &ProbeRequest) -> (Arc<SetOnce<Turn>>, Shared<Answering>) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(order.route.endpoint()).or_default();
        let equal = lane
            .iter()
            .filter(|probe| probe.order == *order && !(order.requested && probe.turn.initialized()))
            .find_map(|probe| Some((Arc::clone(&probe.turn), probe.answer.upgrade()?)));
        if let Some(equal) = equal {
            return equal;
        }
        let turn = Arc::new(SetOnce::new());
        let guard = Guard {
            lanes: Arc::clone(&self.lanes),
            endpoint: order.route.endpoint(),
            turn: Arc::clone(&turn),
        };
        // A task of its own: a panic ends it for all who wait for it. It is stopped when nobody does any more.
        let task = tokio::spawn(full_probe(Arc::clone(&self.prober), order.clone(), guard).in_current_span());
        let answer = AbortOnDropHandle::new(task).map(Result::ok).boxed().shared();
        if let Some(weak) = answer.downgrade() {
            lane.push_back(SharedProbe {
                order: order.clone(),
                turn: Arc::clone(&turn),
                answer: weak,
            });
        }
        begin_first(lane);
        (turn, answer)
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The orders in the lanes hold keys.
        f.write_str("Lanes(..)")
    }
}

/// Waits for the turn, probes, and answers those whom the answer serves.
async fn full_probe(prober: Arc<dyn Prober>, order: ProbeRequest, guard: Guard) -> Exchange {
    if let Turn::Answered(exchange) = guard.turn.wait().await {
        return exchange.clone();
    }
    let begun = Instant::now();
    let exchange = prober.probe(order.clone()).await;
    guard.answer(&Answer {
        order: &order,
        exchange: &exchange,
        took: begun.elapsed(),
    });
    exchange
}

fn begin_first(lane: &Lane) {
    if let Some(first) = lane.front() {
        // It may have begun before.
        let _ = first.turn.set(Turn::Begins);
    }
}

// === impl Answer ===

impl Answer<'_> {
    /// What `other` would be answered, where that is sure.
    fn serve(&self, other: &ProbeRequest) -> Option<Exchange> {
        // Destructured in full: of a new field has to be said whether it makes a difference.
        let ProbeRequest {
            route,
            key,
            next_key,
            budget,
            requested,
        } = other;
        let Self {
            order,
            exchange,
            took,
        } = *self;
        let Exchange {
            ping: _,
            health,
            users,
            groups,
            next_key: _,
            retry_after: _,
            certificate: _,
        } = exchange;
        let used_no_key = *health == Reading::NotSent && *users == Reading::NotSent && groups.is_none();
        let is_in_time = *budget == order.budget || (took < *budget && took < order.budget);
        let serves = *route == order.route
            && is_in_time
            // It waits, so it was asked for while this probe was on its way.
            && !requested
            && (used_no_key || (*key == order.key && *next_key == order.next_key));
        serves.then(|| Exchange {
            next_key: if used_no_key {
                untried(next_key.as_ref())
            } else {
                exchange.next_key
            },
            ..exchange.clone()
        })
    }
}

// === impl Guard ===

impl Guard {
    /// Takes those whom the answer serves out of the lane.
    fn answer(&self, answer: &Answer<'_>) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get_mut(&self.endpoint) {
            lane.retain(|probe| {
                let waits = !probe.turn.initialized();
                let served = waits.then(|| answer.serve(&probe.order)).flatten();
                served.is_none_or(|exchange| probe.turn.set(Turn::Answered(exchange)).is_err())
            });
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lane) = lanes.get_mut(&self.endpoint) else {
            return;
        };
        lane.retain(|probe| !Arc::ptr_eq(&probe.turn, &self.turn));
        if lane.is_empty() {
            lanes.remove(&self.endpoint);
        } else {
            begin_first(lane);
        }
    }
}
