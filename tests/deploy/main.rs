//! `deploy/` and the image: what kustomize makes of the manifests, that a real API server takes them, and that all that
//! is said of them in other places is still so.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what is missing fails the test, with its place"
)]

mod access;
mod examples;
mod generated;
mod image;
mod installing;
mod manifests;
mod release;
mod render;
