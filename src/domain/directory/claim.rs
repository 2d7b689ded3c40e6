//! Which object stands for which account or group.

use std::{borrow::Cow, collections::HashMap};

use super::{
    census::{Census, Presence},
    names::{RemoteId, fold},
    snapshot::{Found, GroupIndex, Snapshot, UserIndex},
};

/// What an object stands for on the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim<I> {
    /// The thing of the stored id.
    Known(I),
    /// The thing of this name, which nobody else claims.
    Named(I),
    /// Nothing has this name.
    Nothing,
    /// The thing of the stored id was not in the last snapshot.
    Absent,
    /// The thing of the stored id is gone.
    Gone,
    /// Several answer. One of them may be this.
    Ambiguous(Option<I>),
}

impl<I: Copy> Claim<I> {
    pub(super) const fn index(self) -> Option<I> {
        match self {
            Self::Known(index) | Self::Named(index) => Some(index),
            Self::Ambiguous(index) => index,
            Self::Nothing | Self::Absent | Self::Gone => None,
        }
    }
}

/// How the things of one kind are found.
pub(super) trait Things<I> {
    fn by_id(&self, id: &RemoteId) -> Option<I>;
    fn by_name(&self, folded: &str) -> Found<I>;
    /// Whether the thing's own name has this fold.
    fn has_name(&self, index: I, folded: &str) -> bool;
    /// How many there are.
    fn count(&self) -> usize;
    /// The place of one among them.
    fn place(index: I) -> usize;
}

impl Things<UserIndex> for Snapshot {
    fn by_id(&self, id: &RemoteId) -> Option<UserIndex> {
        self.user_by_id(id)
    }

    fn by_name(&self, folded: &str) -> Found<UserIndex> {
        self.user_named(folded)
    }

    fn has_name(&self, index: UserIndex, folded: &str) -> bool {
        let name = self.user(index).and_then(|user| user.user_name.as_deref());
        name.is_some_and(|name| *fold(name) == *folded)
    }

    fn count(&self) -> usize {
        self.users().len()
    }

    fn place(index: UserIndex) -> usize {
        index.place()
    }
}

impl Things<GroupIndex> for Snapshot {
    fn by_id(&self, id: &RemoteId) -> Option<GroupIndex> {
        self.group_by_id(id)
    }

    fn by_name(&self, folded: &str) -> Found<GroupIndex> {
        self.group_named(folded)
    }

    fn has_name(&self, index: GroupIndex, folded: &str) -> bool {
        let name = self.group(index).and_then(|group| group.display_name.as_deref());
        name.is_some_and(|name| *fold(name) == *folded)
    }

    fn count(&self) -> usize {
        self.groups().len()
    }

    fn place(index: GroupIndex) -> usize {
        index.place()
    }
}

/// A claim, and whether the name that the object wants is free for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claimed<I> {
    pub(super) claim: Claim<I>,
    /// Whether the object wants a name that its thing does not have.
    pub(super) renames: bool,
    /// Whether another object wants that name, or something on the bridge has it.
    pub(super) is_name_taken: bool,
}

/// Settles which object stands for what. An id counts more than a name; of two equal claims neither wins.
pub(super) fn settle<I: Copy, T: Things<I>>(
    things: &T,
    census: &Census,
    wishes: &[(Option<&RemoteId>, Cow<'_, str>)],
) -> Vec<Claimed<I>> {
    let mut by_id = vec![0_u32; things.count()];
    let mut by_name = vec![0_u32; things.count()];
    // Objects that want a name which nothing of theirs has yet.
    let mut wanted: HashMap<&str, u32> = HashMap::new();
    let mut claims = Vec::with_capacity(wishes.len());
    for (known, key) in wishes {
        let claim = match known {
            Some(id) => match things.by_id(id) {
                Some(index) => Claim::Known(index),
                None if census.presence(id) == Presence::Gone => Claim::Gone,
                None => Claim::Absent,
            },
            None => match things.by_name(key) {
                Found::One(index) => Claim::Named(index),
                Found::Nothing => Claim::Nothing,
                Found::Several => Claim::Ambiguous(None),
            },
        };
        let wants_name = match claim {
            Claim::Known(index) => {
                raise(&mut by_id, T::place(index));
                !things.has_name(index, key)
            }
            Claim::Named(index) => {
                raise(&mut by_name, T::place(index));
                false
            }
            Claim::Nothing | Claim::Absent | Claim::Gone => true,
            Claim::Ambiguous(_) => false,
        };
        if wants_name {
            *wanted.entry(key).or_default() += 1;
        }
        claims.push((claim, wants_name));
    }
    let count = |counts: &[u32], index: I| counts.get(T::place(index)).copied().unwrap_or_default();
    claims
        .into_iter()
        .zip(wishes)
        .map(|((claim, wants_name), (_, key))| {
            let rivals = wanted.get(&**key).copied().unwrap_or_default();
            let is_name_taken = wants_name && (rivals > 1 || !matches!(things.by_name(key), Found::Nothing));
            let claim = match claim {
                Claim::Known(index) if count(&by_id, index) > 1 => Claim::Ambiguous(Some(index)),
                Claim::Named(index) if count(&by_id, index) > 0 || count(&by_name, index) > 1 => {
                    Claim::Ambiguous(Some(index))
                }
                Claim::Nothing if is_name_taken => Claim::Ambiguous(None),
                Claim::Known(_)
                | Claim::Named(_)
                | Claim::Nothing
                | Claim::Absent
                | Claim::Gone
                | Claim::Ambiguous(_) => claim,
            };
            Claimed {
                claim,
                renames: wants_name,
                is_name_taken,
            }
        })
        .collect()
}

fn raise(counts: &mut [u32], place: usize) {
    if let Some(count) = counts.get_mut(place) {
        *count += 1;
    }
}
