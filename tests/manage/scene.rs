//! What most of these tests begin with, and look at.

use std::ops::Deref;

use bridge_front::{Act, Change, Front, RequestRecord, Seed, User};
use k8s_openapi::api::core::v1::Secret;
use scim_bridge_operator::api::{
    directory::{ChangeKind, PendingChanges},
    group::ScimGroup,
    user::ScimUser,
};
use serde_json::{Value, json};
use testbed::{
    bed::{Bed, DEADLINE, KEY, Operator, provisioning},
    spec,
};

/// A bridge, which at its end holds the requests that it got to the forms that may be sent.
pub(crate) struct Bridge(Option<Front>);

impl Deref for Bridge {
    type Target = Front;

    fn deref(&self) -> &Front {
        self.0.as_ref().unwrap()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if let Some(front) = &self.0
            && !std::thread::panicking()
        {
            front.requests().iter().for_each(assert_form);
        }
    }
}

impl From<Front> for Bridge {
    fn from(front: Front) -> Self {
        Self(Some(front))
    }
}

impl Bridge {
    /// Closes its port and all its connections.
    pub(crate) async fn stop(mut self) {
        let front = self.0.take().unwrap();
        front.requests().iter().for_each(assert_form);
        front.stop().await;
    }
}

/// Connection `corp` in mode `Manage`, its bridge, and an operator.
pub(crate) struct Stage {
    pub(crate) bed: Bed<'static>,
    pub(crate) bridge: Bridge,
    operator: Option<Operator>,
}

impl Stage {
    /// A bridge with this directory, and an operator that has read it. `more` is set in `spec.provisioning`.
    pub(crate) async fn new(prefix: &str, seed: Seed, more: Value) -> Self {
        let mut stage = Self::without_operator(prefix, seed, more).await;
        stage.start(&[]).await;
        let users = stage.bridge.directory().users().len();
        stage.read(users).await;
        stage
    }

    /// The same before the operator is there.
    pub(crate) async fn without_operator(prefix: &str, seed: Seed, more: Value) -> Self {
        let bed = Bed::with_provisioning(prefix).await;
        let bridge = managed(&bed, "corp", seed, more).await;
        Self {
            bed,
            bridge,
            operator: None,
        }
    }

    /// Starts an operator.
    pub(crate) async fn start(&mut self, flags: &[&str]) {
        self.operator = Some(self.bed.provider(flags).await);
    }

    /// Ends the operator in good order.
    pub(crate) async fn stop(&mut self) {
        self.operator.take().unwrap().stop().await;
    }

    /// Ends the operator at once.
    pub(crate) async fn kill(&mut self) {
        self.operator.take().unwrap().kill().await.unwrap();
    }

    /// Waits until the connection shows so many users.
    pub(crate) async fn read(&self, users: usize) {
        let what = format!("{users} users");
        self.bed
            .expect_directory("corp", &what, |directory| directory.users == users as u64)
            .await;
    }

    /// Leads to a probe and to another read: the Secret has another version, with the same key in it.
    pub(crate) async fn read_again(&self, mark: &str) {
        let annotation = json!({"metadata": {"annotations": {"mark": mark}}});
        self.bed.patch::<Secret>("corp", annotation).await;
    }

    pub(crate) async fn user(&self, name: &str, more: Value) -> ScimUser {
        self.bed.scim_user("corp", name, more).await
    }

    pub(crate) async fn group(&self, name: &str, more: Value) -> ScimGroup {
        self.bed.scim_group("corp", name, more).await
    }

    pub(crate) async fn expect(&self, name: &str, line: &str) -> ScimUser {
        self.bed.expect_object(name, line).await
    }

    pub(crate) async fn expect_group(&self, name: &str, line: &str) -> ScimGroup {
        self.bed.expect_object(name, line).await
    }

    /// Somebody new joins. Everything that an earlier change asks for has been planned by then.
    pub(crate) async fn newcomer(&self, name: &str) {
        self.user(name, json!({})).await;
        self.expect(name, "True Provisioned").await;
    }

    /// What is pending of a kind, and held.
    pub(crate) async fn held(&self, kind: ChangeKind, count: u32) -> PendingChanges {
        let fits = |pending: &&PendingChanges| pending.kind == kind && pending.count == count && pending.held;
        let what = format!("{count} held changes of kind {kind:?}");
        let directory = self
            .bed
            .expect_directory("corp", &what, |directory| {
                directory.pending.iter().any(|pending| fits(&pending))
            })
            .await;
        directory.pending.iter().find(fits).unwrap().clone()
    }

    /// The changes that the bridge made for clients so far: [`changes`].
    pub(crate) fn changes(&self) -> Vec<String> {
        changes(&self.bridge)
    }

    /// Ends the operator. Its bridge has made these changes, and no other.
    pub(crate) async fn end(mut self, expected: &[&str]) {
        self.stop().await;
        assert_eq!(self.changes(), expected);
    }

    /// Waits until the bridge has made so many changes for clients.
    pub(crate) async fn changed(&self, count: usize) {
        let changes = self.bridge.directory();
        let waited = changes.wait_for_changes(|changes| changes.len() >= count, DEADLINE);
        waited.await.unwrap_or_else(|changes| panic!("only {changes:?}"));
    }
}

/// A bridge with an owner and the users of these names.
pub(crate) fn seed(names: &[&str]) -> Seed {
    let users = names.iter().chain(&["owner"]);
    Seed {
        users: users
            .map(|name| User::new(address(name), "Given", "Family"))
            .collect(),
        groups: Vec::new(),
    }
}

/// The same with groups of these members.
pub(crate) fn grouped(names: &[&str], groups: &[(&str, &[&str])]) -> Seed {
    let groups = groups
        .iter()
        .map(|(name, members)| bridge_front::Group::new(*name, members.iter().map(|name| address(name))));
    Seed {
        groups: groups.collect(),
        ..seed(names)
    }
}

pub(crate) fn address(name: &str) -> String {
    format!("{name}@example.com")
}

/// `spec.members` with these users.
pub(crate) fn members(names: &[&str]) -> Value {
    let members = names.iter().map(|name| json!({"userName": address(name)}));
    members.collect()
}

/// A bridge with this directory, and a connection in mode `Manage` to it. `more` is set in `spec.provisioning`.
pub(crate) async fn managed(bed: &Bed<'_>, name: &str, seed: Seed, more: Value) -> Bridge {
    let bridge = bed.directory(seed).start().await.unwrap();
    bed.secret(name, KEY).await;
    manage(bed, name, &bridge, more).await;
    bridge.into()
}

/// A connection in mode `Manage` that is probed and read once within a test, unless something asks for more.
pub(crate) async fn manage(bed: &Bed<'_>, name: &str, bridge: &Front, more: Value) {
    let mut wanted = provisioning();
    wanted["mode"] = json!("Manage");
    wanted
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let more = spec()
        .with("interval", "6h")
        .with("timeout", "60s")
        .with("provisioning", wanted);
    bed.connect(name, bridge, more).await;
}

pub(crate) async fn expect_user(bed: &Bed<'_>, name: &str, line: &str) -> ScimUser {
    bed.expect_object(name, line).await
}

pub(crate) async fn expect_group(bed: &Bed<'_>, name: &str, line: &str) -> ScimGroup {
    bed.expect_object(name, line).await
}

/// The changes that the bridge made for clients: `Suspend ada`, `AddMember staff: ada kim`. Names are those of now.
pub(crate) fn changes(bridge: &Front) -> Vec<String> {
    let changes = bridge.directory().changes();
    changes.iter().map(|change| text(bridge, change)).collect()
}

fn text(bridge: &Front, change: &Change) -> String {
    let directory = bridge.directory();
    let user = |id: &str| {
        directory.user(id).map_or_else(
            || id.to_owned(),
            |user| user.user_name.trim_end_matches("@example.com").to_owned(),
        )
    };
    let group = |id: &str| {
        directory
            .group(id)
            .map_or_else(|| id.to_owned(), |group| group.display_name)
    };
    let name = match change.act {
        Act::CreateGroup | Act::RenameGroup | Act::AddMember | Act::RemoveMember | Act::DeleteGroup => {
            group(&change.id)
        }
        Act::CreateUser
        | Act::Suspend
        | Act::Reactivate
        | Act::RenameUser
        | Act::ChangeName
        | Act::ChangeContact
        | Act::DeleteUser => user(&change.id),
    };
    let mut members: Vec<String> = change.members.iter().map(|id| user(id)).collect();
    members.sort();
    let joined = members.join(" ");
    let colon = if members.is_empty() { "" } else { ": " };
    format!("{:?} {name}{colon}{joined}", change.act)
}

/// Who is in a group, by name, in order.
pub(crate) fn in_group(bridge: &Front, group: &str) -> Vec<String> {
    let directory = bridge.directory();
    let members = directory.group_named(group).unwrap().members;
    let name = |id: &str| match directory.user(id) {
        Some(user) => user.user_name.trim_end_matches("@example.com").to_owned(),
        None => id.to_owned(),
    };
    let mut members: Vec<String> = members.iter().map(|member| name(&member.value)).collect();
    members.sort();
    members
}

/// Whether this user is active.
pub(crate) fn is_active(bridge: &Front, name: &str) -> bool {
    bridge.directory().user_named(&address(name)).unwrap().active
}

/// The requests that could change something: `POST Users`, `PATCH Groups/ID`.
pub(crate) fn writes(bridge: &Front) -> Vec<String> {
    let requests = bridge.requests();
    let writes = requests.iter().filter(|request| request.method != "GET");
    writes
        .map(|request| {
            let (_, path) = request.target.split_once("/scim/").unwrap();
            format!("{} {path}", request.method)
        })
        .collect()
}

/// How many reads of the whole directory have begun.
pub(crate) fn reads(bridge: &Front) -> usize {
    let requests = bridge.requests();
    requests.iter().filter(|request| begins_a_read(request)).count()
}

pub(crate) fn begins_a_read(request: &RequestRecord) -> bool {
    request.target.ends_with("/scim/Users?startIndex=1&count=100")
}

/// Fails for a request that no version of the operator may send.
fn assert_form(request: &RequestRecord) {
    let sent = format!("{} {}", request.method, request.target);
    match request.method.as_str() {
        "GET" => assert!(request.body.is_empty(), "{sent} has a body"),
        "POST" => {
            let is_list = ["/scim/Users", "/scim/Groups"]
                .iter()
                .any(|end| request.target.ends_with(end));
            assert!(is_list, "{sent}");
            let fields = request.json().unwrap();
            let known = ["schemas", "userName", "name", "emails", "active", "displayName"];
            for field in fields.as_object().unwrap().keys() {
                assert!(known.contains(&field.as_str()), "{sent} has {field}");
            }
            let is_group = request.target.ends_with("Groups");
            assert_eq!(fields.get("displayName").is_some(), is_group, "{sent}");
        }
        "PATCH" => {
            let body = request.json().unwrap();
            let operations = body["Operations"].as_array().unwrap();
            assert!(!operations.is_empty() && operations.len() <= 100, "{sent}");
            for operation in operations {
                assert_eq!(
                    operation["op"], operations[0]["op"],
                    "{sent} has two kinds of operations"
                );
                assert_operation(&sent, operation);
            }
        }
        _ => panic!("{sent}"),
    }
}

fn assert_operation(sent: &str, operation: &Value) {
    let path = operation["path"].as_str().unwrap_or_default();
    let value = &operation["value"];
    match operation["op"].as_str().unwrap() {
        "replace" if path == "active" => assert!(value.is_boolean(), "{sent}"),
        "replace" => {
            let names = ["userName", "name.givenName", "name.familyName", "displayName"];
            assert!(
                names.contains(&path) && value.is_string(),
                "{sent} replaces {path}"
            );
            let is_group = sent.contains("/scim/Groups/");
            assert_eq!(path == "displayName", is_group, "{sent} replaces {path}");
        }
        "add" => {
            let members = value.as_array().unwrap().len();
            assert!(path == "members" && (1..=100).contains(&members), "{sent}");
        }
        "remove" => {
            let filter = path
                .strip_prefix("members[value eq \"")
                .and_then(|rest| rest.strip_suffix("\"]"));
            let is_one = filter.is_some_and(|id| !id.is_empty() && !id.contains('"'));
            assert!(is_one && value.is_null(), "{sent} removes {path}");
        }
        other => panic!("{sent} has {other}"),
    }
}
