//! The control plane goes away in the middle of everything, and comes back.

use std::time::Duration;

use bridge_front::Front;
use serde_json::json;
use testbed::{
    Cluster,
    bed::{Bed, Gate, KEY, own_cluster, pings, status},
    budget,
};

/// Connections of a test, and their bridges: each bridge serves some of them, with a key of its own for each.
struct Crowd {
    gates: Vec<(Gate, Front)>,
    names: Vec<String>,
}

impl Crowd {
    /// So many connections, whose probes all stand before a gate.
    async fn waiting(bed: &Bed<'_>, bridges: usize, each: usize) -> Self {
        let mut gates = Vec::new();
        let mut names = Vec::new();
        for bridge in 0..bridges {
            let (gate, front) = Gate::new(bed).await;
            for number in 0..each {
                let name = format!("corp-{bridge}-{number}");
                bed.secret(&name, KEY).await;
                bed.connect(&name, &front, json!({})).await;
                names.push(name);
            }
            gate.reached(&front).await;
            gates.push((gate, front));
        }
        Self { gates, names }
    }

    fn open(&self) {
        for (gate, _) in &self.gates {
            gate.open();
        }
    }

    fn pings(&self) -> usize {
        self.gates.iter().map(|(_, front)| pings(front)).sum()
    }

    async fn expect(&self, bed: &Bed<'_>, line: &str) {
        for name in &self.names {
            bed.expect(name, line).await;
        }
    }
}

async fn with_crowd(cluster: &Cluster, prefix: &str, fault: impl AsyncFnOnce(&Crowd)) {
    let bed = Bed::on_own(cluster, prefix).await;
    let operator = bed.operator_everywhere().await;
    let bystander = bed.healthy_bridge().await;
    bed.connect_well("bystander", &bystander).await;
    let untouched = bed.expect("bystander", "True Connected").await;
    let (bridges, each) = budget((10, 3), (40, 5));
    let crowd = Crowd::waiting(&bed, bridges, each).await;
    fault(&crowd).await;
    crowd.expect(&bed, "True Connected").await;
    let (probes, connections) = (crowd.pings(), crowd.names.len());
    // A bridge that serves several shares their probes; a verdict that could not be written is kept, or asked for again
    // after a pause.
    assert!(
        probes <= 3 * connections,
        "{probes} probes for {connections} connections"
    );
    let now = bed.get("bystander").await;
    assert_eq!(now.metadata.resource_version, untouched.metadata.resource_version);
    assert_eq!(pings(&bystander), 1, "nothing has happened to it");
    // Whoever was in trouble is watched again.
    let name = crowd.names.last().unwrap();
    let secret = bed.secret(name, "canary-another").await;
    let judged = bed.judged(name, &secret).await;
    assert!(status(&judged).valid_until.is_some());
    drop(operator);
}

#[tokio::test]
async fn an_api_server_that_is_killed_in_the_middle_of_passes() {
    let Some(cluster) = own_cluster().await else {
        return;
    };
    with_crowd(&cluster, "killed", async |crowd| {
        cluster.stop_api_server().await.unwrap();
        crowd.open();
        cluster.start_api_server().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_etcd_that_hangs_in_the_middle_of_passes() {
    let Some(cluster) = own_cluster().await else {
        return;
    };
    with_crowd(&cluster, "frozen", async |crowd| {
        cluster.freeze_etcd().unwrap();
        crowd.open();
        // How long it hangs is the fault itself.
        tokio::time::sleep(Duration::from_secs(budget(4, 20))).await;
        cluster.thaw_etcd().unwrap();
    })
    .await;
}
