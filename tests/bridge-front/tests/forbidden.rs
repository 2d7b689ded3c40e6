//! The rule for writes: what it forbids, what it lets through, and how a front tells.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that finds something else has failed"
)]

use bridge_front::{Front, Seed, forbidden};
use reqwest::{Client, Method};
use serde_json::{Value, json};

const KEY: &str = "a-key-for-tests";

fn patch(operations: &Value) -> Value {
    let schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"];
    json!({"schemas": schemas, "Operations": operations})
}

fn user() -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "ada@example.com",
        "name": {"givenName": "Ada", "familyName": "Example"},
        "emails": [{"value": "ada@example.com", "primary": true}],
        "active": true,
    })
}

/// A new user with this field.
fn user_with(field: &str, value: Value) -> Value {
    let mut user = user();
    user[field] = value;
    user
}

fn members(number: usize) -> Vec<Value> {
    (0..number)
        .map(|number| json!({"value": number.to_string()}))
        .collect()
}

fn removals(number: usize) -> Vec<Value> {
    let filter = |number| format!("members[value eq \"{number}\"]");
    (0..number)
        .map(|number| json!({"op": "remove", "path": filter(number)}))
        .collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_form() {
    let replace = |path: &str, value: Value| json!({"op": "replace", "path": path, "value": value});
    let remove = |path: &str| json!({"op": "remove", "path": path});
    let (a_user, a_group) = ("/scim/Users/U1", "/scim/v2/Groups/G1");
    for (method, target, body, expected) in [
        // What is wanted.
        ("GET", "/scim/Users?startIndex=1", Value::Null, None),
        ("HEAD", "/", Value::Null, None),
        ("POST", "/scim/Users", user(), None),
        (
            "POST",
            "/scim/v2/Groups",
            json!({"schemas": [], "displayName": "k8s"}),
            None,
        ),
        (
            "PATCH",
            a_user,
            patch(&json!([replace("active", json!(false))])),
            None,
        ),
        (
            "PATCH",
            a_user,
            patch(&json!([replace("active", json!(true))])),
            None,
        ),
        (
            "PATCH",
            a_user,
            patch(&json!([
                replace("userName", json!("a@example.com")),
                replace("name.givenName", json!("A")),
                replace("name.familyName", json!("B")),
            ])),
            None,
        ),
        (
            "PATCH",
            a_group,
            patch(&json!([replace("displayName", json!("k8s"))])),
            None,
        ),
        (
            "PATCH",
            a_group,
            patch(&json!([{"op": "add", "path": "members", "value": members(100)}])),
            None,
        ),
        ("PATCH", a_group, patch(&json!(removals(100))), None),
        // What must never be sent.
        ("DELETE", a_user, Value::Null, Some("it deletes")),
        ("DELETE", a_group, Value::Null, Some("it deletes")),
        ("PUT", a_user, user(), Some("it replaces a resource")),
        (
            "POST",
            "/scim/Bulk",
            json!({"Operations": []}),
            Some("a bulk request"),
        ),
        (
            "POST",
            "/scim/Users/.search",
            json!({}),
            Some("nobody knows what it does"),
        ),
        (
            "POST",
            "/scim/Users",
            json!("text"),
            Some("the body is no JSON object"),
        ),
        (
            "POST",
            "/scim/Users",
            user_with("displayName", json!("Ada")),
            Some("displayName of a user"),
        ),
        (
            "POST",
            "/scim/Users",
            user_with("externalId", json!("7")),
            Some("it has an externalId"),
        ),
        (
            "POST",
            "/scim/Users",
            user_with("active", json!("True")),
            Some("active is not true"),
        ),
        (
            "POST",
            "/scim/Users",
            user_with("active", json!(false)),
            Some("active is not true"),
        ),
        (
            "POST",
            "/scim/Users",
            user_with("roles", json!([])),
            Some("it has a field that is not ours"),
        ),
        (
            "POST",
            "/scim/Users",
            user_with("emails", json!([])),
            Some("not one address"),
        ),
        (
            "POST",
            "/scim/Users",
            user_with(
                "emails",
                json!([{"value": "a@example.com", "primary": true, "type": "work"}]),
            ),
            Some("it has a field that is not ours"),
        ),
        (
            "POST",
            "/scim/Groups",
            json!({"displayName": "k8s", "members": []}),
            Some("a new group with members"),
        ),
        (
            "POST",
            "/scim/Groups",
            json!({"displayName": "k8s", "externalId": "7"}),
            Some("it has an externalId"),
        ),
        (
            "PATCH",
            "/scim/Users",
            patch(&json!([])),
            Some("nobody knows what it does"),
        ),
        ("PATCH", a_user, patch(&json!([])), Some("no operations")),
        (
            "PATCH",
            a_user,
            patch(&json!([{"op": "replace", "value": {"active": false}}])),
            Some("an operation without a path"),
        ),
        (
            "PATCH",
            a_user,
            patch(&json!([replace("active", json!("False"))])),
            Some("active is no boolean"),
        ),
        (
            "PATCH",
            a_user,
            patch(&json!([{"op": "Replace", "path": "active", "value": false}])),
            Some("an op that is not in lower case, or unknown"),
        ),
        (
            "PATCH",
            a_user,
            patch(&json!([replace("displayName", json!("A B"))])),
            Some("displayName of a user"),
        ),
        (
            "PATCH",
            a_user,
            patch(&json!([replace("externalId", json!("7"))])),
            Some("it has an externalId"),
        ),
        (
            "PATCH",
            a_user,
            patch(&json!([replace("emails", json!([]))])),
            Some("it has a field that is not ours"),
        ),
        (
            "PATCH",
            a_user,
            patch(&json!([remove("name.givenName")])),
            Some("a field of a user is not replaced"),
        ),
        (
            "PATCH",
            a_user,
            patch(&json!([
                replace("active", json!(false)),
                replace("userName", json!("a@example.com"))
            ])),
            Some("active with something else"),
        ),
        (
            "PATCH",
            a_user,
            patch(&json!([
                replace("userName", json!("a")),
                replace("userName", json!("b"))
            ])),
            Some("a field is written twice"),
        ),
        (
            "PATCH",
            a_group,
            patch(&json!([replace("members", json!([]))])),
            Some("it replaces members"),
        ),
        (
            "PATCH",
            a_group,
            patch(&json!([replace("members[value eq \"1\"]", json!({}))])),
            Some("it replaces members"),
        ),
        (
            "PATCH",
            a_group,
            patch(&json!([remove("members")])),
            Some("it removes without the id of a member"),
        ),
        (
            "PATCH",
            a_group,
            patch(&json!([remove("displayName")])),
            Some("it removes without the id of a member"),
        ),
        (
            "PATCH",
            a_group,
            patch(&json!([remove("members[value eq \"\"]")])),
            Some("it removes without the id of a member"),
        ),
        (
            "PATCH",
            a_group,
            patch(&json!([remove("members[value eq \"1\" or value pr]")])),
            Some("it removes without the id of a member"),
        ),
        (
            "PATCH",
            a_group,
            patch(&json!([remove("members[value eq \"1\"] or [value ne \"\"]")])),
            Some("it removes without the id of a member"),
        ),
        (
            "PATCH",
            a_group,
            patch(&json!([{"op": "remove", "path": "members", "value": members(1)}])),
            Some("it removes without the id of a member"),
        ),
        (
            "PATCH",
            a_group,
            patch(&json!([{"op": "remove", "path": "members[value eq \"1\"]", "value": members(1)}])),
            Some("a removal with a value"),
        ),
        (
            "PATCH",
            a_group,
            patch(&json!([{"op": "add", "path": "members", "value": members(1)}, removals(1)[0]])),
            Some("two kinds of operation in one request"),
        ),
        (
            "PATCH",
            a_group,
            patch(&json!([{"op": "add", "path": "members", "value": members(101)}])),
            Some("no members, or more than 100"),
        ),
        (
            "PATCH",
            a_group,
            patch(&json!([{"op": "add", "path": "members", "value": []}])),
            Some("no members, or more than 100"),
        ),
        (
            "PATCH",
            a_group,
            patch(&json!([{"op": "add", "path": "members", "value": [{"value": "1", "type": "Group"}]}])),
            Some("a member is something else than an id"),
        ),
        (
            "PATCH",
            a_group,
            patch(&json!(removals(101))),
            Some("more than 100 members"),
        ),
        (
            "PATCH",
            a_group,
            patch(&json!([replace("active", json!(false))])),
            Some("it has a field that is not ours"),
        ),
    ] {
        let bytes = body.to_string();
        assert_eq!(
            forbidden(method, target, bytes.as_bytes()),
            expected,
            "{method} {target} {}",
            &bytes[..bytes.len().min(200)]
        );
    }
}

/// How a front ends that got this request. It is sent by somebody who has no business with the front.
async fn end_after(method: Method, path: &str, is_any_client: bool, is_stopped: bool) -> String {
    let front = Front::builder().plaintext().key(KEY).directory(Seed::of(1, 1));
    let front = if is_any_client {
        front.for_any_client()
    } else {
        front
    };
    let front = front.start().await.unwrap();
    let client = Client::builder().no_proxy().build().unwrap();
    let request = client.request(method, format!("{}{path}", front.url()));
    request.bearer_auth(KEY).send().await.unwrap();
    // A record that is cleared hides nothing.
    front.clear_requests();
    let ended = tokio::spawn(async move {
        if is_stopped {
            front.stop().await;
        } else {
            drop(front);
        }
    });
    match ended.await {
        Ok(()) => "in silence".to_owned(),
        Err(error) => *error.into_panic().downcast::<String>().unwrap(),
    }
}

#[tokio::test]
async fn a_front_tells_at_its_end() {
    for is_stopped in [false, true] {
        let told = end_after(Method::DELETE, "/scim/Users/U1", false, is_stopped).await;
        assert!(told.contains("it deletes: DELETE /scim/Users/U1"), "{told}");
        let told = end_after(Method::DELETE, "/scim/Users/U1", true, is_stopped).await;
        assert_eq!(told, "in silence");
        let told = end_after(Method::GET, "/scim/Users", false, is_stopped).await;
        assert_eq!(told, "in silence");
    }
}

/// A second panic would end the whole test program, and hide the first.
#[tokio::test]
async fn a_front_does_not_hide_another_failure() {
    let front = Front::builder().plaintext().key(KEY).start().await.unwrap();
    let client = Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/scim/Users/U1", front.url());
    client.delete(url).send().await.unwrap();
    let failed = tokio::spawn(async move {
        let _front = front;
        panic!("the failure of a test");
    });
    let message = *failed.await.unwrap_err().into_panic().downcast::<&str>().unwrap();
    assert_eq!(message, "the failure of a test");
}
