//! From the client's errors to what they mean.
//!
//! reqwest, hyper, rustls and the operating system wrap each other's errors; the cause is somewhere down the chain of
//! sources. The first link that says something definite decides.

use std::{
    error::Error,
    io::{self, ErrorKind},
};

use rustls::{CertificateError, Error as TlsError};

use super::resolver::ResolveError;
use crate::domain::evidence::TransportFailure;

/// Tells why no answer arrived.
pub(super) fn classify(error: &reqwest::Error) -> TransportFailure {
    let mut link: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = link {
        if let Some(failure) = definite(current, error.is_connect()) {
            return failure;
        }
        link = next(current);
    }
    if error.is_timeout() {
        TransportFailure::TimedOut
    } else {
        TransportFailure::Connect
    }
}

/// The error below this one. What an `io::Error` wraps is its inner error, not its source.
fn next<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the kinds of I/O errors are not exhaustive"
)]
fn definite(error: &(dyn Error + 'static), connecting: bool) -> Option<TransportFailure> {
    if let Some(error) = error.downcast_ref::<ResolveError>() {
        return Some(match error {
            ResolveError::NotFound | ResolveError::TimedOut | ResolveError::Failed => TransportFailure::Dns,
            ResolveError::Denied => TransportFailure::AddressDenied,
        });
    }
    if let Some(error) = error.downcast_ref::<TlsError>() {
        return Some(tls(error));
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return (error.is_parse() || error.is_parse_status() || error.is_parse_too_large())
            .then_some(TransportFailure::Http);
    }
    let error = error.downcast_ref::<io::Error>()?;
    // The inner error knows more, where there is one of ours or of rustls.
    if error
        .get_ref()
        .is_some_and(|inner| inner.is::<TlsError>() || inner.is::<ResolveError>())
    {
        return None;
    }
    match error.kind() {
        ErrorKind::TimedOut => Some(TransportFailure::TimedOut),
        // The peer went away: in the middle of the handshake, or after it.
        ErrorKind::UnexpectedEof if connecting => Some(TransportFailure::Tls),
        ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable => Some(TransportFailure::Connect),
        _ => None,
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "rustls may add causes; all say that trust was not reached"
)]
fn tls(error: &TlsError) -> TransportFailure {
    let TlsError::InvalidCertificate(certificate) = error else {
        return TransportFailure::Tls;
    };
    match certificate {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TransportFailure::CertificateExpired,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TransportFailure::CertificateNameMismatch
        }
        _ => TransportFailure::CertificateUntrusted,
    }
}
