//! Parsers for the few parts of a certificate that the operator reads. They take any bytes and return `None` if they do
//! not understand them.

use k8s_openapi::jiff::Timestamp;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::domain::connection::evidence::{Certificate, Member};

/// The dates of a certificate, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

/// Reads the end and the issuer of a server's certificate. The caller has verified it.
#[must_use]
pub fn read_certificate(der: &[u8]) -> Option<Certificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let issuer = certificate
        .issuer()
        .iter_common_name()
        .chain(certificate.issuer().iter_organization())
        .find_map(|name| name.as_str().ok())
        .map(clean_name)
        .filter(|name| !name.is_empty());
    Some(Certificate {
        not_after: timestamp(certificate.validity().not_after.timestamp())?,
        ends: Member::Server,
        issuer,
    })
}

pub(crate) fn read_validity(der: &[u8]) -> Option<Validity> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    Some(Validity {
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
    })
}

/// Converts a date of a certificate. The date for "no end" (RFC 5280, section 4.1.2.5) is some hours after the largest
/// timestamp, and becomes that one.
pub(crate) fn timestamp(seconds: i64) -> Option<Timestamp> {
    Timestamp::from_second(seconds.min(Timestamp::MAX.as_second())).ok()
}

/// Removes every character from an issuer's name that a terminal or a web page could interpret.
fn clean_name(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '.' | ',' | '-' | '\'' | '&' | '(' | ')'))
        .take(64)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::RngSeed};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(testbed::seed()),
            ..ProptestConfig::default()
        })]

        #[test]
        fn the_parsers_survive_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = read_certificate(&bytes);
            let _ = read_validity(&bytes);
        }
    }
}
