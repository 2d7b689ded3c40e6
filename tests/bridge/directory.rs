//! What a reader of users and groups makes of a bridge, and how many requests that takes.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use scim_bridge_operator::{
    bridge::{
        HttpProber, Lanes, ProbeRequest,
        scim::directory::{DirectoryReader, Lists, Rate, Terms, Unread},
        wire::{
            address::AddressPolicy,
            stages::{Observer, Stage},
            trust::Trust,
        },
    },
    domain::directory::snapshot::MembersReadBy,
    leadership::Leadership,
};
use serde_json::{Value, json};

use crate::{
    peer::{Peer, answer, healthy},
    support::{Differences, KEY, LIMIT, SHORT, ends, order_for, prober, prober_under, told},
};

/// What a peer answers to a request for this path and query.
type Script = Box<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

const TERMS: Terms = Terms {
    within: LIMIT,
    proven: None,
    round: 0,
};

fn quick() -> Rate {
    Rate::per_second(NonZeroU32::new(1_000_000).unwrap())
}

fn reader(prober: HttpProber) -> (DirectoryReader, Lanes) {
    let prober = Arc::new(prober);
    let lanes = Lanes::new(Arc::clone(&prober));
    (DirectoryReader::new(prober, lanes.clone()), lanes)
}

fn order_of(peer: &Peer) -> ProbeRequest {
    order_for(&peer.url(), Trust::System)
}

/// The counts of a directory that was read, or why it was not.
fn outcome(read: Result<Lists, Unread>) -> String {
    match read {
        Ok(lists) => format!("{:?}", lists.into_snapshot()),
        Err(Unread {
            layer,
            cause,
            retry_after,
        }) => match retry_after {
            None => format!("{layer:?}: {cause:?}"),
            Some(time) => format!("{layer:?}: {cause:?}, again in {time:?}"),
        },
    }
}

/// Reads once, with its own reader. Returns the result and the number of requests.
async fn read(peer: &Peer, terms: Terms) -> (String, usize) {
    let rate = quick();
    let (reader, _) = reader(prober());
    let order = order_of(peer);
    let seen = outcome(ends("a read", reader.read(&order, terms, &rate)).await);
    let heard = peer.heard();
    assert_eq!(
        rate.requests(),
        heard.len() as u64,
        "each request passes the rate"
    );
    let key = format!("Authorization: Bearer {KEY}").to_lowercase();
    for head in &heard {
        assert!(head.contains("\r\nGET /scim/"), "nothing else is sent: {head}");
        assert!(head.to_lowercase().contains(&key), "without a key: {head}");
        assert!(!head.contains("filter"), "with a filter: {head}");
    }
    (seen, heard.len())
}

/// A row: what the peer does, what came of it, and the number of requests.
async fn check(rows: Vec<(&str, Script, Terms, &str, usize)>) {
    let mut differences = Differences::default();
    for (name, script, terms, expected, requests) in rows {
        let peer = Peer::start_asked(script);
        let (seen, asked) = read(&peer, terms).await;
        differences.compare(
            name,
            &format!("{expected} after {requests}"),
            &format!("{seen} after {asked}"),
        );
    }
    differences.assert_none();
}

/// The resource of a target, its startIndex and its count.
fn asked(target: &str) -> (&str, usize, usize) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let number = |name: &str| {
        query
            .split('&')
            .find_map(|part| part.strip_prefix(name))
            .map_or(0, |text| text.parse().unwrap())
    };
    (
        path.strip_prefix("/scim/").unwrap(),
        number("startIndex="),
        number("count="),
    )
}

fn json_answer(body: &Value) -> Vec<u8> {
    answer("200 OK", "application/scim+json", &body.to_string())
}

fn page(total: usize, entries: &[Value]) -> Vec<u8> {
    json_answer(&json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": total,
        "Resources": entries,
    }))
}

fn user(number: usize) -> Value {
    json!({"id": format!("U{number:05}"), "userName": format!("u{number}@example.com"), "active": true})
}

fn users(number: usize) -> Vec<Value> {
    (0..number).map(user).collect()
}

fn group(number: usize) -> Value {
    json!({"id": format!("G{number:05}"), "displayName": format!("group {number}")})
}

fn group_with(number: usize, members: &Value) -> Value {
    let mut group = group(number);
    group["members"] = members.clone();
    group
}

fn groups(number: usize) -> Vec<Value> {
    (0..number).map(group).collect()
}

/// The entries that a request asks for, at most `most`.
fn slice(entries: &[Value], start: usize, count: usize, most: usize) -> Vec<u8> {
    let rest = entries.iter().skip(start.saturating_sub(1));
    let sent: Vec<_> = rest.take(count.min(most)).cloned().collect();
    page(entries.len(), &sent)
}

/// A bridge with these users and groups, which does not serve single groups. Pages have at most so many entries.
fn bridge(users: Vec<Value>, groups: Vec<Value>, most: usize) -> Script {
    Box::new(move |target| match asked(target) {
        ("Users", start, count) => slice(&users, start, count, most),
        ("Groups", start, count) => slice(&groups, start, count, most),
        _ => answer("404 Not Found", "application/scim+json", "{}"),
    })
}

/// A bridge without groups that answers requests for users like this.
fn with_users(script: impl Fn(usize, usize) -> Vec<u8> + Send + Sync + 'static) -> Script {
    Box::new(move |target| match asked(target) {
        ("Users", start, count) => script(start, count),
        _ => page(0, &[]),
    })
}

fn always(bytes: &[u8]) -> Script {
    let bytes = bytes.to_vec();
    with_users(move |_, _| bytes.clone())
}

#[tokio::test]
async fn lists() {
    let in_turns = AtomicU64::new(0);
    let growing = AtomicU64::new(0);
    check(vec![
        (
            "nothing",
            bridge(users(0), groups(0), 100),
            TERMS,
            "Snapshot(0 users, 0 groups, members by None)",
            4,
        ),
        (
            "the cost of 250 users and 120 groups: ⌈250/100⌉ + ⌈120/100⌉ + 2",
            bridge(
                users(250),
                (0..120)
                    .map(|number| group_with(number, &json!([{"value": "U00001"}])))
                    .collect(),
                100,
            ),
            TERMS,
            "Snapshot(250 users, 120 groups, members by Some(GroupList))",
            7,
        ),
        (
            "full pages",
            bridge(users(200), groups(0), 100),
            TERMS,
            "Snapshot(200 users, 0 groups, members by None)",
            5,
        ),
        (
            "short pages",
            bridge(users(100), groups(0), 40),
            TERMS,
            "Snapshot(100 users, 0 groups, members by None)",
            6,
        ),
        (
            "everything at once, for every index",
            with_users(|_, _| page(250, &users(250))),
            TERMS,
            "Snapshot(250 users, 0 groups, members by None)",
            4,
        ),
        (
            "the last page again beyond the end",
            with_users(|start, count| slice(&users(150), start.min(101), count, 100)),
            TERMS,
            "Snapshot(150 users, 0 groups, members by None)",
            5,
        ),
        (
            "another order in every other answer",
            with_users(move |start, count| {
                let mut users = users(150);
                if in_turns.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
                    users.rotate_left(30);
                }
                slice(&users, start, count, 100)
            }),
            TERMS,
            "Snapshot(150 users, 0 groups, members by None)",
            7,
        ),
        (
            "the first page for every index",
            with_users(|_, _| page(150, &users(100))),
            TERMS,
            "Users: Incomplete(PageRepeats)",
            2,
        ),
        (
            "the size of the page as the total",
            with_users(|start, count| page(100, &users(250)[start - 1..(start - 1 + count).min(250)])),
            TERMS,
            "Users: Incomplete(MoreThanTotal)",
            2,
        ),
        (
            "a total that grows",
            with_users(move |start, _| {
                let total = growing.fetch_add(1, Ordering::Relaxed) + 300;
                page(usize::try_from(total).unwrap(), &[user(start)])
            }),
            TERMS,
            "Users: Incomplete(TotalChanged)",
            2,
        ),
        (
            "fewer than the total",
            with_users(|start, count| {
                let mut sent = users(40);
                sent.drain(..(start - 1).min(40));
                sent.truncate(count);
                page(41, &sent)
            }),
            TERMS,
            "Users: Incomplete(FewerThanTotal)",
            2,
        ),
        (
            "one user twice",
            always(&page(2, &[user(1), user(1)])),
            TERMS,
            "Users: Incomplete(IdTwice)",
            1,
        ),
        (
            "no total",
            always(&json_answer(&json!({"Resources": [user(1)]}))),
            TERMS,
            "Users: Incomplete(Page(NoTotal))",
            1,
        ),
    ])
    .await;
}

#[tokio::test]
async fn hostile_lists() {
    let long = |bytes: usize| "n".repeat(bytes);
    check(vec![
        (
            "ids of 10 KB",
            always(&page(1, &[json!({"id": long(10 * 1024)})])),
            TERMS,
            "Users: Incomplete(Page(NoId))",
            1,
        ),
        (
            "a name of 1 MiB, which is not kept",
            always(&page(1, &[json!({"id": "U1", "userName": long(1024 * 1024)})])),
            TERMS,
            "Snapshot(1 users, 0 groups, members by None)",
            4,
        ),
        (
            "more entries than anybody has",
            always(&page(1_000_000_000, &[user(1)])),
            TERMS,
            "Users: Incomplete(TooManyEntries)",
            1,
        ),
        (
            "27 MB of entries, and more to come",
            with_users(move |start, _| {
                let name = long(1000);
                let entries: Vec<_> = (start..start + 2000)
                    .map(|number| json!({"id": number, "userName": name, "name": {"givenName": name, "familyName": name}}))
                    .collect();
                page(100_000, &entries)
            }),
            TERMS,
            "Users: Incomplete(TooLarge)",
            5,
        ),
        (
            "users and groups that are too large together",
            Box::new(|target| {
                // Each takes 6.5 MB: three users and two groups fit.
                let values: Vec<_> = (0..12_000).map(|value| json!({"value": format!("{value:0500}")})).collect();
                match asked(target) {
                    ("Users", start @ 1..=3, _) => page(3, &[json!({"id": start, "groups": values})]),
                    ("Users", ..) => page(3, &[]),
                    (_, start, _) => page(9, &[group_with(start, &Value::Array(values))]),
                }
            }),
            TERMS,
            "Groups: Incomplete(TooLarge)",
            7,
        ),
        (
            "each page is too large",
            always(b"HTTP/1.1 200 OK\r\nContent-Type: application/scim+json\r\nContent-Length: 9000000\r\n\r\n{"),
            TERMS,
            "Users: Incomplete(Page(TooLarge))",
            7,
        ),
        (
            "pages of more than twelve are too large",
            with_users(|start, count| {
                if count > 12 {
                    b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n{".to_vec()
                } else {
                    slice(&users(25), start, count, 100)
                }
            }),
            TERMS,
            "Snapshot(25 users, 0 groups, members by None)",
            9,
        ),
    ])
    .await;
}

/// How far it comes depends on speed; that it ends does not.
#[tokio::test]
async fn a_list_without_end_ends_in_time() {
    let peer = Peer::start_asked(with_users(|start, _| page(200_000, &[user(start)])));
    let (reader, _) = reader(prober());
    let terms = Terms {
        within: SHORT,
        ..TERMS
    };
    let seen = outcome(ends("a read", reader.read(&order_of(&peer), terms, &quick())).await);
    assert_eq!(seen, "Users: OutOfTime");
}

#[tokio::test]
async fn answers_that_are_no_page() {
    let status = |line: &str, headers: &str| {
        let body =
            r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"detail":"ada@example.com"}"#;
        format!(
            "HTTP/1.1 {line}\r\nContent-Type: application/scim+json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    let on_second_page = |bytes: Vec<u8>| -> Script {
        with_users(move |start, count| {
            if start == 1 {
                slice(&users(250), start, count, 100)
            } else {
                bytes.clone()
            }
        })
    };
    let for_groups = |bytes: Vec<u8>| -> Script {
        Box::new(move |target| match asked(target) {
            ("Users", start, count) => slice(&users(3), start, count, 100),
            _ => bytes.clone(),
        })
    };
    let limited = status("429 Too Many Requests", "Retry-After: 30\r\n");
    check(vec![
        (
            "429 with a time",
            on_second_page(limited.clone()),
            TERMS,
            "Users: Answered(RateLimited), again in 30s",
            2,
        ),
        (
            "429 without a time",
            on_second_page(status("429 Too Many Requests", "")),
            TERMS,
            "Users: Answered(RateLimited)",
            2,
        ),
        (
            "503 with a time",
            on_second_page(status("503 Service Unavailable", "Retry-After: 120\r\n")),
            TERMS,
            "Users: Answered(Unavailable(503)), again in 120s",
            2,
        ),
        (
            "500",
            on_second_page(status("500 Internal Server Error", "")),
            TERMS,
            "Users: Answered(ServerError(500))",
            2,
        ),
        (
            "401 in the middle",
            on_second_page(status("401 Unauthorized", "")),
            TERMS,
            "Users: Answered(Unauthorized)",
            2,
        ),
        (
            "401 for groups",
            for_groups(status("401 Unauthorized", "")),
            TERMS,
            "Groups: Answered(Unauthorized)",
            3,
        ),
        (
            "403",
            for_groups(status("403 Forbidden", "")),
            TERMS,
            "Groups: Answered(Forbidden)",
            3,
        ),
        (
            "a front's 403",
            for_groups(answer("403 Forbidden", "text/html", "<html>no</html>")),
            TERMS,
            "Groups: Answered(Blocked(403))",
            3,
        ),
        (
            "404",
            for_groups(status("404 Not Found", "")),
            TERMS,
            "Groups: Answered(NotFound)",
            3,
        ),
        (
            "a redirect, which nobody follows",
            on_second_page(status("307 Temporary Redirect", "Location: /scim/Users?startIndex=101&count=100\r\n")),
            TERMS,
            "Users: Answered(Redirect(307))",
            2,
        ),
        (
            "206, with a list",
            always(&String::from_utf8(page(1, &[user(1)])).unwrap().replace("200 OK", "206 Partial Content").into_bytes()),
            TERMS,
            "Users: Answered(Unexpected(206))",
            1,
        ),
        (
            "a page for browsers",
            on_second_page(answer("200 OK", "text/html", "<html>sign in</html>")),
            TERMS,
            "Users: Answered(Page)",
            2,
        ),
        (
            "an error with 200",
            on_second_page(status("200 OK", "")),
            TERMS,
            "Users: Answered(Foreign)",
            2,
        ),
        (
            "a compressed list",
            on_second_page(status("200 OK", "Content-Encoding: gzip\r\n")),
            TERMS,
            "Users: Answered(Encoded)",
            2,
        ),
        (
            "a body that breaks off",
            on_second_page(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"totalResults\":\r\nno size\r\n".to_vec(),
            ),
            TERMS,
            "Users: Answered(Broken)",
            2,
        ),
        (
            "no answer",
            on_second_page(Vec::new()),
            TERMS,
            "Users: Failed(Connect)",
            2,
        ),
    ])
    .await;
}

#[tokio::test]
async fn members() {
    let proven = |way| Terms {
        proven: Some(way),
        ..TERMS
    };
    // Single groups show members from this one on.
    let from = |first: usize, number: usize| -> Script {
        Box::new(move |target| match asked(target) {
            ("Users", start, count) => slice(&users(3), start, count, 100),
            ("Groups", start, count) => slice(&groups(number), start, count, 100),
            (path, ..) => {
                let number: usize = path.strip_prefix("Groups/G").unwrap().parse().unwrap();
                let members = if number >= first {
                    json!([{"value": "U00001"}])
                } else {
                    json!([])
                };
                json_answer(&group_with(number, &members))
            }
        })
    };
    let single = |bytes: Vec<u8>| -> Script {
        Box::new(move |target| match asked(target) {
            ("Users", start, count) => slice(&users(3), start, count, 100),
            ("Groups", start, count) => slice(&groups(5), start, count, 100),
            _ => bytes.clone(),
        })
    };
    let mut member = user(1);
    member["groups"] = json!([{"value": "G00001"}]);
    let limited =
        || b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n".to_vec();
    check(vec![
        (
            "the list of groups shows them",
            bridge(
                users(3),
                vec![group(0), group_with(1, &json!([{"value": "U00001"}]))],
                100,
            ),
            proven(MembersReadBy::Group),
            "Snapshot(3 users, 2 groups, members by Some(GroupList))",
            4,
        ),
        (
            "the list of users shows them",
            bridge(vec![member], groups(5), 100),
            TERMS,
            "Snapshot(1 users, 5 groups, members by Some(UserGroups))",
            4,
        ),
        (
            "the list showed them before",
            from(0, 5),
            proven(MembersReadBy::GroupList),
            "Snapshot(3 users, 5 groups, members by None)",
            4,
        ),
        (
            "single groups showed them before",
            from(9, 5),
            proven(MembersReadBy::Group),
            "Snapshot(3 users, 5 groups, members by None)",
            9,
        ),
        (
            "the first group shows one: the others are read, too",
            from(0, 5),
            TERMS,
            "Snapshot(3 users, 5 groups, members by Some(Group))",
            9,
        ),
        (
            "the third does",
            from(2, 5),
            TERMS,
            "Snapshot(3 users, 5 groups, members by Some(Group))",
            9,
        ),
        (
            "the fourth does, and was not tried",
            from(3, 5),
            TERMS,
            "Snapshot(3 users, 5 groups, members by None)",
            7,
        ),
        (
            "the fourth does, in the next round",
            from(3, 5),
            Terms { round: 1, ..TERMS },
            "Snapshot(3 users, 5 groups, members by Some(Group))",
            9,
        ),
        (
            "a round beyond all bounds",
            from(9, 5),
            Terms {
                round: u32::MAX,
                ..TERMS
            },
            "Snapshot(3 users, 5 groups, members by None)",
            7,
        ),
        (
            "fewer groups than are tried",
            from(9, 2),
            TERMS,
            "Snapshot(3 users, 2 groups, members by None)",
            6,
        ),
        (
            "single groups are not served",
            bridge(users(3), groups(5), 100),
            TERMS,
            "Snapshot(3 users, 5 groups, members by None)",
            5,
        ),
        (
            "single groups are no longer served",
            bridge(users(3), groups(5), 100),
            proven(MembersReadBy::Group),
            "Groups: Answered(NotFound)",
            5,
        ),
        (
            "429 for a single group",
            single(limited()),
            TERMS,
            "Groups: Answered(RateLimited), again in 7s",
            5,
        ),
        (
            "another group",
            single(json_answer(&group_with(7, &json!([{"value": "U00001"}])))),
            TERMS,
            "Groups: Incomplete(Conflict)",
            5,
        ),
        (
            "a group without an id",
            single(json_answer(&json!({"members": []}))),
            TERMS,
            "Groups: Incomplete(Page(NoId))",
            5,
        ),
    ])
    .await;
}

/// An id is one segment of a path, with all that may be in it.
#[tokio::test]
async fn ids_lead_nowhere_else() {
    let id = "a/../b?c#d%2e&e;f";
    let peer = Peer::start_asked(move |target| match target.split('?').next() {
        Some("/scim/Users") => page(0, &[]),
        Some("/scim/Groups") => {
            let (_, start, count) = asked(target);
            slice(&[json!({"id": id})], start, count, 100)
        }
        _ => json_answer(&json!({"id": id, "members": [{"value": "U1"}]})),
    });
    let seen = read(&peer, TERMS).await;
    assert_eq!(
        seen,
        (
            "Snapshot(0 users, 1 groups, members by Some(Group))".to_owned(),
            5
        )
    );
    let last = peer.heard().pop().unwrap();
    assert!(
        last.contains("GET /scim/Groups/a%2F..%2Fb%3Fc%23d%252e%26e%3Bf HTTP/1.1\r\n"),
        "{last}"
    );
}

#[tokio::test]
async fn the_rules_of_a_probe_hold() {
    let rate = quick();
    let ended = Leadership::limited(LIMIT);
    ended.renew(Instant::now());
    ended.end();
    let plain = Peer::start(healthy);
    let tls = Peer::start_tls("127.0.0.1", "Test CA", healthy);
    for (name, prober, peer, expected) in [
        ("no leader", prober().during(ended), &plain, "Users: NotLeading"),
        (
            "no address of the policy",
            prober_under(AddressPolicy::default()),
            &plain,
            "Users: Failed(AddressDenied(Special))",
        ),
        (
            "no certificate that is trusted",
            prober(),
            &tls,
            "Users: Failed(CertificateUntrusted(Incomplete(System)))",
        ),
    ] {
        let (reader, _) = reader(prober);
        let seen = outcome(ends(name, reader.read(&order_of(peer), TERMS, &rate)).await);
        assert_eq!(seen, expected, "{name}");
        assert!(peer.heard().is_empty(), "{name}: {:?}", peer.heard());
    }
}

#[tokio::test]
async fn a_page_has_the_time_of_a_probe() {
    let peer = Peer::start_asked(with_users(|_, _| {
        thread::park();
        Vec::new()
    }));
    let (reader, _) = reader(prober());
    let order = ProbeRequest {
        budget: SHORT,
        ..order_of(&peer)
    };
    let seen = outcome(ends("a silent page", reader.read(&order, TERMS, &quick())).await);
    assert_eq!(seen, "Users: Failed(TimedOut(Answer))");
    assert_eq!(peer.heard().len(), 1);
}

/// Records each stage, as a collector of traces gets it.
#[derive(Debug, Default)]
struct Stages(Mutex<Vec<String>>);

impl Observer for Stages {
    fn passed(&self, stage: Stage<'_>, _: Duration) {
        self.0.lock().unwrap().push(format!("{stage:?}"));
    }

    fn ended(&self, _: Duration) {}
}

#[tokio::test]
async fn each_page_is_a_step_of_a_trace() {
    let peer = Peer::start_asked(|target| match asked(target) {
        ("Users", start, count) => slice(&users(1), start, count, 100),
        _ => answer("401 Unauthorized", "application/json", "{}"),
    });
    let (of_probes, of_pages) = (Arc::<Stages>::default(), Arc::<Stages>::default());
    let (reader, _) = reader(prober().observed_by(Arc::<Stages>::clone(&of_probes)));
    let reader = reader.observed_by(Arc::<Stages>::clone(&of_pages));
    let seen = outcome(ends("a read", reader.read(&order_of(&peer), TERMS, &quick())).await);
    assert_eq!(seen, "Groups: Answered(Unauthorized)");
    assert_eq!(
        *of_pages.0.lock().unwrap(),
        [
            "Connected",
            "Listed(Users, Ok(Document(())))",
            "Connected",
            "Listed(Users, Ok(Document(())))",
            "Connected",
            "Listed(Groups, Ok(Unauthorized))",
        ]
    );
    assert!(of_probes.0.lock().unwrap().is_empty(), "a page is no probe");
}

/// A gate that stays open once it was opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let (open, changed) = &*self.0;
        let waited = changed.wait_timeout_while(open.lock().unwrap(), LIMIT, |open| !*open);
        assert!(!waited.unwrap().1.timed_out(), "the gate does not open");
    }

    fn is_open(&self) -> bool {
        *self.0.0.lock().unwrap()
    }
}

/// The last page of a long list comes only after a whole probe was answered. If a probe waited for the list, neither
/// would end.
#[tokio::test]
async fn a_probe_comes_between_two_pages() {
    let (begun, probed) = (Gate::default(), Gate::default());
    let peer = Peer::start_asked({
        let (begun, probed) = (begun.clone(), probed.clone());
        move |target| match asked_or_probe(target) {
            Some(("Users", start, count)) => {
                begun.open();
                // Until the probe is through, the list goes on and on: one user in each page.
                let most = if probed.is_open() { 100_000 } else { 1 };
                slice(&users(15_000), start, count.max(most), most)
            }
            Some(_) => page(0, &[]),
            None => healthy(target),
        }
    });
    let (reader, lanes) = reader(prober());
    let order = order_of(&peer);
    let reading = tokio::spawn({
        let order = order.clone();
        async move { outcome(reader.read(&order, TERMS, &quick()).await) }
    });
    tokio::task::spawn_blocking({
        let begun = begun.clone();
        move || begun.pass()
    })
    .await
    .unwrap();
    let exchange = ends("a probe", lanes.probe(order)).await.unwrap();
    assert_eq!(told(None, &exchange), "Connected");
    assert!(!reading.is_finished(), "the list is still being read");
    probed.open();
    let seen = ends("the read", reading).await.unwrap();
    assert_eq!(seen, "Snapshot(15000 users, 0 groups, members by None)");
    // The probe had the lane for itself: no page came between its requests.
    let heard = peer.heard();
    let of_the_probe: Vec<_> = heard
        .iter()
        .enumerate()
        .filter(|(_, head)| !head.contains("count=100 "))
        .map(|(number, _)| number)
        .collect();
    assert_eq!(of_the_probe.len(), 4, "{of_the_probe:?}");
    assert_eq!(of_the_probe[3] - of_the_probe[0], 3, "{of_the_probe:?}");
}

/// A request for a list; `None` for one of a probe.
fn asked_or_probe(target: &str) -> Option<(&str, usize, usize)> {
    target.ends_with("count=100").then(|| asked(target))
}

/// While a probe has the lane, no page is asked for, and the read ends in its own time.
#[tokio::test]
async fn a_page_waits_for_its_turn() {
    let (begun, over) = (Gate::default(), Gate::default());
    let peer = Peer::start({
        let (begun, over) = (begun.clone(), over.clone());
        move |path| {
            if path == "/ping" {
                begun.open();
                over.pass();
            }
            healthy(path)
        }
    });
    let (reader, lanes) = reader(prober());
    let order = order_of(&peer);
    let probing = tokio::spawn({
        let order = order.clone();
        async move { lanes.probe(order).await }
    });
    tokio::task::spawn_blocking(move || begun.pass()).await.unwrap();
    let terms = Terms {
        within: Duration::from_millis(200),
        ..TERMS
    };
    let seen = outcome(ends("a read", reader.read(&order, terms, &quick())).await);
    assert_eq!(seen, "Users: OutOfTime");
    assert_eq!(peer.heard().len(), 1, "the probe's first request alone");
    over.open();
    let exchange = ends("the probe", probing).await.unwrap().unwrap();
    assert_eq!(told(None, &exchange), "Connected");
}
