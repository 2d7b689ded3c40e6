//! Answers that point elsewhere.

use crate::peer::{Act, JSON, LIST, Row, response};

fn redirect(name: &'static str, status: &str, location: &str) -> Row {
    let header = format!("Location: {location}");
    let act = Act::Say(response(status, &[&header], b""));
    Row::answer(name, "/", act, "RedirectRefused (GET /scim/Users)")
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = vec![
        redirect(
            "301 to another host",
            "301 Moved Permanently",
            "https://evil.invalid/",
        ),
        redirect(
            "302 to metadata",
            "302 Found",
            "http://169.254.169.254/latest/meta-data/",
        ),
        redirect("302 to metadata by number", "302 Found", "http://2852039166/"),
        redirect("303 to a file", "303 See Other", "file:///etc/passwd"),
        redirect(
            "307 to loopback",
            "307 Temporary Redirect",
            "https://127.0.0.1:10250/pods",
        ),
        redirect("308 to itself", "308 Permanent Redirect", "/ping"),
        redirect("300 without a place", "300 Multiple Choices", ""),
        redirect(
            "302 to another scheme",
            "302 Found",
            "gopher://127.0.0.1:6379/_FLUSHALL",
        ),
        redirect("302 with a user", "302 Found", "https://user:pass@evil.invalid/"),
        redirect("302 without a host", "302 Found", "//evil.invalid/ping"),
        redirect("302 that is no URL", "302 Found", "https://[::1"),
        redirect("302 without TLS", "302 Found", "http://evil.invalid/"),
    ];
    // These are no redirects (RFC 9110, section 15.4), and lead nowhere either.
    for (name, status) in [
        ("304 unasked for", "304 Not Modified"),
        ("305 by a proxy", "305 Use Proxy"),
        ("399, which nobody knows", "399 Unknown"),
    ] {
        let act = Act::Say(response(status, &["Location: https://evil.invalid/"], b""));
        rows.push(Row::answer(name, "/", act, "ProtocolError (GET /scim/Users)"));
    }
    let location = "Location: https://evil.invalid/scim/Users";
    for (name, path, expected) in [
        ("a redirect of the health report", "/health", "Connected"),
        (
            "a redirect of the list",
            "/scim",
            "RedirectRefused (GET /scim/Users)",
        ),
    ] {
        let act = Act::Say(response("302 Found", &[location], b""));
        rows.push(Row::answer(name, path, act, expected));
    }
    for (name, header) in [
        ("a Refresh header", "Refresh: 0; url=https://evil.invalid/"),
        (
            "an Alt-Svc header",
            "Alt-Svc: h2=\"evil.invalid:443\"; ma=31536000",
        ),
        ("a Link header", "Link: <https://evil.invalid/>; rel=preload"),
        ("a Content-Location", "Content-Location: https://evil.invalid/"),
        ("a Location with 200", location),
        ("a cookie", "Set-Cookie: session=canary; Domain=.invalid; Secure"),
        (
            "Strict-Transport-Security",
            "Strict-Transport-Security: max-age=0",
        ),
        ("a challenge with 200", "WWW-Authenticate: Negotiate"),
    ] {
        let act = Act::Say(response("200 OK", &[JSON, header], LIST));
        rows.push(Row::answer(name, "/scim", act, "Connected"));
    }
    rows
}
