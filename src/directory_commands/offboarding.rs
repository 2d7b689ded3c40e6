//! `offboarding`: when each suspension was asked for, sent and proven.
//!
//! The evidence is what the operator wrote into the statuses of users. A suspension without proof is always reported,
//! also one that the operator has not seen yet, or that is older than `--since`.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _, Write},
    time::Duration,
};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use serde::Serialize;

use super::{
    DirectoryError, counted,
    declared::{Candidate, Fault, Kind, Spec, Unusable},
    files::{Manifests, Place},
    live,
    outcome::next_step,
    seconds,
    table::{self, Column},
};
use crate::{
    api::{
        duration::HumanDuration,
        user::{RemoteState, ScimUserStatus, SuspensionTimes, UserState},
        vocabulary::ConditionType,
    },
    args::{Evidence as Chosen, OffboardingArguments, PluginOffboardingArguments, ReportFormat},
    clock::{Clock as _, SystemClock},
    cluster,
    domain::{connection::conditions::find, directory::verdict::Reason},
};

/// The version of the JSON document. Within a version, fields are added, and none is renamed or removed.
const FORMAT_VERSION: u32 = 1;

/// What a report comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Each suspension is proven.
    Complete,
    /// An object cannot be read, so nobody knows what it asks for.
    Failed,
    /// A suspension is not proven.
    Missing,
}

/// What the status of a user says about the suspension.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    id: Option<String>,
    times: SuspensionTimes,
    reason: Option<Reason>,
    /// Whether the status is about the specification as it is now.
    is_current: bool,
    is_active: bool,
}

/// The suspensions of some users.
#[derive(Debug)]
pub(super) struct Report {
    at: Timestamp,
    since: Option<Timestamp>,
    /// Those without proof first, then in the order of their requests.
    suspensions: Vec<Suspension>,
    faults: Vec<Fault>,
}

/// One user who is wanted suspended.
#[derive(Debug)]
struct Suspension {
    namespace: Option<String>,
    name: String,
    place: Option<Place>,
    connection: String,
    user_name: String,
    id: Option<String>,
    requested: Option<Timestamp>,
    sent: Option<Timestamp>,
    proven: Option<Timestamp>,
    standing: Standing,
}

/// Whether a suspension is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Proven,
    /// The operator knows of it. The reason is that of the object.
    Unproven(Option<Reason>),
    /// No status is about this specification.
    Unseen,
}

/// Reports the users of manifests with their statuses.
///
/// # Errors
/// [`DirectoryError`] if a file cannot be read, or holds no user of the connection. JSON then says why.
pub fn offboarding(arguments: &OffboardingArguments, out: &mut impl Write) -> Result<Proof, DirectoryError> {
    let OffboardingArguments {
        files,
        connection,
        chosen,
    } = arguments;
    let read = Manifests::read(files);
    let at = SystemClock.now();
    let report = read.and_then(|manifests| {
        let Manifests {
            candidates, strays, ..
        } = manifests;
        let report = Report::of(candidates, connection.as_deref(), *chosen, at);
        let mut report = report.ok_or(DirectoryError::NoUserInFiles)?;
        report.faults.extend(strays.into_iter().map(Fault::of_stray));
        Ok(report)
    });
    conclude(report, *chosen, at, out)
}

/// Reports the users of a cluster.
///
/// # Errors
/// As [`offboarding`]; also if the cluster does not answer.
pub async fn offboarding_live(
    arguments: &PluginOffboardingArguments,
    out: &mut impl Write,
) -> Result<Proof, DirectoryError> {
    let chosen = arguments.chosen;
    let report = read_cluster(arguments).await;
    conclude(report, chosen, SystemClock.now(), out)
}

async fn read_cluster(arguments: &PluginOffboardingArguments) -> Result<Report, DirectoryError> {
    let PluginOffboardingArguments {
        connection,
        all_namespaces,
        cluster,
        chosen,
    } = arguments;
    let (config, namespace) = cluster::chosen_config(cluster).await?;
    let client = cluster::client(config)?;
    let namespace = (!all_namespaces).then_some(&*namespace);
    let users = live::users(&client, namespace).await?;
    let report = Report::of(users, connection.as_deref(), *chosen, SystemClock.now());
    report.ok_or(DirectoryError::NoUserInCluster)
}

fn conclude(
    report: Result<Report, DirectoryError>,
    chosen: Chosen,
    at: Timestamp,
    out: &mut impl Write,
) -> Result<Proof, DirectoryError> {
    match report {
        Ok(report) => {
            report.print(chosen, out).map_err(DirectoryError::Output)?;
            Ok(report.proof())
        }
        Err(error) => {
            if chosen.output == ReportFormat::Json {
                json(&Document::failed(&error, at), out).map_err(DirectoryError::Output)?;
            }
            Err(error)
        }
    }
}

// === impl Evidence ===

impl Evidence {
    pub(super) fn of(metadata: &ObjectMeta, status: Option<&ScimUserStatus>) -> Self {
        let Some(status) = status else {
            return Self::default();
        };
        let ready = find(&status.conditions, ConditionType::Ready);
        Self {
            id: status.id.clone(),
            times: status.suspension.clone().unwrap_or_default(),
            reason: ready.and_then(|ready| Reason::parse(&ready.reason)),
            is_current: metadata.generation == Some(status.observed_generation),
            is_active: status.remote_state == Some(RemoteState::Active),
        }
    }

    /// The id of the account.
    pub(super) const fn id(&self) -> Option<&String> {
        self.id.as_ref()
    }
}

// === impl Report ===

impl Report {
    /// Reports the users of one connection, or of all. `None` if there is no user at all: a report about nobody would look
    /// like a proof.
    pub(super) fn of(
        candidates: Vec<Candidate>,
        connection: Option<&str>,
        chosen: Chosen,
        at: Timestamp,
    ) -> Option<Self> {
        let since = chosen.since.map(|since| since.before(at));
        let users = candidates
            .into_iter()
            .filter(|candidate| candidate.kind == Kind::User)
            .filter(|candidate| match (&candidate.spec, connection) {
                (Ok(spec), Some(connection)) => spec.connection() == connection,
                (Ok(_) | Err(_), _) => true,
            });
        let users: Vec<Candidate> = users.collect();
        if users.is_empty() {
            return None;
        }
        let mut times: BTreeMap<(Option<String>, Option<String>), usize> = BTreeMap::new();
        for user in &users {
            *times
                .entry((user.namespace.clone(), user.name.clone()))
                .or_default() += 1;
        }
        let mut report = Self {
            at,
            since,
            suspensions: Vec::new(),
            faults: Vec::new(),
        };
        for user in users {
            let key = (user.namespace.clone(), user.name.clone());
            let times = times.get(&key).copied().unwrap_or_default();
            let (object, place) = (user.object(), user.place.clone());
            match Suspension::of(user, times, at) {
                Ok(found) => report
                    .suspensions
                    .extend(found.filter(|found| found.is_of_interest(since))),
                Err(why) => report.faults.push(Fault {
                    object,
                    kind: Some(Kind::User),
                    place,
                    why,
                }),
            }
        }
        report.suspensions.sort_by(|a, b| {
            let place = |one: &Suspension| (one.standing == Standing::Proven, one.requested);
            let name = |one: &Suspension| (one.namespace.clone(), one.name.clone());
            place(a).cmp(&place(b)).then_with(|| name(a).cmp(&name(b)))
        });
        Some(report)
    }

    pub(super) fn proof(&self) -> Proof {
        if !self.faults.is_empty() {
            Proof::Failed
        } else if self.unproven().next().is_some() {
            Proof::Missing
        } else {
            Proof::Complete
        }
    }

    fn unproven(&self) -> impl Iterator<Item = &Suspension> {
        let all = self.suspensions.iter();
        all.filter(|suspension| suspension.standing != Standing::Proven)
    }

    pub(super) fn print(&self, chosen: Chosen, out: &mut impl Write) -> io::Result<()> {
        let Chosen {
            output,
            show_names,
            since: _,
        } = chosen;
        match output {
            ReportFormat::Text => self.text(show_names || io::stdout().is_terminal(), out),
            ReportFormat::Csv => self.csv(show_names, out),
            ReportFormat::Json => json(&Document::of(self, show_names), out),
        }
    }

    fn text(&self, show_names: bool, out: &mut impl Write) -> io::Result<()> {
        let unproven = self.unproven().count();
        write!(out, "{}", counted(self.suspensions.len(), "suspension"))?;
        if let Some(since) = self.since {
            write!(out, " since {since}, or without proof")?;
        }
        writeln!(out, ": {unproven} not proven, at {}", seconds(self.at))?;
        if !self.suspensions.is_empty() {
            writeln!(out)?;
        }
        let time = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), |time| time.to_string());
        let mut rows = Vec::new();
        for one in &self.suspensions {
            let mut row = vec![
                one.label(),
                one.id.clone().unwrap_or_else(|| "-".to_owned()),
                time(one.requested),
                time(one.sent),
                time(one.proven),
                one.result(self.at),
            ];
            if show_names {
                // A name that anybody may have chosen moves no cursor.
                row.insert(1, one.user_name.escape_debug().to_string());
            }
            rows.push(row);
        }
        let mut heads = vec!["OBJECT", "ID", "REQUESTED", "SENT", "PROVEN", "RESULT"];
        if show_names {
            heads.insert(1, "USER");
        }
        table::aligned(&heads, &rows, out)?;
        for one in self.unproven() {
            writeln!(out, "\n{}: {}", one.label(), one.why())?;
            if let Some(next) = one.next() {
                writeln!(out, "  next     {next}")?;
            }
            if let Standing::Unproven(Some(reason)) = one.standing {
                writeln!(out, "  runbook  scim-bridge-operator explain {reason}")?;
            }
        }
        if !self.faults.is_empty() {
            writeln!(out)?;
        }
        for fault in &self.faults {
            writeln!(out, "{fault}")?;
        }
        out.flush()
    }

    fn csv(&self, show_names: bool, out: &mut impl Write) -> io::Result<()> {
        let mut columns: Vec<Column<Row<'_>>> = vec![
            ("namespace", |row| text(row.namespace)),
            ("name", |row| row.name.to_owned()),
            ("connection", |row| row.connection.to_owned()),
            ("id", |row| text(row.id)),
            ("requestedAt", |row| shown(row.requested_at)),
            ("sentAt", |row| shown(row.sent_at)),
            ("provenAt", |row| shown(row.proven_at)),
            ("proven", |row| row.proven.to_string()),
            ("secondsToProof", |row| shown(row.seconds_to_proof)),
            ("secondsUnproven", |row| shown(row.seconds_unproven)),
            ("reason", |row| text(row.reason)),
        ];
        if show_names {
            columns.push(("userName", |row| text(row.user_name)));
        }
        let rows: Vec<Row<'_>> = self.rows(show_names).collect();
        table::csv(&columns, &rows, out)?;
        // A table has no room for them, and must not look whole.
        for fault in &self.faults {
            writeln!(io::stderr(), "{fault}")?;
        }
        out.flush()
    }

    fn rows(&self, show_names: bool) -> impl Iterator<Item = Row<'_>> {
        let all = self.suspensions.iter();
        all.map(move |one| Row::of(one, self.at, show_names))
    }
}

fn text(text: Option<&str>) -> String {
    text.unwrap_or_default().to_owned()
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

// === impl Suspension ===

impl Suspension {
    /// The suspension that this user asks for, if any.
    fn of(candidate: Candidate, times: usize, at: Timestamp) -> Result<Option<Self>, Unusable> {
        let name = candidate.object().ok_or(Unusable::Name)?.name;
        let Candidate {
            kind: _,
            name: _,
            namespace,
            id: _,
            evidence,
            place,
            spec,
        } = candidate;
        if times > 1 {
            return Err(Unusable::Twice(times));
        }
        let Spec::User(spec) = spec.map_err(|why| Unusable::Form(why.to_string()))? else {
            return Ok(None);
        };
        let ended = spec.active_until.map(|Time(end)| end).filter(|end| *end <= at);
        if spec.state == UserState::Active && ended.is_none() {
            return Ok(None);
        }
        let Evidence {
            id,
            times:
                SuspensionTimes {
                    requested_at,
                    sent_at,
                    proven_at,
                },
            reason,
            is_current,
            is_active,
        } = evidence;
        let proven = proven_at.map(|Time(time)| time);
        Ok(Some(Self {
            namespace,
            name,
            place,
            connection: spec.connection_ref.name,
            user_name: spec.user_name,
            id,
            // A user whose time has come was asked for by the one who wrote that time.
            requested: requested_at.map(|Time(time)| time).or(ended),
            sent: sent_at.map(|Time(time)| time),
            proven,
            standing: match proven {
                _ if !is_current => Standing::Unseen,
                Some(_) if !is_active => Standing::Proven,
                Some(_) | None => Standing::Unproven(reason),
            },
        }))
    }

    /// Whether something happened since this time, or is still to come.
    fn is_of_interest(&self, since: Option<Timestamp>) -> bool {
        let mut times = [self.requested, self.sent, self.proven].into_iter().flatten();
        self.standing != Standing::Proven || since.is_none_or(|since| times.any(|time| time >= since))
    }

    fn label(&self) -> String {
        let object = match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        };
        match &self.place {
            Some(place) => format!("{object} ({place})"),
            None => object,
        }
    }

    fn to_proof(&self) -> Option<Duration> {
        if self.standing != Standing::Proven {
            return None;
        }
        passed(self.requested?, self.proven?)
    }

    fn without_proof(&self, at: Timestamp) -> Option<Duration> {
        if self.standing == Standing::Proven {
            return None;
        }
        passed(self.requested?, at)
    }

    fn result(&self, at: Timestamp) -> String {
        let word = match self.standing {
            Standing::Proven => {
                return self.to_proof().map_or_else(
                    || "proven".to_owned(),
                    |took| format!("proven in {}", HumanDuration(took)),
                );
            }
            Standing::Unproven(Some(reason)) => reason.as_str(),
            Standing::Unproven(None) => "no reason",
            Standing::Unseen => "not seen",
        };
        match self.without_proof(at) {
            Some(waits) => format!("NOT PROVEN for {}: {word}", HumanDuration(waits)),
            None => format!("NOT PROVEN: {word}"),
        }
    }

    fn why(&self) -> String {
        match self.standing {
            Standing::Unseen => "No status is about this specification, so nothing proves it.".to_owned(),
            Standing::Unproven(Some(reason)) => format!("{reason}  {}", reason.message()),
            Standing::Unproven(None) | Standing::Proven => "The status gives no reason.".to_owned(),
        }
    }

    fn next(&self) -> Option<&'static str> {
        match self.standing {
            Standing::Unseen => Some(
                "Read the object from the cluster. If that shows the same, check that the operator runs with --provisioning.",
            ),
            Standing::Unproven(Some(reason)) => match next_step(reason) {
                None if reason == Reason::ChangePlanned => Some(reason.action()),
                next => next,
            },
            Standing::Unproven(None) | Standing::Proven => None,
        }
    }
}

/// The time from one to the other. A clock that was set back has none.
fn passed(from: Timestamp, to: Timestamp) -> Option<Duration> {
    Duration::try_from(to.duration_since(from)).ok()
}

// === impl Proof ===

impl Proof {
    /// The exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Failed => 1,
            Self::Missing => 2,
        }
    }

    /// The word in the JSON document.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "proven",
            Self::Failed => "failed",
            Self::Missing => "unproven",
        }
    }
}

// === JSON ===

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    format_version: u32,
    reported_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    suspensions: Vec<Row<'a>>,
    faults: Vec<FaultDocument>,
}

/// One suspension. The columns of CSV have the same names.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    name: &'a str,
    connection: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proven_at: Option<Timestamp>,
    proven: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_to_proof: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_unproven: Option<u64>,
    /// Why it is not proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// Only if the user asked for names.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FaultDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    message: String,
}

impl<'a> Document<'a> {
    fn failed(error: &DirectoryError, at: Timestamp) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            reported_at: seconds(at),
            since: None,
            result: Proof::Failed.as_str(),
            message: Some(error.line()),
            suspensions: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn of(report: &'a Report, show_names: bool) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            reported_at: seconds(report.at),
            since: report.since,
            result: report.proof().as_str(),
            message: None,
            suspensions: report.rows(show_names).collect(),
            faults: report
                .faults
                .iter()
                .map(|fault| FaultDocument {
                    object: fault.object.as_ref().map(ToString::to_string),
                    place: fault.place.as_ref().map(ToString::to_string),
                    message: fault.why.to_string(),
                })
                .collect(),
        }
    }
}

impl<'a> Row<'a> {
    fn of(one: &'a Suspension, at: Timestamp, show_names: bool) -> Self {
        Self {
            namespace: one.namespace.as_deref(),
            name: &one.name,
            connection: &one.connection,
            id: one.id.as_deref(),
            requested_at: one.requested,
            sent_at: one.sent,
            proven_at: one.proven,
            proven: one.standing == Standing::Proven,
            seconds_to_proof: one.to_proof().map(|took| took.as_secs()),
            seconds_unproven: one.without_proof(at).map(|waits| waits.as_secs()),
            reason: match one.standing {
                Standing::Proven | Standing::Unproven(None) => None,
                Standing::Unproven(Some(reason)) => Some(reason.as_str()),
                Standing::Unseen => Some("NotSeen"),
            },
            user_name: show_names.then_some(&*one.user_name),
        }
    }
}

fn json(document: &Document<'_>, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, document)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser as _;

    use super::*;
    use crate::{
        args::{Arguments, Command},
        check::subject::documents_in,
    };

    /// 2027-01-15T08:00:00Z
    const NOW: i64 = 1_800_000_000;

    fn user(name: &str, spec: &str, status: &str) -> String {
        format!(
            "---\napiVersion: scimbridge.dev/v1alpha1\nkind: ScimUser\nmetadata: {{name: {name}, namespace: identity, \
             generation: 3}}\nspec: {{connectionRef: {{name: corp}}, userName: {name}@example.com, name: {{givenName: \
             Given, familyName: Family}}, {spec}}}\n{status}\n"
        )
    }

    fn status(reason: &str, suspension: &str, more: &str) -> String {
        format!(
            "status: {{observedGeneration: 3, conditions: [{{type: Ready, status: 'False', reason: {reason}, message: '', \
             lastTransitionTime: '2027-01-01T00:00:00Z'}}], suspension: {{{suspension}}}{more}}}"
        )
    }

    const GONE: &str = "state: Suspended";
    const PROVEN: &str = "requestedAt: '2027-01-15T07:00:00Z', sentAt: '2027-01-15T07:00:01Z', provenAt: '2027-01-15T07:00:02Z'";
    const SENT: &str = "requestedAt: '2027-01-15T07:30:00Z', sentAt: '2027-01-15T07:30:01Z'";

    fn report(text: &str, connection: Option<&str>, chosen: Chosen) -> Option<Report> {
        let mut manifests = Manifests::default();
        manifests
            .take_all(Path::new("users.yaml"), documents_in(text).unwrap())
            .unwrap();
        let now = Timestamp::from_second(NOW).unwrap();
        Report::of(manifests.candidates, connection, chosen, now)
    }

    fn printed(text: &str, chosen: Chosen) -> (String, Proof) {
        let report = report(text, None, chosen).unwrap();
        let mut out = Vec::new();
        report.print(chosen, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), report.proof())
    }

    fn as_format(output: ReportFormat) -> Chosen {
        Chosen {
            output,
            ..Chosen::default()
        }
    }

    #[test]
    fn each_suspension_is_proven_or_not() {
        for (spec, status, expected) in [
            ("state: Active", String::new(), None),
            ("activeUntil: '2027-01-15T08:00:01Z'", String::new(), None),
            (GONE, status("Suspended", PROVEN, ""), Some("proven in 2s")),
            // The operator found a suspended account, so it sent nothing.
            (
                GONE,
                status(
                    "Suspended",
                    "requestedAt: '2027-01-15T07:00:00Z', provenAt: '2027-01-15T07:00:00Z'",
                    ", remoteState: Suspended",
                ),
                Some("proven in 0s"),
            ),
            (
                GONE,
                status("Unproven", SENT, ""),
                Some("NOT PROVEN for 30m: Unproven"),
            ),
            (
                GONE,
                status("Held", "requestedAt: '2027-01-15T07:59:00Z'", ""),
                Some("NOT PROVEN for 1m: Held"),
            ),
            // An older proof is none once somebody has made the account active again.
            (
                GONE,
                status("Contested", PROVEN, ", remoteState: Active"),
                Some("NOT PROVEN for 1h: Contested"),
            ),
            // A status about another specification, of another version, or none.
            (
                GONE,
                status("Suspended", PROVEN, "").replace("observedGeneration: 3", "observedGeneration: 2"),
                Some("NOT PROVEN for 1h: not seen"),
            ),
            (
                GONE,
                status("Another", SENT, ""),
                Some("NOT PROVEN for 30m: no reason"),
            ),
            (GONE, String::new(), Some("NOT PROVEN: not seen")),
            (
                "activeUntil: '2027-01-15T07:00:00Z'",
                String::new(),
                Some("NOT PROVEN for 1h: not seen"),
            ),
            // A clock that was set back.
            (
                GONE,
                status("Held", "requestedAt: '2027-01-15T09:00:00Z'", ""),
                Some("NOT PROVEN: Held"),
            ),
        ] {
            let report = report(&user("ada", spec, &status), None, Chosen::default()).unwrap();
            let results: Vec<String> = report
                .suspensions
                .iter()
                .map(|one| one.result(report.at))
                .collect();
            assert_eq!(results, Vec::from_iter(expected), "{spec} {status}");
            assert_eq!(report.faults, []);
            let is_proven = expected.is_none_or(|expected| expected.starts_with("proven"));
            assert_eq!(report.proof() == Proof::Complete, is_proven, "{spec} {status}");
        }
    }

    fn three() -> String {
        [
            user("ada", GONE, &status("Suspended", PROVEN, ", id: =A")),
            user("bo", "state: Active", ""),
            user("kim", GONE, &status("Held", SENT, ", id: K")),
            user("zoe", GONE, ""),
        ]
        .concat()
    }

    #[test]
    fn evidence_as_text() {
        let (text, proof) = printed(&three(), Chosen::default());
        let expected = format!(
            "3 suspensions: 2 not proven, at 2027-01-15T08:00:00Z

  OBJECT                        ID  REQUESTED             SENT                  PROVEN                RESULT
  identity/zoe (users.yaml:20)  -   -                     -                     -                     NOT PROVEN: not seen
  identity/kim (users.yaml:14)  K   2027-01-15T07:30:00Z  2027-01-15T07:30:01Z  -                     NOT PROVEN for 30m: Held
  identity/ada (users.yaml:2)   =A  2027-01-15T07:00:00Z  2027-01-15T07:00:01Z  2027-01-15T07:00:02Z  proven in 2s

identity/zoe (users.yaml:20): No status is about this specification, so nothing proves it.
  next     Read the object from the cluster. If that shows the same, check that the operator runs with --provisioning.

identity/kim (users.yaml:14): Held  {}
  next     {}
  runbook  scim-bridge-operator explain Held
",
            Reason::Held.message(),
            Reason::Held.action()
        );
        assert_eq!(text, expected);
        assert_eq!(proof, Proof::Missing);
    }

    #[test]
    fn evidence_for_spreadsheets() {
        let (text, _) = printed(&three(), as_format(ReportFormat::Csv));
        let expected = "\
namespace,name,connection,id,requestedAt,sentAt,provenAt,proven,secondsToProof,secondsUnproven,reason\r
identity,zoe,corp,,,,,false,,,NotSeen\r
identity,kim,corp,K,2027-01-15T07:30:00Z,2027-01-15T07:30:01Z,,false,,1800,Held\r
identity,ada,corp,'=A,2027-01-15T07:00:00Z,2027-01-15T07:00:01Z,2027-01-15T07:00:02Z,true,2,,\r
";
        assert_eq!(text, expected);
    }

    #[test]
    fn evidence_as_json() {
        let (text, _) = printed(&three(), as_format(ReportFormat::Json));
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        for (pointer, expected) in [
            ("/formatVersion", "1"),
            ("/reportedAt", r#""2027-01-15T08:00:00Z""#),
            ("/result", r#""unproven""#),
            (
                "/suspensions/0",
                r#"{"connection":"corp","name":"zoe","namespace":"identity","proven":false,"reason":"NotSeen"}"#,
            ),
            (
                "/suspensions/2",
                r#"{"connection":"corp","id":"=A","name":"ada","namespace":"identity","proven":true,"provenAt":"2027-01-15T07:00:02Z","requestedAt":"2027-01-15T07:00:00Z","secondsToProof":2,"sentAt":"2027-01-15T07:00:01Z"}"#,
            ),
            ("/faults", "[]"),
        ] {
            assert_eq!(
                document.pointer(pointer).unwrap().to_string(),
                expected,
                "{pointer}"
            );
        }
    }

    #[test]
    fn names_only_where_they_were_asked_for() {
        for output in [ReportFormat::Text, ReportFormat::Csv, ReportFormat::Json] {
            for show_names in [false, true] {
                let chosen = Chosen {
                    output,
                    show_names,
                    since: None,
                };
                let (text, _) = printed(&three(), chosen);
                assert_eq!(text.contains("kim@example.com"), show_names, "{text}");
                assert!(!text.contains("Family"), "{text}");
            }
        }
    }

    /// A suspension without proof stays in each report.
    #[test]
    fn since_leaves_out_old_proofs() {
        for (text, expected) in [
            ("2027-01-15", 3),
            ("2027-01-15T07:00:02Z", 3),
            ("2027-01-15T07:00:03Z", 2),
            ("1h", 3),
            ("59m", 2),
            ("2030-01-01", 2),
        ] {
            let line = ["x", "offboarding", "-f", "-", "--since", text];
            let Command::Offboarding(arguments) = Arguments::parse_from(line).command else {
                panic!()
            };
            let report = report(&three(), None, arguments.chosen).unwrap();
            assert_eq!(report.suspensions.len(), expected, "{text}");
        }
    }

    #[test]
    fn a_report_about_nobody_is_none() {
        let ada = user("ada", "state: Active", "");
        for (text, connection, expected) in [
            ("", None, None),
            (&*ada, None, Some(Proof::Complete)),
            (&*ada, Some("corp"), Some(Proof::Complete)),
            (&*ada, Some("other"), None),
            // Nobody knows what it asks for.
            (&*ada.replace("state", "sate"), Some("other"), Some(Proof::Failed)),
            (&*[&*ada, &*ada].concat(), None, Some(Proof::Failed)),
            (&*ada.replace("ScimUser", "ScimGroup"), None, None),
        ] {
            let proof = report(text, connection, Chosen::default()).map(|report| report.proof());
            assert_eq!(proof, expected, "{text}");
        }
    }
}
