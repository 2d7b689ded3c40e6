//! The API server goes away and comes back, as it does in every upgrade of a cluster. The operator watches all
//! namespaces, which it can only where no other test is.

use testbed::bed::{Bed, Gate, own_cluster, pings};

#[tokio::test]
async fn an_absent_api_server_is_waited_for() {
    let Some(cluster) = own_cluster().await else {
        return;
    };
    let bed = Bed::on_own(&cluster, "outage").await;
    let (gate, slow) = Gate::new(&bed).await;
    let bridge = bed.healthy_bridge().await;
    let elsewhere = Bed::on_own(&cluster, "elsewhere").await;
    let operator = bed.operator_everywhere().await;
    bed.connect_well("quiet", &bridge).await;
    bed.expect("quiet", "True Connected").await;
    let other = elsewhere.healthy_bridge().await;
    elsewhere.connect_well("quiet", &other).await;
    elsewhere.expect("quiet", "True Connected").await;
    bed.connect_well("slow", &slow).await;
    gate.reached(&slow).await;

    cluster.stop_api_server().await.unwrap();
    operator.says("watch failed").await;
    gate.open();
    operator.says("pass failed").await;
    cluster.start_api_server().await.unwrap();
    // The verdict that could not be written comes by itself.
    bed.expect("slow", "True Connected").await;
    for bed in [&bed, &elsewhere] {
        bed.probe("quiet").await;
    }
    assert_eq!(
        [pings(&bridge), pings(&other)],
        [2, 2],
        "everything was read anew, which is no reason to probe"
    );
}
