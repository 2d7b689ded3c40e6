//! Leader election: of several replicas one works.
//!
//! The protocol is client-go's: a `Lease` that the leader renews, and that others take over once they have seen it
//! unchanged for its duration. A leader that cannot renew stops before others may begin.

use std::{future::Future, hash::BuildHasher as _};

use k8s_controller::LeaderElection;
use kube::Client;
use tokio_util::sync::CancellationToken;

use super::ProcessError;
use crate::controller::ControllerError;

/// Waits for the Lease, then runs `work` while renewing it, and releases it afterwards.
pub(super) async fn lead(
    client: Client,
    namespace: &str,
    name: &str,
    identity: &str,
    stop: CancellationToken,
    work: impl Future<Output = Result<(), ControllerError>>,
) -> Result<(), ProcessError> {
    let election = LeaderElection::new(client, namespace, name, identity);
    let started = CancellationToken::new();
    let work = {
        let started = started.clone();
        async move {
            started.cancel();
            work.await
        }
    };
    let led = election.with_lease(work);
    tokio::select! {
        // A replica that never led has nothing to bring to an end.
        () = async { stop.cancelled().await; if started.is_cancelled() { std::future::pending().await } } => {
            // It may have been given the Lease a moment ago.
            election.release().await;
            Ok(())
        }
        result = led => match result {
            Some(result) => result.map_err(ProcessError::from),
            None => Err(ProcessError::LeaseLost),
        },
    }
}

/// A name that no other replica has: the host's, and a number drawn at random.
pub(super) fn make_identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "scim-bridge-operator".to_owned());
    // The keys of a RandomState come from the operating system's random numbers.
    let number = std::collections::hash_map::RandomState::new().hash_one(std::process::id());
    format!("{host}_{number:016x}")
}
