//! API keys: read once, sent in one header, never shown.

use std::fmt;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroize as _};

use crate::domain::{
    connection::evidence::{Blocker, KeyFault, KeyTrial},
    directory::budget::DigestKey,
};

/// Longest accepted key, in bytes.
pub const MAX_LENGTH: usize = 8 * 1024;

/// A bearer token. Zeroed when dropped; `Debug` does not show it.
#[derive(Clone)]
pub struct ApiKey(SecretString);

impl ApiKey {
    /// Reads a key from the value of a Secret entry, and zeroes the value.
    ///
    /// A blank or line break at the end is an error; it is not cut off. An identity provider sends the same value
    /// unchanged, so the user must see the mistake.
    ///
    /// # Errors
    /// [`Blocker::ApiKeyMalformed`] unless the value is 1 to 8,192 visible ASCII characters. A bearer token has at
    /// least one (RFC 6750, section 2.1). Other characters could end the header early (RFC 9110, section 5.5).
    pub fn read(mut value: Vec<u8>) -> Result<Self, Blocker> {
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
            (fault, _) => Err(Blocker::ApiKeyMalformed(fault.unwrap_or(KeyFault::Character))),
        };
        value.zeroize();
        key
    }

    /// The value of the `Authorization` header, marked as sensitive.
    ///
    /// # Errors
    /// [`Blocker::ApiKeyMalformed`] if the key is no valid header value. A key from [`Self::read`] always is one.
    pub fn authorization(&self) -> Result<HeaderValue, Blocker> {
        let mut text = format!("Bearer {}", self.0.expose_secret());
        let value = HeaderValue::from_str(&text);
        text.zeroize();
        let mut value = value.map_err(|_| Blocker::ApiKeyMalformed(KeyFault::Character))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The key of digests for the directory behind this API key. It is as secret as the API key, and the same after a
    /// restart and in every program that has the API key.
    #[must_use]
    pub fn digest_key(&self) -> DigestKey {
        DigestKey::new(self.0.expose_secret().as_bytes())
    }
}

/// This need not take constant time: the operator compares only keys that it has read itself.
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

/// The result for a next key that was not sent. `None` if no next key is to be rehearsed.
pub(super) fn untried(next_key: Option<&Result<ApiKey, Blocker>>) -> Option<KeyTrial> {
    Some(match next_key? {
        Ok(_) => KeyTrial::Undecided,
        Err(blocker) => KeyTrial::Unusable(*blocker),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &[u8]) -> String {
        match ApiKey::read(value.to_vec()) {
            Ok(_) => "ok".to_owned(),
            Err(blocker) => format!("{blocker:?}"),
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
