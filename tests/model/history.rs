//! What really happened, remembered apart from the operator: the judge's own notes.

use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use scim_bridge_operator::{
    api::{
        connection::{IdentityProvider, ObjectVersion, ScimBridgeConnectionStatus},
        vocabulary::{Class, ConditionType, Reason},
    },
    domain::{
        connection::{
            conditions::{find, reason_of},
            status::Versions,
        },
        watched::Seen,
    },
};

use crate::law::{Broken, Law};

/// How often a status is written where only the clock has moved.
pub(crate) const HEARTBEAT: Duration = Duration::from_mins(5);
/// A refused key rests for an hour less the jitter.
pub(crate) const REST: Duration = Duration::from_mins(54);

/// What a probe was about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Subject {
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) versions: Versions,
    pub(crate) requested: Option<String>,
    /// What the watch had told of the next key's Secret: that leads to a probe, which may find it gone again.
    pub(crate) heard: Seen,
}

impl Subject {
    /// Whether both send the same key to the same bridge.
    fn is_same_key(&self, other: &Self) -> bool {
        let of = |subject: &Self| Self {
            versions: Versions {
                next_credential: None,
                ..subject.versions.clone()
            },
            requested: None,
            heard: Seen::Unknown,
            ..subject.clone()
        };
        of(self) == of(other)
    }

    /// Whether somebody asks for a check of the same key since `before`, or its next key's Secret has changed.
    fn is_asked_since(&self, before: &Self) -> bool {
        // Values of the annotation may come back, and each change of it is a request.
        self.requested != before.requested
            || self.versions.next_credential != before.versions.next_credential
            // What was read already under a verdict that was held is not judged yet.
            || (self.heard != Seen::Unknown && self.heard != before.heard)
    }
}

/// A SCIM request that was answered, or a health report where the SCIM API is off.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    pub(crate) subject: Subject,
    /// Whether the SCIM API answered.
    pub(crate) has_scim: bool,
    pub(crate) at: Timestamp,
    /// How long it may be believed.
    pub(crate) good_for: Duration,
}

/// A key that was refused.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// What the key was sent for last.
    pub(crate) subject: Subject,
    /// Which probe and process have seen it.
    pub(crate) seen: u64,
    pub(crate) seen_by: u32,
    /// Whether the status tells of it.
    pub(crate) stands: bool,
    /// When the key was sent last, and by which probe and process.
    pub(crate) sent: Instant,
    pub(crate) sent_with: u64,
    pub(crate) sent_by: u32,
    /// Whether the status tells of that.
    pub(crate) told: bool,
    /// Whether the clock was set since.
    pub(crate) clock_was_set: bool,
}

/// Probes in a row at which no bridge was heard: nobody was there, or a front answered in its place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unheard {
    /// Since a status was written that tells of another probe.
    pub(crate) by_all: u32,
    /// Of these, what the present process must know of.
    pub(crate) by_process: u32,
}

/// What happened since something came from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quiet {
    pub(crate) since: Instant,
    pub(crate) passes: u32,
    pub(crate) probes: u32,
    pub(crate) writes: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) process: u32,
    pub(crate) proofs: Vec<Proof>,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) unheard: Unheard,
    /// The newest probe whose verdict stands: its object, generation and number.
    pub(crate) newest: Option<(String, i64, u64)>,
    /// The newest probes before the clock was set back, each time: by the clock, some of them are later than others that
    /// came after them.
    pub(crate) set_back: Vec<u64>,
    pub(crate) quiet: Quiet,
    /// Versions that this process has written.
    pub(crate) own: Vec<u64>,
}

impl History {
    pub(crate) fn new(instant: Instant) -> Self {
        Self {
            process: 0,
            proofs: Vec::new(),
            refusal: None,
            unheard: Unheard::default(),
            newest: None,
            set_back: Vec::new(),
            quiet: Quiet::since(instant),
            own: Vec::new(),
        }
    }

    /// Something came from outside.
    pub(crate) fn disturb(&mut self, instant: Instant) {
        self.quiet = Quiet::since(instant);
    }

    /// The status tells of a probe, for which the key was sent or not.
    pub(crate) fn tells(&mut self, probe: u64, subject: &Subject, sent: bool) {
        let is_later = |refusal: &&mut Refusal| probe >= refusal.seen && refusal.subject.is_same_key(subject);
        let Some(refusal) = self.refusal.as_mut().filter(is_later) else {
            return;
        };
        refusal.stands = true;
        refusal.told |= probe >= refusal.sent_with;
        if !sent {
            // Who asked for it was answered without the key.
            refusal.subject.clone_from(subject);
        }
    }

    /// A probe was superseded: its status is not written.
    pub(crate) fn forgets(&mut self, probe: u64) {
        self.refusal
            .take_if(|refusal| refusal.seen == probe && !refusal.stands);
    }

    /// A probe has ended at which no bridge was heard, or another one, and the status tells of it or does not.
    pub(crate) fn counts(&mut self, unheard: bool, is_told: bool) {
        let Unheard { by_all, by_process } = &mut self.unheard;
        *by_process = if unheard { (*by_process + 1).min(4) } else { 0 };
        if !unheard && is_told {
            *by_all = 0;
        }
    }

    /// Whether the status tells when a refused key was sent last.
    pub(crate) fn is_told(&self) -> bool {
        self.refusal.as_ref().is_some_and(|refusal| refusal.told)
    }

    /// A key is sent by a pass; `was_told` is whether its process had heard of a status that tells of the sending
    /// before when it began. What a former process writes after that comes too late.
    pub(crate) fn sends(
        &mut self,
        probe: u64,
        subject: &Subject,
        instant: Instant,
        was_told: bool,
    ) -> Result<(), Broken> {
        let process = self.process;
        let Some(refusal) = self
            .refusal
            .as_mut()
            .filter(|refusal| refusal.subject.is_same_key(subject))
        else {
            return Ok(());
        };
        if refusal.seen_by != process && !refusal.stands {
            // Nobody can know of it any more.
            self.refusal = None;
            return Ok(());
        }
        let rested = instant.duration_since(refusal.sent);
        let knows = refusal.sent_by == process || (was_told && refusal.told && !refusal.clock_was_set);
        let is_asked = subject.is_asked_since(&refusal.subject);
        Law::RefusedKeyRests.unless(rested >= REST || !knows || is_asked, || {
            format!("the key was refused, and sent again after {rested:?} though nothing had changed")
        })?;
        refusal.subject.clone_from(subject);
        refusal.sent = instant;
        refusal.sent_with = probe;
        refusal.sent_by = process;
        refusal.told = false;
        refusal.clock_was_set = false;
        Ok(())
    }

    /// The bridge has answered a SCIM request with this key.
    pub(crate) fn proven(&mut self, mut proof: Proof) {
        proof.subject.heard = Seen::Unknown;
        // One that the clock calls later, for it was set back since, may still be on its way into the status.
        self.proofs.retain(|known| {
            known.subject != proof.subject || known.has_scim != proof.has_scim || known.at > proof.at
        });
        self.proofs.push(proof);
    }

    /// A status is written for this object and generation: what it calls good was proven.
    pub(crate) fn check_proof(
        &self,
        uid: &str,
        generation: i64,
        status: &ScimBridgeConnectionStatus,
    ) -> Result<(), Broken> {
        let is_connected = is_true(status, ConditionType::Connected);
        let is_good = is_connected || is_true(status, ConditionType::Ready);
        if !is_good || status.observed_generation != generation {
            return Ok(());
        }
        let is_about = |proof: &&Proof| {
            let Subject {
                uid: proven_uid,
                generation: proven_generation,
                versions,
                requested: _,
                heard: _,
            } = &proof.subject;
            proof.has_scim == is_connected
                && proven_uid == uid
                && *proven_generation == generation
                && versions.credential == status.credential
                && versions.ca == status.ca
        };
        let latest = self.proofs.iter().filter(is_about).max_by_key(|proof| proof.at);
        let Some(proof) = latest else {
            return Law::ConnectedIsProven.unless(false, || {
                format!(
                    "no key of version {:?} was accepted for generation {generation}",
                    status.credential
                )
            });
        };
        let until = status.valid_until.as_ref().map(|until| until.0);
        Law::ConnectedIsProven.unless(
            until.is_some_and(|until| until <= proof.at + proof.good_for),
            || format!("proven at {}, and said to be valid until {until:?}", proof.at),
        )
    }

    /// There must not have been more than a quiet time allows.
    pub(crate) fn check_quiet(&self, instant: Instant) -> Result<(), Broken> {
        let quiet = self.quiet;
        let seconds = instant.duration_since(quiet.since).as_secs();
        let most = (3 + seconds).min(12 + seconds / 5);
        Law::NoHotLoop.unless(
            u64::from(quiet.passes) <= most
                && quiet.writes <= quiet.passes + 2
                && quiet.probes <= quiet.passes,
            || format!("{quiet:?} within {seconds} s in which nothing came from outside"),
        )
    }
}

impl Quiet {
    const fn since(instant: Instant) -> Self {
        Self {
            since: instant,
            passes: 0,
            probes: 0,
            writes: 0,
        }
    }
}

/// Whether a condition is True.
pub(crate) fn is_true(status: &ScimBridgeConnectionStatus, type_: ConditionType) -> bool {
    find(&status.conditions, type_).is_some_and(|condition| condition.status == "True")
}

/// A status is sound by itself, and a lawful successor of the one before.
pub(crate) fn check_status(
    before: &ScimBridgeConnectionStatus,
    status: &ScimBridgeConnectionStatus,
    declared: Option<IdentityProvider>,
    generation: i64,
    now: Timestamp,
) -> Result<(), Broken> {
    let law = Law::StatusIsSound;
    let conditions = &status.conditions;
    let types: Vec<_> = conditions
        .iter()
        .map(|condition| condition.type_.as_str())
        .collect();
    let expected: Vec<_> = ConditionType::ALL
        .iter()
        .filter(|type_| ConditionType::ALWAYS.contains(type_) || types.contains(&type_.as_str()))
        .map(|type_| type_.as_str())
        .collect();
    law.unless(types == expected, || {
        format!("conditions {types:?}, not {expected:?}")
    })?;
    let is = |type_| is_true(status, type_);
    let reason = reason_of(conditions);
    law.unless(reason.is_some(), || "the reason of Ready is unknown".to_owned())?;
    let is_off = find(conditions, ConditionType::AuthFailed).is_some_and(|known| known.status == "False")
        && is(ConditionType::ScimDisabled);
    let as_declared = declared == Some(IdentityProvider::GoogleWorkspace) && is_off;
    let is_good = reason.map(Reason::class) == Some(Class::Ok) || as_declared;
    law.unless(is(ConditionType::Ready) == is_good, || {
        format!("Ready is {} with reason {reason:?}", is(ConditionType::Ready))
    })?;
    law.unless(
        !is(ConditionType::Ready) || is(ConditionType::Connected) || as_declared,
        || "Ready without Connected, and not as declared".to_owned(),
    )?;
    law.unless(
        !(is(ConditionType::AuthFailed) && is(ConditionType::ScimDisabled)),
        || "AuthFailed and ScimDisabled at once".to_owned(),
    )?;
    law.unless(
        !(is(ConditionType::Reconciling) && is(ConditionType::Stalled)),
        || "Reconciling and Stalled at once".to_owned(),
    )?;
    law.unless(status.binding.is_some() == is(ConditionType::Connected), || {
        format!(
            "binding {:?} and Connected {}",
            status.binding,
            is(ConditionType::Connected)
        )
    })?;
    law.unless(status.observed_generation <= generation, || {
        format!("observed {} of {generation}", status.observed_generation)
    })?;
    for condition in conditions {
        law.unless(condition.observed_generation <= Some(generation), || {
            format!("{} is about a generation to come", condition.type_)
        })?;
        let old = before.conditions.iter().find(|old| old.type_ == condition.type_);
        let stays = old.filter(|old| old.status == condition.status);
        let time = condition.last_transition_time.0;
        law.unless(
            stays.map_or(now.as_second() == time.as_second(), |old| {
                old.last_transition_time.0 == time
            }),
            || format!("transition of {} at {time}, now {now}", condition.type_),
        )?;
    }
    Ok(())
}

/// Whether what the status is about is this.
pub(crate) fn is_about(
    status: &ScimBridgeConnectionStatus,
    generation: i64,
    credential: Option<&ObjectVersion>,
    ca: Option<&ObjectVersion>,
) -> bool {
    status.observed_generation == generation
        && status.credential.as_ref() == credential
        && status.ca.as_ref() == ca
}
