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

/// Prints one runbook. Without a reason, prints the names of all.
///
/// # Errors
/// [`CheckError::NoSuchRunbook`] if none has this name. [`CheckError::Output`] if `out` cannot be written.
pub fn explain(reason: Option<&str>, out: &mut impl Write) -> Result<(), CheckError> {
    match reason {
        None => {
            for (title, _) in runbooks() {
                writeln!(out, "{title}").map_err(CheckError::Output)?;
            }
            Ok(())
        }
        Some(reason) => {
            let wanted = |title: &str| title.replace(' ', "").eq_ignore_ascii_case(reason);
            let (title, text) = runbooks()
                .find(|(title, _)| wanted(title))
                .ok_or(CheckError::NoSuchRunbook)?;
            print(title, text, out).map_err(CheckError::Output)
        }
    }
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
