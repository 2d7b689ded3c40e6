//! `check` and `kubectl scim-bridge`: the real program as people run it, beside the real operator.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

#[path = "../controller/bed.rs"]
#[allow(dead_code, reason = "shared with the tests of the controller")]
mod bed;
#[path = "../controller/tape.rs"]
#[allow(dead_code, reason = "shared with the tests of the controller")]
mod tape;

mod commands;
mod golden;
mod program;
mod sources;
