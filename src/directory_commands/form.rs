//! The form of a specification, held against the schema of its definition, as the API server does it.
//!
//! serde would ignore a field that it does not know: `sate: Suspended` would declare an active user.

use std::fmt;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use serde_json::Value;

use super::declared::Kind;
use crate::api::{group_crd, user_crd};

/// Why a specification does not have the form of its kind. It quotes no value: each may be about a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Misformed {
    /// Another version of the API.
    #[error("apiVersion must be {0}")]
    Version(String),
    /// A field that must be there.
    #[error("{0} is missing")]
    Missing(Path),
    /// A field that the kind does not have.
    #[error("{0} is not a field of this kind")]
    Unknown(Path),
    /// A value of another type.
    #[error("{0} must be of type {1}")]
    Type(Path, String),
    /// A word that is not one of the allowed ones.
    #[error("{0} must be one of {1}")]
    Word(Path, String),
    /// A time that is none.
    #[error("a time is not in the form of RFC 3339, such as 2027-01-31T00:00:00Z")]
    Time,
    /// An object in the cluster that this version cannot read.
    #[error("the object does not have the form of its kind: compare it with kubectl explain")]
    Form,
}

/// The path of a field: `spec.members[3].userName`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path(String);

/// The longest name of a field that is shown. Something else may be a name in the wrong place.
const MAX_FIELD: usize = 32;

impl Path {
    fn field(&self, name: &str) -> Self {
        let Self(path) = self;
        let is_plain = name.len() <= MAX_FIELD && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_plain {
            Self(format!("{path}.{name}"))
        } else {
            Self(format!("a field of {path}"))
        }
    }

    fn item(&self, index: usize) -> Self {
        let Self(path) = self;
        Self(format!("{path}[{index}]"))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks fields, types and words. Lengths and patterns are for the parser of wishes.
///
/// # Errors
/// [`Misformed`] names the first field that is wrong.
pub(super) fn check(kind: Kind, spec: &Value) -> Result<(), Misformed> {
    let crd = match kind {
        Kind::User => user_crd(),
        Kind::Group => group_crd(),
    };
    schema_of(&crd).map_or(Ok(()), |schema| walk(schema, spec, &Path("spec".to_owned())))
}

fn schema_of(crd: &CustomResourceDefinition) -> Option<&JSONSchemaProps> {
    let version = crd.spec.versions.first()?;
    let root = version.schema.as_ref()?.open_api_v3_schema.as_ref()?;
    root.properties.as_ref()?.get("spec")
}

fn walk(schema: &JSONSchemaProps, value: &Value, path: &Path) -> Result<(), Misformed> {
    if let Some(wanted) = schema.type_.as_deref()
        && !is_of_type(value, wanted)
    {
        return Err(if value.is_null() {
            Misformed::Missing(path.clone())
        } else {
            Misformed::Type(path.clone(), wanted.to_owned())
        });
    }
    if let Some(words) = &schema.enum_
        && !words.iter().any(|JSON(word)| word == value)
    {
        let words: Vec<&str> = words.iter().filter_map(|JSON(word)| word.as_str()).collect();
        return Err(Misformed::Word(path.clone(), words.join(", ")));
    }
    if let (Some(fields), Some(properties)) = (value.as_object(), &schema.properties) {
        for name in schema.required.iter().flatten() {
            if fields.get(name).is_none_or(Value::is_null) {
                return Err(Misformed::Missing(path.field(name)));
            }
        }
        for (name, value) in fields {
            let Some(schema) = properties.get(name) else {
                return Err(Misformed::Unknown(path.field(name)));
            };
            // The API server drops a null where a field may be absent.
            if !value.is_null() {
                walk(schema, value, &path.field(name))?;
            }
        }
    }
    if let (Some(items), Some(JSONSchemaPropsOrArray::Schema(schema))) = (value.as_array(), &schema.items) {
        for (index, item) in items.iter().enumerate() {
            walk(schema, item, &path.item(index))?;
        }
    }
    Ok(())
}

fn is_of_type(value: &Value, wanted: &str) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn specifications_of_another_form() {
        let user = json!({
            "connectionRef": {"name": "corp"},
            "userName": "ada@example.com",
            "name": {"givenName": "Ada", "familyName": "Example"},
        });
        let group = json!({"connectionRef": {"name": "corp"}, "displayName": "k8s-admins"});
        for (kind, spec, change, expected) in [
            (Kind::User, &user, json!({}), ""),
            (Kind::User, &user, json!({"state": "Suspended"}), ""),
            (Kind::User, &user, json!({"activeUntil": null}), ""),
            (
                Kind::User,
                &user,
                json!({"userName": null}),
                "spec.userName is missing",
            ),
            (
                Kind::User,
                &user,
                json!({"userName": 7}),
                "spec.userName must be of type string",
            ),
            (
                Kind::User,
                &user,
                json!({"name": {"givenName": "Ada"}}),
                "spec.name.familyName is missing",
            ),
            (
                Kind::User,
                &user,
                json!({"name": "Ada"}),
                "spec.name must be of type object",
            ),
            (
                Kind::User,
                &user,
                json!({"sate": "Suspended"}),
                "spec.sate is not a field of this kind",
            ),
            (
                Kind::User,
                &user,
                json!({"state": "suspended"}),
                "spec.state must be one of Active, Suspended",
            ),
            (
                Kind::User,
                &user,
                json!({"canary@example.com": true}),
                "a field of spec is not a field of this kind",
            ),
            (Kind::Group, &group, json!({}), ""),
            (
                Kind::Group,
                &group,
                json!({"members": [{"userName": "ada@example.com"}, {"username": "kim@example.com"}]}),
                "spec.members[1].userName is missing",
            ),
            (
                Kind::Group,
                &group,
                json!({"members": ["ada@example.com"]}),
                "spec.members[0] must be of type object",
            ),
            (
                Kind::Group,
                &group,
                json!({"paused": "no"}),
                "spec.paused must be of type boolean",
            ),
        ] {
            let mut spec = spec.clone();
            let fields = spec.as_object_mut().unwrap();
            fields.extend(change.as_object().unwrap().clone());
            let said = check(kind, &spec).map_or_else(|fault| fault.to_string(), |()| String::new());
            assert_eq!(said, expected, "{spec}");
        }
        let said = check(Kind::User, &Value::Null).unwrap_err().to_string();
        assert_eq!(said, "spec is missing");
    }
}
