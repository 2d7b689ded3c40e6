//! What a storm must not cost: memory, and other connections' time.

use std::{
    fmt,
    time::{Duration, Instant},
};

use testbed::bed::{Bed, Operator};

/// Whoever asks for a probe is answered within this, whatever goes on elsewhere: the shortest interval that a connection
/// may have. Most of it is the API server's, which has little time itself in a storm on a small machine.
pub(crate) const ON_TIME: Duration = Duration::from_secs(30);

/// The memory of an operator.
pub(crate) struct Memory {
    pid: u32,
    before: u64,
}

impl Memory {
    /// As it is now.
    pub(crate) fn of(operator: &Operator) -> Self {
        let pid = operator.process().pid();
        Self {
            pid,
            before: read(pid, "VmHWM:"),
        }
    }

    /// Fails where the most that it ever had is not less than so many KiB above what it was. The kernel adds up counters
    /// of several processors without stopping them: what it says may fall.
    pub(crate) fn assert_grown_less_than(&self, most: u64) {
        assert!(
            self.peak() < self.before + most,
            "{self}: grown by {most} KiB or more"
        );
    }

    /// The most that it ever had, in KiB.
    pub(crate) fn peak(&self) -> u64 {
        read(self.pid, "VmHWM:")
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "memory was {} KiB, and {} KiB at most since",
            self.before,
            self.peak()
        )
    }
}

fn read(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}

/// Asks for a probe of a connection, and says how long the answer took.
pub(crate) async fn answered_within(bed: &Bed<'_>, name: &str) -> Duration {
    let asked = Instant::now();
    bed.probe(name).await;
    let took = asked.elapsed();
    assert!(
        took < ON_TIME,
        "{name} waited {took:?} for its probe: something held it up"
    );
    took
}

#[test]
fn what_has_shrunk_has_not_grown() {
    let pid = std::process::id();
    let before = read(pid, "VmHWM:") + 1024 * 1024;
    Memory { pid, before }.assert_grown_less_than(1);
}

#[test]
#[should_panic(expected = "grown by 1 KiB or more")]
fn what_has_grown_has_grown() {
    let pid = std::process::id();
    Memory { pid, before: 1 }.assert_grown_less_than(1);
}
