//! From the acts of a plan to the next orders, and from a read to the effect of an order.

use std::collections::BTreeSet;

use super::{
    act::{Act, Change, Host, Joiner},
    budget::Kind,
    ledger::{Key, Ledger},
    names::{ObjectId, RemoteId, fold, is_same_text},
    order::{Order, Target},
    plan::Plan,
    snapshot::{Activity, Snapshot, UserEntry},
};

/// One order, and the acts that it carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The object that asks for it.
    pub object: ObjectId,
    /// The kind of its acts.
    pub kind: Kind,
    /// Its acts.
    pub keys: Vec<Key>,
    /// The order.
    pub order: Order,
}

/// The next orders of a plan, at most so many, in order. Acts that follow others of the plan come with a later plan.
///
/// While no way to read members is proven, one user is added. Nobody else is, until a read has shown that one.
#[must_use]
pub fn next_jobs(plan: &Plan<'_>, snapshot: &Snapshot, ledger: &Ledger, most: usize) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    let is_proven = snapshot.members_read_by().is_some();
    let mut is_tried = ledger.has_addition();
    for act in &plan.acts {
        let Some(order) = order_of(act) else {
            continue;
        };
        let kind = act.change.kind();
        let key = act.change.key(act.object);
        if let Target::Group(group) = order.target()
            && matches!(kind, Kind::Addition | Kind::Removal)
        {
            // Two orders for one group would not show which of them did something else.
            let is_first = !ledger.is_trusted(group, kind, 0);
            let is_busy = ledger.is_checked(group)
                || (is_first
                    && jobs
                        .iter()
                        .any(|job| job.object == *act.object && job.kind != kind));
            if is_busy {
                continue;
            }
            if !is_proven && kind == Kind::Addition {
                if is_tried {
                    continue;
                }
                is_tried = true;
            }
            let last = jobs.last_mut().filter(|job| {
                job.object == *act.object && job.kind == kind && job.keys.len() < ledger.chunk()
            });
            if let Some(last) = last {
                if last.order.join(order) {
                    last.keys.push(key);
                }
                continue;
            }
            if is_first
                && jobs
                    .iter()
                    .any(|job| job.object == *act.object && job.kind == kind)
            {
                continue;
            }
        }
        if jobs.len() >= most {
            break;
        }
        jobs.push(Job {
            object: act.object.clone(),
            kind,
            keys: vec![key],
            order,
        });
    }
    jobs
}

/// The order of an act. `None` if another act of the plan has to come first.
fn order_of(act: &Act<'_>) -> Option<Order> {
    Some(match &act.change {
        Change::Suspend { user } => Order::SetActive {
            user: user.id.clone(),
            active: false,
        },
        Change::Reactivate { user } => Order::SetActive {
            user: user.id.clone(),
            active: true,
        },
        Change::Remove { group, user, .. } => Order::RemoveMembers {
            group: group.id.clone(),
            users: vec![user.id.clone()],
        },
        Change::RenameUser {
            user,
            user_name,
            given_name,
            family_name,
        } => Order::RenameUser {
            user: user.id.clone(),
            user_name: user_name.cloned(),
            given_name: given_name.cloned(),
            family_name: family_name.cloned(),
        },
        Change::RenameGroup { group, display_name } => Order::RenameGroup {
            group: group.id.clone(),
            display_name: (*display_name).clone(),
        },
        Change::CreateUser { wish } => Order::CreateUser {
            user_name: wish.user_name.clone(),
            given_name: wish.given_name.clone(),
            family_name: wish.family_name.clone(),
        },
        Change::CreateGroup { wish } => Order::CreateGroup {
            display_name: wish.display_name.clone(),
        },
        Change::Add {
            group: Host::Present(group),
            user: Joiner::Active(user),
        } => Order::AddMembers {
            group: group.id.clone(),
            users: vec![user.id.clone()],
        },
        Change::Add { .. } => return None,
    })
}

impl Job {
    /// How many acts it carries out.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.keys.len()).unwrap_or(u32::MAX)
    }

    /// The job without those who are members already, or are none any more, where a read shows these members. `None` if
    /// nobody is left. Many servers list somebody twice who is added twice.
    #[must_use]
    pub fn still_needed(mut self, members: &BTreeSet<RemoteId>) -> Option<Self> {
        let (users, adds) = match &mut self.order {
            Order::AddMembers { users, .. } => (users, true),
            Order::RemoveMembers { users, .. } => (users, false),
            Order::CreateUser { .. }
            | Order::CreateGroup { .. }
            | Order::SetActive { .. }
            | Order::RenameUser { .. }
            | Order::RenameGroup { .. } => return Some(self),
        };
        let is_needed = |user: &RemoteId| members.contains(user) != adds;
        users.retain(is_needed);
        self.keys.retain(|key| key.member.as_ref().is_some_and(is_needed));
        (!self.keys.is_empty()).then_some(self)
    }

    /// The same job in two halves. `None` if it has only one act.
    #[must_use]
    pub fn halves(&self) -> Option<[Self; 2]> {
        let (Order::AddMembers { group, users } | Order::RemoveMembers { group, users }) = &self.order else {
            return None;
        };
        let half = users.len().checked_div(2).filter(|half| *half > 0)?;
        let part = |users: &[RemoteId], keys: &[Key]| Self {
            order: match self.order {
                Order::AddMembers { .. } => Order::AddMembers {
                    group: group.clone(),
                    users: users.to_vec(),
                },
                Order::RemoveMembers { .. }
                | Order::CreateUser { .. }
                | Order::CreateGroup { .. }
                | Order::SetActive { .. }
                | Order::RenameUser { .. }
                | Order::RenameGroup { .. } => Order::RemoveMembers {
                    group: group.clone(),
                    users: users.to_vec(),
                },
            },
            keys: keys.to_vec(),
            ..self.clone()
        };
        let ((users, more_users), (keys, more_keys)) = (users.split_at(half), self.keys.split_at(half));
        Some([part(users, keys), part(more_users, more_keys)])
    }
}

impl Order {
    /// Takes in the members of another order of the same form for the same group. Returns whether it did.
    fn join(&mut self, other: Self) -> bool {
        match (self, other) {
            (
                Self::AddMembers { group, users },
                Self::AddMembers {
                    group: other,
                    users: more,
                },
            )
            | (
                Self::RemoveMembers { group, users },
                Self::RemoveMembers {
                    group: other,
                    users: more,
                },
            ) if *group == other => {
                users.extend(more);
                true
            }
            _ => false,
        }
    }

    /// Whether a read of the user shows its effect.
    #[must_use]
    pub fn is_shown_by_user(&self, entry: &UserEntry) -> bool {
        let has = |shown: Option<&str>, wanted: &str| shown.is_some_and(|shown| is_same_text(shown, wanted));
        let is_named = |wanted: &str| {
            entry
                .user_name
                .as_deref()
                .is_some_and(|shown| fold(shown) == fold(wanted))
        };
        match self {
            Self::SetActive { active, .. } => {
                entry.active
                    == if *active {
                        Activity::Active
                    } else {
                        Activity::Suspended
                    }
            }
            Self::RenameUser {
                user: _,
                user_name,
                given_name,
                family_name,
            } => {
                user_name.as_ref().is_none_or(|name| is_named(name.as_str()))
                    && given_name
                        .as_ref()
                        .is_none_or(|name| has(entry.given_name.as_deref(), name.as_str()))
                    && family_name
                        .as_ref()
                        .is_none_or(|name| has(entry.family_name.as_deref(), name.as_str()))
            }
            Self::CreateUser { user_name, .. } => is_named(user_name.as_str()),
            Self::CreateGroup { .. }
            | Self::RenameGroup { .. }
            | Self::AddMembers { .. }
            | Self::RemoveMembers { .. } => false,
        }
    }

    /// Whether a group of this name, with these members, shows its effect. `None` if the members are not known.
    #[must_use]
    pub fn is_shown_by_group(
        &self,
        name: Option<&str>,
        members: Option<&BTreeSet<RemoteId>>,
    ) -> Option<bool> {
        match self {
            Self::CreateGroup { display_name } | Self::RenameGroup { display_name, .. } => {
                Some(name.is_some_and(|shown| fold(shown) == fold(display_name.as_str())))
            }
            Self::AddMembers { users, .. } => {
                members.map(|members| users.iter().all(|user| members.contains(user)))
            }
            Self::RemoveMembers { users, .. } => {
                members.map(|members| users.iter().all(|user| !members.contains(user)))
            }
            Self::CreateUser { .. } | Self::SetActive { .. } | Self::RenameUser { .. } => Some(false),
        }
    }

    /// Those of these members whom it leaves in the group.
    #[must_use]
    pub fn staying(&self, members: &BTreeSet<RemoteId>) -> BTreeSet<RemoteId> {
        &self.applied_to(members) & members
    }

    /// The members that the group has after it, if it has these before and nobody else writes.
    #[must_use]
    pub fn applied_to(&self, members: &BTreeSet<RemoteId>) -> BTreeSet<RemoteId> {
        let mut members = members.clone();
        match self {
            Self::AddMembers { users, .. } => members.extend(users.iter().cloned()),
            Self::RemoveMembers { users, .. } => members.retain(|member| !users.contains(member)),
            Self::CreateUser { .. }
            | Self::CreateGroup { .. }
            | Self::SetActive { .. }
            | Self::RenameUser { .. }
            | Self::RenameGroup { .. } => {}
        }
        members
    }
}
