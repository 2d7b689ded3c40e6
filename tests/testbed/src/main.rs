//! The test bed from a shell: `testbed tools` makes the programs, `testbed up` runs a cluster.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use testbed::{Cluster, Failure, tools};
use tokio::signal::unix::{SignalKind, signal};

/// The test bed of scim-bridge-operator, from a shell.
#[derive(Parser)]
#[command(name = "testbed")]
enum Command {
    /// Locate or build every program that the tests run, and say where it is
    Tools,
    /// Run a Kubernetes API until Ctrl-C or SIGTERM
    Up {
        /// Run kube-controller-manager as well: Deployments make Pods, deleted namespaces go
        #[arg(long)]
        controllers: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Tools => tools::all(&mut io::stderr()).await.map_err(Failure::from),
        Command::Up { controllers } => up(controllers).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // With standard error closed, the exit code has to do.
            let _ = writeln!(io::stderr(), "testbed: {failure:?}");
            ExitCode::FAILURE
        }
    }
}

async fn up(controllers: bool) -> Result<(), Failure> {
    // Before anything is started: from here on an interrupt ends this program in good order.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let start = async {
        if controllers {
            Cluster::with_controllers().await
        } else {
            Cluster::start().await
        }
    };
    let cluster = tokio::select! {
        cluster = start => cluster?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    let mut out = io::stdout();
    for line in cluster.describe() {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "export KUBECONFIG={}", cluster.kubeconfig().display())?;
    writeln!(out, "kubectl: {}", cluster.kubectl().program().display())?;
    writeln!(
        out,
        "up, until Ctrl-C or SIGTERM to this process ({})",
        std::process::id()
    )?;
    out.flush()?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
