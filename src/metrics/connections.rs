//! The series of each connection.

use std::{fmt, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

use super::{
    rows::{Families, Rows},
    saturated,
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

/// The rows of all connections.
#[derive(Debug, Default)]
pub(super) struct Connections(Rows<Row>);

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

    /// As [`Self::update`], but keeps what the specification says: it may have changed during the probe.
    fn judge(&mut self, row: Self) {
        let Self {
            declared, suspended, ..
        } = *self;
        self.update(Self {
            declared,
            suspended,
            ..row
        });
    }
}

// === impl Connections ===

impl Connections {
    /// Adds or updates the row of a connection that was read.
    pub(super) fn read(&self, namespace: &Arc<str>, name: &Arc<str>, row: Row) {
        self.0.put(namespace, name, row, Row::update);
    }

    /// Updates the row of a connection after a probe. It adds no row: a connection that was deleted or moved to another
    /// shard during its probe would keep its series for ever.
    pub(super) fn judged(&self, namespace: &str, name: &str, row: Row) {
        self.0.change(namespace, name, |present| present.judge(row));
    }

    /// Counts a probe that unlocked the bridge of a connection.
    pub(super) fn unlocked(&self, namespace: &str, name: &str) {
        self.0.change(namespace, name, |row| row.unlocks += 1);
    }

    /// Removes the row of a connection.
    pub(super) fn forget(&self, namespace: &str, name: &str) {
        self.0.forget(namespace, name);
    }

    /// Removes the rows of connections for which `is_known` is false.
    pub(super) fn retain(&self, is_known: impl Fn(&str, &str) -> bool) {
        self.0.retain(is_known);
    }
}

impl Collector for Connections {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = self.0.families(encoder);
        families.verdicts()?;
        families.times()?;
        families.facts()
    }
}

impl Families<'_, Row> {
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
        self.each(
            "directory_users",
            "Users that the bridge lists",
            None,
            |row, out| out.optional(row.users.map(saturated)),
        )?;
        self.each(
            "directory_groups",
            "Groups that the bridge lists",
            None,
            |row, out| out.optional(row.groups.map(saturated)),
        )?;
        let Self { encoder, rows } = self;
        let mut family = encoder.encode_descriptor(
            "unlocks",
            "Probes that unlocked the bridge after it had restarted",
            None,
            MetricType::Counter,
        )?;
        for connection in rows {
            family
                .encode_family(&connection.labels())?
                .encode_counter::<NoLabelSet, _, u64>(&connection.row.unlocks, None)?;
        }
        Ok(())
    }
}
