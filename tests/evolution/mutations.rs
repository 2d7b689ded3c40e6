//! The comparison itself: every kind of change, made to the real CRD.

use scim_bridge_operator::api;
use serde_json::{Value, json};

use crate::compare::incompatibilities;

/// What is done to the definition.
#[derive(Clone, Debug)]
enum Change {
    /// Gives a field this value, whether it is there or not.
    Set(Value),
    /// Takes a field away, or an element from a list.
    Remove,
    /// Puts an element at the end of a list.
    Push(Value),
    /// Puts an element at the beginning of a list.
    Unshift(Value),
}
use Change::{Push, Remove, Set, Unshift};

/// Makes the change. In the path, `SPEC` and `STATUS` stand for these schemas of the first version, `VERSION` for it.
fn change(crd: &Value, path: &str, change: &Change) -> Value {
    let path = path
        .replace("SPEC", "VERSION/schema/openAPIV3Schema/properties/spec")
        .replace("STATUS", "VERSION/schema/openAPIV3Schema/properties/status")
        .replace("VERSION", "/spec/versions/0");
    let (parent, key) = path.rsplit_once('/').unwrap();
    let key = key.replace("~1", "/");
    let mut changed = crd.clone();
    let parent = changed
        .pointer_mut(parent)
        .unwrap_or_else(|| panic!("{path}: no such place"));
    match (change, parent) {
        (Set(value), Value::Object(object)) => {
            object.insert(key, value.clone());
        }
        (Remove, Value::Object(object)) => {
            assert!(object.remove(&key).is_some(), "{path}: nothing to remove");
        }
        (Remove, Value::Array(elements)) => {
            elements.remove(key.parse().unwrap());
        }
        (Push(value), parent) => parent[&key].as_array_mut().unwrap().push(value.clone()),
        (Unshift(value), parent) => parent[&key].as_array_mut().unwrap().insert(0, value.clone()),
        (change, _) => panic!("{path}: cannot {change:?}"),
    }
    assert_ne!(changed, *crd, "{path}: {change:?} changes nothing");
    changed
}

#[tokio::test]
async fn what_breaks_somebody_is_found() {
    let column = json!({"name": "NEW", "type": "string", "jsonPath": ".spec.url"});
    let second = |with: &[(&str, Value)]| {
        let mut version = serde_json::to_value(api::crd()).unwrap()["spec"]["versions"][0].clone();
        version["name"] = json!("v1beta1");
        version["storage"] = json!(false);
        for (pointer, value) in with {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            version.pointer_mut(parent).unwrap()[key] = value.clone();
        }
        version
    };
    let url_of_second = "/schema/openAPIV3Schema/properties/spec/properties/url";
    #[rustfmt::skip]
    let table = [
        // === schemas ===
        ("SPEC/properties/suspend", Remove, "existingFieldRemoval: removed field : v1alpha1.^.spec.suspend"),
        ("STATUS/properties/validUntil", Remove, "existingFieldRemoval: removed field : v1alpha1.^.status.validUntil"),
        ("SPEC/properties/failureThreshold/type", Set(json!("string")), "v1alpha1 spec.failureThreshold type"),
        ("SPEC/properties/suspend/type", Set(json!("string")), "v1alpha1 spec.suspend type"),
        ("SPEC/properties/url/maxLength", Set(json!(511)), "v1alpha1 spec.url maxLength"),
        ("SPEC/properties/url/minLength", Set(json!(9)), "v1alpha1 spec.url minLength"),
        ("SPEC/properties/failureThreshold/maximum", Set(json!(9)), "v1alpha1 spec.failureThreshold maximum"),
        ("SPEC/properties/failureThreshold/minimum", Set(json!(2)), "v1alpha1 spec.failureThreshold minimum"),
        ("STATUS/properties/conditions/maxItems", Set(json!(1)), "v1alpha1 status.conditions maxItems"),
        ("SPEC/properties/interval/pattern", Set(json!("^[0-9]+s$")), "v1alpha1 spec.interval unhandled"),
        ("STATUS/properties/scimEndpoint/pattern", Set(json!("^https")), "v1alpha1 status.scimEndpoint unhandled"),
        ("STATUS/properties/lastProbeTime/format", Remove, "v1alpha1 status.lastProbeTime unhandled"),
        ("SPEC/properties/url/nullable", Set(json!(true)), "v1alpha1 spec.url unhandled"),
        ("SPEC/properties/identityProvider/enum/0", Remove, "v1alpha1 spec.identityProvider enum: allowed enum values removed"),
        ("SPEC/properties/url/enum", Set(json!(["https://a"])), "v1alpha1 spec.url enum: enum constraint added"),
        ("SPEC/required", Push(json!("identityProvider")), "v1alpha1 spec required"),
        ("SPEC/properties/tls/required", Set(json!(["caRef"])), "v1alpha1 spec.tls required"),
        ("SPEC/properties/interval/default", Set(json!("10m")), "v1alpha1 spec.interval default: default value changed"),
        ("SPEC/properties/interval/default", Remove, "v1alpha1 spec.interval default: default value removed"),
        ("SPEC/properties/identityProvider/default", Set(json!("Other")), "v1alpha1 spec.identityProvider default: default added"),
        ("STATUS/default", Remove, "v1alpha1 status default: default value removed"),
        ("STATUS/properties/conditions/x-kubernetes-list-type", Set(json!("atomic")), "v1alpha1 status.conditions unhandled"),
        ("STATUS/properties/conditions/x-kubernetes-list-map-keys", Set(json!(["reason"])), "v1alpha1 status.conditions unhandled"),
        ("SPEC/x-kubernetes-preserve-unknown-fields", Set(json!(true)), "v1alpha1 spec unhandled"),
        // === rules ===
        ("SPEC/x-kubernetes-validations", Push(json!({"rule": "has(self.identityProvider)"})), "v1alpha1 spec rule: has(self.identityProvider)"),
        ("SPEC/properties/url/x-kubernetes-validations/1/rule", Set(json!("!self.contains('x')")), "v1alpha1 spec.url rule: !self.contains('x')"),
        ("SPEC/properties/suspend/x-kubernetes-validations", Set(json!([{"rule": "self == oldSelf"}])), "v1alpha1 spec.suspend rule: self == oldSelf"),
        // === the definition ===
        ("/spec/group", Set(json!("scimbridge.example")), "/spec/group: changed"),
        ("/spec/scope", Set(json!("Cluster")), "scope: "),
        ("/spec/names/kind", Set(json!("BridgeConnection")), "/spec/names/kind: changed"),
        ("/spec/names/plural", Set(json!("bridges")), "/spec/names/plural: changed"),
        ("/spec/names/singular", Set(json!("bridge")), "/spec/names/singular: changed"),
        ("/spec/names/listKind", Set(json!("Bridges")), "/spec/names/listKind: changed"),
        ("/spec/names/shortNames/0", Remove, "/spec/names/shortNames: \"sbc\" is gone"),
        ("/spec/names/categories/0", Remove, "/spec/names/categories: \"scim\" is gone"),
        ("/metadata/labels/servicebinding.io~1provisioned-service", Remove, "/metadata/labels: servicebinding.io/provisioned-service changed"),
        ("/spec/conversion", Set(json!({"strategy": "Webhook"})), "/spec/conversion: changed"),
        // === versions ===
        ("VERSION/name", Set(json!("v1beta1")), "v1alpha1: gone"),
        ("VERSION/name", Set(json!("v1beta1")), "v1beta1: stored in the release that introduces it"),
        ("VERSION/served", Set(json!(false)), "v1alpha1: no longer served"),
        ("VERSION/served", Set(json!(false)), "no version is served"),
        ("/spec/versions", Push(second(&[("/storage", json!(true))])), "v1beta1: stored in the release that introduces it"),
        ("/spec/versions", Push(second(&[(&format!("{url_of_second}/maxLength"), json!(513))])), "v1alpha1 and v1beta1 are served with different schemas"),
        ("/spec/versions", Push(second(&[("/schema/openAPIV3Schema/properties/spec/properties/new", json!({"type": "string"}))])), "v1alpha1 and v1beta1 are served with different schemas"),
        ("/spec/versions", Push(second(&[(&format!("{url_of_second}/x-kubernetes-validations/0/rule"), json!("true"))])), "v1alpha1 and v1beta1 are served with different schemas"),
        // === kubectl ===
        ("VERSION/subresources/status", Remove, "v1alpha1 subresources: status changed"),
        ("VERSION/additionalPrinterColumns/2", Remove, "v1alpha1 additionalPrinterColumns: STATUS is gone"),
        ("VERSION/additionalPrinterColumns/2/jsonPath", Set(json!(".status.x")), "v1alpha1 additionalPrinterColumns: STATUS is gone"),
        ("VERSION/additionalPrinterColumns/6/priority", Remove, "v1alpha1 additionalPrinterColumns: URL is gone"),
        ("VERSION/additionalPrinterColumns/0", Set(column), "v1alpha1 additionalPrinterColumns: IDP is gone"),
    ];
    let crd = serde_json::to_value(api::crd()).unwrap();
    let mut missed = Vec::new();
    for (path, what, expected) in table {
        // One element of a list is replaced by taking it away first.
        let changed = match (&what, path.ends_with("Columns/0")) {
            (Set(value), true) => {
                let without = change(&crd, path, &Remove);
                change(
                    &without,
                    "VERSION/additionalPrinterColumns",
                    &Unshift(value.clone()),
                )
            }
            _ => change(&crd, path, &what),
        };
        let found = incompatibilities(&crd, &changed).await;
        if !found.iter().any(|line| line.starts_with(expected)) {
            missed.push(format!("{path}: {expected} expected, {found:?} found"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// What breaks nobody must not be refused: people would learn to pass over the check.
#[tokio::test]
async fn what_breaks_nobody_is_let_through() {
    let crd = serde_json::to_value(api::crd()).unwrap();
    let mut second = crd["spec"]["versions"][0].clone();
    second["name"] = json!("v1beta1");
    second["storage"] = json!(false);
    second["schema"]["openAPIV3Schema"]["description"] = json!("Other words.");
    let column = json!({"name": "NEW", "type": "string", "jsonPath": ".spec.url", "priority": 1});
    #[rustfmt::skip]
    let table = [
        ("SPEC/properties/new", Set(json!({"type": "string", "maxLength": 8}))),
        ("SPEC/properties/new", Set(json!({"type": "string", "maxLength": 8, "default": "x"}))),
        ("SPEC/properties/new", Set(json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "maxLength": 8}}}))),
        ("SPEC/properties/new", Set(json!({"type": "string", "x-kubernetes-validations": [{"rule": "self != ''"}]}))),
        ("STATUS/properties/new", Set(json!({"type": "integer", "format": "int64"}))),
        ("SPEC/properties/url/maxLength", Set(json!(1024))),
        ("SPEC/properties/url/maxLength", Remove),
        ("SPEC/properties/failureThreshold/maximum", Set(json!(20))),
        ("SPEC/properties/identityProvider/enum", Push(json!("Ping"))),
        ("SPEC/required/0", Remove),
        ("SPEC/properties/url/description", Set(json!("Other words."))),
        ("SPEC/x-kubernetes-validations/0", Remove),
        ("SPEC/x-kubernetes-validations/0/message", Set(json!("other words"))),
        ("/spec/names/shortNames", Push(json!("bridge"))),
        ("/spec/names/categories", Push(json!("all"))),
        ("VERSION/additionalPrinterColumns", Push(column.clone())),
        ("VERSION/additionalPrinterColumns", Unshift(column)),
        ("VERSION/selectableFields", Set(json!([{"jsonPath": ".spec.url"}]))),
        ("VERSION/deprecated", Set(json!(true))),
        ("/spec/versions", Push(second)),
    ];
    let mut refused = Vec::new();
    for (path, what) in table {
        let found = incompatibilities(&crd, &change(&crd, path, &what)).await;
        if !found.is_empty() {
            refused.push(format!("{path}: {what:?}: {found:?}"));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

/// The version that was introduced becomes the stored one in a later release. In a still later one the old one is no
/// longer served, which somebody has to agree to.
#[tokio::test]
async fn the_next_version_comes_in_three_steps() {
    let alone = serde_json::to_value(api::crd()).unwrap();
    let mut both = alone.clone();
    let mut second = both["spec"]["versions"][0].clone();
    second["name"] = json!("v1beta1");
    second["storage"] = json!(false);
    both["spec"]["versions"].as_array_mut().unwrap().push(second);
    let mut stored = both.clone();
    stored["spec"]["versions"][0]["storage"] = json!(false);
    stored["spec"]["versions"][1]["storage"] = json!(true);
    let mut last = stored.clone();
    last["spec"]["versions"][0]["served"] = json!(false);

    let none: &[&str] = &[];
    assert_eq!(incompatibilities(&alone, &both).await, none);
    assert_eq!(incompatibilities(&both, &stored).await, none);
    assert_eq!(
        incompatibilities(&stored, &last).await,
        ["v1alpha1: no longer served"]
    );
}
