//! The result of a check for programs: JSON, YAML, `JUnit`.

use std::io::{self, Write};

use k8s_openapi::jiff::Timestamp;
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};
use serde::Serialize;

use super::{
    Checked,
    explain::runbook,
    steps::{Mark, StepResult},
};
use crate::{
    api::{
        connection::{ComponentState, ScimApi},
        vocabulary::{Class, ConditionType, Truth},
    },
    domain::connection::{
        conditions::{find, readiness},
        evidence::{Component, Evidence, Exchange, KeyTrial},
    },
};

/// The JSON and YAML document. New versions may add fields, and never rename one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    checked_at: Timestamp,
    reason: &'static str,
    class: &'static str,
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    action: String,
    runbook: String,
    connected: &'static str,
    auth_failed: &'static str,
    scim_disabled: &'static str,
    scim_api: ScimApi,
    steps: Vec<StepDocument<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bridge: Option<BridgeDocument<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<CertificateDocument<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<DirectoryDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_api_key: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<OperatorDocument<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StepDocument<'a> {
    step: &'static str,
    result: &'static str,
    note: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BridgeDocument<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build: Option<&'a str>,
    components: Vec<ComponentDocument>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ComponentDocument {
    name: &'static str,
    state: ComponentState,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateDocument<'a> {
    not_after: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DirectoryDocument {
    users: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<u64>,
}

/// The operator's status of the same connection.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OperatorDocument<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_probe_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<Timestamp>,
    /// Whether both have the same `Ready` and the same reason.
    agrees: bool,
}

/// Writes JSON: indented, or in one line.
///
/// # Errors
/// If `out` cannot be written.
pub fn json(checked: &Checked, pretty: bool, out: &mut impl Write) -> io::Result<()> {
    let document = Document::of(checked);
    if pretty {
        serde_json::to_writer_pretty(&mut *out, &document)?;
    } else {
        serde_json::to_writer(&mut *out, &document)?;
    }
    writeln!(out)
}

/// Writes a YAML document.
///
/// # Errors
/// If `out` cannot be written.
pub fn yaml(checked: &Checked, out: &mut impl Write) -> io::Result<()> {
    let text = serde_saphyr::to_string(&Document::of(checked)).map_err(io::Error::other)?;
    writeln!(out, "---\n{}", text.trim_end())
}

/// Writes a `JUnit` report with a test case for each step.
///
/// # Errors
/// If `out` cannot be written.
pub fn junit(checked: &Checked, out: &mut impl Write) -> io::Result<()> {
    let suite = checked
        .name
        .as_deref()
        .or(checked.url.as_deref())
        .unwrap_or("the connection");
    let cases: Vec<Case> = checked.steps.iter().map(|step| case(checked, step)).collect();
    suite_of(suite, &cases, out)
}

/// A test case of a `JUnit` report.
#[derive(Debug)]
pub(crate) struct Case {
    /// Its name within the suite.
    pub(crate) name: String,
    /// Its result.
    pub(crate) result: CaseResult,
}

/// The result of a test case.
#[derive(Debug)]
pub(crate) enum CaseResult {
    /// Nothing to say.
    Passed,
    /// Passed, with a text for the reader.
    PassedWith(String),
    /// Not tried, and why.
    Skipped(String),
    /// Failed.
    Failed {
        /// The reason.
        reason: &'static str,
        /// The fault, in one line.
        message: String,
        /// What to do next.
        next: String,
    },
}

fn case(checked: &Checked, step: &StepResult) -> Case {
    let note = step.note.clone();
    let result = match step.mark {
        Mark::Passed => CaseResult::Passed,
        Mark::Warned => CaseResult::PassedWith(note),
        Mark::Skipped => CaseResult::Skipped(note),
        Mark::Failed => {
            let reason = checked.verdict.reason;
            let next = checked.wording.translate(checked.verdict.action());
            CaseResult::Failed {
                reason: reason.as_str(),
                message: note,
                next: format!("{next} See {}.", runbook(&reason.anchor())),
            }
        }
    };
    Case {
        name: step.step.as_str().to_owned(),
        result,
    }
}

/// Writes a `JUnit` report with one test suite, in the form that CI systems read.
/// <https://github.com/testmoapp/junitxml>
///
/// # Errors
/// If `out` cannot be written.
pub(crate) fn suite_of(suite: &str, cases: &[Case], out: &mut impl Write) -> io::Result<()> {
    let count = |is_such: fn(&CaseResult) -> bool| {
        let such = cases.iter().filter(|case| is_such(&case.result));
        such.count().to_string()
    };
    let (tests, failures, skipped) = (
        cases.len().to_string(),
        count(|result| matches!(result, CaseResult::Failed { .. })),
        count(|result| matches!(result, CaseResult::Skipped(_))),
    );
    let mut writer = Writer::new_with_indent(&mut *out, b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer
        .create_element("testsuites")
        .write_inner_content(|writer| {
            writer
                .create_element("testsuite")
                .with_attributes([
                    ("name", suite),
                    ("tests", &tests),
                    ("failures", &failures),
                    ("skipped", &skipped),
                ])
                .write_inner_content(|writer| {
                    for case in cases {
                        write_case(writer, suite, case)?;
                    }
                    Ok(())
                })?;
            Ok(())
        })?;
    writeln!(out)
}

fn write_case<W: Write>(writer: &mut Writer<W>, suite: &str, case: &Case) -> io::Result<()> {
    let element = writer
        .create_element("testcase")
        .with_attributes([("classname", suite), ("name", &case.name)]);
    match &case.result {
        CaseResult::Passed => element.write_empty()?,
        CaseResult::PassedWith(text) => element.write_inner_content(|writer| {
            writer
                .create_element("system-out")
                .write_text_content(BytesText::new(text))?;
            Ok(())
        })?,
        CaseResult::Skipped(message) => element.write_inner_content(|writer| {
            writer
                .create_element("skipped")
                .with_attribute(("message", message.as_str()))
                .write_empty()?;
            Ok(())
        })?,
        CaseResult::Failed {
            reason,
            message,
            next,
        } => element.write_inner_content(|writer| {
            writer
                .create_element("failure")
                .with_attributes([("type", *reason), ("message", message)])
                .write_text_content(BytesText::new(next))?;
            Ok(())
        })?,
    };
    Ok(())
}

impl<'a> Document<'a> {
    fn of(checked: &'a Checked) -> Self {
        let Checked {
            name,
            url,
            target: _,
            evidence,
            verdict,
            steps,
            at,
            operator,
            wording,
        } = checked;
        let exchange = match evidence {
            Evidence::Probed(exchange) => Some(exchange),
            Evidence::Blocked(_) => None,
        };
        let reason = verdict.reason;
        Self {
            connection: name.as_deref(),
            url: url.as_deref(),
            checked_at: *at,
            reason: reason.as_str(),
            class: match verdict.class {
                Class::Ok => "ok",
                Class::Action => "action",
                Class::Transient => "transient",
                Class::Pending => "pending",
            },
            message: wording.translate(&verdict.message()),
            action: wording.translate(verdict.action()),
            runbook: runbook(&reason.anchor()),
            connected: Truth::as_str(verdict.connected),
            auth_failed: Truth::as_str(verdict.auth_failed),
            scim_disabled: Truth::as_str(verdict.scim_disabled),
            scim_api: verdict.scim_api,
            steps: steps
                .iter()
                .map(|step| StepDocument {
                    step: step.step.as_str(),
                    result: step.mark.as_str(),
                    note: &step.note,
                })
                .collect(),
            bridge: exchange.and_then(BridgeDocument::of),
            certificate: exchange.and_then(|exchange| {
                exchange
                    .certificate
                    .as_ref()
                    .map(|certificate| CertificateDocument {
                        not_after: certificate.not_after,
                        issuer: certificate.issuer.as_deref(),
                    })
            }),
            directory: exchange.and_then(|exchange| {
                exchange.users.document().map(|users| DirectoryDocument {
                    users: *users,
                    groups: exchange.groups,
                })
            }),
            next_api_key: exchange.and_then(|exchange| exchange.next_key).map(name_of),
            operator: operator.as_ref().map(|status| {
                let ready = find(&status.conditions, ConditionType::Ready);
                let reported = ready.map(|ready| (ready.status.as_str(), ready.reason.as_str()));
                OperatorDocument {
                    ready: reported.map(|(ready, _)| ready),
                    reason: reported.map(|(_, reason)| reason),
                    last_probe_time: status.last_probe_time.as_ref().map(|time| time.0),
                    valid_until: status.valid_until.as_ref().map(|time| time.0),
                    agrees: reported == Some((readiness(verdict.class).as_str(), reason.as_str())),
                }
            }),
        }
    }
}

impl<'a> BridgeDocument<'a> {
    fn of(exchange: &'a Exchange) -> Option<Self> {
        exchange.health.document().map(|health| Self {
            version: health.version.as_deref(),
            build: health.build.as_deref(),
            components: health
                .components
                .iter()
                .map(|(component, state)| ComponentDocument {
                    name: Component::as_str(*component),
                    state: *state,
                })
                .collect(),
        })
    }
}

/// The result of the rehearsal of the next key, as the document names it.
const fn name_of(trial: KeyTrial) -> &'static str {
    match trial {
        KeyTrial::Accepted => "accepted",
        KeyTrial::Refused => "refused",
        KeyTrial::Unusable(blocker) => blocker.reason().as_str(),
        KeyTrial::Undecided => "undecided",
    }
}
