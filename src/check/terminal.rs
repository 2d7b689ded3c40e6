//! The steps of a check, for people.

use std::io::{self, Stdout, Write as _};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use k8s_openapi::jiff::Timestamp;

use super::{
    Checked,
    explain::runbook,
    steps::{Footprint, Mark, Reached, Step, passed},
};
use crate::{
    api::{
        v1alpha1::{IdentityProvider, ScimBridgeConnectionStatus},
        vocabulary::{Class, ConditionType},
    },
    bridge::stages::Layer,
    domain::{
        conditions::{find, readiness},
        evidence::{Answer, Exchange, Reading},
        target::Target,
        verdict::Verdict,
    },
};

/// Prints steps, each once and in order.
#[derive(Debug)]
pub(super) struct Terminal {
    out: AutoStream<Stdout>,
    printed: usize,
}

impl Terminal {
    /// Standard output: with colours where it is a terminal that wants them.
    pub(super) fn stdout() -> Self {
        Self {
            out: AutoStream::auto(io::stdout()),
            printed: 0,
        }
    }

    /// What is checked.
    pub(super) fn begin(
        &mut self,
        name: Option<&str>,
        url: Option<&str>,
        declared: Option<IdentityProvider>,
    ) -> io::Result<()> {
        self.printed = 0;
        let bold = Style::new().bold();
        let title = name.or(url).unwrap_or("the connection");
        write!(self.out, "{bold}{title}{bold:#}")?;
        if name.is_some()
            && let Some(url) = url
        {
            write!(self.out, "  {url}")?;
        }
        let provider = declared.map_or("no identity provider declared", IdentityProvider::as_str);
        writeln!(self.out, "  {provider}\n")
    }

    /// Prints the steps that are certain by now.
    pub(super) fn show(
        &mut self,
        target: Option<&Target>,
        reached: &Reached,
        exchange: Option<&Exchange>,
        now: Timestamp,
    ) -> io::Result<()> {
        let certain = certain(reached, exchange);
        let nothing = Exchange::default();
        let exchange = exchange.unwrap_or(&nothing);
        for step in Step::ALL
            .into_iter()
            .skip(self.printed)
            .take_while(|step| *step < certain)
        {
            self.line(&passed(step, target, reached, exchange, now))?;
        }
        Ok(())
    }

    /// Prints the other steps, and what they come to.
    pub(super) fn conclude(&mut self, checked: &Checked) -> io::Result<()> {
        for step in checked.steps.iter().skip(self.printed) {
            self.line(step)?;
        }
        let verdict = &checked.verdict;
        let reason = verdict.reason;
        let style = style_of(verdict.class);
        let say = |text| checked.words.say(text);
        writeln!(self.out, "\n{style}{reason}{style:#}  {}", say(reason.message()))?;
        if !verdict.action().is_empty() {
            writeln!(self.out, "  next     {}", say(verdict.action()))?;
        }
        if verdict.class != Class::Ok {
            writeln!(self.out, "  runbook  scim-bridge-operator explain {reason}")?;
            writeln!(self.out, "           {}", runbook(&reason.anchor()))?;
        }
        if let Some(status) = &checked.operator {
            self.compare(verdict, status, checked.at)?;
        }
        self.out.flush()
    }

    /// The operator's view beside ours: READY and STATUS.
    fn compare(
        &mut self,
        verdict: &Verdict,
        status: &ScimBridgeConnectionStatus,
        now: Timestamp,
    ) -> io::Result<()> {
        let ready = find(&status.conditions, ConditionType::Ready);
        let here = format!("{} {}", readiness(verdict.class), verdict.reason);
        let said = ready.map_or_else(
            || "no verdict yet".to_owned(),
            |ready| format!("{} {}", ready.status, ready.reason),
        );
        let checked = status.last_probe_time.as_ref().map_or_else(
            || "never".to_owned(),
            |time| format!("{} ago", age(now.as_second() - time.0.as_second())),
        );
        writeln!(self.out, "\n  from here          {here}")?;
        writeln!(self.out, "  from the operator  {said}, checked {checked}")?;
        let is_stale = status.valid_until.as_ref().is_some_and(|until| until.0 < now);
        if is_stale {
            writeln!(
                self.out,
                "  The operator's verdict is stale: check that the operator is running."
            )?;
        } else if said != here {
            writeln!(
                self.out,
                "  The results differ. DNS, routing, proxy or firewall may differ between here and the cluster.\n  Or the operator has not checked again yet."
            )?;
        }
        Ok(())
    }

    fn line(&mut self, footprint: &Footprint) -> io::Result<()> {
        let (word, style) = match footprint.mark {
            Mark::Passed => ("ok", AnsiColor::Green.on_default()),
            Mark::Warned => ("warn", AnsiColor::Yellow.on_default()),
            Mark::Failed => ("FAIL", AnsiColor::Red.on_default().bold()),
            Mark::Skipped => ("-", Style::new().dimmed()),
        };
        let step = footprint.step.as_str();
        writeln!(
            self.out,
            "  {style}{word:<4}{style:#}  {step:<10}  {}",
            footprint.note
        )?;
        self.printed += 1;
        self.out.flush()
    }
}

/// The first step that is not yet certain to be behind us.
fn certain(reached: &Reached, exchange: Option<&Exchange>) -> Step {
    let Some(exchange) = exchange else {
        // The line on TLS tells of the certificate, which comes with the first answer.
        return if reached.layers.contains(&Layer::Address) || reached.layers.contains(&Layer::Tls) {
            Step::Tls
        } else if reached.layers.contains(&Layer::Name) {
            Step::Address
        } else {
            Step::Settings
        };
    };
    let is_bridge = matches!(
        &exchange.ping,
        Reading::Answered(Answer::Document(()) | Answer::NotFound)
    );
    if exchange.users.document().is_some() {
        Step::Scim
    } else if is_bridge {
        Step::Key
    } else {
        Step::Settings
    }
}

const fn style_of(class: Class) -> Style {
    match class {
        Class::Ok => AnsiColor::Green.on_default().bold(),
        Class::Action => AnsiColor::Red.on_default().bold(),
        Class::Transient | Class::Pending => AnsiColor::Yellow.on_default().bold(),
    }
}

/// A time span as kubectl prints it.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}
