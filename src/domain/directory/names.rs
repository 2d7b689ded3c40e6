//! Names and ids: how they are read, compared and hidden.
//!
//! Two comparisons serve two purposes. [`fold`] says that two spellings are one name: few are. [`skeleton`] says that
//! two spellings may be one name to some server: many are. The first finds an account, the second protects one.

use std::{borrow::Cow, fmt};

use icu_normalizer::ComposingNormalizerBorrowed;
use url::Host;

/// The longest id, in bytes. 1Password's have 26.
pub const MAX_ID: usize = 256;

/// The longest user name: the longest address of RFC 5321 (erratum 1690), in bytes.
pub const MAX_USER_NAME: usize = 254;

/// The longest name of a group, and the longest given or family name, in bytes.
pub const MAX_NAME: usize = 256;

const NFC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfc();
const NFKC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfkc();

/// The id that a bridge gave to a user or group: opaque, and compared exactly (RFC 7643, section 3.1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemoteId(Box<str>);

/// The uid of an object in the cluster.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(Box<str>);

/// A user name as somebody wrote it: an address without blanks, invisible characters and compatibility forms.
#[derive(Clone, PartialEq, Eq)]
pub struct UserName(Box<str>);

/// The name of a group, or a given or family name, as somebody wrote it.
#[derive(Clone, PartialEq, Eq)]
pub struct PlainName(Box<str>);

/// Why a name or id cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NameFault {
    /// Nothing is there.
    #[error("is empty")]
    Empty,
    /// It is too long.
    #[error("is too long")]
    TooLong,
    /// It holds characters that nobody sees, or that change what one sees.
    #[error("has a control character or an invisible character")]
    Invisible,
    /// A blank where none may be: anywhere in a user name, at either end of another name.
    #[error("has a blank where none may be")]
    Blank,
    /// A user name without exactly one `@` between two parts.
    #[error("is not an address such as ada@example.com")]
    NotAnAddress,
    /// Unicode has another spelling for it, which a server may take for the same name.
    #[error("is not in the normal form of Unicode")]
    NotNormal,
    /// An id with other characters than visible ASCII.
    #[error("is not an id")]
    NotAnId,
}

// === impl RemoteId ===

impl RemoteId {
    /// Takes an id as a bridge sent it. It becomes part of a path and of a filter, so nothing is taken that could end
    /// either. Only visible ASCII is taken, without quote and backslash, and no segment that means another folder.
    ///
    /// # Errors
    /// [`NameFault`] says why it cannot be used.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        if text.is_empty() {
            return Err(NameFault::Empty);
        }
        if text.len() > MAX_ID {
            return Err(NameFault::TooLong);
        }
        let is_usable = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        if !text.bytes().all(is_usable) || text == "." || text == ".." {
            return Err(NameFault::NotAnId);
        }
        Ok(Self(text.into()))
    }

    /// The id, as the bridge writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RemoteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl ObjectId ===

impl ObjectId {
    /// Takes a uid.
    #[must_use]
    pub fn new(uid: &str) -> Self {
        Self(uid.into())
    }

    /// The uid.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl UserName ===

impl UserName {
    /// Reads a user name of a specification. It has to be an address: the account's e-mail is made of it.
    ///
    /// # Errors
    /// [`NameFault`] says why it cannot be used.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        readable(text, MAX_USER_NAME)?;
        if text.contains(char::is_whitespace) {
            return Err(NameFault::Blank);
        }
        let is_address = text
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
        if !is_address {
            return Err(NameFault::NotAnAddress);
        }
        if !text.is_ascii() && !NFKC.is_normalized(text) {
            return Err(NameFault::NotNormal);
        }
        Ok(Self(text.into()))
    }

    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserName(..)")
    }
}

// === impl PlainName ===

impl PlainName {
    /// Reads a name of a specification.
    ///
    /// # Errors
    /// [`NameFault`] says why it cannot be used.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        readable(text, MAX_NAME)?;
        if text.trim() != text {
            return Err(NameFault::Blank);
        }
        if !text.is_ascii() && !NFC.is_normalized(text) {
            return Err(NameFault::NotNormal);
        }
        Ok(Self(text.into()))
    }

    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PlainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainName(..)")
    }
}

fn readable(text: &str, longest: usize) -> Result<(), NameFault> {
    if text.is_empty() {
        Err(NameFault::Empty)
    } else if text.len() > longest {
        Err(NameFault::TooLong)
    } else if text.contains(is_invisible) {
        Err(NameFault::Invisible)
    } else {
        Ok(())
    }
}

/// Whether two texts are the same name in the same case: canonical equivalents are (a server may store either form).
#[must_use]
pub fn is_same_text(one: &str, other: &str) -> bool {
    one == other || NFC.normalize(one) == NFC.normalize(other)
}

/// The composed form of a name. It is the same name as the given one ([`is_same_text`]), and the form that specifications
/// hold.
#[must_use]
pub fn composed(name: &str) -> Cow<'_, str> {
    NFC.normalize(name)
}

/// The key under which a name is found: without regard to case (RFC 7643, section 4.1.1: userName is not case exact).
/// Letters that only look alike stay apart, so nobody is taken for somebody else.
#[must_use]
pub fn fold(name: &str) -> Cow<'_, str> {
    if name.is_ascii() {
        return ascii_lower(name);
    }
    let lower: String = NFC.normalize(name).chars().flat_map(char::to_lowercase).collect();
    Cow::Owned(NFC.normalize(&lower).into_owned())
}

/// A name in lower case, as far as it is ASCII. Most names are in lower case already, and cost nothing.
#[must_use]
pub fn ascii_lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// A name without everything that some server may ignore. That is case, blanks, invisible characters and compatibility
/// forms. It is also the second spelling of an international domain, and a dot at its end.
#[must_use]
pub fn skeleton(name: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
    let folded: Cow<'_, str> = if name.bytes().all(is_plain) {
        Cow::Borrowed(name)
    } else if name.bytes().all(|byte| byte.is_ascii_graphic()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Owned(caseless(&caseless(name)))
    };
    match folded.rsplit_once('@') {
        Some((local, domain)) if has_spellings(domain) => {
            Cow::Owned(format!("{local}@{}", one_domain(domain)))
        }
        Some(_) | None => folded,
    }
}

/// One round of NFKC and of case folding, character by character: no letter's case depends on its neighbours then.
/// Upper case first: `ß` and `SS`, `ſ` and `s`, `ς` and `σ`, `ı` and `i` become one.
fn caseless(text: &str) -> String {
    let visible: String = text
        .chars()
        .filter(|c| !is_invisible(*c) && !c.is_whitespace())
        .collect();
    let composed = NFKC.normalize(&visible);
    let folded: String = composed
        .chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .filter(|c| !is_invisible(*c) && !c.is_whitespace())
        .collect();
    // `İ` in lower case is an `i` with a dot.
    NFKC.normalize(&folded).replace("i\u{307}", "i")
}

fn has_spellings(domain: &str) -> bool {
    domain.ends_with('.') || domain.contains("xn--") || !domain.is_ascii()
}

fn one_domain(domain: &str) -> String {
    let domain = domain.trim_end_matches('.');
    match Host::parse(domain) {
        Ok(Host::Domain(ascii)) => ascii,
        Ok(Host::Ipv4(_) | Host::Ipv6(_)) | Err(_) => domain.to_owned(),
    }
}

/// Control characters, and what Unicode calls default ignorable or uses for direction and annotation: nobody sees them.
/// <https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt>
#[must_use]
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names() {
        let long = format!("{}@example.com", "a".repeat(243));
        for (text, fault) in [
            ("ada@example.com", None),
            ("Ada.Lovelace+x@EXAMPLE.com", None),
            ("özlem@bücher.example", None),
            ("", Some(NameFault::Empty)),
            (&long, Some(NameFault::TooLong)),
            ("ada", Some(NameFault::NotAnAddress)),
            ("@example.com", Some(NameFault::NotAnAddress)),
            ("ada@", Some(NameFault::NotAnAddress)),
            ("ada@example.com@example.com", Some(NameFault::NotAnAddress)),
            ("ada @example.com", Some(NameFault::Blank)),
            ("ada@example.com\u{a0}", Some(NameFault::Blank)),
            ("ada@example.com\n", Some(NameFault::Invisible)),
            ("a\u{200b}da@example.com", Some(NameFault::Invisible)),
            ("a\u{202e}da@example.com", Some(NameFault::Invisible)),
            ("a\u{ad}da@example.com", Some(NameFault::Invisible)),
            // Full width, and an o with two dots in two characters.
            ("\u{ff41}da@example.com", Some(NameFault::NotNormal)),
            ("o\u{308}zlem@example.com", Some(NameFault::NotNormal)),
        ] {
            assert_eq!(UserName::parse(text).err(), fault, "{text:?}");
        }
    }

    #[test]
    fn plain_names() {
        let long = "g".repeat(257);
        for (text, fault) in [
            ("k8s-admins", None),
            ("Ada Maria", None),
            ("O'Neil-Łukasz", None),
            ("管理者", None),
            ("", Some(NameFault::Empty)),
            (&long, Some(NameFault::TooLong)),
            (" k8s", Some(NameFault::Blank)),
            ("k8s\u{3000}", Some(NameFault::Blank)),
            ("k8s\u{7}", Some(NameFault::Invisible)),
            ("o\u{308}", Some(NameFault::NotNormal)),
        ] {
            assert_eq!(PlainName::parse(text).err(), fault, "{text:?}");
        }
    }

    #[test]
    fn ids() {
        let (longest, longer) = ("A".repeat(256), "A".repeat(10_240));
        for (text, fault) in [
            ("6NF7ZWCFBBHUXBSGZM5YXY2OSU", None),
            ("2", None),
            ("ada@example.com", None),
            (&longest, None),
            (&longer, Some(NameFault::TooLong)),
            ("", Some(NameFault::Empty)),
            ("a b", Some(NameFault::NotAnId)),
            ("a\"] or members[value pr", Some(NameFault::NotAnId)),
            ("..", Some(NameFault::NotAnId)),
            ("é", Some(NameFault::NotAnId)),
            ("a\r\n", Some(NameFault::NotAnId)),
        ] {
            assert_eq!(RemoteId::parse(text).err(), fault, "{text:?}");
        }
    }

    #[test]
    fn a_name_is_found_in_any_case_and_no_other_name_is() {
        for (one, other, is_one) in [
            ("ada@example.com", "ADA@Example.COM", true),
            ("özlem@example.com", "ÖZLEM@example.com", true),
            // Two canonical spellings of one text.
            ("\u{f6}zlem@example.com", "o\u{308}zlem@example.com", true),
            ("ada@example.com", "ada@example.org", false),
            ("ida@example.com", "\u{131}da@example.com", false),
            ("ada@example.com", "\u{430}da@example.com", false),
            ("strasse@example.com", "straße@example.com", false),
            ("ada@example.com", "ada@example.com ", false),
        ] {
            assert_eq!(fold(one) == fold(other), is_one, "{one:?} {other:?}");
        }
    }

    #[test]
    fn no_spelling_hides_a_name() {
        for other in [
            "owner@example.com",
            "OWNER@EXAMPLE.COM",
            " owner@example.com\n",
            "owner@example.com.",
            "o\u{200b}wner@example.com",
            "owner\u{ad}@example.com",
            "\u{ff2f}wner@example.com",
            "owner\u{ff20}example.com",
            "owner@ex\u{1d41a}mple.com",
            "ow\u{feff}ner@example\u{ff0e}com",
            "owner@example\u{3002}com",
        ] {
            assert_eq!(skeleton(other), "owner@example.com", "{other:?}");
        }
        for (one, other) in [
            ("kim@bücher.example", "KIM@xn--bcher-kva.example"),
            ("admin@example.com", "ADM\u{130}N@example.com"),
            ("admin@example.com", "adm\u{131}n@example.com"),
            ("kim@example.com", "\u{212a}im@example.com"),
            ("strasse@example.com", "STRAẞE@example.com"),
            ("Owners", "Owner\u{17f}"),
        ] {
            assert_eq!(skeleton(one), skeleton(other), "{one:?} {other:?}");
        }
        assert_ne!(skeleton("owner@example.com"), skeleton("owner@example.org"));
        assert_ne!(skeleton("owner@example.com"), skeleton("owners@example.com"));
    }

    #[test]
    fn debug_shows_no_name() {
        let shown = format!(
            "{:?} {:?}",
            UserName::parse("canary@example.com").unwrap(),
            PlainName::parse("canary").unwrap()
        );
        assert!(!shown.contains("canary"), "{shown}");
    }
}
