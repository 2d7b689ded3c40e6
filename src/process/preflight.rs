//! `preflight`: reports whether the cluster meets the requirements of `run`. `helm test` uses it.

use std::{io::Write, time::Duration};

use tokio::time::{Instant, sleep};
use url::Url;

use super::{
    ProcessError,
    requirements::{Finding, Requirements, check_access, check_definitions, check_optional_access},
};
use crate::{args::PreflightArguments, cluster, settings::ServerUrl};

/// Pause between two checks while a requirement is not met.
const PAUSE: Duration = Duration::from_secs(1);
/// Time for the request to the operator.
const REQUEST: Duration = Duration::from_secs(5);

/// Checks the requirements and writes a line for each.
///
/// # Errors
/// [`ProcessError::Preflight`] if a requirement is not met; other errors if nothing could be checked.
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
    let mut report = |requirement: &str, findings: &[String]| {
        failures += findings.len();
        for finding in findings {
            writeln!(out, "FAIL  {finding}")?;
        }
        if findings.is_empty() {
            writeln!(out, "ok    {requirement}")?;
        }
        Ok::<(), std::io::Error>(())
    };
    let findings = until(end, async || check_definitions(&client, &requirements).await).await;
    // Then the other questions have the same answer.
    let answers_nothing = findings.iter().any(Finding::concerns_every_request);
    report(
        "the CRD is installed and has all fields of this version",
        &lines(&findings),
    )?;
    if !answers_nothing {
        let findings = until(end, async || check_access(&client, &requirements).await).await;
        report("this identity has all required permissions", &lines(&findings))?;
    }
    if let Some(ServerUrl(url)) = operator_url {
        let findings = until(end, async || Vec::from_iter(check_operator(&url).await)).await;
        report("the operator is ready", &findings)?;
    }
    let optional = if answers_nothing {
        Vec::new()
    } else {
        check_optional_access(&client, &requirements).await
    };
    for finding in optional {
        if let Finding::Denied { .. } = finding {
            writeln!(
                out,
                "note  {finding}. This permission is optional; all else works without it"
            )?;
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

/// Repeats a check until it finds nothing or the time is up.
async fn until<T>(end: Instant, check: impl AsyncFn() -> Vec<T>) -> Vec<T> {
    loop {
        let findings = check().await;
        if findings.is_empty() || Instant::now() + PAUSE > end {
            return findings;
        }
        sleep(PAUSE).await;
    }
}

/// Why the operator at this address is not ready. `None` if it is ready.
async fn check_operator(url: &Url) -> Option<String> {
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
            "the operator is not ready: {url} answered {}. Read its log",
            answer.status().as_u16()
        )),
        Err(_) => Some(format!(
            "the operator does not answer at {url}. Check that its Pod is running and that no NetworkPolicy blocks the \
             request"
        )),
    }
}
