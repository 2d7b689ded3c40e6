//! Long lives over the whole alphabet, with real durations. What breaks a law is shrunk to a short life.

use std::time::{Duration, Instant};

use proptest::{collection::vec, prelude::*, sample::select, test_runner::RngSeed};
use testbed::budget;

use crate::{
    bridge::Mode,
    calm::{FINE, Weather},
    cluster::{Edit, Named},
    world::{Fate, Step, World},
};

/// A step, or the operator at work in peace for some time.
#[derive(Clone, Copy, Debug)]
enum Move {
    Step(Step),
    Work(Duration),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![3 => Just(Fate::Answered), 1 => Just(Fate::Lost), 1 => Just(Fate::AnswerLost)]
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        2 => Just(Edit::Url),
        1 => Just(Edit::BadUrl),
        2 => select(vec![30, 300, 7200]).prop_map(Edit::Interval),
        1 => (1_u8..4).prop_map(Edit::Threshold),
        2 => any::<bool>().prop_map(Edit::Suspend),
        1 => any::<bool>().prop_map(Edit::Google),
        2 => any::<bool>().prop_map(Edit::Ca),
        2 => any::<bool>().prop_map(Edit::NextKey),
    ]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        5 => Just(Mode::Up),
        1 => Just(Mode::ScimOff),
        1 => Just(Mode::Away),
        2 => Just(Mode::Unavailable),
        1 => Just(Mode::Busy),
        1 => Just(Mode::Silent),
        1 => Just(Mode::Stranger),
        1 => Just(Mode::Unrouted),
        1 => select(vec![Mode::Edge, Mode::Firewall, Mode::Redirecting, Mode::DefaultCertificate]),
    ]
}

fn change() -> impl Strategy<Value = Step> {
    let named = || select(Named::ALL.to_vec());
    prop_oneof![
        3 => edit().prop_map(Step::Edit),
        1 => Just(Step::Label),
        2 => Just(Step::Request),
        1 => any::<bool>().prop_map(|kept| Step::Delete { kept }),
        2 => Just(Step::Create),
        1 => Just(Step::Deform),
        4 => (named(), 0_u8..3).prop_map(|(named, value)| Step::Store(named, value)),
        2 => named().prop_map(Step::Remove),
        1 => any::<bool>().prop_map(Step::Consent),
        3 => (1_u8..3).prop_map(Step::Accept),
        4 => mode().prop_map(Step::Turn),
    ]
}

fn time() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0_u64..20).prop_map(|seconds| Step::Wait(Duration::from_secs(seconds))),
        2 => (0_u64..15_000).prop_map(|seconds| Step::Wait(Duration::from_secs(seconds))),
        4 => Just(Step::UntilDue),
        1 => Just(Step::UntilStale),
        2 => (-7200_i64..7200).prop_map(Step::SetClock),
    ]
}

fn doing() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Hear),
        4 => Just(Step::HearOther),
        1 => Just(Step::Relist),
        4 => Just(Step::Begin(Fate::Answered)),
        1 => Just(Step::Begin(Fate::Lost)),
        1 => fate().prop_map(Step::Announce),
        4 => Just(Step::Answer),
        5 => fate().prop_map(Step::Report),
        1 => Just(Step::Restart),
        1 => Just(Step::ArriveLate),
        2 => Just(Step::HearAll),
        3 => fate().prop_map(Step::Reconcile),
    ]
}

fn life() -> impl Strategy<Value = Vec<Move>> {
    let step = prop_oneof![3 => change(), 3 => time(), 8 => doing()];
    vec(
        prop_oneof![
            14 => step.prop_map(Move::Step),
            1 => (0_u64..4000).prop_map(|seconds| Move::Work(Duration::from_secs(seconds))),
        ],
        1..budget(60, 160),
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: budget(600, 30_000),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(testbed::seed()),
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    /// Any life keeps every law, and each last state leads to the truth.
    #[test]
    fn any_life(
        moves in life(),
        interval in select(vec![30_u64, 300, 7200]),
        threshold in 1_u8..4,
    ) {
        let mut world = World::new(Instant::now(), interval, threshold);
        let fails = |broken| TestCaseError::fail(format!("{broken}"));
        for step in moves {
            match step {
                Move::Step(step) => {
                    world.step(step).map_err(fails)?;
                }
                Move::Work(time) => {
                    world.work(time, FINE, |_| Ok(())).map_err(fails)?;
                }
            }
        }
        world.clone().check_truth_arrives().map_err(fails)?;
        for (writes, clock_jumps) in [(Fate::Lost, false), (Fate::AnswerLost, false), (Fate::Answered, true)] {
            world.clone().check_storm(Weather { writes, clock_jumps }).map_err(fails)?;
        }
    }
}
