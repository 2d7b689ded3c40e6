//! The document of `/health`, as bridge 2.9 gives it.

use axum::response::Response;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    answer::{self, json},
    state::{CONFIRMATION_WATCHER, State, WATCHERS},
};

/// Every sample of a bridge has this between `time` and `expires`.
const VALIDITY: Duration = Duration::minutes(10);

pub(crate) fn health(state: &State) -> Response {
    json(answer::JSON, &document(state, OffsetDateTime::now_utc()))
}

fn document(state: &State, now: OffsetDateTime) -> Value {
    let taken = now - Duration::seconds(state.report_age_secs.into());
    let reported = |source: &str| !(state.locked && WATCHERS.contains(&source));
    let reports: Vec<Value> = state
        .components
        .iter()
        .filter(|(source, _)| reported(source))
        .map(|(source, component)| {
            let off = state.provisioning_off && source == CONFIRMATION_WATCHER;
            json!({
                "source": source,
                "time": stamp(taken),
                "expires": stamp(taken + VALIDITY),
                "state": if off { "unhealthy" } else { component },
            })
        })
        .collect();
    json!({"build": state.build, "version": state.version, "reports": reports, "retrievedAt": stamp(now)})
}

fn stamp(moment: OffsetDateTime) -> String {
    // Whole seconds, as in the samples. Only years beyond 9999 cannot be written.
    moment.truncate_to_second().format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::OffsetDateTime;

    use super::document;
    use crate::state::State;

    #[test]
    fn a_healthy_bridge_gives_the_published_sample() {
        let now = OffsetDateTime::from_unix_timestamp(1_772_546_816).unwrap();
        let (time, expires) = ("2026-03-03T14:06:56Z", "2026-03-03T14:16:56Z");
        let report = |source| json!({"source": source, "time": time, "expires": expires, "state": "healthy"});
        let sources = [
            "ConfirmationWatcher",
            "RedisCache",
            "SCIMServer",
            "StartProvisionWatcher",
        ];
        let sample = json!({
            "build": "209163",
            "version": "2.9.16",
            "reports": sources.map(report),
            "retrievedAt": "2026-03-03T14:06:56Z",
        });
        assert_eq!(document(&State::default(), now), sample);
    }

    #[test]
    fn old_reports_have_expired() {
        let now = OffsetDateTime::from_unix_timestamp(1_772_546_816).unwrap();
        let state = State {
            report_age_secs: 3600,
            ..State::default()
        };
        let document = document(&state, now);
        assert_eq!(document["reports"][0]["expires"], "2026-03-03T13:16:56Z");
        assert_eq!(document["retrievedAt"], "2026-03-03T14:06:56Z");
    }
}
