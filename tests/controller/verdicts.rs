//! From what a bridge does to what tools read: `Ready`, and one of kstatus' `Reconciling` and `Stalled` where it is not.

use bridge_front::Mode;
use scim_bridge_operator::api::v1alpha1::ScimBridgeConnection;
use serde_json::json;
use testbed::{
    bed::{BRIDGES, Bed, CERTIFICATES, KEY, answer, line, status},
    spec,
};

#[tokio::test]
async fn every_kind_of_bridge_is_told_from_the_others() {
    let bed = Bed::new("verdicts").await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", KEY).await;
    let _bridges = bed.connect_to_all_bridges().await;
    for (name, _, _, line) in BRIDGES {
        bed.expect(name, line).await;
    }
    // As it was seen, whatever is declared.
    for (name, scim_disabled) in [
        ("google", "True"),
        ("google-without-health", "True"),
        ("google-by-mistake", "True"),
        ("google-nowhere", "Unknown"),
        ("google-away", "Unknown"),
        ("google-refused", "Unknown"),
        ("mismatch", "False"),
        ("healthy", "False"),
        ("away", "Unknown"),
    ] {
        assert_eq!(scim_disabled_of(&bed.get(name).await), scim_disabled, "{name}");
    }
}

/// The status of condition `ScimDisabled`.
fn scim_disabled_of(connection: &ScimBridgeConnection) -> String {
    let conditions = status(connection).conditions;
    let found = conditions
        .into_iter()
        .find(|condition| condition.type_ == "ScimDisabled");
    found.unwrap().status
}

/// Case A1: with Google Workspace declared, whoever waits gets what was proven. A host that does not resolve, a closed
/// port or a missing Secret proves nothing.
#[tokio::test]
async fn a_declaration_proves_nothing() {
    let bed = Bed::new("declared").await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", KEY).await;
    let bridge = bed.bridge_that(|state| state.mode = Mode::GoogleWorkspace).await;
    let declared = |secret: &str| spec().provider("GoogleWorkspace").secret(secret);
    let waits = async |name: &str, condition: &str, timeout: &str| {
        let object = format!("sbc/{name}");
        let [condition, timeout] = [
            format!("--for=condition={condition}"),
            format!("--timeout={timeout}"),
        ];
        let wait = ["wait", &object, &condition, &timeout, "-n", &bed.namespace];
        bed.cluster.kubectl().run(&wait).await
    };
    for (name, url, secret, reason) in [
        (
            "no-name",
            "https://no-such-name.invalid".to_owned(),
            "corp",
            "DnsFailed",
        ),
        (
            "closed",
            "https://127.0.0.1:1".to_owned(),
            "corp",
            "ConnectFailed",
        ),
        ("no-secret", bridge.url(), "none", "SecretNotFound"),
    ] {
        bed.connect_url(name, &url, declared(secret)).await;
        let judged =
            |connection: &ScimBridgeConnection| line(connection).starts_with(&format!("False {reason} "));
        let connection = bed.until(name, reason, judged).await;
        assert_eq!(scim_disabled_of(&connection), "Unknown", "{name}");
        for condition in ["ScimDisabled", "Ready"] {
            let waited = waits(name, condition, "1s").await;
            assert!(waited.is_err(), "{name} must not be {condition}: {waited:?}");
        }
    }
    bed.connect("proven", &bridge, declared("corp")).await;
    for condition in ["Ready", "ScimDisabled"] {
        waits("proven", condition, "90s").await.unwrap();
    }
    let connection = bed.expect("proven", "True ScimDisabled").await;
    assert_eq!(
        status(&connection).binding,
        None,
        "nobody can bind to SCIM that is off"
    );
}

/// Case B1: while the bridge behind it restarts, a router answers every path with 404. The verdict is held, and then the
/// failure is transient: what was proven is not at a wrong address.
#[tokio::test]
async fn a_front_in_place_of_the_bridge_is_held() {
    let bed = Bed::new("front").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", KEY).await;
    bed.connect("corp", &bridge, json!({"failureThreshold": 2})).await;
    let proven = bed.expect("corp", "True Connected").await;
    assert!(status(&proven).last_answer_time.is_some());
    bridge.set(|state| state.fault("/", answer(404)));
    let held = bed.probe("corp").await;
    assert_eq!(line(&held), "True Connected");
    assert_eq!(status(&held).consecutive_failures, 1);
    let withdrawn = bed.probe("corp").await;
    assert_eq!(line(&withdrawn), "False PathNotFound Reconciling");
    bridge.set(|state| state.faults.clear());
    let back = bed.probe("corp").await;
    assert_eq!(
        (line(&back).as_str(), status(&back).consecutive_failures),
        ("True Connected", 0)
    );
}

#[tokio::test]
async fn certificates_are_told_apart() {
    let bed = Bed::new("certificates").await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", KEY).await;
    let _bridges = bed.connect_to_all_certificates().await;
    for (name, _, line) in CERTIFICATES {
        bed.expect(name, line).await;
    }
}

/// A bridge waits for its key after a restart. The regular probe brings it, and says that it did.
#[tokio::test]
async fn a_locked_bridge_is_unlocked_by_a_probe() {
    let bed = Bed::new("locked").await;
    let bridge = bed.bridge_that(|state| state.locked = true).await;
    let operator = bed.operator(&[]).await;
    bed.connect_well("corp", &bridge).await;
    let connection = bed.expect("corp", "True Connected").await;
    assert_eq!(status(&connection).bridge.unwrap().components.len(), 2);
    assert!(!bridge.state().locked, "the probe has unlocked it");

    let connection = bed.probe("corp").await;
    assert_eq!(status(&connection).bridge.unwrap().components.len(), 4);
    operator.says("the bridge was waiting for its key").await;
    bed.probe("corp").await;
    assert_eq!(operator.count("bridge_unlocks_total", "").await, 1);
}
