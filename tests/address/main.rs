//! Which addresses the operator talks to: as they are written, as they are resolved, and as they change in between.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

#[allow(dead_code, reason = "each test program uses its part")]
#[path = "../bridge/support.rs"]
mod support;

mod end_to_end;
mod flags;
mod literals;
#[allow(dead_code, reason = "each test program uses its part")]
mod name_server;
mod rebinding;
mod spellings;
