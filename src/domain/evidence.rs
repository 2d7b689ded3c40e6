//! What a probe saw, or what stood in its way: plain facts, without a judgement.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::target::InvalidSpec;
use crate::api::v1alpha1::ComponentState;

/// All that one pass found out about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Nothing was sent: something on our side of the wire is missing or refused.
    Blocked(Obstacle),
    /// The bridge, or another server at its address, was asked.
    Probed(Exchange),
}

/// Why nothing could be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Obstacle {
    /// The specification cannot be used.
    InvalidSpec(InvalidSpec),
    /// The address policy refuses the host as it is written, by this rule.
    HostDenied(Denial),
    /// The Secret does not exist.
    SecretNotFound,
    /// The Secret has no such entry.
    SecretKeyMissing,
    /// The entry cannot be a bearer token.
    ApiKeyMalformed(KeyFault),
    /// The Secret does not let its key go to the host.
    ConsentMissing,
    /// The same, where the Secret's type shows that it is for something else.
    ConsentForeign,
    /// The same, where the address begins with `http://`: the annotation has to say so.
    ConsentInClear,
    /// The annotation names the host for TLS only, and the address begins with `http://`.
    ConsentForTls,
    /// The same as [`Self::ConsentMissing`], where an entry of the annotation cannot be read: it may have meant the host.
    ConsentMalformed,
    /// The CA object does not exist.
    CaNotFound,
    /// The CA object exists, and has no such entry.
    CaEntryMissing,
    /// The CA entry has a fault, and nothing of it is used.
    CaInvalid(CaFault),
}

/// The rule of the address policy that refuses a host or an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// No pattern of `--allowed-host` fits the host.
    Host,
    /// `--deny-cidr` has the address.
    Network,
    /// The API server has this address.
    ApiServer,
    /// The address is denied unless `--allow-cidr` has it: loopback, link-local, metadata and such.
    Special,
    /// `spec.tls.serverName` is used with `--bridge-proxy`, which would look that name up.
    ServerName,
}

/// Why an entry cannot be a bearer token. Nothing of the entry is part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyFault {
    /// It is empty.
    Empty,
    /// It is longer than is read.
    TooLong,
    /// It has a blank or a line break.
    Blank,
    /// It has another character that no bearer token has.
    Character,
}

/// Why nothing of the CA entry is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CaFault {
    /// No certificate.
    Empty,
    /// More than is read.
    TooMuch,
    /// Bytes that are no text: DER, a key store, UTF-16.
    Binary,
    /// PEM text that was encoded once more.
    Encoded,
    /// The begin or the end of a block without the other, or one that is written otherwise.
    Frame,
    /// A block that is no valid base64.
    Base64,
    /// A block that is no certificate, or not the whole of one.
    NotACertificate,
    /// A private key.
    PrivateKey,
    /// A block of another kind.
    OtherBlock,
}

/// The requests of one probe and what became of each.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Exchange {
    /// `GET /ping`, without the key.
    pub ping: Reading<()>,
    /// `GET /health`, with the key.
    pub health: Reading<HealthReport>,
    /// `GET /scim/Users`, with the key: how many there are.
    pub users: Reading<u64>,
    /// `GET /scim/Groups`, with the key, where there was time: how many there are.
    pub groups: Option<u64>,
    /// The chain of the peer, once it was verified.
    pub certificate: Option<Certificate>,
    /// What became of the rehearsal of the next key, where one is asked for.
    pub next_key: Option<KeyTrial>,
    /// The longest Retry-After that an answer carried.
    pub retry_after: Option<Duration>,
}

/// What became of one request. `T` is what the right answer holds.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Reading<T> {
    /// It was not sent.
    #[default]
    NotSent,
    /// No answer arrived.
    Failed(TransportFailure),
    /// An answer arrived.
    Answered(Answer<T>),
}

/// An answer, by what it means. Numbers are HTTP status codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// What was asked for.
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
    /// 502, 503, 504, a status that only fronts use, or one that HTTP asks clients to repeat.
    Unavailable(u16),
    /// Any other 5xx.
    ServerError(u16),
    /// 200, but of another kind than was asked for.
    Foreign,
    /// 200, but an HTML page.
    Page,
    /// 200, but larger than is read.
    TooLarge,
    /// 200, but broken off.
    Broken,
    /// 200, but with a content coding that was not asked for.
    Encoded,
    /// Any other status.
    Unexpected(u16),
}

/// Why no answer arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransportFailure {
    /// The name does not resolve.
    Dns(DnsFault),
    /// The policy refuses every address of the host, by this rule.
    AddressDenied(Denial),
    /// Refused, reset or not routable.
    Connect,
    /// The budget of the probe ended in this phase.
    TimedOut(Phase),
    /// The verification does not accept the chain.
    CertificateUntrusted(ChainFault),
    /// A certificate of the chain is not valid now.
    CertificateExpired(DateFault),
    /// The certificate is for another name.
    CertificateNameMismatch(NameFault),
    /// TLS failed otherwise.
    Tls(TlsFault),
    /// The peer does not speak HTTP as RFC 9112 has it.
    Http(HttpFault),
    /// The administrator's proxy did not lead to the bridge.
    Proxy(ProxyFault),
}

/// Why a name does not resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsFault {
    /// The servers say that the name has no address.
    NoAddress,
    /// No server answered within the budget.
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
    /// The server's own.
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
    /// A certificate is before its beginning.
    NotYet,
}

/// Why a certificate does not fit the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameFault {
    /// It is for other names.
    Other,
    /// It has no subject alternative names, which are the only ones that count.
    Unnamed,
    /// It has the address that was asked for, but as if that were a DNS name.
    AddressAsName,
}

/// Which authorities were trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Roots {
    /// The operator's own.
    System,
    /// Those of `spec.tls.caRef`.
    Given,
}

/// Why a chain of certificates is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChainFault {
    /// What the server sent ends at an authority that is not trusted.
    UnknownIssuer(Roots),
    /// The server did not send the certificate of its own certificate's issuer, and that is not trusted.
    Incomplete(Roots),
    /// The server's certificate names itself as its issuer.
    SelfSigned(Roots),
    /// The same, and it is for another name.
    DefaultCertificate,
    /// This certificate has the issuer's name, but not the key that signed.
    OtherKey(Member),
    /// A trusted authority has the issuer's name, but written in another encoding.
    OtherEncoding,
    /// A name constraint of an authority excludes a name.
    NameConstraint,
    /// A name constraint of an authority is of a form that the operator cannot check.
    NameConstraintForm,
    /// A certificate is used as an authority that is none, or has too many authorities below it.
    Authority,
    /// The server's certificate is an authority's.
    ServerIsAuthority,
    /// The chain is longer than the operator follows.
    TooLong,
    /// A signature algorithm that is not accepted.
    WeakSignature,
    /// A key that is not accepted.
    WeakKey,
    /// A certificate's usage excludes servers.
    Usage,
    /// A certificate that is not of X.509 version 3.
    Version,
    /// A critical extension that the operator does not know.
    Extension,
    /// A certificate that cannot be decoded.
    Form,
    /// A certificate that was revoked, or whose key is distrusted by all.
    Revoked,
}

/// Why TLS failed, beside the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsFault {
    /// Both sides have no version in common.
    Version,
    /// Both sides have no cipher suite, group or signature in common.
    Parameters,
    /// The server asks for a certificate of the client.
    ClientCertificate,
    /// The server does not know the name.
    UnknownName,
    /// The peer does not speak TLS.
    NotTls,
    /// The server reports an error of its own.
    Internal,
    /// The peer closed the connection in the middle of the handshake.
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
    /// The head of the answer has more headers, or longer ones, than are read.
    Head,
    /// The server says that the port speaks TLS, and the request came in plain HTTP.
    TlsPort,
}

/// Where in the way of a probe a failure below HTTP is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The look-up of the host's name.
    Name,
    /// The TCP connection.
    Address,
    /// The administrator's proxy.
    Proxy,
    /// The TLS handshake.
    Tls,
}

/// Why the proxy did not lead to the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyFault {
    /// The proxy itself cannot be reached.
    Unreachable,
    /// The proxy asks for a login (407).
    Login,
    /// The proxy did not open the tunnel.
    Tunnel,
    /// The proxy answered a request in plain HTTP itself, with this status.
    Answered(u16),
    /// The proxy did not open the tunnel within the budget.
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

    /// The place of the failure; `None` where HTTP was spoken by then, and the request is the place.
    #[must_use]
    pub const fn place(self) -> Option<Place> {
        match self {
            Self::Dns(_) => Some(Place::Name),
            Self::AddressDenied(_) | Self::Connect | Self::TimedOut(Phase::Connection) => {
                Some(Place::Address)
            }
            Self::Proxy(_) => Some(Place::Proxy),
            Self::CertificateUntrusted(_)
            | Self::CertificateExpired(_)
            | Self::CertificateNameMismatch(_)
            | Self::Tls(_)
            | Self::TimedOut(Phase::Handshake) => Some(Place::Tls),
            Self::TimedOut(Phase::Answer) | Self::Http(_) => None,
        }
    }
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

// === impl Obstacle ===

impl Obstacle {
    /// Every obstacle but those of the specification.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = vec![
            Self::SecretNotFound,
            Self::SecretKeyMissing,
            Self::ConsentMissing,
            Self::ConsentForeign,
            Self::ConsentInClear,
            Self::ConsentForTls,
            Self::ConsentMalformed,
            Self::CaNotFound,
            Self::CaEntryMissing,
        ];
        all.extend(Denial::ALL.map(Self::HostDenied));
        all.extend(KeyFault::ALL.map(Self::ApiKeyMalformed));
        all.extend(CaFault::ALL.map(Self::CaInvalid));
        all
    }
}

// === impl Exchange ===

impl Exchange {
    /// Whether a bridge has answered, as only a bridge does.
    #[must_use]
    pub const fn has_bridge_answered(&self) -> bool {
        self.ping.document().is_some() || self.health.document().is_some() || self.users.document().is_some()
    }

    /// Whether the key was sent, or may have been.
    #[must_use]
    pub fn sent_the_key(&self) -> bool {
        self.health != Reading::NotSent || self.users != Reading::NotSent
    }

    /// Whether the peer may be a bridge: it answered `/ping`, and the answer does not exclude a bridge.
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

/// `GET /health`, as far as it is read.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HealthReport {
    /// The bridge's version, if it looks like one.
    pub version: Option<String>,
    /// The bridge's build number, if it looks like one.
    pub build: Option<String>,
    /// Components and their state, each once, sorted by name.
    pub components: Vec<(Component, ComponentState)>,
}

/// Components of a bridge that are known by name.
///
/// Closed on purpose: a name that a server chooses never reaches a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// Keeps the bridge's TLS certificate.
    CertificateManager,
    /// Confirms invited users; runs once the bridge was unlocked.
    ConfirmationWatcher,
    /// Serves `/ping` on its own port.
    PingServer,
    /// The bridge's cache.
    RedisCache,
    /// The SCIM API.
    ScimServer,
    /// Starts provisioning; runs once the bridge was unlocked.
    StartProvisionWatcher,
    /// All that this version does not know, taken together.
    Other,
}

/// What is kept of a verified chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The earliest end of the certificates that the verification used.
    pub not_after: Timestamp,
    /// Whose end that is.
    pub ends: Member,
    /// Common name or organisation of the issuer of the server's certificate, cleaned.
    pub issuer: Option<String>,
}

/// What became of the rehearsal of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyTrial {
    /// The bridge accepts it.
    Accepted,
    /// The bridge refuses it.
    Refused,
    /// The key is missing, or is none.
    Unusable(Obstacle),
    /// No answer shows whether the bridge accepts it.
    Undecided,
}

// === impl Certificate ===

impl Certificate {
    /// The same, where a certificate of its chain ends earlier.
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

    /// Whether it runs only once the bridge was unlocked by a request with its key.
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
    /// The document, where the right answer arrived.
    pub const fn document(&self) -> Option<&T> {
        match self {
            Self::Answered(Answer::Document(document)) => Some(document),
            Self::Answered(_) | Self::Failed(_) | Self::NotSent => None,
        }
    }
}

// === impl HealthReport ===

impl HealthReport {
    /// The state of a component, where the report has it.
    #[must_use]
    pub fn state_of(&self, component: Component) -> Option<ComponentState> {
        self.components
            .iter()
            .find(|(name, _)| *name == component)
            .map(|(_, state)| *state)
    }
}
