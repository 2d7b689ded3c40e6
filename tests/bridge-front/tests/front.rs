//! The front as a client finds it: over TLS, in each mode, under faults, and as a program.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that finds something else has failed"
)]

use std::{
    collections::HashMap,
    error::Error,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use bridge_front::{ConnectionFault, Content, Control, Fault, Flavour, Front, Mode, Profile};
use reqwest::{Certificate, Client, Response, StatusCode, Version, header, redirect};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const KEY: &str = "a-key-for-tests";
/// No test takes this long, however slow the machine: it only ends those that have failed.
const LIMIT: Duration = Duration::from_mins(1);

async fn front() -> Front {
    Front::builder().for_any_client().key(KEY).start().await.unwrap()
}

fn client(front: &Front) -> Client {
    client_that_trusts(front.ca_pem().map(str::as_bytes))
}

fn client_that_trusts(ca_pem: Option<&[u8]>) -> Client {
    // The first test to come here installs it for all.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let roots = ca_pem.map(|pem| Certificate::from_pem(pem).unwrap());
    let builder = Client::builder().no_proxy().timeout(LIMIT).user_agent("test/1");
    builder
        .redirect(redirect::Policy::none())
        .tls_certs_only(roots)
        .build()
        .unwrap()
}

/// A client with its front, by path.
struct Visitor<'front> {
    front: &'front Front,
    client: Client,
}

impl<'front> Visitor<'front> {
    fn of(front: &'front Front) -> Self {
        Self {
            front,
            client: client(front),
        }
    }

    async fn without_key(&self, path: &str) -> reqwest::Result<Response> {
        self.client
            .get(format!("{}{path}", self.front.url()))
            .send()
            .await
    }

    async fn with_key(&self, path: &str) -> reqwest::Result<Response> {
        self.client
            .get(format!("{}{path}", self.front.url()))
            .bearer_auth(KEY)
            .send()
            .await
    }

    async fn status(&self, path: &str) -> StatusCode {
        self.with_key(path).await.unwrap().status()
    }

    async fn json(&self, path: &str) -> Value {
        parsed(self.with_key(path).await.unwrap()).await
    }

    /// The reports of `/health`, source to state.
    async fn components(&self) -> HashMap<String, String> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let health = self.json("/health").await;
        let reports = health["reports"].as_array().unwrap().iter();
        reports
            .map(|report| (text(&report["source"]), text(&report["state"])))
            .collect()
    }
}

fn content_type(response: &Response) -> &str {
    response.headers()[header::CONTENT_TYPE].to_str().unwrap()
}

/// The whole of a body, which ends.
async fn body(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        body.extend_from_slice(&chunk);
    }
    body
}

async fn parsed(response: Response) -> Value {
    serde_json::from_slice(&body(response).await).unwrap()
}

/// Everything an error says, down to its first cause.
fn causes(error: &dyn Error) -> String {
    let chain = std::iter::successors(Some(error), |error: &&dyn Error| Error::source(*error));
    chain
        .map(|error| format!("{error:?}"))
        .collect::<Vec<_>>()
        .join(" / ")
}

#[tokio::test]
async fn a_healthy_bridge_answers_on_all_its_paths() {
    let front = front().await;
    let visitor = Visitor::of(&front);

    let ping = visitor.without_key("/ping").await.unwrap();
    assert_eq!(
        (ping.status(), body(ping).await.as_slice()),
        (StatusCode::OK, b"pong".as_slice())
    );
    let root = visitor.without_key("/").await.unwrap();
    assert_eq!(root.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(root.headers()[header::LOCATION], "/app");
    assert!(content_type(&visitor.without_key("/app").await.unwrap()).starts_with("text/html"));
    assert_eq!(visitor.status("/metrics").await, StatusCode::OK);
    assert_eq!(visitor.status("/nowhere").await, StatusCode::NOT_FOUND);
    for path in ["/health", "/metrics", "/scim/Users", "/Groups"] {
        let response = visitor.without_key(path).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
        let response = visitor
            .client
            .get(format!("{}{path}", front.url()))
            .bearer_auth("wrong")
            .send()
            .await;
        assert_eq!(response.unwrap().status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(visitor.components().await.len(), 4);

    front.set(|state| (state.users, state.groups) = (128, 9));
    for path in ["/scim/Users?startIndex=1&count=1", "/Users?startIndex=1&count=1"] {
        let response = visitor.with_key(path).await.unwrap();
        assert_eq!(content_type(&response), "application/scim+json");
        let list = parsed(response).await;
        assert_eq!(list["totalResults"], 128);
        assert_eq!(list["Resources"].as_array().unwrap().len(), 1);
    }
    assert_eq!(
        visitor.json("/scim/Groups").await["Resources"]
            .as_array()
            .unwrap()
            .len(),
        9
    );
}

#[tokio::test]
async fn requests_are_recorded_without_the_key() {
    let front = front().await;
    let visitor = Visitor::of(&front);
    for path in ["/health", "/scim/Users?startIndex=1&count=1"] {
        // The body is read, or the connection could not be used again.
        body(visitor.with_key(path).await.unwrap()).await;
    }
    body(visitor.without_key("/ping").await.unwrap()).await;

    let requests = front.wait_for_requests(3, LIMIT).await.unwrap();
    let seen: Vec<_> = requests
        .iter()
        .map(|request| (request.target.as_str(), request.authorization))
        .collect();
    assert_eq!(
        seen,
        [
            ("/health", true),
            ("/scim/Users?startIndex=1&count=1", true),
            ("/ping", false)
        ]
    );
    assert_eq!(requests[1].path(), "/scim/Users");
    assert!(
        requests
            .iter()
            .all(|request| request.connection == requests[0].connection)
    );
    assert!(
        requests
            .iter()
            .all(|request| request.user_agent.as_deref() == Some("test/1"))
    );
    assert!(requests.is_sorted_by(|one, next| one.sequence < next.sequence && one.at <= next.at));
    let traffic = front.traffic();
    assert_eq!((traffic.connections, traffic.max_in_flight), (1, 1));
    assert!(!format!("{front:?} {traffic:?} {:?}", front.state()).contains(KEY));

    front.clear_requests();
    assert_eq!((front.requests().len(), front.traffic().connections), (0, 0));
    let unmet = front.wait_for_requests(1, Duration::ZERO).await.unwrap_err();
    assert!(unmet.to_string().contains("0 requests"), "{unmet}");
}

#[tokio::test]
async fn bodies_are_recorded_whole() {
    let front = front().await;
    let visitor = Visitor::of(&front);
    let long = json!({"displayName": "x".repeat(200_000)}).to_string();
    for body in [long.as_str(), "not JSON", ""] {
        let request = visitor.client.post(format!("{}/scim/Groups?a=b", front.url()));
        request.body(body.to_owned()).send().await.unwrap();
    }
    let requests = front.requests();
    let bodies: Vec<_> = requests.iter().map(|request| &request.body[..]).collect();
    assert_eq!(bodies, [long.as_bytes(), b"not JSON", b""]);
    assert_eq!(requests[0].query(), "a=b");
    assert_eq!(requests[0].json().unwrap().to_string(), long);
    assert_eq!(serde_json::to_value(&requests[1]).unwrap()["body"], "not JSON");
    assert_eq!(serde_json::to_value(&requests[2]).unwrap().get("body"), None);

    // A body that never comes whole is no reason to lose the request.
    front.clear_requests();
    front.set(|state| state.connection_fault = Some(ConnectionFault::Plaintext));
    let mut socket = TcpStream::connect(front.addr()).await.unwrap();
    socket
        .write_all(b"POST /scim/Users HTTP/1.1\r\nhost: front\r\ncontent-length: 9\r\n\r\n{}")
        .await
        .unwrap();
    socket.shutdown().await.unwrap();
    assert_eq!(front.wait_for_requests(1, LIMIT).await.unwrap()[0].method, "POST");
}

#[tokio::test]
async fn requests_at_once_are_counted() {
    let front = front().await;
    front.set(|state| state.fault("/", Fault::Silent));
    let (one, other) = (Visitor::of(&front), Visitor::of(&front));
    tokio::select! {
        _ = one.without_key("/ping") => panic!("a silent front answered"),
        _ = other.without_key("/ping") => panic!("a silent front answered"),
        met = front.wait_until(|traffic| traffic.in_flight == 2, LIMIT) => {
            assert_eq!(met.unwrap().max_in_flight, 2);
        }
    }
    drop((one, other));
    front
        .wait_until(|traffic| traffic.in_flight == 0, LIMIT)
        .await
        .unwrap();
}

#[tokio::test]
async fn google_workspace_mode_has_no_scim() {
    let front = front().await;
    front.set(|state| state.mode = Mode::GoogleWorkspace);
    let visitor = Visitor::of(&front);
    for path in ["/scim/Users", "/Users", "/scim/Groups", "/Groups"] {
        assert_eq!(visitor.status(path).await, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(visitor.status("/health").await, StatusCode::OK);
}

#[tokio::test]
async fn provisioning_off_shows_in_both_places() {
    let front = front().await;
    front.set(|state| state.provisioning_off = true);
    let visitor = Visitor::of(&front);
    assert_eq!(
        visitor.status("/scim/Users").await,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(
        visitor.without_key("/scim/Users").await.unwrap().status(),
        StatusCode::UNAUTHORIZED
    );
    let components = visitor.components().await;
    assert_eq!(components["ConfirmationWatcher"], "unhealthy");
    assert_eq!(components["RedisCache"], "healthy");
}

#[tokio::test]
async fn the_first_request_with_the_key_unlocks() {
    for path in ["/health", "/metrics", "/scim/Users"] {
        let front = Front::builder()
            .for_any_client()
            .key(KEY)
            .set(|state| state.locked = true)
            .start()
            .await
            .unwrap();
        let visitor = Visitor::of(&front);
        visitor.without_key(path).await.unwrap();
        visitor.with_key("/ping").await.unwrap();
        front.set(|state| state.fault("/metrics", Fault::ForbiddenHtml));
        visitor.with_key("/metrics").await.unwrap();
        assert!(
            front.state().locked,
            "nothing so far has shown the key to the bridge"
        );
        front.set(|state| state.faults.clear());

        if path == "/health" {
            let components = visitor.components().await;
            assert!(components.contains_key("RedisCache") && !components.contains_key("ConfirmationWatcher"));
        } else {
            visitor.with_key(path).await.unwrap();
        }
        assert_eq!(visitor.components().await.len(), 4, "{path}");
    }
}

#[tokio::test]
async fn the_hosted_service_has_scim_alone() {
    let front = front().await;
    front.set(|state| state.flavour = Flavour::Hosted);
    let visitor = Visitor::of(&front);
    for path in ["/scim/Users", "/scim/v2/Users"] {
        assert_eq!(visitor.status(path).await, StatusCode::OK, "{path}");
    }
    for path in ["/ping", "/health", "/Users", "/app"] {
        assert_eq!(visitor.status(path).await, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn certificates_are_wrong_in_the_way_that_was_asked_for() {
    let wrong = [
        (Profile::Expired, "Expired"),
        (Profile::Intermediate { days: -1 }, "Expired"),
        (Profile::NotYetValid, "NotValidYet"),
        (Profile::OtherName, "NotValidForName"),
        (Profile::OtherAuthority, "UnknownIssuer"),
        (Profile::SelfSigned, "UnknownIssuer"),
    ];
    for (profile, cause) in wrong {
        let front = Front::builder()
            .for_any_client()
            .certificate(profile)
            .start()
            .await
            .unwrap();
        let error = Visitor::of(&front).without_key("/ping").await.unwrap_err();
        assert!(causes(&error).contains(cause), "{profile:?}: {}", causes(&error));
        assert!(
            front.requests().is_empty(),
            "nothing is asked of a server that is not trusted"
        );
    }
}

#[tokio::test]
async fn another_certificate_holds_from_the_next_connection_on() {
    let front = front().await;
    let authority = front.authority().unwrap();
    front
        .present(authority.issue(Profile::Expired, &[]).unwrap())
        .unwrap();
    assert!(Visitor::of(&front).without_key("/ping").await.is_err());
    front
        .present(authority.issue(Profile::default(), &[]).unwrap())
        .unwrap();
    assert!(Visitor::of(&front).without_key("/ping").await.is_ok());
}

#[tokio::test]
async fn answers_are_replaced_by_faults() {
    let front = front().await;
    let visitor = Visitor::of(&front);
    let status = Fault::status;
    let cases = [
        (status(503, Content::Json), 503, "application/scim+json"),
        (status(502, Content::Html), 502, "text/html; charset=utf-8"),
        (status(7, Content::Empty), 500, "text/plain; charset=utf-8"),
        (Fault::Html, 200, "text/html; charset=utf-8"),
        (
            Fault::Redirect {
                location: "/app/login".into(),
            },
            302,
            "text/plain; charset=utf-8",
        ),
        (
            Fault::Redirect {
                location: "\n".into(),
            },
            500,
            "text/plain; charset=utf-8",
        ),
        (Fault::Unauthorized, 401, "application/scim+json"),
        (Fault::ForbiddenHtml, 403, "text/html; charset=utf-8"),
        (Fault::ForbiddenJson, 403, "application/scim+json"),
        (Fault::NotAList, 200, "application/scim+json"),
    ];
    for (fault, expected, kind) in cases {
        front.set(|state| state.fault("/scim/Users", fault.clone()));
        let response = visitor.with_key("/scim/Users?count=1").await.unwrap();
        assert_eq!(
            (response.status().as_u16(), content_type(&response)),
            (expected, kind),
            "{fault:?}"
        );
        assert_eq!(
            visitor.status("/scim/Groups").await,
            StatusCode::OK,
            "{fault:?} is of one path"
        );
    }

    let limited = Fault::Status {
        status: 429,
        body: Content::Json,
        retry_after: Some("17".into()),
    };
    front.set(|state| state.fault("/", limited));
    let response = visitor.without_key("/ping").await.unwrap();
    assert_eq!(
        (response.status(), &response.headers()["retry-after"]),
        (StatusCode::TOO_MANY_REQUESTS, &"17".parse().unwrap())
    );
}

#[tokio::test]
async fn bodies_are_not_what_they_seem() {
    let front = front().await;
    let visitor = Visitor::of(&front);
    for fault in [
        Fault::BrokenJson,
        Fault::InvalidUtf8,
        Fault::DeepJson { depth: 100_000 },
        Fault::FalseGzip,
    ] {
        front.set(|state| state.fault("/scim", fault.clone()));
        let response = visitor.with_key("/scim/Users").await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{fault:?}");
        let body = body(response).await;
        assert!(serde_json::from_slice::<Value>(&body).is_err(), "{fault:?}");
    }

    let oversized = Fault::Oversized {
        bytes: Some(3_000_000),
    };
    front.set(|state| state.fault("/scim", oversized));
    let body = body(visitor.with_key("/scim/Users").await.unwrap()).await;
    assert_eq!(body.len(), 3_000_000);
    assert!(
        serde_json::from_slice::<Value>(&body).is_ok(),
        "what is wrong with it is its size alone"
    );

    front.set(|state| state.fault("/scim", Fault::Drip { interval_ms: 0 }));
    let users = visitor.json("/scim/Users").await;
    assert_eq!(users["totalResults"], 3);

    front.set(|state| state.fault("/scim", Fault::Delay { ms: 1 }));
    assert_eq!(visitor.json("/scim/Users").await, users);

    front.set(|state| state.fault("/scim", Fault::ManyHeaders { count: 90 }));
    let response = visitor.with_key("/scim/Users").await.unwrap();
    assert_eq!(
        response
            .headers()
            .keys()
            .filter(|name| name.as_str().starts_with("x-filler-"))
            .count(),
        90
    );
    front.set(|state| state.fault("/scim", Fault::ManyHeaders { count: 20_000 }));
    assert!(visitor.with_key("/scim/Users").await.is_err());
}

#[tokio::test]
async fn bodies_end_too_late_or_too_soon() {
    let front = front().await;
    let visitor = Visitor::of(&front);

    front.set(|state| state.fault("/ping", Fault::Truncated));
    let mut response = visitor.without_key("/ping").await.unwrap();
    assert_eq!(response.content_length(), Some(4));
    assert_eq!(response.chunk().await.unwrap().unwrap(), "po");
    assert!(response.chunk().await.is_err());

    front.set(|state| state.fault("/ping", Fault::DeclaredLength { bytes: 1 << 40 }));
    let mut response = visitor.without_key("/ping").await.unwrap();
    assert_eq!(response.content_length(), Some(1 << 40));
    assert_eq!(response.chunk().await.unwrap().unwrap(), "pong");
    drop(response);

    front.set(|state| state.fault("/ping", Fault::Oversized { bytes: None }));
    let mut response = visitor.without_key("/ping").await.unwrap();
    assert_eq!(response.content_length(), None);
    let mut read = 0;
    while read < 2_000_000 {
        read += response.chunk().await.unwrap().unwrap().len();
    }
    drop(response);
    // The front lets go of a peer that has gone.
    front
        .wait_until(|traffic| traffic.in_flight == 0, LIMIT)
        .await
        .unwrap();
}

#[tokio::test]
async fn connections_end_before_the_answer() {
    let front = Front::builder()
        .for_any_client()
        .plaintext()
        .start()
        .await
        .unwrap();
    for (fault, reset) in [(Fault::Close, false), (Fault::Reset, true)] {
        front.set(|state| state.fault("/ping", fault));
        let mut socket = TcpStream::connect(front.addr()).await.unwrap();
        socket
            .write_all(b"GET /ping HTTP/1.1\r\nhost: front\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        let outcome = socket.read_to_end(&mut answer).await;
        assert_eq!(outcome.map_err(|error| error.kind()).is_err(), reset);
        assert!(answer.is_empty());
    }
    assert_eq!(front.requests().len(), 2);
}

#[tokio::test]
async fn connections_fail_before_there_is_a_request() {
    let front = front().await;
    for fault in [
        ConnectionFault::Close,
        ConnectionFault::Reset,
        ConnectionFault::Plaintext,
    ] {
        front.set(|state| state.connection_fault = Some(fault));
        assert!(
            Visitor::of(&front).without_key("/ping").await.is_err(),
            "{fault:?}"
        );
    }
    front.clear_requests();
    front.set(|state| state.connection_fault = Some(ConnectionFault::Silent));
    let visitor = Visitor::of(&front);
    tokio::select! {
        outcome = visitor.without_key("/ping") => panic!("a silent front ended it: {outcome:?}"),
        met = front.wait_until(|traffic| traffic.connections == 1, LIMIT) => drop(met.unwrap()),
    }
    assert!(front.requests().is_empty());
}

#[tokio::test]
async fn plain_http_and_tls_are_told_apart() {
    let front = front().await;
    let ask = async || {
        let mut socket = TcpStream::connect(front.addr()).await.unwrap();
        socket
            .write_all(b"GET /ping HTTP/1.1\r\nhost: front\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    };
    assert!(
        ask()
            .await
            .ends_with("Client sent an HTTP request to an HTTPS server.\n")
    );
    front.set(|state| state.connection_fault = Some(ConnectionFault::Plaintext));
    assert!(ask().await.ends_with("pong"));
}

#[tokio::test]
async fn scim_is_forwarded_and_authenticated_upstream() {
    let server = Front::builder()
        .for_any_client()
        .plaintext()
        .key(KEY)
        .start()
        .await
        .unwrap();
    let upstream = format!("{}/scim", server.url()).parse().unwrap();
    // The key of the front is another one: it is the upstream that decides about SCIM.
    let front = Front::builder()
        .for_any_client()
        .key("of-the-front")
        .upstream(upstream)
        .start()
        .await
        .unwrap();
    let visitor = Visitor::of(&front);

    assert_eq!(
        visitor.json("/scim/Users?startIndex=2&count=1").await["startIndex"],
        2
    );
    assert_eq!(visitor.json("/Groups").await["totalResults"], 1);
    assert_eq!(
        visitor.without_key("/Users").await.unwrap().status(),
        StatusCode::UNAUTHORIZED
    );
    let created = visitor
        .client
        .post(format!("{}/Users", front.url()))
        .bearer_auth(KEY)
        .body("{}")
        .send()
        .await;
    assert_eq!(created.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    let asked: Vec<_> = server
        .requests()
        .into_iter()
        .map(|request| (request.method, request.target))
        .collect();
    let expected = [
        ("GET", "/scim/Users?startIndex=2&count=1"),
        ("GET", "/scim/Groups"),
        ("GET", "/scim/Users"),
        ("POST", "/scim/Users"),
    ];
    assert_eq!(
        asked,
        expected.map(|(method, target)| (method.to_owned(), target.to_owned()))
    );

    server.stop().await;
    assert_eq!(visitor.status("/Users").await, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn an_old_upstream_does_not_show() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let serving = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            socket
                .write_all(b"HTTP/1.0 200 OK\r\nserver: old\r\n\r\n{}")
                .await
                .unwrap();
        }
    });
    let front = Front::builder()
        .for_any_client()
        .key(KEY)
        .upstream(upstream)
        .start()
        .await
        .unwrap();
    let visitor = Visitor::of(&front);
    for _ in 0..2 {
        let response = visitor.with_key("/scim/Users").await.unwrap();
        assert_eq!(
            (response.version(), response.headers().get(header::SERVER)),
            (Version::HTTP_11, None)
        );
        assert_eq!(parsed(response).await, json!({}));
    }
    assert_eq!(
        front.traffic().connections,
        1,
        "the connection to the front outlives that to the upstream"
    );
    serving.abort();
}

#[tokio::test]
async fn a_front_that_stopped_is_gone() {
    let front = front().await;
    let (address, visitor_front) = (front.addr(), client(&front));
    let url = format!("{}/ping", front.url());
    front.set(|state| state.fault("/", Fault::Silent));
    let pending = tokio::spawn(visitor_front.get(url).send());
    front.wait_for_requests(1, LIMIT).await.unwrap();
    front.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
    assert!(pending.await.unwrap().is_err());
}

#[tokio::test]
async fn the_control_port_changes_the_state() {
    let front = front().await;
    let everywhere = "0.0.0.0:0".parse().unwrap();
    assert!(
        Control::start(&front, everywhere).await.is_err(),
        "it has no authentication"
    );
    let control = Control::start(&front, "127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let url = |path| format!("http://{}{path}", control.addr());
    let client = client(&front);

    let patch = json!({"mode": "google-workspace", "faults": {"/ping": {"kind": "html"}}}).to_string();
    let response = client.patch(url("/state")).body(patch).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(front.state().mode, Mode::GoogleWorkspace);
    assert_eq!(front.state().faults.len(), 1);
    let shown = parsed(client.get(url("/state")).send().await.unwrap())
        .await
        .to_string();
    assert!(
        shown.contains("google-workspace") && !shown.contains(KEY),
        "{shown}"
    );

    for wrong in ["{\"mood\": 1}", "{"] {
        let response = client.patch(url("/state")).body(wrong).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }

    Visitor::of(&front).with_key("/ping").await.unwrap();
    let traffic = parsed(client.get(url("/requests")).send().await.unwrap()).await;
    assert_eq!(traffic["requests"][0]["target"], "/ping");
    assert_eq!(traffic["requests"][0]["authorization"], true);
    assert_eq!(
        client.delete(url("/requests")).send().await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
    assert!(front.requests().is_empty());
}

/// The program, ended when a test fails before it is.
struct Program(std::process::Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_program_listens_and_ends_by_a_signal() {
    let program = || {
        let mut program = Command::new(env!("CARGO_BIN_EXE_bridge-front"));
        program.env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
        program
    };
    let keyless = program().arg("--plaintext").output().unwrap();
    assert!(!keyless.status.success());
    assert!(String::from_utf8_lossy(&keyless.stderr).contains("BRIDGE_FRONT_KEY"));

    let directory = std::env::temp_dir().join(format!("bridge-front-program-{}", std::process::id()));
    let mut command = program();
    command
        .env("BRIDGE_FRONT_KEY", KEY)
        .env("BRIDGE_FRONT_MODE", "google-workspace")
        .arg("--ca-dir")
        .arg(&directory);
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--control",
        "127.0.0.1:0",
        "--component",
        "Other=odd",
    ]);
    let mut program = Program(command.spawn().unwrap());
    let mut lines = BufReader::new(program.0.stdout.take().unwrap()).lines();
    let control = lines.next().unwrap().unwrap();
    let control = control.strip_prefix("control on ").unwrap();
    let listening = lines.next().unwrap().unwrap();
    let url = listening.strip_prefix("listening on ").unwrap();

    let ca = std::fs::read(directory.join("ca.crt")).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    let client = client_that_trusts(Some(&ca));
    let status = async |path: &str| {
        client
            .get(format!("{url}{path}"))
            .bearer_auth(KEY)
            .send()
            .await
            .unwrap()
            .status()
    };
    assert_eq!(status("/scim/Users").await, StatusCode::NOT_FOUND);
    let patch = client
        .patch(format!("{control}/state"))
        .body("{\"mode\": \"push\"}")
        .send()
        .await
        .unwrap();
    assert_eq!(parsed(patch).await["components"]["Other"], "odd");
    assert_eq!(status("/scim/Users").await, StatusCode::OK);

    let signalled = Command::new("kill")
        .arg(program.0.id().to_string())
        .status()
        .unwrap();
    assert!(signalled.success());
    assert!(program.0.wait().unwrap().success(), "a signal is an orderly end");
}
