//! One page of `/scim/Users` or `/scim/Groups`, from bytes.
//!
//! Parsers of foreign bytes: they take anything and return a page, or why it is none.
//!
//! They are lenient where servers differ; 1Password's and thirteen others were looked at. Names of fields may be in any
//! case (RFC 7643, section 2.1). Numbers and truth values may be text. Keys may be missing or `null`, and texts may stand
//! where objects should be. They are strict where leniency could lose somebody: every entry needs an id, and no field may
//! come twice.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::domain::directory::{
    names::RemoteId,
    order::ScimType,
    snapshot::{Activity, GroupEntry, MemberEntry, UserEntry},
    walk::{Page, PageFault},
};

/// The largest body of a page, in bytes. A page that is larger is asked for in halves.
pub const MAX_BODY: usize = 8 * 1024 * 1024;

/// The most entries in one page. Two of the servers that were measured send everything at once.
pub const MAX_PAGE: usize = 20_000;

/// The longest name that is kept, in bytes. A longer one is as if it were not there.
pub const MAX_TEXT: usize = 1024;

/// The most members of one group, and the most groups of one user.
pub const MAX_MEMBERS: usize = 100_000;

/// The greatest count that is the same number to every reader of JSON (RFC 8259, section 6).
const MAX_COUNT: u64 = (1 << 53) - 1;

const LIST_RESPONSE: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// The answer to a write, as far as it is read. Nothing in it proves that anything changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// `id`, if it can be used.
    pub id: Option<RemoteId>,
    /// `schemas`
    pub schemas: Schemas,
    /// `scimType`, if RFC 7644, section 3.12, has it.
    pub scim_type: Option<ScimType>,
}

/// Reads a page of `/scim/Users`.
///
/// # Errors
/// [`PageFault`] says why the body is no page.
pub fn read_users(body: &[u8]) -> Result<Page<UserEntry>, PageFault> {
    read(body)
}

/// Reads a page of `/scim/Groups`.
///
/// # Errors
/// [`PageFault`] says why the body is no page.
pub fn read_groups(body: &[u8]) -> Result<Page<GroupEntry>, PageFault> {
    read(body)
}

/// Reads one user, as `/scim/Users/ID` answers.
///
/// # Errors
/// [`PageFault`] says why the body is no user.
pub fn read_user(body: &[u8]) -> Result<UserEntry, PageFault> {
    read(body)
}

/// Reads one group, as `/scim/Groups/ID` answers.
///
/// # Errors
/// [`PageFault`] says why the body is no group.
pub fn read_group(body: &[u8]) -> Result<GroupEntry, PageFault> {
    read(body)
}

/// Reads the answer to a write: a user, a group, or an error.
///
/// # Errors
/// [`PageFault`] says why the body is no object.
pub fn read_reply(body: &[u8]) -> Result<Reply, PageFault> {
    read(body)
}

/// The memory that parsing a body may take, in bytes, the body not included. An estimate, and rather too much.
///
/// Every text is no longer than in the body. Every user, group and member is an object: its own fields, what the
/// allocator adds, and the room that a growing list keeps. A list of members that are no objects ends at [`MAX_MEMBERS`].
#[must_use]
#[allow(
    clippy::naive_bytecount,
    reason = "a page is read once a second at most; another library is not worth it"
)]
pub fn memory_to_parse(body: &[u8]) -> usize {
    const OBJECT: usize = 160;
    const ITEM: usize = 24;
    let (objects, items) = body.iter().fold((0, 0), |(objects, items), byte| match byte {
        b'{' => (objects + 1, items),
        b',' => (objects, items + 1),
        _ => (objects, items),
    });
    body.len() + OBJECT * objects + ITEM * MAX_MEMBERS.min(items)
}

fn read<T: FromFields>(body: &[u8]) -> Result<T, PageFault> {
    if body.len() > MAX_BODY {
        return Err(PageFault::TooLarge);
    }
    match serde_json::from_slice(body) {
        Ok(Object::Read(thing)) => thing,
        Ok(Object::Nothing) | Err(_) => Err(PageFault::NotAList),
    }
}

/// What can be read from the fields of an object.
trait FromFields: Sized {
    /// The fields that came so far.
    type Draft: Default;

    /// Takes one field, whose name is in lower case. All of its value has to be read.
    fn take<'de, A: MapAccess<'de>>(
        draft: &mut Self::Draft,
        name: &str,
        fields: &mut A,
    ) -> Result<(), A::Error>;

    /// Puts the thing together.
    fn finish(draft: Self::Draft) -> Result<Self, PageFault>;

    /// What an item of an array is that is no object.
    fn of_nothing() -> Result<Self, PageFault> {
        Err(PageFault::NoId)
    }
}

/// A JSON object, read field by field: what serde derives would know a field by one spelling only. Nothing where
/// something else is.
enum Object<T> {
    Read(Result<T, PageFault>),
    Nothing,
}

/// A value that comes once. Twice is once too often, also in another case.
struct Once<T> {
    value: Option<T>,
    is_twice: bool,
}

/// A text, a number or a truth value; anything else is nothing. Texts that are too long are nothing, too.
enum Scalar {
    Text(Box<str>),
    Number(u64),
    Flag(bool),
    Nothing,
}

/// An array of objects. One object alone is an array of one. Any other value is nothing.
enum Many<T> {
    Items(Vec<T>),
    /// More items than are taken.
    Beyond,
    Fault(PageFault),
    Nothing,
}

/// What `schemas` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schemas {
    /// A list.
    List,
    /// An error.
    Error,
    /// Something else.
    Other,
    /// Nothing.
    Nothing,
}

struct PageDraft<T> {
    schemas: Once<Schemas>,
    total: Once<Scalar>,
    resources: Once<Many<T>>,
}

#[derive(Default)]
struct ReplyDraft {
    id: Once<Scalar>,
    schemas: Once<Schemas>,
    scim_type: Once<Scalar>,
}

#[derive(Default)]
struct UserDraft {
    id: Once<Scalar>,
    user_name: Once<Scalar>,
    active: Once<Scalar>,
    name: Once<Object<PersonName>>,
    groups: Once<Many<MemberEntry>>,
}

#[derive(Default)]
struct GroupDraft {
    id: Once<Scalar>,
    display_name: Once<Scalar>,
    members: Once<Many<MemberEntry>>,
}

#[derive(Default)]
struct MemberDraft {
    value: Once<Scalar>,
    kind: Once<Scalar>,
    reference: Once<Scalar>,
}

#[derive(Default)]
struct NameDraft {
    given_name: Once<Scalar>,
    family_name: Once<Scalar>,
}

/// The parts of `name`.
struct PersonName {
    given_name: Option<Box<str>>,
    family_name: Option<Box<str>>,
}

// === impl Page ===

impl<T: FromFields> FromFields for Page<T> {
    type Draft = PageDraft<T>;

    fn take<'de, A: MapAccess<'de>>(
        draft: &mut Self::Draft,
        name: &str,
        fields: &mut A,
    ) -> Result<(), A::Error> {
        let PageDraft {
            schemas,
            total,
            resources,
        } = draft;
        match name {
            "schemas" => schemas.take(fields),
            "totalresults" => total.take(fields),
            "resources" => resources.take_items(fields, MAX_PAGE),
            _ => pass_over(fields),
        }
    }

    fn finish(draft: Self::Draft) -> Result<Self, PageFault> {
        let PageDraft {
            schemas,
            total,
            resources,
        } = draft;
        // An error has the same fields as nothing. A list that says what it is must be one.
        if matches!(schemas.once()?, Some(Schemas::Other | Schemas::Error)) {
            return Err(PageFault::NotAList);
        }
        let total = total.once()?.and_then(Scalar::number);
        let entries = match resources.once()?.unwrap_or(Many::Nothing) {
            Many::Items(items) => items,
            Many::Beyond => return Err(PageFault::TooManyEntries),
            Many::Fault(fault) => return Err(fault),
            // RFC 7644, section 3.4.2: an empty list may go without `Resources`, a page beyond the end too.
            Many::Nothing if total.is_some() => Vec::new(),
            Many::Nothing => return Err(PageFault::NotAList),
        };
        let total = total
            .filter(|total| *total <= MAX_COUNT)
            .ok_or(PageFault::NoTotal)?;
        Ok(Self { total, entries })
    }
}

// === impl Reply ===

impl FromFields for Reply {
    type Draft = ReplyDraft;

    fn take<'de, A: MapAccess<'de>>(
        draft: &mut Self::Draft,
        name: &str,
        fields: &mut A,
    ) -> Result<(), A::Error> {
        let ReplyDraft {
            id,
            schemas,
            scim_type,
        } = draft;
        match name {
            "id" => id.take(fields),
            "schemas" => schemas.take(fields),
            "scimtype" => scim_type.take(fields),
            _ => pass_over(fields),
        }
    }

    fn finish(draft: Self::Draft) -> Result<Self, PageFault> {
        let ReplyDraft {
            id,
            schemas,
            scim_type,
        } = draft;
        let id = id.once()?.and_then(Scalar::text);
        let scim_type = scim_type.once()?.and_then(Scalar::text);
        Ok(Self {
            id: id.and_then(|id| RemoteId::parse(&id).ok()),
            schemas: schemas.once()?.unwrap_or(Schemas::Nothing),
            scim_type: scim_type.and_then(|scim_type| ScimType::parse(&scim_type)),
        })
    }
}

// === impl UserEntry ===

impl FromFields for UserEntry {
    type Draft = UserDraft;

    fn take<'de, A: MapAccess<'de>>(
        draft: &mut Self::Draft,
        name: &str,
        fields: &mut A,
    ) -> Result<(), A::Error> {
        let UserDraft {
            id,
            user_name,
            active,
            name: person,
            groups,
        } = draft;
        match name {
            "id" => id.take(fields),
            "username" => user_name.take(fields),
            "active" => active.take(fields),
            "name" => person.take(fields),
            "groups" => groups.take_items(fields, MAX_MEMBERS),
            _ => pass_over(fields),
        }
    }

    fn finish(draft: Self::Draft) -> Result<Self, PageFault> {
        let UserDraft {
            id,
            user_name,
            active,
            name,
            groups,
        } = draft;
        let PersonName {
            given_name,
            family_name,
        } = match name.once()? {
            Some(Object::Read(name)) => name?,
            Some(Object::Nothing) | None => PersonName {
                given_name: None,
                family_name: None,
            },
        };
        let groups = members(groups)?.map(|groups| {
            let mut groups: Vec<Box<str>> = groups.into_iter().map(|group| group.value).collect();
            groups.dedup();
            groups.shrink_to_fit();
            groups
        });
        Ok(Self {
            id: id_of(id)?,
            user_name: user_name.once()?.and_then(Scalar::text),
            active: active
                .once()?
                .map_or(Activity::Unsaid, |active| active.activity()),
            given_name,
            family_name,
            groups,
        })
    }
}

// === impl GroupEntry ===

impl FromFields for GroupEntry {
    type Draft = GroupDraft;

    fn take<'de, A: MapAccess<'de>>(
        draft: &mut Self::Draft,
        name: &str,
        fields: &mut A,
    ) -> Result<(), A::Error> {
        let GroupDraft {
            id,
            display_name,
            members,
        } = draft;
        match name {
            "id" => id.take(fields),
            "displayname" => display_name.take(fields),
            "members" => members.take_items(fields, MAX_MEMBERS),
            _ => pass_over(fields),
        }
    }

    fn finish(draft: Self::Draft) -> Result<Self, PageFault> {
        let GroupDraft {
            id,
            display_name,
            members: entries,
        } = draft;
        Ok(Self {
            id: id_of(id)?,
            display_name: display_name.once()?.and_then(Scalar::text),
            members: members(entries)?,
        })
    }
}

// === impl MemberEntry ===

impl FromFields for MemberEntry {
    type Draft = MemberDraft;

    fn take<'de, A: MapAccess<'de>>(
        draft: &mut Self::Draft,
        name: &str,
        fields: &mut A,
    ) -> Result<(), A::Error> {
        let MemberDraft {
            value,
            kind,
            reference,
        } = draft;
        match name {
            "value" => value.take(fields),
            "type" => kind.take(fields),
            "$ref" | "ref" => reference.take(fields),
            _ => pass_over(fields),
        }
    }

    fn finish(draft: Self::Draft) -> Result<Self, PageFault> {
        let MemberDraft {
            value,
            kind,
            reference,
        } = draft;
        let says = |scalar: Option<Scalar>, is_said: fn(&str) -> bool| {
            scalar.and_then(Scalar::text).is_some_and(|text| is_said(&text))
        };
        let is_group = says(kind.once()?, |kind| kind.eq_ignore_ascii_case("Group"))
            || says(reference.once()?, |reference| reference.contains("/Groups/"));
        let value = value.once()?.and_then(Scalar::text).unwrap_or_default();
        Ok(Self { value, is_group })
    }

    /// A member that cannot be read is a member still: nobody knows who.
    fn of_nothing() -> Result<Self, PageFault> {
        Ok(Self {
            value: Box::default(),
            is_group: false,
        })
    }
}

// === impl PersonName ===

impl FromFields for PersonName {
    type Draft = NameDraft;

    fn take<'de, A: MapAccess<'de>>(
        draft: &mut Self::Draft,
        name: &str,
        fields: &mut A,
    ) -> Result<(), A::Error> {
        let NameDraft {
            given_name,
            family_name,
        } = draft;
        match name {
            "givenname" => given_name.take(fields),
            "familyname" => family_name.take(fields),
            _ => pass_over(fields),
        }
    }

    fn finish(draft: Self::Draft) -> Result<Self, PageFault> {
        let NameDraft {
            given_name,
            family_name,
        } = draft;
        Ok(Self {
            given_name: given_name.once()?.and_then(Scalar::text),
            family_name: family_name.once()?.and_then(Scalar::text),
        })
    }
}

fn id_of(id: Once<Scalar>) -> Result<RemoteId, PageFault> {
    let id = id.once()?.and_then(Scalar::text).ok_or(PageFault::NoId)?;
    RemoteId::parse(&id).map_err(|_| PageFault::NoId)
}

/// Members, or groups of a user: in order, each once. `null` is as if the key were not there.
fn members(entries: Once<Many<MemberEntry>>) -> Result<Option<Vec<MemberEntry>>, PageFault> {
    let mut members = match entries.once()? {
        Some(Many::Items(members)) => members,
        Some(Many::Beyond) => return Err(PageFault::TooManyMembers),
        Some(Many::Fault(fault)) => return Err(fault),
        Some(Many::Nothing) | None => return Ok(None),
    };
    members.sort();
    members.dedup();
    // A list of the same member many times would keep its room otherwise.
    members.shrink_to_fit();
    Ok(Some(members))
}

fn pass_over<'de, A: MapAccess<'de>>(fields: &mut A) -> Result<(), A::Error> {
    fields.next_value::<IgnoredAny>().map(|_| ())
}

// === impl Once ===

impl<T> Once<T> {
    fn set(&mut self, value: T) {
        self.is_twice |= self.value.is_some();
        self.value = Some(value);
    }

    fn once(self) -> Result<Option<T>, PageFault> {
        if self.is_twice {
            return Err(PageFault::FieldTwice);
        }
        Ok(self.value)
    }

    fn take<'de, A: MapAccess<'de>>(&mut self, fields: &mut A) -> Result<(), A::Error>
    where
        T: Deserialize<'de>,
    {
        let value = fields.next_value()?;
        self.set(value);
        Ok(())
    }
}

impl<T: FromFields> Once<Many<T>> {
    fn take_items<'de, A: MapAccess<'de>>(&mut self, fields: &mut A, most: usize) -> Result<(), A::Error> {
        let value = fields.next_value_seed(Items(most, PhantomData))?;
        self.set(value);
        Ok(())
    }
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self {
            value: None,
            is_twice: false,
        }
    }
}

impl<T> Default for PageDraft<T> {
    fn default() -> Self {
        Self {
            schemas: Once::default(),
            total: Once::default(),
            resources: Once::default(),
        }
    }
}

// === impl Scalar ===

impl Scalar {
    /// The text; a number as text, for ids that are numbers.
    fn text(self) -> Option<Box<str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(number) => Some(number.to_string().into()),
            Self::Flag(_) | Self::Nothing => None,
        }
    }

    fn number(self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            Self::Text(_) | Self::Flag(_) | Self::Nothing => None,
        }
    }

    /// One of thirteen servers shows the text "false" after somebody else wrote it.
    fn activity(&self) -> Activity {
        match self {
            Self::Flag(true) => Activity::Active,
            Self::Flag(false) => Activity::Suspended,
            Self::Text(text) if text.eq_ignore_ascii_case("true") => Activity::Active,
            Self::Text(text) if text.eq_ignore_ascii_case("false") => Activity::Suspended,
            Self::Text(_) | Self::Number(_) | Self::Nothing => Activity::Unsaid,
        }
    }
}

/// The methods of a visitor for which a value is nothing. Each reads it to its end, so that the rest can be read.
macro_rules! nothing {
    ($nothing:expr => $($what:ident)+) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }

        $(nothing!(@$what $nothing);)+
    };
    (@bool $nothing:expr) => {
        fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
            Ok($nothing)
        }
    };
    (@number $nothing:expr) => {
        fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
            Ok($nothing)
        }

        fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
            Ok($nothing)
        }

        fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
            Ok($nothing)
        }
    };
    (@text $nothing:expr) => {
        fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
            Ok($nothing)
        }
    };
    (@null $nothing:expr) => {
        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok($nothing)
        }
    };
    (@array $nothing:expr) => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            Ok($nothing)
        }
    };
    (@object $nothing:expr) => {
        fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
            while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok($nothing)
        }
    };
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Scalar;

            nothing!(Scalar::Nothing => null array object);

            fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar::Flag(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar::Number(value))
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Scalar, E> {
                Ok(Scalar::Nothing)
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Scalar, E> {
                Ok(Scalar::Nothing)
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Scalar, E> {
                let is_short = value.len() <= MAX_TEXT;
                Ok(if is_short {
                    Scalar::Text(value.into())
                } else {
                    Scalar::Nothing
                })
            }
        }

        deserializer.deserialize_any(Any)
    }
}

impl Schemas {
    const fn of(schema: &str) -> Self {
        if schema.eq_ignore_ascii_case(LIST_RESPONSE) {
            Self::List
        } else if schema.eq_ignore_ascii_case(ERROR) {
            Self::Error
        } else {
            Self::Other
        }
    }
}

impl<'de> Deserialize<'de> for Schemas {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Schemas;

            nothing!(Schemas::Nothing => bool number null object);

            fn visit_str<E: Error>(self, value: &str) -> Result<Schemas, E> {
                Ok(if value.is_empty() {
                    Schemas::Nothing
                } else {
                    Schemas::of(value)
                })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Schemas, A::Error> {
                let mut said = Schemas::Nothing;
                while let Some(item) = items.next_element::<Scalar>()? {
                    let Scalar::Text(text) = item else {
                        continue;
                    };
                    said = match (said, Schemas::of(&text)) {
                        (Schemas::Nothing, other) | (_, other @ (Schemas::List | Schemas::Error)) => other,
                        (said, _) => said,
                    };
                }
                Ok(said)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// A name of a field, borrowed where it can be.
struct FieldName<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for FieldName<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;

        impl<'de> Visitor<'de> for Name {
            type Value = FieldName<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(FieldName(Cow::Borrowed(name)))
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(FieldName(Cow::Owned(name.to_owned())))
            }
        }

        deserializer.deserialize_str(Name)
    }
}

// === impl Object, Many ===

fn read_fields<'de, T: FromFields, A: MapAccess<'de>>(
    mut fields: A,
) -> Result<Result<T, PageFault>, A::Error> {
    /// No field that is read has a longer name.
    const LONGEST: usize = 16;
    let mut draft = T::Draft::default();
    while let Some(FieldName(name)) = fields.next_key()? {
        if name.len() > LONGEST {
            pass_over(&mut fields)?;
        } else {
            T::take(&mut draft, &name.to_ascii_lowercase(), &mut fields)?;
        }
    }
    Ok(T::finish(draft))
}

impl<'de, T: FromFields> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any<T>(PhantomData<T>);

        impl<'de, T: FromFields> Visitor<'de> for Any<T> {
            type Value = Object<T>;

            // `"name": ""` and the like.
            nothing!(Object::Nothing => bool number text null array);

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
                read_fields(fields).map(Object::Read)
            }
        }

        deserializer.deserialize_any(Any(PhantomData))
    }
}

/// Reads an array of at most so many items.
struct Items<T>(usize, PhantomData<T>);

impl<'de, T: FromFields> DeserializeSeed<'de> for Items<T> {
    type Value = Many<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Many<T>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: FromFields> Visitor<'de> for Items<T> {
    type Value = Many<T>;

    nothing!(Many::Nothing => bool number text null);

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Many<T>, A::Error> {
        Ok(match read_fields(fields)? {
            Ok(item) => Many::Items(vec![item]),
            Err(fault) => Many::Fault(fault),
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Many<T>, A::Error> {
        let Self(most, _) = self;
        let mut read = Vec::new();
        let mut failure = None;
        while let Some(item) = items.next_element::<Object<T>>()? {
            let item = match item {
                Object::Read(item) => item,
                Object::Nothing => T::of_nothing(),
            };
            let fault = match item {
                Ok(item) if read.len() < most => {
                    read.push(item);
                    continue;
                }
                Ok(_) => Many::Beyond,
                Err(fault) => Many::Fault(fault),
            };
            // The rest need not be kept, and the first fault is the one to report.
            failure.get_or_insert(fault);
            while items.next_element::<IgnoredAny>()?.is_some() {}
        }
        Ok(failure.unwrap_or(Many::Items(read)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*, test_runner::RngSeed};

    fn shown(text: Option<&str>) -> &str {
        text.unwrap_or("-")
    }

    /// `total: id userName active given family groups; ...`, or why it is no page.
    fn users(body: &str) -> String {
        match read_users(body.as_bytes()) {
            Err(fault) => format!("{fault:?}"),
            Ok(Page { total, entries }) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|user| {
                        format!(
                            "{} {} {:?} {} {} {}",
                            user.id.as_str(),
                            shown(user.user_name.as_deref()),
                            user.active,
                            shown(user.given_name.as_deref()),
                            shown(user.family_name.as_deref()),
                            user.groups
                                .as_ref()
                                .map_or_else(|| "-".to_owned(), |groups| groups.join("+")),
                        )
                    })
                    .collect();
                format!("{total}: {}", entries.join("; "))
            }
        }
    }

    fn groups(body: &str) -> String {
        match read_groups(body.as_bytes()) {
            Err(fault) => format!("{fault:?}"),
            Ok(Page { total, entries }) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|group| {
                        let members = group.members.as_ref().map_or_else(
                            || "-".to_owned(),
                            |members| {
                                let members: Vec<_> = members
                                    .iter()
                                    .map(|member| {
                                        format!(
                                            "{}{}",
                                            if member.is_group { "group:" } else { "" },
                                            member.value
                                        )
                                    })
                                    .collect();
                                format!("[{}]", members.join(","))
                            },
                        );
                        format!(
                            "{} {} {members}",
                            group.id.as_str(),
                            shown(group.display_name.as_deref())
                        )
                    })
                    .collect();
                format!("{total}: {}", entries.join("; "))
            }
        }
    }

    /// One user in a list.
    fn one(fields: &str) -> String {
        format!(r#"{{"totalResults":1,"Resources":[{{{fields}}}]}}"#)
    }

    #[test]
    fn what_bridges_send() {
        // A bridge of 2023, with empty texts where something is missing; and the hosted service of 2026.
        for (body, expected) in [
            (
                r#"{"Resources":[{"active":true,"displayName":"Eggs Ample","emails":[{"primary":true,"type":"","value":"eggs.ample@example.com"}],
                "externalId":"","groups":[{"value":"f7eqriu7ht27mq5zmm63gf2dhq","ref":"https://scim.example.com/Groups/f7eqriu7ht27mq5zmm63gf2dhq"}],
                "id":"FECPUMYBHZB2PB6K4WKM4Q2HAU","meta":{"created":"","lastModified":"","location":"","resourceType":"User","version":""},
                "name":{"familyName":"Ample","formatted":"Eggs Ample","givenName":"Eggs","honorificPrefix":"","honorificSuffix":"","middleName":""},
                "schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"eggs.ample@example.com"}],"totalResults":1}"#,
                "1: FECPUMYBHZB2PB6K4WKM4Q2HAU eggs.ample@example.com Active Eggs Ample f7eqriu7ht27mq5zmm63gf2dhq",
            ),
            (
                r#"{"Resources":[{"active":false,"displayName":"Test User","emails":[{"primary":true,"value":"test@example.com"}],"id":"6NF7ZWCFBBHUXBSGZM5YXY2OSU",
                "meta":{"resourceType":"User"},"name":{"familyName":"User","formatted":"Test User","givenName":"Test"},"preferredLanguage":"en",
                "schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"test@example.com"}],
                "itemsPerPage":1,"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"startIndex":1,"totalResults":1}"#,
                "1: 6NF7ZWCFBBHUXBSGZM5YXY2OSU test@example.com Suspended Test User -",
            ),
        ] {
            assert_eq!(users(body), expected);
        }
        // No recorded group has members.
        let body = r#"{"Resources":[{"displayName":"Ops","id":"f7eqriu7ht27mq5zmm63gf2dhq","meta":{"created":"2026-05-21T10:00:01Z",
            "lastModified":"2026-05-21T10:00:00Z","resourceType":"Group"},"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"]}],
            "itemsPerPage":1,"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"startIndex":1,"totalResults":1}"#;
        assert_eq!(groups(body), "1: f7eqriu7ht27mq5zmm63gf2dhq Ops -");
    }

    #[test]
    fn pages() {
        let list = format!(r#""schemas":["{LIST_RESPONSE}"]"#);
        for (body, expected) in [
            (format!(r#"{{{list},"totalResults":0}}"#), "0: "),
            (r#"{"totalResults":0,"Resources":null}"#.to_owned(), "0: "),
            (r#"{"totalResults":0,"Resources":[]}"#.to_owned(), "0: "),
            // A page beyond the end.
            (r#"{"totalResults":7}"#.to_owned(), "7: "),
            (r#"{"totalResults":7,"startIndex":8,"Resources":[]}"#.to_owned(), "7: "),
            (r#"{"totalResults":"7","Resources":[]}"#.to_owned(), "7: "),
            (r#"{"TOTALRESULTS":1,"resources":[{"ID":"A"}]}"#.to_owned(), "1: A - Unsaid - - -"),
            (r#"{"totalResults":1,"Resources":{"id":"A"}}"#.to_owned(), "1: A - Unsaid - - -"),
            (r#"{"schemas":"","meta":"","totalResults":0}"#.to_owned(), "0: "),
            (r#"{"schemas":[],"totalResults":0}"#.to_owned(), "0: "),
            (format!(r#"{{"schemas":["x","{}"],"totalResults":0}}"#, LIST_RESPONSE.to_uppercase()), "0: "),
            (
                r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"500","totalResults":0}"#.to_owned(),
                "NotAList",
            ),
            (r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"detail":"x"}"#.to_owned(), "NotAList"),
            ("{}".to_owned(), "NotAList"),
            (r#"{"Resources":[{"id":"A"}]}"#.to_owned(), "NoTotal"),
            (r#"{"totalResults":-1,"Resources":[]}"#.to_owned(), "NoTotal"),
            (r#"{"totalResults":1.5,"Resources":[]}"#.to_owned(), "NoTotal"),
            (r#"{"totalResults":99999999999999999999,"Resources":[]}"#.to_owned(), "NoTotal"),
            (r#"{"totalResults":"many","Resources":[]}"#.to_owned(), "NoTotal"),
            (r#"{"totalResults":18446744073709551615,"Resources":[]}"#.to_owned(), "NoTotal"),
            (r#"{"totalResults":1,"totalresults":2,"Resources":[]}"#.to_owned(), "FieldTwice"),
            (r#"{"totalResults":1,"Resources":[],"resources":[{"id":"A"}]}"#.to_owned(), "FieldTwice"),
            (r#"{"totalResults":1,"Resources":["A"]}"#.to_owned(), "NoId"),
            (r#"{"totalResults":1,"Resources":[null]}"#.to_owned(), "NoId"),
            ("[]".to_owned(), "NotAList"),
            ("null".to_owned(), "NotAList"),
            (String::new(), "NotAList"),
            ("<html>".to_owned(), "NotAList"),
            (r#"{"totalResults":0}{}"#.to_owned(), "NotAList"),
            (r#"{"totalResults":1,"Resources":[{"id":"A""#.to_owned(), "NotAList"),
            ("[".repeat(100_000), "NotAList"),
            (format!(r#"{{"x":{}"#, "[".repeat(100_000)), "NotAList"),
            (format!("{}{{}}", " ".repeat(MAX_BODY)), "TooLarge"),
        ] {
            assert_eq!(users(&body), expected, "{}", body.get(..80).unwrap_or(&body));
        }
    }

    #[test]
    fn entries() {
        let (long_id, huge) = ("A".repeat(10 * 1024), "n".repeat(1024 * 1024));
        for (fields, expected) in [
            (
                r#""id":"A","userName":"ada@example.com","active":true"#.to_owned(),
                "A ada@example.com Active - - -",
            ),
            // Truth values as text, and values that are none.
            (r#""id":"A","active":"False""#.to_owned(), "A - Suspended - - -"),
            (r#""id":"A","active":"true""#.to_owned(), "A - Active - - -"),
            (r#""id":"A","active":"no""#.to_owned(), "A - Unsaid - - -"),
            (r#""id":"A","active":0"#.to_owned(), "A - Unsaid - - -"),
            (r#""id":"A","active":null"#.to_owned(), "A - Unsaid - - -"),
            (r#""id":"A","active":[true]"#.to_owned(), "A - Unsaid - - -"),
            (
                r#""Id":"A","USERNAME":"ada","Name":{"GIVENNAME":"Ada"}"#.to_owned(),
                "A ada Unsaid Ada - -",
            ),
            (r#""id":7"#.to_owned(), "7 - Unsaid - - -"),
            // Texts where objects should be.
            (
                r#""id":"A","name":"","meta":"","emails":"","groups":"""#.to_owned(),
                "A - Unsaid - - -",
            ),
            (
                r#""id":"A","name":["Ada"],"groups":{"value":"g"}"#.to_owned(),
                "A - Unsaid - - g",
            ),
            (r#""id":"A","groups":[]"#.to_owned(), "A - Unsaid - - "),
            (
                r#""id":"A","groups":[{"value":"h"},{"value":"g"},{"value":"g"}]"#.to_owned(),
                "A - Unsaid - - g+h",
            ),
            (
                r#""id":"A","userName":"\u00f6zlem@example.com""#.to_owned(),
                "A özlem@example.com Unsaid - - -",
            ),
            // Texts that are too long are not kept.
            (
                format!(r#""id":"A","userName":"{huge}","name":{{"givenName":"{huge}"}}"#),
                "A - Unsaid - - -",
            ),
            (format!(r#""id":"A","{huge}":1"#), "A - Unsaid - - -"),
        ] {
            assert_eq!(
                users(&one(&fields)),
                format!("1: {expected}"),
                "{}",
                &fields[..fields.len().min(80)]
            );
        }
        for (fields, fault) in [
            (r#""userName":"ada@example.com""#.to_owned(), "NoId"),
            (r#""id":"""#.to_owned(), "NoId"),
            (r#""id":null"#.to_owned(), "NoId"),
            (r#""id":{"value":"A"}"#.to_owned(), "NoId"),
            (r#""id":"A B""#.to_owned(), "NoId"),
            (r#""id":"é""#.to_owned(), "NoId"),
            (r#""id":"A\n""#.to_owned(), "NoId"),
            (format!(r#""id":"{long_id}""#), "NoId"),
            (format!(r#""id":"{huge}""#), "NoId"),
            (r#""id":"A","ID":"B""#.to_owned(), "FieldTwice"),
            (
                r#""id":"A","active":true,"active":false"#.to_owned(),
                "FieldTwice",
            ),
            (
                r#""id":"A","name":{"givenName":"a","givenname":"b"}"#.to_owned(),
                "FieldTwice",
            ),
            // Half of a character.
            (r#""id":"A","userName":"\ud800""#.to_owned(), "NotAList"),
        ] {
            assert_eq!(users(&one(&fields)), fault, "{}", &fields[..fields.len().min(80)]);
        }
    }

    #[test]
    fn members_of_groups() {
        let many: Vec<_> = (0..=MAX_MEMBERS)
            .map(|n| format!(r#"{{"value":"{n}"}}"#))
            .collect();
        for (fields, expected) in [
            (r#""id":"g","displayName":"Ops""#.to_owned(), "1: g Ops -"),
            (r#""id":"g","members":null"#.to_owned(), "1: g - -"),
            (r#""id":"g","members":"""#.to_owned(), "1: g - -"),
            (r#""id":"g","members":[]"#.to_owned(), "1: g - []"),
            (
                r#""id":"g","members":[{"value":"B"},{"value":"A","display":"x"},{"value":"A"}]"#.to_owned(),
                "1: g - [A,B]",
            ),
            (r#""id":"g","members":{"value":"A"}"#.to_owned(), "1: g - [A]"),
            (
                r#""id":"g","members":[{"value":"A","type":"group"}]"#.to_owned(),
                "1: g - [group:A]",
            ),
            (
                r#""id":"g","members":[{"value":"A","$ref":"https://scim.example.com/Groups/A"}]"#.to_owned(),
                "1: g - [group:A]",
            ),
            // Somebody is there, and nobody knows who.
            (
                r#""id":"g","members":[{"display":"Ada"},"A",null]"#.to_owned(),
                "1: g - []",
            ),
            (
                format!(r#""id":"g","members":[{}]"#, many.join(",")),
                "TooManyMembers",
            ),
        ] {
            assert_eq!(
                groups(&one(&fields)),
                expected,
                "{}",
                &fields[..fields.len().min(80)]
            );
        }
        assert_eq!(
            read_group(br#"{"id":"g","members":[{"value":"A"}]}"#)
                .unwrap()
                .members
                .unwrap()
                .len(),
            1
        );
        assert_eq!(read_group(b"[]"), Err(PageFault::NotAList));
        assert_eq!(read_group(b"{}"), Err(PageFault::NoId));
    }

    #[test]
    fn single_users() {
        let ada = read_user(br#"{"id":"A","userName":"ada@example.com","active":"False"}"#).unwrap();
        assert_eq!((ada.id.as_str(), ada.active), ("A", Activity::Suspended));
        assert_eq!(read_user(br#"{"Resources":[{"id":"A"}]}"#), Err(PageFault::NoId));
        assert_eq!(read_user(br#"[{"id":"A"}]"#), Err(PageFault::NotAList));
    }

    /// `id schemas scimType`, or why it is no answer.
    #[test]
    fn replies() {
        let long = format!(r#"{{"id":"{}"}}"#, "A".repeat(1025));
        let deep = format!(
            r#"{{"id":"A","x":{}{}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        for (body, expected) in [
            (r#"{"id":"A"}"#, "Some(A) Nothing None"),
            (r#"{"ID":7,"Schemas":"x"}"#, "Some(7) Other None"),
            (
                r#"{"id":null,"schemas":["x","urn:IETF:params:scim:api:messages:2.0:Error"]}"#,
                "None Error None",
            ),
            (
                r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error","x"],"scimType":"TOOMANY"}"#,
                "None Error Some(TooMany)",
            ),
            (r#"{"scimType":"else"}"#, "None Nothing None"),
            (r#"{"scimType":["tooMany"]}"#, "None Nothing None"),
            (
                r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"]}"#,
                "None List None",
            ),
            (r#"{"id":"A B"}"#, "None Nothing None"),
            (&long, "None Nothing None"),
            // A field that is not read is passed over without recursion.
            (&deep, "Some(A) Nothing None"),
            (r#"{"id":"A","Id":"A"}"#, "FieldTwice"),
            ("[]", "NotAList"),
            ("", "NotAList"),
        ] {
            let seen = match read_reply(body.as_bytes()) {
                Ok(Reply {
                    id,
                    schemas,
                    scim_type,
                }) => format!("{id:?} {schemas:?} {scim_type:?}"),
                Err(fault) => format!("{fault:?}"),
            };
            assert_eq!(seen, expected, "{}", &body[..body.len().min(80)]);
        }
    }

    #[test]
    fn one_page_has_no_more_entries_than_anybody_sends() {
        let entries = vec![r#"{"id":"A"}"#; MAX_PAGE + 1].join(",");
        let body = format!(r#"{{"totalResults":1,"Resources":[{entries}]}}"#);
        assert_eq!(users(&body), "TooManyEntries");
    }

    /// JSON in which the fields that are read hold anything.
    fn anything() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            ".{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let name = prop_oneof![
                Just("Resources".to_owned()),
                Just("totalResults".to_owned()),
                Just("id".to_owned()),
                Just("name".to_owned()),
                Just("members".to_owned()),
                Just("value".to_owned()),
                Just("active".to_owned()),
                ".{0,4}",
            ];
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
                vec((name, inner), 0..6)
                    .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(testbed::seed()),
            ..ProptestConfig::default()
        })]

        #[test]
        fn parsers_survive_any_bytes(bytes in vec(any::<u8>(), 0..512)) {
            let _ = read_users(&bytes);
            let _ = read_groups(&bytes);
            let _ = read_group(&bytes);
            let _ = read_user(&bytes);
            let _ = read_reply(&bytes);
        }

        #[test]
        fn parsers_survive_any_json(value in anything()) {
            let body = value.to_string();
            let _ = read_users(body.as_bytes());
            let _ = read_groups(body.as_bytes());
            let _ = read_user(body.as_bytes());
            let _ = read_reply(body.as_bytes());
        }

        /// No entry is passed over, with any content: all or none of a page is taken.
        #[test]
        fn no_entry_is_lost(entries in vec(anything(), 0..8), total in 0_u64..10) {
            let body = serde_json::json!({"totalResults": total, "Resources": entries}).to_string();
            if let Ok(page) = read_users(body.as_bytes()) {
                prop_assert_eq!(page.entries.len(), entries.len());
                prop_assert_eq!(page.total, total);
            }
            if let Ok(page) = read_groups(body.as_bytes()) {
                prop_assert_eq!(page.entries.len(), entries.len());
            }
        }
    }
}
