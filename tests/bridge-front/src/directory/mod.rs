//! The front's own directory: users and groups as 1Password has them, to read and to write.
//!
//! [`Source::Directory`](crate::Source::Directory) in the state switches it on. It is filled by a [`Seed`], lives in
//! memory and forgets everything with its front. A [`Directory`] is also the hand of somebody else on the same
//! users and groups: what it changes is not among the [`Change`]s that clients made.
//!
//! Guarantees:
//!
//! - Requests are answered one at a time, each from one state.
//! - A request that is refused changes nothing, unless [`Atomicity::ByOperation`] is on.
//! - Ids are never used twice, by no directory.
//! - The defaults of [`Habits`] are what was recorded of 1Password, in the form of the flavour that is played.
//! - Lists lie in the same way in each run; only ids are new.
//!
//! `sortBy`, `attributes`, `excludedAttributes` and `If-Match` are ignored. There is no bulk.
//!
//! # What servers did to people, and the switch that does it
//!
//! Habits are below [`State::habits`](crate::State::habits); a fault is set with [`State::fault`](crate::State::fault).
//! `F` stands for any [`Fault`](crate::Fault).
//!
//! | What happened | Switch |
//! |---|---|
//! | Removing one member removed all of them, sent as a list of values | `writes.remove_by_value` `Everybody`, the default |
//! | Removing one member removed all of them, sent as a filter | `writes.remove_by_filter` `Everybody` |
//! | Removal by filter is refused, or by list | `writes.remove_by_filter`, `writes.remove_by_value` `Refused` |
//! | A removal is answered 200 and does nothing | `writes.ignored` `RemoveMember` |
//! | The list was empty although people exist | `lists.ends_at` 0, with the true total if `lists.total` is `Everything` |
//! | An empty list has no `Resources`, or `null` | `lists.empty` |
//! | 503 for single users, or 404 for users that exist | fault `GET /scim/Users/ID` with `Status` |
//! | 503 for one page of a list | fault `/scim/Users?startIndex=101` with `Status` |
//! | Random people or members were missing, and back on the next read | `lists.missing` `Random`, `shown.members_missing` `Random` |
//! | Pages are shorter than `count` | `lists.page_limit`, with `lists.items_per_page` `Asked`; `lists.missing` `Last` |
//! | Pages overlap or have an entry twice | `lists.overlap`, `lists.doubled` |
//! | The index begins at 0 | `lists.index` `FromZero` |
//! | Every index gives the first page | `lists.index` `Ignored`; `count` is ignored, too, with `State::ignores_count` |
//! | An index beyond the end gives the last page | `lists.beyond_end` `LastPage` |
//! | The order differs from request to request | `lists.order`: within pages by default, `AcrossPages` |
//! | The list is cut at some number in silence | `lists.ends_at` |
//! | A list never ends | `lists.endless` |
//! | The total is the size of the page, wrong, or another one each time | `lists.total` |
//! | Paging fails with 500 | fault `/scim/Users?startIndex` with `Status` |
//! | Members are never returned, only for a single group, or `[]` for everybody | `shown.members` |
//! | A long list of members is cut | `shown.members_missing` `Beyond` |
//! | A member's `value` is the user name | `shown.member_value` `UserName` |
//! | Users do not show their groups | `shown.user_groups` |
//! | A group within a group | a [`Member`] of [`MemberKind::Group`] |
//! | `active` is a text, or absent | `shown.active` |
//! | Names come back in other case | `shown.names` |
//! | Two people whose names differ in case | `writes.name_case` `Exact`, or a seed with both |
//! | A creation of an existing name: 409 with or without `uniqueness`, a second one, 500 | `writes.taken_user_name`, `writes.taken_group_name` |
//! | 409 although the name is free | `writes.refused` of the act, 409 |
//! | `active: false` is answered 200 and ignored | `writes.ignored` `Suspend` |
//! | Reactivation is refused | `writes.refused` `Reactivate` |
//! | `"False"` as a text is refused, or taken as true | `writes.text_booleans` |
//! | A new address waits for the person's confirmation | `writes.ignored` `RenameUser`; later [`Directory::edit_user`] |
//! | User name and address have to agree | `writes.other_address` `Refused` |
//! | A write of `displayName` changes the name | `writes.display_name` `SplitsName`, the default |
//! | `externalId` is lost | `writes.external_ids` `Lost`, the default |
//! | An addition to a long group dropped members | `writes.add_keeps` |
//! | An addition replaces the whole list, or lists people twice | `writes.add` |
//! | No write of members has an effect | `writes.ignored` `AddMember` and `RemoveMember` |
//! | More than so many changes in one request: 400 or 413 | `writes.change_limit` |
//! | One unknown or suspended member fails the request | `writes.unknown_members` `Refused` (the default), `writes.suspended_members` `Refused` |
//! | Additions and removals in one request fail | `writes.mixed_operations` `Refused` |
//! | Operations before a wrong one stay done | `writes.atomicity` `ByOperation` |
//! | A suspended or deleted user stays a member, or loses the groups | `writes.suspended_memberships`, `writes.delete_user` |
//! | DELETE only suspends | `writes.delete_user` `Suspends`, the default |
//! | Somebody else deleted or changed it | [`Directory::remove_user`], [`Directory::edit_user`] and their like for groups |
//! | Licences have run out | `writes.seats`; `writes.refused` `CreateUser` |
//! | Owners and special groups cannot be touched | fault `PATCH /scim/Users/ID` with `Status` 403 |
//! | A read right after a write misses it | `writes.visible_after` |
//! | The answer to a write lies | `writes.echo` `AsSent`, with `writes.ignored` or `shown.names` |
//! | A write is answered by 204, or one that changes nothing | `writes.echo` `Nothing`, `NothingIfUnchanged` |
//! | A creation is answered by 201 | `writes.created` `WithLocation` |
//! | Bodies have to be `application/scim+json` | `writes.media_types` `ScimOnly` |
//! | Attributes come back in other case | `shown.keys` |
//! | The write was done, and 5xx came back | fault `PATCH /scim` with `F.after_the_write()` |
//! | The write was done, and the connection was cut | the same with `Close`, `Reset` or `Silent` |
//! | 429, with `Retry-After` | fault with `Status`; `F.once()` or `F.times(n)` ends it |
//! | Writes of members take minutes | fault `PATCH /scim/Groups` with `Delay` |
//! | No discovery documents | fault `/scim/ServiceProviderConfig` with `Status` 404 |
//! | Errors without `scimType`, as text, without body | `writes.errors` |
//! | Filters are refused or ignored | `lists.filter` |
//! | Only the lists of groups are wrong | `group_lists` |

mod dice;
mod discovery;
mod filter;
mod groups;
mod habits;
mod list;
mod patch;
mod people;
mod refusal;
mod shape;
mod store;
mod users;
mod written;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::Bytes,
    http::{Request, header},
    response::Response,
};
use tokio::{sync::watch, time};

pub use habits::{
    Acceptance, Act, ActiveForm, Addition, Atomicity, BeyondEnd, ChangeLimit, Created, DeleteUser,
    DisplayName, Echo, EmptyList, ErrorForm, ExternalIds, FilterUse, Habits, Index, ItemsPerPage, Keys,
    Lists, MediaTypes, MemberValue, MembersKey, Memberships, Missing, NameCase, Order, Refused, Removal,
    RemovalByValue, Shown, Spelling, Taken, TextBooleans, Total, UnknownMembers, UserGroups, Writes,
};
pub use people::{Email, Group, Member, MemberKind, Name, Seed, User};
pub use store::{Change, InvalidSeed};

use self::{refusal::Refusal, store::Store};
use crate::{
    answer::SCIM_JSON,
    state::{Flavour, State},
};

/// What a request is answered under.
#[derive(Clone, Copy)]
struct Context<'state> {
    flavour: Flavour,
    habits: &'state Habits,
    /// The habits of the lists of this collection.
    lists: &'state Lists,
    ignores_count: bool,
    /// How names are spelt in this answer.
    spelling: Spelling,
}

impl<'state> Context<'state> {
    fn new(flavour: Flavour, habits: &'state Habits, ignores_count: bool) -> Self {
        Self {
            flavour,
            habits,
            lists: &habits.lists,
            ignores_count,
            spelling: habits.shown.names,
        }
    }
}

/// The users and groups of a front.
#[derive(Debug, Default)]
pub struct Directory {
    store: Mutex<Store>,
    changes: watch::Sender<Vec<Change>>,
}

impl Directory {
    /// Replaces everything in the directory, and forgets the changes.
    ///
    /// # Errors
    /// The seed has an id twice or something without a name. Nothing has changed then.
    pub fn seed(&self, seed: Seed) -> Result<(), InvalidSeed> {
        let seeded = Store::seeded(seed)?;
        self.with(|store| *store = seeded);
        self.clear_changes();
        Ok(())
    }

    /// Everything as it is, as a seed of the same directory.
    #[must_use]
    pub fn content(&self) -> Seed {
        self.with(|store| Seed {
            users: store.users.all().cloned().collect(),
            groups: store.groups.all().cloned().collect(),
        })
    }

    /// All users in the order of their creation.
    #[must_use]
    pub fn users(&self) -> Vec<User> {
        self.content().users
    }

    /// All groups in the order of their creation.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        self.content().groups
    }

    /// The user with this id.
    #[must_use]
    pub fn user(&self, id: &str) -> Option<User> {
        self.with(|store| store.users.get(id).cloned())
    }

    /// The first user with this user name, without regard to case.
    #[must_use]
    pub fn user_named(&self, user_name: &str) -> Option<User> {
        self.with(|store| store.users.named(user_name).next().cloned())
    }

    /// The group with this id.
    #[must_use]
    pub fn group(&self, id: &str) -> Option<Group> {
        self.with(|store| store.groups.get(id).cloned())
    }

    /// The first group with this name, without regard to case.
    #[must_use]
    pub fn group_named(&self, display_name: &str) -> Option<Group> {
        self.with(|store| store.groups.named(display_name).next().cloned())
    }

    /// Adds a user, or replaces the one with the same id, as somebody else. Gives the id.
    pub fn put_user(&self, user: User) -> String {
        self.with(|store| {
            let user = store.identified_user(user);
            let id = user.id.clone();
            store.users.put(user, 0);
            id
        })
    }

    /// Adds a group, or replaces the one with the same id, as somebody else. Members may be named by their user
    /// name. Gives the id.
    pub fn put_group(&self, group: Group) -> String {
        self.with(|store| {
            let group = store.identified_group(group);
            let id = group.id.clone();
            store.groups.put(group, 0);
            id
        })
    }

    /// Changes a user as somebody else; the id stays. Says whether there was one.
    pub fn edit_user(&self, id: &str, edit: impl FnOnce(&mut User)) -> bool {
        self.with(|store| {
            let Some(mut user) = store.users.get(id).cloned() else {
                return false;
            };
            edit(&mut user);
            id.clone_into(&mut user.id);
            store.users.put(user, 0);
            true
        })
    }

    /// Changes a group as somebody else; the id stays. Says whether there was one.
    pub fn edit_group(&self, id: &str, edit: impl FnOnce(&mut Group)) -> bool {
        self.with(|store| {
            let Some(mut group) = store.groups.get(id).cloned() else {
                return false;
            };
            edit(&mut group);
            id.clone_into(&mut group.id);
            store.groups.put(group, 0);
            true
        })
    }

    /// Takes a user away for good, as somebody else. Groups still list the id. Says whether there was one.
    pub fn remove_user(&self, id: &str) -> bool {
        self.with(|store| store.users.take(id).is_some())
    }

    /// Takes a group away for good, as somebody else. Says whether there was one.
    pub fn remove_group(&self, id: &str) -> bool {
        self.with(|store| store.groups.take(id).is_some())
    }

    /// The writes of clients that had an effect, oldest first.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        self.changes.borrow().clone()
    }

    /// Forgets the changes so far.
    pub fn clear_changes(&self) {
        self.changes.send_modify(Vec::clear);
    }

    /// Waits until the changes are as wanted, looking at each of them. Gives the changes by then.
    ///
    /// # Errors
    /// They were not within the limit. The error is the changes by then.
    pub async fn wait_for_changes(
        &self,
        mut wanted: impl FnMut(&[Change]) -> bool + Send,
        limit: Duration,
    ) -> Result<Vec<Change>, Vec<Change>> {
        let mut subscription = self.changes.subscribe();
        let met = time::timeout(limit, subscription.wait_for(|changes| wanted(changes))).await;
        match met {
            Ok(Ok(changes)) => Ok(changes.clone()),
            // The sender lives as long as `self`, so the only failure is the time.
            Ok(Err(_)) | Err(_) => Err(self.changes()),
        }
    }

    /// Answers a request with a key, given by its path below the SCIM base.
    pub(crate) fn answer(&self, state: &State, resource: &str, request: &Request<Bytes>) -> Response {
        let (method, body) = (request.method(), request.body());
        let query = request.uri().query().unwrap_or_default();
        let mut context = Context::new(state.flavour, &state.habits, state.ignores_count);
        self.with(|store| {
            store.answers += 1;
            if context.spelling == Spelling::Changing {
                let even = store.answers.is_multiple_of(2);
                context.spelling = if even {
                    Spelling::UpperCase
                } else {
                    Spelling::LowerCase
                };
            }
            let path = resource.trim_matches('/');
            let (collection, id) = match path.split_once('/') {
                Some((collection, id)) => (collection, Some(list::decoded(id))),
                None => (path, None),
            };
            let id = id.as_deref();
            let answer = match collection {
                _ if !accepts(&state.habits.writes, request) => {
                    Err(Refusal::of(415, None, "the body is not application/scim+json"))
                }
                "Users" => users::answer(store, &context, method, id, query, body),
                "Groups" => {
                    context.lists = state.habits.group_lists.as_ref().unwrap_or(context.lists);
                    groups::answer(store, &context, method, id, query, body)
                }
                other if id.is_none() => discovery::answer(method, other),
                _ => Err(Refusal::not_found()),
            };
            answer.unwrap_or_else(|refusal| refusal.response(state.habits.writes.errors))
        })
    }

    /// Does something with the store, and publishes what it changed.
    fn with<R>(&self, act: impl FnOnce(&mut Store) -> R) -> R {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut store);
        if !store.fresh.is_empty() {
            self.changes
                .send_modify(|changes| changes.append(&mut store.fresh));
        }
        result
    }
}

/// Whether the directory reads a body of this content type.
fn accepts(writes: &Writes, request: &Request<Bytes>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let essence = content_type.and_then(|value| value.to_str().ok()?.split(';').next());
    match writes.media_types {
        MediaTypes::Any => true,
        MediaTypes::ScimOnly => request.body().is_empty() || essence == Some(SCIM_JSON),
    }
}
