//! Client-side sessions: the cookie's value is the session, encrypted under a secret.

use base64ct::{Base64UrlUnpadded, Encoding};
use bytes::Bytes;

use crate::crypto::id;
use crate::crypto::secret::Secrets;
use crate::crypto::{self, Key, Purpose, Scope};
use crate::error::{Error, ErrorKind, Result};
use crate::http::cookie::MAX_COOKIE_BYTES;
use crate::record::Payload;
use crate::record::content::Content;
use crate::values::wire::Reader;

const VERSION: u8 = 1;
const SALT: usize = 16;

/// Encrypts contents to cookie values, and decrypts them.
///
/// ```text
/// base64url( version=1 salt(16) nonce(12) ciphertext( deadline(8) sealed(8) content ) tag(16) )
/// ```
///
/// Every value has its own key, derived from the secret, the salt and the scope. Therefore a nonce
/// never repeats under a key, however many cookies one secret encrypts, and a value of one scope
/// cannot be decrypted under another.
#[derive(Clone, Debug)]
pub(crate) struct ClientSide {
    secrets: Secrets,
    scope: Scope,
    name: String,
}

/// A decrypted cookie.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) content: Content,
    pub(crate) deadline: u64,
    /// The time of encryption. If a request has two cookies, the newer one is used.
    pub(crate) sealed: u64,
    /// Whether it was encrypted under an old secret, so that it should be encrypted again.
    pub(crate) stale: bool,
}

impl ClientSide {
    pub(crate) fn new(secrets: Secrets, scope: Scope, cookie_name: &str) -> Self {
        Self { secrets, scope, name: cookie_name.to_owned() }
    }

    /// Returns the value of the cookie.
    ///
    /// # Errors
    /// `TooLarge` if name and value exceed the size that browsers accept. Nothing is truncated.
    pub(crate) fn seal(&self, content: &Content, deadline: u64, now: u64) -> Result<String> {
        let salt: [u8; SALT] = crypto::unique()?;
        let Some(secret) = self.secrets.iter().next() else { return Err(no_secret()) };
        let head = 1 + SALT;
        let mut out =
            Vec::with_capacity(head + crypto::NONCE + 16 + content.size_hint() + crypto::TAG);
        out.push(VERSION);
        out.extend_from_slice(&salt);
        out.resize(head + crypto::NONCE, 0);
        out.extend_from_slice(&deadline.to_be_bytes());
        out.extend_from_slice(&now.to_be_bytes());
        content.write(&mut out);
        crypto::seal(&self.key(secret, &salt), &mut out, head, &[VERSION])?;
        let size = self.name.len() + (out.len() * 4).div_ceil(3);
        if size > MAX_COOKIE_BYTES {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "the client-side session needs a cookie or token of {size} bytes and clients \
                     accept {MAX_COOKIE_BYTES}; store less, or set SESSION_URL to keep sessions on \
                     a server"
                ),
            )
            .on("cookie")
            .during("commit"));
        }
        let mut text = String::with_capacity((out.len() * 4).div_ceil(3));
        id::push_base64(&out, &mut text);
        Ok(text)
    }

    /// Decrypts a cookie's value. Returns `None` if it was not encrypted under one of the secrets,
    /// or has expired.
    ///
    /// # Errors
    /// `Corrupt` if it was encrypted under one of the secrets but cannot be read, because a later
    /// version wrote it.
    pub(crate) fn open(&self, value: &[u8], now: u64) -> Result<Option<Opened>> {
        if value.len() > MAX_COOKIE_BYTES {
            return Ok(None);
        }
        let mut buffer = [0; MAX_COOKIE_BYTES];
        let Ok(sealed) = Base64UrlUnpadded::decode(value, &mut buffer) else { return Ok(None) };
        let Some(([VERSION, salt @ ..], sealed)) = sealed.split_first_chunk::<{ 1 + SALT }>()
        else {
            return Ok(None);
        };
        let opened = self.secrets.iter().enumerate().find_map(|(at, secret)| {
            crypto::open(&self.key(secret, salt), sealed, &[VERSION]).map(|text| (at, text))
        });
        let Some((at, text)) = opened else { return Ok(None) };
        let mut text = Bytes::from(text);
        let mut reader = Reader::new(&text);
        let times = reader.fixed().and_then(|deadline| Ok((deadline, reader.fixed()?)));
        let Ok((deadline, sealed)) = times else {
            return Err(Error::corrupt("the client-side session is too short to have a deadline"));
        };
        let (deadline, sealed) = (u64::from_be_bytes(deadline), u64::from_be_bytes(sealed));
        if deadline <= now {
            return Ok(None);
        }
        let content =
            Content::read(text.split_off(16)).map_err(|error| error.on("cookie").during("load"))?;
        Ok(Some(Opened { content, deadline, sealed, stale: at > 0 }))
    }

    fn key(&self, secret: &Key, salt: &[u8]) -> Key {
        let mut material = [0; 32 + SALT];
        material[..32].copy_from_slice(secret);
        material[32..].copy_from_slice(salt);
        self.scope.derive(&material, Purpose::Cookie)
    }
}

pub(crate) fn no_secret() -> Error {
    Error::invalid_config(
        "client-side sessions need a secret: set SESSION_SECRET (for example to the output of \
         `openssl rand -base64 48`), or set SESSION_URL to keep sessions on a server",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn side(secret: &str, name: &str) -> ClientSide {
        ClientSide::new(Secrets::parse(secret).unwrap(), Scope::named(name), name)
    }

    const OLD: &str = "an old secret of more than 32 bytes: kdU2hs8";
    const NEW: &str = "a new secret of more than 32 bytes: pqP82jdn";

    fn content() -> Content {
        let mut content = Content::new(1_000);
        content.values.set(&"a".into(), b"1"[..].into());
        content
    }

    #[test]
    fn secrets_rotate() {
        let old = side(OLD, "s").seal(&content(), 2_000, 900).unwrap();
        let both = side(&format!("{NEW},{OLD}"), "s");
        let opened = both.open(old.as_bytes(), 1_000).unwrap().unwrap();
        assert!(opened.stale && opened.sealed == 900 && opened.content == content());
        let new = both.seal(&content(), 2_000, 900).unwrap();
        assert!(!both.open(new.as_bytes(), 1_000).unwrap().unwrap().stale);
        assert!(side(OLD, "s").open(new.as_bytes(), 1_000).unwrap().is_none());
        assert!(both.open(new.as_bytes(), 2_000).unwrap().is_none(), "expired");
    }

    #[test]
    fn another_cookies_value_a_plain_one_and_garbage_are_refused() {
        let here = side(OLD, "s");
        let other = side(OLD, "t").seal(&content(), 2_000, 900).unwrap();
        let long = "A".repeat(1 << 20);
        for bad in [&other, "", "AQ", "{\"a\":1}", &"A".repeat(200), &long] {
            assert!(here.open(bad.as_bytes(), 1_000).unwrap().is_none());
        }
    }

    #[test]
    fn every_single_bit_flipped_is_refused_without_panic() {
        let here = side(OLD, "s");
        let value = here.seal(&content(), 2_000, 900).unwrap();
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone().into_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(here.open(&flipped, 1_000).unwrap().is_none(), "bit {bit}");
        }
    }

    #[test]
    fn over_4096_bytes_is_a_typed_error() {
        let mut big = content();
        big.values.set(&"b".into(), vec![b'x'; 4_000].into());
        assert!(side(OLD, "s").seal(&big, 2_000, 900).unwrap_err().is_too_large());
    }
}
