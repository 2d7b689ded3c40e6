//! Events, as people find them: what is told, how often, and of what nothing is told.

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use bridge_front::{Content, Fault};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::{
    core::v1::{ObjectReference, Secret},
    events::v1::Event,
};
use kube::api::ListParams;
use scim_bridge_operator::{
    api::{connection::ScimBridgeConnection, vocabulary::ConditionType},
    domain::connection::conditions::find,
};
use serde_json::json;
use testbed::{
    bed::{Bed, DEADLINE, KEY, Operator, WRONG_KEY, status},
    budget, spec, wait,
};

use crate::preflight::preflight;

/// Events about a connection, oldest first.
async fn events(bed: &Bed<'_>, name: &str) -> Vec<Event> {
    let events = bed.api::<Event>().list(&ListParams::default()).await.unwrap();
    let mut events: Vec<_> = events
        .into_iter()
        .filter(|event| event.regarding.as_ref().unwrap().name.as_deref() == Some(name))
        .collect();
    events.sort_by_key(|event| (event.event_time.clone().unwrap().0, event.metadata.name.clone()));
    events
}

/// `Warning AuthFailed Probe Secret/corp x2`: type, reason, action, what it is about, how often it was told.
fn line(event: &Event) -> String {
    let words = [&event.type_, &event.reason, &event.action].map(|word| word.clone().unwrap());
    let related = event.related.as_ref().map(|ObjectReference { kind, name, .. }| {
        format!(" {}/{}", kind.as_deref().unwrap(), name.as_deref().unwrap())
    });
    let times = event.series.as_ref().map(|series| format!(" x{}", series.count));
    words.join(" ") + &related.unwrap_or_default() + &times.unwrap_or_default()
}

/// Waits until exactly this has been told of a connection.
async fn told(bed: &Bed<'_>, name: &str, expected: &[&str]) -> Vec<Event> {
    let found = wait::until(DEADLINE, "these events", async || {
        let events = events(bed, name).await;
        let lines: Vec<_> = events.iter().map(line).collect();
        if lines == expected {
            Ok(events)
        } else {
            Err(format!("{lines:#?}"))
        }
    });
    found.await.unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Waits until everything that was told so far has arrived: events go out in the order in which they come.
async fn all_told(bed: &Bed<'_>, mark: &str) {
    bed.connect_url(mark, "https://scim.invalid", spec().secret("no-such-secret"))
        .await;
    told(
        bed,
        mark,
        &["Warning SecretNotFound Resolve Secret/no-such-secret"],
    )
    .await;
}

fn away() -> Fault {
    Fault::lasting(503, Content::Json)
}

/// It says what the status says, who says so, and of which version of which object.
async fn assert_of(event: &Event, bed: &Bed<'_>, connection: &ScimBridgeConnection) {
    let current = bed.get(connection.metadata.name.as_deref().unwrap()).await;
    let ready = find(&status(&current).conditions, ConditionType::Ready)
        .cloned()
        .unwrap();
    assert_eq!(event.note, Some(ready.message));
    assert_eq!(
        event.reporting_controller.as_deref(),
        Some("scim-bridge-operator")
    );
    assert_eq!(event.reporting_instance.as_deref(), Some("replica-1"));
    let regarding = event.regarding.clone().unwrap();
    assert_eq!(regarding.api_version.as_deref(), Some("scimbridge.dev/v1alpha1"));
    assert_eq!(regarding.kind.as_deref(), Some("ScimBridgeConnection"));
    assert_eq!(regarding.uid, connection.metadata.uid);
    assert_eq!(regarding.resource_version, current.metadata.resource_version);
}

#[tokio::test]
async fn a_failure_its_causes_and_its_end_are_told() {
    let bed = Bed::new("told").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&["--identity", "replica-1"]).await;
    let created = bed.connect_well("corp", &bridge).await;
    bed.expect("corp", "True Connected").await;
    // What works from the first verdict on is as somebody has just asked for it.
    bed.probe("corp").await;
    all_told(&bed, "begun").await;
    told(&bed, "corp", &[]).await;

    let secret = bed.secret("corp", WRONG_KEY).await;
    let refused = "Warning AuthFailed Probe Secret/corp";
    let first = told(&bed, "corp", &[refused]).await.remove(0);
    assert_of(&first, &bed, &created).await;
    let related = first.related.unwrap();
    assert_eq!(
        (related.uid, related.resource_version),
        (Some(secret.uid), Some(secret.resource_version))
    );

    // Another cause, and its end, with the same again between: each is told once.
    bed.probe("corp").await;
    bed.delete::<Secret>("corp").await;
    let absent = "Warning SecretNotFound Resolve Secret/corp";
    told(&bed, "corp", &[refused, absent]).await;
    bed.secret("corp", KEY).await;
    let connected = "Normal Connected Probe";
    let events = told(&bed, "corp", &[refused, absent, connected]).await;
    assert_of(&events[2], &bed, &created).await;

    // What has been told before becomes a series.
    bed.secret("corp", WRONG_KEY).await;
    let series = ["Warning AuthFailed Probe Secret/corp x2", absent, connected];
    let events = told(&bed, "corp", &series).await;
    let seen = events[0].series.clone().unwrap().last_observed_time;
    assert!(seen.0 > events[0].event_time.clone().unwrap().0);
    bed.secret("corp", KEY).await;
    told(&bed, "corp", &[series[0], absent, "Normal Connected Probe x2"]).await;
    bed.secret("corp", WRONG_KEY).await;
    let series = [
        "Warning AuthFailed Probe Secret/corp x3",
        absent,
        "Normal Connected Probe x2",
    ];
    told(&bed, "corp", &series).await;

    // A transient failure is reported when it counts, not before.
    bed.secret("corp", KEY).await;
    bed.expect("corp", "True Connected").await;
    bridge.set(|state| state.fault("/", away()));
    bed.probe("corp").await;
    bed.probe("corp").await;
    all_told(&bed, "mark").await;
    let held = [series[0], absent, "Normal Connected Probe x3"];
    told(&bed, "corp", &held).await;
    bed.probe("corp").await;
    told(
        &bed,
        "corp",
        &[held[0], absent, held[2], "Warning BridgeUnavailable Probe"],
    )
    .await;
}

#[tokio::test]
async fn what_stands_beside_the_verdict_is_told() {
    let bed = Bed::new("beside").await;
    let bridge = bed.bridge_that(|state| state.locked = true).await;
    let _operator = bed.operator(&[]).await;
    bed.connect_well("corp", &bridge).await;
    bed.expect("corp", "True Connected").await;
    bed.probe("corp").await;
    let mut story = vec!["Normal BridgeUnlocked Unlock"];
    told(&bed, "corp", &story).await;

    bridge.set(|state| {
        state.component("RedisCache", "unhealthy");
    });
    bed.probe("corp").await;
    story.push("Warning ComponentUnhealthy Probe");
    told(&bed, "corp", &story).await;
    bridge.set(|state| {
        state.component("RedisCache", "healthy");
    });
    bed.probe("corp").await;
    story.push("Normal ComponentsHealthy Probe");
    told(&bed, "corp", &story).await;

    bed.edit("corp", spec().next_secret("next")).await;
    story.push("Warning SecretNotFound Rehearse Secret/next");
    told(&bed, "corp", &story).await;
    bed.secret("next", WRONG_KEY).await;
    story.push("Warning KeyRefused Rehearse Secret/next");
    told(&bed, "corp", &story).await;
    bed.secret("next", KEY).await;
    story.push("Normal KeyAccepted Rehearse Secret/next");
    told(&bed, "corp", &story).await;
}

/// A new operator knows nothing but the status: that is enough.
#[tokio::test]
async fn a_restart_tells_nothing_again() {
    let bed = Bed::new("again").await;
    let (good, bad) = (bed.healthy_bridge().await, bed.healthy_bridge().await);
    bad.set(|state| state.key = "canary-another-key".into());
    let operator = bed.operator(&[]).await;
    bed.secret("mended", WRONG_KEY).await;
    bed.connect("mended", &good, json!({})).await;
    bed.connect_well("good", &good).await;
    bed.connect_well("bad", &bad).await;
    let (refused, connected) = ("Warning AuthFailed Probe Secret/mended", "Normal Connected Probe");
    told(&bed, "mended", &[refused]).await;
    bed.secret("mended", KEY).await;
    let stories: [(&str, &[&str]); 3] = [
        ("mended", &[refused, connected]),
        ("bad", &["Warning AuthFailed Probe Secret/bad"]),
        ("good", &[]),
    ];
    bed.expect("good", "True Connected").await;
    for (name, story) in stories {
        told(&bed, name, story).await;
    }
    operator.stop().await;
    let _operator = bed.operator(&[]).await;
    for (name, _) in stories {
        bed.probe(name).await;
    }
    all_told(&bed, "mark").await;
    for (name, story) in stories {
        told(&bed, name, story).await;
    }
}

/// So many that one event each would be seen by everybody. Requests, because they can be had at once, unlike an interval;
/// a connection takes 20 in a row, so there are several connections, of each kind of verdict.
#[tokio::test]
async fn checks_without_a_change_tell_nothing() {
    const EACH: usize = 20;
    let connections = budget(9, 51);
    let bed = Bed::new("routine-events").await;
    let operator = bed.operator(&[]).await;
    let (healthy, refusing, failing) = (
        bed.healthy_bridge().await,
        bed.healthy_bridge().await,
        bed.healthy_bridge().await,
    );
    refusing.set(|state| state.key = "canary-another-key".into());
    failing.set(|state| state.fault("/", away()));
    let kinds: [(_, _, &[&str]); 3] = [
        (&healthy, "True Connected", &[]),
        (
            &refusing,
            "False AuthFailed Stalled",
            &["Warning AuthFailed Probe Secret/key"],
        ),
        (
            &failing,
            "False BridgeUnavailable Reconciling",
            &["Warning BridgeUnavailable Probe"],
        ),
    ];
    bed.secret("key", KEY).await;
    let mut names = BTreeMap::new();
    for number in 0..connections {
        let name = format!("corp-{number}");
        let (bridge, verdict, story) = kinds[number % kinds.len()];
        let same = spec().secret("key");
        bed.connect(&name, bridge, same).await;
        bed.expect(&name, verdict).await;
        names.insert(name, story);
    }
    let before = operator.probes().await;
    let bed_ = &bed;
    stream::iter(names.keys())
        .for_each_concurrent(8, async |name| {
            for _ in 0..EACH {
                bed_.probe(name).await;
            }
        })
        .await;
    let probes = usize::try_from(operator.probes().await - before).unwrap();
    assert!(probes >= connections * EACH, "{probes} checks");
    all_told(&bed, "mark").await;
    for (name, story) in &names {
        told(&bed, name, story).await;
    }
    let sent = operator.count("events_total", "sent").await;
    let bad = connections * 2 / kinds.len();
    assert_eq!(sent, bad as u64 + 1, "one for each bad verdict, and the mark");
    assert_eq!(
        operator.count("events_total", "").await,
        sent,
        "nothing failed, nothing was dropped"
    );
}

/// Ten at once and one a minute: whoever flaps drowns nobody else.
#[tokio::test]
async fn one_that_flaps_is_bounded() {
    let bed = Bed::new("flaps").await;
    let bridge = bed.healthy_bridge().await;
    let operator = bed.operator(&[]).await;
    let begun = Instant::now();
    bed.secret("corp", WRONG_KEY).await;
    bed.connect("corp", &bridge, json!({})).await;
    bed.expect("corp", "False AuthFailed Stalled").await;
    for turn in 1..18 {
        let (key, verdict) = [(WRONG_KEY, "False AuthFailed Stalled"), (KEY, "True Connected")][turn % 2];
        let secret = bed.secret("corp", key).await;
        bed.judged("corp", &secret).await;
        bed.expect("corp", verdict).await;
    }
    all_told(&bed, "mark").await;
    let minutes = begun.elapsed().as_secs() / 60;
    let times = |event: &Event| event.series.as_ref().map_or(1, |series| series.count);
    let told: i32 = events(&bed, "corp").await.iter().map(times).sum();
    let told = u64::try_from(told).unwrap();
    assert!(
        (10..=10 + minutes).contains(&told),
        "{told} of 18 in {minutes} min"
    );
    let dropped = operator.count("events_total", "dropped").await;
    assert_eq!(told + dropped, 18, "what is not told is counted");
}

#[tokio::test]
async fn kubectl_shows_them() {
    let bed = Bed::new("describe").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", WRONG_KEY).await;
    bed.connect("corp", &bridge, json!({})).await;
    told(&bed, "corp", &["Warning AuthFailed Probe Secret/corp"]).await;
    bed.secret("corp", KEY).await;
    bed.expect("corp", "True Connected").await;
    told(
        &bed,
        "corp",
        &["Warning AuthFailed Probe Secret/corp", "Normal Connected Probe"],
    )
    .await;
    let kubectl = bed.cluster.kubectl();
    let described = kubectl
        .run(&["describe", "sbc", "corp", "-n", &bed.namespace])
        .await
        .unwrap();
    let (_, shown) = described.split_once("\nEvents:").expect("a part about events");
    let rows: Vec<_> = shown
        .lines()
        .map(|row| row.split_whitespace().collect::<Vec<_>>())
        .collect();
    for [type_, reason, message] in [
        [
            "Warning",
            "AuthFailed",
            "The bridge, or a gateway that answers like it, refuses the API key.",
        ],
        [
            "Normal",
            "Connected",
            "The bridge accepts the key and its SCIM API answers.",
        ],
    ] {
        let row = rows.iter().find(|row| row.starts_with(&[type_, reason]));
        let row = row.unwrap_or_else(|| panic!("no {reason} in {shown}")).join(" ");
        assert!(
            row.contains("scim-bridge-operator") && row.contains(message),
            "{row}"
        );
    }
    // As a user finds all that is wrong in a namespace.
    let warnings = [
        "events",
        "-n",
        &bed.namespace,
        "--for",
        "sbc/corp",
        "--types",
        "Warning",
        "--no-headers",
    ];
    let shown = kubectl.run(&warnings).await.unwrap();
    assert!(
        shown.lines().count() == 1 && shown.contains("AuthFailed"),
        "{shown}"
    );
}

/// The API server takes names of 253 characters, and an event's name has a time in it.
#[tokio::test]
async fn a_long_name_is_no_obstacle() {
    let bed = Bed::new("long").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", WRONG_KEY).await;
    let name = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    bed.connect(&name, &bridge, spec().secret("corp")).await;
    told(&bed, &name, &["Warning AuthFailed Probe Secret/corp"]).await;
}

/// An operator that may do all but this.
async fn unentitled(bed: &Bed<'_>) -> (Operator, PathBuf) {
    let namespace = bed.namespace.as_str();
    let look = ["get", "list", "watch"];
    let objects = [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "mute", "namespace": namespace}}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "mute", "namespace": namespace},
        "rules": [
            {"apiGroups": ["scimbridge.dev"], "resources": ["scimbridgeconnections"], "verbs": look},
            {"apiGroups": ["scimbridge.dev"], "resources": ["scimbridgeconnections/status"], "verbs": ["patch"]},
            {"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": look},
        ]}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "mute", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "mute"},
            "subjects": [{"kind": "ServiceAccount", "name": "mute", "namespace": namespace}]}),
    ];
    for object in objects {
        bed.cluster.apply(&object.to_string()).await.unwrap();
    }
    let kubeconfig = bed
        .cluster
        .service_account_kubeconfig(namespace, "mute")
        .await
        .unwrap();
    let flags = [&["--leader-elect=false"], &testbed::bed::LOOPBACK[..]].concat();
    (bed.spawn_as(&kubeconfig, &flags).await, kubeconfig)
}

#[tokio::test]
async fn without_the_right_everything_else_goes_on() {
    let bed = Bed::new("mute").await;
    let bridge = bed.healthy_bridge().await;
    let (operator, kubeconfig) = unentitled(&bed).await;
    operator.ready(DEADLINE).await.unwrap();
    bed.secret("corp", WRONG_KEY).await;
    bed.connect("corp", &bridge, json!({})).await;
    bed.expect("corp", "False AuthFailed Stalled").await;
    bed.secret("corp", KEY).await;
    bed.expect("corp", "True Connected").await;
    operator
        .says("cannot publish events; probes and statuses are not affected")
        .await;
    let failed = wait::until(DEADLINE, "both to fail", async || {
        (operator.count("events_total", "failed").await == 2).then_some(())
    });
    failed.await.unwrap_or_else(|error| panic!("{error}"));
    let said = operator.logs().matches("cannot publish events").count();
    assert_eq!(said, 1, "once, not for each");
    operator.ready(DEADLINE).await.unwrap();
    operator.stop().await;

    let flags = ["--leader-elect=false", "--namespaces", &bed.namespace];
    let (said, content) = preflight(&kubeconfig, &flags).await;
    let place = format!("in namespace {}. Grant it", bed.namespace);
    let note = said.lines().last().unwrap();
    assert!(
        content && note.starts_with("note  this identity may not create, patch events"),
        "{said}"
    );
    assert!(note.contains(&place), "{note}");
    let (said, content) = preflight(&bed.kubeconfig, &flags).await;
    assert!(content && !said.contains("note"), "{said}");
}
