//! What happens where the surroundings stay as they are, and the operator does all that it can.

use std::time::{Duration, Instant};

use scim_bridge_operator::{
    api::vocabulary::{Class, Reason},
    domain::connection::{
        conditions::reason_of,
        schedule::{Due, REFUSED_KEY_INTERVAL},
        target::Target,
    },
};

use crate::{
    bridge::RETRY_AFTER,
    history::is_about,
    law::{Broken, Law},
    world::{Fate, Step, World},
};

/// How long a probe takes.
const PROBE: Duration = Duration::from_secs(1);

/// What goes on being wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weather {
    /// What becomes of each write.
    pub(crate) writes: Fate,
    /// Whether the clock is set an hour forward and back by turns, with each pass.
    pub(crate) clock_jumps: bool,
}

/// What happened meanwhile.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) passes: Vec<Instant>,
    pub(crate) probes: Vec<Instant>,
}

pub(crate) const FINE: Weather = Weather {
    writes: Fate::Answered,
    clock_jumps: false,
};

impl World {
    /// Lets the operator work for a while. After each thing that it does, `each` may look.
    pub(crate) fn work(
        &mut self,
        time: Duration,
        weather: Weather,
        mut each: impl FnMut(&Self) -> Result<(), Broken>,
    ) -> Result<Log, Broken> {
        let end = self.instant + time;
        let mut log = Log::default();
        let mut forward = true;
        loop {
            while self.step(Step::Hear)? || self.step(Step::HearOther)? {}
            if self.step(Step::Answer)? || self.step(Step::Report(weather.writes))? {
                each(self)?;
                continue;
            }
            match self.due() {
                Some(Due::Now(_)) => {
                    let before = self.history.quiet.probes;
                    self.step(Step::Begin(Fate::Answered))?;
                    log.passes.push(self.instant);
                    if self.history.quiet.probes > before {
                        log.probes.push(self.instant);
                    }
                    self.step(Step::Wait(PROBE))?;
                    if weather.clock_jumps {
                        self.step(Step::SetClock(if forward { 3600 } else { -3600 }))?;
                        forward = !forward;
                    }
                }
                Some(Due::At(time)) => {
                    let wait = Duration::try_from(time.duration_since(self.now)).unwrap_or_default();
                    let rest = end.saturating_duration_since(self.instant);
                    self.step(Step::Wait(wait.min(rest)))?;
                }
                Some(Due::Never) | None => {
                    self.step(Step::Wait(end.saturating_duration_since(self.instant)))?;
                }
            }
            if self.instant >= end {
                return Ok(log);
            }
        }
    }

    /// The interval that the specification asks for now; five minutes where it cannot be used.
    fn interval(&self) -> Duration {
        let object = self.cluster.object.as_ref().filter(|object| object.readable);
        object
            .and_then(|object| Target::parse(&object.spec).ok())
            .map_or(Duration::from_mins(5), |target| target.interval)
    }

    fn remembers_a_refusal(&self) -> bool {
        let object = self.cluster.object.as_ref();
        object.is_some_and(|object| object.status.refused_key_retry_time.is_some())
    }

    fn standing(&self) -> Option<Reason> {
        let object = self.cluster.object.as_ref()?;
        reason_of(&object.status.conditions)
    }

    /// The class of this truth: a front in place of a bridge that has answered before is transient.
    fn class_of(&self, truth: Reason) -> Class {
        let object = self.cluster.object.as_ref();
        // The operator may know of an answer that could not be written yet.
        let has_answered = object.is_some_and(|object| object.status.last_answer_time.is_some())
            || self.history.refusal.is_some()
            || !self.history.proofs.is_empty();
        let is_of_a_front = matches!(
            truth,
            Reason::NotABridge
                | Reason::PathNotFound
                | Reason::BlockedByProxy
                | Reason::RedirectRefused
                | Reason::CertificateNameMismatch
        );
        if is_of_a_front && has_answered {
            Class::Transient
        } else {
            truth.class()
        }
    }

    /// Whether the status says what is true, of what is there.
    fn tells_the_truth(&self) -> Result<(), String> {
        let Some(truth) = self.truth() else {
            return Ok(());
        };
        let object = self.cluster.object.as_ref().ok_or("no object")?;
        let status = &object.status;
        let standing = self.standing();
        if standing != Some(truth) {
            return Err(format!(
                "the status says {standing:?}, and the truth is {truth:?}"
            ));
        }
        let parsed = truth != Reason::InvalidSpec;
        let credential = self.cluster.key.as_ref().filter(|_| parsed);
        let wants_ca = object.spec.tls.is_some() && parsed;
        let ca = self.cluster.ca.as_ref().filter(|_| wants_ca);
        if !is_about(
            status,
            object.generation,
            credential.map(|stored| &stored.version),
            ca.map(|stored| &stored.version),
        ) {
            return Err(format!(
                "generation {} and {:?}: not what the status is about",
                status.observed_generation, status.credential
            ));
        }
        let requested = object.requested.map(|number| number.to_string());
        if requested.is_some() && status.last_handled_reconcile_at != requested {
            return Err(format!("{requested:?} was not handled"));
        }
        let valid = status
            .valid_until
            .as_ref()
            .is_some_and(|until| until.0 > self.now);
        if !valid {
            return Err(format!("{:?} is past: {}", status.valid_until, self.now));
        }
        Ok(())
    }

    /// From here on nothing changes: the truth arrives and stays, and no law is broken on the way.
    pub(crate) fn check_truth_arrives(mut self) -> Result<(), Broken> {
        let law = Law::TruthArrives;
        self.history.disturb(self.instant);
        let refused = self.history.refusal.is_some() || self.remembers_a_refusal();
        let interval = self.interval();
        let minute = Duration::from_mins(1);
        let regular = if refused {
            interval.max(REFUSED_KEY_INTERVAL)
        } else {
            interval.max(RETRY_AFTER)
        };
        let threshold = self
            .cluster
            .object
            .as_ref()
            .map_or(1, |object| u32::from(object.spec.failure_threshold));
        let retries = match self.truth().map(|truth| self.class_of(truth)) {
            // A refusal is held until its end, two hours after it, and withdrawn by the next probe.
            Some(Class::Transient) if refused => regular * 33 / 10,
            Some(Class::Transient) => (interval.max(RETRY_AFTER) + minute) * (threshold + 1),
            _ => Duration::ZERO,
        };
        // A failure of our own is retried after two minutes at the latest; a missing Secret has half a minute.
        let bound = regular * 11 / 10 + retries + minute * 4;
        self.work(bound, FINE, |_| Ok(()))?;
        self.tells_the_truth()
            .or_else(|how| law.unless(false, || format!("after {bound:?}: {how}")))?;
        if self.truth().is_none() {
            return Ok(());
        }
        let period = match self.standing() {
            _ if self.remembers_a_refusal() => interval.max(REFUSED_KEY_INTERVAL) * 11 / 10,
            Some(Reason::RateLimited) => (interval * 11 / 10).max(RETRY_AFTER),
            _ => interval * 11 / 10,
        } + PROBE;
        let begin = self.instant;
        let log = self.work(period * 3, FINE, |world| {
            world
                .tells_the_truth()
                .or_else(|how| law.unless(false, || format!("it did not last: {how}")))
        })?;
        let mut last = begin;
        for probe in log.probes.iter().copied().chain([self.instant]) {
            let gap = probe.duration_since(last);
            law.unless(gap <= period, || {
                format!("no probe for {gap:?}; {period:?} is the most")
            })?;
            last = probe;
        }
        Ok(())
    }

    /// From here on everything the operator writes is lost, or the clock jumps with every pass: it neither gives up nor
    /// runs hot.
    pub(crate) fn check_storm(mut self, weather: Weather) -> Result<(), Broken> {
        let law = Law::NoHotLoop;
        self.history.disturb(self.instant);
        if self.truth().is_none() {
            return Ok(());
        }
        let hour = Duration::from_hours(1);
        self.work(hour, weather, |_| Ok(()))?;
        self.history.disturb(self.instant);
        let log = self.work(hour, weather, |_| Ok(()))?;
        let interval = self.interval();
        let settled = self
            .truth()
            .is_some_and(|truth| self.class_of(truth) != Class::Transient);
        let gap = if settled {
            interval * 9 / 10
        } else {
            Duration::from_secs(5)
        };
        let most = |gap: Duration| 4 + hour.as_secs() / gap.as_secs().max(1);
        law.unless(log.probes.len() as u64 <= most(gap), || {
            format!("{} probes within an hour of {weather:?}", log.probes.len())
        })?;
        // Where each write fails there is one try every two minutes, after the first few that come faster.
        let passes = 8 + most(gap.min(Duration::from_mins(2)));
        law.unless(log.passes.len() as u64 <= passes, || {
            format!("{} passes within an hour of {weather:?}", log.passes.len())
        })
    }
}
