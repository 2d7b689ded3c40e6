//! `make demo`: the operator at work, on real parts, on this machine.
//!
//! A Kubernetes API, a SCIM server with bridges before it, the operator's binary as its ServiceAccount, and the
//! connections of `deploy/examples/`. What the table must say is written down in [`scenes`]; the program ends with 0
//! only if it said so.

mod bridges;
mod scenes;
mod stage;

use std::{env, io::Write as _, process::ExitCode};

use testbed::Failure;
use tokio::signal::unix::{SignalKind, signal};

use crate::{scenes::play, stage::Stage};

#[tokio::main]
async fn main() -> ExitCode {
    // kube and the bridges use the same TLS; with one provider installed neither has to choose.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // With standard error closed, the exit code has to do.
            let _ = writeln!(std::io::stderr(), "demo: {failure:?}");
            ExitCode::FAILURE
        }
    }
}

/// Plays until the end or an interrupt. Everything that was started is owned here, and ends with it.
async fn run() -> Result<(), Failure> {
    let keep = env::var("KEEP").is_ok_and(|keep| keep == "1");
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let show = async {
        let stage = Stage::set_up().await?;
        let outcome = play(&stage).await;
        if keep {
            stage.explain()?;
            std::future::pending::<()>().await;
        }
        stage.tear_down().await?;
        outcome
    };
    tokio::select! {
        outcome = show => outcome,
        _ = interrupt.recv() => if keep { Ok(()) } else { Err("interrupted".into()) },
        _ = terminate.recv() => if keep { Ok(()) } else { Err("interrupted".into()) },
    }
}
