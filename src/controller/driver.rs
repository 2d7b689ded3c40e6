//! The main loop: it applies watch events to the [`Registry`], asks which connections are due and starts reconciles.
//!
//! One task owns the registry. Each reconcile runs in a separate task when the [`FairQueue`] lets it. If a reconcile
//! panics, the loop counts the panic and retries the connection.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt as _, StreamExt as _, stream::SelectAll};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::Event;
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet, yield_now},
    time::{sleep_until, timeout},
};
use tokio_util::time::{DelayQueue, delay_queue};
use tracing::{debug, error, info, warn};

use super::{
    connection::Connection,
    context::Context,
    decode::{RawConnection, has_directory_status},
    error::ControllerError,
    job::Outcome,
    queue::FairQueue,
    reconcile::reconcile,
    registry::Registry,
    watch::{Watch, WatchEvent, config_maps, connections, secrets},
};
use crate::{
    bridge::credential::object_version,
    cluster::key::Key,
    domain::{
        connection::schedule::{Cause, Due},
        watched::Seen,
    },
    feed::FeedEvent,
    limiter::{Limit, RateLimiter},
    report::events::{EventRecorder, record_events},
    resolve::reference::{Reference, ReferenceKind},
};

/// The state of the controller, for readiness and liveness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The first lists are not complete.
    Starting,
    /// The first lists are complete.
    Synced {
        /// When the loop last reported that it runs: it does so every few seconds.
        beat: Instant,
    },
}

/// Connections that become due within this time start together. Then the process wakes up less often and finds its data
/// in the CPU caches. The shortest interval is more than a hundred times as long.
const TICK: Duration = Duration::from_millis(250);

/// Limit for probes caused by changes of one connection: a burst is more than a person does by hand.
const CHANGE_LIMIT: Limit = Limit {
    burst: 20,
    pace: Duration::from_millis(500),
};

/// How often the loop runs if nothing else wakes it.
const BEAT: Duration = Duration::from_secs(5);

/// Runs the controller until `stop` completes, then waits for the running reconciles.
///
/// # Errors
/// [`ControllerError::WatchEnded`] if the watches end by themselves, which they never should.
pub async fn drive(
    context: Context,
    readiness: watch::Sender<Readiness>,
    stop: impl Future<Output = ()>,
) -> Result<(), ControllerError> {
    let mut stop = pin!(stop.fuse());
    let mut beat = tokio::time::interval(BEAT);
    let (recorder, publisher) = record_events(
        context.server.clone(),
        Arc::clone(&context.clock),
        Arc::clone(&context.metrics),
        &context.settings.instance,
    );
    let mut driver = Driver::new(context, recorder, readiness);
    loop {
        let is_saturated = driver.context.server.is_saturated();
        let slot = driver.queue.next_slot().filter(|_| !is_saturated);
        tokio::select! {
            // Stop comes first. Outcomes come before watch events, so that an event is compared with the latest state.
            biased;
            () = &mut stop => break,
            Some(joined) = driver.reconciles.join_next_with_id() => driver.finish(joined),
            event = driver.watches.next() => match event {
                Some((scope, WatchEvent::Connection(event))) => driver.connection_event(scope, event),
                Some((scope, WatchEvent::Object(kind, event))) => driver.object_event(scope, kind, event),
                None => return Err(ControllerError::WatchEnded),
            },
            Some(expired) = driver.timers.next() => driver.timer_expired(&expired.into_inner()),
            // Only wakes up the loop: a slot is free now.
            () = sleep_until(slot.unwrap_or_else(Instant::now).into()), if slot.is_some() => {}
            _ = beat.tick() => driver.beat(),
        }
        driver.start_reconciles();
        // All tasks share one thread: let the reconciles run even during a flood of events.
        if !driver.reconciles.is_empty() {
            yield_now().await;
        }
    }
    driver.drain().await;
    drop(driver);
    publisher.drain().await;
    Ok(())
}

/// The time from `then` to the next tick. Ticks and `then` count from the same start.
fn until_tick(then: Duration) -> Duration {
    let since = then.as_nanos() % TICK.as_nanos();
    TICK.saturating_sub(Duration::from_nanos(u64::try_from(since).unwrap_or(0)))
}

/// An existing object, as a watch has seen it.
fn present(metadata: &ObjectMeta) -> Seen {
    Seen::Present(object_version(metadata).into())
}

struct Driver {
    context: Arc<Context>,
    recorder: Arc<EventRecorder>,
    readiness: watch::Sender<Readiness>,
    registry: Registry,
    watches: SelectAll<Watch>,
    /// The objects so far of the lists that are being read, by the namespace of the watch.
    listed: HashMap<Option<String>, HashSet<Key>>,
    listed_objects: HashMap<(ReferenceKind, Option<String>), HashSet<Reference>>,
    /// Watches whose first list is not complete.
    unlisted: HashSet<(Listing, Option<String>)>,
    started: Instant,
    timers: DelayQueue<Key>,
    timer_of: HashMap<Key, delay_queue::Key>,
    queue: FairQueue<Id>,
    limiter: RateLimiter<Key>,
    reconciles: JoinSet<Outcome>,
}

/// The kind of objects that a watch lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Listing {
    Connections,
    Objects(ReferenceKind),
}

impl Driver {
    fn new(context: Context, recorder: EventRecorder, readiness: watch::Sender<Readiness>) -> Self {
        let scopes = context.settings.scopes.clone();
        let queue = FairQueue::new(context.settings.concurrency);
        let labels = context.settings.label_selector.as_deref();
        let mut watches = SelectAll::new();
        for scope in &scopes {
            watches.push(connections(context.server.client(), scope.as_deref(), labels));
        }
        Self {
            context: Arc::new(context),
            recorder: Arc::new(recorder),
            readiness,
            registry: Registry::default(),
            watches,
            listed: HashMap::new(),
            listed_objects: HashMap::new(),
            unlisted: scopes
                .into_iter()
                .map(|scope| (Listing::Connections, scope))
                .collect(),
            started: Instant::now(),
            timers: DelayQueue::new(),
            timer_of: HashMap::new(),
            queue,
            limiter: RateLimiter::new(CHANGE_LIMIT),
            reconciles: JoinSet::new(),
        }
    }

    fn connection_event(&mut self, scope: Option<String>, event: Event<(Key, RawConnection)>) {
        match event {
            Event::Init => {
                self.listed.insert(scope, HashSet::new());
            }
            Event::InitApply((key, raw)) => {
                let key = self.apply(&key, raw);
                self.listed.entry(scope).or_default().insert(key);
            }
            Event::InitDone => {
                let listed = self.listed.remove(&scope).unwrap_or_default();
                for key in self.registry.retain(scope.as_deref(), &listed) {
                    self.context.feed.send(|| FeedEvent::Gone(key));
                }
                self.context
                    .metrics
                    .retain(|namespace, name| self.registry.contains(namespace, name));
                self.listing_ended(Listing::Connections, scope);
            }
            Event::Apply((key, raw)) => {
                self.apply(&key, raw);
            }
            Event::Delete((key, _)) => {
                self.registry.delete(&key);
                self.stop_timer(&key);
                self.context.metrics.forget(&key.namespace, &key.name);
                self.context.feed.send(|| FeedEvent::Gone(key));
            }
        }
        self.context.metrics.known(self.registry.len());
    }

    fn apply(&mut self, key: &Key, raw: RawConnection) -> Key {
        if let Some(known) = self.registry.has_version(key, &raw.metadata) {
            return known;
        }
        let has_directory_status = self.context.feed.is_wanted().then(|| has_directory_status(&raw));
        let connection = Connection::from(raw);
        let row = connection.row(&connection.status);
        let key = self
            .registry
            .apply(key, &connection, self.context.clock.now(), Instant::now());
        self.context.metrics.read(&key.namespace, &key.name, row);
        self.context
            .feed
            .send(|| FeedEvent::Known(key.clone(), Box::new(connection.fed(has_directory_status))));
        self.schedule(&key);
        key
    }

    fn object_event(
        &mut self,
        scope: Option<String>,
        kind: ReferenceKind,
        event: Event<(Reference, ObjectMeta)>,
    ) {
        let affected = match event {
            Event::Init => {
                self.listed_objects.insert((kind, scope), HashSet::new());
                Vec::new()
            }
            Event::InitApply((reference, metadata)) => {
                if let Some(known) = self.registry.known_reference(&reference) {
                    self.listed_objects
                        .entry((kind, scope))
                        .or_default()
                        .insert(known.clone());
                }
                self.registry.observe(&reference, present(&metadata))
            }
            Event::InitDone => {
                let listed = self
                    .listed_objects
                    .remove(&(kind, scope.clone()))
                    .unwrap_or_default();
                let affected = self
                    .registry
                    .mark_unlisted_absent(kind, scope.as_deref(), &listed);
                self.listing_ended(Listing::Objects(kind), scope);
                affected
            }
            Event::Apply((reference, metadata)) => self.registry.observe(&reference, present(&metadata)),
            Event::Delete((reference, metadata)) => {
                let version = metadata.resource_version.unwrap_or_default();
                self.registry.observe(&reference, Seen::Deleted(version.into()))
            }
        };
        for key in affected {
            self.schedule(&key);
        }
    }

    /// Notes that the list of a watch is complete.
    ///
    /// The Secrets and ConfigMaps of a namespace are watched after its connections are known: connections say which
    /// ones matter. Namespaces do not wait for each other: one that cannot be read delays only readiness.
    fn listing_ended(&mut self, listing: Listing, scope: Option<String>) {
        let listing = (listing, scope);
        if !self.unlisted.remove(&listing) {
            return;
        }
        if let (Listing::Connections, scope) = listing {
            self.context.feed.send(|| FeedEvent::Listed(scope.clone()));
            let (client, namespace) = (self.context.server.client(), scope.as_deref());
            self.watches.push(secrets(client, namespace));
            self.watches.push(config_maps(client, namespace));
            for kind in [ReferenceKind::Secret, ReferenceKind::ConfigMap] {
                self.unlisted.insert((Listing::Objects(kind), scope.clone()));
            }
        }
        if self.unlisted.is_empty() {
            info!(connections = self.registry.len(), "all lists are complete");
            self.readiness
                .send_replace(Readiness::Synced { beat: Instant::now() });
        }
    }

    /// Queues a connection that is due now, or sets its timer.
    fn schedule(&mut self, key: &Key) {
        let now = self.context.clock.now();
        match self.registry.due(key, now, Instant::now()) {
            None => {}
            Some(Due::Now(_)) => self.queue.push(key, Instant::now()),
            Some(Due::At(time)) => {
                let delay = Duration::try_from(time.duration_since(now)).unwrap_or_default();
                self.set_timer(key, delay);
            }
            Some(Due::Never) => self.stop_timer(key),
        }
    }

    fn set_timer(&mut self, key: &Key, delay: Duration) {
        let delay = if delay > TICK * 4 {
            delay + until_tick(self.started.elapsed() + delay)
        } else {
            delay
        };
        if let Some(timer) = self.timer_of.get(key) {
            self.timers.reset(timer, delay);
        } else {
            let timer = self.timers.insert(key.clone(), delay);
            self.timer_of.insert(key.clone(), timer);
        }
    }

    fn stop_timer(&mut self, key: &Key) {
        if let Some(timer) = self.timer_of.remove(key) {
            self.timers.remove(&timer);
        }
    }

    /// Shows that the loop runs, and does its housekeeping.
    fn beat(&mut self) {
        self.limiter.forget(Instant::now());
        self.recorder.forget(Instant::now());
        self.context.metrics.loaded(self.queue.load(Instant::now()));
        self.readiness.send_if_modified(|readiness| match readiness {
            Readiness::Starting => false,
            Readiness::Synced { beat } => {
                *beat = Instant::now();
                true
            }
        });
    }

    fn timer_expired(&mut self, key: &Key) {
        self.timer_of.remove(key);
        self.schedule(key);
    }

    fn start_reconciles(&mut self) {
        // While the API server is saturated, let the running reconciles finish first. No timer is needed: the calls
        // that wait belong to them, and the loop comes here after each one ends.
        while !self.context.server.is_saturated()
            && let Some(key) = self.queue.pop(Instant::now())
        {
            // The connection may have changed while it waited.
            let due = self.registry.due(&key, self.context.clock.now(), Instant::now());
            let Some(Due::Now(cause)) = due else {
                self.schedule(&key);
                continue;
            };
            let now = Instant::now();
            // Scheduled probes need no limit: the schedule spaces them.
            if cause != Cause::Scheduled
                && let Err(earliest) = self.limiter.admit(&key, now)
            {
                self.set_timer(&key, earliest.saturating_duration_since(now));
                continue;
            }
            let Some(job) = self.registry.begin(&key, cause, now) else {
                continue;
            };
            let (context, recorder) = (Arc::clone(&self.context), Arc::clone(&self.recorder));
            let handle = self.reconciles.spawn(async move {
                match reconcile(&context, &recorder, &job).await {
                    Ok(outcome) => outcome,
                    Err(error @ ControllerError::Postponed(_)) => {
                        let (namespace, name) = job.key.names();
                        info!(namespace, name, %error, "probe postponed");
                        Outcome::Postponed
                    }
                    Err(error @ (ControllerError::Call(_) | ControllerError::WatchEnded)) => {
                        context.metrics.failed();
                        let (namespace, name) = job.key.names();
                        warn!(namespace, name, %error, "reconcile failed; will retry");
                        Outcome::Failed
                    }
                }
            });
            self.queue.start(handle.id(), key, Instant::now());
        }
    }

    fn finish(&mut self, joined: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match joined {
            Ok(ended) => ended,
            Err(failure) => {
                // The panic message is not logged: it may quote a key.
                error!("reconcile panicked; will retry this connection");
                self.context.metrics.panicked();
                (failure.id(), Outcome::Failed)
            }
        };
        if let Some(key) = self.queue.finish(id) {
            self.registry.finish(&key, outcome, Instant::now());
            if self.context.feed.is_wanted()
                && let Some(connection) = self.registry.connection(&key)
            {
                self.context
                    .feed
                    .send(|| FeedEvent::Known(key.clone(), Box::new(connection.fed(None))));
            }
            self.schedule(&key);
        }
    }

    async fn drain(&mut self) {
        let running = self.reconciles.len();
        debug!(running, "waiting for the running reconciles");
        let drained = timeout(self.context.settings.drain, async {
            while self.reconciles.join_next().await.is_some() {}
        })
        .await;
        if drained.is_err() {
            warn!(
                left = self.reconciles.len(),
                "aborted the reconciles that did not end in time"
            );
            self.reconciles.shutdown().await;
        }
    }
}
