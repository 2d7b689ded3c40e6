//! API keys: read once, sent in one header, shown nowhere.

use std::fmt;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroize as _};

use crate::domain::evidence::{KeyFault, KeyTrial, Obstacle};

/// Longest accepted key, in bytes.
pub const MAX_LENGTH: usize = 8 * 1024;

/// A bearer token. Zeroed when dropped; `Debug` does not show it.
#[derive(Clone)]
pub struct ApiKey(SecretString);

impl ApiKey {
    /// Reads the value of a Secret's entry and zeroes it.
    ///
    /// A blank or line break at the end is refused too, not cut off: identity providers that are given the same value
    /// would send it as it is, and the mistake belongs out in the open.
    ///
    /// # Errors
    /// [`Obstacle::ApiKeyMalformed`] unless the value is 1 to 8,192 visible ASCII characters: less than that no bearer
    /// token has (RFC 6750, section 2.1), and more would let a value leave its header (RFC 9110, section 5.5).
    pub fn read(mut value: Vec<u8>) -> Result<Self, Obstacle> {
        let fault = if value.is_empty() {
            Some(KeyFault::Empty)
        } else if value.len() > MAX_LENGTH {
            Some(KeyFault::TooLong)
        } else if value.iter().any(u8::is_ascii_whitespace) {
            Some(KeyFault::Blank)
        } else if !value.iter().all(u8::is_ascii_graphic) {
            Some(KeyFault::Character)
        } else {
            None
        };
        let key = match (fault, std::str::from_utf8(&value)) {
            (None, Ok(text)) => Ok(Self(SecretString::from(text))),
            (fault, _) => Err(Obstacle::ApiKeyMalformed(fault.unwrap_or(KeyFault::Character))),
        };
        value.zeroize();
        key
    }

    /// The value of the `Authorization` header, marked as sensitive.
    ///
    /// # Errors
    /// [`Obstacle::ApiKeyMalformed`] where it would be no header value; [`Self::read`] lets none such through.
    pub fn authorization(&self) -> Result<HeaderValue, Obstacle> {
        let mut text = format!("Bearer {}", self.0.expose_secret());
        let value = HeaderValue::from_str(&text);
        text.zeroize();
        let mut value = value.map_err(|_| Obstacle::ApiKeyMalformed(KeyFault::Character))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Only ever asked about keys that one operator already holds.
impl PartialEq for ApiKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl Eq for ApiKey {}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

/// What is known of a key that was to be rehearsed, where it was not sent.
pub(super) fn untried(next_key: Option<&Result<ApiKey, Obstacle>>) -> Option<KeyTrial> {
    Some(match next_key? {
        Ok(_) => KeyTrial::Undecided,
        Err(obstacle) => KeyTrial::Unusable(*obstacle),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &[u8]) -> String {
        match ApiKey::read(value.to_vec()) {
            Ok(_) => "ok".to_owned(),
            Err(obstacle) => format!("{obstacle:?}"),
        }
    }

    #[test]
    fn keys() {
        assert_eq!(read(b"not-a-real-key"), "ok");
        assert_eq!(read(&[b'k'; MAX_LENGTH]), "ok");
        for (malformed, fault) in [
            (&b""[..], "Empty"),
            (b" ", "Blank"),
            (b"key\n", "Blank"),
            (b" key", "Blank"),
            (b"two words", "Blank"),
            (b"key\r\nX-Injected: 1", "Blank"),
            (b"key\0", "Character"),
            (b"key\x7f", "Character"),
            ("ключ".as_bytes(), "Character"),
            (b"\xff\xfe", "Character"),
            (&[b'k'; MAX_LENGTH + 1], "TooLong"),
        ] {
            assert_eq!(
                read(malformed),
                format!("ApiKeyMalformed({fault})"),
                "{malformed:?}"
            );
        }
    }

    #[test]
    fn debug_shows_nothing() {
        let key = ApiKey::read(b"not-a-real-key".to_vec()).unwrap();
        assert_eq!(format!("{key:?}"), "ApiKey(..)");
        assert_eq!(format!("{:?}", key.authorization().unwrap()), "Sensitive");
    }
}
