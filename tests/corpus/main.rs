//! The parsers of foreign bytes, held to their properties: over the kept corpus, and over what is like it.
//!
//! `fuzz/corpus` has a folder for each parser. An input that broke a property goes there under a name that says what it
//! is, and stays.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::wildcard_enum_match_arm,
    reason = "a property that does not hold is a panic"
)]

mod properties;

use std::{
    collections::BTreeSet,
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, RngSeed, TestError, TestRunner},
};
use testbed::budget;

use self::properties::{TARGETS, Target};

/// One input takes microseconds; this long none takes, however busy the machine.
const ONE_INPUT_MAX: Duration = Duration::from_secs(20);

/// Largest sum of the files of the corpus, in bytes: it is cloned with the source.
const CORPUS_MAX: usize = 768 * 1024;

/// What any of the formats gives a meaning to.
const TOKENS: [&[u8]; 40] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"18446744073709551615",
    b"\\u0000",
    b"\\ud800",
    b"\0",
    b"\n",
    b"\r\n",
    b" ",
    b"\t",
    b"%",
    b"@",
    b"?",
    b"#",
    b"/",
    b"\\",
    b"..",
    b".",
    b"*",
    b"**",
    b"https://",
    b"0x",
    b"::ffff:",
    b"127.0.0.1",
    b"\xff",
    b"\xe2\x80\xae",
    b"-----BEGIN CERTIFICATE-----\n",
    b"-----END CERTIFICATE-----\n",
    b"9999-12-31T23:59:59Z",
    b"-000001-01-01T00:00:00Z",
    b"99999h",
];

/// A change of an input.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(Index, u8),
    Cut(Index, Index),
    Repeat(Index, Index, usize),
    Insert(Index, Vec<u8>),
    Overwrite(Index, Vec<u8>),
    /// The rest comes from another file of the corpus.
    Cross(Index, Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>;
    let token = || select(TOKENS.to_vec()).prop_map(<[u8]>::to_vec);
    prop_oneof![
        3 => (index(), 1_u8..).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        2 => (index(), index()).prop_map(|(from, to)| Mutation::Cut(from, to)),
        1 => (index(), index(), 1_usize..70).prop_map(|(from, to, times)| Mutation::Repeat(from, to, times)),
        3 => (index(), token()).prop_map(|(at, token)| Mutation::Insert(at, token)),
        2 => (index(), token()).prop_map(|(at, token)| Mutation::Overwrite(at, token)),
        1 => (index(), vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        2 => (index(), index()).prop_map(|(file, at)| Mutation::Cross(file, at)),
    ]
}

fn mutate(mut input: Vec<u8>, mutations: &[Mutation], corpus: &[Vec<u8>]) -> Vec<u8> {
    for mutation in mutations {
        let length = input.len();
        let place = |index: &Index| index.index(length + 1);
        let span = |from: &Index, to: &Index| {
            let (from, to) = (place(from), place(to));
            from.min(to)..from.max(to)
        };
        match mutation {
            Mutation::Flip(at, bits) => {
                if let Some(byte) = input.get_mut(place(at)) {
                    *byte ^= bits;
                }
            }
            Mutation::Cut(from, to) => drop(input.drain(span(from, to))),
            Mutation::Repeat(from, to, times) => {
                let span = span(from, to);
                // Enough to pass every bound on a count; bounds on a length have seeds of their own.
                if span.len() * times < 64 * 1024 {
                    let part = input[span.clone()].repeat(*times);
                    input.splice(span.start..span.start, part);
                }
            }
            Mutation::Insert(at, bytes) => {
                let at = place(at);
                input.splice(at..at, bytes.iter().copied());
            }
            Mutation::Overwrite(at, bytes) => {
                let at = place(at);
                input.splice(at..length.min(at + bytes.len()), bytes.iter().copied());
            }
            Mutation::Cross(file, at) => {
                let other = file.get(corpus);
                let at = place(at);
                input.truncate(at);
                input.extend_from_slice(other.get(at..).unwrap_or_default());
            }
        }
    }
    input
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// The kept inputs of a parser, by name.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder().join("corpus").join(name);
    names(&folder)
        .into_iter()
        .map(|name| {
            let bytes = fs::read(folder.join(&name)).unwrap();
            (name, bytes)
        })
        .collect()
}

#[test]
fn each_parser_has_a_target_and_a_corpus() {
    let expected: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&folder().join("corpus")), expected);
    let targets = names(&folder().join("fuzz_targets"));
    assert_eq!(
        targets,
        expected.iter().map(|name| format!("{name}.rs")).collect()
    );
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    let mut size = 0;
    for (name, _) in TARGETS {
        let target = fs::read_to_string(folder().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(
            target.contains(&format!("::{name}(data)")),
            "fuzz_targets/{name}.rs fuzzes something else"
        );
        assert!(
            manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")),
            "fuzz/Cargo.toml does not build {name}"
        );
        let corpus = corpus(name);
        assert!(corpus.len() >= 8, "{name} has no corpus");
        size += corpus.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    }
    assert!(
        size <= CORPUS_MAX,
        "{size} bytes: run `cargo fuzz cmin` and keep what is needed"
    );
}

#[test]
fn the_kept_corpus_holds() {
    let mut broken = Vec::new();
    for (name, property) in TARGETS {
        for (file, bytes) in corpus(name) {
            let begun = Instant::now();
            if catch_unwind(|| property(&bytes)).is_err() {
                broken.push(format!("fuzz/corpus/{name}/{file}"));
            }
            let taken = begun.elapsed();
            assert!(taken < ONE_INPUT_MAX, "fuzz/corpus/{name}/{file} takes {taken:?}");
        }
    }
    assert!(
        broken.is_empty(),
        "these break their properties, see above: {broken:#?}"
    );
}

#[test]
fn what_is_like_the_corpus_holds() {
    for target in TARGETS {
        mutated(target);
    }
}

fn mutated((name, property): Target) {
    let corpus: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, bytes)| bytes).collect();
    let config = Config {
        cases: budget(2_000, 100_000),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(testbed::seed()),
        ..Config::default()
    };
    let result =
        TestRunner::new(config).run(&(any::<Index>(), vec(mutation(), 1..6)), |(file, mutations)| {
            let input = mutate(file.get(&corpus).clone(), &mutations, &corpus);
            let begun = Instant::now();
            property(&input);
            prop_assert!(begun.elapsed() < ONE_INPUT_MAX, "takes {:?}", begun.elapsed());
            Ok(())
        });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, (file, mutations))) => {
            let input = mutate(file.get(&corpus).clone(), &mutations, &corpus);
            panic!(
                "{name}: {reason}\nkeep this input in fuzz/corpus/{name}, then mend the parser:\n{}",
                input.escape_ascii()
            );
        }
        Err(TestError::Abort(reason)) => panic!("{name}: {reason}"),
    }
}
