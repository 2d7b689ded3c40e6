//! What a pass works with.

use std::{sync::Arc, time::Duration};

use super::authorities::Authorities;
use crate::{
    bridge::{Lanes, wire::address::AddressPolicy},
    clock::Clock,
    cluster::call::ApiServer,
    metrics::Metrics,
};

/// Dependencies and settings of the controller, made once.
#[derive(Clone)]
pub struct Context {
    /// The API server.
    pub server: ApiServer,
    /// Asks bridges.
    pub lanes: Lanes,
    /// Which hosts may be asked.
    pub policy: Arc<AddressPolicy>,
    /// Certificate authorities that need not be read again.
    pub authorities: Authorities,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Settings.
    pub settings: Settings,
}

/// Settings of the controller.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespaces to watch; `None` stands for all.
    pub scopes: Vec<Option<String>>,
    /// Only connections with these labels.
    pub label_selector: Option<String>,
    /// Most passes at a time, but for those that linger.
    pub concurrency: usize,
    /// How often a status is written where only the clock has moved.
    pub heartbeat: Duration,
    /// Whether a Secret must name the hosts its key may go to.
    pub require_consent: bool,
    /// How long running passes may go on after the order to stop.
    pub drain: Duration,
    /// This process among its replicas, as events name it.
    pub instance: String,
}
