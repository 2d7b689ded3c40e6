//! The front's own directory as a client finds it: what it reads, what becomes of its writes, and each habit.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that finds something else has failed"
)]

use std::time::Duration;

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
        let front = Front::builder().plaintext().key(KEY).directory(seed);
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
        self.ask("PATCH", path, Some(patch_of(operations))).await
    }

    fn members(&self, group: &str) -> String {
        let group = self.front.directory().group(group).unwrap();
        let ids: Vec<_> = group.members.iter().map(|member| member.value.as_str()).collect();
        ids.join(" ")
    }
}

fn patch_of(operations: Value) -> Value {
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

#[tokio::test]
async fn a_user_is_changed_by_each_form_that_is_sent() {
    let op = |op: &str, path: &str, value: Value| json!([{"op": op, "path": path, "value": value}]);
    let whole = |value: Value| json!([{"op": "replace", "value": value}]);
    let cases = [
        (op("replace", "active", json!(false)), "active", json!(false)),
        (op("Replace", "active", json!("False")), "active", json!(false)),
        (whole(json!({"active": false})), "active", json!(false)),
        (
            op("replace", "userName", json!("ada@example.org")),
            "userName",
            json!("ada@example.org"),
        ),
        (
            op("replace", "userName", json!("ADA@example.com")),
            "userName",
            json!("ADA@example.com"),
        ),
        (
            op("replace", "name.familyName", json!("Z")),
            "displayName",
            json!("Ada Z"),
        ),
        (
            op("replace", "name", json!({"givenName": "X"})),
            "name",
            json!({"givenName": "X", "familyName": "A", "formatted": "X A",
                "honorificPrefix": "", "honorificSuffix": "", "middleName": ""}),
        ),
        (whole(json!({"name.givenName": "X"})), "displayName", json!("X A")),
        (
            op("add", "displayName", json!("Countess Ada A")),
            "name",
            json!({"givenName": "Countess", "familyName": "Ada A", "formatted": "Countess Ada A",
                "honorificPrefix": "", "honorificSuffix": "", "middleName": ""}),
        ),
        (
            op("replace", "emails[type eq \"work\"].value", json!("a@b")),
            "emails",
            json!([{"value": "a@b", "primary": true, "type": ""}]),
        ),
        (op("replace", "externalId", json!("x")), "externalId", json!("")),
    ];
    for (operations, attribute, expected) in cases {
        let bridge = Bridge::small().await;
        let (status, user) = bridge.patch("/Users/ADA", operations.clone()).await;
        assert_eq!((status, &user[attribute]), (200, &expected), "{operations}");
        assert_eq!(bridge.get("/Users/ADA").await, user, "{operations}");
    }

    let bridge = Bridge::small().await;
    let wrong = [
        (
            op("replace", "userName", json!("BOB@example.com")),
            409,
            "uniqueness",
        ),
        (op("replace", "active", json!("perhaps")), 400, "invalidValue"),
        (op("replace", "roles", json!([])), 400, "invalidPath"),
        (op("replace", "id", json!("1")), 400, "mutability"),
        (op("remove", "userName", Value::Null), 400, "mutability"),
        (op("move", "userName", json!("a")), 400, "invalidSyntax"),
        (json!([]), 400, "invalidSyntax"),
        (json!([{"op": "remove"}]), 400, "noTarget"),
        (
            json!([{"op": "replace", "path": "active", "value": false}, {"op": "add", "path": "roles", "value": 1}]),
            400,
            "invalidPath",
        ),
    ];
    for (operations, status, scim_type) in wrong {
        let (found, error) = bridge.patch("/Users/ADA", operations.clone()).await;
        assert_eq!(
            (found, error["scimType"].as_str()),
            (status, Some(scim_type)),
            "{operations}"
        );
    }
    assert_eq!(
        bridge.front.directory().users(),
        small().users,
        "nothing was written"
    );
    assert_eq!(
        bridge
            .patch("/Users/nobody", op("replace", "active", json!(true)))
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
        "what is left out is lost"
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
    let members: Vec<_> = ids.iter().map(|id| json!({"value": id})).collect();
    json!({"op": "add", "path": "members", "value": members})
}

fn remove(id: &str) -> Value {
    json!({"op": "remove", "path": format!("members[value eq \"{id}\"]")})
}

fn remove_by_value(id: &str) -> Value {
    json!({"op": "remove", "path": "members", "value": [{"value": id}]})
}

#[tokio::test]
async fn members_follow_each_operation_under_each_habit() {
    let writes = |writes: Value| json!({ "writes": writes });
    let none = || json!({});
    let cases = [
        (none(), json!([add(&["EVE"])]), 200, "ADA BOB EVE"),
        (none(), json!([add(&["ADA", "EVE", "EVE"])]), 200, "ADA BOB EVE"),
        (
            none(),
            json!([{"op": "Add", "path": "members", "value": {"value": "EVE"}}]),
            200,
            "ADA BOB EVE",
        ),
        (
            none(),
            json!([{"op": "add", "value": {"members": [{"value": "EVE"}]}}]),
            200,
            "ADA BOB EVE",
        ),
        (none(), json!([remove("ADA")]), 200, "BOB"),
        (none(), json!([remove("EVE")]), 200, "ADA BOB"),
        (none(), json!([remove_by_value("ADA")]), 200, ""),
        (none(), json!([{"op": "remove", "path": "members"}]), 200, ""),
        (
            none(),
            json!([{"op": "replace", "path": "members", "value": []}]),
            200,
            "",
        ),
        (none(), json!([add(&["EVE"]), remove("ADA")]), 200, "BOB EVE"),
        (none(), json!([add(&["nobody"])]), 400, "ADA BOB"),
        (none(), json!([remove("ADA"), add(&["nobody"])]), 400, "ADA BOB"),
        (
            none(),
            json!([{"op": "remove", "path": "members[display eq \"Ada\"]"}]),
            400,
            "ADA BOB",
        ),
        (
            none(),
            json!([{"op": "add", "path": "owners", "value": []}]),
            400,
            "ADA BOB",
        ),
        (
            writes(json!({"removeByFilter": {"kind": "everybody"}})),
            json!([remove("ADA")]),
            200,
            "",
        ),
        (
            writes(json!({"removeByFilter": {"kind": "refused", "status": 501}})),
            json!([remove("ADA")]),
            501,
            "ADA BOB",
        ),
        (
            writes(json!({"removeByValue": {"kind": "members"}})),
            json!([remove_by_value("ADA")]),
            200,
            "BOB",
        ),
        (
            writes(json!({"removeByValue": {"kind": "refused", "status": 400}})),
            json!([remove_by_value("ADA")]),
            400,
            "ADA BOB",
        ),
        (
            writes(json!({"ignored": ["remove-member"]})),
            json!([remove("ADA")]),
            200,
            "BOB ADA",
        ),
        (
            writes(json!({"ignored": ["add-member"]})),
            json!([add(&["EVE"]), remove("ADA")]),
            200,
            "BOB",
        ),
        (
            writes(json!({"refused": {"remove-member": {"status": 403}}})),
            json!([remove("ADA")]),
            403,
            "ADA BOB",
        ),
        (
            writes(json!({"add": "doubles-members"})),
            json!([add(&["ADA"])]),
            200,
            "ADA BOB ADA",
        ),
        (
            writes(json!({"add": "lists-twice"})),
            json!([add(&["EVE"])]),
            200,
            "ADA BOB EVE EVE",
        ),
        (
            writes(json!({"add": "replaces-all"})),
            json!([add(&["EVE"])]),
            200,
            "EVE",
        ),
        (
            writes(json!({"addKeeps": 2})),
            json!([add(&["EVE"])]),
            200,
            "ADA BOB",
        ),
        (
            writes(json!({"unknownMembers": "accepted"})),
            json!([add(&["nobody"])]),
            200,
            "ADA BOB nobody",
        ),
        (
            writes(json!({"mixedOperations": "refused"})),
            json!([add(&["EVE"]), remove("ADA")]),
            400,
            "ADA BOB",
        ),
        (
            writes(json!({"mixedOperations": "refused"})),
            json!([add(&["EVE"])]),
            200,
            "ADA BOB EVE",
        ),
        (
            writes(json!({"changeLimit": {"changes": 1, "status": 413}})),
            json!([add(&["EVE", "ADA"])]),
            413,
            "ADA BOB",
        ),
        (
            writes(json!({"changeLimit": {"changes": 1, "status": 413}})),
            json!([add(&["EVE"])]),
            200,
            "ADA BOB EVE",
        ),
        (
            writes(json!({"atomicity": "by-operation"})),
            json!([remove("ADA"), add(&["nobody"])]),
            400,
            "BOB",
        ),
    ];
    for (habits, operations, status, members) in cases {
        let bridge = Bridge::with(&habits).await;
        let (found, _) = bridge.patch("/Groups/staff", operations.clone()).await;
        assert_eq!(
            (found, bridge.members("staff").as_str()),
            (status, members),
            "{habits} {operations}"
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

#[tokio::test]
async fn writes_go_wrong_in_the_way_that_was_asked_for() {
    let user = |name: &str| json!({"schemas": [USER], "userName": name});
    let suspend = || patch_of(json!([{"op": "replace", "path": "active", "value": false}]));
    let text = || patch_of(json!([{"op": "replace", "path": "active", "value": "False"}]));
    let rename = |name: &str| patch_of(json!([{"op": "replace", "path": "userName", "value": name}]));
    let display = || patch_of(json!([{"op": "replace", "path": "displayName", "value": "X Y"}]));
    let external = || patch_of(json!([{"op": "replace", "path": "externalId", "value": "x"}]));
    let taken = || json!({"schemas": [GROUP], "displayName": "STAFF"});
    let (post, patch) = ("POST", "PATCH");
    // Habit, request, status of the answer, and what Ada is afterwards: one attribute of a read.
    let cases = [
        (
            json!({"ignored": ["suspend"]}),
            patch,
            "/Users/ADA",
            suspend(),
            200,
            "/active",
            json!(true),
        ),
        (
            json!({"ignored": ["rename-user"]}),
            patch,
            "/Users/ADA",
            rename("z"),
            200,
            "/userName",
            json!("Ada@example.com"),
        ),
        (
            json!({"ignored": ["change-name"]}),
            patch,
            "/Users/ADA",
            display(),
            200,
            "/displayName",
            json!("Ada A"),
        ),
        (
            json!({"refused": {"suspend": {"status": 403}}}),
            patch,
            "/Users/ADA",
            suspend(),
            403,
            "/active",
            json!(true),
        ),
        (
            json!({"textBooleans": "refused"}),
            patch,
            "/Users/ADA",
            text(),
            400,
            "/active",
            json!(true),
        ),
        (
            json!({"textBooleans": "always-true"}),
            patch,
            "/Users/ADA",
            text(),
            200,
            "/active",
            json!(true),
        ),
        (
            json!({"displayName": "stands-alone"}),
            patch,
            "/Users/ADA",
            display(),
            200,
            "/name/givenName",
            json!("Ada"),
        ),
        (
            json!({"externalIds": "kept"}),
            patch,
            "/Users/ADA",
            external(),
            200,
            "/externalId",
            json!("x"),
        ),
        (
            json!({"echo": "nothing"}),
            patch,
            "/Users/ADA",
            suspend(),
            204,
            "/active",
            json!(false),
        ),
        (
            json!({"takenUserName": "accepted"}),
            patch,
            "/Users/ADA",
            rename("bob@example.com"),
            200,
            "/userName",
            json!("bob@example.com"),
        ),
        (
            json!({"takenUserName": "server-error"}),
            post,
            "/Users",
            user("ada@example.com"),
            500,
            "/active",
            json!(true),
        ),
        (
            json!({"takenUserName": "conflict-without-type"}),
            post,
            "/Users",
            user("ada@example.com"),
            409,
            "/active",
            json!(true),
        ),
        (
            json!({"nameCase": "exact"}),
            post,
            "/Users",
            user("ada@example.com"),
            200,
            "/userName",
            json!("Ada@example.com"),
        ),
        (
            json!({"nameCase": "exact"}),
            post,
            "/Users",
            user("Ada@example.com"),
            409,
            "/active",
            json!(true),
        ),
        (
            json!({"seats": 3}),
            post,
            "/Users",
            user("new"),
            403,
            "/active",
            json!(true),
        ),
        (
            json!({"seats": 4}),
            post,
            "/Users",
            user("new"),
            200,
            "/active",
            json!(true),
        ),
        (
            json!({"otherAddress": "refused"}),
            patch,
            "/Users/ADA",
            rename("z"),
            400,
            "/userName",
            json!("Ada@example.com"),
        ),
        (
            json!({"takenGroupName": "accepted"}),
            post,
            "/Groups",
            taken(),
            200,
            "/active",
            json!(true),
        ),
        (
            json!({"created": "with-location"}),
            post,
            "/Users",
            user("new"),
            201,
            "/active",
            json!(true),
        ),
        (
            json!({"deleteUser": "deletes"}),
            "DELETE",
            "/Users/ADA",
            Value::Null,
            204,
            "/status",
            json!("404"),
        ),
    ];
    for (writes, method, path, body, status, attribute, expected) in cases {
        let bridge = Bridge::with(&json!({ "writes": writes })).await;
        let (found, answer) = bridge.ask(method, path, Some(body)).await;
        assert_eq!(found, status, "{writes}: {answer}");
        let ada = bridge.get("/Users/ADA").await;
        assert_eq!(ada.pointer(attribute), Some(&expected), "{writes}: {ada}");
    }
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

#[tokio::test]
async fn what_is_shown_is_not_what_is_stored() {
    let cases = [
        (
            json!({"active": "text"}),
            "/Users/ADA",
            "/active",
            Some(json!("true")),
        ),
        (json!({"active": "absent"}), "/Users/ADA", "/active", None),
        (
            json!({"names": "lower-case"}),
            "/Users/ADA",
            "/userName",
            Some(json!("ada@example.com")),
        ),
        (
            json!({"names": "upper-case"}),
            "/Groups/staff",
            "/displayName",
            Some(json!("STAFF")),
        ),
        (json!({"userGroups": "absent"}), "/Users/ADA", "/groups", None),
        (
            json!({"members": "always"}),
            "/Groups/empty",
            "/members",
            Some(json!([])),
        ),
        (
            json!({"members": "or-null"}),
            "/Groups/empty",
            "/members",
            Some(Value::Null),
        ),
        (
            json!({"members": "by-id-only"}),
            "/Groups",
            "/Resources/0/members",
            None,
        ),
        (
            json!({"members": "by-id-only"}),
            "/Groups/empty",
            "/members",
            Some(json!([])),
        ),
        (json!({"members": "never"}), "/Groups/staff", "/members", None),
        (
            json!({"members": "always-empty"}),
            "/Groups/staff",
            "/members",
            Some(json!([])),
        ),
        (
            json!({"memberValue": "user-name"}),
            "/Groups/staff",
            "/members/0/value",
            Some(json!("Ada@example.com")),
        ),
        (
            json!({"membersMissing": {"kind": "beyond", "count": 1}}),
            "/Groups/staff",
            "/members/1",
            None,
        ),
        (
            json!({"membersMissing": {"kind": "random", "percent": 100}}),
            "/Groups/staff",
            "/members",
            None,
        ),
    ];
    for (shown, path, pointer, expected) in cases {
        let bridge = Bridge::with(&json!({ "shown": shown })).await;
        let document = bridge.get(path).await;
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

#[tokio::test]
async fn lists_lie_in_the_way_that_was_asked_for() {
    let cases = [
        (
            json!({"pageLimit": 1, "itemsPerPage": "asked"}),
            "count=2",
            "ADA",
            json!({"totalResults": 3, "itemsPerPage": 2}),
        ),
        (
            json!({"missing": {"kind": "last", "count": 1}}),
            "",
            "ADA BOB",
            json!({"totalResults": 3, "itemsPerPage": 2}),
        ),
        (
            json!({"doubled": 1}),
            "",
            "ADA BOB EVE ADA",
            json!({"totalResults": 3}),
        ),
        (
            json!({"overlap": 1}),
            "startIndex=3",
            "BOB EVE",
            json!({"startIndex": 3}),
        ),
        (
            json!({"index": "from-zero"}),
            "startIndex=1",
            "BOB EVE",
            json!({}),
        ),
        (
            json!({"index": "ignored"}),
            "startIndex=3&count=2",
            "ADA BOB",
            json!({"startIndex": 3}),
        ),
        (
            json!({"beyondEnd": "last-page"}),
            "startIndex=9&count=2",
            "BOB EVE",
            json!({}),
        ),
        (json!({"endsAt": 2}), "", "ADA BOB", json!({"totalResults": 2})),
        (
            json!({"endsAt": 2, "total": {"kind": "everything"}}),
            "",
            "ADA BOB",
            json!({"totalResults": 3}),
        ),
        (
            json!({"endsAt": 0}),
            "",
            "",
            json!({"totalResults": 0, "Resources": []}),
        ),
        (
            json!({"endsAt": 0, "empty": "null"}),
            "",
            "",
            json!({"Resources": null}),
        ),
        (
            json!({"total": {"kind": "page-size"}}),
            "count=2",
            "ADA BOB",
            json!({"totalResults": 2}),
        ),
        (
            json!({"total": {"kind": "off-by", "by": 5}}),
            "count=2",
            "ADA BOB",
            json!({"totalResults": 8}),
        ),
        (
            json!({"filter": "ignored"}),
            "filter=userName+eq+%22x%22",
            "ADA BOB EVE",
            json!({}),
        ),
        (
            json!({"filter": "refused"}),
            "filter=userName+eq+%22x%22",
            "",
            json!({"scimType": "invalidFilter"}),
        ),
        (
            json!({}),
            "sortBy=meta.lastModified&attributes=id",
            "ADA BOB EVE",
            json!({}),
        ),
        (json!({}), "startIndex=two", "", json!({"status": "400"})),
    ];
    for (lists, query, expected, says) in cases {
        let bridge = Bridge::with(&json!({ "lists": lists })).await;
        let list = bridge.get(&format!("/Users?{query}")).await;
        assert_eq!(ids(&list), expected, "{lists} {query}");
        for (name, value) in says.as_object().unwrap() {
            assert_eq!(&list[name], value, "{lists} {query} {name}");
        }
    }

    let bridge = Bridge::with(&json!({"lists": {"empty": "absent", "endsAt": 0}})).await;
    assert_eq!(bridge.get("/Groups").await.get("Resources"), None);

    let bridge = Bridge::with(&json!({"lists": {"endless": true}})).await;
    for collection in ["Users", "Groups"] {
        let list = bridge
            .get(&format!("/{collection}?startIndex=1001&count=100"))
            .await;
        let resources = list["Resources"].as_array().unwrap();
        assert_eq!((resources.len(), &list["totalResults"]), (100, &json!(1200)));
        assert_ne!(resources[0]["id"], resources[1]["id"]);
    }

    let bridge = Bridge::with(&json!({"lists": {"total": {"kind": "changing"}}})).await;
    let total = async || bridge.get("/Users").await["totalResults"].clone();
    assert_ne!(total().await, total().await);
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
        let body = patch_of(json!([add(&["EVE"])]));
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
    let front = Front::builder().plaintext().key(KEY).start().await.unwrap();
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
