//! The shape of the source, held by reading it.
//!
//! The compiler lets any module use any other. What the crate's documentation promises (imports go one way, the core
//! is pure) is checked here, with file and line.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a file that cannot be read fails the test, and slices are within bounds that were just searched"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};

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
    ("resolve", &["api", "domain", "bridge", "cluster"]),
    ("feed", &["api", "cluster"]),
    (
        "provision",
        &[
            "api", "domain", "bridge", "cluster", "resolve", "report", "feed", "clock", "metrics",
        ],
    ),
    (
        "controller",
        &[
            "api", "domain", "bridge", "cluster", "resolve", "report", "feed", "clock", "limiter", "metrics",
            "traces",
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
            "resolve",
            "provision",
            "feed",
            "clock",
            "leadership",
            "metrics",
            "traces",
            "args",
            "settings",
        ],
    ),
    ("check", &["api", "domain", "bridge", "cluster", "clock", "args"]),
    (
        "directory_commands",
        &["api", "domain", "bridge", "check", "cluster", "clock", "args"],
    ),
    // Beside the layers.
    ("clock", &[]),
    ("leadership", &[]),
    ("limiter", &[]),
    ("metrics", &["api", "domain", "bridge"]),
    ("traces", &["api", "domain", "bridge"]),
    ("settings", &["api", "domain", "bridge"]),
    ("args", &["api", "bridge", "settings"]),
];

/// Rooms within a module, and what they must not use of it: a request on the wire knows nothing of what is asked.
const MUST_NOT_USE: &[(&[&str], &[&str])] = &[
    (&["bridge", "wire"], &["bridge", "probe"]),
    (&["bridge", "wire"], &["bridge", "lanes"]),
    (&["bridge", "wire"], &["bridge", "scim"]),
    (&["bridge", "probe"], &["bridge", "lanes"]),
    (&["bridge", "probe"], &["bridge", "scim"]),
    // Who asks whether a bridge works changes nothing there.
    (&["controller"], &["bridge", "scim", "write"]),
    (&["check"], &["bridge", "scim", "write"]),
];

/// How a request would delete or replace something on a bridge.
const DESTRUCTIVE: &[&str] = &["delete", "put", "DELETE", "PUT"];

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
fn rooms_within_a_module_keep_apart() {
    let mut broken = Vec::new();
    for source in sources() {
        for (room, other) in MUST_NOT_USE {
            let is_in_room = source
                .module
                .iter()
                .map(String::as_str)
                .take(room.len())
                .eq(room.iter().copied());
            if is_in_room {
                for line in source.uses_of(other) {
                    broken.push(format!(
                        "{}:{line}: `{}` uses `{}`",
                        source.name,
                        room.join("::"),
                        other.join("::")
                    ));
                }
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

#[test]
fn nothing_on_a_bridge_is_deleted_or_replaced() {
    let broken: Vec<_> = sources()
        .iter()
        .filter(|source| source.module.first().is_some_and(|module| module == "bridge"))
        .flat_map(|source| {
            let lines = DESTRUCTIVE.iter().flat_map(|word| source.mentions(word));
            lines
                .map(|line| format!("{}:{line}", source.name))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(broken.is_empty(), "destructive requests: {broken:?}");
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

/// What a test writes that starts a cluster, or needs a program that `make tools` builds.
const SLOW: &[&str] = &[
    "Cluster::s",
    "Cluster::with",
    "Bed::new",
    "Bed::with_",
    "ScimServer::",
    "tools::",
];

#[test]
fn what_needs_no_cluster_is_fast() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let makefile = fs::read_to_string(root.join("Makefile")).unwrap();
    let (_, rest) = makefile.split_once("\nFAST = ").unwrap();
    let (listed, _) = rest.split_once("\n#").unwrap();
    let listed: Vec<&str> = listed.split_whitespace().collect();
    let left_out: Vec<_> = fs::read_dir(root.join("tests"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() || path.join("main.rs").exists())
        .filter(|path| {
            !listed
                .iter()
                .any(|name| path.file_stem().is_some_and(|stem| stem == *name))
        })
        .filter(|path| {
            let files = if path.is_dir() {
                files(path)
            } else {
                vec![path.clone()]
            };
            let mut texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
            !texts.any(|text| SLOW.iter().any(|word| text.contains(word)))
        })
        .collect();
    assert!(
        left_out.is_empty(),
        "add these programs to FAST in the Makefile: {left_out:?}"
    );
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
use super::{super::controller, target};
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
use super::super::api;
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
    assert_eq!(source.uses_of(&["domain", "target"]), [4]);
    assert_eq!(source.uses_of(&["bridge", "wire"]), [0_usize; 0]);
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
        let code = text
            .parse()
            .unwrap_or_else(|error| panic!("{name} is no Rust: {error}"));
        let mut module: Vec<String> = Path::new(name)
            .with_extension("")
            .iter()
            .skip(1)
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        module.pop_if(|last| matches!(last.as_str(), "mod" | "lib" | "main"));
        Self {
            name: name.to_owned(),
            paths: paths(code, &module),
            module,
        }
    }

    /// The modules at the root of the crate that are used, by `crate::` or by enough `super::`.
    fn uses(&self) -> Vec<(usize, String)> {
        self.paths_from_root()
            .filter_map(|(line, path)| Some((line, path.into_iter().next()?)))
            .collect()
    }

    /// The lines that use something of this room.
    fn uses_of(&self, room: &[&str]) -> Vec<usize> {
        self.paths_from_root()
            .filter(|(_, path)| {
                path.iter()
                    .map(String::as_str)
                    .take(room.len())
                    .eq(room.iter().copied())
            })
            .map(|(line, _)| line)
            .collect()
    }

    /// The paths that begin with `crate` or `super`, from the root of the crate.
    fn paths_from_root(&self) -> impl Iterator<Item = (usize, Vec<String>)> {
        self.paths.iter().filter_map(|path| {
            let (first, rest) = path.segments.split_first()?;
            // `pub(crate)` and `pub(super)` are no uses.
            if rest.is_empty() {
                return None;
            }
            if first == "crate" {
                return Some((path.line, rest.to_vec()));
            }
            let ups = path
                .segments
                .iter()
                .take_while(|segment| *segment == "super")
                .count();
            let above = path.within.get(..path.within.len().checked_sub(ups)?)?;
            let whole = above.iter().chain(path.segments.get(ups..)?);
            (ups > 0).then(|| (path.line, whole.cloned().collect()))
        })
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

/// Every path in the code, and where it is: a word alone is a path too. Comments, strings and characters may name
/// anything; the lexer makes no words of them.
fn paths(code: TokenStream, within: &[String]) -> Vec<UsedPath> {
    let tokens: Vec<_> = code.into_iter().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token {
            TokenTree::Ident(_) => {
                let mut read = Vec::new();
                at = path(&tokens, at, &[], &mut read);
                found.extend(read.into_iter().map(|(line, segments)| UsedPath {
                    line,
                    within: within.to_vec(),
                    segments,
                }));
                continue;
            }
            TokenTree::Group(group) => {
                let mut within = within.to_vec();
                if let [.., TokenTree::Ident(word), TokenTree::Ident(name)] = &tokens[..at]
                    && word == "mod"
                {
                    within.push(name.to_string());
                }
                found.extend(paths(group.stream(), &within));
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        at += 1;
    }
    found
}

/// Reads the path that begins at `at`, and returns where it ends. With braces, as `use` has them, it is several.
fn path(
    tokens: &[TokenTree],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let mut segments = prefix.to_vec();
    let mut line = 0;
    while let Some(TokenTree::Ident(word)) = tokens.get(at) {
        line = word.span().start().line;
        segments.push(word.to_string());
        at += 1;
        if !is_punct(tokens.get(at), ':') || !is_punct(tokens.get(at + 1), ':') {
            break;
        }
        at += 2;
        if let Some(TokenTree::Group(braces)) = tokens.get(at) {
            let inside: Vec<_> = braces.stream().into_iter().collect();
            let mut next = 0;
            while next < inside.len() {
                if is_punct(inside.get(next), '*') {
                    found.push((line, [segments.as_slice(), &["*".to_owned()]].concat()));
                }
                next = match inside[next] {
                    TokenTree::Ident(_) => path(&inside, next, &segments, found),
                    TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => next + 1,
                };
            }
            return at + 1;
        }
        if is_punct(tokens.get(at), '*') {
            segments.push("*".to_owned());
            at += 1;
        }
    }
    found.push((line, segments));
    at
}

fn is_punct(token: Option<&TokenTree>, sign: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}
