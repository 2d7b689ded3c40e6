//! The closed vocabularies of a status: condition types, reasons, and what each reason asks of the reader.
//!
//! They are API. A reason is never renamed and never changes its meaning; a new cause gets a new reason. Messages may
//! become clearer over time, and are templates: nothing that a server sent is ever part of one.

use std::fmt;

/// Types of `status.conditions`.
///
/// `Ready`, `Connected`, `AuthFailed` and `ScimDisabled` are always present. The others are present only while they
/// say something (abnormal-true, as kstatus wants it), `NextApiKeyValid` only while a rehearsal is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The connection may be used: bridge, key and mode are as declared, and that was proven.
    Ready,
    /// A SCIM request with the key was answered as SCIM asks.
    Connected,
    /// The bridge refused the key.
    AuthFailed,
    /// The bridge's SCIM API is off, as it is with Google Workspace.
    ScimDisabled,
    /// A component that the bridge reports is not healthy, or its report has expired.
    Degraded,
    /// The bridge's certificate expires within 21 days.
    CertificateExpiring,
    /// What the bridge says to the key of `spec.nextApiKeySecretRef`.
    NextApiKeyValid,
    /// The operator is on its way to a verdict, or retries after a passing failure (kstatus `InProgress`).
    Reconciling,
    /// Nothing will change until somebody acts (kstatus `Failed`).
    Stalled,
}

impl ConditionType {
    /// Every type, in the order in which a status lists them.
    pub const ALL: [Self; 9] = [
        Self::Ready,
        Self::Connected,
        Self::AuthFailed,
        Self::ScimDisabled,
        Self::Degraded,
        Self::CertificateExpiring,
        Self::NextApiKeyValid,
        Self::Reconciling,
        Self::Stalled,
    ];

    /// The types that are present in every status.
    pub const ALWAYS: [Self; 4] = [Self::Ready, Self::Connected, Self::AuthFailed, Self::ScimDisabled];

    /// The name in `conditions[].type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Connected => "Connected",
            Self::AuthFailed => "AuthFailed",
            Self::ScimDisabled => "ScimDisabled",
            Self::Degraded => "Degraded",
            Self::CertificateExpiring => "CertificateExpiring",
            Self::NextApiKeyValid => "NextApiKeyValid",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
        }
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `True`, `False` or `Unknown`: the values of `conditions[].status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    /// Proven to be so.
    True,
    /// Proven not to be so.
    False,
    /// Nothing that was seen tells. Never counts as good.
    Unknown,
}

impl Truth {
    /// The value of `conditions[].status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a reason asks for, and so how the operator goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Nothing to do: look again after the interval.
    Ok,
    /// Somebody has to act: retrying fast would not help. `Ready=False` and `Stalled=True`.
    Action,
    /// It may pass by itself: retry with back-off. `Ready=False` and `Reconciling=True`.
    Transient,
    /// Nothing is known yet. `Ready=Unknown` and `Reconciling=True`.
    Pending,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident: $class:ident, $message:literal, $action:literal;)+) => {
        /// Why `Ready` is as it is: the STATUS column of `kubectl get scimbridgeconnections`.
        ///
        /// One reason for each cause that a reader would act on differently.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// Every reason, in the order of the verdict table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The name in `conditions[].reason`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What the reason asks for.
            #[must_use]
            pub const fn class(self) -> Class {
                match self { $(Self::$name => Class::$class,)+ }
            }

            /// What is wrong (or right), in one sentence.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)+ }
            }

            /// What to do next, in one sentence; empty where there is nothing to do.
            #[must_use]
            pub const fn action(self) -> &'static str {
                match self { $(Self::$name => $action,)+ }
            }
        }
    };
}

reasons! {
    /// SCIM is answered although Google Workspace is declared: the bridge has lost (or never had) its Google files.
    IdentityProviderMismatch: Action,
        "The bridge answers SCIM, but GoogleWorkspace is declared, with which its SCIM API would be off.",
        "Load the Google Workspace credentials and settings into the bridge, or change spec.identityProvider.";
    /// The SCIM API answered the key with a list of users.
    Connected: Ok,
        "The bridge accepts the key and its SCIM API answers.",
        "";
    /// The bridge refused the key.
    AuthFailed: Action,
        "The bridge refuses the API key.",
        "Put the bridge's current bearer token into the Secret; if it is current, the bridge's scimsession is of another set-up.";
    /// The SCIM API is off: the bridge pulls from Google Workspace.
    ScimDisabled: Action,
        "The bridge works, but its SCIM API is off, as it is with Google Workspace.",
        "Nothing, if Google Workspace is what you use; otherwise remove the Google Workspace files from the bridge.";
    /// Neither a bridge's health report nor its SCIM API is at this address.
    PathNotFound: Action,
        "Something answers at this address, but neither /health nor /scim/Users is there.",
        "Set spec.url to the bridge's own address, without a path, and see that the ingress forwards every path.";
    /// Provisioning is switched off in the 1Password account.
    ProvisioningOff: Action,
        "The bridge cannot provision: its SCIM API fails and its ConfirmationWatcher is not healthy.",
        "Turn on provisioning in the 1Password account: Integrations, Directory.";
    /// The Secret is not there.
    SecretNotFound: Action,
        "The Secret that spec.apiKeySecretRef names does not exist in this namespace.",
        "Create the Secret, or correct spec.apiKeySecretRef.name.";
    /// The Secret has no such key.
    SecretKeyMissing: Action,
        "The Secret has no entry under the key that spec.apiKeySecretRef names.",
        "Add the entry to the Secret, or correct spec.apiKeySecretRef.key.";
    /// The entry is no API key.
    ApiKeyMalformed: Action,
        "The Secret's entry cannot be an API key: it is empty, longer than 8 KiB, or has blanks, line breaks or other characters that no bearer token has.",
        "Store the token alone, without quotes or line break, and encode it in base64 once only.";
    /// The CA object or its entry is not there.
    CaNotFound: Action,
        "The object or entry that spec.tls.caRef names does not exist in this namespace.",
        "Create it, or correct spec.tls.caRef.";
    /// The CA object holds no usable certificate.
    CaInvalid: Action,
        "The entry that spec.tls.caRef names holds no usable PEM certificate, or more than 256 KiB or 64 certificates.",
        "Store the CA's certificate in PEM form under that key.";
    /// The specification passed the API server but cannot be used.
    InvalidSpec: Action,
        "The specification cannot be used.",
        "Compare the specification with the field reference in the README, then apply it again.";
    /// The operator may not talk to this host.
    HostDenied: Action,
        "The operator's address policy does not allow this host.",
        "Ask the operator's administrator for --allowed-host or --allow-cidr, or correct spec.url.";
    /// The Secret does not allow its key to go to this host.
    ConsentMissing: Action,
        "The Secret does not allow its key to be sent to this host.",
        "Name the host in the Secret's annotation scimbridge.dev/allowed-hosts.";
    /// The certificate does not lead to a trusted root.
    CertificateUntrusted: Action,
        "The bridge's certificate does not lead to a trusted root.",
        "Give a private CA in spec.tls.caRef; with a public one, have the bridge send its intermediate certificates.";
    /// The certificate is past its end, or before its beginning.
    CertificateExpired: Action,
        "The bridge's certificate is not valid at this time.",
        "Renew the certificate; if it is new, compare the clocks.";
    /// The certificate is for another name.
    CertificateNameMismatch: Action,
        "The bridge's certificate is for another name.",
        "Use the name of the certificate in spec.url, or set spec.tls.serverName.";
    /// The name does not resolve.
    DnsFailed: Transient,
        "The host name of spec.url does not resolve.",
        "Correct the host, or its DNS record.";
    /// Nobody accepts connections there.
    ConnectFailed: Transient,
        "No connection to the bridge: it was refused, reset or not routable.",
        "See that the bridge runs, that the port is right and that no firewall or NetworkPolicy is in the way.";
    /// No answer within `spec.timeout`.
    TimedOut: Transient,
        "The bridge did not answer within spec.timeout.",
        "See that the bridge is not overloaded and that packets are not dropped on the way.";
    /// TLS failed for another reason than the certificate.
    TlsFailed: Transient,
        "The TLS handshake failed.",
        "See that the port speaks TLS 1.2 or newer, and not plain HTTP.";
    /// A gateway says that the bridge is away.
    BridgeUnavailable: Transient,
        "A proxy answers in place of the bridge, or the bridge says that it is unavailable.",
        "See that the bridge and its Redis run.";
    /// The bridge fails.
    BridgeError: Transient,
        "The bridge answers with an internal error.",
        "Read the bridge's log.";
    /// Too many requests.
    RateLimited: Transient,
        "The bridge, or a proxy before it, asks for fewer requests.",
        "Raise spec.interval, or the limit.";
    /// The answer is a redirect.
    RedirectRefused: Action,
        "The answer is a redirect; the key is never sent along one.",
        "Set spec.url to where the redirect leads, if that is the bridge, and take logins off the ingress.";
    /// A proxy or firewall blocks the request.
    BlockedByProxy: Action,
        "A proxy or web application firewall blocks the request.",
        "Let the operator's requests through, or use an address that reaches the bridge directly.";
    /// Something else than a bridge is there.
    NotABridge: Action,
        "Something else than a SCIM Bridge answers at this address; no key was sent.",
        "Correct spec.url, or the ingress that serves it.";
    /// The answer is not what SCIM asks for.
    ProtocolError: Action,
        "The answer is not what was asked for: broken, too large, or of another kind.",
        "See what answers in front of the bridge, and whether the bridge's version is supported.";
    /// Nothing has been probed yet.
    Progressing: Pending,
        "Nothing has been proven yet: the first probe of this specification is under way.",
        "";
}

impl Reason {
    /// The anchor of this reason in the README and in runbooks.
    #[must_use]
    pub fn anchor(self) -> String {
        self.as_str().to_ascii_lowercase()
    }

    /// Reads a reason back from a status; `None` for one that this version does not know.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
