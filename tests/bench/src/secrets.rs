//! Secrets that nobody refers to: in a cluster with many of them the operator must not keep any.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use testbed::Failure;
use tokio::time::sleep;

use crate::{
    Setting,
    api_server::Write,
    numbers::{ratio, size},
    say,
    stage::{Phase, Stage},
};

/// A moment in which buffers that are not needed any more are given back.
const REST: Duration = Duration::from_secs(20);

/// Secrets that nobody refers to.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true)]
pub(crate) struct SecretsArguments {
    #[command(flatten)]
    setting: Setting,

    /// How many. etcd holds 2 GiB
    #[arg(long, default_value_t = 30_000)]
    secrets: usize,

    /// KiB in each
    #[arg(long, default_value_t = 50)]
    kib: usize,
}

pub(crate) async fn run(arguments: &SecretsArguments) -> Result<(), Failure> {
    let setting = &arguments.setting;
    let mut report = setting.report("Secrets that nobody refers to")?;
    let mut stage = Stage::set_up(setting.load(), &setting.operator()?, &setting.operator_arguments).await?;
    stage.start_operator().await?;
    stage.create(0..stage.load.objects).await?;
    stage.settle().await;
    let mut phases = Vec::new();
    let before = stage.moment().await?;
    sleep(REST).await;
    phases.push(stage.phase("before", &before).await?);

    let filler = "x".repeat(arguments.kib * 1024);
    let make = |number: usize| {
        Write::create(
            format!(
                "/api/v1/namespaces/bench-{}/secrets",
                number % stage.load.namespaces
            ),
            json!({"apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": format!("unrelated-{number:05}")}, "stringData": {"filler": filler}}),
        )
    };
    say(&format!(
        "writing {} Secrets of {} KiB",
        arguments.secrets, arguments.kib
    ))?;
    let before = stage.moment().await?;
    stage.api_server.write_each(0..arguments.secrets, make).await?;
    phases.push(stage.phase("while they are written", &before).await?);
    let before = stage.moment().await?;
    sleep(REST).await;
    phases.push(stage.phase("after", &before).await?);

    stage.stop_operator().await?;
    let before = stage.moment().await?;
    let start = stage.start_operator().await?;
    phases.push(stage.phase("start among them", &before).await?);
    let before = stage.moment().await?;
    sleep(REST).await;
    phases.push(stage.phase("after the start", &before).await?);
    stage.stop_operator().await?;

    let rows: Vec<_> = phases.iter().map(Phase::row).collect();
    report.table("Phases", &Phase::HEADERS, &rows)?;
    let rss = |name: &str| {
        let phase = phases.iter().find(|phase| phase.name == name);
        phase.map(|phase| phase.operator.rss).unwrap_or_default()
    };
    let writing = phases.iter().find(|phase| phase.name == "while they are written");
    let each = writing.map(|phase| ratio(phase.operator.cpu * 1e6, size(arguments.secrets)));
    report.say(&format!(
        "Memory stays {:+.1} MiB beside what it was, and {:+.1} MiB after a start among them, which is ready after {:.2} s. \
         While they are written each takes {:.0} µs of the operator's CPU, the probes meanwhile included.",
        rss("after") - rss("before"),
        rss("after the start") - rss("before"),
        start.ready,
        each.unwrap_or_default(),
    ))?;
    report.keep("phases", &phases)?;
    report.keep("start", &start)?;
    report.show()
}
