//! A bridge in memory: what it has, how it answers, and when its reads show a change.

use std::collections::{BTreeMap, BTreeSet};

use scim_bridge_operator::domain::directory::{
    names::{RemoteId, fold},
    order::{Answer, Order},
    snapshot::{Activity, GroupEntry, MemberEntry, Snapshot, UserEntry},
};

use crate::world::{id, listing};

/// A change shows in reads that come late after so many seconds. That is less than the operator's patience.
const LATE: u64 = 30;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) given: String,
    pub(crate) active: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Team {
    pub(crate) name: String,
    pub(crate) members: BTreeSet<RemoteId>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Contents {
    pub(crate) users: BTreeMap<RemoteId, Account>,
    pub(crate) groups: BTreeMap<RemoteId, Team>,
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Habit {
    Fine,
    /// 2xx, and nothing is done.
    Ignores,
    /// It is done, and no answer comes.
    Loses,
    /// Nothing is done, and no answer comes.
    Drops,
    /// 429
    Busy,
    /// Nothing leaves.
    Cut,
    /// 400
    Refuses,
    /// 405
    Unsupported,
    /// A removal of one removes everybody.
    RemovesAll,
    /// An addition replaces the list.
    Replaces,
}

/// What reads show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum View {
    Prompt,
    /// Lists show a change late, a read by id at once.
    LateLists,
    /// Every read shows a change late.
    Late,
    /// No page comes.
    Short,
    /// Lists without anybody.
    Empty,
    /// No read shows a member.
    NoMembers,
    /// Members stand only in lists.
    ListsOnly,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bridge {
    pub(crate) now: Contents,
    /// What was there before a change, and until when.
    before: Vec<(u64, Contents)>,
    pub(crate) habit: Habit,
    pub(crate) view: View,
    /// Whether a second account or group of one name is made.
    pub(crate) doubles: bool,
    made: u32,
}

impl Bridge {
    /// Ada and Bo, the owner, and somebody out of the scope; group 1 with two of them, group 9 out of the scope.
    pub(crate) fn new() -> Self {
        let user = |number: &str, name: &str| {
            let account = Account {
                name: name.to_owned(),
                given: "Given".to_owned(),
                active: true,
            };
            (id(number), account)
        };
        let team = |number: &str, name: &str, members: &[&str]| {
            let team = Team {
                name: name.to_owned(),
                members: members.iter().map(|member| id(member)).collect(),
            };
            (id(number), team)
        };
        Self {
            now: Contents {
                users: [
                    user("A", "ada@example.com"),
                    user("B", "bo@example.com"),
                    user("O", "owner@example.com"),
                    user("X", "out@example.org"),
                ]
                .into(),
                groups: [team("1", "k8s-a", &["B", "O"]), team("9", "other", &["O", "X"])].into(),
            },
            before: Vec::new(),
            habit: Habit::Fine,
            view: View::Prompt,
            doubles: false,
            made: 0,
        }
    }

    /// Changes what is there.
    pub(crate) fn change(&mut self, at: u64, change: impl FnOnce(&mut Contents)) -> bool {
        let was = self.now.clone();
        change(&mut self.now);
        let has_changed = was != self.now;
        if has_changed {
            self.before.push((at, was));
        }
        self.before.retain(|(until, _)| until + LATE > at);
        has_changed
    }

    fn late(&self, at: u64) -> &Contents {
        self.before
            .iter()
            .find(|(until, _)| until + LATE > at)
            .map_or(&self.now, |(_, contents)| contents)
    }

    /// What lists show; `None` if they do not come to an end.
    pub(crate) fn lists(&self, at: u64) -> Option<Contents> {
        let mut contents = match self.view {
            View::Short => return None,
            View::Empty => Contents::default(),
            View::LateLists | View::Late => self.late(at).clone(),
            View::Prompt | View::NoMembers | View::ListsOnly => self.now.clone(),
        };
        if self.view == View::NoMembers {
            for team in contents.groups.values_mut() {
                team.members.clear();
            }
        }
        Some(contents)
    }

    /// What a read by id shows.
    pub(crate) fn single(&self, at: u64) -> Contents {
        let mut contents = if self.view == View::Late {
            self.late(at)
        } else {
            &self.now
        }
        .clone();
        if matches!(self.view, View::NoMembers | View::ListsOnly) {
            for team in contents.groups.values_mut() {
                team.members.clear();
            }
        }
        contents
    }

    /// Carries out an order, or not.
    pub(crate) fn send(&mut self, order: &Order, at: u64) -> Answer {
        let habit = self.habit;
        match habit {
            Habit::Busy => return Answer::RateLimited,
            Habit::Cut => return Answer::NotSent,
            Habit::Refuses => return Answer::Rejected(None),
            Habit::Unsupported => return Answer::Unsupported,
            Habit::Drops => return Answer::Unclear,
            Habit::Ignores => return Answer::Accepted(Some(id("IGNORED"))),
            Habit::Fine | Habit::Loses | Habit::RemovesAll | Habit::Replaces => {}
        }
        let answer = self.carry_out(order, at);
        if habit == Habit::Loses {
            Answer::Unclear
        } else {
            answer
        }
    }

    fn carry_out(&mut self, order: &Order, at: u64) -> Answer {
        let (habit, doubles) = (self.habit, self.doubles);
        let new = id(&format!("N{}", self.made));
        let target = |contents: &Contents, order: &Order| match order {
            Order::CreateUser { .. } | Order::CreateGroup { .. } => true,
            Order::SetActive { user, .. } | Order::RenameUser { user, .. } => {
                contents.users.contains_key(user)
            }
            Order::RenameGroup { group, .. } => contents.groups.contains_key(group),
            Order::AddMembers { group, users } => {
                contents.groups.contains_key(group)
                    && users.iter().all(|user| contents.users.contains_key(user))
            }
            Order::RemoveMembers { group, .. } => contents.groups.contains_key(group),
        };
        if !target(&self.now, order) {
            return Answer::NotFound;
        }
        let takes = |name: &str, own: Option<&RemoteId>| {
            let mut users = self.now.users.iter();
            !doubles && users.any(|(id, user)| Some(id) != own && fold(&user.name) == fold(name))
        };
        let takes_group = |name: &str, own: Option<&RemoteId>| {
            let mut groups = self.now.groups.iter();
            !doubles && groups.any(|(id, group)| Some(id) != own && fold(&group.name) == fold(name))
        };
        let is_conflict = match order {
            Order::CreateUser { user_name, .. } => takes(user_name.as_str(), None),
            Order::RenameUser {
                user,
                user_name: Some(name),
                ..
            } => takes(name.as_str(), Some(user)),
            Order::CreateGroup { display_name } => takes_group(display_name.as_str(), None),
            Order::RenameGroup { group, display_name } => takes_group(display_name.as_str(), Some(group)),
            _ => false,
        };
        if is_conflict {
            return Answer::Conflict;
        }
        let mut made = None;
        self.change(at, |contents| match order {
            Order::CreateUser {
                user_name,
                given_name,
                family_name: _,
            } => {
                let account = Account {
                    name: user_name.as_str().to_owned(),
                    given: given_name.as_str().to_owned(),
                    active: true,
                };
                contents.users.insert(new.clone(), account);
                made = Some(new);
            }
            Order::CreateGroup { display_name } => {
                let team = Team {
                    name: display_name.as_str().to_owned(),
                    members: BTreeSet::new(),
                };
                contents.groups.insert(new.clone(), team);
                made = Some(new);
            }
            Order::SetActive { user, active } => contents.users.get_mut(user).unwrap().active = *active,
            Order::RenameUser {
                user,
                user_name,
                given_name,
                family_name: _,
            } => {
                let account = contents.users.get_mut(user).unwrap();
                if let Some(name) = user_name {
                    name.as_str().clone_into(&mut account.name);
                }
                if let Some(name) = given_name {
                    name.as_str().clone_into(&mut account.given);
                }
            }
            Order::RenameGroup { group, display_name } => {
                display_name
                    .as_str()
                    .clone_into(&mut contents.groups.get_mut(group).unwrap().name);
            }
            Order::AddMembers { group, users } => {
                let members = &mut contents.groups.get_mut(group).unwrap().members;
                if habit == Habit::Replaces {
                    members.clear();
                }
                members.extend(users.iter().cloned());
            }
            Order::RemoveMembers { group, users } => {
                let members = &mut contents.groups.get_mut(group).unwrap().members;
                members.retain(|member| habit != Habit::RemovesAll && !users.contains(member));
            }
        });
        if made.is_some() {
            self.made += 1;
        }
        Answer::Accepted(made)
    }
}

impl Contents {
    pub(crate) fn user_entry(&self, number: &RemoteId) -> Option<UserEntry> {
        self.users.get(number).map(|account| UserEntry {
            id: number.clone(),
            user_name: Some(account.name.as_str().into()),
            active: if account.active {
                Activity::Active
            } else {
                Activity::Suspended
            },
            given_name: Some(account.given.as_str().into()),
            family_name: Some("Family".into()),
            groups: None,
        })
    }

    /// A group without members has no `members`.
    pub(crate) fn group_entry(&self, number: &RemoteId) -> Option<GroupEntry> {
        self.groups.get(number).map(|team| GroupEntry {
            id: number.clone(),
            display_name: Some(team.name.as_str().into()),
            members: (!team.members.is_empty()).then(|| {
                let member = |id: &RemoteId| MemberEntry {
                    value: id.as_str().into(),
                    is_group: false,
                };
                team.members.iter().map(member).collect()
            }),
        })
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let users: Vec<_> = self.users.keys().filter_map(|id| self.user_entry(id)).collect();
        let groups: Vec<_> = self.groups.keys().filter_map(|id| self.group_entry(id)).collect();
        Snapshot::new(listing(&users, 100), listing(&groups, 100), Vec::new())
    }

    /// Who has this name.
    pub(crate) fn named(&self, name: &str) -> Vec<&RemoteId> {
        let users = self.users.iter();
        users
            .filter(|(_, user)| fold(&user.name) == fold(name))
            .map(|(id, _)| id)
            .collect()
    }
}
