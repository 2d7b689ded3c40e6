//! The times of a directory, with a clock that the test moves, before an API server of the test's own.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};
use tower::service_fn;

use super::{
    context::{Context, Settings},
    directory::Directory,
    inbox::{Inbox, Service},
    report::Writer,
};
use crate::{
    api::{connection::ScimBridgeConnectionSpec, user::ScimUser},
    bridge::{
        HttpProber, Lanes,
        scim::{directory::DirectoryReader, memory::Memory, write::DirectoryWriter},
        wire::address::AddressPolicy,
    },
    clock::{Clock, SystemClock},
    cluster::{call::ApiServer, key::Key, object::RawObject},
    feed::FeedConnection,
    metrics::Metrics,
    report::events::record_events,
    resolve::{Resolver, authorities::Authorities},
};

/// The requests so far: `GET corp`, or `PATCH ada REASON`.
type Requests = Arc<Mutex<Vec<String>>>;

/// Writes to this API server, and reads no bridge.
pub(super) fn writer(server: ApiServer) -> Arc<Writer> {
    let metrics = Arc::<Metrics>::default();
    let (policy, clock) = (
        Arc::<AddressPolicy>::default(),
        Arc::new(SystemClock) as Arc<dyn Clock>,
    );
    let roots = Arc::new(rustls::RootCertStore::empty());
    let prober = Arc::new(HttpProber::new(Arc::clone(&policy), roots, Arc::clone(&clock)));
    let (recorder, _) = record_events(server.clone(), Arc::clone(&clock), Arc::clone(&metrics), "test");
    let context = Context {
        server: server.clone(),
        reader: DirectoryReader::new(Arc::clone(&prober), Lanes::new(Arc::clone(&prober))),
        orders: DirectoryWriter::new(Arc::clone(&prober), Lanes::new(prober)),
        memory: Memory::default(),
        resolver: Resolver {
            server,
            policy,
            require_consent: false,
            authorities: Authorities::default(),
        },
        clock,
        metrics,
        settings: Settings {
            scopes: vec![None],
            is_sharded: false,
            heartbeat: Duration::from_hours(1),
            instance: "test".to_owned(),
        },
    };
    Arc::new(Writer::new(context, recorder))
}

/// A directory that runs, its inbox, and what it asks the API server.
struct Scene {
    inbox: Arc<Inbox>,
    requests: Requests,
    running: JoinHandle<()>,
}

impl Scene {
    /// `connection` is what a GET of the connection gives.
    fn new(connection: Option<Value>) -> Self {
        let requests = Requests::default();
        let log = Arc::clone(&requests);
        let service = service_fn(move |request: Request<Body>| {
            let (log, connection) = (Arc::clone(&log), connection.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                let name = parts.uri.path().trim_end_matches("/status");
                let name = name.rsplit('/').next().unwrap_or_default();
                let answer = if parts.method == "PATCH" {
                    let object: Value = serde_json::from_slice(&body).unwrap();
                    let reason = object["status"]["conditions"][0]["reason"].as_str();
                    let line = format!("PATCH {name} {}", reason.unwrap_or_default());
                    log.lock().unwrap().push(line);
                    Some(json!({"metadata": {"name": name, "resourceVersion": "2"}}))
                } else {
                    log.lock().unwrap().push(format!("{} {name}", parts.method));
                    connection
                };
                let (code, answer) = answer.map_or_else(
                    || {
                        (
                            404,
                            json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound"}),
                        )
                    },
                    |answer| (200, answer),
                );
                let body = Body::from(answer.to_string().into_bytes());
                Ok::<_, kube::Error>(Response::builder().status(code).body(body).unwrap())
            }
        });
        let writer = writer(ApiServer::of_a_test(Client::new(service, "a")));
        let inbox = Arc::new(Inbox::default());
        inbox.put(|news| news.is_synced = true);
        let directory = Directory::new(writer, Key::new("a", "corp"), Arc::clone(&inbox));
        Self {
            inbox,
            requests,
            running: tokio::spawn(directory.run()),
        }
    }

    /// A user with a verdict for its generation, or without one.
    fn user(&self, name: &str, reason: Option<&str>) {
        let conditions: Vec<Value> = reason
            .into_iter()
            .map(|reason| {
                json!({
                    "type": "Ready", "status": "True", "reason": reason, "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
                })
            })
            .collect();
        let user = json!({
            "metadata": {"namespace": "a", "name": name, "uid": name, "generation": 1, "resourceVersion": "1"},
            "spec": {
                "connectionRef": {"name": "corp"}, "userName": format!("{name}@example.com"),
                "name": {"givenName": "Given", "familyName": "Family"},
            },
            "status": {"observedGeneration": 1, "conditions": conditions},
        });
        let user: RawObject<ScimUser> = serde_json::from_value(user).unwrap();
        self.inbox
            .put(|news| drop(news.users.insert(name.into(), Some(user.into()))));
    }

    /// The connection, without a proof.
    fn unproven(&self, provisioning: &Value) {
        let spec: ScimBridgeConnectionSpec = serde_json::from_value(json!({
            "url": "https://bridge.example.com", "interval": "30s", "timeout": "10s",
            "apiKeySecretRef": {"name": "corp", "key": "apiKey"}, "provisioning": provisioning,
        }))
        .unwrap();
        let connection = FeedConnection {
            is_judged: true,
            handled: None,
            release: None,
            created: None,
            has_elder: false,
            uid: "u".into(),
            generation: 1,
            spec: spec.provisioning.is_some().then(|| Arc::new(spec)),
            proof: None,
            has_directory_status: Some(false),
        };
        self.inbox
            .put(|news| news.connection = Some(Service::Served(Box::new(connection))));
    }

    /// The requests from now on for so long, in order of their text.
    async fn within(&self, time: Duration) -> Vec<String> {
        self.requests.lock().unwrap().clear();
        sleep(time).await;
        let mut requests = self.requests.lock().unwrap().clone();
        requests.sort();
        requests
    }
}

fn on() -> Value {
    json!({
        "mode": "Plan", "scope": {"userNames": ["*"], "groups": ["*"]},
        "protected": {"userNames": ["owner@example.com"]},
    })
}

fn connection() -> Value {
    json!({"metadata": {"namespace": "a", "name": "corp", "uid": "u", "resourceVersion": "1"}})
}

const SECOND: Duration = Duration::from_secs(1);

/// Without a read only the verdict of a plan stands, and only for a time: five minutes, or three intervals.
#[tokio::test(start_paused = true)]
async fn a_planned_verdict_stands_for_a_time() {
    let scene = Scene::new(Some(connection()));
    for (name, reason) in [
        ("planned", Some("Provisioned")),
        ("held", Some("Held")),
        ("lost", Some("ConnectionNotFound")),
        ("off", Some("ProvisioningOff")),
        ("new", None),
    ] {
        scene.user(name, reason);
    }
    scene.unproven(&on());
    let at_once = [
        "GET corp",
        "GET corp",
        "PATCH lost ConnectionNotReady",
        "PATCH new ConnectionNotReady",
        "PATCH off ConnectionNotReady",
    ];
    assert_eq!(scene.within(SECOND).await, at_once);
    assert!(scene.within(298 * SECOND).await.is_empty());
    let later = [
        "PATCH held ConnectionNotReady",
        "PATCH planned ConnectionNotReady",
    ];
    assert_eq!(scene.within(2 * SECOND).await, later);
    assert!(scene.within(600 * SECOND).await.is_empty());
}

/// GitOps tools apply objects in any order.
#[tokio::test(start_paused = true)]
async fn a_missing_connection_has_some_time_to_come() {
    let scene = Scene::new(None);
    scene.user("ada", Some("Provisioned"));
    assert!(scene.within(29 * SECOND).await.is_empty());
    let told = ["GET corp", "PATCH ada ConnectionNotFound"];
    assert_eq!(scene.within(2 * SECOND).await, told);
    // Another one later arrives at once.
    scene.user("kim", None);
    let told = ["GET corp", "PATCH kim ConnectionNotFound"];
    assert_eq!(scene.within(SECOND).await, told);
    assert_eq!(scene.within(301 * SECOND).await, ["GET corp"]);
}

/// A connection that exists is served by another process.
#[tokio::test(start_paused = true)]
async fn a_connection_of_another_shard_is_looked_for_and_left_alone() {
    let scene = Scene::new(Some(connection()));
    scene.user("ada", Some("Provisioned"));
    scene.user("new", None);
    assert!(scene.within(29 * SECOND).await.is_empty());
    assert_eq!(scene.within(2 * SECOND).await, ["GET corp"]);
    assert_eq!(scene.within(300 * SECOND).await, ["GET corp"]);
}

/// The task ends with the last object, if its connection asks for nothing.
#[tokio::test(start_paused = true)]
async fn a_directory_of_nothing_ends() {
    let scene = Scene::new(Some(connection()));
    scene.user("ada", None);
    scene.unproven(&Value::Null);
    assert_eq!(scene.within(SECOND).await, ["PATCH ada ProvisioningOff"]);
    assert!(scene.within(600 * SECOND).await.is_empty());
    assert!(!scene.running.is_finished());
    scene
        .inbox
        .put(|news| drop(news.users.insert("ada".into(), None)));
    assert!(scene.within(SECOND).await.is_empty());
    assert!(scene.running.is_finished());
}
