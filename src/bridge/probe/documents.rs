//! Parsers for the few parts of a bridge's documents that the operator reads.
//!
//! They take any bytes and return `None` if they do not understand them. They return text only if its shape leaves no
//! room for a message.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use k8s_openapi::jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{
    api::connection::ComponentState,
    domain::connection::evidence::{Component, HealthReport},
};

/// Most components that are read of one report. No bridge reports more.
const MAX_REPORTS: usize = 64;

/// The largest count that every JSON parser reads exactly (RFC 8259, section 6). A status is JSON.
const MAX_COUNT: u64 = (1 << 53) - 1;

/// A JSON object, and nothing else. A derived `Deserialize` (serde 1) also takes an array of the fields' values.
struct Object<T>(T);

#[derive(Deserialize)]
struct HealthDocument {
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

/// RFC 7644, section 3.4.2. The contents of elements are not stored.
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

/// Reads the response to `GET /health`. `None` if the body is no health report.
///
/// The bridge's own clock decides whether a report has expired. `now` decides if the bridge does not send its time.
#[must_use]
pub fn read_health(body: &[u8], now: Timestamp) -> Option<HealthReport> {
    let Object(HealthDocument {
        version,
        build,
        reports,
        retrieved_at,
    }) = serde_json::from_slice(body).ok()?;
    // Many services report a version, 1Password's Connect server among them. A bridge reports a build or components,
    // too.
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
        // Several reports may have the same name. The worst state counts.
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

/// Reads the total number of resources from a list response. `None` if the body is no list response.
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
        // RFC 7644 allows an empty list to omit `Resources`.
        (Some(0), None) => Some(0),
        (None, Some(resources)) if is_declared => u64::try_from(resources.len()).ok(),
        (_, _) => None,
    };
    count.filter(|count| *count <= MAX_COUNT)
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// Whether the text looks like `2.9.16`: up to four numbers of up to five digits.
fn is_version(text: &str) -> bool {
    text.len() <= 20
        && text.split('.').count() <= 4
        && text
            .split('.')
            .all(|part| (1..=5).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
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
            // Not expired by the bridge's own clock, so ours does not matter.
            (
                r#"{"version":"2.9.16","reports":[{"source":"RedisCache","expires":"2020-01-01T00:10:00Z","state":"healthy"}],
                    "retrievedAt":"2020-01-01T00:00:00Z"}"#,
                "2.9.16  RedisCache=Healthy",
            ),
            (
                r#"{"reports":[{"source":"RedisCache","expires":"2026-03-03T14:06:55Z","state":"healthy"}]}"#,
                "  RedisCache=Expired",
            ),
            // Unknown names become one component. The worst state counts.
            (
                r#"{"reports":[{"source":"A","state":"healthy"},{"source":"B","state":"stopped"},{"source":"C","state":"healthy"}]}"#,
                "  Other=Unhealthy",
            ),
            // A server cannot send text through its version or build.
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
            // Too large for a status.
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
