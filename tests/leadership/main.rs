//! Of several replicas one works, whatever becomes of it: shown by what arrived at the bridge and at the API server.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

mod relay;
mod replica;
mod takeover;
mod writers;
