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

/// The files that the API server and the administrator's kubeconfig name.
pub(super) struct Credentials {
    pub(super) ca: PathBuf,
    pub(super) server_certificate: PathBuf,
    pub(super) server_key: PathBuf,
    /// Signs the tokens of service accounts.
    pub(super) token_key: PathBuf,
    /// Verifies them.
    pub(super) token_public_key: PathBuf,
    admin_certificate: PathBuf,
    admin_key: PathBuf,
}

impl Credentials {
    /// One authority for both sides, a server certificate for loopback, an administrator, a key for tokens.
    pub(super) fn make(folder: &Path) -> Result<Self, ClusterError> {
        let files = Self {
            ca: folder.join("ca.crt"),
            server_certificate: folder.join("server.crt"),
            server_key: folder.join("server.key"),
            token_key: folder.join("tokens.key"),
            token_public_key: folder.join("tokens.pub"),
            admin_certificate: folder.join("admin.crt"),
            admin_key: folder.join("admin.key"),
        };
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "testbed");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        write_private(&files.ca, &ca.pem())?;

        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        params
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        write_private(&files.server_certificate, &params.signed_by(&key, &ca)?.pem())?;
        write_private(&files.server_key, &key.serialize_pem())?;

        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "testbed-admin");
        params
            .distinguished_name
            .push(DnType::OrganizationName, ADMINISTRATORS);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        write_private(&files.admin_certificate, &params.signed_by(&key, &ca)?.pem())?;
        write_private(&files.admin_key, &key.serialize_pem())?;

        let key = KeyPair::generate()?;
        write_private(&files.token_key, &key.serialize_pem())?;
        write_private(&files.token_public_key, &key.public_key_pem())?;
        Ok(files)
    }

    /// The administrator's kubeconfig. It names the files beside it, and verifies the server like any other.
    pub(super) fn admin_kubeconfig(&self, server: SocketAddr) -> Result<Kubeconfig, ClusterError> {
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "testbed",
            "clusters": [{"name": "testbed", "cluster": {
                "server": format!("https://{server}"),
                "certificate-authority": self.ca,
            }}],
            "users": [{"name": "admin", "user": {
                "client-certificate": self.admin_certificate,
                "client-key": self.admin_key,
            }}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "admin"}}],
        });
        Ok(serde_json::from_value(kubeconfig)?)
    }
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
