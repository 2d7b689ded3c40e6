//! The series of each connection.
//!
//! A [`Row`] holds the values of one connection in little memory; their text is made at each scrape. When a connection
//! is deleted, its row is removed, and its series end.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

use crate::{
    api::{
        connection::{ComponentState, IdentityProvider, ScimBridgeConnectionStatus},
        vocabulary::{ConditionType, Reason, Truth},
    },
    domain::connection::{
        conditions::{find, reason_of},
        evidence::Component,
    },
};

/// The prefix of these series.
pub(super) const PREFIX: &str = "scim_bridge_connection";

/// The exported values of one connection. Times are seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    declared: Option<IdentityProvider>,
    suspended: bool,
    reason: Option<Reason>,
    /// In the order of [`ConditionType::PROBED`].
    conditions: [Truth; ConditionType::PROBED.len()],
    ready_since: Option<i64>,
    last_probe: Option<i64>,
    next_probe: Option<i64>,
    valid_until: Option<i64>,
    certificate_expiry: Option<i64>,
    failures: u32,
    users: Option<u64>,
    groups: Option<u64>,
    /// In the order of [`Component::ALL`]; `None` if the bridge does not report it.
    components: [Option<bool>; Component::ALL.len()],
    unlocks: u64,
}

/// The rows of all connections, by namespace and name.
#[derive(Debug, Default)]
pub(super) struct Connections {
    rows: Mutex<HashMap<Arc<str>, RowsByName>>,
}

/// The rows of a namespace, by name.
type RowsByName = HashMap<Arc<str>, Arc<Row>>;

/// A snapshot of a row with its labels: a slow scrape holds no lock and sees no later change.
struct Exported {
    namespace: Arc<str>,
    name: Arc<str>,
    row: Arc<Row>,
}

// === impl Row ===

impl Row {
    /// The row of a connection with this specification and status.
    #[must_use]
    pub fn of(
        declared: Option<IdentityProvider>,
        suspended: bool,
        status: &ScimBridgeConnectionStatus,
    ) -> Self {
        let conditions = &status.conditions;
        let truth = |type_| match find(conditions, type_).map(|condition| condition.status.as_str()) {
            Some("True") => Truth::True,
            Some("False") => Truth::False,
            // This condition is absent while it is False.
            None if !ConditionType::ALWAYS.contains(&type_) => Truth::False,
            Some(_) | None => Truth::Unknown,
        };
        let ready_since =
            find(conditions, ConditionType::Ready).map(|ready| ready.last_transition_time.0.as_second());
        let seconds = |time: &Option<Time>| time.as_ref().map(|time| time.0.as_second());
        let components = Component::ALL.map(|component| {
            let reports = status.bridge.iter().flat_map(|bridge| &bridge.components);
            reports
                .filter(|report| report.name == component.as_str())
                .map(|report| report.state == ComponentState::Healthy)
                .reduce(|a, b| a && b)
        });
        Self {
            declared,
            suspended,
            reason: reason_of(conditions),
            conditions: ConditionType::PROBED.map(truth),
            ready_since,
            last_probe: seconds(&status.last_probe_time),
            next_probe: seconds(&status.next_probe_time),
            valid_until: seconds(&status.valid_until),
            certificate_expiry: status
                .certificate
                .as_ref()
                .map(|certificate| certificate.not_after.0.as_second()),
            failures: status.consecutive_failures,
            users: status.directory.map(|directory| directory.users),
            groups: status.directory.and_then(|directory| directory.groups),
            components,
            unlocks: 0,
        }
    }

    /// Replaces the values by those of `row`, but keeps the times of a later probe with the same reason. An unchanged
    /// verdict is not written after each probe, so a status may be older than the last probe.
    fn update(&mut self, row: Self) {
        let is_older = row.last_probe < self.last_probe && row.reason == self.reason;
        let (last_probe, next_probe, valid_until) = if is_older {
            (self.last_probe, self.next_probe, self.valid_until)
        } else {
            (row.last_probe, row.next_probe, row.valid_until)
        };
        *self = Self {
            last_probe,
            next_probe,
            valid_until,
            unlocks: self.unlocks,
            ..row
        };
    }
}

// === impl Connections ===

impl Connections {
    /// Adds or updates the row of a connection that was read.
    pub(super) fn read(&self, namespace: &Arc<str>, name: &Arc<str>, row: Row) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = rows.entry(Arc::clone(namespace)).or_default();
        match rows.get_mut(name) {
            None => {
                rows.insert(Arc::clone(name), Arc::new(row));
            }
            Some(present) => Arc::make_mut(present).update(row),
        }
    }

    /// Updates the row of a connection after a probe. It adds no row: a connection that was deleted or moved to another
    /// shard during its probe would keep its series for ever.
    pub(super) fn judged(&self, namespace: &str, name: &str, row: Row) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(present) = rows.get_mut(namespace).and_then(|rows| rows.get_mut(name)) {
            // The specification may have changed during the probe.
            let (declared, suspended) = (present.declared, present.suspended);
            Arc::make_mut(present).update(Row {
                declared,
                suspended,
                ..row
            });
        }
    }

    /// Counts a probe that unlocked the bridge of a connection.
    pub(super) fn unlocked(&self, namespace: &str, name: &str) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = rows.get_mut(namespace).and_then(|rows| rows.get_mut(name)) {
            Arc::make_mut(row).unlocks += 1;
        }
    }

    /// Removes the row of a connection.
    pub(super) fn forget(&self, namespace: &str, name: &str) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(by_name) = rows.get_mut(namespace) {
            by_name.remove(name);
            if by_name.is_empty() {
                rows.remove(namespace);
            }
        }
    }

    /// Removes the rows of connections for which `is_known` is false.
    pub(super) fn retain(&self, is_known: impl Fn(&str, &str) -> bool) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.retain(|namespace, by_name| {
            by_name.retain(|name, _| is_known(namespace, name));
            !by_name.is_empty()
        });
    }

    fn export(&self) -> Vec<Exported> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut exported = Vec::with_capacity(rows.values().map(HashMap::len).sum());
        for (namespace, by_name) in &*rows {
            exported.extend(by_name.iter().map(|(name, row)| Exported {
                namespace: Arc::clone(namespace),
                name: Arc::clone(name),
                row: Arc::clone(row),
            }));
        }
        exported
    }
}

impl Collector for Connections {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families {
            encoder,
            connections: self.export(),
        };
        families.verdicts()?;
        families.times()?;
        families.facts()
    }
}

/// Writes the metric families, one after another.
struct Families<'a> {
    encoder: DescriptorEncoder<'a>,
    connections: Vec<Exported>,
}

impl Families<'_> {
    fn verdicts(&mut self) -> fmt::Result {
        self.each(
            "condition",
            "Conditions of a connection: 1 for True, 0 for False or absent, -1 for Unknown",
            None,
            |row, out| {
                for (type_, truth) in ConditionType::PROBED.iter().zip(row.conditions) {
                    let value = match truth {
                        Truth::True => 1,
                        Truth::False => 0,
                        Truth::Unknown => -1,
                    };
                    out.gauge([("type", type_.as_str())], value)?;
                }
                Ok(())
            },
        )?;
        self.each(
            "ready_reason",
            "The reason of condition Ready",
            None,
            |row, out| match row.reason {
                Some(reason) => out.gauge([("reason", reason.as_str())], 1),
                None => Ok(()),
            },
        )?;
        self.each(
            "component_healthy",
            "Whether a component that the bridge reports is healthy",
            None,
            |row, out| {
                for (component, healthy) in Component::ALL.iter().zip(row.components) {
                    if let Some(healthy) = healthy {
                        out.gauge([("component", component.as_str())], i64::from(healthy))?;
                    }
                }
                Ok(())
            },
        )
    }

    fn times(&mut self) -> fmt::Result {
        type Time = fn(&Row) -> Option<i64>;
        let times: [(&str, &str, Time); 5] = [
            (
                "ready_transition_timestamp",
                "When the status of condition Ready last changed",
                |row| row.ready_since,
            ),
            ("last_probe_timestamp", "When the last probe ended", |row| {
                row.last_probe
            }),
            ("next_probe_timestamp", "When the next probe is due", |row| {
                row.next_probe
            }),
            ("valid_until_timestamp", "When the verdict becomes stale", |row| {
                row.valid_until
            }),
            (
                "certificate_expiry_timestamp",
                "Earliest expiry among the certificates of the bridge's chain",
                |row| row.certificate_expiry,
            ),
        ];
        for (name, help, time) in times {
            self.each(name, help, Some(&Unit::Seconds), |row, out| {
                out.optional(time(row))
            })?;
        }
        Ok(())
    }

    fn facts(&mut self) -> fmt::Result {
        self.each(
            "info",
            "The identity provider that a connection declares",
            None,
            |row, out| {
                let declared = row.declared.map_or("Undeclared", IdentityProvider::as_str);
                out.gauge([("identity_provider", declared)], 1)
            },
        )?;
        self.each(
            "suspended",
            "Whether a connection is suspended",
            None,
            |row, out| out.optional(Some(i64::from(row.suspended))),
        )?;
        self.each(
            "consecutive_failures",
            "Consecutive transient failures",
            None,
            |row, out| out.optional(Some(i64::from(row.failures))),
        )?;
        let count = |count: Option<u64>| count.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        self.each(
            "directory_users",
            "Users that the bridge lists",
            None,
            |row, out| out.optional(count(row.users)),
        )?;
        self.each(
            "directory_groups",
            "Groups that the bridge lists",
            None,
            |row, out| out.optional(count(row.groups)),
        )?;
        let Self { encoder, connections } = self;
        let mut family = encoder.encode_descriptor(
            "unlocks",
            "Probes that unlocked the bridge after it had restarted",
            None,
            MetricType::Counter,
        )?;
        for connection in connections {
            family
                .encode_family(&connection.labels())?
                .encode_counter::<NoLabelSet, _, u64>(&connection.row.unlocks, None)?;
        }
        Ok(())
    }

    /// Writes a family of gauges.
    fn each(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        write: impl Fn(&Row, &mut Series<'_, '_>) -> fmt::Result,
    ) -> fmt::Result {
        let mut family = self
            .encoder
            .encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for connection in &self.connections {
            write(
                &connection.row,
                &mut Series {
                    family: &mut family,
                    connection,
                },
            )?;
        }
        Ok(())
    }
}

/// Writes the series of one connection in one family.
struct Series<'a, 'b> {
    family: &'a mut MetricEncoder<'b>,
    connection: &'a Exported,
}

impl Series<'_, '_> {
    fn gauge(&mut self, label: [(&str, &str); 1], value: i64) -> fmt::Result {
        let labels = (self.connection.labels(), label);
        self.encode(&labels, value)
    }

    /// Writes a series without another label, if there is a value.
    fn optional(&mut self, value: Option<i64>) -> fmt::Result {
        match value {
            Some(value) => self.encode(&self.connection.labels(), value),
            None => Ok(()),
        }
    }

    fn encode(&mut self, labels: &impl EncodeLabelSet, value: i64) -> fmt::Result {
        self.family.encode_family(labels)?.encode_gauge(&value)
    }
}

impl Exported {
    fn labels(&self) -> [(&str, &str); 2] {
        [("namespace", &self.namespace), ("name", &self.name)]
    }
}
