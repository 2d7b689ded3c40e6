//! Several replicas, one Lease: of them one works.
//!
//! One test alone: the Lease that `deploy/rbac.yaml` grants has one name.

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use testbed::{
    bed::{Bed, DEADLINE, LOOPBACK, OPERATOR, Operator, pings},
    supervise::Signal,
    wait,
};

async fn replica(bed: &Bed<'_>, identity: &str) -> Operator {
    let flags = ["--lease-namespace", OPERATOR, "--identity", identity];
    bed.spawn(&[&flags, &LOOPBACK[..]].concat()).await
}

async fn leads(bed: &Bed<'_>, identity: &str) {
    let leases: Api<Lease> = Api::namespaced(bed.client.clone(), OPERATOR);
    wait::until_object(DEADLINE, identity, &leases, OPERATOR, |lease| {
        let spec = lease.spec.as_ref();
        spec.and_then(|spec| spec.holder_identity.as_deref()) == Some(identity)
    })
    .await
    .unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test]
async fn one_replica_works_and_hands_over() {
    let bed = Bed::new("leader").await;
    let bridge = bed.healthy_bridge().await;
    let first = replica(&bed, "first").await;
    leads(&bed, "first").await;
    let second = replica(&bed, "second").await;
    for operator in [&first, &second] {
        operator.ready(DEADLINE).await.unwrap();
    }
    bed.connect_well("corp", &bridge).await;
    bed.expect("corp", "True Connected").await;
    bed.probe("corp").await;
    assert_eq!(first.probes().await, 2);
    assert_eq!(second.probes().await, 0);
    assert_eq!(first.count("leader", "").await, 1);
    assert_eq!(second.count("leader", "").await, 0);

    // Released, not left to expire.
    first.stop().await;
    let lease: Lease = Api::namespaced(bed.client.clone(), OPERATOR)
        .get(OPERATOR)
        .await
        .unwrap();
    let holder = lease.spec.unwrap().holder_identity.unwrap_or_default();
    assert_ne!(holder, "first");
    leads(&bed, "second").await;
    bed.probe("corp").await;
    assert_eq!(second.probes().await, 1);
    assert_eq!(pings(&bridge), 3, "the change of leader was no reason to probe");

    // One that stands by ends at once, and leaves the Lease alone.
    let idle = replica(&bed, "idle").await;
    idle.ready(DEADLINE).await.unwrap();
    idle.stop().await;
    bed.probe("corp").await;
    assert_eq!(second.probes().await, 2);

    // A leader that freezes, as a paused machine does, leaves the Lease behind; it expires. Thawed, the leader that was
    // finds that out, and ends without a word to anybody.
    let third = replica(&bed, "third").await;
    third.ready(DEADLINE).await.unwrap();
    second.signal(Signal::Stop).unwrap();
    leads(&bed, "third").await;
    bed.probe("corp").await;
    let mut tape = bed.tape("corp").await;
    second.signal(Signal::Continue).unwrap();
    let ended = second.process().wait(DEADLINE).await.unwrap();
    assert_eq!(ended.code(), Some(1));
    assert!(second.logs().contains("the Lease was lost"), "{}", second.logs());
    assert!(tape.so_far(&bed).await.is_empty());
    bed.probe("corp").await;
    assert_eq!(third.probes().await, 2);
    assert_eq!(pings(&bridge), 6);
    third.stop().await;
}
