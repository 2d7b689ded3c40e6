//! `recheck`, `suspend`, `resume`, and what `kubectl` finds.

use std::process::Command;

use bridge_front::{Content, Fault, Mode};
use testbed::{
    bed::{Bed, KEY, WRONG_KEY, pings},
    spec,
};
use tokio::task::spawn_blocking;

use crate::program::{Ran, Run};

async fn plugin(bed: &Bed<'_>, args: &[&str]) -> Ran {
    let args = [args, &["-n", &bed.namespace]].concat();
    Run::plugin(bed.cluster, &args).run().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_is_asked_and_answers() {
    let bed = Bed::new("recheck").await;
    let bridge = bed.healthy_bridge().await;
    let operator = bed.operator(&[]).await;
    bed.connect_well("corp", &bridge).await;
    bed.expect("corp", "True Connected").await;
    let before = pings(&bridge);
    let ran = plugin(&bed, &["recheck", "corp"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let line = format!("{}/corp  Connected  ", bed.namespace);
    assert!(ran.out.starts_with(&line), "{ran:?}");
    assert_eq!(pings(&bridge), before + 1, "one request, one probe");

    bridge.set(|state| state.key = WRONG_KEY.into());
    let ran = plugin(&bed, &["recheck", "corp"]).await;
    assert_eq!((ran.code, ran.out.contains("AuthFailed")), (2, true), "{ran:?}");

    // The operator leaves it alone; who looks from here does not.
    let ran = plugin(&bed, &["suspend", "corp"]).await;
    assert_eq!((ran.code, ran.out.contains("suspended")), (0, true), "{ran:?}");
    let ran = plugin(&bed, &["recheck", "corp"]).await;
    assert_eq!(
        (ran.code, ran.err.contains("kubectl scim-bridge resume corp -n ")),
        (1, true),
        "{ran:?}"
    );
    bridge.set(|state| state.key = KEY.into());
    let ran = plugin(&bed, &["check", "corp"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for words in [
        "from here          True Connected",
        "from the operator  False AuthFailed, checked ",
        "The results differ",
    ] {
        assert!(ran.out.contains(words), "{words} in {}", ran.out);
    }
    let ran = plugin(&bed, &["resume", "corp"]).await;
    assert_eq!((ran.code, ran.out.contains("resumed")), (0, true), "{ran:?}");
    bed.probe("corp").await;
    bed.expect("corp", "True Connected").await;

    operator.stop().await;
    let ran = plugin(&bed, &["recheck", "corp", "--timeout", "1s"]).await;
    assert_eq!(
        (ran.code, ran.err.contains("check that it is running")),
        (1, true),
        "{ran:?}"
    );
}

/// One STATUS stands for a connection that is in order and for one that is not: READY counts too.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_status_may_differ() {
    let bed = Bed::new("readiness").await;
    let bridge = bed.bridge_that(|state| state.mode = Mode::GoogleWorkspace).await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", KEY).await;
    bed.connect("corp", &bridge, spec().provider("GoogleWorkspace"))
        .await;
    bed.expect("corp", "True ScimDisabled").await;
    let ran = plugin(&bed, &["check", "corp"]).await;
    assert_eq!(
        (ran.code, ran.out.contains("The results differ")),
        (0, false),
        "{ran:?}"
    );
    let gone = Fault::status(404, Content::Empty);
    bridge.set(|state| state.fault("/health", gone));
    let ran = plugin(&bed, &["check", "corp"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    for words in [
        "from here          False ScimDisabled",
        "from the operator  True ScimDisabled, checked ",
        "The results differ",
    ] {
        assert!(ran.out.contains(words), "{words} in {}", ran.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said() {
    let bed = Bed::new("nothing").await;
    for args in [
        &["check", "none"][..],
        &["recheck", "none"],
        &["suspend", "none"],
        &["resume", "none"],
    ] {
        let ran = plugin(&bed, args).await;
        let line = format!("ScimBridgeConnection {}/none does not exist", bed.namespace);
        assert_eq!(
            (ran.code, ran.err.contains(&line)),
            (1, true),
            "{args:?}: {ran:?}"
        );
    }
    let ran = plugin(&bed, &["check", "none", "--context", "no-such-context"]).await;
    assert_eq!(
        (ran.code, ran.err.contains("no context of that name")),
        (1, true),
        "{ran:?}"
    );
}

/// kubectl runs what it finds by the plugin's name.
#[tokio::test(flavor = "multi_thread")]
async fn kubectl_finds_it() {
    let bed = Bed::new("kubectl").await;
    let bridge = bed.healthy_bridge().await;
    bed.secret("corp", KEY).await;
    bed.connect("corp", &bridge, spec().secret("corp")).await;
    let plugin = Run::plugin(bed.cluster, &[]);
    let (kubectl, kubeconfig) = (
        bed.cluster.kubectl().program().to_owned(),
        bed.cluster.kubeconfig().to_owned(),
    );
    let folder = plugin.folder().to_owned();
    let namespace = bed.namespace.clone();
    let output = spawn_blocking(move || {
        Command::new(kubectl)
            .env_clear()
            .env("PATH", folder)
            .env("KUBECONFIG", kubeconfig)
            .args(["scim-bridge", "check", "corp", "-n", &namespace])
            .output()
            .unwrap()
    });
    let output = output.await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("\nConnected  "),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("from the operator  no verdict yet"), "{text}");
}
