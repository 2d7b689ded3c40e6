//! etcd and kube-apiserver on loopback and, where a test asks for it, kube-controller-manager.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::{ClusterError, controllers::start_controllers, credentials::Credentials};
use crate::{
    loopback::{self, free_port},
    scratch::Scratch,
    supervise::{Launch, Process, Signal, SuperviseError},
    tools::ControlPlaneTools,
};

/// Far beyond what a busy machine needs; the usual start takes one to three seconds.
pub(super) const START_DEADLINE: Duration = Duration::from_mins(1);
/// A port that was free may be taken when the server gets to it.
pub(super) const PORT_TRIES: u32 = 4;
/// The data is thrown away: there is no reason to wait for an orderly end when the owner is gone.
pub(super) const GRACE: Duration = Duration::ZERO;

/// A control plane of our own. Dropped, it is killed.
///
/// The processes in this order: each is dropped before the one that it uses, and does not complain into its log.
pub(super) struct ControlPlane {
    controllers: Option<Process>,
    api_server: Mutex<Option<Process>>,
    etcd: Process,
    launch: Launch,
    config: Config,
    kubeconfig: Kubeconfig,
    scratch: Arc<Scratch>,
}

impl ControlPlane {
    pub(super) async fn start(
        tools: &ControlPlaneTools,
        controller_manager: Option<&Path>,
        credentials: &Credentials,
        scratch: &Arc<Scratch>,
    ) -> Result<Self, ClusterError> {
        let (etcd, store) = start_etcd(tools, scratch).await?;
        let admission = if controller_manager.is_some() {
            Admission::Complete
        } else {
            Admission::WithoutServiceAccounts
        };
        let mut tries = 1;
        loop {
            let address = loopback::at(free_port()?);
            let launch = api_server(tools, credentials, store, address, admission);
            let kubeconfig = credentials.admin_kubeconfig(address)?;
            let config =
                Config::from_custom_kubeconfig(kubeconfig.clone(), &KubeConfigOptions::default()).await?;
            match start_api_server(&launch, scratch, &config).await {
                Ok(process) => {
                    let controllers = match controller_manager {
                        Some(program) => {
                            Some(start_controllers(program, credentials, address, scratch).await?)
                        }
                        None => None,
                    };
                    let (api_server, scratch) = (Mutex::new(Some(process)), Arc::clone(scratch));
                    return Ok(Self {
                        controllers,
                        api_server,
                        etcd,
                        launch,
                        config,
                        kubeconfig,
                        scratch,
                    });
                }
                Err(ClusterError::Process(error)) if is_port_taken(&error) && tries < PORT_TRIES => {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The administrator's.
    pub(super) fn kubeconfig(&self) -> &Kubeconfig {
        &self.kubeconfig
    }

    /// Whether something acts on objects.
    pub(super) fn has_controllers(&self) -> bool {
        self.controllers.is_some()
    }

    pub(super) async fn stop_api_server(&self) -> Result<(), ClusterError> {
        let process = self.api_server().take();
        match process {
            Some(process) => Ok(process.kill().await?),
            None => Ok(()),
        }
    }

    pub(super) fn signal_etcd(&self, signal: Signal) -> Result<(), ClusterError> {
        Ok(self.etcd.signal(signal)?)
    }

    pub(super) async fn start_api_server(&self) -> Result<(), ClusterError> {
        if self.api_server().is_none() {
            let process = start_api_server(&self.launch, &self.scratch, &self.config).await?;
            *self.api_server() = Some(process);
        }
        Ok(())
    }

    /// What runs, for people: name, process id, log file.
    pub(super) fn describe(&self) -> Vec<String> {
        let line = |process: &Process| {
            format!(
                "{}: pid {}, log {}",
                process.name(),
                process.pid(),
                process.log_file().display()
            )
        };
        let api_server = self.api_server();
        self.controllers
            .iter()
            .chain(api_server.iter())
            .chain([&self.etcd])
            .map(line)
            .collect()
    }

    fn api_server(&self) -> MutexGuard<'_, Option<Process>> {
        self.api_server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn start_etcd(
    tools: &ControlPlaneTools,
    scratch: &Arc<Scratch>,
) -> Result<(Process, SocketAddr), ClusterError> {
    let mut tries = 1;
    loop {
        let address = loopback::at(free_port()?);
        let url = format!("http://{address}");
        let launch = Launch::new("etcd", &tools.etcd)
            // Its flags are read from the environment as well.
            .clean_environment()
            .arg(flag("data-dir", scratch.path().join("etcd").display()))
            .arg(flag("listen-client-urls", &url))
            .arg(flag("advertise-client-urls", &url))
            // There are no peers, but a listener there must be; nobody has to know its port.
            .arg(flag("listen-peer-urls", "http://127.0.0.1:0"))
            .arg("--unsafe-no-fsync")
            .grace(GRACE);
        let process = launch.start(scratch)?;
        let health = format!("{url}/health");
        let ready = process.ready(START_DEADLINE, "etcd to be healthy", async || {
            loopback::get(&health).await
        });
        match ready.await {
            Ok(_) => return Ok((process, address)),
            Err(error) if is_port_taken(&error) && tries < PORT_TRIES => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Which of its default plugins the API server runs.
#[derive(Clone, Copy)]
enum Admission {
    /// All of them.
    Complete,
    /// Not the one that waits for the default ServiceAccount: only a controller-manager makes them.
    WithoutServiceAccounts,
}

fn api_server(
    tools: &ControlPlaneTools,
    credentials: &Credentials,
    store: SocketAddr,
    address: SocketAddr,
    admission: Admission,
) -> Launch {
    let launch = Launch::new("kube-apiserver", &tools.kube_apiserver)
        .arg(flag("etcd-servers", format_args!("http://{store}")))
        .arg(flag("bind-address", address.ip()))
        .arg(flag("secure-port", address.port()))
        // The address is asked for again after a stop; connections of the last life must not hold it.
        .arg("--permit-address-sharing")
        // Else the machine's default route decides, and without one it does not start.
        .arg(flag("advertise-address", address.ip()))
        // Nobody reaches the API server through a Service.
        .arg(flag("endpoint-reconciler-type", "none"))
        .arg(flag("service-cluster-ip-range", "10.0.0.0/24"))
        .arg(flag("client-ca-file", credentials.ca.display()))
        .arg(flag(
            "tls-cert-file",
            credentials.api_server.certificate.display(),
        ))
        .arg(flag("tls-private-key-file", credentials.api_server.key.display()))
        .arg(flag("service-account-issuer", "https://kubernetes.default.svc"))
        .arg(flag(
            "service-account-signing-key-file",
            credentials.token_key.display(),
        ))
        .arg(flag(
            "service-account-key-file",
            credentials.token_public_key.display(),
        ))
        .arg(flag("authorization-mode", "RBAC"))
        // As every distribution has it: who may run privileged Pods is decided by Pod Security, namespace by namespace.
        .arg("--allow-privileged")
        .grace(GRACE);
    match admission {
        Admission::Complete => launch,
        Admission::WithoutServiceAccounts => launch.arg(flag("disable-admission-plugins", "ServiceAccount")),
    }
}

async fn start_api_server(
    launch: &Launch,
    scratch: &Arc<Scratch>,
    config: &Config,
) -> Result<Process, ClusterError> {
    let client = Client::try_from(config.clone())?;
    let process = launch.start(scratch)?;
    let ready = process.ready(START_DEADLINE, "the API server to be ready", async || {
        let request = http::Request::get("/readyz")
            .body(Vec::new())
            .map_err(kube::Error::HttpError)?;
        client.request_text(request).await
    });
    ready.await?;
    Ok(process)
}

pub(super) fn flag(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}

/// All servers are Go programs, and say it in the words of the system.
pub(super) fn is_port_taken(error: &SuperviseError) -> bool {
    matches!(error, SuperviseError::Ended { tail, .. } if tail.contains("address already in use"))
}
