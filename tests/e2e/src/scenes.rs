//! What is played, and what has to come of it.

use std::time::{Duration, Instant};

use bridge_front::Front;
use serde_json::{Value, json};
use testbed::{Failure, Spec, spec, wait};

use crate::{
    bridges::{KEY, longest_gap, probes},
    lease::LeaseWatch,
    say,
    stage::{CONNECTIONS, DEADLINE, HOME, NAME, Stage},
};

/// Interval of the connections under whose load the chart is upgraded.
const LOAD_INTERVAL: Duration = Duration::from_secs(30);
/// What a busy machine may be late by.
const LATENESS: Duration = Duration::from_secs(10);
/// `spec.leaseDurationSeconds`, and the time that a replica needs to notice.
const LEASE: Duration = Duration::from_secs(30);

/// Plays everything.
pub(crate) async fn play(stage: &Stage) -> Result<(), Failure> {
    install(stage).await?;
    let bridge = main_job(stage).await?;
    leader_killed(stage).await?;
    upgrade_under_load(stage).await?;
    many_connections(stage).await?;
    reinstall(stage, &bridge).await?;
    crash(stage).await
}

async fn install(stage: &Stage) -> Result<(), Failure> {
    let begun = Instant::now();
    stage.upgrade(&[]).await?;
    say(&format!(
        "ok  helm upgrade --install --wait, two replicas, PodSecurity restricted: {:.1?}",
        begun.elapsed()
    ))?;
    stage.test().await?;
    say("ok  helm test")
}

/// Connections that are Ready, with SCIM and for Google Workspace, and a key that is refused and then rotated.
async fn main_job(stage: &Stage) -> Result<Front, Failure> {
    let (bridge, google) = (stage.bridges.healthy().await?, stage.bridges.google().await?);
    stage
        .apply(&[
            secret("okta", KEY),
            connection(stage, "okta", &bridge, spec().provider("Okta")),
            secret("google", KEY),
            connection(stage, "google", &google, spec().provider("GoogleWorkspace")),
            secret("refused", "another-key"),
            connection(stage, "refused", &bridge, spec()),
        ])
        .await?;
    for (name, reason) in [
        ("okta", "Connected"),
        ("google", "ScimDisabled"),
        ("refused", "AuthFailed"),
    ] {
        stage.until_status(name, reason).await?;
    }
    say("ok  Connected, ScimDisabled and AuthFailed, each where it should be")?;
    stage.apply(&[secret("refused", KEY)]).await?;
    let time = stage.until_status("refused", "Connected").await?;
    say(&format!("ok  a rotated key is noticed: {time:.1?}"))?;
    Ok(bridge)
}

async fn leader_killed(stage: &Stage) -> Result<(), Failure> {
    let watch = LeaseWatch::begin(stage.leases()?, NAME);
    let leader = stage.leader().await?;
    stage.kill(&leader).await?;
    let time = stage.until_answered("okta", "leader-killed").await?;
    if time > LEASE * 2 {
        return Err(format!("work went on only {time:.1?} after the leader was killed").into());
    }
    watch.hand_overs()?;
    let next = stage.leader().await?;
    let who = if next == leader {
        "the same Pod, restarted"
    } else {
        "the other Pod"
    };
    say(&format!(
        "ok  leader killed without grace: work goes on after {time:.1?}, by {who}"
    ))
}

/// A rolling upgrade while every bridge is probed twice a minute.
async fn upgrade_under_load(stage: &Stage) -> Result<(), Failure> {
    let count = stage.arguments.load;
    let mut bridges = Vec::new();
    let mut objects = vec![secret("load", KEY)];
    for number in 0..count {
        let bridge = stage.bridges.healthy().await?;
        let mut object = connection(stage, "load", &bridge, spec().with("interval", "30s"));
        rename(&mut object, &format!("load-{number}"));
        objects.push(object);
        bridges.push(bridge);
    }
    stage.apply(&objects).await?;
    until_connected(stage, "load-", count).await?;

    let watch = LeaseWatch::begin(stage.leases()?, NAME);
    let begun = Instant::now();
    stage.upgrade(&["podAnnotations.e2e=upgraded"]).await?;
    let upgraded = begun.elapsed();
    // Until each bridge had its turn under the new leader. After a change of leader a probe that fell due meanwhile comes
    // in its own slot of the interval: at most one interval late.
    let before: Vec<usize> = bridges.iter().map(probes).collect();
    wait::until(DEADLINE, "two more probes of each bridge", async || {
        let behind = bridges
            .iter()
            .zip(&before)
            .filter(|(bridge, before)| probes(bridge) < **before + 2)
            .count();
        if behind == 0 {
            Ok(())
        } else {
            Err(format!("{behind} bridges wait"))
        }
    })
    .await?;
    let gap = bridges.iter().map(longest_gap).max().unwrap_or_default();
    let bound = LOAD_INTERVAL * 22 / 10 + LATENESS;
    if gap > bound {
        return Err(format!("a bridge was left alone for {gap:.1?}, more than {bound:.1?}").into());
    }
    let hand_overs = watch.hand_overs()?;
    if hand_overs == 0 {
        return Err("the upgrade changed no leader: nothing was proven".into());
    }
    say(&format!(
        "ok  rolling upgrade under {count} connections: {upgraded:.1?}, {hand_overs} change(s) of leader, none while \
         another held the Lease; longest time without a probe {gap:.1?} at an interval of 30s"
    ))?;
    remove(stage, "load-", count).await
}

/// The memory limit of the chart, under many connections.
async fn many_connections(stage: &Stage) -> Result<(), Failure> {
    let count = stage.arguments.many;
    let bridge = stage.bridges.healthy().await?;
    let mut objects = vec![secret("many", KEY)];
    objects.extend((0..count).map(|number| {
        let mut object = connection(stage, "many", &bridge, spec().with("interval", "1m"));
        rename(&mut object, &format!("many-{number}"));
        object
    }));
    stage.apply(&objects).await?;
    let time = until_connected(stage, "many-", count).await?;
    // A restart is when most is read at once.
    stage.kill(&stage.leader().await?).await?;
    stage.until_answered("many-0", "restarted").await?;
    let used = memory(stage).await;
    for pod in stage.pods().await? {
        let statuses = pod
            .status
            .and_then(|status| status.container_statuses)
            .unwrap_or_default();
        for status in statuses {
            let ended = status.last_state.and_then(|state| state.terminated);
            if let Some(ended) = ended.filter(|ended| ended.reason.as_deref() == Some("OOMKilled")) {
                return Err(format!("the memory limit was too small: exit code {}", ended.exit_code).into());
            }
        }
    }
    say(&format!(
        "ok  {count} connections: Connected after {time:.1?}; memory limit 64Mi held ({used})"
    ))?;
    remove(stage, "many-", count).await
}

/// Uninstalled, connections and CRD stay; installed again, fresh verdicts are kept.
async fn reinstall(stage: &Stage, bridge: &Front) -> Result<(), Failure> {
    let before = status(stage, "okta").await?;
    stage.uninstall().await?;
    if status(stage, "okta").await? != before {
        return Err("uninstalling changed a connection".into());
    }
    let asked = probes(bridge);
    stage.upgrade(&[]).await?;
    // Something that can only come after the connections were read.
    stage.until_answered("google", "reinstalled").await?;
    if probes(bridge) != asked {
        return Err("a verdict that was fresh was asked for again".into());
    }
    if status(stage, "okta").await? != before {
        return Err("installing again wrote a status that was fresh".into());
    }
    say("ok  uninstalled: connections and CRD stay; installed again: no probe, no write for a fresh verdict")
}

async fn crash(stage: &Stage) -> Result<(), Failure> {
    if !stage.crash().await? {
        return say("--  no CRASH command: the crash of a node was left out");
    }
    let time = stage.until_answered("okta", "crashed").await?;
    stage.until_status("okta", "Connected").await?;
    say(&format!(
        "ok  node crashed and back: work goes on {time:.1?} after the API server"
    ))
}

// === manifests ===

fn secret(name: &str, key: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": CONNECTIONS}, "stringData": {"apiKey": key}})
}

/// A connection with the key of the Secret of the same name. Long intervals: no probe comes unless it is due to a cause.
fn connection(stage: &Stage, name: &str, bridge: &Front, more: Spec) -> Value {
    let url = stage.bridges.url(bridge);
    let spec = spec()
        .url(&url)
        .secret(name)
        .ca("ca")
        .with("interval", "1h")
        .with("timeout", "20s");
    let mut object = testbed::connection(&format!("{CONNECTIONS}/{name}"), spec.and(more));
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.insert("labels".to_owned(), json!({"scene": name}));
    }
    object
}

fn rename(object: &mut Value, name: &str) {
    if let Some(field) = object.pointer_mut("/metadata/name") {
        *field = name.into();
    }
}

// === looks ===

async fn until_connected(stage: &Stage, prefix: &str, count: u16) -> Result<Duration, Failure> {
    stage
        .until_statuses(
            &format!("{count} connections {prefix}* to be Connected"),
            |pairs| {
                let connected = pairs
                    .iter()
                    .filter(|(name, reason)| name.starts_with(prefix) && reason == "Connected");
                connected.count() == usize::from(count)
            },
        )
        .await
}

async fn remove(stage: &Stage, prefix: &str, count: u16) -> Result<(), Failure> {
    let selector = format!("--selector=scene={}", prefix.trim_end_matches('-'));
    let delete = [
        "delete",
        "sbc",
        "--namespace",
        CONNECTIONS,
        &selector,
        "--wait=false",
    ];
    let deleted = stage.cluster.kubectl().run(&delete).await?;
    if deleted.lines().count() == usize::from(count) {
        Ok(())
    } else {
        Err(format!("not all of {prefix}* could be deleted").into())
    }
}

async fn status(stage: &Stage, name: &str) -> Result<String, Failure> {
    let get = [
        "get",
        "sbc",
        name,
        "--namespace",
        CONNECTIONS,
        "--output=jsonpath={.status}",
    ];
    Ok(stage.cluster.kubectl().run(&get).await?)
}

/// What the kubelet says the operator uses, where it says so.
async fn memory(stage: &Stage) -> String {
    let mut used = Vec::new();
    for pod in stage.pods().await.unwrap_or_default() {
        let (Some(name), Some(node)) = (pod.metadata.name, pod.spec.and_then(|spec| spec.node_name)) else {
            continue;
        };
        let path = format!("/api/v1/nodes/{node}/proxy/stats/summary");
        let summary = stage
            .cluster
            .kubectl()
            .run(&["get", "--raw", &path])
            .await
            .unwrap_or_default();
        let summary: Value = serde_json::from_str(&summary).unwrap_or_default();
        let pods = summary
            .get("pods")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let ours = pods.iter().find(|pod| {
            pod.pointer("/podRef/name").and_then(Value::as_str) == Some(&name)
                && pod.pointer("/podRef/namespace").and_then(Value::as_str) == Some(HOME)
        });
        let bytes = ours.and_then(|pod| pod.pointer("/containers/0/memory/workingSetBytes")?.as_u64());
        if let Some(bytes) = bytes {
            used.push(format!("{} MiB", bytes / (1024 * 1024)));
        }
    }
    if used.is_empty() {
        "the kubelet does not say how much was used".to_owned()
    } else {
        format!("working sets {}", used.join(" and "))
    }
}
