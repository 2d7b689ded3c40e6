//! Whose certificates are believed.

use std::{
    fmt,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::domain::evidence::Obstacle;

/// Largest bundle that is read, in bytes.
pub const MAX_BUNDLE: usize = 256 * 1024;

/// Most certificates that a bundle may hold.
pub const MAX_CERTIFICATES: usize = 64;

/// A set of trusted roots.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum Trust {
    /// The operator's own: those of its image, or of `SSL_CERT_FILE`.
    #[default]
    System,
    /// Only these.
    Only(Bundle),
}

/// Certificates from a CA object, at least one. `Debug` counts them.
#[derive(Clone)]
pub struct Bundle {
    certificates: Arc<[CertificateDer<'static>]>,
    /// Made of the certificates once: bundles are looked up with each probe.
    digest: u64,
}

impl Bundle {
    /// Reads PEM text.
    ///
    /// # Errors
    /// [`Obstacle::CaInvalid`] where there is no certificate, one that cannot be a root, or too much.
    pub fn read(pem: &[u8]) -> Result<Self, Obstacle> {
        if pem.len() > MAX_BUNDLE {
            return Err(Obstacle::CaInvalid);
        }
        let certificates = CertificateDer::pem_slice_iter(pem)
            .take(MAX_CERTIFICATES + 1)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Obstacle::CaInvalid)?;
        if certificates.is_empty() || certificates.len() > MAX_CERTIFICATES {
            return Err(Obstacle::CaInvalid);
        }
        let bundle = Self {
            digest: BuildHasherDefault::<DefaultHasher>::default().hash_one(&certificates),
            certificates: certificates.into(),
        };
        bundle
            .roots()
            .map(|_| bundle.clone())
            .map_err(|_| Obstacle::CaInvalid)
    }

    /// What it takes in memory, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.certificates
            .iter()
            .map(|certificate| certificate.len())
            .sum()
    }

    /// Whether this very certificate is in it.
    #[must_use]
    pub fn holds(&self, certificate: &CertificateDer<'_>) -> bool {
        self.certificates.iter().any(|held| held == certificate)
    }

    /// The certificates as roots to verify with.
    ///
    /// # Errors
    /// Where one cannot be a root; [`Self::read`] lets none such through.
    pub fn roots(&self) -> Result<RootCertStore, rustls::Error> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates.iter() {
            roots.add(certificate.clone())?;
        }
        Ok(roots)
    }
}

impl PartialEq for Bundle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.certificates, &other.certificates)
            || (self.digest == other.digest && self.certificates == other.certificates)
    }
}

impl Eq for Bundle {}

impl Hash for Bundle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bundle({} certificates)", self.certificates.len())
    }
}

/// The roots that are trusted where a connection names none.
#[must_use]
pub fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!("no trusted roots were found: only connections with spec.tls.caRef can be verified");
    }
    tracing::info!(added, ignored, errors = found.errors.len(), "trusted roots");
    roots
}
