//! The built-in SCIM list, for fronts without a SCIM server behind them: users and groups to read, page by
//! page.

use axum::{
    http::{Method, StatusCode, Uri},
    response::Response,
};
use serde_json::{Value, json};

use crate::{
    answer::{SCIM_JSON, json, scim_error},
    state::State,
};

/// Answers a request for a resource, given by its path below the SCIM base.
pub(crate) fn answer(state: &State, method: &Method, resource: &str, uri: &Uri) -> Response {
    let (total, make): (u32, fn(u32) -> Value) = match resource {
        "/Users" => (state.users, user),
        "/Groups" => (state.groups, group),
        _ => return scim_error(StatusCode::NOT_FOUND, "no such resource"),
    };
    if method != Method::GET {
        return scim_error(
            StatusCode::METHOD_NOT_ALLOWED,
            "the built-in list can only be read",
        );
    }
    let query = uri.query().unwrap_or_default();
    let (Ok(start), Ok(count)) = (number(query, "startIndex"), number(query, "count")) else {
        return scim_error(StatusCode::BAD_REQUEST, "startIndex and count are whole numbers");
    };
    let count = if state.ignores_count { None } else { count };
    json(SCIM_JSON, &page(total, start, count, make))
}

/// A page as RFC 7644 counts: from 1; what is below counts as the least there is.
fn page(total: u32, start: Option<i64>, count: Option<i64>, make: fn(u32) -> Value) -> Value {
    let total = i64::from(total);
    let start = start.unwrap_or(1).max(1);
    let count = count.unwrap_or(total).clamp(0, total);
    let end = start.saturating_add(count).min(total + 1);
    let resources: Vec<Value> = (start..end)
        .filter_map(|number| u32::try_from(number).ok())
        .map(make)
        .collect();
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": total,
        "startIndex": start,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    })
}

fn number(query: &str, name: &str) -> Result<Option<i64>, std::num::ParseIntError> {
    let mut parameters = query.split('&').filter_map(|parameter| parameter.split_once('='));
    parameters
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value.parse())
        .transpose()
}

fn user(number: u32) -> Value {
    let address = format!("user{number}@example.com");
    let name = format!("User {number}");
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "id": format!("USER{number:022}"),
        "userName": address,
        "displayName": name,
        "name": {"givenName": "User", "familyName": number.to_string(), "formatted": name},
        "emails": [{"primary": true, "value": address}],
        "active": true,
        "preferredLanguage": "en",
        "meta": {"resourceType": "User"},
    })
}

fn group(number: u32) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "id": format!("GROUP{number:021}"),
        "displayName": format!("Group {number}"),
        "meta": {"resourceType": "Group"},
    })
}

#[cfg(test)]
mod tests {
    use super::{page, user};

    #[test]
    fn pages_are_cut_as_the_standard_counts() {
        let ids = |start, count| {
            let page = page(3, start, count, user);
            assert_eq!(page["totalResults"], 3);
            let resources = page["Resources"].as_array().unwrap();
            assert_eq!(page["itemsPerPage"], resources.len());
            resources
                .iter()
                .map(|user| user["displayName"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(None, None), ["User 1", "User 2", "User 3"]);
        assert_eq!(ids(Some(1), Some(1)), ["User 1"]);
        assert_eq!(ids(Some(3), Some(5)), ["User 3"]);
        assert_eq!(ids(Some(-7), Some(2)), ["User 1", "User 2"]);
        assert!(ids(Some(4), Some(1)).is_empty());
        assert!(ids(Some(1), Some(0)).is_empty());
        assert!(ids(Some(i64::MAX), Some(-1)).is_empty());
    }
}
