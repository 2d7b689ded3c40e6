//! What bridges do, and the status that each leads to.

use bridge_front::{Content, Fault, Flavour, Front, Mode, Profile, State};

use super::Bed;
use crate::spec;

/// A connection's name, the declared identity provider, what the bridge does, and the connection's [`line`](super::line).
pub type Played = (&'static str, &'static str, fn(&mut State), &'static str);

/// Every kind of bridge.
#[rustfmt::skip]
pub const BRIDGES: &[Played] = &[
    ("healthy", "Okta", |_| {}, "True Connected"),
    ("hosted", "EntraID", |b| b.flavour = Flavour::Hosted, "True Connected"),
    ("degraded", "Okta", |b| b.component("RedisCache", "unhealthy"), "True Connected Degraded"),
    ("old-report", "Okta", |b| b.report_age_secs = 3600, "True Connected Degraded"),
    ("mismatch", "GoogleWorkspace", |_| {}, "False IdentityProviderMismatch Stalled"),
    ("google", "GoogleWorkspace", |b| b.mode = Mode::GoogleWorkspace, "True ScimDisabled"),
    ("google-without-health", "GoogleWorkspace", without_health, "False ScimDisabled Stalled"),
    ("google-by-mistake", "Okta", |b| b.mode = Mode::GoogleWorkspace, "False ScimDisabled Stalled"),
    ("google-nowhere", "GoogleWorkspace", |b| b.fault("/", answer(404)), "False PathNotFound Stalled"),
    ("google-away", "GoogleWorkspace", |b| b.fault("/", answer(503)), "False BridgeUnavailable Reconciling"),
    ("google-refused", "GoogleWorkspace", refusing, "False AuthFailed Stalled"),
    ("off", "Okta", |b| b.provisioning_off = true, "False ProvisioningOff Degraded Stalled"),
    ("refused", "Okta", |b| b.key = OTHER_KEY.into(), "False AuthFailed Stalled"),
    ("refused-in-json", "Okta", refusing_in_json, "False AuthFailed Stalled"),
    ("refused-by-scim", "Okta", |b| b.fault("/scim", Fault::Unauthorized), "False AuthFailed Stalled"),
    ("foreign", "Okta", |b| b.fault("/", Fault::Html), "False NotABridge Stalled"),
    ("blocked", "Okta", |b| b.fault("/scim", Fault::ForbiddenHtml), "False BlockedByProxy Stalled"),
    ("login", "Okta", |b| b.fault("/", Fault::Unauthorized), "False BlockedByProxy Stalled"),
    ("allow-list", "Okta", |b| b.fault("/", Fault::ForbiddenJson), "False BlockedByProxy Stalled"),
    ("elsewhere", "Okta", |b| b.fault("/", redirect()), "False RedirectRefused Stalled"),
    ("no-path", "Okta", |b| b.fault("/", answer(404)), "False PathNotFound Stalled"),
    ("broken", "Okta", |b| b.fault("/scim", Fault::BrokenJson), "False ProtocolError Stalled"),
    ("not-a-list", "Okta", |b| b.fault("/scim", Fault::NotAList), "False ProtocolError Stalled"),
    ("gateway", "Okta", |b| b.fault("/", answer(502)), "False BridgeUnavailable Reconciling"),
    ("away", "Okta", |b| b.fault("/", answer(503)), "False BridgeUnavailable Reconciling"),
    ("edge", "Okta", |b| b.fault("/", answer(530)), "False BridgeUnavailable Reconciling"),
    ("late", "Okta", |b| b.fault("/scim", answer(504)), "False BridgeUnavailable Reconciling"),
    ("error", "Okta", |b| b.fault("/scim", answer(500)), "False BridgeError Reconciling"),
    ("limited", "Okta", |b| b.fault("/scim", answer(429)), "False RateLimited Reconciling"),
    ("closed", "Okta", |b| b.fault("/", Fault::Close), "False ConnectFailed Reconciling"),
    (SLOW, "Okta", |b| b.fault("/scim", Fault::Silent), "False TimedOut Reconciling"),
];

/// The one that does not answer: it is not waited for as long as the others.
const SLOW: &str = "slow";
/// A key that nobody here has.
const OTHER_KEY: &str = "canary-another-key";

/// Every kind of certificate: the connection's name, and its [`line`](super::line).
pub const CERTIFICATES: &[(&str, Profile, &str)] = &[
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

fn without_health(bridge: &mut State) {
    bridge.mode = Mode::GoogleWorkspace;
    bridge.fault("/health", answer(404));
}

fn refusing(bridge: &mut State) {
    bridge.mode = Mode::GoogleWorkspace;
    bridge.key = OTHER_KEY.into();
}

fn refusing_in_json(bridge: &mut State) {
    bridge.fault("/health", Fault::ForbiddenJson);
    bridge.fault("/scim", Fault::ForbiddenJson);
}

fn redirect() -> Fault {
    Fault::Redirect {
        location: "https://login.example.com/".into(),
    }
}

/// An answer with this status, of something that does not want to be asked again soon.
pub fn answer(status: u16) -> Fault {
    Fault::lasting(status, Content::Html)
}

impl Bed<'_> {
    /// Connects to each of [`BRIDGES`] with the key of Secret `corp`.
    pub async fn connect_to_all_bridges(&self) -> Vec<Front> {
        let mut bridges = Vec::new();
        for (name, provider, play, _) in BRIDGES {
            let bridge = self.bridge_that(*play).await;
            let timeout = if *name == SLOW { "2s" } else { "60s" };
            let more = spec().secret("corp").provider(provider).with("timeout", timeout);
            self.connect(name, &bridge, more).await;
            bridges.push(bridge);
        }
        bridges
    }

    /// Connects to a bridge with each of [`CERTIFICATES`], with the key of Secret `corp`.
    pub async fn connect_to_all_certificates(&self) -> Vec<Front> {
        let mut bridges = Vec::new();
        for (name, profile, _) in CERTIFICATES {
            let bridge = self.bridge().certificate(*profile).start().await.unwrap();
            self.connect(name, &bridge, spec().secret("corp")).await;
            bridges.push(bridge);
        }
        bridges
    }
}
