//! A plan for programs: JSON and `JUnit`. docs/plan.md describes the JSON document.

use std::{
    collections::HashMap,
    io::{self, Write},
};

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use super::{
    DirectoryError,
    declared::{Counts, Kind},
    outcome::{Conclusion, Outcome, describe, is_refused, line, next_step},
};
use crate::{
    api::directory::{MembersReadBy, ProvisioningMode},
    args::PlanFormat,
    check::document::{Case, CaseResult, suite_of},
    domain::directory::{
        act::{Act, Change, Host, Joiner},
        budget::Kind as ChangeKind,
        names::{ObjectId, PlainName, RemoteId, UserName},
        plan::{Pending, Totals},
        render::Summary,
        snapshot::{Group, User},
        verdict::{Reason, Verdict},
    },
};

/// The version of the document. Within a version, fields are added, and none is renamed or removed.
const FORMAT_VERSION: u32 = 1;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    format_version: u32,
    connection: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    planned_at: Timestamp,
    /// The mode of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<ProvisioningMode>,
    result: &'static str,
    summary: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<DirectoryDocument>,
    pending: Vec<PendingDocument>,
    changes: Vec<ChangeDocument<'a>>,
    objects: Vec<ObjectDocument<'a>>,
    faults: Vec<FaultDocument>,
    declared: CountsDocument,
    kept_objects: usize,
    connection_differs: &'a [String],
    other_objects: usize,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct CountsDocument {
    users: usize,
    groups: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DirectoryDocument {
    users: usize,
    suspended: usize,
    managed: usize,
    unmanaged_active: usize,
    groups: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    members_read_by: Option<MembersReadBy>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PendingDocument {
    kind: ChangeKind,
    count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    /// So many may be sent now.
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<u32>,
    held: bool,
    digest: String,
    /// The command that releases it, if it is held and the operator would send it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<String>,
}

/// Names are here only if the user asked for them.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ChangeDocument<'a> {
    action: &'static str,
    held: bool,
    object: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// The actions of the same plan that have to come first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    follows: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<NewNames<'a>>,
}

/// The values that would be written.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_field_names, reason = "they are the fields of a specification")]
struct NewNames<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    given_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectDocument<'a> {
    object: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    reason: &'static str,
    message: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    adopts: bool,
    kept: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differs: Vec<&'static str>,
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    entries: &'a [u32],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FaultDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    message: String,
}

/// Writes the JSON document.
pub(super) fn json(outcome: &Outcome<'_>, show_names: bool, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &Document::of(outcome, show_names))?;
    writeln!(out)
}

/// Writes a `JUnit` report with a test case for each object. An object that would change passes, with its changes as
/// output: a reviewer wants to read them, not to have the pipeline fail.
pub(super) fn junit(outcome: &Outcome<'_>, show_names: bool, out: &mut impl Write) -> io::Result<()> {
    let mut lines: HashMap<&ObjectId, Vec<String>> = HashMap::new();
    for (act, is_held) in outcome.acts() {
        let line = line(act, show_names);
        let line = if is_held { format!("held: {line}") } else { line };
        lines.entry(act.object).or_default().push(line);
    }
    let of_verdict = |verdict: &Verdict<'_>| {
        let lines = lines.remove(verdict.object).unwrap_or_default().join("\n");
        let result = if outcome.fails(verdict) || verdict.reason == Reason::Held {
            let next = next_step(verdict.reason).unwrap_or_default();
            CaseResult::Failed {
                reason: verdict.reason.as_str(),
                message: describe(verdict),
                next: [next, &lines].join("\n").trim().to_owned(),
            }
        } else if !lines.is_empty() {
            CaseResult::PassedWith(lines)
        } else if is_refused(verdict) || matches!(verdict.reason, Reason::ChangePlanned | Reason::Unproven) {
            CaseResult::PassedWith(describe(verdict))
        } else {
            CaseResult::Passed
        };
        Case {
            name: outcome.label(verdict.object),
            result,
        }
    };
    let faults = outcome.declared.faults.iter().map(|fault| Case {
        name: fault.label(),
        result: CaseResult::Failed {
            reason: Reason::InvalidSpec.as_str(),
            message: fault.why.to_string(),
            next: Reason::InvalidSpec.action().to_owned(),
        },
    });
    let cases: Vec<Case> = outcome
        .plan
        .verdicts
        .iter()
        .map(of_verdict)
        .chain(faults)
        .collect();
    suite_of(outcome.connection, &cases, out)
}

/// Writes the document for a plan that could not be made. People read the error itself.
pub(super) fn failure(
    error: &DirectoryError,
    connection: &str,
    at: Timestamp,
    output: PlanFormat,
    out: &mut impl Write,
) -> io::Result<()> {
    match output {
        PlanFormat::Text => Ok(()),
        PlanFormat::Json => {
            serde_json::to_writer_pretty(&mut *out, &Document::failed(error, connection, at))?;
            writeln!(out)
        }
        PlanFormat::Junit => {
            let case = Case {
                name: "plan".to_owned(),
                result: CaseResult::Failed {
                    reason: error.reason(),
                    message: error.line(),
                    next: String::new(),
                },
            };
            suite_of(connection, &[case], out)
        }
    }
}

impl<'a> Document<'a> {
    fn failed(error: &DirectoryError, connection: &'a str, at: Timestamp) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            connection,
            url: None,
            planned_at: at,
            mode: None,
            result: Conclusion::Failed.as_str(),
            summary: format!("nothing is planned: {}", error.reason()),
            message: Some(error.line()),
            directory: None,
            pending: Vec::new(),
            changes: Vec::new(),
            objects: Vec::new(),
            faults: Vec::new(),
            declared: CountsDocument::default(),
            kept_objects: 0,
            connection_differs: &[],
            other_objects: 0,
        }
    }

    fn of(outcome: &'a Outcome<'a>, show_names: bool) -> Self {
        let plan = &outcome.plan;
        let Counts { users, groups } = outcome.declared.own;
        Self {
            format_version: FORMAT_VERSION,
            connection: outcome.connection,
            url: outcome.url,
            planned_at: outcome.at,
            mode: Some(if outcome.policy.sends {
                ProvisioningMode::Manage
            } else {
                ProvisioningMode::Plan
            }),
            result: outcome.conclusion().as_str(),
            summary: Summary(plan).to_string(),
            message: None,
            directory: plan.totals.ok().map(|totals| {
                let Totals {
                    users,
                    suspended,
                    managed,
                    unmanaged_active,
                    groups,
                } = totals;
                DirectoryDocument {
                    users,
                    suspended,
                    managed,
                    unmanaged_active,
                    groups,
                    members_read_by: outcome.members_read_by,
                }
            }),
            pending: plan
                .pending
                .iter()
                .map(|pending| PendingDocument::of(outcome, pending))
                .collect(),
            changes: outcome
                .acts()
                .map(|(act, held)| ChangeDocument::of(outcome, act, held, show_names))
                .collect(),
            objects: plan
                .verdicts
                .iter()
                .map(|verdict| ObjectDocument::of(outcome, verdict))
                .collect(),
            faults: outcome
                .declared
                .faults
                .iter()
                .map(|fault| FaultDocument {
                    kind: fault.kind.map(Kind::as_str),
                    object: fault.object.as_ref().map(ToString::to_string),
                    place: fault.place.as_ref().map(ToString::to_string),
                    message: fault.why.to_string(),
                })
                .collect(),
            declared: CountsDocument { users, groups },
            kept_objects: outcome.declared.kept(),
            connection_differs: outcome.applied.map_or(&[], |applied| applied.differs),
            other_objects: outcome.declared.others,
        }
    }
}

impl PendingDocument {
    fn of(outcome: &Outcome<'_>, pending: &Pending) -> Self {
        let Pending {
            kind,
            count,
            left,
            digest,
            held,
        } = pending;
        Self {
            kind: *kind,
            count: *count,
            limit: outcome.limit(*kind),
            left: *left,
            held: *held,
            digest: digest.to_string(),
            release: outcome.release(pending),
        }
    }
}

impl<'a> ChangeDocument<'a> {
    fn of(outcome: &'a Outcome<'a>, act: &'a Act<'a>, held: bool, show_names: bool) -> Self {
        let (object, place) = labels(outcome, act.object);
        let base = Self {
            held,
            object,
            place,
            ..Self::default()
        };
        let document = match &act.change {
            Change::Suspend { user } => base.action("suspend").user(user),
            Change::Reactivate { user } => base.action("reactivate").user(user),
            Change::Remove { group, user, cause } => Self {
                cause: Some(cause.to_string()),
                ..base.action("remove").user(user).group(group)
            },
            Change::Add { group, user } => base.action("add").joiner(*user).host(*group),
            Change::RenameUser {
                user,
                user_name,
                given_name,
                family_name,
            } => {
                let new = NewNames {
                    user_name: user_name.map(UserName::as_str),
                    given_name: given_name.map(PlainName::as_str),
                    family_name: family_name.map(PlainName::as_str),
                    display_name: None,
                };
                base.action("renameUser").user(user).renamed(new)
            }
            Change::RenameGroup { group, display_name } => {
                base.action("renameGroup").group(group).renamed(NewNames {
                    display_name: Some(display_name.as_str()),
                    ..NewNames::default()
                })
            }
            Change::CreateUser { wish } => base.action("createUser").renamed(NewNames {
                user_name: Some(wish.user_name.as_str()),
                given_name: Some(wish.given_name.as_str()),
                family_name: Some(wish.family_name.as_str()),
                display_name: None,
            }),
            Change::CreateGroup { wish } => base.action("createGroup").renamed(NewNames {
                display_name: Some(wish.display_name.as_str()),
                ..NewNames::default()
            }),
        };
        if show_names {
            document
        } else {
            document.without_names()
        }
    }

    fn action(self, action: &'static str) -> Self {
        Self { action, ..self }
    }

    fn user(self, user: &'a User) -> Self {
        Self {
            user_id: Some(user.id.as_str()),
            user_name: user.user_name.as_deref(),
            ..self
        }
    }

    fn group(self, group: &'a Group) -> Self {
        Self {
            group_id: Some(group.id.as_str()),
            group_name: group.display_name.as_deref(),
            ..self
        }
    }

    fn joiner(self, user: Joiner<'a>) -> Self {
        match user {
            Joiner::Active(user) => self.user(user),
            Joiner::Returning(user) => self.user(user).after("reactivate"),
            Joiner::Coming(wish) => Self {
                user_name: Some(wish.user_name.as_str()),
                ..self.after("createUser")
            },
        }
    }

    fn host(self, group: Host<'a>) -> Self {
        match group {
            Host::Present(group) => self.group(group),
            Host::Coming(wish) => Self {
                group_name: Some(wish.display_name.as_str()),
                ..self.after("createGroup")
            },
        }
    }

    fn after(mut self, action: &'static str) -> Self {
        self.follows.push(action);
        self
    }

    fn renamed(self, new: NewNames<'a>) -> Self {
        let fields = [
            ("userName", new.user_name),
            ("givenName", new.given_name),
            ("familyName", new.family_name),
            ("displayName", new.display_name),
        ];
        Self {
            fields: fields
                .into_iter()
                .filter_map(|(field, name)| name.map(|_| field))
                .collect(),
            new: Some(new),
            ..self
        }
    }

    fn without_names(self) -> Self {
        Self {
            user_name: None,
            group_name: None,
            new: None,
            ..self
        }
    }
}

impl<'a> ObjectDocument<'a> {
    fn of(outcome: &Outcome<'_>, verdict: &'a Verdict<'a>) -> Self {
        let Verdict {
            object,
            subject: _,
            reason,
            id,
            adopts,
            planned: _,
            sends: _,
            disowns: _,
            differs,
            entries,
            has_expired: _,
            suspension: _,
            stopped: _,
            overwritten: _,
            added: _,
            scim_type: _,
        } = verdict;
        let kept = outcome.declared.is_kept(object);
        let (object, place) = labels(outcome, object);
        Self {
            object,
            place,
            kept,
            reason: reason.as_str(),
            message: reason.message(),
            action: reason.action(),
            id: id.map(RemoteId::as_str),
            adopts: *adopts,
            differs: differs.iter().map(|field| field.as_str()).collect(),
            entries,
        }
    }
}

/// The object, and where it is.
fn labels(outcome: &Outcome<'_>, id: &ObjectId) -> (String, Option<String>) {
    match outcome.object(id) {
        Some((object, place)) => (object.to_string(), place.map(ToString::to_string)),
        None => (id.as_str().to_owned(), None),
    }
}
