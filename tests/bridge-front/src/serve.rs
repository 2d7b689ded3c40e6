//! Connections: accepted, taken through TLS or through a fault, and served request by request.
//!
//! Guarantees: when serving ends, the port is closed first and then every connection; a reset is a TCP reset
//! and not an orderly end; nobody who goes away leaves a task behind.

use std::{
    error::Error as _,
    future, io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::{self, Body},
    http::Request,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::{ServerConfig, crypto::aws_lc_rs};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, sink},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinSet,
    time,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    authority::Identity,
    directory::Directory,
    fault::{ConnectionFault, Hangup},
    requests::Ledger,
    routes,
    state::State,
    upstream::Upstream,
};

/// After a failed accept, which out of file descriptors would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The body of a request is held in memory: it is recorded. A peer that sends more is hung up on.
const BODY_LIMIT: usize = 64 * 1024 * 1024;
/// What Go's server, and so the bridge, says to plain HTTP on its TLS port.
const PLAIN_ON_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// What the connections of a front have in common.
pub(crate) struct Shared {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) upstream: Option<Upstream>,
    pub(crate) directory: Directory,
    state: Mutex<State>,
    /// Without it the front speaks plain HTTP.
    tls: Mutex<Option<TlsAcceptor>>,
}

impl Shared {
    pub(crate) fn new(state: State, upstream: Option<Upstream>, tls: Option<TlsAcceptor>) -> Self {
        Self {
            ledger: Arc::default(),
            upstream,
            directory: Directory::default(),
            state: Mutex::new(state),
            tls: Mutex::new(tls),
        }
    }

    pub(crate) fn state(&self) -> State {
        self.set(|state| State::clone(state))
    }

    pub(crate) fn set<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tls(&self) -> Option<TlsAcceptor> {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn present(&self, acceptor: TlsAcceptor) {
        *self.tls.lock().unwrap_or_else(PoisonError::into_inner) = Some(acceptor);
    }
}

/// TLS as this identity, for HTTP/1.1 alone.
pub(crate) fn acceptor(identity: Identity) -> io::Result<TlsAcceptor> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key)
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until told to stop, or until nobody is left who could tell.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stop: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    let from = (shared.ledger.connected(), peer.ip());
                    connections.spawn(connection(Arc::clone(&shared), from, socket));
                }
                Err(_) => time::sleep(ACCEPT_PAUSE).await,
            },
            // Ended connections are let go of; how they ended is the peer's business.
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// `from` is the number of the connection, and its other end.
async fn connection(shared: Arc<Shared>, from: (u64, IpAddr), socket: TcpStream) {
    // Bytes that drip have to leave one by one. A socket that refuses is gone already, which shows below.
    let _ = socket.set_nodelay(true);
    let tls = match shared.set(|state| state.connection_fault) {
        None => shared.tls(),
        Some(ConnectionFault::Plaintext) => None,
        Some(ConnectionFault::Silent) => return linger(socket).await,
        Some(ConnectionFault::Close) => return,
        Some(ConnectionFault::Reset) => return reset(&socket),
    };
    let Some(tls) = tls else {
        return speak_http(shared, from, socket).await;
    };
    if is_plain_http(&socket).await {
        return answer_plain_http(socket).await;
    }
    // A failed handshake has told the peer why by an alert.
    if let Ok(stream) = tls.accept(socket).await {
        speak_http(shared, from, stream).await;
    }
}

/// A byte stream to a peer, and the socket below it.
trait Transport: AsyncRead + AsyncWrite + Unpin {
    fn socket(&self) -> &TcpStream;
}

impl Transport for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Transport for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

async fn speak_http(shared: Arc<Shared>, from: (u64, IpAddr), stream: impl Transport) {
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        // Pinned because hyper is polled by reference below.
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body::to_bytes(Body::new(body), BODY_LIMIT).await;
            let complete = body.is_ok();
            let request = Request::from_parts(parts, body.unwrap_or_default());
            let in_flight = shared.ledger.asked(from, &request);
            if !complete {
                return Err(Hangup::Close);
            }
            let response = routes::answer(&shared, request).await?;
            Ok::<_, Hangup>(response.map(|body| in_flight.until_sent(body)))
        })
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // hyper would shut the stream down in the orderly way, which a reset is not.
    let outcome = future::poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let mut stream = connection.into_parts().io.into_inner();
    match outcome {
        // A peer that is gone does not have to be told.
        Ok(()) => drop(stream.shutdown().await),
        Err(error) => {
            let hangup = error.source().and_then(|cause| cause.downcast_ref::<Hangup>());
            if hangup == Some(&Hangup::Reset) {
                reset(stream.socket());
            }
        }
    }
}

/// Makes the closing of this socket, which has to follow, a reset.
fn reset(socket: &TcpStream) {
    // A socket that refuses is gone already.
    let _ = socket.set_zero_linger();
}

/// Whether the peer speaks HTTP without TLS: a method is upper case letters, a TLS record begins with a
/// control character.
async fn is_plain_http(socket: &TcpStream) -> bool {
    let mut first = [0];
    let seen = socket.peek(&mut first).await;
    matches!(seen, Ok(1)) && first.first().is_some_and(u8::is_ascii_uppercase)
}

async fn answer_plain_http(mut socket: TcpStream) {
    if socket.write_all(PLAIN_ON_TLS).await.is_ok() && socket.shutdown().await.is_ok() {
        // A socket that is closed with bytes unread is reset, and the answer might be lost with it.
        linger(socket).await;
    }
}

/// Says nothing until the peer goes.
async fn linger(mut socket: TcpStream) {
    let _ = copy(&mut socket, &mut sink()).await;
}
