//! What a status keeps of a life in mode `Manage`.

use scim_bridge_operator::{
    api::{
        directory::{ChangeKind, Origin, StopReason, StoppedChange},
        user::ScimUserStatus,
    },
    domain::directory::{
        budget::PerKind,
        names::{ObjectId, RemoteId},
        snapshot::Activity,
        status::{Judgement, user_record, user_status},
        verdict::{Asked, Reason, Subject, Verdict},
        wish::State,
    },
};

use crate::world::at;

fn verdict(object: &ObjectId, reason: Reason) -> Verdict<'_> {
    Verdict {
        object,
        subject: Subject::User(None),
        reason,
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
    }
}

/// Requested, sent and proven, through one verdict after the other: `at` of each, or `-`.
#[test]
fn times_of_a_suspension() {
    let object = ObjectId::new("u1");
    let active = Subject::User(Some(Activity::Active));
    let suspended = Subject::User(Some(Activity::Suspended));
    for (steps, expected) in [
        (&[(Reason::Progressing, active, Some(Asked::Now))][..], "10 - -"),
        (&[(Reason::Progressing, active, Some(Asked::At(at(7))))], "7 - -"),
        (&[(Reason::Provisioned, active, None)], ""),
        (
            &[
                (Reason::Unproven, active, Some(Asked::Now)),
                (Reason::Suspended, suspended, Some(Asked::Now)),
            ],
            "10 - 11",
        ),
        // Once proven, it stays proven while nobody says otherwise.
        (
            &[
                (Reason::Suspended, suspended, Some(Asked::Now)),
                (Reason::Suspended, suspended, Some(Asked::Now)),
            ],
            "10 - 10",
        ),
        (
            &[
                (Reason::Suspended, suspended, Some(Asked::Now)),
                (Reason::DirectoryIncomplete, Subject::User(None), Some(Asked::Now)),
            ],
            "10 - 10",
        ),
        // Somebody else makes the account active again.
        (
            &[
                (Reason::Suspended, suspended, Some(Asked::Now)),
                (Reason::Progressing, active, Some(Asked::Now)),
            ],
            "10 - -",
        ),
        // Wanted active again, and suspended again: another suspension.
        (
            &[
                (Reason::Suspended, suspended, Some(Asked::Now)),
                (Reason::Provisioned, active, None),
                (Reason::Progressing, active, Some(Asked::Now)),
            ],
            "12 - -",
        ),
    ] {
        let mut status = ScimUserStatus::default();
        for (now, (reason, subject, suspension)) in (10..).zip(steps) {
            let verdict = Verdict {
                subject: *subject,
                suspension: *suspension,
                ..verdict(&object, *reason)
            };
            status = user_status(&status, 1, &Judgement::Planned(&verdict), at(now));
        }
        let unread = Judgement::Unplanned(Reason::ConnectionNotReady, None);
        assert_eq!(
            user_status(&status, 1, &unread, at(99)).suspension,
            status.suspension
        );
        let shown = status.suspension.map(|times| {
            [times.requested_at, times.sent_at, times.proven_at]
                .map(|time| time.map_or_else(|| "-".to_owned(), |time| time.0.as_second().to_string()))
                .join(" ")
        });
        assert_eq!(shown.unwrap_or_default(), expected, "{steps:?}");
    }
}

/// What is written before a POST leads to the account that it made, and a refusal ends that.
#[test]
fn an_account_that_was_asked_for() {
    let object = ObjectId::new("u1");
    let id = RemoteId::parse("A").unwrap();
    let asked = ScimUserStatus {
        origin: Some(Origin::Created),
        ..ScimUserStatus::default()
    };
    let refuted = Verdict {
        disowns: true,
        ..verdict(&object, Reason::Unproven)
    };
    let status = user_status(&asked, 1, &Judgement::Planned(&refuted), at(10));
    assert_eq!(status.origin, None, "somebody else had the name");
    for (reason, is_found, expected) in [
        (Reason::Progressing, false, (None, Some(Origin::Created))),
        (Reason::Unproven, false, (None, Some(Origin::Created))),
        (Reason::DirectoryIncomplete, false, (None, Some(Origin::Created))),
        (Reason::Provisioned, true, (Some("A"), Some(Origin::Created))),
        // It is there and differs: taken over before it is changed.
        (Reason::Progressing, true, (Some("A"), Some(Origin::Created))),
        (Reason::MemberMissing, true, (Some("A"), Some(Origin::Created))),
        (Reason::Held, true, (None, Some(Origin::Created))),
        // An account that appears later was not made for this object.
        (Reason::Rejected, false, (None, None)),
        (Reason::Unsupported, false, (None, None)),
    ] {
        let verdict = Verdict {
            id: is_found.then_some(&id),
            adopts: is_found,
            sends: is_found && reason != Reason::Held,
            ..verdict(&object, reason)
        };
        let status = user_status(&asked, 1, &Judgement::Planned(&verdict), at(10));
        assert_eq!((status.id.as_deref(), status.origin), expected, "{reason:?}");
    }
}

/// What a status remembers is of one generation, apart from whose account it is.
#[test]
fn another_specification_forgets() {
    let object = ObjectId::new("u1");
    let mut stopped = PerKind::default();
    *stopped.get_mut(ChangeKind::Rename) = Some(StopReason::Contested);
    let verdict = Verdict {
        stopped,
        overwritten: vec![(ChangeKind::Suspension, at(5))],
        ..verdict(&object, Reason::Suspended)
    };
    let before = ScimUserStatus {
        origin: Some(Origin::Created),
        ..ScimUserStatus::default()
    };
    let status = user_status(&before, 3, &Judgement::Planned(&verdict), at(10));
    let stop = StoppedChange {
        kind: ChangeKind::Rename,
        reason: StopReason::Contested,
    };
    assert_eq!(status.stopped, [stop]);
    let unread = Judgement::Unplanned(Reason::ConnectionNotReady, None);
    assert_eq!(user_status(&status, 3, &unread, at(20)).stopped, status.stopped);
    for (generation, settled, is_kept) in [(3, Some(State::Suspended), true), (4, None, false)] {
        let record = user_record(&status, generation);
        assert!(record.is_ours);
        assert_eq!(record.settled, settled);
        assert_eq!(record.stopped.get(ChangeKind::Rename).is_some(), is_kept);
        assert_eq!(!record.overwritten.is_empty(), is_kept);
    }
}
