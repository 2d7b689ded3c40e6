//! The loop: takes in events, asks what is due, runs passes.
//!
//! One task owns the [`Registry`]; passes run in tasks of their own, as [`FairQueue`] has it. A pass that panics is contained: it is counted, and its connection tried again.

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
    connection::{Connection, Key, Reference, ReferenceKind},
    context::Context,
    decode::RawConnection,
    error::ControllerError,
    job::Outcome,
    queue::FairQueue,
    reconcile::reconcile,
    registry::Registry,
    watch::{Watch, WatchEvent, config_maps, connections, secrets},
};
use crate::{
    bridge::credential::object_version,
    domain::{
        schedule::{Cause, Due},
        watched::Seen,
    },
    limiter::{Limit, RateLimiter},
    report::events::{EventRecorder, record_events},
};

/// How far the controller has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Lists are still being read.
    Starting,
    /// Everything was read once; the loop went round at this time, as it does every few seconds.
    Synced {
        /// The last round.
        beat: Instant,
    },
}

/// Connections that fall due within this time are probed together: each wakes the process once less, and finds what it
/// needs still in the processor's caches. An interval is a hundred times as long.
const TICK: Duration = Duration::from_millis(250);

/// Probes because of a change: more in a row than anybody makes by hand.
const PROBES: Limit = Limit {
    burst: 20,
    pace: Duration::from_millis(500),
};

/// How often the loop goes round where nothing happens.
const BEAT: Duration = Duration::from_secs(5);

/// Runs the controller until `stop` is done, then lets the passes that run come to their end.
///
/// # Errors
/// [`ControllerError::WatchEnded`] where the watches end by themselves, which they never should.
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
        let place = driver.queue.next_place().filter(|_| !is_saturated);
        tokio::select! {
            // The order to stop comes first; results before news, so that news are judged by what is known.
            biased;
            () = &mut stop => break,
            Some(joined) = driver.passes.join_next_with_id() => driver.finish(joined),
            event = driver.watches.next() => match event {
                Some((scope, WatchEvent::Connection(event))) => driver.take_connection(scope, event),
                Some((scope, WatchEvent::Object(kind, event))) => driver.take_object(scope, kind, event),
                None => return Err(ControllerError::WatchEnded),
            },
            Some(expired) = driver.timers.next() => driver.ring(&expired.into_inner()),
            // Nothing has happened but that a place has become free.
            () = sleep_until(place.unwrap_or_else(Instant::now).into()), if place.is_some() => {}
            _ = beat.tick() => driver.beat(),
        }
        driver.start_passes();
        // All tasks share a thread: a flood of events must leave room for what they lead to.
        if !driver.passes.is_empty() {
            yield_now().await;
        }
    }
    driver.drain().await;
    drop(driver);
    publisher.drain().await;
    Ok(())
}

/// The time from then to the next tick, counted from the same beginning.
fn until_tick(then: Duration) -> Duration {
    let since = then.as_nanos() % TICK.as_nanos();
    TICK.saturating_sub(Duration::from_nanos(u64::try_from(since).unwrap_or(0)))
}

/// What a watch has seen of an object that is there.
fn present(metadata: &ObjectMeta) -> Seen {
    Seen::Present(object_version(metadata).into())
}

struct Driver {
    context: Arc<Context>,
    recorder: Arc<EventRecorder>,
    readiness: watch::Sender<Readiness>,
    registry: Registry,
    watches: SelectAll<Watch>,
    /// What the lists that are being read have had so far, by the namespace of their watch.
    listed: HashMap<Option<String>, HashSet<Key>>,
    listed_objects: HashMap<(ReferenceKind, Option<String>), HashSet<Reference>>,
    /// Watches whose first list has not ended.
    unlisted: HashSet<(Listing, Option<String>)>,
    begun: Instant,
    timers: DelayQueue<Key>,
    timer_of: HashMap<Key, delay_queue::Key>,
    /// Connections that are due, and those that are being probed.
    queue: FairQueue<Id>,
    limiter: RateLimiter<Key>,
    passes: JoinSet<Outcome>,
}

/// What a watch lists.
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
            begun: Instant::now(),
            timers: DelayQueue::new(),
            timer_of: HashMap::new(),
            queue,
            limiter: RateLimiter::new(PROBES),
            passes: JoinSet::new(),
        }
    }

    fn take_connection(&mut self, scope: Option<String>, event: Event<(Key, RawConnection)>) {
        match event {
            Event::Init => {
                self.listed.insert(scope, HashSet::new());
            }
            Event::InitApply((key, decoded)) => {
                let key = self.apply(&key, decoded);
                self.listed.entry(scope).or_default().insert(key);
            }
            Event::InitDone => {
                let listed = self.listed.remove(&scope).unwrap_or_default();
                self.registry.retain(scope.as_deref(), &listed);
                self.context
                    .metrics
                    .retain(|namespace, name| self.registry.knows(namespace, name));
                self.listing_ended(Listing::Connections, scope);
            }
            Event::Apply((key, decoded)) => {
                self.apply(&key, decoded);
            }
            Event::Delete((key, _)) => {
                self.registry.delete(&key);
                self.stop_timer(&key);
                self.context.metrics.forget(&key.namespace, &key.name);
            }
        }
        self.context.metrics.known(self.registry.len());
    }

    fn apply(&mut self, key: &Key, decoded: RawConnection) -> Key {
        if let Some(known) = self.registry.has_version(key, &decoded.metadata) {
            return known;
        }
        let connection = Connection::from(decoded);
        let row = connection.row(&connection.status);
        let key = self
            .registry
            .apply(key, connection, self.context.clock.now(), Instant::now());
        self.context.metrics.read(&key.namespace, &key.name, row);
        self.consider(&key);
        key
    }

    fn take_object(
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
                if let Some(known) = self.registry.referred(&reference) {
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
                let affected = self.registry.observe_no_others(kind, scope.as_deref(), &listed);
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
            self.consider(&key);
        }
    }

    /// Objects of a namespace are watched once its connections are known: only then can be told which of them matter.
    /// Namespaces do not wait for each other: one that may not be read holds up nothing but readiness.
    fn listing_ended(&mut self, listing: Listing, scope: Option<String>) {
        let listing = (listing, scope);
        if !self.unlisted.remove(&listing) {
            return;
        }
        if let (Listing::Connections, scope) = listing {
            let (client, namespace) = (self.context.server.client(), scope.as_deref());
            self.watches.push(secrets(client, namespace));
            self.watches.push(config_maps(client, namespace));
            for kind in [ReferenceKind::Secret, ReferenceKind::ConfigMap] {
                self.unlisted.insert((Listing::Objects(kind), scope.clone()));
            }
        }
        if self.unlisted.is_empty() {
            info!(connections = self.registry.len(), "everything was read");
            self.readiness
                .send_replace(Readiness::Synced { beat: Instant::now() });
        }
    }

    /// Asks whether a connection is due, and queues it, or sets its timer.
    fn consider(&mut self, key: &Key) {
        let now = self.context.clock.now();
        match self.registry.due(key, now, Instant::now()) {
            None => {}
            Some(Due::Now(_)) => self.queue.wait(key, Instant::now()),
            Some(Due::At(time)) => {
                let delay = Duration::try_from(time.duration_since(now)).unwrap_or_default();
                self.set_timer(key, delay);
            }
            Some(Due::Never) => self.stop_timer(key),
        }
    }

    fn set_timer(&mut self, key: &Key, delay: Duration) {
        let delay = if delay > TICK * 4 {
            delay + until_tick(self.begun.elapsed() + delay)
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

    /// Shows that the loop goes round.
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

    fn ring(&mut self, key: &Key) {
        self.timer_of.remove(key);
        self.consider(key);
    }

    fn start_passes(&mut self) {
        // What has begun comes to its end first. There is no need to look again at a time: whoever waits for the API
        // server belongs to a pass that runs, and its end leads back here.
        while !self.context.server.is_saturated()
            && let Some(key) = self.queue.next(Instant::now())
        {
            // Much may have happened while it waited.
            let due = self.registry.due(&key, self.context.clock.now(), Instant::now());
            let Some(Due::Now(cause)) = due else {
                self.consider(&key);
                continue;
            };
            let now = Instant::now();
            // The schedule has its own measure.
            if cause != Cause::Scheduled
                && let Err(soonest) = self.limiter.admit(&key, now)
            {
                self.set_timer(&key, soonest.saturating_duration_since(now));
                continue;
            }
            let Some(job) = self.registry.begin(&key, cause, now) else {
                continue;
            };
            let (context, recorder) = (Arc::clone(&self.context), Arc::clone(&self.recorder));
            let handle = self.passes.spawn(async move {
                match reconcile(&context, &recorder, &job).await {
                    Ok(finished) => finished,
                    Err(error @ ControllerError::Postponed(_)) => {
                        let (namespace, name) = job.key.names();
                        info!(namespace, name, %error, "probe postponed");
                        Outcome::Postponed
                    }
                    Err(error @ (ControllerError::Call(_) | ControllerError::WatchEnded)) => {
                        context.metrics.failed();
                        let (namespace, name) = job.key.names();
                        warn!(namespace, name, %error, "pass failed; trying again");
                        Outcome::Failed
                    }
                }
            });
            self.queue.begin(handle.id(), key, Instant::now());
        }
    }

    fn finish(&mut self, joined: Result<(Id, Outcome), JoinError>) {
        let (id, finished) = match joined {
            Ok(finished) => finished,
            Err(failure) => {
                // What a panic says is not repeated: it may quote anything.
                error!("reconcile panicked; will retry this connection");
                self.context.metrics.panicked();
                (failure.id(), Outcome::Failed)
            }
        };
        if let Some(key) = self.queue.end(id) {
            self.registry.finish(&key, finished, Instant::now());
            self.consider(&key);
        }
    }

    async fn drain(&mut self) {
        let running = self.passes.len();
        debug!(running, "waiting for passes to end");
        let drained = timeout(self.context.settings.drain, async {
            while self.passes.join_next().await.is_some() {}
        })
        .await;
        if drained.is_err() {
            warn!(
                left = self.passes.len(),
                "passes did not end in time and are dropped"
            );
            self.passes.shutdown().await;
        }
    }
}
