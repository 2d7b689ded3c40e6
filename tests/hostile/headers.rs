//! Heads of answers.

use std::time::Duration;

use crate::peer::{Act, JSON, LIST, Row, raw, response};

const BROKEN: &str = "ProtocolError (GET /ping)";
const OK_LIST: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/scim+json";

fn ping(name: &'static str, bytes: impl Into<Vec<u8>>, expected: &'static str) -> Row {
    Row::answer(name, "/ping", Act::SayAndClose(bytes.into()), expected)
}

pub(crate) fn rows() -> Vec<Row> {
    let many = (0..200)
        .map(|n| format!("X-Header-{n}: x\r\n"))
        .collect::<Vec<_>>()
        .concat();
    let long = "x".repeat(1024 * 1024);
    let lines = "X-Same: x\r\n".repeat(100_000);
    let pong = |headers: &str| format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 4\r\n\r\npong");
    vec![
        ping("two hundred headers", pong(&many), BROKEN),
        ping("a hundred thousand times the same header", pong(&lines), BROKEN),
        ping(
            "a header of a megabyte",
            pong(&format!("X-Long: {long}\r\n")),
            BROKEN,
        ),
        ping(
            "a header name of a megabyte",
            pong(&format!("{long}: x\r\n")),
            BROKEN,
        ),
        Row::answer(
            "a header that never ends",
            "/ping",
            Act::Repeat(b"HTTP/1.1 200 OK\r\nX-Long: ".to_vec(), vec![b'x'; 16 * 1024]),
            BROKEN,
        ),
        Row::answer(
            "headers that never end",
            "/ping",
            Act::Repeat(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-More: x\r\n".repeat(100)),
            BROKEN,
        ),
        Row::answer(
            "headers that drip",
            "/ping",
            Act::Drip(pong(&many).into_bytes(), Duration::from_millis(100)),
            "TimedOut (GET /ping)",
        ),
        ping("a NUL in a header", pong("X-Nul: a\0b\r\n"), BROKEN),
        ping("a bare CR in a header", pong("X-Cr: a\rb\r\n"), BROKEN),
        ping("a folded header", pong("X-Folded: a\r\n b\r\n"), BROKEN),
        ping("a header without a colon", pong("X-Nothing\r\n"), BROKEN),
        ping("a blank before the colon", pong("Content-Length : 9\r\n"), BROKEN),
        ping("a header without a name", pong(": x\r\n"), BROKEN),
        ping(
            "bytes that are no text in a header",
            [b"HTTP/1.1 200 OK\r\nX-Bytes: \xff\xfe\r\nContent-Length: 4\r\n\r\npong".as_slice()].concat(),
            "Connected",
        ),
        ping("no status", "HTTP/1.1\r\n\r\n", BROKEN),
        ping("a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", BROKEN),
        ping("a status of letters", "HTTP/1.1 abc OK\r\n\r\n", BROKEN),
        ping("a negative status", "HTTP/1.1 -200 OK\r\n\r\n", BROKEN),
        ping(
            "a status beyond all classes",
            "HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n",
            "Connected",
        ),
        ping(
            "a reason of a megabyte",
            format!("HTTP/1.1 200 {long}\r\nContent-Length: 4\r\n\r\npong"),
            BROKEN,
        ),
        ping("HTTP/0.9", "pong", BROKEN),
        ping(
            "HTTP/1.0, whose end nobody vouches for",
            "HTTP/1.0 200 OK\r\n\r\npong",
            "Connected",
        ),
        ping("HTTP/2.0 as a word", "HTTP/2.0 200 OK\r\n\r\npong", BROKEN),
        ping("HTTP/3.7 as a word", "HTTP/3.7 200 OK\r\n\r\npong", BROKEN),
        ping("another protocol", "RTSP/1.0 200 OK\r\n\r\npong", BROKEN),
        ping(
            "nothing but line breaks",
            "\r\n".repeat(50_000),
            "ConnectFailed (GET /ping)",
        ),
        ping(
            "the preface of HTTP/2",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            BROKEN,
        ),
        ping(
            "frames of HTTP/2: GOAWAY",
            b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
            BROKEN,
        ),
        ping(
            "frames of HTTP/2: RST_STREAM",
            b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08".to_vec(),
            BROKEN,
        ),
        Row::answer(
            "a flood of frames of HTTP/2",
            "/ping",
            Act::Repeat(
                b"\0\0\0\x04\0\0\0\0\0".to_vec(),
                b"\0\0\x08\x06\0\0\0\0\0ping-me!".repeat(100),
            ),
            BROKEN,
        ),
        Row::answer(
            "two types of content",
            "/scim",
            Act::Say(response("200 OK", &["Content-Type: text/html", JSON], LIST)),
            "Connected",
        ),
        Row::answer(
            "the same length twice",
            "/scim",
            Act::Say(raw(
                &format!(
                    "{OK_LIST}\r\nContent-Length: {0}\r\nContent-Length: {0}",
                    LIST.len()
                ),
                LIST,
            )),
            "Connected",
        ),
        Row::answer(
            "two lengths",
            "/scim",
            Act::Say(raw(
                &format!("{OK_LIST}\r\nContent-Length: 4\r\nContent-Length: {}", LIST.len()),
                LIST,
            )),
            "ProtocolError (GET /scim/Users)",
        ),
        Row::answer(
            "a negative length",
            "/scim",
            Act::Say(raw(&format!("{OK_LIST}\r\nContent-Length: -1"), LIST)),
            "ProtocolError (GET /scim/Users)",
        ),
        Row::answer(
            "a length with a sign",
            "/scim",
            Act::Say(raw(
                &format!("{OK_LIST}\r\nContent-Length: +{}", LIST.len()),
                LIST,
            )),
            "ProtocolError (GET /scim/Users)",
        ),
        Row::answer(
            "a length beyond all numbers",
            "/scim",
            Act::Say(raw(
                &format!("{OK_LIST}\r\nContent-Length: 99999999999999999999"),
                LIST,
            )),
            "ProtocolError (GET /scim/Users)",
        ),
    ]
}
