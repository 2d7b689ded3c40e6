//! A model of the whole system, in which the operator's own code decides and everything around it is modelled.
//!
//! Three ways through it: every sequence of a small alphabet, up to a length (`exhaustive`), long lives over the whole
//! alphabet (`random`), and lives that broke a law once (`known`). What must hold is written in `law`; the judge's notes are in `history`.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "what is missing fails the test, with its place; numbers of states are told"
)]

mod bridge;
mod calm;
mod cluster;
mod exhaustive;
mod history;
mod known;
mod law;
mod random;
mod world;
