//! The same with the operator's own process, which asks the servers of `/etc/resolv.conf`: in a mount namespace of its
//! own that file names a server of the test's.

use std::{
    fs,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, atomic::Ordering},
};

use serde_json::json;
use testbed::{
    Dice, OperatorProcess,
    bed::{Bed, DEADLINE, KEY, assert_no_canary, line},
    budget, free_port,
    scratch::Scratch,
    seed,
};

use crate::{
    name_server::{NameServer, Reply},
    rebinding::{ALLOWED, DENIED, DENIED_V6, METADATA, NAME, Tripwire},
};

/// The ways to a mount namespace, with privileges and without.
const WAYS: [&str; 2] = ["unshare --mount", "unshare --user --map-root-user --mount"];

/// Says what was not tried, past the capture of a test that passes.
fn was_not_run(why: &str) {
    let what = "NOT RUN: DNS rebinding against the operator's own process";
    let _ = writeln!(io::stderr(), "{what}: {why}. The resolver itself was tested.");
}

/// A program that runs the operator where `/etc/resolv.conf` names this server alone.
fn operator_with(server: IpAddr, scratch: &Scratch) -> Option<PathBuf> {
    let servers = scratch.path().join("resolv.conf");
    fs::write(
        &servers,
        format!("nameserver {server}\noptions ndots:5\nsearch test\n"),
    )
    .unwrap();
    let mount = format!("mount --bind '{}' /etc/resolv.conf", servers.display());
    let way = WAYS.into_iter().find(|way| {
        let check = format!(
            "{way} sh -c \"{mount} && cmp '{}' /etc/resolv.conf\"",
            servers.display()
        );
        let ended = Command::new("sh")
            .args(["-c", &check])
            .stderr(Stdio::null())
            .status();
        ended.is_ok_and(|status| status.success())
    })?;
    let binary = Path::new(env!("CARGO_BIN_EXE_scim-bridge-operator")).display();
    let program = scratch.path().join("operator");
    // Each step takes the place of the one before: the process keeps its id.
    let script =
        format!("#!/bin/sh\nexec {way} sh -c \"{mount} && exec '{binary}' \\\"\\$@\\\"\" operator \"$@\"\n");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Some(program)
}

/// A server at the port that resolv.conf cannot change.
async fn server(
    reply: impl Fn() -> Vec<IpAddr> + Clone + Send + 'static,
) -> io::Result<(NameServer, IpAddr)> {
    let mut refused = io::Error::other("no address is free");
    // Others may run the same test on this machine.
    for last in 1..=254 {
        let address = Ipv4Addr::new(127, 0, 53, last);
        let reply = reply.clone();
        match NameServer::at(
            SocketAddr::from((address, 53)),
            move |_| Reply::Addresses(reply()),
        )
        .await
        {
            Ok(server) => return Ok((server, address.into())),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => refused = error,
            Err(error) => return Err(error),
        }
    }
    Err(refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_goes_nowhere_that_was_not_judged() {
    let replies = [
        vec![ALLOWED],
        vec![DENIED],
        vec![METADATA],
        vec![ALLOWED, DENIED],
        vec![DENIED, ALLOWED, DENIED_V6],
        vec![DENIED_V6, DENIED],
    ];
    let dice = Arc::new(std::sync::Mutex::new(Dice::from_seed(seed())));
    let reply = move || replies[dice.lock().unwrap().pick(replies.len())].clone();
    let (server, address) = match server(reply).await {
        Ok(started) => started,
        Err(error) => return was_not_run(&format!("port 53 of loopback cannot be listened on ({error})")),
    };
    let scratch = Scratch::new("resolver").unwrap();
    let Some(program) = operator_with(address, &scratch) else {
        return was_not_run("this user may not make a mount namespace (unshare --mount)");
    };
    let bed = Bed::new("rebinding").await;
    let bridge = bed.bridge().names([NAME]).start().await.unwrap();
    let tripwire = Tripwire::at(bridge.port()).await;
    let admin = format!("127.0.0.1:{}", free_port().unwrap());
    let allowed = format!("{ALLOWED}/32");
    let args = [
        "run",
        "--leader-elect=false",
        "--log-level",
        "debug",
        "--namespaces",
        &bed.namespace,
        "--admin-addr",
        &admin,
        "--allow-cidr",
        &allowed,
    ];
    let operator = OperatorProcess::spawn(&program, &bed.kubeconfig, &args, &[]).unwrap();
    operator.ready(DEADLINE).await.unwrap();
    bed.secret("corp", KEY).await;
    let url = format!("https://{NAME}:{}", bridge.port());
    bed.connect_url("corp", &url, json!({})).await;
    let mut outcomes = [0, 0];
    for round in 0..budget(30, 500) {
        let asked = server.questions();
        let told = line(&bed.probe("corp").await);
        assert!(
            server.questions() > asked,
            "round {round}: {told}: nobody asked the server of the test"
        );
        match told.as_str() {
            "True Connected" => outcomes[0] += 1,
            "False HostDenied Stalled" => outcomes[1] += 1,
            // Neither type of address had one at all.
            told => assert!(
                told.contains("DnsFailed") || told.contains("Connected"),
                "round {round}: {told}"
            ),
        }
        assert_eq!(tripwire.visits.load(Ordering::SeqCst), 0, "round {round}: {told}");
    }
    assert!(outcomes.iter().all(|count| *count > 0), "{outcomes:?}");
    assert!(bridge.traffic().connections >= outcomes[0]);
    assert_no_canary("the log", &operator.logs());
}
