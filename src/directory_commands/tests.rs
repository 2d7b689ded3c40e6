//! From a directory to manifests and back, and manifests that cannot be used.

use std::{collections::HashSet, path::Path};

use k8s_openapi::jiff::Timestamp;
use proptest::{collection::vec, prelude::*, sample::select, test_runner::RngSeed};

use super::{
    declared::{Candidate, Declared, Others, Owner},
    files::Manifests,
    manifests::{self, Target},
    outcome::{Applied, Conclusion, Ground, Outcome, Source},
    plan::declared_after,
};
use crate::{
    args::{PlanFormat, ShowPlan},
    check::subject::documents_in,
    domain::{
        connection::target::is_object_name,
        directory::{
            budget::{DigestKey, Limits},
            census::Census,
            names::RemoteId,
            plan::{Directory, Policy},
            scope::{Protected, Scope},
            snapshot::{Activity, GroupEntry, MemberEntry, Snapshot, UserEntry},
            verdict::Reason,
            walk::{Entry, Listing, Page, Progress, Walk},
        },
    },
};

const NOW: i64 = 1_800_000_000;

const TARGET: Target<'static> = Target {
    connection: "corp",
    namespace: Some("identity"),
};

fn owner(others: &[String]) -> Owner<'_> {
    Owner {
        name: "corp",
        namespace: Some("identity"),
        others: Others::These(others),
    }
}

fn policy(user_names: &[&str], groups: &[&str]) -> Policy {
    Policy {
        scope: Scope::parse(user_names, groups).unwrap(),
        protected: Protected::parse(&["owner@example.com"], &["Owners"]).unwrap(),
        limits: Limits {
            suspensions: Some(1),
            removals: Some(20),
            creations: Some(1),
            ..Limits::default()
        },
        sends: false,
        released: Vec::new(),
        digest_key: DigestKey::new(b"not a secret"),
    }
}

fn listing<T: Entry>(entries: Vec<T>) -> Listing<T> {
    let total = entries.len() as u64;
    let Progress::More(walk) = Walk::new().feed(Ok(Page { total, entries })) else {
        panic!("not taken");
    };
    let Progress::Complete(listing) = walk.feed(Ok(Page {
        total,
        entries: Vec::new(),
    })) else {
        panic!("not complete");
    };
    listing
}

fn candidates(text: &str) -> Vec<Candidate> {
    let mut manifests = Manifests::default();
    let documents = documents_in(text).unwrap();
    manifests.take_all(Path::new("people.yaml"), documents).unwrap();
    manifests.candidates
}

fn declared(text: &str, owner: Owner<'_>) -> Declared {
    Declared::of(candidates(text), owner)
}

fn outcome<'a>(
    declared: &'a Declared,
    snapshot: &'a Snapshot,
    census: &'a Census,
    policy: &'a Policy,
) -> Outcome<'a> {
    Outcome::of(&ground(policy), declared, Ok(Directory { snapshot, census }))
}

fn ground(policy: &Policy) -> Ground<'_> {
    Ground {
        connection: "identity/corp",
        url: Some("https://scim.example.com"),
        applied: None,
        policy,
        ledger: Box::leak(Box::default()),
        at: Timestamp::from_second(NOW).unwrap(),
    }
}

// === From a directory to manifests, and back ===

/// Texts that YAML 1.1 or 1.2 takes for something else, that a server may show, or that no name can be.
const ODD: [&str; 48] = [
    "",
    " ",
    "Ada",
    " Ada",
    "Ada ",
    "Yes",
    "no",
    "on",
    "Y",
    "null",
    "~",
    "NaN",
    ".inf",
    "1e3",
    "0x1F",
    "0o17",
    "017",
    "12:30:00",
    "1_000",
    "2027-01-31",
    "-",
    "- a",
    "a: b",
    "a #b",
    "#a",
    "'",
    "\"",
    "\\",
    "\\n",
    "a\nb",
    "a\tb",
    "@a",
    "*a",
    "&a",
    "!a",
    "%a",
    "|",
    ">",
    "{a}",
    "[a",
    "<<",
    "=",
    "---",
    "Zoe\u{308}",
    "\u{fffe}",
    "\u{200b}a",
    "名\u{1f600}",
    "ﬁ",
];

const USER_NAMES: [&str; 16] = [
    "ada@example.com",
    "ADA@example.com",
    "kim@example.com",
    "bo@example.com",
    "owner@example.com",
    "yes@no",
    "123@456",
    "o\u{308}zlem@example.com",
    "\u{f6}zlem@example.com",
    "#a@example.com",
    "'@example.com",
    "\u{ff41}da@example.com",
    "a@b@example.com",
    "ada",
    "",
    "zoe@example.org",
];

fn name() -> impl Strategy<Value = Option<Box<str>>> {
    let odd = select(&ODD[..]).prop_map(|text| Some(Box::from(text)));
    let any = "\\PC{1,12}".prop_map(|text| Some(Box::from(text)));
    let long = (100_usize..300).prop_map(|length| Some(Box::from("a b".repeat(length / 3))));
    prop_oneof![4 => Just(Some(Box::from("Given"))), 3 => odd, 2 => any, 1 => long, 1 => Just(None)]
}

fn user_name() -> impl Strategy<Value = Option<Box<str>>> {
    let known = select(&USER_NAMES[..]).prop_map(|text| Some(Box::from(text)));
    let plain = "[a-z]{1,3}@example.com".prop_map(|text| Some(Box::from(text)));
    let any = "\\PC{1,8}@\\PC{1,8}".prop_map(|text| Some(Box::from(text)));
    prop_oneof![4 => plain, 4 => known, 1 => any, 1 => Just(None)]
}

fn activity() -> impl Strategy<Value = Activity> {
    prop_oneof![3 => Just(Activity::Active), 2 => Just(Activity::Suspended), 1 => Just(Activity::Unsaid)]
}

fn users() -> impl Strategy<Value = Vec<UserEntry>> {
    let user = (user_name(), activity(), name(), name());
    vec(user, 0..8).prop_map(|users| {
        let numbered = (0..).zip(users);
        numbered
            .map(
                |(number, (user_name, active, given_name, family_name))| UserEntry {
                    // Ids that differ in case only are two.
                    id: RemoteId::parse(["A", "a", "B", "b@example.com", "C", "../x", "D", "E"][number])
                        .unwrap(),
                    user_name,
                    active,
                    given_name,
                    family_name,
                    groups: None,
                },
            )
            .collect()
    })
}

fn groups() -> impl Strategy<Value = Vec<GroupEntry>> {
    let value = select(
        &[
            "A",
            "a",
            "B",
            "b@example.com",
            "C",
            "../x",
            "D",
            "Z",
            "ada@example.com",
        ][..],
    );
    let member = (value, prop::bool::weighted(0.1)).prop_map(|(value, is_group)| MemberEntry {
        value: value.into(),
        is_group,
    });
    let members = prop::option::weighted(0.7, vec(member, 0..6));
    let group_name = prop_oneof![
        3 => "k8s-[ab]{1,2}".prop_map(|text| Some(Box::from(text))),
        1 => Just(Some(Box::from("Owners"))),
        2 => name(),
    ];
    vec((group_name, members), 0..5).prop_map(|groups| {
        let numbered = (0..).zip(groups);
        numbered
            .map(|(number, (display_name, members))| GroupEntry {
                id: RemoteId::parse(["1", "2", "3", "4", "5"][number]).unwrap(),
                display_name,
                members: members.map(|mut members| {
                    members.sort();
                    members.dedup();
                    members
                }),
            })
            .collect()
    })
}

fn snapshot_of(users: Vec<UserEntry>, groups: Vec<GroupEntry>) -> Snapshot {
    Snapshot::new(listing(users), listing(groups), Vec::new())
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(testbed::seed()),
        ..ProptestConfig::default()
    })]

    /// Applied, the manifests of a directory change nothing, and nobody is forgotten.
    #[test]
    fn a_directory_comes_back_as_it_is(
        users in users(),
        groups in groups(),
        is_everything: bool,
    ) {
        let snapshot = snapshot_of(users.clone(), groups.clone());
        let policy = if is_everything {
            policy(&["*"], &["*"])
        } else {
            policy(&["*@example.com"], &["k8s-*", "Owners"])
        };
        let scope = (!is_everything).then_some(&policy.scope);
        let manifests = manifests::of(&snapshot, TARGET, scope);
        let described = manifests.written.users + manifests.left_out.users + manifests.written.groups
            + manifests.left_out.groups + manifests.skipped.len();
        prop_assert_eq!(described, users.len() + groups.len());

        let text = format!("{}{}", manifests.users, manifests.groups);
        let declared = declared(&text, owner(&[]));
        prop_assert_eq!(&declared.faults, &[]);
        prop_assert_eq!(declared.wishes.users.len(), manifests.written.users);
        prop_assert_eq!(declared.wishes.groups.len(), manifests.written.groups);
        let census = Census::default();
        let outcome = outcome(&declared, &snapshot, &census, &policy);
        for verdict in &outcome.plan.verdicts {
            prop_assert!(
                matches!(verdict.reason, Reason::Provisioned | Reason::Suspended | Reason::Unproven) && verdict.adopts,
                "{:?} in\n{}", verdict, text
            );
        }
        prop_assert_eq!(outcome.conclusion(), Conclusion::Nothing);
        prop_assert_eq!((outcome.plan.acts.len(), outcome.plan.held.len()), (0, 0));

        // The same in any order of the lists.
        let (mut users, mut groups) = (users, groups);
        users.reverse();
        groups.reverse();
        let again = manifests::of(&snapshot_of(users, groups), TARGET, scope);
        prop_assert_eq!(text, format!("{}{}", again.users, again.groups));
    }
}

fn user(id: &str, user_name: &str) -> UserEntry {
    UserEntry {
        id: RemoteId::parse(id).unwrap(),
        user_name: Some(user_name.into()),
        active: Activity::Active,
        given_name: Some("Given".into()),
        family_name: Some("Family".into()),
        groups: None,
    }
}

fn group(id: &str, name: &str, members: Option<&[&str]>) -> GroupEntry {
    GroupEntry {
        id: RemoteId::parse(id).unwrap(),
        display_name: Some(name.into()),
        members: members.map(|members| {
            let entry = |value: &&str| MemberEntry {
                value: (*value).into(),
                is_group: false,
            };
            members.iter().map(entry).collect()
        }),
    }
}

#[test]
fn who_cannot_be_described_is_reported() {
    for (change, expected) in [
        ((|_| {}) as fn(&mut UserEntry), ""),
        // In two characters; the manifest has one.
        (|user| user.given_name = Some("Zoe\u{308}".into()), ""),
        (|user| user.user_name = None, "spec.userName is empty"),
        (
            |user| user.user_name = Some("ada".into()),
            "spec.userName is not an address such as ada@example.com",
        ),
        (|user| user.given_name = None, "spec.name.givenName is empty"),
        (
            |user| user.family_name = Some("".into()),
            "spec.name.familyName is empty",
        ),
        (
            |user| user.family_name = Some(" Family".into()),
            "spec.name.familyName has a blank where none may be",
        ),
        (
            |user| user.user_name = Some("KIM@example.com".into()),
            "another one on the bridge has the same name",
        ),
    ] {
        let mut ada = user("A", "ada@example.com");
        change(&mut ada);
        let snapshot = snapshot_of(vec![ada, user("K", "kim@example.com")], Vec::new());
        let manifests = manifests::of(&snapshot, TARGET, None);
        let said = manifests.skipped.first().map(|skipped| skipped.why.to_string());
        assert_eq!(said.unwrap_or_default(), expected);
        assert!(!manifests.users.contains("canary"));
    }
}

#[test]
fn manifests_of_a_small_directory() {
    let mut kim = user("K", "kim@example.com");
    kim.active = Activity::Suspended;
    kim.given_name = Some("No".into());
    let snapshot = snapshot_of(
        vec![user("A", "ada@example.com"), kim],
        vec![
            group("1", "k8s-a", Some(&["A", "K", "Z"])),
            group("2", "k8s-b", None),
        ],
    );
    let manifests = manifests::of(&snapshot, TARGET, None);
    let expected = "\
# Users of connection corp, by scim-bridge-operator import. The objects are named by a hash of the id.
---
# id A
apiVersion: scimbridge.dev/v1alpha1
kind: ScimUser
metadata:
  name: user-USER_A
  namespace: identity
spec:
  connectionRef:
    name: corp
  userName: ada@example.com
  name:
    givenName: Given
    familyName: Family
  state: Active
  adopt: IfUnchanged
  paused: false
---
# id K
apiVersion: scimbridge.dev/v1alpha1
kind: ScimUser
metadata:
  name: user-USER_K
  namespace: identity
spec:
  connectionRef:
    name: corp
  userName: kim@example.com
  name:
    givenName: \"No\"
    familyName: Family
  state: Suspended
  adopt: IfUnchanged
  paused: false
# Groups of connection corp, by scim-bridge-operator import. The objects are named by a hash of the id.
---
# id 1
# 1 more in this group: other groups, unknown members, or users without a usable name.
# Suspended users are in this group, too: 1.
apiVersion: scimbridge.dev/v1alpha1
kind: ScimGroup
metadata:
  name: group-GROUP_1
  namespace: identity
spec:
  connectionRef:
    name: corp
  displayName: k8s-a
  membership: Additive
  members:
  - userName: ada@example.com
  adopt: IfUnchanged
  paused: false
---
# id 2
# The bridge does not show members of this group. It may be empty, or its members are hidden.
apiVersion: scimbridge.dev/v1alpha1
kind: ScimGroup
metadata:
  name: group-GROUP_2
  namespace: identity
spec:
  connectionRef:
    name: corp
  displayName: k8s-b
  membership: Additive
  adopt: IfUnchanged
  paused: false
";
    let text = format!("{}{}", manifests.users, manifests.groups);
    // The hashes, so that a run of another version gives no object another name.
    let expected = expected
        .replace("USER_A", "4377697a13a0f855551623f4073c1ddf")
        .replace("USER_K", "db696adde2cba2f0195fe683ba700f95")
        .replace("GROUP_1", "67969ec8cf5eb6a66086ad11a4ad7c73")
        .replace("GROUP_2", "5fc775e1b139323b2f2276b479b8c095");
    assert_eq!(text, expected);
}

#[test]
fn names_of_objects() {
    let ids = ["A", "a", "b@example.com", "../x", "6NF7ZWCFBBHUXBSGZM5YXY2OSU"];
    let mut names = HashSet::new();
    for connection in ["corp", "other"] {
        let target = Target {
            connection,
            namespace: None,
        };
        let users: Vec<_> = (0..)
            .zip(ids)
            .map(|(n, id)| user(id, &format!("u{n}@example.com")))
            .collect();
        let groups = (0..)
            .zip(ids)
            .map(|(n, id)| group(id, &format!("k8s-{n}"), None))
            .collect();
        let snapshot = snapshot_of(users, groups);
        let manifests = manifests::of(&snapshot, target, None);
        let declared = declared(
            &format!("{}{}", manifests.users, manifests.groups),
            Owner {
                name: connection,
                namespace: None,
                others: Others::Any,
            },
        );
        let wishes = &declared.wishes;
        let objects = wishes
            .users
            .iter()
            .map(|wish| &wish.object)
            .chain(wishes.groups.iter().map(|wish| &wish.object));
        for object in objects {
            let (object, _) = declared.object(object).unwrap();
            assert!(
                is_object_name(&object.name) && !object.name.contains("example"),
                "{object}"
            );
            names.insert(object.name.clone());
        }
    }
    assert_eq!(names.len(), 2 * 2 * ids.len());
}

// === Manifests that cannot be used ===

#[test]
fn objects_that_cannot_be_used_are_named() {
    const USER: &str = "apiVersion: scimbridge.dev/v1alpha1
kind: ScimUser
metadata: {name: ada}
spec: {connectionRef: {name: corp}, userName: ada@example.com, name: {givenName: Ada, familyName: Canary}}
";
    const LIST: &str = "{kind: List, items: [{kind: Widget}, {kind: ScimUser, apiVersion: scimbridge.dev/v1alpha1, metadata: {name: ada}}]}";
    let two = format!("{USER}---\n{USER}");
    let group = USER.replace("ScimUser", "ScimGroup");
    for (text, old, new, expected) in [
        (USER, "", "", ""),
        (USER, "name: ada}", "name: ada, namespace: identity}", ""),
        (
            USER,
            "name: ada}",
            "name: ada, namespace: elsewhere}",
            "ScimUser ada (people.yaml:1): metadata.namespace is not the namespace of the connection",
        ),
        (
            USER,
            "v1alpha1",
            "v1",
            "ScimUser ada (people.yaml:1): apiVersion must be scimbridge.dev/v1alpha1",
        ),
        (
            USER,
            "{name: ada}",
            "{}",
            "ScimUser (people.yaml:1): metadata.name is missing, or is not the name of an object",
        ),
        (
            USER,
            "{name: ada}",
            "{name: Canary}",
            "ScimUser (people.yaml:1): metadata.name is missing, or is not the name of an object",
        ),
        (
            USER,
            "corp",
            "another",
            "ScimUser ada (people.yaml:1): spec.connectionRef names another connection",
        ),
        (USER, "corp", "other", "1 of others"),
        (
            USER,
            "userName",
            "username",
            "ScimUser ada (people.yaml:1): spec.userName is missing",
        ),
        (
            USER,
            "ada@example",
            "ada.example",
            "ScimUser ada (people.yaml:1): spec.userName is not an address such as ada@example.com",
        ),
        (
            USER,
            "spec: {",
            "spec: {activeUntil: tomorrow, ",
            "ScimUser ada (people.yaml:1): a time is not in the form of RFC 3339, such as 2027-01-31T00:00:00Z",
        ),
        (
            LIST,
            "",
            "",
            "ScimUser ada (people.yaml:1 items[1]): spec is missing",
        ),
        (
            &two,
            "",
            "",
            "ScimUser ada (people.yaml:1): the object is declared 2 times. Keep one of them|\
             ScimUser ada (people.yaml:6): the object is declared 2 times. Keep one of them",
        ),
        (
            &group,
            "userName: ada@example.com, name: {givenName: Ada, familyName: Canary}",
            "displayName: k8s-a, membership: Exact",
            "ScimGroup ada (people.yaml:1): spec.membership is Exact, and spec.members is absent",
        ),
    ] {
        let declared = declared(&text.replace(old, new), owner(&["other".to_owned()]));
        let mut said: Vec<String> = declared.faults.iter().map(ToString::to_string).collect();
        if declared.others > 0 {
            said.push(format!("{} of others", declared.others));
        }
        assert_eq!(said.join("|"), expected);
        assert!(!said.join("").contains("Canary"), "{said:?}");
        let used = declared.wishes.users.len() + declared.wishes.groups.len();
        assert_eq!(used == 1, expected.is_empty(), "{expected}");
    }
}

// === Output ===

fn manifest(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: scimbridge.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\n\
         spec: {{connectionRef: {{name: corp}}, {spec}}}\n"
    )
}

fn person(name: &str, more: &str) -> String {
    let spec = format!("userName: {name}@example.com, name: {{givenName: Given, familyName: Family}}{more}");
    manifest("ScimUser", name, &spec)
}

/// Ada leaves, a group gets a member, two people come, and one more is outside of the scope.
fn changes() -> String {
    [
        person("ada", ", state: Suspended, adopt: Always"),
        person("bo", ""),
        person("cy", ""),
        manifest(
            "ScimUser",
            "zoe",
            "userName: zoe@example.org, name: {givenName: Given, familyName: Family}",
        ),
        manifest(
            "ScimGroup",
            "admins",
            "displayName: k8s-a, members: [{userName: kim@example.com}], adopt: Always",
        ),
    ]
    .concat()
}

fn printed(text: &str, output: PlanFormat, show_names: bool) -> (String, Conclusion) {
    let snapshot = two_people();
    let (census, policy) = (Census::default(), policy(&["*@example.com"], &["k8s-*"]));
    let declared = declared(text, owner(&[]));
    let outcome = outcome(&declared, &snapshot, &census, &policy);
    let mut out = Vec::new();
    outcome.print(ShowPlan { output, show_names }, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), outcome.conclusion())
}

#[test]
fn a_plan_as_text() {
    let (text, conclusion) = printed(&changes(), PlanFormat::Text, true);
    let (digest, rest) = text.split_once("digest ").unwrap().1.split_at(32);
    assert!(rest.starts_with(')'), "{text}");
    let expected = format!(
        "identity/corp  https://scim.example.com  2 users, 0 of them suspended, 1 group
declared: 4 users and 1 group

  suspend \"ada@example.com\"  ScimUser ada (people.yaml:2)
  add \"kim@example.com\" to \"k8s-a\"  ScimGroup admins (people.yaml:22)
  held: create \"bo@example.com\"  ScimUser bo (people.yaml:7)
  held: create \"cy@example.com\"  ScimUser cy (people.yaml:12)

1 suspension, 2 creations held (1 allowed now, digest {digest}), 1 addition
  1 suspension; the limit is 1 in an hour
  2 creations; the limit is 1 in an hour

The connection is in mode Plan: nobody sends these changes.
In mode Manage, a person would have to release the 2 creations.

ScimUser zoe (people.yaml:17): OutOfScope  {}
  next     {}
  runbook  scim-bridge-operator explain OutOfScope
",
        Reason::OutOfScope.message(),
        Reason::OutOfScope.action()
    );
    assert_eq!(text, expected);
    assert_eq!(conclusion, Conclusion::Failed);
}

/// Who sends, and the command that lets a held set go.
#[test]
fn a_plan_in_mode_manage() {
    let snapshot = two_people();
    let census = Census::default();
    let mut policy = policy(&["*@example.com"], &["k8s-*"]);
    policy.sends = true;
    let declared = declared(&changes(), owner(&[]));
    let outcome = outcome(&declared, &snapshot, &census, &policy);
    let mut out = Vec::new();
    outcome.text(false, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let (digest, _) = text.split_once("digest ").unwrap().1.split_at(32);
    let expected = format!(
        "
The connection is in mode Manage: the operator sends these changes itself.
To release exactly the 2 creations: kubectl scim-bridge release corp -n identity --digest {digest}
"
    );
    assert!(text.contains(&expected), "{text}");
    let show = ShowPlan {
        output: PlanFormat::Json,
        show_names: false,
    };
    let mut out = Vec::new();
    outcome.print(show, &mut out).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(document["mode"], "Manage");
    let command = format!("kubectl scim-bridge release corp -n identity --digest {digest}");
    assert_eq!(document["pending"][1]["release"], command);
    assert_eq!(document["pending"][0]["release"], serde_json::Value::Null);
}

#[test]
fn names_are_shown_only_where_they_were_asked_for() {
    for output in [PlanFormat::Text, PlanFormat::Json, PlanFormat::Junit] {
        let (with, _) = printed(&changes(), output, true);
        assert!(
            with.contains("kim@example.com") && with.contains("k8s-a"),
            "{with}"
        );
        let (text, _) = printed(&changes(), output, false);
        let names = ["@example", "k8s-a", "Given", "Family"];
        let without: Vec<_> = names.into_iter().filter(|name| text.contains(name)).collect();
        assert!(without.is_empty(), "{without:?} in {text}");
        // Who has to act finds the objects and the ids.
        for known in ["ScimUser bo", "people.yaml:7", "K"] {
            assert!(text.contains(known), "{known} in {text}");
        }
    }
}

#[test]
fn a_plan_as_json() {
    let (text, _) = printed(&changes(), PlanFormat::Json, true);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let brief = |pointer: &str| document.pointer(pointer).unwrap().to_string();
    for (pointer, expected) in [
        ("/formatVersion", "1"),
        ("/connection", "\"identity/corp\""),
        ("/plannedAt", "\"2027-01-15T08:00:00Z\""),
        ("/result", "\"failed\""),
        ("/directory/membersReadBy", "\"GroupList\""),
        ("/directory/unmanagedActive", "1"),
        (
            "/pending/0",
            r#"{"count":1,"digest":D,"held":false,"kind":"Suspension","left":1,"limit":1}"#,
        ),
        ("/pending/1/held", "true"),
        (
            "/changes/0",
            r#"{"action":"suspend","held":false,"object":"ScimUser ada","place":"people.yaml:2","userId":"A","userName":"ada@example.com"}"#,
        ),
        (
            "/changes/1",
            r#"{"action":"add","groupId":"1","groupName":"k8s-a","held":false,"object":"ScimGroup admins","place":"people.yaml:22","userId":"K","userName":"kim@example.com"}"#,
        ),
        (
            "/changes/2",
            r#"{"action":"createUser","fields":["userName","givenName","familyName"],"held":true,"new":{"familyName":"Family","givenName":"Given","userName":"bo@example.com"},"object":"ScimUser bo","place":"people.yaml:7"}"#,
        ),
        ("/objects/0/reason", "\"ChangePlanned\""),
        ("/objects/0/differs", "[\"spec.state\"]"),
        ("/objects/1/reason", "\"Held\""),
        ("/objects/3/reason", "\"OutOfScope\""),
        ("/objects/4/adopts", "true"),
        ("/faults", "[]"),
        ("/otherObjects", "0"),
        ("/declared", r#"{"groups":1,"users":4}"#),
        ("/keptObjects", "0"),
        ("/connectionDiffers", "[]"),
    ] {
        let mut said = brief(pointer);
        if let Some(digest) = document.pointer(&format!("{pointer}/digest")) {
            said = said.replace(&digest.to_string(), "D");
        }
        assert_eq!(said, expected, "{pointer}");
    }
}

#[test]
fn a_plan_as_junit() {
    let text = [changes(), manifest("ScimUser", "odd", "userName: 7")].concat();
    let (text, _) = printed(&text, PlanFormat::Junit, false);
    for words in [
        r#"<testsuite name="identity/corp" tests="6" failures="4" skipped="0">"#,
        r#"<testcase classname="identity/corp" name="ScimUser ada (people.yaml:2)">
      <system-out>suspend user A</system-out>"#,
        r#"name="ScimUser bo (people.yaml:7)">
      <failure type="Held" "#,
        r#"<failure type="OutOfScope" "#,
        r#"name="ScimUser odd (people.yaml:27)">
      <failure type="InvalidSpec" message="spec.name is missing">"#,
    ] {
        assert!(text.contains(words), "{words} in {text}");
    }
}

#[test]
fn what_a_plan_comes_to() {
    let ada = person("ada", "");
    for (text, expected, code) in [
        (String::new(), Conclusion::Nothing, 0),
        (ada.clone(), Conclusion::Nothing, 0),
        (
            person("ada", ", state: Suspended, adopt: Always"),
            Conclusion::Changes,
            2,
        ),
        // A paused object sends nothing.
        (
            person("ada", ", state: Suspended, adopt: Always, paused: true"),
            Conclusion::Nothing,
            0,
        ),
        ([person("bo", ""), person("cy", "")].concat(), Conclusion::Held, 3),
        (
            [
                person("ada", ", state: Suspended"),
                ada.replace("name: ada}", "name: ada2}"),
            ]
            .concat(),
            Conclusion::Failed,
            1,
        ),
        (manifest("ScimUser", "odd", "userName: 7"), Conclusion::Failed, 1),
        (
            [
                person("bo", ""),
                person("cy", ""),
                manifest("ScimUser", "odd", "userName: 7"),
            ]
            .concat(),
            Conclusion::Failed,
            1,
        ),
    ] {
        let (printed, conclusion) = printed(&text, PlanFormat::Text, true);
        assert_eq!(
            (conclusion, conclusion.exit_code()),
            (expected, code),
            "{printed}"
        );
    }
}

fn two_people() -> Snapshot {
    snapshot_of(
        vec![user("A", "ada@example.com"), user("K", "kim@example.com")],
        vec![group("1", "k8s-a", Some(&["A"]))],
    )
}

/// An object that stands for an account of another name.
fn bo(name: &str, more: &str) -> String {
    person("bo", more).replace("userName: bo@", &format!("userName: {name}@"))
}

fn admins(name: &str) -> String {
    manifest("ScimGroup", "admins", &format!("displayName: {name}"))
}

/// The applied manifests say which account an object stands for.
#[test]
fn a_change_is_planned_for_the_account_of_the_object() {
    let snapshot = two_people();
    let policy = policy(&["*@example.com"], &["k8s-*"]);
    let census = Census::default();
    for (before, after, said, conclusion) in [
        // Without a base, no object stands for an account that differs.
        (
            None,
            bo("ada", ", state: Suspended"),
            "AlreadyExists",
            Conclusion::Failed,
        ),
        (
            Some(bo("ada", "")),
            bo("ada", ", state: Suspended"),
            "suspend user A",
            Conclusion::Changes,
        ),
        (
            Some(bo("ada", "")),
            bo("lovelace", ""),
            "rename user A: userName",
            Conclusion::Changes,
        ),
        (
            Some(admins("k8s-a")),
            admins("k8s-b"),
            "rename group 1: displayName",
            Conclusion::Changes,
        ),
        // The base did not stand for it either.
        (
            Some(bo("ada", ", state: Suspended")),
            bo("ada", ", state: Suspended"),
            "AlreadyExists",
            Conclusion::Failed,
        ),
        (
            Some(String::new()),
            bo("bo", ""),
            "create a user",
            Conclusion::Changes,
        ),
        // An apply without prune leaves the other object of this account where it is.
        (
            Some(person("kim", "")),
            person("kim", "").replace("name: kim}", "name: kim2}"),
            "ScimUser kim2 (people.yaml:2): Ambiguous",
            Conclusion::Failed,
        ),
        // What was wrong before, and is in no file, does not count.
        (
            Some(
                [
                    bo("ada", ""),
                    person("zoe", "").replace("example.com", "example.org"),
                ]
                .concat(),
            ),
            bo("ada", ""),
            "not in the files: 1 object of the base.",
            Conclusion::Nothing,
        ),
        // A limit counts what the others send, too.
        (
            Some(person("cy", "")),
            person("bo", ""),
            "2 creations; the limit is 1",
            Conclusion::Held,
        ),
        // Two objects change places: neither name is free.
        (
            Some([bo("ada", ""), person("kim", "")].concat()),
            [bo("kim", ""), person("kim", "").replace("kim@", "ada@")].concat(),
            "Ambiguous",
            Conclusion::Failed,
        ),
    ] {
        let base = before.as_deref().map(candidates);
        let ground = Ground {
            applied: base.is_some().then_some(Applied {
                source: Source::Base,
                differs: &[],
            }),
            ..ground(&policy)
        };
        let declared = declared_after(
            candidates(&after),
            base.as_deref(),
            owner(&[]),
            &snapshot,
            &ground,
        );
        let directory = Directory {
            snapshot: &snapshot,
            census: &census,
        };
        let outcome = Outcome::of(&ground, &declared, Ok(directory));
        let mut out = Vec::new();
        outcome.text(false, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(said), "{said} in {text}");
        assert_eq!(outcome.conclusion(), conclusion, "{text}");
    }
}
