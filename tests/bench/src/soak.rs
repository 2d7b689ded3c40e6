//! A long time with faults, edits, rotations, creations and deletions: nothing grows, and nothing stays.
//!
//! Some of the connections have trouble all the time; the others have none, and how late those are shows whether the
//! trouble of others reaches them.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::json;
use testbed::{Dice, Failure};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::{
    Setting,
    api_server::Write,
    bridge::{Fault, address_of},
    numbers::{Distribution, now_micros, ratio},
    process::Usage,
    punctuality::Punctuality,
    report::Report,
    say,
    stage::{Stage, bad_key, good_key, sample},
};

/// Growth of memory that is none.
const MEMORY_WITHIN: f64 = 1.05;
/// Every connection is closed by then.
const CLOSED_WITHIN: Duration = Duration::from_mins(3);
/// Descriptors that may be open by chance when one looks.
const STRAY: u64 = 8;

/// A long time with everything that happens.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true)]
pub(crate) struct SoakArguments {
    #[command(flatten)]
    setting: Setting,

    /// How long. Each connection has a bridge of its own here, as with --distinct
    #[arg(long, default_value_t = 60)]
    minutes: u32,

    /// Minutes before memory has to be flat
    #[arg(long, default_value_t = 10)]
    warm_up: u32,

    /// How many of a hundred connections have trouble
    #[arg(long, default_value_t = 10)]
    troubled: usize,

    /// What happens a second
    #[arg(long, default_value_t = 2)]
    actions: u32,

    /// The same seed, the same trouble; without it, another one each time
    #[arg(long)]
    seed: Option<u64>,
}

/// What one minute came to.
#[derive(Clone, Debug, Serialize)]
struct Minute {
    number: u32,
    operator: Usage,
    probes: u64,
    late: Distribution,
    /// Who has no trouble and is overdue now, by the most.
    overdue: f64,
    queue: f64,
    queue_oldest: f64,
    failures: f64,
    panics: f64,
    connections: f64,
}

struct Soak<'a> {
    stage: Stage,
    dice: Dice,
    /// Objects from this number on have trouble.
    first_troubled: usize,
    /// Bridges that something is wrong with, and until when.
    faulty: Vec<(usize, Instant)>,
    /// Connections beyond those that were there at first.
    further: Vec<usize>,
    next_further: usize,
    edition: u32,
    punctuality: Punctuality,
    arguments: &'a SoakArguments,
}

pub(crate) async fn run(arguments: &SoakArguments) -> Result<(), Failure> {
    let seed = arguments.seed.unwrap_or_else(now_micros);
    let setting = Setting {
        distinct: true,
        ..arguments.setting.clone()
    };
    let mut report = setting.report("Soak")?;
    report.say(&format!(
        "{} minutes, {} % of the connections in trouble, {} actions a second, seed {seed}.",
        arguments.minutes, arguments.troubled, arguments.actions
    ))?;
    say(&format!("seed {seed}"))?;
    let mut stage = Stage::set_up(setting.load(), &setting.operator()?, &setting.operator_arguments).await?;
    stage.start_operator().await?;
    sleep(Duration::from_secs(2)).await;
    let empty = stage.usage()?;
    let objects = stage.load.objects;
    let (_, ready) = stage.create(0..objects).await?;
    say(&format!("all connected after {ready:.1} s"))?;
    let mut soak = Soak {
        dice: Dice::from_seed(seed),
        first_troubled: objects - (objects * arguments.troubled.min(100) / 100).min(objects),
        faulty: Vec::new(),
        further: Vec::new(),
        next_further: objects,
        edition: 0,
        punctuality: Punctuality::of(&stage.sight.uids(), stage.load.interval),
        arguments,
        stage,
    };
    // Creation is a herd of its own; one interval later everybody goes by the plan.
    sleep(soak.stage.load.interval).await;
    soak.stage.bridges.asked().await?;
    let mut minutes = Vec::new();
    for minute in 1..=arguments.minutes {
        let minute = soak.pass_minute(minute).await?;
        say(&minute.line())?;
        minutes.push(minute);
        report.keep("minutes", &minutes)?;
    }
    let left = soak.clear(&empty).await?;
    show(&mut report, arguments, &minutes, (empty, left))
}

impl Soak<'_> {
    /// Lets a minute pass in which much happens.
    async fn pass_minute(&mut self, minute: u32) -> Result<Minute, Failure> {
        let (before, tally) = (self.stage.usage()?, self.stage.bridges.tally().await?);
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = Instant::now() + Duration::from_mins(1);
        while Instant::now() < end {
            seconds.tick().await;
            self.heal(Instant::now()).await?;
            for _ in 0..self.arguments.actions {
                self.act().await?;
            }
        }
        let asked = self.stage.bridges.asked().await?;
        let calm = |number: u32| usize::try_from(number).is_ok_and(|number| number < self.first_troubled);
        let of_calm: Vec<_> = asked.into_iter().filter(|(number, _)| calm(*number)).collect();
        let late = Distribution::of(self.punctuality.take(&of_calm));
        let overdue = self.punctuality.missing(now_micros()).max();
        let after = self.stage.usage()?;
        let metrics = self.stage.metrics().await?;
        let read = |name: &str| sample(&metrics, &format!("scim_bridge_operator_{name}"), "");
        Ok(Minute {
            number: minute,
            operator: Usage {
                cpu: after.cpu - before.cpu,
                ..after
            },
            probes: self.stage.bridges.tally().await?.health - tally.health,
            late,
            overdue,
            queue: read("queue_depth"),
            queue_oldest: read("queue_oldest_seconds"),
            failures: read("reconcile_failures_total"),
            panics: read("reconcile_panics_total"),
            connections: read("connections"),
        })
    }

    /// One of those that have trouble.
    fn victim(&mut self) -> usize {
        let count = self.stage.load.objects - self.first_troubled;
        self.first_troubled + self.dice.pick(count)
    }

    /// Does one of the things that happen.
    async fn act(&mut self) -> Result<(), Failure> {
        let victim = self.victim();
        match self.dice.below(10) {
            0..=2 => {
                let fault = match self.dice.below(5) {
                    0 => Fault::Hang,
                    1 => Fault::Refuse,
                    2 => Fault::Error,
                    3 => Fault::Unauthorized,
                    _ => Fault::Slow(u32::try_from(200 + self.dice.below(4000))?),
                };
                let lasts = Duration::from_secs(10 + self.dice.below(80));
                self.stage.bridges.set(vec![address_of(victim)], fault).await?;
                self.faulty.push((victim, Instant::now() + lasts));
            }
            3 | 4 => {
                let (interval, timeout) = (30 + self.dice.below(31), 2 + self.dice.below(9));
                let spec = json!({"interval": format!("{interval}s"), "timeout": format!("{timeout}s")});
                self.change(victim, json!({"spec": spec})).await?;
            }
            5 => {
                let requested = json!({"reconcile.fluxcd.io/requestedAt": now_micros().to_string()});
                self.change(victim, json!({"metadata": {"annotations": requested}}))
                    .await?;
            }
            6 | 7 => {
                self.edition += 1;
                // One of four is a mistake that is noticed later, by another rotation.
                let key = if self.dice.below(4) == 0 {
                    bad_key(victim)
                } else {
                    good_key(victim, self.edition)
                };
                self.write(&self.stage.new_key(victim, &key)).await?;
            }
            8 => {
                let number = self.next_further;
                self.next_further += 1;
                self.further.push(number);
                self.write(&self.stage.new_secret(number)).await?;
                self.write(&self.stage.new_connection(number)).await?;
            }
            _ => {
                let index = self.dice.pick(self.further.len());
                if index < self.further.len() {
                    let number = self.further.swap_remove(index);
                    self.delete(number).await?;
                }
            }
        }
        Ok(())
    }

    async fn write(&self, write: &Write) -> Result<(), Failure> {
        self.stage.api_server.write(write).await.map(drop)
    }

    async fn change(&self, number: usize, change: serde_json::Value) -> Result<(), Failure> {
        self.write(&Write::merge(self.stage.connection(number), change))
            .await
    }

    async fn delete(&self, number: usize) -> Result<(), Failure> {
        self.write(&Write::delete(self.stage.connection(number))).await?;
        self.write(&Write::delete(self.stage.secret(number))).await
    }

    /// Mends the bridges whose time has come.
    async fn heal(&mut self, now: Instant) -> Result<(), Failure> {
        let (healed, faulty): (Vec<_>, Vec<_>) = self.faulty.drain(..).partition(|(_, until)| *until <= now);
        self.faulty = faulty;
        if healed.is_empty() {
            return Ok(());
        }
        let hosts = healed.iter().map(|(number, _)| address_of(*number)).collect();
        self.stage.bridges.set(hosts, Fault::None).await
    }

    /// Takes everything away, and waits until what was open for it is closed. What the operator has then.
    async fn clear(&mut self, empty: &Usage) -> Result<Usage, Failure> {
        say("deleting all connections")?;
        for number in std::mem::take(&mut self.further) {
            self.delete(number).await?;
        }
        let all = 0..self.stage.load.objects;
        let delete = |number| Write::delete(self.stage.connection(number));
        self.stage.api_server.write_each(all, delete).await?;
        let end = Instant::now() + CLOSED_WITHIN;
        let mut least = self.stage.usage()?;
        while least.fds > empty.fds && Instant::now() < end {
            sleep(Duration::from_secs(5)).await;
            let usage = self.stage.usage()?;
            if usage.fds < least.fds {
                least = usage;
            }
        }
        self.stage.stop_operator().await?;
        Ok(least)
    }
}

impl Minute {
    const HEADERS: [&'static str; 13] = [
        "Minute",
        "RSS MiB",
        "fds",
        "CPU s",
        "Probes",
        "Late p50 ms",
        "p99 ms",
        "max ms",
        "Overdue s",
        "Queue",
        "Oldest s",
        "Failures",
        "Connections",
    ];

    fn row(&self) -> Vec<String> {
        let millis = |seconds: f64| format!("{:.0}", seconds * 1000.0);
        vec![
            self.number.to_string(),
            format!("{:.1}", self.operator.rss),
            self.operator.fds.to_string(),
            format!("{:.1}", self.operator.cpu),
            self.probes.to_string(),
            millis(self.late.median()),
            millis(self.late.quantile(990)),
            millis(self.late.max()),
            format!("{:.1}", self.overdue),
            format!("{:.0}", self.queue),
            format!("{:.2}", self.queue_oldest),
            format!("{:.0}", self.failures),
            format!("{:.0}", self.connections),
        ]
    }

    fn line(&self) -> String {
        let named = Self::HEADERS.iter().zip(self.row());
        let named: Vec<_> = named.map(|(name, value)| format!("{name} {value}")).collect();
        named.join(", ")
    }
}

fn show(
    report: &mut Report,
    arguments: &SoakArguments,
    minutes: &[Minute],
    (empty, left): (Usage, Usage),
) -> Result<(), Failure> {
    let rows: Vec<_> = minutes.iter().map(Minute::row).collect();
    report.table("By the minute", &Minute::HEADERS, &rows)?;
    report.say("Lateness is that of the connections that have no trouble.")?;
    // A run that is shorter than its warm-up is judged by its second half.
    let warm_up = arguments.warm_up.min(arguments.minutes / 2);
    let warm: Vec<_> = minutes.iter().filter(|minute| minute.number > warm_up).collect();
    let part = warm.len().div_ceil(3).min(10);
    let of = |minutes: &[&Minute], value: fn(&Minute) -> f64| {
        Distribution::of(minutes.iter().map(|minute| value(minute))).median()
    };
    let first = warm.get(..part).unwrap_or_default();
    let last = warm.get(warm.len().saturating_sub(part)..).unwrap_or_default();
    let rss = |minute: &Minute| minute.operator.rss;
    let late = |minute: &Minute| minute.late.quantile(990);
    let (memory, later) = (of(first, rss), of(last, rss));
    let (before, after) = (of(first, late), of(last, late));
    let panics = minutes.last().map(|minute| minute.panics).unwrap_or_default();
    let verdict = |holds: bool| if holds { "holds" } else { "FAILS" }.to_owned();
    report.table(
        "Verdict",
        &["Claim", "Measured", "Verdict"],
        &[
            vec![
                format!("Memory is flat within 5 % after minute {warm_up}"),
                format!(
                    "{memory:.1} MiB, later {later:.1} MiB ({:+.1} %)",
                    (ratio(later, memory) - 1.0) * 100.0
                ),
                verdict(later <= memory * MEMORY_WITHIN),
            ],
            vec![
                "Lateness does not grow (p99, by more than half and 100 ms)".to_owned(),
                format!("{:.0} ms, later {:.0} ms", before * 1000.0, after * 1000.0),
                verdict(after <= before * 1.5 + 0.1),
            ],
            vec![
                "No descriptor stays once all connections are gone".to_owned(),
                format!("{} at first, {} at the end", empty.fds, left.fds),
                verdict(left.fds <= empty.fds + STRAY),
            ],
            vec![
                "No pass panics".to_owned(),
                format!("{panics:.0}"),
                verdict(panics < 1.0),
            ],
        ],
    )?;
    report.say(&format!(
        "Memory: {:.1} MiB without objects at first, {:.1} MiB when all were gone, {:.1} MiB at most.",
        empty.rss, left.rss, left.peak
    ))?;
    report.show()
}
