//! Every behaviour, one row: the reason, the time, the requests; and what it costs others.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use bridge_front::Front;
use futures::future::join_all;
use scim_bridge_operator::bridge::{Lanes, ProbeRequest};
use testbed::budget;

use crate::{
    bodies, handshakes, headers, json, messages,
    peer::{CA, Peer, Row},
    redirects,
    support::{Differences, bridge, only, order_for, prober, told},
};

/// Long enough for whatever comes to an end by itself, on a machine that has much to do.
const TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) fn rows() -> Vec<Row> {
    [
        redirects::rows(),
        headers::rows(),
        bodies::rows(),
        json::rows(),
        messages::rows(),
        handshakes::rows(),
    ]
    .concat()
}

/// What a probe may ask for, and that nothing is asked for without a key that needs one, or with it before the time.
fn order_of_requests(heard: &[String]) -> bool {
    let all = ["/ping", "/health*", "/scim/Users*", "/scim/Groups*"];
    let mut expected = all.iter();
    // In this order, each at most once on a connection; a request that met a closed connection is sent again.
    heard.iter().all(|line| {
        all.contains(&line.as_str())
            && (expected.clone().any(|path| path == line) || {
                expected = all.iter();
                true
            })
    })
}

fn order(url: &str) -> ProbeRequest {
    let mut order = order_for(url, only(&CA.pem));
    order.budget = TIMEOUT;
    order
}

struct Outcome {
    told: String,
    took: Duration,
    heard: Vec<String>,
}

/// A row that expects no detail says by its name which it is.
fn in_the_words_of(row: &Row, told: &str) -> String {
    match told.split_once(": ") {
        Some((before, _)) if !row.expected.contains(": ") => format!("{before})"),
        Some(_) | None => told.to_owned(),
    }
}

async fn meet(lanes: &Lanes, row: &Row) -> Outcome {
    let starting = row.clone();
    let peer = tokio::task::spawn_blocking(move || Peer::start(&starting))
        .await
        .unwrap();
    let begun = Instant::now();
    let exchange = lanes.probe(order(&peer.url())).await.unwrap();
    Outcome {
        told: in_the_words_of(row, &told(None, &exchange)),
        took: begun.elapsed(),
        heard: peer.heard(),
    }
}

async fn is_served(lanes: &Lanes, front: &Front) -> String {
    let order = order_for(&front.url(), only(front.ca_pem().unwrap()));
    told(None, &lanes.probe(order).await.unwrap())
}

#[test]
fn no_row_is_lost() {
    let rows = rows();
    let names: HashSet<_> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len(), "two rows have one name");
    assert!(rows.len() >= 150, "{} rows are left", rows.len());
}

/// All at once, through one prober, with a healthy bridge among them that is asked again and again.
#[tokio::test(flavor = "multi_thread")]
async fn every_behaviour_has_its_reason_and_costs_nobody_else_anything() {
    let front = bridge().start().await.unwrap();
    let rows = rows();
    for round in 0..budget(1, 10) {
        let lanes = Lanes::new(prober());
        let ended = AtomicUsize::new(0);
        let meetings = join_all(rows.iter().map(async |row| {
            let outcome = meet(&lanes, row).await;
            ended.fetch_add(1, Ordering::SeqCst);
            outcome
        }));
        let bystander = async {
            for _ in 0..3 {
                assert_eq!(is_served(&lanes, &front).await, "Connected");
            }
            assert!(
                ended.load(Ordering::SeqCst) < rows.len(),
                "it came to its turn only when those that hang had ended"
            );
        };
        let (outcomes, ()) = tokio::join!(meetings, bystander);
        assert_eq!(is_served(&lanes, &front).await, "Connected", "afterwards");
        let mut differences = Differences::default();
        for (row, outcome) in rows.iter().zip(&outcomes) {
            let name = format!("round {round}: {}", row.name);
            if !row
                .expected
                .split(" or ")
                .any(|expected| expected == outcome.told)
            {
                differences.compare(&name, row.expected, &outcome.told);
            }
            let limit = TIMEOUT + TIMEOUT / 10;
            if outcome.took > limit {
                differences.compare(
                    &name,
                    &format!("at most {limit:?}"),
                    &format!("{:?}", outcome.took),
                );
            }
            if !order_of_requests(&outcome.heard) {
                differences.compare(&name, "requests in their order", &outcome.heard.join(" "));
            }
            let is_stranger = outcome.told.contains("(GET /ping");
            if is_stranger && outcome.heard.iter().any(|line| line.ends_with('*')) {
                differences.compare(&name, "no key for a stranger", &outcome.heard.join(" "));
            }
        }
        differences.assert_none();
    }
}
