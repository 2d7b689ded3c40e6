//! The rule for writes: which requests the operator may send, and that it sends no other.
//!
//! A front checks each request when it arrives. So every test with a front holds the rule, and no record that is cleared
//! or gives way hides a request. [`Front`](crate::Front) says when it tells.
//!
//! Everything is forbidden but the forms that are wanted: `POST` of a user or group with known fields, and `PATCH` with
//! one kind of operation. An unknown form is as forbidden as a known bad one.

use std::{fmt, sync::Mutex, sync::PoisonError};

use serde_json::{Map, Value};

use crate::requests::RequestRecord;

/// The most members in one request.
const MAX_MEMBERS: usize = 100;
/// How many are kept. One is enough to fail a test.
const KEPT: usize = 8;
/// How much of a body is shown, in characters.
const SHOWN: usize = 300;

/// Why this request must not be sent. `None` for one that reads, or has a form that is wanted.
///
/// It looks at method, target and body, not at what the front makes of them.
#[must_use]
pub fn forbidden(method: &str, target: &str, body: &[u8]) -> Option<&'static str> {
    let path = target.split('?').next().unwrap_or_default();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let judged = match (method, segments.as_slice()) {
        (_, [.., "Bulk" | "bulk"]) => Err("a bulk request"),
        ("GET" | "HEAD" | "OPTIONS", _) => return None,
        ("DELETE", _) => Err("it deletes"),
        ("PUT", _) => Err("it replaces a resource"),
        ("POST", [.., "Users"]) => document(body).and_then(|user| new_user(&user)),
        ("POST", [.., "Groups"]) => document(body).and_then(|group| new_group(&group)),
        ("PATCH", [.., "Users", _]) => document(body).and_then(|patch| change_of_user(&patch)),
        ("PATCH", [.., "Groups", _]) => document(body).and_then(|patch| change_of_group(&patch)),
        _ => Err("nobody knows what it does"),
    };
    judged.err()
}

type Judged<T = ()> = Result<T, &'static str>;

fn require(holds: bool, otherwise: &'static str) -> Judged {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn document(body: &[u8]) -> Judged<Map<String, Value>> {
    serde_json::from_slice(body).map_err(|_| "the body is no JSON object")
}

fn has_only(object: &Map<String, Value>, keys: &[&str]) -> Judged {
    require(!object.contains_key("externalId"), "it has an externalId")?;
    require(
        object.keys().all(|key| keys.contains(&key.as_str())),
        "it has a field that is not ours",
    )
}

fn new_user(user: &Map<String, Value>) -> Judged {
    require(!user.contains_key("displayName"), "displayName of a user")?;
    has_only(user, &["schemas", "userName", "name", "emails", "active"])?;
    require(
        user.get("active") == Some(&Value::Bool(true)),
        "active is not true",
    )?;
    require(user.get("userName").is_some_and(Value::is_string), "no userName")?;
    let name = user.get("name").and_then(Value::as_object).ok_or("no name")?;
    has_only(name, &["givenName", "familyName"])?;
    let emails = user.get("emails").and_then(Value::as_array).ok_or("no emails")?;
    let [Value::Object(email)] = emails.as_slice() else {
        return Err("not one address");
    };
    has_only(email, &["value", "primary"])?;
    require(
        email.get("primary") == Some(&Value::Bool(true)),
        "the address is not primary",
    )
}

fn new_group(group: &Map<String, Value>) -> Judged {
    require(!group.contains_key("members"), "a new group with members")?;
    has_only(group, &["schemas", "displayName"])?;
    require(
        group.get("displayName").is_some_and(Value::is_string),
        "no displayName",
    )
}

/// One operation of a PATCH.
struct Operation<'a> {
    op: &'a str,
    path: &'a str,
    value: Option<&'a Value>,
}

/// The operations of a PATCH. All are of one kind, and each has a path.
fn operations(patch: &Map<String, Value>) -> Judged<Vec<Operation<'_>>> {
    has_only(patch, &["schemas", "Operations"])?;
    let operations = patch.get("Operations").and_then(Value::as_array);
    let operations = operations
        .filter(|operations| !operations.is_empty())
        .ok_or("no operations")?;
    let operations: Vec<_> = operations.iter().map(operation).collect::<Judged<_>>()?;
    let mut kinds: Vec<_> = operations.iter().map(|operation| operation.op).collect();
    kinds.dedup();
    require(kinds.len() == 1, "two kinds of operation in one request")?;
    Ok(operations)
}

fn operation(operation: &Value) -> Judged<Operation<'_>> {
    let operation = operation.as_object().ok_or("an operation is no object")?;
    has_only(operation, &["op", "path", "value"])?;
    let text = |key: &str| operation.get(key).and_then(Value::as_str);
    let op = text("op").ok_or("an operation without op")?;
    require(
        matches!(op, "add" | "remove" | "replace"),
        "an op that is not in lower case, or unknown",
    )?;
    Ok(Operation {
        op,
        path: text("path").ok_or("an operation without a path")?,
        value: operation.get("value"),
    })
}

fn change_of_user(patch: &Map<String, Value>) -> Judged {
    let operations = operations(patch)?;
    for (number, operation) in operations.iter().enumerate() {
        require(operation.op == "replace", "a field of a user is not replaced")?;
        let same = |earlier: &Operation<'_>| earlier.path == operation.path;
        require(
            !operations.iter().take(number).any(same),
            "a field is written twice",
        )?;
        let is_text = operation.value.is_some_and(Value::is_string);
        match operation.path {
            "active" => {
                require(
                    operation.value.is_some_and(Value::is_boolean),
                    "active is no boolean",
                )?;
                require(operations.len() == 1, "active with something else")?;
            }
            "userName" | "name.givenName" | "name.familyName" => {
                require(is_text, "a name is no text")?;
            }
            "displayName" => return Err("displayName of a user"),
            "externalId" => return Err("it has an externalId"),
            _ => return Err("it has a field that is not ours"),
        }
    }
    Ok(())
}

fn change_of_group(document: &Map<String, Value>) -> Judged {
    let operations = operations(document)?;
    require(operations.len() <= MAX_MEMBERS, "more than 100 members")?;
    for Operation { op, path, value } in &operations {
        match (*op, *path) {
            ("replace", "displayName") => {
                require(value.is_some_and(Value::is_string), "a name is no text")?;
                require(operations.len() == 1, "a field is written twice")?;
            }
            ("replace", path) if path.starts_with("members") => return Err("it replaces members"),
            ("add", "members") => {
                let members = value.and_then(Value::as_array).ok_or("members are no list")?;
                require(
                    !members.is_empty() && members.len() <= MAX_MEMBERS,
                    "no members, or more than 100",
                )?;
                require(
                    members.iter().all(is_member),
                    "a member is something else than an id",
                )?;
                require(operations.len() == 1, "members are added twice")?;
            }
            ("remove", path) => {
                require(is_one_member(path), "it removes without the id of a member")?;
                require(value.is_none(), "a removal with a value")?;
            }
            (_, "externalId") => return Err("it has an externalId"),
            _ => return Err("it has a field that is not ours"),
        }
    }
    Ok(())
}

fn is_member(member: &Value) -> bool {
    let member = member.as_object();
    member.is_some_and(|member| member.len() == 1 && member.get("value").is_some_and(Value::is_string))
}

/// `members[value eq "ID"]`, with an id that cannot end the filter.
fn is_one_member(path: &str) -> bool {
    let id = path
        .strip_prefix("members[value eq \"")
        .and_then(|rest| rest.strip_suffix("\"]"));
    id.is_some_and(|id| !id.is_empty() && !id.contains(|c: char| c.is_whitespace() || "[]()\"\\".contains(c)))
}

/// Requests that should not have come.
#[derive(Debug, Default)]
pub(crate) struct Forbidden(Mutex<Vec<Intruder>>);

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Intruder {
    request: String,
    why: &'static str,
}

impl Forbidden {
    /// Keeps a request that should not have come.
    pub(crate) fn look_at(&self, record: &RequestRecord) {
        let RequestRecord {
            method, target, body, ..
        } = record;
        let Some(why) = forbidden(method, target, body) else {
            return;
        };
        let body: String = String::from_utf8_lossy(body).chars().take(SHOWN).collect();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(Intruder {
                request: format!("{method} {target} {body}"),
                why,
            });
        }
    }

    /// All that should not have come, one a line. `None` if there is nothing.
    pub(crate) fn report(&self) -> Option<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<_> = kept.iter().map(ToString::to_string).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

impl fmt::Display for Intruder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, why } = self;
        write!(formatter, "{why}: {}", request.trim_end())
    }
}
