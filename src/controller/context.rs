//! Dependencies and settings of the controller.

use std::{sync::Arc, time::Duration};

use super::authorities::Authorities;
use crate::{
    bridge::{Lanes, wire::address::AddressPolicy},
    clock::Clock,
    cluster::call::ApiServer,
    metrics::Metrics,
};

/// What each reconcile uses. Made once, when the process starts.
#[derive(Clone)]
pub struct Context {
    /// The API server.
    pub server: ApiServer,
    /// Probes bridges.
    pub lanes: Lanes,
    /// Which hosts and addresses may be probed.
    pub policy: Arc<AddressPolicy>,
    /// A cache of certificate authorities.
    pub authorities: Authorities,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The settings.
    pub settings: Settings,
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
    /// Whether a Secret must list the hosts that may receive its key.
    pub require_consent: bool,
    /// How long to wait for running reconciles at shutdown.
    pub drain: Duration,
    /// The name of this replica in events.
    pub instance: String,
}
