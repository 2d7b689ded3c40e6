//! What becomes of a plan in mode `Manage`: what was sent, refused, undone by others, and released.

use std::time::Duration;

use scim_bridge_operator::{
    api::directory::{ChangeKind, StopReason},
    domain::directory::{
        budget::{Digest, Kind, Spent},
        job::next_jobs,
        ledger::{Key, Ledger},
        names::RemoteId,
        order::{Answer, Order, ScimType},
        plan::{Directory, Plan, Policy, plan},
        snapshot::Snapshot,
        wish::{State, Wishes},
    },
};

use crate::world::{Bridge, at, census_without, id, policy, whole, wishes};

const NOW: i64 = 100_000;

fn manage() -> Policy {
    Policy {
        sends: true,
        ..policy()
    }
}

fn kind(text: &str) -> Kind {
    *Kind::ALL.iter().find(|kind| kind.singular() == text).unwrap()
}

/// `settled suspended ours stop:rename=Contested undone:suspension@50`, for every wish.
fn remember(wishes: &mut Wishes, text: &str) {
    let users = wishes.users.iter_mut().map(|wish| &mut wish.record);
    let groups = wishes.groups.iter_mut().map(|wish| &mut wish.record);
    for record in users.chain(groups) {
        for token in text.split_whitespace() {
            match token.split_once(':') {
                None if token == "settled" => record.settled = Some(State::Active),
                None if token == "suspended" => record.settled = Some(State::Suspended),
                None => record.is_ours = true,
                Some(("stop", stop)) => {
                    let (stopped, reason) = stop.split_once('=').unwrap();
                    *record.stopped.get_mut(kind(stopped)) = Some(match reason {
                        "Contested" => StopReason::Contested,
                        "NotAsWritten" => StopReason::NotAsWritten,
                        _ => StopReason::Unsupported,
                    });
                }
                Some((_, undone)) => {
                    let (undone, ago) = undone.split_once('@').unwrap();
                    record
                        .overwritten
                        .push((kind(undone), at(NOW - ago.parse::<i64>().unwrap())));
                }
            }
        }
    }
}

fn plan_with<'a>(wishes: &'a Wishes, snapshot: &'a Snapshot, policy: &Policy, ledger: &Ledger) -> Plan<'a> {
    let census = Box::leak(Box::new(census_without("")));
    plan(
        wishes,
        Ok(Directory { snapshot, census }),
        policy,
        ledger,
        at(NOW),
    )
}

fn ledger() -> Ledger {
    Ledger::new(Spent::default(), at(NOW))
}

#[test]
fn what_a_status_remembers() {
    const PEOPLE: &str = "A:ada K:kim.s G:gil.g O:owner";
    for (users, groups, memory, expected) in [
        ("ada.s=A", "", "", "suspend A | Progressing"),
        ("ada.s=A", "", "settled", "suspend A | Progressing"),
        // Paused in mode Manage, too.
        ("ada.sp=A", "", "", "| ChangePlanned"),
        // Undone once: again. Twice within a day: no more.
        ("ada.s=A", "", "suspended", "suspend A | Progressing"),
        (
            "ada.s=A",
            "",
            "suspended undone:suspension@86400",
            "suspend A | Progressing",
        ),
        ("ada.s=A", "", "suspended undone:suspension@86399", "| Contested"),
        ("ada.s=A", "", "suspended undone:suspension@-5", "| Contested"),
        (
            "ada.s=A",
            "",
            "suspended undone:rename@5",
            "suspend A | Progressing",
        ),
        ("ada.s=A", "", "undone:suspension@5", "suspend A | Progressing"),
        ("kim=K", "", "settled undone:creation@5", "| Contested"),
        ("gil=G", "", "settled undone:rename@5", "| Contested"),
        (
            "",
            "k8s-a.x=1[gil,owner]",
            "settled undone:removal@5",
            "add 1/G | Contested",
        ),
        ("", "k8s-a=1[gil](G)", "settled undone:addition@5", "| Contested"),
        // Who was never added is not contested.
        (
            "",
            "k8s-a=1[gil]",
            "settled undone:addition@5",
            "add 1/G | Progressing",
        ),
        // A kind that was stopped, and others that go on.
        (
            "gil.s=G",
            "",
            "stop:suspension=Unsupported",
            "rename G given | Unsupported",
        ),
        (
            "gil.s=G",
            "",
            "stop:rename=NotAsWritten",
            "suspend G | NotAsWritten",
        ),
        ("ada=A", "", "stop:rename=Contested", "| Provisioned"),
        ("new", "", "stop:creation=Unsupported", "| Unsupported"),
        // The operator asked for this account, so `adopt` does not matter.
        ("gil.n", "", "", "| AlreadyExists"),
        ("gil.n", "", "ours", "rename G given | Progressing"),
        ("", "k8s-a.n[gil]", "ours", "add 1/G | Progressing"),
    ] {
        let snapshot = Bridge::parse(PEOPLE, "1:k8s-a[A,O] 9:x[O]").snapshot();
        let mut wishes = wishes(users, groups);
        remember(&mut wishes, memory);
        let plan = plan_with(&wishes, &snapshot, &manage(), &ledger());
        assert_eq!(
            whole(&plan),
            expected,
            "users `{users}`, groups `{groups}`, memory `{memory}`"
        );
    }
}

/// Sends the first job of a plan.
fn send(plan: &Plan<'_>, snapshot: &Snapshot, ledger: &mut Ledger, answer: &Answer) -> Order {
    let jobs = next_jobs(plan, snapshot, ledger, 1);
    ledger.record(&jobs[0].keys, &jobs[0].order, answer);
    jobs[0].order.clone()
}

#[test]
fn what_was_sent_waits_for_a_read() {
    for (users, answer, passed, expected) in [
        ("ada.s=A", Answer::Accepted(None), 1, "| Unproven"),
        ("ada.s=A", Answer::Accepted(None), 61, "| NotAsWritten"),
        ("ada.s=A", Answer::Unclear, 1, "| Unproven"),
        ("ada.s=A", Answer::Unclear, 11, "suspend A | Progressing"),
        ("ada.s=A", Answer::RateLimited, 1, "suspend A | Progressing"),
        (
            "ada.s=A",
            Answer::Rejected(Some(ScimType::InvalidValue)),
            1,
            "| Rejected",
        ),
        ("ada.s=A", Answer::Unsupported, 1, "| Unsupported"),
        ("new", Answer::Accepted(None), 1, "| Unproven"),
        ("new", Answer::Conflict, 1, "| Unproven"),
        ("new", Answer::Conflict, 11, "create new | Progressing"),
    ] {
        let snapshot = Bridge::parse("A:ada", "").snapshot();
        let wishes = wishes(users, "");
        let mut ledger = ledger();
        let first = plan_with(&wishes, &snapshot, &manage(), &ledger);
        send(&first, &snapshot, &mut ledger, &answer);
        ledger.tick(Duration::from_secs(passed));
        ledger.note_lists(ledger.time(), &first.asked);
        let plan = plan_with(&wishes, &snapshot, &manage(), &ledger);
        assert_eq!(whole(&plan), expected, "{users} {answer:?} {passed}");
    }
    let snapshot = Bridge::parse("A:ada", "").snapshot();
    let wishes = wishes("ada.s=A", "");
    let mut ledger = ledger();
    ledger.limit(Duration::from_secs(5));
    let plan = plan_with(&wishes, &snapshot, &manage(), &ledger);
    assert_eq!(whole(&plan), "suspend A | RateLimited");
}

/// A release lets exactly one set go, once.
#[test]
fn a_release_is_used_up() {
    let has = |suspended: &str| {
        let users: Vec<String> = ["A:a", "B:b", "C:c", "D:d", "E:e"]
            .iter()
            .map(|user| {
                if suspended.contains(&user[..1]) {
                    format!("{user}.s")
                } else {
                    (*user).to_owned()
                }
            })
            .collect();
        Bridge::parse(&users.join(" "), "").snapshot()
    };
    let three = wishes("a.s=A b.s=B c.s=C", "");
    let four = wishes("a.s=A b.s=B c.s=C d.s=D", "");
    let mut ledger = ledger();
    let nobody = has("");
    let held = plan_with(&three, &nobody, &manage(), &ledger);
    let digest: Digest = held.pending[0].digest;
    let released = Policy {
        released: vec![digest],
        ..manage()
    };
    assert_eq!(
        whole(&plan_with(&three, &nobody, &released, &ledger)),
        "suspend A, suspend B, suspend C | Progressing Progressing Progressing"
    );
    ledger.note_release(
        Kind::Suspension,
        digest,
        held.set(Kind::Suspension, &manage().digest_key),
    );
    // An act that comes later is not part of the set, and its digest releases nothing more.
    let joined = plan_with(&four, &nobody, &released, &ledger);
    assert!(joined.acts.is_empty());
    assert_ne!(
        joined.pending[0].digest,
        plan_with(&four, &nobody, &manage(), &Ledger::new(Spent::default(), at(NOW))).pending[0].digest
    );
    // A part of it goes on, although the limit is used up.
    let first = plan_with(&three, &nobody, &manage(), &ledger);
    ledger.reserve(ChangeKind::Suspension, 2);
    send(&first, &nobody, &mut ledger, &Answer::Accepted(None));
    let rest = plan_with(&three, &nobody, &manage(), &ledger);
    assert_eq!(
        whole(&rest),
        "suspend B, suspend C | Unproven Progressing Progressing"
    );
    // What was proven and is undone by somebody else is not part of it any more.
    let one = has("A");
    ledger.tick(Duration::from_secs(1));
    ledger.note_lists(ledger.time(), &plan_with(&three, &one, &manage(), &ledger).asked);
    assert_eq!(
        whole(&plan_with(&three, &one, &manage(), &ledger)),
        "suspend B, suspend C | Suspended Progressing Progressing"
    );
    let again = plan_with(&three, &nobody, &released, &ledger);
    assert!(again.acts.is_empty() && again.pending[0].held);
}

fn brief(order: &Order) -> String {
    let ids = |ids: &[RemoteId]| ids.iter().map(RemoteId::as_str).collect::<Vec<_>>().join(",");
    match order {
        Order::CreateUser { .. } => "user".to_owned(),
        Order::CreateGroup { .. } => "group".to_owned(),
        Order::SetActive { user, active } => format!("{}{}", if *active { "+" } else { "-" }, user.as_str()),
        Order::RenameUser { user, .. } => format!("rename {}", user.as_str()),
        Order::RenameGroup { group, .. } => format!("rename {}", group.as_str()),
        Order::AddMembers { group, users } => format!("{}+{}", group.as_str(), ids(users)),
        Order::RemoveMembers { group, users } => format!("{}-{}", group.as_str(), ids(users)),
    }
}

/// `trust:1+` and `busy:1` say what the ledger knows of group 1.
#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn acts_become_orders() {
    const PEOPLE: &str = "A:a B:b C:c D:d E:e S:s.s";
    for (groups, users, wished, state, most, expected) in [
        ("9:x[A]", "new s=S a.s=A", "", "", 9, "-A +S user"),
        ("9:x[A]", "new s=S a.s=A", "", "", 2, "-A +S"),
        ("1:k8s-a[] 9:x[A]", "", "k8s-a=1[a,b,c]", "", 9, "1+A,B,C"),
        // At most as many as the bridge takes; the first use of a group is one order.
        ("1:k8s-a[] 9:x[A]", "", "k8s-a=1[a,b,c]", "chunk:2", 9, "1+A,B"),
        (
            "1:k8s-a[] 9:x[A]",
            "",
            "k8s-a=1[a,b,c]",
            "chunk:2 trust:1+",
            9,
            "1+A,B 1+C",
        ),
        (
            "1:k8s-a[] 9:x[A]",
            "",
            "k8s-a=1[a,b,c]",
            "chunk:2 trust:1+",
            1,
            "1+A,B",
        ),
        ("1:k8s-a[] 9:x[A]", "", "k8s-a=1[a,b,c]", "busy:1", 9, ""),
        ("1:k8s-a[A] 9:x[A]", "", "k8s-a.x=1[b,c]", "", 9, "1-A"),
        ("1:k8s-a[A] 9:x[A]", "", "k8s-a.x=1[b,c]", "trust:1-", 9, "1-A"),
        (
            "1:k8s-a[A] 9:x[A]",
            "",
            "k8s-a.x=1[b,c]",
            "trust:1- trust:1+",
            9,
            "1-A 1+B,C",
        ),
        // Groups do not wait for each other.
        (
            "1:k8s-a[] 2:k8s-b[] 9:x[A]",
            "",
            "k8s-a=1[a,b] k8s-b=2[c]",
            "busy:1",
            9,
            "2+C",
        ),
        (
            "1:k8s-a[] 2:k8s-b[] 9:x[A]",
            "",
            "k8s-a=1[a,b] k8s-b=2[c]",
            "",
            9,
            "1+A,B 2+C",
        ),
        // What follows another act comes later.
        (
            "1:k8s-a[] 9:x[A]",
            "new s=S",
            "k8s-a=1[a,new,s] k8s-new[b]",
            "",
            9,
            "+S user group 1+A",
        ),
        // Where nobody has seen a member: one user in one group.
        ("1:k8s-a[] 2:k8s-b", "", "k8s-a=1[a,b] k8s-b=2[c]", "", 9, "1+A"),
        ("1:k8s-a[] 2:k8s-b", "", "k8s-a=1[a,b] k8s-b=2[c]", "tried", 9, ""),
        ("1:k8s-a[] 2:k8s-b", "b.s=B", "k8s-a=1[a]", "tried", 9, "-B"),
        ("1:k8s-a[] 2:k8s-b", "", "k8s-a=1[a]", "failed", 9, ""),
    ] {
        let snapshot = Bridge::parse(PEOPLE, groups).snapshot();
        let wishes = wishes(users, wished);
        let mut ledger = ledger();
        for token in state.split_whitespace() {
            let object = wishes.groups[0].object.clone();
            let (word, value) = token.split_once(':').unwrap_or((token, ""));
            match word {
                "chunk" => {
                    let more = 2 * value.parse::<usize>().unwrap();
                    let keys: Vec<_> = (0..more)
                        .map(|number| Key {
                            object: object.clone(),
                            kind: Kind::Removal,
                            member: Some(id(&format!("Z{number}"))),
                        })
                        .collect();
                    let order = Order::RemoveMembers {
                        group: id("8"),
                        users: Vec::new(),
                    };
                    assert!(ledger.record(&keys, &order, &Answer::TooMany));
                }
                "trust" | "busy" => {
                    let kind = if value.ends_with('-') {
                        Kind::Removal
                    } else {
                        Kind::Addition
                    };
                    let group = id(&value[..1]);
                    ledger.expect(&object, kind, &group, [id("Y")].into());
                    if word == "trust" {
                        ledger.note_members(&group, &[id("Y")].into(), ledger.time());
                    }
                }
                "failed" => ledger.note_failed_trial(true),
                _ => {
                    let key = Key {
                        object: object.clone(),
                        kind: Kind::Addition,
                        member: Some(id("E")),
                    };
                    let order = Order::AddMembers {
                        group: id("1"),
                        users: vec![id("E")],
                    };
                    ledger.record(&[key], &order, &Answer::Accepted(None));
                }
            }
        }
        let plan = plan_with(&wishes, &snapshot, &manage(), &ledger);
        let jobs = next_jobs(&plan, &snapshot, &ledger, most);
        let orders: Vec<String> = jobs.iter().map(|job| brief(&job.order)).collect();
        assert_eq!(
            orders.join(" "),
            expected,
            "{groups} # {users} # {wished} # {state}"
        );
        for job in &jobs {
            let members = job
                .keys
                .iter()
                .filter_map(|key| key.member.clone())
                .collect::<Vec<_>>();
            let mut parts = vec![job.clone()];
            while let Some(place) = parts.iter().position(|part| part.keys.len() > 1) {
                let part = parts.remove(place);
                parts.extend(part.halves().unwrap());
            }
            let split: Vec<_> = parts
                .iter()
                .flat_map(|part| part.keys.clone())
                .filter_map(|key| key.member)
                .collect();
            assert_eq!(members.len(), split.len(), "halves lose nobody");
        }
    }
}

/// After a user was read by id, the snapshot is as if the lists had shown that user.
#[test]
fn users_that_are_read_by_id() {
    let before = "B:bo D:di.s K:kim";
    let groups = "1:k8s-a[B,K] 2:k8s-b[D,gone] 3:k8s-c";
    for (read, after) in [
        ("A:ada", "A:ada B:bo D:di.s K:kim"),
        ("C:cy", "B:bo C:cy D:di.s K:kim"),
        ("Z:zoe", "B:bo D:di.s K:kim Z:zoe"),
        ("B:bo.s", "B:bo.s D:di.s K:kim"),
        ("K:lin", "B:bo D:di.s K:lin"),
        // Now two have this name.
        ("K:BO", "B:bo D:di.s K:BO"),
        ("A:BO", "A:BO B:bo D:di.s K:kim"),
    ] {
        let mut snapshot = Bridge::parse(before, groups).snapshot();
        snapshot.amend_user(Bridge::parse(read, "").users.remove(0));
        let expected = Bridge::parse(after, groups).snapshot();
        assert!(
            snapshot == expected,
            "{read}: {:?} {:?}",
            snapshot.groups(),
            expected.groups()
        );
        for group in ["1", "2", "3"] {
            assert_eq!(
                snapshot.members_of(&id(group)),
                expected.members_of(&id(group)),
                "{read}"
            );
        }
    }
}

#[test]
fn groups_that_are_read_by_id() {
    const PEOPLE: &str = "A:ada B:bo K:kim";
    for (before, read, should_be_empty, after) in [
        ("1:k8s-a[A] 9:x[B]", "1:k8s-a[A,K]", false, "1:k8s-a[A,K] 9:x[B]"),
        ("1:k8s-a[A] 9:x[B]", "1:k8s-z[A]", false, "1:k8s-z[A] 9:x[B]"),
        (
            "1:k8s-a[A] 9:x[B]",
            "5:k8s-b[K]",
            false,
            "1:k8s-a[A] 5:k8s-b[K] 9:x[B]",
        ),
        ("1:k8s-a[A] 9:x[B]", "5:K8S-A", false, "1:k8s-a[A] 5:K8S-A 9:x[B]"),
        // Nothing said about members is nothing, unless nobody should be left.
        ("1:k8s-a[A] 9:x[B]", "1:k8s-a", false, "1:k8s-a[A] 9:x[B]"),
        ("1:k8s-a[A] 9:x[B]", "1:k8s-a[]", false, "1:k8s-a[A] 9:x[B]"),
        ("1:k8s-a[A] 9:x[B]", "1:k8s-a", true, "1:k8s-a[] 9:x[B]"),
        ("1:k8s-a[A] 9:x[B]", "1:k8s-a[K]", true, "1:k8s-a[K] 9:x[B]"),
        ("1:k8s-a 9:x", "1:k8s-a", true, "1:k8s-a 9:x"),
    ] {
        let mut snapshot = Bridge::parse(PEOPLE, before).snapshot();
        snapshot.amend_group(Bridge::parse("", read).groups.remove(0), should_be_empty);
        let expected = Bridge::parse(PEOPLE, after).snapshot();
        assert!(
            snapshot == expected,
            "{before} {read}: {:?} {:?}",
            snapshot.groups(),
            expected.groups()
        );
    }
    // The first member that a read shows proves a way.
    let mut snapshot = Bridge::parse(PEOPLE, "1:k8s-a 2:k8s-b").snapshot();
    assert_eq!(snapshot.members_read_by(), None);
    snapshot.amend_group(Bridge::parse("", "1:k8s-a[A]").groups.remove(0), false);
    assert!(snapshot.members_read_by().is_some());
    assert_eq!(snapshot.members_of(&id("1")).unwrap().len(), 1);
    assert_eq!(snapshot.members_of(&id("2")), None);
}

/// A read shows the effect of an order, or it does not.
#[test]
fn effects_are_seen() {
    let user = |name: &str| Bridge::parse(&format!("A:{name}"), "").users.remove(0);
    let snapshot = Bridge::parse("A:old K:kim", "1:k8s-a[K] 9:x[A]").snapshot();
    let of = |users: &str, groups: &str| {
        let wishes = wishes(users, groups);
        let plan = plan_with(&wishes, &snapshot, &manage(), &ledger());
        next_jobs(&plan, &snapshot, &ledger(), 9).remove(0).order
    };
    for (order, shown, expected) in [
        (of("old.s=A", ""), "old.s", true),
        (of("old.s=A", ""), "old", false),
        (of("old.s=A", ""), "old.u", false),
        (of("new=A", ""), "NEW", true),
        (of("new=A", ""), "old", false),
        (of("new", ""), "new.s", true),
        (of("new", ""), "old", false),
    ] {
        assert_eq!(order.is_shown_by_user(&user(shown)), expected, "{shown}");
    }
    let members = |text: &str| text.chars().map(|c| id(&c.to_string())).collect();
    for (order, shown, expected) in [
        (of("", "k8s-a=1[old,kim]"), Some("AK"), Some(true)),
        (of("", "k8s-a=1[old,kim]"), Some("K"), Some(false)),
        (of("", "k8s-a=1[old,kim]"), None, None),
        (of("", "k8s-a.x=1[]"), Some(""), Some(true)),
        (of("", "k8s-a.x=1[]"), Some("K"), Some(false)),
        (of("", "k8s-b=1[kim]"), None, Some(false)),
    ] {
        let members = shown.map(members);
        assert_eq!(
            order.is_shown_by_group(Some("k8s-a"), members.as_ref()),
            expected,
            "{order:?}"
        );
    }
    // What a read shows as done is not sent.
    for (groups, shown, expected) in [
        ("k8s-a=1[old,kim]", "K", Some("1+A")),
        ("k8s-a=1[old,kim]", "A", None),
        ("k8s-a.x=1", "KA", Some("1-K")),
        ("k8s-a.x=1", "A", None),
    ] {
        let wishes = wishes("", groups);
        let plan = plan_with(&wishes, &snapshot, &manage(), &ledger());
        let job = next_jobs(&plan, &snapshot, &ledger(), 9).remove(0);
        let left = job.still_needed(&members(shown));
        assert_eq!(
            left.map(|job| brief(&job.order)).as_deref(),
            expected,
            "{groups} {shown}"
        );
    }
    let add = of("", "k8s-a=1[old,kim]");
    assert_eq!(add.applied_to(&members("K")), members("AK"));
}
