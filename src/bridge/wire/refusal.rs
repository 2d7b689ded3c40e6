//! Explains why a chain of certificates is not accepted.
//!
//! WebPKI tries every path and returns one error for all of them. That error may belong to a path that does not matter:
//! a certificate beside the chain can hide that the issuer is unknown. "The signature is invalid" can mean a short key,
//! or an authority that was created again under its old name. So this module inspects the chain again, but only to
//! explain the error: a refused chain stays refused. The result contains no text of a certificate.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "WebPKI and x509-parser may add variants; each last arm is about all that the others are not about"
)]

use std::{mem::discriminant, net::IpAddr, slice, sync::Arc};

use rustls::{
    CertificateError, OtherError,
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, TrustAnchor, UnixTime},
};
use webpki::{EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert, spki_for_anchor};
use x509_parser::{
    asn1_rs::{Any, FromDer as _},
    extensions::{GeneralName, NameConstraints},
    oid_registry::OID_X509_EXT_NAME_CONSTRAINTS,
    prelude::{X509Certificate, X509Name},
    public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

use super::certificate::read_validity;
use crate::domain::connection::evidence::{
    ChainFault, DateFault, Member, NameFault, Roots, TransportFailure,
};

/// Most certificates of a peer that are inspected. No chain has more, and each costs time.
const MAX_SENT: usize = 32;

/// Most authorities for which the chain is verified again, one at a time.
const MAX_SUSPECTS: usize = 4;

/// The accepted lengths of RSA keys, in bits.
const ACCEPTED_RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The failure that the verification found. It passes through rustls and the HTTP client as an error.
#[derive(Debug, thiserror::Error)]
#[error("the verification does not accept the peer: {0:?}")]
pub(crate) struct Refused(pub(crate) TransportFailure);

/// Everything that the verification knew.
pub(crate) struct Case<'a> {
    /// The server's own certificate.
    pub(crate) server: &'a CertificateDer<'a>,
    /// The other certificates that the server sent.
    pub(crate) sent: &'a [CertificateDer<'a>],
    /// The name that the certificate must be for.
    pub(crate) name: &'a ServerName<'a>,
    /// The trusted authorities.
    pub(crate) anchors: &'a [TrustAnchor<'static>],
    /// The certificates of the connection's bundle, authorities or not.
    pub(crate) held: &'a [CertificateDer<'static>],
    pub(crate) roots: Roots,
    pub(crate) algorithms: &'a WebPkiSupportedAlgorithms,
    pub(crate) now: UnixTime,
}

/// A certificate that x509-parser can read. WebPKI may still refuse it.
struct Link<'a> {
    der: &'a CertificateDer<'a>,
    read: X509Certificate<'a>,
}

/// The chain, as far as it can be read.
struct Chain<'a> {
    server: Link<'a>,
    /// The certificates that follow the server's by the names of issuers. They need not have signed.
    issuers: Vec<Link<'a>>,
    /// Why a certificate that may follow cannot be read.
    unread: Option<Error>,
    /// All certificates beside the server's that WebPKI can read.
    sent: Vec<CertificateDer<'a>>,
}

// === impl Refused ===

impl From<Refused> for rustls::Error {
    fn from(refused: Refused) -> Self {
        CertificateError::Other(OtherError(Arc::new(refused))).into()
    }
}

// === impl Case ===

impl Case<'_> {
    /// The failure that `error` stands for.
    pub(crate) fn explain(&self, error: &Error) -> TransportFailure {
        match error {
            Error::CertNotValidForName(_) => TransportFailure::CertificateNameMismatch(self.name_fault()),
            Error::CertNotValidYet { .. } => TransportFailure::CertificateExpired(DateFault::NotYet),
            Error::CertExpired { .. } | Error::InvalidCertValidity => {
                TransportFailure::CertificateExpired(DateFault::Ended(self.ended()))
            }
            error => TransportFailure::CertificateUntrusted(self.chain_fault(error)),
        }
    }

    fn chain_fault(&self, error: &Error) -> ChainFault {
        let Ok(server) = EndEntityCert::try_from(self.server) else {
            return form_fault(error);
        };
        let Some(chain) = Chain::of(self.server, self.sent) else {
            return ChainFault::Form;
        };
        match error {
            Error::CaUsedAsEndEntity if chain.server.is_self_issued() => self.self_signed(&chain),
            Error::CaUsedAsEndEntity => ChainFault::ServerIsAuthority,
            Error::UnknownIssuer => self.end_of(&chain),
            Error::NameConstraintViolation => self.constraint_fault(&chain),
            error => definite(error).unwrap_or_else(|| self.second_look(&server, &chain)),
        }
    }

    /// Verifies the chain again for each authority with the issuer's name, one at a time. It leaves out the
    /// certificates that WebPKI cannot read.
    fn second_look(&self, server: &EndEntityCert<'_>, chain: &Chain<'_>) -> ChainFault {
        let errors: Vec<Error> = self
            .suspects(chain)
            .filter_map(|anchor| self.verify(server, chain, anchor).err())
            .collect();
        if let Some(fault) = errors.iter().find_map(definite) {
            fault
        } else if errors.contains(&Error::NameConstraintViolation) {
            self.constraint_fault(chain)
        } else if !errors.iter().any(is_of_signature) {
            self.end_of(chain)
        } else if self.has_weak_issuer(chain) {
            ChainFault::WeakKey
        } else if self.is_by_another_intermediate(server, chain) {
            ChainFault::OtherKey(Member::Intermediate)
        } else {
            ChainFault::OtherKey(Member::Authority)
        }
    }

    fn verify(
        &self,
        server: &EndEntityCert<'_>,
        chain: &Chain<'_>,
        anchor: &TrustAnchor<'_>,
    ) -> Result<(), Error> {
        server
            .verify_for_usage(
                self.algorithms.all,
                slice::from_ref(anchor),
                &chain.sent,
                self.now,
                KeyUsage::server_auth(),
                None,
                None,
            )
            .map(|_| ())
    }

    /// The trusted authorities with the name of an issuer in the chain.
    fn suspects(&self, chain: &Chain<'_>) -> impl Iterator<Item = &TrustAnchor<'static>> {
        self.anchors
            .iter()
            .filter(|anchor| chain.names_issuer(&anchor.subject))
            .take(MAX_SUSPECTS)
    }

    /// Why the chain ends without a trusted authority.
    fn end_of(&self, chain: &Chain<'_>) -> ChainFault {
        if chain.server.is_self_issued() {
            return self.self_signed(chain);
        }
        if let Some(error) = &chain.unread {
            return form_fault(error);
        }
        // WebPKI did not find it among the authorities, so it is no authority.
        let is_no_authority = |held: &CertificateDer<'_>| {
            Link::read(held).is_some_and(|held| chain.names_issuer(held.subject()))
        };
        if self.held.iter().any(is_no_authority) {
            return ChainFault::Authority;
        }
        if self
            .anchors
            .iter()
            .any(|anchor| chain.names_issuer_in_words(&anchor.subject))
        {
            return ChainFault::OtherEncoding;
        }
        if chain.issuers.is_empty() {
            ChainFault::Incomplete(self.roots)
        } else {
            ChainFault::UnknownIssuer(self.roots)
        }
    }

    fn self_signed(&self, chain: &Chain<'_>) -> ChainFault {
        let is_for_others = chain.server.names().is_some()
            && EndEntityCert::try_from(self.server)
                .is_ok_and(|server| server.verify_is_valid_for_subject_name(self.name).is_err());
        if is_for_others {
            ChainFault::DefaultCertificate
        } else {
            ChainFault::SelfSigned(self.roots)
        }
    }

    /// Decides whether a name constraint excludes a name, or has a form that WebPKI refuses without a check.
    fn constraint_fault(&self, chain: &Chain<'_>) -> ChainFault {
        let of_anchors = self.suspects(chain).filter_map(|anchor| {
            let constraints = sequence(anchor.name_constraints.as_deref()?);
            Some(chain.has_unknown_form(&constraints))
        });
        let of_issuers = chain.issuers.iter().filter_map(|issuer| {
            let constraints = issuer
                .read
                .get_extension_unique(&OID_X509_EXT_NAME_CONSTRAINTS)
                .ok()??;
            Some(chain.has_unknown_form(constraints.value))
        });
        if of_issuers.chain(of_anchors).any(|unknown| unknown) {
            ChainFault::NameConstraintForm
        } else {
            ChainFault::NameConstraint
        }
    }

    fn has_weak_issuer(&self, chain: &Chain<'_>) -> bool {
        let of_issuers = chain
            .issuers
            .iter()
            .any(|issuer| is_weak(issuer.read.public_key().raw, self.algorithms));
        of_issuers
            || self
                .suspects(chain)
                .any(|anchor| is_weak(&spki_for_anchor(anchor), self.algorithms))
    }

    /// Whether intermediate certificates have the issuer's name, but none of them signed the server's certificate.
    fn is_by_another_intermediate(&self, server: &EndEntityCert<'_>, chain: &Chain<'_>) -> bool {
        let of_the_name = |anchor: &TrustAnchor<'_>| anchor.subject.as_ref() == server.issuer();
        let mut sent = chain
            .sent
            .iter()
            .filter_map(|sent| anchor_from_trusted_cert(sent).ok())
            .filter(of_the_name)
            .take(MAX_SUSPECTS)
            .peekable();
        sent.peek().is_some()
            && !self.anchors.iter().any(of_the_name)
            && sent.all(|anchor| {
                self.verify(server, chain, &anchor)
                    .is_err_and(|error| is_of_signature(&error))
            })
    }

    fn name_fault(&self) -> NameFault {
        let server = Link::read(self.server);
        let Some(names) = server.as_ref().and_then(Link::names) else {
            return NameFault::Unnamed;
        };
        let asked = match self.name {
            ServerName::IpAddress(address) => Some(IpAddr::from(*address)),
            _ => None,
        };
        let is_asked = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => asked.is_some() && name.parse().ok() == asked,
            _ => false,
        };
        if names.iter().any(is_asked) {
            NameFault::AddressAsName
        } else {
            NameFault::Other
        }
    }

    /// The certificate that has ended. WebPKI checks the server's certificate first.
    fn ended(&self) -> Member {
        let now = i64::try_from(self.now.as_secs()).unwrap_or(i64::MAX);
        let has_ended = |certificate: &CertificateDer<'_>| {
            read_validity(certificate)
                .is_some_and(|validity| validity.not_after < now.max(validity.not_before))
        };
        if has_ended(self.server) {
            Member::Server
        } else if Chain::of(self.server, self.sent)
            .is_some_and(|chain| chain.issuers.iter().any(|issuer| has_ended(issuer.der)))
        {
            Member::Intermediate
        } else {
            Member::Authority
        }
    }
}

// === impl Chain ===

impl<'a> Chain<'a> {
    fn of(server: &'a CertificateDer<'a>, others: &'a [CertificateDer<'a>]) -> Option<Self> {
        let mut chain = Self {
            server: Link::read(server)?,
            issuers: Vec::new(),
            unread: None,
            sent: Vec::new(),
        };
        let (mut readable, mut unreadable) = (Vec::new(), Vec::new());
        for other in others.iter().take(MAX_SENT) {
            match (Link::read(other), EndEntityCert::try_from(other)) {
                (None, _) => chain.unread = Some(Error::BadDer),
                (Some(link), Err(error)) => unreadable.push((link, error)),
                (Some(link), Ok(_)) => {
                    chain.sent.push(CertificateDer::from(other.as_ref()));
                    readable.push(link);
                }
            }
        }
        while let Some(next) = readable
            .iter()
            .position(|link| chain.names_issuer(link.subject()))
        {
            chain.issuers.push(readable.swap_remove(next));
        }
        if let Some((_, error)) = unreadable
            .into_iter()
            .find(|(link, _)| chain.names_issuer(link.subject()))
        {
            chain.unread = Some(error);
        }
        Some(chain)
    }

    fn links(&self) -> impl Iterator<Item = &Link<'a>> {
        std::iter::once(&self.server).chain(&self.issuers)
    }

    /// Whether a certificate of the chain names this subject as its issuer.
    fn names_issuer(&self, subject: &[u8]) -> bool {
        self.links().any(|link| content(link.read.issuer()) == subject)
    }

    /// The same, but the encoding of the names may differ.
    fn names_issuer_in_words(&self, subject: &[u8]) -> bool {
        let subject = sequence(subject);
        let words = X509Name::from_der(&subject)
            .ok()
            .and_then(|(_, name)| in_words(&name));
        words.is_some() && self.links().any(|link| in_words(link.read.issuer()) == words)
    }

    /// Whether constraints have a form that WebPKI refuses without a check. It always refuses directoryName. It refuses
    /// other forms if a certificate has a name of that form.
    fn has_unknown_form(&self, constraints: &[u8]) -> bool {
        let Ok((_, constraints)) = NameConstraints::from_der(constraints) else {
            return true;
        };
        let is_named = |form: &GeneralName<'_>| {
            self.links()
                .filter_map(Link::names)
                .flatten()
                .any(|name| discriminant(&name) == discriminant(form))
        };
        [constraints.permitted_subtrees, constraints.excluded_subtrees]
            .into_iter()
            .flatten()
            .flatten()
            .any(|subtree| match &subtree.base {
                GeneralName::DNSName(_) | GeneralName::IPAddress(_) => false,
                GeneralName::DirectoryName(_) => true,
                other => is_named(other),
            })
    }
}

// === impl Link ===

impl<'a> Link<'a> {
    fn read(der: &'a CertificateDer<'a>) -> Option<Self> {
        let (_, read) = X509Certificate::from_der(der).ok()?;
        Some(Self { der, read })
    }

    fn subject(&self) -> &[u8] {
        content(self.read.subject())
    }

    fn is_self_issued(&self) -> bool {
        self.read.subject().as_raw() == self.read.issuer().as_raw()
    }

    /// The subject alternative names. `None` if there are none.
    fn names(&self) -> Option<Vec<GeneralName<'_>>> {
        let names = self.read.subject_alternative_name().ok()??;
        Some(names.value.general_names.clone()).filter(|names| !names.is_empty())
    }
}

/// Whether the certificate's own key has an algorithm or a length that is not accepted.
pub(crate) fn has_weak_key(certificate: &CertificateDer<'_>, algorithms: &WebPkiSupportedAlgorithms) -> bool {
    Link::read(certificate).is_some_and(|link| is_weak(link.read.public_key().raw, algorithms))
}

/// Whether a key has an algorithm or a length that is not accepted.
fn is_weak(key: &[u8], algorithms: &WebPkiSupportedAlgorithms) -> bool {
    let Some(algorithm) = algorithm_of(key) else {
        return true;
    };
    let is_supported =
        |supported: &&dyn SignatureVerificationAlgorithm| supported.public_key_alg_id().as_ref() == algorithm;
    if !algorithms.all.iter().any(is_supported) {
        return true;
    }
    match SubjectPublicKeyInfo::from_der(key).map(|(_, key)| key.parsed().map(|key| rsa_bits(&key))) {
        Ok(Ok(Some(bits))) => !ACCEPTED_RSA_BITS.contains(&bits),
        Ok(Ok(None)) => false,
        Ok(Err(_)) | Err(_) => true,
    }
}

fn rsa_bits(key: &PublicKey<'_>) -> Option<usize> {
    match key {
        PublicKey::RSA(key) => Some(key.key_size()),
        _ => None,
    }
}

/// The content of the `AlgorithmIdentifier` of a public key.
fn algorithm_of(key: &[u8]) -> Option<&[u8]> {
    let (_, key) = Any::from_der(key).ok()?;
    let (_, algorithm) = Any::from_der(key.data).ok()?;
    Some(algorithm.data)
}

/// The fault that an error means on any path. `None` if it depends on the path.
fn definite(error: &Error) -> Option<ChainFault> {
    Some(match error {
        Error::PathLenConstraintViolated | Error::EndEntityUsedAsCa => ChainFault::Authority,
        Error::EmptyEkuExtension | Error::RequiredEkuNotFoundContext(_) => ChainFault::Usage,
        Error::MalformedNameConstraint | Error::InvalidNetworkMaskConstraint => {
            ChainFault::NameConstraintForm
        }
        Error::UnsupportedSignatureAlgorithmContext(_) => ChainFault::WeakSignature,
        Error::MaximumPathDepthExceeded
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumSignatureChecksExceeded
        | Error::MaximumNameConstraintComparisonsExceeded => ChainFault::TooLong,
        Error::CertRevoked | Error::CertDistrusted => ChainFault::Revoked,
        _ => return None,
    })
}

/// The fault of a certificate that WebPKI cannot read.
fn form_fault(error: &Error) -> ChainFault {
    match error {
        Error::UnsupportedCertVersion => ChainFault::Version,
        Error::UnsupportedCriticalExtension => ChainFault::Extension,
        _ => ChainFault::Form,
    }
}

fn is_of_signature(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidSignatureForPublicKey | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
    )
}

/// A name as WebPKI compares it: without its DER header.
fn content<'a>(name: &X509Name<'a>) -> &'a [u8] {
    Any::from_der(name.as_raw()).map_or(&[], |(_, name)| name.data)
}

/// A name as people compare it. `None` if it has no text.
fn in_words(name: &X509Name<'_>) -> Option<String> {
    let mut words = String::new();
    for attribute in name.iter_attributes() {
        let value = attribute.as_str().ok()?.to_lowercase();
        words.push_str(&attribute.attr_type().to_id_string());
        for word in value.split_whitespace() {
            words.push(' ');
            words.push_str(word);
        }
        words.push('\n');
    }
    Some(words).filter(|words| !words.is_empty())
}

/// A DER sequence with this content.
fn sequence(content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = length.iter().copied().skip_while(|byte| *byte == 0);
    let mut der = vec![0x30];
    if content.len() < 0x80 {
        der.extend(length);
        // An empty sequence also has a length byte.
        der.resize(2, 0);
    } else {
        let length: Vec<u8> = length.collect();
        der.push(0x80 | u8::try_from(length.len()).unwrap_or_default());
        der.extend(length);
    }
    der.extend_from_slice(content);
    der
}
