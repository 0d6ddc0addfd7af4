//! Storage keys and their text form in an engine: a prefix and hexadecimal digits.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::error::{Error, Result};

/// The key of one record in a store: 160 bits of a hash of the session id.
///
/// Its text form is 40 lower-case hexadecimal digits. They are safe and distinct in a file name, an
/// object name, an SQL column of any collation, and a memcached or Redis key. `Display` writes the
/// text form. `Debug` does not show the key, because it must not reach logs.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::store::StorageKey;
///
/// let key = StorageKey::from_bytes([0xab; 20]);
/// assert_eq!(key.to_string(), "ab".repeat(20));
/// assert_eq!(StorageKey::parse(&key.to_string()), Some(key));
/// assert_eq!(StorageKey::parse("../etc/passwd"), None);
/// assert_eq!(format!("{key:?}"), "StorageKey(…)");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StorageKey([u8; Self::BYTES]);

impl StorageKey {
    /// The length of a key in bytes.
    pub const BYTES: usize = 20;
    /// The length of a key as text.
    pub const TEXT: usize = 2 * Self::BYTES;

    /// Creates a key from its bytes. Only the core makes new keys: this is for tests, and for
    /// stores that keep keys as bytes.
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Returns the key's bytes, for engines that support binary keys.
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Parses the text form: exactly 40 lower-case hexadecimal digits. Returns `None` for any other
    /// text.
    pub fn parse(text: &str) -> Option<Self> {
        let text: &[u8; Self::TEXT] = text.as_bytes().try_into().ok()?;
        let digit = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; Self::BYTES];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// Appends the text form to `out`. It is faster than `Display`.
    pub fn push_to(&self, out: &mut String) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; Self::TEXT];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        // Hexadecimal digits are always UTF-8.
        out.push_str(std::str::from_utf8(&text).unwrap_or_default());
    }
}

/// Hashes the first eight bytes only, because the key is itself a hash.
impl Hash for StorageKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        state.write_u64(u64::from_ne_bytes(first));
    }
}

impl fmt::Display for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(Self::TEXT);
        self.push_to(&mut text);
        f.write_str(&text)
    }
}

impl fmt::Debug for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StorageKey(…)")
    }
}

/// A store's part of a shared engine: all of its keys have this prefix, and it ignores all others.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::store::{KeySpace, StorageKey};
///
/// let space = KeySpace::new("shop:session:").unwrap();
/// let key = StorageKey::from_bytes([1; 20]);
/// assert!(space.name(&key).starts_with("shop:session:0101"));
/// assert_eq!(space.parse(&space.name(&key)), Some(key));
/// assert_eq!(space.parse("other:session:01"), None);
/// assert!(KeySpace::new("no spaces, no *").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeySpace(Box<str>);

impl KeySpace {
    /// The longest prefix, in bytes. Prefix and key together stay below every engine's limit
    /// (memcached's is 250 bytes).
    pub const MAX_PREFIX: usize = 128;

    /// Creates a key space with this prefix: at most 128 ASCII letters, digits and
    /// `: / _ . - { }`, without the path segments `.` and `..`.
    ///
    /// # Errors
    /// `InvalidConfig` for any other prefix. Some engines interpret wildcards and control
    /// characters, and HTTP clients remove the segments `.` and `..` from a path.
    pub fn new(prefix: &str) -> Result<Self> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b":/_.-{}".contains(&c);
        let (folders, _) = prefix.rsplit_once('/').unwrap_or_default();
        let relative = folders.split('/').any(|folder| matches!(folder, "." | ".."));
        if prefix.len() > Self::MAX_PREFIX || !prefix.bytes().all(allowed) || relative {
            return Err(Error::invalid_config(format!(
                "the option `prefix` must be at most {} ASCII letters, digits and \
                 : / _ . - {{ }}, without the segments . and ..",
                Self::MAX_PREFIX
            )));
        }
        Ok(Self(prefix.into()))
    }

    /// Returns the prefix.
    pub fn prefix(&self) -> &str {
        &self.0
    }

    /// Returns the full name of a key in the engine.
    pub fn name(&self, key: &StorageKey) -> String {
        let mut name = String::with_capacity(self.0.len() + StorageKey::TEXT);
        name.push_str(&self.0);
        key.push_to(&mut name);
        name
    }

    /// Returns the key of a full name, or `None` if the name does not belong to this key space.
    pub fn parse(&self, name: &str) -> Option<StorageKey> {
        name.strip_prefix(&*self.0).and_then(StorageKey::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_spelling_is_read() {
        let text = StorageKey::from_bytes([0x5f; 20]).to_string();
        assert!(StorageKey::parse(&text).is_some());
        for bad in
            [&text[1..], &format!("{text}0"), &text.to_uppercase(), "", "\0", &"é".repeat(20)]
        {
            assert_eq!(StorageKey::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_prefix_means_nothing_to_any_engine() {
        for bad in ["a b", "a*", "a?", "a[", "a\\", "a\r\n", "é", "a\0", &"x".repeat(129)] {
            assert!(KeySpace::new(bad).is_err(), "{bad:?}");
        }
        for relative in ["../", "./", "a/../", "a/./b", "/../a/", "a/.."] {
            let last = relative.ends_with("..");
            assert_eq!(KeySpace::new(relative).is_ok(), last, "{relative:?}");
        }
        for good in ["", "a..b/", ".a/", "...:"] {
            assert!(KeySpace::new(good).is_ok(), "{good:?}");
        }
    }
}
