//! Plain English: a tired person, perhaps in a second language, reads each sentence once.
//!
//! This test reads the prose of the project (comments, strings, pages) and reports banned phrases with file and line.
//! `make lint` runs it.

#![allow(
    clippy::unwrap_used,
    reason = "a file that cannot be read fails the test, with its path"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Phrases that make a reader stop, and what to write instead. `*` stands for up to [`GAP`] words of the same sentence.
/// A phrase may run over the end of a line.
const BANNED: &[(&str, &str)] = &[
    ("whoever", "name the person: `users who can ...`"),
    ("whatever", "name the thing, or write `any ...`"),
    ("whichever", "name the thing, or write `the one that ...`"),
    ("wherever", "name the place"),
    (
        "what is",
        "name the thing: not `what is missing` but `the missing objects`",
    ),
    ("is told", "say who reports it: `the operator reports ...`"),
    ("are told", "say who reports it: `the operator reports ...`"),
    ("be told", "say who reports it: `the operator reports ...`"),
    ("tells", "write `reports`, `shows` or `says`"),
    ("tell of", "write `report`"),
    ("of its own", "write `its own`, or leave `own` out"),
    ("of their own", "write `their own`, or leave `own` out"),
    (
        "there is no * and so",
        "write the consequence first: `without a ..., the operator ...`",
    ),
    ("comes to a verdict", "use the verb: `judges`, `decides`"),
    ("come to a verdict", "use the verb: `judge`, `decide`"),
    ("passing failure", "write `transient failure`"),
    ("passing failures", "write `transient failures`"),
    ("anew", "write `again`"),
    ("lest", "write `so that ... not`"),
    ("whereby", "start a new sentence"),
    ("thereof", "name the thing"),
    ("no less than", "write `at least`"),
    ("no fewer than", "write `at least`"),
    ("no more than", "write `at most`"),
    ("not only * but also", "write two sentences"),
    ("a pass", "write `a reconcile`"),
    ("the pass", "write `the reconcile`"),
    ("this pass", "write `this reconcile`"),
    ("each pass", "write `each reconcile`"),
    ("every pass", "write `every reconcile`"),
    ("one pass", "write `one reconcile`"),
    ("last pass", "write `last reconcile`"),
    ("next pass", "write `next reconcile`"),
    ("overtaken", "write `superseded`"),
    ("hindrance", "write `blocker`"),
    ("obstacle", "write `blocker`"),
    ("stands in its way", "write `blocks it`"),
];

/// The most words that `*` stands for.
const GAP: usize = 12;

/// The most words in a sentence of a field's description.
const LONGEST: usize = 20;

/// Everything that people read.
const PLACES: &[&str] = &[
    "src",
    "docs",
    "README.md",
    "CHANGELOG.md",
    "charts/scim-bridge-operator/README.md",
    "charts/scim-bridge-operator/values.yaml",
    "charts/scim-bridge-operator/templates/NOTES.txt",
];

#[test]
fn the_prose_is_plain() {
    let mut faults = Vec::new();
    for path in files() {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        for (line, phrase, instead) in banned(&prose(&path, &text)) {
            faults.push(format!("{}:{line}: \"{phrase}\": {instead}", path.display()));
        }
    }
    assert!(faults.is_empty(), "rewrite:\n{}", faults.join("\n"));
}

#[test]
fn descriptions_of_fields_are_plain() {
    let crd = serde_json::to_value(scim_bridge_operator::api::crd()).unwrap();
    let mut faults = Vec::new();
    for (field, text) in descriptions("", &crd) {
        let tokens = tokens_of(&text);
        let found = banned(&tokens).into_iter();
        faults.extend(found.map(|(_, phrase, instead)| format!("{field}: \"{phrase}\": {instead}")));
        let sentences = tokens.split(|token| matches!(token, Token::Stop(_)));
        let longest = sentences.map(<[Token]>::len).max().unwrap_or(0);
        if longest > LONGEST {
            faults.push(format!(
                "{field}: a sentence has {longest} words, more than {LONGEST}"
            ));
        }
    }
    assert!(
        faults.is_empty(),
        "rewrite in src/api/connection.rs:\n{}",
        faults.join("\n")
    );
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A word in lower case, and its line.
    Word(usize, String),
    /// No phrase goes on beyond this: the end of a sentence, a comment or a string.
    Stop(char),
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files to check, relative to the root.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open: Vec<PathBuf> = PLACES.iter().map(PathBuf::from).collect();
    while let Some(path) = open.pop() {
        let full = root().join(&path);
        if full.is_dir() {
            let entries = fs::read_dir(full).unwrap();
            open.extend(entries.map(|entry| path.join(entry.unwrap().file_name())));
        } else if matches!(extension(&path), "rs" | "md" | "yaml" | "txt") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn extension(path: &Path) -> &str {
    path.extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or("")
}

fn prose(path: &Path, text: &str) -> Vec<Token> {
    match extension(path) {
        "rs" => of_rust(text),
        "md" => of_markdown(text),
        "yaml" => of_yaml(text),
        _ => tokens_of(text),
    }
}

/// The phrases in a text: line, phrase, and what to write instead.
fn banned(tokens: &[Token]) -> Vec<(usize, &'static str, &'static str)> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let Token::Word(line, _) = token else { continue };
        let rest = tokens.get(at..).unwrap_or_default();
        for (phrase, instead) in BANNED {
            let words: Vec<&str> = phrase.split(' ').collect();
            if begins(rest, &words) && !(*phrase == "what is" && is_question(rest)) {
                found.push((*line, *phrase, *instead));
            }
        }
    }
    found
}

fn begins(tokens: &[Token], phrase: &[&str]) -> bool {
    match phrase {
        [] => true,
        ["*", rest @ ..] => {
            let sentence = tokens.iter().take_while(|token| matches!(token, Token::Word(..)));
            let length = sentence.count().min(GAP);
            (0..=length).any(|skipped| begins(tokens.get(skipped..).unwrap_or_default(), rest))
        }
        [first, rest @ ..] => match tokens {
            [Token::Word(_, word), others @ ..] => word == first && begins(others, rest),
            _ => false,
        },
    }
}

fn is_question(tokens: &[Token]) -> bool {
    let end = tokens.iter().find(|token| matches!(token, Token::Stop(_)));
    end == Some(&Token::Stop('?'))
}

/// The tokens of a plain text.
fn tokens_of(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        add(&mut tokens, line, number);
    }
    tokens.push(Token::Stop('\n'));
    tokens
}

/// Adds the words of a line. It skips `code`, and an empty line ends a paragraph.
fn add(tokens: &mut Vec<Token>, line: &str, number: usize) {
    if line.trim().is_empty() {
        tokens.push(Token::Stop('\n'));
        return;
    }
    for (part, is_code) in line.split('`').zip([false, true].into_iter().cycle()) {
        if is_code {
            // A word of its own, for which no phrase has a place.
            tokens.push(Token::Word(number, "`".to_owned()));
            continue;
        }
        let mut word = String::new();
        let mut characters = part.chars().chain([' ']).peekable();
        while let Some(c) = characters.next() {
            if c.is_alphanumeric() || c == '\'' {
                word.extend(c.to_lowercase());
                continue;
            }
            if !word.is_empty() {
                tokens.push(Token::Word(number, std::mem::take(&mut word)));
            }
            let ends = characters.peek().is_none_or(|next| next.is_whitespace());
            if matches!(c, ';' | '?' | '!' | '(' | ')' | '|' | '"') || (matches!(c, '.' | ':') && ends) {
                tokens.push(Token::Stop(c));
            }
        }
    }
}

/// The text of a page, without blocks of code and targets of links.
fn of_markdown(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut in_code = false;
    for (line, number) in text.lines().zip(1..) {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        if in_code || is_fence {
            tokens.push(Token::Stop('\n'));
            continue;
        }
        let mut parts = line.split("](");
        let mut text = parts.next().unwrap_or("").to_owned();
        for part in parts {
            text.push_str(part.split_once(')').map_or("", |(_, rest)| rest));
        }
        add(&mut tokens, &text, number);
    }
    tokens
}

/// The comments of a YAML file.
fn of_yaml(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let comment = line
            .trim_start()
            .strip_prefix('#')
            .or_else(|| Some(line.split_once(" # ")?.1));
        add(
            &mut tokens,
            comment.unwrap_or("").trim_start_matches(['#', '-']),
            number,
        );
    }
    tokens
}

/// The comments and strings of a Rust file.
fn of_rust(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut number = 1;
    while let Some(c) = rest.chars().next() {
        if let Some(comment) = rest.strip_prefix("//") {
            let comment = comment.lines().next().unwrap_or("");
            add(&mut tokens, comment.trim_start_matches(['/', '!']), number);
            rest = rest.get(comment.len() + 2..).unwrap_or("");
            continue;
        }
        let Some((inside, length)) = string(rest) else {
            number += usize::from(c == '\n');
            if !c.is_whitespace() && tokens.last() != Some(&Token::Stop('\n')) {
                tokens.push(Token::Stop('\n'));
            }
            rest = rest.get(skipped(rest)..).unwrap_or("");
            continue;
        };
        tokens.push(Token::Stop('"'));
        for (line, offset) in inside.lines().zip(0..) {
            // `\` joins two lines of a string.
            add(
                &mut tokens,
                &line.trim_end_matches('\\').replace("\\n", " "),
                number + offset,
            );
        }
        tokens.push(Token::Stop('"'));
        number += rest.get(..length).unwrap_or("").matches('\n').count();
        rest = rest.get(length..).unwrap_or("");
    }
    tokens
}

/// The content of the string literal that a text begins with, and the length of the literal.
fn string(text: &str) -> Option<(&str, usize)> {
    if let Some(raw) = text.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let inside = raw.get(hashes..)?.strip_prefix('"')?;
        let end = inside.find(&format!("\"{}", "#".repeat(hashes)))?;
        return Some((inside.get(..end)?, end + 2 * hashes + 3));
    }
    let inside = text.strip_prefix('"')?;
    let mut is_escaped = false;
    let end = inside.find(|c| {
        let is_end = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end
    })?;
    Some((inside.get(..end)?, end + 2))
}

/// The length of the code at the beginning of a text: a name, a character or a lifetime as a whole.
fn skipped(text: &str) -> usize {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    for character in ["'\"'", "'\\\"'", "'\\''", "'\\\\'", "b'\"'", "'/'", "'`'"] {
        if text.starts_with(character) {
            return character.len();
        }
    }
    let name = text.find(|c: char| !is_name(c)).unwrap_or(text.len());
    // `r"` begins a string, and so does `br"`.
    match name {
        0 => text.chars().next().map_or(0, char::len_utf8),
        1 | 2 if text.get(..name).is_some_and(|name| name.ends_with('r')) => 1,
        name => name,
    }
}

/// The descriptions in a schema, by the name of the field. The descriptions of `Condition` are Kubernetes' own.
fn descriptions(name: &str, schema: &Value) -> Vec<(String, String)> {
    let Some(fields) = schema.as_object() else {
        let items = schema.as_array().into_iter().flatten();
        return items.flat_map(|item| descriptions(name, item)).collect();
    };
    let own = fields.get("description").and_then(Value::as_str);
    let own = own.map(|text| (name.to_owned(), text.to_owned()));
    let below = fields.iter().filter(|(field, _)| *field != "conditions");
    own.into_iter()
        .chain(below.flat_map(|(field, value)| descriptions(field, value)))
        .collect()
}

#[test]
fn the_reader_finds_what_it_should() {
    let found = |path: &str, text: &str| {
        let tokens = prose(Path::new(path), text);
        let found = banned(&tokens).into_iter();
        found
            .map(|(line, phrase, _)| format!("{line} {phrase}"))
            .collect::<Vec<_>>()
    };
    let rust = "let whatever = 'a';\n/// Of what\n/// is said.\n//! What is this?\nlet x = ('\"', \"\\\"Anew: \\na\\\n  pass\", \
                r#\"tells\"#);\n// `whoever`";
    assert_eq!(
        found("a.rs", rust),
        ["2 what is", "5 anew", "5 a pass", "6 tells"]
    );
    let page = "There is no key,\nand so it fails.\n\n```\nwhatever\n```\n| what | is |\n[Anew](#what-is)\n";
    assert_eq!(found("a.md", page), ["1 there is no * and so", "8 anew"]);
    let values = "anew: true # anew\n# It tells\n";
    assert_eq!(found("a.yaml", values), ["1 anew", "2 tells"]);
}
