//! The one place where HTTP clients are made, and kept.
//!
//! A client is made once for each set of trusted roots (and, rarely, for a server name that differs from the host) and
//! used by every probe that wants the same.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    task::{self, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use rustls::{
    ClientConfig, RootCertStore,
    client::{Resumption, Tls12Resumption},
    crypto::aws_lc_rs,
};
use tokio::task_local;
use tower::{BoxError, Layer, Service};
use url::Host;

use super::{
    address::AddressPolicy,
    keep::SOON,
    proxy::BridgeProxy,
    race::Attempt,
    resolver::{GuardedResolver, Names, ProxyResolver},
    stages::{NoSessions, pass_connection},
    trust::Trust,
    verify::BundleVerifier,
};
use crate::{
    domain::{schedule::Depth, target::Target},
    tenure::Tenure,
};

/// What the operator calls itself.
const USER_AGENT: &str = concat!("scim-bridge-operator/", env!("CARGO_PKG_VERSION"));

/// A connection that lies idle this long is closed: none is taken up again that late.
const IDLE: Duration = SOON.saturating_add(Duration::from_secs(5));

/// More headers than this no bridge sends.
const MAX_HEADERS: usize = 64;

/// Clients that are kept; beyond that one goes. Probes that use it have their own hold on it.
const KEPT_CLIENTS: usize = 256;

/// Why there is no client. Our own side of it, not the bridge's.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// The target is refused as it is written.
    #[error("the address policy refuses the host")]
    Denied,
    /// TLS could not be set up.
    #[error("TLS could not be set up")]
    Tls(#[from] rustls::Error),
    /// The HTTP client could not be set up.
    #[error("the HTTP client could not be set up")]
    Http(#[from] reqwest::Error),
}

/// The clients that there are.
#[derive(Debug)]
pub(super) struct Clients {
    policy: Arc<AddressPolicy>,
    names: Names,
    proxy: Option<BridgeProxy>,
    tenure: Tenure,
    system_roots: Arc<RootCertStore>,
    kept: Mutex<HashMap<Kind, reqwest::Client>>,
}

/// What makes two clients differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    trust: Trust,
    /// Who is connected to.
    way: Way,
}

/// How a client gets to its bridge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
            kept: Mutex::default(),
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

    /// The client for this target. With its own connections, for one that is to be probed anew.
    pub(super) fn client(
        &self,
        target: &Target,
        trust: &Trust,
        depth: Depth,
    ) -> Result<reqwest::Client, ClientError> {
        // An address needs no resolver, and so would not meet the policy there: not as the host, and not as the server
        // name, which stands in the host's place and would take the key elsewhere.
        let is_name = |name: &String| matches!(Host::parse(name), Ok(Host::Domain(_)));
        if !self.policy.allows(&target.origin) || !target.server_name.iter().all(is_name) {
            return Err(ClientError::Denied);
        }
        let is_proxied = self
            .proxy
            .as_ref()
            .is_some_and(|proxy| proxy.covers(&target.origin));
        let way = match (&target.server_name, is_proxied) {
            (None, false) if !target.origin.is_absolute => Way::Direct,
            (None, true) => Way::Proxy,
            // The request has the name without its dot.
            (None | Some(_), false) => Way::Instead(target.origin.host_to_look_up()),
            // The proxy would be asked for the name that is to be verified, which need not lead to the host.
            (Some(_), true) => return Err(ClientError::Denied),
        };
        let kind = Kind {
            trust: trust.clone(),
            way,
        };
        if depth == Depth::Anew {
            return self.build(&kind);
        }
        // A poisoned lock only means that some other pass panicked; the map is whole at every moment.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = kept.get(&kind) {
            return Ok(client.clone());
        }
        let client = self.build(&kind)?;
        if kept.len() >= KEPT_CLIENTS
            && let Some(victim) = kept.keys().find(|kind| !kind.is_usual()).cloned()
        {
            kept.remove(&victim);
        }
        kept.insert(kind, client.clone());
        Ok(client)
    }

    fn build(&self, kind: &Kind) -> Result<reqwest::Client, ClientError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
        let mut tls = match &kind.trust {
            Trust::System => tls.with_root_certificates(Arc::clone(&self.system_roots)),
            Trust::Only(bundle) => {
                // Not less than WebPKI asks, but for a certificate that the bundle holds itself.
                let verifier = BundleVerifier::new(bundle, provider)?;
                tls.dangerous()
                    .with_custom_certificate_verifier(Arc::new(verifier))
            }
        }
        .with_no_client_auth();
        // A resumed session skips the certificate. The certificate is half of what is to be proven.
        tls.resumption = Resumption::store(Arc::new(NoSessions)).tls12_resumption(Tls12Resumption::Disabled);
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
        let client = match (&kind.way, &self.proxy) {
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
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .build()?;
        Ok(client)
    }
}

task_local! {
    static KEPT_ONLY: ();
}

/// Sends a request over a connection that was kept, or not at all.
pub(super) async fn over_kept<T>(request: impl Future<Output = T>) -> T {
    KEPT_ONLY.scope((), request).await
}

/// Lets no connection be made for a request that is to go over one that was kept; ends one that another address has
/// overtaken; and one that took so long to be made that the tenure ended meanwhile: its first request would leave at
/// once.
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
        if KEPT_ONLY.try_with(|()| ()).is_ok() {
            return Box::pin(async { Err("no connection was kept".into()) });
        }
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

// === impl Kind ===

impl Kind {
    /// Whether most targets want it: there are at most two such clients, and they stay.
    fn is_usual(&self) -> bool {
        self.trust == Trust::System && matches!(self.way, Way::Direct | Way::Proxy)
    }
}
