//! `scimbridge.dev/v1alpha1`: the `ScimBridgeConnection`.
//!
//! `kubectl explain` shows the doc comments of the fields. A rule that OpenAPI cannot express is a CEL rule beside its
//! field; its message names the allowed values.

#![allow(
    unreachable_pub,
    reason = "KubeSchema repeats each struct, with its `pub`, inside a function"
)]
#![allow(clippy::duplicated_attributes, reason = "each printcolumn has a type_")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    address,
    directory::{ProvisioningSpec, ProvisioningStatus},
    duration::HumanDuration,
};

/// Longest `spec.url`, in bytes.
pub const MAX_URL_LENGTH: usize = 512;

/// Names of Secrets and ConfigMaps: RFC 1123 subdomain, as Kubernetes requires.
pub(super) const OBJECT_NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// DNS names: their labels are limited too.
const DNS_NAME: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$";
/// Keys in the `data` of Secrets and ConfigMaps.
const DATA_KEY: &str = "^[-._a-zA-Z0-9]+$";

/// The desired connection: which bridge, with which key, for which identity provider.
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
    doc = "A connection to a 1Password SCIM Bridge. The operator proves it again and again.",
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
    validation = Rule::new("!self.interval.matches('^([0-9]{1,5}(h|m|s))+$') || !self.timeout.matches('^([0-9]{1,5}(h|m|s))+$') || duration(self.timeout) <= duration(self.interval)").message("timeout must not be longer than interval").field_path(".timeout"),
    validation = Rule::new("!has(self.provisioning) || !has(self.identityProvider) || self.identityProvider != 'GoogleWorkspace'").message("with GoogleWorkspace the SCIM API is off, so there is no directory: remove provisioning").field_path(".provisioning")
)]
pub struct ScimBridgeConnectionSpec {
    /// The bridge's address: `https://`, a host, and optionally a port. The operator drops a trailing `/`, `/scim` or
    /// `/scim/v2`.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = Rule::new("isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHostname() != ''").message("must be https://HOST or https://HOST:PORT (http:// only with allowPlaintext)"),
        validation = Rule::new("!self.contains('@')").message("must not hold a user name or password: put the key into a Secret"),
        validation = Rule::new("!self.contains('?') && !self.contains('#')").message("must not hold a query or fragment"),
        validation = Rule::new(address::characters()).message("must not hold blanks, control characters, backslashes or percent signs, nor more than 512 bytes"),
        validation = Rule::new(address::port()).message("the port must be between 1 and 65535"),
        validation = Rule::new(address::name()).message("the host must be a DNS name or an address: labels of 1 to 63 letters, digits, - and _, up to 253 in all"),
        validation = Rule::new(address::ipv4()).message("a host that ends in a number must be an IPv4 address"),
        validation = Rule::new(address::ipv6()).message("a host in brackets must be an IPv6 address, without a zone"),
        validation = Rule::new("!isURL(self) || url(self).getEscapedPath() in ['', '/', '/scim', '/scim/', '/scim/v2', '/scim/v2/']").message("must not hold a path other than /scim or /scim/v2: give the bridge's own address")
    )]
    pub url: String,

    /// The entry of a Secret, in the namespace of this object, that holds the bridge's bearer token.
    pub api_key_secret_ref: ApiKeySecretRef,

    /// The identity provider that uses the bridge. With `GoogleWorkspace` the bridge pulls from Google: `Ready` is True when
    /// the bridge accepts the key and its SCIM API is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_provider: Option<IdentityProvider>,

    /// Time between two probes: 30s to 24h. After a transient failure the operator retries sooner.
    #[serde(default = "default_interval")]
    #[x_kube(
        validation = Rule::new("!self.matches('^([0-9]{1,5}(h|m|s))+$') || (duration(self) >= duration('30s') && duration(self) <= duration('24h'))").message("must be between 30s and 24h")
    )]
    pub interval: HumanDuration,

    /// Time that one probe may take in all: 1s to 60s.
    #[serde(default = "default_timeout")]
    #[x_kube(
        validation = Rule::new("!self.matches('^([0-9]{1,5}(h|m|s))+$') || (duration(self) >= duration('1s') && duration(self) <= duration('60s'))").message("must be between 1s and 60s")
    )]
    pub timeout: HumanDuration,

    /// Consecutive transient failures after which the operator withdraws the last verdict. Transient failures are network
    /// errors, 5xx, 429, and answers of a front instead of the bridge.
    #[serde(default = "default_failure_threshold")]
    #[schemars(range(min = 1, max = 10))]
    pub failure_threshold: u8,

    /// While this is true, the operator does not probe the bridge and does not change the status. It also does not unlock
    /// the bridge after a restart.
    #[serde(default)]
    pub suspend: bool,

    /// Set this to true for an `http://` url. The key then travels unprotected. It is meant for a bridge in the same
    /// cluster, behind a load balancer that ends TLS.
    #[serde(default)]
    pub allow_plaintext: bool,

    /// How to verify the bridge's certificate. Verification cannot be switched off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,

    /// The key that will replace the current one. Each probe tries it, and condition `NextApiKeyValid` reports whether
    /// the bridge accepts it. It does not affect `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_api_key_secret_ref: Option<ApiKeySecretRef>,

    /// How to compare the users and groups behind the bridge with declared ones. Without this field the operator does not
    /// read them. It needs an operator that runs with `--provisioning`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning: Option<ProvisioningSpec>,
}

/// An entry of a Secret in the same namespace.
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

/// How to verify the bridge's certificate.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.caRef) || has(self.serverName)").message("set caRef, serverName or both, or remove tls")
)]
pub struct TlsSpec {
    /// The only certificate authorities to trust, in PEM form. If the bridge's certificate is self-signed, name it
    /// here. Without this field the operator trusts its default roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaRef>,
    /// The name that the certificate must be for, instead of the url's host. The operator still connects to the url's
    /// host. It sends this name in the handshake (SNI) and, with the url's port, as `Host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    #[x_kube(validation = Rule::new(address::no_address()).message("must be a DNS name, not an address"))]
    pub server_name: Option<String>,
}

/// An entry of a ConfigMap or Secret in the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CaRef {
    /// Kind of the object.
    pub kind: CaKind,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
    /// Key in the object's `data`.
    #[serde(default = "default_ca_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY))]
    pub key: String,
}

/// The kinds that may hold a certificate authority.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CaKind {
    /// `v1/ConfigMap`: a certificate is not secret.
    ConfigMap,
    /// `v1/Secret`: cert-manager writes one.
    Secret,
}

/// Identity providers that 1Password names for its bridge.
/// <https://support.1password.com/scim/>
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(
    missing_docs,
    reason = "the names say it all, and a description would break the compact enum of the schema"
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

    /// Whether it writes users and groups to the bridge by itself.
    #[must_use]
    pub const fn pushes(self) -> bool {
        match self {
            Self::EntraID | Self::Okta | Self::JumpCloud | Self::OneLogin | Self::Rippling => true,
            Self::GoogleWorkspace | Self::Other => false,
        }
    }

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

/// The observed state. Only the operator writes it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ScimBridgeConnectionStatus {
    /// The generation of the specification that this status is about; -1 before the first probe.
    #[serde(default = "never_observed")]
    pub observed_generation: i64,

    /// The conditions. `Ready` sums them up; its reason is the STATUS column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,

    /// Base URL of the SCIM API, as you enter it at an identity provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub scim_endpoint: Option<String>,

    /// Whether the SCIM API is on or off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scim_api: Option<ScimApi>,

    /// The bridge's health report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<BridgeStatus>,

    /// The certificate chain of the bridge's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateStatus>,

    /// How many users and groups the bridge lists: only counts, never names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<DirectoryStatus>,

    /// The version of the key's Secret that this verdict is about.
    #[serde(
        default,
        deserialize_with = "readable",
        skip_serializing_if = "Option::is_none"
    )]
    pub credential: Option<ObjectVersion>,

    /// The version of the CA object that this verdict is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<ObjectVersion>,

    /// The version of the next key's Secret that `NextApiKeyValid` is about.
    #[serde(
        default,
        deserialize_with = "readable",
        skip_serializing_if = "Option::is_none"
    )]
    pub next_credential: Option<ObjectVersion>,

    /// When a bridge last answered at `scimEndpoint`, for this specification and CA. While this is set, an answer of a
    /// front instead of the bridge counts as a transient failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_answer_time: Option<Time>,

    /// When the operator last wrote a verdict here. It writes an unchanged verdict only every few minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_probe_time: Option<Time>,

    /// When the operator planned the next probe, as of this write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_probe_time: Option<Time>,

    /// The bridge refused the key in `credential`. The operator does not send this key again before this time. The
    /// wait ends early if the specification, Secret or CA object changes, or an annotation asks for a check. Absent if no
    /// refusal of this key is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_key_retry_time: Option<Time>,

    /// After this time the verdict is stale, even if it is good: the operator should have renewed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Time>,

    /// Consecutive transient failures. The last verdict is kept until this reaches `spec.failureThreshold`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub consecutive_failures: u32,

    /// The last value of annotation `reconcile.fluxcd.io/requestedAt` that the operator handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,

    /// The Secret with the proven key, for workloads that bind to it (servicebinding.io Provisioned Service). Present
    /// only while `Connected` is True.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,

    /// What the operator knows about the bridge's users and groups. Present only with `spec.provisioning`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning: Option<ProvisioningStatus>,
}

/// Whether the SCIM API is on or off.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(
    missing_docs,
    reason = "the names say it all, and a description would break the compact enum of the schema"
)]
pub enum ScimApi {
    Enabled,
    Disabled,
    Unknown,
}

// Here and below, a struct that the operator always writes as a whole is atomic: nobody else owns a part of it. Without
// field-by-field bookkeeping, a write is a sixth less work for the API server. The object is a tenth smaller in etcd.

/// The bridge's health report.
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
    /// The bridge's components, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub components: Vec<ComponentStatus>,
}

/// One component of the bridge.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// Name of the component; `Other` stands for all that this version does not know.
    #[schemars(length(max = 32))]
    pub name: String,
    /// `healthy`; `expired` if the report is out of date; `unhealthy` for anything else.
    pub state: ComponentState,
}

/// State of a component.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "the names say it all, and a description would break the compact enum of the schema"
)]
pub enum ComponentState {
    Healthy,
    Expired,
    Unhealthy,
}

/// The certificate chain of the bridge's address.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct CertificateStatus {
    /// The earliest end date of the certificates that the verification used.
    pub not_after: Time,
    /// The issuer of the server's certificate: common name or organisation.
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
    /// Groups that the bridge lists; absent if it did not answer.
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

/// A version in another form counts as none: the next status replaces it.
fn readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ObjectVersion>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
}

pub(super) const fn never_observed() -> i64 {
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
