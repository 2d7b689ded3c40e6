//! Returns free memory to the operating system.
//!
//! Reconciles leave gaps in the heap, but glibc returns only the free memory at the end of the heap. Measured after
//! thousands of connections were new at once: half of the process was gaps.

use std::{convert::Infallible, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

/// How often to trim. A trim takes a millisecond or two. Getting pages back that are needed again takes as long.
const EVERY: Duration = Duration::from_secs(10);

/// Trims the heap regularly.
pub(super) async fn trim_forever() -> Infallible {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        trim();
    }
}

/// Returns all free pages.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the only such call: no crate offers it as safe Rust")]
fn trim() {
    // SAFETY: it takes no pointer, does not touch allocated memory, and locks the arenas of other threads.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Does nothing: other allocators return memory by themselves or never.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
const fn trim() {}

#[cfg(test)]
mod tests {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn trim_returns_gaps_in_the_heap() {
        let resident_mib = || {
            let status = procfs::process::Process::myself().unwrap().status().unwrap();
            status.vmrss.unwrap() / 1024
        };
        // Pieces small enough to come from the heap. Writing to them makes their pages resident.
        let mut pieces: Vec<Option<Box<[u8; 2048]>>> =
            (0..32 * 1024).map(|_| Some(Box::new([1; 2048]))).collect();
        let before = resident_mib();
        // The pieces that stay occupy the end of the heap and some places in between.
        for (index, piece) in pieces.iter_mut().enumerate() {
            if index % 64 != 63 {
                *piece = None;
            }
        }
        super::trim();
        let after = resident_mib();
        assert!(
            after + 48 < before,
            "63 MiB of gaps, but resident memory went only from {before} MiB to {after} MiB"
        );
        drop(pieces);
    }
}
