//! What stands between an operator and the API server: writes down each request, and lets go wrong what the test says.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Instant,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{Method, Request, Response, StatusCode, header},
};
use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{broadcast, watch},
    task::JoinHandle,
};

use crate::scratch::Scratch;

/// One request of the operator.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What it asks for.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// When it came.
    pub begun: Instant,
    /// The status that the operator was given; `None` where it got none.
    pub status: Option<u16>,
}

impl Exchange {
    /// Whether it is a server-side apply of a status.
    pub fn writes_status(&self) -> bool {
        self.method == Method::PATCH && self.target.contains("/status")
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// This status, and the API server never hears of the request.
    Answer(u16),
    /// The API server does as it is asked, and nobody is told.
    Lost,
    /// Nothing, until the operator gives up.
    Hang,
}

type Applies = Box<dyn Fn(&Method, &str) -> bool + Send>;

/// The next `left` requests to which it applies meet this fate.
struct Rule {
    applies: Applies,
    fate: Fate,
    left: usize,
}

#[derive(Default)]
struct Log {
    exchanges: Vec<Exchange>,
    rules: VecDeque<Rule>,
}

/// A proxy with the rights of one kubeconfig.
pub struct Proxy {
    log: Arc<Mutex<Log>>,
    cut: broadcast::Sender<()>,
    lines: broadcast::Sender<(&'static str, Bytes)>,
    is_open: watch::Sender<bool>,
    kubeconfig: PathBuf,
    serving: JoinHandle<()>,
    _scratch: Arc<Scratch>,
}

#[derive(Clone)]
struct Shared {
    client: Client,
    log: Arc<Mutex<Log>>,
    cut: broadcast::Sender<()>,
    lines: broadcast::Sender<(&'static str, Bytes)>,
    is_open: watch::Receiver<bool>,
}

impl Proxy {
    /// One that acts with this kubeconfig.
    pub async fn new(kubeconfig: &Path) -> Self {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let scratch = Scratch::new("proxy").unwrap();
        let path = scratch.path().join("kubeconfig");
        let own = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": url}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy", "namespace": "default"}}],
        });
        std::fs::write(&path, own.to_string()).unwrap();
        let (is_open, open) = watch::channel(true);
        let shared = Shared {
            client: Client::try_from(config.unwrap()).unwrap(),
            log: Arc::default(),
            cut: broadcast::channel(16).0,
            lines: broadcast::channel(65_536).0,
            is_open: open,
        };
        let (log, cut, lines) = (Arc::clone(&shared.log), shared.cut.clone(), shared.lines.clone());
        let router = Router::new().fallback(forward).with_state(shared);
        Self {
            log,
            cut,
            lines,
            is_open,
            kubeconfig: path,
            serving: tokio::spawn(async { axum::serve(listener, router).await.unwrap() }),
            _scratch: scratch,
        }
    }

    /// What the operator is given in place of the API server's.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The next so many requests to which it applies, by method and by path with query, meet this fate.
    pub fn spoil(&self, left: usize, fate: Fate, applies: impl Fn(&Method, &str) -> bool + Send + 'static) {
        let applies = Box::new(applies);
        let mut log = self.log.lock().unwrap();
        log.rules.push_back(Rule { applies, fate, left });
    }

    /// How many requests are still to be spoiled.
    pub fn unspoiled(&self) -> usize {
        self.log.lock().unwrap().rules.iter().map(|rule| rule.left).sum()
    }

    /// Ends every watch in the middle.
    pub fn cut_watches(&self) {
        let _ = self.cut.send(());
    }

    /// Tells every watch of this resource that the object was modified, in the API server's own words: the type of an
    /// event comes before the object, as in Go's `metav1.WatchEvent`. Returns how many watches there are.
    pub fn inject(&self, resource: &'static str, object: &Value) -> usize {
        let line = format!("{{\"type\":\"MODIFIED\",\"object\":{object}}}\n");
        self.lines.send((resource, line.into())).unwrap_or_default()
    }

    /// Lets nothing through any more, in either direction.
    pub fn partition(&self) {
        self.is_open.send_replace(false);
        self.cut_watches();
    }

    /// Lets everything through again.
    pub fn heal(&self) {
        self.is_open.send_replace(true);
    }

    /// All requests so far.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.log.lock().unwrap().exchanges.clone()
    }

    /// How many requests there were of this kind.
    pub fn count(&self, fits: impl Fn(&Exchange) -> bool) -> usize {
        self.exchanges().iter().filter(|exchange| fits(exchange)).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn forward(State(shared): State<Shared>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().unwrap().to_string();
    let (place, fate) = {
        let mut log = shared.log.lock().unwrap();
        log.exchanges.push(Exchange {
            method: parts.method.clone(),
            target: target.clone(),
            begun: Instant::now(),
            status: None,
        });
        let rule = log
            .rules
            .iter_mut()
            .find(|rule| rule.left > 0 && (rule.applies)(&parts.method, &target));
        let fate = rule.map(|rule| {
            rule.left -= 1;
            rule.fate
        });
        (log.exchanges.len() - 1, fate)
    };
    let mut is_open = shared.is_open.clone();
    // Only fails when the test has ended.
    let _ = is_open.wait_for(|open| *open).await;
    let answer = match fate {
        Some(Fate::Hang) => std::future::pending().await,
        Some(Fate::Answer(code)) => refusal(code),
        Some(Fate::Lost) => {
            ask(&shared, &parts, body, &target).await;
            std::future::pending().await
        }
        None => ask(&shared, &parts, body, &target).await,
    };
    let _ = is_open.wait_for(|open| *open).await;
    shared.log.lock().unwrap().exchanges[place].status = Some(answer.status().as_u16());
    answer
}

async fn ask(shared: &Shared, parts: &http::request::Parts, body: Body, target: &str) -> Response<Body> {
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut request = Request::builder().method(&parts.method).uri(target);
    for name in [header::ACCEPT, header::CONTENT_TYPE] {
        if let Some(value) = parts.headers.get(&name) {
            request = request.header(name, value);
        }
    }
    let request = request.body(kube::client::Body::from(body.to_vec())).unwrap();
    let is_watch = target.contains("watch=true") || target.contains("watch=1");
    match shared.client.send(request).await {
        Err(_) => refusal(502),
        Ok(response) => {
            let (mut parts, body) = response.into_parts();
            for name in [
                header::CONTENT_LENGTH,
                header::TRANSFER_ENCODING,
                header::CONNECTION,
            ] {
                parts.headers.remove(name);
            }
            let body = Body::new(body);
            let body = if is_watch {
                watched(shared, target, body)
            } else {
                body
            };
            Response::from_parts(parts, body)
        }
    }
}

/// The events of a watch, with the lines of the test between them, until the test cuts it.
fn watched(shared: &Shared, target: &str, body: Body) -> Body {
    let lines = own_lines(shared, target.to_owned());
    let mut cut = shared.cut.subscribe();
    let end = async move { cut.recv().await }.map(|_| ());
    let events = whole_lines(body).boxed();
    // The genuine end is an end.
    let (done, is_done) = tokio::sync::oneshot::channel::<()>();
    let events = events.chain(stream::once(async move {
        drop(done);
        Ok(Bytes::new())
    }));
    let lines = lines.take_until(is_done.map(|_| ()));
    Body::from_stream(stream::select(events, lines.boxed()).take_until(Box::pin(end)))
}

/// An event may come in pieces; nothing may be put between them.
fn whole_lines(body: Body) -> impl Stream<Item = Result<Bytes, axum::Error>> + Send + 'static {
    let pieces = (body.into_data_stream(), Vec::new());
    stream::unfold(pieces, |(mut pieces, mut begun)| async move {
        loop {
            match pieces.next().await? {
                Err(error) => return Some((Err(error), (pieces, begun))),
                Ok(piece) => begun.extend_from_slice(&piece),
            }
            if let Some(end) = begun.iter().rposition(|byte| *byte == b'\n') {
                let rest = begun.split_off(end + 1);
                return Some((Ok(Bytes::from(begun)), (pieces, rest)));
            }
        }
    })
}

fn own_lines(
    shared: &Shared,
    target: String,
) -> impl Stream<Item = Result<Bytes, axum::Error>> + Send + 'static {
    stream::unfold(shared.lines.subscribe(), move |mut lines| {
        let target = target.clone();
        async move {
            loop {
                match lines.recv().await {
                    Ok((resource, line)) if target.contains(&format!("/{resource}")) => {
                        return Some((Ok(line), lines));
                    }
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        }
    })
}

/// An answer as the API server gives it.
fn refusal(code: u16) -> Response<Body> {
    let status = StatusCode::from_u16(code).unwrap();
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": status.canonical_reason().unwrap_or_default().replace(' ', ""), "message": "as the test says",
    });
    let response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json");
    response.body(Body::from(body.to_string())).unwrap()
}
