//! What was measured, as Markdown for people and as JSON for programs.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::{Map, Value};
use testbed::Failure;

use crate::say;

/// A report that grows. It is written whenever something was added: what an interrupted run measured is not lost.
#[derive(Debug)]
pub(crate) struct Report {
    file: PathBuf,
    text: String,
    data: Map<String, Value>,
}

impl Report {
    /// Begins a report. Beside the Markdown file there will be one with the same name for programs.
    pub(crate) fn begin(file: &Path, title: &str) -> Result<Self, Failure> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(Self {
            file: file.to_owned(),
            text: format!("# {title}\n"),
            data: Map::new(),
        })
    }

    /// A file beside the report.
    pub(crate) fn beside(&self, extension: &str) -> PathBuf {
        self.file.with_extension(extension)
    }

    /// A paragraph.
    pub(crate) fn say(&mut self, text: &str) -> Result<(), Failure> {
        write!(self.text, "\n{text}\n")?;
        self.write()
    }

    /// A table under a heading.
    pub(crate) fn table<H: AsRef<str>>(
        &mut self,
        heading: &str,
        headers: &[H],
        rows: &[Vec<String>],
    ) -> Result<(), Failure> {
        let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
        write!(self.text, "\n## {heading}\n\n")?;
        self.text
            .push_str(&line(headers.iter().map(AsRef::as_ref).collect()));
        // Numbers are read from the right.
        let rule = headers.iter().enumerate();
        let rule = rule.map(|(column, _)| if column == 0 { "---" } else { "---:" });
        self.text.push_str(&line(rule.collect()));
        for row in rows {
            self.text
                .push_str(&line(row.iter().map(String::as_str).collect()));
        }
        self.write()
    }

    /// A value for programs.
    pub(crate) fn keep(&mut self, name: &str, value: &impl Serialize) -> Result<(), Failure> {
        self.data.insert(name.to_owned(), serde_json::to_value(value)?);
        self.write()
    }

    /// Shows the whole.
    pub(crate) fn show(&self) -> Result<(), Failure> {
        say(&format!(
            "\n{}\nwritten to {} and {}",
            self.text,
            self.file.display(),
            self.beside("json").display()
        ))
    }

    fn write(&self) -> Result<(), Failure> {
        fs::write(&self.file, &self.text)?;
        fs::write(self.beside("json"), serde_json::to_string_pretty(&self.data)?)?;
        Ok(())
    }
}

/// A figure, what the machine allows, and one by the other.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) limit: f64,
    pub(crate) limit_is: &'static str,
    pub(crate) ratio: f64,
}

impl Figure {
    /// Compares.
    pub(crate) fn new(name: impl Into<String>, value: f64, limit: f64, limit_is: &'static str) -> Self {
        Self {
            name: name.into(),
            value,
            limit,
            limit_is,
            ratio: crate::numbers::ratio(value, limit),
        }
    }

    /// Names of what [`Figure::row`] shows.
    pub(crate) const HEADERS: [&'static str; 5] = ["Figure", "Operator", "Limit", "Ratio", "The limit is"];

    /// One row of a table.
    pub(crate) fn row(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            format!("{:.3}", self.value),
            format!("{:.3}", self.limit),
            format!("{:.2}", self.ratio),
            self.limit_is.to_owned(),
        ]
    }
}
