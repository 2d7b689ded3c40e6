//! The one place where HTTP clients are made, and kept.
//!
//! A client is made once for each set of trusted roots (and, rarely, for a server name that differs from the host) and
//! used by every probe that wants the same.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{ClientConfig, RootCertStore, client::Resumption, crypto::aws_lc_rs};
use url::Host;

use super::{address::AddressPolicy, resolver::GuardedResolver, trust::Trust, verify::BundleVerifier};
use crate::domain::target::Target;

/// What the operator calls itself.
const USER_AGENT: &str = concat!("scim-bridge-operator/", env!("CARGO_PKG_VERSION"));

/// A connection that lies idle this long is closed. Longer than the longest interval for which connections are kept.
const IDLE: Duration = Duration::from_secs(75);

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
    system_roots: Arc<RootCertStore>,
    kept: Mutex<HashMap<Kind, reqwest::Client>>,
}

/// What makes two clients differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    trust: Trust,
    /// The host to connect to in place of the name that is asked for.
    instead: Option<Host<String>>,
}

// === impl Clients ===

impl Clients {
    pub(super) fn new(policy: Arc<AddressPolicy>, system_roots: Arc<RootCertStore>) -> Self {
        Self {
            policy,
            system_roots,
            kept: Mutex::default(),
        }
    }

    /// The client for this target.
    pub(super) fn client(&self, target: &Target, trust: &Trust) -> Result<reqwest::Client, ClientError> {
        // An address needs no resolver, and so would not meet the policy there: not as the host, and not as the server
        // name, which stands in the host's place and would take the key elsewhere.
        let is_name = |name: &String| matches!(Host::parse(name), Ok(Host::Domain(_)));
        if !self.policy.allows(&target.origin) || !target.server_name.iter().all(is_name) {
            return Err(ClientError::Denied);
        }
        let kind = Kind {
            trust: trust.clone(),
            instead: target.server_name.as_ref().map(|_| target.origin.host.clone()),
        };
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
        tls.resumption = Resumption::disabled();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .tls_info(true)
            .dns_resolver(GuardedResolver {
                policy: Arc::clone(&self.policy),
                instead: kind.instead.clone(),
            })
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
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

// === impl Kind ===

impl Kind {
    /// Whether most targets want it: there is one such client, and it stays.
    fn is_usual(&self) -> bool {
        self.trust == Trust::System && self.instead.is_none()
    }
}
