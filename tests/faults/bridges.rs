//! The bridge is slow, asks for pauses, fails, or is replaced while people join and leave.

use std::time::{Duration, Instant};

use bridge_front::{Content, Fault, Front, RequestRecord};
use serde_json::json;
use testbed::{
    Dice,
    bed::{Bed, DEADLINE, writes},
    budget, seed, wait,
};

use crate::managed::{Managed, reckless, spawn};

fn without_limits() -> serde_json::Value {
    json!({"limits": {"suspensions": 10_000, "removals": 10_000, "creations": 10_000}})
}

/// Waits until the bridge has received so many changes, and gives the records of them.
async fn written(bridge: &Front, count: usize) -> Vec<RequestRecord> {
    let traffic = bridge.wait_until(
        |traffic| {
            let requests = traffic.requests.iter();
            requests.filter(|request| request.method != "GET").count() >= count
        },
        DEADLINE,
    );
    let traffic = traffic.await.unwrap_or_else(|unmet| panic!("{unmet}"));
    let writes = traffic.requests.into_iter();
    writes.filter(|request| request.method != "GET").collect()
}

/// Where in the changes is the first that is about this account.
async fn place(bridge: &Front, id: &str) -> usize {
    let found = wait::until(DEADLINE, "a change of this account", async || {
        writes(bridge).iter().position(|write| write.ends_with(id))
    });
    found.await.unwrap_or_else(|error| panic!("{error}"))
}

/// A suspension that is asked for during a pause is what comes first after it.
#[tokio::test]
async fn after_a_pause_a_suspension_comes_first() {
    const PAUSE: Duration = Duration::from_secs(12);
    let bed = Bed::with_provisioning("pause").await;
    let mut managed = Managed::new(&bed, without_limits()).await;
    let asks = Fault::Status {
        status: 429,
        body: Content::Json,
        retry_after: Some(PAUSE.as_secs().to_string()),
    };
    managed
        .bridge
        .set(|state| state.fault("POST /scim", Fault::Delay { ms: 200 }));
    let operator = spawn(&bed).await;
    managed.settled().await;
    for _ in 0..20 {
        managed.create().await;
    }
    written(&managed.bridge, 3).await;
    managed.bridge.set(|state| state.fault("POST /scim", asks.once()));
    let refused = wait::until(DEADLINE, "a request to be refused", async || {
        let is_over = managed
            .bridge
            .set(|state| !state.faults.contains_key("POST /scim"));
        is_over.then(|| (Instant::now(), writes(&managed.bridge).len()))
    });
    let (at, count) = refused.await.unwrap_or_else(|error| panic!("{error}"));
    managed.turn(0).await;
    let records = written(&managed.bridge, count + 1).await;
    let first = &records[count];
    let waited = first.at.duration_since(records[count - 1].at);
    assert!(waited >= PAUSE, "{waited:?}");
    assert!(first.at >= at);
    let leaver = managed
        .bridge
        .directory()
        .user_named("old-0@example.com")
        .unwrap();
    assert_eq!(place(&managed.bridge, &leaver.id).await, count);
    managed.settled().await;
    operator.stop().await;
    managed.judge();
}

/// A bridge that takes its time for each creation. Whoever leaves waits for the one that is under way.
#[tokio::test]
async fn a_slow_bridge_keeps_nobody_waiting_who_leaves() {
    let bed = Bed::with_provisioning("slow").await;
    let mut managed = Managed::new(&bed, without_limits()).await;
    let operator = spawn(&bed).await;
    managed.settled().await;
    managed
        .bridge
        .set(|state| state.fault("POST /scim", Fault::Delay { ms: 3_000 }));
    for _ in 0..12 {
        managed.create().await;
    }
    written(&managed.bridge, 2).await;
    for leaver in 0..3 {
        managed.turn(leaver).await;
        let asked = writes(&managed.bridge).len();
        let id = managed
            .bridge
            .directory()
            .user_named(&format!("old-{leaver}@example.com"))
            .unwrap()
            .id;
        let place = place(&managed.bridge, &id).await;
        // One is under way, and one may leave before the watch has told of it.
        assert!(place <= asked + 2, "{} creations before it", place - asked);
    }
    managed.bridge.set(|state| state.faults.clear());
    managed.settled().await;
    operator.stop().await;
    managed.judge();
}

/// The bridge ends in the middle, and another process takes its place, with the same data. For a while nobody listens.
#[tokio::test]
async fn a_bridge_that_is_replaced_in_the_middle() {
    let mut dice = Dice::from_seed(seed());
    let bed = Bed::with_provisioning("replaced").await;
    let mut managed = Managed::new(&bed, without_limits()).await;
    let operator = spawn(&bed).await;
    managed.settled().await;
    for _ in 0..budget(2, 10) {
        let before = writes(&managed.bridge).len();
        for _ in 0..15 {
            managed.ask(&mut dice).await;
        }
        written(&managed.bridge, before + 1 + dice.pick(8)).await;
        managed.bridge.set(|state| state.fault("/", Fault::Close));
        let idle = wait::until(DEADLINE, "no request to be under way", async || {
            (managed.bridge.traffic().in_flight == 0).then_some(())
        });
        idle.await.unwrap_or_else(|error| panic!("{error}"));
        let (address, content) = (managed.bridge.addr(), managed.bridge.directory().content());
        managed.end_bridge().await;
        tokio::time::sleep(Duration::from_millis(dice.below(2_000))).await;
        managed.bridge = bed
            .directory(content)
            .listen(address)
            .set(reckless)
            .start()
            .await
            .unwrap();
        // A probe has failed meanwhile, or not: whoever asks for one ends the pause.
        managed.bed.probe("corp").await;
        managed.populate().await;
        managed.settled().await;
        managed.judge();
    }
    operator.stop().await;
}

/// Provisioning is switched off on the bridge in the middle: no change leaves once a probe has shown it.
#[tokio::test]
async fn a_bridge_that_is_switched_off_in_the_middle() {
    let mut dice = Dice::from_seed(seed());
    let bed = Bed::with_provisioning("switched").await;
    let mut managed = Managed::new(&bed, without_limits()).await;
    let operator = spawn(&bed).await;
    managed.settled().await;
    let before = writes(&managed.bridge).len();
    for _ in 0..15 {
        managed.create().await;
    }
    written(&managed.bridge, before + 3).await;
    managed.bridge.set(|state| state.provisioning_off = true);
    bed.probe("corp").await;
    bed.expect("corp", "False ProvisioningOff Degraded Stalled").await;
    let sent = writes(&managed.bridge).len();
    for _ in 0..5 {
        managed.ask(&mut dice).await;
    }
    managed.turn(0).await;
    bed.probe("corp").await;
    bed.probe("corp").await;
    // One may have been under way.
    let later = writes(&managed.bridge).len();
    assert!(later <= sent + 1, "{} changes without a proof", later - sent);
    managed.bridge.set(|state| state.provisioning_off = false);
    bed.probe("corp").await;
    managed.populate().await;
    managed.settled().await;
    operator.stop().await;
    managed.judge();
}

/// What a bridge or something before it may answer to a change.
fn any_fault(dice: &mut Dice) -> Fault {
    let fault = match dice.below(7) {
        0 => Fault::Close,
        1 => Fault::Reset,
        2 => Fault::Truncated,
        3 => Fault::Status {
            status: 429,
            body: Content::Json,
            retry_after: Some("1".to_owned()),
        },
        4 => Fault::status(500, Content::Json),
        5 => Fault::status(503, Content::Html),
        _ => Fault::Html,
    };
    // A bridge that has done it does not ask for a pause.
    let may_be_done = !matches!(fault, Fault::Status { status: 429, .. });
    if may_be_done && dice.below(2) == 0 {
        fault.after_the_write().once()
    } else {
        fault.once()
    }
}

/// Changes whose answers are cut off, errors, or somebody else's, after the change or in place of it.
#[tokio::test]
async fn answers_that_fail_lead_to_nothing_twice() {
    let mut dice = Dice::from_seed(seed());
    let bed = Bed::with_provisioning("failing").await;
    let mut managed = Managed::new(&bed, without_limits()).await;
    let operator = spawn(&bed).await;
    managed.settled().await;
    for _ in 0..budget(3, 40) {
        for _ in 0..6 {
            managed.ask(&mut dice).await;
        }
        let path = ["POST /scim/Users", "PATCH /scim/Users", "PATCH /scim/Groups"][dice.pick(3)];
        let fault = any_fault(&mut dice);
        managed.bridge.set(|state| state.fault(path, fault));
        tokio::time::sleep(Duration::from_millis(dice.below(1_500))).await;
    }
    managed.bridge.set(|state| state.faults.clear());
    // What has no clear answer is asked for again after a pause.
    managed.populate().await;
    managed.settled().await;
    operator.stop().await;
    managed.judge();
}
