//! `offboarding`: the evidence of suspensions, from a cluster and from what `kubectl` writes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use scim_bridge_operator::api::user::{ScimUser, ScimUserStatus, SuspensionTimes};
use serde_json::json;
use testbed::bed::Bed;

use crate::{
    directory::{install_definitions, person, plugin},
    program::{File, Run},
};

const GONE: &str = ", state: Suspended";

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(1_790_000_000 + second).unwrap())
}

/// Writes the status as the operator does.
async fn note(bed: &Bed<'_>, name: &str, suspension: SuspensionTimes) {
    let status = ScimUserStatus {
        observed_generation: 1,
        id: Some(format!("ID-{name}")),
        suspension: Some(suspension),
        ..ScimUserStatus::default()
    };
    let (api, parameters) = (bed.api::<ScimUser>(), PatchParams::default());
    let patch = Patch::Merge(json!({"status": status}));
    api.patch_status(name, &parameters, &patch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_of_a_cluster() {
    let bed = Bed::new("evidence").await;
    install_definitions(&bed).await;
    let ran = plugin(&bed, &["offboarding", "corp"]).await;
    let words = "the cluster has no ScimUser of this connection";
    assert_eq!((ran.code, ran.err.contains(words)), (1, true), "{ran:?}");
    let people = [
        person("ada", "ada@example.com", GONE),
        person("bo", "bo@example.com", ""),
        person("kim", "kim@example.com", GONE),
    ]
    .concat();
    let apply = ["apply", "-n", &bed.namespace, "-f", "-"];
    bed.cluster.kubectl().run_with(&apply, &people).await.unwrap();
    let proven = SuspensionTimes {
        requested_at: Some(at(0)),
        sent_at: Some(at(1)),
        proven_at: Some(at(3)),
    };
    note(&bed, "ada", proven.clone()).await;
    let ran = plugin(&bed, &["offboarding", "corp"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    for words in [
        "2 suspensions: 1 not proven",
        "ID-ada",
        "proven in 3s",
        "/kim: No status is about",
    ] {
        assert!(ran.out.contains(words), "{words} in {}", ran.out);
    }
    assert!(!ran.out.contains("@example"), "{}", ran.out);
    let proven_later = SuspensionTimes {
        proven_at: Some(at(5)),
        ..proven
    };
    note(&bed, "kim", proven_later).await;
    let ran = plugin(&bed, &["offboarding", "-o", "csv"]).await;
    assert_eq!((ran.code, ran.out.matches("\r\n").count()), (0, 3), "{ran:?}");
    let ran = plugin(&bed, &["offboarding", "other"]).await;
    assert_eq!(
        (ran.code, ran.err.contains(words_of_nobody())),
        (1, true),
        "{ran:?}"
    );

    // The same from a file, as an auditor gets it.
    let get = ["get", "scimusers", "-n", &bed.namespace, "-o", "yaml"];
    let exported = File::new("users.yaml", &bed.cluster.kubectl().run(&get).await.unwrap());
    let args = ["offboarding", "-f", &exported.path, "-o", "json", "--show-names"];
    let ran = Run::new(&args).run().await;
    let document = ran.json();
    assert_eq!((ran.code, &document["result"]), (0, &json!("proven")), "{ran:?}");
    assert_eq!(document["suspensions"][0]["userName"], "ada@example.com");
    assert_eq!(document["suspensions"][1]["secondsToProof"], 5);
    // A failure is a document, too.
    let ran = Run::new(&[&args, &["--connection", "other"][..]].concat())
        .run()
        .await;
    let document = ran.json();
    assert_eq!((ran.code, &document["result"]), (1, &json!("failed")), "{ran:?}");
    // On a terminal, names are shown.
    let args = ["offboarding", "-f", &exported.path];
    let ran = Run::new(&args).on_terminal().run().await;
    assert!(ran.code == 0 && ran.out.contains("ada@example.com"), "{ran:?}");
    // Another specification than the one that the status is about.
    let patch = Patch::Merge(json!({"spec": {"name": {"givenName": "Augusta"}}}));
    let (api, parameters) = (bed.api::<ScimUser>(), PatchParams::default());
    api.patch("ada", &parameters, &patch).await.unwrap();
    let ran = plugin(&bed, &["offboarding", "corp"]).await;
    assert_eq!((ran.code, ran.out.contains("1 not proven")), (2, true), "{ran:?}");
}

const fn words_of_nobody() -> &'static str {
    "check the name of the connection, and the namespace"
}
