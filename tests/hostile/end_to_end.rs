//! The real operator before all hostile bridges at once.

use std::fs;

use futures::future::join_all;
use serde_json::json;
use tokio::task::spawn_blocking;

use crate::{
    bed::{Bed, KEY, line, observed, pings},
    peer::{CA, Peer},
    table::rows,
};

/// What the operator's memory may come to at its peak, in MiB: it is built without optimization here, and has some 170
/// conversations at once, most of which never end.
const PEAK: u64 = 128;

/// The peak of a process's resident memory, in MiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn every_object_has_its_reason_and_others_are_on_time() {
    let bed = Bed::new("hostile").await;
    let rows = rows();
    let peers = join_all(
        rows.iter()
            .cloned()
            .map(|row| spawn_blocking(move || Peer::start(&row))),
    );
    let peers: Vec<Peer> = peers.await.into_iter().map(Result::unwrap).collect();
    bed.config_map("hostile-ca", &CA.pem).await;
    bed.secret("corp", KEY).await;
    let operator = bed.operator(&[]).await;
    let bystander = bed.healthy_bridge().await;
    bed.connect_well("bystander", &bystander).await;
    for (number, peer) in peers.iter().enumerate() {
        let more = json!({
            "apiKeySecretRef": {"name": "corp"},
            "timeout": "15s",
            "tls": {"caRef": {"kind": "ConfigMap", "name": "hostile-ca"}},
        });
        bed.connect_url(&format!("hostile-{number}"), &peer.url(), more)
            .await;
    }
    // In the midst of it: an edit, a rotation, a request.
    bed.expect("bystander", "True Connected").await;
    let secret = bed.secret("bystander", "canary-wrong").await;
    bed.judged("bystander", &secret).await;
    bed.expect("bystander", "False AuthFailed Stalled").await;
    bed.secret("bystander", KEY).await;
    bed.expect("bystander", "True Connected").await;
    bed.probe("bystander").await;
    assert_eq!(pings(&bystander), 4);
    let mut wrong = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let name = format!("hostile-{number}");
        let settled = bed.until(&name, row.name, |object| observed(object) == 1);
        let told = line(&settled.await);
        let told = told.split(' ').nth(1).unwrap_or_default().to_owned();
        let fits = |expected: &str| expected.split(' ').next() == Some(&told);
        if !row.expected.split(" or ").any(fits) {
            wrong.push(format!("{}: {told} instead of {}", row.name, row.expected));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let peak = peak(operator.process().pid());
    eprintln!("peak of the operator's memory: {peak} MiB");
    assert!(peak <= PEAK, "the operator took {peak} MiB");
    bed.probe("bystander").await;
    bed.expect("bystander", "True Connected").await;
}
