//! The task of one directory.

use std::{
    collections::{HashMap, HashSet},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures::FutureExt as _;
use k8s_openapi::jiff::Timestamp;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, warn};

use super::{
    announce::announce_directory,
    apply::{BATCH, Bridge, intend},
    declared::{Declared, DirectoryKind, Store},
    elder::has_elder,
    inbox::{Inbox, News, Service},
    observe::{Known, Sight, Subject},
    report::{Reported, Writer},
};
use crate::{
    api::{
        directory::{ProvisioningMode, Reason},
        group::ScimGroup,
        user::ScimUser,
    },
    cluster::{call::CallError, key::Key},
    domain::{
        connection::conditions::MISSING_GRACE,
        directory::{
            budget::{Digest, DigestKey, Kind},
            census::Taken,
            job::{Job, next_jobs},
            ledger::{self, Ledger},
            names::{ObjectId, RemoteId},
            plan::{self, InvalidPolicy, Plan, Policy, Totals},
            render::Summary,
            status::{DirectoryReport, Judgement},
            verdict::{StopReason, Verdict},
            wish::Wishes,
        },
    },
    feed::FeedConnection,
    metrics::DirectoryRow,
};

/// How many objects get their verdicts before the next orders are sent.
const PROGRESS: usize = 64;
/// News are collected for this long: one apply changes many objects.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// Pause after a call to the API server that failed, or a panic.
const RETRY: Duration = Duration::from_secs(5);
/// How often connections that this process does not serve are looked for.
const LOOK_AGAIN: Duration = Duration::from_mins(5);
/// Longest sleep. News end it.
const IDLE: Duration = Duration::from_hours(1);
/// The least time for which a verdict stands although the directory cannot be read.
const MIN_HOLD: Duration = Duration::from_mins(5);

/// Users and groups of one connection, and the last read of its bridge.
pub(super) struct Directory {
    pub(super) writer: Arc<Writer>,
    pub(super) key: Key,
    pub(super) inbox: Arc<Inbox>,
    pub(super) users: Store<ScimUser>,
    pub(super) groups: Store<ScimGroup>,
    connection: Option<FeedConnection>,
    /// Whether all objects and connections that existed at the start are known.
    is_synced: bool,
    missing_since: Option<Instant>,
    pub(super) sight: Sight,
    /// What was sent, and what may be.
    pub(super) ledger: Ledger,
    /// When the ledger was told the time.
    ticked: Instant,
    /// When the last lists began that the ledger knows of.
    noted: Option<Timestamp>,
    /// Orders that were sent and wait for a read.
    pub(super) open: Vec<Job>,
    /// Ids from answers to creations that no read has shown.
    pub(super) created: HashMap<ObjectId, RemoteId>,
    /// No order is sent before.
    pub(super) orders_from: Instant,
    /// Whether a connection of another shard manages the bridge, and when to ask again.
    elder_elsewhere: (bool, Instant),
    /// Until then verdicts stand although the directory cannot be read.
    held_until: Option<Instant>,
    /// What the connection says about the directory, and until when that is fresh.
    published: Option<(DirectoryReport, Instant)>,
    /// The connection whose earlier report was read.
    resumed: Option<Box<str>>,
    wake: Instant,
}

/// The news that were taken in.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Whether a plan could differ now.
    pub(super) is_news: bool,
    /// Whether the connection changed.
    is_of_connection: bool,
    /// Users whose specification changed, and users who are no longer declared.
    users: HashSet<ObjectId>,
    /// Groups, as for users.
    groups: HashSet<ObjectId>,
}

impl Heard {
    /// Whether a job of the plan before may no longer be wanted. Newcomers take nothing back.
    pub(super) fn may_take_back(&self, job: &Job) -> bool {
        let is_of_members = matches!(job.kind, Kind::Addition | Kind::Removal);
        self.is_of_connection
            || self.users.contains(&job.object)
            || self.groups.contains(&job.object)
            || (is_of_members && !self.users.is_empty())
    }
}

/// What came of judging all objects.
struct Judged {
    /// The plan in numbers.
    summary: String,
    reported: Reported,
    /// The next orders. The status of their objects says so.
    jobs: Vec<Job>,
}

impl Default for Judged {
    fn default() -> Self {
        Self {
            summary: String::new(),
            reported: Reported::All,
            jobs: Vec::new(),
        }
    }
}

/// What a round came to.
enum Round {
    /// Look again then, or when news arrive.
    Until(Instant),
    /// Nothing is left of this directory.
    Over,
}

impl Directory {
    pub(super) fn new(writer: Arc<Writer>, key: Key, inbox: Arc<Inbox>) -> Self {
        let account = writer.context.memory.account(&key.namespace);
        Self {
            writer,
            key,
            inbox,
            users: Store::default(),
            groups: Store::default(),
            connection: None,
            is_synced: false,
            missing_since: None,
            sight: Sight::new(account),
            ledger: Ledger::default(),
            ticked: Instant::now(),
            noted: None,
            open: Vec::new(),
            created: HashMap::new(),
            orders_from: Instant::now(),
            elder_elsewhere: (false, Instant::now()),
            held_until: None,
            published: None,
            resumed: None,
            wake: Instant::now(),
        }
    }

    /// Runs until nothing is left of the directory.
    pub(super) async fn run(mut self) {
        loop {
            // A panic ends one round of one directory, and no other.
            let round = AssertUnwindSafe(self.round()).catch_unwind().await;
            match round {
                Ok(Round::Until(wake)) => self.wake = wake,
                Ok(Round::Over) => {
                    self.unmeasure();
                    return;
                }
                Err(_) => {
                    // The panic message is not logged: it may quote a name.
                    let (namespace, name) = self.key.names();
                    error!(namespace, name, "planning panicked; will retry this directory");
                    self.writer.context.metrics.panicked();
                    self.wake = Instant::now() + RETRY;
                }
            }
            tokio::select! {
                () = self.inbox.arrived() => sleep(DEBOUNCE).await,
                () = self.sight.ended() => {}
                () = sleep_until(self.wake) => {}
            }
        }
    }

    async fn round(&mut self) -> Round {
        self.tick();
        let is_news = self.take_news().is_news;
        if !self.is_synced {
            return Round::Until(Instant::now() + IDLE);
        }
        if !is_news && !self.sight.has_ended() && Instant::now() < self.wake {
            return Round::Until(self.wake);
        }
        let Some(connection) = self.connection.clone() else {
            return self.without_connection().await;
        };
        self.missing_since = None;
        let Some((spec, provisioning)) = connection
            .spec
            .as_ref()
            .and_then(|spec| Some((spec, spec.provisioning.as_ref()?)))
        else {
            return self.switched_off(&connection).await;
        };
        if self.resumed.as_ref() != Some(&connection.uid) {
            match self.resume(&connection).await {
                Ok(()) => {}
                Err(error) => return self.later(error),
            }
        }
        if let Err(error) = self.look_elsewhere(&connection).await {
            return self.later(error);
        }
        let (has_elder, _) = self.elder_elsewhere;
        let policy = match Policy::parse(provisioning, spec.identity_provider, DigestKey::new(&[])) {
            Ok(policy) if policy.sends && (connection.has_elder || has_elder) => {
                return self.unusable(&connection, InvalidPolicy::SharedBridge).await;
            }
            Ok(policy) => Policy {
                released: released(&connection),
                ..policy
            },
            Err(fault) => return self.unusable(&connection, fault).await,
        };
        self.sight.follow(&connection);
        let now = self.writer.context.clock.now();
        let proof = connection.proof.as_ref().filter(|proof| now < proof.valid_until);
        let Some(proof) = proof else {
            self.sight.stop();
            if !connection.is_judged && self.sight.known().is_none() {
                // The first probe is about to say whether the directory can be read.
                return Round::Until(Instant::now() + IDLE);
            }
            return Box::pin(self.judge(&connection, None, policy, spec.interval.0)).await;
        };
        let context = &self.writer.context;
        if self.sight.has_ended() {
            let (users, groups) = (self.users.ids(), self.groups.ids());
            // By the time of the ledger: nobody can set it.
            let taken = Taken {
                at: self.ledger.time(),
                interval: spec.interval.0,
                limit: provisioning.limits.suspensions,
            };
            self.sight
                .take_in(context, &self.key, taken, users.iter().chain(&groups));
        }
        if self.sight.next_read().is_some_and(|next| next <= Instant::now()) {
            let subject = Subject {
                key: self.key.clone(),
                spec: Arc::clone(spec),
                proof: proof.clone(),
            };
            let now = self.ledger.time();
            self.sight
                .begin(context, subject, provisioning.requests_per_second, now);
        }
        if self.sight.is_first_read() {
            return Round::Until(Instant::now() + until(now, proof.valid_until));
        }
        let subject = Subject {
            key: self.key.clone(),
            spec: Arc::clone(spec),
            proof: proof.clone(),
        };
        let bridge = Bridge {
            connection: &connection,
            subject,
        };
        if policy.sends && self.sight.known().is_some() && !self.sight.is_in_doubt() {
            self.follow_up(&bridge).await;
        }
        Box::pin(self.judge(&connection, Some(&bridge), policy, spec.interval.0)).await
    }

    /// Asks from time to time whether a connection of another shard manages the bridge.
    async fn look_elsewhere(&mut self, connection: &FeedConnection) -> Result<(), CallError> {
        let context = &self.writer.context;
        let (_, next) = self.elder_elsewhere;
        if context.settings.is_sharded && next <= Instant::now() {
            let has_elder = has_elder(context, &self.key, connection).await?;
            self.elder_elsewhere = (has_elder, Instant::now() + LOOK_AGAIN);
        }
        Ok(())
    }

    /// Lets the time pass for the ledger.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        self.ledger.tick(now.duration_since(self.ticked));
        self.ticked = now;
    }

    /// Takes in the news.
    pub(super) fn take_news(&mut self) -> Heard {
        let News {
            users,
            groups,
            connection,
            is_synced,
        } = self.inbox.take();
        let mut heard = Heard {
            is_news: is_synced && !self.is_synced,
            ..Heard::default()
        };
        self.is_synced |= is_synced;
        for (name, user) in users {
            if let Some(changed) = changed(&self.users, &name, user.as_ref()) {
                self.ledger.forget_refusals(&changed);
                heard.users.insert(changed);
            }
            heard.is_news |= self.users.take(name, user);
        }
        for (name, group) in groups {
            if let Some(changed) = changed(&self.groups, &name, group.as_ref()) {
                self.ledger.forget_refusals(&changed);
                heard.groups.insert(changed);
            }
            heard.is_news |= self.groups.take(name, group);
        }
        if let Some(service) = connection {
            let connection = match service {
                Service::Served(connection) => Some(*connection),
                Service::NotServed => None,
            };
            heard.is_of_connection = self.connection != connection;
            heard.is_news |= heard.is_of_connection;
            if let (Some(before), Some(after)) = (&self.connection, &connection)
                && before.uid == after.uid
                && before.handled != after.handled
            {
                self.sight.hasten();
            }
            self.connection = connection;
        }
        heard
    }

    fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    fn later(&self, error: CallError) -> Round {
        let (namespace, name) = self.key.names();
        warn!(namespace, name, %error, "cannot report on a directory; will retry");
        Round::Until(Instant::now() + RETRY)
    }

    /// Reads what was known before a restart.
    async fn resume(&mut self, connection: &FeedConnection) -> Result<(), CallError> {
        let published = self.writer.published(&self.key).await?;
        let published = published.filter(|published| published.uid == connection.uid);
        let before = published
            .as_ref()
            .and_then(|published| published.status.provisioning.as_ref());
        self.sight.resume(before);
        self.ledger = Ledger::resume(before, self.writer.context.clock.now());
        (self.ticked, self.noted) = (Instant::now(), None);
        (self.open, self.created) = (Vec::new(), HashMap::new());
        self.published = None;
        self.resumed = Some(connection.uid.clone());
        Ok(())
    }

    /// No connection of this name is known. It may belong to another shard, or come a moment later.
    async fn without_connection(&mut self) -> Round {
        if self.is_empty() {
            return Round::Over;
        }
        self.sight.forget();
        (self.published, self.resumed) = (None, None);
        self.unmeasure();
        let since = *self.missing_since.get_or_insert_with(Instant::now);
        let grace_end = since + MISSING_GRACE;
        if Instant::now() < grace_end {
            return Round::Until(grace_end);
        }
        match self.writer.published(&self.key).await {
            Ok(Some(_)) => {}
            Ok(None) => {
                let judge = || Judgement::Unplanned(Reason::ConnectionNotFound, None);
                if !self.report_all(|_| Some(judge())).await {
                    return Round::Until(Instant::now() + RETRY);
                }
            }
            Err(error) => return self.later(error),
        }
        Round::Until(Instant::now() + LOOK_AGAIN)
    }

    /// The connection asks for no provisioning.
    async fn switched_off(&mut self, connection: &FeedConnection) -> Round {
        if connection.has_directory_status == Some(true) || self.published.is_some() {
            if let Err(error) = self.withdraw(connection).await {
                return self.later(error);
            }
            self.published = None;
        }
        if self.is_empty() {
            return Round::Over;
        }
        self.sight.forget();
        self.resumed = None;
        self.unmeasure();
        let judge = || Judgement::Unplanned(Reason::ProvisioningOff, None);
        if self.report_all(|_| Some(judge())).await {
            Round::Until(Instant::now() + IDLE)
        } else {
            Round::Until(Instant::now() + RETRY)
        }
    }

    /// Removes what the connection says about its directory.
    async fn withdraw(&self, connection: &FeedConnection) -> Result<(), CallError> {
        if let Some(published) = self.writer.published(&self.key).await?
            && published.uid == connection.uid
        {
            self.writer.publish(&self.key, &published, None).await?;
        }
        Ok(())
    }

    /// Plans, and reports on the objects and on the connection. Then it sends, if that is allowed.
    async fn judge(
        &mut self,
        connection: &FeedConnection,
        bridge: Option<&Bridge<'_>>,
        policy: Policy,
        interval: Duration,
    ) -> Round {
        let hold = (interval * 3).max(MIN_HOLD);
        let now = self.writer.context.clock.now();
        let sends = policy.sends;
        let mut report = DirectoryReport {
            incomplete: self
                .sight
                .failure()
                .filter(|_| bridge.is_some())
                .map(DirectoryReport::incomplete),
            ..DirectoryReport::empty(connection.generation)
        };
        report.account(&self.ledger);
        let mut wakes = Vec::new();
        if let Some(bridge) = bridge {
            wakes.extend(self.sight.next_read());
            wakes.push(Instant::now() + until(now, bridge.subject.proof.valid_until));
        }
        self.sight.keep(hold);
        let Judged {
            summary,
            reported,
            jobs,
        } = if self.sight.known().is_some() {
            self.judge_by_plan(bridge, policy, hold, &mut report, &mut wakes)
                .await
        } else {
            self.judge_unread(bridge.is_some(), hold, &mut wakes).await
        };
        if let Some(bridge) = bridge.filter(|_| !jobs.is_empty())
            && self.apply(bridge, jobs, report.clone(), &summary).await
        {
            return Round::Until(Instant::now());
        }
        let is_published = self.publish(connection, report, &summary).await;
        if reported == Reported::Failed || !is_published {
            wakes.push(Instant::now() + RETRY);
        }
        if reported == Reported::Broken {
            return Round::Until(Instant::now());
        }
        if sends {
            self.wake_for_orders(&mut wakes);
        }
        wakes.push(Instant::now() + self.writer.context.settings.heartbeat);
        Round::Until(wakes.into_iter().min().unwrap_or_else(Instant::now))
    }

    /// Adds the times at which orders can be sent or looked for.
    fn wake_for_orders(&mut self, wakes: &mut Vec<Instant>) {
        if self.ledger.needs_lists() {
            self.sight.hurry();
            wakes.extend(self.sight.next_read());
        }
        let next = self.ledger.next();
        wakes.extend(next.map(|next| Instant::now() + until(self.ledger.time(), next)));
        wakes.extend(Some(self.orders_from).filter(|from| *from > Instant::now()));
    }

    /// Why planned changes are not sent now.
    fn obstacle(&self, is_proven: bool) -> Option<Reason> {
        if !is_proven {
            Some(Reason::ConnectionNotReady)
        } else if self.sight.is_in_doubt() {
            // The last read that is believed may show another directory.
            Some(Reason::DirectoryIncomplete)
        } else {
            None
        }
    }

    /// Judges each object by a plan with the last complete read, and prepares the next orders.
    async fn judge_by_plan(
        &mut self,
        bridge: Option<&Bridge<'_>>,
        policy: Policy,
        hold: Duration,
        report: &mut DirectoryReport,
        wakes: &mut Vec<Instant>,
    ) -> Judged {
        let obstacle = self.obstacle(bridge.is_some());
        let now = self.writer.context.clock.now();
        let wishes = Wishes {
            users: self.users.wishes(),
            groups: self.groups.wishes(),
        };
        let Some(known) = self.sight.known() else {
            return Judged::default();
        };
        let policy = Policy {
            digest_key: known.digest_key.clone(),
            ..policy
        };
        let directory = plan::Directory {
            snapshot: &known.snapshot,
            census: self.sight.census(),
        };
        let begun = Instant::now();
        let mut plan = plan::plan(&wishes, Ok(directory), &policy, &self.ledger, now);
        if self.noted != Some(known.begun) {
            self.noted = Some(known.begun);
            self.ledger.note_unsure(plan.is_unsure);
            if self.ledger.take_lists(&known.snapshot, known.begun, &plan.asked) {
                plan = plan::plan(&wishes, Ok(directory), &policy, &self.ledger, now);
            }
        }
        self.writer.context.metrics.plan_took(begun.elapsed());
        describe(report, &plan, known);
        let has_way = known.snapshot.members_read_by().is_some();
        let has_failed = |verdict: &Verdict<'_>| verdict.stopped.additions == Some(StopReason::NotAsWritten);
        self.ledger.note_unsure(plan.is_unsure);
        self.ledger
            .note_failed_trial(!has_way && plan.verdicts.iter().any(has_failed));
        let verdicts: HashMap<&str, &Verdict<'_>> = plan
            .verdicts
            .iter()
            .map(|verdict| (verdict.object.as_str(), verdict))
            .collect();
        let judge = |uid: &str| {
            let verdict = verdicts.get(uid)?;
            let is_to_be_sent = matches!(verdict.reason, Reason::Progressing | Reason::RateLimited);
            Some(match obstacle.filter(|_| is_to_be_sent) {
                Some(obstacle) => Judgement::Unplanned(obstacle, None),
                None => Judgement::Planned(verdict),
            })
        };
        let mut jobs: Vec<Job> = Vec::new();
        let may_send = policy.sends && obstacle.is_none();
        if may_send && self.orders_from <= Instant::now() {
            for (kind, digest, acts) in plan.releases(&policy) {
                self.ledger.note_release(kind, digest, acts);
            }
            let next = next_jobs(&plan, &known.snapshot, &self.ledger, BATCH);
            let planned = next.len();
            let stores = (&mut self.users, &mut self.groups);
            let namespace = &self.key.namespace;
            jobs = prepare(&self.writer, namespace, stores, &mut self.ledger, next, judge).await;
            if jobs.len() < planned {
                // Another version of an object is about to be known.
                self.orders_from = Instant::now() + DEBOUNCE;
            }
        } else if may_send && !plan.acts.is_empty() {
            wakes.push(self.orders_from);
        }
        wakes.extend(plan.next.map(|next| Instant::now() + until(now, next)));
        wakes.push(known.taken + hold);
        self.held_until = Some(known.taken + hold);
        let noted: HashSet<&str> = jobs.iter().map(|job| job.object.as_str()).collect();
        // The status of an object with an order goes beyond the verdict already. Orders do not wait for more than a few
        // other verdicts: these come in the next rounds.
        let (inbox, is_busy) = (&self.inbox, !jobs.is_empty());
        let reported = report_plan(
            &self.writer,
            &self.key.namespace,
            (&mut self.users, &mut self.groups),
            |uid| judge(uid).filter(|_| !noted.contains(uid)),
            // Echoes of these writes come into the inbox, so it only counts where no order waits.
            |written| {
                !policy.sends
                    || if is_busy {
                        written < PROGRESS
                    } else {
                        inbox.is_empty()
                    }
            },
        )
        .await;
        let summary = Summary(&plan).to_string();
        let asked = std::mem::take(&mut plan.asked);
        self.close_jobs(|key| asked.contains(key));
        Judged {
            summary,
            reported,
            jobs,
        }
    }

    /// Judges each object while nothing is known of the directory. A verdict of a plan stands for a time.
    async fn judge_unread(&mut self, is_proven: bool, hold: Duration, wakes: &mut Vec<Instant>) -> Judged {
        let held_until = *self.held_until.get_or_insert_with(|| Instant::now() + hold);
        let reason = if is_proven {
            Reason::DirectoryIncomplete
        } else {
            Reason::ConnectionNotReady
        };
        let is_held = Instant::now() < held_until;
        if is_held {
            wakes.push(held_until);
        }
        let is_written = self
            .report_all(|is_planned| (!is_planned || !is_held).then_some(Judgement::Unplanned(reason, None)))
            .await;
        Judged {
            reported: if is_written {
                Reported::All
            } else {
                Reported::Failed
            },
            ..Judged::default()
        }
    }

    /// The operator cannot use `spec.provisioning`.
    async fn unusable(&mut self, connection: &FeedConnection, fault: InvalidPolicy) -> Round {
        let report = DirectoryReport {
            incomplete: Some((
                "InvalidProvisioning",
                format!("The operator cannot use the connection's specification: {fault}."),
            )),
            ..DirectoryReport::empty(connection.generation)
        };
        self.sight.stop();
        let judge = || Judgement::Unplanned(fault.reason(), Some(format!("The fault: {fault}.")));
        let is_reported = self.report_all(|_| Some(judge())).await;
        if self.publish(connection, report, "").await && is_reported {
            Round::Until(Instant::now() + LOOK_AGAIN)
        } else {
            Round::Until(Instant::now() + RETRY)
        }
    }

    /// Reports on each object without a plan. `judge` gets whether a plan's verdict about its generation stands, and
    /// returns `None` if that is to stay. Returns whether every write succeeded.
    async fn report_all(&mut self, judge: impl Fn(bool) -> Option<Judgement<'static>>) -> bool {
        let namespace = &self.key.namespace;
        let users = self.writer.report(
            namespace,
            &mut self.users,
            |user| judge(user.is_planned()),
            |_| true,
        );
        let groups = self.writer.report(
            namespace,
            &mut self.groups,
            |group| judge(group.is_planned()),
            |_| true,
        );
        users.await.max(groups.await) == Reported::All
    }

    /// Writes what the connection says about its directory if that differs, or is older than the heartbeat. Returns
    /// whether it is written.
    pub(super) async fn publish(
        &mut self,
        connection: &FeedConnection,
        mut report: DirectoryReport,
        summary: &str,
    ) -> bool {
        let provisioning = connection
            .spec
            .as_ref()
            .and_then(|spec| spec.provisioning.as_ref());
        let mode = provisioning.map_or(ProvisioningMode::Plan, |provisioning| provisioning.mode);
        self.measure(&report, mode);
        let before = self.published.as_ref();
        if let (None, Some((before, _))) = (report.totals, before) {
            // What was pending is pending until another plan says otherwise.
            report.pending.clone_from(&before.pending);
        }
        if before.is_some_and(|(before, until)| before.says_the_same(&report) && Instant::now() < *until) {
            return true;
        }
        let written = async {
            match self.writer.published(&self.key).await? {
                Some(published) if published.uid == connection.uid => {
                    self.writer.publish(&self.key, &published, Some(&report)).await
                }
                // The feed says soon that it is gone or replaced.
                Some(_) | None => Ok(None),
            }
        };
        match written.await {
            Ok(Some(until)) => {
                announce_directory(
                    &self.writer.recorder,
                    &self.key,
                    &connection.uid,
                    before.map(|(before, _)| before),
                    &report,
                    (mode, summary),
                );
                self.published = Some((report, until));
                true
            }
            Ok(None) => false,
            Err(error) => {
                let (namespace, name) = self.key.names();
                warn!(namespace, name, %error, "cannot report on a directory; will retry");
                false
            }
        }
    }

    /// Nothing is known of the directory any more.
    fn unmeasure(&self) {
        let (namespace, name) = self.key.names();
        self.writer.context.metrics.directory_forget(namespace, name);
    }

    fn measure(&self, report: &DirectoryReport, mode: ProvisioningMode) {
        let mut row = DirectoryRow {
            manages: mode == ProvisioningMode::Manage,
            contested: report.contested,
            complete: match (&report.incomplete, report.totals) {
                (Some(_), _) => Some(false),
                (None, Some(_)) => Some(true),
                (None, None) => None,
            },
            snapshot_time: report.snapshot_time,
            ..DirectoryRow::default()
        };
        if let Some(Totals {
            users,
            suspended,
            managed,
            unmanaged_active,
            groups,
        }) = report.totals
        {
            row.users = users as u64;
            row.suspended = suspended as u64;
            row.managed = managed as u64;
            row.unmanaged_active = unmanaged_active as u64;
            row.groups = groups as u64;
        }
        for pending in &report.pending {
            *row.pending.get_mut(pending.kind) = pending.count;
            *row.held.get_mut(pending.kind) = pending.held;
        }
        if row.manages {
            for suspension in self.users.suspensions() {
                row.note_suspension(suspension);
            }
        }
        for reason in self.users.reasons().chain(self.groups.reasons()) {
            if let Some(reason) = Reason::parse(reason) {
                *row.objects.entry(reason).or_default() += 1;
            }
        }
        let (namespace, name) = self.key.names();
        self.writer.context.metrics.directory_read(namespace, name, row);
    }
}

/// Notes these jobs in the statuses of their objects. Returns those for which that stands there.
async fn prepare<'v>(
    writer: &Writer,
    namespace: &str,
    (users, groups): (&mut Store<ScimUser>, &mut Store<ScimGroup>),
    ledger: &mut Ledger,
    jobs: Vec<Job>,
    judge: impl Fn(&str) -> Option<Judgement<'v>>,
) -> Vec<Job> {
    let mut ready: Vec<Job> = Vec::with_capacity(jobs.len());
    for job in jobs {
        // An earlier job of the same object has noted more than the verdict says.
        let is_noted = ready.iter().any(|noted| noted.object == job.object);
        let Some(judgement) = judge(job.object.as_str()) else {
            continue;
        };
        let judgement = (!is_noted).then_some(&judgement);
        if intend(writer, namespace, (&mut *users, &mut *groups), &job, judgement).await {
            if job.keys.iter().any(ledger::Key::creates) {
                ledger.note_creation(&job.object);
            }
            ready.push(job);
        }
    }
    ready
}

/// Takes into the report what a plan says about the directory.
fn describe(report: &mut DirectoryReport, plan: &Plan<'_>, known: &Known) {
    let is_contested = |verdict: &&Verdict<'_>| {
        Kind::ALL
            .into_iter()
            .any(|kind| *verdict.stopped.get(kind) == Some(StopReason::Contested))
    };
    report.totals = plan.totals.ok();
    report.members_read_by = known.snapshot.members_read_by();
    report.snapshot_time = Some(known.time);
    report.pending.clone_from(&plan.pending);
    report.contested = plan.verdicts.iter().filter(is_contested).count() as u64;
}

/// Writes the verdicts: first that somebody's access has ended, and last that something is about to be sent.
async fn report_plan<'v>(
    writer: &Writer,
    namespace: &str,
    (users, groups): (&mut Store<ScimUser>, &mut Store<ScimGroup>),
    judge: impl Fn(&str) -> Option<Judgement<'v>>,
    may_go_on: impl Fn(usize) -> bool,
) -> Reported {
    let mut reported = Reported::All;
    for rank in 0..3 {
        let judge = |uid: &str| judge(uid).filter(|judgement| rank_of(judgement.reason()) == rank);
        let may_go_on = |written| rank == 0 || may_go_on(written);
        let of_users = writer.report(namespace, users, |user| judge(&user.uid), may_go_on);
        reported = reported.max(of_users.await);
        let of_groups = writer.report(namespace, groups, |group| judge(&group.uid), may_go_on);
        reported = reported.max(of_groups.await);
    }
    reported
}

/// The place of a verdict among those that are written.
fn rank_of(reason: Reason) -> u8 {
    if reason == Reason::Suspended {
        0
    } else {
        1 + u8::from(reason == Reason::Progressing)
    }
}

/// The sets that the annotation of a connection releases.
fn released(connection: &FeedConnection) -> Vec<Digest> {
    let digests = connection.release.as_deref().unwrap_or_default().split(',');
    digests
        .filter_map(|digest| Digest::parse(digest.trim()))
        .collect()
}

/// The object, if its specification is another one now.
fn changed<K: DirectoryKind>(store: &Store<K>, name: &str, object: Option<&Declared<K>>) -> Option<ObjectId> {
    let known = store.get(name)?;
    let is_same =
        object.is_some_and(|object| known.uid == object.uid && known.generation == object.generation);
    (!is_same).then(|| ObjectId::new(&known.uid))
}

/// The time from now to a later one; zero if it has passed.
fn until(now: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(now)).unwrap_or_default()
}
