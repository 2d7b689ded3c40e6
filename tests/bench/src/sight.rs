//! What a watcher of the connections sees: the reason of each, and when it changed.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, GroupVersionKind},
    core::Object,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde::{Deserialize, Serialize};
use testbed::Failure;
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::numbers::now_micros;

/// The reason of a connection that works.
pub(crate) const CONNECTED: &str = "Connected";
/// Pause between two looks at what has been seen: short beside what is measured.
const PAUSE: Duration = Duration::from_millis(5);

/// The little of an object that is looked at.
type Slim = Object<Nothing, Status>;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Nothing {}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
    next_probe_time: Option<Time>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    #[serde(default)]
    reason: String,
}

/// One connection, as it was seen last.
#[derive(Clone, Debug, Default)]
struct Seen {
    uid: String,
    reason: String,
    /// When the reason became what it is, in microseconds since 1970.
    changed: u64,
    /// When the next probe is due by the status, likewise.
    next_probe: Option<u64>,
}

#[derive(Debug, Default)]
struct State {
    seen: HashMap<u32, Seen>,
    connected: usize,
    events: u64,
    last_event: u64,
}

/// The watcher. Dropped, it ends.
pub(crate) struct Sight {
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Sight {
    /// Begins to watch.
    pub(crate) fn begin(client: Client) -> Self {
        let (state, news) = (Arc::<Mutex<State>>::default(), Arc::<Notify>::default());
        let task = tokio::spawn(watch(client, Arc::clone(&state), Arc::clone(&news)));
        Self { state, news, task }
    }

    /// How many there are, and how many of them are connected.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = locked(&self.state);
        (state.seen.len(), state.connected)
    }

    /// Events since the beginning: what was written, by anybody.
    pub(crate) fn events(&self) -> u64 {
        locked(&self.state).events
    }

    /// Waits until there were more events than so many.
    pub(crate) async fn until_more_than(&self, events: u64, limit: Duration) -> Result<(), Failure> {
        let more = async {
            loop {
                let news = self.news.notified();
                if self.events() > events {
                    return;
                }
                news.await;
            }
        };
        let seen = timeout(limit, more).await;
        seen.map_err(|_| format!("nothing was seen within {limit:?}").into())
    }

    /// The UID of each.
    pub(crate) fn uids(&self) -> HashMap<u32, String> {
        let state = locked(&self.state);
        let uids = state
            .seen
            .iter()
            .map(|(number, seen)| (*number, seen.uid.clone()));
        uids.collect()
    }

    /// When it became connected, or ceased to be, if it is that now, and since `after`.
    pub(crate) fn turned(&self, number: u32, connected: bool, after: u64) -> Option<u64> {
        let state = locked(&self.state);
        let seen = state.seen.get(&number)?;
        ((seen.reason == CONNECTED) == connected && seen.changed > after).then_some(seen.changed)
    }

    /// How many are to be probed by then, as their status has it (microseconds since 1970).
    pub(crate) fn due_by(&self, time: u64) -> usize {
        let is_due = |seen: &&Seen| seen.next_probe.is_some_and(|next| next <= time);
        locked(&self.state).seen.values().filter(is_due).count()
    }

    /// How many have each reason, for messages.
    pub(crate) fn reasons(&self) -> String {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for seen in locked(&self.state).seen.values() {
            *counts.entry(seen.reason.clone()).or_default() += 1;
        }
        let mut lines: Vec<_> = counts
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        lines.sort();
        lines.join(", ")
    }

    /// Waits until so many are connected.
    pub(crate) async fn until_connected(&self, count: usize, limit: Duration) -> Result<(), Failure> {
        let end = Instant::now() + limit;
        while self.counts().1 < count {
            if Instant::now() > end {
                return Err(
                    format!("after {limit:?} {count} should be Connected: {}", self.reasons()).into(),
                );
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Waits until nothing was written for `pause`, at most for `limit`. Whether that came.
    pub(crate) async fn until_quiet(&self, pause: Duration, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            let last = locked(&self.state).last_event;
            if Duration::from_micros(now_micros().saturating_sub(last)) > pause {
                return true;
            }
            sleep(Duration::from_millis(50)).await;
        }
        false
    }
}

impl Drop for Sight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(client: Client, state: Arc<Mutex<State>>, news: Arc<Notify>) {
    let kind = GroupVersionKind::gvk("scimbridge.dev", "v1alpha1", "ScimBridgeConnection");
    let resource = ApiResource::from_gvk_with_plural(&kind, crate::api_server::CONNECTIONS);
    let api: Api<Slim> = Api::all_with(client, &resource);
    let mut events = pin!(watcher(api, watcher::Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        // An error is followed by another attempt.
        let Ok(event) = event else { continue };
        let now = now_micros();
        let mut state = locked(&state);
        match event {
            Event::Init | Event::InitDone => {}
            Event::Apply(object) | Event::InitApply(object) => state.see(&object, now),
            Event::Delete(object) => state.forget(&object),
        }
        drop(state);
        news.notify_waiters();
    }
}

impl State {
    fn see(&mut self, object: &Slim, now: u64) {
        let Some(number) = number_of(&object.name_any()) else {
            return;
        };
        self.events += 1;
        self.last_event = now;
        let conditions = object.status.iter().flat_map(|status| &status.conditions);
        let reason = conditions
            .into_iter()
            .find(|condition| condition.type_ == "Ready")
            .map_or("", |condition| &condition.reason);
        let seen = self.seen.entry(number).or_default();
        if seen.uid.is_empty() {
            seen.uid = object.uid().unwrap_or_default();
        }
        let next_probe = object
            .status
            .as_ref()
            .and_then(|status| status.next_probe_time.as_ref());
        seen.next_probe = next_probe.and_then(|time| u64::try_from(time.0.as_microsecond()).ok());
        if seen.reason != reason {
            let was = usize::from(seen.reason == CONNECTED);
            let is = usize::from(reason == CONNECTED);
            self.connected = self.connected + is - was;
            reason.clone_into(&mut seen.reason);
            seen.changed = now;
        }
    }

    fn forget(&mut self, object: &Slim) {
        let gone = number_of(&object.name_any()).and_then(|number| self.seen.remove(&number));
        self.connected -= usize::from(gone.is_some_and(|gone| gone.reason == CONNECTED));
    }
}

/// The number in a name that [`crate::stage::name_of`] made.
fn number_of(name: &str) -> Option<u32> {
    name.strip_prefix("c-")?.parse().ok()
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
