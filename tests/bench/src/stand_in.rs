//! The stand-in for bridges as seen from here: a process of its own, so that its CPU is nobody else's.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use testbed::{
    Failure, free_port,
    scratch::Scratch,
    supervise::{Launch, Process},
};

use crate::{
    bridge::{Fault, Order, Tally},
    wire::{Request, Wire},
};

const START_DEADLINE: Duration = Duration::from_secs(20);

/// The running stand-in. Dropped, it is killed.
pub(crate) struct StandIn {
    process: Process,
    /// Port of every host.
    pub(crate) port: u16,
    /// The authority of all their certificates, in PEM form.
    authority: PathBuf,
    control: SocketAddr,
}

impl StandIn {
    /// Starts it, and keeps its authority in a file.
    pub(crate) async fn start(scratch: &Arc<Scratch>) -> Result<Self, Failure> {
        let (port, control_port) = (free_port()?, free_port()?);
        let process = Launch::new("bridges", env::current_exe()?)
            .arg("bridges")
            .args([
                "--port",
                &port.to_string(),
                "--control-port",
                &control_port.to_string(),
            ])
            .start(scratch)?;
        let control = SocketAddr::from((Ipv4Addr::LOCALHOST, control_port));
        let ready = process.ready(START_DEADLINE, "the bridges to listen", async || {
            Wire::plain(control).await
        });
        ready.await?;
        let stand_in = Self {
            process,
            port,
            authority: scratch.path().join("bridges.pem"),
            control,
        };
        let pem = stand_in.ask(Request::get("/authority")).await?;
        fs::write(&stand_in.authority, pem)?;
        Ok(stand_in)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The authority's file.
    pub(crate) fn authority(&self) -> &Path {
        &self.authority
    }

    /// What it counted since its start.
    pub(crate) async fn tally(&self) -> Result<Tally, Failure> {
        Ok(serde_json::from_str(&self.ask(Request::get("/tally")).await?)?)
    }

    /// Which objects asked, and when (microseconds since 1970), since this was called last.
    pub(crate) async fn asked(&self) -> Result<Vec<(u32, u64)>, Failure> {
        let asked = self.ask(Request::get("/asked")).await?;
        let line = |line: &str| {
            let (number, when) = line.split_once(' ')?;
            Some((number.parse().ok()?, when.parse().ok()?))
        };
        Ok(asked.lines().filter_map(line).collect())
    }

    /// From now on this is wrong with these hosts.
    pub(crate) async fn set(&self, hosts: Vec<Ipv4Addr>, fault: Fault) -> Result<(), Failure> {
        let order = serde_json::to_vec(&Order { hosts, fault })?;
        let request = Request {
            method: "PUT",
            body: &order,
            ..Request::get("/faults")
        };
        self.ask(request).await.map(drop)
    }

    async fn ask(&self, request: Request<'_>) -> Result<String, Failure> {
        Wire::plain(self.control).await?.succeed(request).await
    }
}
