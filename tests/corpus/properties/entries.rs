//! Entries of Secrets and ConfigMaps: keys and certificate authorities.

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use scim_bridge_operator::{
    bridge::{
        key::{ApiKey, MAX_LENGTH},
        trust::{Bundle, MAX_BUNDLE, MAX_CERTIFICATES},
    },
    domain::evidence::{KeyFault, Obstacle},
};

/// The entry with the key.
pub(crate) fn api_key(value: &[u8]) {
    let fits =
        !value.is_empty() && value.len() <= MAX_LENGTH && value.iter().all(|b| (0x21..=0x7e).contains(b));
    match ApiKey::read(value.to_vec()) {
        Err(obstacle) => {
            let fault = if value.is_empty() {
                KeyFault::Empty
            } else if value.len() > MAX_LENGTH {
                KeyFault::TooLong
            } else if value.iter().any(u8::is_ascii_whitespace) {
                KeyFault::Blank
            } else {
                KeyFault::Character
            };
            assert_eq!(obstacle, Obstacle::ApiKeyMalformed(fault));
            assert!(!fits, "a key of visible characters is refused");
        }
        Ok(key) => {
            assert!(fits, "a key is 1 to 8,192 visible ASCII characters");
            assert_eq!(format!("{key:?} {key:#?}"), "ApiKey(..) ApiKey(..)");
            let header = key.authorization().expect("a key fits into a header");
            assert_eq!(header.as_bytes(), [b"Bearer ", value].concat());
            assert!(header.is_sensitive(), "libraries log headers that are not marked");
            assert_eq!(format!("{header:?}"), "Sensitive");
        }
    }
}

/// The entry with the certificate authorities.
pub(crate) fn pem_bundle(pem: &[u8]) {
    let Ok(bundle) = Bundle::read(pem) else {
        return;
    };
    assert!(pem.len() <= MAX_BUNDLE);
    let certificates = bundle.certificates();
    assert!(
        (1..=MAX_CERTIFICATES).contains(&certificates.len()),
        "{} certificates",
        certificates.len()
    );
    // Another reader of PEM finds no more.
    for certificate in CertificateDer::pem_slice_iter(pem).flatten() {
        assert!(certificates.contains(&certificate), "a certificate was dropped");
    }
    assert!(
        format!("{bundle:?}").len() <= 64,
        "a log is no place for certificates"
    );
    let written: String = certificates
        .iter()
        .map(|certificate| write(certificate))
        .collect();
    assert_eq!(
        Bundle::read(written.as_bytes()).as_ref(),
        Ok(&bundle),
        "the same certificates, written otherwise"
    );
}

/// PEM, as RFC 7468 has it.
fn write(der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let bits = group
                .iter()
                .chain(&[0; 2])
                .take(3)
                .fold(0, |bits, byte| bits << 8 | usize::from(*byte));
            for place in 0..4 {
                text.push(if place <= group.len() {
                    char::from(ALPHABET[bits >> (18 - 6 * place) & 63])
                } else {
                    '='
                });
            }
        }
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}
