//! `SESSION_SECRET`: the secrets that sign or seal the client's values, and their rotation.

use std::fmt;

use crate::error::{Error, Result};

/// One or more secrets. The first signs and seals, and all of them verify and open.
///
/// To rotate, put the new secret first, and drop the old one after the longest session lifetime.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::Secrets;
///
/// let secrets = Secrets::parse("mQ0aVZ2kqf8d1n5p9rJt3uXwB7yCzE4G,oldZ2kqf8d1n5p9rJt3uXwB7yCzE4GHi").unwrap();
/// assert_eq!(secrets.count(), 2);
/// assert!(!format!("{secrets:?}").contains("mQ0a"));
/// assert!(Secrets::parse("changeme").is_err());
/// let for_this_process_only = Secrets::generate().unwrap();
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets(Vec<[u8; 32]>);

impl Secrets {
    /// The minimum length of a secret, in bytes.
    pub const MIN_BYTES: usize = 32;

    /// Reads secrets separated by commas, the format of `SESSION_SECRET`. White space around each
    /// is ignored.
    ///
    /// # Errors
    /// `InvalidConfig` if there is none, or if one is shorter than 32 bytes or has fewer than 12
    /// different bytes.
    pub fn parse(text: &str) -> Result<Self> {
        Self::new(text.split(',').map(str::trim))
    }

    /// Creates secrets from text or bytes.
    ///
    /// # Errors
    /// `InvalidConfig` if there is none, or if one is shorter than 32 bytes or has fewer than 12
    /// different bytes.
    pub fn new<T: AsRef<[u8]>>(secrets: impl IntoIterator<Item = T>) -> Result<Self> {
        let secrets: Vec<_> =
            secrets.into_iter().map(|secret| condense(secret.as_ref())).collect::<Result<_>>()?;
        if secrets.is_empty() {
            return Err(weak("there is none"));
        }
        Ok(Self(secrets))
    }

    /// Creates a secret with the operating system's generator, for a process whose cookies need not
    /// outlive it.
    ///
    /// # Errors
    /// `Internal` if the operating system returns no random bytes.
    pub fn generate() -> Result<Self> {
        Ok(Self(vec![crate::crypto::random()?]))
    }

    /// Returns the number of secrets.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns each secret, condensed to 32 bytes. The one that signs and seals comes first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.0.iter()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} hidden)", self.0.len())
    }
}

fn weak(why: &str) -> Error {
    Error::invalid_config(format!(
        "SESSION_SECRET is not strong enough: {why}; make one with `openssl rand -base64 48`, several are separated by commas"
    ))
}

fn condense(secret: &[u8]) -> Result<[u8; 32]> {
    if secret.len() < Secrets::MIN_BYTES {
        return Err(weak("a secret needs at least 32 bytes"));
    }
    let mut seen = [false; 256];
    secret.iter().for_each(|&byte| seen[usize::from(byte)] = true);
    if seen.iter().filter(|&&seen| seen).count() < 12 {
        return Err(weak("a secret repeats a few characters"));
    }
    Ok(crate::crypto::condense(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_short_zero_and_repeated_secrets_are_refused() {
        let zero = "\0".repeat(64);
        let repeated = "abcd".repeat(16);
        for bad in [
            "",
            "short",
            &zero,
            &repeated,
            "mQ0aVZ2kqf8d1n5p9rJt3uXwB7yCzE4G,short",
            "mQ0aVZ2kqf8d1n5p9rJt3uXwB7yCzE4G,",
        ] {
            let error = Secrets::parse(bad).expect_err(bad);
            assert!(error.is_invalid_config());
            assert!(bad.is_empty() || !error.to_string().contains(bad), "{error}");
        }
    }
}
