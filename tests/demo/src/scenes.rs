//! What is shown, and what it has to say.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, SystemTime},
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use testbed::{Failure, wait};

use crate::{
    bridges::KEY,
    stage::{NAMESPACE, PEOPLE, Stage, say},
};

/// READY and STATUS of every connection, once each has been probed.
const FIRST: [(&str, &str); 8] = [
    ("down", "False ConnectFailed"),
    ("entra", "True Connected"),
    ("google", "True ScimDisabled"),
    ("missing-secret", "False SecretNotFound"),
    ("okta", "True Connected"),
    ("provisioning-off", "False ProvisioningOff"),
    ("untrusted", "False CertificateUntrusted"),
    ("wrong-key", "False AuthFailed"),
];

/// READY and STATUS of every user and group, once the manifests of an import are applied.
const IMPORTED: [(&str, &str); 10] = [
    ("ada@example.com", "True Provisioned"),
    ("alan@example.com", "True Provisioned"),
    ("barbara@example.com", "True Provisioned"),
    ("donald@example.com", "True Provisioned"),
    ("frances@example.com", "True Provisioned"),
    ("edsger@example.com", "True Provisioned"),
    ("grace@example.com", "True Provisioned"),
    ("k8s-admins", "True Provisioned"),
    ("k8s-developers", "True Provisioned"),
    ("owner@example.com", "True Provisioned"),
];
/// A user who joins.
const NEW: &str = "\
---
apiVersion: scimbridge.dev/v1alpha1
kind: ScimUser
metadata: {name: katherine, namespace: people}
spec:
  connectionRef: {name: corp}
  userName: katherine@example.com
  name: {givenName: Katherine, familyName: Example}
";

/// Whom a pipeline suspends at once.
const SIX: [&str; 6] = [
    "alan@example.com",
    "barbara@example.com",
    "donald@example.com",
    "edsger@example.com",
    "frances@example.com",
    "grace@example.com",
];

/// READY and STATUS of users and groups.
type Rows = BTreeMap<&'static str, &'static str>;

const DEADLINE: Duration = Duration::from_mins(2);

/// A table that kubectl prints, and the field that names a row.
struct Table {
    command: &'static [&'static str],
    name: &'static str,
}

const CONNECTIONS: Table = Table {
    command: &["get", "scimbridgeconnections", "-n", NAMESPACE],
    name: "{.metadata.name}",
};
/// Users have one of these fields, and groups the other.
const DECLARED: Table = Table {
    command: &["get", "scimusers,scimgroups", "-n", PEOPLE],
    name: "{.spec.userName}{.spec.displayName}",
};

/// Shows connections, then users and groups.
pub(crate) async fn play(stage: &Stage) -> Result<(), Failure> {
    connections(stage).await?;
    let expected = people(stage).await?;
    managed(stage, expected).await?;
    say("Every row came out as expected.")
}

/// Shows the table, rotates a key, stops a bridge.
async fn connections(stage: &Stage) -> Result<(), Failure> {
    let mut expected = BTreeMap::from(FIRST);
    expect(stage, &CONNECTIONS, &expected).await?;
    say("The state of each bridge, and the reason:")?;
    stage.show(CONNECTIONS.command).await?;

    say("The key of wrong-key is corrected, as a rotation would:")?;
    let patch = format!("{{\"stringData\":{{\"apiKey\":\"{KEY}\"}}}}");
    stage
        .show(&["-n", NAMESPACE, "patch", "secret", "wrong-key", "--patch", &patch])
        .await?;
    expected.insert("wrong-key", "True Connected");
    expect(stage, &CONNECTIONS, &expected).await?;
    stage.show(&["-n", NAMESPACE, "get", "sbc", "wrong-key"]).await?;

    say("The bridge of entra stops. An annotation asks for the next check at once.")?;
    say(
        "One failure does not withdraw the verdict: spec.failureThreshold is 3, and retries come later each time.",
    )?;
    stage.bridges.lock().await.stop("entra").await;
    let ask = [
        "-n",
        NAMESPACE,
        "annotate",
        "sbc",
        "entra",
        "reconcile.fluxcd.io/requestedAt=now",
    ];
    stage.show(&ask).await?;
    let count = "{.status.conditions[?(@.type==\"Ready\")].reason}, failures: {.status.consecutiveFailures}";
    let count = format!("--output=jsonpath={count}");
    let look = ["-n", NAMESPACE, "get", "sbc", "entra", count.as_str()];
    wait::until(DEADLINE, "the first failure to be counted", async || {
        let seen = stage
            .cluster
            .kubectl()
            .run(&look)
            .await
            .map_err(|error| error.to_string())?;
        if seen.ends_with("failures: 0") {
            Err(seen)
        } else {
            Ok(())
        }
    })
    .await?;
    stage.show(&look).await?;
    expected.insert("entra", "False ConnectFailed");
    expect(stage, &CONNECTIONS, &expected).await?;
    stage.show(CONNECTIONS.command).await
}

/// Imports users and groups, applies them, and plans a change.
async fn people(stage: &Stage) -> Result<Rows, Failure> {
    let scim = ["get", "scim", "-n", PEOPLE];
    say("Users and groups, in mode Plan: the operator compares them with the bridge, and sends nothing.")?;
    say("import writes a manifest for each user and group of the bridge:")?;
    let import = ["scim-bridge", "import", "corp", "-n", PEOPLE, "-o", "people"];
    stage.show_plugin(&import, 0).await?;
    say("The manifests, once applied, change nothing:")?;
    let apply = ["apply", "-f", "people"];
    stage.show_plugin(&apply, 0).await?;
    let mut expected = BTreeMap::from(IMPORTED);
    expect(stage, &DECLARED, &expected).await?;
    stage.show(&scim).await?;
    let plan = ["scim-bridge", "plan", "corp", "-n", PEOPLE];
    expect_line(&stage.show_plugin(&plan, 0).await?, "no changes")?;

    say(
        "A commit suspends Ada, adds Katherine, and makes the lists of members exact. Before it is applied, plan shows what it means and exits with 2:",
    )?;
    let users = stage.folder().join("people/users.yaml");
    let manifest = fs::read_to_string(&users)?;
    let (before, ada) = manifest
        .split_once("ada@example.com")
        .ok_or("the import has no manifest of Ada")?;
    let ada = ada.replacen("state: Active", "state: Suspended", 1);
    fs::write(&users, format!("{before}ada@example.com{ada}{NEW}"))?;
    let groups = stage.folder().join("people/groups.yaml");
    let manifest = fs::read_to_string(&groups)?;
    fs::write(
        &groups,
        manifest.replace("membership: Additive", "membership: Exact"),
    )?;
    let planned = [&plan[..], &["-f", "people", "--show-names"]].concat();
    let planned = stage.show_plugin(&planned, 2).await?;
    expect_line(&planned, "suspend \"ada@example.com\"")?;
    expect_line(&planned, "create \"katherine@example.com\"")?;

    say("The commit is applied. The accounts stay as they are, and the objects say what would be sent:")?;
    stage.show_plugin(&apply, 0).await?;
    expected.insert("ada@example.com", "False ChangePlanned");
    expected.insert("katherine@example.com", "False ChangePlanned");
    expected.insert("k8s-admins", "False ChangePlanned");
    expect(stage, &DECLARED, &expected).await?;
    stage.show(&scim).await?;
    let (requests, writes) = stage.bridges.lock().await.requests_of_people();
    if writes > 0 {
        return Err(format!("{writes} requests to the bridge were not GET").into());
    }
    say(&format!(
        "The bridge received {requests} requests. Each was a GET."
    ))?;
    Ok(expected)
}

/// Sends what was planned, grants access for a time, offboards somebody, and holds a mass suspension.
async fn managed(stage: &Stage, mut expected: Rows) -> Result<(), Failure> {
    let scim = ["get", "scim", "-n", PEOPLE];
    say(
        "The connection goes to mode Manage: the operator sends what it has planned, and reads each change back.",
    )?;
    let manage = r#"{"spec":{"provisioning":{"mode":"Manage"}}}"#;
    stage
        .show(&["patch", "sbc", "corp", "-n", PEOPLE, "--type=merge", "-p", manage])
        .await?;
    expected.insert("k8s-admins", "True Provisioned");
    expected.insert("ada@example.com", "True Suspended");
    expected.insert("katherine@example.com", "True Provisioned");
    expect(stage, &DECLARED, &expected).await?;
    stage.show(&scim).await?;
    say(
        "Katherine has an account. Ada's access has ended, and left the group with it. The evidence, for an auditor:",
    )?;
    let evidence = ["scim-bridge", "offboarding", "corp", "-n", PEOPLE];
    expect_line(&stage.show_plugin(&evidence, 0).await?, "user-")?;

    say("Katherine gets into k8s-developers for one minute:")?;
    let developers = name_of(stage, "scg", "k8s-developers").await?;
    let end = Timestamp::try_from(SystemTime::now())? + SignedDuration::from_mins(1);
    let end = end.strftime("%Y-%m-%dT%H:%M:%SZ");
    let member = format!(
        r#"[{{"op":"add","path":"/spec/members/-","value":{{"userName":"katherine@example.com","until":"{end}"}}}}]"#
    );
    let grant = [
        "patch",
        "scg",
        &developers,
        "-n",
        PEOPLE,
        "--type=json",
        "-p",
        member.as_str(),
    ];
    stage.show(&grant).await?;
    until_members(stage, &developers, 3).await?;
    stage.show(&["get", "scg", "-n", PEOPLE]).await?;

    say(
        "A pipeline suspends six people more. The limit of this connection is one in an hour, so none of them is touched:",
    )?;
    for address in SIX {
        let name = name_of(stage, "scu", address).await?;
        let suspend = r#"{"spec":{"state":"Suspended"}}"#;
        stage
            .show(&["patch", "scu", &name, "-n", PEOPLE, "--type=merge", "-p", suspend])
            .await?;
    }
    for address in SIX {
        expected.insert(address, "False Held");
    }
    for group in ["k8s-admins", "k8s-developers"] {
        expected.insert(group, "False Held");
    }
    expect(stage, &DECLARED, &expected).await?;
    stage.show(&scim).await?;
    say("Somebody looks at it, and releases exactly this set:")?;
    let digest = "{.status.provisioning.pending[?(@.held==true)].digest}";
    let digest = format!("--output=jsonpath={digest}");
    let held = ["get", "sbc", "corp", "-n", PEOPLE, digest.as_str()];
    let digest = stage.cluster.kubectl().run(&held).await?;
    let release = [
        "scim-bridge",
        "release",
        "corp",
        "-n",
        PEOPLE,
        "--digest",
        digest.trim(),
        "--yes",
    ];
    stage.show_plugin(&release, 0).await?;
    for address in SIX {
        expected.insert(address, "True Suspended");
    }
    for group in ["k8s-admins", "k8s-developers"] {
        expected.insert(group, "True Provisioned");
    }
    expect(stage, &DECLARED, &expected).await?;
    stage.show_plugin(&evidence, 0).await?;

    say("The minute is over: Katherine's membership has ended by itself.")?;
    until_members(stage, &developers, 0).await?;
    stage.show(&["get", "scg", "-n", PEOPLE]).await?;
    let (_, writes) = stage.bridges.lock().await.requests_of_people();
    say(&format!("The bridge received {writes} changes, and no DELETE."))
}

/// The name of the object for a user or group.
async fn name_of(stage: &Stage, kind: &str, of: &str) -> Result<String, Failure> {
    let names = "--output=jsonpath={range .items[*]}{.spec.userName}{.spec.displayName} {.metadata.name}{\"\\n\"}{end}";
    let names = stage
        .cluster
        .kubectl()
        .run(&["get", kind, "-n", PEOPLE, names])
        .await?;
    let mut names = names.lines().filter_map(|line| line.split_once(' '));
    let (_, name) = names
        .find(|(known, _)| *known == of)
        .ok_or_else(|| format!("no object for {of}"))?;
    Ok(name.to_owned())
}

/// Waits until a group has so many wanted members.
async fn until_members(stage: &Stage, group: &str, members: u32) -> Result<(), Failure> {
    let count =
        "--output=jsonpath={.status.members.present} {.status.conditions[?(@.type==\"Ready\")].status}";
    let get = ["get", "scg", group, "-n", PEOPLE, count];
    let wanted = format!("{members} True");
    Ok(wait::until(DEADLINE, "the members", async || {
        let seen = stage
            .cluster
            .kubectl()
            .run(&get)
            .await
            .map_err(|error| error.to_string())?;
        if seen.trim() == wanted { Ok(()) } else { Err(seen) }
    })
    .await?)
}

/// Fails if a text has no line with these words.
fn expect_line(text: &str, words: &str) -> Result<(), Failure> {
    if text.lines().any(|line| line.contains(words)) {
        Ok(())
    } else {
        Err(format!("the command should print: {words}").into())
    }
}

/// Waits until the table says what it must.
async fn expect(stage: &Stage, table: &Table, expected: &Rows) -> Result<(), Failure> {
    let ready =
        "{.status.conditions[?(@.type==\"Ready\")].status} {.status.conditions[?(@.type==\"Ready\")].reason}";
    let path = format!(
        "--output=jsonpath={{range .items[*]}}{} {ready}{{\"\\n\"}}{{end}}",
        table.name
    );
    let get = [table.command, &[path.as_str()]].concat();
    let what = "every row to be as expected";
    let awaited = wait::until(DEADLINE, what, async || {
        let printed = stage.cluster.kubectl().run(&get).await;
        let printed = printed.map_err(|error| error.to_string())?;
        let seen: BTreeMap<_, _> = printed.lines().filter_map(|line| line.split_once(' ')).collect();
        let differing: Vec<_> = expected
            .iter()
            .filter(|(name, row)| seen.get(**name) != Some(*row))
            .map(|(name, row)| {
                format!(
                    "{name}: {row} expected, {} seen",
                    seen.get(name).unwrap_or(&"nothing")
                )
            })
            .collect();
        if differing.is_empty() {
            Ok(())
        } else {
            Err(differing.join("; "))
        }
    })
    .await;
    if awaited.is_err() {
        stage.show(table.command).await?;
    }
    Ok(awaited?)
}
