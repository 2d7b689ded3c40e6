//! The control plane goes away while people join and leave: nothing is sent that is not noted, and all of it is done once.

use std::time::Duration;

use bridge_front::{Act, Fault};
use scim_bridge_operator::api::directory::ChangeKind;
use serde_json::json;
use testbed::{
    Cluster, Dice,
    bed::{Bed, DEADLINE, own_cluster, writes},
    budget, seed,
};

use crate::managed::{Managed, spawn};

/// What goes away.
#[derive(Clone, Copy, Debug)]
enum Outage {
    ApiServer,
    Etcd,
}

impl Outage {
    async fn begin(self, cluster: &Cluster) {
        match self {
            Self::ApiServer => cluster.stop_api_server().await.unwrap(),
            Self::Etcd => cluster.freeze_etcd().unwrap(),
        }
    }

    async fn end(self, cluster: &Cluster) {
        match self {
            Self::ApiServer => cluster.start_api_server().await.unwrap(),
            Self::Etcd => cluster.thaw_etcd().unwrap(),
        }
    }
}

/// What goes away, and whether the operator is killed before it comes back. Only then does a status say what was noted
/// before the outage.
const OUTAGES: [(Outage, bool); 4] = [
    (Outage::ApiServer, true),
    (Outage::Etcd, false),
    (Outage::ApiServer, false),
    (Outage::Etcd, true),
];

/// Each creation, suspension and addition that the bridge received is in a status.
async fn assert_noted(managed: &Managed<'_>) {
    let statuses = managed.statuses().await;
    let directory = managed.bridge.directory();
    for change in managed.changes() {
        let object = managed.object(&change.id);
        let status = || &statuses[object.unwrap()];
        if change.act == Act::CreateUser {
            assert!(status().origin.is_some(), "{change:?} of {object:?} is not noted");
        }
        if change.act == Act::Suspend && !directory.user(&change.id).unwrap().active {
            let times = status().suspension.as_ref();
            let sent = times.and_then(|times| times.sent_at.as_ref());
            assert!(sent.is_some(), "{change:?} of {object:?} is not noted");
        }
    }
    for kind in [ChangeKind::Suspension, ChangeKind::Removal, ChangeKind::Creation] {
        let (done, spent) = (managed.done(kind), managed.spent(kind).await);
        assert!(done <= spent, "{kind:?}: {done} done, {spent} noted");
    }
}

#[tokio::test]
async fn an_outage_in_the_middle_of_changes() {
    let Some(cluster) = own_cluster().await else {
        return;
    };
    cluster.install_provisioning().await.unwrap();
    let mut dice = Dice::from_seed(seed());
    let bed = Bed::on_own(&cluster, "outage").await;
    let limits = json!({"suspensions": 10_000, "removals": 10_000, "creations": 10_000});
    let mut managed = Managed::new(&bed, json!({"limits": limits, "requestsPerSecond": 20})).await;
    let mut operator = spawn(&bed).await;
    managed.settled().await;
    for (outage, is_killed) in &OUTAGES[..budget(2, 4)] {
        // Something is under way whenever it begins.
        managed
            .bridge
            .set(|state| state.fault("POST /scim", Fault::Delay { ms: 50 }));
        let before = writes(&managed.bridge).len();
        for _ in 0..24 {
            managed.create().await;
        }
        for _ in 0..12 {
            managed.ask(&mut dice).await;
        }
        let begun = managed.bridge.wait_until(
            |traffic| {
                let requests = traffic.requests.iter();
                requests.filter(|request| request.method != "GET").count() > before + 3
            },
            DEADLINE,
        );
        begun.await.unwrap_or_else(|unmet| panic!("{unmet}"));
        outage.begin(&cluster).await;
        operator.says("cannot read the key for a directory").await;
        let sent = writes(&managed.bridge).len();
        if *is_killed {
            operator.process().kill().await.unwrap();
        } else {
            // How long it lasts is the fault itself.
            tokio::time::sleep(Duration::from_secs(budget(3, 15))).await;
        }
        let later = writes(&managed.bridge).len();
        assert!(
            later <= sent + 1,
            "{outage:?}: {sent} requests, and {later} a while later"
        );
        outage.end(&cluster).await;
        if *is_killed {
            assert_noted(&managed).await;
        } else {
            managed.settled().await;
            operator.stop().await;
        }
        operator = spawn(&bed).await;
        managed.bridge.set(|state| state.faults.clear());
        managed.populate().await;
        managed.settled().await;
        managed.judge();
        assert_noted(&managed).await;
    }
    operator.stop().await;
}
