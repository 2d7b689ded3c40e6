//! A Kubernetes operator that proves the connection to a 1Password SCIM Bridge, again and again.
//!
//! ```text
//!              resolve            probe              diagnose            report
//! connection ──────────▶ request ────────▶ evidence ──────────▶ verdict ──────────▶ status
//!   (watch)    Secret,     │     bridge       │       pure         │     one apply
//!              CA object   └── or blocker ───┘     conditions     └── and the next time
//! ```
//!
//! The controller reconciles a connection only when [`domain::connection::schedule::due`] says so. With `--provisioning`,
//! [`provision`] compares the users and groups behind proven connections with declared ones; [`feed`] brings it the
//! connections.
//!
//! Imports go one way: [`api`] ← [`domain`] ← [`bridge`] ← [`resolve`] ← [`controller`], [`provision`] ← [`process`].
//! [`clock`], [`metrics`] and [`leadership`] stand beside these layers.

pub mod api;
pub mod args;
pub mod bridge;
pub mod check;
pub mod clock;
pub mod cluster;
pub mod controller;
pub mod directory_commands;
pub mod domain;
pub mod feed;
pub mod leadership;
pub mod metrics;
pub mod process;
pub mod provision;
pub mod resolve;
pub mod settings;
pub mod traces;

mod limiter;
mod report;
