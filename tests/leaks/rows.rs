//! One connection for each reason of the vocabulary, with canaries in all that it touches.

use std::{collections::BTreeMap, thread};

use scim_bridge_operator::api::vocabulary::Reason;
use serde_json::{Value, json};
use testbed::{Spec, bed::CA, free_port, spec};

use crate::{
    canary::Canaries,
    peer::{Authority, Flaw, Peer, Sayings, Script},
};

/// What is to be created for a reason.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) url: String,
    /// Merged into the specification.
    pub(crate) spec: Spec,
    /// The Secret, where there is one.
    pub(crate) secret: Option<Secret>,
    /// The peer, where there is one.
    pub(crate) peer: Option<Peer>,
    /// The key that the peer must get; empty where none is sent.
    pub(crate) sent: String,
}

/// A Secret's entries and annotations.
pub(crate) struct Secret {
    pub(crate) data: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What the rows are made with.
pub(crate) struct Stage<'a> {
    pub(crate) canaries: &'a Canaries,
    pub(crate) authority: &'a Authority,
    pub(crate) stranger: &'a Authority,
}

impl Stage<'_> {
    /// The row of a reason. A new reason does not compile until it has one.
    pub(crate) fn row(&self, reason: Reason) -> Row {
        let name = reason.as_str().to_ascii_lowercase();
        let key = self.canaries.key(format!("{reason}: key"));
        let mut row = Row {
            url: String::new(),
            spec: spec(),
            secret: Some(self.secret(reason, "apiKey", &key)),
            peer: None,
            sent: String::new(),
            name,
        };
        match reason {
            Reason::Connected
            | Reason::IdentityProviderMismatch
            | Reason::AuthFailed
            | Reason::ScimDisabled
            | Reason::PathNotFound
            | Reason::ProvisioningOff
            | Reason::BridgeUnavailable
            | Reason::BridgeError
            | Reason::RateLimited
            | Reason::RedirectRefused
            | Reason::BlockedByProxy
            | Reason::ProtocolError => row.sent = key,
            Reason::SecretNotFound => row.secret = None,
            Reason::SecretKeyMissing => row.secret = Some(self.secret(reason, "elsewhere", &key)),
            Reason::ApiKeyMalformed => {
                row.secret = Some(self.secret(reason, "apiKey", &format!("{key} {key}\n")));
            }
            Reason::CaNotFound => {
                row.spec = spec().ca("absent");
            }
            Reason::CaInvalid => {
                // A key where a certificate should be.
                row.spec = spec().ca_entry("Secret", &row.name, "apiKey");
            }
            Reason::InvalidSpec => row.url.push_str("https://xn--zzzzzz.example"),
            Reason::HostDenied => row.url.push_str("https://169.254.169.254"),
            Reason::ConsentMissing => {
                let host = self
                    .canaries
                    .text("host that a Secret consents to")
                    .to_ascii_lowercase();
                if let Some(secret) = &mut row.secret {
                    let consent = (
                        "scimbridge.dev/allowed-hosts".to_owned(),
                        format!("{host}.example.com"),
                    );
                    secret.annotations.extend([consent]);
                }
            }
            Reason::DnsFailed => row.url.push_str("https://bridge.invalid"),
            Reason::ConnectFailed => row.url = format!("https://127.0.0.1:{}", free_port().unwrap()),
            Reason::TimedOut => row.spec = spec().with("timeout", "1s"),
            Reason::CertificateUntrusted
            | Reason::CertificateExpired
            | Reason::CertificateNameMismatch
            | Reason::TlsFailed
            | Reason::NotABridge
            | Reason::Progressing => {}
        }
        if reason == Reason::IdentityProviderMismatch {
            row.spec = spec().provider("GoogleWorkspace");
        }
        if row.url.is_empty() {
            let peer = self.peer(reason);
            row.url = format!("https://{}", peer.address());
            row.peer = Some(peer);
        }
        row
    }

    fn secret(&self, reason: Reason, entry: &str, value: &str) -> Secret {
        let other = self
            .canaries
            .key(format!("{reason}: another entry of the Secret"));
        let note = self.canaries.text(format!("{reason}: annotation of the Secret"));
        Secret {
            data: BTreeMap::from([(entry.to_owned(), value.to_owned()), ("other".to_owned(), other)]),
            annotations: BTreeMap::from([("example.com/note".to_owned(), note)]),
        }
    }

    fn peer(&self, reason: Reason) -> Peer {
        let says = Sayings::new(self.canaries, reason.as_str());
        let (authority, flaw) = match reason {
            Reason::CertificateUntrusted => (self.stranger, Flaw::OtherAuthority),
            Reason::CertificateExpired => (self.authority, Flaw::Expired),
            Reason::CertificateNameMismatch => (self.authority, Flaw::OtherName),
            _ => (self.authority, Flaw::None),
        };
        let script = script(reason, says);
        if reason == Reason::TlsFailed {
            Peer::plain(script)
        } else {
            Peer::tls(authority, flaw, script)
        }
    }

    /// The CA object of the rows, with more in it than a certificate.
    pub(crate) fn ca(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": CA, "annotations": {"example.com/note": self.canaries.text("annotation of the CA object")}},
            "data": {
                "ca.crt": format!("# {}\n{}", self.canaries.text("comment in the CA object"), self.authority.pem),
                "other": self.canaries.text("another entry of the CA object"),
            },
        })
    }
}

/// What a peer answers, so that the connection comes to this reason.
fn script(reason: Reason, says: Sayings) -> Script {
    Box::new(move |target| {
        let path = target.split('?').next().unwrap_or_default();
        match (reason, path) {
            (Reason::NotABridge, _) => says.page(200),
            (Reason::TlsFailed, _) => says.error(400),
            (Reason::TimedOut | Reason::Progressing, _) => loop {
                thread::park();
            },
            (_, "/ping") => says.pong(),
            (Reason::AuthFailed, _) => says.error(401),
            (Reason::PathNotFound, _) | (Reason::ScimDisabled, "/scim/Users") => says.page(404),
            (Reason::BridgeUnavailable, _) => says.page(503),
            (Reason::RateLimited, _) => says.error(429),
            (Reason::RedirectRefused, _) => says.page(302),
            (Reason::BlockedByProxy, _) => says.page(403),
            (Reason::ProvisioningOff, "/health") => says.health("unhealthy"),
            (_, "/health") => says.health("healthy"),
            (Reason::BridgeError | Reason::ProvisioningOff, _) => says.error(500),
            (Reason::ProtocolError, _) => says.error(200),
            (_, _) => says.list(),
        }
    })
}
