//! Bridges that hang do not delay the others, and probes are spread evenly over the interval.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use testbed::Failure;
use tokio::time::sleep;

use crate::{
    Setting,
    bridge::{Fault, address_of},
    numbers::{Distribution, now_micros},
    punctuality::{Evenness, Punctuality},
    report::Report,
    say,
    stage::{Phase, Stage},
    whole::{LATENESS, lateness_row},
};

/// Lateness of those whose bridges work.
const P99_WITHIN: f64 = 2.0;
/// The busiest second by the average one.
const PEAK_WITHIN: f64 = 1.5;

/// Bridges that hang beside bridges that work.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true)]
pub(crate) struct FairnessArguments {
    #[command(flatten)]
    setting: Setting,

    /// Bridges that hang until the timeout. Each connection has a bridge of its own here, as with --distinct
    #[arg(long, default_value_t = 50)]
    hanging: usize,

    /// Intervals that each state is watched for
    #[arg(long, default_value_t = 3)]
    intervals: u32,
}

/// One state that was watched.
#[derive(Debug, Serialize)]
struct Watched {
    phase: Phase,
    /// Of those whose bridges work.
    late: Distribution,
    /// Who had not asked when they should, at the end.
    missing: Distribution,
    /// Of those whose bridges work; the others try again in between.
    evenness: Evenness,
}

struct Fairness {
    stage: Stage,
    /// From this number on bridges hang.
    first_hanging: usize,
    punctuality: Punctuality,
    time: Duration,
}

pub(crate) async fn run(arguments: &FairnessArguments) -> Result<(), Failure> {
    let setting = Setting {
        distinct: true,
        ..arguments.setting.clone()
    };
    let mut report = setting.report("Bridges that hang, and how evenly probes are spread")?;
    let mut stage = Stage::set_up(setting.load(), &setting.operator()?, &setting.operator_arguments).await?;
    stage.start_operator().await?;
    let (_, ready) = stage.create(0..stage.load.objects).await?;
    say(&format!("all connected after {ready:.1} s"))?;
    stage.settle().await;
    let mut fairness = Fairness {
        punctuality: Punctuality::of(&stage.sight.uids(), stage.load.interval),
        first_hanging: stage.load.objects.saturating_sub(arguments.hanging),
        time: stage.load.interval * arguments.intervals.max(2),
        stage,
    };
    // Creation is a herd of its own; one interval later everybody goes by the plan.
    sleep(fairness.stage.load.interval).await;
    let calm = fairness.watch("all bridges work").await?;
    let hosts = (fairness.first_hanging..fairness.stage.load.objects).map(address_of);
    fairness.stage.bridges.set(hosts.collect(), Fault::Hang).await?;
    let hanging = fairness.watch("some hang").await?;
    fairness.stage.stop_operator().await?;
    let start = fairness.stage.start_operator().await?;
    say(&format!("ready {:.2} s after a restart", start.ready))?;
    fairness.punctuality.begin_anew();
    let restarted = fairness.watch("some hang, after a restart").await?;
    let last = fairness.stage.usage()?;
    fairness.stage.stop_operator().await?;
    say(&format!("{last:?}"))?;
    show(&mut report, arguments, &[calm, hanging, restarted])
}

impl Fairness {
    async fn watch(&mut self, name: &'static str) -> Result<Watched, Failure> {
        self.stage.bridges.asked().await?;
        let (from, before) = (now_micros(), self.stage.moment().await?);
        let (mut asked, mut late) = (Vec::new(), Vec::new());
        let end = tokio::time::Instant::now() + self.time;
        while tokio::time::Instant::now() < end {
            sleep(self.stage.load.interval / 2).await;
            let mut new = self.stage.bridges.asked().await?;
            new.retain(|(number, _)| usize::try_from(*number).is_ok_and(|it| it < self.first_hanging));
            late.extend(self.punctuality.take(&new));
            asked.extend(new);
        }
        let to = now_micros();
        let phase = self.stage.phase(name, &before).await?;
        Ok(Watched {
            phase,
            late: Distribution::of(late),
            missing: self.punctuality.missing(to),
            evenness: Evenness::of(&asked, from, to),
        })
    }
}

fn show(report: &mut Report, arguments: &FairnessArguments, watched: &[Watched]) -> Result<(), Failure> {
    let rows: Vec<_> = watched.iter().map(|watched| watched.phase.row()).collect();
    report.table("Phases", &Phase::HEADERS, &rows)?;
    let rows: Vec<_> = watched
        .iter()
        .map(|watched| lateness_row(watched.phase.name, &watched.late, &watched.evenness))
        .collect();
    report.table("Those whose bridges work", &LATENESS, &rows)?;
    report.say(
        "Lateness is the time between two probes of one object, where they reach the bridge, less the object's own planned \
         delay. The rate is taken by the second.",
    )?;
    let verdict = |holds: bool| if holds { "holds" } else { "FAILS" }.to_owned();
    let mut rows = Vec::new();
    for Watched {
        phase,
        late,
        missing,
        evenness,
    } in watched
    {
        let p99 = late.quantile(990);
        rows.push(vec![
            format!("{}: p99 of lateness within {P99_WITHIN} s", phase.name),
            format!("{p99:.3} s"),
            verdict(p99 <= P99_WITHIN),
        ]);
        let overdue = missing.max();
        rows.push(vec![
            format!("{}: nobody is overdue at its end by more", phase.name),
            format!("{overdue:.3} s"),
            verdict(overdue <= P99_WITHIN),
        ]);
        rows.push(vec![
            format!("{}: busiest second within {PEAK_WITHIN} of the mean", phase.name),
            format!("{:.2} (random: {:.2})", evenness.ratio, evenness.random),
            verdict(evenness.ratio <= PEAK_WITHIN),
        ]);
    }
    let heading = format!("Verdict, with {} that hang", arguments.hanging);
    report.table(&heading, &["Claim", "Measured", "Verdict"], &rows)?;
    report.keep("watched", &watched)?;
    report.show()
}
