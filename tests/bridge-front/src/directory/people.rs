//! Users and groups as the directory keeps them, and the seed that it is filled with.

use serde::{Deserialize, Serialize};

/// A user.
///
/// In JSON: `{"userName": "ada@example.com", "name": {"givenName": "Ada", "familyName": "Example"}}`; the rest is
/// derived as 1Password does it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct User {
    /// 26 characters of base 32 in upper case. If it is empty, the directory makes one.
    #[serde(default)]
    pub id: String,
    /// The name that the person signs in with.
    pub user_name: String,
    /// The parts of the person's name.
    #[serde(default)]
    pub name: Name,
    /// If it is empty, it follows from the name.
    #[serde(default)]
    pub display_name: String,
    /// If there are none, the user name becomes the primary one.
    #[serde(default)]
    pub emails: Vec<Email>,
    /// `false` is a suspended person.
    #[serde(default = "active")]
    pub active: bool,
    /// What a client calls this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}

/// The parts of a person's name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Name {
    /// The given name.
    pub given_name: String,
    /// The family name.
    pub family_name: String,
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Email {
    /// The address itself.
    pub value: String,
    /// Whether it is the one to write to.
    #[serde(default)]
    pub primary: bool,
}

/// A group.
///
/// In JSON: `{"displayName": "Staff", "members": ["ada@example.com"]}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Group {
    /// 26 characters of base 32 in lower case. If it is empty, the directory makes one.
    #[serde(default)]
    pub id: String,
    /// The name of the group.
    pub display_name: String,
    /// The members in the order in which they were added. An id may be here twice.
    #[serde(default)]
    pub members: Vec<Member>,
    /// What a client calls this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}

/// A member of a group.
///
/// In a seed a text is enough: the user name or the id of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "MemberForm")]
pub struct Member {
    /// The id of the member.
    pub value: String,
    /// What the member is.
    #[serde(rename = "type")]
    pub kind: MemberKind,
}

impl Member {
    /// A user as a member.
    pub fn user(id: impl Into<String>) -> Self {
        Self {
            value: id.into(),
            kind: MemberKind::User,
        }
    }
}

/// What a member of a group is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberKind {
    /// A person.
    #[default]
    User,
    /// A group within a group.
    Group,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum MemberForm {
    Name(String),
    Entry {
        value: String,
        #[serde(default, rename = "type")]
        kind: MemberKind,
    },
}

impl From<MemberForm> for Member {
    fn from(form: MemberForm) -> Self {
        match form {
            MemberForm::Name(name) => Self::user(name),
            MemberForm::Entry { value, kind } => Self { value, kind },
        }
    }
}

const fn active() -> bool {
    true
}

impl User {
    /// An active user with what 1Password derives from these three. The directory makes the id.
    pub fn new(
        user_name: impl Into<String>,
        given_name: impl Into<String>,
        family_name: impl Into<String>,
    ) -> Self {
        let name = Name {
            given_name: given_name.into(),
            family_name: family_name.into(),
        };
        Self {
            id: String::new(),
            user_name: user_name.into(),
            name,
            display_name: String::new(),
            emails: Vec::new(),
            active: true,
            external_id: None,
        }
        .completed()
    }

    /// The same with what 1Password derives when it is left out.
    pub(crate) fn completed(mut self) -> Self {
        if self.name == Name::default() {
            let whole = if self.display_name.is_empty() {
                self.user_name.split('@').next().unwrap_or_default()
            } else {
                &self.display_name
            };
            self.name = Name::split(whole);
        }
        if self.display_name.is_empty() {
            self.display_name = self.name.formatted();
        }
        if self.emails.is_empty() {
            self.emails = vec![Email {
                value: self.user_name.clone(),
                primary: true,
            }];
        }
        self
    }
}

impl Name {
    /// A display name in two parts: everything before the first blank is the given name (recorded).
    pub(crate) fn split(display_name: &str) -> Self {
        let (given, family) = display_name.split_once(' ').unwrap_or((display_name, ""));
        Self {
            given_name: given.to_owned(),
            family_name: family.to_owned(),
        }
    }

    /// The whole name in one text.
    pub(crate) fn formatted(&self) -> String {
        let parts = [self.given_name.as_str(), self.family_name.as_str()];
        parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

impl Group {
    /// A group of these users. The directory makes the id.
    pub fn new(
        display_name: impl Into<String>,
        members: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            display_name: display_name.into(),
            members: members.into_iter().map(Member::user).collect(),
            ..Self::default()
        }
    }
}

/// What a directory is filled with.
///
/// In JSON: `{"users": [...], "groups": [...]}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Seed {
    /// The users.
    pub users: Vec<User>,
    /// The groups. A member is named by the id or by the user name of a user; any other text stays as it is.
    pub groups: Vec<Group>,
}

impl Seed {
    /// So many users and groups, every user in one group: `user1@example.com` is in `Group 1`.
    #[must_use]
    pub fn of(users: u32, groups: u32) -> Self {
        let address = |number| format!("user{number}@example.com");
        let members = |group: u32| {
            let step = usize::try_from(groups).unwrap_or(usize::MAX);
            (group..=users).step_by(step).map(address)
        };
        Self {
            users: (1..=users)
                .map(|number| User::new(address(number), "User", number.to_string()))
                .collect(),
            groups: (1..=groups)
                .map(|number| Group::new(format!("Group {number}"), members(number)))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Group, Member, MemberKind, Name, Seed, User};

    #[test]
    fn what_is_left_out_is_derived() {
        let user = |seed| serde_json::from_value::<User>(seed).unwrap().completed();
        let ada = user(
            json!({"userName": "ada@example.com", "name": {"givenName": "Ada", "familyName": "Example"}}),
        );
        assert_eq!(ada, User::new("ada@example.com", "Ada", "Example"));
        assert_eq!((ada.display_name.as_str(), ada.active), ("Ada Example", true));
        assert_eq!(ada.emails[0].value, "ada@example.com");
        let cases = [
            (
                json!({"userName": "a", "displayName": "Ada B. Example"}),
                "Ada",
                "B. Example",
            ),
            (json!({"userName": "a", "displayName": "Ada"}), "Ada", ""),
            (json!({"userName": "ada@example.com"}), "ada", ""),
        ];
        for (seed, given, family) in cases {
            let name = Name {
                given_name: given.to_owned(),
                family_name: family.to_owned(),
            };
            assert_eq!(user(seed).name, name);
        }
    }

    #[test]
    fn members_are_texts_or_entries() {
        let group: Group = serde_json::from_value(
            json!({"displayName": "G", "members": ["a", {"value": "b", "type": "Group"}]}),
        )
        .unwrap();
        let nested = Member {
            value: "b".to_owned(),
            kind: MemberKind::Group,
        };
        assert_eq!(group.members, [Member::user("a"), nested]);
        assert!(serde_json::from_value::<Seed>(json!({"users": [{"userName": "a", "mail": "b"}]})).is_err());
    }

    #[test]
    fn a_seed_spreads_its_users() {
        let seed = Seed::of(5, 2);
        let members: Vec<_> = seed.groups.iter().map(|group| group.members.len()).collect();
        assert_eq!((seed.users.len(), members), (5, vec![3, 2]));
        assert!(Seed::of(2, 0).groups.is_empty());
    }
}
