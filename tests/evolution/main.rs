//! How the resource may change: `docs/api-evolution.md`, as tests.
//!
//! The CRD is compared with that of the last release, in `tests/released/`. What crdify sees of a schema is left to
//! crdify; what it does not look at is in [`compare`].

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what is missing fails the test, with its place"
)]

mod compare;
mod mutations;
mod released;
mod road;
