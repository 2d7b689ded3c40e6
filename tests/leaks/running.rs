//! The operator at work: one connection for each reason, at the finest log level, and by way of a proxy.

use std::{fs, path::Path};

use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{ConfigMap, Event, Secret},
};
use kube::{
    Api,
    api::{ListParams, Patch},
};
use scim_bridge_operator::api::{FIELD_MANAGER, vocabulary::Reason};
use serde_json::{Value, json};
use testbed::{
    Collector, OperatorProcess,
    bed::{Bed, DEADLINE, LOOPBACK, OPERATOR, status, user},
    free_port, spec, wait,
};

use crate::{
    canary::Canaries,
    checking,
    peer::{Authority, Peer, Sayings},
    rows::{Row, Stage},
    surfaces::Outputs,
};

/// As fine as the log can be asked for, for every library that has something to say.
const FINEST: &str = "trace,scim_bridge_operator=trace,hyper=trace,hyper_util=trace,h2=trace,reqwest=trace,rustls=trace,\
                      kube=trace,kube_client=trace,kube_runtime=trace,k8s_controller=trace,tower=trace,tower_http=trace,\
                      hickory_resolver=trace,hickory_proto=trace,axum=trace,tokio=trace";

/// An operator for the bed's namespace that logs all it can.
pub(crate) async fn start(bed: &Bed<'_>, more: &[&str], envs: &[(&str, &str)]) -> OperatorProcess {
    let binary = Path::new(env!("CARGO_BIN_EXE_scim-bridge-operator"));
    let envs = [&[("RUST_BACKTRACE", "full"), ("RUST_LOG", "trace")], envs].concat();
    loop {
        let admin = format!("127.0.0.1:{}", free_port().unwrap());
        let own = [
            "run",
            "--admin-addr",
            &admin,
            "--namespaces",
            &bed.namespace,
            "--leader-elect=false",
        ];
        let args = [
            &own,
            &LOOPBACK[..],
            &["--log-level", FINEST, "--drain-timeout", "1s"],
            more,
        ]
        .concat();
        let operator = OperatorProcess::spawn(binary, &bed.kubeconfig, &args, &envs).unwrap();
        let ready = operator.ready(DEADLINE).await;
        // Somebody else may take a port between the moment that it was free and the moment that it is used.
        if ready.is_err() && operator.logs().contains("cannot listen") {
            continue;
        }
        ready.unwrap();
        return operator;
    }
}

async fn create(bed: &Bed<'_>, row: &Row, canaries: &Canaries) {
    let Row {
        name,
        url,
        spec,
        secret,
        ..
    } = row;
    if let Some(secret) = secret {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "annotations": secret.annotations}, "stringData": secret.data,
        });
        let secrets: Api<Secret> = bed.api();
        secrets.patch(name, &user(), &Patch::Apply(secret)).await.unwrap();
    }
    bed.connect_url(name, url, spec).await;
    bed.annotate(
        name,
        "example.com/note",
        &canaries.text(format!("{name}: annotation")),
    )
    .await;
}

/// All that a running operator shows, and what it wrote. A new way out belongs here.
async fn collect(
    outputs: &mut Outputs,
    who: &str,
    operator: &OperatorProcess,
    bed: &Bed<'_>,
    authority: &Authority,
) {
    outputs.add(
        format!("{who}: /metrics"),
        operator.metrics().await.unwrap(),
        "probes_total",
    );
    outputs.add(
        format!("{who}: /readyz"),
        operator.get("readyz").await.unwrap(),
        "ok",
    );
    outputs.add(
        format!("{who}: /livez"),
        operator.get("livez").await.unwrap(),
        "ok",
    );
    let process = Path::new("/proc").join(operator.process().pid().to_string());
    if process.exists() {
        let arguments = fs::read(process.join("cmdline")).unwrap();
        outputs.add(format!("{who}: process arguments"), arguments, "--drain-timeout");
        let environment = fs::read(process.join("environ")).unwrap();
        outputs.add_with(
            format!("{who}: environment"),
            environment,
            "KUBECONFIG",
            &["password of the proxy"],
        );
    }
    for connection in bed.connections().list(&ListParams::default()).await.unwrap() {
        let name = connection.metadata.name.clone().unwrap();
        let mut written = json!({
            "status": connection.status,
            "managedFields": connection.metadata.managed_fields.unwrap_or_default().into_iter()
                .filter(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER)).collect::<Vec<_>>(),
        });
        // The one foreign text that a status shows, and only there.
        if let Some(issuer) = written.pointer_mut("/status/certificate/issuer") {
            assert_eq!(issuer.take(), Value::from(authority.name.as_str()), "{name}");
        }
        outputs.add(
            format!("{who}: what was written to {name}"),
            written.to_string(),
            "lastTransitionTime",
        );
    }
    outputs.add(
        format!("{who}: events"),
        serde_json::to_string(&every_event(bed).await).unwrap(),
        "AuthFailed",
    );
    let leases: Api<Lease> = Api::namespaced(bed.client.clone(), OPERATOR);
    let leases = leases.list(&ListParams::default()).await.unwrap();
    outputs.add(
        format!("{who}: leases"),
        serde_json::to_string(&leases.items).unwrap(),
        "",
    );
}

/// All events, once there is one about each connection: they come a little later than the status.
async fn every_event(bed: &Bed<'_>) -> Vec<Event> {
    let connections = bed.connections().list(&ListParams::default()).await.unwrap();
    let found = wait::until(DEADLINE, "an event about each connection", async || {
        let events = bed.api::<Event>().list(&ListParams::default()).await.unwrap();
        let silent = connections.iter().find(|connection| {
            let about = |event: &Event| event.involved_object.name == connection.metadata.name;
            !events.iter().any(about)
        });
        match silent {
            None => Ok(events.items),
            Some(connection) => Err(format!("none about {:?}", connection.metadata.name)),
        }
    });
    found.await.unwrap_or_else(|error| panic!("{error}"))
}

/// The token of a kubeconfig: a secret of the operator's own.
fn adopt_token(canaries: &Canaries, kubeconfig: &Path) {
    let text = fs::read_to_string(kubeconfig).unwrap();
    let signature = text
        .split(|c: char| c.is_whitespace() || "\"',{}".contains(c))
        .filter_map(|word| word.rsplit_once('.'))
        .map(|(_, signature)| signature)
        .find(|signature| signature.len() > 80)
        .expect("the kubeconfig has a token");
    // Its end: long enough, and without what all tokens have in common.
    canaries.adopt(
        "token of the operator's ServiceAccount",
        &signature[signature.len() - 40..],
    );
}

#[tokio::test]
async fn every_reason_at_the_finest_log_level() {
    let canaries = Canaries::default();
    let (authority, stranger) = (Authority::new(&canaries), Authority::new(&canaries));
    let stage = Stage {
        canaries: &canaries,
        authority: &authority,
        stranger: &stranger,
    };
    let bed = Bed::new("leaks").await;
    adopt_token(&canaries, &bed.kubeconfig);
    let config_maps: Api<ConfigMap> = bed.api();
    config_maps
        .patch(testbed::bed::CA, &user(), &Patch::Apply(stage.ca()))
        .await
        .unwrap();
    let rows: Vec<(Reason, Row)> = Reason::ALL
        .iter()
        .map(|reason| (*reason, stage.row(*reason)))
        .collect();
    for (_, row) in &rows {
        create(&bed, row, &canaries).await;
    }
    // A key to rehearse, beside one that is accepted. Its own connection names another Secret at first: what works from
    // the beginning is never told.
    let next = Row {
        name: "next".to_owned(),
        spec: spec().secret("absent"),
        ..stage.row(Reason::Connected)
    };
    create(&bed, &next, &canaries).await;
    bed.edit("connected", spec().next_secret("next")).await;

    let collector = Collector::start().await.unwrap();
    let flags = ["--log-format", "json", "--otlp-endpoint", &collector.url()];
    let operator = start(&bed, &flags, &[]).await;
    let connections = bed.connections();
    for (reason, row) in &rows {
        let reached = wait::until_object(DEADLINE, reason.as_str(), &connections, &row.name, |object| {
            let conditions = status(object).conditions;
            conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.reason == reason.as_str())
        });
        reached
            .await
            .unwrap_or_else(|error| panic!("no connection comes to {reason}: {error}\n{}", operator.logs()));
        let heard = row.peer.as_ref().map(Peer::heard).unwrap_or_default();
        assert!(
            heard.contains(&row.sent),
            "{reason}: its peer has got no key, so this row proves less than it should"
        );
    }
    bed.until("next", "SecretNotFound", |object| {
        testbed::bed::line(object).contains("SecretNotFound")
    })
    .await;
    bed.edit("next", spec().secret("next")).await;
    let told = wait::until(DEADLINE, "a recovery to be told", async || {
        let events = bed.api::<Event>().list(&ListParams::default()).await.unwrap();
        let is_told = events.iter().any(|event| {
            event.involved_object.name.as_deref() == Some("next")
                && event.reason.as_deref() == Some(Reason::Connected.as_str())
        });
        is_told.then_some(())
    });
    told.await.unwrap_or_else(|error| panic!("{error}"));
    let mut outputs = Outputs::default();
    collect(&mut outputs, "every reason", &operator, &bed, &authority).await;
    let names: Vec<&str> = rows.iter().map(|(_, row)| row.name.as_str()).collect();
    checking::collect(&mut outputs, &bed, &names, &authority).await;
    operator.terminate(DEADLINE).await.unwrap();
    outputs.add("every reason: the log", operator.logs(), r#""level":"DEBUG""#);
    outputs.add(
        "every reason: the traces",
        collector.batches().concat(),
        "scimbridge.reason",
    );
    outputs.assert_clean(&canaries);
}

#[tokio::test]
async fn by_way_of_a_proxy_with_a_password() {
    let canaries = Canaries::default();
    let authority = Authority::new(&canaries);
    let bed = Bed::new("leaks-proxy").await;
    let says = Sayings::new(&canaries, "proxy");
    let proxy = Peer::plain(Box::new(move |target| match target {
        "http://refused.example.com/ping" => says.pong(),
        target if target.starts_with("http://") => says.error(401),
        _ => says.page(407),
    }));
    let password = canaries.text("password of the proxy");
    let url = format!("http://user:{password}@{}", proxy.address());
    let key = canaries.key("key that goes through the proxy");
    for (name, url) in [
        ("tunnel", "https://bridge.example.com"),
        ("refused", "http://refused.example.com"),
    ] {
        bed.secret(name, &key).await;
        let mut more = json!({"allowPlaintext": true});
        if url.starts_with("http://") {
            more["tls"] = Value::Null;
        }
        bed.connect_url(name, url, more).await;
    }
    let operator = start(&bed, &["--log-format", "text"], &[("BRIDGE_PROXY", &url)]).await;
    for (name, reason) in [("tunnel", ""), ("refused", "AuthFailed")] {
        bed.until(name, reason, |object| {
            testbed::bed::observed(object) == 1 && testbed::bed::line(object).contains(reason)
        })
        .await;
    }
    let heard = proxy.heard();
    assert!(
        heard.contains("CONNECT bridge.example.com:443") && heard.contains(&key),
        "{heard}"
    );
    let mut outputs = Outputs::default();
    collect(&mut outputs, "proxy", &operator, &bed, &authority).await;
    operator.terminate(DEADLINE).await.unwrap();
    outputs.add("proxy: the log", operator.logs(), "DEBUG");
    outputs.assert_clean(&canaries);
}
