//! Users and groups follow their connection, whatever their own labels say.

use bridge_front::{Front, Seed, User};
use kube::api::ListParams;
use scim_bridge_operator::{
    api::{group::ScimGroup, user::ScimUser},
    clock::{Clock as _, SystemClock},
};
use serde_json::{Value, json};
use testbed::{
    bed::{Bed, DEADLINE, KEY, provisioning, writes},
    spec, wait,
};

use crate::fleet::{DEFAULT, Fleet, create};

const LABEL: &str = "scimbridge.dev/shard";

fn seed(names: &[&str]) -> Seed {
    let users = names.iter().chain(&["owner"]);
    Seed {
        users: users
            .map(|name| User::new(format!("{name}@example.com"), "Given", "Family"))
            .collect(),
        groups: Vec::new(),
    }
}

/// A connection in mode `Manage`, in this shard from its first moment on.
async fn manage(bed: &Bed<'_>, name: &str, shard: &str, bridge: &Front) {
    bed.secret(name, KEY).await;
    let mut wanted = provisioning();
    wanted["mode"] = json!("Manage");
    let more = spec()
        .with("interval", "6h")
        .with("timeout", "60s")
        .with("provisioning", wanted);
    create(bed, name, Some(shard), bridge, more).await;
}

/// Waits until exactly this shard has series of this directory.
async fn keeps(fleet: &Fleet<'_>, connection: &str, shard: &str) {
    let series = format!(r#"name="{connection}""#);
    let kept = wait::until(DEADLINE, "one shard to keep the directory", async || {
        let mut keepers = Vec::new();
        for shard in ["a", "b", DEFAULT] {
            let metrics = fleet.of(shard).metrics().await.unwrap();
            let mut lines = metrics.lines();
            if lines.any(|line| line.starts_with("scim_bridge_directory_users{") && line.contains(&series)) {
                keepers.push(shard);
            }
        }
        if keepers == [shard] {
            Ok(())
        } else {
            Err(format!("{keepers:?}"))
        }
    });
    kept.await.unwrap_or_else(|error| panic!("{connection}: {error}"));
}

async fn label<K: testbed::bed::DirectoryObject>(bed: &Bed<'_>, shard: &str) {
    let objects = bed.api::<K>().list(&ListParams::default()).await.unwrap();
    for object in objects {
        let label: Value = json!({"metadata": {"labels": {LABEL: shard}}});
        bed.patch::<K>(object.meta().name.as_ref().unwrap(), label).await;
    }
}

#[tokio::test]
async fn users_and_groups_follow_their_connection() {
    let bed = Bed::with_provisioning("people").await;
    let bridge = bed.directory(seed(&["kim"])).start().await.unwrap();
    let fleet = Fleet::start_with(&bed, &["a", "b"], &["provisioning.enabled=true"]).await;
    manage(&bed, "corp", "a", &bridge).await;
    bed.scim_user("corp", "ada", json!({})).await;
    bed.scim_group(
        "corp",
        "staff",
        json!({"members": [{"userName": "kim@example.com"}]}),
    )
    .await;
    bed.expect_object::<ScimUser>("ada", "True Provisioned").await;
    bed.expect_object::<ScimGroup>("staff", "True Provisioned").await;
    keeps(&fleet, "corp", "a").await;
    // Their own labels say nothing.
    label::<ScimUser>(&bed, "b").await;
    label::<ScimGroup>(&bed, "b").await;
    bed.scim_user("corp", "sam", json!({})).await;
    bed.expect_object::<ScimUser>("sam", "True Provisioned").await;
    keeps(&fleet, "corp", "a").await;
    // The connection takes them along.
    crate::fleet::assign(&bed, "corp", Some("b")).await;
    keeps(&fleet, "corp", "b").await;
    bed.scim_user("corp", "eve", json!({})).await;
    bed.expect_object::<ScimUser>("eve", "True Provisioned").await;
    let expected = [
        "POST Users",
        "POST Groups",
        "PATCH Groups",
        "POST Users",
        "POST Users",
    ];
    let sent = writes(&bridge);
    let sent: Vec<_> = sent
        .iter()
        .map(|write| write.rsplit_once('/').map_or(write.as_str(), |(path, _)| path))
        .collect();
    assert_eq!(sent, expected);
}

/// Another process manages the bridge already: the younger connection is refused, also after a restart.
#[tokio::test]
async fn of_two_connections_in_two_shards_the_elder_manages_the_bridge() {
    let bed = Bed::with_provisioning("elder").await;
    let bridge = bed.directory(seed(&[])).start().await.unwrap();
    let mut fleet = Fleet::start_with(&bed, &["a", "b"], &["provisioning.enabled=true"]).await;
    manage(&bed, "elder", "a", &bridge).await;
    bed.scim_user("elder", "ada", json!({})).await;
    bed.expect_object::<ScimUser>("ada", "True Provisioned").await;
    // Kubernetes knows the age of an object by the second.
    let created = bed.get("elder").await.metadata.creation_timestamp.unwrap().0;
    let later = wait::until(DEADLINE, "another second", async || {
        (SystemClock.now().as_second() > created.as_second()).then_some(())
    });
    later.await.unwrap_or_else(|error| panic!("{error}"));
    manage(&bed, "younger", "b", &bridge).await;
    bed.scim_user("younger", "kim", json!({})).await;
    bed.expect_object::<ScimUser>("kim", "False ProvisioningOff Stalled")
        .await;
    fleet.stop("b").await;
    bed.scim_user("younger", "sam", json!({})).await;
    fleet
        .begin_with("b", &["a", "b"], &["provisioning.enabled=true"])
        .await;
    bed.expect_object::<ScimUser>("sam", "False ProvisioningOff Stalled")
        .await;
    bed.scim_user("elder", "eve", json!({})).await;
    bed.expect_object::<ScimUser>("eve", "True Provisioned").await;
    assert_eq!(writes(&bridge), ["POST Users"; 2]);
}
