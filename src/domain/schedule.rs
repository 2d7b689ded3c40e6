//! Whether to probe now, and when next.
//!
//! [`due`] is the only gate to a probe. Everything else that happens around an object (a re-list, an own write, an
//! edit of its labels, a restart) passes through it and comes out as "not yet".
//!
//! There is no randomness: jitter and slots come from the object's UID, so that they differ between objects, stay the
//! same across restarts, and can be tested.

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::conditions::{class_of, grace_end, reason_of};
use crate::api::{
    v1alpha1::{ObjectVersion, ScimBridgeConnectionStatus},
    vocabulary::{Class, Reason},
};

/// Shortest delay after a transient failure.
pub const RETRY_MIN: Duration = Duration::from_secs(5);

/// After a refusal the key is not sent more often than this until something changes.
pub const REFUSED_KEY_INTERVAL: Duration = Duration::from_hours(1);

/// A Retry-After beyond this is not believed.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// How far the regular delay may be off the interval, in percent of it.
const JITTER_PERCENT: u32 = 10;

/// What is known of an object that is watched as metadata only.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Seen {
    /// Nothing (yet): no ground to act.
    #[default]
    Unknown,
    /// It does not exist: it is in no list.
    Absent,
    /// It was deleted, in this resource version.
    Deleted(Box<str>),
    /// It exists in this version.
    Present(Version),
}

/// The version of an object, as it is kept: thousands of them lie in memory, so UID and resource version are one piece
/// of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(Box<str>);

/// One of the objects that a connection refers to.
#[derive(Clone, Copy, Debug)]
pub struct Dependency<'a> {
    /// The version that the status is about; `None` where there was no object.
    pub judged: Option<&'a Version>,
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
    /// Whether a verdict was reached that is still to be written.
    pub unwritten: bool,
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
    /// A verdict could not be written: that alone is done again, and nothing is sent to the bridge.
    Unwritten,
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
        unwritten,
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
    } else if unwritten {
        Due::Now(Cause::Unwritten)
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
    /// Transient failures in a row; 0 unless the last probe ended in one.
    pub failures: u32,
    /// How long a key that was refused rests yet: the next probe is after that.
    pub rest: Duration,
    /// What the bridge asked for.
    pub retry_after: Option<Duration>,
}

impl Pace<'_> {
    /// Time until the next probe.
    ///
    /// - All is well, or somebody has to act: the interval ±10 %.
    /// - A transient failure: from 5 s up to twice that for each failure, at most the interval; Retry-After is honoured up
    ///   to an hour.
    #[must_use]
    pub fn delay(&self) -> Duration {
        if self.failures == 0 {
            return jittered(self.interval, self.uid);
        }
        let backed_off = spread(RETRY_MIN, self.retry_window(), hash(self.uid, self.failures));
        backed_off.max(self.pause())
    }

    /// Time until the next probe after one that began late: so much shorter, but by half at most. What had to wait
    /// together, as after the start of many, would otherwise stay together. Not where the time is a pause.
    #[must_use]
    pub fn delay_after(&self, late: Duration) -> Duration {
        let delay = self.delay();
        if self.failures > 0 {
            return delay;
        }
        delay.saturating_sub(late).max(delay / 2)
    }

    /// When to probe next after the first verdict: in the object's own slot of the interval, as after a restart. Thousands
    /// may have been created at once, and would stay together for long. After a failure as after any other.
    #[must_use]
    pub fn first(&self, now: Timestamp) -> Timestamp {
        if self.failures == 0 {
            slot(self.uid, self.interval, now + RETRY_MIN)
        } else {
            now + self.delay()
        }
    }

    /// The pause that the bridge asked for and gets.
    fn pause(&self) -> Duration {
        let asked = self.retry_after.filter(|_| self.failures > 0);
        asked.unwrap_or_default().min(RETRY_AFTER_MAX)
    }

    /// How long the verdict of this moment may be believed: until the probe after next should have been written, with
    /// the heartbeat by which writing may lag behind. Where the bridge asked for a longer pause, the next probe is
    /// after that.
    #[must_use]
    pub fn validity(&self, timeout: Duration, heartbeat: Duration) -> Duration {
        let regular = if self.rest.is_zero() {
            self.interval
        } else {
            self.interval.max(REFUSED_KEY_INTERVAL)
        };
        regular.max(self.pause()) + regular + timeout + heartbeat
    }

    /// When to go on after a restart.
    ///
    /// - As planned, where the plan lies ahead and can be believed.
    /// - In the object's own slot of the interval where it has passed and the verdict is still valid: every object has
    ///   another slot, so there is no herd.
    /// - At once where the verdict is stale.
    /// - Not before a key that was refused may be sent again: a restart is no reason to send it.
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

    /// When the next probe is due by the plan in a status. A plan longer than any delay is not believed, nor one from a
    /// probe to come: then the clock was set since. So nobody waits for longer than the delay was.
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

/// The pace that a status stands for at this time.
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
        // Where the clock was set back it may lie far ahead: nobody waits for longer than the rest was.
        rest: rest.min(with_jitter(interval.max(REFUSED_KEY_INTERVAL))),
        retry_after: None,
    }
}

/// How long a key rests that is refused now: an hour ±10 %, or the interval ±10 % if that is longer.
#[must_use]
pub fn rest_of_refused_key(uid: &str, interval: Duration) -> Duration {
    jittered(interval.max(REFUSED_KEY_INTERVAL), uid)
}

/// When the key that a status is about may be sent again. `None` where no refusal of it is known.
#[must_use]
pub fn refused_key_retry(status: &ScimBridgeConnectionStatus) -> Option<&Time> {
    status.refused_key_retry_time.as_ref().or_else(|| {
        // As versions without that field wrote it.
        let planned = status.next_probe_time.as_ref();
        planned.filter(|_| reason_of(&status.conditions) == Some(Reason::AuthFailed))
    })
}

// === impl Dependency ===

impl Dependency<'_> {
    fn is_news(&self) -> bool {
        let differs = match self.seen {
            Seen::Unknown => false,
            Seen::Absent => self.judged.is_some(),
            // A watch may lag behind what a pass has read by itself: what was deleted may be there again.
            Seen::Deleted(version) => self
                .judged
                .is_some_and(|judged| !is_older(version, judged.resource_version())),
            Seen::Present(version) => self.judged.is_none_or(|judged| {
                judged != version && !is_older(version.resource_version(), judged.resource_version())
            }),
        };
        differs && self.seen != self.seen_before
    }
}

// === impl Version ===

impl Version {
    /// `metadata.resourceVersion`
    #[must_use]
    pub fn resource_version(&self) -> &str {
        self.parts().0
    }

    /// `metadata.uid`
    #[must_use]
    pub fn uid(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once(Self::BETWEEN).unwrap_or_default()
    }

    /// Neither part has one.
    const BETWEEN: char = ' ';
}

impl From<&ObjectVersion> for Version {
    fn from(version: &ObjectVersion) -> Self {
        let ObjectVersion {
            uid,
            resource_version,
        } = version;
        Self(format!("{resource_version}{}{uid}", Self::BETWEEN).into())
    }
}

impl From<ObjectVersion> for Version {
    fn from(version: ObjectVersion) -> Self {
        Self::from(&version)
    }
}

impl From<&Version> for ObjectVersion {
    fn from(version: &Version) -> Self {
        Self {
            uid: version.uid().to_owned(),
            resource_version: version.resource_version().to_owned(),
        }
    }
}

/// Whether a resource version is older than another of the same resource: they may be compared as numbers, also of
/// different objects. False where they are none.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
#[must_use]
pub fn is_older(version: &str, than: &str) -> bool {
    matches!((version.parse::<u128>(), than.parse::<u128>()), (Ok(a), Ok(b)) if a < b)
}

/// Time until the next try where probes of other connections took a bridge's time: from 5 to 10 s, by the UID, so that
/// those who were postponed together come back one after another.
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
