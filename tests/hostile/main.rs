//! Bridges that mean harm, over real TLS: each behaviour is a row with the reason that a user is told.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]
#![allow(clippy::too_many_lines, reason = "a table is as long as it is")]

#[allow(dead_code, reason = "each test program uses its part")]
#[path = "../bridge/support.rs"]
mod support;

mod bodies;
mod end_to_end;
mod handshakes;
mod headers;
mod json;
mod lists;
mod messages;
mod peer;
mod redirects;
mod table;
mod writes;
