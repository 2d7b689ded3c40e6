//! A SCIM server that answers when the test lets it: what a slow bridge is, without a clock.

use axum::{
    Router,
    body::Body,
    http::header,
    response::{IntoResponse as _, Response},
};
use bridge_front::{Front, Upstream};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::{Bed, DEADLINE};

const LIST: &str = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":1,"Resources":[{"id":"1"}]}"#;

/// The SCIM server. Closed until it is opened.
pub struct Gate {
    is_open: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Gate {
    /// A gate, and the bridge before it.
    pub async fn new(bed: &Bed<'_>) -> (Self, Front) {
        let (is_open, state) = watch::channel(false);
        let router = Router::new().fallback(async move || {
            // Only fails when the test has ended.
            let _ = state.clone().wait_for(|is_open| *is_open).await;
            list()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream: Upstream = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let serving = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        let bridge = bed.bridge().upstream(upstream).start().await.unwrap();
        (Self { is_open, serving }, bridge)
    }

    /// Waits until a probe stands before the gate. `/ping` and `/health` were answered by then.
    pub async fn reached(&self, bridge: &Front) {
        let standing = bridge.wait_until(
            |traffic| {
                let mut requests = traffic.requests.iter();
                requests.any(|request| request.path() == "/scim/Users")
            },
            DEADLINE,
        );
        standing.await.unwrap_or_else(|unmet| panic!("{unmet}"));
    }

    /// Holds everything back from now on.
    pub fn close(&self) {
        self.is_open.send_replace(false);
    }

    /// Lets everything through from now on.
    pub fn open(&self) {
        self.is_open.send_replace(true);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn list() -> Response {
    (
        [(header::CONTENT_TYPE, "application/scim+json")],
        Body::from(LIST),
    )
        .into_response()
}
