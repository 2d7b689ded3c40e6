//! The certificates that a connection trusts: the system's roots, or the bundle from its CA object.

use std::{
    fmt,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, TrustAnchor, pem::PemObject as _},
};
use webpki::anchor_from_trusted_cert;
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

use super::certificate::{Validity, read_validity};
use crate::domain::connection::evidence::{Blocker, CaFault};

/// Largest bundle that is read, in bytes.
pub const MAX_BUNDLE: usize = 256 * 1024;

/// Most certificates that a bundle may hold.
pub const MAX_CERTIFICATES: usize = 64;

/// A set of trusted roots.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum Trust {
    /// The roots of the operator's image, or of `SSL_CERT_FILE`.
    #[default]
    System,
    /// Only the certificates of this bundle.
    Only(Bundle),
}

/// Certificates from a CA object, at least one. `Debug` shows only their number.
#[derive(Clone)]
pub struct Bundle {
    certificates: Arc<[CertificateDer<'static>]>,
    /// Computed once, because each probe looks its bundle up.
    digest: u64,
}

/// The limits that an authority's own certificate sets. WebPKI does not check them for a trusted authority.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AuthorityLimits {
    pub(crate) validity: Validity,
    /// Most intermediate authorities below this one. `None` for no limit.
    pub(crate) max_intermediates: Option<u32>,
}

impl Bundle {
    /// Reads PEM text: the whole text, or nothing.
    ///
    /// # Errors
    /// [`Blocker::CaInvalid`] if the text has no certificate, or too many. Also if a part looks like a certificate and
    /// cannot be read.
    pub fn read(pem: &[u8]) -> Result<Self, Blocker> {
        let certificates = read_pem(pem).map_err(Blocker::CaInvalid)?;
        Ok(Self {
            digest: BuildHasherDefault::<DefaultHasher>::default().hash_one(&certificates),
            certificates: certificates.into(),
        })
    }

    /// The memory for the certificates, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.certificates
            .iter()
            .map(|certificate| certificate.len())
            .sum()
    }

    /// All certificates, authorities or not.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// The authorities of the bundle, as WebPKI takes them, with their limits.
    pub(crate) fn anchors(&self) -> impl Iterator<Item = (TrustAnchor<'static>, AuthorityLimits)> {
        self.certificates.iter().filter_map(|certificate| {
            let anchor = anchor_from_trusted_cert(certificate).ok()?;
            Some((anchor.to_owned(), AuthorityLimits::of(certificate)?))
        })
    }
}

impl AuthorityLimits {
    /// Reads the limits of an authority's certificate. `None` if it is no authority's (RFC 5280, section 4.2.1.9).
    ///
    /// WebPKI would trust any certificate as an authority. Then the holder of a server's key could vouch for other
    /// servers. Certificates before version 3 cannot say whether they are an authority's, so all of them count.
    fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let validity = read_validity(certificate)?;
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let max_intermediates = match certificate.basic_constraints().ok()? {
            Some(constraints) if constraints.value.ca => constraints.value.path_len_constraint,
            None if certificate.version() != X509Version::V3 => None,
            Some(_) | None => return None,
        };
        Some(Self {
            validity,
            max_intermediates,
        })
    }
}

/// Reads the certificates of a PEM text, in the lax form of RFC 7468. White space is ignored. Text between the blocks
/// is a comment.
fn read_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CaFault> {
    if pem.len() > MAX_BUNDLE {
        return Err(CaFault::TooMuch);
    }
    // Text in an encoding based on ASCII has no NUL. The other formats do.
    if pem.contains(&0) || BINARY.iter().any(|mark| pem.starts_with(mark)) {
        return Err(CaFault::Binary);
    }
    let text = String::from_utf8_lossy(pem);
    let mut certificates = Vec::new();
    let mut rest = text.as_ref();
    while let Some((comment, block)) = rest.split_once(BEGIN) {
        check_comment(comment)?;
        let (label, block) = block.split_once(DASHES).ok_or(CaFault::Frame)?;
        let (content, after) = block
            .split_once(&format!("{END}{label}{DASHES}"))
            .ok_or(CaFault::Frame)?;
        if content.contains(DASHES) {
            return Err(CaFault::Frame);
        }
        match label.trim() {
            "CERTIFICATE" | "X509 CERTIFICATE" => {
                let certificate = decode(content)?;
                if !certificates.contains(&certificate) {
                    certificates.push(certificate);
                }
            }
            label if label.ends_with("PRIVATE KEY") => return Err(CaFault::PrivateKey),
            _ => return Err(CaFault::OtherBlock),
        }
        rest = after;
    }
    check_comment(rest)?;
    match certificates.len() {
        0 => Err(CaFault::Empty),
        1..=MAX_CERTIFICATES => Ok(certificates),
        _ => Err(CaFault::TooMuch),
    }
}

const DASHES: &str = "-----";
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";

/// The first bytes of other certificate files: DER and PKCS #12, Java key stores, UTF-16.
const BINARY: [&[u8]; 6] = [
    &[0x30, 0x82],
    &[0x30, 0x83],
    &[0xfe, 0xed, 0xfe, 0xed],
    &[0xce, 0xce, 0xce, 0xce],
    &[0xff, 0xfe],
    &[0xfe, 0xff],
];

/// The first characters of PEM text that was encoded in base64 again.
const ENCODED_BEGIN: &str = "LS0tLS1CRUdJTi";

/// The first characters of a certificate in base64: a DER sequence of 256 bytes or more.
const CERTIFICATE_BEGIN: &str = "MII";

/// Comments are ignored. So a comment that looks like a certificate is an error.
fn check_comment(text: &str) -> Result<(), CaFault> {
    let is_base64 = |line: &str| {
        line.len() >= 40
            && line
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
    };
    for line in text.lines().map(str::trim) {
        if line.contains(ENCODED_BEGIN) {
            return Err(CaFault::Encoded);
        }
        if line.starts_with(CERTIFICATE_BEGIN) && is_base64(line) {
            return Err(CaFault::Frame);
        }
        // Word processors replace two hyphens by one longer dash.
        let line = line
            .replace(
                [
                    '\u{2010}', '\u{2011}', '\u{2012}', '\u{2013}', '\u{2014}', '\u{2015}', '\u{2212}',
                ],
                "--",
            )
            .to_ascii_lowercase();
        let frames = ["--begin", "--end", "begin certificate", "end certificate"];
        if frames.iter().any(|frame| line.contains(frame)) {
            return Err(CaFault::Frame);
        }
    }
    Ok(())
}

/// Decodes the certificate in a PEM block.
fn decode(content: &str) -> Result<CertificateDer<'static>, CaFault> {
    let base64: String = content.split_whitespace().collect();
    let block = format!("{BEGIN}CERTIFICATE{DASHES}\n{base64}\n{END}CERTIFICATE{DASHES}\n");
    let certificate = CertificateDer::from_pem_slice(block.as_bytes()).map_err(|_| CaFault::Base64)?;
    let is_readable = anchor_from_trusted_cert(&certificate).is_ok() && read_validity(&certificate).is_some();
    if is_readable {
        Ok(certificate)
    } else {
        Err(CaFault::NotACertificate)
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

/// Loads the roots for connections without `spec.tls.caRef`.
#[must_use]
pub fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    let is_set = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(|name| std::env::var_os(name).is_some());
    match fault_of_roots(added, found.errors.len(), is_set) {
        Some(fault) if added == 0 => tracing::error!("{fault}"),
        Some(fault) => tracing::warn!("{fault}"),
        None => {}
    }
    tracing::info!(added, ignored, errors = found.errors.len(), "trusted roots");
    roots
}

/// The fault of the roots that were found. `is_set`: whether `SSL_CERT_FILE` and `SSL_CERT_DIR` are.
const fn fault_of_roots(added: usize, errors: usize, is_set: [bool; 2]) -> Option<&'static str> {
    match (added, errors, is_set) {
        (0, _, [true, _]) => Some(
            "no trusted roots: SSL_CERT_FILE names no readable file with certificates. Only connections with spec.tls.caRef can be verified",
        ),
        (0, _, [false, true]) => Some(
            "no trusted roots: SSL_CERT_DIR names no readable directory with certificates. Only connections with spec.tls.caRef can be verified",
        ),
        (0, _, [false, false]) => Some(
            "no trusted roots: the system has none. Only connections with spec.tls.caRef can be verified",
        ),
        (_, 1.., [true, _] | [_, true]) => {
            Some("a part of the roots that SSL_CERT_FILE and SSL_CERT_DIR name is not readable")
        }
        (_, _, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn roots_that_are_missing() {
        for (added, errors, is_set, expected) in [
            (0, 1, [true, false], Some("SSL_CERT_FILE")),
            (0, 2, [true, true], Some("SSL_CERT_FILE")),
            (0, 1, [false, true], Some("SSL_CERT_DIR")),
            (0, 0, [false, false], Some("the system has none")),
            (5, 1, [false, true], Some("a part of the roots")),
            (5, 1, [false, false], None),
            (5, 0, [true, true], None),
        ] {
            let fault = fault_of_roots(added, errors, is_set);
            let is_told = match (fault, expected) {
                (Some(fault), Some(words)) => fault.contains(words),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            assert!(is_told, "{added} {errors} {is_set:?}: {fault:?}");
        }
    }

    /// A certificate in PEM. Not the same twice.
    fn pem() -> String {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["bridge.example".to_owned()]).unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    /// The number of certificates in the bundle, or the error.
    fn result(entry: &[u8]) -> String {
        match Bundle::read(entry) {
            Ok(bundle) => bundle.certificates().len().to_string(),
            Err(Blocker::CaInvalid(fault)) => format!("{fault:?}"),
            Err(blocker) => format!("{blocker:?}"),
        }
    }

    /// A bundle is read as a whole or not at all.
    #[test]
    #[allow(clippy::too_many_lines, reason = "a table is as long as it is")]
    fn entries() {
        let (one, two) = (pem(), pem());
        let both = format!("{one}{two}");
        let lines: Vec<&str> = one.lines().collect();
        let body = lines[1..lines.len() - 1].join("\n");
        let (begin, end) = (lines[0], lines[lines.len() - 1]);
        let labelled = |label: &str| one.replace("CERTIFICATE", label);
        let encode = |text: &str| {
            // Only the beginning must be right.
            let rest = text.len();
            format!("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t{}", "QUJD".repeat(rest / 3))
        };
        for (name, entry, expected) in [
            ("one", one.clone(), "1"),
            ("two", both.clone(), "2"),
            ("the same twice", format!("{one}{one}"), "1"),
            ("glued", format!("{}{}", one.trim_end(), two), "2"),
            ("glued, the first last", format!("{}{}", two.trim_end(), one), "2"),
            ("ends of lines as on Windows", both.replace('\n', "\r\n"), "2"),
            ("ends of lines as on old Macs", both.replace('\n', "\r"), "2"),
            ("indented", both.replace('\n', "\n    "), "2"),
            (
                "indented with tabs",
                format!("\t{}", both.replace('\n', "\n\t")),
                "2",
            ),
            ("blanks at the ends of lines", both.replace('\n', " \n"), "2"),
            ("empty lines between", both.replace('\n', "\n\n"), "2"),
            ("one line", both.replace('\n', ""), "2"),
            ("blanks in place of line ends", both.replace('\n', " "), "2"),
            ("a byte order mark", format!("\u{feff}{both}"), "2"),
            (
                "comments",
                format!("# ours\n{one}\n; theirs, front-end and back-end\n{two}# the end\n"),
                "2",
            ),
            ("lines of dashes", format!("--------\n{one}--------\n{two}"), "2"),
            (
                "text as of openssl x509 -text",
                format!(
                    "Certificate:\n    Data:\n        Version: 3 (0x2)\n        Signature Algorithm: ecdsa-with-SHA256\n            04:7a:0d:2c\n{one}"
                ),
                "1",
            ),
            (
                "text as of openssl s_client",
                format!(
                    "CONNECTED(00000003)\n---\nCertificate chain\n 0 s:CN = x\n{one}---\nServer certificate\n{one}\n---\n"
                ),
                "1",
            ),
            (
                "bag attributes",
                format!(
                    "Bag Attributes\n    friendlyName: ours\n    localKeyID: 01 02\nsubject=CN = x\n{one}"
                ),
                "1",
            ),
            ("an old label", labelled("X509 CERTIFICATE"), "1"),
            ("nothing", String::new(), "Empty"),
            ("blanks", " \n\t\n".to_owned(), "Empty"),
            ("something else", "-not-a-certificate".to_owned(), "Empty"),
            ("an API key", "canary-not-a-real-key".to_owned(), "Empty"),
            ("no end", format!("{one}{begin}\n{body}\n"), "Frame"),
            (
                "no end, before another",
                format!("{begin}\n{body}\n{two}"),
                "Frame",
            ),
            ("no beginning", format!("{one}{body}\n{end}\n"), "Frame"),
            (
                "no beginning, and the end glued",
                format!("{one}{body}{end}\n"),
                "Frame",
            ),
            ("neither", format!("{one}{body}\n"), "Frame"),
            ("base64 alone", body.clone(), "Frame"),
            (
                "another end",
                one.replace("END CERTIFICATE", "END TRUSTED CERTIFICATE"),
                "Frame",
            ),
            ("four dashes", one.replace("-----", "----"), "Frame"),
            (
                "four dashes, beside a good one",
                format!("{two}{}", one.replace("-----", "----")),
                "Frame",
            ),
            (
                "six dashes at the end of the beginning",
                one.replacen("CERTIFICATE-----", "CERTIFICATE------", 1),
                "Base64",
            ),
            (
                "dashes of a word processor",
                format!("{two}{}", one.replace("-----", "\u{2013}\u{2013}-")),
                "Frame",
            ),
            (
                "lower case",
                format!("{two}{}", one.replace("BEGIN CERTIFICATE", "begin certificate")),
                "Frame",
            ),
            ("lower case throughout", one.to_lowercase(), "Frame"),
            (
                "a line of it too few",
                one.replace(&format!("{}\n", lines[2]), ""),
                "NotACertificate",
            ),
            (
                "cut off in a line",
                format!("{begin}\n{}\n{end}\n", &body[..body.len() / 2]),
                "NotACertificate|Base64",
            ),
            ("a bad letter", one.replacen("MII", "M!I", 1), "Base64"),
            (
                "a bad letter in the second",
                format!("{two}{}", one.replacen("MII", "M!I", 1)),
                "Base64",
            ),
            ("line ends written out", one.replace('\n', "\\n"), "Base64"),
            (
                "headers inside",
                one.replacen("MII", "Proc-Type: 4,ENCRYPTED\n\nMII", 1),
                "Base64",
            ),
            (
                "something else in a block",
                format!("{begin}\nYWJj\n{end}\n"),
                "NotACertificate",
            ),
            (
                "nothing in a block",
                format!("{one}{begin}\n{end}\n"),
                "NotACertificate",
            ),
            ("encoded once more", encode(&both), "Encoded"),
            ("a private key", labelled("PRIVATE KEY"), "PrivateKey"),
            (
                "a private key behind",
                format!("{two}{}", labelled("EC PRIVATE KEY")),
                "PrivateKey",
            ),
            (
                "an encrypted private key",
                labelled("ENCRYPTED PRIVATE KEY"),
                "PrivateKey",
            ),
            (
                "with OpenSSL's own trust",
                labelled("TRUSTED CERTIFICATE"),
                "OtherBlock",
            ),
            ("PKCS #7", labelled("PKCS7"), "OtherBlock"),
            ("a request", labelled("CERTIFICATE REQUEST"), "OtherBlock"),
            (
                "a request behind",
                format!("{two}{}", labelled("NEW CERTIFICATE REQUEST")),
                "OtherBlock",
            ),
            (
                "a list of revoked ones",
                format!("{two}{}", labelled("X509 CRL")),
                "OtherBlock",
            ),
            ("a public key", labelled("PUBLIC KEY"), "OtherBlock"),
        ] {
            let result = result(entry.as_bytes());
            assert!(
                expected.split('|').any(|expected| expected == result),
                "{name}: expected {expected}, got {result}, from\n{entry}"
            );
        }
    }

    #[test]
    fn entries_that_are_no_text() {
        let certificate = CertificateDer::from_pem_slice(pem().as_bytes()).unwrap();
        let wide: Vec<u8> = pem().encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (name, entry) in [
            ("DER", certificate.to_vec()),
            (
                "a key store of Java",
                [&[0xfe, 0xed, 0xfe, 0xed][..], b"\x01"].concat(),
            ),
            ("UTF-16", wide.clone()),
            ("UTF-16 with its mark", [&[0xff, 0xfe][..], &wide].concat()),
            ("PEM with a NUL behind it", [pem().as_bytes(), &[0]].concat()),
        ] {
            assert_eq!(result(&entry), "Binary", "{name}");
        }
        // Comments need not be UTF-8.
        assert_eq!(
            result(&[b"# Zertifikat f\xfcr\n", pem().as_bytes()].concat()),
            "1"
        );
    }

    #[test]
    fn as_many_as_there_may_be() {
        let one = pem();
        let most: Vec<String> = (0..MAX_CERTIFICATES).map(|_| pem()).collect();
        let most = most.concat();
        assert_eq!(result(most.as_bytes()), MAX_CERTIFICATES.to_string());
        assert_eq!(result((most + &one).as_bytes()), "TooMuch");
        assert_eq!(result((" ".repeat(MAX_BUNDLE) + &one).as_bytes()), "TooMuch");
    }

    /// A server's certificate in the bundle makes only itself trusted.
    #[test]
    fn a_server_is_no_authority() {
        let bundle = Bundle::read(pem().as_bytes()).unwrap();
        assert_eq!(bundle.certificates().len(), 1);
        assert_eq!(bundle.anchors().count(), 0);
    }
}
