//! The HTTPS side: sends requests to a bridge and returns [`Exchange`]s. It judges nothing.
//!
//! The author of an object chooses the peer, so the operator does not trust it:
//! - TLS is always verified. Redirects are not followed. Only the administrator's proxy is used. Nothing is
//!   decompressed.
//! - The [`wire::address::AddressPolicy`] checks literal addresses and every resolved one before a packet is sent.
//! - Bodies and headers are bounded. The whole probe has one time budget.
//! - No text of a response leaves this module. It returns numbers, closed enums, and a version and an issuer whose
//!   shape was checked. Only [`scim`] returns more: the entries of a directory, whose `Debug` shows no name.
//! - Nothing is deleted. Only [`scim::write`] sends anything but GET, and only in the forms of its orders.

pub mod credential;
pub mod key;
pub mod probe;
pub mod route;
pub mod scim;
pub mod wire;

mod lanes;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;

use self::{key::ApiKey, route::Route};
pub use self::{
    lanes::{Lanes, Postponed},
    probe::{HttpProber, read_health},
    wire::{Names, ResolveError, read_dns_answer},
};
use crate::domain::connection::evidence::{Blocker, Exchange};

/// Everything that can change the result of one probe, and nothing else. Equal requests have the same result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeRequest {
    /// Where the bridge is, and how it must prove its identity.
    pub route: Route,
    /// The current key.
    pub key: ApiKey,
    /// The next key to rehearse, or why it cannot be used. `None` if the connection names no next key.
    pub next_key: Option<Result<ApiKey, Blocker>>,
    /// The time for all requests of the probe together.
    pub budget: Duration,
    /// Whether a user requested this probe. Then no probe that started earlier may answer it.
    pub requested: bool,
}

/// Runs probes. Tests replace it to return scripted evidence.
pub trait Prober: Send + Sync + 'static {
    /// Probes the bridge within the budget of the request. Never fails: every error is evidence.
    fn probe(&self, request: ProbeRequest) -> BoxFuture<'_, Exchange>;
}

impl<P: Prober> Prober for Arc<P> {
    fn probe(&self, request: ProbeRequest) -> BoxFuture<'_, Exchange> {
        P::probe(self, request)
    }
}
