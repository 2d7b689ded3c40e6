//! What every test stands on: a namespace of its own in a cluster that all share, an operator, bridges.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bridge_front::{Authority, Builder, Front};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams},
};
use scim_bridge_operator::api::{
    REQUESTED_AT_ANNOTATION,
    connection::{ObjectVersion, ScimBridgeConnection, ScimBridgeConnectionStatus},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use testbed::{Cluster, OperatorProcess, cluster::CLUSTER, free_port, supervise::Signal, wait, workspace};
use tokio::sync::OnceCell;

use crate::tape::Tape;

/// For whatever is awaited. Nearly everything takes less than a second; a busy machine may need many.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);
/// The key that bridges accept. Every key of these tests begins alike, so that a leak is found whichever it is.
pub(crate) const KEY: &str = "canary-key-that-bridges-accept";
/// One that they refuse.
pub(crate) const WRONG_KEY: &str = "canary-key-that-bridges-refuse";
/// The beginning of every key, in plain text and in base64 at each of the three offsets it may have.
const CANARIES: [&str; 4] = ["canary", "Y2FuYXJ5", "NhbmFye", "jYW5hcn"];
/// Namespace and name of the operator's ServiceAccount.
pub(crate) const OPERATOR: &str = "scim-bridge-operator";
/// The ConfigMap with the authority of all bridges of a test.
pub(crate) const CA: &str = "ca";
/// What lets the operator talk to loopback, where the bridges of tests are.
pub(crate) const LOOPBACK: [&str; 4] = ["--allow-cidr", "127.0.0.0/8", "--allow-cidr", "::1/128"];
/// How much of the operator's log a failed test shows.
const TAIL: usize = 40;

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
pub(crate) async fn own_cluster() -> Option<Cluster> {
    if std::env::var_os(CLUSTER).is_some_and(|choice| !choice.is_empty()) {
        return None;
    }
    let cluster = Cluster::start().await.unwrap();
    install(&cluster).await;
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
pub(crate) struct Bed<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// The operator's.
    pub(crate) kubeconfig: PathBuf,
    authority: Arc<Authority>,
    requests: AtomicU32,
}

impl Bed<'static> {
    pub(crate) async fn new(prefix: &str) -> Self {
        let Installed { cluster, kubeconfig } = installed().await;
        Bed::on(cluster, kubeconfig.clone(), prefix).await
    }
}

impl<'a> Bed<'a> {
    /// A bed on a cluster of the test's own.
    pub(crate) async fn on_own(cluster: &'a Cluster, prefix: &str) -> Self {
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
    pub(crate) async fn operator(&self, more: &[&str]) -> Operator {
        let operator = self
            .spawn(&[&["--leader-elect=false"], &LOOPBACK[..], more].concat())
            .await;
        operator.ready(DEADLINE).await.unwrap();
        operator
    }

    /// An operator for this namespace with these flags; it may not be ready yet, or ever.
    pub(crate) async fn spawn(&self, flags: &[&str]) -> Operator {
        self.spawn_as(&self.kubeconfig, flags).await
    }

    /// The same with other rights.
    pub(crate) async fn spawn_as(&self, kubeconfig: &Path, flags: &[&str]) -> Operator {
        self.spawn_exactly_as(kubeconfig, &[&["--namespaces", &self.namespace], flags].concat())
            .await
    }

    /// The same with nothing but these flags.
    pub(crate) async fn spawn_exactly_as(&self, kubeconfig: &Path, flags: &[&str]) -> Operator {
        spawn(kubeconfig, flags).await
    }

    /// An operator for every namespace, as installed: on a cluster of the test's own.
    pub(crate) async fn operator_everywhere(&self) -> Operator {
        let flags = [&["--leader-elect=false"], &LOOPBACK[..]].concat();
        let operator = spawn(&self.kubeconfig, &flags).await;
        operator.ready(DEADLINE).await.unwrap();
        operator
    }

    // === bridges ===

    /// A bridge to be, trusted by way of ConfigMap [`CA`].
    pub(crate) fn bridge(&self) -> Builder {
        Front::builder().authority(Arc::clone(&self.authority)).key(KEY)
    }

    /// A healthy bridge.
    pub(crate) async fn healthy_bridge(&self) -> Front {
        self.bridge().start().await.unwrap()
    }

    /// The authority of this test's bridges, in PEM.
    pub(crate) fn ca_pem(&self) -> &str {
        self.authority.ca_pem()
    }

    // === objects ===

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) fn connections(&self) -> Api<ScimBridgeConnection> {
        self.api()
    }

    /// Writes a Secret with this API key.
    pub(crate) async fn secret(&self, name: &str, key: &str) -> ObjectVersion {
        self.secret_entry(name, "apiKey", key).await
    }

    /// Writes a Secret with this one entry.
    pub(crate) async fn secret_entry(&self, name: &str, entry: &str, value: &str) -> ObjectVersion {
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
    pub(crate) async fn config_map(&self, name: &str, pem: &str) -> ObjectVersion {
        let config_map = ConfigMap {
            metadata: named(name),
            data: Some(BTreeMap::from([("ca.crt".to_owned(), pem.to_owned())])),
            ..ConfigMap::default()
        };
        version(&self.apply(name, &config_map).await.metadata)
    }

    /// Connects to a bridge with the key of the Secret of the same name; `more` is merged into the specification.
    pub(crate) async fn connect(&self, name: &str, bridge: &Front, more: Value) -> ScimBridgeConnection {
        self.connect_url(name, &bridge.url(), more).await
    }

    /// The same by URL.
    pub(crate) async fn connect_url(&self, name: &str, url: &str, more: Value) -> ScimBridgeConnection {
        let connection = connection(name, &spec(name, url, &more));
        let connections = self.connections();
        let apply = Patch::Apply(&connection);
        connections.patch(name, &user(), &apply).await.unwrap()
    }

    /// Writes the right key into the Secret, and connects with it.
    pub(crate) async fn connect_well(&self, name: &str, bridge: &Front) -> ScimBridgeConnection {
        self.secret(name, KEY).await;
        self.connect(name, bridge, json!({})).await
    }

    /// Changes an object by a merge patch.
    pub(crate) async fn patch<K>(&self, name: &str, patch: Value) -> K
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
    pub(crate) async fn edit(&self, name: &str, spec: Value) -> ScimBridgeConnection {
        self.patch(name, json!({"spec": spec})).await
    }

    /// Annotates a connection.
    pub(crate) async fn annotate(&self, name: &str, annotation: &str, value: &str) -> ScimBridgeConnection {
        self.patch(name, json!({"metadata": {"annotations": {annotation: value}}}))
            .await
    }

    /// Labels a connection.
    pub(crate) async fn label(&self, name: &str, value: &str) -> ScimBridgeConnection {
        self.patch(name, json!({"metadata": {"labels": {"mark": value}}}))
            .await
    }

    /// Deletes an object.
    pub(crate) async fn delete<K>(&self, name: &str)
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
    pub(crate) async fn expect(&self, name: &str, line: &str) -> ScimBridgeConnection {
        self.until(name, line, |object| {
            self::line(object) == line && is_current(object)
        })
        .await
    }

    /// Waits until the status is about this version of the Secret.
    pub(crate) async fn judged(&self, name: &str, secret: &ObjectVersion) -> ScimBridgeConnection {
        let what = "a verdict about the newest Secret";
        self.until(name, what, |object| {
            status(object).credential.as_ref() == Some(secret)
        })
        .await
    }

    /// Waits for a version of the connection.
    pub(crate) async fn until(
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
    pub(crate) async fn probe(&self, name: &str) -> ScimBridgeConnection {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let request = format!("request {number}");
        self.annotate(name, REQUESTED_AT_ANNOTATION, &request).await;
        self.until(name, &request, |object| {
            status(object).last_handled_reconcile_at.as_ref() == Some(&request)
        })
        .await
    }

    /// The connection as it is now.
    pub(crate) async fn get(&self, name: &str) -> ScimBridgeConnection {
        self.connections().get(name).await.unwrap()
    }

    /// Records every version of the connection from now on.
    pub(crate) async fn tape(&self, name: &str) -> Tape {
        Tape::new(self.connections(), name).await
    }
}

/// Starts the operator. It has its port when this returns, or has ended.
async fn spawn(kubeconfig: &Path, flags: &[&str]) -> Operator {
    let binary = Path::new(env!("CARGO_BIN_EXE_scim-bridge-operator"));
    loop {
        let admin = format!("127.0.0.1:{}", free_port().unwrap());
        let args = [&["run", "--admin-addr", &admin, "--log-level", "debug"], flags].concat();
        let operator = Operator(OperatorProcess::spawn(binary, kubeconfig, &args, &[]).unwrap());
        let begun = wait::until(DEADLINE, "the operator to begin", async || {
            let has_ended = operator.process().ended().unwrap().is_some();
            (has_ended || operator.logs().contains(r#""message":"started""#)).then_some(())
        });
        begun.await.unwrap_or_else(|error| panic!("{error}"));
        // Somebody else may take a port between the moment that it was free and the moment that it is used.
        if !operator.logs().contains("cannot listen") {
            return operator;
        }
    }
}

/// An operator that, at its end, shows its log if the test failed, and is searched for keys if it did not.
pub(crate) struct Operator(OperatorProcess);

impl Deref for Operator {
    type Target = OperatorProcess;

    fn deref(&self) -> &OperatorProcess {
        &self.0
    }
}

impl Operator {
    /// Ends it in good order.
    pub(crate) async fn stop(self) {
        let ended = self.terminate(DEADLINE).await.unwrap();
        assert!(ended.success(), "SIGTERM is no failure: {ended}");
    }

    /// The sum of the metric's samples, of those with `label` in them.
    pub(crate) async fn count(&self, metric: &str, label: &str) -> u64 {
        sum(&self.metrics().await.unwrap(), metric, label)
    }

    /// How many passes came to a verdict.
    pub(crate) async fn probes(&self) -> u64 {
        self.count("probes_total", "").await
    }

    /// Sends SIGTERM, and waits until the operator has begun to obey.
    pub(crate) async fn ask_to_end(&self) {
        self.signal(Signal::Terminate).unwrap();
        self.says("stopping").await;
    }

    /// Waits for a message in its log that begins like this.
    pub(crate) async fn says(&self, beginning: &str) -> Value {
        let said = wait::until(DEADLINE, beginning, async || {
            self.events().into_iter().find(|event| {
                let message = event["message"].as_str();
                message.is_some_and(|message| message.starts_with(beginning))
            })
        });
        said.await.unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let logs = self.logs();
        if std::thread::panicking() {
            let lines: Vec<&str> = logs.lines().collect();
            let tail = lines.len().saturating_sub(TAIL);
            eprintln!("the end of the operator's log:\n{}", lines[tail..].join("\n"));
        } else {
            assert_no_canary("the log", &logs);
            assert!(
                !logs.contains("panic"),
                "the operator panicked, or a pass of it:\n{logs}"
            );
        }
    }
}

/// Fails where the text holds a key, or what stands for one.
pub(crate) fn assert_no_canary(what: &str, text: &str) {
    for canary in CANARIES {
        assert!(!text.contains(canary), "{what} has {canary:?} in it:\n{text}");
    }
}

/// The sum of a metric's samples, of those with `label` in them.
pub(crate) fn sum(metrics: &str, metric: &str, label: &str) -> u64 {
    let name = format!("scim_bridge_operator_{metric}");
    let samples = metrics.lines().filter(|line| {
        let rest = line.strip_prefix(&name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
    });
    samples
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

/// Status and reason of `Ready`, then every condition that is not always there: `True Connected`,
/// `False AuthFailed Stalled`, `True Connected NextApiKeyValid=False`. Empty where there is nothing yet.
pub(crate) fn line(object: &ScimBridgeConnection) -> String {
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
pub(crate) fn status(object: &ScimBridgeConnection) -> ScimBridgeConnectionStatus {
    object.status.clone().unwrap_or_default()
}

/// `status.observedGeneration`.
pub(crate) fn observed(object: &ScimBridgeConnection) -> i64 {
    status(object).observed_generation
}

/// How often the bridge was asked from the beginning.
pub(crate) fn pings(bridge: &Front) -> usize {
    asked(bridge, "/ping")
}

/// How often the bridge was asked this.
pub(crate) fn asked(bridge: &Front, path: &str) -> usize {
    let requests = bridge.requests();
    requests.iter().filter(|request| request.path() == path).count()
}

/// A specification with the key of Secret `secret`. No probe comes by itself within a test: the interval is long.
pub(crate) fn spec(secret: &str, url: &str, more: &Value) -> Value {
    let mut spec = json!({
        "url": url,
        "apiKeySecretRef": {"name": secret},
        "interval": "2h",
        "timeout": "60s",
        "tls": {"caRef": {"kind": "ConfigMap", "name": CA}},
    });
    for (field, value) in more.as_object().cloned().unwrap_or_default() {
        spec[field] = value;
    }
    spec
}

/// A manifest.
pub(crate) fn connection(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "scimbridge.dev/v1alpha1",
        "kind": "ScimBridgeConnection",
        "metadata": {"name": name},
        "spec": spec,
    })
}

/// Whoever applies objects. Others' fields are left alone, as with kubectl.
pub(crate) fn user() -> PatchParams {
    PatchParams::apply("a-user").force()
}

/// The version of an object.
pub(crate) fn version(metadata: &ObjectMeta) -> ObjectVersion {
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
