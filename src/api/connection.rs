//! `scimbridge.dev/v1alpha1`: the `ScimBridgeConnection`.
//!
//! The doc comments of the fields become the descriptions that `kubectl explain` shows. Rules that OpenAPI cannot
//! say are CEL rules beside the field they hold; each message says what is allowed.

#![allow(
    unreachable_pub,
    reason = "KubeSchema repeats each struct, with its `pub`, inside a function"
)]
#![allow(clippy::duplicated_attributes, reason = "each printcolumn has a type_")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::{address, duration::HumanDuration};

/// Longest `spec.url`, in bytes.
pub const MAX_URL_LENGTH: usize = 512;

/// Names of Secrets and ConfigMaps (RFC 1123 subdomain, as Kubernetes itself asks).
const OBJECT_NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// Names in DNS, whose labels are bounded too.
const DNS_NAME: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$";
/// Keys of their `data`.
const DATA_KEY: &str = "^[-._a-zA-Z0-9]+$";

/// What is wanted: which bridge, with which key, for which identity provider.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "scimbridge.dev",
    version = "v1alpha1",
    kind = "ScimBridgeConnection",
    plural = "scimbridgeconnections",
    shortname = "sbc",
    category = "scim",
    namespaced,
    status = "ScimBridgeConnectionStatus",
    derive = "PartialEq",
    doc = "A connection to a 1Password SCIM Bridge, proven again and again.",
    printcolumn(name = "IDP", type_ = "string", json_path = ".spec.identityProvider"),
    printcolumn(
        name = "READY",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "STATUS",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "VERSION", type_ = "string", json_path = ".status.bridge.version"),
    printcolumn(name = "CHECKED", type_ = "date", json_path = ".status.lastProbeTime"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url", priority = 1),
    printcolumn(name = "SCIM", type_ = "string", json_path = ".status.scimApi", priority = 1),
    printcolumn(
        name = "SECRET",
        type_ = "string",
        json_path = ".spec.apiKeySecretRef.name",
        priority = 1
    ),
    printcolumn(
        name = "SUSPENDED",
        type_ = "boolean",
        json_path = ".spec.suspend",
        priority = 1
    ),
    printcolumn(
        name = "CERT-EXPIRES",
        type_ = "string",
        json_path = ".status.certificate.notAfter",
        priority = 1
    ),
    printcolumn(
        name = "NEXT-CHECK",
        type_ = "string",
        json_path = ".status.nextProbeTime",
        priority = 1
    ),
    printcolumn(
        name = "MESSAGE",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!isURL(self.url) || url(self.url).getScheme() != 'http' || self.allowPlaintext").message("an http:// url sends the key unprotected: use https://, or set allowPlaintext: true for a bridge inside the cluster").field_path(".url"),
    validation = Rule::new("!has(self.tls) || !isURL(self.url) || url(self.url).getScheme() != 'http'").message("tls has no meaning for an http:// url: remove one of the two").field_path(".tls"),
    validation = Rule::new("!self.interval.matches('^([0-9]{1,5}(h|m|s))+$') || !self.timeout.matches('^([0-9]{1,5}(h|m|s))+$') || duration(self.timeout) <= duration(self.interval)").message("timeout must not be longer than interval").field_path(".timeout")
)]
pub struct ScimBridgeConnectionSpec {
    /// The bridge's address: `https://`, a host, and optionally a port. A trailing `/`, `/scim` or `/scim/v2` is
    /// accepted and dropped.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = Rule::new("isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHostname() != ''").message("must be https://HOST or https://HOST:PORT (http:// only with allowPlaintext)"),
        validation = Rule::new("!self.contains('@')").message("must not hold a user name or password: the key belongs into a Secret"),
        validation = Rule::new("!self.contains('?') && !self.contains('#')").message("must not hold a query or fragment"),
        validation = Rule::new(address::characters()).message("must not hold blanks, control characters, backslashes or percent signs, nor more than 512 bytes"),
        validation = Rule::new(address::port()).message("the port must be between 1 and 65535"),
        validation = Rule::new(address::name()).message("the host must be a DNS name or an address: labels of 1 to 63 letters, digits, - and _, up to 253 in all"),
        validation = Rule::new(address::ipv4()).message("a host that ends in a number must be an IPv4 address"),
        validation = Rule::new(address::ipv6()).message("a host in brackets must be an IPv6 address, without a zone"),
        validation = Rule::new("!isURL(self) || url(self).getEscapedPath() in ['', '/', '/scim', '/scim/', '/scim/v2', '/scim/v2/']").message("must not hold a path other than /scim or /scim/v2: give the bridge's own address")
    )]
    pub url: String,

    /// The Secret entry that holds the bridge's bearer token, in the namespace of this object.
    pub api_key_secret_ref: ApiKeySecretRef,

    /// The identity provider that uses the bridge. With `GoogleWorkspace` the bridge pulls from Google, and `Ready` is True
    /// once a probe has seen that the bridge accepts the key and that its SCIM API is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_provider: Option<IdentityProvider>,

    /// Time between two probes of a connection that works or waits for somebody to act: 30s to 24h.
    #[serde(default = "default_interval")]
    #[x_kube(
        validation = Rule::new("!self.matches('^([0-9]{1,5}(h|m|s))+$') || (duration(self) >= duration('30s') && duration(self) <= duration('24h'))").message("must be between 30s and 24h")
    )]
    pub interval: HumanDuration,

    /// Time that one whole probe may take: 1s to 60s.
    #[serde(default = "default_timeout")]
    #[x_kube(
        validation = Rule::new("!self.matches('^([0-9]{1,5}(h|m|s))+$') || (duration(self) >= duration('1s') && duration(self) <= duration('60s'))").message("must be between 1s and 60s")
    )]
    pub timeout: HumanDuration,

    /// Consecutive transient failures after which the operator withdraws the last verdict: the network, 5xx, 429, or a front
    /// in place of the bridge.
    #[serde(default = "default_failure_threshold")]
    #[schemars(range(min = 1, max = 10))]
    pub failure_threshold: u8,

    /// While true nothing is probed and the status stays as it is. The bridge is then not unlocked after a restart
    /// either.
    #[serde(default)]
    pub suspend: bool,

    /// Must be true for an `http://` url: the key then travels unprotected. For a bridge in the same cluster behind a
    /// load balancer that ends TLS.
    #[serde(default)]
    pub allow_plaintext: bool,

    /// How the bridge's certificate is verified. Verification itself cannot be switched off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,

    /// A key that is to replace the current one: it is tried at each probe, and condition `NextApiKeyValid` says
    /// whether the bridge would accept it. It never decides about `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_api_key_secret_ref: Option<ApiKeySecretRef>,
}

/// An entry of a Secret in the namespace of the object that names it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeySecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
    /// Key in the Secret's `data`.
    #[serde(default = "default_api_key_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY))]
    pub key: String,
}

/// How the bridge's certificate is verified.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.caRef) || has(self.serverName)").message("set caRef, serverName or both, or remove tls")
)]
pub struct TlsSpec {
    /// The only certificate authorities to trust, in PEM form; also the bridge's own certificate, if it is self-signed.
    /// Without it the operator's own roots are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaRef>,
    /// The name that the certificate must be for, instead of the url's host. The operator connects to the url's host, and
    /// sends this name in the handshake (SNI) and, with the url's port, as `Host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    #[x_kube(validation = Rule::new(address::no_address()).message("must be a DNS name, and no address"))]
    pub server_name: Option<String>,
}

/// An entry of a ConfigMap or Secret in the namespace of the object that names it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CaRef {
    /// What kind of object it is.
    pub kind: CaKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
    /// Key in its `data`.
    #[serde(default = "default_ca_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY))]
    pub key: String,
}

/// Kinds that may hold a certificate authority.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CaKind {
    /// `v1/ConfigMap`: a certificate is no secret.
    ConfigMap,
    /// `v1/Secret`, as cert-manager writes it.
    Secret,
}

/// Identity providers that 1Password names for its bridge.
/// <https://support.1password.com/scim/>
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(
    missing_docs,
    reason = "a name says it all, and a description would end the compact enum of the schema"
)]
pub enum IdentityProvider {
    GoogleWorkspace,
    EntraID,
    Okta,
    JumpCloud,
    OneLogin,
    Rippling,
    Other,
}

impl IdentityProvider {
    /// Every identity provider.
    pub const ALL: [Self; 7] = [
        Self::GoogleWorkspace,
        Self::EntraID,
        Self::Okta,
        Self::JumpCloud,
        Self::OneLogin,
        Self::Rippling,
        Self::Other,
    ];

    /// The name in `spec.identityProvider`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GoogleWorkspace => "GoogleWorkspace",
            Self::EntraID => "EntraID",
            Self::Okta => "Okta",
            Self::JumpCloud => "JumpCloud",
            Self::OneLogin => "OneLogin",
            Self::Rippling => "Rippling",
            Self::Other => "Other",
        }
    }
}

/// What was observed. Written by the operator alone.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ScimBridgeConnectionStatus {
    /// The generation of the specification that the status is about; -1 before there is any.
    #[serde(default = "never_observed")]
    pub observed_generation: i64,

    /// What is true, by type. `Ready` sums it up; its reason is the STATUS column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,

    /// Base of the SCIM API, as an identity provider would be given it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub scim_endpoint: Option<String>,

    /// What was observed of the SCIM API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scim_api: Option<ScimApi>,

    /// What the bridge's health report says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<BridgeStatus>,

    /// The certificates that the bridge's address presents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateStatus>,

    /// How many users and groups the bridge lists. Counts only, never names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<DirectoryStatus>,

    /// Which version of the key the verdict is about.
    #[serde(
        default,
        deserialize_with = "understood",
        skip_serializing_if = "Option::is_none"
    )]
    pub credential: Option<ObjectVersion>,

    /// Which version of the CA object the verdict is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<ObjectVersion>,

    /// Which version of the next key `NextApiKeyValid` is about.
    #[serde(
        default,
        deserialize_with = "understood",
        skip_serializing_if = "Option::is_none"
    )]
    pub next_credential: Option<ObjectVersion>,

    /// When a bridge last answered at `scimEndpoint`, for this specification and CA. While this is set, an answer of a front
    /// in place of the bridge counts as a transient failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_answer_time: Option<Time>,

    /// Time of the last probe that was written. A probe that only repeats what stands here is written every few
    /// minutes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_probe_time: Option<Time>,

    /// When the next probe was due when this was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_probe_time: Option<Time>,

    /// The bridge refused the key that `credential` names. The operator does not send this key again before this time,
    /// unless the specification, the Secret or the CA object changes, or an annotation asks for a check. Absent where no
    /// refusal of this key is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_key_retry_time: Option<Time>,

    /// After this time the verdict is stale, whatever it says: the operator should have renewed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Time>,

    /// Consecutive transient failures. The last verdict is kept until this reaches `spec.failureThreshold`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub consecutive_failures: u32,

    /// The value of annotation `reconcile.fluxcd.io/requestedAt` that was handled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,

    /// The Secret with the proven key, for workloads that bind to it (servicebinding.io Provisioned Service). Present
    /// only while `Connected` is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
}

/// What was observed of the SCIM API.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(
    missing_docs,
    reason = "a name says it all, and a description would end the compact enum of the schema"
)]
pub enum ScimApi {
    Enabled,
    Disabled,
    Unknown,
}

// What the operator writes as one is atomic, here and below: nobody else owns a part of it. It saves the API server a
// sixth of the work for each write, which goes into bookkeeping field by field, and etcd a tenth of the object.

/// What the bridge's health report says.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct BridgeStatus {
    /// The bridge's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub version: Option<String>,
    /// The bridge's build number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub build: Option<String>,
    /// Its components, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub components: Vec<ComponentStatus>,
}

/// One component of the bridge.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// Its name; `Other` stands for all that this version does not know.
    #[schemars(length(max = 32))]
    pub name: String,
    /// `healthy`; `unhealthy` for whatever else the bridge says; `expired` where the report is out of date.
    pub state: ComponentState,
}

/// State of a component.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "a name says it all, and a description would end the compact enum of the schema"
)]
pub enum ComponentState {
    Healthy,
    Expired,
    Unhealthy,
}

/// The chain of certificates that the bridge showed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct CertificateStatus {
    /// The earliest end of the certificates that the verification used.
    pub not_after: Time,
    /// The issuer of the bridge's own certificate: common name or organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub issuer: Option<String>,
}

/// Counts of the directory.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct DirectoryStatus {
    /// Users that the bridge lists.
    #[schemars(range(min = 0))]
    pub users: u64,
    /// Groups that the bridge lists; absent where it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub groups: Option<u64>,
}

/// A version of an object.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct ObjectVersion {
    /// The object's `metadata.uid`.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// The object's `metadata.resourceVersion`.
    #[schemars(length(max = 64))]
    pub resource_version: String,
}

/// `status.binding` of the Provisioned Service duck type.
/// <https://servicebinding.io/spec/core/1.1.0/#provisioned-service>
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct Binding {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    pub name: String,
}

/// A version of another form counts as none: the next verdict writes it again.
fn understood<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ObjectVersion>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
}

const fn never_observed() -> i64 {
    -1
}

const fn default_interval() -> HumanDuration {
    HumanDuration::from_secs(300)
}

const fn default_timeout() -> HumanDuration {
    HumanDuration::from_secs(10)
}

const fn default_failure_threshold() -> u8 {
    3
}

fn default_api_key_key() -> String {
    "apiKey".to_owned()
}

fn default_ca_key() -> String {
    "ca.crt".to_owned()
}
