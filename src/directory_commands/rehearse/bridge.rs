//! The bridge of a rehearsal: orders and reads, and the patience between them.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::report::Shown;
use crate::{
    bridge::{
        ProbeRequest,
        scim::{
            directory::{DirectoryReader, Lists, Terms, Unread},
            rate::Rate,
            write::{DirectoryWriter, Sent},
        },
    },
    directory_commands::{READ_LIMIT, Stop},
    domain::directory::{
        names::{RemoteId, fold},
        order::{Answer, Order},
        snapshot::{GroupEntry, UserEntry},
    },
};

/// The time for one request with its waits.
const WITHIN: Duration = Duration::from_mins(2);
/// So often an order is sent again that the bridge had no time for. Nothing was done then.
const ATTEMPTS: u32 = 4;
/// The first pause between two reads. Each further one is longer.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest such pause.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// A bridge that a probe has just proven.
pub(super) struct Bridge {
    pub(super) reader: DirectoryReader,
    pub(super) writer: DirectoryWriter,
    pub(super) request: ProbeRequest,
    pub(super) rate: Rate,
    /// So long a write may be invisible.
    pub(super) patience: Duration,
}

/// Reads until something is shown, or the patience is over.
struct Watch {
    begun: Instant,
    patience: Duration,
    pause: Duration,
    reads: u32,
}

/// The last read, and when it showed what was waited for. `None`: it never did.
pub(super) struct Looked<T> {
    pub(super) last: T,
    pub(super) shown: Option<Shown>,
}

impl Bridge {
    /// Sends an order. It is sent again only if the bridge asked for a pause.
    pub(super) async fn send(&self, order: &Order) -> Result<Sent, Stop> {
        for _ in 0..ATTEMPTS {
            let sent = self.writer.send(&self.request, order, WITHIN, &self.rate).await;
            match sent.answer {
                Answer::RateLimited => {}
                Answer::NotSent => return Err(Stop::NotSent(sent.status)),
                Answer::Accepted(_)
                | Answer::Unclear
                | Answer::NotFound
                | Answer::Conflict
                | Answer::Unsupported
                | Answer::TooMany
                | Answer::Rejected(_) => return Ok(sent),
            }
        }
        Err(Stop::RateLimited)
    }

    pub(super) async fn lists(&self) -> Result<Lists, Stop> {
        let terms = Terms {
            within: READ_LIMIT,
            proven: None,
            round: 0,
        };
        Ok(self.reader.read(&self.request, terms, &self.rate).await?)
    }

    pub(super) async fn user(&self, id: &RemoteId) -> Result<Option<UserEntry>, Stop> {
        Ok(self
            .reader
            .read_user(&self.request, id, WITHIN, &self.rate)
            .await?)
    }

    pub(super) async fn group(&self, id: &RemoteId) -> Result<Option<GroupEntry>, Stop> {
        Ok(self
            .reader
            .read_group(&self.request, id, WITHIN, &self.rate)
            .await?)
    }

    /// Reads the user by id until this holds.
    pub(super) async fn look_at_user(
        &self,
        id: &RemoteId,
        is_shown: impl Fn(&UserEntry) -> bool,
    ) -> Result<Looked<Option<UserEntry>>, Stop> {
        self.look(
            async || self.user(id).await,
            |user| user.as_ref().is_some_and(&is_shown),
        )
        .await
    }

    /// Reads until this holds. A read that fails shows nothing; if the last one fails, so does the look.
    pub(super) async fn look<T>(
        &self,
        mut read: impl AsyncFnMut() -> Result<T, Stop>,
        is_shown: impl Fn(&T) -> bool,
    ) -> Result<Looked<T>, Stop> {
        let mut watch = Watch::new(self.patience);
        let mut last = read().await;
        loop {
            if let Ok(read) = &last
                && is_shown(read)
            {
                let shown = Some(watch.shown());
                return last.map(|last| Looked { last, shown });
            }
            if !watch.wait().await {
                return last.map(|last| Looked { last, shown: None });
            }
            last = read().await;
        }
    }
}

impl Watch {
    fn new(patience: Duration) -> Self {
        Self {
            begun: Instant::now(),
            patience,
            pause: FIRST_PAUSE,
            reads: 1,
        }
    }

    fn shown(&self) -> Shown {
        if self.reads == 1 {
            Shown::AtOnce
        } else {
            Shown::After(self.begun.elapsed())
        }
    }

    /// Waits before another read. `false` if there is no time for one.
    async fn wait(&mut self) -> bool {
        let Some(left) = self.patience.checked_sub(self.begun.elapsed()) else {
            return false;
        };
        sleep(self.pause.min(left)).await;
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        self.reads += 1;
        true
    }
}

impl From<Unread> for Stop {
    fn from(unread: Unread) -> Self {
        Self::Unread(unread.incomplete())
    }
}

/// Whether the group lists this user, by the id or by the user name.
pub(super) fn lists_user(group: &GroupEntry, user: &UserEntry) -> bool {
    let name = user.user_name.as_deref().map(fold);
    let members = group.members.iter().flatten();
    let is_user =
        |value: &str| value == user.id.as_str() || name.as_ref().is_some_and(|name| fold(value) == *name);
    members
        .filter(|member| !member.is_group)
        .any(|member| is_user(&member.value))
}

/// Whether the user lists this group.
pub(super) fn lists_group(user: &UserEntry, group: &RemoteId) -> bool {
    let groups = user.groups.iter().flatten();
    groups.into_iter().any(|value| **value == *group.as_str())
}
