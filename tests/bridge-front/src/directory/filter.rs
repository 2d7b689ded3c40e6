//! Filters and paths of RFC 7644, as far as identity providers send them: `eq`, `and`, one filter in a path.

use serde_json::Value;

use super::refusal::Refusal;

/// One comparison: an attribute in lower case, and the value that it has to have.
#[derive(Debug, PartialEq)]
pub(super) struct Condition {
    pub(super) attribute: String,
    pub(super) value: Value,
}

impl Condition {
    /// Whether the attribute has this text, without regard to case.
    pub(super) fn is(&self, text: &str) -> bool {
        self.value
            .as_str()
            .is_some_and(|value| value == text || value.to_lowercase() == text.to_lowercase())
    }

    /// Whether the attribute has exactly this text.
    pub(super) fn is_exactly(&self, text: &str) -> bool {
        self.value.as_str() == Some(text)
    }
}

/// Reads a filter. All conditions have to hold.
pub(super) fn conditions(filter: &str) -> Result<Vec<Condition>, Refusal> {
    let invalid = || Refusal::bad("invalidFilter", "only `attribute eq value` and `and` are known");
    let mut conditions = Vec::new();
    let mut rest = filter.trim();
    loop {
        let (attribute, behind) = rest.split_once(' ').ok_or_else(invalid)?;
        let (operator, behind) = behind.trim_start().split_once(' ').ok_or_else(invalid)?;
        if !operator.eq_ignore_ascii_case("eq") {
            return Err(invalid());
        }
        let mut values = serde_json::Deserializer::from_str(behind).into_iter::<Value>();
        let value = values.next().and_then(Result::ok).ok_or_else(invalid)?;
        let behind = behind.get(values.byte_offset()..).unwrap_or_default();
        conditions.push(Condition {
            attribute: without_schema(attribute).to_lowercase(),
            value,
        });
        if behind.trim().is_empty() {
            return Ok(conditions);
        }
        let (and, next) = behind.trim_start().split_once(' ').ok_or_else(invalid)?;
        if !and.eq_ignore_ascii_case("and") {
            return Err(invalid());
        }
        rest = next.trim_start();
    }
}

/// Where an operation applies: `attribute`, `attribute.sub`, `attribute[filter]` or `attribute[filter].sub`.
#[derive(Debug, PartialEq)]
pub(super) struct Path {
    /// In lower case.
    pub(super) attribute: String,
    pub(super) filter: Option<Vec<Condition>>,
    /// In lower case.
    pub(super) sub: Option<String>,
}

impl Path {
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let invalid = || Refusal::bad("invalidPath", "this is no path to an attribute");
        let text = without_schema(text.trim());
        let (attribute, filter, behind) = match text.split_once('[') {
            Some((attribute, behind)) => {
                let (filter, behind) = behind.rsplit_once(']').ok_or_else(invalid)?;
                let filter = conditions(filter).map_err(|_| invalid())?;
                (attribute, Some(filter), behind)
            }
            None => match text.find('.') {
                Some(dot) => {
                    let (attribute, behind) = text.split_at(dot);
                    (attribute, None, behind)
                }
                None => (text, None, ""),
            },
        };
        let sub = match behind.strip_prefix('.') {
            Some(sub) if !sub.is_empty() => Some(sub.to_lowercase()),
            None if behind.is_empty() => None,
            Some(_) | None => return Err(invalid()),
        };
        if attribute.is_empty() {
            return Err(invalid());
        }
        Ok(Self {
            attribute: attribute.to_lowercase(),
            filter,
            sub,
        })
    }
}

/// A name without the URI of its schema.
fn without_schema(name: &str) -> &str {
    const CORE: &str = "urn:ietf:params:scim:schemas:core:2.0:";
    let core = name.get(..CORE.len());
    if core.is_some_and(|core| core.eq_ignore_ascii_case(CORE)) {
        let behind = name.get(CORE.len()..).unwrap_or_default();
        behind.split_once(':').map_or(behind, |(_, name)| name)
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Condition, Path, conditions};

    fn condition(attribute: &str, value: serde_json::Value) -> Condition {
        Condition {
            attribute: attribute.to_owned(),
            value,
        }
    }

    #[test]
    fn filters_are_read_with_quotes_and_without_regard_to_case() {
        let cases = [
            (
                r#"userName eq "a@b.c""#,
                vec![condition("username", json!("a@b.c"))],
            ),
            (
                r#"displayName Eq "a \"b\" and ]""#,
                vec![condition("displayname", json!("a \"b\" and ]"))],
            ),
            (
                r#"urn:ietf:params:scim:schemas:core:2.0:User:active eq true and id eq "1""#,
                vec![condition("active", json!(true)), condition("id", json!("1"))],
            ),
        ];
        for (filter, expected) in cases {
            assert_eq!(conditions(filter).unwrap(), expected, "{filter}");
        }
        for filter in [
            "",
            "a",
            "a eq",
            "a eq b",
            "a co \"b\"",
            "a eq \"b\" or c eq \"d\"",
            "a eq \"b",
        ] {
            assert!(conditions(filter).is_err(), "{filter}");
        }
    }

    #[test]
    fn paths_are_read() {
        let path = |attribute: &str, filter, sub: Option<&str>| Path {
            attribute: attribute.to_owned(),
            filter,
            sub: sub.map(str::to_owned),
        };
        let cases = [
            ("active", path("active", None, None)),
            ("name.givenName", path("name", None, Some("givenname"))),
            (
                r#"members[value eq "a]b"]"#,
                path("members", Some(vec![condition("value", json!("a]b"))]), None),
            ),
            (
                r#"emails[type eq "work"].value"#,
                path(
                    "emails",
                    Some(vec![condition("type", json!("work"))]),
                    Some("value"),
                ),
            ),
            (
                "URN:ietf:params:scim:schemas:core:2.0:User:name.familyName",
                path("name", None, Some("familyname")),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(Path::parse(text).unwrap(), expected, "{text}");
        }
        for text in ["", "a[", "a[b]", "a[b eq 1]c", "a.", "[b eq 1]"] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
    }
}
