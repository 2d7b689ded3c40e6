//! Whether to probe now, and when next.
//!
//! [`due`] is the only gate to a probe. Everything else that happens around an object (a re-list, an own write, an
//! edit of its labels, a restart) passes through it and comes out as "not yet".
//!
//! There is no randomness: jitter and slots come from the object's UID, so that they differ between objects, stay the
//! same across restarts, and can be tested.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::conditions::{grace_end, reason_of};
use crate::api::{
    v1alpha1::{ObjectVersion, ScimBridgeConnectionStatus},
    vocabulary::{Class, Reason},
};

/// Shortest delay after a passing failure.
pub const RETRY_MIN: Duration = Duration::from_secs(5);

/// After a refusal the key is not sent more often than this until something changes.
pub const REFUSED_KEY_INTERVAL: Duration = Duration::from_hours(1);

/// A Retry-After beyond this is not believed.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// How far the regular delay may be off the interval, in percent of it.
const JITTER_PERCENT: u64 = 10;

/// What is known of an object that is watched as metadata only.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Seen {
    /// Nothing (yet): no ground to act.
    #[default]
    Unknown,
    /// It does not exist.
    Absent,
    /// It exists in this version.
    Present(ObjectVersion),
}

/// One of the objects that a connection refers to.
#[derive(Clone, Copy, Debug)]
pub struct Dependency<'a> {
    /// The version that the status is about; `None` where there was no object.
    pub judged: Option<&'a ObjectVersion>,
    /// The newest version known.
    pub seen: &'a Seen,
    /// The newest version that was known when the last pass began: it is behind what that pass read itself, and so no
    /// news.
    pub seen_before: &'a Seen,
}

/// Everything that [`due`] looks at.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// `spec.suspend`, or the object is being deleted.
    pub dormant: bool,
    /// `metadata.generation`.
    pub generation: i64,
    /// `status.observedGeneration`.
    pub observed_generation: i64,
    /// The Secret with the key.
    pub credential: Option<Dependency<'a>>,
    /// The CA object.
    pub ca: Option<Dependency<'a>>,
    /// The Secret with the next key.
    pub next_credential: Option<Dependency<'a>>,
    /// Annotation `reconcile.fluxcd.io/requestedAt`.
    pub requested: Option<&'a str>,
    /// Its value that was handled last.
    pub handled: Option<&'a str>,
    /// When the next probe is scheduled.
    pub next: Timestamp,
    /// The present time.
    pub now: Timestamp,
}

/// Whether to probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Now, and why.
    Now(Cause),
    /// At this time, if nothing happens before.
    At(Timestamp),
    /// Not at all, until the object changes.
    Never,
}

/// What leads to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The specification was not probed yet.
    NewGeneration,
    /// The Secret with the key changed.
    CredentialChanged,
    /// The CA object changed.
    CaChanged,
    /// The Secret with the next key changed.
    NextCredentialChanged,
    /// Somebody asked for it.
    Requested,
    /// It is time.
    Scheduled,
}

/// Decides whether a connection is probed now. The only gate.
#[must_use]
pub fn due(situation: &Situation<'_>) -> Due {
    let Situation {
        dormant,
        generation,
        observed_generation,
        credential,
        ca,
        next_credential,
        requested,
        handled,
        next,
        now,
    } = *situation;
    let changed = |dependency: Option<Dependency<'_>>| dependency.is_some_and(|d| d.is_news());
    if dormant {
        Due::Never
    } else if generation != observed_generation {
        Due::Now(Cause::NewGeneration)
    } else if changed(credential) {
        Due::Now(Cause::CredentialChanged)
    } else if changed(ca) {
        Due::Now(Cause::CaChanged)
    } else if changed(next_credential) {
        Due::Now(Cause::NextCredentialChanged)
    } else if requested.is_some() && requested != handled {
        Due::Now(Cause::Requested)
    } else if next <= now {
        Due::Now(Cause::Scheduled)
    } else {
        Due::At(next)
    }
}

/// What the next delay depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace<'a> {
    /// The object's UID.
    pub uid: &'a str,
    /// `spec.interval`.
    pub interval: Duration,
    /// The reason that stands in the status.
    pub standing: Reason,
    /// Passing failures in a row; 0 unless the last probe ended in one.
    pub failures: u32,
    /// What the bridge asked for.
    pub retry_after: Option<Duration>,
}

impl Pace<'_> {
    /// Time until the next probe.
    ///
    /// - All is well, or somebody has to act: the interval ±10 %.
    /// - The key was refused: an hour ±10 %, or the interval if that is longer; whatever came after the refusal.
    /// - A passing failure: from 5 s up to twice that for each failure, at most the interval; Retry-After is honoured up
    ///   to an hour.
    #[must_use]
    pub fn delay(&self) -> Duration {
        let regular = jittered(self.regular_interval(), self.uid);
        if self.failures == 0 || self.standing == Reason::AuthFailed {
            return regular;
        }
        let backed_off = spread(RETRY_MIN, self.retry_window(), hash(self.uid, self.failures));
        match self.retry_after {
            Some(asked) => backed_off.max(asked.min(RETRY_AFTER_MAX)),
            None => backed_off,
        }
    }

    /// How long the verdict of this moment may be believed: until the probe after next should have been written, with
    /// the heartbeat by which writing may lag behind.
    #[must_use]
    pub fn validity(&self, timeout: Duration, heartbeat: Duration) -> Duration {
        self.regular_interval() * 2 + timeout + heartbeat
    }

    /// When to go on after a restart.
    ///
    /// - As planned, where the plan lies ahead.
    /// - In the object's own slot of the interval where it has passed and the verdict is still valid: every object has
    ///   another slot, so there is no herd.
    /// - At once where the verdict is stale.
    #[must_use]
    pub fn resume(&self, status: &ScimBridgeConnectionStatus, now: Timestamp) -> Timestamp {
        let regular = self.regular_interval();
        let period = if self.failures == 0 {
            regular
        } else {
            self.retry_window()
        };
        if status.valid_until.as_ref().is_none_or(|until| until.0 <= now) {
            return now;
        }
        let slot = slot(self.uid, period, now);
        let planned = match &status.next_probe_time {
            // A plan beyond any delay comes from a clock that was wrong.
            Some(planned) if planned.0 > now && planned.0 <= now + regular * 2 => planned.0,
            _ => slot,
        };
        grace_end(&status.conditions).map_or(planned, |end| planned.min(end.max(now)))
    }

    fn regular_interval(&self) -> Duration {
        if self.standing == Reason::AuthFailed {
            self.interval.max(REFUSED_KEY_INTERVAL)
        } else {
            self.interval
        }
    }

    fn retry_window(&self) -> Duration {
        let doublings = self.failures.min(16);
        RETRY_MIN
            .saturating_mul(1 << doublings)
            .min(self.interval)
            .max(RETRY_MIN)
    }
}

/// The pace that a status stands for.
#[must_use]
pub fn pace_of<'a>(uid: &'a str, interval: Duration, status: &ScimBridgeConnectionStatus) -> Pace<'a> {
    let standing = reason_of(&status.conditions).unwrap_or(Reason::Progressing);
    Pace {
        uid,
        interval,
        standing,
        failures: match standing.class() {
            Class::Transient => status.consecutive_failures.max(1),
            Class::Ok | Class::Action | Class::Pending => status.consecutive_failures,
        },
        retry_after: None,
    }
}

// === impl Dependency ===

impl Dependency<'_> {
    fn is_news(&self) -> bool {
        let differs = match self.seen {
            Seen::Unknown => false,
            Seen::Absent => self.judged.is_some(),
            Seen::Present(version) => self.judged != Some(version),
        };
        differs && self.seen != self.seen_before
    }
}

/// `interval` ±10 %, always the same for one UID.
fn jittered(interval: Duration, uid: &str) -> Duration {
    let swing = interval * u32::try_from(JITTER_PERCENT).unwrap_or(0) / 100;
    spread(interval.saturating_sub(swing), interval + swing, hash(uid, 0))
}

/// The point between `from` and `to` that `hash` picks.
fn spread(from: Duration, to: Duration, hash: u64) -> Duration {
    let width = u64::try_from(to.saturating_sub(from).as_millis()).unwrap_or(u64::MAX);
    from + Duration::from_millis(hash % width.saturating_add(1).max(1))
}

/// The next time at which `uid` has its turn, when each UID has one turn a `period`.
fn slot(uid: &str, period: Duration, now: Timestamp) -> Timestamp {
    let period = i64::try_from(period.as_millis()).unwrap_or(i64::MAX).max(1);
    let turn = i64::try_from(hash(uid, 0) >> 1).unwrap_or(0).rem_euclid(period);
    let wait = (turn - now.as_millisecond().rem_euclid(period)).rem_euclid(period);
    now + Duration::from_millis(wait.unsigned_abs())
}

/// FNV-1a with a finalizer: std's hashers do not promise the same value in the next release, and a schedule that
/// survives an upgrade needs it.
fn hash(uid: &str, salt: u32) -> u64 {
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in uid.bytes().chain(salt.to_le_bytes()) {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    state = (state ^ (state >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    state ^ (state >> 33)
}
