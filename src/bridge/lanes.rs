//! Lanes: the operator runs one probe at a time against one host and port.
//!
//! A bridge is a single process with one small cache. Many connections may name it, but at most one probe runs against
//! it. The other requests wait in its lane, first come, first served. Four rules hold:
//!
//! 1. **One probe may answer several requests.** Equal requests share one probe. A waiting request takes the result of
//!    the probe before it if three things hold. Both have the same route. Both have the same keys, or no key was sent.
//!    Both have the same budget, or the probe took less than either. So a silent bridge is probed once for all requests
//!    with the same budget. No request gets the time-out of another budget.
//! 2. **A budget begins with the turn.** The time in the lane does not count against the bridge.
//! 3. **No request waits for its turn longer than its budget.** A request without a turn by then leaves the
//!    lane as [`Postponed`]. That says nothing about the bridge, which was not contacted. The connection keeps its
//!    verdict. It reconciles again soon, and reads its key again. So a bridge that hangs collects neither waiting
//!    reconciles nor old keys.
//! 4. **A probe that a user requests begins after the request.** It shares no probe that began earlier.
//!
//! Other requests take turns in the same lanes, one request for each turn. So a probe waits for one of them at most, and
//! never for all pages of a list.

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

use super::{
    ProbeRequest, Prober,
    key::untried,
    route::{Endpoint, Route},
};
use crate::domain::connection::evidence::{Exchange, Reading};

/// A request waits this much longer than its budget. The probe before it may use up an equal budget, and then ends
/// slightly later than that.
const HANDOVER: Duration = Duration::from_millis(250);

/// Probes bridges, one probe at a time for each host and port. Clones share the lanes.
#[derive(Clone)]
pub struct Lanes {
    prober: Arc<dyn Prober>,
    lanes: Arc<Mutex<HashMap<Endpoint, Lane>>>,
}

/// Other requests occupied the lane for as long as this one could wait. The bridge was not contacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bridge was busy with probes of other connections for the whole timeout")]
pub struct Postponed;

/// Who waits for one host and port, in the order of their turns. Only the first one has its turn.
type Lane = VecDeque<Place>;

/// A place in a lane: of a probe, or of another request.
struct Place {
    turn: Arc<SetOnce<Turn>>,
    probe: Option<SharedProbe>,
}

/// A probe that runs, or waits for its turn.
struct SharedProbe {
    request: ProbeRequest,
    exchange: WeakShared<ExchangeFuture>,
}

/// The turn of one request that is no probe. The next in the lane goes on when it is dropped.
pub(crate) struct HeldTurn(#[expect(dead_code, reason = "only its end matters")] LaneGuard);

/// `None` if the probe panicked.
type ExchangeFuture = BoxFuture<'static, Option<Exchange>>;

/// How the wait for a turn ended.
enum Turn {
    /// The lane is free.
    Begins,
    /// The result of another probe also holds for this request.
    Answered(Exchange),
}

/// A finished probe: its result, and what decides for which other requests that holds.
struct FinishedProbe<'a> {
    request: &'a ProbeRequest,
    exchange: &'a Exchange,
    took: Duration,
}

/// Removes a place from its lane, and gives the turn to the next. `Drop` does it, so that it also happens if the probe
/// panics or is cancelled.
struct LaneGuard {
    lanes: Arc<Mutex<HashMap<Endpoint, Lane>>>,
    endpoint: Endpoint,
    turn: Arc<SetOnce<Turn>>,
}

// === impl Lanes ===

impl Lanes {
    /// Lanes for this prober.
    #[must_use]
    pub fn new(prober: impl Prober) -> Self {
        Self {
            prober: Arc::new(prober),
            lanes: Arc::default(),
        }
    }

    /// Probes the bridge when its lane is free, or shares the probe of an equal request.
    ///
    /// # Errors
    /// [`Postponed`] if the lane was not free within the budget of the request. The bridge was not contacted.
    pub async fn probe(&self, request: ProbeRequest) -> Result<Exchange, Postponed> {
        let deadline = Instant::now() + request.budget + HANDOVER;
        let (turn, exchange) = self.join(&request);
        drop(request);
        let without_a_turn = async {
            if timeout_at(deadline, turn.wait()).await.is_ok() {
                pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            exchange = exchange => match exchange {
                Some(exchange) => Ok(exchange),
                // The panic hook has already reported this panic. It goes on here, so that the reconcile fails too.
                None => resume_unwind(Box::new("the probe panicked")),
            },
            () = without_a_turn => Err(Postponed),
        }
    }

    /// Waits until the lane is free for one request that is no probe.
    ///
    /// # Errors
    /// [`Postponed`] if the lane was not free by the deadline.
    pub(crate) async fn turn(&self, route: &Route, deadline: Instant) -> Result<HeldTurn, Postponed> {
        let endpoint = route.endpoint();
        let turn = Arc::new(SetOnce::new());
        let guard = LaneGuard {
            lanes: Arc::clone(&self.lanes),
            endpoint: endpoint.clone(),
            turn: Arc::clone(&turn),
        };
        {
            let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            let lane = lanes.entry(endpoint).or_default();
            lane.push_back(Place {
                turn: Arc::clone(&turn),
                probe: None,
            });
            begin_first(lane);
        }
        timeout_at(deadline, turn.wait()).await.map_err(|_| Postponed)?;
        Ok(HeldTurn(guard))
    }

    /// Joins the probe of an equal request, or the end of the lane.
    fn join(&self, request: &ProbeRequest) -> (Arc<SetOnce<Turn>>, Shared<ExchangeFuture>) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(request.route.endpoint()).or_default();
        let equal = lane
            .iter()
            .filter(|place| !(request.requested && place.turn.initialized()))
            .filter_map(|place| Some((&place.turn, place.probe.as_ref()?)))
            .filter(|(_, probe)| probe.request == *request)
            .find_map(|(turn, probe)| Some((Arc::clone(turn), probe.exchange.upgrade()?)));
        if let Some(equal) = equal {
            return equal;
        }
        let turn = Arc::new(SetOnce::new());
        let guard = LaneGuard {
            lanes: Arc::clone(&self.lanes),
            endpoint: request.route.endpoint(),
            turn: Arc::clone(&turn),
        };
        // The probe has its own task, so that a panic reaches every request that waits for it. The task ends when no
        // request waits any more.
        let task =
            tokio::spawn(run_probe(Arc::clone(&self.prober), request.clone(), guard).in_current_span());
        let exchange = AbortOnDropHandle::new(task).map(Result::ok).boxed().shared();
        if let Some(weak) = exchange.downgrade() {
            lane.push_back(Place {
                turn: Arc::clone(&turn),
                probe: Some(SharedProbe {
                    request: request.clone(),
                    exchange: weak,
                }),
            });
        }
        begin_first(lane);
        (turn, exchange)
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The requests in the lanes contain keys.
        f.write_str("Lanes(..)")
    }
}

/// Waits for the turn, probes, and answers the waiting requests for which the result also holds.
async fn run_probe(prober: Arc<dyn Prober>, request: ProbeRequest, guard: LaneGuard) -> Exchange {
    if let Turn::Answered(exchange) = guard.turn.wait().await {
        return exchange.clone();
    }
    let begun = Instant::now();
    let exchange = prober.probe(request.clone()).await;
    guard.answer_waiting(&FinishedProbe {
        request: &request,
        exchange: &exchange,
        took: begun.elapsed(),
    });
    exchange
}

fn begin_first(lane: &Lane) {
    if let Some(first) = lane.front() {
        // This fails if the probe has already begun.
        let _ = first.turn.set(Turn::Begins);
    }
}

// === impl FinishedProbe ===

impl FinishedProbe<'_> {
    /// The result that a probe for `other` would have. `None` if it could differ.
    fn result_for(&self, other: &ProbeRequest) -> Option<Exchange> {
        // Every field is listed. For a new field, decide whether it can change the result.
        let ProbeRequest {
            route,
            key,
            next_key,
            budget,
            requested,
        } = other;
        let Self {
            request,
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
        let is_in_time = *budget == request.budget || (took < *budget && took < request.budget);
        let holds = *route == request.route
            && is_in_time
            // This probe may have begun before the user requested `other`.
            && !requested
            && (used_no_key || (*key == request.key && *next_key == request.next_key));
        holds.then(|| Exchange {
            next_key: if used_no_key {
                untried(next_key.as_ref())
            } else {
                exchange.next_key
            },
            ..exchange.clone()
        })
    }
}

// === impl LaneGuard ===

impl LaneGuard {
    /// Answers the waiting requests for which this result also holds, and takes them out of the lane.
    fn answer_waiting(&self, finished: &FinishedProbe<'_>) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get_mut(&self.endpoint) {
            lane.retain(|place| {
                let waiting = place.probe.as_ref().filter(|_| !place.turn.initialized());
                let result = waiting.and_then(|probe| finished.result_for(&probe.request));
                result.is_none_or(|exchange| place.turn.set(Turn::Answered(exchange)).is_err())
            });
        }
    }
}

impl Drop for LaneGuard {
    fn drop(&mut self) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lane) = lanes.get_mut(&self.endpoint) else {
            return;
        };
        lane.retain(|place| !Arc::ptr_eq(&place.turn, &self.turn));
        if lane.is_empty() {
            lanes.remove(&self.endpoint);
        } else {
            begin_first(lane);
        }
    }
}
