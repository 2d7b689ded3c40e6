//! Builds the HTTP clients: no other module does.
//!
//! Each probe, and each page of a directory, has its own client, with a pool for one connection. Both end with the probe,
//! so the next one resolves the name, connects and verifies the certificate again. Only TLS configurations are kept,
//! because they are expensive to build.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{self, Poll},
};

use futures::future::BoxFuture;
use rustls::{
    ClientConfig, RootCertStore,
    client::{Resumption, Tls12Resumption},
    crypto::aws_lc_rs,
};
use tower::{BoxError, Layer, Service};
use url::Host;

use super::{
    address::AddressPolicy,
    proxy::BridgeProxy,
    race::Attempt,
    resolver::{GuardedResolver, Names, ProxyResolver},
    stages::{NoSessions, report_connection},
    trust::Trust,
    verify::{ChainVerifier, NoCertificate},
};
use crate::{
    bridge::route::Route,
    domain::connection::{evidence::Denial, target::Origin},
    leadership::Leadership,
};

const USER_AGENT: &str = concat!("scim-bridge-operator/", env!("CARGO_PKG_VERSION"));

/// Most headers of a response. No bridge sends more.
const MAX_HEADERS: usize = 64;

/// Most TLS configurations that are kept. A client that uses a removed one has its own copy.
const MAX_TLS_CONFIGS: usize = 256;

/// Why no client could be built. The cause is on our side, not on the bridge's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The policy refuses the host or the server name as written.
    #[error("the address policy refuses the host: {0:?}")]
    Denied(Denial),
    /// TLS could not be set up.
    #[error("TLS could not be set up")]
    Tls(#[from] rustls::Error),
    /// The HTTP client could not be set up.
    #[error("the HTTP client could not be set up")]
    Http(#[from] reqwest::Error),
}

/// Builds a client for each probe, and keeps the TLS configurations.
#[derive(Debug)]
pub(crate) struct Clients {
    policy: Arc<AddressPolicy>,
    names: Names,
    proxy: Option<BridgeProxy>,
    leadership: Leadership,
    system_roots: Arc<RootCertStore>,
    tls_configs: Mutex<HashMap<Trust, ClientConfig>>,
}

/// Lets the connections of one client pass to its requests, and remembers it. Clones share it.
///
/// It decides what may leave: it does not rely on the HTTP client to ask once, nor on a race to have one winner.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<GateState>);

#[derive(Debug)]
struct GateState {
    has_passed: AtomicBool,
    /// How many more connections may pass.
    left: AtomicUsize,
}

/// The host that a client connects to.
enum ConnectTo {
    /// The host of the request's URL.
    UrlHost,
    /// This host. The URL may have another one.
    Host(Host<String>),
    /// The administrator's proxy.
    Proxy,
}

// === impl Clients ===

impl Clients {
    pub(crate) fn new(policy: Arc<AddressPolicy>, system_roots: Arc<RootCertStore>) -> Self {
        Self {
            policy,
            names: Names::of_the_system(),
            proxy: None,
            leadership: Leadership::unlimited(),
            system_roots,
            tls_configs: Mutex::default(),
        }
    }

    pub(crate) fn through(self, proxy: Option<BridgeProxy>) -> Self {
        Self { proxy, ..self }
    }

    pub(crate) fn resolving_by(self, names: Names) -> Self {
        Self { names, ..self }
    }

    pub(crate) fn during(self, leadership: Leadership) -> Self {
        Self { leadership, ..self }
    }

    /// Whether requests to this origin go through the administrator's proxy.
    pub(crate) fn is_proxied(&self, origin: &Origin) -> bool {
        self.proxy.as_ref().is_some_and(|proxy| proxy.covers(origin))
    }

    /// Builds a client for one probe, and its gate.
    pub(crate) fn client(&self, route: &Route) -> Result<(reqwest::Client, Gate), ClientError> {
        let Route {
            origin,
            trust,
            server_name,
        } = route;
        // The client does not resolve a literal address, so the resolver cannot check it against the policy. The policy
        // checks the host here. The server name must not be an address: it replaces the host in the URL, so the key
        // would go to that address.
        let is_name = |name: &String| matches!(Host::parse(name), Ok(Host::Domain(_)));
        self.policy.judge(origin).map_err(ClientError::Denied)?;
        if !server_name.iter().all(is_name) {
            return Err(ClientError::Denied(Denial::Special));
        }
        let connect_to = match (server_name, self.is_proxied(origin)) {
            (None, false) if !origin.is_absolute => ConnectTo::UrlHost,
            (None, true) => ConnectTo::Proxy,
            // The URL has the server name, or the name without its dot at the end.
            (None | Some(_), false) => ConnectTo::Host(origin.host_to_look_up()),
            // The client would ask the proxy for the server name, which may lead to another host.
            (Some(_), true) => return Err(ClientError::Denied(Denial::ServerName)),
        };
        let gate = Gate::open();
        let client = self.build(&connect_to, self.tls_config(trust)?, gate.clone())?;
        Ok((client, gate))
    }

    /// The TLS configuration for these trusted roots.
    fn tls_config(&self, trust: &Trust) -> Result<ClientConfig, rustls::Error> {
        // A poisoned lock only means that another reconcile panicked. The map is consistent at every moment.
        let mut configs = self.tls_configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = configs.get(trust) {
            return Ok(config.clone());
        }
        let config = self.build_tls_config(trust)?;
        if configs.len() >= MAX_TLS_CONFIGS
            && let Some(victim) = configs.keys().find(|key| **key != Trust::System).cloned()
        {
            configs.remove(&victim);
        }
        configs.insert(trust.clone(), config.clone());
        Ok(config)
    }

    fn build_tls_config(&self, trust: &Trust) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
        // The verifier is at least as strict as WebPKI, except for a certificate that the bundle itself contains.
        let verifier = ChainVerifier::new(trust, &self.system_roots, &provider);
        let mut tls = tls
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(NoCertificate));
        // A resumed session would skip the certificate, but the probe must verify it each time.
        tls.resumption = Resumption::store(Arc::new(NoSessions)).tls12_resumption(Tls12Resumption::Disabled);
        Ok(tls)
    }

    fn build(
        &self,
        connect_to: &ConnectTo,
        tls: ClientConfig,
        gate: Gate,
    ) -> Result<reqwest::Client, ClientError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .tls_info(true)
            // Ignores the proxy variables of the environment: they are meant for other programs.
            .no_proxy();
        let guarded_resolver = |host_override| GuardedResolver {
            names: self.names.clone(),
            policy: Arc::clone(&self.policy),
            host_override,
        };
        let client = match (connect_to, &self.proxy) {
            (ConnectTo::Host(host), _) => client.dns_resolver(guarded_resolver(Some(host.clone()))),
            // The client then resolves only the proxy's name.
            (ConnectTo::Proxy, Some(proxy)) => client
                .proxy(reqwest::Proxy::all(proxy.url.expose())?)
                .dns_resolver(ProxyResolver(self.names.clone())),
            (ConnectTo::UrlHost, _) | (ConnectTo::Proxy, None) => client.dns_resolver(guarded_resolver(None)),
        };
        let client = client
            .connector_layer(ConnectorGuard(self.leadership.clone(), gate))
            .redirect(reqwest::redirect::Policy::none())
            // hyper-util 0.1.21 sends a request again too: one that found its connection closed before a byte was
            // written. Only a connection that was used before can be in that state.
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .http1_max_headers(MAX_HEADERS)
            .user_agent(USER_AGENT)
            // The connection is idle only between two requests, and closes with the client.
            .pool_idle_timeout(None)
            .pool_max_idle_per_host(1)
            .build()?;
        Ok(client)
    }
}

// === impl Gate ===

impl Gate {
    fn open() -> Self {
        Self(Arc::new(GateState {
            has_passed: AtomicBool::new(false),
            left: AtomicUsize::new(usize::MAX),
        }))
    }

    /// From now on one connection may pass, and no other.
    pub(crate) fn limit_to_one(&self) {
        self.0.left.store(1, Ordering::SeqCst);
    }

    /// Whether a connection has passed. Until then, no byte of a request has left.
    pub(crate) fn has_passed(&self) -> bool {
        self.0.has_passed.load(Ordering::SeqCst)
    }

    fn pass(&self) -> bool {
        let one_less = |left: usize| match left {
            usize::MAX => Some(left),
            _ => left.checked_sub(1),
        };
        let left = &self.0.left;
        let passes = left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
            .is_ok();
        if passes {
            self.0.has_passed.store(true, Ordering::SeqCst);
        }
        passes
    }
}

/// Drops a new connection if another address was faster, if the leadership ended while it was made, or if the gate is
/// closed. Otherwise the first request would go out on it at once.
///
/// reqwest 0.13.5 and hyper-util 0.1.21 call the connector in the task of the request, but do not promise it. If they
/// stop doing so, no attempt is found here, and `tests/resolver/addresses.rs` fails.
#[derive(Clone)]
struct ConnectorGuard(Leadership, Gate);

/// A connector with a [`ConnectorGuard`].
#[derive(Clone)]
struct GuardedConnector<S> {
    connector: S,
    leadership: Leadership,
    gate: Gate,
}

impl<S> Layer<S> for ConnectorGuard {
    type Service = GuardedConnector<S>;

    fn layer(&self, connector: S) -> GuardedConnector<S> {
        GuardedConnector {
            connector,
            leadership: self.0.clone(),
            gate: self.1.clone(),
        }
    }
}

impl<S, R> Service<R> for GuardedConnector<S>
where
    S: Service<R, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (leadership, gate) = (self.leadership.clone(), self.gate.clone());
        let attempt = Attempt::current();
        let connecting = self.connector.call(request);
        Box::pin(async move {
            let connection = connecting.await?;
            if !attempt.is_none_or(|attempt| attempt.try_win()) {
                return Err("another address was faster".into());
            }
            report_connection();
            if !leadership.holds() {
                Err("this process is no longer the leader".into())
            } else if gate.pass() {
                Ok(connection)
            } else {
                Err("the request has had its connection".into())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_lets_one_connection_pass() {
        let gate = Gate::open();
        assert!(!gate.has_passed());
        assert!(gate.pass() && gate.pass() && gate.has_passed());

        let (gate, other) = (Gate::open(), Gate::open());
        let same = gate.clone();
        gate.limit_to_one();
        assert!(!gate.has_passed(), "nobody has passed yet");
        assert!(same.pass() && !gate.pass() && !same.pass());
        assert!(gate.has_passed() && !other.has_passed());
    }
}
