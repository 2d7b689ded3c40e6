//! Reads the connection to check, and the objects that it references, from flags, files or a cluster.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client, Resource as _, core::DeserializeGuard};
use secrecy::zeroize::Zeroizing;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::{CheckError, wording::Wording};
use crate::{
    api::{
        connection::{
            ApiKeySecretRef, CaKind, CaRef, IdentityProvider, ScimBridgeConnection, ScimBridgeConnectionSpec,
            ScimBridgeConnectionStatus, TlsSpec,
        },
        directory::ProvisioningSpec,
        duration::HumanDuration,
    },
    args::{Addresses, BridgeFlags, CheckArguments, Cluster, KeySource},
    bridge::credential::{DataEntry, config_map_entry, secret_entry},
    cluster,
    cluster::ClusterError,
    domain::connection::{
        evidence::Blocker,
        target::{InvalidSpec, is_object_name},
    },
};

/// The most that is read of a file: no manifest, key or bundle is larger.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// A connection and the values that it references.
#[derive(Debug)]
pub struct Subject {
    /// `NAMESPACE/NAME`, if it has a name.
    pub name: Option<String>,
    /// The specification, or the part that does not have the form of the resource.
    pub spec: Result<ScimBridgeConnectionSpec, InvalidSpec>,
    /// The entry with the key.
    pub key: DataEntry,
    /// The entry with the certificate authorities, if the specification names one.
    pub ca: Option<DataEntry>,
    /// The entry with the next key, if the specification names one.
    pub next_key: Option<DataEntry>,
    /// The operator's status, if the object is from a cluster.
    pub status: Option<ScimBridgeConnectionStatus>,
    /// How the user gave it.
    pub wording: Wording,
}

/// Reads the connection that the arguments of `check` name.
///
/// # Errors
/// If a file or the cluster cannot be read. An object that does not exist is a verdict, not an error.
pub async fn read(arguments: &CheckArguments) -> Result<Subject, CheckError> {
    let CheckArguments {
        bridge,
        file,
        secret_files,
        cluster,
        addresses: _,
        show: _,
    } = arguments;
    let (_, subject) = read_one(bridge, file.as_deref(), secret_files, cluster).await?;
    Ok(subject)
}

/// Reads the connection that flags give, or the only one in a file. Returns also the metadata of its object, which flags
/// do not have.
///
/// # Errors
/// If a file or the cluster cannot be read. An object that does not exist is a verdict, not an error.
pub(crate) async fn read_one(
    flags: &BridgeFlags,
    file: Option<&Path>,
    secret_files: &[PathBuf],
    cluster: &Cluster,
) -> Result<(ObjectMeta, Subject), CheckError> {
    match (&flags.url, file) {
        (Some(url), _) => Ok((ObjectMeta::default(), from_flags(flags, url)?)),
        (None, Some(file)) => from_manifest(file, secret_files, cluster).await,
        (None, None) => Err(CheckError::NothingToCheck),
    }
}

/// Reads a connection, and the objects that it references, from a cluster.
///
/// # Errors
/// If the cluster does not answer, or the connection does not exist.
pub async fn read_live(client: &Client, namespace: &str, name: &str) -> Result<Subject, CheckError> {
    let api = Api::<DeserializeGuard<ScimBridgeConnection>>::namespaced(client.clone(), namespace);
    let missing = || CheckError::NoConnection(format!("{namespace}/{name}"));
    let object = match ask(api.get_opt(name).await, "the connection") {
        Err(CheckError::Refused { code: 404, .. }) => None,
        answer => answer?,
    };
    let DeserializeGuard(object) = object.ok_or_else(missing)?;
    let source = Source {
        objects: Objects::default(),
        live: Some((client.clone(), namespace.to_owned())),
        instead: Instead::default(),
    };
    let name = Some(format!("{namespace}/{name}"));
    match object {
        Ok(object) => {
            let status = object.status;
            let subject = source.subject(name, Ok(object.spec)).await?;
            Ok(Subject { status, ..subject })
        }
        Err(_) => source.subject(name, Err(InvalidSpec::Form)).await,
    }
}

fn from_flags(flags: &BridgeFlags, url: &str) -> Result<Subject, CheckError> {
    let placeholder = || ApiKeySecretRef {
        name: "given".to_owned(),
        key: "apiKey".to_owned(),
    };
    let tls = (flags.ca_file.is_some() || flags.server_name.is_some()).then(|| TlsSpec {
        ca_ref: flags.ca_file.as_ref().map(|_| CaRef {
            kind: CaKind::ConfigMap,
            name: "given".to_owned(),
            key: "ca.crt".to_owned(),
        }),
        server_name: flags.server_name.clone(),
    });
    let spec = ScimBridgeConnectionSpec {
        url: url.to_owned(),
        api_key_secret_ref: placeholder(),
        identity_provider: flags.identity_provider,
        // A single probe uses neither interval nor threshold, but both must be valid.
        interval: HumanDuration::from_secs(300),
        timeout: flags.timeout,
        failure_threshold: 1,
        suspend: false,
        allow_plaintext: flags.allow_plaintext,
        tls,
        next_api_key_secret_ref: None,
        provisioning: None,
    };
    Ok(Subject {
        name: None,
        spec: Ok(spec),
        key: DataEntry::bare(Ok(read_key(&flags.key)?)),
        ca: read_ca(flags)?,
        next_key: None,
        status: None,
        wording: Wording::Flags,
    })
}

/// Reads the certificate authorities that flags give.
fn read_ca(flags: &BridgeFlags) -> Result<Option<DataEntry>, CheckError> {
    let read = |path: &PathBuf| Ok(DataEntry::bare(Ok(read_file(path, MAX_FILE)?.to_vec())));
    flags.ca_file.as_ref().map(read).transpose()
}

/// Reads the key. Shells and editors put a line break at the end of a file; it is not part of the key.
fn read_key(source: &KeySource) -> Result<Vec<u8>, CheckError> {
    let mut key = match (&source.api_key_file, &source.api_key_env) {
        (Some(path), _) => read_bytes(path, MAX_FILE).map_err(CheckError::KeyFile)?.to_vec(),
        (None, Some(name)) => std::env::var_os(name)
            .ok_or(CheckError::NoKeyInEnvironment)?
            .into_encoded_bytes(),
        (None, None) => return Err(CheckError::NothingToCheck),
    };
    if source.api_key_file.is_some() && key.last() == Some(&b'\n') {
        key.pop();
        if key.last() == Some(&b'\r') {
            key.pop();
        }
    }
    if key.is_empty() {
        return Err(CheckError::EmptyKey(if source.api_key_file.is_some() {
            "the file that --api-key-file names"
        } else {
            "the environment variable that --api-key-env names"
        }));
    }
    Ok(key)
}

fn read_file(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, CheckError> {
    read_bytes(path, most).map_err(|source| CheckError::File {
        path: path.to_owned(),
        source,
    })
}

/// Reads a file, or standard input if the path is `-`.
fn read_bytes(path: &Path, most: u64) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // Enough room for almost every file: a buffer that grows leaves copies of the key in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
    if path == Path::new("-") {
        let mut input = std::io::stdin().lock().take(most);
        input.read_to_end(&mut bytes)?;
    } else {
        fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

async fn from_manifest(
    file: &Path,
    secret_files: &[PathBuf],
    cluster: &Cluster,
) -> Result<(ObjectMeta, Subject), CheckError> {
    let mut objects = Objects::read(file)?;
    for path in secret_files {
        objects.extend(Objects::read(path)?);
    }
    let connections = std::mem::take(&mut objects.connections);
    let [connection] = connections.as_slice() else {
        return Err(CheckError::NotOneConnection {
            path: file.to_owned(),
            count: connections.len(),
        });
    };
    let metadata = metadata_of(connection);
    let subject = from_object(connection, objects, cluster, Instead::default()).await?;
    Ok((metadata, subject))
}

/// The metadata of a document.
pub(crate) fn metadata_of(document: &Value) -> ObjectMeta {
    let metadata = document.get("metadata").cloned().unwrap_or_default();
    typed(metadata).unwrap_or_default()
}

/// Values that flags give in place of what a manifest names.
#[derive(Debug)]
pub(crate) struct Instead {
    key: Option<DataEntry>,
    ca: Option<DataEntry>,
    /// The flags of the command for an object that no file has.
    flags: &'static str,
}

impl Default for Instead {
    fn default() -> Self {
        Self {
            key: None,
            ca: None,
            flags: "--secret-file",
        }
    }
}

/// The objects of files, seen from a connection in one of them.
pub(crate) struct Found {
    /// Those of the path that led to the connection: who writes the one writes the other.
    pub(crate) beside: Objects,
    /// Those of other paths.
    pub(crate) elsewhere: Objects,
}

/// Reads the connection of a manifest. `flags` may give another address, key and certificate authorities. With an address,
/// only the identity provider and spec.provisioning of the manifest count.
///
/// A key that does not come with the manifest goes to no host that only the manifest names. The manifest may be a pull
/// request of somebody who must not have the key.
///
/// # Errors
/// If a file or the cluster cannot be read, or the key would go where only the manifest sends it. An object that does not
/// exist is a verdict, not an error.
pub(crate) async fn from_object_or_flags(
    connection: &Value,
    found: Found,
    cluster: &Cluster,
    flags: &BridgeFlags,
    addresses: &Addresses,
) -> Result<Subject, CheckError> {
    let Some(url) = &flags.url else {
        let is_given = flags.key.api_key_file.is_some() || flags.key.api_key_env.is_some();
        let instead = Instead {
            key: is_given
                .then(|| read_key(&flags.key))
                .transpose()?
                .map(|key| DataEntry::bare(Ok(key))),
            ca: read_ca(flags)?,
            flags: "the file with it to --file, a flag in its place",
        };
        let Found {
            beside: mut objects,
            elsewhere,
        } = found;
        objects.retain_namespace(namespace_of(&metadata_of(connection), cluster));
        if let Ok(spec) = read_spec(connection.get("spec").unwrap_or(&Value::Null))
            && (is_given || !objects.has_keys_of(&spec))
        {
            if addresses.allowed_hosts.is_empty() {
                return Err(CheckError::KeyFromElsewhere);
            }
            // A host alone allows TLS only, as in the annotation of a Secret.
            if spec.allow_plaintext {
                return Err(CheckError::PlaintextFromElsewhere);
            }
        }
        // Behind those that stand beside: the first of a name counts.
        objects.extend(elsewhere);
        return from_object(connection, objects, cluster, instead).await;
    };
    let declared = read_spec(connection.get("spec").unwrap_or(&Value::Null));
    let given = from_flags(flags, url)?;
    Ok(Subject {
        name: name_of(&metadata_of(connection)),
        spec: declared.and_then(|declared| {
            let spec = given.spec?;
            Ok(ScimBridgeConnectionSpec {
                identity_provider: spec.identity_provider.or(declared.identity_provider),
                provisioning: declared.provisioning,
                ..spec
            })
        }),
        ..given
    })
}

async fn from_object(
    connection: &Value,
    mut objects: Objects,
    cluster: &Cluster,
    instead: Instead,
) -> Result<Subject, CheckError> {
    let metadata = metadata_of(connection);
    objects.retain_namespace(namespace_of(&metadata, cluster));
    let spec = read_spec(connection.get("spec").unwrap_or(&Value::Null));
    let missing = spec
        .as_ref()
        .ok()
        .and_then(|spec| objects.missing_reference(spec, &instead));
    let live = if let Some(missing) = missing {
        let (config, namespace) = cluster::chosen_config(cluster)
            .await
            .map_err(|error| no_cluster(error, cluster, missing, &instead))?;
        let namespace = metadata.namespace.clone().unwrap_or(namespace);
        Some((cluster::client(config)?, namespace))
    } else {
        None
    };
    let source = Source {
        objects,
        live,
        instead,
    };
    source.subject(name_of(&metadata), spec).await
}

/// The namespace of a connection. Unknown if neither its manifest nor a flag says it.
fn namespace_of<'a>(metadata: &'a ObjectMeta, cluster: &'a Cluster) -> Option<&'a str> {
    metadata.namespace.as_deref().or(cluster.namespace.as_deref())
}

/// `NAMESPACE/NAME`, or the name alone.
fn name_of(metadata: &ObjectMeta) -> Option<String> {
    match (&metadata.namespace, &metadata.name) {
        (Some(namespace), Some(name)) => Some(format!("{namespace}/{name}")),
        (None, name) => name.clone(),
        (Some(_), None) => None,
    }
}

/// Why the rest of a connection cannot be read: the kubeconfig has a fault, or there is none.
fn no_cluster(error: ClusterError, chosen: &Cluster, missing: String, instead: &Instead) -> CheckError {
    let is_chosen = chosen.kubeconfig.is_some() || chosen.context.is_some();
    let (ClusterError::NoCluster { origin, why } | ClusterError::Kubeconfig { origin, why }) = error else {
        return error.into();
    };
    if is_chosen || why != cluster::NO_KUBECONFIG {
        CheckError::Kubeconfig { missing, origin, why }
    } else {
        CheckError::Missing {
            missing,
            instead: instead.flags,
        }
    }
}

/// The fields of a specification.
const FIELDS: [&str; 11] = [
    "url",
    "apiKeySecretRef",
    "identityProvider",
    "interval",
    "timeout",
    "failureThreshold",
    "suspend",
    "allowPlaintext",
    "tls",
    "nextApiKeySecretRef",
    "provisioning",
];

/// Reads a specification.
///
/// # Errors
/// [`InvalidSpec::Field`] or [`InvalidSpec::Missing`] names the first field that does not have the form of the resource.
/// To find it, each field is tried alone in a valid specification.
fn read_spec(spec: &Value) -> Result<ScimBridgeConnectionSpec, InvalidSpec> {
    if let Some(spec) = typed(spec.clone()) {
        return Ok(spec);
    }
    let given = spec.as_object().ok_or(InvalidSpec::Form)?;
    let is_wrong = |field: &&str| {
        let mut tried = Map::new();
        tried.insert("url".to_owned(), "https://scim.example.com".into());
        tried.insert("apiKeySecretRef".to_owned(), serde_json::json!({"name": "given"}));
        match given.get(*field) {
            Some(value) => tried.insert((*field).to_owned(), value.clone()),
            None => tried.remove(*field),
        };
        typed::<ScimBridgeConnectionSpec>(Value::Object(tried)).is_none()
    };
    let field = FIELDS.into_iter().find(is_wrong);
    Err(match field {
        Some("provisioning") => provisioning_fault(given.get("provisioning").unwrap_or(&Value::Null)),
        Some(field @ ("url" | "apiKeySecretRef")) if given.get(field).is_none_or(Value::is_null) => {
            InvalidSpec::Missing(field)
        }
        Some(field) => InvalidSpec::Field(field),
        None => InvalidSpec::Form,
    })
}

/// The fault of `spec.provisioning`: the first field that does not have its form, or the whole.
pub(crate) fn provisioning_fault(given: &Value) -> InvalidSpec {
    const FIELDS: [(&str, &str); 5] = [
        ("mode", "provisioning.mode"),
        ("scope", "provisioning.scope"),
        ("protected", "provisioning.protected"),
        ("limits", "provisioning.limits"),
        ("requestsPerSecond", "provisioning.requestsPerSecond"),
    ];
    let wrong = FIELDS.into_iter().find(|(field, _)| {
        given.get(field).is_some_and(|value| {
            let mut tried = serde_json::json!({"mode": "Plan", "scope": {}, "protected": {}});
            if let Some(fields) = tried.as_object_mut() {
                fields.insert((*field).to_owned(), value.clone());
            }
            typed::<ProvisioningSpec>(tried).is_none()
        })
    });
    InvalidSpec::Field(wrong.map_or("provisioning", |(_, path)| path))
}

/// Why a document of a manifest cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unreadable {
    /// It is not a Kubernetes object.
    NotAnObject,
    /// An object of this kind does not have the form of the kind.
    Form(&'static str),
    /// It is a connection of another version.
    Version,
}

/// The objects in manifests.
#[derive(Default)]
pub(crate) struct Objects {
    pub(crate) connections: Vec<Value>,
    secrets: Vec<Secret>,
    config_maps: Vec<ConfigMap>,
}

/// The objects that a connection references: in files, and in a cluster if there is one.
struct Source {
    objects: Objects,
    live: Option<(Client, String)>,
    instead: Instead,
}

/// Reads the documents of a file of at most `most` bytes, each with the line where it begins. The error never quotes the
/// file, because it may contain a key.
///
/// # Errors
/// If the file cannot be read, or is not YAML.
pub(crate) fn documents(path: &Path, most: u64) -> Result<Vec<(u64, Value)>, CheckError> {
    let bytes = read_file(path, most)?;
    let fault = |line| CheckError::NoManifest {
        path: path.to_owned(),
        line,
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| fault(1))?;
    documents_in(text).map_err(fault)
}

/// Reads the documents of a text, each with the line where it begins.
///
/// # Errors
/// The line of the fault, if the text is not YAML.
pub(crate) fn documents_in(text: &str) -> Result<Vec<(u64, Value)>, u64> {
    // The parser's own bounds allow 1024 documents. Each node has a byte at least, and a stream has a beginning and an end.
    let size = text.len() + 2;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: size,
            max_nodes: size,
            max_events: size.saturating_mul(4),
        },
    };
    let documents: Vec<Spanned<Value>> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| error.location().map_or(1, |location| location.line()))?;
    let lines = documents
        .into_iter()
        .map(|document| (document.referenced.line(), document.value));
    Ok(lines.collect())
}

impl Objects {
    /// Reads the objects of a file, including those in lists. Errors never quote the file, because it may contain a key.
    fn read(path: &Path) -> Result<Self, CheckError> {
        let mut objects = Self::default();
        for (line, document) in documents(path, MAX_FILE)? {
            objects.take_from(path, line, document)?;
        }
        Ok(objects)
    }

    /// Takes a document of a file.
    ///
    /// # Errors
    /// If it is not an object, or does not have the form of its kind.
    pub(crate) fn take_from(&mut self, path: &Path, line: u64, document: Value) -> Result<(), CheckError> {
        self.take(document).map_err(|why| match why {
            Unreadable::NotAnObject => CheckError::NoManifest {
                path: path.to_owned(),
                line,
            },
            Unreadable::Form(kind) => CheckError::MalformedObject {
                path: path.to_owned(),
                kind,
            },
            Unreadable::Version => CheckError::OtherVersion(path.to_owned()),
        })
    }

    fn take(&mut self, document: Value) -> Result<(), Unreadable> {
        match document.get("kind").and_then(Value::as_str) {
            Some("ScimBridgeConnection") => {
                let version = document.get("apiVersion").and_then(Value::as_str);
                if version != Some(&*ScimBridgeConnection::api_version(&())) {
                    return Err(Unreadable::Version);
                }
                self.connections.push(document);
            }
            Some("Secret") => {
                let Secret {
                    data, string_data, ..
                } = typed(document.clone()).ok_or(Unreadable::Form("Secret"))?;
                let mut data = data.unwrap_or_default();
                // The API server merges them like this.
                data.extend(
                    string_data
                        .into_iter()
                        .flatten()
                        .map(|(key, text)| (key, k8s_openapi::ByteString(text.into_bytes()))),
                );
                self.secrets.push(Secret {
                    data: Some(data),
                    string_data: None,
                    ..typed(document).ok_or(Unreadable::Form("Secret"))?
                });
            }
            Some("ConfigMap") => {
                self.config_maps
                    .push(typed(document).ok_or(Unreadable::Form("ConfigMap"))?);
            }
            Some("List") => {
                for item in document
                    .get("items")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                {
                    self.take(item.clone())?;
                }
            }
            // A manifest may contain objects of any other kind.
            Some(_) => {}
            None if document.is_null() => {}
            None => return Err(Unreadable::NotAnObject),
        }
        Ok(())
    }

    /// Whether these hold each Secret that the specification takes a key from.
    fn has_keys_of(&self, spec: &ScimBridgeConnectionSpec) -> bool {
        let next = spec.next_api_key_secret_ref.as_ref();
        let mut references = next.into_iter().chain([&spec.api_key_secret_ref]);
        references.all(|reference| self.secret(&reference.name).is_some())
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.connections.extend(other.connections);
        self.secrets.extend(other.secrets);
        self.config_maps.extend(other.config_maps);
    }

    /// Drops objects in another namespace than the connection's: the operator never reads those. An object without a
    /// namespace fits any.
    fn retain_namespace(&mut self, namespace: Option<&str>) {
        let is_kept = |metadata: &ObjectMeta| match (namespace, metadata.namespace.as_deref()) {
            (Some(wanted), Some(namespace)) => wanted == namespace,
            (None, _) | (_, None) => true,
        };
        self.secrets.retain(|secret| is_kept(&secret.metadata));
        self.config_maps.retain(|map| is_kept(&map.metadata));
    }

    fn secret(&self, name: &str) -> Option<&Secret> {
        let mut all = self.secrets.iter();
        all.find(|secret| secret.metadata.name.as_deref() == Some(name))
    }

    fn config_map(&self, name: &str) -> Option<&ConfigMap> {
        let mut all = self.config_maps.iter();
        all.find(|map| map.metadata.name.as_deref() == Some(name))
    }

    /// The first reference of a specification to an object that is not among these: kind, name and field.
    fn missing_reference(&self, spec: &ScimBridgeConnectionSpec, instead: &Instead) -> Option<String> {
        let key = instead.key.is_none().then_some((
            CaKind::Secret,
            &spec.api_key_secret_ref.name,
            "spec.apiKeySecretRef",
        ));
        let next = spec.next_api_key_secret_ref.as_ref();
        let next = next.map(|reference| (CaKind::Secret, &reference.name, "spec.nextApiKeySecretRef"));
        let ca = spec.tls.as_ref().and_then(|tls| tls.ca_ref.as_ref());
        let ca = ca
            .filter(|_| instead.ca.is_none())
            .map(|reference| (reference.kind, &reference.name, "spec.tls.caRef"));
        let mut all = [key, next, ca].into_iter().flatten();
        let (kind, name, field) = all.find(|(kind, name, _)| match kind {
            CaKind::Secret => self.secret(name).is_none(),
            CaKind::ConfigMap => self.config_map(name).is_none(),
        })?;
        let kind = match kind {
            CaKind::Secret => "Secret",
            CaKind::ConfigMap => "ConfigMap",
        };
        // Any other text may be a key in the wrong place.
        Some(if is_object_name(name) {
            format!("{kind} {name} ({field})")
        } else {
            format!("the {kind} of {field}")
        })
    }
}

impl Source {
    async fn subject(
        mut self,
        name: Option<String>,
        spec: Result<ScimBridgeConnectionSpec, InvalidSpec>,
    ) -> Result<Subject, CheckError> {
        let mut subject = Subject {
            name,
            spec: Err(InvalidSpec::Form),
            key: DataEntry::bare(Err(Blocker::SecretNotFound)),
            ca: None,
            next_key: None,
            status: None,
            wording: if self.instead.key.is_some() {
                Wording::GivenKey
            } else {
                Wording::Fields
            },
        };
        if let Ok(spec) = &spec {
            subject.key = match self.instead.key.take() {
                Some(given) => given,
                None => self.key(&spec.api_key_secret_ref).await?,
            };
            if let Some(given) = self.instead.ca.take() {
                subject.ca = Some(given);
            } else if let Some(reference) = spec.tls.as_ref().and_then(|tls| tls.ca_ref.as_ref()) {
                subject.ca = Some(self.ca(reference).await?);
            }
            if let Some(reference) = &spec.next_api_key_secret_ref {
                subject.next_key = Some(self.key(reference).await?);
            }
        }
        Ok(Subject { spec, ..subject })
    }

    async fn key(&self, reference: &ApiKeySecretRef) -> Result<DataEntry, CheckError> {
        let secret = self.secret(&reference.name).await?;
        Ok(secret_entry(
            secret,
            &reference.key,
            Blocker::SecretNotFound,
            Blocker::SecretKeyMissing,
        ))
    }

    async fn ca(&self, reference: &CaRef) -> Result<DataEntry, CheckError> {
        match reference.kind {
            CaKind::Secret => {
                let secret = self.secret(&reference.name).await?;
                let missing = Blocker::CaNotFound;
                Ok(secret_entry(
                    secret,
                    &reference.key,
                    missing,
                    Blocker::CaEntryMissing,
                ))
            }
            CaKind::ConfigMap => {
                let object = match (self.objects.config_map(&reference.name), &self.live) {
                    (Some(object), _) => Some(object.clone()),
                    (None, None) => None,
                    (None, Some((client, namespace))) => {
                        let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
                        ask(api.get_opt(&reference.name).await, "the ConfigMap")?
                    }
                };
                Ok(config_map_entry(object, &reference.key))
            }
        }
    }

    async fn secret(&self, name: &str) -> Result<Option<Secret>, CheckError> {
        match (self.objects.secret(name), &self.live) {
            (Some(secret), _) => Ok(Some(secret.clone())),
            (None, None) => Ok(None),
            (None, Some((client, namespace))) => {
                let api = Api::<Secret>::namespaced(client.clone(), namespace);
                ask(api.get_opt(name).await, "the Secret")
            }
        }
    }
}

/// Maps an error of the API server. Its message is not repeated, because it may quote a Secret.
pub(crate) fn ask<T>(answer: Result<T, kube::Error>, what: &'static str) -> Result<T, CheckError> {
    answer.map_err(|error| {
        if let kube::Error::Api(status) = error {
            CheckError::Refused {
                what,
                code: status.code,
            }
        } else {
            CheckError::Unanswered(what)
        }
    })
}

fn typed<T: DeserializeOwned>(document: Value) -> Option<T> {
    serde_json::from_value(document).ok()
}

impl Subject {
    /// The identity provider that the specification declares.
    #[must_use]
    pub fn declared(&self) -> Option<IdentityProvider> {
        self.spec.as_ref().ok().and_then(|spec| spec.identity_provider)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_without_the_form_is_named() {
        let whole =
            serde_json::json!({"url": "https://scim.example.com", "apiKeySecretRef": {"name": "okta"}});
        assert!(read_spec(&whole).is_ok());
        for (field, value) in [
            ("url", serde_json::json!(7)),
            ("apiKeySecretRef", serde_json::json!("okta")),
            ("apiKeySecretRef", serde_json::json!({"key": "apiKey"})),
            ("identityProvider", serde_json::json!("okta")),
            ("interval", serde_json::json!("soon")),
            ("timeout", serde_json::json!({})),
            ("failureThreshold", serde_json::json!("three")),
            ("suspend", serde_json::json!("yes")),
            ("allowPlaintext", serde_json::json!(1)),
            ("tls", serde_json::json!({"caRef": "ca"})),
            ("nextApiKeySecretRef", serde_json::json!([])),
            ("provisioning", serde_json::json!({"mode": "Plan"})),
        ] {
            let mut spec = whole.clone();
            spec[field] = value.clone();
            let why = read_spec(&spec).unwrap_err();
            assert_eq!(why, InvalidSpec::Field(field), "{value}");
        }
        for field in ["url", "apiKeySecretRef"] {
            let mut spec = whole.clone();
            spec.as_object_mut().unwrap().remove(field);
            assert_eq!(read_spec(&spec).unwrap_err(), InvalidSpec::Missing(field));
            spec[field] = Value::Null;
            assert_eq!(read_spec(&spec).unwrap_err(), InvalidSpec::Missing(field));
        }
        for spec in [Value::Null, serde_json::json!("okta")] {
            assert_eq!(read_spec(&spec).unwrap_err(), InvalidSpec::Form, "{spec}");
        }
    }

    /// A document that cannot be read is reported as such, not as a missing Secret.
    #[test]
    fn documents_that_cannot_be_read() {
        let connection =
            |version: &str| serde_json::json!({"apiVersion": version, "kind": "ScimBridgeConnection"});
        let secret = |version: &str, data: Value| serde_json::json!({"apiVersion": version, "kind": "Secret", "data": data});
        for (document, expected) in [
            (connection("scimbridge.dev/v1alpha1"), Ok(())),
            (connection("scimbridge.dev/v1"), Err(Unreadable::Version)),
            (
                serde_json::json!({"kind": "ScimBridgeConnection"}),
                Err(Unreadable::Version),
            ),
            (secret("v1", serde_json::json!({"apiKey": "a2V5"})), Ok(())),
            (
                secret("v1", serde_json::json!({"apiKey": "?"})),
                Err(Unreadable::Form("Secret")),
            ),
            (
                secret("v2", serde_json::json!({})),
                Err(Unreadable::Form("Secret")),
            ),
            (
                serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "data": 7}),
                Err(Unreadable::Form("ConfigMap")),
            ),
            (serde_json::json!({"a": "b"}), Err(Unreadable::NotAnObject)),
            (Value::Null, Ok(())),
        ] {
            assert_eq!(Objects::default().take(document.clone()), expected, "{document}");
        }
    }

    #[test]
    fn objects_of_another_namespace_are_not_read() {
        for (wanted, namespace, is_read) in [
            (Some("identity"), Some("identity"), true),
            (Some("identity"), Some("other"), false),
            (Some("identity"), None, true),
            (None, Some("other"), true),
        ] {
            let secret = serde_json::json!({
                "kind": "Secret",
                "metadata": {"name": "okta", "namespace": namespace},
            });
            let mut objects = Objects::default();
            objects.take(secret).unwrap();
            objects.retain_namespace(wanted);
            assert_eq!(
                objects.secret("okta").is_some(),
                is_read,
                "{wanted:?} and {namespace:?}"
            );
        }
    }
}
