//! A plan as text: counts for everybody, names only for who asks for them.

use std::fmt::{self, Write};

use super::{
    act::{Act, Change, Host, Joiner, RemovalCause},
    names::{PlainName, UserName},
    plan::{Pending, Plan},
    snapshot::{Group, User},
    walk::Incomplete,
};

/// What a plan comes to, in numbers. Nothing in it is about a person, so status, events and logs may show it.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'p, 'a>(pub &'p Plan<'a>);

/// What a plan would send, one line an act. It shows names, and so belongs on a terminal only.
#[derive(Clone, Copy, Debug)]
pub struct Named<'p, 'a>(pub &'p Plan<'a>);

/// One act of a plan, with names: for a terminal only.
#[derive(Clone, Copy, Debug)]
pub struct NamedAct<'p, 'a>(pub &'p Act<'a>);

/// One act of a plan, by ids alone: for logs and files that others may read.
#[derive(Clone, Copy, Debug)]
pub struct ActById<'p, 'a>(pub &'p Act<'a>);

/// A name that anybody may have chosen: quoted, and without characters that would move a cursor or hide.
struct Quoted<'a>(Option<&'a str>);

impl fmt::Display for Summary<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(plan) = self;
        if let Err(reason) = plan.totals {
            return write!(f, "nothing is planned: {reason}");
        }
        if plan.pending.is_empty() {
            return f.write_str("no changes");
        }
        for (number, pending) in plan.pending.iter().enumerate() {
            if number > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{pending}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            count,
            left,
            digest,
            held,
        } = self;
        let noun = if *count == 1 {
            kind.singular()
        } else {
            kind.as_str()
        };
        write!(f, "{count} {noun}")?;
        match left {
            Some(left) if *held => write!(f, " held ({left} allowed now, digest {digest})"),
            Some(_) | None => Ok(()),
        }
    }
}

impl fmt::Display for Named<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(plan) = self;
        for act in &plan.acts {
            writeln!(f, "{}", NamedAct(act))?;
        }
        for act in &plan.held {
            writeln!(f, "held: {}", NamedAct(act))?;
        }
        writeln!(f, "{}", Summary(plan))
    }
}

impl fmt::Display for NamedAct<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(act) = self;
        match &act.change {
            Change::Suspend { user } => write!(f, "suspend {}", who(user)),
            Change::Remove { group, user, cause } => {
                write!(f, "remove {} from {} ({cause})", who(user), which(group))
            }
            Change::RenameUser {
                user,
                user_name,
                given_name,
                family_name,
            } => {
                write!(f, "rename {}:", who(user))?;
                for (field, name) in [
                    ("userName", user_name.map(UserName::as_str)),
                    ("givenName", given_name.map(PlainName::as_str)),
                    ("familyName", family_name.map(PlainName::as_str)),
                ] {
                    if name.is_some() {
                        write!(f, " {field} {}", Quoted(name))?;
                    }
                }
                Ok(())
            }
            Change::RenameGroup { group, display_name } => {
                write!(
                    f,
                    "rename group {}: displayName {}",
                    which(group),
                    Quoted(Some(display_name.as_str()))
                )
            }
            Change::Reactivate { user } => write!(f, "reactivate {}", who(user)),
            Change::CreateUser { wish } => write!(f, "create {}", Quoted(Some(wish.user_name.as_str()))),
            Change::CreateGroup { wish } => {
                write!(f, "create group {}", Quoted(Some(wish.display_name.as_str())))
            }
            Change::Add { group, user } => {
                match user {
                    Joiner::Active(user) => write!(f, "add {}", who(user))?,
                    Joiner::Returning(user) => write!(f, "add {} (after its reactivation)", who(user))?,
                    Joiner::Coming(wish) => {
                        let name = Quoted(Some(wish.user_name.as_str()));
                        write!(f, "add {name} (after its creation)")?;
                    }
                }
                match group {
                    Host::Present(group) => write!(f, " to {}", which(group)),
                    Host::Coming(wish) => {
                        let name = Quoted(Some(wish.display_name.as_str()));
                        write!(f, " to {name} (after its creation)")
                    }
                }
            }
        }
    }
}

impl fmt::Display for ActById<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(act) = self;
        match &act.change {
            Change::Suspend { user } => write!(f, "suspend user {:?}", user.id),
            Change::Remove { group, user, cause } => {
                write!(f, "remove user {:?} from group {:?} ({cause})", user.id, group.id)
            }
            Change::RenameUser {
                user,
                user_name,
                given_name,
                family_name,
            } => {
                write!(f, "rename user {:?}:", user.id)?;
                for (field, is_changed) in [
                    ("userName", user_name.is_some()),
                    ("givenName", given_name.is_some()),
                    ("familyName", family_name.is_some()),
                ] {
                    if is_changed {
                        write!(f, " {field}")?;
                    }
                }
                Ok(())
            }
            Change::RenameGroup {
                group,
                display_name: _,
            } => write!(f, "rename group {:?}: displayName", group.id),
            Change::Reactivate { user } => write!(f, "reactivate user {:?}", user.id),
            Change::CreateUser { wish: _ } => f.write_str("create a user"),
            Change::CreateGroup { wish: _ } => f.write_str("create a group"),
            Change::Add { group, user } => {
                match user {
                    Joiner::Active(user) => write!(f, "add user {:?}", user.id)?,
                    Joiner::Returning(user) => write!(f, "add user {:?} (after its reactivation)", user.id)?,
                    Joiner::Coming(_) => f.write_str("add a user (after its creation)")?,
                }
                match group {
                    Host::Present(group) => write!(f, " to group {:?}", group.id),
                    Host::Coming(_) => f.write_str(" to a group (after its creation)"),
                }
            }
        }
    }
}

impl fmt::Display for RemovalCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Suspended => "declared suspended",
            Self::Expired => "time has passed",
            Self::NotListed => "not listed",
        })
    }
}

fn who(user: &User) -> Quoted<'_> {
    Quoted(user.user_name.as_deref())
}

fn which(group: &Group) -> Quoted<'_> {
    Quoted(group.display_name.as_deref())
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Some(name)) = self else {
            return f.write_str("(no name)");
        };
        f.write_char('"')?;
        for c in name.chars() {
            // Control, invisible and bidirectional characters, and the quote itself.
            write!(f, "{}", c.escape_debug())?;
        }
        f.write_char('"')
    }
}

/// The line of a condition `DirectoryIncomplete`.
#[must_use]
pub fn incomplete_message(reason: Incomplete) -> String {
    format!("The operator does not know this directory in full: {reason}.")
}
