//! The `CustomResourceDefinition`: kube derives it from the types, and this file adds what no attribute can express.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt as _;
use serde_json::{Value, json};

use super::{connection::ScimBridgeConnection, group::ScimGroup, user::ScimUser};

/// The definition of `ScimBridgeConnection`: `scim-bridge-operator crd` prints it, and `deploy/crd.yaml` holds it.
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    let mut crd = completed(ScimBridgeConnection::crd());
    crd.metadata.labels.get_or_insert_default().insert(
        "servicebinding.io/provisioned-service".to_owned(),
        "true".to_owned(),
    );
    crd
}

/// The definition of `ScimUser`.
#[must_use]
pub fn user_crd() -> CustomResourceDefinition {
    completed(ScimUser::crd())
}

/// The definition of `ScimGroup`.
#[must_use]
pub fn group_crd() -> CustomResourceDefinition {
    completed(ScimGroup::crd())
}

/// Adds what every definition has, and what kube cannot derive:
/// - A default status with `observedGeneration: -1`. Without it, kstatus (Flux, Helm) reports an object as healthy that
///   no operator has seen. <https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md>
/// - Optional fields are absent, never null. Integer formats are ones that Kubernetes knows.
fn completed(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let name = (
        "app.kubernetes.io/name".to_owned(),
        "scim-bridge-operator".to_owned(),
    );
    crd.metadata.labels = Some([name].into());
    for version in &mut crd.spec.versions {
        let Some(root) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        normalize(root);
        if let Some(status) = root
            .properties
            .as_mut()
            .and_then(|properties| properties.get_mut("status"))
        {
            status.default = Some(JSON(json!({ "observedGeneration": -1 })));
            // Otherwise the API server would add the fields' defaults to this status: a count of 0 that nobody counted.
            for (name, field) in status.properties.iter_mut().flatten() {
                if name != "observedGeneration" {
                    field.default = None;
                }
            }
        }
    }
    crd
}

/// Removes two traces of the Rust types: `nullable` of each `Option`, and formats of unsigned integers.
///
/// With `nullable`, each rule would have to handle null as well as absence. The API server warns about formats that it
/// does not know, and `minimum` gives the bounds anyway.
fn normalize(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(values) = &mut schema.enum_ {
        values.retain(|JSON(value)| *value != Value::Null);
    }
    match schema.format.as_deref() {
        Some("uint8" | "uint16") => schema.format = Some("int32".to_owned()),
        Some("uint32" | "uint64" | "uint") => schema.format = Some("int64".to_owned()),
        _ => {}
    }
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
    {
        normalize(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        normalize(items);
    }
}
