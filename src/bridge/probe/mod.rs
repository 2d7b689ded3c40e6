//! The probe: asks a bridge who it is, how it is, and for its users, and brings back an
//! [`Exchange`](crate::domain::connection::evidence::Exchange).

pub mod documents;
pub mod front;

mod prober;

pub use self::{documents::read_health, prober::HttpProber};
