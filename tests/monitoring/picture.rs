//! docs/dashboard.png: the dashboard before a real Prometheus that has watched the real operator for some minutes, with
//! connections of which some are broken. Grafana itself is no package of Debian, so `picture.py` draws what it would.

use std::{fs, process::Command, time::Duration};

use bridge_front::{Content, Fault, Front, Mode, Profile};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};
use testbed::{
    Spec,
    bed::{Bed, CA, KEY, WRONG_KEY, own_cluster},
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
    let mut bed = Bed::on_own(&cluster, "picture").await;
    let operator = bed.operator_everywhere().await;
    let prometheus = Prometheus::start(&[&operator.admin().to_string()], SCRAPED).await;

    move_to(&mut bed, "identity").await;
    let okta = bed
        .bridge_that(|state| (state.users, state.groups) = (128, 9))
        .await;
    let entra = bed
        .bridge_that(|state| (state.users, state.groups) = (64, 12))
        .await;
    let google = bed.bridge_that(|state| state.mode = Mode::GoogleWorkspace).await;
    let onelogin = bed
        .bridge()
        .certificate(Profile::Valid { days: 12 })
        .start()
        .await
        .unwrap();
    connect(&bed, "okta", &okta, spec().provider("Okta")).await;
    connect(&bed, "entra", &entra, spec().provider("EntraID")).await;
    connect(&bed, "google", &google, spec().provider("GoogleWorkspace")).await;
    connect(&bed, "onelogin", &onelogin, spec().provider("OneLogin")).await;

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

    minutes(&prometheus, 2).await;
    // A wrong key, a bridge that is away for a while, one that restarts, a component that fails.
    bed.secret("rippling", WRONG_KEY).await;
    entra.set(|state| state.fault("/", away()));
    onelogin.set(|state| state.component("RedisCache", "unhealthy"));
    okta.set(|state| (state.locked, state.users) = (true, 131));
    minutes(&prometheus, 2).await;
    entra.set(|state| state.faults.clear());
    minutes(&prometheus, 2).await;

    draw(prometheus.url()).await;
}
