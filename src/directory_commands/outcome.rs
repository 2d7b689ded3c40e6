//! A plan with everything that belongs beside it: where each object is, which limits count, which objects cannot be used.

use std::{
    collections::HashSet,
    io::{self, IsTerminal as _, Write},
};

use k8s_openapi::jiff::Timestamp;

use super::{
    counted,
    declared::{Counts, Declared, ObjectName},
    document,
    files::Place,
};
use crate::{
    api::{directory::MembersReadBy, vocabulary::Class},
    args::{PlanFormat, ShowPlan},
    domain::directory::{
        act::Act,
        budget::Kind as ChangeKind,
        ledger::Ledger,
        names::ObjectId,
        plan::{Directory, Pending, Plan, Policy, plan},
        render::{ActById, NamedAct, Summary},
        verdict::{Reason, Verdict},
        walk::Incomplete,
    },
};

/// The field that names the address of a bridge.
pub(super) const URL: &str = "spec.url";

/// A plan, and what belongs to it.
pub struct Outcome<'a> {
    /// `NAMESPACE/NAME` of the connection.
    pub(super) connection: &'a str,
    /// The address of the bridge.
    pub(super) url: Option<&'a str>,
    /// The time of the plan.
    pub(super) at: Timestamp,
    /// Where the bridge shows members.
    pub(super) members_read_by: Option<MembersReadBy>,
    pub(super) declared: &'a Declared,
    pub(super) applied: Option<Applied<'a>>,
    pub(super) policy: &'a Policy,
    pub(super) plan: Plan<'a>,
}

/// The state that is applied now, beside the manifests to plan for.
#[derive(Clone, Copy, Debug)]
pub struct Applied<'a> {
    /// Where it is.
    pub source: Source,
    /// The fields of the connection that differ between the two.
    pub differs: &'a [String],
}

/// Where the objects are that are applied now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the files of `--base`.
    Base,
    /// In a cluster.
    Cluster,
}

/// What plans for one connection have in common.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// `NAMESPACE/NAME` of the connection.
    pub connection: &'a str,
    /// The address of the bridge.
    pub url: Option<&'a str>,
    /// The applied state, if the user gave one.
    pub applied: Option<Applied<'a>>,
    /// The limits of the connection.
    pub policy: &'a Policy,
    /// What was sent lately.
    pub ledger: &'a Ledger,
    /// The time.
    pub at: Timestamp,
}

/// What a plan comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// All is as declared.
    Nothing,
    /// Something cannot be planned, or not all of it.
    Failed,
    /// Something would be sent.
    Changes,
    /// Something would be sent if a person allowed it.
    Held,
}

impl<'a> Outcome<'a> {
    /// Plans, if the directory is believed.
    #[must_use]
    pub fn of(
        ground: &Ground<'a>,
        declared: &'a Declared,
        directory: Result<Directory<'a>, Incomplete>,
    ) -> Self {
        let Ground {
            connection,
            url,
            applied,
            policy,
            ledger,
            at,
        } = *ground;
        Self {
            connection,
            url,
            at,
            members_read_by: directory
                .ok()
                .and_then(|directory| directory.snapshot.members_read_by()),
            declared,
            applied,
            policy,
            plan: plan(&declared.wishes, directory, policy, ledger, at),
        }
    }

    /// What the plan comes to. A failure comes first, then a held change, then the rest.
    #[must_use]
    pub fn conclusion(&self) -> Conclusion {
        let plan = &self.plan;
        if !self.declared.faults.is_empty()
            || plan.totals.is_err()
            || plan.verdicts.iter().any(|verdict| self.fails(verdict))
        {
            Conclusion::Failed
        } else if !plan.held.is_empty() {
            Conclusion::Held
        } else if !plan.acts.is_empty() {
            Conclusion::Changes
        } else {
            Conclusion::Nothing
        }
    }

    /// Prints the plan.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn print(&self, show: ShowPlan, out: &mut impl Write) -> io::Result<()> {
        let ShowPlan { output, show_names } = show;
        match output {
            PlanFormat::Text => self.text(show_names || io::stdout().is_terminal(), out),
            PlanFormat::Json => document::json(self, show_names, out),
            PlanFormat::Junit => document::junit(self, show_names, out),
        }
    }

    /// Writes the plan for people.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn text(&self, show_names: bool, out: &mut impl Write) -> io::Result<()> {
        let Self {
            connection,
            url,
            declared,
            plan,
            ..
        } = self;
        write!(out, "{connection}")?;
        if let Some(url) = url {
            write!(out, "  {url}")?;
        }
        if let Ok(totals) = &plan.totals {
            write!(
                out,
                "  {}, {} of them suspended, {}",
                counted(totals.users, "user"),
                totals.suspended,
                counted(totals.groups, "group")
            )?;
        }
        let Counts { users, groups } = declared.own;
        writeln!(
            out,
            "\ndeclared: {} and {}\n",
            counted(users, "user"),
            counted(groups, "group")
        )?;
        for (act, is_held) in self.acts() {
            let held = if is_held { "held: " } else { "" };
            writeln!(
                out,
                "  {held}{}  {}",
                line(act, show_names),
                self.label(act.object)
            )?;
        }
        if !plan.acts.is_empty() || !plan.held.is_empty() {
            writeln!(out)?;
        }
        writeln!(out, "{}", Summary(plan))?;
        for pending in &plan.pending {
            if let Some(limit) = self.policy.limits.get(pending.kind) {
                let noun = pending.kind.singular();
                let changes = counted(pending.count as usize, noun);
                writeln!(out, "  {changes}; the limit is {limit} in an hour")?;
            }
        }
        self.text_sending(out)?;
        let acting: HashSet<&ObjectId> = self.acts().map(|(act, _)| act.object).collect();
        // An object that is paused, or that waits for another one, differs and has no act.
        let is_silent = |verdict: &Verdict<'_>| {
            matches!(verdict.reason, Reason::ChangePlanned | Reason::Held) && !acting.contains(verdict.object)
        };
        for verdict in &plan.verdicts {
            if !(is_refused(verdict) || verdict.reason == Reason::Unproven || is_silent(verdict)) {
                continue;
            }
            writeln!(out, "\n{}: {}", self.label(verdict.object), describe(verdict))?;
            if let Some(next) = next_step(verdict.reason) {
                writeln!(out, "  next     {next}")?;
                writeln!(out, "  runbook  scim-bridge-operator explain {}", verdict.reason)?;
            }
        }
        if !declared.faults.is_empty() {
            writeln!(out)?;
        }
        for fault in &declared.faults {
            writeln!(out, "{fault}")?;
        }
        if declared.others > 0 {
            let others = counted(declared.others, "object");
            writeln!(out, "\nleft out: {others} of other connections")?;
        }
        self.text_beside(out)?;
        out.flush()
    }

    /// Says who sends the changes, and how a person lets held ones go.
    fn text_sending(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { policy, plan, .. } = self;
        if plan.pending.is_empty() {
            return Ok(());
        }
        let sends = if policy.sends {
            "The connection is in mode Manage: the operator sends these changes itself."
        } else {
            "The connection is in mode Plan: nobody sends these changes."
        };
        writeln!(out, "\n{sends}")?;
        for pending in plan.pending.iter().filter(|pending| pending.held) {
            let held = counted(pending.count as usize, pending.kind.singular());
            match self.release(pending) {
                Some(command) => writeln!(out, "To release exactly the {held}: {command}")?,
                None => writeln!(out, "In mode Manage, a person would have to release the {held}.")?,
            }
        }
        Ok(())
    }

    /// The command that releases exactly this set. `None` if it is not held, or nothing would be sent afterwards.
    pub(super) fn release(&self, pending: &Pending) -> Option<String> {
        if !(pending.held && self.policy.sends) {
            return None;
        }
        let (namespace, name) = match self.connection.split_once('/') {
            Some((namespace, name)) => (format!(" -n {namespace}"), name),
            None => (String::new(), self.connection),
        };
        Some(format!(
            "kubectl scim-bridge release {name}{namespace} --digest {}",
            pending.digest
        ))
    }

    /// Names the differences to the applied state.
    fn text_beside(&self, out: &mut impl Write) -> io::Result<()> {
        let Some(Applied { source, differs }) = self.applied else {
            return Ok(());
        };
        if self.declared.kept() > 0 {
            writeln!(
                out,
                "\nnot in the files: {} of {}. An apply without prune leaves them there, so the plan includes them.",
                counted(self.declared.kept(), "object"),
                source.as_str()
            )?;
        }
        if !differs.is_empty() {
            writeln!(
                out,
                "\nThe connection differs from that of {} in {}.",
                source.as_str(),
                differs.join(", ")
            )?;
        }
        if source == Source::Cluster && differs.iter().any(|field| field == URL) {
            writeln!(
                out,
                "The plan is for the address in the cluster. It ignores that of the files."
            )?;
        }
        Ok(())
    }

    /// Whether the plan fails for the object: it is declared so, and cannot be done. One that only stays as it was does not
    /// count against those who change others.
    pub(super) fn fails(&self, verdict: &Verdict<'_>) -> bool {
        is_refused(verdict) && !self.declared.is_kept(verdict.object)
    }

    /// All acts in the order in which they would be sent, those that are held last.
    pub(super) fn acts(&self) -> impl Iterator<Item = (&Act<'a>, bool)> {
        let sent = self.plan.acts.iter().map(|act| (act, false));
        sent.chain(self.plan.held.iter().map(|act| (act, true)))
    }

    pub(super) fn object(&self, id: &ObjectId) -> Option<(&ObjectName, Option<&Place>)> {
        self.declared.object(id)
    }

    /// An object and its place: `ScimUser ada (users.yaml:12)`.
    pub(super) fn label(&self, id: &ObjectId) -> String {
        match self.object(id) {
            Some((object, Some(place))) => format!("{object} ({place})"),
            Some((object, None)) => object.to_string(),
            None => id.as_str().to_owned(),
        }
    }

    /// The limit for a kind of changes.
    pub(super) const fn limit(&self, kind: ChangeKind) -> Option<u32> {
        *self.policy.limits.get(kind)
    }
}

impl Source {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Base => "the base",
            Self::Cluster => "the cluster",
        }
    }
}

impl Conclusion {
    /// The exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Failed => 1,
            Self::Changes => 2,
            Self::Held => 3,
        }
    }

    /// The word in the JSON document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Failed => "failed",
            Self::Changes => "changes",
            Self::Held => "held",
        }
    }
}

/// Whether something cannot be done for the object as it is declared. A plan that waits for a person is no failure, and a
/// bridge that does not say whether somebody is active is none either.
pub(super) const fn is_refused(verdict: &Verdict<'_>) -> bool {
    match verdict.reason {
        Reason::Provisioned
        | Reason::Suspended
        | Reason::ChangePlanned
        | Reason::Held
        | Reason::Progressing
        | Reason::RateLimited
        | Reason::Unproven => false,
        Reason::OutOfScope
        | Reason::Protected
        | Reason::AlreadyExists
        | Reason::Ambiguous
        | Reason::RemoteGone
        | Reason::MembersUnreadable
        | Reason::MemberMissing
        | Reason::MemberRemains
        | Reason::Contested
        | Reason::Rejected
        | Reason::NotAsWritten
        | Reason::Unsupported
        | Reason::InvalidSpec
        | Reason::IdentityProviderAuthoritative
        | Reason::ConnectionNotFound
        | Reason::ProvisioningOff
        | Reason::ConnectionNotReady
        | Reason::DirectoryIncomplete => true,
    }
}

/// An act in one line.
pub(super) fn line(act: &Act<'_>, show_names: bool) -> String {
    if show_names {
        NamedAct(act).to_string()
    } else {
        ActById(act).to_string()
    }
}

/// Reason, message and differing fields of a verdict.
pub(super) fn describe(verdict: &Verdict<'_>) -> String {
    let fields: Vec<&str> = verdict.differs.iter().map(|field| field.as_str()).collect();
    let message = verdict.reason.message();
    let note = verdict.note().map_or_else(String::new, |note| format!(" {note}"));
    if fields.is_empty() {
        format!("{}  {message}{note}", verdict.reason)
    } else {
        format!(
            "{}  {message} It differs in {}.{note}",
            verdict.reason,
            fields.join(", ")
        )
    }
}

/// The next step, where somebody has to take one before the plan can be right.
pub(super) fn next_step(reason: Reason) -> Option<&'static str> {
    let action = reason.action();
    (reason.class() != Class::Ok && !action.is_empty() && reason != Reason::ChangePlanned).then_some(action)
}
