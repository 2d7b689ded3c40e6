//! What can go wrong on our own side of the wire.
//!
//! A failing bridge is no error but evidence. An error means: the API server or the bridge could not be asked.

use crate::{
    bridge::Postponed,
    cluster::call::{CallError, CallFailure},
    domain::connection::verdict::PendingCause,
};

/// A reconcile, or the controller as a whole, could not do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControllerError {
    /// A call to the API server failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Probes of other connections to the same bridge took all the time that this one could wait.
    #[error(transparent)]
    Postponed(#[from] Postponed),
    /// The watches ended.
    #[error("a watch ended for good")]
    WatchEnded,
}

// === impl ControllerError ===

impl ControllerError {
    /// What it means for the connection that was to be probed.
    pub(super) const fn pending_cause(self) -> PendingCause {
        match self {
            Self::Call(CallError::Failed {
                failure: CallFailure::Refused(403),
                ..
            }) => PendingCause::Forbidden,
            Self::Postponed(Postponed) => PendingCause::BridgeBusy,
            Self::Call(CallError::Failed { .. } | CallError::NotLeading) | Self::WatchEnded => {
                PendingCause::ApiServer
            }
        }
    }
}
