//! The HTTPS side: asks a bridge, brings back [`Exchange`]s, and judges nothing.
//!
//! The peer is whoever the author of an object names, and so is not trusted:
//! - TLS is always verified; redirects are not followed; no proxy but the administrator's is used; no decompression
//!   takes place.
//! - Literal addresses and every resolved one pass the [`wire::address::AddressPolicy`] before a packet is sent.
//! - Bodies and headers are bounded; the whole probe has one time budget.
//! - No byte of an answer leaves this module as text: what comes out is numbers, closed enums, and a version and an
//!   issuer that were checked for their shape.

pub mod credential;
pub mod key;
pub mod probe;
pub mod route;
pub mod wire;

mod lanes;

use std::time::Duration;

use futures::future::BoxFuture;

use self::{key::ApiKey, route::Route};
pub use self::{
    lanes::{Lanes, Postponed},
    probe::{HttpProber, read_health},
    wire::{Names, ResolveError, read_dns_answer},
};
use crate::domain::connection::evidence::{Blocker, Exchange};

/// One probe to be done: everything that can change its answer, and nothing else. Equal orders have one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeRequest {
    /// Where the bridge is, and who it must prove to be there.
    pub route: Route,
    /// The key.
    pub key: ApiKey,
    /// The key to rehearse, or why there is none, where one is asked for.
    pub next_key: Option<Result<ApiKey, Blocker>>,
    /// The time for all requests together.
    pub budget: Duration,
    /// Whether somebody asked for this very probe. What was seen before that is no answer to it.
    pub requested: bool,
}

/// Does a probe. The seam at which tests put scripted evidence.
pub trait Prober: Send + Sync + 'static {
    /// Asks the bridge. Never fails: whatever goes wrong is evidence. Ends within the order's budget.
    fn probe(&self, order: ProbeRequest) -> BoxFuture<'_, Exchange>;
}
