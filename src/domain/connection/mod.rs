//! Connections: from what was declared and what was seen to what is true.
//!
//! - [`target`]: the specification, parsed once
//! - [`evidence`]: what a probe saw, or what stood in its way
//! - [`verdict`]: evidence to verdict, row by row
//! - [`conditions`]: verdict to `status.conditions`
//! - [`status`]: the next status, and whether it is worth a write
//! - [`announce`]: what of a new status is worth an event

pub mod announce;
pub mod conditions;
pub mod evidence;
pub mod status;
pub mod target;
pub mod verdict;
