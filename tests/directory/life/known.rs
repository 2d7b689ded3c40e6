//! Lives that broke a law once, and what a bridge does to members.

use super::{
    bridge::{Habit, View},
    world::{GroupEdit, Step, World},
};

fn live(steps: &[Step]) -> World {
    let mut world = World::new();
    for step in steps {
        world
            .step(*step)
            .unwrap_or_else(|broken| panic!("{broken}\n  {step:?}"));
    }
    world
}

/// Without any trouble, everything is done in a few requests.
#[test]
fn the_first_hour() {
    let world = live(&[Step::Read, Step::Round, Step::Wait(1), Step::Read, Step::Round]);
    // Two accounts are there, one is made; one group is made; both get their members.
    assert_eq!(world.sent, 4, "{:?}", world.bridge.now);
    assert_eq!(world.bridge.now.users.len(), 5);
    world.check_peace().unwrap();
}

/// A bridge that removes everybody does so once. The operator puts the lost members back.
#[test]
fn who_is_lost_is_put_back() {
    let before = [Step::Read, Step::Round, Step::Wait(1), Step::Read, Step::Round];
    let world = live(&before);
    let (team, wanted) = world
        .bridge
        .now
        .groups
        .iter()
        .find(|(_, team)| team.name == "k8s-b")
        .map(|(id, team)| (id.clone(), team.members.clone()))
        .unwrap();
    assert_eq!(wanted.len(), 2);
    let mut steps = before.to_vec();
    steps.extend([
        Step::Turn(Habit::RemovesAll),
        Step::Group(1, GroupEdit::Members(&["ada"])),
        Step::Round,
        Step::Turn(Habit::Fine),
        Step::Wait(11),
        Step::Read,
        Step::Round,
    ]);
    let world = live(&steps);
    assert_eq!(world.bridge.now.groups[&team].members.len(), 1, "Ada is back");
    world.check_peace().unwrap();
}

/// Where no read shows a member, one user is added, and nobody else.
#[test]
fn one_trial_and_no_more() {
    let mut steps = vec![Step::Look(View::NoMembers), Step::Read, Step::Round];
    for _ in 0..10 {
        steps.extend([Step::Wait(40), Step::Read, Step::Round]);
    }
    let world = live(&steps);
    let members: usize = world
        .bridge
        .now
        .groups
        .values()
        .map(|team| team.members.len())
        .sum();
    assert_eq!(members, 5, "one more than before: {:?}", world.bridge.now);
}

/// Each of these lives once broke a law.
#[test]
fn lives_that_broke_a_law() {
    use super::world::{Other, UserEdit};
    use scim_bridge_operator::domain::directory::wish::State;
    const LIVES: &[(&str, &[Step])] = &[
        (
            "the id of an adopted group was not written before its members were changed",
            &[Step::Read, Step::User(2, UserEdit::Name("bo")), Step::Round],
        ),
        (
            "after a 409 on the first creation, the object took an account that others had made",
            &[
                Step::Look(View::Empty),
                Step::Read,
                Step::Round,
                Step::Other(Other::Active("ada", false)),
            ],
        ),
        (
            "a 409 was final, although the operator itself freed the name",
            &[Step::Read, Step::Other(Other::Name("ada", "new"))],
        ),
        (
            "somebody else added the user between the list and the order",
            &[Step::Read, Step::Other(Other::Add("k8s-a", "ada")), Step::Round],
        ),
        (
            "a bridge that replaces lists was trusted after an addition to an empty group",
            &[
                Step::Read,
                Step::Turn(Habit::Replaces),
                Step::Round,
                Step::Group(1, GroupEdit::Members(&["bo", "eve", "new"])),
                Step::Round,
            ],
        ),
        (
            "an accepted creation was repeated after an edit, with no list in between",
            &[
                Step::Read,
                Step::Turn(Habit::Ignores),
                Step::Round,
                Step::Wait(3_800),
                Step::Group(1, GroupEdit::Members(&["new"])),
                Step::Round,
            ],
        ),
        (
            "what was suspended is suspended again for a release that was used",
            &[
                Step::Read,
                Step::Round,
                Step::User(0, UserEdit::State(State::Suspended)),
                Step::User(1, UserEdit::State(State::Suspended)),
                Step::Round,
                Step::Release(true),
                Step::Round,
                Step::Other(Other::Active("ada", true)),
                Step::Other(Other::Active("bo", true)),
                Step::Wait(300),
                Step::Read,
                Step::Round,
            ],
        ),
    ];
    for (what, steps) in LIVES {
        live(steps)
            .check_peace()
            .unwrap_or_else(|broken| panic!("{broken}\n  {what}"));
    }
}
