//! The body of a write: a resource, or operations on one.

use serde_json::{Map, Value};

use super::{filter::Path, refusal::Refusal};

const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Add,
    Replace,
    Remove,
}

/// One operation. Without a path its value is an object of attributes.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) verb: Verb,
    pub(super) path: Option<Path>,
    pub(super) value: Value,
}

/// Reads a resource, which has to name its schema.
pub(super) fn resource(body: &[u8], schema: &str) -> Result<Map<String, Value>, Refusal> {
    let object = object(body)?;
    names_schema(&object, schema)?;
    Ok(object)
}

/// Reads the operations of a PATCH. Names of members and of operations have no case.
pub(super) fn operations(body: &[u8]) -> Result<Vec<Operation>, Refusal> {
    let object = object(body)?;
    names_schema(&object, PATCH_OP)?;
    let invalid = || Refusal::bad("invalidSyntax", "a PATCH has a list of operations");
    let operations = field(&object, "Operations").and_then(Value::as_array);
    let operations = operations.filter(|operations| !operations.is_empty());
    operations.ok_or_else(invalid)?.iter().map(operation).collect()
}

fn operation(operation: &Value) -> Result<Operation, Refusal> {
    let invalid = |detail| Refusal::bad("invalidSyntax", detail);
    let operation = operation
        .as_object()
        .ok_or_else(|| invalid("an operation is an object"))?;
    let verb = field(operation, "op").and_then(Value::as_str).unwrap_or_default();
    let verb = match verb.to_lowercase().as_str() {
        "add" => Verb::Add,
        "replace" => Verb::Replace,
        "remove" => Verb::Remove,
        _ => return Err(invalid("op is add, replace or remove")),
    };
    let path = match field(operation, "path") {
        None | Some(Value::Null) => None,
        Some(path) => {
            let path = path.as_str().ok_or_else(|| invalid("path is a text"))?;
            Some(Path::parse(path)?)
        }
    };
    let value = field(operation, "value").cloned().unwrap_or_default();
    if path.is_none() && verb == Verb::Remove {
        return Err(Refusal::bad("noTarget", "a removal has a path"));
    }
    if path.is_none() && !value.is_object() {
        return Err(Refusal::bad(
            "invalidValue",
            "without a path the value is an object",
        ));
    }
    Ok(Operation { verb, path, value })
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    serde_json::from_slice(body).map_err(|_| Refusal::bad("invalidSyntax", "the body is a JSON object"))
}

fn names_schema(object: &Map<String, Value>, schema: &str) -> Result<(), Refusal> {
    let schemas = field(object, "schemas").and_then(Value::as_array);
    let named = schemas.into_iter().flatten().filter_map(Value::as_str);
    if named.into_iter().any(|named| named.eq_ignore_ascii_case(schema)) {
        Ok(())
    } else {
        Err(Refusal::bad("invalidSyntax", "the body does not name its schema"))
    }
}

/// A member of an object, without regard to case.
pub(super) fn field<'object>(object: &'object Map<String, Value>, name: &str) -> Option<&'object Value> {
    object.get(name).or_else(|| {
        let mut fields = object.iter();
        fields
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    })
}
