//! The Kubernetes side: watches, decides what is due, and runs passes.
//!
//! kube's `Controller` is not used on purpose. It keeps whole objects, answers every event with a pass, and knows
//! nothing of the versions of referenced Secrets; a restart would read every Secret again to find out that nothing has
//! changed. Here one task owns the [`registry`], a plain map that is fed by kube's watchers and asked by
//! [`due`](crate::domain::schedule::due) what to do; passes run beside it, and only where something is due.
//!
//! A pass is `reconcile`: resolve, probe, diagnose, report. What its write has changed is announced beside it.

pub mod authorities;
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
mod resolve;
mod store;
mod watch;

pub use self::{
    driver::{Readiness, drive},
    error::ControllerError,
};
