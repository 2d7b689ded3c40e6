//! What holds for every directory, every set of wishes and every limit.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select, subsequence},
    test_runner::RngSeed,
};
use scim_bridge_operator::domain::directory::{
    act::{Act, Change, Host, Joiner, RemovalCause},
    budget::{DigestKey, Kind, Limits, Spent},
    census::Census,
    ledger::Ledger,
    names::{ObjectId, UserName, fold},
    plan::{Directory, Plan, Policy, plan},
    render::Summary,
    snapshot::{Activity, Group, GroupEntry, MemberEntry, Members, Snapshot, User, UserEntry},
    verdict::{Reason, Subject, Verdict},
    wish::{Adopt, GroupFields, GroupWish, Membership, State, UserFields, UserWish, Wishes},
};

use crate::world::{Bridge, at, brief, census_without, id, listing, plan_for, policy, unlimited, whole};

/// Few names, so that wishes and accounts meet: in other case, out of the scope, protected.
const NAMES: [&str; 9] = [
    "ada@example.com",
    "ADA@example.com",
    "kim@example.com",
    "kim@Example.Com",
    "bo@example.com",
    "lin@example.com",
    "out@example.org",
    "owner@example.com",
    "OWNER@example.com",
];
const GROUPS: [&str; 6] = ["k8s-a", "K8S-a", "k8s-b", "k8s-c", "other", "k8s-protected"];
const USER_IDS: [&str; 7] = ["A", "B", "C", "D", "E", "F", "G"];
const GROUP_IDS: [&str; 4] = ["1", "2", "3", "4"];
const GIVEN: [&str; 2] = ["Augusta", "Grace"];
const NOW: i64 = 1_000;

/// One directory with everything that is said about it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) bridge: Bridge,
    pub(crate) wishes: Wishes,
    pub(crate) census: Census,
}

fn activity() -> impl Strategy<Value = Activity> {
    select(vec![
        Activity::Active,
        Activity::Active,
        Activity::Suspended,
        Activity::Unsaid,
    ])
}

fn user_entry(number: &'static str, names: &'static [&'static str]) -> impl Strategy<Value = UserEntry> {
    (
        option::weighted(0.95, select(names)),
        activity(),
        select(&GIVEN[..]),
    )
        .prop_map(move |(name, active, given)| UserEntry {
            id: id(number),
            user_name: name.map(Into::into),
            active,
            given_name: Some(given.into()),
            family_name: Some("Lovelace".into()),
            groups: None,
        })
}

fn group_entry(number: &'static str) -> impl Strategy<Value = GroupEntry> {
    let value = prop_oneof![
        8 => select(&USER_IDS[..]),
        1 => select(&NAMES[..]),
        1 => Just("nobody"),
    ];
    let member = (value, prop::bool::weighted(0.05)).prop_map(|(value, is_group)| MemberEntry {
        value: value.into(),
        is_group,
    });
    (select(&GROUPS[..]), option::weighted(0.8, vec(member, 0..6))).prop_map(move |(name, members)| {
        GroupEntry {
            id: id(number),
            display_name: Some(name.into()),
            members: members.map(|mut members| {
                members.sort();
                members.dedup();
                members
            }),
        }
    })
}

fn users() -> impl Strategy<Value = Vec<UserEntry>> {
    subsequence(&USER_IDS[..6], 0..=6).prop_flat_map(|ids| {
        ids.into_iter()
            .map(|number| user_entry(number, &NAMES))
            .collect::<Vec<_>>()
    })
}

fn groups() -> impl Strategy<Value = Vec<GroupEntry>> {
    subsequence(&GROUP_IDS[..], 0..=4)
        .prop_flat_map(|ids| ids.into_iter().map(group_entry).collect::<Vec<_>>())
}

fn adopt() -> impl Strategy<Value = Adopt> {
    select(&[Adopt::IfUnchanged, Adopt::Always, Adopt::Never][..])
}

fn user_wish() -> impl Strategy<Value = UserWish> {
    (
        option::of(select(&USER_IDS[..])),
        select(&NAMES[..]),
        select(&GIVEN[..]),
        select(&[State::Active, State::Suspended][..]),
        option::weighted(0.3, NOW - 2..NOW + 3),
        adopt(),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(known, name, given_name, state, until, adopt, paused)| {
            UserWish::parse(&UserFields {
                uid: "",
                id: known,
                user_name: name,
                given_name,
                family_name: "Lovelace",
                state,
                active_until: until.map(at),
                adopt,
                paused,
            })
            .unwrap()
        })
}

fn group_wish() -> impl Strategy<Value = GroupWish> {
    let member = (select(&NAMES[..]), option::weighted(0.3, NOW - 2..NOW + 3));
    (
        option::of(select(&GROUP_IDS[..])),
        select(&GROUPS[..]),
        select(&[Membership::Additive, Membership::Exact][..]),
        vec(member, 0..5),
        subsequence(&USER_IDS[..], 0..=4),
        adopt(),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(known, name, membership, members, added, adopt, paused)| {
            let mut names = BTreeSet::new();
            let members: Vec<_> = members
                .into_iter()
                .filter(|(name, _)| names.insert(fold(name)))
                .map(|(name, until)| (name, until.map(at)))
                .collect();
            GroupWish::parse(&GroupFields {
                uid: "",
                id: known,
                display_name: name,
                membership,
                members: &members,
                added: &added,
                adopt,
                paused,
            })
            .unwrap()
        })
}

/// Each object has a uid that says nothing.
fn number(mut wishes: Wishes) -> Wishes {
    for (number, wish) in wishes.users.iter_mut().enumerate() {
        wish.object = ObjectId::new(&format!("u{number:02}"));
    }
    for (number, wish) in wishes.groups.iter_mut().enumerate() {
        wish.object = ObjectId::new(&format!("g{number:02}"));
    }
    wishes
}

pub(crate) fn case() -> impl Strategy<Value = Case> {
    (
        (users(), groups()),
        (vec(user_wish(), 0..7), vec(group_wish(), 0..4)),
        select(vec!["", "G", "G 4"]),
    )
        .prop_map(|((users, groups), (user_wishes, group_wishes), gone)| Case {
            bridge: Bridge {
                users,
                groups,
                ..Bridge::default()
            },
            wishes: number(Wishes {
                users: user_wishes,
                groups: group_wishes,
            }),
            census: census_without(gone),
        })
}

/// One account for each name and one object for each account, whose name is the account's: nothing is ambiguous.
fn tidy_case() -> impl Strategy<Value = Case> {
    let user = |(number, name): (&'static str, &'static str)| {
        let entry = (activity(), select(&GIVEN[..])).prop_map(move |(active, given)| UserEntry {
            id: id(number),
            user_name: Some(name.into()),
            active,
            given_name: Some(given.into()),
            family_name: Some("Lovelace".into()),
            groups: None,
        });
        let wish = option::weighted(0.8, (user_wish(), any::<bool>())).prop_map(move |wish| {
            wish.map(|(wish, is_known)| UserWish {
                known: is_known.then(|| id(number)),
                user_name: UserName::parse(name).unwrap(),
                ..wish
            })
        });
        (entry, wish)
    };
    let people = [
        ("A", "ada@example.com"),
        ("B", "Kim@example.com"),
        ("C", "bo@example.com"),
        ("D", "out@example.org"),
        ("E", "owner@example.com"),
    ];
    (
        people.into_iter().map(user).collect::<Vec<_>>(),
        groups(),
        vec(group_wish(), 0..4),
        select(vec!["", "G"]),
    )
        .prop_map(|(people, groups, group_wishes, gone)| {
            let (users, user_wishes): (Vec<_>, Vec<_>) = people.into_iter().unzip();
            Case {
                bridge: Bridge {
                    users,
                    groups,
                    ..Bridge::default()
                },
                wishes: number(Wishes {
                    users: user_wishes.into_iter().flatten().collect(),
                    groups: group_wishes,
                }),
                census: census_without(gone),
            }
        })
}

fn is_in_scope(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with("@example.com")
}

fn is_group_in_scope(name: &str) -> bool {
    name.to_ascii_lowercase().starts_with("k8s-")
}

fn is_owner(name: &str) -> bool {
    name.to_ascii_lowercase().contains("owner")
}

fn is_same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Whether an object of a user wants this account suspended.
fn wants_suspended(wish: &UserWish, user: &User) -> bool {
    let is_it = match &wish.known {
        Some(known) => *known == user.id,
        None => user
            .user_name
            .as_deref()
            .is_some_and(|name| is_same(name, wish.user_name.as_str())),
    };
    let is_suspended =
        wish.state == State::Suspended || wish.active_until.is_some_and(|until| until <= at(NOW));
    is_it && is_suspended
}

/// What every removal has to be.
fn check_removal(
    wishes: &Wishes,
    wish: &GroupWish,
    (group, user): (&Group, &User),
    cause: RemovalCause,
) -> Result<(), TestCaseError> {
    let name = user.user_name.as_deref().unwrap_or_default();
    let group_name = group.display_name.as_deref().unwrap_or_default();
    prop_assert!(is_in_scope(name) && !is_owner(name), "{}", name);
    prop_assert!(is_group_in_scope(group_name) && group_name != "k8s-protected");
    let is_ours = wish.added.contains(&user.id);
    prop_assert!(is_ours || wish.membership == Membership::Exact, "not ours");
    let entry = wish
        .members
        .iter()
        .find(|member| is_same(member.user_name.as_str(), name));
    match cause {
        RemovalCause::Suspended => {
            prop_assert!(wishes.users.iter().any(|wish| wants_suspended(wish, user)));
        }
        RemovalCause::Expired => {
            prop_assert!(wish.members.iter().any(|member| !member.is_current(at(NOW))));
        }
        RemovalCause::NotListed => {
            let is_listed = entry.is_some_and(|entry| entry.is_current(at(NOW)));
            // Unless an object gives the name to another account.
            let is_other = wishes.users.iter().any(|wish| {
                is_same(wish.user_name.as_str(), name)
                    && wish.known.as_ref().is_some_and(|known| *known != user.id)
            });
            prop_assert!(!is_listed || is_other, "is listed");
        }
    }
    Ok(())
}

/// What every addition has to be: nobody is added before a read or the plan itself has made the account active.
fn check_addition(
    plan: &Plan<'_>,
    case: &Case,
    group: Host<'_>,
    joiner: Joiner<'_>,
) -> Result<(), TestCaseError> {
    let is_planned = |change: &Change<'_>| {
        plan.acts
            .iter()
            .chain(&plan.held)
            .any(|act| act.change == *change)
    };
    let (name, user) = match joiner {
        Joiner::Active(user) => {
            prop_assert_eq!(user.active, Activity::Active, "only who is proven active");
            (user.user_name.as_deref().unwrap(), Some(user))
        }
        Joiner::Returning(user) => {
            prop_assert!(is_planned(&Change::Reactivate { user }), "follows nothing");
            (user.user_name.as_deref().unwrap(), Some(user))
        }
        Joiner::Coming(wish) => {
            prop_assert!(is_planned(&Change::CreateUser { wish }), "follows nothing");
            (wish.user_name.as_str(), None)
        }
    };
    prop_assert!(is_in_scope(name));
    if let Some(user) = user {
        prop_assert!(!case.wishes.users.iter().any(|wish| wants_suspended(wish, user)));
    }
    match group {
        Host::Present(group) => {
            prop_assert!(is_group_in_scope(group.display_name.as_deref().unwrap()));
            let mut groups = case.bridge.groups.iter();
            let shown = groups.find(|entry| entry.id == group.id).unwrap();
            let is_member = shown.members.iter().flatten().any(|member| {
                // A value that no account has does not stand for a later account of that name.
                let is_it = |user: &User| *member.value == *user.id.as_str() || is_same(&member.value, name);
                !member.is_group && user.is_some_and(is_it)
            });
            prop_assert!(!is_member, "is a member already");
        }
        Host::Coming(wish) => prop_assert!(is_planned(&Change::CreateGroup { wish }), "follows nothing"),
    }
    Ok(())
}

/// The rules that every act obeys.
pub(crate) fn check(plan: &Plan<'_>, case: &Case, snapshot: &Snapshot) -> Result<(), TestCaseError> {
    let Case { wishes, .. } = case;
    let mut seen = BTreeSet::new();
    for act in plan.acts.iter().chain(&plan.held) {
        prop_assert!(seen.insert(brief(act)), "twice: {}", brief(act));
        let user_wish = wishes.users.iter().find(|wish| wish.object == *act.object);
        let group_wish = wishes.groups.iter().find(|wish| wish.object == *act.object);
        prop_assert!(user_wish.is_none_or(|wish| !wish.paused) && group_wish.is_none_or(|wish| !wish.paused));
        match &act.change {
            Change::Suspend { user } => {
                let name = user.user_name.as_deref().unwrap();
                prop_assert!(is_in_scope(name) && !is_owner(name), "{name}");
                prop_assert!(user.active != Activity::Suspended);
                prop_assert!(wants_suspended(user_wish.unwrap(), user), "nobody wrote it");
            }
            Change::Remove { group, user, cause } => {
                check_removal(wishes, group_wish.unwrap(), (group, user), *cause)?;
            }
            Change::RenameUser { user, user_name, .. } => {
                let name = user.user_name.as_deref().unwrap();
                prop_assert!(is_in_scope(name) && !is_owner(name), "{name}");
                if let Some(new) = user_name {
                    prop_assert!(is_in_scope(new.as_str()) && !is_owner(new.as_str()));
                    prop_assert!(!is_same(new.as_str(), name), "case alone is nothing to correct");
                    prop_assert_eq!(user_wish.unwrap().known.as_ref(), Some(&user.id), "by id only");
                    let is_free = snapshot.users().iter().all(|other| {
                        other
                            .user_name
                            .as_deref()
                            .is_none_or(|other| !is_same(other, new.as_str()))
                    });
                    prop_assert!(is_free, "somebody has this name");
                }
            }
            Change::RenameGroup { group, display_name } => {
                let name = group.display_name.as_deref().unwrap();
                prop_assert!(is_group_in_scope(name) && is_group_in_scope(display_name.as_str()));
                prop_assert!(name != "k8s-protected" && display_name.as_str() != "k8s-protected");
                prop_assert!(!is_same(display_name.as_str(), name));
            }
            Change::Reactivate { user } => {
                let name = user.user_name.as_deref().unwrap();
                prop_assert!(is_in_scope(name) && !is_owner(name) && user.active == Activity::Suspended);
                prop_assert!(!wishes.users.iter().any(|wish| wants_suspended(wish, user)));
            }
            Change::CreateUser { wish } => {
                let name = wish.user_name.as_str();
                prop_assert!(is_in_scope(name) && !is_owner(name) && wish.known.is_none());
                let is_free = snapshot.users().iter().all(|other| {
                    other
                        .user_name
                        .as_deref()
                        .is_none_or(|other| !is_same(other, name))
                });
                prop_assert!(is_free, "a second account");
            }
            Change::CreateGroup { wish } => {
                let name = wish.display_name.as_str();
                prop_assert!(is_group_in_scope(name) && name != "k8s-protected" && wish.known.is_none());
                let is_free = snapshot.groups().iter().all(|other| {
                    other
                        .display_name
                        .as_deref()
                        .is_none_or(|other| !is_same(other, name))
                });
                prop_assert!(is_free, "a second group");
            }
            Change::Add { group, user } => {
                check_addition(plan, case, *group, *user)?;
                let is_additive = group_wish.unwrap().membership == Membership::Additive;
                prop_assert!(
                    snapshot.members_read_by().is_some() || is_additive,
                    "nobody knows who is a member"
                );
                let is_ours = user.id().is_some_and(|id| group_wish.unwrap().added.contains(id));
                let is_seen = match group {
                    Host::Present(group) => matches!(group.members, Members::Listed { .. }),
                    Host::Coming(_) => true,
                };
                prop_assert!(!is_ours || is_seen, "may be a member already");
            }
        }
    }
    Ok(())
}

fn texts(plan: &Plan<'_>) -> Vec<String> {
    plan.acts.iter().chain(&plan.held).map(brief).collect()
}

/// Suspensions and removals: what takes something away from a person.
fn takings(plan: &Plan<'_>) -> BTreeSet<String> {
    plan.acts
        .iter()
        .chain(&plan.held)
        .filter(|act| matches!(act.change.kind(), Kind::Suspension | Kind::Removal))
        .map(|act| match &act.change {
            // Why may differ: a user who is no longer listed may be suspended, too.
            Change::Remove { group, user, .. } => format!("{}/{}", group.id.as_str(), user.id.as_str()),
            Change::Suspend { .. }
            | Change::RenameUser { .. }
            | Change::RenameGroup { .. }
            | Change::Reactivate { .. }
            | Change::CreateUser { .. }
            | Change::CreateGroup { .. }
            | Change::Add { .. } => brief(act),
        })
        .collect()
}

fn limits() -> impl Strategy<Value = Limits> {
    let limit = || option::weighted(0.8, 0_u32..4);
    (limit(), limit(), limit(), limit(), limit()).prop_map(
        |(suspensions, removals, renames, creations, additions)| Limits {
            suspensions,
            removals,
            renames,
            creations,
            additions,
        },
    )
}

fn shuffled<T: Clone>(items: &[T], order: &[Index]) -> Vec<T> {
    let mut left = items.to_vec();
    let mut taken = Vec::new();
    let mut order = order.iter().cycle();
    while !left.is_empty() {
        let place = order.next().map_or(0, |index| index.index(left.len()));
        taken.push(left.remove(place));
    }
    taken
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: testbed::budget(400, 50_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(testbed::seed()), ..config() })]

    /// No wish leads to an act outside of the scope, against protection, or without a cause.
    #[test]
    fn every_act_is_allowed_and_asked_for(case in case()) {
        let snapshot = case.bridge.snapshot();
        for policy in [policy(), unlimited()] {
            let plan = plan_for(&case.wishes, &snapshot, &case.census, &policy, at(NOW));
            check(&plan, &case, &snapshot)?;
            prop_assert_eq!(plan.verdicts.len(), case.wishes.users.len() + case.wishes.groups.len());
        }
    }

    /// No kind goes beyond its limit, and what is held is all of its kind.
    #[test]
    fn limits_hold(
        case in case(),
        limits in limits(),
        sent in vec((select(&Kind::ALL[..]), 0_i64..5_000, 0_u32..3), 0..4),
        release in any::<bool>(),
    ) {
        let snapshot = case.bridge.snapshot();
        let directory = Directory { snapshot: &snapshot, census: &case.census };
        let mut spent = Spent::default();
        for (kind, ago, count) in sent {
            spent.record(kind, at(NOW - ago), count);
        }
        let ledger = Ledger::new(spent.clone(), at(NOW));
        let mut policy = Policy { limits, ..policy() };
        let first = plan(&case.wishes, Ok(directory), &policy, &ledger, at(NOW));
        if release {
            policy.released = first.pending.iter().filter(|pending| pending.held).take(1).map(|pending| pending.digest).collect();
        }
        let plan = plan(&case.wishes, Ok(directory), &policy, &ledger, at(NOW));
        for kind in Kind::ALL {
            let is_held = |kind| plan.pending.iter().any(|pending| pending.kind == kind && pending.held);
            // What follows a creation waits with it.
            let waits = |act: &Act<'_>| act.change.follows_creation() && is_held(Kind::Creation);
            let count = |acts: &[Act<'_>], is_waiting| {
                let mut acts = acts.iter().filter(|act| act.change.kind() == kind).collect::<Vec<_>>();
                acts.retain(|act| (!is_held(kind) && waits(act)) == is_waiting);
                acts.len()
            };
            let (sent, held) = (count(&plan.acts, false), count(&plan.held, false));
            prop_assert_eq!(count(&plan.acts, true), 0, "before its creation");
            prop_assert!(sent == 0 || held == 0, "all or none");
            let pending = plan.pending.iter().find(|pending| pending.kind == kind);
            let count = sent + held + count(&plan.held, true);
            prop_assert_eq!(pending.map_or(0, |pending| pending.count as usize), count);
            prop_assert_eq!(pending.is_some_and(|pending| pending.held), held > 0);
            if let (Some(limit), Some(pending)) = (policy.limits.get(kind), pending) {
                let left = limit.saturating_sub(spent.within(kind, at(NOW)));
                let is_released = policy.released.contains(&pending.digest);
                prop_assert_eq!(pending.left, Some(left));
                prop_assert_eq!(held > 0, pending.count > left && !is_released);
                prop_assert!(is_released || sent <= left as usize, "{} above {}", sent, left);
            }
        }
        for verdict in &plan.verdicts {
            let has_held = plan.held.iter().any(|act| act.object == verdict.object);
            prop_assert!(!has_held || verdict.reason == Reason::Held);
        }
    }

    /// Suspensions, removals, renames, creations, additions.
    #[test]
    fn acts_are_in_order(case in case()) {
        let snapshot = case.bridge.snapshot();
        let plan = plan_for(&case.wishes, &snapshot, &case.census, &unlimited(), at(NOW));
        let place = |act: &Act<'_>| {
            let is_later = matches!(act.change, Change::Remove { cause, .. } if cause != RemovalCause::Suspended);
            (act.change.kind(), is_later)
        };
        prop_assert!(plan.acts.is_sorted_by_key(place), "{:?}", texts(&plan));
        prop_assert!(plan.pending.is_sorted_by_key(|pending| pending.kind));
    }

    /// The order of wishes, of members and of lists, and the size of pages change nothing.
    #[test]
    fn order_does_not_matter(case in case(), order in vec(any::<Index>(), 8), size in 1_usize..4) {
        let Case { bridge, wishes, census } = &case;
        let one = bridge.snapshot();
        let mut other_wishes = Wishes {
            users: shuffled(&wishes.users, &order),
            groups: shuffled(&wishes.groups, &order),
        };
        for wish in &mut other_wishes.groups {
            wish.members = shuffled(&wish.members, &order);
        }
        let (users, groups) = (shuffled(&bridge.users, &order), shuffled(&bridge.groups, &order));
        let other = Snapshot::new(listing(&users, size), listing(&groups, size), Vec::new());
        let one = plan_for(wishes, &one, census, &policy(), at(NOW));
        let other = plan_for(&other_wishes, &other, census, &policy(), at(NOW));
        prop_assert_eq!(whole(&one), whole(&other));
        prop_assert_eq!(&one.pending, &other.pending, "digests, too");
        // The places of entries are those in the list.
        let without_places = |plan: &Plan<'_>| {
            let mut lines = Vec::new();
            for verdict in &plan.verdicts {
                lines.push((format!("{:?}", Verdict { entries: Vec::new(), ..verdict.clone() }), verdict.entries.len()));
            }
            lines
        };
        prop_assert_eq!(without_places(&one), without_places(&other));
        prop_assert_eq!(one.totals, other.totals);
    }

    /// What was done is not done again, and soon there is nothing left to do.
    #[test]
    fn a_plan_that_was_carried_out_is_empty(case in case()) {
        let Case { mut bridge, mut wishes, census } = case;
        // Who is renamed to what a list of members calls nobody joins by that.
        let is_nobody = |name: &str| {
            let is_it = |user: &UserEntry| user.user_name.as_deref().is_some_and(|shown| is_same(shown, name));
            !bridge.users.iter().any(is_it)
        };
        let members = || bridge.groups.iter().flat_map(|group| group.members.iter().flatten());
        let joins = |wish: &UserWish| members().any(|member| is_same(&member.value, wish.user_name.as_str()));
        if wishes.users.iter().any(|wish| wish.known.is_some() && is_nobody(wish.user_name.as_str()) && joins(wish)) {
            return Ok(());
        }
        let mut done = BTreeSet::new();
        for round in 0..6 {
            let snapshot = bridge.snapshot();
            let plan = plan_for(&wishes, &snapshot, &census, &unlimited(), at(NOW));
            if plan.acts.is_empty() && plan.verdicts.iter().all(|verdict| !verdict.adopts) {
                for verdict in &plan.verdicts {
                    let is_paused = wishes.users.iter().any(|wish| wish.object == *verdict.object && wish.paused)
                        || wishes.groups.iter().any(|wish| wish.object == *verdict.object && wish.paused);
                    let is_waiting = matches!(verdict.subject, Subject::Group(_));
                    prop_assert!(is_paused || is_waiting || verdict.reason != Reason::ChangePlanned);
                }
                return Ok(());
            }
            for text in texts(&plan) {
                prop_assert!(done.insert(text.clone()), "again in round {}: {}", round, text);
            }
            let next = bridge.apply(&plan, &wishes);
            wishes = next;
        }
        prop_assert!(false, "there is no end: {:?}", done);
    }

    /// Whoever is missing from a list, and whatever object is deleted: nothing is taken from anybody because of it.
    #[test]
    fn absence_takes_nothing_away(
        case in tidy_case(),
        user in any::<Index>(),
        group in any::<Index>(),
        object in any::<Index>(),
        what in 0..4,
    ) {
        let snapshot = case.bridge.snapshot();
        let before = takings(&plan_for(&case.wishes, &snapshot, &case.census, &unlimited(), at(NOW)));
        let mut less = case.clone();
        match what {
            0 => drop(less.bridge.users.remove(user.index(less.bridge.users.len()))),
            1 if !less.bridge.groups.is_empty() => {
                let group = group.index(less.bridge.groups.len());
                // One of two groups of a name would no longer be ambiguous: only complete lists are planned with.
                let name = less.bridge.groups.remove(group).display_name.unwrap();
                let is_name = |other: &GroupEntry| is_same(other.display_name.as_deref().unwrap(), &name);
                if less.bridge.groups.iter().any(is_name) {
                    return Ok(());
                }
            }
            2 if !less.wishes.users.is_empty() => {
                less.wishes.users.remove(object.index(less.wishes.users.len()));
            }
            3 if !less.wishes.groups.is_empty() => {
                let gone = less.wishes.groups.remove(object.index(less.wishes.groups.len()));
                let is_rival = |other: &GroupWish| {
                    other.known == gone.known || is_same(other.display_name.as_str(), gone.display_name.as_str())
                };
                // With one of two objects gone, the other one's word counts.
                if less.wishes.groups.iter().any(is_rival) {
                    return Ok(());
                }
                let stands_for = |index: Option<&GroupEntry>| index.is_some();
                let by_name = case.bridge.groups.iter().find(|group| {
                    is_same(group.display_name.as_deref().unwrap(), gone.display_name.as_str())
                        && less.wishes.groups.iter().any(|wish| wish.known.as_ref() == Some(&group.id))
                });
                let by_id = case.bridge.groups.iter().find(|group| {
                    gone.known.as_ref() == Some(&group.id)
                        && less.wishes.groups.iter().any(|wish| {
                            is_same(group.display_name.as_deref().unwrap(), wish.display_name.as_str())
                        })
                });
                if stands_for(by_name) || stands_for(by_id) {
                    return Ok(());
                }
            }
            _ => {}
        }
        let snapshot = less.bridge.snapshot();
        let plan = plan_for(&less.wishes, &snapshot, &less.census, &unlimited(), at(NOW));
        check(&plan, &less, &snapshot)?;
        let after = takings(&plan);
        prop_assert!(after.is_subset(&before), "new: {:?}", after.difference(&before).collect::<Vec<_>>());
    }

    /// Until the next time that a plan names, the clock changes nothing.
    #[test]
    fn nothing_changes_before_the_next_time(case in case(), ahead in 0_i64..5_000) {
        let snapshot = case.bridge.snapshot();
        let plan = plan_for(&case.wishes, &snapshot, &case.census, &policy(), at(NOW));
        let until = plan.next.map_or(NOW + 5_000, Timestamp::as_second);
        prop_assert!(until > NOW);
        let later = at(until - 1 - ahead.min(until - 1 - NOW));
        let again = plan_for(&case.wishes, &snapshot, &case.census, &policy(), later);
        prop_assert_eq!(whole(&plan), whole(&again));
    }

    /// A digest is of one set: two plans have one digest only where they would send the same.
    #[test]
    fn digests_tell_sets_apart(one in case(), other in case()) {
        let policy = Policy { digest_key: DigestKey::new(&[7; 32]), ..unlimited() };
        let (one_has, other_has) = (one.bridge.snapshot(), other.bridge.snapshot());
        let mut sets = BTreeMap::new();
        for plan in [
            plan_for(&one.wishes, &one_has, &one.census, &policy, at(NOW)),
            plan_for(&other.wishes, &other_has, &other.census, &policy, at(NOW)),
        ] {
            for pending in &plan.pending {
                let acts: Vec<_> = plan.acts.iter().filter(|act| act.change.kind() == pending.kind).map(|act| match &act.change {
                    Change::Remove { group, user, .. } => format!("remove {}/{}", group.id.as_str(), user.id.as_str()),
                    Change::CreateUser { wish } => format!("{} {}", brief(act), wish.given_name.as_str()),
                    Change::RenameUser { given_name, .. } => {
                        format!("{} {}", brief(act), given_name.map_or("", |name| name.as_str()))
                    }
                    Change::Suspend { .. } | Change::RenameGroup { .. } | Change::Reactivate { .. }
                    | Change::CreateGroup { .. } | Change::Add { .. } => brief(act),
                }).collect();
                let before = sets.insert(pending.digest.to_string(), acts.clone());
                prop_assert!(before.is_none_or(|before| before == acts));
            }
        }
    }

    /// What a status may say holds no name.
    #[test]
    fn counts_hold_no_name(case in case()) {
        let snapshot = case.bridge.snapshot();
        let plan = plan_for(&case.wishes, &snapshot, &case.census, &policy(), at(NOW));
        let shown = format!("{} {plan:?} {:?} {:?}", Summary(&plan), case.wishes, case.bridge);
        for name in ["example", "k8s", "Augusta", "Lovelace"] {
            prop_assert!(!shown.contains(name), "{}", shown);
        }
    }
}
