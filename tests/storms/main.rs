//! Storms: what happens in masses, or again and again, costs little memory, and other connections no time.

#![cfg(target_os = "linux")]
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
#[allow(dead_code, reason = "the bed needs it")]
#[path = "../controller/tape.rs"]
mod tape;

mod change;
mod crowd;
mod flood;
mod measure;
