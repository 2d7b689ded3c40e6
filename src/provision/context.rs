//! Dependencies and settings of provisioning.

use std::{sync::Arc, time::Duration};

use crate::{
    bridge::scim::{directory::DirectoryReader, memory::Memory, write::DirectoryWriter},
    clock::Clock,
    cluster::call::ApiServer,
    metrics::Metrics,
    resolve::Resolver,
};

/// What each directory uses. Made once, when the process starts.
#[derive(Clone)]
pub struct Context {
    /// The API server.
    pub server: ApiServer,
    /// Reads directories.
    pub reader: DirectoryReader,
    /// Changes directories, in mode `Manage`.
    pub orders: DirectoryWriter,
    /// The memory for all directories.
    pub memory: Memory,
    /// Reads the objects that connections refer to.
    pub resolver: Resolver,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The settings.
    pub settings: Settings,
}

/// Settings of provisioning.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespaces to watch; `None` means all.
    pub scopes: Vec<Option<String>>,
    /// Whether other processes serve other connections.
    pub is_sharded: bool,
    /// How often to rewrite the status of a connection when only the time of the read has changed.
    pub heartbeat: Duration,
    /// The name of this replica in events.
    pub instance: String,
}
