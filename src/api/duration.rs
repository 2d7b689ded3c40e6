//! Durations as people write them in manifests: `30s`, `5m`, `1h30m`.
//!
//! Go, CEL's `duration()` and Flux accept this form too: whole numbers with `h`, `m` or `s`. So a value that matches the
//! CRD's pattern means the same to the API server's rules and to this operator.

use std::{fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The pattern of the CRD. [`FromStr`] accepts exactly the strings that match it and fit [`MAX_LENGTH`].
pub const PATTERN: &str = "^([0-9]{1,5}(h|m|s))+$";

/// The longest accepted text, in bytes.
pub const MAX_LENGTH: usize = 16;

/// A duration that is printed as it is written in a manifest. It may be up to 99,999 hours; no field allows more than 24.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

/// The text is not a duration of this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration: write whole numbers with h, m or s, such as 30s, 5m or 1h30m")]
pub struct InvalidDuration;

impl HumanDuration {
    /// A duration of `seconds` seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for HumanDuration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > MAX_LENGTH {
            return Err(InvalidDuration);
        }
        let mut rest = text;
        let mut seconds: u64 = 0;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or(InvalidDuration)?;
            let (digits, tail) = rest.split_at(end);
            if digits.is_empty() || digits.len() > 5 {
                return Err(InvalidDuration);
            }
            let number: u64 = digits.parse().map_err(|_| InvalidDuration)?;
            let mut tail = tail.chars();
            let unit = match tail.next() {
                Some('h') => 3600,
                Some('m') => 60,
                Some('s') => 1,
                _ => return Err(InvalidDuration),
            };
            // Eight numbers of five digits cannot overflow, but the type does not guarantee it.
            seconds = number
                .checked_mul(unit)
                .and_then(|part| seconds.checked_add(part))
                .ok_or(InvalidDuration)?;
            rest = tail.as_str();
        }
        Ok(Self::from_secs(seconds))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.as_secs();
        let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        if seconds > 0 || total == 0 {
            write!(f, "{seconds}s")?;
        }
        Ok(())
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for HumanDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HumanDuration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PATTERN, "maxLength": MAX_LENGTH })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{prelude::*, test_runner::RngSeed};

    #[test]
    fn reads_what_people_write() {
        for (text, seconds) in [
            ("30s", 30),
            ("5m", 300),
            ("1h30m", 5400),
            ("24h", 86_400),
            ("1m1m", 120),
            ("00030s", 30),
        ] {
            assert_eq!(text.parse(), Ok(HumanDuration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "5",
            "m",
            "1d",
            "5 m",
            "-5m",
            "1.5h",
            "5M",
            "100000s",
            "1h1h1h1h1h1h1h1h1h",
            "５m",
            "5m\n",
        ] {
            assert_eq!(text.parse::<HumanDuration>(), Err(InvalidDuration), "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(testbed::seed()),
            ..ProptestConfig::default()
        })]

        #[test]
        fn shows_what_it_reads(seconds in 0_u64..100_000) {
            let shown = HumanDuration::from_secs(seconds).to_string();
            prop_assert_eq!(shown.parse(), Ok(HumanDuration::from_secs(seconds)));
        }

        #[test]
        fn survives_any_text(text in ".{0,24}") {
            let _ = text.parse::<HumanDuration>();
        }
    }
}
