//! How the directory differs from the standard: one switch for each habit that was recorded or measured.
//!
//! The defaults are what was recorded of 1Password. Where nothing was recorded, the default is the behaviour that
//! punishes a careless client most; the documentation of the switch says so. The table of stories and switches
//! is in the documentation of the parent module.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// All habits. They hold from the next request on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Habits {
    /// Habits of lists.
    pub lists: Lists,
    /// Habits of lists of groups, if they are not those of lists of users.
    pub group_lists: Option<Lists>,
    /// Habits of every answer with a user or a group.
    pub shown: Shown,
    /// Habits of writes.
    pub writes: Writes,
}

/// Habits of lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Lists {
    /// The order of the entries.
    pub order: Order,
    /// What `totalResults` says.
    pub total: Total,
    /// What `itemsPerPage` says.
    pub items_per_page: ItemsPerPage,
    /// The most entries of one page, even if `count` is larger.
    pub page_limit: Option<u32>,
    /// Entries that a page lacks.
    pub missing: Missing,
    /// So many entries of a page are in it twice.
    pub doubled: u32,
    /// A page begins so many entries too early, so that pages overlap.
    pub overlap: u32,
    /// What `startIndex` means.
    pub index: Index,
    /// What a `startIndex` beyond the end gives.
    pub beyond_end: BeyondEnd,
    /// The list ends here in silence, with as many entries. 0 is an empty list although people exist.
    pub ends_at: Option<u32>,
    /// The list never ends: beyond the last entry there are always new ones.
    pub endless: bool,
    /// How an empty list is written.
    pub empty: EmptyList,
    /// What `filter` does.
    pub filter: FilterUse,
}

/// The order of the entries of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Each page has the same entries every time, in another order (recorded for lists of one page).
    #[default]
    WithinPage,
    /// The order of creation.
    Stable,
    /// Another order for each request, across pages.
    AcrossPages,
}

/// What `totalResults` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Total {
    /// How many entries all pages have.
    #[default]
    Listed,
    /// How many resources exist, whether or not the list ends before.
    Everything,
    /// How many entries this page has.
    PageSize,
    /// Another number in each answer.
    Changing,
    /// Too many or too few.
    OffBy {
        /// How many.
        by: i32,
    },
}

/// What `itemsPerPage` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ItemsPerPage {
    /// How many entries the page has.
    #[default]
    Actual,
    /// What `count` asked for.
    Asked,
}

/// Entries that an answer lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Missing {
    /// None.
    #[default]
    None,
    /// The last ones.
    Last {
        /// How many.
        count: u32,
    },
    /// Everything behind the first ones.
    Beyond {
        /// How many are left.
        count: u32,
    },
    /// Others each time.
    Random {
        /// The chance of each entry, in percent.
        percent: u8,
    },
}

/// What `startIndex` means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Index {
    /// 1 is the first entry.
    #[default]
    FromOne,
    /// 0 is the first entry, so that 1 skips one.
    FromZero,
    /// Nothing: every page is the first.
    Ignored,
}

/// What a `startIndex` beyond the end gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BeyondEnd {
    /// An empty page.
    #[default]
    Empty,
    /// The last page once more.
    LastPage,
}

/// How an empty list is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmptyList {
    /// `"Resources": []`.
    #[default]
    Array,
    /// Without `Resources`.
    Absent,
    /// `"Resources": null`.
    Null,
}

/// What `filter` does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilterUse {
    /// It filters; only `eq` and `and` are known.
    #[default]
    Supported,
    /// 400 `invalidFilter` (reported by one client of 1Password).
    Refused,
    /// Nothing: everything is listed.
    Ignored,
}

/// Habits of every answer with a user or a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Shown {
    /// How `active` is written.
    pub active: ActiveForm,
    /// How the names of attributes are spelt. They have no case (RFC 7643, section 2.1).
    pub keys: Keys,
    /// How user names and group names are spelt.
    pub names: Spelling,
    /// Whether users have `groups`.
    pub user_groups: UserGroups,
    /// When groups have `members`.
    pub members: MembersKey,
    /// What the `value` of a member is.
    pub member_value: MemberValue,
    /// Members that an answer lacks.
    pub members_missing: Missing,
}

/// How `active` is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActiveForm {
    /// `true` or `false`.
    #[default]
    Boolean,
    /// `"true"` or `"false"`.
    Text,
    /// Not at all.
    Absent,
}

/// How the names of attributes are spelt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keys {
    /// As RFC 7643 has them.
    #[default]
    AsDefined,
    /// In lower case.
    LowerCase,
}

/// How names are spelt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spelling {
    /// As they were written.
    #[default]
    AsWritten,
    /// In lower case.
    LowerCase,
    /// In upper case.
    UpperCase,
    /// In lower and in upper case by turns, from answer to answer.
    Changing,
}

/// Whether users have `groups`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserGroups {
    /// On a self-hosted bridge, but not on the hosted service (as their samples are).
    #[default]
    AsFlavour,
    /// Always.
    Listed,
    /// Never.
    Absent,
}

/// When groups have `members`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MembersKey {
    /// When there is a member. All recorded groups lack the key; nobody knows whether they had members.
    #[default]
    WhenAny,
    /// Always; a group without members has `[]`.
    Always,
    /// Always; a group without members has `null`.
    OrNull,
    /// Only in the answer for a single group.
    ByIdOnly,
    /// Never.
    Never,
    /// Always `[]`, even for a group with members.
    AlwaysEmpty,
}

/// What the `value` of a member is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberValue {
    /// The id.
    #[default]
    Id,
    /// The user name.
    UserName,
}

/// Habits of writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Writes {
    /// Acts that are answered as if they had been done, and are not done.
    pub ignored: BTreeSet<Act>,
    /// Acts that are refused.
    pub refused: BTreeMap<Act, Refused>,
    /// How a creation is answered.
    pub created: Created,
    /// What comes back from a write.
    pub echo: Echo,
    /// A user name that somebody has already.
    pub taken_user_name: Taken,
    /// A group name that exists already. Not known of 1Password.
    pub taken_group_name: Taken,
    /// Whether two user names that differ in case are one name.
    pub name_case: NameCase,
    /// What a write of a user's `displayName` does.
    pub display_name: DisplayName,
    /// What `"False"` means for `active`.
    pub text_booleans: TextBooleans,
    /// What becomes of `externalId`.
    pub external_ids: ExternalIds,
    /// A user name that is not the primary address.
    pub other_address: Acceptance,
    /// What an addition of members does.
    pub add: Addition,
    /// So many members are left after an addition; the others are lost.
    pub add_keeps: Option<u32>,
    /// What `remove` does with `members[value eq "ID"]`.
    pub remove_by_filter: Removal,
    /// What `remove` does with `members` and a list of values. RFC 7644 ignores the list: everybody goes.
    pub remove_by_value: RemovalByValue,
    /// A member that is no user. Not known of 1Password; most servers accept it.
    pub unknown_members: UnknownMembers,
    /// A member that is suspended.
    pub suspended_members: Acceptance,
    /// Additions and removals in one request.
    pub mixed_operations: Acceptance,
    /// How many changes of members one request may have.
    pub change_limit: Option<ChangeLimit>,
    /// What DELETE does to a user.
    pub delete_user: DeleteUser,
    /// What a suspension does to the user's memberships. Not known of 1Password.
    pub suspended_memberships: Memberships,
    /// How many active users there may be; one more is refused by 403.
    pub seats: Option<u32>,
    /// What remains of a request of which one operation is wrong.
    pub atomicity: Atomicity,
    /// The content types that a body may have.
    pub media_types: MediaTypes,
    /// The bodies of errors.
    pub errors: ErrorForm,
    /// So many reads of the same kind do not show a write yet.
    pub visible_after: u32,
}

/// What a write does, and with what it can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// A user comes into being.
    CreateUser,
    /// A user becomes inactive, by PATCH, PUT or DELETE.
    Suspend,
    /// A user becomes active again.
    Reactivate,
    /// A user gets another `userName`.
    RenameUser,
    /// A user gets another name or display name.
    ChangeName,
    /// A user gets other addresses or another `externalId`.
    ChangeContact,
    /// A user is gone for good.
    DeleteUser,
    /// A group comes into being.
    CreateGroup,
    /// A group gets another `displayName` or `externalId`.
    RenameGroup,
    /// Somebody becomes a member.
    AddMember,
    /// Somebody is no longer a member.
    RemoveMember,
    /// A group is gone for good.
    DeleteGroup,
}

/// How an act is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refused {
    /// The status.
    pub status: u16,
    /// The `scimType` of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scim_type: Option<String>,
}

/// How a creation is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Created {
    /// 200 without Location (recorded).
    #[default]
    Ok,
    /// 201 with Location, as RFC 7644 has it.
    WithLocation,
}

/// What comes back from a write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Echo {
    /// The resource as it is now.
    #[default]
    Stored,
    /// The resource as the client wished it, even if something else was stored.
    AsSent,
    /// 204 for a PATCH or PUT that changes nothing; otherwise the resource as it is now.
    NothingIfUnchanged,
    /// 204 for a PATCH and a PUT. A creation still gives the resource, or its id would be lost.
    Nothing,
}

/// What becomes of a name that is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Taken {
    /// 409 with `uniqueness`.
    #[default]
    Conflict,
    /// 409 without a `scimType`.
    ConflictWithoutType,
    /// There are two of this name then.
    Accepted,
    /// 500.
    ServerError,
}

/// Whether two user names that differ in case are one name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameCase {
    /// They are one name.
    #[default]
    Folded,
    /// They are two names.
    Exact,
}

/// What a write of a user's `displayName` does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DisplayName {
    /// It splits the name at the first blank (recorded).
    #[default]
    SplitsName,
    /// It leaves the name as it is.
    StandsAlone,
}

/// What `"False"` means for `active`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextBooleans {
    /// `false`. Entra ID sends it, and 1Password supports Entra ID.
    #[default]
    Understood,
    /// 400 `invalidValue`.
    Refused,
    /// `true`, as every text.
    AlwaysTrue,
}

/// What becomes of `externalId`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExternalIds {
    /// It is taken and never shown (recorded).
    #[default]
    Lost,
    /// It is kept.
    Kept,
}

/// Whether something is done or refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Acceptance {
    /// It is done.
    #[default]
    Accepted,
    /// The whole request is refused by 400 `invalidValue`.
    Refused,
}

/// What becomes of a member that is no user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownMembers {
    /// The whole request is refused by 400 `invalidValue`.
    #[default]
    Refused,
    /// It is added and listed.
    Accepted,
}

/// What an addition of members does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Addition {
    /// It adds those who are no members yet.
    #[default]
    Adds,
    /// Who is a member already is listed twice.
    DoublesMembers,
    /// Everybody who is added is listed twice.
    ListsTwice,
    /// It replaces the whole list.
    ReplacesAll,
}

/// What `remove` does with `members[value eq "ID"]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Removal {
    /// It removes this member.
    #[default]
    Member,
    /// It removes everybody.
    Everybody,
    /// It is refused.
    Refused {
        /// The status.
        status: u16,
    },
}

/// What `remove` does with `members` and a list of values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum RemovalByValue {
    /// It removes everybody, as RFC 7644 has it.
    #[default]
    Everybody,
    /// It removes the members of the list.
    Members,
    /// It is refused.
    Refused {
        /// The status.
        status: u16,
    },
}

/// How many changes of members one request may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeLimit {
    /// The most changes.
    pub changes: u32,
    /// The status of the refusal: 400 and 413 were seen.
    pub status: u16,
}

/// What DELETE does to a user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeleteUser {
    /// 204, and the user is suspended (recorded).
    #[default]
    Suspends,
    /// 204, and the user is gone. Groups still list the id.
    Deletes,
}

/// What a suspension does to memberships.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Memberships {
    /// They stay.
    #[default]
    Kept,
    /// They are gone, and do not come back.
    Withdrawn,
}

/// What remains of a request of which one operation is wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Atomicity {
    /// Nothing.
    #[default]
    Whole,
    /// The operations before the wrong one.
    ByOperation,
}

/// The content types that a body may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaTypes {
    /// Any, and none.
    #[default]
    Any,
    /// Only `application/scim+json`; others are refused by 415.
    ScimOnly,
}

/// The bodies of errors. Those of 1Password are not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorForm {
    /// An error as RFC 7644 has it, with `scimType`.
    #[default]
    Scim,
    /// The same without `scimType`.
    WithoutType,
    /// A line of text.
    Text,
    /// Nothing.
    Empty,
}
