//! The next key is tried beside the current one, and decides nothing.

use scim_bridge_operator::domain::connection::evidence::{Blocker, ConsentFault, KeyFault};
use serde_json::{Value, json};

use crate::support::{Differences, front, key, log, order, play, probe, told};

const NEXT: &str = "canary-next-key";

#[tokio::test]
async fn a_next_key() {
    const BEFORE: &str = "/ping /health* /scim/Users* /scim/Groups*";
    let known = |mut changes: Value| {
        changes["furtherKeys"] = json!([NEXT]);
        changes
    };
    let front = front().await;
    let mut differences = Differences::default();
    let both_busy = || {
        json!({"faults": {"/health": {"kind": "status", "status": 503},
                          "/scim/Users": {"kind": "status", "status": 429}}})
    };
    for (changes, expected) in [
        (known(json!({})), format!("Connected, Some(Accepted): {BEFORE} /health*")),
        (json!({}), format!("Connected, Some(Refused): {BEFORE} /health*")),
        // No health report to ask: SCIM tells.
        (
            known(json!({"flavour": "hosted"})),
            format!("Connected, Some(Accepted): {BEFORE} /health* /scim/Users*"),
        ),
        (
            json!({"flavour": "hosted"}),
            format!("Connected, Some(Refused): {BEFORE} /health* /scim/Users*"),
        ),
        (
            known(json!({"faults": {"/health": {"kind": "forbidden-html"}}})),
            format!("Connected, Some(Accepted): {BEFORE} /health* /scim/Users*"),
        ),
        // A Google Workspace bridge has no SCIM; its health report knows the key.
        (
            known(json!({"mode": "google-workspace"})),
            "ScimDisabled (GET /scim/Users: 404), Some(Accepted): /ping /health* /scim/Users* /health*".to_owned(),
        ),
        // The cut-over at the bridge has happened already.
        (
            json!({"key": NEXT}),
            "AuthFailed (GET /scim/Users: 401), Some(Accepted): /ping /health* /scim/Users* /health*".to_owned(),
        ),
        (
            json!({"key": "a third"}),
            "AuthFailed (GET /scim/Users: 401), Some(Refused): /ping /health* /scim/Users* /health*".to_owned(),
        ),
        (
            known(both_busy()),
            "RateLimited (GET /scim/Users: 429), Some(Undecided): /ping /health* /scim/Users* /health* /scim/Users*"
                .to_owned(),
        ),
        // A front refuses, by the rule of `AuthFailed`: that is not the key's fault.
        (
            json!({"key": "a third", "faults": {"/ping": {"kind": "unauthorized"}}}),
            "BlockedByProxy (GET /ping: 401), Some(Undecided): /ping /health* /scim/Users* /health* /scim/Users*"
                .to_owned(),
        ),
        (
            json!({"key": "a third", "faults": {"/health": {"kind": "forbidden-html"}}}),
            "BlockedByProxy (GET /health: 403), Some(Undecided): /ping /health* /scim/Users* /health* /scim/Users*"
                .to_owned(),
        ),
        // What is no bridge gets neither key.
        (
            known(json!({"faults": {"/ping": {"kind": "html"}}})),
            "NotABridge (GET /ping: 200, but the body is an HTML page), Some(Undecided): /ping".to_owned(),
        ),
    ] {
        play(&front, &changes);
        front.clear_requests();
        let mut order = order(&front);
        order.next_key = Some(Ok(key(NEXT)));
        let exchange = probe(&order).await;
        let seen = format!("{}, {:?}: {}", told(None, &exchange), exchange.next_key, log(&front.requests()));
        differences.compare(&changes, &expected, &seen);
    }
    differences.assert_none();
}

#[tokio::test]
async fn a_next_key_that_cannot_be_tried() {
    let front = front().await;
    for (next_key, expected) in [
        (None, "None"),
        (
            Some(Err(Blocker::SecretNotFound)),
            "Some(Unusable(SecretNotFound))",
        ),
        (
            Some(Err(Blocker::SecretKeyMissing)),
            "Some(Unusable(SecretKeyMissing))",
        ),
        (
            Some(Err(Blocker::ApiKeyMalformed(KeyFault::Blank))),
            "Some(Unusable(ApiKeyMalformed(Blank)))",
        ),
        (
            Some(Err(Blocker::ConsentMissing(ConsentFault::Unnamed))),
            "Some(Unusable(ConsentMissing(Unnamed)))",
        ),
    ] {
        front.clear_requests();
        let mut order = order(&front);
        order.next_key = next_key;
        let exchange = probe(&order).await;
        assert_eq!(
            (told(None, &exchange).as_str(), format!("{:?}", exchange.next_key)),
            ("Connected", expected.to_owned())
        );
        assert_eq!(
            log(&front.requests()),
            "/ping /health* /scim/Users* /scim/Groups*",
            "{expected}"
        );
    }
}
