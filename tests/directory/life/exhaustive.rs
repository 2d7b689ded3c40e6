//! Every sequence of steps of a small alphabet, up to a length, from some beginnings: breadth first, each state once.

use std::{
    collections::{HashSet, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use scim_bridge_operator::domain::directory::wish::State;
use testbed::budget;

use super::{
    bridge::{Habit, View},
    law::Broken,
    world::{GroupEdit, Other, Step, UserEdit, World},
};

/// One thing at a time, so that something may happen between any two.
const PARTS: &[Step] = &[Step::Work, Step::Begin, Step::End, Step::Crash];

/// Whole turns.
const TURNS: &[Step] = &[
    Step::Round,
    Step::Read,
    Step::Crash,
    Step::Wait(20),
    Step::Wait(300),
];

const HABITS: &[Step] = &[
    Step::Turn(Habit::Fine),
    Step::Turn(Habit::Loses),
    Step::Turn(Habit::Drops),
    Step::Turn(Habit::Ignores),
    Step::Turn(Habit::Busy),
];

const HARM: &[Step] = &[
    Step::Turn(Habit::Fine),
    Step::Turn(Habit::RemovesAll),
    Step::Turn(Habit::Replaces),
    Step::Turn(Habit::Unsupported),
];

const VIEWS: &[Step] = &[
    Step::Look(View::Prompt),
    Step::Look(View::Late),
    Step::Look(View::LateLists),
    Step::Look(View::Empty),
    Step::Look(View::NoMembers),
];

const USERS: &[Step] = &[
    Step::User(0, UserEdit::State(State::Suspended)),
    Step::User(1, UserEdit::State(State::Suspended)),
    Step::User(1, UserEdit::State(State::Active)),
    Step::User(2, UserEdit::Delete),
    Step::User(2, UserEdit::Create),
];

const GROUPS: &[Step] = &[
    Step::Group(0, GroupEdit::Members(&[])),
    Step::Group(0, GroupEdit::Members(&["ada", "bo"])),
    Step::Group(1, GroupEdit::Members(&["owner"])),
    Step::Group(0, GroupEdit::Delete),
    Step::Group(0, GroupEdit::Create),
];

const OTHERS: &[Step] = &[
    Step::Other(Other::Active("bo", true)),
    Step::Other(Other::Active("ada", false)),
    Step::Other(Other::Add("k8s-b", "owner")),
    Step::Other(Other::Remove("k8s-a", "ada")),
    Step::Other(Other::Create("new")),
    Step::Other(Other::Delete("ada")),
];

const CLOCK: &[Step] = &[
    Step::SetClock(7_200),
    Step::SetClock(-7_200),
    Step::Wait(3_900),
    Step::Release(true),
    Step::Release(false),
];

/// Where a search begins.
struct Beginning {
    name: &'static str,
    steps: &'static [Step],
}

const BEGINNINGS: &[Beginning] = &[
    Beginning {
        name: "objects that were just applied",
        steps: &[],
    },
    Beginning {
        name: "a directory that is as declared",
        steps: &[Step::Read, Step::Round, Step::Wait(1), Step::Read, Step::Round],
    },
    Beginning {
        name: "more suspensions than the limit",
        steps: &[
            Step::Read,
            Step::Round,
            Step::Wait(1),
            Step::Read,
            Step::Round,
            Step::User(0, UserEdit::State(State::Suspended)),
            Step::User(1, UserEdit::State(State::Suspended)),
            Step::Round,
        ],
    },
    Beginning {
        name: "an order without an answer",
        steps: &[
            Step::Read,
            Step::Turn(Habit::Loses),
            Step::Round,
            Step::Turn(Habit::Fine),
        ],
    },
    Beginning {
        name: "a suspension that somebody undid",
        steps: &[
            Step::Read,
            Step::Round,
            Step::User(1, UserEdit::State(State::Suspended)),
            Step::Round,
            Step::Other(Other::Active("bo", true)),
            Step::Wait(300),
            Step::Read,
            Step::Round,
            Step::Wait(4_000),
        ],
    },
];

struct Node {
    step: Step,
    before: Option<Arc<Self>>,
}

fn fingerprint(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.fingerprint().hash(&mut hasher);
    hasher.finish()
}

fn fail(beginning: &Beginning, node: &Arc<Node>, broken: &Broken, then: &str) -> ! {
    let mut steps = Vec::new();
    let mut at = Some(node);
    while let Some(node) = at {
        steps.push(format!("{:?}", node.step));
        at = node.before.as_ref();
    }
    steps.reverse();
    panic!(
        "{broken}\n  the shortest way: {}; {}; {then}",
        beginning.name,
        steps.join(", ")
    );
}

/// Tries every sequence of these steps after each beginning, until so many states were reached.
fn search(name: &str, alphabet: &[&[Step]], small: usize, full: usize) {
    let alphabet = alphabet.concat();
    let most = budget(small, full);
    for beginning in BEGINNINGS {
        let mut world = World::new();
        for step in beginning.steps {
            world
                .step(*step)
                .unwrap_or_else(|broken| panic!("{broken}\n  {}", beginning.name));
        }
        let mut states = HashSet::from([fingerprint(&world)]);
        let mut frontier = VecDeque::from([(world, None::<Arc<Node>>, 0_u32)]);
        let (mut depth, mut transitions) = (0, 0_u64);
        'search: while let Some((world, path, length)) = frontier.pop_front() {
            depth = length;
            for step in &alphabet {
                let node = Arc::new(Node {
                    step: *step,
                    before: path.clone(),
                });
                let mut next = world.clone();
                let happened = next
                    .step(*step)
                    .unwrap_or_else(|broken| fail(beginning, &node, &broken, "then"));
                if !happened {
                    continue;
                }
                transitions += 1;
                if !states.insert(fingerprint(&next)) {
                    continue;
                }
                if let Err(broken) = next.clone().check_peace() {
                    fail(beginning, &node, &broken, "then everything stays as it is");
                }
                frontier.push_back((next, Some(node), length + 1));
                if states.len() >= most {
                    break 'search;
                }
            }
        }
        println!(
            "{name}, from {}: {} states, {transitions} transitions; every sequence of {depth} of {} steps",
            beginning.name,
            states.len(),
            alphabet.len()
        );
        assert!(states.len() >= most, "a search that ends early had nothing to do");
    }
}

#[test]
fn answers_that_say_little() {
    search(
        "answers",
        &[TURNS, HABITS, &USERS[1..3], &GROUPS[..2]],
        100,
        3_000,
    );
}

#[test]
fn crashes_between_any_two_things() {
    search(
        "parts",
        &[PARTS, &HABITS[..2], &USERS[1..2], &GROUPS[..1]],
        100,
        3_000,
    );
}

#[test]
fn somebody_else_writes() {
    search("others", &[TURNS, OTHERS, &USERS[..2]], 40, 2_000);
}

#[test]
fn reads_that_come_late_or_short() {
    search("views", &[TURNS, VIEWS, USERS, &GROUPS[2..]], 40, 2_000);
}

#[test]
fn bridges_that_do_something_else() {
    search("harm", &[TURNS, HARM, GROUPS, &USERS[1..2]], 40, 2_000);
}

#[test]
fn limits_releases_and_the_clock() {
    search(
        "limits",
        &[&TURNS[..3], CLOCK, &USERS[..3], &OTHERS[..2]],
        100,
        3_000,
    );
}
