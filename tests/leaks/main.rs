//! Nothing of a key, and nothing that a server says, comes out: by no way that leads out of the program.
//!
//! Canaries go in wherever a key or a foreign text can: entries and annotations of Secrets and CA objects, every text
//! of an answer, certificates, the proxy's password, kubeconfigs, panics. All that comes out is collected in
//! [`surfaces::Outputs`] and searched for every canary: as it is and in every encoding of [`search`], whole or any six
//! characters in a row.
//!
//! # A new way out
//! Whatever the program begins to write (a command's output, a Kubernetes event, a file, an endpoint) becomes one
//! more `outputs.add(NAME, BYTES, PROOF)`: for what the running operator shows in `running::collect`, for a command in
//! `commands`, for a type's `Debug` in `shown`. `PROOF` is a text that the output must hold, so that one that was not
//! collected does not pass for a clean one.
//!
//! # A new reason
//! `rows::Stage::row` does not compile without a row for it.
//!
//! What belongs out is excepted by name: the issuer in `status.certificate.issuer`, cleaned, and the proxy's password
//! in the environment that it was passed in.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "what is missing fails the test, with its place"
)]

mod canary;
mod checking;
mod commands;
mod directory;
mod panics;
mod peer;
mod rows;
mod running;
mod search;
mod shown;
mod surfaces;
