//! A real Prometheus that scrapes the real operator, and the dashboard before it.

#![allow(clippy::disallowed_methods, reason = "Prometheus on loopback is no bridge")]

use std::{fs, sync::Arc};

use bridge_front::Seed;
use scim_bridge_operator::api::{connection::ScimBridgeConnection, user::ScimUser};
use serde_json::{Value, json};
use testbed::{
    bed::{Bed, DEADLINE, KEY, WRONG_KEY, provisioning},
    free_port,
    scratch::Scratch,
    supervise::{Launch, Process},
    wait, workspace,
};
use url::Url;

use crate::tools;

/// A server on loopback, with its storage in a scratch folder.
pub(crate) struct Prometheus {
    address: String,
    client: reqwest::Client,
    process: Process,
    _scratch: Arc<Scratch>,
}

impl Prometheus {
    /// Scrapes these addresses again and again.
    pub(crate) async fn start(targets: &[&str], interval: &str) -> Self {
        let scratch = Scratch::new("prometheus").unwrap();
        let config = json!({
            "global": {"scrape_interval": interval, "evaluation_interval": interval},
            "scrape_configs": [{
                "job_name": "operator",
                "honor_labels": true,
                "static_configs": [{"targets": targets}],
            }],
        });
        let path = scratch.path().join("prometheus.yaml");
        fs::write(&path, config.to_string()).unwrap();
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        loop {
            let address = format!("127.0.0.1:{}", free_port().unwrap());
            let process = Launch::new("prometheus", &tools().await.prometheus)
                .arg(format!("--config.file={}", path.display()))
                .arg(format!(
                    "--storage.tsdb.path={}",
                    scratch.path().join("data").display()
                ))
                .arg(format!("--web.listen-address={address}"))
                .start(&scratch)
                .unwrap();
            let server = Self {
                address,
                client: reqwest::Client::new(),
                process,
                _scratch: Arc::clone(&scratch),
            };
            let ready = wait::until(DEADLINE, "Prometheus", async || {
                // Somebody else may take a port between the moment that it was free and the moment that it is used.
                if server.process.ended().unwrap().is_some() {
                    return Ok(false);
                }
                let url = format!("http://{}/-/ready", server.address);
                match server.client.get(url).send().await {
                    Ok(answer) if answer.status().is_success() => Ok(true),
                    Ok(answer) => Err(answer.status().to_string()),
                    Err(error) => Err(error.to_string()),
                }
            });
            if ready
                .await
                .unwrap_or_else(|error| panic!("{error}\n{}", server.process.logs()))
            {
                return server;
            }
        }
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The result of an instant query.
    pub(crate) async fn query(&self, query: &str) -> Vec<Value> {
        let base = format!("http://{}/api/v1/query", self.address);
        let url = Url::parse_with_params(&base, &[("query", query)]).unwrap();
        let answer = self.client.get(url).send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().unwrap().clone()
    }

    /// Waits until a query has so many results.
    async fn until(&self, query: &str, count: usize) {
        let reached = wait::until(DEADLINE, query, async || {
            let result = self.query(query).await;
            if result.len() == count {
                Ok(())
            } else {
                Err(format!("{result:?}"))
            }
        });
        reached.await.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Every query of the dashboard, with its variables filled in.
fn queries() -> Vec<String> {
    let path = workspace::root().join("charts/scim-bridge-operator/files/dashboard.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array());
    let queries = targets.flatten().map(|target| target["expr"].as_str().unwrap());
    queries
        .map(|query| {
            let filled = query
                .replace("$namespace", ".*")
                .replace("$connection", ".*")
                .replace("$__rate_interval", "2m");
            assert!(
                !filled.contains('$'),
                "a variable that the test does not know: {query}"
            );
            filled
        })
        .collect()
}

/// The queries of docs/monitoring.md: in blocks of code, one a paragraph.
fn queries_of_the_page() -> Vec<String> {
    let page = fs::read_to_string(workspace::root().join("docs/monitoring.md")).unwrap();
    let blocks = page.split("```promql\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap());
    blocks
        .flat_map(|block| block.split("\n\n").map(|query| query.trim().to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_sees_what_the_operator_sees_and_the_dashboard_shows_it() {
    let bed = Bed::with_provisioning("scrape").await;
    let operator = bed.provider(&[]).await;
    let prometheus = Prometheus::start(&[&operator.admin().to_string()], "1s").await;
    let good = bed.healthy_bridge().await;
    let ill = bed
        .bridge_that(|state| state.component("RedisCache", "unhealthy"))
        .await;
    bed.connect_well("good", &good).await;
    bed.connect_well("ill", &ill).await;
    bed.secret("refused", WRONG_KEY).await;
    bed.connect("refused", &good, json!({})).await;
    let people = bed.directory(Seed::of(3, 1)).start().await.unwrap();
    bed.secret("people", KEY).await;
    bed.connect_directory("people", &people, provisioning()).await;
    bed.scim_user("people", "new", json!({})).await;
    let staff = bed.directory(Seed::of(3, 1)).start().await.unwrap();
    let mut manage = provisioning();
    manage["mode"] = json!("Manage");
    bed.secret("staff", KEY).await;
    bed.connect_directory("staff", &staff, manage).await;
    bed.scim_user("staff", "first", json!({})).await;
    // A suspension that nobody sends.
    let left =
        json!({"userName": "user1@example.com", "adopt": "Always", "state": "Suspended", "paused": true});
    bed.scim_user("staff", "left", left).await;
    for (name, line) in [
        ("good", "True Connected"),
        ("ill", "True Connected Degraded"),
        ("refused", "False AuthFailed Stalled"),
        ("people", "True Connected"),
        ("staff", "True Connected"),
    ] {
        bed.expect(name, line).await;
    }
    bed.expect_object::<ScimUser>("new", "False ChangePlanned Stalled")
        .await;
    // An event comes after its verdict.
    prometheus
        .until(r#"scim_bridge_operator_events_total{outcome="sent"}"#, 1)
        .await;
    prometheus
        .until(r#"scim_bridge_connection_condition{type="Ready"} == 1"#, 4)
        .await;
    prometheus
        .until(
            r#"scim_bridge_connection_ready_reason{reason="AuthFailed"} == 1"#,
            1,
        )
        .await;
    prometheus.until("scim_bridge_operator_leader == 1", 1).await;
    prometheus.until("process_resident_memory_bytes > 0", 1).await;
    bed.expect_object::<ScimUser>("left", "False ChangePlanned Stalled")
        .await;
    bed.expect_object::<ScimUser>("first", "True Provisioned").await;
    // Rates are of numbers that have grown between two scrapes.
    prometheus
        .until("scim_bridge_operator_proof_duration_seconds_count > 0", 1)
        .await;
    bed.scim_user("staff", "second", json!({})).await;
    bed.expect_object::<ScimUser>("second", "True Provisioned").await;
    for _ in 0..3 {
        bed.probe("good").await;
    }

    for query in queries() {
        let filled = wait::until(DEADLINE, &query, async || {
            let result = prometheus.query(&query).await;
            let is_data = result.iter().any(|sample| sample["value"][1] != "NaN");
            if is_data {
                Ok(())
            } else {
                Err(format!("{result:?}"))
            }
        });
        filled
            .await
            .unwrap_or_else(|error| panic!("a panel of the dashboard stays empty: {error}"));
    }

    // Those that look for what is wrong may find nothing; all are understood.
    let queries = queries_of_the_page();
    assert!(queries.len() >= 8, "{queries:?}");
    for query in queries {
        prometheus.query(&query).await;
    }

    // With its object, everything of it goes.
    bed.delete::<ScimBridgeConnection>("refused").await;
    prometheus
        .until(r#"{__name__=~"scim_bridge_connection_.*",name="refused"}"#, 0)
        .await;
    prometheus
        .until(r#"scim_bridge_connection_info{name="good"}"#, 1)
        .await;
}
