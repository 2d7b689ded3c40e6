//! Report: writes the statuses of users and groups, and what a connection says about its directory.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta},
    jiff::Timestamp,
};
use kube::Api;
use serde::Serialize;
use tokio::{sync::Semaphore, time::Instant};
use tracing::{debug, warn};

use super::{
    announce::announce_object,
    context::Context,
    declared::{Declared, DirectoryKind, Store},
};
use crate::{
    api::{
        FIELD_MANAGER, PROVISIONING_FIELD_MANAGER,
        connection::{ScimBridgeConnection, ScimBridgeConnectionStatus},
        directory::{ProvisioningStatus, Reason},
        vocabulary::ConditionType,
    },
    cluster::{
        call::{Call, CallError},
        key::Key,
        object::RawObject,
    },
    domain::directory::status::{DirectoryReport, Judgement},
    report::{
        events::EventRecorder,
        status::{Applied, apply_status},
    },
};

/// The most writes of all directories at one time. A directory of thousands must leave calls for the verdicts of
/// connections.
const MAX_WRITES: usize = 4;
/// How many statuses are made before they are written.
const CHUNK: usize = 64;

/// Writes statuses.
pub(super) struct Writer {
    pub(super) context: Context,
    pub(super) recorder: EventRecorder,
    slots: Semaphore,
}

/// The part of a connection's status that provisioning owns.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DirectoryStatus {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) provisioning: Option<ProvisioningStatus>,
}

/// What a connection says about its directory now.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) uid: Box<str>,
    resource_version: Option<String>,
    pub(super) status: DirectoryStatus,
}

/// How far statuses were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reported {
    /// All of them.
    All,
    /// It ended before the last one, because something else is more urgent.
    Broken,
    /// A write failed.
    Failed,
}

/// A status to write.
struct Job<K: DirectoryKind> {
    name: Arc<str>,
    uid: Box<str>,
    resource_version: Box<str>,
    status: K::Status,
}

impl<K: DirectoryKind> Job<K> {
    /// `None` if the status stands there already.
    fn of(name: &Arc<str>, declared: &Declared<K>, status: K::Status) -> Option<Self> {
        (status != declared.status).then(|| Self {
            name: Arc::clone(name),
            uid: declared.uid.clone(),
            resource_version: declared.resource_version.clone(),
            status,
        })
    }
}

impl Writer {
    pub(super) fn new(context: Context, recorder: EventRecorder) -> Self {
        Self {
            context,
            recorder,
            slots: Semaphore::new(MAX_WRITES),
        }
    }

    /// Writes the status of each object for which it differs. `judge` returns `None` for an object whose status is to
    /// stay. After each chunk, `may_go_on` gets the number of writes so far.
    pub(super) async fn report<'v, K: DirectoryKind>(
        &self,
        namespace: &str,
        store: &mut Store<K>,
        judge: impl Fn(&Declared<K>) -> Option<Judgement<'v>>,
        may_go_on: impl Fn(usize) -> bool,
    ) -> Reported {
        let mut succeeded = true;
        let mut written = 0;
        for chunk in store.names().chunks(CHUNK) {
            if written > 0 && !may_go_on(written) {
                return Reported::Broken;
            }
            let now = self.context.clock.now();
            let jobs: Vec<Job<K>> = chunk
                .iter()
                .filter_map(|name| {
                    let declared = store.get(name)?;
                    let judgement = match &declared.wish {
                        Ok(_) => judge(declared)?,
                        Err(fault) => {
                            Judgement::Unplanned(Reason::InvalidSpec, Some(format!("The fault: {fault}.")))
                        }
                    };
                    let status = K::next_status(&declared.status, declared.generation, &judgement, now);
                    Job::of(name, declared, status)
                })
                .collect();
            written += jobs.len();
            let mut writes = stream::iter(jobs)
                .map(|job| self.write(namespace, job))
                .buffer_unordered(MAX_WRITES);
            while let Some((job, applied)) = writes.next().await {
                match applied {
                    Ok(Applied::Written(metadata)) => self.note_written(namespace, store, job, *metadata),
                    // A change of labels is no news for a plan, and may be known by now: only another write shows.
                    Ok(Applied::Conflict) => succeeded = false,
                    // The watch reports the deletion soon.
                    Ok(Applied::Gone) => {}
                    Err(error) => {
                        if succeeded {
                            warn!(namespace, kind = K::PLURAL, %error, "status write failed; will retry");
                        } else {
                            debug!(namespace, kind = K::PLURAL, %error, "status write failed");
                        }
                        succeeded = false;
                    }
                }
            }
            tokio::task::yield_now().await;
        }
        if succeeded {
            Reported::All
        } else {
            Reported::Failed
        }
    }

    /// Writes a verdict, if there is one, and a change into the status of the object with this uid. Returns whether they
    /// stand there.
    pub(super) async fn intend<K: DirectoryKind>(
        &self,
        namespace: &str,
        store: &mut Store<K>,
        uid: &str,
        judgement: Option<&Judgement<'_>>,
        change: impl FnOnce(&mut K::Status),
    ) -> bool {
        let Some((name, declared)) = store.by_uid(uid) else {
            return false;
        };
        let now = self.context.clock.now();
        let mut status = match judgement {
            Some(judgement) => K::next_status(&declared.status, declared.generation, judgement, now),
            None => declared.status.clone(),
        };
        change(&mut status);
        let Some(job) = Job::of(name, declared, status) else {
            return true;
        };
        let (job, applied) = self.write::<K>(namespace, job).await;
        match applied {
            Ok(Applied::Written(metadata)) => {
                self.note_written(namespace, store, job, *metadata);
                true
            }
            Ok(Applied::Conflict | Applied::Gone) => false,
            Err(error) => {
                warn!(namespace, kind = K::PLURAL, %error, "status write failed; nothing is sent for this object");
                false
            }
        }
    }

    /// Announces a status that was written, and keeps it.
    fn note_written<K: DirectoryKind>(
        &self,
        namespace: &str,
        store: &mut Store<K>,
        job: Job<K>,
        metadata: ObjectMeta,
    ) {
        let Job {
            name,
            uid,
            resource_version: _,
            status,
        } = job;
        if let Some(before) = store.get(&name) {
            announce_object::<K>(&self.recorder, namespace, &name, &uid, &before.status, &status);
        }
        let version = metadata.resource_version.unwrap_or_default();
        store.written(&name, &uid, status, version.into());
    }

    async fn write<K: DirectoryKind>(
        &self,
        namespace: &str,
        job: Job<K>,
    ) -> (Job<K>, Result<Applied, CallError>) {
        // The semaphore is never closed.
        let _slot = self.slots.acquire().await;
        let names = (namespace, &*job.name);
        let applied = apply_status::<K>(
            &self.context.server,
            FIELD_MANAGER,
            names,
            Some(&job.resource_version),
            &job.status,
        );
        let applied = applied.await;
        (job, applied)
    }

    /// Reads what a connection says about its directory. `None` if the connection does not exist.
    ///
    /// # Errors
    /// The API server refused or did not answer.
    pub(super) async fn published(&self, key: &Key) -> Result<Option<Published>, CallError> {
        let client = self.context.server.client().clone();
        let api = Api::<RawObject<ScimBridgeConnection>>::namespaced(client, &key.namespace);
        let read = self
            .context
            .server
            .call(Call::ReadConnection, api.get(&key.name))
            .await?;
        Ok(read.map(|raw| {
            let ScimBridgeConnectionStatus {
                conditions,
                provisioning,
                ..
            } = raw.status().unwrap_or_default();
            Published {
                uid: raw.metadata.uid.unwrap_or_default().into(),
                resource_version: raw.metadata.resource_version,
                status: DirectoryStatus {
                    conditions: conditions
                        .into_iter()
                        .filter(|condition| ConditionType::is_of_provisioning(&condition.type_))
                        .collect(),
                    provisioning,
                },
            }
        }))
    }

    /// Writes what the connection says about its directory, if it differs. `None` removes everything. If only the time of
    /// the read differs, it is written when the heartbeat is due, also after a restart.
    ///
    /// Returns until when that is fresh. `None` if it is not written, because the connection changed meanwhile.
    ///
    /// # Errors
    /// The API server refused or did not answer.
    pub(super) async fn publish(
        &self,
        key: &Key,
        published: &Published,
        report: Option<&DirectoryReport>,
    ) -> Result<Option<Instant>, CallError> {
        let now = self.context.clock.now();
        let heartbeat = self.context.settings.heartbeat;
        let before = &published.status;
        let status = report.map_or_else(DirectoryStatus::default, |report| DirectoryStatus {
            conditions: report.conditions(&before.conditions, now),
            provisioning: report.status(before.provisioning.as_ref(), now),
        });
        if status.timeless() == before.timeless() {
            let age = before.age(now).unwrap_or_default();
            let fresh_for = heartbeat.saturating_sub(age);
            // A read that goes on ends with another time.
            if status == *before || !fresh_for.is_zero() {
                return Ok(Some(Instant::now() + fresh_for));
            }
        }
        let applied = apply_status::<ScimBridgeConnection>(
            &self.context.server,
            PROVISIONING_FIELD_MANAGER,
            key.names(),
            published.resource_version.as_deref(),
            &status,
        );
        let is_written = !matches!(applied.await?, Applied::Conflict);
        Ok(is_written.then(|| Instant::now() + heartbeat))
    }
}

impl DirectoryStatus {
    /// All but the time of the read.
    fn timeless(&self) -> Self {
        let mut status = self.clone();
        if let Some(provisioning) = &mut status.provisioning {
            provisioning.snapshot_time = None;
        }
        status
    }

    /// The time since the read. `None` if there was none.
    fn age(&self, now: Timestamp) -> Option<Duration> {
        let read = self.provisioning.as_ref()?.snapshot_time.as_ref()?;
        Some(Duration::try_from(now.duration_since(read.0)).unwrap_or_default())
    }
}
