//! What somebody wrote about users and groups, parsed once. Nothing after this module sees a raw specification.
//!
//! The CRD's rules may be older than this program, so parsing stands on its own.

use std::collections::HashSet;

use k8s_openapi::jiff::Timestamp;

use super::{
    budget::{Kind, PerKind},
    names::{NameFault, ObjectId, PlainName, RemoteId, UserName, fold},
};
use crate::api::{
    directory::StopReason,
    group::{GroupMember, ScimGroupSpec},
    user::{PersonName, ScimUserSpec},
};
pub use crate::api::{
    group::Membership,
    user::{Adopt, UserState as State},
};

/// The most members that one group may list. More would not fit into an object of the API server.
pub const MAX_MEMBERS: usize = 10_000;

/// Everything that is declared for one directory. The order of neither list matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The users.
    pub users: Vec<UserWish>,
    /// The groups.
    pub groups: Vec<GroupWish>,
}

/// One declared user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserWish {
    /// The object that declares the user.
    pub object: ObjectId,
    /// The id that this object's status holds: then the user is that one, and no other.
    pub known: Option<RemoteId>,
    /// `spec.userName`
    pub user_name: UserName,
    /// `spec.name.givenName`
    pub given_name: PlainName,
    /// `spec.name.familyName`
    pub family_name: PlainName,
    /// `spec.state`
    pub state: State,
    /// `spec.activeUntil`
    pub active_until: Option<Timestamp>,
    /// `spec.adopt`
    pub adopt: Adopt,
    /// `spec.paused`
    pub paused: bool,
    /// What the status remembers.
    pub record: Record,
}

/// One declared group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupWish {
    /// The object that declares the group.
    pub object: ObjectId,
    /// The id that this object's status holds: then the group is that one, and no other.
    pub known: Option<RemoteId>,
    /// `spec.displayName`
    pub display_name: PlainName,
    /// `spec.membership`
    pub membership: Membership,
    /// `spec.members`
    pub members: Vec<MemberWish>,
    /// The users that the operator added to the group, as its status says: in order, each once.
    pub added: Vec<RemoteId>,
    /// `spec.adopt`
    pub adopt: Adopt,
    /// `spec.paused`
    pub paused: bool,
    /// What the status remembers.
    pub record: Record,
}

/// What the status of an object remembers of earlier writes. All but `is_ours` is about the generation of its
/// specification: with another one, it is forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Whether the operator created the account or group, or asked the bridge to.
    pub is_ours: bool,
    /// The state in which a read showed everything as declared, if that is the last verdict.
    pub settled: Option<State>,
    /// When somebody else last changed back what this object had set.
    pub overwritten: Vec<(Kind, Timestamp)>,
    /// Kinds of acts that are not sent any more.
    pub stopped: PerKind<Option<StopReason>>,
}

/// One entry of `spec.members`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberWish {
    /// Who.
    pub user_name: UserName,
    /// Until when. From then on, as if the entry were not there.
    pub until: Option<Timestamp>,
}

/// A user's fields as they are written. Times and words have their types already.
#[derive(Clone, Copy)]
pub struct UserFields<'a> {
    /// `metadata.uid`
    pub uid: &'a str,
    /// `status.id`
    pub id: Option<&'a str>,
    /// `spec.userName`
    pub user_name: &'a str,
    /// `spec.name.givenName`
    pub given_name: &'a str,
    /// `spec.name.familyName`
    pub family_name: &'a str,
    /// `spec.state`
    pub state: State,
    /// `spec.activeUntil`
    pub active_until: Option<Timestamp>,
    /// `spec.adopt`
    pub adopt: Adopt,
    /// `spec.paused`
    pub paused: bool,
}

/// A group's fields as they are written. Times and words have their types already.
#[derive(Clone, Copy)]
pub struct GroupFields<'a> {
    /// `metadata.uid`
    pub uid: &'a str,
    /// `status.id`
    pub id: Option<&'a str>,
    /// `spec.displayName`
    pub display_name: &'a str,
    /// `spec.membership`
    pub membership: Membership,
    /// `spec.members`: names, and until when.
    pub members: &'a [(&'a str, Option<Timestamp>)],
    /// The ids of the members that the operator added, from the status.
    pub added: &'a [&'a str],
    /// `spec.adopt`
    pub adopt: Adopt,
    /// `spec.paused`
    pub paused: bool,
}

/// Why a user or group cannot be used as it is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidWish {
    /// The specification does not have the form of the CRD.
    #[error("spec does not have the form of the CRD")]
    Form,
    /// `spec.userName`
    #[error("spec.userName {0}")]
    UserName(NameFault),
    /// `spec.name.givenName`
    #[error("spec.name.givenName {0}")]
    GivenName(NameFault),
    /// `spec.name.familyName`
    #[error("spec.name.familyName {0}")]
    FamilyName(NameFault),
    /// `spec.displayName`
    #[error("spec.displayName {0}")]
    DisplayName(NameFault),
    /// An entry of `spec.members`
    #[error("a userName in spec.members {0}")]
    Member(NameFault),
    /// Two entries of `spec.members` name one user, perhaps in different case.
    #[error("spec.members lists a user twice")]
    MemberTwice,
    /// `membership: Exact` without a list. An absent list must not empty a group.
    #[error("spec.membership is Exact, and spec.members is absent")]
    NoList,
    /// More members than a group may list.
    #[error("spec.members has more than 10000 entries")]
    TooManyMembers,
    /// `status.id` is not one that a bridge can have given.
    #[error("status.id {0}")]
    Id(NameFault),
    /// An id of a member that was added, in the status, is not one that a bridge can have given.
    #[error("an id of a member in the status {0}")]
    AddedId(NameFault),
}

// === impl UserWish ===

impl UserWish {
    /// Reads a `ScimUser` with this uid, and with the id that its status holds.
    ///
    /// # Errors
    /// [`InvalidWish`] names the first field that cannot be used.
    pub fn of(uid: &str, id: Option<&str>, spec: &ScimUserSpec) -> Result<Self, InvalidWish> {
        let ScimUserSpec {
            connection_ref: _,
            user_name,
            name: PersonName {
                given_name,
                family_name,
            },
            state,
            active_until,
            adopt,
            paused,
        } = spec;
        Self::parse(&UserFields {
            uid,
            id,
            user_name,
            given_name,
            family_name,
            state: *state,
            active_until: active_until.as_ref().map(|time| time.0),
            adopt: *adopt,
            paused: *paused,
        })
    }

    /// Parses a user.
    ///
    /// # Errors
    /// [`InvalidWish`] names the first field that cannot be used.
    pub fn parse(fields: &UserFields<'_>) -> Result<Self, InvalidWish> {
        // Destructured in full: a new field has to be thought about here.
        let UserFields {
            uid,
            id,
            user_name,
            given_name,
            family_name,
            state,
            active_until,
            adopt,
            paused,
        } = *fields;
        Ok(Self {
            object: ObjectId::new(uid),
            known: id.map(RemoteId::parse).transpose().map_err(InvalidWish::Id)?,
            user_name: UserName::parse(user_name).map_err(InvalidWish::UserName)?,
            given_name: PlainName::parse(given_name).map_err(InvalidWish::GivenName)?,
            family_name: PlainName::parse(family_name).map_err(InvalidWish::FamilyName)?,
            state,
            active_until,
            adopt,
            paused,
            record: Record::default(),
        })
    }

    /// The wanted state at this time: from `activeUntil` on as if `Suspended` were written.
    #[must_use]
    pub fn state_at(&self, now: Timestamp) -> State {
        match self.active_until {
            Some(until) if until <= now => State::Suspended,
            Some(_) | None => self.state,
        }
    }

    /// When the clock alone changes the wanted state.
    #[must_use]
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.active_until
            .filter(|until| self.state == State::Active && *until > now)
    }
}

// === impl GroupWish ===

impl GroupWish {
    /// Reads a `ScimGroup` with this uid, and with the id that its status holds. No member counts as added before
    /// [`Self::added`] is set.
    ///
    /// # Errors
    /// [`InvalidWish`] names the first field that cannot be used.
    pub fn of(uid: &str, id: Option<&str>, spec: &ScimGroupSpec) -> Result<Self, InvalidWish> {
        let ScimGroupSpec {
            connection_ref: _,
            display_name,
            membership,
            members,
            adopt,
            paused,
        } = spec;
        if members.is_none() && *membership == Membership::Exact {
            return Err(InvalidWish::NoList);
        }
        let members: Vec<_> = members
            .iter()
            .flatten()
            .map(|GroupMember { user_name, until }| (user_name.as_str(), until.as_ref().map(|time| time.0)))
            .collect();
        Self::parse(&GroupFields {
            uid,
            id,
            display_name,
            membership: *membership,
            members: &members,
            added: &[],
            adopt: *adopt,
            paused: *paused,
        })
    }

    /// Parses a group.
    ///
    /// # Errors
    /// [`InvalidWish`] names the first field that cannot be used.
    pub fn parse(fields: &GroupFields<'_>) -> Result<Self, InvalidWish> {
        // Destructured in full: a new field has to be thought about here.
        let GroupFields {
            uid,
            id,
            display_name,
            membership,
            members,
            added,
            adopt,
            paused,
        } = *fields;
        let known = id.map(RemoteId::parse).transpose().map_err(InvalidWish::Id)?;
        let display_name = PlainName::parse(display_name).map_err(InvalidWish::DisplayName)?;
        if members.len() > MAX_MEMBERS {
            return Err(InvalidWish::TooManyMembers);
        }
        let mut names: HashSet<Box<str>> = HashSet::with_capacity(members.len());
        let mut parsed = Vec::with_capacity(members.len());
        for (user_name, until) in members {
            let user_name = UserName::parse(user_name).map_err(InvalidWish::Member)?;
            if !names.insert(Box::from(fold(user_name.as_str()))) {
                return Err(InvalidWish::MemberTwice);
            }
            parsed.push(MemberWish {
                user_name,
                until: *until,
            });
        }
        let mut added: Vec<RemoteId> = added
            .iter()
            .map(|id| RemoteId::parse(id))
            .collect::<Result<_, _>>()
            .map_err(InvalidWish::AddedId)?;
        added.sort();
        added.dedup();
        Ok(Self {
            object: ObjectId::new(uid),
            known,
            display_name,
            membership,
            members: parsed,
            added,
            adopt,
            paused,
            record: Record::default(),
        })
    }

    /// When the clock alone changes the wanted state.
    #[must_use]
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.members
            .iter()
            .filter_map(|member| member.until)
            .filter(|until| *until > now)
            .min()
    }
}

// === impl MemberWish ===

impl MemberWish {
    /// Whether the entry counts at this time.
    #[must_use]
    pub fn is_current(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> UserFields<'static> {
        UserFields {
            uid: "u1",
            id: Some("6NF7ZWCFBBHUXBSGZM5YXY2OSU"),
            user_name: "ada@example.com",
            given_name: "Ada",
            family_name: "Lovelace",
            state: State::Active,
            active_until: None,
            adopt: Adopt::IfUnchanged,
            paused: false,
        }
    }

    fn group() -> GroupFields<'static> {
        GroupFields {
            uid: "g1",
            id: None,
            display_name: "k8s-admins",
            membership: Membership::Additive,
            members: &[("ada@example.com", None), ("kim@example.com", None)],
            added: &["B", "A", "B"],
            adopt: Adopt::IfUnchanged,
            paused: false,
        }
    }

    #[test]
    fn users_that_cannot_be_used() {
        let valid = user();
        for (fields, fault) in [
            (valid, None),
            (
                UserFields {
                    user_name: "ada",
                    ..valid
                },
                Some(InvalidWish::UserName(NameFault::NotAnAddress)),
            ),
            (
                UserFields {
                    given_name: "",
                    ..valid
                },
                Some(InvalidWish::GivenName(NameFault::Empty)),
            ),
            (
                UserFields {
                    family_name: " ",
                    ..valid
                },
                Some(InvalidWish::FamilyName(NameFault::Blank)),
            ),
            (
                UserFields {
                    id: Some("a b"),
                    ..valid
                },
                Some(InvalidWish::Id(NameFault::NotAnId)),
            ),
            (UserFields { id: None, ..valid }, None),
        ] {
            assert_eq!(UserWish::parse(&fields).err(), fault);
        }
    }

    #[test]
    fn groups_that_cannot_be_used() {
        let valid = group();
        let many: Vec<String> = (0..=MAX_MEMBERS).map(|n| format!("u{n}@example.com")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), None)).collect();
        for (fields, fault) in [
            (valid, None),
            (
                GroupFields {
                    display_name: "",
                    ..valid
                },
                Some(InvalidWish::DisplayName(NameFault::Empty)),
            ),
            (
                GroupFields {
                    members: &[("ada@example.com", None), ("ADA@example.com", None)],
                    ..valid
                },
                Some(InvalidWish::MemberTwice),
            ),
            (
                GroupFields {
                    members: &[("ada", None)],
                    ..valid
                },
                Some(InvalidWish::Member(NameFault::NotAnAddress)),
            ),
            (
                GroupFields {
                    members: &many,
                    ..valid
                },
                Some(InvalidWish::TooManyMembers),
            ),
            (
                GroupFields {
                    members: &many[1..],
                    ..valid
                },
                None,
            ),
            (
                GroupFields {
                    added: &[""],
                    ..valid
                },
                Some(InvalidWish::AddedId(NameFault::Empty)),
            ),
            (
                GroupFields {
                    id: Some(""),
                    ..valid
                },
                Some(InvalidWish::Id(NameFault::Empty)),
            ),
        ] {
            assert_eq!(GroupWish::parse(&fields).err(), fault);
        }
        let added = GroupWish::parse(&valid).unwrap().added;
        assert_eq!(format!("{added:?}"), "[A, B]", "in order, each once");
    }

    #[test]
    fn times() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (state, until, now, wanted, next) in [
            (State::Active, None, 100, State::Active, None),
            (State::Active, Some(101), 100, State::Active, Some(101)),
            // The edge itself is after it.
            (State::Active, Some(100), 100, State::Suspended, None),
            (State::Active, Some(99), 100, State::Suspended, None),
            (State::Suspended, Some(101), 100, State::Suspended, None),
        ] {
            let wish = UserWish::parse(&UserFields {
                state,
                active_until: until.map(at),
                ..user()
            })
            .unwrap();
            assert_eq!(wish.state_at(at(now)), wanted, "{until:?}");
            assert_eq!(wish.next_change(at(now)), next.map(at), "{until:?}");
        }
        let members = [
            ("a@example.com", Some(at(101))),
            ("b@example.com", Some(at(105))),
            ("c@example.com", Some(at(100))),
        ];
        let wish = GroupWish::parse(&GroupFields {
            members: &members,
            ..group()
        })
        .unwrap();
        assert_eq!(wish.next_change(at(100)), Some(at(101)));
        assert_eq!(wish.next_change(at(105)), None);
        let current: Vec<_> = wish
            .members
            .iter()
            .map(|member| member.is_current(at(100)))
            .collect();
        assert_eq!(current, [true, true, false]);
    }
}
