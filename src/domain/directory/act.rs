//! The writes: one change of one thing at a time.
//!
//! No act deletes something, and none replaces a list. A bridge gets nothing else from the operator.

use super::{
    budget::{Digest, DigestKey, Digester, Kind},
    ledger::Key,
    names::{ObjectId, PlainName, RemoteId, UserName},
    snapshot::{Group, User},
    wish::{GroupWish, UserWish},
};

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act<'a> {
    /// The object that asks for it.
    pub object: &'a ObjectId,
    /// The change.
    pub change: Change<'a>,
}

/// One change. None deletes something, and none replaces a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// The user may no longer sign in.
    Suspend {
        /// Who.
        user: &'a User,
    },
    /// The user leaves the group.
    Remove {
        /// From where.
        group: &'a Group,
        /// Who.
        user: &'a User,
        /// Why.
        cause: RemovalCause,
    },
    /// The user gets the names that are given.
    RenameUser {
        /// Who.
        user: &'a User,
        /// The new `userName`, where it differs.
        user_name: Option<&'a UserName>,
        /// The new `name.givenName`, where it differs.
        given_name: Option<&'a PlainName>,
        /// The new `name.familyName`, where it differs.
        family_name: Option<&'a PlainName>,
    },
    /// The group gets another name.
    RenameGroup {
        /// Which.
        group: &'a Group,
        /// The new name.
        display_name: &'a PlainName,
    },
    /// The suspended user may sign in again.
    Reactivate {
        /// Who.
        user: &'a User,
    },
    /// A new user.
    CreateUser {
        /// As declared.
        wish: &'a UserWish,
    },
    /// A new group, without members.
    CreateGroup {
        /// As declared.
        wish: &'a GroupWish,
    },
    /// The user joins the group. Where either does not exist yet, this follows the act that makes it.
    Add {
        /// To where.
        group: Host<'a>,
        /// Who.
        user: Joiner<'a>,
    },
}

/// The user of an addition. Nobody joins before a read has shown an active account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joiner<'a> {
    /// A read shows an active account.
    Active(&'a User),
    /// The account is suspended, and the plan makes it active again.
    Returning(&'a User),
    /// The plan creates the user.
    Coming(&'a UserWish),
}

/// The group of an addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host<'a> {
    /// A read shows the group.
    Present(&'a Group),
    /// The plan creates the group.
    Coming(&'a GroupWish),
}

/// The value on which a removal rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RemovalCause {
    /// The user is declared suspended, and the membership is the operator's to remove.
    Suspended,
    /// The entry's time has passed.
    Expired,
    /// The list is there and does not hold the user.
    NotListed,
}

// === impl Joiner, Host ===

impl<'a> Joiner<'a> {
    /// The user's id; `None` before there is one.
    #[must_use]
    pub const fn id(self) -> Option<&'a RemoteId> {
        match self {
            Self::Active(user) | Self::Returning(user) => Some(&user.id),
            Self::Coming(_) => None,
        }
    }

    /// Its place among others, what it is called in a digest, and its id or, before it has one, its name.
    fn key(self) -> (u8, &'static str, &'a str) {
        match self {
            Self::Active(user) => (0, "active", user.id.as_str()),
            Self::Returning(user) => (1, "returning", user.id.as_str()),
            Self::Coming(wish) => (2, "coming", wish.user_name.as_str()),
        }
    }
}

impl<'a> Host<'a> {
    /// As for [`Joiner`].
    fn key(self) -> (u8, &'static str, &'a str) {
        match self {
            Self::Present(group) => (0, "present", group.id.as_str()),
            Self::Coming(wish) => (3, "coming", wish.display_name.as_str()),
        }
    }
}

// === impl Change ===

impl<'a> Change<'a> {
    /// The kind, by which it is counted.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Suspend { .. } => Kind::Suspension,
            Self::Remove { .. } => Kind::Removal,
            Self::RenameUser { .. } | Self::RenameGroup { .. } => Kind::Rename,
            Self::Reactivate { .. } | Self::CreateUser { .. } | Self::CreateGroup { .. } => Kind::Creation,
            Self::Add { .. } => Kind::Addition,
        }
    }

    /// Whether it creates a user or a group.
    #[must_use]
    pub const fn creates(&self) -> bool {
        matches!(self, Self::CreateUser { .. } | Self::CreateGroup { .. })
    }

    /// Whether it can be sent only after creations of the same plan.
    #[must_use]
    pub const fn follows_creation(&self) -> bool {
        match self {
            Self::Add { group, user } => !matches!((group, user), (Host::Present(_), Joiner::Active(_))),
            Self::Suspend { .. }
            | Self::Remove { .. }
            | Self::RenameUser { .. }
            | Self::RenameGroup { .. }
            | Self::Reactivate { .. }
            | Self::CreateUser { .. }
            | Self::CreateGroup { .. } => false,
        }
    }

    /// Where it comes among those of its kind. Memberships of suspended users come first, and users before groups.
    /// What follows a creation comes last. The rest is by id or name.
    pub(super) fn place(&self) -> (u8, &'a str, &'a str) {
        match self {
            Self::Suspend { user } | Self::Reactivate { user } | Self::RenameUser { user, .. } => {
                (0, user.id.as_str(), "")
            }
            Self::Remove { group, user, cause } => {
                let place = u8::from(*cause != RemovalCause::Suspended);
                (place, group.id.as_str(), user.id.as_str())
            }
            Self::Add { group, user } => {
                let ((group_place, _, group), (user_place, _, user)) = (group.key(), user.key());
                (group_place + user_place, group, user)
            }
            Self::CreateUser { wish } => (1, wish.user_name.as_str(), ""),
            Self::RenameGroup { group, .. } => (2, group.id.as_str(), ""),
            Self::CreateGroup { wish } => (2, wish.display_name.as_str(), ""),
        }
    }

    /// Its name in the ledger.
    #[must_use]
    pub fn key(&self, object: &ObjectId) -> Key {
        let member = match self {
            // A reactivation is no creation, although it counts as one.
            Self::Remove { user, .. } | Self::Reactivate { user } => Some(&user.id),
            Self::Add { user, .. } => user.id(),
            Self::Suspend { .. }
            | Self::RenameUser { .. }
            | Self::RenameGroup { .. }
            | Self::CreateUser { .. }
            | Self::CreateGroup { .. } => None,
        };
        Key {
            object: object.clone(),
            kind: self.kind(),
            member: member.cloned(),
        }
    }

    /// The digest of all that would be written.
    pub(super) fn digest(&self, key: &DigestKey) -> Digest {
        let mut digester = Digester::of_act(key);
        self.add_to(&mut digester);
        digester.finish()
    }

    fn add_to(&self, digester: &mut Digester) {
        match self {
            Self::Suspend { user } => digest_all(digester, &["suspend", user.id.as_str()]),
            Self::Remove {
                group,
                user,
                cause: _,
            } => {
                digest_all(digester, &["remove", group.id.as_str(), user.id.as_str()]);
            }
            Self::RenameUser {
                user,
                user_name,
                given_name,
                family_name,
            } => {
                digest_all(digester, &["rename user", user.id.as_str()]);
                for (field, name) in [
                    ("userName", user_name.map(UserName::as_str)),
                    ("givenName", given_name.map(PlainName::as_str)),
                    ("familyName", family_name.map(PlainName::as_str)),
                ] {
                    if let Some(name) = name {
                        digest_all(digester, &[field, name]);
                    }
                }
            }
            Self::RenameGroup { group, display_name } => {
                digest_all(
                    digester,
                    &["rename group", group.id.as_str(), display_name.as_str()],
                );
            }
            Self::Reactivate { user } => digest_all(digester, &["reactivate", user.id.as_str()]),
            Self::CreateUser { wish } => digest_all(
                digester,
                &[
                    "create user",
                    wish.user_name.as_str(),
                    wish.given_name.as_str(),
                    wish.family_name.as_str(),
                ],
            ),
            Self::CreateGroup { wish } => digest_all(digester, &["create group", wish.display_name.as_str()]),
            Self::Add { group, user } => {
                let ((_, group_is, group), (_, user_is, user)) = (group.key(), user.key());
                digest_all(digester, &["add", group_is, group, user_is, user]);
            }
        }
    }
}

fn digest_all(digester: &mut Digester, texts: &[&str]) {
    for text in texts {
        digester.add(text);
    }
}
