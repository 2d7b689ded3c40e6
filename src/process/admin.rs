//! The admin server: `/livez`, `/readyz`, `/metrics`.
//!
//! Ready is a replica that has read everything once, or that stands by for the leader. Alive is one that answers: the
//! controller and this server share the process, and end with it.

use std::sync::Arc;

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

/// The media type of the OpenMetrics text format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until the process ends.
pub(super) async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Arc<Metrics>,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready).with_state(health))
        .route("/metrics", get(export).with_state(metrics));
    axum::serve(listener, router).await
}

async fn ready(State(health): State<Health>) -> impl IntoResponse {
    let Health { synced, standby } = health;
    if *standby.borrow() {
        (StatusCode::OK, "standing by\n")
    } else if *synced.borrow() == Readiness::Synced {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "reading\n")
    }
}

async fn export(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.encode())
}
