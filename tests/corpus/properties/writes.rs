//! The answers to writes.

use scim_bridge_operator::{
    bridge::scim::write::read_answer,
    domain::directory::{
        names::{PlainName, RemoteId, UserName},
        order::{Answer, Order, ScimType},
    },
};
use serde_json::Value;

use super::directory::{field, text};

const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// An order, and whom it changes.
fn order(name: &str) -> (Order, Option<&'static str>) {
    let id = |text| RemoteId::parse(text).expect("an id");
    let name_of = |text| PlainName::parse(text).expect("a name");
    match name {
        "suspend" => {
            let user = id("ADA");
            (Order::SetActive { user, active: false }, Some("ADA"))
        }
        "rename" => {
            let user = id("ADA");
            let given_name = Some(name_of("Ada"));
            let rename = Order::RenameUser {
                user,
                user_name: None,
                given_name,
                family_name: None,
            };
            (rename, Some("ADA"))
        }
        "add" => {
            let (group, users) = (id("staff"), vec![id("ADA")]);
            (Order::AddMembers { group, users }, Some("staff"))
        }
        "remove" => {
            let (group, users) = (id("staff"), vec![id("ADA")]);
            (Order::RemoveMembers { group, users }, Some("staff"))
        }
        _ => {
            let create = Order::CreateUser {
                user_name: UserName::parse("ada@example.com").expect("a name"),
                given_name: name_of("Ada"),
                family_name: name_of("Example"),
            };
            (create, None)
        }
    }
}

/// The first line has the order, the status and the content type. The rest is the body.
pub(crate) fn answer(input: &[u8]) {
    let end = input
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(input.len());
    let (head, body) = input.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    let mut words = head.splitn(3, ' ');
    let (order, target) = order(words.next().unwrap_or_default());
    let status: u16 = words.next().and_then(|word| word.parse().ok()).unwrap_or(200);
    let answer = read_answer(&order, status, words.next().unwrap_or_default(), body);

    let document = serde_json::from_slice::<Value>(body).ok();
    let says = |name: &str| document.as_ref().and_then(|document| text(document, name));
    let is_error = || {
        let schemas = document.as_ref().and_then(|document| field(document, "schemas"));
        let has = |schema: &Value| {
            schema
                .as_str()
                .is_some_and(|schema| schema.eq_ignore_ascii_case(ERROR))
        };
        schemas
            .is_some_and(|schemas| has(schemas) || schemas.as_array().is_some_and(|all| all.iter().any(has)))
    };
    match &answer {
        Answer::Accepted(id) => {
            assert!((200..300).contains(&status), "only 2xx is a success");
            assert!(document.is_none() || !is_error(), "an error is no success");
            if let (Some(id), true) = (id, document.is_some()) {
                assert_eq!(Some(id.as_str().to_owned()), says("id"), "whose id it is");
            }
            if let (Some(id), Some(target)) = (id, target) {
                assert_eq!(id.as_str(), target, "the answer to another request");
            }
        }
        Answer::NotFound => {
            // Without a document, what was passed over is no text.
            let no_target =
                says("scimType").and_then(|text| ScimType::parse(&text)) == Some(ScimType::NoTarget);
            let is_removal = matches!(order, Order::RemoveMembers { .. });
            let is_gone = status == 404 && (document.is_none() || is_error());
            let was_gone = is_removal && (document.is_none() || no_target);
            assert!(target.is_some() && (is_gone || was_gone), "a front lost somebody");
        }
        Answer::Conflict => assert!(target.is_none(), "nobody has this name"),
        Answer::RateLimited => assert_eq!(status, 429),
        Answer::Rejected(_) | Answer::TooMany => assert!((400..500).contains(&status)),
        Answer::Unsupported => assert!((400..500).contains(&status) || status == 501),
        Answer::NotSent => assert!((400..600).contains(&status), "it may be done"),
        Answer::Unclear => {}
    }
    let is_of_a_front = matches!(status, 501 | 511 | 561);
    if status >= 500 && !is_of_a_front {
        assert_eq!(answer, Answer::Unclear, "nobody knows whether it is done");
    }
}
