//! The chart: what it renders, what it refuses, what of it is generated, and what its admission policy admits.
//!
//! `BLESS=1 cargo test --test chart generated` writes the table of values and the versions. Whole installations are in
//! `tests/install`.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

use std::{collections::BTreeMap, fs, path::PathBuf};

use clap::Parser as _;
use scim_bridge_operator::args::Arguments;
use serde_json::{Value, json};
use testbed::{Cluster, cluster::Helm, connection, generated, spec, wait, workspace};

/// Where it is, from the root of the workspace.
const CHART: &str = "charts/scim-bridge-operator";

fn chart() -> PathBuf {
    workspace::root().join(CHART)
}

fn read(file: &str) -> String {
    fs::read_to_string(chart().join(file)).unwrap()
}

/// Holds a generated file of the chart, or writes it.
fn file(path: &str, text: &str) {
    generated::file(&format!("{CHART}/{path}"), text).unwrap();
}

/// A row for each value of values.yaml: its path, its default, and the comment above it.
fn table() -> String {
    let text = read("values.yaml");
    let values: Value = serde_saphyr::from_str(&text).unwrap();
    let mut rows = String::from("| Value | Default | Meaning |\n|---|---|---|\n");
    let mut path: Vec<(usize, String)> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    let mut described = usize::MAX;
    for line in text.lines() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if let Some(words) = trimmed.strip_prefix("# ") {
            comment.push(words);
            continue;
        }
        let Some((name, _)) = trimmed.split_once(':').filter(|_| !trimmed.starts_with('-')) else {
            comment.clear();
            continue;
        };
        path.retain(|(depth, _)| *depth < indent);
        path.push((indent, name.to_owned()));
        // What is below a value that has a comment is part of its default.
        if indent <= described {
            described = usize::MAX;
        }
        if comment.is_empty() || described != usize::MAX {
            continue;
        }
        described = indent;
        let dotted: Vec<&str> = path.iter().map(|(_, name)| name.as_str()).collect();
        let default = dotted.iter().fold(&values, |value, name| &value[*name]);
        rows += &[
            "| `",
            &dotted.join("."),
            "` | `",
            &default.to_string(),
            "` | ",
            &comment.join(" "),
            " |\n",
        ]
        .concat();
        comment.clear();
    }
    rows
}

#[test]
fn generated_table_of_values() {
    generated::tables(&format!("{CHART}/README.md"), &[("values", &table())]).unwrap();
}

/// Templates cannot read values.yaml, and have to know what is in it where a value is null.
#[test]
fn generated_defaults() {
    let values: Value = serde_saphyr::from_str(&read("values.yaml")).unwrap();
    let text = serde_json::to_string_pretty(&values).unwrap();
    let comment = "{{/* values.yaml, for values that are null. Generated ('make generate'); a test fails where it differs. */}}";
    let parts = [
        comment,
        "{{- define \"scim-bridge-operator.defaults\" -}}",
        &text,
        "{{- end -}}\n",
    ];
    file("templates/_defaults.tpl", &parts.join("\n"));
}

#[test]
fn generated_versions() {
    let version = env!("CARGO_PKG_VERSION");
    let lines = read("Chart.yaml");
    let text: Vec<String> = lines
        .lines()
        .map(|line| match line.split_once(':') {
            Some(("version", _)) => format!("version: {version}"),
            Some(("appVersion", _)) => format!("appVersion: \"{version}\""),
            _ => line.to_owned(),
        })
        .collect();
    file("Chart.yaml", &(text.join("\n") + "\n"));
}

#[test]
fn the_crd_is_that_of_deploy() {
    for (file, deployed) in [
        ("files/crd.yaml", "deploy/crd.yaml"),
        ("files/provisioning.yaml", "deploy/provisioning/crds.yaml"),
    ] {
        let deployed = fs::read_to_string(workspace::root().join(deployed)).unwrap();
        assert!(read(file) == deployed, "charts/.../{file}: run `make generate`");
        assert!(
            !deployed.contains("{{"),
            "the chart would take that for a template"
        );
    }
}

/// Every value is in the table: one without a comment would be missing.
#[test]
fn every_value_has_its_row() {
    fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
        match value.as_object().filter(|fields| !fields.is_empty()) {
            None => found.push(path.to_owned()),
            Some(fields) => {
                for (name, value) in fields {
                    let path = if path.is_empty() {
                        name.clone()
                    } else {
                        format!("{path}.{name}")
                    };
                    leaves(value, &path, found);
                }
            }
        }
    }
    let values: Value = serde_saphyr::from_str(&read("values.yaml")).unwrap();
    let mut found = Vec::new();
    leaves(&values, "", &mut found);
    let table = table();
    let is_told = |path: &String| {
        // By itself, or as a part of the default of what is above it.
        path.match_indices('.')
            .map(|(end, _)| &path[..end])
            .chain([path.as_str()])
            .any(|path| table.contains(&format!("| `{path}` |")))
    };
    let missing: Vec<_> = found.iter().filter(|path| !is_told(path)).collect();
    assert!(missing.is_empty(), "values.yaml: give {missing:?} a comment");
}

async fn render(values: &[&str]) -> Result<Vec<Value>, String> {
    let set = values.iter().flat_map(|value| ["--set", value]);
    Ok(objects(
        &template("scim-bridge-operator", &set.collect::<Vec<_>>()).await?,
    ))
}

/// What a release of this name is made of, with further arguments for Helm.
async fn template(release: &str, arguments: &[&str]) -> Result<String, String> {
    let helm = Helm::offline().await.unwrap();
    let path = chart().display().to_string();
    let command = [
        "template",
        release,
        &path,
        "--namespace",
        "home",
        "--kube-version",
        "1.37.0",
    ];
    let command = [&command[..], arguments].concat();
    helm.run(&command).await.map_err(|error| error.to_string())
}

fn objects(text: &str) -> Vec<Value> {
    text.split("\n---\n")
        .map(|part| serde_saphyr::from_str::<Value>(part).unwrap())
        .filter(|object| object.get("kind").is_some())
        .collect()
}

fn kinds(objects: &[Value]) -> Vec<String> {
    objects
        .iter()
        .filter(|object| object["metadata"]["annotations"].get("helm.sh/hook").is_none())
        .map(|object| object["kind"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn the_chart_passes_helms_own_checks() {
    let helm = Helm::offline().await.unwrap();
    helm.run(&["lint", "--strict", &chart().display().to_string()])
        .await
        .unwrap();
}

/// Every key below this one, at every depth.
fn keys(value: &Value, above: &[&str], found: &mut Vec<Vec<String>>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = [above, &[name]].concat();
        found.push(path.iter().map(|name| (*name).to_owned()).collect());
        keys(value, &path, found);
    }
}

/// The values with this one null.
fn with_null(values: &Value, path: &[String]) -> Value {
    let mut values = values.clone();
    let mut place = &mut values;
    for name in path {
        if place.is_null() {
            *place = json!({});
        }
        place = place
            .as_object_mut()
            .unwrap()
            .entry(name.clone())
            .or_insert(Value::Null);
    }
    *place = Value::Null;
    values
}

async fn template_with(values: &Value) -> Result<String, String> {
    // YAML is a superset of JSON. A file, for --set-json merges what a file replaces.
    let scratch = testbed::scratch::Scratch::new("values").unwrap();
    let file = scratch.path().join("values.yaml");
    fs::write(&file, values.to_string()).unwrap();
    template("scim-bridge-operator", &["--values", &file.display().to_string()]).await
}

/// Switches that bring every template, and what they need.
fn everything() -> Value {
    json!({
        "replicas": 2,
        "shards": ["a"],
        "watchNamespaces": ["team-a"],
        "provisioning": {"enabled": true},
        "addressPolicy": {"allowedHosts": ["*.example.com"]},
        "admissionPolicy": {"enabled": true},
        "proxy": {"urlSecret": {"name": "proxy"}},
        "trust": {"configMap": {"name": "roots"}},
        "networkPolicy": {"enabled": true, "egress": {
            "restrict": true,
            "apiServer": {"cidrs": ["192.0.2.1/32"]},
            "bridges": [{"ports": [{"port": 443}]}],
        }},
        "serviceMonitor": {"enabled": true},
        "prometheusRule": {"enabled": true},
        "dashboard": {"enabled": true},
    })
}

/// A key whose children are all commented out is null. Then it is as if it had not been written.
#[tokio::test]
async fn every_value_may_be_null() {
    // What goes to Kubernetes as it is: null below it takes an entry of the default away.
    const OPEN: [&str; 4] = ["podSecurityContext", "securityContext", "resources", "labels"];
    let defaults: Value = serde_saphyr::from_str(&read("values.yaml")).unwrap();
    let mut paths = Vec::new();
    keys(&defaults, &[], &mut paths);
    assert!(paths.len() > 100, "the walk saw {} values only", paths.len());
    let mut wrong = Vec::new();
    for values in [json!({}), everything()] {
        let whole = template_with(&values).await.unwrap();
        for path in &paths {
            let dotted = path.join(".");
            let without = with_null(&values, path);
            // What is not there is the same as what is null, but for an entry that is taken away.
            let is_taken_away = path
                .iter()
                .rev()
                .skip(1)
                .any(|name| OPEN.contains(&name.as_str()));
            match template_with(&without).await {
                Ok(text) if is_taken_away && values != json!({}) && text == whole => {
                    wrong.push(format!("{dotted}: null has no effect"));
                }
                Ok(text) if !is_taken_away && values == json!({}) && text != whole => {
                    wrong.push(format!("{dotted}: null is not the default"));
                }
                Ok(_) => {}
                // With switches on, that what they need is missing.
                Err(said) if values != json!({}) && said.contains(" is empty: ") => {}
                Err(said) => wrong.push(format!("{dotted}: {said}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What has no default, and is null, is null for Kubernetes too, or refused by name: no template falls over it.
#[tokio::test]
async fn what_has_no_default_may_be_null_or_is_refused_by_name() {
    fn properties(schema: &Value, above: &[&str], found: &mut Vec<Vec<String>>) {
        let schema = match schema["$ref"].as_str() {
            Some("#/$defs/probe") => &json!({"properties": {"periodSeconds": {}, "timeoutSeconds": {}}}),
            _ => schema,
        };
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = [above, &[name]].concat();
            found.push(path.iter().map(|name| (*name).to_owned()).collect());
            properties(property, &path, found);
        }
    }
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    let defaults: Value = serde_saphyr::from_str(&read("values.yaml")).unwrap();
    let (mut all, mut known) = (Vec::new(), Vec::new());
    properties(&schema, &[], &mut all);
    keys(&defaults, &[], &mut known);
    all.retain(|path| !known.contains(path));
    assert!(all.len() > 10, "the walk saw {} properties only", all.len());
    let mut wrong = Vec::new();
    for path in all {
        if let Err(said) = template_with(&with_null(&json!({}), &path)).await {
            wrong.push(format!("{}: {said}", path.join(".")));
        }
    }
    // In lists, where something has to stand.
    for (values, refused) in [
        (json!({"extraEnv": [{"name": "A", "value": null}]}), None),
        (json!({"tolerations": [{"key": "a", "value": null}]}), None),
        (json!({"shards": [null]}), Some("at '/shards/0'")),
        (
            json!({"watchNamespaces": [null]}),
            Some("at '/watchNamespaces/0'"),
        ),
        (
            json!({"addressPolicy": {"allowedHosts": [null]}}),
            Some("at '/addressPolicy/allowedHosts/0'"),
        ),
        (
            json!({"addressPolicy": {"denyCidrs": [null]}}),
            Some("at '/addressPolicy/denyCidrs/0'"),
        ),
        (json!({"extraArgs": [null]}), Some("at '/extraArgs/0'")),
        // Without `to` a rule is for every address.
        (
            json!({"networkPolicy": {"egress": {"bridges": [{"to": null}]}}}),
            Some("/bridges/0/to'"),
        ),
    ] {
        match (template_with(&values).await, refused) {
            (Ok(_), None) => {}
            (Err(said), Some(place)) if said.contains(place) => {}
            (result, refused) => wrong.push(format!("{values}: not {refused:?}, but {result:.80?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A release may be named as no Service may be, which is the strictest of all kinds: a label that begins with a letter.
#[tokio::test]
async fn any_release_name_names_all_objects() {
    let is_label = |name: &str| {
        name.len() <= 63
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && !name.ends_with('-')
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    for (release, service) in [
        ("scim-bridge-operator", "scim-bridge-operator"),
        ("scim-bridge-operator-0.1.0", "scim-bridge-operator-0-1-0"),
        ("corp", "corp-scim-bridge-operator"),
        ("corp.eu", "corp-eu-scim-bridge-operator"),
        ("7", "r7-scim-bridge-operator"),
        ("true", "true-scim-bridge-operator"),
        ("1.scim-bridge-operator", "r1-scim-bridge-operator"),
        // As long as Helm takes them: the release's name stays whole.
        (
            "a2345678901234567890123456789012345678901234567890123",
            "a2345678901234567890123456789012345678901234567890123-scim-brid",
        ),
        (
            "a2345678901234567890123456789012345678901234567.901.3",
            "a2345678901234567890123456789012345678901234567-901-3-scim-brid",
        ),
    ] {
        let values =
            "serviceMonitor.enabled=true,networkPolicy.enabled=true,dashboard.enabled=true,replicas=2";
        let made = objects(&template(release, &["--set", values]).await.unwrap());
        for object in &made {
            let (kind, name) = (object["kind"].as_str().unwrap(), name(object));
            if kind == "CustomResourceDefinition" {
                continue;
            }
            assert!(name.starts_with(service), "{release}: {kind} {name}");
            if matches!(kind, "Service" | "Deployment" | "ServiceAccount") {
                assert!(name == service && is_label(&name), "{release}: {kind} {name}");
            }
            let labels = object["metadata"]["labels"].as_object().unwrap();
            for (label, value) in labels {
                let fits = value.as_str().is_some_and(|value| value.len() <= 63);
                assert!(fits, "{release}: {kind} {name}: {label} is {value}");
            }
        }
        let lease = json!(format!("--lease-name={service}"));
        let deployment = made.iter().find(|object| object["kind"] == "Deployment").unwrap();
        let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
        assert!(
            arguments.as_array().unwrap().contains(&lease),
            "{release}: {arguments}"
        );
    }
}

/// Names that YAML takes for numbers and truths.
#[tokio::test]
async fn names_stay_texts() {
    let names = "watchNamespaces={1e3,0x10},fullnameOverride=true,priorityClassName=no";
    let switches = "serviceMonitor.enabled=true,networkPolicy.enabled=true,shards={1e3}";
    let arguments = ["--namespace", "123", "--set-string", names, "--set", switches];
    let made = template("1e3", &arguments).await.unwrap();
    for object in objects(&made) {
        for place in [
            "/metadata/name",
            "/metadata/namespace",
            "/roleRef/name",
            "/subjects/0/name",
            "/subjects/0/namespace",
            "/rules/1/resourceNames/0",
            "/spec/template/spec/serviceAccountName",
            "/spec/template/spec/priorityClassName",
            "/spec/selector/app.kubernetes.io~1instance",
            "/spec/selector/matchLabels/app.kubernetes.io~1instance",
            "/spec/namespaceSelector/matchNames/0",
        ] {
            let found = object.pointer(place);
            assert!(found.is_none_or(Value::is_string), "{place} of {object}");
        }
    }
}

/// A value and its flag, what both take or refuse alike, and what the operator alone takes.
struct Both(
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const BOTH: &[Both] = &[
    Both(
        "addressPolicy.allowedHosts",
        "--allowed-host",
        &[
            "scim.example.com",
            "SCIM.example.com.",
            "*.example.com",
            "scim-*.example.com",
            "*",
            "*.*",
            "**.example.com",
            ".example.com",
            ".localhost",
            ".*.example.com",
            ".",
            "a..b",
            "-a.example",
            "op_scim.example",
            "10.0.0.7",
            "10.0.0.*",
            "10.0.0.256",
            "010.0.0.7",
            "10.*",
            "127.1",
            "0x7f.0.0.1",
            "scim.1",
            "10.0.0.0/8",
            "fd12:3456::1",
            "[fd12:3456::1]",
            "[10.0.0.7]",
            "fd12::*",
            "scim.example.com:443",
            "https://scim.example.com",
            "scim.example.com/scim",
            "user@scim.example.com",
            "bücher.example",
            "a b",
            "",
        ],
        // The admission policy cannot compare it.
        &["::ffff:10.0.0.7"],
    ),
    Both(
        "addressPolicy.denyCidrs",
        "--deny-cidr",
        &[
            "10.0.0.0/8",
            "10.1.2.3/8",
            "0.0.0.0/0",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "256.0.0.0/8",
            "010.0.0.0/8",
            "10.0.0/8",
            "10.0.0.0/",
            "fd12::/16",
            "::/0",
            "fd12::/129",
            "fd12::/016",
            "[fd12::]/16",
            "example.com",
            "*",
            "",
        ],
        &["10.0.0.7"],
    ),
    Both(
        "proxy.noProxy",
        "--bridge-no-proxy",
        &[
            ".localhost",
            "localhost",
            "10.0.0.0/8",
            "fd00::/8",
            "*.svc.cluster.local",
            "*",
            "a..b",
            "localhost:443",
            "http://a",
            "",
        ],
        &[],
    ),
    Both(
        "proxy.url",
        "--bridge-proxy",
        &[
            "http://proxy.example.com:3128",
            "http://10.0.0.7",
            "http://[fd12::1]:3128/",
            "https://proxy.example.com",
            "http://proxy.example.com:0",
            "http://proxy.example.com/x",
            "http://-proxy.example.com",
        ],
        // Its password would be in the manifest.
        &["http://user:obviously-fake@proxy.example.com"],
    ),
    Both(
        "watchLabelSelector",
        "--watch-label-selector",
        &[
            "tier=gold",
            "tier in (gold, silver),!legacy",
            "scimbridge.dev/shard notin (a,b)",
            "tier",
            "tier==gold",
            "tier!=gold",
            "tier>5",
            "tier=",
            "tier=gold=",
            "tier in gold",
            "tier in (gold",
            "=gold",
            "tier gold",
            "tier=-gold",
            ",",
        ],
        &[],
    ),
    Both(
        "logging.level",
        "--log-level",
        &[
            "info",
            "debug",
            "info,scim_bridge_operator::controller=debug",
            "info, k8s_controller=debug",
            "inof",
            "verbose",
            "info,",
            "info=",
            "",
        ],
        &["WARN"],
    ),
    Both(
        "watchNamespaces",
        "--namespaces",
        &["team-a", "Team-A", "team_a", "team.a", ""],
        &[],
    ),
    Both(
        "heartbeat",
        "--heartbeat",
        &["0s", "5m", "24h", "25h", "5", "5d", ""],
        &[],
    ),
    Both("concurrency", "--concurrency", &["1", "65535", "0", "65536"], &[]),
];

/// What the schema takes, the operator takes: a Pod that ends at its start is found out late.
#[tokio::test]
async fn the_schema_takes_nothing_that_the_operator_refuses() {
    let mut wrong = Vec::new();
    for Both(value, flag, both, operator_alone) in BOTH {
        for text in both.iter().chain(*operator_alone) {
            let line = ["x", "run", &format!("{flag}={text}")].map(str::to_owned);
            let operator = Arguments::try_parse_from(line).is_ok();
            let given: Value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
            let is_list = ["allowedHosts", "denyCidrs", "noProxy", "watchNamespaces"];
            let given = if is_list.iter().any(|list| value.ends_with(list)) {
                json!([text])
            } else {
                given
            };
            // Deepest first: {"proxy": {"noProxy": [...]}}.
            let values = value.rsplit('.').fold(given, |inner, name| json!({name: inner}));
            let values = if *value == "proxy.noProxy" {
                json!({"proxy": {"url": "http://proxy", "noProxy": values["proxy"]["noProxy"]}})
            } else {
                values
            };
            let chart = template_with(&values).await.is_ok();
            if (chart, operator) != (operator && both.contains(text), operator) {
                wrong.push(format!(
                    "{value}: {text:?}: taken by the chart: {chart}, by the operator: {operator}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Not everywhere do the Pods of DNS listen on the port of their Service.
#[tokio::test]
async fn the_port_of_dns_can_be_said() {
    let restricted = [
        "networkPolicy.enabled=true",
        "networkPolicy.egress.restrict=true",
        "networkPolicy.egress.apiServer.cidrs={192.0.2.1/32}",
        "networkPolicy.egress.bridges[0].ports[0].port=443",
    ];
    for (more, port) in [(&[][..], 53), (&["networkPolicy.egress.dnsPort=5353"], 5353)] {
        let made = render(&[&restricted[..], more].concat()).await.unwrap();
        let policy = made
            .iter()
            .find(|object| object["kind"] == "NetworkPolicy")
            .unwrap();
        assert_eq!(
            policy["spec"]["egress"][0]["ports"],
            json!([{"port": port, "protocol": "UDP"}, {"port": port, "protocol": "TCP"}])
        );
    }
}

/// A Prometheus that does not honour labels has the namespace of a connection in another label.
#[tokio::test]
async fn the_label_of_the_namespace_can_be_said() {
    let values = [
        "prometheusRule.enabled=true",
        "prometheusRule.namespaceLabel=exported_namespace",
    ];
    let made = render(&values).await.unwrap();
    let rule = made
        .iter()
        .find(|object| object["kind"] == "PrometheusRule")
        .unwrap();
    let text = rule["spec"].to_string();
    for (own, other) in [
        ("(namespace, name)", "(exported_namespace, name)"),
        ("$labels.namespace", "$labels.exported_namespace"),
    ] {
        assert!(!text.contains(own) && text.contains(other), "{own}: {text}");
    }
    // The operator's own namespace is a label of the target.
    assert!(text.contains(r#"{namespace=\"home\",job="#), "{text}");
}

/// docs/openshift.md has values that work.
#[tokio::test]
async fn the_values_for_openshift() {
    let page = fs::read_to_string(workspace::root().join("docs/openshift.md")).unwrap();
    let mut values = everything();
    for block in page
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap())
    {
        let block: Value = serde_saphyr::from_str(block).unwrap();
        // The one for kustomize is for tests/deploy.
        if block.get("resources").is_none() {
            merge(&mut values, &block);
        }
    }
    let made = objects(&template_with(&values).await.unwrap());
    for deployment in made.iter().filter(|object| object["kind"] == "Deployment") {
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(
            pod["securityContext"],
            json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})
        );
        assert_eq!(pod["volumes"][0]["configMap"]["name"], "trusted-ca");
    }
    let policy = made
        .iter()
        .find(|object| object["kind"] == "NetworkPolicy")
        .unwrap();
    let dns = &policy["spec"]["egress"][0];
    assert_eq!(dns["ports"][0]["port"], 5353);
    assert!(dns["to"].to_string().contains("openshift-dns"), "{dns}");
}

/// As Helm merges files of values.
fn merge(values: &mut Value, more: &Value) {
    match (values, more) {
        (Value::Object(values), Value::Object(more)) => {
            for (name, value) in more {
                merge(values.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (values, more) => *values = more.clone(),
    }
}

/// A tenant without any right to the cluster can install it.
#[tokio::test]
async fn a_list_of_namespaces_needs_nothing_of_the_cluster() {
    let objects = render(&[
        "crds.install=false",
        "watchNamespaces={a,b}",
        "replicas=2",
        "networkPolicy.enabled=true",
    ])
    .await;
    let objects = objects.unwrap();
    let of_the_cluster: Vec<_> = objects
        .iter()
        .filter(|object| object["metadata"].get("namespace").is_none())
        .map(|object| &object["kind"])
        .collect();
    assert!(of_the_cluster.is_empty(), "{of_the_cluster:?}");
    let roles = kinds(&objects).iter().filter(|kind| *kind == "Role").count();
    assert_eq!(roles, 3, "one for each namespace, one for the Lease");
}

#[tokio::test]
async fn switches_bring_what_they_say() {
    let default = kinds(&render(&[]).await.unwrap());
    let mut wrong = Vec::new();
    for (values, kind, count) in [
        (&[][..], "CustomResourceDefinition", 1),
        (&["crds.install=false"], "CustomResourceDefinition", 0),
        (&[], "ClusterRole", 4),
        (&["userRoles.create=never"], "ClusterRole", 1),
        (&["watchNamespaces={a}"], "ClusterRole", 0),
        (
            &["watchNamespaces={a}", "userRoles.create=always"],
            "ClusterRole",
            3,
        ),
        (&["provisioning.enabled=true"], "CustomResourceDefinition", 3),
        (
            &["provisioning.enabled=true", "crds.install=false"],
            "CustomResourceDefinition",
            0,
        ),
        (&["provisioning.enabled=true"], "ClusterRole", 6),
        (
            &["provisioning.enabled=true", "userRoles.create=never"],
            "ClusterRole",
            1,
        ),
        (
            &["provisioning.enabled=true", "watchNamespaces={a}"],
            "ClusterRole",
            0,
        ),
        (&["rbac.create=false"], "Role", 0),
        (
            &["serviceAccount.create=false", "serviceAccount.name=x"],
            "ServiceAccount",
            0,
        ),
        (&["leaderElection.enabled=false"], "Role", 0),
        (&[], "PodDisruptionBudget", 0),
        (&["replicas=2"], "PodDisruptionBudget", 1),
        (&["podDisruptionBudget.create=always"], "PodDisruptionBudget", 1),
        (&["networkPolicy.enabled=true"], "NetworkPolicy", 1),
        (&["serviceMonitor.enabled=true"], "ServiceMonitor", 1),
        (&["prometheusRule.enabled=true"], "PrometheusRule", 1),
        (&["dashboard.enabled=true"], "ConfigMap", 1),
        (
            &[
                "admissionPolicy.enabled=true",
                "addressPolicy.allowedHosts={*.example.com}",
            ],
            "ValidatingAdmissionPolicy",
            1,
        ),
        (
            &[
                "admissionPolicy.enabled=true",
                "addressPolicy.allowedHosts={*.example.com}",
            ],
            "ValidatingAdmissionPolicyBinding",
            1,
        ),
        (&["shards={a,b}"], "Deployment", 3),
        (&["shards={a,b}"], "Service", 3),
        (&["shards={a,b}", "replicas=2"], "PodDisruptionBudget", 3),
        (&["shards={a,b}"], "ServiceAccount", 1),
        (&["shards={a,b}"], "Role", 1),
        (
            &["shards={a,b}", "networkPolicy.enabled=true"],
            "NetworkPolicy",
            1,
        ),
        (
            &["shards={a,b}", "serviceMonitor.enabled=true"],
            "ServiceMonitor",
            1,
        ),
    ] {
        let found = kinds(&render(values).await.unwrap())
            .iter()
            .filter(|found| *found == kind)
            .count();
        if found != count {
            wrong.push(format!("{values:?}: {found} of kind {kind}, not {count}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(
        !default.contains(&"ServiceMonitor".to_owned()),
        "nothing that needs another operator by default"
    );
}

/// Values to the arguments of the operator.
const ARGUMENTS: &[(&str, &str)] = &[
    ("watchNamespaces={a,b}", "--namespaces=a,b"),
    ("leaderElection.enabled=false", "--leader-elect=false"),
    (
        "addressPolicy.allowedHosts={*.example.com}",
        "--allowed-host=*.example.com",
    ),
    ("addressPolicy.denyCidrs={10.0.0.0/8}", "--deny-cidr=10.0.0.0/8"),
    (
        "addressPolicy.requireSecretConsent=true",
        "--require-secret-consent",
    ),
    ("proxy.url=http://proxy:3128", "--bridge-proxy=http://proxy:3128"),
    ("watchLabelSelector=shard=a", "--watch-label-selector=shard=a"),
    ("heartbeat=1m", "--heartbeat=1m"),
    ("provisioning.enabled=true", "--provisioning"),
    ("replicas=1", "--admin-addr=:8080"),
    ("adminAddress=0.0.0.0", "--admin-addr=0.0.0.0:8080"),
    (
        "addressPolicy.allowedHosts={.example.com}",
        "--allowed-host=.example.com",
    ),
    (
        "proxy.url=http://proxy,proxy.noProxy={.localhost}",
        "--bridge-no-proxy=.localhost",
    ),
    (
        "extraArgs={--otlp-endpoint=http://collector:4318}",
        "--otlp-endpoint=http://collector:4318",
    ),
];

/// Values to what the Pod has.
#[tokio::test]
async fn values_reach_the_pod() {
    let mut wrong = Vec::new();
    for (value, pointer, expected) in [
        (
            "image.tag=1.2.3",
            "/containers/0/image",
            json!("scim-bridge-operator:1.2.3"),
        ),
        (
            "image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "/containers/0/image",
            json!(
                "scim-bridge-operator@sha256:0000000000000000000000000000000000000000000000000000000000000000"
            ),
        ),
        (
            "imagePullSecrets[0].name=registry",
            "/imagePullSecrets/0/name",
            json!("registry"),
        ),
        ("priorityClassName=high", "/priorityClassName", json!("high")),
        ("drainTimeout=1m30s", "/terminationGracePeriodSeconds", json!(100)),
        ("nodeSelector.pool=a", "/nodeSelector/pool", json!("a")),
        (
            "topologySpreadConstraints[0].topologyKey=zone,topologySpreadConstraints[0].maxSkew=1,topologySpreadConstraints[0].whenUnsatisfiable=DoNotSchedule",
            "/topologySpreadConstraints/0/labelSelector/matchLabels/app.kubernetes.io~1name",
            json!("scim-bridge-operator"),
        ),
        (
            "trust.configMap.name=roots",
            "/volumes/0/configMap/name",
            json!("roots"),
        ),
        (
            "proxy.urlSecret.name=proxy",
            "/containers/0/env/1/valueFrom/secretKeyRef/name",
            json!("proxy"),
        ),
        (
            "extraEnv[0].name=A,extraEnv[0].value=b",
            "/containers/0/env/1/value",
            json!("b"),
        ),
        (
            "serviceAccount.automount=false",
            "/automountServiceAccountToken",
            json!(false),
        ),
        (
            "resources.limits.memory=1Gi",
            "/containers/0/resources/limits/memory",
            json!("1Gi"),
        ),
    ] {
        let objects = render(&[value]).await.unwrap();
        let pod = &objects
            .iter()
            .find(|object| object["kind"] == "Deployment")
            .unwrap()["spec"]["template"]["spec"];
        if pod.pointer(pointer) != Some(&expected) {
            wrong.push(format!(
                "{value}: {pointer} is {:?}, not {expected}",
                pod.pointer(pointer)
            ));
        }
    }
    for (value, argument) in ARGUMENTS {
        let objects = render(&[value]).await.unwrap();
        let deployment = objects
            .iter()
            .find(|object| object["kind"] == "Deployment")
            .unwrap();
        let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
            .as_array()
            .unwrap();
        if !arguments.contains(&json!(argument)) {
            wrong.push(format!("{value}: no {argument}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Label selectors of the connections of each shard, by the name of its Deployment. None: all.
fn watched(objects: &[Value]) -> BTreeMap<String, Option<String>> {
    let deployments = objects.iter().filter(|object| object["kind"] == "Deployment");
    deployments
        .map(|deployment| {
            let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
            let mut selectors =
                arguments.as_array().unwrap().iter().filter_map(|argument| {
                    argument.as_str().unwrap().strip_prefix("--watch-label-selector=")
                });
            let selector = selectors.next().map(str::to_owned);
            assert_eq!(selectors.next(), None);
            (name(deployment), selector)
        })
        .collect()
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}

/// The shard that is always there has what the others do not have, by construction.
#[tokio::test]
async fn shards_have_each_connection_once() {
    let operator = "scim-bridge-operator";
    for (values, expected) in [
        (&[][..], vec![(operator, None)]),
        (
            &["shards={a}"],
            vec![
                (operator, Some("scimbridge.dev/shard notin (a)")),
                ("scim-bridge-operator-a", Some("scimbridge.dev/shard=a")),
            ],
        ),
        (
            &["shards={a,b-2}", "watchLabelSelector=tier in (x\\,y)"],
            vec![
                (operator, Some("scimbridge.dev/shard notin (a,b-2),tier in (x,y)")),
                (
                    "scim-bridge-operator-a",
                    Some("scimbridge.dev/shard=a,tier in (x,y)"),
                ),
                (
                    "scim-bridge-operator-b-2",
                    Some("scimbridge.dev/shard=b-2,tier in (x,y)"),
                ),
            ],
        ),
    ] {
        let expected = expected
            .into_iter()
            .map(|(name, selector)| (name.to_owned(), selector.map(str::to_owned)));
        assert_eq!(
            watched(&render(values).await.unwrap()),
            expected.collect(),
            "{values:?}"
        );
    }
}

/// Each shard has a Lease of its own, that it may write; whatever selects Pods selects those of one shard.
#[tokio::test]
async fn shards_are_kept_apart() {
    let values = [
        "shards={a,b}",
        "replicas=2",
        "topologySpreadConstraints[0].topologyKey=zone,topologySpreadConstraints[0].maxSkew=1,topologySpreadConstraints[0].whenUnsatisfiable=DoNotSchedule",
    ];
    let objects = render(&values).await.unwrap();
    let of_kind = |kind: &'static str| {
        let found = objects.iter().filter(move |object| object["kind"] == kind);
        found
            .map(|object| (name(object), object))
            .collect::<BTreeMap<_, _>>()
    };
    let deployments = of_kind("Deployment");
    let (services, budgets) = (of_kind("Service"), of_kind("PodDisruptionBudget"));
    let tests = of_kind("Pod");
    let role = &of_kind("Role")["scim-bridge-operator-leader-election"]["rules"][1];
    let mut leases = Vec::new();
    for (name, deployment) in &deployments {
        let selector = &deployment["spec"]["selector"]["matchLabels"];
        for (other, deployment) in &deployments {
            let labels = &deployment["spec"]["template"]["metadata"]["labels"];
            let mut pairs = selector.as_object().unwrap().iter();
            let selects = pairs.all(|(label, value)| labels.get(label) == Some(value));
            assert_eq!(selects, name == other, "{name} selects the Pods of {other}");
        }
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(
            &pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"], selector,
            "{name}"
        );
        assert_eq!(&services[name]["spec"]["selector"], selector, "{name}");
        assert_eq!(
            &budgets[name]["spec"]["selector"]["matchLabels"], selector,
            "{name}"
        );
        // `helm test` asks for the right to the Lease that it uses, and whether it is ready itself.
        let lease = format!("--lease-name={name}");
        let arguments = pod["containers"][0]["args"].as_array().unwrap();
        assert!(arguments.contains(&json!(lease)), "{name}: {arguments:?}");
        let test = &tests[&format!("{name}-preflight")]["spec"]["containers"][0]["args"];
        let url = format!("--operator-url=http://{name}.home.svc:8080");
        for argument in [lease, url] {
            assert!(test.as_array().unwrap().contains(&json!(argument)), "{test}");
        }
        leases.push(json!(name));
    }
    assert_eq!(role["resourceNames"], json!(leases));
}

/// The default shard keeps its name, its Lease and its selector: shards are added to what is there, and taken away.
#[tokio::test]
async fn shards_change_nothing_of_what_is_there() {
    let whole = render(&["replicas=2"]).await.unwrap();
    let sharded = render(&["replicas=2", "shards={a,b}"]).await.unwrap();
    for object in &whole {
        let same = |other: &&Value| other["kind"] == object["kind"] && name(other) == name(object);
        let mut other = sharded
            .iter()
            .find(same)
            .unwrap_or_else(|| panic!("{object}"))
            .clone();
        for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
            if let Some(labels) = other.pointer_mut(labels) {
                labels.as_object_mut().unwrap().remove("scimbridge.dev/shard");
            }
        }
        if let Some(arguments) = other.pointer_mut("/spec/template/spec/containers/0/args") {
            let arguments = arguments.as_array_mut().unwrap();
            arguments.retain(|argument| !argument.as_str().unwrap().starts_with("--watch-label-selector="));
        }
        if let Some(leases) = other.pointer_mut("/rules/1/resourceNames") {
            leases.as_array_mut().unwrap().truncate(1);
        }
        assert_eq!(&other, object);
    }
}

/// Off by default: then nothing is about users and groups. Switched on, the rest stays as it was.
#[tokio::test]
async fn provisioning_is_off_unless_it_is_switched_on() {
    for values in [
        &["shards={a}", "replicas=2"][..],
        &["watchNamespaces={a,b}", "userRoles.create=always"],
    ] {
        let off = render(values).await.unwrap();
        let on = render(&[values, &["provisioning.enabled=true"]].concat())
            .await
            .unwrap();
        let key = |object: &Value| {
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
            format!(
                "{} {namespace}/{}",
                object["kind"].as_str().unwrap(),
                name(object)
            )
        };
        let keys: Vec<String> = off.iter().map(key).collect();
        let more: Vec<String> = on.iter().map(key).filter(|key| !keys.contains(key)).collect();
        assert_eq!(
            more,
            [
                "CustomResourceDefinition /scimusers.scimbridge.dev",
                "CustomResourceDefinition /scimgroups.scimbridge.dev",
                "ClusterRole /scim-bridge-operator-provision",
                "ClusterRole /scim-bridge-operator-provision-view",
            ],
            "{values:?}"
        );
        let (mut flags, mut rights) = (0, 0);
        for object in &off {
            let key = key(object);
            if object["kind"] != "CustomResourceDefinition" {
                for word in ["--provisioning", "scimusers", "scimgroups"] {
                    assert!(!object.to_string().contains(word), "{key} has {word}");
                }
            }
            let mut expected = object.clone();
            let place = "/spec/template/spec/containers/0/args";
            let pod = "/spec/containers/0/args";
            for place in [place, pod] {
                let Some(Value::Array(arguments)) = expected.pointer_mut(place) else {
                    continue;
                };
                // After the namespaces, before the Lease.
                let lease = |argument: &Value| argument.as_str().unwrap().starts_with("--lease-name=");
                let at = arguments.iter().position(lease).unwrap();
                arguments.insert(at, json!("--provisioning"));
                flags += 1;
            }
            let is_operators = name(object) == "scim-bridge-operator";
            if let Some(rules) = expected.get_mut("rules").filter(|_| is_operators) {
                rights += 1;
                rules.as_array_mut().unwrap().extend([
                    json!({"apiGroups": ["scimbridge.dev"], "resources": ["scimusers", "scimgroups"],
                           "verbs": ["get", "list", "watch"]}),
                    json!({"apiGroups": ["scimbridge.dev"], "resources": ["scimusers/status", "scimgroups/status"],
                           "verbs": ["patch"]}),
                ]);
            }
            assert!(on.contains(&expected), "{values:?}: {key} is not as it was");
        }
        // Operator and `helm test`, of each shard; the rights, in each namespace.
        assert!(
            flags >= 2 && rights >= 1,
            "{values:?}: {flags} flags, {rights} rights"
        );
    }
}

/// No built-in role includes the roles for users and groups.
#[tokio::test]
async fn roles_for_users_and_groups_are_not_aggregated() {
    let objects = render(&["provisioning.enabled=true"]).await.unwrap();
    let mut seen = 0;
    for role in objects.iter().filter(|object| object["kind"] == "ClusterRole") {
        let labels = role["metadata"]["labels"].as_object().unwrap();
        let is_aggregated = labels.keys().any(|label| label.contains("aggregate-to"));
        let is_about = role["rules"].to_string().contains("scimusers");
        seen += usize::from(is_about && name(role).contains("provision"));
        assert!(!(is_aggregated && is_about), "{role}");
    }
    assert_eq!(seen, 2);
}

/// Monitoring and `NetworkPolicy` are for all shards at once.
#[tokio::test]
async fn shards_are_scraped_and_guarded_together() {
    let values = [
        "shards={a,b}",
        "networkPolicy.enabled=true",
        "serviceMonitor.enabled=true",
        "serviceMonitor.relabelings[0].targetLabel=mine",
    ];
    let objects = render(&values).await.unwrap();
    let one = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap();
    let selects = |selector: &Value, labels: &Value| {
        let pairs = selector["matchLabels"].as_object().unwrap();
        let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
        pairs
            .iter()
            .all(|(label, value)| labels.get(label) == Some(value))
            && expressions.into_iter().all(|expression| {
                assert_eq!(expression["operator"], "In");
                let values = expression["values"].as_array().unwrap();
                values.contains(&labels[expression["key"].as_str().unwrap()])
            })
    };
    let (policy, monitor) = (one("NetworkPolicy"), one("ServiceMonitor"));
    for object in &objects {
        let labels = &object["metadata"]["labels"];
        match object["kind"].as_str().unwrap() {
            "Deployment" => {
                let labels = &object["spec"]["template"]["metadata"]["labels"];
                assert!(selects(&policy["spec"]["podSelector"], labels), "{labels}");
            }
            "Pod" => assert!(!selects(&policy["spec"]["podSelector"], labels), "{labels}"),
            "Service" => {
                assert!(selects(&monitor["spec"]["selector"], labels), "{labels}");
                let shard = name(object).replace("scim-bridge-operator", "");
                let shard = shard.strip_prefix('-').unwrap_or("default");
                assert_eq!(labels["scimbridge.dev/shard"], shard);
            }
            _ => {}
        }
    }
    assert_eq!(
        monitor["spec"]["endpoints"][0]["relabelings"],
        json!([
            {"targetLabel": "job", "replacement": "scim-bridge-operator"},
            {"sourceLabels": ["__meta_kubernetes_service_label_scimbridge_dev_shard"], "targetLabel": "shard"},
            {"targetLabel": "mine"},
        ])
    );
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_one_line() {
    let mut wrong = Vec::new();
    for (values, sentence) in [
        (&["replica=2"][..], "'replica' not allowed"),
        (&["image.tags=x"], "'tags' not allowed"),
        (&["replicas=two"], "/replicas"),
        (&["heartbeat=5"], "/heartbeat"),
        (&["image.digest=abc"], "/image/digest"),
        (&["logging.format=xml"], "/logging/format"),
        (
            &["addressPolicy.allowCidrs={everything}"],
            "/addressPolicy/allowCidrs",
        ),
        (&["watchNamespaces={A_b}"], "/watchNamespaces"),
        (&["shards={a,b,a}"], "at '/shards': items at 0 and 2 are equal"),
        (&["shards={A_b}"], "at '/shards/0': 'A_b' does not match pattern"),
        (&["shards={-a}"], "at '/shards/0': '-a' does not match pattern"),
        (
            &["shards={a23456789012345678901234567890123}"],
            "at '/shards/0': maxLength: got 33, want 32",
        ),
        (&["shards=a"], "at '/shards': got string, want array"),
        (&["shards={default}"], "the default shard always exists"),
        (
            &[
                "shards={a}",
                "fullnameOverride=a2345678901234567890123456789012345678901234567890123456789012",
            ],
            "more than 63 characters. Set a shorter fullnameOverride",
        ),
        (&["userRoles.create=perhaps"], "/userRoles/create"),
        (&["provisioning.enabled=perhaps"], "/provisioning/enabled"),
        (&["provisioning.enable=true"], "'enable' not allowed"),
        (
            &["provisioning=true"],
            "at '/provisioning': got boolean, want object",
        ),
        (
            &["extraArgs={--provisioning}"],
            "Use provisioning.enabled instead",
        ),
        (&["heartbeat=25h"], "heartbeat is 25h. Set at most 24h"),
        (&["extraArgs={--concurrency=7}"], "extraArgs has --concurrency"),
        (
            &["extraArgs={--leader-elect}"],
            "Use leaderElection.enabled instead",
        ),
        (&["fullnameOverride=a.b"], "at '/fullnameOverride'"),
        (
            &["fullnameOverride=a234567890123456789012345678901234567890123456789012345678901234"],
            "at '/fullnameOverride': maxLength: got 64, want 63",
        ),
        (&["nameOverride=A"], "at '/nameOverride'"),
        (&["serviceAccount.name=a..b"], "at '/serviceAccount/name'"),
        (&["serviceAccount.name=a.-b"], "at '/serviceAccount/name'"),
        (&["adminAddress=localhost"], "at '/adminAddress'"),
        (
            &["leaderElection.enabled=false", "replicas=2"],
            "all Pods would work at the same time",
        ),
        (
            &["admissionPolicy.enabled=true"],
            "addressPolicy.allowedHosts is empty",
        ),
        (&["serviceAccount.create=false"], "serviceAccount.name is empty"),
        (
            &["trust.configMap.name=a", "trust.secret.name=b"],
            "are both set. Set only one of them",
        ),
        (&["proxy.noProxy={x}"], "proxy.noProxy is set, but no proxy"),
        (
            &["networkPolicy.enabled=true", "networkPolicy.egress.restrict=true"],
            "apiServer.cidrs is empty",
        ),
    ] {
        match render(values).await {
            Ok(_) => wrong.push(format!("{values:?} was accepted")),
            Err(said) if !said.contains(sentence) => {
                wrong.push(format!("{values:?}: {sentence} is not in: {said}"));
            }
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The policy refuses when a connection is applied what the operator would refuse when it probes.
#[tokio::test]
async fn the_admission_policy_holds_urls_to_the_allowed_hosts() {
    let cluster = Cluster::start().await.unwrap();
    cluster
        .install(&[workspace::root().join("deploy/crd.yaml").as_path()])
        .await
        .unwrap();
    let before = cluster.namespace("before").await.unwrap();
    let connection = |name: &str, url: &str, interval: &str| {
        let spec = spec().url(url).secret(name).with("interval", interval);
        connection(&format!("{before}/{name}"), spec).to_string()
    };
    // One that was there before the policy.
    cluster
        .apply(&connection("old", "https://old.invalid", "5m"))
        .await
        .unwrap();
    let hosts = "addressPolicy.allowedHosts={*.scim.example.com,bridge.example.org,.corp.example,10.0.0.*,[FD12:3456:0::1]}";
    for object in render(&["admissionPolicy.enabled=true", hosts]).await.unwrap() {
        if object["kind"]
            .as_str()
            .unwrap()
            .starts_with("ValidatingAdmission")
        {
            cluster.apply(&object.to_string()).await.unwrap();
        }
    }
    // It takes the API server a moment to go by it. Another address each time: one that stays is let through.
    let mut attempts = 0;
    wait::until(
        std::time::Duration::from_mins(1),
        "the policy to be in force",
        async || {
            attempts += 1;
            let url = format!("https://evil-{attempts}.invalid");
            cluster
                .apply(&connection("probe", &url, "5m"))
                .await
                .is_err()
                .then_some(())
        },
    )
    .await
    .unwrap();

    let mut wrong = Vec::new();
    for (url, admitted) in [
        ("https://okta.scim.example.com", true),
        ("https://okta.scim.example.com:8443", true),
        ("https://OKTA.scim.Example.COM/scim", true),
        ("https://okta.scim.example.com./", true),
        ("https://scim.example.com", false),
        ("https://a.b.scim.example.com", false),
        ("https://okta.scim.example.com.evil.invalid", false),
        ("https://evil-bridge.example.org", false),
        ("https://bridge.example.org", true),
        ("https://bridgeXexample.org", false),
        ("https://10.0.0.7", true),
        ("https://10.0.1.7", false),
        ("https://10.0.0.7.evil.invalid", false),
        ("https://0x0a000007", false),
        ("https://10.0.0.evil.invalid", false),
        ("https://[::ffff:10.0.0.7]", true),
        ("https://a.corp.example", true),
        ("https://a.b.corp.example", true),
        ("https://corp.example", false),
        ("https://evil-corp.example", false),
        ("https://[fd12:3456::1]:8443", true),
        ("https://[fd12:3456:0:0:0:0:0:1]", true),
        ("https://[fd12:3456::2]", false),
        ("https://localhost", false),
    ] {
        let answer = cluster
            .apply(&connection("probe", url, "5m"))
            .await
            .map_err(|error| error.to_string());
        if answer.is_ok() != admitted {
            wrong.push(format!("{url}: {answer:?}"));
        }
        if let Err(said) = answer.as_ref()
            && !said.contains("*.scim.example.com, bridge.example.org")
        {
            wrong.push(format!("{url}: the refusal does not say what is allowed: {said}"));
        }
    }
    // What was there may be changed otherwise, but not to another such address.
    if let Err(error) = cluster
        .apply(&connection("old", "https://old.invalid", "10m"))
        .await
    {
        wrong.push(format!("an address that stays is no reason to refuse: {error}"));
    }
    if cluster
        .apply(&connection("old", "https://new.invalid", "10m"))
        .await
        .is_ok()
    {
        wrong.push("an old connection may be given any address".to_owned());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
