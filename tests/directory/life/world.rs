//! The steps of a life.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use scim_bridge_operator::{
    api::directory::{Origin, ProvisioningStatus, StopReason},
    domain::{
        connection::conditions::whole_seconds,
        directory::{
            act::{Act, Change},
            budget::{Digest, Limits},
            census::{Census, Taken},
            job::{Job, next_jobs},
            ledger::{Key, Ledger, PATIENCE},
            names::{ObjectId, RemoteId},
            order::{Answer, Order, Target},
            plan::{Directory, Policy, Totals, plan},
            snapshot::{Activity, GroupEntry, Snapshot, UserEntry},
            status::{DirectoryReport, Judgement, group_status, user_status},
            verdict::Reason,
            wish::{Membership, State},
        },
    },
};

use super::{
    bridge::{Bridge, Contents, Habit, View},
    cluster::{Cluster, Group, User},
    judge::{Judge, LIMITS, Moment, acts},
    law::{Broken, Law},
};
use crate::world::{address, at, id, policy};

const START: i64 = 1_000_000;
const INTERVAL: u64 = 300;
/// How many orders are prepared at a time.
const BATCH: usize = 2;
/// The longest time between a reservation and its order, in seconds.
pub(super) const SLACK: i64 = 60;
/// The pause after an order that could not be sent.
const PAUSE: u64 = 10;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The operator does one thing.
    Work,
    /// The operator works until it has nothing to do.
    Round,
    /// A read of the lists begins: what they show is what is there now.
    Begin,
    /// That read ends.
    End,
    /// A whole read.
    Read,
    /// The operator dies, and another one starts.
    Crash,
    Wait(u64),
    SetClock(i64),
    Turn(Habit),
    Look(View),
    Doubles(bool),
    /// Whether statuses can be written.
    Api(bool),
    /// The annotation of the connection: what is held now, or something that nobody asked for.
    Release(bool),
    User(usize, UserEdit),
    Group(usize, GroupEdit),
    Other(Other),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UserEdit {
    State(State),
    Name(&'static str),
    Given(&'static str),
    /// So many seconds from now.
    Until(Option<i64>),
    Paused(bool),
    Delete,
    Create,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupEdit {
    Members(&'static [&'static str]),
    /// Each entry ends so many seconds from now.
    Until(i64),
    Membership(Membership),
    Name(&'static str),
    Paused(bool),
    Delete,
    Create,
}

/// Somebody else writes to the bridge. Accounts and groups by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Other {
    Active(&'static str, bool),
    Name(&'static str, &'static str),
    Given(&'static str),
    Add(&'static str, &'static str),
    Remove(&'static str, &'static str),
    Delete(&'static str),
    DeleteGroup(&'static str),
    Create(&'static str),
}

#[derive(Clone, Debug)]
struct Known {
    snapshot: Snapshot,
    begun: Timestamp,
}

#[derive(Clone, Debug)]
enum Single {
    User(UserEntry),
    Group(GroupEntry, bool),
}

/// Where the operator is between a plan and the next.
#[derive(Clone, Debug)]
enum Stage {
    /// It plans next.
    Plan,
    /// Orders are about to be prepared: what will be done is written into statuses.
    Intend(Vec<Job>),
    /// What they spend is written next.
    Reserve(Vec<Job>),
    Send(VecDeque<Job>, Timestamp),
    /// The effect of the last order is looked for next.
    Look(ObjectId, VecDeque<Job>, Timestamp),
}

/// What a process knows. A crash loses it.
#[derive(Clone, Debug)]
struct Process {
    ledger: Ledger,
    /// The time up to which the ledger has counted.
    ticked: u64,
    census: Census,
    known: Option<Known>,
    noted: Option<Timestamp>,
    singles: Vec<(Timestamp, Single)>,
    reading: Option<(Timestamp, Option<Contents>)>,
    has_failed: bool,
    open: Vec<Job>,
    created: BTreeMap<String, RemoteId>,
    generations: BTreeMap<String, i64>,
    /// The generations that the plan was made with.
    planned: BTreeMap<String, i64>,
    /// The objects as they were when the orders were prepared, and the clock then.
    prepared: Option<(Cluster, i64)>,
    orders_from: u64,
    stage: Stage,
    /// The clock when it started.
    clock: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) time: u64,
    clock: i64,
    pub(crate) bridge: Bridge,
    pub(crate) cluster: Cluster,
    connection: Option<ProvisioningStatus>,
    annotation: Option<Digest>,
    api: bool,
    process: Process,
    judge: Judge,
    /// Orders that left, and statuses that were written.
    pub(crate) sent: u32,
    pub(crate) written: u32,
}

impl Process {
    fn start(connection: Option<&ProvisioningStatus>, wall: Timestamp, time: u64, clock: i64) -> Self {
        let count = |count: u64| usize::try_from(count).unwrap();
        Self {
            ledger: Ledger::resume(connection, wall),
            ticked: time,
            census: connection.map_or_else(Census::default, |status| {
                Census::resume(count(status.users), count(status.groups))
            }),
            known: None,
            noted: None,
            singles: Vec::new(),
            reading: None,
            has_failed: false,
            open: Vec::new(),
            created: BTreeMap::new(),
            generations: BTreeMap::new(),
            planned: BTreeMap::new(),
            prepared: None,
            orders_from: 0,
            stage: Stage::Plan,
            clock,
        }
    }

    fn snapshot(&self) -> &Snapshot {
        &self.known.as_ref().unwrap().snapshot
    }

    fn members_of(&self, group: &RemoteId) -> Option<BTreeSet<RemoteId>> {
        self.known.as_ref()?.snapshot.members_of(group)
    }

    fn amend(&mut self, single: Single, begun: Timestamp) {
        lay(&single, &mut self.known.as_mut().unwrap().snapshot);
        self.singles.push((begun, single));
    }
}

fn lay(single: &Single, snapshot: &mut Snapshot) {
    match single.clone() {
        Single::User(user) => snapshot.amend_user(user),
        Single::Group(group, should_be_empty) => snapshot.amend_group(group, should_be_empty),
    }
}

fn manage(annotation: Option<Digest>) -> Policy {
    let mut limits = Limits::default();
    for (kind, limit) in LIMITS {
        *limits.get_mut(kind) = Some(limit);
    }
    Policy {
        limits,
        sends: true,
        released: annotation.into_iter().collect(),
        ..policy()
    }
}
impl World {
    /// Objects that were just applied, and an operator that starts.
    pub(crate) fn new() -> Self {
        Self {
            time: 0,
            clock: 0,
            bridge: Bridge::new(),
            cluster: Cluster::new(),
            connection: None,
            annotation: None,
            api: true,
            process: Process::start(None, at(START), 0, 0),
            judge: Judge::default(),
            sent: 0,
            written: 0,
        }
    }

    fn wall(&self) -> Timestamp {
        at(START + i64::try_from(self.time).unwrap() + self.clock)
    }

    /// What tells one state from another.
    pub(crate) fn fingerprint(&self) -> String {
        let Self {
            time,
            clock,
            bridge,
            cluster,
            connection,
            annotation,
            api,
            process,
            judge,
            sent: _,
            written: _,
        } = self;
        let members: Vec<_> = process
            .known
            .iter()
            .flat_map(|known| known.snapshot.groups())
            .map(|group| process.members_of(&group.id))
            .collect();
        format!(
            "{time} {clock} {bridge:?} {cluster:?} {connection:?} {annotation:?} {api} {process:?} {members:?} {judge:?}"
        )
    }

    /// One step. Whether it could happen.
    pub(crate) fn step(&mut self, step: Step) -> Result<bool, Broken> {
        match step {
            Step::Work => return self.work(),
            Step::Round => {
                let mut has_worked = false;
                for _ in 0..200 {
                    if !self.work()? {
                        return Ok(has_worked);
                    }
                    has_worked = true;
                }
                return Law::Rest
                    .unless(false, || "two hundred things at one moment".to_owned())
                    .map(|()| true);
            }
            // Lists are taken in between two rounds only.
            Step::Read | Step::End if !matches!(self.process.stage, Stage::Plan) => return Ok(false),
            Step::Begin => return Ok(self.begin()),
            Step::End => return Ok(self.end()),
            Step::Read => {
                self.process.reading = None;
                self.begin();
                self.end();
            }
            Step::Crash => {
                let set = self.clock - self.process.clock;
                if set > 0 {
                    self.judge.clock_was_set_forward(set);
                }
                self.process = Process::start(self.connection.as_ref(), self.wall(), self.time, self.clock);
            }
            Step::Wait(seconds) => self.time += seconds,
            Step::SetClock(seconds) => self.clock += seconds,
            Step::Turn(habit) if self.bridge.habit == habit => return Ok(false),
            Step::Turn(habit) => self.bridge.habit = habit,
            Step::Look(view) if self.bridge.view == view => return Ok(false),
            Step::Look(view) => self.bridge.view = view,
            Step::Doubles(doubles) => self.bridge.doubles = doubles,
            Step::Api(api) => self.api = api,
            Step::Release(is_right) => return Ok(self.release(is_right)),
            Step::User(slot, edit) => return Ok(self.edit_user(slot, edit)),
            Step::Group(slot, edit) => return Ok(self.edit_group(slot, edit)),
            Step::Other(other) => return Ok(self.other(other)),
        }
        Ok(true)
    }

    // === What is around the operator ===

    fn release(&mut self, is_right: bool) -> bool {
        let pending = self.connection.iter().flat_map(|status| &status.pending);
        let held = pending
            .filter(|pending| pending.held)
            .map(|pending| pending.digest.clone());
        let digest = if is_right {
            held.into_iter().next()
        } else {
            Some("00112233445566778899aabbccddeeff".to_owned())
        };
        let Some(digest) = digest else {
            return false;
        };
        self.judge.is_released(&digest);
        let annotation = Digest::parse(&digest);
        let is_new = self.annotation != annotation;
        self.annotation = annotation;
        is_new
    }

    fn edit_user(&mut self, slot: usize, edit: UserEdit) -> bool {
        let wall = self.wall().as_second();
        match (edit, &mut self.cluster.users[slot]) {
            (UserEdit::Create, None) => {
                self.cluster.create_user(slot);
                true
            }
            (UserEdit::Create, Some(_)) | (_, None) => false,
            (UserEdit::Delete, user) => {
                *user = None;
                true
            }
            (_, Some(user)) => {
                let before = user.spec.clone();
                match edit {
                    UserEdit::State(state) => user.spec.state = state,
                    UserEdit::Name(name) => name.clone_into(&mut user.spec.name),
                    UserEdit::Given(given) => given.clone_into(&mut user.spec.given),
                    UserEdit::Until(until) => user.spec.until = until.map(|until| wall + until),
                    UserEdit::Paused(paused) => user.spec.paused = paused,
                    UserEdit::Delete | UserEdit::Create => {}
                }
                user.generation += i64::from(before != user.spec);
                before != user.spec
            }
        }
    }

    fn edit_group(&mut self, slot: usize, edit: GroupEdit) -> bool {
        let wall = self.wall().as_second();
        match (edit, &mut self.cluster.groups[slot]) {
            (GroupEdit::Create, None) => {
                self.cluster.create_group(slot);
                true
            }
            (GroupEdit::Create, Some(_)) | (_, None) => false,
            (GroupEdit::Delete, group) => {
                *group = None;
                true
            }
            (_, Some(group)) => {
                let before = group.spec.clone();
                match edit {
                    GroupEdit::Members(names) => {
                        group.spec.members = names.iter().map(|name| ((*name).to_owned(), None)).collect();
                    }
                    GroupEdit::Until(until) => {
                        for (_, end) in &mut group.spec.members {
                            *end = Some(wall + until);
                        }
                    }
                    GroupEdit::Membership(membership) => group.spec.membership = membership,
                    GroupEdit::Name(name) => name.clone_into(&mut group.spec.name),
                    GroupEdit::Paused(paused) => group.spec.paused = paused,
                    GroupEdit::Delete | GroupEdit::Create => {}
                }
                group.generation += i64::from(before != group.spec);
                before != group.spec
            }
        }
    }

    fn other(&mut self, other: Other) -> bool {
        let made = id(&format!("Y{}", self.time));
        let named =
            |contents: &Contents, name: &str| contents.named(&address(name)).first().map(|id| (*id).clone());
        let group = |contents: &Contents, name: &str| {
            let mut groups = contents.groups.iter();
            groups
                .find(|(_, group)| group.name == name)
                .map(|(id, _)| id.clone())
        };
        self.bridge.change(self.time, |contents| match other {
            Other::Active(name, active) => {
                if let Some(id) = named(contents, name) {
                    contents.users.get_mut(&id).unwrap().active = active;
                }
            }
            Other::Name(name, new) => {
                if named(contents, new).is_none()
                    && let Some(id) = named(contents, name)
                {
                    contents.users.get_mut(&id).unwrap().name = address(new);
                }
            }
            Other::Given(name) => {
                if let Some(id) = named(contents, name) {
                    "Other".clone_into(&mut contents.users.get_mut(&id).unwrap().given);
                }
            }
            Other::Add(team, name) => {
                if let (Some(team), Some(id)) = (group(contents, team), named(contents, name)) {
                    contents.groups.get_mut(&team).unwrap().members.insert(id);
                }
            }
            Other::Remove(team, name) => {
                if let (Some(team), Some(id)) = (group(contents, team), named(contents, name)) {
                    contents.groups.get_mut(&team).unwrap().members.remove(&id);
                }
            }
            Other::Delete(name) => {
                if let Some(id) = named(contents, name) {
                    contents.users.remove(&id);
                    for team in contents.groups.values_mut() {
                        team.members.remove(&id);
                    }
                }
            }
            Other::DeleteGroup(name) => {
                if let Some(id) = group(contents, name) {
                    contents.groups.remove(&id);
                }
            }
            Other::Create(name) => {
                if named(contents, name).is_none() {
                    let account = super::bridge::Account {
                        name: address(name),
                        given: "Given".to_owned(),
                        active: true,
                    };
                    contents.users.insert(made, account);
                }
            }
        })
    }

    // === Reads ===

    fn tick(&mut self) {
        let passed = self.time - self.process.ticked;
        self.process.ledger.tick(Duration::from_secs(passed));
        self.process.ticked = self.time;
    }

    fn begin(&mut self) -> bool {
        if self.process.reading.is_some() {
            return false;
        }
        self.tick();
        self.judge.lists_begin();
        self.process.reading = Some((self.process.ledger.time(), self.bridge.lists(self.time)));
        true
    }

    fn end(&mut self) -> bool {
        let Some((begun, lists)) = self.process.reading.take() else {
            return false;
        };
        self.tick();
        let now = self.process.ledger.time();
        let process = &mut self.process;
        let snapshot = lists.as_ref().map(Contents::snapshot);
        let admitted = snapshot.filter(|snapshot| {
            let taken = Taken {
                at: now,
                interval: Duration::from_secs(INTERVAL),
                limit: 1,
            };
            process
                .census
                .admit(snapshot, &self.cluster.known(), taken)
                .is_ok()
        });
        process.has_failed = admitted.is_none();
        let Some(mut snapshot) = admitted else {
            return true;
        };
        let patience = SignedDuration::try_from(PATIENCE).unwrap();
        process
            .singles
            .retain(|(at, _)| begun.duration_since(*at) < patience);
        for (_, single) in &process.singles {
            lay(single, &mut snapshot);
        }
        // What was sent while the lists were read counts as read by nobody.
        let read = u64::try_from(
            begun.duration_since(process.ledger.time()).as_secs() + i64::try_from(self.time).unwrap(),
        );
        self.judge
            .lists_are_read(&lists.unwrap(), read.unwrap_or_default());
        self.judge.is_believed(&snapshot);
        process.known = Some(Known { snapshot, begun });
        true
    }

    // === Work ===

    /// The operator does one thing. Whether there was one.
    fn work(&mut self) -> Result<bool, Broken> {
        self.tick();
        match std::mem::replace(&mut self.process.stage, Stage::Plan) {
            Stage::Plan => self.plan(),
            Stage::Intend(jobs) => {
                self.intend(jobs);
                Ok(true)
            }
            Stage::Reserve(jobs) => {
                self.reserve(jobs);
                Ok(true)
            }
            Stage::Send(jobs, noted) => self.send(jobs, noted).map(|()| true),
            Stage::Look(object, rest, noted) => {
                self.look(&object);
                self.next_stage(rest, noted);
                Ok(true)
            }
        }
    }

    fn next_stage(&mut self, rest: VecDeque<Job>, noted: Timestamp) {
        self.process.stage = if rest.is_empty() {
            Stage::Plan
        } else {
            Stage::Send(rest, noted)
        };
    }

    fn publish(&mut self, mut report: DirectoryReport) -> bool {
        report.account(&self.process.ledger);
        let status = report.status(self.connection.as_ref(), self.wall());
        let timeless = |status: &Option<ProvisioningStatus>| {
            status.clone().map(|status| ProvisioningStatus {
                snapshot_time: None,
                ..status
            })
        };
        if timeless(&status) == timeless(&self.connection) {
            return true;
        }
        if self.api {
            self.connection = status;
            self.written += 1;
        }
        self.api
    }

    fn empty_report() -> DirectoryReport {
        DirectoryReport {
            generation: 1,
            totals: None,
            members_read_by: None,
            snapshot_time: None,
            pending: Vec::new(),
            incomplete: None,
            spent: Vec::new(),
            released: Vec::new(),
            contested: 0,
        }
    }

    /// Looks, puts members back, plans, writes statuses, and takes the next orders.
    #[allow(clippy::too_many_lines, reason = "one turn of the loop")]
    fn plan(&mut self) -> Result<bool, Broken> {
        if self.process.has_failed || self.process.known.is_none() {
            return Ok(false);
        }
        if let Some(object) = self.process.ledger.looks_due().first().cloned() {
            self.look(&object);
            return Ok(true);
        }
        if !self.process.ledger.is_limited()
            && let Some(restore) = self.process.ledger.restore()
        {
            self.put_back(&restore.group, restore.users);
            return Ok(true);
        }
        let wall = self.wall();
        for (uid, generation) in self.generations() {
            let known = self.process.generations.insert(uid.clone(), generation);
            if known.is_some_and(|known| known != generation) {
                self.process.ledger.forget_refusals(&ObjectId::new(&uid));
            }
        }
        let wishes = self.cluster.wishes();
        let policy = manage(self.annotation);
        let known = self.process.known.clone().unwrap();
        let census = self.process.census.clone();
        let directory = Directory {
            snapshot: &known.snapshot,
            census: &census,
        };
        let mut decided = plan(&wishes, Ok(directory), &policy, &self.process.ledger, wall);
        if self.process.noted != Some(known.begun) {
            self.process.noted = Some(known.begun);
            let ledger = &mut self.process.ledger;
            ledger.note_unsure(decided.is_unsure);
            if ledger.take_lists(&known.snapshot, known.begun, &decided.asked) {
                decided = plan(&wishes, Ok(directory), &policy, ledger, wall);
            }
        }
        let has_way = known.snapshot.members_read_by().is_some();
        let has_failed = decided
            .verdicts
            .iter()
            .any(|verdict| verdict.stopped.additions == Some(StopReason::NotAsWritten));
        self.process.ledger.note_failed_trial(!has_way && has_failed);
        self.process.ledger.note_unsure(decided.is_unsure);
        let may_send = self.process.orders_from <= self.time && !self.process.ledger.is_limited();
        let mut jobs = Vec::new();
        if may_send {
            for (kind, digest, acts) in decided.releases(&policy) {
                self.process.ledger.note_release(kind, digest, acts);
            }
            jobs = next_jobs(&decided, &known.snapshot, &self.process.ledger, BATCH);
        }
        for pending in decided.pending.iter().filter(|pending| pending.held) {
            let set = decided
                .held
                .iter()
                .filter(|act| act.change.kind() == pending.kind);
            let texts = set.flat_map(text).collect();
            self.judge.set_is_known(pending.digest.to_string(), texts);
        }
        let mut is_written = true;
        let before = self.written;
        for verdict in &decided.verdicts {
            let judgement = Judgement::Planned(verdict);
            if let Some(user) = self.cluster.user_mut(verdict.object) {
                let status = user_status(&user.status, user.generation, &judgement, wall);
                if status != user.status {
                    is_written &= self.api;
                    if self.api {
                        user.status = status;
                        self.written += 1;
                        let user = user.clone();
                        self.judge.user_is_written(&user, wall)?;
                    }
                }
            } else if let Some(group) = self.cluster.group_mut(verdict.object) {
                let status = group_status(&group.status, group.generation, &judgement, wall);
                if status != group.status {
                    is_written &= self.api;
                    if self.api {
                        group.status = status;
                        self.written += 1;
                        let group = group.clone();
                        let wanted = self.wanted(&group);
                        self.judge.group_is_written(&group, &wanted, &self.bridge.now)?;
                    }
                }
            }
        }
        let asked = std::mem::take(&mut decided.asked);
        let report = DirectoryReport {
            totals: decided.totals.ok(),
            pending: decided.pending.clone(),
            ..Self::empty_report()
        };
        drop(decided);
        self.close_jobs(|key| asked.contains(key));
        is_written &= self.publish(report);
        if !is_written {
            return Ok(false);
        }
        let has_jobs = !jobs.is_empty();
        if has_jobs {
            self.process.planned = self.generations().into_iter().collect();
            self.process.prepared = Some((self.cluster.clone(), wall.as_second()));
            self.process.stage = Stage::Intend(jobs);
        }
        Ok(has_jobs || self.written != before)
    }

    fn generations(&self) -> Vec<(String, i64)> {
        let users = self.cluster.users.iter().flatten();
        let groups = self.cluster.groups.iter().flatten();
        users
            .map(|user| (user.uid.clone(), user.generation))
            .chain(groups.map(|group| (group.uid.clone(), group.generation)))
            .collect()
    }

    fn intend(&mut self, jobs: Vec<Job>) {
        let now = whole_seconds(self.wall());
        let mut ready = Vec::new();
        for job in jobs {
            let generation = self.cluster.generation(&job.object);
            let is_current =
                generation.is_some() && generation == self.process.planned.get(job.object.as_str()).copied();
            if !is_current || !self.api {
                continue;
            }
            if let Some(user) = self.cluster.user_mut(&job.object) {
                match &job.order {
                    Order::CreateUser { .. } if user.status.id.is_none() => {
                        user.status.origin = Some(Origin::Created);
                    }
                    Order::SetActive { active: false, .. } => {
                        user.status.suspension.get_or_insert_default().sent_at = Some(now.clone());
                    }
                    _ => {}
                }
            } else if let Some(group) = self.cluster.group_mut(&job.object) {
                match &job.order {
                    Order::CreateGroup { .. } if group.status.id.is_none() => {
                        group.status.origin = Some(Origin::Created);
                    }
                    Order::AddMembers { users, .. } => {
                        let added = std::mem::take(&mut group.status.added);
                        let added: BTreeSet<String> = added
                            .into_iter()
                            .chain(users.iter().map(|user| user.as_str().to_owned()))
                            .collect();
                        group.status.added = added.into_iter().collect();
                    }
                    _ => {}
                }
            }
            self.judge.is_intended(&job);
            ready.push(job);
        }
        if ready.is_empty() {
            self.process.orders_from = self.time + PAUSE;
        } else {
            self.process.stage = Stage::Reserve(ready);
        }
    }

    fn reserve(&mut self, jobs: Vec<Job>) {
        let noted = self.process.ledger.time();
        for job in &jobs {
            if job.keys.iter().any(Key::creates) {
                self.process.ledger.note_creation(&job.object);
            }
            let count = u32::try_from(job.keys.len()).unwrap();
            self.process.ledger.reserve(job.kind, count);
        }
        let report = DirectoryReport {
            totals: self.connection.as_ref().map(|_| Totals::default()),
            ..Self::empty_report()
        };
        if self.publish(report) {
            self.process.stage = Stage::Send(jobs.into(), noted);
        } else {
            for job in &jobs {
                let count = u32::try_from(job.keys.len()).unwrap();
                self.process.ledger.refund(job.kind, noted, count);
            }
            self.process.orders_from = self.time + PAUSE;
        }
    }

    fn send(&mut self, mut jobs: VecDeque<Job>, noted: Timestamp) -> Result<(), Broken> {
        let mut job = jobs.pop_front().unwrap();
        // What counts for an hour counts from the reservation.
        let is_late = self.process.ledger.time().duration_since(noted).as_secs() > SLACK;
        let answer = if self.process.ledger.is_limited() || self.process.has_failed || is_late {
            Answer::NotSent
        } else {
            let before = self.members_before(&job);
            if let Some((_, members)) = &before {
                let Some(needed) = job.still_needed(members) else {
                    self.next_stage(jobs, noted);
                    return Ok(());
                };
                job = needed;
            }
            let (cluster, wall) = self.process.prepared.clone().unwrap();
            let answer = self.leave(&job, &cluster, wall)?;
            if let (Answer::Accepted(_) | Answer::Unclear | Answer::NotFound, Some((group, before))) =
                (&answer, before)
            {
                let members = job.order.staying(&before);
                self.process.ledger.expect(&job.object, job.kind, &group, members);
            }
            answer
        };
        if matches!(answer, Answer::NotSent | Answer::RateLimited) {
            for job in std::iter::once(&job).chain(&jobs) {
                let count = u32::try_from(job.keys.len()).unwrap();
                self.process.ledger.refund(job.kind, noted, count);
            }
            if answer == Answer::RateLimited {
                self.process.ledger.limit(Duration::from_secs(30));
            }
            self.process.orders_from = self.time + PAUSE;
            return Ok(());
        }
        if self.process.ledger.record(&job.keys, &job.order, &answer) {
            for half in job.halves().into_iter().flatten().rev() {
                jobs.push_front(half);
            }
            self.next_stage(jobs, noted);
            return Ok(());
        }
        if let Answer::Accepted(Some(id)) = &answer
            && matches!(job.order.target(), Target::NewUser | Target::NewGroup)
        {
            self.process
                .created
                .insert(job.object.as_str().to_owned(), id.clone());
        }
        if job.keys.iter().any(|key| self.process.ledger.has(key)) {
            self.process.open.retain(|known| known.keys != job.keys);
            self.process.stage = Stage::Look(job.object.clone(), jobs, noted);
            self.process.open.push(job);
        } else {
            self.next_stage(jobs, noted);
        }
        Ok(())
    }

    /// An order goes to the bridge.
    fn leave(&mut self, job: &Job, cluster: &Cluster, wall: i64) -> Result<Answer, Broken> {
        let is_out = !matches!(self.bridge.habit, Habit::Cut | Habit::Busy);
        Law::NothingUnread.unless(!self.process.has_failed, || format!("{:?}", job.order))?;
        if is_out {
            let moment = Moment {
                cluster,
                snapshot: self.process.snapshot(),
                wall: at(wall),
                time: self.time,
            };
            self.judge.is_sent(job, &moment)?;
            self.sent += 1;
        }
        let before = self.bridge.now.clone();
        let answer = self.bridge.send(&job.order, self.time);
        let made = self
            .bridge
            .now
            .users
            .keys()
            .find(|id| !before.users.contains_key(*id));
        let made = made.or_else(|| {
            self.bridge
                .now
                .groups
                .keys()
                .find(|id| !before.groups.contains_key(*id))
        });
        if matches!(answer, Answer::Rejected(_) | Answer::Unsupported) {
            self.judge.is_refused(job);
        } else if is_out {
            self.judge.may_have_changed(&job.order);
        }
        if let Some(made) = made.cloned() {
            self.judge.is_made(job, &made, &self.bridge.now)?;
        }
        Ok(answer)
    }

    fn members_before(&mut self, job: &Job) -> Option<(RemoteId, BTreeSet<RemoteId>)> {
        let (Order::AddMembers { group, users } | Order::RemoveMembers { group, users }) = &job.order else {
            return None;
        };
        let known = self.process.members_of(group).map_or(0, |members| members.len());
        if self
            .process
            .ledger
            .is_trusted(group, job.kind, known + users.len())
        {
            return None;
        }
        self.read_group(group);
        self.process
            .members_of(group)
            .map(|members| (group.clone(), members))
    }

    fn put_back(&mut self, group: &RemoteId, users: Vec<RemoteId>) {
        let snapshot = self.process.snapshot();
        let is_active = |user: &RemoteId| {
            let user = snapshot.user_by_id(user).and_then(|user| snapshot.user(user));
            user.is_some_and(|user| user.active == Activity::Active)
        };
        let users: Vec<RemoteId> = users.into_iter().filter(is_active).collect();
        if !users.is_empty() {
            let order = Order::AddMembers {
                group: group.clone(),
                users,
            };
            self.sent += 1;
            self.bridge.send(&order, self.time);
        }
        self.read_group(group);
    }

    /// Reads what an object is about, and takes in what it shows.
    fn look(&mut self, object: &ObjectId) {
        let open = self.process.open.iter().filter(|job| job.object == *object);
        let jobs: Vec<Job> = open.cloned().collect();
        let keys: Vec<Key> = self.process.ledger.waiting(object).cloned().collect();
        let begun = self.process.ledger.time();
        let is_user = jobs
            .iter()
            .any(|job| matches!(job.order.target(), Target::User(_) | Target::NewUser));
        let target = jobs.iter().find_map(|job| match job.order.target() {
            Target::User(id) | Target::Group(id) => Some(id.clone()),
            Target::NewUser | Target::NewGroup => None,
        });
        let target = target.or_else(|| self.process.created.get(object.as_str()).cloned());
        let Some(target) = target else {
            self.process.ledger.note_look(&keys, begun);
            return;
        };
        let mut shown: Vec<Option<bool>> = vec![Some(false); jobs.len()];
        if is_user {
            let Some(entry) = self.read_user(&target) else {
                self.process.ledger.note_look(&keys, begun);
                return;
            };
            shown = jobs
                .iter()
                .map(|job| Some(job.order.is_shown_by_user(&entry)))
                .collect();
        } else {
            let Some((entry, members)) = self.read_group(&target) else {
                self.process.ledger.note_look(&keys, begun);
                return;
            };
            for (shown, job) in shown.iter_mut().zip(&jobs) {
                *shown = job
                    .order
                    .is_shown_by_group(entry.display_name.as_deref(), members.as_ref());
            }
        }
        for (job, shown) in jobs.iter().zip(shown) {
            match shown {
                Some(true) => {
                    if matches!(job.order.target(), Target::NewUser | Target::NewGroup) {
                        self.note_created(job, &target);
                    }
                    self.process.ledger.settle(&job.keys);
                    self.process.open.retain(|known| known.keys != job.keys);
                }
                Some(false) => self.process.ledger.note_look(&job.keys, begun),
                None => self.process.ledger.note_missed_look(&job.keys),
            }
        }
    }

    fn note_created(&mut self, job: &Job, made: &RemoteId) {
        if self.api {
            if let Some(user) = self.cluster.user_mut(&job.object) {
                user.status.id.get_or_insert_with(|| made.as_str().to_owned());
                user.status.origin = Some(Origin::Created);
            } else if let Some(group) = self.cluster.group_mut(&job.object) {
                group.status.id.get_or_insert_with(|| made.as_str().to_owned());
                group.status.origin = Some(Origin::Created);
            }
        }
        self.process.created.remove(job.object.as_str());
    }

    fn close_jobs(&mut self, asked: impl Fn(&Key) -> bool) {
        let process = &mut self.process;
        for job in std::mem::take(&mut process.open) {
            if job.keys.iter().any(|key| process.ledger.has(key)) {
                process.open.push(job);
            } else if !job.keys.iter().any(&asked) {
                process.ledger.settle(&job.keys);
            }
        }
    }

    fn read_user(&mut self, target: &RemoteId) -> Option<UserEntry> {
        let contents = self.bridge.single(self.time);
        let entry = contents.user_entry(target)?;
        self.judge
            .user_is_read(target, &contents.users[target], self.time);
        let begun = self.process.ledger.time();
        self.process.amend(Single::User(entry.clone()), begun);
        self.judge.is_believed(self.process.snapshot());
        Some(entry)
    }

    /// The group, and its members if the read says who they are.
    fn read_group(&mut self, target: &RemoteId) -> Option<(GroupEntry, Option<BTreeSet<RemoteId>>)> {
        let contents = self.bridge.single(self.time);
        let entry = contents.group_entry(target)?;
        self.judge
            .group_is_read(target, &contents.groups[target], self.time);
        let begun = self.process.ledger.time();
        let shows_members = entry.members.as_ref().is_some_and(|members| !members.is_empty());
        if shows_members {
            self.process.ledger.note_shown(target);
        }
        let is_empty = !shows_members && self.process.ledger.shows_by_id(target);
        self.process.amend(Single::Group(entry.clone(), is_empty), begun);
        self.judge.is_believed(self.process.snapshot());
        let members = self
            .process
            .members_of(target)
            .filter(|_| shows_members || is_empty);
        if let Some(members) = &members {
            self.process.ledger.note_members(target, members, begun);
        }
        Some((entry, members))
    }

    // === What has to come of it ===

    /// Everybody behaves, somebody touches each object once, and a person releases each held set. Then the operator does
    /// everything that is wanted, and sends nothing more.
    pub(crate) fn check_peace(mut self) -> Result<(), Broken> {
        self.bridge.habit = Habit::Fine;
        self.bridge.view = View::Prompt;
        self.api = true;
        let ends = self.cluster.ends().filter(|end| at(*end) > self.wall()).max();
        if let Some(end) = ends {
            self.time += u64::try_from(end - self.wall().as_second()).unwrap();
        }
        let mut seen = (0, 0);
        for turn in 0..24 {
            self.step(Step::Round)?;
            // What was sent before is proven by then, or refused.
            if turn == 6 {
                for user in self.cluster.users.iter_mut().flatten() {
                    user.generation += 1;
                }
                for group in self.cluster.groups.iter_mut().flatten() {
                    group.generation += 1;
                }
                let objects: Vec<ObjectId> = self
                    .generations()
                    .into_iter()
                    .map(|(uid, _)| ObjectId::new(&uid))
                    .collect();
                for object in &objects {
                    self.process.ledger.forget_refusals(object);
                }
            }
            self.step(Step::Read)?;
            for _ in 0..12 {
                self.step(Step::Round)?;
                let is_released = self.step(Step::Release(true))?;
                if self.process.ledger.needs_lists() {
                    self.time += 1;
                    self.step(Step::Read)?;
                } else if !is_released {
                    break;
                }
            }
            if turn >= 20 {
                let now = (self.sent, self.written);
                Law::Rest.unless(turn == 20 || now == seen, || {
                    format!("{seen:?} orders and writes became {now:?}")
                })?;
            }
            seen = (self.sent, self.written);
            // Through the pauses of the ledger as well.
            for _ in 0..3 {
                self.time += INTERVAL / 3;
                self.step(Step::Round)?;
            }
        }
        self.check_done()
    }

    fn check_done(&self) -> Result<(), Broken> {
        let wall = self.wall();
        for user in self.cluster.users.iter().flatten() {
            let reason = user.ready();
            let how = || {
                format!(
                    "{} says {reason:?}, {:?}, status {:?}",
                    user.uid, user.spec, user.status
                )
            };
            let is_said = match reason {
                Some(Reason::Provisioned | Reason::Suspended) => match user.status.id.as_deref().map(id) {
                    Some(known) => self.bridge.now.users.get(&known).is_some_and(|account| {
                        account.active == (user.wanted(wall) == State::Active)
                            && account.given == user.spec.given
                    }),
                    None => self
                        .bridge
                        .now
                        .named(&address(&user.spec.name))
                        .iter()
                        .all(|id| !self.bridge.now.users[*id].active),
                },
                Some(
                    Reason::Ambiguous
                    | Reason::AlreadyExists
                    | Reason::RemoteGone
                    | Reason::Protected
                    | Reason::OutOfScope,
                ) => true,
                Some(Reason::ChangePlanned) => user.spec.paused,
                Some(Reason::DirectoryIncomplete) => self.process.has_failed,
                None => self.process.has_failed,
                Some(_) => false,
            };
            Law::EverythingIsDone.unless(is_said || self.process.has_failed, how)?;
        }
        for group in self.cluster.groups.iter().flatten() {
            let reason = group.ready();
            let how = || {
                format!(
                    "{} says {reason:?}, {:?}, status {:?}; {:?}",
                    group.uid, group.spec, group.status, self.bridge.now.groups
                )
            };
            let is_said = match reason {
                Some(Reason::Provisioned) => {
                    let known = group.status.id.as_deref().map(id);
                    let team = known.and_then(|known| self.bridge.now.groups.get(&known));
                    team.is_some_and(|team| {
                        self.bridge.now.users.iter().all(|(number, account)| {
                            let is_in = team.members.contains(number);
                            let is_ours = group.status.added.iter().any(|added| added == number.as_str());
                            let is_listed = self.is_listed(group, number, &account.name);
                            match is_listed {
                                None => true,
                                Some(true) => {
                                    is_in || !account.active || !account.name.ends_with("@example.com")
                                }
                                Some(false) => !is_in || !is_ours,
                            }
                        })
                    })
                }
                Some(
                    Reason::Ambiguous
                    | Reason::AlreadyExists
                    | Reason::RemoteGone
                    | Reason::Protected
                    | Reason::OutOfScope
                    | Reason::MemberMissing
                    | Reason::MemberRemains
                    | Reason::MembersUnreadable,
                ) => true,
                Some(Reason::ChangePlanned) => group.spec.paused,
                Some(_) | None => false,
            };
            Law::EverythingIsDone.unless(is_said || self.process.has_failed, how)?;
        }
        Ok(())
    }

    /// Who should be in a group: by the accounts of now.
    fn wanted(&self, group: &Group) -> BTreeSet<RemoteId> {
        let users = self.bridge.now.users.iter();
        users
            .filter(|(id, account)| account.active && self.is_listed(group, id, &account.name) == Some(true))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Whether a list means this account: an entry is about the object of that name, else about the account. `None` where
    /// two objects have the name.
    fn is_listed(&self, group: &Group, number: &RemoteId, name: &str) -> Option<bool> {
        let wall = self.wall();
        let stands_for = |user: &User| match user.status.id.as_deref() {
            Some(known) => known == number.as_str(),
            None => address(&user.spec.name).eq_ignore_ascii_case(name),
        };
        let users = || self.cluster.users.iter().flatten();
        if let Some(user) = users().find(|user| stands_for(user) && user.wanted(wall) == State::Suspended) {
            // Who is not suspended, because the object is paused or may not do that, stays in groups.
            let is_suspended = user.ready() == Some(Reason::Suspended) && !user.spec.paused;
            return is_suspended.then_some(false);
        }
        let mut is_listed = Some(false);
        for entry in group.entries(wall) {
            let mut objects = users().filter(|user| address(&user.spec.name).eq_ignore_ascii_case(&entry));
            let is_it = match (objects.next(), objects.next()) {
                (None, _) => entry.eq_ignore_ascii_case(name),
                (Some(user), None) => stands_for(user),
                (Some(_), Some(_)) => {
                    is_listed = None;
                    false
                }
            };
            if is_it {
                return Some(true);
            }
        }
        is_listed
    }
}

/// The act of a plan, as the judge names it.
fn text(act: &Act<'_>) -> Vec<String> {
    let order = match &act.change {
        Change::Suspend { user } => Order::SetActive {
            user: user.id.clone(),
            active: false,
        },
        Change::Reactivate { user } => Order::SetActive {
            user: user.id.clone(),
            active: true,
        },
        Change::Remove { group, user, .. } => Order::RemoveMembers {
            group: group.id.clone(),
            users: vec![user.id.clone()],
        },
        Change::CreateUser { wish } => Order::CreateUser {
            user_name: wish.user_name.clone(),
            given_name: wish.given_name.clone(),
            family_name: wish.family_name.clone(),
        },
        Change::CreateGroup { wish } => Order::CreateGroup {
            display_name: wish.display_name.clone(),
        },
        Change::RenameUser { .. } | Change::RenameGroup { .. } | Change::Add { .. } => return Vec::new(),
    };
    acts(&order)
}
