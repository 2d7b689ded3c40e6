//! Users and groups end to end: the real binary on a real API server, before a bridge with a directory of its own.
//!
//! Mode `Plan` sends nothing: each test ends with the requests that its bridge received.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

mod plans;
