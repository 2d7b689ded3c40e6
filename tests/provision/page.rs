//! The terminal session of docs/provisioning.md.

use std::fs;

use bridge_front::{Group, Seed, User};
use scim_bridge_operator::api::{group::ScimGroup, user::ScimUser};
use serde_json::json;
use testbed::{
    bed::{Bed, DEADLINE, KEY, provisioning},
    generated, spec, wait, workspace,
};

const PAGE: &str = "docs/provisioning.md";
const BEGIN: &str = "```console\n$ kubectl get scim -n identity\n";
const END: &str = "```\n";

/// The words of a session. Ages differ from run to run.
fn words(session: &str) -> Vec<&str> {
    let is_age = |word: &str| word.starts_with(|c: char| c.is_ascii_digit()) && word.ends_with(['s', 'm']);
    let words = session.split_whitespace();
    words
        .map(|word| if is_age(word) { "AGE" } else { word })
        .collect()
}

fn people() -> Seed {
    Seed {
        users: vec![
            User::new("ada@example.com", "Ada", "Example"),
            User::new("kim@example.com", "Kim", "Example"),
            User::new("owner@example.com", "Owner", "Example"),
        ],
        groups: vec![Group::new("k8s-admins", ["ada@example.com"])],
    }
}

#[tokio::test]
async fn generated_session_is_of_a_run() {
    let bed = Bed::with_provisioning("page").await;
    let bridge = bed.directory(people()).start().await.unwrap();
    bed.secret("okta", KEY).await;
    let more = spec().provider("Okta").with("provisioning", provisioning());
    bed.connect("okta", &bridge, more).await;
    let named = |given: &str| json!({"name": {"givenName": given, "familyName": "Example"}});
    bed.scim_user("okta", "ada", named("Ada")).await;
    bed.scim_user("okta", "canary", named("Canary")).await;
    bed.scim_user("okta", "kim", named("Kimberly")).await;
    let members = json!([{"userName": "ada@example.com"}, {"userName": "kim@example.com"}]);
    bed.scim_group(
        "okta",
        "k8s-admins",
        json!({"members": members, "adopt": "Always"}),
    )
    .await;
    let _operator = bed.provider(&[]).await;
    bed.expect("okta", "True Connected").await;
    bed.expect_object::<ScimUser>("ada", "True Provisioned").await;
    bed.expect_object::<ScimUser>("canary", "False ChangePlanned Stalled")
        .await;
    bed.expect_object::<ScimUser>("kim", "False AlreadyExists Stalled")
        .await;
    bed.expect_object::<ScimGroup>("k8s-admins", "False ChangePlanned Stalled")
        .await;

    let get = ["get", "scim", "--namespace", &bed.namespace];
    // kubectl learns of new kinds some time after the API server.
    let shown = wait::until(DEADLINE, "kubectl to know the kinds", async || {
        let shown = bed.cluster.kubectl().run(&get).await.unwrap_or_default();
        let kinds = ["scimbridgeconnection.", "scimgroup.", "scimuser."];
        if kinds.iter().all(|kind| shown.contains(kind)) {
            Ok(shown)
        } else {
            Err(shown)
        }
    });
    let shown = shown.await.unwrap_or_else(|error| panic!("{error}"));
    let page = fs::read_to_string(workspace::root().join(PAGE)).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (session, after) = rest.split_once(END).unwrap();
    if words(session) != words(&shown) {
        let whole = [before, BEGIN, &shown, END, after].concat();
        generated::file(PAGE, &whole).unwrap_or_else(|error| panic!("{error:?}\n{shown}"));
    }
}
