//! `deploy/examples/`.

use std::{collections::BTreeSet, fs};

use scim_bridge_operator::{
    api::{connection::ScimBridgeConnection, group::ScimGroup, user::ScimUser},
    domain::directory::{
        budget::DigestKey,
        plan::Policy,
        wish::{GroupWish, UserWish},
    },
};
use serde_json::Value;
use testbed::{Cluster, workspace};

use crate::render::{Name, Objects, read};

/// The namespace of all examples.
const NAMESPACE: &str = "identity";
/// What `trouble.yaml` leaves out on purpose.
const MISSING: &str = "missing-secret";

/// Name and objects of each file.
fn examples() -> Vec<(String, Objects)> {
    let mut names: Vec<_> = fs::read_dir(workspace::root().join("deploy/examples"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let parse = |name: String| {
        let objects = Objects::parse(&read(&format!("deploy/examples/{name}")));
        (name, objects)
    };
    names.into_iter().map(parse).collect()
}

fn connections(objects: &Objects) -> impl Iterator<Item = &Value> {
    objects.of_kind("ScimBridgeConnection")
}

#[test]
fn every_identity_provider_has_an_example() {
    let crd = serde_json::to_value(scim_bridge_operator::api::crd()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let known = schema["identityProvider"]["enum"].as_array().unwrap();
    let known: BTreeSet<_> = known.iter().map(|name| name.as_str().unwrap()).collect();
    assert!(known.len() > 5, "{known:?}");
    let examples = examples();
    // Trouble is not what somebody copies.
    let good = examples.iter().filter(|(name, _)| name != "trouble.yaml");
    let shown: BTreeSet<_> = good
        .flat_map(|(_, objects)| connections(objects))
        .filter_map(|connection| connection["spec"]["identityProvider"].as_str())
        .collect();
    let missing: Vec<_> = known.difference(&shown).collect();
    assert!(missing.is_empty(), "deploy/examples/ has none for {missing:?}");
}

/// Whoever applies one file has all that its connections need.
#[test]
fn what_a_connection_refers_to_is_in_its_file() {
    let mut references = 0;
    for (file, objects) in examples() {
        let names: BTreeSet<_> = objects.names().into_iter().collect();
        for connection in connections(&objects) {
            let spec = &connection["spec"];
            let wanted = [
                ("Secret", &spec["apiKeySecretRef"]["name"]),
                ("Secret", &spec["nextApiKeySecretRef"]["name"]),
                (
                    spec["tls"]["caRef"]["kind"].as_str().unwrap_or_default(),
                    &spec["tls"]["caRef"]["name"],
                ),
            ];
            for (kind, name) in wanted {
                let Some(name) = name.as_str() else { continue };
                references += 1;
                let there = names.contains(&format!("{kind} {NAMESPACE}/{name}"));
                assert_eq!(there, name != MISSING, "{file}: {kind} {name}");
            }
        }
    }
    assert!(references > 15, "{references} references were seen");
}

/// A user or group belongs to a connection beside it, whose scope has it. The operator can use them all.
#[test]
fn users_and_groups_are_in_the_scope_of_their_connection() {
    let mut seen = BTreeSet::new();
    for (file, objects) in examples() {
        for object in &objects.0 {
            let kind = object["kind"].as_str().unwrap();
            if !["ScimUser", "ScimGroup"].contains(&kind) {
                continue;
            }
            let named = |connection: &&Value| {
                connection["metadata"]["name"] == object["spec"]["connectionRef"]["name"]
            };
            let connection = connections(&objects).find(named);
            let connection =
                connection.unwrap_or_else(|| panic!("{file}: {} has no connection", Name(object)));
            let connection: ScimBridgeConnection = serde_json::from_value(connection.clone()).unwrap();
            let policy = connection.spec.provisioning.as_ref().unwrap();
            let Policy { scope, protected, .. } =
                Policy::parse(policy, None, DigestKey::new(&[7; 32])).unwrap();
            let may_change_user = |name: &str| scope.has_user(name) && !protected.has_user(name);
            if kind == "ScimUser" {
                let user: ScimUser = serde_json::from_value(object.clone()).unwrap();
                let wish = UserWish::of("uid", None, &user.spec).unwrap();
                assert!(
                    may_change_user(wish.user_name.as_str()),
                    "{file}: {}",
                    Name(object)
                );
            } else {
                let group: ScimGroup = serde_json::from_value(object.clone()).unwrap();
                let wish = GroupWish::of("uid", None, &group.spec).unwrap();
                let name = wish.display_name.as_str();
                assert!(
                    scope.has_group(name) && !protected.has_group(name),
                    "{file}: {}",
                    Name(object)
                );
                let mut members = wish.members.iter().map(|member| member.user_name.as_str());
                assert!(members.all(may_change_user), "{file}: {}", Name(object));
            }
            seen.insert(kind.to_owned());
        }
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
}

/// Names and addresses in examples are nobody's.
#[test]
fn no_example_has_a_real_address() {
    for (file, objects) in examples() {
        for object in &objects.0 {
            for word in object.to_string().split(['"', ' ']) {
                let domain = word.split_once('@').map(|(_, domain)| domain);
                assert!(
                    domain.is_none_or(|domain| domain == "example.com"),
                    "{file}: {word}"
                );
            }
        }
    }
}

/// Keys in examples end up in clusters: they must look like what they are.
#[test]
fn no_example_holds_a_key() {
    let known = [
        "not-a-real-key",
        "not-a-real-key-either",
        "not-the-key-of-this-bridge",
    ];
    let mut keys = 0;
    for (file, objects) in examples() {
        for secret in objects.of_kind("Secret") {
            assert_eq!(secret.get("data"), None, "{file}: {}", Name(secret));
            for (entry, value) in secret["stringData"].as_object().unwrap() {
                keys += 1;
                assert!(known.contains(&value.as_str().unwrap()), "{file}: {entry}");
            }
        }
    }
    assert!(keys > 10, "{keys} keys were seen");
}

/// By a real API server, with every warning counted as a refusal. Nothing is stored, but for the namespace.
#[tokio::test]
async fn the_api_server_accepts_every_example() {
    let cluster = Cluster::shared().await.unwrap();
    let root = workspace::root();
    let first = [
        root.join("deploy/crd.yaml"),
        root.join("deploy/provisioning/crds.yaml"),
        root.join("deploy/examples/00-namespace.yaml"),
    ];
    cluster
        .install(&first.each_ref().map(std::path::PathBuf::as_path))
        .await
        .unwrap();
    let mut accepted = 0;
    for (file, objects) in examples() {
        let path = root.join("deploy/examples").join(&file).display().to_string();
        let args = [
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "--warnings-as-errors",
            "--filename",
            &path,
        ];
        let output = cluster.kubectl().output(&args, "").await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{file}: {said}");
        let lines = String::from_utf8_lossy(&output.stdout).lines().count();
        assert_eq!(lines, objects.0.len(), "{file}: {said}");
        accepted += lines;
    }
    assert!(accepted > 25, "{accepted} objects were applied");
}
