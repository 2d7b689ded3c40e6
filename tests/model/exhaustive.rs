//! Every sequence of steps of a small alphabet, up to a length, from some beginnings: breadth first, each state once.
//!
//! Two states are the same where they differ only in what nothing depends on: by how much all times are shifted, and
//! the numbers that versions, generations and probes happen to have.

use std::{
    collections::{HashSet, VecDeque},
    fmt::{self, Write},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;
use testbed::budget;

use crate::{
    bridge::Mode,
    calm::{FINE, Weather},
    cluster::{Edit, Named},
    law::Broken,
    world::{Fate, Step, World},
};

const INTERVAL: u64 = 300;
const THRESHOLD: u8 = 2;

/// Whole passes, and how they may end.
const PASSES: &[Step] = &[
    Step::HearAll,
    Step::Reconcile(Fate::Answered),
    Step::Reconcile(Fate::Lost),
    Step::Reconcile(Fate::AnswerLost),
    Step::Begin(Fate::Lost),
    Step::Restart,
    Step::ArriveLate,
];

/// Passes in their parts, between which something may happen.
const PARTS: &[Step] = &[
    Step::Hear,
    Step::HearOther,
    Step::Begin(Fate::Answered),
    Step::Announce(Fate::Answered),
    Step::Answer,
    Step::Report(Fate::Answered),
];

/// How a part may fail.
const FAILURES: &[Step] = &[
    Step::Begin(Fate::Lost),
    Step::Announce(Fate::AnswerLost),
    Step::Report(Fate::Lost),
    Step::Report(Fate::AnswerLost),
    Step::Restart,
    Step::ArriveLate,
];

/// What happens to the key, here and there.
const KEYS: &[Step] = &[
    Step::Store(Named::Key, 1),
    Step::Store(Named::Key, 2),
    Step::Remove(Named::Key),
    Step::Accept(2),
    Step::Request,
];

/// What happens to the connection.
const OBJECT: &[Step] = &[
    Step::Create,
    Step::Delete { kept: true },
    Step::Edit(Edit::Url),
    Step::Edit(Edit::Suspend(true)),
    Step::Label,
];

const BRIDGE_FAILS: &[Step] = &[Step::Turn(Mode::Up), Step::Turn(Mode::Unavailable)];

/// Fronts that answer in the bridge's place: one that the key is sent to, and one that it is not.
const FRONTS: &[Step] = &[
    Step::Turn(Mode::Up),
    Step::Turn(Mode::Unrouted),
    Step::Turn(Mode::Stranger),
];

const TIME: &[Step] = &[
    Step::UntilDue,
    Step::UntilStale,
    Step::Wait(Duration::from_mins(130)),
    Step::SetClock(3600),
    Step::SetClock(-3600),
];

/// Where a search begins.
struct Beginning {
    name: &'static str,
    steps: &'static [Step],
    /// Time to work in peace after each of the steps.
    work: Duration,
}

const MINUTE: Duration = Duration::from_mins(1);

const BEGINNINGS: &[Beginning] = &[
    Beginning {
        name: "a connection that was just applied",
        steps: &[],
        work: Duration::ZERO,
    },
    Beginning {
        name: "a connection that works",
        steps: &[Step::Label],
        work: MINUTE,
    },
    Beginning {
        name: "a refused key",
        steps: &[Step::Accept(2)],
        work: Duration::from_mins(10),
    },
    Beginning {
        name: "a verdict that is held through a failure",
        steps: &[Step::Label, Step::Turn(Mode::Unavailable), Step::Request],
        work: Duration::from_secs(3),
    },
    Beginning {
        name: "a verdict that is held through the answer of a front",
        steps: &[Step::Label, Step::Turn(Mode::Unrouted), Step::Request],
        work: Duration::from_secs(3),
    },
    Beginning {
        name: "a refused key, and a bridge that has been failing since for three hours",
        steps: &[Step::Accept(2), Step::Request, Step::Turn(Mode::Unavailable)],
        work: Duration::from_hours(3),
    },
    Beginning {
        name: "a refused key, and a stranger who answered since",
        steps: &[Step::Accept(2), Step::Turn(Mode::Stranger), Step::Request],
        work: MINUTE,
    },
    Beginning {
        name: "no Secret",
        steps: &[Step::Remove(Named::Key)],
        work: Duration::from_secs(5),
    },
];

struct Node {
    step: Step,
    before: Option<Arc<Self>>,
}

/// A search, and how far it came.
#[derive(Debug, Default)]
struct Search {
    states: HashSet<u64>,
    transitions: u64,
    /// Sequences of this length have all been tried.
    depth: u32,
}

impl Search {
    fn run(&mut self, beginning: &Beginning, alphabet: &[Step], most: usize) {
        let instant = Instant::now();
        let mut world = World::new(instant, INTERVAL, THRESHOLD);
        for step in beginning.steps {
            world.step(*step).unwrap();
            world.work(beginning.work, FINE, |_| Ok(())).unwrap();
        }
        self.states.insert(fingerprint(&world));
        let mut frontier = VecDeque::from([(world, None::<Arc<Node>>, 0_u32)]);
        while let Some((world, path, depth)) = frontier.pop_front() {
            self.depth = depth;
            for step in alphabet {
                let node = || {
                    Arc::new(Node {
                        step: *step,
                        before: path.clone(),
                    })
                };
                let mut next = world.clone();
                let happened = next
                    .step(*step)
                    .unwrap_or_else(|broken| fail(beginning, &node(), &broken, "then"));
                if !happened {
                    continue;
                }
                self.transitions += 1;
                if !self.states.insert(fingerprint(&next)) {
                    continue;
                }
                check_future(&next, self.states.len())
                    .unwrap_or_else(|(broken, weather)| fail(beginning, &node(), &broken, weather));
                if self.states.len() < most {
                    frontier.push_back((next, Some(node()), depth + 1));
                }
            }
            if self.states.len() >= most {
                break;
            }
        }
    }
}

/// What happens from a state on, if nothing else does. Storms take turns: each state meets one of them.
fn check_future(world: &World, number: usize) -> Result<(), (Broken, &'static str)> {
    world
        .clone()
        .check_truth_arrives()
        .map_err(|broken| (broken, "then everything stays as it is"))?;
    let (writes, clock_jumps, words) = [
        (Fate::Lost, false, "then no write arrives"),
        (Fate::AnswerLost, false, "then no write is answered"),
        (Fate::Answered, true, "then the clock jumps with each pass"),
    ][number % 3];
    world
        .clone()
        .check_storm(Weather { writes, clock_jumps })
        .map_err(|broken| (broken, words))
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
        let mut search = Search::default();
        search.run(beginning, &alphabet, most);
        println!(
            "{name}, from {}: {} states, {} transitions; every sequence of {} of {} steps",
            beginning.name,
            search.states.len(),
            search.transitions,
            search.depth,
            alphabet.len()
        );
        assert!(
            search.states.len() >= most,
            "a search that ends early had nothing to do"
        );
    }
}

/// Keys change, writes fail, the operator dies, the bridge fails, the clock jumps.
#[test]
fn whole_passes_and_all_that_goes_wrong() {
    search("whole passes", &[PASSES, KEYS, BRIDGE_FAILS, TIME], 150, 3_000);
}

/// Fronts come and go.
#[test]
fn fronts_that_come_and_go() {
    search("fronts", &[PASSES, FRONTS, &KEYS[3..], TIME], 150, 3_000);
}

/// The connection and its key change while a pass is at any point.
#[test]
fn changes_at_any_point_of_a_pass() {
    search(
        "changes in between",
        &[PARTS, OBJECT, &KEYS[1..2], &TIME[..1]],
        150,
        3_000,
    );
}

/// Calls fail and processes die while a pass is at any point.
#[test]
fn failures_at_any_point_of_a_pass() {
    search(
        "failures in between",
        &[PARTS, FAILURES, &KEYS[1..2], &TIME[..1]],
        150,
        3_000,
    );
}

/// The state of a world, as a number.
fn fingerprint(world: &World) -> u64 {
    let mut text = String::with_capacity(16 * 1024);
    write!(text, "{world:?}").unwrap();
    let mut hasher = DefaultHasher::new();
    normalized(&text, world.now, world.instant).hash(&mut hasher);
    hasher.finish()
}

/// What stands in a text, with times told from now, and numbers by their rank among their like.
fn normalized(text: &str, now: Timestamp, instant: Instant) -> String {
    let base = nanoseconds(&format!("{instant:?}"));
    let mut ranks: Vec<&str> = numbers(text).collect();
    ranks.sort_unstable();
    ranks.dedup();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit() || c == 'I') {
        out.push_str(&rest[..at]);
        let inner = &rest[at..];
        let used = if inner.starts_with("Instant {") {
            let end = inner.find('}').unwrap_or(inner.len() - 1) + 1;
            let past = nanoseconds(&inner[..end]) - base;
            let _ = write!(out, "i{}", bounded(past));
            end
        } else if let Some((time, length)) = timestamp(inner) {
            let past = time.duration_since(now).as_nanos();
            // Of a transition only matters whether half a minute has gone by since.
            let past = if out.ends_with("last_transition_time: Time(") {
                past.max(-31_000_000_000)
            } else {
                past
            };
            let _ = write!(out, "t{}", bounded(past));
            length
        } else {
            let length = inner
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(inner.len())
                .max(1);
            let number = &inner[..length];
            match ranks.binary_search(&number) {
                Ok(rank) if number.len() == 10 => {
                    let _ = write!(out, "n{rank}");
                }
                _ => out.push_str(number),
            }
            length
        };
        rest = &inner[used..];
    }
    out.push_str(rest);
    out
}

/// Times beyond every delay and validity are all alike.
fn bounded(nanoseconds: i128) -> i128 {
    const MOST: i128 = 4 * 3_600 * 1_000_000_000;
    nanoseconds.clamp(-MOST, MOST)
}

/// The numbers of ten digits, in words that consist of digits.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_digit())
        .filter(|number| number.len() == 10)
}

/// `2026-03-03T14:06:56Z`, perhaps with a fraction.
fn timestamp(text: &str) -> Option<(Timestamp, usize)> {
    let bytes = text.as_bytes();
    if bytes.get(4) != Some(&b'-') || bytes.get(10) != Some(&b'T') {
        return None;
    }
    let length = text.find('Z')? + 1;
    text[..length].parse().ok().map(|time| (time, length))
}

/// The number of nanoseconds in `Instant { tv_sec: 1, tv_nsec: 2 }`.
fn nanoseconds(text: &str) -> i128 {
    let mut parts = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .map(|part| part.parse::<i128>().unwrap());
    parts.next().unwrap() * 1_000_000_000 + parts.next().unwrap()
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.step)
    }
}

/// Worlds that differ by a shift of time and numbers are the same; others are not.
#[test]
fn the_same_state_is_known_again() {
    let instant = Instant::now();
    let mut world = World::new(instant, INTERVAL, THRESHOLD);
    // The same, under other numbers and at another time: the same one in the interval, for slots are times of day.
    let mut twin = World::new(instant, INTERVAL, THRESHOLD);
    for step in [Step::SetClock(41 * 300), Step::Label, Step::Label, Step::HearAll] {
        twin.step(step).unwrap();
    }
    world.step(Step::HearAll).unwrap();
    for each in [&mut world, &mut twin] {
        each.work(MINUTE, FINE, |_| Ok(())).unwrap();
    }
    let text = |world: &World| normalized(&format!("{world:?}"), world.now, world.instant);
    assert_eq!(text(&world), text(&twin));
    assert_ne!(format!("{world:?}"), format!("{twin:?}"));
    for step in [
        Step::Wait(Duration::from_secs(1)),
        Step::Store(Named::Key, 1),
        Step::Label,
        Step::SetClock(1),
    ] {
        let mut other = world.clone();
        other.step(step).unwrap();
        assert_ne!(text(&other), text(&world), "{step:?}");
    }
}
