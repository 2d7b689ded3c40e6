//! What a process costs, as the kernel counts it.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use serde::Serialize;
use testbed::Failure;

use crate::numbers::float;

/// Ticks a second in which the kernel says times: the same on every architecture that Linux has now.
const TICKS: f64 = 100.0;

/// One look at a process.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Usage {
    /// Seconds of CPU, its own and the kernel's for it, in steps of 10 ms.
    pub(crate) cpu: f64,
    /// Memory that it has, in MiB.
    pub(crate) rss: f64,
    /// The most that it ever had.
    pub(crate) peak: f64,
    /// Threads.
    pub(crate) threads: u64,
    /// Open file descriptors.
    pub(crate) fds: u64,
}

impl Usage {
    /// Looks at the process with this id.
    pub(crate) fn of(pid: u32) -> Result<Self, Failure> {
        let fields = stat(pid)?;
        let ticks: u64 = [13, 14].iter().filter_map(|index| fields.get(*index)).sum();
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            number.and_then(|number| number.parse().ok()).unwrap_or_default()
        };
        Ok(Self {
            cpu: float(ticks) / TICKS,
            rss: float(value("VmRSS:")) / 1024.0,
            peak: float(value("VmHWM:")) / 1024.0,
            threads: value("Threads:"),
            fds: u64::try_from(fs::read_dir(format!("/proc/{pid}/fd"))?.count())?,
        })
    }
}

/// When a process began, as long as this machine counts time: to 10 ms.
pub(crate) fn began(pid: u32) -> Result<Instant, Failure> {
    let ticks = stat(pid)?.get(21).copied().unwrap_or_default();
    let uptime = fs::read_to_string("/proc/uptime")?;
    let uptime: f64 = uptime.split(' ').next().unwrap_or_default().parse()?;
    let age = (uptime - float(ticks) / TICKS).max(0.0);
    let now = Instant::now();
    Ok(now.checked_sub(Duration::from_secs_f64(age)).unwrap_or(now))
}

/// The numbers of `/proc/PID/stat`, each at its place; what is no number is 0.
fn stat(pid: u32) -> io::Result<Vec<u64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold blanks and parentheses.
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let numbers = rest
        .split_whitespace()
        .map(|field| field.parse().unwrap_or_default());
    Ok([0, 0].into_iter().chain(numbers).collect())
}
