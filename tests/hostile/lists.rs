//! Directories that mean harm: the real operator reads them, and nobody is touched by a plan.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::header,
    response::{IntoResponse as _, Response},
};
use bridge_front::{Front, Group, Seed, Upstream, User};
use scim_bridge_operator::{
    api::{connection::ScimBridgeConnection, user::ScimUser, vocabulary::ConditionType},
    bridge::scim::memory::TOTAL,
    domain::connection::conditions::find,
};
use serde_json::json;
use testbed::{
    bed::{Bed, DEADLINE, KEY, LOOPBACK, directory_line, provisioning, status},
    spec, wait,
};
use tokio::net::TcpListener;

use crate::end_to_end::peak;

/// Gives the page of `Users` or `Groups` from this index on, or the user or group of this id.
type Liar = fn(&str, u64) -> String;

/// A list with this total and these resources.
fn list(total: u64, resources: &[String]) -> String {
    let resources = resources.join(",");
    format!(
        r#"{{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":{total},"Resources":[{resources}]}}"#
    )
}

fn user(id: impl std::fmt::Display, name: &str) -> String {
    format!(r#"{{"id":"{id}","userName":"{name}","active":true}}"#)
}

/// All of these users at once, and nothing beyond the end. There is no group.
fn these(what: &str, start: u64, users: &[String]) -> String {
    match what {
        "Users" if start == 1 => list(users.len() as u64, users),
        "Users" => list(users.len() as u64, &[]),
        _ => list(0, &[]),
    }
}

/// A bridge whose directory this is.
async fn bridge(bed: &Bed<'_>, liar: Liar) -> Front {
    let router = Router::new().fallback(async move |request: Request| {
        let uri = request.uri().clone();
        let what = uri.path().rsplit('/').next().unwrap().to_owned();
        let of_query = |name: &str| {
            let query = uri.query().unwrap_or_default();
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find_map(|(key, value)| (key == name).then(|| value.parse::<u64>().unwrap()))
        };
        page(match (of_query("startIndex"), of_query("count")) {
            // A probe asks for no more, and its own bound is small.
            (Some(1), Some(1)) => list(7, &[user(1, "kim@example.com")]),
            (start, _) => liar(&what, start.unwrap_or(1)),
        })
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    let upstream: Upstream = url.parse().unwrap();
    bed.bridge().upstream(upstream).start().await.unwrap()
}

fn page(body: String) -> Response {
    (
        [(header::CONTENT_TYPE, "application/scim+json")],
        Body::from(body),
    )
        .into_response()
}

const INCOMPLETE: &str = "False DirectoryIncomplete Reconciling";
const AMBIGUOUS: &str = "False Ambiguous Stalled";
/// Nobody of that name is there, so nobody has to be suspended.
const NOBODY: &str = "True Suspended";

/// A connection's name, the directory, what an object says that wants ada@example.com suspended, and the reason of
/// condition `DirectoryIncomplete`.
type Row = (&'static str, Liar, &'static str, &'static str);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("endless", |what, start| match what {
        "Users" => list(1 << 40, &[user(start, &format!("u{start}@example.com"))]),
        _ => list(0, &[]),
    }, INCOMPLETE, "TooManyEntries"),
    ("grows", |what, start| match what {
        "Users" => list(start + 1, &[user(start, "ada@example.com")]),
        _ => list(0, &[]),
    }, INCOMPLETE, "TotalChanged"),
    ("doubled", |what, start| these(what, start, &[user(1, "ada@example.com"), user(1, "ada@example.com")]), INCOMPLETE, "IdTwice"),
    ("short", |what, start| match (what, start) {
        ("Users", 1) => list(3, &[user(1, "ada@example.com")]),
        ("Users", _) => list(3, &[]),
        _ => list(0, &[]),
    }, INCOMPLETE, "FewerThanTotal"),
    ("long", |what, _| match what {
        "Users" => list(1, &[user(1, "ada@example.com"), user(2, "kim@example.com")]),
        _ => list(0, &[]),
    }, INCOMPLETE, "MoreThanTotal"),
    ("repeats", |what, _| match what {
        "Users" => list(4, &[user(1, "ada@example.com"), user(2, "kim@example.com")]),
        _ => list(0, &[]),
    }, INCOMPLETE, "PageRepeats"),
    ("differs", |what, start| match what {
        "Users" if start == 1 => list(1, &[user(1, "ada@example.com")]),
        "Users" => list(1, &[user(1, "kim@example.com")]),
        _ => list(0, &[]),
    }, INCOMPLETE, "Conflict"),
    ("long-ids", |what, start| these(what, start, &[user("7".repeat(10_240), "ada@example.com")]), INCOMPLETE, "PageNoId"),
    ("twice-a-field", |what, start| these(what, start, &[r#"{"id":"1","userName":"ada@example.com","USERNAME":"kim@example.com"}"#.to_owned()]), INCOMPLETE, "PageFieldTwice"),
    ("never-small", |what, _| match what {
        "Users" => format!("{}{}", " ".repeat(9 << 20), list(0, &[])),
        _ => list(0, &[]),
    }, INCOMPLETE, "PageTooLarge"),
    ("groups-lie", |what, start| match what {
        "Groups" => list(start, &[r#"{"id":"1","displayName":"staff"}"#.to_owned()]),
        _ => these(what, start, &[user(1, "ada@example.com")]),
    }, INCOMPLETE, "TotalChanged"),
    ("two-in-mixed-case", |what, start| these(what, start, &[user(1, "ADA@example.com"), user(2, "ada@EXAMPLE.com")]), AMBIGUOUS, ""),
    ("two-of-one-name", |what, start| these(what, start, &[user(1, "ada@example.com"), user(2, "ada@example.com")]), AMBIGUOUS, ""),
    ("long-names", |what, start| these(what, start, &[user(1, &format!("{}@example.com", "a".repeat(1 << 20)))]), NOBODY, ""),
    ("lookalike", |what, start| these(what, start, &[user(1, "\u{430}da@example.com")]), NOBODY, ""),
    ("hidden", |what, start| these(what, start, &[user(1, "a\u{200b}da@example.com"), user(2, "\u{202e}ada@example.com")]), NOBODY, ""),
    ("blank", |what, start| these(what, start, &[user(1, " ada@example.com")]), NOBODY, ""),
    ("combining", |what, start| these(what, start, &[user(1, "a\u{301}da@example.com")]), NOBODY, ""),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_lies_touches_nobody() {
    let bed = Bed::with_provisioning("lists").await;
    bed.secret("corp", KEY).await;
    let mut bridges = Vec::new();
    for (name, liar, ..) in ROWS {
        let bridge = bridge(&bed, *liar).await;
        let more = spec()
            .secret("corp")
            .with("interval", "6h")
            .with("timeout", "60s")
            .with("provisioning", provisioning());
        bed.connect(name, &bridge, more).await;
        let wish = json!({"userName": "ada@example.com", "state": "Suspended", "adopt": "Always"});
        bed.scim_user(name, &format!("ada-{name}"), wish).await;
        bridges.push(bridge);
    }
    let operator = bed.provider(&[]).await;
    let mut wrong = Vec::new();
    for (name, _, expected, reason) in ROWS {
        // Not judged before the first read: a verdict that the bridge is not proven yet comes from no plan.
        let (users, object) = (bed.api(), format!("ada-{name}"));
        let settled = wait::until_object(DEADLINE, expected, &users, &object, |ada: &ScimUser| {
            let line = directory_line(ada);
            !line.is_empty() && !line.contains("ConnectionNotReady")
        });
        let line = directory_line(&settled.await.unwrap_or_else(|error| panic!("{error}")));
        let said = bed
            .until(name, "a report about its directory", |connection| {
                let status = status(connection);
                status.provisioning.is_some()
                    || find(&status.conditions, ConditionType::DirectoryIncomplete).is_some()
            })
            .await;
        let said = status(&said);
        let told = find(&said.conditions, ConditionType::DirectoryIncomplete)
            .map_or("", |condition| condition.reason.as_str());
        let pending = said.provisioning.map_or(0, |known| known.pending.len());
        if (line.as_str(), told, pending) != (expected, reason, 0) {
            wrong.push(format!("{name}: {line} {told}, {pending} pending"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    operator.stop().await;
    for bridge in &bridges {
        assert!(bridge.requests().iter().all(|request| request.method == "GET"));
    }
}

/// What the operator may need beside the budget of directories, in MiB: for connections, and for what the allocator keeps.
/// It is built without optimization here.
const BESIDE: u64 = 24;

/// How many bridges send as much as they can. Without a budget, each would take 32 MiB and the bodies.
const HOSTILE: usize = 8;

/// Seven MiB of users with the longest names that are kept, for ever.
fn long_names(what: &str, start: u64) -> String {
    if what != "Users" {
        return list(0, &[]);
    }
    let name = "n".repeat(1000);
    let users: Vec<String> = (start..start + 6_800).map(|id| user(id, &name)).collect();
    list(190_000, &users)
}

/// Seven MiB of the shortest members.
fn short_members(what: &str, start: u64) -> String {
    if what != "Groups" {
        return these(what, start, &[user(1, "kim@example.com")]);
    }
    let mut groups = Vec::new();
    for group in start..start + 5 {
        let mut members = String::new();
        for member in 0..75_000 {
            let comma = if member == 0 { "" } else { "," };
            write!(members, r#"{comma}{{"value":"{member}"}}"#).unwrap();
        }
        groups.push(format!(
            r#"{{"id":"{group}","displayName":"g{group}","members":[{members}]}}"#
        ));
    }
    list(190_000, &groups)
}

/// A namespace of bridges that send as much as they can: the process keeps its bound, and a neighbour is read.
#[tokio::test(flavor = "multi_thread")]
async fn directories_share_one_budget_of_memory() {
    let hostile = Bed::with_provisioning("memory").await;
    let honest = Bed::with_provisioning("neighbour").await;
    let namespaces = [hostile.namespace.as_str(), honest.namespace.as_str()].join(",");
    let flags = [
        "--leader-elect=false",
        "--provisioning",
        "--namespaces",
        &namespaces,
    ];
    let operator = honest
        .spawn_exactly_as(&honest.kubeconfig, &[&flags, &LOOPBACK[..]].concat())
        .await;
    operator.ready(DEADLINE).await.unwrap();
    let before = peak(operator.process().pid());

    let mut bridges = Vec::new();
    hostile.secret("corp", KEY).await;
    let connect = async |bed: &Bed<'_>, name: &str, bridge: &Front| {
        let more = spec()
            .secret("corp")
            .with("interval", "30s")
            .with("timeout", "30s")
            .with("provisioning", provisioning());
        bed.connect(name, bridge, more).await;
    };
    for number in 0..HOSTILE {
        let liar: Liar = if number % 2 == 0 {
            long_names
        } else {
            short_members
        };
        let bridge = bridge(&hostile, liar).await;
        connect(&hostile, &format!("hostile-{number}"), &bridge).await;
        bridges.push(Arc::new(bridge));
    }
    let address = |number: usize| format!("u{number}@example.com");
    let seed = Seed {
        users: (0..300)
            .map(|number| User::new(address(number), "Given", "Family"))
            .collect(),
        groups: vec![Group::new("staff", (0..300).map(address))],
    };
    let bridge = honest.directory(seed).start().await.unwrap();
    honest.secret("corp", KEY).await;
    connect(&honest, "corp", &bridge).await;
    honest.scim_user("corp", "u7", json!({})).await;
    honest.expect_object::<ScimUser>("u7", "True Provisioned").await;
    for number in 0..HOSTILE {
        let connection: ScimBridgeConnection = hostile
            .until(
                &format!("hostile-{number}"),
                "an incomplete directory",
                |object| find(&status(object).conditions, ConditionType::DirectoryIncomplete).is_some(),
            )
            .await;
        let status = status(&connection);
        let incomplete = find(&status.conditions, ConditionType::DirectoryIncomplete).unwrap();
        let reasons = ["TooLarge", "PageTooLarge", "NoRoom", "PageFailed"];
        assert!(
            reasons.contains(&incomplete.reason.as_str()),
            "{}",
            incomplete.reason
        );
        assert_eq!(status.provisioning, None);
    }
    let peak = peak(operator.process().pid());
    eprintln!("the operator's memory: {before} MiB before, {peak} MiB at its peak");
    let bound = before + (TOTAL >> 20) as u64 + BESIDE;
    assert!(peak <= bound, "{peak} MiB, more than {bound}");
    operator.stop().await;
}
