//! The exact request of each [`Order`].
//!
//! An order has one form, and nothing else is tried. Each form is the one that most servers understand, of thirteen that
//! were measured. RFC 7644, section 3.5.2, allows more of them.
//!
//! - `op` is in lower case, and always has a `path`. Without a path, five servers cleared the fields that were not given.
//! - A request has one kind of operation. One server mixed up members otherwise, and three refused.
//! - Members leave by a filter, one operation each. Three servers removed everybody for a list of values.
//! - Truth values are JSON booleans. Five servers refused them as text, and three stored the text.
//! - A new user has one address, the user name, so that nobody gets an account without one.
//! - A rename changes `userName` and leaves the addresses alone. A replaced address needs a filter by a type, or a whole
//!   list, which would drop the addresses that somebody else added. 1Password derives the address from `userName`, and
//!   asks the person to confirm it.
//! - `displayName` is written for groups only. For a user, 1Password splits it into another name.
//! - `externalId` is never written: 1Password does not return it, and two other servers lost it.

use std::collections::BTreeSet;

use serde::Serialize;

use super::directory::{path_of, path_of_list};
use crate::{
    api::vocabulary::Layer,
    domain::directory::{
        names::{PlainName, RemoteId, UserName},
        order::{MAX_MEMBERS, Order},
    },
};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// A request, ready to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) layer: Layer,
    pub(super) method: Method,
    /// The path after that of SCIM, encoded.
    pub(super) path: String,
    /// JSON.
    pub(super) body: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Post,
    Patch,
}

/// Why an order has no form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Formless {
    /// It changes nothing, or too many members at once: a fault of ours.
    Malformed,
    /// An id could end a filter on a server that reads filters carelessly. Then the filter might mean everybody.
    UnsafeId,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewUser<'a> {
    schemas: [&'static str; 1],
    user_name: &'a str,
    name: Name<'a>,
    emails: [Email<'a>; 1],
    active: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Name<'a> {
    given_name: &'a str,
    family_name: &'a str,
}

#[derive(Serialize)]
struct Email<'a> {
    value: &'a str,
    primary: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewGroup<'a> {
    schemas: [&'static str; 1],
    display_name: &'a str,
}

#[derive(Serialize)]
struct Patch<'a> {
    schemas: [&'static str; 1],
    #[serde(rename = "Operations")]
    operations: Vec<Operation<'a>>,
}

/// One operation. There is none that replaces a list, and none that removes without a filter.
#[derive(Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Operation<'a> {
    Replace { path: Field, value: Value<'a> },
    Add { path: List, value: Vec<Member<'a>> },
    Remove { path: String },
}

/// A field with one value.
#[derive(Clone, Copy, Serialize)]
enum Field {
    #[serde(rename = "active")]
    Active,
    #[serde(rename = "userName")]
    UserName,
    #[serde(rename = "name.givenName")]
    GivenName,
    #[serde(rename = "name.familyName")]
    FamilyName,
    #[serde(rename = "displayName")]
    DisplayName,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum List {
    Members,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Value<'a> {
    Flag(bool),
    Text(&'a str),
}

#[derive(Serialize)]
struct Member<'a> {
    value: &'a str,
}

// === impl Form ===

impl Form {
    /// The request of an order.
    pub(super) fn of(order: &Order) -> Result<Self, Formless> {
        match order {
            Order::CreateUser {
                user_name,
                given_name,
                family_name,
            } => Self::post(
                Layer::Users,
                &NewUser {
                    schemas: [USER],
                    user_name: user_name.as_str(),
                    name: Name {
                        given_name: given_name.as_str(),
                        family_name: family_name.as_str(),
                    },
                    emails: [Email {
                        value: user_name.as_str(),
                        primary: true,
                    }],
                    active: true,
                },
            ),
            Order::CreateGroup { display_name } => Self::post(
                Layer::Groups,
                &NewGroup {
                    schemas: [GROUP],
                    display_name: display_name.as_str(),
                },
            ),
            Order::SetActive { user, active } => {
                let operation = Operation::Replace {
                    path: Field::Active,
                    value: Value::Flag(*active),
                };
                Self::patch(Layer::Users, user, vec![operation])
            }
            Order::RenameUser {
                user,
                user_name,
                given_name,
                family_name,
            } => {
                let fields = [
                    (Field::UserName, user_name.as_ref().map(UserName::as_str)),
                    (Field::GivenName, given_name.as_ref().map(PlainName::as_str)),
                    (Field::FamilyName, family_name.as_ref().map(PlainName::as_str)),
                ];
                let replace = |(path, text): (Field, Option<_>)| {
                    let value = Value::Text(text?);
                    Some(Operation::Replace { path, value })
                };
                Self::patch(
                    Layer::Users,
                    user,
                    fields.into_iter().filter_map(replace).collect(),
                )
            }
            Order::RenameGroup { group, display_name } => {
                let operation = Operation::Replace {
                    path: Field::DisplayName,
                    value: Value::Text(display_name.as_str()),
                };
                Self::patch(Layer::Groups, group, vec![operation])
            }
            Order::AddMembers { group, users } => {
                let value = each(users)?.map(|id| Member { value: id.as_str() }).collect();
                let operation = Operation::Add {
                    path: List::Members,
                    value,
                };
                Self::patch(Layer::Groups, group, vec![operation])
            }
            Order::RemoveMembers { group, users } => {
                let filters: Result<_, _> = each(users)?.map(only_member).collect();
                let filters: Vec<_> = filters?;
                let operations = filters.into_iter().map(|path| Operation::Remove { path });
                Self::patch(Layer::Groups, group, operations.collect())
            }
        }
    }

    fn post(layer: Layer, body: &impl Serialize) -> Result<Self, Formless> {
        Ok(Self {
            layer,
            method: Method::Post,
            path: path_of_list(layer).to_owned(),
            body: json(body)?,
        })
    }

    fn patch(layer: Layer, id: &RemoteId, operations: Vec<Operation<'_>>) -> Result<Self, Formless> {
        if operations.is_empty() {
            return Err(Formless::Malformed);
        }
        let body = Patch {
            schemas: [PATCH],
            operations,
        };
        Ok(Self {
            layer,
            method: Method::Patch,
            path: path_of(layer, id),
            body: json(&body)?,
        })
    }
}

/// Each member once: many servers list one twice that is added twice.
fn each(users: &[RemoteId]) -> Result<impl Iterator<Item = &RemoteId>, Formless> {
    if users.is_empty() || users.len() > MAX_MEMBERS {
        return Err(Formless::Malformed);
    }
    let mut seen = BTreeSet::new();
    Ok(users.iter().filter(move |id| seen.insert(*id)))
}

/// The filter for one member. Its value is a JSON string (RFC 7644, section 3.4.2.2). Its end could also be found by a
/// bracket that stands in the string, so an id with one has no filter.
fn only_member(id: &RemoteId) -> Result<String, Formless> {
    if id.as_str().contains(['[', ']', '(', ')', '"', '\\']) {
        return Err(Formless::UnsafeId);
    }
    Ok(format!("members[value eq {}]", json(id.as_str())?))
}

/// This does not fail: all keys are texts.
fn json<T: Serialize + ?Sized>(document: &T) -> Result<String, Formless> {
    serde_json::to_string(document).map_err(|_| Formless::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> RemoteId {
        RemoteId::parse(text).unwrap()
    }

    fn ids(texts: &[&str]) -> Vec<RemoteId> {
        texts.iter().map(|text| id(text)).collect()
    }

    fn name(text: &str) -> PlainName {
        PlainName::parse(text).unwrap()
    }

    fn user_name(text: &str) -> UserName {
        UserName::parse(text).unwrap()
    }

    /// Every order, and the bytes of its request.
    #[test]
    fn each_order_has_one_form() {
        let rename = |user_name, given_name, family_name| Order::RenameUser {
            user: id("U1"),
            user_name,
            given_name,
            family_name,
        };
        for (order, expected) in [
            (
                Order::CreateUser {
                    user_name: user_name("ada@example.com"),
                    given_name: name("Ada \"A\" \\"),
                    family_name: name("Lovelace é"),
                },
                r#"POST /Users {"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"ada@example.com","name":{"givenName":"Ada \"A\" \\","familyName":"Lovelace é"},"emails":[{"value":"ada@example.com","primary":true}],"active":true}"#,
            ),
            (
                Order::CreateGroup {
                    display_name: name("k8s-admins"),
                },
                r#"POST /Groups {"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"k8s-admins"}"#,
            ),
            (
                Order::SetActive {
                    user: id("U1"),
                    active: false,
                },
                r#"PATCH /Users/U1 {"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"active","value":false}]}"#,
            ),
            (
                Order::SetActive {
                    user: id("a/b"),
                    active: true,
                },
                r#"PATCH /Users/a%2Fb {"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"active","value":true}]}"#,
            ),
            (
                rename(
                    Some(user_name("ada@example.org")),
                    Some(name("Ada")),
                    Some(name("Byron")),
                ),
                r#"PATCH /Users/U1 {"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"userName","value":"ada@example.org"},{"op":"replace","path":"name.givenName","value":"Ada"},{"op":"replace","path":"name.familyName","value":"Byron"}]}"#,
            ),
            (
                rename(None, None, Some(name("Byron"))),
                r#"PATCH /Users/U1 {"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"name.familyName","value":"Byron"}]}"#,
            ),
            (
                Order::RenameGroup {
                    group: id("G1"),
                    display_name: name("k8s-users"),
                },
                r#"PATCH /Groups/G1 {"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"displayName","value":"k8s-users"}]}"#,
            ),
            (
                Order::AddMembers {
                    group: id("G1"),
                    users: ids(&["U1", "U2", "U1"]),
                },
                r#"PATCH /Groups/G1 {"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"add","path":"members","value":[{"value":"U1"},{"value":"U2"}]}]}"#,
            ),
            (
                Order::RemoveMembers {
                    group: id("G1"),
                    users: ids(&["U1", "u@example.com", "U1"]),
                },
                r#"PATCH /Groups/G1 {"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"remove","path":"members[value eq \"U1\"]"},{"op":"remove","path":"members[value eq \"u@example.com\"]"}]}"#,
            ),
        ] {
            let Form {
                layer,
                method,
                path,
                body,
            } = Form::of(&order).unwrap();
            let method = format!("{method:?}").to_uppercase();
            assert_eq!(format!("{method} {path} {body}"), expected);
            assert!(path.starts_with(path_of_list(layer)), "{path}");
        }
    }

    #[test]
    fn orders_without_a_form() {
        let many: Vec<_> = (0..=MAX_MEMBERS)
            .map(|number| id(&format!("U{number}")))
            .collect();
        let add = |users: &[RemoteId]| Order::AddMembers {
            group: id("G1"),
            users: users.to_vec(),
        };
        let remove = |users: &[RemoteId]| Order::RemoveMembers {
            group: id("G1"),
            users: users.to_vec(),
        };
        let renames_nothing = Order::RenameUser {
            user: id("U1"),
            user_name: None,
            given_name: None,
            family_name: None,
        };
        for (order, expected) in [
            (renames_nothing, Some(Formless::Malformed)),
            (add(&[]), Some(Formless::Malformed)),
            (remove(&[]), Some(Formless::Malformed)),
            (add(&many), Some(Formless::Malformed)),
            (remove(&many), Some(Formless::Malformed)),
            (add(&many[1..]), None),
            (remove(&many[1..]), None),
            (remove(&ids(&["U1", "U]"])), Some(Formless::UnsafeId)),
            (remove(&ids(&["[U"])), Some(Formless::UnsafeId)),
            (remove(&ids(&["U)"])), Some(Formless::UnsafeId)),
            // No filter, so no danger.
            (add(&ids(&["U]"])), None),
            (
                Order::SetActive {
                    user: id("U]"),
                    active: false,
                },
                None,
            ),
        ] {
            assert_eq!(Form::of(&order).err(), expected, "{order:?}");
        }
    }
}
