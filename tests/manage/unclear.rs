//! Creations without a clear answer: one account comes of each, and never two.

use bridge_front::{Content, Fault, User, directory::Taken};
use scim_bridge_operator::api::{directory::Origin, user::ScimUser};
use serde_json::json;
use testbed::bed::Bed;

use crate::scene::{Bridge, Stage, address, begins_a_read, changes, expect_user, managed, seed, writes};

/// A name, what the first creation of a user comes to, and how many requests lead to the account.
type Row = (&'static str, fn() -> Fault, usize);

#[rustfmt::skip]
const UNCLEAR: [Row; 12] = [
    ("silent-done", || Fault::Silent.after_the_write(), 1),
    ("silent-lost", || Fault::Silent, 2),
    ("error-done", || Fault::status(500, Content::Json).after_the_write(), 1),
    ("error-lost", || Fault::status(500, Content::Json), 2),
    ("page-done", || Fault::status(502, Content::Html).after_the_write(), 1),
    ("page-lost", || Fault::status(502, Content::Html), 2),
    ("cut-done", || Fault::Close.after_the_write(), 1),
    ("cut-lost", || Fault::Close, 2),
    ("reset-done", || Fault::Reset.after_the_write(), 1),
    ("half-done", || Fault::Truncated, 1),
    ("no-id-done", || Fault::status(200, Content::Empty).after_the_write(), 1),
    ("created-without-id", || Fault::status(201, Content::Empty).after_the_write(), 1),
];

/// The bridge would make a second account of the same name.
pub(crate) async fn an_unclear_answer_leads_to_one_account() {
    let bed = Bed::with_provisioning("unclear").await;
    let mut bridges = Vec::new();
    for (name, fault, _) in UNCLEAR {
        let bridge = managed(&bed, name, seed(&["kim"]), json!({})).await;
        bed.edit(name, json!({"timeout": "5s"})).await;
        bridge.set(|state| {
            state.habits.writes.taken_user_name = Taken::Accepted;
            state.fault("POST /scim/Users", fault().once());
        });
        bed.scim_user(
            name,
            &format!("ada-{name}"),
            json!({"userName": "ada@example.com", "adopt": "Never"}),
        )
        .await;
        bridges.push(bridge);
    }
    let operator = bed.provider(&[]).await;
    for ((name, _, requests), bridge) in UNCLEAR.iter().zip(&bridges) {
        let ada = expect_user(&bed, &format!("ada-{name}"), "True Provisioned").await;
        assert_eq!(ada.status.unwrap().origin, Some(Origin::Created), "{name}");
        assert_eq!(changes(bridge), ["CreateUser ada"], "{name}");
        assert_eq!(writes(bridge).len(), *requests, "{name}");
        assert_lists_between(name, bridge);
    }
    operator.stop().await;
}

/// A creation is never repeated without complete lists in between.
fn assert_lists_between(name: &str, bridge: &Bridge) {
    let mut may_create = true;
    for request in bridge.requests() {
        if request.method == "POST" {
            assert!(std::mem::take(&mut may_create), "{name}");
        }
        may_create |= begins_a_read(&request);
    }
}

/// The process ends between the creation and its answer. The account is known again, whatever `adopt` says.
#[tokio::test]
async fn a_crash_makes_no_second_account() {
    let mut stage = Stage::new("crash", seed(&[]), json!({})).await;
    stage.bridge.set(|state| {
        state.habits.writes.taken_user_name = Taken::Accepted;
        state.fault("POST /scim/Users", Fault::Silent.after_the_write());
    });
    stage.user("ada", json!({"adopt": "Never"})).await;
    stage.changed(1).await;
    stage.kill().await;
    stage.bridge.set(|state| state.faults.clear());
    stage.start(&[]).await;
    let ada = stage.expect("ada", "True Provisioned").await;
    assert_eq!(ada.status.unwrap().origin, Some(Origin::Created));
    assert_eq!(writes(&stage.bridge).len(), 1);
    stage.end(&["CreateUser ada"]).await;
}

/// A specification, and what its object says after 409, where somebody else has created the account meanwhile.
#[rustfmt::skip]
const TAKEN: [(&str, &str, &str); 4] = [
    ("same", "{}", "True Provisioned"),
    ("differs", r#"{"name": {"givenName": "Another", "familyName": "Family"}}"#, "False AlreadyExists Stalled"),
    ("always", r#"{"name": {"givenName": "Another", "familyName": "Family"}, "adopt": "Always"}"#, "True Provisioned"),
    ("never", r#"{"adopt": "Never"}"#, "False AlreadyExists Stalled"),
];

/// Whether the answer names the cause makes no difference.
#[tokio::test]
async fn a_taken_name_leads_to_a_list_and_then_to_adoption() {
    for (prefix, taken) in [
        ("conflict", Taken::Conflict),
        ("untyped", Taken::ConflictWithoutType),
    ] {
        let stage = Stage::new(prefix, seed(&[]), json!({})).await;
        stage
            .bridge
            .set(|state| state.habits.writes.taken_user_name = taken);
        for (name, ..) in TAKEN {
            let user = User::new(address(name), "Given", "Family");
            stage.bridge.directory().put_user(user);
        }
        for (name, more, _) in TAKEN {
            stage.user(name, serde_json::from_str(more).unwrap()).await;
        }
        for (name, _, line) in TAKEN {
            let status = stage.expect(name, line).await.status.unwrap();
            let is_ours = line.starts_with("True");
            assert_eq!(status.origin, is_ours.then_some(Origin::Adopted), "{name}");
        }
        // One creation each, and one change of the only one that may be changed.
        assert_eq!(writes(&stage.bridge).len(), 5, "{:?}", writes(&stage.bridge));
        stage.end(&["ChangeName always"]).await;
    }
}

/// 409 for a name that nobody has.
pub(crate) async fn a_conflict_about_nobody_is_a_refusal() {
    let stage = Stage::new("free", seed(&[]), json!({})).await;
    stage.bridge.set(|state| {
        let refused = bridge_front::directory::Refused {
            status: 409,
            scim_type: Some("uniqueness".to_owned()),
        };
        state
            .habits
            .writes
            .refused
            .insert(bridge_front::Act::CreateUser, refused);
    });
    stage.user("ada", json!({})).await;
    stage.expect("ada", "False Rejected Stalled").await;
    // Whoever had the name may be gone a moment later.
    assert!(writes(&stage.bridge).len() <= 3, "{:?}", writes(&stage.bridge));
    assert_lists_between("free", &stage.bridge);
    // What is there under this name later is not the object's.
    let other = User::new(address("ada"), "Another", "Family");
    stage.bridge.directory().put_user(other);
    stage.read_again("once more").await;
    let ada = stage.expect("ada", "False AlreadyExists Stalled").await;
    assert_eq!(ada.status.unwrap().id, None);
    stage.end(&[]).await;
}

/// A bridge that asks for a pause gets one, and each request in its turn.
pub(crate) async fn a_pause_is_kept() {
    let stage = Stage::new("pause", seed(&["kim"]), json!({})).await;
    let limited = Fault::Status {
        status: 429,
        body: Content::Json,
        retry_after: Some("3".to_owned()),
    };
    stage
        .bridge
        .set(|state| state.fault("POST /scim/Users", limited.once()));
    stage.user("ada", json!({})).await;
    stage.expect("ada", "True Provisioned").await;
    let requests = stage.bridge.requests();
    let refused = requests
        .iter()
        .position(|request| request.method == "POST")
        .unwrap();
    let [first, next] = [refused, refused + 1].map(|place| &requests[place]);
    let waited = next.at.duration_since(first.at);
    assert!(waited >= std::time::Duration::from_secs(3), "{waited:?}");
    assert_eq!(writes(&stage.bridge).len(), 2);
    stage.end(&["CreateUser ada"]).await;
}

/// A suspension without a clear answer is asked again, and a group is created once.
pub(crate) async fn other_unclear_answers() {
    let stage = Stage::new("others", seed(&["ada", "kim", "sam"]), json!({})).await;
    let cut = |state: &mut bridge_front::State| {
        state.fault("PATCH /scim/Users", Fault::Close.once());
        state.fault("POST /scim/Groups", Fault::Close.after_the_write().once());
        state.habits.writes.taken_group_name = Taken::Accepted;
    };
    stage.bridge.set(cut);
    stage
        .user("ada", json!({"state": "Suspended", "adopt": "Always"}))
        .await;
    stage.expect("ada", "True Suspended").await;
    stage.group("staff", json!({})).await;
    stage.expect_group("staff", "True Provisioned").await;
    stage
        .bridge
        .set(|state| state.fault("PATCH /scim/Users", Fault::Reset.after_the_write().once()));
    stage
        .user("kim", json!({"state": "Suspended", "adopt": "Always"}))
        .await;
    stage.expect("kim", "True Suspended").await;
    assert_eq!(writes(&stage.bridge).len(), 4, "{:?}", writes(&stage.bridge));
    let ada: ScimUser = stage.bed.api().get("ada").await.unwrap();
    assert!(ada.status.unwrap().suspension.unwrap().proven_at.is_some());
    stage
        .end(&["Suspend ada", "CreateGroup staff", "Suspend kim"])
        .await;
}
