//! Watches that go on after a failure.

use std::fmt::Debug;

use futures::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use kube::{
    Api, Client, Resource,
    core::NamespaceResourceScope,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tracing::{debug, warn};

/// Objects per page of a list. Metadata may be large: anyone who may create an object may give it 256 KiB of
/// annotations. A page of 500, kube's default, could take more memory than the operator has.
const PAGE: u32 = 20;

/// The objects of a kind in a namespace; `None` means all namespaces.
pub(crate) fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// A watch that never ends: when it fails, it logs that, backs off and retries. Each event has the namespace of the watch.
pub(crate) fn events<K>(
    api: Api<K>,
    config: watcher::Config,
    what: &'static str,
    namespace: Option<&str>,
) -> BoxStream<'static, (Option<String>, Event<K>)>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let namespace = namespace.map(str::to_owned);
    // The status of the last failure: the same failure again is logged only at level debug.
    let mut failing: Option<Option<u16>> = None;
    let streamed = watcher(api.clone(), config.clone().streaming_lists()).default_backoff();
    let paged = watcher(api, config.page_size(PAGE)).default_backoff();
    unless_refused(streamed.boxed(), paged.boxed())
        .filter_map(move |event| {
            let event = match event {
                Ok(event) => {
                    failing = None;
                    Some((namespace.clone(), event))
                }
                Err(error) => {
                    // Only the status is logged: the text may quote an object.
                    let status = status_of(&error);
                    if failing.replace(status) == Some(status) {
                        debug!(what, namespace, status, "watch failed again");
                    } else {
                        warn!(what, namespace, status, "watch failed; will retry");
                    }
                    None
                }
            };
            std::future::ready(event)
        })
        .boxed()
}

/// The watch that streams its list, or the paged one if the API server does not support streaming lists.
fn unless_refused<K: Send + 'static>(
    streamed: BoxStream<'static, Result<Event<K>, watcher::Error>>,
    paged: BoxStream<'static, Result<Event<K>, watcher::Error>>,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> {
    stream::unfold((streamed, Some(paged)), |(mut watch, mut paged)| async move {
        loop {
            let event = watch.next().await?;
            match (&event, paged.take()) {
                // The API server answers "sendInitialEvents is forbidden" with 422 or 400.
                (Err(error), Some(paged)) if matches!(status_of(error), Some(400 | 422)) => watch = paged,
                (_, kept) => {
                    paged = kept;
                    return Some((event, (watch, paged)));
                }
            }
        }
    })
}

/// Converts the object of an event.
pub(crate) fn map<K, T>(event: Event<K>, convert: impl Fn(K) -> T) -> Event<T> {
    match event {
        Event::Apply(object) => Event::Apply(convert(object)),
        Event::Delete(object) => Event::Delete(convert(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(convert(object)),
        Event::InitDone => Event::InitDone,
    }
}

/// The HTTP status with which a watch failed, if the API server answered.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "only one kind of error has a status"
)]
fn status_of(error: &watcher::Error) -> Option<u16> {
    let of = |error: &kube::Error| match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    };
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => of(error),
        watcher::Error::WatchError(status) => Some(status.code),
        watcher::Error::NoResourceVersion => None,
    }
}
