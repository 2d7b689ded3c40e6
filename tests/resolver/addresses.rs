//! A name with several addresses, of which some lead nowhere.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use bridge_front::{Authority, Fault, Front, Profile, Seed};
use futures::future::join_all;
use scim_bridge_operator::{
    bridge::{
        HttpProber, Lanes, ProbeRequest,
        scim::{rate::Rate, write::DirectoryWriter},
    },
    domain::directory::{
        names::{PlainName, UserName},
        order::{Answer, Order},
    },
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::{Instant, timeout},
};

use crate::{
    name_server::{NameServer, Reply},
    support::{AMPLE, Differences, LIMIT, SHORT, bridge, log, only, order_for, probe_by, prober, told},
};

const NAME: &str = "scim.test";
/// No share of it runs out before its answer, however busy the machine.
const BUDGET: Duration = Duration::from_secs(20);
const BRIDGE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An address that takes no connection and refuses none: its queue is full, and nobody empties it.
struct BlackHole {
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    async fn at(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(1).unwrap();
        let mut queue = Vec::new();
        // The first that is not taken at once has found it full, or the machine busy: then it is a peer that accepts and
        // says nothing, which is to cost as little.
        while let Ok(stream) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            queue.push(stream.unwrap());
        }
        Self {
            _listener: listener,
            _queue: queue,
        }
    }
}

/// What is at an address.
#[derive(Clone, Copy, Debug)]
enum Peer {
    Hole,
    /// Nobody.
    Closed,
    /// Accepts, and says nothing.
    Mute,
    Bridge,
    /// Nobody, by IPv6.
    ClosedV6,
    /// A bridge whose certificate has expired.
    Expired,
    /// A front of the same bridge that takes a request, and closes the connection without an answer.
    Breaking,
    /// Another front of the same bridge.
    Twin,
}

/// The peers of one name, at one port.
struct Peers {
    front: Front,
    others: Vec<Front>,
    _holes: Vec<BlackHole>,
    _mutes: Vec<TcpListener>,
    server: NameServer,
}

impl Peers {
    async fn start(peers: &[Peer]) -> Self {
        let authority = Arc::new(Authority::new().unwrap());
        let front = bridge()
            .names([NAME])
            .authority(Arc::clone(&authority))
            .directory(Seed::default())
            .start()
            .await
            .unwrap();
        let port = front.port();
        let (mut holes, mut mutes, mut others) = (Vec::new(), Vec::new(), Vec::new());
        let mut addresses = Vec::new();
        for (last, peer) in (2..).zip(peers) {
            let other = IpAddr::V4(Ipv4Addr::new(127, 0, 7, last));
            addresses.push(match peer {
                Peer::Bridge => BRIDGE,
                Peer::ClosedV6 => Ipv6Addr::LOCALHOST.into(),
                Peer::Hole | Peer::Closed | Peer::Mute | Peer::Expired | Peer::Breaking | Peer::Twin => other,
            });
            match peer {
                Peer::Hole => holes.push(BlackHole::at((other, port).into()).await),
                Peer::Mute => mutes.push(TcpListener::bind((other, port)).await.unwrap()),
                Peer::Expired => {
                    let builder = bridge().names([NAME]).certificate(Profile::Expired);
                    let builder = builder.listen((other, port).into());
                    others.push(builder.start().await.unwrap());
                }
                Peer::Breaking | Peer::Twin => {
                    let builder = bridge().names([NAME]).authority(Arc::clone(&authority));
                    let builder = builder.directory(Seed::default()).listen((other, port).into());
                    let twin = builder.start().await.unwrap();
                    if matches!(peer, Peer::Breaking) {
                        twin.set(|state| state.fault("/scim", Fault::Close));
                    }
                    others.push(twin);
                }
                Peer::Closed | Peer::Bridge | Peer::ClosedV6 => {}
            }
        }
        let server = NameServer::start(move |_, _| Reply::Addresses(addresses.clone())).await;
        Self {
            front,
            others,
            _holes: holes,
            _mutes: mutes,
            server,
        }
    }

    fn prober(&self) -> HttpProber {
        prober().resolving_by(self.server.names())
    }

    fn order(&self, timeout: Duration) -> ProbeRequest {
        let url = format!("https://{NAME}:{}", self.front.port());
        let mut order = order_for(&url, only(self.front.ca_pem().unwrap()));
        order.budget = timeout;
        order
    }
}

#[tokio::test]
async fn one_address_does_not_cost_the_others() {
    use Peer::{Bridge, Closed, ClosedV6, Expired, Hole, Mute};
    let rows = [
        (&[Hole, Bridge][..], BUDGET, "Connected"),
        (
            &[Hole, Hole, Hole, Hole, Hole, Hole, Hole, Bridge][..],
            BUDGET,
            "Connected",
        ),
        (&[Closed, Bridge][..], BUDGET, "Connected"),
        (&[Closed, Hole, Mute, Bridge][..], BUDGET, "Connected"),
        (&[Mute, Bridge][..], BUDGET, "Connected"),
        (&[ClosedV6, Bridge][..], BUDGET, "Connected"),
        (&[Bridge, Hole][..], BUDGET, "Connected"),
        // Half of the users get there.
        (
            &[Expired, Bridge][..],
            BUDGET,
            "CertificateExpired (GET /ping: the server's certificate has expired)",
        ),
        (
            &[Closed, Expired, Bridge][..],
            BUDGET,
            "CertificateExpired (GET /ping: the server's certificate has expired)",
        ),
        (&[Closed, Closed][..], BUDGET, "ConnectFailed (GET /ping)"),
        (&[Closed, ClosedV6][..], BUDGET, "ConnectFailed (GET /ping)"),
        (
            &[Hole, Hole][..],
            SHORT,
            "TimedOut (GET /ping: waiting for the TCP connection)",
        ),
        (
            &[Hole, Closed][..],
            SHORT,
            "TimedOut (GET /ping: waiting for the TCP connection)",
        ),
        (
            &[Mute, Mute][..],
            SHORT,
            "TimedOut (GET /ping: waiting for the TLS handshake)",
        ),
        // More than eight are not tried.
        (
            &[
                Closed, Closed, Closed, Closed, Closed, Closed, Closed, Closed, Bridge,
            ][..],
            BUDGET,
            "ConnectFailed (GET /ping)",
        ),
    ];
    let seen = join_all(rows.map(async |(peers, timeout, _)| {
        let all = Peers::start(peers).await;
        let outcome = told(None, &probe_by(&all.prober(), &all.order(timeout)).await);
        let requests = all.front.requests();
        let mut connections: Vec<_> = requests.iter().map(|request| request.connection).collect();
        connections.dedup();
        let [requests, connections, questions] = [
            log(&requests),
            connections.len().to_string(),
            all.server.questions().to_string(),
        ];
        format!("{outcome}; {requests}; over {connections}; {questions} questions")
    }))
    .await;
    let mut differences = Differences::default();
    for ((peers, timeout, outcome), seen) in rows.iter().zip(seen) {
        // Each request once, over one connection; and one look-up, for both families.
        let requests = if *outcome == "Connected" {
            "/ping /health* /scim/Users* /scim/Groups*; over 1"
        } else {
            "; over 0"
        };
        differences.compare(
            format!("{peers:?} within {timeout:?}"),
            &format!("{outcome}; {requests}; 2 questions"),
            &seen,
        );
    }
    differences.assert_none();
}

/// A short budget has its shares too. A machine may be too busy for it once, and not always.
#[tokio::test]
async fn little_time_is_shared_as_well() {
    for timeout in [SHORT, Duration::from_secs(2), AMPLE] {
        let peers = Peers::start(&[Peer::Hole, Peer::Hole, Peer::Bridge]).await;
        let prober = peers.prober();
        let deadline = Instant::now() + LIMIT;
        let mut outcome = String::new();
        while outcome != "Connected" && Instant::now() < deadline {
            outcome = told(None, &probe_by(&prober, &peers.order(timeout)).await);
        }
        assert_eq!(
            outcome, "Connected",
            "within {timeout:?}: the bridge is never reached"
        );
    }
}

/// A request that creates somebody leaves once, to one address, whatever becomes of it there.
#[tokio::test]
async fn a_write_leaves_once() {
    use Peer::{Breaking, Bridge, Closed, Expired, Hole, Mute, Twin};
    let once = (Answer::Accepted(None), 1);
    let never = (Answer::NotSent, 0);
    let in_doubt = (Answer::Unclear, 1);
    let rows = [
        (&[Bridge][..], &once),
        (&[Hole, Bridge][..], &once),
        (&[Mute, Bridge][..], &once),
        (&[Closed, Hole, Mute, Bridge][..], &once),
        (&[Twin, Bridge][..], &once),
        (&[Bridge, Twin, Twin, Twin][..], &once),
        (&[Closed, Twin, Bridge][..], &once),
        // The request has left, so no other address is tried.
        (&[Breaking, Bridge][..], &in_doubt),
        (&[Closed, Breaking, Bridge, Twin][..], &in_doubt),
        (&[Expired, Bridge][..], &never),
        (&[Closed, Closed][..], &never),
    ];
    let seen = join_all(rows.map(async |(peers, _)| {
        let all = Peers::start(peers).await;
        let prober = Arc::new(all.prober());
        let writer = DirectoryWriter::new(Arc::clone(&prober), Lanes::new(prober));
        let order = Order::CreateUser {
            user_name: UserName::parse("ada@example.com").unwrap(),
            given_name: PlainName::parse("Ada").unwrap(),
            family_name: PlainName::parse("Example").unwrap(),
        };
        let rate = Rate::per_second(NonZeroU32::MIN);
        let sent = writer.send(&all.order(BUDGET), &order, BUDGET, &rate).await;
        let answer = if matches!(sent.answer, Answer::Accepted(Some(_))) {
            // The id is drawn.
            Answer::Accepted(None)
        } else {
            sent.answer
        };
        let fronts = all.others.iter().chain([&all.front]);
        let requests: Vec<_> = fronts.flat_map(Front::requests).collect();
        assert!(
            requests.iter().all(|request| request.method == "POST"),
            "{requests:?}"
        );
        (answer, requests.len())
    }))
    .await;
    let mut differences = Differences::default();
    for ((peers, expected), seen) in rows.iter().zip(seen) {
        differences.compare(
            format!("{peers:?}"),
            &format!("{expected:?}"),
            &format!("{seen:?}"),
        );
    }
    differences.assert_none();
}
