//! The closed vocabularies of a status: condition types, reasons, and the next step for each reason.
//!
//! They are API. A reason is never renamed and never changes its meaning; a new cause gets a new reason. Messages may
//! become clearer over time. They are templates that never contain text from a server.

use std::fmt;

use super::role::Role;

/// Types of `status.conditions`.
///
/// `Ready`, `Connected`, `AuthFailed` and `ScimDisabled` are always present. The others are present only while they
/// report something (abnormal-true, as kstatus defines it). `NextApiKeyValid` is present only while the specification
/// names a next key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// A probe proved that bridge, key and mode are as declared.
    Ready,
    /// The SCIM API answered a request with the key correctly.
    Connected,
    /// The bridge refused the key.
    AuthFailed,
    /// A probe proved that the bridge's SCIM API is off, as it is with Google Workspace.
    ScimDisabled,
    /// A component that the bridge reports is not healthy, or its report has expired.
    Degraded,
    /// The bridge's certificate expires within 21 days.
    CertificateExpiring,
    /// Whether the bridge accepts the key of `spec.nextApiKeySecretRef`.
    NextApiKeyValid,
    /// The first probe has no result yet, or the operator retries after a transient failure (kstatus `InProgress`).
    Reconciling,
    /// Nothing will change until somebody acts (kstatus `Failed`).
    Stalled,
    /// More changes of users and groups are pending than a limit of `spec.provisioning` allows.
    ProvisioningHeld,
    /// The operator does not know all users and groups of the bridge.
    DirectoryIncomplete,
}

impl ConditionType {
    /// Every type, in the order in which a status lists them.
    pub const ALL: [Self; 11] = [
        Self::Ready,
        Self::Connected,
        Self::AuthFailed,
        Self::ScimDisabled,
        Self::Degraded,
        Self::CertificateExpiring,
        Self::NextApiKeyValid,
        Self::Reconciling,
        Self::Stalled,
        Self::ProvisioningHeld,
        Self::DirectoryIncomplete,
    ];

    /// The types that a probe writes. Provisioning writes the others, with its own field manager.
    pub const PROBED: [Self; 9] = [
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

    /// Whether a probe writes conditions of this type.
    #[must_use]
    pub fn is_probed(type_: &str) -> bool {
        Self::PROBED.iter().any(|probed| probed.as_str() == type_)
    }

    /// Whether provisioning writes conditions of this type.
    #[must_use]
    pub fn is_of_provisioning(type_: &str) -> bool {
        !Self::is_probed(type_) && Self::ALL.iter().any(|known| known.as_str() == type_)
    }

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
            Self::ProvisioningHeld => "ProvisioningHeld",
            Self::DirectoryIncomplete => "DirectoryIncomplete",
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
    /// A probe proved it.
    True,
    /// A probe proved the opposite.
    False,
    /// The probe could not tell. It is never treated as healthy.
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

/// What a reason asks for, and what the operator does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// All is well: the operator probes again after the interval.
    Ok,
    /// Somebody must act, and a fast retry would not help. `Ready=False` and `Stalled=True`.
    Action,
    /// It may resolve without help: the operator retries with back-off. `Ready=False` and `Reconciling=True`.
    Transient,
    /// Nothing is known yet. `Ready=Unknown` and `Reconciling=True`.
    Pending,
}

/// The type of an event.
/// <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Nobody needs to act.
    Normal,
    /// Somebody may need to act.
    Warning,
}

impl EventType {
    /// The value of an event's `type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// How far a probe has come, or where it ended, from the outside in. Logs, metrics and traces use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// The specification and the objects that it references.
    Settings,
    /// The lookup of the host's name.
    Name,
    /// The TCP connection, and the address policy.
    Address,
    /// The administrator's proxy.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// `GET /ping`
    Ping,
    /// `GET /health`
    Health,
    /// `GET /scim/Users`
    Users,
    /// `GET /scim/Groups`
    Groups,
    /// The requests with the next key.
    NextKey,
}

impl Layer {
    /// Every layer, in order.
    pub const ALL: [Self; 10] = [
        Self::Settings,
        Self::Name,
        Self::Address,
        Self::Proxy,
        Self::Tls,
        Self::Ping,
        Self::Health,
        Self::Users,
        Self::Groups,
        Self::NextKey,
    ];

    /// The name in logs, metrics and traces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Name => "name",
            Self::Address => "address",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Ping => "ping",
            Self::Health => "health",
            Self::Users => "users",
            Self::Groups => "groups",
            Self::NextKey => "next_key",
        }
    }

    /// The name of the layer at which a probe ended; `none` if it passed every layer.
    #[must_use]
    pub fn name(layer: Option<Self>) -> &'static str {
        layer.map_or("none", Self::as_str)
    }
}

macro_rules! optional {
    ($kind:ident) => {
        None
    };
    ($kind:ident $variant:ident) => {
        Some($kind::$variant)
    };
}

// One row for each reason: its class, its layer (`at`; without it, the layer of the failure), the referenced object that it
// is about, its message, and the next step.
macro_rules! reasons {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident: $class:ident $(, at $layer:ident)? $(, about $role:ident)?, $message:literal, $action:literal;
    )+) => {
        /// Why `Ready` is as it is: the STATUS column of `kubectl get scimbridgeconnections`.
        ///
        /// Each cause that asks the reader for a different step has its own reason.
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

            /// The layer of the reason. `None` if it is the layer of the failure.
            #[must_use]
            pub const fn layer(self) -> Option<Layer> {
                match self { $(Self::$name => optional!(Layer $($layer)?),)+ }
            }

            /// The referenced object to change or check.
            #[must_use]
            pub const fn about(self) -> Option<Role> {
                match self { $(Self::$name => optional!(Role $($role)?),)+ }
            }

            /// The fault, or the success, in short sentences.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)+ }
            }

            /// What to do next, in short sentences; empty if nobody has to act.
            #[must_use]
            pub const fn action(self) -> &'static str {
                match self { $(Self::$name => $action,)+ }
            }
        }
    };
}

reasons! {
    /// The SCIM API is on although Google Workspace is declared: the bridge has no Google files, or lost them.
    IdentityProviderMismatch: Action, at Users,
        "The bridge's SCIM API is on, but spec.identityProvider is GoogleWorkspace. A bridge for Google Workspace has it off.",
        "Load the Google Workspace credentials and settings into the bridge, or change spec.identityProvider.";
    /// The SCIM API answered the key with a list of users.
    Connected: Ok,
        "The bridge accepts the key and its SCIM API answers.",
        "";
    /// The bridge refused the key.
    AuthFailed: Action, at Health, about Credential,
        "The bridge, or a gateway that answers like it, refuses the API key.",
        "Put the bridge's current bearer token into the Secret. If it is already current, the bridge was started with a scimsession file from a different setup.";
    /// The SCIM API is off: the bridge pulls from Google Workspace. If `GoogleWorkspace` is declared and the bridge accepts
    /// the key, the class is ok and `Ready` is True.
    ScimDisabled: Action, at Users,
        "The bridge works, and its SCIM API is off.",
        "If you use Google Workspace, set spec.identityProvider to GoogleWorkspace. If not, check that the ingress forwards /scim, or remove the Google Workspace files from the bridge.";
    /// This address has neither a bridge's health report nor its SCIM API.
    PathNotFound: Action, at Users,
        "Something answers at this address, but neither /health nor /scim/Users is there.",
        "Set spec.url to the bridge's own address, without a path, and check that the ingress forwards every path.";
    /// Provisioning is switched off in the 1Password account.
    ProvisioningOff: Action, at Users,
        "The bridge cannot provision: its SCIM API fails and its ConfirmationWatcher is not healthy.",
        "Turn on provisioning in the 1Password account: Integrations, Directory.";
    /// The Secret does not exist.
    SecretNotFound: Action, at Settings, about Credential,
        "The Secret that spec.apiKeySecretRef names does not exist in this namespace.",
        "Create the Secret, or correct spec.apiKeySecretRef.name.";
    /// The Secret has no such entry.
    SecretKeyMissing: Action, at Settings, about Credential,
        "The Secret has no entry under the key that spec.apiKeySecretRef names.",
        "Add the entry to the Secret, or correct spec.apiKeySecretRef.key.";
    /// The entry is not an API key.
    ApiKeyMalformed: Action, at Settings, about Credential,
        "The Secret's entry cannot be an API key.",
        "Store the token alone, without quotes or line break, and encode it in base64 once only.";
    /// The CA object or its entry does not exist.
    CaNotFound: Action, at Settings, about Ca,
        "The object or entry that spec.tls.caRef names does not exist in this namespace.",
        "Create it, or correct spec.tls.caRef.";
    /// The operator cannot use the entry of the CA object; the detail says why.
    CaInvalid: Action, at Settings, about Ca,
        "The operator cannot use the entry that spec.tls.caRef names.",
        "Store the CA's certificate in PEM form under that key.";
    /// The specification passed the API server but cannot be used.
    InvalidSpec: Action, at Settings,
        "The operator cannot use this specification.",
        "Compare the specification with kubectl explain sbc.spec, then apply it again.";
    /// The operator may not talk to this host.
    HostDenied: Action, at Address,
        "The operator's address policy does not allow this host.",
        "Correct spec.url, or ask the operator's administrator to allow the host.";
    /// The Secret does not allow its key to go to this host.
    ConsentMissing: Action, at Settings, about Credential,
        "The Secret does not allow its key to be sent to this host.",
        "Name the host in the Secret's annotation scimbridge.dev/allowed-hosts.";
    /// The operator does not accept the certificate chain; the detail says why.
    CertificateUntrusted: Action,
        "The operator does not accept the certificate that this address presents.",
        "If the CA is private, name it in spec.tls.caRef. If it is public, have the bridge send its intermediate certificates.";
    /// A certificate of the chain has expired, or is not valid yet.
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
    /// No server accepts connections at this address.
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
    /// A front answers instead of the bridge: it cannot reach the bridge, or asks for a retry.
    BridgeUnavailable: Transient,
        "The front before the bridge cannot reach it, or the bridge answers that it is unavailable.",
        "Check that the bridge and its Redis are running. Check that the front (ingress, tunnel, CDN) has a route to it.";
    /// The bridge answers with an internal error.
    BridgeError: Transient,
        "The bridge answers with an internal error.",
        "Read the bridge's log.";
    /// The bridge or a proxy received too many requests.
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
    /// The server at this address is not a bridge.
    NotABridge: Action, at Ping,
        "This address is not a SCIM bridge: /ping did not answer \"pong\". The API key was not sent.",
        "Correct spec.url, or the ingress that serves it.";
    /// The answer is not the one that SCIM requires.
    ProtocolError: Action,
        "The server does not answer like a SCIM bridge.",
        "Check which server answers before the bridge, and whether the bridge's version is supported.";
    /// Nothing has been probed yet.
    Progressing: Pending,
        "Nothing is proven yet: the first probe is running.",
        "";
}

impl Reason {
    /// The anchor of this reason in `docs/reference/status.md` and in runbooks.
    #[must_use]
    pub fn anchor(self) -> String {
        self.as_str().to_ascii_lowercase()
    }

    /// Reads a reason from a status. `None` if this version does not know it.
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
