//! Observe: reads the directory of a bridge, and decides when to read it again.

use std::{future::pending, num::NonZeroU32, sync::Arc, time::Duration};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::{task::JoinError, time::Instant};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, error, info, warn};

use super::context::Context;
use crate::{
    api::{
        connection::{ObjectVersion, ScimBridgeConnectionSpec, TlsSpec},
        directory::{MembersReadBy, ProvisioningStatus},
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
        ledger::PATIENCE,
        names::RemoteId,
        snapshot::{GroupEntry, Snapshot, UserEntry},
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

/// The pause before a read that a change waits for. Others may join it.
const HURRY: Duration = Duration::from_secs(1);
/// What was read by id within this time counts more than a list: some servers show a change in their lists late.
const SIGNED_PATIENCE: SignedDuration = SignedDuration::from_secs(PATIENCE.as_secs().cast_signed());

/// What a task knows of its bridge.
#[derive(Debug)]
pub(super) struct Sight {
    account: Account,
    source: Option<Source>,
    known: Option<Known>,
    census: Census,
    proven: Option<MembersReadBy>,
    rate: Option<(u8, Rate)>,
    reading: Option<AbortOnDropHandle<Option<Read>>>,
    /// A read that has ended. `None` in it: the proven key could not be read.
    ended: Option<Result<Option<Read>, JoinError>>,
    round: u32,
    failures: u32,
    failure: Option<Incomplete>,
    next_read: Instant,
    /// When the read that goes on, or has ended, began: a time of the ledger.
    begun: Timestamp,
    /// Users and groups that were read by id of late. A list that began before may show what was there before.
    single: Vec<Single>,
}

/// A user or group that was read by id.
#[derive(Clone, Debug)]
struct Single {
    /// When the read began: a time of the ledger.
    begun: Timestamp,
    entry: SingleEntry,
}

#[derive(Clone, Debug)]
pub(super) enum SingleEntry {
    User(UserEntry),
    /// A group, and whether it should be empty.
    Group(GroupEntry, bool),
}

/// The last complete read that is believed.
#[derive(Debug)]
pub(super) struct Known {
    /// The lists, and what was read by id since.
    pub(super) snapshot: Snapshot,
    /// When the read began: a time of the ledger.
    pub(super) begun: Timestamp,
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
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) key: Key,
    pub(super) spec: Arc<ScimBridgeConnectionSpec>,
    pub(super) proof: Proof,
}

/// A read that has ended.
#[derive(Debug)]
struct Read {
    lists: Result<Lists, Unread>,
    requests: u32,
    took: Duration,
    digest_key: DigestKey,
}

impl SingleEntry {
    fn amend(self, snapshot: &mut Snapshot) {
        match self {
            Self::User(user) => snapshot.amend_user(user),
            Self::Group(group, should_be_empty) => snapshot.amend_group(group, should_be_empty),
        }
    }
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
            reading: None,
            ended: None,
            round: 0,
            failures: 0,
            failure: None,
            next_read: Instant::now(),
            begun: Timestamp::UNIX_EPOCH,
            single: Vec::new(),
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

    /// Takes in what was read by id. `begun` is when that read began, a time of the ledger.
    pub(super) fn amend(&mut self, entry: SingleEntry, begun: Timestamp) {
        self.single.retain(|single| {
            begun.duration_since(single.begun) < SIGNED_PATIENCE || single.begun >= self.begun
        });
        if let Some(known) = &mut self.known {
            let was_blind = known.snapshot.members_read_by().is_none();
            entry.clone().amend(&mut known.snapshot);
            if was_blind && known.snapshot.members_read_by().is_some() {
                // The other groups can be read now, too.
                self.next_read = self.next_read.min(Instant::now() + HURRY);
            }
        }
        self.single.push(Single { begun, entry });
    }

    /// The pace of requests to this bridge. `None` before the first read.
    pub(super) fn rate(&self) -> Option<&Rate> {
        self.rate.as_ref().map(|(_, rate)| rate)
    }

    /// Reads again soon, unless the last read failed: then the next one has its own time.
    pub(super) fn hurry(&mut self) {
        if self.failure.is_none() {
            self.next_read = self.next_read.min(Instant::now() + HURRY);
        }
    }

    /// Who is gone.
    pub(super) const fn census(&self) -> &Census {
        &self.census
    }

    /// Why the last read failed; `None` if it did not.
    pub(super) const fn failure(&self) -> Option<Incomplete> {
        self.failure
    }

    /// Whether the last read was complete, and is not believed: the directory is another one now, or lost many.
    pub(super) const fn is_in_doubt(&self) -> bool {
        matches!(
            self.failure,
            Some(
                Incomplete::UsersVanished
                    | Incomplete::GroupsVanished
                    | Incomplete::NothingFamiliar
                    | Incomplete::ManyMissing
            )
        )
    }

    /// When to read next; `None` while a read goes on.
    pub(super) const fn next_read(&self) -> Option<Instant> {
        if self.reading.is_some() {
            return None;
        }
        Some(self.next_read)
    }

    /// Begins to read. The read has its own task: meanwhile, plans use the last complete read.
    pub(super) fn begin(&mut self, context: &Context, subject: Subject, per_second: u8, now: Timestamp) {
        self.begun = now;
        let (_, rate) = self
            .rate
            .take_if(|(known, _)| *known == per_second)
            .unwrap_or_else(|| {
                let requests = NonZeroU32::new(per_second.into()).unwrap_or(NonZeroU32::MIN);
                (per_second, Rate::per_second(requests))
            });
        // Kept here, so that a read that is interrupted does not restart the pace.
        self.rate = Some((per_second, rate.clone()));
        let terms = Terms {
            within: subject.spec.interval.0.max(MIN_READ_TIME),
            proven: self.proven,
            round: self.round,
        };
        self.round = self.round.wrapping_add(1);
        let (context, account) = (context.clone(), self.account.clone());
        let reading = tokio::spawn(async move {
            let request = proven_request(&context, &subject).await?;
            let begun = Instant::now();
            // The clone counts the requests of this read.
            let rate = rate.clone();
            let reader = context.reader.charged_to(account);
            let lists = reader.read(&request, terms, &rate).await;
            Some(Read {
                lists,
                requests: u32::try_from(rate.requests()).unwrap_or(u32::MAX),
                took: begun.elapsed(),
                digest_key: request.key.digest_key(),
            })
        });
        self.reading = Some(AbortOnDropHandle::new(reading));
    }

    /// Reads as soon as no read goes on: somebody asked for it.
    pub(super) fn hasten(&mut self) {
        self.next_read = Instant::now();
    }

    /// Waits until the read that goes on has ended. Without one, it waits for ever.
    pub(super) async fn ended(&mut self) {
        let Some(reading) = &mut self.reading else {
            return pending().await;
        };
        let ended = reading.await;
        self.reading = None;
        self.ended = Some(ended);
    }

    /// Whether a read has ended that nobody has taken in.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether the first read goes on: nothing is known, and no failure either.
    pub(super) const fn is_first_read(&self) -> bool {
        self.reading.is_some() && self.known.is_none() && self.failure.is_none()
    }

    /// Ends the read that goes on.
    pub(super) fn stop(&mut self) {
        (self.reading, self.ended) = (None, None);
    }

    /// The snapshot of complete lists, if they are believed. Users and groups that were read by id of late stand in it as
    /// they were then.
    fn admit<'a>(
        &mut self,
        lists: Lists,
        ids: impl IntoIterator<Item = &'a RemoteId>,
        taken: Taken,
    ) -> Result<(Snapshot, Charge), Incomplete> {
        let (mut snapshot, charge) = lists.into_charged();
        self.census.admit(&snapshot, ids, taken)?;
        let begun = self.begun;
        self.single
            .retain(|single| begun.duration_since(single.begun) < SIGNED_PATIENCE);
        for single in &self.single {
            single.entry.clone().amend(&mut snapshot);
        }
        Ok((snapshot, charge))
    }

    /// Takes in the read that has ended. `ids` are the ids in the status of all objects.
    pub(super) fn take_in<'a>(
        &mut self,
        context: &Context,
        key: &Key,
        taken: Taken,
        ids: impl IntoIterator<Item = &'a RemoteId>,
    ) {
        let interval = taken.interval;
        let (namespace, name) = key.names();
        let Read {
            lists,
            requests,
            took,
            digest_key,
        } = match self.ended.take() {
            None => return,
            Some(Ok(Some(read))) => read,
            Some(Ok(None)) => {
                self.next_read = Instant::now() + FIRST_PAUSE;
                return;
            }
            Some(Err(_)) => {
                // The panic message is not logged: it may quote a name.
                error!(namespace, name, "reading a directory panicked; will retry");
                context.metrics.panicked();
                self.next_read = Instant::now() + FIRST_PAUSE;
                return;
            }
        };
        let admitted = match lists {
            Ok(lists) => {
                let admitted = self.admit(lists, ids, taken);
                admitted.map_err(|incomplete| (incomplete, None))
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
            Ok((snapshot, charge)) => {
                context.metrics.directory_read_ended("complete");
                let (users, groups) = (snapshot.users().len(), snapshot.groups().len());
                if self.failure.take().is_some() || self.known.is_none() {
                    info!(
                        namespace,
                        name,
                        users,
                        groups,
                        requests,
                        took = took.as_secs_f64(),
                        "directory read"
                    );
                } else {
                    debug!(
                        namespace,
                        name,
                        users,
                        groups,
                        requests,
                        took = took.as_secs_f64(),
                        "directory read again"
                    );
                }
                self.proven = snapshot.members_read_by();
                self.failures = 0;
                self.known = Some(Known {
                    snapshot,
                    begun: self.begun,
                    digest_key,
                    taken: Instant::now(),
                    time: context.clock.now(),
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
}

/// The request with the key and the CA that were proven. `None` if they changed meanwhile or cannot be read: the
/// controller of connections is about to say so.
pub(super) async fn proven_request(context: &Context, subject: &Subject) -> Option<ProbeRequest> {
    let Subject { key, spec, proof } = subject;
    let (namespace, name) = key.names();
    let seen = PerRole::default();
    match context
        .resolver
        .resolve(namespace, Some(spec.as_ref()), &seen)
        .await
    {
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
