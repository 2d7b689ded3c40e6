//! A panic with a key in its message: in the probe of the real controller, in a process of its own.

use std::{
    env,
    process::Command,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use scim_bridge_operator::{
    args::LogFormat,
    bridge::{Lanes, ProbeRequest, Prober, wire::address::AddressPolicy},
    clock::SystemClock,
    cluster::call::ApiServer,
    controller::{
        Readiness,
        context::{Context, Settings},
        drive,
    },
    domain::connection::evidence::Exchange,
    feed::Feed,
    leadership::Leadership,
    metrics::Metrics,
    process::telemetry,
    resolve::{Resolver, authorities::Authorities},
};
use serde_json::json;
use testbed::{
    bed::{Bed, DEADLINE},
    wait,
};
use tokio::sync::watch;

use crate::{canary::Canaries, surfaces::Outputs};

const CANARY: &str = "LEAKS_CANARY";
const NAMESPACE: &str = "LEAKS_NAMESPACE";
/// So many ways to panic there are below.
const WAYS: u32 = 4;

/// Panics, each time in another way, with all it has in hand.
#[derive(Debug)]
struct Panicking {
    said: String,
    times: AtomicU32,
}

/// What no text is; the error is the text.
struct Never;

impl FromStr for Never {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Err(text.to_owned())
    }
}

impl Prober for Panicking {
    fn probe(&self, order: ProbeRequest) -> BoxFuture<'_, Exchange> {
        Box::pin(async move {
            let said = &self.said;
            match self.times.fetch_add(1, Ordering::Relaxed) % WAYS {
                0 => panic!("{said} with {order:?}"),
                1 => std::panic::panic_any(said.clone()),
                2 => said.parse::<Never>().map(|_| Exchange::default()).unwrap(),
                _ => {
                    assert_eq!(said.as_str(), "", "{order:#?}");
                    Exchange::default()
                }
            }
        })
    }
}

#[tokio::test]
async fn a_panic_says_where_and_nothing_else() {
    let canaries = Canaries::default();
    let said = canaries.key("message of a panic");
    let key = canaries.key("key in the order of a probe that panics");
    let bed = Bed::new("leaks-panics").await;
    bed.secret("corp", &key).await;
    bed.connect_url("corp", "https://127.0.0.1:1", json!({})).await;
    let mut child = Command::new(env::current_exe().unwrap());
    child
        .args([
            "--exact",
            "panics::in_a_process_of_its_own",
            "--ignored",
            "--nocapture",
        ])
        .env("KUBECONFIG", &bed.kubeconfig)
        .env("RUST_BACKTRACE", "full")
        .env(CANARY, &said)
        .env(NAMESPACE, &bed.namespace);
    let output = tokio::task::spawn_blocking(move || child.output())
        .await
        .unwrap()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let shown = String::from_utf8_lossy(&printed);
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("panics.rs:"), "the place is what helps: {shown}");
    let mut outputs = Outputs::default();
    outputs.add("the log of panics", printed, "reconcile panicked");
    let status = serde_json::to_string(&bed.get("corp").await.status).unwrap();
    outputs.add("the status after panics", status, "");
    outputs.assert_clean(&canaries);
}

#[tokio::test]
#[ignore = "a_panic_says_where_and_nothing_else runs it"]
async fn in_a_process_of_its_own() {
    telemetry::install(LogFormat::Json, &"trace".parse().unwrap(), None);
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let policy = AddressPolicy {
        allowed: vec!["127.0.0.0/8".parse().unwrap()],
        ..AddressPolicy::default()
    };
    let metrics = Arc::new(Metrics::default());
    let client = kube::Client::try_default().await.unwrap();
    let server = ApiServer::new(client, Leadership::unlimited(), Arc::clone(&metrics));
    let context = Context {
        server: server.clone(),
        lanes: Lanes::new(Panicking {
            said: env::var(CANARY).unwrap(),
            times: AtomicU32::new(0),
        }),
        resolver: Resolver {
            server,
            policy: Arc::new(policy),
            require_consent: false,
            authorities: Authorities::default(),
        },
        clock: Arc::new(SystemClock),
        metrics: Arc::clone(&metrics),
        settings: Settings {
            scopes: vec![Some(env::var(NAMESPACE).unwrap())],
            label_selector: None,
            concurrency: 4,
            heartbeat: Duration::from_mins(5),
            drain: Duration::from_secs(1),
            instance: "panics".to_owned(),
        },
        feed: Feed::default(),
    };
    let (readiness, _synced) = watch::channel(Readiness::Starting);
    let enough = async {
        let all = format!("panics_total {WAYS}");
        wait::until(DEADLINE, "every way to panic", async || {
            let mut text = String::new();
            metrics.encode(&mut text).unwrap();
            text.contains(&all).then_some(())
        })
        .await
        .unwrap();
    };
    drive(context, readiness, enough).await.unwrap();
}
