//! Of several replicas one works, whatever becomes of it: shown by what arrived at the bridge and at the API server.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

#[allow(dead_code, reason = "each test program uses its part of the bed")]
#[path = "../controller/bed.rs"]
mod bed;
#[allow(dead_code, reason = "each test program uses its part of the proxy")]
#[path = "../faults/proxy.rs"]
mod proxy;
#[allow(dead_code, reason = "each test program uses its part of the tape")]
#[path = "../controller/tape.rs"]
mod tape;

mod relay;
mod replica;
mod takeover;
