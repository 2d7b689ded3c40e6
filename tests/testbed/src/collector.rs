//! An OpenTelemetry collector that only collects.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use tokio::{net::TcpListener, task::JoinHandle};

/// Takes what is sent to `/v1/traces`, until it is dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    batches: Batches,
    server: JoinHandle<()>,
}

type Batches = Arc<Mutex<Vec<Bytes>>>;

impl Collector {
    /// A collector on a port of loopback that is free.
    pub async fn start() -> std::io::Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// A collector at this address.
    pub async fn start_at(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let batches = Batches::default();
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(Arc::clone(&batches));
        let server = tokio::spawn(async move {
            // It ends with its owner; until then there is nothing that could end it.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            batches,
            server,
        })
    }

    /// What `--otlp-endpoint` takes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The bodies that arrived, each an `ExportTraceServiceRequest`.
    #[must_use]
    pub fn batches(&self) -> Vec<Bytes> {
        self.batches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(batches): State<Batches>, headers: HeaderMap, body: Bytes) -> StatusCode {
    // <https://opentelemetry.io/docs/specs/otlp/#otlphttp-request>
    if headers
        .get("content-type")
        .is_none_or(|kind| kind != "application/x-protobuf")
    {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    batches.lock().unwrap_or_else(PoisonError::into_inner).push(body);
    StatusCode::OK
}
