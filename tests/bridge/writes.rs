//! What leaves when a directory is changed, what the answers mean, and what never leaves.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bridge_front::{Fault, Front, Group, Seed, User};
use scim_bridge_operator::{
    bridge::{
        HttpProber, Lanes, ProbeRequest,
        scim::{
            directory::{DirectoryReader, Terms, Unread},
            memory::Memory,
            rate::Rate,
            write::{DirectoryWriter, Sent},
        },
        wire::{address::AddressPolicy, trust::Trust},
    },
    domain::directory::{
        names::{PlainName, RemoteId, UserName},
        order::Order,
    },
    leadership::Leadership,
};
use serde_json::json;
use tokio::{net::TcpListener, time::Instant};

use crate::{
    peer::{Peer, answer, healthy},
    support::{
        Differences, KEY, LIMIT, SHORT, bridge, ends, loopback, order, order_for, prober, prober_under,
    },
};

const SCIM: &str = "application/scim+json";
const ERROR: &str =
    r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"detail":"ada@example.com"}"#;

fn quick() -> Rate {
    Rate::per_second(NonZeroU32::new(1_000_000).unwrap())
}

fn both(prober: HttpProber) -> (DirectoryReader, DirectoryWriter) {
    let prober = Arc::new(prober);
    let lanes = Lanes::new(Arc::clone(&prober));
    let reader = DirectoryReader::new(Arc::clone(&prober), lanes.clone());
    (reader, DirectoryWriter::new(prober, lanes))
}

fn to(peer: &Peer) -> ProbeRequest {
    order_for(&peer.url(), Trust::System)
}

fn id(text: &str) -> RemoteId {
    RemoteId::parse(text).unwrap()
}

fn name(text: &str) -> PlainName {
    PlainName::parse(text).unwrap()
}

fn create(user_name: &str) -> Order {
    Order::CreateUser {
        user_name: UserName::parse(user_name).unwrap(),
        given_name: name("Grace"),
        family_name: name("Example"),
    }
}

fn suspend(user: &str) -> Order {
    Order::SetActive {
        user: id(user),
        active: false,
    }
}

fn said(sent: &Sent) -> String {
    match sent.retry_after {
        None => format!("{:?}", sent.answer),
        Some(time) => format!("{:?}, again in {time:?}", sent.answer),
    }
}

/// Sends one order, with its own writer.
async fn send(request: &ProbeRequest, order: &Order) -> String {
    let (_, writer) = both(prober());
    said(&ends(format!("{order:?}"), writer.send(request, order, LIMIT, &quick())).await)
}

/// Ada and Bob, who are in Staff.
async fn small() -> Front {
    let user = |id: &str, name: &str| User {
        id: id.to_owned(),
        ..User::new(format!("{name}@example.com"), name, "Example")
    };
    let staff = Group {
        id: "staff".to_owned(),
        ..Group::new("Staff", ["ADA", "BOB"])
    };
    let seed = Seed {
        users: vec![user("ADA", "ada"), user("BOB", "bob"), user("EVE", "eve")],
        groups: vec![staff],
    };
    bridge().plaintext().directory(seed).start().await.unwrap()
}

#[tokio::test]
async fn orders_do_what_they_say() {
    let front = small().await;
    let request = order(&front);
    let (_, writer) = both(prober());
    let staff = || id("staff");
    for order in [
        create("grace@example.com"),
        suspend("ADA"),
        Order::RenameUser {
            user: id("BOB"),
            user_name: Some(UserName::parse("bob@example.org").unwrap()),
            given_name: Some(name("Robert")),
            family_name: None,
        },
        Order::RenameGroup {
            group: staff(),
            display_name: name("k8s-staff"),
        },
        Order::AddMembers {
            group: staff(),
            users: vec![id("EVE")],
        },
        Order::RemoveMembers {
            group: staff(),
            users: vec![id("ADA"), id("BOB")],
        },
        Order::CreateGroup {
            display_name: name("k8s-admins"),
        },
    ] {
        let sent = ends(
            format!("{order:?}"),
            writer.send(&request, &order, LIMIT, &quick()),
        )
        .await;
        let answer = said(&sent);
        assert!(answer.starts_with("Accepted(Some("), "{order:?}: {answer}");
    }
    let directory = front.directory();
    let grace = directory.user_named("grace@example.com").unwrap();
    assert!(grace.active);
    assert_eq!(
        json!(grace.emails),
        json!([{"value": "grace@example.com", "primary": true}])
    );
    assert!(!directory.user("ADA").unwrap().active);
    let bob = directory.user("BOB").unwrap();
    assert_eq!(
        (bob.user_name.as_str(), bob.name.given_name.as_str()),
        ("bob@example.org", "Robert")
    );
    let staff = directory.group("staff").unwrap();
    let members: Vec<_> = staff.members.iter().map(|member| member.value.as_str()).collect();
    assert_eq!((staff.display_name.as_str(), members), ("k8s-staff", vec!["EVE"]));
    assert!(directory.group_named("k8s-admins").unwrap().members.is_empty());

    // What is refused, or is not there.
    let answer = send(&request, &create("Grace@example.com")).await;
    assert_eq!(answer, "Conflict");
    assert_eq!(send(&request, &suspend("NOBODY")).await, "NotFound");
    assert_eq!(directory.user("ADA").map(|ada| ada.active), Some(false));
}

/// The head of a request: everything in it is known.
#[tokio::test]
async fn nothing_else_is_in_a_head() {
    let peer = Peer::start_asked(|_| answer("204 No Content", SCIM, ""));
    for (order, line, length) in [
        (create("ada@example.com"), "POST /scim/Users HTTP/1.1", 207),
        (suspend("A/B"), "PATCH /scim/Users/A%2FB HTTP/1.1", 123),
    ] {
        assert_eq!(send(&to(&peer), &order).await, "Accepted(None)");
        let mut head = peer.heard().pop().unwrap().to_lowercase();
        for header in [
            line.to_lowercase(),
            "content-type: application/scim+json".to_owned(),
            "accept: application/scim+json, application/json;q=0.9".to_owned(),
            "accept-encoding: identity".to_owned(),
            format!("authorization: bearer {KEY}"),
            "connection: close".to_owned(),
            format!("user-agent: scim-bridge-operator/{}", env!("CARGO_PKG_VERSION")),
            format!("host: {}", peer.url().strip_prefix("http://").unwrap()),
            format!("content-length: {length}"),
        ] {
            let found = head.find(&format!("{header}\r\n"));
            assert!(found.is_some(), "no {header} in {head}");
            head = head.replacen(&format!("{header}\r\n"), "", 1);
        }
        assert_eq!(head, "\r\n\r\n", "nothing else");
    }
}

/// Why a write does not leave. The peer hears nothing then.
#[tokio::test]
async fn what_does_not_leave() {
    let ended = Leadership::limited(LIMIT);
    ended.renew(std::time::Instant::now());
    ended.end();
    let plain = Peer::start(healthy);
    let tls = Peer::start_tls("127.0.0.1", "Test CA", healthy);
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute_url = format!("https://{}", mute.local_addr().unwrap());
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let untouched = || prober_under(loopback());
    let many = (0..=100).map(|number| id(&number.to_string())).collect();
    let add = Order::AddMembers {
        group: id("staff"),
        users: many,
    };
    let remove = Order::RemoveMembers {
        group: id("staff"),
        users: vec![id("x]")],
    };
    for (what, prober, url, order, within, expected) in [
        (
            "no leader",
            prober().during(ended),
            plain.url(),
            suspend("ADA"),
            LIMIT,
            "NotSent",
        ),
        (
            "no address of the policy",
            prober_under(AddressPolicy::default()),
            plain.url(),
            suspend("ADA"),
            LIMIT,
            "NotSent",
        ),
        (
            "no certificate that is trusted",
            untouched(),
            tls.url(),
            suspend("ADA"),
            LIMIT,
            "NotSent",
        ),
        ("nobody", untouched(), closed, suspend("ADA"), LIMIT, "NotSent"),
        (
            "a handshake without an end",
            untouched(),
            mute_url,
            suspend("ADA"),
            SHORT,
            "NotSent",
        ),
        (
            "no time",
            untouched(),
            plain.url(),
            suspend("ADA"),
            Duration::ZERO,
            "NotSent",
        ),
        (
            "more members than may be",
            untouched(),
            plain.url(),
            add,
            LIMIT,
            "NotSent",
        ),
        (
            "an id that could end a filter",
            untouched(),
            plain.url(),
            remove,
            LIMIT,
            "Unsupported",
        ),
    ] {
        let (_, writer) = both(prober);
        let request = order_for(&url, Trust::System);
        let sent = ends(what, writer.send(&request, &order, within, &quick())).await;
        assert_eq!(said(&sent), expected, "{what}");
        assert_eq!(plain.heard().len() + tls.heard().len(), 0, "{what}");
    }
}

/// While a probe has the lane, nothing is written.
#[tokio::test]
async fn a_write_waits_for_its_turn() {
    let over = Arc::new(AtomicBool::new(false));
    let peer = Peer::start({
        let over = Arc::clone(&over);
        move |path| {
            while path == "/ping" && !over.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            healthy(path)
        }
    });
    let prober = Arc::new(prober());
    let lanes = Lanes::new(Arc::clone(&prober));
    let writer = DirectoryWriter::new(prober, lanes.clone());
    let request = to(&peer);
    let probing = tokio::spawn({
        let request = request.clone();
        async move { lanes.probe(request).await }
    });
    let deadline = Instant::now() + LIMIT;
    while peer.heard().is_empty() {
        assert!(Instant::now() < deadline, "the probe does not begin");
        tokio::task::yield_now().await;
    }
    let within = Duration::from_millis(200);
    let sent = ends(
        "a write",
        writer.send(&request, &suspend("ADA"), within, &quick()),
    )
    .await;
    assert_eq!(said(&sent), "NotSent");
    over.store(true, Ordering::SeqCst);
    ends("the probe", probing).await.unwrap().unwrap();
    assert!(
        peer.heard().iter().all(|head| head.contains("GET /")),
        "{:?}",
        peer.heard()
    );
}

/// Answers that do not come, or not in full. The change may be done, and the request is not repeated.
#[tokio::test]
async fn what_is_unclear() {
    let mut differences = Differences::default();
    for (what, fault, order, expected) in [
        (
            "closed, and nothing done",
            Fault::Close,
            suspend("ADA"),
            "Unclear",
        ),
        (
            "closed, and done",
            Fault::Close.after_the_write(),
            suspend("ADA"),
            "Unclear",
        ),
        (
            "reset, and nothing done",
            Fault::Reset,
            create("grace@example.com"),
            "Unclear",
        ),
        (
            "reset, and done",
            Fault::Reset.after_the_write(),
            create("grace@example.com"),
            "Unclear",
        ),
        ("silence", Fault::Silent, create("grace@example.com"), "Unclear"),
        (
            "silence, and done",
            Fault::Silent.after_the_write(),
            suspend("ADA"),
            "Unclear",
        ),
    ] {
        let front = small().await;
        front.set(|state| state.fault("/scim", fault));
        let mut request = crate::support::order(&front);
        request.budget = SHORT;
        let seen = send(&request, &order).await;
        let requests = front.requests().len();
        differences.compare(
            what,
            &format!("{expected} after 1"),
            &format!("{seen} after {requests}"),
        );
    }
    differences.assert_none();
}

/// A Retry-After holds every request of the directory, not only the one that got it.
#[tokio::test]
async fn a_pause_holds_reads_and_writes() {
    let limited = |status: &str| {
        format!("HTTP/1.1 {status}\r\nRetry-After: 3000\r\nContent-Type: {SCIM}\r\nContent-Length: {}\r\n\r\n{ERROR}", ERROR.len()).into_bytes()
    };
    let terms = Terms {
        within: LIMIT,
        proven: None,
        round: 0,
    };
    for (status, first) in [
        ("429 Too Many Requests", "RateLimited, again in 3000s"),
        ("503 Service Unavailable", "Unclear, again in 3000s"),
    ] {
        let bytes = limited(status);
        let peer = Peer::start_asked(move |_| bytes.clone());
        let (request, rate) = (to(&peer), quick());
        let (reader, writer) = both(prober());
        let sent = writer.send(&request, &suspend("ADA"), LIMIT, &rate).await;
        assert_eq!(said(&sent), first);
        // Nobody waits for what comes too late.
        let other = rate.clone();
        let sent = writer.send(&request, &suspend("BOB"), LIMIT, &other).await;
        let unread = reader.read(&request, terms, &other).await.unwrap_err();
        let single = reader
            .read_user(&request, &id("ADA"), LIMIT, &other)
            .await
            .unwrap_err();
        assert_eq!(format!("{:?}", sent.answer), "NotSent");
        for (cause, held_for) in [
            ("OutOfTime".to_owned(), sent.retry_after),
            (format!("{:?}", unread.cause), unread.retry_after),
            (format!("{:?}", single.cause), single.retry_after),
        ] {
            assert_eq!(cause, "OutOfTime");
            let held_for = held_for.unwrap();
            assert!(
                held_for <= Duration::from_mins(50) && held_for > LIMIT,
                "{held_for:?}"
            );
        }
        assert_eq!(peer.heard().len(), 1);
        // A read does the same for a write.
        let (peer_request, rate) = (to(&peer), quick());
        reader.read(&peer_request, terms, &rate).await.unwrap_err();
        let sent = writer
            .send(&peer_request, &suspend("ADA"), LIMIT, &rate.clone())
            .await;
        assert_eq!(format!("{:?}", sent.answer), "NotSent");
        assert_eq!(peer.heard().len(), 2);
    }
    // Other answers hold nothing.
    let bytes = limited("200 OK");
    let peer = Peer::start_asked(move |_| bytes.clone());
    let (_, writer) = both(prober());
    let rate = quick();
    for _ in 0..2 {
        writer.send(&to(&peer), &suspend("ADA"), LIMIT, &rate).await;
    }
    assert_eq!(peer.heard().len(), 2);
}

/// A suspension does not wait for the pages of a read. If it did, neither would end.
#[tokio::test]
async fn a_write_comes_between_two_pages() {
    let (is_written, pages) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let peer = Peer::start_asked({
        let (is_written, pages) = (Arc::clone(&is_written), Arc::clone(&pages));
        move |target| {
            let Some((_, start)) = target.split_once("/scim/Users?startIndex=") else {
                is_written.fetch_or(target == "/scim/Users/U1", Ordering::SeqCst);
                return answer("200 OK", SCIM, r#"{"totalResults":0}"#);
            };
            pages.fetch_add(1, Ordering::SeqCst);
            let start: usize = start.split('&').next().unwrap().parse().unwrap();
            // Until somebody is suspended, the list goes on and on.
            let most = if is_written.load(Ordering::SeqCst) {
                20_000
            } else {
                1
            };
            let users: Vec<_> = (start..=15_000)
                .take(most)
                .map(|id| json!({"id": format!("U{id}")}))
                .collect();
            answer(
                "200 OK",
                SCIM,
                &json!({"totalResults": 15_000, "Resources": users}).to_string(),
            )
        }
    });
    let (reader, writer) = both(prober());
    let rate = quick();
    let reading = tokio::spawn({
        let (request, rate) = (to(&peer), rate.clone());
        let terms = Terms {
            within: LIMIT,
            proven: None,
            round: 0,
        };
        async move { reader.read(&request, terms, &rate).await }
    });
    let deadline = Instant::now() + LIMIT;
    while pages.load(Ordering::SeqCst) < 2 {
        assert!(Instant::now() < deadline, "the read does not begin");
        tokio::task::yield_now().await;
    }
    ends(
        "a suspension",
        writer.send(&to(&peer), &suspend("U1"), LIMIT, &rate),
    )
    .await;
    assert!(is_written.load(Ordering::SeqCst), "it has left");
    let lists = ends("the read", reading).await.unwrap().unwrap();
    assert_eq!(
        format!("{:?}", lists.into_snapshot()),
        "Snapshot(15000 users, 0 groups, members by None)"
    );
}

/// One user or group by its id.
#[tokio::test]
async fn single_users_and_groups() {
    let mut differences = Differences::default();
    let told = |read: Result<Option<String>, Unread>| match read {
        Ok(found) => format!("{found:?}"),
        Err(Unread {
            layer,
            cause,
            retry_after: _,
        }) => format!("{layer:?}: {cause:?}"),
    };
    for (what, bytes, user, group) in [
        (
            "there",
            answer("200 OK", SCIM, r#"{"id":"A"}"#),
            r#"Some("A")"#,
            r#"Some("A")"#,
        ),
        ("not there", answer("404 Not Found", SCIM, ERROR), "None", "None"),
        (
            "not there, in other words",
            answer(
                "404 Not Found",
                "application/json",
                &ERROR.replace("schemas", "Schemas"),
            ),
            "None",
            "None",
        ),
        (
            "a gateway has lost the bridge",
            answer(
                "404 Not Found",
                "application/json",
                r#"{"message":"no Route matched with those values"}"#,
            ),
            "Users: Answered(NotFound)",
            "Groups: Answered(NotFound)",
        ),
        (
            "a front has lost the bridge",
            answer("404 Not Found", "text/plain", "default backend - 404"),
            "Users: Answered(NotFound)",
            "Groups: Answered(NotFound)",
        ),
        (
            "another one",
            answer("200 OK", SCIM, r#"{"id":"a"}"#),
            "Users: Incomplete(Conflict)",
            "Groups: Incomplete(Conflict)",
        ),
        (
            "no id",
            answer("200 OK", SCIM, r#"{"userName":"ada@example.com"}"#),
            "Users: Incomplete(Page(NoId))",
            "Groups: Incomplete(Page(NoId))",
        ),
        (
            "an error with 200",
            answer("200 OK", SCIM, ERROR),
            "Users: Incomplete(Page(NoId))",
            "Groups: Incomplete(Page(NoId))",
        ),
        (
            "a page for browsers",
            answer("200 OK", "text/html", "<html>"),
            "Users: Answered(Page)",
            "Groups: Answered(Page)",
        ),
        (
            "too large",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n{".to_vec(),
            "Users: Incomplete(Page(TooLarge))",
            "Groups: Incomplete(Page(TooLarge))",
        ),
        (
            "401",
            answer("401 Unauthorized", SCIM, ERROR),
            "Users: Answered(Unauthorized)",
            "Groups: Answered(Unauthorized)",
        ),
        (
            "500",
            answer("500 Internal Server Error", SCIM, ERROR),
            "Users: Answered(ServerError(500))",
            "Groups: Answered(ServerError(500))",
        ),
        (
            "no answer",
            Vec::new(),
            "Users: Failed(Connect)",
            "Groups: Failed(Connect)",
        ),
    ] {
        let peer = Peer::start_asked(move |_| bytes.clone());
        let (reader, _) = both(prober());
        let rate = quick();
        let read = ends(what, reader.read_user(&to(&peer), &id("A"), LIMIT, &rate)).await;
        let read = read.map(|found| found.map(|user| user.id.as_str().to_owned()));
        differences.compare(format!("{what}: user"), user, &told(read));
        let read = ends(what, reader.read_group(&to(&peer), &id("A"), LIMIT, &rate)).await;
        let read = read.map(|found| found.map(|group| group.id.as_str().to_owned()));
        differences.compare(format!("{what}: group"), group, &told(read));
        assert_eq!(rate.requests(), 2);
        let heard = peer.heard();
        let lines: Vec<_> = heard.iter().filter_map(|head| head.lines().nth(1)).collect();
        assert_eq!(
            lines,
            ["GET /scim/Users/A HTTP/1.1", "GET /scim/Groups/A HTTP/1.1"],
            "{what}"
        );
    }
    differences.assert_none();
}

/// An answer takes no more memory than there is for it. Then it says nothing.
#[tokio::test]
async fn an_answer_without_memory_is_unclear() {
    let body = format!(r#"{{"id":"ADA","x":"{}"}}"#, "x".repeat(500_000));
    let peer = Peer::start_asked(move |_| answer("200 OK", SCIM, &body));
    let (_, writer) = both(prober());
    for (memory, expected) in [(4 << 20, "Accepted(Some(ADA))"), (400_000, "Unclear")] {
        let writer = writer.clone().charged_to(Memory::new(memory).account("corp"));
        let sent = ends(
            "a write",
            writer.send(&to(&peer), &suspend("ADA"), LIMIT, &quick()),
        )
        .await;
        assert_eq!(said(&sent), expected);
    }
}
