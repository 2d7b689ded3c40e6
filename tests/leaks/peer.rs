//! Peers that put canaries wherever HTTP and TLS have room for a text.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer};
use testbed::read_head;

use crate::canary::Canaries;

/// Gives each request, by its target, the bytes that answer it.
pub(crate) type Script = Box<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// A running peer. Its threads end with the process.
pub(crate) struct Peer {
    address: SocketAddr,
    heard: Arc<Mutex<String>>,
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    Expired,
    OtherName,
    OtherAuthority,
}

/// A certificate authority with canaries in its own names and in those that it certifies.
pub(crate) struct Authority {
    params: CertificateParams,
    key: KeyPair,
    subject: String,
    /// Its certificate.
    pub(crate) pem: String,
    /// Its name, which a status may show.
    pub(crate) name: String,
}

impl Authority {
    pub(crate) fn new(canaries: &Canaries) -> Self {
        let name = canaries.text("issuer of a certificate");
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name.as_str());
        let unit = canaries.text("organisational unit of an issuer");
        params
            .distinguished_name
            .push(DnType::OrganizationalUnitName, unit);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            params,
            key,
            subject: canaries.text("subject of a certificate"),
            pem,
            name,
        }
    }

    fn server(&self, flaw: Flaw) -> ServerConfig {
        let mut names = vec![format!("{}.example.com", self.subject.to_ascii_lowercase())];
        if flaw != Flaw::OtherName {
            names.push("127.0.0.1".to_owned());
        }
        let mut leaf = CertificateParams::new(names).unwrap();
        leaf.distinguished_name
            .push(DnType::CommonName, self.subject.as_str());
        leaf.not_after = date_time_ymd(if flaw == Flaw::Expired { 2020 } else { 2099 }, 1, 2);
        let key = KeyPair::generate().unwrap();
        let certificate = leaf
            .signed_by(&key, &Issuer::from_params(&self.params, &self.key))
            .unwrap();
        ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap()
    }
}

impl Peer {
    /// Speaks TLS.
    pub(crate) fn tls(authority: &Authority, flaw: Flaw, script: Script) -> Self {
        Self::start(Some(Arc::new(authority.server(flaw))), script)
    }

    /// Speaks plain HTTP, whatever it is asked for.
    pub(crate) fn plain(script: Script) -> Self {
        Self::start(None, script)
    }

    fn start(config: Option<Arc<ServerConfig>>, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heard: Arc<Mutex<String>> = Arc::default();
        let (script, log) = (Arc::new(script), Arc::clone(&heard));
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (script, log, config) = (Arc::clone(&script), Arc::clone(&log), config.clone());
                thread::spawn(move || converse(socket, config, &script, &log));
            }
        });
        Self { address, heard }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The heads of all requests so far.
    pub(crate) fn heard(&self) -> String {
        self.heard.lock().unwrap().clone()
    }
}

fn converse(
    mut socket: TcpStream,
    config: Option<Arc<ServerConfig>>,
    script: &Script,
    heard: &Mutex<String>,
) {
    match config {
        None => answer_all(socket, script, heard),
        Some(config) => {
            let mut session = ServerConnection::new(config).unwrap();
            // A client that refuses the certificate shows below, by its absence.
            let _ = session.complete_io(&mut socket);
            answer_all(StreamOwned::new(session, socket), script, heard);
        }
    }
}

fn answer_all(mut stream: impl Read + Write, script: &Script, heard: &Mutex<String>) {
    while let Some(head) = read_request(&mut stream) {
        heard.lock().unwrap().push_str(&head);
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let answer = script(&target);
        if stream.write_all(&answer).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

/// A request, or what takes its place: a handshake where none is expected.
fn read_request(stream: &mut impl Read) -> Option<String> {
    let mut first = [0];
    stream.read_exact(&mut first).ok()?;
    match first {
        [22] => Some("a TLS handshake\r\n\r\n".to_owned()),
        _ => read_head(&mut first.as_slice().chain(stream)),
    }
}

/// What a peer says beside the point: every text that an answer has room for.
#[derive(Clone)]
pub(crate) struct Sayings {
    phrase: String,
    head: String,
    extension: String,
    trailer: String,
    /// In documents.
    pub(crate) text: String,
    pub(crate) user: String,
    pub(crate) component: String,
    pub(crate) version: String,
}

impl Sayings {
    pub(crate) fn new(canaries: &Canaries, who: &str) -> Self {
        let text = |what: &str| canaries.text(format!("{who}: {what}"));
        let head = format!(
            "Server: {}\r\nLocation: https://{}.example.com/{}?{}\r\nRetry-After: {}\r\nSet-Cookie: a={}\r\n\
             WWW-Authenticate: Bearer realm=\"{}\"\r\nX-{}: {}\r\n",
            text("Server"),
            text("host of a redirect"),
            text("path of a redirect"),
            text("query of a redirect"),
            text("Retry-After"),
            text("cookie"),
            text("realm"),
            text("name of a header"),
            text("value of a header"),
        );
        Self {
            phrase: text("reason phrase"),
            head,
            extension: text("chunk extension"),
            trailer: text("trailer"),
            text: text("text of a document"),
            user: text("user name"),
            component: text("component"),
            version: text("version"),
        }
    }

    /// An answer in chunks.
    pub(crate) fn answer(&self, status: u16, content_type: &str, body: &str) -> Vec<u8> {
        let Self {
            phrase,
            head,
            extension,
            trailer,
            text,
            ..
        } = self;
        format!(
            "HTTP/1.1 {status} {phrase}\r\n{head}Content-Type: {content_type}; note={text}\r\n\
             Transfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n{:x};note={extension}\r\n{body}\r\n0\r\nX-End: {trailer}\r\n\r\n",
            body.len()
        )
        .into_bytes()
    }

    /// A page, as something in front of a bridge gives it.
    pub(crate) fn page(&self, status: u16) -> Vec<u8> {
        self.answer(status, "text/html", &format!("<html>{}</html>", self.text))
    }

    /// An error, as SCIM has it.
    pub(crate) fn error(&self, status: u16) -> Vec<u8> {
        let body = format!(
            r#"{{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"scimType":"{0}","detail":"{0}","status":"{status}"}}"#,
            self.text
        );
        self.answer(status, "application/scim+json", &body)
    }

    pub(crate) fn pong(&self) -> Vec<u8> {
        self.answer(200, "text/plain", "pong")
    }

    pub(crate) fn health(&self, watcher: &str) -> Vec<u8> {
        let Self {
            text,
            component,
            version,
            ..
        } = self;
        let body = format!(
            r#"{{"version":"2.9.{version}","build":"{version}","note":"{text}","reports":[
                {{"source":"ConfirmationWatcher","state":"{watcher}","expires":"{text}"}},
                {{"source":"{component}","state":"{component}"}}],"retrievedAt":"{text}"}}"#
        );
        self.answer(200, "application/json", &body)
    }

    pub(crate) fn list(&self) -> Vec<u8> {
        let body = format!(
            r#"{{"schemas":["{}"],"totalResults":3,"Resources":[{{"userName":"{}"}}]}}"#,
            self.text, self.user
        );
        self.answer(200, "application/scim+json", &body)
    }
}
