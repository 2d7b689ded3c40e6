//! Tries the addresses of one name in parallel, each with a share of the time (RFC 8305, section 5).
//!
//! hyper-util 0.1.21 tries the addresses of one family in sequence, so the first one may use all the time. Its
//! `connect_timeout` is no remedy: it cuts slow addresses off. reqwest 0.13.5 takes no other connector, and its
//! connector layers cannot repeat a connect. So each address gets its own request:
//!
//! 1. The first request resolves the name, once. It connects to the first address that the policy allows.
//! 2. The next request connects to the second address, and so on. It starts up to 250 ms later, or as soon as the first
//!    address refuses. If a peer has accepted a connection, its handshake gets an equal share of the time first.
//! 3. The request whose connection is ready first continues. The others end before they have sent a byte of HTTP.
//!
//! The resolver and the connector find their attempt by a task-local. reqwest 0.13.5 and hyper-util 0.1.21 run both in
//! the task of the request, but do not promise it. `tests/resolver/addresses.rs` fails if that changes.
//!
//! A rejected certificate ends the race, because some users reach this address. A peer that accepts the connection and
//! then sends nothing does not end it.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::select_all;
use tokio::{
    sync::Notify,
    task_local,
    time::{Instant, sleep_until},
};

/// The longest head start of one address over the next (RFC 8305, section 8).
const HEAD_START_MAX: Duration = Duration::from_millis(250);

/// The shortest head start that RFC 8305 allows.
const HEAD_START_MIN: Duration = Duration::from_millis(10);

task_local! {
    static ATTEMPT: Attempt;
}

/// One of the requests in a race.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    number: usize,
    race: Arc<Race>,
}

#[derive(Debug)]
struct Race {
    deadline: Instant,
    state: Mutex<RaceState>,
    /// Wakes [`race`] after a change of the state.
    changed: Notify,
}

#[derive(Debug, Default)]
struct RaceState {
    addresses: Vec<IpAddr>,
    started: usize,
    /// When the next attempt starts.
    next_start: Option<Instant>,
    /// Whether any peer has accepted a connection.
    is_connected: bool,
    winner: Option<usize>,
}

/// Sends `request` for the first address, and again for each further address that must be tried. `may_try_next` says
/// whether another address may succeed after this error.
pub(crate) async fn race<T, E, F>(
    deadline: Instant,
    request: impl Fn() -> F,
    may_try_next: impl Fn(&E) -> bool,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let race = Arc::new(Race {
        deadline,
        state: Mutex::default(),
        changed: Notify::new(),
    });
    let start = || {
        let attempt = race.start_attempt();
        (attempt.number, Box::pin(ATTEMPT.scope(attempt, request())))
    };
    let mut running = vec![start()];
    let mut first_error = None;
    loop {
        if let Some(winner) = race.winner() {
            running.retain(|(number, _)| *number == winner);
        }
        let next_start = race.next_start();
        let requests = running.iter_mut().map(|(_, request)| Pin::as_mut(request));
        tokio::select! {
            biased;
            () = race.changed.notified() => {}
            (result, index, _) = select_all(requests) => {
                let (number, _) = running.swap_remove(index);
                let winner = race.winner();
                let error = match result {
                    Ok(response) => return Ok(response),
                    // This attempt lost in the moment when the other won. The other goes on.
                    Err(_) if winner.is_some_and(|winner| winner != number) => continue,
                    Err(error) if winner.is_some() || !may_try_next(&error) => return Err(error),
                    Err(error) => error,
                };
                if race.has_more() {
                    running.push(start());
                } else if running.is_empty() {
                    return Err(first_error.unwrap_or(error));
                }
                first_error.get_or_insert(error);
            }
            () = sleep_until(next_start.unwrap_or(deadline)), if next_start.is_some() => running.push(start()),
        }
    }
}

// === impl Attempt ===

impl Attempt {
    /// The attempt that the current task belongs to.
    pub(crate) fn current() -> Option<Self> {
        ATTEMPT.try_with(Clone::clone).ok()
    }

    /// The time until the deadline of the race.
    pub(crate) fn time_left(&self) -> Duration {
        self.race.deadline.saturating_duration_since(Instant::now())
    }

    /// The address for this attempt. `None` for the first attempt, which must resolve the name.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        if self.number == 0 {
            return None;
        }
        self.race.state().addresses.get(self.number).copied()
    }

    /// Sets the addresses of the name. This attempt takes the first one.
    pub(crate) fn set_addresses(&self, addresses: &[IpAddr]) {
        let mut state = self.race.state();
        addresses.clone_into(&mut state.addresses);
        state.schedule_next(self.time_left());
        self.race.changed.notify_one();
    }

    /// Notes that a peer has accepted this attempt's connection. The next attempt then starts later. Returns whether it
    /// is the first such peer.
    pub(crate) fn set_connected(&self) -> bool {
        let mut state = self.race.state();
        let is_first = !state.is_connected;
        state.is_connected = true;
        state.schedule_next(self.time_left());
        self.race.changed.notify_one();
        is_first
    }

    /// Call this when the connection of this attempt is ready. Returns `false` if another attempt was faster; then this
    /// connection must end.
    pub(crate) fn try_win(&self) -> bool {
        let mut state = self.race.state();
        let winner = *state.winner.get_or_insert(self.number);
        self.race.changed.notify_one();
        winner == self.number
    }
}

// === impl Race ===

impl Race {
    fn state(&self) -> MutexGuard<'_, RaceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_attempt(self: &Arc<Self>) -> Attempt {
        let mut state = self.state();
        let number = state.started;
        state.started += 1;
        state.schedule_next(self.deadline.saturating_duration_since(Instant::now()));
        Attempt {
            number,
            race: Arc::clone(self),
        }
    }

    fn has_more(&self) -> bool {
        self.state().addresses_left() > 0
    }

    fn winner(&self) -> Option<usize> {
        self.state().winner
    }

    fn next_start(&self) -> Option<Instant> {
        let state = self.state();
        state.next_start.filter(|_| state.winner.is_none())
    }
}

// === impl RaceState ===

impl RaceState {
    fn addresses_left(&self) -> usize {
        self.addresses.len().saturating_sub(self.started)
    }

    /// Sets the start of the next attempt. A TCP connection gets a short head start over it, a TLS handshake an equal
    /// share of the time left.
    fn schedule_next(&mut self, time_left: Duration) {
        let others = u32::try_from(self.addresses_left()).unwrap_or(u32::MAX);
        let share = time_left / others.saturating_add(1);
        let head_start = if self.is_connected {
            share
        } else {
            (share / 2).clamp(HEAD_START_MIN, HEAD_START_MAX)
        };
        self.next_start = (others > 0).then(|| Instant::now() + head_start);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::time::sleep;

    use super::*;

    /// What comes of a race of attempts whose connections are ready after these times, and how many of them won. The
    /// name has two addresses.
    async fn run(ready_after: [u64; 2], answer_after: u64) -> (Result<usize, &'static str>, usize) {
        let (begun, won) = (Mutex::new(0), Mutex::new(0));
        let request = || {
            let number = {
                let mut begun = begun.lock().unwrap();
                *begun += 1;
                *begun - 1
            };
            let won = &won;
            async move {
                let attempt = Attempt::current().unwrap();
                if number == 0 {
                    attempt.set_addresses(&[Ipv4Addr::LOCALHOST.into(), Ipv4Addr::BROADCAST.into()]);
                }
                sleep(Duration::from_millis(ready_after[number])).await;
                if !attempt.try_win() {
                    return Err("another was faster");
                }
                *won.lock().unwrap() += 1;
                sleep(Duration::from_millis(answer_after)).await;
                Ok(number)
            }
        };
        let deadline = Instant::now() + Duration::from_mins(1);
        let result = race(deadline, request, |_| true).await;
        let won = *won.lock().unwrap();
        (result, won)
    }

    /// The second attempt begins a quarter of a second after the first.
    #[tokio::test(start_paused = true)]
    async fn one_attempt_wins() {
        for (ready_after, answer_after, expected) in [
            ([0, 0], 10, (Ok(0), 1)),
            ([400, 100], 10, (Ok(1), 1)),
            ([400, 200], 10, (Ok(0), 1)),
            // Both are ready in the same moment. The one that lost must not end the other.
            ([350, 100], 10, (Ok(0), 1)),
            ([350, 100], 10_000, (Ok(0), 1)),
        ] {
            assert_eq!(run(ready_after, answer_after).await, expected, "{ready_after:?}");
        }
    }
}
