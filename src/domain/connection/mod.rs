//! Connections: from a specification and evidence to the next status.
//!
//! - [`target`]: the specification, parsed once
//! - [`evidence`]: the facts that one reconcile found out
//! - [`verdict`]: evidence to verdict, row by row
//! - [`conditions`]: verdict to `status.conditions`
//! - [`status`]: the next status, and whether it is worth a write
//! - [`schedule`]: whether to probe now, and when next
//! - [`announce`]: two statuses to events

pub mod announce;
pub mod conditions;
pub mod evidence;
pub mod schedule;
pub mod status;
pub mod target;
pub mod verdict;
