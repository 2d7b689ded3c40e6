//! Certificates, keys and kubeconfigs of a cluster of our own: made anew for each, and gone with it.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use kube::config::Kubeconfig;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use serde_json::json;

use super::ClusterError;

/// Members of this group may do everything, by a rule that is built into the API server.
const ADMINISTRATORS: &str = "system:masters";
/// The user to whom the API server's built-in roles give what controllers need.
const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";

/// The files that the servers and the kubeconfigs name.
pub(super) struct Credentials {
    pub(super) ca: PathBuf,
    pub(super) api_server: Pair,
    /// Shown on both sides: to the API server, and to those who ask how the controllers are.
    pub(super) controller_manager: Pair,
    /// Signs the tokens of service accounts.
    pub(super) token_key: PathBuf,
    /// Verifies them.
    pub(super) token_public_key: PathBuf,
    admin: Pair,
}

/// A certificate and its key.
pub(super) struct Pair {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// Whom a certificate names, and as what.
struct Subject<'a> {
    name: &'a str,
    group: Option<&'a str>,
    usages: &'a [ExtendedKeyUsagePurpose],
}

impl Credentials {
    /// One authority for all sides, and a key for tokens.
    pub(super) fn make(folder: &Path) -> Result<Self, ClusterError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "testbed");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let ca = folder.join("ca.crt");
        write_private(&ca, &authority.pem())?;

        let issue = |file: &str, subject: &Subject<'_>| issue(&authority, &folder.join(file), subject);
        let api_server = Subject {
            name: "kube-apiserver",
            group: None,
            usages: &[ExtendedKeyUsagePurpose::ServerAuth],
        };
        let controller_manager = Subject {
            name: CONTROLLER_MANAGER,
            group: None,
            usages: &[
                ExtendedKeyUsagePurpose::ClientAuth,
                ExtendedKeyUsagePurpose::ServerAuth,
            ],
        };
        let admin = Subject {
            name: "testbed-admin",
            group: Some(ADMINISTRATORS),
            usages: &[ExtendedKeyUsagePurpose::ClientAuth],
        };

        let key = KeyPair::generate()?;
        let (token_key, token_public_key) = (folder.join("tokens.key"), folder.join("tokens.pub"));
        write_private(&token_key, &key.serialize_pem())?;
        write_private(&token_public_key, &key.public_key_pem())?;
        Ok(Self {
            ca,
            api_server: issue("server", &api_server)?,
            controller_manager: issue("controllers", &controller_manager)?,
            token_key,
            token_public_key,
            admin: issue("admin", &admin)?,
        })
    }

    /// The administrator's kubeconfig.
    pub(super) fn admin_kubeconfig(&self, server: SocketAddr) -> Result<Kubeconfig, ClusterError> {
        self.kubeconfig(server, "admin", &self.admin)
    }

    /// The kubeconfig of kube-controller-manager.
    pub(super) fn controllers_kubeconfig(&self, server: SocketAddr) -> Result<Kubeconfig, ClusterError> {
        self.kubeconfig(server, "controllers", &self.controller_manager)
    }

    /// It names the files beside it, and verifies the server like any other.
    fn kubeconfig(&self, server: SocketAddr, user: &str, pair: &Pair) -> Result<Kubeconfig, ClusterError> {
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "testbed",
            "clusters": [{"name": "testbed", "cluster": {
                "server": format!("https://{server}"),
                "certificate-authority": self.ca,
            }}],
            "users": [{"name": user, "user": {
                "client-certificate": pair.certificate,
                "client-key": pair.key,
            }}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": user}}],
        });
        Ok(serde_json::from_value(kubeconfig)?)
    }
}

/// Writes a pair whose certificate names the subject, and loopback where it serves.
fn issue(
    authority: &CertifiedIssuer<'_, KeyPair>,
    stem: &Path,
    subject: &Subject<'_>,
) -> Result<Pair, ClusterError> {
    let serves = subject.usages.contains(&ExtendedKeyUsagePurpose::ServerAuth);
    let names = if serves {
        &["127.0.0.1", "localhost"][..]
    } else {
        &[]
    };
    let mut params =
        CertificateParams::new(names.iter().copied().map(str::to_owned).collect::<Vec<String>>())?;
    params.distinguished_name.push(DnType::CommonName, subject.name);
    if let Some(group) = subject.group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.extended_key_usages = subject.usages.to_vec();
    let key = KeyPair::generate()?;
    let pair = Pair {
        certificate: stem.with_extension("crt"),
        key: stem.with_extension("key"),
    };
    write_private(&pair.certificate, &params.signed_by(&key, authority)?.pem())?;
    write_private(&pair.key, &key.serialize_pem())?;
    Ok(pair)
}

/// Writes a kubeconfig, as JSON, which is YAML.
pub(super) fn write_kubeconfig(path: &Path, kubeconfig: &Kubeconfig) -> Result<(), ClusterError> {
    Ok(write_private(path, &serde_json::to_string_pretty(kubeconfig)?)?)
}

/// The same cluster, for somebody else.
pub(super) fn with_token(
    kubeconfig: &Kubeconfig,
    user: &str,
    token: &str,
) -> Result<Kubeconfig, ClusterError> {
    let mut other = kubeconfig.clone();
    let current = other.current_context.clone();
    let context = other
        .contexts
        .iter_mut()
        .find(|context| Some(&context.name) == current.as_ref());
    let context = context
        .and_then(|context| context.context.as_mut())
        .ok_or(ClusterError::NoContext)?;
    context.user = Some(user.to_owned());
    other.auth_infos = serde_json::from_value(json!([{"name": user, "user": {"token": token}}]))?;
    Ok(other)
}

/// Keys and tokens are nobody else's business, on a shared machine neither.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}
