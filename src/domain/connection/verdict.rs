//! Evidence to verdict.
//!
//! [`diagnose`] is a table, read from the top: the first row that fits gives the reason. It covers every combination of
//! evidence, even those that the prober never produces.
//!
//! The answer to the SCIM request counts more than the health report: the identity provider uses SCIM.

use std::fmt;

use super::{
    evidence::{
        Answer, Blocker, CaFault, ChainFault, Component, ConsentFault, DateFault, Denial, DnsFault, Evidence,
        Exchange, HealthReport, HttpFault, KeyFault, Member, NameFault, Phase, ProxyFault, Reading, Roots,
        TlsFault, TransportFailure,
    },
    target::InvalidSpec,
};
use crate::api::{
    connection::{ComponentState, IdentityProvider, ScimApi},
    vocabulary::{Class, Layer, Reason, Truth},
};

/// The diagnosis of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why `Ready` is as it is.
    pub reason: Reason,
    /// What the verdict asks for. This is the reason's class, with two exceptions: [`Detail::AsDeclared`] is ok, and
    /// [`Verdict::where_proven`] makes the answer of a front transient.
    pub class: Class,
    /// What was found, and in which request.
    pub detail: Option<Detail>,
    /// Status of condition `Connected`.
    pub connected: Truth,
    /// Status of condition `AuthFailed`.
    pub auth_failed: Truth,
    /// Status of condition `ScimDisabled`.
    pub scim_disabled: Truth,
    /// Whether the SCIM API is on or off.
    pub scim_api: ScimApi,
    /// Whether a front may have answered instead of the bridge, as fronts do while a bridge restarts.
    pub may_be_a_front: bool,
}

/// What was found, and in which request. The enum is closed, so that no text of a server can reach a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Which rule the specification breaks.
    Spec(InvalidSpec),
    /// Which rule of the address policy refuses the host in the specification.
    Denied(Denial),
    /// Why the entry cannot be a key.
    Key(KeyFault),
    /// Why the Secret does not consent. [`ConsentFault::Unnamed`] is the reason itself and has no detail.
    Consent(ConsentFault),
    /// The CA object exists but has no such entry.
    CaEntry,
    /// Why the operator does not use the CA entry.
    Ca(CaFault),
    /// Which request was answered with which HTTP status.
    Answered(Request, u16),
    /// Which request was answered with 200, and why the body is unusable.
    Unusable(Request, Body),
    /// Which request got no answer, and why.
    Failed(Request, TransportFailure),
    /// A probe proved that the bridge is as declared.
    AsDeclared,
    /// The SCIM API is off, but no request could prove the key.
    KeyUnproven,
    /// Why the operator could not probe.
    Pending(PendingCause),
}

/// Why the body of a 200 is unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// It is not the requested document.
    Foreign,
    /// It is an HTML page.
    Page,
    /// It is too large: the operator does not read that much.
    TooLarge,
    /// It broke off.
    Broken,
    /// It has a content coding, although the operator accepts none.
    Encoded,
}

/// Why the operator could not probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingCause {
    /// RBAC does not allow it to read an object that the connection references.
    Forbidden,
    /// The API server did not answer, or answered with an error.
    ApiServer,
    /// It probes a bridge for one connection at a time. Other connections used up the time that this one may wait.
    BridgeBusy,
}

/// The requests of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// `GET /ping`
    Ping,
    /// `GET /health`
    Health,
    /// `GET /scim/Users`
    Users,
}

/// Returns the verdict for a connection that declares `declared`.
#[must_use]
pub fn diagnose(declared: Option<IdentityProvider>, evidence: &Evidence) -> Verdict {
    match evidence {
        Evidence::Blocked(blocker) => blocked(*blocker),
        Evidence::Probed(exchange) => probed(declared, exchange),
    }
}

fn blocked(blocker: Blocker) -> Verdict {
    Verdict::undecided(blocker.reason(), blocker.detail())
}

fn probed(declared: Option<IdentityProvider>, exchange: &Exchange) -> Verdict {
    let Exchange {
        ping,
        health,
        users,
        groups: _,
        certificate: _,
        next_key: _,
        retry_after: _,
    } = exchange;
    let google = declared == Some(IdentityProvider::GoogleWorkspace);

    if users.document().is_some() {
        let reason = if google {
            Reason::IdentityProviderMismatch
        } else {
            Reason::Connected
        };
        return Verdict {
            connected: Truth::True,
            auth_failed: Truth::False,
            scim_disabled: Truth::False,
            scim_api: ScimApi::Enabled,
            ..Verdict::undecided(reason, None)
        };
    }
    if let Some(refused) = refusal(Request::Users, users).or_else(|| refusal(Request::Health, health)) {
        return refused_by(exchange, refused);
    }
    if *users == Reading::Answered(Answer::NotFound)
        && let Some(verdict) = scim_not_found(google, ping, health)
    {
        return verdict;
    }
    if *users == Reading::Answered(Answer::ServerError(500))
        && let Some(report) = health.document()
        && report
            .state_of(Component::ConfirmationWatcher)
            .is_some_and(|state| state != ComponentState::Healthy)
    {
        return Verdict {
            auth_failed: Truth::False,
            scim_disabled: Truth::False,
            ..Verdict::undecided(
                Reason::ProvisioningOff,
                Some(Detail::Answered(Request::Users, 500)),
            )
        };
    }
    let failure = [
        failure_of(Request::Users, users),
        failure_of(Request::Health, health),
    ]
    .into_iter()
    .flatten()
    .min_by_key(|failure| failure.row)
    // `/ping` alone decides only if no other request was sent.
    .or_else(|| failure_of_ping(ping));
    match failure {
        Some(Failure {
            row: _,
            reason,
            detail,
        }) => Verdict {
            may_be_a_front: may_be_a_front(reason, ping, detail),
            ..Verdict::undecided(reason, Some(detail))
        },
        None => Verdict::undecided(Reason::Progressing, None),
    }
}

/// The verdict on a refusal: the bridge refused the key, or a front refused the request.
fn refused_by(exchange: &Exchange, refused: Detail) -> Verdict {
    match refusal_of_a_front(&exchange.ping, &exchange.health, &exchange.users) {
        Some(detail) => Verdict {
            may_be_a_front: true,
            ..Verdict::undecided(Reason::BlockedByProxy, Some(detail))
        },
        None => Verdict {
            auth_failed: Truth::True,
            ..Verdict::undecided(Reason::AuthFailed, Some(refused))
        },
    }
}

/// The answer which shows that a front refused, and not the bridge. The key is then not at fault.
///
/// A bridge answers `/ping` without a key: if that is refused too, a front refused it.
#[must_use]
pub fn refusal_of_a_front(
    ping: &Reading<()>,
    health: &Reading<HealthReport>,
    users: &Reading<u64>,
) -> Option<Detail> {
    refusal(Request::Ping, ping)
        .or_else(|| front_refusal(Request::Ping, ping))
        .or_else(|| front_refusal(Request::Users, users))
        .or_else(|| front_refusal(Request::Health, health))
}

/// The verdict if the SCIM API answers 404. `None` if `/health` fails in another way.
fn scim_not_found(google: bool, ping: &Reading<()>, health: &Reading<HealthReport>) -> Option<Verdict> {
    if health.document().is_some() {
        let (class, detail) = if google {
            (Class::Ok, Detail::AsDeclared)
        } else {
            (
                Reason::ScimDisabled.class(),
                Detail::Answered(Request::Users, 404),
            )
        };
        return Some(Verdict {
            class,
            auth_failed: Truth::False,
            scim_disabled: Truth::True,
            scim_api: ScimApi::Disabled,
            ..Verdict::undecided(Reason::ScimDisabled, Some(detail))
        });
    }
    if *health != Reading::Answered(Answer::NotFound) {
        return None;
    }
    // A bridge that answers 404 twice has its SCIM API off, or the ingress does not route its paths. The declaration
    // decides. Without `pong` the answers are not a bridge's.
    Some(if google && ping.document().is_some() {
        Verdict {
            scim_disabled: Truth::True,
            ..Verdict::undecided(Reason::ScimDisabled, Some(Detail::KeyUnproven))
        }
    } else {
        Verdict {
            may_be_a_front: ping.document().is_none(),
            ..Verdict::undecided(Reason::PathNotFound, Some(Detail::Answered(Request::Users, 404)))
        }
    })
}

/// Whether a front may have given the answers that lead to `reason`. While a bridge restarts, a front may answer `/ping`
/// instead of the bridge, and may present its own certificate. After a `pong`, the answers are the bridge's.
fn may_be_a_front(reason: Reason, ping: &Reading<()>, detail: Detail) -> bool {
    match reason {
        Reason::BlockedByProxy => !matches!(detail, Detail::Failed(_, _)),
        Reason::PathNotFound
        | Reason::RedirectRefused
        | Reason::NotABridge
        | Reason::ProtocolError
        | Reason::CertificateUntrusted
        | Reason::CertificateNameMismatch => ping.document().is_none(),
        Reason::IdentityProviderMismatch
        | Reason::Connected
        | Reason::AuthFailed
        | Reason::ScimDisabled
        | Reason::ProvisioningOff
        | Reason::SecretNotFound
        | Reason::SecretKeyMissing
        | Reason::ApiKeyMalformed
        | Reason::CaNotFound
        | Reason::CaInvalid
        | Reason::InvalidSpec
        | Reason::HostDenied
        | Reason::ConsentMissing
        | Reason::CertificateExpired
        | Reason::DnsFailed
        | Reason::ConnectFailed
        | Reason::TimedOut
        | Reason::TlsFailed
        | Reason::BridgeUnavailable
        | Reason::BridgeError
        | Reason::RateLimited
        | Reason::Progressing => false,
    }
}

/// A failure and its row in the table. Lower rows come first.
struct Failure {
    row: u8,
    reason: Reason,
    detail: Detail,
}

fn failure_of<T>(request: Request, reading: &Reading<T>) -> Option<Failure> {
    let answered = |status| Detail::Answered(request, status);
    let unusable = |body| (3, Reason::ProtocolError, Detail::Unusable(request, body));
    let (row, reason, detail) = match reading {
        Reading::NotSent | Reading::Answered(Answer::Document(_)) => return None,
        Reading::Failed(failure) => {
            let (row, reason) = match failure {
                TransportFailure::AddressDenied(_) => (0, Reason::HostDenied),
                TransportFailure::CertificateUntrusted(_) => (0, Reason::CertificateUntrusted),
                TransportFailure::CertificateExpired(_) => (0, Reason::CertificateExpired),
                TransportFailure::CertificateNameMismatch(_) => (0, Reason::CertificateNameMismatch),
                TransportFailure::Proxy(ProxyFault::Login) => (0, Reason::BlockedByProxy),
                TransportFailure::Dns(_) => (1, Reason::DnsFailed),
                TransportFailure::Connect
                | TransportFailure::Proxy(
                    ProxyFault::Unreachable | ProxyFault::Tunnel | ProxyFault::Answered(_),
                ) => (1, Reason::ConnectFailed),
                TransportFailure::TimedOut(_) | TransportFailure::Proxy(ProxyFault::TimedOut) => {
                    (1, Reason::TimedOut)
                }
                TransportFailure::Tls(_) => (1, Reason::TlsFailed),
                TransportFailure::Http(_) => (3, Reason::ProtocolError),
            };
            (row, reason, Detail::Failed(request, *failure))
        }
        Reading::Answered(answer) => match answer {
            Answer::Document(_) => return None,
            Answer::Unavailable(status) => (2, Reason::BridgeUnavailable, answered(*status)),
            Answer::ServerError(status) => (2, Reason::BridgeError, answered(*status)),
            Answer::RateLimited => (2, Reason::RateLimited, answered(429)),
            Answer::Redirect(status) => (3, Reason::RedirectRefused, answered(*status)),
            Answer::Blocked(status) => (3, Reason::BlockedByProxy, answered(*status)),
            Answer::Foreign => unusable(Body::Foreign),
            Answer::Page => unusable(Body::Page),
            Answer::TooLarge => unusable(Body::TooLarge),
            Answer::Broken => unusable(Body::Broken),
            Answer::Encoded => unusable(Body::Encoded),
            Answer::Unexpected(status) => (3, Reason::ProtocolError, answered(*status)),
            Answer::NotFound => (4, Reason::PathNotFound, answered(404)),
            // Only `/ping` gets here: for requests with the key these two are refusals, handled before.
            Answer::Unauthorized => (3, Reason::BlockedByProxy, answered(401)),
            Answer::Forbidden => (3, Reason::BlockedByProxy, answered(403)),
        },
    };
    Some(Failure { row, reason, detail })
}

fn failure_of_ping(ping: &Reading<()>) -> Option<Failure> {
    let body = match ping {
        Reading::Answered(Answer::Foreign) => Body::Foreign,
        Reading::Answered(Answer::Page) => Body::Page,
        Reading::Answered(Answer::TooLarge) => Body::TooLarge,
        Reading::NotSent | Reading::Failed(_) | Reading::Answered(_) => {
            return failure_of(Request::Ping, ping);
        }
    };
    Some(Failure {
        row: 3,
        reason: Reason::NotABridge,
        detail: Detail::Unusable(Request::Ping, body),
    })
}

/// A refusal that a bridge may have sent.
fn refusal<T>(request: Request, reading: &Reading<T>) -> Option<Detail> {
    match reading {
        Reading::Answered(Answer::Unauthorized) => Some(Detail::Answered(request, 401)),
        Reading::Answered(Answer::Forbidden) => Some(Detail::Answered(request, 403)),
        Reading::NotSent | Reading::Failed(_) | Reading::Answered(_) => None,
    }
}

/// A refusal that only a front sends.
fn front_refusal<T>(request: Request, reading: &Reading<T>) -> Option<Detail> {
    match reading {
        Reading::Answered(Answer::Blocked(status)) => Some(Detail::Answered(request, *status)),
        Reading::NotSent | Reading::Failed(_) | Reading::Answered(_) => None,
    }
}

// === impl Verdict ===

impl Verdict {
    /// A verdict that leaves the key and the SCIM API unknown.
    const fn undecided(reason: Reason, detail: Option<Detail>) -> Self {
        Self {
            reason,
            class: reason.class(),
            detail,
            connected: if matches!(reason, Reason::Progressing) {
                Truth::Unknown
            } else {
                Truth::False
            },
            auth_failed: Truth::Unknown,
            scim_disabled: Truth::Unknown,
            scim_api: ScimApi::Unknown,
            may_be_a_front: false,
        }
    }

    /// The verdict before anything was probed.
    #[must_use]
    pub const fn progressing(pending_cause: Option<PendingCause>) -> Self {
        let detail = match pending_cause {
            Some(pending_cause) => Some(Detail::Pending(pending_cause)),
            None => None,
        };
        Self::undecided(Reason::Progressing, detail)
    }

    /// The same verdict for an address where a bridge has answered before. There, an answer that a front may have given
    /// is transient.
    #[must_use]
    pub fn where_proven(self) -> Self {
        let class = match self.class {
            Class::Action if self.may_be_a_front => Class::Transient,
            class @ (Class::Ok | Class::Action | Class::Transient | Class::Pending) => class,
        };
        Self { class, ..self }
    }

    /// The layer at which the probe ended. `None` if it passed every layer, or if no probe ran.
    #[must_use]
    pub fn layer(&self) -> Option<Layer> {
        match self.detail {
            Some(Detail::Failed(request, failure)) => {
                Some(failure.layer().unwrap_or_else(|| request.layer()))
            }
            Some(Detail::Answered(request, _) | Detail::Unusable(request, _)) => Some(request.layer()),
            Some(Detail::KeyUnproven) => Some(Layer::Health),
            Some(Detail::AsDeclared | Detail::Pending(_)) => None,
            Some(
                Detail::Spec(_)
                | Detail::Denied(_)
                | Detail::Key(_)
                | Detail::Consent(_)
                | Detail::CaEntry
                | Detail::Ca(_),
            )
            | None => self.reason.layer(),
        }
    }

    /// What to do next; empty if nobody has to act.
    #[must_use]
    pub fn action(&self) -> &'static str {
        self.detail
            .and_then(Detail::action)
            .unwrap_or_else(|| self.reason.action())
    }

    /// The message of `Ready`: the fault, the request that showed it, and the next step.
    #[must_use]
    pub fn message(&self) -> String {
        let mut parts = vec![self.reason.message().to_owned()];
        parts.extend(self.detail.as_ref().map(|detail| format!("({detail})")));
        parts.extend(Some(self.action().to_owned()).filter(|action| !action.is_empty()));
        parts.join(" ")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

// === impl Detail ===

impl Detail {
    /// What to do next, if the detail asks for something other than the reason does.
    const fn action(self) -> Option<&'static str> {
        match self {
            Self::AsDeclared => Some(""),
            Self::KeyUnproven => {
                Some("Have the ingress forward /health to the bridge: with it the operator proves the key.")
            }
            Self::Unusable(_, Body::Encoded) => {
                Some("Turn off compression for the bridge's paths in the front: the operator asks for none.")
            }
            Self::Unusable(_, Body::Broken) => Some(
                "Read the front's log: the front or the bridge closed the connection in the middle of the answer.",
            ),
            // A page for `/ping` is `NotABridge`, which has its own action.
            Self::Unusable(Request::Health | Request::Users, Body::Page) => Some(
                "Let the operator's requests pass the login or firewall. Some firewalls, such as F5's, refuse with a page and 200.",
            ),
            Self::Failed(_, failure) => failure.action(),
            Self::Denied(denial) => Some(denial.action()),
            Self::CaEntry => Some(
                "Correct spec.tls.caRef.key, or add that entry. The type of a Secret does not matter here.",
            ),
            Self::Ca(fault) => fault.action(),
            Self::Consent(fault) => Some(fault.action()),
            Self::Answered(_, status) => Status::of(status).action(),
            Self::Unusable(_, Body::Foreign | Body::Page | Body::TooLarge)
            | Self::Key(_)
            | Self::Spec(_)
            | Self::Pending(_) => None,
        }
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(rule) => rule.fmt(f),
            Self::Denied(denial) => f.write_str(denial.description()),
            Self::Key(fault) => f.write_str(fault.description()),
            Self::Consent(fault) => f.write_str(fault.description()),
            Self::CaEntry => f.write_str("the object exists, but it has no such entry"),
            Self::Ca(fault) => f.write_str(fault.description()),
            Self::Answered(request, status) => match Status::of(*status).description() {
                "" => write!(f, "{request}: {status}"),
                description => write!(f, "{request}: {status}, {description}"),
            },
            Self::Unusable(request, body) => write!(f, "{request}: 200, {body}"),
            Self::Failed(request, TransportFailure::Proxy(ProxyFault::Answered(status))) => write!(
                f,
                "{request}: {status} from the operator's own proxy (--bridge-proxy), not from the bridge"
            ),
            Self::Failed(request, failure) => match failure.description() {
                "" => request.fmt(f),
                description => write!(f, "{request}: {description}"),
            },
            Self::AsDeclared => f.write_str("as spec.identityProvider declares; /health accepts the key"),
            Self::KeyUnproven => f.write_str("GET /health: 404, so no request could prove the key"),
            Self::Pending(PendingCause::Forbidden) => f.write_str(
                "RBAC does not allow the operator to read the Secret or ConfigMap that this connection references",
            ),
            Self::Pending(PendingCause::ApiServer) => {
                f.write_str("the API server did not return the Secret or ConfigMap that this connection references")
            }
            Self::Pending(PendingCause::BridgeBusy) => f.write_str(
                "probes of other connections to this bridge took all of spec.timeout; the operator will retry",
            ),
        }
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Foreign => "but the body is of another kind",
            Self::Page => "but the body is an HTML page",
            Self::TooLarge => "but the body is too large",
            Self::Broken => "but the body broke off",
            Self::Encoded => "but the body is compressed",
        })
    }
}

// === impl Status ===

/// HTTP statuses that have a description or an action beside those of their reason.
enum Status {
    /// 304
    NotModified,
    /// 421
    Misdirected,
    /// 505
    Version,
    /// 525 and 526 of Cloudflare
    OriginTls,
    /// 561 of AWS
    IdentityProvider,
    /// 1xx
    Informational,
    /// A success other than 200.
    Success,
    /// A 3xx that is not a redirect.
    NoRedirect,
    /// Another 4xx.
    Rejected,
    /// Any status that its reason explains fully.
    Plain,
}

impl Status {
    const fn of(status: u16) -> Self {
        match status {
            304 => Self::NotModified,
            421 => Self::Misdirected,
            505 => Self::Version,
            525 | 526 => Self::OriginTls,
            561 => Self::IdentityProvider,
            100..=199 => Self::Informational,
            201..=299 => Self::Success,
            305 | 306 | 309..=399 => Self::NoRedirect,
            400 | 402 | 405 | 406 | 409..=418 | 422..=424 | 426 | 428 | 431 => Self::Rejected,
            _ => Self::Plain,
        }
    }

    /// The meaning of the status; empty if the number is enough.
    const fn description(&self) -> &'static str {
        match self {
            Self::NotModified => "the answer of a cache",
            Self::Misdirected => "the front does not serve this host",
            Self::Version => "the server does not accept HTTP/1.1",
            Self::OriginTls => "Cloudflare cannot set up TLS to the bridge",
            Self::IdentityProvider => "the login of an AWS load balancer failed",
            Self::Informational => "an informational status",
            Self::Success => "a success other than 200",
            Self::NoRedirect => "a 3xx status that is not a redirect",
            Self::Rejected => "the server rejects the request",
            Self::Plain => "",
        }
    }

    /// What to do next, if the status asks for something other than its reason does.
    const fn action(&self) -> Option<&'static str> {
        match self {
            Self::NotModified => Some("Turn off caching for the bridge's paths in the front."),
            Self::Misdirected => Some(
                "Compare the host in spec.url and spec.tls.serverName with the names that the front serves.",
            ),
            Self::Version => Some("Allow HTTP/1.1 in the front before the bridge."),
            Self::OriginTls => Some(
                "Give the bridge a valid certificate for its host, or correct the SSL/TLS mode in Cloudflare.",
            ),
            Self::IdentityProvider => {
                Some("Remove the login from the load balancer's rule for /ping, /health and /scim.")
            }
            Self::Informational | Self::Success | Self::NoRedirect | Self::Rejected | Self::Plain => None,
        }
    }
}

// === impl Denial ===

impl Denial {
    /// What the rule says.
    const fn description(self) -> &'static str {
        match self {
            Self::Host => "no pattern of --allowed-host fits the host",
            Self::Network => "--deny-cidr denies the address",
            Self::ApiServer => "the address is the Kubernetes API server's",
            Self::Special => "the address is loopback, link-local, metadata, multicast or reserved",
            Self::ServerName => "spec.tls.serverName cannot be used together with --bridge-proxy",
        }
    }

    /// What to do next.
    const fn action(self) -> &'static str {
        match self {
            Self::Host => {
                "Correct spec.url, or ask the operator's administrator to add the host to --allowed-host."
            }
            Self::Network => {
                "Correct spec.url, or ask the operator's administrator to take the network out of --deny-cidr. \
                 Other flags cannot allow it."
            }
            Self::ApiServer | Self::Special => {
                "Correct spec.url or its DNS record, or ask the operator's administrator to add the network to --allow-cidr."
            }
            Self::ServerName => {
                "Remove spec.tls.serverName, or ask the operator's administrator to name the host in --bridge-no-proxy."
            }
        }
    }
}

// === impl KeyFault ===

impl KeyFault {
    /// What was found. It reveals neither the length nor the characters of the entry.
    const fn description(self) -> &'static str {
        match self {
            Self::Empty => "it is empty",
            Self::TooLong => "it is longer than 8 KiB",
            Self::Blank => "it has a blank or a line break",
            Self::Character => "it has a character that no bearer token can have",
        }
    }
}

// === impl ConsentFault ===

impl ConsentFault {
    /// What was found.
    const fn description(self) -> &'static str {
        match self {
            Self::Unnamed => "the annotation does not name the host",
            Self::Foreign => "the Secret's type shows that it is for something else",
            Self::InClear => "an http:// address needs the entry http://HOST in the annotation",
            Self::ForTls => "the annotation names the host without http://, which allows https:// only",
            Self::Malformed => "an entry of the annotation is not a host pattern",
        }
    }

    /// What to do next.
    const fn action(self) -> &'static str {
        match self {
            Self::Unnamed => Reason::ConsentMissing.action(),
            Self::Foreign => {
                "Keep the key in a Secret of type Opaque, or name the host in the annotation \
                 scimbridge.dev/allowed-hosts."
            }
            Self::InClear => {
                "Add http://HOST to the Secret's annotation scimbridge.dev/allowed-hosts, or use an https:// address."
            }
            Self::ForTls => {
                "Write the host as http://HOST in the Secret's annotation scimbridge.dev/allowed-hosts, or use an \
                 https:// address."
            }
            Self::Malformed => {
                "Correct that entry of the Secret's annotation scimbridge.dev/allowed-hosts, or add the host."
            }
        }
    }
}

// === impl TransportFailure ===

impl TransportFailure {
    /// What happened; empty if the reason explains it fully.
    const fn description(self) -> &'static str {
        match self {
            Self::Dns(DnsFault::NoAddress) => "the name servers know no address for the name",
            Self::Dns(DnsFault::TimedOut) => "no name server answered in time",
            Self::Dns(DnsFault::ServerError) => "the name servers answered with an error",
            Self::TimedOut(Phase::Connection) => "waiting for the TCP connection",
            Self::TimedOut(Phase::Handshake) => "waiting for the TLS handshake",
            Self::TimedOut(Phase::Answer) => "waiting for the answer",
            Self::CertificateUntrusted(fault) => fault.description(),
            Self::CertificateExpired(fault) => match fault {
                DateFault::Ended(Member::Server) => "the server's certificate has expired",
                DateFault::Ended(Member::Intermediate) => "an intermediate certificate has expired",
                DateFault::Ended(Member::Authority) => {
                    "the authority's certificate in spec.tls.caRef has expired"
                }
                DateFault::NotYet => "it is not valid yet, by the operator's clock",
            },
            Self::CertificateNameMismatch(fault) => match fault {
                NameFault::Other => "",
                NameFault::Unnamed => "it has no subject alternative name, and a common name does not count",
                NameFault::AddressAsName => "it has the address as a DNS name, not as an IP address",
            },
            Self::Tls(fault) => match fault {
                TlsFault::Version => "the server offers no TLS version from 1.2 on",
                TlsFault::Parameters => "the server finds no cipher suite, group or signature in common",
                TlsFault::ClientCertificate => "the server asks for a client certificate",
                TlsFault::UnknownName => "the server does not know the name it was asked for",
                TlsFault::NotTls => "the peer does not speak TLS",
                TlsFault::Internal => "the server reports an internal error",
                TlsFault::Closed => "the peer closed the connection during the handshake",
                TlsFault::Other => "",
            },
            Self::Proxy(fault) => match fault {
                ProxyFault::Unreachable => "the operator's own proxy (--bridge-proxy) cannot be reached",
                ProxyFault::Login => "the operator's own proxy (--bridge-proxy) asks for a login: 407",
                ProxyFault::Tunnel => {
                    "the operator's own proxy (--bridge-proxy) did not open a tunnel to the bridge"
                }
                ProxyFault::TimedOut => "waiting for the operator's own proxy (--bridge-proxy)",
                // Its status is part of the detail.
                ProxyFault::Answered(_) => "",
            },
            Self::AddressDenied(denial) => denial.description(),
            Self::Http(fault) => match fault {
                HttpFault::Other | HttpFault::InClear => "the answer is not valid HTTP",
                HttpFault::Head => "the head of the answer is too large",
                HttpFault::TlsPort => "the port speaks TLS, and the request came in plain HTTP",
            },
            Self::Connect => "",
        }
    }

    /// What to do next, if this failure asks for something other than its reason does.
    const fn action(self) -> Option<&'static str> {
        match self {
            Self::Dns(DnsFault::TimedOut) => Some(
                "Check that the operator reaches the cluster's DNS: an egress NetworkPolicy has to allow port 53.",
            ),
            Self::Dns(DnsFault::ServerError) => {
                Some("Check the cluster's DNS and the name servers of the host's zone.")
            }
            Self::TimedOut(Phase::Connection) => Some(
                "Check the address and port, and look for a firewall or NetworkPolicy that drops packets.",
            ),
            Self::TimedOut(Phase::Handshake) => Some(
                "Check that the port speaks TLS, and that the front before the bridge is not overloaded.",
            ),
            Self::CertificateUntrusted(fault) => Some(fault.action()),
            Self::CertificateExpired(fault) => match fault {
                DateFault::Ended(Member::Server) => None,
                DateFault::Ended(Member::Intermediate) => {
                    Some("Have the server send its issuer's current certificate instead of the old one.")
                }
                DateFault::Ended(Member::Authority) => {
                    Some("Store the authority's current certificate in spec.tls.caRef.")
                }
                DateFault::NotYet => Some("Check the clocks of bridge, cluster and issuer."),
            },
            Self::CertificateNameMismatch(fault) => match fault {
                NameFault::Other => None,
                NameFault::Unnamed => {
                    Some("Issue the certificate again with the host as a subject alternative name.")
                }
                NameFault::AddressAsName => Some(
                    "Issue the certificate again with a subject alternative name of the kind IP address.",
                ),
            },
            Self::Tls(fault) => match fault {
                TlsFault::Version => Some("Allow TLS 1.2 or 1.3 at the server."),
                TlsFault::Parameters => {
                    Some("Allow ECDHE with AES-GCM or ChaCha20-Poly1305 at the server, or TLS 1.3.")
                }
                TlsFault::ClientCertificate => Some(
                    "Stop asking for a client certificate at the bridge's address: the operator has none to send.",
                ),
                TlsFault::UnknownName => Some(
                    "Correct spec.url or spec.tls.serverName, or add the name to the front's TLS settings.",
                ),
                TlsFault::NotTls => {
                    Some("Correct the port in spec.url: the peer may speak plain HTTP there.")
                }
                TlsFault::Internal => Some(
                    "Read the log of the bridge or its front: it may have no certificate for this name yet.",
                ),
                TlsFault::Closed => Some(
                    "Check that the port speaks TLS. Check that the front has a certificate and a backend for this name.",
                ),
                TlsFault::Other => None,
            },
            Self::Proxy(ProxyFault::Login) => {
                Some("Ask the operator's administrator to give --bridge-proxy its user and password.")
            }
            Self::Proxy(ProxyFault::Unreachable | ProxyFault::TimedOut) => {
                Some("Ask the operator's administrator to check --bridge-proxy.")
            }
            Self::Proxy(ProxyFault::Tunnel | ProxyFault::Answered(_)) => Some(
                "Check in the proxy's log why it refuses the request, or name the host in --bridge-no-proxy.",
            ),
            Self::AddressDenied(denial) => Some(denial.action()),
            Self::Http(fault) => match fault {
                HttpFault::Other => {
                    Some("Correct the host or port in spec.url, if another service answers there.")
                }
                HttpFault::InClear => {
                    Some("Correct the port in spec.url. If that port speaks TLS, write https:// in spec.url.")
                }
                HttpFault::Head => None,
                HttpFault::TlsPort => Some("Write https:// in spec.url."),
            },
            Self::Dns(DnsFault::NoAddress) | Self::TimedOut(Phase::Answer) | Self::Connect => None,
        }
    }
}

// === impl ChainFault ===

impl ChainFault {
    /// What was found.
    const fn description(self) -> &'static str {
        match self {
            Self::UnknownIssuer(Roots::System) => {
                "its chain ends at an authority that is not among the operator's roots"
            }
            Self::UnknownIssuer(Roots::Given) => {
                "its chain ends at an authority that is not in spec.tls.caRef"
            }
            Self::Incomplete(Roots::System) => {
                "its issuer is not among the operator's roots, and the server did not send the issuer's certificate"
            }
            Self::Incomplete(Roots::Given) => {
                "its issuer is not in spec.tls.caRef, and the server did not send the issuer's certificate"
            }
            Self::SelfSigned(Roots::System) => "it is self-signed",
            Self::SelfSigned(Roots::Given) => "it is self-signed and not in spec.tls.caRef",
            Self::DefaultCertificate => {
                "it is self-signed and for another name, as the default certificate of a front is"
            }
            Self::OtherKey(Member::Intermediate | Member::Server) => {
                "the intermediate certificate that the server sent has the issuer's name, but another key"
            }
            Self::OtherKey(Member::Authority) => "a trusted authority has the issuer's name, but another key",
            Self::OtherEncoding => "a trusted authority has the issuer's name, but in another encoding",
            Self::NameConstraint => "a name constraint of an authority excludes a name in it",
            Self::NameConstraintForm => {
                "an authority has a name constraint that the operator cannot check, such as a directoryName"
            }
            Self::Authority => {
                "a certificate in its chain is not an authority's, or has too many authorities below it"
            }
            Self::ServerIsAuthority => "it is the certificate of an authority (CA:TRUE), not of a server",
            Self::TooLong => "its chain is longer, or has more branches, than the operator follows",
            Self::WeakSignature => {
                "a certificate in its chain has a signature that is not accepted, such as one with SHA-1"
            }
            Self::WeakKey => {
                "a key in its chain is not accepted, such as RSA below 2048 bits, or a rare curve"
            }
            Self::Usage => "the extended key usage of a certificate in its chain does not include servers",
            Self::Version => "a certificate in its chain is not of X.509 version 3",
            Self::Extension => {
                "a certificate in its chain has a critical extension that the operator does not know"
            }
            Self::Form => "a certificate in its chain cannot be decoded",
            Self::Revoked => "a certificate in its chain was revoked",
        }
    }

    /// What to do next.
    const fn action(self) -> &'static str {
        match self {
            Self::UnknownIssuer(Roots::System) => {
                "If the CA is private, name it in spec.tls.caRef. If it is public, have the server send all intermediate certificates."
            }
            Self::UnknownIssuer(Roots::Given) => {
                "Add that authority to spec.tls.caRef, or remove spec.tls.caRef if it is a public one."
            }
            Self::Incomplete(Roots::System) => {
                "Have the server send its intermediate certificates too. If the CA is private, name it in spec.tls.caRef."
            }
            Self::Incomplete(Roots::Given) => {
                "Have the server send its intermediate certificates too, or add the issuer to spec.tls.caRef."
            }
            Self::SelfSigned(Roots::System) => {
                "Store this certificate in spec.tls.caRef, or have an authority issue one."
            }
            Self::SelfSigned(Roots::Given) => "Store the server's current certificate in spec.tls.caRef.",
            Self::DefaultCertificate => {
                "Give the front a certificate for this host: it has none, or none of its routes names the host."
            }
            Self::OtherKey(Member::Intermediate | Member::Server) => {
                "Have the server send the intermediate certificate that belongs to its own."
            }
            Self::OtherKey(Member::Authority) => {
                "Store the authority's current certificate in spec.tls.caRef: an authority that was replaced has a new key."
            }
            Self::OtherEncoding => {
                "Issue the certificate again, with the issuer's name exactly as in the authority's certificate."
            }
            Self::NameConstraint => {
                "Issue the certificate for names that its authorities permit, or use another authority."
            }
            Self::NameConstraintForm => {
                "Store an authority below that one, or the server's certificate itself, in spec.tls.caRef."
            }
            Self::Authority => {
                "Check basicConstraints of each authority in the chain: CA:TRUE, and the path length."
            }
            Self::ServerIsAuthority => {
                "Issue the certificate again without CA:TRUE, or store this one in spec.tls.caRef."
            }
            Self::TooLong => {
                "Have the server send only its chain, with at most six intermediate certificates."
            }
            Self::WeakSignature => "Issue that certificate again, signed with SHA-256 or better.",
            Self::WeakKey => {
                "Issue that certificate again: RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519."
            }
            Self::Usage => "Issue that certificate again with the extended key usage serverAuth.",
            Self::Version => {
                "Issue that certificate again as version 3, the server's with subject alternative names."
            }
            Self::Extension => {
                "Issue that certificate again without that extension, or mark the extension as not critical."
            }
            Self::Form => "Issue that certificate again by the rules of RFC 5280.",
            Self::Revoked => "Issue that certificate again, with a new key.",
        }
    }
}

// === impl CaFault ===

impl CaFault {
    /// What was found.
    const fn description(self) -> &'static str {
        match self {
            Self::Empty => "it holds no certificate",
            Self::TooMuch => "it holds more than 256 KiB or 64 certificates",
            Self::Binary => "it is not text: DER, PKCS #12, a Java key store or UTF-16",
            Self::Encoded => "its PEM text is encoded in base64 a second time",
            Self::Frame => "a BEGIN or END line is missing or malformed",
            Self::Base64 => "a block is not valid base64",
            Self::NotACertificate => "a block is not an X.509 certificate, or is only a part of one",
            Self::PrivateKey => "it holds a private key",
            Self::OtherBlock => {
                "it holds a block of another kind: PKCS #7, a request, a CRL or a TRUSTED CERTIFICATE"
            }
        }
    }

    /// What to do next, if this fault asks for something other than the reason does.
    const fn action(self) -> Option<&'static str> {
        match self {
            Self::Empty => None,
            Self::TooMuch => Some(
                "Keep only the authorities of the bridge. Without spec.tls.caRef, the public ones are trusted.",
            ),
            Self::Binary => {
                Some("Convert it to PEM. For DER, run openssl x509 -inform der -in ca.der -out ca.crt.")
            }
            Self::Encoded => Some("Decode it once with base64 -d, and store the PEM text."),
            Self::Frame => Some(
                "Put each certificate between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----.",
            ),
            Self::Base64 | Self::NotACertificate => {
                Some("Copy each whole certificate again: openssl x509 -in FILE reads a whole one.")
            }
            Self::PrivateKey => Some("Remove the private key. Replace it if others could read it."),
            Self::OtherBlock => Some(
                "Keep only CERTIFICATE blocks. Convert other blocks with openssl pkcs7 -print_certs or openssl x509.",
            ),
        }
    }
}

// === impl Request ===

impl Request {
    /// Its layer.
    #[must_use]
    pub const fn layer(self) -> Layer {
        match self {
            Self::Ping => Layer::Ping,
            Self::Health => Layer::Health,
            Self::Users => Layer::Users,
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ping => "GET /ping",
            Self::Health => "GET /health",
            Self::Users => "GET /scim/Users",
        })
    }
}

// === impl Blocker ===

impl Blocker {
    /// The reason that a blocker leads to.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::InvalidSpec(_) => Reason::InvalidSpec,
            Self::HostDenied(_) => Reason::HostDenied,
            Self::SecretNotFound => Reason::SecretNotFound,
            Self::SecretKeyMissing => Reason::SecretKeyMissing,
            Self::ApiKeyMalformed(_) => Reason::ApiKeyMalformed,
            Self::ConsentMissing(_) => Reason::ConsentMissing,
            Self::CaNotFound | Self::CaEntryMissing => Reason::CaNotFound,
            Self::CaInvalid(_) => Reason::CaInvalid,
        }
    }

    /// The detail beside the reason, if there is one.
    #[must_use]
    pub const fn detail(self) -> Option<Detail> {
        match self {
            Self::InvalidSpec(rule) => Some(Detail::Spec(rule)),
            Self::CaInvalid(fault) => Some(Detail::Ca(fault)),
            Self::HostDenied(denial) => Some(Detail::Denied(denial)),
            Self::ApiKeyMalformed(fault) => Some(Detail::Key(fault)),
            Self::ConsentMissing(
                fault @ (ConsentFault::Foreign
                | ConsentFault::InClear
                | ConsentFault::ForTls
                | ConsentFault::Malformed),
            ) => Some(Detail::Consent(fault)),
            Self::CaEntryMissing => Some(Detail::CaEntry),
            Self::ConsentMissing(ConsentFault::Unnamed)
            | Self::SecretNotFound
            | Self::SecretKeyMissing
            | Self::CaNotFound => None,
        }
    }
}
