//! The series of each directory: of each connection with `spec.provisioning`. None is about a person.

use std::{collections::BTreeMap, fmt, sync::Arc};

use k8s_openapi::jiff::Timestamp;
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, registry::Unit};

use super::{
    rows::{Families, Rows},
    saturated,
};
use crate::{
    api::{
        directory::{ChangeKind, Reason},
        user::SuspensionTimes,
    },
    domain::directory::{budget::PerKind, order::Answer},
};

/// The prefix of these series.
pub(super) const PREFIX: &str = "scim_bridge_directory";

/// The exported values of one directory. The counts and changes are those of the last complete read. Without one, they
/// are not shown: nobody has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryRow {
    /// Whether changes are sent: mode `Manage`.
    pub manages: bool,
    /// Users on the bridge, suspended ones included.
    pub users: u64,
    /// Suspended users on the bridge.
    pub suspended: u64,
    /// Users on the bridge that a `ScimUser` stands for.
    pub managed: u64,
    /// Active users on the bridge that no `ScimUser` stands for.
    pub unmanaged_active: u64,
    /// Groups on the bridge.
    pub groups: u64,
    /// When the directory was last read in full. `None` before the first complete read.
    pub snapshot_time: Option<Timestamp>,
    /// Whether the last read was complete. `None` before the first read.
    pub complete: Option<bool>,
    /// Planned changes, held ones included.
    pub pending: PerKind<u32>,
    /// Whether more changes are pending than the limit allows.
    pub held: PerKind<bool>,
    /// The declared users and groups, by the reason of their condition `Ready`.
    pub objects: BTreeMap<Reason, u32>,
    /// Users and groups that somebody else changed back twice within a day.
    pub contested: u64,
    /// Suspensions that no read has shown yet. Statuses tell them, so they are known without a read. None in mode `Plan`.
    pub unproven_suspensions: u64,
    /// When the oldest of them was asked for.
    pub oldest_unproven_suspension: Option<Timestamp>,
}

/// The rows of all directories.
#[derive(Debug, Default)]
pub(super) struct Directories(Rows<DirectoryRow>);

// === impl DirectoryRow ===

impl DirectoryRow {
    /// Counts a suspension, if no read has shown it yet.
    pub fn note_suspension(&mut self, times: &SuspensionTimes) {
        let SuspensionTimes {
            requested_at,
            sent_at: _,
            proven_at: None,
        } = times
        else {
            return;
        };
        self.unproven_suspensions += 1;
        let requested = requested_at.iter().map(|time| time.0);
        self.oldest_unproven_suspension = requested.chain(self.oldest_unproven_suspension).min();
    }

    /// Writes something for each kind of change, if the directory was read.
    fn changes(&self, write: impl FnMut(ChangeKind) -> fmt::Result) -> fmt::Result {
        let kinds = self.snapshot_time.map(|_| ChangeKind::ALL);
        kinds.into_iter().flatten().try_for_each(write)
    }
}

// === impl Directories ===

impl Directories {
    /// Adds or replaces the row of a directory.
    pub(super) fn read(&self, namespace: &str, name: &str, row: DirectoryRow) {
        self.0
            .put(&Arc::from(namespace), &Arc::from(name), row, |present, row| {
                *present = row;
            });
    }

    /// Removes the row of a directory.
    pub(super) fn forget(&self, namespace: &str, name: &str) {
        self.0.forget(namespace, name);
    }
}

impl Collector for Directories {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = self.0.families(encoder);
        // Without provisioning, the page says nothing of directories, not even their help.
        if families.rows.is_empty() {
            return Ok(());
        }
        families.counts()?;
        families.reads()?;
        families.plans()?;
        families.troubles()
    }
}

impl Families<'_, DirectoryRow> {
    fn counts(&mut self) -> fmt::Result {
        type Count = fn(&DirectoryRow) -> u64;
        let counts: [(&str, &str, Count); 5] = [
            ("users", "Users on the bridge, suspended ones included", |row| {
                row.users
            }),
            ("suspended_users", "Suspended users on the bridge", |row| {
                row.suspended
            }),
            (
                "managed_users",
                "Users on the bridge that a ScimUser stands for",
                |row| row.managed,
            ),
            (
                "unmanaged_active_users",
                "Active users on the bridge that no ScimUser stands for",
                |row| row.unmanaged_active,
            ),
            ("groups", "Groups on the bridge", |row| row.groups),
        ];
        for (name, help, count) in counts {
            self.each(name, help, None, |row, out| {
                out.optional(row.snapshot_time.map(|_| saturated(count(row))))
            })?;
        }
        Ok(())
    }

    fn reads(&mut self) -> fmt::Result {
        self.each(
            "manages",
            "Whether the operator sends changes to the bridge",
            None,
            |row, out| out.optional(Some(i64::from(row.manages))),
        )?;
        self.each(
            "complete",
            "Whether the last read of the directory was complete",
            None,
            |row, out| out.optional(row.complete.map(i64::from)),
        )?;
        self.each(
            "snapshot_timestamp",
            "When the directory was last read in full",
            Some(&Unit::Seconds),
            |row, out| out.optional(row.snapshot_time.map(Timestamp::as_second)),
        )
    }

    fn plans(&mut self) -> fmt::Result {
        self.each(
            "pending_changes",
            "Changes that the operator would send, held ones included",
            None,
            |row, out| {
                row.changes(|kind| out.gauge([("kind", kind.as_str())], i64::from(*row.pending.get(kind))))
            },
        )?;
        self.each(
            "held",
            "Whether more changes of a kind are pending than the limit of an hour allows",
            None,
            |row, out| {
                row.changes(|kind| out.gauge([("kind", kind.as_str())], i64::from(*row.held.get(kind))))
            },
        )?;
        self.each(
            "objects",
            "Declared users and groups by the reason of condition Ready",
            None,
            |row, out| {
                for (reason, count) in &row.objects {
                    out.gauge([("reason", reason.as_str())], i64::from(*count))?;
                }
                Ok(())
            },
        )
    }

    fn troubles(&mut self) -> fmt::Result {
        self.each(
            "contested",
            "Users and groups that somebody else changed back twice within a day",
            None,
            |row, out| out.optional(row.snapshot_time.map(|_| saturated(row.contested))),
        )?;
        self.each(
            "unproven_suspensions",
            "Suspensions that are asked for and that no read has shown yet",
            None,
            |row, out| out.optional(Some(saturated(row.unproven_suspensions))),
        )?;
        self.each(
            "oldest_unproven_suspension_timestamp",
            "When the oldest unproven suspension was asked for",
            Some(&Unit::Seconds),
            |row, out| out.optional(row.oldest_unproven_suspension.map(Timestamp::as_second)),
        )
    }
}

/// The name of an answer in `directory_writes_total`.
#[must_use]
pub const fn write_outcome(answer: &Answer) -> &'static str {
    match answer {
        Answer::Accepted(_) => "accepted",
        Answer::Unclear => "unclear",
        Answer::NotSent => "not_sent",
        Answer::RateLimited => "rate_limited",
        Answer::NotFound => "not_found",
        Answer::Conflict => "conflict",
        Answer::Unsupported => "unsupported",
        Answer::TooMany => "too_many",
        Answer::Rejected(_) => "rejected",
    }
}
