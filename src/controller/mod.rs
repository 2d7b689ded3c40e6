//! The controller of connections: it watches them, decides which are due and reconciles those.
//!
//! kube's `Controller` does not fit. It keeps whole objects, reconciles after every event, and does not know the
//! versions of referenced Secrets: after a restart it would read every Secret only to find that none has changed. Here
//! one task owns the [`registry`], a plain map. kube's watchers fill it, and [`due`](crate::domain::connection::schedule::due)
//! decides from it what to reconcile.
//!
//! A reconcile has four steps: resolve, probe, diagnose, report. Afterwards it announces changes as events.

pub mod connection;
pub mod context;
pub mod job;
pub mod registry;

mod announce;
mod decode;
mod driver;
mod error;
mod queue;
mod reconcile;
mod report;
mod store;
mod watch;

pub use self::{
    driver::{Readiness, drive},
    error::ControllerError,
};
