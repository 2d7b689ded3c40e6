//! What goes wrong around the operator, and what holds afterwards: on a real control plane, with the real binary.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

mod bridges;
mod clock;
mod control_plane;
mod deleted;
mod events;
mod kills;
mod lives;
mod managed;
mod refusals;
mod replaced;
mod unreachable;
