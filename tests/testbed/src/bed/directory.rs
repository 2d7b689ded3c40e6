//! Users and groups: a cluster with their CRDs, and the operator's rights for them.

use std::fmt::Debug;

use bridge_front::{Builder, Front, Seed};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource, api::Patch, core::NamespaceResourceScope};
use scim_bridge_operator::api::{
    GROUP,
    directory::ProvisioningStatus,
    group::{ScimGroup, ScimGroupStatus},
    user::{ScimUser, ScimUserStatus},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{Bed, DEADLINE, LOOPBACK, Operator, installed, spec, status, user};
use crate::wait;

/// A kind of objects in a directory.
pub trait DirectoryObject:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + 'static
{
    /// Its conditions, and the generation that they are about.
    fn judged(&self) -> (Vec<Condition>, i64);
}

impl DirectoryObject for ScimUser {
    fn judged(&self) -> (Vec<Condition>, i64) {
        let ScimUserStatus {
            conditions,
            observed_generation,
            ..
        } = self.status.clone().unwrap_or_default();
        (conditions, observed_generation)
    }
}

impl DirectoryObject for ScimGroup {
    fn judged(&self) -> (Vec<Condition>, i64) {
        let ScimGroupStatus {
            conditions,
            observed_generation,
            ..
        } = self.status.clone().unwrap_or_default();
        (conditions, observed_generation)
    }
}

/// Status and reason of `Ready`, then the other conditions: `False ChangePlanned Stalled`.
pub fn directory_line(object: &impl DirectoryObject) -> String {
    let (conditions, _) = object.judged();
    let words = conditions
        .into_iter()
        .map(|condition| match condition.type_.as_str() {
            "Ready" => format!("{} {}", condition.status, condition.reason),
            _ => condition.type_,
        });
    words.collect::<Vec<_>>().join(" ")
}

/// `spec.provisioning` for everybody at `example.com`, and every group.
pub fn provisioning() -> Value {
    json!({
        "mode": "Plan",
        "scope": {"userNames": ["*@example.com"], "groups": ["*"]},
        "protected": {"userNames": ["owner@example.com"]},
        "requestsPerSecond": 50,
    })
}

/// The requests that could change something on this bridge: `POST Users`, `PATCH Groups/ID`.
pub fn writes(bridge: &Front) -> Vec<String> {
    let requests = bridge.requests();
    let writes = requests.iter().filter(|request| request.method != "GET");
    writes
        .map(|request| {
            let (_, path) = request.target.split_once("/scim/").unwrap_or_default();
            format!("{} {path}", request.method)
        })
        .collect()
}

impl Bed<'static> {
    /// A bed in whose cluster the CRDs of users and groups are.
    pub async fn with_provisioning(prefix: &str) -> Self {
        static INSTALLED: OnceCell<()> = OnceCell::const_new();
        let cluster = installed().await.cluster;
        INSTALLED
            .get_or_init(async || cluster.install_provisioning().await.unwrap())
            .await;
        Self::new(prefix).await
    }
}

impl Bed<'_> {
    /// An operator for this namespace that keeps users and groups, ready.
    pub async fn provider(&self, more: &[&str]) -> Operator {
        self.operator(&[&["--provisioning"], more].concat()).await
    }

    /// The same for every namespace: on a cluster of the test's own.
    pub async fn provider_everywhere(&self) -> Operator {
        let flags = [&["--leader-elect=false", "--provisioning"], &LOOPBACK[..]].concat();
        let operator = self.spawn_exactly_as(&self.kubeconfig, &flags).await;
        operator.ready(DEADLINE).await.unwrap();
        operator
    }

    /// A bridge to be, with its own users and groups.
    pub fn directory(&self, seed: Seed) -> Builder {
        self.bridge().directory(seed)
    }

    /// Connects to a bridge for its directory, with the key of the Secret of the same name.
    pub async fn connect_directory(&self, name: &str, bridge: &Front, provisioning: Value) {
        let more = spec()
            .with("interval", "30s")
            .with("timeout", "10s")
            .with("provisioning", provisioning);
        self.connect(name, bridge, more).await;
    }

    /// Connects to a bridge in mode `Manage`, with the key of the Secret of the same name. It is probed and read once within
    /// a test, unless something asks for more. `more` is set in `spec.provisioning`.
    pub async fn manage_directory(&self, name: &str, bridge: &Front, more: Value) {
        let mut wanted = provisioning();
        wanted["mode"] = json!("Manage");
        json_patch(&mut wanted, more);
        let more = spec()
            .with("interval", "6h")
            .with("timeout", "60s")
            .with("provisioning", wanted);
        self.connect(name, bridge, more).await;
    }

    /// Writes a user with this name, at example.com, for a connection; `more` is merged into the specification.
    pub async fn scim_user(&self, connection: &str, name: &str, more: Value) -> ScimUser {
        let mut spec = json!({
            "connectionRef": {"name": connection},
            "userName": format!("{name}@example.com"),
            "name": {"givenName": "Given", "familyName": "Family"},
        });
        json_patch(&mut spec, more);
        self.declare("ScimUser", name, spec).await
    }

    /// Writes a group with this name for a connection; `more` is merged into the specification.
    pub async fn scim_group(&self, connection: &str, name: &str, more: Value) -> ScimGroup {
        let mut spec = json!({"connectionRef": {"name": connection}, "displayName": name});
        json_patch(&mut spec, more);
        self.declare("ScimGroup", name, spec).await
    }

    async fn declare<K: DirectoryObject>(&self, kind: &str, name: &str, spec: Value) -> K {
        let object = json!({
            "apiVersion": format!("{GROUP}/v1alpha1"),
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        });
        let api = self.api::<K>();
        api.patch(name, &user(), &Patch::Apply(&object)).await.unwrap()
    }

    /// Waits until the object has this [`directory_line`], about its present specification.
    pub async fn expect_object<K: DirectoryObject>(&self, name: &str, line: &str) -> K {
        let api = self.api::<K>();
        let found = wait::until_object(DEADLINE, line, &api, name, |object: &K| {
            directory_line(object) == line && object.meta().generation == Some(object.judged().1)
        });
        found.await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Waits until `status.provisioning` of a connection fits.
    pub async fn expect_directory(
        &self,
        name: &str,
        what: &str,
        fits: impl Fn(&ProvisioningStatus) -> bool,
    ) -> ProvisioningStatus {
        let found = self
            .until(name, what, |object| {
                status(object).provisioning.as_ref().is_some_and(&fits)
            })
            .await;
        status(&found).provisioning.unwrap()
    }
}

/// Merges `more` into an object, at its first level.
fn json_patch(spec: &mut Value, more: Value) {
    if let (Value::Object(spec), Value::Object(more)) = (spec, more) {
        spec.extend(more);
    }
}
