//! The pure core: from what was declared and what was seen to what is true and when to look again.
//!
//! Nothing in this module waits, reads a clock, talks to anybody or logs. Every function takes plain values, `now`
//! among them, and returns plain values; a test (`tests/architecture.rs`) keeps it so.
//!
//! - [`connection`]: from a specification and a probe to the next status
//! - [`schedule`]: whether to probe now, and when next
//! - [`watched`]: whether what a watch reports of an object is news

pub mod connection;
pub mod schedule;
pub mod watched;
