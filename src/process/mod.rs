//! The process: its tasks, and the order in which they stop.
//!
//! ```text
//! run ── signals        first SIGTERM or SIGINT: stop; second: abort
//!     ├─ admin          /livez /readyz /metrics
//!     ├─ requirements   what the cluster lacks
//!     └─ lease ── controller
//! ```
//!
//! After the first signal, the process starts no reconcile and waits for the running ones. Then it releases the Lease
//! and exits with 0. If a task ends by itself, the process exits with 1: running on without that task would hide the
//! fault.

pub mod telemetry;

mod admin;
mod leader;
mod memory;
mod preflight;
mod requirements;

use std::{future::Future, net::IpAddr, sync::Arc};

use kube::{Client, Config};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc::UnboundedReceiver, watch},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use self::preflight::preflight;
use self::{
    admin::AdminState,
    leader::Election,
    requirements::{Finding, LeaseName, Requirements, watch_over},
};

use crate::{
    args::{Addresses, RunArguments},
    bridge::{
        HttpProber, Lanes,
        scim::{directory::DirectoryReader, memory::Memory, write::DirectoryWriter},
        wire::{address::AddressPolicy, proxy::BridgeProxy, stages::Observer, trust::system_roots},
    },
    clock::{Clock, SystemClock},
    cluster::{self, ClusterError, call::ApiServer},
    controller::{
        ControllerError, Readiness,
        context::{Context, Settings},
        drive,
    },
    feed::{Feed, FeedEvent},
    leadership::Leadership,
    metrics::Metrics,
    provision::{self, ProvisionError, provide},
    resolve::{Resolver, authorities::Authorities},
    settings::{AdminAddress, LabelSelector},
    traces::TraceLayer,
};
#[cfg(feature = "otlp")]
use crate::{
    settings::ServerUrl,
    traces::export::{Export, ExportError},
};

/// Why the process exits with an error.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// No client for the API server can be made.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The admin address is in use or not allowed.
    #[error("cannot listen on {address} (--admin-addr)")]
    Listen {
        /// The address.
        address: AdminAddress,
        /// The cause.
        source: std::io::Error,
    },
    /// Signals cannot be received, or the admin server failed.
    #[error("a system call failed")]
    System(#[from] std::io::Error),
    /// The export of traces cannot be set up.
    #[cfg(feature = "otlp")]
    #[error("cannot export traces (--otlp-endpoint)")]
    Traces(#[from] ExportError),
    /// The controller ended with an error.
    #[error("the controller ended")]
    Controller(#[from] ControllerError),
    /// Provisioning ended with an error.
    #[error("provisioning ended")]
    Provisioning(#[from] ProvisionError),
    /// The Lease was lost.
    #[error("the Lease was lost; another replica may lead now")]
    LeaseLost,
    /// This number of requirements is not met.
    #[error("preflight failed: {0} requirement(s) not met")]
    Preflight(usize),
    /// A second signal arrived while the process was stopping.
    #[error("aborted by a second signal")]
    Aborted,
}

/// Runs the operator until a signal stops it.
///
/// # Errors
/// [`ProcessError`] if a task that the process needs has failed.
#[cfg(feature = "otlp")]
pub async fn run(arguments: RunArguments) -> Result<(), ProcessError> {
    let Some(ServerUrl(collector)) = &arguments.otlp_endpoint else {
        return Box::pin(run_traced(arguments, TraceSinks::default())).await;
    };
    let export = Export::to(collector, system_roots())?;
    let sinks = TraceSinks {
        layer: Some(export.layer()),
        observer: Some(Arc::new(export.layers())),
    };
    let result = Box::pin(run_traced(arguments, sinks)).await;
    export.end().await;
    result
}

/// Runs the operator until a signal stops it.
///
/// # Errors
/// [`ProcessError`] if a task that the process needs has failed.
#[cfg(not(feature = "otlp"))]
pub async fn run(arguments: RunArguments) -> Result<(), ProcessError> {
    Box::pin(run_traced(arguments, TraceSinks::default())).await
}

/// What turns spans and probe layers into exported traces. Empty without a collector.
#[derive(Default)]
struct TraceSinks {
    layer: Option<TraceLayer>,
    observer: Option<Arc<dyn Observer>>,
}

async fn run_traced(arguments: RunArguments, traces: TraceSinks) -> Result<(), ProcessError> {
    // Destructured completely: an unused flag is a compile error.
    let RunArguments {
        scope,
        watch_label_selector,
        addresses:
            Addresses {
                allow_cidrs,
                deny_cidrs,
                allowed_hosts,
                bridge_proxy,
                bridge_no_proxy,
            },
        require_secret_consent,
        concurrency,
        heartbeat,
        drain_timeout,
        identity,
        admin_addr,
        log_format,
        log_level,
        #[cfg(feature = "otlp")]
            otlp_endpoint: _,
    } = arguments;
    let log_level = telemetry::install(log_format, &log_level, traces.layer);
    let config = cluster::config().await?;
    let bridges = Bridges {
        policy: Arc::new(AddressPolicy {
            denied: deny_cidrs,
            allowed: allow_cidrs,
            allowed_hosts,
            api_server: api_server_addresses(&config).await,
        }),
        proxy: bridge_proxy.map(|url| BridgeProxy {
            url,
            exceptions: bridge_no_proxy,
        }),
        require_consent: require_secret_consent,
        observer: traces.observer,
    };
    let requirements = Requirements::new(&scope, &config.default_namespace);
    let client = cluster::client(config.clone())?;
    let leadership = match requirements.lease {
        Some(_) => Leadership::limited(leader::RENEW_DEADLINE),
        None => Leadership::unlimited(),
    };
    let identity = identity.unwrap_or_else(leader::make_identity);
    let settings = Settings {
        scopes: requirements.scopes.clone(),
        label_selector: watch_label_selector.and_then(LabelSelector::narrowing),
        concurrency: usize::from(concurrency),
        heartbeat,
        drain: drain_timeout,
        instance: identity.clone(),
    };
    let metrics = Arc::new(Metrics::default());
    let tasks = Tasks::new(
        client.clone(),
        bridges,
        leadership.clone(),
        Arc::clone(&metrics),
        settings,
        requirements.provisioning,
    );

    let listener = listen(admin_addr)?;
    let admin_addr = listener.local_addr()?;
    let (readiness, synced) = watch::channel(Readiness::Starting);
    let (standby, stands_by) = watch::channel(requirements.lease.is_some());
    let (findings, found) = watch::channel(None);
    let state = AdminState {
        findings: found.clone(),
        synced,
        standby: stands_by,
    };
    let stop = CancellationToken::new();
    let signals = Signals::new()?;

    let controller = Box::pin(tasks.run(standby, readiness, stop.clone()));
    let election = requirements
        .lease
        .clone()
        .map(|LeaseName { namespace, name }| Election {
            namespace,
            name,
            identity,
            leadership,
        });
    let work = work(config, found, election, stop.clone(), controller);
    info!(version = env!("CARGO_PKG_VERSION"), %admin_addr, "started");
    tokio::select! {
        result = work => result,
        () = watch_over(client, requirements, findings) => Ok(()),
        never = memory::trim_forever() => match never {},
        result = admin::serve(listener, state, metrics, log_level) => result.map_err(ProcessError::System),
        () = signals.obey(stop) => Err(ProcessError::Aborted),
    }
}

fn listen(address: AdminAddress) -> Result<TcpListener, ProcessError> {
    admin::listen(address).map_err(|source| ProcessError::Listen { address, source })
}

/// How bridges may be reached.
struct Bridges {
    policy: Arc<AddressPolicy>,
    proxy: Option<BridgeProxy>,
    require_consent: bool,
    observer: Option<Arc<dyn Observer>>,
}

/// The work of the leader.
struct Tasks {
    connections: Context,
    directories: Option<(provision::Context, UnboundedReceiver<FeedEvent>)>,
}

impl Tasks {
    fn new(
        client: Client,
        bridges: Bridges,
        leadership: Leadership,
        metrics: Arc<Metrics>,
        settings: Settings,
        provisioning: bool,
    ) -> Self {
        let Bridges {
            policy,
            proxy,
            require_consent,
            observer,
        } = bridges;
        let server = ApiServer::new(client, leadership.clone(), Arc::clone(&metrics));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let prober = HttpProber::new(Arc::clone(&policy), Arc::new(system_roots()), Arc::clone(&clock));
        let mut prober = prober
            .through(proxy)
            .during(leadership)
            .observed_by(Arc::<Metrics>::clone(&metrics));
        if let Some(observer) = observer {
            prober = prober.observed_by(observer);
        }
        let prober = Arc::new(prober);
        let lanes = Lanes::new(Arc::clone(&prober));
        let resolver = Resolver {
            server: server.clone(),
            policy,
            require_consent,
            authorities: Authorities::default(),
        };
        let (feed, directories) = if provisioning {
            let (feed, events) = Feed::channel();
            let context = provision::Context {
                server: server.clone(),
                reader: DirectoryReader::new(Arc::clone(&prober), lanes.clone()),
                orders: DirectoryWriter::new(prober, lanes.clone()),
                memory: Memory::default(),
                resolver: resolver.clone(),
                clock: Arc::clone(&clock),
                metrics: Arc::clone(&metrics),
                settings: provision::Settings {
                    scopes: settings.scopes.clone(),
                    is_sharded: settings.label_selector.is_some(),
                    heartbeat: settings.heartbeat,
                    instance: settings.instance.clone(),
                },
            };
            (feed, Some((context, events)))
        } else {
            (Feed::default(), None)
        };
        Self {
            connections: Context {
                server,
                lanes,
                resolver,
                clock,
                metrics,
                settings,
                feed,
            },
            directories,
        }
    }

    /// Runs the controller of connections and, if asked for, provisioning.
    async fn run(
        self,
        standby: watch::Sender<bool>,
        readiness: watch::Sender<Readiness>,
        stop: CancellationToken,
    ) -> Result<(), ProcessError> {
        let Self {
            connections,
            directories,
        } = self;
        standby.send_replace(false);
        connections.metrics.leads(true);
        let connections = drive(connections, readiness, stop.clone().cancelled_owned());
        let directories = async {
            match directories {
                Some((context, feed)) => provide(context, feed, stop.cancelled_owned()).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(
            async { connections.await.map_err(ProcessError::Controller) },
            async { directories.await.map_err(ProcessError::Provisioning) },
        )?;
        Ok(())
    }
}

/// Waits for the requirements without which nothing works and, with an election, for the Lease. Then runs the
/// controller.
async fn work(
    config: Config,
    mut findings: watch::Receiver<Option<Vec<Finding>>>,
    election: Option<Election>,
    stop: CancellationToken,
    controller: impl Future<Output = Result<(), ProcessError>>,
) -> Result<(), ProcessError> {
    let possible = findings.wait_for(|found| {
        found
            .as_ref()
            .is_some_and(|found| !found.iter().any(Finding::blocks))
    });
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        // It never fails: the task that sends findings lives as long as the process.
        _ = possible => {}
    }
    match election {
        Some(election) => election.lead(config, stop, controller).await,
        None => controller.await,
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Stops at the first signal, and ends at the second.
    async fn obey(mut self, stop: CancellationToken) {
        let name = self.next().await;
        info!(signal = name, "stopping: waiting for running reconciles");
        stop.cancel();
        let name = self.next().await;
        warn!(signal = name, "aborting: a second signal arrived");
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// The addresses of the API server. Probes must not connect to them.
async fn api_server_addresses(config: &Config) -> Vec<IpAddr> {
    let hosts = config
        .cluster_url
        .host()
        .map(str::to_owned)
        .into_iter()
        .chain(std::env::var("KUBERNETES_SERVICE_HOST").ok());
    let mut addresses = Vec::new();
    for host in hosts {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        match tokio::net::lookup_host((host.as_str(), 0)).await {
            Ok(found) => addresses.extend(found.map(|address| address.ip())),
            Err(error) => {
                warn!(%error, "cannot look up the API server's address; probes to it are not refused");
            }
        }
    }
    addresses
}
