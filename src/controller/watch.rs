//! Watches connections, Secrets and ConfigMaps.
//!
//! Connections are watched whole and decoded one by one: one that cannot be decoded never hides the others. For Secrets
//! and ConfigMaps, only the metadata is watched; their values never pass through a watch.

use futures::{StreamExt as _, stream::BoxStream};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Client,
    runtime::watcher::{self, Event},
};

use super::decode::RawConnection;
use crate::{
    cluster::{
        key::Key,
        metadata::Metadata,
        watch::{api, events, map},
    },
    resolve::reference::{Reference, ReferenceKind},
};

/// A stream of events, each with the namespace of its watch; `None` means all namespaces.
pub(super) type Watch = BoxStream<'static, (Option<String>, WatchEvent)>;

/// An event of a watch.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "one exists at a time and is used at once; a box for each would cost more"
)]
pub(super) enum WatchEvent {
    /// About a connection.
    Connection(Event<(Key, RawConnection)>),
    /// About an object that a connection may refer to.
    Object(ReferenceKind, Event<(Reference, ObjectMeta)>),
}

/// Watches the connections in a namespace; `None` means all namespaces.
pub(super) fn connections(client: &Client, namespace: Option<&str>, labels: Option<&str>) -> Watch {
    let api = api::<RawConnection>(client, namespace);
    let config = labels.map_or_else(watcher::Config::default, |labels| {
        watcher::Config::default().labels(labels)
    });
    let keyed = |raw: RawConnection| (key(&raw.metadata), raw);
    events(api, config, "connections", namespace)
        .map(move |(scope, event)| (scope, WatchEvent::Connection(map(event, keyed))))
        .boxed()
}

/// Watches the metadata of the Secrets in a namespace; `None` means all namespaces.
pub(super) fn secrets(client: &Client, namespace: Option<&str>) -> Watch {
    let api = api::<Metadata<Secret>>(client, namespace);
    events(api, watcher::Config::default(), "Secrets", namespace)
        .map(|(scope, event)| (scope, object_event(ReferenceKind::Secret, event)))
        .boxed()
}

/// Watches the metadata of the ConfigMaps in a namespace; `None` means all namespaces.
pub(super) fn config_maps(client: &Client, namespace: Option<&str>) -> Watch {
    let api = api::<Metadata<ConfigMap>>(client, namespace);
    events(api, watcher::Config::default(), "ConfigMaps", namespace)
        .map(|(scope, event)| (scope, object_event(ReferenceKind::ConfigMap, event)))
        .boxed()
}

fn object_event<K>(kind: ReferenceKind, event: Event<Metadata<K>>) -> WatchEvent {
    WatchEvent::Object(
        kind,
        map(event, |object| {
            (reference(kind, &object.metadata), object.metadata)
        }),
    )
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
