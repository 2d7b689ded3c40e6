//! What a rehearsal has shown, without personal data.

use std::{
    io::{self, Write},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use crate::domain::directory::names::RemoteId;

/// The version of the JSON document. Within a version, fields are added, and none is renamed or removed.
const FORMAT_VERSION: u32 = 1;

/// The questions, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Question {
    Read,
    CreateUser,
    UserShown,
    Names,
    DuplicateUser,
    OtherDomain,
    CreateGroup,
    GroupShown,
    DuplicateGroup,
    AddMember,
    MembersShown,
    RemoveStranger,
    Rename,
    RenameAddress,
    Suspend,
    SuspendedMember,
    Reactivate,
    ReactivatedMember,
    RemoveMember,
    UnknownMember,
    WriteTime,
}

/// How an answer fits the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// The operator relies on it.
    Well,
    /// The operator does less there.
    Limits,
    /// A request of the operator does not do what it is for.
    Fails,
    /// It was not tried.
    Open,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) question: Question,
    pub(super) fit: Fit,
    /// What the bridge did.
    pub(super) answer: String,
    /// What the operator makes of it.
    pub(super) operator: &'static str,
}

/// Something that stays on the bridge. There is no request that deletes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leftover {
    pub(super) kind: &'static str,
    pub(super) id: RemoteId,
    pub(super) state: &'static str,
    /// Whether it is as a rehearsal should leave it.
    pub(super) is_tidy: bool,
}

/// The report of a rehearsal.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) at: Timestamp,
    /// The version that the bridge reports.
    pub(super) version: Option<String>,
    pub(super) findings: Vec<Finding>,
    pub(super) leftovers: Vec<Leftover>,
    /// Why the rehearsal ended early.
    pub(super) stopped: Option<String>,
}

/// What a rehearsal comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rehearsed {
    /// The bridge does what the operator expects.
    Well,
    /// The rehearsal did not come to its end, or left something active.
    Failed,
    /// Something is different.
    Different,
}

/// How long something took to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shown {
    /// The first read showed it.
    #[default]
    AtOnce,
    /// A later one did.
    After(Duration),
}

// === impl Question ===

impl Question {
    const fn id(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::CreateUser => "createUser",
            Self::UserShown => "userShown",
            Self::Names => "names",
            Self::DuplicateUser => "duplicateUser",
            Self::OtherDomain => "otherDomain",
            Self::CreateGroup => "createGroup",
            Self::GroupShown => "groupShown",
            Self::DuplicateGroup => "duplicateGroup",
            Self::AddMember => "addMember",
            Self::MembersShown => "membersShown",
            Self::RemoveStranger => "removeStranger",
            Self::Rename => "rename",
            Self::RenameAddress => "renameAddress",
            Self::Suspend => "suspend",
            Self::SuspendedMember => "suspendedMember",
            Self::Reactivate => "reactivate",
            Self::ReactivatedMember => "reactivatedMember",
            Self::RemoveMember => "removeMember",
            Self::UnknownMember => "unknownMember",
            Self::WriteTime => "writeTime",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Read => "Can the directory be read in full?",
            Self::CreateUser => "How is a new user answered?",
            Self::UserShown => "Where and when is a new user shown?",
            Self::Names => "Are names of one word shown as written?",
            Self::DuplicateUser => "How is a second user of the same name answered?",
            Self::OtherDomain => "How is a user of another domain answered?",
            Self::CreateGroup => "How is a new group answered?",
            Self::GroupShown => "Where and when is a new group shown?",
            Self::DuplicateGroup => "How is a second group of the same name answered?",
            Self::AddMember => "How is an addition to a group answered?",
            Self::MembersShown => "Where and when are members shown?",
            Self::RemoveStranger => "Does a removal leave the other members alone?",
            Self::Rename => "Is a given name of two words shown as written?",
            Self::RenameAddress => "Is a new user name shown before the person confirms it?",
            Self::Suspend => "Does a suspension take effect?",
            Self::SuspendedMember => "Does the group keep a suspended member?",
            Self::Reactivate => "Can a suspended user be made active again?",
            Self::ReactivatedMember => "Is this user a member afterwards?",
            Self::RemoveMember => "Does a removal remove the member?",
            Self::UnknownMember => "How is a member answered whom nobody knows?",
            Self::WriteTime => "How long does a write take to show?",
        }
    }
}

// === impl Report ===

impl Report {
    pub(super) fn conclusion(&self) -> Rehearsed {
        let is_different = |finding: &Finding| matches!(finding.fit, Fit::Limits | Fit::Fails);
        if self.stopped.is_some() || self.leftovers.iter().any(|left| !left.is_tidy) {
            Rehearsed::Failed
        } else if self.findings.iter().any(is_different) {
            Rehearsed::Different
        } else {
            Rehearsed::Well
        }
    }

    pub(super) fn text(&self, out: &mut impl Write) -> io::Result<()> {
        let version = self.version.as_deref().unwrap_or("of unknown version");
        writeln!(out, "bridge {version}\n")?;
        for finding in &self.findings {
            let Finding {
                question,
                fit,
                answer,
                operator,
            } = finding;
            writeln!(out, "  {:5} {}", fit.mark(), question.words())?;
            writeln!(out, "        {answer}")?;
            if !operator.is_empty() {
                writeln!(out, "        The operator {operator}")?;
            }
        }
        if let Some(why) = &self.stopped {
            writeln!(out, "\nThe rehearsal did not come to its end: {why}")?;
        }
        if !self.leftovers.is_empty() {
            writeln!(
                out,
                "\nDelete these in 1Password by hand. No request deletes them:"
            )?;
        }
        for left in &self.leftovers {
            writeln!(out, "  {} {}: {}", left.kind, left.shown_id(), left.state)?;
        }
        out.flush()
    }

    pub(super) fn json(&self, out: &mut impl Write) -> io::Result<()> {
        let document = Document {
            format_version: FORMAT_VERSION,
            rehearsed_at: self.at,
            bridge_version: self.version.as_deref(),
            result: self.conclusion().as_str(),
            message: self.stopped.as_deref(),
            findings: self.findings.iter().map(FindingDocument::of).collect(),
            leftovers: self.leftovers.iter().map(LeftoverDocument::of).collect(),
        };
        serde_json::to_writer_pretty(&mut *out, &document)?;
        writeln!(out)
    }
}

impl Leftover {
    /// Some servers take the user name as the id. Such an id is data about a person.
    fn shown_id(&self) -> &str {
        if self.id.as_str().contains('@') {
            "of the given name"
        } else {
            self.id.as_str()
        }
    }
}

// === impl Fit, Rehearsed, Shown ===

impl Fit {
    const fn mark(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Limits => "LIMIT",
            Self::Fails => "FAIL",
            Self::Open => "-",
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Limits => "limits",
            Self::Fails => "fails",
            Self::Open => "notTried",
        }
    }
}

impl Rehearsed {
    /// The exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::Failed => 1,
            Self::Different => 2,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Failed => "failed",
            Self::Different => "different",
        }
    }
}

impl Shown {
    pub(super) fn words(self) -> String {
        match self {
            Self::AtOnce => "at the first read".to_owned(),
            Self::After(time) => format!("after {:.1}s", time.as_secs_f64()),
        }
    }

    /// The time to wait before a read that must show a write.
    pub(super) const fn time(self) -> Duration {
        match self {
            Self::AtOnce => Duration::ZERO,
            Self::After(time) => time,
        }
    }
}

// === JSON ===

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    format_version: u32,
    rehearsed_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    bridge_version: Option<&'a str>,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    findings: Vec<FindingDocument<'a>>,
    leftovers: Vec<LeftoverDocument<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FindingDocument<'a> {
    id: &'static str,
    question: &'static str,
    result: &'static str,
    answer: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    operator: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LeftoverDocument<'a> {
    kind: &'static str,
    id: &'a str,
    state: &'static str,
}

impl<'a> FindingDocument<'a> {
    fn of(finding: &'a Finding) -> Self {
        Self {
            id: finding.question.id(),
            question: finding.question.words(),
            result: finding.fit.as_str(),
            answer: &finding.answer,
            operator: finding.operator,
        }
    }
}

impl<'a> LeftoverDocument<'a> {
    fn of(left: &'a Leftover) -> Self {
        Self {
            kind: left.kind,
            id: left.shown_id(),
            state: left.state,
        }
    }
}
