//! The facts that one reconcile found out about a connection. They carry no judgement.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::target::InvalidSpec;
use crate::api::{connection::ComponentState, vocabulary::Layer};

/// Everything that one reconcile found out about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The operator sent nothing: something on this side is missing or not allowed.
    Blocked(Blocker),
    /// The operator sent requests to the bridge's address.
    Probed(Exchange),
}

/// Why the operator sent nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blocker {
    /// The specification cannot be used.
    InvalidSpec(InvalidSpec),
    /// This rule of the address policy refuses the host in the specification.
    HostDenied(Denial),
    /// The Secret does not exist.
    SecretNotFound,
    /// The Secret has no such entry.
    SecretKeyMissing,
    /// The entry cannot be a bearer token.
    ApiKeyMalformed(KeyFault),
    /// The Secret does not allow its key to be sent to the host.
    ConsentMissing(ConsentFault),
    /// The CA object does not exist.
    CaNotFound,
    /// The CA object exists but has no such entry.
    CaEntryMissing,
    /// The CA entry has a fault, so the operator uses none of it.
    CaInvalid(CaFault),
}

/// Why a Secret does not allow its key to be sent to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConsentFault {
    /// The annotation does not name the host.
    Unnamed,
    /// The Secret has no annotation, and its type shows that it is for something else.
    Foreign,
    /// The address begins with `http://`, and the annotation does not name the host.
    InClear,
    /// The address begins with `http://`, and the annotation names the host for TLS only.
    ForTls,
    /// The annotation does not name the host, and one of its entries is not a host pattern.
    Malformed,
}

/// The rule of the address policy that refuses a host or an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// No pattern of `--allowed-host` matches the host.
    Host,
    /// `--deny-cidr` contains the address.
    Network,
    /// The API server has this address.
    ApiServer,
    /// The address is loopback, link-local, metadata or similar, and `--allow-cidr` does not contain it.
    Special,
    /// `spec.tls.serverName` is set together with `--bridge-proxy`. The proxy would look that name up.
    ServerName,
}

/// Why an entry cannot be a bearer token. It reveals nothing of the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyFault {
    /// It is empty.
    Empty,
    /// It is too long: the operator does not read that much.
    TooLong,
    /// It has a blank or a line break.
    Blank,
    /// It has another character that a bearer token cannot have.
    Character,
}

/// Why the operator does not use the CA entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CaFault {
    /// It holds no certificate.
    Empty,
    /// It is too large: the operator does not read that much.
    TooMuch,
    /// It is not text: DER, a key store, UTF-16.
    Binary,
    /// It is PEM text that was encoded in base64 a second time.
    Encoded,
    /// A BEGIN or END line is missing or malformed.
    Frame,
    /// A block is not valid base64.
    Base64,
    /// A block is not a certificate, or is only a part of one.
    NotACertificate,
    /// It holds a private key.
    PrivateKey,
    /// It holds a block of another kind.
    OtherBlock,
}

/// The requests of one probe and the result of each.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Exchange {
    /// `GET /ping`, without the key.
    pub ping: Reading<()>,
    /// `GET /health`, with the key.
    pub health: Reading<HealthReport>,
    /// `GET /scim/Users`, with the key: the number of users.
    pub users: Reading<u64>,
    /// `GET /scim/Groups`, with the key: the number of groups. `None` if it was not sent or did not answer.
    pub groups: Option<u64>,
    /// The peer's chain, if the operator verified one.
    pub certificate: Option<Certificate>,
    /// The result of the rehearsal of the next key, if the specification names one.
    pub next_key: Option<KeyTrial>,
    /// The longest Retry-After of all answers.
    pub retry_after: Option<Duration>,
}

/// The result of one request. `T` is the content of the right answer.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Reading<T> {
    /// The operator did not send it.
    #[default]
    NotSent,
    /// No answer arrived.
    Failed(TransportFailure),
    /// An answer arrived.
    Answered(Answer<T>),
}

/// An answer, by its meaning. Numbers are HTTP status codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// The requested document.
    Document(T),
    /// 401, in a shape that a bridge may send.
    Unauthorized,
    /// 403 with JSON, in a shape that a bridge may send.
    Forbidden,
    /// A refusal in a shape that only fronts send: a login for browsers, a firewall's page, an API gateway's error.
    Blocked(u16),
    /// 404.
    NotFound,
    /// 3xx.
    Redirect(u16),
    /// 429.
    RateLimited,
    /// 502, 503, 504, a status that only fronts use, or one after which HTTP lets clients retry.
    Unavailable(u16),
    /// Any other 5xx.
    ServerError(u16),
    /// 200, but not the requested document.
    Foreign,
    /// 200, but an HTML page.
    Page,
    /// 200, but too large.
    TooLarge,
    /// 200, but the body broke off.
    Broken,
    /// 200, but with a content coding, although the operator accepts none.
    Encoded,
    /// Any other status.
    Unexpected(u16),
}

/// Why no answer arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransportFailure {
    /// The name does not resolve.
    Dns(DnsFault),
    /// The policy denies every address of the host; this rule denies the first.
    AddressDenied(Denial),
    /// Refused, reset or not routable.
    Connect,
    /// The time of the probe ran out in this phase.
    TimedOut(Phase),
    /// The operator does not accept the chain.
    CertificateUntrusted(ChainFault),
    /// A certificate of the chain is not valid now.
    CertificateExpired(DateFault),
    /// The certificate is for another name.
    CertificateNameMismatch(NameFault),
    /// TLS failed for another reason.
    Tls(TlsFault),
    /// The peer does not speak HTTP as RFC 9112 defines it.
    Http(HttpFault),
    /// The administrator's proxy did not connect to the bridge.
    Proxy(ProxyFault),
}

/// Why a name does not resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsFault {
    /// The servers report that the name has no address.
    NoAddress,
    /// No server answered in time.
    TimedOut,
    /// The servers answered with an error.
    ServerError,
}

/// What a request waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The TCP connection.
    Connection,
    /// The TLS handshake.
    Handshake,
    /// The answer.
    Answer,
}

/// A certificate's place in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Member {
    /// The server's.
    Server,
    /// Between the server's and the authority's.
    Intermediate,
    /// The trusted authority's, at the end of the chain.
    Authority,
}

/// Why a chain is not valid now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DateFault {
    /// This certificate has expired.
    Ended(Member),
    /// A certificate is not valid yet.
    NotYet,
}

/// Why a certificate does not fit the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameFault {
    /// It is for other names.
    Other,
    /// It has no subject alternative names. Other names do not count.
    Unnamed,
    /// It has the requested address, but as a DNS name.
    AddressAsName,
}

/// Which authorities were trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Roots {
    /// The operator's default roots.
    System,
    /// Those of `spec.tls.caRef`.
    Given,
}

/// Why a chain of certificates is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChainFault {
    /// The chain that the server sent ends at an authority that the operator does not trust.
    UnknownIssuer(Roots),
    /// The server did not send its issuer's certificate, and the operator does not trust the issuer directly.
    Incomplete(Roots),
    /// The server's certificate names itself as its issuer.
    SelfSigned(Roots),
    /// The server's certificate names itself as its issuer, and is for another name.
    DefaultCertificate,
    /// This certificate has the issuer's name, but another key than the one that signed.
    OtherKey(Member),
    /// A trusted authority has the issuer's name, but written in another encoding.
    OtherEncoding,
    /// A name constraint of an authority excludes a name.
    NameConstraint,
    /// A name constraint of an authority is of a form that the operator cannot check.
    NameConstraintForm,
    /// A certificate in the chain is not an authority's, or has too many authorities below it.
    Authority,
    /// The server's certificate is an authority's.
    ServerIsAuthority,
    /// The chain is longer than the operator follows.
    TooLong,
    /// The operator does not accept a signature algorithm in the chain.
    WeakSignature,
    /// The operator does not accept a key in the chain.
    WeakKey,
    /// A certificate's usage excludes servers.
    Usage,
    /// A certificate is not of X.509 version 3.
    Version,
    /// A certificate has a critical extension that the operator does not know.
    Extension,
    /// A certificate cannot be decoded.
    Form,
    /// A certificate was revoked, or its key is publicly distrusted.
    Revoked,
}

/// Why TLS failed, if not because of the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsFault {
    /// Both sides have no version in common.
    Version,
    /// Both sides have no cipher suite, group or signature in common.
    Parameters,
    /// The server asks for a client certificate.
    ClientCertificate,
    /// The server does not know the name.
    UnknownName,
    /// The peer does not speak TLS.
    NotTls,
    /// The server reports an internal error.
    Internal,
    /// The peer closed the connection during the handshake.
    Closed,
    /// The peer broke a rule of the handshake, or ended it for another reason.
    Other,
}

/// Why an exchange is not HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpFault {
    /// The peer does not speak HTTP inside TLS.
    Other,
    /// The peer does not speak plain HTTP; perhaps it speaks TLS.
    InClear,
    /// The answer has too many headers, or too long ones.
    Head,
    /// The server answers that the port needs TLS: the request came in plain HTTP.
    TlsPort,
}

/// Why the proxy did not connect to the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyFault {
    /// The operator cannot reach the proxy.
    Unreachable,
    /// The proxy asks for a login (407).
    Login,
    /// The proxy did not open the tunnel.
    Tunnel,
    /// The proxy itself answered a plain HTTP request, with this status.
    Answered(u16),
    /// The proxy did not open the tunnel in time.
    TimedOut,
}

// === impl CaFault ===

impl CaFault {
    /// Every fault.
    pub const ALL: [Self; 9] = [
        Self::Empty,
        Self::TooMuch,
        Self::Binary,
        Self::Encoded,
        Self::Frame,
        Self::Base64,
        Self::NotACertificate,
        Self::PrivateKey,
        Self::OtherBlock,
    ];
}

// === impl TransportFailure ===

impl TransportFailure {
    /// Every failure.
    pub const ALL: [Self; 58] = [
        Self::Dns(DnsFault::NoAddress),
        Self::Dns(DnsFault::TimedOut),
        Self::Dns(DnsFault::ServerError),
        Self::AddressDenied(Denial::Host),
        Self::AddressDenied(Denial::Network),
        Self::AddressDenied(Denial::ApiServer),
        Self::AddressDenied(Denial::Special),
        Self::AddressDenied(Denial::ServerName),
        Self::Connect,
        Self::TimedOut(Phase::Connection),
        Self::TimedOut(Phase::Handshake),
        Self::TimedOut(Phase::Answer),
        Self::CertificateUntrusted(ChainFault::UnknownIssuer(Roots::System)),
        Self::CertificateUntrusted(ChainFault::UnknownIssuer(Roots::Given)),
        Self::CertificateUntrusted(ChainFault::Incomplete(Roots::System)),
        Self::CertificateUntrusted(ChainFault::Incomplete(Roots::Given)),
        Self::CertificateUntrusted(ChainFault::SelfSigned(Roots::System)),
        Self::CertificateUntrusted(ChainFault::SelfSigned(Roots::Given)),
        Self::CertificateUntrusted(ChainFault::DefaultCertificate),
        Self::CertificateUntrusted(ChainFault::OtherKey(Member::Authority)),
        Self::CertificateUntrusted(ChainFault::OtherKey(Member::Intermediate)),
        Self::CertificateUntrusted(ChainFault::OtherEncoding),
        Self::CertificateUntrusted(ChainFault::NameConstraint),
        Self::CertificateUntrusted(ChainFault::NameConstraintForm),
        Self::CertificateUntrusted(ChainFault::Authority),
        Self::CertificateUntrusted(ChainFault::ServerIsAuthority),
        Self::CertificateUntrusted(ChainFault::TooLong),
        Self::CertificateUntrusted(ChainFault::WeakSignature),
        Self::CertificateUntrusted(ChainFault::WeakKey),
        Self::CertificateUntrusted(ChainFault::Usage),
        Self::CertificateUntrusted(ChainFault::Version),
        Self::CertificateUntrusted(ChainFault::Extension),
        Self::CertificateUntrusted(ChainFault::Form),
        Self::CertificateUntrusted(ChainFault::Revoked),
        Self::CertificateExpired(DateFault::Ended(Member::Server)),
        Self::CertificateExpired(DateFault::Ended(Member::Intermediate)),
        Self::CertificateExpired(DateFault::Ended(Member::Authority)),
        Self::CertificateExpired(DateFault::NotYet),
        Self::CertificateNameMismatch(NameFault::Other),
        Self::CertificateNameMismatch(NameFault::Unnamed),
        Self::CertificateNameMismatch(NameFault::AddressAsName),
        Self::Tls(TlsFault::Version),
        Self::Tls(TlsFault::Parameters),
        Self::Tls(TlsFault::ClientCertificate),
        Self::Tls(TlsFault::UnknownName),
        Self::Tls(TlsFault::NotTls),
        Self::Tls(TlsFault::Internal),
        Self::Tls(TlsFault::Closed),
        Self::Tls(TlsFault::Other),
        Self::Http(HttpFault::Other),
        Self::Http(HttpFault::InClear),
        Self::Http(HttpFault::Head),
        Self::Http(HttpFault::TlsPort),
        Self::Proxy(ProxyFault::Unreachable),
        Self::Proxy(ProxyFault::Login),
        Self::Proxy(ProxyFault::Tunnel),
        Self::Proxy(ProxyFault::Answered(503)),
        Self::Proxy(ProxyFault::TimedOut),
    ];

    /// The layer of the failure. `None` above TLS: the layer is then that of the request.
    #[must_use]
    pub const fn layer(self) -> Option<Layer> {
        match self {
            Self::Dns(_) => Some(Layer::Name),
            Self::AddressDenied(_) | Self::Connect | Self::TimedOut(Phase::Connection) => {
                Some(Layer::Address)
            }
            Self::Proxy(_) => Some(Layer::Proxy),
            Self::CertificateUntrusted(_)
            | Self::CertificateExpired(_)
            | Self::CertificateNameMismatch(_)
            | Self::Tls(_)
            | Self::TimedOut(Phase::Handshake) => Some(Layer::Tls),
            Self::TimedOut(Phase::Answer) | Self::Http(_) => None,
        }
    }
}

// === impl ConsentFault ===

impl ConsentFault {
    /// Every fault.
    pub const ALL: [Self; 5] = [
        Self::Unnamed,
        Self::Foreign,
        Self::InClear,
        Self::ForTls,
        Self::Malformed,
    ];
}

// === impl Denial ===

impl Denial {
    /// Every rule.
    pub const ALL: [Self; 5] = [
        Self::Host,
        Self::Network,
        Self::ApiServer,
        Self::Special,
        Self::ServerName,
    ];
}

// === impl KeyFault ===

impl KeyFault {
    /// Every fault.
    pub const ALL: [Self; 4] = [Self::Empty, Self::TooLong, Self::Blank, Self::Character];
}

// === impl Blocker ===

impl Blocker {
    /// Every blocker except [`Blocker::InvalidSpec`].
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = vec![
            Self::SecretNotFound,
            Self::SecretKeyMissing,
            Self::CaNotFound,
            Self::CaEntryMissing,
        ];
        all.extend(ConsentFault::ALL.map(Self::ConsentMissing));
        all.extend(Denial::ALL.map(Self::HostDenied));
        all.extend(KeyFault::ALL.map(Self::ApiKeyMalformed));
        all.extend(CaFault::ALL.map(Self::CaInvalid));
        all
    }
}

// === impl Exchange ===

impl Exchange {
    /// Whether an answer arrived that only a bridge gives.
    #[must_use]
    pub const fn has_bridge_answered(&self) -> bool {
        self.ping.document().is_some() || self.health.document().is_some() || self.users.document().is_some()
    }

    /// Whether the operator sent the key, or may have sent it.
    #[must_use]
    pub fn sent_the_key(&self) -> bool {
        self.health != Reading::NotSent || self.users != Reading::NotSent
    }

    /// Whether the peer may be a bridge: its answer to `/ping` does not exclude one.
    #[must_use]
    pub const fn is_of_a_bridge(&self) -> bool {
        !matches!(
            self.ping,
            Reading::Failed(_)
                | Reading::Answered(
                    Answer::Foreign | Answer::Page | Answer::TooLarge | Answer::Broken | Answer::Encoded
                )
        )
    }
}

/// The parts of `GET /health` that the operator reads.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HealthReport {
    /// The bridge's version, if it looks like one.
    pub version: Option<String>,
    /// The bridge's build number, if it looks like one.
    pub build: Option<String>,
    /// Each component once, with its state, sorted by name.
    pub components: Vec<(Component, ComponentState)>,
}

/// The components of a bridge that this version knows.
///
/// The enum is closed on purpose: a name that a server chooses never reaches a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// Keeps the bridge's TLS certificate.
    CertificateManager,
    /// Confirms invited users; runs after the bridge was unlocked.
    ConfirmationWatcher,
    /// Serves `/ping` on its own port.
    PingServer,
    /// The bridge's cache.
    RedisCache,
    /// The SCIM API.
    ScimServer,
    /// Starts provisioning; runs after the bridge was unlocked.
    StartProvisionWatcher,
    /// All components that this version does not know, taken together.
    Other,
}

/// The facts that the operator keeps of a verified chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The earliest end date of the certificates that the verification used.
    pub not_after: Timestamp,
    /// The certificate that ends then.
    pub ends: Member,
    /// The issuer of the server's certificate: common name or organisation, with unsafe characters removed.
    pub issuer: Option<String>,
}

/// The result of the rehearsal of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyTrial {
    /// The bridge accepts it.
    Accepted,
    /// The bridge refuses it.
    Refused,
    /// The key is missing or unusable.
    Unusable(Blocker),
    /// No answer shows whether the bridge accepts it.
    Undecided,
}

// === impl Certificate ===

impl Certificate {
    /// The same, with the end date of another certificate of the chain if that is earlier.
    #[must_use]
    pub fn ending(self, ends: Member, not_after: Timestamp) -> Self {
        if not_after < self.not_after {
            Self {
                not_after,
                ends,
                ..self
            }
        } else {
            self
        }
    }
}

// === impl Component ===

impl Component {
    /// Every component.
    pub const ALL: [Self; 7] = [
        Self::CertificateManager,
        Self::ConfirmationWatcher,
        Self::PingServer,
        Self::RedisCache,
        Self::ScimServer,
        Self::StartProvisionWatcher,
        Self::Other,
    ];

    /// Its name in a report and in a status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CertificateManager => "CertificateManager",
            Self::ConfirmationWatcher => "ConfirmationWatcher",
            Self::PingServer => "PingServer",
            Self::RedisCache => "RedisCache",
            Self::ScimServer => "SCIMServer",
            Self::StartProvisionWatcher => "StartProvisionWatcher",
            Self::Other => "Other",
        }
    }

    /// The component of this name.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|component| component.as_str() == name)
            .unwrap_or(Self::Other)
    }

    /// Whether it runs only after a request with the key has unlocked the bridge.
    #[must_use]
    pub const fn waits_for_unlock(self) -> bool {
        match self {
            Self::ConfirmationWatcher | Self::StartProvisionWatcher => true,
            Self::CertificateManager
            | Self::PingServer
            | Self::RedisCache
            | Self::ScimServer
            | Self::Other => false,
        }
    }
}

// === impl Reading ===

impl<T> Reading<T> {
    /// The document, if the right answer arrived.
    pub const fn document(&self) -> Option<&T> {
        match self {
            Self::Answered(Answer::Document(document)) => Some(document),
            Self::Answered(_) | Self::Failed(_) | Self::NotSent => None,
        }
    }
}

// === impl HealthReport ===

impl HealthReport {
    /// The state of a component, if the report has it.
    #[must_use]
    pub fn state_of(&self, component: Component) -> Option<ComponentState> {
        self.components
            .iter()
            .find(|(name, _)| *name == component)
            .map(|(_, state)| *state)
    }
}
