//! Objects and their statuses.

use k8s_openapi::jiff::Timestamp;
use scim_bridge_operator::{
    api::{group::ScimGroupStatus, user::ScimUserStatus, vocabulary::ConditionType},
    domain::{
        connection::conditions::find,
        directory::{
            names::{ObjectId, RemoteId},
            status::{group_record, user_record},
            verdict::Reason,
            wish::{Adopt, GroupFields, GroupWish, Membership, State, UserFields, UserWish, Wishes},
        },
    },
};

use crate::world::{address, at};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UserSpec {
    pub(crate) name: String,
    pub(crate) given: String,
    pub(crate) state: State,
    pub(crate) until: Option<i64>,
    pub(crate) adopt: Adopt,
    pub(crate) paused: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GroupSpec {
    pub(crate) name: String,
    pub(crate) membership: Membership,
    pub(crate) members: Vec<(String, Option<i64>)>,
    pub(crate) adopt: Adopt,
    pub(crate) paused: bool,
}

/// An object of one kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Object<S, T> {
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) spec: S,
    pub(crate) status: T,
}

pub(crate) type User = Object<UserSpec, ScimUserStatus>;
pub(crate) type Group = Object<GroupSpec, ScimGroupStatus>;

#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Cluster {
    pub(crate) users: Vec<Option<User>>,
    pub(crate) groups: Vec<Option<Group>>,
    made: u32,
}

impl Cluster {
    /// Three users (one has no account yet, one is the owner), an additive group and an exact one that is not there yet.
    pub(crate) fn new() -> Self {
        let mut cluster = Self {
            users: vec![None; 3],
            groups: vec![None; 2],
            made: 0,
        };
        for slot in 0..3 {
            cluster.create_user(slot);
        }
        for slot in 0..2 {
            cluster.create_group(slot);
        }
        cluster
    }

    fn uid(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}{:02}", self.made)
    }

    pub(crate) fn create_user(&mut self, slot: usize) {
        let uid = self.uid("u");
        self.users[slot] = Some(Object {
            uid,
            generation: 1,
            spec: UserSpec {
                name: ["ada", "bo", "new"][slot].to_owned(),
                given: "Given".to_owned(),
                state: State::Active,
                until: None,
                adopt: Adopt::IfUnchanged,
                paused: false,
            },
            status: ScimUserStatus::default(),
        });
    }

    pub(crate) fn create_group(&mut self, slot: usize) {
        let uid = self.uid("g");
        self.groups[slot] = Some(Object {
            uid,
            generation: 1,
            spec: GroupSpec {
                name: ["k8s-a", "k8s-b"][slot].to_owned(),
                membership: [Membership::Additive, Membership::Exact][slot],
                members: ["ada", ["new", "bo"][slot]]
                    .map(|name| (name.to_owned(), None))
                    .to_vec(),
                adopt: Adopt::Always,
                paused: false,
            },
            status: ScimGroupStatus::default(),
        });
    }

    pub(crate) fn user(&self, uid: &ObjectId) -> Option<&User> {
        self.users.iter().flatten().find(|user| user.uid == uid.as_str())
    }

    pub(crate) fn group(&self, uid: &ObjectId) -> Option<&Group> {
        self.groups
            .iter()
            .flatten()
            .find(|group| group.uid == uid.as_str())
    }

    pub(crate) fn user_mut(&mut self, uid: &ObjectId) -> Option<&mut User> {
        let mut users = self.users.iter_mut().flatten();
        users.find(|user| user.uid == uid.as_str())
    }

    pub(crate) fn group_mut(&mut self, uid: &ObjectId) -> Option<&mut Group> {
        let mut groups = self.groups.iter_mut().flatten();
        groups.find(|group| group.uid == uid.as_str())
    }

    /// The generation of an object, if it is there.
    pub(crate) fn generation(&self, uid: &ObjectId) -> Option<i64> {
        let user = self.user(uid).map(|user| user.generation);
        user.or_else(|| self.group(uid).map(|group| group.generation))
    }

    pub(crate) fn wishes(&self) -> Wishes {
        Wishes {
            users: self.users.iter().flatten().map(User::wish).collect(),
            groups: self.groups.iter().flatten().map(Group::wish).collect(),
        }
    }

    /// The times at which something ends, in seconds.
    pub(crate) fn ends(&self) -> impl Iterator<Item = i64> {
        let users = self.users.iter().flatten().filter_map(|user| user.spec.until);
        let members = self.groups.iter().flatten().flat_map(|group| &group.spec.members);
        users.chain(members.filter_map(|(_, until)| *until))
    }

    /// The ids in statuses.
    pub(crate) fn known(&self) -> Vec<RemoteId> {
        let users = self
            .users
            .iter()
            .flatten()
            .filter_map(|user| user.status.id.as_deref());
        let groups = self
            .groups
            .iter()
            .flatten()
            .filter_map(|group| group.status.id.as_deref());
        users
            .chain(groups)
            .map(|id| RemoteId::parse(id).unwrap())
            .collect()
    }
}

impl User {
    pub(crate) fn wish(&self) -> UserWish {
        let UserSpec {
            name,
            given,
            state,
            until,
            adopt,
            paused,
        } = &self.spec;
        let mut wish = UserWish::parse(&UserFields {
            uid: &self.uid,
            id: self.status.id.as_deref(),
            user_name: &address(name),
            given_name: given,
            family_name: "Family",
            state: *state,
            active_until: until.map(at),
            adopt: *adopt,
            paused: *paused,
        })
        .unwrap();
        wish.record = user_record(&self.status, self.generation);
        wish
    }

    pub(crate) fn wanted(&self, now: Timestamp) -> State {
        match self.spec.until {
            Some(until) if at(until) <= now => State::Suspended,
            _ => self.spec.state,
        }
    }

    pub(crate) fn ready(&self) -> Option<Reason> {
        find(&self.status.conditions, ConditionType::Ready).and_then(|ready| Reason::parse(&ready.reason))
    }
}

impl Group {
    pub(crate) fn wish(&self) -> GroupWish {
        let GroupSpec {
            name,
            membership,
            members,
            adopt,
            paused,
        } = &self.spec;
        let members: Vec<(String, Option<Timestamp>)> = members
            .iter()
            .map(|(name, until)| (address(name), until.map(at)))
            .collect();
        let members: Vec<_> = members
            .iter()
            .map(|(name, until)| (name.as_str(), *until))
            .collect();
        let added: Vec<&str> = self.status.added.iter().map(String::as_str).collect();
        let mut wish = GroupWish::parse(&GroupFields {
            uid: &self.uid,
            id: self.status.id.as_deref(),
            display_name: name,
            membership: *membership,
            members: &members,
            added: &added,
            adopt: *adopt,
            paused: *paused,
        })
        .unwrap();
        wish.record = group_record(&self.status, self.generation);
        wish
    }

    pub(crate) fn ready(&self) -> Option<Reason> {
        find(&self.status.conditions, ConditionType::Ready).and_then(|ready| Reason::parse(&ready.reason))
    }

    /// The names in the list that count now.
    pub(crate) fn entries(&self, now: Timestamp) -> impl Iterator<Item = String> {
        let members = self.spec.members.iter();
        members
            .filter(move |(_, until)| until.is_none_or(|until| at(until) > now))
            .map(|(name, _)| address(name))
    }

    /// Whether the list names this user now.
    pub(crate) fn lists(&self, name: &str, now: Timestamp) -> bool {
        self.entries(now).any(|entry| entry.eq_ignore_ascii_case(name))
    }
}
