//! The HTTPS side: asks a bridge, brings back [`Exchange`]s, and judges nothing.
//!
//! The peer is whoever the author of an object names, and so is not trusted:
//! - TLS is always verified; redirects are not followed; no proxy but the administrator's is used; no decompression
//!   takes place.
//! - Literal addresses and every resolved one pass the [`address::AddressPolicy`] before a packet is sent.
//! - Bodies and headers are bounded; the whole probe has one time budget.
//! - No byte of an answer leaves this module as text: what comes out is numbers, closed enums, and a version and an
//!   issuer that were checked for their shape.

pub mod address;
pub mod documents;
pub mod key;
pub mod proxy;
pub mod stages;
pub mod trust;

mod body;
mod classify;
mod client;
mod flight;
mod keep;
mod prober;
mod race;
mod resolver;
mod verify;

use futures::future::BoxFuture;

pub use self::{
    documents::read_health,
    flight::OnePerOrigin,
    prober::HttpProber,
    resolver::{Names, ResolveError, read_dns_answer},
};
use self::{key::ApiKey, trust::Trust};
use crate::domain::{
    evidence::{Exchange, Obstacle},
    schedule::Depth,
    target::Target,
};

/// One probe to be done.
#[derive(Clone, Debug)]
pub struct ProbeOrder {
    /// Where, how, and with which budget.
    pub target: Target,
    /// Whose certificates to believe.
    pub trust: Trust,
    /// The key.
    pub key: ApiKey,
    /// The key to rehearse, or why there is none, where one is asked for.
    pub next_key: Option<Result<ApiKey, Obstacle>>,
    /// How much to ask.
    pub depth: Depth,
}

/// Does a probe. The seam at which tests put scripted evidence.
pub trait Prober: Send + Sync + 'static {
    /// Asks the bridge. Never fails: whatever goes wrong is evidence. Ends within the target's timeout.
    fn probe(&self, order: ProbeOrder) -> BoxFuture<'_, Exchange>;
}
