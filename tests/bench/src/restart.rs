//! A restart with fresh verdicts: the schedule goes on, and nobody is asked or told anything.

use std::time::Duration;

use clap::Args;
use testbed::Failure;
use tokio::time::sleep;

use crate::{
    Setting,
    numbers::now_micros,
    say,
    stage::{Phase, Stage},
};

/// A restart with fresh verdicts.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true)]
pub(crate) struct RestartArguments {
    #[command(flatten)]
    setting: Setting,

    /// Seconds that are watched after it. With an interval of an hour (--interval 3600) hardly anything is due meanwhile
    #[arg(long, default_value_t = 15)]
    watch: u64,

    /// Milliseconds within which it has to lead and to be ready
    #[arg(long, default_value_t = 3000)]
    within: u64,
}

pub(crate) async fn run(arguments: &RestartArguments) -> Result<(), Failure> {
    let setting = &arguments.setting;
    let mut report = setting.report("A restart with fresh verdicts")?;
    let mut stage = Stage::set_up(setting.load(), &setting.operator()?, &setting.operator_arguments).await?;
    stage.start_operator().await?;
    let (_, ready) = stage.create(0..stage.load.objects).await?;
    say(&format!("all connected after {ready:.1} s"))?;
    stage.settle().await;
    let ended = stage.stop_operator().await?;
    let before = stage.moment().await?;
    let start = stage.start_operator().await?;
    let until_ready = stage.phase("until ready", &before).await?;
    let between = stage.moment().await?;
    sleep(Duration::from_secs(arguments.watch)).await;
    let after = stage.phase("after it", &between).await?;
    report.table("Restart", &Phase::HEADERS, &[until_ready.row(), after.row()])?;
    let writes = until_ready.status_writes + after.status_writes;
    let probes = until_ready.probes + after.probes;
    let due = u64::try_from(stage.sight.due_by(now_micros()))?;
    let within = Duration::from_millis(arguments.within).as_secs_f64();
    report.say(&format!(
        "Ended within {ended:.2} s. Leads {:.3} s after its beginning, ready after {:.3} s, with {:.0} ms CPU and {:.1} MiB.",
        start.leading,
        start.ready,
        start.cpu * 1000.0,
        start.rss
    ))?;
    let verdict = |holds: bool| if holds { "holds" } else { "FAILS" };
    report.table(
        "Verdict",
        &["Claim", "Measured", "Verdict"],
        &[
            vec![
                "No probe but of those that are due by their status meanwhile".to_owned(),
                format!("{probes}, due {due}"),
                verdict(probes <= due).to_owned(),
            ],
            vec![
                "No write of a status".to_owned(),
                writes.to_string(),
                verdict(writes == 0).to_owned(),
            ],
            vec![
                format!("Leads, and has read everything, within {within:.1} s"),
                format!("{:.3} s", start.ready),
                verdict(start.ready <= within).to_owned(),
            ],
        ],
    )?;
    report.keep("start", &start)?;
    report.keep("phases", &[until_ready, after])?;
    stage.stop_operator().await?;
    report.show()
}
