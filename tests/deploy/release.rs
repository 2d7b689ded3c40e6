//! What a release consists of fits together before anybody releases.

use std::{collections::BTreeSet, fs};

use testbed::workspace;

use crate::render::read;

/// Targets of the Makefile, and whether each says in one line what it does.
fn targets() -> Vec<(String, bool)> {
    read("Makefile")
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(target, rest)| {
            let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            !target.is_empty() && target.chars().all(is_name) && !rest.starts_with('=')
        })
        .map(|(target, rest)| (target.to_owned(), rest.contains("## ")))
        .collect()
}

/// `make` alone lists them by these lines.
#[test]
fn every_target_says_what_it_does() {
    let targets = targets();
    assert!(targets.len() > 10, "{targets:?}");
    let silent: Vec<_> = targets.iter().filter(|(_, says)| !says).collect();
    // Not for people.
    let hidden = ("prerequisites".to_owned(), false);
    assert_eq!(silent, [&hidden]);
    let makefile = read("Makefile");
    for (target, _) in &targets {
        let phony = format!(".PHONY: {target}\n");
        assert!(
            makefile.contains(&phony),
            "Makefile: {target} is not phony: a file of that name would stop it"
        );
    }
}

/// What runs on somebody's server must run here as well.
#[test]
fn workflows_only_call_make() {
    let known: BTreeSet<_> = targets().into_iter().map(|(target, _)| target).collect();
    let folder = workspace::root().join(".github/workflows");
    let mut calls = BTreeSet::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for line in text.lines() {
            let line = line.trim_start().trim_start_matches("- ");
            if let Some(command) = line.strip_prefix("run:") {
                let command = command.replace("${{ matrix.platform }}", "linux/amd64");
                let words: Vec<_> = command.split_whitespace().collect();
                assert!(words.len() > 1 && words[0] == "make", "{name}: {command}");
                assert!(
                    known.contains(words[1]),
                    "{name}: the Makefile has no {}",
                    words[1]
                );
                let sets_variables = words[2..].iter().all(|word| word.contains('='));
                assert!(sets_variables, "{name}: {command}");
                calls.insert(words[1].to_owned());
            } else if let Some(action) = line.strip_prefix("uses:") {
                // By commit: a tag can be moved.
                let commit = action.split_once('@').map_or("", |(_, pin)| pin);
                let commit = commit.split(' ').next().unwrap_or_default();
                let is_pinned = commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit());
                assert!(is_pinned && action.contains(" # v"), "{name}: {action}");
            }
        }
    }
    let expected = ["advisories", "image", "release", "test"].map(ToOwned::to_owned);
    assert_eq!(calls, BTreeSet::from(expected));
}

/// Nobody has to guess what a version brings: its section is there from its first change on, with a date when it is
/// released.
#[test]
fn the_changelog_has_a_section_for_the_version() {
    let version = env!("CARGO_PKG_VERSION");
    let changelog = read("CHANGELOG.md");
    let sections: Vec<_> = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    let newest = sections[0];
    let to_come = format!("[Unreleased] ({version})");
    let released = format!("[{version}] - ");
    assert!(
        newest == to_come || newest.strip_prefix(&released).is_some_and(is_date),
        "CHANGELOG.md begins with {newest:?}, not with {to_come:?} or \"{released}YYYY-MM-DD\""
    );
    let body = changelog.split("\n## ").nth(1).unwrap_or_default();
    assert!(
        body.contains("\n### ") && body.contains("\n- "),
        "nothing is said of {version}"
    );
    for older in &sections[1..] {
        let (_, date) = older.split_once("] - ").unwrap_or_default();
        assert!(is_date(date), "CHANGELOG.md: {older:?} has no date");
    }
}

fn is_date(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
    lengths == [4, 2, 2] && parts.iter().all(|part| part.chars().all(|c| c.is_ascii_digit()))
}
