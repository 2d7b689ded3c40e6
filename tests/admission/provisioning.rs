//! Users, groups, and `spec.provisioning` of a connection.
//!
//! Each row says what the API server makes of a change, and whether the operator's own parser agrees. Where it does not,
//! the row says so.

use std::fmt::Write as _;

use scim_bridge_operator::{
    api::{connection::ScimBridgeConnection, group::ScimGroup, user::ScimUser},
    domain::directory::{
        budget::DigestKey,
        plan::Policy,
        wish::{GroupWish, UserWish},
    },
};
use serde_json::{Value, json};
use testbed::{Failure, connection, wait};

use crate::server::{CONNECTIONS, Fields, GROUPS, Resource, SOON, Server, USERS, causes, patched};

/// What comes of an object.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// The API server accepts it, and the operator uses it.
    Used,
    /// The API server accepts it. The operator refuses it with this text.
    Left(&'static str),
    /// Both refuse it: the field that the API server names, and a part of its message.
    Refused(&'static str, &'static str),
    /// The API server alone refuses it. The operator, which may meet an older CRD, would use it.
    RefusedByCrd(&'static str, &'static str),
}
use Outcome::{Left, Refused, RefusedByCrd, Used};

/// That the operator's types cannot hold a value.
const UNREADABLE: &str = "unreadable";

/// Changes to the specification of [`user`].
#[rustfmt::skip]
const USER_ROWS: &[(&str, Outcome)] = &[
    ("", Used),
    // User names.
    ("userName: a@b", Used),
    ("userName: ADA+Vault@Example.COM", Used),
    ("userName: <242>@example.com", Used),
    ("userName: <243>@example.com", Refused(".userName", "may not be more than 254")),
    ("userName: ada@bücher.example", Used),
    ("userName: 名@example.com", Used),
    ("userName: <121ü>@example.com", Used),
    ("userName: <122ü>@example.com", Left("spec.userName is too long")),
    ("userName: <242ü>@example.com", Left("spec.userName is too long")),
    ("userName: <243ü>@example.com", Refused(".userName", "may not be more than 254")),
    ("userName: ABSENT", Refused(".userName", "Required value")),
    ("userName: null", Refused(".userName", "Required value")),
    ("userName: 7", Refused(".userName", "must be of type string")),
    ("userName: [ada@example.com]", Refused(".userName", "must be of type string")),
    ("userName: ''", Refused(".userName", "at least 3 chars")),
    ("userName: ada", Refused(".userName", "should match")),
    ("userName: '@example.com'", Refused(".userName", "should match")),
    ("userName: ada@", Refused(".userName", "should match")),
    ("userName: ada@example@com", Refused(".userName", "should match")),
    ("userName: ada lovelace@example.com", Refused(".userName", "should match")),
    (r#"userName: "ada@example.com\n""#, Refused(".userName", "should match")),
    (r#"userName: "ada\t@example.com""#, Refused(".userName", "should match")),
    (r#"userName: "ada\u00a0@example.com""#, Left("spec.userName has a blank where none may be")),
    (r#"userName: "ada\u200b@example.com""#, Left("spec.userName has a control character or an invisible character")),
    (r#"userName: "\u202eada@example.com""#, Left("spec.userName has a control character or an invisible character")),
    (r#"userName: "ada\u0001@example.com""#, Left("spec.userName has a control character or an invisible character")),
    (r#"userName: "a\u0308da@example.com""#, Left("spec.userName is not in the normal form of Unicode")),
    ("userName: ﬁona@example.com", Left("spec.userName is not in the normal form of Unicode")),
    // Names of people.
    ("name: {givenName: A, familyName: B}", Used),
    ("name: {givenName: 名, familyName: Größe}", Used),
    ("name: {givenName: Ada King, familyName: Lovelace-Byron}", Used),
    ("name: {givenName: <256>, familyName: <256>}", Used),
    ("name: {givenName: <128ü>, familyName: <128ü>}", Used),
    ("name: {givenName: <129ü>, familyName: B}", Left("spec.name.givenName is too long")),
    ("name: {givenName: A, familyName: <256ü>}", Left("spec.name.familyName is too long")),
    ("name: {givenName: <257>, familyName: B}", Refused(".name.givenName", "may not be more than 256")),
    ("name: {givenName: A, familyName: <257>}", Refused(".name.familyName", "may not be more than 256")),
    ("name: {givenName: '', familyName: B}", Refused(".name.givenName", "at least 1 chars")),
    ("name: {givenName: A}", Refused(".name.familyName", "Required value")),
    ("name: {familyName: B}", Refused(".name.givenName", "Required value")),
    ("name: {givenName: null, familyName: B}", Refused(".name.givenName", "Required value")),
    ("name: ABSENT", Refused(".name", "Required value")),
    ("name: null", Refused(".name", "Required value")),
    ("name: Ada", Refused(".name", "must be of type object")),
    ("name: {givenName: ' Ada', familyName: B}", Left("spec.name.givenName has a blank where none may be")),
    (r#"name: {givenName: A, familyName: "B\u2003"}"#, Left("spec.name.familyName has a blank where none may be")),
    (r#"name: {givenName: "A\tda", familyName: B}"#, Left("spec.name.givenName has a control character or an invisible character")),
    (r#"name: {givenName: "A\u0308da", familyName: B}"#, Left("spec.name.givenName is not in the normal form of Unicode")),
    // State.
    ("state: Active", Used),
    ("state: Suspended", Used),
    ("state: null", Used),
    ("state: suspended", Refused(".state", r#"supported values: "Active", "Suspended""#)),
    ("state: Deleted", Refused(".state", "supported values")),
    ("state: ''", Refused(".state", "supported values")),
    ("state: false", Refused(".state", "must be of type string")),
    // Times.
    ("activeUntil: 2027-01-31T00:00:00Z", Used),
    ("activeUntil: 2027-01-31T00:00:00+02:00", Used),
    ("activeUntil: 2027-01-31T00:00:00.123Z", Used),
    ("activeUntil: 2020-01-31T00:00:00Z", Used),
    ("activeUntil: null", Used),
    ("activeUntil: 2027-01-31", Refused(".activeUntil", "date-time")),
    ("activeUntil: 2027-01-31T00:00:00", Refused(".activeUntil", "date-time")),
    ("activeUntil: 2027-13-31T00:00:00Z", Refused(".activeUntil", "date-time")),
    ("activeUntil: 2027-02-30T00:00:00Z", Refused(".activeUntil", "date-time")),
    ("activeUntil: 2027-01-31T24:00:00Z", Refused(".activeUntil", "date-time")),
    ("activeUntil: 2027-06-30T23:59:60Z", RefusedByCrd(".activeUntil", "date-time")),
    ("activeUntil: 2027-01-31t00:00:00z", RefusedByCrd(".activeUntil", "date-time")),
    ("activeUntil: 0000-01-01T00:00:00Z", Used),
    ("activeUntil: soon", Refused(".activeUntil", "date-time")),
    ("activeUntil: ''", Refused(".activeUntil", "date-time")),
    ("activeUntil: 1801440000", Refused(".activeUntil", "date-time")),
    ("activeUntil: 9998-12-31T23:59:59Z", Used),
    ("activeUntil: 9999-01-01T00:00:00Z", RefusedByCrd(".activeUntil", "leave it out for no end")),
    ("activeUntil: 9999-12-31T23:59:59Z", Refused(".activeUntil", "leave it out for no end")),
    // Switches.
    ("adopt: IfUnchanged", Used),
    ("adopt: Always", Used),
    ("adopt: Never", Used),
    ("adopt: null", Used),
    ("adopt: never", Refused(".adopt", r#"supported values: "IfUnchanged", "Always", "Never""#)),
    ("adopt: true", Refused(".adopt", "must be of type string")),
    ("paused: true", Used),
    ("paused: null", Used),
    ("paused: 'true'", Refused(".paused", "must be of type boolean")),
    // The connection.
    ("connectionRef: {name: corp.eu-1}", Used),
    ("connectionRef: {name: <253>}", Used),
    ("connectionRef: {name: <254>}", RefusedByCrd(".connectionRef.name", "may not be more than 253")),
    ("connectionRef: {name: ''}", RefusedByCrd(".connectionRef.name", "at least 1 chars")),
    ("connectionRef: {name: Corp}", RefusedByCrd(".connectionRef.name", "should match")),
    ("connectionRef: {name: other/corp}", RefusedByCrd(".connectionRef.name", "should match")),
    ("connectionRef: {}", Refused(".connectionRef.name", "Required value")),
    ("connectionRef: ABSENT", Refused(".connectionRef", "Required value")),
    ("connectionRef: null", Refused(".connectionRef", "Required value")),
    ("connectionRef: corp", Refused(".connectionRef", "must be of type object")),
];

/// Changes to the specification of [`group`].
#[rustfmt::skip]
const GROUP_ROWS: &[(&str, Outcome)] = &[
    ("", Used),
    // Names.
    ("displayName: x", Used),
    ("displayName: 'K8s admins (prod): Größe – 名'", Used),
    ("displayName: <256>", Used),
    ("displayName: <257>", Refused(".displayName", "may not be more than 256")),
    ("displayName: <128ü>", Used),
    ("displayName: <129ü>", Left("spec.displayName is too long")),
    ("displayName: <256ü>", Left("spec.displayName is too long")),
    ("displayName: ''", Refused(".displayName", "at least 1 chars")),
    ("displayName: ABSENT", Refused(".displayName", "Required value")),
    ("displayName: null", Refused(".displayName", "Required value")),
    ("displayName: 7", Refused(".displayName", "must be of type string")),
    ("displayName: 'k8s-admins '", Left("spec.displayName has a blank where none may be")),
    (r#"displayName: "k8s\u200b-admins""#, Left("spec.displayName has a control character or an invisible character")),
    (r#"displayName: "Gro\u0308sse""#, Left("spec.displayName is not in the normal form of Unicode")),
    // Membership.
    ("membership: Additive", Used),
    ("membership: null", Used),
    ("membership: exact", Refused(".membership", r#"supported values: "Additive", "Exact""#)),
    ("membership: Exact", Refused(".members", "membership Exact needs a list of members: write members: [] for an empty group")),
    ("{membership: Exact, members: null}", Refused(".members", "membership Exact needs a list of members")),
    ("{membership: Exact, members: []}", Used),
    ("{membership: Exact, members: [{userName: ada@example.com}]}", Used),
    // Members.
    ("members: []", Used),
    ("members: null", Used),
    ("members: [{userName: ada@example.com}, {userName: bob@example.com}]", Used),
    ("members: [{userName: ada@example.com, until: 2026-12-24T00:00:00Z}]", Used),
    ("members: [{userName: ada@example.com, until: null}]", Used),
    ("members: [{userName: <242>@example.com}]", Used),
    ("members: [{userName: <243>@example.com}]", Refused(".members[0].userName", "may not be more than 254")),
    ("members: [{userName: <122ü>@example.com}]", Left("a userName in spec.members is too long")),
    ("members: [{userName: ada@example.com}, {userName: ada@example.com}]", Refused(".members[1]", "Duplicate value")),
    ("members: [{userName: ada@example.com}, {userName: Ada@example.com}]", Left("spec.members lists a user twice")),
    ("members: [{}]", Refused(".members[0].userName", "Required value")),
    ("members: [{userName: null}]", Refused(".members[0].userName", "Required value")),
    ("members: [{until: 2026-12-24T00:00:00Z}]", Refused(".members[0].userName", "Required value")),
    ("members: [{userName: ada}]", Refused(".members[0].userName", "should match")),
    ("members: [ada@example.com]", Refused(".members[0]", "must be of type object")),
    ("members: ada@example.com", Refused(".members", "must be of type array")),
    ("members: [{userName: ada@example.com, until: tomorrow}]", Refused(".members[0].until", "date-time")),
    ("members: [{userName: ada@example.com, until: 9999-12-31T23:59:59Z}]", Refused(".members[0].until", "leave it out for no end")),
    (r#"members: [{userName: "ada\u00a0@example.com"}]"#, Left("a userName in spec.members has a blank where none may be")),
    // Switches, and the connection.
    ("adopt: Always", Used),
    ("adopt: Later", Refused(".adopt", "supported values")),
    ("paused: true", Used),
    ("paused: 1", Refused(".paused", "must be of type boolean")),
    ("connectionRef: {name: Corp}", RefusedByCrd(".connectionRef.name", "should match")),
    ("connectionRef: ABSENT", Refused(".connectionRef", "Required value")),
];

/// Changes to [`policy`], which is `spec.provisioning` of a connection.
#[rustfmt::skip]
const POLICY_ROWS: &[(&str, Outcome)] = &[
    ("", Used),
    // The mode.
    ("mode: Plan", Used),
    ("mode: Manage", Used),
    ("mode: plan", Refused(".mode", r#"supported values: "Plan", "Manage""#)),
    ("mode: ABSENT", Refused(".mode", "Required value")),
    ("mode: null", Refused(".mode", "Required value")),
    // The scope.
    ("scope: {userNames: ['*']}", Used),
    ("scope: {groups: ['k8s-*']}", Used),
    ("scope: {userNames: ['*@example.com', 'ada@example.com'], groups: ['*']}", Used),
    ("scope: {userNames: [<256>]}", Used),
    ("scope: {userNames: [<257>]}", Refused(".scope.userNames[0]", "may not be more than 256")),
    ("scope: {groups: [<129ü>]}", Left("spec.provisioning.scope has a pattern that is too long")),
    ("scope: {userNames: ['']}", Refused(".scope.userNames[0]", "at least 1 chars")),
    ("scope: {userNames: [null]}", Refused(".scope.userNames[0]", "must be of type string")),
    ("scope: {userNames: [7]}", Refused(".scope.userNames[0]", "must be of type string")),
    ("scope: {userNames: '*'}", Refused(".scope.userNames", "must be of type array")),
    ("scope: {userNames: ['*', '*']}", RefusedByCrd(".scope.userNames[1]", "Duplicate value")),
    ("scope: {userNames: [' *@example.com']}", Left("spec.provisioning.scope has a pattern that has a blank where none may be")),
    (r#"scope: {groups: ["k8s\u200b-*"]}"#, Left("spec.provisioning.scope has a pattern that has a control character or an invisible character")),
    ("scope: {}", Refused(".scope", r#"must name user names or groups: write ["*"] for all"#)),
    ("scope: {userNames: [], groups: []}", Refused(".scope", "must name user names or groups")),
    ("scope: {userNames: null}", Refused(".scope", "must name user names or groups")),
    ("scope: ABSENT", Refused(".scope", "Required value")),
    ("scope: null", Refused(".scope", "Required value")),
    // Protected users and groups.
    ("protected: {userNames: [owner@example.com], groups: [Owners]}", Used),
    ("protected: {userNames: ['*']}", Used),
    ("protected: {groups: [Owners]}", Refused(".protected", "must name at least one user: an owner of the 1Password account")),
    ("protected: {}", Refused(".protected", "must name at least one user")),
    ("protected: {userNames: []}", Refused(".protected", "must name at least one user")),
    ("protected: ABSENT", Refused(".protected", "Required value")),
    ("protected: {userNames: ['owner@example.com ']}", Left("spec.provisioning.protected has a pattern that has a blank where none may be")),
    ("protected: {userNames: [a, b, a]}", RefusedByCrd(".protected.userNames[2]", "Duplicate value")),
    // Limits.
    ("limits: {}", Used),
    ("limits: null", Used),
    ("limits: {suspensions: 0, removals: 0, creations: 0}", Used),
    ("limits: {suspensions: 10000, removals: 10000, creations: 10000}", Used),
    ("limits: {suspensions: null}", Used),
    ("limits: {suspensions: 10001}", RefusedByCrd(".limits.suspensions", "less than or equal to 10000")),
    ("limits: {removals: 10001}", RefusedByCrd(".limits.removals", "less than or equal to 10000")),
    ("limits: {creations: 10001}", RefusedByCrd(".limits.creations", "less than or equal to 10000")),
    ("limits: {suspensions: -1}", Refused(".limits.suspensions", "greater than or equal to 0")),
    ("limits: {suspensions: 2.5}", Refused(".limits.suspensions", "must be of type int64")),
    ("limits: {suspensions: all}", Refused(".limits.suspensions", "must be of type integer")),
    ("requestsPerSecond: 1", Used),
    ("requestsPerSecond: 50", Used),
    ("requestsPerSecond: null", Used),
    ("requestsPerSecond: 0", RefusedByCrd(".requestsPerSecond", "greater than or equal to 1")),
    ("requestsPerSecond: 51", RefusedByCrd(".requestsPerSecond", "less than or equal to 50")),
    ("requestsPerSecond: 300", Refused(".requestsPerSecond", "less than or equal to 50")),
    ("requestsPerSecond: '5'", Refused(".requestsPerSecond", "must be of type integer")),
];

/// Fields that do not exist, by kind: see [`crate::UNKNOWN`]. Some are what people may take for the right ones.
#[rustfmt::skip]
const UNKNOWN: &[(Resource, &str, &str)] = &[
    (USERS, "suspend: true", "spec.suspend"),
    (USERS, "displayName: Ada Lovelace", "spec.displayName"),
    (USERS, "active: false", "spec.active"),
    (USERS, "email: ada@example.com", "spec.email"),
    (USERS, "connectionRef: {name: corp, namespace: other}", "spec.connectionRef.namespace"),
    (USERS, "name: {givenName: A, familyName: B, formatted: A B}", "spec.name.formatted"),
    (GROUPS, "name: k8s-admins", "spec.name"),
    (GROUPS, "vaults: [prod]", "spec.vaults"),
    (GROUPS, "members: [{userName: ada@example.com, role: owner}]", "spec.members[0].role"),
];

// === Objects ===

#[tokio::test]
async fn users() -> Result<(), Failure> {
    hold(
        USERS,
        USER_ROWS,
        "spec",
        |patch| patched(user(), patch),
        read_user,
    )
    .await
}

#[tokio::test]
async fn groups() -> Result<(), Failure> {
    hold(
        GROUPS,
        GROUP_ROWS,
        "spec",
        |patch| patched(group(), patch),
        read_group,
    )
    .await
}

#[tokio::test]
async fn policies() -> Result<(), Failure> {
    let make = |patch: &str| {
        let policy = patched(json!({"spec": policy()}), patch)["spec"].take();
        provisioned(&policy)
    };
    hold(CONNECTIONS, POLICY_ROWS, "spec.provisioning", make, read_policy).await
}

/// Holds both sides to the rows.
async fn hold(
    resource: Resource,
    rows: &[(&str, Outcome)],
    above: &str,
    make: impl Fn(&str) -> Value,
    read: impl Fn(&Value) -> Result<(), String>,
) -> Result<(), Failure> {
    let server = Server::start(resource, "rows").await?;
    let mut wrong = String::new();
    for (patch, outcome) in rows {
        let sent = make(patch);
        let answer = server.try_create(&sent, Fields::Strict).await?;
        let verdict = match &answer {
            // The operator reads what the API server stores, with its defaults.
            Ok(stored) => match (outcome, read(stored)) {
                (Used, Ok(())) => Ok(()),
                (Left(expected), Err(said)) if said == *expected => Ok(()),
                (_, read) => Err(format!("accepted, and the operator says {read:?}")),
            },
            Err(refusal) => {
                let causes = causes(refusal);
                let names = |field: &str, message: &str| {
                    let field = format!("{above}{field}");
                    causes.iter().all(|(named, _)| *named == field)
                        && causes.iter().any(|(_, said)| said.contains(message))
                };
                match (outcome, read(&sent)) {
                    (Refused(field, message), Err(_)) if names(field, message) => Ok(()),
                    (RefusedByCrd(field, message), Ok(())) if names(field, message) => Ok(()),
                    (_, read) => Err(format!("refused: {causes:?}; the operator says {read:?}")),
                }
            }
        };
        if let Err(said) = verdict {
            writeln!(wrong, "{patch}: not {outcome:?}, but {said}")?;
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    Ok(())
}

/// With Google Workspace the bridge has no SCIM API, and so no directory.
#[tokio::test]
async fn every_provider_but_google_may_have_a_directory() -> Result<(), Failure> {
    let server = Server::start(CONNECTIONS, "providers").await?;
    let with = |provider: &str| {
        let mut object = provisioned(&policy());
        object["spec"]["identityProvider"] = json!(provider);
        object
    };
    for provider in ["EntraID", "Okta", "JumpCloud", "OneLogin", "Rippling", "Other"] {
        let answer = server.try_create(&with(provider), Fields::Strict).await?;
        assert!(answer.is_ok(), "{provider}: {answer:?}");
    }
    let google = with("GoogleWorkspace");
    let refusal = server
        .try_create(&google, Fields::Strict)
        .await?
        .expect_err("refused");
    let expected = (
        "spec.provisioning",
        "with GoogleWorkspace the SCIM API is off, so there is no directory: remove provisioning",
    );
    let causes = causes(&refusal);
    assert!(
        matches!(&*causes, [(field, said)] if *field == expected.0 && said.contains(expected.1)),
        "{causes:?}"
    );
    let mut off = google;
    off["spec"]["provisioning"] = Value::Null;
    let answer = server.try_create(&off, Fields::Strict).await?;
    assert!(answer.is_ok(), "null is absence: {answer:?}");
    Ok(())
}

/// The bounds of lists.
#[tokio::test]
async fn lists_have_bounds() -> Result<(), Failure> {
    let server = Server::start(CONNECTIONS, "patterns").await?;
    let patterns = |count: usize| -> Value { (0..count).map(|i| format!("team-{i}-*")).collect() };
    for (list, field) in [
        ("scope", "groups"),
        ("scope", "userNames"),
        ("protected", "userNames"),
    ] {
        for (count, is_accepted) in [(256, true), (257, false)] {
            let mut policy = policy();
            policy[list][field] = patterns(count);
            let object = provisioned(&policy);
            let answer = server.try_create(&object, Fields::Strict).await?;
            assert_eq!(answer.is_ok(), is_accepted, "{count} {list}.{field}");
            assert_eq!(
                read_policy(&object).is_ok(),
                is_accepted,
                "{count} {list}.{field}"
            );
            if let Err(refusal) = answer {
                assert!(
                    refusal.message.contains("must have at most 256 items"),
                    "{refusal:?}"
                );
            }
        }
    }

    let server = Server::start(GROUPS, "members").await?;
    let with = |count: usize| {
        let mut object = group();
        // As long as docs/reference/fields.md says.
        let name = |i: usize| json!({"userName": format!("{i:05}.{}@example.com", "x".repeat(22))});
        object["spec"]["members"] = (0..count).map(name).collect();
        object
    };
    // Stored, not tried: the object with its field manager has to fit into etcd.
    let full = with(10_000);
    assert_eq!(
        full.pointer("/spec/members/0/userName")
            .and_then(Value::as_str)
            .map(str::len),
        Some(40)
    );
    let stored = server.apply("owner", "full", &full).await?;
    let stored = stored.map_err(|refusal| refusal.message)?;
    assert_eq!(stored["spec"]["members"].as_array().map(Vec::len), Some(10_000));
    assert_eq!(read_group(&stored), Ok(()));
    let over = with(10_001);
    let refusal = server
        .try_create(&over, Fields::Strict)
        .await?
        .expect_err("refused");
    assert!(
        refusal.message.contains("must have at most 10000 items"),
        "{}",
        refusal.message
    );
    assert_eq!(
        read_group(&over),
        Err("spec.members has more than 10000 entries".to_owned())
    );
    Ok(())
}

/// An account never follows its object to another bridge.
#[tokio::test]
async fn the_connection_of_an_object_stays() -> Result<(), Failure> {
    for (resource, object) in [(USERS, user()), (GROUPS, group())] {
        let server = Server::start(resource, "immutable").await?;
        server
            .apply("owner", "it", &object)
            .await?
            .map_err(|refusal| refusal.message)?;
        let mut moved = object.clone();
        moved["spec"]["connectionRef"]["name"] = json!("other");
        let refusal = server.apply("owner", "it", &moved).await?.expect_err("refused");
        let causes = causes(&refusal);
        let expected = "cannot be changed: create another object for another connection";
        assert!(
            matches!(&*causes, [("spec.connectionRef", said)] if said.contains(expected)),
            "{causes:?}"
        );
        // All else may change.
        let mut changed = object;
        changed["spec"]["paused"] = json!(true);
        let (field, value) = if resource.kind == "ScimUser" {
            ("userName", "ada.king@example.com")
        } else {
            ("displayName", "k8s-operators")
        };
        changed["spec"][field] = json!(value);
        let stored = server
            .apply("owner", "it", &changed)
            .await?
            .map_err(|refusal| refusal.message)?;
        assert_eq!(stored["spec"][field], value);
    }
    Ok(())
}

#[tokio::test]
async fn defaults_are_filled_in() -> Result<(), Failure> {
    let name = json!({"givenName": "Ada", "familyName": "Lovelace"});
    let stored = Server::start(USERS, "user")
        .await?
        .create("minimal", &user())
        .await?;
    assert_eq!(
        stored["spec"],
        json!({"connectionRef": {"name": "corp"}, "userName": "ada@example.com", "name": name,
               "state": "Active", "adopt": "IfUnchanged", "paused": false})
    );
    assert_eq!(stored["status"], json!({"observedGeneration": -1}));

    let groups = Server::start(GROUPS, "group").await?;
    let mut forged = patched(group(), "members: [{userName: ada@example.com, until: null}]");
    forged["status"] = json!({"observedGeneration": 1, "id": "forged"});
    let stored = groups.create("minimal", &forged).await?;
    assert_eq!(
        stored["spec"],
        json!({"connectionRef": {"name": "corp"}, "displayName": "k8s-admins", "membership": "Additive",
               "members": [{"userName": "ada@example.com"}], "adopt": "IfUnchanged", "paused": false})
    );
    assert_eq!(
        stored["status"],
        json!({"observedGeneration": -1}),
        "set at create"
    );
    // An absent list stays absent: it says nothing, and an empty one says that nobody is in the group.
    let stored = groups.create("absent", &group()).await?;
    assert_eq!(stored["spec"].get("members"), None);
    let stored = groups.create("empty", &patched(group(), "members: []")).await?;
    assert_eq!(stored["spec"]["members"], json!([]));

    let connections = Server::start(CONNECTIONS, "policy").await?;
    let stored = connections.create("minimal", &provisioned(&policy())).await?;
    assert_eq!(
        stored["spec"]["provisioning"],
        json!({"mode": "Plan",
               "scope": {"userNames": ["*@example.com"], "groups": []},
               "protected": {"userNames": ["owner@example.com"], "groups": []},
               "limits": {"suspensions": 5, "removals": 20, "creations": 50},
               "requestsPerSecond": 5})
    );
    assert_eq!(stored["status"], json!({"observedGeneration": -1}));
    Ok(())
}

#[tokio::test]
async fn unknown_fields_are_refused_or_dropped() -> Result<(), Failure> {
    for (resource, patch, field) in UNKNOWN {
        let server = Server::start(*resource, "unknown").await?;
        let good = if resource.kind == "ScimUser" {
            user()
        } else {
            group()
        };
        let object = patched(good, patch);
        let refusal = server
            .try_create(&object, Fields::Strict)
            .await?
            .expect_err("refused");
        let expected = format!("unknown field \"{field}\"");
        assert!(
            refusal.message.contains(&expected),
            "{patch}: {}",
            refusal.message
        );
        let pruned = server.try_create(&object, Fields::Ignore).await?;
        let pruned = pruned.map_err(|refusal| refusal.message)?;
        let place = format!("/{}", field.replace(['.', '['], "/").replace(']', ""));
        assert!(object.pointer(&place).is_some(), "{place}");
        assert_eq!(pruned.pointer(&place), None, "{patch}");
    }
    Ok(())
}

/// Members are owned one by one: each team keeps its own entries of one group, and takes away no other's.
#[tokio::test]
async fn field_managers_share_the_members_of_a_group() -> Result<(), Failure> {
    let server = Server::start(GROUPS, "shared").await?;
    let of = |members: &str| patched(group(), &format!("members: [{members}]"));
    let (ada, bob, eve) = (
        "{userName: ada@example.com}",
        "{userName: bob@example.com, until: 2026-12-24T00:00:00Z}",
        "{userName: eve@example.com}",
    );
    let steps = [
        ("team-a", of(ada), "ada@example.com"),
        ("team-b", of(bob), "ada@example.com bob@example.com"),
        (
            "team-b",
            of(&format!("{bob}, {eve}")),
            "ada@example.com bob@example.com eve@example.com",
        ),
        ("team-a", group(), "bob@example.com eve@example.com"),
        ("team-b", of(eve), "eve@example.com"),
        ("team-b", of(""), ""),
    ];
    for (manager, object, expected) in steps {
        let stored = server.apply(manager, "it", &object).await?;
        let stored = stored.map_err(|refusal| refusal.message)?;
        let members = stored["spec"]["members"].as_array().into_iter().flatten();
        let names: Vec<_> = members.filter_map(|member| member["userName"].as_str()).collect();
        assert_eq!(
            names.join(" "),
            expected,
            "after {manager} applied {}",
            object["spec"]
        );
    }
    // A field of an entry has one owner.
    server
        .apply("team-a", "it", &of(bob))
        .await?
        .map_err(|refusal| refusal.message)?;
    let later = of("{userName: bob@example.com, until: 2027-12-24T00:00:00Z}");
    let refusal = server
        .apply("team-b", "it", &later)
        .await?
        .expect_err("a conflict");
    assert!(
        refusal.message.contains("conflict with \"team-a\""),
        "{}",
        refusal.message
    );
    Ok(())
}

// === Status ===

#[tokio::test]
async fn a_status_is_checked() -> Result<(), Failure> {
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "reason": "Provisioned", "message": "",
               "lastTransitionTime": "2026-11-05T12:00:00Z"})
    };
    let conditions = |count: usize| -> Value { (0..count).map(|i| condition(&format!("C{i}"))).collect() };
    let change = json!({"kind": "Addition", "count": 3});
    let pending = json!({"kind": "Suspension", "count": 7, "digest": "d".repeat(64),
                         "since": "2026-11-05T12:00:00Z", "held": true});
    let directory = |more: Value| {
        let mut status = json!({"observedGeneration": 1, "users": 3, "suspended": 1, "managed": 1,
                                "unmanagedActive": 1, "groups": 0});
        status
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"provisioning": status})
    };
    #[rustfmt::skip]
    let rows = [
        (USERS, json!({"conditions": conditions(8), "id": "x".repeat(256), "origin": "Adopted", "remoteState": "Absent"}), None),
        (USERS, json!({"conditions": conditions(9)}), Some("must have at most 8 items")),
        (USERS, json!({"id": "x".repeat(257)}), Some("may not be more than 256")),
        (USERS, json!({"origin": "Created", "stopped": [{"kind": "Suspension", "reason": "Contested"}]}), None),
        (USERS, json!({"origin": "Found"}), Some(r#"supported values: "Created", "Adopted""#)),
        (USERS, json!({"stopped": [{"kind": "Suspension", "reason": "Tired"}]}), Some("supported values")),
        (USERS, json!({"suspension": {"requestedAt": "2026-11-05T12:00:00Z", "sentAt": "soon"}}), Some("date-time")),
        (GROUPS, json!({"added": ["a", "b"], "overwritten": [{"kind": "Rename", "time": "2026-11-05T12:00:00Z"}]}), None),
        (GROUPS, json!({"added": ["a", "a"]}), Some("duplicate entries")),
        (USERS, json!({"remoteState": "Gone"}), Some("supported values")),
        (USERS, json!({"plan": vec![change.clone(); 5]}), None),
        (USERS, json!({"plan": vec![change.clone(); 6]}), Some("must have at most 5 items")),
        (USERS, json!({"plan": [{"kind": "Deletion", "count": 1}]}), Some("supported values")),
        (USERS, json!({"plan": [{"kind": "Rename", "count": 0}]}), Some("greater than or equal to 1")),
        (USERS, json!({"userName": "ada@example.com"}), Some("field not declared in schema")),
        (GROUPS, json!({"conditions": conditions(8), "members": {"wanted": 3, "present": 1, "missing": 2, "extra": 0}}), None),
        (GROUPS, json!({"members": {"wanted": 3}}), Some("Required value")),
        (GROUPS, json!({"members": {"wanted": 3, "present": 1, "missing": -2, "extra": 0}}), Some("greater than or equal to 0")),
        (GROUPS, json!({"conditions": [condition("Ready"), condition("Ready")]}), Some("duplicate entries")),
        (GROUPS, json!({"displayName": "k8s-admins"}), Some("field not declared in schema")),
        (CONNECTIONS, directory(json!({"membersReadBy": "GroupList", "snapshotTime": "2026-11-05T12:00:00Z", "pending": [pending]})), None),
        (CONNECTIONS, directory(json!({"pending": vec![pending.clone(); 6]})), Some("must have at most 5 items")),
        (CONNECTIONS, directory(json!({"users": -1})), Some("greater than or equal to 0")),
        (CONNECTIONS, directory(json!({"membersReadBy": "Guess"})), Some("supported values")),
        (CONNECTIONS, directory(json!({"pending": [{"kind": "Suspension", "count": 7}]})), Some("Required value")),
        (CONNECTIONS, json!({"provisioning": {"users": 3}}), Some("Required value")),
    ];
    let mut wrong = String::new();
    for resource in [USERS, GROUPS, CONNECTIONS] {
        let server = Server::start(resource, "status").await?;
        let object = match resource.kind {
            "ScimUser" => user(),
            "ScimGroup" => group(),
            _ => provisioned(&policy()),
        };
        server.create("it", &object).await?;
        for (_, status, expected) in rows.iter().filter(|(of, ..)| of.kind == resource.kind) {
            let said = server.apply_status("it", status).await?.err();
            let right = match (&said, expected) {
                (None, None) => true,
                (Some(said), Some(expected)) => said.message.contains(expected),
                _ => false,
            };
            if !right {
                let said = said.map(|said| said.message);
                writeln!(
                    wrong,
                    "{}: {status}: not {expected:?}, but {said:?}",
                    resource.kind
                )?;
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    Ok(())
}

// === kubectl ===

#[tokio::test]
async fn kubectl_explains() -> Result<(), Failure> {
    let server = Server::start(USERS, "explain").await?;
    for (field, expected) in [
        ("scu", "If you delete this object, the account stays as it is."),
        (
            "scg",
            "If you delete this object, the group and its members stay.",
        ),
        ("scimusers.spec.name", "-required-"),
        ("scu.spec.state", "ENUM: Active Suspended"),
        ("scg.spec.membership", "ENUM: Additive Exact"),
        ("sbc.spec.provisioning.mode", "It sends nothing."),
    ] {
        wait::until(SOON, &format!("kubectl to explain {field}"), async || {
            server.prints(&["explain", field], expected).await
        })
        .await?;
    }
    Ok(())
}

/// One command shows all three kinds. Each has its short name.
#[tokio::test]
async fn kubectl_shows_the_columns() -> Result<(), Failure> {
    let users = Server::start(USERS, "columns").await?;
    let groups = users.with(GROUPS)?;
    let connections = users.with(CONNECTIONS)?;
    users
        .create("ada", &patched(user(), "activeUntil: 2099-01-31T00:00:00Z"))
        .await?;
    groups.create("admins", &group()).await?;
    connections.create("corp", &provisioned(&policy())).await?;
    let ready = |reason: &str| {
        json!([{"type": "Ready", "status": "True", "reason": reason, "message": "All is well.",
                "lastTransitionTime": "2026-11-05T12:00:00Z"}])
    };
    let id = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let status = json!({"observedGeneration": 1, "conditions": ready("Provisioned"), "id": id, "remoteState": "Active"});
    users
        .apply_status("ada", &status)
        .await?
        .map_err(|refusal| refusal.message)?;
    let members = json!({"wanted": 3, "present": 1, "missing": 2, "extra": 4});
    let status =
        json!({"observedGeneration": 1, "conditions": ready("Provisioned"), "id": id, "members": members});
    groups
        .apply_status("admins", &status)
        .await?
        .map_err(|refusal| refusal.message)?;

    let namespace = users.namespace.name();
    let user_columns = "NAME USER STATE READY STATUS AGE ";
    let group_columns = "NAME GROUP MEMBERSHIP READY STATUS WANTED MISSING EXTRA AGE ";
    for (args, heading) in [
        (vec!["get", "scim"], user_columns),
        (vec!["get", "scim"], group_columns),
        (vec!["get", "scim"], "NAME IDP READY STATUS VERSION CHECKED AGE "),
        (vec!["get", "scu"], user_columns),
        (vec!["get", "scg"], group_columns),
    ] {
        let args = [&args[..], &["--namespace", namespace]].concat();
        wait::until(SOON, "kubectl to know the kinds", async || {
            users.prints(&args, heading).await
        })
        .await?;
    }
    // Without AGE, which depends on the clock.
    for (kind, age, expected) in [
        (
            "scu",
            5,
            format!(
                "ada ada@example.com Active True Provisioned corp Active 2099-01-31T00:00:00Z {id} All is well."
            ),
        ),
        (
            "scg",
            8,
            format!("admins k8s-admins Additive True Provisioned 3 2 4 corp {id} All is well."),
        ),
    ] {
        let args = [
            "get",
            kind,
            "--output=wide",
            "--no-headers",
            "--namespace",
            namespace,
        ];
        let row = users.cluster.kubectl().run(&args).await?;
        let mut row: Vec<_> = row.split_whitespace().collect();
        row.remove(age);
        assert_eq!(row.join(" "), expected);
    }
    Ok(())
}

// === Objects of the tables ===

/// The least that is accepted.
fn user() -> Value {
    json!({
        "apiVersion": "scimbridge.dev/v1alpha1", "kind": "ScimUser", "metadata": {"name": "it"},
        "spec": {
            "connectionRef": {"name": "corp"},
            "userName": "ada@example.com",
            "name": {"givenName": "Ada", "familyName": "Lovelace"},
        },
    })
}

/// The least that is accepted.
fn group() -> Value {
    json!({
        "apiVersion": "scimbridge.dev/v1alpha1", "kind": "ScimGroup", "metadata": {"name": "it"},
        "spec": {"connectionRef": {"name": "corp"}, "displayName": "k8s-admins"},
    })
}

/// The least that is accepted.
fn policy() -> Value {
    json!({
        "mode": "Plan",
        "scope": {"userNames": ["*@example.com"]},
        "protected": {"userNames": ["owner@example.com"]},
    })
}

/// A connection with this policy.
fn provisioned(policy: &Value) -> Value {
    let spec = testbed::spec().url("https://scim.example.com").secret("bridge");
    connection("it", spec.with("provisioning", policy.clone()))
}

// === What the operator makes of them ===

fn read_user(object: &Value) -> Result<(), String> {
    let object: ScimUser = serde_json::from_value(object.clone()).map_err(|_| UNREADABLE)?;
    let wish = UserWish::of("uid", None, &object.spec);
    wish.map(drop).map_err(|error| error.to_string())
}

fn read_group(object: &Value) -> Result<(), String> {
    let object: ScimGroup = serde_json::from_value(object.clone()).map_err(|_| UNREADABLE)?;
    let wish = GroupWish::of("uid", None, &object.spec);
    wish.map(drop).map_err(|error| error.to_string())
}

fn read_policy(object: &Value) -> Result<(), String> {
    let object: ScimBridgeConnection = serde_json::from_value(object.clone()).map_err(|_| UNREADABLE)?;
    let policy = object.spec.provisioning.as_ref().ok_or(UNREADABLE)?;
    let policy = Policy::parse(policy, None, DigestKey::new(&[7; 32]));
    policy.map(drop).map_err(|error| error.to_string())
}
