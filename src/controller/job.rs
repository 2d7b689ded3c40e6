//! The input of a reconcile, and its outcome.

use std::{sync::Arc, time::Duration};

use super::connection::Connection;
use crate::{
    api::{connection::ScimBridgeConnectionStatus, role::PerRole},
    cluster::key::Key,
    domain::{connection::schedule::Cause, watched::Version},
};

/// The input of a reconcile.
#[derive(Clone, Debug)]
pub struct Job {
    /// The name of the connection.
    pub key: Key,
    /// The connection as the controller knows it now.
    pub connection: Arc<Connection>,
    /// The last status, if its write failed. It counts as the connection's status, and this reconcile must write one.
    pub unwritten: Option<Arc<ScimBridgeConnectionStatus>>,
    /// Whether the last reconcile was superseded and the watch has not reported the change yet. Then read the
    /// connection again before any request to the bridge: it may be deleted.
    pub must_reread: bool,
    /// Why the connection is due.
    pub cause: Cause,
    /// Consecutive transient failures so far.
    pub failures: u32,
    /// How long after the scheduled time the reconcile starts. Zero unless the schedule is the cause.
    pub late: Duration,
    /// How long before the scheduled time the reconcile starts.
    pub early: Duration,
    /// The versions that the watch has seen of the objects that the connection refers to. A read may return these or
    /// newer ones. All are `None` after an internal failure: asking for a version may have caused it.
    pub seen: PerRole<Option<Version>>,
}

/// How a reconcile ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The verdict is known and, if needed, written.
    Judged {
        /// The connection after the reconcile: with the new status and version if they were written.
        connection: Arc<Connection>,
        /// Consecutive transient failures.
        failures: u32,
        /// Time until the next probe.
        delay: Duration,
    },
    /// The verdict is known, but its write failed. The write is retried without a probe: the bridge has answered
    /// already, and a key that it refused must not be sent again.
    Unwritten {
        /// The connection as the reconcile knew it.
        connection: Arc<Connection>,
        /// The status that could not be written.
        status: Box<ScimBridgeConnectionStatus>,
        /// Time until the next probe.
        delay: Duration,
    },
    /// The retried write succeeded. Holds the connection after it.
    Written(Arc<Connection>),
    /// The object was replaced, changed or deleted during the probe, or another process wrote a later verdict. The
    /// result does not apply to the present object. Holds the connection as the reconcile knew it.
    Superseded(Arc<Connection>),
    /// The bridge was not probed: probes of other connections to it took all the time that this one could wait.
    Postponed,
    /// The operator itself failed: a call to the API server failed, or the reconcile panicked.
    Failed,
}
