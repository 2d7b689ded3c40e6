//! The process: signals, the admin server, what it says where it cannot work.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use bridge_front::Front;
use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{Role, RoleBinding},
};
use kube::api::PostParams;
use serde_json::{from_value, json};
use testbed::{
    bed::{Bed, DEADLINE, Gate, LOOPBACK, observed, pings, status},
    supervise::Signal,
};

/// Everything that the admin server answers, headers included.
pub(crate) async fn get(admin: SocketAddr, path: &str) -> String {
    ask(admin, "GET", path, "").await
}

async fn ask(admin: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let exchange = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(admin)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    });
    exchange.await.unwrap().unwrap()
}

#[tokio::test]
async fn the_admin_server_tells_health_and_counts() {
    let bed = Bed::new("admin").await;
    let bridge = bed.healthy_bridge().await;
    let operator = bed.operator(&[]).await;
    bed.connect_well("corp", &bridge).await;
    bed.expect("corp", "True Connected").await;

    for path in ["/livez", "/readyz"] {
        let answer = get(operator.admin(), path).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        assert!(answer.ends_with("\r\n\r\nok\n"), "{path}: {answer}");
    }
    let answer = get(operator.admin(), "/metrics").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{head}"
    );
    assert!(body.contains("# EOF"), "{body}");
    for (sample, value) in [
        ("probes_total{reason=\"Connected\",layer=\"none\"}", "1"),
        ("verdicts_total{change=\"news\"}", "1"),
        ("connections", "1"),
        ("leader", "1"),
        ("pass_failures_total", "0"),
        ("pass_panics_total", "0"),
        ("bridge_unlocks_total", "0"),
    ] {
        let line = format!("scim_bridge_operator_{sample} {value}");
        assert!(body.lines().any(|found| found == line), "{line} in:\n{body}");
    }
    for path in ["/", "/healthz", "/metrics/x"] {
        let answer = get(operator.admin(), path).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
}

/// An operator with one connection under probe, the bridge of another, and the gate that holds the probe.
async fn amid_a_probe(bed: &Bed<'_>) -> (testbed::bed::Operator, Gate, Front, Front) {
    let (gate, bridge) = Gate::new(bed).await;
    let late = bed.healthy_bridge().await;
    let operator = bed.operator(&[]).await;
    bed.connect_well("corp", &bridge).await;
    gate.reached(&bridge).await;
    (operator, gate, bridge, late)
}

#[tokio::test]
async fn a_signal_lets_probes_come_to_their_end() {
    let bed = Bed::new("drain").await;
    let (operator, gate, bridge, late) = amid_a_probe(&bed).await;
    operator.ask_to_end().await;
    bed.connect_well("late", &late).await;
    gate.open();
    let ended = operator.process().wait(DEADLINE).await.unwrap();
    assert_eq!(ended.code(), Some(0));

    // No waiting: what was to be written is there when the process has ended.
    let connection = bed.get("corp").await;
    assert_eq!(testbed::bed::line(&connection), "True Connected");
    assert_eq!(observed(&connection), 1);
    assert_eq!(
        (pings(&bridge), pings(&late)),
        (1, 0),
        "nothing is begun any more"
    );
    assert_eq!(observed(&bed.get("late").await), -1);
}

#[tokio::test]
async fn a_second_signal_aborts() {
    let bed = Bed::new("abort").await;
    let (operator, _gate, _bridge, _late) = amid_a_probe(&bed).await;
    operator.ask_to_end().await;
    operator.signal(Signal::Interrupt).unwrap();
    let ended = operator.process().wait(DEADLINE).await.unwrap();
    assert_eq!(ended.code(), Some(1));
    assert!(operator.logs().contains("aborted by a second signal"));
    assert_eq!(observed(&bed.get("corp").await), -1);
}

#[tokio::test]
async fn a_drain_has_an_end() {
    let bed = Bed::new("drained").await;
    let (gate, bridge) = Gate::new(&bed).await;
    let operator = bed.operator(&["--drain-timeout", "1s"]).await;
    bed.connect_well("corp", &bridge).await;
    gate.reached(&bridge).await;
    let ended = operator.terminate(DEADLINE).await.unwrap();
    assert_eq!(ended.code(), Some(0));
    operator.says("passes did not end in time").await;
}

/// What hinders the operator itself stands where people look: in the status.
#[tokio::test]
async fn a_missing_permission_is_said_in_the_status() {
    let bed = Bed::new("hindered").await;
    let bridge = bed.healthy_bridge().await;
    let account = json!({"metadata": {"name": "poor"}});
    let role = json!({"metadata": {"name": "poor"}, "rules": [
        {"apiGroups": ["scimbridge.dev"], "resources": ["scimbridgeconnections"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["scimbridge.dev"], "resources": ["scimbridgeconnections/status"], "verbs": ["patch"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]},
    ]});
    let binding = json!({
        "metadata": {"name": "poor"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "poor"},
        "subjects": [{"kind": "ServiceAccount", "name": "poor", "namespace": bed.namespace}],
    });
    let created = PostParams::default();
    let account: ServiceAccount = from_value(account).unwrap();
    bed.api().create(&created, &account).await.unwrap();
    let role: Role = from_value(role).unwrap();
    bed.api().create(&created, &role).await.unwrap();
    let binding: RoleBinding = from_value(binding).unwrap();
    bed.api().create(&created, &binding).await.unwrap();
    let kubeconfig = bed
        .cluster
        .service_account_kubeconfig(&bed.namespace, "poor")
        .await
        .unwrap();

    let flags = [&["--leader-elect=false"], &LOOPBACK[..]].concat();
    let operator = bed.spawn_as(&kubeconfig, &flags).await;
    bed.connect_well("corp", &bridge).await;
    let connection = bed.expect("corp", "Unknown Progressing Reconciling").await;
    let conditions = status(&connection).conditions;
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready")
        .unwrap();
    assert!(
        ready.message.contains("RBAC does not allow the operator to read"),
        "{}",
        ready.message
    );
    operator.says("pass failed").await;
    assert_eq!(pings(&bridge), 0);

    // Granted, it goes on by itself.
    let mut rules = role.rules.unwrap();
    rules[2].resources = Some(vec!["configmaps".to_owned(), "secrets".to_owned()]);
    bed.patch::<Role>("poor", json!({"rules": rules})).await;
    bed.expect("corp", "True Connected").await;
}

/// What was never right is said at once, and ends the process.
#[tokio::test]
async fn a_start_that_cannot_succeed_ends_with_a_reason() {
    let bed = Bed::new("hopeless").await;
    let nowhere = bed
        .spawn_as(
            std::path::Path::new("/nonexistent/kubeconfig"),
            &["--leader-elect=false"],
        )
        .await;
    let ended = nowhere.process().wait(DEADLINE).await.unwrap();
    assert_eq!(ended.code(), Some(1));
    assert!(nowhere.logs().contains("no cluster"), "{}", nowhere.logs());

    let wrong = bed.spawn(&["--allow-cidr", "everything"]).await;
    let ended = wrong.process().wait(DEADLINE).await.unwrap();
    assert_eq!(ended.code(), Some(1), "{}", wrong.logs());
}

/// One line for each verdict that was written, and its level is changed at run time.
#[tokio::test]
async fn the_log_tells_what_matters() {
    let bed = Bed::new("log").await;
    let bridge = bed.healthy_bridge().await;
    let operator = bed.operator(&["--log-format", "json"]).await;
    bed.connect_well("corp", &bridge).await;
    bed.expect("corp", "True Connected").await;
    let verdicts = || -> Vec<serde_json::Value> {
        let logs = operator.logs();
        let lines = logs.lines().filter_map(|line| serde_json::from_str(line).ok());
        lines
            .filter(|line: &serde_json::Value| line["name"] == "corp" && line["reason"].is_string())
            .collect()
    };
    let told = verdicts();
    assert_eq!(told.len(), 1, "{told:?}");
    let line = &told[0];
    assert_eq!(
        (&line["level"], &line["reason"], &line["layer"]),
        (&"INFO".into(), &"Connected".into(), &"none".into())
    );
    assert!(line["took"].as_f64().is_some_and(|took| took > 0.0), "{line}");
    assert_eq!(line["trace"].as_str().map(str::len), Some(32), "{line}");
    assert_eq!(line["namespace"], bed.namespace);
    assert_eq!(line["cause"], "NewGeneration");
    assert!(
        line["next"].is_string() && line["timestamp"].is_string(),
        "{line}"
    );
    assert_eq!(
        line["message"],
        "The bridge accepts the key and its SCIM API answers."
    );
    bed.probe("corp").await;
    let told = verdicts();
    assert_eq!(
        told.len(),
        2,
        "a request is answered in the status, and so in the log: {told:?}"
    );
    assert_ne!(told[0]["trace"], told[1]["trace"], "each pass has its own");

    let set = async |level: &str| ask(operator.admin(), "PUT", "/log-level", level).await;
    for (level, status) in [("=,=", "400"), (&"x".repeat(5000), "413"), ("warn", "200")] {
        let answer = set(level).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{level}: {answer}"
        );
    }
    bed.probe("corp").await;
    assert_eq!(verdicts().len(), 2, "that all is well is no warning");
    assert!(set("info").await.starts_with("HTTP/1.1 200 "));
    bed.probe("corp").await;
    assert_eq!(verdicts().len(), 3);

    // What is wrong is a warning, with where it was seen and what to do.
    bridge.set(|state| state.key = "canary-another-key".into());
    bed.probe("corp").await;
    bed.expect("corp", "False AuthFailed Stalled").await;
    let told = verdicts();
    let line = told.last().unwrap();
    assert_eq!(
        (&line["level"], &line["reason"], &line["layer"], &line["cause"]),
        (
            &"WARN".into(),
            &"AuthFailed".into(),
            &"users".into(),
            &"Requested".into()
        ),
        "{line}"
    );
    assert_eq!(line["failures"], 0, "{line}");
    let message = line["message"].as_str().unwrap();
    for words in ["refuses the API key", "(GET /scim/Users: 401)", "into the Secret"] {
        assert!(message.contains(words), "{words} in {message}");
    }
}
