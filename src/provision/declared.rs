//! The users and groups of a directory, as the API server has them.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    sync::Arc,
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::{Resource, core::NamespaceResourceScope};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::{
    api::{
        directory::{Origin, Reason},
        group::{ScimGroup, ScimGroupSpec, ScimGroupStatus},
        user::{ConnectionRef, ScimUser, ScimUserSpec, ScimUserStatus, SuspensionTimes},
        vocabulary::ConditionType,
    },
    cluster::object::RawObject,
    domain::{
        connection::conditions::find,
        directory::{
            names::RemoteId,
            status::{Judgement, group_record, group_status, user_record, user_status},
            wish::{GroupWish, InvalidWish, UserWish},
        },
        watched::is_older,
    },
};

/// A kind of objects in a directory.
pub(super) trait DirectoryKind:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Sized + 'static
{
    /// The plural name in logs.
    const PLURAL: &'static str;
    type Spec: DeserializeOwned;
    type Status: DeserializeOwned + Serialize + Clone + Debug + PartialEq + Default + Send + Sync;
    type Wish: Clone + Debug + Send + Sync;

    /// Parses a specification.
    fn wish(uid: &str, id: Option<&str>, spec: &Self::Spec) -> Result<Self::Wish, InvalidWish>;
    /// Notes what the status holds now: id, members that were added, and the record of earlier writes.
    fn remember(wish: &mut Self::Wish, status: &Self::Status, generation: i64);
    /// The status after a plan.
    fn next_status(
        previous: &Self::Status,
        generation: i64,
        judgement: &Judgement<'_>,
        now: Timestamp,
    ) -> Self::Status;
    /// Gives back memory that a status does not need.
    fn shrink(status: &mut Self::Status);
    /// The parts of a status that every kind has: generation, conditions and id.
    fn parts(status: &Self::Status) -> (i64, &[Condition], Option<&str>);
    /// What the status shows of the past.
    fn evidence(status: &Self::Status) -> Evidence<'_>;
}

/// Where an account or group comes from, and when a suspension was asked for, sent and proven.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence<'a> {
    pub(super) origin: Option<Origin>,
    pub(super) suspension: Option<&'a SuspensionTimes>,
}

/// A user or group that is declared.
#[derive(Clone, Debug)]
pub(super) struct Declared<K: DirectoryKind> {
    /// `metadata.uid`
    pub(super) uid: Box<str>,
    /// `metadata.resourceVersion`
    pub(super) resource_version: Box<str>,
    /// `metadata.generation`
    pub(super) generation: i64,
    /// What the specification asks for.
    pub(super) wish: Result<K::Wish, InvalidWish>,
    /// The status.
    pub(super) status: K::Status,
    /// When this generation came to this process.
    pub(super) since: Instant,
}

/// The declared objects of one kind in a directory, by name. Boxed: a map has up to twice as many places as objects.
#[derive(Debug)]
pub(super) struct Store<K: DirectoryKind>(HashMap<Arc<str>, Box<Declared<K>>>);

/// The part of a specification that says which directory it is about.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    connection_ref: ConnectionRef,
}

/// The connection that a user or group names. `None` if the specification names none.
pub(super) fn connection_of<K>(raw: &RawObject<K>) -> Option<String> {
    raw.spec::<Reference>()
        .map(|reference| reference.connection_ref.name)
}

// === impl Declared ===

impl<K: DirectoryKind> From<RawObject<K>> for Declared<K> {
    fn from(raw: RawObject<K>) -> Self {
        let metadata = &raw.metadata;
        let uid = metadata.uid.as_deref().unwrap_or_default();
        let mut status: K::Status = raw.status().unwrap_or_default();
        K::shrink(&mut status);
        let (_, _, id) = K::parts(&status);
        let generation = metadata.generation.unwrap_or_default();
        let wish = raw
            .spec::<K::Spec>()
            .ok_or(InvalidWish::Form)
            .and_then(|spec| K::wish(uid, id, &spec))
            .map(|mut wish| {
                K::remember(&mut wish, &status, generation);
                wish
            });
        Self {
            uid: uid.into(),
            resource_version: metadata.resource_version.as_deref().unwrap_or_default().into(),
            generation,
            wish,
            status,
            since: Instant::now(),
        }
    }
}

impl<K: DirectoryKind> Declared<K> {
    /// Whether the verdict of a plan about this generation stands in the status.
    pub(super) fn is_planned(&self) -> bool {
        let (generation, conditions, _) = K::parts(&self.status);
        generation == self.generation
            && ready_reason(conditions)
                .and_then(Reason::parse)
                .is_some_and(rests_on_a_read)
    }

    /// Notes a status that was written.
    fn written(&mut self, mut status: K::Status, resource_version: Box<str>) {
        K::shrink(&mut status);
        if let Ok(wish) = &mut self.wish {
            K::remember(wish, &status, self.generation);
        }
        self.status = status;
        self.resource_version = resource_version;
    }
}

// === impl Store ===

impl<K: DirectoryKind> Default for Store<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: DirectoryKind> Store<K> {
    /// Takes in what a watch reports. Returns whether a plan could differ now: echoes of own writes change nothing.
    pub(super) fn take(&mut self, name: Arc<str>, object: Option<Declared<K>>) -> bool {
        let Some(object) = object else {
            return self.0.remove(&name).is_some();
        };
        match self.0.get_mut(&name) {
            Some(known)
                if known.uid == object.uid && is_older(&object.resource_version, &known.resource_version) =>
            {
                false
            }
            Some(known)
                if known.uid == object.uid
                    && known.generation == object.generation
                    && known.status == object.status =>
            {
                known.resource_version = object.resource_version;
                false
            }
            Some(known) => {
                let since = known.since;
                let is_same = known.uid == object.uid && known.generation == object.generation;
                **known = object;
                if is_same {
                    known.since = since;
                }
                true
            }
            None => {
                self.0.insert(name, Box::new(object));
                true
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All names.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.0.keys().cloned().collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Declared<K>> {
        self.0.get(name).map(Box::as_ref)
    }

    /// Notes a status that was written to this object.
    pub(super) fn written(&mut self, name: &str, uid: &str, status: K::Status, resource_version: Box<str>) {
        if let Some(known) = self.0.get_mut(name).filter(|known| *known.uid == *uid) {
            known.written(status, resource_version);
        }
    }

    /// The objects by uid.
    pub(super) fn by_uid(&self, uid: &str) -> Option<(&Arc<str>, &Declared<K>)> {
        let mut objects = self.0.iter();
        objects
            .find(|(_, declared)| *declared.uid == *uid)
            .map(|(name, declared)| (name, declared.as_ref()))
    }

    /// The wishes that can be used.
    pub(super) fn wishes(&self) -> Vec<K::Wish> {
        self.0
            .values()
            .filter_map(|declared| declared.wish.as_ref().ok().cloned())
            .collect()
    }

    /// The ids that the statuses hold.
    pub(super) fn ids(&self) -> HashSet<RemoteId> {
        self.0
            .values()
            .filter_map(|declared| K::parts(&declared.status).2)
            .filter_map(|id| RemoteId::parse(id).ok())
            .collect()
    }

    /// The suspensions that are wanted.
    pub(super) fn suspensions(&self) -> impl Iterator<Item = &SuspensionTimes> {
        self.0
            .values()
            .filter_map(|declared| K::evidence(&declared.status).suspension)
    }

    /// The reasons of `Ready`, as the statuses say.
    pub(super) fn reasons(&self) -> impl Iterator<Item = &str> {
        self.0.values().filter_map(|declared| {
            let (_, conditions, _) = K::parts(&declared.status);
            ready_reason(conditions)
        })
    }
}

/// Whether only a plan, with a directory that was read, comes to this reason.
const fn rests_on_a_read(reason: Reason) -> bool {
    match reason {
        Reason::Provisioned
        | Reason::Suspended
        | Reason::ChangePlanned
        | Reason::Held
        | Reason::OutOfScope
        | Reason::Protected
        | Reason::AlreadyExists
        | Reason::Ambiguous
        | Reason::RemoteGone
        | Reason::MembersUnreadable
        | Reason::MemberMissing
        | Reason::MemberRemains
        | Reason::Unproven
        | Reason::Contested
        | Reason::Rejected
        | Reason::NotAsWritten
        | Reason::Unsupported
        | Reason::RateLimited
        | Reason::Progressing => true,
        Reason::InvalidSpec
        | Reason::IdentityProviderAuthoritative
        | Reason::ConnectionNotFound
        | Reason::ProvisioningOff
        | Reason::ConnectionNotReady
        | Reason::DirectoryIncomplete => false,
    }
}

/// The reason of `Ready`.
pub(super) fn ready_reason(conditions: &[Condition]) -> Option<&str> {
    find(conditions, ConditionType::Ready).map(|ready| ready.reason.as_str())
}

impl DirectoryKind for ScimUser {
    const PLURAL: &'static str = "users";
    type Spec = ScimUserSpec;
    type Status = ScimUserStatus;
    type Wish = UserWish;

    fn wish(uid: &str, id: Option<&str>, spec: &Self::Spec) -> Result<Self::Wish, InvalidWish> {
        UserWish::of(uid, id, spec)
    }

    fn remember(wish: &mut Self::Wish, status: &Self::Status, generation: i64) {
        wish.known = status.id.as_deref().and_then(|id| RemoteId::parse(id).ok());
        wish.record = user_record(status, generation);
    }

    fn next_status(
        previous: &Self::Status,
        generation: i64,
        judgement: &Judgement<'_>,
        now: Timestamp,
    ) -> Self::Status {
        user_status(previous, generation, judgement, now)
    }

    fn shrink(status: &mut Self::Status) {
        // A list that grows has places for four.
        status.conditions.shrink_to_fit();
        status.plan.shrink_to_fit();
        status.stopped.shrink_to_fit();
        status.overwritten.shrink_to_fit();
    }

    fn parts(status: &Self::Status) -> (i64, &[Condition], Option<&str>) {
        (
            status.observed_generation,
            &status.conditions,
            status.id.as_deref(),
        )
    }

    fn evidence(status: &Self::Status) -> Evidence<'_> {
        Evidence {
            origin: status.origin,
            suspension: status.suspension.as_ref(),
        }
    }
}

impl DirectoryKind for ScimGroup {
    const PLURAL: &'static str = "groups";
    type Spec = ScimGroupSpec;
    type Status = ScimGroupStatus;
    type Wish = GroupWish;

    fn wish(uid: &str, id: Option<&str>, spec: &Self::Spec) -> Result<Self::Wish, InvalidWish> {
        GroupWish::of(uid, id, spec)
    }

    fn remember(wish: &mut Self::Wish, status: &Self::Status, generation: i64) {
        wish.known = status.id.as_deref().and_then(|id| RemoteId::parse(id).ok());
        wish.added = status
            .added
            .iter()
            .filter_map(|id| RemoteId::parse(id).ok())
            .collect();
        wish.added.sort();
        wish.added.dedup();
        wish.record = group_record(status, generation);
    }

    fn next_status(
        previous: &Self::Status,
        generation: i64,
        judgement: &Judgement<'_>,
        now: Timestamp,
    ) -> Self::Status {
        group_status(previous, generation, judgement, now)
    }

    fn shrink(status: &mut Self::Status) {
        // A list that grows has places for four.
        status.conditions.shrink_to_fit();
        status.plan.shrink_to_fit();
        status.stopped.shrink_to_fit();
        status.overwritten.shrink_to_fit();
    }

    fn parts(status: &Self::Status) -> (i64, &[Condition], Option<&str>) {
        (
            status.observed_generation,
            &status.conditions,
            status.id.as_deref(),
        )
    }

    fn evidence(status: &Self::Status) -> Evidence<'_> {
        Evidence {
            origin: status.origin,
            suspension: None,
        }
    }
}
