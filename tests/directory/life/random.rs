//! Long lives over the whole alphabet. What breaks a law is shrunk to a short life.

use proptest::{collection::vec, prelude::*, sample::select, test_runner::RngSeed};
use scim_bridge_operator::domain::directory::wish::{Membership, State};
use testbed::budget;

use super::{
    bridge::{Habit, View},
    world::{GroupEdit, Other, Step, UserEdit, World},
};

const NAMES: &[&str] = &["ada", "bo", "new", "owner", "eve"];

fn user_edit() -> impl Strategy<Value = UserEdit> {
    prop_oneof![
        4 => select(&[State::Suspended, State::Active][..]).prop_map(UserEdit::State),
        2 => select(NAMES).prop_map(UserEdit::Name),
        2 => select(&["Given", "Grace"][..]).prop_map(UserEdit::Given),
        2 => prop::option::of(-10_i64..600).prop_map(UserEdit::Until),
        1 => any::<bool>().prop_map(UserEdit::Paused),
        1 => Just(UserEdit::Delete),
        2 => Just(UserEdit::Create),
    ]
}

fn group_edit() -> impl Strategy<Value = GroupEdit> {
    const LISTS: &[&[&str]] = &[
        &[],
        &["ada"],
        &["ada", "bo"],
        &["new", "owner"],
        &["bo", "eve", "new"],
    ];
    prop_oneof![
        4 => select(LISTS).prop_map(GroupEdit::Members),
        1 => (-10_i64..600).prop_map(GroupEdit::Until),
        1 => select(&[Membership::Additive, Membership::Exact][..]).prop_map(GroupEdit::Membership),
        1 => select(&["k8s-a", "k8s-b", "k8s-c", "k8s-protected"][..]).prop_map(GroupEdit::Name),
        1 => any::<bool>().prop_map(GroupEdit::Paused),
        1 => Just(GroupEdit::Delete),
        2 => Just(GroupEdit::Create),
    ]
}

fn other() -> impl Strategy<Value = Other> {
    const TEAMS: &[&str] = &["k8s-a", "k8s-b", "other"];
    prop_oneof![
        4 => (select(NAMES), any::<bool>()).prop_map(|(name, active)| Other::Active(name, active)),
        1 => (select(NAMES), select(NAMES)).prop_map(|(name, new)| Other::Name(name, new)),
        2 => select(NAMES).prop_map(Other::Given),
        2 => (select(TEAMS), select(NAMES)).prop_map(|(team, name)| Other::Add(team, name)),
        2 => (select(TEAMS), select(NAMES)).prop_map(|(team, name)| Other::Remove(team, name)),
        1 => select(NAMES).prop_map(Other::Delete),
        1 => select(TEAMS).prop_map(Other::DeleteGroup),
        1 => select(NAMES).prop_map(Other::Create),
    ]
}

fn habit() -> impl Strategy<Value = Habit> {
    prop_oneof![
        5 => Just(Habit::Fine),
        2 => Just(Habit::Loses),
        2 => Just(Habit::Drops),
        1 => Just(Habit::Ignores),
        1 => Just(Habit::Busy),
        1 => Just(Habit::Cut),
        1 => Just(Habit::Refuses),
        1 => Just(Habit::Unsupported),
        1 => Just(Habit::RemovesAll),
        1 => Just(Habit::Replaces),
    ]
}

fn view() -> impl Strategy<Value = View> {
    prop_oneof![
        4 => Just(View::Prompt),
        1 => Just(View::LateLists),
        1 => Just(View::Late),
        1 => Just(View::Short),
        1 => Just(View::Empty),
        1 => Just(View::NoMembers),
        1 => Just(View::ListsOnly),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Work),
        10 => Just(Step::Round),
        3 => Just(Step::Begin),
        3 => Just(Step::End),
        8 => Just(Step::Read),
        2 => Just(Step::Crash),
        4 => (0_u64..30).prop_map(Step::Wait),
        3 => (0_u64..700).prop_map(Step::Wait),
        1 => (0_u64..9_000).prop_map(Step::Wait),
        1 => (-9_000_i64..9_000).prop_map(Step::SetClock),
        4 => habit().prop_map(Step::Turn),
        3 => view().prop_map(Step::Look),
        1 => any::<bool>().prop_map(Step::Doubles),
        1 => any::<bool>().prop_map(Step::Api),
        2 => any::<bool>().prop_map(Step::Release),
        6 => (0_usize..3, user_edit()).prop_map(|(slot, edit)| Step::User(slot, edit)),
        4 => (0_usize..2, group_edit()).prop_map(|(slot, edit)| Step::Group(slot, edit)),
        5 => other().prop_map(Step::Other),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: budget(200, 4_000),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(testbed::seed()),
        max_shrink_iters: 5_000,
        ..ProptestConfig::default()
    })]

    /// Any life keeps every law, and each last state leads to peace.
    #[test]
    fn any_life(steps in vec(step(), 1..budget(40, 100))) {
        let mut world = World::new();
        let fails = |broken| TestCaseError::fail(format!("{broken}"));
        for step in steps {
            world.step(step).map_err(fails)?;
        }
        world.check_peace().map_err(fails)?;
    }
}
