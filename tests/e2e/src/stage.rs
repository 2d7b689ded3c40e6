//! The cluster, what is installed in it, and its end.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{Api, api::ListParams};
use serde_json::{Value, json};
use testbed::{Cluster, Failure, cluster::Helm, wait, workspace};
use tokio::process::Command;

use crate::{Arguments, bridges::Bridges, say};

/// Name of the release, and of everything in it.
pub(crate) const NAME: &str = "scim-bridge-operator";
/// Namespace of the operator. Pod Security admission enforces `restricted` there.
pub(crate) const HOME: &str = "scim-bridge-operator-e2e";
/// Namespace of the connections.
pub(crate) const CONNECTIONS: &str = "scim-bridge-operator-e2e-connections";
const CRD: &str = "scimbridgeconnections.scimbridge.dev";
/// For whatever a cluster takes its time for.
pub(crate) const DEADLINE: Duration = Duration::from_mins(4);

/// The cluster with the operator in it.
pub(crate) struct Stage {
    pub(crate) arguments: Arguments,
    pub(crate) cluster: Cluster,
    pub(crate) bridges: Bridges,
    helm: Helm,
    chart: PathBuf,
}

impl Stage {
    /// Brings the image, makes the namespaces and what every connection refers to.
    pub(crate) async fn set_up(arguments: Arguments) -> Result<Self, Failure> {
        let cluster = Cluster::start().await?;
        let stage = Self {
            bridges: Bridges::new(arguments.bridge_address)?,
            helm: cluster.helm().await?,
            chart: workspace::root().join("charts/scim-bridge-operator"),
            arguments,
            cluster,
        };
        stage.refuse_to_intrude().await?;
        if let Some(load) = &stage.arguments.image_load {
            say("loading the image")?;
            shell(load, &[("IMAGE", &stage.arguments.image)]).await?;
        }
        let namespaces = format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {HOME}, labels: \
             {{pod-security.kubernetes.io/enforce: restricted}}}}}}\n---\n\
             {{apiVersion: v1, kind: Namespace, metadata: {{name: {CONNECTIONS}}}}}"
        );
        stage.cluster.apply(&namespaces).await?;
        let ca = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "ca", "namespace": CONNECTIONS},
            "data": {"ca.crt": stage.bridges.ca_pem()}});
        stage.cluster.apply(&ca.to_string()).await?;
        Ok(stage)
    }

    /// What is there already belongs to somebody.
    async fn refuse_to_intrude(&self) -> Result<(), Failure> {
        for (kind, name) in [("namespace", HOME), ("namespace", CONNECTIONS), ("crd", CRD)] {
            let get = ["get", kind, name, "--ignore-not-found", "--output=name"];
            if !self.cluster.kubectl().run(&get).await?.trim().is_empty() {
                return Err(format!(
                    "the cluster has {kind} {name} already: remove it if it is left over, or use another cluster"
                )
                .into());
            }
        }
        Ok(())
    }

    // === the release ===

    /// Installs the chart, or upgrades it with further values.
    pub(crate) async fn upgrade(&self, values: &[&str]) -> Result<(), Failure> {
        let (repository, tag) = self
            .arguments
            .image
            .rsplit_once(':')
            .ok_or("IMAGE has no tag: write NAME:TAG")?;
        let chart = self.chart.display().to_string();
        let (repository, tag) = (
            format!("image.repository={repository}"),
            format!("image.tag={tag}"),
        );
        let mut command = vec![
            "upgrade",
            "--install",
            NAME,
            &chart,
            "--namespace",
            HOME,
            "--wait",
            "--timeout",
            "3m",
            // Where the image was loaded there is nothing to pull it from.
            "--set",
            &repository,
            "--set-string",
            &tag,
            "--set",
            "replicas=2",
        ];
        for value in values {
            command.extend(["--set-string", value]);
        }
        self.helm.run(&command).await?;
        Ok(())
    }

    /// `helm test`.
    pub(crate) async fn test(&self) -> Result<(), Failure> {
        self.helm
            .run(&["test", NAME, "--namespace", HOME, "--timeout", "2m"])
            .await?;
        Ok(())
    }

    /// `helm uninstall`.
    pub(crate) async fn uninstall(&self) -> Result<(), Failure> {
        let command = [
            "uninstall",
            NAME,
            "--namespace",
            HOME,
            "--wait",
            "--timeout",
            "3m",
            "--ignore-not-found",
        ];
        self.helm.run(&command).await?;
        Ok(())
    }

    // === Pods ===

    pub(crate) fn leases(&self) -> Result<Api<Lease>, Failure> {
        Ok(Api::namespaced(self.cluster.client()?, HOME))
    }

    /// Name of the Pod that leads.
    pub(crate) async fn leader(&self) -> Result<String, Failure> {
        let lease = self.leases()?.get(NAME).await?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity);
        Ok(holder.filter(|holder| !holder.is_empty()).ok_or("nobody leads")?)
    }

    pub(crate) async fn pods(&self) -> Result<Vec<Pod>, Failure> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client()?, HOME);
        let selector = format!("app.kubernetes.io/name={NAME},app.kubernetes.io/instance={NAME}");
        Ok(pods.list(&ListParams::default().labels(&selector)).await?.items)
    }

    /// Kills the container of a Pod: no signal that it could handle, no grace.
    pub(crate) async fn kill(&self, pod: &str) -> Result<(), Failure> {
        let Some(command) = &self.arguments.kill_container else {
            let delete = [
                "delete",
                "pod",
                pod,
                "--namespace",
                HOME,
                "--grace-period=0",
                "--force",
            ];
            self.cluster.kubectl().run(&delete).await?;
            return Ok(());
        };
        let path = "--output=jsonpath={.status.containerStatuses[0].containerID}";
        let get = ["get", "pod", pod, "--namespace", HOME, path];
        let id = self.cluster.kubectl().run(&get).await?;
        let id = id.rsplit('/').next().unwrap_or_default();
        shell(command, &[("CONTAINER_ID", id)]).await
    }

    /// Crashes the cluster, if the user has said how.
    pub(crate) async fn crash(&self) -> Result<bool, Failure> {
        let Some(command) = &self.arguments.crash else {
            return Ok(false);
        };
        shell(command, &[]).await?;
        let kubectl = self.cluster.kubectl();
        wait::until(DEADLINE, "the API server to be back", async || {
            kubectl.run(&["get", "--raw", "/readyz"]).await
        })
        .await?;
        Ok(true)
    }

    // === connections ===

    /// Applies manifests, in one go.
    pub(crate) async fn apply(&self, objects: &[Value]) -> Result<(), Failure> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.cluster.apply(&list.to_string()).await?;
        Ok(())
    }

    /// Waits until the connections that are counted are as many as there should be.
    pub(crate) async fn until_statuses(
        &self,
        what: &str,
        fits: impl Fn(&[(String, String)]) -> bool,
    ) -> Result<Duration, Failure> {
        let begun = Instant::now();
        let kubectl = self.cluster.kubectl();
        let path = r#"--output=jsonpath={range .items[*]}{.metadata.name}{"="}{.status.conditions[?(@.type=="Ready")].reason}{"\n"}{end}"#;
        wait::until(DEADLINE, what, async || {
            let get = ["get", "sbc", "--namespace", CONNECTIONS, path];
            let text = kubectl.run(&get).await.map_err(|error| error.to_string())?;
            let pairs: Vec<_> = text
                .lines()
                .filter_map(|line| line.split_once('='))
                .map(|(name, reason)| (name.to_owned(), reason.to_owned()))
                .collect();
            if fits(&pairs) {
                Ok(())
            } else {
                Err(summary(&pairs))
            }
        })
        .await?;
        Ok(begun.elapsed())
    }

    /// Waits until one connection has this STATUS.
    pub(crate) async fn until_status(&self, name: &str, reason: &str) -> Result<Duration, Failure> {
        let what = format!("{name} to be {reason}");
        self.until_statuses(&what, |pairs| {
            pairs.iter().any(|(found, is)| found == name && is == reason)
        })
        .await
    }

    /// Asks for a probe of a connection, and waits until it was answered: somebody works.
    pub(crate) async fn until_answered(&self, name: &str, request: &str) -> Result<Duration, Failure> {
        let begun = Instant::now();
        let kubectl = self.cluster.kubectl();
        let annotation = format!("reconcile.fluxcd.io/requestedAt={request}");
        kubectl
            .run(&[
                "annotate",
                "sbc",
                name,
                "--namespace",
                CONNECTIONS,
                "--overwrite",
                &annotation,
            ])
            .await?;
        wait::until(DEADLINE, "a probe that was asked for", async || {
            let path = "--output=jsonpath={.status.lastHandledReconcileAt}";
            let get = ["get", "sbc", name, "--namespace", CONNECTIONS, path];
            let answer = kubectl.run(&get).await.map_err(|error| error.to_string())?;
            if answer == request { Ok(()) } else { Err(answer) }
        })
        .await?;
        Ok(begun.elapsed())
    }

    // === the end ===

    /// For whoever looks at a failure.
    pub(crate) async fn show_what_there_is(&self) {
        let kubectl = self.cluster.kubectl();
        for command in [
            &["get", "pods", "--namespace", HOME, "--output=wide"][..],
            &["get", "events", "--namespace", HOME, "--sort-by=.lastTimestamp"],
            &[
                "logs",
                "--namespace",
                HOME,
                "--selector=app.kubernetes.io/name=scim-bridge-operator",
                "--prefix",
                "--tail=20",
            ],
        ] {
            let shown = kubectl
                .run(command)
                .await
                .unwrap_or_else(|error| error.to_string());
            // Standard output that is closed is no reason to leave anything behind.
            let _ = say(&shown);
        }
    }

    /// Takes back what was made.
    pub(crate) async fn tear_down(self) -> Result<(), Failure> {
        say("taking back what was made")?;
        self.uninstall().await?;
        let kubectl = self.cluster.kubectl();
        kubectl
            .run(&["delete", "namespace", HOME, CONNECTIONS, "--ignore-not-found"])
            .await?;
        // Refused at the beginning, had it been somebody else's.
        kubectl.run(&["delete", "crd", CRD, "--ignore-not-found"]).await?;
        Ok(())
    }
}

/// How many connections have which STATUS.
fn summary(pairs: &[(String, String)]) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for (_, reason) in pairs {
        *counts.entry(reason.as_str()).or_insert(0) += 1;
    }
    format!("{counts:?}")
}

/// Runs a command of the user's.
async fn shell(command: &str, variables: &[(&str, &str)]) -> Result<(), Failure> {
    let status = Command::new("sh")
        .args(["-c", command])
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .status()
        .await?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{command}` ended with {status}").into())
    }
}
