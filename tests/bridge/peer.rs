//! A peer that sends any bytes: what no HTTP library would let a front send.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::{CertifiedKey, SingleCertAndKey},
};
use testbed::read_head;

/// Gives each request, by its target, the bytes that answer it; an empty answer ends the connection.
type Script = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// A running peer. Its threads end with the process, and their connections with those of the client.
pub(crate) struct Peer {
    address: SocketAddr,
    tls: Option<Tls>,
    heard: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
struct Tls {
    config: Arc<ServerConfig>,
    ca_pem: String,
}

impl Peer {
    /// Speaks plain HTTP. The script gets path and query.
    pub(crate) fn start_asked(script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start_with(None, Arc::new(script))
    }

    /// Speaks plain HTTP.
    pub(crate) fn start(script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start_with(None, by_path(script))
    }

    /// Speaks TLS as `name`, with a certificate that ends at the beginning of 2099, by an authority of this name.
    pub(crate) fn start_tls(
        name: &str,
        authority: &str,
        script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Some(Tls::new(name, authority)), by_path(script))
    }

    /// Speaks TLS with this chain, whatever is in it, and its key.
    pub(crate) fn start_showing(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let key = provider.key_provider.load_private_key(key).unwrap();
        let shown = SingleCertAndKey::from(CertifiedKey::new(chain, key));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(shown));
        let tls = Tls {
            config: Arc::new(config),
            ca_pem: String::new(),
        };
        Self::start_with(Some(tls), by_path(script))
    }

    /// The same in plain HTTP or TLS, but the connection ends after an answer to `path`: over TLS without a `close_notify`.
    pub(crate) fn start_cut(
        path: &'static str,
        script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with_end(None, by_path(script), Some(path))
    }

    pub(crate) fn start_tls_cut(
        name: &str,
        authority: &str,
        path: &'static str,
        script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with_end(Some(Tls::new(name, authority)), by_path(script), Some(path))
    }

    fn start_with(tls: Option<Tls>, script: Script) -> Self {
        Self::start_with_end(tls, script, None)
    }

    fn start_with_end(tls: Option<Tls>, script: Script, last: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = Self {
            address: listener.local_addr().unwrap(),
            tls,
            heard: Arc::default(),
        };
        let (heard, config) = (
            Arc::clone(&peer.heard),
            peer.tls.as_ref().map(|tls| Arc::clone(&tls.config)),
        );
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (script, heard, config) = (Arc::clone(&script), Arc::clone(&heard), config.clone());
                thread::spawn(move || match config {
                    None => converse(socket, &script, &heard, None, last),
                    Some(config) => {
                        let mut session = ServerConnection::new(config).unwrap();
                        let mut socket = socket;
                        // A client that refuses the certificate shows below, by its absence.
                        let _ = session.complete_io(&mut socket);
                        let asked = session.server_name().map(str::to_owned);
                        converse(StreamOwned::new(session, socket), &script, &heard, asked, last);
                    }
                });
            }
        });
        peer
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// What a client has to trust; nothing for plain HTTP.
    pub(crate) fn ca_pem(&self) -> &str {
        self.tls.as_ref().map_or("", |tls| &tls.ca_pem)
    }

    /// The heads of the requests so far, each with the name that the handshake asked for in its first line.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Tls {
    fn new(name: &str, authority: &str) -> Self {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, authority);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
        let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        leaf.not_after = date_time_ymd(2099, 1, 2);
        let key = KeyPair::generate().unwrap();
        let certificate = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        Self {
            config: Arc::new(config),
            ca_pem,
        }
    }
}

fn by_path(script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Script {
    Arc::new(move |target| script(path_of(target)))
}

fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

fn converse(
    mut stream: impl Read + Write,
    script: &Script,
    heard: &Mutex<Vec<String>>,
    asked: Option<String>,
    last: Option<&str>,
) {
    let asked = asked.unwrap_or_default();
    while let Some(head) = read_head(&mut stream) {
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(format!("{asked}\r\n{head}"));
        let answer = script(&target);
        // A client that has gone shows at the next read.
        if answer.is_empty()
            || stream.write_all(&answer).and_then(|()| stream.flush()).is_err()
            || last == Some(path_of(&target))
        {
            return;
        }
    }
}

/// A peer that greets, as many protocols do, and ends the connection in the orderly way. Gives its port.
pub(crate) fn start_closing(greeting: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            end_orderly(socket, greeting);
        }
    });
    port
}

/// Bytes that are left unread would make the end a reset.
fn end_orderly(mut socket: TcpStream, greeting: &[u8]) {
    if socket.write_all(greeting).is_ok() && socket.shutdown(Shutdown::Write).is_ok() {
        let _ = std::io::copy(&mut socket, &mut std::io::sink());
    }
}

/// An answer as a library would send it.
pub(crate) fn answer(status: &str, content_type: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What a healthy bridge answers, in short.
pub(crate) fn healthy(path: &str) -> Vec<u8> {
    match path {
        "/ping" => answer("200 OK", "text/plain", "pong"),
        "/health" => answer(
            "200 OK",
            "application/json",
            r#"{"version":"2.9.16","build":"209163"}"#,
        ),
        _ => answer(
            "200 OK",
            "application/scim+json",
            r#"{"totalResults":3,"Resources":[]}"#,
        ),
    }
}
