//! Two questions that one snapshot cannot answer: may it be believed, and is somebody gone?
//!
//! A bridge that lost its data answers with lists that are complete. So does another bridge behind the same name. Hence:
//! - A directory in which everybody vanished is never believed.
//! - One in which nothing is known any more is never believed: it is another bridge.
//! - One in which many are missing is believed after three reads that agree.
//! - A user or group is gone after two complete reads an interval apart, or a 404 by id.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;

use super::{names::RemoteId, snapshot::Snapshot, walk::Incomplete};

/// How many reads in a row have to agree that many users are missing.
pub const AGREEING_READS: u32 = 3;

/// How many ids of a snapshot are remembered. Two bridges have none in common.
const SAMPLE: usize = 32;

/// What earlier reads of one directory have shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    users: usize,
    groups: usize,
    doubt: Option<Doubt>,
    absent_since: HashMap<RemoteId, Timestamp>,
    gone: HashSet<RemoteId>,
    /// Some of the ids in the last snapshot that was believed.
    sample: Vec<RemoteId>,
}

/// Whether an id is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is not in the last complete snapshot. That alone proves nothing.
    Absent,
    /// It is gone: two complete snapshots an interval apart, or a 404 by id.
    Gone,
}

/// Reads that agree that many are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Doubt {
    users: usize,
    missing: Vec<RemoteId>,
    reads: u32,
}

/// When and how a snapshot was taken.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// When its last page came.
    pub at: Timestamp,
    /// `spec.interval` of the connection.
    pub interval: Duration,
    /// The limit for suspensions: more missing users than this are not believed at once.
    pub limit: u32,
}

// === impl Census ===

impl Census {
    /// Goes on after a restart, from the counts of users and groups in the status.
    #[must_use]
    pub fn resume(users: usize, groups: usize) -> Self {
        Self {
            users,
            groups,
            ..Self::default()
        }
    }

    /// Takes a complete snapshot in, or says why it is not believed. `known` are the ids in the status of all objects.
    ///
    /// # Errors
    /// [`Incomplete`] says why nothing may be planned with this snapshot.
    pub fn admit<'a>(
        &mut self,
        snapshot: &Snapshot,
        known: impl IntoIterator<Item = &'a RemoteId>,
        taken: Taken,
    ) -> Result<(), Incomplete> {
        let (users, groups) = (snapshot.users().len(), snapshot.groups().len());
        let vanished = if users == 0 && self.users > 0 {
            Some(Incomplete::UsersVanished)
        } else if groups == 0 && self.groups > 0 {
            Some(Incomplete::GroupsVanished)
        } else {
            None
        };
        if let Some(vanished) = vanished {
            self.doubt = None;
            return Err(vanished);
        }
        let is_there =
            |id: &RemoteId| snapshot.user_by_id(id).is_some() || snapshot.group_by_id(id).is_some();
        let known: Vec<&RemoteId> = known.into_iter().collect();
        let has_known = known.iter().any(|id| !self.gone.contains(*id));
        let is_familiar = known.iter().copied().chain(&self.sample).any(is_there);
        if has_known && !is_familiar {
            self.doubt = None;
            return Err(Incomplete::NothingFamiliar);
        }
        let mut missing: Vec<RemoteId> = known.into_iter().filter(|id| !is_there(id)).cloned().collect();
        missing.sort_unstable();
        missing.dedup();
        let newly = missing
            .iter()
            .filter(|id| !self.absent_since.contains_key(*id) && !self.gone.contains(*id))
            .count();
        if newly.max(self.users.saturating_sub(users)) > taken.limit as usize {
            let reads = match &self.doubt {
                Some(doubt) if doubt.users == users && doubt.missing == missing => doubt.reads + 1,
                Some(_) | None => 1,
            };
            if reads < AGREEING_READS {
                self.doubt = Some(Doubt {
                    users,
                    missing,
                    reads,
                });
                return Err(Incomplete::ManyMissing);
            }
        }
        self.doubt = None;
        self.users = users;
        self.groups = groups;
        let step = (users / SAMPLE).max(1);
        let of_users = snapshot.users().iter().step_by(step).map(|user| &user.id);
        let of_groups = snapshot.groups().iter().map(|group| &group.id);
        self.sample = of_users
            .take(SAMPLE)
            .chain(of_groups.take(SAMPLE))
            .cloned()
            .collect();
        self.note(missing, taken);
        Ok(())
    }

    /// Notes who is missing in a snapshot that is believed. Who is there again was never gone.
    fn note(&mut self, missing: Vec<RemoteId>, taken: Taken) {
        let Taken {
            at,
            interval,
            limit: _,
        } = taken;
        let before = std::mem::take(&mut self.absent_since);
        let gone_before = std::mem::take(&mut self.gone);
        for id in missing {
            let since = before.get(&id).copied().unwrap_or(at);
            // A clock that was set back shortens nothing: a negative time is not an interval.
            let is_long = Duration::try_from(at.duration_since(since)).is_ok_and(|absent| absent >= interval);
            if gone_before.contains(&id) || (is_long && before.contains_key(&id)) {
                self.gone.insert(id);
            } else {
                self.absent_since.insert(id, since);
            }
        }
    }

    /// A request for this id was answered with 404.
    pub fn note_not_found(&mut self, id: &RemoteId) {
        self.absent_since.remove(id);
        self.gone.insert(id.clone());
    }

    /// The facts about an id that the last snapshot does not have.
    #[must_use]
    pub fn presence(&self, id: &RemoteId) -> Presence {
        if self.gone.contains(id) {
            Presence::Gone
        } else {
            Presence::Absent
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::directory::snapshot::{
        Activity,
        tests::{group, listing, user},
    };

    const LIMIT: u32 = 2;

    fn snapshot(users: &str, groups: &str) -> Snapshot {
        let users = users
            .chars()
            .map(|c| user(&c.to_string(), &format!("{c}@example.com"), Activity::Active))
            .collect();
        let groups = groups
            .chars()
            .map(|c| group(&c.to_string(), &c.to_string(), None))
            .collect();
        Snapshot::new(listing(users), listing(groups), Vec::new())
    }

    fn known(ids: &str) -> Vec<RemoteId> {
        ids.chars()
            .map(|c| RemoteId::parse(&c.to_string()).unwrap())
            .collect()
    }

    /// Reads: `users/groups@second`, or `404id`. Each gives its verdict, and at the end the ids that are gone.
    fn lives(reads: &str, ids: &str, mut census: Census) -> String {
        let known = known(ids);
        let mut shown = Vec::new();
        for read in reads.split(' ') {
            if let Some(id) = read.strip_prefix("404") {
                census.note_not_found(&RemoteId::parse(id).unwrap());
                continue;
            }
            let (lists, second) = read.split_once('@').unwrap();
            let (users, groups) = lists.split_once('/').unwrap();
            let at = Timestamp::from_second(second.parse().unwrap()).unwrap();
            let taken = Taken {
                at,
                interval: Duration::from_mins(5),
                limit: LIMIT,
            };
            shown.push(match census.admit(&snapshot(users, groups), &known, taken) {
                Ok(()) => "ok",
                Err(reason) => reason.as_str(),
            });
        }
        let gone: String = known
            .iter()
            .filter(|id| census.presence(id) == Presence::Gone)
            .map(RemoteId::as_str)
            .collect();
        format!("{} gone:{gone}", shown.join(" "))
    }

    #[test]
    fn who_is_gone() {
        for (reads, expected) in [
            ("ABC/x@0 ABC/x@300", "ok ok gone:"),
            // Once is not enough, twice within an interval neither.
            ("ABC/x@0 AB/x@300", "ok ok gone:"),
            ("ABC/x@0 AB/x@300 AB/x@599", "ok ok ok gone:"),
            ("ABC/x@0 AB/x@300 AB/x@600", "ok ok ok gone:C"),
            // After a restart the first read counts as any other.
            ("AB/x@300 AB/x@600", "ok ok gone:C"),
            // There again: the count begins again.
            ("AB/x@0 ABC/x@300 AB/x@600", "ok ok ok gone:"),
            ("AB/x@0 AB/x@300 ABC/x@600", "ok ok ok gone:"),
            // A clock that is set back.
            ("AB/x@600 AB/x@0", "ok ok gone:"),
            // By id.
            ("ABC/x@0 404C", "ok gone:C"),
            ("ABC/x@0 404C ABC/x@300", "ok ok gone:"),
            ("ABC/x@0 404C AB/x@300", "ok ok gone:C"),
            // A bridge that had people and shows none.
            (
                "ABC/x@0 /x@300 /x@600 /x@900 /x@1200",
                "ok users_vanished users_vanished users_vanished users_vanished gone:",
            ),
            ("ABC/x@0 ABC/@300", "ok groups_vanished gone:"),
            // Three of five.
            (
                "ABCDE/x@0 DE/x@300 DE/x@600 DE/x@900 DE/x@1200",
                "ok many_missing many_missing ok ok gone:ABC",
            ),
            (
                "ABCDE/x@0 DE/x@300 DE/x@600 CDE/x@900",
                "ok many_missing many_missing ok gone:",
            ),
            (
                "ABCDE/x@0 DE/x@300 AE/x@600 DE/x@900 DE/x@1200",
                "ok many_missing many_missing many_missing many_missing gone:",
            ),
            (
                "ABCDE/x@0 DE/x@300 /x@600 DE/x@900 DE/x@1200",
                "ok many_missing users_vanished many_missing many_missing gone:",
            ),
            // Another bridge: as many people, and none of them known.
            (
                "ABC/x@0 UVW/y@300 UVW/y@600 UVW/y@900 ABC/x@1200",
                "ok nothing_familiar nothing_familiar nothing_familiar ok gone:",
            ),
            // The same after a restart.
            ("UVW/y@300 UVW/y@600", "nothing_familiar nothing_familiar gone:"),
            // All that is declared was deleted, and others are there.
            (
                "ABCDE/x@0 DE/x@300 DE/x@600 DE/x@900",
                "ok many_missing many_missing ok gone:",
            ),
        ] {
            assert_eq!(lives(reads, "ABC", Census::default()), expected, "{reads}");
        }
    }

    #[test]
    fn a_restart_forgets_no_crowd() {
        for (reads, expected) in [
            ("/x@0 /x@300", "users_vanished users_vanished gone:"),
            (
                "DEFG/x@0 DEFG/x@300 DEFG/x@600",
                "many_missing many_missing ok gone:",
            ),
            ("DEFGHIJK/x@0", "ok gone:"),
        ] {
            assert_eq!(lives(reads, "", Census::resume(10, 1)), expected, "{reads}");
        }
        assert_eq!(
            lives("/x@0 /x@300", "", Census::default()),
            "ok ok gone:",
            "a bridge without people"
        );
    }
}
