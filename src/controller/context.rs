//! Dependencies and settings of the controller.

use std::{sync::Arc, time::Duration};

use crate::{
    bridge::Lanes, clock::Clock, cluster::call::ApiServer, feed::Feed, metrics::Metrics, resolve::Resolver,
};

/// What each reconcile uses. Made once, when the process starts.
#[derive(Clone)]
pub struct Context {
    /// The API server.
    pub server: ApiServer,
    /// Probes bridges.
    pub lanes: Lanes,
    /// Reads the objects that connections refer to.
    pub resolver: Resolver,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The settings.
    pub settings: Settings,
    /// Hands connections to provisioning.
    pub feed: Feed,
}

/// Settings of the controller.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespaces to watch; `None` means all.
    pub scopes: Vec<Option<String>>,
    /// Watch only connections with these labels.
    pub label_selector: Option<String>,
    /// Maximum concurrent reconciles, without the slow ones.
    pub concurrency: usize,
    /// How often to rewrite a status when only its timestamps have changed.
    pub heartbeat: Duration,
    /// How long to wait for running reconciles at shutdown.
    pub drain: Duration,
    /// The name of this replica in events.
    pub instance: String,
}
