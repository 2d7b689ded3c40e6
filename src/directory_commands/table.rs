//! Rows for people, and rows for spreadsheets.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

/// A column of a CSV file: its name, and the value in a row.
pub(super) type Column<R> = (&'static str, fn(&R) -> String);

/// Writes rows below their heads, in columns of even width. Without rows it writes nothing.
pub(super) fn aligned(heads: &[&str], rows: &[Vec<String>], out: &mut impl Write) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let width = |column: usize, head: &str| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widths = cells.map(|cell| cell.chars().count());
        widths.chain([head.chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..)
        .zip(heads)
        .map(|(column, head)| width(column, head))
        .collect();
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    for row in [&heads].into_iter().chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a string cannot fail.
            let _ = write!(line, "  {cell:width$}");
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Writes a table as RFC 4180 has it: a line of names, CRLF at the end of each line, and quotes where they are needed.
pub(super) fn csv<R>(columns: &[Column<R>], rows: &[R], out: &mut impl Write) -> io::Result<()> {
    let names: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let lines = rows
        .iter()
        .map(|row| columns.iter().map(|(_, value)| field(&value(row))).collect());
    for line in [names].into_iter().chain(lines) {
        let line: Vec<String> = line;
        write!(out, "{}\r\n", line.join(","))?;
    }
    Ok(())
}

/// A field. A spreadsheet would run one that begins like a formula, so an apostrophe stands before it.
/// <https://owasp.org/www-community/attacks/CSV_Injection>
fn field(value: &str) -> String {
    let is_formula = value.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let value = if is_formula {
        format!("'{value}")
    } else {
        value.to_owned()
    };
    if value.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_spreadsheet() {
        for (value, expected) in [
            ("", ""),
            ("ada", "ada"),
            ("2027-01-15T08:00:00Z", "2027-01-15T08:00:00Z"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\r\nb", "\"a\r\nb\""),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@a", "'@a"),
            ("\ta", "'\ta"),
            ("=\"a\",1", "\"'=\"\"a\"\",1\""),
            ("a=1", "a=1"),
        ] {
            assert_eq!(field(value), expected, "{value:?}");
        }
    }
}
