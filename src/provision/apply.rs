//! Apply: sends the orders of a plan, one at a time, and reads each back.
//!
//! Two statuses have to survive a crash, so they are written before an order leaves. That of the connection says how much
//! of the limits is used. That of the object says that the order was about to be sent. Only a read is a proof, never an
//! answer.

use std::{collections::BTreeSet, iter, time::Duration};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{
    declared::Store,
    directory::Directory,
    observe::{SingleEntry, Subject, proven_request},
    report::Writer,
};
use crate::{
    api::{
        directory::{ChangeKind, Origin},
        group::{ScimGroup, ScimGroupStatus},
        user::{ScimUser, ScimUserStatus},
    },
    bridge::{ProbeRequest, scim::rate::Rate},
    domain::{
        connection::conditions::whole_seconds,
        directory::{
            job::Job,
            ledger::Key,
            names::{ObjectId, RemoteId},
            order::{Answer, MAX_MEMBERS, Order, Target},
            snapshot::{Activity, GroupEntry, UserEntry},
            status::{DirectoryReport, Judgement},
        },
    },
    feed::FeedConnection,
    metrics::write_outcome,
};

/// How many orders are prepared at a time: the status of the connection is written once for all of them.
pub(super) const BATCH: usize = 8;
/// How often a note in the status of a connection is tried before its orders wait.
const NOTES: usize = 3;
/// An order whose turn comes later than this after its note is noted again.
const NOTED_FOR: SignedDuration = SignedDuration::from_mins(1);
/// The longest wait of one request for its pace and its turn, and for its answer.
const WITHIN: Duration = Duration::from_mins(2);
/// The pause after an order that could not be sent.
const PAUSE: Duration = Duration::from_secs(10);
/// The longest pause that a bridge gets: it must not stop a suspension for ever.
const MAX_LIMITED: Duration = Duration::from_hours(1);
/// The pause where the bridge asks for one and does not say how long.
const LIMITED: Duration = Duration::from_secs(30);

/// The bridge that orders go to.
pub(super) struct Bridge<'a> {
    pub(super) connection: &'a FeedConnection,
    pub(super) subject: Subject,
}

/// What came of reading one user or group.
enum Seen {
    User(UserEntry),
    /// A group, and its members if the read says who they are.
    Group(GroupEntry, Option<BTreeSet<RemoteId>>),
    /// The bridge says that it is not there.
    Nothing,
    /// No answer.
    Unread,
}

/// A group could not be read.
struct Unread;

impl Directory {
    /// Looks for what was accepted and did not show yet, and puts back members whom an order has lost.
    pub(super) async fn follow_up(&mut self, bridge: &Bridge<'_>) {
        for object in self.ledger.looks_due() {
            self.look(bridge, &object).await;
        }
        while self.ledger.has_due_restore() && self.may_send(bridge).await.is_some() {
            let Some(restore) = self.ledger.restore() else {
                return;
            };
            let group = self.groups.by_uid(restore.object.as_str());
            let is_kept = group.is_some_and(|(_, group)| group.wish.as_ref().is_ok_and(|wish| !wish.paused));
            if !is_kept {
                self.ledger.forget_restores(&restore.object);
                continue;
            }
            let (namespace, name) = self.key.names();
            let count = restore.users.len();
            warn!(
                namespace,
                name, count, "members of a group are missing after an order; putting them back"
            );
            // Users who were suspended meanwhile stay out.
            let is_active = |user: &RemoteId| {
                let snapshot = self.sight.known().map(|known| &known.snapshot);
                let user = snapshot.and_then(|snapshot| snapshot.user(snapshot.user_by_id(user)?));
                user.is_some_and(|user| user.active == Activity::Active)
            };
            let users: Vec<RemoteId> = restore.users.into_iter().filter(is_active).collect();
            for users in users.chunks(MAX_MEMBERS) {
                let Some(request) = self.may_send(bridge).await else {
                    return;
                };
                let order = Order::AddMembers {
                    group: restore.group.clone(),
                    users: users.to_vec(),
                };
                self.send(&request, ChangeKind::Addition, &order).await;
            }
            self.read_group(bridge, &restore.group).await;
        }
    }

    /// Sends orders until one cannot be sent, or news come: jobs that are noted in the statuses of their objects. Returns
    /// whether the plan has to be made again now.
    pub(super) async fn apply(
        &mut self,
        bridge: &Bridge<'_>,
        jobs: Vec<Job>,
        mut report: DirectoryReport,
        summary: &str,
    ) -> bool {
        let noted = self.ledger.time();
        // Each time that an act is sent counts, also if it was sent before: its effect is not known then.
        for job in &jobs {
            self.ledger.reserve(job.kind, job.count());
        }
        report.account(&self.ledger);
        if !self.note(bridge.connection, &report, summary).await {
            for job in &jobs {
                self.ledger.refund(job.kind, noted, job.count());
            }
            self.hold_orders();
            return false;
        }
        let mut waiting = jobs.into_iter().peekable();
        let mut is_first = true;
        while let Some(job) = waiting.next() {
            // The news may say that this is not wanted any more, or that something more urgent is. The first order is the
            // most urgent one: thousands of newcomers must not hold it up. What was noted long ago counts for an hour that
            // is not the one of the order.
            let is_late = self.ledger.time().duration_since(noted) > NOTED_FOR;
            let news = self.take_news();
            let is_overtaken = is_late || news.may_take_back(&job) || (news.is_news && !is_first);
            is_first = false;
            // One read shows what came of orders for one group that follow each other.
            let reads = waiting
                .peek()
                .is_none_or(|next| next.object != job.object || next.kind != job.kind);
            if is_overtaken || !self.carry_out(bridge, &job, reads).await {
                for job in iter::once(job).chain(waiting) {
                    self.ledger.refund(job.kind, noted, job.count());
                }
                if !is_overtaken {
                    self.hold_orders();
                }
                break;
            }
        }
        true
    }

    /// Notes in the status of the connection how much of the limits is used. Returns whether it stands there.
    async fn note(&mut self, connection: &FeedConnection, report: &DirectoryReport, summary: &str) -> bool {
        for _ in 0..NOTES {
            // Probes write to the same object: after a conflict the next try is about its new version.
            if self.publish(connection, report.clone(), summary).await {
                return true;
            }
        }
        false
    }

    /// The request with the key that was proven, read now. `None` if nothing may be sent now.
    async fn may_send(&self, bridge: &Bridge<'_>) -> Option<ProbeRequest> {
        let context = &self.writer.context;
        let is_proven = context.clock.now() < bridge.subject.proof.valid_until;
        if !is_proven || self.ledger.is_limited() {
            return None;
        }
        proven_request(context, &bridge.subject).await
    }

    /// Carries out one job: sends it, in halves if the bridge refuses the whole, and reads what came of it. Without
    /// `reads`, an order that needs no check is read with the next one, or in the next round. Returns whether it was sent.
    async fn carry_out(&mut self, bridge: &Bridge<'_>, job: &Job, reads: bool) -> bool {
        let mut parts = vec![job.clone()];
        let mut is_sent = false;
        while let Some(job) = parts.pop() {
            let Some(request) = self.may_send(bridge).await else {
                return is_sent;
            };
            let Ok(before) = self.members_before(bridge, &job).await else {
                return is_sent;
            };
            let job = match &before {
                Some((_, members)) => job.still_needed(members),
                None => Some(job),
            };
            let Some(job) = job else {
                // Somebody else has done it.
                is_sent = true;
                continue;
            };
            let is_checked = before.is_some();
            let answer = self.send(&request, job.kind, &job.order).await;
            if matches!(answer, Answer::NotSent | Answer::RateLimited) {
                return is_sent;
            }
            is_sent = true;
            if self.ledger.record(&job.keys, &job.order, &answer) {
                parts.extend(job.halves().into_iter().flatten());
                continue;
            }
            if let (Answer::Accepted(_) | Answer::Unclear | Answer::NotFound, Some((group, before))) =
                (&answer, before)
            {
                // Whether it has its own effect is another question: that may show late.
                self.ledger
                    .expect(&job.object, job.kind, &group, job.order.staying(&before));
            }
            if let Answer::Accepted(Some(id)) = &answer
                && job.order.target().id().is_none()
            {
                self.created.insert(job.object.clone(), id.clone());
            }
            debug!(order = ?job.order, outcome = write_outcome(&answer), "order sent");
            let object = job.object.clone();
            let is_open = job.keys.iter().any(|key| self.ledger.has(key));
            if is_open {
                self.open.retain(|known| known.keys != job.keys);
                self.open.push(job);
                if reads || is_checked {
                    self.look(bridge, &object).await;
                }
            }
        }
        is_sent
    }

    /// The members of a group as they are just before its first order of a kind. `None` where no order is checked.
    ///
    /// # Errors
    /// The group could not be read. An older read would blame the order for what others did since.
    async fn members_before(
        &mut self,
        bridge: &Bridge<'_>,
        job: &Job,
    ) -> Result<Option<(RemoteId, BTreeSet<RemoteId>)>, Unread> {
        let (Order::AddMembers { group, users } | Order::RemoveMembers { group, users }) = &job.order else {
            return Ok(None);
        };
        let known = self.members_of(group).map_or(0, |members| members.len());
        if self.ledger.is_trusted(group, job.kind, known + users.len()) {
            return Ok(None);
        }
        if matches!(self.read_group(bridge, group).await, Seen::Unread) {
            return Err(Unread);
        }
        Ok(self.members_of(group).map(|members| (group.clone(), members)))
    }

    async fn send(&mut self, request: &ProbeRequest, kind: ChangeKind, order: &Order) -> Answer {
        let Some(rate) = self.sight.rate().cloned() else {
            return Answer::NotSent;
        };
        let sent = self
            .writer
            .context
            .orders
            .send(request, order, WITHIN, &rate)
            .await;
        self.tick();
        self.writer
            .context
            .metrics
            .directory_write(kind, write_outcome(&sent.answer));
        if sent.answer == Answer::RateLimited {
            self.ledger
                .limit(sent.retry_after.unwrap_or(LIMITED).min(MAX_LIMITED));
        }
        sent.answer
    }

    /// Reads the user or group of an object whose orders wait for a read, and takes in what it shows.
    async fn look(&mut self, bridge: &Bridge<'_>, object: &ObjectId) {
        let jobs: Vec<Job> = self
            .open
            .iter()
            .filter(|job| job.object == *object)
            .cloned()
            .collect();
        let keys: Vec<Key> = self.ledger.waiting(object).cloned().collect();
        let begun = self.ledger.time();
        let is_user = jobs
            .iter()
            .any(|job| matches!(job.order.target(), Target::User(_) | Target::NewUser));
        let id = jobs
            .iter()
            .find_map(|job| job.order.target().id().cloned())
            .or_else(|| self.created.get(object).cloned());
        let Some(id) = id else {
            // Only the lists show what became of it.
            self.ledger.note_look(&keys, begun);
            return;
        };
        let seen = if is_user {
            self.read_user(bridge, &id).await
        } else {
            self.read_group(bridge, &id).await
        };
        match seen {
            Seen::Unread => self.ledger.note_missed_look(&keys),
            Seen::Nothing => self.ledger.note_look(&keys, begun),
            Seen::User(_) | Seen::Group(..) => {
                for job in &jobs {
                    let is_shown = match &seen {
                        Seen::User(user) => Some(job.order.is_shown_by_user(user)),
                        Seen::Group(group, members) => job
                            .order
                            .is_shown_by_group(group.display_name.as_deref(), members.as_ref()),
                        Seen::Nothing | Seen::Unread => None,
                    };
                    match is_shown {
                        Some(true) => {
                            if job.order.target().id().is_none() {
                                self.note_created(job, &id).await;
                            }
                            self.note_proven(job);
                        }
                        Some(false) => self.ledger.note_look(&job.keys, begun),
                        None => self.ledger.note_missed_look(&job.keys),
                    }
                }
            }
        }
    }

    /// A read has shown what the operator created: from now on the object is about that id, under any name. If the
    /// write fails, the next plan finds the name.
    async fn note_created(&mut self, job: &Job, id: &RemoteId) {
        let (namespace, uid) = (&self.key.namespace, job.object.as_str());
        let note = |known: &mut Option<String>, origin: &mut Option<Origin>| {
            known.get_or_insert_with(|| id.as_str().to_owned());
            *origin = Some(Origin::Created);
        };
        if job.order.target() == Target::NewUser {
            let change = |status: &mut ScimUserStatus| note(&mut status.id, &mut status.origin);
            self.writer
                .intend(namespace, &mut self.users, uid, None, change)
                .await;
        } else {
            let change = |status: &mut ScimGroupStatus| note(&mut status.id, &mut status.origin);
            self.writer
                .intend(namespace, &mut self.groups, uid, None, change)
                .await;
        }
        self.created.remove(&job.object);
    }

    /// A read has shown the effect of this job.
    fn note_proven(&mut self, job: &Job) {
        self.ledger.settle(&job.keys);
        self.open.retain(|known| known.keys != job.keys);
        let took = match self
            .suspension_requested(&job.object)
            .filter(|_| job.kind == ChangeKind::Suspension)
        {
            Some(requested) => {
                let now = self.writer.context.clock.now();
                Duration::try_from(now.duration_since(requested)).unwrap_or_default()
            }
            None => self
                .since(&job.object)
                .map(|since| since.elapsed())
                .unwrap_or_default(),
        };
        self.writer.context.metrics.proven(job.kind, took);
        let (namespace, name) = self.key.names();
        info!(
            namespace,
            name,
            kind = job.kind.singular(),
            acts = job.keys.len(),
            "change proven"
        );
    }

    /// Forgets jobs that no longer wait: the lists have shown them, or they are not wanted any more.
    pub(super) fn close_jobs(&mut self, asked: impl Fn(&Key) -> bool) {
        let open = std::mem::take(&mut self.open);
        for job in open {
            if job.keys.iter().any(|key| self.ledger.has(key)) {
                self.open.push(job);
            } else if !job.keys.iter().any(&asked) {
                self.note_proven(&job);
            }
        }
    }

    async fn read_user(&mut self, bridge: &Bridge<'_>, id: &RemoteId) -> Seen {
        let Some((request, rate)) = self.reading(bridge).await else {
            return Seen::Unread;
        };
        let begun = self.ledger.time();
        let read = self
            .writer
            .context
            .reader
            .read_user(&request, id, WITHIN, &rate)
            .await;
        self.tick();
        match read {
            Ok(Some(user)) => {
                self.sight.amend(SingleEntry::User(user.clone()), begun);
                Seen::User(user)
            }
            Ok(None) => Seen::Nothing,
            Err(_) => Seen::Unread,
        }
    }

    async fn read_group(&mut self, bridge: &Bridge<'_>, id: &RemoteId) -> Seen {
        let Some((request, rate)) = self.reading(bridge).await else {
            return Seen::Unread;
        };
        let begun = self.ledger.time();
        let read = self
            .writer
            .context
            .reader
            .read_group(&request, id, WITHIN, &rate)
            .await;
        self.tick();
        match read {
            Ok(Some(group)) => {
                let shows_members = group.members.as_ref().is_some_and(|members| !members.is_empty());
                if shows_members {
                    self.ledger.note_shown(id);
                }
                let is_empty = !shows_members && self.ledger.shows_by_id(id);
                self.sight
                    .amend(SingleEntry::Group(group.clone(), is_empty), begun);
                let members = self.members_of(id).filter(|_| shows_members || is_empty);
                if let Some(members) = &members {
                    self.ledger.note_members(id, members, begun);
                }
                Seen::Group(group, members)
            }
            Ok(None) => Seen::Nothing,
            Err(_) => Seen::Unread,
        }
    }

    async fn reading(&self, bridge: &Bridge<'_>) -> Option<(ProbeRequest, Rate)> {
        let request = proven_request(&self.writer.context, &bridge.subject).await?;
        Some((request, self.sight.rate()?.clone()))
    }

    pub(super) fn members_of(&self, group: &RemoteId) -> Option<BTreeSet<RemoteId>> {
        self.sight.known()?.snapshot.members_of(group)
    }

    /// An order could not be sent. The next one waits a moment.
    fn hold_orders(&mut self) {
        self.orders_from = Instant::now() + PAUSE;
    }

    fn suspension_requested(&self, object: &ObjectId) -> Option<Timestamp> {
        let (_, user) = self.users.by_uid(object.as_str())?;
        Some(user.status.suspension.as_ref()?.requested_at.as_ref()?.0)
    }

    fn since(&self, object: &ObjectId) -> Option<Instant> {
        let user = self.users.by_uid(object.as_str()).map(|(_, user)| user.since);
        user.or_else(|| self.groups.by_uid(object.as_str()).map(|(_, group)| group.since))
    }
}

/// Writes the verdict of the plan into the status of the object, and beside it what a crash would make us forget. That
/// is a creation, the time of a suspension, or the members to add. Returns whether it stands there.
pub(super) async fn intend(
    writer: &Writer,
    namespace: &str,
    (users, groups): (&mut Store<ScimUser>, &mut Store<ScimGroup>),
    job: &Job,
    judgement: Option<&Judgement<'_>>,
) -> bool {
    let uid = job.object.as_str();
    match &job.order {
        Order::CreateUser { .. } => {
            let change = |status: &mut ScimUserStatus| note_origin(status.id.as_ref(), &mut status.origin);
            writer.intend(namespace, users, uid, judgement, change).await
        }
        Order::SetActive { active: false, .. } => {
            let now = whole_seconds(writer.context.clock.now());
            let change = |status: &mut ScimUserStatus| {
                let times = status.suspension.get_or_insert_default();
                times.requested_at.get_or_insert_with(|| now.clone());
                times.sent_at = Some(now);
            };
            writer.intend(namespace, users, uid, judgement, change).await
        }
        Order::SetActive { active: true, .. } | Order::RenameUser { .. } => {
            writer.intend(namespace, users, uid, judgement, |_| {}).await
        }
        Order::CreateGroup { .. } => {
            let change = |status: &mut ScimGroupStatus| note_origin(status.id.as_ref(), &mut status.origin);
            writer.intend(namespace, groups, uid, judgement, change).await
        }
        Order::AddMembers { users, .. } => {
            let change = |status: &mut ScimGroupStatus| {
                let added: BTreeSet<String> = std::mem::take(&mut status.added)
                    .into_iter()
                    .chain(users.iter().map(|user| user.as_str().to_owned()))
                    .collect();
                status.added = added.into_iter().collect();
            };
            writer.intend(namespace, groups, uid, judgement, change).await
        }
        Order::RenameGroup { .. } | Order::RemoveMembers { .. } => {
            writer.intend(namespace, groups, uid, judgement, |_| {}).await
        }
    }
}

/// Notes that the operator asks the bridge to create an account or group, unless the object has one.
fn note_origin(id: Option<&String>, origin: &mut Option<Origin>) {
    if id.is_none() {
        *origin = Some(Origin::Created);
    }
}
