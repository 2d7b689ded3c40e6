//! The memory of one directory: what was sent, what came of it, and what a person has released.
//!
//! A plan asks it about each act, so that nothing is sent twice while a read is still to come. Four rules hold here:
//! - An answer proves nothing. What was accepted waits for a read, and has [`PATIENCE`] to show.
//! - A creation without a clear answer waits for complete lists that began after it. So there is one account, never two.
//! - The limits count what was sent by a clock that nobody can set: each [`Ledger::tick`] only adds the time that passed.
//! - A released set is remembered act by act. What joins it later is not part of it.
//!
//! After a restart, only what stands in statuses is known: see [`Record`](super::wish::Record) and [`Ledger::resume`].

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;

use super::{
    budget::{Digest, Entry as SpentEntry, Kind, PerKind, Spent},
    names::{ObjectId, RemoteId, fold},
    order::{Answer, MAX_MEMBERS, Order, ScimType},
    snapshot::Snapshot,
};
use crate::api::directory::{ProvisioningStatus, StopReason};

/// So long a change that the bridge accepted may be invisible: some servers show a write late.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// The first pause before an order without a clear answer is sent again. Each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest such pause.
const MAX_PAUSE: Duration = Duration::from_mins(10);
/// When a change that was accepted is looked for again, after each fruitless look.
const LOOKS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(15),
    Duration::from_secs(45),
];
/// What somebody else undoes twice within this time is left to them.
pub(super) const CONTEST: Duration = Duration::from_hours(24);
/// So long after an order a read may show that it has lost members. Later, somebody else may have removed them.
const CHECKED_FOR: Duration = Duration::from_mins(2);
/// Lists that begin this long after a restart show what was created just before it.
const SURE_AFTER: Duration = Duration::from_secs(20);
/// So often members that an addition or removal lost are put back.
const MAX_RESTORES: u32 = 5;

/// One act of one object, as the ledger names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The object that asks for it.
    pub object: ObjectId,
    /// Its kind.
    pub kind: Kind,
    /// Who joins or leaves a group, or is made active again.
    pub member: Option<RemoteId>,
}

/// The memory of one directory: everything that neither its lists nor a status holds.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// The time by which everything here is counted.
    time: Timestamp,
    spent: Spent,
    sent: HashMap<Key, Sent>,
    /// When acts were sent that were no longer asked for when lists were read soon after.
    late: HashMap<Key, Timestamp>,
    /// How often an act was proven lately, and when first.
    done: HashMap<Key, (u32, Timestamp)>,
    refused: HashMap<Key, Option<ScimType>>,
    /// What has to be written into a status, and no other act of the kind may follow.
    stops: HashMap<(ObjectId, Kind), StopReason>,
    releases: PerKind<Option<Release>>,
    checks: HashMap<RemoteId, Check>,
    restores: Vec<Restore>,
    /// Groups of which a read by id has shown members. If a later one shows none, it is empty.
    shown: HashSet<RemoteId>,
    /// Groups whose members the bridge has changed as asked, by kind.
    trusted: HashMap<(RemoteId, Kind), Size>,
    /// No order is sent before this time, because the bridge asked for a pause.
    limited_until: Option<Timestamp>,
    /// The most members in one request.
    chunk: usize,
    /// Whether somebody was added, and no way shows it.
    has_failed_trial: bool,
    /// When this memory began.
    begun: Timestamp,
    /// When the last complete lists began.
    lists: Option<Timestamp>,
    /// Objects for which this process has noted a creation.
    noted: HashSet<ObjectId>,
    /// Whether an object waits to know what an earlier process has created.
    is_unsure: bool,
    /// The folded names of users whose creation no read has shown.
    names: HashMap<ObjectId, Box<str>>,
}

/// An order without a read since that shows its effect.
#[derive(Clone, Debug, PartialEq)]
struct Sent {
    at: Timestamp,
    outcome: Outcome,
    attempts: u32,
    /// The last look for it that began after it was sent, and did not show it.
    looked: Option<Timestamp>,
    /// As for `looked`, in complete lists.
    listed: Option<Timestamp>,
    looks: usize,
}

/// The last answer to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Accepted,
    Unclear,
    Conflict,
    NotFound,
}

/// How an act stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may be sent.
    Free,
    /// It was sent, and waits for a read.
    Waits,
    /// It is not sent any more.
    Stopped(StopReason),
    /// The bridge refuses it.
    Refused(Option<ScimType>),
}

/// A set that a person released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its digest.
    pub digest: Box<str>,
    /// How many acts it had.
    pub count: u32,
    /// When it was released.
    pub time: Timestamp,
    /// Its acts that are not proven yet. Empty after a restart.
    acts: HashMap<Digest, Key>,
}

/// Members of a group that a read has to show after a change of others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Check {
    object: ObjectId,
    kind: Kind,
    at: Timestamp,
    members: BTreeSet<RemoteId>,
    /// Whether somebody was a member before and is to stay. Without, the read shows nothing about this bridge.
    has_witness: bool,
}

/// Members that a bridge has dropped although nobody asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// The object of the group.
    pub object: ObjectId,
    /// The group.
    pub group: RemoteId,
    /// Who has to come back.
    pub users: Vec<RemoteId>,
    attempts: u32,
    next: Timestamp,
}

/// The size of a group: some servers lose members only beyond a hundred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Size {
    Small,
    Large,
}

impl Size {
    const fn of(members: usize) -> Self {
        if members < MAX_MEMBERS {
            Self::Small
        } else {
            Self::Large
        }
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new(Spent::default(), Timestamp::UNIX_EPOCH)
    }
}

impl Ledger {
    /// Goes on from the status of a connection, so that a restart refills nothing. `now` is the time of the clock; from
    /// then on only [`Self::tick`] moves the time.
    #[must_use]
    pub fn resume(status: Option<&ProvisioningStatus>, now: Timestamp) -> Self {
        let spent = status.into_iter().flat_map(|status| &status.spent).map(|spent| {
            let entry = SpentEntry {
                since: spent.since.0,
                count: spent.count,
            };
            (spent.kind, entry)
        });
        let mut releases = PerKind::default();
        for released in status.into_iter().flat_map(|status| &status.released) {
            *releases.get_mut(released.kind) = Some(Release {
                digest: released.digest.as_str().into(),
                count: released.count,
                time: released.time.0,
                acts: HashMap::new(),
            });
        }
        Self {
            releases,
            ..Self::new(Spent::resume(spent), now)
        }
    }

    /// Begins with what was sent lately. `now` is the time of the clock.
    #[must_use]
    pub fn new(spent: Spent, now: Timestamp) -> Self {
        Self {
            time: now,
            spent,
            sent: HashMap::new(),
            late: HashMap::new(),
            done: HashMap::new(),
            refused: HashMap::new(),
            stops: HashMap::new(),
            releases: PerKind::default(),
            checks: HashMap::new(),
            restores: Vec::new(),
            shown: HashSet::new(),
            trusted: HashMap::new(),
            limited_until: None,
            chunk: MAX_MEMBERS,
            has_failed_trial: false,
            begun: now,
            lists: None,
            noted: HashSet::new(),
            is_unsure: false,
            names: HashMap::new(),
        }
    }

    /// Lets this much time pass.
    pub fn tick(&mut self, passed: Duration) {
        self.time = later(self.time, passed);
    }

    /// The time by which limits and patience are counted.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    // === Limits and releases ===

    /// How much of the limits is used up.
    #[must_use]
    pub const fn spent(&self) -> &Spent {
        &self.spent
    }

    /// Notes acts that are about to be sent, if their kind has a limit.
    pub fn reserve(&mut self, kind: Kind, count: u32) {
        if kind.is_limited() {
            self.spent.record(kind, self.time, count);
        }
    }

    /// Takes back acts that were noted at `noted` and not sent.
    pub fn refund(&mut self, kind: Kind, noted: Timestamp, count: u32) {
        self.spent.refund(kind, noted, count);
    }

    /// The last set of a kind that was released.
    #[must_use]
    pub const fn release(&self, kind: Kind) -> Option<&Release> {
        self.releases.get(kind).as_ref()
    }

    /// Whether all these acts belong to the set that was released last.
    pub(super) fn is_released<'d>(&self, kind: Kind, mut acts: impl Iterator<Item = &'d Digest>) -> bool {
        self.release(kind)
            .is_some_and(|release| acts.all(|act| release.acts.contains_key(act)))
    }

    /// Releases this set of acts: see [`Plan::set`](super::plan::Plan::set). Each of them leaves the set once a read
    /// shows its effect, or once no plan asks for it.
    pub fn note_release(
        &mut self,
        kind: Kind,
        digest: Digest,
        acts: impl IntoIterator<Item = (Digest, Key)>,
    ) {
        let acts: HashMap<Digest, Key> = acts.into_iter().collect();
        *self.releases.get_mut(kind) = Some(Release {
            digest: digest.to_string().into(),
            count: u32::try_from(acts.len()).unwrap_or(u32::MAX),
            time: self.time,
            acts,
        });
    }

    // === Orders ===

    /// How an act stands that a plan asks for: the last read does not show its effect.
    #[must_use]
    pub fn standing(&self, key: &Key) -> Standing {
        if let Some(reason) = self.stops.get(&(key.object.clone(), key.kind)) {
            return Standing::Stopped(*reason);
        }
        if let Some(scim_type) = self.refused.get(key) {
            return Standing::Refused(*scim_type);
        }
        let creates = key.creates();
        let Some(sent) = self.sent.get(key) else {
            return if creates && self.late.contains_key(key) {
                Standing::Waits
            } else if self.is_contested(key) {
                Standing::Stopped(StopReason::Contested)
            } else {
                Standing::Free
            };
        };
        match sent.outcome {
            Outcome::Accepted if sent.is_fruitless(key) => Standing::Stopped(StopReason::NotAsWritten),
            Outcome::Conflict if sent.is_refused() => Standing::Refused(Some(ScimType::Uniqueness)),
            Outcome::NotFound if sent.is_refused() => Standing::Refused(None),
            // After a 409 the lists may show why, and then no plan asks for it again.
            Outcome::Unclear | Outcome::NotFound | Outcome::Conflict
                if sent.listed.is_some() || !(creates || sent.outcome == Outcome::Conflict) =>
            {
                let has_looked = sent.looked.or(sent.listed).is_some();
                if has_looked && self.time >= later(sent.at, pause(sent.attempts)) {
                    Standing::Free
                } else {
                    Standing::Waits
                }
            }
            Outcome::Accepted | Outcome::Conflict | Outcome::NotFound | Outcome::Unclear => Standing::Waits,
        }
    }

    /// Whether an act was proven twice within a day and undone each time: a plan asks for it again.
    fn is_contested(&self, key: &Key) -> bool {
        let is_recent = |first: Timestamp| self.time < later(first, CONTEST);
        self.done
            .get(key)
            .is_some_and(|(times, first)| *times > 1 && is_recent(*first))
    }

    /// Whether the bridge says that something else had the name when this creation was sent for the first time. Then it
    /// made nothing for this object.
    #[must_use]
    pub fn is_refuted(&self, key: &Key) -> bool {
        let sent = self.sent.get(key).filter(|_| key.creates());
        sent.is_some_and(|sent| sent.outcome == Outcome::Conflict && sent.attempts == 1)
    }

    /// Notes what came of an order. `keys` are its acts. Returns whether it should be sent again in two halves.
    pub fn record(&mut self, keys: &[Key], order: &Order, answer: &Answer) -> bool {
        let removes = matches!(order, Order::RemoveMembers { .. });
        let outcome = match answer {
            Answer::Accepted(_) => Outcome::Accepted,
            // One of many is not there: the others are no part of that.
            Answer::NotFound if keys.len() > 1 => return true,
            // Who is not there is no member either.
            Answer::NotFound if removes => Outcome::Accepted,
            Answer::NotFound => Outcome::NotFound,
            Answer::Conflict => Outcome::Conflict,
            Answer::Unclear => Outcome::Unclear,
            Answer::NotSent | Answer::RateLimited => return false,
            Answer::TooMany | Answer::Rejected(_) | Answer::Unsupported if keys.len() > 1 => {
                if *answer == Answer::TooMany {
                    self.chunk = (keys.len() / 2).max(1);
                }
                return true;
            }
            Answer::Unsupported => {
                self.stop(keys, StopReason::Unsupported);
                return false;
            }
            Answer::Rejected(Some(
                ScimType::InvalidFilter | ScimType::InvalidPath | ScimType::InvalidSyntax,
            )) if removes => {
                self.stop(keys, StopReason::Unsupported);
                return false;
            }
            Answer::TooMany => {
                self.refuse(keys, Some(ScimType::TooMany));
                return false;
            }
            Answer::Rejected(scim_type) => {
                self.refuse(keys, *scim_type);
                return false;
            }
        };
        if let Order::CreateUser { user_name, .. } = order {
            let name = Box::from(&*fold(user_name.as_str()));
            self.names
                .extend(keys.iter().map(|key| (key.object.clone(), Box::clone(&name))));
        }
        for key in keys {
            let attempts = self.sent.get(key).map_or(0, |sent| sent.attempts) + 1;
            let sent = Sent {
                at: self.time,
                outcome,
                attempts,
                looked: None,
                listed: None,
                looks: 0,
            };
            self.sent.insert(key.clone(), sent);
        }
        false
    }

    fn refuse(&mut self, keys: &[Key], scim_type: Option<ScimType>) {
        for key in keys {
            self.sent.remove(key);
            self.refused.insert(key.clone(), scim_type);
        }
    }

    fn stop(&mut self, keys: &[Key], reason: StopReason) {
        for key in keys {
            self.sent.remove(key);
            self.stops.insert((key.object.clone(), key.kind), reason);
        }
    }

    /// A read shows the effect of these acts.
    pub fn settle<'k>(&mut self, keys: impl IntoIterator<Item = &'k Key>) {
        for key in keys {
            self.sent.remove(key);
            if key.creates() {
                self.names.remove(&key.object);
            }
            let first = self.time;
            let (times, _) = self.done.entry(key.clone()).or_insert((0, first));
            *times += 1;
            if let Some(opposite) = key.opposite() {
                self.done.remove(&opposite);
            }
            if let Some(release) = self.releases.get_mut(key.kind) {
                release.acts.retain(|_, act| act != key);
            }
        }
    }

    /// A read by id that began now does not show the effect of these acts.
    pub fn note_look<'k>(&mut self, keys: impl IntoIterator<Item = &'k Key>, begun: Timestamp) {
        for key in keys {
            if let Some(sent) = self.sent.get_mut(key).filter(|sent| sent.at <= begun) {
                sent.looked = Some(begun);
                sent.looks += 1;
            }
        }
    }

    /// A read by id that these acts wait for was not answered.
    pub fn note_missed_look<'k>(&mut self, keys: impl IntoIterator<Item = &'k Key>) {
        for key in keys {
            if let Some(sent) = self.sent.get_mut(key) {
                sent.looks += 1;
            }
        }
    }

    /// Takes in complete lists, as [`Self::note_lists`], and the members that they show. Returns whether another plan may
    /// ask for something else.
    pub fn take_lists(&mut self, snapshot: &Snapshot, begun: Timestamp, asked: &HashSet<Key>) -> bool {
        let had_releases = Kind::ALL
            .into_iter()
            .filter_map(|kind| self.release(kind))
            .any(|release| !release.acts.is_empty());
        let is_at_rest = self.sent.is_empty()
            && self.late.is_empty()
            && self.done.is_empty()
            && self.checks.is_empty()
            && !self.is_unsure
            && !had_releases;
        self.note_lists(begun, asked);
        let checked: Vec<RemoteId> = self.checks.keys().cloned().collect();
        for group in checked {
            if let Some(members) = snapshot.members_left(&group) {
                self.note_members(&group, &members, begun);
            }
        }
        !is_at_rest
    }

    /// Complete lists, whose first page was asked for at `begun`, are the last read now. A plan with them asks for
    /// `asked`. Everything else that was sent before they began is done, or not wanted any more. For [`PATIENCE`] it may
    /// still show: see [`Self::may_show`].
    pub fn note_lists(&mut self, begun: Timestamp, asked: &HashSet<Key>) {
        self.lists = Some(begun);
        self.late.retain(|_, at| later(*at, PATIENCE) > begun);
        self.done
            .retain(|_, (_, first)| later(*first, CONTEST) > self.time);
        let late = &mut self.late;
        self.sent.retain(|key, sent| {
            let stays = sent.at >= begun || asked.contains(key);
            if !stays && later(sent.at, PATIENCE) > begun {
                late.insert(key.clone(), sent.at);
            }
            stays
        });
        // An order of the same moment may come after the first page.
        for sent in self.sent.values_mut().filter(|sent| sent.at < begun) {
            sent.looked = Some(begun);
            sent.listed = Some(begun);
        }
        for kind in Kind::ALL {
            if let Some(release) = self.releases.get_mut(kind) {
                release.acts.retain(|_, key| asked.contains(key));
            }
        }
    }

    /// Whether an act that no plan asks for may still show. It was sent shortly before the last lists began.
    #[must_use]
    pub fn may_show(&self, key: &Key) -> bool {
        self.sent.contains_key(key) || self.late.contains_key(key)
    }

    /// The acts of this object that wait for a read.
    pub fn waiting<'l>(&'l self, object: &'l ObjectId) -> impl Iterator<Item = &'l Key> {
        self.sent.keys().filter(move |key| key.object == *object)
    }

    /// The objects whose accepted changes should be looked for by id now.
    #[must_use]
    pub fn looks_due(&self) -> Vec<ObjectId> {
        let due = self
            .sent
            .iter()
            .filter(|(_, sent)| sent.next_look().is_some_and(|at| at <= self.time));
        let mut objects: Vec<ObjectId> = due.map(|(key, _)| key.object.clone()).collect();
        objects.sort_unstable();
        objects.dedup();
        objects
    }

    /// Whether something waits for complete lists that begin from now on.
    #[must_use]
    pub fn needs_lists(&self) -> bool {
        let is_unlisted = |(key, sent): (&Key, &Sent)| match sent.outcome {
            Outcome::Conflict | Outcome::NotFound => sent.listed.is_none(),
            Outcome::Unclear => sent.listed.is_none() && key.creates(),
            Outcome::Accepted => {
                let shows_in_lists =
                    sent.looks > 0 && matches!(key.kind, Kind::Creation | Kind::Addition | Kind::Removal);
                let end = later(sent.at, PATIENCE);
                match sent.listed {
                    None => shows_in_lists || self.time >= end,
                    // Only lists from then on show that it does not come.
                    Some(listed) => listed < end && self.time >= end,
                }
            }
        };
        let sure_from = later(self.begun, SURE_AFTER);
        let is_unsure =
            self.is_unsure && self.time >= sure_from && self.lists.is_none_or(|lists| lists < sure_from);
        is_unsure || self.sent.iter().any(is_unlisted)
    }

    /// When the ledger alone changes what may be sent.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        let looks = self.sent.values().filter_map(Sent::next_look);
        let ends = self.sent.values().map(|sent| match sent.outcome {
            Outcome::Accepted => later(sent.at, PATIENCE),
            Outcome::Unclear | Outcome::Conflict | Outcome::NotFound => later(sent.at, pause(sent.attempts)),
        });
        let sure_from = self.is_unsure.then(|| later(self.begun, SURE_AFTER));
        let restores = self.restores.iter().map(|restore| restore.next).chain(sure_from);
        let times = looks.chain(ends).chain(restores).chain(self.limited_until);
        times.filter(|time| *time > self.time).min()
    }

    /// The bridge asks for a pause of this length.
    pub fn limit(&mut self, pause: Duration) {
        self.limited_until = Some(later(self.time, pause));
    }

    /// Whether the bridge has asked for a pause that is not over.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.limited_until.is_some_and(|until| until > self.time)
    }

    /// The most members in one request to this bridge.
    #[must_use]
    pub const fn chunk(&self) -> usize {
        self.chunk
    }

    // === Members ===

    /// Whether the members of this group were changed by an act of this kind, and a read showed nothing else. `size` is
    /// how many members it may have afterwards.
    #[must_use]
    pub fn is_trusted(&self, group: &RemoteId, kind: Kind, size: usize) -> bool {
        let trusted = self.trusted.get(&(group.clone(), kind));
        trusted.is_some_and(|trusted| *trusted >= Size::of(size))
    }

    /// Whether a read of this group's members is still to come.
    #[must_use]
    pub fn is_checked(&self, group: &RemoteId) -> bool {
        self.checks.contains_key(group)
    }

    /// Whether an act waits for a read.
    #[must_use]
    pub fn has(&self, key: &Key) -> bool {
        self.sent.contains_key(key)
    }

    /// Notes that a read of this group by id shows members.
    pub fn note_shown(&mut self, group: &RemoteId) {
        if !self.shown.contains(group) {
            self.shown.insert(group.clone());
        }
    }

    /// Whether a read of this group by id has shown members. Servers leave an empty list out: a read that shows none then
    /// says that the group is empty.
    #[must_use]
    pub fn shows_by_id(&self, group: &RemoteId) -> bool {
        self.shown.contains(group)
    }

    /// Notes who has to be a member of the group after this change, once its order is recorded.
    pub fn expect(&mut self, object: &ObjectId, kind: Kind, group: &RemoteId, members: BTreeSet<RemoteId>) {
        let is_new = |member: &RemoteId| {
            self.sent.contains_key(&Key {
                object: object.clone(),
                kind,
                member: Some(member.clone()),
            })
        };
        let check = Check {
            object: object.clone(),
            kind,
            at: self.time,
            has_witness: members.iter().any(|member| !is_new(member)),
            members,
        };
        self.checks.insert(group.clone(), check);
    }

    /// A read of the group that began at `begun` shows these members. If members are missing who were to stay, they are
    /// put back. Then the kind of act that led to it is not sent again.
    pub fn note_members(&mut self, group: &RemoteId, members: &BTreeSet<RemoteId>, begun: Timestamp) {
        self.restores.retain_mut(|restore| {
            if restore.group == *group {
                restore.users.retain(|user| !members.contains(user));
            }
            !restore.users.is_empty()
        });
        let Some(check) = self.checks.get(group).filter(|check| check.at <= begun) else {
            return;
        };
        if begun > later(check.at, CHECKED_FOR) {
            // Others may have changed the group since.
            self.checks.remove(group);
            return;
        }
        let lost: Vec<RemoteId> = check.members.difference(members).cloned().collect();
        let (object, kind, has_witness) = (check.object.clone(), check.kind, check.has_witness);
        self.checks.remove(group);
        if lost.is_empty() && !has_witness {
            return;
        }
        if lost.is_empty() {
            let size = Size::of(members.len());
            let trusted = self.trusted.entry((group.clone(), kind)).or_insert(size);
            *trusted = size.max(*trusted);
            return;
        }
        self.stops
            .insert((object.clone(), kind), StopReason::NotAsWritten);
        self.restores.push(Restore {
            object,
            group: group.clone(),
            users: lost,
            attempts: 0,
            next: self.time,
        });
    }

    /// Whether members were lost by an act of this kind, so that no other one is sent for this object.
    #[must_use]
    pub fn has_lost_members(&self, object: &ObjectId, kind: Kind) -> bool {
        self.stops.get(&(object.clone(), kind)) == Some(&StopReason::NotAsWritten)
    }

    /// Whether an object may create its account or group. Where its status says that it was asked for, and this process
    /// did not ask, complete lists have to show first that it is not there.
    #[must_use]
    pub fn may_create(&self, object: &ObjectId, is_noted: bool) -> bool {
        let is_sure = self
            .lists
            .is_some_and(|lists| lists >= later(self.begun, SURE_AFTER));
        !is_noted || is_sure || self.noted.contains(object)
    }

    /// This process has noted in the status of an object that it is about to create something.
    pub fn note_creation(&mut self, object: &ObjectId) {
        self.noted.insert(object.clone());
    }

    /// Whether an object waits for the lists that [`Self::may_create`] asks for.
    pub const fn note_unsure(&mut self, is_unsure: bool) {
        self.is_unsure = is_unsure;
    }

    /// The folded name under which the user of an object was asked for, while no read has shown that user.
    #[must_use]
    pub fn attempted(&self, object: &ObjectId) -> Option<&str> {
        self.names.get(object).map(Box::as_ref)
    }

    /// Nobody is put back into the group of an object that is gone.
    pub fn forget_restores(&mut self, object: &ObjectId) {
        self.restores.retain(|restore| restore.object != *object);
        self.checks.retain(|_, check| check.object != *object);
    }

    /// Whether members are to be put back now.
    #[must_use]
    pub fn has_due_restore(&self) -> bool {
        self.restores.iter().any(|restore| restore.is_due(self.time))
    }

    /// The next members to put back, if any. From now on this counts as tried.
    pub fn restore(&mut self) -> Option<Restore> {
        let now = self.time;
        let restore = self.restores.iter_mut().find(|restore| restore.is_due(now))?;
        restore.attempts += 1;
        restore.next = later(now, pause(restore.attempts));
        Some(restore.clone())
    }

    /// Whether no way shows somebody who was added.
    #[must_use]
    pub const fn has_failed_trial(&self) -> bool {
        self.has_failed_trial
    }

    /// Whether an addition waits for a read.
    #[must_use]
    pub fn has_addition(&self) -> bool {
        self.sent.keys().any(|key| key.kind == Kind::Addition)
    }

    /// Notes that complete lists do not show somebody who was added.
    pub fn note_failed_trial(&mut self, has_failed: bool) {
        self.has_failed_trial = has_failed;
    }

    // === Objects ===

    /// The specification of an object changed: what was refused may be tried again, and another name may be wanted.
    pub fn forget_refusals(&mut self, object: &ObjectId) {
        self.refused.retain(|key, _| key.object != *object);
        self.stops.retain(|(stopped, _), _| stopped != object);
        self.done.retain(|key, _| key.object != *object);
        self.sent
            .retain(|key, sent| key.object != *object || !(key.kind == Kind::Rename || sent.is_over(key)));
    }
}

impl Key {
    /// The act by which the operator itself undoes this one.
    fn opposite(&self) -> Option<Self> {
        let kind = match self.kind {
            Kind::Addition => Kind::Removal,
            Kind::Removal => Kind::Addition,
            Kind::Suspension | Kind::Rename | Kind::Creation => return None,
        };
        Some(Self { kind, ..self.clone() })
    }

    /// Whether the act makes an account or group.
    #[must_use]
    pub fn creates(&self) -> bool {
        self.kind == Kind::Creation && self.member.is_none()
    }
}

impl Restore {
    fn is_due(&self, now: Timestamp) -> bool {
        self.next <= now && self.attempts < MAX_RESTORES
    }
}

impl Sent {
    /// When to look for it by id again. `None` if no further look helps.
    fn next_look(&self) -> Option<Timestamp> {
        if self.outcome != Outcome::Accepted && self.looked.is_some() {
            return None;
        }
        let passed: Duration = LOOKS.iter().take(self.looks).sum();
        (self.looks <= LOOKS.len()).then(|| later(self.at, passed))
    }

    /// Whether the bridge refused it each time with 404 or 409, and complete lists do not show why.
    fn is_refused(&self) -> bool {
        matches!(self.outcome, Outcome::Conflict | Outcome::NotFound)
            && self.listed.is_some()
            && self.attempts > 2
    }

    /// Whether nothing more comes of it.
    fn is_over(&self, key: &Key) -> bool {
        self.is_refused() || self.is_fruitless(key)
    }

    /// Whether it was accepted, and a read after [`PATIENCE`] did not show it. Only lists can show that nothing was made.
    fn is_fruitless(&self, key: &Key) -> bool {
        let seen = if key.creates() { self.listed } else { self.looked };
        self.outcome == Outcome::Accepted && seen.is_some_and(|seen| seen >= later(self.at, PATIENCE))
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn pause(attempts: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(1 << attempts.saturating_sub(1).min(16))
        .min(MAX_PAUSE)
}
