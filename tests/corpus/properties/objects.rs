//! The object itself, as the watch reads it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use kube::core::DeserializeGuard;
use scim_bridge_operator::{
    api::{
        REQUESTED_AT_ANNOTATION,
        connection::{ScimBridgeConnection, ScimBridgeConnectionSpec},
        duration::{HumanDuration, MAX_LENGTH},
    },
    cluster::key::Key,
    controller::{connection::Connection, registry::Registry},
    domain::connection::{
        evidence::{Answer, Blocker, Evidence, Exchange, Reading, TransportFailure},
        schedule::{Cause, Due, REFUSED_KEY_INTERVAL, pace_of},
        status::{Observation, Versions, next_status, progressing},
        target::{Origin, Target},
    },
};

use super::now;

/// `spec.interval` and `spec.timeout`.
pub(crate) fn duration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let read = text.parse::<HumanDuration>();
    assert_eq!(read.is_ok(), has_form(text), "{text:?} is {read:?}");
    let Ok(duration) = read else {
        return;
    };
    assert!(
        duration.0 <= Duration::from_hours(99_999) * 8,
        "eight numbers of five digits are the most"
    );
    let quoted = serde_json::to_string(text).expect("text is JSON");
    assert_eq!(
        serde_json::from_str::<HumanDuration>(&quoted).ok(),
        Some(duration),
        "read from JSON it means the same"
    );
    // Beyond that it would need six digits, and 24 h is the most that a field takes.
    if duration.0 < Duration::from_hours(100_000) {
        let printed = duration.to_string();
        assert_eq!(printed.parse(), Ok(duration), "{text:?} prints as {printed:?}");
    }
}

/// The pattern of the CRD, read by other means: `^([0-9]{1,5}(h|m|s))+$`.
fn has_form(text: &str) -> bool {
    let mut parts = text.split_inclusive(['h', 'm', 's']);
    !text.is_empty()
        && text.len() <= MAX_LENGTH
        && parts.all(|part| {
            part.strip_suffix(['h', 'm', 's']).is_some_and(|number| {
                (1..=5).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit())
            })
        })
}

/// The annotation that asks for a probe.
pub(crate) fn requested_at(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let metadata = |value: &str| ObjectMeta {
        name: Some("corp".to_owned()),
        annotations: Some(BTreeMap::from([
            (REQUESTED_AT_ANNOTATION.to_owned(), value.to_owned()),
            ("other".to_owned(), "not kept".to_owned()),
        ])),
        ..ObjectMeta::default()
    };
    let connection = Connection::new(metadata(text), None, None);
    let kept = connection.metadata.annotations.as_ref().map(BTreeMap::len);
    assert_eq!(kept, Some(1), "of the annotations only this one is kept");
    let requested = connection.requested().expect("an annotation asks");
    assert!(
        text.starts_with(&requested) && requested.chars().count() <= 256,
        "a status holds 256 characters: {requested:?}"
    );
    assert!(
        requested.chars().count() == 256 || requested == text,
        "no more is cut off"
    );
    // Handled once: what the status then holds is what is asked for.
    let again = Connection::new(metadata(&requested), None, None);
    assert_eq!(again.requested(), Some(requested));
}

/// A connection as JSON, decoded as the watch does.
pub(crate) fn connection(json: &[u8]) {
    let Ok(DeserializeGuard(object)) = serde_json::from_slice::<DeserializeGuard<ScimBridgeConnection>>(json)
    else {
        return;
    };
    let connection = object.map_or_else(
        |invalid| Connection::new(invalid.metadata, None, None),
        Connection::from,
    );
    let target = connection.spec.as_ref().map(Target::parse);
    if let (Some(spec), Some(Ok(target))) = (&connection.spec, &target) {
        assert_sound(spec, target);
    }
    let target = target.and_then(Result::ok);
    assert_goes_on(&connection, target.as_ref());
    assert_harms_no_other(&connection);
}

/// What an accepted specification promises.
fn assert_sound(spec: &ScimBridgeConnectionSpec, target: &Target) {
    assert!((Duration::from_secs(30)..=Duration::from_hours(24)).contains(&target.interval));
    assert!((Duration::from_secs(1)..=Duration::from_mins(1)).contains(&target.timeout));
    assert!(target.timeout <= target.interval);
    assert!((1..=10).contains(&target.failure_threshold));
    let names = [Some(&target.api_key), target.next_api_key.as_ref()];
    for reference in names.into_iter().flatten() {
        // Both become part of a path of the API server.
        for text in [&reference.name, &reference.key] {
            assert!(
                (1..=253).contains(&text.len())
                    && text
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')),
                "no name of an object: {text:?}"
            );
        }
        assert!(
            !reference.name.starts_with('.'),
            "no step up: {:?}",
            reference.name
        );
    }
    let endpoint = target.scim_endpoint();
    assert!(endpoint.len() <= 512, "a status holds 512 characters");
    assert_eq!(Origin::parse(&endpoint).as_ref(), Ok(&target.origin));
    let written = serde_json::to_value(spec).expect("a specification can be written");
    let read: ScimBridgeConnectionSpec = serde_json::from_value(written).expect("and read back");
    assert_eq!(Target::parse(&read).as_ref(), Ok(target), "it means the same");
}

/// Whatever stands in the status, a pass comes to an end and to a time for the next one.
fn assert_goes_on(connection: &Connection, target: Option<&Target>) {
    let Connection { metadata, status, .. } = connection;
    let interval = target.map_or(Duration::from_mins(5), |target| target.interval);
    let longest = interval.max(REFUSED_KEY_INTERVAL) * 2;
    let uid = metadata.uid.as_deref().unwrap_or_default();
    let resumed = pace_of(uid, interval, status, now()).resume(status, now());
    assert!(
        (now()..=now() + longest).contains(&resumed),
        "a status postpones a probe to {resumed}"
    );
    let connected = Exchange {
        ping: Reading::Answered(Answer::Document(())),
        users: Reading::Answered(Answer::Document(3)),
        ..Exchange::default()
    };
    let unreachable = Exchange {
        ping: Reading::Failed(TransportFailure::Connect),
        ..Exchange::default()
    };
    let generation = metadata.generation.unwrap_or_default();
    for evidence in [
        Evidence::Blocked(Blocker::SecretNotFound),
        Evidence::Probed(unreachable),
        Evidence::Probed(connected),
    ] {
        let pass = Observation {
            uid,
            generation,
            declared: connection.declared(),
            target,
            versions: Versions::default(),
            requested: connection.requested(),
            failures_before: 0,
            evidence: &evidence,
            now: now(),
            late: Duration::ZERO,
            early: Duration::ZERO,
            heartbeat: Duration::from_mins(5),
        };
        let outcome = next_status(status, &pass);
        assert!(
            (now()..=now() + longest).contains(&outcome.next),
            "after {evidence:?} the next probe is at {}",
            outcome.next
        );
        serde_json::to_string(&outcome.status).expect("a status can be written");
    }
    let _ = progressing(status, None, generation, now());
}

/// A connection beside it is due as if it were alone.
fn assert_harms_no_other(connection: &Connection) {
    let key = |name: &str| Key {
        namespace: "identity".into(),
        name: name.into(),
    };
    let other = Connection {
        metadata: ObjectMeta {
            generation: Some(1),
            ..ObjectMeta::default()
        },
        ..Connection::new(ObjectMeta::default(), None, None)
    };
    let instant = Instant::now();
    let mut registry = Registry::default();
    registry.apply(&key("other"), &other, now(), instant);
    registry.apply(&key("hostile"), connection, now(), instant);
    let due = |registry: &Registry, name: &str, now: Timestamp| registry.due(&key(name), now, instant);
    assert_eq!(
        due(&registry, "other", now()),
        Some(Due::Now(Cause::NewGeneration))
    );
    if let Some(Due::Now(cause)) = due(&registry, "hostile", now()) {
        assert!(registry.begin(&key("hostile"), cause, Instant::now()).is_some());
        assert_eq!(due(&registry, "hostile", now()), None, "one pass at a time");
    }
    registry.apply(&key("hostile"), connection, now(), instant);
    registry.delete(&key("hostile"));
    assert_eq!(registry.len(), 1);
    assert_eq!(
        due(&registry, "other", now()),
        Some(Due::Now(Cause::NewGeneration))
    );
}
