//! Cost per object as their number grows: what does not stay the same is a cost that grows faster than they do.

use std::{fs, time::Duration};

use clap::Args;
use serde::Serialize;
use testbed::Failure;
use tokio::time::sleep;

use crate::{
    Setting,
    numbers::{Distribution, ratio, size},
    plot::draw,
    punctuality::Punctuality,
    report::Report,
    say,
    stage::{Stage, Start},
};

/// Runs with different numbers of objects, each in a cluster of its own.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true)]
pub(crate) struct GrowthArguments {
    #[command(flatten)]
    setting: Setting,

    /// How many objects, one run each. 50,000 take about 20 minutes on 2 cores
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 10_000])]
    sizes: Vec<usize>,

    /// Seconds that the steady state is watched for; without it, two intervals and a half, in which everybody asks twice
    #[arg(long)]
    steady: Option<u64>,
}

/// What one number of objects costs.
#[derive(Debug, Serialize)]
struct Point {
    objects: usize,
    ready_s: f64,
    create_cpu_ms: f64,
    steady_cpu_ms_per_probe: f64,
    probes_per_second: f64,
    empty_rss: f64,
    rss: f64,
    peak: f64,
    kib_per_object: f64,
    fds: u64,
    late: Distribution,
    restart: Start,
    scrape_kib_per_object: f64,
}

pub(crate) async fn run(arguments: &GrowthArguments) -> Result<(), Failure> {
    let mut report = arguments
        .setting
        .report("Cost per object as their number grows")?;
    let mut points: Vec<Point> = Vec::new();
    for objects in &arguments.sizes {
        points.push(Box::pin(measure(arguments, *objects)).await?);
        report.keep("points", &points)?;
    }
    show(&mut report, &points)
}

async fn measure(arguments: &GrowthArguments, objects: usize) -> Result<Point, Failure> {
    let setting = &arguments.setting;
    say(&format!("{objects} objects"))?;
    let load = crate::stage::Load {
        objects,
        ..setting.load()
    };
    let mut stage = Stage::set_up(load, &setting.operator()?, &setting.operator_arguments).await?;
    stage.start_operator().await?;
    let empty_rss = stage.usage()?.rss;
    stage.create_secrets(0..objects).await?;
    let before = stage.moment().await?;
    let (_, ready) = stage.create_connections(0..objects).await?;
    let created = stage.phase("all created at once", &before).await?;
    stage.settle().await;
    let interval = stage.load.interval;
    let mut punctuality = Punctuality::of(&stage.sight.uids(), interval);
    let steady = arguments.steady.map(Duration::from_secs);
    stage.bridges.asked().await?;
    let before = stage.moment().await?;
    sleep(steady.unwrap_or(interval * 5 / 2)).await;
    let steady = stage.phase("steady", &before).await?;
    let late = Distribution::of(punctuality.take(&stage.bridges.asked().await?));
    let bytes = stage.metrics().await?.len();
    stage.stop_operator().await?;
    let restart = stage.start_operator().await?;
    stage.stop_operator().await?;
    let count = size(objects);
    Ok(Point {
        objects,
        ready_s: ready,
        create_cpu_ms: ratio(created.operator.cpu * 1000.0, count),
        steady_cpu_ms_per_probe: steady.cpu_per_probe(),
        probes_per_second: ratio(crate::numbers::float(steady.probes), steady.seconds),
        empty_rss,
        rss: steady.operator.rss,
        peak: steady.operator.peak,
        kib_per_object: ratio((steady.operator.rss - empty_rss) * 1024.0, count),
        fds: steady.operator.fds,
        late,
        restart,
        scrape_kib_per_object: ratio(size(bytes) / 1024.0, count),
    })
}

fn show(report: &mut Report, points: &[Point]) -> Result<(), Failure> {
    let headers = [
        "Objects",
        "All ready s",
        "CPU ms per creation",
        "CPU ms per probe",
        "Probes 1/s",
        "RSS MiB",
        "Peak MiB",
        "KiB per object",
        "fds",
        "Late p50 ms",
        "Late p99 ms",
        "Restart ready s",
        "Restart CPU s",
        "Metrics KiB per object",
    ];
    let rows: Vec<_> = points
        .iter()
        .map(|point| {
            vec![
                point.objects.to_string(),
                format!("{:.1}", point.ready_s),
                format!("{:.2}", point.create_cpu_ms),
                format!("{:.3}", point.steady_cpu_ms_per_probe),
                format!("{:.1}", point.probes_per_second),
                format!("{:.1}", point.rss),
                format!("{:.1}", point.peak),
                format!("{:.1}", point.kib_per_object),
                point.fds.to_string(),
                format!("{:.0}", point.late.median() * 1000.0),
                format!("{:.0}", point.late.quantile(990) * 1000.0),
                format!("{:.2}", point.restart.ready),
                format!("{:.2}", point.restart.cpu),
                format!("{:.2}", point.scrape_kib_per_object),
            ]
        })
        .collect();
    report.table("Growth", &headers, &rows)?;
    for (name, title, value) in [
        (
            "creation",
            "CPU per object that is created, ms",
            (|point| point.create_cpu_ms) as fn(&Point) -> f64,
        ),
        ("probe", "CPU per probe, ms", |point| {
            point.steady_cpu_ms_per_probe
        }),
        ("memory", "Memory per object, KiB", |point| point.kib_per_object),
    ] {
        let values: Vec<_> = points
            .iter()
            .map(|point| (size(point.objects), value(point)))
            .collect();
        let file = report.beside(&format!("{name}.svg"));
        fs::write(&file, draw(title, "objects", &values))?;
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        report.say(&format!("![{title}]({name})"))?;
    }
    report.show()
}
