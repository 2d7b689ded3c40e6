//! The documents that say what a server can do, as recorded from the hosted service. Nothing follows from them:
//! one even names an endpoint that does not exist.

use axum::{http::Method, response::Response};
use serde_json::{Value, json};

use super::{
    refusal::Refusal,
    shape::{GROUP, USER},
};
use crate::answer::{self, SCIM_JSON};

/// Answers a request for one of the documents.
pub(super) fn answer(method: &Method, resource: &str) -> Result<Response, Refusal> {
    let document = match resource {
        "ServiceProviderConfig" => service_provider_config(),
        "ResourceTypes" => resource_types(),
        "Schemas" => schemas(),
        _ => return Err(Refusal::not_found()),
    };
    if method == Method::GET {
        Ok(answer::json(SCIM_JSON, &document))
    } else {
        Err(Refusal::method())
    }
}

fn service_provider_config() -> Value {
    json!({
        "authenticationSchemes": [{
            "description": "Authentication using the OAuth Bearer Token standard",
            "documentationUri": "",
            "name": "OAuth Bearer Token",
            "specUri": "https://tools.ietf.org/html/rfc6750",
            "type": "oauthbearertoken",
        }],
        "bulk": {"maxOperations": 0, "maxPayloadSize": 0, "supported": false},
        "changePassword": {"supported": false},
        "etag": {"supported": false},
        "filter": {"maxResults": 10000, "supported": true},
        "meta": {"location": "/scim/v2/ServiceProviderConfig", "resourceType": "ServiceProviderConfig"},
        "patch": {"supported": true},
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "sort": {"supported": false},
    })
}

fn resource_types() -> Value {
    let kind = |id: &str, description: &str, endpoint: &str, schema: &str| {
        json!({
            "description": description,
            "endpoint": endpoint,
            "id": id,
            "meta": {"location": format!("/scim/v2/ResourceTypes/{id}"), "resourceType": "ResourceType"},
            "name": id,
            "schema": schema,
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
        })
    };
    listed(&[
        kind("User", "User Account", "/scim/v2/User", USER),
        kind("Group", "Group", "/scim/v2/Groups", GROUP),
    ])
}

/// The attributes that were recorded, without their descriptions. `active` and a user's `displayName` are not
/// among them, and are returned all the same.
fn schemas() -> Value {
    let attribute = |name: &str, required: bool, mutability: &str| {
        json!({
            "name": name,
            "type": "string",
            "multiValued": false,
            "required": required,
            "mutability": mutability,
            "returned": "default",
            "uniqueness": if name == "userName" { "server" } else { "none" },
        })
    };
    let complex = |name: &str, multi_valued: bool, mutability: &str, parts: &[Value]| {
        json!({
            "name": name,
            "type": "complex",
            "multiValued": multi_valued,
            "required": name == "name",
            "mutability": mutability,
            "returned": "default",
            "uniqueness": "none",
            "subAttributes": parts,
        })
    };
    let text = |name, required| attribute(name, required, "readWrite");
    let fixed = |name| attribute(name, false, "immutable");
    let shown = |name| attribute(name, false, "readOnly");
    let name = [
        text("givenName", true),
        text("familyName", true),
        text("formatted", true),
    ];
    let emails = [text("value", true), text("type", false), text("primary", true)];
    let user = [
        text("userName", true),
        complex("name", false, "readWrite", &name),
        complex("emails", true, "readWrite", &emails),
        text("externalId", false),
        text("preferredLanguage", false),
        complex(
            "groups",
            true,
            "readOnly",
            &[shown("$ref"), shown("value"), shown("display")],
        ),
    ];
    let members = [fixed("value"), fixed("$ref"), fixed("type")];
    let group = [
        text("displayName", true),
        complex("members", true, "readWrite", &members),
        text("externalId", false),
    ];
    listed(&[
        json!({"id": USER, "name": "User", "description": "User account information", "attributes": user}),
        json!({"id": GROUP, "name": "Group", "description": "Group information", "attributes": group}),
    ])
}

/// These lists begin at 0 (recorded).
fn listed(resources: &[Value]) -> Value {
    json!({
        "Resources": resources,
        "itemsPerPage": resources.len(),
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "startIndex": 0,
        "totalResults": resources.len(),
    })
}
