//! The stand-in for a scheduler and a kubelet: says of Pods that they run.

use std::{
    io::{self, Write},
    time::Duration,
};

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};

/// Before the next try, when the API server refuses or is gone.
const PAUSE: Duration = Duration::from_millis(250);

/// Pods are said to be running and ready, until this is dropped. See [`Cluster::pretend_running`].
///
/// [`Cluster::pretend_running`]: super::Cluster::pretend_running
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Pretence(JoinHandle<()>);

impl Drop for Pretence {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Pretence {
    pub(super) async fn begin(pods: Api<Pod>, selector: &str) -> Result<Self, kube::Error> {
        // Here a selector that means nothing still has somebody to tell.
        for pod in pods.list(&ListParams::default().labels(selector)).await? {
            say_it_runs(&pods, pod).await?;
        }
        let watched = watcher::Config::default().labels(selector);
        Ok(Self(tokio::spawn(async move {
            loop {
                if let Err(error) = serve(&pods, watched.clone()).await {
                    // Whoever waits for the Pods meanwhile should see why they do not come.
                    let _ = writeln!(io::stderr(), "testbed: no Pod can be said to run: {error}");
                }
                sleep(PAUSE).await;
            }
        })))
    }
}

/// Ends with the first Pod that cannot be written. The next watch meets it again.
async fn serve(pods: &Api<Pod>, watched: watcher::Config) -> Result<(), kube::Error> {
    let mut events = std::pin::pin!(watcher(pods.clone(), watched).default_backoff().applied_objects());
    loop {
        match events.try_next().await {
            Ok(Some(pod)) => say_it_runs(pods, pod).await?,
            Ok(None) => return Ok(()),
            // An API server that is stopped; the watch is taken up again by itself.
            Err(_) => {}
        }
    }
}

async fn say_it_runs(pods: &Api<Pod>, pod: Pod) -> Result<(), kube::Error> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if phase.is_some_and(|phase| phase != "Pending") || pod.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let status = Patch::Merge(running(&pod));
    match pods
        .patch_status(&pod.name_any(), &PatchParams::default(), &status)
        .await
    {
        // Gone, or changed: then the watch shows it again.
        Err(kube::Error::Api(refusal)) if matches!(refusal.code, 404 | 409) => Ok(()),
        written => written.map(drop),
    }
}

/// What a kubelet would write, but for addresses: nothing listens there. The times are those of the Pod's creation: it
/// was quick.
fn running(pod: &Pod) -> Value {
    let since = &pod.metadata.creation_timestamp;
    let condition = |kind: &str| {
        json!({
            "type": kind,
            "status": "True",
            "lastTransitionTime": since,
            "observedGeneration": pod.metadata.generation,
        })
    };
    let containers = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .map(|container| {
            json!({
                "name": container.name,
                "image": container.image,
                "imageID": "",
                "ready": true,
                "started": true,
                "restartCount": 0,
                "state": {"running": {"startedAt": since}},
            })
        });
    json!({
        // Of this Pod as it was seen, not of what it has become.
        "metadata": {"resourceVersion": pod.metadata.resource_version},
        "status": {
            "phase": "Running",
            "startTime": since,
            "observedGeneration": pod.metadata.generation,
            "conditions": [
                condition("PodScheduled"),
                condition("Initialized"),
                condition("ContainersReady"),
                condition("Ready"),
            ],
            "containerStatuses": containers.collect::<Vec<_>>(),
        },
    })
}
