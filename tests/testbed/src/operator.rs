//! The operator, as its own process: the real binary, with the access that a kubeconfig gives it and no more.

use std::{io, net::SocketAddr, path::Path, process::ExitStatus, time::Duration};

use serde_json::Value;
use thiserror::Error;

use crate::{
    failure::debug_is_message,
    loopback::{self, HttpError},
    scratch::Scratch,
    supervise::{Launch, Process, Signal, SuperviseError},
};

/// From start to ready: reach the API server, take the lease, fill the caches.
const READY_DEADLINE: Duration = Duration::from_mins(1);
/// What the operator inherits. Each of its flags has an environment variable, and those of a developer's shell must not
/// change what a test does. Coverage tools need theirs.
const INHERITED: [&str; 1] = ["LLVM_PROFILE_FILE"];

/// The operator cannot be started, or does not answer.
#[derive(Error)]
pub enum OperatorError {
    /// It does not start, does not become ready or does not end.
    #[error(transparent)]
    Process(#[from] SuperviseError),
    /// The arguments lack what the test bed needs.
    #[error("pass --admin-addr with an address on loopback, for example 127.0.0.1 and testbed::free_port()")]
    NoAdminAddress,
    /// Scratch files cannot be written.
    #[error("cannot prepare the operator's files")]
    Files(#[from] io::Error),
    /// Its admin address does not answer.
    #[error("the operator's admin address does not answer")]
    Http(#[from] HttpError),
}
debug_is_message!(OperatorError);

/// A running operator. Dropped, it is killed.
#[derive(Debug)]
pub struct OperatorProcess {
    process: Process,
    admin: SocketAddr,
}

impl OperatorProcess {
    /// Starts it and waits until it is ready. `args` must hold `--admin-addr`.
    pub async fn start(
        binary: &Path,
        kubeconfig: &Path,
        args: &[&str],
        envs: &[(&str, &str)],
    ) -> Result<Self, OperatorError> {
        let operator = Self::spawn(binary, kubeconfig, args, envs)?;
        operator.ready(READY_DEADLINE).await?;
        Ok(operator)
    }

    /// Starts it and does not wait: for tests in which it cannot be ready, or must not start at all.
    pub fn spawn(
        binary: &Path,
        kubeconfig: &Path,
        args: &[&str],
        envs: &[(&str, &str)],
    ) -> Result<Self, OperatorError> {
        let admin = admin_address(args).ok_or(OperatorError::NoAdminAddress)?;
        let mut launch = Launch::new("operator", binary)
            .args(args)
            .clean_environment()
            .env("KUBECONFIG", kubeconfig)
            .env("RUST_BACKTRACE", "1");
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                launch = launch.env(name, value);
            }
        }
        for (name, value) in envs {
            launch = launch.env(name, value);
        }
        let process = launch.start(&Scratch::new("operator")?)?;
        Ok(Self { process, admin })
    }

    /// Waits until `/readyz` says yes; fails at once if the operator ends before.
    pub async fn ready(&self, deadline: Duration) -> Result<(), OperatorError> {
        let ready = self.process.ready(deadline, "/readyz to answer 200", async || {
            self.get("readyz").await
        });
        ready.await.map(drop).map_err(Into::into)
    }

    /// What a scrape of its metrics reads.
    pub async fn metrics(&self) -> Result<String, OperatorError> {
        Ok(self.get("metrics").await?)
    }

    /// Its admin address.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Everything it logged so far.
    pub fn logs(&self) -> String {
        self.process.logs()
    }

    /// The lines that it logged as JSON so far. A line that is being written right now is not among them.
    pub fn events(&self) -> Vec<Value> {
        self.logs()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Sends SIGTERM and waits until it has ended by itself.
    pub async fn terminate(&self, deadline: Duration) -> Result<ExitStatus, OperatorError> {
        Ok(self.process.terminate(deadline).await?)
    }

    /// Sends SIGKILL, as a lost node does, and waits until it is gone.
    pub async fn kill(&self) -> Result<(), OperatorError> {
        Ok(self.process.kill().await?)
    }

    /// Sends any signal.
    pub fn signal(&self, signal: Signal) -> Result<(), OperatorError> {
        Ok(self.process.signal(signal)?)
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// What its admin server answers to `GET /path`, where that is a success.
    pub async fn get(&self, path: &str) -> Result<String, HttpError> {
        loopback::get(&format!("http://{}/{path}", self.admin)).await
    }
}

/// The value of `--admin-addr`, as a word of its own or after `=`.
fn admin_address(args: &[&str]) -> Option<SocketAddr> {
    let mut args = args.iter();
    args.find_map(|arg| arg.strip_prefix("--admin-addr"))
        .and_then(|rest| rest.strip_prefix('=').or_else(|| args.next().copied()))?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_address_is_found_in_both_spellings() {
        let expected = Some(SocketAddr::from(([127, 0, 0, 1], 4100)));
        assert_eq!(
            admin_address(&["run", "--admin-addr", "127.0.0.1:4100", "--x"]),
            expected
        );
        assert_eq!(admin_address(&["run", "--admin-addr=127.0.0.1:4100"]), expected);
        assert_eq!(admin_address(&["run", "--admin-addr"]), None);
        assert_eq!(admin_address(&["run"]), None);
    }
}
