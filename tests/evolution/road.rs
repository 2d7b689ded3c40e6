//! The road from v1alpha1 to v1beta1, walked on a real API server: the steps of `docs/api-evolution.md`, with a
//! connection in place that must lose nothing.

use std::time::Duration;

use scim_bridge_operator::api::{self, FIELD_MANAGER};
use serde_json::{Value, json};
use testbed::{Cluster, cluster::CLUSTER, spec, wait};

/// Discovery follows the CRD by a moment.
const SOON: Duration = Duration::from_mins(1);
const CRD: &str = "scimbridgeconnections.scimbridge.dev";

/// The definition with these versions: name, whether it is served, whether it is stored.
fn crd(versions: &[(&str, bool, bool)]) -> Value {
    let mut crd = serde_json::to_value(api::crd()).unwrap();
    let only = crd["spec"]["versions"][0].clone();
    let made = versions.iter().map(|(name, served, storage)| {
        let mut version = only.clone();
        version["name"] = json!(name);
        version["served"] = json!(served);
        version["storage"] = json!(storage);
        version
    });
    crd["spec"]["versions"] = made.collect();
    crd
}

fn connection(version: &str, name: &str) -> Value {
    let spec = spec()
        .url("https://scim.example.com")
        .secret("corp")
        .with("interval", "1m");
    let mut object = testbed::connection(&format!("default/{name}"), spec);
    object["apiVersion"] = format!("scimbridge.dev/{version}").into();
    object
}

/// A cluster, as its users see it.
struct Road(Cluster);

impl Road {
    /// What kubectl says to this, refused or not.
    async fn ask(&self, args: &[&str], input: &Value) -> Result<String, String> {
        let output = self.0.kubectl().output(args, &input.to_string()).await.unwrap();
        let [said, refused] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        if output.status.success() {
            Ok(said)
        } else {
            Err(refused)
        }
    }

    async fn tell(&self, args: &[&str], input: &Value) -> String {
        self.ask(args, input)
            .await
            .unwrap_or_else(|refused| panic!("{args:?}: {refused}"))
    }

    /// Applies the definition, and waits until exactly the served versions answer.
    async fn define(&self, crd: &Value) {
        self.tell(&["apply", "--server-side", "-f", "-"], crd).await;
        for version in ["v1alpha1", "v1beta1"] {
            let of = crd["spec"]["versions"].as_array().unwrap().iter();
            let is_served = of.clone().any(|of| of["name"] == version && of["served"] == true);
            let path = format!("/apis/scimbridge.dev/{version}/namespaces/default/scimbridgeconnections");
            let what = format!("{version} to be served: {is_served}");
            let awaited = wait::until(SOON, &what, async || {
                let answer = self.ask(&["get", "--raw", &path], &Value::Null).await;
                if answer.is_ok() == is_served {
                    Ok(())
                } else {
                    Err(format!("{answer:?}"))
                }
            });
            awaited.await.unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// The object by one of its versions.
    async fn get(&self, version: &str, name: &str) -> Value {
        let resource = format!("scimbridgeconnections.{version}.scimbridge.dev/{name}");
        let said = self
            .tell(
                &[
                    "get",
                    "-n",
                    "default",
                    &resource,
                    "-o",
                    "json",
                    "--show-managed-fields",
                ],
                &Value::Null,
            )
            .await;
        serde_json::from_str(&said).unwrap()
    }

    /// Applies to the status, as the operator does.
    async fn report(&self, version: &str, name: &str, status: Value) {
        let mut object = connection(version, name);
        object.as_object_mut().unwrap().remove("spec");
        object["status"] = status;
        let manager = format!("--field-manager={FIELD_MANAGER}");
        self.tell(
            &[
                "apply",
                "--server-side",
                "--subresource=status",
                &manager,
                "-f",
                "-",
            ],
            &object,
        )
        .await;
    }

    /// Applies a connection, as its user does.
    async fn apply(&self, version: &str, name: &str) {
        let object = connection(version, name);
        self.tell(&["apply", "--server-side", "--filename", "-"], &object)
            .await;
    }

    /// Says that nothing is stored by the old version any more.
    async fn forget(&self) {
        let patch = r#"{"status":{"storedVersions":["v1beta1"]}}"#;
        let args = [
            "patch",
            "crd",
            CRD,
            "--subresource=status",
            "--type=merge",
            "--patch",
            patch,
        ];
        self.tell(&args, &Value::Null).await;
    }
}

/// Without what says by which version it was read.
fn content(object: &Value) -> Value {
    let mut content = object.clone();
    content.as_object_mut().unwrap().remove("apiVersion");
    content
}

#[tokio::test]
async fn v1beta1_comes_without_a_loss() {
    if std::env::var_os(CLUSTER).is_some_and(|choice| !choice.is_empty()) {
        return;
    }
    let road = Road(Cluster::start().await.unwrap());

    // Today.
    road.define(&crd(&[("v1alpha1", true, true)])).await;
    road.apply("v1alpha1", "old").await;
    let status = json!({"observedGeneration": 1, "scimApi": "Enabled", "consecutiveFailures": 2});
    road.report("v1alpha1", "old", status).await;
    let before = road.get("v1alpha1", "old").await;
    assert_eq!(before["status"]["consecutiveFailures"], 2);

    // Step 1: served beside it. The same object by either name; nothing was written.
    road.define(&crd(&[("v1alpha1", true, true), ("v1beta1", true, false)]))
        .await;
    assert_eq!(road.get("v1alpha1", "old").await, before);
    assert_eq!(content(&road.get("v1beta1", "old").await), content(&before));
    road.apply("v1beta1", "new").await;
    let [by_old, by_new] = [
        road.get("v1alpha1", "new").await,
        road.get("v1beta1", "new").await,
    ];
    assert_eq!(content(&by_old), content(&by_new));

    // An operator of the next version reports by the new name: what it no longer says goes, for the field manager is
    // still the same.
    road.report(
        "v1beta1",
        "old",
        json!({"observedGeneration": 1, "scimApi": "Enabled"}),
    )
    .await;
    let reported = road.get("v1alpha1", "old").await;
    assert_eq!(
        reported["status"].get("consecutiveFailures"),
        None,
        "{}",
        reported["status"]
    );
    assert_eq!(reported["status"]["scimApi"], "Enabled");

    // Step 2: stored. What was stored before stays as it is and can be read. Going back is possible.
    road.define(&crd(&[("v1alpha1", true, false), ("v1beta1", true, true)]))
        .await;
    assert_eq!(road.get("v1alpha1", "old").await, reported);
    road.apply("v1alpha1", "last").await;
    road.define(&crd(&[("v1alpha1", true, true), ("v1beta1", true, false)]))
        .await;
    road.get("v1alpha1", "last").await;
    road.define(&crd(&[("v1alpha1", true, false), ("v1beta1", true, true)]))
        .await;

    // Step 3: no longer served. It stays in the definition, so nothing has to be stored anew.
    road.define(&crd(&[("v1alpha1", false, false), ("v1beta1", true, true)]))
        .await;
    assert_eq!(content(&road.get("v1beta1", "old").await), content(&reported));
    for name in ["old", "new", "last"] {
        let generation = |object: &Value| object["metadata"]["generation"].clone();
        let before = road.get("v1beta1", name).await;
        road.apply("v1beta1", name).await;
        road.report(
            "v1beta1",
            name,
            json!({"observedGeneration": 1, "scimApi": "Disabled"}),
        )
        .await;
        let after = road.get("v1beta1", name).await;
        assert_eq!(after["spec"], before["spec"], "{name}");
        assert_eq!(after["status"]["scimApi"], "Disabled", "{name}");
        // The same generation: the operator has no reason to probe.
        assert_eq!(generation(&after), generation(&before), "{name}");
    }
}

/// What happens where it is removed all the same, and that putting it back mends it.
#[tokio::test]
async fn the_old_version_stays_in_the_definition() {
    if std::env::var_os(CLUSTER).is_some_and(|choice| !choice.is_empty()) {
        return;
    }
    let road = Road(Cluster::start().await.unwrap());
    let both = crd(&[("v1alpha1", true, false), ("v1beta1", true, true)]);
    let alone = crd(&[("v1beta1", true, true)]);
    road.define(&crd(&[("v1alpha1", true, true)])).await;
    road.apply("v1alpha1", "rewritten").await;
    road.apply("v1alpha1", "left-behind").await;
    road.define(&both).await;

    // The API server remembers by which versions it has ever stored something.
    let apply = ["apply", "--server-side", "--filename", "-"];
    let refused = road.ask(&apply, &alone).await.unwrap_err();
    assert!(refused.contains("status.storedVersions"), "{refused}");

    // Told that there are none any more, it believes it; then one object that was not stored anew is enough, and
    // none can be listed.
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    let before = road.get("v1beta1", "rewritten").await;
    road.tell(&["replace", "--filename", "-"], &before).await;
    assert_ne!(version(&road.get("v1beta1", "rewritten").await), version(&before));
    road.forget().await;
    road.tell(&apply, &alone).await;
    let list = [
        "get",
        "--namespace",
        "default",
        "scimbridgeconnections.v1beta1.scimbridge.dev",
    ];
    let failed = wait::until(SOON, "lists to fail", async || {
        road.ask(&list, &Value::Null).await.is_err().then_some(())
    });
    failed.await.unwrap_or_else(|error| panic!("{error}"));
    road.define(&both).await;

    // Stored anew, all can be read. But whoever applied them is known as an owner by the old version's name, and
    // nobody can apply any more, the operator included.
    let left_behind = road.get("v1beta1", "left-behind").await;
    road.tell(&["replace", "--filename", "-"], &left_behind).await;
    road.forget().await;
    road.define(&alone).await;
    road.get("v1beta1", "left-behind").await;
    let refused = road
        .ask(&apply, &connection("v1beta1", "rewritten"))
        .await
        .unwrap_err();
    assert!(refused.contains("invalid group/version"), "{refused}");

    road.define(&both).await;
    road.apply("v1beta1", "rewritten").await;
}

/// Why all served versions have the same schema: a field that only the new one has is lost at once where the old one is
/// stored, and otherwise as soon as anybody writes by the old one.
#[tokio::test]
async fn a_field_of_one_version_only_is_lost_by_the_other() {
    if std::env::var_os(CLUSTER).is_some_and(|choice| !choice.is_empty()) {
        return;
    }
    let road = Road(Cluster::start().await.unwrap());
    let with_note = |versions: &[(&str, bool, bool)]| {
        let mut crd = crd(versions);
        let spec = "/spec/versions/1/schema/openAPIV3Schema/properties/spec/properties";
        crd.pointer_mut(spec).unwrap()["note"] = json!({"type": "string", "maxLength": 8});
        crd
    };
    let mut object = connection("v1beta1", "noted");
    object["spec"]["note"] = json!("kept?");
    let replace = ["replace", "--validate=ignore", "--filename", "-"];

    road.define(&with_note(&[("v1alpha1", true, true), ("v1beta1", true, false)]))
        .await;
    road.tell(&["create", "--validate=ignore", "--filename", "-"], &object)
        .await;
    assert_eq!(road.get("v1beta1", "noted").await["spec"].get("note"), None);

    road.define(&with_note(&[("v1alpha1", true, false), ("v1beta1", true, true)]))
        .await;
    road.tell(&replace, &object).await;
    assert_eq!(road.get("v1beta1", "noted").await["spec"]["note"], "kept?");
    let by_old = road.get("v1alpha1", "noted").await;
    assert_eq!(by_old["spec"].get("note"), None);
    road.tell(&replace, &by_old).await;
    assert_eq!(road.get("v1beta1", "noted").await["spec"].get("note"), None);
}
