//! The tables of users and groups: found by id and by name, in the order of creation, with writes that show late
//! on demand.

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::BuildHasher,
    sync::Arc,
};

use serde::Serialize;
use time::OffsetDateTime;

use super::{
    dice::Dice,
    habits::Act,
    people::{Group, Member, Seed, User},
};

/// What has an id and a name.
pub(super) trait Resource: Clone {
    fn id(&self) -> &str;
    fn name(&self) -> &str;
}

impl Resource for User {
    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.user_name
    }
}

impl Resource for Group {
    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.display_name
    }
}

/// A resource and its history, as far as it shows.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) current: Arc<T>,
    /// What reads show until `visible_from`; nothing for what did not exist.
    before: Option<Arc<T>>,
    visible_from: u64,
    pub(super) created: OffsetDateTime,
    pub(super) modified: OffsetDateTime,
}

/// One kind of resource.
#[derive(Debug)]
pub(super) struct Table<T> {
    entries: Vec<Entry<T>>,
    places: HashMap<String, usize>,
    /// Folded name to ids.
    names: HashMap<String, Vec<String>>,
    /// How many requests have read this table.
    reads: u64,
    /// How many times something changed.
    version: u64,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            places: HashMap::new(),
            names: HashMap::new(),
            reads: 0,
            version: 0,
        }
    }
}

/// A name without regard to case.
pub(super) fn folded(name: &str) -> String {
    name.to_lowercase()
}

impl<T: Resource> Table<T> {
    pub(super) fn entry(&self, id: &str) -> Option<&Entry<T>> {
        self.places.get(id).and_then(|place| self.entries.get(*place))
    }

    pub(super) fn get(&self, id: &str) -> Option<&T> {
        self.entry(id).map(|entry| entry.current.as_ref())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|entry| entry.current.as_ref())
    }

    /// Those with this name, without regard to case.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = &T> {
        let ids = self.names.get(&folded(name)).into_iter().flatten();
        ids.filter_map(|id| self.get(id))
    }

    /// Counts a request that reads. The views below are those of this request.
    pub(super) fn begin_read(&mut self) {
        self.reads += 1;
    }

    /// A resource as a read shows it, and its entry.
    pub(super) fn seen(&self, id: &str) -> Option<(&T, &Entry<T>)> {
        let entry = self.entry(id)?;
        self.view(entry).map(|resource| (resource, entry))
    }

    /// All resources as a read shows them, in the order of creation.
    pub(super) fn all_seen(&self) -> impl Iterator<Item = (&T, &Entry<T>)> {
        self.entries
            .iter()
            .filter_map(|entry| self.view(entry).map(|resource| (resource, entry)))
    }

    fn view<'entry>(&self, entry: &'entry Entry<T>) -> Option<&'entry T> {
        if entry.visible_from <= self.reads {
            Some(&entry.current)
        } else {
            entry.before.as_deref()
        }
    }

    /// Whether reads show everything as it is.
    fn settled(&self) -> bool {
        self.entries.iter().all(|entry| entry.visible_from <= self.reads)
    }

    /// Creates a resource or replaces that of the same id; the next `hidden` reads do not show it.
    pub(super) fn put(&mut self, resource: T, hidden: u32) {
        self.version += 1;
        let now = OffsetDateTime::now_utc();
        let visible_from = match hidden {
            0 => 0,
            hidden => self.reads + u64::from(hidden) + 1,
        };
        let id = resource.id().to_owned();
        let name = folded(resource.name());
        let resource = Arc::new(resource);
        let reads = self.reads;
        let place = self.places.get(&id).copied();
        if let Some(entry) = place.and_then(|place| self.entries.get_mut(place)) {
            if entry.visible_from <= reads {
                entry.before = Some(Arc::clone(&entry.current));
            }
            let old_name = folded(entry.current.name());
            entry.current = resource;
            entry.visible_from = visible_from;
            entry.modified = now;
            self.forget_name(&old_name, &id);
        } else {
            self.places.insert(id.clone(), self.entries.len());
            self.entries.push(Entry {
                current: resource,
                before: None,
                visible_from,
                created: now,
                modified: now,
            });
        }
        self.names.entry(name).or_default().push(id);
    }

    /// Takes a resource away, for good and at once.
    pub(super) fn take(&mut self, id: &str) -> Option<Arc<T>> {
        let place = self.places.remove(id)?;
        self.version += 1;
        let entry = self.entries.remove(place);
        for later in self.places.values_mut().filter(|later| **later > place) {
            *later -= 1;
        }
        self.forget_name(&folded(entry.current.name()), id);
        Some(entry.current)
    }

    fn forget_name(&mut self, name: &str, id: &str) {
        if let Some(ids) = self.names.get_mut(name) {
            ids.retain(|known| known != id);
            if ids.is_empty() {
                self.names.remove(name);
            }
        }
    }
}

/// A write that had an effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What happened.
    pub act: Act,
    /// The id of the user or group that it happened to.
    pub id: String,
    /// The ids of the members that were added or removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
}

impl Change {
    pub(super) fn of(act: Act, id: &str) -> Self {
        Self {
            act,
            id: id.to_owned(),
            members: Vec::new(),
        }
    }
}

/// A seed that cannot be a directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSeed {
    /// Two resources of one kind have this id.
    #[error("the id {0} is there twice")]
    IdTwice(String),
    /// A user has no user name or a group no name.
    #[error("a user without userName or a group without displayName")]
    WithoutName,
}

/// Everything that a directory knows.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) users: Table<User>,
    pub(super) groups: Table<Group>,
    /// What was written and not yet published.
    pub(super) fresh: Vec<Change>,
    /// How many requests were answered.
    pub(super) answers: u64,
    /// For the lies of lists: the same in each run.
    pub(super) dice: Dice,
    /// For ids: two directories never share one.
    ids: Dice,
    memberships: Option<(u64, Arc<Memberships>)>,
}

/// User id to the ids of the groups that list it.
pub(super) type Memberships = HashMap<String, Vec<String>>;

impl Default for Store {
    fn default() -> Self {
        Self {
            users: Table::default(),
            groups: Table::default(),
            fresh: Vec::new(),
            answers: 0,
            dice: Dice::new(0),
            ids: Dice::new(RandomState::new().hash_one("directory")),
            memberships: None,
        }
    }
}

impl Store {
    /// A directory of these users and groups.
    pub(super) fn seeded(seed: Seed) -> Result<Self, InvalidSeed> {
        let mut store = Self::default();
        for user in seed.users {
            if user.user_name.is_empty() {
                return Err(InvalidSeed::WithoutName);
            }
            let user = store.identified_user(user);
            if store.users.get(&user.id).is_some() {
                return Err(InvalidSeed::IdTwice(user.id));
            }
            store.users.put(user, 0);
        }
        for group in seed.groups {
            if group.display_name.is_empty() {
                return Err(InvalidSeed::WithoutName);
            }
            let group = store.identified_group(group);
            if store.groups.get(&group.id).is_some() {
                return Err(InvalidSeed::IdTwice(group.id));
            }
            store.groups.put(group, 0);
        }
        Ok(store)
    }

    /// The user with an id and with everything that is derived.
    pub(super) fn identified_user(&mut self, mut user: User) -> User {
        if user.id.is_empty() {
            user.id = self.ids.id().to_uppercase();
        }
        user.completed()
    }

    /// The group with an id, and with ids for members that are named by their user name.
    pub(super) fn identified_group(&mut self, mut group: Group) -> Group {
        if group.id.is_empty() {
            group.id = self.ids.id();
        }
        for member in &mut group.members {
            if self.users.get(&member.value).is_none() {
                let named = self.users.named(&member.value).next();
                if let Some(user) = named {
                    member.value = user.id.clone();
                }
            }
        }
        group
    }

    /// Who is in which group, as a read of groups shows it.
    pub(super) fn memberships(&mut self) -> Arc<Memberships> {
        let version = self.groups.version;
        if let Some((of, memberships)) = &self.memberships
            && *of == version
            && self.groups.settled()
        {
            return Arc::clone(memberships);
        }
        let mut memberships = Memberships::new();
        for (group, _) in self.groups.all_seen() {
            let unique: HashSet<&str> = group.members.iter().map(|member| member.value.as_str()).collect();
            for member in unique {
                let groups = memberships.entry(member.to_owned()).or_default();
                groups.push(group.id.clone());
            }
        }
        let memberships = Arc::new(memberships);
        self.memberships = self.groups.settled().then(|| (version, Arc::clone(&memberships)));
        memberships
    }

    /// Whether a member is a user or group of this directory.
    pub(super) fn knows(&self, member: &Member) -> bool {
        self.users.get(&member.value).is_some() || self.groups.get(&member.value).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidSeed, Store, Table};
    use crate::directory::people::{Group, Seed, User};

    fn user(id: &str, name: &str) -> User {
        User {
            id: id.to_owned(),
            ..User::new(name, "A", "B")
        }
    }

    #[test]
    fn a_table_finds_by_id_and_by_name_after_renames_and_removals() {
        let mut table = Table::default();
        for (id, name) in [("1", "One"), ("2", "two"), ("3", "ONE")] {
            table.put(user(id, name), 0);
        }
        let named = |table: &Table<User>, name| {
            let ids = table.named(name).map(|user| user.id.clone());
            ids.collect::<Vec<_>>().join(" ")
        };
        assert_eq!((named(&table, "oNe"), table.all().count()), ("1 3".to_owned(), 3));
        table.put(user("1", "two"), 0);
        assert_eq!(
            (named(&table, "one"), named(&table, "two")),
            ("3".into(), "2 1".into())
        );
        assert!(table.take("2").is_some() && table.take("2").is_none());
        assert_eq!(named(&table, "two"), "1");
        assert_eq!(table.get("3").unwrap().user_name, "ONE");
        assert_eq!(table.all().map(|user| user.id.as_str()).collect::<String>(), "13");
    }

    #[test]
    fn writes_show_late() {
        let mut table = Table::default();
        table.put(user("1", "old"), 0);
        table.put(user("1", "new"), 2);
        table.put(user("2", "born"), 2);
        let mut shown = || {
            table.begin_read();
            let names = table.all_seen().map(|(user, _)| user.user_name.clone());
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!([shown(), shown(), shown()], ["old", "old", "new born"]);
    }

    #[test]
    fn a_seed_has_every_id_once() {
        let seed = |users: Vec<User>| Seed {
            users,
            groups: vec![Group::new("G", ["Two", "nobody"])],
        };
        let store = Store::seeded(seed(vec![user("1", "one"), user("", "two")])).unwrap();
        let two = store.users.named("two").next().unwrap();
        assert_eq!((two.id.len(), two.id.to_uppercase()), (26, two.id.clone()));
        let group = store.groups.all().next().unwrap();
        assert_eq!(group.members[0].value, two.id);
        assert_eq!(group.members[1].value, "nobody");
        let twice = Store::seeded(seed(vec![user("1", "one"), user("1", "two")]));
        assert!(matches!(twice, Err(InvalidSeed::IdTwice(id)) if id == "1"));
        assert!(Store::seeded(seed(vec![user("1", "")])).is_err());
    }
}
