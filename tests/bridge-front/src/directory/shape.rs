//! How users and groups look: the sample of a self-hosted bridge, and the recordings of the hosted service.

use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Context,
    dice::Dice,
    habits::{ActiveForm, Keys, MemberValue, MembersKey, Spelling, UserGroups},
    people::{Group, MemberKind, User},
    store::{Entry, Table},
};
use crate::state::Flavour;

pub(super) const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub(super) const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// A bridge writes references with the address that it was configured with.
pub(super) const BASE: &str = "https://scim.example.com";

impl Context<'_> {
    /// Whether a user carries its groups.
    pub(super) fn shows_user_groups(&self) -> bool {
        match self.habits.shown.user_groups {
            UserGroups::AsFlavour => self.flavour == Flavour::SelfHosted,
            UserGroups::Listed => true,
            UserGroups::Absent => false,
        }
    }

    fn spelt(&self, name: &str) -> String {
        match self.spelling {
            Spelling::AsWritten | Spelling::Changing => name.to_owned(),
            Spelling::LowerCase => name.to_lowercase(),
            Spelling::UpperCase => name.to_uppercase(),
        }
    }

    /// A user in SCIM.
    pub(super) fn user(&self, user: &User, groups: &[String]) -> Value {
        let self_hosted = self.flavour == Flavour::SelfHosted;
        let mut document = json!({
            "schemas": [USER],
            "id": user.id,
            "userName": self.spelt(&user.user_name),
            "displayName": user.display_name,
            "name": {
                "givenName": user.name.given_name,
                "familyName": user.name.family_name,
                "formatted": user.name.formatted(),
            },
            "emails": user.emails,
            "meta": {"resourceType": "User"},
        });
        let active = match self.habits.shown.active {
            ActiveForm::Boolean => Some(Value::Bool(user.active)),
            ActiveForm::Text => Some(Value::String(user.active.to_string())),
            ActiveForm::Absent => None,
        };
        let external_id = user.external_id.clone().or_else(|| self_hosted.then(String::new));
        let groups = (self.shows_user_groups() && !groups.is_empty()).then(|| {
            let reference = |id: &String| json!({"value": id, "ref": format!("{BASE}/Groups/{id}")});
            groups.iter().map(reference).collect::<Value>()
        });
        let language = (!self_hosted).then(|| Value::from("en"));
        let optional = [
            ("active", active),
            ("externalId", external_id.map(Value::String)),
            ("groups", groups),
            ("preferredLanguage", language),
        ];
        insert(&mut document, optional);
        if self_hosted {
            fill(
                &mut document,
                "/name",
                &["honorificPrefix", "honorificSuffix", "middleName"],
            );
            fill(
                &mut document,
                "/meta",
                &["created", "lastModified", "location", "version"],
            );
            for place in 0..user.emails.len() {
                fill(&mut document, &format!("/emails/{place}"), &["type"]);
            }
        }
        document
    }

    /// A document as it is sent: its attributes spelt as the habit has it.
    pub(super) fn sent(&self, document: Value) -> Value {
        match self.habits.shown.keys {
            Keys::AsDefined => document,
            Keys::LowerCase => in_lower_case(document),
        }
    }

    /// A group in SCIM. `entry` is where its times are.
    pub(super) fn group(
        &self,
        group: &Group,
        entry: Option<&Entry<Group>>,
        users: &Table<User>,
        in_list: bool,
        dice: &mut Dice,
    ) -> Value {
        let self_hosted = self.flavour == Flavour::SelfHosted;
        let mut document = json!({
            "schemas": [GROUP],
            "id": group.id,
            "displayName": self.spelt(&group.display_name),
            "meta": {"resourceType": "Group"},
        });
        let mut members = group.members.clone();
        dice.lose(&mut members, self.habits.shown.members_missing);
        let members: Vec<Value> = members
            .iter()
            .map(|member| {
                let kind = match member.kind {
                    MemberKind::User => "User",
                    MemberKind::Group => "Group",
                };
                let name = users.get(&member.value).map(|user| user.user_name.as_str());
                let value = match self.habits.shown.member_value {
                    MemberValue::Id => &member.value,
                    MemberValue::UserName => name.unwrap_or(&member.value),
                };
                let reference = format!("{BASE}/{kind}s/{}", member.value);
                json!({"value": value, "$ref": reference, "type": kind})
            })
            .collect();
        let members = match self.habits.shown.members {
            MembersKey::WhenAny => (!members.is_empty()).then_some(Value::Array(members)),
            MembersKey::OrNull if members.is_empty() => Some(Value::Null),
            MembersKey::Always | MembersKey::OrNull => Some(Value::Array(members)),
            MembersKey::ByIdOnly => (!in_list).then_some(Value::Array(members)),
            MembersKey::Never => None,
            MembersKey::AlwaysEmpty => Some(Value::Array(Vec::new())),
        };
        let external_id = group
            .external_id
            .clone()
            .or_else(|| self_hosted.then(String::new));
        insert(
            &mut document,
            [
                ("members", members),
                ("externalId", external_id.map(Value::String)),
            ],
        );
        if self_hosted {
            fill(
                &mut document,
                "/meta",
                &["created", "lastModified", "location", "version"],
            );
        } else if let Some(meta) = document.pointer_mut("/meta") {
            let time = |pick: fn(&Entry<Group>) -> OffsetDateTime| entry.map(|entry| stamp(pick(entry)));
            let created = time(|entry| entry.created);
            let modified = time(|entry| entry.modified);
            insert(
                meta,
                [
                    ("created", created.map(Value::String)),
                    ("lastModified", modified.map(Value::String)),
                ],
            );
        }
        document
    }
}

fn in_lower_case(document: Value) -> Value {
    match document {
        Value::Object(fields) => {
            let fields = fields.into_iter();
            fields
                .map(|(name, value)| (name.to_lowercase(), in_lower_case(value)))
                .collect()
        }
        Value::Array(entries) => entries.into_iter().map(in_lower_case).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => document,
    }
}

fn insert<const N: usize>(document: &mut Value, fields: [(&str, Option<Value>); N]) {
    let Some(document) = document.as_object_mut() else {
        return;
    };
    for (name, value) in fields {
        if let Some(value) = value {
            document.insert(name.to_owned(), value);
        }
    }
}

/// Fills an object with the empty texts that a self-hosted bridge writes.
fn fill(document: &mut Value, pointer: &str, names: &[&str]) {
    let object = document.pointer_mut(pointer).and_then(Value::as_object_mut);
    if let Some(object) = object {
        let empty = |name: &&str| ((*name).to_owned(), Value::String(String::new()));
        object.extend(names.iter().map(empty).collect::<Map<_, _>>());
    }
}

fn stamp(moment: OffsetDateTime) -> String {
    // Whole seconds, as recorded. Only years beyond 9999 cannot be written.
    moment.truncate_to_second().format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        directory::{
            Context,
            habits::Habits,
            people::{Email, Name, User},
        },
        state::Flavour,
    };

    #[test]
    fn users_look_as_in_the_sample_and_as_recorded() {
        let address = "eggs.ample@example.com".to_owned();
        let group = "f7eqriu7ht27mq5zmm63gf2dhq".to_owned();
        let user = User {
            id: "FECPUMYBHZB2PB6K4WKM4Q2HAU".to_owned(),
            user_name: address.clone(),
            name: Name {
                given_name: "Eggs".to_owned(),
                family_name: "Ample".to_owned(),
            },
            display_name: "Eggs Ample".to_owned(),
            emails: vec![Email {
                value: address,
                primary: true,
            }],
            active: true,
            external_id: None,
        };
        let habits = Habits::default();
        let shown = |flavour| Context::new(flavour, &habits, false).user(&user, std::slice::from_ref(&group));
        let self_hosted = json!({
            "active": true,
            "displayName": "Eggs Ample",
            "emails": [{"primary": true, "type": "", "value": "eggs.ample@example.com"}],
            "externalId": "",
            "groups": [{
                "value": "f7eqriu7ht27mq5zmm63gf2dhq",
                "ref": "https://scim.example.com/Groups/f7eqriu7ht27mq5zmm63gf2dhq",
            }],
            "id": "FECPUMYBHZB2PB6K4WKM4Q2HAU",
            "meta": {"created": "", "lastModified": "", "location": "", "resourceType": "User", "version": ""},
            "name": {
                "familyName": "Ample", "formatted": "Eggs Ample", "givenName": "Eggs",
                "honorificPrefix": "", "honorificSuffix": "", "middleName": "",
            },
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": "eggs.ample@example.com",
        });
        let hosted = json!({
            "active": true,
            "displayName": "Eggs Ample",
            "emails": [{"primary": true, "value": "eggs.ample@example.com"}],
            "id": "FECPUMYBHZB2PB6K4WKM4Q2HAU",
            "meta": {"resourceType": "User"},
            "name": {"familyName": "Ample", "formatted": "Eggs Ample", "givenName": "Eggs"},
            "preferredLanguage": "en",
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": "eggs.ample@example.com",
        });
        assert_eq!(shown(Flavour::SelfHosted), self_hosted);
        assert_eq!(shown(Flavour::Hosted), hosted);
    }
}
