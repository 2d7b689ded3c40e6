//! `preflight`: says whether the cluster has what `run` requirements. `helm test` runs it, and so may anybody.

use std::{io::Write, time::Duration};

use tokio::time::{Instant, sleep};
use url::Url;

use super::{
    ProcessError,
    requirements::{Finding, Requirements, examine_access, examine_definitions, examine_optional_access},
};
use crate::{args::PreflightArguments, cluster, settings::ServerUrl};

/// Pause between two looks at what is not there yet.
const PAUSE: Duration = Duration::from_secs(1);
/// One request to the operator.
const REQUEST: Duration = Duration::from_secs(5);

/// Examines, and writes one line for each thing that is there or missing.
///
/// # Errors
/// [`ProcessError::Preflight`] where something is missing; others where nothing could be examined.
pub async fn preflight(arguments: PreflightArguments, mut out: impl Write) -> Result<(), ProcessError> {
    let PreflightArguments {
        scope,
        operator_url,
        timeout,
    } = arguments;
    let config = cluster::config().await?;
    let requirements = Requirements::new(&scope, &config.default_namespace);
    let client = cluster::client(config)?;
    let end = Instant::now() + timeout;

    let mut failures = 0;
    let mut report = |what: &str, found: &[String]| {
        failures += found.len();
        for finding in found {
            writeln!(out, "FAIL  {finding}")?;
        }
        if found.is_empty() {
            writeln!(out, "ok    {what}")?;
        }
        Ok::<(), std::io::Error>(())
    };
    let found = until(end, async || lines(&examine_definitions(&client).await)).await;
    report("the CRD is served, with every field of this version", &found)?;
    let found = until(end, async || lines(&examine_access(&client, &requirements).await)).await;
    report("the ServiceAccount may do what it has to", &found)?;
    if let Some(ServerUrl(url)) = operator_url {
        let found = until(end, async || Vec::from_iter(examine_operator(&url).await)).await;
        report("the operator is ready", &found)?;
    }
    for finding in examine_optional_access(&client, &requirements).await {
        if let Finding::Denied { .. } = finding {
            writeln!(out, "note  {finding}; everything else goes on without it")?;
        }
    }
    match failures {
        0 => Ok(()),
        failures => Err(ProcessError::Preflight(failures)),
    }
}

fn lines(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

/// Looks until nothing is missing, or time is up.
async fn until(end: Instant, look: impl AsyncFn() -> Vec<String>) -> Vec<String> {
    loop {
        let found = look().await;
        if found.is_empty() || Instant::now() + PAUSE > end {
            return found;
        }
        sleep(PAUSE).await;
    }
}

/// Why the operator at this address is not ready, if it is not.
async fn examine_operator(url: &Url) -> Option<String> {
    let url = url.join("/readyz").ok()?;
    let answer = async {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(REQUEST)
            .build()?;
        client.get(url.clone()).send().await
    };
    match answer.await {
        Ok(answer) if answer.status() == reqwest::StatusCode::OK => None,
        Ok(answer) => Some(format!(
            "the operator is not ready: {url} answered {}; its log says why",
            answer.status().as_u16()
        )),
        Err(_) => Some(format!(
            "the operator does not answer at {url}: see that its Pod runs, and that no NetworkPolicy is in the way"
        )),
    }
}
