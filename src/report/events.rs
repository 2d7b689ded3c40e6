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
    Api,
    api::{Patch, PatchParams, PostParams},
    core::Status,
};
use serde_json::json;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use crate::{
    api::{FIELD_MANAGER, vocabulary::EventType},
    clock::Clock,
    cluster::call::{ApiServer, Call, CallError},
    limiter::{Limit, RateLimiter},
    metrics::{EventOutcome, Metrics},
};

/// Events about one object: as many as a bad hour has, and then one a minute.
const LIMIT: Limit = Limit {
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

/// What happened to an object, for people.
#[derive(Clone, Debug)]
pub(crate) struct Occurrence {
    /// How it is meant.
    pub(crate) type_: EventType,
    /// What has happened, in one word.
    pub(crate) reason: &'static str,
    /// What the operator did when it found out.
    pub(crate) action: &'static str,
    /// One sentence: a template, as every message of a status is.
    pub(crate) note: String,
    /// Another object that it is about.
    pub(crate) related: Option<ObjectReference>,
}

/// Takes in events.
pub(crate) struct EventRecorder {
    queue: mpsc::Sender<Event>,
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    instance: String,
}

struct State {
    limiter: RateLimiter<Regarded>,
    /// Part of the last event's name. Never the same twice.
    number: i128,
}

/// An object, by kind and name: deleting it and creating it again brings no new allowance.
type Regarded = [Option<String>; 3];

/// The task that publishes.
pub(crate) struct PublisherTask(AbortOnDropHandle<()>);

/// Starts the task that publishes. It ends once the recorder is gone and everything is published. `instance` names this
/// process among its replicas.
pub(crate) fn record_events(
    server: ApiServer,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    instance: &str,
) -> (EventRecorder, PublisherTask) {
    let (recorder, queue) = EventRecorder::new(QUEUE, clock, Arc::clone(&metrics), instance);
    let publisher = EventPublisher {
        server,
        metrics,
        series: HashMap::new(),
        fails: false,
    };
    let task = PublisherTask(AbortOnDropHandle::new(tokio::spawn(publisher.run(queue))));
    (recorder, task)
}

// === impl EventRecorder ===

impl EventRecorder {
    /// A recorder, and the queue that holds so many events.
    pub(crate) fn new(
        capacity: usize,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        instance: &str,
    ) -> (Self, mpsc::Receiver<Event>) {
        let (queue, receiver) = mpsc::channel(capacity);
        let recorder = Self {
            queue,
            state: Mutex::new(State {
                limiter: RateLimiter::new(LIMIT),
                number: 0,
            }),
            clock,
            metrics,
            instance: instance.chars().take(INSTANCE).collect(),
        };
        (recorder, receiver)
    }

    /// Records what happened to an object. Never waits: an event too many is counted and dropped.
    pub(crate) fn record(&self, regarding: &ObjectReference, occurrence: Occurrence) {
        let sent = self.admit(regarding).and_then(|number| {
            let event = self.event(regarding, occurrence, number);
            self.queue.try_send(event).ok()
        });
        if sent.is_none() {
            self.metrics.event(EventOutcome::Dropped);
        }
    }

    /// Forgets objects without an event for long.
    pub(crate) fn forget(&self, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.limiter.forget(now);
    }

    /// A number for an event, unless the object has had too many.
    fn admit(&self, regarding: &ObjectReference) -> Option<i128> {
        let ObjectReference {
            kind,
            namespace,
            name,
            ..
        } = regarding;
        let regarded = [kind, namespace, name].map(Clone::clone);
        let now = self.clock.now().as_nanosecond();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.limiter.admit(&regarded, Instant::now()).ok()?;
        state.number = now.max(state.number + 1);
        Some(state.number)
    }

    fn event(&self, regarding: &ObjectReference, occurrence: Occurrence, number: i128) -> Event {
        let Occurrence {
            type_,
            reason,
            action,
            note,
            related,
        } = occurrence;
        let name = regarding.name.as_deref().unwrap_or_default();
        Event {
            metadata: ObjectMeta {
                name: Some(event_name(name, number)),
                namespace: regarding.namespace.clone(),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(self.clock.now())),
            type_: Some(type_.as_str().to_owned()),
            reason: Some(reason.to_owned()),
            action: Some(action.to_owned()),
            note: Some(note),
            regarding: Some(regarding.clone()),
            related,
            reporting_controller: Some(FIELD_MANAGER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        }
    }
}

/// As client-go names events: after the object, and by time.
fn event_name(object: &str, number: i128) -> String {
    let suffix = format!(".{number:x}");
    let mut name: String = object.chars().take(NAME - suffix.len()).collect();
    // What is cut off must not leave a name that the API refuses.
    name.truncate(name.trim_end_matches(['-', '.']).len());
    name + &suffix
}

// === impl PublisherTask ===

impl PublisherTask {
    /// Lets what waits go out, for a moment. The recorder must be gone.
    pub(crate) async fn drain(self) {
        if timeout(DRAIN, self.0).await.is_err() {
            debug!("events that were not published in time are dropped");
        }
    }
}

/// Publishes events.
struct EventPublisher {
    server: ApiServer,
    metrics: Arc<Metrics>,
    /// By the digest of what makes two events one: the texts would take more memory than the events are worth. Its seed
    /// is the map's own, so that nobody can aim at another's series.
    series: HashMap<u64, EventSeries>,
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
struct EventSeries {
    name: String,
    count: i32,
    last: Instant,
}

// === impl EventPublisher ===

impl EventPublisher {
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
    async fn publish(&mut self, event: Event) -> Result<Option<()>, CallError> {
        let now = Instant::now();
        self.series
            .retain(|_, series| now.duration_since(series.last) < SERIES_GAP);
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let api = Api::<Event>::namespaced(self.server.client().clone(), &namespace);
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
    ) -> Result<Option<()>, CallError> {
        let request = async {
            match request.await {
                Ok(_) => Ok(Some(())),
                // Nobody will look there any more, and no right is missing.
                Err(kube::Error::Api(status)) if is_of_ending_namespace(&status) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let answered = self
            .server
            .call_within(BUDGET, Call::PublishEvent, request)
            .await?;
        Ok(answered.flatten())
    }

    fn remember(&mut self, identity: u64, name: String, now: Instant) {
        if self.series.len() >= SERIES {
            let oldest = self.series.iter().min_by_key(|(_, series)| series.last);
            if let Some(oldest) = oldest.map(|(identity, _)| *identity) {
                self.series.remove(&oldest);
            }
        }
        let series = EventSeries {
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
    use kube::{Client, client::Body};
    use serde_json::Value;
    use tower::Service;

    use super::*;
    use crate::{clock::SystemClock, leadership::Leadership};

    fn object(name: &str) -> ObjectReference {
        ObjectReference {
            kind: Some("ScimBridgeConnection".to_owned()),
            namespace: Some("a".to_owned()),
            name: Some(name.to_owned()),
            uid: Some("9f0c".to_owned()),
            ..ObjectReference::default()
        }
    }

    fn recorder(capacity: usize) -> (EventRecorder, mpsc::Receiver<Event>) {
        EventRecorder::new(capacity, Arc::new(SystemClock), Arc::default(), "one")
    }

    /// Records that an object works, and that it does not, in turn.
    fn flap(recorder: &EventRecorder, name: &str, times: usize) {
        for time in 0..times {
            let (type_, reason) = if time % 2 == 0 {
                (EventType::Normal, "Connected")
            } else {
                (EventType::Warning, "AuthFailed")
            };
            let occurrence = Occurrence {
                type_,
                reason,
                action: "Probe",
                note: format!("It is {reason}."),
                related: None,
            };
            recorder.record(&object(name), occurrence);
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
        let (recorder, queue) = recorder(100);
        flap(&recorder, "busy", 50);
        flap(&recorder, "other", 2);
        assert_eq!(counted(&recorder.metrics, "dropped"), "40");
        let events = drained(queue);
        let mut names: Vec<_> = events.iter().map(|event| event.metadata.name.clone()).collect();
        assert_eq!(names.len(), 12);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 12, "each has a name of its own");
    }

    #[test]
    fn a_full_queue_holds_up_nobody() {
        let (recorder, queue) = recorder(3);
        for number in 0..20 {
            flap(&recorder, &format!("corp-{number}"), 1);
        }
        assert_eq!(counted(&recorder.metrics, "dropped"), "17");
        assert_eq!(drained(queue).len(), 3);
        // Nor does one that nobody reads any more.
        flap(&recorder, "late", 1);
        assert_eq!(counted(&recorder.metrics, "dropped"), "18");
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
        fn publisher(&self, leadership: Leadership) -> EventPublisher {
            let (client, metrics) = (Client::new(self.clone(), "a"), Arc::<Metrics>::default());
            EventPublisher {
                server: ApiServer::new(client, leadership, Arc::clone(&metrics)),
                metrics,
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
        let (recorder, queue) = recorder(times);
        flap(&recorder, "corp", times);
        drained(queue)
    }

    #[tokio::test]
    async fn what_repeats_becomes_a_series() {
        let server = Server::default();
        let mut publisher = server.publisher(Leadership::unlimited());
        for event in events(5) {
            assert_eq!(publisher.publish(event).await, Ok(Some(())));
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
        assert_eq!(publisher.publish(other).await, Ok(Some(())));
        assert_eq!(server.asked(), ["POST Connected"]);
        // One that is gone is made anew.
        server.answer(404, &json!([]));
        assert_eq!(publisher.publish(events(1).remove(0)).await, Ok(Some(())));
        assert_eq!(server.asked(), ["PATCH 4", "POST Connected"]);
        // One that was long ago is not looked for.
        for series in publisher.series.values_mut() {
            series.last = Instant::now().checked_sub(SERIES_GAP).unwrap();
        }
        assert_eq!(publisher.publish(events(1).remove(0)).await, Ok(Some(())));
        assert_eq!(server.asked(), ["POST Connected"]);
    }

    #[tokio::test]
    async fn series_are_bounded() {
        let server = Server::default();
        let mut publisher = server.publisher(Leadership::unlimited());
        let (first, template) = (events(1).remove(0), events(1).remove(0));
        for number in 0..=SERIES {
            let note = Some(number.to_string());
            let event = Event {
                note,
                ..template.clone()
            };
            publisher.publish(event).await.unwrap();
        }
        assert_eq!(publisher.series.len(), SERIES);
        server.asked();
        let oldest = Event {
            note: Some("0".to_owned()),
            ..first.clone()
        };
        let newest = Event {
            note: Some(SERIES.to_string()),
            ..first
        };
        publisher.publish(oldest).await.unwrap();
        publisher.publish(newest).await.unwrap();
        assert_eq!(
            server.asked(),
            ["POST Connected", "PATCH 2"],
            "the oldest is forgotten"
        );
    }

    #[tokio::test]
    async fn a_refusal_is_an_error_and_an_ending_namespace_is_none() {
        let server = Server::default();
        let mut publisher = server.publisher(Leadership::unlimited());
        server.answer(403, &json!([]));
        let refused = publisher
            .publish(events(1).remove(0))
            .await
            .map_err(|error| error.to_string());
        let expected = "cannot publish an event: the ServiceAccount lacks the permission (403)";
        assert_eq!(refused, Err(expected.to_owned()));
        server.answer(403, &json!([{"reason": "NamespaceTerminating"}]));
        assert_eq!(publisher.publish(events(1).remove(0)).await, Ok(None));
        server.answer(404, &json!([]));
        assert_eq!(publisher.publish(events(1).remove(0)).await, Ok(None));
        assert_eq!(publisher.series.len(), 0, "what was not made is not repeated");
    }

    #[tokio::test]
    async fn who_does_not_lead_publishes_nothing() {
        let server = Server::default();
        let leadership = Leadership::limited(Duration::from_secs(10));
        leadership.renew(Instant::now());
        let mut publisher = server.publisher(leadership.clone());
        let (sender, queue) = mpsc::channel(2);
        let metrics = Arc::clone(&publisher.metrics);
        let mut events = events(2).into_iter();
        publisher.publish(events.next().unwrap()).await.unwrap();
        leadership.end();
        sender.send(events.next().unwrap()).await.unwrap();
        drop(sender);
        publisher.run(queue).await;
        assert_eq!(server.asked(), ["POST Connected"]);
        assert_eq!(counted(&metrics, "failed"), "1");
    }
}
