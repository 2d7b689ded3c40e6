//! One request that changes a directory, and what its answer shows.
//!
//! An [`Order`] is all that a bridge gets from the operator. It has no form that deletes, replaces a resource or a list,
//! or removes members without naming each. So no fault elsewhere can lead to such a request.

use std::fmt;

use super::names::{PlainName, RemoteId, UserName};

/// The most members in one request: some servers refuse more.
pub const MAX_MEMBERS: usize = 100;

/// One request that changes one user or group. It is sent in exactly one form.
#[derive(Clone, PartialEq, Eq)]
pub enum Order {
    /// A new, active user.
    CreateUser {
        /// `userName`, and the primary address.
        user_name: UserName,
        /// `name.givenName`
        given_name: PlainName,
        /// `name.familyName`
        family_name: PlainName,
    },
    /// A new group, without members.
    CreateGroup {
        /// `displayName`
        display_name: PlainName,
    },
    /// A user is suspended, or active again.
    SetActive {
        /// Who.
        user: RemoteId,
        /// `active`
        active: bool,
    },
    /// A user gets the names that are given.
    RenameUser {
        /// Who.
        user: RemoteId,
        /// `userName`
        user_name: Option<UserName>,
        /// `name.givenName`
        given_name: Option<PlainName>,
        /// `name.familyName`
        family_name: Option<PlainName>,
    },
    /// A group gets another name.
    RenameGroup {
        /// Which.
        group: RemoteId,
        /// `displayName`
        display_name: PlainName,
    },
    /// Users join a group.
    AddMembers {
        /// Which.
        group: RemoteId,
        /// Who: at least one, at most [`MAX_MEMBERS`].
        users: Vec<RemoteId>,
    },
    /// Users leave a group.
    RemoveMembers {
        /// Which.
        group: RemoteId,
        /// Who: at least one, at most [`MAX_MEMBERS`].
        users: Vec<RemoteId>,
    },
}

/// What an order is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A user who is there.
    User(&'a RemoteId),
    /// A group that is there.
    Group(&'a RemoteId),
    /// A user who is created.
    NewUser,
    /// A group that is created.
    NewGroup,
}

/// What came of an [`Order`]. No answer proves a change: only a later read does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 2xx. The id that the answer shows, if it shows one.
    Accepted(Option<RemoteId>),
    /// The change may be done or not: no answer came to a request that was sent, or one of class 5xx, or one that a
    /// front may have given.
    Unclear,
    /// Nothing was sent, or a front refused it, or the key.
    NotSent,
    /// 429. Nothing was done.
    RateLimited,
    /// 404. The user or group, or one of the members, is not there.
    NotFound,
    /// 409. Something there has the name.
    Conflict,
    /// 405, 415 or 501, or a `scimType` that refuses the form of the request.
    Unsupported,
    /// 413, or `tooMany`.
    TooMany,
    /// Another 4xx: the bridge refuses the values.
    Rejected(Option<ScimType>),
}

/// The error types of RFC 7644, section 3.12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the RFC says what they mean")]
pub enum ScimType {
    InvalidFilter,
    TooMany,
    Uniqueness,
    Mutability,
    InvalidSyntax,
    InvalidPath,
    NoTarget,
    InvalidValue,
    InvalidVers,
    Sensitive,
}

// === impl Order ===

impl Order {
    /// What it is about.
    #[must_use]
    pub const fn target(&self) -> Target<'_> {
        match self {
            Self::CreateUser { .. } => Target::NewUser,
            Self::CreateGroup { .. } => Target::NewGroup,
            Self::SetActive { user, .. } | Self::RenameUser { user, .. } => Target::User(user),
            Self::RenameGroup { group, .. }
            | Self::AddMembers { group, .. }
            | Self::RemoveMembers { group, .. } => Target::Group(group),
        }
    }
}

impl<'a> Target<'a> {
    /// The id of the user or group. `None` before it is created.
    #[must_use]
    pub const fn id(self) -> Option<&'a RemoteId> {
        match self {
            Self::User(id) | Self::Group(id) => Some(id),
            Self::NewUser | Self::NewGroup => None,
        }
    }
}

impl fmt::Debug for Order {
    /// Shows no name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateUser { .. } => "CreateUser(..)",
            Self::CreateGroup { .. } => "CreateGroup(..)",
            Self::SetActive { active: true, .. } => "Reactivate(..)",
            Self::SetActive { active: false, .. } => "Suspend(..)",
            Self::RenameUser { .. } => "RenameUser(..)",
            Self::RenameGroup { .. } => "RenameGroup(..)",
            Self::AddMembers { .. } => "AddMembers(..)",
            Self::RemoveMembers { .. } => "RemoveMembers(..)",
        })
    }
}

// === impl ScimType ===

impl ScimType {
    /// Every type.
    pub const ALL: [Self; 10] = [
        Self::InvalidFilter,
        Self::TooMany,
        Self::Uniqueness,
        Self::Mutability,
        Self::InvalidSyntax,
        Self::InvalidPath,
        Self::NoTarget,
        Self::InvalidValue,
        Self::InvalidVers,
        Self::Sensitive,
    ];

    /// As it stands in `scimType`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidFilter => "invalidFilter",
            Self::TooMany => "tooMany",
            Self::Uniqueness => "uniqueness",
            Self::Mutability => "mutability",
            Self::InvalidSyntax => "invalidSyntax",
            Self::InvalidPath => "invalidPath",
            Self::NoTarget => "noTarget",
            Self::InvalidValue => "invalidValue",
            Self::InvalidVers => "invalidVers",
            Self::Sensitive => "sensitive",
        }
    }

    /// Reads a `scimType`, in any case. `None` for a text that the RFC does not know.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(text))
    }
}
