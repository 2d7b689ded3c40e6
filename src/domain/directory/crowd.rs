//! The users of a directory as groups see them. Whom does an entry of a list mean, who may join, and who leaves?

use std::{borrow::Cow, cmp::Ordering, collections::HashMap};

use k8s_openapi::jiff::Timestamp;

use super::{
    act::Joiner,
    claim::Claim,
    names::{RemoteId, fold},
    plan::{Draft, Totals},
    snapshot::{Activity, Found, Snapshot, UserIndex},
    wish::{GroupWish, State, UserWish},
};

/// The facts about a user's object once its claim is settled.
pub(super) struct UserCase<'a> {
    pub(super) wish: &'a UserWish,
    pub(super) claim: Claim<UserIndex>,
    pub(super) wanted: State,
    pub(super) course: Course,
    pub(super) draft: Draft<'a>,
}

/// Where a user's account is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// Nowhere, or nobody knows.
    Still,
    /// A read shows that the user is suspended as declared, or the suspension is sent now.
    Leaving,
    /// The suspension is planned, and it is not settled yet whether it is held.
    Suspending,
    /// The account will be made, or made active again.
    Coming,
}

/// Whether a user's memberships are withdrawn because the user is declared suspended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    Yes,
    /// The suspension is held, and so is what follows from it.
    IfReleased,
    No,
}

/// The users of the snapshot and their objects, as groups see them.
pub(super) struct Crowd<'a, 'c> {
    snapshot: &'a Snapshot,
    cases: &'c [UserCase<'a>],
    /// For each user of the snapshot the object that stands for it.
    owners: Vec<Option<u32>>,
    /// Whether an object wants the user suspended, a doubtful one among them.
    unwanted: Vec<bool>,
    /// The object for each user name, and its rank; `None` where several of this rank have the name.
    by_name: HashMap<Cow<'a, str>, (u8, Option<u32>)>,
}

/// The list of a group, resolved.
#[derive(Default)]
pub(super) struct List<'a> {
    /// Users who should be members: in order, each once.
    pub(super) wanted: Vec<Listed>,
    /// Users who are listed, and declared suspended.
    pub(super) suspended: Vec<Listed>,
    /// Users whose entry has expired, without those that another entry holds.
    pub(super) expired: Vec<Listed>,
    /// Users who will be created.
    pub(super) coming: Vec<&'a UserWish>,
    /// Entries that lead to nobody.
    pub(super) unknown: Vec<u32>,
    /// Entries that lead to several.
    pub(super) ambiguous: Vec<u32>,
    /// Whether any entry counts now.
    pub(super) has_entries: bool,
}

/// A user of a list, and the place of the entry in `spec.members`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listed {
    pub(super) user: UserIndex,
    pub(super) entry: u32,
}

/// The entry of a user in a list that is in order.
pub(super) fn entry_of(list: &[Listed], user: UserIndex) -> Option<u32> {
    list.binary_search_by_key(&user, |listed| listed.user)
        .ok()
        .and_then(|place| list.get(place))
        .map(|listed| listed.entry)
}

impl List<'_> {
    pub(super) fn count(&self) -> u32 {
        let entries = self.wanted.len() + self.coming.len() + self.unknown.len() + self.ambiguous.len();
        u32::try_from(entries).unwrap_or(u32::MAX)
    }
}

/// What an entry of a list leads to.
enum Entry<'a> {
    User(UserIndex),
    /// Declared suspended, and without an account.
    Nobody,
    Coming(&'a UserWish),
    Unknown,
    Ambiguous,
}

impl<'a, 'c> Crowd<'a, 'c> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        cases: &'c [UserCase<'a>],
        keys: Vec<(Option<&RemoteId>, Cow<'a, str>)>,
        unwanted: Vec<bool>,
    ) -> Self {
        let mut owners = vec![None; snapshot.users().len()];
        let mut by_name = HashMap::with_capacity(keys.len());
        for ((number, case), (_, key)) in (0..).zip(cases).zip(keys) {
            // Who holds the account of this name by its id comes first, then who holds another one. What somebody else
            // declares under the same name takes nothing from them.
            let rank: u8 = match (case.claim, snapshot.user_named(&key)) {
                (Claim::Known(index), Found::One(named)) if index == named => 2,
                (Claim::Known(_), _) => 1,
                _ => 0,
            };
            by_name
                .entry(key)
                .and_modify(|(best, entry): &mut (u8, Option<u32>)| match rank.cmp(best) {
                    Ordering::Greater => (*best, *entry) = (rank, Some(number)),
                    Ordering::Equal => *entry = None,
                    Ordering::Less => {}
                })
                .or_insert((rank, Some(number)));
            if let Claim::Known(index) | Claim::Named(index) = case.claim
                && let Some(owner) = owners.get_mut(index.place())
            {
                *owner = Some(number);
            }
        }
        Self {
            snapshot,
            cases,
            owners,
            unwanted,
            by_name,
        }
    }

    fn case(&self, number: u32) -> Option<&'c UserCase<'a>> {
        self.cases.get(number as usize)
    }

    fn owner(&self, index: UserIndex) -> Option<&'c UserCase<'a>> {
        self.owners
            .get(index.place())
            .copied()
            .flatten()
            .and_then(|number| self.case(number))
    }

    fn is_unwanted(&self, index: UserIndex) -> bool {
        self.unwanted.get(index.place()).copied().unwrap_or_default()
    }

    /// The user as one who may join: an active one whom nobody wants in another state, or one whom the plan makes active.
    pub(super) fn joining(&self, index: UserIndex) -> Option<Joiner<'a>> {
        let user = self.snapshot.user(index)?;
        if user.active == Activity::Active && !self.is_unwanted(index) {
            return Some(Joiner::Active(user));
        }
        let is_coming = self
            .owner(index)
            .is_some_and(|case| case.course == Course::Coming);
        is_coming.then_some(Joiner::Returning(user))
    }

    pub(super) fn leaving(&self, index: UserIndex) -> Leaving {
        match self.owner(index) {
            Some(case) if case.course == Course::Leaving && !case.wish.paused => Leaving::Yes,
            Some(case) if case.course == Course::Suspending => Leaving::IfReleased,
            Some(_) | None => Leaving::No,
        }
    }

    /// Finds whom an entry means: the object of this name counts more than an account of this name.
    fn find(&self, key: &str) -> Entry<'a> {
        let named = self.snapshot.user_named(key);
        let case = match self.by_name.get(key) {
            Some((_, None)) => return Entry::Ambiguous,
            Some((_, Some(number))) => self.case(*number),
            None => None,
        };
        let Some(case) = case else {
            return match named {
                Found::One(index) => Entry::User(index),
                Found::Nothing => Entry::Unknown,
                Found::Several => Entry::Ambiguous,
            };
        };
        match (case.claim, named) {
            (Claim::Known(index) | Claim::Named(index), Found::One(other)) if index != other => {
                Entry::Ambiguous
            }
            (Claim::Known(index) | Claim::Named(index), _) => Entry::User(index),
            (Claim::Nothing, _) if case.wanted == State::Suspended => Entry::Nobody,
            (Claim::Nothing, _) if case.course == Course::Coming => Entry::Coming(case.wish),
            (Claim::Nothing | Claim::Absent | Claim::Gone, _) => Entry::Unknown,
            (Claim::Ambiguous(_), _) => Entry::Ambiguous,
        }
    }

    pub(super) fn list(&self, wish: &GroupWish, now: Timestamp) -> List<'a> {
        let mut list = List::default();
        for (entry, member) in (0..).zip(&wish.members) {
            let is_current = member.is_current(now);
            list.has_entries |= is_current;
            match (self.find(&fold(member.user_name.as_str())), is_current) {
                (Entry::User(user), true) if self.is_unwanted(user) => {
                    list.suspended.push(Listed { user, entry });
                }
                (Entry::User(user), true) => list.wanted.push(Listed { user, entry }),
                (Entry::User(user), false) => list.expired.push(Listed { user, entry }),
                (Entry::Nobody, _) | (Entry::Coming(_) | Entry::Unknown, false) => {}
                (Entry::Coming(wish), true) => list.coming.push(wish),
                (Entry::Unknown, true) => list.unknown.push(entry),
                // Whom the entry no longer means is as unclear as whom it means.
                (Entry::Ambiguous, _) => list.ambiguous.push(entry),
            }
        }
        for users in [&mut list.wanted, &mut list.suspended, &mut list.expired] {
            users.sort_unstable();
            users.dedup_by_key(|listed| listed.user);
        }
        list
    }

    pub(super) fn totals(&self) -> Totals {
        let mut totals = Totals {
            users: self.snapshot.users().len(),
            groups: self.snapshot.groups().len(),
            ..Totals::default()
        };
        for (user, owner) in self.snapshot.users().iter().zip(&self.owners) {
            if user.active == Activity::Suspended {
                totals.suspended += 1;
            }
            // An object that was refused the account does not watch over it.
            let stands_for = owner
                .and_then(|number| self.case(number))
                .is_some_and(|case| case.draft.has_id());
            if stands_for {
                totals.managed += 1;
            } else if user.active == Activity::Active {
                totals.unmanaged_active += 1;
            }
        }
        totals
    }
}
