//! The shape of the source, held by reading it.
//!
//! The compiler lets any module use any other. What the crate's documentation promises (imports go one way, the core
//! is pure) is checked here, with file and line.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a file that cannot be read fails the test, and slices are within bounds that were just searched"
)]

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

/// What each module may use, besides itself. `lib.rs` and `main.rs` hold the parts together and may use all.
const MAY_USE: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("domain", &["api"]),
    ("bridge", &["api", "domain", "clock", "leadership"]),
    ("cluster", &["api", "args", "leadership", "metrics"]),
    (
        "report",
        &["api", "clock", "cluster", "leadership", "limiter", "metrics"],
    ),
    (
        "controller",
        &[
            "api", "domain", "bridge", "cluster", "report", "clock", "limiter", "metrics", "traces",
        ],
    ),
    (
        "process",
        &[
            "api",
            "domain",
            "bridge",
            "cluster",
            "controller",
            "clock",
            "leadership",
            "metrics",
            "traces",
            "args",
            "settings",
        ],
    ),
    ("check", &["api", "domain", "bridge", "cluster", "clock", "args"]),
    // Beside the layers.
    ("clock", &[]),
    ("leadership", &[]),
    ("limiter", &[]),
    ("metrics", &["api", "domain", "bridge"]),
    ("traces", &["api", "domain", "bridge"]),
    ("settings", &["api", "domain", "bridge"]),
    ("args", &["api", "bridge", "settings"]),
];

/// What `domain` must not mention: a verdict is a function of its arguments.
const IMPURE: &[(&str, &str)] = &[
    ("async", "waits"),
    ("await", "waits"),
    ("tokio", "waits"),
    ("futures", "waits"),
    ("Instant", "reads a clock; the time is an argument"),
    ("SystemTime", "reads a clock; the time is an argument"),
    ("Timestamp::now", "reads a clock; the time is an argument"),
    ("Zoned::now", "reads a clock; the time is an argument"),
    ("kube", "talks to the API server"),
    ("reqwest", "talks to the network"),
    ("hyper", "talks to the network"),
    ("axum", "talks to the network"),
    ("rustls", "talks to the network"),
    ("ToSocketAddrs", "talks to the network"),
    ("TcpStream", "talks to the network"),
    ("UdpSocket", "talks to the network"),
    ("tracing", "logs; what there is to say is in the result"),
    ("print", "prints"),
    ("println", "prints"),
    ("eprint", "prints"),
    ("eprintln", "prints"),
    ("std::io", "reads or writes"),
    ("std::fs", "reads or writes"),
    ("std::env", "depends on the process"),
    ("std::process", "depends on the process"),
    ("std::thread", "depends on the process"),
    ("std::sync", "shares state"),
];

/// Names that say nothing: such a module attracts whatever has no home.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "manager", "common", "misc"];

#[test]
fn imports_go_one_way() {
    let mut broken = Vec::new();
    for source in sources() {
        let Some(module) = source.module.first() else {
            continue;
        };
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| name == module) else {
            broken.push(format!(
                "{}: give module `{module}` its place in MAY_USE",
                source.name
            ));
            continue;
        };
        for (line, used) in source.uses() {
            if used != *module && !allowed.contains(&used.as_str()) {
                broken.push(format!(
                    "{}:{line}: `{module}` uses `{used}`; it may use only {allowed:?}",
                    source.name
                ));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_domain_is_pure() {
    let mut broken = Vec::new();
    for source in sources() {
        if source.module.first().is_some_and(|module| module == "domain") {
            for (path, why) in IMPURE {
                for line in source.mentions(path) {
                    broken.push(format!("{}:{line}: `{path}` {why}", source.name));
                }
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Where the C library's allocator is told to give memory back.
const UNSAFE: &str = "src/process/memory.rs";

#[test]
fn nothing_else_is_unsafe() {
    let broken: Vec<_> = sources()
        .iter()
        .filter(|source| source.name != UNSAFE)
        .flat_map(|source| {
            let name = &source.name;
            source
                .mentions("unsafe")
                .into_iter()
                .map(move |line| format!("{name}:{line}"))
        })
        .collect();
    assert!(broken.is_empty(), "unsafe code: {broken:?}");
}

/// Written apart, for this file does not draw.
const SEEDED: &str = concat!("rng_seed: ", "RngSeed::Fixed(testbed::seed())");

/// What a test draws at random begins at the seed that its failure names. One that forgets it finds a fault once, and
/// nobody finds it again.
#[test]
fn what_is_drawn_can_be_drawn_again() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut drawing = 0;
    let mut broken = Vec::new();
    for path in ["src", "tests", "benches"]
        .iter()
        .flat_map(|folder| files(&root.join(folder)))
    {
        let text = fs::read_to_string(&path).unwrap();
        let seeded = text.matches(SEEDED).count();
        let draws = text.matches(concat!("proptest", "! {")).count()
            + text.matches(concat!("TestRunner", "::new(")).count();
        drawing += draws;
        if draws != seeded {
            broken.push(format!(
                "{}: {draws} draw, {seeded} with the seed",
                path.display()
            ));
        }
    }
    assert!(drawing > 5, "nothing was found to draw");
    assert!(broken.is_empty(), "write `{SEEDED}`:\n{}", broken.join("\n"));
}

#[test]
fn every_module_is_named_for_what_it_does() {
    let broken: Vec<_> = sources()
        .into_iter()
        .filter(|source| {
            source
                .module
                .iter()
                .any(|name| EMPTY_NAMES.contains(&name.as_str()))
        })
        .map(|source| source.name)
        .collect();
    assert!(broken.is_empty(), "name these for what they do: {broken:?}");
}

#[test]
fn every_module_of_the_rules_exists() {
    let sources = sources();
    for (module, allowed) in MAY_USE {
        for name in [module].into_iter().chain(*allowed) {
            assert!(
                sources
                    .iter()
                    .any(|source| source.module.first().is_some_and(|m| m == name)),
                "MAY_USE names `{name}`, which is not in src"
            );
        }
    }
}

/// A test that finds nothing proves nothing, unless it would have found something.
#[test]
fn the_reader_sees_what_it_should() {
    let source = Source::new(
        "src/domain/sample.rs",
        r##"
//! [`drive`](crate::process::drive)
use crate::{api::{self, duration::HumanDuration}, clock, /* crate::process */ metrics::*};
use super::{super::{controller, api}, target};
fn f<'a>(_: &'a str) -> &'a str {
    let _ = ('"', '\'', b'"', "crate::process \" crate::process", r#"crate::process " "#);
    crate::bridge::probe::<crate::args::Arguments>();
    std::time::Instant::now(); k8s_openapi::jiff::Timestamp::now()
}
mod tests {
    use super::*;
    use super::super::super::process;
    pub(crate) mod deeper { use super::super::super::super::main; }
}
macro_rules! m { () => { $crate::api::x() } }
"##,
    );
    let expected = [
        (3, "api"),
        (3, "api"),
        (3, "clock"),
        (3, "metrics"),
        (4, "controller"),
        (4, "domain"),
        (7, "bridge"),
        (7, "args"),
        (11, "domain"),
        (12, "process"),
        (13, "main"),
        (15, "api"),
        (16, "api"),
    ];
    assert_eq!(
        source.uses(),
        expected.map(|(line, module)| (line, module.to_owned()))
    );
    assert_eq!(source.mentions("Instant"), [8]);
    assert_eq!(source.mentions("Timestamp::now"), [8]);
    assert_eq!(source.mentions("SystemTime"), [0_usize; 0]);
}

/// One file below `src`.
struct Source {
    name: String,
    /// `["domain", "verdict"]` for `src/domain/verdict.rs`; empty for `lib.rs` and `main.rs`.
    module: Vec<String>,
    paths: Vec<UsedPath>,
}

/// A path in the code, such as `crate::api::duration`; a `use` with braces is several.
struct UsedPath {
    line: usize,
    /// The module it is written in: that of the file, or one inside it.
    within: Vec<String>,
    segments: Vec<String>,
}

impl Source {
    fn new(name: &str, text: &str) -> Self {
        let mut module: Vec<String> = Path::new(name)
            .with_extension("")
            .iter()
            .skip(1)
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        module.pop_if(|last| matches!(last.as_str(), "mod" | "lib" | "main"));
        Self {
            name: name.to_owned(),
            paths: paths(&tokens(text), &module),
            module,
        }
    }

    /// The modules at the root of the crate that are used, by `crate::` or by enough `super::`.
    fn uses(&self) -> Vec<(usize, String)> {
        self.paths
            .iter()
            .filter_map(|path| {
                let first = path.segments.first()?;
                let ups = path
                    .segments
                    .iter()
                    .take_while(|segment| *segment == "super")
                    .count();
                let rest = if first == "crate" {
                    path.segments.get(1)
                } else if ups == 0 {
                    None
                } else if ups < path.within.len() {
                    path.within.first()
                } else {
                    path.segments.get(ups)
                };
                // `pub(crate)` and `pub(super)` are no uses.
                Some((path.line, rest?.clone())).filter(|_| path.segments.len() > 1)
            })
            .collect()
    }

    /// The lines where a path holds these segments, one after the other.
    fn mentions(&self, path: &str) -> Vec<usize> {
        let wanted: Vec<&str> = path.split("::").collect();
        self.paths
            .iter()
            .filter(|used| used.segments.windows(wanted.len()).any(|window| window == wanted))
            .map(|used| used.line)
            .collect()
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found: Vec<_> = files(&root.join("src"))
        .iter()
        .map(|path| {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            Source::new(&name, &fs::read_to_string(path).unwrap())
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!found.is_empty());
    found
}

/// Every file of Rust below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[derive(Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `::`
    Colons,
    Other(char),
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => f.write_str(word),
            Self::Colons => f.write_str("::"),
            Self::Other(c) => write!(f, "{c}"),
        }
    }
}

/// Words and punctuation with their lines, without comments, strings and characters: those may name anything.
fn tokens(text: &str) -> Vec<(usize, Token)> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut token = None;
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest) {
            length
        } else if c == '"' {
            quoted(rest, '"')
        } else if c == '\'' {
            // A character, or the beginning of a lifetime.
            let mut next = rest.chars().skip(1);
            let first = next.next();
            if first == Some('\\') || next.next() == Some('\'') {
                quoted(rest, '\'')
            } else {
                1
            }
        } else if is_word(c) {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            token = Some(Token::Word(rest[..length].to_owned()));
            length
        } else if rest.starts_with("::") {
            token = Some(Token::Colons);
            2
        } else {
            token = Some(Token::Other(c)).filter(|_| !c.is_whitespace());
            c.len_utf8()
        };
        found.extend(token.map(|token| (line, token)));
        let (read, unread) = rest.split_at(length);
        line += read.matches('\n').count();
        rest = unread;
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Length of a comment, with those inside it.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, _) in text.char_indices() {
        if text[at..].starts_with("/*") {
            depth += 1;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            if depth == 0 {
                return at + 2;
            }
        }
    }
    text.len()
}

/// Length of `r"..."`, `r#"..."#` and so on.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let inside = after.trim_start_matches('#');
    let end = format!("\"{}", "#".repeat(after.len() - inside.len()));
    let body = inside.strip_prefix('"')?;
    let begin = text.len() - body.len();
    Some(body.find(&end).map_or(text.len(), |at| begin + at + end.len()))
}

/// Length of a string or character, with its quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    text.len()
}

/// Every path in the code, and where it is: a word alone is a path too.
fn paths(tokens: &[(usize, Token)], file: &[String]) -> Vec<UsedPath> {
    let mut found = Vec::new();
    let mut within = file.to_vec();
    // For each open brace, whether it opened a module.
    let mut braces = Vec::new();
    let mut at = 0;
    while let Some((line, token)) = tokens.get(at) {
        match token {
            Token::Word(_) => {
                let mut segments = Vec::new();
                let end = tree(tokens, at, &mut Vec::new(), &mut segments);
                found.extend(segments.into_iter().map(|(line, segments)| UsedPath {
                    line,
                    within: within.clone(),
                    segments,
                }));
                at = end;
                continue;
            }
            Token::Other('{') => {
                let opened = match at.checked_sub(2).map(|from| &tokens[from..at]) {
                    Some([(_, Token::Word(word)), (_, Token::Word(name))]) if word == "mod" => Some(name),
                    _ => None,
                };
                within.extend(opened.cloned());
                braces.push(opened.is_some());
            }
            Token::Other('}') => {
                assert!(!braces.is_empty(), "unmatched brace in {file:?}, line {line}");
                if braces.pop() == Some(true) {
                    within.pop();
                }
            }
            Token::Colons | Token::Other(_) => {}
        }
        at += 1;
    }
    assert!(braces.is_empty(), "unclosed brace in {file:?}");
    found
}

/// Reads the path (or tree of paths, as `use` has them) that begins at `at`, and returns where it ends.
fn tree(
    tokens: &[(usize, Token)],
    mut at: usize,
    prefix: &mut Vec<String>,
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let depth = prefix.len();
    let mut line = 0;
    while let Some((here, Token::Word(word))) = tokens.get(at) {
        line = *here;
        prefix.push(word.clone());
        at += 1;
        if !matches!(tokens.get(at), Some((_, Token::Colons))) {
            break;
        }
        match tokens.get(at + 1) {
            Some((_, Token::Word(_))) => at += 1,
            Some((_, Token::Other('{'))) => {
                at += 2;
                while let Some((_, token)) = tokens.get(at) {
                    match token {
                        Token::Other('}') => break,
                        Token::Word(_) => at = tree(tokens, at, prefix, found),
                        Token::Other('*') => {
                            found.push((line, [prefix.as_slice(), &["*".to_owned()]].concat()));
                            at += 1;
                        }
                        Token::Colons | Token::Other(_) => at += 1,
                    }
                }
                prefix.truncate(depth);
                return at + 1;
            }
            Some((_, Token::Other('*'))) => {
                prefix.push("*".to_owned());
                at += 2;
                break;
            }
            // `::<`: what follows is read by itself.
            _ => {
                at += 1;
                break;
            }
        }
    }
    found.push((line, prefix.clone()));
    prefix.truncate(depth);
    at
}
