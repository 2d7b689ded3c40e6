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
    certificate::{Validity, read_certificate, read_validity, timestamp},
    refusal::{Case, Refused, has_weak_key},
    stages::{note_chain, note_request_for_a_certificate},
    trust::{Bundle, Terms, Trust},
};
use crate::domain::connection::evidence::{
    Certificate, ChainFault, Member, Roots, TlsFault, TransportFailure,
};

/// Believes whom a [`Trust`] names, and what leads to them.
pub(crate) struct ChainVerifier {
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
pub(crate) struct NoCertificate;

// === impl ChainVerifier ===

impl ChainVerifier {
    /// A verifier for this trust.
    pub(crate) fn new(trust: &Trust, system_roots: &Arc<RootCertStore>, provider: &CryptoProvider) -> Self {
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
        let path = if self.believed.holds(server) {
            read_validity(server)
                .ok_or(webpki::Error::BadDerTime)?
                .verify(now)?;
            None
        } else {
            Some(leaf.verify_for_usage(
                self.algorithms.all,
                self.believed.anchors(),
                sent,
                now,
                KeyUsage::server_auth(),
                None,
                Some(&|path| self.believed.verify_terms(path, now)),
            )?)
        };
        leaf.verify_is_valid_for_subject_name(name)?;
        let certificate = read_certificate(server);
        Ok(match path {
            Some(path) => certificate.map(|certificate| self.with_end_of(certificate, &path)),
            None => certificate,
        })
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
        if !matches!(error, Error::InvalidCertificate(_)) {
            return error;
        }
        let failure = if has_weak_key(server, &self.algorithms) {
            TransportFailure::CertificateUntrusted(ChainFault::WeakKey)
        } else {
            // The peer does not prove that the certificate is its own: that is no fault of the certificate.
            TransportFailure::Tls(TlsFault::Other)
        };
        Refused(failure).into()
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

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::RngSeed};
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    use rustls::crypto::aws_lc_rs;

    use super::*;

    fn authority(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    /// A verifier, and a chain that it accepts for `localhost`.
    fn chain() -> (ChainVerifier, Vec<CertificateDer<'static>>) {
        let key = || KeyPair::generate().unwrap();
        let root = CertifiedIssuer::self_signed(authority("root"), key()).unwrap();
        let middle = CertifiedIssuer::signed_by(authority("middle"), key(), &root).unwrap();
        let server = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let server = server.signed_by(&key(), &middle).unwrap();
        let trust = Trust::Only(Bundle::read(root.pem().as_bytes()).unwrap());
        let roots = Arc::new(RootCertStore::empty());
        let verifier = ChainVerifier::new(&trust, &roots, &aws_lc_rs::default_provider());
        (verifier, vec![server.der().clone(), middle.der().clone()])
    }

    fn accepts(verifier: &ChainVerifier, chain: &[CertificateDer<'_>]) -> bool {
        let name = ServerName::try_from("localhost").unwrap();
        verifier
            .verify_server_cert(&chain[0], &chain[1..], &name, &[], UnixTime::now())
            .is_ok()
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(testbed::seed()),
            ..ProptestConfig::default()
        })]

        /// Each byte of both certificates is signed, a part of a signature, or a length around them.
        #[test]
        fn no_changed_chain_is_accepted(place in any::<prop::sample::Index>(), change in 1..=u8::MAX, first: bool) {
            thread_local!(static CHAIN: (ChainVerifier, Vec<CertificateDer<'static>>) = chain());
            CHAIN.with(|(verifier, chain)| {
                prop_assert!(accepts(verifier, chain));
                let mut changed = chain.clone();
                let certificate = &mut changed[usize::from(!first)];
                let mut bytes = certificate.to_vec();
                let place = place.index(bytes.len());
                bytes[place] ^= change;
                *certificate = CertificateDer::from(bytes);
                prop_assert!(!accepts(verifier, &changed), "byte {place}");
                Ok(())
            })?;
        }

        #[test]
        fn any_chain_can_be_explained(bytes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 1..4)) {
            thread_local!(static VERIFIER: ChainVerifier = chain().0);
            let chain: Vec<_> = bytes.into_iter().map(CertificateDer::from).collect();
            prop_assert!(!VERIFIER.with(|verifier| accepts(verifier, &chain)));
        }
    }
}
