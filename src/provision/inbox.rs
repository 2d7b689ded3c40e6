//! The latest news for the task of one directory.
//!
//! A task may be busy for minutes. Meanwhile an inbox keeps only the last state of each object, so a flood of changes
//! takes no memory.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::declared::Declared;
use crate::{
    api::{group::ScimGroup, user::ScimUser},
    feed::FeedConnection,
};

/// News that a task has not taken yet.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Users by name; `None` if the user is deleted.
    pub(super) users: HashMap<Arc<str>, Option<Declared<ScimUser>>>,
    /// Groups by name; `None` if the group is deleted.
    pub(super) groups: HashMap<Arc<str>, Option<Declared<ScimGroup>>>,
    /// The connection, if it changed.
    pub(super) connection: Option<Service>,
    /// All objects and connections that existed at the start are known.
    pub(super) is_synced: bool,
}

/// Whether this process serves the connection.
#[derive(Debug)]
pub(super) enum Service {
    /// It does. The connection has this state.
    Served(Box<FeedConnection>),
    /// It does not, or not any more.
    NotServed,
}

/// The inbox of one directory.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    news: Mutex<News>,
    arrived: Notify,
}

impl Inbox {
    /// Adds news, and wakes the task.
    pub(super) fn put(&self, add: impl FnOnce(&mut News)) {
        add(&mut self.lock());
        self.arrived.notify_one();
    }

    /// Takes all news.
    pub(super) fn take(&self) -> News {
        mem::take(&mut *self.lock())
    }

    /// Whether there are news.
    pub(super) fn is_empty(&self) -> bool {
        let News {
            users,
            groups,
            connection,
            is_synced: _,
        } = &*self.lock();
        users.is_empty() && groups.is_empty() && connection.is_none()
    }

    /// Waits for news.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
