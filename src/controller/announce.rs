//! Announce: events for people, beside the passes.
//!
//! A pass hands over what its write has changed and goes on. What becomes of it is no business of the pass: one task
//! publishes, one event after the other, and what it cannot publish is counted and gone. Events are a best effort
//! (<https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>); the truth is in the status. So
//! nothing is tried again, and a verdict whose write has arrived unheard goes unannounced.
//!
//! An event that repeats one of the last minutes makes a series of it, as client-go does. kube's own recorder is not
//! used: it takes events that differ in nothing but their note for the same.

use std::{
    collections::HashMap,
    future::Future,
    hash::BuildHasher as _,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client, Resource as _,
    api::{Patch, PatchParams, PostParams},
    core::Status,
};
use serde_json::json;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::{
    api::call_within,
    context::Context,
    error::{Call, ControllerError},
    registry::{Connection, Key},
    restraint::{Measure, Restraint},
};
use crate::{
    api::{
        FIELD_MANAGER,
        v1alpha1::{CaKind, ObjectVersion, ScimBridgeConnection, ScimBridgeConnectionStatus},
    },
    clock::Clock,
    domain::{
        announce::{Announcement, Subject, announcements},
        status::version,
    },
    metrics::{EventOutcome, Metrics},
    tenure::Tenure,
};

/// Events of one connection: as many as a bad hour has, and then one a minute.
const MEASURE: Measure = Measure {
    burst: 10,
    pace: Duration::from_mins(1),
};
/// Events that wait. With all connections failing at once there are more than the API server should be given.
const QUEUE: usize = 1_000;
/// One request. Nobody waits for it but the events behind it.
const BUDGET: Duration = Duration::from_secs(5);
/// What may still be published at the end. The Lease is released after that.
const DRAIN: Duration = Duration::from_secs(1);
/// An event is part of a series if the one before is not older: client-go's default.
const SERIES_GAP: Duration = Duration::from_mins(6);
/// Series that are remembered.
const SERIES: usize = 1_000;
/// The longest name of an object.
const NAME: usize = 253;
/// The longest `reportingInstance`.
const INSTANCE: usize = 128;

/// Takes in what is to be announced.
pub(super) struct Announcer {
    queue: mpsc::Sender<Event>,
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    instance: String,
}

struct State {
    restraint: Restraint,
    /// Part of the last event's name. Never the same twice.
    number: i128,
}

/// The task that publishes.
pub(super) struct Publisher(AbortOnDropHandle<()>);

/// Makes both ends. The publisher ends once the announcer is gone and everything is published.
pub(super) fn announcer(context: &Context) -> (Announcer, Publisher) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let Context {
        client,
        tenure,
        clock,
        metrics,
        settings,
        ..
    } = context;
    let announcer = Announcer {
        queue: sender,
        state: Mutex::new(State {
            restraint: Restraint::new(MEASURE),
            number: 0,
        }),
        clock: Arc::clone(clock),
        metrics: Arc::clone(metrics),
        instance: settings.instance.chars().take(INSTANCE).collect(),
    };
    let press = Press {
        client: client.clone(),
        tenure: tenure.clone(),
        metrics: Arc::clone(metrics),
        series: HashMap::new(),
        fails: false,
    };
    let publisher = Publisher(AbortOnDropHandle::new(tokio::spawn(press.run(queue))));
    (announcer, publisher)
}

// === impl Announcer ===

impl Announcer {
    /// Announces what has changed with a status that was written. Never waits.
    pub(super) fn announce(&self, key: &Key, before: &ScimBridgeConnectionStatus, written: &Connection) {
        if written.spec.is_none() && before.conditions.is_empty() {
            // The object does not decode, nor does the status that stood there: nobody knows what was told already.
            return;
        }
        for announcement in announcements(before, &written.status) {
            let admitted = self.admit(key);
            let sent = admitted.and_then(|number| {
                let event = self.event(key, written, announcement, number);
                self.queue.try_send(event).ok()
            });
            if sent.is_none() {
                self.metrics.event(EventOutcome::Dropped);
            }
        }
    }

    /// Forgets whoever was quiet for long.
    pub(super) fn forget(&self, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.restraint.forget(now);
    }

    /// A number for an event, unless the connection has had too many.
    fn admit(&self, key: &Key) -> Option<i128> {
        let now = self.clock.now().as_nanosecond();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.restraint.admit(key, Instant::now()).ok()?;
        state.number = now.max(state.number + 1);
        Some(state.number)
    }

    fn event(&self, key: &Key, written: &Connection, announcement: Announcement, number: i128) -> Event {
        let Announcement {
            tone,
            news,
            action,
            note,
            subject,
        } = announcement;
        Event {
            metadata: ObjectMeta {
                name: Some(event_name(&key.name, number)),
                namespace: Some(key.namespace.to_string()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(self.clock.now())),
            type_: Some(tone.as_str().to_owned()),
            reason: Some(news.as_str().to_owned()),
            action: Some(action.as_str().to_owned()),
            note: Some(note),
            regarding: Some(ObjectReference {
                api_version: Some(ScimBridgeConnection::api_version(&()).into_owned()),
                kind: Some(ScimBridgeConnection::kind(&()).into_owned()),
                namespace: Some(key.namespace.to_string()),
                name: Some(key.name.to_string()),
                uid: written.metadata.uid.clone(),
                resource_version: written.metadata.resource_version.clone(),
                field_path: None,
            }),
            related: subject.and_then(|subject| related(key, written, subject)),
            reporting_controller: Some(FIELD_MANAGER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        }
    }
}

/// As client-go names events: after the object, and by time.
fn event_name(connection: &str, number: i128) -> String {
    let suffix = format!(".{number:x}");
    let mut name: String = connection.chars().take(NAME - suffix.len()).collect();
    // What is cut off must not leave a name that the API refuses.
    name.truncate(name.trim_end_matches(['-', '.']).len());
    name + &suffix
}

/// The object that the specification names, in the version that was judged.
fn related(key: &Key, written: &Connection, subject: Subject) -> Option<ObjectReference> {
    let (spec, status) = (written.spec.as_ref()?, &written.status);
    let secret = "Secret";
    let (kind, name, judged) = match subject {
        Subject::ApiKeySecret => {
            let judged = version(status.credential.as_ref());
            (secret, &spec.api_key_secret_ref.name, judged)
        }
        Subject::NextApiKeySecret => {
            let judged = version(status.next_credential.as_ref());
            (secret, &spec.next_api_key_secret_ref.as_ref()?.name, judged)
        }
        Subject::CaObject => {
            let ca = spec.tls.as_ref()?.ca_ref.as_ref()?;
            let kind = match ca.kind {
                CaKind::Secret => secret,
                CaKind::ConfigMap => "ConfigMap",
            };
            (kind, &ca.name, status.ca.clone())
        }
    };
    let (uid, resource_version) = judged
        .map(
            |ObjectVersion {
                 uid,
                 resource_version,
             }| (uid, resource_version),
        )
        .unzip();
    Some(ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some(kind.to_owned()),
        namespace: Some(key.namespace.to_string()),
        name: Some(name.clone()),
        uid,
        resource_version,
        field_path: None,
    })
}

// === impl Publisher ===

impl Publisher {
    /// Lets what waits go out, for a moment. The announcer must be gone.
    pub(super) async fn drain(self) {
        if timeout(DRAIN, self.0).await.is_err() {
            debug!("events that were not published in time are dropped");
        }
    }
}

/// What publishes.
struct Press {
    client: Client,
    tenure: Tenure,
    metrics: Arc<Metrics>,
    /// By the digest of what makes two events one: the texts would take more memory than the events are worth. Its seed
    /// is the map's own, so that nobody can aim at another's series.
    series: HashMap<u64, Series>,
    /// Whether the last request failed.
    fails: bool,
}

/// What makes two events one: everything but the time, and the versions of objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    regarding: Option<String>,
    related: Option<[Option<String>; 2]>,
    words: [Option<String>; 4],
}

/// Events that are one object.
struct Series {
    name: String,
    count: i32,
    last: Instant,
}

// === impl Press ===

impl Press {
    async fn run(mut self, mut queue: mpsc::Receiver<Event>) {
        while let Some(event) = queue.recv().await {
            let published = self.publish(event).await;
            let fails = published.is_err();
            self.metrics.event(match published {
                Ok(Some(())) => EventOutcome::Sent,
                Ok(None) | Err(_) => EventOutcome::Failed,
            });
            // One line where it begins, whatever the number of events.
            if let (Err(error), false) = (published, self.fails) {
                warn!(%error, "events cannot be published; everything else goes on");
            }
            self.fails = fails;
        }
    }

    /// Sends an event, or makes it part of a series. `None` where there is no namespace for it.
    async fn publish(&mut self, event: Event) -> Result<Option<()>, ControllerError> {
        let now = Instant::now();
        self.series
            .retain(|_, series| now.duration_since(series.last) < SERIES_GAP);
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let api = Api::<Event>::namespaced(self.client.clone(), &namespace);
        let identity = self.series.hasher().hash_one(Identity::of(&event));
        if let Some(series) = self.series.get_mut(&identity) {
            series.count = series.count.saturating_add(1);
            let name = series.name.clone();
            let next = json!({"count": series.count, "lastObservedTime": event.event_time});
            let patch = Patch::Merge(json!({ "series": next }));
            let parameters = PatchParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PatchParams::default()
            };
            let patched = self.request(api.patch(&name, &parameters, &patch)).await?;
            if let (Some(()), Some(series)) = (patched, self.series.get_mut(&identity)) {
                series.last = now;
                return Ok(Some(()));
            }
            // It was deleted, or is too old.
            self.series.remove(&identity);
        }
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        if self.request(api.create(&parameters, &event)).await?.is_none() {
            return Ok(None);
        }
        self.remember(identity, event.metadata.name.unwrap_or_default(), now);
        Ok(Some(()))
    }

    async fn request(
        &self,
        request: impl Future<Output = Result<Event, kube::Error>>,
    ) -> Result<Option<()>, ControllerError> {
        let request = async {
            match request.await {
                Ok(_) => Ok(Some(())),
                // Nobody will look there any more, and no right is missing.
                Err(kube::Error::Api(status)) if is_of_ending_namespace(&status) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let answered =
            call_within(BUDGET, (&self.tenure, &self.metrics), Call::PublishEvent, request).await?;
        Ok(answered.flatten())
    }

    fn remember(&mut self, identity: u64, name: String, now: Instant) {
        if self.series.len() >= SERIES {
            let oldest = self.series.iter().min_by_key(|(_, series)| series.last);
            if let Some(oldest) = oldest.map(|(identity, _)| *identity) {
                self.series.remove(&oldest);
            }
        }
        let series = Series {
            name,
            count: 1,
            last: now,
        };
        self.series.insert(identity, series);
    }
}

/// Whether the API server takes no new objects there because the namespace is being deleted: a 403 as well.
fn is_of_ending_namespace(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes
        .into_iter()
        .any(|cause| cause.reason == "NamespaceTerminating")
}

// === impl Identity ===

impl Identity {
    fn of(event: &Event) -> Self {
        let Event {
            regarding,
            related,
            type_,
            reason,
            action,
            note,
            ..
        } = event;
        Self {
            regarding: regarding.as_ref().and_then(|object| object.uid.clone()),
            related: related.clone().map(|object| [object.kind, object.name]),
            words: [type_, reason, action, note].map(Clone::clone),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        convert::Infallible,
        task::{self, Poll},
    };

    use futures::future::BoxFuture;
    use http::{Request, Response};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
    use kube::client::Body;
    use serde_json::Value;
    use tower::Service;

    use super::*;
    use crate::clock::SystemClock;

    fn key(name: &str) -> Key {
        Key::new("a", name)
    }

    /// A status that says no more than this of `Ready`.
    fn status(ready: &str, reason: &str) -> ScimBridgeConnectionStatus {
        ScimBridgeConnectionStatus {
            conditions: vec![Condition {
                type_: "Ready".to_owned(),
                status: ready.to_owned(),
                reason: reason.to_owned(),
                message: format!("It is {reason}."),
                last_transition_time: Time(SystemClock.now()),
                observed_generation: None,
            }],
            ..ScimBridgeConnectionStatus::default()
        }
    }

    /// A connection that is or is not connected.
    fn connection(connected: bool) -> Connection {
        let spec = json!({"url": "https://scim.example.com", "apiKeySecretRef": {"name": "key"}});
        Connection {
            metadata: ObjectMeta {
                uid: Some("9f0c".to_owned()),
                resource_version: Some("7".to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(serde_json::from_value(spec).unwrap()),
            status: if connected {
                status("True", "Connected")
            } else {
                status("False", "AuthFailed")
            },
        }
    }

    fn bounded(capacity: usize) -> (Announcer, mpsc::Receiver<Event>) {
        let (queue, receiver) = mpsc::channel(capacity);
        let announcer = Announcer {
            queue,
            state: Mutex::new(State {
                restraint: Restraint::new(MEASURE),
                number: 0,
            }),
            clock: Arc::new(SystemClock),
            metrics: Arc::default(),
            instance: "one".to_owned(),
        };
        (announcer, receiver)
    }

    fn flap(announcer: &Announcer, name: &str, times: usize) {
        for time in 0..times {
            let (before, after) = (connection(time % 2 == 1), connection(time % 2 == 0));
            announcer.announce(&key(name), &before.status, &after);
        }
    }

    fn counted(metrics: &Metrics, outcome: &str) -> String {
        let line = format!("events_total{{outcome=\"{outcome}\"}} ");
        let mut text = String::new();
        metrics.encode(&mut text).unwrap();
        let count = text.lines().find_map(|text| text.split_once(&line));
        count.map_or("0", |(_, count)| count).to_owned()
    }

    fn drained(mut queue: mpsc::Receiver<Event>) -> Vec<Event> {
        std::iter::from_fn(|| queue.try_recv().ok()).collect()
    }

    #[test]
    fn one_connection_is_bounded_and_the_others_are_not() {
        let (announcer, queue) = bounded(100);
        flap(&announcer, "busy", 50);
        flap(&announcer, "other", 2);
        assert_eq!(counted(&announcer.metrics, "dropped"), "40");
        let events = drained(queue);
        let mut names: Vec<_> = events.iter().map(|event| event.metadata.name.clone()).collect();
        assert_eq!(names.len(), 12);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 12, "each has a name of its own");
    }

    #[test]
    fn a_full_queue_holds_up_nobody() {
        let (announcer, queue) = bounded(3);
        for number in 0..20 {
            flap(&announcer, &format!("corp-{number}"), 1);
        }
        assert_eq!(counted(&announcer.metrics, "dropped"), "17");
        assert_eq!(drained(queue).len(), 3);
        // Nor does one that nobody reads any more.
        flap(&announcer, "late", 1);
        assert_eq!(counted(&announcer.metrics, "dropped"), "18");
    }

    #[test]
    fn what_was_told_of_an_object_that_does_not_decode_is_not_known() {
        let (announcer, queue) = bounded(3);
        let written = Connection {
            spec: None,
            ..connection(false)
        };
        announcer.announce(&key("corp"), &ScimBridgeConnectionStatus::default(), &written);
        announcer.announce(&key("corp"), &connection(true).status, &written);
        assert_eq!(drained(queue).len(), 1, "only where the status before is known");
    }

    #[test]
    fn names_are_names() {
        let long = "a".repeat(NAME);
        for (connection, expected) in [
            ("corp", "corp.ff".to_owned()),
            (&long, format!("{}.ff", "a".repeat(NAME - 3))),
            (
                &format!("{}.{long}", "a".repeat(NAME - 4)),
                format!("{}.ff", "a".repeat(NAME - 4)),
            ),
        ] {
            assert_eq!(event_name(connection, 255), expected);
        }
    }

    /// An API server that answers as it is told, and writes down what it is asked.
    #[derive(Clone, Default)]
    struct Server {
        /// Method and body of each request.
        asked: Arc<Mutex<Vec<(String, Value)>>>,
        /// Answers, in this order; after that all goes well.
        answers: Arc<Mutex<VecDeque<(u16, Value)>>>,
    }

    impl Service<Request<Body>> for Server {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            let server = self.clone();
            Box::pin(async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&body).unwrap();
                server
                    .asked
                    .lock()
                    .unwrap()
                    .push((parts.method.to_string(), body));
                let answer = server.answers.lock().unwrap().pop_front();
                let (code, answer) = answer.unwrap_or_else(|| (200, json!({"metadata": {}})));
                let body = Body::from(answer.to_string().into_bytes());
                Ok(Response::builder().status(code).body(body).unwrap())
            })
        }
    }

    impl Server {
        fn press(&self, tenure: Tenure) -> Press {
            Press {
                client: Client::new(self.clone(), "a"),
                tenure,
                metrics: Arc::default(),
                series: HashMap::new(),
                fails: false,
            }
        }

        fn answer(&self, code: u16, causes: &Value) {
            let answer = json!({"kind": "Status", "status": "Failure", "code": code, "reason": "x",
                "details": {"causes": causes}});
            self.answers.lock().unwrap().push_back((code, answer));
        }

        /// `POST AuthFailed`, `PATCH 2`: what was asked since the last look.
        fn asked(&self) -> Vec<String> {
            let asked = std::mem::take(&mut *self.asked.lock().unwrap());
            let words = asked.into_iter().map(|(method, body)| {
                let word = body.get("reason").or_else(|| body.pointer("/series/count"));
                format!("{method} {}", word.unwrap()).replace('"', "")
            });
            words.collect()
        }
    }

    /// Events of a connection that flaps.
    fn events(times: usize) -> Vec<Event> {
        let (announcer, queue) = bounded(times);
        flap(&announcer, "corp", times);
        drained(queue)
    }

    #[tokio::test]
    async fn what_repeats_becomes_a_series() {
        let server = Server::default();
        let mut press = server.press(Tenure::unlimited());
        for event in events(5) {
            assert_eq!(press.publish(event).await, Ok(Some(())));
        }
        assert_eq!(
            server.asked(),
            [
                "POST Connected",
                "POST AuthFailed",
                "PATCH 2",
                "PATCH 2",
                "PATCH 3"
            ]
        );
        // Another note is another event, though everything else is the same.
        let mut other = events(1).remove(0);
        other.note = Some("It is connected again.".to_owned());
        assert_eq!(press.publish(other).await, Ok(Some(())));
        assert_eq!(server.asked(), ["POST Connected"]);
        // One that is gone is made anew.
        server.answer(404, &json!([]));
        assert_eq!(press.publish(events(1).remove(0)).await, Ok(Some(())));
        assert_eq!(server.asked(), ["PATCH 4", "POST Connected"]);
        // One that was long ago is not looked for.
        for series in press.series.values_mut() {
            series.last = Instant::now().checked_sub(SERIES_GAP).unwrap();
        }
        assert_eq!(press.publish(events(1).remove(0)).await, Ok(Some(())));
        assert_eq!(server.asked(), ["POST Connected"]);
    }

    #[tokio::test]
    async fn series_are_bounded() {
        let server = Server::default();
        let mut press = server.press(Tenure::unlimited());
        let (first, template) = (events(1).remove(0), events(1).remove(0));
        for number in 0..=SERIES {
            let note = Some(number.to_string());
            let event = Event {
                note,
                ..template.clone()
            };
            press.publish(event).await.unwrap();
        }
        assert_eq!(press.series.len(), SERIES);
        server.asked();
        let oldest = Event {
            note: Some("0".to_owned()),
            ..first.clone()
        };
        let newest = Event {
            note: Some(SERIES.to_string()),
            ..first
        };
        press.publish(oldest).await.unwrap();
        press.publish(newest).await.unwrap();
        assert_eq!(
            server.asked(),
            ["POST Connected", "PATCH 2"],
            "the oldest is forgotten"
        );
    }

    #[tokio::test]
    async fn a_refusal_is_an_error_and_an_ending_namespace_is_none() {
        let server = Server::default();
        let mut press = server.press(Tenure::unlimited());
        server.answer(403, &json!([]));
        let refused = press
            .publish(events(1).remove(0))
            .await
            .map_err(|error| error.to_string());
        let expected = "cannot publish an event: the ServiceAccount lacks the permission (403)";
        assert_eq!(refused, Err(expected.to_owned()));
        server.answer(403, &json!([{"reason": "NamespaceTerminating"}]));
        assert_eq!(press.publish(events(1).remove(0)).await, Ok(None));
        server.answer(404, &json!([]));
        assert_eq!(press.publish(events(1).remove(0)).await, Ok(None));
        assert_eq!(press.series.len(), 0, "what was not made is not repeated");
    }

    #[tokio::test]
    async fn who_does_not_lead_publishes_nothing() {
        let server = Server::default();
        let tenure = Tenure::limited(Duration::from_secs(10));
        tenure.renew(Instant::now());
        let mut press = server.press(tenure.clone());
        let (sender, queue) = mpsc::channel(2);
        let metrics = Arc::clone(&press.metrics);
        let mut events = events(2).into_iter();
        press.publish(events.next().unwrap()).await.unwrap();
        tenure.end();
        sender.send(events.next().unwrap()).await.unwrap();
        drop(sender);
        press.run(queue).await;
        assert_eq!(server.asked(), ["POST Connected"]);
        assert_eq!(counted(&metrics, "failed"), "1");
    }
}
