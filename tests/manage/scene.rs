//! What most of these tests begin with, and look at.

use bridge_front::{Front, Seed, User};
use scim_bridge_operator::api::{group::ScimGroup, user::ScimUser};
use serde_json::{Value, json};
use testbed::{
    bed::{Bed, KEY, provisioning},
    spec,
};

/// A bridge with an owner and the users of these names.
pub(crate) fn seed(names: &[&str]) -> Seed {
    let users = names.iter().chain(&["owner"]);
    Seed {
        users: users
            .map(|name| User::new(format!("{name}@example.com"), "Given", "Family"))
            .collect(),
        groups: Vec::new(),
    }
}

/// Starts a bridge with this directory, and a connection in mode `Manage` to it. `more` is set in `spec.provisioning`.
pub(crate) async fn managed(bed: &Bed<'_>, seed: Seed, more: Value) -> Front {
    let bridge = bed.directory(seed).start().await.unwrap();
    bed.secret("corp", KEY).await;
    manage(bed, "corp", &bridge, more).await;
    bridge
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

/// The changes that the bridge received: `POST Users`, `PATCH Groups/ID`.
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
