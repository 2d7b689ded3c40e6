//! The judge's notes: what was sent, read, written and released, and what follows for the next order.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use scim_bridge_operator::domain::directory::{
    budget::Kind,
    job::Job,
    ledger::PATIENCE,
    names::{RemoteId, fold},
    order::{Order, Target},
    snapshot::{Activity, Found, Snapshot},
    verdict::Reason,
    wish::{Membership, State},
};

use super::{
    bridge::{Account, Contents, Team},
    cluster::{Cluster, Group, User},
    law::{Broken, Law},
    world::SLACK,
};
use crate::world::{address, id};

/// The limits of the model: suspensions, removals, creations.
pub(crate) const LIMITS: [(Kind, u32); 3] = [(Kind::Suspension, 1), (Kind::Removal, 2), (Kind::Creation, 2)];
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// What a read has shown of one account or group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Shown<T> {
    at: u64,
    what: T,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Judge {
    /// Acts of limited kinds that nobody released: when, and how many.
    sent: Vec<(i64, Kind, u32)>,
    /// What each digest stands for.
    sets: BTreeMap<String, BTreeSet<String>>,
    /// What a person released and no read has shown yet.
    covered: BTreeSet<String>,
    /// For each object that something was created for: whether lists began since, and were read to their end.
    posts: BTreeMap<String, (bool, bool)>,
    /// The accounts and groups that each object made, by name.
    made: BTreeMap<(String, String), BTreeSet<RemoteId>>,
    users: BTreeMap<RemoteId, Vec<Shown<Account>>>,
    groups: BTreeMap<RemoteId, Vec<Shown<Team>>>,
    /// When lists were read last.
    listed: u64,
    /// What orders were about since the read of the lists began that goes on.
    ordered: BTreeSet<RemoteId>,
    /// Objects whose status says that everything is as declared: the generation, and the wanted state.
    settled: BTreeMap<String, (i64, bool)>,
    /// When an act was written again that somebody else had undone.
    fights: BTreeMap<(String, i64, Kind), Vec<i64>>,
    /// Whom each object was about to add.
    added: BTreeSet<(String, RemoteId)>,
}

/// The acts of an order, as a person would name them.
pub(crate) fn acts(order: &Order) -> Vec<String> {
    match order {
        Order::CreateUser { user_name, .. } => vec![format!("create {}", user_name.as_str())],
        Order::CreateGroup { display_name } => vec![format!("create {}", display_name.as_str())],
        Order::SetActive { user, active: true } => vec![format!("reactivate {}", user.as_str())],
        Order::SetActive { user, active: false } => vec![format!("suspend {}", user.as_str())],
        Order::RenameUser { user, .. } => vec![format!("rename {}", user.as_str())],
        Order::RenameGroup { group, .. } => vec![format!("rename {}", group.as_str())],
        Order::AddMembers { group, users } => users
            .iter()
            .map(|user| format!("add {}/{}", group.as_str(), user.as_str()))
            .collect(),
        Order::RemoveMembers { group, users } => users
            .iter()
            .map(|user| format!("remove {}/{}", group.as_str(), user.as_str()))
            .collect(),
    }
}

/// Everything that is there when an order leaves.
pub(crate) struct Moment<'a> {
    /// The objects as they were when the order was planned.
    pub(crate) cluster: &'a Cluster,
    /// What the operator believes.
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) wall: Timestamp,
    pub(crate) time: u64,
}

fn in_scope(name: &str) -> bool {
    name.ends_with("@example.com")
}

fn is_owner(name: &str) -> bool {
    fold(name) == "owner@example.com"
}

impl Judge {
    // === What is read and written ===

    pub(crate) fn lists_begin(&mut self) {
        self.ordered.clear();
        for (has_begun, _) in self.posts.values_mut() {
            *has_begun = true;
        }
    }

    pub(crate) fn lists_are_read(&mut self, shown: &Contents, at: u64) {
        let ordered = std::mem::take(&mut self.ordered);
        for (id, account) in shown.users.iter().filter(|(id, _)| !ordered.contains(*id)) {
            let shown = Shown {
                at,
                what: account.clone(),
            };
            self.users.entry(id.clone()).or_default().push(shown);
        }
        for (id, team) in shown.groups.iter().filter(|(id, _)| !ordered.contains(*id)) {
            let shown = Shown {
                at,
                what: team.clone(),
            };
            self.groups.entry(id.clone()).or_default().push(shown);
        }
        for (has_begun, is_listed) in self.posts.values_mut() {
            *is_listed |= *has_begun;
        }
        self.listed = at;
        self.forget();
    }

    pub(crate) fn user_is_read(&mut self, id: &RemoteId, account: &Account, at: u64) {
        let shown = Shown {
            at,
            what: account.clone(),
        };
        self.users.entry(id.clone()).or_default().push(shown);
    }

    pub(crate) fn group_is_read(&mut self, id: &RemoteId, team: &Team, at: u64) {
        let shown = Shown {
            at,
            what: team.clone(),
        };
        self.groups.entry(id.clone()).or_default().push(shown);
    }

    /// Evidence is what lists showed last, and what reads by id have shown since or shortly before.
    fn forget(&mut self) {
        let from = self.listed.saturating_sub(PATIENCE.as_secs());
        self.users
            .values_mut()
            .for_each(|shown| shown.retain(|shown| shown.at >= from));
        self.groups
            .values_mut()
            .for_each(|shown| shown.retain(|shown| shown.at >= from));
    }

    pub(crate) fn is_released(&mut self, digest: &str) {
        if let Some(set) = self.sets.remove(digest) {
            self.covered.extend(set);
        }
    }

    pub(crate) fn set_is_known(&mut self, digest: String, acts: BTreeSet<String>) {
        self.sets.insert(digest, acts);
    }

    /// The operator believes this now. What it shows is no longer released.
    pub(crate) fn is_believed(&mut self, snapshot: &Snapshot) {
        let user = |text: &str| {
            snapshot
                .user_by_id(&id(text))
                .and_then(|user| snapshot.user(user))
        };
        self.covered.retain(|act| {
            let (verb, rest) = act.split_once(' ').unwrap();
            match verb {
                "suspend" => user(rest).is_none_or(|user| user.active != Activity::Suspended),
                "reactivate" => user(rest).is_none_or(|user| user.active == Activity::Suspended),
                "remove" => {
                    let (group, user) = rest.split_once('/').unwrap();
                    let members = snapshot.members_of(&id(group));
                    members.is_none_or(|members| members.contains(&id(user)))
                }
                _ => {
                    let users = snapshot.users().iter().map(|user| user.user_name.as_deref());
                    let groups = snapshot
                        .groups()
                        .iter()
                        .map(|group| group.display_name.as_deref());
                    !users.chain(groups).flatten().any(|name| name == rest)
                }
            }
        });
    }

    pub(crate) fn is_intended(&mut self, job: &Job) {
        if let Order::AddMembers { users, .. } = &job.order {
            let object = job.object.as_str();
            self.added
                .extend(users.iter().map(|user| (object.to_owned(), user.clone())));
        }
    }

    /// An operator was started whose clock shows so much more than that of the one before: then an hour has passed.
    pub(crate) fn clock_was_set_forward(&mut self, seconds: i64) {
        for (at, _, _) in &mut self.sent {
            *at -= seconds;
        }
    }

    // === What is said ===

    pub(crate) fn user_is_written(&mut self, user: &User, wall: Timestamp) -> Result<(), Broken> {
        let Some(reason @ (Reason::Provisioned | Reason::Suspended)) = user.ready() else {
            self.settled.remove(&user.uid);
            return Ok(());
        };
        let wanted = user.wanted(wall);
        self.settled
            .insert(user.uid.clone(), (user.generation, wanted == State::Suspended));
        let right = if reason == Reason::Suspended {
            State::Suspended
        } else {
            State::Active
        };
        let how = || format!("{} says {reason:?}, {:?} is wanted", user.uid, user.spec);
        Law::TruthOnly.unless(wanted == right, how)?;
        let Some(known) = &user.status.id else {
            return Law::TruthOnly.unless(reason == Reason::Suspended, how);
        };
        let shows = |account: &Account| {
            account.active == (wanted == State::Active)
                && account.given == user.spec.given
                && fold(&account.name) == fold(&address(&user.spec.name))
        };
        let reads = self.users.get(&id(known));
        let is_shown = reads.is_some_and(|reads| reads.iter().any(|read| shows(&read.what)));
        Law::TruthOnly.unless(is_shown, || format!("{}; reads show {reads:?}", how()))
    }

    pub(crate) fn group_is_written(
        &mut self,
        group: &Group,
        wanted: &BTreeSet<RemoteId>,
        there: &Contents,
    ) -> Result<(), Broken> {
        if group.ready() != Some(Reason::Provisioned) {
            self.settled.remove(&group.uid);
            return Ok(());
        }
        self.settled.insert(group.uid.clone(), (group.generation, false));
        let how = || format!("{} says Provisioned, {:?} is wanted", group.uid, group.spec);
        let Some(known) = &group.status.id else {
            return Law::TruthOnly.unless(false, how);
        };
        let shown = self.groups.get(&id(known));
        let is_shown =
            shown.is_some_and(|shown| shown.iter().any(|shown| wanted.is_subset(&shown.what.members)));
        Law::TruthOnly.unless(wanted.is_empty() || is_shown || self.has_changes(there), || {
            format!("{}: {wanted:?}; reads show {shown:?}", how())
        })
    }

    /// Whether somebody else changed accounts since they were read.
    fn has_changes(&self, there: &Contents) -> bool {
        there.users.iter().any(|(id, account)| {
            let shown = self.users.get(id).and_then(|shown| shown.last());
            shown.is_none_or(|shown| shown.what != *account)
        })
    }

    // === What is sent ===

    /// An order leaves.
    #[allow(clippy::too_many_lines, reason = "one law after the other")]
    pub(crate) fn is_sent(&mut self, job: &Job, moment: &Moment<'_>) -> Result<(), Broken> {
        let Moment {
            cluster,
            snapshot,
            wall,
            time,
        } = moment;
        let uid = job.object.as_str();
        let text = format!("{} for {uid}", acts(&job.order).join(", "));
        let (user, group) = (cluster.user(&job.object), cluster.group(&job.object));
        let paused = user
            .map(|user| user.spec.paused)
            .or_else(|| group.map(|group| group.spec.paused));
        Law::LetGo.unless(paused == Some(false), || text.clone())?;
        let entry = |id: &RemoteId| snapshot.user_by_id(id).and_then(|user| snapshot.user(user));
        let name = |id: &RemoteId| {
            entry(id)
                .and_then(|user| user.user_name.as_deref())
                .unwrap_or_default()
        };
        let may_write = |name: &str| in_scope(name) && !is_owner(name);
        let group_name = |id: &RemoteId| {
            let group = snapshot.group_by_id(id).and_then(|group| snapshot.group(group));
            group
                .and_then(|group| group.display_name.as_deref())
                .unwrap_or_default()
        };
        // What it is about.
        match job.order.target() {
            Target::User(target) => {
                let known = user.and_then(|user| user.status.id.as_deref());
                Law::SuspensionIsAValue.unless(known == Some(target.as_str()), || text.clone())?;
                Law::ScopeAndProtection.unless(may_write(name(target)), || text.clone())?;
            }
            Target::Group(target) => {
                let known = group.and_then(|group| group.status.id.as_deref());
                Law::RemovalIsAValue.unless(known == Some(target.as_str()), || text.clone())?;
                Law::ScopeAndProtection.unless(group_name(target).starts_with("k8s-"), || text.clone())?;
            }
            Target::NewUser | Target::NewGroup => {}
        }
        match &job.order {
            Order::SetActive { active, .. } => {
                let wanted = user.unwrap().wanted(*wall);
                Law::SuspensionIsAValue.unless((wanted == State::Active) == *active, || text.clone())?;
            }
            Order::RenameUser { user_name, .. } => {
                let is_free = user_name.as_ref().is_none_or(|name| may_write(name.as_str()));
                Law::ScopeAndProtection.unless(is_free, || text.clone())?;
            }
            Order::RenameGroup { display_name, .. } => {
                Law::ScopeAndProtection.unless(display_name.as_str().starts_with("k8s-"), || text.clone())?;
            }
            Order::AddMembers { group: target, users } => {
                Law::BoundOrders.unless((1..=100).contains(&users.len()), || text.clone())?;
                let members = snapshot.members_of(target).unwrap_or_default();
                for user in users {
                    let is_right = in_scope(name(user)) && !members.contains(user);
                    Law::BoundOrders.unless(is_right, || text.clone())?;
                }
            }
            Order::RemoveMembers { users, .. } => {
                Law::BoundOrders.unless((1..=100).contains(&users.len()), || text.clone())?;
                let group = group.unwrap();
                for user in users {
                    Law::ScopeAndProtection.unless(may_write(name(user)), || text.clone())?;
                    let is_suspended = cluster.users.iter().flatten().any(|wish| {
                        let is_it = match wish.status.id.as_deref() {
                            Some(known) => known == user.as_str(),
                            None => fold(&address(&wish.spec.name)) == fold(name(user)),
                        };
                        is_it && wish.wanted(*wall) == State::Suspended
                    });
                    // A name in the list may be that of an object whose account has another one, if nobody has that name.
                    let is_listed = group.lists(name(user), *wall)
                        || cluster.users.iter().flatten().any(|wish| {
                            let wanted = address(&wish.spec.name);
                            wish.status.id.as_deref() == Some(user.as_str())
                                && group.lists(&wanted, *wall)
                                && snapshot.user_named(&fold(&wanted)) == Found::Nothing
                        });
                    Law::RemovalIsAValue.unless(is_suspended || !is_listed, || text.clone())?;
                    let is_ours = self.added.contains(&(uid.to_owned(), user.clone()));
                    let is_exact = group.spec.membership == Membership::Exact;
                    Law::OnlyOurs.unless(is_ours || is_exact, || text.clone())?;
                }
            }
            Order::CreateUser { user_name, .. } => {
                Law::ScopeAndProtection.unless(may_write(user_name.as_str()), || text.clone())?;
                self.is_created(uid)?;
            }
            Order::CreateGroup { display_name } => {
                Law::ScopeAndProtection.unless(display_name.as_str().starts_with("k8s-"), || text.clone())?;
                self.is_created(uid)?;
            }
        }
        self.is_fought(job, moment, &text)?;
        let time = i64::try_from(*time).unwrap();
        let uncovered = acts(&job.order)
            .iter()
            .filter(|act| !self.covered.contains(*act))
            .count();
        if let Some((kind, limit)) = LIMITS.iter().find(|(kind, _)| *kind == job.kind) {
            self.sent.retain(|(at, _, _)| at + HOUR - SLACK > time);
            self.sent.push((time, *kind, u32::try_from(uncovered).unwrap()));
            let of_kind = self.sent.iter().filter(|(_, sent, _)| sent == kind);
            let sum: u32 = of_kind.map(|(_, _, count)| count).sum();
            Law::LimitsHold.unless(sum <= *limit || uncovered == 0, || {
                format!(
                    "{text}: {sum} {} within an hour, {uncovered} of them now",
                    kind.as_str()
                )
            })?;
        }
        Ok(())
    }

    /// An order may have changed what it is about: what was read before shows nothing any more.
    pub(crate) fn may_have_changed(&mut self, order: &Order) {
        if let Target::User(target) | Target::Group(target) = order.target() {
            self.users.remove(target);
            self.groups.remove(target);
            self.ordered.insert(target.clone());
        }
    }

    /// The bridge says that it did nothing of the last order.
    pub(crate) fn is_refused(&mut self, job: &Job) {
        if let Some(place) = self.sent.iter().rposition(|(_, kind, _)| *kind == job.kind) {
            self.sent.remove(place);
        }
        if matches!(job.order.target(), Target::NewUser | Target::NewGroup) {
            self.posts.remove(job.object.as_str());
        }
    }

    fn is_created(&mut self, uid: &str) -> Result<(), Broken> {
        let is_listed = self.posts.get(uid).is_none_or(|(_, is_listed)| *is_listed);
        self.posts.insert(uid.to_owned(), (false, false));
        Law::NoPostWithoutList.unless(is_listed, || format!("a second creation for {uid}"))
    }

    fn is_fought(&mut self, job: &Job, moment: &Moment<'_>, text: &str) -> Result<(), Broken> {
        let uid = job.object.as_str().to_owned();
        let Some((generation, was_suspended)) = self.settled.get(&uid).copied() else {
            return Ok(());
        };
        let (user, group) = (
            moment.cluster.user(&job.object),
            moment.cluster.group(&job.object),
        );
        let is_repeated = match (user, group, &job.order) {
            (Some(user), _, _) => {
                user.generation == generation
                    && (user.wanted(moment.wall) == State::Suspended) == was_suspended
            }
            (_, Some(group), Order::RenameGroup { .. }) => group.generation == generation,
            _ => false,
        };
        if !is_repeated {
            return Ok(());
        }
        self.settled.remove(&uid);
        let wall = moment.wall.as_second();
        let fights = self.fights.entry((uid, generation, job.kind)).or_default();
        let is_third = fights.iter().any(|at| (wall - at).abs() < DAY && wall >= *at);
        fights.push(wall);
        Law::NoThirdWrite.unless(!is_third, || format!("{text}, after {fights:?}"))
    }

    /// The bridge made something for this object.
    pub(crate) fn is_made(&mut self, job: &Job, made: &RemoteId, there: &Contents) -> Result<(), Broken> {
        let name = match &job.order {
            Order::CreateUser { user_name, .. } => user_name.as_str(),
            Order::CreateGroup { display_name } => display_name.as_str(),
            _ => return Ok(()),
        };
        let made_before = self
            .made
            .entry((job.object.as_str().to_owned(), name.to_owned()))
            .or_default();
        made_before.insert(made.clone());
        made_before.retain(|id| there.users.contains_key(id) || there.groups.contains_key(id));
        let has_name = |id: &RemoteId| {
            there.users.get(id).is_some_and(|user| user.name == name)
                || there.groups.get(id).is_some_and(|group| group.name == name)
        };
        let count = made_before.iter().filter(|id| has_name(id)).count();
        Law::OneAccount.unless(count <= 1, || {
            format!("{} has {made_before:?}", job.object.as_str())
        })
    }
}
