//! docs/dashboard.png: the dashboard before a real Prometheus that has watched the real operator for some minutes. Some
//! connections are broken, and three have a directory. Grafana itself is no package of Debian, so `picture.py` draws what
//! it would.

use std::{fs, ops::RangeInclusive, process::Command, time::Duration};

use bridge_front::{Content, Fault, Front, Mode, Profile, Seed, User, directory::Total};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::PostParams};
use scim_bridge_operator::api::user::ScimUser;
use serde_json::{Value, json};
use testbed::{
    Spec,
    bed::{Bed, CA, KEY, WRONG_KEY, own_cluster, provisioning},
    spec, wait, workspace,
};
use tokio::task::spawn_blocking;

use crate::scrape::Prometheus;

const PICTURE: &str = "docs/dashboard.png";
const DASHBOARD: &str = "charts/scim-bridge-operator/files/dashboard.json";
/// Pictures in a repository are kept for ever.
const LIMIT: u64 = 300 * 1024;
/// What the picture shows, in minutes, and how often Prometheus looks meanwhile.
const SHOWN: u32 = 6;
const SCRAPED: &str = "5s";
/// Scrapes within a minute.
const A_MINUTE: u32 = 12;

/// The text that a PNG has under a keyword, where it is not compressed.
fn text_in<'a>(png: &'a [u8], keyword: &str) -> Option<&'a str> {
    let mut rest = png.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    loop {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (kind, after) = after.split_first_chunk::<4>()?;
        let (data, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        let found = data
            .strip_prefix(keyword.as_bytes())
            .and_then(|data| data.strip_prefix(b"\0"));
        if let (b"tEXt", Some(text)) = (kind, found) {
            return str::from_utf8(text).ok();
        }
        // The checksum.
        rest = after.get(4..)?;
    }
}

/// What a picture of the dashboard has to be of: type, title and queries of each panel, as `picture.py` writes them.
fn contents(dashboard: &Value) -> String {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let lines = panels.map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        let queries = targets.map(|target| &target["expr"]);
        let words = [&panel["type"], &panel["title"]].into_iter().chain(queries);
        words
            .map(|word| word.as_str().unwrap())
            .collect::<Vec<_>>()
            .join(" | ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_picture_in_the_docs_is_of_this_dashboard() {
    let root = workspace::root();
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(root.join(DASHBOARD)).unwrap()).unwrap();
    let picture = fs::read(root.join(PICTURE)).unwrap();
    assert_eq!(
        text_in(&picture, "Dashboard"),
        Some(contents(&dashboard).as_str()),
        "left: {PICTURE}; right: {DASHBOARD}. Draw it again: make dashboard-picture"
    );
    assert!(
        fs::metadata(root.join(PICTURE)).unwrap().len() <= LIMIT,
        "{PICTURE} is too large"
    );
}

/// A namespace by this name, with the authority of the bridges in it.
async fn move_to(bed: &mut Bed<'_>, name: &str) {
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    let namespaces = Api::all(bed.client.clone());
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    name.clone_into(&mut bed.namespace);
    bed.config_map(CA, bed.ca_pem()).await;
}

/// Connects as somebody would who wants to see something soon.
async fn connect(bed: &Bed<'_>, name: &str, bridge: &Front, more: impl Into<Spec>) {
    bed.secret(name, KEY).await;
    let soon = spec().with("interval", "30s").with("timeout", "5s");
    bed.connect(name, bridge, soon.and(more)).await;
}

/// Connects for the directory, too.
async fn connect_directory(bed: &Bed<'_>, name: &str, bridge: &Front, provider: &str) {
    let more = spec().provider(provider).with("provisioning", provisioning());
    connect(bed, name, bridge, more).await;
}

/// Connects for the directory in mode `Manage`, for a part of it: the provider writes the rest.
async fn manage_directory(bed: &Bed<'_>, name: &str, bridge: &Front, provider: &str) {
    let mut manage = provisioning();
    manage["mode"] = json!("Manage");
    manage["scope"]["groups"] = json!(["Group *"]);
    let more = spec().provider(provider).with("provisioning", manage);
    connect(bed, name, bridge, more).await;
}

/// Declares users of [`Seed::of`], or such as could be in it.
async fn declare(bed: &Bed<'_>, connection: &str, numbers: RangeInclusive<u32>, state: &str) {
    for number in numbers {
        let user = json!({
            "userName": format!("user{number}@example.com"),
            "name": {"givenName": "User", "familyName": number.to_string()},
            "state": state,
        });
        bed.scim_user(connection, &format!("{connection}-{number}"), user)
            .await;
    }
}

/// So many users, of which the last eight are suspended, and groups.
fn people(users: u32, groups: u32) -> Seed {
    let mut seed = Seed::of(users, groups);
    for user in seed.users.iter_mut().rev().take(8) {
        user.active = false;
    }
    seed
}

/// A bridge that is away, as its proxy says it.
fn away() -> Fault {
    Fault::status(503, Content::Html)
}

/// Waits until Prometheus has so many minutes more.
async fn minutes(prometheus: &Prometheus, minutes: u32) {
    const QUERY: &str = "count_over_time(scim_bridge_operator_leader[1h])";
    let scrapes = async || -> u32 {
        let result = prometheus.query(QUERY).await;
        let value = result.first().and_then(|sample| sample["value"][1].as_str());
        value.map_or(0, |value| value.parse().unwrap())
    };
    let enough = scrapes().await + minutes * A_MINUTE;
    let deadline = Duration::from_mins(2 * u64::from(minutes) + 1);
    let seen = wait::until(deadline, "minutes to pass in Prometheus", async || {
        (scrapes().await >= enough).then_some(())
    });
    seen.await.unwrap_or_else(|error| panic!("{error}"));
}

/// Draws what a Prometheus knows by now.
async fn draw(address: String) {
    let script = workspace::root().join("tests/monitoring/picture.py");
    let python = workspace::state().join("picture/bin/python");
    let drawn = spawn_blocking(move || {
        Command::new(python)
            .arg(script)
            .arg("--dashboard")
            .arg(workspace::root().join(DASHBOARD))
            .args(["--prometheus", &address, "--minutes", &SHOWN.to_string()])
            .arg("--out")
            .arg(workspace::root().join(PICTURE))
            .output()
    });
    let output = drawn
        .await
        .unwrap()
        .expect("make dashboard-picture brings the program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "picture.py: {said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes seven minutes, and writes docs/dashboard.png: make dashboard-picture"]
async fn the_picture_is_drawn() {
    let cluster = own_cluster()
        .await
        .expect("no CLUSTER: the picture's namespaces are its own");
    cluster.install_provisioning().await.unwrap();
    let mut bed = Bed::on_own(&cluster, "picture").await;
    let operator = bed.provider_everywhere().await;
    let prometheus = Prometheus::start(&[&operator.admin().to_string()], SCRAPED).await;

    move_to(&mut bed, "identity").await;
    let okta = bed.directory(people(128, 9)).start().await.unwrap();
    let entra = bed.directory(people(64, 12)).start().await.unwrap();
    let google = bed.bridge_that(|state| state.mode = Mode::GoogleWorkspace).await;
    let onelogin = bed
        .directory(people(42, 4))
        .certificate(Profile::Valid { days: 12 })
        .start()
        .await
        .unwrap();
    manage_directory(&bed, "okta", &okta, "Okta").await;
    connect_directory(&bed, "entra", &entra, "EntraID").await;
    connect(&bed, "google", &google, spec().provider("GoogleWorkspace")).await;
    connect_directory(&bed, "onelogin", &onelogin, "OneLogin").await;
    declare(&bed, "okta", 1..=100, "Active").await;
    declare(&bed, "okta", 201..=204, "Active").await;
    let members = json!([{"userName": "user10@example.com"}, {"userName": "user11@example.com"}]);
    bed.scim_group(
        "okta",
        "okta-group",
        json!({"displayName": "Group 1", "members": members, "adopt": "Always"}),
    )
    .await;
    declare(&bed, "entra", 1..=56, "Active").await;
    declare(&bed, "onelogin", 1..=30, "Active").await;

    move_to(&mut bed, "lab").await;
    let rippling = bed.bridge().start().await.unwrap();
    let expired = bed.bridge().certificate(Profile::Expired).start().await.unwrap();
    let closing = bed.bridge_that(|state| state.fault("/", Fault::Close)).await;
    connect(&bed, "rippling", &rippling, spec().provider("Rippling")).await;
    connect(&bed, "forgotten", &expired, spec().provider("Other")).await;
    connect(&bed, "retired", &closing, json!({})).await;
    connect(&bed, "jumpcloud", &okta, spec().provider("JumpCloud")).await;
    bed.expect("jumpcloud", "True Connected").await;
    bed.edit("jumpcloud", json!({"suspend": true})).await;

    minutes(&prometheus, 1).await;
    // Two people leave.
    "identity".clone_into(&mut bed.namespace);
    declare(&bed, "okta", 21..=22, "Suspended").await;
    minutes(&prometheus, 1).await;
    // A wrong key, a bridge that is away for a while, one that restarts, a component that fails. More suspensions than the
    // limit allows, a list that is cut short, users whom nobody declared.
    "lab".clone_into(&mut bed.namespace);
    bed.secret("rippling", WRONG_KEY).await;
    "identity".clone_into(&mut bed.namespace);
    entra.set(|state| state.fault("/", away()));
    onelogin.set(|state| {
        state.component("RedisCache", "unhealthy");
        (state.habits.lists.ends_at, state.habits.lists.total) = (Some(20), Total::Everything);
    });
    okta.set(|state| state.locked = true);
    for number in 301..=303 {
        let user = User::new(format!("user{number}@example.com"), "User", number.to_string());
        okta.directory().put_user(user);
    }
    declare(&bed, "okta", 1..=7, "Suspended").await;
    minutes(&prometheus, 1).await;
    declare(&bed, "okta", 205..=207, "Active").await;
    minutes(&prometheus, 1).await;
    entra.set(|state| state.faults.clear());
    bed.patch::<ScimUser>("entra-1", json!({"spec": {"userName": "user1.new@example.com"}}))
        .await;
    minutes(&prometheus, 1).await;
    declare(&bed, "okta", 208..=208, "Active").await;
    minutes(&prometheus, 1).await;

    draw(prometheus.url()).await;
}
