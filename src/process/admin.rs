//! The admin server: `/livez`, `/readyz`, `/metrics`, and `/log-level` for requests from inside the Pod.
//!
//! A replica is ready when all requirements are met and it has read all lists. A standby replica needs no lists. A
//! replica is alive when its main loop has run lately. Before the lists are read, it is alive while it answers.

use std::{
    convert::Infallible,
    fmt, io, mem,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::{get, put},
};
use futures::stream::poll_fn;
use socket2::{Domain, Socket, Type};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::spawn_blocking,
};
use tracing::info;

use super::{requirements::Finding, telemetry::LogLevel};
use crate::{controller::Readiness, metrics::Metrics, settings::AdminAddress};

/// What readiness and liveness depend on.
#[derive(Clone, Debug)]
pub(super) struct AdminState {
    pub(super) findings: watch::Receiver<Option<Vec<Finding>>>,
    pub(super) synced: watch::Receiver<Readiness>,
    pub(super) standby: watch::Receiver<bool>,
}

/// The main loop is stuck if it has not run for this time. It runs every few seconds.
const STUCK_AFTER: Duration = Duration::from_mins(1);

/// The media type of the OpenMetrics text format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The size of a chunk of metrics, in bytes.
const CHUNK: usize = 32 * 1024;

/// The longest log level, in bytes.
const MAX_LEVEL: usize = 4 * 1024;

/// Maximum connections that wait to be accepted: the same as in tokio's own listeners.
const BACKLOG: i32 = 1024;

/// Listens on an address. Call it in a tokio runtime.
pub(super) fn listen(address: AdminAddress) -> io::Result<TcpListener> {
    TcpListener::from_std(listen_by(address, bind)?)
}

/// Every address means the IPv6 wildcard, which accepts IPv4 too. Without IPv6 it means the IPv4 wildcard.
fn listen_by<L>(address: AdminAddress, bind: impl Fn(SocketAddr) -> io::Result<L>) -> io::Result<L> {
    let port = match address {
        AdminAddress::One(address) => return bind(address),
        AdminAddress::Every(port) => port,
    };
    match bind((Ipv6Addr::UNSPECIFIED, port).into()) {
        // Kernels and sandboxes report missing IPv6 by many errors. Only these two are about the port.
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
            ) =>
        {
            bind((Ipv4Addr::UNSPECIFIED, port).into())
        }
        result => result,
    }
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        // The system's default differs.
        socket.set_only_v6(false)?;
    }
    // Otherwise connections of a process that has just ended may block the port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves until the process ends.
pub(super) async fn serve(
    listener: TcpListener,
    state: AdminState,
    metrics: Arc<Metrics>,
    log_level: LogLevel,
) -> io::Result<()> {
    let router = Router::new()
        .route("/livez", get(alive).with_state(state.clone()))
        .route("/readyz", get(ready).with_state(state))
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

async fn alive(State(state): State<AdminState>) -> impl IntoResponse {
    match *state.synced.borrow() {
        Readiness::Synced { beat } if beat.elapsed() > STUCK_AFTER => {
            (StatusCode::SERVICE_UNAVAILABLE, "the main loop is stuck\n")
        }
        Readiness::Synced { .. } | Readiness::Starting => (StatusCode::OK, "ok\n"),
    }
}

async fn ready(State(state): State<AdminState>) -> impl IntoResponse {
    let AdminState {
        findings,
        synced,
        standby,
    } = state;
    let not_ready = |why: String| (StatusCode::SERVICE_UNAVAILABLE, why);
    match findings.borrow().as_deref() {
        None => return not_ready("checking the requirements\n".to_owned()),
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
        not_ready("reading the lists\n".to_owned())
    }
}

/// Sets the log level. Only loopback may do so: `kubectl port-forward` comes from there, other Pods do not.
async fn set_log_level(
    State(log_level): State<LogLevel>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    level: String,
) -> impl IntoResponse {
    if !peer.ip().to_canonical().is_loopback() {
        return (
            StatusCode::FORBIDDEN,
            "only through kubectl port-forward\n".to_owned(),
        );
    }
    match log_level.set(level.trim()) {
        Ok(()) => {
            info!("log level changed");
            (StatusCode::OK, "ok\n".to_owned())
        }
        Err(why) => (StatusCode::BAD_REQUEST, format!("{why}\n")),
    }
}

/// Streams the metrics: for thousands of connections they are megabytes of text.
async fn export(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    let (out, mut chunks) = mpsc::channel(2);
    let encoding = spawn_blocking(move || {
        let mut chunks = Chunks {
            chunk: String::with_capacity(CHUNK),
            out,
        };
        // It fails only if the client has disconnected.
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

/// Sends text in chunks.
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

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, io::Write as _, net::TcpStream};

    use super::*;

    /// The addresses tried in turn, and the result, if binding IPv6 fails with `ipv6`.
    fn bound(address: &str, ipv6: Option<io::ErrorKind>) -> (Vec<String>, Result<String, io::ErrorKind>) {
        let tried = RefCell::new(Vec::new());
        let bind = |address: SocketAddr| {
            tried.borrow_mut().push(address.to_string());
            match ipv6.filter(|_| address.is_ipv6()) {
                Some(kind) => Err(io::Error::from(kind)),
                None => Ok(address.to_string()),
            }
        };
        let result = listen_by(address.parse().unwrap(), bind).map_err(|error| error.kind());
        (tried.into_inner(), result)
    }

    #[test]
    fn it_listens_on_ipv4_alone_if_there_is_no_ipv6() {
        use io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied, Unsupported};
        let (v6, v4) = ("[::]:8080", "0.0.0.0:8080");
        for (address, ipv6, tried, result) in [
            (":8080", None, &[v6][..], Ok(v6)),
            (v6, None, &[v6], Ok(v6)),
            (":8080", Some(Unsupported), &[v6, v4], Ok(v4)),
            (v6, Some(AddrNotAvailable), &[v6, v4], Ok(v4)),
            // The port is in use or not allowed. With IPv4 it would be the same.
            (":8080", Some(AddrInUse), &[v6], Err(AddrInUse)),
            (":80", Some(PermissionDenied), &["[::]:80"], Err(PermissionDenied)),
            // A given address has no alternative.
            (v4, Some(Unsupported), &[v4], Ok(v4)),
            (
                "[::1]:8080",
                Some(AddrNotAvailable),
                &["[::1]:8080"],
                Err(AddrNotAvailable),
            ),
        ] {
            let expected = (
                tried.iter().map(|tried| (*tried).to_owned()).collect(),
                result.map(str::to_owned),
            );
            assert_eq!(bound(address, ipv6), expected, "{address} {ipv6:?}");
        }
    }

    #[tokio::test]
    async fn every_address_accepts_ipv4_and_ipv6() {
        let listener = listen(AdminAddress::Every(0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut addresses = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))];
        // Binding ::1 shows whether this machine has IPv6.
        match std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
            Ok(_) => addresses.push((Ipv6Addr::LOCALHOST, port).into()),
            Err(error) => writeln!(
                io::stderr(),
                "IPv6 was not tested: this machine has no ::1 ({error})"
            )
            .unwrap(),
        }
        for address in addresses {
            let client = TcpStream::connect(address).unwrap();
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(
                peer.ip().to_canonical(),
                client.local_addr().unwrap().ip(),
                "{address}"
            );
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_an_error() {
        let taken = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = listen(AdminAddress::Every(port)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
