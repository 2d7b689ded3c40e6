//! Records which stages a probe has completed, and reports them to observers while the probe runs.
//!
//! The HTTP client resolves, connects and makes the handshake. The resolver, the connector and the verifier find their
//! probe by a task-local. reqwest 0.13.5 and hyper-util 0.1.21 run them in the task of the request, but do not promise
//! it. If that changes, `silence` and `what_is_learned_of_a_certificate` in `tests/bridge` fail.

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
    domain::connection::evidence::{Answer, Certificate, Exchange, TransportFailure},
};

/// A completed stage of a probe, with its result.
#[derive(Clone, Copy, Debug)]
pub enum Stage<'a> {
    /// The name resolved to these addresses. The policy allows them.
    Resolved(&'a [IpAddr]),
    /// A peer accepted the connection.
    Connected,
    /// The TLS handshake is complete, and the certificate is verified.
    Secured,
    /// A request got its response, or failed. The exchange holds all results so far.
    Asked(Layer, &'a Exchange),
    /// A page of a directory, one user or group of it, or a change of it, got its answer or failed.
    Listed(Layer, Result<&'a Answer<()>, TransportFailure>),
}

/// Receives the stages of probes. It is called while a probe runs, so it must not block.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// A probe has completed this stage, which took `took`.
    fn passed(&self, stage: Stage<'_>, took: Duration);

    /// A probe, or one request to a directory, has ended. All of it took `took`.
    fn ended(&self, took: Duration);
}

/// Follows one probe, and reports its stages to observers. Each stage begins when the one before it ends.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    observers: Arc<[Arc<dyn Observer>]>,
    last_stage: Arc<Mutex<LastStage>>,
    handshakes: Arc<Mutex<Handshakes>>,
}

/// What the handshakes of a probe have shown.
#[derive(Debug, Default)]
struct Handshakes {
    /// The verified chains. The key of each is the server's certificate, in DER.
    chains: Vec<(Vec<u8>, Certificate)>,
    /// Whether a server has requested a client certificate.
    client_certificate_requested: bool,
}

/// The layer that a probe completed last, and when.
#[derive(Clone, Copy, Debug)]
struct LastStage {
    layer: Option<Layer>,
    at: Instant,
}

/// The layer that this probe completed last. If the time runs out, it runs out in the next one.
pub(crate) fn connected_until() -> Option<Layer> {
    COURSE.try_with(|course| course.last_stage().layer).ok().flatten()
}

task_local! {
    static COURSE: Course;
}

/// Reports a completed stage of the probe that the current task belongs to.
pub(crate) fn pass(stage: Stage<'_>) {
    // hyper-util may finish an unused connect in the background, outside of any probe.
    let _ = COURSE.try_with(|course| course.pass(stage));
}

/// Reports that the connection is ready: [`Stage::Secured`] after a handshake, [`Stage::Connected`] for TCP alone.
pub(crate) fn report_connection() {
    let _ = COURSE.try_with(|course| {
        course.pass(if course.last_stage().layer == Some(Layer::Address) {
            Stage::Secured
        } else {
            Stage::Connected
        });
    });
}

/// Records the verified chain of a server.
pub(crate) fn record_chain(server: &CertificateDer<'_>, chain: Option<Certificate>) {
    let record = |course: &Course| {
        if let Some(chain) = chain {
            course.handshakes().chains.push((server.to_vec(), chain));
        }
    };
    let _ = COURSE.try_with(record);
}

/// The verified chain of the server with this certificate. If the certificate is not known, as through a tunnel, the
/// chain of the last handshake.
pub(crate) fn chain_of(server: Option<&[u8]>) -> Option<Certificate> {
    let find = |course: &Course| {
        let handshakes = course.handshakes();
        let mut chains = handshakes.chains.iter().rev();
        chains
            .find(|(verified, _)| server.is_none_or(|server| verified == server))
            .map(|(_, chain)| chain.clone())
    };
    COURSE.try_with(find).ok().flatten()
}

/// Records that a server requests a client certificate.
pub(crate) fn record_client_certificate_request() {
    let _ = COURSE.try_with(|course| course.handshakes().client_certificate_requested = true);
}

/// Whether a server of this probe has requested a client certificate.
pub(crate) fn is_certificate_asked_for() -> bool {
    COURSE
        .try_with(|course| course.handshakes().client_certificate_requested)
        .unwrap_or_default()
}

/// A TLS session store that keeps no session, so that each handshake shows the certificate.
///
/// It also reports [`Stage::Connected`]. rustls 0.23.46 asks the store for a key exchange hint when a handshake begins.
/// The TCP connection is then ready. rustls does not promise this call. Without it, `silence` in
/// `tests/bridge/transport.rs` fails.
#[derive(Debug)]
pub(crate) struct NoSessions;

// === impl Stage ===

impl Stage<'_> {
    /// The layer that is complete.
    #[must_use]
    pub const fn layer(&self) -> Layer {
        match self {
            Self::Resolved(_) => Layer::Name,
            Self::Connected => Layer::Address,
            Self::Secured => Layer::Tls,
            Self::Asked(layer, _) | Self::Listed(layer, _) => *layer,
        }
    }
}

// === impl Course ===

impl Course {
    /// Begins to measure the first stage.
    pub(crate) fn begin(observers: Arc<[Arc<dyn Observer>]>) -> Self {
        Self {
            observers,
            last_stage: Arc::new(Mutex::new(LastStage {
                layer: None,
                at: Instant::now(),
            })),
            handshakes: Arc::default(),
        }
    }

    /// Runs the probe, and reports its end.
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
        let last_stage = self.last_stage();
        *self.last_stage.lock().unwrap_or_else(PoisonError::into_inner) = LastStage {
            layer: Some(stage.layer()),
            at,
        };
        for observer in &*self.observers {
            observer.passed(stage, at - last_stage.at);
        }
    }

    fn handshakes(&self) -> MutexGuard<'_, Handshakes> {
        self.handshakes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_stage(&self) -> LastStage {
        *self.last_stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl NoSessions ===

impl ClientSessionStore for NoSessions {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        // Several addresses may connect in parallel. Only the first one is reported.
        if Attempt::current().is_none_or(|attempt| attempt.set_connected()) {
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
