//! Lists that lie: cut short, doubled, reordered, repeated, empty, with totals that change, with names in other case.
//!
//! A list that lies is found out, or its lie takes nothing from anybody.

use proptest::{prelude::*, test_runner::RngSeed};
use scim_bridge_operator::domain::directory::{
    budget::Kind,
    census::{Census, Presence},
    ledger::Ledger,
    names::RemoteId,
    plan::{Directory, plan},
    snapshot::{GroupEntry, Snapshot, UserEntry},
    walk::{Ask, Entry, Incomplete, Listing, Page, PageFault, Progress, Walk},
};
use testbed::Dice;

use crate::world::{Bridge, at, taken, unlimited, wishes};

/// A server and its habit.
struct Server<'a, T> {
    entries: &'a [T],
    /// The server sends at most this many entries in one page.
    size: usize,
    habit: Habit,
}

/// What a server always does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// As RFC 7644 has it.
    Sound,
    /// Every index is answered with the first page.
    FirstPageOnly,
    /// An index beyond the end is answered with the last page.
    LastPageBeyond,
    /// The order changes from request to request.
    AnyOrder,
    /// The total is the size of the page.
    TotalOfPage,
    /// Nothing is there.
    Vanished,
    /// One entry is missing from list and total alike.
    OneLost,
}

const HABITS: [Habit; 6] = [
    Habit::Sound,
    Habit::Sound,
    Habit::FirstPageOnly,
    Habit::LastPageBeyond,
    Habit::AnyOrder,
    Habit::TotalOfPage,
];

/// Changes that happen to one answer.
trait Faulty: Entry + Clone {
    /// Says the same in other letters.
    fn change_case(&mut self);
}

fn swap_case(text: &mut Option<Box<str>>) {
    if let Some(name) = text {
        *name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            name.to_ascii_lowercase().into()
        } else {
            name.to_ascii_uppercase().into()
        };
    }
}

impl Faulty for UserEntry {
    fn change_case(&mut self) {
        swap_case(&mut self.user_name);
    }
}

impl Faulty for GroupEntry {
    fn change_case(&mut self) {
        swap_case(&mut self.display_name);
    }
}

impl<T: Faulty> Server<'_, T> {
    fn page(&self, ask: Ask, dice: &mut Dice) -> Page<T> {
        let Self { entries, size, habit } = self;
        let mut all: Vec<T> = match habit {
            Habit::Vanished => Vec::new(),
            Habit::OneLost => entries.iter().skip(1).cloned().collect(),
            Habit::Sound
            | Habit::FirstPageOnly
            | Habit::LastPageBeyond
            | Habit::AnyOrder
            | Habit::TotalOfPage => entries.to_vec(),
        };
        if *habit == Habit::AnyOrder {
            for place in (1..all.len()).rev() {
                all.swap(place, dice.pick(place + 1));
            }
        }
        let size = (*size).min(ask.count as usize);
        let mut from = usize::try_from(ask.start_index).unwrap() - 1;
        if *habit == Habit::FirstPageOnly {
            from = 0;
        } else if *habit == Habit::LastPageBeyond && from >= all.len() {
            from = all.len().saturating_sub(size);
        }
        let total = all.len() as u64;
        let page: Vec<T> = all.into_iter().skip(from).take(size).collect();
        Page {
            total: if *habit == Habit::TotalOfPage {
                page.len() as u64
            } else {
                total
            },
            entries: page,
        }
    }
}

/// One thing that goes wrong with one answer.
fn spoil<T: Faulty>(mut page: Page<T>, all: &[T], dice: &mut Dice) -> Result<Page<T>, PageFault> {
    let entries = &mut page.entries;
    match dice.below(11) {
        0 => return Err([PageFault::Failed, PageFault::NotAList, PageFault::NoId][dice.pick(3)]),
        1 if !entries.is_empty() => drop(entries.remove(dice.pick(entries.len()))),
        2 if !entries.is_empty() => {
            let twice = entries[dice.pick(entries.len())].clone();
            entries.insert(dice.pick(entries.len()), twice);
        }
        3 if !entries.is_empty() => {
            // One takes the place of another.
            let (from, to) = (dice.pick(entries.len()), dice.pick(entries.len()));
            entries[to] = entries[from].clone();
        }
        4 => entries.reverse(),
        5 => entries.clear(),
        6 => page.total = dice.below(2 * all.len() as u64 + 2),
        7 => page.total = page.total.saturating_sub(1),
        8 => entries.truncate(dice.pick(entries.len() + 1)),
        9 if !entries.is_empty() => {
            let place = dice.pick(entries.len());
            entries[place].change_case();
        }
        10 => return Err(PageFault::TooLarge),
        _ => {}
    }
    Ok(page)
}

/// Reads a list from a server, of whose answers one in so many goes wrong.
fn read<T: Faulty>(server: &Server<'_, T>, one_in: u64, dice: &mut Dice) -> Result<Listing<T>, Incomplete> {
    read_and_hear(server, one_in, dice).0
}

/// The same, and whether any answer had the true total. Where all totals lie alike, no reader can know.
fn read_and_hear<T: Faulty>(
    server: &Server<'_, T>,
    one_in: u64,
    dice: &mut Dice,
) -> (Result<Listing<T>, Incomplete>, bool) {
    let mut walk = Walk::new();
    let mut heard = false;
    loop {
        let mut answer = Ok(server.page(walk.ask(), dice));
        if dice.below(one_in) == 0 {
            answer = answer.and_then(|page| spoil(page, server.entries, dice));
        }
        heard |= answer
            .as_ref()
            .is_ok_and(|page| page.total == server.entries.len() as u64);
        match walk.feed(answer) {
            Progress::More(more) => walk = more,
            Progress::Complete(listing) => return (Ok(listing), heard),
            Progress::Incomplete(reason) => return (Err(reason), heard),
        }
    }
}

/// Fourteen people in four groups. Two are declared suspended, one group is exact, and three objects hold ids.
fn bridge() -> Bridge {
    Bridge::parse(
        "A:ada B:bo C:cy D:di E:ed F:fay G:gil H:hal I:ida J:jo K:kim L:lin.s M:mo O:owner",
        "1:k8s-a[A,B,C,K] 2:k8s-b[D,O] 3:k8s-c[] 4:other[A,B]",
    )
}

const WISHED_USERS: &str = "ada=A bo=B cy=C kim.s=K lin.s=L di=D ed fay gil=G";
const WISHED_GROUPS: &str = "k8s-a.x=1[ada,bo,cy,kim](A,B,K) k8s-b=2[di,ed](D) k8s-c=3[fay]";

/// What may ever be taken away: the one who is declared suspended, from the account and from the group.
fn may_be_taken(text: &str) -> bool {
    text == "suspend K" || text == "remove 1/K (suspended)"
}

/// Reads, believes and plans, many times, with faults. How often a plan was made.
fn live(seed: u64, reads: u32) -> Result<u32, TestCaseError> {
    let mut dice = Dice::from_seed(seed);
    let bridge = bridge();
    let wishes = wishes(WISHED_USERS, WISHED_GROUPS);
    let known: Vec<RemoteId> = wishes
        .users
        .iter()
        .filter_map(|wish| wish.known.clone())
        .chain(wishes.groups.iter().filter_map(|wish| wish.known.clone()))
        .collect();
    let mut census = Census::default();
    let mut now = 1_000;
    let mut plans = 0;
    let mut had_lie = false;
    let policy = unlimited();
    for _ in 0..reads {
        now += i64::from(u16::try_from(dice.below(600)).unwrap_or_default());
        let size = [2, 3, 5, 50, 100][dice.pick(5)];
        let habit = if dice.below(8) == 0 {
            [Habit::Vanished, Habit::OneLost][dice.pick(2)]
        } else {
            HABITS[dice.pick(HABITS.len())]
        };
        let one_in = [1, 2, 4, 1_000_000][dice.pick(4)];
        let (users, heard_users) = read_and_hear(
            &Server {
                entries: &bridge.users,
                size,
                habit,
            },
            one_in,
            &mut dice,
        );
        let (groups, heard_groups) = read_and_hear(
            &Server {
                entries: &bridge.groups,
                size,
                habit,
            },
            one_in,
            &mut dice,
        );
        let (Ok(users), Ok(groups)) = (users, groups) else {
            continue;
        };
        let snapshot = Snapshot::new(users, groups, Vec::new());
        let is_lie =
            snapshot.users().len() != bridge.users.len() || snapshot.groups().len() != bridge.groups.len();
        let may_lie = !(heard_users && heard_groups);
        prop_assert!(
            !is_lie || may_lie,
            "complete, and somebody is missing: {:?}",
            habit
        );
        // Two lies in a row an interval apart are the truth by contract.
        if is_lie && had_lie {
            continue;
        }
        let admitted = census.admit(&snapshot, &known, taken(now));
        had_lie = is_lie || (had_lie && admitted.is_err());
        if admitted.is_err() {
            continue;
        }
        for id in &known {
            prop_assert_eq!(
                census.presence(id),
                Presence::Absent,
                "{:?} is said to be gone",
                id
            );
        }
        let directory = Directory {
            snapshot: &snapshot,
            census: &census,
        };
        let plan = plan(&wishes, Ok(directory), &policy, &Ledger::default(), at(now));
        plans += 1;
        for act in plan.acts.iter().chain(&plan.held) {
            let text = crate::world::brief(act);
            match act.change.kind() {
                Kind::Suspension | Kind::Removal => prop_assert!(may_be_taken(&text), "{}", text),
                Kind::Rename => prop_assert!(false, "{}", text),
                Kind::Creation => prop_assert!(is_lie, "a second account: {}", text),
                Kind::Addition => {}
            }
        }
    }
    Ok(plans)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: testbed::budget(200, 50_000),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(testbed::seed()),
        ..ProptestConfig::default()
    })]

    /// Twenty reads of a bridge whose answers go wrong: nobody is suspended, removed, renamed or taken for gone.
    #[test]
    fn no_fault_of_a_list_takes_anything_from_anybody(seed in any::<u64>()) {
        live(seed, 20)?;
    }

    /// Without a fault, every list is read in full. Neither the size of pages nor the answer beyond the end matters.
    #[test]
    fn sound_lists_are_complete(count in 0_usize..60, size in 1_usize..70, beyond in any::<bool>()) {
        let entries: Vec<UserEntry> = (0..count)
            .flat_map(|number| Bridge::parse(&format!("U{number:03}:u{number}"), "").users)
            .collect();
        let habit = if beyond { Habit::LastPageBeyond } else { Habit::Sound };
        let server = Server { entries: &entries, size, habit };
        let listing = read(&server, 1_000_000_000, &mut Dice::from_seed(1)).unwrap();
        prop_assert_eq!(listing.into_entries(), entries);
    }
}

#[test]
fn plans_are_made_between_the_faults() {
    let plans: u32 = (0..50).map(|seed| live(seed, 20).unwrap()).sum();
    assert!(
        plans > 200,
        "only {plans} of 1000 reads were believed: the faults test nothing"
    );
}

/// The order of the hosted service's lists differs from request to request. Without patience, nobody with more than a
/// page of people would ever have a complete directory.
#[test]
fn a_list_in_any_order_is_read_in_full() {
    let entries: Vec<UserEntry> = (0..500)
        .flat_map(|number| Bridge::parse(&format!("U{number:03}:u{number}"), "").users)
        .collect();
    let server = Server {
        entries: &entries,
        size: 100,
        habit: Habit::AnyOrder,
    };
    let complete = (0..20)
        .filter(|seed| read(&server, 1_000_000_000, &mut Dice::from_seed(*seed)).is_ok())
        .count();
    assert!(complete == 20, "{complete} of 20");
}
