//! Reading a list to its end: which page to ask for next, and whether what came is all there is.
//!
//! Thirteen servers were measured. Some cut pages short, and some answer every index with the same page. Some give the
//! size of a page as the total, or answer an index beyond the end with the last page again. So a list has to prove that
//! it is complete: the total never changes, as many ids have come, and one more request brings no new one. Only such a
//! list becomes a [`Listing`].

use std::{collections::HashMap, fmt, iter};

use super::names::RemoteId;

/// How many entries to ask for.
pub const PAGE: u32 = 100;

/// The most entries of one list. 1Password's bridge is sized for some thousands of users.
pub const MAX_ENTRIES: usize = 200_000;

/// The most memory that the entries of one directory may take, in bytes. Ten thousand users with twenty groups each take
/// 18 MiB.
pub const MAX_BYTES: usize = 32 * 1024 * 1024;

/// The most requests for one list, with any answers.
pub const MAX_REQUESTS: u32 = 20_000;

/// How often a list is read whose order differs from request to request. 1Password's hosted service has such lists. Each
/// round finds about two thirds of those that fell between the pages of the rounds before.
pub const MAX_ROUNDS: u32 = 16;

/// One thing of a list.
pub trait Entry: PartialEq {
    /// Its id.
    fn id(&self) -> &RemoteId;

    /// The memory that it takes, in bytes. It need not be exact, but no text may be left out.
    fn bytes(&self) -> usize;
}

/// One page: a `ListResponse` (RFC 7644, section 3.4.2) that came with 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// `totalResults`
    pub total: u64,
    /// `Resources`
    pub entries: Vec<T>,
}

/// Why an answer is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum PageFault {
    /// No answer came, or one with another status than 200.
    #[error("a request for a page failed")]
    Failed,
    /// The body is larger than the bound.
    #[error("a page is too large")]
    TooLarge,
    /// The body is not the JSON of a list.
    #[error("an answer is not a SCIM list")]
    NotAList,
    /// The list does not say how many entries there are.
    #[error("a list has no usable totalResults")]
    NoTotal,
    /// The list holds more entries than anybody would send in one page.
    #[error("a page has too many entries")]
    TooManyEntries,
    /// An entry has no id, or one that cannot be used.
    #[error("an entry has no usable id")]
    NoId,
    /// An entry gives one of its fields twice.
    #[error("an entry gives a field twice")]
    FieldTwice,
    /// A group lists more members than can be kept.
    #[error("a group has too many members")]
    TooManyMembers,
}

/// Why the directory is not known in full. Then nothing is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Incomplete {
    /// Nothing was read yet.
    #[error("the directory was not read yet")]
    NotRead,
    /// An answer is no page.
    #[error("{0}")]
    Page(PageFault),
    /// One page has one id twice.
    #[error("a page lists an id twice")]
    IdTwice,
    /// Two pages show one id with different content.
    #[error("two pages differ about one entry")]
    Conflict,
    /// `totalResults` changed between two pages.
    #[error("totalResults changed while the list was read")]
    TotalChanged,
    /// More ids came than `totalResults` allows.
    #[error("the list has more entries than totalResults says")]
    MoreThanTotal,
    /// The list ended before there were as many ids as `totalResults` says.
    #[error("the list has fewer entries than totalResults says")]
    FewerThanTotal,
    /// The server answers a later index with what came before.
    #[error("the server repeats a page instead of sending the next one")]
    PageRepeats,
    /// There are more entries than can be kept.
    #[error("the list has too many entries")]
    TooManyEntries,
    /// The entries take more memory than can be kept.
    #[error("the list is too large")]
    TooLarge,
    /// Other directories take the memory of the process.
    #[error("other directories take the operator's memory now")]
    NoRoom,
    /// The list did not end within the bound of requests.
    #[error("the list does not end")]
    Endless,
    /// There were users before, and none now.
    #[error("the directory had users, and shows none")]
    UsersVanished,
    /// There were groups before, and none now.
    #[error("the directory had groups, and shows none")]
    GroupsVanished,
    /// More users are missing than may be suspended in an hour. Three reads in a row have to agree about that.
    #[error("many users are missing, and fewer than three reads agree about it")]
    ManyMissing,
    /// Of all that was there before, nothing is there. No number of reads makes that believed.
    #[error("nothing that was there before is there: this may be another bridge")]
    NothingFamiliar,
}

/// The request for one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// `startIndex`, from 1.
    pub start_index: u64,
    /// `count`
    pub count: u32,
}

/// A list that is being read.
pub struct Walk<T> {
    entries: Vec<T>,
    places: HashMap<RemoteId, usize>,
    total: Option<u64>,
    /// The memory that further entries may take.
    room: usize,
    /// Entries that came in this round, known or new: the server's own count of its pages may be wrong.
    received: u64,
    count: u32,
    requests: u32,
    rounds: u32,
    /// Whether a page came with entries of both kinds: the order is not the same from request to request.
    is_shuffled: bool,
    /// Whether all that should be there was there before this request.
    is_full: bool,
}

/// What an answer leads to.
#[derive(Debug)]
pub enum Progress<T> {
    /// Ask for another page.
    More(Walk<T>),
    /// All is there.
    Complete(Listing<T>),
    /// Nobody can know the whole list.
    Incomplete(Incomplete),
}

/// A complete list, in the order of the ids. Only a [`Walk`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T>(Vec<T>);

// === impl Incomplete ===

impl Incomplete {
    /// Every cause.
    pub fn all() -> impl Iterator<Item = Self> {
        iter::successors(Some(Self::NotRead), |cause| cause.next())
    }

    /// The cause after this one. A match, so that the compiler names a cause that has no place here.
    const fn next(self) -> Option<Self> {
        let next = match self {
            Self::NotRead => Self::Page(PageFault::Failed),
            Self::Page(PageFault::Failed) => Self::Page(PageFault::TooLarge),
            Self::Page(PageFault::TooLarge) => Self::Page(PageFault::NotAList),
            Self::Page(PageFault::NotAList) => Self::Page(PageFault::NoTotal),
            Self::Page(PageFault::NoTotal) => Self::Page(PageFault::TooManyEntries),
            Self::Page(PageFault::TooManyEntries) => Self::Page(PageFault::NoId),
            Self::Page(PageFault::NoId) => Self::Page(PageFault::FieldTwice),
            Self::Page(PageFault::FieldTwice) => Self::Page(PageFault::TooManyMembers),
            Self::Page(PageFault::TooManyMembers) => Self::IdTwice,
            Self::IdTwice => Self::Conflict,
            Self::Conflict => Self::TotalChanged,
            Self::TotalChanged => Self::MoreThanTotal,
            Self::MoreThanTotal => Self::FewerThanTotal,
            Self::FewerThanTotal => Self::PageRepeats,
            Self::PageRepeats => Self::TooManyEntries,
            Self::TooManyEntries => Self::TooLarge,
            Self::TooLarge => Self::NoRoom,
            Self::NoRoom => Self::Endless,
            Self::Endless => Self::UsersVanished,
            Self::UsersVanished => Self::GroupsVanished,
            Self::GroupsVanished => Self::ManyMissing,
            Self::ManyMissing => Self::NothingFamiliar,
            Self::NothingFamiliar => return None,
        };
        Some(next)
    }

    /// A name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotRead => "not_read",
            Self::Page(PageFault::Failed) => "page_failed",
            Self::Page(PageFault::TooLarge) => "page_too_large",
            Self::Page(PageFault::NotAList) => "page_not_a_list",
            Self::Page(PageFault::NoTotal) => "page_no_total",
            Self::Page(PageFault::TooManyEntries) => "page_too_many_entries",
            Self::Page(PageFault::NoId) => "page_no_id",
            Self::Page(PageFault::FieldTwice) => "page_field_twice",
            Self::Page(PageFault::TooManyMembers) => "page_too_many_members",
            Self::IdTwice => "id_twice",
            Self::Conflict => "conflict",
            Self::TotalChanged => "total_changed",
            Self::MoreThanTotal => "more_than_total",
            Self::FewerThanTotal => "fewer_than_total",
            Self::PageRepeats => "page_repeats",
            Self::TooManyEntries => "too_many_entries",
            Self::TooLarge => "too_large",
            Self::NoRoom => "no_room",
            Self::Endless => "endless",
            Self::UsersVanished => "users_vanished",
            Self::GroupsVanished => "groups_vanished",
            Self::ManyMissing => "many_missing",
            Self::NothingFamiliar => "nothing_familiar",
        }
    }

    /// The same name as the reason of condition `DirectoryIncomplete`.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotRead => "NotRead",
            Self::Page(PageFault::Failed) => "PageFailed",
            Self::Page(PageFault::TooLarge) => "PageTooLarge",
            Self::Page(PageFault::NotAList) => "PageNotAList",
            Self::Page(PageFault::NoTotal) => "PageNoTotal",
            Self::Page(PageFault::TooManyEntries) => "PageTooManyEntries",
            Self::Page(PageFault::NoId) => "PageNoId",
            Self::Page(PageFault::FieldTwice) => "PageFieldTwice",
            Self::Page(PageFault::TooManyMembers) => "PageTooManyMembers",
            Self::IdTwice => "IdTwice",
            Self::Conflict => "Conflict",
            Self::TotalChanged => "TotalChanged",
            Self::MoreThanTotal => "MoreThanTotal",
            Self::FewerThanTotal => "FewerThanTotal",
            Self::PageRepeats => "PageRepeats",
            Self::TooManyEntries => "TooManyEntries",
            Self::TooLarge => "TooLarge",
            Self::NoRoom => "NoRoom",
            Self::Endless => "Endless",
            Self::UsersVanished => "UsersVanished",
            Self::GroupsVanished => "GroupsVanished",
            Self::ManyMissing => "ManyMissing",
            Self::NothingFamiliar => "NothingFamiliar",
        }
    }
}

// === impl Walk ===

impl<T: Entry> Walk<T> {
    /// Begins at the first entry.
    #[must_use]
    pub fn new() -> Self {
        Self::within(MAX_BYTES)
    }

    /// Begins at the first entry. All entries may take so much memory, in bytes.
    #[must_use]
    pub fn within(room: usize) -> Self {
        Self {
            entries: Vec::new(),
            places: HashMap::new(),
            total: None,
            room,
            received: 0,
            count: PAGE,
            requests: 0,
            rounds: 1,
            is_shuffled: false,
            is_full: false,
        }
    }

    /// The memory that further entries may take, in bytes.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.room
    }

    /// The page to ask for.
    #[must_use]
    pub const fn ask(&self) -> Ask {
        Ask {
            start_index: self.received + 1,
            count: self.count,
        }
    }

    /// Takes the answer to [`Self::ask`].
    #[must_use]
    pub fn feed(mut self, answer: Result<Page<T>, PageFault>) -> Progress<T> {
        self.requests += 1;
        let step = match answer {
            Ok(page) => self.take(page),
            // A group with thousands of members fills a page by itself.
            Err(PageFault::TooLarge) if self.count > 1 => {
                self.count /= 2;
                Ok(false)
            }
            Err(fault) => Err(Incomplete::Page(fault)),
        };
        match step {
            Err(reason) => Progress::Incomplete(reason),
            Ok(true) => Progress::Complete(Listing::of(self.entries)),
            Ok(false) if self.requests >= MAX_REQUESTS => Progress::Incomplete(Incomplete::Endless),
            Ok(false) => Progress::More(self),
        }
    }

    /// Whether all is there now.
    fn take(&mut self, page: Page<T>) -> Result<bool, Incomplete> {
        let Page { total, entries } = page;
        if *self.total.get_or_insert(total) != total {
            return Err(Incomplete::TotalChanged);
        }
        let wanted = usize::try_from(total)
            .ok()
            .filter(|wanted| *wanted <= MAX_ENTRIES)
            .ok_or(Incomplete::TooManyEntries)?;
        let (length, before) = (entries.len(), self.entries.len());
        for entry in entries {
            self.add(entry, before)?;
        }
        let new = self.entries.len() - before;
        if self.entries.len() > wanted {
            return Err(Incomplete::MoreThanTotal);
        }
        self.received += length as u64;
        self.is_shuffled |= new > 0 && new < length;
        if self.entries.len() == wanted {
            // One request beyond the end, or once more for an empty list, has to bring nothing.
            return Ok(std::mem::replace(&mut self.is_full, true) && new == 0);
        }
        if new > 0 {
            return Ok(false);
        }
        if self.is_shuffled && length > 0 && self.received < total {
            return Ok(false);
        }
        if self.is_shuffled && self.rounds < MAX_ROUNDS {
            self.rounds += 1;
            self.received = 0;
            return Ok(false);
        }
        Err(if length == 0 {
            Incomplete::FewerThanTotal
        } else {
            Incomplete::PageRepeats
        })
    }

    /// Takes one entry of a page. `before` is how many there were before the page.
    fn add(&mut self, entry: T, before: usize) -> Result<(), Incomplete> {
        let place = self.entries.len();
        match self.places.get(entry.id()) {
            Some(known) if *known >= before => Err(Incomplete::IdTwice),
            Some(known) => match self.entries.get(*known) {
                Some(same) if *same == entry => Ok(()),
                Some(_) | None => Err(Incomplete::Conflict),
            },
            None => {
                let room = self.room.checked_sub(entry.bytes());
                self.room = room.ok_or(Incomplete::TooLarge)?;
                self.places.insert(entry.id().clone(), place);
                self.entries.push(entry);
                Ok(())
            }
        }
    }
}

impl<T: Entry> Default for Walk<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Walk<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Walk({} entries, {} requests)",
            self.entries.len(),
            self.requests
        )
    }
}

// === impl Listing ===

impl<T: Entry> Listing<T> {
    fn of(mut entries: Vec<T>) -> Self {
        entries.sort_by(|a, b| a.id().cmp(b.id()));
        entries.shrink_to_fit();
        Self(entries)
    }

    /// The entries, in the order of their ids.
    #[must_use]
    pub fn entries(&self) -> &[T] {
        &self.0
    }

    /// The entries, in the order of their ids.
    #[must_use]
    pub fn into_entries(self) -> Vec<T> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Thing(RemoteId, u8);

    impl Entry for Thing {
        fn id(&self) -> &RemoteId {
            &self.0
        }

        /// A capital letter is a large thing.
        fn bytes(&self) -> usize {
            usize::from(self.1) * MAX_BYTES / 2
        }
    }

    fn things(ids: &str) -> Vec<Thing> {
        ids.chars()
            .map(|c| {
                Thing(
                    RemoteId::parse(&c.to_ascii_lowercase().to_string()).unwrap(),
                    u8::from(c.is_uppercase()),
                )
            })
            .collect()
    }

    /// Answers: `3:ab` is a page of a and b of three in all, `!` a failure, `L` a page that is too large.
    fn answer(text: &str) -> Result<Page<Thing>, PageFault> {
        match text.split_once(':') {
            Some((total, ids)) => Ok(Page {
                total: total
                    .bytes()
                    .fold(0, |total, digit| total * 10 + u64::from(digit - b'0')),
                entries: things(ids),
            }),
            None if text == "L" => Err(PageFault::TooLarge),
            None => Err(PageFault::Failed),
        }
    }

    /// The ids of a complete list, or why it is none, and the indexes that were asked for. The last answer repeats.
    fn walk(answers: &str) -> (String, Vec<u64>) {
        let mut walk = Walk::new();
        let mut asked = Vec::new();
        let answers: Vec<_> = answers.split(' ').collect();
        let mut number = 0;
        loop {
            asked.push(walk.ask().start_index);
            number += 1;
            let text = answers.get(number - 1).unwrap_or_else(|| answers.last().unwrap());
            match walk.feed(answer(text)) {
                Progress::More(more) => walk = more,
                Progress::Complete(list) => {
                    let ids = list
                        .into_entries()
                        .iter()
                        .map(|thing| thing.id().as_str().to_owned())
                        .collect();
                    return (ids, asked);
                }
                Progress::Incomplete(reason) => return (reason.as_str().to_owned(), asked),
            }
        }
    }

    #[test]
    fn a_cause_has_one_name() {
        for cause in Incomplete::all() {
            let camel: String = cause
                .as_str()
                .split('_')
                .map(|word| word[..1].to_uppercase() + &word[1..])
                .collect();
            assert_eq!(cause.reason(), camel);
        }
    }

    #[test]
    fn lists() {
        for (answers, expected, asked) in [
            ("3:ab 3:c 3:", "abc", &[1, 3, 4][..]),
            ("3:cab 3:", "abc", &[1, 4]),
            ("0: 0:", "", &[1, 1]),
            // Every index is answered with the same page, and beyond the end with the last one: both are all there is.
            ("2:ab", "ab", &[1, 3]),
            ("3:ab 3:c 3:c", "abc", &[1, 3, 4]),
            ("4:ab 4:ab", "page_repeats", &[1, 3]),
            // The size of the page as the total.
            ("2:ab 2:cd", "more_than_total", &[1, 3]),
            ("2:ab 4:cd", "total_changed", &[1, 3]),
            ("2:ab 3:", "total_changed", &[1, 3]),
            ("3:ab 3:", "fewer_than_total", &[1, 3]),
            ("3:", "fewer_than_total", &[1]),
            ("0: 1:a", "total_changed", &[1, 1]),
            ("0:a", "more_than_total", &[1]),
            ("2:aa", "id_twice", &[1]),
            ("3:ab 3:cc", "id_twice", &[1, 3]),
            // `A` is a with other content.
            ("3:ab 3:Ac", "conflict", &[1, 3]),
            ("!", "page_failed", &[1]),
            ("3:ab !", "page_failed", &[1, 3]),
            ("2:ab !", "page_failed", &[1, 3]),
            ("200001:a", "too_many_entries", &[1]),
            ("3:AB 3:c 3:", "abc", &[1, 3, 4]),
            ("4:AB 4:Cd", "too_large", &[1, 3]),
            // Known entries take nothing.
            ("2:AB", "ab", &[1, 3]),
            // A page in halves.
            ("L 2:a 2:b 2:", "ab", &[1, 1, 2, 3]),
            ("L", "page_too_large", &[1; 7]),
            // The order changes from page to page: again from the beginning.
            ("4:ab 4:bc 4: 4:cd 4:", "abcd", &[1, 3, 5, 1, 3]),
            ("4:ab 4:bc 4: 4:ab 4:da 4:", "abcd", &[1, 3, 5, 1, 3, 5]),
        ] {
            assert_eq!(walk(answers), (expected.to_owned(), asked.to_vec()), "{answers}");
        }
    }

    #[test]
    fn patience_has_an_end() {
        for (answers, expected) in [
            ("4:ab 4:bc 4:ab", "page_repeats"),
            ("4:ab 4:bc 4:", "fewer_than_total"),
        ] {
            let (reason, asked) = walk(answers);
            let rounds = asked.iter().filter(|index| **index == 1).count();
            assert_eq!(
                (reason.as_str(), rounds),
                (expected, MAX_ROUNDS as usize),
                "{answers}"
            );
        }
    }

    #[test]
    fn a_list_that_never_ends_is_given_up() {
        let mut walk = Walk::new();
        for number in 0_u32.. {
            let entry = Thing(RemoteId::parse(&number.to_string()).unwrap(), 0);
            match walk.feed(Ok(Page {
                total: 150_000,
                entries: vec![entry],
            })) {
                Progress::More(more) => walk = more,
                Progress::Complete(_) => panic!("complete"),
                Progress::Incomplete(reason) => {
                    assert_eq!((reason, number + 1), (Incomplete::Endless, MAX_REQUESTS));
                    break;
                }
            }
        }
    }
}
