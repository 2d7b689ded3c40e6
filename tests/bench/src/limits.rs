//! What this machine can do at all: the same requests by a client that does nothing else.
//!
//! Each measurement is a process of its own (`bench limit`), so that its CPU is that of these requests alone.

use std::{
    env,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use futures::future::try_join_all;
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use scim_bridge_operator::api::FIELD_MANAGER;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use testbed::Failure;
use tokio::process::Command;

use crate::{
    api_server::{ApiServer, CONNECTIONS, VERSION, Write},
    bridge::{VALID, address_of, socket_of},
    numbers::{Distribution, float, now_micros, ratio},
    process::Usage,
    stage::{Stage, name_of},
    wire::{Request, Wire},
};

/// The requests of one probe of a connection that works, as the operator sends them.
const PROBE: [&str; 4] = [
    "/ping",
    "/health",
    "/scim/Users?startIndex=1&count=1",
    "/scim/Groups?startIndex=1&count=1",
];

/// One measurement, as it is written to standard output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Limit {
    /// How many were done.
    pub(crate) operations: u64,
    /// In how many seconds.
    pub(crate) seconds: f64,
    /// Seconds of CPU that the client took.
    pub(crate) cpu: f64,
    /// Milliseconds that half of them did not exceed.
    pub(crate) p50: f64,
    /// And 95 of 100.
    pub(crate) p95: f64,
    /// Seconds of CPU that those took who answered.
    #[serde(default)]
    pub(crate) answering: f64,
}

impl Limit {
    /// How many a second.
    pub(crate) fn rate(&self) -> f64 {
        ratio(float(self.operations), self.seconds)
    }

    /// Milliseconds of the client's CPU for each.
    pub(crate) fn cpu_each(&self) -> f64 {
        ratio(self.cpu * 1000.0, float(self.operations))
    }

    /// Milliseconds of CPU of those who answered, for each.
    pub(crate) fn answering_each(&self) -> f64 {
        ratio(self.answering * 1000.0, float(self.operations))
    }

    /// How many for a second of the client's CPU.
    pub(crate) fn per_cpu_second(&self) -> f64 {
        ratio(float(self.operations), self.cpu)
    }
}

/// What is measured.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum LimitArguments {
    /// Probes of bridges
    Probes(ProbeArguments),
    /// Applies of a status
    Writes(ObjectArguments),
    /// Reads of a Secret
    Reads(ObjectArguments),
}

/// How bridges are probed.
#[derive(Clone, Debug, Args)]
pub(crate) struct ProbeArguments {
    /// Port of the bridges
    #[arg(long)]
    port: u16,
    /// File with their authority
    #[arg(long)]
    authority: PathBuf,
    /// How long
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many at a time
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
}

/// Which objects of the API server, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct ObjectArguments {
    /// The administrator's
    #[arg(long)]
    kubeconfig: PathBuf,
    /// How many connections there are
    #[arg(long)]
    objects: usize,
    /// In how many namespaces
    #[arg(long)]
    namespaces: usize,
    /// How long
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many at a time
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
}

/// Measures, and returns what `bench limit` prints.
pub(crate) async fn measure(arguments: &LimitArguments) -> Result<Limit, Failure> {
    match arguments {
        LimitArguments::Probes(arguments) => probes(arguments).await,
        LimitArguments::Writes(arguments) => writes(arguments).await,
        LimitArguments::Reads(arguments) => reads(arguments).await,
    }
}

/// Measures in a process of its own.
async fn run(stage: &Stage, arguments: &[String]) -> Result<Limit, Failure> {
    let before = stage.answering()?;
    let child = Command::new(env::current_exe()?)
        .arg("limit")
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output();
    let output = child.await?;
    if !output.status.success() {
        return Err(format!("bench limit {}: {}", arguments.join(" "), output.status).into());
    }
    let limit: Limit = serde_json::from_slice(&output.stdout)?;
    Ok(Limit {
        answering: stage.answering()? - before,
        ..limit
    })
}

/// Probes, each over a new connection.
pub(crate) async fn bare_probes(stage: &Stage) -> Result<Limit, Failure> {
    let arguments = [
        "probes".to_owned(),
        format!("--port={}", stage.bridges.port),
        format!("--authority={}", stage.bridges.authority().display()),
    ];
    run(stage, &arguments).await
}

/// Status writes, to the objects that there are.
pub(crate) async fn bare_writes(stage: &Stage) -> Result<Limit, Failure> {
    of_objects(stage, "writes").await
}

/// Reads of the Secrets that there are.
pub(crate) async fn bare_reads(stage: &Stage) -> Result<Limit, Failure> {
    of_objects(stage, "reads").await
}

async fn of_objects(stage: &Stage, what: &str) -> Result<Limit, Failure> {
    let arguments = [
        what.to_owned(),
        format!("--kubeconfig={}", stage.admin().display()),
        format!("--objects={}", stage.load.objects),
        format!("--namespaces={}", stage.load.namespaces),
    ];
    run(stage, &arguments).await
}

async fn probes(arguments: &ProbeArguments) -> Result<Limit, Failure> {
    let config = trusting(&arguments.authority)?;
    let port = arguments.port;
    let workers = (0..arguments.concurrency).map(|worker| {
        let config = Arc::clone(&config);
        async move {
            let end = Instant::now() + Duration::from_secs(arguments.seconds);
            let mut took = Vec::new();
            while Instant::now() < end {
                let begun = Instant::now();
                let mut wire = Wire::tls(socket_of(worker, port), &config).await?;
                bare_probe(&mut wire).await?;
                took.push(begun.elapsed().as_secs_f64() * 1000.0);
            }
            Ok(took)
        }
    });
    work(workers).await
}

/// One probe.
async fn bare_probe(wire: &mut Wire) -> Result<(), Failure> {
    let key = format!("authorization: Bearer {VALID}limit\r\n");
    for path in PROBE {
        let request = Request {
            headers: if path == "/ping" { "" } else { &key },
            ..Request::get(path)
        };
        let (status, _) = wire.ask(request).await?;
        if status != 200 {
            return Err(format!("{path}: {status}").into());
        }
    }
    Ok(())
}

async fn writes(arguments: &ObjectArguments) -> Result<Limit, Failure> {
    let api_server = ApiServer::of(&arguments.kubeconfig)?;
    let next = AtomicUsize::new(0);
    let workers = (0..arguments.concurrency).map(async |_| {
        let end = Instant::now() + Duration::from_secs(arguments.seconds);
        let mut wire = api_server.connect().await?;
        let mut status = None;
        let mut took = Vec::new();
        while Instant::now() < end {
            let number = next.fetch_add(1, Ordering::Relaxed) % arguments.objects.max(1);
            let path = arguments.path(&format!("apis/{VERSION}"), CONNECTIONS, number);
            let status = match &mut status {
                Some(status) => status,
                none @ None => none.insert(read_status(&mut wire, &path).await?),
            };
            let write = apply(&path, number, status)?;
            let begun = Instant::now();
            write.send(&mut wire).await?;
            took.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(took)
    });
    work(workers).await
}

async fn reads(arguments: &ObjectArguments) -> Result<Limit, Failure> {
    let api_server = ApiServer::of(&arguments.kubeconfig)?;
    let next = AtomicUsize::new(0);
    let workers = (0..arguments.concurrency).map(async |_| {
        let end = Instant::now() + Duration::from_secs(arguments.seconds);
        let mut wire = api_server.connect().await?;
        let mut took = Vec::new();
        while Instant::now() < end {
            let number = next.fetch_add(1, Ordering::Relaxed) % arguments.objects.max(1);
            let path = arguments.path("api/v1", "secrets", number);
            let begun = Instant::now();
            wire.succeed(Request::get(&path)).await?;
            took.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(took)
    });
    work(workers).await
}

impl ObjectArguments {
    /// Where one of the objects is.
    fn path(&self, version: &str, plural: &str, number: usize) -> String {
        let namespace = number % self.namespaces.max(1);
        format!(
            "/{version}/namespaces/bench-{namespace}/{plural}/{}",
            name_of(number)
        )
    }
}

/// The status of a connection.
async fn read_status(wire: &mut Wire, path: &str) -> Result<Value, Failure> {
    let object: Value = serde_json::from_str(&wire.succeed(Request::get(path)).await?)?;
    Ok(object.get("status").cloned().unwrap_or_default())
}

/// The apply of a status as the operator writes it, with another time each time.
fn apply(path: &str, number: usize, status: &mut Value) -> Result<Write, Failure> {
    let seconds = i64::try_from(now_micros() / 1000 + u64::try_from(number)?)?;
    let time = k8s_openapi::jiff::Timestamp::from_second(seconds % 4_000_000_000)?;
    if let Some(status) = status.as_object_mut() {
        status.insert("lastProbeTime".to_owned(), json!(time.to_string()));
    }
    Ok(Write {
        method: "PATCH",
        path: format!("{path}/status?fieldManager={FIELD_MANAGER}&force=true"),
        media: "application/apply-patch+yaml",
        body: json!({"apiVersion": VERSION, "kind": "ScimBridgeConnection",
            "metadata": {"name": name_of(number)}, "status": status}),
    })
}

/// Lets all work, and adds up.
async fn work(
    workers: impl Iterator<Item = impl Future<Output = Result<Vec<f64>, Failure>>>,
) -> Result<Limit, Failure> {
    let own = std::process::id();
    let (begun, before) = (Instant::now(), Usage::of(own)?);
    let took = try_join_all(workers).await?;
    let (seconds, after) = (begun.elapsed().as_secs_f64(), Usage::of(own)?);
    let took = Distribution::of(took.into_iter().flatten());
    Ok(Limit {
        operations: u64::try_from(took.count())?,
        seconds,
        cpu: after.cpu - before.cpu,
        p50: took.median(),
        p95: took.quantile(950),
        answering: 0.0,
    })
}

/// A client that trusts this authority and, like the operator, resumes no session.
fn trusting(authority: &std::path::Path) -> Result<Arc<ClientConfig>, Failure> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(authority)? {
        roots.add(root?)?;
    }
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The least that a rotation can take: one after the other on an idle machine, the Secret is written and read, a bridge
/// probed over a new connection, the status written, and a watcher sees it. Milliseconds.
pub(crate) async fn bare_rotations(stage: &Stage, count: usize) -> Result<Distribution, Failure> {
    let config = trusting(stage.bridges.authority())?;
    let mut wire = stage.api_server.connect().await?;
    let mut took = Vec::new();
    for round in 0..count {
        let number = round % stage.load.objects.max(1);
        let mut status = read_status(&mut wire, &stage.connection(number)).await?;
        let key = crate::stage::good_key(number, u32::try_from(round)? + 1000);
        let seen = stage.sight.events();
        let begun = Instant::now();
        stage.new_key(number, &key).send(&mut wire).await?;
        wire.succeed(Request::get(&stage.secret(number))).await?;
        let host = if stage.load.distinct { number } else { 0 };
        let bridge = (address_of(host), stage.bridges.port).into();
        bare_probe(&mut Wire::tls(bridge, &config).await?).await?;
        apply(&stage.connection(number), number, &mut status)?
            .send(&mut wire)
            .await?;
        stage.sight.until_more_than(seen, Duration::from_secs(10)).await?;
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(Distribution::of(took))
}
