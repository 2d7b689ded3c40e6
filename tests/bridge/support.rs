//! What the tests have in common: an order, a probe, and what was seen of it.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use bridge_front::{Builder, Front, RequestRecord, State};
use rustls::RootCertStore;
use scim_bridge_operator::{
    api::connection::IdentityProvider,
    bridge::{
        HttpProber, ProbeRequest, Prober,
        key::ApiKey,
        route::Route,
        wire::{
            address::AddressPolicy,
            trust::{Bundle, Trust},
        },
    },
    clock::SystemClock,
    domain::connection::{
        evidence::{Evidence, Exchange},
        target::Origin,
        verdict::diagnose,
    },
};
use serde_json::Value;

pub(crate) const KEY: &str = "canary-not-a-real-key";
pub(crate) const OKTA: Option<IdentityProvider> = Some(IdentityProvider::Okta);
pub(crate) const GOOGLE: Option<IdentityProvider> = Some(IdentityProvider::GoogleWorkspace);

/// No test takes this long, however slow the machine: it only ends those that have failed. As a budget it never runs
/// out.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);
/// The shortest budget that a specification can give, for peers that do not even come to an answer.
pub(crate) const SHORT: Duration = Duration::from_secs(1);
/// A budget that has to run out, but not before the peer gave the answers that come before its silence.
pub(crate) const AMPLE: Duration = Duration::from_secs(4);

/// A front to be, that accepts [`KEY`].
pub(crate) fn bridge() -> Builder {
    Front::builder().key(KEY)
}

pub(crate) async fn front() -> Front {
    bridge().start().await.unwrap()
}

/// Loopback, which no bridge is on outside of a test.
pub(crate) fn loopback() -> AddressPolicy {
    AddressPolicy {
        allowed: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        ..AddressPolicy::default()
    }
}

/// A prober without roots of its own.
pub(crate) fn prober() -> HttpProber {
    prober_under(loopback())
}

pub(crate) fn prober_under(policy: AddressPolicy) -> HttpProber {
    HttpProber::new(
        Arc::new(policy),
        Arc::new(RootCertStore::empty()),
        Arc::new(SystemClock),
    )
}

pub(crate) fn key(text: &str) -> ApiKey {
    ApiKey::read(text.into()).unwrap()
}

pub(crate) fn only(ca_pem: &str) -> Trust {
    Trust::Only(Bundle::read(ca_pem.as_bytes()).unwrap())
}

/// An order for what is at this URL. Nothing in it hurries.
pub(crate) fn order_for(url: &str, trust: Trust) -> ProbeRequest {
    ProbeRequest {
        route: Route {
            origin: Origin::parse(url).unwrap(),
            trust,
            server_name: None,
        },
        key: key(KEY),
        next_key: None,
        budget: LIMIT,
        requested: false,
    }
}

/// An order for a front whose certificate is trusted.
pub(crate) fn order(front: &Front) -> ProbeRequest {
    order_for(&front.url(), front.ca_pem().map_or(Trust::System, only))
}

pub(crate) fn order_within(front: &Front, budget: Duration) -> ProbeRequest {
    let mut order = order(front);
    order.budget = budget;
    order
}

/// Ends what does not end by itself: a test that hangs says nothing.
pub(crate) async fn ends<T>(what: impl fmt::Display, future: impl Future<Output = T>) -> T {
    // Longer than the longest budget of a probe.
    let outcome = tokio::time::timeout(LIMIT * 2, future).await;
    outcome.unwrap_or_else(|_| panic!("{what}: does not end"))
}

/// One probe by a prober of its own.
pub(crate) async fn probe(order: &ProbeRequest) -> Exchange {
    probe_by(&prober(), order).await
}

pub(crate) async fn probe_by(prober: &impl Prober, order: &ProbeRequest) -> Exchange {
    ends(
        format_args!("a probe with a budget of {:?}", order.budget),
        prober.probe(order.clone()),
    )
    .await
}

/// What a user is told: the reason of `Ready` and where it was seen.
pub(crate) fn told(declared: Option<IdentityProvider>, exchange: &Exchange) -> String {
    let verdict = diagnose(declared, &Evidence::Probed(exchange.clone()));
    match verdict.detail {
        None => verdict.reason.to_string(),
        Some(detail) => format!("{} ({detail})", verdict.reason),
    }
}

/// What is learned about a bridge beside the verdict.
pub(crate) fn learned(exchange: &Exchange) -> String {
    let mut facts = Vec::new();
    facts.extend(exchange.users.document().map(|users| format!("users={users}")));
    facts.extend(exchange.groups.map(|groups| format!("groups={groups}")));
    if let Some(report) = exchange.health.document() {
        facts.extend(report.version.clone().map(|version| format!("version={version}")));
        facts.extend(report.build.clone().map(|build| format!("build={build}")));
        let components = report.components.iter();
        facts.extend(components.map(|(name, state)| format!("{}={state:?}", name.as_str())));
    }
    facts.join(" ")
}

/// The requests in the order of their arrival; a `*` marks those that carried a key.
pub(crate) fn log(requests: &[RequestRecord]) -> String {
    let mark = |request: &RequestRecord| if request.authorization { "*" } else { "" };
    let lines: Vec<_> = requests
        .iter()
        .map(|request| format!("{}{}", request.path(), mark(request)))
        .collect();
    lines.join(" ")
}

/// Lets a front play a healthy bridge with these changes.
pub(crate) fn play(front: &Front, changes: &Value) {
    let mut state = State {
        key: KEY.into(),
        ..State::default()
    };
    state.merge(changes.clone()).unwrap();
    front.set(|played| *played = state);
}

/// The rows of a table that did not come out as they should.
#[derive(Default)]
pub(crate) struct Differences(Vec<String>);

impl Differences {
    pub(crate) fn compare(&mut self, row: impl fmt::Display, expected: &str, seen: &str) {
        if expected != seen {
            self.0
                .push(format!("{row}\n  expected: {expected}\n      seen: {seen}"));
        }
    }

    #[track_caller]
    pub(crate) fn assert_none(&self) {
        assert!(self.0.is_empty(), "\n{}", self.0.join("\n"));
    }
}
