//! Which names may be written, and which never: globs such as `*@example.com`.
//!
//! The two lists err in opposite directions. A name is in the scope only where its very characters match, in any ASCII
//! case. A name is protected where any spelling of it matches ([`skeleton`]).

use std::{collections::HashSet, fmt};

use super::names::{NameFault, ascii_lower, fold, is_invisible, skeleton};

/// The most patterns in one list.
pub const MAX_PATTERNS: usize = 256;

/// The longest pattern, in bytes.
pub const MAX_PATTERN: usize = 256;

/// Where the operator may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    user_names: Patterns,
    groups: Patterns,
}

/// Who is never suspended, renamed or removed from a group, and which groups are never written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protected {
    user_names: Patterns,
    groups: Patterns,
}

/// Why patterns cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidPatterns {
    /// More than the bound.
    #[error("more than 256 patterns")]
    TooMany,
    /// A pattern that no name can have.
    #[error("a pattern that {0}")]
    Pattern(NameFault),
    /// A scope has to be said. Everything is `["*"]`.
    #[error("no pattern: write [\"*\"] for everything")]
    NoScope,
    /// At least one user has to be protected.
    #[error("no user name: name at least one owner of the account")]
    NobodyProtected,
}

/// How a `*` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Star {
    /// It stops at an `@`, so that `*@example.com` is one person's address there. Alone, it is everything.
    WithinPart,
    /// It is any text.
    Anything,
}

/// How names and patterns are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// By their characters, in any ASCII case.
    Exact,
    /// In every spelling that a server may take for the same.
    Any,
}

/// One list. Names without a `*` are looked up; the others are tried one by one.
#[derive(Clone, PartialEq, Eq)]
struct Patterns {
    exact: HashSet<Box<str>>,
    globs: Vec<Glob>,
    is_everything: bool,
    star: Star,
    spelling: Spelling,
}

/// A pattern with a `*`. Nearly all have one, at one end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Glob {
    /// `*@example.com`
    Ending(Box<str>),
    /// `k8s-*`
    Beginning(Box<str>),
    /// Any other.
    Other(Box<str>),
}

// === impl Scope ===

impl Scope {
    /// Reads `spec.provisioning.scope`.
    ///
    /// # Errors
    /// [`InvalidPatterns`] says why the lists cannot be used.
    pub fn parse<S: AsRef<str>>(user_names: &[S], groups: &[S]) -> Result<Self, InvalidPatterns> {
        if user_names.is_empty() && groups.is_empty() {
            return Err(InvalidPatterns::NoScope);
        }
        Ok(Self {
            user_names: Patterns::parse(user_names, Star::WithinPart, Spelling::Exact)?,
            groups: Patterns::parse(groups, Star::Anything, Spelling::Exact)?,
        })
    }

    /// Whether a user of this name may be written.
    #[must_use]
    pub fn has_user(&self, user_name: &str) -> bool {
        self.user_names.matches(user_name)
    }

    /// Whether a group of this name may be written.
    #[must_use]
    pub fn has_group(&self, display_name: &str) -> bool {
        self.groups.matches(display_name)
    }

    /// Whether every user is in the scope. A provider that pushes must not be fought, so `Manage` needs less than that.
    #[must_use]
    pub const fn is_everybody(&self) -> bool {
        self.user_names.is_everything
    }
}

// === impl Protected ===

impl Protected {
    /// Reads `spec.provisioning.protected`.
    ///
    /// # Errors
    /// [`InvalidPatterns`] says why the lists cannot be used.
    pub fn parse<S: AsRef<str>>(user_names: &[S], groups: &[S]) -> Result<Self, InvalidPatterns> {
        if user_names.is_empty() {
            return Err(InvalidPatterns::NobodyProtected);
        }
        Ok(Self {
            user_names: Patterns::parse(user_names, Star::Anything, Spelling::Any)?,
            groups: Patterns::parse(groups, Star::Anything, Spelling::Any)?,
        })
    }

    /// Whether a user of this name is protected.
    #[must_use]
    pub fn has_user(&self, user_name: &str) -> bool {
        self.user_names.matches(user_name)
    }

    /// Whether a group of this name is protected.
    #[must_use]
    pub fn has_group(&self, display_name: &str) -> bool {
        self.groups.matches(display_name)
    }
}

// === impl Patterns ===

impl Patterns {
    fn parse<S: AsRef<str>>(texts: &[S], star: Star, spelling: Spelling) -> Result<Self, InvalidPatterns> {
        if texts.len() > MAX_PATTERNS {
            return Err(InvalidPatterns::TooMany);
        }
        let mut patterns = Self {
            exact: HashSet::new(),
            globs: Vec::new(),
            is_everything: false,
            star,
            spelling,
        };
        for text in texts.iter().map(AsRef::as_ref) {
            let fault = if text.is_empty() {
                Some(NameFault::Empty)
            } else if text.len() > MAX_PATTERN {
                Some(NameFault::TooLong)
            } else if text.contains(is_invisible) {
                Some(NameFault::Invisible)
            } else if text.trim() != text {
                Some(NameFault::Blank)
            } else {
                None
            };
            if let Some(fault) = fault {
                return Err(InvalidPatterns::Pattern(fault));
            }
            if text.bytes().all(|byte| byte == b'*') {
                patterns.is_everything = true;
            }
            for spelled in spelling.of_pattern(text) {
                if spelled.contains('*') {
                    patterns.globs.push(Glob::new(&spelled));
                } else {
                    patterns.exact.insert(spelled);
                }
            }
        }
        patterns.globs.sort();
        patterns.globs.dedup();
        Ok(patterns)
    }

    fn matches(&self, name: &str) -> bool {
        self.is_everything
            || match self.spelling {
                Spelling::Exact => self.has(&ascii_lower(name)),
                Spelling::Any => self.has(&skeleton(name)) || (!name.is_ascii() && self.has(&fold(name))),
            }
    }

    /// Whether a pattern matches this text as it is.
    fn has(&self, text: &str) -> bool {
        (!self.exact.is_empty() && self.exact.contains(text))
            || self.globs.iter().any(|glob| glob.matches(text, self.star))
    }
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} patterns", self.exact.len() + self.globs.len())
    }
}

// === impl Glob ===

impl Glob {
    fn new(pattern: &str) -> Self {
        if let Some(ending) = pattern.strip_prefix('*').filter(|rest| !rest.contains('*')) {
            Self::Ending(ending.into())
        } else if let Some(beginning) = pattern.strip_suffix('*').filter(|rest| !rest.contains('*')) {
            Self::Beginning(beginning.into())
        } else {
            Self::Other(pattern.into())
        }
    }

    fn matches(&self, text: &str, star: Star) -> bool {
        let rest = match self {
            Self::Ending(ending) => text.strip_suffix(&**ending),
            Self::Beginning(beginning) => text.strip_prefix(&**beginning),
            Self::Other(pattern) => return is_match(pattern.as_bytes(), text.as_bytes(), star),
        };
        rest.is_some_and(|rest| star == Star::Anything || !rest.contains('@'))
    }
}

// === impl Spelling ===

impl Spelling {
    /// The texts with which names are compared.
    fn of_pattern(self, text: &str) -> Vec<Box<str>> {
        match self {
            Self::Exact => vec![text.to_ascii_lowercase().into()],
            Self::Any if text.is_ascii() => vec![skeleton(text).into()],
            Self::Any => vec![skeleton(text).into(), fold(text).into()],
        }
    }
}

/// Whether a glob matches all of a text. Each `*` takes as little as it can, and more only where the rest does not fit.
/// That takes at most as many steps as pattern times text.
fn is_match(pattern: &[u8], text: &[u8], star: Star) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut last: Option<(usize, usize)> = None;
    while let Some(&byte) = text.get(t) {
        if pattern.get(p) == Some(&b'*') {
            last = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&byte) {
            p += 1;
            t += 1;
        } else if let Some((at, taken)) = last {
            if star == Star::WithinPart && text.get(taken) == Some(&b'@') {
                return false;
            }
            last = Some((at, taken + 1));
            p = at + 1;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern
        .get(p..)
        .is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_scope() {
        for (pattern, name, is_in) in [
            ("*@example.com", "ada@example.com", true),
            ("*@example.com", "ADA@Example.Com", true),
            ("*@EXAMPLE.COM", "ada@example.com", true),
            ("*@example.com", "@example.com", true),
            ("*@example.com", "ada@example.org", false),
            ("*@example.com", "ada@example.com.example.org", false),
            ("*@example.com", "ada@evil-example.com", false),
            ("*@example.com", "ada@sub.example.com", false),
            // One address holds another: not an address there.
            ("*@example.com", "ada@example.org@example.com", false),
            ("ada@*", "ada@example.com", true),
            ("ada@*", "ada@example.com@example.org", false),
            ("*@*.example.com", "ada@sub.example.com", true),
            ("*-contractor@example.com", "ada-contractor@example.com", true),
            ("a*a*a@example.com", "aaa@example.com", true),
            ("a*a*a@example.com", "aa@example.com", false),
            ("ada@example.com", "ada@example.com", true),
            ("*", "ada@example.com", true),
            ("**", "ada@example.com@example.org", true),
            // What only looks like it, or normalises to it, is not in the scope.
            ("*@example.com", "ada@example\u{ff0e}com", false),
            ("*@example.com", "ada@\u{ff45}xample.com", false),
            ("*@mail.example", "ada@ma\u{131}l.example", false),
            ("*@example.com", "ada@example.com\u{200b}", false),
            ("*@example.com", "ada@example.com ", false),
            ("*@bücher.example", "ada@bücher.example", true),
            // `?` and brackets are characters.
            ("ad?@example.com", "ada@example.com", false),
        ] {
            let scope = Scope::parse(&[pattern], &[]).unwrap();
            assert_eq!(scope.has_user(name), is_in, "{pattern} {name:?}");
            assert!(!scope.has_group(name));
        }
        let groups = Scope::parse(&[], &["k8s-*", "Vault"]).unwrap();
        for (name, is_in) in [
            ("k8s-admins", true),
            ("K8S-a@b", true),
            ("vault", true),
            ("vaults", false),
            ("my k8s-admins", false),
            ("", false),
        ] {
            assert_eq!(groups.has_group(name), is_in, "{name}");
        }
    }

    #[test]
    fn what_is_protected() {
        for (pattern, name, is_protected) in [
            ("owner@example.com", "owner@example.com", true),
            ("owner@example.com", "OWNER@EXAMPLE.COM", true),
            ("owner@example.com", " owner@example.com", true),
            ("owner@example.com", "o\u{200b}wner@example.com", true),
            ("owner@example.com", "\u{ff4f}wner@example.com", true),
            ("owner@example.com", "owner@example.com.", true),
            ("\u{ff4f}wner@example.com", "owner@example.com", true),
            ("*@bücher.example", "kim@xn--bcher-kva.example", true),
            ("*@xn--bcher-kva.example", "kim@BÜCHER.example", true),
            ("root*@example.com", "ROOT-1@example.com", true),
            ("*@admin.example", "a@b@admin.example", true),
            ("admin@example.com", "adm\u{131}n@example.com", true),
            ("admin@example.com", "ADM\u{130}N@example.com", true),
            ("owner@example.com", "ada@example.com", false),
            ("owner@example.com", "owner@example.org", false),
            ("*", "anybody", true),
        ] {
            let protected = Protected::parse(&[pattern], &[]).unwrap();
            assert_eq!(protected.has_user(name), is_protected, "{pattern:?} {name:?}");
        }
        let protected = Protected::parse(&["owner@example.com"], &["Owners", "Team *"]).unwrap();
        for (name, is_protected) in [
            ("owners", true),
            ("Ｏwners", true),
            ("Owner\u{17f}", true),
            ("O\u{2060}wners", true),
            ("team  members", true),
            ("Admins", false),
        ] {
            assert_eq!(protected.has_group(name), is_protected, "{name:?}");
        }
    }

    #[test]
    fn lists_that_cannot_be_used() {
        let many = vec!["a".to_owned(); 257];
        let long = ["a".repeat(257)];
        assert_eq!(Scope::parse::<&str>(&[], &[]), Err(InvalidPatterns::NoScope));
        assert_eq!(
            Protected::parse(&[], &["Owners"]),
            Err(InvalidPatterns::NobodyProtected)
        );
        for (list, fault) in [
            (&many[..], InvalidPatterns::TooMany),
            (&long[..], InvalidPatterns::Pattern(NameFault::TooLong)),
            (&[String::new()], InvalidPatterns::Pattern(NameFault::Empty)),
            (&[" a".to_owned()], InvalidPatterns::Pattern(NameFault::Blank)),
            (
                &["a\u{200b}".to_owned()],
                InvalidPatterns::Pattern(NameFault::Invisible),
            ),
        ] {
            assert_eq!(Scope::parse(list, &[]), Err(fault));
            assert_eq!(Protected::parse(list, &[]), Err(fault));
        }
    }

    #[test]
    fn everybody_has_to_be_said() {
        assert!(Scope::parse(&["*"], &[]).unwrap().is_everybody());
        assert!(!Scope::parse(&["*@example.com"], &["*"]).unwrap().is_everybody());
    }

    #[test]
    fn the_short_ways_to_match_are_the_long_way() {
        let texts = ["", "a", "b", "@", "ab", "a@b", "a@a@b", "ba", "aab", "b@a"];
        for pattern in ["*", "*a", "a*", "*@b", "a@*", "*b*", "a*b", "*ab"] {
            for text in texts {
                for star in [Star::WithinPart, Star::Anything] {
                    assert_eq!(
                        Glob::new(pattern).matches(text, star),
                        is_match(pattern.as_bytes(), text.as_bytes(), star),
                        "{pattern} {text} {star:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_pattern_costs_no_more_than_its_length_times_that_of_the_name() {
        let pattern = "*a".repeat(127);
        let scope = Scope::parse(&[&pattern], &[]).unwrap();
        assert!(!scope.has_user(&format!("{}b", "a".repeat(100_000))));
    }
}
