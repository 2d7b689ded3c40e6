//! A front from its making to its end, as tests and the program handle it.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use crate::{
    authority::{Authority, Identity, Profile},
    directory::{Directory, Seed},
    requests::{RequestRecord, Traffic, Unmet},
    serve::{Shared, acceptor, serve},
    state::{Key, Source, State},
    upstream::Upstream,
};

/// A running front. It stops when it is dropped; [`Front::stop`] also waits for the end.
///
/// At its end it panics if it got a write that the operator must never send ([`forbidden`](crate::forbidden)). So every
/// test with a front fails by such a request. If the test fails already, the front only prints.
/// Keep a front where a panic fails the test: not in a task that nobody waits for.
pub struct Front {
    shared: Arc<Shared>,
    is_for_any_client: bool,
    address: SocketAddr,
    scheme: &'static str,
    authority: Option<Arc<Authority>>,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

impl fmt::Debug for Front {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Front")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

impl Front {
    /// A front to be: TLS on a free port of loopback, a healthy bridge, the built-in SCIM list.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its URL from this machine, without a trailing `/`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, reachable(self.address))
    }

    /// The authority of its certificate; none for plain HTTP and for a certificate that was brought along.
    #[must_use]
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_deref()
    }

    /// The certificate of that authority, in PEM: what a client has to trust.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.authority().map(Authority::ca_pem)
    }

    /// Its own users and groups, which answer SCIM if the state says so.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.shared.directory
    }

    /// A copy of what it plays.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.state()
    }

    /// Changes what it plays, from the next request or connection on.
    pub fn set<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        self.shared.set(change)
    }

    /// Presents another certificate, from the next connection on.
    ///
    /// # Errors
    /// Key and certificate do not belong together.
    pub fn present(&self, identity: Identity) -> io::Result<()> {
        self.shared.present(acceptor(identity)?);
        Ok(())
    }

    /// The requests so far, in the order of their arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.traffic().requests.into()
    }

    /// The requests and counters so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.shared.ledger.traffic()
    }

    /// Forgets the requests so far and starts the counters anew. Numbers are not used again.
    pub fn clear_requests(&self) {
        self.shared.ledger.clear();
    }

    /// Waits until there have been so many requests, and gives all there are.
    ///
    /// # Errors
    /// There were not so many within the limit.
    pub async fn wait_for_requests(
        &self,
        count: usize,
        limit: Duration,
    ) -> Result<Vec<RequestRecord>, Unmet> {
        let traffic = self
            .wait_until(|traffic| traffic.requests.len() >= count, limit)
            .await?;
        Ok(traffic.requests.into())
    }

    /// Waits until the traffic is as wanted, looking at each change of it.
    ///
    /// # Errors
    /// It was not within the limit.
    pub async fn wait_until(
        &self,
        wanted: impl FnMut(&Traffic) -> bool + Send,
        limit: Duration,
    ) -> Result<Traffic, Unmet> {
        self.shared.ledger.wait_until(wanted, limit).await
    }

    /// Closes the port and every connection, and returns when they are closed.
    pub async fn stop(mut self) {
        self.stop.take();
        if let Some(serving) = self.serving.take() {
            // It only fails if the runtime is going down, which closes everything as well.
            let _ = serving.await;
        }
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }
}

impl Drop for Front {
    #[expect(
        clippy::panic,
        clippy::print_stderr,
        reason = "a test that looks at something else has to fail by it"
    )]
    fn drop(&mut self) {
        let Some(forbidden) = self.shared.ledger.forbidden().filter(|_| !self.is_for_any_client) else {
            return;
        };
        let report = format!("{self:?} got requests that must never be sent:\n{forbidden}");
        if thread::panicking() {
            eprintln!("{report}");
        } else {
            panic!("{report}");
        }
    }
}

/// An address that listens everywhere is reached by way of loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let host = match address.ip() {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host @ (IpAddr::V4(_) | IpAddr::V6(_)) => host,
    };
    SocketAddr::new(host, address.port())
}

/// A front to be.
#[derive(Debug)]
#[must_use = "a front is not there before it is started"]
pub struct Builder {
    listen: SocketAddr,
    encryption: Encryption,
    authority: Option<Arc<Authority>>,
    profile: Profile,
    names: Vec<String>,
    upstream: Option<Upstream>,
    seed: Option<Seed>,
    state: State,
    is_for_any_client: bool,
}

#[derive(Debug)]
enum Encryption {
    None,
    /// With a certificate that is issued at the start.
    Issued,
    /// With a certificate that was brought along.
    Brought(Identity),
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            encryption: Encryption::Issued,
            authority: None,
            profile: Profile::default(),
            names: Vec::new(),
            upstream: None,
            seed: None,
            state: State::default(),
            is_for_any_client: false,
        }
    }
}

impl Builder {
    /// Where to listen; port 0 is any free one.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Listens without TLS.
    pub fn plaintext(mut self) -> Self {
        self.encryption = Encryption::None;
        self
    }

    /// Presents this certificate.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.encryption = Encryption::Brought(identity);
        self
    }

    /// Has its certificate issued by this authority, not by one of its own.
    pub fn authority(mut self, authority: impl Into<Arc<Authority>>) -> Self {
        self.authority = Some(authority.into());
        self
    }

    /// What is right or wrong with the certificate that is issued.
    pub fn certificate(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Further DNS names or addresses for the certificate that is issued.
    pub fn names(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.names.extend(names.into_iter().map(Into::into));
        self
    }

    /// Has SCIM answered by this server, not by the built-in list.
    pub fn upstream(mut self, upstream: Upstream) -> Self {
        self.upstream = Some(upstream);
        self
    }

    /// Has SCIM answered by the front's own directory, filled with this seed.
    pub fn directory(mut self, seed: Seed) -> Self {
        self.state.source = Source::Directory;
        self.seed = Some(seed);
        self
    }

    /// Takes any write: the client is not the operator.
    pub fn for_any_client(mut self) -> Self {
        self.is_for_any_client = true;
        self
    }

    /// The key that is accepted.
    pub fn key(mut self, key: impl Into<Key>) -> Self {
        self.state.key = key.into();
        self
    }

    /// Changes what is played from the start.
    pub fn set(mut self, change: impl FnOnce(&mut State)) -> Self {
        change(&mut self.state);
        self
    }

    /// What is played from the start, the key included.
    pub fn state(mut self, state: State) -> Self {
        self.state = state;
        self
    }

    /// Starts it: when this returns, connections are accepted.
    ///
    /// # Errors
    /// The address cannot be listened on, there is no usable certificate, or the seed cannot be a directory.
    pub async fn start(self) -> io::Result<Front> {
        let mut authority = None;
        let tls = match self.encryption {
            Encryption::None => None,
            Encryption::Brought(identity) => Some(acceptor(identity)?),
            Encryption::Issued => {
                let issuing = self
                    .authority
                    .map_or_else(|| Authority::new().map(Arc::new), Ok)?;
                let identity = issuing.issue(self.profile, &self.names)?;
                authority = Some(issuing);
                Some(acceptor(identity)?)
            }
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind(self.listen).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(self.state, self.upstream, tls));
        if let Some(seed) = self.seed {
            let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
            shared.directory.seed(seed).map_err(invalid)?;
        }
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared), stopped));
        Ok(Front {
            shared,
            is_for_any_client: self.is_for_any_client,
            address,
            scheme,
            authority,
            stop: Some(stop),
            serving: Some(serving),
        })
    }
}
