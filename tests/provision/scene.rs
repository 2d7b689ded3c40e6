//! What most of these tests begin with, and look at.

use bridge_front::{Front, Group, Seed, User};
use k8s_openapi::api::core::v1::Secret;
use scim_bridge_operator::api::user::ScimUser;
use serde_json::{Value, json};
use testbed::{
    bed::{Bed, DEADLINE, DirectoryObject, KEY, provisioning},
    spec,
};

/// Everybody on the bridge of most tests, who are in one group.
pub(crate) const PEOPLE: [&str; 3] = ["ada", "kim", "sam"];

/// [`PEOPLE`] and an owner.
pub(crate) fn people() -> Seed {
    let address = |name: &str| format!("{name}@example.com");
    let users = PEOPLE.iter().chain(&["owner"]);
    Seed {
        users: users
            .map(|name| User::new(address(name), "Given", "Family"))
            .collect(),
        groups: vec![Group::new("staff", PEOPLE.map(address))],
    }
}

/// A bridge with [`people`], a connection to it that is read once within a test, a `ScimUser` for each of [`PEOPLE`] and
/// a `ScimGroup` for their group. No operator looks at them yet.
pub(crate) async fn declared(bed: &Bed<'_>, name: &str) -> Front {
    let bridge = bed.directory(people()).start().await.unwrap();
    bed.secret(name, KEY).await;
    connect(bed, name, &bridge, json!({})).await;
    for user in PEOPLE {
        bed.scim_user(name, user, json!({})).await;
    }
    let members = PEOPLE.map(|user| json!({"userName": format!("{user}@example.com")}));
    bed.scim_group(name, "staff", json!({"members": members})).await;
    bridge
}

/// A connection that is probed and read once within a test; `more` is set in `spec.provisioning`.
pub(crate) async fn connect(bed: &Bed<'_>, name: &str, bridge: &Front, more: Value) {
    let mut wanted = provisioning();
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

/// Waits until everything that [`declared`] made is as it is declared.
pub(crate) async fn all_provisioned(bed: &Bed<'_>) {
    for user in PEOPLE {
        bed.expect_object::<ScimUser>(user, "True Provisioned").await;
    }
    bed.expect_object::<scim_bridge_operator::api::group::ScimGroup>("staff", "True Provisioned")
        .await;
}

/// Leads to a probe and then to another read: the Secret has another version, with the same key in it.
pub(crate) async fn read_again(bed: &Bed<'_>, secret: &str, mark: &str) {
    let annotation = json!({"metadata": {"annotations": {"mark": mark}}});
    bed.patch::<Secret>(secret, annotation).await;
}

/// The versions of all objects of a kind, by name.
pub(crate) async fn versions<K: DirectoryObject>(bed: &Bed<'_>) -> Vec<(String, String)> {
    let list = bed
        .api::<K>()
        .list(&kube::api::ListParams::default())
        .await
        .unwrap();
    let mut versions: Vec<_> = list
        .items
        .into_iter()
        .map(|object| {
            let metadata = object.meta().clone();
            (metadata.name.unwrap(), metadata.resource_version.unwrap())
        })
        .collect();
    versions.sort();
    versions
}

/// How many reads of the directory the bridge has seen begin. A probe asks for fewer users.
pub(crate) fn reads(bridge: &Front) -> usize {
    let requests = bridge.requests();
    requests
        .iter()
        .filter(|request| request.target.ends_with("/scim/Users?startIndex=1&count=100"))
        .count()
}

/// Waits until so many reads of the directory have begun.
pub(crate) async fn until_read(bridge: &Front, times: usize) {
    let begun = bridge.wait_until(
        |traffic| {
            let begins = |target: &str| target.ends_with("/scim/Users?startIndex=1&count=100");
            let reads = traffic.requests.iter().filter(|request| begins(&request.target));
            reads.count() >= times
        },
        DEADLINE,
    );
    begun.await.unwrap_or_else(|unmet| panic!("{unmet}"));
}

/// Declares somebody whom no bridge has, and waits until the plan of this connection has so many creations. Everything
/// that is due to the objects of the connection has been written by then.
pub(crate) async fn newcomer(bed: &Bed<'_>, connection: &str, name: &str, creations: u32) {
    bed.scim_user(connection, name, json!({})).await;
    bed.expect_object::<ScimUser>(name, "False ChangePlanned Stalled")
        .await;
    bed.expect_directory(connection, "the newcomer's creation", |directory| {
        let mut pending = directory.pending.iter();
        pending.any(|pending| pending.count == creations)
    })
    .await;
}

/// Fails if the bridge received anything but GET.
pub(crate) fn assert_only_reads(bridge: &Front) {
    for request in bridge.requests() {
        assert_eq!(request.method.as_str(), "GET", "{}", request.target);
    }
    assert!(bridge.directory().changes().is_empty());
}
