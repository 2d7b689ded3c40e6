//! What can go wrong on our own side of the wire.
//!
//! A failing bridge is no error but evidence. An error is that the API server or the bridge could not be asked. Its text is not kept:
//! an error about a Secret may quote the Secret.

use std::fmt;

use crate::{bridge::Postponed, domain::verdict::Hindrance};

/// A pass, or the controller as a whole, could not do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControllerError {
    /// A call to the API server failed.
    #[error("cannot {call}: {cause}")]
    Api {
        /// What was asked for.
        call: Call,
        /// Why it failed.
        cause: Cause,
    },
    /// Probes of other connections to the same bridge took all the time that this one could wait.
    #[error(transparent)]
    Postponed(#[from] Postponed),
    /// The Lease is not this process's, or no longer.
    #[error("this process does not lead any more")]
    NotLeading,
    /// The watches ended.
    #[error("a watch ended for good")]
    WatchEnded,
}

/// A call to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// GET of a Secret.
    ReadSecret,
    /// GET of a ConfigMap.
    ReadConfigMap,
    /// GET of a connection.
    ReadConnection,
    /// Server-side apply of a status.
    ApplyStatus,
    /// POST or PATCH of an Event.
    PublishEvent,
}

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The API server refused with this HTTP status.
    Refused(u16),
    /// No answer, or none that could be read.
    Unanswered,
    /// No answer in time.
    TimedOut,
}

// === impl ControllerError ===

impl ControllerError {
    /// What it means for the connection that was to be probed.
    pub(super) const fn hindrance(self) -> Hindrance {
        match self {
            Self::Api {
                cause: Cause::Refused(403),
                ..
            } => Hindrance::Forbidden,
            Self::Postponed(Postponed) => Hindrance::BridgeBusy,
            Self::Api { .. } | Self::NotLeading | Self::WatchEnded => Hindrance::ApiServer,
        }
    }
}

impl Call {
    /// Its name in metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::ReadSecret => "read_secret",
            Self::ReadConfigMap => "read_config_map",
            Self::ReadConnection => "read_connection",
            Self::ApplyStatus => "apply_status",
            Self::PublishEvent => "publish_event",
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadSecret => "read the Secret",
            Self::ReadConfigMap => "read the ConfigMap",
            Self::ReadConnection => "read the connection",
            Self::ApplyStatus => "write the status",
            Self::PublishEvent => "publish an event",
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(403) => f.write_str("the ServiceAccount lacks the permission (403)"),
            Self::Refused(status) => write!(f, "the API server answered {status}"),
            Self::Unanswered => f.write_str("the API server did not answer"),
            Self::TimedOut => f.write_str("the API server did not answer in time"),
        }
    }
}
