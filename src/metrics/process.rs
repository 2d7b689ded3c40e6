//! Metrics of the process, with the names that all Prometheus client libraries use.
//! <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

/// Reads `/proc` at each scrape. Exports nothing on other systems than Linux.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process;

/// Values from `/proc` about this process.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Readings {
    cpu_seconds: f64,
    resident_bytes: u64,
    started: f64,
    open_fds: u64,
    max_fds: u64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(readings) = read() else { return Ok(()) };
        encoder
            .encode_descriptor(
                "process_cpu",
                "User and system CPU time of the process",
                Some(&Unit::Seconds),
                MetricType::Counter,
            )?
            .encode_counter::<NoLabelSet, _, u64>(&readings.cpu_seconds, None)?;
        let start = ("process_start_time", "Start time of the process since 1970");
        encoder
            .encode_descriptor(start.0, start.1, Some(&Unit::Seconds), MetricType::Gauge)?
            .encode_gauge(&readings.started)?;
        let memory = ("process_resident_memory", "Resident memory of the process");
        encoder
            .encode_descriptor(memory.0, memory.1, Some(&Unit::Bytes), MetricType::Gauge)?
            .encode_gauge(&readings.resident_bytes)?;
        encoder
            .encode_descriptor(
                "process_open_fds",
                "Open file descriptors",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&readings.open_fds)?;
        encoder
            .encode_descriptor(
                "process_max_fds",
                "Maximum number of open file descriptors",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&readings.max_fds)
    }
}

#[cfg(target_os = "linux")]
#[allow(
    clippy::cast_precision_loss,
    reason = "ticks and seconds since 1970 fit into 52 bits for a long time"
)]
fn read() -> Option<Readings> {
    use procfs::{CurrentSI as _, process::LimitValue};

    let process = procfs::process::Process::myself().ok()?;
    let stat = process.stat().ok()?;
    let ticks = procfs::ticks_per_second() as f64;
    let boot = procfs::KernelStats::current().ok()?.btime as f64;
    let max_fds = match process.limits().ok()?.max_open_files.soft_limit {
        LimitValue::Unlimited => u64::MAX,
        LimitValue::Value(value) => value,
    };
    Some(Readings {
        cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
        resident_bytes: stat.rss * procfs::page_size(),
        started: boot + stat.starttime as f64 / ticks,
        open_fds: process.fd_count().ok()? as u64,
        max_fds,
    })
}

#[cfg(not(target_os = "linux"))]
const fn read() -> Option<Readings> {
    None
}
