//! A Kubernetes API for tests: etcd, kube-apiserver, kube-controller-manager, kubectl and Helm, the real ones.
//!
//! [`Cluster::start`] and [`Cluster::shared`] run no controllers: CRDs, validation, RBAC, watches and tokens are real;
//! Deployments make no Pods, and deleted namespaces stay in `Terminating`. So nothing acts on objects but the test.
//!
//! [`Cluster::with_controllers`] and [`Cluster::shared_with_controllers`] run kube-controller-manager as well:
//! Deployments make Pods, namespaces and what objects own are deleted, roles are aggregated, and a namespace gets
//! its default ServiceAccount, which the API server then asks of every Pod. There still is no scheduler and no node:
//! Pods stay `Pending`, unless [`Cluster::pretend_running`] stands in.
//!
//! With `CLUSTER=existing` in the environment, the cluster that `KUBECONFIG` points out is used instead. Nothing is
//! ever deleted there: what tests made carries the label [`LABEL`].

mod control_plane;
mod controllers;
mod credentials;
mod exchange;
mod helm;
mod kubectl;
mod pretence;

use std::{
    collections::BTreeMap,
    env, fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::{
    api::{
        authentication::v1::{TokenRequest, TokenRequestSpec},
        core::v1::{self as core, ServiceAccount},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, ObjectMeta, PostParams},
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
    runtime::wait::Condition,
};
use thiserror::Error;
use tokio::sync::OnceCell;

use self::{control_plane::ControlPlane, credentials::Credentials};
pub use self::{
    helm::{Helm, HelmError},
    kubectl::{Kubectl, KubectlError},
    pretence::Pretence,
};
use crate::{
    failure::debug_is_message,
    scratch::Scratch,
    supervise::{Signal, SuperviseError},
    tools::{self, ControlPlaneTools, ToolsError},
    wait::{self, WaitError},
    workspace,
};

/// Environment variable: `existing` uses the cluster of `KUBECONFIG`.
pub const CLUSTER: &str = "CLUSTER";
/// Label of the namespaces that tests make.
pub const LABEL: &str = "scimbridge.dev/testbed";
/// A CRD is served within a second of being applied.
const INSTALL_DEADLINE: Duration = Duration::from_secs(30);
/// Until then no Pod is admitted to a new namespace.
const NAMESPACE_DEADLINE: Duration = Duration::from_secs(30);
/// Longer than any test run.
const TOKEN_LIFETIME: Duration = Duration::from_hours(24);

/// The cluster cannot be started, or refuses something.
#[derive(Error)]
pub enum ClusterError {
    /// A program is missing.
    #[error(transparent)]
    Tools(#[from] ToolsError),
    /// A server does not start or does not stop.
    #[error(transparent)]
    Process(#[from] SuperviseError),
    /// What was installed is not served.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// kubectl refused.
    #[error(transparent)]
    Kubectl(#[from] KubectlError),
    /// Helm is missing, or refused.
    #[error(transparent)]
    Helm(#[from] HelmError),
    /// The API server refused.
    #[error("the API server refused")]
    Api(#[from] kube::Error),
    /// `CLUSTER` has a value that means nothing.
    #[error(
        "{CLUSTER}={0:?} is not known: unset it for a cluster of the test bed's own, or set it to `existing`"
    )]
    UnknownChoice(String),
    /// `CLUSTER=existing`, without a usable kubeconfig.
    #[error("{CLUSTER}=existing needs KUBECONFIG to point out a cluster")]
    Kubeconfig(#[from] KubeconfigError),
    /// The kubeconfig has no current context.
    #[error("the kubeconfig has no usable current context: `kubectl config use-context` sets one")]
    NoContext,
    /// An existing cluster is not ours to stop, and has nodes of its own to run Pods.
    #[error("only possible with a cluster that the test bed started: unset {CLUSTER} for this test")]
    NotOurs,
    /// Certificates cannot be made.
    #[error("cannot make the certificates of the cluster")]
    Certificates(#[from] rcgen::Error),
    /// Scratch files cannot be written, or no port is free.
    #[error("cannot prepare the cluster's files and ports")]
    Files(#[from] io::Error),
    /// A kubeconfig cannot be read or written.
    #[error("cannot express a kubeconfig")]
    Format(#[from] serde_json::Error),
}
debug_is_message!(ClusterError);

/// A running cluster, and the administrator's access to it.
///
/// Nothing in it belongs to an async runtime, so tests with a runtime of their own each may share one.
pub struct Cluster {
    own: Option<ControlPlane>,
    source: Kubeconfig,
    config: Config,
    kubeconfig: PathBuf,
    kubectl: Kubectl,
    scratch: Arc<Scratch>,
}

impl Cluster {
    /// The cluster of this test process, started by whoever asks first. It ends with the process.
    pub async fn shared() -> Result<&'static Self, ClusterError> {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// The cluster with controllers of this test process, beside [`Cluster::shared`].
    pub async fn shared_with_controllers() -> Result<&'static Self, ClusterError> {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::with_controllers).await
    }

    /// A cluster for the caller alone (or the existing one). Dropped, it is gone.
    pub async fn start() -> Result<Self, ClusterError> {
        if existing()? {
            return Self::use_existing().await;
        }
        let tools = tools::control_plane(&mut io::stderr()).await?;
        Self::start_own(tools, None).await
    }

    /// The same, with kube-controller-manager at work (an existing one has its own).
    pub async fn with_controllers() -> Result<Self, ClusterError> {
        if existing()? {
            return Self::use_existing().await;
        }
        let (tools, controller_manager) = tools::controller_manager(&mut io::stderr()).await?;
        Self::start_own(tools, Some(&controller_manager)).await
    }

    async fn start_own(
        tools: ControlPlaneTools,
        controller_manager: Option<&Path>,
    ) -> Result<Self, ClusterError> {
        let scratch = Scratch::new("cluster")?;
        let credentials = Credentials::make(scratch.path())?;
        let own = ControlPlane::start(&tools, controller_manager, &credentials, &scratch).await?;
        let source = own.kubeconfig().clone();
        Self::assemble(Some(own), source, tools.kubectl, scratch).await
    }

    async fn use_existing() -> Result<Self, ClusterError> {
        let kubectl = tools::kubectl(&mut io::stderr()).await?;
        let source = Kubeconfig::from_env()?.ok_or(KubeconfigError::FindPath)?;
        Self::assemble(None, source, kubectl, Scratch::new("existing")?).await
    }

    async fn assemble(
        own: Option<ControlPlane>,
        source: Kubeconfig,
        kubectl: PathBuf,
        scratch: Arc<Scratch>,
    ) -> Result<Self, ClusterError> {
        let kubeconfig = scratch.path().join("admin.kubeconfig");
        credentials::write_kubeconfig(&kubeconfig, &source)?;
        let config = Config::from_custom_kubeconfig(source.clone(), &KubeConfigOptions::default()).await?;
        let kubectl = Kubectl::new(kubectl, kubeconfig.clone());
        Ok(Self {
            own,
            source,
            config,
            kubeconfig,
            kubectl,
            scratch,
        })
    }

    /// A client of the administrator, for the runtime that asks: take a fresh one in each test.
    pub fn client(&self) -> Result<Client, ClusterError> {
        Ok(Client::try_from(self.config.clone())?)
    }

    /// The administrator's kubeconfig file.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Helm as the administrator. It is built when it is first asked for.
    pub async fn helm(&self) -> Result<Helm, ClusterError> {
        Ok(Helm::locate(self.kubeconfig.clone(), Arc::clone(&self.scratch)).await?)
    }

    /// Applies YAML (or JSON) text, as `kubectl apply --server-side`.
    pub async fn apply(&self, manifests: &str) -> Result<String, ClusterError> {
        Ok(self
            .kubectl
            .run_with(&["apply", "--server-side", "--filename", "-"], manifests)
            .await?)
    }

    /// Applies files and folders, and waits until the API server serves every CRD that they hold.
    pub async fn install(&self, manifests: &[&Path]) -> Result<(), ClusterError> {
        let mut command = vec!["apply".into(), "--server-side".into(), "--output=name".into()];
        for path in manifests {
            command.extend(["--filename".into(), path.as_os_str().to_owned()]);
        }
        let applied = self.kubectl.run(&command).await?;
        let client = self.client()?;
        for object in applied.lines() {
            if let Some(name) = object.strip_prefix("customresourcedefinition.apiextensions.k8s.io/") {
                served(&client, name).await?;
            }
        }
        Ok(())
    }

    /// Installs what the operator needs for users and groups, beside `deploy/rbac.yaml`: their CRDs and its further
    /// rights, both from the component `deploy/provisioning`.
    pub async fn install_provisioning(&self) -> Result<(), ClusterError> {
        let component = workspace::root().join("deploy/provisioning");
        let manifests = ["crds.yaml", "user-roles.yaml"].map(|file| component.join(file));
        self.install(&manifests.each_ref().map(PathBuf::as_path)).await?;
        let rights = component.join("operator/rights.yaml").display().to_string();
        let patch = [
            "patch",
            "clusterrole",
            "scim-bridge-operator",
            "--type=json",
            "--patch-file",
            &rights,
        ];
        self.kubectl.run(&patch).await?;
        Ok(())
    }

    /// A new namespace for one test, empty but for what controllers put into each.
    pub async fn namespace(&self, prefix: &str) -> Result<Namespace, ClusterError> {
        let namespace = core::Namespace {
            metadata: ObjectMeta {
                generate_name: Some(format!("{prefix}-")),
                labels: Some(BTreeMap::from([(LABEL.to_owned(), "true".to_owned())])),
                ..ObjectMeta::default()
            },
            ..core::Namespace::default()
        };
        let made = Api::all(self.client()?)
            .create(&PostParams::default(), &namespace)
            .await?;
        let namespace = Namespace(made.metadata.name.unwrap_or_default());
        if self.own.as_ref().is_none_or(ControlPlane::has_controllers) {
            let accounts: Api<ServiceAccount> = Api::namespaced(self.client()?, namespace.name());
            wait::until_object(NAMESPACE_DEADLINE, "to be made", &accounts, "default", |_| true).await?;
        }
        Ok(namespace)
    }

    /// A kubeconfig file with a fresh token of this ServiceAccount, which must exist: what it may do is what RBAC
    /// grants it, nothing of the administrator's is in the file.
    pub async fn service_account_kubeconfig(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<PathBuf, ClusterError> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client()?, namespace);
        let request = TokenRequest {
            // No audience is named: the token is for the API server itself.
            spec: Some(TokenRequestSpec {
                expiration_seconds: i64::try_from(TOKEN_LIFETIME.as_secs()).ok(),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await?;
        let token = answer.status.and_then(|status| status.token).unwrap_or_default();
        let kubeconfig = credentials::with_token(&self.source, name, &token)?;
        let path = self.scratch.path().join(format!("{namespace}.{name}.kubeconfig"));
        credentials::write_kubeconfig(&path, &kubeconfig)?;
        Ok(path)
    }

    /// Kills the API server, as if its machine had gone. Not for the shared cluster.
    pub async fn stop_api_server(&self) -> Result<(), ClusterError> {
        self.own()?.stop_api_server().await
    }

    /// Starts it again after [`Cluster::stop_api_server`]: same address, same data, same tokens.
    pub async fn start_api_server(&self) -> Result<(), ClusterError> {
        self.own()?.start_api_server().await
    }

    /// Freezes etcd, as if its disk hung. Not for the shared cluster.
    pub fn freeze_etcd(&self) -> Result<(), ClusterError> {
        self.own()?.signal_etcd(Signal::Stop)
    }

    /// Lets it go on after [`Cluster::freeze_etcd`].
    pub fn thaw_etcd(&self) -> Result<(), ClusterError> {
        self.own()?.signal_etcd(Signal::Continue)
    }

    /// Stands in for a scheduler and a kubelet: until the answer is dropped, every Pod of the namespace that has these
    /// labels and is `Pending` is said to be running and ready. Nothing runs, and no probe is called.
    ///
    /// It works on the runtime of the caller, while that is not blocked. The first look is done on return.
    pub async fn pretend_running(&self, namespace: &str, selector: &str) -> Result<Pretence, ClusterError> {
        self.own()?;
        Ok(Pretence::begin(Api::namespaced(self.client()?, namespace), selector).await?)
    }

    /// What runs for this cluster, one line each, for people.
    pub fn describe(&self) -> Vec<String> {
        self.own.as_ref().map(ControlPlane::describe).unwrap_or_default()
    }

    fn own(&self) -> Result<&ControlPlane, ClusterError> {
        self.own.as_ref().ok_or(ClusterError::NotOurs)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("kubeconfig", &self.kubeconfig)
            .finish_non_exhaustive()
    }
}

/// The name of a namespace that was made for one test. It stays: a cluster of the test bed's own is thrown away as a
/// whole, and one without controllers would not empty it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(String);

impl Namespace {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the cluster that `KUBECONFIG` points out is to be used.
fn existing() -> Result<bool, ClusterError> {
    match env::var(CLUSTER).as_deref() {
        Err(_) | Ok("") => Ok(false),
        Ok("existing") => Ok(true),
        Ok(other) => Err(ClusterError::UnknownChoice(other.to_owned())),
    }
}

/// Waits until the CRD is established and its objects can be listed: the second follows the first by a moment.
async fn served(client: &Client, crd: &str) -> Result<(), ClusterError> {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let established = kube::runtime::wait::conditions::is_crd_established();
    let definition = wait::until_object(INSTALL_DEADLINE, "the CRD to be established", &crds, crd, |crd| {
        established.matches_object(Some(crd))
    });
    let spec = definition.await?.spec;
    for version in spec.versions.iter().filter(|version| version.served) {
        let kind = GroupVersionKind::gvk(&spec.group, &version.name, &spec.names.kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, &spec.names.plural);
        let objects: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        wait::until(
            INSTALL_DEADLINE,
            "the API server to list the new kind",
            async || objects.list_metadata(&ListParams::default().limit(1)).await,
        )
        .await?;
    }
    Ok(())
}
