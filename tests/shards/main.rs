//! Several operators share a cluster by label, as the chart starts them with `shards`: each connection is worked on by
//! exactly one of them, whatever becomes of labels, of the list of shards, and of the operators.
//!
//! The real binary runs once for each Deployment that the chart makes, with its arguments, and with the right to its
//! Lease that the chart gives.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

mod fleet;
mod moves;
mod partition;
mod people;
