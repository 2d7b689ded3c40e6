//! The way of a probe as people think of it, and where it ended.
//!
//! Pure: [`walk`] tells it from the evidence. What it tells never differs from the verdict, for the place where a probe
//! ended follows from the verdict's reason ([`end_of`]).

use std::net::IpAddr;

use url::Host;

use crate::{
    api::{
        v1alpha1::ComponentState,
        vocabulary::{Class, Reason},
    },
    bridge::stages::Layer,
    domain::{
        evidence::{Answer, Component, Denial, Evidence, Exchange, Member, Place, Reading, TransportFailure},
        target::{Scheme, Target},
        verdict::{Detail, Request, Verdict},
    },
};
use k8s_openapi::jiff::Timestamp;

/// The steps from a specification to a bridge that works, each resting on the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Specification, key and CA can be used.
    Settings,
    /// The host's name resolves.
    Name,
    /// Somebody accepts connections there, and the address policy has nothing against it.
    Address,
    /// The certificate is trusted, and for this host.
    Tls,
    /// A bridge answers.
    Ping,
    /// It accepts the key.
    Key,
    /// Its SCIM API is as declared.
    Scim,
    /// Its components are healthy.
    Components,
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// It is behind us.
    Passed,
    /// It is behind us, but worth a look.
    Warned,
    /// Here it ended.
    Failed,
    /// It was not reached, or there is no such step on this way.
    Skipped,
}

/// A step and how it went. The note is in words of our own: nothing that a server chose is part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Which.
    pub step: Step,
    /// How it went.
    pub mark: Mark,
    /// What is known there.
    pub note: String,
}

/// How far the way below HTTP was seen to be open.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Reached {
    /// What the name resolved to.
    pub addresses: Vec<IpAddr>,
    /// The layers that the probe has behind it.
    pub layers: Vec<Layer>,
}

/// Tells the way of a probe. `None` for a target that could not be parsed.
#[must_use]
pub fn walk(
    target: Option<&Target>,
    reached: &Reached,
    evidence: &Evidence,
    verdict: &Verdict,
    now: Timestamp,
) -> Vec<Footprint> {
    let nothing = Exchange::default();
    let exchange = match evidence {
        Evidence::Probed(exchange) => exchange,
        Evidence::Blocked(_) => &nothing,
    };
    let end = end_of(verdict).map(|end| reached.beyond(end, target));
    let walked = Step::ALL.into_iter().map(|step| {
        if end == Some(step) {
            return Footprint::new(step, Mark::Failed, why(verdict));
        }
        let is_past = end.is_some_and(|end| step > end);
        // What a step tells does not depend on the steps before it where it was seen all the same.
        let was_seen = step == Step::Components && exchange.health.document().is_some();
        if is_past && !was_seen {
            Footprint::new(step, Mark::Skipped, "not reached".to_owned())
        } else {
            passed(step, target, reached, exchange, now)
        }
    });
    walked.collect()
}

/// What is known of a step that the probe has behind it.
#[must_use]
pub fn passed(
    step: Step,
    target: Option<&Target>,
    reached: &Reached,
    exchange: &Exchange,
    now: Timestamp,
) -> Footprint {
    let (mark, note) = match step {
        Step::Settings => (
            Mark::Passed,
            "the specification and the key are usable".to_owned(),
        ),
        Step::Name => match target.map(|target| &target.origin.host) {
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => (Mark::Skipped, "an address was given".to_owned()),
            Some(Host::Domain(_)) | None => named(reached, exchange),
        },
        Step::Address => (Mark::Passed, "the server accepts connections".to_owned()),
        Step::Tls => secured(target, exchange, now),
        Step::Ping => match &exchange.ping {
            Reading::Answered(Answer::Document(())) => (Mark::Passed, "a SCIM Bridge answers".to_owned()),
            Reading::Answered(Answer::NotFound) => (
                Mark::Warned,
                "/ping is not there, as with hosted provisioning; the check goes on".to_owned(),
            ),
            Reading::Answered(_) | Reading::NotSent | Reading::Failed(_) => (
                Mark::Warned,
                "/ping did not answer pong; the check goes on".to_owned(),
            ),
        },
        Step::Key if exchange.health.document().is_some() || exchange.users.document().is_some() => {
            (Mark::Passed, "accepted".to_owned())
        }
        Step::Key => (Mark::Skipped, "not proven".to_owned()),
        Step::Scim => match (exchange.users.document(), exchange.groups) {
            (Some(users), Some(groups)) => (Mark::Passed, format!("{users} users, {groups} groups")),
            (Some(users), None) => (Mark::Passed, format!("{users} users")),
            (None, _) => (Mark::Passed, "as declared".to_owned()),
        },
        Step::Components => components(exchange),
    };
    Footprint::new(step, mark, note)
}

/// How the name was resolved.
fn named(reached: &Reached, exchange: &Exchange) -> (Mark, String) {
    let addresses: Vec<String> = reached.addresses.iter().map(ToString::to_string).collect();
    if !addresses.is_empty() {
        return (Mark::Passed, addresses.join(", "));
    }
    match exchange.ping {
        Reading::Failed(TransportFailure::AddressDenied(Denial::Host | Denial::ServerName)) => {
            (Mark::Skipped, "not resolved".to_owned())
        }
        Reading::Failed(TransportFailure::AddressDenied(_)) => {
            (Mark::Passed, "the name has addresses".to_owned())
        }
        Reading::NotSent if reached.layers.is_empty() => (Mark::Skipped, "not resolved".to_owned()),
        Reading::NotSent | Reading::Failed(_) | Reading::Answered(_) => {
            (Mark::Skipped, "the proxy (--bridge-proxy) resolves it".to_owned())
        }
    }
}

fn secured(target: Option<&Target>, exchange: &Exchange, now: Timestamp) -> (Mark, String) {
    if target.is_some_and(|target| target.origin.scheme == Scheme::Http) {
        return (Mark::Warned, "no TLS: the key travels in the clear".to_owned());
    }
    let Some(certificate) = &exchange.certificate else {
        return (
            Mark::Passed,
            "the certificate is trusted, and for this host".to_owned(),
        );
    };
    let days = (certificate.not_after.as_second() - now.as_second()) / 86_400;
    let issuer = certificate.issuer.as_deref().unwrap_or("an unnamed issuer");
    let mark = if days < WARN_DAYS {
        Mark::Warned
    } else {
        Mark::Passed
    };
    let ends = match certificate.ends {
        Member::Server => "",
        Member::Intermediate => " for an intermediate certificate",
        Member::Authority => " for the authority's certificate",
    };
    (mark, format!("certificate of {issuer}, {days} days left{ends}"))
}

/// Certificates with fewer days left are worth a look, as in condition `CertificateExpiring`.
const WARN_DAYS: i64 = 21;

fn components(exchange: &Exchange) -> (Mark, String) {
    let Some(health) = exchange.health.document() else {
        return (Mark::Skipped, "no health report".to_owned());
    };
    let all = &health.components;
    let ill: Vec<&str> = all
        .iter()
        .filter(|(_, state)| *state != ComponentState::Healthy)
        .map(|(component, _)| Component::as_str(*component))
        .collect();
    match (all.len(), ill.as_slice()) {
        (0, _) => (Mark::Skipped, "the report names none".to_owned()),
        (count, []) => (Mark::Passed, format!("{count} healthy")),
        (_, ill) => (
            Mark::Warned,
            format!("not healthy, or out of date: {}", ill.join(", ")),
        ),
    }
}

fn why(verdict: &Verdict) -> String {
    match &verdict.detail {
        Some(detail) => format!("{} ({detail})", verdict.reason.message()),
        None => verdict.reason.message().to_owned(),
    }
}

/// The step at which a probe with this verdict ended; `None` where it went all the way.
#[must_use]
pub fn end_of(verdict: &Verdict) -> Option<Step> {
    let at = match verdict.detail {
        Some(Detail::Answered(request, _) | Detail::Unusable(request, _) | Detail::Failed(request, _)) => {
            Some(Step::of(request))
        }
        Some(Detail::KeyUnproven) => Some(Step::Key),
        Some(
            Detail::Spec(_)
            | Detail::Denied(_)
            | Detail::Key(_)
            | Detail::Consent(_)
            | Detail::CaEntry
            | Detail::Ca(_)
            | Detail::AsDeclared
            | Detail::Hindered(_),
        )
        | None => None,
    };
    // Below HTTP: of the first request it was the layer, of a later one the request that it was met at.
    if let Some(Detail::Failed(_, failure)) = verdict.detail
        && let Some(layer) = failure.place().map(Step::at)
    {
        return at.filter(|at| *at > Step::Ping).or(Some(layer));
    }
    match verdict.reason {
        Reason::Connected => None,
        Reason::ScimDisabled if verdict.class == Class::Ok => None,
        Reason::SecretNotFound
        | Reason::SecretKeyMissing
        | Reason::ApiKeyMalformed
        | Reason::CaNotFound
        | Reason::CaInvalid
        | Reason::InvalidSpec
        | Reason::ConsentMissing => Some(Step::Settings),
        Reason::HostDenied => Some(Step::Address),
        Reason::NotABridge | Reason::Progressing => Some(Step::Ping),
        Reason::AuthFailed => Some(Step::Key),
        Reason::ScimDisabled if verdict.detail == Some(Detail::KeyUnproven) => Some(Step::Key),
        Reason::IdentityProviderMismatch
        | Reason::ScimDisabled
        | Reason::PathNotFound
        | Reason::ProvisioningOff => Some(Step::Scim),
        Reason::CertificateUntrusted
        | Reason::CertificateExpired
        | Reason::CertificateNameMismatch
        | Reason::DnsFailed
        | Reason::ConnectFailed
        | Reason::TimedOut
        | Reason::TlsFailed
        | Reason::BridgeUnavailable
        | Reason::BridgeError
        | Reason::RateLimited
        | Reason::RedirectRefused
        | Reason::BlockedByProxy
        | Reason::ProtocolError => at.or(Some(Step::Ping)),
    }
}

// === impl Step ===

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 8] = [
        Self::Settings,
        Self::Name,
        Self::Address,
        Self::Tls,
        Self::Ping,
        Self::Key,
        Self::Scim,
        Self::Components,
    ];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Name => "name",
            Self::Address => "address",
            Self::Tls => "TLS",
            Self::Ping => "ping",
            Self::Key => "key",
            Self::Scim => "SCIM API",
            Self::Components => "components",
        }
    }

    /// The step of a place below HTTP.
    const fn at(place: Place) -> Self {
        match place {
            Place::Name => Self::Name,
            Place::Address | Place::Proxy => Self::Address,
            Place::Tls => Self::Tls,
        }
    }

    const fn of(request: Request) -> Self {
        match request {
            Request::Ping => Self::Ping,
            Request::Health => Self::Key,
            Request::Users => Self::Scim,
        }
    }
}

// === impl Mark ===

impl Mark {
    /// Its name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Warned => "warned",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

// === impl Footprint ===

impl Footprint {
    const fn new(step: Step, mark: Mark, note: String) -> Self {
        Self { step, mark, note }
    }
}

// === impl Reached ===

impl Reached {
    /// The step at which a probe ended that ended at `step` or after it: what is behind the probe has not failed. A peer
    /// that accepts the connection and then closes it fails where it closes it.
    fn beyond(&self, step: Step, target: Option<&Target>) -> Step {
        let has = |layer| self.layers.contains(&layer);
        let is_secure = target.is_none_or(|target| target.origin.scheme == Scheme::Https);
        let open = if has(Layer::Tls) || (has(Layer::Address) && !is_secure) {
            Step::Ping
        } else if has(Layer::Address) {
            Step::Tls
        } else {
            step
        };
        if matches!(step, Step::Name | Step::Address | Step::Tls) {
            step.max(open)
        } else {
            step
        }
    }
}
