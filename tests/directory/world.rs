//! Directories and wishes in one line, and a bridge in memory.
//!
//! ```text
//! users    A:ada K:kim.s Z:zoe.u      id, name, flags: s suspended, u does not say, g another given name
//! groups   1:k8s-a[A,K] 2:k8s-b       id, name, members; without brackets the key is missing
//! wishes   ada.sp=A<100               name, flags: s suspended, p paused, a Always, n Never; stored id; activeUntil
//! groups   k8s-a.x=1[ada,kim<50](A)   x Exact; members and until when; ids that we added
//! ```
//! A name without `@` is one below `example.com`.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use scim_bridge_operator::domain::directory::{
    act::{Act, Change, Host, Joiner, RemovalCause},
    budget::{Digest, DigestKey, Limits},
    census::{Census, Taken},
    ledger::Ledger,
    names::{RemoteId, fold},
    plan::{Directory, Plan, Policy, plan},
    scope::{Protected, Scope},
    snapshot::{Activity, GroupEntry, MemberEntry, Snapshot, UserEntry},
    walk::{Entry, Listing, Page, Progress, Walk},
    wish::{Adopt, GroupFields, GroupWish, Membership, State, UserFields, UserWish, Wishes},
};

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(crate) fn id(text: &str) -> RemoteId {
    RemoteId::parse(text).unwrap()
}

pub(crate) fn address(name: &str) -> String {
    if name.contains('@') {
        name.to_owned()
    } else {
        format!("{name}@example.com")
    }
}

/// What a bridge has.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bridge {
    pub(crate) users: Vec<UserEntry>,
    pub(crate) groups: Vec<GroupEntry>,
    pub(crate) made: u32,
}

/// A list that was read to its end, in pages of this size.
pub(crate) fn listing<T: Entry + Clone>(entries: &[T], size: usize) -> Listing<T> {
    let mut walk = Walk::new();
    loop {
        let from = usize::try_from(walk.ask().start_index).unwrap() - 1;
        let page = entries.iter().skip(from).take(size).cloned().collect();
        let total = entries.len() as u64;
        match walk.feed(Ok(Page { total, entries: page })) {
            Progress::More(more) => walk = more,
            Progress::Complete(listing) => return listing,
            Progress::Incomplete(reason) => panic!("{reason}"),
        }
    }
}

impl Bridge {
    pub(crate) fn parse(users: &str, groups: &str) -> Self {
        let user = |token: &str| {
            let (number, name) = token.split_once(':').unwrap();
            // Only the last dot begins flags, and only in a name without a domain.
            let (name, flags) = name
                .split_once('.')
                .filter(|_| !name.contains('@'))
                .unwrap_or((name, ""));
            UserEntry {
                id: id(number),
                user_name: Some(address(name).into()),
                active: if flags.contains('s') {
                    Activity::Suspended
                } else if flags.contains('u') {
                    Activity::Unsaid
                } else {
                    Activity::Active
                },
                given_name: Some(if flags.contains('g') { "Other" } else { "Given" }.into()),
                family_name: Some("Family".into()),
                groups: None,
            }
        };
        let group = |token: &str| {
            let (number, name) = token.split_once(':').unwrap();
            let (name, members) = match name.split_once('[') {
                Some((name, members)) => (name, Some(members.trim_end_matches(']'))),
                None => (name, None),
            };
            GroupEntry {
                id: id(number),
                display_name: Some(name.into()),
                members: members.map(|members| {
                    let mut members: Vec<_> = members
                        .split(',')
                        .filter(|member| !member.is_empty())
                        .map(|member| MemberEntry {
                            value: member.trim_start_matches("group:").into(),
                            is_group: member.starts_with("group:"),
                        })
                        .collect();
                    members.sort();
                    members
                }),
            }
        };
        Self {
            users: users.split_whitespace().map(user).collect(),
            groups: groups.split_whitespace().map(group).collect(),
            made: 0,
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot::new(listing(&self.users, 100), listing(&self.groups, 100), Vec::new())
    }

    /// Does what the plan would send, and writes ids and added members into the wishes, as a status keeps them.
    pub(crate) fn apply(&mut self, plan: &Plan<'_>, wishes: &Wishes) -> Wishes {
        let mut next = wishes.clone();
        for verdict in plan.verdicts.iter().filter(|verdict| verdict.adopts) {
            note_id(&mut next, verdict.object.as_str(), verdict.id.unwrap());
        }
        for Act { object, change } in &plan.acts {
            match change {
                Change::Suspend { user } => self.user(&user.id).active = Activity::Suspended,
                Change::Reactivate { user } => self.user(&user.id).active = Activity::Active,
                Change::RenameUser {
                    user,
                    user_name,
                    given_name,
                    family_name,
                } => {
                    let user = self.user(&user.id);
                    if let Some(name) = user_name {
                        user.user_name = Some(name.as_str().into());
                    }
                    if let Some(name) = given_name {
                        user.given_name = Some(name.as_str().into());
                    }
                    if let Some(name) = family_name {
                        user.family_name = Some(name.as_str().into());
                    }
                }
                Change::RenameGroup { group, display_name } => {
                    self.group(&group.id).display_name = Some(display_name.as_str().into());
                }
                Change::CreateUser { wish } => {
                    let new = self.new_id();
                    note_id(&mut next, object.as_str(), &new);
                    self.users.push(UserEntry {
                        id: new,
                        user_name: Some(wish.user_name.as_str().into()),
                        active: Activity::Active,
                        given_name: Some(wish.given_name.as_str().into()),
                        family_name: Some(wish.family_name.as_str().into()),
                        groups: None,
                    });
                }
                Change::CreateGroup { wish } => {
                    let new = self.new_id();
                    note_id(&mut next, object.as_str(), &new);
                    self.groups.push(GroupEntry {
                        id: new,
                        display_name: Some(wish.display_name.as_str().into()),
                        members: None,
                    });
                }
                Change::Add { group, user } => {
                    let group = match group {
                        Host::Present(group) => group.id.clone(),
                        Host::Coming(wish) => {
                            let mut groups = next.groups.iter();
                            let made = groups.find(|made| made.object == wish.object);
                            made.and_then(|made| made.known.clone()).unwrap()
                        }
                    };
                    let user = match user {
                        Joiner::Active(user) | Joiner::Returning(user) => user.id.clone(),
                        Joiner::Coming(wish) => {
                            let mut users = next.users.iter();
                            let made = users.find(|made| made.object == wish.object);
                            made.and_then(|made| made.known.clone()).unwrap()
                        }
                    };
                    assert_eq!(self.user(&user).active, Activity::Active, "added too early");
                    let members = self.group(&group).members.get_or_insert_default();
                    members.push(MemberEntry {
                        value: user.as_str().into(),
                        is_group: false,
                    });
                    members.sort();
                    added(&mut next, object.as_str(), |ids| ids.push(user));
                }
                Change::Remove {
                    group,
                    user,
                    cause: _,
                } => {
                    let members = self.group(&group.id).members.as_mut().unwrap();
                    let name = user.user_name.as_deref().map(fold);
                    members.retain(|member| {
                        *member.value != *user.id.as_str() && Some(fold(&member.value)) != name
                    });
                    added(&mut next, object.as_str(), |ids| ids.retain(|id| *id != user.id));
                }
            }
        }
        next
    }

    fn new_id(&mut self) -> RemoteId {
        self.made += 1;
        id(&format!("N{}", self.made))
    }

    fn user(&mut self, id: &RemoteId) -> &mut UserEntry {
        self.users.iter_mut().find(|user| user.id == *id).unwrap()
    }

    fn group(&mut self, id: &RemoteId) -> &mut GroupEntry {
        self.groups.iter_mut().find(|group| group.id == *id).unwrap()
    }
}

fn note_id(wishes: &mut Wishes, object: &str, id: &RemoteId) {
    let user = wishes
        .users
        .iter_mut()
        .find(|wish| wish.object.as_str() == object);
    if let Some(wish) = user {
        wish.known = Some(id.clone());
    } else {
        let group = wishes
            .groups
            .iter_mut()
            .find(|wish| wish.object.as_str() == object);
        group.unwrap().known = Some(id.clone());
    }
}

fn added(wishes: &mut Wishes, object: &str, change: impl FnOnce(&mut Vec<RemoteId>)) {
    let group = wishes
        .groups
        .iter_mut()
        .find(|wish| wish.object.as_str() == object)
        .unwrap();
    change(&mut group.added);
    group.added.sort();
    group.added.dedup();
}

/// The part of a token before, and the part within these two characters.
fn bracketed(token: &str, open: char, close: char) -> (String, Option<String>) {
    match (token.find(open), token.find(close)) {
        (Some(from), Some(to)) => (
            format!("{}{}", &token[..from], &token[to + 1..]),
            Some(token[from + 1..to].to_owned()),
        ),
        _ => (token.to_owned(), None),
    }
}

fn timed(text: &str) -> (String, Option<Timestamp>) {
    match text.split_once('<') {
        Some((name, second)) => (name.to_owned(), Some(at(second.parse().unwrap()))),
        None => (text.to_owned(), None),
    }
}

/// Name, flags and stored id. Only a dot in a name without a domain begins flags.
fn flagged(text: &str) -> (String, String, Option<String>) {
    let (text, known) = match text.split_once('=') {
        Some((text, known)) => (text, Some(known.to_owned())),
        None => (text, None),
    };
    let (name, flags) = text
        .split_once('.')
        .filter(|_| !text.contains('@'))
        .unwrap_or((text, ""));
    (name.to_owned(), flags.to_owned(), known)
}

const fn adopt(always: bool, never: bool) -> Adopt {
    match (always, never) {
        (true, _) => Adopt::Always,
        (_, true) => Adopt::Never,
        (false, false) => Adopt::IfUnchanged,
    }
}

pub(crate) fn user_wish(token: &str) -> UserWish {
    let (text, active_until) = timed(token);
    let (name, flags, known) = flagged(&text);
    UserWish::parse(&UserFields {
        uid: token,
        id: known.as_deref(),
        user_name: &address(&name),
        given_name: "Given",
        family_name: "Family",
        state: if flags.contains('s') {
            State::Suspended
        } else {
            State::Active
        },
        active_until,
        adopt: adopt(flags.contains('a'), flags.contains('n')),
        paused: flags.contains('p'),
    })
    .unwrap()
}

pub(crate) fn group_wish(token: &str) -> GroupWish {
    let (rest, members) = bracketed(token, '[', ']');
    let (rest, added) = bracketed(&rest, '(', ')');
    let (name, flags, known) = flagged(&rest);
    let list = |text: Option<String>| -> Vec<String> {
        text.unwrap_or_default()
            .split(',')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let members: Vec<_> = list(members)
        .iter()
        .map(|member| {
            let (name, until) = timed(member);
            (address(&name), until)
        })
        .collect();
    let members: Vec<_> = members
        .iter()
        .map(|(name, until)| (name.as_str(), *until))
        .collect();
    let added = list(added);
    let added: Vec<_> = added.iter().map(String::as_str).collect();
    GroupWish::parse(&GroupFields {
        uid: token,
        id: known.as_deref(),
        display_name: &name,
        membership: if flags.contains('x') {
            Membership::Exact
        } else {
            Membership::Additive
        },
        members: &members,
        added: &added,
        adopt: adopt(flags.contains('a'), flags.contains('n')),
        paused: flags.contains('p'),
    })
    .unwrap()
}

pub(crate) fn wishes(users: &str, groups: &str) -> Wishes {
    Wishes {
        users: users.split_whitespace().map(user_wish).collect(),
        groups: groups.split_whitespace().map(group_wish).collect(),
    }
}

/// `*@example.com` and `k8s-*`; the owner and one group are protected; 2 suspensions, 3 removals, 3 creations.
pub(crate) fn policy() -> Policy {
    Policy {
        scope: Scope::parse(&["*@example.com"], &["k8s-*"]).unwrap(),
        protected: Protected::parse(&["owner@example.com"], &["k8s-protected"]).unwrap(),
        limits: Limits {
            suspensions: Some(2),
            removals: Some(3),
            renames: None,
            creations: Some(3),
            additions: None,
        },
        sends: false,
        released: Vec::new(),
        digest_key: DigestKey::new(b"not a secret"),
    }
}

pub(crate) fn unlimited() -> Policy {
    Policy {
        limits: Limits::default(),
        ..policy()
    }
}

pub(crate) fn released(digest: Digest) -> Policy {
    Policy {
        released: vec![digest],
        ..policy()
    }
}

/// Plans with a directory that is believed.
pub(crate) fn plan_for<'a>(
    wishes: &'a Wishes,
    snapshot: &'a Snapshot,
    census: &'a Census,
    policy: &Policy,
    now: Timestamp,
) -> Plan<'a> {
    plan(
        wishes,
        Ok(Directory { snapshot, census }),
        policy,
        &Ledger::default(),
        now,
    )
}

/// A census to which these ids are gone.
pub(crate) fn census_without(ids: &str) -> Census {
    let mut census = Census::default();
    for number in ids.split_whitespace() {
        census.note_not_found(&id(number));
    }
    census
}

pub(crate) fn taken(second: i64) -> Taken {
    Taken {
        at: at(second),
        interval: Duration::from_mins(5),
        limit: 2,
    }
}

/// One act in a few letters.
pub(crate) fn brief(act: &Act<'_>) -> String {
    let name = |address: &str| address.trim_end_matches("@example.com").to_owned();
    match &act.change {
        Change::Suspend { user } => format!("suspend {}", user.id.as_str()),
        Change::Remove { group, user, cause } => {
            let cause = match cause {
                RemovalCause::Suspended => "suspended",
                RemovalCause::Expired => "expired",
                RemovalCause::NotListed => "not listed",
            };
            format!("remove {}/{} ({cause})", group.id.as_str(), user.id.as_str())
        }
        Change::RenameUser {
            user,
            user_name,
            given_name,
            family_name,
        } => {
            let mut text = format!("rename {}", user.id.as_str());
            if let Some(new) = user_name {
                text.push(' ');
                text += &name(new.as_str());
            }
            if given_name.is_some() {
                text += " given";
            }
            if family_name.is_some() {
                text += " family";
            }
            text
        }
        Change::RenameGroup { group, display_name } => {
            format!("rename {} {}", group.id.as_str(), display_name.as_str())
        }
        Change::Reactivate { user } => format!("reactivate {}", user.id.as_str()),
        Change::CreateUser { wish } => format!("create {}", name(wish.user_name.as_str())),
        Change::CreateGroup { wish } => format!("create {}", wish.display_name.as_str()),
        Change::Add { group, user } => {
            let group = match group {
                Host::Present(group) => group.id.as_str().to_owned(),
                Host::Coming(wish) => format!("new {}", wish.display_name.as_str()),
            };
            let user = match user {
                Joiner::Active(user) => user.id.as_str().to_owned(),
                Joiner::Returning(user) => format!("returning {}", user.id.as_str()),
                Joiner::Coming(wish) => format!("new {}", name(wish.user_name.as_str())),
            };
            format!("add {group}/{user}")
        }
    }
}

/// All of a plan: `acts | held | verdicts`, with the objects in the order of the plan.
pub(crate) fn whole(plan: &Plan<'_>) -> String {
    let acts = |acts: &[Act<'_>]| acts.iter().map(brief).collect::<Vec<_>>().join(", ");
    let verdicts: Vec<_> = plan
        .verdicts
        .iter()
        .map(|verdict| verdict.reason.as_str())
        .collect();
    let mut text = acts(&plan.acts);
    if !plan.held.is_empty() {
        text += " | ";
        text += &acts(&plan.held);
    }
    format!("{text} | {}", verdicts.join(" ")).trim().to_owned()
}
