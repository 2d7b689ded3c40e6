//! At rest, a directory is read, and nothing is written.

use scim_bridge_operator::api::{PROVISIONING_FIELD_MANAGER, group::ScimGroup, user::ScimUser};
use serde_json::json;
use testbed::bed::{Bed, DEADLINE, LOOPBACK, Proxy};

use crate::scene::{all_provisioned, assert_only_reads, declared, newcomer, until_read, versions};

#[tokio::test]
async fn nothing_is_written_at_rest() {
    let bed = Bed::with_provisioning("rest").await;
    let proxy = Proxy::new(&bed.kubeconfig).await;
    let bridge = declared(&bed, "corp").await;
    bed.edit("corp", json!({"interval": "30s", "timeout": "30s"}))
        .await;
    let flags = [&["--leader-elect=false", "--provisioning"], &LOOPBACK[..]].concat();
    let operator = bed.spawn_as(proxy.kubeconfig(), &flags).await;
    operator.ready(DEADLINE).await.unwrap();
    all_provisioned(&bed).await;
    newcomer(&bed, "corp", "new", 1).await;
    let writes = || {
        proxy.count(|exchange| {
            exchange.writes_status()
                && (!exchange.target.contains("scimbridgeconnections")
                    || exchange.target.contains(PROVISIONING_FIELD_MANAGER))
        })
    };
    let (before, written) = (
        (
            versions::<ScimUser>(&bed).await,
            versions::<ScimGroup>(&bed).await,
        ),
        writes(),
    );
    // The third read begins after all that the second one led to.
    bridge.clear_requests();
    // An interval each.
    for times in 1..=3 {
        until_read(&bridge, times).await;
    }
    assert_eq!(writes(), written);
    assert_eq!(
        (
            versions::<ScimUser>(&bed).await,
            versions::<ScimGroup>(&bed).await
        ),
        before
    );
    operator.stop().await;
    assert_only_reads(&bridge);
}
