//! A peer that sends any bytes, at any pace, before TLS or within it.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, LazyLock, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    version::{TLS12, TLS13},
};
use testbed::read_head;

/// What a peer does where its row says so.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Says this and waits for the next request.
    Say(Vec<u8>),
    /// Says this and closes the connection in good order.
    SayAndClose(Vec<u8>),
    /// Says this and resets the connection.
    SayAndReset(Vec<u8>),
    /// Says this, and then nothing more, ever.
    SayAndHang(Vec<u8>),
    /// Says the first and then the second, again and again.
    Repeat(Vec<u8>, Vec<u8>),
    /// Says it byte by byte.
    Drip(Vec<u8>, Duration),
}

/// Where it does so.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// In place of TLS.
    Tcp,
    /// In answer to this path; to others it answers as a healthy bridge.
    Answer(&'static str),
}

/// One behaviour.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) stage: Stage,
    pub(crate) act: Act,
    pub(crate) certificate: Certificate,
    /// What the user is told.
    pub(crate) expected: &'static str,
}

/// What the peer shows in the handshake.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Certificate {
    Valid,
    Expired,
    NotYetValid,
    OtherName,
    SelfSigned,
    OtherAuthority,
    /// Behind so many intermediate authorities.
    Chain(usize),
    /// Behind an authority whose certificate takes ten megabytes.
    Huge,
    /// Asks for one of the client, which has none.
    Mutual(Asking),
    /// Speaks HTTP/2 and nothing else.
    OnlyHttp2,
}

/// How a server asks for a certificate of the client, and says that there was none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Asking {
    /// By TLS 1.3.
    Tls13,
    /// By TLS 1.2, with this alert.
    Tls12(u8),
    /// It goes on without one.
    Optional,
}

impl Row {
    /// In answer to a path.
    pub(crate) fn answer(name: &'static str, path: &'static str, act: Act, expected: &'static str) -> Self {
        Self {
            name,
            stage: Stage::Answer(path),
            act,
            certificate: Certificate::Valid,
            expected,
        }
    }

    /// In place of TLS.
    pub(crate) fn tcp(name: &'static str, act: Act, expected: &'static str) -> Self {
        Self {
            stage: Stage::Tcp,
            ..Self::answer(name, "", act, expected)
        }
    }

    /// In answer to `/ping`, where a certificate of the client was asked for.
    pub(crate) fn asking(name: &'static str, act: Act, expected: &'static str) -> Self {
        Self {
            certificate: Certificate::Mutual(Asking::Optional),
            ..Self::answer(name, "/ping", act, expected)
        }
    }

    /// A healthy bridge with this certificate.
    pub(crate) fn shows(name: &'static str, certificate: Certificate, expected: &'static str) -> Self {
        Self {
            certificate,
            ..Self::answer(name, "nothing", Act::Say(Vec::new()), expected)
        }
    }
}

/// The authority of all peers of this process.
pub(crate) struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub(crate) pem: String,
}

pub(crate) static CA: LazyLock<Ca> = LazyLock::new(|| Ca::new("hostile peers"));
static OTHER: LazyLock<Ca> = LazyLock::new(|| Ca::new("nobody knows"));

impl Ca {
    fn new(name: &str) -> Self {
        let issuer = CertifiedIssuer::self_signed(authority(name), KeyPair::generate().unwrap()).unwrap();
        let pem = issuer.pem();
        Self { issuer, pem }
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

impl Certificate {
    fn config(self) -> ServerConfig {
        let name = if self == Self::OtherName {
            "other.invalid"
        } else {
            "127.0.0.1"
        };
        let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (leaf.not_before, leaf.not_after) = match self {
            Self::Expired => (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1)),
            Self::NotYetValid => (date_time_ymd(2098, 1, 1), date_time_ymd(2099, 1, 1)),
            Self::Valid
            | Self::OtherName
            | Self::SelfSigned
            | Self::OtherAuthority
            | Self::Chain(_)
            | Self::Huge
            | Self::Mutual(_)
            | Self::OnlyHttp2 => (date_time_ymd(2020, 1, 1), date_time_ymd(2099, 1, 1)),
        };
        let key = KeyPair::generate().unwrap();
        let mut chain: Vec<CertificateDer<'static>> = Vec::new();
        let certificate = match self {
            Self::SelfSigned => leaf.self_signed(&key).unwrap(),
            Self::OtherAuthority => leaf.signed_by(&key, &OTHER.issuer).unwrap(),
            Self::Chain(length) => {
                let first = CertifiedIssuer::signed_by(
                    authority("intermediate 0"),
                    KeyPair::generate().unwrap(),
                    &CA.issuer,
                );
                let mut issuer = first.unwrap();
                chain.push(issuer.der().clone());
                for number in 1..length {
                    let params = authority(&format!("intermediate {number}"));
                    issuer =
                        CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &issuer).unwrap();
                    chain.insert(0, issuer.der().clone());
                }
                leaf.signed_by(&key, &issuer).unwrap()
            }
            Self::Valid
            | Self::Expired
            | Self::NotYetValid
            | Self::OtherName
            | Self::Huge
            | Self::Mutual(_)
            | Self::OnlyHttp2 => leaf.signed_by(&key, &CA.issuer).unwrap(),
        };
        if self == Self::Huge {
            chain.push(vec![0x30; 10 * 1024 * 1024].into());
        }
        chain.insert(0, certificate.der().clone());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions: &[_] = if matches!(self, Self::Mutual(Asking::Tls12(_))) {
            &[&TLS12]
        } else {
            &[&TLS13, &TLS12]
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap();
        let builder = if let Self::Mutual(asking) = self {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CA.issuer.der().clone()).unwrap();
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if asking == Asking::Optional {
                verifier.allow_unauthenticated()
            } else {
                verifier
            };
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        if self == Self::OnlyHttp2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        config
    }
}

/// A running peer. Its threads end with the process, and their connections with those of the client.
pub(crate) struct Peer {
    address: SocketAddr,
    /// The path and whether there was a key, of each request. The method too, if it is not GET.
    heard: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    pub(crate) fn start(row: &Row) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = Self {
            address: listener.local_addr().unwrap(),
            heard: Arc::default(),
        };
        let config = Arc::new(row.certificate.config());
        let (heard, row) = (Arc::clone(&peer.heard), row.clone());
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (heard, row, config) = (Arc::clone(&heard), row.clone(), Arc::clone(&config));
                thread::spawn(move || match row.stage {
                    Stage::Tcp => {
                        perform(&row.act, &mut &socket, &socket);
                    }
                    Stage::Answer(path) => {
                        let mut session = ServerConnection::new(config).unwrap();
                        // A certificate of ten megabytes does not fit into what is usually buffered.
                        session.set_buffer_limit(None);
                        let raw = socket.try_clone().unwrap();
                        let alert = if let Certificate::Mutual(Asking::Tls12(alert)) = row.certificate {
                            Some(alert)
                        } else {
                            None
                        };
                        let stream = StreamOwned::new(session, Alerting { socket, alert });
                        converse(stream, &raw, path, &row.act, &heard);
                    }
                });
            }
        });
        peer
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A connection whose `certificate_required` is another alert: rustls has only this one, other servers have others.
struct Alerting {
    socket: TcpStream,
    alert: Option<u8>,
}

impl Read for Alerting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buffer)
    }
}

impl Write for Alerting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match (bytes.strip_suffix(&[21, 3, 3, 0, 2, 2, 116]), self.alert) {
            (Some(before), Some(alert)) => {
                let bytes = [before, &[21, 3, 3, 0, 2, 2, alert]].concat();
                self.socket.write_all(&bytes).map(|()| bytes.len())
            }
            _ => self.socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

fn converse(
    mut stream: impl Read + Write,
    socket: &TcpStream,
    path: &str,
    act: &Act,
    heard: &Mutex<Vec<String>>,
) {
    while let Some(head) = read_head(&mut stream) {
        let asked = head.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
        let lower = head.to_ascii_lowercase();
        let with_key = if lower.contains("\r\nauthorization:") {
            "*"
        } else {
            ""
        };
        let line = match head.split(' ').next() {
            Some("GET") | None => format!("{asked}{with_key}"),
            Some(method) => format!("{method} {asked}{with_key}"),
        };
        let length = lower.split("\r\ncontent-length: ").nth(1);
        let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
        let mut body = Read::by_ref(&mut stream).take(length.unwrap_or_default());
        if io::copy(&mut body, &mut io::sink()).is_err() {
            return;
        }
        heard.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        let goes_on = if asked.starts_with(path) {
            perform(act, &mut stream, socket)
        } else {
            perform(&Act::Say(healthy(&asked)), &mut stream, socket)
        };
        if !goes_on {
            return;
        }
    }
}

/// Does it, and tells whether the conversation goes on.
fn perform(act: &Act, stream: &mut impl Write, socket: &TcpStream) -> bool {
    let mut say = |bytes: &[u8]| stream.write_all(bytes).and_then(|()| stream.flush()).is_ok();
    match act {
        Act::Say(bytes) => say(bytes),
        Act::SayAndClose(bytes) => {
            if say(bytes) && socket.shutdown(Shutdown::Write).is_ok() {
                // Bytes that are left unread would make the end a reset.
                let _ = io::copy(&mut &*socket, &mut io::sink());
            }
            false
        }
        Act::SayAndReset(bytes) => {
            say(bytes);
            // Unread bytes, or data that arrives after the end, make the kernel reset it.
            let _ = socket.shutdown(Shutdown::Both);
            false
        }
        Act::SayAndHang(bytes) => {
            say(bytes);
            // Until the client goes.
            let _ = io::copy(&mut &*socket, &mut io::sink());
            false
        }
        Act::Repeat(first, then) => {
            let mut goes_on = say(first);
            while goes_on {
                goes_on = say(then);
            }
            false
        }
        Act::Drip(bytes, pause) => {
            for byte in bytes {
                if !say(&[*byte]) {
                    return false;
                }
                thread::sleep(*pause);
            }
            true
        }
    }
}

/// What a healthy bridge answers, in short.
pub(crate) fn healthy(path: &str) -> Vec<u8> {
    match path {
        "/ping" => response("200 OK", &["Content-Type: text/plain"], b"pong"),
        "/health" => response("200 OK", &[JSON], br#"{"version":"2.9.16","build":"209163"}"#),
        _ => response("200 OK", &[JSON], LIST),
    }
}

pub(crate) const JSON: &str = "Content-Type: application/scim+json";
pub(crate) const LIST: &[u8] =
    br#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":3,"Resources":[]}"#;

/// An answer with these headers and the right length.
pub(crate) fn response(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// An answer with this head, as it stands, and body.
pub(crate) fn raw(head: &str, body: &[u8]) -> Vec<u8> {
    [head.as_bytes(), b"\r\n\r\n", body].concat()
}
