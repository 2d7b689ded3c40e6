//! The steps of a rehearsal, in order. Each sends requests of the operator only, and each is judged by reads.

use std::collections::BTreeSet;

use super::{
    bridge::{Bridge, Looked, lists_group, lists_user},
    report::{Finding, Fit, Leftover, Question, Shown},
};
use crate::{
    bridge::scim::{directory::Lists, write::Sent},
    directory_commands::{DirectoryError, Stop, counted},
    domain::directory::{
        names::{PlainName, RemoteId, UserName, fold},
        order::{Answer, Order},
        snapshot::{Activity, GroupEntry, UserEntry},
    },
};

/// The names of the throw-away user.
const GIVEN_NAME: &str = "Rehearsal";
const FAMILY_NAME: &str = "Throwaway";
/// What the given name becomes.
const TWO_WORDS: &str = "Rehearsal Again";
/// What the user name begins with for a while.
const RENAMED: &str = "renamed-";
/// An id that no server gives, in the form of 1Password's.
const NOBODY: &str = "REHEARSALUNKNOWNMEMBER0000";
/// Entries in one page.
const PAGE: usize = 100;

/// The names that a rehearsal uses.
pub(super) struct Names {
    pub(super) user: UserName,
    pub(super) group: PlainName,
    /// A user of a domain that the account does not allow.
    pub(super) other: Option<UserName>,
}

/// A rehearsal under way.
pub(super) struct Trial {
    bridge: Bridge,
    names: Names,
    pub(super) findings: Vec<Finding>,
    /// The users that were created, the first one first.
    users: Vec<RemoteId>,
    groups: Vec<RemoteId>,
    /// Whether a creation was sent, and nobody knows what came of it.
    lost: Vec<&'static str>,
    way: Option<Way>,
    slowest: Shown,
}

/// Where members are read after the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Group,
    User,
    List,
}

/// The group of the rehearsal as every place shows it.
struct Places {
    group: Option<GroupEntry>,
    user: Option<UserEntry>,
    lists: Lists,
}

impl Trial {
    /// Reads the directory. Nothing is sent if one of the names is there.
    pub(super) async fn begin(bridge: Bridge, names: Names) -> Result<Self, DirectoryError> {
        let lists = bridge.lists().await.map_err(DirectoryError::Rehearsal)?;
        let mut taken = BTreeSet::new();
        for user in lists.users.entries() {
            taken.extend(user.user_name.as_deref().map(fold));
        }
        let mut wanted = vec![names.user.as_str()];
        wanted.extend(names.other.as_ref().map(UserName::as_str));
        let renamed = format!("{RENAMED}{}", names.user.as_str());
        wanted.push(&renamed);
        let is_taken = wanted.iter().any(|name| taken.contains(&fold(name)));
        if is_taken {
            return Err(DirectoryError::UserExists);
        }
        let is_group = |group: &GroupEntry| is_named(group, &names.group);
        if lists.groups.entries().iter().any(is_group) {
            return Err(DirectoryError::GroupExists);
        }
        let mut trial = Self {
            bridge,
            names,
            findings: Vec::new(),
            users: Vec::new(),
            groups: Vec::new(),
            lost: Vec::new(),
            way: None,
            slowest: Shown::default(),
        };
        trial.note_read(&lists);
        Ok(trial)
    }

    fn note_read(&mut self, lists: &Lists) {
        let (users, groups) = (lists.users.entries().len(), lists.groups.entries().len());
        let mut answer = format!(
            "{} and {}, in {}.",
            counted(users, "user"),
            counted(groups, "group"),
            counted(
                usize::try_from(self.bridge.rate.requests()).unwrap_or(usize::MAX),
                "request"
            )
        );
        if users <= PAGE {
            answer += " One page may hold all users, so paging was not tried.";
        }
        self.note(
            Question::Read,
            Fit::Well,
            answer,
            "reads as much in each interval.",
        );
    }

    /// Asks everything, up to the first failure.
    pub(super) async fn run(&mut self) -> Result<(), Stop> {
        let user = self.create_user().await?;
        self.try_duplicate_user(&user).await?;
        self.try_other_domain().await?;
        let group = self.create_group().await?;
        self.try_duplicate_group(&group).await?;
        self.add_member(&user, &group).await?;
        self.remove_stranger(&user, &group).await?;
        self.rename(&user).await?;
        self.rename_address(&user).await?;
        self.suspend_and_reactivate(&user, &group).await?;
        self.remove_member(&user, &group).await?;
        let slowest = self.slowest.words();
        self.note(
            Question::WriteTime,
            Fit::Well,
            format!("The slowest one was shown {slowest}."),
            "waits a minute for each write to show.",
        );
        Ok(())
    }

    // === Creations ===

    async fn create_user(&mut self) -> Result<RemoteId, Stop> {
        let order = Self::new_user(&self.names.user)?;
        self.lost.push("user");
        let id = self.create(Question::CreateUser, &order, named_user).await?;
        self.lost.pop();
        self.users.push(id.clone());
        let by_id = self.bridge.look_at_user(&id, |_| true).await?;
        let listed = self
            .look_in_lists(|lists| find_user(lists, &id).is_some())
            .await?;
        self.note_shown(Question::UserShown, by_id.shown, listed.shown);
        let written = UserNames {
            user_name: Some(self.names.user.as_str().into()),
            given: Some(GIVEN_NAME.into()),
            family: Some(FAMILY_NAME.into()),
        };
        let seen = by_id.last.as_ref().or_else(|| find_user(&listed.last, &id));
        let seen = seen.map(UserNames::of).unwrap_or_default();
        let differing = seen.differing(&written);
        if differing.is_empty() {
            self.note(Question::Names, Fit::Well, "Yes.".to_owned(), "");
        } else {
            self.note(
                Question::Names,
                Fit::Fails,
                format!("No. These are shown in another way: {}.", differing.join(", ")),
                "reports NotAsWritten for such a user.",
            );
        }
        Ok(id)
    }

    async fn create_group(&mut self) -> Result<RemoteId, Stop> {
        let order = Order::CreateGroup {
            display_name: self.names.group.clone(),
        };
        self.lost.push("group");
        let id = self.create(Question::CreateGroup, &order, named_group).await?;
        self.lost.pop();
        self.groups.push(id.clone());
        let by_id = self
            .bridge
            .look(async || self.bridge.group(&id).await, Option::is_some)
            .await?;
        let listed = self
            .look_in_lists(|lists| find_group(lists, &id).is_some())
            .await?;
        self.note_shown(Question::GroupShown, by_id.shown, listed.shown);
        Ok(id)
    }

    /// Creates something that is not there. Without an id in the answer, the list has it.
    async fn create(
        &mut self,
        question: Question,
        order: &Order,
        find: fn(&Lists, &Names) -> Vec<RemoteId>,
    ) -> Result<RemoteId, Stop> {
        let sent = self.bridge.send(order).await?;
        let answered = match &sent.answer {
            Answer::Accepted(id) => id.clone(),
            Answer::Unclear => None,
            Answer::NotSent
            | Answer::RateLimited
            | Answer::NotFound
            | Answer::Conflict
            | Answer::Unsupported
            | Answer::TooMany
            | Answer::Rejected(_) => {
                // Nothing was made of it.
                self.lost.pop();
                self.note(
                    question,
                    Fit::Fails,
                    format!("It is refused: {}.", code_of(&sent)),
                    "creates nobody there.",
                );
                return Err(Stop::Refused);
            }
        };
        let has_id = answered.is_some();
        let id = if let Some(id) = answered {
            id
        } else {
            let names = &self.names;
            let looked = self
                .bridge
                .look(
                    async || self.bridge.lists().await,
                    |lists| !find(lists, names).is_empty(),
                )
                .await?;
            find(&looked.last, &self.names)
                .into_iter()
                .next()
                .ok_or(Stop::Lost)?
        };
        let with = if has_id { "with an id" } else { "without an id" };
        self.note(
            question,
            Fit::Well,
            format!("{}, {with}.", code_of(&sent)),
            "takes each 2xx, and looks for the id in the list if the answer has none.",
        );
        Ok(id)
    }

    async fn try_duplicate_user(&mut self, user: &RemoteId) -> Result<(), Stop> {
        let order = Self::new_user(&self.names.user)?;
        let others = self
            .duplicate(Question::DuplicateUser, &order, user, named_user)
            .await?;
        self.users.extend(others);
        Ok(())
    }

    async fn try_duplicate_group(&mut self, group: &RemoteId) -> Result<(), Stop> {
        let order = Order::CreateGroup {
            display_name: self.names.group.clone(),
        };
        let others = self
            .duplicate(Question::DuplicateGroup, &order, group, named_group)
            .await?;
        self.groups.extend(others);
        Ok(())
    }

    /// Sends a creation once more. Gives what it made beside the first one.
    async fn duplicate(
        &mut self,
        question: Question,
        order: &Order,
        first: &RemoteId,
        find: fn(&Lists, &Names) -> Vec<RemoteId>,
    ) -> Result<Vec<RemoteId>, Stop> {
        let sent = self.bridge.send(order).await?;
        let mut made = BTreeSet::new();
        if let Answer::Accepted(Some(id)) = &sent.answer {
            made.insert(id.clone());
        }
        if matches!(sent.answer, Answer::Accepted(_) | Answer::Unclear) {
            self.settle().await;
            made.extend(find(&self.bridge.lists().await?, &self.names));
        }
        made.remove(first);
        let code = code_of(&sent);
        match sent.answer {
            Answer::Accepted(_) | Answer::Unclear if !made.is_empty() => self.note(
                question,
                Fit::Limits,
                format!("{code}, and there are two then."),
                "sends no creation before a complete list shows that the name is free.",
            ),
            Answer::Accepted(_) | Answer::Unclear => self.note(
                question,
                Fit::Well,
                format!("{code}, and there is one."),
                "never relies on this answer: a list decides.",
            ),
            Answer::Conflict => self.note(
                question,
                Fit::Well,
                format!("It is refused: {code}."),
                "reads the list after a conflict.",
            ),
            Answer::NotSent
            | Answer::RateLimited
            | Answer::NotFound
            | Answer::Unsupported
            | Answer::TooMany
            | Answer::Rejected(_) => self.note(
                question,
                Fit::Limits,
                format!("It is refused, but not as a conflict: {code}."),
                "reports Rejected.",
            ),
        }
        Ok(made.into_iter().collect())
    }

    async fn try_other_domain(&mut self) -> Result<(), Stop> {
        let Some(name) = self.names.other.clone() else {
            self.note(
                Question::OtherDomain,
                Fit::Open,
                "Not tried: --other-domain-user gives no such user.".to_owned(),
                "",
            );
            return Ok(());
        };
        let order = Self::new_user(&name)?;
        self.lost.push("user of the other domain");
        let sent = self.bridge.send(&order).await?;
        let code = code_of(&sent);
        match sent.answer {
            Answer::Accepted(_) | Answer::Unclear => {
                self.settle().await;
                let lists = self.bridge.lists().await?;
                let found = lists.users.entries().iter().find(|user| is_user(user, &name));
                let id = match (found, &sent.answer) {
                    (Some(user), _) => Some(user.id.clone()),
                    (None, Answer::Accepted(id)) => id.clone(),
                    (None, _) => None,
                };
                let is_there = id.is_some();
                if is_there || sent.answer == Answer::Accepted(None) {
                    self.users.extend(id);
                }
                if is_there {
                    self.lost.pop();
                }
                self.note(
                    Question::OtherDomain,
                    Fit::Well,
                    format!("{code}: it is created like any other."),
                    "relies on scope, not on the domains of the account.",
                );
            }
            Answer::NotSent
            | Answer::RateLimited
            | Answer::NotFound
            | Answer::Conflict
            | Answer::Unsupported
            | Answer::TooMany
            | Answer::Rejected(_) => {
                self.lost.pop();
                self.note(
                    Question::OtherDomain,
                    Fit::Well,
                    format!("It is refused: {code}."),
                    "reports Rejected for such a user.",
                );
            }
        }
        Ok(())
    }

    // === Members ===

    async fn add_member(&mut self, user: &RemoteId, group: &RemoteId) -> Result<(), Stop> {
        let order = Order::AddMembers {
            group: group.clone(),
            users: vec![user.clone()],
        };
        let sent = self.bridge.send(&order).await?;
        let code = code_of(&sent);
        if !matches!(sent.answer, Answer::Accepted(_) | Answer::Unclear) {
            self.note(
                Question::AddMember,
                Fit::Fails,
                format!("It is refused: {code}."),
                "reports Unsupported or Rejected for groups with new members.",
            );
            self.open(Question::MembersShown, "nobody was added");
            return Ok(());
        }
        let places = async || {
            Ok(Places {
                group: self.bridge.group(group).await?,
                user: self.bridge.user(user).await?,
                lists: self.bridge.lists().await?,
            })
        };
        let looked = self
            .bridge
            .look(places, |places| places.in_list(user, group))
            .await?;
        let places = looked.last;
        let ways = [
            (Way::List, places.in_list(user, group), "in the list of groups"),
            (Way::Group, places.in_group(), "in the group by itself"),
            (Way::User, places.in_user(group), "in the groups of the user"),
        ];
        let shown: Vec<&str> = ways
            .iter()
            .filter(|(_, is_shown, _)| *is_shown)
            .map(|(.., words)| *words)
            .collect();
        // The cheapest one for the reads to come.
        let cheap = [Way::Group, Way::User, Way::List];
        let is_shown = |way: &Way| ways.iter().any(|(known, is_shown, _)| known == way && *is_shown);
        self.way = cheap.into_iter().find(is_shown);
        self.note(Question::AddMember, Fit::Well, format!("{code}."), "");
        if shown.is_empty() {
            self.note(
                Question::MembersShown,
                Fit::Limits,
                "Nowhere.".to_owned(),
                "reports MembersUnreadable: it adds nobody to a group, and removes nobody.",
            );
            return Ok(());
        }
        let mut answer = format!("They are shown {}.", shown.join(", "));
        if let Some(time) = looked.shown {
            self.slowest = self.slowest.max(time);
            if time != Shown::AtOnce {
                answer = format!("{answer} The list showed it {}.", time.words());
            }
        }
        self.note(
            Question::MembersShown,
            Fit::Well,
            answer,
            "reads members where a list or a read by id shows them.",
        );
        Ok(())
    }

    /// Whether the user is a member now; `None` if nobody knows.
    async fn membership(&self, user: &RemoteId, group: &RemoteId) -> Result<Option<bool>, Stop> {
        let Some(way) = self.way else {
            return Ok(None);
        };
        Ok(match way {
            Way::User => self
                .bridge
                .user(user)
                .await?
                .map(|user| lists_group(&user, group)),
            Way::Group => {
                let account = self.bridge.user(user).await?;
                let shown = self.bridge.group(group).await?;
                shown.zip(account).map(|(group, user)| lists_user(&group, &user))
            }
            Way::List => {
                let lists = self.bridge.lists().await?;
                find_group(&lists, group)
                    .zip(find_user(&lists, user))
                    .map(|(group, user)| lists_user(group, user))
            }
        })
    }

    /// A group has one member, and the removal names another id. If the member leaves, the server does not read the filter.
    async fn remove_stranger(&mut self, user: &RemoteId, group: &RemoteId) -> Result<(), Stop> {
        if self.membership(user, group).await? != Some(true) {
            self.open(Question::RemoveStranger, "no member is shown");
            return Ok(());
        }
        let order = Order::RemoveMembers {
            group: group.clone(),
            users: vec![nobody()?],
        };
        let sent = self.bridge.send(&order).await?;
        self.settle().await;
        let code = code_of(&sent);
        if self.membership(user, group).await? == Some(true) {
            self.note(
                Question::RemoveStranger,
                Fit::Well,
                format!("Yes. The removal of somebody else was answered {code}."),
                "checks this again with the first removal from each group.",
            );
            return Ok(());
        }
        self.note(
            Question::RemoveStranger,
            Fit::Fails,
            format!("No. The removal of somebody else took this member, too. The answer was {code}."),
            "puts members back who were lost, and reports NotAsWritten. Remove members by hand there.",
        );
        self.be_member(user, group).await
    }

    /// Adds the user again, if the group has lost this member: the next questions are about a member.
    async fn be_member(&self, user: &RemoteId, group: &RemoteId) -> Result<(), Stop> {
        if self.membership(user, group).await? == Some(true) {
            return Ok(());
        }
        let order = Order::AddMembers {
            group: group.clone(),
            users: vec![user.clone()],
        };
        self.bridge.send(&order).await?;
        let is_back = |is_member: &Option<bool>| *is_member == Some(true);
        self.bridge
            .look(async || self.membership(user, group).await, is_back)
            .await?;
        Ok(())
    }

    async fn remove_member(&mut self, user: &RemoteId, group: &RemoteId) -> Result<(), Stop> {
        if self.way.is_none() {
            self.open(Question::RemoveMember, "no member is shown");
            self.open(
                Question::UnknownMember,
                "nobody could see that it is removed again",
            );
            return Ok(());
        }
        self.be_member(user, group).await?;
        let order = Order::RemoveMembers {
            group: group.clone(),
            users: vec![user.clone()],
        };
        let sent = self.bridge.send(&order).await?;
        let code = code_of(&sent);
        let is_gone = |is_member: &Option<bool>| *is_member == Some(false);
        let looked = self
            .bridge
            .look(async || self.membership(user, group).await, is_gone)
            .await?;
        let Some(shown) = looked.shown else {
            self.note(
                Question::RemoveMember,
                Fit::Fails,
                format!("No. The answer was {code}, and the member is still there."),
                "reports NotAsWritten or Unsupported. Remove members by hand there.",
            );
            self.open(Question::UnknownMember, "it could not be removed again");
            return Ok(());
        };
        self.slowest = self.slowest.max(shown);
        self.note(
            Question::RemoveMember,
            Fit::Well,
            format!("Yes: {code}, and shown {}.", shown.words()),
            "removes each member by a filter with one id.",
        );
        self.add_nobody(group).await
    }

    async fn add_nobody(&mut self, group: &RemoteId) -> Result<(), Stop> {
        let order = Order::AddMembers {
            group: group.clone(),
            users: vec![nobody()?],
        };
        let sent = self.bridge.send(&order).await?;
        let code = code_of(&sent);
        let operator = "adds only users whom a complete list shows.";
        if matches!(sent.answer, Answer::Accepted(_) | Answer::Unclear) {
            self.note(
                Question::UnknownMember,
                Fit::Well,
                format!("{code}: it is accepted."),
                operator,
            );
            let order = Order::RemoveMembers {
                group: group.clone(),
                users: vec![nobody()?],
            };
            self.bridge.send(&order).await?;
        } else {
            self.note(
                Question::UnknownMember,
                Fit::Well,
                format!("It is refused: {code}."),
                operator,
            );
        }
        Ok(())
    }

    // === Names ===

    async fn rename(&mut self, user: &RemoteId) -> Result<(), Stop> {
        let order = Order::RenameUser {
            user: user.clone(),
            user_name: None,
            given_name: Some(plain(TWO_WORDS)?),
            family_name: None,
        };
        let is_shown = |user: &UserEntry| {
            user.given_name.as_deref() == Some(TWO_WORDS) && user.family_name.as_deref() == Some(FAMILY_NAME)
        };
        let remedy = "reports NotAsWritten for such a change.";
        self.change_user((Question::Rename, remedy), &order, user, is_shown)
            .await?;
        Ok(())
    }

    /// Sends a change of a user, and reads what came of it. `remedy` is what the operator does where it has no effect.
    /// Returns whether a read shows the effect.
    async fn change_user(
        &mut self,
        (question, remedy): (Question, &'static str),
        order: &Order,
        user: &RemoteId,
        is_shown: impl Fn(&UserEntry) -> bool,
    ) -> Result<bool, Stop> {
        let sent = self.bridge.send(order).await?;
        let looked = self.bridge.look_at_user(user, is_shown).await?;
        self.note_effect(question, &code_of(&sent), &looked, remedy);
        Ok(looked.shown.is_some())
    }

    async fn rename_address(&mut self, user: &RemoteId) -> Result<(), Stop> {
        let renamed = format!("{RENAMED}{}", self.names.user.as_str());
        let Ok(renamed) = UserName::parse(&renamed) else {
            self.open(
                Question::RenameAddress,
                "the user name is too long for a longer one",
            );
            return Ok(());
        };
        let rename = |user_name: &UserName| Order::RenameUser {
            user: user.clone(),
            user_name: Some(user_name.clone()),
            given_name: None,
            family_name: None,
        };
        let sent = self.bridge.send(&rename(&renamed)).await?;
        let code = code_of(&sent);
        if !matches!(sent.answer, Answer::Accepted(_) | Answer::Unclear) {
            self.note(
                Question::RenameAddress,
                Fit::Limits,
                format!("It is refused: {code}."),
                "reports Rejected for a new user name.",
            );
            return Ok(());
        }
        let looked = self
            .bridge
            .look_at_user(user, |user| is_user(user, &renamed))
            .await?;
        match looked.shown {
            Some(shown) => {
                self.slowest = self.slowest.max(shown);
                self.note(
                    Question::RenameAddress,
                    Fit::Well,
                    format!("Yes: {code}, and shown {}.", shown.words()),
                    "takes the new name for done.",
                );
            }
            None => self.note(
                Question::RenameAddress,
                Fit::Limits,
                format!("No. The answer was {code}, and reads show the old name."),
                "reports NotAsWritten until the person has confirmed and a read shows the new name.",
            ),
        }
        let back = self.names.user.clone();
        self.bridge.send(&rename(&back)).await?;
        Ok(())
    }

    // === Suspension ===

    async fn suspend_and_reactivate(&mut self, user: &RemoteId, group: &RemoteId) -> Result<(), Stop> {
        let was_member = self.membership(user, group).await? == Some(true);
        let remedy = "reports NotAsWritten or Unsupported. Suspend people by hand there.";
        let is_suspended = self
            .change_user(
                (Question::Suspend, remedy),
                &set_active(user, false),
                user,
                |user| user.active == Activity::Suspended,
            )
            .await?;
        if !is_suspended {
            for question in [
                Question::SuspendedMember,
                Question::Reactivate,
                Question::ReactivatedMember,
            ] {
                self.open(question, "the user is not suspended");
            }
            return Ok(());
        }
        self.settle().await;
        self.note_membership(
            Question::SuspendedMember,
            user,
            group,
            was_member,
            "withdraws the memberships that it added itself.",
        )
        .await?;
        let remedy = "reports NotAsWritten or Rejected. Reactivate people by hand there.";
        let is_active = self
            .change_user(
                (Question::Reactivate, remedy),
                &set_active(user, true),
                user,
                |user| user.active == Activity::Active,
            )
            .await?;
        if !is_active {
            self.open(Question::ReactivatedMember, "the user is not active");
            return Ok(());
        }
        self.settle().await;
        self.note_membership(
            Question::ReactivatedMember,
            user,
            group,
            was_member,
            "adds listed members again who are not there.",
        )
        .await
    }

    async fn note_membership(
        &mut self,
        question: Question,
        user: &RemoteId,
        group: &RemoteId,
        was_member: bool,
        operator: &'static str,
    ) -> Result<(), Stop> {
        let answer = match self.membership(user, group).await? {
            _ if !was_member => {
                self.open(question, "no member is shown");
                return Ok(());
            }
            Some(true) => "Yes.",
            Some(false) => "No.",
            None => "Nobody knows: the group or the user is not shown.",
        };
        self.note(question, Fit::Well, answer.to_owned(), operator);
        Ok(())
    }

    // === The end ===

    /// Leaves users suspended and groups empty, as far as the bridge lets it. Says how each is.
    pub(super) async fn tidy(&mut self) -> Vec<Leftover> {
        let mut leftovers = Vec::new();
        for group in self.groups.clone() {
            leftovers.push(self.tidy_group(group).await);
        }
        for user in self.users.clone() {
            leftovers.push(self.tidy_user(user).await);
        }
        leftovers
    }

    /// What nobody can find: its creation was sent, and no read shows what came of it.
    pub(super) fn lost(&self) -> Option<String> {
        let lost: Vec<&str> = self.lost.clone();
        (!lost.is_empty()).then(|| {
            format!(
                "look in 1Password for the {}, and suspend it",
                lost.join(" and the ")
            )
        })
    }

    async fn tidy_user(&self, id: RemoteId) -> Leftover {
        let is_suspended = |user: &UserEntry| user.active == Activity::Suspended;
        let known = self.bridge.user(&id).await;
        let mut shown = matches!(&known, Ok(Some(user)) if is_suspended(user));
        if !shown && self.bridge.send(&set_active(&id, false)).await.is_ok() {
            let looked = self.bridge.look_at_user(&id, is_suspended).await;
            shown = looked.is_ok_and(|looked| looked.shown.is_some());
        }
        Leftover {
            kind: "user",
            id,
            state: if shown {
                "suspended"
            } else {
                "NOT shown as suspended"
            },
            is_tidy: shown,
        }
    }

    async fn tidy_group(&self, id: RemoteId) -> Leftover {
        let shown = self.bridge.group(&id).await.ok().flatten();
        let listed = shown.iter().flat_map(|group| group.members.iter().flatten());
        let mut gone: BTreeSet<RemoteId> = listed
            .filter_map(|member| RemoteId::parse(&member.value).ok())
            .collect();
        let user = self.users.first().filter(|_| self.groups.first() == Some(&id));
        // The group by itself may show nobody, and have somebody.
        if self.way != Some(Way::Group) {
            gone.extend(user.cloned());
        }
        for user in gone {
            let order = Order::RemoveMembers {
                group: id.clone(),
                users: vec![user],
            };
            if self.bridge.send(&order).await.is_err() {
                break;
            }
        }
        let is_empty = |group: &Option<GroupEntry>| {
            let group = group.as_ref();
            group.is_some_and(|group| group.members.as_ref().is_none_or(Vec::is_empty))
        };
        let looked = self
            .bridge
            .look(async || self.bridge.group(&id).await, is_empty)
            .await;
        let mut is_empty = looked.is_ok_and(|looked| looked.shown.is_some());
        if let Some(user) = user.filter(|_| self.way.is_some()) {
            let is_gone = |is_member: &Option<bool>| *is_member == Some(false);
            let looked = self
                .bridge
                .look(async || self.membership(user, &id).await, is_gone)
                .await;
            is_empty &= looked.is_ok_and(|looked| looked.shown.is_some());
        }
        Leftover {
            kind: "group",
            id,
            state: match (is_empty, self.way) {
                (false, _) => "NOT shown as empty",
                (true, None) => "no member is shown",
                (true, Some(_)) => "empty",
            },
            is_tidy: is_empty,
        }
    }

    // === Notes ===

    fn note(&mut self, question: Question, fit: Fit, answer: String, operator: &'static str) {
        self.findings.push(Finding {
            question,
            fit,
            answer,
            operator,
        });
    }

    fn open(&mut self, question: Question, why: &str) {
        self.note(question, Fit::Open, format!("Not tried: {why}."), "");
    }

    fn note_shown(&mut self, question: Question, by_id: Option<Shown>, listed: Option<Shown>) {
        self.slowest = self
            .slowest
            .max(by_id.unwrap_or_default())
            .max(listed.unwrap_or_default());
        let words = |shown: Option<Shown>| shown.map_or_else(|| "not shown".to_owned(), Shown::words);
        let answer = format!("By its id: {}. In the list: {}.", words(by_id), words(listed));
        let fit = match (by_id, listed) {
            (Some(_), Some(_)) => Fit::Well,
            (None, Some(_)) => Fit::Limits,
            (_, None) => Fit::Fails,
        };
        self.note(question, fit, answer, "proves each write by such a read.");
    }

    fn note_effect<T>(&mut self, question: Question, code: &str, looked: &Looked<T>, operator: &'static str) {
        match looked.shown {
            Some(shown) => {
                self.slowest = self.slowest.max(shown);
                self.note(
                    question,
                    Fit::Well,
                    format!("Yes: {code}, and shown {}.", shown.words()),
                    "",
                );
            }
            None => self.note(
                question,
                Fit::Fails,
                format!("No. The answer was {code}, and reads do not show it."),
                operator,
            ),
        }
    }

    // === Reads ===

    async fn look_in_lists(&self, is_shown: impl Fn(&Lists) -> bool) -> Result<Looked<Lists>, Stop> {
        self.bridge
            .look(async || self.bridge.lists().await, is_shown)
            .await
    }

    /// Waits as long as the slowest write took to show.
    async fn settle(&self) {
        tokio::time::sleep(self.slowest.time()).await;
    }

    fn new_user(user_name: &UserName) -> Result<Order, Stop> {
        Ok(Order::CreateUser {
            user_name: user_name.clone(),
            given_name: plain(GIVEN_NAME)?,
            family_name: plain(FAMILY_NAME)?,
        })
    }
}

// === impl Places ===

impl Places {
    fn in_list(&self, user: &RemoteId, group: &RemoteId) -> bool {
        let found = find_group(&self.lists, group).zip(find_user(&self.lists, user));
        found.is_some_and(|(group, user)| lists_user(group, user))
    }

    fn in_group(&self) -> bool {
        let found = self.group.as_ref().zip(self.user.as_ref());
        found.is_some_and(|(group, user)| lists_user(group, user))
    }

    fn in_user(&self, group: &RemoteId) -> bool {
        self.user.as_ref().is_some_and(|user| lists_group(user, group))
    }
}

/// The names of a user.
#[derive(Default)]
struct UserNames {
    user_name: Option<Box<str>>,
    given: Option<Box<str>>,
    family: Option<Box<str>>,
}

impl UserNames {
    fn of(user: &UserEntry) -> Self {
        Self {
            user_name: user.user_name.clone(),
            given: user.given_name.clone(),
            family: user.family_name.clone(),
        }
    }

    fn differing(&self, written: &Self) -> Vec<&'static str> {
        let fields = [
            ("userName", self.user_name == written.user_name),
            ("givenName", self.given == written.given),
            ("familyName", self.family == written.family),
        ];
        fields
            .into_iter()
            .filter(|(_, is_same)| !is_same)
            .map(|(field, _)| field)
            .collect()
    }
}

/// Status and fault of an answer: `409 uniqueness`.
fn code_of(sent: &Sent) -> String {
    match (sent.status, sent.scim_type) {
        (None, _) => "no answer".to_owned(),
        (Some(status), None) => status.to_string(),
        (Some(status), Some(scim_type)) => format!("{status} {}", scim_type.as_str()),
    }
}

fn set_active(user: &RemoteId, active: bool) -> Order {
    Order::SetActive {
        user: user.clone(),
        active,
    }
}

/// A constant as a name. It can always be one.
fn plain(name: &'static str) -> Result<PlainName, Stop> {
    PlainName::parse(name).map_err(|_| Stop::Refused)
}

/// The id of nobody. It can always be one.
fn nobody() -> Result<RemoteId, Stop> {
    RemoteId::parse(NOBODY).map_err(|_| Stop::Refused)
}

fn is_user(user: &UserEntry, name: &UserName) -> bool {
    user.user_name
        .as_deref()
        .is_some_and(|shown| fold(shown) == fold(name.as_str()))
}

fn is_named(group: &GroupEntry, name: &PlainName) -> bool {
    group
        .display_name
        .as_deref()
        .is_some_and(|shown| fold(shown) == fold(name.as_str()))
}

fn named_user(lists: &Lists, names: &Names) -> Vec<RemoteId> {
    let users = lists.users.entries().iter();
    users
        .filter(|user| is_user(user, &names.user))
        .map(|user| user.id.clone())
        .collect()
}

fn named_group(lists: &Lists, names: &Names) -> Vec<RemoteId> {
    let groups = lists.groups.entries().iter();
    groups
        .filter(|group| is_named(group, &names.group))
        .map(|group| group.id.clone())
        .collect()
}

fn find_user<'a>(lists: &'a Lists, id: &RemoteId) -> Option<&'a UserEntry> {
    lists.users.entries().iter().find(|user| user.id == *id)
}

fn find_group<'a>(lists: &'a Lists, id: &RemoteId) -> Option<&'a GroupEntry> {
    lists.groups.entries().iter().find(|group| group.id == *id)
}
