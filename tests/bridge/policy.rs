//! Where the operator connects to, judged when it connects.

use bridge_front::Front;
use scim_bridge_operator::bridge::address::AddressPolicy;

use crate::support::{Differences, front, loopback, only, order_for, probe_by, prober_under, told};

/// What a probe of this host tells, and how many connections the front got from it.
async fn reach(policy: &AddressPolicy, host: &str, server_name: Option<&str>, front: &Front) -> String {
    front.clear_requests();
    let mut order = order_for(
        &format!("https://{host}:{}", front.port()),
        only(front.ca_pem().unwrap()),
    );
    order.route.server_name = server_name.map(str::to_owned);
    let exchange = probe_by(&prober_under(policy.clone()), &order).await;
    let connections = front.traffic().connections;
    format!("{}, {connections} connections", told(None, &exchange))
}

const DENIED: &str = "HostDenied (GET /ping: the address is loopback, link-local, metadata, multicast or reserved), 0 connections";
const CONNECTED: &str = "Connected, 1 connections";

#[tokio::test]
async fn names_are_judged_by_what_they_resolve_to() {
    let front = front().await;
    let mut differences = Differences::default();
    let everything = ["0.0.0.0/0", "::/0"].map(|network| network.parse().unwrap());
    for (name, policy, expected) in [
        ("nothing set", AddressPolicy::default(), DENIED),
        ("loopback allowed", loopback(), CONNECTED),
        (
            "loopback allowed, everything denied",
            AddressPolicy {
                denied: everything.to_vec(),
                ..loopback()
            },
            "HostDenied (GET /ping: --deny-cidr denies the address), 0 connections",
        ),
        (
            "loopback allowed, another host",
            AddressPolicy {
                allowed_hosts: vec!["*.example.com".parse().unwrap()],
                ..loopback()
            },
            "HostDenied (GET /ping: no pattern of --allowed-host fits the host), 0 connections",
        ),
        (
            "loopback allowed, this host",
            AddressPolicy {
                allowed_hosts: vec!["localhost".parse().unwrap()],
                ..loopback()
            },
            CONNECTED,
        ),
    ] {
        differences.compare(name, expected, &reach(&policy, "localhost", None, &front).await);
    }
    differences.assert_none();
}

#[tokio::test]
async fn addresses_are_judged_as_they_are_written() {
    let front = front().await;
    let mut differences = Differences::default();
    for host in ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"] {
        let seen = reach(&AddressPolicy::default(), host, None, &front).await;
        differences.compare(host, DENIED, &seen);
    }
    let seen = reach(&loopback(), "127.1", None, &front).await;
    differences.compare("127.1, allowed", CONNECTED, &seen);
    differences.assert_none();
}

/// A server name changes what the certificate is for. It must not change where the key goes, nor get around the
/// policy: an address in its place would be connected to.
#[tokio::test]
async fn a_server_name_leads_nowhere() {
    let front = front().await;
    let bystander = crate::support::bridge()
        .listen(([127, 0, 0, 2], front.port()).into())
        .names(["127.0.0.2"])
        .start()
        .await
        .unwrap();
    let mut differences = Differences::default();
    let seen = reach(&AddressPolicy::default(), "127.0.0.1", Some("localhost"), &front).await;
    differences.compare("a name, nothing allowed", DENIED, &seen);
    let seen = reach(&loopback(), "127.0.0.1", Some("localhost"), &front).await;
    differences.compare("a name, loopback allowed", CONNECTED, &seen);
    for server_name in ["127.0.0.2", "127.2", "2130706434", "0x7f000002", "0177.0.0.2"] {
        let mut order = order_for(
            &format!("https://127.0.0.1:{}", front.port()),
            only(bystander.ca_pem().unwrap()),
        );
        order.route.server_name = Some(server_name.to_owned());
        let exchange = probe_by(&prober_under(loopback()), &order).await;
        let seen = format!("{}, 0 connections", told(None, &exchange));
        differences.compare(server_name, DENIED, &seen);
    }
    differences.assert_none();
    assert_eq!(
        bystander.traffic().connections,
        0,
        "connections to the address in the server name"
    );
}
