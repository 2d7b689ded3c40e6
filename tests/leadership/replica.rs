//! A replica with a way of its own to the API server and to the bridge, so that it can be told from the others.

use std::time::{Duration, Instant};

use bridge_front::Front;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use testbed::{
    bed::{Bed, DEADLINE, OPERATOR, Operator, Proxy},
    wait,
};

use crate::relay::Relay;

pub(crate) struct Replica {
    pub(crate) identity: String,
    pub(crate) operator: Operator,
    /// To the API server.
    pub(crate) proxy: Proxy,
    /// To the bridge.
    pub(crate) relay: Relay,
    /// Each replica comes to another one by the same address, and so tells by its requests who it was.
    bridge: Front,
}

impl Replica {
    pub(crate) async fn start(bed: &Bed<'_>, identity: &str) -> Self {
        let proxy = Proxy::new(&bed.kubeconfig).await;
        let bridge = bed.healthy_bridge().await;
        let relay = Relay::to(bridge.addr()).await;
        let flags = [
            "--lease-namespace",
            OPERATOR,
            "--identity",
            identity,
            "--bridge-proxy",
            &relay.url,
            "--allow-cidr",
            "127.0.0.0/8",
        ];
        let operator = bed.spawn_as(proxy.kubeconfig(), &flags).await;
        operator.ready(DEADLINE).await.unwrap();
        Self {
            identity: identity.to_owned(),
            operator,
            proxy,
            relay,
            bridge,
        }
    }

    /// When it did what only a leader may do: ask the bridge, write a status. A write that the API server refuses,
    /// because it is about a version that has passed, is none.
    pub(crate) fn deeds(&self) -> Vec<Instant> {
        let writes = self.proxy.exchanges().into_iter();
        let writes = writes
            .filter(|exchange| exchange.writes_status() && exchange.status == Some(200))
            .map(|exchange| exchange.begun);
        let probes = self.bridge.requests().into_iter().map(|request| request.at);
        let mut deeds: Vec<_> = writes.chain(probes).collect();
        deeds.sort_unstable();
        deeds
    }

    /// The same without requests for `/ping`, which carry no key.
    pub(crate) fn deeds_with_key(&self) -> Vec<Instant> {
        let pings: Vec<_> = self
            .bridge
            .requests()
            .into_iter()
            .filter(|request| request.target == "/ping")
            .map(|request| request.at)
            .collect();
        self.deeds()
            .into_iter()
            .filter(|deed| !pings.contains(deed))
            .collect()
    }

    /// All requests after this moment, for people.
    pub(crate) fn story(&self, after: Instant) -> String {
        let exchanges = self.proxy.exchanges().into_iter();
        let calls =
            exchanges.map(|exchange| (exchange.begun, format!("{} {}", exchange.method, exchange.target)));
        let requests = self.bridge.requests().into_iter();
        let probes =
            requests.map(|request| (request.at, format!("{} {}", request.connection, request.target)));
        let mut lines: Vec<_> = calls.chain(probes).filter(|(at, _)| *at >= after).collect();
        lines.sort_unstable();
        let lines = lines
            .iter()
            .map(|(at, what)| format!("{:?} {what}", at.duration_since(after)));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// How many statuses it has written.
    pub(crate) fn written(&self) -> usize {
        self.proxy
            .count(|exchange| exchange.writes_status() && exchange.status == Some(200))
    }

    /// When it last wrote the Lease.
    pub(crate) fn last_renewal(&self) -> Instant {
        let exchanges = self.proxy.exchanges();
        let writes = exchanges.iter().filter(|exchange| {
            exchange.target.contains("/leases") && ["POST", "PUT"].contains(&exchange.method.as_str())
        });
        writes.map(|exchange| exchange.begun).max().unwrap()
    }
}

/// Who leads, according to the Lease.
pub(crate) async fn leader(bed: &Bed<'_>, among: &[String]) -> String {
    let leases: Api<Lease> = Api::namespaced(bed.client.clone(), OPERATOR);
    let holder = |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
    let lease = wait::until_object(DEADLINE, "to be held", &leases, OPERATOR, |lease| {
        holder(lease).is_some_and(|holder| among.contains(&holder))
    });
    holder(&lease.await.unwrap_or_else(|error| panic!("{error}"))).unwrap()
}

/// Within this time after the last renewal another replica leads: the duration of the Lease, and two seconds.
pub(crate) const TAKE_OVER: Duration = Duration::from_secs(17);
