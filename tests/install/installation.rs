//! An installation: how it got there, its Pod, and the operator that runs as that Pod would.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bridge_front::Front;
use serde_json::{Value, json};
use testbed::{Cluster, OperatorProcess, cluster::Helm, connection, free_port, spec, wait, workspace};

/// For whatever is awaited.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);
/// Name of the release, and of everything in it.
pub(crate) const NAME: &str = "scim-bridge-operator";
/// Its namespace.
pub(crate) const HOME: &str = "scim-bridge-operator";
/// Namespace of connections.
pub(crate) const IDENTITY: &str = "identity";
/// The key of every bridge here.
const KEY: &str = "not-a-real-key";
const BINARY: &str = env!("CARGO_BIN_EXE_scim-bridge-operator");

/// How the operator is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The chart, for all namespaces.
    Chart,
    /// The chart, for a list of namespaces.
    ChartForNamespaces,
    /// `kubectl apply -k deploy/`.
    Manifests,
    /// `kubectl apply -k deploy/overlays/one-namespace`.
    ManifestsForOneNamespace,
}

/// A cluster of its own, with namespaces that enforce Pod Security level `restricted`.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    helm: Helm,
    way: Way,
}

impl Site {
    pub(crate) async fn new(way: Way) -> Self {
        let cluster = Cluster::with_controllers().await.unwrap();
        let helm = cluster.helm().await.unwrap();
        let site = Self { cluster, helm, way };
        for name in [HOME, IDENTITY, "team-b", "elsewhere"] {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
            site.cluster.apply(&namespace.to_string()).await.unwrap();
        }
        site
    }

    pub(crate) fn helm(&self) -> &Helm {
        &self.helm
    }

    /// Where connections are judged.
    pub(crate) fn watched(&self) -> &'static str {
        match self.way {
            Way::Chart | Way::ChartForNamespaces | Way::Manifests => IDENTITY,
            Way::ManifestsForOneNamespace => HOME,
        }
    }

    fn deploy(folder: &str) -> String {
        workspace::root()
            .join("deploy")
            .join(folder)
            .display()
            .to_string()
    }

    /// Installs, or upgrades with further values; returns when the Deployment is there with all its Pods.
    pub(crate) async fn install(&self, values: &[&str]) {
        let _running = self
            .cluster
            .pretend_running(HOME, "app.kubernetes.io/name=scim-bridge-operator")
            .await
            .unwrap();
        let kubectl = self.cluster.kubectl();
        match self.way {
            Way::Chart | Way::ChartForNamespaces => {
                let chart = workspace::root()
                    .join("charts/scim-bridge-operator")
                    .display()
                    .to_string();
                let mut command = vec![
                    "upgrade",
                    "--install",
                    NAME,
                    &chart,
                    "--namespace",
                    HOME,
                    "--wait",
                    "--timeout",
                    "90s",
                    "--set",
                    "addressPolicy.allowCidrs={127.0.0.0/8}",
                ];
                if self.way == Way::ChartForNamespaces {
                    command.extend(["--set", "watchNamespaces={identity,team-b}"]);
                }
                for value in values {
                    command.extend(["--set", value]);
                }
                self.helm.run(&command).await.unwrap();
            }
            Way::Manifests => {
                kubectl
                    .run(&["apply", "--server-side", "--kustomize", &Self::deploy("")])
                    .await
                    .unwrap();
            }
            Way::ManifestsForOneNamespace => {
                // What the overlay says an administrator does before.
                let crd = workspace::root().join("deploy/crd.yaml");
                self.cluster.install(&[crd.as_path()]).await.unwrap();
                let overlay = Self::deploy("overlays/one-namespace");
                kubectl
                    .run(&["apply", "--server-side", "--kustomize", &overlay])
                    .await
                    .unwrap();
            }
        }
        let rollout = [
            "rollout",
            "status",
            "deployment",
            NAME,
            "--namespace",
            HOME,
            "--timeout=60s",
        ];
        kubectl.run(&rollout).await.unwrap();
    }

    /// Takes the operator away, and what the way of its installation takes along.
    pub(crate) async fn uninstall(&self) {
        let kubectl = self.cluster.kubectl();
        match self.way {
            Way::Chart | Way::ChartForNamespaces => {
                let command = [
                    "uninstall",
                    NAME,
                    "--namespace",
                    HOME,
                    "--wait",
                    "--timeout",
                    "90s",
                ];
                self.helm.run(&command).await.unwrap();
            }
            // kubectl deletes what it is told to, so it is told everything but CRD and namespace.
            Way::Manifests | Way::ManifestsForOneNamespace => {
                let folder = match self.way {
                    Way::ManifestsForOneNamespace => Self::deploy("overlays/one-namespace"),
                    Way::Manifests | Way::Chart | Way::ChartForNamespaces => Self::deploy("base"),
                };
                kubectl
                    .run(&["delete", "--kustomize", &folder, "--wait"])
                    .await
                    .unwrap();
            }
        }
    }

    /// The newest Pod of the operator, as it was admitted.
    pub(crate) async fn pod(&self) -> Value {
        let get = [
            "get",
            "pods",
            "--namespace",
            HOME,
            "--output=json",
            "--sort-by=.metadata.creationTimestamp",
            "--selector=app.kubernetes.io/name=scim-bridge-operator",
        ];
        let pods: Value = serde_json::from_str(&self.cluster.kubectl().run(&get).await.unwrap()).unwrap();
        pods["items"]
            .as_array()
            .unwrap()
            .last()
            .unwrap_or_else(|| panic!("no Pod was admitted"))
            .clone()
    }

    /// A kubeconfig with a token of the ServiceAccount that the Pod runs as.
    pub(crate) async fn kubeconfig(&self) -> PathBuf {
        let account = self.pod().await["spec"]["serviceAccountName"]
            .as_str()
            .unwrap()
            .to_owned();
        self.cluster
            .service_account_kubeconfig(HOME, &account)
            .await
            .unwrap()
    }

    /// Runs what the Pod would run.
    pub(crate) async fn run(&self) -> Running {
        let pod = self.pod().await;
        let container = &pod["spec"]["containers"][0];
        assert!(
            container.get("command").is_none(),
            "the image's entry point is the binary"
        );
        let mut arguments: Vec<String> = strings(&container["args"]);
        arguments.retain(|argument| !argument.starts_with("--admin-addr"));
        let port = free_port().unwrap().to_string();
        arguments.extend(["--admin-addr".to_owned(), format!("127.0.0.1:{port}")]);
        let mut environment: Vec<(String, String)> = container["env"]
            .as_array()
            .unwrap()
            .iter()
            .map(|variable| {
                let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                    Some("metadata.name") => &pod["metadata"]["name"],
                    Some("metadata.namespace") => &pod["metadata"]["namespace"],
                    Some(other) => panic!("give {other} a meaning here"),
                    None => &variable["value"],
                };
                (
                    variable["name"].as_str().unwrap().to_owned(),
                    value.as_str().unwrap().to_owned(),
                )
            })
            .collect();
        if matches!(self.way, Way::Manifests | Way::ManifestsForOneNamespace) {
            environment.push(("ALLOW_CIDR".to_owned(), "127.0.0.0/8".to_owned()));
            // In a Pod it is known from the ServiceAccount's files.
            environment.push(("LEASE_NAMESPACE".to_owned(), HOME.to_owned()));
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let environment: Vec<_> = environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let operator = OperatorProcess::spawn(
            Path::new(BINARY),
            &self.kubeconfig().await,
            &arguments,
            &environment,
        )
        .unwrap();
        operator.ready(DEADLINE).await.unwrap();
        // Its probes, as the kubelet would call them.
        for probe in ["livenessProbe", "readinessProbe"] {
            let request = &container[probe]["httpGet"];
            assert_eq!(request["port"], "admin");
            assert_eq!(container["ports"][0]["name"], "admin");
            assert_eq!(container["ports"][0]["containerPort"], 8080);
            let path = request["path"].as_str().unwrap();
            // One that begins to lead is not ready while it reads.
            let answered = wait::until(DEADLINE, path, async || {
                operator.get(path.trim_start_matches('/')).await
            });
            answered.await.unwrap();
        }
        Running(operator)
    }

    /// A bridge, and a connection to it.
    pub(crate) async fn connect(&self, namespace: &str, name: &str) -> Front {
        let bridge = Front::builder().key(KEY).start().await.unwrap();
        for object in [
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace},
                "stringData": {"apiKey": KEY}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace},
                "data": {"ca.crt": bridge.ca_pem().unwrap()}}),
            connection(
                &format!("{namespace}/{name}"),
                spec().url(&bridge.url()).secret(name).patient().ca(name),
            ),
        ] {
            self.cluster.apply(&object.to_string()).await.unwrap();
        }
        bridge
    }

    /// Waits until the connection is `Connected`.
    pub(crate) async fn connected(&self, namespace: &str, name: &str) {
        let target = format!("scimbridgeconnection/{name}");
        let command = [
            "wait",
            "--for=condition=Connected",
            &target,
            "--namespace",
            namespace,
            "--timeout=90s",
        ];
        self.cluster.kubectl().run(&command).await.unwrap();
    }

    /// The status of a connection, in full.
    pub(crate) async fn status(&self, namespace: &str, name: &str) -> String {
        let get = [
            "get",
            "sbc",
            name,
            "--namespace",
            namespace,
            "--output=jsonpath={.status}",
        ];
        self.cluster.kubectl().run(&get).await.unwrap()
    }
}

/// What runs in place of the Pod.
pub(crate) struct Running(OperatorProcess);

impl Running {
    /// Ends it, as a kubelet would.
    pub(crate) async fn stop(self) {
        let ended = self.0.terminate(DEADLINE).await.unwrap();
        assert!(ended.success(), "SIGTERM is no failure: {ended}");
    }
}

/// How often a bridge was probed.
pub(crate) fn probes(bridge: &Front) -> usize {
    bridge
        .requests()
        .iter()
        .filter(|request| request.path() == "/ping")
        .count()
}

pub(crate) fn strings(list: &Value) -> Vec<String> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}
