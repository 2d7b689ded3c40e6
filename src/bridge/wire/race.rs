//! The addresses of one name, each with its share of the time (RFC 8305, section 5).
//!
//! hyper-util 0.1.21 tries the addresses of a family one after the other, and the first may take all the time. Its
//! `connect_timeout` would cut slow addresses off, and is the same for every probe of a client. reqwest 0.13.5 takes no
//! other connector, and its layers cannot repeat a connect. So each address gets a request:
//!
//! 1. The first one looks the name up, once, and takes the first address that the policy allows.
//! 2. The next one takes the second address. It begins a quarter of a second later, or at once where the first address
//!    refuses; where a peer has accepted and the handshake is under way, after an equal share of the time.
//! 3. The request whose connection stands first goes on. The others end before they have sent a byte of HTTP.
//!
//! The resolver and the connector run in the task of their request and find their attempt by it, as in
//! [`super::stages`]. `tests/resolver/addresses.rs` catches a client that does otherwise.
//!
//! A peer that shows a certificate which is not accepted ends the race: some users get there. A peer that accepts the
//! connection and then keeps silent does not.

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

/// The head start of one address over the next, where there is time for that (RFC 8305, section 8).
const HEAD_START: Duration = Duration::from_millis(250);

/// The least that RFC 8305 allows.
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
    course: Mutex<Course>,
    /// Something has happened that the race has to see.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Course {
    addresses: Vec<IpAddr>,
    begun: usize,
    /// When the next attempt begins.
    next: Option<Instant>,
    /// Whether any peer has accepted a connection.
    is_connected: bool,
    winner: Option<usize>,
}

/// Sends `request`, and again for each further address that is to be tried. `is_of_the_address` says whether another
/// address may do better after an error.
pub(crate) async fn race<T, E, F>(
    deadline: Instant,
    request: impl Fn() -> F,
    is_of_the_address: impl Fn(&E) -> bool,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let race = Arc::new(Race {
        deadline,
        course: Mutex::default(),
        changed: Notify::new(),
    });
    let attempt = || {
        let attempt = race.begin();
        (attempt.number, Box::pin(ATTEMPT.scope(attempt, request())))
    };
    let mut running = vec![attempt()];
    let mut first_error = None;
    loop {
        if let Some(winner) = race.winner() {
            running.retain(|(number, _)| *number == winner);
        }
        let next = race.next();
        let ends = running.iter_mut().map(|(_, request)| Pin::as_mut(request));
        tokio::select! {
            biased;
            () = race.changed.notified() => {}
            (result, place, _) = select_all(ends) => {
                let error = match result {
                    Ok(response) => return Ok(response),
                    Err(error) if race.winner().is_some() || !is_of_the_address(&error) => return Err(error),
                    Err(error) => error,
                };
                running.swap_remove(place);
                if race.has_more() {
                    running.push(attempt());
                } else if running.is_empty() {
                    return Err(first_error.unwrap_or(error));
                }
                first_error.get_or_insert(error);
            }
            () = sleep_until(next.unwrap_or(deadline)), if next.is_some() => running.push(attempt()),
        }
    }
}

// === impl Attempt ===

impl Attempt {
    /// The attempt that this task is part of.
    pub(crate) fn current() -> Option<Self> {
        ATTEMPT.try_with(Clone::clone).ok()
    }

    /// What the probe has left.
    pub(crate) fn time_left(&self) -> Duration {
        self.race.deadline.saturating_duration_since(Instant::now())
    }

    /// The address that this attempt is for. The first attempt looks it up.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        if self.number == 0 {
            return None;
        }
        self.race.course().addresses.get(self.number).copied()
    }

    /// The name leads to these addresses, and this attempt takes the first.
    pub(crate) fn resolved(&self, addresses: &[IpAddr]) {
        let mut course = self.race.course();
        addresses.clone_into(&mut course.addresses);
        course.wait(self.time_left());
        self.race.changed.notify_one();
    }

    /// A peer has accepted this attempt's connection, and gets more time. Returns whether it is the first one.
    pub(crate) fn connected(&self) -> bool {
        let mut course = self.race.course();
        let is_first = !course.is_connected;
        course.is_connected = true;
        course.wait(self.time_left());
        self.race.changed.notify_one();
        is_first
    }

    /// This attempt's connection stands. Returns whether it goes on: not where another was faster.
    pub(crate) fn wins(&self) -> bool {
        let mut course = self.race.course();
        let winner = *course.winner.get_or_insert(self.number);
        self.race.changed.notify_one();
        winner == self.number
    }
}

// === impl Race ===

impl Race {
    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>) -> Attempt {
        let mut course = self.course();
        let number = course.begun;
        course.begun += 1;
        course.wait(self.deadline.saturating_duration_since(Instant::now()));
        Attempt {
            number,
            race: Arc::clone(self),
        }
    }

    fn has_more(&self) -> bool {
        self.course().addresses_left() > 0
    }

    fn winner(&self) -> Option<usize> {
        self.course().winner
    }

    /// When the next attempt begins.
    fn next(&self) -> Option<Instant> {
        let course = self.course();
        course.next.filter(|_| course.winner.is_none())
    }
}

// === impl Course ===

impl Course {
    fn addresses_left(&self) -> usize {
        self.addresses.len().saturating_sub(self.begun)
    }

    /// Sets the next attempt's time: a connection gets a short head start, a handshake an equal share of what is left.
    fn wait(&mut self, time_left: Duration) {
        let others = u32::try_from(self.addresses_left()).unwrap_or(u32::MAX);
        let share = time_left / others.saturating_add(1);
        let head_start = if self.is_connected {
            share
        } else {
            (share / 2).clamp(HEAD_START_MIN, HEAD_START)
        };
        self.next = (others > 0).then(|| Instant::now() + head_start);
    }
}
