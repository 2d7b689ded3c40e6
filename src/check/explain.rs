//! `explain`: the runbooks of `docs/reasons.md`, which are part of the program, so that they are at hand where nothing
//! else is.

use std::io::{self, Write};

use super::CheckError;

/// The page.
const PAGE: &str = include_str!("../../docs/reasons.md");

/// Where a reader finds the runbook of this anchor.
#[must_use]
pub fn runbook(anchor: &str) -> String {
    format!("docs/reasons.md#{anchor}")
}

/// Prints one runbook, or the names of all where none is asked for.
///
/// # Errors
/// [`CheckError::NoSuchRunbook`] where there is none of this name.
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

/// Titles and texts.
fn runbooks() -> impl Iterator<Item = (&'static str, &'static str)> {
    PAGE.split("\n## ").skip(1).map(|section| {
        let (title, text) = section.split_once('\n').unwrap_or((section, ""));
        // A heading of a higher order begins another part.
        (title.trim(), text.split("\n# ").next().unwrap_or(text))
    })
}
