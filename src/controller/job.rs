//! What the registry gives a reconcile to do, and how that ended.

use std::{sync::Arc, time::Duration};

use super::connection::{Connection, Key};
use crate::{
    api::{connection::ScimBridgeConnectionStatus, role::PerRole},
    domain::{schedule::Cause, watched::Version},
};

/// A pass to be run.
#[derive(Clone, Debug)]
pub struct Job {
    /// Which connection.
    pub key: Key,
    /// The connection as it is now.
    pub connection: Arc<Connection>,
    /// A verdict that could not be written. It counts for the status, and something has to be written, whatever else
    /// comes of the pass.
    pub unwritten: Option<Arc<ScimBridgeConnectionStatus>>,
    /// Whether the pass before was superseded, and the watch has yet to say by what: the connection has to be read again
    /// before anything is sent, for it may be gone.
    pub must_reread: bool,
    /// Why.
    pub cause: Cause,
    /// Consecutive transient failures so far.
    pub failures: u32,
    /// How long after its time it begins, where time is why.
    pub late: Duration,
    /// How long before the time by the schedule it begins, where something else is why.
    pub early: Duration,
    /// The versions that the watch knows of the objects that the connection names: the Secret with the key, the CA
    /// object, the Secret with the next key. They need not be read any newer. None of them after a failure of our own,
    /// which may come of just that.
    pub seen: PerRole<Option<Version>>,
}

/// How a pass ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It came to a verdict.
    Judged {
        /// The connection as it is after the pass: with the new status and version, where it was written.
        connection: Arc<Connection>,
        /// Consecutive transient failures.
        failures: u32,
        /// Time until the next probe.
        delay: Duration,
    },
    /// It came to a verdict that could not be written. The verdict is kept and written later: the bridge is not asked
    /// again for what it has answered, least of all with a key that it has refused.
    Unwritten {
        /// The connection as the pass knew it.
        connection: Arc<Connection>,
        /// The status that could not be written.
        status: Box<ScimBridgeConnectionStatus>,
        /// Time until the next probe.
        delay: Duration,
    },
    /// A verdict that was kept is written now. With the connection as it is after that.
    Written(Arc<Connection>),
    /// The object was replaced, changed or deleted while it was probed, or somebody else has written a later verdict:
    /// what was seen is not about what is there now. With the connection as the pass knew it.
    Superseded(Arc<Connection>),
    /// Probes of other connections to the same bridge took the time that this one could wait. The bridge was not asked.
    Postponed,
    /// We could not do our work.
    Failed,
}
