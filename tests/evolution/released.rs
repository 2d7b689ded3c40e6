//! The CRDs against those of the last release.

use std::{collections::BTreeMap, env, fs};

use serde_json::Value;
use testbed::workspace;

use crate::compare::incompatibilities;

/// Incompatible changes since the last release that were made with open eyes: how the line about each begins, and why
/// nobody is hurt. A release empties the list, for the next one is compared with it.
const ACCEPTED: &[(&str, &str)] = &[];

/// Major, minor and patch.
type Version = [u64; 3];

fn parse(version: &str) -> Option<Version> {
    let parts: Option<Vec<u64>> = version.split('.').map(|part| part.parse().ok()).collect();
    parts?.try_into().ok()
}

fn current() -> Version {
    parse(env!("CARGO_PKG_VERSION")).unwrap()
}

fn file_of(version: Version) -> String {
    let [major, minor, patch] = version;
    format!("tests/released/{major}.{minor}.{patch}.yaml")
}

fn read(path: &str) -> String {
    fs::read_to_string(workspace::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The definitions as they are now, one after another: what `make baseline` keeps.
fn present() -> String {
    ["deploy/crd.yaml", "deploy/provisioning/crds.yaml"]
        .map(read)
        .concat()
}

/// Definitions by their names.
fn crds(manifests: &str) -> BTreeMap<String, Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifests).unwrap();
    let named = documents.into_iter().map(|crd| {
        let name = crd["metadata"]["name"].as_str().unwrap().to_owned();
        (name, crd)
    });
    named.collect()
}

/// What is incompatible in all definitions, one line each. A new definition breaks nobody.
async fn all_incompatibilities(old: &str, new: &str) -> Vec<String> {
    let (old, mut new) = (crds(old), crds(new));
    let mut found = Vec::new();
    for (name, old) in old {
        match new.remove(&name) {
            None => found.push(format!("{name}: gone")),
            Some(new) => {
                let lines = incompatibilities(&old, &new).await.into_iter();
                found.extend(lines.map(|line| format!("{name} {line}")));
            }
        }
    }
    found
}

/// Versions with a definition in `tests/released/`, the newest last.
fn kept() -> Vec<Version> {
    let files = fs::read_dir(workspace::root().join("tests/released")).unwrap();
    let mut versions: Vec<_> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .map(|name| {
            let version = name.strip_suffix(".yaml").and_then(parse);
            version.unwrap_or_else(|| panic!("tests/released/{name}: not VERSION.yaml"))
        })
        .collect();
    versions.sort_unstable();
    versions
}

/// The release to be compatible with: the last one before the current version. Before the first release it is the
/// current version's own definition, as it was when somebody last agreed to it.
fn baseline(kept: &[Version], current: Version) -> Option<Version> {
    let before = kept.iter().rev().find(|version| **version < current);
    let own = kept.iter().find(|version| **version == current);
    before.or(own).copied()
}

/// Versions that CHANGELOG.md gives a date: `## [0.1.0] - 2026-01-31`.
fn released() -> Vec<Version> {
    read("CHANGELOG.md")
        .lines()
        .filter_map(|line| line.strip_prefix("## [")?.split_once("] - "))
        .filter_map(|(version, _)| parse(version))
        .collect()
}

/// What is found and not accepted, and what is accepted and not found.
fn judge<'a>(found: &'a [String], accepted: &[(&'a str, &str)]) -> (Vec<&'a str>, Vec<&'a str>) {
    let fits = |line: &str, beginning: &str| line.starts_with(beginning);
    let breaches = found
        .iter()
        .map(String::as_str)
        .filter(|line| !accepted.iter().any(|(beginning, _)| fits(line, beginning)))
        .collect();
    let idle = accepted
        .iter()
        .map(|(beginning, _)| *beginning)
        .filter(|beginning| !found.iter().any(|line| fits(line, beginning)))
        .collect();
    (breaches, idle)
}

#[tokio::test]
async fn the_crds_are_compatible_with_the_last_release() {
    let baseline = baseline(&kept(), current()).expect("tests/released/ holds a definition");
    let found = all_incompatibilities(&read(&file_of(baseline)), &present()).await;
    let (breaches, idle) = judge(&found, ACCEPTED);
    let advice = if released().is_empty() {
        "nothing is released yet: if it has to be so, `make baseline` takes the CRDs as they are now"
    } else {
        "make it compatible; docs/api-evolution.md says how, and what to do if that cannot be"
    };
    assert!(
        breaches.is_empty(),
        "the CRDs of deploy/ break what {} promised ({advice}):\n{}",
        file_of(baseline),
        breaches.join("\n")
    );
    assert!(idle.is_empty(), "no longer so, take it out of ACCEPTED: {idle:?}");
}

/// The definition of a release is kept, and is the one that was released.
#[test]
fn every_release_has_its_definition() {
    let kept = kept();
    let released = released();
    for version in &released {
        assert!(kept.contains(version), "{} is missing", file_of(*version));
    }
    if released.contains(&current()) {
        let is_same = read(&file_of(current())) == present();
        assert!(
            is_same,
            "{} is released: give Cargo.toml the next version",
            file_of(current())
        );
    }
    // One is not released yet, at most: the one to come.
    for version in kept {
        assert!(
            released.contains(&version) || version == current(),
            "{}: CHANGELOG.md has no such release",
            file_of(version)
        );
    }
}

/// Each definition is compared with its own predecessor.
#[tokio::test]
async fn every_definition_is_compared() {
    let present = present();
    let names: Vec<_> = crds(&present).into_keys().collect();
    assert_eq!(
        names,
        [
            "scimbridgeconnections.scimbridge.dev",
            "scimgroups.scimbridge.dev",
            "scimusers.scimbridge.dev",
        ]
    );
    let connections = read("deploy/crd.yaml");
    let shorter = present.replace("maxLength: 254", "maxLength: 253");
    let (user, group) = ("scimusers.scimbridge.dev", "scimgroups.scimbridge.dev");
    for (old, new, expected) in [
        (&present, &present, vec![]),
        (&connections, &present, vec![]),
        (
            &present,
            &connections,
            vec![format!("{group}: gone"), format!("{user}: gone")],
        ),
        (
            &present,
            &shorter,
            vec![
                format!("{group} v1alpha1 spec.members[*].userName maxLength"),
                format!("{user} v1alpha1 spec.userName maxLength"),
            ],
        ),
    ] {
        let found = all_incompatibilities(old, new).await;
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (line, beginning) in found.iter().zip(&expected) {
            assert!(line.starts_with(beginning), "{line} is not {beginning}");
        }
    }
}

#[test]
fn the_baseline_is_the_last_release() {
    let (one, two, ten) = ([0, 1, 0], [0, 2, 0], [0, 10, 0]);
    for (kept, current, expected) in [
        (&[][..], one, None),
        (&[one], one, Some(one)),
        (&[one], two, Some(one)),
        (&[one, two], two, Some(one)),
        (&[one, two], ten, Some(two)),
        (&[one, two, ten], [0, 10, 1], Some(ten)),
        (&[two], one, None),
    ] {
        assert_eq!(baseline(kept, current), expected, "{kept:?}, {current:?}");
    }
}

#[test]
fn what_was_accepted_is_passed_over_and_nothing_else_is() {
    let found = [
        "v1 spec.url maxLength: 1".to_owned(),
        "v1 spec.url rule: x".to_owned(),
    ];
    let all: Vec<_> = found.iter().map(String::as_str).collect();
    assert_eq!(judge(&found, &[]), (all.clone(), vec![]));
    assert_eq!(judge(&found, &[("v1 spec.url rule", "")]), (vec![all[0]], vec![]));
    assert_eq!(
        judge(&found, &[("v1 spec.name", "")]),
        (all, vec!["v1 spec.name"])
    );
}
