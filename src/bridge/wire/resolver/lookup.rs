//! One look-up: asks for all candidates of a name, each in both address families, within one deadline.
//!
//! A silent search domain or family has a share of the time. Then the others go on without it. A domain may still
//! answer until the deadline.

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
    message::Answer,
    search::candidates,
    servers::{NoAnswer, Servers},
};

/// The wait for the second family after the addresses of the first one arrived (RFC 8305, section 3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// The second family gets the share divided by this, if it is asked later, or if the first has no such name. A
/// name exists for both families or for none. Only some servers deny it for IPv6 alone (RFC 4074, section 4.2).
const SECOND_FAMILY_DIVISOR: u32 = 10;

/// The result for one candidate, from both families.
#[derive(Clone, Debug, PartialEq, Eq)]
enum CandidateResult {
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
    let mut results = vec![None; candidates.len()];
    let mut has_silent_domain = false;
    for (number, candidate) in candidates.iter().enumerate() {
        // After a silent domain, only the name itself is tried, as in the C library.
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
        while results.get(number).is_some_and(Option::is_none) {
            let Ok(next) = timeout_at(end, asked.next()).await else {
                has_silent_domain |= !candidate.is_given;
                break;
            };
            match next {
                None => break,
                Some((_, CandidateResult::Found(addresses))) => return Ok(addresses),
                Some((number, result)) => {
                    if let Some(slot) = results.get_mut(number) {
                        *slot = Some(result);
                    }
                }
            }
        }
    }
    let mut silent = asked.len();
    while let Ok(Some((number, result))) = timeout_at(deadline, asked.next()).await {
        silent -= 1;
        if let CandidateResult::Found(addresses) = result {
            return Ok(addresses);
        }
        if let Some(slot) = results.get_mut(number) {
            *slot = Some(result);
        }
    }
    // A result for the name itself counts more than a silent domain that was tried after it.
    let is_given_first = candidates.first().is_some_and(|candidate| candidate.is_given);
    if is_given_first && let Some(Some(result)) = results.first() {
        return Err(result.error());
    }
    if silent > 0 {
        return Err(ResolveError::TimedOut);
    }
    let failed = results
        .iter()
        .flatten()
        .any(|result| *result == CandidateResult::Failed);
    Err(if failed {
        ResolveError::Failed
    } else {
        ResolveError::NotFound
    })
}

// === impl CandidateResult ===

impl CandidateResult {
    /// Why there is no address.
    const fn error(&self) -> ResolveError {
        match self {
            Self::Failed => ResolveError::Failed,
            Self::Absent | Self::Found(_) => ResolveError::NotFound,
        }
    }
}

/// Asks for both families at once. If one is silent, the other loses no time.
async fn look_up_one(
    servers: &Servers<'_>,
    name: &Name,
    config: &Config,
    share: Duration,
) -> CandidateResult {
    let options = &config.options;
    let mut v4 = Box::pin(servers.ask(name, RecordType::A, share));
    if options.has(Switch::NoAaaa) {
        return combine(v4.await, None);
    }
    let v6 = Box::pin(servers.ask(name, RecordType::AAAA, share));
    let v4_alone = if options.has(Switch::SingleRequest) {
        timeout(share / 2, &mut v4).await.ok()
    } else {
        None
    };
    let is_v4_alone = v4_alone.is_some();
    let (first, other) = match v4_alone {
        Some(first) => (first, v6),
        None => match future::select(v4, v6).await {
            Either::Left((first, other)) | Either::Right((first, other)) => (first, other),
        },
    };
    let other = match &first {
        Ok(Answer::Found(_)) if !is_v4_alone => timeout(RESOLUTION_DELAY, other).await.ok(),
        Ok(Answer::Found(_) | Answer::NoName) => timeout(share / SECOND_FAMILY_DIVISOR, other).await.ok(),
        // This says nothing about the other family.
        Ok(Answer::NoAddress) | Err(NoAnswer) => Some(other.await),
    };
    combine(first, other)
}

/// Combines the answers of both families.
fn combine(first: Result<Answer, NoAnswer>, other: Option<Result<Answer, NoAnswer>>) -> CandidateResult {
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
        (false, ..) => CandidateResult::Found(found),
        (true, false, true) => CandidateResult::Failed,
        (true, ..) => CandidateResult::Absent,
    }
}
