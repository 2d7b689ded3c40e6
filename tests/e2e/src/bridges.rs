//! The bridges, in this process, where Pods reach them.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bridge_front::{Authority, Front, Mode};
use testbed::Failure;

/// The key that they accept. It opens nothing.
pub(crate) const KEY: &str = "not-a-real-key";

/// Makes bridges of one authority.
pub(crate) struct Bridges {
    address: IpAddr,
    authority: Arc<Authority>,
}

impl Bridges {
    pub(crate) fn new(address: IpAddr) -> Result<Self, Failure> {
        Ok(Self {
            address,
            authority: Arc::new(Authority::new()?),
        })
    }

    /// What vouches for them, in PEM.
    pub(crate) fn ca_pem(&self) -> &str {
        self.authority.ca_pem()
    }

    /// A healthy bridge.
    pub(crate) async fn healthy(&self) -> Result<Front, Failure> {
        self.start(Mode::Push).await
    }

    /// A bridge that pulls from Google Workspace.
    pub(crate) async fn google(&self) -> Result<Front, Failure> {
        self.start(Mode::GoogleWorkspace).await
    }

    async fn start(&self, mode: Mode) -> Result<Front, Failure> {
        let front = Front::builder()
            .listen((self.address, 0).into())
            .names([self.address.to_string()])
            .authority(Arc::clone(&self.authority))
            .key(KEY)
            .set(|state| state.mode = mode);
        Ok(front.start().await?)
    }

    /// The bridge as a connection names it.
    pub(crate) fn url(&self, front: &Front) -> String {
        format!(
            "https://{}",
            std::net::SocketAddr::from((self.address, front.port()))
        )
    }
}

/// How often a bridge was probed.
pub(crate) fn probes(front: &Front) -> usize {
    front
        .requests()
        .iter()
        .filter(|request| request.path() == "/ping")
        .count()
}

/// The longest time between two probes of a bridge, and since the last one.
pub(crate) fn longest_gap(front: &Front) -> Duration {
    let times: Vec<_> = front
        .requests()
        .iter()
        .filter(|request| request.path() == "/ping")
        .map(|request| request.at)
        .chain([std::time::Instant::now()])
        .collect();
    times
        .iter()
        .zip(times.iter().skip(1))
        .map(|(earlier, later)| later.duration_since(*earlier))
        .max()
        .unwrap_or_default()
}
