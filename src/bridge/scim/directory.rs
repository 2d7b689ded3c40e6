//! Reads the directory of a bridge: its users, its groups, and who is in them.
//!
//! Each page is a request by itself, under the rules of a probe: the same checks of address, certificate and proxy, the
//! same key, the same classification. It has its own connection, so no idle connection occupies the bridge while a probe
//! has its turn. The price is one handshake for each page.
//!
//! - **Turns.** A page takes a turn in the lane of the bridge. A probe waits for one page at most of each directory that is
//!   read from there.
//! - **Time.** A page has the time of a probe, and all pages together have the time of [`Terms`].
//! - **Pace.** Between the beginnings of two requests at least the interval of the [`Rate`] passes.
//! - **Memory.** Of a page only its entries are kept. All entries together have the bound [`MAX_BYTES`], and the
//!   [`Account`] that is charged may have less.
//! - **Ends.** The first answer that is no page ends the read. It repeats nothing, and waits for no `Retry-After`.
//!
//! A read sends no `/ping`. Read only a directory whose bridge a probe has proven.

use std::{
    fmt::Write as _,
    num::NonZeroU32,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    lists::{self, MAX_BODY},
    memory::{Account, Charge, Full, Memory},
};
use crate::{
    api::vocabulary::Layer,
    bridge::{
        HttpProber, Lanes, ProbeRequest,
        wire::{
            session::Request,
            stages::{Course, Observer, Stage, pass},
        },
    },
    domain::{
        connection::evidence::{Answer, TransportFailure},
        directory::{
            names::RemoteId,
            snapshot::{GroupEntry, MembersReadBy, Snapshot, UserEntry},
            walk::{Ask, Entry, Incomplete, Listing, MAX_BYTES, Page, PageFault, Progress, Walk},
        },
    },
};

/// How many groups a read tries by themselves while no way to read members is proven.
pub const TRIALS: u32 = 3;

/// Reads directories, in the lanes of the probes.
#[derive(Clone, Debug)]
pub struct DirectoryReader {
    prober: Arc<HttpProber>,
    lanes: Lanes,
    observers: Arc<[Arc<dyn Observer>]>,
    account: Account,
}

/// The terms of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The time for the whole read.
    pub within: Duration,
    /// The way to read members that an earlier read has proven.
    pub proven: Option<MembersReadBy>,
    /// How many reads there were before. While no way is proven, each read tries the next [`TRIALS`] groups.
    pub round: u32,
}

/// At most so many requests in a second. Keep it for all requests of one connection, also between reads.
#[derive(Debug)]
pub struct Rate {
    interval: Duration,
    next: Instant,
    requests: u64,
}

/// Complete lists.
#[derive(Debug)]
pub struct Lists {
    /// `/scim/Users`
    pub users: Listing<UserEntry>,
    /// `/scim/Groups`
    pub groups: Listing<GroupEntry>,
    /// Groups that were read by themselves: all of them, or those that were tried.
    pub details: Vec<GroupEntry>,
    charge: Charge,
}

/// Why the directory was not read. Then nothing is known of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the directory was not read: {cause}")]
pub struct Unread {
    /// The list that failed: [`Layer::Users`] or [`Layer::Groups`].
    pub layer: Layer,
    /// What ended the read.
    pub cause: Cause,
    /// The `Retry-After` of the answer that ended the read. Read again after this time, not earlier.
    pub retry_after: Option<Duration>,
}

/// What ended a read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// This process no longer leads. Nothing was sent.
    #[error("this process is not the leader")]
    NotLeading,
    /// The time of the whole read is up. It may have waited for probes, for the rate, or for the bridge.
    #[error("the time for the read is up")]
    OutOfTime,
    /// No answer came to a request.
    #[error("a request was not answered")]
    Failed(TransportFailure),
    /// An answer is no page. Its meaning is that for probes, and never a document.
    #[error("an answer is not a page of a list")]
    Answered(Answer<()>),
    /// Pages came, but they do not show a complete list.
    #[error("{0}")]
    Incomplete(Incomplete),
}

/// One read that goes on.
struct Read<'a> {
    reader: &'a DirectoryReader,
    request: &'a ProbeRequest,
    rate: &'a mut Rate,
    deadline: Instant,
    /// The memory that further entries may take.
    room: usize,
    /// The memory that entries take.
    charge: Charge,
}

// === impl Unread ===

impl Unread {
    /// The reason in the words of the directory.
    #[must_use]
    pub const fn incomplete(&self) -> Incomplete {
        match &self.cause {
            Cause::Incomplete(reason) => *reason,
            Cause::Answered(Answer::TooLarge) => Incomplete::Page(PageFault::TooLarge),
            Cause::Answered(Answer::Foreign | Answer::Page | Answer::Encoded) => {
                Incomplete::Page(PageFault::NotAList)
            }
            Cause::NotLeading | Cause::OutOfTime | Cause::Failed(_) | Cause::Answered(_) => {
                Incomplete::Page(PageFault::Failed)
            }
        }
    }
}

// === impl Rate ===

impl Rate {
    /// At most so many requests in a second, without bursts.
    #[must_use]
    pub fn per_second(requests: NonZeroU32) -> Self {
        Self {
            interval: Duration::from_secs(1) / requests.get(),
            next: Instant::now(),
            requests: 0,
        }
    }

    /// How many requests it has let pass.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// Waits until the next request may begin.
    async fn wait(&self) {
        sleep_until(self.next).await;
    }

    /// Notes that a request begins now.
    fn note(&mut self) {
        self.requests += 1;
        self.next = Instant::now() + self.interval;
    }
}

// === impl Lists ===

impl Lists {
    /// Puts the lists together.
    #[must_use]
    pub fn into_snapshot(self) -> Snapshot {
        self.into_charged().0
    }

    /// Puts the lists together. Keep the charge as long as the snapshot.
    #[must_use]
    pub fn into_charged(self) -> (Snapshot, Charge) {
        let Self {
            users,
            groups,
            details,
            charge,
        } = self;
        let snapshot = Snapshot::new(users, groups, details);
        // Entries take more. If it is not so, the charge of the entries stands.
        let _ = charge.set(snapshot.bytes());
        (snapshot, charge)
    }
}

// === impl DirectoryReader ===

impl DirectoryReader {
    /// Reads by the rules of this prober: address policy, trust, proxy, names and leadership. `lanes` are those in which
    /// the probes take their turns.
    #[must_use]
    pub fn new(prober: Arc<HttpProber>, lanes: Lanes) -> Self {
        Self {
            prober,
            lanes,
            observers: Arc::default(),
            account: Memory::new(usize::MAX).account(""),
        }
    }

    /// Charges what it reads to this account. Without one, each read has no bound but its own.
    #[must_use]
    pub fn charged_to(self, account: Account) -> Self {
        Self { account, ..self }
    }

    /// Reports the stages of each request to this observer. The prober's own observers do not see them: they measure
    /// probes.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        Self {
            observers: self.observers.iter().cloned().chain([observer]).collect(),
            ..self
        }
    }

    /// Reads users, then groups, then members where the lists do not show any.
    ///
    /// N users and G groups take ⌈N/100⌉ + ⌈G/100⌉ + 2 requests from a bridge that fills its pages. Groups are read by
    /// themselves only if neither the list of groups nor `terms.proven` says where members are:
    /// - [`MembersReadBy::Group`] is proven: each group.
    /// - Nothing is proven, and no user shows groups: [`TRIALS`] groups. If one shows a member, the others too.
    ///
    /// # Errors
    /// [`Unread`] says what ended the read, and when to read again. Nothing of the lists is returned then.
    pub async fn read(&self, request: &ProbeRequest, terms: Terms, rate: &mut Rate) -> Result<Lists, Unread> {
        let Terms {
            within,
            proven,
            round,
        } = terms;
        let mut read = Read {
            reader: self,
            request,
            rate,
            deadline: Instant::now() + within,
            room: MAX_BYTES,
            charge: self.account.charge(),
        };
        let users = read.list(Layer::Users, lists::read_users).await?;
        let groups = read.list(Layer::Groups, lists::read_groups).await?;
        let details = read.details(&users, &groups, proven, round).await?;
        Ok(Lists {
            users,
            groups,
            details,
            charge: read.charge,
        })
    }
}

// === impl Read ===

impl Read<'_> {
    async fn list<T: Entry>(
        &mut self,
        layer: Layer,
        parse: fn(&[u8]) -> Result<Page<T>, PageFault>,
    ) -> Result<Listing<T>, Unread> {
        let path = self.path(layer);
        let mut walk = Walk::within(self.room);
        loop {
            let Ask { start_index, count } = walk.ask();
            let page = format!("{path}?startIndex={start_index}&count={count}");
            match walk.feed(self.ask(layer, &page, parse).await?) {
                Progress::More(more) => {
                    self.charge(layer, more.room())?;
                    walk = more;
                }
                Progress::Complete(list) => {
                    let taken: usize = list.entries().iter().map(Entry::bytes).sum();
                    self.room = self.room.saturating_sub(taken);
                    self.charge(layer, self.room)?;
                    return Ok(list);
                }
                Progress::Incomplete(reason) => return Err(unread(layer, Cause::Incomplete(reason))),
            }
        }
    }

    /// Reads groups by themselves, if that is the way to read members or may be it.
    async fn details(
        &mut self,
        users: &Listing<UserEntry>,
        groups: &Listing<GroupEntry>,
        proven: Option<MembersReadBy>,
        round: u32,
    ) -> Result<Vec<GroupEntry>, Unread> {
        let groups = groups.entries();
        let is_shown = groups.iter().any(shows_members)
            || (proven.is_none()
                && users
                    .entries()
                    .iter()
                    .any(|user| user.groups.as_ref().is_some_and(|groups| !groups.is_empty())));
        let mut details = Vec::new();
        let is_the_way = match proven {
            _ if is_shown => false,
            Some(MembersReadBy::Group) => true,
            Some(MembersReadBy::GroupList | MembersReadBy::UserGroups) => false,
            None => self.try_groups(groups, round, &mut details).await?,
        };
        if is_the_way {
            let tried = details.len();
            for group in groups {
                if details
                    .iter()
                    .take(tried)
                    .all(|known: &GroupEntry| known.id != group.id)
                {
                    details.push(self.group(&group.id).await?);
                }
            }
        }
        Ok(details)
    }

    /// Whether one of a few groups shows a member when it is read by itself. A server that does not serve single groups
    /// shows none.
    async fn try_groups(
        &mut self,
        groups: &[GroupEntry],
        round: u32,
        details: &mut Vec<GroupEntry>,
    ) -> Result<bool, Unread> {
        let first = (round as usize)
            .wrapping_mul(TRIALS as usize)
            .checked_rem(groups.len())
            .unwrap_or_default();
        for group in groups
            .iter()
            .cycle()
            .skip(first)
            .take(groups.len().min(TRIALS as usize))
        {
            match self.group(&group.id).await {
                Ok(found) => {
                    let is_the_way = shows_members(&found);
                    details.push(found);
                    if is_the_way {
                        return Ok(true);
                    }
                }
                Err(Unread {
                    cause:
                        Cause::Answered(
                            Answer::NotFound
                            | Answer::Foreign
                            | Answer::ServerError(_)
                            | Answer::Unexpected(_),
                        ),
                    ..
                }) => return Ok(false),
                Err(unread) => return Err(unread),
            }
        }
        Ok(false)
    }

    async fn group(&mut self, id: &RemoteId) -> Result<GroupEntry, Unread> {
        let path = format!("{}/{}", self.path(Layer::Groups), segment(id));
        let group = self
            .ask(Layer::Groups, &path, lists::read_group)
            .await?
            .map_err(|fault| unread(Layer::Groups, Cause::Incomplete(Incomplete::Page(fault))))?;
        let room = self.room.checked_sub(group.bytes());
        self.room = room.ok_or_else(|| unread(Layer::Groups, Cause::Incomplete(Incomplete::TooLarge)))?;
        self.charge(Layer::Groups, self.room)?;
        if group.id == *id {
            Ok(group)
        } else {
            Err(unread(Layer::Groups, Cause::Incomplete(Incomplete::Conflict)))
        }
    }

    /// Charges all entries so far. `room` is what further ones may take.
    fn charge(&self, layer: Layer, room: usize) -> Result<(), Unread> {
        let charged = self.charge.set(MAX_BYTES.saturating_sub(room));
        charged.map_err(|full| {
            let reason = match full {
                Full::Directory => Incomplete::TooLarge,
                Full::Others => Incomplete::NoRoom,
            };
            unread(layer, Cause::Incomplete(reason))
        })
    }

    fn path(&self, layer: Layer) -> String {
        let resource = if layer == Layer::Users { "Users" } else { "Groups" };
        format!("{}/{resource}", self.request.route.origin.scim_path())
    }

    /// Sends one request when rate and lane let it. The inner error is that of a body that came with 200.
    async fn ask<T>(
        &mut self,
        layer: Layer,
        path: &str,
        parse: fn(&[u8]) -> Result<T, PageFault>,
    ) -> Result<Result<T, PageFault>, Unread> {
        // Every field is listed. For a new field, decide whether it changes how lists are read.
        let ProbeRequest {
            route,
            key,
            next_key: _,
            budget,
            requested: _,
        } = self.request;
        let out_of_time = || unread(layer, Cause::OutOfTime);
        timeout_at(self.deadline, self.rate.wait())
            .await
            .map_err(|_| out_of_time())?;
        let turn = self
            .reader
            .lanes
            .turn(route, self.deadline)
            .await
            .map_err(|_| out_of_time())?;
        // A process that was frozen finds its deadline over.
        if self.deadline <= Instant::now() {
            return Err(out_of_time());
        }
        if !self.reader.prober.leads() {
            return Err(unread(layer, Cause::NotLeading));
        }
        let deadline = self.deadline.min(Instant::now() + *budget);
        let mut session = self
            .reader
            .prober
            .session(route, deadline)
            .map_err(|failure| unread(layer, Cause::Failed(failure)))?;
        self.rate.note();
        // The body, and what it is parsed into. Its entries are charged when they are kept.
        let page = self.reader.account.charge();
        let full = OnceLock::new();
        let holds = |bytes| page.set(bytes).map_err(|why| full.set(why)).is_ok();
        let request = Request {
            path,
            accept: "application/scim+json, application/json;q=0.9",
            key: Some(key),
            bound: MAX_BODY,
            holds: &holds,
            last: true,
        };
        let course = Course::begin(Arc::clone(&self.reader.observers));
        let (document, answer, retry_after) = course
            .run(async move {
                let response = session.ask(&request).await;
                drop(turn);
                let mut document = None;
                let answer = response.map(|response| {
                    response.read(|body| {
                        // The body may have twice its room.
                        let read = if holds(2 * body.len() + lists::memory_to_parse(body)) {
                            parse(body)
                        } else {
                            Err(PageFault::TooLarge)
                        };
                        match read {
                            // The headers may say what it is instead.
                            Err(PageFault::NotAList) => None,
                            read => {
                                document = Some(read);
                                Some(())
                            }
                        }
                    })
                });
                pass(Stage::Listed(layer, answer.as_ref().map_err(|failure| *failure)));
                (document, answer, session.retry_after)
            })
            .await;
        if full.get() == Some(&Full::Others) {
            return Err(unread(layer, Cause::Incomplete(Incomplete::NoRoom)));
        }
        let cause = match (document, answer) {
            (Some(document), _) => return Ok(document),
            (None, Ok(Answer::TooLarge)) => return Ok(Err(PageFault::TooLarge)),
            (None, Err(_)) if self.deadline <= Instant::now() => Cause::OutOfTime,
            (None, Ok(answer)) => Cause::Answered(answer),
            (None, Err(failure)) => Cause::Failed(failure),
        };
        Err(Unread {
            layer,
            cause,
            retry_after,
        })
    }
}

const fn unread(layer: Layer, cause: Cause) -> Unread {
    Unread {
        layer,
        cause,
        retry_after: None,
    }
}

fn shows_members(group: &GroupEntry) -> bool {
    group.members.as_ref().is_some_and(|members| !members.is_empty())
}

/// An id as one segment of a path (RFC 3986, section 3.3): all but unreserved characters are encoded.
fn segment(id: &RemoteId) -> String {
    let mut segment = String::with_capacity(id.as_str().len());
    for byte in id.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(segment, "%{byte:02X}");
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds, in tenths, at which requests begin that each take so long.
    async fn beginnings(rate: &mut Rate, took: Duration, number: usize) -> Vec<u128> {
        let begun = Instant::now();
        let mut beginnings = Vec::new();
        for _ in 0..number {
            rate.wait().await;
            rate.note();
            beginnings.push(begun.elapsed().as_millis() / 100);
            tokio::time::sleep(took).await;
        }
        beginnings
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_holds_between_reads_and_saves_nothing_up() {
        let mut rate = Rate::per_second(NonZeroU32::new(5).unwrap());
        let quick = Duration::from_millis(1);
        assert_eq!(beginnings(&mut rate, quick, 4).await, [0, 2, 4, 6]);
        // The next read goes on where the last one ended.
        assert_eq!(beginnings(&mut rate, quick, 3).await, [1, 3, 5]);
        // Answers that take longer than the interval do not let others follow faster.
        let slow = Duration::from_millis(500);
        assert_eq!(beginnings(&mut rate, slow, 3).await, [1, 6, 11]);
        assert_eq!(beginnings(&mut rate, quick, 3).await, [0, 2, 4]);
        assert_eq!(rate.requests(), 13);
    }

    #[test]
    fn causes_in_the_words_of_the_directory() {
        for (cause, expected) in [
            (Cause::NotLeading, "page_failed"),
            (Cause::OutOfTime, "page_failed"),
            (Cause::Failed(TransportFailure::Connect), "page_failed"),
            (Cause::Answered(Answer::Unauthorized), "page_failed"),
            (Cause::Answered(Answer::RateLimited), "page_failed"),
            (Cause::Answered(Answer::Redirect(302)), "page_failed"),
            (Cause::Answered(Answer::Broken), "page_failed"),
            (Cause::Answered(Answer::TooLarge), "page_too_large"),
            (Cause::Answered(Answer::Foreign), "page_not_a_list"),
            (Cause::Answered(Answer::Page), "page_not_a_list"),
            (Cause::Answered(Answer::Encoded), "page_not_a_list"),
            (Cause::Incomplete(Incomplete::Conflict), "conflict"),
        ] {
            let unread = unread(Layer::Users, cause);
            assert_eq!(unread.incomplete().as_str(), expected, "{unread:?}");
        }
    }

    #[test]
    fn ids_become_one_segment() {
        for (id, expected) in [
            ("f7eqriu7ht27mq5zmm63gf2dhq", "f7eqriu7ht27mq5zmm63gf2dhq"),
            ("a-b._~c", "a-b._~c"),
            ("a/b", "a%2Fb"),
            ("../x", "..%2Fx"),
            ("%2e%2e", "%252e%252e"),
            ("a?b#c;d", "a%3Fb%23c%3Bd"),
        ] {
            assert_eq!(segment(&RemoteId::parse(id).unwrap()), expected, "{id}");
        }
    }
}
