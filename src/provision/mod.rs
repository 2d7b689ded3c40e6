//! Users and groups of the bridges behind proven connections.
//!
//! ```text
//! watches ──▶ driver ──▶ one task for each directory: observe ──▶ plan ──▶ report
//! feed ────────┘            reads the bridge              pure        statuses
//! ```
//!
//! A directory is one connection with all users and groups that refer to it: they are planned together, because limits,
//! order and conflicts are those of the whole. Each directory has its own task, so one in trouble delays no other. In
//! mode `Plan` nothing is written to a bridge: this module has no way to send a write.
//!
//! - [`driver`](self::provide) sorts news of objects and connections by directory.
//! - `inbox` keeps the latest news for a task, at most one of each object.
//! - `declared` holds the users and groups of a directory.
//! - `directory` is the task.
//! - `observe` reads a directory, and knows when to read it again.
//! - `report` writes statuses, only where something changed.

mod announce;
mod context;
mod declared;
mod directory;
mod driver;
mod inbox;
mod observe;
mod report;
#[cfg(test)]
mod tests;

pub use self::{
    context::{Context, Settings},
    driver::{ProvisionError, provide},
};
