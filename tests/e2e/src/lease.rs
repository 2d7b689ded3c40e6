//! The Lease, watched: who led when, and whether two could have led at once.

use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api,
    runtime::{WatchStreamExt as _, watcher},
};
use testbed::Failure;
use tokio::task::JoinHandle;

/// Watches until it is dropped.
pub(crate) struct LeaseWatch {
    seen: Arc<Mutex<Vec<LeaseSpec>>>,
    watching: JoinHandle<()>,
}

impl LeaseWatch {
    pub(crate) fn begin(leases: Api<Lease>, name: &str) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, name) = (Arc::clone(&seen), name.to_owned());
        let watching = tokio::spawn(async move {
            let mut states = std::pin::pin!(watcher::watch_object(leases, &name).default_backoff());
            while let Some(state) = states.next().await {
                // A watch that breaks is taken up again by itself.
                if let Ok(Some(Lease { spec: Some(spec), .. })) = state {
                    log.lock().unwrap_or_else(PoisonError::into_inner).push(spec);
                }
            }
        });
        Self { seen, watching }
    }

    /// How often the Lease changed hands; an error where it was taken from a leader that might still have worked.
    pub(crate) fn hand_overs(&self) -> Result<usize, Failure> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 0;
        for (before, after) in seen.iter().zip(seen.iter().skip(1)) {
            let (old, new) = (holder(before), holder(after));
            if new.is_empty() || old == new {
                continue;
            }
            count += 1;
            if !old.is_empty() && !is_expired(before, after) {
                return Err(format!("{new} took the Lease while {old} held it").into());
            }
        }
        Ok(count)
    }
}

impl Drop for LeaseWatch {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

fn holder(spec: &LeaseSpec) -> &str {
    spec.holder_identity.as_deref().unwrap_or_default()
}

/// Whether the Lease of `before` had run out when that of `after` began.
fn is_expired(before: &LeaseSpec, after: &LeaseSpec) -> bool {
    let time =
        |time: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime>| -> Option<Timestamp> {
            time.as_ref().map(|time| time.0)
        };
    let (Some(renewed), Some(acquired)) = (time(&before.renew_time), time(&after.acquire_time)) else {
        return false;
    };
    let duration = i64::from(before.lease_duration_seconds.unwrap_or_default());
    acquired.duration_since(renewed) >= SignedDuration::from_secs(duration)
}
