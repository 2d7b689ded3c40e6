//! docs/security.md keeps its word: every test that it names exists, and every promise names one. Every test and file
//! that other pages for developers name exists as well.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

use std::{collections::BTreeSet, fs, path::Path};

const PAGE: &str = "docs/security.md";
const OTHERS: [&str; 2] = ["docs/architecture.md", "CONTRIBUTING.md"];

fn page() -> String {
    read(PAGE)
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What stands between backticks and looks like a path of this repository: `tests/model`, `tests/a.rs::a_test`.
fn references(page: &str) -> BTreeSet<String> {
    let quoted = page.split('`').skip(1).step_by(2);
    quoted
        .filter(|text| {
            [
                "tests/",
                "src/",
                "fuzz",
                "docs/",
                "deploy/",
                "charts/",
                "deny.toml",
            ]
            .iter()
            .any(|folder| text.starts_with(folder))
        })
        .map(str::to_owned)
        .collect()
}

/// What is wrong with a reference, if anything.
fn fault(reference: &str) -> Option<String> {
    let (path, name) = match reference.split_once("::") {
        Some((path, name)) => (path, Some(name)),
        None => (reference, None),
    };
    let path = root().join(path);
    if !path.exists() {
        return Some(format!("`{reference}`: there is no such file"));
    }
    let name = name?;
    let source = fs::read_to_string(path).unwrap_or_default();
    let is_there = source.lines().any(|line| {
        (line.contains(&format!("fn {name}(")) || line.contains(&format!("fn {name}<")))
            && !line.trim_start().starts_with("//")
    });
    (!is_there).then(|| format!("`{reference}`: the file has no such test"))
}

/// The paragraphs, list items and table rows below a heading.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let rest = page
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("{PAGE} has no section {heading:?}"))
        .1;
    rest.split("\n## ").next().unwrap()
}

#[test]
fn every_test_that_the_page_names_exists() {
    let references = references(&page());
    assert!(references.len() > 30, "{PAGE} names no more than {references:?}");
    let faults: Vec<_> = references
        .iter()
        .filter_map(|reference| fault(reference))
        .collect();
    assert!(
        faults.is_empty(),
        "{PAGE} names what is not there (any more); name what took its place:\n{}",
        faults.join("\n")
    );
}

#[test]
fn every_test_and_file_that_other_pages_name_exists() {
    let mut faults = Vec::new();
    for path in OTHERS {
        let page = read(path);
        let references = references(&page).into_iter();
        let lacking = references.filter_map(|reference| fault(&reference));
        faults.extend(lacking.map(|fault| format!("{path}: {fault}")));
    }
    assert!(
        faults.is_empty(),
        "name what took its place:\n{}",
        faults.join("\n")
    );
}

#[test]
fn every_incident_names_what_would_catch_it_here() {
    let page = page();
    let rows: Vec<&str> = section(&page, "Incidents of this kind")
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| Incident") && !line.starts_with("|---"))
        .collect();
    assert!(rows.len() >= 28, "{} incidents are left", rows.len());
    for row in rows {
        assert!(
            !references(row).is_empty(),
            "this incident has a rule, but nothing that holds it: {row}"
        );
    }
}

#[test]
fn the_reader_sees_what_it_should() {
    assert_eq!(fault("tests/security.rs::section"), None);
    assert_eq!(fault("tests/security.rs"), None);
    assert!(fault("tests/security.rs::sect").is_some());
    assert!(fault("tests/nowhere.rs").is_some());
    assert_eq!(
        references("see `tests/a.rs::b`, `make test` and `src/x`"),
        BTreeSet::from(["src/x".to_owned(), "tests/a.rs::b".to_owned()])
    );
}
