//! The lists of users and groups, and single groups.

use std::collections::BTreeSet;

use scim_bridge_operator::{
    bridge::scim::lists::{MAX_MEMBERS, MAX_PAGE, MAX_TEXT, read_group, read_groups, read_users},
    domain::directory::{
        snapshot::{Activity, GroupEntry},
        walk::{Entry, Page, Progress, Walk},
    },
};
use serde_json::Value;

/// The most memory that is kept for each byte of a body.
const MAX_GROWTH: usize = 64;

/// The page of a directory's users.
pub(crate) fn users(body: &[u8]) {
    let Ok(page) = read_users(body) else { return };
    let Some(document) = bounded(body, &page) else {
        return;
    };
    for (user, entry) in page.entries.iter().zip(resources(&document)) {
        assert_eq!(
            Some(user.id.as_str().to_owned()),
            text(entry, "id"),
            "whose entry it is"
        );
        assert_eq!(
            user.user_name.as_deref().map(str::to_owned),
            text(entry, "userName")
        );
        let said = match field(entry, "active") {
            Some(Value::Bool(active)) => Some(*active),
            Some(Value::String(text)) => text.to_ascii_lowercase().parse().ok(),
            _ => None,
        };
        let expected = match said {
            Some(true) => Activity::Active,
            Some(false) => Activity::Suspended,
            None => Activity::Unsaid,
        };
        assert_eq!(user.active, expected, "whether a person may sign in");
        let names = [&user.user_name, &user.given_name, &user.family_name];
        assert!(names.into_iter().flatten().all(|name| name.len() <= MAX_TEXT));
        assert!(user.groups.as_ref().is_none_or(|groups| is_ordered(groups)));
    }
    assert_eq!(
        read_users(document.to_string().as_bytes()),
        Ok(page),
        "written otherwise"
    );
}

/// The page of a directory's groups, and a group by itself.
pub(crate) fn groups(body: &[u8]) {
    if let Ok(group) = read_group(body)
        && let Ok(document) = serde_json::from_slice::<Value>(body)
    {
        is_of(&group, &document);
    }
    let Ok(page) = read_groups(body) else { return };
    let Some(document) = bounded(body, &page) else {
        return;
    };
    for (group, entry) in page.entries.iter().zip(resources(&document)) {
        is_of(group, entry);
    }
    assert_eq!(
        read_groups(document.to_string().as_bytes()),
        Ok(page),
        "written otherwise"
    );
}

fn is_of(group: &GroupEntry, entry: &Value) {
    assert_eq!(
        Some(group.id.as_str().to_owned()),
        text(entry, "id"),
        "whose entry it is"
    );
    assert_eq!(
        group.display_name.as_deref().map(str::to_owned),
        text(entry, "displayName")
    );
    let Some(members) = &group.members else { return };
    assert!(members.len() <= MAX_MEMBERS && is_ordered(members));
    let listed = many(field(entry, "members"));
    assert_eq!(
        members.is_empty(),
        listed.is_empty(),
        "somebody is a member, or nobody is"
    );
    let values: BTreeSet<String> = listed
        .into_iter()
        .map(|member| text(member, "value").unwrap_or_default())
        .collect();
    let read: BTreeSet<String> = members.iter().map(|member| member.value.to_string()).collect();
    assert_eq!(read, values, "the members, and no others");
}

/// Holds the bounds of a page. Its document, where `serde_json` can keep it: what is passed over may be anything.
fn bounded<T: Entry + Clone>(body: &[u8], page: &Page<T>) -> Option<Value> {
    assert!(page.entries.len() <= MAX_PAGE);
    assert!(page.total < 1 << 53, "a count that every reader reads alike");
    let kept: usize = page.entries.iter().map(Entry::bytes).sum();
    assert!(
        kept <= MAX_GROWTH * body.len(),
        "{} bytes become {kept}",
        body.len()
    );
    // A server that answers every request like this.
    if let Progress::More(walk) = Walk::new().feed(Ok(page.clone()))
        && let Progress::Complete(list) = walk.feed(Ok(page.clone()))
    {
        let ids: Vec<_> = list.entries().iter().map(Entry::id).collect();
        assert_eq!(
            ids.len() as u64,
            page.total,
            "a complete list has as many as it says"
        );
        assert!(ids.is_sorted_by(|a, b| a < b), "each once");
    }
    let document = serde_json::from_slice(body).ok()?;
    assert_eq!(resources(&document).len(), page.entries.len(), "no entry is lost");
    Some(document)
}

fn resources(document: &Value) -> Vec<&Value> {
    many(field(document, "Resources"))
}

/// The items of an array, or one object alone.
fn many(value: Option<&Value>) -> Vec<&Value> {
    match value {
        Some(Value::Array(items)) => items.iter().collect(),
        Some(item @ Value::Object(_)) => vec![item],
        _ => Vec::new(),
    }
}

/// The field of this name, in any case.
pub(super) fn field<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let mut fields = object.as_object()?.iter();
    fields.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}

pub(super) fn text(object: &Value, name: &str) -> Option<String> {
    match field(object, name)? {
        Value::String(text) if text.len() <= MAX_TEXT => Some(text.clone()),
        Value::Number(number) => number.as_u64().map(|number| number.to_string()),
        _ => None,
    }
}

fn is_ordered<T: Ord>(items: &[T]) -> bool {
    items.is_sorted_by(|a, b| a < b)
}
