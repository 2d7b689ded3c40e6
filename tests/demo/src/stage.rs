//! Everything that has to run before there is something to see, and its end.

use std::{
    env, fs,
    io::{IsTerminal as _, Write as _, stdout},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use testbed::{Cluster, Failure, OperatorProcess, free_port, scratch::Scratch, workspace};
use tokio::{process::Command, sync::Mutex};

use crate::bridges::Bridges;

/// Namespace and name of the operator's ServiceAccount.
const OPERATOR: &str = "scim-bridge-operator";
/// Namespace of the examples.
pub(crate) const NAMESPACE: &str = "identity";
/// Namespace of the users and groups.
pub(crate) const PEOPLE: &str = "people";
/// The connection for users and groups. The text that is replaced in examples is replaced here too.
const CONNECTION: &str = include_str!("people.yaml");
/// Those of `deploy/examples/` that have a bridge here. The others differ in what stands behind the address.
const EXAMPLES: [&str; 5] = [
    "00-namespace.yaml",
    "entra-id.yaml",
    "google-workspace.yaml",
    "okta.yaml",
    "trouble.yaml",
];

/// The running demo.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) bridges: Mutex<Bridges>,
    operator: OperatorProcess,
    /// What was installed in a cluster that is not ours, and has to go.
    installed: Vec<PathBuf>,
    is_ours: bool,
    scratch: Arc<Scratch>,
}

/// Bridges on loopback are what the address policy refuses. Here they are wanted.
const LOOPBACK: &str = "127.0.0.0/8,::1/128";

impl Stage {
    /// Starts cluster, bridges and operator, and applies the examples.
    pub(crate) async fn set_up() -> Result<Self, Failure> {
        let is_ours = !env::var("CLUSTER").is_ok_and(|cluster| cluster == "existing");
        say(if is_ours {
            "1/5 starting a Kubernetes API"
        } else {
            "1/5 using the cluster of KUBECONFIG"
        })?;
        let cluster = Cluster::start().await?;

        say("2/5 starting a SCIM server and the bridges before it")?;
        let bridges = Bridges::start().await?;

        say("3/5 installing deploy/ and deploy/provisioning/ with kubectl")?;
        let deploy = workspace::root().join("deploy");
        let scratch = Scratch::new("demo")?;
        let installed = install(&cluster, &deploy, is_ours).await?;

        say("4/5 starting the operator, with the rights of its ServiceAccount")?;
        let operator = start_operator(&cluster, &bridges, &scratch).await?;

        say("5/5 applying some of deploy/examples/, their hosts replaced by bridges on this machine")?;
        for example in EXAMPLES {
            let example = fs::read_to_string(deploy.join("examples").join(example))?;
            let manifest = bridges.localize(&example);
            cluster
                .kubectl()
                .run_with(&["apply", "--filename", "-"], &manifest)
                .await?;
        }
        let connection = bridges.localize(CONNECTION);
        cluster
            .kubectl()
            .run_with(&["apply", "--filename", "-"], &connection)
            .await?;
        Ok(Self {
            cluster,
            bridges: Mutex::new(bridges),
            operator,
            installed,
            is_ours,
            scratch,
        })
    }

    /// Runs kubectl, and shows the command and what it prints.
    pub(crate) async fn show(&self, args: &[&str]) -> Result<(), Failure> {
        command(args)?;
        let printed = self.cluster.kubectl().run(args).await?;
        Ok(writeln!(stdout(), "{}", printed.trim_end())?)
    }

    /// The folder where commands run.
    pub(crate) fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Runs kubectl in [`Self::folder`], with the operator's binary as its plugin. Shows the command and what it prints,
    /// and returns that.
    pub(crate) async fn show_plugin(&self, args: &[&str], code: i32) -> Result<String, Failure> {
        command(args)?;
        let plugins = self.folder().join("plugins");
        if !plugins.is_dir() {
            fs::create_dir(&plugins)?;
            symlink(binary()?, plugins.join("kubectl-scim_bridge"))?;
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([plugins].into_iter().chain(env::split_paths(&path)))?;
        let output = Command::new(self.cluster.kubectl().program())
            .args(args)
            .current_dir(self.folder())
            .env("PATH", path)
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .env("SSL_CERT_FILE", roots(&self.scratch))
            .env("ALLOW_CIDR", LOOPBACK)
            .output()
            .await?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        writeln!(stdout(), "{}", printed.trim_end())?;
        if output.status.code() == Some(code) {
            return Ok(printed);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("the command should exit with {code}: {}: {said}", output.status).into())
    }

    /// Says how to look at a demo that is left running, and how to stop it.
    pub(crate) fn explain(&self) -> Result<(), Failure> {
        let mut out = stdout();
        writeln!(out, "\nLeft running. To look at it, in another terminal:\n")?;
        writeln!(out, "  export KUBECONFIG={}", self.cluster.kubeconfig().display())?;
        if let Some(folder) = self.cluster.kubectl().program().parent() {
            writeln!(out, "  export PATH={}:$PATH", folder.display())?;
        }
        writeln!(out, "  kubectl get scimbridgeconnections -A -o wide")?;
        writeln!(out, "  kubectl -n {NAMESPACE} describe sbc okta")?;
        writeln!(out, "  kubectl -n {PEOPLE} get scim -o wide")?;
        writeln!(out, "  curl http://{}/metrics", self.operator.admin())?;
        writeln!(
            out,
            "  tail -f {}\n",
            self.operator.process().log_file().display()
        )?;
        if let Ok(bridges) = self.bridges.try_lock() {
            for line in bridges.describe() {
                writeln!(out, "  {line}")?;
            }
        }
        writeln!(out, "\nTo stop it: Ctrl-C here, or kill {}", std::process::id())?;
        Ok(out.flush()?)
    }

    /// Stops the operator as a cluster would; in a cluster that is not ours, takes back what was installed.
    pub(crate) async fn tear_down(self) -> Result<(), Failure> {
        let status = self.operator.terminate(Duration::from_mins(1)).await?;
        if !status.success() {
            return Err(format!("the operator ended with {status} after SIGTERM").into());
        }
        if !self.is_ours {
            say("taking back what was installed")?;
            // Not waited for: how long a namespace takes to go is the cluster's business.
            let delete = ["delete", "--ignore-not-found", "--wait=false"];
            let kubectl = self.cluster.kubectl();
            kubectl
                .run(&[&delete[..], &["namespace", NAMESPACE, PEOPLE]].concat())
                .await?;
            for manifest in self.installed.iter().rev() {
                let manifest = manifest.display().to_string();
                kubectl
                    .run(&[&delete[..], &["--filename", &manifest]].concat())
                    .await?;
            }
        }
        Ok(())
    }
}

/// Installs the manifests. In a cluster that is not ours, only what the demo needs, and only where nobody has it yet.
async fn install(cluster: &Cluster, deploy: &Path, is_ours: bool) -> Result<Vec<PathBuf>, Failure> {
    if !is_ours {
        for (kind, name) in [
            ("namespace", NAMESPACE),
            ("namespace", PEOPLE),
            ("namespace", OPERATOR),
            ("crd", "scimbridgeconnections.scimbridge.dev"),
            ("crd", "scimusers.scimbridge.dev"),
            ("crd", "scimgroups.scimbridge.dev"),
        ] {
            let found = cluster
                .kubectl()
                .run(&["get", kind, name, "--ignore-not-found", "--output=name"])
                .await?;
            if !found.trim().is_empty() {
                return Err(format!(
                    "the cluster has {} already: the demo would change it; remove it, or use another cluster",
                    found.trim()
                )
                .into());
            }
        }
    }
    // The operator runs here, as a process: our API server has no node, and another's cluster has no image of it.
    let parts = ["crd.yaml", "namespace.yaml", "base/rbac.yaml", "rbac.yaml"].map(|name| deploy.join(name));
    cluster.install(&parts.each_ref().map(PathBuf::as_path)).await?;
    if is_ours {
        cluster
            .kubectl()
            .run(&[
                "apply",
                "--server-side",
                "--kustomize",
                &deploy.display().to_string(),
            ])
            .await?;
    }
    cluster.install_provisioning().await?;
    let further = deploy.join("provisioning/crds.yaml");
    Ok(parts.into_iter().chain([further]).collect())
}

/// The file with the authority of the bridges.
fn roots(scratch: &Scratch) -> PathBuf {
    scratch.path().join("roots.pem")
}

async fn start_operator(
    cluster: &Cluster,
    bridges: &Bridges,
    scratch: &Scratch,
) -> Result<OperatorProcess, Failure> {
    let kubeconfig = cluster.service_account_kubeconfig(OPERATOR, OPERATOR).await?;
    let roots = roots(scratch);
    fs::write(&roots, bridges.authority.ca_pem())?;
    let admin = format!("127.0.0.1:{}", free_port()?);
    let args = [
        "run",
        "--provisioning",
        "--allow-cidr",
        LOOPBACK,
        "--admin-addr",
        &admin,
        "--lease-namespace",
        OPERATOR,
        "--log-format",
        "json",
    ];
    let envs = [("SSL_CERT_FILE", roots.display().to_string())];
    let envs = envs.each_ref().map(|(name, value)| (*name, value.as_str()));
    Ok(OperatorProcess::start(&binary()?, &kubeconfig, &args, &envs).await?)
}

/// The operator that was built beside this program.
fn binary() -> Result<PathBuf, Failure> {
    let binary = env::current_exe()?.with_file_name("scim-bridge-operator");
    if binary.is_file() {
        Ok(binary)
    } else {
        Err("build the operator first: cargo build --bins".into())
    }
}

/// Says what happens.
pub(crate) fn say(what: &str) -> Result<(), Failure> {
    let (on, off) = if stdout().is_terminal() {
        ("\x1b[1m", "\x1b[0m")
    } else {
        ("", "")
    };
    Ok(writeln!(stdout(), "\n{on}{what}{off}")?)
}

/// Shows a kubectl command.
pub(crate) fn command(args: &[&str]) -> Result<(), Failure> {
    Ok(writeln!(stdout(), "$ kubectl {}", args.join(" "))?)
}
