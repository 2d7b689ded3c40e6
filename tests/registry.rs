//! What the controller makes of what its watches bring: who is due, and why, without a cluster.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, a value that is not there is a failure"
)]

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use scim_bridge_operator::{
    api::{
        REQUESTED_AT_ANNOTATION,
        connection::{ApiKeySecretRef, ObjectVersion, ScimBridgeConnectionSpec, ScimBridgeConnectionStatus},
        duration::HumanDuration,
        role::Role,
    },
    cluster::key::Key,
    controller::{
        connection::Connection,
        job::{Job, Outcome},
        registry::Registry,
    },
    domain::{
        connection::schedule::{Cause, Due},
        watched::Seen,
    },
    resolve::reference::{Reference, ReferenceKind},
};

const START: i64 = 1_772_546_816;

/// A registry, and the time that a test lets pass.
struct World {
    registry: Registry,
    now: Timestamp,
    instant: Instant,
}

impl World {
    fn new() -> Self {
        Self {
            registry: Registry::default(),
            now: Timestamp::from_second(START).unwrap(),
            instant: Instant::now(),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.instant += time;
    }

    fn apply(&mut self, connection: &Connection) {
        self.registry
            .apply(&key("corp"), connection, self.now, self.instant);
    }

    /// One word for what is due: a cause, a wait in seconds, `never`, or `-` for what is unknown or running.
    fn due(&self) -> String {
        match self.registry.due(&key("corp"), self.now, self.instant) {
            None => "-".to_owned(),
            Some(Due::Now(cause)) => format!("{cause:?}"),
            Some(Due::At(time)) => format!("{}s", time.duration_since(self.now).as_secs()),
            Some(Due::Never) => "never".to_owned(),
        }
    }

    fn begin(&mut self, cause: Cause) -> Option<Job> {
        self.registry.begin(&key("corp"), cause, self.instant)
    }

    /// Runs a whole pass that finds what `status` says, and leaves the next probe a minute ahead.
    fn run(&mut self, cause: Cause, connection: Connection) {
        assert!(self.begin(cause).is_some(), "nothing else must be running");
        self.finish(connection);
    }

    fn finish(&mut self, connection: Connection) {
        let finished = Outcome::Judged {
            connection: Arc::new(connection),
            failures: 0,
            delay: Duration::from_mins(1),
        };
        self.registry.finish(&key("corp"), finished, self.instant);
    }

    fn see(&mut self, version: Option<&str>) -> Vec<Key> {
        let seen = version.map_or(Seen::Absent, |version| {
            Seen::Present(object_version(version).into())
        });
        self.registry.observe(&secret("key"), seen)
    }
}

fn key(name: &str) -> Key {
    Key {
        namespace: "identity".into(),
        name: name.into(),
    }
}

fn secret(name: &str) -> Reference {
    Reference {
        kind: ReferenceKind::Secret,
        namespace: "identity".into(),
        name: name.into(),
    }
}

fn object_version(version: &str) -> ObjectVersion {
    ObjectVersion {
        uid: "secret-uid".to_owned(),
        resource_version: version.to_owned(),
    }
}

/// A connection at this generation and version, judged for `judged` with this version of the key.
fn connection(generation: i64, version: u32, judged: i64, credential: Option<&str>) -> Connection {
    let at = |seconds| Some(Time(Timestamp::from_second(START + seconds).unwrap()));
    Connection {
        metadata: ObjectMeta {
            uid: Some("uid-1".to_owned()),
            generation: Some(generation),
            resource_version: Some(version.to_string()),
            ..ObjectMeta::default()
        },
        spec: Some(ScimBridgeConnectionSpec {
            url: "https://scim.example.com".to_owned(),
            api_key_secret_ref: ApiKeySecretRef {
                name: "key".to_owned(),
                key: "apiKey".to_owned(),
            },
            identity_provider: None,
            interval: HumanDuration::from_secs(300),
            timeout: HumanDuration::from_secs(10),
            failure_threshold: 3,
            suspend: false,
            allow_plaintext: false,
            tls: None,
            next_api_key_secret_ref: None,
            provisioning: None,
        }),
        status: ScimBridgeConnectionStatus {
            observed_generation: judged,
            credential: credential.map(|version| ObjectVersion {
                uid: "secret-uid".to_owned(),
                resource_version: version.to_owned(),
            }),
            last_probe_time: at(0),
            next_probe_time: at(120),
            valid_until: at(900),
            ..ScimBridgeConnectionStatus::default()
        },
    }
}

#[test]
fn a_new_connection_is_probed_once() {
    let mut world = World::new();
    assert_eq!(world.due(), "-");
    world.apply(&connection(1, 10, -1, None));
    assert_eq!(world.due(), "NewGeneration");
    let job = world.begin(Cause::NewGeneration).unwrap();
    assert_eq!(job.connection.metadata.generation, Some(1));
    assert_eq!(world.due(), "-", "a pass that runs is enough");
    assert!(world.begin(Cause::NewGeneration).is_none());
    // The watch brings an edit of a label that was made before our write, and arrives after it.
    world.finish(connection(1, 12, 1, Some("7")));
    world.apply(&connection(1, 11, -1, None));
    assert_eq!(
        world.due(),
        "60s",
        "an older version must not undo what was written"
    );
    world.apply(&connection(1, 12, 1, Some("7")));
    assert_eq!(world.due(), "60s", "our own write is no cause");
    world.pass(Duration::from_mins(1));
    assert_eq!(world.due(), "Scheduled");
}

#[test]
fn a_restart_goes_on_as_planned() {
    let mut world = World::new();
    world.apply(&connection(1, 10, 1, Some("7")));
    assert_eq!(world.due(), "120s");
    // Then the list of Secrets arrives: the version that was judged is no news, another is.
    assert_eq!(world.see(Some("7")), [key("corp")]);
    assert_eq!(world.due(), "120s");
    world.see(Some("8"));
    assert_eq!(world.due(), "Changed(Credential)");
    world.see(None);
    assert_eq!(
        world.due(),
        "Changed(Credential)",
        "a Secret that is gone is news too"
    );
}

#[test]
fn what_a_pass_read_itself_is_no_news() {
    let mut world = World::new();
    world.apply(&connection(1, 10, 1, Some("7")));
    world.see(Some("8"));
    // The watch lags: the pass reads version 9 already.
    world.run(Cause::Changed(Role::Credential), connection(1, 11, 1, Some("9")));
    assert_eq!(world.due(), "60s", "version 8 was known when the pass began");
    world.see(Some("9"));
    assert_eq!(world.due(), "60s");
    world.see(Some("10"));
    assert_eq!(world.due(), "Changed(Credential)");
}

#[test]
fn a_key_that_changes_during_a_pass_leads_to_another() {
    let mut world = World::new();
    world.apply(&connection(1, 10, 1, Some("7")));
    world.see(Some("7"));
    world.begin(Cause::Scheduled).unwrap();
    world.see(Some("8"));
    world.finish(connection(1, 11, 1, Some("7")));
    assert_eq!(world.due(), "Changed(Credential)");
}

#[test]
fn a_pass_knows_how_late_it_is() {
    let mut world = World::new();
    world.apply(&connection(1, 10, 1, Some("7")));
    world.run(Cause::Changed(Role::Credential), connection(1, 11, 1, Some("8")));
    world.pass(Duration::from_secs(67));
    assert_eq!(
        world.begin(Cause::Scheduled).unwrap().late,
        Duration::from_secs(7),
        "the probe was due after a minute"
    );
    world.finish(connection(1, 12, 1, Some("8")));
    world.pass(Duration::from_secs(67));
    assert_eq!(
        world.begin(Cause::Requested).unwrap().late,
        Duration::ZERO,
        "who asks for a probe moves it"
    );
}

#[test]
fn only_what_is_referred_to_is_kept() {
    let mut world = World::new();
    assert!(
        world
            .registry
            .observe(&secret("other"), Seen::Present(object_version("1").into()))
            .is_empty()
    );
    assert!(world.registry.known_reference(&secret("other")).is_none());
    world.apply(&connection(1, 10, 1, Some("7")));
    assert!(world.registry.known_reference(&secret("key")).is_some());
    let mut moved = connection(2, 11, 1, Some("7"));
    moved.spec.as_mut().unwrap().api_key_secret_ref.name = "other".to_owned();
    world.apply(&moved);
    assert!(
        world.registry.known_reference(&secret("key")).is_none(),
        "the old reference is forgotten"
    );
    assert!(world.registry.known_reference(&secret("other")).is_some());
    world.registry.delete(&key("corp"));
    assert!(world.registry.known_reference(&secret("other")).is_none());
    assert!(world.registry.is_empty());
}

#[test]
fn a_list_that_lacks_an_object_says_that_it_is_gone() {
    let mut world = World::new();
    world.apply(&connection(1, 10, 1, Some("7")));
    world.see(Some("7"));
    let affected = |world: &mut World, kind, namespace| {
        world
            .registry
            .mark_unlisted_absent(kind, namespace, &HashSet::new())
    };
    assert!(affected(&mut world, ReferenceKind::ConfigMap, None).is_empty());
    assert!(affected(&mut world, ReferenceKind::Secret, Some("elsewhere")).is_empty());
    assert_eq!(world.due(), "120s");
    assert_eq!(
        affected(&mut world, ReferenceKind::Secret, Some("identity")),
        [key("corp")]
    );
    assert_eq!(world.due(), "Changed(Credential)");
    world.registry.retain(Some("elsewhere"), &HashSet::new());
    assert_eq!(world.registry.len(), 1);
    world.registry.retain(None, &HashSet::new());
    assert_eq!(world.due(), "-");
}

#[test]
fn another_object_of_the_same_name_starts_anew() {
    let mut world = World::new();
    world.apply(&connection(1, 10, 1, Some("7")));
    world.begin(Cause::Scheduled).unwrap();
    let mut successor = connection(1, 20, -1, None);
    successor.metadata.uid = Some("uid-2".to_owned());
    world.apply(&successor);
    assert_eq!(world.due(), "-", "the old pass still runs");
    // What the old pass found is about an object that is gone.
    world.finish(connection(1, 11, 1, Some("7")));
    assert_eq!(world.due(), "NewGeneration");
}

#[test]
fn an_overtaken_pass_waits_for_the_watch() {
    let mut world = World::new();
    world.apply(&connection(1, 10, -1, None));
    let job = world.begin(Cause::NewGeneration).unwrap();
    world
        .registry
        .finish(&key("corp"), Outcome::Superseded(job.connection), world.instant);
    assert_eq!(
        world.due(),
        "5s",
        "the object that is known is not the one that is there"
    );
    world.apply(&connection(2, 11, -1, None));
    assert_eq!(world.due(), "NewGeneration");
    // Where the watch was faster than the write, there is nothing to wait for.
    let job = world.begin(Cause::NewGeneration).unwrap();
    world.apply(&connection(3, 12, -1, None));
    world
        .registry
        .finish(&key("corp"), Outcome::Superseded(job.connection), world.instant);
    assert_eq!(world.due(), "NewGeneration");
}

#[test]
fn an_overtaken_pass_is_not_repeated_on_what_may_be_gone() {
    let mut world = World::new();
    world.apply(&connection(1, 10, -1, None));
    let mut doubts = Vec::new();
    for expected in ["5s", "10s", "20s", "40s", "80s", "120s", "120s"] {
        let job = world.begin(Cause::NewGeneration).unwrap();
        doubts.push(job.must_reread);
        world
            .registry
            .finish(&key("corp"), Outcome::Superseded(job.connection), world.instant);
        assert_eq!(world.due(), expected);
        world.apply(&connection(1, 11, -1, None));
        assert_eq!(world.due(), expected, "a label is not what it was superseded by");
        world.pass(Duration::from_mins(2));
    }
    assert_eq!(doubts, [false, true, true, true, true, true, true]);
    world.apply(&connection(2, 12, -1, None));
    let job = world.begin(Cause::NewGeneration).unwrap();
    assert!(!job.must_reread, "the watch has told");
}

#[test]
fn a_pass_that_outlives_its_object_is_waited_for() {
    let mut world = World::new();
    world.apply(&connection(1, 10, 1, Some("7")));
    world.begin(Cause::Scheduled).unwrap();
    world.registry.delete(&key("corp"));
    let mut successor = connection(1, 20, -1, None);
    successor.metadata.uid = Some("uid-2".to_owned());
    world.apply(&successor);
    assert_eq!(world.due(), "-", "one pass at a time under one name");
    world
        .registry
        .finish(&key("corp"), Outcome::Failed, world.instant);
    assert_eq!(
        world.due(),
        "NewGeneration",
        "the failure was not about this object"
    );
}

/// A connection of which a pass has come to a verdict about version 8 of the key that it could not write.
fn unwritten() -> (World, Connection) {
    let mut world = World::new();
    world.apply(&connection(1, 10, 1, Some("7")));
    world.see(Some("8"));
    let job = world.begin(Cause::Changed(Role::Credential)).unwrap();
    world.pass(Duration::from_secs(10));
    let mut judged = connection(1, 11, 1, Some("8"));
    judged.status.last_probe_time = Some(Time(world.now));
    let finished = Outcome::Unwritten {
        connection: job.connection,
        status: Box::new(judged.status.clone()),
        delay: Duration::from_mins(1),
    };
    world.registry.finish(&key("corp"), finished, world.instant);
    assert_eq!(world.due(), "1s");
    (world, judged)
}

#[test]
fn a_verdict_that_could_not_be_written_is_written_later() {
    let (mut world, judged) = unwritten();
    for expected in ["2s", "4s"] {
        world.pass(Duration::from_secs(5));
        assert_eq!(world.due(), "Unwritten", "the bridge has answered already");
        let job = world.begin(Cause::Unwritten).unwrap();
        assert_eq!(job.unwritten.as_deref(), Some(&judged.status));
        world
            .registry
            .finish(&key("corp"), Outcome::Failed, world.instant);
        assert_eq!(world.due(), expected);
    }
    world.pass(Duration::from_secs(5));
    world.begin(Cause::Unwritten).unwrap();
    world
        .registry
        .finish(&key("corp"), Outcome::Written(Arc::new(judged)), world.instant);
    assert_eq!(world.due(), "45s", "as planned by the probe");
}

#[test]
fn an_unwritten_verdict_meets_what_the_watch_tells() {
    let labelled = connection(1, 12, 1, Some("7"));
    let mut later = connection(1, 12, 1, Some("8"));
    later.status.last_probe_time = Some(Time(Timestamp::from_second(START + 11).unwrap()));
    let mut earlier = connection(1, 12, 1, Some("6"));
    earlier.status.last_probe_time = Some(Time(Timestamp::from_second(START + 9).unwrap()));
    for (what, heard, due) in [
        ("a label", labelled, "Unwritten"),
        ("an edit", connection(2, 12, 1, Some("7")), "NewGeneration"),
        ("what a predecessor has written", earlier, "Unwritten"),
        ("what a successor has written", later, "109s"),
    ] {
        let (mut world, _) = unwritten();
        world.pass(Duration::from_secs(1));
        world.apply(&heard);
        assert_eq!(world.due(), due, "{what}");
    }
    let (mut world, judged) = unwritten();
    world.pass(Duration::from_secs(1));
    world.apply(&judged);
    assert_eq!(world.due(), "59s", "only the answer was lost");
}

#[test]
fn a_watch_that_lags_behind_what_was_read_is_no_news() {
    let mut world = World::new();
    world.apply(&connection(1, 10, 1, Some("7")));
    world.run(Cause::Scheduled, connection(1, 11, 1, Some("9")));
    world.see(Some("8"));
    assert_eq!(world.due(), "60s", "8 is older than 9");
    world.see(Some("10"));
    assert_eq!(world.due(), "Changed(Credential)");
}

#[test]
fn a_cause_outlives_a_pass_that_could_not_read() {
    let mut world = World::new();
    world.apply(&connection(1, 10, 1, Some("7")));
    world.see(Some("8"));
    world.begin(Cause::Changed(Role::Credential)).unwrap();
    world
        .registry
        .finish(&key("corp"), Outcome::Failed, world.instant);
    assert_eq!(world.due(), "1s");
    world.pass(Duration::from_secs(1));
    assert_eq!(world.due(), "Changed(Credential)");
}

#[test]
fn failures_of_our_own_back_off() {
    let mut world = World::new();
    world.apply(&connection(1, 10, -1, None));
    for expected in ["1s", "2s", "4s", "8s", "16s", "32s", "64s", "120s", "120s"] {
        world.begin(Cause::NewGeneration).unwrap();
        world
            .registry
            .finish(&key("corp"), Outcome::Failed, world.instant);
        assert_eq!(world.due(), expected);
        world.pass(Duration::from_mins(2));
        assert_eq!(world.due(), "NewGeneration");
    }
}

/// Where others kept the bridge busy, nothing has failed: no delay grows, and what was seen of the references holds.
#[test]
fn a_postponed_probe_comes_soon_and_for_the_same_cause() {
    let mut world = World::new();
    world.apply(&connection(1, 10, 1, Some("7")));
    for _ in 0..5 {
        world.see(Some("8"));
        let job = world.begin(Cause::Changed(Role::Credential)).unwrap();
        assert_eq!(job.seen.credential, Some(object_version("8").into()));
        world
            .registry
            .finish(&key("corp"), Outcome::Postponed, world.instant);
        let wait: u64 = world.due().trim_end_matches('s').parse().unwrap();
        assert!((5..=10).contains(&wait), "{wait} s");
        world.pass(Duration::from_secs(10));
        assert_eq!(world.due(), "Changed(Credential)");
    }
    world.begin(Cause::Changed(Role::Credential)).unwrap();
    world
        .registry
        .finish(&key("corp"), Outcome::Postponed, world.instant);
    world.apply(&connection(2, 11, 1, Some("7")));
    assert_eq!(world.due(), "NewGeneration", "it may be another bridge now");
}

#[test]
fn dormant_connections_rest() {
    let mut world = World::new();
    let mut suspended = connection(2, 10, 1, Some("7"));
    suspended.spec.as_mut().unwrap().suspend = true;
    world.apply(&suspended);
    world.see(Some("8"));
    assert_eq!(world.due(), "never");
    let mut deleted = connection(2, 11, 1, Some("7"));
    deleted.metadata.deletion_timestamp = Some(Time(world.now));
    world.apply(&deleted);
    assert_eq!(world.due(), "never");
}

#[test]
fn a_request_is_handled_once() {
    let mut world = World::new();
    let asked = |version, handled: Option<&str>| {
        let mut connection = connection(1, version, 1, Some("7"));
        let request = [(REQUESTED_AT_ANNOTATION.to_owned(), "x".repeat(1000))];
        connection.metadata.annotations = Some(request.into());
        connection.status.last_handled_reconcile_at = handled.map(str::to_owned);
        connection
    };
    world.apply(&asked(10, None));
    assert_eq!(world.due(), "Requested");
    // A status holds 256 characters of it.
    world.run(Cause::Requested, asked(11, Some(&"x".repeat(256))));
    assert_eq!(world.due(), "60s");
}

#[test]
fn a_specification_that_does_not_decode_is_judged_once() {
    let mut world = World::new();
    let unreadable = |version: u32, judged: bool| {
        let mut connection = connection(1, version, 1, None);
        connection.spec = None;
        connection.status.observed_generation = if judged { 1 } else { -1 };
        connection
    };
    world.apply(&unreadable(10, false));
    assert_eq!(world.due(), "NewGeneration");
    world.run(Cause::NewGeneration, unreadable(11, true));
    // The watch reports this write, then a change of labels.
    world.apply(&unreadable(11, true));
    world.apply(&unreadable(12, true));
    assert_eq!(world.due(), "60s");
}
