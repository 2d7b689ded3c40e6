//! A certificate authority for servers that exist for a test or a demo, and the good and bad leaves it
//! issues.
//!
//! Guarantees: several programs that share a directory share one authority, whichever comes first; its key is
//! readable by its owner only; the certificates are as a public authority would make them (names, usages, key
//! identifiers), so that what is wrong with a bad one is exactly what its profile says.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    path::{Path, PathBuf},
    process,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use time::{Duration, OffsetDateTime};

/// Key and certificate of the authority, in one file so that they can only appear together.
const BUNDLE: &str = "authority.pem";
/// The certificate alone, for clients.
const CERTIFICATE: &str = "ca.crt";
const CA_DAYS: i64 = 3650;
/// Clocks of machines that share a demo may differ; a certificate made just now has to hold everywhere.
const LEEWAY: Duration = Duration::hours(1);
/// An end lies so much beyond its days: the days that are left are then the same for as long as a test takes.
const MARGIN: Duration = Duration::hours(12);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// A certificate could not be made, or the stored one is not one.
    #[error("no certificate can be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A PEM text lacks what was looked for.
    #[error("the PEM text holds no usable {what}: {source}")]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// What the parser said.
        source: rustls::pki_types::pem::Error,
    },
}

impl From<AuthorityError> for io::Error {
    fn from(error: AuthorityError) -> Self {
        Self::other(error)
    }
}

/// A certificate authority of our own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Authority")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// An authority that lives in memory.
    ///
    /// # Errors
    /// No key or certificate could be made.
    pub fn new() -> Result<Self, AuthorityError> {
        let bundle = Bundle::new()?;
        Self::from_bundle(&bundle.0)
    }

    /// The authority of a directory; made, together with the directory, when there is none.
    ///
    /// `ca.crt` in that directory is its certificate.
    ///
    /// # Errors
    /// A file cannot be read or written, or is not what it should be.
    pub fn load_or_create(directory: impl AsRef<Path>) -> Result<Self, AuthorityError> {
        let directory = directory.as_ref();
        fs::create_dir_all(directory).map_err(file_error(directory))?;
        let path = directory.join(BUNDLE);
        if !path.try_exists().map_err(file_error(&path))? {
            place(&path, Bundle::new()?.0.as_bytes(), Access::Owner, Existing::Keep)?;
        }
        // Read back even when just written: another program may have been first.
        let authority = Self::from_bundle(&fs::read_to_string(&path).map_err(file_error(&path))?)?;
        place(
            &directory.join(CERTIFICATE),
            authority.pem.as_bytes(),
            Access::Everybody,
            Existing::Replace,
        )?;
        Ok(authority)
    }

    fn from_bundle(bundle: &str) -> Result<Self, AuthorityError> {
        let key = PrivateKeyDer::from_pem_slice(bundle.as_bytes()).map_err(|source| AuthorityError::Pem {
            what: "private key",
            source,
        })?;
        let certificate =
            CertificateDer::from_pem_slice(bundle.as_bytes()).map_err(|source| AuthorityError::Pem {
                what: "certificate",
                source,
            })?;
        let issuer = Issuer::from_ca_cert_der(&certificate, KeyPair::try_from(&key)?)?;
        let pem = bundle
            .find(CERTIFICATE_BEGIN)
            .and_then(|begin| bundle.get(begin..));
        Ok(Self {
            issuer,
            pem: pem.unwrap_or_default().to_owned(),
        })
    }

    /// The certificate of the authority, in PEM: what a client has to trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for a server, for `localhost`, both loopback addresses and the names given.
    ///
    /// # Errors
    /// A name cannot stand in a certificate, or none could be made.
    pub fn issue(&self, profile: Profile, names: &[String]) -> Result<Identity, AuthorityError> {
        let key = KeyPair::generate()?;
        let parameters = leaf(profile, names)?;
        let (certificate, behind) = match profile {
            Profile::Valid { .. } | Profile::Expired | Profile::NotYetValid | Profile::OtherName => {
                (parameters.signed_by(&key, &self.issuer)?, None)
            }
            Profile::Intermediate { days } => {
                let below = intermediate(days, &self.issuer)?;
                (parameters.signed_by(&key, &below)?, Some(below.der().clone()))
            }
            Profile::SelfSigned => (parameters.self_signed(&key)?, None),
            Profile::OtherAuthority => (parameters.signed_by(&key, &Self::new()?.issuer)?, None),
        };
        Ok(Identity {
            chain: std::iter::once(certificate.der().clone()).chain(behind).collect(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    }
}

/// What is right or wrong with a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Nothing is wrong with it, for so many days.
    Valid {
        /// Days from now to its end.
        days: u16,
    },
    /// It is fine, but the intermediate authority that it leads over is so for so many days, or was.
    Intermediate {
        /// Days from now to the end of the authority's certificate.
        days: i16,
    },
    /// It ended yesterday.
    Expired,
    /// It begins tomorrow.
    NotYetValid,
    /// It is for `other-name.invalid` alone.
    OtherName,
    /// Nobody but itself vouches for it.
    SelfSigned,
    /// An authority that nobody knows vouches for it.
    OtherAuthority,
}

impl Default for Profile {
    fn default() -> Self {
        Self::Valid { days: 90 }
    }
}

/// A server's certificate with its key.
pub struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Identity")
            .field("chain", &self.chain)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// An identity from PEM texts: the chain with the leaf first, and the key.
    ///
    /// # Errors
    /// One of the texts does not hold what it should.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, AuthorityError> {
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| AuthorityError::Pem {
                what: "certificate",
                source,
            })?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|source| AuthorityError::Pem {
            what: "private key",
            source,
        })?;
        Ok(Self { chain, key })
    }
}

const CERTIFICATE_BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// Key and certificate of an authority, in PEM, the key first.
struct Bundle(String);

impl Bundle {
    fn new() -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::default();
        parameters
            .distinguished_name
            .push(DnType::OrganizationName, "bridge-front");
        // Two authorities must not be mistaken for each other by name: a verifier would then speak of a
        // broken signature where it should speak of an unknown issuer.
        parameters
            .distinguished_name
            .push(DnType::CommonName, format!("bridge-front CA {}", mark(&key)));
        // One, for a chain.
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let now = OffsetDateTime::now_utc();
        parameters.not_before = now - LEEWAY;
        parameters.not_after = now + Duration::days(CA_DAYS);
        let certificate = parameters.self_signed(&key)?;
        Ok(Self(format!("{}{}", key.serialize_pem(), certificate.pem())))
    }
}

/// An authority below `issuer`, for servers alone.
fn intermediate(
    days: i16,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<CertifiedIssuer<'static, KeyPair>, AuthorityError> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::default();
    parameters
        .distinguished_name
        .push(DnType::OrganizationName, "bridge-front");
    parameters.distinguished_name.push(
        DnType::CommonName,
        format!("bridge-front intermediate CA {}", mark(&key)),
    );
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.use_authority_key_identifier_extension = true;
    let now = OffsetDateTime::now_utc();
    parameters.not_before = now - Duration::days(91);
    parameters.not_after = now + Duration::days(days.into()) + MARGIN;
    Ok(CertifiedIssuer::signed_by(parameters, key, issuer)?)
}

/// A short mark by which to tell keys apart.
fn mark(key: &KeyPair) -> String {
    use fmt::Write as _;

    let public = key.public_key_raw();
    let tail = public.get(public.len().saturating_sub(4)..).unwrap_or(public);
    tail.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn leaf(profile: Profile, names: &[String]) -> Result<CertificateParams, AuthorityError> {
    let names = if profile == Profile::OtherName {
        vec!["other-name.invalid".to_owned()]
    } else {
        let own = ["localhost".to_owned(), loopback_v4(), loopback_v6()];
        own.into_iter().chain(names.iter().cloned()).collect()
    };
    let mut parameters = CertificateParams::new(names)?;
    parameters
        .distinguished_name
        .push(DnType::OrganizationName, "bridge-front");
    parameters
        .distinguished_name
        .push(DnType::CommonName, "bridge-front");
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = profile != Profile::SelfSigned;
    let now = OffsetDateTime::now_utc();
    (parameters.not_before, parameters.not_after) = match profile {
        Profile::Valid { days } => (now - LEEWAY, now + Duration::days(days.into()) + MARGIN),
        Profile::Expired => (now - Duration::days(91), now - Duration::days(1)),
        Profile::NotYetValid => (now + Duration::days(1), now + Duration::days(91)),
        Profile::Intermediate { .. } | Profile::OtherName | Profile::SelfSigned | Profile::OtherAuthority => {
            (now - LEEWAY, now + Duration::days(90))
        }
    };
    Ok(parameters)
}

fn loopback_v4() -> String {
    IpAddr::from(std::net::Ipv4Addr::LOCALHOST).to_string()
}

fn loopback_v6() -> String {
    IpAddr::from(std::net::Ipv6Addr::LOCALHOST).to_string()
}

/// Who may read a file.
#[derive(Clone, Copy)]
enum Access {
    Owner,
    Everybody,
}

/// What becomes of a file that is there already.
#[derive(Clone, Copy)]
enum Existing {
    Keep,
    Replace,
}

/// Puts a whole file in its place at once: nobody ever reads half of it.
fn place(path: &Path, content: &[u8], access: Access, existing: Existing) -> Result<(), AuthorityError> {
    let draft = path.with_extension(format!("{}.draft", process::id()));
    let written = (|| {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(match access {
                Access::Owner => 0o600,
                Access::Everybody => 0o644,
            });
        }
        options.open(&draft)?.write_all(content)?;
        match existing {
            Existing::Replace => fs::rename(&draft, path),
            // A link, unlike a rename, fails where there is a file already. That is how the first one wins.
            Existing::Keep => match fs::hard_link(&draft, path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                outcome => outcome,
            },
        }
    })();
    // Gone already after a rename; after a failure the failure is what counts.
    let _ = fs::remove_file(&draft);
    written.map_err(file_error(path))
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> AuthorityError {
    let path = path.to_owned();
    move |source| AuthorityError::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::{Authority, BUNDLE, CERTIFICATE, Identity, Profile};

    #[test]
    fn an_authority_is_kept_in_its_directory() {
        let directory = std::env::temp_dir().join(format!("bridge-front-authority-{}", std::process::id()));
        let first = Authority::load_or_create(&directory).unwrap();
        let second = Authority::load_or_create(&directory).unwrap();
        let written = std::fs::read_to_string(directory.join(CERTIFICATE)).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(directory.join(BUNDLE))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let files = std::fs::read_dir(&directory).unwrap().count();
        std::fs::remove_dir_all(&directory).unwrap();

        assert_eq!(files, 2, "no drafts are left behind");
        assert_eq!(first.ca_pem(), second.ca_pem());
        assert_eq!(written, first.ca_pem());
        assert!(!written.contains("PRIVATE"));
        let issued = |authority: &Authority| {
            authority
                .issue(Profile::default(), &["scim.test".to_owned()])
                .is_ok()
        };
        assert!(issued(&first) && issued(&second));
    }

    #[test]
    fn debug_output_shows_no_key() {
        let authority = Authority::new().unwrap();
        let identity: Identity = authority.issue(Profile::SelfSigned, &[]).unwrap();
        assert!(!format!("{authority:?}").contains("key: ["));
        assert!(!format!("{identity:?}").contains("key"));
    }
}
