//! The pure core: from what was declared and what was seen to what is true and when to look again.
//!
//! Nothing in this module waits, reads a clock, talks to anybody or logs. Every function takes plain values, `now`
//! among them, and returns plain values; a test (`tests/architecture.rs`) keeps it so.
//!
//! - [`target`]: the specification, parsed once
//! - [`evidence`]: what a probe saw, or what stood in its way
//! - [`verdict`]: evidence to verdict, row by row
//! - [`conditions`]: verdict to `status.conditions`
//! - [`status`]: the next status, and whether it is worth a write
//! - [`announce`]: what of a new status is worth an event
//! - [`schedule`]: whether to probe now, and when next

pub mod announce;
pub mod conditions;
pub mod evidence;
pub mod schedule;
pub mod status;
pub mod target;
pub mod verdict;
