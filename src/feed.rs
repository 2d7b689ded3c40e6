//! What the controller of connections hands to provisioning.
//!
//! Neither imports the other. The controller sends each connection that it knows, and each verdict that it writes.
//! Provisioning needs little of them: where the bridge is, and until when the connection counts as proven.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    api::connection::{ObjectVersion, ScimBridgeConnectionSpec},
    cluster::key::Key,
};

/// News about connections.
#[derive(Clone, Debug)]
pub enum FeedEvent {
    /// The connection exists in this state. Repeated if something changed, perhaps also if nothing did.
    Known(Key, Box<FeedConnection>),
    /// This process no longer serves the connection: it is deleted, or belongs to another shard.
    Gone(Key),
    /// All connections of this namespace are known; `None` means all namespaces. Not again after a later list.
    Listed(Option<String>),
}

/// A connection, as far as provisioning needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedConnection {
    /// `metadata.uid`
    pub uid: Box<str>,
    /// `metadata.generation`
    pub generation: i64,
    /// `status.lastHandledReconcileAt`: a new value is a request for a read, too.
    pub handled: Option<Box<str>>,
    /// Annotation `scimbridge.dev/release`.
    pub release: Option<Box<str>>,
    /// `metadata.creationTimestamp`
    pub created: Option<Timestamp>,
    /// Whether an older connection in mode `Manage` leads to the same bridge. The receiver sets it.
    pub has_elder: bool,
    /// The specification, if it asks for provisioning. Else the operator must not read the directory.
    pub spec: Option<Arc<ScimBridgeConnectionSpec>>,
    /// Whether there is a verdict about this generation, or none will come because the connection is suspended.
    pub is_judged: bool,
    /// The proof, if the last verdict is `Connected`, about this generation, and the connection is not suspended.
    pub proof: Option<Proof>,
    /// Whether the status says something about a directory. `None` if it was not read, but written by the controller of
    /// connections, which has no part in that.
    pub has_directory_status: Option<bool>,
}

/// What a probe has proven.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    /// The verdict counts until then.
    pub valid_until: Timestamp,
    /// The Secret with the key that was proven.
    pub credential: Option<ObjectVersion>,
    /// The CA object with which it was proven.
    pub ca: Option<ObjectVersion>,
}

/// The sending end. Without provisioning it sends nothing.
#[derive(Clone, Debug, Default)]
pub struct Feed(Option<UnboundedSender<FeedEvent>>);

impl Feed {
    /// A feed and its receiving end. The channel has no bound: the receiver only sorts the events, and never waits.
    #[must_use]
    pub fn channel() -> (Self, UnboundedReceiver<FeedEvent>) {
        let (sender, receiver) = unbounded_channel();
        (Self(Some(sender)), receiver)
    }

    /// Whether anybody receives.
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Sends an event, if anybody receives.
    pub fn send(&self, event: impl FnOnce() -> FeedEvent) {
        if let Some(sender) = &self.0 {
            // The receiver ends only together with the process.
            let _ = sender.send(event());
        }
    }
}
