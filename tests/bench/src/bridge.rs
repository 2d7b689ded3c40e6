//! The stand-in for bridges: one process, a host for each loopback address, and answers that cost next to nothing.
//!
//! Whichever address of 127.0.0.0/8 a peer connects to is the host that it meets, with a certificate of its own. Keys
//! that begin with [`VALID`] are good at every host; what follows the last `-` is the number of the object that sends
//! the key, and each time that it asks is written down.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::{get, put},
};
use clap::Args;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SigningKey, SingleCertAndKey},
};
use serde::{Deserialize, Serialize};
use testbed::Failure;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::numbers::now_micros;

/// Keys that begin so are good.
pub(crate) const VALID: &str = "fake-key-";
/// Longest request that is read.
const LONGEST: usize = 16 * 1024;
/// A peer that is silent for so long is gone, or might as well be.
const SILENCE: Duration = Duration::from_mins(10);
/// As many hosts as one order may name.
const ORDER: usize = 8 * 1024 * 1024;

/// Where the stand-in listens.
#[derive(Clone, Debug, Args)]
pub(crate) struct BridgeArguments {
    /// Port of the bridges, on every loopback address
    #[arg(long)]
    pub(crate) port: u16,
    /// Port on 127.0.0.1 where it is told what to do
    #[arg(long)]
    pub(crate) control_port: u16,
}

/// What is wrong with a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// Nothing.
    #[default]
    None,
    /// It takes requests and answers none.
    Hang,
    /// It closes each connection at once.
    Refuse,
    /// It answers 500.
    Error,
    /// It knows no key.
    Unauthorized,
    /// It takes so many milliseconds for each answer.
    Slow(u32),
}

/// Hosts, and what is wrong with them from now on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) hosts: Vec<Ipv4Addr>,
    pub(crate) fault: Fault,
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) connections: u64,
    pub(crate) handshakes: u64,
    pub(crate) ping: u64,
    pub(crate) health: u64,
    pub(crate) users: u64,
    pub(crate) groups: u64,
    pub(crate) other: u64,
    pub(crate) refused_keys: u64,
    /// The most requests that one host had at a time.
    pub(crate) most_at_once: u32,
    /// Hosts that were ever connected to.
    pub(crate) hosts: usize,
}

impl Tally {
    /// Requests in all.
    pub(crate) fn requests(&self) -> u64 {
        self.ping + self.health + self.users + self.groups + self.other
    }
}

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    handshakes: AtomicU64,
    ping: AtomicU64,
    health: AtomicU64,
    users: AtomicU64,
    groups: AtomicU64,
    other: AtomicU64,
    refused_keys: AtomicU64,
    most_at_once: AtomicU32,
}

/// One of the bridges.
struct Host {
    tls: Arc<ServerConfig>,
    fault: Mutex<Fault>,
    in_flight: AtomicU32,
}

struct Bridges {
    authority: CertifiedIssuer<'static, KeyPair>,
    leaf: KeyPair,
    signer: Arc<dyn SigningKey>,
    hosts: Mutex<HashMap<Ipv4Addr, Arc<Host>>>,
    counters: Counters,
    /// Number of the object, and when it asked.
    asked: Mutex<Vec<(u32, u64)>>,
    answers: Answers,
}

/// Whole answers, made once.
struct Answers {
    ping: Vec<u8>,
    health: Vec<u8>,
    list: Vec<u8>,
    not_found: Vec<u8>,
    unauthorized: Vec<u8>,
    error: Vec<u8>,
}

/// What is read of a request.
struct Asked<'a> {
    path: &'a str,
    key: Option<&'a str>,
    closes: bool,
}

/// Serves until the process is ended.
pub(crate) async fn serve(arguments: &BridgeArguments) -> Result<(), Failure> {
    let bridges = Arc::new(Bridges::new()?);
    let control = TcpListener::bind((Ipv4Addr::LOCALHOST, arguments.control_port)).await?;
    // Every address of 127.0.0.0/8 at once; whoever comes from elsewhere is turned away.
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, arguments.port)).await?;
    let router = Router::new()
        .route("/authority", get(authority))
        .route("/tally", get(tally))
        .route("/asked", get(asked))
        .route("/faults", put(set_faults))
        .layer(DefaultBodyLimit::max(ORDER))
        .with_state(Arc::clone(&bridges));
    tokio::select! {
        ended = axum::serve(control, router) => Ok(ended?),
        () = accept(listener, bridges) => Ok(()),
    }
}

async fn accept(listener: TcpListener, bridges: Arc<Bridges>) {
    loop {
        // Out of descriptors, or a peer that has gone already: the next one is none of that.
        let Ok((stream, peer)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        if !peer.ip().is_loopback() {
            continue;
        }
        let bridges = Arc::clone(&bridges);
        tokio::spawn(async move {
            // How a connection ends is the peer's business: what it saw is in its verdict.
            let _ = bridges.converse(stream).await;
        });
    }
}

async fn authority(State(bridges): State<Arc<Bridges>>) -> String {
    bridges.authority.pem()
}

async fn tally(State(bridges): State<Arc<Bridges>>) -> Result<String, StatusCode> {
    let tally = bridges.counters.read(locked(&bridges.hosts).len());
    serde_json::to_string(&tally).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// Who asked, and when, since this was last read.
async fn asked(State(bridges): State<Arc<Bridges>>) -> String {
    let asked = std::mem::take(&mut *locked(&bridges.asked));
    let lines = asked.iter().map(|(number, when)| format!("{number} {when}\n"));
    lines.collect()
}

async fn set_faults(State(bridges): State<Arc<Bridges>>, body: String) -> Result<(), StatusCode> {
    let order: Order = serde_json::from_str(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    for address in order.hosts {
        let host = bridges
            .host(address)
            .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        *locked(&host.fault) = order.fault;
    }
    Ok(())
}

impl Counters {
    fn read(&self, hosts: usize) -> Tally {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Tally {
            connections: read(&self.connections),
            handshakes: read(&self.handshakes),
            ping: read(&self.ping),
            health: read(&self.health),
            users: read(&self.users),
            groups: read(&self.groups),
            other: read(&self.other),
            refused_keys: read(&self.refused_keys),
            most_at_once: self.most_at_once.load(Ordering::Relaxed),
            hosts,
        }
    }
}

impl Bridges {
    fn new() -> Result<Self, Failure> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "bench authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let leaf = KeyPair::generate()?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf.serialize_der()));
        Ok(Self {
            authority: CertifiedIssuer::self_signed(params, KeyPair::generate()?)?,
            signer: any_supported_type(&key)?,
            leaf,
            hosts: Mutex::default(),
            counters: Counters::default(),
            asked: Mutex::default(),
            answers: Answers::new(),
        })
    }

    /// The host at this address, made when it is first asked for.
    fn host(&self, address: Ipv4Addr) -> Result<Arc<Host>, Failure> {
        if let Some(host) = locked(&self.hosts).get(&address) {
            return Ok(Arc::clone(host));
        }
        let params = CertificateParams::new(vec![address.to_string()])?;
        let certificate = params.signed_by(&self.leaf, &self.authority)?;
        let certified = CertifiedKey::new(vec![certificate.der().clone()], Arc::clone(&self.signer));
        let mut tls = ServerConfig::builder()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        // The operator resumes no session: none is offered, and none is kept.
        tls.send_tls13_tickets = 0;
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        let host = Arc::new(Host {
            tls: Arc::new(tls),
            fault: Mutex::default(),
            in_flight: AtomicU32::new(0),
        });
        Ok(Arc::clone(locked(&self.hosts).entry(address).or_insert(host)))
    }

    /// Answers one peer until it goes.
    async fn converse(&self, stream: TcpStream) -> Result<(), Failure> {
        self.counters.connections.fetch_add(1, Ordering::Relaxed);
        let SocketAddr::V4(local) = stream.local_addr()? else {
            return Ok(());
        };
        let host = self.host(*local.ip())?;
        if *locked(&host.fault) == Fault::Refuse {
            return Ok(());
        }
        stream.set_nodelay(true)?;
        let acceptor = TlsAcceptor::from(Arc::clone(&host.tls));
        let mut stream = acceptor.accept(stream).await?;
        self.counters.handshakes.fetch_add(1, Ordering::Relaxed);
        let mut unread: Vec<u8> = Vec::with_capacity(1024);
        loop {
            let end = unread.windows(4).position(|window| window == b"\r\n\r\n");
            let Some(end) = end else {
                let read = timeout(SILENCE, stream.read_buf(&mut unread)).await??;
                if read == 0 || unread.len() > LONGEST {
                    return Ok(());
                }
                continue;
            };
            let head = String::from_utf8(unread.drain(..end + 4).collect())?;
            let asked = Asked::read(&head);
            let closes = asked.closes;
            let at_once = host.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
            self.counters.most_at_once.fetch_max(at_once, Ordering::Relaxed);
            let answered = self.answer(&host, &asked, &mut stream).await;
            host.in_flight.fetch_sub(1, Ordering::Relaxed);
            if !answered? || closes {
                stream.shutdown().await?;
                return Ok(());
            }
        }
    }

    /// Answers one request. `false` where the connection is of no more use.
    async fn answer(
        &self,
        host: &Host,
        asked: &Asked<'_>,
        stream: &mut TlsStream<TcpStream>,
    ) -> Result<bool, Failure> {
        let (counter, answer, needs_key) = match asked.path.split('?').next().unwrap_or_default() {
            "/ping" => (&self.counters.ping, &self.answers.ping, false),
            "/health" => (&self.counters.health, &self.answers.health, true),
            "/scim/Users" => (&self.counters.users, &self.answers.list, true),
            "/scim/Groups" => (&self.counters.groups, &self.answers.list, true),
            _ => (&self.counters.other, &self.answers.not_found, false),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if asked.path == "/health"
            && let Some(number) = asked.key.and_then(number_of)
        {
            locked(&self.asked).push((number, now_micros()));
        }
        let fault = *locked(&host.fault);
        match fault {
            Fault::Hang => {
                // Until the peer has had enough.
                let mut ignored = [0_u8; 64];
                while timeout(SILENCE, stream.read(&mut ignored)).await?? > 0 {}
                return Ok(false);
            }
            Fault::Refuse => return Ok(false),
            Fault::Slow(millis) => sleep(Duration::from_millis(millis.into())).await,
            Fault::None | Fault::Error | Fault::Unauthorized => {}
        }
        let is_known = fault != Fault::Unauthorized && asked.key.is_some_and(|key| key.starts_with(VALID));
        let answer = if needs_key && !is_known {
            self.counters.refused_keys.fetch_add(1, Ordering::Relaxed);
            &self.answers.unauthorized
        } else if fault == Fault::Error {
            &self.answers.error
        } else {
            answer
        };
        stream.write_all(answer).await?;
        stream.flush().await?;
        Ok(true)
    }
}

impl Answers {
    fn new() -> Self {
        let answer = |status: &str, kind: &str, body: &str| {
            let length = body.len();
            format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
                .into_bytes()
        };
        let health = r#"{"build":"209163","version":"2.9.16","reports":[{"source":"ConfirmationWatcher","state":"healthy"},{"source":"RedisCache","state":"healthy"},{"source":"SCIMServer","state":"healthy"}]}"#;
        let list = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":128,"startIndex":1,"itemsPerPage":1,"Resources":[{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"U1","userName":"a@example.com","active":true,"meta":{"resourceType":"User"}}]}"#;
        let (json, scim) = ("application/json", "application/scim+json");
        Self {
            ping: answer("200 OK", "text/plain", "pong"),
            health: answer("200 OK", json, health),
            list: answer("200 OK", scim, list),
            not_found: answer("404 Not Found", json, "{}"),
            unauthorized: answer("401 Unauthorized", json, "{}"),
            error: answer("500 Internal Server Error", json, "{}"),
        }
    }
}

impl<'a> Asked<'a> {
    fn read(head: &'a str) -> Self {
        let mut lines = head.split("\r\n");
        let path = lines.next().and_then(|line| line.split(' ').nth(1));
        let mut asked = Self {
            path: path.unwrap_or_default(),
            key: None,
            closes: false,
        };
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            if name.eq_ignore_ascii_case("authorization") {
                asked.key = value.strip_prefix("Bearer ");
            } else if name.eq_ignore_ascii_case("connection") {
                asked.closes = value.eq_ignore_ascii_case("close");
            }
        }
        asked
    }
}

/// The number of the object whose key this is.
fn number_of(key: &str) -> Option<u32> {
    key.rsplit_once('-')?.1.parse().ok()
}

/// The host of an object that has one of its own.
pub(crate) fn address_of(number: usize) -> Ipv4Addr {
    let part = |value: usize| u8::try_from(value).unwrap_or(u8::MAX);
    // The first of all is the API server's own.
    Ipv4Addr::new(
        127,
        part(1 + number / 62_500),
        part(number / 250 % 250),
        part(1 + number % 250),
    )
}

/// The same as one of the addresses of the stand-in.
pub(crate) fn socket_of(number: usize, port: u16) -> SocketAddr {
    (IpAddr::V4(address_of(number)), port).into()
}

/// Each use is one step; who panicked within one left nothing half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_has_an_address_of_its_own() {
        let addresses: std::collections::HashSet<Ipv4Addr> = (0..60_000).map(address_of).collect();
        assert_eq!(addresses.len(), 60_000);
        assert!(!addresses.contains(&Ipv4Addr::LOCALHOST));
        assert!(addresses.iter().all(Ipv4Addr::is_loopback));
    }

    #[test]
    fn requests_are_read() {
        let asked = Asked::read(
            "GET /health HTTP/1.1\r\nhost: x\r\nAuthorization: Bearer fake-key-3-00042\r\nconnection: close\r\n\r\n",
        );
        assert_eq!((asked.path, asked.closes), ("/health", true));
        assert_eq!(asked.key.and_then(number_of), Some(42));
        assert_eq!(number_of("fake-revoked-00007"), Some(7));
    }
}
