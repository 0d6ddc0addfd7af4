//! Every cryptographic primitive the library uses, in one place: derive, seal, open, sign, random.
//!
//! Keys are derived with the one-step KDF of NIST SP 800-56C rev. 2, §4.1 (SHA-256), each under a
//! label of its own. Payloads are sealed with AES-256-GCM under a random 96-bit nonce; signatures
//! are HMAC-SHA-256.
//!
//! In the folder: the cipher, session ids, secrets, signed ids. Nothing here knows a record or a
//! request.

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

/// Bytes of the nonce that precedes a sealed text.
pub(crate) const NONCE: usize = 12;
/// Bytes of the tag that follows it.
pub(crate) const TAG: usize = 16;

/// What a derived key is for. Two purposes never give the same key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// The name of a session's record in the store, from its id.
    StorageKey,
    /// The key that seals a session's record, from its id.
    Payload,
    /// The name of an owner's index in the store.
    OwnerKey,
    /// The key that seals an owner's index.
    OwnerPayload,
    /// The key that signs cookies, from a secret.
    Signing,
    /// The key that seals client-side sessions, from a secret and a salt.
    Cookie,
    /// The key that owners' names are hashed under, from a secret.
    Owner,
    /// A configured secret, condensed.
    Secret,
    /// The name of a session that may be shown in a log, from its id.
    Fingerprint,
    /// The id of another session layer, condensed.
    LayerId,
}

impl Purpose {
    /// The format of what is derived, and the purpose. With the counter, a 32-byte key and the
    /// scope this makes 55 bytes: a single block for the hash.
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

/// Whose sessions something is derived for: managers with different scopes accept nothing from each
/// other, even where they share a store, an id or a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scope([u8; 16]);

impl Scope {
    /// What belongs to no manager: a condensed secret.
    const NONE: Self = Self([0; 16]);

    pub(crate) fn named(name: &str) -> Self {
        let hash: Key =
            Sha256::new().chain_update(b"mocha1 scope ").chain_update(name).finalize().into();
        let mut scope = [0; 16];
        scope.copy_from_slice(&hash[..16]);
        Self(scope)
    }

    /// The key for one purpose, from keying material that is secret and of a fixed length.
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

/// A configured secret of any length, condensed to a key.
pub(crate) fn condense(secret: &[u8]) -> Key {
    Scope::NONE.derive(secret, Purpose::Secret)
}

/// The id of another session layer, of any length, condensed to a key.
pub(crate) fn condense_layer_id(id: &[u8]) -> Key {
    Scope::NONE.derive(id, Purpose::LayerId)
}

/// Random bytes from the operating system.
///
/// # Errors
/// `Internal` when it has none to give: nothing secret can be made then.
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

/// Bytes that do not come twice, for nonces and salts: from a generator of this thread that the
/// operating system has seeded, for asking the system each time costs more than the sealing itself.
/// Secrets are never made of them.
///
/// A generator that a fork or a snapshot of a machine has copied would repeat itself. So the time
/// is mixed in, to the nanosecond: two copies differ unless they seal the same session at the same
/// instant.
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
    // A thread that is ending has no generator any more.
    filled.unwrap_or_else(|_| random().map(|random| bytes = random))?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    for (byte, time) in bytes.iter_mut().zip(now.as_nanos().to_le_bytes()) {
        *byte ^= time;
    }
    Ok(bytes)
}

/// Seals in place what follows the [`NONCE`] free bytes at `buffer[from..]`: the nonce fills them,
/// the tag is appended. `bound` is authenticated with it.
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

/// Opens what [`seal`] made of `nonce ‖ text ‖ tag`, in a buffer of its own; `None` when it was not
/// made under this key with these bound bytes.
pub(crate) fn open(key: &Key, sealed: &[u8], bound: &[u8]) -> Option<Vec<u8>> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE>()?;
    let length = rest.len().checked_sub(TAG)?;
    let mut text = rest.to_vec();
    cipher::open(key, *nonce, bound, &mut text)?;
    text.truncate(length);
    Some(text)
}

/// A signature under a derived key.
pub(crate) fn sign(key: &Key, message: &[u8]) -> Key {
    let mut mac = hmac(key);
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Whether `signature` is the beginning of the signature of `message`, in constant time.
pub(crate) fn verify(key: &Key, message: &[u8], signature: &[u8]) -> bool {
    let mut mac = hmac(key);
    mac.update(message);
    signature.len() >= 16 && mac.verify_truncated_left(signature).is_ok()
}

fn hmac(key: &Key) -> Hmac<Sha256> {
    // HMAC pads a key that is shorter than the hash's block with zeros; doing so here leaves
    // nothing that can fail.
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
        // The time alone would leave the last bytes of neighbours alike.
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
