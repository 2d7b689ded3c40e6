//! Evidence to verdict.
//!
//! [`diagnose`] is a table, read from the top: the first row that fits gives the reason. It is total over every
//! combination of evidence, also over those that the prober never brings.
//!
//! What the SCIM request says of the key counts more than what the health report says of it: SCIM is what the identity
//! provider uses.

use std::fmt;

use super::{
    evidence::{Answer, Component, Evidence, Exchange, Obstacle, Reading, TransportFailure},
    target::InvalidSpec,
};
use crate::api::{
    v1alpha1::{ComponentState, IdentityProvider, ScimApi},
    vocabulary::{Reason, Truth},
};

/// What is true of a connection, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why `Ready` is as it is.
    pub reason: Reason,
    /// Where it was seen.
    pub detail: Option<Detail>,
    /// Status of condition `Connected`.
    pub connected: Truth,
    /// Status of condition `AuthFailed`.
    pub auth_failed: Truth,
    /// Status of condition `ScimDisabled`.
    pub scim_disabled: Truth,
    /// What was observed of the SCIM API.
    pub scim_api: ScimApi,
}

/// Where a cause was seen: closed, so that no foreign text can be part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What is wrong with the specification.
    Spec(InvalidSpec),
    /// An entry of the annotation that names the hosts a key may go to is no host pattern.
    Consent,
    /// Which request was answered with which HTTP status.
    Answered(Request, u16),
    /// At which request it was seen.
    At(Request),
    /// What keeps the operator itself from its work.
    Hindered(Hindrance),
}

/// What keeps the operator itself from its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// RBAC does not let it read what the connection names.
    Forbidden,
    /// The API server does not answer it, or answers with an error.
    ApiServer,
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

/// Tells what the evidence means for a connection that declares `declared`.
#[must_use]
pub fn diagnose(declared: Option<IdentityProvider>, evidence: &Evidence) -> Verdict {
    match evidence {
        Evidence::Blocked(obstacle) => blocked(declared, *obstacle),
        Evidence::Probed(exchange) => probed(declared, exchange),
    }
}

fn blocked(declared: Option<IdentityProvider>, obstacle: Obstacle) -> Verdict {
    Verdict::undecided(declared, obstacle.reason(), obstacle.detail())
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
        return Verdict {
            reason: if google {
                Reason::IdentityProviderMismatch
            } else {
                Reason::Connected
            },
            detail: None,
            connected: Truth::True,
            auth_failed: Truth::False,
            scim_disabled: Truth::False,
            scim_api: ScimApi::Enabled,
        };
    }
    if let Some(detail) = refusal(Request::Users, users).or_else(|| refusal(Request::Health, health)) {
        return Verdict {
            reason: Reason::AuthFailed,
            detail: Some(detail),
            connected: Truth::False,
            auth_failed: Truth::True,
            scim_disabled: Truth::Unknown,
            scim_api: ScimApi::Unknown,
        };
    }
    if *users == Reading::Answered(Answer::NotFound) {
        if health.document().is_some() {
            return Verdict {
                reason: Reason::ScimDisabled,
                detail: Some(Detail::Answered(Request::Users, 404)),
                connected: Truth::False,
                auth_failed: Truth::False,
                scim_disabled: Truth::True,
                scim_api: ScimApi::Disabled,
            };
        }
        if *health == Reading::Answered(Answer::NotFound) {
            // Two 404 cannot tell a bridge with its SCIM API off from a wrong address; the declaration can.
            let reason = if google {
                Reason::ScimDisabled
            } else {
                Reason::PathNotFound
            };
            return Verdict::undecided(declared, reason, Some(Detail::Answered(Request::Users, 404)));
        }
    }
    if *users == Reading::Answered(Answer::ServerError(500))
        && let Some(report) = health.document()
        && report
            .state_of(Component::ConfirmationWatcher)
            .is_some_and(|state| state != ComponentState::Healthy)
    {
        return Verdict {
            reason: Reason::ProvisioningOff,
            detail: Some(Detail::Answered(Request::Users, 500)),
            connected: Truth::False,
            auth_failed: Truth::False,
            scim_disabled: Truth::False,
            scim_api: ScimApi::Unknown,
        };
    }
    let symptom = [symptom(Request::Users, users), symptom(Request::Health, health)]
        .into_iter()
        .flatten()
        .min_by_key(|symptom| symptom.row)
        // `/ping` alone decides only where nothing else was asked.
        .or_else(|| symptom_of_ping(ping));
    match symptom {
        Some(Symptom {
            row: _,
            reason,
            detail,
        }) => Verdict::undecided(declared, reason, Some(detail)),
        None => Verdict::undecided(declared, Reason::Progressing, None),
    }
}

/// A failure and the row of the table that it belongs to. Lower rows come first.
struct Symptom {
    row: u8,
    reason: Reason,
    detail: Detail,
}

fn symptom<T>(request: Request, reading: &Reading<T>) -> Option<Symptom> {
    let at = Detail::At(request);
    let answered = |status| Detail::Answered(request, status);
    let (row, reason, detail) = match reading {
        Reading::NotSent | Reading::Answered(Answer::Document(_)) => return None,
        Reading::Failed(failure) => match failure {
            TransportFailure::AddressDenied => (0, Reason::HostDenied, at),
            TransportFailure::CertificateUntrusted => (0, Reason::CertificateUntrusted, at),
            TransportFailure::CertificateExpired => (0, Reason::CertificateExpired, at),
            TransportFailure::CertificateNameMismatch => (0, Reason::CertificateNameMismatch, at),
            TransportFailure::Dns => (1, Reason::DnsFailed, at),
            TransportFailure::Connect => (1, Reason::ConnectFailed, at),
            TransportFailure::TimedOut => (1, Reason::TimedOut, at),
            TransportFailure::Tls => (1, Reason::TlsFailed, at),
            TransportFailure::Http => (3, Reason::ProtocolError, at),
        },
        Reading::Answered(answer) => match answer {
            Answer::Document(_) => return None,
            Answer::Unavailable(status) => (2, Reason::BridgeUnavailable, answered(*status)),
            Answer::ServerError(status) => (2, Reason::BridgeError, answered(*status)),
            Answer::RateLimited => (2, Reason::RateLimited, answered(429)),
            Answer::Redirect(status) => (3, Reason::RedirectRefused, answered(*status)),
            Answer::Blocked => (3, Reason::BlockedByProxy, answered(403)),
            Answer::Foreign | Answer::TooLarge | Answer::Broken => (3, Reason::ProtocolError, answered(200)),
            Answer::Unexpected(status) => (3, Reason::ProtocolError, answered(*status)),
            Answer::NotFound => (4, Reason::PathNotFound, answered(404)),
            // Of `/ping` only: with a key these two are a refusal, which was looked for before.
            Answer::Unauthorized => (5, Reason::ProtocolError, answered(401)),
            Answer::Forbidden => (5, Reason::ProtocolError, answered(403)),
        },
    };
    Some(Symptom { row, reason, detail })
}

fn symptom_of_ping(ping: &Reading<()>) -> Option<Symptom> {
    match ping {
        Reading::Answered(Answer::Foreign | Answer::TooLarge | Answer::Broken) => Some(Symptom {
            row: 3,
            reason: Reason::NotABridge,
            detail: Detail::Answered(Request::Ping, 200),
        }),
        Reading::NotSent | Reading::Failed(_) | Reading::Answered(_) => symptom(Request::Ping, ping),
    }
}

fn refusal<T>(request: Request, reading: &Reading<T>) -> Option<Detail> {
    match reading {
        Reading::Answered(Answer::Unauthorized) => Some(Detail::Answered(request, 401)),
        Reading::Answered(Answer::Forbidden) => Some(Detail::Answered(request, 403)),
        Reading::NotSent | Reading::Failed(_) | Reading::Answered(_) => None,
    }
}

// === impl Verdict ===

impl Verdict {
    /// A verdict that knows nothing of the key, and of the SCIM API only what was declared.
    const fn undecided(declared: Option<IdentityProvider>, reason: Reason, detail: Option<Detail>) -> Self {
        Self {
            reason,
            detail,
            connected: if matches!(reason, Reason::Progressing) {
                Truth::Unknown
            } else {
                Truth::False
            },
            auth_failed: Truth::Unknown,
            scim_disabled: if matches!(declared, Some(IdentityProvider::GoogleWorkspace)) {
                Truth::True
            } else {
                Truth::Unknown
            },
            scim_api: ScimApi::Unknown,
        }
    }

    /// The verdict before anything was probed.
    #[must_use]
    pub const fn progressing(declared: Option<IdentityProvider>, hindrance: Option<Hindrance>) -> Self {
        let detail = match hindrance {
            Some(hindrance) => Some(Detail::Hindered(hindrance)),
            None => None,
        };
        Self::undecided(declared, Reason::Progressing, detail)
    }

    /// The layer at which the probe ended, for logs; `none` where it went all the way.
    #[must_use]
    pub const fn layer(&self) -> &'static str {
        match self.reason {
            Reason::Connected | Reason::Progressing => "none",
            Reason::SecretNotFound
            | Reason::SecretKeyMissing
            | Reason::ApiKeyMalformed
            | Reason::CaNotFound
            | Reason::CaInvalid
            | Reason::InvalidSpec
            | Reason::ConsentMissing => "settings",
            Reason::DnsFailed => "name",
            Reason::HostDenied | Reason::ConnectFailed => "address",
            Reason::CertificateUntrusted
            | Reason::CertificateExpired
            | Reason::CertificateNameMismatch
            | Reason::TlsFailed => "tls",
            Reason::IdentityProviderMismatch => "users",
            Reason::AuthFailed
            | Reason::ScimDisabled
            | Reason::PathNotFound
            | Reason::ProvisioningOff
            | Reason::TimedOut
            | Reason::BridgeUnavailable
            | Reason::BridgeError
            | Reason::RateLimited
            | Reason::RedirectRefused
            | Reason::BlockedByProxy
            | Reason::NotABridge
            | Reason::ProtocolError => match self.detail {
                Some(Detail::Answered(Request::Health, _) | Detail::At(Request::Health)) => "health",
                Some(Detail::Answered(Request::Users, _) | Detail::At(Request::Users)) => "users",
                Some(
                    Detail::Answered(Request::Ping, _)
                    | Detail::At(Request::Ping)
                    | Detail::Spec(_)
                    | Detail::Consent
                    | Detail::Hindered(_),
                )
                | None => "ping",
            },
        }
    }

    /// What is wrong, where it was seen, and what to do: the message of `Ready`.
    #[must_use]
    pub fn message(&self) -> String {
        let mut parts = vec![self.reason.message().to_owned()];
        parts.extend(self.detail.as_ref().map(|detail| format!("({detail})")));
        parts.extend(Some(self.reason.action().to_owned()).filter(|action| !action.is_empty()));
        parts.join(" ")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

// === impl Detail ===

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(what) => what.fmt(f),
            Self::Consent => f.write_str("an entry of the annotation is not a host pattern"),
            Self::Answered(request, status) => write!(f, "{request}: {status}"),
            Self::At(request) => request.fmt(f),
            Self::Hindered(Hindrance::Forbidden) => {
                f.write_str("the operator may not read what this connection names: see its RBAC")
            }
            Self::Hindered(Hindrance::ApiServer) => {
                f.write_str("the API server does not give the operator what this connection names")
            }
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

// === impl Obstacle ===

impl Obstacle {
    /// The reason that an obstacle gives.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::InvalidSpec(_) => Reason::InvalidSpec,
            Self::HostDenied => Reason::HostDenied,
            Self::SecretNotFound => Reason::SecretNotFound,
            Self::SecretKeyMissing => Reason::SecretKeyMissing,
            Self::ApiKeyMalformed => Reason::ApiKeyMalformed,
            Self::ConsentMissing | Self::ConsentMalformed => Reason::ConsentMissing,
            Self::CaNotFound => Reason::CaNotFound,
            Self::CaInvalid => Reason::CaInvalid,
        }
    }

    /// What there is to say of it beside the reason.
    #[must_use]
    pub const fn detail(self) -> Option<Detail> {
        match self {
            Self::InvalidSpec(what) => Some(Detail::Spec(what)),
            Self::ConsentMalformed => Some(Detail::Consent),
            Self::HostDenied
            | Self::SecretNotFound
            | Self::SecretKeyMissing
            | Self::ApiKeyMalformed
            | Self::ConsentMissing
            | Self::CaNotFound
            | Self::CaInvalid => None,
        }
    }
}
