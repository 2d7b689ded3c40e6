//! The leader is killed, frozen or cut off between two changes of a directory: another one goes on, never do two of them
//! write, and the limits are counted over all of them.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use bridge_front::{Act, Fault, Front, Seed, User, directory::Taken};
use scim_bridge_operator::api::user::ScimUser;
use serde_json::json;
use testbed::{
    Dice,
    bed::{Bed, DEADLINE, KEY, OPERATOR, Operator, Proxy, own_cluster},
    budget, seed,
    supervise::Signal,
    wait,
};

use crate::{relay::Relay, replica::leader};

/// The suspensions that are allowed within an hour, and those that each leader is asked for.
const LIMIT: usize = 9;
const EACH: usize = 3;

/// What befalls a leader.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Blow {
    Killed,
    /// For longer than the Lease; then it goes on.
    Frozen,
    /// From the API server; the bridge it still reaches.
    CutOff,
}

/// A replica that the bridge knows by its address.
struct Replica {
    identity: String,
    address: IpAddr,
    operator: Operator,
    /// To the API server.
    proxy: Proxy,
    _relay: Relay,
}

impl Replica {
    async fn start(bed: &Bed<'_>, bridge: &Front, number: u8) -> Self {
        let address = Ipv4Addr::new(127, 0, 0, 10 + number);
        let proxy = Proxy::new(&bed.kubeconfig).await;
        let relay = Relay::from(address, bridge.addr()).await;
        let identity = format!("replica-{number}");
        let flags = [
            "--provisioning",
            "--lease-namespace",
            OPERATOR,
            "--identity",
            &identity,
            "--bridge-proxy",
            &relay.url,
            "--allow-cidr",
            "127.0.0.0/8",
        ];
        let operator = bed.spawn_as(proxy.kubeconfig(), &flags).await;
        operator.ready(DEADLINE).await.unwrap();
        Self {
            identity,
            address: address.into(),
            operator,
            proxy,
            _relay: relay,
        }
    }

    /// When the bridge received changes from it.
    fn writes(&self, bridge: &Front) -> Vec<Instant> {
        let requests = bridge.requests().into_iter();
        let own = requests.filter(|request| request.method != "GET" && request.peer == self.address);
        own.map(|request| request.at).collect()
    }

    /// Waits until the bridge has received so many more changes from it.
    async fn writes_more(&self, bridge: &Front, more: usize) {
        let count = self.writes(bridge).len() + more;
        let written = bridge.wait_until(
            |traffic| {
                let mut own = traffic.requests.iter();
                let writes = own
                    .by_ref()
                    .filter(|request| request.method != "GET" && request.peer == self.address);
                writes.count() >= count
            },
            DEADLINE,
        );
        written
            .await
            .unwrap_or_else(|unmet| panic!("{}: {unmet}", self.identity));
    }
}

/// Suspends so many of those who were there from the beginning, one after the other.
async fn suspend(bed: &Bed<'_>, from: usize) {
    for number in from..from + EACH {
        let name = format!("old-{number}");
        bed.scim_user("corp", &name, json!({"adopt": "Always", "state": "Suspended"}))
            .await;
        bed.expect_object::<ScimUser>(&name, "True Suspended").await;
    }
}

/// Strikes the leader so long after a change has left, and waits until another one has changed something.
async fn strike(
    bed: &Bed<'_>,
    bridge: &Front,
    replicas: &mut Vec<Replica>,
    (blow, moment): (Blow, Duration),
) {
    let identities: Vec<_> = replicas.iter().map(|replica| replica.identity.clone()).collect();
    let holder = leader(bed, &identities).await;
    let place = identities
        .iter()
        .position(|identity| *identity == holder)
        .unwrap();
    let struck = replicas.remove(place);
    struck.writes_more(bridge, 1).await;
    // The moment is the fault itself.
    tokio::time::sleep(moment).await;
    let begun = Instant::now();
    match blow {
        Blow::Killed => struck.operator.process().kill().await.unwrap(),
        Blow::Frozen => struck.operator.signal(Signal::Stop).unwrap(),
        Blow::CutOff => struck.proxy.partition(),
    }
    let others: Vec<_> = replicas.iter().map(|replica| replica.identity.clone()).collect();
    let next = leader(bed, &others).await;
    let next = replicas.iter().find(|replica| replica.identity == next).unwrap();
    next.writes_more(bridge, 3).await;
    if blow == Blow::Frozen {
        struck.operator.signal(Signal::Continue).unwrap();
    }
    if blow != Blow::Killed {
        let ended = struck.operator.process().wait(DEADLINE).await.unwrap();
        assert_eq!(ended.code(), Some(1), "{blow:?}: it ends, and says so");
    }
    next.writes_more(bridge, 3).await;
    let first = next.writes(bridge).into_iter().find(|at| *at > begun).unwrap();
    let last = struck.writes(bridge).into_iter().max().unwrap();
    assert!(
        last < first,
        "{blow:?}: the old leader wrote {:?} after the new one began",
        last.duration_since(first)
    );
    for idle in replicas
        .iter()
        .filter(|replica| replica.identity != next.identity)
    {
        assert!(
            idle.writes(bridge).iter().all(|at| *at < begun),
            "{blow:?}: {} writes though {} leads",
            idle.identity,
            next.identity
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn never_two_writers_and_one_count_of_the_limits() {
    // The Lease has one name, so another test with an election needs another cluster.
    let Some(cluster) = own_cluster().await else {
        return;
    };
    cluster.install_provisioning().await.unwrap();
    let mut dice = Dice::from_seed(seed());
    let bed = Bed::on_own(&cluster, "writers").await;
    let old = (0..LIMIT + EACH).map(|number| format!("old-{number}"));
    let users = old.chain(["owner".to_owned()]);
    let directory = Seed {
        users: users
            .map(|name| User::new(format!("{name}@example.com"), "Given", "Family"))
            .collect(),
        groups: Vec::new(),
    };
    let bridge = bed.directory(directory).start().await.unwrap();
    bridge.set(|state| {
        // A second creation of a name would make a second account.
        state.habits.writes.taken_user_name = Taken::Accepted;
        state.fault("POST /scim", Fault::Delay { ms: 150 });
    });
    bed.secret("corp", KEY).await;
    let limits = json!({"limits": {"suspensions": LIMIT, "creations": 10_000, "removals": 0}});
    bed.manage_directory("corp", &bridge, limits).await;
    let mut replicas = Vec::new();
    let mut started = 3;
    for number in 0..started {
        replicas.push(Replica::start(&bed, &bridge, number).await);
    }
    let mut newcomers = 0;
    let mut suspended = 0;
    {
        // There is always somebody to create.
        let busy = async {
            loop {
                bed.scim_user("corp", &format!("new-{newcomers}"), json!({"adopt": "Never"}))
                    .await;
                newcomers += 1;
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        };
        let blows = async {
            for turn in 0..budget(1, 5) {
                for blow in [Blow::Killed, Blow::Frozen, Blow::CutOff] {
                    if turn == 0 {
                        suspend(&bed, suspended).await;
                        suspended += EACH;
                    }
                    let moment = Duration::from_millis(dice.below(300));
                    strike(&bed, &bridge, &mut replicas, (blow, moment)).await;
                    replicas.push(Replica::start(&bed, &bridge, started).await);
                    started += 1;
                }
            }
        };
        tokio::select! {
            () = busy => {}
            () = blows => {}
        }
    }
    assert_eq!(suspended, LIMIT);
    let late = format!("old-{suspended}");
    bed.scim_user("corp", &late, json!({"adopt": "Always", "state": "Suspended"}))
        .await;
    bed.expect_object::<ScimUser>(&late, "False Held Stalled").await;
    for number in 0..newcomers {
        bed.expect_object::<ScimUser>(&format!("new-{number}"), "True Provisioned")
            .await;
    }
    let done = wait::until(DEADLINE, "the last request to be answered", async || {
        (bridge.traffic().in_flight == 0).then_some(())
    });
    done.await.unwrap_or_else(|error| panic!("{error}"));
    let changes = bridge.directory().changes();
    let of = |act| changes.iter().filter(|change| change.act == act).count();
    assert_eq!((of(Act::CreateUser), of(Act::Suspend)), (newcomers, LIMIT));
    assert_eq!(changes.len(), newcomers + LIMIT);
}
