//! A restart and another leader: what is known is in the statuses, and is not written again.

use scim_bridge_operator::api::{group::ScimGroup, user::ScimUser};
use testbed::bed::{Bed, LOOPBACK, OPERATOR, Operator, status};

use crate::scene::{all_provisioned, assert_only_reads, declared, newcomer, reads, versions};

#[tokio::test]
async fn a_restart_reads_once_and_writes_nothing_again() {
    let bed = Bed::with_provisioning("again").await;
    let bridge = declared(&bed, "corp").await;
    let operator = bed.provider(&[]).await;
    all_provisioned(&bed).await;
    newcomer(&bed, "corp", "new", 1).await;
    operator.stop().await;
    assert_eq!(reads(&bridge), 1);

    let before = (
        versions::<ScimUser>(&bed).await,
        versions::<ScimGroup>(&bed).await,
        status(&bed.get("corp").await),
    );
    bridge.clear_requests();
    let operator = bed.provider(&[]).await;
    // Known to it only after the read, and reported on after everything else.
    newcomer(&bed, "corp", "newer", 2).await;
    operator.stop().await;
    let mut users = versions::<ScimUser>(&bed).await;
    users.retain(|(name, _)| name != "newer");
    assert_eq!(users, before.0);
    assert_eq!(versions::<ScimGroup>(&bed).await, before.1);
    let after = status(&bed.get("corp").await);
    assert_eq!(after.conditions, before.2.conditions);
    // Two pages of each list, and no probe: the verdict is fresh.
    assert_eq!(bridge.requests().len(), 4, "{:?}", bridge.requests());
    assert_only_reads(&bridge);
}

async fn replica(bed: &Bed<'_>, identity: &str) -> Operator {
    let flags = [
        "--provisioning",
        "--lease-namespace",
        OPERATOR,
        "--identity",
        identity,
    ];
    bed.spawn(&[&flags, &LOOPBACK[..]].concat()).await
}

/// One test alone: the Lease that `deploy/rbac.yaml` grants has one name.
#[tokio::test]
async fn another_leader_reads_once_and_writes_nothing_again() {
    let bed = Bed::with_provisioning("leader").await;
    let bridge = declared(&bed, "corp").await;
    let first = replica(&bed, "first").await;
    all_provisioned(&bed).await;
    let second = replica(&bed, "second").await;
    newcomer(&bed, "corp", "new", 1).await;
    assert_eq!(reads(&bridge), 1, "one that stands by reads nothing");

    let before = (
        versions::<ScimUser>(&bed).await,
        versions::<ScimGroup>(&bed).await,
    );
    first.stop().await;
    newcomer(&bed, "corp", "newer", 2).await;
    let mut users = versions::<ScimUser>(&bed).await;
    users.retain(|(name, _)| name != "newer");
    assert_eq!((users, versions::<ScimGroup>(&bed).await), before);
    assert_eq!(reads(&bridge), 2);
    second.stop().await;
    assert_only_reads(&bridge);
}
