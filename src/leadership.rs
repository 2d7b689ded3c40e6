//! Whether this process may still act as the leader.
//!
//! Only the replica that holds the Lease works. Another replica may take the Lease over when it was not renewed for its
//! duration. A process that was frozen (a paused virtual machine, a stopped container) does not notice that. So each
//! request to a bridge and each call to the API server checks a [`Leadership`] first.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Whether this process may act. Clones share one state.
///
/// # Guarantees
/// Once it has ended, it never holds again: a process that lost the Lease exits and is restarted.
#[derive(Clone, Default)]
pub struct Leadership(Option<Arc<Limited>>);

struct Limited {
    /// How long a renewal is valid.
    term: Duration,
    state: Mutex<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not renewed yet.
    Candidate,
    /// When the request of the last renewal was sent.
    Renewed(Instant),
    Ended,
}

// === impl Leadership ===

impl Leadership {
    /// Always holds: for a process without leader election.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self(None)
    }

    /// Holds from the first renewal until `term` after the last one.
    #[must_use]
    pub fn limited(term: Duration) -> Self {
        Self(Some(Arc::new(Limited {
            term,
            state: Mutex::new(State::Candidate),
        })))
    }

    /// Whether this process may act now.
    #[must_use]
    pub fn holds(&self) -> bool {
        let Some(limited) = &self.0 else { return true };
        let state = limited.update(|state| match state {
            State::Renewed(sent) if sent.elapsed() >= limited.term => State::Ended,
            State::Candidate | State::Renewed(_) | State::Ended => state,
        });
        matches!(state, State::Renewed(_))
    }

    /// Notes that a request sent at `sent` renewed the Lease. The term starts at `sent`: other replicas may have seen
    /// the renewal before its answer arrived.
    pub fn renew(&self, sent: Instant) {
        let Some(limited) = &self.0 else { return };
        limited.update(|state| match state {
            State::Candidate => State::Renewed(sent),
            State::Renewed(before) if before.elapsed() < limited.term => State::Renewed(before.max(sent)),
            State::Renewed(_) | State::Ended => State::Ended,
        });
    }

    /// Ends it, for instance before the Lease is released.
    pub fn end(&self) {
        if let Some(limited) = &self.0 {
            limited.update(|_| State::Ended);
        }
    }
}

impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leadership")
            .field("holds", &self.holds())
            .finish()
    }
}

// === impl Limited ===

impl Limited {
    fn update(&self, next: impl FnOnce(State) -> State) -> State {
        // A panic elsewhere cannot leave a half-written state: it is replaced as a whole.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = next(*state);
        *state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(10);

    fn ago(time: Duration) -> Instant {
        Instant::now().checked_sub(time).unwrap()
    }

    #[test]
    fn unlimited_leadership_always_holds() {
        let leadership = Leadership::unlimited();
        assert!(leadership.holds());
        leadership.end();
        assert!(leadership.holds(), "there is no other replica");
    }

    #[test]
    fn it_starts_with_a_renewal_and_ends_a_term_after_the_last() {
        let leadership = Leadership::limited(TERM);
        assert!(!leadership.holds(), "a candidate does not lead");
        leadership.renew(ago(TERM / 2));
        assert!(leadership.holds());
        let fresh = Instant::now();
        leadership.renew(fresh);
        leadership.renew(ago(TERM / 2));
        assert!(leadership.holds(), "a late answer does not shorten the term");

        let late = Leadership::limited(TERM);
        late.renew(ago(TERM));
        assert!(!late.holds(), "the term starts when the request was sent");
    }

    #[test]
    fn it_never_starts_again() {
        for end in [Leadership::end, |leadership: &Leadership| {
            leadership.renew(ago(TERM));
        }] {
            let leadership = Leadership::limited(TERM);
            end(&leadership);
            leadership.renew(Instant::now());
            assert!(!leadership.holds());
        }
    }
}
