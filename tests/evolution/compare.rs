//! What breaks somebody in the way from one CRD to another.

use std::{collections::BTreeMap, fs, io, process::Command};

use serde::Deserialize;
use serde_json::Value;
use testbed::{scratch::Scratch, tools};

/// Descriptions are text. A new value of an enum refuses nothing that was accepted.
const CONFIGURATION: &str = "\
unhandledEnforcement: Error
validations:
  - {name: description, enforcement: None}
  - {name: enum, enforcement: Error, configuration: {additionPolicy: Allow}}
";

/// Everything that is incompatible, one line each: `PLACE: WHAT`.
pub(crate) async fn incompatibilities(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    names(old, new, &mut found);
    versions(old, new, &mut found);
    for (version, old, new) in in_both(old, new) {
        what_kubectl_uses(version, old, new, &mut found);
        rules(version, schema(old), schema(new), &mut found);
    }
    same_in_all_served(new, &mut found);
    found.extend(by_crdify(old, new).await);
    found.sort();
    found
}

// === the definition, which crdify does not look at ===

fn names(old: &Value, new: &Value, found: &mut Vec<String>) {
    for pointer in [
        "/spec/group",
        "/spec/names/kind",
        "/spec/names/listKind",
        "/spec/names/plural",
        "/spec/names/singular",
        "/spec/conversion",
    ] {
        if old.pointer(pointer) != new.pointer(pointer) {
            found.push(format!("{pointer}: changed"));
        }
    }
    for pointer in ["/spec/names/shortNames", "/spec/names/categories"] {
        for name in list(old.pointer(pointer)) {
            if !list(new.pointer(pointer)).contains(name) {
                found.push(format!("{pointer}: {name} is gone"));
            }
        }
    }
    let labels = |crd: &Value| crd["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    let new_labels = labels(new);
    for (label, value) in labels(old) {
        if new_labels.get(&label) != Some(&value) {
            found.push(format!("/metadata/labels: {label} changed"));
        }
    }
}

fn versions(old: &Value, new: &Value, found: &mut Vec<String>) {
    for version in list(old.pointer("/spec/versions")) {
        let name = name(version);
        match named(new, name) {
            None => found.push(format!("{name}: gone")),
            Some(new) if version["served"] == true && new["served"] != true => {
                found.push(format!("{name}: no longer served"));
            }
            Some(_) => {}
        }
    }
    // Whoever has to go back to the last release must find objects that it can read.
    for version in list(new.pointer("/spec/versions")) {
        let name = name(version);
        if version["storage"] == true && named(old, name).is_none() {
            found.push(format!("{name}: stored in the release that introduces it"));
        }
    }
}

/// Columns, subresources and fields to select by.
fn what_kubectl_uses(version: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    for subresource in old["subresources"].as_object().into_iter().flatten() {
        if new["subresources"].get(subresource.0) != Some(subresource.1) {
            found.push(format!("{version} subresources: {} changed", subresource.0));
        }
    }
    for field in list(old.get("selectableFields")) {
        if !list(new.get("selectableFields")).contains(field) {
            found.push(format!("{version} selectableFields: {field} is gone"));
        }
    }
    // In their order, though there may be others between them.
    let mut columns = list(new.get("additionalPrinterColumns")).iter();
    for column in list(old.get("additionalPrinterColumns")) {
        let same = |new: &&Value| {
            ["name", "type", "format", "jsonPath", "priority"]
                .iter()
                .all(|key| new.get(key) == column.get(key))
        };
        if !columns.any(|new| same(&new)) {
            let name = name(column);
            found.push(format!(
                "{version} additionalPrinterColumns: {name} is gone, changed or moved"
            ));
            break;
        }
    }
}

/// A rule that was not there may refuse what was accepted. One that is gone refuses nothing, and a message is text.
fn rules(version: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let (before, after) = (rules_of(old), rules_of(new));
    let paths = schemas(old);
    for (path, rule) in after {
        if paths.contains_key(&path) && !before.contains(&(path.clone(), rule.clone())) {
            found.push(format!("{version} {path} rule: {rule}"));
        }
    }
}

fn rules_of(schema: &Value) -> Vec<(String, String)> {
    let mut rules = Vec::new();
    for (path, schema) in schemas(schema) {
        for rule in list(schema.get("x-kubernetes-validations")) {
            rules.push((path.clone(), rule["rule"].as_str().unwrap().to_owned()));
        }
    }
    rules
}

/// Without a webhook an object goes from one version to another by its `apiVersion` alone: what only one of them knows
/// is lost to whoever reads and writes by the other.
fn same_in_all_served(crd: &Value, found: &mut Vec<String>) {
    let mut served = list(crd.pointer("/spec/versions"))
        .iter()
        .filter(|version| version["served"] == true);
    let Some(first) = served.next() else {
        found.push("no version is served".to_owned());
        return;
    };
    for other in served {
        if without_text(schema(first)) != without_text(schema(other)) {
            let (first, other) = (name(first), name(other));
            found.push(format!("{first} and {other} are served with different schemas"));
        }
    }
}

// === schemas, by crdify ===

#[allow(clippy::struct_field_names, reason = "the names are crdify's")]
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    #[serde(default)]
    crd_validation: Vec<Validation>,
    #[serde(default)]
    same_version_validation: BTreeMap<String, BTreeMap<String, Vec<Validation>>>,
    #[serde(default)]
    served_version_validation: BTreeMap<String, BTreeMap<String, Vec<Validation>>>,
}

#[derive(Deserialize)]
struct Validation {
    name: String,
    #[serde(default)]
    errors: Vec<String>,
}

async fn by_crdify(old: &Value, new: &Value) -> Vec<String> {
    let crdify = tools::crdify(&mut io::stderr()).await.unwrap();
    let scratch = Scratch::new("crdify").unwrap();
    let file = |name: &str, text: String| {
        let path = scratch.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    // It takes any change of a rule for a breach, that of a message too: rules are compared above.
    let crd = |name: &str, crd: &Value| format!("file://{}", file(name, without_rules(crd).to_string()));
    let output = Command::new(crdify)
        .args(["--output", "json", "--config"])
        .arg(file("configuration.yaml", CONFIGURATION.to_owned()))
        .args([crd("old.yaml", old), crd("new.yaml", new)])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("crdify, {}: {error}: {said}", output.status));
    let mut found = Vec::new();
    let mut say = |place: &str, validation: &Validation| {
        for error in &validation.errors {
            let first = error.lines().next().unwrap_or_default();
            found.push(format!("{place}{}: {first}", validation.name));
        }
    };
    for validation in &report.crd_validation {
        say("", validation);
    }
    for versions in [report.same_version_validation, report.served_version_validation] {
        for (version, paths) in versions {
            for (path, validations) in paths {
                let path = path.trim_start_matches(['^', '.']);
                for validation in &validations {
                    say(&format!("{version} {path} "), validation);
                }
            }
        }
    }
    assert_eq!(
        output.status.success(),
        found.is_empty(),
        "crdify: {said}{found:?}"
    );
    found
}

// === parts of a definition ===

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn name(version: &Value) -> &str {
    version["name"].as_str().unwrap()
}

fn named<'a>(crd: &'a Value, version: &str) -> Option<&'a Value> {
    let mut versions = list(crd.pointer("/spec/versions")).iter();
    versions.find(|candidate| name(candidate) == version)
}

fn in_both<'a>(old: &'a Value, new: &'a Value) -> Vec<(&'a str, &'a Value, &'a Value)> {
    let versions = list(old.pointer("/spec/versions")).iter();
    versions
        .filter_map(|old| Some((name(old), old, named(new, name(old))?)))
        .collect()
}

fn schema(version: &Value) -> &Value {
    &version["schema"]["openAPIV3Schema"]
}

/// Every schema below this one, with its path.
fn schemas(root: &Value) -> BTreeMap<String, &Value> {
    fn walk<'a>(path: &str, schema: &'a Value, found: &mut BTreeMap<String, &'a Value>) {
        found.insert(path.trim_start_matches('.').to_owned(), schema);
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), property, found);
        }
        for key in ["items", "additionalProperties"] {
            if let Some(inner) = schema.get(key).filter(|inner| inner.is_object()) {
                walk(&format!("{path}[*]"), inner, found);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk("", root, &mut found);
    found
}

/// The same without what only people read.
fn without_text(schema: &Value) -> Value {
    without(schema, &["description", "x-kubernetes-validations/message"])
}

fn without_rules(crd: &Value) -> Value {
    without(crd, &["x-kubernetes-validations"])
}

/// The same without these keys wherever a schema has them; after a slash, a key within each element of a list.
fn without(value: &Value, keys: &[&str]) -> Value {
    match value {
        Value::Object(object) => {
            let kept = object.iter().filter(|(key, value)| {
                // A property may have such a name as well: then its value is a schema.
                !keys.contains(&key.as_str()) || value.is_object()
            });
            kept.map(|(key, value)| {
                let prefix = format!("{key}/");
                let inner: Vec<_> = keys
                    .iter()
                    .map(|key| key.strip_prefix(&prefix).unwrap_or(key))
                    .collect();
                (key.clone(), without(value, &inner))
            })
            .collect()
        }
        Value::Array(elements) => elements.iter().map(|element| without(element, keys)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
