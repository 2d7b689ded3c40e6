//! Whose certificate is believed, and what is sent where none is: nothing.

use std::{sync::Arc, time::Duration};

use bridge_front::{Authority, Front, Identity, Profile};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use scim_bridge_operator::{
    bridge::{HttpProber, trust::Trust},
    clock::{Clock, SystemClock},
    domain::evidence::{Certificate, Member},
};

use crate::{
    peer::{Peer, healthy},
    support::{
        Differences, KEY, bridge, front, log, loopback, only, order, order_for, probe, probe_by, told,
    },
};

const ENDED: &str = "CertificateExpired (GET /ping: the server's certificate has expired)";
const STRANGER: &str = "CertificateUntrusted (GET /ping: its issuer is not in spec.tls.caRef, and the server did not send the issuer's certificate)";

async fn presenting(profile: Profile) -> Front {
    bridge().certificate(profile).start().await.unwrap()
}

#[tokio::test]
async fn bad_certificates() {
    let mut differences = Differences::default();
    for (profile, expected) in [
        (Profile::default(), "Connected"),
        (Profile::Expired, ENDED),
        (
            Profile::NotYetValid,
            "CertificateExpired (GET /ping: it is not valid yet, by the operator's clock)",
        ),
        (Profile::OtherName, "CertificateNameMismatch (GET /ping)"),
        (
            Profile::SelfSigned,
            "CertificateUntrusted (GET /ping: it is self-signed and not in spec.tls.caRef)",
        ),
        (Profile::OtherAuthority, STRANGER),
    ] {
        let front = presenting(profile).await;
        for host in ["127.0.0.1", "localhost"] {
            front.clear_requests();
            let mut order = order(&front);
            order.route.origin = order_for(&format!("https://{host}:{}", front.port()), Trust::System)
                .route
                .origin;
            let exchange = probe(&order).await;
            let row = format!("{profile:?} at {host}");
            differences.compare(&row, expected, &told(None, &exchange));
            if expected != "Connected" {
                differences.compare(&row, "", &log(&front.requests()));
                differences.compare(&row, "None", &format!("{:?}", exchange.certificate));
            }
        }
    }
    differences.assert_none();
}

#[tokio::test]
async fn whose_roots_count() {
    let authority = Arc::new(Authority::new().unwrap());
    let front = bridge().authority(Arc::clone(&authority)).start().await.unwrap();
    let mut system_roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).unwrap();
    system_roots.add(root).unwrap();
    let prober = HttpProber::new(
        Arc::new(loopback()),
        Arc::new(system_roots),
        Arc::new(SystemClock),
    );
    let other = Authority::new().unwrap();
    let both = format!("{}{}", other.ca_pem(), authority.ca_pem());
    for (name, trust, expected) in [
        ("the operator's own", Trust::System, "Connected"),
        // The operator's own roots do not count beside those of an object.
        ("another", only(other.ca_pem()), STRANGER),
        ("the right one among two", only(&both), "Connected"),
        ("the operator's own again", Trust::System, "Connected"),
    ] {
        let seen = told(None, &probe_by(&prober, &order_for(&front.url(), trust)).await);
        assert_eq!(seen, expected, "trusting {name}");
    }
    let seen = told(None, &probe(&order_for(&front.url(), Trust::System)).await);
    assert_eq!(
        seen,
        "CertificateUntrusted (GET /ping: its issuer is not among the operator's roots, and the server did not send the issuer's certificate)",
        "without any roots"
    );
}

/// A good certificate in place of a bad one, and the other way round, without a new prober.
#[tokio::test]
async fn a_certificate_is_judged_each_time() {
    let front = front().await;
    let prober = crate::support::prober();
    let authority = front.authority().unwrap();
    for (profile, expected) in [
        (Profile::default(), "Connected"),
        (Profile::Expired, ENDED),
        (Profile::Valid { days: 1 }, "Connected"),
        (Profile::OtherAuthority, STRANGER),
    ] {
        front.present(authority.issue(profile, &[]).unwrap()).unwrap();
        let seen = told(None, &probe_by(&prober, &order(&front)).await);
        assert_eq!(seen, expected, "{profile:?}");
    }
}

#[tokio::test]
async fn a_server_name_instead_of_the_host() {
    let other_name = presenting(Profile::OtherName).await;
    let usual = bridge().names(["scim.example.test"]).start().await.unwrap();
    let mut differences = Differences::default();
    for (front, host, server_name, expected) in [
        (&other_name, "127.0.0.1", "other-name.invalid", "Connected"),
        (&other_name, "localhost", "other-name.invalid", "Connected"),
        (
            &other_name,
            "127.0.0.1",
            "scim.example.test",
            "CertificateNameMismatch (GET /ping)",
        ),
        (&usual, "127.0.0.1", "scim.example.test", "Connected"),
        // The host is no longer a name that counts.
        (
            &usual,
            "localhost",
            "other-name.invalid",
            "CertificateNameMismatch (GET /ping)",
        ),
    ] {
        front.clear_requests();
        let mut order = order_for(
            &format!("https://{host}:{}", front.port()),
            only(front.ca_pem().unwrap()),
        );
        order.route.server_name = Some(server_name.to_owned());
        let exchange = probe(&order).await;
        let row = format!("{host} as {server_name}");
        differences.compare(&row, expected, &told(None, &exchange));
        if expected != "Connected" {
            differences.compare(&row, "", &log(&front.requests()));
        }
    }
    differences.assert_none();
}

/// The server name is for TLS alone. The request goes to the host of the url, and the key goes with it.
#[tokio::test]
async fn what_a_peer_hears() {
    let peer = Peer::start_tls("scim.example.test", "Test CA", healthy);
    let mut order = order_for(&peer.url(), only(peer.ca_pem()));
    order.route.server_name = Some("scim.example.test".to_owned());
    assert_eq!(told(None, &probe(&order).await), "Connected");
    // As a browser does it: what is asked for in the handshake is asked for in the request.
    let host = format!("scim.example.test:{}", peer.port());
    let heard = peer.heard();
    assert_eq!(heard.len(), 4, "{heard:#?}");
    for (number, head) in heard.iter().enumerate() {
        let lines: Vec<_> = head.split("\r\n").map(str::to_ascii_lowercase).collect();
        let of = |name: &str| {
            let name = format!("{name}: ");
            let values: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix(&name)).collect();
            values.join(" and ")
        };
        let bearer = if number == 0 {
            String::new()
        } else {
            format!("bearer {KEY}")
        };
        assert_eq!(
            (lines[0].as_str(), of("host"), of("authorization")),
            ("scim.example.test", host.clone(), bearer),
            "SNI, Host and Authorization of {head}"
        );
        assert_eq!(
            of("accept-encoding"),
            "identity",
            "nothing is to be unpacked: {head}"
        );
        // Nothing says where we came from.
        for name in ["referer", "cookie", "origin"] {
            assert_eq!(of(name), "", "{name} of {head}");
        }
    }
}

#[tokio::test]
async fn what_is_learned_of_a_certificate() {
    // Made of what a terminal, a page or a log could take for more than a name.
    let evil = "Corp <script>\u{202e}\u{1b}[31m \"CA\" 1\r\nX: y";
    let peer = Peer::start_tls("localhost", evil, healthy);
    let order = order_for(&format!("https://localhost:{}", peer.port()), only(peer.ca_pem()));
    let exchange = probe(&order).await;
    let expected = Certificate {
        not_after: "2099-01-02T00:00:00Z".parse().unwrap(),
        ends: Member::Server,
        issuer: Some("Corp script31m CA 1X y".to_owned()),
    };
    assert_eq!(exchange.certificate, Some(expected), "{exchange:?}");

    let plain = Peer::start(healthy);
    let exchange = probe(&order_for(&plain.url(), Trust::System)).await;
    assert_eq!(
        (told(None, &exchange).as_str(), exchange.certificate),
        ("Connected", None)
    );
}

/// The certificate is reported where the verdict is a failure, too.
#[tokio::test]
async fn a_certificate_is_learned_whatever_the_answer() {
    let front = presenting(Profile::Valid { days: 30 }).await;
    let prober = crate::support::prober();
    let order = order(&front);
    for key in [KEY, "another", KEY] {
        front.set(|state| state.key = key.into());
        let exchange = probe_by(&prober, &order).await;
        let (now, day) = (SystemClock.now(), Duration::from_hours(24));
        let Some(Certificate {
            not_after, issuer, ..
        }) = exchange.certificate
        else {
            panic!("no certificate in {exchange:?}");
        };
        let days = [29, 31].map(|days| now + day * days);
        assert!(
            (days[0]..days[1]).contains(&not_after),
            "notAfter is {not_after}, 30 days from {now}"
        );
        assert!(
            issuer
                .as_deref()
                .is_some_and(|name| name.starts_with("bridge-front CA ")),
            "{issuer:?}"
        );
    }
}

/// A certificate for these names as `openssl req -x509` makes it: self-signed, and marked as an authority.
fn self_made(name: &str, ends: i32) -> (Identity, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(ends, 1, 1);
    let pem = parameters.self_signed(&key).unwrap().pem();
    (Identity::from_pem(&pem, &key.serialize_pem()).unwrap(), pem)
}

#[tokio::test]
async fn a_certificate_that_the_bundle_holds_itself() {
    let mut differences = Differences::default();
    for (row, name, ends, expected) in [
        ("as it should be", "localhost", 2999, "Connected"),
        (
            "of another name",
            "scim.example.com",
            2999,
            "CertificateNameMismatch (GET /ping)",
        ),
        ("past its end", "localhost", 2021, ENDED),
    ] {
        let (identity, pem) = self_made(name, ends);
        let front = bridge().identity(identity).start().await.unwrap();
        let url = format!("https://localhost:{}", front.port());
        differences.compare(
            row,
            expected,
            &told(None, &probe(&order_for(&url, only(&pem))).await),
        );
        // Another of the same name and making does not stand for it.
        let (_, other) = self_made(name, ends);
        let exchange = probe(&order_for(&url, only(&other))).await;
        let is_trusted = told(None, &exchange) == "Connected";
        differences.compare(row, "false", &is_trusted.to_string());
        if expected != "Connected" {
            differences.compare(row, "", &log(&front.requests()));
        }
    }
    differences.assert_none();
}
