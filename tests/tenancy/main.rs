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
#[allow(dead_code, reason = "each test program uses its part")]
#[path = "../controller/bed.rs"]
mod bed;
#[allow(dead_code, reason = "each test program uses its part")]
#[path = "../controller/gate.rs"]
mod gate;
#[allow(dead_code, reason = "each test program uses its part")]
#[path = "../faults/proxy.rs"]
mod proxy;
#[allow(dead_code, reason = "each test program uses its part")]
#[path = "../controller/tape.rs"]
mod tape;

mod consent;
mod neighbours;
mod references;
