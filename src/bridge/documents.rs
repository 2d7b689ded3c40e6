//! The small part of a bridge's documents that is read.
//!
//! Parsers of foreign bytes: they take anything and return what they understood, or `None`. Text is let through only
//! where its shape leaves no room for a message.

use std::{collections::BTreeMap, fmt, marker::PhantomData, time::Duration};

use k8s_openapi::jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer},
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{
    api::v1alpha1::ComponentState,
    domain::evidence::{Certificate, Component, HealthReport, Member},
};

/// More components than this no bridge reports.
const MAX_REPORTS: usize = 64;

/// The greatest count that is the same number to every reader of JSON (RFC 8259, section 6), and so of a status.
const MAX_COUNT: u64 = (1 << 53) - 1;

/// A JSON object. What serde derives for a struct also takes an array of the fields' values.
struct Object<T>(T);

#[derive(Deserialize)]
struct Health {
    version: Option<String>,
    build: Option<String>,
    reports: Option<Vec<Object<Report>>>,
    #[serde(rename = "retrievedAt")]
    retrieved_at: Option<String>,
}

#[derive(Deserialize)]
struct Report {
    source: String,
    state: String,
    expires: Option<String>,
}

/// The dates of a certificate, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

/// RFC 7644, section 3.4.2. Element contents are passed over without being stored.
#[derive(Deserialize)]
struct ListResponse {
    #[serde(default)]
    schemas: Vec<String>,
    #[serde(rename = "totalResults")]
    total_results: Option<u64>,
    #[serde(rename = "Resources")]
    resources: Option<Vec<IgnoredAny>>,
}

const LIST_RESPONSE: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// Reads `GET /health`. `None` where the body is no health report.
///
/// Whether a report has expired is judged by the bridge's own clock where it says what time it is.
#[must_use]
pub fn read_health(body: &[u8], now: Timestamp) -> Option<HealthReport> {
    let Object(Health {
        version,
        build,
        reports,
        retrieved_at,
    }) = serde_json::from_slice(body).ok()?;
    // Many services report a version, 1Password's Connect server among them. A bridge reports its build or its components.
    if build.is_none() && reports.is_none() {
        return None;
    }
    let clock = retrieved_at
        .and_then(|text| text.parse::<Timestamp>().ok())
        .unwrap_or(now);
    let mut components: BTreeMap<Component, ComponentState> = BTreeMap::new();
    for Object(Report {
        source,
        state,
        expires,
    }) in reports.unwrap_or_default().into_iter().take(MAX_REPORTS)
    {
        let expired = expires
            .and_then(|text| text.parse::<Timestamp>().ok())
            .is_some_and(|expires| expires < clock);
        let state = if state != "healthy" {
            ComponentState::Unhealthy
        } else if expired {
            ComponentState::Expired
        } else {
            ComponentState::Healthy
        };
        // Where one name stands for several, the worst counts.
        let worst = components.entry(Component::parse(&source)).or_insert(state);
        *worst = state.max(*worst);
    }
    Some(HealthReport {
        version: version.filter(|text| is_version(text)),
        build: build
            .filter(|text| (1..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())),
        components: components.into_iter().collect(),
    })
}

/// Reads a list response and tells how many resources there are in all. `None` where the body is no list response.
#[must_use]
pub fn read_list(body: &[u8]) -> Option<u64> {
    let Object(ListResponse {
        schemas,
        total_results,
        resources,
    }) = serde_json::from_slice(body).ok()?;
    let is_declared = schemas.iter().any(|schema| schema == LIST_RESPONSE);
    let count = match (total_results, resources) {
        (Some(total), Some(_)) => Some(total),
        // RFC 7644 lets an empty list go without `Resources`.
        (Some(0), None) => Some(0),
        (None, Some(resources)) if is_declared => u64::try_from(resources.len()).ok(),
        (_, _) => None,
    };
    count.filter(|count| *count <= MAX_COUNT)
}

/// Whether the body is JSON: a first look, for bodies that are not parsed.
#[must_use]
pub fn looks_like_json(body: &[u8]) -> bool {
    body.iter()
        .find(|b| !b.is_ascii_whitespace())
        .is_some_and(|b| matches!(b, b'{' | b'['))
}

/// Reads a Retry-After header: seconds, or a date (RFC 9110, section 10.2.3).
#[must_use]
pub fn read_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More than fits is as much as fits: how much of it is believed is not decided here.
        return Some(Duration::from_secs(
            text.parse::<u32>().unwrap_or(u32::MAX).into(),
        ));
    }
    let date = Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()?;
    Duration::try_from(date.duration_since(now)).ok()
}

/// Reads the end and the issuer of a server's certificate that was verified.
#[must_use]
pub fn read_certificate(der: &[u8]) -> Option<Certificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let issuer = certificate
        .issuer()
        .iter_common_name()
        .chain(certificate.issuer().iter_organization())
        .find_map(|name| name.as_str().ok())
        .map(clean_name)
        .filter(|name| !name.is_empty());
    Some(Certificate {
        not_after: timestamp(certificate.validity().not_after.timestamp())?,
        ends: Member::Server,
        issuer,
    })
}

/// Reads the dates of a certificate.
pub(super) fn read_validity(der: &[u8]) -> Option<Validity> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    Some(Validity {
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
    })
}

/// A date of a certificate. "No end" (RFC 5280, section 4.1.2.5) lies some hours beyond the greatest timestamp there is.
pub(super) fn timestamp(seconds: i64) -> Option<Timestamp> {
    Timestamp::from_second(seconds.min(Timestamp::MAX.as_second())).ok()
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// `2.9.16` and the like.
fn is_version(text: &str) -> bool {
    text.len() <= 20
        && text.split('.').count() <= 4
        && text
            .split('.')
            .all(|part| (1..=5).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
}

/// An issuer's name without anything that a terminal or a page could take for more than a name.
fn clean_name(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '.' | ',' | '-' | '\'' | '&' | '(' | ')'))
        .take(64)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{prelude::*, test_runner::RngSeed};

    const NOW: i64 = 1_772_546_816; // 2026-03-03T14:06:56Z

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    fn health(body: &str) -> String {
        match read_health(body.as_bytes(), now()) {
            None => "none".to_owned(),
            Some(HealthReport {
                version,
                build,
                components,
            }) => {
                let components: Vec<_> = components
                    .iter()
                    .map(|(name, state)| format!("{}={state:?}", name.as_str()))
                    .collect();
                format!(
                    "{} {} {}",
                    version.unwrap_or_default(),
                    build.unwrap_or_default(),
                    components.join(",")
                )
            }
        }
    }

    #[test]
    fn health_reports() {
        for (body, expected) in [
            (
                r#"{"build":"209163","version":"2.9.16","reports":[
                    {"source":"ConfirmationWatcher","time":"2026-03-03T14:06:09Z","expires":"2026-03-03T14:16:09Z","state":"healthy"},
                    {"source":"RedisCache","time":"2026-03-03T14:06:09Z","expires":"2026-03-03T14:16:09Z","state":"healthy"}],
                    "retrievedAt":"2026-03-03T14:06:56Z"}"#,
                "2.9.16 209163 ConfirmationWatcher=Healthy,RedisCache=Healthy",
            ),
            // Expired by the bridge's own clock; ours does not matter then.
            (
                r#"{"version":"2.9.16","reports":[{"source":"RedisCache","expires":"2020-01-01T00:10:00Z","state":"healthy"}],
                    "retrievedAt":"2020-01-01T00:00:00Z"}"#,
                "2.9.16  RedisCache=Healthy",
            ),
            (
                r#"{"reports":[{"source":"RedisCache","expires":"2026-03-03T14:06:55Z","state":"healthy"}]}"#,
                "  RedisCache=Expired",
            ),
            // Unknown names are taken together, and the worst counts.
            (
                r#"{"reports":[{"source":"A","state":"healthy"},{"source":"B","state":"stopped"},{"source":"C","state":"healthy"}]}"#,
                "  Other=Unhealthy",
            ),
            // What a server could say in a version is not passed on.
            (r#"{"version":"<script>","build":"x1"}"#, "  "),
            (r#"{"version":"2.9.16 sk-fake-canary","build":"x"}"#, "  "),
            (
                r#"{"name":"another service","version":"1.7.2","dependencies":[]}"#,
                "none",
            ),
            ("{}", "none"),
            (r#"{"status":"ok"}"#, "none"),
            ("[]", "none"),
            ("<html>", "none"),
            ("", "none"),
            (r#"{"version":2}"#, "none"),
            (r#"["2.9.16","209163",[],null]"#, "none"),
            (r#"{"reports":[["RedisCache","healthy",null]]}"#, "none"),
            (r#"{"version":"2.9.16","version":"2.9.16"}"#, "none"),
        ] {
            assert_eq!(health(body), expected, "{body}");
        }
    }

    #[test]
    fn list_responses() {
        let schemas = format!(r#""schemas":["{LIST_RESPONSE}"]"#);
        for (body, expected) in [
            (
                format!(r#"{{{schemas},"totalResults":128,"Resources":[{{"id":"1"}}]}}"#),
                Some(128),
            ),
            (format!(r#"{{{schemas},"totalResults":0}}"#), Some(0)),
            (format!(r#"{{{schemas},"Resources":[{{}},{{}}]}}"#), Some(2)),
            (r#"{"totalResults":3,"Resources":[]}"#.to_owned(), Some(3)),
            (format!(r#"{{{schemas},"totalResults":5}}"#), None),
            (format!(r#"{{{schemas},"totalResults":-1,"Resources":[]}}"#), None),
            (
                format!(r#"{{{schemas},"totalResults":"1","Resources":[]}}"#),
                None,
            ),
            (r#"{"Resources":[]}"#.to_owned(), None),
            (r#"{"status":"ok"}"#.to_owned(), None),
            // More than a status can hold.
            (
                r#"{"totalResults":9007199254740992,"Resources":[]}"#.to_owned(),
                None,
            ),
            ("[[],5,[]]".to_owned(), None),
            ("[]".to_owned(), None),
            ("null".to_owned(), None),
            ("[".repeat(100_000), None),
        ] {
            assert_eq!(
                read_list(body.as_bytes()),
                expected,
                "{}",
                body.get(..80).unwrap_or(&body)
            );
        }
    }

    #[test]
    fn retry_after() {
        for (text, expected) in [
            ("120", Some(120)),
            (" 5 ", Some(5)),
            ("Tue, 03 Mar 2026 14:07:56 GMT", Some(60)),
            ("Tuesday, 03-Mar-26 14:07:56 GMT", Some(60)),
            ("Tue Mar  3 14:07:56 2026", Some(60)),
            ("Tue, 03 Mar 2020 14:07:56 GMT", None),
            ("Tue, 03 Mar 2026 14:07:56 +0000", None),
            ("-1", None),
            ("+1", None),
            ("99999999999999999999", Some(u32::MAX.into())),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(
                read_retry_after(text, now()).map(|d| d.as_secs()),
                expected,
                "{text}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(testbed::seed()),
            ..ProptestConfig::default()
        })]

        #[test]
        fn parsers_survive_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = read_health(&bytes, now());
            let _ = read_list(&bytes);
            let _ = read_certificate(&bytes);
            let _ = read_retry_after(&String::from_utf8_lossy(&bytes), now());
        }

        #[test]
        fn no_text_of_a_server_gets_through(text in "[ -~]{0,40}") {
            let body = serde_json::json!({"version": text, "build": text,
                "reports": [{"source": text, "state": text, "expires": text}]});
            if let Some(report) = read_health(body.to_string().as_bytes(), now()) {
                prop_assert!(report.version.is_none_or(|v| v.bytes().all(|b| b.is_ascii_digit() || b == b'.')));
                prop_assert!(report.build.is_none_or(|b| b.bytes().all(|b| b.is_ascii_digit())));
            }
        }
    }
}
