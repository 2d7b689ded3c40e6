//! Parsers for values of flags. The program refuses a value that cannot work at once, when it starts.
//!
//! Each error names the allowed values. It never repeats the value, which may be secret.

use std::{
    fmt,
    net::{Ipv6Addr, SocketAddr},
    num::NonZeroU16,
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use k8s_openapi::jiff::{Timestamp, civil::Date, tz::TimeZone};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};
use url::Url;

use crate::{
    api::duration::{HumanDuration, InvalidDuration},
    bridge::wire::proxy::server_url,
    domain::{
        connection::target,
        directory::{
            budget::Digest,
            names::{PlainName, UserName},
        },
    },
};

// === Names ===

/// The text is not the name of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write the name of a namespace: up to 63 lower-case letters, digits and hyphens; omit the flag for the default"
)]
pub struct InvalidNamespace;

/// The text is not the name of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write the name of an object: 1 to 253 lower-case letters, digits, hyphens and dots")]
pub struct InvalidName;

/// The text is not the name of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write 1 to 253 visible ASCII characters, different for each replica")]
pub struct InvalidIdentity;

/// The text is not a name in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a DNS name in lower case, not an address")]
pub struct InvalidServerName;

/// Reads the name of a namespace.
///
/// # Errors
/// [`InvalidNamespace`] for anything else, including an empty text: that would mean all namespaces.
pub fn namespace(text: &str) -> Result<String, InvalidNamespace> {
    let text = text.trim();
    if text.len() <= 63 && !text.contains('.') && target::is_object_name(text) {
        Ok(text.to_owned())
    } else {
        Err(InvalidNamespace)
    }
}

/// Reads the name of an object.
///
/// # Errors
/// [`InvalidName`] for anything else.
pub fn object_name(text: &str) -> Result<String, InvalidName> {
    if target::is_object_name(text) {
        Ok(text.to_owned())
    } else {
        Err(InvalidName)
    }
}

/// Reads the name of a process in a Lease. The API server would accept any text that is not empty.
///
/// # Errors
/// [`InvalidIdentity`] for anything else.
pub fn identity(text: &str) -> Result<String, InvalidIdentity> {
    if (1..=253).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(InvalidIdentity)
    }
}

/// Reads the name that a certificate must be for.
///
/// # Errors
/// [`InvalidServerName`] for anything else.
pub fn server_name(text: &str) -> Result<String, InvalidServerName> {
    if target::is_server_name(text) {
        Ok(text.to_owned())
    } else {
        Err(InvalidServerName)
    }
}

// === Numbers and times ===

/// The text is not a number of probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a whole number from 1 to 65535")]
pub struct InvalidCount;

/// The text is not a duration that can be used here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableDuration {
    /// It is not a duration.
    #[error(transparent)]
    Form(#[from] InvalidDuration),
    /// It is too short or too long.
    #[error("write a duration from {} to {}", HumanDuration(*.0.start()), HumanDuration(*.0.end()))]
    Bounds(RangeInclusive<Duration>),
}

/// Reads a number that is not 0.
///
/// # Errors
/// [`InvalidCount`] for anything else.
pub fn count(text: &str) -> Result<u16, InvalidCount> {
    text.parse().map(NonZeroU16::get).map_err(|_| InvalidCount)
}

/// Reads a duration of any length.
///
/// # Errors
/// [`InvalidDuration`] for anything else.
pub fn duration(text: &str) -> Result<Duration, InvalidDuration> {
    text.parse().map(|HumanDuration(duration)| duration)
}

/// Reads the time that a check may take.
///
/// # Errors
/// [`UnusableDuration`] if no connection may have it.
pub fn timeout(text: &str) -> Result<HumanDuration, UnusableDuration> {
    within(text, Duration::from_secs(1)..=Duration::from_mins(1)).map(HumanDuration)
}

/// Reads the time after which the operator rewrites an unchanged status. It extends the validity of each verdict, so it has
/// the same upper bound as the interval.
///
/// # Errors
/// [`UnusableDuration`] for anything else.
pub fn heartbeat(text: &str) -> Result<Duration, UnusableDuration> {
    within(text, Duration::ZERO..=Duration::from_hours(24))
}

/// Reads the pause between two checks. A pause of 0 would send a bridge one request after another.
///
/// # Errors
/// [`UnusableDuration`] for anything else.
pub fn pause(text: &str) -> Result<Duration, UnusableDuration> {
    within(text, Duration::from_secs(1)..=Duration::from_hours(24))
}

/// A point in time that a person writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// This time.
    At(Timestamp),
    /// So long before now.
    Ago(Duration),
}

/// The text is no such point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a date (2026-11-01), a time (2026-11-01T08:00:00Z) or a duration (720h)")]
pub struct InvalidSince;

/// The form of a date.
const DATE: &str = "2026-11-01";

/// Reads a date, which begins at midnight UTC, a time with its zone (RFC 3339), or a duration before now.
///
/// # Errors
/// [`InvalidSince`] for anything else.
pub fn since(text: &str) -> Result<Since, InvalidSince> {
    // A date alone: the parser would drop a time that has no zone.
    let date = || text.parse::<Date>().ok().filter(|_| text.len() == DATE.len());
    let midnight = || date()?.to_zoned(TimeZone::UTC).ok();
    if let Ok(ago) = duration(text) {
        Ok(Since::Ago(ago))
    } else if let Ok(time) = text.parse() {
        Ok(Since::At(time))
    } else {
        let midnight = midnight().ok_or(InvalidSince)?;
        Ok(Since::At(midnight.timestamp()))
    }
}

impl Since {
    /// The time, if it is now `now`.
    #[must_use]
    pub fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(Timestamp::MIN),
        }
    }
}

/// The text is not the name of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write an address that a user can have, such as canary@example.com")]
pub struct InvalidUserName;

/// Reads the name of a user.
///
/// # Errors
/// [`InvalidUserName`] for one that no declared user can have.
pub fn user_name(text: &str) -> Result<String, InvalidUserName> {
    UserName::parse(text)
        .map(|name| name.as_str().to_owned())
        .map_err(|_| InvalidUserName)
}

/// The text is not the name of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a name that a group can have: visible characters, without a blank at either end")]
pub struct InvalidGroupName;

/// Reads the name of a group.
///
/// # Errors
/// [`InvalidGroupName`] for one that no declared group can have.
pub fn group_name(text: &str) -> Result<String, InvalidGroupName> {
    PlainName::parse(text)
        .map(|name| name.as_str().to_owned())
        .map_err(|_| InvalidGroupName)
}

/// The text is not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a digest as the operator shows it: 32 hexadecimal digits in lower case")]
pub struct InvalidDigest;

/// Reads the digest of a set of changes.
///
/// # Errors
/// [`InvalidDigest`] for anything else.
pub fn digest(text: &str) -> Result<String, InvalidDigest> {
    Digest::parse(text)
        .map(|digest| digest.to_string())
        .ok_or(InvalidDigest)
}

fn within(text: &str, bounds: RangeInclusive<Duration>) -> Result<Duration, UnusableDuration> {
    let duration = duration(text)?;
    if bounds.contains(&duration) {
        Ok(duration)
    } else {
        Err(UnusableDuration::Bounds(bounds))
    }
}

// === Addresses ===

/// The address of the admin server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// Every address of the machine, IPv6 and IPv4 (only IPv4 if IPv6 is off): `:PORT`.
    Every(u16),
    /// This one: `ADDRESS:PORT`.
    One(SocketAddr),
}

/// The text is not such an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write :PORT for every address, or ADDRESS:PORT, for instance 127.0.0.1:8080 or [::1]:8080")]
pub struct InvalidAdminAddress;

impl FromStr for AdminAddress {
    type Err = InvalidAdminAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let every = text.strip_prefix(':').map(|port| format!("[::]:{port}"));
        let address: SocketAddr = every
            .as_deref()
            .unwrap_or(text)
            .parse()
            .map_err(|_| InvalidAdminAddress)?;
        Ok(if address.ip() == Ipv6Addr::UNSPECIFIED {
            Self::Every(address.port())
        } else {
            Self::One(address)
        })
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(port) => write!(f, ":{port}"),
            Self::One(address) => address.fmt(f),
        }
    }
}

/// Address of a server that needs no password: an operator's admin server, or a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl(pub Url);

/// The text is not such an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write http://HOST:PORT or https://HOST:PORT, without user, password, query and fragment")]
pub struct InvalidServerUrl;

impl FromStr for ServerUrl {
    type Err = InvalidServerUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        server_url(text)
            .filter(|url| url.username().is_empty() && url.password().is_none())
            .map(Self)
            .ok_or(InvalidServerUrl)
    }
}

// === Label selectors ===

/// A label selector in the API server's syntax. An empty one selects every connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSelector(String);

/// The text is not a label selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write a label selector: KEY=VALUE, KEY!=VALUE, KEY, !KEY, KEY in (A,B), KEY notin (A,B), separated by commas"
)]
pub struct InvalidSelector;

impl LabelSelector {
    /// The selector for the API server. `None` if it selects everything.
    #[must_use]
    pub fn narrowing(self) -> Option<String> {
        Some(self.0).filter(|selector| !selector.is_empty())
    }
}

impl FromStr for LabelSelector {
    type Err = InvalidSelector;

    /// Checks the syntax: otherwise the API server would refuse every list of connections.
    /// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if !text.is_empty() && !requirements(text).all(is_requirement) {
            return Err(InvalidSelector);
        }
        Ok(Self(text.to_owned()))
    }
}

/// The parts of a selector: commas separate them, except within parentheses.
fn requirements(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth <= 0
    })
}

fn is_requirement(text: &str) -> bool {
    let text = text.trim();
    if let Some((key, values)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        let mut words = key.split_whitespace();
        let (key, operator) = (words.next(), words.next());
        return key.is_some_and(is_label_key)
            && matches!(operator, Some("in" | "notin"))
            && words.next().is_none()
            && values.split(',').all(|value| is_label_value(value.trim()));
    }
    for operator in ["!=", "==", "="] {
        if let Some((key, value)) = text.split_once(operator) {
            return is_label_key(key.trim()) && is_label_value(value.trim());
        }
    }
    for operator in ['<', '>'] {
        if let Some((key, number)) = text.split_once(operator) {
            return is_label_key(key.trim()) && number.trim().parse::<i64>().is_ok();
        }
    }
    is_label_key(text.strip_prefix('!').unwrap_or(text).trim_start())
}

/// `NAME`, or `PREFIX/NAME` with a DNS name as the prefix.
fn is_label_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    prefix.is_none_or(target::is_object_name) && !name.is_empty() && is_label_value(name)
}

/// Up to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.
fn is_label_value(value: &str) -> bool {
    let is_end = |c: char| c.is_ascii_alphanumeric();
    value.len() <= 63
        && value.chars().all(|c| is_end(c) || matches!(c, '-' | '_' | '.'))
        && value.chars().next().is_none_or(is_end)
        && value.chars().next_back().is_none_or(is_end)
}

// === The log ===

/// The log level, or directives by module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDirectives(String);

/// The text selects nothing to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write error, warn, info, debug, trace or off; or scim_bridge_operator::MODULE=LEVEL, separated by commas"
)]
pub struct InvalidDirectives;

/// Modules that write to the log.
const OWN: [&str; 2] = ["scim_bridge_operator", "k8s_controller"];

impl LogDirectives {
    /// The filter for the log.
    #[must_use]
    pub fn filter(&self) -> EnvFilter {
        // This skips directives that it cannot read, but `from_str` refused those.
        EnvFilter::new(&self.0)
    }
}

impl FromStr for LogDirectives {
    type Err = InvalidDirectives;

    /// Refuses misspelt levels: the parser of directives would read them as modules, and the log would stay empty.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<_> = text.split(',').map(str::trim).collect();
        let is_level = |part: &&str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
        let is_own = |part: &&str| OWN.iter().any(|module| part.starts_with(module));
        let says_something = parts.iter().any(|part| is_level(part) || is_own(part));
        let is_misspelt = |part: &&str| !is_level(part) && !is_own(part) && !part.contains('=');
        let text = parts.join(",");
        if !says_something || parts.iter().any(is_misspelt) || EnvFilter::try_new(&text).is_err() {
            return Err(InvalidDirectives);
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts that `read` refuses.
    fn refused<T, E>(read: impl Fn(&str) -> Result<T, E>, texts: &[&str]) -> Vec<String> {
        let refused = texts.iter().filter(|text| read(text).is_err());
        refused.map(|text| (*text).to_owned()).collect()
    }

    fn assert_all<T, E>(read: impl Fn(&str) -> Result<T, E>, good: &[&str], bad: &[&str]) {
        assert_eq!(refused(&read, good), [""; 0], "these must be accepted");
        assert_eq!(refused(&read, bad), bad, "the others must be refused");
    }

    #[test]
    fn names() {
        let long = "a".repeat(63);
        assert_all(
            namespace,
            &["identity", " team-a ", "7", &long],
            &[
                "",
                " ",
                "a.b",
                "A",
                "a_b",
                "-a",
                "a-",
                "a/b",
                "a,b",
                "*",
                "all/",
                &(long.clone() + "a"),
            ],
        );
        let longest = "a".repeat(253);
        assert_all(
            object_name,
            &["scim-bridge-operator", "a.b", "7", &longest],
            &[
                "",
                "A",
                "a b",
                "a..b",
                ".a",
                "a_b",
                "a/b",
                "..",
                "a-.b",
                &(longest.clone() + "a"),
            ],
        );
        assert_all(
            identity,
            &["replica-1", "host_0123456789abcdef", &longest],
            &["", " ", "a b", "a\n", "bücher", &(longest.clone() + "a")],
        );
        assert_all(
            server_name,
            &["scim.example.com", "bridge", "op_scim.corp.example"],
            &[
                "",
                "Scim.example.com",
                "scim..example.com",
                "scim.example.com.",
                "10.0.0.7",
                "0x7f.1",
                "::1",
                "*.a",
                "a:443",
            ],
        );
    }

    #[test]
    fn numbers_and_times() {
        assert_all(
            count,
            &["1", "128", "65535"],
            &["", "0", "-1", "65536", "1.5", "many"],
        );
        assert_all(
            heartbeat,
            &["0s", "5m", "24h"],
            &["", "5", "24h1s", "99999h", "-1s"],
        );
        assert_all(pause, &["1s", "24h"], &["0s", "25h", "soon"]);
        assert_all(timeout, &["1s", "60s", "1m"], &["0s", "61s", "10"]);
        let said = |result: Result<Duration, UnusableDuration>| result.unwrap_err().to_string();
        assert_eq!(said(pause("0s")), "write a duration from 1s to 24h");
        assert!(said(pause("soon")).starts_with("not a duration"));
    }

    #[test]
    fn points_in_time() {
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-11-01", "2026-11-01T00:00:00Z"),
            ("2026-11-01T08:00:00+02:00", "2026-11-01T06:00:00Z"),
            ("720h", "2026-10-30T12:00:00Z"),
            ("99999h", "2015-07-03T21:00:00Z"),
        ] {
            let time = since(text).unwrap().before(now);
            assert_eq!(time.to_string(), expected, "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "2026-11-01T08:00:00", "30d", "-1h"] {
            assert_eq!(since(text), Err(InvalidSince), "{text}");
        }
    }

    #[test]
    fn admin_addresses() {
        for (text, address) in [
            (":8080", Some(":8080")),
            ("[::]:8080", Some(":8080")),
            ("0.0.0.0:8080", Some("0.0.0.0:8080")),
            ("127.0.0.1:0", Some("127.0.0.1:0")),
            ("[::1]:8080", Some("[::1]:8080")),
            ("", None),
            (":", None),
            (":+80", None),
            (":65536", None),
            (":http", None),
            ("8080", None),
            ("0.0.0.0", None),
            ("::1:8080x", None),
            ("*:8080", None),
            ("localhost:8080", None),
            ("http://0.0.0.0:8080", None),
            ("256.0.0.1:8080", None),
        ] {
            let read = text.parse().ok().map(|address: AdminAddress| address.to_string());
            assert_eq!(read.as_deref(), address, "{text}");
        }
    }

    #[test]
    fn servers() {
        assert_all(
            str::parse::<ServerUrl>,
            &[
                "http://collector:4318",
                "https://collector.example.com/otlp/",
                "http://[fd12:3456::1]:4318",
                "http://10.0.0.7",
            ],
            &[
                "",
                "collector:4318",
                "grpc://collector:4317",
                "http://",
                "http://collector:0",
                "http://collector:65536",
                "http://user@collector:4318",
                "http://collector:4318?x=y",
                "http://collector:4318/#x",
                "http://collector..example.com",
                "http:collector",
                "http://collector one",
            ],
        );
    }

    /// The API server's syntax: <https://pkg.go.dev/k8s.io/apimachinery/pkg/labels#Parse>
    #[test]
    fn label_selectors() {
        assert_all(
            str::parse::<LabelSelector>,
            &[
                "",
                "a",
                "!a",
                "! a",
                "a=b",
                "a==b",
                "a = b",
                "a!=b",
                "a=",
                "a>5",
                "a<-5",
                "scimbridge.dev/shard=a",
                "scimbridge.dev/shard notin (a,b-2),tier in (x, y)",
                "a in (b)",
                "a in(b)",
                "a in ()",
                "a,b",
                " a , b ",
                "A_b.c-d=E_f.g-h",
            ],
            &[
                ",",
                "a,",
                "a,,b",
                "a b",
                "a=b c",
                "a=b=c",
                "=b",
                "!",
                "!a=b",
                "a in",
                "a in b",
                "a in (b",
                "a in b)",
                "a on (b)",
                "in (b)",
                "a b in (c)",
                "a in (b c)",
                "a>b",
                "a=-b",
                "a=b-",
                "-a",
                "a/b/c",
                "/a",
                "a/",
                "A.example/a",
                "a=b*",
                "a=\"b\"",
                "a: b",
                &("a".repeat(64) + "=b"),
                &("a=".to_owned() + &"b".repeat(64)),
            ],
        );
    }

    #[test]
    fn log_directives() {
        assert_all(
            str::parse::<LogDirectives>,
            &[
                "info",
                "WARN",
                "off",
                "info, scim_bridge_operator::controller=debug",
                "scim_bridge_operator=trace",
                "scim_bridge_operator",
                "warn,k8s_controller=debug",
                "trace,hyper=trace",
            ],
            &[
                "",
                " ",
                ",",
                "info,",
                "inof",
                "verbose",
                "info,debgu",
                "info=",
                "=info",
                "=,=,",
                "hyper=trace",
                "scim_bridge_operator=loud",
                "info debug",
                "level: info",
            ],
        );
    }
}
