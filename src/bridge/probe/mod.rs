//! The probe: checks that the peer is a bridge, reads its health, and lists its users. It returns an
//! [`Exchange`](crate::domain::connection::evidence::Exchange).

pub mod documents;

mod prober;

pub use self::{documents::read_health, prober::HttpProber};
