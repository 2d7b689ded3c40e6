//! The commands about the users and groups of a bridge.
//!
//! - `plan` and `import` only read. They probe the bridge as `check` does, read its directory as the operator does, and
//!   plan with the same function: [`crate::domain::directory::plan::plan`].
//! - `offboarding` reads statuses, in a cluster or in files.
//! - `release` reads what the operator holds, and annotates the connection.
//! - `rehearse` changes a bridge: one user and one group that it has created itself.

pub mod declared;
pub mod files;
pub mod import;
pub mod offboarding;
pub mod outcome;
pub mod plan;
pub mod rehearse;
pub mod release;

mod confirm;
mod document;
mod form;
mod live;
mod manifests;
mod table;

#[cfg(test)]
mod tests;

use std::{io, num::NonZeroU8, path::PathBuf, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;

use self::{confirm::Unconfirmed, release::ReleaseError};
use crate::{
    api::{directory::MembersReadBy, vocabulary::Reason},
    args::Addresses,
    bridge::{
        HttpProber, Lanes, ProbeRequest,
        scim::directory::{DirectoryReader, Rate, Terms},
    },
    check::{CheckError, Checker, subject::Subject},
    cluster::ClusterError,
    domain::{
        connection::{evidence::Evidence, target::InvalidSpec},
        directory::{budget::DigestKey, plan::InvalidPolicy, snapshot::Snapshot, verdict, walk::Incomplete},
    },
};

/// The time for all pages of a directory: 100,000 users at five requests in a second take four minutes.
const READ_LIMIT: Duration = Duration::from_mins(10);

/// Requests in a second where no connection says another number: the default of `spec.provisioning.requestsPerSecond`.
const REQUESTS_PER_SECOND: u8 = 5;

/// Why a command could not be done. An error never holds the name of a person, nor the content of a file or an answer.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// A file, a flag or the cluster.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The program cannot connect to a cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A folder cannot be read.
    #[error("cannot read the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// No connection, so no scope.
    #[error("no file contains a ScimBridgeConnection: give the file with it to --file, too")]
    NoConnection,
    /// Several, and none is chosen.
    #[error("the files contain {0} ScimBridgeConnections: choose one with --connection")]
    SeveralConnections(usize),
    /// The chosen one is not there.
    #[error("no file contains the ScimBridgeConnection that --connection names")]
    NotThisConnection,
    /// Two documents declare one connection.
    #[error("the files contain ScimBridgeConnection {0} more than once: keep one")]
    ConnectionTwice(String),
    /// The connection has no name, or one that no object can have.
    #[error("the ScimBridgeConnection has no metadata.name to which objects could refer")]
    NamelessConnection,
    /// The specification cannot be used.
    #[error("the ScimBridgeConnection cannot be used: {0}")]
    Spec(InvalidSpec),
    /// The connection does not ask for provisioning.
    #[error(
        "the ScimBridgeConnection has no spec.provisioning, so nothing says which users and groups may change"
    )]
    ProvisioningOff,
    /// Files without users and groups: the wrong folder, or a wrong kind. A plan for nothing would look like a proof.
    #[error(
        "no file declares a ScimUser or ScimGroup of this connection: check --file, and kind and connectionRef of the objects"
    )]
    NothingDeclared,
    /// A cluster without users and groups of the connection.
    #[error(
        "the cluster has no ScimUser and no ScimGroup of this connection: apply some first, or give --file"
    )]
    NothingApplied,
    /// Files without a user: a report about nobody would look like a proof.
    #[error(
        "no file has a ScimUser of this connection: check --file and --connection. kubectl get scimusers -o yaml writes such a file"
    )]
    NoUserInFiles,
    /// A cluster without a user.
    #[error(
        "the cluster has no ScimUser of this connection: check the name of the connection, and the namespace"
    )]
    NoUserInCluster,
    /// A set of changes is not released.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// Nobody confirmed.
    #[error(transparent)]
    Unconfirmed(#[from] Unconfirmed),
    /// The bridge has one of the users of a rehearsal.
    #[error(
        "the bridge has a user of this name, or of this name with renamed- before it: give a name that nobody has"
    )]
    UserExists,
    /// The bridge has the group of a rehearsal.
    #[error("the bridge has a group of this name: give a name that no group has")]
    GroupExists,
    /// A name that no user or group can have.
    #[error("the operator cannot use one of the names: give a plain address, and a plain name")]
    UnusableName,
    /// The rehearsal did not begin.
    #[error("the rehearsal did not begin: {0}")]
    Rehearsal(#[source] Stop),
    /// Its patterns cannot be used.
    #[error(transparent)]
    Policy(#[from] InvalidPolicy),
    /// The bridge is not proven.
    #[error("the connection is not proven, so its directory is not read. {reason}: {message}")]
    NotProven {
        /// Why.
        reason: Reason,
        /// The fault, and the next step.
        message: String,
    },
    /// The lists cannot be read. The words are those of the operator.
    #[error("cannot read users and groups: {0}. See scim-bridge-operator explain DirectoryIncomplete")]
    Unread(Incomplete),
    /// A file is there already.
    #[error("{} exists: give another folder to --output-dir, or overwrite the files with --force", .0.display())]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The output cannot be written.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
}

/// What ended a rehearsal before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// A read failed.
    #[error("users and groups cannot be read: {0}")]
    Unread(Incomplete),
    /// The bridge did not get a request, or a front refused it.
    #[error("a request did not reach the bridge, or a front refused it{}", .0.map_or_else(String::new, |code| format!(" ({code})")))]
    NotSent(Option<u16>),
    /// The bridge asks for a pause again and again.
    #[error("the bridge answers that it gets too many requests")]
    RateLimited,
    /// A creation is refused, so there is nothing to go on with.
    #[error("the bridge refuses the creation")]
    Refused,
    /// A creation was sent, and no list shows what came of it.
    #[error("a creation was sent, and no list shows it")]
    Lost,
    /// Somebody stopped the program.
    #[error("somebody interrupted it")]
    Interrupted,
}

impl DirectoryError {
    /// The reason, in the words of the operator where it has one.
    fn reason(&self) -> &'static str {
        if let Self::NotProven { reason, .. } = self {
            reason.as_str()
        } else if matches!(self, Self::Unread(_)) {
            verdict::Reason::DirectoryIncomplete.as_str()
        } else {
            "Failed"
        }
    }

    /// The error with its causes, in one line.
    fn line(&self) -> String {
        let mut line = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            line = format!("{line}: {cause}");
            source = cause.source();
        }
        line
    }
}

/// A directory that was read in full from a bridge that a probe has just proven.
struct Reading {
    snapshot: Snapshot,
    /// `NAMESPACE/NAME` of the connection, if it has a name.
    name: Option<String>,
    url: Option<String>,
    digest_key: DigestKey,
}

/// A bridge that a probe has just proven, and the way to its directory.
struct Proven {
    request: ProbeRequest,
    prober: Arc<HttpProber>,
    lanes: Lanes,
    rate: Rate,
    /// `NAMESPACE/NAME` of the connection, if it has a name.
    name: Option<String>,
    url: Option<String>,
    /// The version that the bridge reports.
    version: Option<String>,
}

/// Proves the connection.
async fn prove(subject: Subject, addresses: &Addresses) -> Result<Proven, DirectoryError> {
    let provisioning = subject
        .spec
        .as_ref()
        .ok()
        .and_then(|spec| spec.provisioning.as_ref());
    let per_second = provisioning.map_or(REQUESTS_PER_SECOND, |spec| spec.requests_per_second);
    let mut checker = Checker::new(addresses);
    let (result, request) = checker.prove(subject).await?;
    let request = request.filter(|_| result.verdict.reason == Reason::Connected);
    let Some(request) = request else {
        return Err(DirectoryError::NotProven {
            reason: result.verdict.reason,
            message: result.wording.translate(&result.verdict.message()),
        });
    };
    let prober = checker.prober();
    // The definition refuses 0; nothing else does.
    let per_second = NonZeroU8::new(per_second).unwrap_or(NonZeroU8::MIN);
    Ok(Proven {
        request,
        lanes: Lanes::new(Arc::clone(&prober)),
        prober,
        rate: Rate::per_second(per_second.into()),
        name: result.name,
        url: result.url,
        version: version_in(result.evidence),
    })
}

/// The version that a bridge has reported.
fn version_in(evidence: Evidence) -> Option<String> {
    match evidence {
        Evidence::Probed(exchange) => exchange.health.document()?.version.clone(),
        Evidence::Blocked(_) => None,
    }
}

/// Proves the connection, then reads its directory. `proven` is a way to read members that the operator has proven.
async fn read(
    subject: Subject,
    addresses: &Addresses,
    proven: Option<MembersReadBy>,
) -> Result<Reading, DirectoryError> {
    let Proven {
        request,
        prober,
        lanes,
        rate,
        name,
        url,
        version: _,
    } = prove(subject, addresses).await?;
    let reader = DirectoryReader::new(prober, lanes);
    let terms = Terms {
        within: READ_LIMIT,
        proven,
        round: 0,
    };
    let lists = reader.read(&request, terms, &rate).await;
    let lists = lists.map_err(|unread| DirectoryError::Unread(unread.incomplete()))?;
    Ok(Reading {
        snapshot: lists.into_snapshot(),
        name,
        url,
        digest_key: request.key.digest_key(),
    })
}

/// A time without fractions.
fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// A number of things: `1 user`, `2 users`.
fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
