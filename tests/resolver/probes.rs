//! What a user reads: whole probes of a bridge whose name takes its time, or is not where it was looked for.

use std::{path::PathBuf, time::Duration};

use bridge_front::Front;
use futures::future::join_all;
use scim_bridge_operator::bridge::{HttpProber, ProbeRequest, wire::proxy::BridgeProxy};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};

use crate::{
    support::{Differences, LIMIT, SHORT, bridge, ends, only, order_for, probe_by, prober, told},
    table::{Folders, Servers, names},
};

const NAME: &str = "scim.test";
const DEFAULT: Duration = Duration::from_secs(10);
/// No share of it runs out before its answer, however busy the machine.
const BUDGET: Duration = Duration::from_secs(20);

async fn front(name: &str) -> Front {
    bridge().names([name]).start().await.unwrap()
}

fn order(front: &Front, name: &str, timeout: Duration) -> ProbeRequest {
    let url = format!("https://{name}:{}", front.port());
    let mut order = order_for(&url, only(front.ca_pem().unwrap()));
    order.budget = timeout;
    order
}

/// Servers and a file that names them.
struct Place {
    servers: Servers,
    folder: PathBuf,
}

impl Place {
    async fn new(folders: &Folders, zones: &[&str], resolv_conf: &str, hosts: &str) -> Self {
        let servers = Servers::start(zones).await;
        let folder = folders.with(&servers.resolv_conf(resolv_conf), hosts);
        Self { servers, folder }
    }

    fn prober(&self) -> HttpProber {
        prober().resolving_by(names(&self.folder, self.servers.port))
    }
}

/// As with an egress policy that leaves DNS out. The longest time is of the same kind as the default, and takes as long.
#[tokio::test]
async fn silent_dns_is_not_a_silent_bridge() {
    let folders = Folders::new();
    let front = front(NAME).await;
    let mut differences = Differences::default();
    let rows = [
        ("one server", &["* SILENT"][..], "", SHORT),
        ("one server, by default", &["* SILENT"][..], "", DEFAULT),
        (
            "three servers",
            &["* SILENT", "* SILENT", "* SILENT"][..],
            "",
            SHORT,
        ),
        (
            "a search list",
            &["* SILENT"][..],
            "search a.test b.test\noptions ndots:5",
            SHORT,
        ),
        (
            "a search list, by default",
            &["* SILENT"][..],
            "search a.test b.test\noptions ndots:5",
            DEFAULT,
        ),
        (
            "servers with long times",
            &["* SILENT"][..],
            "options timeout:30 attempts:5",
            SHORT,
        ),
        ("by TCP", &["* SILENT"][..], "options use-vc", SHORT),
        (
            "no IPv4, and no word of IPv6",
            &["scim.test A NODATA; scim.test AAAA SILENT"][..],
            "",
            SHORT,
        ),
        (
            "one family after the other",
            &["* SILENT"][..],
            "options single-request",
            SHORT,
        ),
    ];
    let outcomes = join_all(rows.map(async |(_, zones, resolv_conf, timeout)| {
        let place = Place::new(&folders, zones, resolv_conf, "").await;
        told(
            None,
            &probe_by(&place.prober(), &order(&front, NAME, timeout)).await,
        )
    }))
    .await;
    for ((row, ..), outcome) in rows.iter().zip(outcomes) {
        differences.compare(
            row,
            "DnsFailed (GET /ping: no name server answered in time)",
            &outcome,
        );
    }
    differences.assert_none();
}

/// What is silent or fails costs its share, and not the probe: what it is, the name, lines of resolv.conf(5), the hosts
/// file, and what the servers know.
#[rustfmt::skip]
const FOUND: [(&str, &str, &str, &str, &[&str]); 11] = [
    ("an underscore", "op_scim.corp.example", "", "", &["op_scim.corp.example 127.0.0.1"]),
    ("digits", "1password.4711.example", "", "", &["1password.4711.example 127.0.0.1"]),
    ("a pinned name, DNS is silent", NAME, "", "127.0.0.1 scim.test", &["* SILENT"]),
    ("a pinned name of IPv6 alone", "v6.test", "", "::1 v6.test", &["* SILENT"]),
    ("the first server is silent", NAME, "", "", &["* SILENT", "scim.test 127.0.0.1"]),
    ("the first server refuses", NAME, "", "", &["* REFUSED", "scim.test 127.0.0.1"]),
    ("the first server fails", NAME, "", "", &["* SERVFAIL", "scim.test 127.0.0.1"]),
    ("IPv6 is silent", NAME, "", "", &["scim.test A 127.0.0.1; scim.test AAAA SILENT"]),
    ("IPv4 is silent", "v6.test", "", "", &["v6.test A SILENT; v6.test AAAA ::1"]),
    ("a search domain is silent", NAME, "search a.test b.test\noptions ndots:5", "", &["scim.test.a.test SILENT; scim.test 127.0.0.1"]),
    ("a Service", "bridge", "search ns.svc.test svc.test\noptions ndots:5", "", &["bridge.ns.svc.test 127.0.0.1"]),
];

#[tokio::test]
async fn the_bridge_is_found() {
    let folders = Folders::new();
    let mut differences = Differences::default();
    let outcomes = join_all(FOUND.map(async |(_, name, resolv_conf, hosts, zones)| {
        let place = Place::new(&folders, zones, resolv_conf, hosts).await;
        let address = if name == "v6.test" {
            "[::1]:0"
        } else {
            "127.0.0.1:0"
        };
        let builder = bridge().names([name]).listen(address.parse().unwrap());
        let front = builder.start().await.unwrap();
        let order = order(&front, name, BUDGET);
        let outcome = told(None, &probe_by(&place.prober(), &order).await);
        let asked = place.servers.asked();
        if hosts.is_empty() || asked.is_empty() {
            outcome
        } else {
            format!("{outcome}, and asked for {asked}")
        }
    }))
    .await;
    for ((row, ..), outcome) in FOUND.iter().zip(outcomes) {
        differences.compare(row, "Connected", &outcome);
    }
    differences.assert_none();
}

/// `https://scim.test.` is that name and no other, also where the address is looked up for another name's certificate.
#[tokio::test]
async fn an_absolute_name_is_absolute() {
    let folders = Folders::new();
    // A search domain leads to an address where nobody listens.
    let zone = "scim.test.a.test 127.0.0.9; scim.test 127.0.0.1";
    for (host, server_name, expected) in [
        ("scim.test.", None, "1: scim.test"),
        ("scim.test.", Some("certified.test"), "1: scim.test"),
        ("SCIM.test.", None, "1: scim.test"),
    ] {
        let place = Place::new(&folders, &[zone], "search a.test\noptions ndots:5", "").await;
        let front = front(server_name.unwrap_or(NAME)).await;
        let mut order = order(&front, host, LIMIT);
        order.route.server_name = server_name.map(str::to_owned);
        let exchange = probe_by(&place.prober(), &order).await;
        assert_eq!(told(None, &exchange), "Connected", "{host} {server_name:?}");
        assert_eq!(place.servers.asked(), expected, "{host} {server_name:?}");
    }
}

/// The dot is for this machine's resolver alone.
#[tokio::test]
async fn the_bridge_sees_no_dot() {
    let folders = Folders::new();
    let place = Place::new(&folders, &["scim.test 127.0.0.1"], "", "").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut lines = BufReader::new(&mut stream).lines();
        let mut heard = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap().filter(|line| !line.is_empty()) {
            heard.push(line.to_lowercase());
        }
        let _ = stream
            .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await;
        heard
    });
    let order = order_for(
        &format!("http://scim.test.:{port}"),
        scim_bridge_operator::bridge::wire::trust::Trust::System,
    );
    let prober = place.prober();
    let (_, heard) = tokio::join!(probe_by(&prober, &order), heard);
    let heard = heard.unwrap();
    let host = format!("host: scim.test:{port}");
    assert!(heard.contains(&host), "no {host:?} in {heard:?}");
}

/// The proxy's name is looked up like any other, and its failure is not the bridge's name's.
#[tokio::test]
async fn the_name_of_the_proxy() {
    let folders = Folders::new();
    let front = front(NAME).await;
    // Nobody there opens a tunnel: what counts is that it was found.
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = proxy.local_addr().unwrap().port();
    let visits = tokio::spawn(async move {
        let mut visits = 0;
        while let Ok((mut stream, _)) = proxy.accept().await {
            visits += 1;
            let _ = stream
                .write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
                .await;
            if visits == 1 {
                break;
            }
        }
        visits
    });
    for (zone, expected) in [
        (
            "proxy.test 127.0.0.1",
            "ConnectFailed (GET /ping: the operator's own proxy (--bridge-proxy) did not open a tunnel to the bridge)",
        ),
        (
            "* NXDOMAIN",
            "ConnectFailed (GET /ping: the operator's own proxy (--bridge-proxy) cannot be reached)",
        ),
        (
            "* SILENT",
            "ConnectFailed (GET /ping: the operator's own proxy (--bridge-proxy) cannot be reached)",
        ),
    ] {
        let place = Place::new(&folders, &[zone], "", "").await;
        let prober = place.prober().through(Some(BridgeProxy {
            url: format!("http://proxy.test:{port}").parse().unwrap(),
            exceptions: Vec::new(),
        }));
        let outcome = told(None, &probe_by(&prober, &order(&front, NAME, SHORT)).await);
        assert_eq!(outcome, expected, "{zone}");
        assert_eq!(place.servers.asked(), "1: proxy.test", "{zone}");
    }
    assert_eq!(ends("a visit to the proxy", visits).await.unwrap(), 1);
}
