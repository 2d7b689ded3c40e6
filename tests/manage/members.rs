//! Members: who joins, who leaves, and where that can be seen.

use bridge_front::{
    Act, Member, State, User,
    directory::{Acceptance, ChangeLimit, ErrorForm, MemberKind, MembersKey, UserGroups},
};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use scim_bridge_operator::{
    api::{directory::Origin, group::ScimGroup},
    clock::{Clock as _, SystemClock},
};
use serde_json::json;
use testbed::bed::{Bed, DEADLINE};

use crate::scene::{
    Stage, address, begins_a_read, changes, expect_group, grouped, in_group, managed, members, seed, writes,
};

#[tokio::test]
async fn members_come_and_go() {
    let stage = Stage::new("members", seed(&["ada", "kim", "sam"]), json!({})).await;
    stage
        .group("k8s-admins", json!({"members": members(&["ada", "kim"])}))
        .await;
    let group = stage.expect_group("k8s-admins", "True Provisioned").await;
    let status = group.status.unwrap();
    assert_eq!((status.origin, status.added.len()), (Some(Origin::Created), 2));
    assert_eq!(in_group(&stage.bridge, "k8s-admins"), ["ada", "kim"]);
    for wanted in [&["kim", "sam"][..], &[]] {
        stage
            .group("k8s-admins", json!({"members": members(wanted)}))
            .await;
        stage.expect_group("k8s-admins", "True Provisioned").await;
        assert_eq!(in_group(&stage.bridge, "k8s-admins"), wanted);
    }
    let mut stage = stage;
    stage.stop().await;
    let changes = stage.changes();
    // Nothing shows at first that a member can be seen: one joins, and then the other.
    let first = if changes[1].ends_with("ada") {
        ["ada", "kim"]
    } else {
        ["kim", "ada"]
    };
    let [one, other] = first.map(|name| format!("AddMember k8s-admins: {name}"));
    let expected = [
        "CreateGroup k8s-admins",
        &one,
        &other,
        "RemoveMember k8s-admins: ada",
        "AddMember k8s-admins: sam",
        "RemoveMember k8s-admins: kim sam",
    ];
    assert_eq!(changes, expected);
}

/// `Additive` leaves others where they are, and `Exact` does not. Neither touches a group within a group.
#[tokio::test]
async fn a_membership_is_additive_or_exact() {
    let mut people = grouped(
        &["ada", "kim", "sam"],
        &[
            ("staff", &["ada", "kim"]),
            ("crew", &["ada", "kim"]),
            ("nested", &["ada"]),
        ],
    );
    people.groups[2].members.push(Member {
        value: "another-group".to_owned(),
        kind: MemberKind::Group,
    });
    let stage = Stage::new("exact", people, json!({})).await;
    let spec = |membership: &str, names: &[&str]| json!({"membership": membership, "members": members(names), "adopt": "Always"});
    stage.group("staff", spec("Additive", &["kim", "sam"])).await;
    stage.group("crew", spec("Exact", &["kim", "sam"])).await;
    stage.group("nested", spec("Exact", &["sam"])).await;
    let staff = stage
        .expect_group("staff", "True Provisioned")
        .await
        .status
        .unwrap();
    assert_eq!(staff.origin, Some(Origin::Adopted));
    let sam = stage.bridge.directory().user_named(&address("sam")).unwrap().id;
    assert_eq!(staff.added, [sam], "only whom the operator added is its own");
    stage.expect_group("crew", "True Provisioned").await;
    stage
        .expect_group("nested", "False MembersUnreadable Stalled")
        .await;
    assert_eq!(in_group(&stage.bridge, "staff"), ["ada", "kim", "sam"]);
    assert_eq!(in_group(&stage.bridge, "crew"), ["kim", "sam"]);
    assert!(in_group(&stage.bridge, "nested").contains(&"another-group".to_owned()));

    // Only a change of the specification changes who is owned.
    stage.group("staff", spec("Exact", &["kim", "sam"])).await;
    stage.expect_group("staff", "True Provisioned").await;
    assert_eq!(in_group(&stage.bridge, "staff"), ["kim", "sam"]);
    stage.group("staff", spec("Additive", &["sam"])).await;
    stage.expect_group("staff", "True Provisioned").await;
    assert_eq!(
        in_group(&stage.bridge, "staff"),
        ["kim", "sam"],
        "back to additive, nobody else leaves"
    );
    stage.group("staff", spec("Additive", &[])).await;
    stage.expect_group("staff", "True Provisioned").await;
    assert_eq!(in_group(&stage.bridge, "staff"), ["kim"]);
    let mut stage = stage;
    stage.stop().await;
}

#[tokio::test]
async fn a_membership_ends_at_its_time_and_with_a_suspension() {
    let stage = Stage::new(
        "ends",
        grouped(&["ada", "kim", "sam"], &[("staff", &["sam"])]),
        json!({}),
    )
    .await;
    let until = SystemClock.now() + SignedDuration::from_secs(6);
    let until = Timestamp::from_second(until.as_second()).unwrap();
    stage.user("kim", json!({})).await;
    let entries = json!([
        {"userName": address("ada"), "until": until.to_string()},
        {"userName": address("kim")},
        {"userName": address("sam")},
    ]);
    stage
        .group("staff", json!({"members": entries, "adopt": "Always"}))
        .await;
    stage.expect_group("staff", "True Provisioned").await;
    stage.changed(2).await;
    assert_eq!(
        in_group(&stage.bridge, "staff"),
        ["kim", "sam"],
        "{:?}",
        stage.changes()
    );
    // Kim leaves the group before the account ends; sam was no member by the operator.
    stage.user("kim", json!({"state": "Suspended"})).await;
    stage.expect("kim", "True Suspended").await;
    stage.changed(4).await;
    assert_eq!(in_group(&stage.bridge, "staff"), ["sam"]);
    stage
        .end(&[
            "AddMember staff: ada kim",
            "RemoveMember staff: ada",
            "Suspend kim",
            "RemoveMember staff: kim",
        ])
        .await;
}

/// A group that is there with other members is not changed unless its object allows it. Two of one name are left alone.
#[tokio::test]
async fn a_group_is_taken_over_as_the_object_allows() {
    let people = grouped(
        &["ada", "kim"],
        &[
            ("same", &["ada"]),
            ("differs", &["kim"]),
            ("never", &["ada"]),
            ("twin", &["ada"]),
            ("Twin", &["kim"]),
            ("old", &["ada"]),
        ],
    );
    let stage = Stage::new("groups", people, json!({})).await;
    let spec = |more: &str| {
        let mut spec = json!({"members": members(&["ada"])});
        let more: serde_json::Value = serde_json::from_str(more).unwrap();
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        spec
    };
    let rows = [
        ("same", "{}", "True Provisioned"),
        ("differs", "{}", "False AlreadyExists Stalled"),
        ("never", r#"{"adopt": "Never"}"#, "False AlreadyExists Stalled"),
        ("twin", "{}", "False Ambiguous Stalled"),
        ("old", "{}", "True Provisioned"),
    ];
    for (name, more, _) in rows {
        stage.group(name, spec(more)).await;
    }
    for (name, _, line) in rows {
        stage.expect_group(name, line).await;
    }
    let id = stage.bridge.directory().group_named("old").unwrap().id;
    stage.group("old", spec(r#"{"displayName": "young"}"#)).await;
    stage.expect_group("old", "True Provisioned").await;
    assert_eq!(stage.bridge.directory().group(&id).unwrap().display_name, "young");
    stage.newcomer("new").await;
    stage.end(&["RenameGroup young", "CreateUser new"]).await;
}

/// How a bridge differs from others.
type Habit = fn(&mut State);

/// Where members are to be seen: the name of the connection, and the habits of its bridge.
#[rustfmt::skip]
const WAYS: [(&str, Habit); 4] = [
    ("in-list", |state| state.habits.shown.user_groups = UserGroups::Absent),
    ("by-id", |state| {
        state.habits.shown.user_groups = UserGroups::Absent;
        state.habits.shown.members = MembersKey::ByIdOnly;
    }),
    ("on-users", |state| {
        state.habits.shown.user_groups = UserGroups::Listed;
        state.habits.shown.members = MembersKey::Never;
    }),
    ("nowhere", |state| {
        state.habits.shown.user_groups = UserGroups::Absent;
        state.habits.shown.members = MembersKey::Never;
    }),
];

/// In each of these ways, or in none: then one member is added, and nobody else is before that one shows.
#[tokio::test]
async fn members_are_read_where_the_bridge_shows_them() {
    let bed = Bed::with_provisioning("ways").await;
    let mut bridges = Vec::new();
    for (name, habit) in WAYS {
        let bridge = managed(&bed, name, seed(&["ada", "kim", "sam"]), json!({})).await;
        bridge.set(habit);
        let crew = json!({"displayName": "crew", "members": members(&["ada", "kim"])});
        bed.scim_group(name, &format!("crew-{name}"), crew).await;
        let strict = json!({"displayName": "strict", "members": members(&["ada"]), "membership": "Exact"});
        if name == "nowhere" {
            bed.scim_group(name, "strict", strict).await;
        }
        bridges.push(bridge);
    }
    let operator = bed.provider(&[]).await;
    for ((name, _), bridge) in WAYS.iter().zip(&bridges).take(3) {
        let group = format!("crew-{name}");
        expect_group(&bed, &group, "True Provisioned").await;
        assert_eq!(in_group(bridge, "crew"), ["ada", "kim"], "{name}");
        let crew = json!({"displayName": "crew", "members": members(&["kim", "sam"])});
        bed.scim_group(name, &group, crew).await;
        expect_group(&bed, &group, "True Provisioned").await;
        assert_eq!(in_group(bridge, "crew"), ["kim", "sam"], "{name}");
    }
    let nowhere = &bridges[3];
    expect_group(&bed, "strict", "False MembersUnreadable Stalled").await;
    // The first one may still show.
    expect_group(&bed, "crew-nowhere", "Unknown Progressing Reconciling").await;
    let reads_again = nowhere.wait_until(
        |traffic| {
            traffic
                .requests
                .iter()
                .filter(|request| begins_a_read(request))
                .count()
                >= 2
        },
        DEADLINE,
    );
    reads_again.await.unwrap_or_else(|unmet| panic!("{unmet}"));
    operator.stop().await;
    assert_eq!(in_group(nowhere, "crew").len(), 1, "{:?}", changes(nowhere));
    assert_eq!(changes(nowhere).len(), 3, "{:?}", changes(nowhere));
}

/// Two hundred and fifty who join, in requests of at most a hundred, or as many as the bridge takes.
#[rustfmt::skip]
const LARGE: [(&str, Habit, usize); 4] = [
    ("hundreds", |_| {}, 100),
    ("too-large", |state| state.habits.writes.change_limit = Some(ChangeLimit { changes: 60, status: 413 }), 50),
    ("too-many", |state| state.habits.writes.change_limit = Some(ChangeLimit { changes: 60, status: 400 }), 50),
    ("unsaid", |state| {
        state.habits.writes.change_limit = Some(ChangeLimit { changes: 60, status: 400 });
        state.habits.writes.errors = ErrorForm::WithoutType;
    }, 50),
];

#[tokio::test]
async fn many_members_come_in_parts() {
    let bed = Bed::with_provisioning("large").await;
    let names: Vec<String> = (0..250).map(|number| format!("user{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut bridges = Vec::new();
    for (name, habit, _) in LARGE {
        let people = grouped(&[&["ada"], &names[..]].concat(), &[("staff", &["ada"])]);
        let bridge = managed(&bed, name, people, json!({"limits": {"removals": 300}})).await;
        bridge.set(habit);
        let staff = json!({"displayName": "staff", "members": members(&names), "adopt": "Always"});
        bed.scim_group(name, &format!("staff-{name}"), staff).await;
        bridges.push(bridge);
    }
    let operator = bed.provider(&[]).await;
    for ((name, ..), bridge) in LARGE.iter().zip(&bridges) {
        let group = format!("staff-{name}");
        let staff = expect_group(&bed, &group, "True Provisioned").await;
        assert_eq!(staff.status.unwrap().members.unwrap().present, 250, "{name}");
        assert_eq!(in_group(bridge, "staff").len(), 251, "{name}");
        let staff = json!({"displayName": "staff", "members": [], "adopt": "Always"});
        bed.scim_group(name, &group, staff).await;
        expect_group(&bed, &group, "True Provisioned").await;
    }
    operator.stop().await;
    for ((name, _, most), bridge) in LARGE.iter().zip(&bridges) {
        assert_eq!(in_group(bridge, "staff"), ["ada"], "{name}");
        for (act, total) in [(Act::AddMember, 250), (Act::RemoveMember, 250)] {
            let changes = bridge.directory().changes();
            let sizes: Vec<usize> = changes
                .iter()
                .filter(|change| change.act == act)
                .map(|change| change.members.len())
                .collect();
            assert_eq!(sizes.iter().sum::<usize>(), total, "{name}: {sizes:?}");
            assert!(sizes.iter().all(|size| size <= most), "{name}: {sizes:?}");
        }
        assert!(writes(bridge).len() <= 20, "{name}: {:?}", writes(bridge).len());
    }
}

/// One of many cannot join: the others do.
#[tokio::test]
async fn one_bad_member_keeps_nobody_out() {
    let names: Vec<String> = (0..20).map(|number| format!("user{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let people = grouped(&[&["ada"], &names[..]].concat(), &[("staff", &["ada"])]);
    let stage = Stage::new("bad", people, json!({})).await;
    let directory = stage.bridge.directory();
    stage
        .bridge
        .set(|state| state.habits.writes.suspended_members = Acceptance::Refused);
    // Suspended by somebody else after the read.
    let bad = directory.user_named(&address("user7")).unwrap().id;
    directory.edit_user(&bad, |user| user.active = false);
    stage
        .group("staff", json!({"members": members(&names), "adopt": "Always"}))
        .await;
    let staff = stage
        .expect_group("staff", "False Rejected Stalled")
        .await
        .status
        .unwrap();
    assert_eq!(staff.members.unwrap().missing, 1);
    let present = in_group(&stage.bridge, "staff");
    assert_eq!(present.len(), 20);
    assert!(!present.contains(&"user7".to_owned()));
    // Each refused part is sent in two halves.
    assert!(writes(&stage.bridge).len() <= 11, "{:?}", writes(&stage.bridge));
    let mut stage = stage;
    stage.stop().await;
    let joined = stage.changes().len();
    assert!(joined <= 5, "{joined}");
}

/// A new group, a new user in it, somebody twice in the list of the bridge, and an expired entry: each is one request.
#[tokio::test]
async fn a_new_user_joins_a_new_group() {
    let mut people = grouped(&["ada"], &[("staff", &["ada", "ada"])]);
    people.users.push(User::new("kim@example.com", "Given", "Family"));
    let stage = Stage::new("joins", people, json!({})).await;
    stage.group("staff", json!({"members": members(&["ada"])})).await;
    stage.expect_group("staff", "True Provisioned").await;
    stage.user("new", json!({})).await;
    stage
        .group("crew", json!({"members": members(&["new", "kim", "nobody"])}))
        .await;
    let crew: ScimGroup = stage.expect_group("crew", "False MemberMissing Stalled").await;
    assert!(crew.status.unwrap().members.unwrap().missing >= 1);
    stage.changed(3).await;
    assert_eq!(in_group(&stage.bridge, "crew"), ["kim", "new"]);
    assert_eq!(writes(&stage.bridge).len(), 3, "{:?}", writes(&stage.bridge));
    stage
        .end(&["CreateUser new", "CreateGroup crew", "AddMember crew: kim new"])
        .await;
}
