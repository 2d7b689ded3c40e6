//! What a plan for a directory may do, and what it never does.
//!
//! - `table`: one line a case
//! - `laws`: what holds for every directory and every wish
//! - `faults`: lists that lie
//! - `memory`: what was sent, and how an act stands since
//! - `cost`: ten thousand of both

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test, a value that is not there is a failure"
)]

mod cost;
mod faults;
mod laws;
mod memory;
mod table;
mod world;
