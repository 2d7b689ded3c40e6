//! Without `--provisioning` the operator does what it did before there were users and groups.

use serde_json::json;
use testbed::bed::{Bed, DEADLINE, LOOPBACK, Proxy};

use crate::scene::{assert_only_reads, declared, reads};

#[tokio::test]
async fn without_the_flag_nobody_is_asked_about_users_and_groups() {
    without_the_flag("off", "Plan").await;
}

/// The connection and its users and groups ask for changes of every kind. Nothing but GET leaves the operator.
#[tokio::test]
async fn without_the_flag_nothing_is_changed() {
    without_the_flag("off-manage", "Manage").await;
}

async fn without_the_flag(prefix: &str, mode: &str) {
    let bed = Bed::with_provisioning(prefix).await;
    let proxy = Proxy::new(&bed.kubeconfig).await;
    let bridge = declared(&bed, "corp").await;
    bed.edit("corp", json!({"provisioning": {"mode": mode}})).await;
    bed.scim_user("corp", "new", json!({})).await;
    bed.scim_user("corp", "ada", json!({"state": "Suspended", "adopt": "Always"}))
        .await;
    bed.scim_user(
        "corp",
        "kim",
        json!({"userName": "kimberly@example.com", "adopt": "Always"}),
    )
    .await;
    let another = json!([{"userName": "new@example.com"}]);
    let staff = json!({"members": another, "membership": "Exact", "adopt": "Always"});
    bed.scim_group("corp", "staff", staff).await;
    bed.scim_group("corp", "new-group", json!({})).await;
    let flags = [&["--leader-elect=false"], &LOOPBACK[..]].concat();
    let operator = bed.spawn_as(proxy.kubeconfig(), &flags).await;
    operator.ready(DEADLINE).await.unwrap();
    let connection = bed.expect("corp", "True Connected").await;
    assert_eq!(connection.status.unwrap().provisioning, None);
    // Of two probes the second begins after everything that the verdict of the first led to.
    bed.probe("corp").await;
    bed.probe("corp").await;
    let asked = |what: &str| proxy.count(|exchange| exchange.target.contains(what));
    assert_eq!((asked("scimusers"), asked("scimgroups")), (0, 0));
    assert!(asked("scimbridgeconnections") > 0, "the proxy sees the requests");
    assert_eq!(reads(&bridge), 0);
    let mut paths: Vec<_> = bridge
        .requests()
        .iter()
        .map(|request| request.path().to_owned())
        .collect();
    paths.sort();
    paths.dedup();
    let of_a_probe = ["/health", "/ping", "/scim/Groups", "/scim/Users"];
    assert_eq!(paths, of_a_probe);
    for request in bridge.requests() {
        let is_a_page = request.query().contains("count=100");
        assert!(!is_a_page, "{}", request.target);
    }
    operator.stop().await;
    assert_only_reads(&bridge);
}
