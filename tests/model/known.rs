//! Lives that broke a law once, and their siblings.

use std::time::{Duration, Instant};

use crate::{
    bridge::Mode,
    calm::Weather,
    cluster::{Edit, Named},
    world::{Fate, Step, World},
};

/// The operator hears of all, and checks what is due.
const CHECK: &[Step] = &[Step::HearAll, Step::Pass(Fate::Answered)];
/// Somebody asks for a check.
const ASK: &[Step] = &[Step::Request, Step::HearAll, Step::Pass(Fate::Answered)];
/// The next check by the schedule.
const IN_TIME: &[Step] = &[Step::HearAll, Step::UntilDue, Step::Pass(Fate::Answered)];
/// The bridge refuses the key.
const REFUSED: &[Step] = &[Step::Accept(2), Step::HearAll, Step::Pass(Fate::Answered)];

const SEVENTY_MINUTES: &[Step] = &[Step::Wait(Duration::from_mins(70))];
const UP: &[Step] = &[Step::Turn(Mode::Up)];
const STRANGER: &[Step] = &[Step::Turn(Mode::Stranger)];
const AWAY: &[Step] = &[Step::Turn(Mode::Away)];
const UNAVAILABLE: &[Step] = &[Step::Turn(Mode::Unavailable)];
const RESTART: &[Step] = &[Step::Restart];

/// Lives it with the shortest interval and no patience, and then what may follow.
fn live(name: &str, steps: &[&[Step]]) {
    let mut world = World::new(Instant::now(), 30, 1);
    for step in steps.concat() {
        world
            .step(step)
            .unwrap_or_else(|broken| panic!("{name}: at {step:?}: {broken}"));
    }
    world
        .clone()
        .check_truth_arrives()
        .unwrap_or_else(|broken| panic!("{name}, then everything stays as it is: {broken}"));
    for (writes, clock_jumps) in [
        (Fate::Lost, false),
        (Fate::AnswerLost, false),
        (Fate::Answered, true),
    ] {
        let weather = Weather { writes, clock_jumps };
        world
            .clone()
            .check_storm(weather)
            .unwrap_or_else(|broken| panic!("{name}, then {weather:?}: {broken}"));
    }
}

/// Nobody can know of a refusal whose process died before it was written.
#[test]
fn a_refusal_that_was_never_written() {
    let unwritten = [
        Step::Accept(2),
        Step::Hear,
        Step::Begin(Fate::Answered),
        Step::Request,
        Step::Answer,
        Step::Accept(1),
        Step::Turn(Mode::Unavailable),
        Step::Restart,
    ];
    live("asked for meanwhile", &[&unwritten]);
    live("and it arrives late", &[&unwritten, &[Step::ArriveLate], CHECK]);
}

/// A refused key rests while verdicts about other things come and go.
#[test]
fn a_refused_key_rests() {
    let hour_forward: &[Step] = &[Step::SetClock(3600)];
    let trusts: &[Step] = &[Step::Store(Named::Ca, 1), Step::Edit(Edit::Ca(true))];
    let ca_changes: &[Step] = &[Step::Store(Named::Ca, 2)];
    let ca_goes: &[Step] = &[Step::Remove(Named::Ca)];
    let late: &[Step] = &[Step::ArriveLate];
    let begin: &[Step] = &[Step::HearAll, Step::Begin(Fate::Answered), Step::Answer];
    let lost: &[Step] = &[Step::Report(Fate::Lost)];
    for (name, steps) in [
        ("a stranger answers a request", &[REFUSED, STRANGER, ASK, UP][..]),
        (
            "and the operator restarts",
            &[REFUSED, STRANGER, ASK, RESTART, UP],
        ),
        (
            "and the clock is set meanwhile",
            &[REFUSED, STRANGER, hour_forward, ASK, UP],
        ),
        (
            "and that cannot be written",
            &[REFUSED, STRANGER, &[Step::Request], begin, lost, UP],
        ),
        (
            "and that arrives late",
            &[REFUSED, STRANGER, &[Step::Request], begin, RESTART, late, UP],
        ),
        (
            "a stranger, and then a proxy, answer requests",
            &[REFUSED, STRANGER, ASK, UNAVAILABLE, ASK, RESTART],
        ),
        (
            "a proxy is there when the CA changes",
            &[trusts, REFUSED, UNAVAILABLE, ca_changes, CHECK, RESTART],
        ),
        (
            "the CA goes, and comes back",
            &[trusts, REFUSED, ca_goes, CHECK, ca_changes, CHECK, RESTART],
        ),
        (
            "its hour is over while nobody accepts connections, and then it is sent to a proxy",
            &[
                REFUSED,
                AWAY,
                SEVENTY_MINUTES,
                CHECK,
                IN_TIME,
                IN_TIME,
                UNAVAILABLE,
                IN_TIME,
                RESTART,
                UP,
            ],
        ),
        (
            "its hour is over while a stranger answers",
            &[
                REFUSED,
                STRANGER,
                SEVENTY_MINUTES,
                CHECK,
                IN_TIME,
                UP,
                IN_TIME,
                RESTART,
            ],
        ),
        (
            "it is refused again when somebody asks",
            &[REFUSED, ASK, STRANGER, ASK, RESTART, UP],
        ),
    ] {
        live(name, steps);
    }
}

/// A refused key is sent again only to judge a next key that has changed.
#[test]
fn a_refused_key_rests_beside_a_next_key() {
    let rehearses: &[Step] = &[Step::Edit(Edit::NextKey(true)), Step::Store(Named::NextKey, 1)];
    let next_key_changes: &[Step] = &[Step::Store(Named::NextKey, 2)];
    let rehearses_again: &[Step] = &[Step::Store(Named::NextKey, 1)];
    let next_key_goes: &[Step] = &[Step::Remove(Named::NextKey)];
    for (name, steps) in [
        (
            "a stranger is there when the next key changes",
            &[rehearses, REFUSED, STRANGER, next_key_changes, CHECK, UP][..],
        ),
        (
            "the next key changes when its hour is over, and is read before that is heard",
            &[
                rehearses,
                REFUSED,
                SEVENTY_MINUTES,
                next_key_changes,
                &[Step::Begin(Fate::Answered)],
                UNAVAILABLE,
            ],
        ),
        (
            "the next key goes when its hour is over, and that is read before it is heard",
            &[
                rehearses,
                REFUSED,
                SEVENTY_MINUTES,
                next_key_goes,
                &[Step::Begin(Fate::Answered)],
                UNAVAILABLE,
            ],
        ),
        (
            "the next key comes, and goes before it is read",
            &[
                REFUSED,
                rehearses,
                CHECK,
                next_key_goes,
                CHECK,
                rehearses_again,
                next_key_goes,
                &[Step::HearOther, Step::Pass(Fate::Answered), Step::HearOther],
            ],
        ),
    ] {
        live(name, steps);
    }
}
