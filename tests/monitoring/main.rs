//! What people are shown and woken by: rules, tested by Prometheus' own tool, and a real Prometheus that scrapes the
//! real operator's metrics.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

mod exposition;
mod picture;
mod scrape;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use scim_bridge_operator::api::vocabulary::Reason;
use serde_json::Value;
use testbed::{
    generated,
    scratch::Scratch,
    tools::{self, PrometheusTools},
    workspace,
};
use tokio::sync::OnceCell;

use self::exposition::exposition;

async fn tools() -> &'static PrometheusTools {
    static TOOLS: OnceCell<PrometheusTools> = OnceCell::const_new();
    TOOLS
        .get_or_init(async || tools::prometheus(&mut std::io::stderr()).await.unwrap())
        .await
}

/// The rules of the chart, as Prometheus reads them.
async fn rules() -> Value {
    rendered("prometheusRule", &[]).await["spec"].clone()
}

/// The same for an operator in shards.
async fn rules_for_shards() -> Value {
    rendered("prometheusRule", &["--set", "shards={a,b}"]).await["spec"].clone()
}

/// What the chart makes of a feature that is enabled.
async fn rendered(feature: &str, more: &[&str]) -> Value {
    let helm = tools::helm(&mut std::io::stderr()).await.unwrap();
    let chart = workspace::root().join("charts/scim-bridge-operator");
    let output = Command::new(helm)
        .args(["template", "x"])
        .arg(chart)
        .args(["--set", &format!("{feature}.enabled=true")])
        .args(more)
        .args([
            "--show-only",
            &format!("templates/{}.yaml", feature.to_ascii_lowercase()),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_saphyr::from_slice(&output.stdout).unwrap()
}

/// Every rule.
fn alerts(rules: &Value) -> Vec<&Value> {
    let groups = rules["groups"].as_array().unwrap().iter();
    groups
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect()
}

async fn promtool(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(&tools().await.promtool);
    command.current_dir(folder).args(args).output().unwrap()
}

/// Has Prometheus' own tool check the rules, and run the tests of a file in this folder against them.
async fn tested(rules: &Value, file: &str) {
    let scratch = Scratch::new("rules").unwrap();
    fs::write(scratch.path().join("rules.yaml"), rules.to_string()).unwrap();
    fs::copy(tests_file(file), scratch.path().join(file)).unwrap();
    for args in [&["check", "rules", "rules.yaml"], &["test", "rules", file]] {
        let output = promtool(scratch.path(), args).await;
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "promtool {args:?}:\n{out}{err}");
    }
}

/// Fails unless the file shows each alert firing, and not firing. Nothing is proven by a test that is not there.
fn assert_shown(names: impl IntoIterator<Item = String>, file: &str) {
    let tests: Value = serde_saphyr::from_str(&fs::read_to_string(tests_file(file)).unwrap()).unwrap();
    let mut shown: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    for test in tests["tests"].as_array().unwrap() {
        for expectation in test["alert_rule_test"].as_array().unwrap() {
            let fires = expectation["exp_alerts"]
                .as_array()
                .is_some_and(|alerts| !alerts.is_empty());
            let name = expectation["alertname"].as_str().unwrap().to_owned();
            shown.entry(name).or_default().insert(fires);
        }
    }
    for name in names {
        let both = BTreeSet::from([false, true]);
        assert_eq!(
            shown.get(&name),
            Some(&both),
            "let tests/monitoring/{file} show {name} firing, and not firing"
        );
    }
}

fn tests_file(file: &str) -> PathBuf {
    workspace::root().join("tests/monitoring").join(file)
}

fn names(rules: &Value) -> impl Iterator<Item = String> {
    let alerts = alerts(rules).into_iter();
    alerts.map(|alert| alert["alert"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn every_alert_fires_when_it_should_and_not_before() {
    let rules = rules().await;
    tested(&rules, "alerts.yaml").await;
    assert_shown(names(&rules), "alerts.yaml");
}

/// With shards one that does not work must not hide behind those that do.
#[tokio::test]
async fn every_alert_fires_by_shard() {
    let (whole, sharded) = (rules().await, rules_for_shards().await);
    tested(&sharded, "shards.yaml").await;
    // Those that are the same have been tested.
    let changed = alerts(&sharded)
        .into_iter()
        .filter(|alert| !alerts(&whole).contains(alert));
    let changed = changed.map(|alert| alert["alert"].as_str().unwrap().to_owned());
    assert_shown(changed, "shards.yaml");
}

#[tokio::test]
async fn alerts_say_how_bad_it_is_and_lead_to_a_runbook() {
    const BASE: &str = "https://docs.example.com/reasons.md";
    let rules = rules().await;
    let set = format!("prometheusRule.runbooks={BASE}");
    let linked = rendered("prometheusRule", &["--set", &set]).await["spec"].clone();
    let page = fs::read_to_string(workspace::root().join("docs/reasons.md")).unwrap();
    let titles: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(str::trim)
        .collect();
    for (alert, linked) in alerts(&rules).into_iter().zip(alerts(&linked)) {
        let severity = alert["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("warning" | "critical")), "{alert}");
        for annotation in ["summary", "description"] {
            assert!(
                alert["annotations"][annotation].is_string(),
                "{annotation} of {alert}"
            );
        }
        // Without an address there is no link: a path is no URL.
        assert_eq!(alert["annotations"]["runbook_url"], Value::Null, "{alert}");
        let command = alert["annotations"]["runbook"].as_str().unwrap();
        let name = command
            .strip_prefix("scim-bridge-operator explain ")
            .unwrap_or_else(|| panic!("{command}"));
        // The section of each reason has the reason's name.
        let is_of_reason = name == "{{ $labels.reason }}";
        assert!(is_of_reason || titles.contains(name), "no section for {command}");
        let anchor = if is_of_reason {
            "{{ $labels.reason | toLower }}".to_owned()
        } else {
            name.to_ascii_lowercase()
        };
        assert_eq!(
            linked["annotations"]["runbook_url"],
            format!("{BASE}#{anchor}"),
            "{linked}"
        );
        assert_eq!(linked["annotations"]["runbook"], Value::Null, "{linked}");
    }
}

/// Rows of a table below a heading of docs/monitoring.md, by cell.
fn rows(page: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, part) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let part = part.split("\n## ").next().unwrap();
    let rows = part.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells = row.trim_matches('|').split(" | ");
        cells
            .map(|cell| cell.trim().trim_matches('`').to_owned())
            .collect()
    })
    .collect()
}

fn page() -> String {
    fs::read_to_string(workspace::root().join("docs/monitoring.md")).unwrap()
}

#[tokio::test]
async fn the_page_says_of_each_alert_how_bad_it_is_and_how_long_it_waits() {
    let rules = rules().await;
    let text = |value: &Value| value.as_str().unwrap_or("at once").to_owned();
    let of_the_chart: BTreeSet<_> = alerts(&rules)
        .into_iter()
        .map(|alert| [&alert["alert"], &alert["labels"]["severity"], &alert["for"]].map(text))
        .collect();
    let told: BTreeSet<_> = rows(&page(), "Alerts")
        .into_iter()
        .map(|row| [row[0].clone(), row[1].clone(), row[2].clone()])
        .collect();
    assert_eq!(of_the_chart, told, "left: the chart; right: docs/monitoring.md");
}

/// Name, type, labels and help of each metric, as `/metrics` has them. Those of the process have their names and meanings
/// from Prometheus' client libraries.
#[test]
fn generated_table_of_metrics() {
    let text = exposition();
    let mut table = generated::head(&["Name", "Type", "Labels", "Meaning"]);
    for line in text.lines() {
        let Some((family, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        if family.starts_with("process_") {
            continue;
        }
        let kind = exposition::kind(family);
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let labels = labels(&text, family);
        let labels = labels.iter().map(|label| format!("`{label}`"));
        let labels = labels.collect::<Vec<_>>().join(", ");
        let (name, help) = (format!("`{family}{suffix}`"), help.trim_end_matches('.'));
        table += &generated::row(&[&name, kind, &labels, &format!("{help}.")]);
    }
    generated::tables("docs/reference/metrics.md", &[("metrics", &table)]).unwrap();
}

/// Names of the labels that a metric has beside those of its connection and of its buckets.
fn labels(text: &str, family: &str) -> BTreeSet<String> {
    let series = text.lines().filter_map(|line| line.strip_prefix(family));
    let labelled = series.filter_map(|rest| {
        let (suffix, rest) = rest.split_once('{')?;
        let suffixes = ["", "_total", "_info", "_bucket", "_sum", "_count"];
        suffixes.contains(&suffix).then_some(rest.split_once('}')?.0)
    });
    let names = labelled.flat_map(|labels| labels.split("\",").filter_map(|label| label.split('=').next()));
    names
        .filter(|name| !["", "namespace", "name", "le"].contains(name))
        .map(str::to_owned)
        .collect()
}

/// No STATUS that somebody has to do something about is without an alert, and its runbook names it.
#[tokio::test]
async fn every_reason_has_its_alert() {
    let rules = rules().await;
    let expression = |name: &str| {
        let found = alerts(&rules).into_iter().find(|alert| alert["alert"] == name);
        found.unwrap()["expr"].as_str().unwrap().to_owned()
    };
    let general = expression("ScimBridgeNotConnected");
    let (_, excluded) = general.split_once(r#"reason!~""#).unwrap();
    let excluded: BTreeSet<&str> = excluded.split('"').next().unwrap().split('|').collect();
    assert!(expression("ScimBridgeKeyRefused").contains(r#"type="AuthFailed"} == 1"#));
    // Where it is Ready nobody has to do anything.
    let disabled = expression("ScimBridgeScimDisabled");
    assert!(
        disabled.contains(r#"reason="ScimDisabled"} == 1"#) && disabled.contains(r#"type="Ready"} == 0"#)
    );
    assert_eq!(
        excluded,
        BTreeSet::from(["Connected", "AuthFailed", "ScimDisabled"])
    );
    let runbooks = fs::read_to_string(workspace::root().join("docs/reasons.md")).unwrap();
    for reason in Reason::ALL {
        let alert = match reason.as_str() {
            "Connected" => "None",
            "AuthFailed" => "`ScimBridgeKeyRefused`",
            "ScimDisabled" => "`ScimBridgeScimDisabled`",
            _ => "`ScimBridgeNotConnected`",
        };
        let (_, section) = runbooks.split_once(&format!("\n## {reason}\n")).unwrap();
        let section = section.split("\n## ").next().unwrap();
        assert!(
            section.contains(&format!("**Alert.** {alert}")),
            "docs/reasons.md: `## {reason}` has to say **Alert.** {alert}"
        );
    }
}

/// Without it Prometheus would say that every connection is in the operator's namespace.
#[tokio::test]
async fn the_namespace_of_a_series_is_the_connections() {
    let monitor = rendered("serviceMonitor", &[]).await;
    for endpoint in monitor["spec"]["endpoints"].as_array().unwrap() {
        assert_eq!(endpoint["honorLabels"], true, "{endpoint}");
    }
}

#[tokio::test]
async fn alerts_ask_for_metrics_that_there_are() {
    let exposition = exposition();
    let known: BTreeSet<&str> = exposition
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let rules = rules().await;
    for alert in alerts(&rules) {
        let expression = alert["expr"].as_str().unwrap();
        let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for metric in words.filter(|word| word.starts_with("scim_bridge_")) {
            assert!(known.contains(metric), "{metric} in {expression}");
        }
    }
}

#[tokio::test]
async fn prometheus_has_nothing_against_names_and_help() {
    let mut child = Command::new(&tools().await.promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The tool reads the older text format: without units, and with counters by their full name.
    let text: String = exposition()
        .lines()
        .filter(|line| *line != "# EOF" && !line.starts_with("# UNIT "))
        .fold((String::new(), String::new()), |(text, counter), line| {
            older(text, counter, line)
        })
        .0;
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

/// A line of OpenMetrics in Prometheus' older text format.
fn older(mut text: String, mut counter: String, line: &str) -> (String, String) {
    let mut words = line.splitn(4, ' ');
    let (hash, what) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let line = match (hash, what) {
        ("#", "HELP" | "TYPE") => {
            let (name, rest) = (words.next().unwrap(), words.next().unwrap());
            let suffix = match exposition::kind(name) {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            let rest = if rest == "info" { "gauge" } else { rest };
            name.clone_into(&mut counter);
            format!("# {what} {name}{suffix} {rest}")
        }
        _ => line.to_owned(),
    };
    text.push_str(&line);
    text.push('\n');
    (text, counter)
}
