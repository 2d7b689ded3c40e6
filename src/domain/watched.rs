//! Objects that are watched as metadata, and whether what a watch reports is news.

use crate::api::connection::ObjectVersion;

/// What is known of an object that is watched as metadata only.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Seen {
    /// Nothing (yet): no ground to act.
    #[default]
    Unknown,
    /// It does not exist: it is in no list.
    Absent,
    /// It was deleted, in this resource version.
    Deleted(Box<str>),
    /// It exists in this version.
    Present(Version),
}

/// The version of an object, as it is kept: thousands of them lie in memory, so UID and resource version are one piece
/// of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(Box<str>);

/// One of the objects that a connection refers to.
#[derive(Clone, Copy, Debug)]
pub struct Dependency<'a> {
    /// The version that the status is about; `None` where there was no object.
    pub judged: Option<&'a Version>,
    /// The newest version known.
    pub seen: &'a Seen,
    /// The newest version that was known when the last pass began: it is behind what that pass read itself, and so no
    /// news.
    pub seen_before: &'a Seen,
}

// === impl Dependency ===

impl Dependency<'_> {
    /// Whether what was seen last is a change that no verdict is about.
    #[must_use]
    pub fn is_news(&self) -> bool {
        let differs = match self.seen {
            Seen::Unknown => false,
            Seen::Absent => self.judged.is_some(),
            // A watch may lag behind what a pass has read by itself: what was deleted may be there again.
            Seen::Deleted(version) => self
                .judged
                .is_some_and(|judged| !is_older(version, judged.resource_version())),
            Seen::Present(version) => self.judged.is_none_or(|judged| {
                judged != version && !is_older(version.resource_version(), judged.resource_version())
            }),
        };
        differs && self.seen != self.seen_before
    }
}

// === impl Version ===

impl Version {
    /// `metadata.resourceVersion`
    #[must_use]
    pub fn resource_version(&self) -> &str {
        self.parts().0
    }

    /// `metadata.uid`
    #[must_use]
    pub fn uid(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once(Self::BETWEEN).unwrap_or_default()
    }

    /// Neither part has one.
    const BETWEEN: char = ' ';
}

impl From<&ObjectVersion> for Version {
    fn from(version: &ObjectVersion) -> Self {
        let ObjectVersion {
            uid,
            resource_version,
        } = version;
        Self(format!("{resource_version}{}{uid}", Self::BETWEEN).into())
    }
}

impl From<ObjectVersion> for Version {
    fn from(version: ObjectVersion) -> Self {
        Self::from(&version)
    }
}

impl From<&Version> for ObjectVersion {
    fn from(version: &Version) -> Self {
        Self {
            uid: version.uid().to_owned(),
            resource_version: version.resource_version().to_owned(),
        }
    }
}

/// Whether a resource version is older than another of the same resource: they may be compared as numbers, also of
/// different objects. False where they are none.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
#[must_use]
pub fn is_older(version: &str, than: &str) -> bool {
    matches!((version.parse::<u128>(), than.parse::<u128>()), (Ok(a), Ok(b)) if a < b)
}
