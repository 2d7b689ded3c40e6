//! A Secret says where its key may go, to whoever may write connections but not Secrets.

use std::collections::HashSet;

use bridge_front::Front;
use k8s_openapi::api::core::v1::Secret;
use scim_bridge_operator::api::v1alpha1::{ObjectVersion, ScimBridgeConnection};
use serde_json::json;
use testbed::{
    bed::{Bed, Gate, KEY, line, status, version, whole_spec},
    spec,
};

use crate::attacker::Attacker;

use Answer::{No, Unreadable, Yes};

/// Whether a key may go to a host by an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    /// No, and the message says that an entry cannot be read: it may have meant the host.
    Unreadable,
}

/// Values of the annotation, and whether a key may go to 127.0.0.1 by them.
const ADDRESSES: &[(&str, Answer)] = &[
    ("127.0.0.1", Yes),
    (" 127.0.0.1 ", Yes),
    ("\t127.0.0.1\n", Yes),
    ("a.test,127.0.0.1", Yes),
    ("a.test\n127.0.0.1\nb.test", Yes),
    (",,127.0.0.1,,", Yes),
    ("https://a.test, 127.0.0.1", Yes),
    ("127.0.0.*", Yes),
    ("a.test:443,127.0.0.1", Yes),
    ("127.0.0.1,*", Yes),
    ("[::ffff:127.0.0.1]", Yes),
    ("a.test,b.test:443", Unreadable),
    ("http://127.0.0.1", No),
    ("http://127.0.0.1:8443", Unreadable),
    ("*.*.*.*", Unreadable),
    ("127.0.0.1.", Yes),
    ("", No),
    (" ", No),
    (",", No),
    ("\n", No),
    ("*", Unreadable),
    ("*.*", Unreadable),
    ("*.0.0.*.*", Unreadable),
    ("**", Unreadable),
    ("true", No),
    ("all", No),
    ("null", No),
    ("localhost", No),
    ("127.0.0.10", No),
    ("127.0.0.1:8443", Unreadable),
    ("127.0.0.1:*", Unreadable),
    ("127.0.0.1/32", Unreadable),
    ("127.0.0.0/8", Unreadable),
    ("127.1", Unreadable),
    ("2130706433", Unreadable),
    ("0x7f.0.0.1", Unreadable),
    ("0177.0.0.1", Unreadable),
    ("::ffff:127.0.0.1", Yes),
    ("[127.0.0.1", Unreadable),
    ("https://127.0.0.1", Unreadable),
    ("user@127.0.0.1", Unreadable),
    ("127.0.0.1#", Unreadable),
    ("127.0.0.1;127.0.0.1", Unreadable),
    ("127.0.0.1|127.0.0.1", Unreadable),
    ("!127.0.0.1", Unreadable),
    ("\"127.0.0.1\"", Unreadable),
    ("[\"127.0.0.1\"]", Unreadable),
    ("127.0.0.1.evil.test", No),
    ("evil.127.0.0.1", Unreadable),
    ("127.0.0.1\u{0}", Unreadable),
    ("127.0.0.1\u{200b}", Unreadable),
    ("\u{ff11}27.0.0.1", Unreadable),
    ("127\u{3002}0\u{3002}0\u{3002}1", Unreadable),
    ("LONG", Unreadable),
    ("MANY", No),
];

/// The same for localhost.
const NAMES: &[(&str, Answer)] = &[
    ("localhost", Yes),
    ("LocalHost", Yes),
    ("localhost.", Yes),
    ("local*", Yes),
    (".localhost", No),
    ("b\u{fc}cher.example", Unreadable),
    ("*", Unreadable),
    ("localhost..", Unreadable),
    ("localhost.evil.test", No),
    ("*.localhost", No),
    ("evil-localhost", No),
    ("localhost:443", Unreadable),
    ("\u{ff4c}ocalhost", Unreadable),
    ("l\u{24de}calhost", Unreadable),
    ("127.0.0.1", No),
    ("127.0.0.*", No),
];

fn fill(hosts: &str) -> String {
    match hosts {
        "LONG" => format!("127.0.0.1{}", "0".repeat(250)),
        // As much as an annotation may have.
        "MANY" => "elsewhere.test,".repeat(15_000),
        hosts => hosts.to_owned(),
    }
}

/// Writes the annotation of a Secret, or takes it away.
async fn consent(bed: &Bed<'_>, secret: &str, hosts: Option<&str>) -> ObjectVersion {
    let annotations = json!({"metadata": {"annotations": {"scimbridge.dev/allowed-hosts": hosts}}});
    version(&bed.patch::<Secret>(secret, annotations).await.metadata)
}

fn keys_sent(bridge: &Front) -> usize {
    let requests = bridge.requests();
    requests.iter().filter(|request| request.authorization).count()
}

fn reason(connection: &ScimBridgeConnection, type_: &str) -> String {
    let conditions = status(connection).conditions;
    let condition = conditions.into_iter().find(|condition| condition.type_ == type_);
    condition.map_or(String::new(), |condition| condition.reason)
}

fn ready_message(connection: &ScimBridgeConnection) -> String {
    let conditions = status(connection).conditions;
    let ready = conditions
        .into_iter()
        .find(|condition| condition.type_ == "Ready");
    ready.map_or(String::new(), |condition| condition.message)
}

const REFUSED: &str = "False ConsentMissing Stalled";

/// Every value of the annotation, one after the other, and whether a key went out.
#[tokio::test]
async fn an_annotation_means_what_it_says() {
    let bed = Bed::new("values").await;
    let _operator = bed.operator(&[]).await;
    for (name, host, rows) in [
        ("by-address", "127.0.0.1", ADDRESSES),
        ("by-name", "localhost", NAMES),
    ] {
        let bridge = bed.healthy_bridge().await;
        bed.secret(name, KEY).await;
        consent(&bed, name, Some("elsewhere.test")).await;
        let url = format!("https://{host}:{}", bridge.port());
        bed.connect_url(name, &url, json!({})).await;
        bed.expect(name, REFUSED).await;
        let mut wrong = Vec::new();
        for (hosts, may) in rows {
            let before = keys_sent(&bridge);
            let hosts = fill(hosts);
            let secret = consent(&bed, name, Some(&hosts)).await;
            let connection = bed.judged(name, &secret).await;
            let told = line(&connection);
            let sent = keys_sent(&bridge) > before;
            let says_why =
                ready_message(&connection).contains("(an entry of the annotation is not a host pattern)");
            let fits = match may {
                Yes => told == "True Connected" && sent,
                No => told == REFUSED && !sent && !says_why,
                Unreadable => told == REFUSED && !sent && says_why,
            };
            if !fits {
                wrong.push(format!(
                    "{hosts:.60?}: not {may:?}, but {told} (key sent: {sent})"
                ));
            }
        }
        assert!(wrong.is_empty(), "for {host}:\n{}", wrong.join("\n"));
    }
}

/// Consent that is withdrawn ends the connection, and no later probe sends the key, asked for or not.
#[tokio::test]
async fn withdrawn_consent_ends_the_connection() {
    let bed = Bed::new("withdrawn").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&["--require-secret-consent"]).await;
    bed.secret("corp", KEY).await;
    bed.connect("corp", &bridge, json!({})).await;
    bed.expect("corp", REFUSED).await;
    // Taken away, emptied, and given to somebody else.
    for withdrawn in [None, Some(""), Some("127.0.0.2")] {
        consent(&bed, "corp", Some("127.0.0.1")).await;
        let connection = bed.expect("corp", "True Connected").await;
        assert_eq!(status(&connection).binding.unwrap().name, "corp");
        let sent = keys_sent(&bridge);
        let secret = consent(&bed, "corp", withdrawn).await;
        bed.judged("corp", &secret).await;
        for _ in 0..3 {
            let connection = bed.probe("corp").await;
            assert_eq!(line(&connection), REFUSED, "{withdrawn:?}");
            assert_eq!(status(&connection).binding, None, "{withdrawn:?}");
        }
        assert_eq!(keys_sent(&bridge), sent, "{withdrawn:?}");
    }
}

/// A probe that is under way when consent is withdrawn is not the proof of what comes after it.
#[tokio::test]
async fn consent_withdrawn_during_a_probe_counts_at_once() {
    let bed = Bed::new("midway").await;
    let (gate, bridge) = Gate::new(&bed).await;
    let _operator = bed.operator(&["--require-secret-consent"]).await;
    bed.secret("corp", KEY).await;
    consent(&bed, "corp", Some("127.0.0.1")).await;
    bed.connect("corp", &bridge, json!({})).await;
    gate.reached(&bridge).await;
    let secret = consent(&bed, "corp", None).await;
    gate.open();
    let connection = bed.judged("corp", &secret).await;
    assert_eq!(line(&connection), REFUSED);
    assert_eq!(status(&connection).binding, None);
    let sent = keys_sent(&bridge);
    bed.probe("corp").await;
    assert_eq!(keys_sent(&bridge), sent);
    let asked: Vec<_> = bridge
        .requests()
        .iter()
        .map(|request| request.path().to_owned())
        .collect();
    let distinct: HashSet<_> = asked.iter().collect();
    assert_eq!(distinct.len(), asked.len(), "one probe, and no more: {asked:?}");
}

/// The next key goes by its own Secret's consent, and the first by its own.
#[tokio::test]
async fn each_key_goes_by_the_consent_of_its_secret() {
    let bed = Bed::new("both").await;
    let bridge = bed.healthy_bridge().await;
    let _operator = bed.operator(&["--require-secret-consent"]).await;
    for name in ["corp", "next"] {
        bed.secret(name, KEY).await;
        consent(&bed, name, Some("127.0.0.1")).await;
    }
    let next = spec().next_secret("next");
    bed.connect("corp", &bridge, next).await;
    bed.expect("corp", "True Connected NextApiKeyValid").await;
    let cost = async || {
        let before = keys_sent(&bridge);
        let connection = bed.probe("corp").await;
        (
            keys_sent(&bridge) - before,
            line(&connection),
            reason(&connection, "NextApiKeyValid"),
        )
    };
    let (of_both, _, _) = cost().await;
    consent(&bed, "next", None).await;
    bed.expect("corp", "True Connected NextApiKeyValid=False").await;
    let (of_one, _, why) = cost().await;
    assert_eq!((of_one, why.as_str()), (of_both - 1, "ConsentMissing"));
    // The other way round no key goes at all: the first decides whether there is a probe.
    consent(&bed, "next", Some("127.0.0.1")).await;
    bed.expect("corp", "True Connected NextApiKeyValid").await;
    consent(&bed, "corp", Some("elsewhere.test")).await;
    bed.until("corp", "a refusal", |object| line(object).starts_with(REFUSED))
        .await;
    let (nothing, told, _) = cost().await;
    assert_eq!(nothing, 0, "{told}");
}

/// Consent names both: where the connection goes, and the name in handshake and request.
#[tokio::test]
async fn a_server_name_is_no_way_around_consent() {
    let bed = Bed::new("disguise").await;
    let bridge = bed.bridge().names(["scim.example.com"]).start().await.unwrap();
    let _operator = bed.operator(&[]).await;
    bed.secret("corp", KEY).await;
    consent(&bed, "corp", Some("scim.example.com")).await;
    let tls = json!({"serverName": "scim.example.com", "caRef": {"kind": "ConfigMap", "name": "ca"}});
    bed.connect("corp", &bridge, json!({"tls": tls})).await;
    bed.expect("corp", REFUSED).await;
    assert_eq!(bridge.traffic().connections, 0);
    // The other name alone is not enough either: a front of many hosts gives the key to the host that is named.
    consent(&bed, "corp", Some("127.0.0.1")).await;
    consent(&bed, "corp", Some("127.0.0.1, scim.example.com")).await;
    bed.expect("corp", "True Connected").await;
}

/// The attacker has the whole specification, and tries each of its fields to get a key to another host.
#[tokio::test]
async fn whoever_writes_connections_cannot_redirect_a_key() {
    let bed = Bed::new("redirect").await;
    let evil = bed.healthy_bridge().await;
    let plain = bed.bridge().plaintext().start().await.unwrap();
    let _operator = bed.operator(&["--require-secret-consent"]).await;
    let attacker = Attacker::new(&bed).await;
    for name in ["corp", "next"] {
        bed.secret(name, KEY).await;
        consent(&bed, name, Some("scim.example.com")).await;
    }
    bed.secret("silent", KEY).await;
    let port = evil.port();
    let urls = [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "localhost",
        "localhost.",
        "[::ffff:127.0.0.1]",
    ];
    let urls = urls.map(|host| format!("https://{host}:{port}"));
    let tls = |name: &str| json!({"serverName": name, "caRef": {"kind": "ConfigMap", "name": "ca"}});
    let more = [
        spec(),
        spec().with("tls", tls("scim.example.com")),
        spec().secret("silent"),
        spec().secret("silent").next_secret("corp"),
        spec().next_secret("next").provider("Okta"),
        spec().next_secret("next").provider("GoogleWorkspace"),
    ];
    let mut specs: Vec<_> = urls
        .iter()
        .flat_map(|url| more.iter().map(move |more| whole_spec("corp", url).and(more)))
        .collect();
    let in_the_clear = json!({"allowPlaintext": true, "tls": null});
    specs.push(whole_spec("corp", &plain.url()).and(in_the_clear));
    for (number, spec) in specs.iter().enumerate() {
        attacker.create(&format!("try-{number:02}"), spec).await.unwrap();
    }
    for (number, spec) in specs.iter().enumerate() {
        let name = format!("try-{number:02}");
        let connection = bed
            .until(&name, "a verdict", |object| line(object).contains("Stalled"))
            .await;
        assert_eq!(reason(&connection, "Ready"), "ConsentMissing", "{spec:?}");
    }
    assert_eq!((evil.traffic().connections, plain.traffic().connections), (0, 0));
}
