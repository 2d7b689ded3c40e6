//! A Kubernetes API, the stand-in for bridges, the operator: and what each has cost so far.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use kube::Client;
use serde::Serialize;
use serde_json::json;
use testbed::{Cluster, Failure, OperatorProcess, connection, free_port, scratch::Scratch, spec, workspace};
use tokio::time::sleep;

use crate::{
    api_server::{ApiServer, CONNECTIONS, Requests, VERSION, Write},
    bridge::{Tally, VALID, address_of},
    numbers::float,
    process::{self, Usage},
    say,
    sight::Sight,
    stand_in::StandIn,
};

/// Namespace and name of the operator's ServiceAccount.
const OPERATOR: &str = "scim-bridge-operator";
/// The operator is given so long to start, and to end.
const DEADLINE: Duration = Duration::from_mins(2);
/// Pause between two looks at an operator that starts.
const PAUSE: Duration = Duration::from_millis(5);

/// How many objects, and of what kind.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Load {
    /// Connections, each with a Secret of its own.
    pub(crate) objects: usize,
    /// Whether each has a bridge of its own; otherwise all have the same.
    pub(crate) distinct: bool,
    /// `spec.interval`.
    pub(crate) interval: Duration,
    /// `spec.timeout`.
    pub(crate) timeout: Duration,
    /// Namespaces over which they are spread.
    pub(crate) namespaces: usize,
}

/// Everything that runs.
pub(crate) struct Stage {
    pub(crate) load: Load,
    pub(crate) api_server: ApiServer,
    pub(crate) bridges: StandIn,
    pub(crate) sight: Sight,
    _scratch: Arc<Scratch>,
    operator: Option<OperatorProcess>,
    program: PathBuf,
    arguments: Vec<String>,
    kubeconfig: PathBuf,
    api_server_pid: u32,
    etcd_pid: u32,
    cluster: Cluster,
}

/// How an operator started.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Start {
    /// Seconds from its beginning until it led.
    pub(crate) leading: f64,
    /// Until `/readyz` said so: it has read everything, and its watches are open.
    pub(crate) ready: f64,
    /// Its CPU by then.
    pub(crate) cpu: f64,
    /// Its memory by then.
    pub(crate) rss: f64,
}

/// What everything has cost so far.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    at: Instant,
    usage: Costs,
    pub(crate) tally: Tally,
    requests: Requests,
    /// After the counters were read, which costs something itself.
    after: Costs,
    resumed: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Costs {
    operator: Usage,
    api_server: Usage,
    etcd: Usage,
    bridges: Usage,
}

/// What a phase of a run cost.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    pub(crate) seconds: f64,
    /// The operator at its end; `cpu` is that of the phase.
    pub(crate) operator: Usage,
    pub(crate) api_server_cpu: f64,
    pub(crate) api_server_rss: f64,
    pub(crate) etcd_cpu: f64,
    pub(crate) bridges_cpu: f64,
    /// Probes that came as far as `/health`.
    pub(crate) probes: u64,
    pub(crate) bridge_requests: u64,
    pub(crate) handshakes: u64,
    pub(crate) status_writes: u64,
    pub(crate) operator_requests: u64,
    /// By verb and resource, whoever asked.
    pub(crate) requests: BTreeMap<String, u64>,
}

/// The name of an object, and of its Secret.
pub(crate) fn name_of(number: usize) -> String {
    format!("c-{number:05}")
}

impl Stage {
    /// Starts all but the operator. No object is there yet, but the namespaces are.
    pub(crate) async fn set_up(load: Load, program: &Path, arguments: &[String]) -> Result<Self, Failure> {
        if !program.is_file() {
            return Err(format!(
                "there is no {}: cargo build --release --bin scim-bridge-operator",
                program.display()
            )
            .into());
        }
        let cluster = Cluster::start().await?;
        let deploy = workspace::root().join("deploy");
        let manifests =
            ["crd.yaml", "namespace.yaml", "base/rbac.yaml", "rbac.yaml"].map(|file| deploy.join(file));
        cluster
            .install(&manifests.each_ref().map(PathBuf::as_path))
            .await?;
        let scratch = Scratch::new("bench")?;
        let stage = Self {
            api_server: ApiServer::of(cluster.kubeconfig())?,
            bridges: StandIn::start(&scratch).await?,
            sight: Sight::begin(cluster.client()?),
            operator: None,
            program: program.to_owned(),
            arguments: arguments.to_vec(),
            kubeconfig: cluster.service_account_kubeconfig(OPERATOR, OPERATOR).await?,
            api_server_pid: pid_of(&cluster, "kube-apiserver")?,
            etcd_pid: pid_of(&cluster, "etcd")?,
            _scratch: scratch,
            load,
            cluster,
        };
        let namespaces = 0..stage.load.namespaces;
        let make = |number| {
            let name = stage.namespace_of(number);
            Write::create(
                "/api/v1/namespaces".to_owned(),
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
            )
        };
        stage.api_server.write_each(namespaces, make).await?;
        Ok(stage)
    }

    /// Installs what the operator needs for users and groups.
    pub(crate) async fn install_provisioning(&self) -> Result<(), Failure> {
        Ok(self.cluster.install_provisioning().await?)
    }

    /// The administrator's client.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(self.cluster.client()?)
    }

    /// The administrator's kubeconfig.
    pub(crate) fn admin(&self) -> &Path {
        self.cluster.kubeconfig()
    }

    // === the operator ===

    /// Starts the operator, and waits until it leads and is ready.
    pub(crate) async fn start_operator(&mut self) -> Result<Start, Failure> {
        let admin = format!("127.0.0.1:{}", free_port()?);
        let arguments = [
            "run",
            "--allow-cidr",
            "127.0.0.0/8",
            "--admin-addr",
            &admin,
            "--lease-namespace",
            OPERATOR,
            "--log-format",
            "json",
        ];
        let more = self.arguments.iter().map(String::as_str);
        let arguments: Vec<&str> = arguments.into_iter().chain(more).collect();
        let roots = self.bridges.authority().display().to_string();
        let environment = [("SSL_CERT_FILE", roots.as_str())];
        let operator = OperatorProcess::spawn(&self.program, &self.kubeconfig, &arguments, &environment)?;
        let pid = operator.process().pid();
        let began = process::began(pid)?;
        let operator = self.operator.insert(operator);
        let leads = |metrics: &str| sample(metrics, "scim_bridge_operator_leader", "") > 0.0;
        // Before it leads it has read no object: its metrics are few.
        while !operator.metrics().await.is_ok_and(|metrics| leads(&metrics)) {
            pause(operator, began).await?;
        }
        let leading = began.elapsed().as_secs_f64();
        while operator.get("readyz").await.is_err() {
            pause(operator, began).await?;
        }
        let ready = began.elapsed().as_secs_f64();
        let usage = Usage::of(pid)?;
        Ok(Start {
            leading,
            ready,
            cpu: usage.cpu,
            rss: usage.rss,
        })
    }

    /// Ends the operator as a cluster does, and says how long that took.
    pub(crate) async fn stop_operator(&mut self) -> Result<f64, Failure> {
        let Some(operator) = self.operator.take() else {
            return Ok(0.0);
        };
        let asked = Instant::now();
        let status = operator.terminate(DEADLINE).await?;
        if !status.success() {
            return Err(format!(
                "the operator ended with {status} after SIGTERM: {}",
                tail(&operator)
            )
            .into());
        }
        Ok(asked.elapsed().as_secs_f64())
    }

    /// What a scrape of its metrics reads.
    pub(crate) async fn metrics(&self) -> Result<String, Failure> {
        let operator = self.operator.as_ref().ok_or("no operator runs")?;
        Ok(operator.metrics().await?)
    }

    /// The operator as it is now.
    pub(crate) fn usage(&self) -> Result<Usage, Failure> {
        let Some(operator) = &self.operator else {
            return Ok(Usage::default());
        };
        if let Some(status) = operator.process().ended()? {
            return Err(format!("the operator ended with {status}: {}", tail(operator)).into());
        }
        Usage::of(operator.process().pid())
    }

    // === objects ===

    /// The namespace of an object.
    pub(crate) fn namespace_of(&self, number: usize) -> String {
        format!("bench-{}", number % self.load.namespaces.max(1))
    }

    /// Where an object of ours is, at the API server.
    pub(crate) fn connection(&self, number: usize) -> String {
        format!("{}/{}", self.connections(number), name_of(number))
    }

    fn connections(&self, number: usize) -> String {
        format!(
            "/apis/{VERSION}/namespaces/{}/{CONNECTIONS}",
            self.namespace_of(number)
        )
    }

    fn secrets(&self, number: usize) -> String {
        format!("/api/v1/namespaces/{}/secrets", self.namespace_of(number))
    }

    /// Where the Secret of an object is.
    pub(crate) fn secret(&self, number: usize) -> String {
        format!("{}/{}", self.secrets(number), name_of(number))
    }

    /// A Secret with a key that every bridge accepts.
    pub(crate) fn new_secret(&self, number: usize) -> Write {
        Write::create(
            self.secrets(number),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name_of(number)},
                "stringData": {"apiKey": good_key(number, 0)}}),
        )
    }

    /// A connection.
    pub(crate) fn new_connection(&self, number: usize) -> Write {
        let Load {
            interval, timeout, ..
        } = self.load;
        let host = address_of(if self.load.distinct { number } else { 0 });
        let name = name_of(number);
        let spec = spec()
            .url(&format!("https://{host}:{}", self.bridges.port))
            .provider("Okta")
            .secret(&name)
            .with("interval", format!("{}s", interval.as_secs()))
            .with("timeout", format!("{}s", timeout.as_secs()));
        Write::create(self.connections(number), connection(&name, spec))
    }

    /// Another key in the Secret of an object.
    pub(crate) fn new_key(&self, number: usize, key: &str) -> Write {
        Write::merge(self.secret(number), json!({"stringData": {"apiKey": key}}))
    }

    /// Makes Secrets and then connections, and waits until all are connected. Returns how long it took from the first
    /// connection's creation to the last one's, and to the last one's verdict.
    pub(crate) async fn create(&self, numbers: Range<usize>) -> Result<(f64, f64), Failure> {
        self.create_secrets(numbers.clone()).await?;
        self.create_connections(numbers).await
    }

    /// The Secrets alone.
    pub(crate) async fn create_secrets(&self, numbers: Range<usize>) -> Result<(), Failure> {
        let make = |number| self.new_secret(number);
        self.api_server.write_each(numbers, make).await
    }

    /// The connections alone.
    pub(crate) async fn create_connections(&self, numbers: Range<usize>) -> Result<(f64, f64), Failure> {
        let count = numbers.len();
        let before = self.sight.counts().1;
        let begun = Instant::now();
        let make = |number| self.new_connection(number);
        self.api_server.write_each(numbers, make).await?;
        let created = begun.elapsed().as_secs_f64();
        let limit = Duration::from_mins(2) + Duration::from_millis(20) * u32::try_from(count)?;
        self.sight.until_connected(before + count, limit).await?;
        Ok((created, begun.elapsed().as_secs_f64()))
    }

    /// Lets the operator write what it still has to.
    pub(crate) async fn settle(&self) {
        self.sight
            .until_quiet(Duration::from_secs(2), Duration::from_secs(15))
            .await;
    }

    // === costs ===

    /// What everything has cost so far.
    pub(crate) async fn moment(&self) -> Result<Moment, Failure> {
        let (at, usage) = (Instant::now(), self.costs()?);
        let tally = self.bridges.tally().await?;
        let requests = self.api_server.requests().await?;
        Ok(Moment {
            at,
            usage,
            tally,
            requests,
            after: self.costs()?,
            resumed: Instant::now(),
        })
    }

    /// Seconds of CPU that API server, etcd and bridges have taken.
    pub(crate) fn answering(&self) -> Result<f64, Failure> {
        let costs = self.costs()?;
        Ok(costs.api_server.cpu + costs.etcd.cpu + costs.bridges.cpu)
    }

    fn costs(&self) -> Result<Costs, Failure> {
        Ok(Costs {
            operator: self.usage()?,
            api_server: Usage::of(self.api_server_pid)?,
            etcd: Usage::of(self.etcd_pid)?,
            bridges: Usage::of(self.bridges.pid())?,
        })
    }

    /// What was spent since.
    pub(crate) async fn phase(&self, name: &'static str, since: &Moment) -> Result<Phase, Failure> {
        let now = self.moment().await?;
        let (from, to) = (&since.after, &now.usage);
        let mut requests = now.requests.by_kind;
        for (kind, before) in &since.requests.by_kind {
            if let Some(count) = requests.get_mut(kind) {
                *count = count.saturating_sub(*before);
            }
        }
        requests.retain(|_, count| *count > 0);
        let writes = requests.get(&format!("APPLY {CONNECTIONS}/status")).copied();
        // Between two phases the operator may be another process.
        let cpu = to.operator.cpu - from.operator.cpu;
        let phase = Phase {
            name,
            seconds: now.at.duration_since(since.resumed).as_secs_f64(),
            operator: Usage {
                cpu: if cpu < 0.0 { to.operator.cpu } else { cpu },
                ..to.operator
            },
            api_server_cpu: to.api_server.cpu - from.api_server.cpu,
            api_server_rss: to.api_server.rss,
            etcd_cpu: to.etcd.cpu - from.etcd.cpu,
            bridges_cpu: to.bridges.cpu - from.bridges.cpu,
            probes: now.tally.health - since.tally.health,
            bridge_requests: now.tally.requests() - since.tally.requests(),
            handshakes: now.tally.handshakes - since.tally.handshakes,
            status_writes: writes.unwrap_or_default(),
            operator_requests: now
                .requests
                .of_operator
                .saturating_sub(since.requests.of_operator),
            requests,
        };
        say(&format!(
            "{}: {:.1} s, operator {:.2} s CPU, {:.1} MiB, {} fds, {} probes, {} status writes",
            phase.name,
            phase.seconds,
            phase.operator.cpu,
            phase.operator.rss,
            phase.operator.fds,
            phase.probes,
            phase.status_writes
        ))?;
        Ok(phase)
    }
}

impl Phase {
    /// Names of what [`Phase::row`] shows.
    pub(crate) const HEADERS: [&'static str; 14] = [
        "Phase",
        "s",
        "CPU s",
        "RSS MiB",
        "Peak MiB",
        "fds",
        "Threads",
        "Probes",
        "Handshakes",
        "Requests to bridges",
        "Status writes",
        "Requests to the API server",
        "API server CPU s",
        "etcd CPU s",
    ];

    /// One row of a table.
    pub(crate) fn row(&self) -> Vec<String> {
        let Usage {
            cpu,
            rss,
            peak,
            threads,
            fds,
        } = self.operator;
        vec![
            self.name.to_owned(),
            format!("{:.1}", self.seconds),
            format!("{cpu:.2}"),
            format!("{rss:.1}"),
            format!("{peak:.1}"),
            fds.to_string(),
            threads.to_string(),
            self.probes.to_string(),
            self.handshakes.to_string(),
            self.bridge_requests.to_string(),
            self.status_writes.to_string(),
            self.operator_requests.to_string(),
            format!("{:.2}", self.api_server_cpu),
            format!("{:.2}", self.etcd_cpu),
        ]
    }

    /// Milliseconds of the operator's CPU for each probe.
    pub(crate) fn cpu_per_probe(&self) -> f64 {
        crate::numbers::ratio(self.operator.cpu * 1000.0, float(self.probes))
    }
}

/// A key that every bridge accepts; another one for each edition.
pub(crate) fn good_key(number: usize, edition: u32) -> String {
    format!("{VALID}{edition}-{number:05}")
}

/// A key that none accepts.
pub(crate) fn bad_key(number: usize) -> String {
    format!("fake-revoked-{number:05}")
}

/// The sum of the samples of a metric that have this label, `name="value"`; all where it is empty.
pub(crate) fn sample(metrics: &str, name: &str, label: &str) -> f64 {
    let of_metric = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let values = of_metric.filter_map(|rest| {
        let is_name = rest.starts_with(' ') || rest.starts_with('{');
        let (labels, value) = rest.rsplit_once(' ')?;
        (is_name && labels.contains(label)).then(|| value.parse::<f64>().ok())?
    });
    values.sum()
}

/// Waits a moment for an operator that starts; fails where it has ended, or takes too long.
async fn pause(operator: &OperatorProcess, began: Instant) -> Result<(), Failure> {
    if let Some(status) = operator.process().ended()? {
        return Err(format!("the operator ended with {status}: {}", tail(operator)).into());
    }
    if began.elapsed() > DEADLINE {
        return Err(format!("the operator is not ready: {}", tail(operator)).into());
    }
    sleep(PAUSE).await;
    Ok(())
}

/// The end of what it logged.
fn tail(operator: &OperatorProcess) -> String {
    let logs = operator.logs();
    let lines: Vec<&str> = logs.lines().rev().take(10).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// The process id of one of the cluster's servers.
fn pid_of(cluster: &Cluster, name: &str) -> Result<u32, Failure> {
    let lines = cluster.describe();
    let pid = lines.iter().find_map(|line| {
        let rest = line.strip_prefix(name)?.strip_prefix(": pid ")?;
        rest.split(',').next()?.parse().ok()
    });
    pid.ok_or_else(|| format!("{name} is not ours to measure: unset CLUSTER").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed() {
        let metrics = "# HELP queue_depth x\nqueue_depth 3\nqueue_depth_max 9\nevents_total{outcome=\"sent\"} 2\n\
                       events_total{outcome=\"failed\"} 5\n";
        assert!((sample(metrics, "queue_depth", "") - 3.0).abs() < f64::EPSILON);
        assert!((sample(metrics, "events_total", "") - 7.0).abs() < f64::EPSILON);
        assert!((sample(metrics, "events_total", "outcome=\"failed\"") - 5.0).abs() < f64::EPSILON);
    }
}
