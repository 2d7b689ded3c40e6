//! From verdicts to the status of users and groups, and to what a connection says about its directory.
//!
//! The conventions of conditions are those of connections. A status holds counts, ids and closed words, never a name.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};

use super::{
    budget::{Kind, PerKind},
    ledger::Ledger,
    plan::{Pending, Totals},
    render::incomplete_message,
    snapshot::{Activity, MembersReadBy},
    verdict::{Asked, Field, MemberCounts, Reason, Subject, Verdict},
    walk::Incomplete,
    wish::{Record, State},
};
use crate::{
    api::{
        directory::{
            Origin, OverwrittenChange, PendingChanges, PlannedChange, ProvisioningStatus, ReleasedChanges,
            SpentChanges, StoppedChange,
        },
        group::{MemberCount, ScimGroupStatus},
        user::{RemoteState, ScimUserStatus, SuspensionTimes},
        vocabulary::{Class, ConditionType, Truth},
    },
    domain::connection::conditions::{Draft, find, readiness, whole_seconds},
};

/// The knowledge about one object.
#[derive(Clone, Debug)]
pub enum Judgement<'a> {
    /// The verdict of a plan.
    Planned(&'a Verdict<'a>),
    /// No plan has looked at the object. The text says more about the reason; it holds no name.
    Unplanned(Reason, Option<String>),
}

/// Everything that a connection says about its directory.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectoryReport {
    /// The generation of the connection.
    pub generation: i64,
    /// The counts of the last complete read; `None` before the first.
    pub totals: Option<Totals>,
    /// Where that read found the members of groups.
    pub members_read_by: Option<MembersReadBy>,
    /// When that read ended.
    pub snapshot_time: Option<Timestamp>,
    /// What would be sent.
    pub pending: Vec<Pending>,
    /// Why the operator does not know the directory, as a reason and a sentence.
    pub incomplete: Option<(&'static str, String)>,
    /// What was sent lately.
    pub spent: Vec<SpentChanges>,
    /// The sets that were released last.
    pub released: Vec<ReleasedChanges>,
    /// How many users and groups somebody else changed back twice.
    pub contested: u64,
}

// === impl Judgement ===

impl Judgement<'_> {
    /// Why `Ready` is as it is.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Planned(verdict) => verdict.reason,
            Self::Unplanned(reason, _) => *reason,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Planned(verdict) => {
                let fields: Vec<&str> = verdict.differs.iter().copied().map(Field::as_str).collect();
                let differing =
                    (!fields.is_empty()).then(|| format!("Fields that differ: {}.", fields.join(", ")));
                let sentences: Vec<String> = differing.into_iter().chain(verdict.note()).collect();
                (!sentences.is_empty()).then(|| sentences.join(" "))
            }
            Self::Unplanned(_, detail) => detail.clone(),
        }
    }

    /// `Ready`, and `Stalled` or `Reconciling`, as for connections.
    fn conditions(&self, previous: &[Condition], generation: i64, now: Timestamp) -> Vec<Condition> {
        let reason = self.reason();
        let detail = self.detail();
        let sentences = [
            reason.message(),
            detail.as_deref().unwrap_or_default(),
            reason.action(),
        ];
        let message: Vec<&str> = sentences
            .into_iter()
            .filter(|sentence| !sentence.is_empty())
            .collect();
        let ready = Draft {
            type_: ConditionType::Ready,
            status: readiness(reason.class()),
            reason: reason.as_str(),
            message: message.join(" "),
        };
        let progress = |type_, reason_of_it| Draft {
            type_,
            status: Truth::True,
            reason: reason_of_it,
            message: reason.message().to_owned(),
        };
        let progress = match reason.class() {
            Class::Ok => None,
            Class::Action => Some(progress(ConditionType::Stalled, reason.as_str())),
            Class::Transient => Some(progress(ConditionType::Reconciling, "ProgressingWithRetry")),
            Class::Pending => Some(progress(ConditionType::Reconciling, "Progressing")),
        };
        [Some(ready), progress]
            .into_iter()
            .flatten()
            .map(|draft| draft.into_condition(previous, generation, now))
            .collect()
    }

    /// The id that the object stands for from now on. An object that takes over an account or group as it is needs no
    /// write for that, so it does so in mode `Plan` too. In mode `Manage` it does so before it changes something.
    fn id(&self, previous: Option<&String>, origin: Option<Origin>) -> (Option<String>, Option<Origin>) {
        let Self::Planned(verdict) = self else {
            return (previous.cloned(), origin);
        };
        if let Some(previous) = previous {
            return (Some(previous.clone()), origin);
        }
        let is_as_wanted = verdict.reason.class() == Class::Ok && verdict.planned == PerKind::default();
        match verdict.id {
            Some(id) if verdict.adopts && (is_as_wanted || verdict.sends) => (
                Some(id.as_str().to_owned()),
                Some(origin.unwrap_or(Origin::Adopted)),
            ),
            // An account that appears later was not made for this object.
            None if verdict.disowns || matches!(verdict.reason, Reason::Rejected | Reason::Unsupported) => {
                (None, None)
            }
            Some(_) | None => (None, origin),
        }
    }

    /// Kinds of changes that are not sent any more. Without a plan they stay as they were.
    fn stopped(&self, previous: &[StoppedChange]) -> Vec<StoppedChange> {
        let Self::Planned(verdict) = self else {
            return previous.to_vec();
        };
        let stopped = |kind| {
            verdict
                .stopped
                .get(kind)
                .map(|reason| StoppedChange { kind, reason })
        };
        Kind::ALL.into_iter().filter_map(stopped).collect()
    }

    fn overwritten(&self, previous: &[OverwrittenChange]) -> Vec<OverwrittenChange> {
        let Self::Planned(verdict) = self else {
            return previous.to_vec();
        };
        let change = |(kind, time): &(Kind, Timestamp)| OverwrittenChange {
            kind: *kind,
            time: whole_seconds(*time),
        };
        verdict.overwritten.iter().map(change).collect()
    }

    /// When the suspension was asked for, sent and proven.
    fn suspension(&self, previous: Option<&SuspensionTimes>, now: Timestamp) -> Option<SuspensionTimes> {
        let Self::Planned(verdict) = self else {
            return previous.cloned();
        };
        let asked = match verdict.suspension? {
            Asked::Now => now,
            Asked::At(time) => time,
        };
        let SuspensionTimes {
            requested_at,
            sent_at,
            proven_at,
        } = previous.cloned().unwrap_or_default();
        Some(SuspensionTimes {
            requested_at: requested_at.or_else(|| Some(whole_seconds(asked))),
            sent_at,
            // An account that nobody sees proves nothing: the name may be wrong.
            proven_at: if verdict.reason == Reason::Suspended && verdict.subject != Subject::User(None) {
                proven_at.or_else(|| Some(whole_seconds(now)))
            } else {
                proven_at.filter(|_| verdict.subject != Subject::User(Some(Activity::Active)))
            },
        })
    }

    fn plan(&self) -> Vec<PlannedChange> {
        let Self::Planned(verdict) = self else {
            return Vec::new();
        };
        let change = |kind: Kind| PlannedChange {
            kind,
            count: *verdict.planned.get(kind),
        };
        Kind::ALL
            .into_iter()
            .map(change)
            .filter(|change| change.count > 0)
            .collect()
    }
}

/// The status of a user after a plan.
#[must_use]
pub fn user_status(
    previous: &ScimUserStatus,
    generation: i64,
    judgement: &Judgement<'_>,
    now: Timestamp,
) -> ScimUserStatus {
    let (id, origin) = judgement.id(previous.id.as_ref(), previous.origin);
    ScimUserStatus {
        observed_generation: generation,
        conditions: judgement.conditions(&previous.conditions, generation, now),
        id,
        origin,
        remote_state: match judgement {
            Judgement::Planned(verdict) => remote_state(verdict),
            Judgement::Unplanned(..) => previous.remote_state,
        },
        plan: judgement.plan(),
        suspension: judgement.suspension(previous.suspension.as_ref(), now),
        stopped: judgement.stopped(&previous.stopped),
        overwritten: judgement.overwritten(&previous.overwritten),
    }
}

/// The status of a group after a plan.
#[must_use]
pub fn group_status(
    previous: &ScimGroupStatus,
    generation: i64,
    judgement: &Judgement<'_>,
    now: Timestamp,
) -> ScimGroupStatus {
    let (id, origin) = judgement.id(previous.id.as_ref(), previous.origin);
    ScimGroupStatus {
        observed_generation: generation,
        conditions: judgement.conditions(&previous.conditions, generation, now),
        id,
        origin,
        members: match judgement {
            Judgement::Planned(verdict) => match verdict.subject {
                Subject::Group(counts) => counts.map(member_count),
                Subject::User(_) => None,
            },
            Judgement::Unplanned(..) => previous.members,
        },
        plan: judgement.plan(),
        added: match judgement {
            Judgement::Planned(Verdict {
                added: Some(added), ..
            }) => added.iter().map(|id| id.as_str().to_owned()).collect(),
            Judgement::Planned(_) | Judgement::Unplanned(..) => previous.added.clone(),
        },
        stopped: judgement.stopped(&previous.stopped),
        overwritten: judgement.overwritten(&previous.overwritten),
    }
}

/// What the status of a user remembers. `generation` is that of the specification.
#[must_use]
pub fn user_record(status: &ScimUserStatus, generation: i64) -> Record {
    let is_current = status.observed_generation == generation;
    record(
        status.origin,
        &status.conditions,
        (&status.stopped, &status.overwritten),
        is_current,
    )
}

/// What the status of a group remembers. `generation` is that of the specification.
#[must_use]
pub fn group_record(status: &ScimGroupStatus, generation: i64) -> Record {
    let is_current = status.observed_generation == generation;
    record(
        status.origin,
        &status.conditions,
        (&status.stopped, &status.overwritten),
        is_current,
    )
}

fn record(
    origin: Option<Origin>,
    conditions: &[Condition],
    (stopped, overwritten): (&[StoppedChange], &[OverwrittenChange]),
    is_current: bool,
) -> Record {
    let mut record = Record {
        is_ours: origin == Some(Origin::Created),
        ..Record::default()
    };
    if is_current {
        let reason = find(conditions, ConditionType::Ready).and_then(|ready| Reason::parse(&ready.reason));
        record.settled = if reason == Some(Reason::Suspended) {
            Some(State::Suspended)
        } else {
            (reason == Some(Reason::Provisioned)).then_some(State::Active)
        };
        for StoppedChange { kind, reason } in stopped {
            *record.stopped.get_mut(*kind) = Some(*reason);
        }
        record.overwritten = overwritten
            .iter()
            .map(|change| (change.kind, change.time.0))
            .collect();
    }
    record
}

/// What the read showed about the account. `None` if the verdict does not say which account it is.
fn remote_state(verdict: &Verdict<'_>) -> Option<RemoteState> {
    match verdict.subject {
        Subject::User(Some(Activity::Active)) => Some(RemoteState::Active),
        Subject::User(Some(Activity::Suspended)) => Some(RemoteState::Suspended),
        Subject::User(Some(Activity::Unsaid)) => Some(RemoteState::Unknown),
        Subject::User(None) if matches!(verdict.reason, Reason::Ambiguous | Reason::DirectoryIncomplete) => {
            None
        }
        Subject::User(None) => Some(RemoteState::Absent),
        Subject::Group(_) => None,
    }
}

const fn member_count(counts: MemberCounts) -> MemberCount {
    let MemberCounts {
        wanted,
        present,
        missing,
        extra,
    } = counts;
    MemberCount {
        wanted,
        present,
        missing,
        extra,
    }
}

// === impl DirectoryReport ===

impl DirectoryReport {
    /// A report that says nothing yet, about this generation of the connection.
    #[must_use]
    pub const fn empty(generation: i64) -> Self {
        Self {
            generation,
            totals: None,
            members_read_by: None,
            snapshot_time: None,
            pending: Vec::new(),
            incomplete: None,
            spent: Vec::new(),
            released: Vec::new(),
            contested: 0,
        }
    }

    /// Reason and sentence for a directory whose last read failed.
    #[must_use]
    pub fn incomplete(reason: Incomplete) -> (&'static str, String) {
        (reason.reason(), incomplete_message(reason))
    }

    /// Takes in what the ledger says about the limits.
    pub fn account(&mut self, ledger: &Ledger) {
        self.spent = ledger
            .spent()
            .entries()
            .map(|(kind, entry)| SpentChanges {
                kind,
                since: whole_seconds(entry.since),
                count: entry.count,
            })
            .collect();
        self.released = Kind::ALL
            .into_iter()
            .filter_map(|kind| {
                ledger.release(kind).map(|release| ReleasedChanges {
                    kind,
                    digest: release.digest.to_string(),
                    count: release.count,
                    time: whole_seconds(release.time),
                })
            })
            .collect();
    }

    /// Whether both say the same, except about the time of the read.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let timeless = |report: &Self| Self {
            snapshot_time: None,
            ..report.clone()
        };
        timeless(self) == timeless(other)
    }

    /// `status.provisioning`. Before the first complete read it stays as it was.
    #[must_use]
    pub fn status(
        &self,
        previous: Option<&ProvisioningStatus>,
        now: Timestamp,
    ) -> Option<ProvisioningStatus> {
        let Some(Totals {
            users,
            suspended,
            managed,
            unmanaged_active,
            groups,
        }) = self.totals
        else {
            return previous.cloned();
        };
        let since = |kind: Kind, digest: &str| {
            previous
                .into_iter()
                .flat_map(|previous| &previous.pending)
                .find(|known| known.kind == kind && known.digest == digest)
                .map_or_else(|| whole_seconds(now), |known| known.since.clone())
        };
        Some(ProvisioningStatus {
            observed_generation: self.generation,
            users: users as u64,
            suspended: suspended as u64,
            managed: managed as u64,
            unmanaged_active: unmanaged_active as u64,
            groups: groups as u64,
            members_read_by: self.members_read_by,
            snapshot_time: self.snapshot_time.map(whole_seconds),
            spent: self.spent.clone(),
            released: self.released.clone(),
            contested: Some(self.contested).filter(|contested| *contested > 0),
            pending: self
                .pending
                .iter()
                .map(|pending| {
                    let digest = pending.digest.to_string();
                    PendingChanges {
                        kind: pending.kind,
                        count: pending.count,
                        since: since(pending.kind, &digest),
                        digest,
                        held: pending.held,
                    }
                })
                .collect(),
        })
    }

    /// The conditions that provisioning adds to the connection. Both are present only while true. Before the first
    /// complete read `ProvisioningHeld` stays as it was, as the pending changes do.
    #[must_use]
    pub fn conditions(&self, previous: &[Condition], now: Timestamp) -> Vec<Condition> {
        let held: Vec<String> = self
            .pending
            .iter()
            .filter(|pending| pending.held)
            .map(ToString::to_string)
            .collect();
        let held = (self.totals.is_some() && !held.is_empty()).then(|| Draft {
            type_: ConditionType::ProvisioningHeld,
            status: Truth::True,
            reason: "LimitExceeded",
            message: format!(
                "More changes are pending than the limits of an hour allow: {}.",
                held.join(", ")
            ),
        });
        // Without a plan nobody knows whether that is still so.
        let held_before = previous.iter().filter(|condition| {
            self.totals.is_none() && condition.type_ == ConditionType::ProvisioningHeld.as_str()
        });
        let incomplete = self.incomplete.as_ref().map(|(reason, message)| Draft {
            type_: ConditionType::DirectoryIncomplete,
            status: Truth::True,
            reason,
            message: message.clone(),
        });
        let drafts = [held, incomplete].into_iter().flatten();
        held_before
            .cloned()
            .chain(drafts.map(|draft| draft.into_condition(previous, self.generation, now)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::directory::{
        budget::{DigestKey, Digester},
        names::{ObjectId, RemoteId},
        walk::PageFault,
    };

    const NOW: &str = "2026-06-01T12:00:00Z";
    const LATER: &str = "2026-06-01T13:00:00Z";

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn line(conditions: &[Condition]) -> String {
        let words = conditions.iter().map(|condition| {
            let Condition {
                type_,
                status,
                reason,
                ..
            } = condition;
            format!("{type_}={status}:{reason}")
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn pending(kind: Kind, held: bool) -> Pending {
        Pending {
            kind,
            count: 3,
            left: Some(0),
            digest: Digester::of_set(&DigestKey::new(&[7; 32]), kind, None).finish(),
            held,
        }
    }

    fn report(
        totals: Option<Totals>,
        pending: Vec<Pending>,
        incomplete: Option<Incomplete>,
    ) -> DirectoryReport {
        DirectoryReport {
            generation: 2,
            totals,
            members_read_by: None,
            snapshot_time: Some(at(NOW)),
            pending,
            incomplete: incomplete.map(DirectoryReport::incomplete),
            spent: Vec::new(),
            released: Vec::new(),
            contested: 0,
        }
    }

    #[test]
    fn conditions_of_users() {
        for (reason, expected) in [
            (Reason::Provisioned, "Ready=True:Provisioned"),
            (Reason::Suspended, "Ready=True:Suspended"),
            (
                Reason::ChangePlanned,
                "Ready=False:ChangePlanned Stalled=True:ChangePlanned",
            ),
            (
                Reason::DirectoryIncomplete,
                "Ready=False:DirectoryIncomplete Reconciling=True:ProgressingWithRetry",
            ),
        ] {
            let judgement = Judgement::Unplanned(reason, None);
            let status = user_status(&ScimUserStatus::default(), 3, &judgement, at(NOW));
            assert_eq!(line(&status.conditions), expected);
            assert_eq!(status.observed_generation, 3);
            // The same verdict later is the same status: it is not written again.
            assert_eq!(user_status(&status, 3, &judgement, at(LATER)), status);
        }
    }

    /// Who is taken over as they are, and when an id stays.
    #[test]
    fn ids() {
        let (object, id) = (ObjectId::new("u1"), RemoteId::parse("ID1").unwrap());
        let verdict = |reason, adopts, planned: u32| {
            let mut acts = PerKind::default();
            *acts.get_mut(Kind::Suspension) = planned;
            Verdict {
                object: &object,
                subject: Subject::User(Some(Activity::Active)),
                reason,
                id: Some(&id),
                adopts,
                planned: acts,
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
            }
        };
        let known = ScimUserStatus {
            id: Some("OLD".to_owned()),
            origin: Some(Origin::Adopted),
            remote_state: Some(RemoteState::Suspended),
            ..ScimUserStatus::default()
        };
        let new = ScimUserStatus::default();
        for (previous, verdict, expected) in [
            (&new, verdict(Reason::Provisioned, true, 0), Some("ID1")),
            // A change comes first, and mode Plan sends none.
            (&new, verdict(Reason::ChangePlanned, true, 1), None),
            (&new, verdict(Reason::AlreadyExists, true, 0), None),
            (&new, verdict(Reason::Provisioned, false, 0), None),
            // An id is never exchanged.
            (&known, verdict(Reason::Provisioned, true, 0), Some("OLD")),
        ] {
            let status = user_status(previous, 1, &Judgement::Planned(&verdict), at(NOW));
            assert_eq!(status.id.as_deref(), expected, "{verdict:?}");
            assert_eq!(status.origin.is_some(), expected.is_some());
            assert_eq!(status.remote_state, Some(RemoteState::Active));
        }
        let unread = Judgement::Unplanned(Reason::ConnectionNotReady, None);
        let status = user_status(&known, 1, &unread, at(NOW));
        assert_eq!(
            (status.id, status.remote_state),
            (known.id, known.remote_state),
            "what was known stays"
        );
    }

    /// What a message says about the reason. It names neither people nor values.
    #[test]
    fn messages() {
        let object = ObjectId::new("g1");
        let verdict = |reason, differs, entries: &[u32], has_expired| Verdict {
            object: &object,
            subject: Subject::Group(None),
            reason,
            id: None,
            adopts: false,
            planned: PerKind::default(),
            sends: false,
            disowns: false,
            differs,
            entries: entries.to_vec(),
            has_expired,
            suspension: None,
            stopped: PerKind::default(),
            overwritten: Vec::new(),
            added: None,
            scim_type: None,
        };
        for (verdict, expected) in [
            (
                verdict(Reason::MemberMissing, vec![Field::Members], &[3, 7], false),
                Some("Fields that differ: spec.members. Entries of spec.members: 3, 7."),
            ),
            (
                verdict(Reason::MemberMissing, Vec::new(), &[0, 1, 2, 3, 4, 5, 6], false),
                Some("Entries of spec.members: 0, 1, 2, 3, 4 and 2 more."),
            ),
            (
                verdict(Reason::Suspended, Vec::new(), &[], true),
                Some("spec.activeUntil has passed."),
            ),
            (verdict(Reason::Provisioned, Vec::new(), &[], false), None),
        ] {
            assert_eq!(Judgement::Planned(&verdict).detail().as_deref(), expected);
        }
    }

    #[test]
    fn conditions_of_connections() {
        let totals = Some(Totals::default());
        let incomplete = Some(Incomplete::Page(PageFault::Failed));
        let held = report(totals, vec![pending(Kind::Suspension, true)], None);
        let held_before = held.conditions(&[], at(NOW));
        for (report, previous, expected) in [
            (report(totals, Vec::new(), None), &[][..], ""),
            (
                report(totals, vec![pending(Kind::Creation, false)], None),
                &[],
                "",
            ),
            (held, &[], "ProvisioningHeld=True:LimitExceeded"),
            (
                report(None, Vec::new(), incomplete),
                &[],
                "DirectoryIncomplete=True:PageFailed",
            ),
            // Without a plan, what was held is held.
            (
                report(None, Vec::new(), incomplete),
                &held_before,
                "ProvisioningHeld=True:LimitExceeded DirectoryIncomplete=True:PageFailed",
            ),
            (report(totals, Vec::new(), None), &held_before, ""),
        ] {
            let conditions = report.conditions(previous, at(LATER));
            assert_eq!(line(&conditions), expected);
            assert_eq!(report.conditions(&conditions, at(LATER)), conditions);
        }
    }

    #[test]
    fn what_is_pending_keeps_its_age() {
        let totals = Some(Totals::default());
        let first = report(totals, vec![pending(Kind::Suspension, true)], None);
        let known = first.status(None, at(NOW)).unwrap();
        let both = vec![pending(Kind::Suspension, true), pending(Kind::Creation, false)];
        let next = report(totals, both, None)
            .status(Some(&known), at(LATER))
            .unwrap();
        let ages: Vec<_> = next.pending.iter().map(|pending| pending.since.0).collect();
        assert_eq!(ages, [at(NOW), at(LATER)]);
        // Without a read nothing is repeated.
        assert_eq!(
            report(None, Vec::new(), None).status(Some(&next), at(LATER)),
            Some(next)
        );
        assert_eq!(report(None, Vec::new(), None).status(None, at(LATER)), None);
    }
}
