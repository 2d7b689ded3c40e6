//! Proof: what an object says was read, whatever a bridge answers.

use bridge_front::{
    Act, Content, Fault, State,
    directory::{Addition, Echo, MembersKey, Removal, Spelling, UserGroups},
};
use scim_bridge_operator::api::directory::Origin;
use serde_json::{Value, json};
use testbed::bed::Bed;

use crate::scene::{
    Stage, changes, expect_group, expect_user, grouped, in_group, is_active, managed, members, seed, writes,
};

/// Nothing is said to be done before a read has shown it.
#[tokio::test]
async fn nothing_is_done_before_a_read() {
    let stage = Stage::new("unread", seed(&["ada"]), json!({})).await;
    stage.user("ada", json!({})).await;
    stage.expect("ada", "True Provisioned").await;
    stage
        .bridge
        .set(|state| state.fault("GET /scim/Users", Fault::status(503, Content::Json)));
    stage.user("ada", json!({"state": "Suspended"})).await;
    stage.user("kim", json!({})).await;
    let ada = stage.expect("ada", "False Unproven Reconciling").await;
    let times = ada.status.unwrap().suspension.unwrap();
    assert!(times.sent_at.is_some() && times.proven_at.is_none());
    let kim = stage.expect("kim", "False Unproven Reconciling").await;
    assert_eq!(kim.status.unwrap().id, None);
    assert!(!is_active(&stage.bridge, "ada"), "the bridge has done it");
    stage.bridge.set(|state| state.faults.clear());
    let ada = stage.expect("ada", "True Suspended").await;
    assert!(ada.status.unwrap().suspension.unwrap().proven_at.is_some());
    let kim = stage.expect("kim", "True Provisioned").await;
    assert_eq!(kim.status.unwrap().origin, Some(Origin::Created));
    assert_eq!(writes(&stage.bridge).len(), 2, "{:?}", writes(&stage.bridge));
    stage.end(&["Suspend ada", "CreateUser kim"]).await;
}

/// A bridge that shows each write late, and names in another case each time. Nothing is sent twice.
pub(crate) async fn a_write_that_shows_late_is_waited_for() {
    let stage = Stage::new(
        "late",
        grouped(&["ada", "kim"], &[("staff", &["kim"])]),
        json!({}),
    )
    .await;
    stage.bridge.set(|state| {
        state.habits.writes.visible_after = 2;
        state.habits.shown.names = Spelling::Changing;
    });
    stage
        .user("ada", json!({"userName": "lee@example.com", "adopt": "Always"}))
        .await;
    stage.expect("ada", "True Provisioned").await;
    stage
        .user(
            "ada",
            json!({"userName": "lee@example.com", "state": "Suspended"}),
        )
        .await;
    stage.expect("ada", "True Suspended").await;
    stage
        .group(
            "staff",
            json!({"members": members(&["kim", "lee"]), "adopt": "Always"}),
        )
        .await;
    stage.user("ada", json!({"userName": "lee@example.com"})).await;
    stage.expect("ada", "True Provisioned").await;
    stage.expect_group("staff", "True Provisioned").await;
    let writes = writes(&stage.bridge);
    assert_eq!(writes.len(), 4, "{writes:?}");
    stage
        .end(&[
            "CreateUser lee",
            "Suspend lee",
            "Reactivate lee",
            "AddMember staff: lee",
        ])
        .await;
}

/// One that answers with success and does nothing: a name, the act that it leaves out, and the objects that ask for it.
type Liar = (&'static str, fn(&mut State), &'static str, Value);

fn liars() -> [Liar; 7] {
    let nowhere = |state: &mut State| {
        state.habits.shown.user_groups = UserGroups::Absent;
        state.habits.shown.members = MembersKey::Never;
    };
    let exact = |names: &[&str]| json!({"displayName": "staff", "members": members(names), "membership": "Exact", "adopt": "Always"});
    [
        (
            "suspension",
            |state| state.habits.writes.ignored.extend([Act::Suspend]),
            "user",
            json!({"userName": "ada@example.com", "state": "Suspended"}),
        ),
        (
            "rename",
            |state| state.habits.writes.ignored.extend([Act::RenameUser]),
            "user",
            json!({"userName": "lee@example.com"}),
        ),
        (
            "creation",
            |state| state.habits.writes.ignored.extend([Act::CreateUser]),
            "new",
            json!({"userName": "new@example.com"}),
        ),
        (
            "lie",
            |state| state.fault("PATCH /scim/Users", Fault::status(200, Content::Empty)),
            "user",
            json!({"userName": "ada@example.com", "state": "Suspended"}),
        ),
        (
            "addition",
            |state| state.habits.writes.ignored.extend([Act::AddMember]),
            "group",
            exact(&["ada", "kim"]),
        ),
        (
            "removal",
            |state| state.habits.writes.ignored.extend([Act::RemoveMember]),
            "group",
            exact(&[]),
        ),
        (
            "trial",
            nowhere,
            "group",
            json!({"displayName": "crew", "members": members(&["ada"])}),
        ),
    ]
}

/// The answers show what was sent. For a minute they may be true and late; then nothing of that kind is sent any more.
pub(crate) async fn who_answers_with_success_and_does_nothing() {
    let bed = Bed::with_provisioning("liars").await;
    let mut bridges = Vec::new();
    for (name, habit, what, _) in liars() {
        let bridge = managed(
            &bed,
            name,
            grouped(&["ada", "kim"], &[("staff", &["ada"])]),
            json!({}),
        )
        .await;
        bridge.set(|state| {
            state.habits.writes.echo = Echo::AsSent;
            habit(state);
        });
        if what == "user" {
            bed.scim_user(name, name, json!({"userName": "ada@example.com"}))
                .await;
        }
        bridges.push(bridge);
    }
    let operator = bed.provider(&[]).await;
    for (name, _, what, spec) in liars() {
        if what == "user" {
            expect_user(&bed, name, "True Provisioned").await;
        }
        if what == "group" {
            bed.scim_group(name, name, spec).await;
        } else {
            bed.scim_user(name, name, spec).await;
        }
    }
    for line in ["False Unproven Reconciling", "False NotAsWritten Stalled"] {
        let without_way = line.replace("NotAsWritten", "MembersUnreadable");
        for ((name, _, what, _), bridge) in liars().iter().zip(&bridges) {
            if *name == "trial" {
                expect_group(&bed, name, &without_way).await;
            } else if *what == "group" {
                expect_group(&bed, name, line).await;
            } else {
                expect_user(&bed, name, line).await;
            }
            let sent = if *name == "trial" { 2 } else { 1 };
            assert_eq!(writes(bridge).len(), sent, "{name}: {:?}", writes(bridge));
        }
    }
    // A request for a check tries nothing again. A change of the object does, once.
    let before = writes(&bridges[0]).len();
    let (name, _, _, suspended) = liars().into_iter().next().unwrap();
    bed.probe(name).await;
    let mut paused = suspended.clone();
    paused["paused"] = json!(true);
    bed.scim_user(name, name, paused).await;
    expect_user(&bed, name, "False ChangePlanned Stalled").await;
    assert_eq!(writes(&bridges[0]).len(), before);
    bed.scim_user(name, name, suspended).await;
    let again = bridges[0].wait_until(
        |traffic| {
            traffic
                .requests
                .iter()
                .filter(|request| request.method == "PATCH")
                .count()
                > before
        },
        testbed::bed::DEADLINE,
    );
    again.await.unwrap_or_else(|unmet| panic!("{unmet}"));
    operator.stop().await;
    let trial = bridges.last().unwrap();
    assert_eq!(changes(trial).len(), 2, "{:?}", changes(trial));
}

/// The first removal takes everybody out, the first addition everybody else: they come back, and no second one follows.
#[tokio::test]
async fn members_that_a_bridge_drops_come_back() {
    type Habit = fn(&mut State);
    let bed = Bed::with_provisioning("drops").await;
    let rows: [(&str, Habit, &[&str], &[&str]); 3] = [
        (
            "removes-all",
            |state| state.habits.writes.remove_by_filter = Removal::Everybody,
            &["ada", "kim"],
            &["ada", "kim"],
        ),
        (
            "replaces-all",
            |state| state.habits.writes.add = Addition::ReplacesAll,
            &["ada", "kim", "sam", "lee"],
            &["ada", "kim", "sam"],
        ),
        (
            "keeps-two",
            |state| state.habits.writes.add_keeps = Some(2),
            &["ada", "kim", "sam", "lee"],
            &["ada", "kim"],
        ),
    ];
    let mut bridges = Vec::new();
    for (name, habit, wanted, _) in &rows {
        let people = grouped(
            &["ada", "kim", "sam", "lee", "max"],
            &[("staff", &["ada", "kim", "sam"])],
        );
        let bridge = managed(&bed, name, people, json!({})).await;
        bridge.set(habit);
        let staff = json!({"displayName": "staff", "members": members(wanted), "membership": "Exact", "adopt": "Always"});
        bed.scim_group(name, name, staff).await;
        bridges.push(bridge);
    }
    let operator = bed.provider(&[]).await;
    for ((name, _, _, left), bridge) in rows.iter().zip(&bridges) {
        let staff = expect_group(&bed, name, "False NotAsWritten Stalled").await;
        assert!(!staff.status.unwrap().stopped.is_empty(), "{name}");
        let back = testbed::wait::until(testbed::bed::DEADLINE, "who should be there", async || {
            (in_group(bridge, "staff") == *left).then_some(())
        });
        back.await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    operator.stop().await;
    let removals = |bridge| {
        let changes = changes(bridge);
        changes
            .iter()
            .filter(|change| change.starts_with("RemoveMember"))
            .count()
    };
    assert_eq!(removals(&bridges[0]), 1);
    for (bridge, most) in bridges.iter().zip([2, 2, 1 + 5]) {
        assert!(writes(bridge).len() <= most, "{:?}", writes(bridge));
    }
}
