//! What the operator counts. Names and units by Prometheus' conventions; every label from a closed set.
//! <https://prometheus.io/docs/practices/naming/>

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};

use crate::{api::vocabulary::Reason, domain::status::Change};

/// All metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    probes: Family<ReasonLabel, Counter>,
    status_writes: Family<ChangeLabel, Counter>,
    unlocks: Counter,
    failures: Counter,
    panics: Counter,
    events: Family<EventLabel, Counter>,
    connections: Gauge,
    leader: Gauge,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventOutcome {
    /// The API server has it.
    Sent,
    /// The API server refused it, or did not answer.
    Failed,
    /// It was one too many.
    Dropped,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: Label<Reason>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChangeLabel {
    change: Label<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabel {
    outcome: Label<EventOutcome>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Label<T>(T);

impl EncodeLabelValue for Label<Reason> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.as_str().encode(encoder)
    }
}

impl EncodeLabelValue for Label<Change> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self.0 {
            Change::News => "news",
            Change::Heartbeat => "heartbeat",
            Change::Unchanged => "unchanged",
        }
        .encode(encoder)
    }
}

impl EncodeLabelValue for Label<EventOutcome> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
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
            registry: Registry::with_prefix("scim_bridge_operator"),
            probes: Family::default(),
            status_writes: Family::default(),
            unlocks: Counter::default(),
            failures: Counter::default(),
            panics: Counter::default(),
            events: Family::default(),
            connections: Gauge::default(),
            leader: Gauge::default(),
        };
        let Self {
            registry,
            probes,
            status_writes,
            unlocks,
            failures,
            panics,
            events,
            connections,
            leader,
        } = &mut metrics;
        registry.register(
            "build",
            "Version of the operator",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register("probes", "Probes by the reason that they came to", probes.clone());
        registry.register(
            "verdicts",
            "Verdicts by whether they were worth a write",
            status_writes.clone(),
        );
        registry.register(
            "bridge_unlocks",
            "Bridges that a probe unlocked after a restart",
            unlocks.clone(),
        );
        registry.register(
            "pass_failures",
            "Passes that failed because the API server did",
            failures.clone(),
        );
        registry.register("pass_panics", "Passes that panicked", panics.clone());
        registry.register("events", "Events by what became of them", events.clone());
        registry.register("connections", "Connections that are known", connections.clone());
        registry.register("leader", "Whether this process leads", leader.clone());
        metrics
    }
}

impl Metrics {
    /// A pass came to a verdict.
    pub fn judged(&self, reason: Reason, change: Change, unlocked: bool) {
        self.probes
            .get_or_create(&ReasonLabel {
                reason: Label(reason),
            })
            .inc();
        self.status_writes
            .get_or_create(&ChangeLabel {
                change: Label(change),
            })
            .inc();
        if unlocked {
            self.unlocks.inc();
        }
    }

    /// A pass failed on our side.
    pub fn failed(&self) {
        self.failures.inc();
    }

    /// A pass panicked.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// An event was published, or was not.
    pub fn event(&self, outcome: EventOutcome) {
        self.events
            .get_or_create(&EventLabel {
                outcome: Label(outcome),
            })
            .inc();
    }

    /// How many connections are known.
    pub fn connections(&self, count: usize) {
        self.connections.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Everything, in the OpenMetrics text format.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}
