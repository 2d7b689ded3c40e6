//! What is shown, and what it has to say.

use std::{collections::BTreeMap, time::Duration};

use testbed::{Failure, wait};

use crate::{
    bridges::KEY,
    stage::{NAMESPACE, Stage, command, say},
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

const DEADLINE: Duration = Duration::from_mins(2);
const TABLE: [&str; 3] = ["get", "scimbridgeconnections", "-A"];

/// Shows the table, rotates a key, stops a bridge.
pub(crate) async fn play(stage: &Stage) -> Result<(), Failure> {
    let mut expected = BTreeMap::from(FIRST);
    expect(stage, &expected).await?;
    say("The state of each bridge, and the reason:")?;
    stage.show(&TABLE).await?;

    say("The key of wrong-key is corrected, as a rotation would:")?;
    let patch = format!("{{\"stringData\":{{\"apiKey\":\"{KEY}\"}}}}");
    stage
        .show(&["-n", NAMESPACE, "patch", "secret", "wrong-key", "--patch", &patch])
        .await?;
    expected.insert("wrong-key", "True Connected");
    expect(stage, &expected).await?;
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
    expect(stage, &expected).await?;
    stage.show(&TABLE).await?;
    say("Every row came out as expected.")
}

/// Waits until the table says what it must.
async fn expect(stage: &Stage, expected: &BTreeMap<&str, &str>) -> Result<(), Failure> {
    let path = concat!(
        "--output=jsonpath={range .items[*]}{.metadata.name} ",
        "{.status.conditions[?(@.type==\"Ready\")].status} {.status.conditions[?(@.type==\"Ready\")].reason}{\"\\n\"}{end}",
    );
    let what = "every row to be as expected";
    let awaited = wait::until(DEADLINE, what, async || {
        let printed = stage
            .cluster
            .kubectl()
            .run(&["-n", NAMESPACE, "get", "sbc", path])
            .await;
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
        command(&TABLE)?;
        stage.show(&TABLE).await?;
    }
    Ok(awaited?)
}
