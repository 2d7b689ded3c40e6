//! Manifests of what a bridge has. Applied, they change nothing: `plan` then has nothing to send.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::declared::{Counts, Kind};
use crate::{
    api::{
        group::{GroupMember, Membership, ScimGroup, ScimGroupSpec},
        user::{Adopt, ConnectionRef, PersonName, ScimUser, ScimUserSpec, UserState},
    },
    domain::directory::{
        names::{RemoteId, UserName, composed, fold},
        scope::Scope,
        snapshot::{Activity, Found, Group, Members, Snapshot, User},
        wish::{GroupWish, InvalidWish, UserWish},
    },
};

/// The connection that the manifests refer to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) connection: &'a str,
    pub(super) namespace: Option<&'a str>,
}

/// The content of both files, and who is in neither.
#[derive(Debug)]
pub(super) struct Manifests {
    pub(super) users: String,
    pub(super) groups: String,
    pub(super) written: Counts,
    /// Those that the scope does not cover.
    pub(super) left_out: Counts,
    /// Those that no manifest can describe.
    pub(super) skipped: Vec<Skipped>,
}

/// A user or group without a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Skipped {
    pub(super) kind: Kind,
    pub(super) id: RemoteId,
    pub(super) why: Undescribed,
}

/// Why no manifest describes a user or group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(super) enum Undescribed {
    /// The definition would refuse it, or the operator.
    #[error("{0}")]
    Invalid(#[from] InvalidWish),
    /// More than one has this name. A manifest could mean each of them.
    #[error("another one on the bridge has the same name")]
    SameName,
    /// The manifest cannot be written.
    #[error("it cannot be written as YAML")]
    Yaml,
}

/// Hexadecimal digits in a name: 128 bits, so that nobody can make two ids with one name.
const DIGITS: usize = 32;

/// Makes the manifests, in the order of the ids. With a scope, only for what it covers.
pub(super) fn of(snapshot: &Snapshot, target: Target<'_>, scope: Option<&Scope>) -> Manifests {
    let mut manifests = Manifests {
        users: head("Users", target),
        groups: head("Groups", target),
        written: Counts::default(),
        left_out: Counts::default(),
        skipped: Vec::new(),
    };
    for user in snapshot.users() {
        let name = user.user_name.as_deref().unwrap_or_default();
        if scope.is_some_and(|scope| !(scope.has_user(name) && scope.has_user(&composed(name)))) {
            manifests.left_out.users += 1;
            continue;
        }
        match describe_user(snapshot, user, target) {
            Ok(text) => {
                manifests.users += &text;
                manifests.written.users += 1;
            }
            Err(why) => manifests.skip(Kind::User, &user.id, why),
        }
    }
    for group in snapshot.groups() {
        let name = group.display_name.as_deref().unwrap_or_default();
        if scope.is_some_and(|scope| !(scope.has_group(name) && scope.has_group(&composed(name)))) {
            manifests.left_out.groups += 1;
            continue;
        }
        match describe_group(snapshot, group, target) {
            Ok(text) => {
                manifests.groups += &text;
                manifests.written.groups += 1;
            }
            Err(why) => manifests.skip(Kind::Group, &group.id, why),
        }
    }
    manifests
}

impl Manifests {
    fn skip(&mut self, kind: Kind, id: &RemoteId, why: Undescribed) {
        let id = id.clone();
        self.skipped.push(Skipped { kind, id, why });
    }
}

fn head(what: &str, target: Target<'_>) -> String {
    format!(
        "# {what} of connection {}, by scim-bridge-operator import. The objects are named by a hash of the id.\n",
        target.connection
    )
}

fn describe_user(snapshot: &Snapshot, user: &User, target: Target<'_>) -> Result<String, Undescribed> {
    // Destructured in full: a new field has to be thought about here.
    let User {
        id,
        user_name,
        active,
        given_name,
        family_name,
    } = user;
    let written = |name: &Option<Box<str>>| composed(name.as_deref().unwrap_or_default()).into_owned();
    let user_name = written(user_name);
    let spec = ScimUserSpec {
        connection_ref: target.reference(),
        user_name,
        name: PersonName {
            given_name: written(given_name),
            family_name: written(family_name),
        },
        state: match active {
            Activity::Active | Activity::Unsaid => UserState::Active,
            Activity::Suspended => UserState::Suspended,
        },
        active_until: None,
        adopt: Adopt::IfUnchanged,
        paused: false,
    };
    UserWish::of("", None, &spec)?;
    if !matches!(snapshot.user_named(&fold(&spec.user_name)), Found::One(_)) {
        return Err(Undescribed::SameName);
    }
    let mut comments = vec![format!("id {}", id.as_str())];
    if *active == Activity::Unsaid {
        comments.push("The bridge does not say whether this user is active.".to_owned());
    }
    let mut object = ScimUser::new(&object_name(Kind::User, id, target), spec);
    object.metadata = target.metadata(object.metadata);
    document(&comments, &object)
}

fn describe_group(snapshot: &Snapshot, group: &Group, target: Target<'_>) -> Result<String, Undescribed> {
    let Group {
        id,
        display_name,
        members,
    } = group;
    let mut comments = vec![format!("id {}", id.as_str())];
    let members = match members {
        Members::Unread => {
            comments.push("The bridge does not show members. Nobody knows who is in this group.".to_owned());
            None
        }
        Members::Unsaid => {
            comments.push(
                "The bridge does not show members of this group. It may be empty, or its members are hidden."
                    .to_owned(),
            );
            None
        }
        Members::Listed { users, others } => {
            let (suspended, users): (Vec<&User>, Vec<&User>) = users
                .iter()
                .filter_map(|index| snapshot.user(*index))
                .partition(|user| user.active == Activity::Suspended);
            let mut listed: Vec<GroupMember> = users
                .iter()
                .filter_map(|user| member_name(snapshot, user))
                .map(|user_name| GroupMember {
                    user_name,
                    until: None,
                })
                .collect();
            let others = *others as usize + users.len() - listed.len();
            if others > 0 {
                comments.push(format!(
                    "{others} more in this group: other groups, unknown members, or users without a usable name."
                ));
            }
            if !suspended.is_empty() {
                // Declared suspended, a listed one should leave, which would be a difference.
                comments.push(format!(
                    "Suspended users are in this group, too: {}.",
                    suspended.len()
                ));
            }
            listed.sort_by(|a, b| a.user_name.cmp(&b.user_name));
            Some(listed)
        }
    };
    let spec = ScimGroupSpec {
        connection_ref: target.reference(),
        display_name: composed(display_name.as_deref().unwrap_or_default()).into_owned(),
        // The operator then takes nobody out of the group whom it has not put in.
        membership: Membership::Additive,
        members,
        adopt: Adopt::IfUnchanged,
        paused: false,
    };
    GroupWish::of("", None, &spec)?;
    if !matches!(snapshot.group_named(&fold(&spec.display_name)), Found::One(_)) {
        return Err(Undescribed::SameName);
    }
    let mut object = ScimGroup::new(&object_name(Kind::Group, id, target), spec);
    object.metadata = target.metadata(object.metadata);
    document(&comments, &object)
}

/// The name under which a group lists this user. `None` if no entry could mean this user alone.
fn member_name(snapshot: &Snapshot, user: &User) -> Option<String> {
    let name = composed(user.user_name.as_deref()?);
    let is_usable = UserName::parse(&name).is_ok();
    let is_one = matches!(snapshot.user_named(&fold(&name)), Found::One(_));
    (is_usable && is_one).then(|| name.into_owned())
}

/// The name of an object: a hash of connection and id. It is the same in every run, two ids never share it, and it shows
/// nothing of a person. Names of objects reach logs and events, and some servers use a user name as the id.
fn object_name(kind: Kind, id: &RemoteId, target: Target<'_>) -> String {
    let prefix = match kind {
        Kind::User => "user",
        Kind::Group => "group",
    };
    // No name of an object and no id holds a blank.
    let text = format!("{} {}", target.connection, id.as_str());
    let hash = digest(&SHA256, text.as_bytes());
    let mut name = format!("{prefix}-");
    for byte in hash.as_ref().iter().take(DIGITS / 2) {
        // Writing to a string cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

impl Target<'_> {
    fn reference(&self) -> ConnectionRef {
        ConnectionRef {
            name: self.connection.to_owned(),
        }
    }

    fn metadata(&self, metadata: ObjectMeta) -> ObjectMeta {
        ObjectMeta {
            namespace: self.namespace.map(str::to_owned),
            ..metadata
        }
    }
}

/// One document of a file. Each text that YAML 1.1 or 1.2 could read as something else is quoted.
fn document(comments: &[String], object: &impl Serialize) -> Result<String, Undescribed> {
    let options = serde_saphyr::ser_options! {
        prefer_block_scalars: false,
    };
    let yaml = serde_saphyr::to_string_with_options(object, options).map_err(|_| Undescribed::Yaml)?;
    let mut text = "---\n".to_owned();
    for comment in comments {
        text += "# ";
        text += comment;
        text.push('\n');
    }
    text += yaml.trim_end();
    text.push('\n');
    Ok(text)
}
