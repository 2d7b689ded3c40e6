//! One whole run: each thing that an operator goes through, and what it costs.

use std::time::{Duration, Instant};

use clap::Args;
use testbed::Failure;
use tokio::time::sleep;

use crate::{
    Setting,
    limits::{Limit, bare_probes, bare_reads, bare_rotations, bare_writes},
    numbers::{Distribution, float, now_micros, ratio, size},
    punctuality::{Evenness, Punctuality},
    report::{Figure, Report},
    rotation::{self, rotate},
    say,
    stage::{Phase, Stage, Start},
};

/// How often an operator without objects is started.
const STARTS: usize = 3;

/// One whole run.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    setting: Setting,

    /// Seconds that the steady state is watched for; without it, twice the interval
    #[arg(long)]
    steady: Option<u64>,

    /// Secrets that are rotated, in either direction
    #[arg(long, default_value_t = 50)]
    rotations: usize,
}

/// What was measured on the way.
struct Run<'a> {
    arguments: &'a RunArguments,
    stage: Stage,
    report: Report,
    phases: Vec<Phase>,
    lateness: Vec<Vec<String>>,
}

/// The machine's limits.
struct Limits {
    probes: Limit,
    writes: Limit,
    reads: Limit,
    rotation: Distribution,
}

/// Everything that was measured.
struct Measured {
    objects: f64,
    phases: Vec<Phase>,
    lateness: Vec<Vec<String>>,
    limits: Limits,
    start: Start,
    /// Seconds that the creation of all connections took, and until all were connected.
    created: (f64, f64),
    steady: Steady,
    /// Milliseconds and bytes.
    scrape: (f64, usize),
    /// To refused keys and to good ones: how long it took, and how many were never seen.
    rotated: [(Distribution, usize); 2],
    restart: Start,
}

/// What the steady state came to.
struct Steady {
    phase: Phase,
    late: Distribution,
}

pub(crate) async fn run(arguments: &RunArguments) -> Result<(), Failure> {
    let setting = &arguments.setting;
    let report = setting.report("What the operator costs")?;
    let stage = Stage::set_up(setting.load(), &setting.operator()?, &setting.operator_arguments).await?;
    let mut run = Run {
        arguments,
        stage,
        report,
        phases: Vec::new(),
        lateness: Vec::new(),
    };
    say("limits: bare probes")?;
    let probes = bare_probes(&run.stage).await?;
    let start = run.start_empty().await?;
    let created = run.create().await?;
    let steady = run.watch().await?;
    let scrape = run.scrape().await?;
    let rotated = run.rotate().await?;
    let restart = run.restart().await?;
    run.stage.stop_operator().await?;
    say("limits: bare reads of Secrets, writes of statuses, rotations")?;
    let limits = Limits {
        probes,
        reads: bare_reads(&run.stage).await?,
        writes: bare_writes(&run.stage).await?,
        rotation: bare_rotations(&run.stage, arguments.rotations.max(1)).await?,
    };
    let measured = Measured {
        objects: size(run.stage.load.objects),
        phases: run.phases,
        lateness: run.lateness,
        limits,
        start,
        created,
        steady,
        scrape,
        rotated,
        restart,
    };
    measured.show(&mut run.report)
}

/// Names of what [`lateness_row`] shows.
pub(crate) const LATENESS: [&str; 10] = [
    "When",
    "Probes",
    "Late p50 ms",
    "p95 ms",
    "p99 ms",
    "max ms",
    "Rate 1/s",
    "Peak 1/s",
    "Peak by mean",
    "Random would be",
];

/// One row of a table of punctuality.
pub(crate) fn lateness_row(name: &str, late: &Distribution, evenness: &Evenness) -> Vec<String> {
    let millis = |seconds: f64| format!("{:.0}", seconds * 1000.0);
    vec![
        name.to_owned(),
        late.count().to_string(),
        millis(late.median()),
        millis(late.quantile(950)),
        millis(late.quantile(990)),
        millis(late.max()),
        format!("{:.1}", evenness.mean),
        format!("{:.0}", evenness.peak),
        format!("{:.2}", evenness.ratio),
        format!("{:.2}", evenness.random),
    ]
}

impl Run<'_> {
    /// Starts with nothing to do, some times, and idles.
    async fn start_empty(&mut self) -> Result<Start, Failure> {
        let mut starts = Vec::new();
        for round in 0..STARTS {
            if round > 0 {
                self.stage.stop_operator().await?;
            }
            let start = self.stage.start_operator().await?;
            say(&format!(
                "start: leading after {:.3} s, ready after {:.3} s, {:.0} ms CPU",
                start.leading,
                start.ready,
                start.cpu * 1000.0
            ))?;
            starts.push(start);
        }
        let median = |of: fn(&Start) -> f64| Distribution::of(starts.iter().map(of)).median();
        let idle = self.stage.moment().await?;
        sleep(Duration::from_secs(5)).await;
        self.phases
            .push(self.stage.phase("idle, no object", &idle).await?);
        Ok(Start {
            leading: median(|start| start.leading),
            ready: median(|start| start.ready),
            cpu: median(|start| start.cpu),
            rss: median(|start| start.rss),
        })
    }

    /// Makes all objects, as fast as the API server takes them, and waits until all are connected.
    async fn create(&mut self) -> Result<(f64, f64), Failure> {
        let all = 0..self.stage.load.objects;
        self.stage.create_secrets(all.clone()).await?;
        let before = self.stage.moment().await?;
        let took = self.stage.create_connections(all).await?;
        self.phases
            .push(self.stage.phase("all created at once", &before).await?);
        let before = self.stage.moment().await?;
        self.stage.settle().await;
        self.phases.push(self.stage.phase("settle", &before).await?);
        Ok(took)
    }

    /// Watches the steady state. What was asked before counts nothing: creation is a herd of its own.
    async fn watch(&mut self) -> Result<Steady, Failure> {
        let interval = self.stage.load.interval;
        let seconds = self.arguments.steady.map(Duration::from_secs);
        let mut punctuality = Punctuality::of(&self.stage.sight.uids(), interval);
        self.stage.bridges.asked().await?;
        let (from, before) = (now_micros(), self.stage.moment().await?);
        sleep(seconds.unwrap_or(interval * 2)).await;
        let to = now_micros();
        let phase = self.stage.phase("steady", &before).await?;
        let asked = self.stage.bridges.asked().await?;
        let late = Distribution::of(punctuality.take(&asked));
        let evenness = Evenness::of(&asked, from, to);
        self.lateness.push(lateness_row("steady", &late, &evenness));
        self.phases.push(phase.clone());
        Ok(Steady { phase, late })
    }

    /// Scrapes the metrics: how long it takes, in milliseconds, and how many bytes there are.
    async fn scrape(&mut self) -> Result<(f64, usize), Failure> {
        let before = self.stage.moment().await?;
        let (mut took, mut bytes) = (Vec::new(), 0);
        for _ in 0..5 {
            let begun = Instant::now();
            bytes = self.stage.metrics().await?.len();
            took.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        self.phases
            .push(self.stage.phase("5 scrapes of /metrics", &before).await?);
        Ok((Distribution::of(took).median(), bytes))
    }

    /// Replaces keys by such as are refused, and by good ones again.
    async fn rotate(&mut self) -> Result<[(Distribution, usize); 2], Failure> {
        let count = self.arguments.rotations;
        let before = self.stage.moment().await?;
        let bad = rotate(&self.stage, count, false, 1).await?;
        self.phases
            .push(self.stage.phase("rotation to refused keys", &before).await?);
        let before = self.stage.moment().await?;
        let good = rotate(&self.stage, count, true, 1).await?;
        self.phases
            .push(self.stage.phase("rotation to good keys", &before).await?);
        Ok([bad, good])
    }

    /// Ends the operator, and starts another.
    async fn restart(&mut self) -> Result<Start, Failure> {
        self.stage.stop_operator().await?;
        self.stage.bridges.asked().await?;
        let before = self.stage.moment().await?;
        let start = self.stage.start_operator().await?;
        self.phases
            .push(self.stage.phase("restart, until ready", &before).await?);
        let (from, before) = (now_micros(), self.stage.moment().await?);
        sleep(self.stage.load.interval).await;
        let to = now_micros();
        self.phases
            .push(self.stage.phase("the interval after it", &before).await?);
        let asked = self.stage.bridges.asked().await?;
        let evenness = Evenness::of(&asked, from, to);
        let none = Distribution::default();
        self.lateness
            .push(lateness_row("the interval after a restart", &none, &evenness));
        Ok(start)
    }
}

impl Limits {
    fn show(&self, report: &mut Report) -> Result<(), Failure> {
        let row = |name: &str, limit: &Limit| {
            vec![
                name.to_owned(),
                format!("{:.0}", limit.rate()),
                format!("{:.0}", limit.per_cpu_second()),
                format!("{:.3}", limit.cpu_each()),
                format!("{:.3}", limit.answering_each()),
                format!("{:.1}", limit.p50),
                format!("{:.1}", limit.p95),
            ]
        };
        let rows = [
            row("probes, a handshake each", &self.probes),
            row("reads of a Secret", &self.reads),
            row("status writes", &self.writes),
        ];
        let headers = [
            "The machine's limits",
            "1/s",
            "Per CPU second of the client",
            "Client CPU ms each",
            "CPU ms of who answers, each",
            "p50 ms",
            "p95 ms",
        ];
        report.table("Limits", &headers, &rows)?;
        report.keep("limits", &[&self.probes, &self.reads, &self.writes])
    }
}

impl Measured {
    fn show(&self, report: &mut Report) -> Result<(), Failure> {
        let rows: Vec<_> = self.phases.iter().map(Phase::row).collect();
        report.table("Phases", &Phase::HEADERS, &rows)?;
        report.say(
            "CPU, memory, descriptors and threads are the operator's. A probe is four requests. Requests to the API server \
             are all those of the operator's ServiceAccount.",
        )?;
        report.keep("phases", &self.phases)?;
        self.limits.show(report)?;
        let figures = self.figures();
        let rows: Vec<_> = figures.iter().map(Figure::row).collect();
        report.table("Beside the limits", &Figure::HEADERS, &rows)?;
        report.keep("figures", &figures)?;
        self.show_figures_alone(report)?;
        report.table("Punctuality", &LATENESS, &self.lateness)?;
        report.say(
            "Lateness is the time between two probes of one object, where they reach the bridge, less the object's own \
             planned delay (its interval ±10 % by its UID). The rate is taken by the second.",
        )?;
        report.keep("lateness", &self.steady.late)?;
        let [bad, good] = &self.rotated;
        let least = &self.limits.rotation;
        report.table(
            "Rotation",
            &rotation::HEADERS,
            &[
                rotation::row("to a key that is refused", &bad.0, bad.1),
                rotation::row("to a key that is accepted", &good.0, good.1),
                rotation::row("the least: the same requests, one by one", least, 0),
            ],
        )?;
        report.keep("rotation", &[&bad.0, &good.0, least])?;
        report.show()
    }

    /// What no limit of the machine stands beside.
    fn show_figures_alone(&self, report: &mut Report) -> Result<(), Failure> {
        let mut rows = Vec::new();
        let mut one = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
        let millis = |seconds: f64| format!("{:.0}", seconds * 1000.0);
        let empty = self.phase("idle, no object").map(|phase| phase.operator.rss);
        let steady = &self.steady.phase;
        let grown = (steady.operator.rss - empty.unwrap_or_default()) * 1024.0;
        let hours = self.objects * steady.seconds / 3600.0;
        let (created, ready) = self.created;
        let (scrape, bytes) = self.scrape;
        one(
            "Start without objects: CPU until its watches are open, ms",
            millis(self.start.cpu),
        );
        one(
            "Start without objects: time until it leads, ms",
            millis(self.start.leading),
        );
        one(
            "Start without objects: time until it is ready, ms",
            millis(self.start.ready),
        );
        one("Creation of all connections, s", format!("{created:.2}"));
        one(
            "From the first creation until all are Connected, s",
            format!("{ready:.2}"),
        );
        one(
            "From the last creation until all are Connected, s",
            format!("{:.2}", ready - created),
        );
        one(
            "Memory per object, steady, KiB",
            format!("{:.1}", ratio(grown, self.objects)),
        );
        one(
            "CPU per object and hour, steady, ms",
            format!("{:.1}", ratio(steady.operator.cpu * 1000.0, hours)),
        );
        one("Scrape of /metrics, ms", format!("{scrape:.1}"));
        one("Scrape of /metrics, KiB", format!("{:.0}", size(bytes) / 1024.0));
        one("Restart: time until it leads, ms", millis(self.restart.leading));
        one("Restart: time until it is ready, ms", millis(self.restart.ready));
        one("Restart: CPU until it is ready, ms", millis(self.restart.cpu));
        report.table("Alone", &["Figure", "Value"], &rows)?;
        report.keep("start", &self.start)?;
        report.keep("restart", &self.restart)?;
        report.keep("created_s", &created)?;
        report.keep("ready_s", &ready)?;
        report.keep("scrape_ms", &scrape)?;
        report.keep("scrape_bytes", &bytes)
    }

    fn phase(&self, name: &str) -> Option<&Phase> {
        self.phases.iter().find(|phase| phase.name == name)
    }

    fn figures(&self) -> Vec<Figure> {
        let Self {
            limits,
            steady,
            objects,
            ..
        } = self;
        let mut figures = Vec::new();
        figures.push(Figure::new(
            "CPU ms per probe, steady",
            steady.phase.cpu_per_probe(),
            limits.probes.cpu_each() + limits.reads.cpu_each(),
            "a bare probe with a handshake, and a bare read of the Secret",
        ));
        if let Some(created) = self.phase("all created at once") {
            figures.push(Figure::new(
                "CPU ms per object, created at once",
                ratio(created.operator.cpu * 1000.0, *objects),
                limits.probes.cpu_each() + limits.reads.cpu_each() + limits.writes.cpu_each(),
                "a bare probe with a handshake, a bare read of the Secret, a bare status write",
            ));
            figures.push(Figure::new(
                "Status writes per object, created at once",
                ratio(float(created.status_writes), *objects),
                1.0,
                "one write each",
            ));
            figures.push(Figure::new(
                "Requests to the API server per object, created at once",
                ratio(float(created.operator_requests), *objects),
                2.0,
                "one read of the Secret, one write of the status",
            ));
        }
        figures.push(Figure::new(
            "Objects made ready per second, with their creation",
            ratio(*objects, self.created.1),
            limits.writes.rate(),
            "status writes per second that the API server takes from a bare client",
        ));
        for (name, (took, _)) in ["to a refused key", "to a good key"]
            .into_iter()
            .zip(&self.rotated)
        {
            figures.push(Figure::new(
                format!("Rotation {name}, p50 ms"),
                took.median(),
                limits.rotation.median(),
                "the same requests one by one, nothing else running",
            ));
        }
        figures
    }
}
