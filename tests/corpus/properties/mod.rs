//! What holds for every input of each parser of foreign bytes.
//!
//! One definition for two users: the fuzz targets (`make fuzz`, libFuzzer on a nightly compiler) and the test `corpus`
//! (stable, with every `make test`). A property panics where it is broken, and says what it found.

pub(crate) mod addresses;
pub(crate) mod directory;
pub(crate) mod documents;
pub(crate) mod entries;
pub(crate) mod objects;
pub(crate) mod verdicts;
pub(crate) mod writes;

use k8s_openapi::jiff::Timestamp;

/// A property, by the name of its fuzz target.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// Every parser of foreign bytes, by who wrote the bytes: a bridge, a DNS server, the author of an object, the owner
/// of a Secret.
pub(crate) const TARGETS: [Target; 16] = [
    ("health", documents::health),
    ("list", documents::list),
    ("users", directory::users),
    ("groups", directory::groups),
    ("answer", writes::answer),
    ("retry_after", documents::retry_after),
    ("certificate", documents::certificate),
    ("dns_answer", addresses::dns_answer),
    ("url", addresses::url),
    ("allowed_hosts", addresses::allowed_hosts),
    ("duration", objects::duration),
    ("requested_at", objects::requested_at),
    ("connection", objects::connection),
    ("api_key", entries::api_key),
    ("pem_bundle", entries::pem_bundle),
    ("verdict", verdicts::verdict),
];

/// The present time of every property: 2026-03-03T14:06:56Z.
fn now() -> Timestamp {
    Timestamp::from_second(1_772_546_816).expect("a time")
}

/// The only characters that a version, a name of a component or an issuer may come out with.
fn is_plain(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_alphanumeric() || " .,-'&()".contains(c))
}
