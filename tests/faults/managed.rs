//! A directory in mode `Manage` on which somebody draws changes, and what its bridge may have done in the end.
//!
//! Each change that is asked for allows the bridge one act. So whatever happens to the operator: nothing is done that nobody
//! asked for, and nothing twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bridge_front::{
    Act, Change, Front, Group, Seed, State, User,
    directory::{Addition, Taken},
};
use kube::api::ListParams;
use scim_bridge_operator::api::{
    directory::ChangeKind,
    group::ScimGroup,
    user::{ScimUser, ScimUserStatus},
};
use serde_json::{Value, json};
use testbed::{
    Dice,
    bed::{Bed, DEADLINE, DirectoryObject, KEY, Operator, directory_line, status},
    wait,
};

/// Who is on the bridge and declared, from the beginning.
const OLD: usize = 12;
/// Who is on the bridge and not declared: nobody may touch them.
const STRANGERS: usize = 6;
const GROUPS: usize = 3;
/// For changes that may take a restart each.
const SETTLED: Duration = Duration::from_mins(5);

/// A user as it was asked for last.
struct Person {
    object: String,
    /// The part of the user name before the `@`, and one that was asked for before.
    name: String,
    before: Option<String>,
    given_name: String,
    is_active: bool,
    is_old: bool,
}

/// A directory, and what was asked of it.
pub(crate) struct Managed<'a> {
    pub(crate) bed: &'a Bed<'a>,
    pub(crate) bridge: Front,
    people: Vec<Person>,
    /// The people of each group, by their place.
    groups: Vec<BTreeSet<usize>>,
    /// How often each act was asked for.
    asked: BTreeMap<String, usize>,
    /// What bridges have done that were here before.
    past: Vec<Change>,
    names: usize,
}

fn address(name: &str) -> String {
    format!("{name}@example.com")
}

fn group_name(group: usize) -> String {
    format!("team-{group}")
}

/// The last group is kept exactly, the others have a stranger in them.
fn is_exact(group: usize) -> bool {
    group + 1 == GROUPS
}

/// A bridge that does everything twice that it is asked for twice.
pub(crate) fn reckless(state: &mut State) {
    state.habits.writes.taken_user_name = Taken::Accepted;
    state.habits.writes.add = Addition::DoublesMembers;
}

/// An operator without election, which may not be ready.
pub(crate) async fn spawn(bed: &Bed<'_>) -> Operator {
    let flags = [
        &["--leader-elect=false", "--provisioning"],
        &testbed::bed::LOOPBACK[..],
    ];
    bed.spawn(&flags.concat()).await
}

impl<'a> Managed<'a> {
    /// A bridge, connection `corp` to it, and everybody declared as they are.
    pub(crate) async fn new(bed: &'a Bed<'a>, more: Value) -> Self {
        let old = (0..OLD).map(|number| format!("old-{number}"));
        let strangers = (0..STRANGERS).map(|number| format!("stranger-{number}"));
        let everybody = old.clone().chain(strangers).chain(["owner".to_owned()]);
        let seed = Seed {
            users: everybody
                .map(|name| User::new(address(&name), "Given", "Family"))
                .collect(),
            groups: (0..GROUPS)
                .map(|group| {
                    let stranger = (!is_exact(group)).then(|| address(&format!("stranger-{group}")));
                    Group::new(group_name(group), stranger)
                })
                .collect(),
        };
        let bridge = bed.directory(seed).set(reckless).start().await.unwrap();
        bed.secret("corp", KEY).await;
        bed.manage_directory("corp", &bridge, more).await;
        let mut managed = Self {
            bed,
            bridge,
            people: Vec::new(),
            groups: vec![BTreeSet::new(); GROUPS],
            asked: BTreeMap::new(),
            past: Vec::new(),
            names: 0,
        };
        for name in old {
            managed.people.push(Person {
                object: name.clone(),
                name,
                before: None,
                given_name: "Given".to_owned(),
                is_active: true,
                is_old: true,
            });
            managed.declare(managed.people.len() - 1).await;
        }
        for group in 0..GROUPS {
            managed.declare_group(group).await;
        }
        managed.populate().await;
        managed
    }

    /// Ends the bridge. What it has done counts.
    pub(crate) async fn end_bridge(&mut self) {
        self.past.extend(self.bridge.directory().changes());
        let nobody = Front::builder().start().await.unwrap();
        std::mem::replace(&mut self.bridge, nobody).stop().await;
    }

    /// The object of an account.
    pub(crate) fn object(&self, id: &str) -> Option<&str> {
        let user = self.bridge.directory().user(id)?;
        let mut people = self.people.iter();
        let person = people.find(|person| {
            let names = [Some(&person.name), person.before.as_ref()];
            names
                .into_iter()
                .flatten()
                .any(|name| address(name) == user.user_name)
        })?;
        Some(&person.object)
    }

    async fn declare(&self, place: usize) {
        let person = &self.people[place];
        let spec = json!({
            "userName": address(&person.name),
            "name": {"givenName": person.given_name, "familyName": "Family"},
            "state": if person.is_active { "Active" } else { "Suspended" },
            "adopt": if person.is_old { "Always" } else { "Never" },
        });
        self.bed.scim_user("corp", &person.object, spec).await;
    }

    async fn declare_group(&self, group: usize) {
        let members = self.groups[group].iter();
        let members = members.map(|place| json!({"userName": address(&self.people[*place].name)}));
        let spec = json!({
            "adopt": "Always",
            "membership": if is_exact(group) { "Exact" } else { "Additive" },
            "members": members.collect::<Vec<_>>(),
        });
        self.bed.scim_group("corp", &group_name(group), spec).await;
    }

    fn count(&mut self, act: String) {
        *self.asked.entry(act).or_default() += 1;
    }

    /// Somebody new is declared.
    pub(crate) async fn create(&mut self) {
        let name = format!("new-{}", self.names);
        self.names += 1;
        self.count(format!("CreateUser {name}"));
        self.people.push(Person {
            object: name.clone(),
            name,
            before: None,
            given_name: "Given".to_owned(),
            is_active: true,
            is_old: false,
        });
        self.declare(self.people.len() - 1).await;
    }

    /// Somebody is suspended, or active again. The memberships end and begin with it.
    pub(crate) async fn turn(&mut self, place: usize) {
        let person = &mut self.people[place];
        person.is_active = !person.is_active;
        let (object, is_active) = (person.object.clone(), person.is_active);
        let (act, membership) = if is_active {
            ("Reactivate", "AddMember")
        } else {
            ("Suspend", "RemoveMember")
        };
        self.count(format!("{act} {object}"));
        let of: Vec<usize> = (0..GROUPS)
            .filter(|group| self.groups[*group].contains(&place))
            .collect();
        for group in of {
            self.count(format!("{membership} {}: {object}", group_name(group)));
        }
        self.declare(place).await;
    }

    /// Somebody joins or leaves a group.
    pub(crate) async fn join(&mut self, group: usize, place: usize) {
        let joins = !self.groups[group].remove(&place);
        if joins {
            self.groups[group].insert(place);
        }
        let Person {
            object, is_active, ..
        } = &self.people[place];
        if *is_active {
            let act = if joins { "AddMember" } else { "RemoveMember" };
            self.count(format!("{act} {}: {object}", group_name(group)));
        }
        self.declare_group(group).await;
    }

    /// Somebody has another name: a new one, or the one before. `false` for somebody of whom only the name is known: no
    /// status has an id.
    async fn rename(&mut self, place: usize, is_back: bool) -> bool {
        let object: ScimUser = self.bed.api().get(&self.people[place].object).await.unwrap();
        if object.status.and_then(|status| status.id).is_none() {
            return false;
        }
        let fresh = format!("name-{}", self.names);
        self.names += 1;
        let person = &mut self.people[place];
        let next = person.before.take().filter(|_| is_back).unwrap_or(fresh);
        person.before = Some(std::mem::replace(&mut person.name, next));
        person.given_name = format!("Given {}", person.name);
        let object = person.object.clone();
        self.count(format!("RenameUser {object}"));
        self.count(format!("ChangeName {object}"));
        self.declare(place).await;
        for group in 0..GROUPS {
            if self.groups[group].contains(&place) {
                self.declare_group(group).await;
            }
        }
        true
    }

    /// Asks for one change that chance draws.
    pub(crate) async fn ask(&mut self, dice: &mut Dice) {
        let place = dice.pick(self.people.len());
        let group = dice.pick(GROUPS);
        match dice.below(8) {
            0 | 1 => self.create().await,
            2 | 3 => self.turn(place).await,
            4 | 5 => {
                let is_back = dice.below(3) == 0;
                if !self.rename(place, is_back).await {
                    self.create().await;
                }
            }
            // Whether an exact group is empty, nobody can tell.
            _ if is_exact(group) && self.groups[group].iter().eq([&place]) => self.create().await,
            _ => self.join(group, place).await,
        }
    }

    /// Somebody joins the group without strangers, if nobody is in it: nobody can tell whether a group that shows no member
    /// has none.
    pub(crate) async fn populate(&mut self) {
        let group = GROUPS - 1;
        let is_empty = !self.groups[group]
            .iter()
            .any(|place| self.people[*place].is_active);
        let joiner = (0..self.people.len()).find(|place| self.people[*place].is_active);
        if let Some(joiner) = joiner.filter(|_| is_empty) {
            self.join(group, joiner).await;
        }
    }

    /// Waits until the bridge is as it was asked for, and every object says so.
    pub(crate) async fn settled(&self) {
        let done = wait::until(SETTLED, "everything to be done", async || {
            let differs = self.difference();
            if differs.is_empty() {
                Ok(())
            } else {
                Err(differs.join(", "))
            }
        });
        done.await.unwrap_or_else(|error| panic!("{error}"));
        let said = wait::until(DEADLINE, "everything to be said", async || {
            let lines = self.unsaid().await;
            if lines.is_empty() {
                Ok(())
            } else {
                Err(lines.join(", "))
            }
        });
        said.await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// What is on the bridge and not as it was asked for.
    fn difference(&self) -> Vec<String> {
        let directory = self.bridge.directory();
        let mut differs = Vec::new();
        for person in &self.people {
            let there = directory.user_named(&address(&person.name));
            let is_as_asked = match &there {
                Some(user) => user.active == person.is_active && user.name.given_name == person.given_name,
                // Nobody is created only to be suspended.
                None => !person.is_old && !person.is_active,
            };
            if !is_as_asked {
                differs.push(format!("{} ({})", person.object, person.name));
            }
        }
        for (group, wanted) in self.groups.iter().enumerate() {
            let stranger = (!is_exact(group)).then(|| format!("stranger-{group}"));
            let wanted = wanted.iter().map(|place| &self.people[*place]);
            let wanted = wanted
                .filter(|person| person.is_active)
                .map(|person| person.name.clone());
            let mut wanted: Vec<String> = wanted.chain(stranger).map(|name| address(&name)).collect();
            wanted.sort();
            let members = directory.group_named(&group_name(group)).unwrap().members;
            let name = |id: &str| {
                directory
                    .user(id)
                    .map_or_else(|| id.to_owned(), |user| user.user_name)
            };
            let mut members: Vec<String> = members.iter().map(|member| name(&member.value)).collect();
            members.sort();
            if members != wanted {
                differs.push(format!("{}: {members:?} for {wanted:?}", group_name(group)));
            }
        }
        differs
    }

    /// The objects whose status does not say that they are as they should be.
    async fn unsaid(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let (users, groups) = (self.bed.api::<ScimUser>(), self.bed.api::<ScimGroup>());
        let all = ListParams::default();
        for user in users.list(&all).await.unwrap() {
            let name = user.metadata.name.as_deref().unwrap();
            let person = self.people.iter().find(|person| person.object == name).unwrap();
            let wanted = if person.is_active {
                "True Provisioned"
            } else {
                "True Suspended"
            };
            let said = directory_line(&user);
            if said != wanted || user.metadata.generation != Some(user.judged().1) {
                lines.push(format!("{name}: {said}"));
            }
        }
        for group in groups.list(&all).await.unwrap() {
            let said = directory_line(&group);
            if said != "True Provisioned" || group.metadata.generation != Some(group.judged().1) {
                lines.push(format!("{}: {said}", group.metadata.name.unwrap()));
            }
        }
        lines
    }

    /// Everything that bridges have done for clients.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut changes = self.past.clone();
        changes.extend(self.bridge.directory().changes());
        changes
    }

    /// How many people were suspended or removed, or created, by all bridges.
    pub(crate) fn done(&self, kind: ChangeKind) -> u32 {
        let changes = self.changes();
        let counts = changes.iter().map(|change| match (kind, change.act) {
            (ChangeKind::Suspension, Act::Suspend)
            | (ChangeKind::Creation, Act::CreateUser | Act::Reactivate) => 1,
            (ChangeKind::Removal, Act::RemoveMember) => change.members.len(),
            _ => 0,
        });
        u32::try_from(counts.sum::<usize>()).unwrap()
    }

    /// Fails for an act that nobody asked for, or that was done more often than asked for. Everybody there has a name of
    /// their own, and no stranger was touched.
    pub(crate) fn judge(&self) {
        let directory = self.bridge.directory();
        let objects: BTreeMap<String, &str> = self
            .people
            .iter()
            .filter_map(|person| {
                let user = directory.user_named(&address(&person.name))?;
                Some((user.id, person.object.as_str()))
            })
            .collect();
        let object = |id: &str| objects.get(id).copied().unwrap_or("a stranger");
        let mut done: BTreeMap<String, usize> = BTreeMap::new();
        for change in self.changes() {
            if change.act == Act::ChangeContact {
                // The address follows the user name.
                continue;
            }
            if change.members.is_empty() {
                let act = format!("{:?} {}", change.act, object(&change.id));
                *done.entry(act).or_default() += 1;
            }
            for member in &change.members {
                let group = directory.group(&change.id).unwrap().display_name;
                let act = format!("{:?} {group}: {}", change.act, object(member));
                *done.entry(act).or_default() += 1;
            }
        }
        for (act, times) in &done {
            let asked = self.asked.get(act).copied().unwrap_or_default();
            assert!(
                *times <= asked,
                "{act}: done {times} times, asked for {asked} times; all of it: {done:#?}"
            );
        }
        let users = directory.users();
        let names: BTreeSet<&str> = users.iter().map(|user| user.user_name.as_str()).collect();
        assert_eq!(names.len(), users.len(), "a name is there twice");
        let others = users
            .iter()
            .filter(|user| user.user_name.starts_with("stranger") || user.user_name.starts_with("owner"));
        assert_eq!(others.filter(|user| user.active).count(), STRANGERS + 1);
    }

    /// What the connection says was sent of a kind.
    pub(crate) async fn spent(&self, kind: ChangeKind) -> u32 {
        let spent = status(&self.bed.get("corp").await)
            .provisioning
            .unwrap_or_default()
            .spent;
        spent
            .iter()
            .filter(|spent| spent.kind == kind)
            .map(|spent| spent.count)
            .sum()
    }

    /// What the statuses of users say, by the name of the object.
    pub(crate) async fn statuses(&self) -> BTreeMap<String, ScimUserStatus> {
        let users = self
            .bed
            .api::<ScimUser>()
            .list(&ListParams::default())
            .await
            .unwrap();
        let statuses = users.into_iter();
        statuses
            .map(|user| (user.metadata.name.unwrap(), user.status.unwrap_or_default()))
            .collect()
    }
}
