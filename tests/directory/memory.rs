//! What the ledger says about an act after everything that may come of an order: one line a case.
//!
//! ```text
//! c=ok a:A=unclear       an order and its answer: s suspends, n renames, c creates; a and r add and remove members
//! +30                    so many seconds pass
//! look missed            a read by id that begins now does not show it, or is not answered
//! proven                 a read by id shows everything that waits
//! lists lists-10 done    complete lists that begin now, or began 10 s ago, and do not show it; or show it
//! ```

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use scim_bridge_operator::{
    api::directory::{ProvisioningStatus, StopReason},
    domain::directory::{
        budget::{Kind, Spent},
        ledger::{Key, Ledger, PATIENCE, Standing},
        names::{ObjectId, PlainName, RemoteId, UserName},
        order::{Answer, Order, ScimType},
        status::DirectoryReport,
    },
};

use crate::world::{at, id};

const OBJECT: &str = "o1";

fn key(kind: Kind, member: Option<&str>) -> Key {
    Key {
        object: ObjectId::new(OBJECT),
        kind,
        member: member.map(id),
    }
}

/// The order of a token, and its acts.
fn order(token: &str) -> (Order, Vec<Key>) {
    let (form, members) = token.split_once(':').unwrap_or((token, ""));
    let users: Vec<RemoteId> = members.split(',').filter(|id| !id.is_empty()).map(id).collect();
    let keys = |kind| users.iter().map(|user| key(kind, Some(user.as_str()))).collect();
    match form {
        "s" => (
            Order::SetActive {
                user: id("A"),
                active: false,
            },
            vec![key(Kind::Suspension, None)],
        ),
        "n" => (
            Order::RenameGroup {
                group: id("1"),
                display_name: PlainName::parse("k8s-a").unwrap(),
            },
            vec![key(Kind::Rename, None)],
        ),
        "c" => (
            Order::CreateUser {
                user_name: UserName::parse("ada@example.com").unwrap(),
                given_name: PlainName::parse("Given").unwrap(),
                family_name: PlainName::parse("Family").unwrap(),
            },
            vec![key(Kind::Creation, None)],
        ),
        "a" => (
            Order::AddMembers {
                group: id("1"),
                users: users.clone(),
            },
            keys(Kind::Addition),
        ),
        "r" => (
            Order::RemoveMembers {
                group: id("1"),
                users: users.clone(),
            },
            keys(Kind::Removal),
        ),
        other => panic!("{other}"),
    }
}

fn answer(word: &str) -> Answer {
    match word {
        "ok" => Answer::Accepted(None),
        "unclear" => Answer::Unclear,
        "unsent" => Answer::NotSent,
        "429" => Answer::RateLimited,
        "404" => Answer::NotFound,
        "409" => Answer::Conflict,
        "405" => Answer::Unsupported,
        "413" => Answer::TooMany,
        "400" => Answer::Rejected(None),
        "path" => Answer::Rejected(Some(ScimType::InvalidPath)),
        "value" => Answer::Rejected(Some(ScimType::InvalidValue)),
        other => panic!("{other}"),
    }
}

fn standing(standing: Standing) -> String {
    match standing {
        Standing::Free => "free".to_owned(),
        Standing::Waits => "waits".to_owned(),
        Standing::Stopped(reason) => format!("{reason:?}"),
        Standing::Refused(fault) => format!("refused {}", fault.map_or("", ScimType::as_str))
            .trim()
            .to_owned(),
    }
}

/// Where the acts of the script stand at its end, and what the ledger asks for.
fn after(script: &str) -> String {
    let mut ledger = Ledger::new(Spent::default(), at(1_000));
    let mut keys: Vec<Key> = Vec::new();
    let mut asked = Vec::new();
    for token in script.split_whitespace() {
        let now = ledger.time();
        if let Some(seconds) = token.strip_prefix('+') {
            ledger.tick(Duration::from_secs(seconds.parse().unwrap()));
        } else if token == "look" {
            ledger.note_look(&keys, now);
        } else if let Some(ago) = token.strip_prefix("lists") {
            let ago: i64 = ago.trim_start_matches('-').parse().unwrap_or(0);
            let begun = at(now.as_second() - ago);
            ledger.note_lists(begun, &keys.iter().cloned().collect());
        } else if token == "done" {
            ledger.note_lists(now, &HashSet::new());
        } else if token == "proven" {
            let waiting: Vec<Key> = ledger.waiting(&ObjectId::new(OBJECT)).cloned().collect();
            ledger.settle(&waiting);
        } else if token == "edited" {
            ledger.forget_refusals(&ObjectId::new(OBJECT));
        } else {
            let (form, word) = token.split_once('=').unwrap();
            let (order, acts) = order(form);
            let halves = ledger.record(&acts, &order, &answer(word));
            if halves {
                asked.push(format!("halves of {}", ledger.chunk()));
            }
            for key in acts {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
    }
    let mut words: Vec<String> = keys.iter().map(|key| standing(ledger.standing(key))).collect();
    words.dedup();
    if ledger.needs_lists() {
        asked.push("lists".to_owned());
    }
    if !ledger.looks_due().is_empty() {
        asked.push("look".to_owned());
    }
    format!("{} | {}", words.join(", "), asked.join(", "))
}

#[test]
fn standings() {
    for (script, expected) in [
        // An answer proves nothing. Each fruitless look is followed by a later one.
        ("s=ok", "waits | look"),
        ("s=ok look", "waits | "),
        ("s=ok look +1", "waits | look"),
        ("s=ok look +1 look +4", "waits | look"),
        ("s=ok +1 done", "free | "),
        // A minute of patience, whose end only later lists show: neither the clock alone nor an early read ends it.
        ("s=ok +100", "waits | lists, look"),
        ("s=ok +59 lists +100", "waits | lists, look"),
        ("s=ok +60 lists", "NotAsWritten | look"),
        ("s=ok +60 look", "NotAsWritten | lists, look"),
        ("s=ok +70 lists-11", "waits | lists, look"),
        ("s=ok lists-10", "waits | look"),
        // Membership and new accounts may show in lists only.
        ("a:A=ok look", "waits | lists"),
        ("c=ok look", "waits | lists"),
        ("c=ok +60 lists", "NotAsWritten | look"),
        // A read by an id that the answer made up shows nothing.
        ("c=ok +60 look", "waits | lists, look"),
        ("c=ok +60 look edited", "waits | lists, look"),
        // Unclear: again after a look and a pause, which doubles.
        ("s=unclear", "waits | look"),
        ("s=unclear +10", "waits | look"),
        ("s=unclear look +9", "waits | "),
        ("s=unclear look +10", "free | "),
        ("s=unclear look +10 s=unclear look +19", "waits | "),
        ("s=unclear look +10 s=unclear look +20", "free | "),
        ("s=unclear look +10 s=ok look", "waits | "),
        // A creation waits for lists that began after it.
        ("c=unclear", "waits | lists, look"),
        ("c=unclear look +600", "waits | lists"),
        ("c=unclear +10 lists-11 look", "waits | lists"),
        ("c=unclear +70 lists", "free | "),
        // What nobody wants for a moment may still show.
        ("c=unclear +1 done", "waits | "),
        ("c=unclear +1 done +60 done", "free | "),
        ("a:A=unclear +1 done", "free | "),
        // In the same moment the list may be the first.
        ("c=unclear lists look +600", "waits | lists"),
        ("c=409", "waits | lists, look"),
        // What has the name may show in the list, or may be gone by then.
        ("c=409 +1 lists", "waits | "),
        ("c=409 +10 lists", "free | "),
        ("c=409 +10 lists c=409 +20 lists", "free | "),
        (
            "c=409 +10 lists c=409 +20 lists c=409 +40 lists",
            "refused uniqueness | ",
        ),
        (
            "c=409 +10 lists c=409 +20 lists c=409 +40 lists edited",
            "free | ",
        ),
        ("c=409 +60 done", "free | "),
        ("n=409 +10 lists", "free | "),
        // Nobody is there: a list says more. The third time is the last.
        ("s=404", "waits | lists, look"),
        ("s=404 +10 lists", "free | "),
        ("s=404 +10 lists s=404 +20 lists s=404 +40 lists", "refused | "),
        // Who is not there is no member.
        ("r:A=404", "waits | look"),
        ("a:A=404", "waits | lists, look"),
        // Not sent is not done.
        ("s=unsent", "free | "),
        ("s=429", "free | "),
        ("c=unclear c=429", "waits | lists, look"),
        // What a bridge refuses.
        ("s=400", "refused | "),
        ("s=value", "refused invalidValue | "),
        ("s=405", "Unsupported | "),
        ("n=path", "refused invalidPath | "),
        ("r:A=path", "Unsupported | "),
        ("r:A=405", "Unsupported | "),
        ("s=413", "refused tooMany | "),
        // Several in one request: again in halves.
        ("a:A,B,C,D=413", "free | halves of 2"),
        ("a:A,B,C,D=400", "free | halves of 100"),
        ("a:A,B=405", "free | halves of 100"),
        ("a:A,B=400 a:A=400", "refused, free | halves of 100"),
        ("a:A,B=ok", "waits | look"),
        // Undone once it is sent again, undone twice it is not.
        ("s=ok proven", "free | "),
        ("s=ok proven s=ok proven", "Contested | "),
        ("s=ok proven +86399 s=ok proven", "Contested | "),
        ("s=ok proven s=ok proven +86400", "free | "),
        ("s=ok proven s=ok proven edited", "free | "),
        ("a:A=ok proven a:A=ok proven", "Contested | "),
        ("a:A=ok proven r:A=ok proven a:A=ok proven", "free | "),
        // Another specification.
        ("s=400 edited", "free | "),
        ("s=405 edited", "free | "),
        ("c=unclear edited", "waits | lists, look"),
        ("s=ok +60 lists edited", "free | "),
        ("s=ok edited", "waits | look"),
        ("n=ok edited", "free | "),
    ] {
        assert_eq!(after(script), expected, "{script}");
    }
}

/// A set that was released is remembered act by act.
#[test]
fn spent_and_released_outlive_a_restart() {
    let mut ledger = Ledger::new(Spent::default(), at(1_000));
    ledger.reserve(Kind::Suspension, 3);
    ledger.refund(Kind::Suspension, at(1_000), 1);
    // Another time than that of the reservation takes nothing back.
    ledger.refund(Kind::Suspension, at(4_000), 1);
    assert_eq!(ledger.spent().within(Kind::Suspension, at(1_000)), 2);
    let mut report = DirectoryReport {
        generation: 1,
        totals: Some(scim_bridge_operator::domain::directory::plan::Totals::default()),
        members_read_by: None,
        snapshot_time: None,
        pending: Vec::new(),
        incomplete: None,
        spent: Vec::new(),
        released: Vec::new(),
        contested: 0,
    };
    report.account(&ledger);
    let status: ProvisioningStatus = report.status(None, at(1_000)).unwrap();
    let again = Ledger::resume(Some(&status), at(1_100));
    assert_eq!(again.spent(), ledger.spent());
    assert_eq!(again.time(), at(1_100));
    // Only the time that passes refills: 900 to 1200 counts until 4800.
    let mut again = again;
    for (passed, left) in [(3_699, 2), (1, 0)] {
        again.tick(Duration::from_secs(passed));
        assert_eq!(
            again.spent().within(Kind::Suspension, again.time()),
            left,
            "{passed}"
        );
    }
}

#[test]
fn pauses_of_a_bridge_end() {
    let mut ledger = Ledger::new(Spent::default(), at(0));
    ledger.limit(Duration::from_secs(30));
    for (passed, is_limited) in [(29, true), (1, false)] {
        ledger.tick(Duration::from_secs(passed));
        assert_eq!(ledger.is_limited(), is_limited);
    }
    assert_eq!(ledger.next(), None, "nothing to wake up for");
}

fn ids(text: &str) -> BTreeSet<RemoteId> {
    text.split(',').filter(|part| !part.is_empty()).map(id).collect()
}

/// A group whose members a bridge changed otherwise than asked: who was lost is put back, and the act is not repeated.
#[test]
fn members_that_a_bridge_drops_are_put_back() {
    for (expected, shown, begun, lost, trusted, stopped) in [
        ("A,B", "A,B", 1_000, None, true, false),
        // Others may add members, too.
        ("A,B", "A,B,C", 1_000, None, true, false),
        ("A,B", "A", 1_000, Some("B"), false, true),
        ("A,B", "", 1_000, Some("A,B"), false, true),
        // Nobody was to stay: that shows nothing about this bridge.
        ("", "", 1_000, None, false, false),
        // A read that began before says nothing.
        ("A,B", "", 999, None, false, false),
    ] {
        let mut ledger = Ledger::new(Spent::default(), at(1_000));
        ledger.expect(&ObjectId::new(OBJECT), Kind::Removal, &id("1"), ids(expected));
        assert!(ledger.is_checked(&id("1")));
        ledger.note_members(&id("1"), &ids(shown), at(begun));
        let restore = ledger.restore();
        let users = restore.map(|restore| restore.users.into_iter().collect::<BTreeSet<_>>());
        assert_eq!(users, lost.map(ids), "{expected} {shown}");
        assert_eq!(ledger.is_trusted(&id("1"), Kind::Removal, 99), trusted);
        assert!(
            !ledger.is_trusted(&id("1"), Kind::Removal, 100),
            "not beyond what was tried"
        );
        assert!(!ledger.is_trusted(&id("1"), Kind::Addition, 1));
        let is_stopped =
            ledger.standing(&key(Kind::Removal, Some("C"))) == Standing::Stopped(StopReason::NotAsWritten);
        assert_eq!(is_stopped, stopped);
    }
}

#[test]
fn members_are_put_back_until_they_are_there() {
    let mut ledger = Ledger::new(Spent::default(), at(1_000));
    ledger.expect(&ObjectId::new(OBJECT), Kind::Removal, &id("1"), ids("A,B"));
    ledger.note_members(&id("1"), &ids(""), at(1_000));
    let names = |restore: Option<scim_bridge_operator::domain::directory::ledger::Restore>| {
        restore.map(|restore| restore.users.len())
    };
    assert_eq!(names(ledger.restore()), Some(2));
    assert_eq!(names(ledger.restore()), None, "after a pause");
    assert!(ledger.next().is_some());
    ledger.tick(Duration::from_secs(10));
    ledger.note_members(&id("1"), &ids("A"), ledger.time());
    assert_eq!(names(ledger.restore()), Some(1));
    ledger.note_members(&id("1"), &ids("A,B"), ledger.time());
    ledger.tick(PATIENCE * 60);
    assert_eq!(names(ledger.restore()), None);
    // Not for ever.
    ledger.expect(&ObjectId::new(OBJECT), Kind::Removal, &id("1"), ids("A"));
    ledger.note_members(&id("1"), &ids(""), ledger.time());
    let mut tries = 0;
    for _ in 0..20 {
        tries += usize::from(ledger.restore().is_some());
        ledger.tick(PATIENCE * 60);
    }
    assert_eq!(tries, 5);
    assert_eq!(ledger.next(), None);
}
