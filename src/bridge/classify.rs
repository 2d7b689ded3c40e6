//! From the client's errors to what they mean.
//!
//! reqwest, hyper, rustls and the operating system wrap each other's errors; the cause is somewhere down the chain of
//! sources. The first link that says something definite decides.

use std::{
    error::Error,
    io::{self, ErrorKind},
};

use rustls::{
    AlertDescription, CertificateError, Error as TlsError, InvalidMessage, OtherError, PeerIncompatible,
    PeerMisbehaved,
};

use super::{
    refusal::Refused,
    resolver::ResolveError,
    stages::{Layer, connected_until},
};
use crate::domain::evidence::{DnsFault, HttpFault, Phase, ProxyFault, TlsFault, TransportFailure};

/// Says why no answer arrived. `by_plain_proxy`: the request goes to the administrator's proxy without a tunnel, so that
/// nothing else is connected to.
pub(super) fn classify(error: &reqwest::Error, by_plain_proxy: bool) -> TransportFailure {
    let connecting = error.is_connect();
    let failure = links(error)
        .find_map(|link| definite(link, connecting))
        .unwrap_or_else(|| {
            if error.is_timeout() {
                TransportFailure::TimedOut(phase(connecting))
            } else {
                TransportFailure::Connect
            }
        });
    let is_of_the_way = matches!(failure, TransportFailure::Dns(_) | TransportFailure::Connect);
    if connecting && by_plain_proxy && is_of_the_way {
        TransportFailure::Proxy(ProxyFault::Unreachable)
    } else {
        failure
    }
}

/// Whether the time ran out.
pub(super) fn is_timeout(error: &reqwest::Error) -> bool {
    error.is_timeout() || links(error).any(|link| io_kind(link) == Some(ErrorKind::TimedOut))
}

/// Whether the peer closed the connection without the confirmation that TLS asks for. Many old servers do.
pub(super) fn is_unconfirmed_end(error: &reqwest::Error) -> bool {
    links(error).any(|link| io_kind(link) == Some(ErrorKind::UnexpectedEof))
}

/// An error and all those below it.
fn links(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let first: &(dyn Error + 'static) = error;
    std::iter::successors(Some(first), |link| next(*link))
}

/// The error below this one. What an `io::Error` wraps is its inner error, not its source.
fn next<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn io_kind(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    error.downcast_ref::<io::Error>().map(io::Error::kind)
}

const fn phase(connecting: bool) -> Phase {
    if connecting {
        Phase::Connection
    } else {
        Phase::Answer
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the kinds of I/O errors are not exhaustive"
)]
fn definite(error: &(dyn Error + 'static), connecting: bool) -> Option<TransportFailure> {
    if let Some(error) = error.downcast_ref::<ResolveError>() {
        return Some(match error {
            ResolveError::NotFound => TransportFailure::Dns(DnsFault::NoAddress),
            ResolveError::TimedOut => TransportFailure::Dns(DnsFault::TimedOut),
            ResolveError::Failed => TransportFailure::Dns(DnsFault::ServerError),
            ResolveError::Denied(denial) => TransportFailure::AddressDenied(*denial),
        });
    }
    if let Some(error) = error.downcast_ref::<TlsError>() {
        return Some(tls(error));
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        if error.is_parse_too_large() {
            return Some(TransportFailure::Http(HttpFault::Head));
        }
        return (error.is_parse() || error.is_parse_status())
            .then_some(TransportFailure::Http(HttpFault::Other));
    }
    if connecting && let Some(fault) = tunnel(error) {
        return Some(TransportFailure::Proxy(fault));
    }
    let io = error.downcast_ref::<io::Error>()?;
    // The inner error knows more, where there is one of ours or of rustls.
    if io
        .get_ref()
        .is_some_and(|inner| inner.is::<TlsError>() || inner.is::<ResolveError>())
    {
        return None;
    }
    let is_handshake = connecting && connected_until() == Some(Layer::Address);
    match io.kind() {
        ErrorKind::TimedOut => Some(TransportFailure::TimedOut(phase(connecting))),
        // The peer went away: in the middle of the handshake, or after it.
        ErrorKind::UnexpectedEof if connecting => Some(TransportFailure::Tls(TlsFault::Closed)),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe if is_handshake => {
            Some(TransportFailure::Tls(TlsFault::Closed))
        }
        ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable => Some(TransportFailure::Connect),
        _ => None,
    }
}

/// Why a proxy did not open a tunnel. The type of this error is private to hyper-util 0.1, so it is known by its text;
/// `tests/bridge/proxy.rs` shows where that changes.
fn tunnel(error: &(dyn Error + 'static)) -> Option<ProxyFault> {
    let text = error.to_string();
    Some(match text.strip_prefix("tunnel error: ")? {
        "proxy authorization required" => ProxyFault::Login,
        "failed to create underlying connection" => ProxyFault::Unreachable,
        _ => ProxyFault::Tunnel,
    })
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "rustls may add causes; the last arm of each kind says what they have in common"
)]
fn tls(error: &TlsError) -> TransportFailure {
    TransportFailure::Tls(match error {
        TlsError::InvalidCertificate(CertificateError::Other(OtherError(refused))) => {
            match refused.downcast_ref::<Refused>() {
                Some(Refused(failure)) => return *failure,
                None => TlsFault::Other,
            }
        }
        TlsError::AlertReceived(alert) => match alert {
            AlertDescription::ProtocolVersion => TlsFault::Version,
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
                TlsFault::Parameters
            }
            AlertDescription::CertificateRequired => TlsFault::ClientCertificate,
            AlertDescription::UnrecognisedName => TlsFault::UnknownName,
            AlertDescription::InternalError => TlsFault::Internal,
            _ => TlsFault::Other,
        },
        TlsError::PeerIncompatible(what) => match what {
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => TlsFault::Version,
            PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => TlsFault::ClientCertificate,
            _ => TlsFault::Parameters,
        },
        TlsError::PeerMisbehaved(
            PeerMisbehaved::SelectedUnofferedCipherSuite
            | PeerMisbehaved::SelectedUnofferedKxGroup
            | PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme,
        ) => TlsFault::Parameters,
        TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => TlsFault::NotTls,
        _ => TlsFault::Other,
    })
}
