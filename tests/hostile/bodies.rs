//! Bodies: too long, too short, compressed, never-ending.

use std::time::Duration;

use crate::peer::{Act, JSON, LIST, Row, raw, response};

const USERS: &str = "/scim/Users";
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/scim+json";
const BROKEN: &str = "ProtocolError (GET /scim/Users)";
/// 32 MiB of blanks in 32 KiB.
const GZIP_BOMB: &[u8] = include_bytes!("bomb.gz");

fn list(name: &'static str, act: Act, expected: &'static str) -> Row {
    Row::answer(name, USERS, act, expected)
}

/// An answer that claims to be compressed. It is not asked for, and not unpacked.
fn encoded(name: &'static str, encoding: &str, body: &[u8]) -> Row {
    let header = format!("Content-Encoding: {encoding}");
    list(name, Act::Say(response("200 OK", &[JSON, &header], body)), BROKEN)
}

fn compressed() -> Vec<Row> {
    vec![
        encoded("a gzip bomb", "gzip", GZIP_BOMB),
        encoded("a gzip bomb in a gzip bomb", "gzip, gzip", GZIP_BOMB),
        encoded("a deflate bomb", "deflate", &GZIP_BOMB[10..]),
        // A window of 16 MiB and one command that copies the byte before it, for ever.
        encoded(
            "a brotli bomb",
            "br",
            &[0x5b, 0xff, 0xff, 0xff, 0x00, 0x00, 0x20, 0x55, 0x55, 0x55],
        ),
        // A frame of one block that repeats one byte 128 KiB long, without a size.
        encoded(
            "a zstd bomb",
            "zstd",
            &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x03, 0x00, 0x10, 0x20],
        ),
        encoded("an encoding that nobody knows", "x-canary", b"????"),
        list(
            "a plain list that is called gzip",
            Act::Say(response("200 OK", &[JSON, "Content-Encoding: gzip"], LIST)),
            "Connected",
        ),
    ]
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn chunked() -> Vec<Row> {
    let head = format!("{HEAD}\r\nTransfer-Encoding: chunked");
    let say = |body: &[u8]| Act::SayAndClose(raw(&head, body));
    let good = chunk(LIST);
    vec![
        list(
            "a list in one chunk",
            say(&[&good[..], b"0\r\n\r\n"].concat()),
            "Connected",
        ),
        list("a chunk without an end", say(&good), BROKEN),
        list("a chunk of 16 exabytes", say(b"ffffffffffffffff\r\n{"), BROKEN),
        list(
            "a chunk beyond all numbers",
            say(b"fffffffffffffffffffff\r\n{"),
            BROKEN,
        ),
        list("a chunk with a negative size", say(b"-1\r\n{"), BROKEN),
        list("a chunk without a size", say(b"\r\n{"), BROKEN),
        list("a chunk of letters", say(b"xyz\r\n{"), BROKEN),
        list(
            "a chunk extension that never ends",
            Act::Repeat(raw(&head, b"5;a="), vec![b'x'; 16 * 1024]),
            BROKEN,
        ),
        list(
            "chunks of one byte, for ever",
            Act::Repeat(raw(&head, b""), b"1\r\n \r\n".repeat(1000)),
            BROKEN,
        ),
        list(
            "trailers that never end",
            Act::Repeat(
                raw(&head, &[&good[..], b"0\r\n"].concat()),
                b"X-Trailer: x\r\n".repeat(100),
            ),
            BROKEN,
        ),
        list(
            "a length beside chunks",
            Act::SayAndClose(raw(
                &format!("{head}\r\nContent-Length: 4"),
                &[&good[..], b"0\r\n\r\n"].concat(),
            )),
            "Connected",
        ),
        list(
            "chunks under another name",
            Act::SayAndClose(raw(&format!("{HEAD}\r\nTransfer-Encoding: xchunked"), &good)),
            BROKEN,
        ),
    ]
}

pub(crate) fn rows() -> Vec<Row> {
    let promises = |bytes: usize| raw(&format!("{HEAD}\r\nContent-Length: {bytes}"), LIST);
    let tail = LIST.len() - 1;
    let mut rows = vec![
        list(
            "a page in place of a list",
            Act::Say(response(
                "200 OK",
                &["Content-Type: text/html"],
                b"<html>Sign in</html>",
            )),
            BROKEN,
        ),
        Row::answer(
            "a page in place of pong",
            "/ping",
            Act::Say(response(
                "200 OK",
                &["Content-Type: text/html"],
                b"<html>Sign in</html>",
            )),
            "NotABridge (GET /ping)",
        ),
        Row::answer(
            "a page in place of a health report",
            "/health",
            Act::Say(response(
                "200 OK",
                &["Content-Type: text/html"],
                b"<html>Sign in</html>",
            )),
            "Connected",
        ),
        list(
            "an empty body",
            Act::Say(response("200 OK", &[JSON], b"")),
            BROKEN,
        ),
        list(
            "204",
            Act::Say(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
            BROKEN,
        ),
        list(
            "206",
            Act::Say(response("206 Partial Content", &[JSON], LIST)),
            BROKEN,
        ),
        list(
            "a body that says it is a gigabyte",
            Act::SayAndHang(promises(1 << 30)),
            BROKEN,
        ),
        list(
            "a body that is shorter than it says",
            Act::SayAndClose(promises(LIST.len() + 1)),
            BROKEN,
        ),
        list(
            "a body that is longer than it says",
            Act::SayAndClose(promises(tail)),
            BROKEN,
        ),
        list(
            "a body that is cut off by a reset",
            Act::SayAndReset(promises(LIST.len() + 9)),
            BROKEN,
        ),
        list(
            "a body that stops",
            Act::SayAndHang(promises(LIST.len() + 1)),
            "TimedOut (GET /scim/Users)",
        ),
        list(
            "a body that drips",
            Act::Drip(
                response("200 OK", &[JSON], &LIST.repeat(10)),
                Duration::from_millis(50),
            ),
            "TimedOut (GET /scim/Users)",
        ),
        list(
            "a body that never ends",
            Act::Repeat(raw(HEAD, LIST), vec![b' '; 16 * 1024]),
            BROKEN,
        ),
        list(
            "no answer",
            Act::SayAndHang(Vec::new()),
            "TimedOut (GET /scim/Users)",
        ),
        list(
            "an end instead of an answer",
            Act::SayAndClose(Vec::new()),
            "ConnectFailed (GET /scim/Users)",
        ),
        Row::answer(
            "a pong that never ends",
            "/ping",
            Act::Repeat(raw("HTTP/1.1 200 OK", b"pong"), b"pong".repeat(4096)),
            "NotABridge (GET /ping)",
        ),
        Row::answer(
            "a health report of ten megabytes",
            "/health",
            Act::Say(response("200 OK", &[JSON], &b" ".repeat(10 * 1024 * 1024))),
            "Connected",
        ),
        Row::answer(
            "a ping that is not answered",
            "/ping",
            Act::SayAndHang(Vec::new()),
            "TimedOut (GET /ping)",
        ),
        Row::answer(
            "a health report that is not answered",
            "/health",
            Act::SayAndHang(Vec::new()),
            "TimedOut (GET /health)",
        ),
    ];
    rows.extend(compressed());
    rows.extend(chunked());
    rows
}
