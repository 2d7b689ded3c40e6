//! The one place where HTTP clients are made.
//!
//! Each probe has a client to itself, and with it a pool that holds its one connection. Both end with the probe, however
//! it ends: the next probe proves name, way and certificate once more. What is dear to make is kept: the TLS set-up for
//! each set of trusted roots.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
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
    route::Route,
    stages::{NoSessions, pass_connection},
    trust::Trust,
    verify::{ChainVerifier, NoCertificate},
};
use crate::{
    domain::{evidence::Denial, target::Origin},
    tenure::Tenure,
};

/// What the operator calls itself.
const USER_AGENT: &str = concat!("scim-bridge-operator/", env!("CARGO_PKG_VERSION"));

/// More headers than this no bridge sends.
const MAX_HEADERS: usize = 64;

/// TLS set-ups that are kept; beyond that one goes. Clients that use it have their own hold on it.
const KEPT_SETUPS: usize = 256;

/// Why there is no client. Our own side of it, not the bridge's.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// The route is refused as it is written.
    #[error("the address policy refuses the host: {0:?}")]
    Denied(Denial),
    /// TLS could not be set up.
    #[error("TLS could not be set up")]
    Tls(#[from] rustls::Error),
    /// The HTTP client could not be set up.
    #[error("the HTTP client could not be set up")]
    Http(#[from] reqwest::Error),
}

/// Makes clients.
#[derive(Debug)]
pub(super) struct Clients {
    policy: Arc<AddressPolicy>,
    names: Names,
    proxy: Option<BridgeProxy>,
    tenure: Tenure,
    system_roots: Arc<RootCertStore>,
    setups: Mutex<HashMap<Trust, ClientConfig>>,
}

/// How a client gets to its bridge.
enum Way {
    /// By its name.
    Direct,
    /// By this host, whatever name is asked for.
    Instead(Host<String>),
    /// By the proxy.
    Proxy,
}

// === impl Clients ===

impl Clients {
    pub(super) fn new(policy: Arc<AddressPolicy>, system_roots: Arc<RootCertStore>) -> Self {
        Self {
            policy,
            names: Names::of_the_system(),
            proxy: None,
            tenure: Tenure::unlimited(),
            system_roots,
            setups: Mutex::default(),
        }
    }

    pub(super) fn through(self, proxy: Option<BridgeProxy>) -> Self {
        Self { proxy, ..self }
    }

    pub(super) fn resolving_by(self, names: Names) -> Self {
        Self { names, ..self }
    }

    pub(super) fn during(self, tenure: Tenure) -> Self {
        Self { tenure, ..self }
    }

    /// Whether an origin is asked by way of the administrator's proxy.
    pub(super) fn is_proxied(&self, origin: &Origin) -> bool {
        self.proxy.as_ref().is_some_and(|proxy| proxy.covers(origin))
    }

    /// A client for one probe.
    pub(super) fn client(&self, route: &Route) -> Result<reqwest::Client, ClientError> {
        let Route {
            origin,
            trust,
            server_name,
        } = route;
        // An address needs no resolver, and so would not meet the policy there: not as the host, and not as the server
        // name, which stands in the host's place and would take the key elsewhere.
        let is_name = |name: &String| matches!(Host::parse(name), Ok(Host::Domain(_)));
        self.policy.judge(origin).map_err(ClientError::Denied)?;
        if !server_name.iter().all(is_name) {
            return Err(ClientError::Denied(Denial::Special));
        }
        let way = match (server_name, self.is_proxied(origin)) {
            (None, false) if !origin.is_absolute => Way::Direct,
            (None, true) => Way::Proxy,
            // The request has the name without its dot.
            (None | Some(_), false) => Way::Instead(origin.host_to_look_up()),
            // The proxy would be asked for the name that is to be verified, which need not lead to the host.
            (Some(_), true) => return Err(ClientError::Denied(Denial::ServerName)),
        };
        self.build(&way, self.setup(trust)?)
    }

    /// How TLS is spoken with those whom `trust` vouches for.
    fn setup(&self, trust: &Trust) -> Result<ClientConfig, rustls::Error> {
        // A poisoned lock only means that some other pass panicked; the map is whole at every moment.
        let mut setups = self.setups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(setup) = setups.get(trust) {
            return Ok(setup.clone());
        }
        let setup = self.set_up(trust)?;
        if setups.len() >= KEPT_SETUPS
            && let Some(victim) = setups.keys().find(|kept| **kept != Trust::System).cloned()
        {
            setups.remove(&victim);
        }
        setups.insert(trust.clone(), setup.clone());
        Ok(setup)
    }

    fn set_up(&self, trust: &Trust) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
        // Not less than WebPKI asks, but for a certificate that a bundle holds itself.
        let verifier = ChainVerifier::new(trust, &self.system_roots, &provider);
        let mut tls = tls
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(NoCertificate));
        // A resumed session skips the certificate. The certificate is half of what is to be proven.
        tls.resumption = Resumption::store(Arc::new(NoSessions)).tls12_resumption(Tls12Resumption::Disabled);
        Ok(tls)
    }

    fn build(&self, way: &Way, tls: ClientConfig) -> Result<reqwest::Client, ClientError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .tls_info(true)
            // Environment variables that are meant for other programs decide nothing.
            .no_proxy();
        let guarded = |instead| GuardedResolver {
            names: self.names.clone(),
            policy: Arc::clone(&self.policy),
            instead,
        };
        let client = match (way, &self.proxy) {
            (Way::Instead(host), _) => client.dns_resolver(guarded(Some(host.clone()))),
            // The only name that is resolved here is the proxy's.
            (Way::Proxy, Some(proxy)) => client
                .proxy(reqwest::Proxy::all(proxy.url.expose())?)
                .dns_resolver(ProxyResolver(self.names.clone())),
            (Way::Direct, _) | (Way::Proxy, None) => client.dns_resolver(guarded(None)),
        };
        let client = client
            .connector_layer(Fence(self.tenure.clone()))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .http1_max_headers(MAX_HEADERS)
            .user_agent(USER_AGENT)
            // The connection lies idle only from one request to the next, and goes with the client.
            .pool_idle_timeout(None)
            .pool_max_idle_per_host(1)
            .build()?;
        Ok(client)
    }
}

/// Ends a connection that another address has overtaken, and one that took so long to be made that the tenure ended
/// meanwhile: its first request would leave at once.
#[derive(Clone)]
struct Fence(Tenure);

/// A connector behind a [`Fence`].
#[derive(Clone)]
struct Fenced<S> {
    connector: S,
    tenure: Tenure,
}

impl<S> Layer<S> for Fence {
    type Service = Fenced<S>;

    fn layer(&self, connector: S) -> Fenced<S> {
        Fenced {
            connector,
            tenure: self.0.clone(),
        }
    }
}

impl<S, R> Service<R> for Fenced<S>
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
        let tenure = self.tenure.clone();
        let attempt = Attempt::current();
        let connecting = self.connector.call(request);
        Box::pin(async move {
            let connection = connecting.await?;
            if !attempt.is_none_or(|attempt| attempt.wins()) {
                return Err("another address was faster".into());
            }
            pass_connection();
            if tenure.holds() {
                Ok(connection)
            } else {
                Err("this process does not lead any more".into())
            }
        })
    }
}
