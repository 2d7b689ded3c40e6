//! What is watched, as one stream of plain events.
//!
//! Connections are watched whole, each decoded by itself: one that does not decode never hides the others. Of Secrets
//! and ConfigMaps only the metadata is asked for; their values never pass through a watch.

use std::fmt::Debug;

use futures::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
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

use super::{
    connection::{Key, Reference, ReferenceKind},
    decode::RawConnection,
};
use crate::cluster::metadata::Metadata;

/// So many objects of a list are asked for at a time. Metadata may be large: 256 KiB of annotations alone, of anybody who
/// may create the object. A page of kube's usual 500 could take more memory than the operator is given.
const PAGE: u32 = 20;

/// A stream of what is seen, each with the namespace that its watch is confined to.
pub(super) type Watch = BoxStream<'static, (Option<String>, WatchEvent)>;

/// What is seen.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "one at a time, taken in at once; a box for each would cost more"
)]
pub(super) enum WatchEvent {
    /// Of connections.
    Connection(Event<(Key, RawConnection)>),
    /// Of objects that connections may refer to.
    Object(ReferenceKind, Event<(Reference, ObjectMeta)>),
}

/// Watches the connections of a namespace, or of all.
pub(super) fn connections(client: &Client, namespace: Option<&str>, labels: Option<&str>) -> Watch {
    let api = api::<RawConnection>(client, namespace);
    let config = labels.map_or_else(watcher::Config::default, |labels| {
        watcher::Config::default().labels(labels)
    });
    let take = |decoded: RawConnection| (key(&decoded.metadata), decoded);
    events(api, config, "connections", namespace, move |event| {
        WatchEvent::Connection(map(event, take))
    })
}

/// Watches the metadata of the Secrets of a namespace, or of all.
pub(super) fn secrets(client: &Client, namespace: Option<&str>) -> Watch {
    let api = api::<Metadata<Secret>>(client, namespace);
    events(api, watcher::Config::default(), "Secrets", namespace, |event| {
        object_event(ReferenceKind::Secret, event)
    })
}

/// Watches the metadata of the ConfigMaps of a namespace, or of all.
pub(super) fn config_maps(client: &Client, namespace: Option<&str>) -> Watch {
    let api = api::<Metadata<ConfigMap>>(client, namespace);
    events(
        api,
        watcher::Config::default(),
        "ConfigMaps",
        namespace,
        |event| object_event(ReferenceKind::ConfigMap, event),
    )
}

fn object_event<K>(kind: ReferenceKind, event: Event<Metadata<K>>) -> WatchEvent {
    WatchEvent::Object(
        kind,
        map(event, |object| {
            (reference(kind, &object.metadata), object.metadata)
        }),
    )
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// A watch that goes on for ever: it backs off where the API server is away, and says so.
fn events<K>(
    api: Api<K>,
    config: watcher::Config,
    what: &'static str,
    namespace: Option<&str>,
    take: impl Fn(Event<K>) -> WatchEvent + Send + 'static,
) -> Watch
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let namespace = namespace.map(str::to_owned);
    // What the failures in a row have in common: said once, not at each attempt.
    let mut failing: Option<Option<u16>> = None;
    let streamed = watcher(api.clone(), config.clone().streaming_lists()).default_backoff();
    let paged = watcher(api, config.page_size(PAGE)).default_backoff();
    unless_refused(streamed.boxed(), paged.boxed())
        .filter_map(move |event| {
            let event = match event {
                Ok(event) => {
                    failing = None;
                    Some((namespace.clone(), take(event)))
                }
                Err(error) => {
                    // The kind of failure, not its text, which may quote an object.
                    let status = status_of(&error);
                    if failing.replace(status) == Some(status) {
                        debug!(what, namespace, status, "watch failed again");
                    } else {
                        warn!(what, namespace, status, "watch failed; trying again");
                    }
                    None
                }
            };
            std::future::ready(event)
        })
        .boxed()
}

/// The first of two watches, or, from where the API server does not know how to stream a list, the second.
fn unless_refused<K: Send + 'static>(
    streamed: BoxStream<'static, Result<Event<K>, watcher::Error>>,
    paged: BoxStream<'static, Result<Event<K>, watcher::Error>>,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> {
    stream::unfold((streamed, Some(paged)), |(mut watch, mut paged)| async move {
        loop {
            let event = watch.next().await?;
            match (&event, paged.take()) {
                // "sendInitialEvents is forbidden": an invalid, or a bad request.
                (Err(error), Some(paged)) if matches!(status_of(error), Some(400 | 422)) => watch = paged,
                (_, kept) => {
                    paged = kept;
                    return Some((event, (watch, paged)));
                }
            }
        }
    })
}

fn map<K, T>(event: Event<K>, take: impl Fn(K) -> T) -> Event<T> {
    match event {
        Event::Apply(object) => Event::Apply(take(object)),
        Event::Delete(object) => Event::Delete(take(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(take(object)),
        Event::InitDone => Event::InitDone,
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "only one kind of error has a status"
)]
/// The HTTP status that a watch failed with, where there is one.
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

fn key(metadata: &ObjectMeta) -> Key {
    let (namespace, name) = names(metadata);
    Key::new(namespace, name)
}

fn reference(kind: ReferenceKind, metadata: &ObjectMeta) -> Reference {
    let (namespace, name) = names(metadata);
    Reference::new(kind, namespace, name)
}

fn names(metadata: &ObjectMeta) -> (&str, &str) {
    (
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}
