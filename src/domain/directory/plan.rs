//! From wishes and a snapshot to what would be sent: one function for the CLI, the status and the bridge.
//!
//! It is pure, total and deterministic: the order of wishes and of lists changes nothing. What it never does:
//! - It reads nothing into an absence. A suspension rests on `state: Suspended` or a time that has passed. A removal
//!   rests on a list that is there and does not hold the user, or on such a suspension. A name in the list that leads
//!   to nobody may be an account that was renamed. Until that is clear, nobody leaves for not being listed.
//! - It writes nothing outside of the scope, and of a protected user nothing but a new membership.
//! - It sends no act of a kind of which more are pending than the limit allows.

use std::{collections::HashSet, time::Duration};

use k8s_openapi::jiff::Timestamp;

use super::{
    act::{Act, Change, Host, Joiner, RemovalCause},
    budget::{Digest, DigestKey, Digester, Kind, Limits, PerKind},
    census::Census,
    claim::{Claim, Claimed, settle},
    crowd::{Course, Crowd, Leaving, List, UserCase, entry_of},
    ledger::{CONTEST, Key, Ledger, Standing},
    names::{ObjectId, PlainName, RemoteId, fold, is_same_text},
    order::ScimType,
    scope::{InvalidPatterns, Protected, Scope},
    snapshot::{Activity, Found, GroupIndex, Members, Snapshot, User, UserIndex},
    verdict::{Asked, Field, MemberCounts, Reason, StopReason, Subject, Verdict},
    walk::Incomplete,
    wish::{Adopt, GroupWish, Membership, Record, State, UserWish, Wishes},
};
use crate::api::{
    connection::IdentityProvider,
    directory::{ProvisioningMode, ProvisioningSpec},
};

/// A directory that was read in full and is believed.
#[derive(Clone, Copy, Debug)]
pub struct Directory<'a> {
    /// The directory as it is.
    pub snapshot: &'a Snapshot,
    /// Who is gone.
    pub census: &'a Census,
}

/// What the connection allows.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Where the operator may write.
    pub scope: Scope,
    /// Who is left alone.
    pub protected: Protected,
    /// The most acts of each kind within an hour.
    pub limits: Limits,
    /// Whether the changes are sent.
    pub sends: bool,
    /// The sets that a person has released.
    pub released: Vec<Digest>,
    /// The key of digests.
    pub digest_key: DigestKey,
}

impl Policy {
    /// Reads `spec.provisioning` of a connection with this declared provider. Renames and additions have no limit.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names the field that cannot be used.
    pub fn parse(
        spec: &ProvisioningSpec,
        provider: Option<IdentityProvider>,
        digest_key: DigestKey,
    ) -> Result<Self, InvalidPolicy> {
        let ProvisioningSpec {
            mode,
            scope,
            protected,
            limits,
            requests_per_second: _,
        } = spec;
        let scope = Scope::parse(&scope.user_names, &scope.groups).map_err(InvalidPolicy::Scope)?;
        let sends = *mode == ProvisioningMode::Manage;
        if sends && scope.is_everybody() && provider.is_some_and(IdentityProvider::pushes) {
            return Err(InvalidPolicy::Provider);
        }
        Ok(Self {
            scope,
            protected: Protected::parse(&protected.user_names, &protected.groups)
                .map_err(InvalidPolicy::Protected)?,
            limits: Limits::from_fn(|kind| limits.get(kind)),
            sends,
            released: Vec::new(),
            digest_key,
        })
    }
}

/// Why `spec.provisioning` cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidPolicy {
    /// `spec.provisioning.scope`
    #[error("spec.provisioning.scope has {0}")]
    Scope(InvalidPatterns),
    /// `spec.provisioning.protected`
    #[error("spec.provisioning.protected has {0}")]
    Protected(InvalidPatterns),
    /// A provider that pushes has authority over everybody in the scope.
    #[error(
        "spec.identityProvider writes users and groups itself, and spec.provisioning.scope covers everybody"
    )]
    Provider,
    /// An older connection in mode Manage leads to the same bridge.
    #[error("an older connection in mode Manage leads to the same bridge")]
    SharedBridge,
}

impl InvalidPolicy {
    /// What the objects of the directory say.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Provider => Reason::IdentityProviderAuthoritative,
            Self::Scope(_) | Self::Protected(_) | Self::SharedBridge => Reason::ProvisioningOff,
        }
    }
}

/// What would be sent, and what to say about each object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<'a> {
    /// What would be sent, in order.
    pub acts: Vec<Act<'a>>,
    /// What waits for a person, in order.
    pub held: Vec<Act<'a>>,
    /// For each kind with acts: how many, and whether they are held.
    pub pending: Vec<Pending>,
    /// One verdict for each object: users by uid, then groups by uid.
    pub verdicts: Vec<Verdict<'a>>,
    /// When the clock alone changes something.
    pub next: Option<Timestamp>,
    /// Counts of the directory, or why it is not known.
    pub totals: Result<Totals, Incomplete>,
    /// Acts that differ from what the last read shows, the ones that were sent and wait for a read among them.
    pub asked: HashSet<Key>,
    /// Whether an object waits to know what was created before a restart.
    pub is_unsure: bool,
}

/// Counts of a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Users, suspended ones among them.
    pub users: usize,
    /// Suspended users.
    pub suspended: usize,
    /// Users for whom an object stands. One that may not take the account over, or whose name is out of the scope, does
    /// not.
    pub managed: usize,
    /// Active users for whom none does.
    pub unmanaged_active: usize,
    /// Groups.
    pub groups: usize,
}

/// The acts of a set that was released: the digest of each, and its name in the ledger.
pub type ReleasedActs = Vec<(Digest, Key)>;

/// The acts of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Which.
    pub kind: Kind,
    /// How many.
    pub count: u32,
    /// How many may be sent now; `None` where there is no limit.
    pub left: Option<u32>,
    /// Names exactly this set.
    pub digest: Digest,
    /// Whether the set waits for a person.
    pub held: bool,
}

impl Plan<'_> {
    /// The set of a kind that a release lets go.
    pub fn set(&self, kind: Kind, key: &DigestKey) -> impl Iterator<Item = (Digest, Key)> {
        self.acts
            .iter()
            .chain(&self.held)
            .filter(move |act| act.change.kind() == kind)
            .map(|act| (act.change.digest(key), act.change.key(act.object)))
    }

    /// The sets that a person has released and that are sent only for that: kind, digest, and the acts.
    #[must_use]
    pub fn releases(&self, policy: &Policy) -> Vec<(Kind, Digest, ReleasedActs)> {
        let is_released = |pending: &&Pending| {
            let exceeds = pending.left.is_some_and(|left| pending.count > left);
            exceeds && !pending.held && policy.released.contains(&pending.digest)
        };
        self.pending
            .iter()
            .filter(is_released)
            .map(|pending| {
                let acts = self.set(pending.kind, &policy.digest_key).collect();
                (pending.kind, pending.digest, acts)
            })
            .collect()
    }
}

/// Decides what would be sent. The ledger says what was sent already.
#[must_use]
pub fn plan<'a>(
    wishes: &'a Wishes,
    directory: Result<Directory<'a>, Incomplete>,
    policy: &Policy,
    ledger: &Ledger,
    now: Timestamp,
) -> Plan<'a> {
    let mut plan = match directory {
        Ok(directory) => Planner::new(wishes, directory, policy, ledger, now).run(),
        Err(reason) => unknown(wishes, reason),
    };
    // The objects are in the order of their uids, with the wishes in any order.
    plan.verdicts.sort_by(|a, b| {
        let place = |verdict: &Verdict<'_>| matches!(verdict.subject, Subject::Group(_));
        place(a).cmp(&place(b)).then_with(|| a.object.cmp(b.object))
    });
    let released = plan
        .pending
        .iter()
        .filter(|pending| pending.held)
        .filter_map(|pending| ledger.spent().next_release(pending.kind, ledger.time()));
    plan.next = next_change(wishes, now).into_iter().chain(released).min();
    plan
}

/// When the clock changes the wanted state. Of a paused object, too: its verdict changes.
fn next_change(wishes: &Wishes, now: Timestamp) -> Option<Timestamp> {
    let Wishes { users, groups } = wishes;
    let of_users = users.iter().filter_map(|wish| wish.next_change(now));
    let of_groups = groups.iter().filter_map(|wish| wish.next_change(now));
    of_users.chain(of_groups).min()
}

/// Nothing is planned with a directory that is not known in full.
fn unknown(wishes: &Wishes, reason: Incomplete) -> Plan<'_> {
    let Wishes { users, groups } = wishes;
    let verdict = |object, subject| Verdict {
        object,
        subject,
        reason: Reason::DirectoryIncomplete,
        id: None,
        adopts: false,
        planned: PerKind::default(),
        sends: false,
        disowns: false,
        differs: Vec::new(),
        entries: Vec::new(),
        has_expired: false,
        suspension: None,
        stopped: PerKind::default(),
        overwritten: Vec::new(),
        added: None,
        scim_type: None,
    };
    let users = users
        .iter()
        .map(|wish| verdict(&wish.object, Subject::User(None)));
    let groups = groups
        .iter()
        .map(|wish| verdict(&wish.object, Subject::Group(None)));
    Plan {
        acts: Vec::new(),
        held: Vec::new(),
        pending: Vec::new(),
        verdicts: users.chain(groups).collect(),
        next: None,
        totals: Err(reason),
        asked: HashSet::new(),
        is_unsure: false,
    }
}

/// A verdict before it is known which kinds are held.
#[allow(clippy::struct_excessive_bools, reason = "each is one answer")]
pub(super) struct Draft<'a> {
    object: &'a ObjectId,
    subject: Subject,
    id: Option<&'a RemoteId>,
    adopts: bool,
    planned: PerKind<u32>,
    differs: Vec<Field>,
    /// Why not all of it is planned.
    refusal: Option<Reason>,
    /// The entries of the list for which the refusal stands.
    entries: Vec<u32>,
    has_expired: bool,
    /// What to say where nothing is planned.
    rest: Reason,
    is_paused: bool,
    /// Kinds of acts of other objects that a part of its changes waits for. It is held if they are.
    follows: PerKind<bool>,
    record: &'a Record,
    /// Whether a change was sent and is not read back yet.
    waits: bool,
    disowns: bool,
    suspension: Option<Asked>,
    stopped: PerKind<Option<StopReason>>,
    overwritten: Vec<(Kind, Timestamp)>,
    added: Option<Vec<RemoteId>>,
    scim_type: Option<ScimType>,
}

/// What becomes of an act that a plan asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is planned.
    Planned,
    /// It was sent, and waits for a read.
    Sent,
    /// It is not sent any more.
    Refused,
}

impl<'a> Draft<'a> {
    fn new(object: &'a ObjectId, subject: Subject, is_paused: bool, record: &'a Record) -> Self {
        Self {
            record,
            waits: false,
            disowns: false,
            suspension: None,
            stopped: record.stopped,
            overwritten: record.overwritten.clone(),
            added: None,
            scim_type: None,
            object,
            subject,
            id: None,
            adopts: false,
            planned: PerKind::default(),
            differs: Vec::new(),
            refusal: None,
            entries: Vec::new(),
            has_expired: false,
            rest: Reason::Provisioned,
            is_paused,
            follows: PerKind::default(),
        }
    }

    /// Whether the object stands for an account or group: nothing has refused it.
    pub(super) const fn has_id(&self) -> bool {
        self.id.is_some()
    }

    /// Of several refusals the first counts.
    const fn refuse(&mut self, reason: Reason) {
        if self.refusal.is_none() {
            self.refusal = Some(reason);
        }
    }

    fn verdict(self, is_held: impl Fn(Kind) -> bool, sending: Option<Reason>) -> Verdict<'a> {
        let Self {
            object,
            subject,
            id,
            adopts,
            planned,
            differs,
            refusal,
            mut entries,
            has_expired,
            rest,
            is_paused,
            follows,
            record: _,
            waits,
            disowns,
            suspension,
            stopped,
            overwritten,
            added,
            scim_type,
        } = self;
        let has = |kind: Kind| *planned.get(kind) > 0 || *follows.get(kind);
        let holds = Kind::ALL.into_iter().any(|kind| has(kind) && is_held(kind));
        let sends = sending.is_some()
            && !is_paused
            && Kind::ALL
                .into_iter()
                .any(|kind| *planned.get(kind) > 0 && !is_held(kind));
        let reason = if holds && !is_paused {
            Reason::Held
        } else if let Some(reason) = refusal {
            reason
        } else if Kind::ALL.into_iter().any(has) {
            sending.filter(|_| !is_paused).unwrap_or(Reason::ChangePlanned)
        } else if waits {
            Reason::Unproven
        } else {
            rest
        };
        if refusal != Some(reason) {
            entries.clear();
        }
        Verdict {
            object,
            subject,
            reason,
            id,
            adopts,
            planned,
            sends,
            disowns,
            differs,
            entries,
            has_expired,
            suspension,
            stopped,
            overwritten,
            added,
            scim_type,
        }
    }
}

struct Planner<'a, 'p> {
    wishes: &'a Wishes,
    directory: Directory<'a>,
    policy: &'p Policy,
    ledger: &'p Ledger,
    now: Timestamp,
    /// For each user of the snapshot whether an object wants the user suspended, a doubtful one among them.
    unwanted: Vec<bool>,
    acts: PerKind<Vec<Act<'a>>>,
    pending: Vec<Pending>,
    asked: HashSet<Key>,
    is_unsure: bool,
}

impl<'a, 'p> Planner<'a, 'p> {
    fn new(
        wishes: &'a Wishes,
        directory: Directory<'a>,
        policy: &'p Policy,
        ledger: &'p Ledger,
        now: Timestamp,
    ) -> Self {
        Self {
            wishes,
            directory,
            policy,
            ledger,
            now,
            unwanted: vec![false; directory.snapshot.users().len()],
            acts: PerKind::default(),
            pending: Vec::new(),
            asked: HashSet::new(),
            is_unsure: false,
        }
    }

    fn run(mut self) -> Plan<'a> {
        let keys: Vec<_> = self
            .wishes
            .users
            .iter()
            .map(|wish| (wish.known.as_ref(), fold(wish.user_name.as_str())))
            .collect();
        let mut claims = settle::<UserIndex, _>(self.directory.snapshot, self.directory.census, &keys);
        self.claim_attempted(&mut claims);
        self.note_unwanted(&claims);
        let mut users: Vec<UserCase<'a>> = self
            .wishes
            .users
            .iter()
            .zip(claims)
            .map(|(wish, claimed)| self.user(wish, claimed))
            .collect();
        // Whether suspensions are held decides which memberships are withdrawn.
        let suspensions_held = self.close(Kind::Suspension);
        for case in &mut users {
            if case.course == Course::Suspending && !suspensions_held {
                case.course = Course::Leaving;
            }
        }
        let crowd = Crowd::new(
            self.directory.snapshot,
            &users,
            keys,
            std::mem::take(&mut self.unwanted),
        );
        let group_keys: Vec<_> = self
            .wishes
            .groups
            .iter()
            .map(|wish| (wish.known.as_ref(), fold(wish.display_name.as_str())))
            .collect();
        let claims = settle::<GroupIndex, _>(self.directory.snapshot, self.directory.census, &group_keys);
        let groups: Vec<Draft<'a>> = self
            .wishes
            .groups
            .iter()
            .zip(claims)
            .map(|(wish, claimed)| self.group(wish, claimed, &crowd))
            .collect();
        let totals = crowd.totals();
        for kind in [Kind::Removal, Kind::Rename, Kind::Creation, Kind::Addition] {
            self.close(kind);
        }
        let sending = self.policy.sends.then(|| {
            if self.ledger.is_limited() {
                Reason::RateLimited
            } else {
                Reason::Progressing
            }
        });
        let Self {
            mut acts,
            pending,
            asked,
            is_unsure,
            ..
        } = self;
        let is_held = |kind| pending.iter().any(|pending| pending.kind == kind && pending.held);
        let verdicts = users
            .into_iter()
            .map(|case| case.draft)
            .chain(groups)
            .map(|draft| draft.verdict(is_held, sending))
            .collect();
        let (mut sent, mut held) = (Vec::new(), Vec::new());
        for kind in Kind::ALL {
            for act in std::mem::take(acts.get_mut(kind)) {
                let waits = act.change.follows_creation() && is_held(Kind::Creation);
                let list = if is_held(kind) || waits {
                    &mut held
                } else {
                    &mut sent
                };
                list.push(act);
            }
        }
        Plan {
            acts: sent,
            held,
            pending,
            verdicts,
            next: None,
            totals: Ok(totals),
            asked,
            is_unsure,
        }
    }

    /// An account that was asked for under a name that the object no longer wants is that of the object, and gets the other
    /// name. Else there would be two.
    fn claim_attempted(&self, claims: &mut [Claimed<UserIndex>]) {
        let mut taken: HashSet<UserIndex> = claims
            .iter()
            .filter_map(|claimed| claimed.claim.index())
            .collect();
        for (wish, claimed) in self.wishes.users.iter().zip(claims) {
            if claimed.claim == Claim::Nothing
                && !claimed.is_name_taken
                && let Some(name) = self.ledger.attempted(&wish.object)
                && let Found::One(index) = self.directory.snapshot.user_named(name)
                && taken.insert(index)
            {
                claimed.claim = Claim::Named(index);
            }
        }
    }

    /// Notes which users somebody wants suspended. Where a name leads to several, each of them may be meant.
    fn note_unwanted(&mut self, claims: &[Claimed<UserIndex>]) {
        let mut names = HashSet::new();
        for (wish, claimed) in self.wishes.users.iter().zip(claims) {
            if wish.state_at(self.now) != State::Suspended {
                continue;
            }
            match claimed.claim.index() {
                Some(index) => {
                    if let Some(unwanted) = self.unwanted.get_mut(index.place()) {
                        *unwanted = true;
                    }
                }
                None if wish.known.is_none() => {
                    names.insert(fold(wish.user_name.as_str()));
                }
                None => {}
            }
        }
        if names.is_empty() {
            return;
        }
        for (user, unwanted) in self.directory.snapshot.users().iter().zip(&mut self.unwanted) {
            *unwanted |= user
                .user_name
                .as_deref()
                .is_some_and(|name| names.contains(&fold(name)));
        }
    }

    /// Brings the acts of a kind into order and holds them against the limit. Whether they are held.
    fn close(&mut self, kind: Kind) -> bool {
        let acts = self.acts.get_mut(kind);
        if acts.is_empty() {
            return false;
        }
        acts.sort_by(|a, b| {
            a.change
                .place()
                .cmp(&b.change.place())
                .then_with(|| a.object.cmp(b.object))
        });
        let key = &self.policy.digest_key;
        let released = self.ledger.release(kind).map(|release| &*release.digest);
        let mut digester = Digester::of_set(key, kind, released);
        let digests: Vec<Digest> = acts.iter().map(|act| act.change.digest(key)).collect();
        for digest in &digests {
            digester.add(&digest.to_string());
        }
        let digest = digester.finish();
        let count = u32::try_from(acts.len()).unwrap_or(u32::MAX);
        let left = self
            .policy
            .limits
            .get(kind)
            .map(|limit| limit.saturating_sub(self.ledger.spent().within(kind, self.ledger.time())));
        let held = left.is_some_and(|left| count > left)
            && !self.policy.released.contains(&digest)
            && !self.ledger.is_released(kind, digests.iter());
        self.pending.push(Pending {
            kind,
            count,
            left,
            digest,
            held,
        });
        held
    }

    /// Notes an act, unless its object is paused or the act may not be sent. `repeats` says that the operator has done
    /// it before, so that somebody else must have undone it.
    fn act(&mut self, draft: &mut Draft<'a>, change: Change<'a>, repeats: bool) -> Fate {
        let kind = change.kind();
        if self.policy.sends && !draft.is_paused {
            let key = change.key(draft.object);
            let standing = self.ledger.standing(&key);
            draft.disowns |= self.ledger.is_refuted(&key);
            self.asked.insert(key);
            let stopped = match (*draft.stopped.get(kind), standing) {
                (Some(reason), _) | (None, Standing::Stopped(reason)) => Some(reason),
                (None, Standing::Refused(scim_type)) => {
                    draft.scim_type = scim_type;
                    draft.refuse(Reason::Rejected);
                    return Fate::Refused;
                }
                (None, Standing::Waits) => {
                    draft.waits = true;
                    return Fate::Sent;
                }
                (None, Standing::Free)
                    if change.creates() && !self.ledger.may_create(draft.object, draft.record.is_ours) =>
                {
                    self.is_unsure = true;
                    draft.waits = true;
                    return Fate::Sent;
                }
                (None, Standing::Free) if repeats => self.contest(draft, kind),
                (None, Standing::Free) => None,
            };
            if let Some(reason) = stopped {
                *draft.stopped.get_mut(kind) = Some(reason);
                draft.refuse(match reason {
                    StopReason::Contested => Reason::Contested,
                    StopReason::NotAsWritten => Reason::NotAsWritten,
                    StopReason::Unsupported => Reason::Unsupported,
                });
                return Fate::Refused;
            }
        }
        *draft.planned.get_mut(kind) += 1;
        if !draft.is_paused {
            self.acts.get_mut(kind).push(Act {
                object: draft.object,
                change,
            });
        }
        Fate::Planned
    }

    /// Somebody else has undone an act of this kind: for the second time within a day, that is a contest.
    fn contest(&self, draft: &mut Draft<'a>, kind: Kind) -> Option<StopReason> {
        let before = draft.record.overwritten.iter().find(|(known, _)| *known == kind);
        // A clock that was set back forgets nothing: then the time is negative.
        let is_recent = |at: Timestamp| {
            Duration::try_from(self.now.duration_since(at)).is_ok_and(|passed| passed < CONTEST)
                || at > self.now
        };
        if before.is_some_and(|(_, at)| is_recent(*at)) {
            return Some(StopReason::Contested);
        }
        draft.overwritten.retain(|(known, _)| *known != kind);
        draft.overwritten.push((kind, self.now));
        None
    }

    fn user(&mut self, wish: &'a UserWish, claimed: Claimed<UserIndex>) -> UserCase<'a> {
        // Destructured in full: a new field has to be thought about here.
        let UserWish {
            object,
            known: _,
            user_name,
            given_name: _,
            family_name: _,
            state: _,
            active_until: _,
            adopt: _,
            paused,
            record,
        } = wish;
        let wanted = wish.state_at(self.now);
        let snapshot = self.directory.snapshot;
        let user = claimed.claim.index().and_then(|index| snapshot.user(index));
        let subject = Subject::User(user.map(|user| user.active));
        let mut case = UserCase {
            wish,
            claim: claimed.claim,
            wanted,
            course: Course::Still,
            draft: Draft::new(object, subject, *paused, record),
        };
        case.draft.has_expired = wanted != wish.state;
        case.draft.suspension = (wanted == State::Suspended).then_some(match wish.active_until {
            Some(until) if case.draft.has_expired => Asked::At(until),
            Some(_) | None => Asked::Now,
        });
        let policy = self.policy;
        let shown_name = user.and_then(|user| user.user_name.as_deref());
        // Most accounts have the very name that is wanted.
        let other_name = shown_name.filter(|name| *name != user_name.as_str());
        let is_known = matches!(claimed.claim, Claim::Known(_));
        if !policy.scope.has_user(user_name.as_str())
            || other_name.is_some_and(|name| !policy.scope.has_user(name))
            || (is_known && shown_name.is_none())
        {
            case.draft.refuse(Reason::OutOfScope);
            return case;
        }
        let is_protected = || {
            policy.protected.has_user(user_name.as_str())
                || other_name.is_some_and(|name| policy.protected.has_user(name))
        };
        match (claimed.claim, user) {
            (Claim::Known(_) | Claim::Named(_), Some(user)) => {
                self.existing_user(&mut case, user, claimed, is_protected);
            }
            (Claim::Nothing, _) if wanted == State::Suspended => case.draft.rest = Reason::Suspended,
            (Claim::Nothing, _) if is_protected() => case.draft.refuse(Reason::Protected),
            (Claim::Nothing, _) => {
                let fate = self.act(&mut case.draft, Change::CreateUser { wish }, false);
                if !paused && fate != Fate::Refused {
                    case.course = Course::Coming;
                }
            }
            (Claim::Gone, _) => case.draft.refuse(Reason::RemoteGone),
            (Claim::Absent | Claim::Known(_) | Claim::Named(_), _) => {
                case.draft.refuse(Reason::DirectoryIncomplete);
            }
            (Claim::Ambiguous(_), _) => case.draft.refuse(Reason::Ambiguous),
        }
        case
    }

    /// An account that is there: what differs, and what may be done about it.
    fn existing_user(
        &mut self,
        case: &mut UserCase<'a>,
        user: &'a User,
        claimed: Claimed<UserIndex>,
        is_protected: impl Fn() -> bool,
    ) {
        let wish = case.wish;
        let draft = &mut case.draft;
        let suspends = case.wanted == State::Suspended && user.active != Activity::Suspended;
        let reactivates = case.wanted == State::Active && user.active == Activity::Suspended;
        let is_unwanted = claimed
            .claim
            .index()
            .is_some_and(|index| self.unwanted.get(index.place()).is_none_or(|unwanted| *unwanted));
        // A name that the list does not show is not compared.
        let differs = |shown: Option<&str>, wanted: &'a PlainName| {
            shown
                .is_some_and(|shown| !is_same_text(shown, wanted.as_str()))
                .then_some(wanted)
        };
        let given_name = differs(user.given_name.as_deref(), &wish.given_name);
        let family_name = differs(user.family_name.as_deref(), &wish.family_name);
        let renames = claimed.renames;
        for (field, does_differ) in [
            (Field::State, suspends || reactivates),
            (Field::UserName, renames),
            (Field::GivenName, given_name.is_some()),
            (Field::FamilyName, family_name.is_some()),
        ] {
            if does_differ {
                draft.differs.push(field);
            }
        }
        let is_new = matches!(claimed.claim, Claim::Named(_));
        if is_new && !wish.record.is_ours && !may_adopt(wish.adopt, draft.differs.is_empty()) {
            draft.refuse(Reason::AlreadyExists);
            return;
        }
        draft.adopts = is_new;
        draft.id = Some(&user.id);
        let repeats = wish.record.settled == Some(case.wanted);
        if draft.differs.is_empty() {
            if case.wanted == State::Suspended {
                case.course = Course::Leaving;
            }
            draft.rest = match (case.wanted, user.active) {
                (State::Suspended, _) => Reason::Suspended,
                (State::Active, Activity::Unsaid) => Reason::Unproven,
                (State::Active, Activity::Active | Activity::Suspended) => Reason::Provisioned,
            };
            return;
        }
        if is_protected() {
            draft.refuse(Reason::Protected);
            return;
        }
        if suspends {
            let fate = self.act(draft, Change::Suspend { user }, repeats);
            case.course = match fate {
                Fate::Planned if !wish.paused => Course::Suspending,
                Fate::Sent => Course::Leaving,
                Fate::Planned | Fate::Refused => Course::Still,
            };
        } else if case.wanted == State::Suspended {
            case.course = Course::Leaving;
        }
        // A name that somebody has is never asked for: some servers give it away in silence.
        let user_name = (renames && !claimed.is_name_taken).then_some(&wish.user_name);
        if renames && user_name.is_none() {
            draft.refuse(Reason::Ambiguous);
        }
        if user_name.is_some() || given_name.is_some() || family_name.is_some() {
            self.act(
                draft,
                Change::RenameUser {
                    user,
                    user_name,
                    given_name,
                    family_name,
                },
                repeats,
            );
        }
        if reactivates && is_unwanted {
            // Another object wants this account suspended. Which of the two counts is for a person to say.
            draft.refuse(Reason::Ambiguous);
        } else if reactivates {
            let fate = self.act(draft, Change::Reactivate { user }, repeats);
            if !wish.paused && fate != Fate::Refused {
                case.course = Course::Coming;
            }
        }
    }

    fn group(
        &mut self,
        wish: &'a GroupWish,
        claimed: Claimed<GroupIndex>,
        crowd: &Crowd<'a, '_>,
    ) -> Draft<'a> {
        // Destructured in full: a new field has to be thought about here.
        let GroupWish {
            object,
            known: _,
            display_name,
            membership: _,
            members: _,
            added: _,
            adopt,
            paused,
            record,
        } = wish;
        let snapshot = self.directory.snapshot;
        let policy = self.policy;
        let mut draft = Draft::new(object, Subject::Group(None), *paused, record);
        let group = claimed.claim.index().and_then(|index| snapshot.group(index));
        let remote_name = group.and_then(|group| group.display_name.as_deref());
        let is_known = matches!(claimed.claim, Claim::Known(_));
        if !policy.scope.has_group(display_name.as_str())
            || remote_name.is_some_and(|name| !policy.scope.has_group(name))
            || (is_known && remote_name.is_none())
        {
            draft.refuse(Reason::OutOfScope);
            return draft;
        }
        let is_protected = policy.protected.has_group(display_name.as_str())
            || remote_name.is_some_and(|name| policy.protected.has_group(name));
        let group = match (claimed.claim, group) {
            (Claim::Known(_) | Claim::Named(_), Some(group)) => group,
            (Claim::Nothing, _) => {
                if is_protected {
                    draft.refuse(Reason::Protected);
                } else {
                    let diff = self.members(wish, Host::Coming(wish), crowd);
                    draft.subject = Subject::Group(diff.counts);
                    let fate = self.act(&mut draft, Change::CreateGroup { wish }, false);
                    if fate != Fate::Refused {
                        self.additions(&mut draft, Host::Coming(wish), diff);
                    }
                }
                return draft;
            }
            (Claim::Gone, _) => {
                draft.refuse(Reason::RemoteGone);
                return draft;
            }
            (Claim::Absent | Claim::Known(_) | Claim::Named(_), _) => {
                draft.refuse(Reason::DirectoryIncomplete);
                return draft;
            }
            (Claim::Ambiguous(_), _) => {
                draft.refuse(Reason::Ambiguous);
                return draft;
            }
        };
        let mut diff = self.members(wish, Host::Present(group), crowd);
        draft.subject = Subject::Group(diff.counts);
        if claimed.renames {
            draft.differs.push(Field::DisplayName);
        }
        if diff.does_differ() {
            draft.differs.push(Field::Members);
        }
        let is_new = matches!(claimed.claim, Claim::Named(_));
        if is_new && !record.is_ours && !may_adopt(*adopt, draft.differs.is_empty()) {
            draft.refuse(Reason::AlreadyExists);
            return draft;
        }
        draft.adopts = is_new;
        draft.id = Some(&group.id);
        if is_protected && (claimed.renames || !diff.removals.is_empty() || !diff.additions.is_empty()) {
            draft.refuse(Reason::Protected);
            return draft;
        }
        draft.added = diff.added.take();
        for kind in [Kind::Removal, Kind::Addition] {
            // The members are back, so that nothing differs. A person has to know of this bridge all the same.
            if self.ledger.has_lost_members(object, kind) {
                *draft.stopped.get_mut(kind) = Some(StopReason::NotAsWritten);
                draft.refuse(Reason::NotAsWritten);
            }
        }
        let is_settled = record.settled.is_some();
        for (user, cause) in std::mem::take(&mut diff.removals) {
            let repeats = is_settled && cause == RemovalCause::NotListed;
            self.act(&mut draft, Change::Remove { group, user, cause }, repeats);
        }
        if claimed.renames && claimed.is_name_taken {
            draft.refuse(Reason::Ambiguous);
        } else if claimed.renames {
            self.act(
                &mut draft,
                Change::RenameGroup { group, display_name },
                is_settled,
            );
        }
        self.additions(&mut draft, Host::Present(group), diff);
        draft
    }

    /// Notes who joins a group, and why not everybody does.
    fn additions(&mut self, draft: &mut Draft<'a>, group: Host<'a>, diff: MemberDiff<'a>) {
        let is_settled = draft.record.settled.is_some();
        for user in diff.additions {
            let repeats = is_settled && user.id().is_some_and(|id| diff.undone.contains(&id));
            self.act(draft, Change::Add { group, user }, repeats);
        }
        draft.follows = diff.follows;
        if let Some((reason, mut entries)) = diff.refusal
            && draft.refusal.is_none()
        {
            draft.refuse(reason);
            entries.sort_unstable();
            entries.dedup();
            draft.entries = entries;
        }
    }

    /// Compares the members of a group with the list.
    fn members(&self, wish: &'a GroupWish, group: Host<'a>, crowd: &Crowd<'a, '_>) -> MemberDiff<'a> {
        let mut diff = MemberDiff::default();
        let list = crowd.list(wish, self.now);
        let snapshot = self.directory.snapshot;
        let empty = Members::Listed {
            users: Box::default(),
            others: 0,
        };
        let has_way = snapshot.members_read_by().is_some();
        let is_additive = wish.membership == Membership::Additive;
        // Where no group shows a member, one addition shows whether a way exists. Nothing else does in a new account.
        let may_try = !has_way && is_additive && !self.ledger.has_failed_trial();
        let members = match group {
            Host::Present(group) => &group.members,
            // It will have none.
            Host::Coming(_) if has_way => &empty,
            Host::Coming(_) => &Members::Unread,
        };
        let (present, others, is_blind) = match members {
            Members::Listed { users, others } => (&**users, *others, false),
            // Members that nobody can see are left as they are. Who is not known to be one may be added.
            Members::Unsaid if is_additive || list.has_entries => (&[][..], 0, true),
            Members::Unread if may_try => (&[][..], 0, true),
            Members::Unsaid | Members::Unread => {
                let is_content = is_additive && wish.added.is_empty() && !list.has_entries;
                diff.refusal = (!is_content).then(|| (Reason::MembersUnreadable, Vec::new()));
                return diff;
            }
        };
        let is_present = |user: &UserIndex| present.binary_search(user).is_ok();
        self.joiners(wish, &list, crowd, is_present, is_blind, &mut diff);
        let is_ours_still = |id: &&RemoteId| {
            is_blind
                || snapshot.user_by_id(id).map_or(others > 0, |user| {
                    is_present(&user)
                        || entry_of(&list.wanted, user).is_some()
                        || self.ledger.may_show(&addition(wish, id))
                })
        };
        diff.added = Some(wish.added.iter().filter(is_ours_still).cloned().collect());
        // Whom the operator added and who should be out may still be in.
        let may_remain = |id: &RemoteId| {
            snapshot
                .user_by_id(id)
                .is_some_and(|user| entry_of(&list.wanted, user).is_none())
        };
        if is_blind && wish.added.iter().any(may_remain) {
            diff.refuse(Reason::MembersUnreadable, None);
        }
        let mut extra = others;
        for index in present {
            if entry_of(&list.wanted, *index).is_some() {
                continue;
            }
            extra = extra.saturating_add(1);
            let Some(user) = snapshot.user(*index) else {
                continue;
            };
            let is_clear = list.ambiguous.is_empty() && list.unknown.is_empty();
            let cause = removal_cause(wish, &list, crowd, (user, *index), is_clear, &mut diff);
            let Some(cause) = cause else {
                continue;
            };
            if !self.is_in_scope(user) {
                diff.refuse(Reason::OutOfScope, None);
            } else if self.is_protected(user) {
                diff.refuse(Reason::Protected, None);
            } else {
                diff.removals.push((user, cause));
            }
        }
        if wish.membership == Membership::Exact && others > 0 {
            diff.refuse(Reason::MembersUnreadable, None);
        }
        if is_blind && !has_way {
            return diff;
        }
        let present_and_wanted = list
            .wanted
            .iter()
            .filter(|listed| is_present(&listed.user))
            .count();
        let wanted = list.count();
        let present_and_wanted = u32::try_from(present_and_wanted).unwrap_or(u32::MAX);
        diff.counts = Some(MemberCounts {
            wanted,
            present: present_and_wanted,
            missing: wanted.saturating_sub(present_and_wanted),
            extra,
        });
        diff
    }

    /// Notes who is listed and no member, or why that user cannot join.
    fn joiners(
        &self,
        wish: &'a GroupWish,
        list: &List<'a>,
        crowd: &Crowd<'a, '_>,
        is_present: impl Fn(&UserIndex) -> bool,
        is_blind: bool,
        diff: &mut MemberDiff<'a>,
    ) {
        let has_way = self.directory.snapshot.members_read_by().is_some();
        let is_settled = wish.record.settled.is_some();
        for listed in &list.wanted {
            if is_present(&listed.user) {
                continue;
            }
            let user = self.directory.snapshot.user(listed.user);
            if let Some(user) = user.filter(|user| wish.added.binary_search(&user.id).is_ok()) {
                let key = addition(wish, &user.id);
                if !is_blind {
                    diff.undone.push(&user.id);
                } else if (!has_way || is_settled) && self.ledger.standing(&key) == Standing::Free {
                    // The user may be in the group: many servers list somebody twice who is added twice. Where other groups
                    // show members, an addition that was noted and never shown was not sent: a crash came between.
                    diff.refuse(Reason::MembersUnreadable, Some(listed.entry));
                    continue;
                }
            }
            match crowd.joining(listed.user) {
                Some(Joiner::Active(user) | Joiner::Returning(user)) if !self.is_in_scope(user) => {
                    diff.refuse(Reason::OutOfScope, Some(listed.entry));
                }
                Some(user) => diff.add(user),
                None => diff.refuse(Reason::MemberMissing, Some(listed.entry)),
            }
        }
        for user in &list.coming {
            diff.add(Joiner::Coming(user));
        }
        for entry in &list.ambiguous {
            diff.refuse(Reason::Ambiguous, Some(*entry));
        }
        for entry in &list.unknown {
            diff.refuse(Reason::MemberMissing, Some(*entry));
        }
    }

    /// Whether the user's name is in the scope. A user without a readable name is not.
    fn is_in_scope(&self, user: &User) -> bool {
        user.user_name
            .as_deref()
            .is_some_and(|name| self.policy.scope.has_user(name))
    }

    fn is_protected(&self, user: &User) -> bool {
        user.user_name
            .as_deref()
            .is_none_or(|name| self.policy.protected.has_user(name))
    }
}

/// Why a member who is not wanted leaves the group. `None` if the member stays.
fn removal_cause(
    wish: &GroupWish,
    list: &List<'_>,
    crowd: &Crowd<'_, '_>,
    (user, index): (&User, UserIndex),
    is_clear: bool,
    diff: &mut MemberDiff<'_>,
) -> Option<RemovalCause> {
    let is_ours = wish.added.binary_search(&user.id).is_ok();
    let suspended = entry_of(&list.suspended, index);
    let expired = entry_of(&list.expired, index);
    if !(is_ours || wish.membership == Membership::Exact) {
        if let Some(entry) = suspended.or(expired) {
            diff.refuse(Reason::MemberRemains, Some(entry));
        }
        None
    } else if suspended.is_some() {
        match crowd.leaving(index) {
            Leaving::Yes => Some(RemovalCause::Suspended),
            Leaving::IfReleased => {
                diff.follows.suspensions = true;
                None
            }
            Leaving::No => None,
        }
    } else if expired.is_some() {
        Some(RemovalCause::Expired)
    } else if is_ours && crowd.leaving(index) == Leaving::Yes {
        Some(RemovalCause::Suspended)
    } else {
        is_clear.then_some(RemovalCause::NotListed)
    }
}

/// The addition of a user to a group, as the ledger names it.
fn addition(wish: &GroupWish, user: &RemoteId) -> Key {
    Key {
        object: wish.object.clone(),
        kind: Kind::Addition,
        member: Some(user.clone()),
    }
}

const fn may_adopt(adopt: Adopt, is_unchanged: bool) -> bool {
    match adopt {
        Adopt::Always => true,
        Adopt::IfUnchanged => is_unchanged,
        Adopt::Never => false,
    }
}

/// What differs between a group and its list.
#[derive(Default)]
struct MemberDiff<'a> {
    /// Those whom the operator added before and who should still be in the group.
    undone: Vec<&'a RemoteId>,
    /// Those whom the operator added and who are or should be in the group; `None` where nobody knows.
    added: Option<Vec<RemoteId>>,
    removals: Vec<(&'a User, RemovalCause)>,
    additions: Vec<Joiner<'a>>,
    counts: Option<MemberCounts>,
    /// Why not all of it is planned, and the entries for which that stands.
    refusal: Option<(Reason, Vec<u32>)>,
    follows: PerKind<bool>,
}

impl<'a> MemberDiff<'a> {
    fn add(&mut self, user: Joiner<'a>) {
        self.follows.creations |= !matches!(user, Joiner::Active(_));
        self.additions.push(user);
    }

    /// The gravest refusal counts: the one that names a limit of the connection.
    fn refuse(&mut self, reason: Reason, entry: Option<u32>) {
        const GRAVITY: [Reason; 6] = [
            Reason::Protected,
            Reason::OutOfScope,
            Reason::Ambiguous,
            Reason::MembersUnreadable,
            Reason::MemberMissing,
            Reason::MemberRemains,
        ];
        let place = |reason| GRAVITY.iter().position(|other| *other == reason);
        match &mut self.refusal {
            Some((before, _)) if place(*before) < place(reason) => {}
            Some((before, entries)) if *before == reason => entries.extend(entry),
            refusal => *refusal = Some((reason, entry.into_iter().collect())),
        }
    }

    fn does_differ(&self) -> bool {
        !self.removals.is_empty()
            || !self.additions.is_empty()
            || self.follows != PerKind::default()
            || self.refusal.is_some()
    }
}
