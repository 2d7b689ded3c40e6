//! Users and groups end to end: the real binary on a real API server, before a bridge with a directory of its own.
//!
//! Mode `Plan` sends nothing: each test ends with the requests that its bridge received. As in `tests/controller`, what
//! is to happen is awaited, with a deadline. What must not happen is shown by something that can only come after it. The
//! connection's `status.provisioning` is such a thing: the operator writes it after the statuses of users and groups.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

mod absent;
mod cost;
mod life;
mod off;
mod page;
mod plans;
mod rest;
mod restart;
mod scene;
mod trouble;
