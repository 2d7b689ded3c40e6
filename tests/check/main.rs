//! `check`, the commands about users and groups, and `kubectl scim-bridge`: the real program as people run it, beside the real operator.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

mod commands;
mod directory;
mod evidence;
mod golden;
mod program;
mod rehearsal;
mod release;
mod sources;
