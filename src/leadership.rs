//! How long this process may act for others to see.
//!
//! Of several replicas the one that holds the Lease works. Holding it is a statement about time: others may take it over
//! once it has not been renewed for its duration. A process that was frozen meanwhile (a paused virtual machine, a
//! stopped container) wakes up in the middle of what it was doing and does not know. So each request to a bridge, and
//! each call to the API server, asks a [`Leadership`] first.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Whether this process may act. Clones are one and the same.
///
/// # Guarantees
/// Once it has ended it does not hold again: whoever lost the Lease ends, and starts anew.
#[derive(Clone, Default)]
pub struct Leadership(Option<Arc<Limited>>);

struct Limited {
    /// How long a renewal is good for.
    term: Duration,
    state: Mutex<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not begun.
    Candidate,
    /// Renewed by a request that was sent then.
    Renewed(Instant),
    Ended,
}

// === impl Leadership ===

impl Leadership {
    /// One that always holds: without leader election.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self(None)
    }

    /// One that begins with its first renewal and ends `term` after the last.
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
            State::Renewed(asked) if asked.elapsed() >= limited.term => State::Ended,
            State::Candidate | State::Renewed(_) | State::Ended => state,
        });
        matches!(state, State::Renewed(_))
    }

    /// The Lease was renewed by a request that was sent at `asked`: others may have seen it from that moment on.
    pub fn renew(&self, asked: Instant) {
        let Some(limited) = &self.0 else { return };
        limited.update(|state| match state {
            State::Candidate => State::Renewed(asked),
            State::Renewed(before) if before.elapsed() < limited.term => State::Renewed(before.max(asked)),
            State::Renewed(_) | State::Ended => State::Ended,
        });
    }

    /// Nothing may be done any more, for instance because the Lease is about to be given back.
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
        // The state is whole at every moment, also where somebody panicked beside it.
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
    fn without_election_it_always_holds() {
        let leadership = Leadership::unlimited();
        assert!(leadership.holds());
        leadership.end();
        assert!(leadership.holds(), "there is nobody to make room for");
    }

    #[test]
    fn it_begins_with_a_renewal_and_ends_a_term_after_the_last() {
        let leadership = Leadership::limited(TERM);
        assert!(!leadership.holds(), "a candidate may do nothing");
        leadership.renew(ago(TERM / 2));
        assert!(leadership.holds());
        let fresh = Instant::now();
        leadership.renew(fresh);
        leadership.renew(ago(TERM / 2));
        assert!(leadership.holds(), "an answer that comes late takes nothing back");

        let late = Leadership::limited(TERM);
        late.renew(ago(TERM));
        assert!(!late.holds(), "what counts is when the request was sent");
    }

    #[test]
    fn it_never_begins_again() {
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
