//! Users and groups of the bridges behind proven connections.
//!
//! ```text
//! watches ──▶ driver ──▶ one task for each directory: observe ──▶ plan ──▶ report ──▶ apply ──┐
//! feed ────────┘            reads the bridge    ▲         pure      statuses    one order at a time │
//!                                               └──────────────────────────────────────────────────┘
//! ```
//!
//! A directory is one connection with all users and groups that refer to it: they are planned together, because limits,
//! order and conflicts are those of the whole. Each directory has its own task, so one in trouble delays no other. In
//! mode `Plan` nothing is written to a bridge.
//!
//! - [`driver`](self::provide) sorts news of objects and connections by directory.
//! - `elder` says which of several connections manages a bridge.
//! - `inbox` keeps the latest news for a task, at most one of each object.
//! - `declared` holds the users and groups of a directory.
//! - `directory` is the task.
//! - `observe` reads a directory, and knows when to read it again.
//! - `report` writes statuses, only where something changed.
//! - `apply` sends orders in mode `Manage`, and reads back what came of each.

mod announce;
mod apply;
mod context;
mod declared;
mod directory;
mod driver;
mod elder;
mod inbox;
mod observe;
mod report;
#[cfg(test)]
mod tests;

pub use self::{
    context::{Context, Settings},
    driver::{ProvisionError, provide},
};
