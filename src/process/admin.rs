//! The admin server: `/livez`, `/readyz`, `/metrics`.
//!
//! Ready is a replica that has read everything once, or that stands by for the leader. Alive is one whose controller
//! has gone round its loop lately; before it first has, the replica is alive while it answers.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::{net::TcpListener, sync::watch};

use crate::{controller::Readiness, metrics::Metrics};

/// What health is told from.
#[derive(Clone, Debug)]
pub(super) struct Health {
    pub(super) synced: watch::Receiver<Readiness>,
    pub(super) standby: watch::Receiver<bool>,
}

/// A loop that has not gone round for this long does not work any more; it does every few seconds.
const STUCK_AFTER: Duration = Duration::from_mins(1);

/// The media type of the OpenMetrics text format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until the process ends.
pub(super) async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Arc<Metrics>,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(alive).with_state(health.clone()))
        .route("/readyz", get(ready).with_state(health))
        .route("/metrics", get(export).with_state(metrics));
    axum::serve(listener, router).await
}

async fn alive(State(health): State<Health>) -> impl IntoResponse {
    match *health.synced.borrow() {
        Readiness::Synced { beat } if beat.elapsed() > STUCK_AFTER => {
            (StatusCode::SERVICE_UNAVAILABLE, "stuck\n")
        }
        Readiness::Synced { .. } | Readiness::Starting => (StatusCode::OK, "ok\n"),
    }
}

async fn ready(State(health): State<Health>) -> impl IntoResponse {
    let Health { synced, standby } = health;
    if *standby.borrow() {
        (StatusCode::OK, "standing by\n")
    } else if matches!(*synced.borrow(), Readiness::Synced { .. }) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "reading\n")
    }
}

async fn export(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.encode())
}
