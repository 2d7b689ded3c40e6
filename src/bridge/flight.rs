//! One probe per bridge at a time.
//!
//! A bridge is a single process with one small cache. However many connections name it, at most one probe of ours is
//! on its way to it; connections with the same address, key and trust share that probe's answer.

use std::{
    collections::HashMap,
    panic::resume_unwind,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use tracing::Instrument as _;

use super::{ProbeOrder, Prober, key::ApiKey, trust::Trust};
use crate::domain::{
    evidence::{Exchange, Obstacle},
    target::Origin,
};

/// Wraps a prober.
#[derive(Debug)]
pub struct OnePerOrigin<P> {
    inner: Arc<P>,
    flights: Arc<Mutex<HashMap<Origin, Flight>>>,
}

/// A probe on its way.
#[derive(Clone, Debug)]
struct Flight {
    key: ApiKey,
    next_key: Option<Result<ApiKey, Obstacle>>,
    trust: Trust,
    server_name: Option<String>,
    /// `None` where the probe panicked.
    answer: Shared<BoxFuture<'static, Option<Exchange>>>,
}

/// Takes a flight off the board when it ends, in whatever way.
struct Landing {
    origin: Origin,
    flights: Arc<Mutex<HashMap<Origin, Flight>>>,
}

// === impl OnePerOrigin ===

impl<P: Prober> OnePerOrigin<P> {
    /// Wraps `inner`.
    #[must_use]
    pub fn new(inner: P) -> Self {
        Self {
            inner: Arc::new(inner),
            flights: Arc::default(),
        }
    }

    /// Joins the flight to this origin, or begins one.
    fn board(&self, order: &ProbeOrder) -> Flight {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&order.target.origin) {
            return flight.clone();
        }
        let (inner, own) = (Arc::clone(&self.inner), order.clone());
        let landing = Landing {
            origin: order.target.origin.clone(),
            flights: Arc::clone(&self.flights),
        };
        let flight = Flight {
            key: order.key.clone(),
            next_key: order.next_key.clone(),
            trust: order.trust.clone(),
            server_name: order.target.server_name.clone(),
            // A task of its own: it ends though all who wait for it have gone, and a panic ends it for all of them.
            answer: tokio::spawn(
                async move {
                    let _landing = landing;
                    inner.probe(own).await
                }
                .in_current_span(),
            )
            .map(Result::ok)
            .boxed()
            .shared(),
        };
        flights.insert(order.target.origin.clone(), flight.clone());
        flight
    }
}

impl<P: Prober> Prober for OnePerOrigin<P> {
    fn probe(&self, order: ProbeOrder) -> BoxFuture<'_, Exchange> {
        async move {
            loop {
                let flight = self.board(&order);
                let serves = flight.serves(&order);
                let answer = flight.answer.await;
                match answer {
                    Some(exchange) if serves => return exchange,
                    // A pass whose probe panics has panicked; the hook has told of it already.
                    None if serves => resume_unwind(Box::new("the probe panicked")),
                    Some(_) | None => {}
                }
            }
        }
        .boxed()
    }
}

// === impl Flight ===

impl Flight {
    /// Whether its answer is the answer to `order` too.
    fn serves(&self, order: &ProbeOrder) -> bool {
        self.key.is_same_as(&order.key)
            && self.trust == order.trust
            && self.server_name == order.target.server_name
            && match (&self.next_key, &order.next_key) {
                (None, None) => true,
                (Some(Err(a)), Some(Err(b))) => a == b,
                (Some(Ok(a)), Some(Ok(b))) => a.is_same_as(b),
                _ => false,
            }
    }
}

// === impl Landing ===

impl Drop for Landing {
    fn drop(&mut self) {
        self.flights
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.origin);
    }
}
