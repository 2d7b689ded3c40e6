//! Thousands join at once, and meanwhile somebody leaves.

use bridge_front::{Fault, Front, Seed, User};
use futures::{StreamExt as _, stream};
use scim_bridge_operator::api::user::ScimUser;
use serde_json::json;
use testbed::{
    bed::{Bed, DEADLINE, KEY, LOOPBACK, writes},
    budget, wait,
};

/// Requests of a test that are under way together.
const AT_ONCE: usize = 16;
/// How many changes the operator prepares at a time.
const BATCH: usize = 8;
const LEAVERS: usize = 6;

fn address(name: &str) -> String {
    format!("{name}@example.com")
}

/// Waits until the bridge has received so many changes.
async fn written(bridge: &Front, count: usize) {
    let written = bridge.wait_until(
        |traffic| {
            let requests = traffic.requests.iter();
            requests.filter(|request| request.method != "GET").count() >= count
        },
        DEADLINE,
    );
    written.await.unwrap_or_else(|unmet| panic!("{unmet}"));
}

/// Nobody who leaves waits for more than the changes that were prepared already, however many wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_overtakes_all_who_join() {
    let bed = Bed::with_provisioning("leaving").await;
    let leavers: Vec<String> = (0..LEAVERS).map(|number| format!("leaver-{number}")).collect();
    let users = leavers.iter().map(String::as_str).chain(["owner"]);
    let seed = Seed {
        users: users
            .map(|name| User::new(address(name), "Given", "Family"))
            .collect(),
        groups: Vec::new(),
    };
    let bridge = bed.directory(seed).start().await.unwrap();
    // A watch needs some time to tell of a change, however busy the machine is.
    bridge.set(|state| state.fault("POST /scim", Fault::Delay { ms: 200 }));
    bed.secret("corp", KEY).await;
    let limits = json!({"limits": {"suspensions": 100, "creations": 10_000, "removals": 0}});
    bed.manage_directory("corp", &bridge, limits).await;
    let crowd = budget(200, 2_000);
    let made = stream::iter(0..crowd).map(|number| {
        let name = format!("new-{number}");
        let bed = &bed;
        async move { drop(bed.scim_user("corp", &name, json!({"adopt": "Never"})).await) }
    });
    made.buffer_unordered(AT_ONCE).count().await;
    let flags = [&["--leader-elect=false", "--provisioning"], &LOOPBACK[..]].concat();
    let operator = bed.spawn(&flags).await;
    written(&bridge, 10).await;
    let mut most = 0;
    for name in &leavers {
        let id = bridge.directory().user_named(&address(name)).unwrap().id;
        bed.scim_user("corp", name, json!({"state": "Suspended", "adopt": "Always"}))
            .await;
        let asked = writes(&bridge).len();
        let place = wait::until(DEADLINE, "the suspension", async || {
            writes(&bridge).iter().position(|write| write.ends_with(&id))
        });
        let place = place.await.unwrap_or_else(|error| panic!("{error}"));
        let between = place.saturating_sub(asked);
        most = most.max(between);
        assert!(
            between <= BATCH,
            "{name}: {between} changes before the suspension"
        );
        // More join, so that there is somebody to overtake.
        written(&bridge, place + 5).await;
    }
    eprintln!("at most {most} of {crowd} creations before a suspension");
    let created = bridge.directory().users().len() - LEAVERS - 1;
    assert!(created < crowd, "all have joined before the last one left");
    for name in &leavers {
        bed.expect_object::<ScimUser>(name, "True Suspended").await;
    }
    operator.stop().await;
    let mut names: Vec<String> = bridge
        .directory()
        .users()
        .into_iter()
        .map(|user| user.user_name)
        .collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all, "nobody is there twice");
}
