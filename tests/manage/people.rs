//! Users: they join, change their name, leave and come back.

use bridge_front::{User, directory::NameCase};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use scim_bridge_operator::{
    api::directory::Origin,
    clock::{Clock as _, SystemClock},
};
use serde_json::{Value, json};

use crate::scene::{Stage, address, is_active, seed, writes};

#[tokio::test]
async fn somebody_joins_is_renamed_leaves_and_comes_back() {
    let stage = Stage::new("life", seed(&[]), json!({})).await;
    stage.user("ada", json!({})).await;
    let ada = stage.expect("ada", "True Provisioned").await;
    let status = ada.status.unwrap();
    let there = stage.bridge.directory().user_named("ada@example.com").unwrap();
    assert_eq!(
        (status.id.as_deref(), status.origin),
        (Some(there.id.as_str()), Some(Origin::Created))
    );
    let augusta = |state: &str| {
        json!({
            "userName": "augusta@example.com",
            "name": {"givenName": "Augusta", "familyName": "Family"},
            "state": state,
        })
    };
    stage.user("ada", augusta("Active")).await;
    stage.expect("ada", "True Provisioned").await;
    let renamed = stage
        .bridge
        .directory()
        .user_named("augusta@example.com")
        .unwrap();
    assert_eq!(renamed.id, there.id);

    stage.user("ada", augusta("Suspended")).await;
    let ada = stage.expect("ada", "True Suspended").await;
    let times = ada.status.unwrap().suspension.unwrap();
    assert!(
        times.requested_at <= times.sent_at && times.sent_at <= times.proven_at && times.sent_at.is_some()
    );
    assert!(!is_active(&stage.bridge, "augusta"));

    stage.user("ada", augusta("Active")).await;
    let ada = stage.expect("ada", "True Provisioned").await;
    assert_eq!(ada.status.unwrap().suspension, None);
    assert_eq!(writes(&stage.bridge).len(), 4, "{:?}", writes(&stage.bridge));
    stage
        .end(&[
            "CreateUser augusta",
            "RenameUser augusta",
            "ChangeName augusta",
            "Suspend augusta",
            "Reactivate augusta",
        ])
        .await;
}

/// Who is on the bridge, under which specification, and what the object says then.
#[rustfmt::skip]
const ADOPTIONS: [(&str, &str, &str); 8] = [
    ("same", "{}", "True Provisioned"),
    ("spelt", r#"{"userName": "SPELT@Example.com"}"#, "True Provisioned"),
    ("differs", r#"{"name": {"givenName": "Another", "familyName": "Family"}}"#, "False AlreadyExists Stalled"),
    ("always", r#"{"name": {"givenName": "Another", "familyName": "Family"}, "adopt": "Always"}"#, "True Provisioned"),
    ("never", r#"{"adopt": "Never"}"#, "False AlreadyExists Stalled"),
    ("leaves", r#"{"state": "Suspended"}"#, "False AlreadyExists Stalled"),
    ("must-leave", r#"{"state": "Suspended", "adopt": "Always"}"#, "True Suspended"),
    ("waits", r#"{"state": "Suspended", "adopt": "Always", "paused": true}"#, "False ChangePlanned Stalled"),
];

#[tokio::test]
async fn an_account_is_taken_over_as_the_object_allows() {
    let names = ADOPTIONS.map(|(name, ..)| name);
    let stage = Stage::new("adopt", seed(&names), json!({})).await;
    for (name, more, _) in ADOPTIONS {
        stage.user(name, serde_json::from_str(more).unwrap()).await;
    }
    // Nobody has this name, so nothing is there to suspend.
    stage.user("nobody", json!({"state": "Suspended"})).await;
    for (name, _, line) in ADOPTIONS {
        let status = stage.expect(name, line).await.status.unwrap();
        let is_ours = line.starts_with("True");
        assert_eq!(status.origin, is_ours.then_some(Origin::Adopted), "{name}");
        assert_eq!(status.id.is_some(), is_ours, "{name}");
    }
    stage.expect("nobody", "True Suspended").await;
    assert!(is_active(&stage.bridge, "leaves"));
    stage.newcomer("new").await;
    let there = stage.bridge.directory().user_named(&address("spelt")).unwrap();
    assert_eq!(
        there.user_name, "spelt@example.com",
        "the spelling on the bridge is kept"
    );

    stage
        .user("waits", json!({"state": "Suspended", "adopt": "Always"}))
        .await;
    stage.expect("waits", "True Suspended").await;
    let mut stage = stage;
    stage.stop().await;
    let mut changes = stage.changes();
    changes.sort();
    let expected = [
        "ChangeName always",
        "CreateUser new",
        "Suspend must-leave",
        "Suspend waits",
    ];
    assert_eq!(changes, expected);
}

/// A rename is by id, whoever has changed the name meanwhile. A taken name is not asked for.
#[tokio::test]
async fn a_name_changes_by_id() {
    let stage = Stage::new("rename", seed(&["ada", "kim"]), json!({})).await;
    let id = stage.bridge.directory().user_named(&address("ada")).unwrap().id;
    stage.user("ada", json!({})).await;
    stage.expect("ada", "True Provisioned").await;
    stage.user("ada", json!({"userName": "ADA@example.com"})).await;
    stage.expect("ada", "True Provisioned").await;
    stage.user("ada", json!({"userName": "KIM@example.com"})).await;
    stage.expect("ada", "False Ambiguous Stalled").await;
    stage.user("ada", json!({"userName": "lee@example.com"})).await;
    stage.expect("ada", "True Provisioned").await;
    assert_eq!(
        stage.bridge.directory().user(&id).unwrap().user_name,
        "lee@example.com"
    );
    stage.end(&["RenameUser lee"]).await;
}

#[tokio::test]
async fn access_ends_at_its_time() {
    let stage = Stage::new("until", seed(&["ada"]), json!({})).await;
    let until = SystemClock.now() + SignedDuration::from_secs(4);
    let until = Timestamp::from_second(until.as_second()).unwrap();
    stage.user("ada", json!({"activeUntil": until.to_string()})).await;
    let ada = stage.expect("ada", "True Suspended").await;
    let times = ada.status.unwrap().suspension.unwrap();
    assert_eq!(times.requested_at.unwrap().0, until);
    assert!(times.sent_at.unwrap().0 >= until);
    stage.end(&["Suspend ada"]).await;
}

/// Two accounts whose names differ in case, and two objects for one account: nobody guesses.
#[tokio::test]
async fn two_of_one_name_are_left_alone() {
    let mut people = seed(&["ada", "kim"]);
    people.users.push(User::new("ADA@example.com", "Given", "Family"));
    let stage = Stage::without_operator("twins", people, json!({})).await;
    stage
        .bridge
        .set(|state| state.habits.writes.name_case = NameCase::Exact);
    let suspended = |name: &str| json!({"userName": name, "state": "Suspended", "adopt": "Always"});
    stage.user("ada", suspended("ada@example.com")).await;
    stage.user("kim", json!({})).await;
    stage.user("other-kim", suspended("Kim@example.com")).await;
    // Two objects, and nobody of that name.
    stage.user("lee", json!({})).await;
    stage
        .user("other-lee", json!({"userName": "LEE@example.com"}))
        .await;
    let mut stage = stage;
    stage.start(&[]).await;
    for name in ["ada", "kim", "other-kim", "lee", "other-lee"] {
        stage.expect(name, "False Ambiguous Stalled").await;
    }
    stage.newcomer("new").await;
    stage.end(&["CreateUser new"]).await;
}

/// Somebody else took an account away: no second one is made for its object.
#[tokio::test]
async fn who_is_gone_is_not_created_again() {
    let stage = Stage::new("gone", seed(&["ada", "kim"]), json!({})).await;
    for name in ["ada", "kim"] {
        stage.user(name, json!({})).await;
        stage.expect(name, "True Provisioned").await;
    }
    let directory = stage.bridge.directory();
    directory.remove_user(&directory.user_named(&address("ada")).unwrap().id);
    stage.read_again("once more").await;
    stage.expect("ada", "False DirectoryIncomplete Reconciling").await;
    stage.expect("kim", "True Provisioned").await;
    stage.newcomer("new").await;
    stage.end(&["CreateUser new"]).await;
}

/// Refused acts: on the bridge, and what their objects say.
#[tokio::test]
async fn a_refusal_is_of_one_act_and_is_not_repeated() {
    use bridge_front::{Act, directory::Refused};
    let stage = Stage::new("refused", seed(&["ada", "kim", "sam"]), json!({})).await;
    let refused = |status| Refused {
        status,
        scim_type: None,
    };
    stage.bridge.set(|state| {
        let acts = [
            (Act::Reactivate, 400),
            (Act::RenameUser, 405),
            (Act::CreateUser, 403),
        ];
        state.habits.writes.refused = acts.map(|(act, status)| (act, refused(status))).into();
    });
    let directory = stage.bridge.directory();
    let id = directory.user_named(&address("ada")).unwrap().id;
    directory.edit_user(&id, |user| user.active = false);
    stage.read_again("suspended").await;
    let always = |more: Value| {
        let mut spec = json!({"adopt": "Always"});
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        spec
    };
    stage
        .bed
        .expect_directory("corp", "a suspended user", |directory| directory.suspended == 1)
        .await;
    stage.user("ada", always(json!({}))).await;
    stage.user("kim", json!({})).await;
    stage.expect("kim", "True Provisioned").await;
    stage.user("kim", json!({"userName": "lee@example.com"})).await;
    stage.user("new", json!({})).await;
    stage.expect("ada", "False Rejected Stalled").await;
    stage.expect("kim", "False Unsupported Stalled").await;
    let new = stage.expect("new", "False Rejected Stalled").await;
    assert_eq!(new.status.unwrap().origin, None, "nothing was created");
    // One object's refusal stays its own.
    stage.user("sam", always(json!({"state": "Suspended"}))).await;
    stage.expect("sam", "True Suspended").await;
    assert_eq!(writes(&stage.bridge).len(), 4, "{:?}", writes(&stage.bridge));

    // Another specification is another try.
    stage.bridge.set(|state| state.habits.writes.refused.clear());
    stage
        .user(
            "new",
            json!({"name": {"givenName": "New", "familyName": "Family"}}),
        )
        .await;
    stage.expect("new", "True Provisioned").await;
    stage.end(&["Suspend sam", "CreateUser new"]).await;
}
