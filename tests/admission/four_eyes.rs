//! `deploy/examples/four-eyes.yaml`: what the example policy allows and refuses, by a real API server.

use serde_json::{Value, json};
use testbed::{Failure, wait};

use crate::server::{CONNECTIONS, SOON, Server, deploy};

/// The policy refuses, and says this.
const LACKS_RELEASE: &str = r#"you lack the verb "release""#;
const WRITES_PEOPLE: &str = "so somebody else has to release changes";
const LACKS_PROTECT: &str = r#"you lack the verb "protect""#;
const MIXED: &str = "release changes in a request that changes nothing else";

/// A change of the connection as a person: who, the patch, and what the API server says; nothing where it accepts it.
#[rustfmt::skip]
const ROWS: &[(&str, &str, &str)] = &[
    // Releases.
    ("releaser", r#"{"metadata":{"annotations":{"scimbridge.dev/release":"0b"}}}"#, ""),
    ("writer", r#"{"metadata":{"annotations":{"scimbridge.dev/release":"0b"}}}"#, LACKS_RELEASE),
    ("owner", r#"{"metadata":{"annotations":{"scimbridge.dev/release":"0b"}}}"#, LACKS_RELEASE),
    ("patcher", r#"{"metadata":{"annotations":{"scimbridge.dev/release":"0b"}}}"#, WRITES_PEOPLE),
    ("updater", r#"{"metadata":{"annotations":{"scimbridge.dev/release":"0b"}}}"#, WRITES_PEOPLE),
    ("creator", r#"{"metadata":{"annotations":{"scimbridge.dev/release":"0b"}}}"#, WRITES_PEOPLE),
    ("releaser", r#"{"metadata":{"annotations":{"scimbridge.dev/release":"0b"}},"spec":{"suspend":true}}"#, MIXED),
    // Nothing new is released.
    ("writer", r#"{"metadata":{"annotations":{"scimbridge.dev/release":"0a"}}}"#, ""),
    ("writer", r#"{"metadata":{"annotations":{"scimbridge.dev/release":null}}}"#, ""),
    ("writer", r#"{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"now"}}}"#, ""),
    // What provisioning may do.
    ("writer", r#"{"spec":{"interval":"1h"}}"#, ""),
    ("writer", r#"{"spec":{"provisioning":{"mode":"Manage"}}}"#, LACKS_PROTECT),
    ("writer", r#"{"spec":{"provisioning":{"scope":{"userNames":["*"]}}}}"#, LACKS_PROTECT),
    ("writer", r#"{"spec":{"provisioning":{"protected":{"userNames":["x@example.com"]}}}}"#, LACKS_PROTECT),
    ("writer", r#"{"spec":{"provisioning":{"limits":{"suspensions":1000}}}}"#, LACKS_PROTECT),
    ("writer", r#"{"spec":{"provisioning":null}}"#, LACKS_PROTECT),
    ("releaser", r#"{"spec":{"provisioning":{"limits":{"suspensions":1000}}}}"#, LACKS_PROTECT),
    ("owner", r#"{"spec":{"provisioning":{"mode":"Manage"}}}"#, ""),
    ("owner", r#"{"spec":{"provisioning":{"protected":{"userNames":["x@example.com"]}}}}"#, ""),
    ("owner", r#"{"spec":{"provisioning":null}}"#, ""),
];

/// A rule of RBAC in words: a resource, and verbs.
type Rule = (&'static str, &'static [&'static str]);

/// What each person may do.
#[rustfmt::skip]
const PEOPLE: &[(&str, &[Rule])] = &[
    ("releaser", &[]),
    ("writer", &[
        ("scimbridgeconnections", &["get", "create", "patch"]), ("scimusers", &["create", "update", "patch"]),
        ("scimgroups", &["create", "update", "patch"]),
    ]),
    ("owner", &[("scimbridgeconnections", &["get", "create", "patch", "protect"])]),
    ("patcher", &[("scimbridgeconnections", &["get", "patch", "release"]), ("scimgroups", &["patch"])]),
    ("updater", &[("scimbridgeconnections", &["get", "patch", "release"]), ("scimusers", &["update"])]),
    ("creator", &[("scimbridgeconnections", &["get", "patch", "release"]), ("scimusers", &["create"])]),
];

fn connection(name: &str, provisioning: bool) -> Value {
    let spec = testbed::spec().url("https://scim.example.com").secret("bridge");
    let mut connection = testbed::connection(name, spec);
    if provisioning {
        connection["spec"]["provisioning"] = json!({
            "mode": "Plan",
            "scope": {"userNames": ["*@example.com"]},
            "protected": {"userNames": ["owner@example.com"]},
        });
    }
    connection
}

/// Gives each person their rights in this namespace. The releaser has the role of the example.
fn rights(namespace: &str) -> Value {
    let mut objects = Vec::new();
    for (person, rules) in PEOPLE {
        let rules: Vec<Value> = rules
            .iter()
            .map(|(resource, verbs)| {
                json!({"apiGroups": ["scimbridge.dev"], "resources": [resource], "verbs": verbs})
            })
            .collect();
        let role = if rules.is_empty() {
            json!({"kind": "ClusterRole", "name": "scim-bridge-release"})
        } else {
            objects.push(json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                "metadata": {"name": person, "namespace": namespace}, "rules": rules,
            }));
            json!({"kind": "Role", "name": person})
        };
        let mut role_ref = role;
        role_ref["apiGroup"] = json!("rbac.authorization.k8s.io");
        objects.push(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": person, "namespace": namespace}, "roleRef": role_ref,
            "subjects": [{"kind": "User", "name": person, "apiGroup": "rbac.authorization.k8s.io"}],
        }));
    }
    json!({"apiVersion": "v1", "kind": "List", "items": objects})
}

/// What the API server says to this person; nothing if it accepts the request. Nothing is stored.
async fn said(server: &Server, person: &str, args: &[&str], input: &str) -> Result<String, Failure> {
    let namespace = server.namespace.to_string();
    let mut all = vec!["--as", person, "--namespace", &namespace];
    all.extend(args);
    all.push("--dry-run=server");
    let output = server.cluster.kubectl().output(&all, input).await?;
    if output.status.success() {
        return Ok(String::new());
    }
    Ok(String::from_utf8(output.stderr)?)
}

async fn patch(server: &Server, person: &str, patch: &str) -> Result<String, Failure> {
    let args = [
        "patch",
        CONNECTIONS.plural,
        "corp",
        "--type=merge",
        "--patch",
        patch,
    ];
    said(server, person, &args, "").await
}

#[tokio::test]
async fn nobody_releases_changes_that_they_could_have_written() -> Result<(), Failure> {
    let server = Server::start(CONNECTIONS, "four-eyes").await?;
    let kubectl = server.cluster.kubectl();
    let namespace = server.namespace.to_string();
    let example = deploy("examples/four-eyes.yaml").display().to_string();
    kubectl
        .run(&["apply", "--server-side", "--filename", &example])
        .await?;
    kubectl
        .run_with(&["apply", "--filename", "-"], &rights(&namespace).to_string())
        .await?;
    let mut corp = connection("corp", true);
    corp["metadata"]["annotations"] = json!({"scimbridge.dev/release": "0a"});
    server.create("corp", &corp).await?;

    // Who has no label has no policy.
    let release = ROWS[0].1;
    assert_eq!(patch(&server, "writer", release).await?, "");
    let label = ["label", "namespace", &namespace, "scimbridge.dev/four-eyes=true"];
    kubectl.run(&label).await?;
    wait::until(SOON, "the policy", async || {
        let said = patch(&server, "writer", release).await.ok()?;
        said.contains(LACKS_RELEASE).then_some(())
    })
    .await?;

    let mut faults = Vec::new();
    for (person, change, expected) in ROWS {
        let said = patch(&server, person, change).await?;
        if said.is_empty() != expected.is_empty() || !said.contains(expected) {
            faults.push(format!("{person}: {change}: expected {expected:?}, got {said:?}"));
        }
    }
    let mut released = connection("other", false);
    released["metadata"]["annotations"] = json!({"scimbridge.dev/release": "0b"});
    for (person, object, expected) in [
        ("writer", connection("other", false), ""),
        ("writer", connection("other", true), LACKS_PROTECT),
        ("owner", connection("other", true), ""),
        ("owner", released, MIXED),
    ] {
        let said = said(
            &server,
            person,
            &["create", "--filename", "-"],
            &object.to_string(),
        )
        .await?;
        if said.is_empty() != expected.is_empty() || !said.contains(expected) {
            faults.push(format!("{person}: {object}: expected {expected:?}, got {said:?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}
