//! Answers to writes: what a bridge that means harm can make of them. It gets each request once, and never a say in what
//! is sent next, or where.

use std::{
    collections::HashSet,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use scim_bridge_operator::{
    bridge::{
        Lanes, ProbeRequest,
        scim::{
            memory::Memory,
            rate::Rate,
            write::{DirectoryWriter, Sent},
        },
    },
    domain::{
        connection::schedule::RETRY_AFTER_MAX,
        directory::{
            names::{PlainName, RemoteId, UserName},
            order::{Answer, Order},
        },
    },
};
use tokio::task::spawn_blocking;

use crate::{
    peer::{Act, Asking, CA, Certificate, JSON, LIST, Peer, Row, Stage, raw, response},
    support::{Differences, only, order_for, prober},
    table,
};

/// Long enough for whatever comes to an end by itself, on a machine that has much to do.
const TIMEOUT: Duration = Duration::from_secs(15);

/// More than an answer may take with what it is parsed into, and less than many of these answers hold.
const MEMORY: usize = 3 << 20;

const OK: &str = "200 OK";
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/scim+json";
const ADA: &[u8] = br#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"ADA"}"#;
const ERROR: &[u8] = br#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"detail":"canary"}"#;

fn create() -> Order {
    Order::CreateUser {
        user_name: UserName::parse("ada@example.com").unwrap(),
        given_name: PlainName::parse("Ada").unwrap(),
        family_name: PlainName::parse("Example").unwrap(),
    }
}

/// A suspension of `ADA`.
fn suspend() -> Order {
    Order::SetActive {
        user: RemoteId::parse("ADA").unwrap(),
        active: false,
    }
}

/// What a peer does when somebody is suspended or created.
fn row(name: &'static str, act: Act, expected: &'static str) -> Row {
    Row::answer(name, "/scim", act, expected)
}

/// An answer in JSON.
fn say(name: &'static str, status: &str, body: &[u8], expected: &'static str) -> Row {
    row(name, Act::Say(response(status, &[JSON], body)), expected)
}

const ACCEPTED: &str = "Accepted(Some(ADA))";
const WITHOUT_ID: &str = "Accepted(None)";
const UNCLEAR: &str = "Unclear";
const NOT_SENT: &str = "NotSent";

fn bodies() -> Vec<Row> {
    let chunks = format!("{HEAD}\r\nTransfer-Encoding: chunked");
    let promises = |bytes: usize| raw(&format!("{HEAD}\r\nContent-Length: {bytes}"), ADA);
    let long_id = format!(r#"{{"id":"{}"}}"#, "A".repeat(500_000));
    let deep = |open: &str, close: &str| {
        format!(
            r#"{{"id":"ADA","x":{}{}}}"#,
            open.repeat(100_000),
            close.repeat(100_000)
        )
    };
    let many_fields = r#""field":0,"#.repeat(50_000);
    let many_fields = format!(r#"{{{many_fields}"id":"ADA"}}"#);
    vec![
        say("a user", OK, ADA, ACCEPTED),
        say("nothing", OK, b"", WITHOUT_ID),
        row(
            "204",
            Act::Say(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
            WITHOUT_ID,
        ),
        say("a body of ten megabytes", OK, &b" ".repeat(10 << 20), UNCLEAR),
        row(
            "a body that says it is a terabyte",
            Act::SayAndHang(promises(1 << 40)),
            UNCLEAR,
        ),
        row(
            "a body that never ends",
            Act::Repeat(raw(HEAD, ADA), vec![b' '; 16 * 1024]),
            UNCLEAR,
        ),
        row(
            "chunks that never end",
            Act::Repeat(raw(&chunks, b""), b"1\r\n \r\n".repeat(1000)),
            UNCLEAR,
        ),
        row(
            "a chunk of 16 exabytes",
            Act::SayAndClose(raw(&chunks, b"ffffffffffffffff\r\n{")),
            UNCLEAR,
        ),
        row(
            "a body that drips, and comes",
            Act::Drip(response(OK, &[JSON], ADA), Duration::from_millis(1)),
            ACCEPTED,
        ),
        row(
            "a body that drips, and does not come",
            Act::Drip(response(OK, &[JSON], &ADA.repeat(10)), Duration::from_millis(50)),
            UNCLEAR,
        ),
        row(
            "a body that stops",
            Act::SayAndHang(promises(ADA.len() + 1)),
            UNCLEAR,
        ),
        row(
            "a body that is cut off",
            Act::SayAndClose(promises(ADA.len() + 1)),
            UNCLEAR,
        ),
        row(
            "a body that is cut off by a reset",
            Act::SayAndReset(promises(ADA.len() + 9)),
            UNCLEAR,
        ),
        row(
            "a head, and then a reset",
            Act::SayAndReset(promises(9)[..HEAD.len() + 22].to_vec()),
            UNCLEAR,
        ),
        row("half a head", Act::SayAndClose(HEAD.as_bytes().to_vec()), UNCLEAR),
        row(
            "an end instead of an answer",
            Act::SayAndClose(Vec::new()),
            UNCLEAR,
        ),
        row(
            "a reset instead of an answer",
            Act::SayAndReset(Vec::new()),
            UNCLEAR,
        ),
        row("no answer", Act::SayAndHang(Vec::new()), UNCLEAR),
        row(
            "a gzip bomb",
            Act::Say(response(
                OK,
                &[JSON, "Content-Encoding: gzip"],
                include_bytes!("bomb.gz"),
            )),
            UNCLEAR,
        ),
        say("another user", OK, br#"{"id":"BOB"}"#, UNCLEAR),
        say(
            "the same letters in another case",
            OK,
            br#"{"id":"ada"}"#,
            UNCLEAR,
        ),
        say("two ids", OK, br#"{"id":"ADA","ID":"BOB"}"#, UNCLEAR),
        say(
            "an id that splits a head",
            OK,
            br#"{"id":"ADA\r\nX-Forged: 1"}"#,
            WITHOUT_ID,
        ),
        say("an id that leads elsewhere", OK, br#"{"id":".."}"#, WITHOUT_ID),
        say(
            "an id that ends a filter",
            OK,
            br#"{"id":"\"] or [value pr"}"#,
            WITHOUT_ID,
        ),
        say("an id of half a megabyte", OK, long_id.as_bytes(), WITHOUT_ID),
        say("an id of no text", OK, br#"{"id":{"value":"ADA"}}"#, WITHOUT_ID),
        say(
            "an id that is half a character",
            OK,
            br#"{"id":"\ud800"}"#,
            UNCLEAR,
        ),
        say("bytes that are no text", OK, b"{\"id\":\"\xff\xfe\"}", UNCLEAR),
        say("a list", OK, LIST, UNCLEAR),
        say("an error with 200", OK, ERROR, UNCLEAR),
        say("JSON that breaks off", OK, &ADA[..ADA.len() - 1], UNCLEAR),
        say("two documents", OK, &[ADA, ADA].concat(), UNCLEAR),
        say("no object", OK, b"[]", UNCLEAR),
        say("arrays in arrays", OK, deep("[", "]").as_bytes(), ACCEPTED),
        say(
            "objects in objects",
            OK,
            deep("{\"x\":[", "]}").as_bytes(),
            ACCEPTED,
        ),
        say("fifty thousand fields", OK, many_fields.as_bytes(), ACCEPTED),
        row(
            "a page",
            Act::Say(response(
                OK,
                &["Content-Type: text/html"],
                b"<html>sign in</html>",
            )),
            UNCLEAR,
        ),
    ]
}

fn heads() -> Vec<Row> {
    let forged = response(OK, &[JSON], ADA);
    let provisional = b"HTTP/1.1 100 Continue\r\n\r\n";
    let hints = b"HTTP/1.1 103 Early Hints\r\nLink: <https://evil.invalid>\r\n\r\n";
    let limited = |seconds: &str| {
        let header = format!("Retry-After: {seconds}");
        Act::Say(response("429 Too Many Requests", &[JSON, &header], ERROR))
    };
    vec![
        row(
            "100 once",
            Act::Say([provisional, &forged[..]].concat()),
            ACCEPTED,
        ),
        row("103 once", Act::Say([hints, &forged[..]].concat()), ACCEPTED),
        row(
            "100 for ever",
            Act::Repeat(Vec::new(), provisional.repeat(100)),
            UNCLEAR,
        ),
        row(
            "another protocol is switched to",
            Act::SayAndHang(raw(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade",
                b"",
            )),
            UNCLEAR,
        ),
        row(
            "a refusal, and behind it a user",
            Act::SayAndClose([response("401 Unauthorized", &[JSON], b"{}"), forged.clone()].concat()),
            NOT_SENT,
        ),
        row(
            "nothing, and behind it a user",
            Act::SayAndClose([response("500 Oh", &[], b""), forged.clone()].concat()),
            UNCLEAR,
        ),
        row(
            "a head in a header",
            Act::SayAndClose(raw(
                "HTTP/1.1 500 Oh\r\nX-Split: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0",
                b"",
            )),
            UNCLEAR,
        ),
        row(
            "a bare CR in a header",
            Act::SayAndClose(raw(&format!("{HEAD}\r\nX-Cr: a\rb"), ADA)),
            UNCLEAR,
        ),
        row(
            "two lengths",
            Act::SayAndClose(raw(
                &format!("{HEAD}\r\nContent-Length: 4\r\nContent-Length: 9"),
                ADA,
            )),
            UNCLEAR,
        ),
        row("no HTTP", Act::SayAndClose(b"200 OK".to_vec()), UNCLEAR),
        row(
            "a status of four digits",
            Act::SayAndClose(b"HTTP/1.1 2000 OK\r\n\r\n".to_vec()),
            UNCLEAR,
        ),
        row(
            "headers that never end",
            Act::Repeat(format!("{HEAD}\r\n").into_bytes(), b"X-More: x\r\n".repeat(100)),
            UNCLEAR,
        ),
        row("429 for ever", limited("99999999999999999999"), "RateLimited"),
        row(
            "429 until the year 9999",
            limited("Fri, 31 Dec 9999 23:59:59 GMT"),
            "RateLimited",
        ),
        row("429 with no time", limited("soon"), "RateLimited"),
        say("a user that is not there", "404 Not Found", ERROR, "NotFound"),
        say(
            "a type that nobody knows",
            "400 Bad Request",
            br#"{"scimType":"canary"}"#,
            "Rejected(None)",
        ),
        say(
            "a type of a megabyte",
            "400 Bad Request",
            format!(r#"{{"scimType":"{}"}}"#, "x".repeat(1_000_000)).as_bytes(),
            "Rejected(None)",
        ),
        say(
            "a refusal of ten megabytes",
            "400 Bad Request",
            &b" ".repeat(10 << 20),
            "Rejected(None)",
        ),
    ]
}

fn handshakes() -> Vec<Row> {
    let shows = |name, certificate, expected| Row {
        certificate,
        ..row(name, Act::Say(response(OK, &[JSON], ADA)), expected)
    };
    vec![
        shows("an expired certificate", Certificate::Expired, NOT_SENT),
        shows("a certificate for another name", Certificate::OtherName, NOT_SENT),
        shows("a certificate of its own", Certificate::SelfSigned, NOT_SENT),
        shows("a certificate of ten megabytes", Certificate::Huge, NOT_SENT),
        shows(
            "a certificate is asked for, and not needed",
            Certificate::Mutual(Asking::Optional),
            ACCEPTED,
        ),
        // It says so only after the request has left.
        shows(
            "a certificate is asked for",
            Certificate::Mutual(Asking::Tls13),
            UNCLEAR,
        ),
        Row::tcp("no TLS", Act::SayAndClose(response(OK, &[JSON], ADA)), NOT_SENT),
        Row::tcp("silence", Act::SayAndHang(Vec::new()), NOT_SENT),
        Row::tcp("a reset", Act::SayAndReset(Vec::new()), NOT_SENT),
    ]
}

fn rows() -> Vec<Row> {
    [bodies(), heads(), handshakes()].concat()
}

fn request(url: &str) -> ProbeRequest {
    let mut request = order_for(url, only(&CA.pem));
    request.budget = TIMEOUT;
    request
}

async fn start(row: &Row) -> Peer {
    let row = row.clone();
    spawn_blocking(move || Peer::start(&row)).await.unwrap()
}

struct Outcome {
    sent: Sent,
    held_for: Option<Duration>,
    took: Duration,
    heard: Vec<String>,
}

async fn meet(row: &Row, order: &Order) -> Outcome {
    let peer = start(row).await;
    let prober = Arc::new(prober());
    let writer = DirectoryWriter::new(Arc::clone(&prober), Lanes::new(prober));
    let writer = writer.charged_to(Memory::new(MEMORY).account("corp"));
    let (begun, rate) = (Instant::now(), Rate::per_second(NonZeroU32::MIN));
    let sent = writer.send(&request(&peer.url()), order, TIMEOUT, &rate).await;
    Outcome {
        sent,
        held_for: rate.held_for(),
        took: begun.elapsed(),
        heard: peer.heard(),
    }
}

/// What holds for each answer.
fn check(differences: &mut Differences, name: &str, order: &Order, outcome: &Outcome) {
    let limit = TIMEOUT + TIMEOUT / 10;
    if outcome.took > limit {
        differences.compare(
            name,
            &format!("at most {limit:?}"),
            &format!("{:?}", outcome.took),
        );
    }
    let line = if matches!(order, Order::CreateUser { .. }) {
        "POST /scim/Users*"
    } else {
        "PATCH /scim/Users/ADA*"
    };
    if outcome.heard.iter().any(|heard| heard != line) || outcome.heard.len() > 1 {
        differences.compare(name, &format!("{line} once"), &outcome.heard.join(" "));
    }
    // Only a bridge that got it can have done it.
    let is_done = matches!(
        outcome.sent.answer,
        Answer::Accepted(_) | Answer::NotFound | Answer::Conflict
    );
    if is_done && outcome.heard.is_empty() {
        differences.compare(name, "nothing done", &format!("{:?}", outcome.sent.answer));
    }
    if outcome.held_for.is_some_and(|time| time > RETRY_AFTER_MAX) {
        differences.compare(name, "an hour at most", &format!("{:?}", outcome.held_for));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_has_its_meaning() {
    let rows = rows();
    let names: HashSet<_> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len(), "two rows have one name");
    let order = suspend();
    let outcomes = join_all(rows.iter().map(|row| meet(row, &order))).await;
    let mut differences = Differences::default();
    for (row, outcome) in rows.iter().zip(&outcomes) {
        differences.compare(row.name, row.expected, &format!("{:?}", outcome.sent.answer));
        check(&mut differences, row.name, &order, outcome);
        let is_sent = row.expected != NOT_SENT || !outcome.heard.is_empty();
        if is_sent && outcome.heard.len() != 1 && !matches!(row.certificate, Certificate::Mutual(_)) {
            differences.compare(row.name, "one request", &outcome.heard.len().to_string());
        }
    }
    differences.assert_none();
}

/// All that a probe meets, in answer to somebody who is created: nothing of it repeats or redirects the request.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_probe_meets() {
    let rows: Vec<_> = table::rows()
        .into_iter()
        .map(|row| match row.stage {
            Stage::Answer(_) => Row {
                stage: Stage::Answer("/scim"),
                ..row
            },
            Stage::Tcp => row,
        })
        .collect();
    let order = create();
    let outcomes = join_all(rows.iter().map(|row| meet(row, &order))).await;
    let mut differences = Differences::default();
    for (row, outcome) in rows.iter().zip(&outcomes) {
        check(&mut differences, row.name, &order, outcome);
    }
    differences.assert_none();
}

/// The other host exists, and would take the request and the key.
#[tokio::test(flavor = "multi_thread")]
async fn no_redirect_is_followed() {
    let other = start(&say("elsewhere", OK, ADA, "")).await;
    let mut differences = Differences::default();
    for status in [
        "300 Multiple Choices",
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        for order in [create(), suspend()] {
            let location = format!("Location: {}/scim/Users", other.url());
            let act = Act::Say(response(status, &[&location], b""));
            let outcome = meet(&row("redirect", act, UNCLEAR), &order).await;
            differences.compare(status, UNCLEAR, &format!("{:?}", outcome.sent.answer));
            check(&mut differences, status, &order, &outcome);
        }
    }
    differences.assert_none();
    assert!(other.heard().is_empty(), "{:?}", other.heard());
}
