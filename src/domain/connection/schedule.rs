//! Whether to probe now, and when next.
//!
//! [`due`] is the only gate to a probe. Re-lists, the operator's own writes, edits of labels and restarts go through it
//! too. Its answer to them is "not yet".
//!
//! Nothing here is random. Jitter and slots come from the object's UID: they differ between objects, stay the same
//! across restarts, and can be tested.

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::conditions::{class_of, grace_end, reason_of};
use crate::{
    api::{
        connection::ScimBridgeConnectionStatus,
        role::{PerRole, Role},
        vocabulary::{Class, Reason},
    },
    domain::watched::Watched,
};

/// Shortest delay after a transient failure.
pub const RETRY_MIN: Duration = Duration::from_secs(5);

/// Shortest time between two tries of a refused key, unless something changes.
pub const REFUSED_KEY_INTERVAL: Duration = Duration::from_hours(1);

/// Longest Retry-After that the operator honours.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// How much the regular delay may differ from the interval, in percent.
const JITTER_PERCENT: u32 = 10;

/// Everything that [`due`] depends on.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// Whether `spec.suspend` is true, or the object is being deleted.
    pub dormant: bool,
    /// `metadata.generation`.
    pub generation: i64,
    /// `status.observedGeneration`.
    pub observed_generation: i64,
    /// The objects that the connection refers to.
    pub references: PerRole<Option<Watched<'a>>>,
    /// Annotation `reconcile.fluxcd.io/requestedAt`.
    pub requested: Option<&'a str>,
    /// The value of that annotation that was handled last.
    pub handled: Option<&'a str>,
    /// Whether a verdict waits to be written.
    pub unwritten: bool,
    /// When the next probe is scheduled.
    pub next: Timestamp,
    /// The current time.
    pub now: Timestamp,
}

/// Whether to probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Now, and why.
    Now(Cause),
    /// At this time, if nothing happens first.
    At(Timestamp),
    /// Not until the object changes.
    Never,
}

/// Why a reconcile starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// This specification was not probed yet.
    NewGeneration,
    /// An object that the connection refers to has changed.
    Changed(Role),
    /// Somebody asked for a probe with the annotation.
    Requested,
    /// The scheduled time has come.
    Scheduled,
    /// A status write failed. The operator retries the write and sends nothing to the bridge.
    Unwritten,
}

/// Decides whether to probe a connection now.
#[must_use]
pub fn due(situation: &Situation<'_>) -> Due {
    let Situation {
        dormant,
        generation,
        observed_generation,
        references,
        requested,
        handled,
        unwritten,
        next,
        now,
    } = *situation;
    let is_news = |role: &Role| references.get(*role).is_some_and(|watched| watched.is_news());
    if dormant {
        Due::Never
    } else if generation != observed_generation {
        Due::Now(Cause::NewGeneration)
    } else if let Some(role) = Role::ALL.into_iter().find(is_news) {
        Due::Now(Cause::Changed(role))
    } else if requested.is_some() && requested != handled {
        Due::Now(Cause::Requested)
    } else if next <= now {
        Due::Now(Cause::Scheduled)
    } else if unwritten {
        Due::Now(Cause::Unwritten)
    } else {
        Due::At(next)
    }
}

/// Everything that the next delay depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace<'a> {
    /// The object's UID.
    pub uid: &'a str,
    /// `spec.interval`.
    pub interval: Duration,
    /// Consecutive transient failures; 0 unless the last probe ended in one.
    pub failures: u32,
    /// How long a refused key must still wait. The next probe comes after that.
    pub rest: Duration,
    /// The pause that the bridge asked for.
    pub retry_after: Option<Duration>,
}

impl Pace<'_> {
    /// Time until the next probe.
    ///
    /// - All is well, or somebody has to act: the interval ±10 %.
    /// - After transient failures: from 5 s up to a limit. The limit starts at 10 s and doubles with each failure, up to
    ///   the interval. A Retry-After of up to an hour is honoured.
    #[must_use]
    pub fn delay(&self) -> Duration {
        if self.failures == 0 {
            return jittered(self.interval, self.uid);
        }
        let backed_off = spread(RETRY_MIN, self.retry_window(), hash(self.uid, self.failures));
        backed_off.max(self.pause())
    }

    /// Time until the next probe after one that began late: shorter by that lateness, but by half at most. Otherwise
    /// probes that waited together, as after a mass start, would stay together. A back-off is never shortened.
    #[must_use]
    pub fn delay_after(&self, late: Duration) -> Duration {
        let delay = self.delay();
        if self.failures > 0 {
            return delay;
        }
        delay.saturating_sub(late).max(delay / 2)
    }

    /// When to probe next after the first verdict: in the object's own slot of the interval, as after a restart.
    /// Otherwise thousands that were created at once would stay together. After a failure, the usual back-off.
    #[must_use]
    pub fn first(&self, now: Timestamp) -> Timestamp {
        if self.failures == 0 {
            slot(self.uid, self.interval, now + RETRY_MIN)
        } else {
            now + self.delay()
        }
    }

    /// The pause that the bridge asked for, up to [`RETRY_AFTER_MAX`].
    fn pause(&self) -> Duration {
        let asked = self.retry_after.filter(|_| self.failures > 0);
        asked.unwrap_or_default().min(RETRY_AFTER_MAX)
    }

    /// How long a verdict of now is valid: until the operator should have written the probe after next. A write may be
    /// late by the heartbeat. If the bridge asked for a longer pause, the next probe comes after that pause.
    #[must_use]
    pub fn validity(&self, timeout: Duration, heartbeat: Duration) -> Duration {
        let regular = if self.rest.is_zero() {
            self.interval
        } else {
            self.interval.max(REFUSED_KEY_INTERVAL)
        };
        regular.max(self.pause()) + regular + timeout + heartbeat
    }

    /// When to probe after a restart.
    ///
    /// - As planned, if the plan is in the future and plausible.
    /// - In the object's own slot of the interval, if the planned time is over and the verdict still valid. Slots differ
    ///   between objects, so their probes do not start together.
    /// - At once, if the verdict is stale.
    /// - Never before a refused key may be sent again: a restart is no reason to send it.
    #[must_use]
    pub fn resume(&self, status: &ScimBridgeConnectionStatus, now: Timestamp) -> Timestamp {
        let period = if self.failures == 0 {
            self.interval
        } else {
            self.retry_window()
        };
        let stale = status.valid_until.as_ref().is_none_or(|until| until.0 <= now);
        let planned = if stale {
            now
        } else {
            self.plan(status, now)
                .unwrap_or_else(|| slot(self.uid, period, now))
        };
        let planned = grace_end(&status.conditions).map_or(planned, |end| planned.min(end.max(now)));
        planned.max(now + self.rest)
    }

    /// The planned time in a status, if it is plausible. It is not if the plan is longer than any delay, or if the last
    /// probe lies in the future: the clock was then set. So no connection waits longer than its delay.
    fn plan(&self, status: &ScimBridgeConnectionStatus, now: Timestamp) -> Option<Timestamp> {
        let (probed, planned) = (
            status.last_probe_time.as_ref()?.0,
            status.next_probe_time.as_ref()?.0,
        );
        let longest = with_jitter(self.interval).max(RETRY_AFTER_MAX);
        (probed <= now && now < planned && planned <= probed + longest).then_some(planned)
    }

    fn retry_window(&self) -> Duration {
        let doublings = self.failures.min(16);
        RETRY_MIN
            .saturating_mul(1 << doublings)
            .min(self.interval)
            .max(RETRY_MIN)
    }
}

/// The pace after a restart, from a status.
#[must_use]
pub fn pace_of<'a>(
    uid: &'a str,
    interval: Duration,
    status: &ScimBridgeConnectionStatus,
    now: Timestamp,
) -> Pace<'a> {
    let rest = refused_key_retry(status)
        .and_then(|retry| Duration::try_from(retry.0.duration_since(now)).ok())
        .unwrap_or_default();
    Pace {
        uid,
        interval,
        failures: match class_of(&status.conditions) {
            Class::Transient => status.consecutive_failures.max(1),
            Class::Ok | Class::Action | Class::Pending => status.consecutive_failures,
        },
        // If the clock was set back, the time may be far ahead: never wait longer than the original rest.
        rest: rest.min(with_jitter(interval.max(REFUSED_KEY_INTERVAL))),
        retry_after: None,
    }
}

/// How long a key must wait after a refusal: an hour ±10 %, or the interval ±10 % if that is longer.
#[must_use]
pub fn rest_of_refused_key(uid: &str, interval: Duration) -> Duration {
    jittered(interval.max(REFUSED_KEY_INTERVAL), uid)
}

/// When the key of a status may be sent again. `None` if no refusal of it is known.
#[must_use]
pub fn refused_key_retry(status: &ScimBridgeConnectionStatus) -> Option<&Time> {
    status.refused_key_retry_time.as_ref().or_else(|| {
        // Versions without that field wrote the time here.
        let planned = status.next_probe_time.as_ref();
        planned.filter(|_| reason_of(&status.conditions) == Some(Reason::AuthFailed))
    })
}

/// Time until the next try after probes of other connections kept the bridge busy: 5 to 10 s, by the UID, so that
/// connections that were postponed together do not return together.
#[must_use]
pub fn postponed(uid: &str) -> Duration {
    spread(RETRY_MIN, RETRY_MIN * 2, hash(uid, 0))
}

/// `interval` ±10 %, always the same for one UID.
fn jittered(interval: Duration, uid: &str) -> Duration {
    let longest = with_jitter(interval);
    let swing = longest.saturating_sub(interval);
    spread(interval.saturating_sub(swing), longest, hash(uid, 0))
}

/// The longest delay for an interval.
fn with_jitter(interval: Duration) -> Duration {
    interval * (100 + JITTER_PERCENT) / 100
}

/// The point between `from` and `to` that `hash` picks.
fn spread(from: Duration, to: Duration, hash: u64) -> Duration {
    let width = u64::try_from(to.saturating_sub(from).as_millis()).unwrap_or(u64::MAX);
    from + Duration::from_millis(hash % width.saturating_add(1).max(1))
}

/// The next slot of `uid`: each UID has one slot in each `period`.
fn slot(uid: &str, period: Duration, now: Timestamp) -> Timestamp {
    let period = i64::try_from(period.as_millis()).unwrap_or(i64::MAX).max(1);
    let offset = i64::try_from(hash(uid, 0) >> 1).unwrap_or(0).rem_euclid(period);
    let wait = (offset - now.as_millisecond().rem_euclid(period)).rem_euclid(period);
    now + Duration::from_millis(wait.unsigned_abs())
}

/// FNV-1a with a finalizer. The schedule must survive an upgrade, and std's hashers may return other values in the next
/// release.
fn hash(uid: &str, salt: u32) -> u64 {
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in uid.bytes().chain(salt.to_le_bytes()) {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    state = (state ^ (state >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    state ^ (state >> 33)
}
