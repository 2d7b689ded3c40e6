//! By way of a proxy: a real one, which opens tunnels and writes down where to.

use std::sync::{Arc, Mutex};

use bridge_front::Front;
use scim_bridge_operator::bridge::{HttpProber, address::AddressPolicy, proxy::BridgeProxy, trust::Trust};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};

use crate::support::{Differences, KEY, SHORT, bridge, only, order_for, probe_by, prober_under, told};

/// A name that resolves nowhere but at the proxy.
const NAME: &str = "scim.example.invalid";

/// An HTTP proxy that leads every tunnel to one front.
struct Proxy {
    url: String,
    /// Everything that was sent to the proxy itself.
    heard: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Proxy {
    /// One that answers every CONNECT like this.
    async fn new(front: &Front, answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (bridge, log) = (front.addr(), Arc::clone(&heard));
        let serving = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let log = Arc::clone(&log);
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = client.read_u8().await else { return };
                        request.push(byte);
                    }
                    log.lock().unwrap().push(String::from_utf8(request).unwrap());
                    if client.write_all(answer.as_bytes()).await.is_ok() && answer.contains(" 200 ") {
                        let mut bridge = TcpStream::connect(bridge).await.unwrap();
                        // Whoever ends first, ends both.
                        let _ = copy_bidirectional(&mut client, &mut bridge).await;
                    }
                });
            }
        });
        Self { url, heard, serving }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

const TUNNEL: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

fn prober(policy: AddressPolicy, proxy: &Proxy, exceptions: &[&str]) -> HttpProber {
    prober_under(policy).through(Some(BridgeProxy {
        url: proxy.url.parse().unwrap(),
        exceptions: exceptions.iter().map(|text| text.parse().unwrap()).collect(),
    }))
}

async fn front() -> Front {
    bridge().names([NAME, "localhost"]).start().await.unwrap()
}

#[tokio::test]
async fn which_targets_go_by_the_proxy() {
    let front = front().await;
    let loopback = crate::support::loopback;
    let mut differences = Differences::default();
    for (row, policy, exceptions, host, server_name, expected) in [
        // The proxy itself stands on loopback, which the policy denies to bridges.
        (
            "a name that only the proxy knows",
            AddressPolicy::default(),
            &[][..],
            NAME,
            None,
            "Connected, 1 tunnel",
        ),
        (
            "another host of the exceptions",
            AddressPolicy::default(),
            &["other.invalid"][..],
            NAME,
            None,
            "Connected, 1 tunnel",
        ),
        (
            "an excepted name",
            loopback(),
            &["localhost"][..],
            "localhost",
            None,
            "Connected, 0 tunnel",
        ),
        (
            "an excepted pattern",
            loopback(),
            &["local*"][..],
            "localhost",
            None,
            "Connected, 0 tunnel",
        ),
        (
            "all names below one, but not the name",
            AddressPolicy::default(),
            &[".scim.example.invalid"][..],
            NAME,
            None,
            "Connected, 1 tunnel",
        ),
        (
            "all names below one",
            AddressPolicy::default(),
            &[".example.invalid"][..],
            NAME,
            None,
            "DnsFailed (GET /ping: the name servers know no address for the name), 0 tunnel",
        ),
        (
            "an excepted name still meets the policy",
            AddressPolicy::default(),
            &["localhost"][..],
            "localhost",
            None,
            "HostDenied (GET /ping: the address is loopback, link-local, metadata, multicast or reserved), 0 tunnel",
        ),
        (
            "a literal address meets the policy before the proxy",
            AddressPolicy::default(),
            &[][..],
            "127.0.0.1",
            None,
            "HostDenied (GET /ping: the address is loopback, link-local, metadata, multicast or reserved), 0 tunnel",
        ),
        (
            "a server name would lead the proxy elsewhere",
            AddressPolicy::default(),
            &[][..],
            "other.invalid",
            Some(NAME),
            "HostDenied (GET /ping: spec.tls.serverName cannot be used together with --bridge-proxy), 0 tunnel",
        ),
        (
            "a server name without the proxy",
            loopback(),
            &["localhost"][..],
            "localhost",
            Some(NAME),
            "Connected, 0 tunnel",
        ),
    ] {
        let proxy = Proxy::new(&front, TUNNEL).await;
        let url = format!("https://{host}:{}", front.port());
        let mut order = order_for(&url, only(front.ca_pem().unwrap()));
        order.route.server_name = server_name.map(str::to_owned);
        let exchange = probe_by(&prober(policy, &proxy, exceptions), &order).await;
        let tunnels = proxy.heard().len();
        differences.compare(
            row,
            expected,
            &format!("{}, {tunnels} tunnel", told(None, &exchange)),
        );
    }
    differences.assert_none();
}

#[tokio::test]
async fn a_proxy_learns_the_address_and_nothing_else() {
    let front = front().await;
    let proxy = Proxy::new(&front, TUNNEL).await;
    let mut with_password = prober(AddressPolicy::default(), &proxy, &[]);
    let order = order_for(
        &format!("https://{NAME}:{}", front.port()),
        only(front.ca_pem().unwrap()),
    );
    probe_by(&with_password, &order).await;
    with_password = prober_under(AddressPolicy::default()).through(Some(BridgeProxy {
        url: proxy
            .url
            .replace("://", "://user:obviously-fake@")
            .parse()
            .unwrap(),
        exceptions: Vec::new(),
    }));
    probe_by(&with_password, &order).await;

    let [without, with] = <[String; 2]>::try_from(proxy.heard()).unwrap();
    let address = format!("CONNECT {NAME}:{} HTTP/1.1\r\n", front.port());
    for head in [&without, &with] {
        assert!(head.starts_with(&address), "{head}");
        assert!(
            !head.contains(KEY) && !head.to_ascii_lowercase().contains("\r\nauthorization:"),
            "{head}"
        );
    }
    assert!(
        !without.to_ascii_lowercase().contains("proxy-authorization"),
        "{without}"
    );
    // "user:obviously-fake"
    let basic = "proxy-authorization: basic dxnlcjpvynzpb3vzbhktzmfrzq==";
    assert!(with.to_ascii_lowercase().contains(basic), "{with}");
}

#[tokio::test]
async fn what_a_proxy_refuses_is_its_own() {
    const TUNNEL: &str = "ConnectFailed (GET /ping: the operator's own proxy (--bridge-proxy) did not open a tunnel to the bridge)";
    const LOGIN: &str =
        "BlockedByProxy (GET /ping: the operator's own proxy (--bridge-proxy) asks for a login: 407)";
    let front = front().await;
    let mut differences = Differences::default();
    for (answer, https, http) in [
        (
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n",
            TUNNEL,
            "BlockedByProxy (GET /scim/Users: 403)",
        ),
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
            LOGIN,
            LOGIN,
        ),
        (
            "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n",
            TUNNEL,
            "BridgeUnavailable (GET /scim/Users: 502)",
        ),
        // Squid's own answers to plain HTTP. What has no sign of it may be the bridge's.
        (
            "HTTP/1.1 403 Forbidden\r\nx-squid-error: ERR_ACCESS_DENIED 0\r\ncontent-length: 0\r\n\r\n",
            TUNNEL,
            "ConnectFailed (GET /ping: 403 from the operator's own proxy (--bridge-proxy), not from the bridge)",
        ),
        (
            "HTTP/1.1 503 Service Unavailable\r\nx-squid-error: ERR_CONNECT_FAIL 111\r\ncontent-length: 0\r\n\r\n",
            TUNNEL,
            "ConnectFailed (GET /ping: 503 from the operator's own proxy (--bridge-proxy), not from the bridge)",
        ),
        (
            "HTTP/1.1 504 Gateway Timeout\r\nproxy-status: p; error=connection_timeout\r\ncontent-length: 0\r\n\r\n",
            TUNNEL,
            "ConnectFailed (GET /ping: 504 from the operator's own proxy (--bridge-proxy), not from the bridge)",
        ),
        (
            "SSH-2.0-OpenSSH\r\n\r\n",
            TUNNEL,
            "ProtocolError (GET /ping: the answer is not valid HTTP)",
        ),
        ("", TUNNEL, "ConnectFailed (GET /ping)"),
    ] {
        for (scheme, expected) in [("https", https), ("http", http)] {
            let proxy = Proxy::new(&front, answer).await;
            let order = order_for(&format!("{scheme}://{NAME}"), only(front.ca_pem().unwrap()));
            let exchange = probe_by(&prober(AddressPolicy::default(), &proxy, &[]), &order).await;
            differences.compare(
                format_args!("{scheme} {answer:?}"),
                expected,
                &told(None, &exchange),
            );
        }
    }
    differences.assert_none();
}

/// A proxy that cannot be reached, or says nothing, is not the bridge.
#[tokio::test]
async fn a_proxy_that_is_not_there() {
    const UNREACHABLE: &str =
        "ConnectFailed (GET /ping: the operator's own proxy (--bridge-proxy) cannot be reached)";
    const SILENT: &str = "TimedOut (GET /ping: waiting for the operator's own proxy (--bridge-proxy))";
    // Bound and not listening; and one that never reads.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut differences = Differences::default();
    for (row, address, scheme, expected) in [
        (
            "closed",
            closed.local_addr().unwrap().to_string(),
            "https",
            UNREACHABLE,
        ),
        (
            "closed",
            closed.local_addr().unwrap().to_string(),
            "http",
            UNREACHABLE,
        ),
        ("unknown", "proxy.invalid:3128".to_owned(), "https", UNREACHABLE),
        ("unknown", "proxy.invalid:3128".to_owned(), "http", UNREACHABLE),
        (
            "silent",
            silent.local_addr().unwrap().to_string(),
            "https",
            SILENT,
        ),
    ] {
        let prober = prober_under(AddressPolicy::default()).through(Some(BridgeProxy {
            url: format!("http://{address}").parse().unwrap(),
            exceptions: Vec::new(),
        }));
        let mut order = order_for(&format!("{scheme}://{NAME}"), Trust::System);
        if row == "silent" {
            order.budget = SHORT;
        }
        let exchange = probe_by(&prober, &order).await;
        differences.compare(format_args!("{row} {scheme}"), expected, &told(None, &exchange));
    }
    differences.assert_none();
}
