//! How late probes are, and how evenly they are spread.
//!
//! The lateness of a probe is the time since the one before it, less what was planned: the object's own delay, which is
//! its interval ±10 % by its UID, always the same. Both probes are taken where they reach the bridge, at `/health`. So
//! lateness holds everything between: the wait for a turn, the probe itself, and the operator's own work.

use std::{collections::HashMap, time::Duration};

use scim_bridge_operator::domain::connection::schedule::Pace;
use serde::Serialize;

use crate::numbers::{Distribution, float, ratio, size};

/// A probe that comes so much before its plan was asked for by something else.
const EARLY: f64 = -1.0;

/// When each object is planned to ask, and when it asked last.
#[derive(Debug, Default)]
pub(crate) struct Punctuality {
    planned: HashMap<u32, Duration>,
    last: HashMap<u32, u64>,
}

/// How evenly probes were spread over some seconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Evenness {
    /// Probes in each second.
    seconds: Vec<u64>,
    /// Probes a second, on average.
    pub(crate) mean: f64,
    /// In the busiest second.
    pub(crate) peak: f64,
    /// One by the other.
    pub(crate) ratio: f64,
    /// What that ratio would be about, were each probe's time drawn at random: no schedule without a plan for all
    /// objects together is more even.
    pub(crate) random: f64,
}

impl Punctuality {
    /// Of these objects, which all have this interval and a connection that works.
    pub(crate) fn of(uids: &HashMap<u32, String>, interval: Duration) -> Self {
        let planned = uids.iter().map(|(number, uid)| {
            let pace = Pace {
                uid,
                interval,
                failures: 0,
                rest: Duration::ZERO,
                retry_after: None,
            };
            (*number, pace.delay())
        });
        Self {
            planned: planned.collect(),
            last: HashMap::new(),
        }
    }

    /// Takes in who asked when, and returns how late each was, in seconds.
    pub(crate) fn take(&mut self, asked: &[(u32, u64)]) -> Vec<f64> {
        let mut late = Vec::new();
        for (number, when) in asked {
            let Some(planned) = self.planned.get(number) else {
                continue;
            };
            if let Some(before) = self.last.insert(*number, *when) {
                let gap = Duration::from_micros(when.saturating_sub(before));
                late.push(gap.as_secs_f64() - planned.as_secs_f64());
            }
        }
        late.retain(|late| *late > EARLY);
        late
    }

    /// How late those are that have not asked at all, as of now: who never comes is in no gap.
    pub(crate) fn missing(&self, now: u64) -> Distribution {
        let overdue = self.last.iter().filter_map(|(number, last)| {
            let planned = self.planned.get(number)?;
            let waited = Duration::from_micros(now.saturating_sub(*last));
            let late = waited.as_secs_f64() - planned.as_secs_f64();
            (late > 0.0).then_some(late)
        });
        Distribution::of(overdue)
    }

    /// After a restart nothing is known of the one before.
    pub(crate) fn begin_anew(&mut self) {
        self.last.clear();
    }
}

impl Evenness {
    /// Of the probes from one time to another (microseconds since 1970).
    pub(crate) fn of(asked: &[(u32, u64)], from: u64, to: u64) -> Self {
        let whole = to.saturating_sub(from) / 1_000_000;
        let mut seconds = vec![0; usize::try_from(whole).unwrap_or_default()];
        for (_, when) in asked {
            let second = when.checked_sub(from).map(|since| since / 1_000_000);
            let second = second.and_then(|second| seconds.get_mut(usize::try_from(second).ok()?));
            if let Some(second) = second {
                *second += 1;
            }
        }
        let count: u64 = seconds.iter().sum();
        let peak = float(seconds.iter().copied().max().unwrap_or_default());
        let mean = ratio(float(count), float(whole));
        let windows = size(seconds.len()).max(2.0);
        Self {
            seconds,
            mean,
            peak,
            ratio: ratio(peak, mean),
            // The greatest of so many normal deviations, each of which is the root of the mean.
            random: 1.0 + ratio((2.0 * windows.ln()).sqrt(), mean.sqrt()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_measured_against_the_objects_own_plan() {
        let uids = HashMap::from([(1, "uid-1".to_owned())]);
        let mut punctuality = Punctuality::of(&uids, Duration::from_secs(30));
        let planned = u64::try_from(punctuality.planned[&1].as_micros()).unwrap();
        assert!((27_000_000..=33_000_000).contains(&planned));
        assert!(punctuality.take(&[(1, 5)]).is_empty());
        let late = punctuality.take(&[(1, 5 + planned + 250_000), (2, 7)]);
        assert!((late[0] - 0.25).abs() < 1e-6, "{late:?}");
        let unplanned = punctuality.take(&[(1, 5 + planned + 300_000)]);
        assert!(unplanned.is_empty(), "somebody asked for it");
    }

    #[test]
    fn evenness_is_the_busiest_second_by_the_average_one() {
        let asked: Vec<(u32, u64)> = (0..40)
            .map(|n| (0, n * 100_000))
            .chain([(0, 1_500_000)])
            .collect();
        let evenness = Evenness::of(&asked, 0, 4_000_000);
        assert!((evenness.mean - 10.25).abs() < 1e-6);
        assert!((evenness.peak - 11.0).abs() < 1e-6);
    }
}
