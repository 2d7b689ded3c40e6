//! Files, and places in files, that `make generate` writes (`BLESS=1`), and that must not differ from what it writes.

use std::{io, process::Command};

use scim_bridge_operator::api::kinds::{LEASE_RIGHTS, PROVISIONING_RIGHTS, RIGHTS, Right};
use serde_json::json;
use testbed::{generated, tools, workspace};

use crate::{
    access::WITH_PROVISIONING,
    render::{EVERYWHERE, OPERATOR, read, rendered},
};

/// The version of everything, by Cargo.toml.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Where else it stands: a file, and what is before it.
const STAMPS: [(&str, &str); 6] = [
    ("Dockerfile", "ARG VERSION="),
    ("deploy/version/kustomization.yaml", "app.kubernetes.io/version: "),
    ("deploy/version/kustomization.yaml", "newTag: "),
    ("README.md", "scim-bridge-operator:"),
    ("docs/install.md", "newTag: "),
    ("docs/install.md", "scim-bridge-operator:"),
];
/// First lines of `deploy/install.yaml`.
const HEADER: &str = "\
# The whole installation in one file: kubectl apply -f install.yaml
# Generated from kustomization.yaml ('make generate'); a test fails where it differs.
";
/// First lines of the alerts, for the Prometheus operator.
const RULE_HEADER: &str = "\
# Alerts, for the Prometheus operator. docs/monitoring.md says what each means.
# Generated from the chart ('make generate'); a test fails where it differs.
";
/// The same for Prometheus itself.
const ALERTS_HEADER: &str = "\
# Alerts, for `rule_files` of Prometheus. They find the operator by the name of its scrape job, scim-bridge-operator.
# Generated from the chart ('make generate'); a test fails where it differs.
";

/// What comes before and after the operator's rights.
type Marks = (&'static str, &'static str);
const MARKS: Marks = (
    "  # Begin of the generated rights ('make generate' writes them from src/api/kinds.rs).\n",
    "  # End of the generated rights.\n",
);
const PROVISIONING_MARKS: Marks = (
    "  # Begin of the generated rights with provisioning.\n",
    "  # End of the generated rights with provisioning.\n",
);
/// Files that hold the operator's rights between two lines.
const RIGHTS_IN: [(&str, Marks, &[Right]); 4] = [
    ("deploy/rbac.yaml", MARKS, RIGHTS),
    ("deploy/watched-namespace/rbac.yaml", MARKS, RIGHTS),
    ("charts/scim-bridge-operator/templates/rbac.yaml", MARKS, RIGHTS),
    (
        "charts/scim-bridge-operator/templates/rbac.yaml",
        PROVISIONING_MARKS,
        PROVISIONING_RIGHTS,
    ),
];
/// The patch that adds the further rights to a Role, and its first lines.
const PATCH: &str = "deploy/provisioning/operator/rights.yaml";
const PATCH_HEADER: &str = "\
# The operator's further rights, for its ClusterRole or Roles.
# Generated from src/api/kinds.rs ('make generate'); a test fails where it differs.
";

/// Holds a file to what it would be, or writes it.
fn hold(path: &str, expected: &str) {
    generated::file(path, expected).unwrap();
}

/// The text with `version` in all places that follow the prefix, and how many they are.
fn stamp(text: &str, prefix: &str, version: &str) -> (String, usize) {
    let mut parts = text.split(prefix);
    let mut stamped = parts.next().unwrap_or_default().to_owned();
    let mut places = 0;
    for part in parts {
        stamped.push_str(prefix);
        let end = part.find(|c: char| !(c.is_ascii_alphanumeric() || ".-+".contains(c)));
        let (old, rest) = part.split_at(end.unwrap_or(part.len()));
        if old.starts_with(|c: char| c.is_ascii_digit()) {
            places += 1;
            stamped.push_str(version);
        } else {
            stamped.push_str(old);
        }
        stamped.push_str(rest);
    }
    (stamped, places)
}

/// One test, for the second file is made from the first.
#[tokio::test]
async fn generated_files_are_up_to_date() {
    for (path, prefix) in STAMPS {
        let (stamped, places) = stamp(&read(path), prefix, VERSION);
        assert!(places > 0, "{path}: no version after {prefix:?}");
        hold(path, &stamped);
    }
    let install = rendered(&workspace::root().join(EVERYWHERE)).await;
    hold("deploy/install.yaml", &format!("{HEADER}{install}"));
    // By the job alone: a kustomization may move the operator to another namespace, and knows nothing of expressions.
    let rule = rule_of_the_chart(r#"job="scim-bridge-operator""#).await;
    hold(
        "deploy/monitoring/prometheusrule.yaml",
        &format!("{RULE_HEADER}{rule}"),
    );
    // Prometheus' own form is what stands below `spec`.
    let (_, groups) = rule.split_once("\nspec:\n").unwrap();
    let groups: String = groups
        .lines()
        .map(|line| line.strip_prefix("  ").unwrap_or(line).to_owned() + "\n")
        .collect();
    hold(
        "deploy/monitoring/alerts.yaml",
        &format!("{ALERTS_HEADER}{groups}"),
    );
}

/// The chart's `PrometheusRule`, without what says that Helm made it.
async fn rule_of_the_chart(selector: &str) -> String {
    let helm = tools::helm(&mut io::stderr()).await.unwrap();
    let values = json!({"enabled": true, "selector": selector});
    let output = Command::new(helm)
        .args(["template", OPERATOR])
        .arg(workspace::root().join("charts/scim-bridge-operator"))
        .args([
            "--namespace",
            OPERATOR,
            "--show-only",
            "templates/prometheusrule.yaml",
        ])
        .args(["--set-json", &format!("prometheusRule={values}")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let made = String::from_utf8(output.stdout).unwrap();
    let is_helms = |line: &&str| {
        [
            "---",
            "# Source: ",
            "    helm.sh/chart: ",
            "    app.kubernetes.io/managed-by: ",
        ]
        .iter()
        .any(|beginning| line.starts_with(beginning))
    };
    let lines = made.lines().filter(|line| !is_helms(line));
    lines.map(|line| line.to_owned() + "\n").collect()
}

#[test]
fn versions_are_found_and_nothing_else_is() {
    for (text, expected, places) in [
        ("ARG VERSION=0.1.0\nARG X=1", "ARG VERSION=2.0.0-rc.1\nARG X=1", 1),
        ("ARG VERSION=unknown", "ARG VERSION=unknown", 0),
        (
            "ARG VERSION=1.2.3 ARG VERSION=0",
            "ARG VERSION=2.0.0-rc.1 ARG VERSION=2.0.0-rc.1",
            2,
        ),
        ("", "", 0),
    ] {
        assert_eq!(
            stamp(text, "ARG VERSION=", "2.0.0-rc.1"),
            (expected.to_owned(), places)
        );
    }
}

/// A rule of a Role that grants a right, line by line, and the reasons for it.
fn rule(right: &Right) -> (Vec<String>, [String; 3]) {
    let group = if right.group.is_empty() {
        r#""""#
    } else {
        right.group
    };
    let (resources, verbs) = (right.resources.join(", "), right.verbs.join(", "));
    (
        right.why.iter().map(|why| format!("# {why}")).collect(),
        [
            format!("apiGroups: [{group}]"),
            format!("resources: [{resources}]"),
            format!("verbs: [{verbs}]"),
        ],
    )
}

/// The rules of a Role that grants the rights.
fn rules(rights: &[Right]) -> String {
    let of = |right: &Right| {
        let (why, fields) = rule(right);
        let (why, fields) = (why.join("\n  "), fields.join("\n    "));
        format!("  {why}\n  - {fields}\n")
    };
    rights.iter().map(of).collect()
}

/// The patch that adds these rules to a Role.
fn patch(rights: &[Right]) -> String {
    let of = |right: &Right| {
        let (why, fields) = rule(right);
        let (why, fields) = (why.join("\n"), fields.join("\n    "));
        format!("{why}\n- op: add\n  path: /rules/-\n  value:\n    {fields}\n")
    };
    rights.iter().map(of).collect()
}

#[test]
fn the_rights_are_those_of_the_table() {
    for (path, (begin, end), rights) in RIGHTS_IN {
        let text = read(path);
        let (before, rest) = text
            .split_once(begin)
            .unwrap_or_else(|| panic!("{path} has no line {begin:?}"));
        let (_, after) = rest
            .split_once(end)
            .unwrap_or_else(|| panic!("{path} has no line {end:?}"));
        hold(path, &format!("{before}{begin}{}{end}{after}", rules(rights)));
    }
    hold(PATCH, &format!("{PATCH_HEADER}{}", patch(PROVISIONING_RIGHTS)));
}

#[test]
fn the_page_of_rights_is_the_table() {
    let row = |right: &Right, scope: &str| {
        let quoted: Vec<String> = right.resources.iter().map(|name| format!("`{name}`")).collect();
        let group = if right.group.is_empty() {
            String::new()
        } else {
            format!(" (`{}`)", right.group)
        };
        let resources = format!("{}{group}", quoted.join(", "));
        generated::row(&[&resources, &right.verbs.join(", "), scope, &right.why.join(" ")])
    };
    let [create, use_own] = LEASE_RIGHTS;
    let mut table = generated::head(&["Resource", "Verbs", "Scope", "Why"]);
    table.extend(RIGHTS.iter().map(|right| row(right, "cluster")));
    table.push_str(&row(&create, "own namespace"));
    table.push_str(&row(&use_own, &format!("own namespace, `{OPERATOR}` only")));
    let mut further = generated::head(&["Resource", "Verbs", "Scope", "Why"]);
    further.extend(
        PROVISIONING_RIGHTS
            .iter()
            .map(|right| row(right, &format!("{WITH_PROVISIONING}cluster"))),
    );
    generated::tables(
        "docs/reference/access.md",
        &[("rights", &table), ("rights with provisioning", &further)],
    )
    .unwrap();
}
