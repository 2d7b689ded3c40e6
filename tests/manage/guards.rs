//! Guards: other bridges, other writers, providers that push, and names that are protected.

use bridge_front::{Content, Fault, Group, User};
use scim_bridge_operator::api::{connection::ScimBridgeConnection, vocabulary::ConditionType};
use scim_bridge_operator::domain::connection::conditions::find;
use serde_json::{Value, json};
use testbed::bed::{Bed, KEY, answer, status};

use crate::scene::{
    Bridge, Stage, address, changes, expect_group, expect_user, grouped, in_group, is_active, manage,
    managed, members, reads, seed, writes,
};

/// Another bridge listens behind the same name, with people of the same names. Nobody there is touched.
#[tokio::test]
async fn another_bridge_behind_the_same_name_is_left_alone() {
    let Stage { bed, bridge, .. } =
        Stage::without_operator("swapped", seed(&["ada", "kim"]), json!({})).await;
    let operator = bed.provider(&[]).await;
    for name in ["ada", "kim"] {
        bed.scim_user("corp", name, json!({})).await;
        expect_user(&bed, name, "True Provisioned").await;
    }
    let address = bridge.addr();
    bridge.stop().await;
    let other: Bridge = bed
        .directory(seed(&["ada", "kim", "sam"]))
        .listen(address)
        .start()
        .await
        .unwrap()
        .into();
    bed.probe("corp").await;
    let connection = bed.expect("corp", "True Connected DirectoryIncomplete").await;
    let incomplete = find(
        &status(&connection).conditions,
        ConditionType::DirectoryIncomplete,
    )
    .cloned();
    assert_eq!(incomplete.unwrap().reason, "NothingFamiliar");
    bed.scim_user("corp", "ada", json!({"state": "Suspended"})).await;
    bed.scim_user("corp", "new", json!({})).await;
    bed.scim_group("corp", "staff", json!({})).await;
    expect_user(&bed, "new", "False DirectoryIncomplete Reconciling").await;
    bed.probe("corp").await;
    // The one that was there comes back.
    let before = writes(&other);
    other.stop().await;
    assert_eq!(before, [""; 0]);
    operator.stop().await;
}

#[tokio::test]
async fn of_two_connections_to_one_bridge_the_elder_manages_it() {
    let stage = Stage::new("elder", seed(&["ada"]), json!({})).await;
    stage.bed.secret("younger", KEY).await;
    // The time of creation has seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    manage(&stage.bed, "younger", &stage.bridge, json!({})).await;
    let refused = |connection: &ScimBridgeConnection| {
        find(&status(connection).conditions, ConditionType::DirectoryIncomplete).is_some()
    };
    stage.bed.until("younger", "a refusal", refused).await;
    stage.bed.scim_user("younger", "second", json!({})).await;
    let second = expect_user(&stage.bed, "second", "False ProvisioningOff Stalled").await;
    let message = find(&second.status.unwrap().conditions, ConditionType::Ready)
        .unwrap()
        .message
        .clone();
    assert!(message.contains("older connection"), "{message}");
    stage.newcomer("first").await;
    assert_eq!(stage.changes(), ["CreateUser first"]);

    // In mode Plan it takes nothing from the younger one.
    stage
        .bed
        .edit("corp", json!({"provisioning": {"mode": "Plan"}}))
        .await;
    expect_user(&stage.bed, "second", "True Provisioned").await;
    stage
        .bed
        .edit("corp", json!({"provisioning": {"mode": "Manage"}}))
        .await;
    stage.bed.scim_user("younger", "third", json!({})).await;
    expect_user(&stage.bed, "third", "False ProvisioningOff Stalled").await;
    stage.bed.delete::<ScimBridgeConnection>("corp").await;
    expect_user(&stage.bed, "third", "True Provisioned").await;
    stage
        .end(&["CreateUser first", "CreateUser second", "CreateUser third"])
        .await;
}

/// Somebody else changes back what was set: once it is set again, and then it is theirs.
#[tokio::test]
async fn what_is_changed_back_twice_is_left_to_the_other_writer() {
    let stage = Stage::new(
        "contest",
        grouped(&["ada", "kim", "lee"], &[("staff", &["lee"])]),
        json!({}),
    )
    .await;
    stage
        .user("ada", json!({"state": "Suspended", "adopt": "Always"}))
        .await;
    stage.user("kim", json!({})).await;
    stage
        .group("staff", json!({"members": members(&["kim"]), "adopt": "Always"}))
        .await;
    stage.expect("ada", "True Suspended").await;
    stage.expect_group("staff", "True Provisioned").await;
    let id = |name: &str| stage.bridge.directory().user_named(&address(name)).unwrap().id;
    let undo = || {
        let directory = stage.bridge.directory();
        let (ada, kim) = (id("ada"), id("kim"));
        directory.edit_user(&ada, |user| user.active = true);
        let staff = directory.group_named("staff").unwrap().id;
        directory.edit_group(&staff, |group| group.members.retain(|member| member.value != kim));
    };
    undo();
    stage.read_again("once").await;
    stage.changed(4).await;
    stage.expect("ada", "True Suspended").await;
    stage.expect_group("staff", "True Provisioned").await;
    undo();
    stage.read_again("twice").await;
    stage.expect("ada", "False Contested Stalled").await;
    stage.expect_group("staff", "False Contested Stalled").await;
    stage
        .bed
        .expect_directory("corp", "two contests", |directory| directory.contested == Some(2))
        .await;
    stage.read_again("and again").await;
    stage.newcomer("new").await;
    assert_eq!(stage.changes().len(), 5, "{:?}", stage.changes());

    // Another specification is another word.
    stage
        .user(
            "ada",
            json!({"state": "Suspended", "name": {"givenName": "Ada", "familyName": "Family"}}),
        )
        .await;
    stage.expect("ada", "True Suspended").await;
    stage
        .end(&[
            "Suspend ada",
            "AddMember staff: kim",
            "Suspend ada",
            "AddMember staff: kim",
            "CreateUser new",
            "Suspend ada",
            "ChangeName ada",
        ])
        .await;
}

/// A provider that pushes has authority over everybody, unless the scope is narrow.
#[tokio::test]
async fn a_provider_that_pushes_is_not_fought() {
    let bed = Bed::with_provisioning("pushing").await;
    let rows: [(&str, &str, Value, &str); 3] = [
        (
            "everybody",
            "Okta",
            json!(["*"]),
            "False IdentityProviderAuthoritative Stalled",
        ),
        ("narrow", "Okta", json!(["new-*@example.com"]), "True Provisioned"),
        ("none", "None", json!(["*"]), "True Provisioned"),
    ];
    let mut bridges = Vec::new();
    for (name, provider, scope, _) in &rows {
        let more = json!({"scope": {"userNames": scope, "groups": ["*"]}});
        let bridge = managed(&bed, name, seed(&["ada"]), more).await;
        let provider = if *provider == "None" {
            Value::Null
        } else {
            json!(provider)
        };
        bed.edit(name, json!({"identityProvider": provider})).await;
        bed.scim_user(name, &format!("new-{name}"), json!({})).await;
        bridges.push(bridge);
    }
    bed.scim_user("narrow", "ada", json!({"state": "Suspended", "adopt": "Always"}))
        .await;
    let operator = bed.provider(&[]).await;
    for (name, _, _, line) in &rows {
        expect_user(&bed, &format!("new-{name}"), line).await;
    }
    expect_user(&bed, "ada", "False OutOfScope Stalled").await;
    operator.stop().await;
    let done: Vec<_> = bridges.iter().map(|bridge| changes(bridge)).collect();
    assert_eq!(
        done,
        [vec![], vec!["CreateUser new-narrow"], vec!["CreateUser new-none"]]
    );
    assert_eq!(reads(&bridges[0]), 0);
}

/// The protected name in spellings that some server takes for the same: none of them is suspended, renamed or removed.
const SPELLINGS: [&str; 6] = [
    "owner@example.com",
    "OWNER@Example.COM",
    "owner@example.com.",
    "\u{ff4f}wner@example.com",
    "owner\u{200b}@example.com",
    "own\u{ad}er@example.com",
];

#[tokio::test]
async fn a_protected_name_is_protected_in_every_spelling() {
    let bed = Bed::with_provisioning("protected").await;
    let mut people = grouped(&["ada"], &[]);
    people.users.clear();
    people.users.push(User::new("ada@example.com", "Given", "Family"));
    people
        .users
        .extend(SPELLINGS.iter().enumerate().map(|(place, name)| {
            let mut user = User::new(*name, "Given", "Family");
            user.id = format!("OWNER{place}");
            user
        }));
    let ids = (0..SPELLINGS.len()).map(|place| format!("OWNER{place}"));
    people
        .groups
        .push(Group::new("staff", ids.chain(["ada@example.com".to_owned()])));
    people
        .groups
        .push(Group::new("\u{ff2f}wners ", ["ada@example.com"]));
    let more = json!({
        "scope": {"userNames": ["*"], "groups": ["*"]},
        "protected": {"userNames": ["owner@example.com"], "groups": ["Owners"]},
        "limits": {"removals": 100, "suspensions": 100},
    });
    let bridge = managed(&bed, "corp", people, more).await;
    let suspended = |name: &str| json!({"userName": name, "state": "Suspended", "adopt": "Always"});
    bed.scim_user("corp", "dot", suspended("owner@example.com."))
        .await;
    let exact = json!({"members": [], "membership": "Exact", "adopt": "Always"});
    bed.scim_group("corp", "staff", exact).await;
    let operator = bed.provider(&[]).await;
    expect_user(&bed, "dot", "False Protected Stalled").await;
    // Ada leaves the group, and nobody else.
    expect_group(&bed, "staff", "False Protected Stalled").await;
    bed.scim_user("corp", "new", json!({})).await;
    expect_user(&bed, "new", "True Provisioned").await;
    operator.stop().await;
    assert_eq!(in_group(&bridge, "staff").len(), SPELLINGS.len());
    assert!(bridge.directory().users().iter().all(|user| user.active));
    assert_eq!(changes(&bridge), ["RemoveMember staff: ada", "CreateUser new"]);
}

/// What happens to a connection, so that it is proven no longer.
type Loss = (&'static str, fn(&mut bridge_front::State), &'static str);

#[rustfmt::skip]
const LOSSES: [Loss; 3] = [
    ("suspended", |_| {}, r#"{"suspend": true}"#),
    ("down", |bridge| bridge.fault("/", answer(503)), r#"{"failureThreshold": 1}"#),
    ("off", |bridge| bridge.provisioning_off = true, r#"{"failureThreshold": 1}"#),
];

/// Nothing is sent by a connection that is not proven now, and everything afterwards, once.
pub(crate) async fn a_connection_that_is_not_proven_sends_nothing() {
    let bed = Bed::with_provisioning("unproven").await;
    let operator = bed.provider(&[]).await;
    let mut bridges = Vec::new();
    for (name, ..) in LOSSES {
        let bridge = managed(&bed, name, seed(&["ada"]), json!({})).await;
        bed.scim_user(
            name,
            &format!("ada-{name}"),
            json!({"userName": "ada@example.com"}),
        )
        .await;
        expect_user(&bed, &format!("ada-{name}"), "True Provisioned").await;
        bridges.push(bridge);
    }
    for ((name, fault, spec), bridge) in LOSSES.iter().zip(&bridges) {
        bridge.set(fault);
        bed.edit(name, serde_json::from_str::<Value>(spec).unwrap()).await;
        if *name != "suspended" {
            bed.probe(name).await;
            bed.until(name, "a loss", |connection| {
                testbed::bed::line(connection).starts_with("False")
            })
            .await;
        }
    }
    for (name, ..) in LOSSES {
        let leaves = json!({"userName": "ada@example.com", "state": "Suspended"});
        bed.scim_user(name, &format!("ada-{name}"), leaves).await;
        expect_user(
            &bed,
            &format!("ada-{name}"),
            "False ConnectionNotReady Reconciling",
        )
        .await;
    }
    for bridge in &bridges {
        assert_eq!(writes(bridge), [""; 0]);
        bridge.set(|state| {
            state.faults.clear();
            state.provisioning_off = false;
        });
    }
    for (name, ..) in LOSSES {
        bed.edit(name, json!({"suspend": false})).await;
        bed.probe(name).await;
        expect_user(&bed, &format!("ada-{name}"), "True Suspended").await;
    }
    operator.stop().await;
    for bridge in &bridges {
        assert_eq!(changes(bridge), ["Suspend ada"]);
        assert!(!is_active(bridge, "ada"));
    }
}

/// What happens to the lists of a bridge, and what the connection says of it.
type Lie = (&'static str, fn(&mut bridge_front::State), &'static str);

#[rustfmt::skip]
const LIES: [Lie; 3] = [
    ("empty", |state| state.habits.lists.ends_at = Some(0), "UsersVanished"),
    ("short", |state| state.habits.lists.ends_at = Some(2), "ManyMissing"),
    ("page", |state| state.fault("/scim/Groups", Fault::status(503, Content::Json)), "PageFailed"),
];

/// Lists that lost people or groups are no reason to do anything to anybody.
#[tokio::test]
async fn a_directory_that_lost_many_touches_nobody() {
    let bed = Bed::with_provisioning("lost").await;
    let names: Vec<String> = (0..12).map(|number| format!("user{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let operator = bed.provider(&[]).await;
    let mut bridges = Vec::new();
    for (name, ..) in LIES {
        let bridge = managed(&bed, name, grouped(&names, &[("staff", &names)]), json!({})).await;
        let staff = json!({"displayName": "staff", "members": members(&names), "membership": "Exact"});
        bed.scim_group(name, &format!("staff-{name}"), staff).await;
        bridges.push(bridge);
    }
    for ((name, lie, _), bridge) in LIES.iter().zip(&bridges) {
        expect_group(&bed, &format!("staff-{name}"), "True Provisioned").await;
        bridge.set(lie);
        bed.probe(name).await;
    }
    for ((name, _, reason), bridge) in LIES.iter().zip(&bridges) {
        let says = |connection: &ScimBridgeConnection| {
            let incomplete =
                find(&status(connection).conditions, ConditionType::DirectoryIncomplete).cloned();
            incomplete.is_some_and(|condition| condition.reason == *reason)
        };
        bed.until(name, reason, says).await;
        bed.scim_user(name, &format!("new-{name}"), json!({})).await;
        let line = if *name == "page" {
            // What the last complete read has shown still holds.
            "True Provisioned"
        } else {
            "False DirectoryIncomplete Reconciling"
        };
        expect_user(&bed, &format!("new-{name}"), line).await;
        let created = usize::from(*name == "page");
        assert_eq!(writes(bridge).len(), created, "{name}: {:?}", writes(bridge));
        expect_group(&bed, &format!("staff-{name}"), "True Provisioned").await;
    }
    operator.stop().await;
}
