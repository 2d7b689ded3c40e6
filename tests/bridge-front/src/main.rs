//! The bridge front as a program: reads its arguments, says where it listens, and ends by a signal.

mod args;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use args::Arguments;
use bridge_front::Control;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a standard error there is nobody to tell.
            let _ = writeln!(io::stderr(), "bridge-front: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> io::Result<()> {
    // Before anything is announced: from then on a signal is an orderly end.
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;

    let wanted = arguments.control();
    let front = arguments.front()?.start().await?;
    let control = match wanted {
        Some(address) => Some(Control::start(&front, address).await?),
        None => None,
    };
    announce(&mut io::stdout().lock(), &front.url(), control.as_ref())?;

    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    drop(control);
    front.stop().await;
    Ok(())
}

/// The line about the front comes last: who waits for it finds the control port open as well.
fn announce(out: &mut impl Write, url: &str, control: Option<&Control>) -> io::Result<()> {
    if let Some(control) = control {
        writeln!(out, "control on http://{}", control.addr())?;
    }
    writeln!(out, "listening on {url}")?;
    out.flush()
}
