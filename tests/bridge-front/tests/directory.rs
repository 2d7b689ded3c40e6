//! The front's own directory as a client finds it: what it reads, what becomes of its writes, and each habit.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that finds something else has failed"
)]

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use bridge_front::{
    Act, Change, Content, Control, Fault, Flavour, Front, Group, Habits, Seed, Source, User,
    directory::{Addition, Echo, MembersKey, Order, Refused},
};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};

const KEY: &str = "a-key-for-tests";
/// No test takes this long, however slow the machine: it only ends those that have failed.
const LIMIT: Duration = Duration::from_mins(1);
const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// A front with a directory, and a client of it.
struct Bridge {
    front: Front,
    client: Client,
}

/// Ada, Bob and Eve; Staff has Ada and Bob, Empty has nobody.
fn small() -> Seed {
    let user = |id: &str, name: &str, family: &str| User {
        id: id.to_owned(),
        ..User::new(format!("{name}@example.com"), name, family)
    };
    let group = |id: &str, name: &str, members: &[&str]| Group {
        id: id.to_owned(),
        ..Group::new(name, members.iter().copied())
    };
    Seed {
        users: vec![
            user("ADA", "Ada", "A"),
            user("BOB", "Bob", "B"),
            user("EVE", "Eve", "E"),
        ],
        groups: vec![
            group("staff", "Staff", &["ADA", "BOB"]),
            group("empty", "Empty", &[]),
        ],
    }
}

impl Bridge {
    async fn of(seed: Seed) -> Self {
        let front = Front::builder()
            .for_any_client()
            .plaintext()
            .key(KEY)
            .directory(seed);
        let front = front
            .set(|state| state.habits.lists.order = Order::Stable)
            .start()
            .await
            .unwrap();
        Self {
            front,
            client: Client::builder().no_proxy().timeout(LIMIT).build().unwrap(),
        }
    }

    async fn small() -> Self {
        Self::of(small()).await
    }

    /// With these habits, as the control port takes them.
    async fn with(habits: &Value) -> Self {
        let bridge = Self::small().await;
        let patch = json!({ "habits": habits });
        bridge.front.set(|state| state.merge(patch)).unwrap();
        bridge
    }

    async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> reqwest::Result<Response> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = self
            .client
            .request(method, format!("{}/scim{path}", self.front.url()));
        let request = request.bearer_auth(KEY);
        match body {
            Some(body) => request.body(body.to_string()).send().await,
            None => request.send().await,
        }
    }

    /// The status and the document of an answer; `null` for none.
    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let response = self.send(method, path, body.as_ref()).await.unwrap();
        let status = response.status().as_u16();
        (status, document(response).await)
    }

    async fn get(&self, path: &str) -> Value {
        self.ask("GET", path, None).await.1
    }

    /// A PATCH of these operations.
    async fn patch(&self, path: &str, operations: Value) -> (u16, Value) {
        self.ask("PATCH", path, Some(patch_of(&operations))).await
    }

    fn members(&self, group: &str) -> String {
        let group = self.front.directory().group(group).unwrap();
        let ids: Vec<_> = group.members.iter().map(|member| member.value.as_str()).collect();
        ids.join(" ")
    }
}

fn patch_of(operations: &Value) -> Value {
    let schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"];
    json!({"schemas": schemas, "Operations": operations})
}

async fn document(mut response: Response) -> Value {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        body.extend_from_slice(&chunk);
    }
    if body.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(&body).unwrap()
}

/// The ids of a list, in order.
fn ids(list: &Value) -> String {
    let resources = list["Resources"].as_array().map_or(&[][..], Vec::as_slice);
    let ids: Vec<_> = resources
        .iter()
        .map(|resource| resource["id"].as_str().unwrap())
        .collect();
    ids.join(" ")
}

fn change(act: Act, id: &str, members: &[&str]) -> Change {
    Change {
        act,
        id: id.to_owned(),
        members: members.iter().map(|member| (*member).to_owned()).collect(),
    }
}

#[tokio::test]
async fn a_whole_directory_is_read_page_by_page_and_fast() {
    let bridge = Bridge::of(Seed::of(10_000, 250)).await;
    for (collection, total) in [("Users", 10_000), ("Groups", 250)] {
        let mut seen = std::collections::HashSet::new();
        let mut start = 1;
        while seen.len() < total {
            let page = bridge
                .get(&format!("/{collection}?startIndex={start}&count=100"))
                .await;
            assert_eq!(page["totalResults"], total);
            let resources = page["Resources"].as_array().unwrap();
            assert_eq!(page["itemsPerPage"], resources.len());
            for resource in resources {
                assert!(seen.insert(resource["id"].as_str().unwrap().to_owned()));
            }
            start += resources.len();
        }
        let beyond = bridge
            .get(&format!("/{collection}?startIndex={start}&count=100"))
            .await;
        assert_eq!(
            (beyond["totalResults"].as_u64(), ids(&beyond)),
            (Some(total as u64), String::new())
        );
    }
    let id = bridge
        .front
        .directory()
        .user_named("USER7@example.com")
        .unwrap()
        .id;
    assert_eq!(id.len(), 26);
    let user = bridge.get(&format!("/Users/{id}")).await;
    assert_eq!(user["userName"], "user7@example.com");
    assert_eq!(user["groups"].as_array().unwrap().len(), 1);
    assert_eq!(user["meta"]["created"], "");
}

#[tokio::test]
async fn each_flavour_has_its_form_and_its_paths() {
    let bridge = Bridge::small().await;
    bridge.front.set(|state| state.flavour = Flavour::Hosted);
    let group = bridge.get("/v2/Groups/staff").await;
    let member =
        |id| json!({"value": id, "$ref": format!("https://scim.example.com/Users/{id}"), "type": "User"});
    assert_eq!(group["members"], json!([member("ADA"), member("BOB")]));
    assert!(group["meta"]["created"].as_str().unwrap().ends_with('Z'));
    let empty = bridge.get("/Groups/empty").await;
    assert_eq!((empty.get("members"), empty.get("externalId")), (None, None));
    let user = bridge.get("/Users/ADA").await;
    assert_eq!(
        (user["preferredLanguage"].as_str(), user.get("groups")),
        (Some("en"), None)
    );
    assert_eq!(
        bridge.get("/ServiceProviderConfig").await["patch"]["supported"],
        true
    );
    assert_eq!(
        bridge.get("/ResourceTypes").await["Resources"][0]["endpoint"],
        "/scim/v2/User"
    );
    assert_eq!(bridge.get("/Schemas").await["startIndex"], 0);

    let keyless = bridge.client.get(format!("{}/scim/Users", bridge.front.url()));
    assert_eq!(keyless.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let response = bridge.send("GET", "/Users", None).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/scim+json");
    bridge.front.set(|state| state.provisioning_off = true);
    assert_eq!(bridge.ask("GET", "/Users", None).await.0, 500);
    bridge.front.set(|state| {
        state.provisioning_off = false;
        state.source = Source::Upstream;
    });
    assert_eq!(bridge.get("/Users").await["totalResults"], 3, "the built-in list");
}

#[tokio::test]
async fn filters_choose() {
    let bridge = Bridge::small().await;
    let cases = [
        ("/Users", "userName eq \"ADA@example.com\"", 200, "ADA"),
        ("/Users", "userName eq \"nobody\"", 200, ""),
        (
            "/Users",
            "active eq true and displayName eq \"bob b\"",
            200,
            "BOB",
        ),
        ("/Users", "id eq \"eve\"", 200, ""),
        ("/Users", "emails.value eq \"eve@example.com\"", 200, "EVE"),
        ("/Users", "userName co \"a\"", 400, ""),
        ("/Users", "roles eq \"a\"", 400, ""),
        ("/Groups", "displayName Eq \"staff\"", 200, "staff"),
        ("/Groups", "members eq \"BOB\"", 200, "staff"),
        ("/Groups", "userName eq \"a\"", 400, ""),
    ];
    for (path, filter, status, expected) in cases {
        let url = reqwest::Url::parse_with_params("http://a/", [("filter", filter)]).unwrap();
        let (found, list) = bridge
            .ask("GET", &format!("{path}?{}", url.query().unwrap()), None)
            .await;
        assert_eq!((found, ids(&list).as_str()), (status, expected), "{filter}");
        if status == 400 {
            assert_eq!(list["scimType"], "invalidFilter");
        }
    }
}

#[tokio::test]
async fn a_user_is_created_as_1password_does_it() {
    let bridge = Bridge::small().await;
    bridge.front.set(|state| state.flavour = Flavour::Hosted);
    let sent = json!({
        "schemas": [USER], "userName": "New@example.com", "name": {"givenName": "New", "familyName": "One"},
        "emails": [{"value": "New@example.com", "type": "work", "primary": true}], "active": true,
        "externalId": "lost", "title": "ignored",
    });
    let response = bridge.send("POST", "/Users", Some(&sent)).await.unwrap();
    assert_eq!(
        (response.status(), response.headers().get("location")),
        (StatusCode::OK, None)
    );
    let created = document(response).await;
    let id = created["id"].as_str().unwrap();
    assert!(
        id.len() == 26
            && id
                .bytes()
                .all(|byte| b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".contains(&byte))
    );
    let expected = json!({
        "schemas": [USER], "id": id, "userName": "New@example.com", "displayName": "New One",
        "name": {"givenName": "New", "familyName": "One", "formatted": "New One"},
        "emails": [{"value": "New@example.com", "primary": true}], "active": true,
        "preferredLanguage": "en", "meta": {"resourceType": "User"},
    });
    assert_eq!(created, expected);
    assert_eq!(bridge.get(&format!("/Users/{id}")).await, expected);
    assert_eq!(
        bridge.front.directory().changes(),
        [change(Act::CreateUser, id, &[])]
    );

    let wrong = [
        (
            json!({"schemas": [USER], "userName": "new@EXAMPLE.com"}),
            409,
            "uniqueness",
        ),
        (json!({"schemas": [USER]}), 400, "invalidValue"),
        (json!({"schemas": [USER], "userName": ""}), 400, "invalidValue"),
        (
            json!({"schemas": [USER], "userName": "b", "active": 1}),
            400,
            "invalidValue",
        ),
        (json!({"userName": "b"}), 400, "invalidSyntax"),
        (json!([]), 400, "invalidSyntax"),
    ];
    for (body, status, scim_type) in wrong {
        let (found, error) = bridge.ask("POST", "/Users", Some(body.clone())).await;
        assert_eq!(
            (found, error["scimType"].as_str()),
            (status, Some(scim_type)),
            "{body}"
        );
        assert_eq!(error["status"], status.to_string());
    }
    assert_eq!(bridge.front.directory().users().len(), 4);
}

/// One operation on Ada | what a read shows afterwards.
const CHANGES: &str = r#"
{"op": "replace", "path": "active", "value": false}                      | /active false
{"op": "Replace", "path": "active", "value": "False"}                    | /active false
{"op": "replace", "value": {"active": false}}                            | /active false
{"op": "replace", "path": "userName", "value": "ada@example.org"}        | /userName "ada@example.org"
{"op": "replace", "path": "userName", "value": "ADA@example.com"}        | /userName "ADA@example.com"
{"op": "replace", "path": "userName", "value": "ada@example.org"}        | /emails/0/value "Ada@example.com"
{"op": "replace", "path": "name.familyName", "value": "Z"}               | /displayName "Ada Z"
{"op": "replace", "path": "name", "value": {"givenName": "X"}}           | /name/formatted "X A"
{"op": "replace", "value": {"name.givenName": "X"}}                      | /displayName "X A"
{"op": "replace", "value": {"name": {"givenName": "X"}}}                 | /name/familyName "A"
{"op": "add", "path": "displayName", "value": "Countess Ada A"}          | /name/givenName "Countess"
{"op": "add", "path": "displayName", "value": "Countess Ada A"}          | /name/familyName "Ada A"
{"op": "replace", "path": "emails[type eq \"work\"].value", "value": "a"} | /emails/0/value "a"
{"op": "replace", "path": "externalId", "value": "x"}                    | /externalId ""
{"op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:active", "value": false} | /active false
"#;

/// Operations on Ada that are refused | status | error type.
const WRONG_CHANGES: &str = r#"
[{"op": "replace", "path": "userName", "value": "BOB@example.com"}] | 409 | uniqueness
[{"op": "replace", "path": "active", "value": "perhaps"}]           | 400 | invalidValue
[{"op": "replace", "path": "roles", "value": []}]                   | 400 | invalidPath
[{"op": "replace", "path": "id", "value": "1"}]                     | 400 | mutability
[{"op": "remove", "path": "userName"}]                              | 400 | mutability
[{"op": "move", "path": "userName", "value": "a"}]                  | 400 | invalidSyntax
[]                                                                  | 400 | invalidSyntax
[{"op": "remove"}]                                                  | 400 | noTarget
[{"op": "replace", "path": "active", "value": false}, {"op": "add", "path": "roles", "value": 1}] | 400 | invalidPath
"#;

#[tokio::test]
async fn a_user_is_changed_by_each_form_that_is_sent() {
    for [operation, shown] in rows(CHANGES) {
        let bridge = Bridge::small().await;
        let (status, user) = bridge.patch("/Users/ADA", json!([parsed(operation)])).await;
        let (pointer, value) = shown.split_once(' ').unwrap();
        assert_eq!(
            (status, user.pointer(pointer)),
            (200, Some(&parsed(value))),
            "{operation}"
        );
        assert_eq!(bridge.get("/Users/ADA").await, user, "{operation}");
    }
    let bridge = Bridge::small().await;
    for [operations, status, scim_type] in rows(WRONG_CHANGES) {
        let (found, error) = bridge.patch("/Users/ADA", parsed(operations)).await;
        let found = (found.to_string(), error["scimType"].as_str().unwrap());
        assert_eq!(found, (status.to_owned(), scim_type), "{operations}");
    }
    let half =
        json!([parsed(r#"{"op": "add", "path": "active", "value": false}"#), {"op": "add", "path": "x"}]);
    let careless = Bridge::with(&json!({"writes": {"atomicity": "by-operation"}})).await;
    assert_eq!(careless.patch("/Users/ADA", half).await.0, 400);
    assert_eq!(careless.get("/Users/ADA").await["active"], false);
    assert_eq!(
        bridge.front.directory().users(),
        small().users,
        "nothing was written"
    );
    assert_eq!(
        bridge
            .patch("/Users/nobody", json!([parsed(r#"{"op": "add", "value": {}}"#)]))
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn deletion_suspends_a_user_and_ends_a_group() {
    let bridge = Bridge::small().await;
    assert_eq!(bridge.ask("DELETE", "/Users/ADA", None).await, (204, Value::Null));
    let ada = bridge.get("/Users/ADA").await;
    assert_eq!(
        (&ada["active"], &bridge.get("/Users").await["totalResults"]),
        (&json!(false), &json!(3))
    );
    assert_eq!(bridge.members("staff"), "ADA BOB");
    assert_eq!(
        bridge.ask("DELETE", "/Groups/staff", None).await,
        (204, Value::Null)
    );
    assert_eq!(bridge.ask("GET", "/Groups/staff", None).await.0, 404);
    assert_eq!(bridge.ask("DELETE", "/Groups/staff", None).await.0, 404);
    let put = json!({"schemas": [USER], "userName": "bob@example.com"});
    let (status, bob) = bridge.ask("PUT", "/Users/BOB", Some(put)).await;
    assert_eq!(
        (status, &bob["displayName"]),
        (200, &json!("bob")),
        "a PUT loses the attributes that it omits"
    );
    let put = json!({"schemas": [GROUP], "displayName": "Empty", "members": [{"value": "EVE"}]});
    assert_eq!(bridge.ask("PUT", "/Groups/empty", Some(put)).await.0, 200);
    assert_eq!(bridge.ask("POST", "/Users/BOB", None).await.0, 405);
    assert_eq!(bridge.ask("POST", "/Bulk", None).await.0, 404);
    let expected = [
        change(Act::Suspend, "ADA", &[]),
        change(Act::DeleteGroup, "staff", &[]),
        change(Act::RenameUser, "BOB", &[]),
        change(Act::ChangeName, "BOB", &[]),
        change(Act::ChangeContact, "BOB", &[]),
        change(Act::AddMember, "empty", &["EVE"]),
    ];
    assert_eq!(bridge.front.directory().changes(), expected);
    let methods: Vec<_> = bridge
        .front
        .requests()
        .into_iter()
        .map(|request| request.method)
        .collect();
    assert!(methods.contains(&"DELETE".to_owned()) && methods.contains(&"PUT".to_owned()));
}

#[tokio::test]
async fn a_group_is_created_with_and_without_members() {
    let bridge = Bridge::small().await;
    let group = |name: &str, members: &[&str]| {
        let members: Vec<_> = members.iter().map(|id| json!({"value": id})).collect();
        json!({"schemas": [GROUP], "displayName": name, "members": members})
    };
    let (status, created) = bridge.ask("POST", "/Groups", Some(group("New", &["EVE"]))).await;
    let id = created["id"].as_str().unwrap();
    assert_eq!(
        (status, id.len(), bridge.members(id)),
        (200, 26, "EVE".to_owned())
    );
    assert_eq!(id.to_lowercase(), id);
    for (body, status) in [
        (group("staff", &[]), 409),
        (group("", &[]), 400),
        (group("Other", &["nobody"]), 400),
    ] {
        assert_eq!(
            bridge.ask("POST", "/Groups", Some(body.clone())).await.0,
            status,
            "{body}"
        );
    }
    let expected = [
        change(Act::CreateGroup, id, &[]),
        change(Act::AddMember, id, &["EVE"]),
    ];
    assert_eq!(bridge.front.directory().changes(), expected);
}

fn add(ids: &[&str]) -> Value {
    let members: Vec<_> = ids.iter().map(|id| json!({ "value": id })).collect();
    json!({"op": "add", "path": "members", "value": members})
}

fn remove(id: &str) -> Value {
    json!({"op": "remove", "path": format!("members[value eq \"{id}\"]")})
}

/// The cells of the lines of a table. The last one may be empty.
fn rows<const N: usize>(table: &str) -> impl Iterator<Item = [&str; N]> {
    let lines = table.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        cells
            .try_into()
            .unwrap_or_else(|_| panic!("not {N} cells: {line}"))
    })
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Staff has Ada and Bob. Habits of writes | operations | status | members afterwards.
const MEMBERS: &str = r#"
{} | add EVE                                | 200 | ADA BOB EVE
{} | add ADA EVE EVE                        | 200 | ADA BOB EVE
{} | remove ADA                             | 200 | BOB
{} | remove EVE                             | 200 | ADA BOB
{} | remove-value ADA                       | 200 |
{} | add EVE; remove ADA                    | 200 | BOB EVE
{} | add nobody                             | 400 | ADA BOB
{} | remove ADA; add nobody                 | 400 | ADA BOB
{} | {"op": "Add", "path": "members", "value": {"value": "EVE"}}      | 200 | ADA BOB EVE
{} | {"op": "add", "value": {"members": [{"value": "EVE"}]}}          | 200 | ADA BOB EVE
{} | {"op": "remove", "path": "members"}                              | 200 |
{} | {"op": "replace", "path": "members", "value": []}                | 200 |
{} | {"op": "replace", "path": "members", "value": [{"value": "EVE"}]}| 200 | EVE
{} | {"op": "remove", "path": "members[display eq \"Ada\"]"}          | 400 | ADA BOB
{} | {"op": "add", "path": "owners", "value": []}                     | 400 | ADA BOB
{"removeByFilter": {"kind": "everybody"}}               | remove ADA          | 200 |
{"removeByFilter": {"kind": "refused", "status": 501}}  | remove ADA          | 501 | ADA BOB
{"removeByValue": {"kind": "members"}}                  | remove-value ADA    | 200 | BOB
{"removeByValue": {"kind": "refused", "status": 400}}   | remove-value ADA    | 400 | ADA BOB
{"ignored": ["remove-member"]}                          | remove ADA          | 200 | BOB ADA
{"ignored": ["add-member"]}                             | add EVE; remove ADA | 200 | BOB
{"refused": {"remove-member": {"status": 403}}}         | remove ADA          | 403 | ADA BOB
{"refused": {"remove-member": {"status": 403}}}         | add EVE             | 200 | ADA BOB EVE
{"add": "doubles-members"}                              | add ADA             | 200 | ADA BOB ADA
{"add": "lists-twice"}                                  | add EVE             | 200 | ADA BOB EVE EVE
{"add": "replaces-all"}                                 | add EVE             | 200 | EVE
{"addKeeps": 2}                                         | add EVE             | 200 | ADA BOB
{"unknownMembers": "accepted"}                          | add nobody          | 200 | ADA BOB nobody
{"mixedOperations": "refused"}                          | add EVE; remove ADA | 400 | ADA BOB
{"mixedOperations": "refused"}                          | add EVE             | 200 | ADA BOB EVE
{"changeLimit": {"changes": 1, "status": 413}}          | add EVE ADA         | 413 | ADA BOB
{"changeLimit": {"changes": 1, "status": 413}}          | add EVE             | 200 | ADA BOB EVE
{"atomicity": "by-operation"}                           | remove ADA; add nobody | 400 | BOB
"#;

fn operation(text: &str) -> Value {
    let words: Vec<_> = text.split_whitespace().collect();
    match words.as_slice() {
        ["add", ids @ ..] => add(ids),
        ["remove", id] => remove(id),
        ["remove-value", id] => json!({"op": "remove", "path": "members", "value": [{"value": id}]}),
        _ => parsed(text),
    }
}

#[tokio::test]
async fn members_follow_each_operation_under_each_habit() {
    for [writes, operations, status, members] in rows(MEMBERS) {
        let bridge = Bridge::with(&json!({ "writes": parsed(writes) })).await;
        let (found, _) = bridge
            .patch("/Groups/staff", operations.split(';').map(operation).collect())
            .await;
        let found = (found.to_string(), bridge.members("staff"));
        assert_eq!(
            found,
            (status.to_owned(), members.to_owned()),
            "{writes} {operations}"
        );
    }
}

#[tokio::test]
async fn suspended_members_are_refused_and_withdrawn_on_demand() {
    let suspend = || json!([{"op": "replace", "path": "active", "value": false}]);
    let bridge = Bridge::with(&json!({"writes": {
        "suspendedMembers": "refused", "suspendedMemberships": "withdrawn",
    }}))
    .await;
    assert_eq!(bridge.patch("/Users/ADA", suspend()).await.0, 200);
    assert_eq!(bridge.members("staff"), "BOB");
    assert_eq!(bridge.get("/Users/ADA").await.get("groups"), None);
    assert_eq!(bridge.patch("/Groups/staff", json!([add(&["ADA"])])).await.0, 400);
    let changes = bridge.front.directory().changes();
    assert_eq!(changes, [change(Act::Suspend, "ADA", &[])]);
}

/// Habits of writes | request | body | status | what a read of Ada shows afterwards.
///
/// The body is the name of a new user or group, or one replacement in Ada.
const WRITES: &str = r#"
{"ignored": ["suspend"]}                 | PATCH /Users/ADA | active false             | 200 | /active true
{"ignored": ["rename-user"]}             | PATCH /Users/ADA | userName "z"             | 200 | /userName "Ada@example.com"
{"ignored": ["change-name"]}             | PATCH /Users/ADA | displayName "X Y"        | 200 | /displayName "Ada A"
{"refused": {"suspend": {"status": 403}}}| PATCH /Users/ADA | active false             | 403 | /active true
{"textBooleans": "refused"}              | PATCH /Users/ADA | active "False"           | 400 | /active true
{"textBooleans": "always-true"}          | PATCH /Users/ADA | active "False"           | 200 | /active true
{"displayName": "stands-alone"}          | PATCH /Users/ADA | displayName "X Y"        | 200 | /name/givenName "Ada"
{"externalIds": "kept"}                  | PATCH /Users/ADA | externalId "x"           | 200 | /externalId "x"
{"echo": "nothing"}                      | PATCH /Users/ADA | active false             | 204 | /active false
{"echo": "nothing-if-unchanged"}         | PATCH /Users/ADA | active true              | 204 | /active true
{"echo": "nothing-if-unchanged"}         | PATCH /Users/ADA | active false             | 200 | /active false
{"mediaTypes": "scim-only"}              | PATCH /Users/ADA | active false             | 415 | /active true
{"otherAddress": "refused"}              | PATCH /Users/ADA | userName "z"             | 400 | /userName "Ada@example.com"
{"takenUserName": "accepted"}            | PATCH /Users/ADA | userName "bob@example.com" | 200 | /userName "bob@example.com"
{"takenUserName": "server-error"}        | POST /Users      | ada@example.com          | 500 | /active true
{"takenUserName": "conflict-without-type"} | POST /Users    | ada@example.com          | 409 | /active true
{"nameCase": "exact"}                    | POST /Users      | ada@example.com          | 200 | /active true
{"nameCase": "exact"}                    | POST /Users      | Ada@example.com          | 409 | /active true
{"seats": 3}                             | POST /Users      | new                      | 403 | /active true
{"seats": 4}                             | POST /Users      | new                      | 200 | /active true
{"refused": {"create-user": {"status": 409}}} | POST /Users | new                      | 409 | /active true
{"created": "with-location"}             | POST /Users      | new                      | 201 | /active true
{"takenGroupName": "accepted"}           | POST /Groups     | STAFF                    | 200 | /active true
{"takenGroupName": "server-error"}       | POST /Groups     | STAFF                    | 500 | /active true
{"deleteUser": "deletes"}                | DELETE /Users/ADA |                         | 204 | /status "404"
{"ignored": ["suspend"]}                 | DELETE /Users/ADA |                         | 204 | /active true
"#;

#[tokio::test]
async fn writes_go_wrong_in_the_way_that_was_asked_for() {
    for [writes, request, body, status, shown] in rows(WRITES) {
        let bridge = Bridge::with(&json!({ "writes": parsed(writes) })).await;
        let (method, path) = request.split_once(' ').unwrap();
        let body = match (method, path) {
            ("POST", "/Users") => Some(json!({"schemas": [USER], "userName": body})),
            ("POST", _) => Some(json!({"schemas": [GROUP], "displayName": body})),
            ("PATCH", _) => {
                let (path, value) = body.split_once(' ').unwrap();
                let operation = json!({"op": "replace", "path": path, "value": parsed(value)});
                Some(patch_of(&json!([operation])))
            }
            _ => None,
        };
        let (found, answer) = bridge.ask(method, path, body).await;
        assert_eq!(found.to_string(), status, "{writes} {request}: {answer}");
        let ada = bridge.get("/Users/ADA").await;
        let (pointer, value) = shown.split_once(' ').unwrap();
        assert_eq!(
            ada.pointer(pointer),
            Some(&parsed(value)),
            "{writes} {request}: {ada}"
        );
    }
}

/// One request for each act. Eve is suspended, and DELETE deletes.
const ACTS: &str = r#"
create-user    | POST /Users           | {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "new"}
create-group   | POST /Groups          | {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "New"}
suspend        | PATCH /Users/ADA      | {"op": "replace", "path": "active", "value": false}
reactivate     | PATCH /Users/EVE      | {"op": "replace", "path": "active", "value": true}
rename-user    | PATCH /Users/ADA      | {"op": "replace", "path": "userName", "value": "z"}
change-name    | PATCH /Users/ADA      | {"op": "replace", "path": "name.givenName", "value": "Z"}
change-contact | PATCH /Users/ADA      | {"op": "replace", "path": "emails", "value": [{"value": "z", "primary": true}]}
delete-user    | DELETE /Users/ADA     | null
rename-group   | PATCH /Groups/staff   | {"op": "replace", "path": "displayName", "value": "Z"}
add-member     | PATCH /Groups/staff   | {"op": "add", "path": "members", "value": [{"value": "EVE"}]}
remove-member  | PATCH /Groups/staff   | {"op": "remove", "path": "members[value eq \"BOB\"]"}
delete-group   | DELETE /Groups/staff  | null
"#;

#[tokio::test]
async fn each_act_is_done_refused_or_ignored() {
    for [act, request, body] in rows(ACTS) {
        let act: Act = serde_json::from_value(json!(act)).unwrap();
        let (method, path) = request.split_once(' ').unwrap();
        let body = match parsed(body) {
            operation if method == "PATCH" => patch_of(&json!([operation])),
            body => body,
        };
        let refusal = || json!({"refused": {act_name(act): {"status": 418, "scimType": "mutability"}}});
        let habits = [json!({}), refusal(), json!({ "ignored": [act] })];
        let mut statuses = Vec::new();
        for (number, mut writes) in habits.into_iter().enumerate() {
            writes["deleteUser"] = json!("deletes");
            let bridge = Bridge::with(&json!({ "writes": writes })).await;
            let directory = bridge.front.directory();
            directory.edit_user("EVE", |user| user.active = false);
            let before = directory.content();
            let (status, answer) = bridge.ask(method, path, Some(body.clone())).await;
            let acts: Vec<_> = directory.changes().iter().map(|change| change.act).collect();
            let done = number == 0;
            assert_eq!(acts, if done { vec![act] } else { vec![] }, "{writes}: {answer}");
            assert_eq!(directory.content() != before, done, "{writes}");
            statuses.push(status);
        }
        assert_eq!((statuses[0], statuses[1]), (statuses[2], 418), "{act:?}");
    }
}

fn act_name(act: Act) -> String {
    serde_json::to_value(act).unwrap().as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_echo_lies_and_a_creation_vanishes() {
    let bridge = Bridge::small().await;
    bridge.front.set(|state| {
        state.habits.writes.echo = Echo::AsSent;
        state.habits.writes.ignored = [Act::CreateUser, Act::RemoveMember].into();
    });
    let (_, echo) = bridge.patch("/Groups/staff", json!([remove("ADA")])).await;
    assert_eq!(echo["members"].as_array().unwrap().len(), 1);
    assert_eq!(bridge.members("staff"), "BOB ADA");
    let user = json!({"schemas": [USER], "userName": "new@example.com"});
    let (status, echo) = bridge.ask("POST", "/Users", Some(user)).await;
    let id = echo["id"].as_str().unwrap();
    assert_eq!(
        (status, bridge.ask("GET", &format!("/Users/{id}"), None).await.0),
        (200, 404)
    );
    assert!(bridge.front.directory().changes().is_empty());
}

/// Habits of what servers show | path | pointer into the answer | the value there; empty for none.
const SHOWN: &str = r#"
{"active": "text"}                                       | /Users/ADA    | /active              | "true"
{"active": "absent"}                                     | /Users/ADA    | /active              |
{"keys": "lower-case"}                                   | /Users/ADA    | /username            | "Ada@example.com"
{"keys": "lower-case"}                                   | /Groups       | /resources/0/displayname | "Staff"
{"names": "lower-case"}                                  | /Users/ADA    | /userName            | "ada@example.com"
{"names": "upper-case"}                                  | /Groups/staff | /displayName         | "STAFF"
{"userGroups": "as-flavour"}                             | /Users/ADA    | /groups/0/value      | "staff"
{"userGroups": "absent"}                                 | /Users/ADA    | /groups              |
{"members": "always"}                                    | /Groups/empty | /members             | []
{"members": "or-null"}                                   | /Groups/empty | /members             | null
{"members": "by-id-only"}                                | /Groups       | /Resources/0/members |
{"members": "by-id-only"}                                | /Groups/empty | /members             | []
{"members": "never"}                                     | /Groups/staff | /members             |
{"members": "always-empty"}                              | /Groups/staff | /members             | []
{"memberValue": "user-name"}                             | /Groups/staff | /members/0/value     | "Ada@example.com"
{"membersMissing": {"kind": "beyond", "count": 1}}       | /Groups/staff | /members/1           |
{"membersMissing": {"kind": "random", "percent": 100}}   | /Groups/staff | /members             |
"#;

#[tokio::test]
async fn what_is_shown_is_not_what_is_stored() {
    for [shown, path, pointer, expected] in rows(SHOWN) {
        let bridge = Bridge::with(&json!({ "shown": parsed(shown) })).await;
        let document = bridge.get(path).await;
        let expected = (!expected.is_empty()).then(|| parsed(expected));
        assert_eq!(
            document.pointer(pointer),
            expected.as_ref(),
            "{shown}: {document}"
        );
    }
    let bridge = Bridge::with(&json!({"shown": {"names": "changing"}})).await;
    let name = async || bridge.get("/Users/ADA").await["userName"].clone();
    assert_ne!(name().await, name().await);
}

/// Habits of lists | query | ids | what else the answer says.
const LISTS: &str = r#"
{"pageLimit": 1, "itemsPerPage": "asked"}        | count=2              | ADA             | {"totalResults": 3, "itemsPerPage": 2}
{"missing": {"kind": "last", "count": 1}}        |                      | ADA BOB         | {"totalResults": 3, "itemsPerPage": 2}
{"doubled": 1}                                   |                      | ADA BOB EVE ADA | {"totalResults": 3}
{"overlap": 1}                                   | startIndex=3         | BOB EVE         | {"startIndex": 3}
{"index": "from-zero"}                           | startIndex=1         | BOB EVE         | {}
{"index": "ignored"}                             | startIndex=3&count=2 | ADA BOB         | {"startIndex": 3}
{"beyondEnd": "last-page"}                       | startIndex=9&count=2 | BOB EVE         | {}
{"endsAt": 2}                                    |                      | ADA BOB         | {"totalResults": 2}
{"endsAt": 2, "total": {"kind": "everything"}}   |                      | ADA BOB         | {"totalResults": 3}
{"endsAt": 0}                                    |                      |                 | {"totalResults": 0, "Resources": []}
{"endsAt": 0, "empty": "null"}                   |                      |                 | {"Resources": null}
{"total": {"kind": "page-size"}}                 | count=2              | ADA BOB         | {"totalResults": 2}
{"total": {"kind": "off-by", "by": 5}}           | count=2              | ADA BOB         | {"totalResults": 8}
{"filter": "ignored"}                            | filter=id+eq+%22x%22 | ADA BOB EVE     | {}
{"filter": "refused"}                            | filter=id+eq+%22x%22 |                 | {"scimType": "invalidFilter"}
{}                                               | sortBy=id&attributes=id | ADA BOB EVE  | {}
{}                                               | startIndex=two       |                 | {"status": "400"}
"#;

#[tokio::test]
async fn lists_lie_in_the_way_that_was_asked_for() {
    for [lists, query, expected, says] in rows(LISTS) {
        let bridge = Bridge::with(&json!({ "lists": parsed(lists) })).await;
        let list = bridge.get(&format!("/Users?{query}")).await;
        assert_eq!(ids(&list), expected, "{lists} {query}");
        for (name, value) in parsed(says).as_object().unwrap() {
            assert_eq!(&list[name], value, "{lists} {query} {name}");
        }
    }
    let bridge = Bridge::with(&json!({"lists": {"empty": "absent", "endsAt": 0}})).await;
    assert_eq!(bridge.get("/Groups").await.get("Resources"), None);
    let bridge = Bridge::with(&json!({"groupLists": {"endsAt": 0}})).await;
    let totals = (bridge.get("/Users").await, bridge.get("/Groups").await);
    assert_eq!(
        (&totals.0["totalResults"], &totals.1["totalResults"]),
        (&json!(3), &json!(0))
    );
    let bridge = Bridge::with(&json!({"lists": {"total": {"kind": "changing"}}})).await;
    let total = async || bridge.get("/Users").await["totalResults"].clone();
    assert_ne!(total().await, total().await);
    bridge.front.set(|state| state.ignores_count = true);
    assert_eq!(ids(&bridge.get("/Users?count=1").await), "ADA BOB EVE");
}

#[tokio::test]
async fn a_list_without_an_end_has_new_people_on_every_page() {
    let bridge = Bridge::with(&json!({"lists": {"endless": true}})).await;
    for collection in ["Users", "Groups"] {
        let mut seen = std::collections::HashSet::new();
        for start in [1, 101, 201] {
            let list = bridge
                .get(&format!("/{collection}?startIndex={start}&count=100"))
                .await;
            seen.extend(ids(&list).split(' ').map(str::to_owned));
            assert_eq!(list["totalResults"], start + 199);
        }
        assert_eq!(seen.len(), 300);
    }
}

#[tokio::test]
async fn a_body_has_the_content_type_that_is_wanted() {
    let bridge = Bridge::with(&json!({"writes": {"mediaTypes": "scim-only"}})).await;
    let url = format!("{}/scim/Groups/staff", bridge.front.url());
    let body = patch_of(&json!([add(&["EVE"])])).to_string();
    for (content_type, status) in [
        ("application/json", 415),
        ("application/scim+json", 200),
        ("application/scim+json; charset=utf-8", 200),
    ] {
        let request = bridge.client.patch(&url).bearer_auth(KEY).body(body.clone());
        let answer = request.header("content-type", content_type).send().await;
        assert_eq!(answer.unwrap().status().as_u16(), status, "{content_type}");
    }
}

#[tokio::test]
async fn the_order_of_a_list_differs_from_request_to_request() {
    let bridge = Bridge::of(Seed::of(50, 0)).await;
    let page = async || ids(&bridge.get("/Users?startIndex=11&count=20").await);
    let sorted = |ids: &str| {
        let mut ids: Vec<_> = ids.split(' ').map(str::to_owned).collect();
        ids.sort();
        ids
    };
    for (order, same_order, same_entries) in [
        (Order::Stable, true, true),
        (Order::WithinPage, false, true),
        (Order::AcrossPages, false, false),
    ] {
        bridge.front.set(|state| state.habits.lists.order = order);
        let (one, other) = (page().await, page().await);
        assert_eq!(
            (one == other, sorted(&one) == sorted(&other)),
            (same_order, same_entries),
            "{order:?}"
        );
    }
}

#[tokio::test]
async fn a_read_right_after_a_write_misses_it() {
    let bridge = Bridge::with(&json!({"writes": {"visibleAfter": 1}})).await;
    let user = json!({"schemas": [USER], "userName": "new@example.com"});
    assert_eq!(bridge.ask("POST", "/Users", Some(user)).await.0, 200);
    let total = async || bridge.get("/Users").await["totalResults"].clone();
    assert_eq!((total().await, total().await), (json!(3), json!(4)));

    bridge.patch("/Groups/staff", json!([remove("ADA")])).await;
    let members = async || {
        let group = bridge.get("/Groups/staff").await;
        group["members"].as_array().unwrap().len()
    };
    assert_eq!((members().await, members().await), (2, 1));
}

#[tokio::test]
async fn errors_have_the_form_that_was_asked_for() {
    let taken = json!({"schemas": [USER], "userName": "ada@example.com"});
    for (form, content_type, scim_type) in [
        ("scim", "application/scim+json", true),
        ("without-type", "application/scim+json", false),
        ("text", "text/plain; charset=utf-8", false),
        ("empty", "text/plain; charset=utf-8", false),
    ] {
        let bridge = Bridge::with(&json!({"writes": {"errors": form}})).await;
        let response = bridge.send("POST", "/Users", Some(&taken)).await.unwrap();
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(response.headers()["content-type"], content_type, "{form}");
        if content_type.contains("json") {
            assert_eq!(
                document(response).await.get("scimType").is_some(),
                scim_type,
                "{form}"
            );
        }
    }
}

#[tokio::test]
async fn a_write_is_done_although_its_answer_says_otherwise() {
    let status = |status| Fault::lasting(status, Content::Json).after_the_write();
    let faults = [
        (status(503), Some(503), "EVE"),
        (Fault::Close.after_the_write(), None, "EVE"),
        (Fault::Reset.after_the_write(), None, "EVE"),
        (Fault::status(503, Content::Html), Some(503), ""),
        (Fault::Close, None, ""),
    ];
    for (fault, seen, members) in faults {
        let bridge = Bridge::small().await;
        bridge
            .front
            .set(|state| state.fault("PATCH /scim/Groups", fault.clone().once()));
        let body = patch_of(&json!([add(&["EVE"])]));
        let answer = bridge.send("PATCH", "/Groups/empty", Some(&body)).await;
        let answer = answer.ok().map(|response| response.status().as_u16());
        assert_eq!(
            (answer, bridge.members("empty").as_str()),
            (seen, members),
            "{fault:?}"
        );
        let patches = bridge.front.requests();
        assert_eq!(patches.len(), 1, "the client does not repeat by itself");
        assert_eq!(patches[0].json().unwrap(), body);
        assert_eq!(
            bridge.patch("/Groups/empty", json!([add(&["EVE"])])).await.0,
            200,
            "{fault:?} was once"
        );
    }
}

#[tokio::test]
async fn somebody_else_changes_the_directory_and_tests_wait_for_clients() {
    let bridge = Bridge::small().await;
    let directory = bridge.front.directory();
    let id = directory.put_user(User::new("new@example.com", "New", "One"));
    let group = directory.put_group(Group::new("New", ["NEW@example.com"]));
    assert_eq!(bridge.members(&group), id);
    assert!(directory.edit_user("BOB", |user| user.active = false) && !directory.edit_user("X", |_| {}));
    assert!(directory.edit_group("empty", |group| group.display_name = "Full".to_owned()));
    assert!(directory.remove_user("ADA") && !directory.remove_user("ADA"));
    assert!(directory.remove_group("staff"));
    assert_eq!(ids(&bridge.get("/Users").await), format!("BOB EVE {id}"));
    assert_eq!(directory.group_named("full").unwrap().id, "empty");
    assert!(directory.changes().is_empty(), "no client has written");

    let suspended = |changes: &[Change]| changes.iter().any(|change| change.act == Act::Suspend);
    assert!(
        directory
            .wait_for_changes(suspended, Duration::ZERO)
            .await
            .is_err()
    );
    let suspend = json!([{"op": "replace", "path": "active", "value": false}]);
    let (changes, _) = tokio::join!(
        directory.wait_for_changes(suspended, LIMIT),
        bridge.patch("/Users/EVE", suspend)
    );
    assert_eq!(changes.unwrap(), [change(Act::Suspend, "EVE", &[])]);
    directory.clear_changes();
    assert!(directory.changes().is_empty());
    assert_eq!(
        Bridge::of(directory.content()).await.front.directory().content(),
        directory.content()
    );
}

#[tokio::test]
async fn the_control_port_fills_the_directory_and_shows_its_changes() {
    let front = Front::builder()
        .for_any_client()
        .plaintext()
        .key(KEY)
        .start()
        .await
        .unwrap();
    let control = Control::start(&front, "127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let bridge = Bridge {
        front,
        client: Client::builder().no_proxy().build().unwrap(),
    };
    let url = |path| format!("http://{}{path}", control.addr());
    let seed = json!({
        "users": [{"userName": "ada@example.com", "name": {"givenName": "Ada", "familyName": "A"}}],
        "groups": [{"displayName": "Staff", "members": ["ada@example.com"]}],
    });
    let put = async |body: String| {
        bridge
            .client
            .put(url("/directory"))
            .body(body)
            .send()
            .await
            .unwrap()
    };
    for wrong in ["{", "{\"user\": []}", "{\"users\": [{\"userName\": \"\"}]}"] {
        assert_eq!(
            put(wrong.to_owned()).await.status(),
            StatusCode::UNPROCESSABLE_ENTITY,
            "{wrong}"
        );
    }
    assert_eq!(bridge.front.state().source, Source::Upstream);
    let content = document(put(seed.to_string()).await).await;
    assert_eq!(
        content["groups"][0]["members"][0]["value"],
        content["users"][0]["id"]
    );
    let many = serde_json::to_string(&Seed::of(20_000, 5)).unwrap();
    assert_eq!(put(many).await.status(), StatusCode::OK);
    assert_eq!(bridge.get("/Users?count=1").await["totalResults"], 20_000);

    let habits = json!({"habits": {"writes": {"ignored": ["suspend"]}, "shown": {"members": "never"}}});
    let patch = bridge.client.patch(url("/state")).body(habits.to_string());
    assert_eq!(patch.send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(bridge.front.state().habits.shown.members, MembersKey::Never);
    let group = json!({"schemas": [GROUP], "displayName": "New"});
    assert_eq!(bridge.ask("POST", "/Groups", Some(group)).await.0, 200);
    let changes = async || document(bridge.client.get(url("/directory/changes")).send().await.unwrap()).await;
    assert_eq!(changes().await[0]["act"], "create-group");
    let cleared = bridge
        .client
        .delete(url("/directory/changes"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (cleared.status(), changes().await),
        (StatusCode::NO_CONTENT, json!([]))
    );
}

#[tokio::test]
async fn the_program_takes_a_seed_and_habits() {
    let file = std::env::temp_dir().join(format!("bridge-front-seed-{}.json", std::process::id()));
    let program = |flags: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_bridge-front"));
        program
            .env_clear()
            .env("BRIDGE_FRONT_KEY", KEY)
            .args(["--plaintext", "--listen", "127.0.0.1:0"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let path = file.to_str().unwrap();
    std::fs::write(&file, r#"{"users": [{"name": {}}]}"#).unwrap();
    let refused = program(&["--directory", path]).wait_with_output().unwrap();
    let reason = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && reason.contains("userName") && reason.contains(path),
        "{reason}"
    );

    std::fs::write(&file, serde_json::to_string(&small()).unwrap()).unwrap();
    let habits = r#"{"lists": {"pageLimit": 2, "order": "stable"}}"#;
    let own = ["--own-directory", "--users", "7", "--groups", "2"];
    let seeded = ["--directory", path, "--habits", habits];
    for (flags, total, length) in [(&own[..], 7, 7), (&seeded, 3, 2)] {
        let mut program = Program(program(flags));
        let mut line = String::new();
        let mut out = BufReader::new(program.0.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap();
        let client = Client::builder().no_proxy().build().unwrap();
        let request = client.get(format!("{url}/scim/Users")).bearer_auth(KEY);
        let list = document(request.send().await.unwrap()).await;
        let found = (&list["totalResults"], list["Resources"].as_array().unwrap().len());
        assert_eq!(found, (&json!(total), length), "{flags:?}");
    }
    std::fs::remove_file(&file).unwrap();
}

/// The program, ended when a test ends.
struct Program(std::process::Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn habits_are_plain_data() {
    let mut habits = Habits::default();
    habits.writes.add = Addition::ReplacesAll;
    let refused = Refused {
        status: 403,
        scim_type: Some("mutability".to_owned()),
    };
    habits.writes.refused.insert(Act::Reactivate, refused);
    let text = serde_json::to_string(&habits).unwrap();
    assert_eq!(serde_json::from_str::<Habits>(&text).unwrap(), habits);
    assert_eq!(serde_json::from_str::<Habits>("{}").unwrap(), Habits::default());
    for wrong in [
        json!({"list": {}}),
        json!({"lists": {"order": "any"}}),
        json!({"lists": {"total": {"kind": "off-by"}}}),
    ] {
        assert!(
            serde_json::from_value::<Habits>(wrong.clone()).is_err(),
            "{wrong}"
        );
    }
}
