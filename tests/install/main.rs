//! Installed for real: by Helm and by kubectl, in every mode, on a real API server with its controllers.
//!
//! There is no kubelet. A stand-in says of Pods that they run; what would run in them runs here: the operator's binary
//! with the arguments, the environment and the probes of the very Pod that the API server has admitted, and a token of
//! its ServiceAccount. Only the port differs, for many tests share a machine, and loopback is allowed, for the bridges
//! of tests are there.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

mod access;
mod definition;
mod installation;
mod lifecycle;
