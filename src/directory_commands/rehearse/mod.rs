//! `rehearse`: what a bridge does with the requests of the operator, tried with one throw-away user and one group.
//!
//! Nobody outside of 1Password knows these answers. The command sends the orders of the operator and no other request.
//! Each answer rests on reads. Afterwards the user is suspended and the group is empty: no request deletes them.

mod bridge;
mod report;
mod steps;

use std::{io::Write, sync::Arc};

use tokio::signal::ctrl_c;

pub use self::report::Rehearsed;
use self::{
    bridge::Bridge,
    report::Report,
    steps::{Names, Trial},
};
use super::{DirectoryError, Proven, Stop, confirm, prove, seconds};
use crate::{
    args::{Addresses, PluginRehearseArguments, Rehearsal, RehearsalFormat, RehearseArguments},
    bridge::scim::{directory::DirectoryReader, write::DirectoryWriter},
    check::{
        plugin::Location,
        subject::{Subject, read_live, read_one},
    },
    clock::{Clock as _, SystemClock},
    domain::directory::names::{PlainName, UserName},
};

/// What a pipeline has in place of the question.
const INSTEAD: &str = "A rehearsal changes a real account, so a person has to start it";

/// Rehearses on a bridge that flags give, or a manifest.
///
/// # Errors
/// [`DirectoryError`] if nothing was sent: the connection is not proven, a name is there already, or nobody confirmed.
/// What goes wrong later is part of the report.
pub async fn rehearse(
    arguments: &RehearseArguments,
    out: &mut impl Write,
) -> Result<Rehearsed, DirectoryError> {
    let RehearseArguments {
        bridge,
        file,
        secret_files,
        cluster,
        addresses,
        rehearsal,
    } = arguments;
    let (_, subject) = read_one(bridge, file.as_deref(), secret_files, cluster).await?;
    on(subject, addresses, rehearsal, out).await
}

/// Rehearses on the bridge of a connection in a cluster.
///
/// # Errors
/// As [`rehearse`]; also if the cluster does not answer.
pub async fn rehearse_live(
    arguments: &PluginRehearseArguments,
    out: &mut impl Write,
) -> Result<Rehearsed, DirectoryError> {
    let PluginRehearseArguments {
        connection,
        addresses,
        rehearsal,
    } = arguments;
    let Location {
        client,
        namespace,
        name,
    } = Location::of(connection).await?;
    let subject = read_live(&client, &namespace, &name).await?;
    on(subject, addresses, rehearsal, out).await
}

async fn on(
    subject: Subject,
    addresses: &Addresses,
    rehearsal: &Rehearsal,
    out: &mut impl Write,
) -> Result<Rehearsed, DirectoryError> {
    let Rehearsal {
        user,
        group,
        other_domain_user,
        patience,
        output,
    } = rehearsal;
    let Proven {
        request,
        prober,
        lanes,
        rate,
        name: _,
        url,
        version,
    } = prove(subject, addresses).await?;
    let bridge = Bridge {
        reader: DirectoryReader::new(Arc::clone(&prober), lanes.clone()),
        writer: DirectoryWriter::new(prober, lanes),
        request,
        rate,
        patience: *patience,
    };
    let user_name = |text: &String| UserName::parse(text).map_err(|_| DirectoryError::UnusableName);
    let names = Names {
        user: user_name(user)?,
        group: PlainName::parse(group).map_err(|_| DirectoryError::UnusableName)?,
        other: other_domain_user.as_ref().map(user_name).transpose()?,
    };
    let mut trial = Trial::begin(bridge, names).await?;
    let question = format!(
        "This creates one user and one group on {}.\n\
         It renames and suspends the user, and puts it into the group and takes it out.\n\
         Afterwards the user is suspended and the group is empty. No request deletes them: do that in 1Password.\n\
         1Password may send an invitation to the address.\n\n\
         Type {user} to begin",
        url.as_deref().unwrap_or("the bridge")
    );
    confirm::typed(&question, user, INSTEAD)?;
    // What was created is left as it should be, also after a failure.
    let ended = tokio::select! {
        ended = trial.run() => ended,
        _ = ctrl_c() => Err(Stop::Interrupted),
    };
    let leftovers = trial.tidy().await;
    let stopped = match (ended, trial.lost()) {
        (Ok(()), None) => None,
        (Ok(()), Some(lost)) => Some(lost),
        (Err(stop), None) => Some(stop.to_string()),
        (Err(stop), Some(lost)) => Some(format!("{stop}; {lost}")),
    };
    let mut findings = trial.findings;
    findings.sort_by_key(|finding| finding.question);
    let report = Report {
        at: seconds(SystemClock.now()),
        version,
        findings,
        leftovers,
        stopped,
    };
    let written = match output {
        RehearsalFormat::Text => report.text(out),
        RehearsalFormat::Json => report.json(out),
    };
    written.map_err(DirectoryError::Output)?;
    Ok(report.conclusion())
}
