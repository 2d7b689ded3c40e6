//! Which connections are worth keeping, and what was proven on them.
//!
//! A connection is kept for the next probe of the same bridge if that comes soon, as it does where several connections
//! name one bridge. Otherwise it is closed: idle connections would cost this process and the bridge more memory than the
//! handshake costs time, and a new connection proves the name, the way and the certificate once more.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::trust::Trust;
use crate::domain::target::{Origin, Target};

/// A bridge that was asked within this time will be asked within this time again.
pub(super) const SOON: Duration = Duration::from_secs(10);

/// So long a connection may serve. Then the name, the way and the certificate are proven once more.
pub(super) const LIFE: Duration = Duration::from_mins(1);

/// What is remembered of the bridges that were asked lately.
#[derive(Debug, Default)]
pub(super) struct Keep(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    bridges: HashMap<Place, Bridge>,
    /// After so many the old ones are forgotten.
    limit: usize,
}

/// Where connections go that serve each other's probes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    origin: Origin,
    trust: Trust,
    server_name: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Bridge {
    asked: Instant,
    /// When its connection was new.
    since: Instant,
    is_proven: bool,
}

/// What is known of a bridge when a probe of it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Known {
    /// Its connection will serve the next probe too: that comes soon, as this one has come.
    pub(super) keeps: bool,
    /// It was proven to be a bridge on the connection that was kept, if one was.
    pub(super) is_proven: bool,
}

// === impl Keep ===

impl Keep {
    /// A probe begins.
    pub(super) fn begin(&self, place: &Place, now: Instant) -> Known {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Remembered { bridges, limit } = &mut *remembered;
        if bridges.len() >= (*limit).max(16) {
            bridges.retain(|_, bridge| bridge.is_recent(now));
            bridges.shrink_to(bridges.len() * 2);
            *limit = bridges.len() * 2;
        }
        let Some(bridge) = bridges.get_mut(place) else {
            let new = Bridge {
                asked: now,
                since: now,
                is_proven: false,
            };
            bridges.insert(place.clone(), new);
            return Known::default();
        };
        let is_busy = bridge.is_recent(now);
        let keeps = is_busy && now.saturating_duration_since(bridge.since) < LIFE;
        let is_proven = is_busy && bridge.is_proven;
        bridge.asked = now;
        if !keeps {
            // It is closed after this probe, and the next one's is new.
            (bridge.since, bridge.is_proven) = (now, false);
        }
        Known { keeps, is_proven }
    }

    /// A probe has begun with `/ping`, and so tells of the connection that it leaves behind.
    pub(super) fn learn(&self, place: &Place, is_proven: bool) {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bridge) = remembered.bridges.get_mut(place) {
            bridge.is_proven = is_proven;
        }
    }
}

// === impl Bridge ===

impl Bridge {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.asked) < SOON
    }
}

// === impl Place ===

impl Place {
    pub(super) fn of(target: &Target, trust: &Trust) -> Self {
        Self {
            origin: target.origin.clone(),
            trust: trust.clone(),
            server_name: target.server_name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use url::Host;

    use super::*;
    use crate::domain::target::Scheme;

    fn place(name: &str) -> Place {
        Place {
            origin: Origin {
                scheme: Scheme::Https,
                host: Host::Domain(name.to_owned()),
                is_absolute: false,
                port: 443,
            },
            trust: Trust::System,
            server_name: None,
        }
    }

    const fn known(keeps: bool, is_proven: bool) -> Known {
        Known { keeps, is_proven }
    }

    #[test]
    fn a_connection_is_kept_where_one_probe_follows_the_other() {
        let (keep, start) = (Keep::default(), Instant::now());
        assert_eq!(
            keep.begin(&place("a"), start),
            known(false, false),
            "nobody knows yet"
        );
        assert_eq!(keep.begin(&place("b"), start), known(false, false));
        assert_eq!(keep.begin(&place("a"), start + SOON / 2), known(true, false));
        keep.learn(&place("a"), true);
        assert_eq!(keep.begin(&place("a"), start + SOON), known(true, true));
        keep.learn(&place("a"), false);
        assert_eq!(keep.begin(&place("a"), start + SOON), known(true, false));
        keep.learn(&place("a"), true);
        assert_eq!(
            keep.begin(&place("a"), start + SOON * 2),
            known(false, false),
            "its connection is closed by then"
        );
    }

    #[test]
    fn no_connection_is_kept_for_ever() {
        let (keep, start) = (Keep::default(), Instant::now());
        let a = place("a");
        keep.begin(&a, start);
        let step = SOON / 2;
        let mut now = start + step;
        while now < start + LIFE {
            assert!(keep.begin(&a, now).keeps);
            keep.learn(&a, true);
            now += step;
        }
        assert_eq!(keep.begin(&a, now), known(false, true), "the last probe over it");
        assert_eq!(keep.begin(&a, now + step), known(true, false), "a new one");
    }

    #[test]
    fn bridges_that_are_not_asked_any_more_are_forgotten() {
        let (keep, start) = (Keep::default(), Instant::now());
        for number in 0..1_000_u32 {
            keep.begin(&place(&format!("bridge-{number}")), start + SOON * number);
        }
        assert!(keep.0.lock().unwrap().bridges.len() <= 16);
    }
}
