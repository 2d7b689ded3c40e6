//! Sorts news of users, groups and connections by directory, and runs a task for each directory.

use std::{
    collections::{BTreeSet, HashMap, HashSet, hash_map::Entry},
    future::Future,
    pin::pin,
    sync::Arc,
};

use futures::{
    FutureExt as _, StreamExt as _,
    stream::{BoxStream, SelectAll},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::{self, Event};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    task::{JoinError, JoinSet},
};
use tracing::{error, info};

use super::{
    context::Context,
    declared::{Declared, DirectoryKind, connection_of},
    directory::Directory,
    elder::{Manager, managed},
    inbox::{Inbox, News, Service},
    report::Writer,
};
use crate::{
    api::{group::ScimGroup, user::ScimUser},
    bridge::route::Endpoint,
    cluster::{
        key::Key,
        object::RawObject,
        watch::{api, events},
    },
    feed::{FeedConnection, FeedEvent},
    report::events::record_events,
};

/// Why provisioning ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProvisionError {
    /// The watches ended, which they never should.
    #[error("the watches of users and groups ended")]
    WatchEnded,
}

/// An event of a watch, with the namespace of the watch.
type ScopedEvent = (Option<String>, WatchEvent);

enum WatchEvent {
    User(Event<RawObject<ScimUser>>),
    Group(Event<RawObject<ScimGroup>>),
}

/// The kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ObjectKind {
    User,
    Group,
}

/// A list that has to be complete before anything is planned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Listing {
    Connections(Option<String>),
    Objects(ObjectKind, Option<String>),
}

/// The objects of a kind that a process knows: the directory of each.
type Placed = HashMap<Key, Key>;

struct Driver {
    writer: Arc<Writer>,
    connections: HashMap<Key, FeedConnection>,
    /// The connections in mode `Manage`, by bridge: the first one of each is the eldest.
    managers: HashMap<Endpoint, BTreeSet<Manager>>,
    placed: HashMap<ObjectKind, Placed>,
    /// The objects so far of the lists that are being read.
    listed: HashMap<(ObjectKind, Option<String>), HashSet<Key>>,
    unlisted: HashSet<Listing>,
    inboxes: HashMap<Key, Arc<Inbox>>,
    tasks: JoinSet<Key>,
}

/// Keeps the directories of all connections that ask for it until `stop` completes.
///
/// # Errors
/// [`ProvisionError::WatchEnded`] if the watches end by themselves, which they never should.
pub async fn provide(
    context: Context,
    mut feed: UnboundedReceiver<FeedEvent>,
    stop: impl Future<Output = ()>,
) -> Result<(), ProvisionError> {
    let mut stop = pin!(stop.fuse());
    let scopes = context.settings.scopes.clone();
    let mut watches = SelectAll::new();
    for scope in &scopes {
        watches.push(watch::<ScimUser>(&context, scope.as_deref(), WatchEvent::User));
        watches.push(watch::<ScimGroup>(&context, scope.as_deref(), WatchEvent::Group));
    }
    let (recorder, publisher) = record_events(
        context.server.clone(),
        Arc::clone(&context.clock),
        Arc::clone(&context.metrics),
        &context.settings.instance,
    );
    let mut driver = Driver::new(Arc::new(Writer::new(context, recorder)), &scopes);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(ended) = driver.tasks.join_next() => driver.ended(ended),
            Some(event) = feed.recv() => driver.fed(event),
            event = watches.next() => match event {
                Some((scope, WatchEvent::User(event))) => {
                    driver.watched(ObjectKind::User, scope, event, |news, name, object| {
                        news.users.insert(name, object);
                    });
                }
                Some((scope, WatchEvent::Group(event))) => {
                    driver.watched(ObjectKind::Group, scope, event, |news, name, object| {
                        news.groups.insert(name, object);
                    });
                }
                None => return Err(ProvisionError::WatchEnded),
            },
        }
        tokio::task::yield_now().await;
    }
    // A read may end anywhere, and a status is one request: nothing has to come to its end.
    driver.tasks.shutdown().await;
    drop(driver);
    publisher.drain().await;
    Ok(())
}

fn watch<K>(
    context: &Context,
    namespace: Option<&str>,
    convert: fn(Event<RawObject<K>>) -> WatchEvent,
) -> BoxStream<'static, ScopedEvent>
where
    K: DirectoryKind + Send,
{
    let api = api::<RawObject<K>>(context.server.client(), namespace);
    events(api, watcher::Config::default(), K::PLURAL, namespace)
        .map(move |(scope, event)| (scope, convert(event)))
        .boxed()
}

fn endpoint_of(connection: &FeedConnection) -> Option<Endpoint> {
    managed(connection.spec.as_deref()?)
}

fn key(metadata: &ObjectMeta) -> Key {
    Key::new(
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}

impl Driver {
    fn new(writer: Arc<Writer>, scopes: &[Option<String>]) -> Self {
        let unlisted = scopes.iter().flat_map(|scope| {
            [
                Listing::Connections(scope.clone()),
                Listing::Objects(ObjectKind::User, scope.clone()),
                Listing::Objects(ObjectKind::Group, scope.clone()),
            ]
        });
        Self {
            writer,
            connections: HashMap::new(),
            managers: HashMap::new(),
            placed: HashMap::new(),
            listed: HashMap::new(),
            unlisted: unlisted.collect(),
            inboxes: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    fn fed(&mut self, event: FeedEvent) {
        match event {
            FeedEvent::Known(key, mut connection) => {
                let known = self.connections.get(&key);
                connection.has_directory_status = connection.has_directory_status.or_else(|| {
                    let known = known.filter(|known| known.uid == connection.uid)?;
                    known.has_directory_status
                });
                connection.has_elder = known.is_some_and(|known| known.has_elder);
                if known == Some(&connection) {
                    return;
                }
                let before = known.and_then(endpoint_of);
                let after = endpoint_of(&connection);
                self.connections.insert(key.clone(), *connection);
                self.hand_over(&key);
                for endpoint in before.into_iter().chain(after) {
                    self.rank(&endpoint, &key);
                }
            }
            FeedEvent::Gone(key) => {
                if let Some(endpoint) = self.connections.remove(&key).as_ref().and_then(endpoint_of) {
                    self.rank(&endpoint, &key);
                }
                if let Some(inbox) = self.inboxes.get(&key) {
                    inbox.put(|news| news.connection = Some(Service::NotServed));
                }
            }
            FeedEvent::Listed(scope) => self.listed(&Listing::Connections(scope)),
        }
    }

    /// Hands the present state of a connection to its task.
    fn hand_over(&mut self, key: &Key) {
        let Some(connection) = self.connections.get(key).cloned() else {
            return;
        };
        let concerns = connection.spec.is_some() || connection.has_directory_status == Some(true);
        if concerns || self.inboxes.contains_key(key) {
            self.inbox(key)
                .put(|news| news.connection = Some(Service::Served(Box::new(connection))));
        }
    }

    /// Notes which connection manages a bridge after a change of this one: of several, the eldest.
    fn rank(&mut self, endpoint: &Endpoint, changed: &Key) {
        let managers = self.managers.entry(endpoint.clone()).or_default();
        managers.retain(|manager| manager.key != *changed);
        if let Some(connection) = self.connections.get(changed)
            && endpoint_of(connection).as_ref() == Some(endpoint)
        {
            managers.insert(Manager::of(changed, connection));
        }
        let ranked: Vec<(Key, bool)> = managers
            .iter()
            .enumerate()
            .map(|(place, manager)| (manager.key.clone(), place > 0))
            .collect();
        if ranked.is_empty() {
            self.managers.remove(endpoint);
        }
        for (key, has_elder) in ranked {
            if let Some(connection) = self.connections.get_mut(&key)
                && connection.has_elder != has_elder
            {
                connection.has_elder = has_elder;
                self.hand_over(&key);
            }
        }
    }

    fn watched<K: DirectoryKind>(
        &mut self,
        kind: ObjectKind,
        scope: Option<String>,
        event: Event<RawObject<K>>,
        put: impl Fn(&mut News, Arc<str>, Option<Declared<K>>),
    ) {
        match event {
            Event::Init => {
                self.listed.insert((kind, scope), HashSet::new());
            }
            Event::InitApply(raw) => {
                let key = self.apply(kind, raw, &put);
                self.listed.entry((kind, scope)).or_default().insert(key);
            }
            Event::InitDone => {
                let listed = self.listed.remove(&(kind, scope.clone())).unwrap_or_default();
                let is_gone = |key: &Key| {
                    scope.as_deref().is_none_or(|scope| *key.namespace == *scope) && !listed.contains(key)
                };
                let placed = self.placed.entry(kind).or_default();
                let gone: Vec<Key> = placed.keys().filter(|key| is_gone(key)).cloned().collect();
                for key in gone {
                    self.remove(kind, &key, &put);
                }
                self.listed(&Listing::Objects(kind, scope));
            }
            Event::Apply(raw) => {
                self.apply(kind, raw, &put);
            }
            Event::Delete(raw) => self.remove(kind, &key(&raw.metadata), &put),
        }
    }

    fn apply<K: DirectoryKind>(
        &mut self,
        kind: ObjectKind,
        raw: RawObject<K>,
        put: &impl Fn(&mut News, Arc<str>, Option<Declared<K>>),
    ) -> Key {
        let key = key(&raw.metadata);
        // The CRD requires the name of a connection. Without it the object belongs to no directory.
        let directory = connection_of(&raw).map(|name| Key {
            namespace: Arc::clone(&key.namespace),
            name: name.into(),
        });
        let is_deleting = raw.metadata.deletion_timestamp.is_some();
        let before = self.placed.entry(kind).or_default().get(&key);
        if before.is_some_and(|before| is_deleting || Some(before) != directory.as_ref()) {
            // Deleted and created again for another connection: the API server refuses to change it.
            self.remove(kind, &key, put);
        }
        if let Some(directory) = directory.filter(|_| !is_deleting) {
            let inbox = self.inbox(&directory);
            inbox.put(|news| put(news, Arc::clone(&key.name), Some(raw.into())));
            // Thousands of objects name the same directory: its texts are kept once.
            let known = self.inboxes.get_key_value(&directory);
            let directory = known.map_or(directory, |(known, _)| known.clone());
            let shared = Key {
                namespace: Arc::clone(&directory.namespace),
                name: Arc::clone(&key.name),
            };
            self.placed.entry(kind).or_default().insert(shared, directory);
        }
        key
    }

    fn remove<K: DirectoryKind>(
        &mut self,
        kind: ObjectKind,
        key: &Key,
        put: &impl Fn(&mut News, Arc<str>, Option<Declared<K>>),
    ) {
        let directory = self.placed.get_mut(&kind).and_then(|placed| placed.remove(key));
        if let Some(inbox) = directory.and_then(|directory| self.inboxes.get(&directory)) {
            inbox.put(|news| put(news, Arc::clone(&key.name), None));
        }
    }

    /// Notes that a list is complete. Nothing is planned before: a user that is not listed yet would count as unmanaged.
    fn listed(&mut self, listing: &Listing) {
        if self.unlisted.remove(listing) && self.unlisted.is_empty() {
            info!(
                directories = self.inboxes.len(),
                "all users and groups are listed"
            );
            for inbox in self.inboxes.values() {
                inbox.put(|news| news.is_synced = true);
            }
        }
    }

    /// The inbox of a directory. If it has none, its task starts.
    fn inbox(&mut self, key: &Key) -> &Arc<Inbox> {
        match self.inboxes.entry(key.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                let inbox = Arc::new(Inbox::default());
                let is_synced = self.unlisted.is_empty();
                inbox.put(|news| {
                    news.is_synced = is_synced;
                    news.connection = self
                        .connections
                        .get(key)
                        .cloned()
                        .map(Box::new)
                        .map(Service::Served);
                });
                let directory = Directory::new(Arc::clone(&self.writer), key.clone(), Arc::clone(&inbox));
                let key = key.clone();
                self.tasks.spawn(async move {
                    Box::pin(directory.run()).await;
                    key
                });
                vacant.insert(inbox)
            }
        }
    }

    /// A task ended, because nothing was left of its directory.
    fn ended(&mut self, ended: Result<Key, JoinError>) {
        let Ok(key) = ended else {
            // Each round of a task catches its panics, so this cannot happen. Without the key, the directory stays.
            error!("the task of a directory ended with a panic");
            return;
        };
        let Some(inbox) = self.inboxes.remove(&key) else {
            return;
        };
        if !inbox.is_empty() {
            // News came while it ended.
            let News {
                users,
                groups,
                connection,
                is_synced: _,
            } = inbox.take();
            self.inbox(&key).put(|news| {
                news.users = users;
                news.groups = groups;
                if connection.is_some() {
                    news.connection = connection;
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::{Client, client::Body};
    use serde_json::json;
    use tower::service_fn;

    use super::*;
    use crate::{cluster::call::ApiServer, provision::tests::writer};

    /// A driver whose directories have not begun to run: nothing waits in these tests.
    fn driver() -> Driver {
        let empty = service_fn(async |_: Request<Body>| Ok::<_, kube::Error>(Response::new(Body::empty())));
        let mut driver = Driver::new(writer(ApiServer::of_a_test(Client::new(empty, "a"))), &[None]);
        driver.fed(FeedEvent::Listed(None));
        driver
    }

    fn user(name: &str, connection: &str, more: &serde_json::Value) -> RawObject<ScimUser> {
        let mut user = json!({
            "metadata": {"namespace": "a", "name": name, "uid": name, "resourceVersion": "1"},
            "spec": {
                "connectionRef": {"name": connection}, "userName": format!("{name}@example.com"),
                "name": {"givenName": "Given", "familyName": "Family"},
            },
        });
        user["metadata"]
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(user).unwrap()
    }

    fn watched(driver: &mut Driver, event: Event<RawObject<ScimUser>>) {
        driver.watched(ObjectKind::User, None, event, |news, name, object| {
            news.users.insert(name, object);
        });
    }

    /// The news of users since the last look: `corp +ada -kim`, by connection.
    fn news(driver: &Driver) -> Vec<String> {
        let mut lines: Vec<String> = driver
            .inboxes
            .iter()
            .filter_map(|(key, inbox)| {
                let mut users: Vec<String> = inbox
                    .take()
                    .users
                    .into_iter()
                    .map(|(name, user)| format!("{}{name}", if user.is_some() { '+' } else { '-' }))
                    .collect();
                users.sort();
                (!users.is_empty()).then(|| format!("{} {}", key.name, users.join(" ")))
            })
            .collect();
        lines.sort();
        lines
    }

    #[tokio::test]
    async fn objects_go_to_the_directory_that_they_name() {
        let (none, deleting) = (json!({}), json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}));
        let mut driver = driver();
        for (event, expected) in [
            (Event::Init, &[][..]),
            (Event::InitApply(user("ada", "corp", &none)), &["corp +ada"]),
            (Event::InitApply(user("kim", "corp", &none)), &["corp +kim"]),
            (Event::InitDone, &[]),
            // Deleted and created again for another connection.
            (
                Event::Apply(user("ada", "other", &none)),
                &["corp -ada", "other +ada"],
            ),
            (Event::Apply(user("ada", "other", &deleting)), &["other -ada"]),
            (Event::Delete(user("ada", "other", &none)), &[]),
            // What a later list does not have is gone.
            (Event::Init, &[]),
            (Event::InitApply(user("sam", "corp", &none)), &["corp +sam"]),
            (Event::InitDone, &["corp -kim"]),
        ] {
            watched(&mut driver, event);
            assert_eq!(news(&driver), expected);
        }
    }

    /// Nothing is planned before users, groups and connections are listed.
    #[tokio::test]
    async fn directories_wait_for_every_list() {
        let mut driver = driver();
        watched(&mut driver, Event::InitApply(user("ada", "corp", &json!({}))));
        watched(&mut driver, Event::InitDone);
        let is_synced = |driver: &Driver| driver.inboxes[&Key::new("a", "corp")].take().is_synced;
        assert!(!is_synced(&driver));
        driver.watched(
            ObjectKind::Group,
            None,
            Event::<RawObject<ScimGroup>>::InitDone,
            |news, name, object| {
                news.groups.insert(name, object);
            },
        );
        assert!(is_synced(&driver));
        // One that comes later knows at once.
        watched(&mut driver, Event::Apply(user("kim", "other", &json!({}))));
        assert!(driver.inboxes[&Key::new("a", "other")].take().is_synced);
    }

    /// News that come while a task ends are for the next one.
    #[tokio::test]
    async fn a_task_that_ends_loses_no_news() {
        let mut driver = driver();
        watched(&mut driver, Event::Apply(user("ada", "corp", &json!({}))));
        driver.ended(Ok(Key::new("a", "corp")));
        assert_eq!(news(&driver), ["corp +ada"]);
        driver.ended(Ok(Key::new("a", "corp")));
        assert!(driver.inboxes.is_empty());
    }

    /// Whether a status says something about a directory: own writes do not say it, and forget nothing.
    #[tokio::test]
    async fn a_status_about_a_directory_is_remembered() {
        let connection = |uid: &str, has| FeedConnection {
            is_judged: true,
            handled: None,
            release: None,
            created: None,
            has_elder: false,
            uid: uid.into(),
            generation: 1,
            spec: None,
            proof: None,
            has_directory_status: has,
        };
        let mut driver = driver();
        for (uid, said, known) in [
            ("1", None, None),
            ("1", Some(true), Some(true)),
            ("1", None, Some(true)),
            ("1", Some(false), Some(false)),
            ("1", Some(true), Some(true)),
            // Another connection of the same name.
            ("2", None, None),
        ] {
            let key = Key::new("a", "corp");
            driver.fed(FeedEvent::Known(key.clone(), Box::new(connection(uid, said))));
            assert_eq!(
                driver.connections[&key].has_directory_status, known,
                "{uid} {said:?}"
            );
        }
    }
}
