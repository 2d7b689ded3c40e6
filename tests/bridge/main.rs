//! The prober against real peers: TLS, HTTP and everything that goes wrong between.
//!
//! A row of a table is what the peer plays and, in one line, what a user is told. The peers are fronts
//! (`bridge_front`), which look like a bridge, and [`peer::Peer`]s, which send any bytes at all.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that finds something else has failed"
)]
#![allow(clippy::too_many_lines, reason = "tables")]

mod answers;
mod certificates;
mod chains;
mod connections;
mod directory;
mod fronts;
mod lanes;
mod peer;
mod policy;
mod proxy;
mod rehearsal;
mod secrecy;
mod support;
mod transport;
mod writes;
