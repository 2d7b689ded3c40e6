//! The CustomResourceDefinition and the vocabulary, as they are published.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what is missing fails the test, with its place"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, iter,
    path::Path,
    process::Command,
};

use scim_bridge_operator::api::{
    self,
    connection::ScimBridgeConnectionStatus,
    group::ScimGroupStatus,
    kinds::{CONNECTION, Kind, PROVISIONING_KINDS},
    user::ScimUserStatus,
    vocabulary::{Class, Reason},
};
use serde_json::{Value, json};

/// A manifest, and the command that prints it.
const FILES: [(&str, &str); 2] = [
    ("deploy/crd.yaml", "crd"),
    ("deploy/provisioning/crds.yaml", "crd --provisioning"),
];

/// What the tests know of a kind. Counts keep a walk honest that would see nothing.
struct Expected {
    kind: &'static str,
    plural: &'static str,
    short: &'static str,
    /// Name, type, path and priority of each column. `READY` in a path stands for the condition.
    columns: &'static [(&'static str, &'static str, &'static str, i64)],
    /// Each list: its path, its type, its keys.
    lists: &'static [(&'static str, &'static str, &'static [&'static str])],
    least_strings: usize,
    least_rules: usize,
    /// `observedGeneration` of a status that nobody wrote.
    observed: fn(Value) -> i64,
}

/// What `READY` in the path of a column stands for.
const READY: &str = r#".status.conditions[?(@.type=="Ready")]"#;

#[rustfmt::skip]
const EXPECTED: [Expected; 3] = [
    Expected {
        kind: "ScimBridgeConnection", plural: "scimbridgeconnections", short: "sbc",
        columns: &[
            ("IDP", "string", ".spec.identityProvider", 0),
            ("READY", "string", "READY.status", 0),
            ("STATUS", "string", "READY.reason", 0),
            ("VERSION", "string", ".status.bridge.version", 0),
            ("CHECKED", "date", ".status.lastProbeTime", 0),
            ("AGE", "date", ".metadata.creationTimestamp", 0),
            ("URL", "string", ".spec.url", 1),
            ("SCIM", "string", ".status.scimApi", 1),
            ("SECRET", "string", ".spec.apiKeySecretRef.name", 1),
            ("SUSPENDED", "boolean", ".spec.suspend", 1),
            // Times to come are strings: kubectl shows a date to come as `<invalid>`.
            ("CERT-EXPIRES", "string", ".status.certificate.notAfter", 1),
            ("NEXT-CHECK", "string", ".status.nextProbeTime", 1),
            ("MESSAGE", "string", "READY.message", 1),
        ],
        lists: &[
            (".spec.provisioning.protected.groups", "set", &[]),
            (".spec.provisioning.protected.userNames", "set", &[]),
            (".spec.provisioning.scope.groups", "set", &[]),
            (".spec.provisioning.scope.userNames", "set", &[]),
            (".status.bridge.components", "map", &["name"]),
            (".status.conditions", "map", &["type"]),
            // Part of a whole that is replaced as a whole.
            (".status.provisioning.pending", "atomic", &[]),
            (".status.provisioning.released", "atomic", &[]),
            (".status.provisioning.spent", "atomic", &[]),
        ],
        least_strings: 25, least_rules: 12,
        observed: |status| serde_json::from_value::<ScimBridgeConnectionStatus>(status).unwrap().observed_generation,
    },
    Expected {
        kind: "ScimUser", plural: "scimusers", short: "scu",
        columns: &[
            ("USER", "string", ".spec.userName", 0),
            ("STATE", "string", ".spec.state", 0),
            ("READY", "string", "READY.status", 0),
            ("STATUS", "string", "READY.reason", 0),
            ("AGE", "date", ".metadata.creationTimestamp", 0),
            ("CONNECTION", "string", ".spec.connectionRef.name", 1),
            ("REMOTE", "string", ".status.remoteState", 1),
            ("UNTIL", "string", ".spec.activeUntil", 1),
            ("ID", "string", ".status.id", 1),
            ("MESSAGE", "string", "READY.message", 1),
        ],
        lists: &[
            (".status.conditions", "map", &["type"]),
            (".status.overwritten", "atomic", &[]),
            (".status.plan", "atomic", &[]),
            (".status.stopped", "atomic", &[]),
        ],
        least_strings: 10, least_rules: 1,
        observed: |status| serde_json::from_value::<ScimUserStatus>(status).unwrap().observed_generation,
    },
    Expected {
        kind: "ScimGroup", plural: "scimgroups", short: "scg",
        columns: &[
            ("GROUP", "string", ".spec.displayName", 0),
            ("MEMBERSHIP", "string", ".spec.membership", 0),
            ("READY", "string", "READY.status", 0),
            ("STATUS", "string", "READY.reason", 0),
            ("WANTED", "integer", ".status.members.wanted", 0),
            ("MISSING", "integer", ".status.members.missing", 0),
            ("EXTRA", "integer", ".status.members.extra", 0),
            ("AGE", "date", ".metadata.creationTimestamp", 0),
            ("CONNECTION", "string", ".spec.connectionRef.name", 1),
            ("ID", "string", ".status.id", 1),
            ("MESSAGE", "string", "READY.message", 1),
        ],
        lists: &[
            (".spec.members", "map", &["userName"]),
            (".status.added", "set", &[]),
            (".status.conditions", "map", &["type"]),
            (".status.overwritten", "atomic", &[]),
            (".status.plan", "atomic", &[]),
            (".status.stopped", "atomic", &[]),
        ],
        least_strings: 8, least_rules: 2,
        observed: |status| serde_json::from_value::<ScimGroupStatus>(status).unwrap().observed_generation,
    },
];

/// Every kind with what is expected of it.
fn kinds() -> Vec<(&'static Kind, Expected)> {
    let kinds: Vec<_> = iter::once(&CONNECTION).chain(&PROVISIONING_KINDS).collect();
    assert_eq!(kinds.len(), EXPECTED.len());
    kinds.into_iter().zip(EXPECTED).collect()
}

fn crd(kind: &Kind) -> Value {
    serde_json::to_value((kind.crd)()).unwrap()
}

/// The one version.
fn version(kind: &Kind) -> Value {
    let versions = &crd(kind)["spec"]["versions"];
    assert_eq!(versions.as_array().unwrap().len(), 1);
    versions[0].clone()
}

fn schema(kind: &Kind, part: &str) -> Value {
    version(kind)["schema"]["openAPIV3Schema"]["properties"][part].clone()
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}

/// Calls `look` for every schema below this one, with its path.
fn walk(path: &str, schema: &Value, look: &mut impl FnMut(&str, &Value)) {
    look(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, look);
    }
    for (key, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(inner) = schema.get(key) {
            walk(&format!("{path}{suffix}"), inner, look);
        }
    }
}

/// Every schema of a kind, from the root.
fn walk_all(kind: &Kind, look: &mut impl FnMut(&str, &Value)) {
    walk("", &version(kind)["schema"]["openAPIV3Schema"], look);
}

// === The files ===

#[test]
fn each_file_is_what_the_program_prints() {
    for (path, command) in FILES {
        let printed = Command::new(env!("CARGO_BIN_EXE_scim-bridge-operator"))
            .args(command.split(' '))
            .output()
            .unwrap();
        assert!(printed.status.success(), "{printed:?}");
        let header = format!(
            "# Generated by 'scim-bridge-operator {command}' ('make generate'); a test fails where it differs.\n"
        );
        let printed = header + &String::from_utf8(printed.stdout).unwrap();
        let file = read(path).unwrap_or_default();
        let differs = printed.lines().zip(file.lines()).position(|(a, b)| a != b);
        assert!(
            printed == file,
            "{path} is not what the program prints (from line {}): run `make generate`",
            differs.unwrap_or_else(|| printed.lines().count().min(file.lines().count())) + 1
        );
    }
}

/// A finding of `preflight` names the manifest of a kind.
#[test]
fn the_manifest_of_each_kind_has_its_definition() {
    for (kind, expected) in kinds() {
        let manifest = read(kind.manifest).unwrap_or_default();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&manifest).unwrap();
        assert!(
            documents.contains(&crd(kind)),
            "{}: {}",
            expected.kind,
            kind.manifest
        );
    }
}

/// `kubectl apply` without `--server-side` keeps a copy in an annotation of at most 256 KiB; far below it, every
/// client and cache bears it too.
#[test]
fn they_are_small() {
    for (path, _) in FILES {
        let size = read(path).unwrap().len();
        assert!(size < 100_000, "{path}: {size} bytes");
    }
}

// === The definitions ===

#[test]
fn names() {
    for (
        kind,
        Expected {
            kind: name,
            plural,
            short,
            ..
        },
    ) in kinds()
    {
        let crd = crd(kind);
        assert_eq!(crd["metadata"]["name"], format!("{plural}.scimbridge.dev"));
        assert_eq!(crd["spec"]["group"], api::GROUP);
        assert_eq!(crd["spec"]["scope"], "Namespaced");
        assert_eq!(
            crd["spec"]["names"],
            json!({
                "kind": name,
                "plural": plural,
                "singular": name.to_lowercase(),
                "shortNames": [short],
                "categories": ["scim"],
            })
        );
        let version = version(kind);
        assert_eq!(version["name"], "v1alpha1");
        assert_eq!(
            (&version["served"], &version["storage"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(version["subresources"], json!({"status": {}}));
    }
}

/// Implementations of servicebinding.io find Provisioned Services by it: a connection is one, a person is none.
#[test]
fn a_connection_is_labelled_as_a_provisioned_service() {
    for (kind, expected) in kinds() {
        let crd = crd(kind);
        let label = crd["metadata"]["labels"].get("servicebinding.io/provisioned-service");
        let is_connection = expected.kind == "ScimBridgeConnection";
        assert_eq!(
            label,
            is_connection.then_some(&json!("true")),
            "{}",
            expected.kind
        );
    }
}

/// A webhook would be one more server whose outage stops everything.
#[test]
fn there_is_no_conversion() {
    for (kind, expected) in kinds() {
        assert_eq!(crd(kind)["spec"].get("conversion"), None, "{}", expected.kind);
    }
}

#[test]
fn columns() {
    for (kind, expected) in kinds() {
        let version = version(kind);
        let columns = version["additionalPrinterColumns"].as_array().unwrap().iter();
        let columns: Vec<_> = columns
            .map(|column| {
                (
                    column["name"].as_str().unwrap(),
                    column["type"].as_str().unwrap(),
                    column["jsonPath"].as_str().unwrap().replace(READY, "READY"),
                    column.get("priority").and_then(Value::as_i64).unwrap_or(0),
                )
            })
            .collect();
        let expected: Vec<_> = expected
            .columns
            .iter()
            .map(|(name, of, path, priority)| (*name, *of, (*path).to_owned(), *priority))
            .collect();
        assert_eq!(columns, expected);
    }
}

// === The schemas ===

/// Null beside absence would be a second way to say nothing, which every rule would have to know.
#[test]
fn nothing_is_nullable() {
    for (kind, expected) in kinds() {
        walk_all(kind, &mut |path, schema| {
            let path = format!("{}{path}", expected.kind);
            assert_eq!(schema.get("nullable"), None, "{path}");
            for value in schema["enum"].as_array().into_iter().flatten() {
                assert!(!value.is_null(), "{path}: enum");
            }
        });
    }
}

/// What has no bound can fill etcd, and makes rules cost too much for the API server to accept them.
#[test]
fn everything_is_bounded() {
    let mut unbounded = Vec::new();
    for (kind, expected) in kinds() {
        let mut strings = 0;
        for part in ["spec", "status"] {
            walk(part, &schema(kind, part), &mut |path, schema| {
                // Conditions are Kubernetes' own type: its schema in k8s-openapi says nothing of lengths. What stands
                // in them is from the vocabulary, whose lengths are tested below.
                if path.starts_with("status.conditions[]") {
                    return;
                }
                let has = |keys: &[&str]| keys.iter().any(|key| schema.get(key).is_some());
                let bounded = match schema["type"].as_str() {
                    Some("string") => {
                        strings += 1;
                        has(&["maxLength", "enum", "format"])
                    }
                    Some("array") => has(&["maxItems"]),
                    // A map needs both; a struct has its fields.
                    Some("object") => !has(&["additionalProperties"]) || has(&["maxProperties"]),
                    Some("integer" | "boolean") => true,
                    _ => false,
                };
                if !bounded {
                    unbounded.push(format!("{}: {path}", expected.kind));
                }
            });
        }
        assert!(
            strings >= expected.least_strings,
            "{}: the walk saw {strings} strings only",
            expected.kind
        );
    }
    assert!(unbounded.is_empty(), "give these a maximum: {unbounded:?}");
}

/// The API server warns of formats that it does not know.
#[test]
fn formats_are_known_to_kubernetes() {
    for (kind, expected) in kinds() {
        walk_all(kind, &mut |path, schema| {
            if let Some(format) = schema.get("format") {
                let format = format.as_str().unwrap();
                assert!(
                    ["int32", "int64", "date-time"].contains(&format),
                    "{}{path}: format {format}",
                    expected.kind
                );
            }
        });
    }
}

/// Without a description `kubectl explain` says `<no description>`.
#[test]
fn every_field_is_described() {
    let mut bare = Vec::new();
    for (kind, expected) in kinds() {
        walk_all(kind, &mut |path, schema| {
            // kubectl explains the list of texts, and no single text.
            let is_text_in_list = path.ends_with("[]") && schema["type"] == "string";
            let is_bare = schema["description"].as_str().unwrap_or_default().is_empty();
            if is_bare && !path.is_empty() && !is_text_in_list {
                bare.push(format!("{}{path}", expected.kind));
            }
        });
    }
    assert!(bare.is_empty(), "{bare:?}");
}

#[test]
fn every_rule_says_what_is_allowed() {
    for (kind, expected) in kinds() {
        let mut rules = 0;
        walk_all(kind, &mut |path, schema| {
            for rule in schema["x-kubernetes-validations"]
                .as_array()
                .into_iter()
                .flatten()
            {
                rules += 1;
                assert!(
                    rule["message"].as_str().is_some_and(|m| !m.is_empty()),
                    "{}{path}: {rule}",
                    expected.kind
                );
            }
        });
        assert!(
            rules >= expected.least_rules,
            "{}: the walk saw {rules} rules only",
            expected.kind
        );
    }
}

/// kstatus takes an object without `observedGeneration` for healthy.
#[test]
fn a_status_that_nobody_wrote_says_so() {
    for (kind, expected) in kinds() {
        let status = schema(kind, "status");
        assert_eq!(status["default"], json!({"observedGeneration": -1}));
        assert_eq!((expected.observed)(status["default"].clone()), -1);
        // Defaults of its fields would be filled into it, and into every other status.
        walk("status", &status, &mut |path, schema| {
            if let Some(default) = schema.get("default") {
                assert!(
                    path == "status" || (path == "status.observedGeneration" && *default == -1),
                    "{}: {path}: {default}",
                    expected.kind
                );
            }
        });
    }
}

/// Several field managers may own entries of a list, unless one writer replaces it as a whole.
#[test]
fn lists_have_the_type_that_lets_managers_share_them() {
    for (kind, expected) in kinds() {
        let mut found = BTreeMap::new();
        walk_all(kind, &mut |path, schema| {
            if schema["type"] == "array" {
                let of = |key: &str| schema.get(key).cloned();
                let keys = of("x-kubernetes-list-map-keys").unwrap_or_else(|| json!([]));
                // The API server's own default.
                let list_type = of("x-kubernetes-list-type").unwrap_or_else(|| json!("atomic"));
                if schema["items"]["type"] == "string" {
                    assert_eq!(list_type, "set", "{}{path}", expected.kind);
                }
                found.insert(path.to_owned(), (list_type, keys));
            }
        });
        let expected: BTreeMap<_, _> = expected
            .lists
            .iter()
            .map(|(path, list_type, keys)| ((*path).to_owned(), (json!(list_type), json!(keys))))
            .collect();
        assert_eq!(found, expected);
    }
}

// === The vocabulary ===

/// The API server refuses a condition with another reason.
/// <https://github.com/kubernetes/apimachinery/blob/master/pkg/apis/meta/v1/types.go>
#[test]
fn reasons_are_camel_case() {
    for reason in Reason::ALL {
        let name = reason.as_str();
        assert!(name.starts_with(|c: char| c.is_ascii_uppercase()), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{name}");
        assert!(name.len() <= 64, "{name}");
    }
}

#[test]
fn reasons_are_unique() {
    let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let anchors: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.anchor()).collect();
    assert_eq!(
        (names.len(), anchors.len()),
        (Reason::ALL.len(), Reason::ALL.len())
    );
    for reason in Reason::ALL {
        assert_eq!(Reason::parse(reason.as_str()), Some(*reason));
    }
}

#[test]
fn reasons_say_what_is_wrong_and_what_to_do() {
    for reason in Reason::ALL {
        let (message, action) = (reason.message(), reason.action());
        for (text, limit) in [(message, 512), (action, 512)] {
            assert!(text.len() <= limit, "{reason}: {} bytes", text.len());
            assert!(
                text.is_empty() || text.ends_with('.'),
                "{reason}: no sentence: {text}"
            );
        }
        assert!(!message.is_empty(), "{reason} has no message");
        match reason.class() {
            Class::Action | Class::Transient => assert!(!action.is_empty(), "{reason} has no action"),
            Class::Ok | Class::Pending => assert!(action.is_empty(), "{reason} asks for nothing: {action}"),
        }
    }
}
