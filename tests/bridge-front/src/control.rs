//! The front by HTTP, for whoever has a shell and curl instead of a [`Front`].
//!
//! Guarantees: it listens on loopback only, since it has no authentication; it gives out no key; it is a port
//! of its own, so that nothing a client of the bridge sends can reach it.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::Response,
    routing::get,
};
use serde::Serialize;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    answer::{self, text},
    directory::Seed,
    front::Front,
    serve::Shared,
    state::Source,
};

const SEED_LIMIT: usize = 64 * 1024 * 1024;

/// A control port.
///
/// | Path | Methods |
/// |---|---|
/// | `/state` | GET; PATCH with a JSON merge patch |
/// | `/requests` | GET; DELETE |
/// | `/directory` | GET; PUT with a [`Seed`], after which the directory answers SCIM |
/// | `/directory/changes` | GET; DELETE |
///
/// It closes when it is dropped.
#[derive(Debug)]
pub struct Control {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Control {
    /// Opens a control port for a front.
    ///
    /// # Errors
    /// The address is not of loopback, or cannot be listened on.
    pub async fn start(front: &Front, address: SocketAddr) -> io::Result<Self> {
        if !address.ip().is_loopback() {
            let reason =
                format!("the control port has no authentication and {address} is not a loopback address");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/state", get(read_state).patch(change_state))
            .route("/requests", get(read_requests).delete(clear_requests))
            .route("/directory", get(read_directory).put(fill_directory))
            .route("/directory/changes", get(read_changes).delete(clear_changes))
            // A seed of many people is long.
            .layer(DefaultBodyLimit::max(SEED_LIMIT))
            .with_state(front.shared());
        let serving = tokio::spawn(async move {
            // It goes on for as long as there is a listener, whatever becomes of its connections.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, serving })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn read_state(State(shared): State<Arc<Shared>>) -> Response {
    document(&shared.state())
}

async fn change_state(State(shared): State<Arc<Shared>>, patch: Bytes) -> Response {
    let changed = serde_json::from_slice::<Value>(&patch)
        .and_then(|patch| shared.set(|state| state.merge(patch).map(|()| state.clone())));
    match changed {
        Ok(state) => document(&state),
        Err(error) => text(StatusCode::UNPROCESSABLE_ENTITY, format!("{error}\n")),
    }
}

async fn read_requests(State(shared): State<Arc<Shared>>) -> Response {
    document(&shared.ledger.traffic())
}

async fn clear_requests(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.ledger.clear();
    StatusCode::NO_CONTENT
}

async fn read_directory(State(shared): State<Arc<Shared>>) -> Response {
    document(&shared.directory.content())
}

async fn fill_directory(State(shared): State<Arc<Shared>>, seed: Bytes) -> Response {
    let filled = serde_json::from_slice::<Seed>(&seed)
        .map_err(|error| error.to_string())
        .and_then(|seed| shared.directory.seed(seed).map_err(|error| error.to_string()));
    match filled {
        Ok(()) => {
            shared.set(|state| state.source = Source::Directory);
            document(&shared.directory.content())
        }
        Err(error) => text(StatusCode::UNPROCESSABLE_ENTITY, format!("{error}\n")),
    }
}

async fn read_changes(State(shared): State<Arc<Shared>>) -> Response {
    document(&shared.directory.changes())
}

async fn clear_changes(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.directory.clear_changes();
    StatusCode::NO_CONTENT
}

/// For a person to read: one field a line.
fn document(content: &impl Serialize) -> Response {
    match serde_json::to_string_pretty(content) {
        Ok(body) => answer::answer(StatusCode::OK, answer::JSON, body + "\n"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}
