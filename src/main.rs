//! The program: parses its arguments, installs the one TLS provider, and runs.

use std::{error::Error, io::Write as _, process::ExitCode};

use clap::Parser as _;
use scim_bridge_operator::{
    api,
    args::{Arguments, Command, PreflightArguments, RunArguments},
    process,
};

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let result = match command {
        Command::Run(arguments) => run(*arguments),
        Command::Preflight(arguments) => preflight(*arguments),
        Command::Crd => print_crd(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut line = format!("scim-bridge-operator: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                line = format!("{line}: {cause}");
                source = cause.source();
            }
            // Nothing is left to be done where standard error is closed.
            let _ = writeln!(std::io::stderr(), "{line}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: RunArguments) -> Result<(), Box<dyn Error>> {
    Ok(runtime()?.block_on(process::run(arguments))?)
}

fn preflight(arguments: PreflightArguments) -> Result<(), Box<dyn Error>> {
    Ok(runtime()?.block_on(process::preflight(arguments, std::io::stdout()))?)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    // kube and reqwest would each choose by features; with one installed nobody has to.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn print_crd() -> Result<(), Box<dyn Error>> {
    let yaml = serde_saphyr::to_string(&api::crd())?;
    Ok(std::io::stdout().write_all(yaml.as_bytes())?)
}
