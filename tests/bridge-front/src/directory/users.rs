//! `/Users`: reads, and what a write makes of a user.

use axum::{
    http::{Method, StatusCode},
    response::Response,
};
use serde_json::Value;

use super::{
    Context,
    filter::{Condition, Path, conditions},
    habits::{
        Acceptance, Act, DeleteUser, DisplayName, ExternalIds, Memberships, NameCase, Taken, TextBooleans,
        Writes,
    },
    list::{Query, page},
    patch::{self, Operation, Verb},
    people::{Email, Name, User},
    refusal::Refusal,
    shape::USER,
    store::{Change, Store},
    written::{Kind, Outcome},
};
use crate::answer::{self, SCIM_JSON};

const FILTERS: [&str; 7] = [
    "id",
    "username",
    "displayname",
    "externalid",
    "emails",
    "emails.value",
    "active",
];

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
            store.users.begin_read();
            let memberships = context.shows_user_groups().then(|| store.memberships());
            let groups = memberships.and_then(|memberships| memberships.get(id).cloned());
            let (user, _) = store.users.seen(id).ok_or_else(Refusal::not_found)?;
            let document = context.user(user, &groups.unwrap_or_default());
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
        return Err(Refusal::bad("invalidFilter", "users have no such attribute"));
    }
    store.users.begin_read();
    let memberships = context.shows_user_groups().then(|| store.memberships());
    let Store {
        users, dice, answers, ..
    } = store;
    let all: Vec<&User> = users
        .all_seen()
        .map(|(user, _)| user)
        .filter(|user| filter.iter().all(|condition| fits(user, condition)))
        .collect();
    let page = page(all, &query, context, *answers, dice);
    let groups = |user: &User| {
        let memberships = memberships.as_deref()?;
        memberships.get(&user.id).map(Vec::as_slice)
    };
    let shown = page
        .entries
        .iter()
        .map(|user| context.user(user, groups(user).unwrap_or_default()));
    let mut resources: Vec<Value> = shown.collect();
    for _ in 0..page.invented {
        let name = dice.id();
        let invented = User {
            id: name.to_uppercase(),
            ..User::new(format!("{name}@example.com"), "Nobody", name)
        };
        resources.push(context.user(&invented, &[]));
    }
    Ok(page.response(resources, context))
}

fn fits(user: &User, condition: &Condition) -> bool {
    match condition.attribute.as_str() {
        "username" => condition.is(&user.user_name),
        "displayname" => condition.is(&user.display_name),
        "id" => condition.is_exactly(&user.id),
        "externalid" => user
            .external_id
            .as_deref()
            .is_some_and(|id| condition.is_exactly(id)),
        "active" => condition.value == Value::Bool(user.active),
        _ => user.emails.iter().any(|email| condition.is(&email.value)),
    }
}

fn create(store: &mut Store, context: &Context<'_>, body: &[u8]) -> Result<Response, Refusal> {
    let user = described(User::new("", "", ""), body, context)?;
    let user = store.identified_user(user);
    write(store, context, None, user)?.response(store, context, StatusCode::CREATED)
}

fn replace(store: &mut Store, context: &Context<'_>, id: &str, body: &[u8]) -> Result<Response, Refusal> {
    let old = store.users.get(id).cloned().ok_or_else(Refusal::not_found)?;
    let blank = User {
        id: old.id.clone(),
        active: old.active,
        ..User::new("", "", "")
    };
    let user = described(blank, body, context)?.completed();
    write(store, context, Some(&old), user)?.response(store, context, StatusCode::OK)
}

fn change(store: &mut Store, context: &Context<'_>, id: &str, body: &[u8]) -> Result<Response, Refusal> {
    let old = store.users.get(id).cloned().ok_or_else(Refusal::not_found)?;
    let mut user = old.clone();
    let outcome = patch::operations(body)?.into_iter().try_for_each(|operation| {
        let mut next = user.clone();
        apply(&mut next, operation, &context.habits.writes)?;
        user = next;
        Ok(())
    });
    match outcome {
        Err(refusal) if context.habits.writes.is_atomic() => Err(refusal),
        outcome => {
            let written = write(store, context, Some(&old), user)?;
            outcome?;
            written.response(store, context, StatusCode::OK)
        }
    }
}

fn delete(store: &mut Store, context: &Context<'_>, id: &str) -> Result<Response, Refusal> {
    let old = store.users.get(id).cloned().ok_or_else(Refusal::not_found)?;
    match context.habits.writes.delete_user {
        DeleteUser::Suspends => {
            let user = User {
                active: false,
                ..old.clone()
            };
            write(store, context, Some(&old), user)?;
        }
        DeleteUser::Deletes => {
            context.habits.writes.permit([Act::DeleteUser])?;
            if !context.habits.writes.ignored.contains(&Act::DeleteUser) {
                store.users.take(id);
                store.fresh.push(Change::of(Act::DeleteUser, id));
            }
        }
    }
    Ok(answer::text(StatusCode::NO_CONTENT, ""))
}

/// A user as a POST or PUT describes it.
fn described(mut user: User, body: &[u8], context: &Context<'_>) -> Result<User, Refusal> {
    user.emails.clear();
    for (name, value) in patch::resource(body, USER)? {
        if name.eq_ignore_ascii_case("displayName") {
            // Beside a name it stands alone; without one the name follows from it.
            text(&value)?.clone_into(&mut user.display_name);
            continue;
        }
        let display_name = user.display_name.clone();
        // What a server does not know in a whole resource it does not store (RFC 7644, section 3.3).
        assign(&mut user, &Path::parse(&name)?, &value, &context.habits.writes)?;
        user.display_name = display_name;
    }
    if user.user_name.is_empty() {
        return Err(Refusal::bad("invalidValue", "a user has a userName"));
    }
    Ok(user)
}

/// What became of an attribute.
#[derive(Debug, PartialEq, Eq)]
enum Assigned {
    Known,
    ReadOnly,
    Unknown,
}

fn apply(user: &mut User, operation: Operation, writes: &Writes) -> Result<(), Refusal> {
    let Operation { verb, path, value } = operation;
    let Some(path) = path else {
        let attributes = value.as_object().into_iter().flatten();
        for (name, value) in attributes {
            assign(user, &Path::parse(name)?, value, writes)?;
        }
        return Ok(());
    };
    if verb == Verb::Remove {
        return remove(user, &path);
    }
    match assign(user, &path, &value, writes)? {
        Assigned::Known => Ok(()),
        Assigned::ReadOnly => Err(Refusal::bad("mutability", "this attribute is read-only")),
        Assigned::Unknown => Err(Refusal::bad("invalidPath", "users have no such attribute")),
    }
}

fn remove(user: &mut User, path: &Path) -> Result<(), Refusal> {
    match path.attribute.as_str() {
        "externalid" => user.external_id = None,
        "emails" => user.emails.clear(),
        "username" | "name" | "displayname" | "active" => {
            return Err(Refusal::bad("mutability", "this attribute cannot be removed"));
        }
        _ => return Err(Refusal::bad("invalidPath", "users have no such attribute")),
    }
    Ok(())
}

/// Sets one attribute. Names are in lower case.
fn assign(user: &mut User, path: &Path, value: &Value, writes: &Writes) -> Result<Assigned, Refusal> {
    match (path.attribute.as_str(), path.sub.as_deref()) {
        ("username", None) => text(value)?.clone_into(&mut user.user_name),
        ("active", None) => user.active = boolean(value, writes.text_booleans)?,
        ("displayname", None) => {
            text(value)?.clone_into(&mut user.display_name);
            if writes.display_name == DisplayName::SplitsName {
                user.name = Name::split(&user.display_name);
            }
        }
        ("externalid", None) => {
            let id = text(value)?;
            if writes.external_ids == ExternalIds::Kept {
                user.external_id = Some(id.to_owned());
            }
        }
        ("emails", None) if path.filter.is_none() => {
            let emails = value.as_array().ok_or_else(wrong_value)?;
            user.emails = emails.iter().map(email).collect::<Result<_, _>>()?;
        }
        // 1Password has one address. Every filter leads to it.
        ("emails", Some("value")) => {
            user.emails = vec![Email {
                value: text(value)?.to_owned(),
                primary: true,
            }];
        }
        ("name", Some(part)) => name_part(user, part, value, writes)?,
        ("name", None) => {
            for (part, value) in value.as_object().ok_or_else(wrong_value)? {
                name_part(user, &part.to_lowercase(), value, writes)?;
            }
        }
        ("id" | "meta" | "groups" | "schemas", None) => return Ok(Assigned::ReadOnly),
        ("preferredlanguage" | "locale", None) => {}
        _ => return Ok(Assigned::Unknown),
    }
    Ok(Assigned::Known)
}

fn name_part(user: &mut User, part: &str, value: &Value, writes: &Writes) -> Result<(), Refusal> {
    match part {
        "givenname" => text_or_empty(value)?.clone_into(&mut user.name.given_name),
        "familyname" => text_or_empty(value)?.clone_into(&mut user.name.family_name),
        // It follows from the parts, and is a source only where there are none.
        "formatted" if user.name == Name::default() => user.name = Name::split(text_or_empty(value)?),
        "formatted" | "middlename" | "honorificprefix" | "honorificsuffix" => {}
        _ => return Err(Refusal::bad("invalidPath", "names have no such part")),
    }
    if writes.display_name == DisplayName::SplitsName {
        user.display_name = user.name.formatted();
    }
    Ok(())
}

fn email(value: &Value) -> Result<Email, Refusal> {
    let email = value.as_object().ok_or_else(wrong_value)?;
    Ok(Email {
        value: patch::field(email, "value")
            .map(text)
            .transpose()?
            .ok_or_else(wrong_value)?
            .to_owned(),
        primary: patch::field(email, "primary") == Some(&Value::Bool(true)),
    })
}

fn wrong_value() -> Refusal {
    Refusal::bad("invalidValue", "this value does not fit its attribute")
}

/// A text with something in it.
pub(super) fn text(value: &Value) -> Result<&str, Refusal> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .ok_or_else(wrong_value)
}

fn text_or_empty(value: &Value) -> Result<&str, Refusal> {
    value.as_str().ok_or_else(wrong_value)
}

fn boolean(value: &Value, texts: TextBooleans) -> Result<bool, Refusal> {
    if let Some(boolean) = value.as_bool() {
        return Ok(boolean);
    }
    let text = text(value)?;
    match texts {
        TextBooleans::Understood if text.eq_ignore_ascii_case("true") => Ok(true),
        TextBooleans::Understood if text.eq_ignore_ascii_case("false") => Ok(false),
        TextBooleans::Understood | TextBooleans::Refused => Err(wrong_value()),
        TextBooleans::AlwaysTrue => Ok(true),
    }
}

/// What lies between two states of a user.
fn acts(old: Option<&User>, new: &User) -> Vec<Act> {
    let Some(old) = old else {
        return vec![Act::CreateUser];
    };
    let acts = [
        (old.active && !new.active, Act::Suspend),
        (!old.active && new.active, Act::Reactivate),
        (old.user_name != new.user_name, Act::RenameUser),
        (
            (&old.name, &old.display_name) != (&new.name, &new.display_name),
            Act::ChangeName,
        ),
        (
            (&old.emails, &old.external_id) != (&new.emails, &new.external_id),
            Act::ChangeContact,
        ),
    ];
    acts.into_iter()
        .filter_map(|(differs, act)| differs.then_some(act))
        .collect()
}

/// Stores a user as far as the habits allow it.
fn write(
    store: &mut Store,
    context: &Context<'_>,
    old: Option<&User>,
    sent: User,
) -> Result<Outcome<User>, Refusal> {
    let writes = &context.habits.writes;
    let wanted = acts(old, &sent);
    writes.permit(wanted.iter().copied())?;
    check(store, old, &sent, &wanted, writes)?;

    let mut stored = sent.clone();
    for act in wanted.iter().filter(|act| writes.ignored.contains(act)) {
        let Some(old) = old else {
            return Ok(Outcome::new(Kind::Created, sent));
        };
        match act {
            Act::Suspend | Act::Reactivate => stored.active = old.active,
            Act::RenameUser => stored.user_name.clone_from(&old.user_name),
            Act::ChangeName => {
                stored.name.clone_from(&old.name);
                stored.display_name.clone_from(&old.display_name);
            }
            Act::ChangeContact => {
                stored.emails.clone_from(&old.emails);
                stored.external_id.clone_from(&old.external_id);
            }
            Act::CreateUser
            | Act::DeleteUser
            | Act::CreateGroup
            | Act::RenameGroup
            | Act::AddMember
            | Act::RemoveMember
            | Act::DeleteGroup => {}
        }
    }
    let done = acts(old, &stored);
    if !done.is_empty() {
        store.users.put(stored, writes.visible_after);
    }
    for act in &done {
        store.fresh.push(Change::of(*act, &sent.id));
    }
    if done.contains(&Act::Suspend) && writes.suspended_memberships == Memberships::Withdrawn {
        store.withdraw(&sent.id);
    }
    Ok(Outcome::new(Kind::of(old, &sent), sent))
}

/// Whether the directory can have this user.
fn check(
    store: &Store,
    old: Option<&User>,
    sent: &User,
    wanted: &[Act],
    writes: &Writes,
) -> Result<(), Refusal> {
    if wanted.contains(&Act::CreateUser) || wanted.contains(&Act::RenameUser) {
        let mut others = store
            .users
            .named(&sent.user_name)
            .filter(|other| other.id != sent.id);
        let taken = match writes.name_case {
            NameCase::Folded => others.next().is_some(),
            NameCase::Exact => others.any(|other| other.user_name == sent.user_name),
        };
        writes.taken_user_name.decide(taken)?;
    }
    let primary = sent.emails.iter().find(|email| email.primary);
    let other_address = primary.is_some_and(|email| email.value != sent.user_name);
    if writes.other_address == Acceptance::Refused && other_address {
        return Err(Refusal::bad(
            "invalidValue",
            "the user name is not the primary address",
        ));
    }
    let takes_seat = sent.active && old.is_none_or(|old| !old.active);
    if let Some(seats) = writes.seats.filter(|_| takes_seat) {
        let active = store.users.all().filter(|user| user.active).count();
        if active >= seats as usize {
            return Err(Refusal::of(403, None, "there is no seat left"));
        }
    }
    Ok(())
}

impl Taken {
    /// What becomes of a name, taken or not.
    pub(super) fn decide(self, taken: bool) -> Result<(), Refusal> {
        let detail = "this name is taken";
        match self {
            _ if !taken => Ok(()),
            Self::Conflict => Err(Refusal::of(409, Some("uniqueness"), detail)),
            Self::ConflictWithoutType => Err(Refusal::of(409, None, detail)),
            Self::Accepted => Ok(()),
            Self::ServerError => Err(Refusal::of(500, None, "internal server error")),
        }
    }
}
