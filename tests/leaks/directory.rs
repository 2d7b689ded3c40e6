//! Names and addresses of people, and names of groups: in specifications and on bridges, and nowhere else.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, Response as HttpResponse},
};
use bridge_front::{Front, Group, Seed, Upstream, User, directory::Email};
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use scim_bridge_operator::{
    api::{
        FIELD_MANAGER, PROVISIONING_FIELD_MANAGER, connection::ScimBridgeConnection, group::ScimGroup,
        user::ScimUser,
    },
    bridge::scim::lists,
    domain::directory::wish::{GroupWish, UserWish},
};
use serde_json::{Value, json};
use testbed::{
    Collector,
    bed::{Bed, DEADLINE, DirectoryObject, KEY, provisioning},
    spec, wait,
};
use tokio::net::TcpListener;

use crate::{canary::Canaries, running::start, surfaces::Outputs};

type Response = HttpResponse<Body>;

/// A person, on a bridge and in a specification.
struct Person {
    /// The name of the object.
    name: &'static str,
    user_name: String,
    given_name: String,
    family_name: String,
}

impl Person {
    fn new(canaries: &Canaries, name: &'static str) -> Self {
        let text = |what: &str| canaries.text(format!("{name}: {what}"));
        Self {
            name,
            user_name: format!("{}@example.com", text("user name")),
            given_name: text("given name"),
            family_name: text("family name"),
        }
    }

    /// As the bridge has it, with more texts.
    fn on_bridge(&self, canaries: &Canaries) -> User {
        let text = |what: &str| canaries.text(format!("{}: {what}", self.name));
        User {
            display_name: text("display name"),
            emails: vec![Email {
                value: format!("{}@example.com", text("address")),
                primary: true,
            }],
            external_id: Some(text("external id")),
            ..User::new(&self.user_name, &self.given_name, &self.family_name)
        }
    }

    async fn declare(&self, bed: &Bed<'_>, connection: &str, more: Value) {
        let mut fields = json!({
            "userName": self.user_name,
            "name": {"givenName": self.given_name, "familyName": self.family_name},
        });
        fields
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        bed.scim_user(connection, self.name, fields).await;
    }
}

/// What the operator wrote to the objects of a kind.
async fn written<K: DirectoryObject>(bed: &Bed<'_>) -> String {
    let objects = bed.api::<K>().list(&ListParams::default()).await.unwrap();
    let written = objects.into_iter().map(|object| {
        let whole = serde_json::to_value(&object).unwrap();
        let fields = object.meta().managed_fields.clone().unwrap_or_default();
        let ours = |manager: &str| [FIELD_MANAGER, PROVISIONING_FIELD_MANAGER].contains(&manager);
        let fields: Vec<_> = fields
            .into_iter()
            .filter(|entry| entry.manager.as_deref().is_some_and(ours))
            .collect();
        json!({"name": object.meta().name, "status": whole["status"], "managedFields": fields})
    });
    Value::from(written.collect::<Vec<_>>()).to_string()
}

/// What `kubectl describe` shows of all objects of a kind, but for their specifications.
async fn described(bed: &Bed<'_>, kind: &str) -> String {
    let arguments = ["describe", kind, "--namespace", &bed.namespace];
    let output = bed.cluster.kubectl().output(&arguments, "").await.unwrap();
    assert!(output.status.success());
    let mut is_in_spec = false;
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter(|line| {
        if !line.starts_with(' ') {
            is_in_spec = line.starts_with("Spec:");
        }
        !is_in_spec
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Waits for an event with each of these reasons, and gives all events.
async fn events(bed: &Bed<'_>, reasons: &[&str]) -> Vec<Event> {
    let found = wait::until(DEADLINE, "events", async || {
        let events = bed
            .api::<Event>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items;
        let is_told = |reason: &&&str| {
            events
                .iter()
                .any(|event| event.reason.as_deref() == Some(**reason))
        };
        match reasons.iter().find(|reason| !is_told(reason)) {
            None => Ok(events),
            Some(reason) => Err(format!("none with {reason}")),
        }
    });
    found.await.unwrap_or_else(|error| panic!("{error}"))
}

/// What is shown of users, groups and connections, with what has to be in the statuses of each of them, and in the
/// description of a connection.
async fn add_objects(outputs: &mut Outputs, bed: &Bed<'_>, proofs: [&str; 4]) {
    let [user, group, status, connection] = proofs;
    outputs.add("people: users", written::<ScimUser>(bed).await, user);
    outputs.add("people: groups", written::<ScimGroup>(bed).await, group);
    let connections = bed
        .api::<ScimBridgeConnection>()
        .list(&ListParams::default())
        .await
        .unwrap();
    let statuses: Vec<_> = connections.iter().map(|object| &object.status).collect();
    outputs.add("people: connections", json!(statuses).to_string(), status);
    for (kind, proof) in [
        ("scimusers", user),
        ("scimgroups", group),
        ("scimbridgeconnections", connection),
    ] {
        outputs.add(
            format!("people: kubectl describe {kind}"),
            described(bed, kind).await,
            proof,
        );
    }
}

/// People with every verdict, on a bridge and declared, and two directories that are of no use.
async fn declare_everybody(bed: &Bed<'_>, canaries: &Canaries) -> [Front; 2] {
    let person = |name| Person::new(canaries, name);
    let (same, other, twins, owner, new, far, hidden) = (
        person("same"),
        person("other"),
        person("twins"),
        person("owner"),
        person("new"),
        person("far"),
        person("hidden"),
    );
    let held = ["held-1", "held-2", "held-3"].map(person);
    let group_name = canaries.text("group");
    let mut users: Vec<User> = [&same, &other, &twins, &owner]
        .into_iter()
        .chain(&held)
        .map(|person| person.on_bridge(canaries))
        .collect();
    users.push(User::new(twins.user_name.to_ascii_uppercase(), "Given", "Family"));
    let stranger = format!("{}@example.com", canaries.text("somebody whom nobody declares"));
    users.push(User::new(stranger, "Given", "Family"));
    let members = [same.user_name.clone(), other.user_name.clone()];
    let unmanaged = canaries.text("group that nobody declares");
    let seed = Seed {
        users,
        groups: vec![
            Group::new(&group_name, members),
            Group::new(unmanaged, [same.user_name.clone()]),
        ],
    };
    let bridge = bed.directory(seed).start().await.unwrap();
    bed.secret("corp", KEY).await;
    let provision = |more: Value| {
        let mut fields = provisioning();
        fields
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        spec()
            .secret("corp")
            .with("interval", "6h")
            .with("timeout", "60s")
            .with("provisioning", fields)
    };
    let protected = json!({"protected": {"userNames": [owner.user_name]}, "limits": {"suspensions": 1}});
    bed.connect("corp", &bridge, provision(protected)).await;
    same.declare(bed, "corp", json!({})).await;
    other
        .declare(
            bed,
            "corp",
            json!({"name": {"givenName": canaries.text("wanted name"), "familyName": "F"}}),
        )
        .await;
    twins.declare(bed, "corp", json!({})).await;
    owner
        .declare(bed, "corp", json!({"state": "Suspended", "adopt": "Always"}))
        .await;
    new.declare(bed, "corp", json!({})).await;
    let elsewhere = format!("{}@elsewhere.example", canaries.text("far: another domain"));
    far.declare(bed, "corp", json!({"userName": elsewhere})).await;
    let trick = format!("\u{200b}{}", hidden.user_name);
    hidden.declare(bed, "corp", json!({"userName": trick})).await;
    for person in &held {
        person
            .declare(bed, "corp", json!({"state": "Suspended", "adopt": "Always"}))
            .await;
    }
    let absent = format!("{}@example.com", canaries.text("member whom nobody has"));
    let wanted = json!({"adopt": "Always", "displayName": group_name, "members": [{"userName": same.user_name}, {"userName": absent}]});
    bed.scim_group("corp", "staff", wanted).await;
    bed.scim_group(
        "corp",
        "new-group",
        json!({"displayName": canaries.text("new group")}),
    )
    .await;
    // A directory that fails, and one whose patterns only the parser refuses.
    let broken = bed.directory(bridge.directory().content()).start().await.unwrap();
    broken.set(|state| {
        state.habits.lists.doubled = 1;
    });
    bed.connect("broken", &broken, provision(json!({}))).await;
    person("unread").declare(bed, "broken", json!({})).await;
    let pattern = format!("*\u{200b}{}@example.com", canaries.text("pattern of a scope"));
    let scope = json!({"scope": {"userNames": [pattern], "groups": ["*"]}});
    bed.connect("patterns", &bridge, provision(scope)).await;
    person("off").declare(bed, "patterns", json!({})).await;
    [bridge, broken]
}

async fn expect_every_verdict(bed: &Bed<'_>) {
    for (name, line) in [
        ("same", "True Provisioned"),
        ("other", "False AlreadyExists Stalled"),
        ("twins", "False Ambiguous Stalled"),
        ("owner", "False Protected Stalled"),
        ("new", "False ChangePlanned Stalled"),
        ("far", "False OutOfScope Stalled"),
        ("hidden", "False InvalidSpec Stalled"),
        ("held-1", "False Held Stalled"),
        ("unread", "False DirectoryIncomplete Reconciling"),
        ("off", "False ProvisioningOff Stalled"),
    ] {
        bed.expect_object::<ScimUser>(name, line).await;
    }
    bed.expect_object::<ScimGroup>("staff", "False MemberMissing Stalled")
        .await;
    bed.expect_object::<ScimGroup>("new-group", "False ChangePlanned Stalled")
        .await;
    bed.expect("corp", "True Connected ProvisioningHeld").await;
    // Another plan, which is told, and an object that goes.
    bed.delete::<ScimUser>("held-1").await;
    bed.delete::<ScimUser>("held-2").await;
    bed.expect_object::<ScimUser>("held-3", "False ChangePlanned Stalled")
        .await;
    bed.expect("corp", "True Connected").await;
}

#[tokio::test]
async fn names_of_people_stay_in_specifications() {
    let canaries = Canaries::default();
    let bed = Bed::with_provisioning("leaks-people").await;
    let _bridges = declare_everybody(&bed, &canaries).await;
    let collector = Collector::start().await.unwrap();
    let flags = [
        "--provisioning",
        "--log-format",
        "json",
        "--otlp-endpoint",
        &collector.url(),
    ];
    let operator = start(&bed, &flags, &[]).await;
    expect_every_verdict(&bed).await;

    let mut outputs = Outputs::default();
    let told = [
        "AlreadyExists",
        "Ambiguous",
        "Protected",
        "InvalidSpec",
        "DirectoryIncomplete",
        "PlanChanged",
    ];
    let events = serde_json::to_string(&events(&bed, &told).await).unwrap();
    outputs.add("people: events", events, "InvalidSpec");
    outputs.add("people: /metrics", operator.metrics().await.unwrap(), "unmanaged");
    add_objects(
        &mut outputs,
        &bed,
        [
            "AlreadyExists",
            "MemberMissing",
            "unmanagedActive",
            "DirectoryIncomplete",
        ],
    )
    .await;
    operator.terminate(DEADLINE).await.unwrap();
    outputs.add("people: the log", operator.logs(), "directory read");
    outputs.add(
        "people: the traces",
        collector.batches().concat(),
        "scimbridge.reason",
    );
    outputs.assert_clean(&canaries);
}

/// Every refusal, and what is none: each with the change that was asked for in it, wherever a text can be.
fn echo(turn: usize, body: &str) -> Response {
    let text = |status: u16, media_type: &str, text: String| {
        let response = HttpResponse::builder().status(status);
        let response = response.header("content-type", media_type);
        response.body(Body::from(text)).unwrap()
    };
    let error = |status: u16, scim_type: &str| {
        let document = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error", body],
            "status": body, "scimType": scim_type, "detail": body,
        });
        text(status, "application/scim+json", document.to_string())
    };
    match turn % 12 {
        0 => error(400, "invalidValue"),
        1 => error(409, "uniqueness"),
        2 => error(400, body),
        3 => text(400, "text/plain", body.to_owned()),
        4 => error(403, "sensitive"),
        5 => error(404, "noTarget"),
        6 => error(413, "tooMany"),
        7 => error(500, "mutability"),
        8 => text(200, "text/html", format!("<html><title>{body}</title>")),
        9 => error(201, ""),
        10 => text(200, "application/scim+json", format!("{{\"userName\": {body}")),
        _ => error(501, "invalidSyntax"),
    }
}

/// A server that shows these users and a group, and makes no change.
fn echoing(users: Vec<Value>, group: Value) -> Router {
    let turns = Arc::new(AtomicUsize::new(0));
    Router::new().fallback(async move |request: Request<Body>| {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        if parts.method != "GET" {
            let turn = turns.fetch_add(1, Ordering::Relaxed);
            return echo(turn, &String::from_utf8_lossy(&body));
        }
        let (collection, id) = {
            let mut words = parts.uri.path().rsplit('/');
            let last = words.next().unwrap_or_default();
            if ["Users", "Groups"].contains(&last) {
                (last, None)
            } else {
                (words.next().unwrap_or_default(), Some(last))
            }
        };
        let all = if collection == "Users" {
            users.clone()
        } else {
            vec![group.clone()]
        };
        let query = parts.uri.query().unwrap_or_default();
        let is_first = !query.contains("startIndex") || query.contains("startIndex=1&");
        let document = match id {
            Some(id) => all
                .into_iter()
                .find(|entry| entry["id"] == id)
                .unwrap_or_default(),
            None => json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
                "totalResults": all.len(),
                "Resources": if is_first { all } else { Vec::new() },
            }),
        };
        let response = HttpResponse::builder().header("content-type", "application/scim+json");
        response.body(Body::from(document.to_string())).unwrap()
    })
}

/// In mode `Manage`, before a bridge that refuses changes in every way and repeats what it was asked for.
#[tokio::test]
async fn what_a_bridge_says_about_changes_stays_inside() {
    const EACH: usize = 12;
    let canaries = Canaries::default();
    let bed = Bed::with_provisioning("leaks-changes").await;
    let text = |what: &str| canaries.text(what);
    let address = |what: &str| format!("{}@example.com", canaries.text(what));
    let owner = address("owner");
    let mut users = vec![json!({"id": "owner-id", "userName": owner, "active": true})];
    let mut leavers = Vec::new();
    for number in 0..EACH {
        let user_name = address(&format!("user name of leaver {number}"));
        let name = json!({"givenName": text("given name"), "familyName": text("family name")});
        users
            .push(json!({"id": format!("id-{number}"), "userName": user_name, "name": name, "active": true}));
        leavers.push((user_name, name));
    }
    let group_name = text("group");
    let members = json!([{"value": "id-0", "display": text("display of a member")}]);
    let group = json!({"id": "group-id", "displayName": group_name, "members": members});
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream: Upstream = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let router = echoing(users, group);
    let serving = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    let bridge = bed.bridge().upstream(upstream).start().await.unwrap();
    bed.secret("corp", KEY).await;
    let more = json!({
        "protected": {"userNames": [owner]},
        "limits": {"suspensions": 100, "removals": 100, "creations": 100},
    });
    bed.manage_directory("corp", &bridge, more).await;
    for (number, (user_name, name)) in leavers.iter().enumerate() {
        let mut spec = json!({"userName": user_name, "name": name, "state": "Suspended", "adopt": "Always"});
        if number % 2 == 0 {
            spec["state"] = json!("Active");
            spec["name"]["givenName"] = json!(text("wanted given name"));
        }
        bed.scim_user("corp", &format!("leaver-{number}"), spec).await;
    }
    for number in 0..EACH {
        let person = Person::new(&canaries, "new");
        let spec = json!({
            "userName": person.user_name,
            "name": {"givenName": person.given_name, "familyName": person.family_name},
        });
        bed.scim_user("corp", &format!("new-{number}"), spec).await;
    }
    let joiner = json!({"userName": leavers[2].0});
    let wanted = json!({"displayName": group_name, "adopt": "Always", "members": [joiner]});
    bed.scim_group("corp", "staff", wanted).await;
    for number in 0..3 {
        let wanted = json!({"displayName": text("new group")});
        bed.scim_group("corp", &format!("group-{number}"), wanted).await;
    }
    let collector = Collector::start().await.unwrap();
    let flags = [
        "--provisioning",
        "--log-format",
        "json",
        "--otlp-endpoint",
        &collector.url(),
    ];
    let operator = start(&bed, &flags, &[]).await;
    let asked = bridge.wait_until(
        |traffic| {
            let requests = traffic.requests.iter();
            requests.filter(|request| request.method != "GET").count() >= 2 * EACH + 4
        },
        DEADLINE,
    );
    asked.await.unwrap_or_else(|unmet| panic!("{unmet}"));
    let mut outputs = Outputs::default();
    let events = serde_json::to_string(&events(&bed, &["Rejected"]).await).unwrap();
    outputs.add("people: events", events, "Rejected");
    outputs.add(
        "people: /metrics",
        operator.metrics().await.unwrap(),
        "directory_writes",
    );
    add_objects(&mut outputs, &bed, ["Rejected", "Ready", "spent", "Connected"]).await;
    operator.terminate(DEADLINE).await.unwrap();
    serving.abort();
    outputs.add("people: the log", operator.logs(), "order sent");
    outputs.add(
        "people: the traces",
        collector.batches().concat(),
        "scimbridge.reason",
    );
    outputs.assert_clean(&canaries);
}

/// What a panic or a careless log line would show.
#[test]
fn debug_shows_no_names() {
    let canaries = Canaries::default();
    let mut outputs = Outputs::default();
    let text = |what: &str| canaries.text(what);
    let user = json!({
        "id": "1", "userName": text("user name"), "displayName": text("display name"), "active": true,
        "name": {"givenName": text("given name"), "familyName": text("family name")},
        "emails": [{"value": text("address")}], "groups": [{"value": "7", "display": text("group of a user")}],
    });
    let list = json!({"totalResults": 1, "Resources": [user]}).to_string();
    outputs.add(
        "users",
        format!("{0:?}{0:#?}", lists::read_users(list.as_bytes())),
        "Page",
    );
    let group = json!({
        "id": "7", "displayName": text("group"),
        "members": [{"value": "1", "display": text("display of a member"), "$ref": text("reference")}],
    });
    let list = json!({"totalResults": 1, "Resources": [group]}).to_string();
    outputs.add(
        "groups",
        format!("{0:?}{0:#?}", lists::read_groups(list.as_bytes())),
        "Page",
    );
    for broken in [
        json!([text("an array")]).to_string(),
        format!(
            r#"{{"totalResults": 1, "Resources": [{{"userName": "{}"}}]}}"#,
            text("without id")
        ),
        format!(r#"{{"Resources": "{}"#, text("cut off")),
    ] {
        let read = lists::read_users(broken.as_bytes());
        outputs.add(
            "a broken list",
            format!("{read:?} {}", read.as_ref().unwrap_err()),
            "Err",
        );
    }
    let spec = |user_name: String| {
        serde_json::from_value(json!({
            "connectionRef": {"name": "corp"}, "userName": user_name,
            "name": {"givenName": text("wanted given name"), "familyName": text("wanted family name")},
        }))
        .unwrap()
    };
    let wish = UserWish::of(
        "u1",
        None,
        &spec(format!("{}@example.com", text("wanted user name"))),
    );
    outputs.add("a wish", format!("{wish:?}{wish:#?}"), "Ok");
    let wish = UserWish::of(
        "u1",
        None,
        &spec(format!("\u{200b}{}@example.com", text("refused user name"))),
    );
    outputs.add(
        "a refused wish",
        format!("{wish:?} {}", wish.as_ref().unwrap_err()),
        "Err",
    );
    let spec = serde_json::from_value(json!({
        "connectionRef": {"name": "corp"}, "displayName": text("wanted group"),
        "members": [{"userName": format!("{}@example.com", text("wanted member"))}],
    }));
    let wish = GroupWish::of("g1", None, &spec.unwrap());
    outputs.add("a wish for a group", format!("{wish:?}{wish:#?}"), "Ok");
    outputs.assert_clean(&canaries);
}
