//! Finds a canary, whole or any six characters of it in a row, as it is and as encodings write it.

use std::collections::{BTreeMap, HashMap};

/// So many characters of a canary in a row are a finding.
pub(crate) const WINDOW: usize = 6;

/// How far around a finding is shown.
const AROUND: usize = 60;

/// A way of writing bytes, and in which reading of a text it is looked for.
type Encoding = (&'static str, Reading, fn(&[u8]) -> Vec<u8>);

/// What is done to a text before it is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reading {
    /// Nothing.
    Exact,
    /// Upper and lower case are the same.
    Folded,
    /// The same, without white space: lists of numbers, and what is broken over lines.
    Squeezed,
}

/// Every way of writing that is looked for. Windows of six bytes are encoded, so that a part of a canary is found too.
const ENCODINGS: [Encoding; 21] = [
    ("as it is", Reading::Folded, <[u8]>::to_vec),
    ("over several lines", Reading::Squeezed, <[u8]>::to_vec),
    ("reversed", Reading::Folded, |bytes| {
        bytes.iter().rev().copied().collect()
    }),
    ("base64", Reading::Exact, |bytes| base64(bytes, 0)),
    ("base64, one byte later", Reading::Exact, |bytes| base64(bytes, 1)),
    ("base64, two bytes later", Reading::Exact, |bytes| {
        base64(bytes, 2)
    }),
    ("base64url", Reading::Exact, |bytes| for_urls(base64(bytes, 0))),
    ("base64url, one byte later", Reading::Exact, |bytes| {
        for_urls(base64(bytes, 1))
    }),
    ("base64url, two bytes later", Reading::Exact, |bytes| {
        for_urls(base64(bytes, 2))
    }),
    ("hexadecimal", Reading::Folded, |bytes| {
        each(bytes, |b| format!("{b:02x}"))
    }),
    ("hexadecimal list", Reading::Squeezed, |bytes| {
        joined(bytes, ",", |b| format!("0x{b:x}"))
    }),
    ("hexadecimal dump", Reading::Folded, |bytes| {
        joined(bytes, " ", |b| format!("{b:02x}"))
    }),
    ("hexadecimal, colons", Reading::Folded, |bytes| {
        joined(bytes, ":", |b| format!("{b:02x}"))
    }),
    ("list of bytes", Reading::Squeezed, |bytes| {
        joined(bytes, ",", |b| b.to_string())
    }),
    ("list of characters", Reading::Squeezed, |bytes| {
        joined(bytes, ",", |b| format!("{:?}", char::from(b)))
    }),
    ("percent-encoded", Reading::Folded, |bytes| {
        each(bytes, |b| {
            if b.is_ascii_alphanumeric() {
                char::from(b).to_string()
            } else {
                format!("%{b:02x}")
            }
        })
    }),
    ("percent-encoded, every byte", Reading::Folded, |bytes| {
        each(bytes, |b| format!("%{b:02x}"))
    }),
    ("escaped", Reading::Folded, |bytes| escaped(bytes)),
    ("escaped twice", Reading::Folded, |bytes| escaped(&escaped(bytes))),
    ("escaped as Go does", Reading::Folded, |bytes| {
        let escaped = escaped(bytes);
        each(&escaped, |b| {
            if b"<>&".contains(&b) {
                format!("\\u{b:04x}")
            } else {
                char::from(b).to_string()
            }
        })
    }),
    ("escaped as JSON may", Reading::Folded, |bytes| {
        each(bytes, |b| format!("\\u{b:04x}"))
    }),
];

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// What the canary stands for.
    pub(crate) canary: String,
    /// How it was written.
    pub(crate) encoding: &'static str,
    /// The text around it.
    pub(crate) excerpt: String,
}

/// Looks for canaries.
pub(crate) struct Search {
    canaries: Vec<String>,
    /// For each reading: what is looked for, by its first four bytes.
    patterns: BTreeMap<Reading, HashMap<[u8; 4], Vec<Pattern>>>,
}

struct Pattern {
    bytes: Vec<u8>,
    canary: usize,
    encoding: &'static str,
}

impl Search {
    /// A search for these: what each stands for, and the text.
    pub(crate) fn new(canaries: &[(String, String)]) -> Self {
        let mut patterns: BTreeMap<Reading, HashMap<[u8; 4], Vec<Pattern>>> = BTreeMap::new();
        for (canary, (_, text)) in canaries.iter().enumerate() {
            for window in text.as_bytes().windows(WINDOW) {
                for (encoding, reading, encode) in ENCODINGS {
                    let bytes = read(&encode(window), reading);
                    patterns
                        .entry(reading)
                        .or_default()
                        .entry([bytes[0], bytes[1], bytes[2], bytes[3]])
                        .or_default()
                        .push(Pattern {
                            bytes,
                            canary,
                            encoding,
                        });
                }
            }
        }
        Self {
            canaries: canaries.iter().map(|(what, _)| what.clone()).collect(),
            patterns,
        }
    }

    /// What the text holds, each canary once for each way in which it is written.
    pub(crate) fn find(&self, text: &[u8]) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        for (reading, patterns) in &self.patterns {
            let text = read(text, *reading);
            for at in 0..text.len().saturating_sub(3) {
                let rest = &text[at..];
                let Some(candidates) = patterns.get(&rest[..4]) else {
                    continue;
                };
                for Pattern {
                    bytes,
                    canary,
                    encoding,
                } in candidates
                {
                    let canary = &self.canaries[*canary];
                    let is_known = |found: &Found| found.canary == *canary && found.encoding == *encoding;
                    if rest.starts_with(bytes) && !found.iter().any(is_known) {
                        let around = at.saturating_sub(AROUND)..text.len().min(at + bytes.len() + AROUND);
                        found.push(Found {
                            canary: canary.clone(),
                            encoding,
                            excerpt: text[around].escape_ascii().to_string(),
                        });
                    }
                }
            }
        }
        found
    }
}

fn read(text: &[u8], reading: Reading) -> Vec<u8> {
    match reading {
        Reading::Exact => text.to_vec(),
        Reading::Folded => text.to_ascii_lowercase(),
        Reading::Squeezed => {
            let visible = text.iter().filter(|b| !b.is_ascii_whitespace());
            visible.map(u8::to_ascii_lowercase).collect()
        }
    }
}

fn each(bytes: &[u8], write: impl Fn(u8) -> String) -> Vec<u8> {
    joined(bytes, "", write)
}

fn joined(bytes: &[u8], separator: &str, write: impl Fn(u8) -> String) -> Vec<u8> {
    let parts: Vec<String> = bytes.iter().map(|b| write(*b)).collect();
    parts.join(separator).into_bytes()
}

/// As JSON and Rust's `Debug` write it inside a string.
fn escaped(bytes: &[u8]) -> Vec<u8> {
    each(bytes, |b| match b {
        b'"' | b'\\' => format!("\\{}", char::from(b)),
        _ => char::from(b).to_string(),
    })
}

/// The characters of base64 that these bytes alone decide, where `before` bytes of something else come first.
fn base64(bytes: &[u8], before: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u8> = std::iter::repeat_n(0, before)
        .chain(bytes.iter().copied())
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    bits.chunks_exact(6)
        .skip((before * 8).div_ceil(6))
        .map(|group| {
            ALPHABET[group
                .iter()
                .fold(0, |number, bit| number << 1 | usize::from(*bit))]
        })
        .collect()
}

fn for_urls(base64: Vec<u8>) -> Vec<u8> {
    let replace = |b| match b {
        b'+' => b'-',
        b'/' => b'_',
        other => other,
    };
    base64.into_iter().map(replace).collect()
}

mod tests {
    use k8s_openapi::ByteString;

    use super::*;
    use crate::canary::Canaries;

    /// Base64 by other means: as Kubernetes writes the values of a Secret.
    fn of_kubernetes(bytes: &[u8]) -> String {
        let quoted = serde_json::to_string(&ByteString(bytes.to_vec())).unwrap();
        quoted.trim_matches('"').to_owned()
    }

    fn url_safe(base64: &str) -> String {
        base64.replace('+', "-").replace('/', "_").replace('=', "")
    }

    fn each_byte(bytes: &[u8], write: impl Fn(&u8) -> String) -> String {
        let parts: Vec<String> = bytes.iter().map(write).collect();
        parts.concat()
    }

    /// What a leak of this text can look like, written by other means than the search's.
    fn leaks(text: &str) -> Vec<(&'static str, String)> {
        let bytes = text.as_bytes();
        let after = |before: &str| of_kubernetes(format!("{before}{text}").as_bytes());
        let json = serde_json::to_string(text).unwrap();
        let mid = text.len() / 2;
        vec![
            ("as it is", text.to_owned()),
            ("as it is", text.to_uppercase()),
            ("as it is", text.to_lowercase()),
            (
                "over several lines",
                format!("{}\n  {}", &text[..mid], &text[mid..]),
            ),
            ("reversed", text.chars().rev().collect()),
            ("base64", after("")),
            ("base64, one byte later", after("x")),
            ("base64, two bytes later", after("xy")),
            ("base64", after("xyz")),
            ("base64url", url_safe(&after(""))),
            ("base64url, one byte later", url_safe(&after("x"))),
            ("base64url, two bytes later", url_safe(&after("xy"))),
            (
                "percent-encoded",
                url::form_urlencoded::byte_serialize(bytes).collect(),
            ),
            (
                "percent-encoded, every byte",
                each_byte(bytes, |b| format!("%{b:02X}")),
            ),
            ("hexadecimal", each_byte(bytes, |b| format!("{b:02X}"))),
            ("hexadecimal list", format!("{bytes:#x?}")),
            ("hexadecimal dump", each_byte(bytes, |b| format!("{b:02x} "))),
            ("hexadecimal, colons", each_byte(bytes, |b| format!("{b:02X}:"))),
            ("list of bytes", format!("{bytes:?}")),
            ("list of bytes", format!("{bytes:#?}")),
            (
                "list of characters",
                format!("{:?}", text.chars().collect::<Vec<_>>()),
            ),
            ("escaped", format!("{text:?}")),
            ("escaped", json.clone()),
            (
                "escaped as Go does",
                json.replace('<', "\\u003c")
                    .replace('>', "\\u003e")
                    .replace('&', "\\u0026"),
            ),
            ("escaped twice", serde_json::to_string(&json).unwrap()),
            ("escaped as JSON may", each_byte(bytes, |b| format!("\\u{b:04X}"))),
        ]
    }

    const NOISE: &str =
        r#"{"level":"INFO","uid":"6f9619ff-8b86-d011-b42d-00cf4fc964ff","m":"rhythms of TLS","x":[1,2,30]}"#;

    #[test]
    fn every_way_of_writing_is_found() {
        let canaries = Canaries::default();
        let (text, key) = (canaries.text("text"), canaries.key("key"));
        let search = Search::new(&canaries.all());
        let mut seen: Vec<&str> = Vec::new();
        for (what, canary) in [("text", &text), ("key", &key)] {
            for (encoding, leak) in leaks(canary) {
                let found = search.find(format!("{NOISE}{leak}{NOISE}").as_bytes());
                let hits: Vec<_> = found
                    .iter()
                    .filter(|found| found.canary == what)
                    .map(|found| found.encoding)
                    .collect();
                assert!(
                    hits.contains(&encoding),
                    "{what}, {encoding}: {leak:?} gives {found:?}"
                );
                assert!(found.iter().all(|found| found.canary == what), "{found:?}");
                seen.push(encoding);
            }
        }
        for (encoding, _, _) in ENCODINGS {
            assert!(
                seen.contains(&encoding),
                "nothing shows that {encoding:?} is found"
            );
        }
    }

    #[test]
    fn six_characters_are_a_finding_and_five_are_none() {
        let canaries = Canaries::default();
        let key = canaries.key("key");
        let search = Search::new(&canaries.all());
        for from in 0..=key.len() - WINDOW {
            let part = &key[from..from + WINDOW];
            for (encoding, leak) in leaks(part) {
                let found = search.find(format!("{NOISE}{leak}{NOISE}").as_bytes());
                assert!(!found.is_empty(), "{part:?}, {encoding}: {leak:?} is not found");
            }
            let less = format!("{NOISE}_{}_{NOISE}", &part[..WINDOW - 1]);
            assert_eq!(search.find(less.as_bytes()), []);
        }
        assert_eq!(search.find(NOISE.as_bytes()), []);
    }
}
