//! The program: parses its arguments, installs the one TLS provider, and runs.

use std::{
    error::Error,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};
use scim_bridge_operator::{
    api,
    args::{Arguments, Command, LogFormat, PluginArguments, PluginCommand, refusal},
    check, process,
    settings::LogDirectives,
};

fn main() -> ExitCode {
    match dispatch() {
        Ok(code) => code,
        Err(error) => {
            let mut line = format!("scim-bridge-operator: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                line = format!("{line}: {cause}");
                source = cause.source();
            }
            // Nothing is left to be done where standard error is closed.
            let _ = writeln!(io::stderr(), "{line}");
            ExitCode::FAILURE
        }
    }
}

/// The name by which kubectl finds the program as `kubectl scim-bridge`.
const PLUGIN: &str = "kubectl-scim_bridge";

fn dispatch() -> Result<ExitCode, Box<dyn Error>> {
    let called = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    if called.file_stem().is_some_and(|name| name == PLUGIN) {
        return match PluginArguments::try_parse() {
            Ok(arguments) => plugin(arguments.command),
            Err(error) => refuse(&error, &PluginArguments::command()),
        };
    }
    let command = match Arguments::try_parse() {
        Ok(arguments) => arguments.command,
        Err(error) => return refuse(&error, &Arguments::command()),
    };
    match command {
        Command::Run(arguments) => {
            arguments.addresses.ensure_usable()?;
            runtime()?.block_on(process::run(*arguments))?;
        }
        Command::Preflight(arguments) => {
            runtime()?.block_on(process::preflight(*arguments, io::stdout()))?;
        }
        Command::Check(arguments) => {
            arguments.addresses.ensure_usable()?;
            let class = quiet_runtime()?.block_on(check::check(&arguments))?;
            return Ok(check::exit_code(class).into());
        }
        Command::Explain { reason } => check::explain::explain(reason.as_deref(), &mut io::stdout())?,
        Command::Crd => {
            let yaml = serde_saphyr::to_string(&api::crd())?;
            io::stdout().write_all(yaml.as_bytes())?;
        }
        Command::Completions { shell } => {
            let mut definition = Arguments::command();
            let mut out = Vec::new();
            clap_complete::generate(shell, &mut definition, "scim-bridge-operator", &mut out);
            io::stdout().write_all(&out)?;
        }
        Command::Man => clap_mangen::Man::new(Arguments::command()).render(&mut io::stdout())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn plugin(command: PluginCommand) -> Result<ExitCode, Box<dyn Error>> {
    let runtime = quiet_runtime()?;
    let out = &mut io::stdout();
    let class = match command {
        PluginCommand::Check(arguments) => {
            arguments.addresses.ensure_usable()?;
            runtime.block_on(check::plugin::check(&arguments))?
        }
        PluginCommand::Recheck { connection, timeout } => {
            runtime.block_on(check::plugin::recheck(&connection, timeout, out))?
        }
        PluginCommand::Suspend(connection) => {
            runtime.block_on(check::plugin::suspend(&connection, true, out))?;
            return Ok(ExitCode::SUCCESS);
        }
        PluginCommand::Resume(connection) => {
            runtime.block_on(check::plugin::suspend(&connection, false, out))?;
            return Ok(ExitCode::SUCCESS);
        }
        PluginCommand::Explain { reason } => {
            check::explain::explain(reason.as_deref(), out)?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    Ok(check::exit_code(class).into())
}

/// Shows help or version. Anything else is an error, which ends with 1: the codes above it belong to verdicts.
fn refuse(error: &clap::Error, command: &clap::Command) -> Result<ExitCode, Box<dyn Error>> {
    let is_asked_for = !error.use_stderr();
    if is_asked_for || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.print()?;
        Ok(if is_asked_for {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    } else {
        let line: Vec<_> = std::env::args_os().skip(1).collect();
        Err(refusal(error, command, &line).into())
    }
}

/// One thread: all work is waiting, and a probe's share of the rest is a quarter of a millisecond. Threads that wake
/// each other, with an arena of the allocator for each, were measured to cost more than they bring.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    // kube and reqwest would each choose by features; with one installed nobody has to.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// For commands whose output is their answer: only faults are logged.
fn quiet_runtime() -> Result<tokio::runtime::Runtime, Box<dyn Error>> {
    process::telemetry::install(LogFormat::Text, &"error".parse::<LogDirectives>()?, None);
    Ok(runtime()?)
}
