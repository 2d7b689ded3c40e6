//! What a directory costs the bridge and the API server, in requests. Speed is measured by `make bench`, and tested nowhere.

use bridge_front::{Front, Seed};
use futures::{StreamExt as _, stream};
use scim_bridge_operator::api::PROVISIONING_FIELD_MANAGER;
use serde_json::json;
use testbed::{
    bed::{Bed, DEADLINE, Exchange, KEY, LOOPBACK, Operator, Proxy},
    wait,
};

use crate::scene::{assert_only_reads, connect, newcomer};

const USERS: u32 = 300;
const GROUPS: u32 = 3;
/// Three pages of users, one of groups, and one beyond the end of each.
const READ: [&str; 6] = [
    "/scim/Users?startIndex=1&count=100",
    "/scim/Users?startIndex=101&count=100",
    "/scim/Users?startIndex=201&count=100",
    "/scim/Users?startIndex=301&count=100",
    "/scim/Groups?startIndex=1&count=100",
    "/scim/Groups?startIndex=4&count=100",
];

/// The requests that the bridge received, but for those of probes.
fn read(bridge: &Front) -> Vec<String> {
    let targets = bridge.requests().into_iter().map(|request| request.target);
    targets.filter(|target| target.ends_with("&count=100")).collect()
}

/// Whether a request writes what a plan says: to a user, to a group, or to a connection.
fn reports(exchange: &Exchange) -> bool {
    exchange.writes_status()
        && (!exchange.target.contains("scimbridgeconnections")
            || exchange.target.contains(PROVISIONING_FIELD_MANAGER))
}

async fn provider(bed: &Bed<'_>, proxy: &Proxy) -> Operator {
    let flags = [&["--leader-elect=false", "--provisioning"], &LOOPBACK[..]].concat();
    let operator = bed.spawn_as(proxy.kubeconfig(), &flags).await;
    operator.ready(DEADLINE).await.unwrap();
    operator
}

#[tokio::test]
async fn a_read_takes_a_request_for_each_page_and_a_verdict_one_write() {
    let bed = Bed::with_provisioning("cost").await;
    let proxy = Proxy::new(&bed.kubeconfig).await;
    let seed = Seed::of(USERS, GROUPS);
    let bridge = bed.directory(seed.clone()).start().await.unwrap();
    bed.secret("corp", KEY).await;
    connect(&bed, "corp", &bridge, json!({})).await;
    stream::iter(&seed.users)
        .for_each_concurrent(16, async |user| {
            let name = json!({"givenName": user.name.given_name, "familyName": user.name.family_name});
            let (local, _) = user.user_name.split_once('@').unwrap();
            bed.scim_user("corp", local, json!({"name": name})).await;
        })
        .await;
    for (number, group) in seed.groups.iter().enumerate() {
        let members: Vec<_> = group
            .members
            .iter()
            .map(|member| json!({"userName": member.value}))
            .collect();
        let spec = json!({"displayName": group.display_name, "members": members});
        bed.scim_group("corp", &format!("group-{number}"), spec).await;
    }

    let operator = provider(&bed, &proxy).await;
    // The connection says so after all objects have said it.
    bed.expect_directory("corp", "an object for each user", |directory| {
        directory.managed == u64::from(USERS)
    })
    .await;
    operator.stop().await;
    assert_eq!(read(&bridge), READ);
    assert_eq!(proxy.count(reports), (USERS + GROUPS + 1) as usize);

    // Another process finds everything said, and reads once.
    bridge.clear_requests();
    let operator = provider(&bed, &proxy).await;
    wait::until(DEADLINE, "the directory to be planned", async || {
        let metrics = operator.metrics().await.ok()?;
        metrics.contains("scim_bridge_directory_users{").then_some(())
    })
    .await
    .unwrap();
    newcomer(&bed, "corp", "new", 1).await;
    operator.stop().await;
    assert_eq!(read(&bridge), READ);
    // One for the newcomer, and one for the connection.
    assert_eq!(proxy.count(reports), (USERS + GROUPS + 1 + 2) as usize);
    assert_only_reads(&bridge);
}
