//! One look-up: the names that a name may mean, each for both families, within one time.
//!
//! A search domain or an address family that stays silent has its share of the time, and then the others go on without
//! it. A domain may still answer until the end.

use std::{net::IpAddr, time::Duration};

use futures::{
    future::{self, Either},
    stream::{FuturesUnordered, StreamExt as _},
};
use hickory_proto::rr::{Name, RecordType};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    ResolveError,
    config::{Config, Switch},
    search::candidates,
    servers::{NoAnswer, Servers},
    wire::Answer,
};

/// With the addresses of one family there, those of the other may take this much longer (RFC 8305, section 3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// This part of a share is left for the second family where that is asked after the first, and where there is no such
/// name for the first. A name is there for both or for none, but for servers that deny it for IPv6 alone (RFC 4074,
/// section 4.2).
const SECOND: u32 = 10;

/// What is known about one candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Found(Vec<IpAddr>),
    Absent,
    Failed,
}

/// Looks a name up in DNS. Ends at the deadline.
pub(super) async fn look_up(
    name: &str,
    config: &Config,
    first_server: usize,
    deadline: Instant,
) -> Result<Vec<IpAddr>, ResolveError> {
    let servers = &Servers::new(config, first_server);
    let candidates = candidates(name, config);
    let mut asked = FuturesUnordered::new();
    let mut outcomes = vec![None; candidates.len()];
    let mut has_silent_domain = false;
    for (number, candidate) in candidates.iter().enumerate() {
        // As the C library: behind a domain that stays silent no other is tried, but the name itself is.
        let may_be_asked = |is_given: bool| is_given || !has_silent_domain;
        if !may_be_asked(candidate.is_given) {
            continue;
        }
        let mut others = candidates.iter().skip(number + 1);
        let is_last = !others.any(|candidate| may_be_asked(candidate.is_given));
        let left = deadline.saturating_duration_since(Instant::now());
        let share = if is_last { left } else { left / 2 };
        let end = Instant::now() + share;
        asked.push(async move { (number, look_up_one(servers, &candidate.name, config, share).await) });
        while outcomes.get(number).is_some_and(Option::is_none) {
            let Ok(next) = timeout_at(end, asked.next()).await else {
                has_silent_domain |= !candidate.is_given;
                break;
            };
            match next {
                None => break,
                Some((_, Outcome::Found(addresses))) => return Ok(addresses),
                Some((number, outcome)) => {
                    if let Some(place) = outcomes.get_mut(number) {
                        *place = Some(outcome);
                    }
                }
            }
        }
    }
    let mut silent = asked.len();
    while let Ok(Some((number, outcome))) = timeout_at(deadline, asked.next()).await {
        silent -= 1;
        if let Outcome::Found(addresses) = outcome {
            return Ok(addresses);
        }
        if let Some(place) = outcomes.get_mut(number) {
            *place = Some(outcome);
        }
    }
    // What is known of the name itself counts more than what is not known of a domain that was tried after it.
    let is_given_first = candidates.first().is_some_and(|candidate| candidate.is_given);
    if is_given_first && let Some(Some(outcome)) = outcomes.first() {
        return Err(outcome.error());
    }
    if silent > 0 {
        return Err(ResolveError::TimedOut);
    }
    let failed = outcomes
        .iter()
        .flatten()
        .any(|outcome| *outcome == Outcome::Failed);
    Err(if failed {
        ResolveError::Failed
    } else {
        ResolveError::NotFound
    })
}

// === impl Outcome ===

impl Outcome {
    /// Why it brought no address.
    const fn error(&self) -> ResolveError {
        match self {
            Self::Failed => ResolveError::Failed,
            Self::Absent | Self::Found(_) => ResolveError::NotFound,
        }
    }
}

/// Asks for both families at once. One that stays silent costs the other nothing.
async fn look_up_one(servers: &Servers<'_>, name: &Name, config: &Config, share: Duration) -> Outcome {
    let options = &config.options;
    let mut v4 = Box::pin(servers.ask(name, RecordType::A, share));
    if options.has(Switch::NoAaaa) {
        return both(v4.await, None);
    }
    let v6 = Box::pin(servers.ask(name, RecordType::AAAA, share));
    let early = if options.has(Switch::SingleRequest) {
        timeout(share / 2, &mut v4).await.ok()
    } else {
        None
    };
    let is_early = early.is_some();
    let (first, other) = match early {
        Some(first) => (first, v6),
        None => match future::select(v4, v6).await {
            Either::Left((first, other)) | Either::Right((first, other)) => (first, other),
        },
    };
    let other = match &first {
        Ok(Answer::Found(_)) if !is_early => timeout(RESOLUTION_DELAY, other).await.ok(),
        Ok(Answer::Found(_) | Answer::NoName) => timeout(share / SECOND, other).await.ok(),
        // Says nothing of the other.
        Ok(Answer::NoAddress) | Err(NoAnswer) => Some(other.await),
    };
    both(first, other)
}

/// What both families say together.
fn both(first: Result<Answer, NoAnswer>, other: Option<Result<Answer, NoAnswer>>) -> Outcome {
    let is_no_name = |answer: &Result<Answer, NoAnswer>| *answer == Ok(Answer::NoName);
    let answers: Vec<_> = [first].into_iter().chain(other).collect();
    let is_absent = answers.iter().any(is_no_name);
    let has_failed = answers.contains(&Err(NoAnswer));
    let mut found = Vec::new();
    for answer in answers {
        if let Ok(Answer::Found(addresses)) = answer {
            found.extend(addresses);
        }
    }
    match (found.is_empty(), is_absent, has_failed) {
        (false, ..) => Outcome::Found(found),
        (true, false, true) => Outcome::Failed,
        (true, ..) => Outcome::Absent,
    }
}
