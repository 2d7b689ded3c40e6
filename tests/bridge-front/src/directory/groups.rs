//! `/Groups`: reads, and what a write makes of a group and its members.

use std::collections::HashSet;

use axum::{
    http::{Method, StatusCode},
    response::Response,
};
use serde_json::Value;

use super::{
    Context,
    filter::{Condition, conditions},
    habits::{Acceptance, Act, Addition, ExternalIds, Removal, RemovalByValue, UnknownMembers, Writes},
    list::{Query, page},
    patch::{self, Operation, Verb},
    people::{Group, Member, MemberKind},
    refusal::Refusal,
    shape::GROUP,
    store::{Change, Store},
    users::text,
    written::{Kind, Outcome},
};
use crate::answer::{self, SCIM_JSON};

const FILTERS: [&str; 5] = ["id", "displayname", "externalid", "members", "members.value"];

pub(super) fn answer(
    store: &mut Store,
    context: &Context<'_>,
    method: &Method,
    id: Option<&str>,
    query: &str,
    body: &[u8],
) -> Result<Response, Refusal> {
    match (method, id) {
        (&Method::GET, None) => list(store, context, query),
        (&Method::POST, None) => create(store, context, body),
        (&Method::GET, Some(id)) => {
            store.groups.begin_read();
            let Store {
                groups, users, dice, ..
            } = store;
            let (group, entry) = groups.seen(id).ok_or_else(Refusal::not_found)?;
            let document = context.group(group, Some(entry), users, false, dice);
            Ok(answer::json(SCIM_JSON, &context.sent(document)))
        }
        (&Method::PATCH, Some(id)) => change(store, context, id, body),
        (&Method::PUT, Some(id)) => replace(store, context, id, body),
        (&Method::DELETE, Some(id)) => delete(store, context, id),
        _ => Err(Refusal::method()),
    }
}

fn list(store: &mut Store, context: &Context<'_>, query: &str) -> Result<Response, Refusal> {
    let query = Query::parse(query)?;
    let filter = query.filter(context.lists.filter)?;
    let filter = filter.map(conditions).transpose()?.unwrap_or_default();
    if filter
        .iter()
        .any(|condition| !FILTERS.contains(&condition.attribute.as_str()))
    {
        return Err(Refusal::bad("invalidFilter", "groups have no such attribute"));
    }
    store.groups.begin_read();
    let Store {
        groups,
        users,
        dice,
        answers,
        ..
    } = store;
    let all: Vec<_> = groups
        .all_seen()
        .filter(|(group, _)| filter.iter().all(|condition| fits(group, condition)))
        .collect();
    let page = page(all, &query, context, *answers, dice);
    let mut resources: Vec<Value> = Vec::with_capacity(page.entries.len());
    for (group, entry) in &page.entries {
        resources.push(context.group(group, Some(entry), users, true, dice));
    }
    for _ in 0..page.invented {
        let id = dice.id();
        let invented = Group {
            display_name: format!("Group {id}"),
            id,
            ..Group::default()
        };
        resources.push(context.group(&invented, None, users, true, dice));
    }
    Ok(page.response(resources, context))
}

fn fits(group: &Group, condition: &Condition) -> bool {
    match condition.attribute.as_str() {
        "displayname" => condition.is(&group.display_name),
        "id" => condition.is_exactly(&group.id),
        "externalid" => group
            .external_id
            .as_deref()
            .is_some_and(|id| condition.is_exactly(id)),
        _ => group
            .members
            .iter()
            .any(|member| condition.is_exactly(&member.value)),
    }
}

fn create(store: &mut Store, context: &Context<'_>, body: &[u8]) -> Result<Response, Refusal> {
    let group = described(Group::default(), body, &context.habits.writes)?;
    let members = group.members.clone();
    let group = Group {
        members,
        ..store.identified_group(Group {
            members: Vec::new(),
            ..group
        })
    };
    let written = write(store, context, None, group.clone(), group)?;
    written.response(store, context, StatusCode::CREATED)
}

fn replace(store: &mut Store, context: &Context<'_>, id: &str, body: &[u8]) -> Result<Response, Refusal> {
    let old = store.groups.get(id).cloned().ok_or_else(Refusal::not_found)?;
    let blank = Group {
        id: id.to_owned(),
        ..Group::default()
    };
    let group = described(blank, body, &context.habits.writes)?;
    let written = write(store, context, Some(&old), group.clone(), group)?;
    written.response(store, context, StatusCode::OK)
}

fn change(store: &mut Store, context: &Context<'_>, id: &str, body: &[u8]) -> Result<Response, Refusal> {
    let old = store.groups.get(id).cloned().ok_or_else(Refusal::not_found)?;
    let writes = &context.habits.writes;
    let operations = patch::operations(body)?;
    let steps = operations.into_iter().map(step).collect::<Result<Vec<_>, _>>();
    let steps = steps?;
    limit(&steps, writes)?;
    // What the client means, and what becomes of it.
    let (mut sent, mut stored) = (old.clone(), old.clone());
    let meant = Writes {
        external_ids: writes.external_ids,
        ..Writes::default()
    };
    let outcome = steps.iter().try_for_each(|step| {
        let (mut next_sent, mut next_stored) = (sent.clone(), stored.clone());
        apply(&mut next_sent, step, &meant)?;
        admit(store, &sent.members, &next_sent.members, writes)?;
        apply(&mut next_stored, step, writes)?;
        (sent, stored) = (next_sent, next_stored);
        Ok(())
    });
    match outcome {
        Err(refusal) if writes.is_atomic() => Err(refusal),
        outcome => {
            let written = write(store, context, Some(&old), sent, stored)?;
            outcome?;
            written.response(store, context, StatusCode::OK)
        }
    }
}

fn delete(store: &mut Store, context: &Context<'_>, id: &str) -> Result<Response, Refusal> {
    if store.groups.get(id).is_none() {
        return Err(Refusal::not_found());
    }
    let writes = &context.habits.writes;
    writes.permit([Act::DeleteGroup])?;
    if !writes.ignored.contains(&Act::DeleteGroup) {
        store.groups.take(id);
        store.fresh.push(Change::of(Act::DeleteGroup, id));
    }
    Ok(answer::text(StatusCode::NO_CONTENT, ""))
}

/// A group as a POST or PUT describes it.
fn described(mut group: Group, body: &[u8], writes: &Writes) -> Result<Group, Refusal> {
    for (name, value) in patch::resource(body, GROUP)? {
        match name.to_lowercase().as_str() {
            "displayname" => text(&value)?.clone_into(&mut group.display_name),
            "externalid" => keep_external_id(&mut group, &value, writes)?,
            "members" => group.members = members(&value)?,
            _ => {}
        }
    }
    if group.display_name.is_empty() {
        return Err(Refusal::bad("invalidValue", "a group has a displayName"));
    }
    Ok(group)
}

/// An operation on a group.
#[derive(Debug)]
enum Step {
    Rename(Value),
    ExternalId(Value),
    Add(Vec<Member>),
    RemoveByFilter(String),
    RemoveByValue(Vec<Member>),
    /// `remove` of `members` without anything that says whom.
    RemoveAll,
    ReplaceMembers(Vec<Member>),
    /// Several attributes, from an operation without a path.
    Several(Vec<Self>),
}

fn step(operation: Operation) -> Result<Step, Refusal> {
    let Operation { verb, path, value } = operation;
    let Some(path) = path else {
        let attributes = value.as_object().into_iter().flatten();
        let steps =
            attributes.filter_map(|(name, value)| attribute(verb, &name.to_lowercase(), value).transpose());
        return steps.collect::<Result<_, _>>().map(Step::Several);
    };
    let invalid = || Refusal::bad("invalidPath", "groups have no such attribute");
    match (path.attribute.as_str(), path.sub, path.filter, verb) {
        ("members", None, Some(filter), Verb::Remove) => match filter.as_slice() {
            [condition] if condition.attribute == "value" => {
                Ok(Step::RemoveByFilter(text(&condition.value)?.to_owned()))
            }
            _ => Err(Refusal::bad("invalidFilter", "members are chosen by their value")),
        },
        ("members", None, None, Verb::Remove) if value.is_null() => Ok(Step::RemoveAll),
        ("members", None, None, Verb::Remove) => members(&value).map(Step::RemoveByValue),
        ("displayname", None, None, Verb::Remove) => {
            Err(Refusal::bad("mutability", "this attribute cannot be removed"))
        }
        (name, None, None, Verb::Add | Verb::Replace) => attribute(verb, name, &value)?.ok_or_else(invalid),
        _ => Err(invalid()),
    }
}

/// What an addition or a replacement of one attribute does; nothing for an attribute that groups do not have.
fn attribute(verb: Verb, name: &str, value: &Value) -> Result<Option<Step>, Refusal> {
    Ok(match (name, verb) {
        ("displayname", _) => Some(Step::Rename(value.clone())),
        ("externalid", _) => Some(Step::ExternalId(value.clone())),
        ("members", Verb::Add) => Some(Step::Add(members(value)?)),
        ("members", Verb::Replace) => Some(Step::ReplaceMembers(members(value)?)),
        _ => None,
    })
}

/// A list of members, or one of them alone.
fn members(value: &Value) -> Result<Vec<Member>, Refusal> {
    let entries = value
        .as_array()
        .map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
    entries.iter().map(member).collect()
}

fn member(value: &Value) -> Result<Member, Refusal> {
    let wrong = || Refusal::bad("invalidValue", "a member is an object with a value");
    let member = value.as_object().ok_or_else(wrong)?;
    let id = patch::field(member, "value").ok_or_else(wrong)?;
    let is_group = patch::field(member, "type").and_then(Value::as_str) == Some("Group");
    Ok(Member {
        value: text(id)?.to_owned(),
        kind: if is_group {
            MemberKind::Group
        } else {
            MemberKind::User
        },
    })
}

/// Refuses what one request may not have.
fn limit(steps: &[Step], writes: &Writes) -> Result<(), Refusal> {
    let (mut added, mut removed) = (0, 0);
    for step in steps {
        match step {
            Step::Add(members) | Step::ReplaceMembers(members) => added += members.len(),
            Step::RemoveByValue(members) => removed += members.len(),
            Step::RemoveByFilter(_) | Step::RemoveAll => removed += 1,
            Step::Rename(_) | Step::ExternalId(_) | Step::Several(_) => {}
        }
    }
    if writes.mixed_operations == Acceptance::Refused && added > 0 && removed > 0 {
        return Err(Refusal::bad(
            "invalidValue",
            "additions and removals are in one request",
        ));
    }
    match writes.change_limit {
        Some(limit) if added + removed > limit.changes as usize => Err(Refusal::of(
            limit.status,
            Some("tooMany"),
            "this request changes too many members",
        )),
        Some(_) | None => Ok(()),
    }
}

/// Refuses members that the directory does not take.
fn admit(store: &Store, before: &[Member], after: &[Member], writes: &Writes) -> Result<(), Refusal> {
    let before: HashSet<&str> = before.iter().map(|member| member.value.as_str()).collect();
    let new = after
        .iter()
        .filter(|member| !before.contains(member.value.as_str()));
    for member in new {
        if writes.unknown_members == UnknownMembers::Refused && !store.knows(member) {
            return Err(Refusal::bad("invalidValue", "a member does not exist"));
        }
        let suspended = store.users.get(&member.value).is_some_and(|user| !user.active);
        if writes.suspended_members == Acceptance::Refused && suspended {
            return Err(Refusal::bad("invalidValue", "a member is suspended"));
        }
    }
    Ok(())
}

fn keep_external_id(group: &mut Group, value: &Value, writes: &Writes) -> Result<(), Refusal> {
    let id = text(value)?;
    if writes.external_ids == ExternalIds::Kept {
        group.external_id = Some(id.to_owned());
    }
    Ok(())
}

fn apply(group: &mut Group, step: &Step, writes: &Writes) -> Result<(), Refusal> {
    match step {
        Step::Rename(name) => text(name)?.clone_into(&mut group.display_name),
        Step::ExternalId(id) => keep_external_id(group, id, writes)?,
        Step::Add(members) => add(group, members, writes),
        Step::ReplaceMembers(members) => group.members.clone_from(members),
        Step::RemoveAll => group.members.clear(),
        Step::RemoveByFilter(id) => match writes.remove_by_filter {
            Removal::Member => group.members.retain(|member| member.value != *id),
            Removal::Everybody => group.members.clear(),
            Removal::Refused { status } => {
                return Err(Refusal::of(
                    status,
                    Some("invalidPath"),
                    "filters in paths are refused",
                ));
            }
        },
        Step::RemoveByValue(members) => match writes.remove_by_value {
            RemovalByValue::Everybody => group.members.clear(),
            RemovalByValue::Members => {
                let gone: HashSet<&str> = members.iter().map(|member| member.value.as_str()).collect();
                group
                    .members
                    .retain(|member| !gone.contains(member.value.as_str()));
            }
            RemovalByValue::Refused { status } => {
                return Err(Refusal::of(
                    status,
                    Some("invalidPath"),
                    "lists of values are refused",
                ));
            }
        },
        Step::Several(steps) => {
            for step in steps {
                apply(group, step, writes)?;
            }
        }
    }
    Ok(())
}

fn add(group: &mut Group, members: &[Member], writes: &Writes) {
    let mut known: HashSet<String> = group.members.iter().map(|member| member.value.clone()).collect();
    if writes.add == Addition::ReplacesAll {
        group.members.clear();
        known.clear();
    }
    for member in members {
        let times = match writes.add {
            Addition::Adds | Addition::ReplacesAll => usize::from(known.insert(member.value.clone())),
            Addition::DoublesMembers => 1,
            Addition::ListsTwice => 2,
        };
        group.members.extend(std::iter::repeat_n(member, times).cloned());
    }
    if let Some(kept) = writes.add_keeps {
        group.members.truncate(kept as usize);
    }
}

/// Who became a member and who is none any more.
fn difference(old: &[Member], new: &[Member]) -> (Vec<String>, Vec<String>) {
    let without = |some: &[Member], others: &[Member]| {
        let mut seen: HashSet<&str> = others.iter().map(|member| member.value.as_str()).collect();
        let mut left = Vec::new();
        for member in some {
            if seen.insert(&member.value) {
                left.push(member.value.clone());
            }
        }
        left
    };
    (without(new, old), without(old, new))
}

/// What lies between two states of a group.
fn changes(old: Option<&Group>, new: &Group) -> Vec<Change> {
    let mut changes = Vec::new();
    if old.is_none() {
        changes.push(Change::of(Act::CreateGroup, &new.id));
    }
    if old.is_some_and(|old| (&old.display_name, &old.external_id) != (&new.display_name, &new.external_id)) {
        changes.push(Change::of(Act::RenameGroup, &new.id));
    }
    let (added, removed) = difference(old.map_or(&[], |old| &old.members), &new.members);
    for (act, members) in [(Act::RemoveMember, removed), (Act::AddMember, added)] {
        if !members.is_empty() {
            changes.push(Change {
                members,
                ..Change::of(act, &new.id)
            });
        }
    }
    changes
}

/// Stores a group as far as the habits allow it. `stored` is what the habits made of `sent`.
fn write(
    store: &mut Store,
    context: &Context<'_>,
    old: Option<&Group>,
    sent: Group,
    mut stored: Group,
) -> Result<Outcome<Group>, Refusal> {
    let writes = &context.habits.writes;
    let kind = Kind::of(old, &sent);
    let wanted: Vec<Act> = changes(old, &sent).iter().map(|change| change.act).collect();
    writes.permit(wanted.iter().copied())?;
    if old.is_none_or(|old| old.display_name != sent.display_name) {
        let mut others = store.groups.named(&sent.display_name);
        writes
            .taken_group_name
            .decide(others.any(|other| other.id != sent.id))?;
    }
    let before = old.map_or(&[][..], |old| &old.members);
    admit(store, before, &sent.members, writes)?;

    let ignored = |act| writes.ignored.contains(&act);
    if ignored(Act::CreateGroup) && kind == Kind::Created {
        return Ok(Outcome::new(kind, sent));
    }
    if let Some(old) = old.filter(|_| ignored(Act::RenameGroup)) {
        stored.display_name.clone_from(&old.display_name);
        stored.external_id.clone_from(&old.external_id);
    }
    if ignored(Act::AddMember) {
        let known: HashSet<&str> = before.iter().map(|member| member.value.as_str()).collect();
        stored
            .members
            .retain(|member| known.contains(member.value.as_str()));
    }
    if ignored(Act::RemoveMember) {
        let left: HashSet<String> = stored.members.iter().map(|member| member.value.clone()).collect();
        let kept = before.iter().filter(|member| !left.contains(&member.value));
        stored.members.extend(kept.cloned());
    }
    let done = changes(old, &stored);
    if old != Some(&stored) {
        store.groups.put(stored, writes.visible_after);
    }
    store.fresh.extend(done);
    Ok(Outcome::new(kind, sent))
}

impl Store {
    /// Takes a user out of every group.
    pub(super) fn withdraw(&mut self, user: &str) {
        let listing = self
            .groups
            .all()
            .filter(|group| group.members.iter().any(|member| member.value == user))
            .cloned()
            .collect::<Vec<_>>();
        for mut group in listing {
            group.members.retain(|member| member.value != user);
            self.groups.put(group, 0);
        }
    }
}
