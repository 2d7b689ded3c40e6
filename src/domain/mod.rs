//! The pure core: from a specification and evidence to the next status, and when to probe again.
//!
//! No function here waits, reads a clock, logs or uses the network. Each takes plain values, including `now`, and returns
//! plain values. `tests/architecture.rs` checks this.
//!
//! - [`connection`]: from a specification and a probe to the next status
//! - [`directory`]: from declared users and groups and a bridge's lists to the requests that would be sent
//! - [`watched`]: whether a watch report is news

pub mod connection;
pub mod directory;
pub mod watched;
