//! What becomes of a name: by the hosts file, by servers of the test's own, and beside the system's resolver.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

#[allow(dead_code, reason = "each test program uses its part")]
#[path = "../address/name_server.rs"]
mod name_server;
#[allow(dead_code, reason = "each test program uses its part")]
#[path = "../bridge/support.rs"]
mod support;

mod addresses;
mod files;
mod probes;
mod rows;
mod system;
mod table;
mod zone;
