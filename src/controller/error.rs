//! Errors of the controller.
//!
//! A failing bridge is evidence, not an error. An error means that the API server failed or the bridge was not asked.

use crate::{
    bridge::Postponed,
    cluster::call::{CallError, CallFailure},
    domain::connection::verdict::PendingCause,
};

/// Why a reconcile, or the whole controller, failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControllerError {
    /// A call to the API server failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Probes of other connections to the same bridge took all the time that this connection could wait.
    #[error(transparent)]
    Postponed(#[from] Postponed),
    /// The watches ended.
    #[error("the watches of the API server ended")]
    WatchEnded,
}

// === impl ControllerError ===

impl ControllerError {
    /// The reason to show in the status of the connection that could not be probed.
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
