//! Compares the CRD's schema in the cluster with the one of this program.
//!
//! The API server refuses a server-side apply with a field that its schema does not know. It drops such fields from
//! other requests. So a program that is newer than the CRD could not write its status. Nobody could set its new fields.

use serde_json::Value;

/// The paths that `own` has and `served` lacks: fields (`spec.tls.caRef`) and values of enums
/// (`spec.identityProvider=Okta`). Both are OpenAPI schemas. Additions in `served` do not matter.
#[must_use]
pub fn missing(served: &Value, own: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    compare(served, own, "", &mut paths);
    paths
}

fn compare(served: &Value, own: &Value, path: &str, missing: &mut Vec<String>) {
    // Such a schema accepts any field.
    if served.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
        return;
    }
    for (name, own) in own
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        match served
            .get("properties")
            .and_then(|properties| properties.get(name))
        {
            Some(served) => compare(served, own, &path, missing),
            None => missing.push(path),
        }
    }
    if let (Some(served), Some(own)) = (served.get("items"), own.get("items")) {
        compare(served, own, &format!("{path}[]"), missing);
    }
    // Without an enum the API server accepts every value.
    if let Some(served) = served.get("enum").and_then(Value::as_array) {
        let own = own.get("enum").and_then(Value::as_array);
        for value in own.into_iter().flatten().filter(|value| !served.contains(value)) {
            missing.push(format!("{path}={}", value.as_str().unwrap_or_default()));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing() {
        let own = json!({"properties": {
            "spec": {"properties": {
                "url": {"type": "string"},
                "idp": {"type": "string", "enum": ["Okta", "Other"]},
                "tls": {"properties": {"caRef": {"type": "object"}}},
            }},
            "status": {"properties": {
                "list": {"items": {"properties": {"name": {"type": "string"}}}},
            }},
        }});
        let without = |pointer: &str, name: &str| {
            let mut served = own.clone();
            let parent = served.pointer_mut(pointer).unwrap();
            if let Some(values) = parent.as_array_mut() {
                values.retain(|value| value != name);
            } else {
                parent.as_object_mut().unwrap().remove(name).unwrap();
            }
            missing(&served, &own)
        };
        assert_eq!(missing(&own, &own), [""; 0]);
        for (pointer, name, path) in [
            ("/properties", "status", "status"),
            ("/properties/spec/properties", "url", "spec.url"),
            (
                "/properties/spec/properties/tls/properties",
                "caRef",
                "spec.tls.caRef",
            ),
            ("/properties/spec/properties/idp/enum", "Other", "spec.idp=Other"),
            (
                "/properties/status/properties/list/items/properties",
                "name",
                "status.list[].name",
            ),
        ] {
            assert_eq!(without(pointer, name), [path], "{name} taken from {pointer}");
        }
    }

    #[test]
    fn what_is_there_besides_does_not_matter() {
        let own = json!({"properties": {"idp": {"enum": ["Okta"]}, "free": {"properties": {"a": {}}}}});
        let served = json!({"properties": {
            "idp": {"enum": ["Okta", "New"]},
            "free": {"x-kubernetes-preserve-unknown-fields": true},
            "new": {},
        }});
        assert_eq!(missing(&served, &own), [""; 0]);
    }
}
