//! Tenants: what whoever may write connections in one namespace can have of others, and of Secrets that they may not
//! read. On a real API server, with the real binary and the rights of its ServiceAccount.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

mod attacker;

mod consent;
mod neighbours;
mod references;
