//! What most tests of the operator stand on: a namespace in a cluster that all tests share, an operator, bridges.
//!
//! Cargo builds the operator's binary before a test program, and tells the program where it is. Nothing here returns an
//! error: what is missing fails the test, with its place.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "only tests stand on it: what is missing fails them, with its place"
)]

mod bridges;
mod directory;
mod gate;
mod operator;
mod proxy;
mod tape;

use std::{
    collections::BTreeMap,
    fmt::Debug,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bridge_front::{Authority, Builder, Front, State};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams},
};
use scim_bridge_operator::{
    api::{
        self, REQUESTED_AT_ANNOTATION,
        connection::{IdentityProvider, ObjectVersion, ScimBridgeConnection, ScimBridgeConnectionStatus},
    },
    domain::connection::{
        evidence::Evidence,
        status::{Observation, Versions, next_status},
        target::Target,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

pub use self::{
    bridges::{BRIDGES, CERTIFICATES, Played, answer},
    directory::{DirectoryObject, directory_line, provisioning, writes},
    gate::Gate,
    operator::{Operator, sum},
    proxy::{Exchange, Fate, Proxy},
    tape::{Tape, story},
};
use crate::{Cluster, Spec, cluster::CLUSTER, connection, spec, wait, workspace};

/// For whatever is awaited. Nearly everything takes less than a second; a busy machine may need many.
pub const DEADLINE: Duration = Duration::from_secs(90);
/// The key that bridges accept. Every key of these tests begins alike, so that a leak is found whichever it is.
pub const KEY: &str = "canary-key-that-bridges-accept";
/// One that they refuse.
pub const WRONG_KEY: &str = "canary-key-that-bridges-refuse";
/// The beginning of every key, in plain text and in base64 at each of the three offsets it may have.
const CANARIES: [&str; 4] = ["canary", "Y2FuYXJ5", "NhbmFye", "jYW5hcn"];
/// Namespace and name of the operator's ServiceAccount.
pub const OPERATOR: &str = "scim-bridge-operator";
/// The ConfigMap with the authority of all bridges of a test.
pub const CA: &str = "ca";
/// What lets the operator talk to loopback, where the bridges of tests are.
pub const LOOPBACK: [&str; 4] = ["--allow-cidr", "127.0.0.0/8", "--allow-cidr", "::1/128"];

struct Installed {
    cluster: &'static Cluster,
    kubeconfig: PathBuf,
}

/// The cluster of this test process, with what `deploy/` installs, and the operator's kubeconfig.
async fn installed() -> &'static Installed {
    static INSTALLED: OnceCell<Installed> = OnceCell::const_new();
    INSTALLED
        .get_or_init(async || {
            let cluster = Cluster::shared().await.unwrap();
            install(cluster).await;
            Installed {
                cluster,
                kubeconfig: kubeconfig_of_operator(cluster).await,
            }
        })
        .await
}

/// A cluster for a test that does to it what others would suffer from. `None` where the cluster is somebody else's.
pub async fn own_cluster() -> Option<Cluster> {
    if std::env::var_os(CLUSTER).is_some_and(|choice| !choice.is_empty()) {
        return None;
    }
    let cluster = Cluster::start().await.unwrap();
    install(&cluster).await;
    Some(cluster)
}

/// The same, with the controllers that delete what is in a namespace.
pub async fn own_cluster_with_controllers() -> Option<Cluster> {
    if std::env::var_os(CLUSTER).is_some_and(|choice| !choice.is_empty()) {
        return None;
    }
    let cluster = Cluster::with_controllers().await.unwrap();
    install(&cluster).await;
    Some(cluster)
}

/// The same as [`own_cluster`], with a CRD that has no schema for the specification: an older one, or one that somebody edited.
pub async fn own_cluster_without_rules() -> Option<Cluster> {
    let cluster = own_cluster().await?;
    let mut crd = serde_json::to_value(api::crd()).unwrap();
    let schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"] = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let force = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    let applied = cluster.kubectl().run_with(&force, &crd.to_string()).await;
    applied.unwrap();
    Some(cluster)
}

/// All that `deploy/` has, but for the Deployment.
async fn install(cluster: &Cluster) {
    let deploy = workspace::root().join("deploy");
    let manifests =
        ["crd.yaml", "namespace.yaml", "base/rbac.yaml", "rbac.yaml"].map(|file| deploy.join(file));
    let manifests = manifests.each_ref().map(PathBuf::as_path);
    cluster.install(&manifests).await.unwrap();
}

async fn kubeconfig_of_operator(cluster: &Cluster) -> PathBuf {
    cluster
        .service_account_kubeconfig(OPERATOR, OPERATOR)
        .await
        .unwrap()
}

/// A namespace with the authority of the test's bridges in it.
pub struct Bed<'a> {
    /// The cluster that it is in.
    pub cluster: &'a Cluster,
    /// The administrator's.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
    /// The operator's.
    pub kubeconfig: PathBuf,
    authority: Arc<Authority>,
    requests: AtomicU32,
}

impl Bed<'static> {
    /// A bed on the cluster that all tests of this program share.
    pub async fn new(prefix: &str) -> Self {
        let Installed { cluster, kubeconfig } = installed().await;
        Bed::on(cluster, kubeconfig.clone(), prefix).await
    }
}

impl<'a> Bed<'a> {
    /// A bed on a cluster of the test's own.
    pub async fn on_own(cluster: &'a Cluster, prefix: &str) -> Self {
        Self::on(cluster, kubeconfig_of_operator(cluster).await, prefix).await
    }

    async fn on(cluster: &'a Cluster, kubeconfig: PathBuf, prefix: &str) -> Self {
        let bed = Self {
            cluster,
            client: cluster.client().unwrap(),
            namespace: cluster.namespace(prefix).await.unwrap().name().to_owned(),
            kubeconfig,
            authority: Arc::new(Authority::new().unwrap()),
            requests: AtomicU32::new(0),
        };
        bed.config_map(CA, bed.authority.ca_pem()).await;
        bed
    }

    // === operators ===

    /// An operator for this namespace, ready.
    pub async fn operator(&self, more: &[&str]) -> Operator {
        let operator = self
            .spawn(&[&["--leader-elect=false"], &LOOPBACK[..], more].concat())
            .await;
        operator.ready(DEADLINE).await.unwrap();
        operator
    }

    /// An operator for this namespace with these flags; it may not be ready yet, or ever.
    pub async fn spawn(&self, flags: &[&str]) -> Operator {
        self.spawn_as(&self.kubeconfig, flags).await
    }

    /// The same with other rights.
    pub async fn spawn_as(&self, kubeconfig: &Path, flags: &[&str]) -> Operator {
        self.spawn_exactly_as(kubeconfig, &[&["--namespaces", &self.namespace], flags].concat())
            .await
    }

    /// The same with nothing but these flags.
    pub async fn spawn_exactly_as(&self, kubeconfig: &Path, flags: &[&str]) -> Operator {
        Operator::spawn(kubeconfig, flags).await
    }

    /// An operator for every namespace, as installed: on a cluster of the test's own.
    pub async fn operator_everywhere(&self) -> Operator {
        let flags = [&["--leader-elect=false"], &LOOPBACK[..]].concat();
        let operator = Operator::spawn(&self.kubeconfig, &flags).await;
        operator.ready(DEADLINE).await.unwrap();
        operator
    }

    // === bridges ===

    /// A bridge to be, trusted by way of ConfigMap [`CA`].
    pub fn bridge(&self) -> Builder {
        Front::builder().authority(Arc::clone(&self.authority)).key(KEY)
    }

    /// A healthy bridge.
    pub async fn healthy_bridge(&self) -> Front {
        self.bridge_that(|_| {}).await
    }

    /// A bridge that does this.
    pub async fn bridge_that(&self, does: impl FnOnce(&mut State)) -> Front {
        self.bridge().set(does).start().await.unwrap()
    }

    /// The authority of this test's bridges, in PEM.
    pub fn ca_pem(&self) -> &str {
        self.authority.ca_pem()
    }

    // === objects ===

    /// The API of a kind in this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// That of connections.
    pub fn connections(&self) -> Api<ScimBridgeConnection> {
        self.api()
    }

    /// Writes a Secret with this API key.
    pub async fn secret(&self, name: &str, key: &str) -> ObjectVersion {
        self.secret_entry(name, "apiKey", key).await
    }

    /// Writes a Secret with this one entry.
    pub async fn secret_entry(&self, name: &str, entry: &str, value: &str) -> ObjectVersion {
        let secret = Secret {
            metadata: named(name),
            data: Some(BTreeMap::from([(
                entry.to_owned(),
                ByteString(value.as_bytes().to_vec()),
            )])),
            ..Secret::default()
        };
        version(&self.apply(name, &secret).await.metadata)
    }

    /// Writes a ConfigMap with this certificate.
    pub async fn config_map(&self, name: &str, pem: &str) -> ObjectVersion {
        let config_map = ConfigMap {
            metadata: named(name),
            data: Some(BTreeMap::from([("ca.crt".to_owned(), pem.to_owned())])),
            ..ConfigMap::default()
        };
        version(&self.apply(name, &config_map).await.metadata)
    }

    /// Connects to a bridge with the key of the Secret of the same name; `more` is set in the specification.
    pub async fn connect(&self, name: &str, bridge: &Front, more: impl Into<Spec>) -> ScimBridgeConnection {
        self.connect_url(name, &bridge.url(), more).await
    }

    /// The same by URL.
    pub async fn connect_url(&self, name: &str, url: &str, more: impl Into<Spec>) -> ScimBridgeConnection {
        let connection = connection(name, whole_spec(name, url).and(more));
        let connections = self.connections();
        let apply = Patch::Apply(&connection);
        connections.patch(name, &user(), &apply).await.unwrap()
    }

    /// Writes the right key into the Secret, and connects with it.
    pub async fn connect_well(&self, name: &str, bridge: &Front) -> ScimBridgeConnection {
        self.secret(name, KEY).await;
        self.connect(name, bridge, spec()).await
    }

    /// Changes an object by a merge patch.
    pub async fn patch<K>(&self, name: &str, patch: Value) -> K
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let (api, parameters) = (self.api::<K>(), PatchParams::default());
        api.patch(name, &parameters, &Patch::Merge(patch)).await.unwrap()
    }

    /// Changes the specification of a connection.
    pub async fn edit(&self, name: &str, spec: impl Into<Value>) -> ScimBridgeConnection {
        self.patch(name, json!({"spec": spec.into()})).await
    }

    /// Annotates a connection.
    pub async fn annotate(&self, name: &str, annotation: &str, value: &str) -> ScimBridgeConnection {
        self.patch(name, json!({"metadata": {"annotations": {annotation: value}}}))
            .await
    }

    /// Labels a connection.
    pub async fn label(&self, name: &str, value: &str) -> ScimBridgeConnection {
        self.patch(name, json!({"metadata": {"labels": {"mark": value}}}))
            .await
    }

    /// Deletes an object.
    pub async fn delete<K>(&self, name: &str)
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        self.api::<K>()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    async fn apply<K>(&self, name: &str, object: &K) -> K
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize,
    {
        let api = self.api::<K>();
        // Typed objects of k8s-openapi carry apiVersion and kind.
        api.patch(name, &user(), &Patch::Apply(object)).await.unwrap()
    }

    // === expectations ===

    /// Waits until the connection's status is this [`line()`], and about its present specification.
    pub async fn expect(&self, name: &str, line: &str) -> ScimBridgeConnection {
        self.until(name, line, |object| {
            self::line(object) == line && is_current(object)
        })
        .await
    }

    /// Waits until the status is about this version of the Secret.
    pub async fn judged(&self, name: &str, secret: &ObjectVersion) -> ScimBridgeConnection {
        let what = "a verdict about the newest Secret";
        self.until(name, what, |object| {
            status(object).credential.as_ref() == Some(secret)
        })
        .await
    }

    /// Waits for a version of the connection.
    pub async fn until(
        &self,
        name: &str,
        what: &str,
        fits: impl Fn(&ScimBridgeConnection) -> bool,
    ) -> ScimBridgeConnection {
        let found = wait::until_object(DEADLINE, what, &self.connections(), name, fits).await;
        found.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Asks for a probe, and waits until it has been answered. All that happened to the connection before has then been
    /// seen by the operator.
    pub async fn probe(&self, name: &str) -> ScimBridgeConnection {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let request = format!("request {number}");
        self.annotate(name, REQUESTED_AT_ANNOTATION, &request).await;
        self.until(name, &request, |object| {
            status(object).last_handled_reconcile_at.as_ref() == Some(&request)
        })
        .await
    }

    /// The connection as it is now.
    pub async fn get(&self, name: &str) -> ScimBridgeConnection {
        self.connections().get(name).await.unwrap()
    }

    /// Records every version of the connection from now on.
    pub async fn tape(&self, name: &str) -> Tape {
        Tape::new(self.connections(), name).await
    }
}

/// Fails where the text holds a key, or what stands for one.
pub fn assert_no_canary(what: &str, text: &str) {
    for canary in CANARIES {
        assert!(!text.contains(canary), "{what} has {canary:?} in it:\n{text}");
    }
}

/// Status and reason of `Ready`, then every condition that is not always there: `True Connected`,
/// `False AuthFailed Stalled`, `True Connected NextApiKeyValid=False`. Empty where there is nothing yet.
pub fn line(object: &ScimBridgeConnection) -> String {
    let mut words = Vec::new();
    for condition in status(object).conditions {
        match (condition.type_.as_str(), condition.status.as_str()) {
            ("Ready", status) => words.extend([status.to_owned(), condition.reason]),
            ("Connected" | "AuthFailed" | "ScimDisabled", _) => {}
            (type_, "True") => words.push(type_.to_owned()),
            (type_, status) => words.push(format!("{type_}={status}")),
        }
    }
    words.join(" ")
}

/// Whether the status is about the present specification. `Progressing` says of itself that it is not.
fn is_current(object: &ScimBridgeConnection) -> bool {
    line(object).contains("Progressing") || object.metadata.generation == Some(observed(object))
}

/// The status, or the default one.
pub fn status(object: &ScimBridgeConnection) -> ScimBridgeConnectionStatus {
    object.status.clone().unwrap_or_default()
}

/// The status that a first probe leads to, by the operator's rules, where Okta is declared.
pub fn first_status(evidence: &Evidence, now: Timestamp) -> ScimBridgeConnectionStatus {
    let target = Target::parse(&whole_spec("corp", "https://scim.example.com").typed()).unwrap();
    let pass = Observation {
        uid: "u-1",
        generation: 1,
        declared: Some(IdentityProvider::Okta),
        target: Some(&target),
        versions: Versions::default(),
        requested: None,
        failures_before: 0,
        evidence,
        now,
        late: Duration::ZERO,
        early: Duration::ZERO,
        heartbeat: Duration::from_mins(5),
    };
    next_status(&ScimBridgeConnectionStatus::default(), &pass).status
}

/// `status.observedGeneration`.
pub fn observed(object: &ScimBridgeConnection) -> i64 {
    status(object).observed_generation
}

/// How often the bridge was asked from the beginning.
pub fn pings(bridge: &Front) -> usize {
    asked(bridge, "/ping")
}

/// How often the bridge was asked this.
pub fn asked(bridge: &Front, path: &str) -> usize {
    let requests = bridge.requests();
    requests.iter().filter(|request| request.path() == path).count()
}

/// A whole specification with the key of this Secret, for a bridge of the test's authority ([`Spec::patient`], [`CA`]).
pub fn whole_spec(secret: &str, url: &str) -> Spec {
    spec().url(url).secret(secret).patient().ca(CA)
}

/// Whoever applies objects. Others' fields are left alone, as with kubectl.
pub fn user() -> PatchParams {
    PatchParams::apply("a-user").force()
}

/// The version of an object.
pub fn version(metadata: &ObjectMeta) -> ObjectVersion {
    ObjectVersion {
        uid: metadata.uid.clone().unwrap(),
        resource_version: metadata.resource_version.clone().unwrap(),
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}
