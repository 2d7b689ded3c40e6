//! Observe: reads the directory of a bridge, and decides when to read it again.

use std::{num::NonZeroU32, time::Duration};

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::context::Context;
use crate::{
    api::{
        connection::{ObjectVersion, ScimBridgeConnectionSpec, TlsSpec},
        directory::{MembersReadBy, ProvisioningSpec, ProvisioningStatus},
        role::PerRole,
    },
    bridge::{
        ProbeRequest,
        scim::{
            directory::{Lists, Rate, Terms, Unread},
            memory::{Account, Charge},
        },
    },
    cluster::key::Key,
    domain::directory::{
        budget::DigestKey,
        census::{Census, Taken},
        names::RemoteId,
        snapshot::Snapshot,
        walk::Incomplete,
    },
    feed::{FeedConnection, Proof},
};

/// The least time for a whole read. A directory of 10,000 users takes 102 requests, and each may take some seconds.
const MIN_READ_TIME: Duration = Duration::from_mins(10);
/// The first pause after a read that failed. Each further failure doubles it, up to the interval.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The pause before a read that has to agree with the one before: a bridge that is just restarting needs some time.
const DOUBT_PAUSE: Duration = Duration::from_secs(30);

/// What a task knows of its bridge.
#[derive(Debug)]
pub(super) struct Sight {
    account: Account,
    source: Option<Source>,
    known: Option<Known>,
    census: Census,
    proven: Option<MembersReadBy>,
    rate: Option<(u8, Rate)>,
    round: u32,
    failures: u32,
    failure: Option<Incomplete>,
    next_read: Instant,
}

/// The last complete read that is believed.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) snapshot: Snapshot,
    pub(super) digest_key: DigestKey,
    /// When it ended.
    pub(super) taken: Instant,
    pub(super) time: Timestamp,
    /// The memory of the snapshot.
    _charge: Charge,
}

/// What a read is about. With another one, nothing that was read before counts.
#[derive(Clone, Debug, PartialEq)]
struct Source {
    uid: Box<str>,
    url: String,
    tls: Option<TlsSpec>,
    /// The key and the CA object that were proven last.
    proven: Option<(Option<ObjectVersion>, Option<ObjectVersion>)>,
}

/// All that a read needs to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) key: &'a Key,
    pub(super) spec: &'a ScimBridgeConnectionSpec,
    pub(super) provisioning: &'a ProvisioningSpec,
    pub(super) proof: &'a Proof,
}

impl Sight {
    pub(super) fn new(account: Account) -> Self {
        Self {
            account,
            source: None,
            known: None,
            census: Census::default(),
            proven: None,
            rate: None,
            round: 0,
            failures: 0,
            failure: None,
            next_read: Instant::now(),
        }
    }

    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.account.clone());
    }

    /// Goes on after a restart, from what the status says about the last complete read.
    pub(super) fn resume(&mut self, status: Option<&ProvisioningStatus>) {
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        self.census = status.map_or_else(Census::default, |status| {
            Census::resume(count(status.users), count(status.groups))
        });
    }

    /// Forgets what was read if the connection leads somewhere else now, or has another key.
    pub(super) fn follow(&mut self, connection: &FeedConnection) {
        let Some(spec) = &connection.spec else {
            return;
        };
        let proof = connection.proof.as_ref();
        let before = self.source.as_ref();
        let source = Source {
            uid: connection.uid.clone(),
            url: spec.url.clone(),
            tls: spec.tls.clone(),
            // A proof that is missing says nothing about the key.
            proven: proof
                .map(|proof| (proof.credential.clone(), proof.ca.clone()))
                .or_else(|| before?.proven.clone()),
        };
        if before != Some(&source) {
            *self = Self {
                source: Some(source),
                census: std::mem::take(&mut self.census),
                rate: self.rate.take(),
                ..Self::new(self.account.clone())
            };
        }
    }

    /// Forgets the last complete read if it is older than this: its memory serves others.
    pub(super) fn keep(&mut self, max_age: Duration) {
        self.known = self.known.take().filter(|known| known.taken.elapsed() < max_age);
    }

    /// The last complete read that was kept.
    pub(super) const fn known(&self) -> Option<&Known> {
        self.known.as_ref()
    }

    /// Who is gone.
    pub(super) const fn census(&self) -> &Census {
        &self.census
    }

    /// Why the last read failed; `None` if it did not.
    pub(super) const fn failure(&self) -> Option<Incomplete> {
        self.failure
    }

    /// When to read next.
    pub(super) const fn next_read(&self) -> Instant {
        self.next_read
    }

    /// Reads the directory. `ids` are the ids in the status of all objects.
    pub(super) async fn read<'a>(
        &mut self,
        context: &Context,
        subject: Subject<'_>,
        ids: impl IntoIterator<Item = &'a RemoteId>,
    ) {
        let Some(request) = proven_request(context, subject).await else {
            self.next_read = Instant::now() + FIRST_PAUSE;
            return;
        };
        let Subject {
            key,
            spec,
            provisioning,
            proof: _,
        } = subject;
        let interval = spec.interval.0;
        let (namespace, name) = key.names();
        let begun = Instant::now();
        let (lists, requests) = self
            .lists(context, &request, interval, provisioning.requests_per_second)
            .await;
        let admitted = match lists {
            Ok(lists) => {
                let (snapshot, charge) = lists.into_charged();
                let taken = Taken {
                    at: context.clock.now(),
                    interval,
                    limit: provisioning.limits.suspensions,
                };
                match self.census.admit(&snapshot, ids, taken) {
                    Ok(()) => Ok((snapshot, charge, taken.at)),
                    Err(incomplete) => Err((incomplete, None)),
                }
            }
            Err(unread) => {
                let (layer, cause) = (unread.layer.as_str(), &unread.cause);
                // The texts of causes are closed: they hold nothing of an answer.
                debug!(namespace, name, layer, %cause, "the read of a directory ended early");
                Err((unread.incomplete(), unread.retry_after))
            }
        };
        context.metrics.directory_pages(requests);
        match admitted {
            Ok((snapshot, charge, time)) => {
                context.metrics.directory_read_ended("complete");
                let (users, groups) = (snapshot.users().len(), snapshot.groups().len());
                let took = begun.elapsed();
                if self.failure.take().is_some() || self.known.is_none() {
                    info!(namespace, name, users, groups, requests, ?took, "directory read");
                } else {
                    debug!(
                        namespace,
                        name,
                        users,
                        groups,
                        requests,
                        ?took,
                        "directory read again"
                    );
                }
                self.proven = snapshot.members_read_by();
                self.failures = 0;
                self.known = Some(Known {
                    snapshot,
                    digest_key: request.key.digest_key(),
                    taken: Instant::now(),
                    time,
                    _charge: charge,
                });
                self.next_read = Instant::now() + interval;
            }
            Err((incomplete, retry_after)) => {
                let cause = incomplete.as_str();
                context.metrics.directory_read_ended(cause);
                if self.failure.replace(incomplete) == Some(incomplete) {
                    debug!(namespace, name, cause, requests, "directory incomplete again");
                } else {
                    warn!(
                        namespace,
                        name, cause, requests, "directory incomplete; will retry"
                    );
                }
                let pause = if incomplete == Incomplete::ManyMissing {
                    DOUBT_PAUSE
                } else {
                    FIRST_PAUSE.saturating_mul(1 << self.failures.min(16))
                };
                self.failures = self.failures.saturating_add(1);
                self.next_read = Instant::now() + pause.min(interval).max(retry_after.unwrap_or_default());
            }
        }
    }

    /// Reads the lists, and counts the requests.
    async fn lists(
        &mut self,
        context: &Context,
        request: &ProbeRequest,
        interval: Duration,
        per_second: u8,
    ) -> (Result<Lists, Unread>, u32) {
        let (_, rate) = self
            .rate
            .take_if(|(known, _)| *known == per_second)
            .unwrap_or_else(|| {
                let requests = NonZeroU32::new(per_second.into()).unwrap_or(NonZeroU32::MIN);
                (per_second, Rate::per_second(requests))
            });
        // Kept here, so that a read that is interrupted does not restart the pace.
        let (_, rate) = self.rate.insert((per_second, rate));
        let terms = Terms {
            within: interval.max(MIN_READ_TIME),
            proven: self.proven,
            round: self.round,
        };
        self.round = self.round.wrapping_add(1);
        let reader = context.reader.clone().charged_to(self.account.clone());
        let before = rate.requests();
        let lists = reader.read(request, terms, rate).await;
        let requests = u32::try_from(rate.requests() - before).unwrap_or(u32::MAX);
        (lists, requests)
    }
}

/// The request with the key and the CA that were proven. `None` if they changed meanwhile or cannot be read: the
/// controller of connections is about to say so.
async fn proven_request(context: &Context, subject: Subject<'_>) -> Option<ProbeRequest> {
    let Subject {
        key,
        spec,
        provisioning: _,
        proof,
    } = subject;
    let (namespace, name) = key.names();
    let seen = PerRole::default();
    match context.resolver.resolve(namespace, Some(spec), &seen).await {
        Ok((resolved, Ok(request)))
            if resolved.versions.credential == proof.credential && resolved.versions.ca == proof.ca =>
        {
            Some(request)
        }
        Ok(_) => {
            debug!(namespace, name, "the key or CA object is not the proven one");
            None
        }
        Err(error) => {
            warn!(namespace, name, %error, "cannot read the key for a directory; will retry");
            None
        }
    }
}
