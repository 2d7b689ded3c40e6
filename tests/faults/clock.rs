//! The wall clock of the running operator jumps by an hour, forwards and backwards.

use std::{path::Path, process::Command};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::json;
use testbed::{
    OperatorProcess,
    bed::{Bed, DEADLINE, KEY, LOOPBACK, pings, status},
    budget, free_port,
    scratch::Scratch,
    wait,
};

const HOUR: i64 = 3600;

/// What the operator reads in place of the time.
struct Clock {
    scratch: std::sync::Arc<Scratch>,
}

impl Clock {
    /// Built from C: what is moved is what the C library tells. Linux only.
    fn new() -> Self {
        let scratch = Scratch::new("clock").unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/clock.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(scratch.path().join("clock.so"))
            .arg(source)
            .arg("-ldl")
            .status();
        assert!(built.unwrap().success(), "cc builds tests/faults/clock.c");
        let clock = Self { scratch };
        clock.set(0);
        clock
    }

    fn set(&self, seconds: i64) {
        // In one step: a file that is half written would be half an hour.
        let path = self.scratch.path().join("offset.new");
        std::fs::write(&path, seconds.to_string()).unwrap();
        std::fs::rename(&path, self.scratch.path().join("offset")).unwrap();
    }
}

fn operator(bed: &Bed<'_>, clock: &Clock) -> OperatorProcess {
    let admin = format!("127.0.0.1:{}", free_port().unwrap());
    let mine = [
        "run",
        "--admin-addr",
        &admin,
        "--leader-elect=false",
        "--namespaces",
        &bed.namespace,
    ];
    let library = clock.scratch.path().join("clock.so");
    let offset = clock.scratch.path().join("offset");
    OperatorProcess::spawn(
        Path::new(env!("CARGO_BIN_EXE_scim-bridge-operator")),
        &bed.kubeconfig,
        &[&mine, &LOOPBACK[..]].concat(),
        &[
            ("LD_PRELOAD", library.to_str().unwrap()),
            ("CLOCK_OFFSET", offset.to_str().unwrap()),
        ],
    )
    .unwrap()
}

/// When the next probe is planned, by the operator's own clock.
fn planned(object: &scim_bridge_operator::api::v1alpha1::ScimBridgeConnection) -> (Timestamp, Timestamp) {
    let status = status(object);
    (
        status.last_probe_time.unwrap().0,
        status.next_probe_time.unwrap().0,
    )
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_hour_forwards_and_backwards() {
    let bed = Bed::new("clock").await;
    let clock = Clock::new();
    let running = operator(&bed, &clock);
    running.ready(DEADLINE).await.unwrap();
    let bridge = bed.healthy_bridge().await;
    bed.secret("corp", KEY).await;
    // The shortest interval: a probe comes by itself within the test.
    bed.connect("corp", &bridge, json!({"interval": "30s", "timeout": "10s"}))
        .await;
    bed.expect("corp", "True Connected").await;
    let mut probes = pings(&bridge);
    let jumps = [
        ("forwards", HOUR),
        ("backwards", -HOUR),
        ("forwards again", 0),
        ("far forwards", 2 * HOUR),
    ];
    // Each takes an interval.
    for (jump, seconds) in jumps.into_iter().take(budget(2, 4)) {
        clock.set(seconds);
        // The plan stands by the clock that does not jump: at most an interval and a tenth from the last probe.
        let goes_on = wait::until(DEADLINE, "a probe by itself", async || {
            (pings(&bridge) > probes).then_some(())
        });
        goes_on.await.unwrap_or_else(|error| panic!("{jump}: {error}"));
        assert!(pings(&bridge) <= probes + 2, "{jump}: no more than what was due");
        probes = pings(&bridge);
        // Asked for, it is written: what it says is by the clock as it is now.
        let connection = bed.probe("corp").await;
        probes += 1;
        let (last, next) = planned(&connection);
        let delay = next.duration_since(last);
        assert!(
            delay > SignedDuration::ZERO && delay <= SignedDuration::from_secs(34),
            "{jump}: the next probe is planned {delay:?} after the last"
        );
        assert_eq!(testbed::bed::line(&connection), "True Connected", "{jump}");
        assert!(status(&connection).valid_until.unwrap().0 > last, "{jump}");
    }
    assert!(!running.logs().contains("panic"), "{}", running.logs());
    assert!(running.process().ended().unwrap().is_none());
}
