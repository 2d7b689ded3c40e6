//! `make bench`: what the operator costs, beside what the machine can do.
//!
//! Real parts: etcd and kube-apiserver, the operator's release binary as its ServiceAccount, and a stand-in for bridges
//! that costs next to nothing. Each is a process of its own, and what it spends is read from the kernel. What the same
//! requests cost a client that does nothing else is measured in the same run: the ratio of the two says more than either,
//! for it is much the same on every machine.

mod api_server;
mod bridge;
mod directory;
mod fairness;
mod growth;
mod limits;
mod numbers;
mod plot;
mod process;
mod punctuality;
mod report;
mod restart;
mod rotation;
mod secrets;
mod sight;
mod soak;
mod stage;
mod stand_in;
mod whole;
mod wire;

use std::{
    env,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use testbed::Failure;
use tokio::signal::unix::{SignalKind, signal};

use crate::{report::Report, stage::Load};

/// What the operator costs, beside what the machine can do
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One whole run: start, creation, steady state, scrape, rotation, restart, and the machine's limits
    Run(whole::RunArguments),
    /// Cost per object as their number grows: a table and a plot
    Growth(growth::GrowthArguments),
    /// Bridges that hang must not delay the others, and probes are spread evenly, after a restart too
    Fairness(fairness::FairnessArguments),
    /// A restart with fresh verdicts: no request to a bridge, no write
    Restart(restart::RestartArguments),
    /// Users and groups that are compared with those of a bridge
    Directory(directory::DirectoryArguments),
    /// Secrets that nobody refers to cost nothing that lasts
    Secrets(secrets::SecretsArguments),
    /// Faults, edits and rotations for a long time: nothing grows, and nothing stays
    Soak(soak::SoakArguments),
    /// The stand-in for bridges, a process of its own
    #[command(hide = true)]
    Bridges(bridge::BridgeArguments),
    /// A client that does nothing else, a process of its own
    #[command(subcommand, hide = true)]
    Limit(limits::LimitArguments),
}

/// What every scenario is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct Setting {
    /// Connections, each with a Secret of its own
    #[arg(long, default_value_t = 1000)]
    objects: usize,

    /// Give each connection a bridge of its own (an address of 127.0.0.0/8) instead of one for all
    #[arg(long)]
    distinct: bool,

    /// `spec.interval`, in seconds
    #[arg(long, default_value_t = 30)]
    interval: u64,

    /// `spec.timeout`, in seconds
    #[arg(long, default_value_t = 10)]
    timeout: u64,

    /// Namespaces over which they are spread
    #[arg(long, default_value_t = 10)]
    namespaces: usize,

    /// The operator; without it, the one that was built beside this program
    #[arg(long)]
    operator: Option<PathBuf>,

    /// A further argument of `run`, for instance --operator-argument=--concurrency=64; repeatable
    #[arg(long = "operator-argument", allow_hyphen_values = true)]
    operator_arguments: Vec<String>,

    /// Where the report goes; beside it there will be one in JSON
    #[arg(long, default_value = "target/bench/report.md")]
    out: PathBuf,
}

impl Setting {
    /// The objects that are asked for.
    fn load(&self) -> Load {
        Load {
            objects: self.objects,
            distinct: self.distinct,
            interval: Duration::from_secs(self.interval),
            timeout: Duration::from_secs(self.timeout),
            namespaces: self.namespaces.max(1),
        }
    }

    /// The operator's binary.
    fn operator(&self) -> Result<PathBuf, Failure> {
        match &self.operator {
            Some(operator) => Ok(operator.clone()),
            None => Ok(env::current_exe()?.with_file_name("scim-bridge-operator")),
        }
    }

    /// A report that says what was set, and where.
    fn report(&self, title: &str) -> Result<Report, Failure> {
        let operator = self.operator()?;
        let mut report = Report::begin(&self.out, title)?;
        let hosts = if self.distinct {
            "a bridge each"
        } else {
            "one bridge for all"
        };
        let cores = std::thread::available_parallelism()?;
        let size = numbers::ratio(
            numbers::float(std::fs::metadata(&operator)?.len()),
            1024.0 * 1024.0,
        );
        report.say(&format!(
            "{} connections in {} namespaces, {hosts}, interval {} s, timeout {} s; operator {size:.1} MiB, arguments {:?}; \
             {cores} cores, shared by operator, bridges, API server, etcd and this program.",
            self.objects, self.namespaces, self.interval, self.timeout, self.operator_arguments,
        ))?;
        report.keep("load", &self.load())?;
        report.keep("binary_mib", &size)?;
        report.keep("cores", &cores.get())?;
        Ok(report)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    // kube and the bridges use the same TLS; with one provider installed neither has to choose.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match Box::pin(run(Arguments::parse().command)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // With standard error closed, the exit code has to do.
            let _ = writeln!(io::stderr(), "bench: {failure:?}");
            ExitCode::FAILURE
        }
    }
}

/// Runs to the end or to an interrupt. Everything that was started is owned by what runs here, and ends with it.
async fn run(command: Command) -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let work = async {
        match command {
            Command::Run(arguments) => Box::pin(whole::run(&arguments)).await,
            Command::Growth(arguments) => Box::pin(growth::run(&arguments)).await,
            Command::Fairness(arguments) => Box::pin(fairness::run(&arguments)).await,
            Command::Restart(arguments) => Box::pin(restart::run(&arguments)).await,
            Command::Directory(arguments) => Box::pin(directory::run(&arguments)).await,
            Command::Secrets(arguments) => Box::pin(secrets::run(&arguments)).await,
            Command::Soak(arguments) => Box::pin(soak::run(&arguments)).await,
            Command::Bridges(arguments) => bridge::serve(&arguments).await,
            Command::Limit(arguments) => {
                let limit = limits::measure(&arguments).await?;
                say(&serde_json::to_string(&limit)?)
            }
        }
    };
    tokio::select! {
        outcome = work => outcome,
        _ = interrupt.recv() => Err("interrupted".into()),
        _ = terminate.recv() => Err("interrupted".into()),
    }
}

/// One line of progress.
pub(crate) fn say(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    /// make has flags of its own, and appends those of `BENCH_FLAGS`.
    #[test]
    fn a_later_flag_counts_and_arguments_add_up() {
        let line = "bench soak --objects 5000 --objects 20 --distinct --distinct --operator-argument=--a \
                    --operator-argument=--b";
        let Command::Soak(soak) = Arguments::parse_from(line.split_whitespace()).command else {
            panic!()
        };
        let shown = format!("{soak:?}");
        assert!(shown.contains("objects: 20"), "{shown}");
        assert!(shown.contains(r#"["--a", "--b"]"#), "{shown}");
    }
}
