//! The real operator before all hostile bridges at once.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use futures::{StreamExt as _, future::join_all, stream};
use testbed::{
    bed::{Bed, KEY, assert_no_canary, line, observed, pings},
    scratch::Scratch,
    spec,
};
use tokio::task::spawn_blocking;

use crate::{
    peer::{CA, Peer},
    table::rows,
};

/// What the operator's memory may come to at its peak, in MiB: it is built without optimization here, and has some 170
/// conversations at once, most of which never end.
const PEAK: u64 = 128;

/// Programs at a time: most of them wait until their timeout.
const AT_ONCE: usize = 40;

/// The peak of a process's resident memory, in MiB.
pub(crate) fn peak(pid: u32) -> u64 {
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
        let more = spec().secret("corp").with("timeout", "30s").ca("hostile-ca");
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
    let mut reasons = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let name = format!("hostile-{number}");
        let settled = bed.until(&name, row.name, |object| observed(object) == 1);
        let told = line(&settled.await);
        let told = told.split(' ').nth(1).unwrap_or_default().to_owned();
        let fits = |expected: &str| expected.split(' ').next() == Some(&told);
        if !row.expected.split(" or ").any(fits) {
            wrong.push(format!("{}: {told} instead of {}", row.name, row.expected));
        }
        reasons.push(told);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let peak = peak(operator.process().pid());
    eprintln!("peak of the operator's memory: {peak} MiB");
    assert!(peak <= PEAK, "the operator took {peak} MiB");
    bed.probe("bystander").await;
    bed.expect("bystander", "True Connected").await;
    operator.stop().await;

    // And from the command line.
    let ca = Scratch::new("hostile-ca").unwrap();
    let path = ca.path().join("ca.pem");
    fs::write(&path, &CA.pem).unwrap();
    let checks = stream::iter(rows.iter().zip(&peers).zip(&reasons)).map(|((row, peer), told)| {
        let path = &path;
        async move {
            let said = check(&peer.url(), path).await;
            let may_be_either = row.expected.contains(" or ");
            let fits = |expected: &str| expected.split(' ').next() == Some(&said);
            let is_right = said == *told || (may_be_either && row.expected.split(" or ").any(fits));
            (!is_right).then(|| format!("{}: the operator says {told}, and check {said}", row.name))
        }
    });
    let wrong: Vec<String> = checks
        .buffer_unordered(AT_ONCE)
        .filter_map(async |wrong| wrong)
        .collect()
        .await;
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The reason that `check` tells. No word of the peer is in its output.
async fn check(url: &str, ca: &Path) -> String {
    let (url, ca) = (url.to_owned(), ca.to_owned());
    spawn_blocking(move || {
        let mut child = Command::new(env!("CARGO_BIN_EXE_scim-bridge-operator"))
            .env_clear()
            .args([
                "check",
                "--url",
                &url,
                "--api-key-file",
                "-",
                "--timeout",
                "15s",
                "-o",
                "json",
                "--ca-file",
            ])
            .arg(ca)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(KEY.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_no_canary("standard error", &String::from_utf8(output.stderr).unwrap());
        let text = String::from_utf8(output.stdout).unwrap();
        assert_no_canary("standard output", &text);
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        document["reason"].as_str().unwrap().to_owned()
    })
    .await
    .unwrap()
}
