//! Handshakes: certificates that prove nothing, and peers that never come to an end.

use std::time::Duration;

use crate::peer::{Act, Asking, Certificate, Row, response};

const TLS: &str = "TlsFailed (GET /ping)";
const VERSION: &str = "TlsFailed (GET /ping: the server offers no TLS version from 1.2 on)";
const SUITES: &str = "TlsFailed (GET /ping: the server finds no cipher suite, group or signature in common)";
const CLIENT: &str = "TlsFailed (GET /ping: the server asks for a client certificate)";
const NAME: &str = "TlsFailed (GET /ping: the server does not know the name it was asked for)";
const NOT_TLS: &str = "TlsFailed (GET /ping: the peer does not speak TLS)";
const INTERNAL: &str = "TlsFailed (GET /ping: the server reports an internal error)";
const CLOSED: &str = "TlsFailed (GET /ping: the peer closed the connection during the handshake)";

/// The answer of a server of this version and cipher suite: a `ServerHello` (RFC 5246, section 7.4.1.3), followed by the
/// end of its flight.
fn server_hello(version: u8, suite: [u8; 2]) -> Vec<u8> {
    let mut hello = vec![3, version];
    hello.extend([7; 32]);
    // No session; no compression.
    hello.extend([0, suite[0], suite[1], 0]);
    let mut handshake = vec![2, 0, 0, u8::try_from(hello.len()).unwrap()];
    handshake.extend(hello);
    // ServerHelloDone.
    handshake.extend([14, 0, 0, 0]);
    record(22, version, &handshake)
}

/// `TLS_RSA_WITH_AES_128_CBC_SHA`: static RSA.
const STATIC_RSA: [u8; 2] = [0x00, 0x2f];
/// `TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA`
const CBC: [u8; 2] = [0xc0, 0x13];
/// `TLS_DHE_RSA_WITH_AES_128_GCM_SHA256`
const DHE: [u8; 2] = [0x00, 0x9e];

/// A TLS record.
fn record(kind: u8, version: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 3, version, high, low], content].concat()
}

/// A fatal alert.
fn alert(description: u8) -> Vec<u8> {
    record(21, 3, &[2, description])
}

pub(crate) fn rows() -> Vec<Row> {
    let hang = |bytes: Vec<u8>| Act::SayAndHang(bytes);
    vec![
        Row::shows("a healthy bridge", Certificate::Valid, "Connected"),
        Row::shows(
            "an expired certificate",
            Certificate::Expired,
            "CertificateExpired (GET /ping)",
        ),
        Row::shows(
            "a certificate of the future",
            Certificate::NotYetValid,
            "CertificateExpired (GET /ping)",
        ),
        Row::shows(
            "a certificate for another name",
            Certificate::OtherName,
            "CertificateNameMismatch (GET /ping)",
        ),
        Row::shows(
            "a self-signed certificate",
            Certificate::SelfSigned,
            "CertificateUntrusted (GET /ping)",
        ),
        Row::shows(
            "an authority that nobody knows",
            Certificate::OtherAuthority,
            "CertificateUntrusted (GET /ping)",
        ),
        Row::shows("a chain of three", Certificate::Chain(3), "Connected"),
        Row::shows(
            "a chain of a hundred",
            Certificate::Chain(100),
            "CertificateUntrusted (GET /ping)",
        ),
        Row::shows("a certificate of ten megabytes", Certificate::Huge, TLS),
        Row::shows(
            "a certificate is asked for by TLS 1.3",
            Certificate::Mutual(Asking::Tls13),
            CLIENT,
        ),
        Row::shows(
            "a certificate is asked for: certificate_required",
            Certificate::Mutual(Asking::Tls12(116)),
            CLIENT,
        ),
        Row::shows(
            "a certificate is asked for: handshake_failure",
            Certificate::Mutual(Asking::Tls12(40)),
            CLIENT,
        ),
        Row::shows(
            "a certificate is asked for: bad_certificate",
            Certificate::Mutual(Asking::Tls12(42)),
            CLIENT,
        ),
        Row::shows(
            "a certificate is asked for, and not missed",
            Certificate::Mutual(Asking::Optional),
            "Connected",
        ),
        Row::asking(
            "a certificate is missed: nginx",
            Act::SayAndClose(response(
                "400 Bad Request",
                &["Content-Type: text/html"],
                b"<html><head><title>400 No required SSL certificate was sent</title></head></html>",
            )),
            CLIENT,
        ),
        Row::asking(
            "a certificate is missed: an end",
            Act::SayAndClose(Vec::new()),
            CLIENT,
        ),
        Row::asking(
            "a certificate is missed: a reset",
            Act::SayAndReset(Vec::new()),
            CLIENT,
        ),
        Row::asking(
            "a certificate is asked for, and something else is missed",
            Act::Say(response("503 Service Unavailable", &[], b"")),
            "Connected",
        ),
        Row::shows("HTTP/2 and nothing else", Certificate::OnlyHttp2, "Connected"),
        Row::tcp("TLS 1.0 only", hang(server_hello(1, STATIC_RSA)), VERSION),
        Row::tcp("TLS 1.1 only", hang(server_hello(2, STATIC_RSA)), VERSION),
        Row::tcp("SSL 3 only", hang(server_hello(0, STATIC_RSA)), VERSION),
        Row::tcp(
            "TLS 1.2 with static RSA",
            hang(server_hello(3, STATIC_RSA)),
            SUITES,
        ),
        Row::tcp("TLS 1.2 with CBC", hang(server_hello(3, CBC)), SUITES),
        Row::tcp("TLS 1.2 with DHE", hang(server_hello(3, DHE)), SUITES),
        Row::tcp("alert: handshake failure", Act::SayAndClose(alert(40)), SUITES),
        Row::tcp(
            "alert: insufficient security",
            Act::SayAndClose(alert(71)),
            SUITES,
        ),
        Row::tcp("alert: protocol version", Act::SayAndClose(alert(70)), VERSION),
        Row::tcp("alert: unrecognized name", Act::SayAndClose(alert(112)), NAME),
        Row::tcp("alert: internal error", Act::SayAndClose(alert(80)), INTERNAL),
        Row::tcp(
            "alert: certificate required",
            Act::SayAndClose(alert(116)),
            CLIENT,
        ),
        Row::tcp("alert: access denied", Act::SayAndClose(alert(49)), TLS),
        Row::tcp(
            "alert: and then a reset",
            Act::SayAndReset(alert(40)),
            "TlsFailed (GET /ping)",
        ),
        Row::tcp(
            "alerts for ever",
            Act::Repeat(Vec::new(), record(21, 3, &[1, 90]).repeat(100)),
            TLS,
        ),
        Row::tcp(
            "a record that is longer than TLS allows",
            hang([&[22, 3, 3, 0xff, 0xff][..], &[0; 65_535]].concat()),
            TLS,
        ),
        Row::tcp(
            "a handshake message of 16 megabytes",
            Act::Repeat(record(22, 3, &[2, 0xff, 0xff, 0xff]), record(22, 3, &[0; 16_000])),
            TLS,
        ),
        Row::tcp(
            "empty records for ever",
            Act::Repeat(Vec::new(), record(22, 3, &[]).repeat(1000)),
            TLS,
        ),
        Row::tcp(
            "application data before the handshake",
            hang(record(23, 3, b"pong")),
            TLS,
        ),
        Row::tcp(
            "zeroes for ever",
            Act::Repeat(Vec::new(), vec![0; 16 * 1024]),
            TLS,
        ),
        Row::tcp(
            "a handshake that stops at its beginning",
            hang(Vec::new()),
            "TimedOut (GET /ping)",
        ),
        Row::tcp(
            "a handshake that stops in a record",
            hang(vec![22, 3, 3, 0x10, 0]),
            "TimedOut (GET /ping)",
        ),
        Row::tcp(
            "a handshake that drips",
            Act::Drip(
                [&[22, 3, 3, 0x3f, 0][..], &[2, 0, 0x3e, 0xfc], &[0; 16_000]].concat(),
                Duration::from_millis(100),
            ),
            "TimedOut (GET /ping)",
        ),
        Row::tcp(
            "an end in place of a handshake",
            Act::SayAndClose(Vec::new()),
            CLOSED,
        ),
        Row::tcp(
            "a reset in place of a handshake",
            Act::SayAndReset(Vec::new()),
            CLOSED,
        ),
        Row::tcp(
            "plain HTTP on the port of TLS",
            Act::SayAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npong".to_vec()),
            NOT_TLS,
        ),
        Row::tcp(
            "plain HTTP for ever",
            Act::Repeat(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 16 * 1024]),
            NOT_TLS,
        ),
        Row::tcp(
            "a greeting of SSH",
            Act::SayAndHang(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
            NOT_TLS,
        ),
        Row::tcp(
            "a greeting of SMTP",
            Act::SayAndHang(b"220 mail.example.com ESMTP\r\n".to_vec()),
            NOT_TLS,
        ),
        Row::tcp(
            "a greeting of MySQL",
            Act::SayAndHang([&[0x4a, 0, 0, 0, 0x0a][..], b"8.4.0\0"].concat()),
            NOT_TLS,
        ),
        Row::tcp(
            "an error of Redis",
            Act::SayAndClose(b"-ERR unknown command\r\n".to_vec()),
            NOT_TLS,
        ),
    ]
}
