//! `explain`: prints the runbooks of `docs/reasons.md`. They are part of the program, so no network is needed.

use std::io::{self, Write};

use super::CheckError;

/// The page with all runbooks.
const PAGE: &str = include_str!("../../docs/reasons.md");

/// The path of the runbook with this anchor.
#[must_use]
pub fn runbook(anchor: &str) -> String {
    format!("docs/reasons.md#{anchor}")
}

/// The condition whose reason is the STATUS of a connection.
const READY: &str = "Ready";

/// Prints one runbook: that of a reason, a condition or an alert. Without a name, prints the names of all.
///
/// # Errors
/// [`CheckError::NoSuchRunbook`] if none has this name. [`CheckError::Output`] if `out` cannot be written.
pub fn explain(name: Option<&str>, out: &mut impl Write) -> Result<(), CheckError> {
    match name {
        None => {
            for (title, _) in runbooks() {
                writeln!(out, "{title}").map_err(CheckError::Output)?;
            }
            Ok(())
        }
        Some(name) => match find(name).ok_or(CheckError::NoSuchRunbook)? {
            Found::Runbook(title, text) => print(title, text, out),
            Found::Status => writeln!(
                out,
                "Each STATUS has its own runbook. Read STATUS in `kubectl get sbc`, then run `explain STATUS`."
            ),
        }
        .map_err(CheckError::Output),
    }
}

/// What a name stands for.
enum Found {
    /// The runbook with this title and text.
    Runbook(&'static str, &'static str),
    /// The condition Ready, or an alert about it: the STATUS decides.
    Status,
}

fn find(name: &str) -> Option<Found> {
    let has_title = |title: &str, name: &str| title.replace(' ', "").eq_ignore_ascii_case(name);
    let titled = |name| runbooks().find(|(title, _)| has_title(title, name));
    if let Some((title, text)) = titled(name) {
        return Some(Found::Runbook(title, text));
    }
    if name.eq_ignore_ascii_case(READY) {
        return Some(Found::Status);
    }
    let mut of_alert = runbooks().filter(|(_, text)| names_alert(text, name));
    let (title, text) = of_alert.next()?;
    let others = of_alert.count();
    // Two runbooks may name an alert; one of them has its title.
    let own = name.get(ALERT_PREFIX.len()..).and_then(titled);
    Some(match (own, others) {
        (Some((title, text)), _) => Found::Runbook(title, text),
        (None, 0) => Found::Runbook(title, text),
        (None, _) => Found::Status,
    })
}

/// What the name of each alert begins with.
const ALERT_PREFIX: &str = "ScimBridge";

/// Whether the last line of a runbook names this alert.
fn names_alert(text: &str, alert: &str) -> bool {
    let alerts = text.split("**Alert.**").nth(1).unwrap_or("");
    alerts
        .split('`')
        .skip(1)
        .step_by(2)
        .any(|word| word.eq_ignore_ascii_case(alert))
}

fn print(title: &str, text: &str, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{title}\n")?;
    writeln!(out, "{}", text.trim())
}

/// The title and text of each runbook.
fn runbooks() -> impl Iterator<Item = (&'static str, &'static str)> {
    PAGE.split("\n## ").skip(1).map(|section| {
        let (title, text) = section.split_once('\n').unwrap_or((section, ""));
        // A top-level heading ends the runbook.
        (title.trim(), text.split("\n# ").next().unwrap_or(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules that the chart installs: each alert in them has something to read.
    const ALERTS: &str = include_str!("../../deploy/monitoring/alerts.yaml");

    fn explained(name: &str) -> String {
        let mut out = Vec::new();
        explain(Some(name), &mut out).unwrap_or_else(|error| panic!("{name}: {error}"));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_alert_has_a_runbook() {
        for name in ALERTS
            .lines()
            .filter_map(|line| line.trim().strip_prefix("- alert: "))
        {
            assert!(!explained(name).is_empty(), "{name}");
        }
        for (name, beginning) in [
            ("ScimBridgeNotConnected", "Each STATUS"),
            ("Ready", "Each STATUS"),
            ("ScimBridgeKeyRefused", "AuthFailed"),
            ("ScimBridgeCertificateExpiring", "CertificateExpiring"),
            ("scimbridgeverdictstale", "VerdictStale"),
            ("ScimBridgeComponentUnhealthy", "Degraded"),
        ] {
            let said = explained(name);
            assert!(said.starts_with(beginning), "{name}: {said}");
        }
        assert!(explain(Some("NoSuchReason"), &mut Vec::new()).is_err());
    }
}
