//! Mode `Manage` end to end: the real binary on a real API server, before a bridge with a directory of its own.
//!
//! Each test ends with what its bridge has, and with the changes that it received. What must not happen is shown by
//! something that can only come after it. Every bridge of these tests holds the requests that it got to the forms that
//! may be sent.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

mod guards;
mod letting_go;
mod limits;
mod members;
mod middle;
mod people;
mod proof;
mod scene;
mod unclear;
