//! Handshakes: certificates that prove nothing, and peers that never come to an end.

use std::time::Duration;

use crate::peer::{Act, Certificate, Row};

const TLS: &str = "TlsFailed (GET /ping)";

/// The answer of a server that speaks nothing newer than this: a `ServerHello` (RFC 5246, section 7.4.1.3), followed by
/// the end of its flight.
fn server_hello(version: u8) -> Vec<u8> {
    let mut hello = vec![3, version];
    hello.extend([7; 32]);
    // No session, TLS_RSA_WITH_AES_128_CBC_SHA, no compression.
    hello.extend([0, 0x00, 0x2f, 0]);
    let mut handshake = vec![2, 0, 0, u8::try_from(hello.len()).unwrap()];
    handshake.extend(hello);
    // ServerHelloDone.
    handshake.extend([14, 0, 0, 0]);
    record(22, version, &handshake)
}

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
        Row::shows("a certificate is asked for", Certificate::Mutual, TLS),
        Row::shows("HTTP/2 and nothing else", Certificate::OnlyHttp2, "Connected"),
        Row::tcp("TLS 1.0 only", hang(server_hello(1)), TLS),
        Row::tcp("TLS 1.1 only", hang(server_hello(2)), TLS),
        Row::tcp("SSL 3 only", hang(server_hello(0)), TLS),
        Row::tcp(
            "TLS 1.2 with a cipher that nobody wants",
            hang(server_hello(3)),
            TLS,
        ),
        Row::tcp("alert: protocol version", Act::SayAndClose(alert(70)), TLS),
        Row::tcp("alert: unrecognized name", Act::SayAndClose(alert(112)), TLS),
        Row::tcp("alert: internal error", Act::SayAndClose(alert(80)), TLS),
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
            TLS,
        ),
        Row::tcp(
            "a reset in place of a handshake",
            Act::SayAndReset(Vec::new()),
            "ConnectFailed (GET /ping) or TlsFailed (GET /ping)",
        ),
        Row::tcp(
            "plain HTTP on the port of TLS",
            Act::SayAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npong".to_vec()),
            TLS,
        ),
        Row::tcp(
            "plain HTTP for ever",
            Act::Repeat(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 16 * 1024]),
            TLS,
        ),
        Row::tcp(
            "a greeting of SSH",
            Act::SayAndHang(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
            TLS,
        ),
    ]
}
