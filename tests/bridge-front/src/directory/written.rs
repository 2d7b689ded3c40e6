//! The answer to a write: the resource as it is, as the client wished it, or nothing.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde_json::Value;

use super::{
    Context,
    habits::{Atomicity, Created, Echo, Spelling, Writes},
    people::{Group, User},
    refusal::Refusal,
    shape::BASE,
    store::Store,
};
use crate::answer::{SCIM_JSON, answer, text};

/// What a write was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Created,
    Changed,
    /// The client asked for what was there already.
    Unchanged,
}

impl Kind {
    /// What a write asks for.
    pub(super) fn of<T: PartialEq>(old: Option<&T>, sent: &T) -> Self {
        match old {
            None => Self::Created,
            Some(old) if old == sent => Self::Unchanged,
            Some(_) => Self::Changed,
        }
    }
}

/// A write that was not refused. What was stored may differ from what was sent.
#[derive(Debug)]
pub(super) struct Outcome<T> {
    kind: Kind,
    sent: T,
}

/// What a write can be about.
pub(super) trait Written {
    const COLLECTION: &'static str;
    fn id(&self) -> &str;
    /// As the directory has it now, if it has it.
    fn stored(&self, store: &mut Store, context: &Context<'_>) -> Option<Value>;
    /// As the client wished it.
    fn wished(&self, store: &mut Store, context: &Context<'_>) -> Value;
}

impl<T: Written> Outcome<T> {
    pub(super) fn new(kind: Kind, sent: T) -> Self {
        Self { kind, sent }
    }

    /// The answer.
    pub(super) fn response(
        &self,
        store: &mut Store,
        context: &Context<'_>,
        status: StatusCode,
    ) -> Result<Response, Refusal> {
        let writes = &context.habits.writes;
        let nothing = Ok(text(StatusCode::NO_CONTENT, ""));
        let (status, location) = match (self.kind, writes.created) {
            (Kind::Created, Created::Ok) => (StatusCode::OK, false),
            (Kind::Created, Created::WithLocation) => (status, true),
            (Kind::Changed | Kind::Unchanged, _) if writes.echo == Echo::Nothing => return nothing,
            (Kind::Unchanged, _) if writes.echo == Echo::NothingIfUnchanged => return nothing,
            (Kind::Changed | Kind::Unchanged, _) => (status, false),
        };
        let as_sent = Context {
            spelling: Spelling::AsWritten,
            ..*context
        };
        let document = match writes.echo {
            Echo::Stored | Echo::Nothing | Echo::NothingIfUnchanged => self.sent.stored(store, context),
            Echo::AsSent => None,
        };
        let document = document.unwrap_or_else(|| self.sent.wished(store, &as_sent));
        let mut response = answer(status, SCIM_JSON, context.sent(document).to_string());
        if location {
            let place = format!("{BASE}/scim/{}/{}", T::COLLECTION, self.sent.id());
            let place = HeaderValue::from_str(&place);
            let place = place.map_err(|_| Refusal::of(500, None, "the id does not fit into a header"))?;
            response.headers_mut().insert(header::LOCATION, place);
        }
        Ok(response)
    }
}

impl Writes {
    pub(super) fn is_atomic(&self) -> bool {
        self.atomicity == Atomicity::Whole
    }
}

impl Written for User {
    const COLLECTION: &'static str = "Users";

    fn id(&self) -> &str {
        &self.id
    }

    fn stored(&self, store: &mut Store, context: &Context<'_>) -> Option<Value> {
        let groups = store.memberships().get(&self.id).cloned().unwrap_or_default();
        store.users.get(&self.id).map(|user| context.user(user, &groups))
    }

    fn wished(&self, store: &mut Store, context: &Context<'_>) -> Value {
        let groups = store.memberships().get(&self.id).cloned().unwrap_or_default();
        context.user(self, &groups)
    }
}

impl Written for Group {
    const COLLECTION: &'static str = "Groups";

    fn id(&self) -> &str {
        &self.id
    }

    fn stored(&self, store: &mut Store, context: &Context<'_>) -> Option<Value> {
        let Store {
            groups, users, dice, ..
        } = store;
        let entry = groups.entry(&self.id)?;
        Some(context.group(&entry.current, Some(entry), users, false, dice))
    }

    fn wished(&self, store: &mut Store, context: &Context<'_>) -> Value {
        let Store {
            groups, users, dice, ..
        } = store;
        context.group(self, groups.entry(&self.id), users, false, dice)
    }
}
