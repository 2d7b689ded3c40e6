//! Verifies the certificates of a peer, and records the earliest end of the chain for the probe.
//!
//! WebPKI verifies the chain. If a connection has its own CA bundle, two rules are added:
//! - A server's certificate that is in the bundle, byte for byte, needs no issuer. Otherwise nobody could trust a
//!   self-signed certificate of `openssl req -x509`: it is marked as an authority, and WebPKI accepts no authority as a
//!   server. Its name, its dates and the proof of its key are still verified.
//! - An authority of the bundle is trusted until its end, with no more intermediate authorities than its certificate
//!   allows. OpenSSL and Go do the same. WebPKI checks neither for a trusted authority. That is right for the system's
//!   roots, because their maintainers remove the old ones.

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
    stages::{record_chain, record_client_certificate_request},
    trust::{AuthorityLimits, Bundle, Trust},
};
use crate::domain::connection::evidence::{
    Certificate, ChainFault, Member, Roots, TlsFault, TransportFailure,
};

/// Accepts a chain that leads to a root of a [`Trust`].
pub(crate) struct ChainVerifier {
    trusted: TrustedCertificates,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The certificates of a [`Trust`], prepared for WebPKI.
enum TrustedCertificates {
    System(Arc<RootCertStore>),
    Given {
        bundle: Bundle,
        /// The authorities of the bundle.
        anchors: Vec<TrustAnchor<'static>>,
        /// Their limits, in the same order.
        limits: Vec<AuthorityLimits>,
    },
}

/// Sends no client certificate, and records that the server requested one.
#[derive(Debug)]
pub(crate) struct NoCertificate;

// === impl ChainVerifier ===

impl ChainVerifier {
    pub(crate) fn new(trust: &Trust, system_roots: &Arc<RootCertStore>, provider: &CryptoProvider) -> Self {
        Self {
            trusted: match trust {
                Trust::System => TrustedCertificates::System(Arc::clone(system_roots)),
                Trust::Only(bundle) => {
                    let (anchors, limits) = bundle.anchors().unzip();
                    TrustedCertificates::Given {
                        bundle: bundle.clone(),
                        anchors,
                        limits,
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
        let path = if self.trusted.given().contains(server) {
            read_validity(server)
                .ok_or(webpki::Error::BadDerTime)?
                .verify(now)?;
            None
        } else {
            Some(leaf.verify_for_usage(
                self.algorithms.all,
                self.trusted.anchors(),
                sent,
                now,
                KeyUsage::server_auth(),
                None,
                Some(&|path| self.trusted.verify_limits(path, now)),
            )?)
        };
        leaf.verify_is_valid_for_subject_name(name)?;
        let certificate = read_certificate(server);
        Ok(match path {
            Some(path) => certificate.map(|certificate| self.with_earliest_end(certificate, &path)),
            None => certificate,
        })
    }

    /// Sets the earliest end of all certificates of this path.
    fn with_earliest_end(&self, certificate: Certificate, path: &VerifiedPath<'_>) -> Certificate {
        let intermediates = path
            .intermediate_certificates()
            .filter_map(|intermediate| read_validity(&intermediate.der()))
            .map(|validity| (Member::Intermediate, validity.not_after));
        let authority = self.trusted.end_of(path.anchor());
        intermediates
            .chain(authority.map(|end| (Member::Authority, end)))
            .filter_map(|(member, end)| Some((member, timestamp(end)?)))
            .fold(certificate, |certificate, (member, end)| {
                certificate.ending(member, end)
            })
    }

    /// Explains an invalid signature of a handshake.
    fn explain_signature(&self, server: &CertificateDer<'_>, error: Error) -> Error {
        if !matches!(error, Error::InvalidCertificate(_)) {
            return error;
        }
        let failure = if has_weak_key(server, &self.algorithms) {
            TransportFailure::CertificateUntrusted(ChainFault::WeakKey)
        } else {
            // The peer does not prove that it has the key of the certificate. The certificate itself has no fault.
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
                record_chain(end_entity, certificate);
                Ok(ServerCertVerified::assertion())
            }
            Err(error) => {
                let case = Case {
                    server: end_entity,
                    sent: intermediates,
                    name: server_name,
                    anchors: self.trusted.anchors(),
                    held: self.trusted.given(),
                    roots: self.trusted.roots(),
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
            .map_err(|error| self.explain_signature(certificate, error))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
            .map_err(|error| self.explain_signature(certificate, error))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for ChainVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainVerifier({:?})", self.trusted.roots())
    }
}

// === impl TrustedCertificates ===

impl TrustedCertificates {
    fn anchors(&self) -> &[TrustAnchor<'static>] {
        match self {
            Self::System(roots) => &roots.roots,
            Self::Given { anchors, .. } => anchors,
        }
    }

    /// The certificates of the connection's bundle, authorities or not.
    fn given(&self) -> &[CertificateDer<'static>] {
        match self {
            Self::System(_) => &[],
            Self::Given { bundle, .. } => bundle.certificates(),
        }
    }

    fn roots(&self) -> Roots {
        match self {
            Self::System(_) => Roots::System,
            Self::Given { .. } => Roots::Given,
        }
    }

    /// The limits of this authority. The bundle may have several certificates of one authority, renewed with the same
    /// key.
    fn limits_of(&self, anchor: &TrustAnchor<'_>) -> impl Iterator<Item = AuthorityLimits> {
        let (anchors, limits): (&[TrustAnchor<'static>], &[AuthorityLimits]) = match self {
            Self::System(_) => (&[], &[]),
            Self::Given { anchors, limits, .. } => (anchors, limits),
        };
        let of_the_same = anchors
            .iter()
            .zip(limits)
            .filter(move |(other, _)| *other == anchor);
        of_the_same.map(|(_, limits)| *limits)
    }

    fn end_of(&self, anchor: &TrustAnchor<'_>) -> Option<i64> {
        self.limits_of(anchor)
            .map(|limits| limits.validity.not_after)
            .max()
    }

    /// Verifies that a path keeps the limits of its authority. It is enough to keep those of one certificate. The
    /// system's roots have none.
    fn verify_limits(&self, path: &VerifiedPath<'_>, now: UnixTime) -> Result<(), webpki::Error> {
        self.limits_of(path.anchor())
            .map(|limits| limits.verify(path, now))
            .reduce(Result::or)
            .unwrap_or(Ok(()))
    }
}

// === impl AuthorityLimits ===

impl AuthorityLimits {
    fn verify(self, path: &VerifiedPath<'_>, now: UnixTime) -> Result<(), webpki::Error> {
        self.validity.verify(now)?;
        let intermediates = path.intermediate_certificates().count();
        match self.max_intermediates {
            Some(max) if usize::try_from(max).is_ok_and(|max| intermediates > max) => {
                Err(webpki::Error::PathLenConstraintViolated)
            }
            Some(_) | None => Ok(()),
        }
    }
}

// === impl NoCertificate ===

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        record_client_certificate_request();
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

    /// A verifier, and a chain for `localhost` that it accepts.
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

        /// Each byte of both certificates is signed, or part of a signature, or a length around these.
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
