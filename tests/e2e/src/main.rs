//! `make e2e`: image and chart at work in a real cluster.
//!
//! The cluster of `KUBECONFIG`, which must not have the operator yet, runs the image under the chart. The bridges run
//! in this process, at an address that Pods reach. Each scene says in one line what it proved; the program ends with 0
//! only if all did. What it made it takes back, whatever the outcome: two namespaces, the release, the CRD.

mod bridges;
mod lease;
mod scenes;
mod stage;

use std::{io::Write as _, net::IpAddr, process::ExitCode};

use clap::Parser;
use testbed::Failure;
use tokio::signal::unix::{SignalKind, signal};

use crate::stage::Stage;

/// What the user knows of the cluster.
#[derive(Debug, Parser)]
#[command(
    name = "e2e",
    version,
    about = "Image and chart at work in the cluster of KUBECONFIG"
)]
pub(crate) struct Arguments {
    /// The image, NAME:TAG, as the nodes know it
    #[arg(long, env = "IMAGE")]
    image: String,

    /// Shell command that brings the image to the nodes, where they cannot pull it: `kind load docker-image $IMAGE`
    #[arg(long, env = "IMAGE_LOAD")]
    image_load: Option<String>,

    /// Address of this machine as Pods reach it; the bridges listen there
    #[arg(long, env = "BRIDGE_ADDRESS")]
    bridge_address: IpAddr,

    /// Shell command that kills the container `$CONTAINER_ID` as `kill -9` does. Without it the Pod is deleted by force
    #[arg(long, env = "KILL_CONTAINER")]
    kill_container: Option<String>,

    /// Shell command that crashes the cluster and returns when its API is back; without it that scene is left out
    #[arg(long, env = "CRASH")]
    crash: Option<String>,

    /// Connections, each to a bridge of its own, under which the chart is upgraded
    #[arg(long, env = "LOAD", default_value_t = 200)]
    load: u16,

    /// Connections under which the memory limit has to hold
    #[arg(long, env = "MANY", default_value_t = 1000)]
    many: u16,
}

#[tokio::main]
async fn main() -> ExitCode {
    // kube and the bridges use the same TLS; with one provider installed neither has to choose.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match Box::pin(run(Arguments::parse())).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // With standard error closed, the exit code has to do.
            let _ = writeln!(std::io::stderr(), "e2e: {failure:?}");
            ExitCode::FAILURE
        }
    }
}

/// Plays every scene, or as many as there are before a failure or an interrupt, and takes back what was made.
async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stage = Stage::set_up(arguments).await?;
    let outcome = tokio::select! {
        outcome = scenes::play(&stage) => outcome,
        _ = interrupt.recv() => Err("interrupted".into()),
        _ = terminate.recv() => Err("interrupted".into()),
    };
    if outcome.is_err() {
        stage.show_what_there_is().await;
    }
    stage.tear_down().await?;
    outcome
}

/// One line of progress.
pub(crate) fn say(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
