//! The admin server: `/livez`, `/readyz`, `/metrics`; and `/log-level`, for those who are in the Pod already.
//!
//! Ready is a replica whose cluster lacks nothing, and that has read everything once or stands by for the leader. Alive is one whose controller
//! has gone round its loop lately; before it first has, the replica is alive while it answers.

use std::{convert::Infallible, fmt, mem, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::{get, put},
};
use futures::stream::poll_fn;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::spawn_blocking,
};
use tracing::info;

use super::{needs::Finding, telemetry::LogLevel};
use crate::{controller::Readiness, metrics::Metrics};

/// What health is told from.
#[derive(Clone, Debug)]
pub(super) struct Health {
    pub(super) findings: watch::Receiver<Option<Vec<Finding>>>,
    pub(super) synced: watch::Receiver<Readiness>,
    pub(super) standby: watch::Receiver<bool>,
}

/// A loop that has not gone round for this long does not work any more; it does every few seconds.
const STUCK_AFTER: Duration = Duration::from_mins(1);

/// The media type of the OpenMetrics text format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Metrics are sent in pieces of about this many bytes.
const CHUNK: usize = 32 * 1024;

/// The longest list of directives.
const MAX_LEVEL: usize = 4 * 1024;

/// Serves until the process ends.
pub(super) async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Arc<Metrics>,
    log_level: LogLevel,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(alive).with_state(health.clone()))
        .route("/readyz", get(ready).with_state(health))
        .route("/metrics", get(export).with_state(metrics))
        .route(
            "/log-level",
            put(set_log_level)
                .with_state(log_level)
                .layer(DefaultBodyLimit::max(MAX_LEVEL)),
        );
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).await
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
    let Health {
        findings,
        synced,
        standby,
    } = health;
    let not_ready = |why: String| (StatusCode::SERVICE_UNAVAILABLE, why);
    match findings.borrow().as_deref() {
        None => return not_ready("examining the cluster\n".to_owned()),
        Some([]) => {}
        Some(findings) => {
            let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
            return not_ready(lines.join("\n") + "\n");
        }
    }
    if *standby.borrow() {
        (StatusCode::OK, "standing by\n".to_owned())
    } else if matches!(*synced.borrow(), Readiness::Synced { .. }) {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        not_ready("reading\n".to_owned())
    }
}

/// Changes what is logged, for who comes by way of loopback: `kubectl port-forward` does, and other Pods do not.
async fn set_log_level(
    State(log_level): State<LogLevel>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    level: String,
) -> impl IntoResponse {
    if !peer.ip().to_canonical().is_loopback() {
        return (StatusCode::FORBIDDEN, "only by kubectl port-forward\n");
    }
    match log_level.set(level.trim()) {
        Ok(()) => {
            info!("the log level was changed");
            (StatusCode::OK, "ok\n")
        }
        Err(_) => (
            StatusCode::BAD_REQUEST,
            "neither a level nor a list of directives\n",
        ),
    }
}

/// Thousands of connections make megabytes of text: it is sent as it is made.
async fn export(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    let (out, mut chunks) = mpsc::channel(2);
    let encoding = spawn_blocking(move || {
        let mut chunks = Chunks {
            chunk: String::with_capacity(CHUNK),
            out,
        };
        // Whoever has hung up needs no rest.
        let _ = metrics.encode(&mut chunks).and_then(|()| chunks.flush());
    });
    drop(encoding);
    let body = Body::from_stream(poll_fn(move |context| {
        chunks
            .poll_recv(context)
            .map(|chunk| chunk.map(Ok::<_, Infallible>))
    }));
    ([(header::CONTENT_TYPE, OPEN_METRICS)], body)
}

/// Text that goes out in chunks.
struct Chunks {
    chunk: String,
    out: mpsc::Sender<String>,
}

impl Chunks {
    fn flush(&mut self) -> fmt::Result {
        let chunk = mem::replace(&mut self.chunk, String::with_capacity(CHUNK));
        self.out.blocking_send(chunk).map_err(|_| fmt::Error)
    }
}

impl fmt::Write for Chunks {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.chunk.push_str(text);
        if self.chunk.len() < CHUNK {
            Ok(())
        } else {
            self.flush()
        }
    }
}
