//! What a bridge has, as complete lists have shown it.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use super::{
    names::{RemoteId, fold},
    walk::{Entry, Listing},
};
pub use crate::api::directory::MembersReadBy;

/// Whether a user may sign in, as far as a read says. `Active` includes people who were only invited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activity {
    /// `active: true`
    Active,
    /// `active: false`
    Suspended,
    /// The entry does not say.
    Unsaid,
}

/// One entry of `/scim/Users`. A text that is too long to be kept is `None`, as if it were not there.
#[derive(Clone, PartialEq, Eq)]
pub struct UserEntry {
    /// `id`
    pub id: RemoteId,
    /// `userName`
    pub user_name: Option<Box<str>>,
    /// `active`
    pub active: Activity,
    /// `name.givenName`
    pub given_name: Option<Box<str>>,
    /// `name.familyName`
    pub family_name: Option<Box<str>>,
    /// The values of `groups`: in order, each once. `None` where the key is not there, which says nothing.
    pub groups: Option<Vec<Box<str>>>,
}

/// One entry of `/scim/Groups`, or one group by itself.
#[derive(Clone, PartialEq, Eq)]
pub struct GroupEntry {
    /// `id`
    pub id: RemoteId,
    /// `displayName`
    pub display_name: Option<Box<str>>,
    /// `members`: in order, each once. `None` where the key is not there, which says nothing.
    pub members: Option<Vec<MemberEntry>>,
}

/// One value of `members`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberEntry {
    /// `value`: an id, or a user name with one server.
    pub value: Box<str>,
    /// Whether it is said to be a group.
    pub is_group: bool,
}

/// A user of the bridge.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The id.
    pub id: RemoteId,
    /// `userName`, as the bridge spells it.
    pub user_name: Option<Box<str>>,
    /// `active`
    pub active: Activity,
    /// `name.givenName`
    pub given_name: Option<Box<str>>,
    /// `name.familyName`
    pub family_name: Option<Box<str>>,
}

/// A group of the bridge.
#[derive(Clone, PartialEq, Eq)]
pub struct Group {
    /// The id.
    pub id: RemoteId,
    /// `displayName`, as the bridge spells it.
    pub display_name: Option<Box<str>>,
    /// Who is in it.
    pub members: Members,
}

/// The place of a user in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserIndex(u32);

/// The place of a group in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupIndex(u32);

/// The known members of a group.
#[derive(Clone, PartialEq, Eq)]
pub enum Members {
    /// Nothing: no way to read members is proven, or a member's name leads to several users.
    Unread,
    /// A way is proven, and says nothing about this group. It is empty on most servers, which proves nothing.
    Unsaid,
    /// These.
    Listed {
        /// Users of this snapshot, in order, each once.
        users: Box<[UserIndex]>,
        /// How many others: groups, and values that no user of this snapshot has.
        others: u32,
    },
}

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<I> {
    /// Nothing has this name.
    Nothing,
    /// This one.
    One(I),
    /// More than one: never to be picked from.
    Several,
}

/// A complete directory at one moment.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    users: Vec<User>,
    groups: Vec<Group>,
    users_by_name: HashMap<Box<str>, Option<UserIndex>>,
    groups_by_name: HashMap<Box<str>, Option<GroupIndex>>,
    members_read_by: Option<MembersReadBy>,
}

impl Entry for UserEntry {
    fn id(&self) -> &RemoteId {
        &self.id
    }

    fn bytes(&self) -> usize {
        let Self {
            id,
            user_name,
            active: _,
            given_name,
            family_name,
            groups,
        } = self;
        let names = [user_name, given_name, family_name];
        ENTRY
            + 2 * id.as_str().len()
            + names.into_iter().flatten().map(|name| text(name)).sum::<usize>()
            + groups.iter().flatten().map(|group| text(group)).sum::<usize>()
    }
}

impl Entry for GroupEntry {
    fn id(&self) -> &RemoteId {
        &self.id
    }

    fn bytes(&self) -> usize {
        let Self {
            id,
            display_name,
            members,
        } = self;
        ENTRY
            + 2 * id.as_str().len()
            + display_name.as_deref().map_or(0, text)
            + members
                .iter()
                .flatten()
                .map(|member| text(&member.value))
                .sum::<usize>()
    }
}

/// An entry without its texts, and its place in a map by id.
const ENTRY: usize = 256;

/// A text, its pointer, and what the allocator adds.
const fn text(text: &str) -> usize {
    40 + text.len()
}

// === impl Snapshot ===

impl Snapshot {
    /// Puts complete lists together. `details` are groups that were read by themselves.
    ///
    /// Only a member proves a way to read members, and only in these lists. A bridge that showed members before and shows
    /// none in any group may have stopped to show them.
    #[must_use]
    pub fn new(users: Listing<UserEntry>, groups: Listing<GroupEntry>, details: Vec<GroupEntry>) -> Self {
        let entries = users.into_entries();
        let group_entries = groups.into_entries();
        let shows = |group: &GroupEntry| group.members.as_ref().is_some_and(|members| !members.is_empty());
        let members_read_by = if group_entries.iter().any(shows) {
            Some(MembersReadBy::GroupList)
        } else if details.iter().any(shows) {
            Some(MembersReadBy::Group)
        } else if entries
            .iter()
            .any(|user| user.groups.as_ref().is_some_and(|groups| !groups.is_empty()))
        {
            Some(MembersReadBy::UserGroups)
        } else {
            None
        };
        let mut named_by_user: HashMap<Box<str>, Vec<UserIndex>> = HashMap::new();
        let mut users = Vec::with_capacity(entries.len());
        for (index, entry) in (0..).map(UserIndex).zip(entries) {
            let UserEntry {
                id,
                user_name,
                active,
                given_name,
                family_name,
                groups,
            } = entry;
            if members_read_by == Some(MembersReadBy::UserGroups) {
                for group in groups.unwrap_or_default() {
                    named_by_user.entry(group).or_default().push(index);
                }
            }
            users.push(User {
                id,
                user_name,
                active,
                given_name,
                family_name,
            });
        }
        let mut snapshot = Self {
            users_by_name: by_name(
                (0..)
                    .map(UserIndex)
                    .zip(users.iter().map(|user| user.user_name.as_deref())),
            ),
            groups_by_name: by_name(
                (0..)
                    .map(GroupIndex)
                    .zip(group_entries.iter().map(|group| group.display_name.as_deref())),
            ),
            users,
            groups: Vec::new(),
            members_read_by,
        };
        let mut details: HashMap<RemoteId, Option<Vec<MemberEntry>>> =
            if members_read_by == Some(MembersReadBy::Group) {
                details
                    .into_iter()
                    .map(|group| (group.id, group.members))
                    .collect()
            } else {
                HashMap::new()
            };
        let groups = group_entries
            .into_iter()
            .map(
                |GroupEntry {
                     id,
                     display_name,
                     members,
                 }| {
                    let members = match members_read_by {
                        None => Members::Unread,
                        Some(MembersReadBy::GroupList) => snapshot.resolve(members),
                        Some(MembersReadBy::Group) => snapshot.resolve(details.remove(&id).flatten()),
                        Some(MembersReadBy::UserGroups) => {
                            named_by_user
                                .remove(id.as_str())
                                .map_or(Members::Unsaid, |users| Members::Listed {
                                    users: users.into(),
                                    others: 0,
                                })
                        }
                    };
                    Group {
                        id,
                        display_name,
                        members,
                    }
                },
            )
            .collect();
        snapshot.groups = groups;
        snapshot
    }

    /// Takes in a user who was read by id.
    pub fn amend_user(&mut self, entry: UserEntry) {
        let UserEntry {
            id,
            user_name,
            active,
            given_name,
            family_name,
            groups: _,
        } = entry;
        let user = User {
            id,
            user_name,
            active,
            given_name,
            family_name,
        };
        let place = self.users.binary_search_by(|known| known.id.cmp(&user.id));
        let is_renamed = match place {
            Ok(place) => self.users.get_mut(place).is_some_and(|known| {
                let before = std::mem::replace(known, user);
                before.user_name != known.user_name
            }),
            Err(place) => {
                self.users.insert(place, user);
                self.make_room(place);
                true
            }
        };
        if is_renamed {
            let names = self.users.iter().map(|user| user.user_name.as_deref());
            self.users_by_name = by_name((0..).map(UserIndex).zip(names));
        }
    }

    /// A user came to this place: later ones have other indices now.
    fn make_room(&mut self, place: usize) {
        for group in &mut self.groups {
            if let Members::Listed { users, .. } = &mut group.members {
                for user in users.iter_mut().filter(|user| user.place() >= place) {
                    *user = UserIndex(user.0.saturating_add(1));
                }
            }
        }
    }

    /// Takes in a group that was read by id. A read that shows no member says nothing about the members, unless it should
    /// be empty now: servers leave an empty list out, and some show members only in their lists.
    pub fn amend_group(&mut self, entry: GroupEntry, should_be_empty: bool) {
        let GroupEntry {
            id,
            display_name,
            members,
        } = entry;
        let shown = members.filter(|members| !members.is_empty());
        let members = match shown {
            Some(members) => {
                self.members_read_by.get_or_insert(MembersReadBy::Group);
                Some(self.resolve(Some(members)))
            }
            None if should_be_empty && self.members_read_by.is_some() => Some(Members::Listed {
                users: Box::default(),
                others: 0,
            }),
            None => None,
        };
        match self.groups.binary_search_by(|known| known.id.cmp(&id)) {
            Ok(place) => {
                if let Some(known) = self.groups.get_mut(place) {
                    known.display_name = display_name;
                    known.members =
                        members.unwrap_or_else(|| std::mem::replace(&mut known.members, Members::Unread));
                }
            }
            Err(place) => {
                let nobody = if self.members_read_by.is_some() {
                    Members::Unsaid
                } else {
                    Members::Unread
                };
                let group = Group {
                    id,
                    display_name,
                    members: members.unwrap_or(nobody),
                };
                self.groups.insert(place, group);
            }
        }
        let names = self.groups.iter().map(|group| group.display_name.as_deref());
        self.groups_by_name = by_name((0..).map(GroupIndex).zip(names));
    }

    /// The ids of the users in a group of which a read has shown members before. Where the lists show no member of it, and
    /// those of other groups, it is empty: servers leave an empty list out.
    #[must_use]
    pub fn members_left(&self, id: &RemoteId) -> Option<BTreeSet<RemoteId>> {
        let is_of_lists = matches!(
            self.members_read_by,
            Some(MembersReadBy::GroupList | MembersReadBy::UserGroups)
        );
        let group = self.group_by_id(id).and_then(|index| self.group(index))?;
        match group.members {
            Members::Unsaid if is_of_lists => Some(BTreeSet::new()),
            Members::Unsaid | Members::Unread | Members::Listed { .. } => self.members_of(id),
        }
    }

    /// The ids of the users whom a group lists. `None` if nobody knows.
    #[must_use]
    pub fn members_of(&self, id: &RemoteId) -> Option<BTreeSet<RemoteId>> {
        let group = self.group_by_id(id).and_then(|index| self.group(index))?;
        match &group.members {
            Members::Unread | Members::Unsaid => None,
            Members::Listed { users, others: _ } => Some(
                users
                    .iter()
                    .filter_map(|user| self.user(*user))
                    .map(|user| user.id.clone())
                    .collect(),
            ),
        }
    }

    /// Finds the users that a group lists: by id, else by user name. Two entries of one user are one member.
    fn resolve(&self, members: Option<Vec<MemberEntry>>) -> Members {
        let Some(members) = members else {
            return Members::Unsaid;
        };
        let mut others = 0;
        let mut users = Vec::with_capacity(members.len());
        for MemberEntry { value, is_group } in members {
            let user = match self.index_of_text(&value) {
                Some(user) => Some(user),
                None => match self.user_named(&fold(&value)) {
                    Found::One(user) => Some(user),
                    Found::Nothing => None,
                    // Any of them may be the member, so nobody may be added or removed.
                    Found::Several => return Members::Unread,
                },
            };
            match user {
                Some(user) if !is_group => users.push(user),
                Some(_) | None => others += 1,
            }
        }
        users.sort_unstable();
        users.dedup();
        Members::Listed {
            users: users.into(),
            others,
        }
    }

    fn index_of_text(&self, id: &str) -> Option<UserIndex> {
        self.users
            .binary_search_by(|user| user.id.as_str().cmp(id))
            .ok()
            .and_then(|index| u32::try_from(index).ok())
            .map(UserIndex)
    }

    /// The memory that it takes, in bytes. It is not exact, but no text is left out.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let Self {
            users,
            groups,
            users_by_name: _,
            groups_by_name: _,
            members_read_by: _,
        } = self;
        let of_user = |user: &User| {
            let names = [&user.user_name, &user.given_name, &user.family_name];
            let texts = names.into_iter().flatten().map(|name| text(name)).sum::<usize>();
            ENTRY + user.id.as_str().len() + texts + user.user_name.as_deref().map_or(0, text)
        };
        let of_group = |group: &Group| {
            let members = match &group.members {
                Members::Unread | Members::Unsaid => 0,
                Members::Listed { users, others: _ } => size_of_val::<[UserIndex]>(users),
            };
            ENTRY + group.id.as_str().len() + 2 * group.display_name.as_deref().map_or(0, text) + members
        };
        users.iter().map(of_user).sum::<usize>() + groups.iter().map(of_group).sum::<usize>()
    }

    /// The users, in the order of their ids.
    #[must_use]
    pub fn users(&self) -> &[User] {
        &self.users
    }

    /// The groups, in the order of their ids.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Where the members of groups can be read; `None` where no way is proven.
    #[must_use]
    pub const fn members_read_by(&self) -> Option<MembersReadBy> {
        self.members_read_by
    }

    /// The user with an index of this snapshot.
    #[must_use]
    pub fn user(&self, index: UserIndex) -> Option<&User> {
        self.users.get(index.place())
    }

    /// The group with an index of this snapshot.
    #[must_use]
    pub fn group(&self, index: GroupIndex) -> Option<&Group> {
        self.groups.get(index.place())
    }

    /// The user with this id.
    #[must_use]
    pub fn user_by_id(&self, id: &RemoteId) -> Option<UserIndex> {
        self.index_of_text(id.as_str())
    }

    /// The group with this id.
    #[must_use]
    pub fn group_by_id(&self, id: &RemoteId) -> Option<GroupIndex> {
        self.groups
            .binary_search_by(|group| group.id.cmp(id))
            .ok()
            .and_then(|index| u32::try_from(index).ok())
            .map(GroupIndex)
    }

    /// The user whose name has this [`fold`].
    #[must_use]
    pub fn user_named(&self, folded: &str) -> Found<UserIndex> {
        Found::of(self.users_by_name.get(folded))
    }

    /// The group whose name has this [`fold`].
    #[must_use]
    pub fn group_named(&self, folded: &str) -> Found<GroupIndex> {
        Found::of(self.groups_by_name.get(folded))
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Snapshot({} users, {} groups, members by {:?})",
            self.users.len(),
            self.groups.len(),
            self.members_read_by
        )
    }
}

fn by_name<'a, I: Copy>(names: impl Iterator<Item = (I, Option<&'a str>)>) -> HashMap<Box<str>, Option<I>> {
    let mut found = HashMap::new();
    for (index, name) in names {
        if let Some(name) = name {
            found
                .entry(fold(name).into())
                .and_modify(|entry| *entry = None)
                .or_insert(Some(index));
        }
    }
    found.shrink_to_fit();
    found
}

// === impl Found ===

impl<I: Copy> Found<I> {
    const fn of(entry: Option<&Option<I>>) -> Self {
        match entry {
            None => Self::Nothing,
            Some(Some(index)) => Self::One(*index),
            Some(None) => Self::Several,
        }
    }
}

// === impl UserIndex, GroupIndex ===

impl UserIndex {
    /// Its place in [`Snapshot::users`].
    #[must_use]
    pub const fn place(self) -> usize {
        self.0 as usize
    }
}

impl GroupIndex {
    /// Its place in [`Snapshot::groups`].
    #[must_use]
    pub const fn place(self) -> usize {
        self.0 as usize
    }
}

// === Debug without names ===

impl fmt::Debug for UserEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserEntry({:?}, {:?})", self.id, self.active)
    }
}

impl fmt::Debug for GroupEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "GroupEntry({:?}, members: {:?})",
            self.id,
            self.members.as_ref().map(Vec::len)
        )
    }
}

impl fmt::Debug for MemberEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One server gives the user name as the value.
        f.write_str("MemberEntry(..)")
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User({:?}, {:?})", self.id, self.active)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({:?}, {:?})", self.id, self.members)
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread => f.write_str("Unread"),
            Self::Unsaid => f.write_str("Unsaid"),
            Self::Listed { users, others } => write!(f, "{} users, {others} others", users.len()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::directory::walk::{Page, Progress, Walk};

    pub(in crate::domain::directory) fn listing<T: Entry>(entries: Vec<T>) -> Listing<T> {
        let total = entries.len() as u64;
        let Progress::More(walk) = Walk::new().feed(Ok(Page { total, entries })) else {
            panic!("not taken");
        };
        let Progress::Complete(listing) = walk.feed(Ok(Page {
            total,
            entries: Vec::new(),
        })) else {
            panic!("not complete");
        };
        listing
    }

    pub(in crate::domain::directory) fn user(id: &str, name: &str, active: Activity) -> UserEntry {
        UserEntry {
            id: RemoteId::parse(id).unwrap(),
            user_name: Some(name.into()),
            active,
            given_name: Some("Given".into()),
            family_name: Some("Family".into()),
            groups: None,
        }
    }

    pub(in crate::domain::directory) fn group(id: &str, name: &str, members: Option<&[&str]>) -> GroupEntry {
        GroupEntry {
            id: RemoteId::parse(id).unwrap(),
            display_name: Some(name.into()),
            members: members.map(|members| {
                members
                    .iter()
                    .map(|value| MemberEntry {
                        value: value.trim_start_matches("group:").into(),
                        is_group: value.starts_with("group:"),
                    })
                    .collect()
            }),
        }
    }

    fn members(snapshot: &Snapshot) -> Vec<String> {
        let shown = |group: &Group| match &group.members {
            Members::Unread => "?".to_owned(),
            Members::Unsaid => "-".to_owned(),
            Members::Listed { users, others } => {
                let ids: String = users
                    .iter()
                    .map(|user| snapshot.user(*user).unwrap().id.as_str())
                    .collect();
                format!("{ids}+{others}")
            }
        };
        snapshot.groups().iter().map(shown).collect()
    }

    fn people() -> Vec<UserEntry> {
        vec![
            user("A", "ada@example.com", Activity::Active),
            user("K", "Kim@example.com", Activity::Suspended),
        ]
    }

    #[test]
    fn a_member_whose_name_two_users_have_may_be_either() {
        let mut users = people();
        users.push(user("L", "KIM@example.com", Activity::Active));
        for (member, expected) in [
            ("K", "AK+0"),
            ("kim@example.com", "?"),
            ("nobody@example.com", "A+1"),
        ] {
            let groups = vec![group("1", "k8s-a", Some(&["A", member]))];
            let snapshot = Snapshot::new(listing(users.clone()), listing(groups), Vec::new());
            assert_eq!(members(&snapshot), [expected], "{member}");
        }
    }

    #[test]
    fn members_are_known_only_where_a_way_to_read_them_is_proven() {
        for (first, second, expected, way) in [
            // No key, or nothing but empty lists: nobody knows whether members would be shown.
            (None, None, ["?", "?"], None),
            (Some(&[][..]), None, ["?", "?"], None),
            (Some(&[][..]), Some(&[][..]), ["?", "?"], None),
            // One group shows a member: the list of groups carries them. A group without the key says nothing still.
            (
                Some(&["A"][..]),
                None,
                ["A+0", "-"],
                Some(MembersReadBy::GroupList),
            ),
            (
                Some(&["A"][..]),
                Some(&[][..]),
                ["A+0", "+0"],
                Some(MembersReadBy::GroupList),
            ),
            // Listed twice, by name, a group, and somebody unknown.
            (
                Some(&["K", "A", "A", "kim@EXAMPLE.com", "group:A", "Z"][..]),
                None,
                ["AK+2", "-"],
                Some(MembersReadBy::GroupList),
            ),
        ] {
            let groups = listing(vec![group("1", "k8s-a", first), group("2", "k8s-b", second)]);
            let snapshot = Snapshot::new(listing(people()), groups, Vec::new());
            assert_eq!(members(&snapshot), expected);
            assert_eq!(snapshot.members_read_by(), way);
        }
    }

    #[test]
    fn members_by_the_groups_of_users_and_by_each_group() {
        let groups = || listing(vec![group("1", "k8s-a", None), group("2", "k8s-b", None)]);
        let mut users = people();
        users[1].groups = Some(vec!["2".into()]);
        let snapshot = Snapshot::new(listing(users), groups(), Vec::new());
        assert_eq!(members(&snapshot), ["-", "K+0"]);
        assert_eq!(snapshot.members_read_by(), Some(MembersReadBy::UserGroups));
        let details = vec![group("2", "k8s-b", Some(&["A"]))];
        let snapshot = Snapshot::new(listing(people()), groups(), details);
        assert_eq!(members(&snapshot), ["-", "A+0"]);
        assert_eq!(snapshot.members_read_by(), Some(MembersReadBy::Group));
    }

    #[test]
    fn names_are_found_in_any_case_and_never_picked_from() {
        let mut users = people();
        users.push(user("L", "KIM@example.com", Activity::Active));
        let mut nameless = user("N", "", Activity::Active);
        nameless.user_name = None;
        users.push(nameless);
        let snapshot = Snapshot::new(listing(users), listing(Vec::new()), Vec::new());
        assert_eq!(snapshot.user_named("ada@example.com"), Found::One(UserIndex(0)));
        assert_eq!(snapshot.user_named("kim@example.com"), Found::Several);
        assert_eq!(snapshot.user_named("bo@example.com"), Found::Nothing);
        let id = RemoteId::parse("L").unwrap();
        assert_eq!(snapshot.user_by_id(&id), Some(UserIndex(2)));
    }

    #[test]
    fn debug_shows_no_name() {
        let snapshot = Snapshot::new(
            listing(vec![user("A", "canary", Activity::Active)]),
            listing(vec![group("1", "canary", Some(&["canary"]))]),
            Vec::new(),
        );
        let entry = group("1", "canary", Some(&["canary"]));
        let shown = format!(
            "{snapshot:?} {:?} {:?} {entry:?} {:?} {:?}",
            snapshot.users(),
            snapshot.groups(),
            entry.members,
            user("A", "canary", Activity::Active)
        );
        assert!(!shown.contains("canary"), "{shown}");
    }
}
