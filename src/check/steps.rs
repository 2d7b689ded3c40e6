//! The steps of a probe, as `check` shows them.
//!
//! [`steps`] is pure: it derives the steps from the evidence. They always agree with the verdict, because its reason
//! decides at which step the probe ended ([`end_of`]).

use std::net::IpAddr;

use url::Host;

use crate::{
    api::{
        connection::ComponentState,
        vocabulary::{Class, Layer},
    },
    domain::connection::{
        evidence::{Answer, Component, Denial, Evidence, Exchange, Member, Reading, TransportFailure},
        target::{Scheme, Target},
        verdict::{Detail, Request, Verdict},
    },
};
use k8s_openapi::jiff::Timestamp;

/// The steps from a specification to a working bridge. Each one depends on the step before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Specification, key and CA are usable.
    Settings,
    /// The host's name resolves.
    Name,
    /// A server accepts connections at the address, and the address policy allows it.
    Address,
    /// The certificate is trusted and is for this host.
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

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// It succeeded.
    Passed,
    /// It succeeded, but needs attention.
    Warned,
    /// The probe ended here.
    Failed,
    /// The probe did not reach it, or does not need it.
    Skipped,
}

/// A step and its result. The note never contains text that a server chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepResult {
    /// The step.
    pub step: Step,
    /// The result.
    pub mark: Mark,
    /// What the probe found there.
    pub note: String,
}

/// How far a probe has come.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Reached {
    /// The addresses of the name.
    pub addresses: Vec<IpAddr>,
    /// The layers that the probe has passed.
    pub layers: Vec<Layer>,
}

/// The steps of a probe. `target` is `None` if the specification could not be parsed.
#[must_use]
pub fn steps(
    target: Option<&Target>,
    reached: &Reached,
    evidence: &Evidence,
    verdict: &Verdict,
    now: Timestamp,
) -> Vec<StepResult> {
    let nothing = Exchange::default();
    let exchange = match evidence {
        Evidence::Probed(exchange) => exchange,
        Evidence::Blocked(_) => &nothing,
    };
    let end = end_of(verdict).map(|end| reached.actual_end(end, target));
    let steps = Step::ALL.into_iter().map(|step| {
        if end == Some(step) {
            return StepResult::new(step, Mark::Failed, why(verdict));
        }
        let is_past = end.is_some_and(|end| step > end);
        // The health report may be known even if an earlier step failed.
        let was_seen = step == Step::Components && exchange.health.document().is_some();
        if is_past && !was_seen {
            StepResult::new(step, Mark::Skipped, "not reached".to_owned())
        } else {
            passed(step, target, reached, exchange, now)
        }
    });
    steps.collect()
}

/// The result of a step that the probe has passed.
#[must_use]
pub fn passed(
    step: Step,
    target: Option<&Target>,
    reached: &Reached,
    exchange: &Exchange,
    now: Timestamp,
) -> StepResult {
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
            Reading::Answered(Answer::Document(())) => (Mark::Passed, "/ping answers pong".to_owned()),
            Reading::Answered(Answer::NotFound) => (
                Mark::Warned,
                "/ping answers 404; some bridges do not serve it".to_owned(),
            ),
            Reading::Answered(_) | Reading::NotSent | Reading::Failed(_) => (
                Mark::Warned,
                "/ping did not answer pong; the check continues".to_owned(),
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
    StepResult::new(step, mark, note)
}

/// The result of the lookup.
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
            "the certificate is trusted and is for this host".to_owned(),
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

/// A certificate with fewer days left gets a warning, as in condition `CertificateExpiring`.
const WARN_DAYS: i64 = 21;

fn components(exchange: &Exchange) -> (Mark, String) {
    let Some(health) = exchange.health.document() else {
        return (Mark::Skipped, "no health report".to_owned());
    };
    let all = &health.components;
    let unhealthy: Vec<&str> = all
        .iter()
        .filter(|(_, state)| *state != ComponentState::Healthy)
        .map(|(component, _)| Component::as_str(*component))
        .collect();
    match (all.len(), unhealthy.as_slice()) {
        (0, _) => (Mark::Skipped, "the report lists none".to_owned()),
        (count, []) => (Mark::Passed, format!("{count} healthy")),
        (_, unhealthy) => (
            Mark::Warned,
            format!("not healthy, or out of date: {}", unhealthy.join(", ")),
        ),
    }
}

fn why(verdict: &Verdict) -> String {
    match &verdict.detail {
        // The reason's message says that the bridge works: it is no reason to fail.
        Some(Detail::KeyUnproven) => "no request could prove the key (GET /health: 404)".to_owned(),
        Some(detail) => format!("{} ({detail})", verdict.reason.message()),
        None => verdict.reason.message().to_owned(),
    }
}

/// The step at which a probe with this verdict ended; `None` if it passed every step.
#[must_use]
pub fn end_of(verdict: &Verdict) -> Option<Step> {
    if verdict.class == Class::Ok {
        return None;
    }
    let layer = match verdict.detail {
        // An earlier request passed all layers below HTTP.
        Some(Detail::Failed(request @ (Request::Health | Request::Users), _)) => Some(request.layer()),
        Some(Detail::KeyUnproven) => Some(Layer::Health),
        Some(_) | None => verdict.reason.layer().or_else(|| verdict.layer()),
    };
    Some(layer.map_or(Step::Ping, Step::of))
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

    /// The name in the output.
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

    /// The step that a layer belongs to.
    const fn of(layer: Layer) -> Self {
        match layer {
            Layer::Settings => Self::Settings,
            Layer::Name => Self::Name,
            Layer::Address | Layer::Proxy => Self::Address,
            Layer::Tls => Self::Tls,
            Layer::Ping => Self::Ping,
            Layer::Health | Layer::NextKey => Self::Key,
            Layer::Users | Layer::Groups => Self::Scim,
        }
    }
}

// === impl Mark ===

impl Mark {
    /// The name in documents.
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

// === impl StepResult ===

impl StepResult {
    const fn new(step: Step, mark: Mark, note: String) -> Self {
        Self { step, mark, note }
    }
}

// === impl Reached ===

impl Reached {
    /// The step at which the probe really ended, at `step` or later: a layer that it passed has not failed. A peer may
    /// accept the connection and then close it; the probe then ends at the step where it was closed.
    fn actual_end(&self, step: Step, target: Option<&Target>) -> Step {
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
