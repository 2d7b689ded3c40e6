//! How far a probe has come, told while it runs.
//!
//! Look-up, connect and handshake happen inside of the HTTP client, in the task of the request that needs them. What
//! takes part in them finds the probe by that task.

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustls::{
    NamedGroup,
    client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue},
    pki_types::{CertificateDer, ServerName},
};
use tokio::{task_local, time::Instant};

use super::race::Attempt;
use crate::{
    api::vocabulary::Layer,
    domain::connection::evidence::{Certificate, Exchange},
};

/// A layer that a probe has behind it, with what is known there.
#[derive(Clone, Copy, Debug)]
pub enum Stage<'a> {
    /// The name resolved to these addresses, which the policy allows.
    Resolved(&'a [IpAddr]),
    /// Somebody accepted the connection.
    Connected,
    /// The peer has proven its name.
    Secured,
    /// A request was answered, or given up; what the probe knows by then.
    Asked(Layer, &'a Exchange),
}

/// Is told how far probes come. Called in the middle of a probe, and so has to be quick.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// A probe has a layer behind it; the layer took `took`.
    fn passed(&self, stage: Stage<'_>, took: Duration);

    /// A probe has ended; all of it took `took`.
    fn ended(&self, took: Duration);
}

/// Follows one probe, and reports it to observers. Each layer begins where the one before it ended.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    observers: Arc<[Arc<dyn Observer>]>,
    last: Arc<Mutex<Last>>,
    handshakes: Arc<Mutex<Handshakes>>,
}

/// What the handshakes of a probe have shown.
#[derive(Debug, Default)]
struct Handshakes {
    /// The chains that were verified, each by the certificate of its server.
    chains: Vec<(Vec<u8>, Certificate)>,
    /// Whether a server has asked for a certificate of the client.
    ask_for_a_certificate: bool,
}

/// The last stage that a probe has passed, and when.
#[derive(Clone, Copy, Debug)]
struct Last {
    layer: Option<Layer>,
    at: Instant,
}

/// How far the connection of this probe has come: where its time runs out, if it does.
pub(crate) fn connected_until() -> Option<Layer> {
    COURSE.try_with(|course| course.last().layer).ok().flatten()
}

task_local! {
    static COURSE: Course;
}

/// Tells of a stage of the probe that this task is part of, if it is part of one.
pub(crate) fn pass(stage: Stage<'_>) {
    // A connection that is made in vain, because another has become free, may be made outside of a probe.
    let _ = COURSE.try_with(|course| course.pass(stage));
}

/// Tells that a connection stands: behind it is TLS, or, where no handshake has begun, TCP alone.
pub(crate) fn pass_connection() {
    let _ = COURSE.try_with(|course| {
        course.pass(if course.last().layer == Some(Layer::Address) {
            Stage::Secured
        } else {
            Stage::Connected
        });
    });
}

/// Notes what the verification has learned of the chain that a server has sent.
pub(crate) fn note_chain(server: &CertificateDer<'_>, chain: Option<Certificate>) {
    let note = |course: &Course| {
        if let Some(chain) = chain {
            course.handshakes().chains.push((server.to_vec(), chain));
        }
    };
    let _ = COURSE.try_with(note);
}

/// The chain that this certificate of a server was verified with; of the last handshake, where the certificate is not
/// known, as through a tunnel.
pub(crate) fn chain_of(server: Option<&[u8]>) -> Option<Certificate> {
    let chain = |course: &Course| {
        let handshakes = course.handshakes();
        let mut chains = handshakes.chains.iter().rev();
        chains
            .find(|(verified, _)| server.is_none_or(|server| verified == server))
            .map(|(_, chain)| chain.clone())
    };
    COURSE.try_with(chain).ok().flatten()
}

/// Notes that a server asks for a certificate of the client.
pub(crate) fn note_request_for_a_certificate() {
    let _ = COURSE.try_with(|course| course.handshakes().ask_for_a_certificate = true);
}

/// Whether a server of this probe has asked for a certificate of the client.
pub(crate) fn is_certificate_asked_for() -> bool {
    COURSE
        .try_with(|course| course.handshakes().ask_for_a_certificate)
        .unwrap_or_default()
}

/// Knows of no session, and so offers none: each handshake shows the certificate, which is half of what is to be
/// proven. It is asked when a handshake begins, and that is when the TCP connection stands.
#[derive(Debug)]
pub(crate) struct NoSessions;

// === impl Stage ===

impl Stage<'_> {
    /// The layer that is passed.
    #[must_use]
    pub const fn layer(&self) -> Layer {
        match self {
            Self::Resolved(_) => Layer::Name,
            Self::Connected => Layer::Address,
            Self::Secured => Layer::Tls,
            Self::Asked(layer, _) => *layer,
        }
    }
}

// === impl Course ===

impl Course {
    /// The course of a probe that begins now.
    pub(crate) fn begin(observers: Arc<[Arc<dyn Observer>]>) -> Self {
        Self {
            observers,
            last: Arc::new(Mutex::new(Last {
                layer: None,
                at: Instant::now(),
            })),
            handshakes: Arc::default(),
        }
    }

    /// Does the probe.
    pub(crate) async fn run<T>(self, probe: impl Future<Output = T>) -> T {
        let (begun, observers) = (Instant::now(), Arc::clone(&self.observers));
        let result = COURSE.scope(self, probe).await;
        let took = begun.elapsed();
        for observer in &*observers {
            observer.ended(took);
        }
        result
    }

    fn pass(&self, stage: Stage<'_>) {
        let at = Instant::now();
        let last = self.last();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Last {
            layer: Some(stage.layer()),
            at,
        };
        for observer in &*self.observers {
            observer.passed(stage, at - last.at);
        }
    }

    fn handshakes(&self) -> MutexGuard<'_, Handshakes> {
        self.handshakes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last(&self) -> Last {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl NoSessions ===

impl ClientSessionStore for NoSessions {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        // Addresses that are tried beside each other connect once.
        if Attempt::current().is_none_or(|attempt| attempt.connected()) {
            pass(Stage::Connected);
        }
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {}

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}
