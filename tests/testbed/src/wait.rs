//! Waiting for something to become true, with a deadline and a message worth reading.
//!
//! No test sleeps for a guessed time: it says what it waits for, and goes on the moment it is there.

use std::{error::Error, fmt::Debug, pin::pin, time::Duration};

use futures::StreamExt;
use kube::{
    Api, Resource,
    runtime::{WatchStreamExt, watcher},
};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout_at};

use crate::failure::{debug_is_message, one_line};

/// Pause between two looks. Short beside anything a test waits for, long beside the cost of a look on loopback.
const PAUSE: Duration = Duration::from_millis(25);
/// More of an object than this hides the message in it.
const SEEN_LIMIT: usize = 2_000;

/// What was awaited did not come.
#[derive(Error)]
#[error(
    "waited {deadline:?} for {what}, in vain; last seen: {seen}\n\
     look at the logs of the processes concerned (set {keep}=1 to keep them after the test), \
     and allow more time only if they show progress",
    keep = crate::scratch::KEEP
)]
pub struct WaitError {
    what: String,
    deadline: Duration,
    seen: String,
}
debug_is_message!(WaitError);

/// What a look found: `Some` or `Ok` ends the wait; `Err` says what was seen instead, for the message.
pub trait Sighting {
    /// What the wait is for.
    type Found;
    /// The thing itself, or a description of what was there instead.
    fn found(self) -> Result<Self::Found, String>;
}

impl<T> Sighting for Option<T> {
    type Found = T;
    fn found(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing of the kind".to_owned())
    }
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Sighting for Result<T, E> {
    type Found = T;
    fn found(self) -> Result<T, String> {
        self.map_err(|seen| one_line(seen.into().as_ref()))
    }
}

/// Looks again and again until `look` finds what it looks for.
///
/// A look that does not return in time is cut off at the deadline.
pub async fn until<S: Sighting>(
    deadline: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> S,
) -> Result<S::Found, WaitError> {
    let end = Instant::now() + deadline;
    let mut seen = "nothing, the first look has not returned".to_owned();
    while let Ok(sighting) = timeout_at(end, look()).await {
        match sighting.found() {
            Ok(found) => return Ok(found),
            Err(instead) => seen = instead,
        }
        if Instant::now() + PAUSE >= end {
            break;
        }
        sleep(PAUSE).await;
    }
    Err(WaitError {
        what: what.to_owned(),
        deadline,
        seen,
    })
}

/// Watches one object until it exists and `predicate` holds, and returns it as it was then.
///
/// Every state that the API server publishes in a watch is judged, so nothing is missed between two looks. Broken
/// watches (a stopped API server, a CRD that is not there yet) are taken up again until the deadline.
pub async fn until_object<K>(
    deadline: Duration,
    what: &str,
    api: &Api<K>,
    name: &str,
    predicate: impl Fn(&K) -> bool,
) -> Result<K, WaitError>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + 'static,
{
    let what = format!("{name}: {what}");
    watch_until(deadline, what, api, name, |state| {
        state.filter(|object| predicate(object)).cloned()
    })
    .await
}

/// Watches one object until it does not exist.
pub async fn until_gone<K>(deadline: Duration, api: &Api<K>, name: &str) -> Result<(), WaitError>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + 'static,
{
    watch_until(deadline, format!("{name} to be gone"), api, name, |state| {
        state.is_none().then_some(())
    })
    .await
}

async fn watch_until<K, T>(
    deadline: Duration,
    what: String,
    api: &Api<K>,
    name: &str,
    judge: impl Fn(Option<&K>) -> Option<T>,
) -> Result<T, WaitError>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + 'static,
{
    let end = Instant::now() + deadline;
    let mut seen = "nothing, the watch has not begun".to_owned();
    let mut states = pin!(watcher::watch_object(api.clone(), name).default_backoff());
    // The stream of a watch has no end of its own; the deadline is the only other way out.
    while let Ok(Some(state)) = timeout_at(end, states.next()).await {
        match state {
            Ok(state) => {
                if let Some(found) = judge(state.as_ref()) {
                    return Ok(found);
                }
                seen = state.map_or_else(|| "no such object".to_owned(), |object| excerpt(&object));
            }
            Err(error) => seen = one_line(&error),
        }
    }
    Err(WaitError { what, deadline, seen })
}

/// The status where there is one: it is what tests wait for.
fn excerpt(object: &impl Serialize) -> String {
    let Ok(mut value) = serde_json::to_value(object) else {
        return "an object that cannot be shown".to_owned();
    };
    if let Some(status) = value.get_mut("status") {
        value = status.take();
    }
    let mut text = value.to_string();
    if let Some((cut, _)) = text.char_indices().nth(SEEN_LIMIT) {
        text.truncate(cut);
        text.push('…');
    }
    text
}
