//! The metrics of the operator. Names and units follow Prometheus' conventions. The values of a label are a closed set,
//! except the namespace and name of a connection.
//! <https://prometheus.io/docs/practices/naming/>

mod connections;
mod directories;
mod process;
mod rows;

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
        info::Info,
    },
    registry::{Registry, Unit},
};

use self::{connections::Connections, directories::Directories, process::Process};
pub use self::{
    connections::Row,
    directories::{DirectoryRow, write_outcome},
};
use crate::{
    api::{
        directory::ChangeKind,
        vocabulary::{Layer, Reason},
    },
    bridge::wire::stages::{Observer, Stage},
    domain::{
        connection::{status::Change, verdict::Verdict},
        directory::order::Answer,
    },
};

/// The prefix of metrics that are not about one connection.
const PREFIX: &str = "scim_bridge_operator";

/// Bounds of the buckets for probes and their layers, in seconds: from a fast connection inside the cluster to the
/// longest `spec.timeout`.
const SECONDS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.0, 10.0, 30.0, 60.0];

/// Bounds of the buckets for plans, in seconds: a plan of 10,000 objects takes at most 20 ms.
const PLAN_SECONDS: [f64; 7] = [0.0001, 0.0005, 0.002, 0.005, 0.02, 0.1, 0.5];

/// Bounds of the buckets for proofs of changes, in seconds: from a change that shows at once to one that waits for a
/// limit of an hour.
const PROOF_SECONDS: [f64; 12] = [
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0,
];

/// All metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    connections: Arc<Connections>,
    directories: Arc<Directories>,
    probes: Family<VerdictLabels, Counter>,
    verdicts: Family<ChangeLabel, Counter>,
    requests: Family<RequestLabels, Counter>,
    probe_duration: Histogram,
    layer_duration: Family<LayerLabel, Histogram, Buckets>,
    failures: Counter,
    panics: Counter,
    events: Family<EventLabel, Counter>,
    known: Gauge,
    leader: Gauge,
    queue: Gauge,
    oldest: Gauge<f64, std::sync::atomic::AtomicU64>,
    running: Gauge,
    directory_work: DirectoryWork,
}

/// What the operator did for all directories. Families: they have no series before the first directory is read.
#[derive(Debug)]
struct DirectoryWork {
    pages: Family<NoLabels, Counter>,
    reads: Family<ReadLabel, Counter>,
    plan_duration: Family<NoLabels, Histogram, PlanBuckets>,
    writes: Family<WriteLabels, Counter>,
    proof_duration: Family<KindLabel, Histogram, ProofBuckets>,
}

/// How a request to the API server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestOutcome {
    /// The request succeeded, or the object does not exist.
    Ok,
    /// The API server refused the request.
    Refused,
    /// The API server did not answer.
    Unreachable,
}

/// The outcome of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventOutcome {
    /// The API server has accepted it.
    Sent,
    /// The API server refused it or did not answer.
    Failed,
    /// The object had too many events, or the queue was full.
    Dropped,
}

/// The load of the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Load {
    /// Due connections that wait to start.
    pub waiting: usize,
    /// How long the first of them has waited.
    pub oldest: Duration,
    /// Running reconciles.
    pub running: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    reason: Label<Reason>,
    layer: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChangeLabel {
    change: Label<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LayerLabel {
    layer: Label<Layer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    request: &'static str,
    outcome: Label<RequestOutcome>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabel {
    outcome: Label<EventOutcome>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// The labels of a metric that has none.
type NoLabels = [(&'static str, &'static str); 0];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Label<T>(T);

/// Creates the histogram of plans.
#[derive(Clone, Copy, Debug)]
struct PlanBuckets;

impl MetricConstructor<Histogram> for PlanBuckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(PLAN_SECONDS)
    }
}

/// Creates the histograms of proofs.
#[derive(Clone, Copy, Debug)]
struct ProofBuckets;

impl MetricConstructor<Histogram> for ProofBuckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(PROOF_SECONDS)
    }
}

/// Creates the histograms of a family.
#[derive(Clone, Copy, Debug)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

impl EncodeLabelValue for Label<Reason> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.0.as_str().encode(encoder)
    }
}

impl EncodeLabelValue for Label<Layer> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.0.as_str().encode(encoder)
    }
}

impl EncodeLabelValue for Label<Change> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self.0 {
            Change::Changed => "changed",
            Change::Heartbeat => "heartbeat",
            Change::Unchanged => "unchanged",
        }
        .encode(encoder)
    }
}

impl EncodeLabelValue for Label<RequestOutcome> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self.0 {
            RequestOutcome::Ok => "ok",
            RequestOutcome::Refused => "refused",
            RequestOutcome::Unreachable => "unreachable",
        }
        .encode(encoder)
    }
}

impl EncodeLabelValue for Label<EventOutcome> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self.0 {
            EventOutcome::Sent => "sent",
            EventOutcome::Failed => "failed",
            EventOutcome::Dropped => "dropped",
        }
        .encode(encoder)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            connections: Arc::default(),
            directories: Arc::default(),
            probes: Family::default(),
            verdicts: Family::default(),
            requests: Family::default(),
            probe_duration: Histogram::new(SECONDS),
            layer_duration: Family::new_with_constructor(Buckets),
            failures: Counter::default(),
            panics: Counter::default(),
            events: Family::default(),
            known: Gauge::default(),
            leader: Gauge::default(),
            queue: Gauge::default(),
            oldest: Gauge::default(),
            running: Gauge::default(),
            directory_work: DirectoryWork::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        // Destructured completely: an unregistered metric is a compile error.
        let Self {
            registry,
            connections,
            directories,
            probes,
            verdicts,
            requests,
            probe_duration,
            layer_duration,
            failures,
            panics,
            events,
            known,
            leader,
            queue,
            oldest,
            running,
            directory_work,
        } = self;
        registry.register_collector(Box::new(Process));
        registry
            .sub_registry_with_prefix(connections::PREFIX)
            .register_collector(Box::new(Arc::clone(connections)));
        registry
            .sub_registry_with_prefix(directories::PREFIX)
            .register_collector(Box::new(Arc::clone(directories)));
        let registry = registry.sub_registry_with_prefix(PREFIX);
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the operator", version);
        registry.register("probes", "Probes by reason and layer", probes.clone());
        registry.register(
            "verdicts",
            "Verdicts by change: changed and heartbeat were written to the status, unchanged was not",
            verdicts.clone(),
        );
        registry.register(
            "api_requests",
            "Requests to the API server by outcome",
            requests.clone(),
        );
        registry.register_with_unit(
            "probe_duration",
            "Duration of a probe",
            Unit::Seconds,
            probe_duration.clone(),
        );
        registry.register_with_unit(
            "probe_layer_duration",
            "Duration of each layer of a probe",
            Unit::Seconds,
            layer_duration.clone(),
        );
        registry.register(
            "reconcile_failures",
            "Reconciles that failed because the API server refused or did not answer",
            failures.clone(),
        );
        registry.register("reconcile_panics", "Reconciles that panicked", panics.clone());
        registry.register("events", "Kubernetes events by outcome", events.clone());
        registry.register(
            "connections",
            "Connections that the operator watches",
            known.clone(),
        );
        registry.register("leader", "Whether this process leads", leader.clone());
        registry.register("queue_depth", "Due connections that wait to start", queue.clone());
        registry.register_with_unit(
            "queue_oldest",
            "How long the first connection in the queue has waited",
            Unit::Seconds,
            oldest.clone(),
        );
        registry.register("reconciles_running", "Running reconciles", running.clone());
        directory_work.register(registry);
    }

    /// Counts a verdict about a connection; `row` is what the connection's series show now.
    pub fn judged(
        &self,
        connection: (&str, &str),
        row: Row,
        verdict: &Verdict,
        change: Change,
        unlocked: bool,
    ) {
        self.probes
            .get_or_create(&VerdictLabels {
                reason: Label(verdict.reason),
                layer: Layer::name(verdict.layer()),
            })
            .inc();
        self.verdicts
            .get_or_create(&ChangeLabel {
                change: Label(change),
            })
            .inc();
        let (namespace, name) = connection;
        self.connections.judged(namespace, name, row);
        if unlocked {
            self.connections.unlocked(namespace, name);
        }
    }

    /// Shows a connection that was read.
    pub fn read(&self, namespace: &Arc<str>, name: &Arc<str>, row: Row) {
        self.connections.read(namespace, name, row);
    }

    /// Removes the series of a connection.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.connections.forget(namespace, name);
    }

    /// Removes the series of connections for which `is_known` is false.
    pub fn retain(&self, is_known: impl Fn(&str, &str) -> bool) {
        self.connections.retain(is_known);
    }

    /// Shows a directory, in place of what its series showed before.
    pub fn directory_read(&self, namespace: &str, name: &str, row: DirectoryRow) {
        if row.manages {
            self.directory_work.begin_writes();
        }
        self.directories.read(namespace, name, row);
    }

    /// Removes the series of a directory.
    pub fn directory_forget(&self, namespace: &str, name: &str) {
        self.directories.forget(namespace, name);
    }

    /// Counts pages of users and groups that were read.
    pub fn directory_pages(&self, pages: u32) {
        self.directory_work
            .pages
            .get_or_create(&[])
            .inc_by(u64::from(pages));
    }

    /// Counts a read of a directory; `outcome` is `complete`, or the name of the
    /// [`Incomplete`](crate::domain::directory::walk::Incomplete) that ended it.
    pub fn directory_read_ended(&self, outcome: &'static str) {
        self.directory_work
            .reads
            .get_or_create(&ReadLabel { outcome })
            .inc();
    }

    /// Notes how long the plan of one directory took.
    pub fn plan_took(&self, took: Duration) {
        self.directory_work
            .plan_duration
            .get_or_create(&[])
            .observe(took.as_secs_f64());
    }

    /// Counts a request that changes a directory; `outcome` is that of [`write_outcome`].
    pub fn directory_write(&self, kind: ChangeKind, outcome: &'static str) {
        let kind = kind.as_str();
        self.directory_work
            .writes
            .get_or_create(&WriteLabels { kind, outcome })
            .inc();
    }

    /// Notes that a read shows a change: so long after the operator learned of its cause, or after the edge of a time.
    pub fn proven(&self, kind: ChangeKind, took: Duration) {
        let kind = kind.as_str();
        self.directory_work
            .proof_duration
            .get_or_create(&KindLabel { kind })
            .observe(took.as_secs_f64());
    }

    /// Counts a request to the API server; `request` must come from a closed set.
    pub fn requested(&self, request: &'static str, outcome: RequestOutcome) {
        self.requests
            .get_or_create(&RequestLabels {
                request,
                outcome: Label(outcome),
            })
            .inc();
    }

    /// Counts a reconcile that failed because of the API server.
    pub fn failed(&self) {
        self.failures.inc();
    }

    /// Counts a reconcile that panicked.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// Counts an event.
    pub fn event(&self, outcome: EventOutcome) {
        self.events
            .get_or_create(&EventLabel {
                outcome: Label(outcome),
            })
            .inc();
    }

    /// Sets the number of connections that the operator watches.
    pub fn known(&self, count: usize) {
        self.known.set(saturated(count));
    }

    /// Sets the load of the controller.
    pub fn loaded(&self, load: Load) {
        self.queue.set(saturated(load.waiting));
        self.oldest.set(load.oldest.as_secs_f64());
        self.running.set(saturated(load.running));
    }

    /// Sets whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Writes all metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// Writing to `out` failed.
    pub fn encode(&self, out: &mut impl fmt::Write) -> fmt::Result {
        prometheus_client::encoding::text::encode(out, &self.registry)
    }
}

impl Observer for Metrics {
    fn passed(&self, stage: Stage<'_>, took: Duration) {
        self.layer_duration
            .get_or_create(&LayerLabel {
                layer: Label(stage.layer()),
            })
            .observe(took.as_secs_f64());
    }

    fn ended(&self, took: Duration) {
        self.probe_duration.observe(took.as_secs_f64());
    }
}

impl Default for DirectoryWork {
    fn default() -> Self {
        Self {
            pages: Family::default(),
            reads: Family::default(),
            plan_duration: Family::new_with_constructor(PlanBuckets),
            writes: Family::default(),
            proof_duration: Family::new_with_constructor(ProofBuckets),
        }
    }
}

impl DirectoryWork {
    fn register(&self, registry: &mut Registry) {
        // Destructured completely: an unregistered metric is a compile error.
        let Self {
            pages,
            reads,
            plan_duration,
            writes,
            proof_duration,
        } = self;
        registry.register(
            "directory_pages",
            "Pages of users and groups that were read from bridges",
            pages.clone(),
        );
        registry.register(
            "directory_reads",
            "Reads of directories by outcome",
            reads.clone(),
        );
        registry.register_with_unit(
            "plan_duration",
            "Duration of planning the changes of one directory",
            Unit::Seconds,
            plan_duration.clone(),
        );
        registry.register(
            "directory_writes",
            "Requests that change users and groups, by kind of change and outcome",
            writes.clone(),
        );
        registry.register_with_unit(
            "proof_duration",
            "Time from the cause of a change to the read that shows it",
            Unit::Seconds,
            proof_duration.clone(),
        );
    }

    /// Shows series of writes and proofs from now on: a counter that appears together with its first change shows no
    /// growth.
    fn begin_writes(&self) {
        for kind in ChangeKind::ALL.map(ChangeKind::as_str) {
            let outcome = write_outcome(&Answer::Accepted(None));
            drop(self.writes.get_or_create(&WriteLabels { kind, outcome }));
            drop(self.proof_duration.get_or_create(&KindLabel { kind }));
        }
    }
}

fn saturated(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
