//! The documents: tables of `docs/reference` that are generated, links that lead somewhere, and their form.
//!
//! `BLESS=1 cargo test --test documents generated` writes the tables of fields and flags (`make generate`).

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::{Arg, Command, CommandFactory as _};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};
use scim_bridge_operator::{
    api::{crd, vocabulary::Reason},
    args::{Arguments, PluginArguments},
};
use testbed::{
    generated::{self, head, row},
    workspace,
};

/// A front page that is longer is not read.
const MOST_LINES: usize = 150;
/// What a person sees of a line without scrolling.
const WIDTH: usize = 120;

fn quoted(texts: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let texts = texts.into_iter().map(|text| format!("`{}`", text.as_ref()));
    texts.collect::<Vec<_>>().join(", ")
}

/// A sentence has one full stop.
fn sentence(text: &str) -> String {
    format!("{}.", text.trim().trim_end_matches('.'))
}

// Fields.

fn schema() -> JSONSchemaProps {
    let version = crd().spec.versions.swap_remove(0);
    version.schema.unwrap().open_api_v3_schema.unwrap()
}

/// The type of a field, as people call it.
fn type_of(field: &JSONSchemaProps) -> &str {
    match (field.type_.as_deref(), field.format.as_deref()) {
        (_, Some("date-time")) => "time",
        (Some("array"), _) => "list",
        (Some(name), _) => name,
        (None, _) => panic!("a field without a type: {field:?}"),
    }
}

/// What the API server takes for a field.
fn allowed(field: &JSONSchemaProps) -> String {
    let values = field.enum_.iter().flatten();
    let values = values.map(|value| value.0.as_str().unwrap().to_owned());
    let mut bounds = vec![quoted(values)];
    bounds.extend(match (field.minimum, field.maximum) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}")),
        _ => None,
    });
    // Several rules do not fit into a cell. They have their own table.
    let mut rules = rules(field);
    bounds.extend(match (rules.next(), rules.next()) {
        (Some((_, message)), None) => Some(message),
        _ => field.max_length.map(|most| format!("up to {most} characters")),
    });
    bounds.retain(|bound| !bound.is_empty());
    bounds.join("; ")
}

/// The rules of a field in words, each with the field that it is about.
fn rules(field: &JSONSchemaProps) -> impl Iterator<Item = (String, String)> {
    let rules = field.x_kubernetes_validations.iter().flatten();
    rules.map(|rule| {
        let about = rule.field_path.clone().unwrap_or_default();
        (
            about.trim_start_matches('.').to_owned(),
            rule.message.clone().unwrap(),
        )
    })
}

/// Every field below `parent`, with its path and whether it has to be given. Those of a condition are Kubernetes' own.
fn fields(path: &str, parent: &JSONSchemaProps) -> Vec<(String, bool, JSONSchemaProps)> {
    let required = parent.required.clone().unwrap_or_default();
    let mut all = Vec::new();
    for (name, field) in parent.properties.iter().flatten() {
        let path = match path {
            "" => name.clone(),
            path => format!("{path}.{name}"),
        };
        all.push((path.clone(), required.contains(name), field.clone()));
        match &field.items {
            _ if name == "conditions" => {}
            Some(JSONSchemaPropsOrArray::Schema(item)) => all.extend(fields(&format!("{path}[]"), item)),
            _ => all.extend(fields(&path, field)),
        }
    }
    all
}

fn table_of_spec(spec: &JSONSchemaProps) -> String {
    let mut table = head(&["Field", "Type", "Default", "Allowed", "Meaning"]);
    for (path, is_required, field) in fields("", spec) {
        let default = match &field.default {
            Some(value) => quoted([value
                .0
                .as_str()
                .map_or_else(|| value.0.to_string(), str::to_owned)]),
            None if is_required => "required".to_owned(),
            None => "none".to_owned(),
        };
        let meaning = field.description.clone().unwrap();
        table += &row(&[
            &quoted([path]),
            type_of(&field),
            &default,
            &allowed(&field),
            &meaning,
        ]);
    }
    table
}

/// Rules about several fields, and those of fields that have more than one.
fn table_of_rules(spec: &JSONSchemaProps) -> String {
    let mut all: Vec<(String, String)> = rules(spec).collect();
    for (path, _, field) in fields("", spec) {
        let own: Vec<_> = rules(&field)
            .map(|(_, message)| (path.clone(), message))
            .collect();
        if own.len() > 1 {
            all.extend(own);
        }
    }
    let mut table = head(&["Field", "Message of the API server"]);
    for (about, message) in all {
        table += &row(&[&quoted([about]), &message]);
    }
    table
}

fn table_of_status(status: &JSONSchemaProps) -> String {
    let mut table = head(&["Field", "Type", "Meaning"]);
    for (path, _, field) in fields("", status) {
        let values = field.enum_.iter().flatten();
        let values = quoted(values.map(|value| value.0.as_str().unwrap().to_owned()));
        let mut meaning = field.description.clone().unwrap();
        if !values.is_empty() && !values.split(", ").all(|value| meaning.contains(value)) {
            meaning += &[" One of ", &values, "."].concat();
        }
        table += &row(&[&quoted([path]), type_of(&field), &meaning]);
    }
    table
}

#[test]
fn generated_tables_of_fields() {
    let schema = schema();
    let part = |name: &str| schema.properties.as_ref().unwrap().get(name).unwrap();
    let (spec, status) = (part("spec"), part("status"));
    generated::tables(
        "docs/reference/fields.md",
        &[
            ("spec", &table_of_spec(spec)),
            ("rules", &table_of_rules(spec)),
            ("status", &table_of_status(status)),
        ],
    )
    .unwrap();
}

// Flags.

/// Flags and operands, without those that every command has.
fn flags(command: &Command) -> Vec<&Arg> {
    let all = command.get_arguments();
    all.filter(|flag| !matches!(flag.get_id().as_str(), "help" | "version"))
        .collect()
}

fn name(flag: &Arg) -> String {
    let value = || flag.get_value_names().unwrap().first().unwrap().to_string();
    let long = flag
        .get_long()
        .map_or_else(|| value().to_uppercase(), |long| format!("--{long}"));
    match flag.get_short() {
        Some(short) => format!("`{long}`, `-{short}`"),
        None => format!("`{long}`"),
    }
}

/// A text in lines that are not too long.
fn wrapped(text: &str) -> String {
    let mut length = 0;
    let mut wrapped = String::new();
    for word in text.split_inclusive(' ') {
        let width = word.trim_end().chars().count();
        if length + width > WIDTH {
            wrapped.truncate(wrapped.trim_end_matches(' ').len());
            wrapped.push('\n');
            length = 0;
        }
        wrapped += word;
        length += word.chars().count();
    }
    wrapped
}

/// Flags that each command takes in its own way.
const OWN: [&str; 2] = ["timeout", "output"];

/// Rows for flags. Those that another command has too are only named.
fn table_of_flags(command: &Command, others: &[&Command]) -> String {
    let known: BTreeSet<&str> = others
        .iter()
        .flat_map(|other| flags(other))
        .filter_map(Arg::get_long)
        .collect();
    let is_shared = |flag: &&Arg| {
        flag.get_long()
            .is_some_and(|long| known.contains(long) && !OWN.contains(&long))
    };
    let (shared, own): (Vec<&Arg>, Vec<&Arg>) = flags(command).into_iter().partition(is_shared);
    let have_variables = own.iter().any(|flag| flag.get_env().is_some());
    let mut table = if have_variables {
        head(&["Flag", "Variable", "Default", "Meaning"])
    } else {
        head(&["Flag", "Default", "Meaning"])
    };
    for flag in own {
        let defaults = flag.get_default_values().iter();
        let default = quoted(defaults.map(|value| value.to_string_lossy().into_owned()));
        let variable = flag.get_env().map(|name| name.to_string_lossy().into_owned());
        let values = flag.get_possible_values();
        let values = quoted(values.iter().map(|value| value.get_name().to_owned()));
        let mut meaning = sentence(&flag.get_help().unwrap().to_string());
        if !values.is_empty() {
            meaning += &[" One of ", &values, "."].concat();
        }
        let (name, variable) = (name(flag), quoted(variable));
        table += &if have_variables {
            row(&[&name, &variable, &default, &meaning])
        } else {
            row(&[&name, &default, &meaning])
        };
    }
    if !shared.is_empty() {
        let names = shared.into_iter().filter_map(|flag| flag.get_long());
        let names = quoted(names.map(|long| format!("--{long}")));
        table += &wrapped(&["\nAnd these of the commands above: ", &names, ".\n"].concat());
    }
    table
}

fn table_of_commands(command: &Command) -> String {
    let mut table = head(&["Command", "Does"]);
    for command in command
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
    {
        let about = sentence(&command.get_about().unwrap().to_string());
        table += &row(&[&quoted([command.get_name()]), &about]);
    }
    table
}

#[test]
fn generated_tables_of_flags() {
    let (mut program, mut plugin) = (Arguments::command(), PluginArguments::command());
    program.build();
    plugin.build();
    let of = |name: &str| program.find_subcommand(name).unwrap();
    let of_plugin = |name: &str| plugin.find_subcommand(name).unwrap();
    let (run, preflight, check) = (of("run"), of("preflight"), of("check"));
    let (plan, import, offboarding) = (of("plan"), of("import"), of("offboarding"));
    generated::tables(
        "docs/reference/flags.md",
        &[
            ("commands", &table_of_commands(&program)),
            ("run", &table_of_flags(run, &[])),
            ("preflight", &table_of_flags(preflight, &[run])),
            ("check", &table_of_flags(check, &[run])),
            ("plan", &table_of_flags(plan, &[run])),
            ("import", &table_of_flags(import, &[run, check])),
            ("offboarding", &table_of_flags(offboarding, &[])),
            ("rehearse", &table_of_flags(of("rehearse"), &[run, check])),
            ("release", &table_of_flags(of_plugin("release"), &[check])),
            ("plugin", &table_of_commands(&plugin)),
            ("plugin flags", &table_of_flags(of_plugin("recheck"), &[check])),
        ],
    )
    .unwrap();
}

// Links and form.

/// The files of the repository below a folder that are not made by a build, by their paths from its root.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let is_made =
            name.starts_with('.') && name != ".github" || ["target", "dist", "corpus"].contains(&name);
        if path.is_symlink() || is_made {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path.strip_prefix(workspace::root()).unwrap().to_owned());
        }
    }
    found.sort();
    found
}

fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

/// The text of each file that is one.
fn texts() -> Vec<(String, String)> {
    let root = workspace::root();
    let paths = files(&root).into_iter();
    paths
        .filter_map(|path| {
            let text = fs::read_to_string(root.join(&path)).ok()?;
            Some((path.display().to_string(), text))
        })
        .collect()
}

fn pages() -> Vec<(String, String)> {
    let pages = texts().into_iter();
    pages.filter(|(path, _)| is_page(Path::new(path))).collect()
}

/// Lines of a page with their numbers, without blocks of code.
fn prose(page: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    page.lines().zip(1..).filter_map(move |(line, number)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!in_code && !is_fence).then_some((number, line))
    })
}

/// Every anchor of a page: its headings as GitHub makes them, and those that stand in it.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(page) {
        if let Some((_, title)) = line
            .split_once("# ")
            .filter(|(hashes, _)| hashes.trim_matches('#').is_empty())
        {
            let kept = title
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            anchors.insert(kept.collect::<String>().to_lowercase().replace(' ', "-"));
        }
        let ids = line
            .split("id=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next());
        anchors.extend(ids.map(str::to_owned));
    }
    anchors
}

/// Whether there is such a file, and such an anchor in it, if one is named.
fn leads_somewhere(there: &Path, anchor: &str) -> bool {
    there.exists() && (anchor.is_empty() || anchors(&fs::read_to_string(there).unwrap()).contains(anchor))
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let root = workspace::root();
    let mut broken = Vec::new();
    for (path, page) in pages() {
        for (number, line) in prose(&page) {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            for target in targets.filter(|target| !target.contains("://")) {
                let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
                let there = match file {
                    "" => root.join(&path),
                    file => root.join(&path).with_file_name("").join(file),
                };
                if !leads_somewhere(&there, anchor) {
                    broken.push(format!("{path}:{number}: {target}"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "these lead nowhere:\n{}", broken.join("\n"));
}

/// Where a text names pages by their path from the root: `docs/PAGE.md`, `docs/PAGE.md#ANCHOR`, and what follows.
fn named(line: &str) -> Vec<(&str, &str, &str)> {
    let mut found = Vec::new();
    for (start, _) in line.match_indices("docs/") {
        let before = line.get(..start).unwrap_or_default();
        // Part of another path, or of an address elsewhere.
        if before.ends_with(|c: char| c.is_alphanumeric() || "/._-".contains(c)) {
            continue;
        }
        let rest = line.get(start..).unwrap_or_default();
        let Some((path, rest)) = rest.split_once(".md") else {
            continue;
        };
        if !path.chars().all(|c| c.is_alphanumeric() || "/_-".contains(c)) {
            continue;
        }
        let rest = rest.strip_prefix('#').unwrap_or_default();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || "-_".contains(c)));
        let (anchor, rest) = rest.split_at(end.unwrap_or(rest.len()));
        found.push((path, anchor, rest));
    }
    found
}

/// Messages, alerts, manifests, comments and tests name pages too: `docs/reasons.md#authfailed`, for instance.
#[test]
fn every_page_that_something_else_names_is_there() {
    let root = workspace::root();
    let (mut broken, mut seen) = (Vec::new(), 0);
    let texts = texts().into_iter();
    for (path, text) in texts.filter(|(path, _)| !is_page(Path::new(path)) && path != file!()) {
        for (line, number) in text.lines().zip(1..) {
            for (page, anchor, rest) in named(line) {
                let there = root.join(format!("{page}.md"));
                // An alert links to one section for all reasons. A program prints the section that the user asks for.
                let leads = match (anchor, rest) {
                    ("", rest) if rest.starts_with("{{ $labels.reason | toLower }}") => {
                        let mut reasons = Reason::ALL.iter();
                        reasons.all(|reason| leads_somewhere(&there, &reason.anchor()))
                    }
                    _ => leads_somewhere(&there, anchor),
                };
                seen += 1;
                if !leads {
                    broken.push(format!("{path}:{number}: {page}.md#{anchor}"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "these lead nowhere:\n{}", broken.join("\n"));
    assert!(
        seen > 50,
        "only {seen} were found: the test does not read what it should"
    );
}

/// Who looks for a test finds it: each program has a row in the guide.
#[test]
fn the_guide_has_each_test_program() {
    let root = workspace::root();
    let guide = fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    let programs = fs::read_dir(root.join("tests")).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let is_program = path.extension().is_some_and(|extension| extension == "rs")
            || path.join("main.rs").exists()
            || path.join("Cargo.toml").exists();
        is_program.then(|| path.strip_prefix(&root).unwrap().display().to_string())
    });
    let missing: Vec<String> = programs
        .filter(|program| !guide.contains(&format!("`{program}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "CONTRIBUTING.md has no row for {missing:?}: say in one line what it holds"
    );
}

/// The part of a page below a heading of the second level.
fn below<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    rest.split("\n## ").next().unwrap()
}

/// The model and the page have the same laws, in the same order.
#[test]
fn the_page_has_each_law_of_the_model() {
    let root = workspace::root();
    let page = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let model = fs::read_to_string(root.join("tests/model/law.rs")).unwrap();
    let (_, laws) = model.split_once("enum Law {\n").unwrap();
    let (laws, _) = laws.split_once("\n}").unwrap();
    let laws: Vec<&str> = laws
        .lines()
        .map(|line| line.trim().trim_end_matches(','))
        .collect();
    let rows = below(&page, "The laws").lines();
    let rows = rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(
        rows.collect::<Vec<_>>(),
        laws,
        "left: docs/architecture.md; right: tests/model/law.rs"
    );
}

/// What rests on a habit of a library stands beside the version that was looked at.
#[test]
fn the_versions_of_libraries_are_those_that_are_built() {
    let root = workspace::root();
    let page = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap();
    let (mut seen, mut wrong) = (0, Vec::new());
    let rows = below(&page, "Habits of libraries")
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1);
    for libraries in rows.filter_map(|row| row.split(" | ").nth(1)) {
        for library in libraries.split(", ") {
            let (name, version) = library.trim_start_matches('`').split_once("` ").unwrap();
            seen += 1;
            if !lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n")) {
                wrong.push(library);
            }
        }
    }
    assert!(seen > 5, "the table was not found");
    assert!(
        wrong.is_empty(),
        "docs/architecture.md: {wrong:?} is not what Cargo.lock has. Run the test beside it, then write the new version"
    );
}

#[test]
fn the_front_page_is_short() {
    let readme = fs::read_to_string(workspace::root().join("README.md")).unwrap();
    let lines = readme.lines().count();
    assert!(
        lines <= MOST_LINES,
        "README.md has {lines} lines, and may have {MOST_LINES}: move something to docs/"
    );
}

/// Tables, pictures and links cannot be broken; the rest is read in terminals and reviews, too.
#[test]
fn no_line_is_too_long() {
    let mut long = Vec::new();
    for (path, page) in pages() {
        for (number, line) in prose(&page) {
            let may_be = line.trim_start().starts_with(['|', '!']) || line.contains("](http");
            if line.chars().count() > WIDTH && !may_be {
                long.push(format!("{path}:{number}"));
            }
        }
    }
    assert!(
        long.is_empty(),
        "more than {WIDTH} characters:\n{}",
        long.join("\n")
    );
}

#[test]
fn the_reader_sees_what_it_should() {
    assert_eq!(
        named("see docs/a.md#b, https://x.dev/docs/c.md and docs/d/e.md"),
        [
            ("docs/a", "b", ", https://x.dev/docs/c.md and docs/d/e.md"),
            ("docs/d/e", "", "")
        ]
    );
    assert_eq!(named("docs/x.svg"), []);
    assert_eq!(
        anchors("# A page\n\n```sh\n# no heading\n```\n\n<a id=\"here\"></a>\n\n## `make` it, now\n"),
        BTreeSet::from(["a-page", "here", "make-it-now"].map(str::to_owned))
    );
    assert_eq!(sentence("It is."), "It is.");
}
