//! The steps of a check, printed for people.

use std::io::{self, Stdout, Write as _};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use k8s_openapi::jiff::Timestamp;

use super::{
    Checked,
    explain::runbook,
    steps::{Mark, Reached, Step, StepResult, passed},
};
use crate::{
    api::{
        connection::{IdentityProvider, ScimBridgeConnectionStatus},
        vocabulary::{Class, ConditionType, Layer},
    },
    domain::connection::{
        conditions::{find, readiness},
        evidence::{Answer, Exchange, Reading},
        target::Target,
        verdict::Verdict,
    },
};

/// Prints each step once, in order.
#[derive(Debug)]
pub(super) struct Terminal {
    out: AutoStream<Stdout>,
    printed: usize,
}

impl Terminal {
    /// Prints to standard output, in colour if that is a terminal which supports it.
    pub(super) fn stdout() -> Self {
        Self {
            out: AutoStream::auto(io::stdout()),
            printed: 0,
        }
    }

    /// Prints the connection that the program checks.
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

    /// Prints the steps whose result can no longer change.
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

    /// Prints the remaining steps, and the verdict.
    pub(super) fn conclude(&mut self, checked: &Checked) -> io::Result<()> {
        for step in checked.steps.iter().skip(self.printed) {
            self.line(step)?;
        }
        let verdict = &checked.verdict;
        let reason = verdict.reason;
        let style = style_of(verdict.class);
        let translate = |text| checked.wording.translate(text);
        writeln!(
            self.out,
            "\n{style}{reason}{style:#}  {}",
            translate(reason.message())
        )?;
        if !verdict.action().is_empty() {
            writeln!(self.out, "  next     {}", translate(verdict.action()))?;
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

    /// Prints READY and STATUS of both: from here, and from the operator.
    fn compare(
        &mut self,
        verdict: &Verdict,
        status: &ScimBridgeConnectionStatus,
        now: Timestamp,
    ) -> io::Result<()> {
        let ready = find(&status.conditions, ConditionType::Ready);
        let here = format!("{} {}", readiness(verdict.class), verdict.reason);
        let reported = ready.map_or_else(
            || "no verdict yet".to_owned(),
            |ready| format!("{} {}", ready.status, ready.reason),
        );
        let checked = status.last_probe_time.as_ref().map_or_else(
            || "never".to_owned(),
            |time| format!("{} ago", age(now.as_second() - time.0.as_second())),
        );
        writeln!(self.out, "\n  from here          {here}")?;
        writeln!(self.out, "  from the operator  {reported}, checked {checked}")?;
        let is_stale = status.valid_until.as_ref().is_some_and(|until| until.0 < now);
        if is_stale {
            writeln!(
                self.out,
                "  The operator's result is stale: check that the operator is running."
            )?;
        } else if reported != here {
            writeln!(
                self.out,
                "  The results differ. DNS, routing, proxy or firewall may differ between here and the cluster,\n  or the operator has not checked again yet."
            )?;
        }
        Ok(())
    }

    fn line(&mut self, result: &StepResult) -> io::Result<()> {
        let (word, style) = match result.mark {
            Mark::Passed => ("ok", AnsiColor::Green.on_default()),
            Mark::Warned => ("warn", AnsiColor::Yellow.on_default()),
            Mark::Failed => ("FAIL", AnsiColor::Red.on_default().bold()),
            Mark::Skipped => ("-", Style::new().dimmed()),
        };
        let step = result.step.as_str();
        writeln!(
            self.out,
            "  {style}{word:<4}{style:#}  {step:<10}  {}",
            result.note
        )?;
        self.printed += 1;
        self.out.flush()
    }
}

/// The first step whose result can still change.
fn certain(reached: &Reached, exchange: Option<&Exchange>) -> Step {
    let Some(exchange) = exchange else {
        // The TLS line shows the certificate, which is known only with the first answer.
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
