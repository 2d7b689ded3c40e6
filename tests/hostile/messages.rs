//! The order of messages: answers that nobody asked for, provisional ones for ever, and when to come back.

use crate::peer::{Act, JSON, Row, healthy, raw, response};

fn ping(name: &'static str, act: Act, expected: &'static str) -> Row {
    Row::answer(name, "/ping", act, expected)
}

fn limited(name: &'static str, retry_after: &str) -> Row {
    let header = format!("Retry-After: {retry_after}");
    let act = Act::Say(response("429 Too Many Requests", &[JSON, &header], b"{}"));
    Row::answer(name, "/scim", act, "RateLimited (GET /scim/Users)")
}

pub(crate) fn rows() -> Vec<Row> {
    let provisional = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
    let hints = b"HTTP/1.1 103 Early Hints\r\nLink: <https://evil.invalid>\r\n\r\n".repeat(100);
    let pong = healthy("/ping");
    let forged = response("401 Unauthorized", &[JSON], b"{}");
    let digits = "9".repeat(60_000);
    let mut rows = vec![
        ping(
            "100 Continue for ever",
            Act::Repeat(Vec::new(), provisional),
            "TimedOut (GET /ping)",
        ),
        ping(
            "103 Early Hints for ever",
            Act::Repeat(Vec::new(), hints),
            "TimedOut (GET /ping)",
        ),
        ping(
            "100 Continue once",
            Act::Say([b"HTTP/1.1 100 Continue\r\n\r\n", &pong[..]].concat()),
            "Connected",
        ),
        ping(
            "another protocol is switched to",
            Act::SayAndHang(raw(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade",
                b"",
            )),
            "Connected",
        ),
        // Desync: were the second answer taken for that to the next request, the peer would choose what the key meets.
        ping(
            "an answer to the next request is sent ahead",
            Act::SayAndClose([&pong[..], &forged[..]].concat()),
            "Connected",
        ),
        ping(
            "answers to all requests are sent ahead",
            Act::SayAndHang([&pong[..], &forged, &forged, &forged].concat()),
            "Connected",
        ),
        ping(
            "an answer behind a line break",
            Act::Say([b"\r\n", &pong[..]].concat()),
            "Connected",
        ),
        ping(
            "the connection ends after each answer, unannounced",
            Act::SayAndClose(pong.clone()),
            "Connected",
        ),
        ping(
            "the connection ends after each answer, announced",
            Act::SayAndClose(response("200 OK", &["Connection: close"], b"pong")),
            "Connected",
        ),
        ping("a reset after the answer", Act::SayAndReset(pong), "Connected"),
        Row::answer(
            "a challenge to log in otherwise",
            "/scim",
            Act::Say(response(
                "401 Unauthorized",
                &["WWW-Authenticate: Basic realm=canary"],
                b"",
            )),
            "BlockedByProxy (GET /scim/Users)",
        ),
        Row::answer(
            "a proxy that wants to be logged in to",
            "/scim",
            Act::Say(response(
                "407 Proxy Authentication Required",
                &["Proxy-Authenticate: Basic"],
                b"",
            )),
            "BlockedByProxy (GET /scim/Users)",
        ),
        Row::answer(
            "a request to try elsewhere",
            "/scim",
            Act::Say(response("421 Misdirected Request", &[], b"")),
            "BridgeUnavailable (GET /scim/Users)",
        ),
    ];
    rows.extend([
        limited("to come back in a century", "Fri, 31 Dec 2126 23:59:59 GMT"),
        limited("to come back in 3 * 10^9 seconds", "3155760000"),
        limited("to have come back long ago", "Thu, 01 Jan 1970 00:00:00 GMT"),
        limited("to come back before now", "-1"),
        limited("to come back after sixty thousand digits", &digits),
        limited(
            "to come back at a date that is none",
            "Mon, 99 Foo 2026 25:61:61 GMT",
        ),
        limited("to come back in a list", "1, 2, 3"),
        limited("to come back in NaN", "NaN"),
        limited("to come back in a fraction", "1.5"),
    ]);
    rows
}
