//! The whole system: the operator's own decisions in a modelled world.
//!
//! What the operator decides, it decides here by its own code: whether a pass is due and what becomes of one
//! ([`Registry`]), what evidence means and what the status says of it ([`next_status`], [`progressing`]). What is around
//! that code is modelled: the API server, the watches, the bridge, time, and the way of a pass from one to the other.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;
use scim_bridge_operator::{
    api::{
        connection::ScimBridgeConnectionStatus,
        vocabulary::{Class, ConditionType, Reason},
    },
    controller::{
        connection::Connection,
        job::{Job, Outcome},
        registry::Registry,
    },
    domain::{
        connection::{
            evidence::{Blocker, CaFault, ConsentFault, Evidence, KeyFault},
            schedule::{Cause, Due},
            status::{Change, NextStatus, Observation, Versions, next_status, progressing, versions},
            target::{InvalidSpec, Target},
            verdict::PendingCause,
        },
        watched::Seen,
    },
    resolve::reference::ReferenceKind,
};

use crate::{
    bridge::{Bridge, Mode, Reception},
    cluster::{BRIDGE, Cluster, Edit, Event, Named, Object, Refused, name},
    history::{HEARTBEAT, History, Proof, Refusal, Subject, Unheard, check_status, is_about, is_true},
    law::{Broken, Law},
};

/// Numbers of probes can be told from other numbers in a text.
const FIRST_PROBE: u64 = 6_000_000_000;
const START: i64 = 1_772_546_816;

/// What becomes of a call to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    /// It is answered.
    Answered,
    /// It does not arrive.
    Lost,
    /// It arrives, and its answer does not.
    AnswerLost,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The specification is edited.
    Edit(Edit),
    /// A label is edited.
    Label,
    /// Somebody asks for a probe by annotation.
    Request,
    /// The object is deleted; a finalizer of somebody else's may keep it for a while.
    Delete { kept: bool },
    /// The object is created, anew where there is one.
    Create,
    /// The object loses the form of the resource, or gets it back.
    Deform,
    /// What the connection names is created, or its value changed.
    Store(Named, u8),
    /// It is deleted.
    Remove(Named),
    /// The Secret lets its key go to the bridge, or no longer.
    Consent(bool),
    /// The bridge's key is changed.
    Accept(u8),
    /// The bridge is another way.
    Turn(Mode),
    /// Time goes by.
    Wait(Duration),
    /// Time goes by until the operator has something to do.
    UntilDue,
    /// Time goes by until the very moment at which the status becomes stale.
    UntilStale,
    /// The clock is set, forward or back; time itself goes on as before.
    SetClock(i64),
    /// The operator hears of one change of the connection.
    Hear,
    /// The operator hears of one change of what the connection names.
    HearOther,
    /// A watch ends and its list is read anew.
    Relist,
    /// A pass begins, if one is due; it reads what the connection names, or cannot.
    Begin(Fate),
    /// A slow probe of a new specification is announced.
    Announce(Fate),
    /// The bridge answers a probe.
    Answer,
    /// The verdict is written, if it is worth it.
    Report(Fate),
    /// The operator dies, or loses the Lease, and another goes on. What was on its way to the API server may arrive yet.
    Restart,
    /// What a former process had on its way arrives; it does not know yet that another goes on, and tries again where
    /// the version has passed.
    ArriveLate,
    /// The operator hears of all that has changed.
    HearAll,
    /// A whole pass, if one is due; the fate is that of its write.
    Reconcile(Fate),
}

/// A pass on its way.
#[derive(Clone, Debug)]
struct Running {
    number: u64,
    job: Job,
    /// The connection as the pass knows it.
    connection: Arc<Connection>,
    target: Option<Target>,
    versions: Versions,
    order: Result<Order, Blocker>,
    judged: Option<Judged>,
    /// Whether the process had heard, when the pass began, of a status that tells when a refused key was sent last.
    was_told: bool,
    /// What the process had heard of the next key's Secret when the pass began.
    heard: Seen,
}

#[derive(Clone, Debug)]
struct Order {
    host: String,
    key: u8,
    next_key: Option<Result<u8, Blocker>>,
}

#[derive(Clone, Debug)]
struct Judged {
    outcome: NextStatus,
    /// Whether the key was sent.
    sent: bool,
    /// Whether no bridge was heard.
    unheard: bool,
}

/// A process of the operator.
#[derive(Clone, Debug)]
struct Process {
    registry: Registry,
    /// Whether its list of connections was read; only then it watches other objects.
    listed: bool,
    connections: VecDeque<Event>,
    others: VecDeque<(Named, Seen)>,
    /// What was heard last of the next key's Secret.
    next_key: Seen,
    passes: Vec<Running>,
    /// The pass whose verdict could not be written.
    kept: Option<Running>,
}

/// What became of a write.
enum Reported {
    Written(Arc<Connection>),
    Superseded,
}

/// A call to the API server failed.
struct Failed;

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) instant: Instant,
    pub(crate) cluster: Cluster,
    pub(crate) bridge: Bridge,
    process: Process,
    /// Passes of former processes with a write on its way.
    late: Vec<Running>,
    probes: u64,
    pub(crate) history: History,
}

impl World {
    /// A connection that was just applied, its Secret, a bridge that accepts the key, and an operator that starts.
    pub(crate) fn new(instant: Instant, interval: u64, threshold: u8) -> Self {
        let cluster = Cluster::new(interval, threshold);
        Self {
            now: Timestamp::from_second(START).unwrap(),
            instant,
            process: Process::start(&cluster),
            cluster,
            bridge: Bridge {
                accepts: 1,
                mode: Mode::Up,
            },
            late: Vec::new(),
            probes: FIRST_PROBE,
            history: History::new(instant),
        }
    }

    /// Does a step. False where it has no meaning now.
    pub(crate) fn step(&mut self, step: Step) -> Result<bool, Broken> {
        let happened = match step {
            Step::Begin(fate) => self.begin(fate)?,
            Step::Announce(fate) => self.announce(fate)?,
            Step::Answer => self.answer()?,
            Step::Report(fate) => self.report(fate)?,
            Step::ArriveLate => self.arrive_late()?,
            Step::Hear => self.hear()?,
            Step::HearOther => self.hear_other(),
            Step::HearAll => {
                let mut heard = false;
                while self.hear()? || self.hear_other() {
                    heard = true;
                }
                heard
            }
            Step::Reconcile(fate) => {
                self.begin(Fate::Answered)? && {
                    self.answer()?;
                    self.report(fate)?
                }
            }
            Step::Relist => self.relist(),
            Step::Restart => {
                self.restart();
                true
            }
            Step::Wait(time) => {
                self.wait(time);
                true
            }
            Step::UntilDue => match self.due() {
                Some(Due::At(time)) => {
                    self.wait(Duration::try_from(time.duration_since(self.now)).unwrap_or_default());
                    true
                }
                Some(Due::Now(_) | Due::Never) | None => false,
            },
            Step::UntilStale => {
                let object = self.cluster.object.as_ref();
                let until = object.and_then(|object| object.status.valid_until.as_ref());
                let time = until.and_then(|until| Duration::try_from(until.0.duration_since(self.now)).ok());
                time.is_some_and(|time| {
                    self.wait(time);
                    !time.is_zero()
                })
            }
            Step::SetClock(seconds) => {
                self.set_clock(seconds);
                true
            }
            Step::Edit(_)
            | Step::Label
            | Step::Request
            | Step::Delete { .. }
            | Step::Create
            | Step::Deform
            | Step::Store(..)
            | Step::Remove(_)
            | Step::Consent(_)
            | Step::Accept(_)
            | Step::Turn(_) => self.change(step),
        };
        self.history.check_quiet(self.instant)?;
        Ok(happened)
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.instant += time;
    }

    fn set_clock(&mut self, seconds: i64) {
        let before = self.now;
        self.now = Timestamp::from_second(before.as_second() + seconds).unwrap();
        if self.now < before && self.history.set_back.last() != Some(&self.probes) {
            self.history.set_back.push(self.probes);
        }
        if let Some(refusal) = &mut self.history.refusal {
            refusal.clock_was_set = true;
        }
    }

    /// What is due, by the operator's own word.
    pub(crate) fn due(&self) -> Option<Due> {
        self.process.registry.due(&name(), self.now, self.instant)
    }

    // --- the surroundings ---

    /// Something changes in the cluster, or at the bridge.
    fn change(&mut self, step: Step) -> bool {
        let cluster = &mut self.cluster;
        let named = match step {
            Step::Store(named, _) | Step::Remove(named) => Some(named),
            Step::Consent(_) => Some(Named::Key),
            _ => None,
        };
        let happened = match step {
            Step::Edit(edit) => cluster.edit(edit),
            Step::Label => cluster.change(|_| ()),
            Step::Request => cluster.change(|object| {
                object.requested = Some(object.requested.map_or(1, |number| 3 - number));
            }),
            Step::Deform => cluster.change(|object| {
                object.readable = !object.readable;
                object.generation += 1;
            }),
            Step::Delete { kept: true } => {
                cluster.object.as_ref().is_some_and(|object| !object.deleting)
                    && cluster.change(|object| object.deleting = true)
            }
            Step::Delete { kept: false } => cluster.object.take().is_some(),
            Step::Create => {
                if cluster.object.take().is_some() {
                    self.process.tell(Event::Deleted);
                }
                cluster.create(300, 2);
                true
            }
            Step::Store(named, value) => {
                cluster.store(named, value);
                true
            }
            Step::Remove(named) => cluster.remove(named),
            Step::Consent(consents) => cluster.consent(consents),
            Step::Accept(key) => {
                let before = self.bridge;
                self.bridge.accepts = key;
                before != self.bridge
            }
            Step::Turn(mode) => {
                let before = self.bridge;
                self.bridge.mode = mode;
                before != self.bridge
            }
            _ => false,
        };
        if happened {
            match named {
                Some(named) => {
                    let seen = match step {
                        Step::Remove(_) => self.cluster.deleted(),
                        _ => self.cluster.seen(named),
                    };
                    self.process.tell_other(named, seen);
                }
                None if matches!(step, Step::Accept(_) | Step::Turn(_)) => {}
                None => self.process.tell(Event::of(self.cluster.object.as_ref())),
            }
            self.history.disturb(self.instant);
        }
        happened
    }

    fn restart(&mut self) {
        let former = std::mem::replace(&mut self.process, Process::start(&self.cluster));
        let on_their_way = former.passes.into_iter().filter(|pass| {
            pass.judged
                .as_ref()
                .is_some_and(|judged| judged.outcome.change != Change::Unchanged)
        });
        self.late.extend(on_their_way);
        self.history.process += 1;
        self.history.unheard.by_process = 0;
        self.history.own.clear();
        self.history.disturb(self.instant);
    }

    // --- watches ---

    fn hear(&mut self) -> Result<bool, Broken> {
        let Some(event) = self.process.connections.pop_front() else {
            return Ok(false);
        };
        match event {
            Event::Deleted => {
                self.process.registry.delete(&name());
                self.history.disturb(self.instant);
            }
            Event::Applied(connection) => {
                let version = connection.metadata.resource_version.clone().unwrap_or_default();
                let is_own = self.history.own.iter().any(|own| own.to_string() == version);
                let before = self.due();
                self.process
                    .registry
                    .apply(&name(), &connection, self.now, self.instant);
                if is_own {
                    let after = self.due();
                    let caused = matches!(after, Some(Due::Now(_))) && !matches!(before, Some(Due::Now(_)));
                    Law::OwnWritesAreNoCause.unless(!caused || self.has_changed(), || {
                        format!("before the watch told of the own write: {before:?}; then: {after:?}")
                    })?;
                } else {
                    self.history.disturb(self.instant);
                }
            }
        }
        self.process.list_others(&self.cluster);
        Ok(true)
    }

    fn hear_other(&mut self) -> bool {
        let Some((named, seen)) = self.process.others.pop_front() else {
            return false;
        };
        self.process.observe(named, seen);
        self.history.disturb(self.instant);
        true
    }

    fn relist(&mut self) -> bool {
        let process = &mut self.process;
        if !process.listed {
            return false;
        }
        process.connections.clear();
        process.others.clear();
        let mut keys = HashSet::new();
        if let Some(object) = &self.cluster.object {
            process
                .registry
                .apply(&name(), &object.read(), self.now, self.instant);
            keys.insert(name());
        }
        process.registry.retain(None, &keys);
        let mut references = HashSet::new();
        for named in Named::ALL {
            if let seen @ Seen::Present(_) = self.cluster.seen(named) {
                process.observe(named, seen);
                references.insert(named.reference());
            }
        }
        for kind in [ReferenceKind::Secret, ReferenceKind::ConfigMap] {
            process.registry.mark_unlisted_absent(kind, None, &references);
        }
        self.history.disturb(self.instant);
        true
    }

    // --- passes, as `controller::reconcile` runs them ---

    /// Begins a pass and reads what the connection names.
    fn begin(&mut self, reads: Fate) -> Result<bool, Broken> {
        let Some(Due::Now(cause)) = self.due() else {
            return Ok(false);
        };
        let Some(job) = self.process.registry.begin(&name(), cause, self.instant) else {
            return Ok(false);
        };
        self.history.quiet.passes += 1;
        let known = &job.connection;
        let dormant = known.metadata.deletion_timestamp.is_some()
            || known.spec.as_ref().is_some_and(|spec| spec.suspend);
        Law::DormantRests.unless(!dormant, || format!("a pass for {cause:?}"))?;
        Law::OneProbeAtATime.unless(self.process.passes.is_empty(), || {
            format!("a pass for {cause:?} beside another")
        })?;
        if cause == Cause::Unwritten {
            let kept = self.process.kept.clone().unwrap();
            self.process.passes.push(Running {
                connection: Arc::clone(&job.connection),
                job,
                ..kept
            });
            return Ok(true);
        }
        self.probes += 1;
        let mut pass = Running {
            number: self.probes,
            connection: Arc::clone(&job.connection),
            target: None,
            versions: Versions::default(),
            order: Err(Blocker::InvalidSpec(InvalidSpec::Form)),
            judged: None,
            was_told: self.history.is_told() && self.process.connections.is_empty(),
            heard: self.process.next_key.clone(),
            job,
        };
        let current = self.cluster.object.as_ref().map(Object::read);
        if pass.job.must_reread {
            let is_still = current.is_some_and(|current| pass.connection.is_current(&current));
            if reads == Fate::Answered && !is_still {
                self.finish(Outcome::Superseded(pass.connection));
                return Ok(true);
            }
            if reads != Fate::Answered {
                self.finish(Outcome::Failed);
                return Ok(true);
            }
        }
        let names_nothing = known_target(&pass.connection).is_err();
        if reads == Fate::Answered || names_nothing {
            pass.resolve(&self.cluster);
            self.history.quiet.probes += 1;
            self.process.passes.push(pass);
        } else {
            // The API server does not give what the connection names.
            let _ = self.announce_progress(&pass, Some(PendingCause::ApiServer), Fate::Answered)?;
            self.finish(Outcome::Failed);
        }
        Ok(true)
    }

    /// Writes that nothing is proven yet, as after two seconds.
    fn announce(&mut self, fate: Fate) -> Result<bool, Broken> {
        let unjudged = |pass: &Running| {
            pass.judged.is_none()
                && Arc::ptr_eq(&pass.connection, &pass.job.connection)
                // Where nothing is read and nobody asked, nothing takes long.
                && !matches!(pass.order, Err(Blocker::InvalidSpec(_)))
        };
        let Some(at) = self.process.passes.iter().position(unjudged) else {
            return Ok(false);
        };
        let mut pass = self.process.passes.remove(at);
        match self.announce_progress(&pass, None, fate)? {
            None => {
                self.process.passes.push(pass);
                return Ok(false);
            }
            Some(Ok(Reported::Written(current))) => {
                pass.connection = current;
                self.process.passes.push(pass);
            }
            Some(Ok(Reported::Superseded)) => self.finish(Outcome::Superseded(pass.job.connection)),
            Some(Err(Failed)) => self.finish(Outcome::Failed),
        }
        Ok(true)
    }

    fn announce_progress(
        &mut self,
        pass: &Running,
        pending_cause: Option<PendingCause>,
        fate: Fate,
    ) -> Result<Option<Result<Reported, Failed>>, Broken> {
        if pass.job.cause != Cause::NewGeneration {
            return Ok(None);
        }
        let connection = &pass.job.connection;
        let generation = connection.metadata.generation.unwrap_or_default();
        let status = progressing(&connection.status, pending_cause, generation, self.now);
        if status.conditions == connection.status.conditions {
            return Ok(None);
        }
        let declared = connection.declared();
        check_status(&connection.status, &status, declared, generation, self.now)?;
        self.write(pass, &status, fate).map(Some)
    }

    /// The bridge answers, and the answer is judged.
    fn answer(&mut self) -> Result<bool, Broken> {
        let Some(at) = self.process.passes.iter().position(|pass| pass.judged.is_none()) else {
            return Ok(false);
        };
        let mut pass = self.process.passes.remove(at);
        let subject = pass.subject();
        let (evidence, reception) = match &pass.order {
            Err(blocker) => (Evidence::Blocked(*blocker), Reception::NotAsked),
            Ok(order) => {
                let bridge = self.bridge_at(&order.host);
                let (exchange, reception) = bridge.answer(order.key, order.next_key);
                (Evidence::Probed(exchange), reception)
            }
        };
        if reception != Reception::NotAsked {
            self.history
                .sends(pass.number, &subject, self.instant, pass.was_told)?;
        }
        let previous = pass.job.unwritten.as_deref().unwrap_or(&pass.connection.status);
        let outcome = next_status(
            previous,
            &Observation {
                uid: &subject.uid,
                generation: subject.generation,
                declared: pass.connection.declared(),
                target: pass.target.as_ref(),
                versions: pass.versions.clone(),
                requested: subject.requested.clone(),
                failures_before: pass.job.failures,
                evidence: &evidence,
                now: self.now,
                late: pass.job.late,
                early: pass.job.early,
                heartbeat: HEARTBEAT,
            },
        );
        let declared = pass.connection.declared();
        check_status(previous, &outcome.status, declared, subject.generation, self.now)?;
        self.check_holding(&pass, &outcome)?;
        let unheard = pass.order.is_ok() && !self.bridge.mode.is_heard();
        if unheard {
            // More than any threshold makes no difference.
            let by_all = &mut self.history.unheard.by_all;
            *by_all = (*by_all + 1).min(4);
            self.check_proof_is_held(&pass, &outcome)?;
        }
        self.remember(&pass, subject, reception);
        pass.judged = Some(Judged {
            sent: reception != Reception::NotAsked,
            unheard,
            outcome,
        });
        self.process.passes.push(pass);
        Ok(true)
    }

    /// Notes what the bridge knows of a probe.
    fn remember(&mut self, pass: &Running, subject: Subject, reception: Reception) {
        let target = pass.target.as_ref();
        if matches!(reception, Reception::Accepted | Reception::AcceptedWithoutScim) {
            let interval = target.map_or(Duration::ZERO, |target| target.interval);
            let timeout = target.map_or(Duration::ZERO, |target| target.timeout);
            self.history.proven(Proof {
                subject: subject.clone(),
                has_scim: reception == Reception::Accepted,
                at: self.now,
                good_for: interval * 2 + timeout + HEARTBEAT,
            });
        }
        match reception {
            Reception::Refused => {
                self.history.refusal = Some(Refusal {
                    subject,
                    seen: pass.number,
                    seen_by: self.history.process,
                    stands: false,
                    sent: self.instant,
                    sent_with: pass.number,
                    sent_by: self.history.process,
                    told: false,
                    clock_was_set: false,
                });
            }
            Reception::Accepted | Reception::AcceptedWithoutScim => self.history.refusal = None,
            Reception::NotAsked | Reception::Unclear => {}
        }
    }

    fn check_holding(&self, pass: &Running, outcome: &NextStatus) -> Result<(), Broken> {
        let status = &outcome.status;
        let failing = outcome.verdict.class == Class::Transient;
        if !failing || !is_true(status, ConditionType::Connected) {
            return Ok(());
        }
        let law = Law::HoldingHasBounds;
        let (credential, ca) = (pass.versions.credential.as_ref(), pass.versions.ca.as_ref());
        let generation = pass.connection.metadata.generation.unwrap_or_default();
        law.unless(is_about(status, generation, credential, ca), || {
            "held for what it is not about".to_owned()
        })?;
        let threshold = pass.target.as_ref().map_or(1, |target| target.failure_threshold);
        law.unless(status.consecutive_failures < threshold, || {
            format!("held after {} failures", status.consecutive_failures)
        })?;
        let until = status.valid_until.as_ref().map(|until| until.0);
        law.unless(until.is_some_and(|until| self.now < until), || {
            format!("held at {}, and valid until {until:?}", self.now)
        })
    }

    /// A pass at which no bridge was heard, before what it does to the count of its process.
    fn check_proof_is_held(&self, pass: &Running, outcome: &NextStatus) -> Result<(), Broken> {
        let is_good = |status: &ScimBridgeConnectionStatus| {
            is_true(status, ConditionType::Ready) || is_true(status, ConditionType::Connected)
        };
        let previous = pass.job.unwritten.as_deref().unwrap_or(&pass.connection.status);
        let (credential, ca) = (pass.versions.credential.as_ref(), pass.versions.ca.as_ref());
        let generation = pass.connection.metadata.generation.unwrap_or_default();
        let until = previous.valid_until.as_ref().map(|until| until.0);
        let must_be_held = is_good(previous)
            && is_about(previous, generation, credential, ca)
            && until.is_some_and(|until| self.now < until);
        let is_held = is_good(&outcome.status);
        let threshold = pass.target.as_ref().map_or(1, |target| target.failure_threshold);
        let Unheard { by_all, by_process } = self.history.unheard;
        Law::ProofIsHeld.unless(is_held || !must_be_held || by_all >= threshold, || {
            format!(
                "{:?} has withdrawn it at probe {by_all} of {threshold}",
                outcome.verdict
            )
        })?;
        Law::ProofIsHeld.unless(!is_held || by_process + 1 < threshold, || {
            format!(
                "it stands after {} probes, and {threshold} are the threshold",
                by_process + 1
            )
        })
    }

    /// Writes the verdict, if it is worth it, and ends the pass.
    fn report(&mut self, fate: Fate) -> Result<bool, Broken> {
        let Some(at) = self.process.passes.iter().position(|pass| pass.judged.is_some()) else {
            return Ok(false);
        };
        let pass = self.process.passes.remove(at);
        let Some(Judged {
            outcome,
            sent,
            unheard,
        }) = pass.judged.clone()
        else {
            return Ok(false);
        };
        let (delay, failures) = (outcome.delay, outcome.status.consecutive_failures);
        if outcome.change == Change::Unchanged && pass.job.unwritten.is_none() {
            self.history.tells(pass.number, &pass.subject(), sent);
            self.history.counts(unheard, true);
            self.finish(Outcome::Judged {
                connection: pass.connection,
                failures,
                delay,
            });
            return Ok(true);
        }
        let kept = pass.job.cause == Cause::Unwritten;
        let finished = match self.write(&pass, &outcome.status, fate)? {
            Ok(Reported::Written(written)) if kept => Outcome::Written(written),
            Ok(Reported::Written(connection)) => {
                self.history.counts(unheard, true);
                Outcome::Judged {
                    connection,
                    failures,
                    delay,
                }
            }
            Ok(Reported::Superseded) => {
                self.history.forgets(pass.number);
                Outcome::Superseded(pass.connection)
            }
            Err(Failed) if kept => Outcome::Failed,
            Err(Failed) => {
                self.process.kept = Some(pass.clone());
                self.history.counts(unheard, false);
                Outcome::Unwritten {
                    connection: pass.connection,
                    status: Box::new(outcome.status),
                    delay,
                }
            }
        };
        self.finish(finished);
        Ok(true)
    }

    fn arrive_late(&mut self) -> Result<bool, Broken> {
        let Some(pass) = self.late.pop() else {
            return Ok(false);
        };
        let Some(judged) = pass.judged.clone() else {
            return Ok(false);
        };
        // The status of an object that does not decode cannot be read: there the Lease alone keeps a former leader from
        // going on, and what it sent before does not fit the version any more.
        let known = pass.connection.metadata.resource_version.as_deref();
        let object = self.cluster.object.as_ref();
        let fits = object.is_some_and(|object| known == Some(object.version.to_string().as_str()));
        if !fits && object.is_none_or(|object| !object.readable) {
            return Ok(true);
        }
        // What it says may be less than this process has counted.
        self.history.unheard.by_process = 0;
        let own = std::mem::take(&mut self.history.own);
        let _ = self.write(&pass, &judged.outcome.status, Fate::Answered)?;
        self.history.own = own;
        self.history.disturb(self.instant);
        Ok(true)
    }

    fn finish(&mut self, finished: Outcome) {
        self.process.registry.finish(&name(), finished, self.instant);
    }

    /// A write, as `controller::report` does it: bound to a version; where that has passed, again if the object and its
    /// specification are still the same.
    fn write(
        &mut self,
        pass: &Running,
        status: &ScimBridgeConnectionStatus,
        fate: Fate,
    ) -> Result<Result<Reported, Failed>, Broken> {
        if fate == Fate::Lost {
            return Ok(Err(Failed));
        }
        let connection = &pass.connection;
        let mut version = connection.metadata.resource_version.clone();
        loop {
            let before = self.cluster.object.clone();
            match self.cluster.write(version.as_deref(), status) {
                Ok(object) => {
                    let object = object.clone();
                    return self.written(pass, before.as_ref(), &object, fate);
                }
                Err(Refused::NotFound) => return Ok(Ok(Reported::Superseded)),
                Err(Refused::Conflict) => {}
            }
            let Some(current) = &self.cluster.object else {
                return Ok(Ok(Reported::Superseded));
            };
            let current = current.read();
            if !connection.accepts(status, pass.job.unwritten.as_deref(), &current) {
                return Ok(Ok(Reported::Superseded));
            }
            version = current.metadata.resource_version;
        }
    }

    /// A write has taken effect.
    fn written(
        &mut self,
        pass: &Running,
        before: Option<&Object>,
        object: &Object,
        fate: Fate,
    ) -> Result<Result<Reported, Failed>, Broken> {
        Law::DormantRests.unless(!object.is_dormant(), || "a status was written".to_owned())?;
        self.history
            .check_proof(&object.uid, object.generation, &object.status)?;
        let newest = self
            .history
            .newest
            .as_ref()
            .filter(|(uid, generation, _)| *uid == object.uid && *generation == object.generation)
            .map(|(_, _, number)| *number);
        let is_verdict = pass.judged.is_some();
        let is_changed = before.is_none_or(|before| before.version != object.version);
        Law::NeverBackwards.unless(
            newest.is_none_or(|newest| {
                let since = pass.number..newest;
                // What says the very same replaces nothing.
                !is_changed
                    || is_verdict
                        && (newest <= pass.number
                            || self.history.set_back.iter().any(|mark| since.contains(mark)))
            }),
            || format!("probe {newest:?} stood there, and then {}", pass.number),
        )?;
        if is_verdict {
            let number = newest
                .filter(|_| !is_changed)
                .unwrap_or_default()
                .max(pass.number);
            self.history.newest = Some((object.uid.clone(), object.generation, number));
        }
        if let Some(judged) = &pass.judged {
            self.history.tells(pass.number, &pass.subject(), judged.sent);
        }
        if is_changed {
            self.history.quiet.writes += 1;
            self.history.own.push(object.version);
            self.process.tell(Event::of(Some(object)));
        }
        if fate == Fate::AnswerLost {
            return Ok(Err(Failed));
        }
        let mut written = object.read();
        written.status.clone_from(&object.status);
        Ok(Ok(Reported::Written(Arc::new(written))))
    }

    // --- what is true ---

    /// Whether there is something that the status is not about.
    fn has_changed(&self) -> bool {
        let Some(object) = &self.cluster.object else {
            return false;
        };
        let status = &object.status;
        let version = |named: Named, wanted: bool| {
            let stored = self.cluster.slot(named).filter(|_| wanted);
            stored.map(|stored| stored.version.clone())
        };
        let requested = object.requested.map(|number| number.to_string());
        let named = Versions {
            credential: version(Named::Key, true),
            ca: version(Named::Ca, object.spec.tls.is_some()),
            next_credential: version(Named::NextKey, object.spec.next_api_key_secret_ref.is_some()),
        };
        let judged = versions(status);
        object.generation != status.observed_generation
            || named != judged
            || (requested.is_some() && requested != status.last_handled_reconcile_at)
    }

    fn bridge_at(&self, host: &str) -> Bridge {
        Bridge {
            accepts: if host == BRIDGE {
                self.bridge.accepts
            } else {
                u8::MAX
            },
            mode: self.bridge.mode,
        }
    }

    /// What the status has to say, if nothing changes any more. `None` where it says nothing any more.
    pub(crate) fn truth(&self) -> Option<Reason> {
        let object = self
            .cluster
            .object
            .as_ref()
            .filter(|object| !object.is_dormant())?;
        let Ok(target) = Target::parse(&object.spec) else {
            return Some(Reason::InvalidSpec);
        };
        if !object.readable {
            return Some(Reason::InvalidSpec);
        }
        let Some(secret) = &self.cluster.key else {
            return Some(Reason::SecretNotFound);
        };
        if secret.value == 0 {
            return Some(Reason::ApiKeyMalformed);
        }
        if !secret.consents {
            return Some(Reason::ConsentMissing);
        }
        if target.ca.is_some() {
            match &self.cluster.ca {
                None => return Some(Reason::CaNotFound),
                Some(ca) if ca.value == 0 => return Some(Reason::CaInvalid),
                Some(_) => {}
            }
        }
        let bridge = self.bridge_at(&target.origin.host.to_string());
        let google = object.spec.identity_provider.is_some();
        Some(bridge.truth(secret.value, google))
    }
}

/// The specification, parsed.
fn known_target(connection: &Connection) -> Result<Target, InvalidSpec> {
    connection
        .spec
        .as_ref()
        .ok_or(InvalidSpec::Form)
        .and_then(Target::parse)
}

// === impl Running ===

impl Running {
    /// Reads what the connection names, as `controller::resolve` does.
    fn resolve(&mut self, cluster: &Cluster) {
        let target = match known_target(&self.connection) {
            Ok(target) => target,
            Err(why) => {
                self.order = Err(Blocker::InvalidSpec(why));
                return;
            }
        };
        let version = |named: Named| cluster.slot(named).map(|stored| stored.version.clone());
        let key = |named: Named| match cluster.slot(named) {
            None => Err(Blocker::SecretNotFound),
            Some(stored) if stored.value == 0 => Err(Blocker::ApiKeyMalformed(KeyFault::Blank)),
            Some(stored) if !stored.consents => Err(Blocker::ConsentMissing(ConsentFault::Unnamed)),
            Some(stored) => Ok(stored.value),
        };
        self.versions = Versions {
            credential: version(Named::Key),
            ca: target.ca.as_ref().and_then(|_| version(Named::Ca)),
            next_credential: target.next_api_key.as_ref().and_then(|_| version(Named::NextKey)),
        };
        let trust = match (&target.ca, &cluster.ca) {
            (Some(_), None) => Err(Blocker::CaNotFound),
            (Some(_), Some(ca)) if ca.value == 0 => Err(Blocker::CaInvalid(CaFault::Empty)),
            _ => Ok(()),
        };
        self.order = key(Named::Key).and_then(|value| {
            trust.map(|()| Order {
                host: target.origin.host.to_string(),
                key: value,
                next_key: target.next_api_key.as_ref().map(|_| key(Named::NextKey)),
            })
        });
        self.target = Some(target);
    }

    fn subject(&self) -> Subject {
        let metadata = &self.connection.metadata;
        Subject {
            uid: metadata.uid.clone().unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            versions: self.versions.clone(),
            requested: self.job.connection.requested(),
            heard: self.heard.clone(),
        }
    }
}

// === impl Process ===

impl Process {
    fn start(cluster: &Cluster) -> Self {
        let mut process = Self {
            registry: Registry::default(),
            listed: false,
            connections: VecDeque::new(),
            others: VecDeque::new(),
            next_key: Seen::Unknown,
            passes: Vec::new(),
            kept: None,
        };
        match &cluster.object {
            Some(object) => process.connections.push_back(Event::of(Some(object))),
            None => process.list_others(cluster),
        }
        process
    }

    /// Once the connections are listed, what they may name is.
    fn list_others(&mut self, cluster: &Cluster) {
        if !self.listed {
            self.listed = true;
            self.others
                .extend(Named::ALL.map(|named| (named, cluster.seen(named))));
        }
    }

    fn observe(&mut self, named: Named, seen: Seen) {
        if named == Named::NextKey {
            self.next_key = seen.clone();
        }
        self.registry.observe(&named.reference(), seen);
    }

    fn tell(&mut self, event: Event) {
        self.connections.push_back(event);
    }

    fn tell_other(&mut self, named: Named, seen: Seen) {
        if self.listed {
            self.others.push_back((named, seen));
        }
    }
}

// === impl Event ===

impl Event {
    fn of(object: Option<&Object>) -> Self {
        object.map_or(Self::Deleted, |object| Self::Applied(Box::new(object.read())))
    }
}
