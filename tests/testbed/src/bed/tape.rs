//! Every version of an object, in order, none left out.

use futures::{StreamExt as _, stream::BoxStream};
use kube::{
    Api,
    api::{ListParams, WatchEvent, WatchParams},
};
use scim_bridge_operator::api::v1alpha1::ScimBridgeConnection;
use tokio::time::timeout;

use super::{Bed, DEADLINE, line};

/// A watch of one connection, read where a test wants to know what has happened.
pub struct Tape {
    name: String,
    events: BoxStream<'static, kube::Result<WatchEvent<ScimBridgeConnection>>>,
    marks: u32,
}

impl Tape {
    /// Records from now on.
    pub async fn new(api: Api<ScimBridgeConnection>, name: &str) -> Self {
        let now = api.list_metadata(&ListParams::default()).await.unwrap();
        let only = WatchParams::default().fields(&format!("metadata.name={name}"));
        let version = now.metadata.resource_version.unwrap();
        let events = api.watch(&only, &version).await.unwrap();
        Self {
            name: name.to_owned(),
            events: events.boxed(),
            marks: 0,
        }
    }

    /// The versions up to and including the first that fits.
    pub async fn until(
        &mut self,
        what: &str,
        fits: impl Fn(&ScimBridgeConnection) -> bool,
    ) -> Vec<ScimBridgeConnection> {
        let mut versions = Vec::new();
        loop {
            let Ok(event) = timeout(DEADLINE, self.events.next()).await else {
                let lines: Vec<String> = versions.iter().map(line).collect();
                panic!("{}: no {what} in {DEADLINE:?}, only {lines:?}", self.name);
            };
            match event.expect("the watch goes on").unwrap() {
                WatchEvent::Added(version) | WatchEvent::Modified(version) => {
                    let is_last = fits(&version);
                    versions.push(version);
                    if is_last {
                        return versions;
                    }
                }
                WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(error) => panic!("{}: {error:?}", self.name),
            }
        }
    }

    /// The versions up to one that this call makes itself, without it.
    pub async fn so_far(&mut self, bed: &Bed<'_>) -> Vec<ScimBridgeConnection> {
        self.marks += 1;
        let mark = format!("end-{}", self.marks);
        bed.label(&self.name, &mark).await;
        let mut versions = self
            .until("mark", |version| {
                let labels = version.metadata.labels.as_ref();
                labels.and_then(|labels| labels.get("mark")) == Some(&mark)
            })
            .await;
        versions.pop();
        versions
    }
}

/// The lines of the versions, each only where it differs from the one before.
pub fn story(versions: &[ScimBridgeConnection]) -> Vec<String> {
    let mut lines: Vec<String> = versions.iter().map(line).collect();
    lines.dedup();
    lines
}
