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

mod change;
mod crowd;
mod flood;
mod leaving;
mod measure;
