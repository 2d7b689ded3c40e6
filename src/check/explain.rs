//! `explain`: prints the runbooks of `docs/reasons.md` and `docs/provisioning-reasons.md`. They are part of the program, so
//! no network is needed.

use std::io::{self, Write};

use super::CheckError;

/// The pages with all runbooks, and what these are about. One name may have a runbook on each page.
const PAGES: [(&str, &str); 2] = [
    ("a connection", include_str!("../../docs/reasons.md")),
    (
        "a user or group",
        include_str!("../../docs/provisioning-reasons.md"),
    ),
];

/// One runbook.
#[derive(Clone, Copy)]
struct Runbook {
    about: &'static str,
    title: &'static str,
    text: &'static str,
}

/// The path of the runbook with this anchor.
#[must_use]
pub fn runbook(anchor: &str) -> String {
    format!("docs/reasons.md#{anchor}")
}

/// The condition whose reason is the STATUS of a connection.
const READY: &str = "Ready";

/// Prints the runbook of a reason, a condition or an alert. A name that connections share with users and groups has two.
/// Without a name, prints the names of all.
///
/// # Errors
/// [`CheckError::NoSuchRunbook`] if none has this name. [`CheckError::Output`] if `out` cannot be written.
pub fn explain(name: Option<&str>, out: &mut impl Write) -> Result<(), CheckError> {
    match name {
        None => {
            let mut titles: Vec<&str> = Vec::new();
            for Runbook { title, .. } in runbooks() {
                if !titles.contains(&title) {
                    titles.push(title);
                    writeln!(out, "{title}").map_err(CheckError::Output)?;
                }
            }
            Ok(())
        }
        Some(name) => match find(name).ok_or(CheckError::NoSuchRunbook)? {
            Found::Runbooks(runbooks) => print(&runbooks, out),
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
    /// These runbooks: one, or one of each page.
    Runbooks(Vec<Runbook>),
    /// The condition Ready, or an alert about it: the STATUS decides.
    Status,
}

fn find(name: &str) -> Option<Found> {
    let titled = |name: &str| -> Vec<Runbook> {
        runbooks()
            .filter(|runbook| runbook.title.replace(' ', "").eq_ignore_ascii_case(name))
            .collect()
    };
    let of_name = titled(name);
    if !of_name.is_empty() {
        return Some(Found::Runbooks(of_name));
    }
    if name.eq_ignore_ascii_case(READY) {
        return Some(Found::Status);
    }
    let of_alert: Vec<Runbook> = runbooks()
        .filter(|runbook| names_alert(runbook.text, name))
        .collect();
    if of_alert.is_empty() {
        return None;
    }
    // Several runbooks may name an alert; one of them has its title.
    let own = name.get(ALERT_PREFIX.len()..).map(titled).unwrap_or_default();
    Some(if !own.is_empty() {
        Found::Runbooks(own)
    } else if of_alert.len() == 1 {
        Found::Runbooks(of_alert)
    } else {
        Found::Status
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

fn print(runbooks: &[Runbook], out: &mut impl Write) -> io::Result<()> {
    for (number, Runbook { about, title, text }) in runbooks.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        match runbooks {
            [_] => writeln!(out, "{title}\n")?,
            _ => writeln!(out, "{title} of {about}\n")?,
        }
        writeln!(out, "{}", text.trim())?;
    }
    Ok(())
}

/// All runbooks.
fn runbooks() -> impl Iterator<Item = Runbook> {
    PAGES.into_iter().flat_map(|(about, page)| {
        page.split("\n## ").skip(1).map(move |section| {
            let (title, text) = section.split_once('\n').unwrap_or((section, ""));
            Runbook {
                about,
                title: title.trim(),
                // A top-level heading ends the runbook.
                text: text.split("\n# ").next().unwrap_or(text),
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{
        directory,
        vocabulary::{ConditionType, Reason},
    };

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

    /// Each STATUS, of connections and of users and groups, and each condition. A shared name has both runbooks.
    #[test]
    fn every_reason_and_condition_is_explained() {
        let reasons = Reason::ALL.iter().map(|reason| reason.as_str());
        let of_objects = directory::Reason::ALL.iter().map(|reason| reason.as_str());
        let conditions = ConditionType::ALL.iter().map(|condition| condition.as_str());
        for name in reasons.chain(of_objects).chain(conditions) {
            assert!(!explained(name).is_empty(), "{name}");
        }
        for (name, beginnings) in [
            ("ChangePlanned", &["ChangePlanned\n"][..]),
            ("ProvisioningHeld", &["ProvisioningHeld\n"]),
            (
                "InvalidSpec",
                &[
                    "InvalidSpec of a connection\n",
                    "\nInvalidSpec of a user or group\n",
                ],
            ),
            (
                "DirectoryIncomplete",
                &[
                    "DirectoryIncomplete of a connection\n",
                    "\nDirectoryIncomplete of a user or group\n",
                ],
            ),
        ] {
            let said = explained(name);
            for beginning in beginnings {
                assert!(said.contains(beginning), "{name}: {said}");
            }
        }
        let mut out = Vec::new();
        explain(None, &mut out).unwrap();
        let all = String::from_utf8(out).unwrap();
        for name in ["InvalidSpec", "ChangePlanned", "ProvisioningHeld"] {
            assert_eq!(all.lines().filter(|line| *line == name).count(), 1, "{name}");
        }
    }
}
