//! What a release consists of fits together before anybody releases.

use std::{collections::BTreeSet, env, fs, os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::Value;
use testbed::{HOSTILE, HOSTILE_SEED, scratch::Scratch, workspace};

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
    let expected = ["advisories", "image", "release", "test", "test-hostile"].map(ToOwned::to_owned);
    assert_eq!(calls, BTreeSet::from(expected));
}

/// Make at the root of the workspace, apart from the one that may run this test.
fn make(arguments: &[&str]) -> Command {
    let mut make = Command::new("make");
    make.current_dir(workspace::root()).args(arguments);
    for inherited in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS", HOSTILE, HOSTILE_SEED] {
        make.env_remove(inherited);
    }
    make
}

/// `make test-hostile` with a cargo whose every test fails.
#[test]
fn one_failing_program_hides_no_other() {
    let scratch = Scratch::new("cargo").unwrap();
    let (cargo, log) = (scratch.path().join("cargo"), scratch.path().join("log"));
    let script = "#!/bin/sh\necho \"$HOSTILE $HOSTILE_SEED $*\" >> \"$LOG\"\ntest \"$1\" != test\n";
    fs::write(&cargo, script).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", scratch.path().display(), env::var("PATH").unwrap());
    let output = make(&["test-hostile"])
        .env(HOSTILE_SEED, "7")
        .envs([("PATH", path.as_str()), ("LOG", log.to_str().unwrap())])
        .output()
        .unwrap();
    assert!(!output.status.success(), "a failure is one of the whole");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("make test-hostile HOSTILE_SEED=7 repeats this run"),
        "{said}"
    );
    let log = fs::read_to_string(log).unwrap();
    let calls: Vec<_> = log.lines().filter(|call| call.contains(" test ")).collect();
    for call in &calls {
        assert!(call.starts_with("full 7 test "), "{call}");
        let is_one = call.matches("--test ").count() == 1 && !call.contains("--lib");
        assert!(is_one || call.contains(" --no-fail-fast "), "{call}");
    }
    for program in ["model", "storms", "controller"] {
        let name = format!("--test {program}");
        assert!(
            calls.iter().any(|call| call.contains(&name)),
            "{program} did not run: {calls:#?}"
        );
    }
    let test = make(&["--dry-run", "test"]).output().unwrap();
    let test = String::from_utf8(test.stdout).unwrap();
    let all: Vec<_> = test
        .lines()
        .filter(|line| line.starts_with("cargo test ") && !line.ends_with(" --test english"))
        .collect();
    assert!(
        all.len() == 1 && all[0].ends_with(" --workspace --no-fail-fast"),
        "{all:?}"
    );
}

/// The full budgets run every night, with a seed that is the run's own, and that somebody may set to repeat it.
#[test]
fn the_full_budgets_run_with_a_seed_that_changes() {
    let workflow: Value = serde_saphyr::from_str(&read(".github/workflows/hostile.yaml")).unwrap();
    let cron = workflow.pointer("/on/schedule/0/cron").and_then(Value::as_str);
    assert!(
        cron.is_some_and(|cron| cron.ends_with(" * * *")),
        "every day: {cron:?}"
    );
    assert!(workflow.pointer("/on/workflow_dispatch/inputs/seed").is_some());
    let steps = workflow.pointer("/jobs/hostile/steps").and_then(Value::as_array);
    let run = steps
        .unwrap()
        .iter()
        .find(|step| step["run"] == "make test-hostile");
    let seed = run.and_then(|run| run["env"][HOSTILE_SEED].as_str());
    assert_eq!(seed, Some("${{ inputs.seed || github.run_id }}"));
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
