//! Documents, headers and certificates of a bridge.

use std::time::Duration;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{Timestamp, fmt::rfc2822},
};
use scim_bridge_operator::{
    api::connection::ComponentState,
    bridge::{
        probe::documents::{read_health, read_list},
        wire::{
            answer::{looks_like_json, read_retry_after},
            certificate::read_certificate,
        },
    },
    domain::connection::{
        evidence::{Component, HealthReport},
        schedule::{Pace, RETRY_AFTER_MAX},
    },
};
use serde_json::Value;

use super::{is_plain, now};

/// Every word that the `Debug` of a report has, besides version and build.
const WORDS: [&str; 18] = [
    "HealthReport",
    "version",
    "build",
    "components",
    "None",
    "Some",
    "Healthy",
    "Expired",
    "Unhealthy",
    "CertificateManager",
    "ConfirmationWatcher",
    "PingServer",
    "RedisCache",
    "ScimServer",
    "StartProvisionWatcher",
    "Other",
    "",
    "ComponentState",
];

/// Counts up to here are the same number to every reader of JSON (RFC 8259, section 6).
const MAX_COUNT: u64 = (1 << 53) - 1;

/// `GET /health`.
pub(crate) fn health(body: &[u8]) {
    let Some(report) = read_health(body, now()) else {
        return;
    };
    assert!(is_object(body), "a report is a JSON object");
    assert!(
        report.version.as_deref().is_none_or(is_version),
        "a version is digits and dots: {report:?}"
    );
    assert!(
        report.build.as_deref().is_none_or(is_build),
        "a build is digits: {report:?}"
    );
    assert!(
        report.components.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "each component once, sorted: {report:?}"
    );
    assert_nothing_foreign(&report);
    // What is ignored need not be JSON to the last byte; where all of it is, an own reading must agree.
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        assert_eq!(
            report.version.as_deref(),
            text("version").filter(|text| is_version(text))
        );
        assert_eq!(
            report.build.as_deref(),
            text("build").filter(|text| is_build(text))
        );
        assert_eq!(report.components, components(&value));
        assert_eq!(
            read_health(value.to_string().as_bytes(), now()),
            Some(report),
            "the same document, written otherwise"
        );
    }
}

/// The components of a report, read by other means: for each name the worst state.
fn components(report: &Value) -> Vec<(Component, ComponentState)> {
    let time = |value: Option<&Value>| value.and_then(Value::as_str)?.parse::<Timestamp>().ok();
    let clock = time(report.get("retrievedAt")).unwrap_or_else(now);
    let reports = report.get("reports").and_then(Value::as_array);
    let reports: Vec<_> = reports.into_iter().flatten().take(64).collect();
    let mut found = Vec::new();
    for component in Component::ALL {
        let of_component = |report: &&&Value| {
            let known = Component::ALL
                .iter()
                .find(|known| report["source"].as_str() == Some(known.as_str()));
            *known.unwrap_or(&Component::Other) == component
        };
        let state = |report: &&Value| {
            if report["state"].as_str() != Some("healthy") {
                ComponentState::Unhealthy
            } else if time(report.get("expires")).is_some_and(|expires| expires < clock) {
                ComponentState::Expired
            } else {
                ComponentState::Healthy
            }
        };
        found.extend(
            reports
                .iter()
                .filter(of_component)
                .map(state)
                .max()
                .map(|worst| (component, worst)),
        );
    }
    found.sort();
    found
}

fn assert_nothing_foreign(report: &HealthReport) {
    let shown = format!("{report:?}");
    let mut own = WORDS.to_vec();
    for text in [&report.version, &report.build].into_iter().flatten() {
        own.extend(text.split('.'));
    }
    for word in shown.split(|c: char| !c.is_ascii_alphanumeric()) {
        assert!(own.contains(&word), "{word:?} comes from the server: {shown}");
    }
}

/// `GET /scim/Users` and `/scim/Groups`.
pub(crate) fn list(body: &[u8]) {
    let found = read_list(body);
    if let Some(count) = found {
        assert!(is_object(body), "a list response is a JSON object");
        assert!(looks_like_json(body), "what was read as JSON looks like it");
        assert!(count <= MAX_COUNT, "a status can hold no such count: {count}");
    }
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    if let Some(count) = found {
        let resources = value.get("Resources").and_then(Value::as_array);
        let length = resources.and_then(|resources| u64::try_from(resources.len()).ok());
        if let Some(total) = value.get("totalResults").filter(|total| !total.is_null()) {
            assert_eq!(total.as_u64(), Some(count), "the count that the document has");
            assert!(
                length.is_some() || count == 0,
                "only an empty list goes without resources"
            );
        } else {
            assert_eq!(length, Some(count), "as many as there are");
            assert!(
                body_declares_list(&value),
                "without a count it must say what it is"
            );
        }
        assert_eq!(
            read_list(value.to_string().as_bytes()),
            Some(count),
            "the same document, written otherwise"
        );
    }
}

fn body_declares_list(value: &Value) -> bool {
    let schemas = value.get("schemas").and_then(Value::as_array);
    schemas
        .into_iter()
        .flatten()
        .any(|schema| schema == "urn:ietf:params:scim:api:messages:2.0:ListResponse")
}

/// The header Retry-After, and what the schedule makes of it.
pub(crate) fn retry_after(bytes: &[u8]) {
    // A header value that is no visible ASCII is not read.
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let found = read_retry_after(text, now());
    let trimmed = text.trim();
    if !trimmed.is_empty() && trimmed.bytes().all(|b| b.is_ascii_digit()) {
        let seconds = trimmed.parse::<u64>().unwrap_or(u64::MAX);
        assert_eq!(
            found.map(|found| found.min(RETRY_AFTER_MAX)),
            Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX)),
            "seconds are seconds, and too many are the most that is believed"
        );
    } else if let Some(found) = found {
        // jiff reads the present form of a date, and neither of the two old ones.
        let expected = rfc2822::parse(trimmed).map(|date| date.timestamp());
        let old = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        assert!(
            expected.map_or_else(
                |_| old.iter().any(|day| trimmed.starts_with(day)),
                |date| date == now() + found
            ),
            "what is no number is the time until a date: {found:?}"
        );
    }
    for failures in [0, 1, 3, 400] {
        let interval = Duration::from_mins(5);
        let pace = Pace {
            uid: "9f0c",
            interval,
            failures,
            rest: Duration::ZERO,
            retry_after: found,
        };
        assert!(
            pace.delay() <= RETRY_AFTER_MAX.max(interval * 11 / 10),
            "no server sets the pace beyond its bounds: {:?}",
            pace.delay()
        );
    }
}

/// End and issuer of a certificate.
pub(crate) fn certificate(der: &[u8]) {
    let Some(certificate) = read_certificate(der) else {
        return;
    };
    if let Some(issuer) = &certificate.issuer {
        assert!(
            (1..=64).contains(&issuer.len()) && is_plain(issuer) && issuer.trim() == issuer,
            "an issuer is a short, plain name: {issuer:?}"
        );
    }
    // A status holds times as RFC 3339 has them: with years of four digits.
    let written = serde_json::to_string(&Time(certificate.not_after)).expect("a time can be written");
    assert!(
        written.len() >= 22 && written.starts_with('"') && written[1..5].bytes().all(|b| b.is_ascii_digit()),
        "the API server reads no such time: {written}"
    );
    let read: Time = serde_json::from_str(&written).expect("a time can be read back");
    assert_eq!(read.0, certificate.not_after);
}

fn is_object(body: &[u8]) -> bool {
    body.trim_ascii().starts_with(b"{")
}

/// One to four numbers of one to five digits.
fn is_version(text: &str) -> bool {
    let parts: Vec<_> = text.split('.').collect();
    parts.len() <= 4
        && text.len() <= 20
        && parts
            .iter()
            .all(|part| (1..=5).contains(&part.len()) && is_digits(part))
}

fn is_build(text: &str) -> bool {
    (1..=12).contains(&text.len()) && is_digits(text)
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}
