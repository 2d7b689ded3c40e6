//! The program: parses the arguments, installs the TLS provider and runs the command.

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
    check,
    directory_commands::{import, offboarding, plan, rehearse, release},
    process,
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
            // Standard error may be closed; then there is nowhere to report it.
            let _ = writeln!(io::stderr(), "{line}");
            ExitCode::FAILURE
        }
    }
}

/// kubectl runs a program of this name as `kubectl scim-bridge`.
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
        Command::Plan(arguments) => {
            arguments.addresses.ensure_usable()?;
            let conclusion = quiet_runtime()?.block_on(plan::plan(&arguments, &mut io::stdout()))?;
            return Ok(conclusion.exit_code().into());
        }
        Command::Import(arguments) => {
            arguments.addresses.ensure_usable()?;
            let imported = quiet_runtime()?.block_on(import::import(&arguments, &mut io::stdout()))?;
            return Ok(imported.exit_code().into());
        }
        Command::Offboarding(arguments) => {
            let proof = offboarding::offboarding(&arguments, &mut io::stdout())?;
            return Ok(proof.exit_code().into());
        }
        Command::Rehearse(arguments) => {
            arguments.addresses.ensure_usable()?;
            let rehearsed = quiet_runtime()?.block_on(rehearse::rehearse(&arguments, &mut io::stdout()))?;
            return Ok(rehearsed.exit_code().into());
        }
        Command::Explain { reason } => check::explain::explain(reason.as_deref(), &mut io::stdout())?,
        Command::Crd { provisioning: false } => {
            let yaml = serde_saphyr::to_string(&api::crd())?;
            io::stdout().write_all(yaml.as_bytes())?;
        }
        Command::Crd { provisioning: true } => {
            for crd in [api::user_crd(), api::group_crd()] {
                let yaml = serde_saphyr::to_string(&crd)?;
                write!(io::stdout(), "---\n{yaml}")?;
            }
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
        PluginCommand::Plan(arguments) => {
            arguments.addresses.ensure_usable()?;
            let conclusion = runtime.block_on(plan::plan_live(&arguments, out))?;
            return Ok(conclusion.exit_code().into());
        }
        PluginCommand::Import(arguments) => {
            arguments.addresses.ensure_usable()?;
            let imported = runtime.block_on(import::import_live(&arguments, out))?;
            return Ok(imported.exit_code().into());
        }
        PluginCommand::Offboarding(arguments) => {
            let proof = runtime.block_on(offboarding::offboarding_live(&arguments, out))?;
            return Ok(proof.exit_code().into());
        }
        PluginCommand::Release(arguments) => {
            runtime.block_on(release::release(&arguments, out))?;
            return Ok(ExitCode::SUCCESS);
        }
        PluginCommand::Rehearse(arguments) => {
            arguments.addresses.ensure_usable()?;
            let rehearsed = runtime.block_on(rehearse::rehearse_live(&arguments, out))?;
            return Ok(rehearsed.exit_code().into());
        }
        PluginCommand::Explain { reason } => {
            check::explain::explain(reason.as_deref(), out)?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    Ok(check::exit_code(class).into())
}

/// Prints help or version. Anything else is an error with exit code 1: `check` uses the codes above it for its results.
fn refuse(error: &clap::Error, command: &clap::Command) -> Result<ExitCode, Box<dyn Error>> {
    let is_requested = !error.use_stderr();
    if is_requested || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.print()?;
        Ok(if is_requested {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    } else {
        let line: Vec<_> = std::env::args_os().skip(1).collect();
        Err(refusal(error, command, &line).into())
    }
}

/// One thread: the program mostly waits, and a probe needs a quarter of a millisecond of CPU. Measured, more threads
/// cost more than they save: they wake each other, and each has its own allocator arena.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    // Otherwise kube and reqwest each choose a provider by their features.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// For commands that print their result: only errors are logged.
fn quiet_runtime() -> Result<tokio::runtime::Runtime, Box<dyn Error>> {
    process::telemetry::install(LogFormat::Text, &"error".parse::<LogDirectives>()?, None);
    Ok(runtime()?)
}
