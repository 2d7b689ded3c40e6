//! What a plan for a directory may do, and what it never does.
//!
//! - `table`: one line a case
//! - `statuses`: what a status keeps
//! - `laws`: what holds for every directory and every wish
//! - `faults`: lists that lie
//! - `life`: a directory through edits, crashes, and a bridge with habits
//! - `manage`: what mode `Manage` makes of a plan
//! - `memory`: what was sent, and how an act stands since
//! - `cost`: ten thousand of both

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_in_result,
    reason = "in a test, a value that is not there is a failure"
)]
#![allow(
    clippy::match_same_arms,
    clippy::wildcard_enum_match_arm,
    reason = "a judge names what it looks at, one case after the other"
)]

mod cost;
mod faults;
mod laws;
mod life;
mod manage;
mod memory;
mod statuses;
mod table;
mod world;
