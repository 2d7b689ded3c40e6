//! `rehearse`: what a bridge does with the operator's requests, against a bridge of 1Password's habits and bad ones.

use std::collections::BTreeMap;

use bridge_front::{
    Act, Content, Fault, Front, Group, Seed, State, Traffic, User,
    directory::{Created, MembersKey, Memberships, Removal, Taken, UnknownMembers, UserGroups},
};
use serde_json::{Value, json};
use testbed::{
    bed::{DEADLINE, KEY},
    connection, spec,
};

use crate::{
    directory::provisioning,
    program::{File, Ran, Run},
};

const USER: &str = "trial@example.com";
const NAMES: [&str; 4] = ["--user", USER, "--group", "k8s-trial"];

async fn bridge(change: impl FnOnce(&mut State)) -> Front {
    let seed = Seed {
        users: vec![User::new("owner@example.com", "Owner", "Example")],
        groups: vec![Group::new("Owners", ["owner@example.com"])],
    };
    let front = Front::builder().plaintext().key(KEY).directory(seed);
    front.set(change).start().await.unwrap()
}

fn manifest(bridge: &Front) -> File {
    let mut provisioning = provisioning();
    provisioning["requestsPerSecond"] = 50.into();
    let spec = spec().url(&bridge.url()).secret("corp");
    let spec = spec
        .with("provisioning", provisioning)
        .with("allowPlaintext", true);
    let corp = connection("identity/corp", spec);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "corp"}, "stringData": {"apiKey": KEY}});
    File::new("corp.yaml", &format!("{corp}\n---\n{secret}\n"))
}

/// A person at a terminal types this.
async fn rehearse(bridge: &Front, more: &[&str], typed: &str) -> Ran {
    let corp = manifest(bridge);
    let args = [&["rehearse", "-f", &corp.path][..], &NAMES, more].concat();
    Run::new(&args).on_terminal().input(typed).run().await
}

/// The output from this word on. What was typed, and the question, come before. A terminal ends lines in its own way.
fn report(ran: &Ran, begin: &str) -> String {
    let out = ran.out.replace("\r\n", "\n");
    let (_, report) = out.split_once("to begin: ").unwrap_or_else(|| panic!("{ran:?}"));
    let at = report.find(begin).unwrap_or_else(|| panic!("{ran:?}"));
    report[at..].to_owned()
}

/// The user is suspended, the group is empty, and everything else is as it was.
fn assert_tidy(bridge: &Front, what: &str) {
    let directory = bridge.directory();
    for user in directory.users() {
        assert_eq!(
            user.active,
            user.user_name == "owner@example.com",
            "{what}: {user:?}"
        );
    }
    for group in directory.groups() {
        let count = usize::from(group.display_name == "Owners");
        assert_eq!(group.members.len(), count, "{what}: {group:?}");
    }
    assert!(directory.user_named("owner@example.com").is_some(), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_as_text() {
    let bridge = bridge(|_| {}).await;
    let ran = rehearse(&bridge, &[], &format!("{USER}\n")).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let directory = bridge.directory();
    let user = directory.user_named(USER).unwrap();
    let group = directory.group_named("k8s-trial").unwrap();
    let expected = include_str!("rehearsal.txt")
        .replace("USER", &user.id)
        .replace("GROUP", &group.id);
    let report = report(&ran, "bridge ");
    assert_eq!(report, expected);
    assert_tidy(&bridge, "as text");
}

/// A bridge, its habits, the exit code, and the answers that differ from the first row: id, result, words of the answer.
type Row = (
    &'static str,
    fn(&mut State),
    i32,
    &'static [(&'static str, &'static str, &'static str)],
);

fn habits() -> Vec<Row> {
    vec![
        ("1Password's", |_| {}, 0, &[]),
        (
            "as the RFC has it",
            |state| {
                state.habits.writes.created = Created::WithLocation;
                state.habits.writes.unknown_members = UnknownMembers::Accepted;
                state.habits.writes.suspended_memberships = Memberships::Withdrawn;
            },
            0,
            &[
                ("createUser", "ok", "201, with an id."),
                ("createGroup", "ok", "201, with an id."),
                ("otherDomain", "ok", "201: it is created"),
                ("suspendedMember", "ok", "No."),
                ("reactivatedMember", "ok", "No."),
                ("unknownMember", "ok", "200: it is accepted."),
            ],
        ),
        (
            "a removal is refused",
            |state| state.habits.writes.remove_by_filter = Removal::Refused { status: 501 },
            1,
            &[
                ("removeStranger", "ok", "answered 501"),
                ("removeMember", "fails", "No. The answer was 501"),
                ("unknownMember", "notTried", "could not be removed again"),
            ],
        ),
        (
            "a removal removes everybody",
            |state| state.habits.writes.remove_by_filter = Removal::Everybody,
            2,
            &[("removeStranger", "fails", "took this member, too")],
        ),
        (
            "a removal does nothing",
            |state| _ = state.habits.writes.ignored.insert(Act::RemoveMember),
            1,
            &[
                ("removeMember", "fails", "the member is still there"),
                ("unknownMember", "notTried", ""),
            ],
        ),
        (
            "members are never shown",
            |state| {
                state.habits.shown.members = MembersKey::Never;
                state.habits.shown.user_groups = UserGroups::Absent;
            },
            2,
            &[
                // The operator looks into some groups by themselves.
                ("read", "ok", "in 5 requests."),
                ("membersShown", "limits", "Nowhere."),
                ("removeStranger", "notTried", ""),
                ("suspendedMember", "notTried", ""),
                ("reactivatedMember", "notTried", ""),
                ("removeMember", "notTried", ""),
                ("unknownMember", "notTried", ""),
            ],
        ),
        (
            "members are shown by users alone",
            |state| state.habits.shown.members = MembersKey::Never,
            0,
            &[("membersShown", "ok", "They are shown in the groups of the user.")],
        ),
        (
            "a suspension does nothing",
            |state| _ = state.habits.writes.ignored.insert(Act::Suspend),
            1,
            &[
                ("suspend", "fails", "No. The answer was 200"),
                ("suspendedMember", "notTried", ""),
                ("reactivate", "notTried", ""),
                ("reactivatedMember", "notTried", ""),
            ],
        ),
        (
            "a name may be taken twice",
            |state| {
                state.habits.writes.taken_user_name = Taken::Accepted;
                state.habits.writes.taken_group_name = Taken::ConflictWithoutType;
            },
            2,
            &[
                ("duplicateUser", "limits", "there are two then"),
                ("duplicateGroup", "ok", "It is refused: 409."),
            ],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bridges_of_other_habits() {
    let mut usual = BTreeMap::new();
    for (what, change, code, answers) in habits() {
        let bridge = bridge(change).await;
        let more = [
            "-o",
            "json",
            "--patience",
            "1s",
            "--other-domain-user",
            "trial@example.org",
        ];
        let ran = rehearse(&bridge, &more, &format!("{USER}\n")).await;
        let report = report(&ran, "{");
        let document: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(ran.code, code, "{what}: {document:#}");
        assert!(
            !report.contains("trial") && !report.contains('@'),
            "{what}: {report}"
        );
        let found = document["findings"].as_array().unwrap().iter().map(|finding| {
            let text = |field: &str| finding[field].as_str().unwrap().to_owned();
            (text("id"), (text("result"), text("answer")))
        });
        let mut found: BTreeMap<String, (String, String)> = found.collect();
        for (id, result, words) in answers {
            let (given, answer) = found.remove(*id).unwrap();
            assert!(
                given == *result && answer.contains(words),
                "{what}: {id} is {given}: {answer}"
            );
        }
        // A write that a reader cannot see takes no time.
        found.remove("writeTime");
        if usual.is_empty() {
            usual = found;
        } else {
            let others = usual
                .iter()
                .filter(|(id, _)| answers.iter().all(|(known, ..)| known != id));
            let others: BTreeMap<_, _> = others.map(|(id, answer)| (id.clone(), answer.clone())).collect();
            assert_eq!(found, others, "{what}");
        }
        if code != 1 {
            assert_tidy(&bridge, what);
        }
    }
}

/// A failure in the middle leaves nobody active.
#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_that_fails_tidies_up() {
    for (what, path, fault, words) in [
        (
            "a front refuses members",
            "PATCH /scim/Groups",
            Fault::status(403, Content::Html),
            "a request did not reach the bridge, or a front refused it (403)",
        ),
        (
            "groups are refused",
            "POST /scim/Groups",
            Fault::status(400, Content::Json),
            "the bridge refuses the creation",
        ),
        (
            "groups cannot be read",
            "GET /scim/Groups/",
            Fault::status(500, Content::Json),
            "users and groups cannot be read: a request for a page failed",
        ),
    ] {
        let bridge = bridge(|state| state.fault(path, fault)).await;
        let ran = rehearse(&bridge, &["--patience", "0s"], &format!("{USER}\n")).await;
        let report = report(&ran, "bridge ");
        let line = format!("The rehearsal did not come to its end: {words}");
        assert!(ran.code == 1 && report.contains(&line), "{what}: {ran:?}");
        assert!(report.contains(": suspended"), "{what}: {report}");
        assert_tidy(&bridge, what);
    }
}

/// A bridge that does not answer, and a person who has seen enough.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_rehearsal_tidies_up() {
    let bridge = bridge(|state| state.fault("PATCH /scim/Groups", Fault::Silent.once())).await;
    let corp = manifest(&bridge);
    let args = [&["rehearse", "-f", &corp.path][..], &NAMES].concat();
    let running = Run::new(&args).on_terminal().input(&format!("{USER}\n")).start();
    let is_stuck = |traffic: &Traffic| traffic.requests.iter().any(|request| request.method == "PATCH");
    bridge.wait_until(is_stuck, DEADLINE).await.unwrap();
    running.interrupt();
    let lines: Vec<String> = std::iter::repeat_with(|| running.line())
        .take_while(|line| !line.contains(": suspended"))
        .collect();
    let is_said = lines
        .iter()
        .any(|line| line.contains("its end: somebody interrupted it"));
    assert!(is_said, "{lines:?}");
    assert_tidy(&bridge, "interrupted");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_without_a_person() {
    let bridge = bridge(|_| {}).await;
    let corp = manifest(&bridge);
    let args = ["rehearse", "-f", &corp.path];
    let ran = Run::new(&[&args[..], &NAMES].concat()).run().await;
    let words = "not a terminal. A rehearsal changes a real account";
    assert_eq!((ran.code, ran.err.contains(words)), (1, true), "{ran:?}");
    let ran = rehearse(&bridge, &[], "yes\n").await;
    assert_eq!(
        (ran.code, ran.out.contains("not confirmed")),
        (1, true),
        "{ran:?}"
    );
    let ask = "1Password may send an invitation to the address.";
    assert!(ran.out.contains(ask), "{ran:?}");
    for (user, group, words) in [
        (
            "OWNER@example.com",
            "k8s-trial",
            "the bridge has a user of this name",
        ),
        (USER, "owners", "the bridge has a group of this name"),
    ] {
        let names = ["--user", user, "--group", group];
        let ran = Run::new(&[&args[..], &names].concat()).on_terminal().run().await;
        assert_eq!((ran.code, ran.out.contains(words)), (1, true), "{ran:?}");
    }
    assert_eq!(bridge.directory().changes(), []);
}
