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

use std::{fmt::Write as _, sync::Arc, time::Duration};

use reqwest::StatusCode;
use tokio::time::Instant;

pub use super::rate::Rate;
use super::{
    line::{Heard, Line, NotBegun, Query},
    lists::{self, MAX_BODY, Schemas},
    memory::{Account, Charge, Full},
};
use crate::{
    api::vocabulary::Layer,
    bridge::{
        HttpProber, Lanes, ProbeRequest,
        wire::{answer::BoundedResponse, front, session::Verb, stages::Observer},
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
pub struct DirectoryReader(Line);

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

type Parser<T> = fn(&[u8]) -> Result<T, PageFault>;

/// One read that goes on.
struct Read<'a> {
    reader: &'a DirectoryReader,
    request: &'a ProbeRequest,
    rate: &'a Rate,
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
        Self(Line::new(prober, lanes))
    }

    /// Charges what it reads to this account. Without one, each read has no bound but its own.
    #[must_use]
    pub fn charged_to(self, account: Account) -> Self {
        Self(self.0.charged_to(account))
    }

    /// Reports the stages of each request to this observer. The prober's own observers do not see them: they measure
    /// probes.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        Self(self.0.observed_by(observer))
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
    pub async fn read(&self, request: &ProbeRequest, terms: Terms, rate: &Rate) -> Result<Lists, Unread> {
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
            charge: self.0.account.charge(),
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

impl DirectoryReader {
    /// Reads one user. `None`: the bridge says with a SCIM error and 404 that there is none.
    ///
    /// # Errors
    /// [`Unread`] says what ended the read. Then nothing is known of the user.
    pub async fn read_user(
        &self,
        request: &ProbeRequest,
        id: &RemoteId,
        within: Duration,
        rate: &Rate,
    ) -> Result<Option<UserEntry>, Unread> {
        self.read_one(request, (Layer::Users, id), within, rate, |body| {
            lists::read_user(body).map(Some)
        })
        .await
    }

    /// Reads one group. `None`: the bridge says with a SCIM error and 404 that there is none.
    ///
    /// # Errors
    /// [`Unread`] says what ended the read. Then nothing is known of the group.
    pub async fn read_group(
        &self,
        request: &ProbeRequest,
        id: &RemoteId,
        within: Duration,
        rate: &Rate,
    ) -> Result<Option<GroupEntry>, Unread> {
        self.read_one(request, (Layer::Groups, id), within, rate, |body| {
            lists::read_group(body).map(Some)
        })
        .await
    }

    async fn read_one<T: Entry>(
        &self,
        request: &ProbeRequest,
        (layer, id): (Layer, &RemoteId),
        within: Duration,
        rate: &Rate,
        parse: Parser<Option<T>>,
    ) -> Result<Option<T>, Unread> {
        let (path, deadline) = (path_of(layer, id), Instant::now() + within);
        let read = ask(
            &self.0,
            request,
            (layer, &path),
            rate,
            deadline,
            parse,
            Some(None),
        )
        .await?;
        read.map_err(Incomplete::Page)
            .and_then(|entry| entry.map(|entry| is_this(entry, id)).transpose())
            .map_err(|reason| unread(layer, Cause::Incomplete(reason)))
    }
}

// === impl Read ===

impl Read<'_> {
    async fn list<T: Entry>(&mut self, layer: Layer, parse: Parser<Page<T>>) -> Result<Listing<T>, Unread> {
        let path = path_of_list(layer);
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
        let path = path_of(Layer::Groups, id);
        let group = self
            .ask(Layer::Groups, &path, lists::read_group)
            .await?
            .map_err(Incomplete::Page)
            .and_then(|group| is_this(group, id))
            .map_err(|reason| unread(Layer::Groups, Cause::Incomplete(reason)))?;
        let room = self.room.checked_sub(group.bytes());
        self.room = room.ok_or_else(|| unread(Layer::Groups, Cause::Incomplete(Incomplete::TooLarge)))?;
        self.charge(Layer::Groups, self.room)?;
        Ok(group)
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

    async fn ask<T>(
        &mut self,
        layer: Layer,
        path: &str,
        parse: Parser<T>,
    ) -> Result<Result<T, PageFault>, Unread> {
        let Self {
            reader: DirectoryReader(line),
            request,
            rate,
            deadline,
            room: _,
            charge: _,
        } = self;
        ask(line, request, (layer, path), rate, *deadline, parse, None).await
    }
}

/// Sends one request when rate and lane let it. The inner error is that of a body that came with 200. `gone` is what a
/// SCIM error with 404 means; without it, that ends the read.
async fn ask<T>(
    line: &Line,
    request: &ProbeRequest,
    (layer, path): (Layer, &str),
    rate: &Rate,
    deadline: Instant,
    parse: Parser<T>,
    gone: Option<T>,
) -> Result<Result<T, PageFault>, Unread> {
    let query = Query {
        layer,
        verb: Verb::Get,
        path,
        bound: MAX_BODY,
    };
    let heard = line.ask(request, &query, rate, deadline, |response, holds| {
        if gone.is_some() && is_not_found(response) {
            return (gone.map(Ok), Answer::NotFound);
        }
        let mut document = None;
        let answer = response.read(|body| {
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
        });
        (document, answer)
    });
    let Heard {
        answer,
        may_be_sent: _,
        retry_after,
        full,
    } = heard.await.map_err(|why| not_begun(layer, why))?;
    if full == Some(Full::Others) {
        return Err(unread(layer, Cause::Incomplete(Incomplete::NoRoom)));
    }
    let cause = match answer {
        Ok((Some(document), _)) => return Ok(document),
        Ok((None, Answer::TooLarge)) => return Ok(Err(PageFault::TooLarge)),
        Ok((None, answer)) => Cause::Answered(answer),
        Err(_) if deadline <= Instant::now() => Cause::OutOfTime,
        Err(failure) => Cause::Failed(failure),
    };
    Err(Unread {
        layer,
        cause,
        retry_after,
    })
}

fn not_begun(layer: Layer, why: NotBegun) -> Unread {
    let (cause, retry_after) = match why {
        NotBegun::OutOfTime(held_for) => (Cause::OutOfTime, held_for),
        NotBegun::NotLeading => (Cause::NotLeading, None),
        NotBegun::Failed(failure) => (Cause::Failed(failure), None),
    };
    Unread {
        layer,
        cause,
        retry_after,
    }
}

/// Whether a bridge says that a user or group is not there. A front's 404 says nothing about either, so only a SCIM error
/// counts (RFC 7644, section 3.12).
pub(super) fn is_not_found(response: &BoundedResponse) -> bool {
    response.status == StatusCode::NOT_FOUND
        && !front::refuses(404, &response.headers, response.bytes())
        && lists::read_reply(response.bytes()).is_ok_and(|reply| reply.schemas == Schemas::Error)
}

fn is_this<T: Entry>(entry: T, id: &RemoteId) -> Result<T, Incomplete> {
    if entry.id() == id {
        Ok(entry)
    } else {
        Err(Incomplete::Conflict)
    }
}

/// The path of a list, after that of SCIM.
pub(super) const fn path_of_list(layer: Layer) -> &'static str {
    if matches!(layer, Layer::Users) {
        "/Users"
    } else {
        "/Groups"
    }
}

/// The path of one user or group, after that of SCIM.
pub(super) fn path_of(layer: Layer, id: &RemoteId) -> String {
    format!("{}/{}", path_of_list(layer), segment(id))
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
