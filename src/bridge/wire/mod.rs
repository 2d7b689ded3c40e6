//! One request on the wire: address, name, connection, TLS, response, and the error if one of them fails.

pub mod address;
pub mod answer;
pub mod certificate;
pub mod front;
pub mod proxy;
pub mod stages;
pub mod trust;

pub(crate) mod body;
pub(crate) mod classify;
pub(crate) mod client;
pub(crate) mod race;
pub(crate) mod resolver;
pub(crate) mod session;

mod refusal;
mod verify;

pub use self::resolver::{Names, ResolveError, read_dns_answer};
