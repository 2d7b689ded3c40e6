//! docs/reasons.md, docs/provisioning-reasons.md and the code say the same reasons: each has one runbook, and no runbook
//! is about something that is not there any more. The tables of reasons are generated: `BLESS=1 cargo test --test reasons
//! generated` writes them.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use scim_bridge_operator::{
    api::{
        connection::{ComponentState, IdentityProvider},
        directory::Reason as ObjectReason,
        vocabulary::{Class, ConditionType, Reason},
    },
    domain::{
        connection::{
            evidence::{
                Answer, Blocker, Component, Evidence, Exchange, HealthReport, Reading, TransportFailure,
            },
            target::{InvalidSpec, Reference},
            verdict::{PendingCause, Verdict, diagnose},
        },
        directory::walk::Incomplete,
    },
};
use testbed::generated;

const PAGE: &str = "docs/reasons.md";
const PAGE_OF_OBJECTS: &str = "docs/provisioning-reasons.md";
const TABLE_OF_ALERTS: &str = "docs/monitoring.md";
const COMPARISON: &str = "docs/coming-from.md";
const DIAGRAM: &str = "docs/states.svg";

/// The chapters of the page, each a heading of the first level.
const REASONS: &str = "Runbooks";
const REASONS_OF_OBJECTS: &str = "Runbooks of users and groups";
const CONDITIONS: &str = "Other conditions";
const ALERTS: &str = "Alerts";

/// What alerts lead to that is neither a reason nor a condition.
const OF_ALERTS: [&str; 10] = [
    "VerdictStale",
    "BridgeLocked",
    "DirectoryStale",
    "UnmanagedUsers",
    "SuspensionUnproven",
    "ChangesContested",
    "ChangesNotAsWritten",
    "OperatorDown",
    "OperatorWithoutLeader",
    "OperatorErrors",
];

/// The parts of a runbook, in their order. Those that are `false` may be left out.
const PARTS: [(&str, bool); 6] = [
    ("Meaning", true),
    ("Evidence", true),
    ("What to do", true),
    ("Often confused with", true),
    ("1Password", false),
    ("Alert", true),
];

/// A runbook: what stands below a heading of the second level.
#[derive(Debug, PartialEq, Eq)]
struct Section<'a> {
    chapter: &'a str,
    name: &'a str,
    /// The first words in bold of each paragraph that begins with such, and what follows until the next.
    parts: Vec<(&'a str, String)>,
}

/// The runbooks of a page, in their order. What stands in blocks of code is no heading.
fn sections(page: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    let (mut chapter, mut in_code) = ("", false);
    for line in page.lines() {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        if !in_code && let Some(name) = line.strip_prefix("# ") {
            chapter = name;
        } else if !in_code && let Some(name) = line.strip_prefix("## ") {
            sections.push(Section {
                chapter,
                name,
                parts: Vec::new(),
            });
        } else if let Some(section) = sections.last_mut().filter(|section| section.chapter == chapter) {
            let begun = line
                .strip_prefix("**")
                .filter(|_| !in_code)
                .and_then(|rest| rest.split_once(".**"));
            if let Some((label, rest)) = begun {
                section.parts.push((label, rest.to_owned()));
            } else if let Some((_, text)) = section.parts.last_mut() {
                text.push('\n');
                text.push_str(line);
            }
        }
    }
    sections
}

/// The names of the runbooks of a chapter.
fn names<'a>(sections: &[Section<'a>], chapter: &str) -> Vec<&'a str> {
    let of_chapter = sections.iter().filter(|section| section.chapter == chapter);
    of_chapter.map(|section| section.name).collect()
}

/// What is wrong with the parts of a runbook, if anything.
fn fault(section: &Section<'_>) -> Option<String> {
    let name = section.name;
    let labels: Vec<&str> = section.parts.iter().map(|(label, _)| *label).collect();
    let wanted: Vec<&str> = PARTS
        .iter()
        .filter(|(label, is_required)| *is_required || labels.contains(label))
        .map(|(label, _)| *label)
        .collect();
    if labels != wanted {
        return Some(format!(
            "`## {name}` has the parts {labels:?}; it needs {wanted:?}"
        ));
    }
    let empty = section.parts.iter().find(|(_, text)| text.trim().len() < 5)?;
    Some(format!("`## {name}`: nothing follows **{}.**", empty.0))
}

/// The class of each reason in a table: rows of `` | `Reason` | class | `` or `` | [`Reason`](#anchor) | class | ``.
fn classes(text: &str) -> Vec<(&str, &str)> {
    text.lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let name = cells.next()?.trim_start_matches('[').strip_prefix('`')?;
            Some((name.split('`').next()?, cells.next()?.trim()))
        })
        .collect()
}

/// The name of a class in tables.
const fn name_of(class: Class) -> &'static str {
    match class {
        Class::Ok => "ok",
        Class::Action => "action",
        Class::Transient => "transient",
        Class::Pending => "pending",
    }
}

/// All that may come of a request. `documents` are the right answers.
fn readings<T: Clone>(documents: &[T]) -> Vec<Reading<T>> {
    let documents = documents.iter().cloned().map(Answer::Document);
    let answers = documents.chain([
        Answer::Unauthorized,
        Answer::Forbidden,
        Answer::Blocked(403),
        Answer::NotFound,
        Answer::Redirect(302),
        Answer::RateLimited,
        Answer::Unavailable(503),
        Answer::ServerError(500),
        Answer::Foreign,
        Answer::Page,
        Answer::TooLarge,
        Answer::Broken,
        Answer::Encoded,
        Answer::Unexpected(400),
    ]);
    let failures = TransportFailure::ALL.into_iter().map(Reading::Failed);
    let answers = answers.map(Reading::Answered);
    [Reading::NotSent]
        .into_iter()
        .chain(failures)
        .chain(answers)
        .collect()
}

/// Every verdict that evidence leads to, at an address that was never proven.
fn verdicts() -> Vec<Verdict> {
    let mut blockers = Blocker::all();
    blockers.push(Blocker::InvalidSpec(InvalidSpec::Url));
    let blocked = blockers
        .into_iter()
        .map(|blocker| diagnose(None, &Evidence::Blocked(blocker)));
    let mut verdicts: Vec<Verdict> = blocked.collect();
    let locked = HealthReport {
        components: vec![(Component::ConfirmationWatcher, ComponentState::Unhealthy)],
        ..HealthReport::default()
    };
    let (pings, healths) = (readings(&[()]), readings(&[HealthReport::default(), locked]));
    for users in readings(&[3]) {
        for health in &healths {
            for ping in &pings {
                let evidence = Evidence::Probed(Exchange {
                    ping: ping.clone(),
                    health: health.clone(),
                    users: users.clone(),
                    ..Exchange::default()
                });
                let declared = [None, Some(IdentityProvider::GoogleWorkspace)];
                verdicts.extend(declared.map(|declared| diagnose(declared, &evidence)));
            }
        }
    }
    verdicts
}

/// The classes of each reason, by these verdicts.
fn classes_of(verdicts: impl IntoIterator<Item = Verdict>) -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut classes: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for verdict in verdicts {
        let classes = classes.entry(verdict.reason.as_str()).or_default();
        classes.insert(name_of(verdict.class));
    }
    classes
}

/// The classes of all reasons, as a table has to have them: `action`, or `action or transient`.
fn all_classes() -> BTreeMap<&'static str, String> {
    let verdicts = verdicts();
    let proven = verdicts.iter().map(|verdict| verdict.where_proven());
    let classes = classes_of(proven.chain(verdicts.iter().copied()));
    let words = |classes: BTreeSet<&str>| {
        // In the order in which the page explains them.
        let known = ["ok", "action", "transient", "pending"];
        let words: Vec<&str> = known.into_iter().filter(|word| classes.contains(word)).collect();
        words.join(" or ")
    };
    classes
        .into_iter()
        .map(|(name, classes)| (name, words(classes)))
        .collect()
}

/// Where the links of a text lead within its own page.
fn links(text: &str) -> BTreeSet<&str> {
    let links = text.split("](#").skip(1);
    links.filter_map(|rest| rest.split(')').next()).collect()
}

/// Names of alerts in a text.
fn alerts(text: &str) -> BTreeSet<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter(|text| text.starts_with("ScimBridge") && *text != "ScimBridgeConnection")
        .collect()
}

/// The text between a line and the next heading.
fn below<'a>(page: &'a str, heading: &str) -> &'a str {
    let rest = page
        .split_once(&format!("{heading}\n"))
        .unwrap_or_else(|| panic!("there is no line {heading:?}"))
        .1;
    rest.split("\n## ").next().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every text that a status or `check` may say of a connection, but for the names of components.
fn texts() -> BTreeSet<String> {
    let with = |answer: Answer<u64>| {
        Evidence::Probed(Exchange {
            ping: Reading::Answered(Answer::Document(())),
            health: Reading::Answered(Answer::Document(HealthReport::default())),
            users: Reading::Answered(answer),
            ..Exchange::default()
        })
    };
    let statuses = [
        Answer::Unexpected(206),
        Answer::Unexpected(304),
        Answer::Unexpected(305),
        Answer::Unexpected(400),
        Answer::Unavailable(421),
        Answer::ServerError(505),
        Answer::Unavailable(525),
        Answer::Blocked(561),
    ];
    let references = [Reference::ApiKey, Reference::NextApiKey, Reference::Ca];
    let rules = InvalidSpec::RULES
        .into_iter()
        .chain([
            InvalidSpec::Field("apiKeySecretRef"),
            InvalidSpec::Field("identityProvider"),
            InvalidSpec::Field("interval"),
            InvalidSpec::Missing("url"),
            InvalidSpec::Form,
        ])
        .chain(references.map(InvalidSpec::ReferencedName))
        .chain(references.map(InvalidSpec::ReferencedKey));
    let evidence = statuses
        .map(with)
        .into_iter()
        .chain(rules.map(|rule| Evidence::Blocked(Blocker::InvalidSpec(rule))));
    let pending_causes = [
        PendingCause::Forbidden,
        PendingCause::ApiServer,
        PendingCause::BridgeBusy,
    ];
    let alone = |ping, health, users| {
        Evidence::Probed(Exchange {
            ping,
            health,
            users,
            ..Exchange::default()
        })
    };
    let pong = || Reading::Answered(Answer::Document(()));
    let pings = readings(&[()]).into_iter();
    let healths = readings(&[HealthReport::default()]).into_iter();
    let users = readings(&[3]).into_iter();
    let probes = pings
        .map(|ping| alone(ping, Reading::NotSent, Reading::NotSent))
        .chain(healths.map(|health| alone(pong(), health, Reading::NotSent)))
        .chain(users.map(|users| alone(pong(), Reading::Answered(Answer::NotFound), users)))
        .chain(Blocker::all().into_iter().map(Evidence::Blocked));
    let google = alone(
        pong(),
        Reading::Answered(Answer::NotFound),
        Reading::Answered(Answer::NotFound),
    );
    probes
        .map(|evidence| diagnose(None, &evidence))
        .chain([diagnose(Some(IdentityProvider::GoogleWorkspace), &google)])
        .chain(evidence.map(|evidence| diagnose(None, &evidence)))
        .chain(pending_causes.map(|pending_cause| Verdict::progressing(Some(pending_cause))))
        .flat_map(|verdict| {
            let reason = verdict.reason;
            [
                reason.message().to_owned(),
                reason.action().to_owned(),
                verdict.action().to_owned(),
                verdict
                    .detail
                    .map(|detail| detail.to_string())
                    .unwrap_or_default(),
            ]
        })
        .collect()
}

/// Words that a message must not have. `tests/english.rs` bans others everywhere.
const BANNED: [&str; 10] = [
    "there is no ",
    "passing",
    "has ended",
    "comes to",
    "as a whole",
    "does not decide",
    "proves the host",
    "not expected",
    "was not asked for",
    "in the middle of it",
];

#[test]
fn every_text_is_plain() {
    const MOST: usize = 20;
    let mut faults = Vec::new();
    for text in texts() {
        let sentences = text
            .split_inclusive(['.', '?'])
            .fold(Vec::<String>::new(), |mut all, part| {
                // A dot in a name is followed by no blank.
                match all.last_mut() {
                    Some(last) if !part.starts_with(' ') => last.push_str(part),
                    _ => all.push(part.to_owned()),
                }
                all
            });
        for sentence in sentences {
            let words = sentence.split_whitespace().count();
            if words > MOST {
                faults.push(format!("{words} words: {sentence}"));
            }
        }
        let lower = text.to_lowercase();
        faults.extend(
            BANNED
                .iter()
                .filter(|banned| lower.contains(**banned))
                .map(|banned| format!("{banned:?}: {text}")),
        );
    }
    assert!(faults.is_empty(), "shorten or rewrite:\n{}", faults.join("\n"));
}

#[test]
fn every_reason_has_one_runbook_and_every_runbook_a_reason() {
    let page = read(PAGE);
    let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(
        names(&sections(&page), REASONS),
        reasons,
        "left: the headings `## ...` of {PAGE} below `# {REASONS}`; right: Reason::ALL. Write the section that is \
         missing, remove the one that is about no reason, and keep the order"
    );
}

#[test]
fn every_reason_of_an_object_has_one_runbook() {
    let page = read(PAGE_OF_OBJECTS);
    let reasons: Vec<&str> = ObjectReason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(
        names(&sections(&page), REASONS_OF_OBJECTS),
        reasons,
        "left: the headings `## ...` of {PAGE_OF_OBJECTS}; right: Reason::ALL in src/api/directory.rs. Write the \
         section that is missing, remove the one that is about no reason, and keep the order"
    );
}

/// Why a directory is not known in full: each cause once, in its words and by its name in metrics.
#[test]
fn the_table_of_incomplete_reads_quotes_the_program() {
    let page = read(PAGE_OF_OBJECTS);
    let section = below(&page, "## DirectoryIncomplete");
    let table = section.split_once("| The message says |").unwrap().1;
    let rows = table.lines().skip(2).map_while(|line| line.strip_prefix("| "));
    let rows: Vec<(&str, &str)> = rows
        .map(|row| {
            let mut cells = row.split(" | ");
            (cells.next().unwrap(), cells.next().unwrap().trim_matches('`'))
        })
        .collect();
    let causes: Vec<(String, &str)> = Incomplete::all()
        .map(|cause| (cause.to_string(), cause.as_str()))
        .collect();
    let causes: Vec<(&str, &str)> = causes.iter().map(|(text, name)| (text.as_str(), *name)).collect();
    assert_eq!(
        rows, causes,
        "left: the table of `## DirectoryIncomplete` in {PAGE_OF_OBJECTS}; right: src/domain/directory/walk.rs"
    );
}

#[test]
fn every_other_condition_has_one_runbook() {
    let page = read(PAGE);
    // `Ready` is what the reasons are of; some types have the name of a reason, and its runbook.
    let others: Vec<&str> = ConditionType::ALL
        .iter()
        .filter(|type_| **type_ != ConditionType::Ready)
        .map(|type_| type_.as_str())
        .filter(|name| Reason::parse(name).is_none())
        .collect();
    assert_eq!(
        names(&sections(&page), CONDITIONS),
        others,
        "left: the headings `## ...` of {PAGE} below `# {CONDITIONS}`; right: ConditionType::ALL without `Ready` and \
         the names of reasons"
    );
}

#[test]
fn every_runbook_has_its_parts() {
    for path in [PAGE, PAGE_OF_OBJECTS] {
        let page = read(path);
        let faults: Vec<String> = sections(&page).iter().filter_map(fault).collect();
        assert!(faults.is_empty(), "{path}:\n{}", faults.join("\n"));
    }
}

#[test]
fn generated_table_of_status() {
    let classes = all_classes();
    let mut table = generated::head(&["STATUS", "Class", "Message", "Next"]);
    for reason in Reason::ALL {
        let (name, anchor) = (reason.as_str(), reason.anchor());
        let action = match reason.action() {
            "" => "Nothing.",
            action => action,
        };
        table += &generated::row(&[
            &format!("<a id=\"{anchor}\"></a>[`{name}`](../reasons.md#{anchor})"),
            classes.get(name).unwrap(),
            reason.message(),
            action,
        ]);
    }
    generated::tables("docs/reference/status.md", &[("reasons", &table)]).unwrap();
}

#[test]
fn generated_table_of_reasons_of_objects() {
    let mut table = generated::head(&["STATUS", "Class", "Message", "Next"]);
    for reason in ObjectReason::ALL {
        let name = reason.as_str();
        let action = match reason.action() {
            "" => "Nothing.",
            action => action,
        };
        table += &generated::row(&[
            &format!("[`{name}`](#{})", name.to_ascii_lowercase()),
            name_of(reason.class()),
            reason.message(),
            action,
        ]);
    }
    generated::tables(PAGE_OF_OBJECTS, &[("reasons", &table)]).unwrap();
}

/// The tables of causes quote what the program says, each cause once. A row may have several, with semicolons between.
#[test]
fn the_tables_of_causes_quote_the_program() {
    let page = read(PAGE);
    let verdicts = verdicts();
    for reason in [
        Reason::CertificateUntrusted,
        Reason::CaInvalid,
        Reason::HostDenied,
        Reason::TlsFailed,
    ] {
        let details = verdicts.iter().filter(|verdict| verdict.reason == reason);
        let said: BTreeSet<String> = details
            .filter_map(|verdict| {
                let detail = verdict.detail?.to_string();
                match detail.strip_prefix("GET /") {
                    // A request without a cause has none.
                    Some(rest) => Some(rest.split_once(": ")?.1.to_owned()),
                    None => Some(detail),
                }
            })
            .collect();
        let section = below(&page, &format!("## {reason}"));
        let table = section.split_once("| The message says |").unwrap().1;
        let rows = table.lines().skip(2).map_while(|line| line.strip_prefix("| "));
        let causes: Vec<String> = rows
            .flat_map(|row| row.split(" | ").next().unwrap().split("; "))
            .map(|cause| cause.replace('`', ""))
            .collect();
        let quoted: BTreeSet<String> = causes.iter().cloned().collect();
        assert_eq!(
            quoted, said,
            "left: the table of `## {reason}` in {PAGE}; right: the program"
        );
        assert_eq!(
            causes.len(),
            quoted.len(),
            "{PAGE}: `## {reason}` has a cause twice"
        );
    }
}

/// Each type of condition has one row, in the order in which a status lists them.
#[test]
fn the_table_of_conditions_has_each() {
    let page = read("docs/reference/conditions.md");
    let rows: Vec<&str> = classes(&page).into_iter().map(|(name, _)| name).collect();
    let types = ConditionType::ALL.map(ConditionType::as_str);
    assert_eq!(
        rows, types,
        "left: docs/reference/conditions.md; right: ConditionType::ALL"
    );
}

#[test]
fn every_link_leads_to_a_heading_and_every_anchor_is_one() {
    let page = read(PAGE);
    let sections = sections(&page);
    let mut anchors: BTreeMap<String, &str> = BTreeMap::new();
    for name in [REASONS, CONDITIONS, ALERTS]
        .into_iter()
        .chain(sections.iter().map(|section| section.name))
    {
        // As GitHub makes it of a heading of plain words, and `Reason::anchor` of a reason.
        let anchor = name.to_ascii_lowercase().replace(' ', "-");
        let before = anchors.insert(anchor, name);
        assert_eq!(before, None, "{PAGE}: two headings have the anchor of {name:?}");
    }
    for reason in Reason::ALL {
        let anchor = reason.anchor();
        assert_eq!(anchors.get(&anchor), Some(&reason.as_str()), "{PAGE}#{anchor}");
    }
    let broken: Vec<_> = links(&page)
        .into_iter()
        .filter(|link| !anchors.contains_key(*link))
        .collect();
    assert!(
        broken.is_empty(),
        "{PAGE} links to {broken:?}, which no heading has"
    );
}

#[test]
fn alerts_and_runbooks_name_each_other() {
    let page = read(PAGE);
    let sections = sections(&page);
    assert_eq!(
        names(&sections, ALERTS),
        OF_ALERTS,
        "left: the headings `## ...` of {PAGE} below `# {ALERTS}`; right: what alerts lead to"
    );
    let monitoring = read(TABLE_OF_ALERTS);
    let table = below(&monitoring, "## Alerts");
    let of_objects = read(PAGE_OF_OBJECTS);
    let mut unknown = alerts(&page);
    unknown.extend(alerts(&of_objects));
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let named = alerts(row);
        assert_eq!(named.len(), 1, "one row, one alert: {row}");
        unknown.retain(|alert| !named.contains(alert));
        let links = row.split("](reasons.md#").skip(1);
        for link in links.filter_map(|rest| rest.split(')').next()) {
            let section = sections
                .iter()
                .find(|section| section.name.eq_ignore_ascii_case(link))
                .unwrap_or_else(|| panic!("no runbook #{link}: {row}"));
            let (_, text) = section.parts.last().unwrap();
            assert!(
                alerts(text).is_superset(&named),
                "{PAGE}: {named:?} leads to `## {}`, whose **Alert.** does not name it",
                section.name
            );
        }
    }
    assert!(
        unknown.is_empty(),
        "{PAGE} or {PAGE_OF_OBJECTS} names {unknown:?}, which the table of {TABLE_OF_ALERTS} does not have"
    );
}

/// What a row of docs/coming-from.md says that we say: the reason, where its name leads, and the message.
fn ours(row: &str) -> Option<(&str, &str, &str)> {
    let last = row.strip_suffix(" |")?.rsplit(" | ").next()?;
    let (name, rest) = last.strip_prefix("[`")?.split_once("`](")?;
    let (link, message) = rest.split_once("): ")?;
    Some((name, link, message))
}

#[test]
fn the_comparison_says_what_a_status_says() {
    let page = read(COMPARISON);
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| Fault"))
        .collect();
    let mut seen = BTreeSet::new();
    for row in &rows {
        let (name, link, message) =
            ours(row).unwrap_or_else(|| panic!("{COMPARISON}: no reason in the last cell: {row}"));
        let reason = Reason::parse(name).unwrap_or_else(|| panic!("{COMPARISON}: there is no reason {name}"));
        assert_eq!(
            (link, message),
            (
                format!("reasons.md#{}", reason.anchor()).as_str(),
                reason.message()
            ),
            "left: {COMPARISON}; right: the runbook and the message of {name}. Correct the page"
        );
        seen.insert(reason);
    }
    assert_eq!(
        (rows.len(), seen.len()),
        (10, 10),
        "{COMPARISON} promises ten faults, each with its own reason"
    );
}

/// Class and text of each value in the diagram: `<g class="action"><rect .../><text ...>AuthFailed</text></g>`.
fn drawn(diagram: &str) -> Vec<(&str, &str)> {
    let groups = diagram.split("<g class=\"").skip(1);
    groups
        .filter_map(|group| {
            let (class, rest) = group.split_once("\"><rect ")?;
            let (_, text) = rest.split_once("</text>")?.0.rsplit_once('>')?;
            Some((text, class))
        })
        .collect()
}

#[test]
fn the_diagram_has_each_reason_in_the_colours_of_its_classes() {
    let diagram = read(DIAGRAM);
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (name, class) in drawn(&diagram) {
        if !(name == class || class == "stage") {
            found.entry(name).or_default().insert(class);
        }
    }
    // The diagram is of one probe of an address that was never proven. What nothing was asked of yet has no place in it.
    let mut wanted = classes_of(verdicts());
    wanted.remove(Reason::Progressing.as_str());
    assert_eq!(found, wanted, "left: {DIAGRAM}; right: the verdicts of the code");
}

#[test]
fn the_reader_sees_what_it_should() {
    let page = "# One\n\n## A\n\n**Meaning.** It is\nso.\n\n```sh\n## no heading\n**No.** part\n```\n\n# Two\n\ntext\n\n## B\n";
    let seen = sections(page);
    assert_eq!(names(&seen, "One"), ["A"]);
    assert_eq!(names(&seen, "Two"), ["B"]);
    let [a, b] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    let (label, text) = a.parts.first().unwrap();
    assert_eq!((*label, a.parts.len()), ("Meaning", 1));
    assert!(text.contains("so.") && text.contains("no heading") && !text.contains("text"));
    assert!(fault(a).is_some_and(|fault| fault.contains("Evidence")));
    assert!(fault(b).is_some());
    let part = |label| (label, " Something.".to_owned());
    let mut whole = Section {
        chapter: "One",
        name: "C",
        parts: [
            "Meaning",
            "Evidence",
            "What to do",
            "Often confused with",
            "Alert",
        ]
        .map(part)
        .to_vec(),
    };
    assert_eq!(fault(&whole), None);
    whole.parts.insert(4, part("1Password"));
    assert_eq!(fault(&whole), None);
    whole.parts.swap(0, 1);
    assert!(fault(&whole).is_some());
    assert_eq!(
        classes("| Reason | Class |\n|---|---|\n| `A` | ok | x |\n| [`B`](#b) | ok or action | y |\n"),
        [("A", "ok"), ("B", "ok or action")]
    );
    assert_eq!(
        ours("| Fault | `x` | [`A`](b#c): It is. |"),
        Some(("A", "b#c", "It is."))
    );
    assert_eq!(ours("| Fault | `x` | A |"), None);
    assert_eq!(
        drawn(r#"<g class="action"><rect x="1"/><text x="2">A</text></g>"#),
        [("A", "action")]
    );
    assert_eq!(links("[a](#b) [c](d.md#e) [f](#g)"), BTreeSet::from(["b", "g"]));
    assert_eq!(
        alerts("`ScimBridgeX`, `ScimBridgeConnection`, `Y`"),
        BTreeSet::from(["ScimBridgeX"])
    );
}
