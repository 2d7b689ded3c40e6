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
    /// A probe has seen that the bridge's SCIM API is off, as it is with Google Workspace.
    ScimDisabled,
    /// A component that the bridge reports is not healthy, or its report has expired.
    Degraded,
    /// The bridge's certificate expires within 21 days.
    CertificateExpiring,
    /// What the bridge says to the key of `spec.nextApiKeySecretRef`.
    NextApiKeyValid,
    /// The first probe has no result yet, or the operator retries after a transient failure (kstatus `InProgress`).
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
    /// The probe could not tell. Never counts as good.
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
        "The bridge's SCIM API is on, but spec.identityProvider is GoogleWorkspace. A bridge for Google Workspace has it off.",
        "Load the Google Workspace credentials and settings into the bridge, or change spec.identityProvider.";
    /// The SCIM API answered the key with a list of users.
    Connected: Ok,
        "The bridge accepts the key and its SCIM API answers.",
        "";
    /// The bridge refused the key.
    AuthFailed: Action,
        "The bridge, or a gateway that answers like it, refuses the API key.",
        "Put the bridge's current bearer token into the Secret. If it is already current, the bridge was started with a scimsession file from a different setup.";
    /// The SCIM API is off: the bridge pulls from Google Workspace. With `GoogleWorkspace` declared and the key accepted
    /// this is as declared: the class is ok, and `Ready` is True.
    ScimDisabled: Action,
        "The bridge works, and its SCIM API is off.",
        "If you use Google Workspace, set spec.identityProvider to GoogleWorkspace. If not, check that the ingress forwards /scim, or remove the Google Workspace files from the bridge.";
    /// Neither a bridge's health report nor its SCIM API is at this address.
    PathNotFound: Action,
        "Something answers at this address, but neither /health nor /scim/Users is there.",
        "Set spec.url to the bridge's own address, without a path, and check that the ingress forwards every path.";
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
        "The Secret's entry cannot be an API key.",
        "Store the token alone, without quotes or line break, and encode it in base64 once only.";
    /// The CA object or its entry is not there.
    CaNotFound: Action,
        "The object or entry that spec.tls.caRef names does not exist in this namespace.",
        "Create it, or correct spec.tls.caRef.";
    /// The operator cannot use the entry of the CA object; the detail says why.
    CaInvalid: Action,
        "The operator cannot use the entry that spec.tls.caRef names.",
        "Store the CA's certificate in PEM form under that key.";
    /// The specification passed the API server but cannot be used.
    InvalidSpec: Action,
        "The operator cannot use this specification.",
        "Compare the specification with the field reference in the README, then apply it again.";
    /// The operator may not talk to this host.
    HostDenied: Action,
        "The operator's address policy does not allow this host.",
        "Correct spec.url, or ask the operator's administrator to allow the host.";
    /// The Secret does not allow its key to go to this host.
    ConsentMissing: Action,
        "The Secret does not allow its key to be sent to this host.",
        "Name the host in the Secret's annotation scimbridge.dev/allowed-hosts.";
    /// The chain of certificates is not accepted; the detail says why.
    CertificateUntrusted: Action,
        "The operator does not accept the certificate that this address presents.",
        "Give a private CA in spec.tls.caRef; with a public one, have the bridge send its intermediate certificates.";
    /// A certificate of the chain is past its end, or before its beginning.
    CertificateExpired: Action,
        "A certificate in the chain of this address is not valid at this time.",
        "Renew the certificate. If it is new, check the clocks of bridge and cluster.";
    /// The certificate is for another name.
    CertificateNameMismatch: Action,
        "The certificate that this address presents is for another name.",
        "Use the name of the certificate in spec.url, or set spec.tls.serverName.";
    /// The name does not resolve, or not in time.
    DnsFailed: Transient,
        "The operator cannot resolve the host name of spec.url.",
        "Correct the host, or its DNS record.";
    /// Nobody accepts connections there.
    ConnectFailed: Transient,
        "The operator cannot connect to the bridge: the connection was refused, reset or not routable.",
        "Check that the bridge is running and that the port is right. Check that no firewall or NetworkPolicy blocks it.";
    /// No answer within `spec.timeout`.
    TimedOut: Transient,
        "The probe took longer than spec.timeout.",
        "Check that the bridge and its Redis are running and not overloaded.";
    /// TLS failed for another reason than the certificate.
    TlsFailed: Transient,
        "The TLS handshake failed.",
        "Check the TLS settings of the bridge, or of the front before it.";
    /// A front answers in place of the bridge: it cannot reach the bridge, or asks to repeat the request.
    BridgeUnavailable: Transient,
        "The front before the bridge cannot reach it, or the bridge answers that it is unavailable.",
        "Check that the bridge and its Redis are running. Check that the front (ingress, tunnel, CDN) has a route to it.";
    /// The bridge fails.
    BridgeError: Transient,
        "The bridge answers with an internal error.",
        "Read the bridge's log.";
    /// Too many requests.
    RateLimited: Transient,
        "The bridge, or a proxy before it, asks for fewer requests.",
        "Raise spec.interval, or the limit of the bridge or proxy.";
    /// The answer is a redirect.
    RedirectRefused: Action,
        "The server answers with a redirect. The operator never sends the key along one.",
        "If the redirect leads to the bridge, set spec.url to that address. If it leads to a login, remove the login from the ingress.";
    /// A front refuses the request: a login, a firewall, or the operator's own proxy.
    BlockedByProxy: Action,
        "A proxy, login or firewall before the bridge refuses the request. This says nothing about the API key.",
        "Let the operator's requests pass, without a login for browsers, or use an address that reaches the bridge directly.";
    /// Something else than a bridge is there.
    NotABridge: Action,
        "This address is not a SCIM bridge: /ping did not answer \"pong\". The API key was not sent.",
        "Correct spec.url, or the ingress that serves it.";
    /// The answer is not what SCIM asks for.
    ProtocolError: Action,
        "The server's answer is not one that a SCIM bridge gives.",
        "Check which server answers before the bridge, and whether the bridge's version is supported.";
    /// Nothing has been probed yet.
    Progressing: Pending,
        "Nothing is proven yet: the first probe is running.",
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
