//! Session ids: 256 random bits that only the client holds, and the values derived from them.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};

use crate::crypto::{self, Key, Purpose, Scope};
use crate::error::Result;
use crate::store::StorageKey;

/// The secret under which a client presents its session. The store never sees it.
///
/// 256 bits exceed the requirements of OWASP (64) and ASVS 7.2.3 (128), and make guesses and
/// collisions among a billion sessions negligible.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SessionId([u8; 32]);

impl SessionId {
    /// The length of an id as text: base64url without padding.
    pub(crate) const TEXT: usize = 43;

    /// Creates an id with the operating system's generator.
    pub(crate) fn mint() -> Result<Self> {
        crypto::random().map(Self)
    }

    /// Reads an id: exactly 43 characters of the base64url alphabet, in the only spelling that an
    /// id has.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != Self::TEXT {
            return None;
        }
        let mut bytes = [0; 32];
        Base64UrlUnpadded::decode(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// Returns the id that stands for another session layer's id. No client knows its text form.
    pub(crate) fn of_layer(id: &[u8]) -> Self {
        Self(crypto::condense_layer_id(id))
    }

    /// Appends the text form.
    pub(crate) fn push_to(&self, out: &mut String) {
        push_base64(&self.0, out);
    }

    /// Returns the storage key of the session's record and the key that seals it. Both follow from
    /// the id and the scope alone.
    pub(crate) fn place(&self, scope: &Scope) -> Place {
        Place {
            key: storage_key(&self.0, Purpose::StorageKey, scope),
            seal: scope.derive(&self.0, Purpose::Payload),
        }
    }

    /// Returns a name for the session for logs. It reveals neither the id nor the record.
    pub(crate) fn fingerprint(&self, scope: &Scope) -> String {
        let hash = scope.derive(&self.0, Purpose::Fingerprint);
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        format!("{:016x}", u64::from_be_bytes(first))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

/// The storage key of a record, and the key that seals it.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) key: StorageKey,
    pub(crate) seal: Key,
}

impl Place {
    /// Returns the place of an owner's index, from the owner's name as hashed under a secret (or
    /// under none).
    pub(crate) fn of_owner(hashed: &Key, scope: &Scope) -> Self {
        Self {
            key: storage_key(hashed, Purpose::OwnerKey, scope),
            seal: scope.derive(hashed, Purpose::OwnerPayload),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place(…)")
    }
}

/// Appends unpadded base64url. It allocates only for the text itself.
pub(crate) fn push_base64(bytes: &[u8], out: &mut String) {
    let mut chunk = [0; 64];
    for part in bytes.chunks(48) {
        // 48 bytes make 64 characters, so only the last chunk has padding bits, and the buffer is
        // always large enough.
        if let Ok(text) = Base64UrlUnpadded::encode(part, &mut chunk) {
            out.push_str(text);
        }
    }
}

fn storage_key(material: &Key, purpose: Purpose, scope: &Scope) -> StorageKey {
    let hash = scope.derive(material, purpose);
    let mut bytes = [0; StorageKey::BYTES];
    bytes.copy_from_slice(&hash[..StorageKey::BYTES]);
    StorageKey::from_bytes(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let mut text = String::new();
        SessionId::mint().unwrap().push_to(&mut text);
        assert_eq!(text.len(), SessionId::TEXT);
        let id = SessionId::parse(text.as_bytes()).unwrap();
        let mut again = String::new();
        id.push_to(&mut again);
        assert_eq!(text, again);
        // The last character carries two bits that must be zero.
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let read = |last: u8| SessionId::parse(&[&text.as_bytes()[..42], &[last]].concat());
        assert_eq!(alphabet.iter().filter(|&&last| read(last).is_some()).count(), 16);
        assert_eq!(alphabet.iter().filter(|&&last| read(last).as_ref() == Some(&id)).count(), 1);
    }

    #[test]
    fn hostile_ids_are_refused_before_any_store_call() {
        let long = "A".repeat(1 << 20);
        let traversal = "../".repeat(14) + "A";
        for bad in [
            "",
            "A",
            &long,
            &traversal,
            &"*".repeat(43),
            &"A".repeat(42),
            &"A".repeat(44),
            &format!("{}=", "A".repeat(42)),
        ] {
            assert!(SessionId::parse(bad.as_bytes()).is_none());
        }
        for byte in [b'\0', b'\r', b'\n', b' ', b'/', b'+', b'"', 0xff] {
            let mut id = [b'A'; 43];
            id[7] = byte;
            assert!(SessionId::parse(&id).is_none(), "{byte}");
        }
    }

    #[test]
    fn what_is_derived_is_distinct_and_stable() {
        // Golden values: a change of any of these makes every existing session unreadable.
        let id = SessionId([7; 32]);
        let scope = Scope::named("__Host-session");
        let place = id.place(&scope);
        assert_eq!(place.key.to_string(), "0561b774d9619cdc9273436d9abc8972ef5e71a4");
        assert_eq!(id.fingerprint(&scope), "61d519a4b2442b57");
        let layer = SessionId::of_layer(b"an id of another layer").place(&scope);
        assert_eq!(layer.key.to_string(), "96a233493572c2b9ca3e43650c5eb7dbfbb1bef5");
        let other = id.place(&Scope::named("__Host-admin"));
        assert!(other.key != place.key && other.seal != place.seal);
        assert_ne!(place.seal[..20], place.key.as_bytes()[..]);
        assert!(!format!("{id:?}{place:?}").contains("07"));
    }
}
