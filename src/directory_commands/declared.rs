//! The users and groups that are declared for one connection, and the objects that cannot be used.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

use super::{files::Place, form::Misformed, offboarding::Evidence};
use crate::{
    api::{group::ScimGroupSpec, user::ScimUserSpec},
    domain::{
        connection::target::is_object_name,
        directory::{
            names::ObjectId,
            plan::Plan,
            wish::{GroupWish, InvalidWish, UserWish, Wishes},
        },
    },
};

/// The kinds of objects that a directory is declared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `ScimUser`
    User,
    /// `ScimGroup`
    Group,
}

/// A specification in its form.
#[derive(Clone, Debug)]
pub(super) enum Spec {
    User(ScimUserSpec),
    Group(ScimGroupSpec),
}

/// An object of a file or of a cluster, usable or not.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) kind: Kind,
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    /// `status.id`, if the object is in a cluster.
    pub(super) id: Option<String>,
    /// What its status says, for reports about suspensions.
    pub(super) evidence: Evidence,
    /// Where it is, if it is in a file.
    pub(super) place: Option<Place>,
    pub(super) spec: Result<Spec, Misformed>,
}

/// The connection for which objects are declared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner<'a> {
    pub(super) name: &'a str,
    /// Unknown if a manifest leaves it to the command that applies it.
    pub(super) namespace: Option<&'a str>,
    pub(super) others: Others<'a>,
}

/// The connections whose objects may stand beside.
#[derive(Clone, Copy, Debug)]
pub(super) enum Others<'a> {
    /// Those of the same files. An object of any other is a mistake.
    These(&'a [String]),
    /// Every one: a namespace has objects of several connections.
    Any,
}

/// The name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Its kind.
    pub kind: Kind,
    /// `metadata.name`
    pub name: String,
}

/// An object that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The object, if it has a name.
    pub object: Option<ObjectName>,
    /// Its kind, if there is such a kind.
    pub kind: Option<Kind>,
    /// Where it is, if it is in a file.
    pub place: Option<Place>,
    /// Why it cannot be used. It holds no name of a person.
    pub why: Unusable,
}

/// Why an object cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Without a name, nobody can say which object it is.
    #[error("metadata.name is missing, or is not the name of an object")]
    Name,
    /// Its form.
    #[error("{0}")]
    Form(String),
    /// A value.
    #[error("{0}")]
    Wish(#[from] InvalidWish),
    /// Two documents declare it. Neither is used.
    #[error("the object is declared {0} times. Keep one of them")]
    Twice(usize),
    /// Another namespace than the connection's.
    #[error("metadata.namespace is not the namespace of the connection")]
    Namespace,
    /// A kind that the group does not have.
    #[error("scimbridge.dev has no such kind: write ScimUser, ScimGroup or ScimBridgeConnection")]
    Kind,
    /// A connection that is not there.
    #[error("spec.connectionRef names another connection")]
    Connection,
}

/// How many users and groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Users.
    pub users: usize,
    /// Groups.
    pub groups: usize,
}

/// The users and groups that are declared for one connection.
#[derive(Debug, Default)]
pub struct Declared {
    /// The wishes. The id of each is that of [`Self::object`].
    pub wishes: Wishes,
    /// The objects that cannot be used.
    pub faults: Vec<Fault>,
    /// How many objects belong to other connections.
    pub others: usize,
    /// How many users and groups can be used, without those that are kept.
    pub own: Counts,
    /// Those that are applied now and that the new manifests leave out. They stay, and the plan includes them.
    kept: HashSet<ObjectId>,
    objects: HashMap<ObjectId, (ObjectName, Option<Place>)>,
}

// === impl Owner ===

impl Owner<'_> {
    /// Whether objects of this connection belong to somebody else.
    fn has_beside(&self, connection: &str) -> bool {
        connection != self.name
            && match self.others {
                Others::These(others) => others.iter().any(|other| other == connection),
                Others::Any => true,
            }
    }
}

// === impl Declared ===

impl Declared {
    /// Sorts out which objects can be used.
    pub(super) fn of(candidates: Vec<Candidate>, owner: Owner<'_>) -> Self {
        let mut declared = Self::default();
        let mut times: BTreeMap<ObjectName, usize> = BTreeMap::new();
        for name in candidates
            .iter()
            .filter(|one| one.is_here(owner))
            .filter_map(Candidate::object)
        {
            *times.entry(name).or_default() += 1;
        }
        for candidate in candidates {
            let object = candidate.object();
            let times = object.as_ref().and_then(|object| times.get(object)).copied();
            let (kind, place) = (candidate.kind, candidate.place.clone());
            match declared.take(candidate, object.clone(), owner, times.unwrap_or_default()) {
                Ok(true) => {}
                Ok(false) => declared.others += 1,
                Err(why) => declared.faults.push(Fault {
                    object,
                    kind: Some(kind),
                    place,
                    why,
                }),
            }
        }
        declared.own = Counts {
            users: declared.wishes.users.len(),
            groups: declared.wishes.groups.len(),
        };
        declared
    }

    /// Adds objects that are applied now and that no new manifest declares: an apply leaves them where they are. One that
    /// cannot be used changes nothing, before as after.
    pub(super) fn keep(&mut self, candidates: Vec<Candidate>, owner: Owner<'_>) {
        let kept = Self::of(
            candidates,
            Owner {
                others: Others::Any,
                ..owner
            },
        );
        self.kept = kept.objects.keys().cloned().collect();
        self.wishes.users.extend(kept.wishes.users);
        self.wishes.groups.extend(kept.wishes.groups);
        self.objects.extend(kept.objects);
    }

    /// Adds documents of a kind that the group does not have.
    pub(super) fn refuse(&mut self, strays: impl IntoIterator<Item = Place>) {
        self.faults.extend(strays.into_iter().map(Fault::of_stray));
    }

    /// Whether nothing at all is declared, not even something that cannot be used.
    pub(super) fn is_empty(&self) -> bool {
        self.own == Counts::default() && self.faults.is_empty()
    }

    /// Whether the object is applied now, and the new manifests leave it out.
    pub(super) fn is_kept(&self, id: &ObjectId) -> bool {
        self.kept.contains(id)
    }

    /// How many objects are kept.
    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Takes an object. `false` if it belongs to another connection.
    fn take(
        &mut self,
        candidate: Candidate,
        object: Option<ObjectName>,
        owner: Owner<'_>,
        times: usize,
    ) -> Result<bool, Unusable> {
        let is_here = candidate.is_here(owner);
        let Candidate {
            kind: _,
            name: _,
            namespace: _,
            id,
            evidence: _,
            place,
            spec,
        } = candidate;
        let spec = spec.map_err(|why| Unusable::Form(why.to_string()));
        // Of another connection before all else: its objects may be as they like.
        if let Ok(spec) = &spec
            && owner.has_beside(spec.connection())
        {
            return Ok(false);
        }
        let object = object.ok_or(Unusable::Name)?;
        if !is_here {
            return Err(Unusable::Namespace);
        }
        if times > 1 {
            return Err(Unusable::Twice(times));
        }
        let spec = spec?;
        if spec.connection() != owner.name {
            return Err(Unusable::Connection);
        }
        let uid = object.to_string();
        let id = id.as_deref();
        match &spec {
            Spec::User(spec) => self.wishes.users.push(UserWish::of(&uid, id, spec)?),
            Spec::Group(spec) => self.wishes.groups.push(GroupWish::of(&uid, id, spec)?),
        }
        self.objects.insert(ObjectId::new(&uid), (object, place));
        Ok(true)
    }

    /// The object of a wish.
    #[must_use]
    pub fn object(&self, id: &ObjectId) -> Option<(&ObjectName, Option<&Place>)> {
        let (name, place) = self.objects.get(id)?;
        Some((name, place.as_ref()))
    }
}

// === impl Candidate ===

impl Candidate {
    /// The name, if an object can have it.
    pub(super) fn object(&self) -> Option<ObjectName> {
        let name = self.name.clone().filter(|name| is_object_name(name))?;
        Some(ObjectName {
            kind: self.kind,
            name,
        })
    }

    /// Whether it is in the connection's namespace, or may be applied there.
    fn is_here(&self, owner: Owner<'_>) -> bool {
        match (self.namespace.as_deref(), owner.namespace) {
            (Some(own), Some(wanted)) => own == wanted,
            (None, _) | (_, None) => true,
        }
    }
}

/// The accounts and groups that the objects of a plan stand for: those of their status, and those that they take over.
pub(super) fn known(
    candidates: &[Candidate],
    declared: &Declared,
    plan: &Plan<'_>,
) -> HashMap<ObjectName, String> {
    let of_status = candidates
        .iter()
        .filter_map(|candidate| Some((candidate.object()?, candidate.id.clone()?)));
    let of_plan = plan.verdicts.iter().filter_map(|verdict| {
        let (object, _) = declared.object(verdict.object)?;
        Some((object.clone(), verdict.id?.as_str().to_owned()))
    });
    of_plan.chain(of_status).collect()
}

/// Gives objects the ids that the objects of these names have.
pub(super) fn know(candidates: &mut [Candidate], ids: &HashMap<ObjectName, String>) {
    for candidate in candidates {
        candidate.id = candidate.object().and_then(|object| ids.get(&object).cloned());
    }
}

/// The objects of a connection that no new manifest declares.
pub(super) fn left_out(base: &[Candidate], new: &[Candidate], owner: Owner<'_>) -> Vec<Candidate> {
    let declared: HashSet<ObjectName> = new
        .iter()
        .filter(|one| one.is_here(owner))
        .filter_map(Candidate::object)
        .collect();
    let is_left_out = |one: &&Candidate| one.object().is_some_and(|object| !declared.contains(&object));
    base.iter().filter(is_left_out).cloned().collect()
}

/// The names in a list that occur more than once.
pub(super) fn doubled(names: impl IntoIterator<Item = String>) -> Option<String> {
    let mut seen = HashSet::new();
    names.into_iter().find(|name| !seen.insert(name.clone()))
}

// === impl Spec, Kind, ObjectName ===

impl Spec {
    pub(super) fn connection(&self) -> &str {
        match self {
            Self::User(spec) => &spec.connection_ref.name,
            Self::Group(spec) => &spec.connection_ref.name,
        }
    }
}

impl Kind {
    /// The name of the kind.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "ScimUser",
            Self::Group => "ScimGroup",
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}

impl Fault {
    /// A document of a kind that the group does not have.
    pub(super) const fn of_stray(place: Place) -> Self {
        Self {
            object: None,
            kind: None,
            place: Some(place),
            why: Unusable::Kind,
        }
    }

    /// The object and its place: `ScimUser ada (users.yaml:12)`.
    #[must_use]
    pub fn label(&self) -> String {
        let object = match (&self.object, self.kind) {
            (Some(object), _) => object.to_string(),
            (None, Some(kind)) => kind.as_str().to_owned(),
            (None, None) => "an object".to_owned(),
        };
        match &self.place {
            Some(place) => format!("{object} ({place})"),
            None => object,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.label(), self.why)
    }
}
