//! Records Kubernetes events for people, without delaying a reconcile.
//!
//! A reconcile queues its events and goes on. One task publishes them, one after another; it counts and drops the ones
//! that it cannot publish. It never retries: events are best effort
//! (<https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>), and the status has the facts.
//! If the API server wrote a status but its answer was lost, that change has no event.
//!
//! An event that repeats one of the last minutes extends its series, as in client-go. kube's own recorder is not used:
//! it treats events that differ only in their note as the same event.

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

/// Limit for events about one object: enough for a bad hour at once, then one a minute.
const LIMIT: Limit = Limit {
    burst: 10,
    pace: Duration::from_mins(1),
};
/// Length of the queue. When all connections fail at once, there are more events than the API server should get.
const QUEUE: usize = 1_000;
/// Time for one request. Only the events behind it wait for it.
const BUDGET: Duration = Duration::from_secs(5);
/// Time to publish the rest of the queue before the process releases the Lease.
const DRAIN: Duration = Duration::from_secs(1);
/// A series ends after this time without an event: client-go's default.
const SERIES_GAP: Duration = Duration::from_mins(6);
/// How many series are remembered.
const MAX_SERIES: usize = 1_000;
/// The longest name of an object, in bytes.
const MAX_NAME: usize = 253;
/// The longest `reportingInstance`, in characters.
const MAX_INSTANCE: usize = 128;

/// Something that happened to an object.
#[derive(Clone, Debug)]
pub(crate) struct Occurrence {
    /// `Normal` or `Warning`.
    pub(crate) type_: EventType,
    /// What happened, in one word.
    pub(crate) reason: &'static str,
    /// What the operator was doing.
    pub(crate) action: &'static str,
    /// What happened, in one sentence. It comes from a template, as all messages of a status do.
    pub(crate) note: String,
    /// A second object that it concerns.
    pub(crate) related: Option<ObjectReference>,
}

/// Queues events for the publisher task.
pub(crate) struct EventRecorder {
    queue: mpsc::Sender<Event>,
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    instance: String,
}

struct State {
    limiter: RateLimiter<ObjectName>,
    /// Part of the last event's name: unique and increasing.
    number: i128,
}

/// Kind, namespace and name. Not the UID: deleting an object and creating it again must not reset its limit.
type ObjectName = [Option<String>; 3];

/// The running publisher task.
pub(crate) struct PublisherTask(AbortOnDropHandle<()>);

/// Starts the publisher task. It ends when the recorder is dropped and the queue is empty. `instance` is the name of
/// this replica.
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
        is_failing: false,
    };
    let task = PublisherTask(AbortOnDropHandle::new(tokio::spawn(publisher.run(queue))));
    (recorder, task)
}

// === impl EventRecorder ===

impl EventRecorder {
    /// A recorder, and the receiving end of its queue.
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
            instance: instance.chars().take(MAX_INSTANCE).collect(),
        };
        (recorder, receiver)
    }

    /// Records what happened to an object. Never waits: it counts and drops an event that exceeds the limit or the
    /// queue.
    pub(crate) fn record(&self, regarding: &ObjectReference, occurrence: Occurrence) {
        let queued = self.admit(regarding).and_then(|number| {
            let event = self.event(regarding, occurrence, number);
            self.queue.try_send(event).ok()
        });
        if queued.is_none() {
            self.metrics.event(EventOutcome::Dropped);
        }
    }

    /// Forgets objects that have had no event for a while.
    pub(crate) fn forget(&self, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.limiter.forget(now);
    }

    /// A number for the next event, or `None` if the object has had too many events.
    fn admit(&self, regarding: &ObjectReference) -> Option<i128> {
        let ObjectReference {
            kind,
            namespace,
            name,
            ..
        } = regarding;
        let object = [kind, namespace, name].map(Clone::clone);
        let now = self.clock.now().as_nanosecond();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.limiter.admit(&object, Instant::now()).ok()?;
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

/// The name of an event in client-go's form: the object's name, then a number made from the time.
fn event_name(object: &str, number: i128) -> String {
    let suffix = format!(".{number:x}");
    let mut name: String = object.chars().take(MAX_NAME - suffix.len()).collect();
    // The API refuses a name with `-.` or `..` in it.
    name.truncate(name.trim_end_matches(['-', '.']).len());
    name + &suffix
}

// === impl PublisherTask ===

impl PublisherTask {
    /// Waits a moment for the queue to be published. Drop the recorder first.
    pub(crate) async fn drain(self) {
        if timeout(DRAIN, self.0).await.is_err() {
            debug!("dropped the events that were not published in time");
        }
    }
}

/// Publishes events, one after another.
struct EventPublisher {
    server: ApiServer,
    metrics: Arc<Metrics>,
    /// By a hash of the [`SeriesKey`]: the texts would take too much memory. The map's random seed keeps an attacker
    /// from choosing texts that hit the series of another object.
    series: HashMap<u64, EventSeries>,
    /// Whether the last request failed.
    is_failing: bool,
}

/// Events with the same key belong to one series: all of an event except its times and the versions of its objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SeriesKey {
    regarding: Option<String>,
    related: Option<[Option<String>; 2]>,
    texts: [Option<String>; 4],
}

/// A published Event object that repeated events extend.
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
            let is_failing = published.is_err();
            self.metrics.event(match published {
                Ok(Some(())) => EventOutcome::Sent,
                Ok(None) | Err(_) => EventOutcome::Failed,
            });
            // Only the first failure in a row is logged.
            if let (Err(error), false) = (published, self.is_failing) {
                warn!(%error, "cannot publish events; probes and statuses are not affected");
            }
            self.is_failing = is_failing;
        }
    }

    /// Creates an event, or extends its series. `None` if its namespace is gone or being deleted.
    async fn publish(&mut self, event: Event) -> Result<Option<()>, CallError> {
        let now = Instant::now();
        self.series
            .retain(|_, series| now.duration_since(series.last) < SERIES_GAP);
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let api = Api::<Event>::namespaced(self.server.client().clone(), &namespace);
        let key = self.series.hasher().hash_one(SeriesKey::of(&event));
        if let Some(series) = self.series.get_mut(&key) {
            series.count = series.count.saturating_add(1);
            let name = series.name.clone();
            let next = json!({"count": series.count, "lastObservedTime": event.event_time});
            let patch = Patch::Merge(json!({ "series": next }));
            let parameters = PatchParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PatchParams::default()
            };
            let patched = self.request(api.patch(&name, &parameters, &patch)).await?;
            if let (Some(()), Some(series)) = (patched, self.series.get_mut(&key)) {
                series.last = now;
                return Ok(Some(()));
            }
            // The Event object is gone: deleted or expired.
            self.series.remove(&key);
        }
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        if self.request(api.create(&parameters, &event)).await?.is_none() {
            return Ok(None);
        }
        self.remember(key, event.metadata.name.unwrap_or_default(), now);
        Ok(Some(()))
    }

    async fn request(
        &self,
        request: impl Future<Output = Result<Event, kube::Error>>,
    ) -> Result<Option<()>, CallError> {
        let request = async {
            match request.await {
                Ok(_) => Ok(Some(())),
                // The 403 does not mean a missing permission, and nobody needs events there.
                Err(kube::Error::Api(status)) if is_namespace_terminating(&status) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let answered = self
            .server
            .call_within(BUDGET, Call::PublishEvent, request)
            .await?;
        Ok(answered.flatten())
    }

    fn remember(&mut self, key: u64, name: String, now: Instant) {
        if self.series.len() >= MAX_SERIES {
            let oldest = self.series.iter().min_by_key(|(_, series)| series.last);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.series.remove(&oldest);
            }
        }
        let series = EventSeries {
            name,
            count: 1,
            last: now,
        };
        self.series.insert(key, series);
    }
}

/// Whether the API server refused because the namespace is being deleted. It answers that with 403 too.
fn is_namespace_terminating(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes
        .into_iter()
        .any(|cause| cause.reason == "NamespaceTerminating")
}

// === impl SeriesKey ===

impl SeriesKey {
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
            texts: [type_, reason, action, note].map(Clone::clone),
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
            kind: Some("Example".to_owned()),
            namespace: Some("a".to_owned()),
            name: Some(name.to_owned()),
            uid: Some("9f0c".to_owned()),
            ..ObjectReference::default()
        }
    }

    fn recorder(capacity: usize) -> (EventRecorder, mpsc::Receiver<Event>) {
        EventRecorder::new(capacity, Arc::new(SystemClock), Arc::default(), "one")
    }

    /// Records in turn that an object works and that it fails.
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
    fn the_limit_of_one_connection_does_not_affect_the_others() {
        let (recorder, queue) = recorder(100);
        flap(&recorder, "busy", 50);
        flap(&recorder, "other", 2);
        assert_eq!(counted(&recorder.metrics, "dropped"), "40");
        let events = drained(queue);
        let mut names: Vec<_> = events.iter().map(|event| event.metadata.name.clone()).collect();
        assert_eq!(names.len(), 12);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 12, "the names are unique");
    }

    #[test]
    fn a_full_queue_does_not_block() {
        let (recorder, queue) = recorder(3);
        for number in 0..20 {
            flap(&recorder, &format!("corp-{number}"), 1);
        }
        assert_eq!(counted(&recorder.metrics, "dropped"), "17");
        assert_eq!(drained(queue).len(), 3);
        // The receiver is gone now.
        flap(&recorder, "late", 1);
        assert_eq!(counted(&recorder.metrics, "dropped"), "18");
    }

    #[test]
    fn event_names_are_valid() {
        let long = "a".repeat(MAX_NAME);
        for (connection, expected) in [
            ("corp", "corp.ff".to_owned()),
            (&long, format!("{}.ff", "a".repeat(MAX_NAME - 3))),
            (
                &format!("{}.{long}", "a".repeat(MAX_NAME - 4)),
                format!("{}.ff", "a".repeat(MAX_NAME - 4)),
            ),
        ] {
            assert_eq!(event_name(connection, 255), expected);
        }
    }

    /// An API server that records the requests and gives the answers that a test sets.
    #[derive(Clone, Default)]
    struct FakeServer {
        /// Method and body of each request.
        requests: Arc<Mutex<Vec<(String, Value)>>>,
        /// The next answers; when they are used up, all requests succeed.
        answers: Arc<Mutex<VecDeque<(u16, Value)>>>,
    }

    impl Service<Request<Body>> for FakeServer {
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
                    .requests
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

    impl FakeServer {
        fn publisher(&self, leadership: Leadership) -> EventPublisher {
            let (client, metrics) = (Client::new(self.clone(), "a"), Arc::<Metrics>::default());
            EventPublisher {
                server: ApiServer::new(client, leadership, Arc::clone(&metrics)),
                metrics,
                series: HashMap::new(),
                is_failing: false,
            }
        }

        fn answer(&self, code: u16, causes: &Value) {
            let answer = json!({"kind": "Status", "status": "Failure", "code": code, "reason": "x",
                "details": {"causes": causes}});
            self.answers.lock().unwrap().push_back((code, answer));
        }

        /// The requests since the last call, each as `POST reason` or `PATCH count`.
        fn requests(&self) -> Vec<String> {
            let requests = std::mem::take(&mut *self.requests.lock().unwrap());
            let lines = requests.into_iter().map(|(method, body)| {
                let word = body.get("reason").or_else(|| body.pointer("/series/count"));
                format!("{method} {}", word.unwrap()).replace('"', "")
            });
            lines.collect()
        }
    }

    /// Events of a connection that flaps.
    fn events(times: usize) -> Vec<Event> {
        let (recorder, queue) = recorder(times);
        flap(&recorder, "corp", times);
        drained(queue)
    }

    #[tokio::test]
    async fn repeated_events_become_a_series() {
        let server = FakeServer::default();
        let mut publisher = server.publisher(Leadership::unlimited());
        for event in events(5) {
            assert_eq!(publisher.publish(event).await, Ok(Some(())));
        }
        assert_eq!(
            server.requests(),
            [
                "POST Connected",
                "POST AuthFailed",
                "PATCH 2",
                "PATCH 2",
                "PATCH 3"
            ]
        );
        // An event that differs only in its note is a different event.
        let mut other = events(1).remove(0);
        other.note = Some("It is connected again.".to_owned());
        assert_eq!(publisher.publish(other).await, Ok(Some(())));
        assert_eq!(server.requests(), ["POST Connected"]);
        // The Event object of the series was deleted: the next event creates a new one.
        server.answer(404, &json!([]));
        assert_eq!(publisher.publish(events(1).remove(0)).await, Ok(Some(())));
        assert_eq!(server.requests(), ["PATCH 4", "POST Connected"]);
        // The series is too old: the next event starts a new one.
        for series in publisher.series.values_mut() {
            series.last = Instant::now().checked_sub(SERIES_GAP).unwrap();
        }
        assert_eq!(publisher.publish(events(1).remove(0)).await, Ok(Some(())));
        assert_eq!(server.requests(), ["POST Connected"]);
    }

    #[tokio::test]
    async fn series_are_bounded() {
        let server = FakeServer::default();
        let mut publisher = server.publisher(Leadership::unlimited());
        let (first, template) = (events(1).remove(0), events(1).remove(0));
        for number in 0..=MAX_SERIES {
            let note = Some(number.to_string());
            let event = Event {
                note,
                ..template.clone()
            };
            publisher.publish(event).await.unwrap();
        }
        assert_eq!(publisher.series.len(), MAX_SERIES);
        server.requests();
        let oldest = Event {
            note: Some("0".to_owned()),
            ..first.clone()
        };
        let newest = Event {
            note: Some(MAX_SERIES.to_string()),
            ..first
        };
        publisher.publish(oldest).await.unwrap();
        publisher.publish(newest).await.unwrap();
        assert_eq!(
            server.requests(),
            ["POST Connected", "PATCH 2"],
            "the oldest is forgotten"
        );
    }

    #[tokio::test]
    async fn a_refusal_is_an_error_and_a_terminating_namespace_is_not() {
        let server = FakeServer::default();
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
        assert_eq!(
            publisher.series.len(),
            0,
            "an event that was not created starts no series"
        );
    }

    #[tokio::test]
    async fn a_process_that_does_not_lead_publishes_nothing() {
        let server = FakeServer::default();
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
        assert_eq!(server.requests(), ["POST Connected"]);
        assert_eq!(counted(&metrics, "failed"), "1");
    }
}
