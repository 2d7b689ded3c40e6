//! The operator is killed at moments that nobody chose, while people join, leave and change their names.

use std::{collections::BTreeMap, time::Duration};

use bridge_front::{Fault, Front};
use scim_bridge_operator::api::directory::ChangeKind;
use serde_json::json;
use testbed::{
    Dice,
    bed::{Bed, writes},
    budget, seed,
};

use crate::managed::{Managed, spawn};

/// Waits for a moment within the work of the operator: after so many writes and a while, or after a while.
async fn moment(bridge: &Front, dice: &mut Dice) {
    if dice.below(3) > 0 {
        let most = writes(bridge).len() + 1 + dice.pick(8);
        let reached = bridge.wait_until(
            |traffic| {
                let requests = traffic.requests.iter();
                requests.filter(|request| request.method != "GET").count() >= most
            },
            Duration::from_secs(2),
        );
        // There may be nothing left to write.
        let _ = reached.await;
        tokio::time::sleep(Duration::from_millis(dice.below(30))).await;
    } else {
        tokio::time::sleep(Duration::from_millis(dice.below(1_500))).await;
    }
}

/// Some lives have a bridge that takes its time, before or after it has done what it was asked for.
fn pace(bridge: &Front, dice: &mut Dice) {
    let late = Fault::Delay { ms: dice.below(80) };
    let fault = match dice.below(4) {
        0 => Some(late),
        1 => Some(late.after_the_write()),
        _ => None,
    };
    bridge.set(|state| {
        state.faults.clear();
        for method in ["POST /scim", "PATCH /scim"] {
            if let Some(fault) = &fault {
                state.fault(method, fault.clone());
            }
        }
    });
}

#[tokio::test]
async fn a_thousand_changes_over_kills_are_done_and_done_once() {
    let mut dice = Dice::from_seed(seed());
    let bed = Bed::with_provisioning("lives").await;
    let limits = json!({"suspensions": 10_000, "removals": 10_000, "creations": 10_000});
    let mut managed = Managed::new(&bed, json!({"limits": limits})).await;
    let (changes, lives) = budget((50, 5), (1_000, 70));
    let mut left = changes;
    for life in 0..lives {
        let operator = spawn(&bed).await;
        pace(&managed.bridge, &mut dice);
        let asked = if life + 1 == lives {
            left
        } else {
            dice.pick(2 * left / (lives - life) + 1)
        };
        left -= asked;
        for _ in 0..asked {
            managed.ask(&mut dice).await;
        }
        moment(&managed.bridge, &mut dice).await;
        operator.process().kill().await.unwrap();
    }
    managed.bridge.set(|state| state.faults.clear());
    let operator = spawn(&bed).await;
    managed.populate().await;
    managed.settled().await;
    managed.judge();
    for kind in [ChangeKind::Suspension, ChangeKind::Removal, ChangeKind::Creation] {
        let (done, spent) = (managed.done(kind), managed.spent(kind).await);
        assert!(done <= spent, "{kind:?}: {done} done, {spent} noted");
    }
    let before = writes(&managed.bridge).len();
    operator.stop().await;
    // Another life finds everything done.
    let operator = spawn(&bed).await;
    managed.create().await;
    managed.settled().await;
    operator.stop().await;
    assert_eq!(writes(&managed.bridge).len(), before + 1);
    managed.judge();
}

/// What is asked for within an hour exceeds the limits. A kill may cost some of what is left, and never adds to it.
#[tokio::test]
async fn limits_hold_over_kills() {
    let mut dice = Dice::from_seed(seed());
    let bed = Bed::with_provisioning("budgets").await;
    let limits = BTreeMap::from([
        (ChangeKind::Suspension, 6),
        (ChangeKind::Removal, 3),
        (ChangeKind::Creation, 15),
    ]);
    let more = json!({"limits": {"suspensions": 6, "removals": 3, "creations": 15}});
    let mut managed = Managed::new(&bed, more).await;
    // Half of the people are in a group, and leave it; the others leave for good.
    for member in 1..6 {
        managed.join(0, member).await;
    }
    let operator = spawn(&bed).await;
    managed.settled().await;
    // One of each kind without a kill: a kill may cost all that is left of a limit.
    managed.join(0, 1).await;
    managed.turn(6).await;
    managed.create().await;
    managed.settled().await;
    operator.stop().await;
    let (mut members, mut leavers) = (2..6, 7..12);
    let mut asked = 0;
    while asked < 40 {
        let operator = spawn(&bed).await;
        pace(&managed.bridge, &mut dice);
        for _ in 0..=dice.below(4) {
            managed.create().await;
            asked += 1;
        }
        if let Some(leaver) = leavers.next() {
            managed.turn(leaver).await;
        }
        if let Some(member) = members.next() {
            managed.join(0, member).await;
        }
        moment(&managed.bridge, &mut dice).await;
        operator.process().kill().await.unwrap();
        for (kind, limit) in &limits {
            let done = managed.done(*kind);
            let spent = managed.spent(*kind).await;
            assert!(
                done <= spent && spent <= *limit,
                "{kind:?}: {done} done, {spent} noted, {limit} allowed"
            );
        }
    }
    let operator = spawn(&bed).await;
    bed.expect("corp", "True Connected ProvisioningHeld").await;
    operator.stop().await;
    managed.judge();
}
