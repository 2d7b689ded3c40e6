//! Objects and connections that come, change and go.

use bridge_front::User;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use scim_bridge_operator::{
    api::{
        connection::ScimBridgeConnection,
        directory::ChangeKind,
        group::ScimGroup,
        user::{RemoteState, ScimUser},
        vocabulary::ConditionType,
    },
    clock::{Clock as _, SystemClock},
    domain::connection::conditions::find,
};
use serde_json::json;
use testbed::{
    bed::{Bed, DEADLINE, KEY, status},
    wait,
};

use crate::scene::{
    PEOPLE, all_provisioned, assert_only_reads, connect, declared, newcomer, people, read_again, reads,
    versions,
};

/// Within the grace nobody's verdict changes. The new connection has another uid, and a status of its own.
#[tokio::test]
async fn a_connection_that_is_created_again_is_read_again() {
    let bed = Bed::with_provisioning("reborn").await;
    let bridge = declared(&bed, "corp").await;
    let operator = bed.provider(&[]).await;
    all_provisioned(&bed).await;
    newcomer(&bed, "corp", "new", 1).await;
    let before = versions::<ScimUser>(&bed).await;
    bed.delete::<ScimBridgeConnection>("corp").await;
    wait::until_gone(DEADLINE, &bed.connections(), "corp")
        .await
        .unwrap();
    connect(&bed, "corp", &bridge, json!({})).await;
    bed.expect("corp", "True Connected").await;
    newcomer(&bed, "corp", "newer", 2).await;
    let mut users = versions::<ScimUser>(&bed).await;
    users.retain(|(name, _)| name != "newer");
    assert_eq!(users, before);
    assert_eq!(reads(&bridge), 2);
    operator.stop().await;
    assert_only_reads(&bridge);
}

/// A connection that leads elsewhere shows nothing of where it led before.
#[tokio::test]
async fn another_bridge_is_not_judged_by_what_was_read_before() {
    let bed = Bed::with_provisioning("moved").await;
    let bridge = declared(&bed, "corp").await;
    let operator = bed.provider(&[]).await;
    all_provisioned(&bed).await;
    let dead = bed
        .bridge_that(|state| state.fault("/", testbed::bed::answer(503)))
        .await;
    bed.edit("corp", json!({"url": dead.url()})).await;
    bed.scim_user("corp", "owner", json!({})).await;
    bed.expect_object::<ScimUser>("owner", "False ConnectionNotReady Reconciling")
        .await;
    let ada = bed.expect_object::<ScimUser>("ada", "True Provisioned").await;
    assert!(ada.status.unwrap().id.is_some());
    bed.edit("corp", json!({"url": bridge.url()})).await;
    bed.expect_object::<ScimUser>("owner", "True Provisioned").await;
    operator.stop().await;
    assert_only_reads(&bridge);
}

#[tokio::test]
async fn provisioning_is_switched_off_and_on() {
    let bed = Bed::with_provisioning("switch").await;
    let bridge = declared(&bed, "corp").await;
    bed.edit("corp", json!({"provisioning": {"limits": {"suspensions": 0}}}))
        .await;
    bed.scim_user("corp", "ada", json!({"state": "Suspended", "adopt": "Always"}))
        .await;
    let operator = bed.provider(&[]).await;
    bed.expect_object::<ScimUser>("ada", "False Held Stalled").await;
    let connection = bed.expect("corp", "True Connected ProvisioningHeld").await;
    let spec = json!({"provisioning": connection.spec.provisioning});

    bed.edit("corp", json!({"provisioning": null})).await;
    for user in PEOPLE {
        bed.expect_object::<ScimUser>(user, "False ProvisioningOff Stalled")
            .await;
    }
    let connection = bed.expect("corp", "True Connected").await;
    assert_eq!(status(&connection).provisioning, None);
    let before = reads(&bridge);
    // Judged after the switch, and not read for.
    bed.scim_user("corp", "new", json!({})).await;
    bed.expect_object::<ScimUser>("new", "False ProvisioningOff Stalled")
        .await;
    assert_eq!(reads(&bridge), before);

    bed.edit("corp", spec).await;
    bed.expect_object::<ScimUser>("kim", "True Provisioned").await;
    bed.expect_object::<ScimUser>("ada", "False Held Stalled").await;
    bed.expect("corp", "True Connected ProvisioningHeld").await;
    operator.stop().await;
    assert_only_reads(&bridge);
}

/// Letting go of somebody sends nothing: the account stays as it is, and counts as unmanaged.
#[tokio::test]
async fn a_deleted_object_lets_go_of_its_account() {
    let bed = Bed::with_provisioning("let-go").await;
    let bridge = declared(&bed, "corp").await;
    let operator = bed.provider(&[]).await;
    all_provisioned(&bed).await;
    let counts = |managed, unmanaged| {
        bed.expect_directory("corp", "other counts", move |directory| {
            (directory.managed, directory.unmanaged_active) == (managed, unmanaged)
        })
    };
    counts(3, 1).await;
    bed.delete::<ScimUser>("sam").await;
    let directory = counts(2, 2).await;
    assert_eq!((directory.users, directory.pending.len()), (4, 0));
    assert_eq!(reads(&bridge), 1);
    operator.stop().await;
    assert_only_reads(&bridge);
}

/// The CRD lets a name through in which somebody hid a character.
#[tokio::test]
async fn a_name_that_only_the_parser_refuses() {
    let bed = Bed::with_provisioning("hidden").await;
    let bridge = declared(&bed, "corp").await;
    bed.scim_user("corp", "trick", json!({"userName": "a\u{200b}da@example.com"}))
        .await;
    let operator = bed.provider(&[]).await;
    bed.expect_object::<ScimUser>("trick", "False InvalidSpec Stalled")
        .await;
    all_provisioned(&bed).await;
    // Put right, it is one of two for the same account. That has an object already, which keeps it.
    bed.scim_user("corp", "trick", json!({"userName": "ADA@example.com"}))
        .await;
    bed.expect_object::<ScimUser>("trick", "False Ambiguous Stalled")
        .await;
    bed.expect_object::<ScimUser>("ada", "True Provisioned").await;
    // The list of the group leads to the account, which has its object.
    bed.expect_object::<ScimGroup>("staff", "True Provisioned").await;
    // Of two new ones nobody knows which was meant.
    for (name, user_name) in [("one", "twin@example.com"), ("other", "Twin@example.com")] {
        bed.scim_user("corp", name, json!({"userName": user_name})).await;
    }
    for name in ["one", "other"] {
        bed.expect_object::<ScimUser>(name, "False Ambiguous Stalled")
            .await;
    }
    bed.delete::<ScimUser>("one").await;
    bed.expect_object::<ScimUser>("other", "False ChangePlanned Stalled")
        .await;
    operator.stop().await;
    assert_only_reads(&bridge);
}

/// Nothing else happens at that moment: no news come, and no read.
#[tokio::test]
async fn a_time_passes() {
    let bed = Bed::with_provisioning("until").await;
    let bridge = declared(&bed, "corp").await;
    let until = SystemClock.now() + SignedDuration::from_secs(8);
    let until = Timestamp::from_second(until.as_second()).unwrap();
    bed.scim_user("corp", "ada", json!({"activeUntil": until.to_string()}))
        .await;
    let operator = bed.provider(&[]).await;
    let ada = bed
        .expect_object::<ScimUser>("ada", "False ChangePlanned Stalled")
        .await;
    let status = ada.status.unwrap();
    assert_eq!(status.plan[0].kind, ChangeKind::Suspension);
    assert_eq!(status.remote_state, Some(RemoteState::Active));
    let changed = find(&status.conditions, ConditionType::Ready)
        .unwrap()
        .last_transition_time
        .0;
    assert!(changed >= until, "{changed} is before {until}");
    assert_eq!(reads(&bridge), 1);
    operator.stop().await;
    assert_only_reads(&bridge);
}

/// A limit holds a kind of changes, and no other.
#[tokio::test]
async fn more_suspensions_than_the_limit() {
    let bed = Bed::with_provisioning("limit").await;
    let bridge = bed.directory(people()).start().await.unwrap();
    bed.secret("corp", KEY).await;
    connect(&bed, "corp", &bridge, json!({"limits": {"suspensions": 2}})).await;
    for user in PEOPLE {
        bed.scim_user("corp", user, json!({"state": "Suspended", "adopt": "Always"}))
            .await;
    }
    bed.scim_user("corp", "new", json!({})).await;
    let operator = bed.provider(&[]).await;
    for user in PEOPLE {
        bed.expect_object::<ScimUser>(user, "False Held Stalled").await;
    }
    bed.expect_object::<ScimUser>("new", "False ChangePlanned Stalled")
        .await;
    bed.expect("corp", "True Connected ProvisioningHeld").await;
    let of_kind = |kind| {
        bed.expect_directory("corp", "pending changes", move |directory| {
            directory.pending.iter().any(|pending| pending.kind == kind)
        })
    };
    let held = of_kind(ChangeKind::Suspension).await;
    let [creation, suspension] = [ChangeKind::Creation, ChangeKind::Suspension].map(|kind| {
        let mut pending = held.pending.iter();
        pending.find(|pending| pending.kind == kind).unwrap().clone()
    });
    assert_eq!((creation.count, creation.held), (1, false));
    assert_eq!((suspension.count, suspension.held), (3, true));

    // The same set after another read has the same name and age.
    read_again(&bed, "corp", "once more").await;
    crate::scene::until_read(&bridge, 2).await;
    newcomer(&bed, "corp", "newer", 2).await;
    let again = of_kind(ChangeKind::Suspension).await;
    assert!(again.pending.contains(&suspension), "{again:?}");

    bed.patch::<ScimBridgeConnection>(
        "corp",
        json!({"spec": {"provisioning": {"limits": {"suspensions": 3}}}}),
    )
    .await;
    for user in PEOPLE {
        bed.expect_object::<ScimUser>(user, "False ChangePlanned Stalled")
            .await;
    }
    bed.expect("corp", "True Connected").await;
    operator.stop().await;
    assert_only_reads(&bridge);
}

/// The annotation that asks for a probe asks for a read, too.
#[tokio::test]
async fn who_asks_for_a_check_gets_a_read() {
    let bed = Bed::with_provisioning("asked").await;
    let bridge = declared(&bed, "corp").await;
    let operator = bed.provider(&[]).await;
    all_provisioned(&bed).await;
    bridge
        .directory()
        .put_user(User::new("late@example.com", "Given", "Family"));
    bed.probe("corp").await;
    let what = "the user who came after the first read";
    bed.expect_directory("corp", what, |directory| directory.users == 5)
        .await;
    assert_eq!(reads(&bridge), 2);
    operator.stop().await;
    assert_only_reads(&bridge);
}
