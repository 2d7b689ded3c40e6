//! Verifying the certificates of a peer.
//!
//! As WebPKI does it, with two additions where a connection names its authorities:
//! - A certificate that stands in the bundle itself, byte for byte, needs nobody to vouch for it. Without that a
//!   self-signed certificate as `openssl req -x509` makes it could not be trusted at all: it is marked as an authority,
//!   and WebPKI takes no authority for a server. Its name, its dates and the proof that the peer holds its key are
//!   checked all the same.
//! - An authority of the bundle is trusted on the terms of its certificate, as OpenSSL and Go have it: until its end, and
//!   with no more authorities below it than it allows. WebPKI reads neither of who is trusted. For the operator's own
//!   roots that is right: who makes that bundle takes the old ones out.
//!
//! What the verification used is noted for the probe: the chain lasts as long as the first of these certificates.

use std::{fmt, sync::Arc, time::Duration};

use rustls::{
    DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime},
    sign::CertifiedKey,
};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::{
    documents::{Validity, read_certificate, read_validity, timestamp},
    refusal::{Case, Refused, has_weak_key},
    stages::{note_chain, note_request_for_a_certificate},
    trust::{Bundle, Terms, Trust},
};
use crate::domain::evidence::{Certificate, ChainFault, Member, Roots, TlsFault, TransportFailure};

/// Believes whom a [`Trust`] names, and what leads to them.
pub(super) struct ChainVerifier {
    believed: Believed,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Whom to believe.
enum Believed {
    System(Arc<RootCertStore>),
    Given {
        bundle: Bundle,
        /// Those of the bundle that may issue certificates.
        anchors: Vec<TrustAnchor<'static>>,
        /// Their terms, in the same order.
        terms: Vec<Terms>,
    },
}

/// Has no certificate to show, and notes that one was asked for.
#[derive(Debug)]
pub(super) struct NoCertificate;

// === impl ChainVerifier ===

impl ChainVerifier {
    /// A verifier for this trust.
    pub(super) fn new(trust: &Trust, system_roots: &Arc<RootCertStore>, provider: &CryptoProvider) -> Self {
        Self {
            believed: match trust {
                Trust::System => Believed::System(Arc::clone(system_roots)),
                Trust::Only(bundle) => {
                    let (anchors, terms) = bundle.anchors().unzip();
                    Believed::Given {
                        bundle: bundle.clone(),
                        anchors,
                        terms,
                    }
                }
            },
            algorithms: provider.signature_verification_algorithms,
        }
    }

    fn verify(
        &self,
        server: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<Option<Certificate>, webpki::Error> {
        let leaf = EndEntityCert::try_from(server)?;
        let mut certificate = read_certificate(server);
        if self.believed.holds(server) {
            read_validity(server)
                .ok_or(webpki::Error::BadDerTime)?
                .verify(now)?;
        } else {
            let path = leaf.verify_for_usage(
                self.algorithms.all,
                self.believed.anchors(),
                sent,
                now,
                KeyUsage::server_auth(),
                None,
                Some(&|path| self.believed.verify_terms(path, now)),
            )?;
            certificate = certificate.map(|certificate| self.with_end_of(certificate, &path));
        }
        leaf.verify_is_valid_for_subject_name(name)?;
        Ok(certificate)
    }

    /// The same with the earliest end of this path.
    fn with_end_of(&self, certificate: Certificate, path: &VerifiedPath<'_>) -> Certificate {
        let intermediates = path
            .intermediate_certificates()
            .filter_map(|intermediate| read_validity(&intermediate.der()))
            .map(|validity| (Member::Intermediate, validity.not_after));
        let authority = self.believed.end_of(path.anchor());
        intermediates
            .chain(authority.map(|end| (Member::Authority, end)))
            .filter_map(|(member, end)| Some((member, timestamp(end)?)))
            .fold(certificate, |certificate, (member, end)| {
                certificate.ending(member, end)
            })
    }

    /// What a handshake's signature that does not verify says of the certificate.
    fn unproven(&self, server: &CertificateDer<'_>, error: Error) -> Error {
        match error {
            Error::InvalidCertificate(_) if has_weak_key(server, &self.algorithms) => {
                Refused(TransportFailure::CertificateUntrusted(ChainFault::WeakKey)).into()
            }
            // The peer does not prove that the certificate is its own: that is no fault of the certificate.
            Error::InvalidCertificate(_) => Refused(TransportFailure::Tls(TlsFault::Other)).into(),
            error => error,
        }
    }
}

impl ServerCertVerifier for ChainVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.verify(end_entity, intermediates, server_name, now) {
            Ok(certificate) => {
                note_chain(end_entity, certificate);
                Ok(ServerCertVerified::assertion())
            }
            Err(error) => {
                let case = Case {
                    server: end_entity,
                    sent: intermediates,
                    name: server_name,
                    anchors: self.believed.anchors(),
                    held: self.believed.held(),
                    roots: self.believed.roots(),
                    algorithms: &self.algorithms,
                    now,
                };
                Err(Refused(case.explain(&error)).into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
            .map_err(|error| self.unproven(certificate, error))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
            .map_err(|error| self.unproven(certificate, error))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for ChainVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainVerifier({:?})", self.believed.roots())
    }
}

// === impl Believed ===

impl Believed {
    fn anchors(&self) -> &[TrustAnchor<'static>] {
        match self {
            Self::System(roots) => &roots.roots,
            Self::Given { anchors, .. } => anchors,
        }
    }

    /// The certificates that a connection gives, authorities or not.
    fn held(&self) -> &[CertificateDer<'static>] {
        match self {
            Self::System(_) => &[],
            Self::Given { bundle, .. } => bundle.certificates(),
        }
    }

    fn holds(&self, certificate: &CertificateDer<'_>) -> bool {
        self.held().iter().any(|held| held == certificate)
    }

    fn roots(&self) -> Roots {
        match self {
            Self::System(_) => Roots::System,
            Self::Given { .. } => Roots::Given,
        }
    }

    /// The terms of this authority: more than once, where its certificate was renewed with the same key.
    fn terms_of(&self, anchor: &TrustAnchor<'_>) -> impl Iterator<Item = Terms> {
        let (anchors, terms): (&[TrustAnchor<'static>], &[Terms]) = match self {
            Self::System(_) => (&[], &[]),
            Self::Given { anchors, terms, .. } => (anchors, terms),
        };
        let of_the_same = anchors.iter().zip(terms).filter(move |(held, _)| *held == anchor);
        of_the_same.map(|(_, terms)| *terms)
    }

    fn end_of(&self, anchor: &TrustAnchor<'_>) -> Option<i64> {
        self.terms_of(anchor).map(|terms| terms.validity.not_after).max()
    }

    /// Whether a path keeps to the terms of its authority, if these are known. Those of one certificate are enough.
    fn verify_terms(&self, path: &VerifiedPath<'_>, now: UnixTime) -> Result<(), webpki::Error> {
        self.terms_of(path.anchor())
            .map(|terms| terms.verify(path, now))
            .reduce(Result::or)
            .unwrap_or(Ok(()))
    }
}

// === impl Terms ===

impl Terms {
    fn verify(self, path: &VerifiedPath<'_>, now: UnixTime) -> Result<(), webpki::Error> {
        self.validity.verify(now)?;
        let below = path.intermediate_certificates().count();
        match self.max_below {
            Some(max) if usize::try_from(max).is_ok_and(|max| below > max) => {
                Err(webpki::Error::PathLenConstraintViolated)
            }
            Some(_) | None => Ok(()),
        }
    }
}

// === impl NoCertificate ===

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        note_request_for_a_certificate();
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

// === impl Validity ===

impl Validity {
    fn verify(self, now: UnixTime) -> Result<(), webpki::Error> {
        let date = |seconds: i64| {
            UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
        };
        let (not_before, not_after) = (date(self.not_before), date(self.not_after));
        if now < not_before {
            Err(webpki::Error::CertNotValidYet {
                time: now,
                not_before,
            })
        } else if now > not_after {
            Err(webpki::Error::CertExpired { time: now, not_after })
        } else {
            Ok(())
        }
    }
}
