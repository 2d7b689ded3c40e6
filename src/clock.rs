//! The only source of the current time. Tests replace it.

use std::fmt::Debug;

use k8s_openapi::jiff::Timestamp;

/// Reads the time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[allow(clippy::disallowed_methods, reason = "the only place that reads the clock")]
        Timestamp::now()
    }
}
