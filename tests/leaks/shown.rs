//! `Debug` and `Display` of every type that holds a key, or what a server has said.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::Duration};

use clap::Parser as _;
use rustls::RootCertStore;
use scim_bridge_operator::{
    args::Arguments,
    bridge::{
        HttpProber, Lanes, ProbeOrder,
        address::AddressPolicy,
        key::ApiKey,
        proxy::BridgeProxy,
        route::Route,
        trust::{Bundle, Trust},
    },
    clock::SystemClock,
    domain::{
        evidence::{Evidence, KeyFault, Obstacle},
        target::Origin,
        verdict::diagnose,
    },
};

use crate::{
    canary::Canaries,
    peer::{Authority, Flaw, Peer, Sayings},
    surfaces::Outputs,
};

/// Both forms of `Debug`.
fn debug(value: &impl Debug) -> String {
    format!("{value:?}\n{value:#?}\n")
}

fn policy() -> Arc<AddressPolicy> {
    Arc::new(AddressPolicy {
        allowed: vec!["127.0.0.0/8".parse().unwrap()],
        ..AddressPolicy::default()
    })
}

#[tokio::test]
async fn a_probe_from_its_order_to_its_verdict() {
    let canaries = Canaries::default();
    let authority = Authority::new(&canaries);
    let mut outputs = Outputs::default();
    let (key, next) = (canaries.key("key"), canaries.key("next key"));
    let read = |key: &str| ApiKey::read(key.into()).unwrap();
    let pem = format!("# {}\n{}", canaries.text("comment in a CA bundle"), authority.pem);
    let password = canaries.text("password of the proxy");
    let proxy = BridgeProxy {
        url: format!("http://user:{password}@127.0.0.1:1").parse().unwrap(),
        exceptions: vec!["127.0.0.0/8".parse().unwrap()],
    };
    let roots = Arc::new(RootCertStore::empty());
    let prober = HttpProber::new(policy(), roots, Arc::new(SystemClock)).through(Some(proxy.clone()));
    outputs.add("a prober", debug(&prober), "HttpProber");
    let lanes = Lanes::new(prober);
    outputs.add("the proxy", debug(&proxy) + &debug(&proxy.url), "127.0.0.1");
    outputs.add("a key", debug(&read(&key)), "ApiKey");
    outputs.add(
        "a header",
        debug(&read(&key).authorization().unwrap()),
        "Sensitive",
    );
    for status in [200, 302, 401, 403, 404, 429, 500, 503] {
        let says = Sayings::new(&canaries, &status.to_string());
        let peer = Peer::tls(
            &authority,
            Flaw::None,
            Box::new(move |target| match (status, target) {
                (_, "/ping") => says.pong(),
                (200, "/health") => says.health("healthy"),
                (200, _) => says.list(),
                _ => says.error(status),
            }),
        );
        let order = ProbeOrder {
            route: Route {
                origin: Origin::parse(&format!("https://{}", peer.address())).unwrap(),
                trust: Trust::Only(Bundle::read(pem.as_bytes()).unwrap()),
                server_name: None,
            },
            key: read(&key),
            next_key: Some(Ok(read(&next))),
            budget: Duration::from_mins(1),
            requested: false,
        };
        outputs.add(format!("{status}: the order"), debug(&order), "ProbeOrder");
        let exchange = lanes.probe(order).await.unwrap();
        assert!(
            peer.heard().contains(&key) && peer.heard().contains(&next),
            "{status}"
        );
        let evidence = Evidence::Probed(exchange);
        let verdict = diagnose(None, &evidence);
        outputs.add_with(
            format!("{status}: the evidence"),
            debug(&evidence),
            "Exchange",
            &["issuer of a certificate"],
        );
        outputs.add(
            format!("{status}: the verdict"),
            debug(&verdict) + &verdict.to_string(),
            "Verdict",
        );
        outputs.add(format!("{status}: the prober"), debug(&lanes), "");
    }
    outputs.assert_clean(&canaries);
}

#[test]
fn what_cannot_be_read() {
    let canaries = Canaries::default();
    let mut outputs = Outputs::default();
    let text = canaries.text("what is no key, no certificate and no URL");
    for (what, shown) in [
        (
            "a key",
            debug(&ApiKey::read(format!("{text} {text}").into_bytes()).unwrap_err()),
        ),
        ("a bundle", debug(&Bundle::read(text.as_bytes()).unwrap_err())),
        (
            "a certificate",
            debug(&Bundle::read(
                format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n").as_bytes(),
            )),
        ),
        (
            "a url",
            debug(&Origin::parse(&format!("https://user:{text}@{text}")).unwrap_err()),
        ),
        (
            "a path",
            Origin::parse(&format!("https://bridge/{text}"))
                .unwrap_err()
                .to_string(),
        ),
        (
            "an obstacle",
            debug(&Evidence::Blocked(Obstacle::ApiKeyMalformed(KeyFault::Blank))),
        ),
    ] {
        outputs.add(what, shown, "");
    }
    outputs.assert_clean(&canaries);
}

#[test]
fn arguments() {
    let canaries = Canaries::default();
    let mut outputs = Outputs::default();
    let password = canaries.text("password in a URL");
    let url = format!("http://user:{password}@example.com:8080");
    let accepted = Arguments::try_parse_from(["it", "run", "--bridge-proxy", &url]).unwrap();
    outputs.add("arguments", debug(&accepted), "RunArguments");
    let refused = Arguments::try_parse_from(["it", "preflight", "--operator-url", &url]).unwrap_err();
    outputs.add(
        "a usage error",
        debug(&refused) + &refused.to_string(),
        "--operator-url",
    );
    outputs.assert_clean(&canaries);
}

/// What [`debug`] does not see: that the values were there to be shown.
#[test]
fn a_derived_debug_would_be_found() {
    #[derive(Debug)]
    #[allow(dead_code, reason = "read by Debug")]
    struct Careless {
        key: Vec<u8>,
        headers: BTreeMap<String, String>,
    }
    let canaries = Canaries::default();
    let (key, text) = (canaries.key("key"), canaries.text("text"));
    let careless = Careless {
        key: key.into_bytes(),
        headers: BTreeMap::from([("x".to_owned(), text)]),
    };
    let search = crate::search::Search::new(&canaries.all());
    let found = search.find(debug(&careless).as_bytes());
    assert!(
        ["key", "text"]
            .iter()
            .all(|what| found.iter().any(|found| found.canary == *what)),
        "{found:?}"
    );
}
