//! Gives memory back to the system.
//!
//! What passes leave free lies between what lasts, and the C library's allocator gives back only what is free at the end
//! of its heap. After thousands of connections were new at once, half of the process was such gaps.

use std::{convert::Infallible, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

/// How often. To look takes a millisecond or two; to be given back what is needed again at once, as much.
const EVERY: Duration = Duration::from_secs(10);

/// Gives back what is free, again and again.
pub(super) async fn give_back_for_ever() -> Infallible {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        give_back();
    }
}

/// Gives back every page that is free.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    unsafe_code,
    reason = "the only call of its kind: nobody offers it in safe Rust"
)]
fn give_back() {
    // SAFETY: it takes no pointer, touches nothing that is allocated, and locks what other threads allocate from.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators give back by themselves, or never.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
const fn give_back() {}

#[cfg(test)]
mod tests {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn gaps_are_given_back() {
        // Small enough to come out of the heap, and each page of it written to.
        let resident_mib = || {
            let status = procfs::process::Process::myself().unwrap().status().unwrap();
            status.vmrss.unwrap() / 1024
        };
        let mut pieces: Vec<Option<Box<[u8; 2048]>>> =
            (0..32 * 1024).map(|_| Some(Box::new([1; 2048]))).collect();
        let before = resident_mib();
        // What stays holds the end of the heap, and some places in between.
        for (place, piece) in pieces.iter_mut().enumerate() {
            if place % 64 != 63 {
                *piece = None;
            }
        }
        super::give_back();
        let after = resident_mib();
        assert!(
            after + 48 < before,
            "of 63 MiB that are free in gaps, too little was given back: {before} MiB, then {after} MiB"
        );
        drop(pieces);
    }
}
