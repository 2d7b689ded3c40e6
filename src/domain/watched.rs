//! Whether a watch report about a Secret or CA object is news.
//!
//! A reconcile reads objects itself, and a watch may report them late, twice or never. So a report is news only if no
//! verdict covers that version, and no later reconcile has read the object.

use crate::api::connection::ObjectVersion;

/// What the watch has reported about an object. It watches metadata only.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Seen {
    /// Nothing is known yet: no reason to act.
    #[default]
    Unknown,
    /// It does not exist: no list has it.
    Absent,
    /// It was deleted in this resource version.
    Deleted(Box<str>),
    /// It exists in this version.
    Present(Version),
}

/// The version of an object. Thousands are in memory, so UID and resource version share one allocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(Box<str>);

/// One of the objects that a connection refers to.
#[derive(Clone, Copy, Debug)]
pub struct Watched<'a> {
    /// The version that the status is about; `None` if there was no object.
    pub judged: Option<&'a Version>,
    /// What the watch knows now.
    pub seen: &'a Seen,
    /// What the watch knew when the last reconcile began. That reconcile read the object later, so this is no news.
    pub seen_before: &'a Seen,
}

// === impl Watched ===

impl Watched<'_> {
    /// Whether the watch reports a change that no verdict is about.
    #[must_use]
    pub fn is_news(&self) -> bool {
        let differs = match self.seen {
            Seen::Unknown => false,
            Seen::Absent => self.judged.is_some(),
            // A watch may lag behind a reconcile: the deleted object may exist again.
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

// === impl Seen ===

impl Seen {
    /// The version that exists. A read may return it, or a newer one.
    #[must_use]
    pub const fn version(&self) -> Option<&Version> {
        match self {
            Self::Present(version) => Some(version),
            Self::Unknown | Self::Absent | Self::Deleted(_) => None,
        }
    }

    /// Notes that a reconcile has read this version. It counts only if the watch has reported nothing: for an object that
    /// existed before any connection referenced it, no report comes.
    pub fn note_read(&mut self, version: &Version) {
        if *self == Self::Unknown {
            *self = Self::Present(version.clone());
        }
    }

    /// Whether a verdict about the version `read` covers what the watch reported. Then nothing needs to be remembered.
    #[must_use]
    pub fn is_judged_by(&self, read: Option<&Version>) -> bool {
        match self {
            Self::Unknown => true,
            Self::Present(version) => read == Some(version),
            Self::Absent | Self::Deleted(_) => false,
        }
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

    /// Neither part contains it.
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

/// Whether a resource version is older than another of the same resource. Versions of different objects may be compared
/// too, as numbers. False if one of them is not a number.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
#[must_use]
pub fn is_older(version: &str, than: &str) -> bool {
    matches!((version.parse::<u128>(), than.parse::<u128>()), (Ok(a), Ok(b)) if a < b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: &str) -> Version {
        let (uid, resource_version) = number.split_at(1);
        ObjectVersion {
            uid: uid.to_owned(),
            resource_version: resource_version.to_owned(),
        }
        .into()
    }

    /// `a7` is version 7 of object a, `-7` a deletion in version 7, `none` an absence, `?` nothing known.
    fn seen(text: &str) -> Seen {
        match text {
            "?" => Seen::Unknown,
            "none" => Seen::Absent,
            _ => text.strip_prefix('-').map_or_else(
                || Seen::Present(version(text)),
                |deleted| Seen::Deleted(deleted.into()),
            ),
        }
    }

    #[test]
    fn news() {
        for (judged, seen_before, seen_now, is_news) in [
            // Nothing is known: no reason to act.
            ("a7", "?", "?", false),
            ("none", "?", "?", false),
            // What the verdict is about.
            ("a7", "?", "a7", false),
            ("none", "?", "none", false),
            // A change that no verdict is about.
            ("a7", "a7", "a8", true),
            ("a7", "?", "a8", true),
            ("none", "none", "a8", true),
            ("a7", "a7", "none", true),
            ("a7", "a7", "-8", true),
            // The watch lags behind the reconcile.
            ("a7", "?", "a6", false),
            ("b9", "?", "a7", false),
            ("a7", "?", "-6", false),
            ("none", "?", "-6", false),
            // Deleted and created again: another object, and a later version.
            ("a7", "a7", "b9", true),
            // Versions that are not numbers have no order: any other one is news.
            ("ax", "?", "ay", true),
            // Known when the reconcile began, and it read the object later.
            ("a7", "a8", "a8", false),
            ("a7", "none", "none", false),
            ("none", "a8", "a8", false),
            ("a7", "-8", "-8", false),
        ] {
            let judged = Some(judged).filter(|text| *text != "none").map(version);
            let watched = Watched {
                judged: judged.as_ref(),
                seen: &seen(seen_now),
                seen_before: &seen(seen_before),
            };
            assert_eq!(watched.is_news(), is_news, "{watched:?}");
        }
    }

    #[test]
    fn a_read_counts_where_the_watch_has_reported_nothing() {
        for (before, after) in [
            ("?", "a7"),
            ("a6", "a6"),
            ("a8", "a8"),
            ("none", "none"),
            ("-6", "-6"),
        ] {
            let mut known = seen(before);
            known.note_read(&version("a7"));
            assert_eq!(known, seen(after), "{before}");
        }
    }

    #[test]
    fn what_a_verdict_is_about_need_not_be_remembered() {
        for (before, read, is_judged) in [
            ("?", None, true),
            ("?", Some("a7"), true),
            ("a7", Some("a7"), true),
            ("a7", Some("a8"), false),
            ("a7", None, false),
            ("none", None, false),
            ("-7", Some("a8"), false),
        ] {
            let read = read.map(version);
            assert_eq!(
                seen(before).is_judged_by(read.as_ref()),
                is_judged,
                "{before} {read:?}"
            );
        }
    }
}
