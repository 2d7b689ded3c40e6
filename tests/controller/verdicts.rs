//! From what a bridge does to what tools read: `Ready`, and one of kstatus' `Reconciling` and `Stalled` where it is not.

use bridge_front::{Content, Fault, Mode, Profile, State};
use serde_json::json;

use crate::bed::{Bed, KEY, status};

type Play = fn(&mut State);

/// The identity provider that is declared, what the bridge plays, and the status it comes to.
const TABLE: &[(&str, &str, Play, &str)] = &[
    ("healthy", "Okta", |_| {}, "True Connected"),
    (
        "google",
        "GoogleWorkspace",
        |bridge| bridge.mode = Mode::GoogleWorkspace,
        "False ScimDisabled Stalled",
    ),
    (
        "google-by-mistake",
        "Okta",
        |bridge| bridge.mode = Mode::GoogleWorkspace,
        "False ScimDisabled Stalled",
    ),
    (
        "mismatch",
        "GoogleWorkspace",
        |_| {},
        "False IdentityProviderMismatch Stalled",
    ),
    (
        "hosted",
        "EntraID",
        |bridge| bridge.flavour = bridge_front::Flavour::Hosted,
        "True Connected",
    ),
    (
        "degraded",
        "Okta",
        |bridge| bridge.component("RedisCache", "unhealthy"),
        "True Connected Degraded",
    ),
    (
        "expired",
        "Okta",
        |bridge| bridge.report_age_secs = 3600,
        "True Connected Degraded",
    ),
    (
        "off",
        "Okta",
        |bridge| bridge.provisioning_off = true,
        "False ProvisioningOff Degraded Stalled",
    ),
    (
        "refused",
        "Okta",
        |bridge| bridge.key = "canary-another-key".into(),
        "False AuthFailed Stalled",
    ),
    (
        "foreign",
        "Okta",
        |bridge| bridge.fault("/", Fault::Html),
        "False NotABridge Stalled",
    ),
    (
        "blocked",
        "Okta",
        |bridge| bridge.fault("/scim", Fault::ForbiddenHtml),
        "False BlockedByProxy Stalled",
    ),
    (
        "elsewhere",
        "Okta",
        |bridge| {
            bridge.fault(
                "/",
                Fault::Redirect {
                    location: "https://login.example.com/".into(),
                },
            );
        },
        "False RedirectRefused Stalled",
    ),
    (
        "no-path",
        "Okta",
        |bridge| bridge.fault("/", answer(404)),
        "False PathNotFound Stalled",
    ),
    (
        "broken",
        "Okta",
        |bridge| bridge.fault("/scim", Fault::BrokenJson),
        "False ProtocolError Stalled",
    ),
    (
        "away",
        "Okta",
        |bridge| bridge.fault("/", answer(503)),
        "False BridgeUnavailable Reconciling",
    ),
    (
        "error",
        "Okta",
        |bridge| bridge.fault("/scim", answer(500)),
        "False BridgeError Reconciling",
    ),
    (
        "limited",
        "Okta",
        |bridge| bridge.fault("/scim", answer(429)),
        "False RateLimited Reconciling",
    ),
    (
        "closed",
        "Okta",
        |bridge| bridge.fault("/", Fault::Close),
        "False ConnectFailed Reconciling",
    ),
];

fn answer(status: u16) -> Fault {
    Fault::Status {
        status,
        body: Content::Html,
        retry_after: Some("3000".into()),
    }
}

#[tokio::test]
async fn every_kind_of_bridge_is_told_from_the_others() {
    let bed = Bed::new("verdicts").await;
    let _operator = bed.operator(&[]).await;
    let mut bridges = Vec::new();
    bed.secret("corp", KEY).await;
    for (name, provider, play, _) in TABLE {
        let bridge = bed.bridge().set(*play).start().await.unwrap();
        let more = json!({"identityProvider": provider, "apiKeySecretRef": {"name": "corp"}});
        bed.connect(name, &bridge, more).await;
        bridges.push(bridge);
    }
    for (name, _, _, line) in TABLE {
        bed.expect(name, line).await;
    }
    // Declared and not contradicted, or observed.
    for (name, scim_disabled) in [("google", "True"), ("healthy", "False"), ("away", "Unknown")] {
        let conditions = status(&bed.get(name).await).conditions;
        let found = conditions
            .iter()
            .find(|condition| condition.type_ == "ScimDisabled");
        assert_eq!(found.unwrap().status, scim_disabled, "{name}");
    }
}

#[tokio::test]
async fn certificates_are_told_apart() {
    let bed = Bed::new("certificates").await;
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", KEY).await;
    let mut bridges = Vec::new();
    let table = [
        (
            "soon",
            Profile::Valid { days: 20 },
            "True Connected CertificateExpiring",
        ),
        (
            "chain-soon",
            Profile::Intermediate { days: 20 },
            "True Connected CertificateExpiring",
        ),
        ("expired", Profile::Expired, "False CertificateExpired Stalled"),
        (
            "chain-expired",
            Profile::Intermediate { days: -1 },
            "False CertificateExpired Stalled",
        ),
        ("early", Profile::NotYetValid, "False CertificateExpired Stalled"),
        (
            "other-name",
            Profile::OtherName,
            "False CertificateNameMismatch Stalled",
        ),
        (
            "self-signed",
            Profile::SelfSigned,
            "False CertificateUntrusted Stalled",
        ),
        (
            "unknown",
            Profile::OtherAuthority,
            "False CertificateUntrusted Stalled",
        ),
    ];
    for (name, profile, _) in table {
        let bridge = bed.bridge().certificate(profile).start().await.unwrap();
        bed.connect(name, &bridge, json!({"apiKeySecretRef": {"name": "corp"}}))
            .await;
        bridges.push(bridge);
    }
    for (name, _, line) in table {
        bed.expect(name, line).await;
    }
}

/// A bridge waits for its key after a restart. The regular probe brings it, and says that it did.
#[tokio::test]
async fn a_locked_bridge_is_unlocked_by_a_probe() {
    let bed = Bed::new("locked").await;
    let bridge = bed
        .bridge()
        .set(|state| state.locked = true)
        .start()
        .await
        .unwrap();
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
