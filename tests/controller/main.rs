//! The operator end to end: the real binary as its own process, with the rights of `deploy/rbac.yaml` and no more, on a
//! real API server, before bridges that the test holds in its hand.
//!
//! Two rules keep these tests from depending on speed. What is to happen is awaited, with a deadline. What must not
//! happen is shown by something that can only come after it: a probe that was asked for and has been answered, a mark
//! on the object, another object that was judged later.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

mod connections;
mod events;
mod fairness;
mod gitops;
mod invalid;
mod leader;
mod outage;
mod preflight;
mod process;
mod races;
mod rbac;
mod references;
mod refusals;
mod restart;
mod schedule;
mod verdicts;
