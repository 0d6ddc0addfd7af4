//! All cryptographic primitives of the library: derive, seal, open, sign, random.
//!
//! Keys are derived with the one-step KDF of NIST SP 800-56C rev. 2, §4.1 (SHA-256), each under its
//! own label. Payloads are sealed with AES-256-GCM under a random 96-bit nonce. Signatures are
//! HMAC-SHA-256.
//!
//! The submodules contain the cipher, session ids, secrets and signed ids. This module does not
//! depend on records or requests.

mod cipher;
pub(crate) mod id;
pub(crate) mod secret;
pub(crate) mod signing;

pub use secret::Secrets;

use std::cell::RefCell;
use std::time::SystemTime;

use hmac::{Hmac, Mac};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result};

/// A 256-bit key.
pub(crate) type Key = [u8; 32];

/// The length of the nonce before a sealed text, in bytes.
pub(crate) const NONCE: usize = 12;
/// The length of the tag after a sealed text, in bytes.
pub(crate) const TAG: usize = 16;

/// The purpose of a derived key. Two purposes never derive the same key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// The name of a session's record in the store, derived from its id.
    StorageKey,
    /// The key that seals a session's record, derived from its id.
    Payload,
    /// The name of an owner's index in the store.
    OwnerKey,
    /// The key that seals an owner's index.
    OwnerPayload,
    /// The key that signs cookies, derived from a secret.
    Signing,
    /// The key that seals client-side sessions, derived from a secret and a salt.
    Cookie,
    /// The key under which owners' names are hashed, derived from a secret.
    Owner,
    /// The condensed form of a configured secret.
    Secret,
    /// The name of a session for logs, derived from its id.
    Fingerprint,
    /// The condensed form of another session layer's id.
    LayerId,
}

impl Purpose {
    /// Returns the format version and the purpose. With the counter, a 32-byte key and the scope
    /// this makes 55 bytes: a single block for the hash.
    const fn label(self) -> [u8; 3] {
        let code = match self {
            Self::StorageKey => b'K',
            Self::Payload => b'P',
            Self::OwnerKey => b'I',
            Self::OwnerPayload => b'J',
            Self::Signing => b'S',
            Self::Cookie => b'C',
            Self::Owner => b'O',
            Self::Secret => b'X',
            Self::Fingerprint => b'F',
            Self::LayerId => b'L',
        };
        [b'm', b'1', code]
    }
}

/// The scope of derived keys. Managers with different scopes accept nothing from each other, even
/// if they share a store, an id or a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scope([u8; 16]);

impl Scope {
    /// The scope of values that belong to no manager, such as a condensed secret.
    const NONE: Self = Self([0; 16]);

    pub(crate) fn named(name: &str) -> Self {
        let hash: Key =
            Sha256::new().chain_update(b"mocha1 scope ").chain_update(name).finalize().into();
        let mut scope = [0; 16];
        scope.copy_from_slice(&hash[..16]);
        Self(scope)
    }

    /// Derives the key for one purpose from keying material that is secret and of a fixed length.
    pub(crate) fn derive(&self, material: &[u8], purpose: Purpose) -> Key {
        let mut hash = Sha256::new();
        hash.update(1_u32.to_be_bytes());
        hash.update(material);
        hash.update(purpose.label());
        hash.update(self.0);
        hash.finalize().into()
    }
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scope(…)")
    }
}

/// Condenses a configured secret of any length to a key.
pub(crate) fn condense(secret: &[u8]) -> Key {
    Scope::NONE.derive(secret, Purpose::Secret)
}

/// Condenses another session layer's id, of any length, to a key.
pub(crate) fn condense_layer_id(id: &[u8]) -> Key {
    Scope::NONE.derive(id, Purpose::LayerId)
}

/// Returns random bytes from the operating system.
///
/// # Errors
/// `Internal` if the operating system returns none. No secret can be created then.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::new(ErrorKind::Internal, "the operating system gave no random bytes")
            .with_source(error)
    })?;
    Ok(bytes)
}

thread_local! {
    static UNIQUE: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// Returns bytes that never repeat, for nonces and salts. Secrets are never made of them.
///
/// They come from a generator of this thread that the operating system has seeded, because a system
/// call for each costs more than the sealing itself. A generator that a fork or a machine snapshot
/// has copied would repeat itself, so the time is mixed in, to the nanosecond. Two copies differ
/// unless they seal the same session at the same instant.
///
/// # Errors
/// As [`random`].
pub(crate) fn unique<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let filled = UNIQUE.try_with(|generator| {
        let mut generator = generator.borrow_mut();
        let generator = match &mut *generator {
            Some(generator) => generator,
            empty => empty.insert(StdRng::from_seed(random()?)),
        };
        generator.fill_bytes(&mut bytes);
        Ok(())
    });
    // A thread that is ending no longer has a generator.
    filled.unwrap_or_else(|_| random().map(|random| bytes = random))?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    for (byte, time) in bytes.iter_mut().zip(now.as_nanos().to_le_bytes()) {
        *byte ^= time;
    }
    Ok(bytes)
}

/// Seals in place the text after the [`NONCE`] free bytes at `buffer[from..]`. Fills these bytes
/// with the nonce and appends the tag. The tag also authenticates `bound`.
pub(crate) fn seal(key: &Key, buffer: &mut Vec<u8>, from: usize, bound: &[u8]) -> Result<()> {
    let nonce: [u8; NONCE] = unique()?;
    buffer[from..from + NONCE].copy_from_slice(&nonce);
    let Some(tag) = cipher::seal(key, nonce, bound, &mut buffer[from + NONCE..]) else {
        let why = "a record cannot be sealed: it is larger than the cipher allows";
        return Err(Error::new(ErrorKind::TooLarge, why));
    };
    buffer.extend_from_slice(&tag);
    Ok(())
}

/// Opens `nonce ‖ text ‖ tag`, made by [`seal`], and returns the text in a new buffer. Returns
/// `None` if it was not sealed under this key with these bound bytes.
pub(crate) fn open(key: &Key, sealed: &[u8], bound: &[u8]) -> Option<Vec<u8>> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE>()?;
    let length = rest.len().checked_sub(TAG)?;
    let mut text = rest.to_vec();
    cipher::open(key, *nonce, bound, &mut text)?;
    text.truncate(length);
    Some(text)
}

/// Signs a message under a derived key.
pub(crate) fn sign(key: &Key, message: &[u8]) -> Key {
    let mut mac = hmac(key);
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Returns whether `signature` is a prefix of the signature of `message`, in constant time.
pub(crate) fn verify(key: &Key, message: &[u8], signature: &[u8]) -> bool {
    let mut mac = hmac(key);
    mac.update(message);
    signature.len() >= 16 && mac.verify_truncated_left(signature).is_ok()
}

fn hmac(key: &Key) -> Hmac<Sha256> {
    // HMAC pads a key that is shorter than the hash's block with zeros. Padding it here leaves no
    // error to handle.
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    <Hmac<Sha256> as hmac::KeyInit>::new(&block.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_nonce_comes_twice_on_any_thread() {
        let draw = || (0..5_000).map(|_| unique::<NONCE>().unwrap()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(draw)).collect();
        let all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        // The time alone would leave the last bytes of neighbours equal.
        assert!(all.windows(2).all(|pair| pair[0][8..] != pair[1][8..]));
    }

    #[test]
    fn a_generator_that_was_copied_does_not_repeat_itself() {
        let set =
            |seed| UNIQUE.with(|generator| *generator.borrow_mut() = Some(StdRng::from_seed(seed)));
        set([7; 32]);
        let first = unique::<NONCE>().unwrap();
        std::thread::sleep(std::time::Duration::from_micros(1));
        set([7; 32]);
        assert_ne!(unique::<NONCE>().unwrap(), first);
    }
}
